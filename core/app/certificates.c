/* certificates.c: certificates as the master keeps them: from files to workers, and again when a file changes.
 *
 *   a generation  prepare (files are read, -EINVAL refuses it) -> workers get it before PREPARE -> commit | abort
 *   a file        looked at every LOOK_MS; once it has stopped changing all are read anew, what is no good is taken
 *                 over from before with a warning, and workers switch without a generation
 *   an authority  certificates_provide: workers switch at once
 *
 * Owns: the sets in force and on the way, what was provided, the keys of tickets. They stay in memory for workers that
 * are started later; they are in no log, status or history. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "app/certificates.h"
#include "app/certificates_master.h"
#include "app/master.h"
#include "base/ban.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/certificate.h"

enum {
    LOOK_MS = 500,
    TICKET_BYTES = 80,       /* of one key, as net/tls.h wants it */
    TICKET_MS = 12 * 3600000 /* then there is a new one */
};

/* ---- Files ------------------------------------------------------------------------------- */

/* A hash of what stat says of all files, through symbolic links, also of those that are not there. */
static uint64_t look(const struct certificates_set *set)
{
    uint64_t hash = 1;
    for (size_t i = 0; i < set->file_count; i++) {
        struct stat st;
        uint64_t said[8] = {0};
        if (stat(set->files[i], &st) == 0) {
            said[0] = st.st_ino;
            said[1] = st.st_dev;
            said[2] = (uint64_t)st.st_size;
            said[3] = st.st_mode;
            said[4] = (uint64_t)st.st_mtim.tv_sec;
            said[5] = (uint64_t)st.st_mtim.tv_nsec;
            said[6] = (uint64_t)st.st_ctim.tv_sec;
            said[7] = (uint64_t)st.st_ctim.tv_nsec;
        }
        hash = hash_more(hash, said, sizeof said);
    }
    return hash;
}

static void log_lines(enum log_level level, const char *what, const char *lines)
{
    struct str rest = str_of(lines), line;
    while (str_next(&rest, '\n', &line)) {
        char *text = mem_copy_bytes(line.ptr, line.len);
        if (*text) {
            log_write(level, what, "reason=%s", text);
        }
        mem_free(text);
    }
}

/* ---- Messages ---------------------------------------------------------------------------- */

static void send_to(struct master *m, struct child *w, const struct certificates_set *set,
                    uint32_t generation)
{
    struct certificates *k = m->certificates;
    struct buf text;
    buf_init(&text, LIMIT_IPC_BYTES);
    text.secret = true;
    certificates_message(set, k->provided, k->tickets, k->ticket_count, k->version, &text);
    child_send(w, IPC_CERTIFICATES, generation, buf_str(&text));
    buf_free(&text);
}

/* Whether workers have to know: those without TLS do not load its library. */
static bool matters(const struct certificates *k, const struct certificates_set *set)
{
    return set && (certificates_any(set) || k->version);
}

void certificates_welcome(struct master *m, struct child *w, bool candidate)
{
    struct certificates *k = m->certificates;
    const struct certificates_set *set = candidate ? k->candidate : k->set;
    if (certificates_any(set)) {
        send_to(m, w, set, candidate ? m->reload.generation : m->generation);
    }
}

static void send_all(struct master *m, const struct certificates_set *set, uint32_t generation)
{
    for (unsigned i = 0; i < m->worker_count; i++) {
        if (m->workers[i] && m->workers[i]->ready) {
            send_to(m, m->workers[i], set, generation);
        }
    }
}

/* Workers switch to what is there now. */
static void switch_all(struct master *m)
{
    struct certificates *k = m->certificates;
    if (matters(k, k->set)) {
        k->force = ++k->version;
        send_all(m, k->set, m->generation);
    }
    if (k->candidate && m->reload.phase == RELOAD_PREPARING) {
        certificates_send(m); /* with what has come since */
    }
}

bool certificates_told(const struct master *m)
{
    for (unsigned i = 0; i < m->worker_count; i++) {
        const struct child *w = m->workers[i];
        if (w && w->ready && w->certificates < m->certificates->force) {
            return false;
        }
    }
    return true;
}

static void tell(struct master *m)
{
    struct certificates *k = m->certificates;
    if (certificates_told(m) && k->told < k->force) {
        k->told = k->force;
        log_info("certificates in force", "version=%llu", (unsigned long long)k->force);
    }
}

