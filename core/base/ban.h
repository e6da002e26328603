/* ban.h: functions that nobody may call.
 *
 * Every .c includes it after all system and library headers, since those may
 * mention the names. Only base/mem.c defines BASE_MAY_ALLOCATE. */
#ifndef BASE_BAN_H
#define BASE_BAN_H

#pragma GCC poison strcpy strcat sprintf vsprintf strtok atoi atol gmtime localtime system
#ifndef BASE_MAY_ALLOCATE
#pragma GCC poison malloc calloc realloc strdup strndup
#endif

#endif
