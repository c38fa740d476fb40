/* Tests of src/crypto/ek_cert.c and ek_chain.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <openssl/core_names.h>

#include "crypto/ek_cert.h"
#include "support/ek_maker.h"

#define DAY_S 86400
#define CA "critical,CA:TRUE"
#define SIGNS "critical,keyCertSign,cRLSign"
#define EK_USE "2.23.133.8.1"

/* A maker with a root and one intermediate, and keys of chips. */
static struct {
    EVP_PKEY *root_key, *ca_key, *rsa, *p256, *p384;
    struct maker_der root, ca;
    uint8_t root_id[1][LK_EK_FINGERPRINT_LEN];
} maker;

static int
maker_make(void **state)
{
    maker.root_key = EVP_EC_gen("P-256");
    maker.ca_key = EVP_EC_gen("P-256");
    maker.rsa = EVP_RSA_gen(2048);
    maker.p256 = EVP_EC_gen("P-256");
    maker.p384 = EVP_EC_gen("P-384");
    maker.root = maker_certify(&(struct maker_recipe){.key = maker.root_key,
                                                      .subject = "root",
                                                      .issuer = "root",
                                                      .constraints = CA,
                                                      .usage = SIGNS});
    maker.ca = maker_certify(&(struct maker_recipe){.key = maker.ca_key,
                                                    .issuer_key = maker.root_key,
                                                    .subject = "ca",
                                                    .issuer = "root",
                                                    .constraints = CA,
                                                    .usage = SIGNS,
                                                    .serial = 8});
    return lk_digest(LK_SHA256, &LK_PART(maker.root.bytes, maker.root.len), 1, maker.root_id[0]) ==
                   LK_OK
               ? 0
               : 1;
}

static int
maker_drop(void **state)
{
    EVP_PKEY_free(maker.root_key);
    EVP_PKEY_free(maker.ca_key);
    EVP_PKEY_free(maker.rsa);
    EVP_PKEY_free(maker.p256);
    EVP_PKEY_free(maker.p384);
    return 0;
}

/* What a chip of today carries: no subject, critical alternative name, every extension. */
static struct maker_recipe
usual(EVP_PKEY *key)
{
    return (struct maker_recipe){.key = key,
                                 .issuer_key = maker.ca_key,
                                 .issuer = "ca",
                                 .constraints = "critical,CA:FALSE",
                                 .usage = "critical,keyEncipherment",
                                 .ext_use = EK_USE,
                                 .manufacturer = "id:54455354",
                                 .model = "TPM 9000",
                                 .version = "id:00020008"};
}

static struct lk_ek_cert *
parse(const struct maker_der *der)
{
    struct lk_ek_cert *c = NULL;
    const char *why = "";

    assert_int_equal(lk_ek_cert_parse(der->bytes, der->len, &why, &c), LK_OK);
    return c;
}

static void
expect_unparsed(const struct maker_der *der, enum lk_err want, const char *want_why)
{
    struct lk_ek_cert *c = NULL;
    const char *why = "";

    assert_int_equal(lk_ek_cert_parse(der->bytes, der->len, &why, &c), want);
    assert_string_equal(why, want_why);
    assert_null(c);
}

static struct lk_ek_trust *
trust_of(const struct maker_der *ca, const struct maker_der *crl)
{
    struct lk_ek_trust *t = NULL;

    assert_int_equal(lk_ek_trust_new(&t), LK_OK);
    assert_int_equal(lk_ek_trust_add(t, LK_EK_TRUST_ROOT, maker.root.bytes, maker.root.len), LK_OK);
    if (ca != NULL) {
        assert_int_equal(lk_ek_trust_add(t, LK_EK_TRUST_INTERMEDIATE, ca->bytes, ca->len), LK_OK);
    }
    if (crl != NULL) {
        assert_int_equal(lk_ek_trust_add(t, LK_EK_TRUST_CRL, crl->bytes, crl->len), LK_OK);
    }
    return t;
}

