/*
 * The registry of the embedded hub (iot-hub.md section 2): identities as its operators see them,
 * with their keys in clear, which exist outside the store only in here and in what is answered.
 * Every call works in the caller's transaction; a change appends the event that tells the hub's
 * broker (store.h, hub events), so that it takes effect on live sessions whoever made it. The
 * caller appends the audit record: it knows the actor.
 */
#ifndef LK_HUB_REGISTRY_H
#define LK_HUB_REGISTRY_H

#include "hub/hub.h"

#define LK_HUB_KEY_MIN 16u /* bytes of a key that is brought (iot-hub.md 2.1) */
#define LK_HUB_KEY_MAX 64u
#define LK_HUB_KEY_LEN 32u /* bytes of a key that is made here */

/* LK_ERR_NOT_FOUND: there is no embedded hub of that name; one elsewhere is none of ours. */
LK_MUST_CHECK enum lk_err lk_hub_is_ours(struct lk_txn *tx, const char *name);

/* An identity in clear. Keys wipe themselves; length 0: the slot is empty. */
struct lk_hub_device {
    struct lk_identity id;      /* its sealed keys are not for the caller */
    struct lk_buf keys[2];      /* primary, secondary */
    struct lk_presence present; /* read-only */
    uint32_t c2d_count;         /* read-only: messages that wait for it */
};
void lk_hub_device_fini(struct lk_hub_device *d);

/*
 * Create: LK_ERR_EXISTS; a slot without a key gets a fresh one when id.auth is LK_AUTH_SAS, and
 * other kinds have none. generation_id, etag and times are set, no registration owns it.
 * LK_ERR_NOT_FOUND: no embedded hub of that name. LK_ERR_ARG: the device id, the length of a key, a
 * thumbprint, or none for LK_AUTH_SELF_SIGNED (only that has them). d is what is stored.
 */
LK_MUST_CHECK enum lk_err lk_hub_device_create(struct lk_hub_core *h, struct lk_txn *tx,
                                               struct lk_hub_device *d);
/* Replace what an operator may change (status, keys, kind of authentication, capabilities).
 * LK_ERR_NOT_FOUND, LK_ERR_PRECONDITION, LK_ERR_ARG as above; an empty slot keeps the key that is
 * there, or gets a fresh one as above. */
LK_MUST_CHECK enum lk_err lk_hub_device_update(struct lk_hub_core *h, struct lk_txn *tx,
                                               struct lk_hub_device *d, const char *etag);
/* With twin, presence and waiting messages. LK_ERR_NOT_FOUND, LK_ERR_PRECONDITION. */
LK_MUST_CHECK enum lk_err lk_hub_device_delete(struct lk_hub_core *h, struct lk_txn *tx,
                                               const char *hub, const char *device_id,
                                               const char *etag);
LK_MUST_CHECK enum lk_err lk_hub_device_get(struct lk_hub_core *h, struct lk_txn *tx,
                                            const char *hub, const char *device_id,
                                            struct lk_hub_device *ret);
/* In order of the device id, which is compared by bytes. */
LK_MUST_CHECK enum lk_err
lk_hub_device_page(struct lk_hub_core *h, struct lk_txn *tx, const char *hub, const char *after,
                   size_t limit, enum lk_err (*each)(void *ctx, const struct lk_hub_device *),
                   void *ctx);
/* Only the status, with its reason (at most 128 bytes, or LK_ERR_ARG): what a ban is. As it is
 * already: no change. */
LK_MUST_CHECK enum lk_err lk_hub_device_set_status(struct lk_hub_core *h, struct lk_txn *tx,
                                                   const char *hub, const char *device_id,
                                                   bool enabled, const char *reason);

struct lk_hub_statistics {
    uint64_t total, enabled, disabled, connected;
};
/* Kept by counters, not by counting rows. */
LK_MUST_CHECK enum lk_err lk_hub_statistics(struct lk_txn *tx, const char *hub,
                                            struct lk_hub_statistics *ret);

#endif
