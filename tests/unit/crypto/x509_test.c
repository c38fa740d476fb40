/* Tests of src/crypto/x509.c, with certificates made here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/codec.h"
#include "crypto/x509.h"
#include "support/certs.h"

#define NOW_S INT64_C(1767225600) /* 2026-01-01 */
#define NOW_MS (NOW_S * 1000)

/* An authority, one below it, a device of each, and a stranger's. */
static struct test_cert root, sub, leaf, sub_leaf, stranger;

static int
certs_make(void **state)
{
    assert_int_equal(lk_crypto_init(), LK_OK);
    test_ca_make(&root, "Fleet root", NOW_S, NULL);
    test_ca_make(&sub, "Fleet line 4", NOW_S, &root);
    test_ca_make(&stranger, "Fleet root", NOW_S, NULL); /* the same name, another key */
    test_leaf_make(&leaf, "dev-1", NOW_S, &root);
    test_leaf_make(&sub_leaf, "dev-2", NOW_S, &sub);
    return 0;
}

static int
certs_drop(void **state)
{
    struct test_cert *const all[] = {&root, &sub, &leaf, &sub_leaf, &stranger};

    for (size_t i = 0; i < LK_ARRAY_LEN(all); i++) {
        test_cert_fini(all[i]);
    }
    return 0;
}

/* ---- what one says -----------------------------------------------------------------------------
 */

/* Nothing, a piece of one, one with a byte behind it, one that is too long. */
static void
not_certificates(void **state)
{
    uint8_t *big = calloc(1, LK_X509_DER_MAX + 1);
    struct lk_x509_info info;

    memset(&info, 0x5a, sizeof(info));
    assert_non_null(big);
    memcpy(big, root.der, root.der_len);
    assert_int_equal(lk_x509_read("", 0, &info), LK_ERR_FORMAT);
    assert_int_equal(lk_x509_read(root.der, root.der_len - 1, &info), LK_ERR_FORMAT);
    assert_int_equal(lk_x509_read(big, root.der_len + 1, &info), LK_ERR_FORMAT);
    assert_int_equal(lk_x509_read(big, LK_X509_DER_MAX + 1, &info), LK_ERR_FORMAT);
    assert_int_equal(info.version, 0x5a5a5a5a);
    assert_false(lk_x509_is_ca("", 0));
    free(big);
}

/* A version of RFC 5280 is 0, 1 or 2 on the wire; OpenSSL reads any number there. */
static void
unknown_versions(void **state)
{
    uint8_t der[LK_X509_DER_MAX], *version;
    struct lk_x509_info info;

    memcpy(der, root.der, root.der_len);
    version = memmem(der, root.der_len, "\xa0\x03\x02\x01\x02", 5); /* [0] INTEGER */
    assert_non_null(version);
    version += 4;
    for (*version = 0; *version <= 2; ++*version) {
        assert_int_equal(lk_x509_read(der, root.der_len, &info), LK_OK);
        assert_int_equal(info.version, *version + 1);
    }
    for (; *version != 0; ++*version) {
        assert_int_equal(lk_x509_read(der, root.der_len, &info), LK_ERR_FORMAT);
    }
}

/* Names, dates, thumbprints and the rest, against OpenSSL's own hashes. */
static void
what_one_says(void **state)
{
    struct lk_x509_info info;
    uint8_t hash[32];

    assert_int_equal(lk_x509_read(leaf.der, leaf.der_len, &info), LK_OK);
    assert_string_equal(info.subject, "CN=dev-1");
    assert_string_equal(info.issuer, "CN=Fleet root");
    assert_string_equal(info.common_name, "dev-1");
    assert_int_equal(info.version, 3);
    assert_int_equal(info.not_before_ms, NOW_MS);
    assert_int_equal(info.not_after_ms, NOW_MS + 86400000);
    assert_string_equal(info.serial, "04");
    assert_int_equal(X509_digest(leaf.x, EVP_sha1(), hash, NULL), 1);
    assert_memory_equal(info.sha1, hash, sizeof(info.sha1));
    assert_int_equal(X509_digest(leaf.x, EVP_sha256(), hash, NULL), 1);
    assert_memory_equal(info.sha256, hash, sizeof(info.sha256));
    assert_false(lk_x509_is_ca(leaf.der, leaf.der_len));
    assert_true(lk_x509_is_ca(root.der, root.der_len));
}

