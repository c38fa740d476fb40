/* Tests of src/provision/ek_group.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/core_names.h>

#include "provision/ek_group.h"
#include "support/ek_maker.h"

#define DIGITS32 "00112233445566778899aabbccddeeff"
#define ROOT DIGITS32 DIGITS32
#define EK_PUB "the bytes of a public area"

static enum lk_err
parse(const char *text, struct lk_ek_rules *ret)
{
    return lk_ek_rules_parse(text, strlen(text), NULL, ret);
}

/* ---- the text -------------------------------------------------------------------------------- */

/* What is no set of rules, is misspelt, of another kind, or contradicts itself. */
static void
bad_rules(void **state)
{
    static const char *const texts[] = {
        "",
        "[]",
        "{\"root\":[\"" ROOT "\"]}",
        "{\"roots\":\"" ROOT "\"}",
        "{\"roots\":[1]}",
        "{\"roots\":[\"" DIGITS32 "\"]}",
        "{\"roots\":[\"" DIGITS32 "00112233445566778899aabbccddeefg\"]}",
        "{\"roots\":[],\"roots\":[]}",
        "{\"vendors\":[]}",
        "{\"vendors\":[\"\"]}",
        "{\"vendors\":\"INTC\"}",
        "{\"issuers\":[null]}",
        "{\"models\":{}}",
        "{\"quota\":0}",
        "{\"quota\":-1}",
        "{\"quota\":\"5\"}",
        "{\"quota\":1.5}",
        "{\"firmwareMin\":\"1.2\"}",
        "{\"firmwareMin\":1}",
        "{\"firmwareMin\":\"id:2\",\"firmwareMax\":\"id:1\"}",
        "{\"notBefore\":\"today\"}",
        "{\"notBefore\":5}",
        "{\"notBefore\":\"2026-01-02T00:00:00Z\",\"notAfter\":\"2026-01-02T00:00:00Z\"}",
        "{\"anyRegistrationId\":1}",
    };
    struct lk_ek_rules r;

    memset(&r, 0xa5, sizeof(r));
    for (size_t i = 0; i < LK_ARRAY_LEN(texts); i++) {
        assert_int_equal(parse(texts[i], &r), LK_ERR_FORMAT);
    }
    assert_int_equal(r.roots_count, (size_t)0xa5a5a5a5a5a5a5a5u);
}

/* The member at fault is named. */
static void
error_names(void **state)
{
    static const char text[] = "{\"firmwareMax\":\"x\"}";
    char error[LK_JSON_ERROR_CAP] = "";
    struct lk_ek_rules r;

    assert_int_equal(lk_ek_rules_parse(text, strlen(text), error, &r), LK_ERR_FORMAT);
    assert_string_equal(error, "firmwareMax is not acceptable");
}

/* A list of count equal items. */
static void
list_write(char *buf, size_t cap, const char *name, const char *item, size_t count)
{
    size_t n = (size_t)snprintf(buf, cap, "{\"%s\":[", name);

    for (size_t i = 0; i < count; i++) {
        n += (size_t)snprintf(buf + n, cap - n, "%s\"%s\"", i == 0 ? "" : ",", item);
    }
    (void)snprintf(buf + n, cap - n, "]}");
}

/* The most that each limit allows, and one more. */
static void
limits(void **state)
{
    char text[LK_EK_RULES_MAX + 2], item[LK_EK_ATTRIBUTE_CAP + 1];
    struct lk_ek_rules r;

    list_write(text, sizeof(text), "roots", ROOT, LK_EK_ROOTS_MAX);
    assert_int_equal(parse(text, &r), LK_OK);
    assert_int_equal(r.roots_count, LK_EK_ROOTS_MAX);
    list_write(text, sizeof(text), "roots", ROOT, LK_EK_ROOTS_MAX + 1);
    assert_int_equal(parse(text, &r), LK_ERR_LIMIT);
    list_write(text, sizeof(text), "vendors", "INTC", LK_EK_LIST_MAX);
    assert_int_equal(parse(text, &r), LK_OK);
    list_write(text, sizeof(text), "vendors", "INTC", LK_EK_LIST_MAX + 1);
    assert_int_equal(parse(text, &r), LK_ERR_LIMIT);
    memset(item, 'm', sizeof(item));
    item[LK_EK_ATTRIBUTE_CAP] = '\0';
    list_write(text, sizeof(text), "models", item, 1);
    assert_int_equal(parse(text, &r), LK_ERR_LIMIT);
    item[LK_EK_ATTRIBUTE_CAP - 1] = '\0';
    list_write(text, sizeof(text), "models", item, 1);
    assert_int_equal(parse(text, &r), LK_OK);
    assert_int_equal(parse("{\"quota\":1000000000}", &r), LK_OK);
    assert_int_equal(parse("{\"quota\":1000000001}", &r), LK_ERR_LIMIT);
    memset(text, ' ', sizeof(text));
    text[0] = '{';
    text[LK_EK_RULES_MAX - 1] = '}';
    assert_int_equal(lk_ek_rules_parse(text, LK_EK_RULES_MAX, NULL, &r), LK_OK);
    assert_int_equal(lk_ek_rules_parse(text, LK_EK_RULES_MAX + 1, NULL, &r), LK_ERR_LIMIT);
}

