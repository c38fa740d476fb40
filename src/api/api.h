/*
 * The service's HTTP surfaces: what comes in over net/http.h is routed, checked, handed to the room
 * that does it, and answered. Each object belongs to one loop and its thread.
 */
#ifndef LK_API_API_H
#define LK_API_API_H

#include "hub/broker.h"
#include "net/http.h"
#include "net/regions.h"
#include "provision/provision.h"

/* ---- routing --------------------------------------------------------------------------------- */

/* One API among those that share a listener. */
struct lk_surface {
    /* Whether a request is this surface's, by host (lower case, no port) and raw path; NULL: any.
     */
    bool (*serves)(void *ctx, const char *host, const char *path);
    void (*handle)(void *ctx, struct lk_http_request *req); /* owns req until it answers */
    void *ctx;
    /* As lk_http_body_max_fn for the requests that it serves; NULL: no more than others. */
    uint32_t (*body_max)(void *ctx, enum lk_http_method method, const char *path);
};

/* The first surface that serves a request gets it; the last one takes what is left. */
struct lk_router {
    const struct lk_surface *surfaces; /* borrowed */
    size_t surfaces_count;             /* at least 1; serves of the last is NULL */
};

/* The handle and body_max of struct lk_http_server_config; ctx is a struct lk_router. */
void lk_router_handle(void *ctx, struct lk_http_request *req);
uint32_t lk_router_body_max(void *ctx, enum lk_http_method method, const char *host,
                            const char *path);

/* ---- device API (device-protocol.md 1) ------------------------------------------------------- */

struct lk_device_api;

/* All borrowed; regions (net/regions.h) may be NULL: a device's is then not known. */
LK_MUST_CHECK enum lk_err lk_device_api_new(struct lk_provision *provision,
                                            const struct lk_clock *clock,
                                            const struct lk_regions *regions,
                                            struct lk_device_api **ret);
/* No request may be pending: its provision has none either. */
void lk_device_api_free(struct lk_device_api *api);
LK_DEFINE_AUTO(struct lk_device_api, lk_device_api, lk_device_api_free);

struct lk_surface lk_device_api_surface(struct lk_device_api *api);

/* Once a second: tells the log how many lines a flood of refusals was spared. */
void lk_device_api_tick(struct lk_device_api *api);

/* ---- operators' API (service-api.md) ----------------------------------------------------------
 */

struct lk_service_api;

struct lk_service_api_config {
    struct lk_session *session; /* borrowed, as the next two */
    const struct lk_clock *clock;
    const struct lk_rand *rnd;
    struct lk_keyring *keyring; /* referenced */
    uint32_t bulk_max;          /* items of one bulk request */
    bool audit_reads;           /* each call that reads waits for an audit record of its own */
    bool signatures_required;   /* what devices prove themselves by comes from signed manifests */
    bool links_hubs;            /* hub-allow lists places: hubs there can be linked */
};
LK_MUST_CHECK enum lk_err lk_service_api_new(const struct lk_service_api_config *config,
                                             struct lk_service_api **ret);
/* Use another keyring from now on. Calls under way keep the one that they began with. */
void lk_service_api_set_keyring(struct lk_service_api *api, struct lk_keyring *ring);
size_t lk_service_api_pending(const struct lk_service_api *api);
void lk_service_api_free(struct lk_service_api *api); /* none pending */
LK_DEFINE_AUTO(struct lk_service_api, lk_service_api, lk_service_api_free);
struct lk_surface lk_service_api_surface(struct lk_service_api *api);
void lk_service_api_tick(struct lk_service_api *api); /* once a second */

/* ---- hubs (iot-hub.md sections 2 and 7) -------------------------------------------------------
 */

struct lk_hub_api;

struct lk_hub_api_config {
    struct lk_session *session; /* borrowed, as the next four */
    struct lk_loop *loop;
    struct lk_hub_core *hub;
    const struct lk_clock *clock;
    const struct lk_rand *rnd;
    struct lk_keyring *keyring;  /* referenced */
    struct lk_hub_broker broker; /* what it points to is borrowed */
    bool audit_reads;            /* each call that reads waits for an audit record of its own */
};
LK_MUST_CHECK enum lk_err lk_hub_api_new(const struct lk_hub_api_config *config,
                                         struct lk_hub_api **ret);
