/* A request to the device API from its arrival to its answer. Only device_*.c includes this. */
#ifndef LK_API_DEVICE_INT_H
#define LK_API_DEVICE_INT_H

#include "api/api_int.h"

typedef void lk_device_start_fn(struct lk_provision *p, const struct lk_reg_request *req,
                                lk_reg_done_fn *done, void *arg);

struct lk_device_operation {
    const char *name; /* for the log */
    enum lk_http_method method;
    const char *allow; /* for a wrong method */
    lk_device_start_fn *start;
};

extern const struct lk_device_operation lk_device_op_register, lk_device_op_poll,
    lk_device_op_lookup;

struct lk_device_call {
    struct lk_device_api *api;
    struct lk_http_request *req;
    const struct lk_device_operation *op; /* NULL while the path says nothing */
    struct lk_path path;                  /* with op: scope, "registrations", id, ... */
    struct lk_dps_register body;
    struct lk_buf
        certs[LK_TLS_PEER_CERTS_MAX]; /* of a request that says by nothing else who asks */
    struct lk_part cert_parts[LK_TLS_PEER_CERTS_MAX]; /* the same */
    size_t certs_count;
};

const char *lk_device_call_scope(const struct lk_device_call *c);           /* NULL without op */
const char *lk_device_call_registration_id(const struct lk_device_call *c); /* NULL without op */

/* What is wrong with a request in form: static storage but for message. */
struct lk_device_fault {
    int32_t code;       /* of the answer */
    const char *reason; /* for the log */
    char message[LK_JSON_ERROR_CAP];
};

/*
 * Take the request apart into c, whose api and req are set. False: *ret says what is wrong; code is
 * LK_DPS_METHOD_NOT_ALLOWED for OPTIONS too.
 */
bool lk_device_call_check(struct lk_device_call *c, struct lk_device_fault *ret);

#endif
