/* store.c: the loop's side of the store: see store.h.
 *
 * Owns: the queues, the numbers of series, the life of both threads.
 * Called by: the loop's thread; news_add by any.
 * Invariants: no file is touched here but by store_open and store_documents; callbacks come only
 * from the async handle.
 * Does not: know SQL. */
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/ban.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/mem.h"
#include "store/slots.h"
#include "store/store_private.h"

enum {
    DEFAULT_DAYS = 14,
    DEFAULT_ROLLUP_DAYS = 90,
    DEFAULT_EVENT_DAYS = 400,
    MB = 1 << 20,
    QUEUED_BYTES = 64 * MB, /* of events and documents that wait */
    LOCK_WAIT_MS = 1000,
    TICKS_WAKE = 65536, /* so many samples do not wait for their time */
};

/* Times beyond the year 10889 are a mistake of the caller's, and would not fit a column. */
static const uint64_t latest_ms = 1ull << 48;

/* ---- Operations -------------------------------------------------------------------------- */

void ops_init(struct ops *ops)
{
    *ops = (struct ops){.first = NULL};
    ops->last = &ops->first;
}

void ops_move(struct ops *to, struct ops *from)
{
    if (!from->first) {
        return;
    }
    *to->last = from->first;
    to->last = from->last;
    to->count += from->count;
    ops_init(from);
}

void ops_free(struct ops *ops)
{
    while (ops->first) {
        struct op *op = ops->first;
        ops->first = op->next;
        mem_free(op);
    }
    ops_init(ops);
}

static struct op *op_new(enum op_kind kind, const char *const texts[TEXTS])
{
    size_t sizes[TEXTS], all = 0;
    for (int i = 0; i < TEXTS; i++) {
        sizes[i] = strlen(texts[i] ? texts[i] : "") + 1;
        all += sizes[i];
    }
    struct op *op = mem_new(sizeof *op + all);
    op->kind = kind;
    op->size = sizeof *op + all;
    char *at = op->bytes;
    for (int i = 0; i < TEXTS; i++) {
        memcpy(at, texts[i] ? texts[i] : "", sizes[i]);
        op->texts[i] = at;
        at += sizes[i];
    }
    return op;
}

static void queue_batch(struct store *s)
{
    if (!s->batch.first) {
        return;
    }
    uv_mutex_lock(&s->lock);
    ops_move(&s->queue, &s->batch);
    uv_cond_signal(&s->wake_writer);
    uv_mutex_unlock(&s->lock);
}

/* Takes op. */
static uint64_t queue(struct store *s, struct op *op)
{
    uv_mutex_lock(&s->lock);
    bool full = s->queued >= STORE_EVENTS_QUEUED || s->queued_bytes + op->size > QUEUED_BYTES;
    if (!full) {
        s->queued++;
        s->queued_bytes += op->size;
    }
    uv_mutex_unlock(&s->lock);
    if (full) {
        mem_free(op);
        if (s->events_lost++ == 0) {
            news_add(s, STORE_EVENTS_LOST, mem_copy("too many wait to be written"));
        }
        return 0;
    }
    op->sequence = ++s->sequence;
    *s->batch.last = op;
    s->batch.last = &op->next;
    s->batch.count++;
    if (!s->batching) {
        queue_batch(s);
    }
    return s->sequence;
}

uint64_t store_event(struct store *s, const struct store_event *e)
{
    const char *const texts[TEXTS] = {e->kind, e->service, e->subject, e->what, e->who, e->detail};
    struct op *op = op_new(OP_EVENT, texts);
    op->wall_ms = e->wall_ms;
    op->bad = e->bad;
    return queue(s, op);
}

uint64_t store_put(struct store *s, const char *kind, const char *key, const char *json)
{
    const char *const texts[TEXTS] = {kind, key, json, NULL, NULL, NULL};
    return queue(s, op_new(OP_PUT, texts));
}

uint64_t store_remove(struct store *s, const char *kind, const char *key)
{
    const char *const texts[TEXTS] = {kind, key, NULL, NULL, NULL, NULL};
    return queue(s, op_new(OP_REMOVE, texts));
}

void store_batch_begin(struct store *s)
{
    s->batching++;
}

