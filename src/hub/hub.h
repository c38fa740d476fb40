/*
 * The embedded hub: device identities in our own store. It knows no broker and no HTTP. Keys are
 * sealed under the keyring, bound to hub and device id, before they reach the store.
 */
#ifndef LK_HUB_HUB_H
#define LK_HUB_HUB_H

#include "crypto/keyring.h"
#include "provision/hub_link.h"
#include "wire/sas.h"

#define LK_GENERATION_ID_CAP 33u /* bytes, with the NUL */

struct lk_hub_core; /* one per loop: keyring and randomness */

LK_MUST_CHECK enum lk_err lk_hub_core_new(struct lk_keyring *ring, const struct lk_rand *rnd,
                                          struct lk_hub_core **ret);
void lk_hub_core_free(struct lk_hub_core *h);
LK_DEFINE_AUTO(struct lk_hub_core, lk_hub_core, lk_hub_core_free);
void lk_hub_core_set_keyring(struct lk_hub_core *h, struct lk_keyring *ring);

/* The link that provisioning uses. Borrows h. */
struct lk_hub_link lk_hub_core_link(struct lk_hub_core *h);

/* Which key a token was signed with. */
enum lk_key_slot { LK_KEY_PRIMARY = 1, LK_KEY_SECONDARY = 2 };

/* What a check of a device's token found. */
struct lk_device_check {
    char device_id[LK_DEVICE_ID_MAX + 1];
    enum lk_key_slot slot;
    bool retire_secondary;  /* the new primary was used for the first time: call
                               lk_hub_retire_secondary() */
    char etag[LK_ETAG_CAP]; /* of the identity that was checked */
    char generation_id[LK_GENERATION_ID_CAP];
    char policy[LK_POLICY_NAME_MAX + 1]; /* whose key signed it, and slot is one of its; "": the
                                            device's own key */
    uint64_t expiry_unix_s;
    const char *reason; /* of a refusal, for the operator's log; static storage */
};

#define LK_HUB_SKEW_S                                                                              \
    300 /* seconds that an expired token is still taken (iot-hub.md section 4)                     \
         */

/*
 * Check a SAS token that reaches a device of hub at now_ms, inside a read transaction, as
 * iot-hub.md section 4 lists: parse; the resource; in date; a key of the device, or of a policy
 * that skn names and that holds DeviceConnect; the identity exists, is enabled and is one that
 * signs tokens.
 *
 * device_id is the device that is reached (the user name of a CONNECT, the path of a request);
 * NULL: the one that the token names in full. A token by a device's key names {hub}/devices/{id} in
 * full; a policy's may stop at {hub} or {hub}/devices. LK_ERR_REFUSED with ret->reason set; other
 * errors are the store's.
 */
LK_MUST_CHECK enum lk_err lk_hub_check_device(struct lk_hub_core *h, struct lk_txn *tx,
                                              const char *hub, const char *device_id,
                                              const char *token, size_t token_len, int64_t now_ms,
                                              struct lk_device_check *ret);

/*
 * Whether a device may be connected to hub at all, whoever vouches for who it is; read transaction.
 * LK_ERR_REFUSED with ret->reason set: unknown, disabled, or no longer one that signs tokens; other
 * errors are the store's.
 */
LK_MUST_CHECK enum lk_err lk_hub_check_identity(struct lk_txn *tx, const char *hub,
                                                const char *device_id, struct lk_device_check *ret);

/*
 * Drop the secondary key that was kept for a lost answer; write transaction. checked is what a
 * check found. When the identity has changed since, nothing is done and it is LK_OK: a key that was
 * made in the meantime has not been used yet.
 */
LK_MUST_CHECK enum lk_err lk_hub_retire_secondary(struct lk_hub_core *h, struct lk_txn *tx,
                                                  const char *hub,
                                                  const struct lk_device_check *checked);

#define LK_HUB_EVENTS_KEPT 100000 /* the newest: who is further behind looks at everything anew */

/*
 * Drop at most limit of the oldest events of all hubs, down to kept; write transaction. *ret_more:
 * there are more to drop.
 */
LK_MUST_CHECK enum lk_err lk_hub_events_trim(struct lk_txn *tx, int64_t kept, int64_t limit,
                                             bool *ret_more);

#endif
