/* Keys and public areas of a device in software; softtpm_open.c opens what is sent to it. */
#include "support/softtpm_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "support/vectors.h"

void
softtpm_must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "softtpm: %s failed\n", what);
        abort();
    }
}

/* ---- templates: TCG EK Credential Profile, annex B; SRK as in TCG's provisioning guidance ---- */

#define EK_LOW_ATTRIBUTES 0x000300b2u  /* userWithAuth clear */
#define EK_HIGH_ATTRIBUTES 0x000300f2u /* userWithAuth set */
#define SRK_ATTRIBUTES 0x00030472u

static const uint8_t policy_a_sha256[] = {
    0x83, 0x71, 0x97, 0x67, 0x44, 0x84, 0xb3, 0xf8, 0x1a, 0x90, 0xcc, 0x8d, 0x46, 0xa5, 0xd7, 0x24,
    0xfd, 0x52, 0xd7, 0x6e, 0x06, 0x52, 0x0b, 0x64, 0xf2, 0xa1, 0xda, 0x1b, 0x33, 0x14, 0x69, 0xaa};
static const uint8_t policy_b_sha384[] = {
    0xb2, 0x6e, 0x7d, 0x28, 0xd1, 0x1a, 0x50, 0xbc, 0x53, 0xd8, 0x82, 0xbc, 0xf5, 0xfd, 0x3a, 0x1a,
    0x07, 0x41, 0x48, 0xbb, 0x35, 0xd3, 0xb4, 0xe4, 0xcb, 0x1c, 0x0a, 0xd9, 0xbd, 0xe4, 0x19, 0xca,
    0xcb, 0x47, 0xba, 0x09, 0x69, 0x96, 0x46, 0x15, 0x0f, 0x9f, 0xc0, 0x00, 0xf3, 0xf8, 0x0e, 0x12};

static const struct softtpm_template templates[] = {
    [SOFTTPM_RSA2048] = {2048, 0, "SHA256", 0x000b, 128, EK_LOW_ATTRIBUTES, policy_a_sha256, 32},
    [SOFTTPM_RSA3072] = {3072, 0, "SHA384", 0x000c, 256, EK_HIGH_ATTRIBUTES, policy_b_sha384, 48},
    [SOFTTPM_RSA4096] = {4096, 0, "SHA384", 0x000c, 256, EK_HIGH_ATTRIBUTES, policy_b_sha384, 48},
    [SOFTTPM_P256] = {256, 0x0003, "SHA256", 0x000b, 128, EK_LOW_ATTRIBUTES, policy_a_sha256, 32},
    [SOFTTPM_P384] = {384, 0x0004, "SHA384", 0x000c, 256, EK_HIGH_ATTRIBUTES, policy_b_sha384, 48},
};

const struct softtpm_template *
softtpm_template_of(const struct softtpm_key *key)
{
    return &templates[key->kind];
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* Takes over pkey. */
static struct softtpm_key *
key_new(EVP_PKEY *pkey, enum softtpm_kind kind)
{
    struct softtpm_key *key = calloc(1, sizeof(*key));

    softtpm_must(key != NULL && pkey != NULL, "making a key");
    atomic_init(&key->refs, 1);
    key->pkey = pkey;
    key->kind = kind;
    return key;
}

struct softtpm_key *
softtpm_key_generate(enum softtpm_kind kind)
{
    const struct softtpm_template *t = &templates[kind];

    if (t->curve != 0) {
        return key_new(EVP_EC_gen(t->bits == 256 ? "P-256" : "P-384"), kind);
    }
    return key_new(EVP_RSA_gen(t->bits), kind);
}

struct softtpm_key *
softtpm_key_from_pem(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *pkey;

    softtpm_must(bio != NULL, "reading PEM");
    pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    for (size_t kind = 0; pkey != NULL && kind < LK_ARRAY_LEN(templates); kind++) {
        if (EVP_PKEY_get_bits(pkey) == (int)templates[kind].bits &&
            EVP_PKEY_is_a(pkey, templates[kind].curve != 0 ? "EC" : "RSA")) {
            return key_new(pkey, (enum softtpm_kind)kind);
        }
    }
    EVP_PKEY_free(pkey);
    return NULL;
}

struct softtpm_key *
softtpm_key_from_vectors(const char *name)
{
    json_t *keys = vectors_load("keys.json");
    struct softtpm_key *key =
        softtpm_key_from_pem(vectors_text(json_object_get(keys, name), "private_pem"));

    softtpm_must(key != NULL, name);
    json_decref(keys);
    return key;
}

char *
softtpm_key_to_pem(const struct softtpm_key *key)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *data = NULL, *text;
    long len;

    softtpm_must(bio != NULL && key->light == NULL &&
                     PEM_write_bio_PKCS8PrivateKey(bio, key->pkey, NULL, NULL, 0, NULL, NULL) == 1,
                 "writing PEM");
    len = BIO_get_mem_data(bio, &data);
    text = strndup(data, (size_t)len);
    softtpm_must(text != NULL, "writing PEM");
    BIO_free(bio);
    return text;
}

