/*
 * Detached CMS (PKCS#7) signatures over files, as `openssl cms -sign -binary -outform DER` makes
 * them: who vouches for a manifest.
 *
 * What is accepted:
 *   - SignedData over plain data, detached, DER or PEM, with exactly one signer who signed
 *     attributes (an RFC 5652 signature without them can be taken for one over something else);
 *   - a digest of SHA-256, SHA-384 or SHA-512, and keys and digests of 112 bits of security at
 *     least, in the whole chain;
 *   - a signer who is one of the trusted certificates, or whose chain leads to one. A trusted
 *     certificate ends the chain, whether it is self-signed or not. The system's own roots count
 *     for nothing;
 *   - every certificate of the chain in date now, since a time inside the signature is the signer's
 *     own word, and not on a revocation list that is given; a list that is out of date refuses;
 *   - a key usage of the signer, if there is one, with digitalSignature; an extended key usage, if
 *     there is one and the signer is not trusted for itself, with one of emailProtection,
 *     codeSigning, documentSigning and anyExtendedKeyUsage: a TLS certificate of the same
 *     authority signs no manifest.
 */
#ifndef LK_CRYPTO_CMS_H
#define LK_CRYPTO_CMS_H

#include "crypto/crypto.h"

#define LK_CMS_SIGNATURE_MAX ((size_t)65536) /* bytes of a signature with its certificates */
#define LK_CMS_CERTS_MAX 16                  /* certificates inside a signature */
#define LK_CMS_REASON_CAP 512u

/* The bytes that are signed. *ret_len 0 is the end; called again only after it gave something. */
struct lk_cms_content {
    enum lk_err (*read)(void *ctx, void *buf, size_t cap, size_t *ret_len);
    void *ctx;
};

/* Whom to believe. All are DER, borrowed for the call. */
struct lk_cms_trust {
    const struct lk_part *certs; /* trusted to sign, or to certify those who sign */
    size_t certs_count;
    const struct lk_part *crls; /* revocation lists; without one an issuer has revoked nothing */
    size_t crls_count;
    int64_t now_unix_s;
};

struct lk_cms_signer {
    char subject[256];          /* RFC 2253, printable ASCII; cut if longer */
    uint8_t cert_sha256[32];    /* of the certificate's DER */
    uint8_t content_sha256[32]; /* of the bytes that were verified */
};

/*
 * Verify signature over what content gives, in memory that does not depend on the content's size.
 * The content is read only when the signer is trusted; then it is read to its end. *ret is set on
 * success. reason is "" or says in printable ASCII why not:
 *
 *   LK_ERR_FORMAT       no signature
 *   LK_ERR_LIMIT        larger than the limits above
 *   LK_ERR_UNSUPPORTED  a kind of CMS that is not accepted
 *   LK_ERR_REFUSED      the signer is not trusted, or the signature is not one over this content
 *   LK_ERR_CONFIG       a trusted certificate or list cannot be read
 *   LK_ERR_NOMEM, LK_ERR_CRYPTO, and what content says
 */
LK_MUST_CHECK enum lk_err lk_cms_verify(const void *signature, size_t signature_len,
                                        const struct lk_cms_trust *trust,
                                        const struct lk_cms_content *content,
                                        char reason[LK_CMS_REASON_CAP], struct lk_cms_signer *ret);

#endif
