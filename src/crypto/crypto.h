/*
 * Cryptography. This folder is the only one that includes OpenSSL headers; everything above sees
 * plain bytes and the opaque types below. Algorithms are fetched once per process and kept. Every
 * function may be called from any thread; none keeps a secret after it returns.
 */
#ifndef LK_CRYPTO_CRYPTO_H
#define LK_CRYPTO_CRYPTO_H

#include "base/buf.h"

/* Fetch algorithms. Call once before anything else in the program; LK_ERR_CRYPTO. Idempotent. */
LK_MUST_CHECK enum lk_err lk_crypto_init(void);

/* ---- Randomness, a parameter -------------------------------------------------------------------
 */

struct lk_rand {
    enum lk_err (*fill)(void *ctx, void *buf, size_t len);
    void *ctx;
};

/* The operating system's generator. Static storage, any thread. */
extern const struct lk_rand lk_rand_system;

LK_MUST_CHECK enum lk_err lk_rand_fill(const struct lk_rand *r, void *buf, size_t len);

/* ---- Hashes and MACs ----------------------------------------------------------------------------
 */

enum lk_hash { LK_SHA256 = 1, LK_SHA384 = 2 };
#define LK_HASH_MAX 48u /* bytes of the longest digest */

size_t lk_hash_len(enum lk_hash h); /* bytes */

/* One piece of a message that is hashed as if it were contiguous. */
struct lk_part {
    const void *data;
    size_t len;
};
#define LK_PART(p, n)                                                                              \
    (struct lk_part)                                                                               \
    {                                                                                              \
        (p), (n)                                                                                   \
    }

/* ret holds lk_hash_len(h) bytes. */
LK_MUST_CHECK enum lk_err lk_digest(enum lk_hash h, const struct lk_part *parts, size_t parts_count,
                                    uint8_t *ret);
LK_MUST_CHECK enum lk_err lk_hmac(enum lk_hash h, const void *key, size_t key_len,
                                  const struct lk_part *parts, size_t parts_count, uint8_t *ret);

/* A digest of what comes in pieces. One thread at a time. */
struct lk_digester;
LK_MUST_CHECK enum lk_err lk_digester_new(enum lk_hash h, struct lk_digester **ret);
LK_MUST_CHECK enum lk_err lk_digester_put(struct lk_digester *d, const void *data, size_t len);
/* Once, as the last call but for the free. */
LK_MUST_CHECK enum lk_err lk_digester_end(struct lk_digester *d, uint8_t *ret);
void lk_digester_free(struct lk_digester *d); /* NULL is allowed */
LK_DEFINE_AUTO(struct lk_digester, lk_digester, lk_digester_free);

/* Equality in time that does not depend on the content. */
bool lk_ct_equal(const void *a, const void *b, size_t len);

/* HKDF-SHA256 (RFC 5869) with an empty salt. */
LK_MUST_CHECK enum lk_err lk_hkdf(const void *key, size_t key_len, const char *info, uint8_t *ret,
                                  size_t ret_len);

/* ---- TPM 2.0 Part 1: key derivation and protection --------------------------------------------
 */

/* KDFa (TPM 2.0 Part 1, 11.4.10.2): label without its NUL, which is added. ret_bits is a multiple
 * of 8. */
LK_MUST_CHECK enum lk_err lk_kdfa(enum lk_hash h, const void *key, size_t key_len,
                                  const char *label, struct lk_part context_u,
                                  struct lk_part context_v, uint8_t *ret, size_t ret_bits);

/* KDFe (Part 1, 11.4.10.3) over the shared x coordinate z and both parties' x coordinates. */
LK_MUST_CHECK enum lk_err lk_kdfe(enum lk_hash h, struct lk_part z, const char *label,
                                  struct lk_part party_u, struct lk_part party_v, uint8_t *ret,
                                  size_t ret_bits);

/* AES-CFB128, zero IV. key_bits 128 or 256. in and ret may be the same memory. */
LK_MUST_CHECK enum lk_err lk_aes_cfb_encrypt(const uint8_t *key, unsigned key_bits, const void *in,
                                             size_t len, uint8_t *ret);
LK_MUST_CHECK enum lk_err lk_aes_cfb_decrypt(const uint8_t *key, unsigned key_bits, const void *in,
                                             size_t len, uint8_t *ret);

enum lk_curve { LK_P256 = 1, LK_P384 = 2 };
size_t lk_curve_len(enum lk_curve c); /* bytes of one coordinate */

/* LK_OK when (x, y), big-endian, lk_curve_len() bytes each, is a point of the curve; else
 * LK_ERR_FORMAT. */
LK_MUST_CHECK enum lk_err lk_curve_check(enum lk_curve c, const uint8_t *x, const uint8_t *y);

/*
 * RSAES-OAEP encrypt with hash and MGF1 h; label_len counts the label's NUL where the protocol has
 * one. modulus is big-endian without leading zeros. Draws one seed of lk_hash_len(h) bytes from rnd
 * and appends modulus_len bytes to ret, which is unchanged on failure.
 *
 *   LK_ERR_ARG  not an odd modulus of 2048 to 4096 bits with its top bit set, an exponent that is
 *               even or below 3, or in is too long
 *   LK_ERR_CRYPTO, LK_ERR_NOMEM, LK_ERR_LIMIT, and what rnd says
 */
LK_MUST_CHECK enum lk_err lk_rsa_oaep_encrypt(const uint8_t *modulus, size_t modulus_len,
                                              uint32_t exponent, enum lk_hash h, const void *label,
                                              size_t label_len, const void *in, size_t in_len,
                                              const struct lk_rand *rnd, struct lk_buf *ret);

/*
 * One-pass ECDH with a fresh key on the peer's curve: ret_x, ret_y are the ephemeral point, ret_z
 * the shared x coordinate (secret; the caller wipes it), lk_curve_len() bytes each. Draws a private
 * scalar of that length from rnd, again while it is 0 or not below the order. LK_ERR_FORMAT when
 * the peer's point is not on the curve; LK_ERR_CRYPTO, and what rnd says.
 */
LK_MUST_CHECK enum lk_err lk_ecdh_ephemeral(enum lk_curve c, const uint8_t *peer_x,
                                            const uint8_t *peer_y, const struct lk_rand *rnd,
                                            uint8_t *ret_x, uint8_t *ret_y, uint8_t *ret_z);

/* ---- Secrets at rest --------------------------------------------------------------------------
 */

#define LK_SEAL_KEY_LEN 32u
#define LK_SEAL_OVERHEAD 28u /* 12 bytes nonce, 16 bytes tag */

/* AES-256-GCM with a random nonce; ad binds the ciphertext to its place. Appends
 * nonce|ciphertext|tag. */
LK_MUST_CHECK enum lk_err lk_seal(const uint8_t key[LK_SEAL_KEY_LEN], const void *ad, size_t ad_len,
                                  const void *in, size_t in_len, const struct lk_rand *rnd,
                                  struct lk_buf *ret);
/* The reverse; LK_ERR_REFUSED when key, ad or bytes are not the ones that were sealed. */
LK_MUST_CHECK enum lk_err lk_unseal(const uint8_t key[LK_SEAL_KEY_LEN], const void *ad,
                                    size_t ad_len, const void *in, size_t in_len,
                                    struct lk_buf *ret);

#endif
