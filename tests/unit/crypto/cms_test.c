/* Tests of src/crypto/cms.c and cms_signer.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <openssl/pem.h>

#include <openssl/cms.h>
#include <openssl/x509v3.h>

#include "crypto/cms.h"

LK_DEFINE_AUTO(CMS_ContentInfo, cms, CMS_ContentInfo_free);
LK_DEFINE_AUTO(BIO, bio, BIO_free);

#define DAY 86400L
#define TEXT "registrationId,endorsementKey\ndev-1,AAAA\n"

/* A key with its certificate. */
struct party {
    EVP_PKEY *key;
    X509 *cert;
    uint8_t der[2048];
    size_t der_len;
};

static struct party ca, signer, stranger, self;
static int64_t now_s;

static void
extension(X509 *cert, int nid, const char *text)
{
    X509V3_CTX ctx;
    X509_EXTENSION *ext;

    if (text == NULL) {
        return;
    }
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, text);
    assert_non_null(ext);
    assert_int_equal(X509_add_ext(cert, ext, -1), 1);
    X509_EXTENSION_free(ext);
}

struct form {
    const char *name, *basic, *usage, *extended;
    long from_s, until_s; /* from now */
    const EVP_MD *digest;
};

/* issuer NULL: by itself. key is handed over. */
static void
certify(struct party *p, EVP_PKEY *key, const struct party *issuer, const struct form *f)
{
    X509 *cert = X509_new();
    X509_NAME *subject = X509_get_subject_name(cert);
    unsigned char *out = p->der;
    static long serial = 1;

    assert_non_null(key);
    assert_int_equal(X509_set_version(cert, 2), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++), 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(cert), f->from_s));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), f->until_s));
    assert_int_equal(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                                (const unsigned char *)f->name, -1, -1, 0),
                     1);
    assert_int_equal(X509_set_pubkey(cert, key), 1);
    assert_int_equal(
        X509_set_issuer_name(cert, issuer != NULL ? X509_get_subject_name(issuer->cert) : subject),
        1);
    extension(cert, NID_basic_constraints, f->basic);
    extension(cert, NID_key_usage, f->usage);
    extension(cert, NID_ext_key_usage, f->extended);
    extension(cert, NID_subject_key_identifier, "hash");
    if (issuer != NULL) {
        X509V3_CTX ctx;
        X509_EXTENSION *ext;

        X509V3_set_ctx(&ctx, issuer->cert, cert, NULL, NULL, 0);
        ext = X509V3_EXT_conf_nid(NULL, &ctx, NID_authority_key_identifier, "keyid:always");
        assert_non_null(ext);
        assert_int_equal(X509_add_ext(cert, ext, -1), 1);
        X509_EXTENSION_free(ext);
    }
    assert_true(X509_sign(cert, issuer != NULL ? issuer->key : key,
                          f->digest != NULL ? f->digest : EVP_sha256()) > 0);
    assert_in_range(i2d_X509(cert, NULL), 1, sizeof(p->der));
    p->der_len = (size_t)i2d_X509(cert, &out);
    p->key = key;
    p->cert = cert;
}

static void
party_free(struct party *p)
{
    EVP_PKEY_free(p->key);
    X509_free(p->cert);
}

#define CA_FORM                                                                                    \
    (struct form)                                                                                  \
    {                                                                                              \
        .name = "Factory CA", .basic = "critical,CA:TRUE",                                         \
        .usage = "critical,keyCertSign,cRLSign", .from_s = -DAY, .until_s = DAY                    \
    }
#define SIGNER_FORM                                                                                \
    (struct form)                                                                                  \
    {                                                                                              \
        .name = "Line 7", .usage = "critical,digitalSignature", .from_s = -DAY, .until_s = DAY     \
    }

static int
group_setup(void **state)
{
    struct form f = SIGNER_FORM;

    now_s = (int64_t)time(NULL);
    certify(&ca, EVP_EC_gen("P-256"), NULL, &CA_FORM);
    certify(&signer, EVP_EC_gen("P-256"), &ca, &f);
    f.name = "Stranger";
    certify(&stranger, EVP_EC_gen("P-256"), NULL, &f);
    f.name = "Itself";
    certify(&self, EVP_RSA_gen(2048), NULL, &f);
    return 0;
}

static int
group_teardown(void **state)
{
    party_free(&ca);
    party_free(&signer);
    party_free(&stranger);
    party_free(&self);
    return 0;
}

/* ---- signing --------------------------------------------------------------------------------- */

