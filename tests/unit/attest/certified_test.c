/* Tests of src/attest/certified.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "attest/certified.h"

static struct lk_tpm_key
rsa_key(void)
{
    struct lk_tpm_key k = {.alg = LK_KEY_RSA, .bits = 2048, .exponent = 65537, .x_len = 256};

    memset(k.x, 0xc5, k.x_len);
    return k;
}

static struct lk_ek_cert_facts
rsa_cert(void)
{
    struct lk_ek_cert_facts f = {
        .alg = LK_EK_CERT_RSA, .bits = 2048, .exponent = 65537, .x_len = 256};

    memset(f.x, 0xc5, f.x_len);
    return f;
}

/* RSA: another last byte, another exponent, a longer modulus that begins the same, another kind. */
static void
rsa(void **state)
{
    struct lk_tpm_key key = rsa_key();
    struct lk_ek_cert_facts cert = rsa_cert();

    assert_true(lk_tpm_key_is_certified(&key, &cert));
    cert.x[255] ^= 1;
    assert_false(lk_tpm_key_is_certified(&key, &cert));
    cert = rsa_cert();
    cert.exponent = 3;
    assert_false(lk_tpm_key_is_certified(&key, &cert));
    cert = rsa_cert();
    cert.bits = 3072;
    cert.x_len = 384;
    assert_false(lk_tpm_key_is_certified(&key, &cert));
    cert = rsa_cert();
    cert.alg = LK_EK_CERT_ECC;
    assert_false(lk_tpm_key_is_certified(&key, &cert));
}

/* ECC: the other point with this x, the other curve. */
static void
ecc(void **state)
{
    struct lk_tpm_key key = {.alg = LK_KEY_ECC,
                             .curve = LK_P256,
                             .bits = 256,
                             .x = {1},
                             .y = {2},
                             .x_len = 32,
                             .y_len = 32};
    struct lk_ek_cert_facts cert = {.alg = LK_EK_CERT_ECC,
                                    .curve = LK_P256,
                                    .bits = 256,
                                    .x = {1},
                                    .y = {2},
                                    .x_len = 32,
                                    .y_len = 32};

    assert_true(lk_tpm_key_is_certified(&key, &cert));
    cert.y[31] = 1;
    assert_false(lk_tpm_key_is_certified(&key, &cert));
    cert.y[31] = 0;
    cert.curve = LK_P384;
    assert_false(lk_tpm_key_is_certified(&key, &cert));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rsa),
        cmocka_unit_test(ecc),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