enum softtpm_kind
softtpm_key_kind(const struct softtpm_key *key)
{
    return key->kind;
}

struct softtpm_key *
softtpm_key_ref(struct softtpm_key *key)
{
    atomic_fetch_add(&key->refs, 1);
    return key;
}

void
softtpm_key_free(struct softtpm_key *key)
{
    if (key != NULL && atomic_fetch_sub(&key->refs, 1) == 1) {
        softtpm_light_parts_free(key->light);
        EVP_PKEY_free(key->pkey);
        free(key);
    }
}

/* ---- the pool -------------------------------------------------------------------------------- */

#define POOL_EXPONENT 65537u

struct softtpm_pool {
    size_t count;
    BIGNUM *primes[];
};

struct softtpm_pool *
softtpm_pool_new(size_t primes_count)
{
    struct softtpm_pool *pool = calloc(1, sizeof(*pool) + primes_count * sizeof(BIGNUM *));

    softtpm_must(pool != NULL && primes_count >= 2, "making a pool");
    while (pool->count < primes_count) {
        BIGNUM *p = BN_new();

        softtpm_must(p != NULL && BN_generate_prime_ex(p, 1024, 0, NULL, NULL, NULL) == 1,
                     "making a prime");
        if (BN_mod_word(p, POOL_EXPONENT) == 1) {
            BN_free(p); /* the exponent would have no inverse */
            continue;
        }
        pool->primes[pool->count++] = p;
    }
    return pool;
}

void
softtpm_pool_free(struct softtpm_pool *pool)
{
    if (pool == NULL) {
        return;
    }
    for (size_t i = 0; i < pool->count; i++) {
        BN_free(pool->primes[i]);
    }
    free(pool);
}

size_t
softtpm_pool_keys_count(const struct softtpm_pool *pool)
{
    return pool->count * (pool->count - 1) / 2;
}

/* The parts of an RSA private key, in the order of their parameters' names. */
enum { PART_N, PART_E, PART_D, PART_P, PART_Q, PART_DP, PART_DQ, PART_QINV, PARTS_COUNT };

static bool
rsa_parts(const BIGNUM *p, const BIGNUM *q, BIGNUM *part[PARTS_COUNT], BN_CTX *ctx)
{
    BIGNUM *p1 = BN_dup(p), *q1 = BN_dup(q), *phi = BN_new();
    bool ok = p1 != NULL && q1 != NULL && phi != NULL && BN_sub_word(p1, 1) == 1 &&
              BN_sub_word(q1, 1) == 1 && BN_mul(phi, p1, q1, ctx) == 1 &&
              BN_mul(part[PART_N], p, q, ctx) == 1 &&
              BN_set_word(part[PART_E], POOL_EXPONENT) == 1 &&
              BN_mod_inverse(part[PART_D], part[PART_E], phi, ctx) != NULL &&
              BN_copy(part[PART_P], p) != NULL && BN_copy(part[PART_Q], q) != NULL &&
              BN_mod(part[PART_DP], part[PART_D], p1, ctx) == 1 &&
              BN_mod(part[PART_DQ], part[PART_D], q1, ctx) == 1 &&
              BN_mod_inverse(part[PART_QINV], q, p, ctx) != NULL;

    BN_free(p1);
    BN_free(q1);
    BN_free(phi);
    return ok;
}