struct sig {
    uint8_t bytes[16384];
    size_t len;
};

static CMS_ContentInfo *
cms_make(const struct party *by, const char *text, unsigned flags, const EVP_MD *digest)
{
    LK_AUTO(bio) BIO *in = BIO_new_mem_buf(text, -1);
    LK_AUTO(cms)
    CMS_ContentInfo *cms =
        CMS_sign(NULL, NULL, NULL, in, CMS_DETACHED | CMS_BINARY | CMS_PARTIAL | flags);

    assert_non_null(cms);
    assert_non_null(CMS_add1_signer(cms, by->cert, by->key, digest, CMS_BINARY | flags));
    assert_int_equal(CMS_final(cms, in, NULL, CMS_DETACHED | CMS_BINARY | flags), 1);
    return cms_take(&cms);
}

static struct sig
cms_der(CMS_ContentInfo *cms)
{
    struct sig s;
    unsigned char *out = s.bytes;
    int len = i2d_CMS_ContentInfo(cms, NULL);

    assert_in_range(len, 1, sizeof(s.bytes));
    s.len = (size_t)i2d_CMS_ContentInfo(cms, &out);
    return s;
}

static struct sig
sign_with(const struct party *by, const char *text, unsigned flags, const EVP_MD *digest)
{
    LK_AUTO(cms) CMS_ContentInfo *cms = cms_make(by, text, flags, digest);

    return cms_der(cms);
}

static struct sig
sign(const struct party *by, const char *text)
{
    return sign_with(by, text, 0, EVP_sha256());
}

/* ---- verifying ------------------------------------------------------------------------------- */

struct text {
    const char *p;
    size_t left;
    size_t piece; /* bytes given at a time */
    unsigned reads;
    enum lk_err err; /* given once the text is over */
};

static enum lk_err
text_read(void *ctx, void *buf, size_t cap, size_t *ret_len)
{
    struct text *t = ctx;
    size_t n = t->left < t->piece ? t->left : t->piece;

    t->reads++;
    n = n < cap ? n : cap;
    memcpy(buf, t->p, n);
    t->p += n;
    t->left -= n;
    *ret_len = n;
    return n == 0 ? t->err : LK_OK;
}

static char reason[LK_CMS_REASON_CAP];
static struct lk_cms_signer got;
static unsigned reads;

static enum lk_err
verify_trusting(const struct sig *s, const struct party *trusted, const char *text,
                const struct lk_part *crl)
{
    struct text t = {.p = text, .left = strlen(text), .piece = 7};
    const struct lk_part cert = LK_PART(trusted->der, trusted->der_len);
    const struct lk_cms_trust trust = {&cert, 1, crl, crl != NULL ? 1u : 0u, now_s};
    const struct lk_cms_content content = {text_read, &t};
    enum lk_err err;

    memset(&got, 0xa5, sizeof(got));
    err = lk_cms_verify(s->bytes, s->len, &trust, &content, reason, &got);
    reads = t.reads;
    if (err != LK_OK) {
        assert_int_equal((uint8_t)got.subject[0], 0xa5);
    }
    return err;
}

static enum lk_err
verify(const struct sig *s, const struct party *trusted, const char *text)
{
    return verify_trusting(s, trusted, text, NULL);
}

static void
refused(enum lk_err want, const char *why, const struct sig *s, const struct party *trusted)
{
    enum lk_err err = verify(s, trusted, TEXT);

    if (err != want || strstr(reason, why) == NULL) {
        fail_msg("%s, \"%s\" instead of %s, \"%s\"", lk_err_name(err), reason, lk_err_name(want),
                 why);
    }
    assert_int_equal(reads, 0);
}

/* ---- cases ----------------------------------------------------------------------------------- */

/* Nothing, text, every prefix of a signature and one with a byte behind it are none. */
static void
not_signatures(void **state)
{
    struct sig s = sign(&signer, TEXT), none = {.len = 0};

    refused(LK_ERR_FORMAT, "no CMS", &none, &ca);
    for (size_t len = s.len; len-- > 0;) {
        struct sig cut = s;

        cut.len = len;
        refused(LK_ERR_FORMAT, "no CMS", &cut, &ca);
    }
    s.len++;
    refused(LK_ERR_FORMAT, "no CMS", &s, &ca);
    none.len = (size_t)snprintf((char *)none.bytes, sizeof(none.bytes), "-----BEGIN CMS-----\n");
    refused(LK_ERR_FORMAT, "no CMS", &none, &ca);
}