/* What was written is read as it was; what cannot be read again is not written. */
static void
round_trip(void **state)
{
    static const char all[] =
        "{\"roots\":[\"" ROOT "\"],\"issuers\":[\"CN=a\\\\,b\",\"CN=c\"],"
        "\"vendors\":[\"id:49465800\",\"INTC\"],\"models\":[\"SLB9670\"],"
        "\"firmwareMin\":\"id:00020008\",\"firmwareMax\":\"id:FFFFFFFFFFFFFFFF\",\"quota\":7,"
        "\"notBefore\":\"2026-01-01T00:00:00.0000000Z\","
        "\"notAfter\":\"2027-01-01T00:00:00.0000000Z\",\"anyRegistrationId\":true}";
    LK_AUTO_BUF struct lk_buf out = LK_BUF_INIT;
    struct lk_ek_rules r;

    assert_int_equal(parse(all, &r), LK_OK);
    assert_int_equal(lk_ek_rules_format(&r, &out), LK_OK);
    assert_string_equal(lk_buf_text(&out), all);
    lk_buf_reset(&out);
    assert_int_equal(parse("{}", &r), LK_OK);
    assert_int_equal(lk_ek_rules_format(&r, &out), LK_OK);
    assert_string_equal(lk_buf_text(&out), "{\"roots\":[]}");
    lk_buf_reset(&out);
    r.issuers_count = LK_EK_LIST_MAX;
    for (size_t i = 0; i < LK_EK_LIST_MAX; i++) {
        memset(r.issuers[i], '\\', LK_EK_NAME_CAP - 1);
        memset(r.models[i], '"', LK_EK_ATTRIBUTE_CAP - 1);
    }
    r.models_count = LK_EK_LIST_MAX;
    assert_int_equal(lk_ek_rules_format(&r, &out), LK_ERR_LIMIT);
    assert_int_equal(out.len, 0);
}

/* A quota is full at its number; none never is. */
static void
quota(void **state)
{
    struct lk_ek_rules r = {.quota = 2};

    assert_true(lk_ek_rules_have_room(&r, 1));
    assert_false(lk_ek_rules_have_room(&r, 2));
    assert_false(lk_ek_rules_have_room(&r, 3));
    r.quota = 0;
    assert_true(lk_ek_rules_have_room(&r, INT64_MAX));
}

/* ---- judging --------------------------------------------------------------------------------- */

/* A maker's root and the claim of one of its chips, and the rules that just admit it. */
struct fixture {
    EVP_PKEY *root_key, *ek_key;
    struct lk_ek_trust *trust;
    struct lk_tpm_key ek;
    struct lk_ek_cert *cert;
    char id[LK_DEFAULT_REGISTRATION_ID_CAP];
    struct lk_ek_claim claim;
    struct lk_ek_rules rules;
};

static void
coordinate_get(EVP_PKEY *key, const char *param, uint8_t *ret)
{
    BIGNUM *bn = NULL;

    assert_int_equal(EVP_PKEY_get_bn_param(key, param, &bn), 1);
    assert_int_equal(BN_bn2binpad(bn, ret, 32), 32);
    BN_free(bn);
}

static void
fixture_make(struct fixture *f)
{
    struct maker_recipe root = {.subject = "root",
                                .issuer = "root",
                                .constraints = "critical,CA:TRUE",
                                .usage = "keyCertSign,cRLSign"};
    struct maker_recipe ek = {.issuer = "root",
                              .manufacturer = "id:49465800",
                              .model = "SLB9670",
                              .version = "id:00020008"};
    struct maker_der der;
    const char *why;

    memset(f, 0, sizeof(*f));
    root.key = ek.issuer_key = f->root_key = EVP_EC_gen("P-256");
    ek.key = f->ek_key = EVP_EC_gen("P-256");
    der = maker_certify(&root);
    assert_int_equal(lk_ek_trust_new(&f->trust), LK_OK);
    assert_int_equal(lk_ek_trust_add(f->trust, LK_EK_TRUST_ROOT, der.bytes, der.len), LK_OK);
    assert_int_equal(lk_digest(LK_SHA256, &LK_PART(der.bytes, der.len), 1, f->rules.roots[0]),
                     LK_OK);
    f->rules.roots_count = 1;
    der = maker_certify(&ek);
    assert_int_equal(lk_ek_cert_parse(der.bytes, der.len, &why, &f->cert), LK_OK);
    f->ek.alg = LK_KEY_ECC;
    f->ek.curve = LK_P256;
    f->ek.bits = 256;
    f->ek.x_len = f->ek.y_len = 32;
    coordinate_get(f->ek_key, OSSL_PKEY_PARAM_EC_PUB_X, f->ek.x);
    coordinate_get(f->ek_key, OSSL_PKEY_PARAM_EC_PUB_Y, f->ek.y);
    assert_int_equal(lk_default_registration_id(EK_PUB, strlen(EK_PUB), f->id), LK_OK);
    f->claim = (struct lk_ek_claim){.registration_id = f->id,
                                    .ek = &f->ek,
                                    .ek_pub = LK_PART(EK_PUB, strlen(EK_PUB)),
                                    .cert = f->cert};
}

