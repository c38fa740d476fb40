/* Tests of src/wire/sas.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "support/vectors.h"
#include "wire/sas.h"

#define SIG "7J2CKceZ3su5u03jao6GLbV8OkBTx0DILU6MOskFmf4%3D" /* of vectors/sas.json */
#define SR "0ne00000000%2Fregistrations%2Fdev-1"
#define GOOD "SharedAccessSignature sr=" SR "&sig=" SIG "&se=1800003600"

static enum lk_err
parse(const char *text, struct lk_sas *ret)
{
    return lk_sas_parse(text, strlen(text), ret);
}

/* A token is refused, and nothing of it is left in the result. */
static void
expect_refused(const char *text)
{
    struct lk_sas sas, before;

    memset(&sas, 0xa5, sizeof(sas));
    before = sas;
    if (parse(text, &sas) != LK_ERR_FORMAT) {
        fail_msg("accepted: %s", text);
    }
    assert_memory_equal(&sas, &before, sizeof(sas));
}

/* ---- the known answers ----------------------------------------------------------------------- */

/* What a register asks of a token: device-protocol.md 1.5. */
static bool
register_takes(const char *token, const char *resource, int64_t now_s, const uint8_t *key,
               size_t key_len)
{
    struct lk_sas sas;

    return parse(token, &sas) == LK_OK && lk_sas_verify(&sas, key, key_len, false) == LK_OK &&
           strcasecmp(sas.resource, resource) == 0 &&
           (sas.key_name[0] == '\0' || strcmp(sas.key_name, "registration") == 0) &&
           sas.expiry_unix_s >= (uint64_t)now_s;
}

/* Every client's form is taken and every broken one refused, as the vectors say. */
static void
vectors_verdicts(void **state)
{
    json_t *root = vectors_load("sas.json"), *one;
    size_t index, refused = 0;
    uint8_t key[64];
    size_t key_len = vectors_base64(root, "key", key, sizeof(key));

    json_array_foreach(json_object_get(root, "cases"), index, one)
    {
        const char *token = vectors_text(one, "authorization");
        bool accept = strcmp(vectors_text(one, "verdict"), "accept") == 0;
        int64_t now_s = json_integer_value(json_object_get(one, "now_unix_s"));
        char resource[256];

        (void)snprintf(resource, sizeof(resource), "%s/registrations/%s",
                       vectors_text(one, "scope"), vectors_text(one, "registration_id"));
        if (register_takes(token, resource, now_s, key, key_len) != accept) {
            fail_msg("%s: not to %s", vectors_text(one, "note"), vectors_text(one, "verdict"));
        }
        refused += accept ? 0 : 1;
    }
    assert_int_equal(index, 29);
    assert_int_equal(refused, 21);
    json_decref(root);
}

/* device-protocol.md section 9: the service's own arithmetic gives the same token. */
static void
known_answer(void **state)
{
    const char *want = "SharedAccessSignature sr=0ne00000000%2Fregistrations%2Fdev-1"
                       "&sig=uRT%2FSKmuN9kHCTbm1TvE6LnBbyVRGz4xSYJuYqODNSk%3D&se=1900000000"
                       "&skn=registration";
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf token = LK_BUF_INIT;
    uint8_t key[32], sig[LK_HASH_MAX];
    struct lk_part part;

    for (size_t i = 0; i < sizeof(key); i++) {
        key[i] = (uint8_t)(0x80 + i);
    }
    assert_int_equal(lk_sas_string_to_sign("0ne00000000/registrations/dev-1", 1900000000, &text),
                     LK_OK);
    part = LK_PART(text.data, text.len);
    assert_int_equal(lk_hmac(LK_SHA256, key, sizeof(key), &part, 1, sig), LK_OK);
    assert_int_equal(
        lk_sas_format("0ne00000000/registrations/dev-1", 1900000000, sig, "registration", &token),
        LK_OK);
    assert_string_equal(lk_buf_text(&token), want);
}

/* ---- parse ----------------------------------------------------------------------------------- */

