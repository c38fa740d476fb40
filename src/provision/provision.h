/*
 * The heart: one registration from first contact to `assigned`. No HTTP, no SQL, no JSON text.
 *
 * A lk_provision belongs to one event loop and its thread. Calls return at once; the answer comes
 * by callback on the same thread, possibly before the call returns.
 */
#ifndef LK_PROVISION_PROVISION_H
#define LK_PROVISION_PROVISION_H

#include "provision/hub_link.h"
#include "provision/nonce.h"
#include "provision/webhook.h"
#include "wire/dps.h"

struct lk_provision;
struct lk_srk_cache;

/* The SRKs of recent challenges, shared by all loops of the process; bounded (srk_cache.c). */
LK_MUST_CHECK enum lk_err lk_srk_cache_new(struct lk_srk_cache **ret);
void lk_srk_cache_free(struct lk_srk_cache *c);
LK_DEFINE_AUTO(struct lk_srk_cache, lk_srk_cache, lk_srk_cache_free);

struct lk_provision_config {
    struct lk_session *session; /* borrowed: the loop's own session */
    const struct lk_clock *clock;
    const struct lk_rand *rnd;
    struct lk_keyring *keyring;     /* referenced */
    struct lk_srk_cache *srk_cache; /* borrowed */
    struct lk_hub_link embedded;    /* hubs of LK_HUB_EMBEDDED */
    struct lk_hub_link remote;      /* hubs of LK_HUB_HTTP; ops NULL: none are served */
    struct lk_webhook webhook;      /* who is asked for custom allocation */
    uint32_t hub_call_ms;           /* longest time of one call to a hub elsewhere; 0: 5000 */
    uint32_t hub_deadline_s;        /* a registration that such a hub has not taken by then has
                                       failed; 0: 600 */
    uint32_t epoch_s;               /* life of a challenge: this long to twice as long */
    uint32_t audit_refusals_per_s;  /* refusals recorded one by one by this loop; the rest is
                                       counted (refusal.c) */
};

LK_MUST_CHECK enum lk_err lk_provision_new(const struct lk_provision_config *config,
                                           struct lk_provision **ret);
/* Nothing may be pending: lk_provision_pending() is 0. */
void lk_provision_free(struct lk_provision *p);
LK_DEFINE_AUTO(struct lk_provision, lk_provision, lk_provision_free);

/*
 * Calls without an answer, and work that goes on after one: audit records of refusals on their way,
 * hubs elsewhere that are being called. A service that stops takes no more calls, and dispatches
 * the session until this is 0.
 */
size_t lk_provision_pending(const struct lk_provision *p);

/* To be called every second: what is due at hubs elsewhere is begun. */
void lk_provision_tick(struct lk_provision *p);
/* The service stops: nothing more is begun at hubs elsewhere. What is left is for the next one. */
void lk_provision_stop(struct lk_provision *p);

/* Use another keyring from now on (rotation). Calls under way keep the one that they began with. */
void lk_provision_set_keyring(struct lk_provision *p, struct lk_keyring *ring);

/* What a device asks. Everything is borrowed until the answer. */
struct lk_reg_request {
    const char *scope;                  /* as in the path, decoded */
    const char *registration_id;        /* as in the path, decoded */
    const char *operation_id;           /* poll only */
    const char *token;                  /* the Authorization header's value; NULL when absent */
    const struct lk_dps_register *body; /* register and look-up; NULL for a poll */
    const struct lk_part *certs;        /* that the device presented in TLS, its own first; DER */
    size_t certs_count;                 /* 0: none */
    const char *region;                 /* that the device asks from; NULL: unknown */
    bool before_reprovisioning;         /* the client's api-version is older than reprovisioning is:
                                           where nobody chose a policy, it keeps its hub */
    const char *request_id;             /* for the audit record */
};

enum lk_reg_verdict {
    LK_REG_CHALLENGE, /* 401 with a key: auth_key is set */
    LK_REG_ACCEPTED,  /* 202: state has operation id and status assigning */
    LK_REG_STATE,     /* 200: state is complete */
    LK_REG_REFUSED,   /* 401, one shape whatever the reason */
    LK_REG_BAD,       /* 400 */
    LK_REG_UNKNOWN,   /* 404: authorised, but no such operation or record */
    LK_REG_BUSY,      /* 503: try again */
    LK_REG_ERROR      /* 500 */
};

struct lk_reg_answer {
    enum lk_reg_verdict verdict;
    const char
        *reason; /* stable code for the operator's log; never for the device; static storage */
    const char *registered_as; /* REFUSED: the other registration with the EK that the device has
                                  proved, which is an alarm; NULL: none. As reason; borrowed. */
    enum lk_err err;           /* behind BUSY and ERROR */
    struct lk_buf auth_key;    /* CHALLENGE: the raw blob */
    struct lk_dps_state state;
};

/* answer is borrowed for the call. */
typedef void lk_reg_done_fn(void *arg, const struct lk_reg_answer *answer);

/* PUT .../register, first leg (no token) and second leg (token). */
void lk_provision_register(struct lk_provision *p, const struct lk_reg_request *req,
                           lk_reg_done_fn *done, void *arg);
/* GET .../operations/{operationId}. */
void lk_provision_poll(struct lk_provision *p, const struct lk_reg_request *req,
                       lk_reg_done_fn *done, void *arg);
/* POST .../registrations/{id}: the state of the registration, for a device that proves itself. */
void lk_provision_lookup(struct lk_provision *p, const struct lk_reg_request *req,
                         lk_reg_done_fn *done, void *arg);

#endif
