/*
 * Light keys: RSA-2048 moduli of sixteen small primes. A private operation is sixteen powers of 128
 * bits and one sum (the Chinese remainder theorem) in place of two powers of 1024 bits. The public
 * half cannot be told from any other.
 */
#include "support/softtpm_int.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

#define FACTORS 16 /* primes of a modulus */
#define FACTOR_BITS 128
#define CHOICES 4 /* primes to choose each factor from: 4^16 keys */
#define MODULUS_LEN 256u
#define EXPONENT 65537u

struct light_prime {
    BIGNUM *p;
    BIGNUM *d; /* inverse of the exponent modulo p - 1 */
    BN_MONT_CTX *mont;
};

struct softtpm_light {
    struct light_prime primes[FACTORS][CHOICES];
};

struct softtpm_light_parts {
    BIGNUM *n;
    const struct light_prime *primes[FACTORS]; /* borrowed from the set */
    BIGNUM *lift[FACTORS];                     /* 1 modulo its own prime, 0 modulo the others */
};

/*
 * A prime with its five highest bits set, so that sixteen of them always multiply to 2048 bits:
 * (31/32)^16 is over a half.
 */
static BIGNUM *
prime_make(BN_CTX *ctx)
{
    BIGNUM *p = BN_new();

    softtpm_must(p != NULL, "making a prime");
    do {
        softtpm_must(BN_rand(p, FACTOR_BITS, BN_RAND_TOP_TWO, BN_RAND_BOTTOM_ODD) == 1 &&
                         BN_set_bit(p, FACTOR_BITS - 3) == 1 &&
                         BN_set_bit(p, FACTOR_BITS - 4) == 1 && BN_set_bit(p, FACTOR_BITS - 5) == 1,
                     "making a prime");
    } while (BN_mod_word(p, EXPONENT) == 1 || BN_check_prime(p, ctx, NULL) != 1);
    return p;
}

static struct light_prime
light_prime_make(BN_CTX *ctx)
{
    struct light_prime made = {prime_make(ctx), BN_new(), BN_MONT_CTX_new()};
    BIGNUM *p1 = BN_dup(made.p), *e = BN_new();

    softtpm_must(made.d != NULL && made.mont != NULL && p1 != NULL && e != NULL &&
                     BN_sub_word(p1, 1) == 1 && BN_set_word(e, EXPONENT) == 1 &&
                     BN_mod_inverse(made.d, e, p1, ctx) != NULL &&
                     BN_MONT_CTX_set(made.mont, made.p, ctx) == 1,
                 "making a prime");
    BN_free(p1);
    BN_free(e);
    return made;
}

struct softtpm_light *
softtpm_light_new(void)
{
    struct softtpm_light *light = calloc(1, sizeof(*light));
    BN_CTX *ctx = BN_CTX_new();

    softtpm_must(light != NULL && ctx != NULL, "making light keys");
    for (size_t i = 0; i < FACTORS; i++) {
        for (size_t j = 0; j < CHOICES; j++) {
            light->primes[i][j] = light_prime_make(ctx);
        }
    }
    BN_CTX_free(ctx);
    return light;
}

void
softtpm_light_free(struct softtpm_light *light)
{
    if (light == NULL) {
        return;
    }
    for (size_t i = 0; i < FACTORS; i++) {
        for (size_t j = 0; j < CHOICES; j++) {
            BN_free(light->primes[i][j].p);
            BN_free(light->primes[i][j].d);
            BN_MONT_CTX_free(light->primes[i][j].mont);
        }
    }
    free(light);
}

/* n and the lifts of the chosen primes. */
static void
parts_fill(struct softtpm_light_parts *parts, BN_CTX *ctx)
{
    BIGNUM *inverse = BN_new();

    softtpm_must((parts->n = BN_new()) != NULL && inverse != NULL && BN_one(parts->n) == 1,
                 "making a light key");
    for (size_t i = 0; i < FACTORS; i++) {
        softtpm_must(BN_mul(parts->n, parts->n, parts->primes[i]->p, ctx) == 1,
                     "making a light key");
    }
    for (size_t i = 0; i < FACTORS; i++) {
        const BIGNUM *p = parts->primes[i]->p;

        softtpm_must((parts->lift[i] = BN_new()) != NULL &&
                         BN_div(parts->lift[i], NULL, parts->n, p, ctx) == 1 &&
                         BN_mod_inverse(inverse, parts->lift[i], p, ctx) != NULL &&
                         BN_mul(parts->lift[i], parts->lift[i], inverse, ctx) == 1,
                     "making a light key");
    }
    BN_free(inverse);
}

