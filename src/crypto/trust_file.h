/* Files of certificates and revocation lists that an operator brings: PEM with one or more, or one
 * in DER. */
#ifndef LK_CRYPTO_TRUST_FILE_H
#define LK_CRYPTO_TRUST_FILE_H

#include "base/buf.h"

#define LK_TRUST_FILE_MAX ((size_t)8 * 1024 * 1024) /* bytes of a file */
#define LK_TRUST_FILE_ITEMS_MAX 256u                /* in one file */
#define LK_TRUST_REASON_CAP 128u

struct lk_trust_item {
    bool is_crl;
    bool is_ca;         /* a certificate that may certify others */
    const uint8_t *der; /* borrowed */
    size_t der_len;
    uint8_t sha256[32];   /* of der */
    char name[256];       /* subject, of a list the issuer: RFC 2253, printable ASCII, cut */
    int64_t until_unix_s; /* when it is out of date; 0: a list that does not say */
};

/*
 * Calls each for every certificate and list in data, in order, until it returns other than LK_OK,
 * which is then returned. Nothing is verified. reason says what is wrong with LK_ERR_FORMAT (an
 * unreadable item, or of another kind, such as a private key) and LK_ERR_LIMIT; items before it
 * have been given out by then.
 */
LK_MUST_CHECK enum lk_err
lk_trust_file_read(const void *data, size_t len, char reason[LK_TRUST_REASON_CAP],
                   enum lk_err (*each)(void *ctx, const struct lk_trust_item *item), void *ctx);

#endif
