/*
 * What the hub asks of a broker that carries its devices' sessions. The hub itself knows no broker:
 * an adapter implements lk_hub_broker_ops. Changes reach it by the store's hub events; what cannot
 * wait in a store, a direct method, is asked through here.
 */
#ifndef LK_HUB_BROKER_H
#define LK_HUB_BROKER_H

#include "hub/hub.h"

#define LK_METHOD_NAME_MAX 128u
#define LK_METHOD_PAYLOAD_MAX ((size_t)128 * 1024) /* bytes of JSON text */

/* One direct method (iot-hub.md 2.5). Borrowed for the call. */
struct lk_method_call {
    const char *hub, *device_id, *name;
    const char *payload; /* JSON text; "": none */
    size_t payload_len;
    uint32_t response_timeout_ms, connect_timeout_ms;
};

/*
 * err: LK_OK with the device's status and payload; LK_ERR_NOT_FOUND: not online within the connect
 * timeout (404103); LK_ERR_TIMEOUT: it did not answer in time (504); LK_ERR_BUSY: the broker is not
 * there (503). Called exactly once, later, on the thread of the loop that asked.
 */
typedef void lk_method_done_fn(void *arg, enum lk_err err, int status, const char *payload,
                               size_t payload_len);

struct lk_hub_broker_ops {
    /* Copy what is needed. loop is the caller's own. */
    void (*method)(void *ctx, struct lk_loop *loop, const struct lk_method_call *call,
                   lk_method_done_fn *done, void *arg);
};

struct lk_hub_broker {
    const struct lk_hub_broker_ops *ops; /* NULL: this service has no broker */
    void *ctx;
};

#endif
