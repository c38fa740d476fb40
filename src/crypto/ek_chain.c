/*
 * Verifying certificates of endorsement keys: OpenSSL builds and checks the chain, from nothing but
 * what it is given here.
 */
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/x509_vfy.h>

#include "crypto/crypto_int.h"
#include "crypto/ek_cert_int.h"

#define SECURITY_BITS_MIN 112 /* RSA-2048 and SHA-256; SHA-1 is below */

typedef STACK_OF(X509) cert_stack;
typedef STACK_OF(X509_CRL) crl_stack;

static void
cert_stack_free(cert_stack *s)
{
    sk_X509_pop_free(s, X509_free);
}

LK_DEFINE_AUTO(cert_stack, certs, cert_stack_free);
LK_DEFINE_AUTO(X509_CRL, ek_crl, X509_CRL_free);
LK_DEFINE_AUTO(X509_STORE_CTX, store_ctx, X509_STORE_CTX_free);

struct lk_ek_trust {
    X509_STORE *empty; /* what a verification asks besides the stacks: it holds nothing */
    cert_stack *roots, *intermediates;
    crl_stack *crls;
};

static enum lk_err
judged(enum lk_err err, const char *why, const char **ret_why)
{
    *ret_why = why;
    return err;
}

/* ---- trust -------------------------------------------------------------------------------------
 */

enum lk_err
lk_ek_trust_new(struct lk_ek_trust **ret)
{
    LK_AUTO(lk_ek_trust) struct lk_ek_trust *t = calloc(1, sizeof(*t));

    if (t == NULL) {
        return LK_ERR_NOMEM;
    }
    t->empty = X509_STORE_new();
    t->roots = sk_X509_new_null();
    t->intermediates = sk_X509_new_null();
    t->crls = sk_X509_CRL_new_null();
    if (t->empty == NULL || t->roots == NULL || t->intermediates == NULL || t->crls == NULL) {
        return LK_ERR_NOMEM;
    }
    *ret = lk_ek_trust_take(&t);
    return LK_OK;
}

void
lk_ek_trust_free(struct lk_ek_trust *t)
{
    if (t == NULL) {
        return;
    }
    X509_STORE_free(t->empty);
    cert_stack_free(t->roots);
    cert_stack_free(t->intermediates);
    sk_X509_CRL_pop_free(t->crls, X509_CRL_free);
    free(t);
}

/* Read a certificate, nothing left over, and push it. */
static enum lk_err
cert_push(cert_stack *stack, const void *der, size_t len)
{
    const unsigned char *p = der;
    LK_AUTO(ek_x509) X509 *x509 = NULL;

    ERR_clear_error();
    if ((x509 = d2i_X509(NULL, &p, (long)len)) == NULL) {
        return lk_crypto_verdict(LK_ERR_FORMAT);
    }
    if (p != (const unsigned char *)der + len) {
        return LK_ERR_FORMAT;
    }
    if (sk_X509_push(stack, x509) <= 0) {
        return LK_ERR_NOMEM;
    }
    (void)ek_x509_take(&x509);
    return LK_OK;
}

static enum lk_err
crl_push(crl_stack *stack, const void *der, size_t len)
{
    const unsigned char *p = der;
    LK_AUTO(ek_crl) X509_CRL *crl = d2i_X509_CRL(NULL, &p, (long)len);

    if (crl == NULL || p != (const unsigned char *)der + len) {
        return LK_ERR_FORMAT;
    }
    if (sk_X509_CRL_push(stack, crl) <= 0) {
        return LK_ERR_NOMEM;
    }
    (void)ek_crl_take(&crl);
    return LK_OK;
}

enum lk_err
lk_ek_trust_add(struct lk_ek_trust *t, enum lk_ek_trust_kind kind, const void *der, size_t len)
{
    enum lk_err err = LK_ERR_FORMAT;

    if (len <= INT32_MAX) {
        err = kind == LK_EK_TRUST_CRL
                  ? crl_push(t->crls, der, len)
                  : cert_push(kind == LK_EK_TRUST_ROOT ? t->roots : t->intermediates, der, len);
    }
    ERR_clear_error();
    return err;
}

/* ---- one verification --------------------------------------------------------------------------
 */

/* Whether the operator has a list of the certificate's issuer. */
static bool
issuer_has_crl(const struct lk_ek_trust *t, const X509 *x509)
{
    for (int i = 0; i < sk_X509_CRL_num(t->crls); i++) {
        if (X509_NAME_cmp(X509_CRL_get_issuer(sk_X509_CRL_value(t->crls, i)),
                          X509_get_issuer_name(x509)) == 0) {
            return true;
        }
    }
    return false;
}

