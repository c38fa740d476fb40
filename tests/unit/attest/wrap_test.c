/*
 * Tests of src/attest/wrap.c: blobs byte for byte with injected randomness. That real TPMs and the
 * software device open them is tested in swtpm_test.c and tests/unit/support.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "attest/attest.h"
#include "support/vectors.h"

static json_t *cases; /* authentication-key.json */

/* What one call needs, read from a vector. */
struct wrap_input {
    struct lk_tpm_key ek, srk;
    uint8_t key[LK_HMAC_KEY_MAX];
    size_t key_len;
    const char *uri;
    struct script_rand script;
};

static void
key_load(const json_t *one, enum lk_key_role role, struct lk_tpm_key *ret)
{
    uint8_t area[LK_TPM_PUBLIC_MAX];
    size_t len = vectors_base64(one, role == LK_ROLE_EK ? "ek_tpm2b_public" : "srk_tpm2b_public",
                                area, sizeof(area));

    assert_int_equal(lk_tpm_key_parse(role, area, len, NULL, ret), LK_OK);
}

static void
script_put_member(struct script_rand *s, const json_t *obj, const char *key, size_t width)
{
    uint8_t bytes[64];

    assert_true(width <= sizeof(bytes));
    vectors_number(obj, key, bytes, width);
    script_rand_put(s, bytes, width);
}

static void
script_put_secret(struct script_rand *s, const json_t *random, const struct lk_tpm_key *key)
{
    if (key->alg == LK_KEY_ECC) {
        script_put_member(s, random, "ephemeral_d", key->x_len);
        return;
    }
    script_put_member(s, random, "seed", lk_hash_len(key->name_alg));
    script_put_member(s, random, "oaep_seed", lk_hash_len(key->name_alg));
}

static void
input_load(const json_t *one, struct wrap_input *ret)
{
    const json_t *in = json_object_get(one, "inputs");

    memset(ret, 0, sizeof(*ret));
    key_load(one, LK_ROLE_EK, &ret->ek);
    key_load(one, LK_ROLE_SRK, &ret->srk);
    ret->key_len = vectors_hex(in, "hmac_key", ret->key, sizeof(ret->key));
    ret->uri = vectors_text(in, "uri");
    script_put_member(&ret->script, in, "credential", 16);
    script_put_member(&ret->script, in, "seed_value", 32);
    script_put_secret(&ret->script, json_object_get(in, "credential_random"), &ret->ek);
    script_put_secret(&ret->script, json_object_get(in, "duplicate_random"), &ret->srk);
}

/* RSA-2048, RSA-3072, P-256, P-384 and a mixed pair: the vector's blob, appended. */
static void
blobs_byte_for_byte(void **state)
{
    size_t i;
    json_t *one;

    json_array_foreach(cases, i, one)
    {
        LK_AUTO_BUF struct lk_buf out = LK_BUF_INIT;
        struct wrap_input in;
        struct lk_rand source = script_rand_source(&in.script);
        uint8_t want[LK_AUTH_KEY_MAX];
        size_t want_len = vectors_base64(one, "blob", want, sizeof(want));

        input_load(one, &in);
        assert_int_equal(lk_buf_puts(&out, "x"), LK_OK);
        assert_int_equal(
            lk_auth_key_wrap(&in.ek, &in.srk, in.key, in.key_len, in.uri, &source, &out), LK_OK);
        assert_int_equal(out.len, 1 + want_len);
        assert_memory_equal(out.data + 1, want, want_len);
        assert_int_equal(in.script.used, in.script.len);
    }
    assert_int_equal(i, 5);
}

