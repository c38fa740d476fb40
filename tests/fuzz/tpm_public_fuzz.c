/*
 * Public areas as devices send them: judged in both roles, and what passes is wrapped for, so that
 * a modulus or point of anybody's making goes through the arithmetic too.
 */
#include <stdlib.h>
#include <string.h>

#include "attest/attest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Bytes that are the same in each run, so that a crash repeats; small enough to be scalars. */
static enum lk_err
counting_fill(void *ctx, void *buf, size_t len)
{
    uint8_t *next = ctx, *bytes = buf;

    for (size_t i = 0; i < len; i++) {
        bytes[i] = (*next)++ & 0x7f;
    }
    return LK_OK;
}

static void
check(bool holds)
{
    if (!holds) {
        abort();
    }
}

/* What every accepted key has, whatever it was made of. */
static void
expect_sound(const struct lk_tpm_key *key)
{
    check(key->bits == 8 * key->x_len);
    check(key->name_len == 2 + lk_hash_len(key->name_alg));
    check(key->sym_bits == 128 || key->sym_bits == 256);
    if (key->alg == LK_KEY_ECC) {
        check(key->y_len == key->x_len && key->x_len == lk_curve_len(key->curve));
        check(lk_curve_check(key->curve, key->x, key->y) == LK_OK);
        return;
    }
    check(key->alg == LK_KEY_RSA && key->exponent == 65537 && key->y_len == 0);
    check((key->x[0] & 0x80) != 0 && key->x[key->x_len - 1] % 2 == 1);
}

static void
wrap_for(const struct lk_tpm_key *key)
{
    static const uint8_t hmac_key[32] = {1};
    LK_AUTO_BUF struct lk_buf blob = LK_BUF_INIT;
    uint8_t next = 1;
    const struct lk_rand rnd = {counting_fill, &next};

    check(lk_auth_key_wrap(key, key, hmac_key, sizeof(hmac_key), "u", &rnd, &blob) == LK_OK);
    check(lk_tpm_pair_check(key, key, NULL) == LK_ERR_REFUSED);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum lk_key_role roles[] = {LK_ROLE_EK, LK_ROLE_SRK};

    for (size_t i = 0; i < LK_ARRAY_LEN(roles); i++) {
        const char *why = NULL;
        struct lk_tpm_key key;

        if (lk_tpm_key_parse(roles[i], data, size, &why, &key) != LK_OK) {
            check(why != NULL && strncmp(why, i == 0 ? "ek." : "srk.", i == 0 ? 3 : 4) == 0);
            continue;
        }
        expect_sound(&key);
        wrap_for(&key);
    }
    return 0;
}