/* What comes out: the raw texts where they were, the decoded ones, and which were there. */
static void
parse_gives_all(void **state)
{
    struct lk_sas sas;
    const char *text = GOOD "&skn=";

    assert_int_equal(parse(text, &sas), LK_OK);
    assert_ptr_equal(sas.raw_sr, strstr(text, "0ne"));
    assert_int_equal(sas.raw_sr_len, strlen(SR));
    assert_ptr_equal(sas.raw_se, strstr(text, "1800003600"));
    assert_int_equal(sas.raw_se_len, 10);
    assert_string_equal(sas.resource, "0ne00000000/registrations/dev-1");
    assert_true(sas.has_key_name);
    assert_string_equal(sas.key_name, "");
    assert_int_equal(sas.expiry_unix_s, 1800003600);
    assert_int_equal(sas.sig[0], 0xec);
    assert_int_equal(parse(GOOD, &sas), LK_OK);
    assert_false(sas.has_key_name);
    assert_int_equal(parse("SharedAccessSignature sr=a&sig=" SIG "&se=1&skn=device%20policy", &sas),
                     LK_OK);
    assert_string_equal(sas.key_name, "device policy");
}

/* A signature whose '+', '/' and '=' were not escaped is the same signature. */
static void
parse_plain_signature(void **state)
{
    struct lk_sas sas;

    assert_int_equal(parse("SharedAccessSignature sr=a&se=1"
                           "&sig=++//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
                           &sas),
                     LK_OK);
    assert_int_equal(sas.sig[0], 0xfb);
}

/* The scheme must be followed by exactly one space and something. */
static void
parse_scheme(void **state)
{
    expect_refused("");
    expect_refused("SharedAccessSignature");
    expect_refused("SharedAccessSignature ");
    expect_refused("SharedAccessSignature  sr=a&sig=" SIG "&se=1");
    expect_refused(" SharedAccessSignature sr=a&sig=" SIG "&se=1");
    expect_refused("SharedAccessSignature\tsr=a&sig=" SIG "&se=1");
    expect_refused("SharedAccessSignatures sr=a&sig=" SIG "&se=1");
    expect_refused("sr=a&sig=" SIG "&se=1");
}

/* Members: known ones, each once, with a name and an equals sign; nothing between or after. */
static void
parse_members(void **state)
{
    expect_refused(GOOD "&");
    expect_refused("SharedAccessSignature &sr=a&sig=" SIG "&se=1");
    expect_refused("SharedAccessSignature sr=a&&sig=" SIG "&se=1");
    expect_refused(GOOD "&x=1");
    expect_refused(GOOD "&=1");
    expect_refused(GOOD "&skn");
    expect_refused(GOOD "&skn=&skn=");
    expect_refused(GOOD "&SKN=");
    expect_refused(GOOD " ");
    expect_refused("SharedAccessSignature sr=a&sig=" SIG);
    expect_refused("SharedAccessSignature sig=" SIG "&se=1");
    expect_refused("SharedAccessSignature sr=&sig=" SIG "&se=1");
}

/* A NUL cannot be smuggled into a text, neither raw nor escaped. */
static void
parse_nul(void **state)
{
    const char text[] = "SharedAccessSignature sr=a\0b&sig=" SIG "&se=1";
    struct lk_sas sas;

    expect_refused("SharedAccessSignature sr=a%00b&sig=" SIG "&se=1");
    expect_refused("SharedAccessSignature sr=a&sig=" SIG "&se=1&skn=%00");
    assert_int_equal(lk_sas_parse(text, sizeof(text) - 1, &sas), LK_ERR_FORMAT);
}

/* Signatures of 31 and 33 bytes, with white space, and with bits left over. */
static void
parse_signature(void **state)
{
    expect_refused(
        "SharedAccessSignature sr=a&se=1&sig=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==");
    expect_refused(
        "SharedAccessSignature sr=a&se=1&sig=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    expect_refused(
        "SharedAccessSignature sr=a&se=1&sig=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    expect_refused(
        "SharedAccessSignature sr=a&se=1&sig=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB%3D");
    expect_refused(
        "SharedAccessSignature sr=a&se=1&sig=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA%3D%0A");
}

/* Expiries: empty, spaced, hexadecimal, the largest and one past it. */
static void
parse_expiry(void **state)
{
    struct lk_sas sas;

    expect_refused("SharedAccessSignature sr=a&sig=" SIG "&se=");
    expect_refused("SharedAccessSignature sr=a&sig=" SIG "&se= 1");
    expect_refused("SharedAccessSignature sr=a&sig=" SIG "&se=1 ");
    expect_refused("SharedAccessSignature sr=a&sig=" SIG "&se=0x10");
    expect_refused("SharedAccessSignature sr=a&sig=" SIG "&se=1.0");
    expect_refused("SharedAccessSignature sr=a&sig=" SIG "&se=%31");
    expect_refused("SharedAccessSignature sr=a&sig=" SIG "&se=18446744073709551616");
    assert_int_equal(parse("SharedAccessSignature sr=a&sig=" SIG "&se=18446744073709551615", &sas),
                     LK_OK);
    assert_true(sas.expiry_unix_s == UINT64_MAX);
}

