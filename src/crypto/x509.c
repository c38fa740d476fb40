#include "crypto/x509.h"

#include <string.h>
#include <time.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "base/codec.h"
#include "crypto/crypto_int.h"

LK_DEFINE_AUTO(X509, x509, X509_free);
LK_DEFINE_AUTO(BIO, bio, BIO_free_all);
LK_DEFINE_AUTO(BIGNUM, serial_bn, BN_free);
LK_DEFINE_AUTO(X509_STORE, x509_store, X509_STORE_free);
LK_DEFINE_AUTO(X509_STORE_CTX, x509_store_ctx, X509_STORE_CTX_free);

/* Borrowed certificates on a stack of our own. */
static void
x509s_free(STACK_OF(X509) * s)
{
    sk_X509_pop_free(s, X509_free);
}
LK_DEFINE_AUTO(STACK_OF(X509), x509s, x509s_free);

static enum lk_err
der_parse(const void *der, size_t len, X509 **ret)
{
    const unsigned char *p = (const unsigned char *)der;
    LK_AUTO(x509) X509 *cert = NULL;

    if (len > LK_X509_DER_MAX) {
        return LK_ERR_FORMAT;
    }
    ERR_clear_error();
    if ((cert = d2i_X509(NULL, &p, (long)len)) == NULL) {
        return lk_crypto_verdict(LK_ERR_FORMAT);
    }
    if (p != (const unsigned char *)der + len) {
        return LK_ERR_FORMAT;
    }
    *ret = x509_take(&cert);
    return LK_OK;
}

/* ---- what a certificate says -------------------------------------------------------------------
 */

/* OpenSSL escapes what is not printable. */
static void
name_text(const X509_NAME *name, char ret[LK_X509_NAME_CAP])
{
    LK_AUTO(bio) BIO *out = BIO_new(BIO_s_mem());
    int n = -1;

    if (out != NULL &&
        X509_NAME_print_ex(out, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) >= 0) {
        n = BIO_read(out, ret, (int)LK_X509_NAME_CAP - 1);
    }
    ret[n > 0 ? n : 0] = '\0';
}

static void
common_name(const X509_NAME *name, char ret[LK_X509_NAME_CAP])
{
    int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1), len;
    unsigned char *text = NULL;

    ret[0] = '\0';
    if (at < 0 || X509_NAME_get_index_by_NID(name, NID_commonName, at) >= 0) {
        return;
    }
    len = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    if (len > 0 && (size_t)len < LK_X509_NAME_CAP && memchr(text, 0, (size_t)len) == NULL) {
        memcpy(ret, text, (size_t)len);
        ret[len] = '\0';
    }
    OPENSSL_free(text);
}

static enum lk_err
date_read(const ASN1_TIME *date, int64_t *ret_ms)
{
    struct tm tm;

    if (ASN1_TIME_to_tm(date, &tm) != 1) {
        return LK_ERR_UNSUPPORTED;
    }
    *ret_ms = (int64_t)timegm(&tm) * 1000;
    return LK_OK;
}

static enum lk_err
serial_text(const X509 *cert, char ret[LK_X509_SERIAL_CAP])
{
    LK_AUTO(serial_bn) BIGNUM *bn = ASN1_INTEGER_to_BN(X509_get0_serialNumber(cert), NULL);
    char *text = bn == NULL ? NULL : BN_bn2hex(bn);
    enum lk_err err = text == NULL ? LK_ERR_NOMEM : lk_strcpy(ret, LK_X509_SERIAL_CAP, text);

    OPENSSL_free(text);
    return err == LK_ERR_LIMIT ? LK_ERR_UNSUPPORTED : err;
}

enum lk_err
lk_x509_read(const void *der, size_t der_len, struct lk_x509_info *ret)
{
    LK_AUTO(x509) X509 *cert = NULL;
    struct lk_x509_info info;
    enum lk_err err;

    if ((err = der_parse(der, der_len, &cert)) != LK_OK) {
        return err;
    }
    if (X509_get_version(cert) < X509_VERSION_1 || X509_get_version(cert) > X509_VERSION_3) {
        return LK_ERR_FORMAT;
    }
    memset(&info, 0, sizeof(info));
    info.version = (int)X509_get_version(cert) + 1;
    name_text(X509_get_subject_name(cert), info.subject);
    name_text(X509_get_issuer_name(cert), info.issuer);
    common_name(X509_get_subject_name(cert), info.common_name);
    if (EVP_Digest(der, der_len, info.sha1, NULL, EVP_sha1(), NULL) != 1) {
        return LK_ERR_CRYPTO;
    }
    if ((err = lk_digest(LK_SHA256, &LK_PART(der, der_len), 1, info.sha256)) == LK_OK &&
        (err = serial_text(cert, info.serial)) == LK_OK &&
        (err = date_read(X509_get0_notBefore(cert), &info.not_before_ms)) == LK_OK &&
        (err = date_read(X509_get0_notAfter(cert), &info.not_after_ms)) == LK_OK) {
        *ret = info;
    }
    ERR_clear_error(); /* what is unreadable is an answer here, not a failure */
    return err;
}

