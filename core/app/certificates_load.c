/* certificates_load.c: a configuration's certificates, read and checked; see certificates.h.
 *
 * Called by: the master for a generation and when a file changed, `tidegate check`.
 * Invariants: a set is whole or is not made. With a set before, what is no good now is taken over from there, so a
 * half-written file costs a warning and nothing else. */
#include "app/certificates.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/ban.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"
#include "net/certificate.h"

struct load {
    struct certificates_set *set;
    const struct certificates_set *before; /* NULL: what is wrong is an error */
    struct buf errors, warnings;
    struct certificates_pair **pairs_end;
    size_t pairs;
    size_t bytes; /* of the message to workers, about */
};

/* ---- What is wrong ----------------------------------------------------------------------- */

/* "tidegate.lua:13: /etc/shop.pem: is empty"; takes `why`. */
static void note(struct buf *to, const char *at, const char *file, char *takes_why)
{
    (void)buf_printf(to, "%s: %s%s%s\n", at, file ? file : "", file ? ": " : "", takes_why);
    mem_free(takes_why);
}

struct looking {
    struct load *load;
    const struct certificates_pair *pair;
};

static void on_said(void *arg, bool grave, const char *text)
{
    const struct looking *l = arg;
    (void)grave;
    note(&l->load->warnings, l->pair->at, l->pair->file, mem_copy(text));
}

/* ---- Files ------------------------------------------------------------------------------- */

static void watch(struct load *l, const char *path)
{
    struct certificates_set *s = l->set;
    for (size_t i = 0; i < s->file_count; i++) {
        if (str_same(s->files[i], path)) {
            return;
        }
    }
    s->files = mem_resize(s->files, (s->file_count + 1) * sizeof *s->files);
    s->files[s->file_count++] = mem_copy(path);
}

/* Reads a file that is watched from now on; there may be a key in it, and with `secret` others may not read it. */
static int read_file(struct load *l, const char *path, bool secret, struct buf *bytes,
                     char **reterr)
{
    buf_init(bytes, LIMIT_CERTIFICATE_BYTES);
    bytes->secret = true;
    watch(l, path);
    return certificates_read(path, secret, bytes, reterr);
}

/* ---- Pairs ------------------------------------------------------------------------------- */

static void free_pair(struct certificates_pair *p)
{
    mem_free(p->file);
    mem_free(p->key_file);
    mem_free(p->ocsp_file);
    mem_free(p->at);
    certificate_free(p->c);
    mem_free(p);
}

static const struct certificates_pair *find_pair(const struct certificates_set *set,
                                                 const char *file, const char *key_file)
{
    const struct certificates_pair *p = set ? set->pairs : NULL;
    while (p && !(str_same(p->file, file) && str_same(p->key_file, key_file))) {
        p = p->next;
    }
    return p;
}

/* The key, out of a file of its own or of the certificate's. */
static int read_key(struct load *l, struct certificate *c, const char *path, bool own,
                    char **reterr)
{
    struct buf key;
    int rc = read_file(l, path, false, &key, reterr);
    if (!rc && !own && !certificate_has_key(buf_str(&key), key.len)) {
        *reterr = mem_copy("has no key beside the certificate: name its file: key = \"shop.key\"");
        rc = -EINVAL;
    }
    if (!rc) {
        buf_free(&key);
        rc = read_file(l, path, true, &key, reterr);
    }
    rc = rc ? rc : certificate_take_key(c, buf_str(&key), key.len, reterr);
    buf_free(&key);
    return rc;
}

/* Certificate and key of a pair; else the sentence, and the file that it is about. */
static int read_pair(struct load *l, const char *file, const char *key_file,
                     struct certificate **ret_certificate, const char **ret_file, char **reterr)
{
    struct buf chain;
    struct certificate *c = NULL;
    *ret_file = file;
    int rc = read_file(l, file, false, &chain, reterr);
    rc = rc ? rc : certificate_new(buf_str(&chain), chain.len, &c, reterr);
    buf_free(&chain);
    if (!rc) {
        *ret_file = key_file;
        rc = read_key(l, c, key_file, !str_same(file, key_file), reterr);
    }
    if (rc) {
        certificate_free(c);
        return rc;
    }
    *ret_certificate = c;
    return 0;
}

