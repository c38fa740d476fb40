/* A TPM maker of the tests. */
#include "support/ek_maker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/x509v3.h>

#define DAY_S 86400

static void
name_set(X509_NAME *name, const char *common_name)
{
    int ok = common_name == NULL ||
             X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                        (const unsigned char *)common_name, -1, -1, 0);

    assert_true(ok == 1);
}

static void
time_set(ASN1_TIME *t, int64_t offset_s)
{
    assert_true(ASN1_TIME_set(t, (time_t)(MAKER_NOW_MS / 1000 + offset_s)) != NULL);
}

static void
extension_add(X509 *cert, const char *oid, const char *text)
{
    X509V3_CTX ctx;
    X509_EXTENSION *ext;

    if (text == NULL) {
        return;
    }
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    ext = X509V3_EXT_conf(NULL, &ctx, oid, text);
    assert_true(ext != NULL && X509_add_ext(cert, ext, -1) == 1);
    X509_EXTENSION_free(ext);
}

static void
attribute_add(X509_NAME *name, const char *oid_text, const char *value)
{
    ASN1_OBJECT *oid = OBJ_txt2obj(oid_text, 1);

    assert_true(value == NULL ||
                X509_NAME_add_entry_by_OBJ(name, oid, V_ASN1_UTF8STRING,
                                           (const unsigned char *)value, -1, -1, 0) == 1);
    ASN1_OBJECT_free(oid);
}

/* The attributes as the TCG's profile wants them: a directoryName, critical without a subject. */
static void
san_add(X509 *cert, const struct maker_recipe *r)
{
    GENERAL_NAMES *names = GENERAL_NAMES_new();
    GENERAL_NAME *one = GENERAL_NAME_new();
    X509_NAME *dir = X509_NAME_new();

    attribute_add(dir, "2.23.133.2.1", r->manufacturer);
    attribute_add(dir, "2.23.133.2.2", r->model);
    attribute_add(dir, "2.23.133.2.3", r->version);
    GENERAL_NAME_set0_value(one, GEN_DIRNAME, dir);
    assert_true(sk_GENERAL_NAME_push(names, one) == 1);
    assert_true(X509_add1_ext_i2d(cert, NID_subject_alt_name, names, r->subject == NULL, 0) == 1);
    GENERAL_NAMES_free(names);
}

static void
key_set(X509 *cert, const struct maker_recipe *r)
{
    X509_ALGOR *alg = NULL;

    assert_true(X509_set_pubkey(cert, r->key) == 1);
    if (r->oaep) {
        assert_true(X509_PUBKEY_get0_param(NULL, NULL, NULL, &alg, X509_get_X509_PUBKEY(cert)) ==
                    1);
        assert_true(X509_ALGOR_set0(alg, OBJ_nid2obj(NID_rsaesOaep), V_ASN1_NULL, NULL) == 1);
    }
}

struct maker_der
maker_certify(const struct maker_recipe *r)
{
    X509 *cert = X509_new();
    EVP_PKEY *issuer_key = r->issuer_key != NULL ? r->issuer_key : r->key;
    struct maker_der der = {.len = 0};
    unsigned char *p = der.bytes;
    int len;

    assert_true(cert != NULL && X509_set_version(cert, X509_VERSION_3) == 1);
    assert_true(ASN1_INTEGER_set(X509_get_serialNumber(cert), r->serial != 0 ? r->serial : 7) == 1);
    time_set(X509_getm_notBefore(cert), r->not_before_s != 0 ? r->not_before_s : -DAY_S);
    time_set(X509_getm_notAfter(cert), r->not_after_s != 0 ? r->not_after_s : 365 * DAY_S);
    name_set(X509_get_subject_name(cert), r->subject);
    name_set(X509_get_issuer_name(cert), r->issuer);
    key_set(cert, r);
    extension_add(cert, "basicConstraints", r->constraints);
    extension_add(cert, "keyUsage", r->usage);
    extension_add(cert, "extendedKeyUsage", r->ext_use);
    extension_add(cert, "1.3.6.1.4.1.99999.1", r->unknown);
    if (r->manufacturer != NULL || r->model != NULL || r->version != NULL) {
        san_add(cert, r);
    }
    assert_true(X509_sign(cert, issuer_key, r->digest != NULL ? r->digest : EVP_sha256()) > 0);
    len = i2d_X509(cert, NULL);
    assert_true(len > 0 && (size_t)len <= sizeof(der.bytes));
    der.len = (size_t)i2d_X509(cert, &p);
    X509_free(cert);
    return der;
}

static void
crl_revoke(X509_CRL *crl, long serial)
{
    X509_REVOKED *revoked = X509_REVOKED_new();
    ASN1_INTEGER *number = ASN1_INTEGER_new();
    ASN1_TIME *when = ASN1_TIME_new();

    time_set(when, -DAY_S);
    assert_true(ASN1_INTEGER_set(number, serial) == 1);
    assert_true(X509_REVOKED_set_serialNumber(revoked, number) == 1);
    assert_true(X509_REVOKED_set_revocationDate(revoked, when) == 1);
    assert_true(X509_CRL_add0_revoked(crl, revoked) == 1);
    ASN1_INTEGER_free(number);
    ASN1_TIME_free(when);
}

struct maker_der
maker_crl(EVP_PKEY *key, const char *issuer, long serial, int64_t next_s)
{
    X509_CRL *crl = X509_CRL_new();
    X509_NAME *name = X509_NAME_new();
    ASN1_TIME *last = ASN1_TIME_new(), *next = ASN1_TIME_new();
    struct maker_der der = {.len = 0};
    unsigned char *p = der.bytes;

    name_set(name, issuer);
    time_set(last, -2 * DAY_S);
    time_set(next, next_s);
    assert_true(X509_CRL_set_version(crl, X509_CRL_VERSION_2) == 1);
    assert_true(X509_CRL_set_issuer_name(crl, name) == 1);
    assert_true(X509_CRL_set1_lastUpdate(crl, last) == 1 &&
                X509_CRL_set1_nextUpdate(crl, next) == 1);
    if (serial != 0) {
        crl_revoke(crl, serial);
    }
    assert_true(X509_CRL_sort(crl) == 1 && X509_CRL_sign(crl, key, EVP_sha256()) > 0);
    assert_true(i2d_X509_CRL(crl, NULL) <= (int)sizeof(der.bytes));
    der.len = (size_t)i2d_X509_CRL(crl, &p);
    X509_NAME_free(name);
    ASN1_TIME_free(last);
    ASN1_TIME_free(next);
    X509_CRL_free(crl);
    return der;
}
