/* reader_driver.c: requests for request functions out of a text:
 * "METHOD\nHOST\nPATH\nQUERY\nCLIENT\nName: value\n..." */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/str.h"
#include "script/script.h"

struct script_reader *script_test_reader(struct script_hot *hot, const char *service,
                                         uint32_t route, char **reterr);
int script_test_read(struct script_reader *reader, const char *head, char *to, size_t size);
double script_test_read_ns(struct script_reader *reader, const char *head, uint32_t count);

struct script_reader *script_test_reader(struct script_hot *hot, const char *service,
                                         uint32_t route, char **reterr)
{
    struct script_reader *reader = NULL;
    return script_reader_new(hot, service, route, &reader, reterr) ? NULL : reader;
}

static bool field(const void *of, const char *name, size_t len, struct script_text *ret_value)
{
    struct str rest = str_of(of), line;
    while (str_next(&rest, '\n', &line)) {
        if (line.len > len + 1 && line.ptr[len] == ':' && !strncasecmp(line.ptr, name, len)) {
            struct str value = str_trim(str_sub(line, len + 1, line.len));
            *ret_value = (struct script_text){value.ptr, value.len};
            return true;
        }
    }
    return false;
}

static struct script_head head_of(const char *text)
{
    struct script_head head = {.field = field, .subject = {"CN=alice", 8}};
    struct script_text *to[] = {&head.method, &head.host, &head.path, &head.query, &head.client};
    struct str rest = str_of(text), line;
    for (size_t i = 0; i < 5 && str_next(&rest, '\n', &line); i++) {
        *to[i] = (struct script_text){line.ptr, line.len};
    }
    head.of = rest.ptr ? rest.ptr : "";
    return head;
}

int script_test_read(struct script_reader *reader, const char *head, char *to, size_t size)
{
    struct script_head given = head_of(head);
    struct script_data data = {0};
    int code = script_read(reader, &given, &data);
    if (!code) {
        snprintf(to, size, "%.*s|%.*s|%.*s|%.*s|%.*s", (int)data.dataset.len,
                 data.dataset.ptr ? data.dataset.ptr : "", (int)data.tags.len,
                 data.tags.ptr ? data.tags.ptr : "", (int)data.processing.len,
                 data.processing.ptr ? data.processing.ptr : "", (int)data.key.len,
                 data.key.ptr ? data.key.ptr : "", (int)data.zone.len,
                 data.zone.ptr ? data.zone.ptr : "");
    }
    return code;
}

static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

double script_test_read_ns(struct script_reader *reader, const char *head, uint32_t count)
{
    struct script_head given = head_of(head);
    struct script_data data;
    double began = cpu_ns();
    for (uint32_t i = 0; i < count; i++) {
        (void)script_read(reader, &given, &data);
    }
    return (cpu_ns() - began) / count;
}
