/* Tests of src/crypto/kdf.c. KDFe is tested with the ECDH that feeds it, in pk_test.c. */
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

/* RFC 5869, test case 3 (empty salt and info), cut after 42 bytes. */
static void
hkdf_rfc5869_case_3(void **state)
{
    uint8_t key[22], out[43];

    memset(key, 0x0b, sizeof(key));
    memset(out, 0xa5, sizeof(out));
    assert_int_equal(lk_hkdf(key, sizeof(key), "", out, 42), LK_OK);
    expect_hex(out, "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
                    "9d201395faa4b61a96c8");
    assert_int_equal(out[42], 0xa5);
}

/* Another info gives an unrelated key; a longer output continues a shorter one. */
static void
hkdf_separates_by_info(void **state)
{
    uint8_t a[32], b[32], longer[64];

    assert_int_equal(lk_hkdf("master", 6, "one", a, sizeof(a)), LK_OK);
    assert_int_equal(lk_hkdf("master", 6, "two", b, sizeof(b)), LK_OK);
    assert_int_equal(lk_hkdf("master", 6, "one", longer, sizeof(longer)), LK_OK);
    assert_memory_not_equal(a, b, sizeof(a));
    assert_memory_equal(a, longer, sizeof(a));
}

/* RFC 5869 ends at 255 blocks. */
static void
hkdf_refuses_too_much(void **state)
{
    static uint8_t out[255 * 32 + 1];

    assert_int_equal(lk_hkdf("k", 1, "", out, sizeof(out) - 1), LK_OK);
    assert_int_equal(lk_hkdf("k", 1, "", out, sizeof(out)), LK_ERR_ARG);
}

/* The keys of the deterministic example in the protocol's description. */
static void
kdfa_known_keys(void **state)
{
    uint8_t seed[32], name[34], out[32];
    const struct lk_part none = LK_PART(NULL, 0);

    for (size_t i = 0; i < sizeof(seed); i++) {
        seed[i] = (uint8_t)i;
    }
    assert_int_equal(
        vectors_unhex("000b1199f7cbe34eca8aa64005a023e3781a752f2ae914bba1d945399d8de451c32f", name,
                      sizeof(name)),
        34);
    assert_int_equal(
        lk_kdfa(LK_SHA256, seed, sizeof(seed), "STORAGE", LK_PART(name, 34), none, out, 128),
        LK_OK);
    expect_hex(out, "d60ed1b845887dc44fb3faa444de67c9");
    assert_int_equal(lk_kdfa(LK_SHA256, seed, sizeof(seed), "INTEGRITY", none, none, out, 256),
                     LK_OK);
    expect_hex(out, "bacf689f634ece301e1f1b15b072d9c87db6a69585db42b1a0cb8f73ebe2692e");
}

/* More bits than one digest: blocks follow one another and the last one is cut. */
static void
kdfa_runs_over_blocks(void **state)
{
    const struct lk_part u = LK_PART("u", 1), v = LK_PART("v", 1);
    uint8_t out[41];

    memset(out, 0xa5, sizeof(out));
    assert_int_equal(lk_kdfa(LK_SHA256, "key", 3, "LABEL", u, v, out, 320), LK_OK);
    expect_hex(out, "554d8bda679a70261dab1fd5d0dc1880aeddcf3d3afb4855b46e5c2f8ade260d"
                    "506ef9057d2f557e");
    assert_int_equal(out[40], 0xa5);
}

/* Zero bits and parts of a byte are the caller's mistake. */
static void
lengths_in_whole_bytes(void **state)
{
    const struct lk_part none = LK_PART(NULL, 0);
    uint8_t out[32];

    assert_int_equal(lk_kdfa(LK_SHA256, "k", 1, "L", none, none, out, 0), LK_ERR_ARG);
    assert_int_equal(lk_kdfa(LK_SHA256, "k", 1, "L", none, none, out, 127), LK_ERR_ARG);
    assert_int_equal(lk_kdfe(LK_SHA256, none, "L", none, none, out, 0), LK_ERR_ARG);
    assert_int_equal(lk_kdfe(LK_SHA256, none, "L", none, none, out, 12), LK_ERR_ARG);
}

/* KDFe has no HMAC and no length: its blocks are plain digests, counted from one. */
static void
kdfe_runs_over_blocks(void **state)
{
    uint8_t out[41];

    memset(out, 0xa5, sizeof(out));
    assert_int_equal(
        lk_kdfe(LK_SHA256, LK_PART("z", 1), "LABEL", LK_PART("u", 1), LK_PART("v", 1), out, 320),
        LK_OK);
    expect_hex(out, "18fbb3dd66c262796c387c5e358ebfd0345931f69f07e527c6143aebb317a921"
                    "354c47b9b48e5e9f");
    assert_int_equal(out[40], 0xa5);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hkdf_rfc5869_case_3),   cmocka_unit_test(hkdf_separates_by_info),
        cmocka_unit_test(hkdf_refuses_too_much), cmocka_unit_test(kdfa_known_keys),
        cmocka_unit_test(kdfa_runs_over_blocks), cmocka_unit_test(lengths_in_whole_bytes),
        cmocka_unit_test(kdfe_runs_over_blocks),
    };

    return lk_crypto_init() != LK_OK ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