/* A copy of what was read before, by its own texts. */
static struct certificate *again(const struct certificates_pair *before)
{
    struct certificate *c = NULL;
    char *why = NULL;
    const struct certificate *old = before ? before->c : NULL;
    if (old && !certificate_new(old->chain, strlen(old->chain), &c, &why) &&
        certificate_take_key(c, old->key, strlen(old->key), &why)) {
        certificate_free(c);
        c = NULL;
    }
    if (c && old->ocsp) {
        c->ocsp = mem_copy(old->ocsp);
        c->ocsp_until_s = old->ocsp_until_s;
    }
    mem_free(why);
    return c;
}

static void read_answer(struct load *l, struct certificates_pair *p)
{
    struct buf der;
    char *why = NULL;
    int rc = read_file(l, p->ocsp_file, false, &der, &why);
    if (rc || certificate_staple(p->c, buf_str(&der), der.len, &why)) {
        /* Clients do without, or were told to insist: then they were told in vain before, too. */
        note(l->before ? &l->warnings : &l->errors, p->at, p->ocsp_file, why);
    }
    buf_free(&der);
}

/* The pair of these files, read once however many listeners have it; NULL: it is no good, and that is noted. */
static const struct certificates_pair *add_pair(struct load *l, const char *file,
                                                const char *key_file, const char *ocsp_file,
                                                const char *at)
{
    const struct certificates_pair *known = find_pair(l->set, file, key_file);
    if (known) {
        return known;
    }
    struct certificate *c = NULL;
    const char *bad = file;
    char *why = NULL;
    int rc = l->pairs < LIMIT_CERTIFICATES ? read_pair(l, file, key_file, &c, &bad, &why) : -E2BIG;
    bool old = false;
    if (rc == -E2BIG) {
        why = mem_printf("is one too many: at most %d certificates", LIMIT_CERTIFICATES);
    } else if (rc && l->before) {
        c = again(find_pair(l->before, file, key_file));
        old = c != NULL;
    }
    if (rc) {
        note(l->before ? &l->warnings : &l->errors, at, bad,
             old ? mem_printf("%s; the certificate that was read before goes on", why)
                 : mem_copy(why));
        mem_free(why);
    }
    if (!c) {
        return NULL;
    }
    struct certificates_pair *p = mem_new(sizeof *p);
    p->file = mem_copy(file);
    p->key_file = mem_copy(key_file);
    p->ocsp_file = mem_copy(ocsp_file);
    p->at = mem_copy(at);
    p->c = c;
    p->old = old;
    *l->pairs_end = p;
    l->pairs_end = &p->next;
    l->pairs++;
    if (ocsp_file && !old) {
        read_answer(l, p);
    }
    struct looking looking = {l, p};
    certificate_look(c, (int64_t)(clock_wall_ms() / 1000), on_said, &looking);
    return p;
}

/* ---- Sources ----------------------------------------------------------------------------- */

static struct certificates_entry *add_entry(struct certificates_listener *to)
{
    to->entries = mem_resize(to->entries, (to->count + 1) * sizeof *to->entries);
    struct certificates_entry *e = &to->entries[to->count++];
    *e = (struct certificates_entry){0};
    return e;
}

static bool is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* What a file of a folder holds, which may be neither. */
static void look_into(struct load *l, const char *path, bool *ret_certificate, bool *ret_key)
{
    struct buf bytes;
    char *why = NULL;
    int rc = read_file(l, path, false, &bytes, &why);
    *ret_key = certificate_has_key(buf_str(&bytes), bytes.len);
    *ret_certificate = rc || !bytes.len || memmem(bytes.data, bytes.len, "BEGIN CERTIFICATE", 17);
    buf_free(&bytes);
    mem_free(why);
}