/* No list of an issuer is no error: revocation is checked where there is something to check by. */
static int
error_judge(int ok, X509_STORE_CTX *ctx)
{
    const struct lk_ek_trust *trust = X509_STORE_CTX_get_app_data(ctx);
    bool pass = ok == 1 || (X509_STORE_CTX_get_error(ctx) == X509_V_ERR_UNABLE_TO_GET_CRL &&
                            !issuer_has_crl(trust, X509_STORE_CTX_get_current_cert(ctx)));

    if (pass) {
        X509_STORE_CTX_set_error(ctx, X509_V_OK);
    }
    return pass;
}

static const char *
reason_of(int error, int depth)
{
    static const struct {
        int error;
        const char *own, *issuer;
    } reasons[] = {
        {X509_V_ERR_CERT_HAS_EXPIRED, "ek_cert.expired", "ek_cert.issuer_expired"},
        {X509_V_ERR_CERT_NOT_YET_VALID, "ek_cert.not_yet_valid", "ek_cert.issuer_not_yet_valid"},
        {X509_V_ERR_CERT_REVOKED, "ek_cert.revoked", "ek_cert.issuer_revoked"},
        {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, "ek_cert.not_ca_issued", "ek_cert.chain"},
        {X509_V_ERR_INVALID_CA, "ek_cert.issuer_not_ca", "ek_cert.issuer_not_ca"},
        {X509_V_ERR_INVALID_NON_CA, "ek_cert.issuer_not_ca", "ek_cert.issuer_not_ca"},
        {X509_V_ERR_PATH_LENGTH_EXCEEDED, "ek_cert.issuer_not_ca", "ek_cert.issuer_not_ca"},
        {X509_V_ERR_KEYUSAGE_NO_CERTSIGN, "ek_cert.issuer_not_ca", "ek_cert.issuer_not_ca"},
        {X509_V_ERR_CERT_SIGNATURE_FAILURE, "ek_cert.signature", "ek_cert.signature"},
        {X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION, "ek_cert.critical_extension",
         "ek_cert.critical_extension"},
        {X509_V_ERR_CRL_HAS_EXPIRED, "ek_cert.crl_expired", "ek_cert.crl_expired"},
        {X509_V_ERR_CRL_NOT_YET_VALID, "ek_cert.crl", "ek_cert.crl"},
        {X509_V_ERR_CRL_SIGNATURE_FAILURE, "ek_cert.crl", "ek_cert.crl"},
        {X509_V_ERR_UNABLE_TO_GET_CRL, "ek_cert.crl", "ek_cert.crl"},
        {X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER, "ek_cert.crl", "ek_cert.crl"},
        {X509_V_ERR_KEYUSAGE_NO_CRL_SIGN, "ek_cert.crl", "ek_cert.crl"},
        {X509_V_ERR_DIFFERENT_CRL_SCOPE, "ek_cert.crl", "ek_cert.crl"},
        {X509_V_ERR_UNHANDLED_CRITICAL_CRL_EXTENSION, "ek_cert.crl", "ek_cert.crl"},
    };

    for (size_t i = 0; i < LK_ARRAY_LEN(reasons); i++) {
        if (reasons[i].error == error) {
            return depth == 0 ? reasons[i].own : reasons[i].issuer;
        }
    }
    return "ek_cert.chain";
}

/* Of the roots, those that count for this verification; the stack owns references. */
static enum lk_err
roots_pick(const struct lk_ek_verify *how, cert_stack *ret)
{
    const cert_stack *all = how->trust->roots;
    uint8_t fingerprint[LK_EK_FINGERPRINT_LEN];

    for (int i = 0; i < sk_X509_num(all); i++) {
        X509 *root = sk_X509_value(all, i);
        bool counts = false;

        if (lk_ek_fingerprint(root, fingerprint) != LK_OK) {
            return LK_ERR_CRYPTO;
        }
        for (size_t k = 0; k < how->roots_count; k++) {
            counts = counts || memcmp(how->roots[k], fingerprint, sizeof(fingerprint)) == 0;
        }
        if (counts && X509_add_cert(ret, root, X509_ADD_FLAG_UP_REF) != 1) {
            return LK_ERR_NOMEM;
        }
    }
    return LK_OK;
}

