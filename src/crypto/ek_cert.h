/*
 * Certificates of endorsement keys (TCG EK Credential Profile), as the chips carry them, and the
 * certificates and revocation lists that an operator trusts to vouch for them. No store of the
 * system is asked, ever.
 *
 * Reasons are static codes for the operator's log, "ek_cert." and a word.
 */
#ifndef LK_CRYPTO_EK_CERT_H
#define LK_CRYPTO_EK_CERT_H

#include "crypto/crypto.h"

#define LK_EK_CERT_MAX ((size_t)8192) /* bytes with padding; real ones have 800 to 1,700 */
#define LK_EK_CHAIN_MAX 4u            /* certificates that a device brings besides its own */
#define LK_EK_DEPTH_MAX 6             /* certificates between an EK's and a root */
#define LK_EK_NAME_CAP 256u           /* bytes of an issuer with its NUL */
#define LK_EK_ATTRIBUTE_CAP 64u       /* bytes of a TCG attribute with its NUL */
#define LK_EK_FINGERPRINT_LEN 32u     /* SHA-256 of a certificate's DER */

struct lk_ek_cert;
struct lk_ek_trust;

enum lk_ek_cert_alg { LK_EK_CERT_RSA = 1, LK_EK_CERT_ECC };

/* What a certificate says. Of an attribute that is absent, too long or not printable ASCII: "". */
struct lk_ek_cert_facts {
    enum lk_ek_cert_alg alg;
    unsigned bits;         /* RSA: of the modulus */
    uint32_t exponent;     /* RSA */
    enum lk_curve curve;   /* ECC */
    uint8_t x[512], y[48]; /* RSA: modulus in x; ECC: the point, coordinates in full length */
    size_t x_len, y_len;
    char issuer[LK_EK_NAME_CAP]; /* RFC 2253, ASCII; "" when it does not fit */
    /* TCG attributes of the subject's alternative name, or of the subject where that has none. */
    char manufacturer[LK_EK_ATTRIBUTE_CAP]; /* 2.23.133.2.1, "id:" and 8 hexadecimal digits */
    char model[LK_EK_ATTRIBUTE_CAP];        /* 2.23.133.2.2 */
    char version[LK_EK_ATTRIBUTE_CAP];      /* 2.23.133.2.3, "id:" and hexadecimal digits */
    uint8_t fingerprint[LK_EK_FINGERPRINT_LEN];
};

/*
 * Read the DER certificate at the start of data; what follows may be padding, all 0x00 or all 0xff.
 * Nothing is verified but what makes it an EK's: it is no CA's, its extended key usage, when it has
 * one, names EK certificates (2.23.133.8.1), its key usage, when it has one, allows to encipher or
 * to agree on keys, and it has that extended key usage or a TPM manufacturer. RSA keys may go under
 * the identifier of RSAES-OAEP.
 *
 * On failure *ret_why is a reason and *ret untouched:
 *   LK_ERR_LIMIT        too_long
 *   LK_ERR_FORMAT       malformed, trailing (what follows is not padding)
 *   LK_ERR_UNSUPPORTED  key (not RSA of 2048 to 4096 bits, P-256 or P-384)
 *   LK_ERR_REFUSED      is_ca, usage, not_an_ek
 *   LK_ERR_NOMEM, LK_ERR_CRYPTO  crypto
 */
LK_MUST_CHECK enum lk_err lk_ek_cert_parse(const void *data, size_t len, const char **ret_why,
                                           struct lk_ek_cert **ret);
void lk_ek_cert_free(struct lk_ek_cert *c);
LK_DEFINE_AUTO(struct lk_ek_cert, lk_ek_cert, lk_ek_cert_free);

/* Borrowed until c is freed. */
const struct lk_ek_cert_facts *lk_ek_cert_facts(const struct lk_ek_cert *c);

/* The number that a TCG version stands for: "id:" and 1 to 16 hexadecimal digits. LK_ERR_FORMAT. */
LK_MUST_CHECK enum lk_err lk_ek_version_parse(const char *text, uint64_t *ret);

/* ---- trust -------------------------------------------------------------------------------------
 */

enum lk_ek_trust_kind { LK_EK_TRUST_ROOT, LK_EK_TRUST_INTERMEDIATE, LK_EK_TRUST_CRL };

/* What is trusted: filled by one thread, then read by any. */
LK_MUST_CHECK enum lk_err lk_ek_trust_new(struct lk_ek_trust **ret);
void lk_ek_trust_free(struct lk_ek_trust *t);
LK_DEFINE_AUTO(struct lk_ek_trust, lk_ek_trust, lk_ek_trust_free);
/* Add a certificate or list in DER, nothing left over. Copied. LK_ERR_FORMAT, LK_ERR_NOMEM. */
LK_MUST_CHECK enum lk_err lk_ek_trust_add(struct lk_ek_trust *t, enum lk_ek_trust_kind kind,
                                          const void *der, size_t len);

/* How a certificate is to be verified. All is borrowed for the call. */
struct lk_ek_verify {
    const struct lk_ek_trust *trust;
    const uint8_t (*roots)[LK_EK_FINGERPRINT_LEN]; /* of those in trust, the ones that count */
    size_t roots_count;
    const struct lk_part
        *chain;         /* certificates that the device brought, DER; trusted for nothing */
    size_t chain_count; /* at most LK_EK_CHAIN_MAX */
    int64_t now_ms;     /* Unix */
};

/*
 * Verify c up to one of the roots, each certificate in date at now, each issuer a CA, keys and
 * signatures of at least 112 bits of security (no SHA-1). Where trust has a revocation list of an
 * issuer, it is applied, and one that is past its next update counts as none at all: nobody is
 * admitted until there is a newer one or it is removed. Issuers without a list revoke nothing.
 *
 *   LK_ERR_REFUSED  *ret_why is chain (nothing leads to a root), not_ca_issued (it vouches for
 *                   itself), expired, not_yet_valid, revoked; issuer_expired,
 *                   issuer_not_yet_valid, issuer_revoked, issuer_not_ca; signature,
 *                   critical_extension, weak, crl_expired, crl (not usable for another reason)
 *   LK_ERR_FORMAT   chain_malformed: of what the device brought
 *   LK_ERR_LIMIT    chain_too_long
 *   LK_ERR_NOMEM, LK_ERR_CRYPTO  crypto
 */
LK_MUST_CHECK enum lk_err lk_ek_cert_verify(const struct lk_ek_cert *c,
                                            const struct lk_ek_verify *how, const char **ret_why);

#endif
