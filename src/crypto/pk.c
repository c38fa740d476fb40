/* Public-key operations: RSAES-OAEP to a key given as numbers, and one-pass ECDH. */
#include "crypto/crypto_int.h"

#include <assert.h>
#include <string.h>

#include <openssl/err.h>

#define RSA_MODULUS_MIN 256u /* bytes: RSA-2048 */
#define RSA_MODULUS_MAX 512u /* bytes: RSA-4096 */
#define SCALAR_TRIES 64      /* a draw misses the P-256 order once in 2^32 */

/* XOR the mask that MGF1 (RFC 8017, B.2.1) makes of seed into data. */
static enum lk_err
mgf1_xor(enum lk_hash h, const uint8_t *seed, size_t seed_len, uint8_t *data, size_t len)
{
    uint8_t counter[4] = {0, 0, 0, 0}; /* a 4096-bit modulus needs 15 blocks: the low byte does */
    const struct lk_part parts[] = {LK_PART(seed, seed_len), LK_PART(counter, sizeof(counter))};
    uint8_t block[LK_HASH_MAX];
    enum lk_err err = LK_OK;

    for (size_t done = 0; err == LK_OK && done < len; counter[3]++) {
        err = lk_digest(h, parts, LK_ARRAY_LEN(parts), block);
        for (size_t i = 0; err == LK_OK && i < lk_hash_len(h) && done < len; i++, done++) {
            data[done] ^= block[i];
        }
    }
    lk_wipe(block, sizeof(block));
    return err;
}

/* EME-OAEP encoding (RFC 8017, 7.1.1): em = 00 | masked seed | masked data block. */
static enum lk_err
oaep_encode(enum lk_hash h, const void *label, size_t label_len, const void *in, size_t in_len,
            const struct lk_rand *rnd, uint8_t *em, size_t em_len)
{
    const struct lk_part label_part = LK_PART(label, label_len);
    const size_t hash_len = lk_hash_len(h);
    uint8_t *seed = em + 1, *db = em + 1 + hash_len;
    const size_t db_len = em_len - 1 - hash_len;
    enum lk_err err;

    memset(em, 0, em_len);
    if ((err = lk_digest(h, &label_part, 1, db)) != LK_OK ||
        (err = lk_rand_fill(rnd, seed, hash_len)) != LK_OK) {
        return err;
    }
    db[db_len - in_len - 1] = 1;
    memcpy(db + db_len - in_len, in, in_len);
    if ((err = mgf1_xor(h, seed, hash_len, db, db_len)) != LK_OK) {
        return err;
    }
    return mgf1_xor(h, db, db_len, seed, hash_len);
}

/*
 * m^e mod n in Montgomery form, bit by bit from the top of the public exponent. The last bit is
 * always set, and multiplying by m as it is there, rather than by its Montgomery form, is also the
 * way back out.
 */
static bool
montgomery_power(BIGNUM *r, const BIGNUM *m, uint32_t e, BN_MONT_CTX *mont, BIGNUM *m_mont,
                 BN_CTX *ctx)
{
    if (BN_to_montgomery(m_mont, m, mont, ctx) != 1 || BN_copy(r, m_mont) == NULL) {
        return false;
    }
    for (int bit = 30 - __builtin_clz(e); bit >= 0; bit--) {
        const BIGNUM *factor = bit == 0 ? m : m_mont;

        if (BN_mod_mul_montgomery(r, r, r, mont, ctx) != 1) {
            return false;
        }
        if ((e >> bit & 1) != 0 && BN_mod_mul_montgomery(r, r, factor, mont, ctx) != 1) {
            return false;
        }
    }
    return true;
}

/*
 * The RSA public operation on numbers. Building an EVP_PKEY from them costs more than the
 * operation itself in OpenSSL 3.0, and every device brings its own keys.
 */