void store_batch_commit(struct store *s)
{
    must(s->batching > 0);
    if (--s->batching == 0) {
        queue_batch(s);
    }
}

/* ---- Samples ----------------------------------------------------------------------------- */

struct series_name *series_name_new(const char *service, const char *instance, const char *metric)
{
    size_t sizes[] = {strlen(service) + 1, strlen(instance) + 1, strlen(metric) + 1};
    struct series_name *name = mem_new(sizeof *name + sizes[0] + sizes[1] + sizes[2]);
    memcpy(name->bytes, service, sizes[0]);
    memcpy(name->bytes + sizes[0], instance, sizes[1]);
    memcpy(name->bytes + sizes[0] + sizes[1], metric, sizes[2]);
    name->service = name->bytes;
    name->instance = name->bytes + sizes[0];
    name->metric = name->bytes + sizes[0] + sizes[1];
    name->hash = hash_bytes(name->bytes, sizes[0] + sizes[1] + sizes[2]);
    return name;
}

static bool push_tick(struct store *s, const struct tick *tick)
{
    uv_mutex_lock(&s->lock);
    struct ticks *to = &s->ticks;
    /* Names and ends are few, and have to arrive. */
    bool room = to->count < STORE_SAMPLES_QUEUED || tick->kind != TICK_SAMPLE;
    if (room && to->count == to->cap) {
        to->cap = to->cap ? to->cap * 2 : 1024;
        to->items = mem_resize(to->items, to->cap * sizeof *to->items);
    }
    if (room) {
        to->items[to->count++] = *tick;
    }
    if (to->count == TICKS_WAKE) {
        uv_cond_signal(&s->wake_writer);
    }
    uv_mutex_unlock(&s->lock);
    return room;
}

uint32_t store_series(struct store *s, const char *service, const char *instance,
                      const char *metric)
{
    struct series_name *name = series_name_new(service, instance, metric);
    uint32_t slot = slots_find(&s->slots, name->hash);
    if (slot || !(slot = slots_add(&s->slots, name->hash))) {
        mem_free(name);
        return slot;
    }
    push_tick(s, &(struct tick){.kind = TICK_SERIES, .slot = slot, .name = name});
    return slot;
}

void store_series_end(struct store *s, uint32_t series)
{
    if (slots_remove(&s->slots, series)) {
        push_tick(s, &(struct tick){.kind = TICK_END, .slot = series});
    }
}

void store_sample(struct store *s, uint32_t series, uint64_t wall_ms, double value)
{
    if (!isfinite(value)) {
        return;
    }
    if (!slots_used(&s->slots, series) || wall_ms >= latest_ms ||
        !push_tick(s, &(struct tick){.at_ms = wall_ms, .slot = series, .value = value})) {
        s->samples_lost++;
    }
}

/* ---- Queries ----------------------------------------------------------------------------- */

static char *copy_or_null(const char *text)
{
    return text ? mem_copy(text) : NULL;
}

static int ask(struct store *s, struct query *q)
{
    uv_mutex_lock(&s->lock);
    bool full = s->asked_count >= STORE_QUERIES_QUEUED || s->closing;
    if (!full) {
        *s->asked_last = q;
        s->asked_last = &q->next;
        s->asked_count++;
        uv_cond_signal(&s->wake_reader);
    }
    uv_mutex_unlock(&s->lock);
    if (full) {
        query_free(q);
    }
    return full ? -EBUSY : 0;
}

int store_query_events(struct store *s, const struct store_filter *f, store_rows_fn *fn, void *arg)
{
    struct query *q = mem_new(sizeof *q);
    q->on_rows = fn;
    q->arg = arg;
    q->filter = *f;
    q->filter.kind = copy_or_null(f->kind);
    q->filter.service = copy_or_null(f->service);
    q->filter.subject = copy_or_null(f->subject);
    if (f->limit == 0 || f->limit > STORE_ROWS) {
        q->filter.limit = STORE_ROWS;
    }
    return ask(s, q);
}

