/* coder.c: gzip by zlib, brotli by libbrotlienc, which is loaded with the first route that wants it; see
 * compress.h.
 *
 * Invariants: what a coder may keep is known when it is made, and counted; what came out of it waits in a
 * buffer that is given back as soon as it is empty. */
#include "edge/compress.h"

#include <brotli/encode.h>
#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <zlib.h>

#include "base/ban.h"
#include "base/mem.h"

enum {
    SMALL_BYTES = 8 << 10, /* an answer up to that needs a smaller window */
    SMALL_BITS = 13,
    SMALL_MEMORY = 6,
    LARGE_BITS = 15,
    LARGE_MEMORY = 8,
    GZIP_HEAD = 16,         /* zlib: added to the bits, it makes gzip's frame */
    BROTLI_BITS = 18,       /* of the window */
    BROTLI_MOST = 5,        /* quality: more is for what is coded once */
    BROTLI_BYTES = 2 << 20, /* of a coder: measured, and a little more */
    STEP_BYTES = 4 << 10
};

struct edge_brotli {
    BrotliEncoderState *(*create)(brotli_alloc_func, brotli_free_func, void *);
    BROTLI_BOOL (*set)(BrotliEncoderState *, BrotliEncoderParameter, uint32_t);
    BROTLI_BOOL(*stream)
    (BrotliEncoderState *, BrotliEncoderOperation, size_t *, const uint8_t **, size_t *, uint8_t **,
     size_t *);
    BROTLI_BOOL (*more)(BrotliEncoderState *);
    const uint8_t *(*take)(BrotliEncoderState *, size_t *);
    void (*destroy)(BrotliEncoderState *);
};

struct edge_coder {
    enum edge_coding coding;
    size_t bytes; /* counted for it */
    z_stream zip;
    BrotliEncoderState *state;
    const struct edge_brotli *brotli;
    char *out; /* from `at` on it waits */
    size_t at, len, size;
};

/* ---- the library ------------------------------------------------------------------------- */

static bool load(struct edge_brotli *to)
{
    static const struct {
        const char *name;
        size_t at;
    } symbols[] = {
        {"BrotliEncoderCreateInstance", offsetof(struct edge_brotli, create)},
        {"BrotliEncoderSetParameter", offsetof(struct edge_brotli, set)},
        {"BrotliEncoderCompressStream", offsetof(struct edge_brotli, stream)},
        {"BrotliEncoderHasMoreOutput", offsetof(struct edge_brotli, more)},
        {"BrotliEncoderTakeOutput", offsetof(struct edge_brotli, take)},
        {"BrotliEncoderDestroyInstance", offsetof(struct edge_brotli, destroy)},
    };
    void *library = dlopen("libbrotlienc.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    for (size_t i = 0; library && i < sizeof symbols / sizeof symbols[0]; i++) {
        void *symbol = dlsym(library, symbols[i].name);
        if (!symbol) {
            return false;
        }
        memcpy((char *)to + symbols[i].at, &symbol, sizeof symbol);
    }
    return library != NULL;
}

bool edge_coders_brotli(struct edge_coders *all)
{
    if (!all->brotli && !all->no_brotli) {
        all->brotli = mem_new(sizeof *all->brotli);
        all->no_brotli = !load(all->brotli);
        if (all->no_brotli) {
            mem_release(&all->brotli);
        }
    }
    return all->brotli != NULL;
}

void edge_coders_free(struct edge_coders *all)
{
    mem_release(&all->brotli);
}

/* ---- coders ------------------------------------------------------------------------------ */

static bool begin_gzip(struct edge_coder *c, int level, bool small)
{
    int bits = small ? SMALL_BITS : LARGE_BITS, memory = small ? SMALL_MEMORY : LARGE_MEMORY;
    return deflateInit2(&c->zip, level, Z_DEFLATED, bits + GZIP_HEAD, memory, Z_DEFAULT_STRATEGY) ==
           Z_OK;
}

static bool begin_brotli(struct edge_coder *c, int level, uint64_t length)
{
    c->state = c->brotli->create(NULL, NULL, NULL);
    return c->state &&
           c->brotli->set(c->state, BROTLI_PARAM_QUALITY,
                          (uint32_t)(level < BROTLI_MOST ? level : BROTLI_MOST)) &&
           c->brotli->set(c->state, BROTLI_PARAM_LGWIN, BROTLI_BITS) &&
           c->brotli->set(c->state, BROTLI_PARAM_SIZE_HINT,
                          length < UINT32_MAX ? (uint32_t)length : 0);
}