/* Use another keyring from now on. Calls under way keep the one that they began with. */
void lk_hub_api_set_keyring(struct lk_hub_api *api, struct lk_keyring *ring);
size_t lk_hub_api_pending(const struct lk_hub_api *api);
void lk_hub_api_free(struct lk_hub_api *api); /* none pending */
LK_DEFINE_AUTO(struct lk_hub_api, lk_hub_api, lk_hub_api_free);
/* Serves every host; one that is no embedded hub's is told so. */
struct lk_surface lk_hub_api_surface(struct lk_hub_api *api);
void lk_hub_api_tick(struct lk_hub_api *api); /* once a second */

/* ---- the local listener's APIs --------------------------------------------------------------- */

/*
 * Whether a hub should let a device in, and what it may do there: POST /auth/device
 * {"hub","token"}, and what other brokers ask below /auth/rabbitmq/ and /auth/emqx/
 * (doc/BROKERS.md).
 */
struct lk_auth_api;

LK_MUST_CHECK enum lk_err lk_auth_api_new(struct lk_session *session, struct lk_hub_core *hub,
                                          struct lk_auth_api **ret); /* both borrowed */
size_t lk_auth_api_pending(const struct lk_auth_api *api);
void lk_auth_api_free(struct lk_auth_api *api); /* none pending */
LK_DEFINE_AUTO(struct lk_auth_api, lk_auth_api, lk_auth_api_free);
struct lk_surface lk_auth_api_surface(struct lk_auth_api *api);
void lk_auth_api_tick(struct lk_auth_api *api); /* once a second */

/*
 * The same for brokers elsewhere: who does not know the secret gets a 401, whatever the path. The
 * secret is LK_AUTH_SECRET_MIN..MAX of the characters that stand in a URL as they are, and is not
 * kept in clear; LK_ERR_ARG for another. inside is what brokers reach; its ctx is borrowed.
 */
struct lk_auth_gate;

#define LK_AUTH_SECRET_MIN 32u
#define LK_AUTH_SECRET_MAX 256u
bool lk_auth_secret_ok(const char *secret, size_t len);
LK_MUST_CHECK enum lk_err lk_auth_gate_new(const char *secret, size_t len, struct lk_surface inside,
                                           struct lk_auth_gate **ret);
void lk_auth_gate_free(struct lk_auth_gate *gate);
LK_DEFINE_AUTO(struct lk_auth_gate, lk_auth_gate, lk_auth_gate_free);
struct lk_surface lk_auth_gate_surface(struct lk_auth_gate *gate); /* fit to be the only one */
void lk_auth_gate_tick(struct lk_auth_gate *gate);                 /* once a second */

/* What the probes report, taken when they ask. */
struct lk_service_status {
    bool draining;
    unsigned workers, workers_stuck; /* stuck: the loop has not turned for some seconds */
    int64_t tls_not_after_unix_s;    /* the certificate in use */
    size_t keyring_keys;
    int64_t started_unix_ms;
    uint64_t reloads, reloads_failed;
};

struct lk_admin_api_config {
    struct lk_session *session; /* borrowed; to see that the store takes writes */
    const struct lk_clock *clock;
    void (*status)(void *ctx, struct lk_service_status *ret);
    enum lk_err (*metrics)(void *ctx, struct lk_buf *ret); /* further ones, appended; NULL: none */
    void *ctx;
};

/* GET /healthz, /readyz and /metrics. */
struct lk_admin_api;

LK_MUST_CHECK enum lk_err lk_admin_api_new(const struct lk_admin_api_config *config,
                                           struct lk_admin_api **ret);
size_t lk_admin_api_pending(const struct lk_admin_api *api);
void lk_admin_api_free(struct lk_admin_api *api); /* none pending */
LK_DEFINE_AUTO(struct lk_admin_api, lk_admin_api, lk_admin_api_free);
struct lk_surface lk_admin_api_surface(struct lk_admin_api *api);
/* The same without /metrics, for those who are told no more; fit to be the only one. */
struct lk_surface lk_admin_api_probes(struct lk_admin_api *api);

#endif