/* The largest signature is read, one byte more is not. */
static void
limit_of_size(void **state)
{
    static uint8_t bytes[LK_CMS_SIGNATURE_MAX + 1];
    const struct lk_cms_trust trust = {.now_unix_s = now_s};
    struct text t = {.p = "", .piece = 1};
    const struct lk_cms_content content = {text_read, &t};

    assert_int_equal(lk_cms_verify(bytes, LK_CMS_SIGNATURE_MAX, &trust, &content, reason, &got),
                     LK_ERR_FORMAT);
    assert_int_equal(lk_cms_verify(bytes, LK_CMS_SIGNATURE_MAX + 1, &trust, &content, reason, &got),
                     LK_ERR_LIMIT);
}

/* CMS of other kinds: with its content inside, without attributes, weak digest, no or two signers.
 */
static void
other_kinds(void **state)
{
    LK_AUTO(bio) BIO *in = BIO_new_mem_buf(TEXT, -1);
    LK_AUTO(cms) CMS_ContentInfo *whole = CMS_sign(signer.cert, signer.key, NULL, in, CMS_BINARY);
    LK_AUTO(cms) CMS_ContentInfo *data = CMS_data_create(in, CMS_BINARY);
    LK_AUTO(bio) BIO *again = BIO_new_mem_buf(TEXT, -1);
    LK_AUTO(cms)
    CMS_ContentInfo *two =
        CMS_sign(signer.cert, signer.key, NULL, again, CMS_DETACHED | CMS_BINARY | CMS_PARTIAL);
    struct sig s = cms_der(whole);

    refused(LK_ERR_UNSUPPORTED, "holds a file of its own", &s, &ca);
    s = cms_der(data);
    refused(LK_ERR_UNSUPPORTED, "not a CMS SignedData", &s, &ca);
    s = sign_with(&signer, TEXT, CMS_NOATTR, EVP_sha256());
    refused(LK_ERR_UNSUPPORTED, "no signed attributes", &s, &ca);
    s = sign_with(&signer, TEXT, 0, EVP_sha1());
    refused(LK_ERR_UNSUPPORTED, "the digest is not", &s, &ca);
    assert_non_null(CMS_add1_signer(two, stranger.cert, stranger.key, NULL, 0));
    assert_int_equal(CMS_final(two, again, NULL, CMS_DETACHED | CMS_BINARY), 1);
    s = cms_der(two);
    refused(LK_ERR_UNSUPPORTED, "exactly one signer", &s, &ca);
}

/* Nobody is trusted, a stranger signs, or only the stranger is trusted. */
static void
wrong_signers(void **state)
{
    const struct lk_cms_trust nobody = {.now_unix_s = now_s};
    struct text t = {.p = TEXT, .left = strlen(TEXT), .piece = 7};
    const struct lk_cms_content content = {text_read, &t};
    struct sig s = sign(&signer, TEXT);

    assert_int_equal(lk_cms_verify(s.bytes, s.len, &nobody, &content, reason, &got),
                     LK_ERR_REFUSED);
    assert_int_equal(t.reads, 0);
    refused(LK_ERR_REFUSED, "CN=Line 7: unable to get local issuer", &s, &stranger);
    s = sign(&stranger, TEXT);
    refused(LK_ERR_REFUSED, "CN=Stranger: self-signed", &s, &ca);
    s = sign_with(&stranger, TEXT, CMS_NOCERTS, EVP_sha256());
    refused(LK_ERR_REFUSED, "neither in the signature nor among the trusted", &s, &ca);
}

/* A signature with another key than the certificate's, by every bit of its last byte. */
static void
wrong_key(void **state)
{
    struct sig s = sign(&self, TEXT);

    for (unsigned bit = 0; bit < 8; bit++) {
        struct sig bad = s;

        bad.bytes[s.len - 1] ^= (uint8_t)(1u << bit);
        refused(LK_ERR_REFUSED, "not made with the signer's key", &bad, &self);
    }
}

