/* Who may sign a manifest: the chain of a signer's certificate, and what it is made for. */
#include "crypto/cms_int.h"

#include <stdio.h>
#include <string.h>

#include <openssl/err.h>

#define AUTH_LEVEL 2 /* 112 bits of security: OpenSSL's own scale */
#define CHAIN_MAX 8  /* certificates between the signer and the trusted one */
#define NAME_CAP 256u

void
lk_cms_name(const X509_NAME *name, char *buf, size_t cap)
{
    LK_AUTO(cms_bio) BIO *out = BIO_new(BIO_s_mem());
    int n = 0;

    if (out != NULL && X509_NAME_print_ex(out, name, 0, XN_FLAG_RFC2253) >= 0) {
        n = BIO_read(out, buf, (int)cap - 1);
    }
    buf[n > 0 ? n : 0] = '\0';
}

enum lk_err
lk_cms_trusted(const struct lk_cms_trust *trust, char reason[LK_CMS_REASON_CAP],
               struct stack_st_X509 **ret)
{
    LK_AUTO(cms_certs) struct stack_st_X509 *certs = sk_X509_new_null();

    for (size_t i = 0; certs != NULL && i < trust->certs_count; i++) {
        const unsigned char *p = trust->certs[i].data;
        LK_AUTO(cms_x509) X509 *cert = d2i_X509(NULL, &p, (long)trust->certs[i].len);

        if (cert == NULL) {
            (void)snprintf(reason, LK_CMS_REASON_CAP, "a trusted certificate cannot be read");
            return LK_ERR_CONFIG;
        }
        if (sk_X509_push(certs, cert) <= 0) {
            return LK_ERR_NOMEM;
        }
        (void)cms_x509_take(&cert);
    }
    if (certs == NULL) {
        return LK_ERR_NOMEM;
    }
    *ret = cms_certs_take(&certs);
    return LK_OK;
}

/* An issuer whose list nobody has imported has revoked nothing; every other error stands. */
static int
on_verify(int ok, X509_STORE_CTX *ctx)
{
    return ok == 0 && X509_STORE_CTX_get_error(ctx) == X509_V_ERR_UNABLE_TO_GET_CRL ? 1 : ok;
}

static enum lk_err
crls_add(X509_STORE *store, const struct lk_cms_trust *trust, char reason[LK_CMS_REASON_CAP])
{
    for (size_t i = 0; i < trust->crls_count; i++) {
        const unsigned char *p = trust->crls[i].data;
        LK_AUTO(cms_crl) X509_CRL *crl = d2i_X509_CRL(NULL, &p, (long)trust->crls[i].len);

        if (crl == NULL) {
            (void)snprintf(reason, LK_CMS_REASON_CAP, "a revocation list cannot be read");
            return LK_ERR_CONFIG;
        }
        if (X509_STORE_add_crl(store, crl) != 1) {
            return LK_ERR_CRYPTO;
        }
    }
    return LK_OK;
}

static enum lk_err
store_make(struct stack_st_X509 *trusted, const struct lk_cms_trust *trust,
           char reason[LK_CMS_REASON_CAP], X509_STORE **ret)
{
    LK_AUTO(cms_store) X509_STORE *store = X509_STORE_new();
    X509_VERIFY_PARAM *param = store != NULL ? X509_STORE_get0_param(store) : NULL;
    unsigned long flags =
        X509_V_FLAG_PARTIAL_CHAIN |
        (trust->crls_count > 0 ? X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL : 0UL);
    enum lk_err err;

    if (param == NULL) {
        return LK_ERR_NOMEM;
    }
    for (int i = 0; i < sk_X509_num(trusted); i++) {
        if (X509_STORE_add_cert(store, sk_X509_value(trusted, i)) != 1) {
            return LK_ERR_CRYPTO;
        }
    }
    if ((err = crls_add(store, trust, reason)) != LK_OK) {
        return err;
    }
    if (X509_VERIFY_PARAM_set_flags(param, flags) != 1) {
        return LK_ERR_CRYPTO;
    }
    X509_VERIFY_PARAM_set_time(param, (time_t)trust->now_unix_s);
    X509_VERIFY_PARAM_set_auth_level(param, AUTH_LEVEL);
    X509_VERIFY_PARAM_set_depth(param, CHAIN_MAX);
    X509_STORE_set_verify_cb(store, on_verify);
    *ret = cms_store_take(&store);
    return LK_OK;
}

