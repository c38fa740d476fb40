/* Tests of src/attest/key.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "attest/attest.h"
#include "support/vectors.h"

static json_t *areas; /* public-area.json */

static enum lk_key_role
role_of(const json_t *one)
{
    return strcmp(vectors_text(one, "role"), "ek") == 0 ? LK_ROLE_EK : LK_ROLE_SRK;
}

static const json_t *
valid_of(const char *note)
{
    size_t i;
    json_t *one;

    json_array_foreach(json_object_get(areas, "valid"), i, one)
    {
        if (strcmp(vectors_text(one, "note"), note) == 0) {
            return one;
        }
    }
    fail_msg("no valid area \"%s\"", note);
    return NULL;
}

static void
expect_canonical(const json_t *want, const struct lk_tpm_key *key)
{
    uint8_t bytes[512];

    if (strcmp(vectors_text(want, "algorithm"), "rsa") == 0) {
        assert_int_equal(key->alg, LK_KEY_RSA);
        assert_int_equal(key->exponent, json_integer_value(json_object_get(want, "exponent")));
        assert_int_equal(key->x_len, vectors_hex(want, "modulus", bytes, sizeof(bytes)));
        assert_memory_equal(key->x, bytes, key->x_len);
        assert_int_equal(key->bits, 8 * key->x_len);
        assert_int_equal(key->y_len, 0);
        return;
    }
    assert_int_equal(key->alg, LK_KEY_ECC);
    assert_int_equal(key->x_len, vectors_hex(want, "x", bytes, sizeof(bytes)));
    assert_memory_equal(key->x, bytes, key->x_len);
    assert_int_equal(key->y_len, vectors_hex(want, "y", bytes, sizeof(bytes)));
    assert_memory_equal(key->y, bytes, key->y_len);
    assert_int_equal(key->bits, 8 * key->x_len);
    assert_int_equal(lk_curve_len(key->curve), key->x_len);
}

/* Every area that must be taken is taken, with its Name and its canonical key. */
static void
takes_the_valid(void **state)
{
    size_t i;
    json_t *one;

    json_array_foreach(json_object_get(areas, "valid"), i, one)
    {
        struct lk_tpm_key key;
        const char *why = "none";
        uint8_t area[1024], name[64];
        size_t len = vectors_base64(one, "tpm2b_public", area, sizeof(area));

        if (lk_tpm_key_parse(role_of(one), area, len, &why, &key) != LK_OK) {
            fail_msg("%s: %s", vectors_text(one, "note"), why);
        }
        assert_string_equal(why, "none");
        assert_int_equal(key.name_len, vectors_hex(one, "name", name, sizeof(name)));
        assert_memory_equal(key.name, name, key.name_len);
        expect_canonical(json_object_get(one, "canonical"), &key);
        assert_int_equal(key.name_alg, key.name_len == 34 ? LK_SHA256 : LK_SHA384);
        assert_int_equal(key.sym_bits, key.name_alg == LK_SHA256 ? 128 : 256);
    }
    assert_int_equal(i, 9);
}

