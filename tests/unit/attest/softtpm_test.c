/*
 * The software device against src/attest/wrap.c, and against blobs made by others: it must open
 * what is right and object to everything else, or tests that use it would prove nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support/softtpm.h"
#include "support/vectors.h"

static const char *const kinds[] = {"rsa2048", "rsa3072", "p256", "p384"};

static struct softtpm *
device_of(const char *ek, const char *srk)
{
    LK_AUTO(softtpm_key) struct softtpm_key *ek_key = softtpm_key_from_vectors(ek);
    LK_AUTO(softtpm_key) struct softtpm_key *srk_key = softtpm_key_from_vectors(srk);

    return softtpm_new(ek_key, srk_key);
}

static struct softtpm *
device_of_kinds(const char *ek_kind, const char *srk_kind)
{
    char ek[32], srk[32];

    (void)snprintf(ek, sizeof(ek), "ek_%s", ek_kind);
    (void)snprintf(srk, sizeof(srk), "srk_%s", srk_kind);
    return device_of(ek, srk);
}

static void
judge(const struct softtpm *tpm, enum lk_key_role role, struct lk_tpm_key *ret)
{
    const struct softtpm_public *p = softtpm_public(tpm, role);
    const char *why = "taken";

    assert_int_equal(lk_tpm_key_parse(role, p->bytes, p->len, &why, ret), LK_OK);
}

static void
wrap(const struct softtpm *tpm, const uint8_t *key, size_t len, struct lk_buf *ret)
{
    struct lk_tpm_key ek, srk;

    judge(tpm, LK_ROLE_EK, &ek);
    judge(tpm, LK_ROLE_SRK, &srk);
    assert_int_equal(lk_auth_key_wrap(&ek, &srk, key, len, "scope/x", &lk_rand_system, ret), LK_OK);
}

/* The vectors' blobs open to their keys, and the keys sign as the vectors say. */
static void
opens_the_vectors(void **state)
{
    json_t *cases = vectors_load("authentication-key.json"), *one;
    size_t i;

    json_array_foreach(cases, i, one)
    {
        LK_AUTO(softtpm)
        struct softtpm *tpm =
            device_of(vectors_text(one, "ek_private"), vectors_text(one, "srk_private"));
        const json_t *signs = json_object_get(one, "hmac_key_signs");
        const json_t *in = json_object_get(one, "inputs");
        struct softtpm_opened opened;
        uint8_t blob[LK_AUTH_KEY_MAX], area[LK_TPM_PUBLIC_MAX], want[64], mac[32];
        size_t len = vectors_base64(one, "ek_tpm2b_public", area, sizeof(area));

        assert_int_equal(softtpm_public(tpm, LK_ROLE_EK)->len, len);
        assert_memory_equal(softtpm_public(tpm, LK_ROLE_EK)->bytes, area, len);
        len = vectors_base64(one, "srk_tpm2b_public", area, sizeof(area));
        assert_int_equal(softtpm_public(tpm, LK_ROLE_SRK)->len, len);
        assert_memory_equal(softtpm_public(tpm, LK_ROLE_SRK)->bytes, area, len);

        len = vectors_base64(one, "blob", blob, sizeof(blob));
        assert_null(softtpm_open(tpm, blob, len, &opened));
        assert_int_equal(opened.key_len, vectors_hex(in, "hmac_key", want, sizeof(want)));
        assert_memory_equal(opened.key, want, opened.key_len);
        assert_string_equal(opened.uri, vectors_text(in, "uri"));
        softtpm_hmac(&opened, vectors_text(signs, "text"), strlen(vectors_text(signs, "text")),
                     mac);
        assert_int_equal(vectors_base64(signs, "hmac_sha256", want, sizeof(want)), 32);
        assert_memory_equal(mac, want, 32);
    }
    assert_int_equal(i, 5);
    json_decref(cases);
}