static enum lk_err
chain_verify(X509 *signer, struct stack_st_X509 *trusted, struct stack_st_X509 *others,
             const struct lk_cms_trust *trust, char reason[LK_CMS_REASON_CAP])
{
    LK_AUTO(cms_store) X509_STORE *store = NULL;
    LK_AUTO(cms_store_ctx) X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    char name[NAME_CAP] = "";
    const X509 *at;
    int code;
    enum lk_err err;

    if (ctx == NULL) {
        return LK_ERR_NOMEM;
    }
    if ((err = store_make(trusted, trust, reason, &store)) != LK_OK) {
        return err;
    }
    if (X509_STORE_CTX_init(ctx, store, signer, others) != 1) {
        return LK_ERR_CRYPTO;
    }
    if (X509_verify_cert(ctx) == 1) {
        return LK_OK;
    }
    code = X509_STORE_CTX_get_error(ctx);
    at = X509_STORE_CTX_get_current_cert(ctx);
    lk_cms_name(X509_get_subject_name(at != NULL ? at : signer), name, sizeof(name));
    (void)snprintf(reason, LK_CMS_REASON_CAP, "%s: %s", name, X509_verify_cert_error_string(code));
    return code == X509_V_ERR_OUT_OF_MEM ? LK_ERR_NOMEM : LK_ERR_REFUSED;
}

static bool
is_among(const X509 *cert, struct stack_st_X509 *certs)
{
    for (int i = 0; i < sk_X509_num(certs); i++) {
        if (X509_cmp(sk_X509_value(certs, i), cert) == 0) {
            return true;
        }
    }
    return false;
}

/* An extended key usage that OpenSSL has no bit for is compared by its object identifier. */
static bool
extended_usage_ok(X509 *signer)
{
    static const char document_signing[] = "1.3.6.1.5.5.7.3.36"; /* RFC 9336 */
    EXTENDED_KEY_USAGE *usages;
    char oid[64];
    bool found = false;
    uint32_t bits = X509_get_extended_key_usage(signer); /* all ones: there is none */

    if ((bits & (XKU_SMIME | XKU_CODE_SIGN | XKU_ANYEKU)) != 0) {
        return true;
    }
    usages = X509_get_ext_d2i(signer, NID_ext_key_usage, NULL, NULL);
    for (int i = 0; !found && i < sk_ASN1_OBJECT_num(usages); i++) {
        (void)OBJ_obj2txt(oid, sizeof(oid), sk_ASN1_OBJECT_value(usages, i), 1);
        found = strcmp(oid, document_signing) == 0;
    }
    EXTENDED_KEY_USAGE_free(usages);
    return found;
}

enum lk_err
lk_cms_signer_judge(X509 *signer, struct stack_st_X509 *trusted, struct stack_st_X509 *others,
                    const struct lk_cms_trust *trust, char reason[LK_CMS_REASON_CAP])
{
    char name[NAME_CAP];
    enum lk_err err = chain_verify(signer, trusted, others, trust, reason);

    if (err != LK_OK) {
        return err;
    }
    lk_cms_name(X509_get_subject_name(signer), name, sizeof(name));
    if ((X509_get_key_usage(signer) & X509v3_KU_DIGITAL_SIGNATURE) == 0) {
        (void)snprintf(reason, LK_CMS_REASON_CAP,
                       "%s: its key usage does not include digitalSignature", name);
        return LK_ERR_REFUSED;
    }
    if (!is_among(signer, trusted) && !extended_usage_ok(signer)) {
        (void)snprintf(reason, LK_CMS_REASON_CAP,
                       "%s: its extended key usage includes none of emailProtection, codeSigning, "
                       "documentSigning",
                       name);
        return LK_ERR_REFUSED;
    }
    return LK_OK;
}
