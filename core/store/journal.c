/* journal.c: what the heads hold, on disk, so that a kill costs only what was not written yet.
 *
 * Files `journal-N`, N rising, each beginning with a magic word, then blocks: length, check, bytes.
 * A block is what one round of the writer said, as records:
 *
 *     N  slot, lengths, service instance metric     a series has this number in this file
 *     S  at_ms, count, count x (slot, value)
 *     I  count, count x (slot, last_ms)             these samples are about to go to the files
 *     C                                             they are there
 *
 * An I without its C is settled by asking the files. A block that is cut off ends its file: that is
 * where the kill was. A file is deleted when no head has a sample in it.
 *
 * Invariants: numbers are those of this machine; a journal does not travel. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"
#include "store/store_private.h"

enum {
    FILE_MS = 5 * 60 * 1000,
    FILE_BYTES = 64 << 20,
    BLOCK_BYTES = 64 << 20,
    NAME_BYTES = 4096, /* of a series, all three parts */
};

static const char magic[8] = "tgjrnl1\n";

struct block_head {
    uint32_t len, check;
};

/* Eight bytes at a time: tens of megabytes are checked when the store opens. */
static uint32_t check_of(const char *bytes, size_t len)
{
    uint64_t h = len, word = 0;
    for (; len >= sizeof word; len -= sizeof word, bytes += sizeof word) {
        memcpy(&word, bytes, sizeof word);
        h = (h ^ word) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
    }
    return (uint32_t)hash_more(h, bytes, len);
}

/* ---- Writing ----------------------------------------------------------------------------- */

static char *path_of(const struct store *s, uint32_t number)
{
    return mem_printf("%s/journal-%u", s->options.dir, number);
}

static void put(struct store *s, const void *bytes, size_t len)
{
    (void)buf_append(&s->journal.out, bytes, len);
}

static void put_u32(struct store *s, uint32_t number)
{
    put(s, &number, sizeof number);
}

/* The list of samples that is open gets its length. */
static void end_list(struct store *s)
{
    struct journal *j = &s->journal;
    if (j->list) {
        memcpy(j->out.data + j->list, &j->list_count, sizeof j->list_count);
        j->list = 0;
    }
}

void journal_name(struct store *s, uint32_t slot, const struct series_name *name)
{
    end_list(s);
    put(s, "N", 1);
    put_u32(s, slot);
    size_t len = strlen(name->service) + strlen(name->instance) + strlen(name->metric) + 3;
    put_u32(s, (uint32_t)len);
    put(s, name->bytes, len);
}

void journal_sample(struct store *s, uint32_t slot, uint64_t at_ms, double value)
{
    struct journal *j = &s->journal;
    if (!j->list || j->list_ms != at_ms) {
        end_list(s);
        put(s, "S", 1);
        put(s, &at_ms, sizeof at_ms);
        j->list = j->out.len;
        j->list_ms = at_ms;
        j->list_count = 0;
        put_u32(s, 0);
    }
    put_u32(s, slot);
    put(s, &value, sizeof value);
    j->list_count++;
}

void journal_intent(struct store *s, const struct full *fulls, size_t count)
{
    end_list(s);
    const struct full *f = fulls;
    for (size_t i = 0; i < count; i++, f = f->next) {
        struct head *h = &s->heads[f->slot];
        /* A slot that is another's by now: said as the old one, so say the new one again. */
        if (!h->name || h->name->hash != f->name->hash || h->named_in != s->journal.number) {
            journal_name(s, f->slot, f->name);
            h->named_in = h->name && h->name->hash == f->name->hash ? s->journal.number : 0;
        }
        put(s, "I", 1);
        put_u32(s, f->slot);
        put(s, &f->samples[0].at_ms, sizeof f->samples[0].at_ms);
        put(s, &f->samples[f->count - 1].at_ms, sizeof f->samples[0].at_ms);
    }
}

void journal_done(struct store *s)
{
    end_list(s);
    put(s, "C", 1);
}

static int write_all(int fd, const void *bytes, size_t len)
{
    const char *at = bytes;
    while (len > 0) {
        ssize_t wrote = write(fd, at, len);
        if (wrote < 0 && errno != EINTR) {
            return -errno;
        }
        at += wrote > 0 ? wrote : 0;
        len -= wrote > 0 ? (size_t)wrote : 0;
    }
    return 0;
}

