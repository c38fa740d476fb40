/*
 * Opening an authenticationKey blob as a TPM does: ActivateCredential and Import of TPM 2.0 Part 3,
 * written against Part 1 with OpenSSL's own KDFs (KBKDF is KDFa, SSKDF is KDFe).
 */
#include "support/softtpm_int.h"

#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/rsa.h>

#define OBJECT_HASH_LEN 32u
#define PLAIN_MAX 1024u

/* A run of bytes that belongs to somebody else. */
struct bytes {
    const uint8_t *p;
    size_t len;
};

static struct bytes
bytes_of(struct lk_reader r)
{
    return (struct bytes){r.p, r.left};
}

/* ---- key derivation -------------------------------------------------------------------------- */

static void
kdf_run(const char *algorithm, const OSSL_PARAM *params, uint8_t *ret, size_t len)
{
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, algorithm, NULL);
    EVP_KDF_CTX *ctx = EVP_KDF_CTX_new(kdf);

    softtpm_must(ctx != NULL && EVP_KDF_derive(ctx, ret, len, params) == 1, "deriving a key");
    EVP_KDF_CTX_free(ctx);
    EVP_KDF_free(kdf);
}

/* OpenSSL does not write through the pointers of parameters that it only reads. */
static OSSL_PARAM
text_param(const char *name, const char *text)
{
    return OSSL_PARAM_construct_utf8_string(name, (char *)(uintptr_t)text, 0);
}

static OSSL_PARAM
bytes_param(const char *name, struct bytes b)
{
    return OSSL_PARAM_construct_octet_string(name, (void *)(uintptr_t)b.p, b.len);
}

static void
kdfa(const struct softtpm_template *t, struct bytes seed, const char *label, struct bytes context,
     uint8_t *ret, size_t len)
{
    const struct bytes label_bytes = {(const uint8_t *)label, strlen(label)};
    const OSSL_PARAM params[] = {text_param(OSSL_KDF_PARAM_MODE, "counter"),
                                 text_param(OSSL_KDF_PARAM_MAC, "HMAC"),
                                 text_param(OSSL_KDF_PARAM_DIGEST, t->hash),
                                 bytes_param(OSSL_KDF_PARAM_KEY, seed),
                                 bytes_param(OSSL_KDF_PARAM_SALT, label_bytes),
                                 bytes_param(OSSL_KDF_PARAM_INFO, context),
                                 OSSL_PARAM_construct_end()};

    kdf_run("KBKDF", params, ret, len);
}

static void
kdfe(const struct softtpm_template *t, struct bytes z, struct bytes info, uint8_t *ret, size_t len)
{
    const OSSL_PARAM params[] = {
        text_param(OSSL_KDF_PARAM_DIGEST, t->hash), bytes_param(OSSL_KDF_PARAM_KEY, z),
        bytes_param(OSSL_KDF_PARAM_INFO, info), OSSL_PARAM_construct_end()};

    kdf_run("SSKDF", params, ret, len);
}

/* ---- secrets --------------------------------------------------------------------------------- */

static bool
seed_open_rsa(const struct softtpm_key *key, const char *label, struct bytes secret, uint8_t *ret,
              size_t seed_len)
{
    const struct softtpm_template *t = softtpm_template_of(key);
    const EVP_MD *md = EVP_get_digestbyname(t->hash);
    EVP_PKEY_CTX *ctx;
    void *label_copy;
    uint8_t plain[512];
    size_t plain_len = sizeof(plain);
    bool ok;

    if (key->light != NULL) {
        return softtpm_light_decrypt(key->light, md, label, secret.p, secret.len, ret, seed_len);
    }
    ctx = EVP_PKEY_CTX_new(key->pkey, NULL);
    label_copy = OPENSSL_memdup(label, strlen(label) + 1);
    softtpm_must(ctx != NULL && label_copy != NULL && EVP_PKEY_decrypt_init(ctx) == 1 &&
                     EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
                     EVP_PKEY_CTX_set_rsa_oaep_md(ctx, md) == 1 &&
                     EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md) == 1 &&
                     EVP_PKEY_CTX_set0_rsa_oaep_label(ctx, label_copy, (int)strlen(label) + 1) == 1,
                 "preparing OAEP");
    ok = secret.len == t->bits / 8 &&
         EVP_PKEY_decrypt(ctx, plain, &plain_len, secret.p, secret.len) == 1 &&
         plain_len == seed_len;
    if (ok) {
        memcpy(ret, plain, seed_len);
    }
    EVP_PKEY_CTX_free(ctx);
    ERR_clear_error();
    return ok;
}

