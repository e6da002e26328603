/* certificate_look.c: what is not right with a certificate, whom it is for, and answers of authorities about it; see
 * certificate.h. */
#include "net/certificate.h"

#include <errno.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "net/certificate_parts.h"
#include "net/openssl.h"
#include "base/ban.h"
#include "base/clock.h"
#include "base/mem.h"

/* ---- What is not right ------------------------------------------------------------------- */

static void say(certificate_say_fn *fn, void *arg, bool grave, char *takes)
{
    fn(arg, grave, takes);
    mem_free(takes);
}

/* Certificates of public authorities tell where their issuer's is to be had. */
static bool names_issuer_place(X509 *x)
{
    bool found = false;
    AUTHORITY_INFO_ACCESS *all = X509_get_ext_d2i(x, NID_info_access, NULL, NULL);
    for (int i = 0; all && i < sk_ACCESS_DESCRIPTION_num(all); i++) {
        found =
            found || OBJ_obj2nid(sk_ACCESS_DESCRIPTION_value(all, i)->method) == NID_ad_ca_issuers;
    }
    AUTHORITY_INFO_ACCESS_free(all);
    return found;
}

static void look_at_chain(const struct certificate *c, certificate_say_fn *fn, void *arg)
{
    const struct certificate_parts *p = c->parts;
    if (p->sorted) {
        say(fn, arg, false,
            mem_printf("has its chain in another order than each behind the one it signed: sent in "
                       "order"));
    }
    if (p->used < p->count) {
        say(fn, arg, false,
            mem_printf("has %zu certificates that are not of its chain: they are not sent",
                       p->count - p->used));
    }
    if (p->count == 1 && !c->self_signed && names_issuer_place(p->all[0])) {
        say(fn, arg, true,
            mem_printf("has no certificate of its issuer (%s) behind it: many clients refuse it "
                       "so: append "
                       "the authority's chain",
                       c->issuer));
    }
    for (size_t i = 1; i < p->used; i++) {
        if (X509_cmp_current_time(X509_get0_notAfter(p->all[i])) < 0) {
            say(fn, arg, true,
                mem_printf(
                    "has an authority in its chain (number %zu) that has expired: get its new one",
                    i + 1));
        }
    }
}

void certificate_look(const struct certificate *c, int64_t now_s, certificate_say_fn *fn, void *arg)
{
    X509 *x = c->parts->all[0];
    char when[32]; /* as clock_iso writes it */
    uint32_t use = X509_get_extended_key_usage(x);
    if (c->not_after_s <= now_s) {
        clock_iso((uint64_t)c->not_after_s * 1000, when, sizeof when);
        say(fn, arg, true, mem_printf("expired on %s: clients refuse it: renew it", when));
    } else if (c->not_before_s > now_s) {
        clock_iso((uint64_t)c->not_before_s * 1000, when, sizeof when);
        say(fn, arg, true,
            mem_printf("is not valid before %s: clients refuse it till then; is the clock right?",
                       when));
    }
    if (c->common_name) {
        say(fn, arg, true,
            mem_printf(
                "names no host in its subjectAltName, and clients look nowhere else: make one "
                "that does (openssl req -x509 ... -addext subjectAltName=DNS:shop.example)"));
    }
    if (use != UINT32_MAX && !(use & XKU_SSL_SERVER)) {
        say(fn, arg, true,
            mem_printf("is not meant for servers (extendedKeyUsage): clients refuse it"));
    }
    look_at_chain(c, fn, arg);
    if (c->must_staple && !c->ocsp) {
        say(fn, arg, true,
            mem_printf("wants an answer of its authority with it (must-staple): name that: ocsp = "
                       "\"FILE\""));
    } else if (c->ocsp && c->ocsp_until_s && c->ocsp_until_s <= now_s) {
        say(fn, arg, c->must_staple,
            mem_printf("has an answer of its authority that is over: not sent: get a new one"));
    }
}

/* ---- Whom it is for ---------------------------------------------------------------------- */

bool certificate_covers(const struct certificate *c, const char *host)
{
    const char *below = strchr(host, '.');
    for (size_t i = 0; i < c->name_count; i++) {
        const char *name = c->names[i];
        if (!strcasecmp(name, host) || (name[0] == '*' && name[1] == '.' && below &&
                                        host[0] != '*' && !strcasecmp(name + 1, below))) {
            return true;
        }
    }
    return false;
}

/* ---- What its authority says of it ------------------------------------------------------- */

static int64_t seconds(const ASN1_GENERALIZEDTIME *time)
{
    struct tm tm;
    return time && ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/* The part of an answer that is about this certificate: its state, or -1. */
static int find_answer(OCSP_BASICRESP *basic, X509 *x, int64_t *ret_until_s)
{
    for (int i = 0; i < OCSP_resp_count(basic); i++) {
        OCSP_SINGLERESP *one = OCSP_resp_get0(basic, i);
        ASN1_INTEGER *serial = NULL;
        ASN1_GENERALIZEDTIME *until = NULL;
        OCSP_id_get0_info(NULL, NULL, NULL, &serial,
                          (OCSP_CERTID *)(uintptr_t)OCSP_SINGLERESP_get0_id(one));
        if (serial && !ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(x))) {
            int state = OCSP_single_get0_status(one, NULL, NULL, NULL, &until);
            *ret_until_s = seconds(until);
            return state;
        }
    }
    return -1;
}

int certificate_staple(struct certificate *c, const char *der, size_t len, char **reterr)
{
    const unsigned char *at = (const unsigned char *)der;
    OCSP_RESPONSE *answer = d2i_OCSP_RESPONSE(NULL, &at, (long)len);
    OCSP_BASICRESP *basic =
        answer && OCSP_response_status(answer) == OCSP_RESPONSE_STATUS_SUCCESSFUL
            ? OCSP_response_get1_basic(answer)
            : NULL;
    int64_t until_s = 0;
    char *why = NULL;
    int state = basic ? find_answer(basic, c->parts->all[0], &until_s) : -1;
    if (!basic) {
        why =
            mem_copy("is no answer of an authority: expected OCSP in DER, as openssl ocsp -respout "
                     "writes it");
    } else if (state < 0) {
        why = mem_printf("is an answer about another certificate than the one with serial %s",
                         c->serial);
    } else if (state == V_OCSP_CERTSTATUS_REVOKED) {
        why = mem_copy("says that the certificate was revoked: renew it");
    } else {
        mem_free(c->ocsp);
        c->ocsp = mem_new(4 * ((len + 2) / 3) + 1);
        EVP_EncodeBlock((unsigned char *)c->ocsp, (const unsigned char *)der, (int)len);
        c->ocsp_until_s = until_s;
    }
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(answer);
    ERR_clear_error();
    if (why) {
        *reterr = why;
    }
    return why ? -EINVAL : 0;
}