/* Every kind of EK with every kind of SRK, with the shortest and the longest key. */
static void
opens_what_we_wrap(void **state)
{
    uint8_t key[LK_HMAC_KEY_MAX];

    memset(key, 0x3c, sizeof(key));
    for (size_t e = 0; e < LK_ARRAY_LEN(kinds); e++) {
        for (size_t s = 0; s < LK_ARRAY_LEN(kinds); s++) {
            LK_AUTO(softtpm) struct softtpm *tpm = device_of_kinds(kinds[e], kinds[s]);
            struct softtpm_opened opened;

            for (size_t len = 1; len <= LK_HMAC_KEY_MAX; len += 63) {
                LK_AUTO_BUF struct lk_buf blob = LK_BUF_INIT;

                wrap(tpm, key, len, &blob);
                assert_null(softtpm_open(tpm, blob.data, blob.len, &opened));
                assert_int_equal(opened.key_len, len);
                assert_memory_equal(opened.key, key, len);
                assert_string_equal(opened.uri, "scope/x");
            }
        }
    }
}

/* Ephemeral points whose coordinates begin with zeros come up every 128 blobs or so. */
static void
opens_many_ecc_blobs(void **state)
{
    LK_AUTO(softtpm) struct softtpm *tpm = device_of_kinds("p256", "p256");
    const uint8_t key[32] = {1};

    for (int i = 0; i < 300; i++) {
        LK_AUTO_BUF struct lk_buf blob = LK_BUF_INIT;
        struct softtpm_opened opened;

        wrap(tpm, key, sizeof(key), &blob);
        assert_null(softtpm_open(tpm, blob.data, blob.len, &opened));
    }
}

/* One flipped bit anywhere in the first five items, or any missing byte, is objected to. */
static void
objects_to_changes(void **state)
{
    static const char *const some[] = {"rsa2048", "p256"};
    const uint8_t key[32] = {1};

    for (size_t k = 0; k < LK_ARRAY_LEN(some); k++) {
        LK_AUTO(softtpm) struct softtpm *tpm = device_of_kinds(some[k], some[k]);
        LK_AUTO_BUF struct lk_buf blob = LK_BUF_INIT;
        struct softtpm_opened opened, pattern;

        memset(&opened, 0xa5, sizeof(opened));
        pattern = opened;
        wrap(tpm, key, sizeof(key), &blob);
        for (size_t i = 0; i < blob.len - 7; i += i < 60 ? 1 : 3) {
            blob.data[i] ^= 0x10;
            assert_non_null(softtpm_open(tpm, blob.data, blob.len, &opened));
            blob.data[i] ^= 0x10;
        }
        for (size_t len = 0; len < blob.len; len += 11) {
            assert_string_equal(softtpm_open(tpm, blob.data, len, &opened), "layout");
        }
        assert_memory_equal(&opened, &pattern, sizeof(opened));
        assert_null(softtpm_open(tpm, blob.data, blob.len, &opened));
    }
}

/* Another EK cannot open the credential; another SRK, as after TPM2_Clear, is not its subject. */
static void
objects_to_other_keys(void **state)
{
    LK_AUTO(softtpm) struct softtpm *tpm = device_of("ek_rsa2048", "srk_rsa2048");
    LK_AUTO(softtpm) struct softtpm *other = device_of("other_rsa2048", "srk_rsa2048");
    LK_AUTO(softtpm_key) struct softtpm_key *new_srk = softtpm_key_from_vectors("other_rsa2048");
    LK_AUTO_BUF struct lk_buf blob = LK_BUF_INIT, again = LK_BUF_INIT;
    const uint8_t key[32] = {1};
    struct softtpm_opened opened;

    wrap(tpm, key, sizeof(key), &blob);
    assert_string_equal(softtpm_open(other, blob.data, blob.len, &opened), "credential secret");
    softtpm_clear(tpm, new_srk);
    assert_string_equal(softtpm_open(tpm, blob.data, blob.len, &opened), "credential integrity");
    wrap(tpm, key, sizeof(key), &again);
    assert_null(softtpm_open(tpm, again.data, again.len, &opened));
}

/* A software key posing as an SRK, made by flipping fixedTPM, is what attest/ must refuse. */
static void
flipped_attributes_show(void **state)
{
    LK_AUTO(softtpm_key) struct softtpm_key *key = softtpm_key_from_vectors("srk_p256");
    struct softtpm_public p = softtpm_public_make(key, LK_ROLE_SRK, 0x2);
    struct lk_tpm_key judged;
    const char *why = NULL;

    assert_int_equal(lk_tpm_key_parse(LK_ROLE_SRK, p.bytes, p.len, &why, &judged), LK_ERR_REFUSED);
    assert_string_equal(why, "srk.fixed_tpm_clear");
}

