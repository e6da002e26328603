/* tls.c: connections: handshake, records in and out; see tls.h.
 *
 * OpenSSL never sees the socket. A call receives once, as much as there is, into the buffer that all
 * connections share, and OpenSSL takes its records from there; what it writes is gathered in a second one and
 * leaves with one call to the kernel. So a request that comes in one record and its answer cost one
 * system call each.
 *
 * Invariants: outside of a call nothing of a connection is in the shared buffers. `drained` says that the socket
 * gave all it had: until its next event nobody asks it again. What the kernel takes is told to the sender by whole
 * records: the rest of a record that it took in part waits in `out`, and its plain bytes (`owed`) are the first that
 * the sender offers again. */
#include "net/tls_private.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/ban.h"
#include "base/err.h"
#include "base/mem.h"

enum {
    HEADER_BYTES = 5, /* of a record */
    HANDSHAKE = 22    /* its type */
};

/* ---- bytes ------------------------------------------------------------------------------- */

static void receive(struct tls *t)
{
    struct tls_io *io = t->io;
    if (t->drained || t->ended || t->failed) {
        return;
    }
    ssize_t n;
    do {
        n = recv(t->fd, io->raw + io->raw_len, sizeof io->raw - io->raw_len, 0);
    } while (n < 0 && errno == EINTR);
    if (n < 0) {
        t->drained = true;
        t->failed = errno == EAGAIN ? 0 : -errno;
        return;
    }
    t->ended = n == 0;
    t->drained = (size_t)n < sizeof io->raw - io->raw_len;
    io->raw_len += (size_t)n;
}

static void drop_held(struct tls *t)
{
    mem_release(&t->held);
    t->held_at = t->held_len = 0;
}

static size_t take(struct tls *t, char *to, size_t size)
{
    struct tls_io *io = t->io;
    if (t->held) {
        size_t n = t->held_len - t->held_at < size ? t->held_len - t->held_at : size;
        memcpy(to, t->held + t->held_at, n);
        t->held_at += n;
        if (t->held_at == t->held_len) {
            drop_held(t);
        }
        return n;
    }
    size_t n = io->raw_len - io->raw_at < size ? io->raw_len - io->raw_at : size;
    memcpy(to, io->raw + io->raw_at, n);
    io->raw_at += n;
    return n;
}

static int bio_read(BIO *bio, char *to, size_t size, size_t *ret_read)
{
    struct tls *t = BIO_get_data(bio);
    struct tls_io *io = t->io;
    BIO_clear_retry_flags(bio);
    if (!t->held && io->raw_at == io->raw_len) {
        io->raw_at = io->raw_len = 0;
        receive(t);
    }
    *ret_read = take(t, to, size);
    if (!*ret_read && !t->ended && !t->failed) {
        BIO_set_retry_read(bio);
    }
    return *ret_read > 0;
}

static int bio_write(BIO *bio, const char *bytes, size_t len, size_t *ret_written)
{
    struct tls *t = BIO_get_data(bio);
    struct tls_io *io = t->io;
    BIO_clear_retry_flags(bio);
    if (len > sizeof io->out - io->out_len) {
        return 0;
    }
    memcpy(io->out + io->out_len, bytes, len);
    io->out_len += len;
    *ret_written = len;
    return 1;
}

static long bio_ctrl(BIO *bio, int what, long number, void *pointer)
{
    const struct tls *t = BIO_get_data(bio);
    (void)number;
    (void)pointer;
    return what == BIO_CTRL_FLUSH || (what == BIO_CTRL_EOF && t->ended);
}

struct tls_io *tls_io_new(void)
{
    return mem_new(sizeof(struct tls_io));
}

void tls_io_free(struct tls_io *io)
{
    if (io && io->method) {
        BIO_meth_free(io->method);
    }
    mem_free(io);
}

/* Begins a call. */
static void enter(struct tls *t)
{
    t->drained = false;
    t->io->raw_at = t->io->raw_len = t->io->out_len = 0;
}