/* The peer's point as a key of the same curve; NULL when it is not on it. */
static EVP_PKEY *
point_load(const struct softtpm_template *t, struct bytes x, struct bytes y)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    uint8_t point[1 + 2 * 48] = {4};
    char group[] = "P-256";
    EVP_PKEY *pkey = NULL;
    OSSL_PARAM params[3];

    if (t->bits == 384) {
        memcpy(group, "P-384", sizeof(group));
    }
    memcpy(point + 1, x.p, x.len);
    memcpy(point + 1 + x.len, y.p, y.len);
    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0);
    params[1] =
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, 1 + x.len + y.len);
    params[2] = OSSL_PARAM_construct_end();
    softtpm_must(ctx != NULL && EVP_PKEY_fromdata_init(ctx) == 1, "preparing ECDH");
    if (EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1) {
        pkey = NULL;
    }
    EVP_PKEY_CTX_free(ctx);
    return pkey;
}

static bool
shared_x(const struct softtpm_key *key, EVP_PKEY *peer, uint8_t *ret, size_t len)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key->pkey, NULL);
    size_t got = len;
    bool ok;

    softtpm_must(ctx != NULL && EVP_PKEY_derive_init(ctx) == 1, "preparing ECDH");
    ok = EVP_PKEY_derive_set_peer(ctx, peer) == 1 && EVP_PKEY_derive(ctx, ret, &got) == 1 &&
         got == len;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

static bool
seed_open_ecc(const struct softtpm_key *key, const char *label, struct bytes secret, uint8_t *ret,
              size_t seed_len)
{
    const struct softtpm_template *t = softtpm_template_of(key);
    const size_t len = t->bits / 8, label_len = strlen(label) + 1;
    struct lk_reader r = lk_reader_of(secret.p, secret.len), x, y;
    uint8_t z[48], info[16 + 2 * 48];
    BIGNUM *own_x = NULL;
    EVP_PKEY *peer;
    bool ok;

    if (lk_read_2b(&r, &x) != LK_OK || lk_read_2b(&r, &y) != LK_OK || lk_reader_end(&r) != LK_OK ||
        x.left != len || y.left != len) {
        return false;
    }
    peer = point_load(t, bytes_of(x), bytes_of(y));
    ok = peer != NULL && shared_x(key, peer, z, len);
    EVP_PKEY_free(peer);
    ERR_clear_error();
    if (!ok) {
        return false;
    }
    memcpy(info, label, label_len);
    memcpy(info + label_len, x.p, len);
    softtpm_must(EVP_PKEY_get_bn_param(key->pkey, OSSL_PKEY_PARAM_EC_PUB_X, &own_x) == 1 &&
                     BN_bn2binpad(own_x, info + label_len + len, (int)len) == (int)len,
                 "reading a key");
    BN_free(own_x);
    kdfe(t, (struct bytes){z, len}, (struct bytes){info, label_len + 2 * len}, ret, seed_len);
    return true;
}

/* ---- the two wrappers ------------------------------------------------------------------------ */

static void
cfb_decrypt(const uint8_t *key, unsigned bits, struct bytes in, uint8_t *ret)
{
    static const uint8_t iv[16];
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int len = 0;

    softtpm_must(ctx != NULL &&
                     EVP_DecryptInit_ex(ctx,
                                        bits == 128 ? EVP_aes_128_cfb128() : EVP_aes_256_cfb128(),
                                        NULL, key, iv) == 1 &&
                     EVP_DecryptUpdate(ctx, ret, &len, in.p, (int)in.len) == 1,
                 "AES-CFB");
    EVP_CIPHER_CTX_free(ctx);
}

/*
 * Open secret with key, check the HMAC over the encrypted part and name, decrypt it into plain
 * (PLAIN_MAX bytes). Returns an objection or NULL.
 */
