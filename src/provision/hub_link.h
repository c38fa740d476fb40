/*
 * What provisioning asks of a hub, whoever runs it: our own embedded one, a remote Latchkey hub or
 * an Azure IoT Hub (iot-hub.md section 8). An adapter implements lk_hub_link_ops; provision/ holds
 * one link for each kind of hub and knows nothing of how it talks.
 *
 * A hub in our store is changed inside the caller's transaction. A hub elsewhere is called, one
 * step at a time; the order of the steps, and whether the next one may still be taken, is for
 * provision/ to judge (errand.h).
 */
#ifndef LK_PROVISION_HUB_LINK_H
#define LK_PROVISION_HUB_LINK_H

#include "store/store.h"

/*
 * The registration that a hub in our store is changed for. An identity belongs to the one that it
 * was made for: device ids are one name space for all that are assigned to a hub.
 */
struct lk_hub_owner {
    const char *scope, *id; /* of the registration; borrowed */
};

/* One device identity that shall exist on a hub in our store with a new primary key. All members
 * are borrowed.
 */
struct lk_hub_assign {
    const struct lk_hub *hub;
    const char *device_id;
    struct lk_hub_owner owner;
    const char *thumbprint; /* NULL: a device with keys; else with this certificate, upper-case
                               hexadecimal, and what follows of keys is of no use */
    const uint8_t *key;     /* the new primary key */
    size_t key_len;
    const uint8_t *secondary_key; /* with a length: the device's own other key, which stays */
    size_t secondary_key_len;     /* 0: none */
    bool keep_old_key;    /* the previous primary key stays as secondary until the new one is first
                             used */
    const char *from_hub; /* NULL, or the hub that the device leaves (its data is carried over) */
    bool migrate;         /* with from_hub: initial_twin is the one that the device had there */
    const char *initial_twin; /* JSON text or NULL; applied to a new identity only */
    bool iot_edge;            /* capabilities.iotEdge of a new identity */
    bool must_be_new; /* LK_ERR_EXISTS, and nothing is changed, when the hub has a device of that
                         name */
};

#define LK_HUB_ETAG_CAP 129u /* bytes of an etag of a hub elsewhere, unquoted, with the NUL */
#define LK_HUB_DEVICE_KEY_MAX 64u
#define LK_HUB_THUMBPRINT_CAP 65u

/* What a hub says of a device. Keys are secret: the fini wipes them. */
struct lk_hub_snapshot {
    bool found; /* all else is only set then */
    char etag[LK_HUB_ETAG_CAP];
    uint8_t keys[2][LK_HUB_DEVICE_KEY_MAX];     /* primary, secondary */
    size_t keys_len[2];                         /* 0: none */
    char thumbprints[2][LK_HUB_THUMBPRINT_CAP]; /* upper-case hexadecimal; "": none */
    bool iot_edge;
    struct lk_buf identity; /* the adapter's own form of the whole, for a later update */
    struct lk_buf twin; /* tags and desired properties, JSON text in the form of an initial twin;
                           empty: not asked for, or nothing in it */
};
void lk_hub_snapshot_fini(struct lk_hub_snapshot *s);

/* An identity as it shall be at a hub elsewhere. All members are borrowed for the call. */
struct lk_hub_identity {
    const char *device_id;
    const uint8_t *keys[2]; /* primary, secondary */
    size_t keys_len[2];     /* 0: none */
    const char *thumbprint; /* NULL: a device with keys; else with this certificate */
    bool iot_edge;          /* of a new one */
    const char *twin;       /* of a new one: JSON text in the form of an initial twin, or NULL */
};

/*
 * How a call ended.
 *
 *   LK_ERR_EXISTS, LK_ERR_NOT_FOUND, LK_ERR_PRECONDITION   what the hub has is not what was meant
 *   LK_ERR_UNSUPPORTED   it does not take this device as it is: trying again is of no use
 *   LK_ERR_REFUSED       it does not accept our credential: for the operator
 *   others               it could not be asked, or its answer is none: try again later
 */
struct lk_hub_answer {
    enum lk_err err;
    uint32_t retry_after_s; /* that the hub asks for; 0: nothing */
    const char *detail;     /* in words, printable ASCII, for the log; borrowed for the call */
    struct lk_hub_snapshot *snapshot; /* of a read: the callback may move it out */
};
typedef void lk_hub_done_fn(void *arg, struct lk_hub_answer *answer);

struct lk_hub_link_ops {
    /*
     * Hubs that live in the store: do it inside the caller's transaction, so that identity and
     * registration commit together. NULL for hubs elsewhere. assign_in_txn() is LK_ERR_EXISTS when
     * the device id is taken: somebody else's whose registration or enrollment is still there,
     * another scope's, or made by an operator of the hub. remove_in_txn() and read_in_txn() leave
     * alone what is not the owner's. read_in_txn() may be NULL: nothing is carried over; ret is
     * zeroed, and stays without an etag.
     */
    enum lk_err (*assign_in_txn)(void *ctx, struct lk_txn *tx, const struct lk_hub_assign *a,
                                 bool *ret_existed);
    enum lk_err (*remove_in_txn)(void *ctx, struct lk_txn *tx, const struct lk_hub *hub,
                                 const char *device_id, const struct lk_hub_owner *owner);
    enum lk_err (*read_in_txn)(void *ctx, struct lk_txn *tx, const struct lk_hub *hub,
                               const char *device_id, const struct lk_hub_owner *owner,
                               struct lk_hub_snapshot *ret);
    /*
     * Hubs elsewhere. A hub is not called by more than it can bear, nor while it is known to be
     * down: reserve() says how many errands of those that are wanted may be carried out now; each
     * is released when it has ended.
     */
    unsigned (*reserve)(void *ctx, const char *hub, unsigned wanted);
    void (*release)(void *ctx, const char *hub, unsigned count);
    /*
     * Begin, copy what is needed, and call done exactly once, on the same thread, within the time
     * of one call; possibly before this returns. Creation fails with LK_ERR_EXISTS when there is
     * one; update with LK_ERR_PRECONDITION or LK_ERR_NOT_FOUND when the device is not any more as
     * was says, and remove when its etag is another. update leaves alone what it is not told.
     */
    void (*read)(void *ctx, const struct lk_hub *hub, const char *device_id, bool with_twin,
                 lk_hub_done_fn *done, void *arg);
    void (*create)(void *ctx, const struct lk_hub *hub, const struct lk_hub_identity *id,
                   lk_hub_done_fn *done, void *arg);
    void (*update)(void *ctx, const struct lk_hub *hub, const struct lk_hub_snapshot *was,
                   const struct lk_hub_identity *id, lk_hub_done_fn *done, void *arg);
    void (*twin_merge)(void *ctx, const struct lk_hub *hub, const char *device_id, const char *twin,
                       lk_hub_done_fn *done, void *arg);
    void (*remove)(void *ctx, const struct lk_hub *hub, const char *device_id, const char *etag,
                   lk_hub_done_fn *done, void *arg);
};

struct lk_hub_link {
    const struct lk_hub_link_ops *ops;
    void *ctx;
};

#endif
