/* simulated_draw.c: results of `tidegate simulate` as a picture in a file. */
#include <errno.h>
#include <stdio.h>

#include "commands/simulated.h"
#include "base/ban.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

bool simulated_drawable(const char *path)
{
    return str_ends(str_of(path), ".svg") || str_ends(str_of(path), ".html");
}

static int write_file(const char *path, const struct buf *text)
{
    errno = 0;
    FILE *file = fopen(path, "we");
    if (!file) {
        return -errno;
    }
    bool whole = fwrite(buf_str(text), 1, text->len, file) == text->len;
    int code = whole ? 0 : -errno;
    if (fclose(file) && !code) {
        code = -errno;
    }
    return code;
}

int simulated_draw(const char *path, const struct simulated_set *set)
{
    struct sim_plot_run *drawn = mem_array(set->count, sizeof *drawn);
    for (size_t i = 0; i < set->count; i++) {
        drawn[i] = (struct sim_plot_run){set->runs[i].name, &set->runs[i].result};
    }
    const struct sim_plot plot = {.title = set->title,
                                  .options = set->options,
                                  .runs = drawn,
                                  .count = set->count,
                                  .begin_s = set->begin_s};
    struct buf text;
    buf_init(&text, SIM_PLOT_BYTES);
    if (str_ends(str_of(path), ".svg")) {
        sim_plot_svg(&text, &plot);
    } else {
        sim_plot_html(&text, &plot);
    }
    int code = write_file(path, &text);
    buf_free(&text);
    mem_free(drawn);
    return code;
}
