/*
 * What provisioning asks of a hub, whoever runs it: our own embedded one, a remote Latchkey hub or
 * an Azure IoT Hub (iot-hub.md section 8). An adapter implements lk_hub_link_ops; provision/ holds
 * one link for each kind of hub and knows nothing of how it talks.
 */
#ifndef LK_PROVISION_HUB_LINK_H
#define LK_PROVISION_HUB_LINK_H

#include "store/store.h"

/* One device identity that shall exist on a hub with a new primary key. All members are borrowed.
 */
struct lk_hub_assign {
    const struct lk_hub *hub;
    const char *device_id;
    const uint8_t *key; /* the new primary key */
    size_t key_len;
    const uint8_t *secondary_key; /* with a length: the device's own other key, which stays */
    size_t secondary_key_len;     /* 0: none */
    bool keep_old_key;    /* the previous primary key stays as secondary until the new one is first
                             used */
    const char *from_hub; /* NULL, or the hub that the device leaves (its data is carried over) */
    bool migrate; /* with from_hub: carry twin and capabilities; otherwise initial_twin applies */
    const char *initial_twin; /* JSON text or NULL; applied to a new identity only */
};

/* How an adapter reports. existed: the hub knew the device already. */
typedef void lk_hub_assigned_fn(void *arg, enum lk_err err, bool existed);

struct lk_hub_link_ops {
    /*
     * Hubs that live in the store: do it inside the caller's transaction, so that identity and
     * registration commit together. NULL for hubs elsewhere.
     */
    enum lk_err (*assign_in_txn)(void *ctx, struct lk_txn *tx, const struct lk_hub_assign *a,
                                 bool *ret_existed);
    enum lk_err (*remove_in_txn)(void *ctx, struct lk_txn *tx, const struct lk_hub *hub,
                                 const char *device_id);
    /*
     * Hubs elsewhere: begin, copy what is needed, and call done exactly once, later, on the same
     * thread. Creation on the new hub comes before removal on the old one. LK_ERR_REFUSED: the hub
     * rejects our credential; LK_KIND_RETRY: try again later.
     */
    void (*assign)(void *ctx, const struct lk_hub_assign *a, lk_hub_assigned_fn *done, void *arg);
};

struct lk_hub_link {
    const struct lk_hub_link_ops *ops;
    void *ctx;
};

#endif