/* What the vectors say in words, and the code and the word that we give. */
static const struct refusal {
    const char *reason;
    enum lk_err err;
    const char *why; /* without "ek." or "srk." */
} refusals[] = {
    {"empty", LK_ERR_FORMAT, "malformed"},
    {"size field only", LK_ERR_FORMAT, "malformed"},
    {"zero size", LK_ERR_FORMAT, "malformed"},
    {"truncated by one byte", LK_ERR_FORMAT, "malformed"},
    {"one trailing byte", LK_ERR_FORMAT, "malformed"},
    {"size field one too small", LK_ERR_FORMAT, "malformed"},
    {"TPMT_PUBLIC without its size", LK_ERR_FORMAT, "malformed"},
    {"PEM text", LK_ERR_FORMAT, "malformed"},
    {"RSA-1024", LK_ERR_UNSUPPORTED, "rsa_bits_unsupported"},
    {"even modulus", LK_ERR_FORMAT, "modulus_even"},
    {"modulus with a clear top bit", LK_ERR_FORMAT, "modulus_top_bit_clear"},
    {"modulus zero", LK_ERR_FORMAT, "modulus_top_bit_clear"},
    {"modulus one", LK_ERR_FORMAT, "modulus_top_bit_clear"},
    {"keyBits 2048 with a 255-byte modulus", LK_ERR_FORMAT, "modulus_length"},
    {"exponent 3", LK_ERR_UNSUPPORTED, "exponent_unsupported"},
    {"exponent 1", LK_ERR_UNSUPPORTED, "exponent_unsupported"},
    {"even exponent", LK_ERR_UNSUPPORTED, "exponent_unsupported"},
    {"EK without fixedTPM", LK_ERR_REFUSED, "fixed_tpm_clear"},
    {"SRK without fixedTPM (could be a software key)", LK_ERR_REFUSED, "fixed_tpm_clear"},
    {"EK without fixedParent", LK_ERR_REFUSED, "fixed_parent_clear"},
    {"SRK without fixedParent (could be a software key)", LK_ERR_REFUSED, "fixed_parent_clear"},
    {"EK without restricted", LK_ERR_REFUSED, "restricted_clear"},
    {"SRK without restricted (could be a software key)", LK_ERR_REFUSED, "restricted_clear"},
    {"EK without decrypt", LK_ERR_REFUSED, "decrypt_clear"},
    {"SRK without decrypt (could be a software key)", LK_ERR_REFUSED, "decrypt_clear"},
    {"EK without sensitiveDataOrigin", LK_ERR_REFUSED, "sensitive_data_origin_clear"},
    {"SRK without sensitiveDataOrigin (could be a software key)", LK_ERR_REFUSED,
     "sensitive_data_origin_clear"},
    {"sign set", LK_ERR_REFUSED, "sign_set"},
    {"a signing key", LK_ERR_REFUSED, "decrypt_clear"},
    {"encryptedDuplication set on a fixed key", LK_ERR_REFUSED, "encrypted_duplication_set"},
    {"policy digest of another length", LK_ERR_FORMAT, "policy_length"},
    {"reserved attribute bit set", LK_ERR_REFUSED, "reserved_attribute_set"},
    {"unknown algorithm 0x0042", LK_ERR_UNSUPPORTED, "type_unsupported"},
    {"SHA-1 as name algorithm", LK_ERR_UNSUPPORTED, "name_alg_unsupported"},
    {"no symmetric algorithm", LK_ERR_UNSUPPORTED, "symmetric_unsupported"},
    {"AES-CBC", LK_ERR_UNSUPPORTED, "symmetric_unsupported"},
    {"AES key of 64 bits", LK_ERR_UNSUPPORTED, "symmetric_unsupported"},
    {"P-256 point not on the curve", LK_ERR_FORMAT, "point_off_curve"},
    {"P-256 point at zero", LK_ERR_FORMAT, "point_off_curve"},
    {"P-256 x longer than the field", LK_ERR_FORMAT, "point_length"},
    {"P-256 x not reduced (p + 1)", LK_ERR_FORMAT, "point_off_curve"},
    {"curve 0x0010 (BN P-256)", LK_ERR_UNSUPPORTED, "curve_unsupported"},
    {"a keyed-hash object", LK_ERR_UNSUPPORTED, "type_unsupported"},
};

static const struct refusal *
refusal_of(const char *reason)
{
    for (size_t i = 0; i < LK_ARRAY_LEN(refusals); i++) {
        if (strcmp(refusals[i].reason, reason) == 0) {
            return &refusals[i];
        }
    }
    fail_msg("no expectation for \"%s\"", reason);
    return NULL;
}

/* Parse, expecting a refusal with this word, and that *ret keeps its pattern. */
static void
expect_refusal(enum lk_key_role role, const uint8_t *area, size_t len, enum lk_err err,
               const char *why)
{
    struct lk_tpm_key key, pattern;
    const char *got = NULL;
    char want[64];

    memset(&key, 0xa5, sizeof(key));
    memset(&pattern, 0xa5, sizeof(pattern));
    (void)snprintf(want, sizeof(want), "%s.%s", role == LK_ROLE_EK ? "ek" : "srk", why);
    assert_int_equal(lk_tpm_key_parse(role, area, len, &got, &key), err);
    assert_string_equal(got, want);
    assert_memory_equal(&key, &pattern, sizeof(key));
    assert_int_equal(lk_tpm_key_parse(role, area, len, NULL, &key), err);
}

/* Every area that must be refused is refused, and for its own reason. */
static void
refuses_the_invalid(void **state)
{
    size_t i;
    json_t *one;

    json_array_foreach(json_object_get(areas, "invalid"), i, one)
    {
        const struct refusal *want = refusal_of(vectors_text(one, "reason"));
        uint8_t area[1024];
        size_t len = vectors_base64(one, "tpm2b_public", area, sizeof(area));

        expect_refusal(role_of(one), area, len, want->err, want->why);
    }
    assert_int_equal(i, 44);
}

/* Offsets into the TPM2B_PUBLIC of an RSA EK with a SHA-256 policy, and of an SRK without. */
#define AT_ATTRIBUTES 6u
#define AT_EK_POLICY 12u
#define AT_SRK_SCHEME 18u
#define AT_SRK_KEY_BITS 20u

struct area {
    uint8_t bytes[1024];
    size_t len;
};

