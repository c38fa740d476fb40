/*
 * TPM evidence as a verifier sees it: parse and judge endorsement and storage root keys, and wrap
 * an HMAC key so that only the TPM that holds both can open it. Marshalling only: nothing here
 * talks to a TPM.
 */
#ifndef LK_ATTEST_ATTEST_H
#define LK_ATTEST_ATTEST_H

#include "crypto/crypto.h"

#define LK_TPM_PUBLIC_MAX 640u /* bytes of a TPM2B_PUBLIC: RSA-4096 with a SHA-384 policy fits */
#define LK_TPM_NAME_MAX (2u + LK_HASH_MAX) /* bytes of a Name: algorithm and digest */
#define LK_EK_ID_LEN 32u                   /* bytes of a canonical key identity */
#define LK_AUTH_KEY_MAX 2048u /* bytes of an authenticationKey blob for two RSA-4096 keys */
#define LK_HMAC_KEY_MAX 64u   /* bytes of an HMAC key that a TPM takes (SHA-256 block) */

enum lk_key_role { LK_ROLE_EK, LK_ROLE_SRK };

enum lk_key_alg { LK_KEY_RSA = 1, LK_KEY_ECC = 2 };

/* A judged public key. Plain data, copied freely; nothing in it is secret. */
struct lk_tpm_key {
    enum lk_key_alg alg;
    unsigned bits;         /* RSA: 2048, 3072 or 4096; ECC: 256 or 384 */
    enum lk_hash name_alg; /* of the key itself: hash of OAEP, KDFs and outer HMAC */
    unsigned sym_bits;     /* 128 or 256: AES-CFB key of the key's own symmetric definition */
    uint32_t exponent;     /* RSA: always 65537 here (a 0 on the wire means the same) */
    enum lk_curve curve;   /* ECC */
    uint8_t x[512];        /* RSA: modulus, bits / 8 bytes; ECC: x coordinate */
    uint8_t y[48];         /* ECC: y coordinate */
    size_t x_len, y_len;   /* bytes */
    uint8_t name[LK_TPM_NAME_MAX]; /* TPM 2.0 Part 1, 16: nameAlg and H(TPMT_PUBLIC) */
    size_t name_len;
    uint8_t id[LK_EK_ID_LEN]; /* SHA-256 over the canonical public key: algorithm, size, exponent or
                                 curve, modulus or point; equal for equal keys however they are
                                 spelled */
};

/*
 * Parse a whole TPM2B_PUBLIC (size prefix included, nothing left over) and judge it for its role.
 *
 * Accepted: RSA 2048/3072/4096 with exponent 0 or 65537, ECC P-256/P-384; nameAlg SHA-256 or
 * SHA-384; AES 128 or 256 CFB; scheme and KDF null; restricted, decrypt, fixedTPM, fixedParent,
 * sensitiveDataOrigin, no sign, no encryptedDuplication, no reserved bit. An EK carries one of the
 * TCG EK Credential Profile's policies (A or B for its nameAlg); an SRK has userWithAuth and an
 * empty policy or a whole digest.
 *
 * On refusal *ret_why (may be NULL) is a static reason code for the operator's log, such as
 * "srk.fixed_tpm_clear" or "ek.modulus_even"; *ret is untouched.
 *
 *   LK_ERR_FORMAT       the bytes are not a TPM2B_PUBLIC, or the key is not a sound one
 *   LK_ERR_UNSUPPORTED  an algorithm or size that is not served
 *   LK_ERR_REFUSED      sound, but its attributes or policy do not fit the role
 */
LK_MUST_CHECK enum lk_err lk_tpm_key_parse(enum lk_key_role role, const void *tpm2b, size_t len,
                                           const char **ret_why, struct lk_tpm_key *ret);

/* Refuse pairs that make no sense: the SRK is the EK itself. LK_ERR_REFUSED. */
LK_MUST_CHECK enum lk_err lk_tpm_pair_check(const struct lk_tpm_key *ek,
                                            const struct lk_tpm_key *srk, const char **ret_why);

/* The registration ID that the SDKs derive: base32 of SHA-256 over the TPM2B_PUBLIC, 52 characters.
 */
#define LK_DEFAULT_REGISTRATION_ID_CAP 53u
LK_MUST_CHECK enum lk_err lk_default_registration_id(const void *ek_tpm2b, size_t len,
                                                     char ret[LK_DEFAULT_REGISTRATION_ID_CAP]);

/*
 * Append the authenticationKey blob (device-protocol.md section 2): credential to the EK bound to
 * the SRK's Name, duplicate of the HMAC key to the SRK, and uri (not empty) encrypted under the
 * inner key. All wrapping values are fresh from rnd. key_len is 1..LK_HMAC_KEY_MAX.
 */
LK_MUST_CHECK enum lk_err lk_auth_key_wrap(const struct lk_tpm_key *ek,
                                           const struct lk_tpm_key *srk, const uint8_t *key,
                                           size_t key_len, const char *uri,
                                           const struct lk_rand *rnd, struct lk_buf *ret);

#endif