/* However little randomness there is, an incomplete blob is never handed out. */
static void
needs_all_its_randomness(void **state)
{
    size_t i;
    json_t *one;

    json_array_foreach(cases, i, one)
    {
        struct wrap_input in;
        size_t whole;

        input_load(one, &in);
        whole = in.script.len;
        for (size_t len = 0; len < whole; len += 8) {
            LK_AUTO_BUF struct lk_buf out = LK_BUF_INIT;
            struct lk_rand source = script_rand_source(&in.script);

            in.script.len = len;
            in.script.used = 0;
            assert_int_equal(
                lk_auth_key_wrap(&in.ek, &in.srk, in.key, in.key_len, in.uri, &source, &out),
                LK_ERR_CRYPTO);
            assert_int_equal(out.len, 0);
        }
    }
}

/* Two blobs for the same key share nothing but the public area's size. */
static void
wrapping_is_fresh(void **state)
{
    LK_AUTO_BUF struct lk_buf a = LK_BUF_INIT, b = LK_BUF_INIT;
    struct wrap_input in;

    input_load(json_array_get(cases, 0), &in);
    assert_int_equal(lk_auth_key_wrap(&in.ek, &in.srk, in.key, 32, "scope/x", &lk_rand_system, &a),
                     LK_OK);
    assert_int_equal(lk_auth_key_wrap(&in.ek, &in.srk, in.key, 32, "scope/x", &lk_rand_system, &b),
                     LK_OK);
    assert_int_equal(a.len, 766 + 7);
    assert_int_equal(b.len, a.len);
    assert_memory_not_equal(a.data + 4, b.data + 4, 50);      /* idObject */
    assert_memory_not_equal(a.data + 56, b.data + 56, 256);   /* secret for the EK */
    assert_memory_not_equal(a.data + 314, b.data + 314, 142); /* duplicate */
    assert_memory_not_equal(a.data + 458, b.data + 458, 256); /* secret for the SRK */
    assert_memory_not_equal(a.data + 732, b.data + 732, 32);  /* unique, salted by seedValue */
    assert_memory_not_equal(a.data + 766, b.data + 766, 7);   /* uri */
}

/* Key lengths at both ends, and one past them; an empty uri. */
static void
limits_of_key_and_uri(void **state)
{
    LK_AUTO_BUF struct lk_buf out = LK_BUF_INIT;
    const struct lk_rand *rnd = &lk_rand_system;
    uint8_t key[LK_HMAC_KEY_MAX + 1] = {1};
    struct wrap_input in;

    input_load(json_array_get(cases, 0), &in);
    assert_int_equal(lk_auth_key_wrap(&in.ek, &in.srk, key, 0, "u", rnd, &out), LK_ERR_ARG);
    assert_int_equal(lk_auth_key_wrap(&in.ek, &in.srk, key, 65, "u", rnd, &out), LK_ERR_ARG);
    assert_int_equal(lk_auth_key_wrap(&in.ek, &in.srk, key, 32, "", rnd, &out), LK_ERR_ARG);
    assert_int_equal(out.len, 0);
    assert_int_equal(lk_auth_key_wrap(&in.ek, &in.srk, key, 1, "u", rnd, &out), LK_OK);
    assert_int_equal(out.len, 766 - 31 + 1);
    lk_buf_reset(&out);
    assert_int_equal(lk_auth_key_wrap(&in.ek, &in.srk, key, 64, "u", rnd, &out), LK_OK);
    assert_int_equal(out.len, 766 + 32 + 1);
}

/* A key as large as they come, RSA-4096 with SHA-384 and AES-256, made up: nobody opens it here. */
static void
key_make_largest(struct lk_tpm_key *ret)
{
    memset(ret, 0xff, sizeof(*ret));
    ret->alg = LK_KEY_RSA;
    ret->bits = 4096;
    ret->name_alg = LK_SHA384;
    ret->sym_bits = 256;
    ret->exponent = 65537;
    ret->x_len = 512;
    ret->name_len = LK_TPM_NAME_MAX;
}