/* A token with this fill in the place of a member. */
static const char *
token_of(struct lk_buf *buf, const char *before, char letter, size_t count, const char *after)
{
    lk_buf_reset(buf);
    assert_int_equal(lk_buf_puts(buf, before), LK_OK);
    memset(lk_buf_extend(buf, count), letter, count);
    assert_int_equal(lk_buf_puts(buf, after), LK_OK);
    return lk_buf_text(buf);
}

/* The longest resource and key name, and one byte more of each. */
static void
parse_member_limits(void **state)
{
    const char *sr = "SharedAccessSignature sr=", *rest = "&sig=" SIG "&se=1";
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    struct lk_sas sas;

    assert_int_equal(parse(token_of(&text, sr, 'a', LK_SAS_RESOURCE_MAX, rest), &sas), LK_OK);
    assert_int_equal(strlen(sas.resource), LK_SAS_RESOURCE_MAX);
    expect_refused(token_of(&text, sr, 'a', LK_SAS_RESOURCE_MAX + 1, rest));
    assert_int_equal(parse(token_of(&text, GOOD "&skn=", 'a', LK_SAS_KEY_NAME_MAX, ""), &sas),
                     LK_OK);
    assert_int_equal(strlen(sas.key_name), LK_SAS_KEY_NAME_MAX);
    expect_refused(token_of(&text, GOOD "&skn=", 'a', LK_SAS_KEY_NAME_MAX + 1, ""));
}

/* The longest token, made of an expiry with that many leading zeros, and one byte more. */
static void
parse_token_limit(void **state)
{
    const char *before = "SharedAccessSignature sr=a&sig=" SIG "&se=";
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    size_t zeros = LK_SAS_MAX - strlen(before);
    struct lk_sas sas;

    assert_int_equal(parse(token_of(&text, before, '0', zeros, ""), &sas), LK_OK);
    expect_refused(token_of(&text, before, '0', zeros + 1, ""));
}

/* ---- verify ---------------------------------------------------------------------------------- */

static const uint8_t hub_key[32] = {
    0x6b, 0x6b, 0x6b, 0x6b, 0x6b, 0x6b, 0x6b, 0x6b, 0x6b, 0x6b, 0x6b, 0x6b, 0x6b, 0x6b, 0x6b, 0x6b,
    0x6b, 0x6b, 0x6b, 0x6b, 0x6b, 0x6b, 0x6b, 0x6b, 0x6b, 0x6b, 0x6b, 0x6b, 0x6b, 0x6b, 0x6b, 0x6b};

static enum lk_err
hub_verify(const char *sr, const char *sig, bool also_decoded)
{
    char text[512];
    struct lk_sas sas;

    (void)snprintf(text, sizeof(text), "SharedAccessSignature sr=%s&sig=%s&se=1893456000", sr, sig);
    assert_int_equal(parse(text, &sas), LK_OK);
    return lk_sas_verify(&sas, hub_key, sizeof(hub_key), also_decoded);
}

/* iot-hub.md section 4: a hub takes a signature over the raw and over the decoded resource. */
static void
verify_hub_forms(void **state)
{
    const char *encoded = "hub.example.test%2Fdevices%2FDev-1";
    const char *plain = "hub.example.test/devices/Dev-1";
    const char *of_encoded = "nvUaR89G2PT8vvnvgekpGwinH62Crp2zeP/7Sb/dVL8%3d";
    const char *of_plain = "oB42cwV%2fBvr7QqfyBd6xFEysF0axOlye4Me23B3C0Ww%3d";

    assert_int_equal(hub_verify(encoded, of_encoded, true), LK_OK);
    assert_int_equal(hub_verify(plain, of_plain, true), LK_OK);
    assert_int_equal(hub_verify(encoded, of_plain, true), LK_OK);
    assert_int_equal(hub_verify(plain, of_encoded, true), LK_ERR_REFUSED);
    assert_int_equal(hub_verify(encoded, of_encoded, false), LK_OK);
    assert_int_equal(hub_verify(encoded, of_plain, false), LK_ERR_REFUSED);
    assert_int_equal(hub_verify("hub.example.test%2fdevices%2fDev-1", of_encoded, true),
                     LK_ERR_REFUSED);
}