bool
lk_x509_is_ca(const void *der, size_t der_len)
{
    LK_AUTO(x509) X509 *cert = NULL;

    return der_parse(der, der_len, &cert) == LK_OK && X509_check_ca(cert) == 1;
}

/* ---- text --------------------------------------------------------------------------------------
 */

static enum lk_err
der_put(const X509 *cert, struct lk_buf *ret)
{
    int len = i2d_X509(cert, NULL);
    unsigned char *p;

    if (len <= 0 || (size_t)len > LK_X509_DER_MAX) {
        return LK_ERR_LIMIT;
    }
    if ((p = lk_buf_extend(ret, (size_t)len)) == NULL) {
        return LK_ERR_NOMEM;
    }
    return i2d_X509(cert, &p) == len ? LK_OK : LK_ERR_CRYPTO;
}

static enum lk_err
pem_read(const void *text, size_t len, struct lk_buf *ret)
{
    LK_AUTO(bio) BIO *in = BIO_new_mem_buf(text, (int)len);
    LK_AUTO(x509) X509 *cert = NULL, *more = NULL;

    if (in == NULL) {
        return LK_ERR_NOMEM;
    }
    cert = PEM_read_bio_X509(in, NULL, NULL, NULL);
    more = cert == NULL ? NULL : PEM_read_bio_X509(in, NULL, NULL, NULL);
    ERR_clear_error();
    return cert == NULL || more != NULL ? LK_ERR_FORMAT : der_put(cert, ret);
}

/* Base64 in lines or without. */
static enum lk_err
base64_read(const char *text, size_t len, struct lk_buf *ret)
{
    LK_AUTO_BUF struct lk_buf packed = LK_BUF_INIT;
    enum lk_err err = LK_OK;

    for (size_t i = 0; i < len && err == LK_OK; i++) {
        if (strchr(" \t\r\n", text[i]) == NULL || text[i] == '\0') {
            err = lk_buf_put_u8(&packed, (uint8_t)text[i]);
        }
    }
    return err != LK_OK ? err : lk_base64_decode((const char *)packed.data, packed.len, ret);
}

static bool
has_text(const char *text, size_t len, const char *what)
{
    return memmem(text, len, what, strlen(what)) != NULL;
}

enum lk_err
lk_x509_from_text(const void *text, size_t len, struct lk_buf *ret)
{
    LK_AUTO_BUF struct lk_buf der = LK_BUF_INIT;
    LK_AUTO(x509) X509 *cert = NULL;
    enum lk_err err;

    if (len == 0 || len > 4 * LK_X509_DER_MAX) {
        return len == 0 ? LK_ERR_FORMAT : LK_ERR_LIMIT;
    }
    if (has_text(text, len, "-----BEGIN")) {
        return pem_read(text, len, ret);
    }
    if ((err = der_parse(text, len, &cert)) == LK_ERR_FORMAT &&
        (err = base64_read(text, len, &der)) == LK_OK) {
        err = der_parse(der.data, der.len, &cert);
    }
    return err != LK_OK ? err : der_put(cert, ret);
}

enum lk_err
lk_x509_to_pem(const void *der, size_t der_len, struct lk_buf *ret)
{
    LK_AUTO(x509) X509 *cert = NULL;
    LK_AUTO(bio) BIO *out = BIO_new(BIO_s_mem());
    char *text = NULL;
    enum lk_err err;
    long len;

    if ((err = der_parse(der, der_len, &cert)) != LK_OK) {
        return err;
    }
    if (out == NULL || PEM_write_bio_X509(out, cert) != 1 ||
        (len = BIO_get_mem_data(out, &text)) <= 0) {
        return LK_ERR_NOMEM;
    }
    return lk_buf_put(ret, text, (size_t)len);
}

/* ---- chains ------------------------------------------------------------------------------------
 */

