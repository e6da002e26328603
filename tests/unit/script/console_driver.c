/* console_driver.c: a console for specs: what it prints and asks is kept, what it is answered is given. */
#include <string.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "script/console.h"

struct console_driver {
    struct script_console *console;
    struct buf printed, asked;
    struct cJSON *answer;
    uint32_t interrupt_after; /* prints; 0: never */
};

static void keep(void *arg, const char *text, size_t len)
{
    struct console_driver *d = arg;
    (void)buf_append(&d->printed, text, len);
    if (d->interrupt_after && --d->interrupt_after == 0) {
        script_console_interrupt(d->console);
    }
}

static struct cJSON *reply(void *arg, const struct cJSON *request)
{
    struct console_driver *d = arg;
    char *text = json_text(request);
    (void)buf_text(&d->asked, text);
    (void)buf_text(&d->asked, "\n");
    mem_free(text);
    return json_copy(d->answer);
}

struct console_driver *console_driver_new(const char *config_path, uint32_t budget_ms, bool json,
                                          bool attached, bool write, char **reterr);
void console_driver_free(struct console_driver *d);
struct script_console *console_driver_console(struct console_driver *d);
void console_driver_answer(struct console_driver *d, const char *json);
void console_driver_interrupt_after(struct console_driver *d, uint32_t prints);
const char *console_driver_printed(struct console_driver *d);
const char *console_driver_asked(struct console_driver *d);
void console_driver_clear(struct console_driver *d);

struct console_driver *console_driver_new(const char *config_path, uint32_t budget_ms, bool json,
                                          bool attached, bool write, char **reterr)
{
    struct console_driver *d = mem_new(sizeof *d);
    buf_init(&d->printed, 1 << 20);
    buf_init(&d->asked, 1 << 20);
    const struct script_console_options options = {
        .config_path = config_path,
        .budget_ms = budget_ms,
        .json = json,
        .write = write,
        .arg = d,
        .print = keep,
        .ask = attached ? reply : NULL,
        .simulate = reply,
    };
    if (script_console_new(&options, &d->console, reterr) < 0) {
        console_driver_free(d);
        return NULL;
    }
    return d;
}

void console_driver_free(struct console_driver *d)
{
    script_console_free(d->console);
    buf_free(&d->printed);
    buf_free(&d->asked);
    json_free(d->answer);
    mem_free(d);
}

struct script_console *console_driver_console(struct console_driver *d)
{
    return d->console;
}

void console_driver_answer(struct console_driver *d, const char *json)
{
    json_free(d->answer);
    d->answer = json_parse(json, strlen(json));
}

void console_driver_interrupt_after(struct console_driver *d, uint32_t prints)
{
    d->interrupt_after = prints;
}

const char *console_driver_printed(struct console_driver *d)
{
    return buf_str(&d->printed);
}

const char *console_driver_asked(struct console_driver *d)
{
    return buf_str(&d->asked);
}

void console_driver_clear(struct console_driver *d)
{
    buf_clear(&d->printed);
    buf_clear(&d->asked);
}
