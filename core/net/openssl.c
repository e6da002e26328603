/* openssl.c: OpenSSL loaded when it is used first; see openssl.h.
 *
 * Does not: unload it. What it brought registers functions for the end of the process. */
#define OPENSSL_TABLE_ONLY
#include "net/openssl.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/ban.h"
#include "base/mem.h"
#include "net/tls.h"

struct openssl openssl;

struct symbol {
    const char *name;
    size_t at;
};

#define SYMBOL(function) {#function, offsetof(struct openssl, function)},
static const struct symbol ssl_symbols[] = {OPENSSL_SSL(SYMBOL)};
static const struct symbol crypto_symbols[] = {OPENSSL_CRYPTO(SYMBOL)};
#undef SYMBOL

static int load(const char *name, const struct symbol *symbols, size_t count, struct openssl *to,
                char **reterr)
{
    void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!library) {
        *reterr = mem_printf("OpenSSL 3 could not be loaded: %s; install it (Debian: libssl3, "
                             "Fedora: openssl-libs, Alpine: libssl3)",
                             dlerror());
        return -ELIBACC;
    }
    for (size_t i = 0; i < count; i++) {
        void *symbol = dlsym(library, symbols[i].name);
        if (!symbol) {
            *reterr = mem_printf("OpenSSL is not one that fits: %s", dlerror());
            return -ELIBACC;
        }
        memcpy((char *)to + symbols[i].at, &symbol, sizeof symbol);
    }
    return 0;
}

int tls_load(char **reterr)
{
    struct openssl found;
    if (openssl.SSL_new) {
        return 0;
    }
    int rc = load("libcrypto.so.3", crypto_symbols,
                  sizeof crypto_symbols / sizeof crypto_symbols[0], &found, reterr);
    rc = rc ? rc
            : load("libssl.so.3", ssl_symbols, sizeof ssl_symbols / sizeof ssl_symbols[0], &found,
                   reterr);
    if (!rc) {
        openssl = found;
    }
    return rc;
}
