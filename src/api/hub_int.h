/* A call to a hub's HTTPS surface from its arrival to its answer. Only hub_*.c includes this. */
#ifndef LK_API_HUB_INT_H
#define LK_API_HUB_INT_H

#include "api/api_int.h"
#include "api/continuation.h"
#include "api/hub_json.h"
#include "api/hub_path.h"
#include "api/hub_props.h"
#include "hub/message.h"
#include "hub/policy.h"
#include "wire/query.h"

#define LK_HUBAPI_LIST_MAX 1000u    /* devices of one list (iot-hub.md section 11) */
#define LK_HUBAPI_PAGE_DEFAULT 100u /* twins of a query's page when the client names no number */
#define LK_HUBAPI_PAGE_MAX 1000u
#define LK_HUBAPI_SCAN_MAX 1000u               /* rows that one query call looks at */
#define LK_HUBAPI_PAGE_BYTES ((size_t)1 << 20) /* an answer that is longer ends its page */
#define LK_HUBAPI_TURN_MS 4                    /* a walk lets the event loop go on after so long, */
#define LK_HUBAPI_TURN_ROWS_MIN 16u            /* but not before it has looked at so many rows */
#define LK_HUBAPI_TURN_ROWS_MAX 200u
#define LK_HUBAPI_BATCH_MAX 500u /* messages that one request brings */

struct lk_hubapi_call;

/* What one kind of call does, in this order. */
struct lk_hubapi_operation {
    const char *name; /* for the log */
    bool by_device;   /* with a token of the device's own; else with one of a policy, which has */
    unsigned right;   /* this one, of enum lk_hub_right */
    const char *read_action; /* of the audit record, where reads are recorded; NULL: none */
    bool writes;
    /* Judge the form of an authorised request, outside of any transaction. An error: fault is set,
     * or ours. NULL: there is nothing to judge. */
    enum lk_err (*form)(struct lk_hubapi_call *c);
    /* In the transaction, access granted. LK_OK with status set commits; LK_ERR_REFUSED with fault
     * set rolls back and answers the fault; other errors are ours. NULL: access is all. */
    enum lk_err (*run)(struct lk_hubapi_call *c, struct lk_txn *tx);
    /* After a commit that leaves the call unanswered: begin what takes its time, and call
     * lk_hubapi_finish() once, later. NULL: there is nothing. */
    void (*after)(struct lk_hubapi_call *c);
};
extern const struct lk_hubapi_operation lk_hubapi_device_get, lk_hubapi_device_put,
    lk_hubapi_device_delete, lk_hubapi_list, lk_hubapi_bulk, lk_hubapi_query,
    lk_hubapi_statistics_devices, lk_hubapi_statistics_service, lk_hubapi_twin_get,
    lk_hubapi_twin_patch, lk_hubapi_twin_put, lk_hubapi_method, lk_hubapi_c2d_send,
    lk_hubapi_events, lk_hubapi_c2d_take, lk_hubapi_c2d_complete, lk_hubapi_c2d_abandon;

struct lk_hubapi_bulk_item {
    struct lk_import_doc doc;
    struct lk_svc_fault fault; /* code 0: none */
    char id[LK_DEVICE_ID_MAX + 1];
};

/* Where a walk over devices stands. A turn that is run again begins where the one before ended. */
struct lk_hubapi_walk {
    char after[LK_DEVICE_ID_MAX + 1];
    size_t looked, rows;
    size_t answer_len;
    bool ended;
};

/* One message of an events request. */
struct lk_hubapi_message {
    struct lk_props props;
    struct lk_buf body;
};

struct lk_hubapi_call {
    struct lk_hub_api *api;
    struct lk_http_request *req;
    struct lk_keyring *ring; /* referenced, for the whole call */
    struct lk_path path;
    struct lk_hubapi_route route;
    const struct lk_hubapi_operation *op;
    char hub[LK_HOST_NAME_MAX + 1];
    struct lk_job job;
    bool in_write;           /* the job is a write job */
    enum lk_err read_result; /* of the job, while its record is on its way */

    /* the form's */
    json_t *body;
    struct lk_device_doc doc;
    struct lk_hubapi_bulk_item *items;
    size_t items_count;
    struct lk_twin_patch patch;
    struct lk_method_doc method;
    bool has_if_match;
    char if_match[LK_ETAG_GIVEN_CAP];
    struct lk_query query;
    const char *query_text; /* of body */
    size_t page_max;
    struct lk_hubapi_message *messages;
    size_t messages_count, messages_left; /* left: those that the broker has not answered */
    enum lk_err messages_err;
    int64_t expires_ms;

