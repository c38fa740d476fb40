/* A certification authority of one certificate, for an installation that has no other. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "crypto/tls.h"

#define NAME_MAX_LEN 253u   /* bytes of a DNS name, RFC 1035 */
#define CN_MAX_LEN 64u      /* bytes of a common name, X.520 */
#define BACKDATE_S (-3600L) /* for devices whose clock is a little slow */
#define DAY_S 86400L
#define PATH_CAP 4096u

LK_DEFINE_AUTO(X509, x509, X509_free);
LK_DEFINE_AUTO(EVP_PKEY, pkey, EVP_PKEY_free);
LK_DEFINE_AUTO(BIO, bio, BIO_free_all);
LK_DEFINE_AUTO(GENERAL_NAMES, general_names, GENERAL_NAMES_free);
LK_DEFINE_AUTO(GENERAL_NAME, general_name, GENERAL_NAME_free);

/* ---- names ------------------------------------------------------------------------------------
 */

/* The 4 or 16 bytes of a numeric address; 0 when name is not one. */
static int
address_parse(const char *name, uint8_t ret[16])
{
    return inet_pton(AF_INET, name, ret) == 1 ? 4 : inet_pton(AF_INET6, name, ret) == 1 ? 16 : 0;
}

static bool
dns_name_ok(const char *name)
{
    size_t len = strlen(name);

    return len > 0 && len <= NAME_MAX_LEN &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_*") ==
               len;
}

static enum lk_err
names_check(const char *const *names, size_t names_count)
{
    uint8_t address[16];

    if (names_count == 0 || names_count > LK_TLS_NAMES_MAX) {
        return LK_ERR_ARG;
    }
    for (size_t i = 0; i < names_count; i++) {
        if (address_parse(names[i], address) == 0 && !dns_name_ok(names[i])) {
            return LK_ERR_ARG;
        }
    }
    return LK_OK;
}

static GENERAL_NAME *
general_name_of(const char *name)
{
    LK_AUTO(general_name) GENERAL_NAME *gn = GENERAL_NAME_new();
    uint8_t address[16];
    int address_len = address_parse(name, address);
    ASN1_STRING *value = address_len > 0 ? ASN1_OCTET_STRING_new() : ASN1_IA5STRING_new();
    bool ok = gn != NULL && value != NULL &&
              (address_len > 0 ? ASN1_STRING_set(value, address, address_len)
                               : ASN1_STRING_set(value, name, -1)) == 1;

    if (!ok) {
        ASN1_STRING_free(value);
        return NULL;
    }
    GENERAL_NAME_set0_value(gn, address_len > 0 ? GEN_IPADD : GEN_DNS, value);
    return general_name_take(&gn);
}

static bool
san_add(X509 *cert, const char *const *names, size_t names_count)
{
    LK_AUTO(general_names) GENERAL_NAMES *all = GENERAL_NAMES_new();

    for (size_t i = 0; all != NULL && i < names_count; i++) {
        LK_AUTO(general_name) GENERAL_NAME *gn = general_name_of(names[i]);

        if (gn == NULL || sk_GENERAL_NAME_push(all, gn) <= 0) {
            return false;
        }
        (void)general_name_take(&gn);
    }
    return all != NULL && X509_add1_ext_i2d(cert, NID_subject_alt_name, all, 0, 0) == 1;
}

/* ---- certificates -----------------------------------------------------------------------------
 */

/* The text is ours, never a name that somebody gave. */
static bool
extension_add(X509 *cert, X509 *issuer, int nid, const char *text)
{
    X509V3_CTX ctx;
    X509_EXTENSION *ext;
    bool ok;

    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, text);
    ok = ext != NULL && X509_add_ext(cert, ext, -1) == 1;
    X509_EXTENSION_free(ext);
    return ok;
}

static bool
serial_set(X509 *cert)
{
    uint8_t raw[16];
    BIGNUM *bn;
    bool ok;

    if (RAND_bytes(raw, sizeof(raw)) != 1) {
        return false;
    }
    raw[0] = (raw[0] & 0x7f) | 0x40; /* positive, and always 16 bytes */
    bn = BN_bin2bn(raw, sizeof(raw), NULL);
    ok = bn != NULL && BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(cert)) != NULL;
    BN_free(bn);
    return ok;
}

/* A certificate without extensions and signature. */
static X509 *
cert_begin(EVP_PKEY *key, const char *common_name, unsigned days_valid)
{
    LK_AUTO(x509) X509 *cert = X509_new();
    X509_NAME *subject = cert != NULL ? X509_get_subject_name(cert) : NULL;

    if (cert == NULL || X509_set_version(cert, X509_VERSION_3) != 1 || !serial_set(cert) ||
        X509_gmtime_adj(X509_getm_notBefore(cert), BACKDATE_S) == NULL ||
        X509_gmtime_adj(X509_getm_notAfter(cert), (long)days_valid * DAY_S) == NULL ||
        X509_set_pubkey(cert, key) != 1 ||
        X509_NAME_add_entry_by_txt(subject, "O", MBSTRING_ASC, (const uint8_t *)"Latchkey", -1, -1,
                                   0) != 1 ||
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const uint8_t *)common_name, -1,
                                   -1, 0) != 1) {
        return NULL;
    }
    return x509_take(&cert);
}

