/*
 * What the questions of brokers share: one asks in its own words, all are answered by the hub's
 * check of a token, or of the identity alone.
 */
#ifndef LK_API_AUTH_INT_H
#define LK_API_AUTH_INT_H

#include "api/api_int.h"
#include "wire/broker_ask.h"

struct lk_auth_api {
    struct lk_session *session;
    struct lk_hub_core *hub;
    struct lk_log_gate gate;
    size_t pending;
};

/* One question, from its arrival to its answer. */
struct lk_auth_ask {
    struct lk_auth_api *api;
    struct lk_http_request *req;
    const char *broker; /* who asks, for the log: "local", "rabbitmq", "emqx" */
    char hub[LK_HOST_NAME_MAX + 1];
    char token[LK_SAS_MAX + 1];           /* "": only whether device_id may be connected */
    char device_id[LK_DEVICE_ID_MAX + 1]; /* who is reached; "": whom the token names */
    struct lk_device_check found;
    struct lk_job job;

    /* Answer req: LK_OK, LK_ERR_REFUSED with found.reason, or what the store failed with. */
    void (*answer)(struct lk_auth_ask *ask, enum lk_err verdict);
};
void lk_auth_ask_free(struct lk_auth_ask *ask); /* wipes the token */
LK_DEFINE_AUTO(struct lk_auth_ask, lk_auth_ask, lk_auth_ask_free);

/* Put the question to the hub; ask is answered and freed, now or later. */
void lk_auth_ask_start(struct lk_auth_ask *ask);

/* Log a verdict. Refusals and questions that are none share a limit of lines. */
void lk_auth_log(struct lk_auth_ask *ask, enum lk_log_level level, const char *event,
                 const char *reason);

/* POST /auth/device. Fills ask, and says whether it is to be started; else it was answered. */
bool lk_auth_device_take(struct lk_auth_ask *ask);

/* /auth/rabbitmq/{hub}/{user|vhost|resource|topic} and /auth/emqx/{hub}/{authn|authz}: the same. */
bool lk_auth_broker_take(struct lk_auth_ask *ask, const struct lk_path *path);

#endif