/* Each byte of the signature counts, and the key in its whole length. */
static void
verify_every_byte(void **state)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    struct lk_sas sas;
    uint8_t key[32] = {7};

    assert_int_equal(parse("SharedAccessSignature sr=a&sig=" SIG "&se=1", &sas), LK_OK);
    assert_int_equal(lk_sas_string_to_sign("a", 1, &text), LK_OK);
    assert_int_equal(lk_hmac(LK_SHA256, key, 32, &LK_PART(text.data, text.len), 1, sas.sig), LK_OK);
    assert_int_equal(lk_sas_verify(&sas, key, 32, false), LK_OK);
    assert_int_equal(lk_sas_verify(&sas, key, 32, true), LK_OK);
    for (size_t i = 0; i < LK_SAS_SIG_LEN; i++) {
        sas.sig[i] ^= 1;
        assert_int_equal(lk_sas_verify(&sas, key, 32, false), LK_ERR_REFUSED);
        assert_int_equal(lk_sas_verify(&sas, key, 32, true), LK_ERR_REFUSED);
        sas.sig[i] ^= 1;
    }
    key[31] ^= 1;
    assert_int_equal(lk_sas_verify(&sas, key, 32, true), LK_ERR_REFUSED);
}

/* ---- make ------------------------------------------------------------------------------------ */

/* What is made is taken: any text in resource and key name comes back as it was. */
static void
format_then_parse(void **state)
{
    const char *resource = "hub.example.test/devices/a%b&c=d e+f\xc3\xa9";
    LK_AUTO_BUF struct lk_buf token = LK_BUF_INIT;
    uint8_t sig[LK_SAS_SIG_LEN];
    struct lk_sas sas;

    memset(sig, 0xff, sizeof(sig));
    assert_int_equal(lk_sas_format(resource, UINT64_MAX, sig, "x&y=z", &token), LK_OK);
    assert_int_equal(lk_sas_parse((const char *)token.data, token.len, &sas), LK_OK);
    assert_string_equal(sas.resource, resource);
    assert_string_equal(sas.key_name, "x&y=z");
    assert_true(sas.expiry_unix_s == UINT64_MAX);
    assert_memory_equal(sas.sig, sig, sizeof(sig));
}

/* A key name of NULL leaves skn out; an empty one leaves it empty, as Java's. */
static void
format_key_name(void **state)
{
    const uint8_t sig[LK_SAS_SIG_LEN] = {0};
    LK_AUTO_BUF struct lk_buf none = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf empty = LK_BUF_INIT;
    struct lk_sas sas;

    assert_int_equal(lk_sas_format("a", 1, sig, NULL, &none), LK_OK);
    assert_int_equal(lk_sas_parse((const char *)none.data, none.len, &sas), LK_OK);
    assert_false(sas.has_key_name);
    assert_int_equal(lk_sas_format("a", 1, sig, "", &empty), LK_OK);
    assert_int_equal(lk_sas_parse((const char *)empty.data, empty.len, &sas), LK_OK);
    assert_true(sas.has_key_name);
}

/* A prefix ends where a segment ends, or it is none. */
static void
resource_covers(void **state)
{
    assert_true(lk_resource_covers("hub/devices/a", "hub/devices/a", false));
    assert_true(lk_resource_covers("hub/devices", "hub/devices/a", false));
    assert_true(lk_resource_covers("hub", "hub/devices/a", false));
    assert_false(lk_resource_covers("hub/dev", "hub/devices/a", false));
    assert_false(lk_resource_covers("hub/devices/", "hub/devices/a", false));
    assert_false(lk_resource_covers("hub/devices/a/b", "hub/devices/a", false));
    assert_false(lk_resource_covers("", "hub", false));
    assert_false(lk_resource_covers("", "/hub", false));
    assert_false(lk_resource_covers("Hub", "hub/devices/a", false));
    assert_true(lk_resource_covers("Hub", "hUB/devices/a", true));
    assert_false(lk_resource_covers("Hu", "hUB/devices/a", true));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_verdicts),  cmocka_unit_test(known_answer),
        cmocka_unit_test(parse_gives_all),   cmocka_unit_test(parse_plain_signature),
        cmocka_unit_test(parse_scheme),      cmocka_unit_test(parse_members),
        cmocka_unit_test(parse_nul),         cmocka_unit_test(parse_signature),
        cmocka_unit_test(parse_expiry),      cmocka_unit_test(parse_member_limits),
        cmocka_unit_test(parse_token_limit), cmocka_unit_test(verify_hub_forms),
        cmocka_unit_test(verify_every_byte), cmocka_unit_test(format_then_parse),
        cmocka_unit_test(format_key_name),   cmocka_unit_test(resource_covers),
    };

    return lk_crypto_init() != LK_OK ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
