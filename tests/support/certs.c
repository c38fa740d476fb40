#include "support/certs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <openssl/x509v3.h>

#define DAY_S 86400

static void
extension_add(struct test_cert *c, const struct test_cert *issuer, int nid, const char *value)
{
    X509_EXTENSION *extension;
    X509V3_CTX ctx;

    if (value == NULL) {
        return;
    }
    X509V3_set_ctx(&ctx, issuer == NULL ? c->x : issuer->x, c->x, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(c->x, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static void
name_add(X509_NAME *name, const char *cn)
{
    assert_int_equal(
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)cn, -1, -1, 0),
        1);
}

void
test_cert_make(struct test_cert *ret, const struct test_cert_spec *spec,
               const struct test_cert *issuer)
{
    static long serial = 1;
    unsigned char *p = ret->der;

    memset(ret, 0, sizeof(*ret));
    ret->key = spec->rsa_bits != 0 ? EVP_RSA_gen(spec->rsa_bits) : EVP_EC_gen("P-256");
    ret->x = X509_new();
    assert_non_null(ret->key);
    assert_non_null(ret->x);
    assert_int_equal(X509_set_version(ret->x, 2), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(ret->x), serial++), 1);
    assert_non_null(ASN1_TIME_set(X509_getm_notBefore(ret->x), (time_t)spec->from_s));
    assert_non_null(ASN1_TIME_set(X509_getm_notAfter(ret->x), (time_t)spec->to_s));
    if (spec->cn != NULL) {
        name_add(X509_get_subject_name(ret->x), spec->cn);
    }
    if (spec->cn2 != NULL) {
        name_add(X509_get_subject_name(ret->x), spec->cn2);
    }
    assert_int_equal(
        X509_set_issuer_name(ret->x, X509_get_subject_name(issuer == NULL ? ret->x : issuer->x)),
        1);
    assert_int_equal(X509_set_pubkey(ret->x, ret->key), 1);
    extension_add(ret, issuer, NID_basic_constraints, spec->constraints);
    extension_add(ret, issuer, NID_key_usage, spec->key_usage);
    extension_add(ret, issuer, NID_ext_key_usage, spec->eku);
    assert_true(X509_sign(ret->x, issuer == NULL ? ret->key : issuer->key,
                          spec->sha1 ? EVP_sha1() : EVP_sha256()) > 0);
    assert_in_range(i2d_X509(ret->x, NULL), 1, sizeof(ret->der));
    ret->der_len = (size_t)i2d_X509(ret->x, &p);
}

void
test_cert_fini(struct test_cert *c)
{
    EVP_PKEY_free(c->key);
    X509_free(c->x);
    memset(c, 0, sizeof(*c));
}

struct lk_part
test_cert_part(const struct test_cert *c)
{
    return LK_PART(c->der, c->der_len);
}

void
test_ca_make(struct test_cert *ret, const char *cn, int64_t from_s, const struct test_cert *issuer)
{
    const struct test_cert_spec spec = {.cn = cn,
                                        .from_s = from_s,
                                        .to_s = from_s + DAY_S,
                                        .constraints = "critical,CA:TRUE",
                                        .key_usage = "critical,keyCertSign,cRLSign"};

    test_cert_make(ret, &spec, issuer);
}

void
test_leaf_make(struct test_cert *ret, const char *cn, int64_t from_s,
               const struct test_cert *issuer)
{
    const struct test_cert_spec spec = {.cn = cn,
                                        .from_s = from_s,
                                        .to_s = from_s + DAY_S,
                                        .key_usage = "critical,digitalSignature",
                                        .eku = "clientAuth"};

    test_cert_make(ret, &spec, issuer);
}
