/* Reading an X.509 certificate: only what an endorsement key's certificate is compared by. */
#ifndef LK_CRYPTO_CERT_H
#define LK_CRYPTO_CERT_H

#include "base/buf.h"

enum lk_cert_alg {
    LK_CERT_OTHER, /* a public key of another kind, or one that OpenSSL does not read */
    LK_CERT_RSA,
    LK_CERT_EC
};

struct lk_cert_info {
    size_t der_len; /* bytes of the certificate itself; NV indices may be padded behind it */
    enum lk_cert_alg alg;
    uint8_t x[512], y[66]; /* RSA: modulus in x; EC: the point; big-endian, no leading zeros */
    size_t x_len, y_len;
    char issuer[256]; /* one line in RFC 2253 form, cut if longer; "" when unreadable */
};

/*
 * Read the DER certificate at the start of data; nothing is verified. LK_ERR_FORMAT when there is
 * none, LK_ERR_UNSUPPORTED when its key is larger than the fields above.
 */
LK_MUST_CHECK enum lk_err lk_cert_read(const void *data, size_t len, struct lk_cert_info *ret);

#endif