/* With the largest keys, 600 bytes of uri fit into the blob's limit, and the limit holds. */
static void
largest_blob(void **state)
{
    LK_AUTO_BUF struct lk_buf out = LK_BUF_INIT;
    uint8_t key[LK_HMAC_KEY_MAX] = {1};
    struct lk_tpm_key large;
    char uri[1024];

    key_make_largest(&large);
    memset(uri, 'u', sizeof(uri));
    uri[sizeof(uri) - 1] = '\0';
    assert_int_equal(lk_auth_key_wrap(&large, &large, key, 64, uri, &lk_rand_system, &out),
                     LK_ERR_LIMIT);
    assert_int_equal(out.len, 0);
    uri[600] = '\0';
    assert_int_equal(lk_auth_key_wrap(&large, &large, key, 64, uri, &lk_rand_system, &out), LK_OK);
    assert_true(out.len <= LK_AUTH_KEY_MAX);
}

static void
put_range(struct script_rand *s, unsigned from, unsigned to)
{
    for (unsigned v = from; v <= to; v++) {
        uint8_t byte = (uint8_t)v;

        script_rand_put(s, &byte, 1);
    }
}

/*
 * The deterministic example in the protocol's description, section 9. Its SRK has an even toy
 * modulus that no parser takes, so only its Name is used, which is all that idObject and duplicate
 * depend on; the keys that carry the seeds are others.
 */
static void
protocol_example(void **state)
{
    static const char id_object[] =
        "0034"
        "0020006d61073ab5e16a2f51100f45f7c100337a89aa60e432982fbf997c8b078abc"
        "81f4d8cc829bdd686e3ed1aac89e746cdf82";
    static const char duplicate[] =
        "008e"
        "0020d6ff53e46c62e9e31543a6e3891eab66525043367cebd53f557e3937f1e980c1"
        "138452131651960041066ba2a37cdee337ee29de06730ce546b4624cc0c2a14bbc79"
        "29ff8b492d4934a194f34d3cbfef482ea4508a50041d1ff94e6d5c3a5475c7d03ac6"
        "c07b4578192208d60630edf83d53f2dc67f002599a355b8802d5596eb608b6059ef9"
        "130a6527a3ac";
    static const char public[] = "0030"
                                 "0008000b0004044000000005000b0020"
                                 "0984dad7e24ef9a355be60edee5157ac153cc8f12d19bab20f26f47ef3885dfc";
    LK_AUTO_BUF struct lk_buf out = LK_BUF_INIT;
    struct script_rand script = {.len = 0};
    struct lk_rand source = script_rand_source(&script);
    uint8_t want[256], key[32];
    struct wrap_input in;
    size_t len;

    input_load(json_array_get(cases, 0), &in);
    vectors_unhex("000b1199f7cbe34eca8aa64005a023e3781a752f2ae914bba1d945399d8de451c32f",
                  in.srk.name, sizeof(in.srk.name));
    put_range(&script, 0x60, 0x6f); /* K */
    put_range(&script, 0x40, 0x5f); /* seedValue */
    put_range(&script, 0x00, 0x1f); /* seed1 */
    put_range(&script, 0xc0, 0xdf); /* OAEP seed, any */
    put_range(&script, 0x20, 0x3f); /* seed2 */
    put_range(&script, 0xe0, 0xff); /* OAEP seed, any */
    for (size_t i = 0; i < sizeof(key); i++) {
        key[i] = (uint8_t)(0x80 + i);
    }
    assert_int_equal(lk_auth_key_wrap(&in.ek, &in.srk, key, sizeof(key), "u", &source, &out),
                     LK_OK);
    len = vectors_unhex(id_object, want, sizeof(want));
    assert_memory_equal(out.data, want, len);
    len = vectors_unhex(duplicate, want, sizeof(want));
    assert_memory_equal(out.data + 312, want, len);
    len = vectors_unhex(public, want, sizeof(want));
    assert_memory_equal(out.data + 714, want, len);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blobs_byte_for_byte), cmocka_unit_test(needs_all_its_randomness),
        cmocka_unit_test(wrapping_is_fresh),   cmocka_unit_test(limits_of_key_and_uri),
        cmocka_unit_test(largest_blob),        cmocka_unit_test(protocol_example),
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
