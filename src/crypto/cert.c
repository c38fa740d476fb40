/* Reading an X.509 certificate. */
#include "crypto/cert.h"

#include <string.h>

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

LK_DEFINE_AUTO(X509, cert_x509, X509_free);
LK_DEFINE_AUTO(BIGNUM, cert_bn, BN_free);
LK_DEFINE_AUTO(BIO, cert_bio, BIO_free_all);

static enum lk_err
number_read(const EVP_PKEY *key, const char *name, uint8_t *buf, size_t cap, size_t *ret_len)
{
    LK_AUTO(cert_bn) BIGNUM *bn = NULL;
    int len;

    if (EVP_PKEY_get_bn_param(key, name, &bn) != 1) {
        return LK_ERR_CRYPTO;
    }
    len = BN_num_bytes(bn);
    if (len < 0 || (size_t)len > cap) {
        return LK_ERR_UNSUPPORTED;
    }
    *ret_len = (size_t)BN_bn2bin(bn, buf);
    return LK_OK;
}

static enum lk_err
key_read(const X509 *cert, struct lk_cert_info *ret)
{
    const EVP_PKEY *key = X509_get0_pubkey(cert);
    enum lk_err err;

    ret->alg = LK_CERT_OTHER;
    if (key == NULL) {
        return LK_OK;
    }
    if (EVP_PKEY_is_a(key, "RSA") || EVP_PKEY_is_a(key, "RSA-PSS")) {
        ret->alg = LK_CERT_RSA;
        return number_read(key, OSSL_PKEY_PARAM_RSA_N, ret->x, sizeof(ret->x), &ret->x_len);
    }
    if (EVP_PKEY_is_a(key, "EC")) {
        ret->alg = LK_CERT_EC;
        err = number_read(key, OSSL_PKEY_PARAM_EC_PUB_X, ret->x, sizeof(ret->x), &ret->x_len);
        return err != LK_OK ? err
                            : number_read(key, OSSL_PKEY_PARAM_EC_PUB_Y, ret->y, sizeof(ret->y),
                                          &ret->y_len);
    }
    return LK_OK;
}

static void
issuer_read(const X509 *cert, struct lk_cert_info *ret)
{
    LK_AUTO(cert_bio) BIO *out = BIO_new(BIO_s_mem());
    int n;

    if (out == NULL || X509_NAME_print_ex(out, X509_get_issuer_name(cert), 0,
                                          XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) < 0) {
        return;
    }
    n = BIO_read(out, ret->issuer, (int)sizeof(ret->issuer) - 1);
    ret->issuer[n > 0 ? n : 0] = '\0';
}

enum lk_err
lk_cert_read(const void *data, size_t len, struct lk_cert_info *ret)
{
    LK_AUTO(cert_x509) X509 *cert = NULL;
    const unsigned char *p = (const unsigned char *)data;
    struct lk_cert_info info;
    enum lk_err err;

    memset(&info, 0, sizeof(info));
    if (len > 65536) {
        return LK_ERR_FORMAT;
    }
    cert = d2i_X509(NULL, &p, (long)len);
    if (cert == NULL) {
        ERR_clear_error();
        return LK_ERR_FORMAT;
    }
    info.der_len = (size_t)(p - (const unsigned char *)data);
    err = key_read(cert, &info);
    issuer_read(cert, &info);
    ERR_clear_error(); /* an unreadable key is an answer here, not a failure */
    if (err == LK_OK) {
        *ret = info;
    }
    return err;
}