static enum lk_err
rsa_public(const uint8_t *modulus, size_t modulus_len, uint32_t exponent, const uint8_t *in,
           uint8_t *ret)
{
    LK_AUTO(bn_ctx) BN_CTX *ctx = BN_CTX_new();
    LK_AUTO(mont_ctx) BN_MONT_CTX *mont = BN_MONT_CTX_new();
    LK_AUTO(bignum) BIGNUM *n = BN_bin2bn(modulus, (int)modulus_len, NULL);
    LK_AUTO(bignum) BIGNUM *m = BN_bin2bn(in, (int)modulus_len, NULL);
    LK_AUTO(bignum) BIGNUM *m_mont = BN_new();
    LK_AUTO(bignum) BIGNUM *r = BN_new();

    if (ctx == NULL || mont == NULL || n == NULL || m == NULL || m_mont == NULL || r == NULL ||
        BN_MONT_CTX_set(mont, n, ctx) != 1 ||
        !montgomery_power(r, m, exponent, mont, m_mont, ctx)) {
        return LK_ERR_CRYPTO;
    }
    return BN_bn2binpad(r, ret, (int)modulus_len) == (int)modulus_len ? LK_OK : LK_ERR_CRYPTO;
}

enum lk_err
lk_rsa_oaep_encrypt(const uint8_t *modulus, size_t modulus_len, uint32_t exponent, enum lk_hash h,
                    const void *label, size_t label_len, const void *in, size_t in_len,
                    const struct lk_rand *rnd, struct lk_buf *ret)
{
    uint8_t em[RSA_MODULUS_MAX], out[RSA_MODULUS_MAX];
    enum lk_err err;

    if (modulus_len < RSA_MODULUS_MIN || modulus_len > RSA_MODULUS_MAX || exponent < 3 ||
        exponent % 2 == 0 || (modulus[0] & 0x80) == 0 || modulus[modulus_len - 1] % 2 == 0 ||
        in_len > modulus_len - 2 * lk_hash_len(h) - 2) {
        return LK_ERR_ARG;
    }
    err = oaep_encode(h, label, label_len, in, in_len, rnd, em, modulus_len);
    if (err == LK_OK) {
        err = rsa_public(modulus, modulus_len, exponent, em, out);
    }
    lk_wipe(em, sizeof(em));
    return err != LK_OK ? err : lk_buf_put(ret, out, modulus_len);
}

size_t
lk_curve_len(enum lk_curve c)
{
    assert(c == LK_P256 || c == LK_P384);
    return c == LK_P256 ? 32 : 48;
}

static const EC_GROUP *
group_of(enum lk_curve c)
{
    const struct lk_algs *a = lk_algs_get();

    assert(c == LK_P256 || c == LK_P384);
    if (a == NULL) {
        return NULL;
    }
    return c == LK_P256 ? a->p256 : a->p384;
}

/* Make a point of coordinates; LK_ERR_FORMAT when they are not reduced or not on the curve. */
static enum lk_err
point_load(const EC_GROUP *group, size_t len, const uint8_t *x, const uint8_t *y, BN_CTX *ctx,
           EC_POINT **ret)
{
    LK_AUTO(ec_point) EC_POINT *point = EC_POINT_new(group);
    LK_AUTO(bignum) BIGNUM *bx = BN_bin2bn(x, (int)len, NULL);
    LK_AUTO(bignum) BIGNUM *by = BN_bin2bn(y, (int)len, NULL);
    const BIGNUM *p = EC_GROUP_get0_field(group);

    if (point == NULL || bx == NULL || by == NULL || p == NULL) {
        return LK_ERR_CRYPTO;
    }
    /* OpenSSL would reduce them; and both curves have cofactor 1, so being on it is enough. */
    if (BN_cmp(bx, p) >= 0 || BN_cmp(by, p) >= 0) {
        return LK_ERR_FORMAT;
    }
    ERR_clear_error();
    if (EC_POINT_set_affine_coordinates(group, point, bx, by, ctx) != 1) {
        return lk_crypto_verdict(LK_ERR_FORMAT);
    }
    *ret = ec_point_take(&point);
    return LK_OK;
}