static struct area
area_of(const char *note)
{
    struct area a;

    a.len = vectors_base64(valid_of(note), "tpm2b_public", a.bytes, sizeof(a.bytes));
    return a;
}

/* Every length short of the whole, and the limit, are refused without reading past the end. */
static void
refuses_every_prefix(void **state)
{
    struct area ek = area_of("RSA-2048, template L-1 shape"), ecc = area_of("P-256");

    for (size_t len = 0; len < ek.len; len++) {
        expect_refusal(LK_ROLE_EK, ek.bytes, len, LK_ERR_FORMAT, "malformed");
    }
    for (size_t len = 0; len < ecc.len; len++) {
        expect_refusal(LK_ROLE_EK, ecc.bytes, len, LK_ERR_FORMAT, "malformed");
    }
    expect_refusal(LK_ROLE_EK, ek.bytes, LK_TPM_PUBLIC_MAX + 1, LK_ERR_FORMAT, "malformed");
}

/* Attribute by attribute: what an EK and an SRK must have, may have and must not have. */
static void
judges_each_attribute_bit(void **state)
{
    struct area ek = area_of("RSA-2048, template L-1 shape"), srk = area_of("RSA-2048 SRK");
    const uint32_t ek_free = 1u << 2 | 1u << 6 | 1u << 10, srk_free = 1u << 2 | 1u << 7 | 1u << 10;

    for (unsigned bit = 0; bit < 32; bit++) {
        struct area a = ek, b = srk;
        struct lk_tpm_key key;

        a.bytes[AT_ATTRIBUTES + 3 - bit / 8] ^= (uint8_t)(1u << bit % 8);
        b.bytes[AT_ATTRIBUTES + 3 - bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(lk_tpm_key_parse(LK_ROLE_EK, a.bytes, a.len, NULL, &key),
                         (ek_free >> bit & 1) != 0 ? LK_OK : LK_ERR_REFUSED);
        assert_int_equal(lk_tpm_key_parse(LK_ROLE_SRK, b.bytes, b.len, NULL, &key),
                         (srk_free >> bit & 1) != 0 ? LK_OK : LK_ERR_REFUSED);
    }
    ek.bytes[AT_ATTRIBUTES + 3] ^= 1u << 7;
    expect_refusal(LK_ROLE_EK, ek.bytes, ek.len, LK_ERR_REFUSED, "admin_with_policy_clear");
    srk.bytes[AT_ATTRIBUTES + 3] ^= 1u << 6;
    expect_refusal(LK_ROLE_SRK, srk.bytes, srk.len, LK_ERR_REFUSED, "user_with_auth_clear");
}

/* An SRK is no EK: it has no policy. An EK is no SRK: it has no userWithAuth. */
static void
roles_are_not_exchangeable(void **state)
{
    struct area ek = area_of("RSA-2048, template L-1 shape"), srk = area_of("RSA-2048 SRK");

    expect_refusal(LK_ROLE_SRK, ek.bytes, ek.len, LK_ERR_REFUSED, "user_with_auth_clear");
    expect_refusal(LK_ROLE_EK, srk.bytes, srk.len, LK_ERR_REFUSED, "admin_with_policy_clear");
    srk.bytes[AT_ATTRIBUTES + 3] |= 1u << 7;
    expect_refusal(LK_ROLE_EK, srk.bytes, srk.len, LK_ERR_REFUSED, "policy_unknown");
}

/* Both policies of the profile for SHA-256 and SHA-384, and no other; not across hashes. */
static void
takes_the_profile_policies(void **state)
{
    struct area ek = area_of("RSA-2048, template L-1 shape");
    struct area ek384 = area_of("RSA-3072, SHA-384, AES-256");
    struct lk_tpm_key key;

    vectors_unhex("ca3d0a99a2b93906f7a3342414efcfb3a385d44cd1fd459089d19b5071c0b7a0",
                  ek.bytes + AT_EK_POLICY, 32);
    assert_int_equal(lk_tpm_key_parse(LK_ROLE_EK, ek.bytes, ek.len, NULL, &key), LK_OK);
    ek.bytes[AT_EK_POLICY + 31] ^= 1;
    expect_refusal(LK_ROLE_EK, ek.bytes, ek.len, LK_ERR_REFUSED, "policy_unknown");
    vectors_unhex("8bbf2266537c171cb56e403c4dc1d4b64f432611dc386e6f532050c3278c930e"
                  "143e8bb1133824ccb431053871c6db53",
                  ek384.bytes + AT_EK_POLICY, 48);
    assert_int_equal(lk_tpm_key_parse(LK_ROLE_EK, ek384.bytes, ek384.len, NULL, &key), LK_OK);
    ek384.bytes[AT_EK_POLICY] ^= 1;
    expect_refusal(LK_ROLE_EK, ek384.bytes, ek384.len, LK_ERR_REFUSED, "policy_unknown");
    ek384.bytes[5] = 0x0b; /* nameAlg SHA-256 with a SHA-384 policy */
    expect_refusal(LK_ROLE_EK, ek384.bytes, ek384.len, LK_ERR_FORMAT, "policy_length");
}

/* The parameters of a storage key: scheme null, key sizes in the list. */
static void
refuses_other_parameters(void **state)
{
    struct area scheme = area_of("RSA-2048 SRK"), bits = scheme;

    scheme.bytes[AT_SRK_SCHEME + 1] = 0x15; /* RSAES has no details, so the length stays */
    expect_refusal(LK_ROLE_SRK, scheme.bytes, scheme.len, LK_ERR_UNSUPPORTED, "scheme_not_null");
    bits.bytes[AT_SRK_KEY_BITS] = 0x20; /* RSA-8192 */
    expect_refusal(LK_ROLE_SRK, bits.bytes, bits.len, LK_ERR_UNSUPPORTED, "rsa_bits_unsupported");
}

/* One key has one identity, however its exponent is written; other keys have others. */
static void
identity_is_the_key(void **state)
{
    struct area a = area_of("RSA-2048, template L-1 shape");
    struct area b = area_of("same key, exponent written as 65537: same identity, other Name");
    struct area c = area_of("RSA-2048 SRK"), d = area_of("P-256");
    struct lk_tpm_key ka, kb, kc, kd;

    assert_int_equal(lk_tpm_key_parse(LK_ROLE_EK, a.bytes, a.len, NULL, &ka), LK_OK);
    assert_int_equal(lk_tpm_key_parse(LK_ROLE_EK, b.bytes, b.len, NULL, &kb), LK_OK);
    assert_int_equal(lk_tpm_key_parse(LK_ROLE_SRK, c.bytes, c.len, NULL, &kc), LK_OK);
    assert_int_equal(lk_tpm_key_parse(LK_ROLE_EK, d.bytes, d.len, NULL, &kd), LK_OK);
    assert_memory_equal(ka.id, kb.id, LK_EK_ID_LEN);
    assert_memory_not_equal(ka.name, kb.name, ka.name_len);
    assert_memory_not_equal(ka.id, kc.id, LK_EK_ID_LEN);
    assert_memory_not_equal(ka.id, kd.id, LK_EK_ID_LEN);
}

/* The pair that makes no sense is refused whatever its attributes, the others are not. */
static void
pairs(void **state)
{
    const json_t *one = json_array_get(json_object_get(areas, "pairs_refused"), 0);
    struct area srk = area_of("RSA-2048 SRK");
    struct lk_tpm_key ek_key, srk_key;
    const char *why = NULL;
    uint8_t ek[1024];
    size_t len = vectors_base64(one, "ek", ek, sizeof(ek));

    assert_int_equal(json_array_size(json_object_get(areas, "pairs_refused")), 1);
    assert_string_equal(vectors_text(one, "ek"), vectors_text(one, "srk"));
    assert_int_equal(lk_tpm_key_parse(LK_ROLE_EK, ek, len, NULL, &ek_key), LK_OK);
    assert_int_equal(lk_tpm_pair_check(&ek_key, &ek_key, &why), LK_ERR_REFUSED);
    assert_string_equal(why, "srk.is_ek");
    assert_int_equal(lk_tpm_pair_check(&ek_key, &ek_key, NULL), LK_ERR_REFUSED);
    assert_int_equal(lk_tpm_key_parse(LK_ROLE_SRK, srk.bytes, srk.len, NULL, &srk_key), LK_OK);
    assert_int_equal(lk_tpm_pair_check(&ek_key, &srk_key, NULL), LK_OK);
    memcpy(srk.bytes + srk.len - 256, ek + len - 256, 256); /* the EK's modulus as an SRK */
    assert_int_equal(lk_tpm_key_parse(LK_ROLE_SRK, srk.bytes, srk.len, NULL, &srk_key), LK_OK);
    assert_int_equal(lk_tpm_pair_check(&ek_key, &srk_key, NULL), LK_ERR_REFUSED);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_the_valid),
        cmocka_unit_test(refuses_the_invalid),
        cmocka_unit_test(refuses_every_prefix),
        cmocka_unit_test(judges_each_attribute_bit),
        cmocka_unit_test(roles_are_not_exchangeable),
        cmocka_unit_test(takes_the_profile_policies),
        cmocka_unit_test(refuses_other_parameters),
        cmocka_unit_test(identity_is_the_key),
        cmocka_unit_test(pairs),
    };
    int failed;

    if (lk_crypto_init() != LK_OK) {
        return 1;
    }
    areas = vectors_load("public-area.json");
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_decref(areas);
    return failed;
}