static const char *
reason_of(int error)
{
    switch (error) {
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_UNTRUSTED:
        return "chain.unknown_signer";
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
        return "chain.signature";
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return "chain.not_yet_valid";
    case X509_V_ERR_CERT_HAS_EXPIRED:
        return "chain.expired";
    case X509_V_ERR_INVALID_CA:
        return "chain.signer_not_ca";
    case X509_V_ERR_KEYUSAGE_NO_CERTSIGN:
    case X509_V_ERR_INVALID_PURPOSE:
        return "chain.key_usage";
    case X509_V_ERR_PATH_LENGTH_EXCEEDED:
    case X509_V_ERR_CERT_CHAIN_TOO_LONG:
        return "chain.path_length";
    case X509_V_ERR_EE_KEY_TOO_SMALL:
    case X509_V_ERR_CA_KEY_TOO_SMALL:
    case X509_V_ERR_CA_MD_TOO_WEAK:
        return "chain.weak";
    case X509_V_ERR_UNHANDLED_CRITICAL_EXTENSION:
        return "chain.critical_extension";
    default:
        return "chain.invalid";
    }
}

static enum lk_err
x509s_parse(const struct lk_part *certs, size_t count, STACK_OF(X509) * ret)
{
    for (size_t i = 0; i < count; i++) {
        LK_AUTO(x509) X509 *cert = NULL;
        enum lk_err err = der_parse(certs[i].data, certs[i].len, &cert);

        if (err != LK_OK) {
            return err;
        }
        if (sk_X509_push(ret, cert) <= 0) {
            return LK_ERR_NOMEM;
        }
        (void)x509_take(&cert); /* the stack's */
    }
    return LK_OK;
}

static enum lk_err
store_make(STACK_OF(X509) * anchors, int64_t now_ms, X509_STORE *store)
{
    X509_VERIFY_PARAM *param = X509_STORE_get0_param(store);

    for (int i = 0; i < sk_X509_num(anchors); i++) {
        if (X509_STORE_add_cert(store, sk_X509_value(anchors, i)) != 1) {
            return LK_ERR_NOMEM;
        }
    }
    X509_VERIFY_PARAM_set_time(param, (time_t)(now_ms / 1000));
    X509_VERIFY_PARAM_set_depth(param, (int)LK_X509_CHAIN_MAX);
    X509_VERIFY_PARAM_set_auth_level(param, 2); /* 112 bits: RSA 2048, no SHA-1 */
    return X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN) == 1 &&
                   X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_SSL_CLIENT) == 1
               ? LK_OK
               : LK_ERR_CRYPTO;
}

/* What OpenSSL takes for an authority in old certificates without basic constraints is none here.
 */
static const char *
signers_judge(STACK_OF(X509) * verified)
{
    if (sk_X509_num(verified) < 2) {
        return "chain.is_signer";
    }
    for (int i = 1; i < sk_X509_num(verified); i++) {
        if (X509_check_ca(sk_X509_value(verified, i)) != 1) {
            return "chain.signer_not_ca";
        }
    }
    return NULL;
}

static enum lk_err
chain_verify(X509_STORE *store, STACK_OF(X509) * chain, const char **ret_why)
{
    LK_AUTO(x509_store_ctx) X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    const char *why;
    int got;

    if (ctx == NULL || X509_STORE_CTX_init(ctx, store, sk_X509_value(chain, 0), chain) != 1) {
        return LK_ERR_NOMEM;
    }
    got = X509_verify_cert(ctx);
    if (got < 0 || X509_STORE_CTX_get_error(ctx) == X509_V_ERR_OUT_OF_MEM) {
        return LK_ERR_NOMEM;
    }
    why = got == 1 ? signers_judge(X509_STORE_CTX_get0_chain(ctx))
                   : reason_of(X509_STORE_CTX_get_error(ctx));
    *ret_why = why;
    return why == NULL ? LK_OK : LK_ERR_REFUSED;
}

enum lk_err
lk_x509_chain_check(const struct lk_part *chain, size_t chain_count, const struct lk_part *anchors,
                    size_t anchors_count, int64_t now_ms, const char **ret_why)
{
    LK_AUTO(x509s) STACK_OF(X509) *certs = sk_X509_new_null();
    LK_AUTO(x509s) STACK_OF(X509) *trusted = sk_X509_new_null();
    LK_AUTO(x509_store) X509_STORE *store = X509_STORE_new();
    enum lk_err err;

    *ret_why = "chain.malformed";
    if (certs == NULL || trusted == NULL || store == NULL) {
        return LK_ERR_NOMEM;
    }
    if (chain_count < 1 || chain_count > LK_X509_CHAIN_MAX || anchors_count < 1) {
        return LK_ERR_ARG;
    }
    if ((err = x509s_parse(chain, chain_count, certs)) == LK_OK &&
        (err = x509s_parse(anchors, anchors_count, trusted)) == LK_OK &&
        (err = store_make(trusted, now_ms, store)) == LK_OK) {
        err = chain_verify(store, certs, ret_why);
    }
    ERR_clear_error();
    return err;
}
