/*
 * X.509 certificates: what one says, and whether a chain leads to a signer that an operator trusts.
 * No root of the system's counts anywhere: trust is what the caller hands over.
 */
#ifndef LK_CRYPTO_X509_H
#define LK_CRYPTO_X509_H

#include "crypto/crypto.h"

#define LK_X509_DER_MAX ((size_t)16384) /* bytes of a certificate */
#define LK_X509_CHAIN_MAX 4u            /* certificates that a peer brings, its own among them */
#define LK_X509_NAME_CAP 512u           /* bytes of a name as text with its NUL */
#define LK_X509_SERIAL_CAP 65u          /* bytes of a serial number as text with its NUL */

struct lk_x509_info {
    char subject[LK_X509_NAME_CAP], issuer[LK_X509_NAME_CAP]; /* RFC 2253, cut if longer */
    char common_name[LK_X509_NAME_CAP];  /* of the subject, UTF-8; "" unless there is exactly one */
    char serial[LK_X509_SERIAL_CAP];     /* upper-case hexadecimal */
    uint8_t sha1[20], sha256[32];        /* thumbprints: hashes of the DER */
    int64_t not_before_ms, not_after_ms; /* Unix */
    int version;                         /* 1, 2 or 3 */
};

/*
 * Read a DER certificate, all of der; nothing is verified. LK_ERR_FORMAT; LK_ERR_UNSUPPORTED for a
 * date or a serial number that does not fit.
 */
LK_MUST_CHECK enum lk_err lk_x509_read(const void *der, size_t der_len, struct lk_x509_info *ret);

/*
 * Append the DER of the one certificate in text, which is PEM, the base64 of DER, or DER itself, as
 * operators' tools bring it. LK_ERR_FORMAT when it holds none or more than one; LK_ERR_LIMIT.
 */
LK_MUST_CHECK enum lk_err lk_x509_from_text(const void *text, size_t len, struct lk_buf *ret);
/* Append the PEM of a DER certificate. LK_ERR_FORMAT. */
LK_MUST_CHECK enum lk_err lk_x509_to_pem(const void *der, size_t der_len, struct lk_buf *ret);

/*
 * Whether a certificate may sign others: basic constraints say that it is an authority, and key
 * usage, if there is one, that it signs certificates.
 */
bool lk_x509_is_ca(const void *der, size_t der_len);

/*
 * Verify that chain[0], a device's own certificate, is signed by one of the anchors, directly or
 * through the others of its chain: signatures, dates at now_ms, basic constraints, path length, key
 * usage, and a strength of 112 bits at least. An anchor may be an intermediate authority; what is
 * above it is not looked at. Anchors of the same name are told apart by their key identifiers only:
 * where there may be none, check against one at a time. An anchor itself as chain[0] is refused: it
 * is a signer, no device.
 *
 * LK_ERR_REFUSED with *ret_why set to a reason code for the operator (static storage);
 * LK_ERR_FORMAT ("chain.malformed"), LK_ERR_CRYPTO, LK_ERR_NOMEM.
 */
LK_MUST_CHECK enum lk_err lk_x509_chain_check(const struct lk_part *chain, size_t chain_count,
                                              const struct lk_part *anchors, size_t anchors_count,
                                              int64_t now_ms, const char **ret_why);

#endif
