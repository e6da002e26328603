/* curl.h: libcurl's functions, found at run time; private to the room.
 *
 * libcurl brings some thirty libraries with it. Only the process that calls by HTTP has a use for
 * them: workers and the policy process would map them for nothing, in each of them 5 MB resident. */
#ifndef NET_CURL_H
#define NET_CURL_H

#include <curl/curl.h>

struct net_curl { /* each as libcurl's function of that name */
    CURLcode (*global_init)(long flags);
    void (*global_cleanup)(void);
    CURL *(*easy_init)(void);
    void (*easy_cleanup)(CURL *easy);
    CURLcode (*easy_set)(CURL *easy, CURLoption option, ...);    /* curl_easy_setopt */
    CURLcode (*easy_get)(CURL *easy, CURLINFO info, ...);        /* curl_easy_getinfo */
    CURLMcode (*multi_set)(CURLM *multi, CURLMoption what, ...); /* curl_multi_setopt */
    const char *(*easy_strerror)(CURLcode code);
    CURLM *(*multi_init)(void);
    CURLMcode (*multi_cleanup)(CURLM *multi);
    CURLMcode (*multi_add_handle)(CURLM *multi, CURL *easy);
    CURLMcode (*multi_remove_handle)(CURLM *multi, CURL *easy);
    CURLMcode (*multi_assign)(CURLM *multi, curl_socket_t fd, void *per_socket);
    CURLMcode (*multi_socket_action)(CURLM *multi, curl_socket_t fd, int flags, int *running);
    CURLMsg *(*multi_info_read)(CURLM *multi, int *left);
    struct curl_slist *(*slist_append)(struct curl_slist *list, const char *line);
    void (*slist_free_all)(struct curl_slist *list);
};

/* Loads libcurl, which then stays for the life of the process, and fills the table. `name`: of the
 * library; NULL = as it is usually called. -ELIBACC with a sentence. */
int net_curl_load(const char *name, struct net_curl *ret_curl, char **reterr);

#endif