static const char *
outer_open(const struct softtpm_key *key, const char *label, struct bytes secret,
           struct lk_reader item, struct bytes name, uint8_t *plain, size_t *ret_len)
{
    const struct softtpm_template *t = softtpm_template_of(key);
    const size_t hash_len = t->ek_policy_len; /* a policy is a digest of nameAlg */
    uint8_t seed[48], sym_key[32], mac_key[48], mac[48], over[PLAIN_MAX + LK_TPM_NAME_MAX];
    struct lk_reader integrity;

    if (lk_read_2b(&item, &integrity) != LK_OK || integrity.left != hash_len ||
        item.left > PLAIN_MAX) {
        return "size";
    }
    if (!(t->curve != 0 ? seed_open_ecc : seed_open_rsa)(key, label, secret, seed, hash_len)) {
        return "secret";
    }
    kdfa(t, (struct bytes){seed, hash_len}, "STORAGE", name, sym_key, t->sym_bits / 8);
    kdfa(t, (struct bytes){seed, hash_len}, "INTEGRITY", (struct bytes){seed, 0}, mac_key,
         hash_len);
    memcpy(over, item.p, item.left);
    memcpy(over + item.left, name.p, name.len);
    softtpm_must(HMAC(EVP_get_digestbyname(t->hash), mac_key, (int)hash_len, over,
                      item.left + name.len, mac, NULL) != NULL,
                 "HMAC");
    if (memcmp(mac, integrity.p, hash_len) != 0) {
        return "integrity";
    }
    cfb_decrypt(sym_key, t->sym_bits, bytes_of(item), plain);
    *ret_len = item.left;
    return NULL;
}

/* The six items of a blob, and the Name of the object in it. */
struct blob {
    struct lk_reader id_object, ek_secret, duplicate, srk_secret, public, uri;
    uint8_t name[2 + OBJECT_HASH_LEN];
};

static const char *
blob_split(const void *data, size_t len, struct blob *ret)
{
    struct lk_reader r = lk_reader_of(data, len);
    size_t hash_len = 0;

    if (lk_read_2b(&r, &ret->id_object) != LK_OK || lk_read_2b(&r, &ret->ek_secret) != LK_OK ||
        lk_read_2b(&r, &ret->duplicate) != LK_OK || lk_read_2b(&r, &ret->srk_secret) != LK_OK ||
        lk_read_2b(&r, &ret->public) != LK_OK || lk_read_2b(&r, &ret->uri) != LK_OK ||
        lk_reader_end(&r) != LK_OK) {
        return "layout";
    }
    ret->name[0] = 0x00;
    ret->name[1] = 0x0b;
    softtpm_must(EVP_Q_digest(NULL, "SHA256", NULL, ret->public.p, ret->public.left, ret->name + 2,
                              &hash_len) == 1,
                 "computing a Name");
    return NULL;
}

/* ActivateCredential: the inner key, 16 bytes. */
static const char *
credential_open(const struct softtpm *tpm, const struct blob *b, uint8_t ret[16])
{
    const char *objection;
    uint8_t plain[PLAIN_MAX];
    size_t len;

    objection = outer_open(tpm->ek, "IDENTITY", bytes_of(b->ek_secret), b->id_object,
                           (struct bytes){tpm->srk_name, tpm->srk_name_len}, plain, &len);
    if (objection != NULL) {
        return strcmp(objection, "secret") == 0      ? "credential secret"
               : strcmp(objection, "integrity") == 0 ? "credential integrity"
                                                     : "credential size";
    }
    if (len != 18 || plain[0] != 0 || plain[1] != 16) {
        return "credential length";
    }
    memcpy(ret, plain + 2, 16);
    return NULL;
}

