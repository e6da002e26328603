/* err.h: assertions for programmers' errors, and names for error codes.
 *
 * Functions return 0 or a negative errno code. `must` stays on in release and
 * is never used on what a user, a peer or the engine sent. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#define must(cond) ((cond) ? (void)0 : err_must_failed(#cond, __FILE__, __LINE__))

/* Prints where and what, then aborts. */
void err_must_failed(const char *what, const char *file, int line) __attribute__((noreturn));
/* "connection refused" for -ECONNREFUSED or ECONNREFUSED; never NULL, static storage. */
const char *err_text(int code);

#endif
