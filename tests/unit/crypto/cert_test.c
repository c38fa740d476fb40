/* Tests of src/crypto/cert.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "crypto/cert.h"

LK_DEFINE_AUTO(EVP_PKEY, pkey, EVP_PKEY_free);
LK_DEFINE_AUTO(X509, x509, X509_free);
LK_DEFINE_AUTO(BIGNUM, number, BN_free);

struct der {
    uint8_t bytes[4096];
    size_t len;
};

/* A self-signed certificate for key with this common name. */
static struct der
certify(EVP_PKEY *key, const char *name)
{
    LK_AUTO(x509) X509 *cert = X509_new();
    struct der der;
    unsigned char *p = der.bytes;
    X509_NAME *subject = X509_get_subject_name(cert);
    int len;

    assert_int_equal(X509_set_version(cert, 2), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(cert), 7), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(cert), 0));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), 3600));
    assert_int_equal(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                                (const unsigned char *)name, -1, -1, 0),
                     1);
    assert_int_equal(X509_set_issuer_name(cert, subject), 1);
    assert_int_equal(X509_set_pubkey(cert, key), 1);
    assert_true(X509_sign(cert, key, EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256()) > 0);
    len = i2d_X509(cert, NULL);
    assert_in_range(len, 1, sizeof(der.bytes));
    der.len = (size_t)i2d_X509(cert, &p);
    return der;
}

static void
expect_number(EVP_PKEY *key, const char *param, const uint8_t *got, size_t got_len)
{
    LK_AUTO(number) BIGNUM *want = NULL;
    uint8_t bytes[512];

    assert_int_equal(EVP_PKEY_get_bn_param(key, param, &want), 1);
    assert_int_equal(BN_num_bytes(want), got_len);
    (void)BN_bn2bin(want, bytes);
    assert_memory_equal(got, bytes, got_len);
}

/* Nothing, text and every prefix of a certificate are no certificate, and *ret stays. */
static void
not_certificates(void **state)
{
    LK_AUTO(pkey) EVP_PKEY *key = EVP_EC_gen("P-256");
    struct der der = certify(key, "maker");
    struct lk_cert_info info;

    memset(&info, 0xa5, sizeof(info));
    assert_int_equal(lk_cert_read("", 0, &info), LK_ERR_FORMAT);
    assert_int_equal(lk_cert_read("-----BEGIN", 10, &info), LK_ERR_FORMAT);
    for (size_t len = 0; len < der.len; len++) {
        assert_int_equal(lk_cert_read(der.bytes, len, &info), LK_ERR_FORMAT);
    }
    assert_int_equal(info.der_len, (size_t)0xa5a5a5a5a5a5a5a5u);
}

/* The largest curve that OpenSSL certifies fits the fields. */
static void
largest_curve(void **state)
{
    LK_AUTO(pkey) EVP_PKEY *key = EVP_EC_gen("P-521");
    struct der der = certify(key, "maker");
    struct lk_cert_info info;

    assert_int_equal(lk_cert_read(der.bytes, der.len, &info), LK_OK);
    assert_in_range(info.x_len, 60, 66);
}

/* A key of another kind is an answer: the certificate is there, but nothing compares with it. */
static void
another_kind(void **state)
{
    LK_AUTO(pkey) EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    struct der der = certify(key, "maker");
    struct lk_cert_info info;

    assert_int_equal(lk_cert_read(der.bytes, der.len, &info), LK_OK);
    assert_int_equal(info.alg, LK_CERT_OTHER);
    assert_int_equal(info.der_len, der.len);
}

/* An issuer longer than the field is cut, and ends in a NUL. */
static void
long_issuer(void **state)
{
    LK_AUTO(pkey) EVP_PKEY *key = EVP_EC_gen("P-256");
    char name[65];
    struct lk_cert_info info;
    struct der der;

    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    der = certify(key, name);
    assert_int_equal(lk_cert_read(der.bytes, der.len, &info), LK_OK);
    assert_memory_equal(info.issuer, "CN=nnn", 6);
    assert_int_equal(strlen(info.issuer), 3 + 64);
}

/* RSA: the modulus of the key that was certified; padding behind the certificate is not its own. */
static void
rsa_padded(void **state)
{
    LK_AUTO(pkey) EVP_PKEY *key = EVP_RSA_gen(2048);
    struct der der = certify(key, "maker");
    size_t len = der.len;
    struct lk_cert_info info;

    memset(der.bytes + len, 0xff, 100);
    assert_int_equal(lk_cert_read(der.bytes, len + 100, &info), LK_OK);
    assert_int_equal(info.der_len, len);
    assert_int_equal(info.alg, LK_CERT_RSA);
    expect_number(key, OSSL_PKEY_PARAM_RSA_N, info.x, info.x_len);
    assert_string_equal(info.issuer, "CN=maker");
}

/* ECC: both coordinates. */
static void
ecc_point(void **state)
{
    LK_AUTO(pkey) EVP_PKEY *key = EVP_EC_gen("P-384");
    struct der der = certify(key, "maker");
    struct lk_cert_info info;

    assert_int_equal(lk_cert_read(der.bytes, der.len, &info), LK_OK);
    assert_int_equal(info.alg, LK_CERT_EC);
    expect_number(key, OSSL_PKEY_PARAM_EC_PUB_X, info.x, info.x_len);
    expect_number(key, OSSL_PKEY_PARAM_EC_PUB_Y, info.y, info.y_len);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(not_certificates), cmocka_unit_test(largest_curve),
        cmocka_unit_test(another_kind),     cmocka_unit_test(long_issuer),
        cmocka_unit_test(rsa_padded),       cmocka_unit_test(ecc_point),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
