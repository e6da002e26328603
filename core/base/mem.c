/* mem.c: see mem.h.
 *
 * Owns: the only calls of the malloc family in the program.
 * Does not: pool or count; workers take their hot objects from pools of their
 * own, sized at start. */
#define BASE_MAY_ALLOCATE
#include "base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ban.h"

static void *checked(void *ptr)
{
    if (!ptr) {
        fputs("tidegate: out of memory\n", stderr);
        abort();
    }
    return ptr;
}

void *mem_new(size_t size)
{
    return checked(calloc(1, size ? size : 1));
}

void *mem_array(size_t count, size_t size)
{
    return checked(calloc(count ? count : 1, size ? size : 1));
}

void *mem_resize(void *ptr, size_t size)
{
    return checked(realloc(ptr, size ? size : 1));
}

char *mem_copy(const char *text)
{
    return text ? mem_copy_bytes(text, strlen(text)) : NULL;
}

char *mem_copy_bytes(const char *bytes, size_t len)
{
    char *copy = checked(malloc(len + 1));
    if (len) {
        memcpy(copy, bytes, len);
    }
    copy[len] = '\0';
    return copy;
}

char *mem_printf(const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    int len = vasprintf(&text, format, args);
    va_end(args);
    return checked(len < 0 ? NULL : text);
}

void mem_free(void *ptr)
{
    free(ptr);
}

void mem_wipe(void *ptr, size_t size)
{
    explicit_bzero(ptr, size);
}

void mem_free_secret(char *text)
{
    if (text) {
        mem_wipe(text, strlen(text));
        free(text);
    }
}

void mem_release(void *ptr_to_ptr)
{
    void **ptr = ptr_to_ptr;
    free(*ptr);
    *ptr = NULL;
}
