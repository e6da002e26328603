/* children.c: see children.h. */
#include "app/children.h"

#include <unistd.h>

#include "base/ban.h"
#include "base/log.h"
#include "base/str.h"

void child_close_from(int first)
{
    (void)close_range((unsigned)first, ~0u, 0); /* an old kernel without it: they stay open */
}

void child_open_log(const char *who, int argc, char **argv)
{
    enum log_level level = LOG_INFO;
    const char *file = argc > 4 && !str_same(argv[4], "-") ? argv[4] : NULL;
    if (argc > 2) {
        (void)log_level_of(argv[2], &level);
    }
    if (log_open(who, file, level, argc > 3 && str_same(argv[3], "json")) && file) {
        (void)log_open(who, NULL, level, false);
        log_warn("the log file cannot be opened: writing to stderr", "file=%s", file);
    }
}