int store_query_samples(struct store *s, const struct store_range *r, store_points_fn *fn,
                        void *arg)
{
    uint64_t span = r->to_ms > r->from_ms ? r->to_ms - r->from_ms : 0;
    if (!span || r->to_ms > latest_ms || (r->step_ms && span / r->step_ms > STORE_POINTS)) {
        return -EINVAL;
    }
    struct query *q = mem_new(sizeof *q);
    q->on_points = fn;
    q->arg = arg;
    q->range = *r;
    q->range.service = mem_copy(r->service);
    q->range.instance = copy_or_null(r->instance);
    q->range.metric = copy_or_null(r->metric);
    return ask(s, q);
}

static void answer(struct query *q)
{
    if (q->on_rows) {
        q->on_rows(q->arg, q->rc, q->rows, q->rc ? 0 : q->count);
    } else {
        q->on_points(q->arg, q->rc, q->points, q->rc ? 0 : q->count);
    }
    query_free(q);
}

/* ---- News to the loop -------------------------------------------------------------------- */

void news_add(struct store *s, enum store_notice what, char *text)
{
    struct news *n = mem_new(sizeof *n);
    n->what = what;
    n->text = text;
    uv_mutex_lock(&s->lock);
    *s->news_last = n;
    s->news_last = &n->next;
    uv_mutex_unlock(&s->lock);
    uv_async_send(&s->async);
}

static void free_store(struct store *s)
{
    ops_free(&s->queue);
    ops_free(&s->batch);
    for (size_t i = 0; i < s->ticks.count; i++) {
        if (s->ticks.items[i].kind == TICK_SERIES) {
            mem_free(s->ticks.items[i].name);
        }
    }
    mem_free(s->ticks.items);
    slots_free(&s->slots);
    uv_mutex_destroy(&s->lock);
    uv_mutex_destroy(&s->heads_lock);
    uv_cond_destroy(&s->wake_writer);
    uv_cond_destroy(&s->wake_reader);
    close(s->lock_fd);
    mem_free((char *)s->options.dir);
    mem_free(s);
}

static void on_async_closed(uv_handle_t *handle)
{
    struct store *s = handle->data;
    void (*on_closed)(void *arg) = s->on_closed;
    void *arg = s->closed_arg;
    free_store(s);
    if (on_closed) {
        on_closed(arg);
    }
}

/* Both threads have ended: nothing is shared any more. */
static void finish(struct store *s)
{
    uv_thread_join(&s->writer);
    uv_thread_join(&s->reader);
    while (s->asked) {
        struct query *q = s->asked;
        s->asked = q->next;
        q->rc = -ECANCELED;
        answer(q);
    }
    uv_close((uv_handle_t *)&s->async, on_async_closed);
}

static void tell_news(struct store *s, struct news *news)
{
    while (news) {
        struct news *n = news;
        news = n->next;
        if (s->options.on_notice) {
            s->options.on_notice(s->options.arg, n->what, n->text);
        }
        mem_free(n->text);
        mem_free(n);
    }
}

static void on_async(uv_async_t *async)
{
    struct store *s = async->data;
    uv_mutex_lock(&s->lock);
    struct news *news = s->news;
    s->news = NULL;
    s->news_last = &s->news;
    struct query *answered = s->answered;
    s->answered = NULL;
    uint64_t durable = s->durable;
    bool over = s->closing && s->writer_done && s->reader_done;
    uv_mutex_unlock(&s->lock);

    tell_news(s, news);
    if (durable > s->told_durable) {
        s->told_durable = durable;
        if (s->options.on_durable) {
            s->options.on_durable(s->options.arg, durable);
        }
    }
    while (answered) {
        struct query *q = answered;
        answered = q->next;
        answer(q);
    }
    if (over && !s->joined) {
        s->joined = true;
        finish(s);
    }
}

/* ---- Life -------------------------------------------------------------------------------- */

static void fill_options(struct store *s, const struct store_options *o)
{
    s->options = *o;
    s->options.dir = mem_copy(o->dir);
    s->options.days = o->days ? o->days : DEFAULT_DAYS;
    s->options.bytes = o->bytes ? o->bytes : 2048ull * MB;
    s->options.rollup_days = o->rollup_days ? o->rollup_days : DEFAULT_ROLLUP_DAYS;
    s->options.event_days = o->event_days ? o->event_days : DEFAULT_EVENT_DAYS;
    s->options.reserve_bytes = o->reserve_bytes ? o->reserve_bytes : 64ull * MB;
}