/* Import's outer and inner wrapper: TPMT_SENSITIVE in plain, described by ret. */
static const char *
duplicate_open(const struct softtpm *tpm, const struct blob *b, const uint8_t inner_key[16],
               uint8_t plain[PLAIN_MAX], struct lk_reader *ret)
{
    const char *objection;
    uint8_t middle[PLAIN_MAX], over[PLAIN_MAX + sizeof(b->name)], digest[32];
    struct lk_reader r, integrity, sensitive;
    struct bytes whole;
    size_t len;

    objection = outer_open(tpm->srk, "DUPLICATE", bytes_of(b->srk_secret), b->duplicate,
                           (struct bytes){b->name, sizeof(b->name)}, middle, &len);
    if (objection != NULL) {
        return strcmp(objection, "secret") == 0      ? "duplicate secret"
               : strcmp(objection, "integrity") == 0 ? "duplicate integrity"
                                                     : "duplicate size";
    }
    cfb_decrypt(inner_key, 128, (struct bytes){middle, len}, plain);
    r = lk_reader_of(plain, len);
    if (lk_read_2b(&r, &integrity) != LK_OK || integrity.left != sizeof(digest)) {
        return "inner size";
    }
    whole = bytes_of(r);
    memcpy(over, whole.p, whole.len);
    memcpy(over + whole.len, b->name, sizeof(b->name));
    softtpm_must(
        EVP_Q_digest(NULL, "SHA256", NULL, over, whole.len + sizeof(b->name), digest, NULL) == 1,
        "digest");
    if (memcmp(digest, integrity.p, sizeof(digest)) != 0) {
        return "inner integrity";
    }
    if (lk_read_2b(&r, &sensitive) != LK_OK || lk_reader_end(&r) != LK_OK) {
        return "inner size";
    }
    *ret = sensitive;
    return NULL;
}

/* The public area that clients and TPMs want, up to the digest in unique. */
static const uint8_t public_head[] = {0x00, 0x08, 0x00, 0x0b, 0x00, 0x04, 0x04, 0x40,
                                      0x00, 0x00, 0x00, 0x05, 0x00, 0x0b, 0x00, 0x20};

/* What Load checks: the areas belong together (CryptValidateKeys), and the key is an HMAC key. */
static const char *
sensitive_check(const struct blob *b, struct lk_reader r, struct softtpm_opened *ret)
{
    uint8_t over[OBJECT_HASH_LEN + LK_HMAC_KEY_MAX], unique[OBJECT_HASH_LEN];
    struct lk_reader auth, seed, key;
    uint16_t type;

    if (lk_read_u16(&r, &type) != LK_OK || type != 0x0008 || lk_read_2b(&r, &auth) != LK_OK ||
        auth.left != 0 || lk_read_2b(&r, &seed) != LK_OK || seed.left != OBJECT_HASH_LEN ||
        lk_read_2b(&r, &key) != LK_OK || key.left == 0 || key.left > LK_HMAC_KEY_MAX ||
        lk_reader_end(&r) != LK_OK) {
        return "sensitive area";
    }
    if (b->public.left != sizeof(public_head) + sizeof(unique) ||
        memcmp(b->public.p, public_head, sizeof(public_head)) != 0) {
        return "public area";
    }
    memcpy(over, seed.p, seed.left);
    memcpy(over + seed.left, key.p, key.left);
    softtpm_must(EVP_Q_digest(NULL, "SHA256", NULL, over, seed.left + key.left, unique, NULL) == 1,
                 "digest");
    if (memcmp(unique, b->public.p + sizeof(public_head), sizeof(unique)) != 0) {
        return "binding";
    }
    memcpy(ret->key, key.p, key.left);
    ret->key_len = key.left;
    return NULL;
}

const char *
softtpm_open(const struct softtpm *tpm, const void *blob, size_t len, struct softtpm_opened *ret)
{
    struct softtpm_opened opened = {.key_len = 0};
    uint8_t inner_key[16], plain[PLAIN_MAX];
    struct lk_reader sensitive;
    const char *objection;
    struct blob b;

    if ((objection = blob_split(blob, len, &b)) != NULL ||
        (objection = credential_open(tpm, &b, inner_key)) != NULL ||
        (objection = duplicate_open(tpm, &b, inner_key, plain, &sensitive)) != NULL ||
        (objection = sensitive_check(&b, sensitive, &opened)) != NULL) {
        return objection;
    }
    if (b.uri.left >= sizeof(opened.uri)) {
        return "uri size";
    }
    cfb_decrypt(inner_key, 128, bytes_of(b.uri), (uint8_t *)opened.uri);
    *ret = opened;
    return NULL;
}

void
softtpm_hmac(const struct softtpm_opened *opened, const void *text, size_t len, uint8_t ret[32])
{
    softtpm_must(HMAC(EVP_sha256(), opened->key, (int)opened->key_len, text, len, ret, NULL) !=
                     NULL,
                 "HMAC");
}
