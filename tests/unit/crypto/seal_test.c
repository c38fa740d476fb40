/* Tests of src/crypto/seal.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "support/vectors.h"

/* Zeros under FIPS 197's example keys: E(0), then E(E(0)). */
static void
cfb_known_answers(void **state)
{
    uint8_t key[32], text[32], want[32], out[32];

    vectors_unhex("000102030405060708090a0b0c0d0e0f", key, sizeof(key));
    memset(text, 0, sizeof(text));
    vectors_unhex("c6a13b37878f5b826f4f8162a1c8d879af9d9926f7dac87192b1c4143ad98958", want,
                  sizeof(want));
    assert_int_equal(lk_aes_cfb_encrypt(key, 128, text, 32, out), LK_OK);
    assert_memory_equal(out, want, 32);
    vectors_unhex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", key,
                  sizeof(key));
    vectors_unhex("f29000b62a499fd0a9f39a6add2e7780d4e96925c0bfcffb52f8a187ee774aab", want,
                  sizeof(want));
    assert_int_equal(lk_aes_cfb_encrypt(key, 256, text, 32, out), LK_OK);
    assert_memory_equal(out, want, 32);
}

/* Any length comes back, in place too, and no byte after it is touched. */
static void
cfb_round_trip(void **state)
{
    uint8_t key[32], buf[65], want[65];

    memset(key, 7, sizeof(key));
    memset(want, 0x5a, sizeof(want));
    for (size_t len = 0; len < sizeof(buf); len++) {
        memset(buf, 0x5a, sizeof(buf));
        assert_int_equal(lk_aes_cfb_encrypt(key, 256, buf, len, buf), LK_OK);
        assert_int_equal(buf[len], 0x5a);
        assert_true(len < 8 || memcmp(buf, want, len) != 0);
        assert_int_equal(lk_aes_cfb_decrypt(key, 256, buf, len, buf), LK_OK);
        assert_memory_equal(buf, want, sizeof(buf));
    }
}

static const uint8_t seal_key[LK_SEAL_KEY_LEN] = {1, 2, 3};

/* AES-256-GCM, test case 16 of the GCM specification, laid out nonce, ciphertext, tag. */
static void
seal_known_answer(void **state)
{
    struct script_rand script = {.len = 0};
    struct lk_rand source = script_rand_source(&script);
    LK_AUTO_BUF struct lk_buf out = LK_BUF_INIT;
    uint8_t key[32], nonce[12], text[60], ad[20], want[88];

    vectors_unhex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", key, 32);
    vectors_unhex("cafebabefacedbaddecaf888", nonce, 12);
    vectors_unhex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
                  "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
                  text, sizeof(text));
    vectors_unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2", ad, sizeof(ad));
    vectors_unhex("cafebabefacedbaddecaf888"
                  "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
                  "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
                  "76fc6ece0f4e1768cddf8853bb2d551b",
                  want, sizeof(want));
    script_rand_put(&script, nonce, sizeof(nonce));
    assert_int_equal(lk_seal(key, ad, sizeof(ad), text, sizeof(text), &source, &out), LK_OK);
    assert_int_equal(out.len, sizeof(want));
    assert_memory_equal(out.data, want, sizeof(want));
}

/* What was sealed opens, also when it is empty, and is appended to what was there. */
static void
seal_round_trip(void **state)
{
    for (size_t len = 0; len < 40; len += 13) {
        LK_AUTO_BUF struct lk_buf box = LK_BUF_INIT, text = LK_BUF_INIT;
        uint8_t in[40] = {9, 8, 7};

        assert_int_equal(lk_buf_puts(&text, "x"), LK_OK);
        assert_int_equal(lk_seal(seal_key, "ad", 2, in, len, &lk_rand_system, &box), LK_OK);
        assert_int_equal(box.len, len + LK_SEAL_OVERHEAD);
        assert_int_equal(lk_unseal(seal_key, "ad", 2, box.data, box.len, &text), LK_OK);
        assert_int_equal(text.len, len + 1);
        assert_memory_equal(text.data + 1, in, len);
    }
}

/* Every changed byte, another place, another key and every shorter form are refused. */
static void
unseal_refuses_changes(void **state)
{
    LK_AUTO_BUF struct lk_buf box = LK_BUF_INIT, text = LK_BUF_INIT;
    uint8_t other[LK_SEAL_KEY_LEN] = {1, 2, 4};

    assert_int_equal(lk_seal(seal_key, "ad", 2, "secret", 6, &lk_rand_system, &box), LK_OK);
    for (size_t i = 0; i < box.len; i++) {
        box.data[i] ^= 1;
        assert_int_equal(lk_unseal(seal_key, "ad", 2, box.data, box.len, &text), LK_ERR_REFUSED);
        box.data[i] ^= 1;
        assert_int_equal(lk_unseal(seal_key, "ad", 2, box.data, i, &text), LK_ERR_REFUSED);
    }
    assert_int_equal(lk_unseal(seal_key, "aD", 2, box.data, box.len, &text), LK_ERR_REFUSED);
    assert_int_equal(lk_unseal(seal_key, NULL, 0, box.data, box.len, &text), LK_ERR_REFUSED);
    assert_int_equal(lk_unseal(other, "ad", 2, box.data, box.len, &text), LK_ERR_REFUSED);
    assert_int_equal(text.len, 0);
    assert_int_equal(lk_unseal(seal_key, "ad", 2, box.data, box.len, &text), LK_OK);
}

/* Without randomness nothing is sealed and nothing appended. */
static void
seal_needs_randomness(void **state)
{
    struct script_rand script = {.len = 11};
    struct lk_rand source = script_rand_source(&script);
    LK_AUTO_BUF struct lk_buf out = LK_BUF_INIT;

    assert_int_equal(lk_seal(seal_key, NULL, 0, "x", 1, &source, &out), LK_ERR_CRYPTO);
    assert_int_equal(out.len, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cfb_known_answers),      cmocka_unit_test(cfb_round_trip),
        cmocka_unit_test(seal_known_answer),      cmocka_unit_test(seal_round_trip),
        cmocka_unit_test(unseal_refuses_changes), cmocka_unit_test(seal_needs_randomness),
    };

    return lk_crypto_init() != LK_OK ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