/* One file of a folder. */
static void add_from_folder(struct load *l, struct certificates_listener *to, const char *folder,
                            const char *name, const char *at)
{
    char *file = mem_printf("%s/%s", folder, name);
    size_t base = strlen(file) - 4;
    char *key_file = mem_printf("%.*s.key", (int)base, file);
    char *ocsp_file = mem_printf("%.*s.ocsp", (int)base, file);
    bool certificate = true, within = false, has_key = is_file(key_file);
    watch(l, key_file);
    watch(l, ocsp_file);
    if (is_file(file)) {
        look_into(l, file, &certificate, &within);
        if (certificate && (has_key || within)) {
            const struct certificates_pair *p = add_pair(l, file, has_key ? key_file : file,
                                                         is_file(ocsp_file) ? ocsp_file : NULL, at);
            if (p) {
                add_entry(to)->pair = p;
            }
        } else if (certificate) {
            note(&l->warnings, at, file,
                 mem_printf("is left out: its key is neither in it nor in %s", key_file));
        }
    }
    mem_free(file);
    mem_free(key_file);
    mem_free(ocsp_file);
}

static int is_certificate_name(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);
    const char *end = entry->d_name + (len > 4 ? len - 4 : 0);
    return entry->d_name[0] != '.' && len > 4 && (str_same(end, ".pem") || str_same(end, ".crt"));
}

static void add_folder(struct load *l, struct certificates_listener *to, const char *folder,
                       const char *at)
{
    struct dirent **found = NULL;
    watch(l, folder);
    int count = scandir(folder, &found, is_certificate_name, alphasort);
    if (count < 0) {
        char *why = mem_copy(err_text(-errno));
        why[0] = (char)tolower((unsigned char)why[0]);
        note(l->before ? &l->warnings : &l->errors, at, folder,
             mem_printf("is no folder that can be read: %s", why));
        mem_free(why);
    }
    size_t before = to->count;
    for (int i = 0; i < count; i++) {
        add_from_folder(l, to, folder, found[i]->d_name, at);
        free(found[i]); /* NOLINT: made by libc */
    }
    free(found); /* NOLINT: made by libc */
    if (count >= 0 && to->count == before && !l->errors.len) {
        note(&l->warnings, at, folder,
             mem_copy(
                 "has no certificates: NAME.pem or NAME.crt with NAME.key, or both in one file"));
    }
}

static void add_source(struct load *l, struct certificates_listener *to, const struct cJSON *source)
{
    const char *at = json_str(source, "at", ""), *folder = json_str(source, "folder", NULL);
    const char *file = json_str(source, "certificate", NULL),
               *acme = json_str(source, "acme", NULL);
    if (folder) {
        add_folder(l, to, folder, at);
    } else if (acme) {
        add_entry(to)->acme = mem_copy(acme);
    } else if (file) {
        const struct certificates_pair *p =
            add_pair(l, file, json_str(source, "key", file), json_str(source, "ocsp", NULL), at);
        if (p) {
            add_entry(to)->pair = p;
        }
    }
}

/* ---- Listeners --------------------------------------------------------------------------- */

static bool covers(const struct certificates_entry *e, const char *host)
{
    return e->pair ? certificate_covers(e->pair->c, host) : !strcasecmp(e->acme, host);
}

static bool any_covers(const struct certificates_listener *li, const char *host)
{
    bool covered = false;
    for (size_t i = 0; i < li->count && !covered; i++) {
        covered = covers(&li->entries[i], host);
    }
    return covered;
}

static void check_hosts(struct load *l, const struct certificates_listener *li,
                        const struct cJSON *spec)
{
    const struct cJSON *host = json_first(json_get(spec, "hosts"));
    for (; host; host = json_next(host)) {
        const char *name = json_str(host, "name", "");
        if (*name && !any_covers(li, name) && !li->anybody) {
            note(
                &l->warnings, json_str(host, "at", ""), NULL,
                mem_printf(
                    "no certificate on %s is for %s: clients that ask for it are refused: add one, "
                    "or say which they get: tls = { default = \"NAME\" }",
                    li->listen, name));
        }
    }
}

/* Who names an unknown host gets the certificates of this one. */
static void check_default(struct load *l, struct certificates_listener *li,
                          const struct cJSON *spec)
{
    const struct cJSON *wanted = json_get(spec, "default");
    const char *name = json_str(wanted, "name", NULL);
    for (size_t i = 0; name && i < li->count; i++) {
        li->entries[i].anybody = covers(&li->entries[i], name);
    }
    li->anybody = mem_copy(name);
    if (name && !any_covers(li, name)) {
        note(l->before ? &l->warnings : &l->errors, json_str(wanted, "at", ""), NULL,
             mem_printf("default is \"%s\", and no certificate on %s is for it", name, li->listen));
    }
}

