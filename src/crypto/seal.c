/* Symmetric encryption: the TPM's AES-CFB, and AES-256-GCM for secrets at rest. */
#include "crypto/crypto_int.h"

#include <assert.h>
#include <limits.h>
#include <string.h>

#define SEAL_NONCE_LEN 12u
#define SEAL_TAG_LEN 16u
_Static_assert(SEAL_NONCE_LEN + SEAL_TAG_LEN == LK_SEAL_OVERHEAD, "documented overhead");

/* CFB128 with the zero IV that TPM 2.0 Part 1 prescribes wherever the key is used once. */
static enum lk_err
cfb_run(bool encrypt, const uint8_t *key, unsigned key_bits, const void *in, size_t len,
        uint8_t *ret)
{
    static const uint8_t iv[16];
    const struct lk_algs *a = lk_algs_get();
    LK_AUTO(cipher_ctx) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int out_len = 0;

    assert(key_bits == 128 || key_bits == 256);
    if (len > INT_MAX) {
        return LK_ERR_ARG;
    }
    if (a == NULL || ctx == NULL ||
        EVP_CipherInit_ex2(ctx, key_bits == 128 ? a->aes128_cfb : a->aes256_cfb, key, iv,
                           encrypt ? 1 : 0, NULL) != 1 ||
        EVP_CipherUpdate(ctx, ret, &out_len, in, (int)len) != 1) {
        return LK_ERR_CRYPTO;
    }
    return (size_t)out_len == len ? LK_OK : LK_ERR_CRYPTO;
}

enum lk_err
lk_aes_cfb_encrypt(const uint8_t *key, unsigned key_bits, const void *in, size_t len, uint8_t *ret)
{
    return cfb_run(true, key, key_bits, in, len, ret);
}

enum lk_err
lk_aes_cfb_decrypt(const uint8_t *key, unsigned key_bits, const void *in, size_t len, uint8_t *ret)
{
    return cfb_run(false, key, key_bits, in, len, ret);
}

/* Set up GCM with the additional data taken in. */
static bool
gcm_begin(EVP_CIPHER_CTX *ctx, bool encrypt, const uint8_t *key, const uint8_t *nonce,
          const void *ad, size_t ad_len)
{
    const struct lk_algs *a = lk_algs_get();
    int len = 0;

    return a != NULL && ctx != NULL &&
           EVP_CipherInit_ex2(ctx, a->aes256_gcm, key, nonce, encrypt ? 1 : 0, NULL) == 1 &&
           (ad_len == 0 || EVP_CipherUpdate(ctx, NULL, &len, ad, (int)ad_len) == 1);
}

/* Encrypt into ret, which has room for nonce, ciphertext and tag. */
static enum lk_err
gcm_encrypt(const uint8_t *key, const void *ad, size_t ad_len, const void *in, size_t in_len,
            const struct lk_rand *rnd, uint8_t *ret)
{
    LK_AUTO(cipher_ctx) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t *text = ret + SEAL_NONCE_LEN;
    int len = 0, tail = 0;
    enum lk_err err;

    if ((err = lk_rand_fill(rnd, ret, SEAL_NONCE_LEN)) != LK_OK) {
        return err;
    }
    if (!gcm_begin(ctx, true, key, ret, ad, ad_len) ||
        (in_len > 0 && EVP_CipherUpdate(ctx, text, &len, in, (int)in_len) != 1) ||
        EVP_CipherFinal_ex(ctx, text + in_len, &tail) != 1 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, SEAL_TAG_LEN, text + in_len) != 1) {
        return LK_ERR_CRYPTO;
    }
    return LK_OK;
}

enum lk_err
lk_seal(const uint8_t key[LK_SEAL_KEY_LEN], const void *ad, size_t ad_len, const void *in,
        size_t in_len, const struct lk_rand *rnd, struct lk_buf *ret)
{
    LK_AUTO_BUF struct lk_buf out = LK_BUF_INIT;
    uint8_t *room;
    enum lk_err err;

    if (in_len > INT_MAX - LK_SEAL_OVERHEAD || ad_len > INT_MAX) {
        return LK_ERR_ARG;
    }
    if ((room = lk_buf_extend(&out, in_len + LK_SEAL_OVERHEAD)) == NULL) {
        return LK_ERR_NOMEM;
    }
    if ((err = gcm_encrypt(key, ad, ad_len, in, in_len, rnd, room)) != LK_OK) {
        return err;
    }
    return lk_buf_put(ret, out.data, out.len);
}

static enum lk_err
gcm_decrypt(const uint8_t *key, const void *ad, size_t ad_len, const uint8_t *nonce,
            const uint8_t *text, size_t text_len, const uint8_t *tag, uint8_t *ret)
{
    LK_AUTO(cipher_ctx) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t expected[SEAL_TAG_LEN];
    int len = 0, tail = 0;

    memcpy(expected, tag, sizeof(expected)); /* the control call wants it writable */
    if (!gcm_begin(ctx, false, key, nonce, ad, ad_len) ||
        (text_len > 0 && EVP_CipherUpdate(ctx, ret, &len, text, (int)text_len) != 1) ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, SEAL_TAG_LEN, expected) != 1) {
        return LK_ERR_CRYPTO;
    }
    return EVP_CipherFinal_ex(ctx, expected, &tail) == 1 ? LK_OK : LK_ERR_REFUSED;
}

enum lk_err
lk_unseal(const uint8_t key[LK_SEAL_KEY_LEN], const void *ad, size_t ad_len, const void *in,
          size_t in_len, struct lk_buf *ret)
{
    LK_AUTO_BUF struct lk_buf out = LK_BUF_INIT;
    struct lk_reader r = lk_reader_of(in, in_len);
    const uint8_t *nonce, *text, *tag;
    size_t text_len;
    uint8_t *room;
    enum lk_err err;

    if (in_len < LK_SEAL_OVERHEAD) {
        return LK_ERR_REFUSED;
    }
    if (in_len > INT_MAX || ad_len > INT_MAX) {
        return LK_ERR_ARG;
    }
    text_len = in_len - LK_SEAL_OVERHEAD;
    if (lk_read_bytes(&r, SEAL_NONCE_LEN, &nonce) != LK_OK ||
        lk_read_bytes(&r, text_len, &text) != LK_OK ||
        lk_read_bytes(&r, SEAL_TAG_LEN, &tag) != LK_OK) {
        return LK_ERR_REFUSED;
    }
    /* One byte more than needed, so that an empty text has memory too. */
    if ((room = lk_buf_extend(&out, text_len + 1)) == NULL) {
        return LK_ERR_NOMEM;
    }
    if ((err = gcm_decrypt(key, ad, ad_len, nonce, text, text_len, tag, room)) != LK_OK) {
        return err;
    }
    return lk_buf_put(ret, out.data, text_len);
}