int journal_flush(struct store *s)
{
    struct journal *j = &s->journal;
    end_list(s);
    if (!j->out.len) {
        return 0;
    }
    struct block_head head = {.len = (uint32_t)j->out.len,
                              .check = check_of(j->out.data, j->out.len)};
    int rc = j->fd < 0 ? -EBADF : write_all(j->fd, &head, sizeof head);
    rc = rc ? rc : write_all(j->fd, j->out.data, j->out.len);
    if (!rc) {
        j->bytes += sizeof head + j->out.len;
    } else if (j->fd >= 0 && ftruncate(j->fd, (off_t)j->bytes) == 0) {
        /* Half a block would hide those behind it. */
        (void)lseek(j->fd, (off_t)j->bytes, SEEK_SET);
    }
    buf_clear(&j->out);
    return rc;
}

static int begin_file(struct store *s, uint32_t number)
{
    struct journal *j = &s->journal;
    char *path = path_of(s, number);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int rc = fd < 0 ? -errno : write_all(fd, magic, sizeof magic);
    if (rc && fd >= 0) {
        close(fd);
        (void)unlink(path);
    }
    mem_free(path);
    if (rc) {
        return rc;
    }
    if (j->fd >= 0) {
        close(j->fd);
    }
    j->fd = fd;
    j->number = number;
    j->bytes = sizeof magic;
    j->started_ms = clock_now_ms();
    return 0;
}

/* ---- Reading ----------------------------------------------------------------------------- */

struct intent {
    uint32_t slot;
    uint64_t first_ms, last_ms;
};

struct replay {
    struct store *s;
    uint32_t *slots; /* of this run, by number in the file; 0 = none */
    uint32_t slot_cap;
    struct intent *intents;
    size_t intent_count, intent_cap;
    const char *at, *end;
};

static bool get(struct replay *r, void *to, size_t len)
{
    if ((size_t)(r->end - r->at) < len) {
        return false;
    }
    memcpy(to, r->at, len);
    r->at += len;
    return true;
}

static uint32_t slot_in(const struct replay *r, uint32_t number)
{
    return number < r->slot_cap ? r->slots[number] : 0;
}

static bool read_name(struct replay *r)
{
    uint32_t number, len;
    if (!get(r, &number, sizeof number) || !get(r, &len, sizeof len) || len > NAME_BYTES ||
        number > STORE_SERIES * 2 || (size_t)(r->end - r->at) < len) {
        return false;
    }
    const char *parts[3], *at = r->at, *end = r->at + len;
    for (int i = 0; i < 3; i++) {
        const char *nul = memchr(at, 0, (size_t)(end - at));
        if (!nul) {
            return false;
        }
        parts[i] = at;
        at = nul + 1;
    }
    r->at = end;
    if (number >= r->slot_cap) {
        uint32_t cap = number * 2 + 256;
        r->slots = mem_resize(r->slots, cap * sizeof *r->slots);
        memset(r->slots + r->slot_cap, 0, (cap - r->slot_cap) * sizeof *r->slots);
        r->slot_cap = cap;
    }
    struct series_name *name = series_name_new(parts[0], parts[1], parts[2]);
    uint32_t slot = slots_find(&r->s->slots, name->hash);
    slot = slot ? slot : slots_add(&r->s->slots, name->hash);
    r->slots[number] = slot;
    if (slot) {
        heads_restore_name(r->s, slot, name);
    } else {
        mem_free(name);
    }
    return true;
}

static bool read_samples(struct replay *r)
{
    uint64_t at_ms;
    uint32_t count;
    if (!get(r, &at_ms, sizeof at_ms) || !get(r, &count, sizeof count)) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t number;
        double value;
        if (!get(r, &number, sizeof number) || !get(r, &value, sizeof value)) {
            return false;
        }
        if (slot_in(r, number)) {
            heads_restore_sample(r->s, slot_in(r, number), at_ms, value);
        }
    }
    return true;
}

static bool read_intent(struct replay *r)
{
    uint32_t number;
    struct intent to;
    if (!get(r, &number, sizeof number) || !get(r, &to.first_ms, sizeof to.first_ms) ||
        !get(r, &to.last_ms, sizeof to.last_ms)) {
        return false;
    }
    to.slot = slot_in(r, number);
    if (!to.slot) {
        return true;
    }
    if (r->intent_count == r->intent_cap) {
        r->intent_cap = r->intent_cap ? r->intent_cap * 2 : 256;
        r->intents = mem_resize(r->intents, r->intent_cap * sizeof *r->intents);
    }
    r->intents[r->intent_count++] = to;
    return true;
}