/* The reason for which a certificate is refused; "": it is not. */
static const char *
verified(const struct maker_recipe *r, const struct maker_der *ca, const struct maker_der *crl)
{
    struct maker_der der = maker_certify(r);
    LK_AUTO(lk_ek_cert) struct lk_ek_cert *c = parse(&der);
    LK_AUTO(lk_ek_trust) struct lk_ek_trust *t = trust_of(ca, crl);
    struct lk_ek_verify how = {
        .trust = t, .roots = maker.root_id, .roots_count = 1, .now_ms = MAKER_NOW_MS};
    const char *why = "";
    enum lk_err err = lk_ek_cert_verify(c, &how, &why);

    assert_true(err == LK_OK || (err == LK_ERR_REFUSED && why[0] != '\0'));
    return err == LK_OK ? "" : why;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Nothing, text, every beginning of a certificate, and one byte more than may be. */
static void
no_certificate(void **state)
{
    struct maker_recipe r = usual(maker.p256);
    struct maker_der der = maker_certify(&r), part = der;
    static const uint8_t zeros[LK_EK_CERT_MAX + 1];
    struct lk_ek_cert *c = NULL;
    const char *why = "";

    for (part.len = 0; part.len < der.len; part.len++) {
        expect_unparsed(&part, LK_ERR_FORMAT, "ek_cert.malformed");
    }
    assert_int_equal(lk_ek_cert_parse("-----BEGIN", 10, &why, &c), LK_ERR_FORMAT);
    assert_int_equal(lk_ek_cert_parse(zeros, sizeof(zeros), &why, &c), LK_ERR_LIMIT);
    assert_string_equal(why, "ek_cert.too_long");
}

/* Padding of one kind up to the largest length is no fault; anything else behind the DER is. */
static void
padding(void **state)
{
    struct maker_recipe r = usual(maker.p256);
    struct maker_der der = maker_certify(&r);
    size_t len = der.len;

    for (int i = 0; i < 2; i++) {
        struct lk_ek_cert *c;

        memset(der.bytes + len, i == 0 ? 0xff : 0x00, sizeof(der.bytes) - len);
        der.len = LK_EK_CERT_MAX;
        c = parse(&der);
        lk_ek_cert_free(c);
    }
    der.bytes[LK_EK_CERT_MAX - 1] = 0xff;
    expect_unparsed(&der, LK_ERR_FORMAT, "ek_cert.trailing");
    der.bytes[len] = 'x';
    der.len = len + 1;
    expect_unparsed(&der, LK_ERR_FORMAT, "ek_cert.trailing");
}

/* Keys of other kinds and sizes. */
static void
other_keys(void **state)
{
    EVP_PKEY *small = EVP_RSA_gen(1024), *large = EVP_EC_gen("P-521"),
             *other = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    EVP_PKEY *keys[] = {small, large, other};

    for (size_t i = 0; i < LK_ARRAY_LEN(keys); i++) {
        struct maker_recipe r = usual(keys[i]);
        struct maker_der der = maker_certify(&r);

        expect_unparsed(&der, LK_ERR_UNSUPPORTED, "ek_cert.key");
        EVP_PKEY_free(keys[i]);
    }
}

/* A CA's certificate, one for TLS, one for signatures, and one that says nothing of a TPM. */
static void
not_of_an_ek(void **state)
{
    struct maker_recipe r = usual(maker.p256);
    struct maker_der der;

    expect_unparsed(&maker.ca, LK_ERR_REFUSED, "ek_cert.is_ca");
    r.ext_use = "serverAuth";
    der = maker_certify(&r);
    expect_unparsed(&der, LK_ERR_REFUSED, "ek_cert.usage");
    r.ext_use = EK_USE;
    r.usage = "digitalSignature";
    der = maker_certify(&r);
    expect_unparsed(&der, LK_ERR_REFUSED, "ek_cert.usage");
    r.usage = NULL;
    r.ext_use = NULL;
    r.manufacturer = NULL;
    der = maker_certify(&r);
    expect_unparsed(&der, LK_ERR_REFUSED, "ek_cert.not_an_ek");
}

/* Attributes that are too long or not printable are none; one that just fits is. */
static void
odd_attributes(void **state)
{
    struct maker_recipe r = usual(maker.p256);
    char longest[LK_EK_ATTRIBUTE_CAP + 1];
    struct maker_der der;
    struct lk_ek_cert *c;

    memset(longest, 'm', sizeof(longest));
    longest[LK_EK_ATTRIBUTE_CAP] = '\0';
    r.model = longest;
    r.version = "id:\n";
    der = maker_certify(&r);
    c = parse(&der);
    assert_string_equal(lk_ek_cert_facts(c)->model, "");
    assert_string_equal(lk_ek_cert_facts(c)->version, "");
    lk_ek_cert_free(c);
    longest[LK_EK_ATTRIBUTE_CAP - 1] = '\0';
    der = maker_certify(&r);
    c = parse(&der);
    assert_string_equal(lk_ek_cert_facts(c)->model, longest);
    lk_ek_cert_free(c);
}

/* RSA in both spellings of its algorithm, and both curves: the numbers of the key. */
static void
reads_keys(void **state)
{
    EVP_PKEY *keys[] = {maker.rsa, maker.rsa, maker.p256, maker.p384};

    for (size_t i = 0; i < LK_ARRAY_LEN(keys); i++) {
        struct maker_recipe r = usual(keys[i]);
        const char *param = i < 2 ? OSSL_PKEY_PARAM_RSA_N : OSSL_PKEY_PARAM_EC_PUB_X;
        struct maker_der der;
        LK_AUTO(lk_ek_cert) struct lk_ek_cert *c = NULL;
        BIGNUM *want = NULL;
        uint8_t x[512];

        r.oaep = i == 1;
        der = maker_certify(&r);
        c = parse(&der);
        assert_int_equal(EVP_PKEY_get_bn_param(keys[i], param, &want), 1);
        assert_int_equal(BN_bn2binpad(want, x, (int)lk_ek_cert_facts(c)->x_len),
                         lk_ek_cert_facts(c)->x_len);
        assert_memory_equal(x, lk_ek_cert_facts(c)->x, lk_ek_cert_facts(c)->x_len);
        assert_int_equal(lk_ek_cert_facts(c)->exponent, i < 2 ? 65537 : 0);
        assert_int_equal(lk_ek_cert_facts(c)->bits, i < 2 ? 2048 : i == 2 ? 256 : 384);
        BN_free(want);
    }
}

/* Issuer, attributes and fingerprint, with a subject and without. */
static void
reads_facts(void **state)
{
    const char *subjects[] = {NULL, "chip"};

    for (size_t i = 0; i < LK_ARRAY_LEN(subjects); i++) {
        struct maker_recipe r = usual(maker.rsa);
        struct maker_der der;
        uint8_t want[LK_EK_FINGERPRINT_LEN];
        LK_AUTO(lk_ek_cert) struct lk_ek_cert *c = NULL;

        r.subject = subjects[i];
        der = maker_certify(&r);
        c = parse(&der);
        assert_string_equal(lk_ek_cert_facts(c)->issuer, "CN=ca");
        assert_string_equal(lk_ek_cert_facts(c)->manufacturer, "id:54455354");
        assert_string_equal(lk_ek_cert_facts(c)->model, "TPM 9000");
        assert_string_equal(lk_ek_cert_facts(c)->version, "id:00020008");
        assert_int_equal(lk_digest(LK_SHA256, &LK_PART(der.bytes, der.len), 1, want), LK_OK);
        assert_memory_equal(lk_ek_cert_facts(c)->fingerprint, want, sizeof(want));
    }
}

/* Versions: no digits, others than digits, one too many; the largest; either case. */
static void
versions(void **state)
{
    const char *bad[] = {"", "id", "id:", "ID:1", "id:g", "id:1 ", "id:12345678123456781", "1234"};
    uint64_t v = 5;

    for (size_t i = 0; i < LK_ARRAY_LEN(bad); i++) {
        assert_int_equal(lk_ek_version_parse(bad[i], &v), LK_ERR_FORMAT);
    }
    assert_int_equal(v, 5);
    assert_int_equal(lk_ek_version_parse("id:ffffffffFFFFFFFF", &v), LK_OK);
    assert_true(v == UINT64_MAX);
    assert_int_equal(lk_ek_version_parse("id:0002000A", &v), LK_OK);
    assert_int_equal(v, 0x2000a);
}

/* ---- verifying ------------------------------------------------------------------------------- */

/* What is no certificate or list is not taken up. */
static void
trust_refuses(void **state)
{
    LK_AUTO(lk_ek_trust) struct lk_ek_trust *t = NULL;
    struct maker_der crl = maker_crl(maker.ca_key, "ca", 9, DAY_S);

    assert_int_equal(lk_ek_trust_new(&t), LK_OK);
    assert_int_equal(lk_ek_trust_add(t, LK_EK_TRUST_ROOT, "", 0), LK_ERR_FORMAT);
    assert_int_equal(lk_ek_trust_add(t, LK_EK_TRUST_ROOT, crl.bytes, crl.len), LK_ERR_FORMAT);
    assert_int_equal(lk_ek_trust_add(t, LK_EK_TRUST_CRL, maker.ca.bytes, maker.ca.len),
                     LK_ERR_FORMAT);
    assert_int_equal(lk_ek_trust_add(t, LK_EK_TRUST_INTERMEDIATE, maker.ca.bytes, maker.ca.len - 1),
                     LK_ERR_FORMAT);
    assert_int_equal(lk_ek_trust_add(t, LK_EK_TRUST_CRL, crl.bytes, crl.len + 1), LK_ERR_FORMAT);
}

/* Without an intermediate nothing leads to the root; one that the device brings leads there. */
static void
chain_brought(void **state)
{
    struct maker_recipe r = usual(maker.p256);
    struct maker_der der = maker_certify(&r);
    LK_AUTO(lk_ek_cert) struct lk_ek_cert *c = parse(&der);
    LK_AUTO(lk_ek_trust) struct lk_ek_trust *t = trust_of(NULL, NULL);
    struct lk_part chain[LK_EK_CHAIN_MAX + 1];
    struct lk_ek_verify how = {.trust = t,
                               .roots = maker.root_id,
                               .roots_count = 1,
                               .chain = chain,
                               .now_ms = MAKER_NOW_MS};
    const char *why = "";

    for (size_t i = 0; i < LK_ARRAY_LEN(chain); i++) {
        chain[i] = LK_PART(maker.ca.bytes, maker.ca.len);
    }
    assert_int_equal(lk_ek_cert_verify(c, &how, &why), LK_ERR_REFUSED);
    assert_string_equal(why, "ek_cert.chain");
    how.chain_count = LK_EK_CHAIN_MAX + 1;
    assert_int_equal(lk_ek_cert_verify(c, &how, &why), LK_ERR_LIMIT);
    assert_string_equal(why, "ek_cert.chain_too_long");
    how.chain_count = LK_EK_CHAIN_MAX;
    assert_int_equal(lk_ek_cert_verify(c, &how, &why), LK_OK);
    chain[1].len--;
    assert_int_equal(lk_ek_cert_verify(c, &how, &why), LK_ERR_FORMAT);
    assert_string_equal(why, "ek_cert.chain_malformed");
}

/* A root that is trusted, but not by this group, counts for nothing; neither does having none. */
static void
other_root(void **state)
{
    struct maker_recipe r = usual(maker.p256);
    struct maker_der der = maker_certify(&r);
    LK_AUTO(lk_ek_cert) struct lk_ek_cert *c = parse(&der);
    LK_AUTO(lk_ek_trust) struct lk_ek_trust *t = trust_of(&maker.ca, NULL);
    static const uint8_t other[1][LK_EK_FINGERPRINT_LEN] = {{1}};
    struct lk_ek_verify how = {
        .trust = t, .roots = other, .roots_count = 1, .now_ms = MAKER_NOW_MS};
    const char *why = "";

    assert_int_equal(lk_ek_cert_verify(c, &how, &why), LK_ERR_REFUSED);
    assert_string_equal(why, "ek_cert.chain");
    how.roots_count = 0;
    assert_int_equal(lk_ek_cert_verify(c, &how, &why), LK_ERR_REFUSED);
}

/* A root that the device brings itself is not trusted for it, nor is an impostor of the name. */
static void
impostor(void **state)
{
    struct maker_recipe r = usual(maker.p256);

    r.issuer_key = maker.p384;
    assert_string_equal(verified(&r, &maker.ca, NULL), "ek_cert.signature");
}

/* A certificate that vouches for itself, as software TPMs have. */
static void
self_signed(void **state)
{
    struct maker_recipe r = usual(maker.p256);

    r.issuer_key = NULL;
    r.subject = r.issuer = "chip";
    assert_string_equal(verified(&r, &maker.ca, NULL), "ek_cert.not_ca_issued");
}

/* Dates of the certificate and of its issuer, a second on either side. */
static void
dates(void **state)
{
    struct maker_recipe r = usual(maker.rsa);
    struct maker_recipe old = {.key = maker.ca_key,
                               .issuer_key = maker.root_key,
                               .subject = "ca",
                               .issuer = "root",
                               .constraints = CA,
                               .usage = SIGNS,
                               .not_after_s = -1};
    struct maker_der ca = maker_certify(&old);

    assert_string_equal(verified(&r, &ca, NULL), "ek_cert.issuer_expired");
    r.not_after_s = -1;
    assert_string_equal(verified(&r, &maker.ca, NULL), "ek_cert.expired");
    r.not_after_s = 1;
    assert_string_equal(verified(&r, &maker.ca, NULL), "");
    r.not_before_s = 1;
    assert_string_equal(verified(&r, &maker.ca, NULL), "ek_cert.not_yet_valid");
}

/* Revoked, by the intermediate and the intermediate itself; a list out of date; one forged. */
static void
revocation(void **state)
{
    struct maker_recipe r = usual(maker.rsa);
    struct maker_der crl;

    r.serial = 9;
    crl = maker_crl(maker.ca_key, "ca", 9, DAY_S);
    assert_string_equal(verified(&r, &maker.ca, &crl), "ek_cert.revoked");
    crl = maker_crl(maker.root_key, "root", 8, DAY_S);
    assert_string_equal(verified(&r, &maker.ca, &crl), "ek_cert.issuer_revoked");
    crl = maker_crl(maker.ca_key, "ca", 10, -1);
    assert_string_equal(verified(&r, &maker.ca, &crl), "ek_cert.crl_expired");
    crl = maker_crl(maker.p256, "ca", 10, DAY_S);
    assert_string_equal(verified(&r, &maker.ca, &crl), "ek_cert.crl");
    crl = maker_crl(maker.p256, "somebody", 9, DAY_S);
    assert_string_equal(verified(&r, &maker.ca, &crl), "");
    crl = maker_crl(maker.ca_key, "ca", 10, DAY_S);
    assert_string_equal(verified(&r, &maker.ca, &crl), "");
    crl = maker_crl(maker.ca_key, "ca", 0, DAY_S);
    assert_string_equal(verified(&r, &maker.ca, &crl), "");
}

/* Issuers that are no CA, or may not sign; a hash that is worth nothing; what nobody knows. */
static void
unsound(void **state)
{
    struct maker_recipe r = usual(maker.rsa);
    struct maker_recipe ca = {
        .key = maker.ca_key, .issuer_key = maker.root_key, .subject = "ca", .issuer = "root"};
    struct maker_der der = maker_certify(&ca);

    assert_string_equal(verified(&r, &der, NULL), "ek_cert.issuer_not_ca");
    ca.usage = "keyCertSign"; /* without constraints: OpenSSL lets it pass */
    der = maker_certify(&ca);
    assert_string_equal(verified(&r, &der, NULL), "ek_cert.issuer_not_ca");
    r.digest = EVP_sha1();
    assert_string_equal(verified(&r, &maker.ca, NULL), "ek_cert.weak");
    r.digest = NULL;
    r.unknown = "critical,DER:0500";
    assert_string_equal(verified(&r, &maker.ca, NULL), "ek_cert.critical_extension");
}

/* Every odd form that chips carry is good. */
static void
admits_odd_forms(void **state)
{
    struct maker_recipe r = usual(maker.rsa);

    assert_string_equal(verified(&r, &maker.ca, NULL), "");
    r.oaep = 1;
    assert_string_equal(verified(&r, &maker.ca, NULL), "");
    r = usual(maker.p384);
    r.subject = "chip";
    r.usage = "keyAgreement";
    r.constraints = NULL;
    assert_string_equal(verified(&r, &maker.ca, NULL), "");
    r.ext_use = NULL;
    r.model = r.version = NULL;
    assert_string_equal(verified(&r, &maker.ca, NULL), "");
    r = usual(maker.p256);
    r.manufacturer = r.model = r.version = NULL;
    r.usage = NULL;
    assert_string_equal(verified(&r, &maker.ca, NULL), "");
}

/* A key under the other identifier is tolerated; no other fault with it is. */
static void
oaep_is_judged(void **state)
{
    struct maker_recipe r = usual(maker.rsa);
    struct maker_der crl = maker_crl(maker.ca_key, "ca", 9, DAY_S);

    r.oaep = 1;
    r.serial = 9;
    assert_string_equal(verified(&r, &maker.ca, &crl), "ek_cert.revoked");
    r.issuer_key = maker.p256;
    assert_string_equal(verified(&r, &maker.ca, NULL), "ek_cert.signature");
    r.issuer_key = maker.ca_key;
    r.not_after_s = -1;
    assert_string_equal(verified(&r, &maker.ca, NULL), "ek_cert.expired");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_certificate),   cmocka_unit_test(padding),
        cmocka_unit_test(other_keys),       cmocka_unit_test(not_of_an_ek),
        cmocka_unit_test(odd_attributes),   cmocka_unit_test(reads_keys),
        cmocka_unit_test(reads_facts),      cmocka_unit_test(versions),
        cmocka_unit_test(trust_refuses),    cmocka_unit_test(chain_brought),
        cmocka_unit_test(other_root),       cmocka_unit_test(impostor),
        cmocka_unit_test(self_signed),      cmocka_unit_test(dates),
        cmocka_unit_test(revocation),       cmocka_unit_test(unsound),
        cmocka_unit_test(admits_odd_forms), cmocka_unit_test(oaep_is_judged),
    };

    return cmocka_run_group_tests(tests, maker_make, maker_drop);
}
