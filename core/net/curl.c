/* curl.c: libcurl loaded when the first client wants it; see curl.h.
 *
 * Called by: client.c.
 * Does not: unload it. What it brought registers functions for the end of the process. */
#include "net/curl.h"

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/ban.h"
#include "base/mem.h"

/* The second is Debian's build with GnuTLS, which has the same functions. */
static const char *const names[] = {"libcurl.so.4", "libcurl-gnutls.so.4"};

static const struct {
    const char *name;
    size_t at;
} symbols[] = {
    {"curl_global_init", offsetof(struct net_curl, global_init)},
    {"curl_global_cleanup", offsetof(struct net_curl, global_cleanup)},
    {"curl_easy_init", offsetof(struct net_curl, easy_init)},
    {"curl_easy_cleanup", offsetof(struct net_curl, easy_cleanup)},
    {"curl_easy_setopt", offsetof(struct net_curl, easy_set)},
    {"curl_easy_getinfo", offsetof(struct net_curl, easy_get)},
    {"curl_multi_setopt", offsetof(struct net_curl, multi_set)},
    {"curl_easy_strerror", offsetof(struct net_curl, easy_strerror)},
    {"curl_multi_init", offsetof(struct net_curl, multi_init)},
    {"curl_multi_cleanup", offsetof(struct net_curl, multi_cleanup)},
    {"curl_multi_add_handle", offsetof(struct net_curl, multi_add_handle)},
    {"curl_multi_remove_handle", offsetof(struct net_curl, multi_remove_handle)},
    {"curl_multi_assign", offsetof(struct net_curl, multi_assign)},
    {"curl_multi_socket_action", offsetof(struct net_curl, multi_socket_action)},
    {"curl_multi_info_read", offsetof(struct net_curl, multi_info_read)},
    {"curl_slist_append", offsetof(struct net_curl, slist_append)},
    {"curl_slist_free_all", offsetof(struct net_curl, slist_free_all)},
};

static void *open_library(const char *name)
{
    return dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
}

int net_curl_load(const char *name, struct net_curl *ret_curl, char **reterr)
{
    void *library = open_library(name ? name : names[0]);
    if (!library) {
        /* Of the usual name, not of the other one: that is what an operator has to look for. */
        char *why = mem_copy(dlerror());
        library = name ? NULL : open_library(names[1]);
        if (!library) {
            *reterr = mem_printf("libcurl could not be loaded: %s; install it (Debian: libcurl4, "
                                 "Fedora and Alpine: libcurl)",
                                 why);
        }
        mem_free(why);
    }
    if (!library) {
        return -ELIBACC;
    }
    struct net_curl found;
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        void *symbol = dlsym(library, symbols[i].name);
        if (!symbol) {
            *reterr = mem_printf("libcurl is not one that fits: %s", dlerror());
            return -ELIBACC;
        }
        memcpy((char *)&found + symbols[i].at, &symbol, sizeof symbol);
    }
    *ret_curl = found;
    return 0;
}