static void settle(struct replay *r, bool ask)
{
    for (size_t i = 0; i < r->intent_count; i++) {
        const struct intent *it = &r->intents[i];
        if (!ask || period_has(r->s, r->s->heads[it->slot].name, it->first_ms)) {
            heads_restore_done(r->s, it->slot, it->last_ms);
        }
    }
    r->intent_count = 0;
}

static void read_block(struct replay *r, const char *bytes, size_t len)
{
    bool well = true;
    r->at = bytes;
    r->end = bytes + len;
    while (well && r->at < r->end) {
        switch (*r->at++) {
        case 'N':
            well = read_name(r);
            break;
        case 'S':
            well = read_samples(r);
            break;
        case 'I':
            well = read_intent(r);
            break;
        case 'C':
            settle(r, false);
            break;
        default:
            well = false;
        }
    }
}

/* The whole file; NULL when it is none of ours. */
static char *read_file(const char *path, size_t *ret_len)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    char *bytes = NULL;
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0) {
        bytes = mem_new((size_t)st.st_size);
        size_t len = 0;
        ssize_t got;
        while (len < (size_t)st.st_size &&
               (got = read(fd, bytes + len, (size_t)st.st_size - len)) > 0) {
            len += (size_t)got;
        }
        *ret_len = len;
        if (len < sizeof magic || memcmp(bytes, magic, sizeof magic) != 0) {
            mem_release(&bytes);
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    return bytes;
}

static void replay_file(struct store *s, uint32_t number)
{
    struct replay r = {.s = s};
    size_t len = 0, at = sizeof magic;
    char *path = path_of(s, number);
    char *bytes = read_file(path, &len);
    s->journal.number = number;
    while (bytes && len - at > sizeof(struct block_head)) {
        struct block_head head;
        memcpy(&head, bytes + at, sizeof head);
        at += sizeof head;
        if (head.len > len - at || head.check != check_of(bytes + at, head.len)) {
            break;
        }
        read_block(&r, bytes + at, head.len);
        at += head.len;
    }
    settle(&r, true);
    mem_free(bytes);
    mem_free(r.slots);
    mem_free(r.intents);
    mem_free(path);
}

/* ---- All files --------------------------------------------------------------------------- */

/* Lowest and highest number; false: there are none. */
static bool find_files(const struct store *s, uint32_t *ret_first, uint32_t *ret_last)
{
    DIR *dir = dir_open(s);
    bool any = false;
    for (struct dirent *e; dir && (e = readdir(dir));) {
        uint64_t number;
        struct str name = str_of(e->d_name);
        if (str_starts(name, "journal-") && str_to_u64(str_sub(name, 8, name.len), &number) == 0 &&
            number < UINT32_MAX) {
            *ret_first = any && *ret_first < number ? *ret_first : (uint32_t)number;
            *ret_last = any && *ret_last > number ? *ret_last : (uint32_t)number;
            any = true;
        }
    }
    if (dir) {
        closedir(dir);
    }
    return any;
}

static void delete_below(struct store *s, uint32_t number)
{
    uint32_t first, last;
    if (!find_files(s, &first, &last)) {
        return;
    }
    for (; first < number; first++) {
        char *path = path_of(s, first);
        (void)unlink(path);
        mem_free(path);
    }
}

int journal_open(struct store *s)
{
    uint32_t first = 1, last = 0;
    buf_init(&s->journal.out, BLOCK_BYTES);
    if (find_files(s, &first, &last)) {
        for (uint32_t number = first; number <= last; number++) {
            replay_file(s, number);
        }
    }
    int rc = begin_file(s, last + 1);
    s->journal.number = last + 1;
    return rc;
}

void journal_keep(struct store *s, uint64_t now_ms)
{
    const struct journal *j = &s->journal;
    bool due = j->fd < 0 || now_ms - j->started_ms >= FILE_MS || j->bytes >= FILE_BYTES;
    if (due && !s->mine.samples_stopped) {
        (void)journal_flush(s);
        (void)begin_file(s, j->number + 1);
    }
    delete_below(s, heads_first_journal(s));
}

void journal_close(struct store *s)
{
    if (s->journal.fd >= 0) {
        (void)fsync(s->journal.fd);
        close(s->journal.fd);
        s->journal.fd = -1;
    }
    buf_free(&s->journal.out);
}
