/* err.c: see err.h. */
#include "base/err.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ban.h"

void err_must_failed(const char *what, const char *file, int line)
{
    fprintf(stderr, "tidegate: %s:%d: broken promise: %s\n", file, line, what);
    abort();
}

const char *err_text(int code)
{
    const char *text = strerrordesc_np(code < 0 ? -code : code);
    return text ? text : "unknown error";
}