    /* the transaction's: reset whenever it is run */
    struct lk_policy_check access;
    struct lk_device_check device;
    struct lk_svc_fault fault;
    int status; /* 0: not answered by the transaction */
    struct lk_buf answer;
    struct lk_hubapi_walk walk, turn; /* turn is that of the transaction */
    int64_t turn_begun_ms;            /* of the monotonic clock */
    bool is_page;
    char next[LK_CONTINUATION_CAP]; /* "": the last page */
    struct lk_c2d message;          /* that is handed out */
    char etag[LK_ETAG_CAP];         /* of what is answered; "": none */
};

struct lk_hub_api {
    struct lk_session *session;
    struct lk_loop *loop;
    const struct lk_clock *clock;
    const struct lk_rand *rnd;
    struct lk_keyring *ring;
    struct lk_hub_core *hub;
    struct lk_hub_broker broker;
    bool audit_reads;
    struct lk_log_gate gate;
    size_t pending;
};

/* The end of what op->after began. err as a job's; the answer is in status and answer, or fault. */
void lk_hubapi_finish(struct lk_hubapi_call *c, enum lk_err err);

/* ---- hub_reply.c ----------------------------------------------------------------------------- */

/* Answer a call that ended: err is the job's, or that of what came after it. */
void lk_hubapi_answer(struct lk_hubapi_call *c, enum lk_err err);

/* ---- hub_form.c: what operations use --------------------------------------------------------- */

/* Set the fault that the client is told, roll back. LK_ERR_REFUSED. */
enum lk_err lk_hubapi_refuse(struct lk_hubapi_call *c, int32_t code, const char *message);
/* As a client is told of err of a change to a device or twin: LK_OK with *fault set; what is ours
 * is returned as it is. */
LK_MUST_CHECK enum lk_err lk_hubapi_fault_of(enum lk_err err, struct lk_svc_fault *fault);
/* The same for a call as a whole. */
enum lk_err lk_hubapi_refuse_err(struct lk_hubapi_call *c, enum lk_err err);
/* Parse the body, an object or an array, into c->body. */
LK_MUST_CHECK enum lk_err lk_hubapi_body_parse(struct lk_hubapi_call *c, bool array);
/* Judge the device id of the path. */
LK_MUST_CHECK enum lk_err lk_hubapi_id_check(struct lk_hubapi_call *c);
/* The If-Match header into has_if_match and if_match. */
void lk_hubapi_if_match_read(struct lk_hubapi_call *c);
/* object, which may be NULL for no memory, is the answer, with 200. Takes it. */
LK_MUST_CHECK enum lk_err lk_hubapi_answer_json(struct lk_hubapi_call *c, json_t *object);
/* A device, or a device's twin, is the answer. */
LK_MUST_CHECK enum lk_err lk_hubapi_answer_device(struct lk_hubapi_call *c,
                                                  const struct lk_hub_device *d);

/* ---- hub_audit.c ----------------------------------------------------------------------------- */

/* Append the record of a change by this call's policy. */
LK_MUST_CHECK enum lk_err lk_hubapi_audit(const struct lk_hubapi_call *c, struct lk_txn *tx,
                                          const char *action, const char *device_id);
/* Append the record of a call that has read. */
LK_MUST_CHECK enum lk_err lk_hubapi_audit_read(const struct lk_hubapi_call *c, struct lk_txn *tx);

/* ---- hub_access.c ---------------------------------------------------------------------------- */

/* Whether the token opens this call; LK_ERR_REFUSED with access.reason or fault set. */
LK_MUST_CHECK enum lk_err lk_hubapi_access_check(struct lk_hubapi_call *c, struct lk_txn *tx);

/* ---- hub_devices.c: each with its audit record; errors as hub/registry.h has them ------------ */

LK_MUST_CHECK enum lk_err lk_hubapi_device_create(struct lk_hubapi_call *c, struct lk_txn *tx,
                                                  const struct lk_device_doc *doc);
LK_MUST_CHECK enum lk_err lk_hubapi_device_update(struct lk_hubapi_call *c, struct lk_txn *tx,
                                                  const struct lk_device_doc *doc,
                                                  const char *etag);
LK_MUST_CHECK enum lk_err lk_hubapi_device_remove(struct lk_hubapi_call *c, struct lk_txn *tx,
                                                  const char *id, const char *etag);

/* ---- hub_messages.c -------------------------------------------------------------------------- */

/* One message, whose body and properties are the request's, of at most max bytes. */
LK_MUST_CHECK enum lk_err lk_hubapi_message_read(struct lk_hubapi_call *c, size_t max);

#endif
