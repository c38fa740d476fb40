/* What the files of crypto/ share: the fetched algorithms and guards for OpenSSL's handles. */
#ifndef LK_CRYPTO_INT_H
#define LK_CRYPTO_INT_H

#include "crypto/crypto.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>

/* Read-only after the fetch, so every thread may use them. Owned by the process until it ends. */
struct lk_algs {
    EVP_MD *sha256;
    EVP_MD *sha384;
    EVP_CIPHER *aes128_cfb;
    EVP_CIPHER *aes256_cfb;
    EVP_CIPHER *aes256_gcm;
    EC_GROUP *p256;
    EC_GROUP *p384;
};

/* Fetches on the first call; NULL when the library could not provide one of them. */
const struct lk_algs *lk_algs_get(void);

/*
 * After a call of OpenSSL's that judges what a peer sent has failed: LK_ERR_NOMEM when it was for
 * want of memory, else verdict. Empties this thread's queue of errors, which would mislead its next
 * TLS call; it has to be empty before.
 */
enum lk_err lk_crypto_verdict(enum lk_err verdict);

/* The *_free functions of these also wipe: a context holds keys and message blocks. */
LK_DEFINE_AUTO(EVP_MD_CTX, md_ctx, EVP_MD_CTX_free);
LK_DEFINE_AUTO(EVP_CIPHER_CTX, cipher_ctx, EVP_CIPHER_CTX_free);
LK_DEFINE_AUTO(BN_CTX, bn_ctx, BN_CTX_free);
LK_DEFINE_AUTO(BN_MONT_CTX, mont_ctx, BN_MONT_CTX_free);
LK_DEFINE_AUTO(BIGNUM, bignum, BN_clear_free);
LK_DEFINE_AUTO(EC_POINT, ec_point, EC_POINT_clear_free);

#endif