static EVP_PKEY *
rsa_from_parts(BIGNUM *const part[PARTS_COUNT])
{
    static const char *const names[] = {
        OSSL_PKEY_PARAM_RSA_N,         OSSL_PKEY_PARAM_RSA_E,
        OSSL_PKEY_PARAM_RSA_D,         OSSL_PKEY_PARAM_RSA_FACTOR1,
        OSSL_PKEY_PARAM_RSA_FACTOR2,   OSSL_PKEY_PARAM_RSA_EXPONENT1,
        OSSL_PKEY_PARAM_RSA_EXPONENT2, OSSL_PKEY_PARAM_RSA_COEFFICIENT1};
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    OSSL_PARAM *params;
    EVP_PKEY *pkey = NULL;

    softtpm_must(bld != NULL && ctx != NULL, "building a key");
    for (size_t i = 0; i < PARTS_COUNT; i++) {
        softtpm_must(OSSL_PARAM_BLD_push_BN(bld, names[i], part[i]) == 1, "building a key");
    }
    params = OSSL_PARAM_BLD_to_param(bld);
    softtpm_must(params != NULL && EVP_PKEY_fromdata_init(ctx) == 1 &&
                     EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_KEYPAIR, params) == 1,
                 "building a key");
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(bld);
    EVP_PKEY_CTX_free(ctx);
    return pkey;
}

struct softtpm_key *
softtpm_pool_key(const struct softtpm_pool *pool, size_t index)
{
    BN_CTX *ctx = BN_CTX_new();
    BIGNUM *part[PARTS_COUNT];
    struct softtpm_key *key;
    size_t larger = 1;

    softtpm_must(index < softtpm_pool_keys_count(pool) && ctx != NULL, "choosing a key");
    while (index >= larger) { /* pairs (1,0) (2,0) (2,1) (3,0) ... */
        index -= larger;
        larger++;
    }
    for (size_t i = 0; i < PARTS_COUNT; i++) {
        softtpm_must((part[i] = BN_new()) != NULL, "building a key");
    }
    softtpm_must(rsa_parts(pool->primes[larger], pool->primes[index], part, ctx), "building a key");
    key = key_new(rsa_from_parts(part), SOFTTPM_RSA2048);
    for (size_t i = 0; i < PARTS_COUNT; i++) {
        BN_free(part[i]);
    }
    BN_CTX_free(ctx);
    return key;
}

/* ---- public areas ---------------------------------------------------------------------------- */

static void
put(struct softtpm_public *p, const void *data, size_t len)
{
    softtpm_must(len <= sizeof(p->bytes) - p->len, "writing a public area");
    memcpy(p->bytes + p->len, data, len);
    p->len += len;
}

static void
put_u16(struct softtpm_public *p, size_t v)
{
    const uint8_t bytes[] = {(uint8_t)(v >> 8), (uint8_t)v};

    put(p, bytes, sizeof(bytes));
}

static void
put_u32(struct softtpm_public *p, uint32_t v)
{
    put_u16(p, v >> 16);
    put_u16(p, v & 0xffff);
}

static void
put_number(struct softtpm_public *p, const EVP_PKEY *pkey, const char *name, size_t len)
{
    uint8_t bytes[512];
    BIGNUM *bn = NULL;

    softtpm_must(EVP_PKEY_get_bn_param(pkey, name, &bn) == 1 &&
                     BN_bn2binpad(bn, bytes, (int)len) == (int)len,
                 "reading a key");
    BN_free(bn);
    put_u16(p, len);
    put(p, bytes, len);
}