static const struct certificates_listener *listener_before(const struct load *l, const char *listen)
{
    const struct certificates_listener *li = l->before ? l->before->listeners : NULL;
    while (li && !str_same(li->listen, listen)) {
        li = li->next;
    }
    return li;
}

static void read_client_ca(struct load *l, struct certificates_listener *li,
                           const struct cJSON *spec)
{
    const struct cJSON *ca = json_get(spec, "client_ca");
    const char *path = json_str(ca, "path", NULL);
    struct buf pem;
    char *why = NULL;
    if (!path) {
        return;
    }
    int rc = read_file(l, path, false, &pem, &why);
    rc = rc ? rc : certificate_authorities(buf_str(&pem), pem.len, &why);
    if (rc >= 0) {
        li->client_ca = mem_copy(buf_str(&pem));
    } else {
        const struct certificates_listener *old = listener_before(l, li->listen);
        li->client_ca = old ? mem_copy(old->client_ca) : NULL;
        note(l->before ? &l->warnings : &l->errors, json_str(ca, "at", ""), path, why);
    }
    buf_free(&pem);
}

/* Whether it is a server's own certificate, trusted as it is. */
static bool is_self_signed(const struct buf *pem)
{
    struct certificate *c = NULL;
    char *why = NULL;
    bool is = !certificate_new(buf_str(pem), pem->len, &c, &why) && c->self_signed;
    certificate_free(c);
    mem_free(why);
    return is;
}

/* What an ACME authority's own https is checked with: read by who asks it, so it is only looked at. */
static void check_acme(struct load *l, const struct cJSON *acme)
{
    const char *path = json_str(acme, "ca", NULL);
    struct buf pem;
    char *why = NULL;
    if (!path) {
        return;
    }
    int rc = read_file(l, path, false, &pem, &why);
    rc = rc ? rc : certificate_authorities(buf_str(&pem), pem.len, &why);
    if (rc < 0 && !is_self_signed(&pem)) {
        note(l->before ? &l->warnings : &l->errors, json_str(acme, "at", ""), path, why);
        why = NULL;
    }
    mem_free(why);
    buf_free(&pem);
}

/* All that it had is gone: it goes on with what it had. */
static void keep_entries(struct load *l, struct certificates_listener *li)
{
    const struct certificates_listener *old = listener_before(l, li->listen);
    for (size_t i = 0; old && !li->count && i < old->count; i++) {
        const struct certificates_pair *p = old->entries[i].pair;
        struct certificate *c = p ? again(p) : NULL;
        if (c) {
            struct certificates_pair *copy = mem_new(sizeof *copy);
            copy->file = mem_copy(p->file);
            copy->key_file = mem_copy(p->key_file);
            copy->at = mem_copy(p->at);
            copy->old = true;
            copy->c = c;
            *l->pairs_end = copy;
            l->pairs_end = &copy->next;
            add_entry(li)->pair = copy;
            note(&l->warnings, p->at, p->file,
                 mem_copy("is gone, with all others of its listener: it goes on"));
        }
    }
}

/* What its entries take in the message: with every line's end written as two bytes. */
static size_t message_bytes(const struct certificates_listener *li)
{
    size_t bytes = li->client_ca ? strlen(li->client_ca) * 11 / 10 : 0;
    for (size_t i = 0; i < li->count; i++) {
        const struct certificate *c = li->entries[i].pair ? li->entries[i].pair->c : NULL;
        bytes += c ? (strlen(c->chain) + strlen(c->key) + (c->ocsp ? strlen(c->ocsp) : 0)) * 11 / 10
                   : 8192;
        bytes += 512 + (c ? c->name_count * 260 : 0);
    }
    return bytes;
}

/* Why it has none, owned: a folder that has none is the likelier mistake than none at all. */
static char *nothing_to_show(const struct certificates_listener *li, const struct cJSON *spec)
{
    const struct cJSON *source = json_first(json_get(spec, "sources"));
    while (source && !json_str(source, "folder", NULL)) {
        source = json_next(source);
    }
    return source
               ? mem_printf("%s has no certificate to show: in %s there is no NAME.pem or NAME.crt",
                            li->listen, json_str(source, "folder", ""))
               : mem_printf("%s has no certificate to show: add one: tls = { certificate = "
                            "\"shop.pem\", key = \"shop.key\" }",
                            li->listen);
}