/* One that is just ending has it for another moment. */
static int lock_fd(int fd)
{
    int rc = -EWOULDBLOCK;
    for (int waited_ms = 0; rc == -EWOULDBLOCK && waited_ms < LOCK_WAIT_MS; waited_ms += 10) {
        rc = flock(fd, LOCK_EX | LOCK_NB) ? -errno : 0;
        if (rc == -EWOULDBLOCK) {
            (void)usleep(10000);
        }
    }
    return rc;
}

static int take_dir(struct store *s, char **reterr)
{
    const char *dir = s->options.dir;
    if (mkdir(dir, 0700) && errno != EEXIST) {
        int rc = -errno;
        *reterr = mem_printf("the history's directory %s cannot be made: %s", dir, err_text(rc));
        return rc;
    }
    char *path = mem_printf("%s/lock", dir);
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int rc = s->lock_fd < 0 ? -errno : lock_fd(s->lock_fd);
    if (rc == -EWOULDBLOCK) {
        rc = -EEXIST;
        *reterr = mem_printf("the history in %s is in use by another process", dir);
    } else if (rc) {
        *reterr = mem_printf("%s cannot be written: %s", path, err_text(rc));
    }
    mem_free(path);
    return rc;
}

static struct store *store_new(const struct store_options *options)
{
    struct store *s = mem_new(sizeof *s);
    fill_options(s, options);
    s->lock_fd = -1;
    s->journal.fd = -1;
    ops_init(&s->queue);
    ops_init(&s->batch);
    ops_init(&s->waiting);
    s->news_last = &s->news;
    s->asked_last = &s->asked;
    s->fulls_last = &s->fulls;
    uv_mutex_init(&s->lock);
    uv_mutex_init(&s->heads_lock);
    uv_cond_init(&s->wake_writer);
    uv_cond_init(&s->wake_reader);
    return s;
}

static void start(struct store *s)
{
    s->durable = s->told_durable = s->sequence;
    must(uv_thread_create(&s->writer, writer_run, s) == 0);
    must(uv_thread_create(&s->reader, reader_run, s) == 0);
}

static void on_failed_closed(uv_handle_t *handle)
{
    free_store(handle->data);
}

int store_open(const struct store_options *options, struct store **ret_store, char **reterr)
{
    uint64_t began_ms = clock_now_ms();
    struct store *s = store_new(options);
    int rc = uv_async_init(options->loop, &s->async, on_async);
    must(rc == 0);
    s->async.data = s;
    rc = take_dir(s, reterr);
    rc = rc ? rc : events_open(s, reterr);
    if (!rc) {
        period_tidy(s);
        /* Without a journal a kill costs ten minutes of samples: worth going on. */
        if (journal_open(s)) {
            news_add(s, STORE_SAMPLES_STOPPED, mem_copy("the journal cannot be written"));
        }
        s->mine.open_ms = s->figures.open_ms = clock_now_ms() - began_ms;
        start(s);
        *ret_store = s;
        return 0;
    }
    events_close(s);
    tell_news(s, s->news);
    uv_close((uv_handle_t *)&s->async, on_failed_closed);
    return rc;
}

void store_close(struct store *s, void (*on_closed)(void *arg), void *arg)
{
    must(!s->closing);
    s->batching = 0;
    queue_batch(s);
    s->on_closed = on_closed;
    s->closed_arg = arg;
    uv_mutex_lock(&s->lock);
    s->closing = true;
    uv_cond_signal(&s->wake_writer);
    uv_cond_signal(&s->wake_reader);
    uv_mutex_unlock(&s->lock);
}

void store_figures(struct store *s, struct store_figures *ret_figures)
{
    uv_mutex_lock(&s->lock);
    *ret_figures = s->figures;
    ret_figures->durable = s->durable;
    uv_mutex_unlock(&s->lock);
    ret_figures->sequence = s->sequence;
    ret_figures->samples_lost += s->samples_lost;
    ret_figures->events_lost += s->events_lost;
}