static ssize_t send_bytes(struct tls *t, const unsigned char *bytes, size_t len)
{
    ssize_t n;
    do {
        n = send(t->fd, bytes, len, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n >= 0 ? n : errno == EAGAIN ? 0 : -errno;
}

/* Sends what waits. 1 = nothing waits now, 0, -errno. */
static int send_waiting(struct tls *t)
{
    if (!t->out) {
        return 1;
    }
    ssize_t n = send_bytes(t, t->out + t->out_at, t->out_len - t->out_at);
    if (n < 0) {
        return (int)n;
    }
    t->out_at += (size_t)n;
    if (t->out_at < t->out_len) {
        return 0;
    }
    mem_release(&t->out);
    t->out_at = t->out_len = 0;
    return 1;
}

/* Sends what OpenSSL wrote in this call, behind what waits; *ret_sent bytes of the former left. */
static int send_written(struct tls *t, size_t *ret_sent)
{
    struct tls_io *io = t->io;
    *ret_sent = 0;
    int rc = send_waiting(t);
    if (rc < 0 || !io->out_len) {
        return rc;
    }
    ssize_t n = rc ? send_bytes(t, io->out, io->out_len) : 0;
    if (n < 0) {
        return (int)n;
    }
    size_t rest = io->out_len - (size_t)n;
    if (rest) {
        size_t before = t->out_len - t->out_at;
        if (before + rest > TLS_OUT_BYTES) { /* who asks for new keys and never reads them */
            return -ENOBUFS;
        }
        unsigned char *out = mem_resize(NULL, before + rest);
        if (before) {
            memcpy(out, t->out + t->out_at, before);
        }
        memcpy(out + before, io->out + n, rest);
        mem_free(t->out);
        t->out = out;
        t->out_at = 0;
        t->out_len = before + rest;
    }
    io->out_len = 0;
    *ret_sent = (size_t)n;
    return rest == 0;
}

/* Ends a call: what is left in the shared buffers becomes the connection's own. */
static void leave(struct tls *t)
{
    struct tls_io *io = t->io;
    size_t sent, rest = io->raw_len - io->raw_at;
    if (rest) {
        size_t before = t->held_len - t->held_at;
        unsigned char *held = mem_resize(NULL, before + rest);
        if (before) {
            memcpy(held, t->held + t->held_at, before);
        }
        memcpy(held + before, io->raw + io->raw_at, rest);
        mem_free(t->held);
        t->held = held;
        t->held_at = 0;
        t->held_len = before + rest;
        io->raw_at = io->raw_len = 0;
    }
    int rc = send_written(t, &sent);
    t->failed = t->failed ? t->failed : rc < 0 ? rc : 0;
}

/* ---- life -------------------------------------------------------------------------------- */

static struct tls *connection(struct tls_io *io, int fd)
{
    struct tls *t = mem_new(sizeof *t);
    t->io = io;
    t->fd = fd;
    return t;
}

struct tls *tls_accept(struct tls_io *io, struct tls_server *server, int fd)
{
    struct tls *t = connection(io, fd);
    t->server = server;
    server->refs++;
    return t;
}

struct tls *tls_connect(struct tls_io *io, struct tls_client *client, int fd, const char *host,
                        const char *peer)
{
    struct tls *t = connection(io, fd);
    t->client = client;
    client->refs++;
    t->name = mem_copy(client->name ? client->name : host);
    t->peer = mem_copy(peer);
    return t;
}

void tls_free(struct tls *t)
{
    if (!t) {
        return;
    }
    if (t->ssl) {
        /* Else OpenSSL would take the session for a broken one, not to be resumed. */
        SSL_set_shutdown(t->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        SSL_free(t->ssl);
    }
    tls_server_unref(t->server);
    tls_client_unref(t->client);
    mem_free(t->held);
    mem_free(t->out);
    mem_free(t->name);
    mem_free(t->peer);
    mem_free(t->subject);
    mem_free(t->why);
    mem_free(t);
}

/* ---- handshake --------------------------------------------------------------------------- */

static BIO_METHOD *method(struct tls_io *io)
{
    if (!io->method) {
        io->method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "tidegate");
        must(io->method);
        (void)BIO_meth_set_read_ex(io->method, bio_read);
        (void)BIO_meth_set_write_ex(io->method, bio_write);
        (void)BIO_meth_set_ctrl(io->method, bio_ctrl);
    }
    return io->method;
}

static int make_ssl(struct tls *t)
{
    SSL *ssl = SSL_new(t->server ? t->server->first->ctx : t->client->ctx);
    BIO *bio = ssl ? BIO_new(method(t->io)) : NULL;
    if (!bio) {
        ERR_clear_error();
        SSL_free(ssl);
        return -ENOMEM;
    }
    BIO_set_data(bio, t);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    (void)SSL_set_app_data(ssl, t);
    t->ssl = ssl;
    if (t->server) {
        SSL_set_accept_state(ssl);
        return 0;
    }
    SSL_set_connect_state(ssl);
    return tls_client_begin(t);
}

/* Looks at a client's first bytes. 1: a whole record, which OpenSSL may have; 0: not yet; -errno. */
static int sniff(struct tls *t)
{
    struct tls_io *io = t->io;
    if (t->held) { /* what came before stands in front */
        io->raw_len = t->held_len;
        must(io->raw_len < sizeof io->raw);
        memcpy(io->raw, t->held, t->held_len);
        drop_held(t);
    }
    receive(t);
    if (t->failed) {
        return t->failed;
    }
    const unsigned char *raw = io->raw;
    size_t len = io->raw_len;
    if (len && (raw[0] != HANDSHAKE || (len > 1 && raw[1] != 3))) {
        t->first_len = len;
        io->raw_at = len;
        return -ENOMSG;
    }
    size_t whole =
        len < HEADER_BYTES ? HEADER_BYTES : HEADER_BYTES + ((size_t)raw[3] << 8 | (size_t)raw[4]);
    if (whole > TLS_RECORD_BYTES) {
        return -EPROTO;
    }
    return len >= whole ? 1 : t->ended ? -ECONNRESET : 0;
}

static void explain(struct tls *t)
{
    unsigned long code = ERR_peek_error();
    long verified = SSL_get_verify_result(t->ssl);
    if (!t->why && verified != X509_V_OK) {
        t->why = mem_printf("%s certificate is not accepted: %s",
                            t->server ? "the client's" : "the backend's",
                            X509_verify_cert_error_string(verified));
    } else if (!t->why) {
        const char *reason = code ? ERR_reason_error_string(code) : NULL;
        t->why = mem_copy(reason ? reason : "broken off");
    }
    ERR_clear_error();
}

/* The subject of a client that showed a certificate. */
static int take_subject(struct tls *t)
{
    X509 *peer = t->server && t->server->asks ? SSL_get1_peer_certificate(t->ssl) : NULL;
    if (!peer || SSL_get_verify_result(t->ssl) != X509_V_OK) {
        X509_free(peer);
        return 0;
    }
    BIO *to = BIO_new(BIO_s_mem());
    char *text;
    long len = 0;
    if (to && X509_NAME_print_ex(to, X509_get_subject_name(peer), 0, XN_FLAG_RFC2253) >= 0) {
        len = BIO_get_mem_data(to, &text);
    }
    bool fits = len > 0 && len < TLS_SUBJECT_BYTES;
    t->subject = fits ? mem_copy_bytes(text, (size_t)len) : NULL;
    (void)BIO_free(to);
    X509_free(peer);
    if (!fits) {
        t->why = mem_copy("the subject of the client's certificate is empty or too long");
    }
    return fits ? 0 : -EPROTO;
}

static int shake(struct tls *t)
{
    if (!t->ssl) {
        int rc = t->server ? sniff(t) : 1;
        if (rc <= 0) {
            return rc;
        }
        rc = make_ssl(t);
        if (rc) {
            return rc;
        }
    }
    int rc = SSL_do_handshake(t->ssl);
    if (rc == 1) {
        t->established = true;
        return take_subject(t);
    }
    if (SSL_get_error(t->ssl, rc) == SSL_ERROR_WANT_READ) {
        return 0;
    }
    if (t->failed || t->ended) {
        ERR_clear_error();
        return t->failed ? t->failed : -ECONNRESET;
    }
    explain(t);
    return -EPROTO;
}

int tls_handshake(struct tls *t)
{
    int rc = t->failed;
    if (rc) {
        return rc;
    }
    enter(t);
    rc = t->established ? 0 : shake(t);
    leave(t);
    if (rc || t->failed) {
        rc = rc ? rc : t->failed;
        t->failed = rc;
        return rc;
    }
    return t->established && !t->out;
}

bool tls_begun(const struct tls *t)
{
    return t->ssl != NULL;
}

bool tls_blocked(const struct tls *t)
{
    return t->out != NULL;
}

const char *tls_first(const struct tls *t, size_t *ret_len)
{
    *ret_len = t->first_len;
    return (const char *)t->io->raw;
}

const char *tls_why(const struct tls *t)
{
    return t->why ? t->why : t->failed ? err_text(t->failed) : "";
}

/* ---- records ----------------------------------------------------------------------------- */

/* What a read or peek that gave nothing means: 0 = the end, -EAGAIN, -errno. */
static int outcome(struct tls *t)
{
    int error = SSL_get_error(t->ssl, 0);
    if (error == SSL_ERROR_WANT_READ) {
        return -EAGAIN;
    }
    if (error == SSL_ERROR_ZERO_RETURN) {
        t->ended = t->clean = true;
    } else if (!t->failed && !t->ended) {
        explain(t);
        t->failed = -EPROTO;
    }
    ERR_clear_error();
    if (t->failed) {
        return t->failed;
    }
    return t->clean || t->server ? 0 : -ECONNRESET;
}

static bool bytes_wait(const struct tls *t)
{
    return t->held || t->io->raw_at < t->io->raw_len || SSL_pending(t->ssl) > 0;
}

ssize_t tls_recv(struct tls *t, void *to, size_t size)
{
    if (t->failed || !t->established) {
        return t->failed ? t->failed : -ENOTCONN;
    }
    size_t got = 0, n;
    int rc = -EAGAIN;
    enter(t);
    do {
        n = 0;
        if (SSL_read_ex(t->ssl, (char *)to + got, size - got, &n) != 1) {
            rc = outcome(t);
            break;
        }
        got += n;
    } while (got < size && bytes_wait(t));
    leave(t);
    return got ? (ssize_t)got : rc;
}

bool tls_more(const struct tls *t)
{
    return t->held || !t->drained || t->failed || t->ended || (t->ssl && SSL_pending(t->ssl) > 0);
}

bool tls_quiet(struct tls *t)
{
    char byte;
    size_t n = 0;
    if (t->failed || !t->established) {
        return false;
    }
    enter(t);
    bool quiet = SSL_peek_ex(t->ssl, &byte, 1, &n) != 1 && outcome(t) == -EAGAIN;
    leave(t);
    return quiet && !t->failed;
}

/* The bytes from `at` on that the next record takes: as they are when a record's worth is in one piece, else
 * put together. */
static struct iovec next_piece(struct tls_io *io, const struct iovec *iov, int count, size_t at)
{
    int i = 0;
    while (i < count && at >= iov[i].iov_len) {
        at -= iov[i++].iov_len;
    }
    char *from = (char *)iov[i].iov_base + at;
    size_t len = iov[i].iov_len - at;
    if (len >= TLS_RECORD_BYTES || i == count - 1) {
        return (struct iovec){from, len < TLS_RECORD_BYTES ? len : TLS_RECORD_BYTES};
    }
    size_t filled = 0;
    for (; i < count && filled < TLS_RECORD_BYTES; i++, at = 0) {
        size_t n = iov[i].iov_len - at;
        n = n < TLS_RECORD_BYTES - filled ? n : TLS_RECORD_BYTES - filled;
        memcpy(io->plain + filled, (char *)iov[i].iov_base + at, n);
        filled += n;
    }
    return (struct iovec){io->plain, filled};
}

struct batch {
    size_t plain[TLS_BATCH], coded[TLS_BATCH]; /* bytes of each record */
    int count;
};

/* Encrypts up to a batch from `at` on. -EPROTO. */
static int encrypt(struct tls *t, const struct iovec *iov, int count, size_t at, size_t size,
                   struct batch *batch)
{
    struct tls_io *io = t->io;
    for (batch->count = 0; batch->count < TLS_BATCH && at < size; batch->count++) {
        struct iovec piece = next_piece(io, iov, count, at);
        size_t before = io->out_len, n = 0;
        if (SSL_write_ex(t->ssl, piece.iov_base, piece.iov_len, &n) != 1) {
            explain(t);
            return -EPROTO;
        }
        must(n == piece.iov_len);
        batch->plain[batch->count] = n;
        batch->coded[batch->count] = io->out_len - before;
        at += n;
    }
    return 0;
}

/* Plain bytes of the records that left whole. */
static size_t whole(const struct batch *batch, size_t sent, size_t *ret_owed)
{
    size_t taken = 0;
    int i = 0;
    for (; i < batch->count && sent >= batch->coded[i]; i++) {
        sent -= batch->coded[i];
        taken += batch->plain[i];
    }
    *ret_owed = 0;
    for (; i < batch->count; i++) {
        *ret_owed += batch->plain[i];
    }
    return taken;
}

ssize_t tls_send(struct tls *t, const struct iovec *iov, int count)
{
    size_t size = 0, at = 0;
    for (int i = 0; i < count; i++) {
        size += iov[i].iov_len;
    }
    int rc = t->failed ? t->failed : !t->established ? -ENOTCONN : send_waiting(t);
    if (rc <= 0) {
        return rc;
    }
    must(t->owed <= size);
    at = t->owed;
    t->owed = 0;
    while (at < size) {
        struct batch batch;
        size_t sent;
        t->io->out_len = 0;
        rc = encrypt(t, iov, count, at, size, &batch);
        rc = rc ? rc : send_written(t, &sent);
        if (rc < 0) {
            t->failed = rc;
            return rc;
        }
        at += whole(&batch, sent, &t->owed);
        if (!rc) {
            break;
        }
    }
    return (ssize_t)at;
}

void tls_close(struct tls *t)
{
    if (!t->established || t->closed || t->failed) {
        return;
    }
    t->closed = true;
    enter(t);
    (void)SSL_shutdown(t->ssl);
    ERR_clear_error();
    leave(t);
}

/* ---- what was agreed --------------------------------------------------------------------- */

static bool agreed(const struct tls *t, const char *protocol)
{
    const unsigned char *name = NULL;
    unsigned len = 0;
    SSL_get0_alpn_selected(t->ssl, &name, &len);
    return len == strlen(protocol) && !memcmp(name, protocol, len);
}

bool tls_http2(const struct tls *t)
{
    return agreed(t, "h2");
}

bool tls_acme(const struct tls *t)
{
    return t->offers_acme && agreed(t, "acme-tls/1");
}

bool tls_resumed(const struct tls *t)
{
    return SSL_session_reused(t->ssl);
}

const char *tls_version(const struct tls *t)
{
    return SSL_get_version(t->ssl);
}

const char *tls_server_name(const struct tls *t)
{
    return t->name ? t->name : "";
}

const char *tls_subject(const struct tls *t)
{
    return t->subject ? t->subject : "";
}

bool tls_covers(const struct tls *t, const char *host)
{
    if (!t->server || !t->name || !strcmp(t->name, host)) {
        return true;
    }
    const struct tls_choice *other = tls_server_find(t->server, host, false);
    return !other || other == t->choice;
}
