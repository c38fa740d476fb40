/*
 * Shared keys: how a device without a TPM proves itself, and how a group admits many of them
 * (service-api.md section 6). An enrollment or a group has two, so that one can be replaced while
 * devices still sign with the other. Both are sealed as one value under the keyring, bound to scope
 * and id and to whether it is a group's, so that a row copied elsewhere opens nothing.
 *
 * A group's key is never given to a device: each gets the key derived from it for its registration
 * id.
 */
#ifndef LK_PROVISION_SHARED_KEY_H
#define LK_PROVISION_SHARED_KEY_H

#include "crypto/keyring.h"
#include "store/store.h"

#define LK_SHARED_KEY_FRESH 64u /* bytes of a key that is made here */
#define LK_SHARED_KEY_MIN 16u   /* bytes of a key that is brought, and the most */
#define LK_SHARED_KEY_MAX 64u
#define LK_DERIVED_KEY_LEN 32u

struct lk_shared_key {
    uint8_t data[LK_SHARED_KEY_MAX];
    size_t len; /* 0: none */
};

/* Secret: wipe it with lk_shared_keys_wipe() on every path, which LK_AUTO_SHARED_KEYS does. */
struct lk_shared_keys {
    struct lk_shared_key primary, secondary;
};
void lk_shared_keys_wipe(struct lk_shared_keys *k);
#define LK_AUTO_SHARED_KEYS __attribute__((cleanup(lk_shared_keys_wipe)))

/* Whose keys they are: ids of enrollments and of groups are counted apart. */
enum lk_shared_key_owner { LK_KEYS_OF_ENROLLMENT = 1, LK_KEYS_OF_GROUP = 2 };

/* Base64 of LK_SHARED_KEY_MIN to LK_SHARED_KEY_MAX bytes. LK_ERR_FORMAT. */
LK_MUST_CHECK enum lk_err lk_shared_key_parse(const char *text, size_t len,
                                              struct lk_shared_key *ret);
/* Append the base64. It is secret: the buffer wipes itself. */
LK_MUST_CHECK enum lk_err lk_shared_key_format(const struct lk_shared_key *k, struct lk_buf *ret);

/*
 * Make e an enrollment (or group) with these keys: attestation and sealed_keys are set. scope and
 * id of e must be; a new spelling of the id in other letter case keeps the keys good. A key of
 * length 0 is made fresh, in *keys too, so that the caller can show it once. LK_ERR_ARG: another
 * length.
 */
LK_MUST_CHECK enum lk_err lk_shared_keys_seal(const struct lk_keyring *ring,
                                              const struct lk_rand *rnd,
                                              enum lk_shared_key_owner owner,
                                              struct lk_shared_keys *keys, struct lk_enrollment *e);
/* The reverse. LK_ERR_CONFIG: the keyring lacks the master key; LK_ERR_STORE: not what was sealed
 * for this place. */
LK_MUST_CHECK enum lk_err lk_shared_keys_open(const struct lk_keyring *ring,
                                              enum lk_shared_key_owner owner,
                                              const struct lk_enrollment *e,
                                              struct lk_shared_keys *ret);

/* The key of one device of a group: HMAC-SHA256(group's key, registration id in lower case),
 * LK_DERIVED_KEY_LEN bytes. None (length 0) of none. */
LK_MUST_CHECK enum lk_err lk_shared_key_derive(const struct lk_shared_key *group,
                                               const char *registration_id,
                                               struct lk_shared_key *ret);

#endif