/* No common name, two of them, and the longest that a name may have. */
static void
common_names(void **state)
{
    char longest[65];
    const struct test_cert_spec specs[] = {
        {.from_s = NOW_S, .to_s = NOW_S + 1},
        {.cn = "a", .cn2 = "b", .from_s = NOW_S, .to_s = NOW_S + 1},
        {.cn = longest, .from_s = NOW_S, .to_s = NOW_S + 1},
    };

    memset(longest, 'x', 64);
    longest[64] = '\0';
    for (size_t i = 0; i < LK_ARRAY_LEN(specs); i++) {
        struct lk_x509_info info;
        struct test_cert c;

        test_cert_make(&c, &specs[i], NULL);
        assert_int_equal(lk_x509_read(c.der, c.der_len, &info), LK_OK);
        assert_string_equal(info.common_name, i == 2 ? longest : "");
        test_cert_fini(&c);
    }
}

/* PEM, base64 with and without lines, DER; none, two, and garbage. */
static void
text_forms(void **state)
{
    LK_AUTO_BUF struct lk_buf pem = LK_BUF_INIT, base64 = LK_BUF_INIT, der = LK_BUF_INIT;

    assert_int_equal(lk_x509_to_pem("x", 1, &pem), LK_ERR_FORMAT);
    assert_int_equal(lk_x509_to_pem(leaf.der, leaf.der_len, &pem), LK_OK);
    assert_int_equal(lk_x509_from_text(pem.data, pem.len, &der), LK_OK);
    assert_int_equal(der.len, leaf.der_len);
    assert_memory_equal(der.data, leaf.der, der.len);

    assert_int_equal(lk_base64_encode(leaf.der, leaf.der_len, &base64), LK_OK);
    lk_buf_reset(&der);
    assert_int_equal(lk_x509_from_text(base64.data, base64.len, &der), LK_OK);
    assert_memory_equal(der.data, leaf.der, der.len);
    assert_int_equal(lk_buf_puts(&base64, "\r\n"), LK_OK);
    lk_buf_reset(&der);
    assert_int_equal(lk_x509_from_text(base64.data, base64.len, &der), LK_OK);
    lk_buf_reset(&der);
    assert_int_equal(lk_x509_from_text(leaf.der, leaf.der_len, &der), LK_OK);
    assert_int_equal(der.len, leaf.der_len);

    assert_int_equal(lk_x509_to_pem(root.der, root.der_len, &pem), LK_OK);
    assert_int_equal(lk_x509_from_text(pem.data, pem.len, &der), LK_ERR_FORMAT);
    assert_int_equal(lk_x509_from_text("", 0, &der), LK_ERR_FORMAT);
    assert_int_equal(lk_x509_from_text("-----BEGIN", 10, &der), LK_ERR_FORMAT);
    assert_int_equal(lk_x509_from_text("AAAA", 4, &der), LK_ERR_FORMAT);
    assert_int_equal(lk_x509_from_text("?", 1, &der), LK_ERR_FORMAT);
    assert_int_equal(lk_x509_from_text(pem.data, 4 * LK_X509_DER_MAX + 1, &der), LK_ERR_LIMIT);
}

/* ---- chains ------------------------------------------------------------------------------------
 */

static void
expect(enum lk_err want, const char *want_why, const struct test_cert *const *chain, size_t count,
       const struct test_cert *anchor, int64_t now_ms)
{
    struct lk_part parts[LK_X509_CHAIN_MAX + 1], trusted = test_cert_part(anchor);
    const char *why = NULL;
    enum lk_err err;

    for (size_t i = 0; i < count; i++) {
        parts[i] = test_cert_part(chain[i]);
    }
    err = lk_x509_chain_check(parts, count, &trusted, 1, now_ms, &why);
    if (err != want || (want_why != NULL && strcmp(why, want_why) != 0)) {
        fail_msg("%s, %s; wanted %s", lk_err_name(err), why == NULL ? "no reason" : why, want_why);
    }
}

#define CHAIN(...) ((const struct test_cert *const[]){__VA_ARGS__})