void certificates_on_ack(struct master *m, struct child *w, uint64_t version)
{
    w->certificates = version;
    tell(m);
}

/* ---- Keys of tickets --------------------------------------------------------------------- */

/* A new one before the others. */
static void add_ticket(struct certificates *k, uint64_t now_ms)
{
    char *key = NULL, *why = NULL;
    if (certificate_random(TICKET_BYTES, &key, &why)) {
        log_error("no key for session tickets: sessions are not resumed", "error=%s",
                  why ? why : "no random");
        mem_free(why);
        return;
    }
    if (k->ticket_count == CERTIFICATES_TICKETS) {
        mem_free_secret(k->tickets[--k->ticket_count]);
    }
    memmove(k->tickets + 1, k->tickets, k->ticket_count * sizeof k->tickets[0]);
    k->tickets[0] = key;
    k->ticket_count++;
    k->ticket_ms = now_ms;
}

/* ---- What changed ------------------------------------------------------------------------ */

static const struct certificates_pair *same_pair(const struct certificates_set *set,
                                                 const struct certificates_pair *as)
{
    const struct certificates_pair *p = set->pairs;
    while (p && !(str_same(p->file, as->file) && str_same(p->key_file, as->key_file))) {
        p = p->next;
    }
    return p;
}

/* In the log and the history, once each; `what` begins with "certificate ". */
static void note(struct master *m, const struct certificates_pair *p, const char *what, bool bad)
{
    char until[32]; /* as clock_iso writes it */
    clock_iso((uint64_t)p->c->not_after_s * 1000, until, sizeof until);
    log_write(bad ? LOG_WARN : LOG_INFO, what, "file=%s serial=%s expires=%s", p->file,
              p->c->serial, until);
    char *detail = mem_printf("%s, serial %s, valid until %s", p->file, p->c->serial, until);
    history_note(m, "certificate", p->c->name_count ? p->c->names[0] : p->c->subject,
                 what + strlen("certificate "), detail, bad);
    mem_free(detail);
}

static void note_changes(struct master *m, const struct certificates_set *before,
                         const struct certificates_set *now)
{
    for (const struct certificates_pair *p = now->pairs; p; p = p->next) {
        const struct certificates_pair *old = same_pair(before, p);
        if (!old) {
            note(m, p, "certificate added", false);
        } else if (p->old && !old->old) {
            note(m, p, "certificate kept: its files are no good now", true);
        } else if (!str_same(old->c->serial, p->c->serial) ||
                   !str_same(old->c->issuer, p->c->issuer)) {
            note(m, p, "certificate changed", false);
        }
    }
    for (const struct certificates_pair *p = before->pairs; p; p = p->next) {
        if (!same_pair(now, p)) {
            note(m, p, "certificate removed", false);
        }
    }
}

/* ---- Generations ------------------------------------------------------------------------- */

int certificates_prepare(struct master *m, const struct cJSON *config, char **reterr)
{
    struct certificates *k = m->certificates;
    char *warnings = NULL;
    certificates_abort(m);
    /* Nobody asked for a reload that labels want: a file that is half written is no reason to refuse their containers. */
    const struct certificates_set *before = m->reload.by_labels ? k->set : NULL;
    int rc = certificates_load(config, before, &k->candidate, &warnings, reterr);
    if (!rc) {
        log_lines(LOG_WARN, "certificate", warnings);
        k->candidate_seen = look(k->candidate);
        if (k->candidate->listeners && !k->ticket_count) {
            add_ticket(k, clock_now_ms());
        }
    }
    mem_free(warnings);
    return rc;
}

void certificates_send(struct master *m)
{
    struct certificates *k = m->certificates;
    if (matters(k, k->candidate)) {
        k->version++;
        send_all(m, k->candidate, m->reload.generation);
    }
}

/* When the first answer of an authority is over. */
static uint64_t first_over(const struct certificates_set *set)
{
    uint64_t now_s = clock_wall_ms() / 1000, first = 0;
    for (const struct certificates_pair *p = set->pairs; p; p = p->next) {
        uint64_t until = p->c->ocsp ? (uint64_t)p->c->ocsp_until_s : 0;
        first = until > now_s && (!first || until < first) ? until : first;
    }
    return first;
}

static void adopt(struct certificates *k, struct certificates_set *set, uint64_t seen)
{
    certificates_set_free(k->set);
    k->set = set;
    k->seen = k->loaded = seen;
    k->renew_s = first_over(set);
}

