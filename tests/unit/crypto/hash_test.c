/* Tests of src/crypto/hash.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "support/vectors.h"

static void
expect_hex(const uint8_t *got, const char *hex)
{
    uint8_t want[512];
    size_t len = vectors_unhex(hex, want, sizeof(want));

    assert_memory_equal(got, want, len);
}

/* Parts are hashed as if they were one message, and nothing past the digest is written. */
static void
digest_joins_parts(void **state)
{
    const struct lk_part parts[] = {LK_PART("a", 1), LK_PART(NULL, 0), LK_PART("bc", 2)};
    uint8_t out[LK_HASH_MAX + 1];

    memset(out, 0xa5, sizeof(out));
    assert_int_equal(lk_digest(LK_SHA256, parts, 3, out), LK_OK);
    expect_hex(out, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(out[32], 0xa5);
    assert_int_equal(lk_digest(LK_SHA384, parts, 3, out), LK_OK);
    expect_hex(out, "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
                    "8086072ba1e7cc2358baeca134c825a7");
    assert_int_equal(out[48], 0xa5);
}

/* No parts at all is the digest of the empty message. */
static void
digest_of_nothing(void **state)
{
    uint8_t out[LK_HASH_MAX];

    assert_int_equal(lk_digest(LK_SHA256, NULL, 0, out), LK_OK);
    expect_hex(out, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

/* RFC 4231, test case 2: a key shorter than a block. */
static void
hmac_short_key(void **state)
{
    const struct lk_part parts[] = {LK_PART("what do ya want ", 16), LK_PART("for nothing?", 12)};
    uint8_t out[LK_HASH_MAX];

    assert_int_equal(lk_hmac(LK_SHA256, "Jefe", 4, parts, 2, out), LK_OK);
    expect_hex(out, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    assert_int_equal(lk_hmac(LK_SHA384, "Jefe", 4, parts, 2, out), LK_OK);
    expect_hex(out, "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e"
                    "8e2240ca5e69e2c78b3239ecfab21649");
}

/* RFC 4231, test case 6: a key longer than either block. */
static void
hmac_long_key(void **state)
{
    const char *text = "Test Using Larger Than Block-Size Key - Hash Key First";
    const struct lk_part part = LK_PART(text, strlen(text));
    uint8_t key[131], out[LK_HASH_MAX];

    memset(key, 0xaa, sizeof(key));
    assert_int_equal(lk_hmac(LK_SHA256, key, sizeof(key), &part, 1, out), LK_OK);
    expect_hex(out, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    assert_int_equal(lk_hmac(LK_SHA384, key, sizeof(key), &part, 1, out), LK_OK);
    expect_hex(out, "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c6"
                    "0c2ef6ab4030fe8296248df163f44952");
}

/* A key of exactly one block is used as it is; one byte more is hashed first. */
static void
hmac_key_at_block_boundary(void **state)
{
    const struct lk_part part = LK_PART("message", 7);
    uint8_t key[65], hashed[LK_HASH_MAX], one[LK_HASH_MAX], two[LK_HASH_MAX];
    const struct lk_part key_part = LK_PART(key, 65);

    memset(key, 0x42, sizeof(key));
    assert_int_equal(lk_hmac(LK_SHA256, key, 64, &part, 1, one), LK_OK);
    expect_hex(one, "3e2dff13376eef21c977d2636c96b03becad305320781276694855a3ea9eb883");
    assert_int_equal(lk_digest(LK_SHA256, &key_part, 1, hashed), LK_OK);
    assert_int_equal(lk_hmac(LK_SHA256, key, 65, &part, 1, one), LK_OK);
    assert_int_equal(lk_hmac(LK_SHA256, hashed, 32, &part, 1, two), LK_OK);
    assert_memory_equal(one, two, 32);
}

/* An empty key and an empty message are allowed. */
static void
hmac_of_nothing(void **state)
{
    uint8_t out[LK_HASH_MAX];

    assert_int_equal(lk_hmac(LK_SHA256, NULL, 0, NULL, 0, out), LK_OK);
    expect_hex(out, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

/* Equality looks at every byte of the length given, and at none after it. */
static void
ct_equal_looks_at_all(void **state)
{
    uint8_t a[33] = {0}, b[33] = {0};

    a[32] = 1;
    assert_true(lk_ct_equal(a, b, 32));
    assert_true(lk_ct_equal(a, b, 0));
    for (size_t i = 0; i < 32; i++) {
        b[i] = 0x80;
        assert_false(lk_ct_equal(a, b, 32));
        b[i] = 0;
    }
}

/* The system's source fills exactly what it is asked for, differently each time. */
static void
rand_fills_exactly(void **state)
{
    uint8_t a[34] = {0}, b[34] = {0};

    assert_int_equal(lk_rand_fill(&lk_rand_system, a + 1, 32), LK_OK);
    assert_int_equal(lk_rand_fill(&lk_rand_system, b + 1, 32), LK_OK);
    assert_int_equal(a[0] | a[33] | b[0] | b[33], 0);
    assert_memory_not_equal(a + 1, b + 1, 32);
}

/* A failing source is reported as what it said. */
static void
rand_failure_passes_through(void **state)
{
    struct script_rand script = {.len = 0};
    struct lk_rand source = script_rand_source(&script);
    uint8_t byte;

    assert_int_equal(lk_rand_fill(&source, &byte, 1), LK_ERR_CRYPTO);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digest_joins_parts),
        cmocka_unit_test(digest_of_nothing),
        cmocka_unit_test(hmac_short_key),
        cmocka_unit_test(hmac_long_key),
        cmocka_unit_test(hmac_key_at_block_boundary),
        cmocka_unit_test(hmac_of_nothing),
        cmocka_unit_test(ct_equal_looks_at_all),
        cmocka_unit_test(rand_fills_exactly),
        cmocka_unit_test(rand_failure_passes_through),
    };

    return lk_crypto_init() != LK_OK ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
