/* Tests of src/crypto/pk.c, against blobs that an independent implementation made. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/vectors.h"

static json_t *cases; /* authentication-key.json */

static const json_t *
case_of(const char *kind)
{
    size_t i;
    json_t *one;

    json_array_foreach(cases, i, one)
    {
        if (strcmp(vectors_text(one, "kind"), kind) == 0) {
            return one;
        }
    }
    fail_msg("no case %s", kind);
    return NULL;
}

static const json_t *
input_of(const json_t *one, const char *what)
{
    return json_object_get(json_object_get(one, "inputs"), what);
}

/* OAEP with the vector's seed gives the vector's ciphertext; the modulus ends the public area. */
static void
expect_oaep(const char *kind, enum lk_hash h, size_t modulus_len)
{
    const json_t *one = case_of(kind), *random = input_of(one, "credential_random");
    struct script_rand script = {.len = 0};
    struct lk_rand source = script_rand_source(&script);
    LK_AUTO_BUF struct lk_buf out = LK_BUF_INIT;
    uint8_t area[640], seed[48], oaep_seed[48], want[640];
    size_t area_len = vectors_base64(one, "ek_tpm2b_public", area, sizeof(area));
    size_t seed_len = vectors_hex(random, "seed", seed, sizeof(seed));

    script_rand_put(&script, oaep_seed, vectors_hex(random, "oaep_seed", oaep_seed, 48));
    assert_int_equal(lk_rsa_oaep_encrypt(area + area_len - modulus_len, modulus_len, 65537, h,
                                         "IDENTITY", 9, seed, seed_len, &source, &out),
                     LK_OK);
    assert_int_equal(vectors_hex(json_object_get(one, "make_credential"), "encryptedSecret2B", want,
                                 sizeof(want)),
                     modulus_len + 2);
    assert_int_equal(out.len, modulus_len);
    assert_memory_equal(out.data, want + 2, modulus_len);
    assert_int_equal(script.used, script.len);
}

/* RSA-2048 with SHA-256. */
static void
oaep_rsa2048(void **state)
{
    expect_oaep("rsa2048", LK_SHA256, 256);
}

/* RSA-3072 with SHA-384. */
static void
oaep_rsa3072(void **state)
{
    expect_oaep("rsa3072", LK_SHA384, 384);
}

/* Other odd exponents, against SHA-256 of what big-integer arithmetic elsewhere gives. */
static void
oaep_other_exponents(void **state)
{
    static const struct {
        uint32_t exponent;
        const char *digest;
    } rows[] = {
        {3, "4c3e18efc27cfd607b217ef3f094d8fc55223bc30cd6e5b3fb406093b710a852"},
        {17, "6e47b851d1bf4c7b3c26204cf23b22d538defa02d5a88effc0a5581e6acc7b1c"},
        {65539, "9b5c112081139babe4346bc7a772324ef38fd13644cd659ef804cf798e83860e"},
    };
    uint8_t area[640];
    size_t len = vectors_base64(case_of("rsa2048"), "ek_tpm2b_public", area, sizeof(area));

    for (size_t i = 0; i < LK_ARRAY_LEN(rows); i++) {
        struct script_rand zeros = {.len = 32};
        struct lk_rand source = script_rand_source(&zeros);
        LK_AUTO_BUF struct lk_buf out = LK_BUF_INIT;
        uint8_t got[32], want[32];

        assert_int_equal(lk_rsa_oaep_encrypt(area + len - 256, 256, rows[i].exponent, LK_SHA256,
                                             "L", 1, "x", 1, &source, &out),
                         LK_OK);
        assert_int_equal(lk_digest(LK_SHA256, &LK_PART(out.data, out.len), 1, got), LK_OK);
        vectors_unhex(rows[i].digest, want, sizeof(want));
        assert_memory_equal(got, want, sizeof(want));
    }
}

/* Keys that RSA cannot work with, and texts that do not fit, append nothing. */
static void
oaep_refuses(void **state)
{
    LK_AUTO_BUF struct lk_buf out = LK_BUF_INIT;
    uint8_t n[513], text[191] = {0};
    const struct lk_rand *rnd = &lk_rand_system;

    memset(n, 0xff, sizeof(n));
    assert_int_equal(lk_rsa_oaep_encrypt(n, 256, 65537, LK_SHA256, "", 0, text, 190, rnd, &out),
                     LK_OK);
    out.len = 0;
    assert_int_equal(lk_rsa_oaep_encrypt(n, 256, 65537, LK_SHA256, "", 0, text, 191, rnd, &out),
                     LK_ERR_ARG);
    assert_int_equal(lk_rsa_oaep_encrypt(n, 255, 65537, LK_SHA256, "", 0, text, 1, rnd, &out),
                     LK_ERR_ARG);
    assert_int_equal(lk_rsa_oaep_encrypt(n, 513, 65537, LK_SHA256, "", 0, text, 1, rnd, &out),
                     LK_ERR_ARG);
    assert_int_equal(lk_rsa_oaep_encrypt(n, 256, 65536, LK_SHA256, "", 0, text, 1, rnd, &out),
                     LK_ERR_ARG);
    assert_int_equal(lk_rsa_oaep_encrypt(n, 256, 1, LK_SHA256, "", 0, text, 1, rnd, &out),
                     LK_ERR_ARG);
    n[255] = 0xfe;
    assert_int_equal(lk_rsa_oaep_encrypt(n, 256, 65537, LK_SHA256, "", 0, text, 1, rnd, &out),
                     LK_ERR_ARG);
    n[255] = 0xff;
    n[0] = 0x7f;
    assert_int_equal(lk_rsa_oaep_encrypt(n, 256, 65537, LK_SHA256, "", 0, text, 1, rnd, &out),
                     LK_ERR_ARG);
    assert_int_equal(out.len, 0);
}

