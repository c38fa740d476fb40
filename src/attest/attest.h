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
 * sensitiveDataOrigin, no sign, no encryptedDuplication, no reserved bit. An EK has adminWithPolicy
 * and one of the TCG EK Credential Profile's policies (A or B for its nameAlg); an SRK has
 * userWithAuth and an empty policy or a whole digest. ECC coordinates have their full length.
 *
 * On refusal *ret_why (may be NULL) is a static reason code for the operator's log, "ek." or "srk."
 * and one of the words below; *ret is untouched.
 *
 *   LK_ERR_FORMAT       the bytes are not a TPM2B_PUBLIC, or the key is not a sound one: malformed,
 *                       modulus_length, modulus_top_bit_clear, modulus_even, point_length,
 *                       point_off_curve, policy_length
 *   LK_ERR_UNSUPPORTED  an algorithm or size that is not served: type_unsupported,
 *                       name_alg_unsupported, symmetric_unsupported, scheme_not_null, kdf_not_null,
 *                       rsa_bits_unsupported, exponent_unsupported, curve_unsupported
 *   LK_ERR_REFUSED      sound, but its attributes or policy do not fit the role:
 *                       reserved_attribute_set, fixed_tpm_clear, fixed_parent_clear,
 *                       sensitive_data_origin_clear, restricted_clear, decrypt_clear, sign_set,
 *                       encrypted_duplication_set, admin_with_policy_clear (EK),
 *                       user_with_auth_clear (SRK), policy_unknown (EK)
 *   LK_ERR_CRYPTO       nothing was judged; *ret_why is "crypto"
 */
LK_MUST_CHECK enum lk_err lk_tpm_key_parse(enum lk_key_role role, const void *tpm2b, size_t len,
                                           const char **ret_why, struct lk_tpm_key *ret);

/* Refuse pairs that make no sense: the SRK is the EK itself. LK_ERR_REFUSED, "srk.is_ek". */
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
 * inner key. key_len is 1..LK_HMAC_KEY_MAX; the whole blob at most LK_AUTH_KEY_MAX bytes, which
 * leaves 600 for uri whatever the keys. ret is unchanged on failure.
 *
 * All wrapping values are fresh from rnd, drawn in this order, so that a test can give them: inner
 * key (16 bytes); seedValue (32); then for the EK and after that for the SRK, either the seed and
 * the OAEP seed (the digest length of its nameAlg each) or the ephemeral private scalar (the
 * curve's length, drawn again while it is 0 or not below the order).
 *
 *   LK_ERR_ARG    key_len or uri is not what is said above
 *   LK_ERR_LIMIT  uri is too long
 *   LK_ERR_CRYPTO, LK_ERR_NOMEM, and what rnd says
 */
LK_MUST_CHECK enum lk_err lk_auth_key_wrap(const struct lk_tpm_key *ek,
                                           const struct lk_tpm_key *srk, const uint8_t *key,
                                           size_t key_len, const char *uri,
                                           const struct lk_rand *rnd, struct lk_buf *ret);

#endif
