/* driver.c: a store on a loop, with everything that it tells written down, for specs. */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/ban.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/store.h"

enum {
    NOTICES = 64,
    ROWS = 512,
    POINTS = 8192,
    SERIES = 64
};

struct storeseen {
    uint32_t answers, closed, notice_count;
    int32_t rc;
    uint64_t durable;
    struct store *store;
    char error[256];
    struct {
        int32_t what;
        char text[300];
    } notices[NOTICES];
    uint32_t row_count, rows_told;
    struct {
        uint64_t sequence, wall_ms;
        bool bad;
        char kind[32], service[64], subject[64], what[64], who[64], detail[64];
    } rows[ROWS];
    uint32_t series_count, point_count;
    struct {
        char instance[64], metric[64];
        uint32_t from, count; /* in points */
    } series[SERIES];
    struct store_point points[POINTS];
};

struct storeseen *storeseen_new(void);
void storeseen_free(struct storeseen *r);
int storeseen_open(struct storeseen *r, struct uv_loop_s *loop,
                   const struct store_options *options);
void storeseen_close(struct storeseen *r);
int storeseen_events(struct storeseen *r, const struct store_filter *f);
int storeseen_samples(struct storeseen *r, const struct store_range *range);
void storeseen_document(void *arg, const char *key, const char *json);
int storeseen_documents(struct storeseen *r, const char *kind);

struct storeseen *storeseen_new(void)
{
    return mem_new(sizeof(struct storeseen));
}

void storeseen_free(struct storeseen *r)
{
    mem_free(r);
}

static void on_durable(void *arg, uint64_t sequence)
{
    ((struct storeseen *)arg)->durable = sequence;
}

static void on_notice(void *arg, enum store_notice what, const char *text)
{
    struct storeseen *r = arg;
    if (r->notice_count < NOTICES) {
        r->notices[r->notice_count].what = (int32_t)what;
        str_copy(r->notices[r->notice_count].text, sizeof r->notices[0].text, text);
        r->notice_count++;
    }
}

int storeseen_open(struct storeseen *r, struct uv_loop_s *loop, const struct store_options *options)
{
    struct store_options o = *options;
    char *error = NULL;
    o.loop = loop;
    o.on_durable = on_durable;
    o.on_notice = on_notice;
    o.arg = r;
    int rc = store_open(&o, &r->store, &error);
    if (rc) {
        str_copy(r->error, sizeof r->error, error);
        mem_free(error);
    }
    return rc;
}

static void on_closed(void *arg)
{
    struct storeseen *r = arg;
    r->store = NULL;
    r->closed++;
}

void storeseen_close(struct storeseen *r)
{
    store_close(r->store, on_closed, r);
}

static void on_rows(void *arg, int rc, const struct store_row *rows, size_t count)
{
    struct storeseen *r = arg;
    r->rc = rc;
    r->rows_told = (uint32_t)count;
    r->row_count = (uint32_t)(count < ROWS ? count : ROWS);
    for (uint32_t i = 0; i < r->row_count; i++) {
        r->rows[i].sequence = rows[i].sequence;
        r->rows[i].wall_ms = rows[i].wall_ms;
        r->rows[i].bad = rows[i].bad;
        str_copy(r->rows[i].kind, sizeof r->rows[i].kind, rows[i].kind);
        str_copy(r->rows[i].service, sizeof r->rows[i].service, rows[i].service);
        str_copy(r->rows[i].subject, sizeof r->rows[i].subject, rows[i].subject);
        str_copy(r->rows[i].what, sizeof r->rows[i].what, rows[i].what);
        str_copy(r->rows[i].who, sizeof r->rows[i].who, rows[i].who);
        str_copy(r->rows[i].detail, sizeof r->rows[i].detail, rows[i].detail);
    }
    r->answers++;
}

int storeseen_events(struct storeseen *r, const struct store_filter *f)
{
    return store_query_events(r->store, f, on_rows, r);
}

static void on_points(void *arg, int rc, const struct store_points *series, size_t count)
{
    struct storeseen *r = arg;
    r->rc = rc;
    r->point_count = 0;
    r->series_count = (uint32_t)(count < SERIES ? count : SERIES);
    for (uint32_t i = 0; i < r->series_count; i++) {
        str_copy(r->series[i].instance, sizeof r->series[i].instance, series[i].instance);
        str_copy(r->series[i].metric, sizeof r->series[i].metric, series[i].metric);
        r->series[i].from = r->point_count;
        r->series[i].count = 0;
        for (size_t p = 0; p < series[i].count && r->point_count < POINTS; p++) {
            r->points[r->point_count++] = series[i].points[p];
            r->series[i].count++;
        }
    }
    r->answers++;
}

int storeseen_samples(struct storeseen *r, const struct store_range *range)
{
    return store_query_samples(r->store, range, on_points, r);
}

void storeseen_document(void *arg, const char *key, const char *json)
{
    struct storeseen *r = arg;
    if (r->row_count < ROWS) {
        str_copy(r->rows[r->row_count].subject, sizeof r->rows[0].subject, key);
        str_copy(r->rows[r->row_count].detail, sizeof r->rows[0].detail, json);
        r->row_count++;
    }
}

int storeseen_documents(struct storeseen *r, const char *kind)
{
    r->row_count = 0;
    return store_documents(r->store, kind, storeseen_document, r);
}