static void
fixture_drop(struct fixture *f)
{
    EVP_PKEY_free(f->root_key);
    EVP_PKEY_free(f->ek_key);
    lk_ek_trust_free(f->trust);
    lk_ek_cert_free(f->cert);
}

/* The reason for which the claim is refused; "": it is not. */
static const char *
judged(const struct fixture *f, const struct lk_ek_rules *rules)
{
    const char *why = "";
    enum lk_err err = lk_ek_rules_judge(rules, &f->claim, f->trust, MAKER_NOW_MS, &why);

    assert_true(err == LK_OK || (err == LK_ERR_REFUSED && why[0] != '\0'));
    return err == LK_OK ? "" : why;
}

/* Each rule that the device breaks is named; each that it just keeps admits it. */
static void
rules(void **state)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"{}", ""},
        {"{\"issuers\":[\"CN=roo\",\"CN=roott\"]}", "group.issuer"},
        {"{\"issuers\":[\"CN=other\",\"CN=root\"]}", ""},
        {"{\"vendors\":[\"INTC\"]}", "group.vendor"},
        {"{\"vendors\":[\"id:49465801\"]}", "group.vendor"},
        {"{\"vendors\":[\"IF\"]}", "group.vendor"},
        {"{\"vendors\":[\"INTC\",\"IFX\"]}", ""},
        {"{\"vendors\":[\"ID:49465800\"]}", ""},
        {"{\"models\":[\"SLB967\",\"slb9670\"]}", "group.model"},
        {"{\"models\":[\"SLB9670\"]}", ""},
        {"{\"firmwareMin\":\"id:00020009\"}", "group.firmware"},
        {"{\"firmwareMax\":\"id:00020007\"}", "group.firmware"},
        {"{\"firmwareMin\":\"id:20008\",\"firmwareMax\":\"id:20008\"}", ""},
    };
    struct fixture f;

    fixture_make(&f);
    for (size_t i = 0; i < LK_ARRAY_LEN(cases); i++) {
        struct lk_ek_rules r;

        assert_int_equal(parse(cases[i].text, &r), LK_OK);
        memcpy(r.roots, f.rules.roots, sizeof(r.roots));
        r.roots_count = f.rules.roots_count;
        assert_string_equal(judged(&f, &r), cases[i].why);
    }
    fixture_drop(&f);
}

/* No root admits nobody; another one leads nowhere. */
static void
roots(void **state)
{
    struct fixture f;

    fixture_make(&f);
    f.rules.roots_count = 0;
    assert_string_equal(judged(&f, &f.rules), "group.no_roots");
    f.rules.roots_count = 1;
    f.rules.roots[0][0] ^= 1;
    assert_string_equal(judged(&f, &f.rules), "ek_cert.chain");
    fixture_drop(&f);
}

/* The window: its first millisecond is in, its last one is out. */
static void
window(void **state)
{
    struct fixture f;

    fixture_make(&f);
    f.rules.has_not_before = f.rules.has_not_after = true;
    f.rules.not_before_ms = MAKER_NOW_MS + 1;
    f.rules.not_after_ms = MAKER_NOW_MS + 2;
    assert_string_equal(judged(&f, &f.rules), "group.not_started");
    f.rules.not_before_ms = MAKER_NOW_MS;
    f.rules.not_after_ms = MAKER_NOW_MS + 1;
    assert_string_equal(judged(&f, &f.rules), "");
    f.rules.not_before_ms = MAKER_NOW_MS - 1;
    f.rules.not_after_ms = MAKER_NOW_MS;
    assert_string_equal(judged(&f, &f.rules), "group.ended");
    fixture_drop(&f);
}

/* A certificate of another chip, and another registration id, which a rule may allow. */
static void
identity(void **state)
{
    struct fixture f;

    fixture_make(&f);
    f.claim.registration_id = "another";
    assert_string_equal(judged(&f, &f.rules), "group.registration_id");
    f.rules.any_registration_id = true;
    assert_string_equal(judged(&f, &f.rules), "");
    f.ek.x[31] ^= 1;
    assert_string_equal(judged(&f, &f.rules), "ek_cert.key_mismatch");
    fixture_drop(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_rules),  cmocka_unit_test(error_names), cmocka_unit_test(limits),
        cmocka_unit_test(round_trip), cmocka_unit_test(quota),       cmocka_unit_test(rules),
        cmocka_unit_test(roots),      cmocka_unit_test(window),      cmocka_unit_test(identity),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