static enum lk_err
point_store(const EC_GROUP *group, const EC_POINT *point, size_t len, BN_CTX *ctx, uint8_t *ret_x,
            uint8_t *ret_y)
{
    LK_AUTO(bignum) BIGNUM *x = BN_new();
    LK_AUTO(bignum) BIGNUM *y = BN_new();

    if (x == NULL || y == NULL || EC_POINT_get_affine_coordinates(group, point, x, y, ctx) != 1 ||
        BN_bn2binpad(x, ret_x, (int)len) != (int)len ||
        (ret_y != NULL && BN_bn2binpad(y, ret_y, (int)len) != (int)len)) {
        return LK_ERR_CRYPTO;
    }
    return LK_OK;
}

enum lk_err
lk_curve_check(enum lk_curve c, const uint8_t *x, const uint8_t *y)
{
    const EC_GROUP *group = group_of(c);
    LK_AUTO(bn_ctx) BN_CTX *ctx = BN_CTX_new();
    LK_AUTO(ec_point) EC_POINT *point = NULL;

    if (group == NULL || ctx == NULL) {
        return LK_ERR_CRYPTO;
    }
    return point_load(group, lk_curve_len(c), x, y, ctx, &point);
}

/* A private scalar in 1 .. order - 1, by drawing again whenever it falls outside. */
static enum lk_err
scalar_draw(const EC_GROUP *group, size_t len, const struct lk_rand *rnd, BIGNUM *ret)
{
    const BIGNUM *order = EC_GROUP_get0_order(group);
    uint8_t bytes[LK_HASH_MAX];
    enum lk_err err = LK_ERR_CRYPTO;

    for (int i = 0; i < SCALAR_TRIES; i++) {
        if ((err = lk_rand_fill(rnd, bytes, len)) != LK_OK) {
            break;
        }
        if (BN_bin2bn(bytes, (int)len, ret) == NULL) {
            err = LK_ERR_CRYPTO;
            break;
        }
        if (!BN_is_zero(ret) && BN_cmp(ret, order) < 0) {
            break;
        }
        err = LK_ERR_CRYPTO;
    }
    lk_wipe(bytes, sizeof(bytes));
    return err;
}

enum lk_err
lk_ecdh_ephemeral(enum lk_curve c, const uint8_t *peer_x, const uint8_t *peer_y,
                  const struct lk_rand *rnd, uint8_t *ret_x, uint8_t *ret_y, uint8_t *ret_z)
{
    const size_t len = lk_curve_len(c);
    const EC_GROUP *group = group_of(c);
    LK_AUTO(bn_ctx) BN_CTX *ctx = BN_CTX_secure_new();
    LK_AUTO(bignum) BIGNUM *d = BN_secure_new();
    LK_AUTO(ec_point) EC_POINT *peer = NULL;
    LK_AUTO(ec_point) EC_POINT *own = NULL;
    LK_AUTO(ec_point) EC_POINT *shared = NULL;
    enum lk_err err;

    if (group == NULL || ctx == NULL || d == NULL || (own = EC_POINT_new(group)) == NULL ||
        (shared = EC_POINT_new(group)) == NULL) {
        return LK_ERR_CRYPTO;
    }
    BN_set_flags(d, BN_FLG_CONSTTIME);
    if ((err = point_load(group, len, peer_x, peer_y, ctx, &peer)) != LK_OK ||
        (err = scalar_draw(group, len, rnd, d)) != LK_OK) {
        return err;
    }
    if (EC_POINT_mul(group, own, d, NULL, NULL, ctx) != 1 ||
        EC_POINT_mul(group, shared, NULL, peer, d, ctx) != 1) {
        return LK_ERR_CRYPTO;
    }
    if ((err = point_store(group, own, len, ctx, ret_x, ret_y)) != LK_OK) {
        return err;
    }
    return point_store(group, shared, len, ctx, ret_z, NULL);
}