static X509 *
ca_make(EVP_PKEY *key, unsigned days_valid)
{
    char common_name[CN_MAX_LEN];
    uint8_t tag[4];
    LK_AUTO(x509) X509 *ca = NULL;

    if (RAND_bytes(tag, sizeof(tag)) != 1) {
        return NULL;
    }
    (void)snprintf(common_name, sizeof(common_name), "Latchkey CA %02x%02x%02x%02x", tag[0], tag[1],
                   tag[2], tag[3]);
    ca = cert_begin(key, common_name, days_valid);
    if (ca == NULL || X509_set_issuer_name(ca, X509_get_subject_name(ca)) != 1 ||
        !extension_add(ca, ca, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
        !extension_add(ca, ca, NID_key_usage, "critical,keyCertSign,cRLSign") ||
        !extension_add(ca, ca, NID_subject_key_identifier, "hash") ||
        X509_sign(ca, key, EVP_sha256()) == 0) {
        return NULL;
    }
    return x509_take(&ca);
}

static X509 *
leaf_make(X509 *ca, EVP_PKEY *ca_key, EVP_PKEY *key, const char *const *names, size_t names_count,
          unsigned days_valid)
{
    const char *common_name = strlen(names[0]) <= CN_MAX_LEN ? names[0] : "server";
    LK_AUTO(x509) X509 *leaf = cert_begin(key, common_name, days_valid);

    if (leaf == NULL || X509_set_issuer_name(leaf, X509_get_subject_name(ca)) != 1 ||
        !extension_add(leaf, ca, NID_basic_constraints, "critical,CA:FALSE") ||
        !extension_add(leaf, ca, NID_key_usage, "critical,digitalSignature") ||
        !extension_add(leaf, ca, NID_ext_key_usage, "serverAuth") ||
        !extension_add(leaf, ca, NID_subject_key_identifier, "hash") ||
        !extension_add(leaf, ca, NID_authority_key_identifier, "keyid:always") ||
        !san_add(leaf, names, names_count) || X509_sign(leaf, ca_key, EVP_sha256()) == 0) {
        return NULL;
    }
    return x509_take(&leaf);
}

/* ---- files ------------------------------------------------------------------------------------
 */

struct output {
    const char *name;
    mode_t mode;
    BIO *pem;
    char path[PATH_CAP];
};

static enum lk_err
output_write(const struct output *o)
{
    char *data;
    long len = BIO_get_mem_data(o->pem, &data);
    int fd = open(o->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, o->mode);
    bool ok;

    if (fd < 0) {
        return errno == EEXIST ? LK_ERR_EXISTS : LK_ERR_IO;
    }
    ok = write(fd, data, (size_t)len) == len && fsync(fd) == 0;
    if (close(fd) != 0 || !ok) {
        (void)unlink(o->path); /* ours, and of no use */
        return LK_ERR_IO;
    }
    return LK_OK;
}

/* All or none: what was written before a failure is removed. */
static enum lk_err
outputs_write(const char *dir, struct output *outputs, size_t count)
{
    enum lk_err err;

    for (size_t i = 0; i < count; i++) {
        int n = snprintf(outputs[i].path, PATH_CAP, "%s/%s", dir, outputs[i].name);

        if (n < 0 || (size_t)n >= PATH_CAP) {
            return LK_ERR_IO;
        }
        if (access(outputs[i].path, F_OK) == 0) {
            return LK_ERR_EXISTS;
        }
    }
    for (size_t i = 0; i < count; i++) {
        if ((err = output_write(&outputs[i])) != LK_OK) {
            while (i-- > 0) {
                (void)unlink(outputs[i].path);
            }
            return err;
        }
    }
    return LK_OK;
}

static enum lk_err
pems_write(const char *dir, X509 *ca, X509 *leaf, EVP_PKEY *key)
{
    LK_AUTO(bio) BIO *ca_pem = BIO_new(BIO_s_mem());
    LK_AUTO(bio) BIO *chain_pem = BIO_new(BIO_s_mem());
    LK_AUTO(bio) BIO *key_pem = BIO_new(BIO_s_secmem());
    struct output outputs[] = {{.name = "server.key", .mode = 0600, .pem = key_pem},
                               {.name = "server.pem", .mode = 0644, .pem = chain_pem},
                               {.name = "ca.pem", .mode = 0644, .pem = ca_pem}};

    if (ca_pem == NULL || chain_pem == NULL || key_pem == NULL ||
        PEM_write_bio_X509(ca_pem, ca) != 1 || PEM_write_bio_X509(chain_pem, leaf) != 1 ||
        PEM_write_bio_X509(chain_pem, ca) != 1 ||
        PEM_write_bio_PrivateKey(key_pem, key, NULL, NULL, 0, NULL, NULL) != 1) {
        return LK_ERR_CRYPTO;
    }
    return outputs_write(dir, outputs, LK_ARRAY_LEN(outputs));
}

enum lk_err
lk_tls_make_self_signed(const char *dir, const char *const *names, size_t names_count,
                        unsigned days_valid)
{
    LK_AUTO(pkey) EVP_PKEY *ca_key = NULL;
    LK_AUTO(pkey) EVP_PKEY *key = NULL;
    LK_AUTO(x509) X509 *ca = NULL;
    LK_AUTO(x509) X509 *leaf = NULL;
    enum lk_err err;

    if ((err = names_check(names, names_count)) != LK_OK || days_valid == 0 ||
        days_valid > LK_TLS_DAYS_MAX) {
        return LK_ERR_ARG;
    }
    ERR_clear_error();
    ca_key = EVP_EC_gen("P-256");
    key = EVP_EC_gen("P-256");
    ca = ca_key != NULL ? ca_make(ca_key, days_valid) : NULL;
    leaf = ca != NULL && key != NULL ? leaf_make(ca, ca_key, key, names, names_count, days_valid)
                                     : NULL;
    if (leaf == NULL) {
        ERR_clear_error();
        return LK_ERR_CRYPTO;
    }
    return pems_write(dir, ca, leaf, key);
}