/* Directly under the anchor, through an intermediate, and under an intermediate as the anchor. */
static void
good_chains(void **state)
{
    struct lk_part two[2] = {test_cert_part(&sub), test_cert_part(&root)};
    struct lk_part own = test_cert_part(&leaf);
    const char *why;

    expect(LK_OK, NULL, CHAIN(&leaf), 1, &root, NOW_MS);
    expect(LK_OK, NULL, CHAIN(&leaf, &root), 2, &root, NOW_MS);
    expect(LK_OK, NULL, CHAIN(&sub_leaf, &sub), 2, &root, NOW_MS);
    expect(LK_OK, NULL, CHAIN(&sub_leaf, &sub, &root), 3, &root, NOW_MS);
    expect(LK_OK, NULL, CHAIN(&sub_leaf), 1, &sub, NOW_MS);
    expect(LK_OK, NULL, CHAIN(&sub_leaf, &stranger, &sub), 3, &root, NOW_MS);
    assert_int_equal(lk_x509_chain_check(&own, 1, two, 2, NOW_MS, &why), LK_OK);
}

/* Another signer of the same name, one whose intermediate is not there, the signer itself, a
 * self-signed device, more certificates than are looked at, and bytes that are none. */
static void
foreign_chains(void **state)
{
    struct lk_part part = test_cert_part(&leaf), bad = LK_PART("x", 1);
    const struct test_cert_spec any_use = {
        .cn = "Any", .from_s = NOW_S, .to_s = NOW_S + 100, .constraints = "CA:TRUE"};
    const char *why;
    struct test_cert own, any;

    expect(LK_ERR_REFUSED, NULL, CHAIN(&leaf), 1, &stranger, NOW_MS);
    expect(LK_ERR_REFUSED, NULL, CHAIN(&leaf, &root), 2, &stranger, NOW_MS);
    expect(LK_ERR_REFUSED, "chain.unknown_signer", CHAIN(&sub_leaf), 1, &root, NOW_MS);
    expect(LK_ERR_REFUSED, "chain.unknown_signer", CHAIN(&leaf), 1, &sub, NOW_MS);
    expect(LK_ERR_REFUSED, NULL, CHAIN(&root), 1, &root, NOW_MS);
    test_cert_make(&any, &any_use, NULL);
    expect(LK_ERR_REFUSED, "chain.is_signer", CHAIN(&any), 1, &any, NOW_MS);
    test_cert_fini(&any);
    test_leaf_make(&own, "dev-1", NOW_S, NULL);
    expect(LK_ERR_REFUSED, "chain.unknown_signer", CHAIN(&own), 1, &root, NOW_MS);
    test_cert_fini(&own);
    expect(LK_ERR_ARG, NULL, CHAIN(&leaf, &root, &root, &root, &root), 5, &root, NOW_MS);
    assert_int_equal(lk_x509_chain_check(&part, 1, NULL, 0, NOW_MS, &why), LK_ERR_ARG);
    assert_int_equal(lk_x509_chain_check(&part, 0, &part, 1, NOW_MS, &why), LK_ERR_ARG);
    assert_int_equal(lk_x509_chain_check(&bad, 1, &part, 1, NOW_MS, &why), LK_ERR_FORMAT);
    assert_string_equal(why, "chain.malformed");
}

/* A second before and after its time; an authority that is out of date takes its devices along. */
static void
dates(void **state)
{
    const struct test_cert_spec old = {
        .cn = "Old", .from_s = NOW_S - 100, .to_s = NOW_S - 1, .constraints = "critical,CA:TRUE"};
    struct test_cert ca, below;

    expect(LK_ERR_REFUSED, "chain.not_yet_valid", CHAIN(&leaf), 1, &root, NOW_MS - 1000);
    expect(LK_OK, NULL, CHAIN(&leaf), 1, &root, NOW_MS + 86400000 - 1000);
    expect(LK_ERR_REFUSED, "chain.expired", CHAIN(&leaf), 1, &root, NOW_MS + 86400000 + 1000);
    test_cert_make(&ca, &old, NULL);
    test_leaf_make(&below, "dev-1", NOW_S, &ca);
    expect(LK_ERR_REFUSED, "chain.expired", CHAIN(&below), 1, &ca, NOW_MS);
    test_cert_fini(&below);
    test_cert_fini(&ca);
}

/* The signature that does not fit what was signed. */
static void
forged(void **state)
{
    struct test_cert fake = leaf;

    fake.der[fake.der_len - 1] ^= 1;
    expect(LK_ERR_REFUSED, "chain.signature", CHAIN(&fake), 1, &root, NOW_MS);
}