/* parameters and unique: TPM 2.0 Part 2, 12.2.3.5, 12.2.3.6 and 12.2.3.2. */
static void
put_key(struct softtpm_public *p, const struct softtpm_key *key)
{
    const struct softtpm_template *t = softtpm_template_of(key);

    put_u16(p, 0x0006); /* AES */
    put_u16(p, t->sym_bits);
    put_u16(p, 0x0043); /* CFB */
    put_u16(p, 0x0010); /* scheme: null */
    if (t->curve != 0) {
        put_u16(p, t->curve);
        put_u16(p, 0x0010); /* KDF: null */
        put_number(p, key->pkey, OSSL_PKEY_PARAM_EC_PUB_X, t->bits / 8);
        put_number(p, key->pkey, OSSL_PKEY_PARAM_EC_PUB_Y, t->bits / 8);
        return;
    }
    put_u16(p, t->bits);
    put_u32(p, 0); /* exponent: 65537 */
    put_number(p, key->pkey, OSSL_PKEY_PARAM_RSA_N, t->bits / 8);
}

struct softtpm_public
softtpm_public_make(const struct softtpm_key *key, enum lk_key_role role, uint32_t flip)
{
    const struct softtpm_template *t = softtpm_template_of(key);
    struct softtpm_public p = {.len = 0};
    size_t policy_len = role == LK_ROLE_EK ? t->ek_policy_len : 0;

    put_u16(&p, 0);
    put_u16(&p, t->curve != 0 ? 0x0023 : 0x0001);
    put_u16(&p, t->name_alg);
    put_u32(&p, (role == LK_ROLE_EK ? t->ek_attributes : SRK_ATTRIBUTES) ^ flip);
    put_u16(&p, policy_len);
    put(&p, t->ek_policy, policy_len);
    put_key(&p, key);
    p.bytes[0] = (uint8_t)((p.len - 2) >> 8);
    p.bytes[1] = (uint8_t)(p.len - 2);
    return p;
}

/* ---- devices --------------------------------------------------------------------------------- */

/* Name: nameAlg and digest of the TPMT_PUBLIC. */
static void
srk_set(struct softtpm *tpm, struct softtpm_key *srk)
{
    const struct softtpm_template *t = softtpm_template_of(srk);
    size_t len = 0;

    tpm->srk = softtpm_key_ref(srk);
    tpm->srk_public = softtpm_public_make(srk, LK_ROLE_SRK, 0);
    tpm->srk_name[0] = (uint8_t)(t->name_alg >> 8);
    tpm->srk_name[1] = (uint8_t)t->name_alg;
    softtpm_must(EVP_Q_digest(NULL, t->hash, NULL, tpm->srk_public.bytes + 2,
                              tpm->srk_public.len - 2, tpm->srk_name + 2, &len) == 1,
                 "computing a Name");
    tpm->srk_name_len = 2 + len;
}

struct softtpm *
softtpm_new(struct softtpm_key *ek, struct softtpm_key *srk)
{
    struct softtpm *tpm = calloc(1, sizeof(*tpm));

    softtpm_must(tpm != NULL, "making a device");
    tpm->ek = softtpm_key_ref(ek);
    tpm->ek_public = softtpm_public_make(ek, LK_ROLE_EK, 0);
    srk_set(tpm, srk);
    return tpm;
}

void
softtpm_free(struct softtpm *tpm)
{
    if (tpm != NULL) {
        softtpm_key_free(tpm->ek);
        softtpm_key_free(tpm->srk);
        free(tpm);
    }
}

void
softtpm_clear(struct softtpm *tpm, struct softtpm_key *new_srk)
{
    struct softtpm_key *old = tpm->srk;

    srk_set(tpm, new_srk);
    softtpm_key_free(old);
}

const struct softtpm_public *
softtpm_public(const struct softtpm *tpm, enum lk_key_role role)
{
    return role == LK_ROLE_EK ? &tpm->ek_public : &tpm->srk_public;
}
