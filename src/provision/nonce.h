/*
 * The challenge: stateless and single-use (design rule 1).
 *
 *   nonce key = HMAC-SHA256(challenge key, domain, scope, registration id, EK id, SRK Name, epoch,
 * generation)
 *
 * Nothing is stored when a challenge is made; any instance can check any token; a completed
 * attestation moves the generation on, and with it every nonce key of the registration.
 */
#ifndef LK_PROVISION_NONCE_H
#define LK_PROVISION_NONCE_H

#include "attest/attest.h"
#include "crypto/keyring.h"
#include "wire/sas.h"

#define LK_NONCE_KEY_LEN 32u

struct lk_nonce_subject {
    const char *scope;
    const char *registration_id; /* any case */
    const uint8_t *ek_id;        /* LK_EK_ID_LEN bytes */
    const uint8_t *srk_name;
    size_t srk_name_len;
    uint64_t generation;
};

struct lk_nonce_place {
    uint64_t key_id; /* of the keyring */
    uint64_t epoch;
};

uint64_t lk_nonce_epoch(int64_t now_ms, uint32_t epoch_s);

/* Derive the nonce key for a known place. LK_ERR_NOT_FOUND when the keyring lacks the key. */
LK_MUST_CHECK enum lk_err lk_nonce_key(const struct lk_keyring *ring,
                                       const struct lk_nonce_subject *s,
                                       const struct lk_nonce_place *at,
                                       uint8_t ret[LK_NONCE_KEY_LEN]);

/* The place at which a challenge is made at now_ms. */
struct lk_nonce_place lk_nonce_current(const struct lk_keyring *ring, int64_t now_ms,
                                       uint32_t epoch_s);

/*
 * Find the nonce key that sas was signed with, among those of the current and the previous epoch
 * and of every master key that may have issued in that time. LK_ERR_REFUSED when there is none.
 * Every candidate is tried, so that time does not tell which one fits.
 */
LK_MUST_CHECK enum lk_err lk_nonce_verify(const struct lk_keyring *ring,
                                          const struct lk_nonce_subject *s,
                                          const struct lk_sas *sas, int64_t now_ms,
                                          uint32_t epoch_s, struct lk_nonce_place *ret);

#endif