/* Light keys differ, pass the judge in both roles, open what is theirs, and object to the rest. */
static void
light_keys_work(void **state)
{
    LK_AUTO(softtpm_light) struct softtpm_light *light = softtpm_light_new();
    uint8_t ids[8][LK_EK_ID_LEN];
    const uint8_t key[32] = {1};

    for (uint32_t i = 0; i < 8; i++) {
        LK_AUTO(softtpm_key) struct softtpm_key *ek = softtpm_light_key(light, i);
        LK_AUTO(softtpm_key) struct softtpm_key *srk = softtpm_light_key(light, UINT32_MAX - i);
        LK_AUTO(softtpm) struct softtpm *tpm = softtpm_new(ek, srk);
        LK_AUTO(softtpm) struct softtpm *other = softtpm_new(srk, ek);
        LK_AUTO_BUF struct lk_buf blob = LK_BUF_INIT;
        struct softtpm_opened opened;
        struct lk_tpm_key judged;

        judge(tpm, LK_ROLE_EK, &judged);
        memcpy(ids[i], judged.id, LK_EK_ID_LEN);
        for (size_t j = 0; j < i; j++) {
            assert_memory_not_equal(ids[i], ids[j], LK_EK_ID_LEN);
        }
        wrap(tpm, key, sizeof(key), &blob);
        assert_null(softtpm_open(tpm, blob.data, blob.len, &opened));
        assert_int_equal(opened.key_len, sizeof(key));
        assert_memory_equal(opened.key, key, sizeof(key));
        assert_string_equal(softtpm_open(other, blob.data, blob.len, &opened), "credential secret");
        blob.data[blob.len / 4] ^= 1;
        assert_non_null(softtpm_open(tpm, blob.data, blob.len, &opened));
    }
}

/* A pool's keys all differ, pass the judge and open their blobs. */
static void
pool_keys_work(void **state)
{
    LK_AUTO(softtpm_pool) struct softtpm_pool *pool = softtpm_pool_new(4);
    LK_AUTO(softtpm_key) struct softtpm_key *srk = softtpm_key_generate(SOFTTPM_P256);
    uint8_t ids[6][LK_EK_ID_LEN];
    const uint8_t key[32] = {1};

    assert_int_equal(softtpm_pool_keys_count(pool), 6);
    for (size_t i = 0; i < 6; i++) {
        LK_AUTO(softtpm_key) struct softtpm_key *ek = softtpm_pool_key(pool, i);
        LK_AUTO(softtpm) struct softtpm *tpm = softtpm_new(ek, srk);
        LK_AUTO_BUF struct lk_buf blob = LK_BUF_INIT;
        struct softtpm_opened opened;
        struct lk_tpm_key judged;

        judge(tpm, LK_ROLE_EK, &judged);
        memcpy(ids[i], judged.id, LK_EK_ID_LEN);
        for (size_t j = 0; j < i; j++) {
            assert_memory_not_equal(ids[i], ids[j], LK_EK_ID_LEN);
        }
        wrap(tpm, key, sizeof(key), &blob);
        assert_null(softtpm_open(tpm, blob.data, blob.len, &opened));
    }
}

/* Made keys can be kept as PEM and come back as the same key; other PEM is no key. */
static void
pem_round_trip(void **state)
{
    LK_AUTO(softtpm_key) struct softtpm_key *key = softtpm_key_generate(SOFTTPM_P384);
    LK_AUTO(softtpm_key) struct softtpm_key *back = NULL;
    char *pem = softtpm_key_to_pem(key);
    struct softtpm_public a = softtpm_public_make(key, LK_ROLE_EK, 0), b;

    back = softtpm_key_from_pem(pem);
    free(pem);
    assert_non_null(back);
    assert_int_equal(softtpm_key_kind(back), SOFTTPM_P384);
    b = softtpm_public_make(back, LK_ROLE_EK, 0);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.bytes, b.bytes, a.len);
    assert_null(softtpm_key_from_pem("-----BEGIN PRIVATE KEY-----\n"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_the_vectors),     cmocka_unit_test(opens_what_we_wrap),
        cmocka_unit_test(opens_many_ecc_blobs),  cmocka_unit_test(objects_to_changes),
        cmocka_unit_test(objects_to_other_keys), cmocka_unit_test(flipped_attributes_show),
        cmocka_unit_test(light_keys_work),       cmocka_unit_test(pool_keys_work),
        cmocka_unit_test(pem_round_trip),
    };

    return lk_crypto_init() != LK_OK ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