/* Certificates that are out of date, too weak, or made for something else. */
static void
unfit_certificates(void **state)
{
    static const struct {
        const char *why;
        long from_s, until_s;
        const char *usage, *extended;
    } rows[] = {
        {"certificate has expired", -2 * DAY, -60, "digitalSignature", NULL},
        {"certificate is not yet valid", 60, DAY, "digitalSignature", NULL},
        {"does not include digitalSignature", -DAY, DAY, "keyEncipherment", NULL},
        {"none of emailProtection", -DAY, DAY, "digitalSignature", "serverAuth,clientAuth"},
    };

    for (size_t i = 0; i < LK_ARRAY_LEN(rows); i++) {
        struct form f = {.name = "Line 8",
                         .from_s = rows[i].from_s,
                         .until_s = rows[i].until_s,
                         .usage = rows[i].usage,
                         .extended = rows[i].extended};
        struct party p;
        struct sig s;

        certify(&p, EVP_EC_gen("P-256"), &ca, &f);
        s = sign(&p, TEXT);
        refused(LK_ERR_REFUSED, rows[i].why, &s, &ca);
        party_free(&p);
    }
}

static void
weak_keys(void **state)
{
    struct form f = SIGNER_FORM;
    struct party p;
    struct sig s;

    certify(&p, EVP_RSA_gen(1024), &ca, &f);
    s = sign(&p, TEXT);
    refused(LK_ERR_REFUSED, "CN=Line 7: EE certificate key too weak", &s, &ca);
    party_free(&p);
}

/* A signer who is no authority certifies nobody. */
static void
no_authority(void **state)
{
    struct form f = SIGNER_FORM;
    struct party p;
    struct sig s;

    certify(&p, EVP_EC_gen("P-256"), &self, &f);
    s = sign(&p, TEXT);
    refused(LK_ERR_REFUSED, "CN=", &s, &self);
    party_free(&p);
}

/* The purposes that a signer's certificate may be limited to. */
static void
fit_purposes(void **state)
{
    static const char *const usages[] = {"emailProtection", "codeSigning", "1.3.6.1.5.5.7.3.36",
                                         "serverAuth,codeSigning", "anyExtendedKeyUsage"};

    for (size_t i = 0; i < LK_ARRAY_LEN(usages); i++) {
        struct form f = SIGNER_FORM;
        struct party p;
        struct sig s;

        f.extended = usages[i];
        certify(&p, EVP_EC_gen("P-384"), &ca, &f);
        s = sign(&p, TEXT);
        assert_int_equal(verify(&s, &ca, TEXT), LK_OK);
        party_free(&p);
    }
}

/* A certificate that is trusted for itself may have been made for anything that signs. */
static void
trusted_for_itself(void **state)
{
    struct form f = SIGNER_FORM;
    struct party p;
    struct sig s;

    f.extended = "serverAuth";
    certify(&p, EVP_EC_gen("P-256"), &ca, &f);
    s = sign_with(&p, TEXT, CMS_NOCERTS, EVP_sha512());
    assert_int_equal(verify(&s, &p, TEXT), LK_OK);
    party_free(&p);
}

static struct lk_part
crl_make(const struct party *revoked, long until_s, uint8_t *der)
{
    X509_CRL *crl = X509_CRL_new();
    X509_REVOKED *row = X509_REVOKED_new();
    ASN1_TIME *at = X509_gmtime_adj(NULL, -DAY), *until = X509_gmtime_adj(NULL, until_s);
    unsigned char *out = der;
    int len;

    assert_int_equal(X509_CRL_set_version(crl, 1), 1);
    assert_int_equal(X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca.cert)), 1);
    assert_int_equal(X509_CRL_set1_lastUpdate(crl, at), 1);
    assert_int_equal(X509_CRL_set1_nextUpdate(crl, until), 1);
    assert_int_equal(X509_REVOKED_set_serialNumber(row, X509_get_serialNumber(revoked->cert)), 1);
    assert_int_equal(X509_REVOKED_set_revocationDate(row, at), 1);
    assert_int_equal(X509_CRL_add0_revoked(crl, row), 1);
    assert_true(X509_CRL_sign(crl, ca.key, EVP_sha256()) > 0);
    len = i2d_X509_CRL(crl, &out);
    assert_in_range(len, 1, 1024);
    ASN1_TIME_free(at);
    ASN1_TIME_free(until);
    X509_CRL_free(crl);
    return LK_PART(der, (size_t)len);
}

/* Revoked; another one revoked; a list that is out of date; no list of that issuer; no list. */
static void
revocation(void **state)
{
    uint8_t der[1024];
    struct sig s = sign(&signer, TEXT), own = sign(&self, TEXT);
    struct lk_part crl = crl_make(&signer, DAY, der);

    assert_int_equal(verify_trusting(&s, &ca, TEXT, &crl), LK_ERR_REFUSED);
    assert_non_null(strstr(reason, "certificate revoked"));
    assert_int_equal(verify_trusting(&own, &self, TEXT, &crl), LK_OK);
    crl = crl_make(&stranger, DAY, der);
    assert_int_equal(verify_trusting(&s, &ca, TEXT, &crl), LK_OK);
    crl = crl_make(&stranger, -60, der);
    assert_int_equal(verify_trusting(&s, &ca, TEXT, &crl), LK_ERR_REFUSED);
    assert_non_null(strstr(reason, "CRL has expired"));
    crl.len--;
    assert_int_equal(verify_trusting(&s, &ca, TEXT, &crl), LK_ERR_CONFIG);
}

