/* Reading certificates of endorsement keys. */
#include "crypto/ek_cert.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "crypto/crypto_int.h"
#include "crypto/ek_cert_int.h"

#define OID_MANUFACTURER "2.23.133.2.1"
#define OID_MODEL "2.23.133.2.2"
#define OID_VERSION "2.23.133.2.3"
#define OID_EK_CERTIFICATE "2.23.133.8.1" /* tcg-kp-EKCertificate */

LK_DEFINE_AUTO(EVP_PKEY, ek_pkey, EVP_PKEY_free);
LK_DEFINE_AUTO(BIGNUM, ek_bn, BN_free);
LK_DEFINE_AUTO(BIO, ek_bio, BIO_free_all);
LK_DEFINE_AUTO(ASN1_OBJECT, ek_oid, ASN1_OBJECT_free);
LK_DEFINE_AUTO(GENERAL_NAMES, ek_names, GENERAL_NAMES_free);
LK_DEFINE_AUTO(EXTENDED_KEY_USAGE, ek_usages, EXTENDED_KEY_USAGE_free);

static enum lk_err
judged(enum lk_err err, const char *why, const char **ret_why)
{
    *ret_why = why;
    return err;
}

/* ---- the key -----------------------------------------------------------------------------------
 */

/* The certified key; owned. NULL when it is of no kind that OpenSSL reads. */
static EVP_PKEY *
key_get(const X509 *x509, bool *ret_is_oaep)
{
    const X509_PUBKEY *spki = X509_get_X509_PUBKEY(x509);
    ASN1_OBJECT *alg = NULL;
    const unsigned char *bytes = NULL;
    int len = 0;

    if (spki == NULL || X509_PUBKEY_get0_param(&alg, &bytes, &len, NULL, spki) != 1) {
        return NULL;
    }
    *ret_is_oaep = OBJ_obj2nid(alg) == NID_rsaesOaep;
    if (*ret_is_oaep) {
        return d2i_PublicKey(EVP_PKEY_RSA, NULL, &bytes, len);
    }
    return X509_PUBKEY_get(spki);
}

/* A number in exactly len bytes. */
static bool
number_get(const EVP_PKEY *key, const char *name, uint8_t *ret, size_t len)
{
    LK_AUTO(ek_bn) BIGNUM *bn = NULL;

    return EVP_PKEY_get_bn_param(key, name, &bn) == 1 &&
           BN_bn2binpad(bn, ret, (int)len) == (int)len;
}

static bool
rsa_read(const EVP_PKEY *key, struct lk_ek_cert_facts *f)
{
    int bits = EVP_PKEY_get_bits(key);
    uint8_t e[4];

    if ((bits != 2048 && bits != 3072 && bits != 4096) ||
        !number_get(key, OSSL_PKEY_PARAM_RSA_E, e, sizeof(e)) ||
        !number_get(key, OSSL_PKEY_PARAM_RSA_N, f->x, (size_t)bits / 8)) {
        return false;
    }
    f->alg = LK_EK_CERT_RSA;
    f->bits = (unsigned)bits;
    f->exponent = (uint32_t)e[0] << 24 | (uint32_t)e[1] << 16 | (uint32_t)e[2] << 8 | e[3];
    f->x_len = (size_t)bits / 8;
    return true;
}

static bool
ecc_read(const EVP_PKEY *key, struct lk_ek_cert_facts *f)
{
    char group[32];
    size_t len;

    if (EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group),
                                       NULL) != 1 ||
        (strcmp(group, SN_X9_62_prime256v1) != 0 && strcmp(group, SN_secp384r1) != 0)) {
        return false;
    }
    f->alg = LK_EK_CERT_ECC;
    f->curve = strcmp(group, SN_secp384r1) == 0 ? LK_P384 : LK_P256;
    len = lk_curve_len(f->curve);
    f->bits = (unsigned)len * 8;
    f->x_len = f->y_len = len;
    return number_get(key, OSSL_PKEY_PARAM_EC_PUB_X, f->x, len) &&
           number_get(key, OSSL_PKEY_PARAM_EC_PUB_Y, f->y, len);
}