/* With the vector's private scalar: the ephemeral point, and through KDFe the vector's seed. */
static void
expect_ecdh(const char *kind, enum lk_curve c, enum lk_hash h)
{
    const json_t *one = case_of(kind), *made = json_object_get(one, "make_credential");
    const size_t n = lk_curve_len(c);
    struct script_rand script = {.len = 0};
    struct lk_rand source = script_rand_source(&script);
    uint8_t area[640], d[48], zeros[48] = {0}, want[128], x[48], y[48], z[48], seed[48];
    size_t area_len = vectors_base64(one, "ek_tpm2b_public", area, sizeof(area));
    const uint8_t *peer_x = area + area_len - 2 * n - 2, *peer_y = area + area_len - n;

    script_rand_put(&script, zeros, n); /* zero is no scalar: drawn again */
    vectors_number(input_of(one, "credential_random"), "ephemeral_d", d, n);
    script_rand_put(&script, d, n);
    assert_int_equal(lk_ecdh_ephemeral(c, peer_x, peer_y, &source, x, y, z), LK_OK);
    assert_int_equal(script.used, script.len);
    vectors_hex(made, "encryptedSecret2B", want, sizeof(want));
    assert_memory_equal(x, want + 4, n);
    assert_memory_equal(y, want + 6 + n, n);
    assert_int_equal(lk_kdfe(h, LK_PART(z, n), "IDENTITY", LK_PART(x, n), LK_PART(peer_x, n), seed,
                             8 * lk_hash_len(h)),
                     LK_OK);
    vectors_hex(made, "seed", want, sizeof(want));
    assert_memory_equal(seed, want, lk_hash_len(h));
}

/* P-256 with KDFe over SHA-256. */
static void
ecdh_p256(void **state)
{
    expect_ecdh("p256", LK_P256, LK_SHA256);
}

/* P-384 with KDFe over SHA-384. */
static void
ecdh_p384(void **state)
{
    expect_ecdh("p384", LK_P384, LK_SHA384);
}

/* A source that only gives scalars past the order is not asked for ever. */
static void
ecdh_gives_up(void **state)
{
    static struct script_rand script;
    struct lk_rand source = script_rand_source(&script);
    uint8_t area[640], ones[512], x[32], y[32], z[32];
    size_t len = vectors_base64(case_of("p256"), "ek_tpm2b_public", area, sizeof(area));

    memset(ones, 0xff, sizeof(ones));
    script_rand_put(&script, ones, sizeof(ones));
    assert_int_equal(lk_ecdh_ephemeral(LK_P256, area + len - 66, area + len - 32, &source, x, y, z),
                     LK_ERR_CRYPTO);
}

/* Off the curve, unreduced, zero: refused by the check and by the operation. */
static void
curve_check_refuses(void **state)
{
    uint8_t area[640], x[32], y[32], zero[32] = {0}, out[32];
    size_t len = vectors_base64(case_of("p256"), "ek_tpm2b_public", area, sizeof(area));

    memcpy(x, area + len - 66, 32);
    memcpy(y, area + len - 32, 32);
    assert_int_equal(lk_curve_check(LK_P256, x, y), LK_OK);
    y[31] ^= 1;
    assert_int_equal(lk_curve_check(LK_P256, x, y), LK_ERR_FORMAT);
    assert_int_equal(lk_ecdh_ephemeral(LK_P256, x, y, &lk_rand_system, out, out, out),
                     LK_ERR_FORMAT);
    assert_int_equal(lk_curve_check(LK_P256, zero, zero), LK_ERR_FORMAT);
    memset(x, 0xff, 32);
    assert_int_equal(lk_curve_check(LK_P256, x, y), LK_ERR_FORMAT);
}

/* x = 5 is on P-256; x = p + 5 fits in 32 bytes and is the same number to who reduces it. */
static void
curve_check_refuses_second_spelling(void **state)
{
    uint8_t x[32] = {[31] = 5}, y[32];

    vectors_unhex("459243b9aa581806fe913bce99817ade11ca503c64d9a3c533415c083248fbcc", y, sizeof(y));
    assert_int_equal(lk_curve_check(LK_P256, x, y), LK_OK);
    vectors_unhex("ffffffff00000001000000000000000000000001000000000000000000000004", x, 32);
    assert_int_equal(lk_curve_check(LK_P256, x, y), LK_ERR_FORMAT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(oaep_rsa2048),
        cmocka_unit_test(oaep_rsa3072),
        cmocka_unit_test(oaep_other_exponents),
        cmocka_unit_test(oaep_refuses),
        cmocka_unit_test(ecdh_p256),
        cmocka_unit_test(ecdh_p384),
        cmocka_unit_test(ecdh_gives_up),
        cmocka_unit_test(curve_check_refuses),
        cmocka_unit_test(curve_check_refuses_second_spelling),
    };
    int failed;

    if (lk_crypto_init() != LK_OK) {
        return 1;
    }
    cases = vectors_load("authentication-key.json");
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(cases);
    return failed;
}
