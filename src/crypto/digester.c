/* A digest of what comes in pieces. */
#include <stdlib.h>

#include "crypto/crypto_int.h"

struct lk_digester {
    EVP_MD_CTX *ctx;
};

void
lk_digester_free(struct lk_digester *d)
{
    if (d != NULL) {
        EVP_MD_CTX_free(d->ctx);
        free(d);
    }
}

enum lk_err
lk_digester_new(enum lk_hash h, struct lk_digester **ret)
{
    const struct lk_algs *algs = lk_algs_get();
    LK_AUTO(lk_digester) struct lk_digester *d = calloc(1, sizeof(*d));

    if (d == NULL || (d->ctx = EVP_MD_CTX_new()) == NULL) {
        return LK_ERR_NOMEM;
    }
    if (algs == NULL ||
        EVP_DigestInit_ex(d->ctx, h == LK_SHA384 ? algs->sha384 : algs->sha256, NULL) != 1) {
        return LK_ERR_CRYPTO;
    }
    *ret = lk_digester_take(&d);
    return LK_OK;
}

enum lk_err
lk_digester_put(struct lk_digester *d, const void *data, size_t len)
{
    return EVP_DigestUpdate(d->ctx, data, len) == 1 ? LK_OK : LK_ERR_CRYPTO;
}

enum lk_err
lk_digester_end(struct lk_digester *d, uint8_t *ret)
{
    return EVP_DigestFinal_ex(d->ctx, ret, NULL) == 1 ? LK_OK : LK_ERR_CRYPTO;
}