/* Over another file: one byte less, more, or different anywhere. */
static void
other_content(void **state)
{
    struct sig s = sign(&signer, TEXT);
    char text[] = TEXT;

    assert_int_equal(verify(&s, &ca, ""), LK_ERR_REFUSED);
    assert_int_equal(verify(&s, &ca, TEXT "x"), LK_ERR_REFUSED);
    assert_int_equal(verify(&s, &ca, "r\r\n"), LK_ERR_REFUSED);
    for (size_t i = 0; i < strlen(TEXT); i++) {
        text[i] ^= 1;
        assert_int_equal(verify(&s, &ca, text), LK_ERR_REFUSED);
        assert_non_null(strstr(reason, "over something else"));
        text[i] ^= 1;
    }
}

/* An error of the content is what comes back, whatever was read until then. */
static void
content_fails(void **state)
{
    struct sig s = sign(&signer, TEXT);
    struct text t = {.p = TEXT, .left = strlen(TEXT), .piece = 5, .err = LK_ERR_CANCELLED};
    const struct lk_part cert = LK_PART(ca.der, ca.der_len);
    const struct lk_cms_trust trust = {&cert, 1, NULL, 0, now_s};
    const struct lk_cms_content content = {text_read, &t};

    assert_int_equal(lk_cms_verify(s.bytes, s.len, &trust, &content, reason, &got),
                     LK_ERR_CANCELLED);
}

/* A trusted certificate that is none says so. */
static void
trust_unreadable(void **state)
{
    struct sig s = sign(&signer, TEXT);
    struct party broken = ca;

    broken.der_len--;
    refused(LK_ERR_CONFIG, "a trusted certificate cannot be read", &s, &broken);
}

/* DER and PEM, an empty file, RSA and EC, by a chain and by itself: who signed what. */
static void
good_signatures(void **state)
{
    LK_AUTO(cms) CMS_ContentInfo *cms = cms_make(&signer, TEXT, 0, EVP_sha384());
    LK_AUTO(bio) BIO *pem = BIO_new(BIO_s_mem());
    struct sig s = cms_der(cms);
    const struct lk_part parts[] = {LK_PART(TEXT, strlen(TEXT)),
                                    LK_PART(signer.der, signer.der_len)};
    uint8_t want[32];

    assert_int_equal(verify(&s, &ca, TEXT), LK_OK);
    assert_string_equal(got.subject, "CN=Line 7");
    assert_string_equal(reason, "");
    assert_int_equal(lk_digest(LK_SHA256, &parts[0], 1, want), LK_OK);
    assert_memory_equal(got.content_sha256, want, 32);
    assert_int_equal(lk_digest(LK_SHA256, &parts[1], 1, want), LK_OK);
    assert_memory_equal(got.cert_sha256, want, 32);

    assert_int_equal(PEM_write_bio_CMS(pem, cms), 1);
    s.len = (size_t)BIO_read(pem, s.bytes, (int)sizeof(s.bytes));
    assert_int_equal(verify(&s, &ca, TEXT), LK_OK);
    s = sign(&signer, "");
    assert_int_equal(verify(&s, &ca, ""), LK_OK);
    s = sign(&self, TEXT);
    assert_int_equal(verify(&s, &self, TEXT), LK_OK);
    assert_string_equal(got.subject, "CN=Itself");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(not_signatures),  cmocka_unit_test(limit_of_size),
        cmocka_unit_test(other_kinds),     cmocka_unit_test(wrong_signers),
        cmocka_unit_test(wrong_key),       cmocka_unit_test(unfit_certificates),
        cmocka_unit_test(weak_keys),       cmocka_unit_test(no_authority),
        cmocka_unit_test(fit_purposes),    cmocka_unit_test(trusted_for_itself),
        cmocka_unit_test(revocation),      cmocka_unit_test(other_content),
        cmocka_unit_test(content_fails),   cmocka_unit_test(trust_unreadable),
        cmocka_unit_test(good_signatures),
    };

    if (lk_crypto_init() != LK_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
