/*
 * The keyring: the service's master keys, in a file that only the service may read. Everything else
 * that the service needs is derived from them, so nothing in the database opens anything by itself.
 *
 * File: one line a key, oldest first, "<id: 16 hex> <created: Unix ms> <key: base64 of 32 bytes>";
 * lines that begin with '#' are comments. Rotation adds a line and removes none: what was sealed
 * under an old key must still open, and the audit chain is keyed by the first.
 */
#ifndef LK_CRYPTO_KEYRING_H
#define LK_CRYPTO_KEYRING_H

#include "crypto/crypto.h"

#define LK_KEYRING_KEYS_MAX 64u
#define LK_KEYRING_ERROR_CAP 256u
#define LK_MASTER_KEY_LEN 32u
/* A new key is used for new challenges and continuations only after this time, so that every
 * instance has read it by then. */
#define LK_KEYRING_GRACE_MS 15000

struct lk_keyring; /* immutable once loaded; reference counted; any thread */

/* Make a file with one fresh key, mode 0600. LK_ERR_EXISTS, LK_ERR_IO. */
LK_MUST_CHECK enum lk_err lk_keyring_create(const char *path, int64_t now_ms,
                                            const struct lk_rand *rnd);

/* Add a fresh key: written beside, synced, renamed over. LK_ERR_LIMIT when the ring is full. */
LK_MUST_CHECK enum lk_err lk_keyring_rotate(const char *path, int64_t now_ms,
                                            const struct lk_rand *rnd,
                                            char error[LK_KEYRING_ERROR_CAP]);

/*
 * Load. A file that group or others can read or write is refused (LK_ERR_CONFIG), but for the
 * group's read bit in $CREDENTIALS_DIRECTORY, as is a malformed line (LK_ERR_FORMAT); error (may be
 * NULL) names file and line.
 */
LK_MUST_CHECK enum lk_err lk_keyring_load(const char *path, char error[LK_KEYRING_ERROR_CAP],
                                          struct lk_keyring **ret);
struct lk_keyring *lk_keyring_ref(struct lk_keyring *k);
void
lk_keyring_free(struct lk_keyring *k); /* drops a reference; wipes with the last; NULL is allowed */
LK_DEFINE_AUTO(struct lk_keyring, lk_keyring, lk_keyring_free);

size_t lk_keyring_count(const struct lk_keyring *k);
uint64_t lk_keyring_id(const struct lk_keyring *k, size_t i);        /* i-th key, oldest first */
int64_t lk_keyring_created_ms(const struct lk_keyring *k, size_t i); /* i-th key */

/* The key that new challenges and continuations are made with at now_ms. */
size_t lk_keyring_issuing(const struct lk_keyring *k, int64_t now_ms);

/* True when a challenge made with key i within the last window_ms may still be answered. */
bool lk_keyring_accepts(const struct lk_keyring *k, size_t i, int64_t now_ms, int64_t window_ms);

/* Position of key id; LK_ERR_NOT_FOUND. */
LK_MUST_CHECK enum lk_err lk_keyring_find(const struct lk_keyring *k, uint64_t id, size_t *ret);

/* HMAC-SHA256 under the challenge key derived from key i. */
LK_MUST_CHECK enum lk_err lk_keyring_challenge_mac(const struct lk_keyring *k, size_t i,
                                                   const struct lk_part *parts, size_t parts_count,
                                                   uint8_t ret[32]);

/* HMAC-SHA256 under the key derived from key i for tokens with which a query goes on. */
LK_MUST_CHECK enum lk_err lk_keyring_continuation_mac(const struct lk_keyring *k, size_t i,
                                                      const struct lk_part *parts,
                                                      size_t parts_count, uint8_t ret[32]);

/* The key of the audit chain: derived from the first key, so it never changes. The caller wipes it.
 */
void lk_keyring_audit_key(const struct lk_keyring *k, uint8_t ret[32]);

/*
 * Seal under the newest key: key id, then lk_seal(). ad names the place (table and row) that the
 * value belongs to. lk_keyring_unseal() finds the key by its id: LK_ERR_NOT_FOUND when the ring
 * lacks it, LK_ERR_REFUSED when bytes or place are not the sealed ones.
 */
#define LK_KEYRING_SEAL_OVERHEAD (8u + LK_SEAL_OVERHEAD) /* bytes */
LK_MUST_CHECK enum lk_err lk_keyring_seal(const struct lk_keyring *k, const char *ad,
                                          const void *in, size_t in_len, const struct lk_rand *rnd,
                                          struct lk_buf *ret);
LK_MUST_CHECK enum lk_err lk_keyring_unseal(const struct lk_keyring *k, const char *ad,
                                            const void *in, size_t in_len, struct lk_buf *ret);

#endif