static enum lk_err
untrusted_collect(const struct lk_ek_verify *how, cert_stack *ret, const char **ret_why)
{
    if (how->chain_count > LK_EK_CHAIN_MAX) {
        return judged(LK_ERR_LIMIT, "ek_cert.chain_too_long", ret_why);
    }
    for (size_t i = 0; i < how->chain_count; i++) {
        enum lk_err err = how->chain[i].len > LK_EK_CERT_MAX
                              ? LK_ERR_FORMAT
                              : cert_push(ret, how->chain[i].data, how->chain[i].len);

        if (err != LK_OK) {
            return judged(err, err == LK_ERR_FORMAT ? "ek_cert.chain_malformed" : "ek_cert.crypto",
                          ret_why);
        }
    }
    return X509_add_certs(ret, how->trust->intermediates, X509_ADD_FLAG_UP_REF) == 1
               ? LK_OK
               : judged(LK_ERR_NOMEM, "ek_cert.crypto", ret_why);
}

/* What OpenSSL leaves to a security level, which would ask for the EK's own key as well. */
static enum lk_err
chain_judge(const cert_stack *chain, const char **ret_why)
{
    int count = sk_X509_num(chain);

    if (count < 2) {
        return judged(LK_ERR_REFUSED, "ek_cert.not_ca_issued", ret_why);
    }
    for (int i = 0; i < count; i++) {
        X509 *x509 = sk_X509_value(chain, i);
        bool is_root = i == count - 1;
        int bits = 0;

        if (i > 0 && !is_root && X509_check_ca(x509) != 1) {
            return judged(LK_ERR_REFUSED, "ek_cert.issuer_not_ca", ret_why);
        }
        /* A root's own signature says nothing: it is trusted by its fingerprint. */
        if ((!is_root && (X509_get_signature_info(x509, NULL, NULL, &bits, NULL) != 1 ||
                          bits < SECURITY_BITS_MIN)) ||
            (i > 0 && EVP_PKEY_get_security_bits(X509_get0_pubkey(x509)) < SECURITY_BITS_MIN)) {
            return judged(LK_ERR_REFUSED, "ek_cert.weak", ret_why);
        }
    }
    return LK_OK;
}

static void
params_set(X509_STORE_CTX *ctx, int64_t now_ms)
{
    X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);

    X509_VERIFY_PARAM_set_time(param, (time_t)(now_ms / 1000));
    X509_VERIFY_PARAM_set_depth(param, LK_EK_DEPTH_MAX);
    X509_VERIFY_PARAM_set_auth_level(param, 0); /* chain_judge() */
    (void)X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
}

static enum lk_err
verify(const struct lk_ek_cert *c, const struct lk_ek_verify *how, cert_stack *roots,
       cert_stack *untrusted, const char **ret_why)
{
    LK_AUTO(store_ctx) X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    int got;

    if (ctx == NULL || X509_STORE_CTX_init(ctx, how->trust->empty, c->x509, untrusted) != 1 ||
        X509_STORE_CTX_set_app_data(ctx, (void *)(uintptr_t)how->trust) != 1) {
        return judged(LK_ERR_NOMEM, "ek_cert.crypto", ret_why);
    }
    X509_STORE_CTX_set0_trusted_stack(ctx, roots);
    X509_STORE_CTX_set0_crls(ctx, how->trust->crls);
    X509_STORE_CTX_set_verify_cb(ctx, error_judge);
    params_set(ctx, how->now_ms);
    got = X509_verify_cert(ctx);
    if (got < 0 || X509_STORE_CTX_get_error(ctx) == X509_V_ERR_OUT_OF_MEM) {
        return judged(LK_ERR_NOMEM, "ek_cert.crypto", ret_why);
    }
    if (got == 0) {
        return judged(LK_ERR_REFUSED,
                      reason_of(X509_STORE_CTX_get_error(ctx), X509_STORE_CTX_get_error_depth(ctx)),
                      ret_why);
    }
    return chain_judge(X509_STORE_CTX_get0_chain(ctx), ret_why);
}

enum lk_err
lk_ek_cert_verify(const struct lk_ek_cert *c, const struct lk_ek_verify *how, const char **ret_why)
{
    LK_AUTO(certs) cert_stack *roots = sk_X509_new_null();
    LK_AUTO(certs) cert_stack *untrusted = sk_X509_new_null();
    enum lk_err err;

    if (roots == NULL || untrusted == NULL) {
        return judged(LK_ERR_NOMEM, "ek_cert.crypto", ret_why);
    }
    if ((err = roots_pick(how, roots)) != LK_OK) {
        return judged(err, "ek_cert.crypto", ret_why);
    }
    err = untrusted_collect(how, untrusted, ret_why);
    if (err == LK_OK) {
        err = verify(c, how, roots, untrusted, ret_why);
    }
    ERR_clear_error();
    return err;
}
