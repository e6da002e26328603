/* mem.h: allocation for the control plane. Exhaustion ends the process with a
 * line on stderr, so no caller checks for NULL. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

/* Zeroed memory of `size` bytes (at least 1). The caller owns it: mem_free. */
void *mem_new(size_t size) __attribute__((returns_nonnull));
/* Zeroed memory for `count` items of `size`; aborts when the product overflows. */
void *mem_array(size_t count, size_t size) __attribute__((returns_nonnull));
/* Grows or shrinks `ptr` (may be NULL); new bytes are not zeroed. */
void *mem_resize(void *ptr, size_t size) __attribute__((returns_nonnull));
/* A copy of the C string, NULL for NULL. */
char *mem_copy(const char *text);
/* A NUL-terminated copy of `len` bytes. */
char *mem_copy_bytes(const char *bytes, size_t len) __attribute__((returns_nonnull));
/* A new string made as by printf. */
char *mem_printf(const char *format, ...) __attribute__((format(printf, 1, 2), returns_nonnull));
/* NULL is allowed. */
void mem_free(void *ptr);
/* Overwrites what nobody is to find again: keys. */
void mem_wipe(void *ptr, size_t size);
/* Frees a text that holds such; NULL is allowed. */
void mem_free_secret(char *text);
/* Frees *ptr and clears it. */
void mem_release(void *ptr_to_ptr);

#endif
