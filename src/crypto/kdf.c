/* Key derivation: HKDF, and KDFa and KDFe of TPM 2.0 Part 1. */
#include "crypto/crypto.h"

#include <string.h>

#define HKDF_LEN_MAX (255u * 32u) /* bytes; RFC 5869, section 2.3 */

static void
be32_put(uint8_t ret[4], uint32_t v)
{
    ret[0] = (uint8_t)(v >> 24);
    ret[1] = (uint8_t)(v >> 16);
    ret[2] = (uint8_t)(v >> 8);
    ret[3] = (uint8_t)v;
}

enum lk_err
lk_hkdf(const void *key, size_t key_len, const char *info, uint8_t *ret, size_t ret_len)
{
    static const uint8_t salt[32]; /* "not provided" means zeros of the digest's length */
    const struct lk_part ikm = LK_PART(key, key_len);
    uint8_t prk[LK_HASH_MAX], block[LK_HASH_MAX];
    size_t block_len = 0;
    uint8_t counter = 1;
    enum lk_err err;

    if (ret_len > HKDF_LEN_MAX) {
        return LK_ERR_ARG;
    }
    err = lk_hmac(LK_SHA256, salt, sizeof(salt), &ikm, 1, prk);
    for (size_t done = 0; err == LK_OK && done < ret_len; done += block_len, counter++) {
        const struct lk_part parts[] = {LK_PART(block, block_len), LK_PART(info, strlen(info)),
                                        LK_PART(&counter, 1)};

        err = lk_hmac(LK_SHA256, prk, 32, parts, LK_ARRAY_LEN(parts), block);
        block_len = ret_len - done < 32 ? ret_len - done : 32;
        if (err == LK_OK) {
            memcpy(ret + done, block, block_len);
        }
    }
    lk_wipe(prk, sizeof(prk));
    lk_wipe(block, sizeof(block));
    return err;
}

enum lk_err
lk_kdfa(enum lk_hash h, const void *key, size_t key_len, const char *label,
        struct lk_part context_u, struct lk_part context_v, uint8_t *ret, size_t ret_bits)
{
    uint8_t counter[4], bits[4], block[LK_HASH_MAX];
    const struct lk_part parts[] = {LK_PART(counter, 4), LK_PART(label, strlen(label) + 1),
                                    context_u, context_v, LK_PART(bits, 4)};
    size_t len = ret_bits / 8, step = 0;
    enum lk_err err = LK_OK;

    if (ret_bits == 0 || ret_bits % 8 != 0 || ret_bits > UINT32_MAX) {
        return LK_ERR_ARG;
    }
    be32_put(bits, (uint32_t)ret_bits);
    for (size_t done = 0, i = 1; err == LK_OK && done < len; done += step, i++) {
        be32_put(counter, (uint32_t)i);
        err = lk_hmac(h, key, key_len, parts, LK_ARRAY_LEN(parts), block);
        step = len - done < lk_hash_len(h) ? len - done : lk_hash_len(h);
        if (err == LK_OK) {
            memcpy(ret + done, block, step);
        }
    }
    lk_wipe(block, sizeof(block));
    return err;
}

enum lk_err
lk_kdfe(enum lk_hash h, struct lk_part z, const char *label, struct lk_part party_u,
        struct lk_part party_v, uint8_t *ret, size_t ret_bits)
{
    uint8_t counter[4], block[LK_HASH_MAX];
    const struct lk_part parts[] = {LK_PART(counter, 4), z, LK_PART(label, strlen(label) + 1),
                                    party_u, party_v};
    size_t len = ret_bits / 8, step = 0;
    enum lk_err err = LK_OK;

    if (ret_bits == 0 || ret_bits % 8 != 0 || ret_bits > UINT32_MAX) {
        return LK_ERR_ARG;
    }
    for (size_t done = 0, i = 1; err == LK_OK && done < len; done += step, i++) {
        be32_put(counter, (uint32_t)i);
        err = lk_digest(h, parts, LK_ARRAY_LEN(parts), block);
        step = len - done < lk_hash_len(h) ? len - done : lk_hash_len(h);
        if (err == LK_OK) {
            memcpy(ret + done, block, step);
        }
    }
    lk_wipe(block, sizeof(block));
    return err;
}
