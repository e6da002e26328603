/* h2_limits.c: what a client may ask of us in a second, beside requests.
 *
 * Frames that cost us work and bring the client nothing are how HTTP/2 is flooded: streams opened and cancelled
 * (CVE-2023-44487), or made to be cancelled by mistakes (CVE-2025-8671), CONTINUATION without end (CVE-2024-27316), SETTINGS and PING that
 * want answers (CVE-2019-9512, -9515), empty frames (-9518), PRIORITY and WINDOW_UPDATE. Each kind has a budget that fills with
 * time; a connection that spends more is ended with ENHANCE_YOUR_CALM. nghttp2 has bounds of its own behind these. */
#include "proxy/h2.h"

#include <stdio.h>

#include "base/ban.h"

static const struct {
    uint32_t most, a_second;
    const char *what;
} budgets[BOARD_H2_FLOODS] = {
    [BOARD_H2_RESETS] = {LIMIT_H2_RESETS, LIMIT_H2_RESETS_S, "too many cancelled requests"},
    [BOARD_H2_SETTINGS] = {LIMIT_H2_SETTINGS, LIMIT_H2_SETTINGS_S, "too many SETTINGS"},
    [BOARD_H2_PINGS] = {LIMIT_H2_PINGS, LIMIT_H2_PINGS_S, "too many PINGs"},
    [BOARD_H2_EMPTY] = {LIMIT_H2_EMPTY, LIMIT_H2_EMPTY_S, "too many empty frames"},
    [BOARD_H2_PRIORITIES] = {LIMIT_H2_PRIORITIES, LIMIT_H2_PRIORITIES_S, "too many priorities"},
    [BOARD_H2_WINDOWS] = {LIMIT_H2_WINDOWS, LIMIT_H2_WINDOWS_S, "too many WINDOW_UPDATEs"},
    [BOARD_H2_CONTINUATIONS] = {0, 0, "too many CONTINUATIONs"},
    [BOARD_H2_HEADERS] = {0, 0, "a header block without end"},
};

void proxy_h2_calm(struct h2 *h2, enum board_h2_flood what)
{
    struct proxy *p = h2->session->proxy;
    if (h2->failed) {
        return;
    }
    char text[128]; /* of ours, and an address */
    board_add(&p->numbers->h2_floods[what], 1);
    snprintf(text, sizeof text, "%s from %s: its connection was ended", budgets[what].what,
             h2->session->peer);
    proxy_fact(p, "http2", text);
    proxy_h2_fail(h2, NGHTTP2_ENHANCE_YOUR_CALM);
}

bool proxy_h2_spend(struct h2 *h2, enum board_h2_flood what)
{
    struct h2_budget *b = &h2->budgets[what];
    uint64_t now_ms = h2->session->proxy->now_ms;
    if (!b->since_ms) {
        *b = (struct h2_budget){now_ms, budgets[what].most};
    }
    uint64_t gained = (now_ms - b->since_ms) * budgets[what].a_second / 1000;
    if (gained) {
        proxy_h2_earn(h2, what, gained < UINT32_MAX / 2 ? (uint32_t)gained : UINT32_MAX / 2);
        b->since_ms = now_ms;
    }
    if (!b->left) {
        proxy_h2_calm(h2, what);
        return false;
    }
    b->left--;
    return true;
}

void proxy_h2_earn(struct h2 *h2, enum board_h2_flood what, uint32_t count)
{
    struct h2_budget *b = &h2->budgets[what];
    if (b->since_ms) {
        b->left = b->left + count < budgets[what].most ? b->left + count : budgets[what].most;
    }
}