static void add_listener(struct load *l, struct certificates_listener **to,
                         const struct cJSON *spec)
{
    struct certificates_listener *li = *to = mem_new(sizeof *li);
    li->listen = mem_copy(json_str(spec, "listen", ""));
    li->at = mem_copy(json_str(spec, "at", ""));
    li->client = mem_copy(json_str(spec, "client", "none"));
    li->min_version = mem_copy(json_str(spec, "min_version", "1.2"));
    li->http2 = json_bool(spec, "http2", true);
    size_t errors = l->errors.len;
    const struct cJSON *source = json_first(json_get(spec, "sources"));
    for (; source; source = json_next(source)) {
        add_source(l, li, source);
    }
    read_client_ca(l, li, spec);
    if (!li->count && l->before) {
        keep_entries(l, li);
    }
    if (!li->count && errors == l->errors.len) {
        note(l->before ? &l->warnings : &l->errors, li->at, NULL, nothing_to_show(li, spec));
    }
    l->bytes += message_bytes(li);
    if (l->bytes > LIMIT_IPC_BYTES) {
        note(&l->errors, li->at, NULL,
             mem_copy("has, with the listeners before it, more certificates than fit into "
                      "memory set aside for them: use fewer"));
    }
    if (errors == l->errors.len) {
        check_default(l, li, spec);
        check_hosts(l, li, spec);
    }
}

static int on_read(void *arg, const char *path, bool secret, struct buf *bytes, char **reterr)
{
    return read_file(arg, path, secret, bytes, reterr);
}

static void on_bad(void *arg, const char *at, const char *path, char *why)
{
    struct load *l = arg;
    note(l->before ? &l->warnings : &l->errors, at, path, why);
}

/* Without the last line's end; the buffer is empty then. */
static char *lines(struct buf *b)
{
    char *text = buf_take(b);
    size_t len = strlen(text);
    text[len ? len - 1 : 0] = '\0';
    return text;
}

/* ---- Sets -------------------------------------------------------------------------------- */

int certificates_load(const struct cJSON *config, const struct certificates_set *before,
                      struct certificates_set **ret_set, char **ret_warnings, char **reterr)
{
    struct load l = {.set = mem_new(sizeof *l.set), .before = before};
    buf_init(&l.errors, LIMIT_CONFIG_BYTES);
    buf_init(&l.warnings, LIMIT_CONFIG_BYTES);
    l.pairs_end = &l.set->pairs;
    struct certificates_listener **end = &l.set->listeners;
    const struct cJSON *spec = json_first(json_get(config, "tls"));
    for (; spec; spec = json_next(spec)) {
        add_listener(&l, end, spec);
        end = &(*end)->next;
    }
    check_acme(&l, json_path(config, "cluster.acme"));
    const struct certificates_reader with = {&l, on_read, on_bad, before};
    certificates_upstreams_load(config, &with, &l.set->upstreams);
    int rc = l.errors.len ? -EINVAL : 0;
    *ret_warnings = lines(&l.warnings);
    if (rc) {
        *reterr = lines(&l.errors);
        certificates_set_free(l.set);
    } else {
        *ret_set = l.set;
    }
    buf_free(&l.errors);
    return rc;
}

bool certificates_any(const struct certificates_set *set)
{
    return set && (set->listeners || set->upstreams);
}

void certificates_set_free(struct certificates_set *set)
{
    if (!set) {
        return;
    }
    for (struct certificates_pair *p = set->pairs, *next; p; p = next) {
        next = p->next;
        free_pair(p);
    }
    for (struct certificates_listener *li = set->listeners, *next; li; li = next) {
        next = li->next;
        for (size_t i = 0; i < li->count; i++) {
            mem_free(li->entries[i].acme);
        }
        mem_free(li->entries);
        mem_free(li->listen);
        mem_free(li->at);
        mem_free(li->client);
        mem_free(li->min_version);
        mem_free(li->client_ca);
        mem_free(li->anybody);
        mem_free(li);
    }
    certificates_upstreams_free(set->upstreams);
    for (size_t i = 0; i < set->file_count; i++) {
        mem_free(set->files[i]);
    }
    mem_free(set->files);
    mem_free(set);
}
