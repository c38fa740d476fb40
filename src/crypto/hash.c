/* Fetched algorithms, randomness, digests and HMAC. */
#include "crypto/crypto_int.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/random.h>

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/obj_mac.h>

#define HASH_BLOCK_MAX 128u /* bytes of SHA-384's input block */

static struct lk_algs algs;
static bool algs_complete;
static pthread_once_t algs_once = PTHREAD_ONCE_INIT;

static void
algs_fetch(void)
{
    algs.sha256 = EVP_MD_fetch(NULL, "SHA2-256", NULL);
    algs.sha384 = EVP_MD_fetch(NULL, "SHA2-384", NULL);
    algs.aes128_cfb = EVP_CIPHER_fetch(NULL, "AES-128-CFB", NULL);
    algs.aes256_cfb = EVP_CIPHER_fetch(NULL, "AES-256-CFB", NULL);
    algs.aes256_gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    algs.p256 = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    algs.p384 = EC_GROUP_new_by_curve_name(NID_secp384r1);
    algs_complete = algs.sha256 != NULL && algs.sha384 != NULL && algs.aes128_cfb != NULL &&
                    algs.aes256_cfb != NULL && algs.aes256_gcm != NULL && algs.p256 != NULL &&
                    algs.p384 != NULL;
}

enum lk_err
lk_crypto_verdict(enum lk_err verdict)
{
    unsigned long code;

    while ((code = ERR_get_error()) != 0) {
        if (ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE) {
            verdict = LK_ERR_NOMEM;
        }
    }
    return verdict;
}

const struct lk_algs *
lk_algs_get(void)
{
    if (pthread_once(&algs_once, algs_fetch) != 0 || !algs_complete) {
        return NULL;
    }
    return &algs;
}

enum lk_err
lk_crypto_init(void)
{
    return lk_algs_get() != NULL ? LK_OK : LK_ERR_CRYPTO;
}

/*
 * Straight from the kernel: half of what OpenSSL's generator on top of it costs for the few bytes
 * that are wanted at a time, and a machine that is cloned while it runs does not repeat itself.
 */
static enum lk_err
system_fill(void *ctx, void *buf, size_t len)
{
    uint8_t *at = buf;

    while (len > 0) {
        ssize_t n = getrandom(at, len, 0);

        if (n < 0 && errno != EINTR) {
            return LK_ERR_CRYPTO;
        }
        if (n > 0) {
            at += n;
            len -= (size_t)n;
        }
    }
    return LK_OK;
}

const struct lk_rand lk_rand_system = {system_fill, NULL};

enum lk_err
lk_rand_fill(const struct lk_rand *r, void *buf, size_t len)
{
    return r->fill(r->ctx, buf, len);
}

size_t
lk_hash_len(enum lk_hash h)
{
    assert(h == LK_SHA256 || h == LK_SHA384);
    return h == LK_SHA256 ? 32 : 48;
}

static size_t
hash_block_len(enum lk_hash h)
{
    return h == LK_SHA256 ? 64 : 128;
}

/* One digest over prefix and parts in a context that is kept for the next one. */
static enum lk_err
digest_run(EVP_MD_CTX *ctx, const EVP_MD *md, struct lk_part prefix, const struct lk_part *parts,
           size_t parts_count, uint8_t *ret)
{
    if (EVP_DigestInit_ex2(ctx, md, NULL) != 1 ||
        EVP_DigestUpdate(ctx, prefix.data, prefix.len) != 1) {
        return LK_ERR_CRYPTO;
    }
    for (size_t i = 0; i < parts_count; i++) {
        if (EVP_DigestUpdate(ctx, parts[i].data, parts[i].len) != 1) {
            return LK_ERR_CRYPTO;
        }
    }
    return EVP_DigestFinal_ex(ctx, ret, NULL) == 1 ? LK_OK : LK_ERR_CRYPTO;
}

static const EVP_MD *
md_of(enum lk_hash h)
{
    const struct lk_algs *a = lk_algs_get();

    assert(h == LK_SHA256 || h == LK_SHA384);
    if (a == NULL) {
        return NULL;
    }
    return h == LK_SHA256 ? a->sha256 : a->sha384;
}

enum lk_err
lk_digest(enum lk_hash h, const struct lk_part *parts, size_t parts_count, uint8_t *ret)
{
    const EVP_MD *md = md_of(h);
    LK_AUTO(md_ctx) EVP_MD_CTX *ctx = md != NULL ? EVP_MD_CTX_new() : NULL;

    if (ctx == NULL) {
        return LK_ERR_CRYPTO;
    }
    return digest_run(ctx, md, LK_PART(NULL, 0), parts, parts_count, ret);
}

/* The key filled up to a block, or its digest when it is longer (RFC 2104, section 2). */
static enum lk_err
hmac_key_block(EVP_MD_CTX *ctx, const EVP_MD *md, size_t block_len, const void *key, size_t key_len,
               uint8_t block[HASH_BLOCK_MAX])
{
    memset(block, 0, HASH_BLOCK_MAX);
    if (key_len > block_len) {
        return digest_run(ctx, md, LK_PART(key, key_len), NULL, 0, block);
    }
    if (key_len > 0) {
        memcpy(block, key, key_len);
    }
    return LK_OK;
}

static void
block_xor(uint8_t block[HASH_BLOCK_MAX], uint8_t with)
{
    for (size_t i = 0; i < HASH_BLOCK_MAX; i++) {
        block[i] ^= with;
    }
}

/*
 * HMAC (RFC 2104) straight over the digest: EVP_MAC costs three times as much for the short
 * messages here, mostly in parameters and in its second and third digest context.
 */
enum lk_err
lk_hmac(enum lk_hash h, const void *key, size_t key_len, const struct lk_part *parts,
        size_t parts_count, uint8_t *ret)
{
    const EVP_MD *md = md_of(h);
    LK_AUTO(md_ctx) EVP_MD_CTX *ctx = md != NULL ? EVP_MD_CTX_new() : NULL;
    size_t block_len = hash_block_len(h);
    uint8_t block[HASH_BLOCK_MAX];
    uint8_t inner[LK_HASH_MAX];
    struct lk_part inner_part = LK_PART(inner, lk_hash_len(h));
    enum lk_err err;

    if (ctx == NULL) {
        return LK_ERR_CRYPTO;
    }
    if ((err = hmac_key_block(ctx, md, block_len, key, key_len, block)) == LK_OK) {
        block_xor(block, 0x36);
        err = digest_run(ctx, md, LK_PART(block, block_len), parts, parts_count, inner);
    }
    if (err == LK_OK) {
        block_xor(block, 0x36 ^ 0x5c);
        err = digest_run(ctx, md, LK_PART(block, block_len), &inner_part, 1, ret);
    }
    lk_wipe(block, sizeof(block));
    lk_wipe(inner, sizeof(inner));
    return err;
}

bool
lk_ct_equal(const void *a, const void *b, size_t len)
{
    return CRYPTO_memcmp(a, b, len) == 0;
}
