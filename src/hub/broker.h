/*
 * What the hub asks of a broker that carries its devices' sessions. The hub itself knows no broker:
 * an adapter implements lk_hub_broker_ops. Changes reach it by the store's hub events; what cannot
 * wait in a store, a direct method, is asked through here.
 */
#ifndef LK_HUB_BROKER_H
#define LK_HUB_BROKER_H

#include "hub/hub.h"

struct lk_loop; /* net/loop.h */

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

/*
 * One message of a device that came by HTTPS (section 7), to be handed to whoever consumes the
 * hub's telemetry as if the device had published it. Borrowed for the call.
 */
struct lk_telemetry {
    const char *hub, *device_id;
    const char *properties; /* as in the MQTT topic: "name=value" pairs joined by '&', both
                               percent-encoded; "": none */
    const uint8_t *body;
    size_t body_len;
};
#define LK_TELEMETRY_MAX ((size_t)256 * 1024) /* bytes of body and properties */

/* LK_OK: the broker has it, at QoS 1; LK_ERR_BUSY: it is not there, or takes no more (503). Called
 * exactly once, later, on the thread of the loop that asked. */
typedef void lk_telemetry_done_fn(void *arg, enum lk_err err);

struct lk_hub_broker_ops {
    /* Copy what is needed. loop is the caller's own. */
    void (*method)(void *ctx, struct lk_loop *loop, const struct lk_method_call *call,
                   lk_method_done_fn *done, void *arg);
    /* Copy what is needed. loop is the caller's own. */
    void (*telemetry)(void *ctx, struct lk_loop *loop, const struct lk_telemetry *t,
                      lk_telemetry_done_fn *done, void *arg);
};

struct lk_hub_broker {
    const struct lk_hub_broker_ops *ops; /* NULL: this service has no broker */
    void *ctx;
};

#endif