static enum lk_err
key_read(struct lk_ek_cert *c, const char **ret_why)
{
    bool is_oaep = false;
    LK_AUTO(ek_pkey) EVP_PKEY *key = key_get(c->x509, &is_oaep);
    bool ok = key != NULL && ((EVP_PKEY_is_a(key, "RSA") && rsa_read(key, &c->facts)) ||
                              (EVP_PKEY_is_a(key, "EC") && ecc_read(key, &c->facts)));

    if (!ok) {
        return judged(LK_ERR_UNSUPPORTED, "ek_cert.key", ret_why);
    }
    /*
     * OpenSSL verifies no chain with a key that it does not read. The signature is checked over the
     * bytes that were parsed, so giving it the key again changes nothing of that.
     */
    return !is_oaep || X509_set_pubkey(c->x509, key) == 1
               ? LK_OK
               : judged(LK_ERR_NOMEM, "ek_cert.crypto", ret_why);
}

/* ---- names ------------------------------------------------------------------------------------
 */

/* What cannot be kept whole is not kept: a rule must not match the beginning of something. */
static void
text_keep(char *buf, size_t cap, const unsigned char *text, size_t len)
{
    if (len >= cap) {
        return;
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] < 0x20 || text[i] > 0x7e) {
            return;
        }
    }
    memcpy(buf, text, len);
    buf[len] = '\0';
}

static void
issuer_read(const X509 *x509, struct lk_ek_cert_facts *f)
{
    LK_AUTO(ek_bio) BIO *out = BIO_new(BIO_s_mem());
    char *text = NULL;
    long len;

    if (out == NULL ||
        X509_NAME_print_ex(out, X509_get_issuer_name(x509), 0, XN_FLAG_RFC2253) < 0) {
        return;
    }
    len = BIO_get_mem_data(out, &text);
    if (len > 0) {
        text_keep(f->issuer, sizeof(f->issuer), (const unsigned char *)text, (size_t)len);
    }
}

/* The first attribute with this identifier, unless there is a value from elsewhere already. */
static void
attribute_read(const X509_NAME *name, const char *oid_text, char ret[LK_EK_ATTRIBUTE_CAP])
{
    LK_AUTO(ek_oid) ASN1_OBJECT *oid = OBJ_txt2obj(oid_text, 1);
    int at = oid != NULL ? X509_NAME_get_index_by_OBJ(name, oid, -1) : -1;
    unsigned char *utf8 = NULL;
    int len;

    if (at < 0 || ret[0] != '\0') {
        return;
    }
    len = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at)));
    if (len > 0) {
        text_keep(ret, LK_EK_ATTRIBUTE_CAP, utf8, (size_t)len);
    }
    OPENSSL_free(utf8);
}

static void
attributes_of_name(const X509_NAME *name, struct lk_ek_cert_facts *f)
{
    attribute_read(name, OID_MANUFACTURER, f->manufacturer);
    attribute_read(name, OID_MODEL, f->model);
    attribute_read(name, OID_VERSION, f->version);
}

static void
attributes_read(const X509 *x509, struct lk_ek_cert_facts *f)
{
    LK_AUTO(ek_names)
    GENERAL_NAMES *names = X509_get_ext_d2i(x509, NID_subject_alt_name, NULL, NULL);

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

        if (name->type == GEN_DIRNAME) {
            attributes_of_name(name->d.directoryName, f);
        }
    }
    attributes_of_name(X509_get_subject_name(x509), f);
}

/* ---- uses -------------------------------------------------------------------------------------
 */

/* Whether there is an extended key usage, and whether it names EK certificates. */
static bool
ext_usage_read(const X509 *x509, bool *ret_is_ek)
{
    int critical = -1;
    LK_AUTO(ek_usages)
    EXTENDED_KEY_USAGE *usages = X509_get_ext_d2i(x509, NID_ext_key_usage, &critical, NULL);
    LK_AUTO(ek_oid) ASN1_OBJECT *want = OBJ_txt2obj(OID_EK_CERTIFICATE, 1);

    *ret_is_ek = false;
    for (int i = 0; want != NULL && i < sk_ASN1_OBJECT_num(usages); i++) {
        *ret_is_ek = *ret_is_ek || OBJ_cmp(sk_ASN1_OBJECT_value(usages, i), want) == 0;
    }
    return critical != -1; /* -1: not there; -2: there twice */
}