struct edge_coder *edge_coder_new(struct edge_coders *all, enum edge_coding coding, int level,
                                  uint64_t length)
{
    bool small = length <= SMALL_BYTES;
    size_t bits = small ? SMALL_BITS : LARGE_BITS, memory = small ? SMALL_MEMORY : LARGE_MEMORY;
    /* zconf.h tells what deflate needs. */
    size_t bytes = coding == EDGE_BROTLI ? BROTLI_BYTES
                                         : ((size_t)1 << (bits + 2)) + ((size_t)1 << (memory + 9));
    if (all->bytes + bytes > all->most || (coding == EDGE_BROTLI && !all->brotli)) {
        return NULL;
    }
    struct edge_coder *c = mem_new(sizeof *c);
    c->coding = coding;
    c->brotli = all->brotli;
    c->bytes = bytes;
    all->bytes += bytes;
    if (coding == EDGE_BROTLI ? !begin_brotli(c, level, length) : !begin_gzip(c, level, small)) {
        edge_coder_free(all, c);
        return NULL;
    }
    return c;
}

void edge_coder_free(struct edge_coders *all, struct edge_coder *c)
{
    if (!c) {
        return;
    }
    if (c->coding == EDGE_GZIP) {
        (void)deflateEnd(&c->zip);
    } else if (c->state) {
        c->brotli->destroy(c->state);
    }
    all->bytes -= c->bytes;
    mem_free(c->out);
    mem_free(c);
}

/* At least `len` bytes of room behind what waits. */
static char *room(struct edge_coder *c, size_t len)
{
    if (c->size - c->len < len) {
        c->size = c->len + len;
        c->out = mem_resize(c->out, c->size);
    }
    return c->out + c->len;
}

static int push_gzip(struct edge_coder *c, struct str data, enum edge_push push)
{
    int flush = push == EDGE_END ? Z_FINISH : push == EDGE_FLUSH ? Z_SYNC_FLUSH : Z_NO_FLUSH;
    int rc;
    c->zip.next_in = (Bytef *)(uintptr_t)data.ptr;
    c->zip.avail_in = (uInt)data.len;
    do {
        size_t size = STEP_BYTES + data.len / 4;
        c->zip.next_out = (Bytef *)room(c, size);
        c->zip.avail_out = (uInt)size;
        rc = deflate(&c->zip, flush);
        c->len += size - c->zip.avail_out;
    } while (!c->zip.avail_out && (rc == Z_OK || rc == Z_BUF_ERROR));
    return rc == Z_STREAM_ERROR ? -ENOMEM : 0;
}

static int push_brotli(struct edge_coder *c, struct str data, enum edge_push push)
{
    BrotliEncoderOperation op = push == EDGE_END     ? BROTLI_OPERATION_FINISH
                                : push == EDGE_FLUSH ? BROTLI_OPERATION_FLUSH
                                                     : BROTLI_OPERATION_PROCESS;
    size_t in = data.len, none = 0;
    const uint8_t *next = (const uint8_t *)data.ptr;
    do {
        if (!c->brotli->stream(c->state, op, &in, &next, &none, NULL, NULL)) {
            return -ENOMEM;
        }
        size_t size = 0;
        const uint8_t *bytes = c->brotli->take(c->state, &size);
        if (size) {
            memcpy(room(c, size), bytes, size);
            c->len += size;
        }
    } while (in || c->brotli->more(c->state));
    return 0;
}

int edge_coder_push(struct edge_coder *c, struct str data, enum edge_push push)
{
    if (!data.len && push == EDGE_MORE) {
        return 0;
    }
    return c->coding == EDGE_GZIP ? push_gzip(c, data, push) : push_brotli(c, data, push);
}

struct str edge_coder_waits(const struct edge_coder *c)
{
    return (struct str){c->out ? c->out + c->at : NULL, c->len - c->at};
}

void edge_coder_took(struct edge_coder *c, size_t len)
{
    c->at += len;
    if (c->at == c->len) {
        mem_release(&c->out);
        c->at = c->len = c->size = 0;
    }
}
