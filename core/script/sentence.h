/* sentence.h: what a policy said, made fit for logs and JSON. Private to the script room. */
#ifndef SCRIPT_SENTENCE_H
#define SCRIPT_SENTENCE_H

#include <stddef.h>

/* One line of valid UTF-8 out of whatever a policy said, cut where it must be. */
void sentence_put(char *to, size_t size, const char *text);

#endif