static EVP_PKEY *
public_make(BIGNUM *n)
{
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    OSSL_PARAM *params = NULL;
    EVP_PKEY *pkey = NULL;

    softtpm_must(
        bld != NULL && ctx != NULL && OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
            OSSL_PARAM_BLD_push_ulong(bld, OSSL_PKEY_PARAM_RSA_E, EXPONENT) == 1 &&
            (params = OSSL_PARAM_BLD_to_param(bld)) != NULL && EVP_PKEY_fromdata_init(ctx) == 1 &&
            EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) == 1,
        "making a light key");
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(bld);
    EVP_PKEY_CTX_free(ctx);
    return pkey;
}

struct softtpm_key *
softtpm_light_key(const struct softtpm_light *light, uint32_t index)
{
    struct softtpm_key *key = calloc(1, sizeof(*key));
    struct softtpm_light_parts *parts = calloc(1, sizeof(*parts));
    BN_CTX *ctx = BN_CTX_new();

    softtpm_must(key != NULL && parts != NULL && ctx != NULL, "making a light key");
    for (size_t i = 0; i < FACTORS; i++, index /= CHOICES) {
        parts->primes[i] = &light->primes[i][index % CHOICES];
    }
    parts_fill(parts, ctx);
    atomic_init(&key->refs, 1);
    key->kind = SOFTTPM_RSA2048;
    key->pkey = public_make(parts->n);
    key->light = parts;
    BN_CTX_free(ctx);
    return key;
}

void
softtpm_light_parts_free(struct softtpm_light_parts *parts)
{
    if (parts == NULL) {
        return;
    }
    for (size_t i = 0; i < FACTORS; i++) {
        BN_free(parts->lift[i]);
    }
    BN_free(parts->n);
    free(parts);
}

/* in^d mod n as MODULUS_LEN bytes. */
static void
private_operation(const struct softtpm_light_parts *parts, const BIGNUM *in,
                  uint8_t ret[MODULUS_LEN])
{
    BN_CTX *ctx = BN_CTX_new();
    BIGNUM *residue = BN_new(), *sum = BN_new();

    softtpm_must(ctx != NULL && residue != NULL && sum != NULL, "decrypting");
    for (size_t i = 0; i < FACTORS; i++) {
        const struct light_prime *prime = parts->primes[i];

        softtpm_must(BN_mod(residue, in, prime->p, ctx) == 1 &&
                         BN_mod_exp_mont(residue, residue, prime->d, prime->p, ctx, prime->mont) ==
                             1 &&
                         BN_mul(residue, residue, parts->lift[i], ctx) == 1 &&
                         BN_add(sum, sum, residue) == 1,
                     "decrypting");
    }
    softtpm_must(BN_mod(sum, sum, parts->n, ctx) == 1 &&
                     BN_bn2binpad(sum, ret, (int)MODULUS_LEN) == (int)MODULUS_LEN,
                 "decrypting");
    BN_free(residue);
    BN_free(sum);
    BN_CTX_free(ctx);
}

/* MGF1 (RFC 8017, B.2.1) of seed, added to data. */
static void
mask(const EVP_MD *md, const uint8_t *seed, size_t seed_len, uint8_t *data, size_t len)
{
    const size_t hash_len = (size_t)EVP_MD_get_size(md);
    uint8_t over[MODULUS_LEN + 4], block[EVP_MAX_MD_SIZE];

    memcpy(over, seed, seed_len);
    memset(over + seed_len, 0, 4);
    for (size_t done = 0; done < len; over[seed_len + 3]++) {
        softtpm_must(EVP_Digest(over, seed_len + 4, block, NULL, md, NULL) == 1, "MGF1");
        for (size_t i = 0; i < hash_len && done < len; i++, done++) {
            data[done] ^= block[i];
        }
    }
}

bool
softtpm_light_decrypt(const struct softtpm_light_parts *parts, const EVP_MD *md, const char *label,
                      const uint8_t *in, size_t in_len, uint8_t *ret, size_t seed_len)
{
    const size_t hash_len = (size_t)EVP_MD_get_size(md), db_len = MODULUS_LEN - 1 - hash_len;
    uint8_t em[MODULUS_LEN], label_hash[EVP_MAX_MD_SIZE];
    uint8_t *seed = em + 1, *db = em + 1 + hash_len;
    BIGNUM *c = BN_bin2bn(in, (int)in_len, NULL);
    size_t at = hash_len;

    softtpm_must(c != NULL, "decrypting");
    if (in_len != MODULUS_LEN || BN_cmp(c, parts->n) >= 0) {
        BN_free(c);
        return false;
    }
    private_operation(parts, c, em);
    BN_free(c);
    mask(md, db, db_len, seed, hash_len);
    mask(md, seed, hash_len, db, db_len);
    softtpm_must(EVP_Digest(label, strlen(label) + 1, label_hash, NULL, md, NULL) == 1, "digest");
    while (at < db_len && db[at] == 0) {
        at++;
    }
    if (em[0] != 0 || memcmp(db, label_hash, hash_len) != 0 || at == db_len || db[at] != 1 ||
        db_len - at - 1 != seed_len) {
        return false;
    }
    memcpy(ret, db + at + 1, seed_len);
    return true;
}