void certificates_commit(struct master *m)
{
    struct certificates *k = m->certificates;
    if (k->candidate) {
        k->version +=
            !k->version && certificates_any(k->candidate); /* the first workers come behind it */
        k->force = k->version;
        if (k->set) {
            note_changes(m, k->set, k->candidate);
        }
        adopt(k, k->candidate, k->candidate_seen);
        k->candidate = NULL;
        if (m->phase == MASTER_SERVING) {
            tell(m);
        }
    }
}

void certificates_abort(struct master *m)
{
    certificates_set_free(m->certificates->candidate);
    m->certificates->candidate = NULL;
}

/* ---- What was provided ------------------------------------------------------------------- */

static void free_provided(struct certificates_provided *p)
{
    mem_free(p->source);
    mem_free(p->id);
    mem_free(p->alpn);
    certificate_free(p->c);
    mem_free(p);
}

/* Takes it out; false: there was none. */
static bool remove_provided(struct certificates *k, const char *source, const char *id,
                            const char *alpn)
{
    for (struct certificates_provided **at = &k->provided; *at; at = &(*at)->next) {
        struct certificates_provided *p = *at;
        if (str_same(p->source, source) && str_same(p->id, id) && str_same(p->alpn, alpn)) {
            *at = p->next;
            free_provided(p);
            return true;
        }
    }
    return false;
}

int certificates_provide(struct master *m, const char *source, const char *id, const char *alpn,
                         const char *chain, const char *key, char **reterr)
{
    struct certificates *k = m->certificates;
    struct certificate *c = NULL;
    int rc = certificate_new(chain, strlen(chain), &c, reterr);
    rc = rc ? rc : certificate_take_key(c, key, strlen(key), reterr);
    if (rc) {
        certificate_free(c);
        return rc;
    }
    (void)remove_provided(k, source, id, alpn);
    struct certificates_provided *p = mem_new(sizeof *p);
    p->source = mem_copy(source);
    p->id = mem_copy(id);
    p->alpn = mem_copy(alpn);
    p->c = c;
    p->next = k->provided;
    k->provided = p;
    switch_all(m);
    return 0;
}

void certificates_withdraw(struct master *m, const char *source, const char *id, const char *alpn)
{
    if (remove_provided(m->certificates, source, id, alpn)) {
        switch_all(m);
    }
}

/* ---- Changes of files -------------------------------------------------------------------- */

static void read_again(struct master *m, uint64_t seen)
{
    struct certificates *k = m->certificates;
    struct certificates_set *set = NULL;
    char *warnings = NULL, *why = NULL;
    if (certificates_load(m->config, k->set, &set, &warnings, &why)) {
        log_lines(LOG_ERROR, "certificates refused: those before go on", why);
        k->loaded = seen;
    } else {
        log_lines(LOG_WARN, "certificate", warnings);
        note_changes(m, k->set, set);
        adopt(k, set, seen);
        switch_all(m);
    }
    mem_free(warnings);
    mem_free(why);
}

void certificates_tick(struct master *m, uint64_t now_ms)
{
    struct certificates *k = m->certificates;
    if (!certificates_any(k->set) || k->candidate || now_ms < k->look_ms) {
        return;
    }
    k->look_ms = now_ms + LOOK_MS;
    uint64_t seen = look(k->set), before = k->seen;
    k->seen = seen;
    bool over = k->renew_s && clock_wall_ms() / 1000 >= k->renew_s;
    if ((seen != k->loaded && seen == before) || over) {
        read_again(m, seen);
    }
    if (now_ms - k->ticket_ms >= TICKET_MS) {
        add_ticket(k, now_ms);
        switch_all(m);
    }
}

/* ---- Life -------------------------------------------------------------------------------- */

void certificates_open(struct master *m)
{
    m->certificates = mem_new(sizeof *m->certificates);
}

void certificates_close(struct master *m)
{
    struct certificates *k = m->certificates;
    if (!k) {
        return;
    }
    certificates_abort(m);
    certificates_set_free(k->set);
    while (k->provided) {
        struct certificates_provided *next = k->provided->next;
        free_provided(k->provided);
        k->provided = next;
    }
    for (size_t i = 0; i < k->ticket_count; i++) {
        mem_free_secret(k->tickets[i]);
    }
    mem_free(k);
    m->certificates = NULL;
}