static enum lk_err
uses_judge(const struct lk_ek_cert *c, const char **ret_why)
{
    uint32_t usage = X509_get_key_usage(c->x509); /* all bits when there is none */
    bool is_ek, has_ext = ext_usage_read(c->x509, &is_ek);

    if ((X509_get_extension_flags(c->x509) & EXFLAG_INVALID) != 0) {
        return judged(LK_ERR_FORMAT, "ek_cert.malformed", ret_why);
    }
    if (X509_check_ca(c->x509) != 0) {
        return judged(LK_ERR_REFUSED, "ek_cert.is_ca", ret_why);
    }
    if ((usage & (KU_KEY_ENCIPHERMENT | KU_KEY_AGREEMENT)) == 0 || (has_ext && !is_ek)) {
        return judged(LK_ERR_REFUSED, "ek_cert.usage", ret_why);
    }
    if (!is_ek && c->facts.manufacturer[0] == '\0') {
        return judged(LK_ERR_REFUSED, "ek_cert.not_an_ek", ret_why);
    }
    return LK_OK;
}

/* ---- the whole --------------------------------------------------------------------------------
 */

static bool
is_padding(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (p[i] != p[0] || (p[i] != 0x00 && p[i] != 0xff)) {
            return false;
        }
    }
    return true;
}

enum lk_err
lk_ek_fingerprint(const X509 *x509, uint8_t ret[LK_EK_FINGERPRINT_LEN])
{
    return X509_digest(x509, EVP_sha256(), ret, NULL) == 1 ? LK_OK : LK_ERR_CRYPTO;
}

static enum lk_err
der_read(const void *data, size_t len, const char **ret_why, X509 **ret,
         uint8_t ret_fingerprint[LK_EK_FINGERPRINT_LEN])
{
    const unsigned char *p = data;
    LK_AUTO(ek_x509) X509 *x509 = NULL;

    if (len > LK_EK_CERT_MAX) {
        return judged(LK_ERR_LIMIT, "ek_cert.too_long", ret_why);
    }
    ERR_clear_error();
    if ((x509 = d2i_X509(NULL, &p, (long)len)) == NULL) {
        return judged(lk_crypto_verdict(LK_ERR_FORMAT), "ek_cert.malformed", ret_why);
    }
    if (!is_padding(p, len - (size_t)(p - (const unsigned char *)data))) {
        return judged(LK_ERR_FORMAT, "ek_cert.trailing", ret_why);
    }
    if (lk_ek_fingerprint(x509, ret_fingerprint) != LK_OK) {
        return judged(LK_ERR_CRYPTO, "ek_cert.crypto", ret_why);
    }
    *ret = ek_x509_take(&x509);
    return LK_OK;
}

static enum lk_err
cert_read(struct lk_ek_cert *c, const void *data, size_t len, const char **ret_why)
{
    enum lk_err err;

    if ((err = der_read(data, len, ret_why, &c->x509, c->facts.fingerprint)) != LK_OK ||
        (err = key_read(c, ret_why)) != LK_OK) {
        return err;
    }
    issuer_read(c->x509, &c->facts);
    attributes_read(c->x509, &c->facts);
    return uses_judge(c, ret_why);
}

enum lk_err
lk_ek_cert_parse(const void *data, size_t len, const char **ret_why, struct lk_ek_cert **ret)
{
    LK_AUTO(lk_ek_cert) struct lk_ek_cert *c = calloc(1, sizeof(*c));
    enum lk_err err;

    if (c == NULL) {
        return judged(LK_ERR_NOMEM, "ek_cert.crypto", ret_why);
    }
    err = cert_read(c, data, len, ret_why);
    ERR_clear_error(); /* what a peer sent must not linger for this thread's next TLS call */
    if (err == LK_OK) {
        *ret = lk_ek_cert_take(&c);
    }
    return err;
}

void
lk_ek_cert_free(struct lk_ek_cert *c)
{
    if (c != NULL) {
        X509_free(c->x509);
        free(c);
    }
}

const struct lk_ek_cert_facts *
lk_ek_cert_facts(const struct lk_ek_cert *c)
{
    return &c->facts;
}

enum lk_err
lk_ek_version_parse(const char *text, uint64_t *ret)
{
    static const char digits[] = "0123456789abcdef";
    size_t len = strnlen(text, 20);
    uint64_t version = 0;

    if (len < 4 || len > 3 + 16 || memcmp(text, "id:", 3) != 0) {
        return LK_ERR_FORMAT;
    }
    for (const char *p = text + 3; *p != '\0'; p++) {
        char lower = *p >= 'A' && *p <= 'F' ? (char)(*p - 'A' + 'a') : *p;
        const char *digit = strchr(digits, lower);

        if (digit == NULL) {
            return LK_ERR_FORMAT;
        }
        version = version << 4 | (uint64_t)(digit - digits);
    }
    *ret = version;
    return LK_OK;
}