/* Signers that may not sign, one after the other. */
static void
signers_without_right(void **state)
{
    static const struct {
        const char *constraints, *key_usage;
    } signers[] = {
        {NULL, NULL},                             /* no basic constraints */
        {"critical,CA:FALSE", NULL},              /* no authority */
        {NULL, "keyCertSign"},                    /* key usage alone makes none */
        {"critical,CA:TRUE", "digitalSignature"}, /* may sign, but no certificates */
    };

    for (size_t i = 0; i < LK_ARRAY_LEN(signers); i++) {
        const struct test_cert_spec spec = {.cn = "Signer",
                                            .from_s = NOW_S,
                                            .to_s = NOW_S + 100,
                                            .constraints = signers[i].constraints,
                                            .key_usage = signers[i].key_usage};
        struct test_cert signer, below;

        test_cert_make(&signer, &spec, NULL);
        test_leaf_make(&below, "dev-1", NOW_S, &signer);
        assert_false(lk_x509_is_ca(signer.der, signer.der_len) && i < 3);
        expect(LK_ERR_REFUSED, NULL, CHAIN(&below), 1, &signer, NOW_MS);
        test_cert_fini(&below);
        test_cert_fini(&signer);
    }
    /* a device's certificate cannot make another one */
    {
        struct test_cert below;

        test_leaf_make(&below, "dev-9", NOW_S, &leaf);
        expect(LK_ERR_REFUSED, NULL, CHAIN(&below, &leaf), 2, &root, NOW_MS);
        test_cert_fini(&below);
    }
}

/* A path length of 0 leaves no room for an authority below; of the device, key usage that serves
 * another purpose, and a use that is not a client's. */
static void
path_length_and_purpose(void **state)
{
    const struct test_cert_spec narrow = {.cn = "Narrow",
                                          .from_s = NOW_S,
                                          .to_s = NOW_S + 100,
                                          .constraints = "critical,CA:TRUE,pathlen:0",
                                          .key_usage = "critical,keyCertSign"};
    const struct test_cert_spec server = {
        .cn = "dev-1", .from_s = NOW_S, .to_s = NOW_S + 100, .eku = "serverAuth"};
    struct test_cert ca, mid, direct, below, other;

    test_cert_make(&ca, &narrow, NULL);
    test_ca_make(&mid, "Mid", NOW_S, &ca);
    test_leaf_make(&direct, "dev-1", NOW_S, &ca);
    test_leaf_make(&below, "dev-1", NOW_S, &mid);
    test_cert_make(&other, &server, &ca);
    expect(LK_OK, NULL, CHAIN(&direct), 1, &ca, NOW_MS);
    expect(LK_ERR_REFUSED, "chain.path_length", CHAIN(&below, &mid), 2, &ca, NOW_MS);
    expect(LK_ERR_REFUSED, "chain.key_usage", CHAIN(&other), 1, &ca, NOW_MS);
    test_cert_fini(&other);
    test_cert_fini(&below);
    test_cert_fini(&direct);
    test_cert_fini(&mid);
    test_cert_fini(&ca);
}

/* SHA-1, and RSA of 1024 bits. */
static void
weak_certificates(void **state)
{
    const struct test_cert_spec specs[] = {
        {.cn = "dev-1", .from_s = NOW_S, .to_s = NOW_S + 100, .sha1 = true},
        {.cn = "dev-1", .from_s = NOW_S, .to_s = NOW_S + 100, .rsa_bits = 1024},
    };

    for (size_t i = 0; i < LK_ARRAY_LEN(specs); i++) {
        struct test_cert weak;

        test_cert_make(&weak, &specs[i], &root);
        expect(LK_ERR_REFUSED, "chain.weak", CHAIN(&weak), 1, &root, NOW_MS);
        test_cert_fini(&weak);
    }
}

int
main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(not_certificates),
        cmocka_unit_test(unknown_versions),
        cmocka_unit_test(what_one_says),
        cmocka_unit_test(common_names),
        cmocka_unit_test(text_forms),
        cmocka_unit_test(good_chains),
        cmocka_unit_test(foreign_chains),
        cmocka_unit_test(dates),
        cmocka_unit_test(forged),
        cmocka_unit_test(signers_without_right),
        cmocka_unit_test(path_length_and_purpose),
        cmocka_unit_test(weak_certificates),
    };

    return cmocka_run_group_tests(tests, certs_make, certs_drop);
}
