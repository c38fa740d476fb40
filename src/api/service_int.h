/* A call to the operators' API from its arrival to its answer. Only service_*.c includes this. */
#ifndef LK_API_SERVICE_INT_H
#define LK_API_SERVICE_INT_H

#include "api/api_int.h"
#include "api/continuation.h"
#include "api/enrollment_json.h"
#include "api/service_path.h"
#include "provision/linked_hub.h"
#include "provision/policy.h"
#include "wire/query.h"

#define LK_SVC_PAGE_DEFAULT 100u /* rows of an answer when the client names no number */
#define LK_SVC_PAGE_MAX 1000u    /* rows of an answer */
#define LK_SVC_SCAN_MAX 1000u    /* rows that one query call looks at */
#define LK_SVC_TURN_MS 4         /* a page ends once it has held its event loop so long, */
#define LK_SVC_TURN_ROWS_MIN 8u  /* but not before it has looked at so many rows */
#define LK_SVC_PAGE_BYTES ((size_t)1 << 20) /* an answer that is longer ends its page */
#define LK_SVC_CONTINUATION_CAP LK_CONTINUATION_CAP

struct lk_service_call;

/* What one kind of call does, in this order. */
struct lk_svc_operation {
    const char *name; /* for the log */
    unsigned right;   /* of enum lk_right */
    bool writes;
    /* Of a call that only reads: the verb of its audit record, which follows the read. Calls that
     * write append their own in run(). */
    const char *read_verb;
    /* Judge the form of an authorised request, outside of any transaction. An error: fault is set,
     * or ours. NULL: there is nothing to judge. */
    enum lk_err (*form)(struct lk_service_call *c);
    /* In the transaction, access granted. LK_OK with ret.status set commits; LK_ERR_REFUSED with
     * fault set rolls back and answers the fault; other errors are ours. */
    enum lk_err (*run)(struct lk_service_call *c, struct lk_txn *tx);
};
extern const struct lk_svc_operation lk_svc_entity_put, lk_svc_entity_get, lk_svc_entity_delete,
    lk_svc_entity_mechanism, lk_svc_bulk, lk_svc_query, lk_svc_registration_get,
    lk_svc_registration_delete, lk_svc_registration_query, lk_svc_hubs_list, lk_svc_policies_list,
    lk_svc_hub_put, lk_svc_hub_patch, lk_svc_hub_delete, lk_svc_policy_put, lk_svc_policy_roll,
    lk_svc_policy_delete, lk_svc_audit_list, lk_svc_audit_verify, lk_svc_imports_list,
    lk_svc_import_undo;

struct lk_svc_bulk_item {
    struct lk_enrollment_doc doc;
    struct lk_svc_fault fault; /* code 0: none */
    char id[LK_REGISTRATION_ID_MAX + 1];
};

struct lk_service_call {
    struct lk_service_api *api;
    struct lk_http_request *req;
    struct lk_keyring *ring; /* referenced, for the whole call */
    struct lk_path path;
    struct lk_svc_route route;
    const struct lk_svc_operation *op;
    enum lk_entity entity;
    bool details; /* answers have the member `latchkey` */
    struct lk_job job;

    /* the form's */
    json_t *body;
    struct lk_enrollment_doc doc;
    struct lk_svc_bulk_item *items;
    size_t items_count;
    enum lk_bulk_mode mode;
    bool has_if_match;
    char if_match[LK_ETAG_GIVEN_CAP];
    struct lk_query query;
    const char *query_text; /* of body */
    size_t page_max;
    const char *continuation;      /* a header; NULL: from the start */
    struct lk_audit_cursor cursor; /* where a walk over audit records begins */
    uint64_t import_id;            /* that a call is about, or that a list begins before */
    bool force;                    /* what is in use goes too */
    unsigned rights;               /* of a policy to be made */
    enum lk_policy_slot slot;      /* of a key to be rolled */
    char hub[LK_HOST_NAME_MAX + 1];
    struct lk_hub_change hub_change; /* borrows from body and from sealed_connection */
    struct lk_buf sealed_connection;

    /* the transaction's: reset whenever it is run */
    struct lk_scope scope;
    struct lk_policy_check access;
    struct lk_svc_fault fault;
    int status;
    struct lk_buf answer;
    bool is_page;
    size_t rows;                        /* of a page */
    char next[LK_SVC_CONTINUATION_CAP]; /* "": the last page */

    enum lk_err read_result; /* of the read, while its record is written */
};

/* Who acts, for an audit record. */
#define LK_SVC_ACTOR_CAP (sizeof("policy:") + LK_POLICY_NAME_MAX)
void lk_svc_actor(const struct lk_service_call *c, char ret[LK_SVC_ACTOR_CAP]);
/* Append the audit record of a change by this call's policy. LK_OK when it is on its way. */
LK_MUST_CHECK enum lk_err lk_svc_audit(const struct lk_service_call *c, struct lk_txn *tx,
                                       const char *action, const char *subject,
                                       const char *conflict);
/* Append the audit record of a call that has read, and how it ends. */
LK_MUST_CHECK enum lk_err lk_svc_audit_read(const struct lk_service_call *c, struct lk_txn *tx);
/* Set the fault that the client is told, roll back. LK_ERR_REFUSED. */
enum lk_err lk_svc_refuse(struct lk_service_call *c, int32_t code, const char *message);
/* The policy may make such calls, but not this one: answered as if it might make none. Rolls back.
 * LK_ERR_REFUSED. */
enum lk_err lk_svc_refuse_access(struct lk_service_call *c, const char *reason);
/* Answer 200 with value, when err is LK_OK; otherwise err is returned. */
LK_MUST_CHECK enum lk_err lk_svc_answer(struct lk_service_call *c, enum lk_err err,
                                        const json_t *value);
/* Parse the body into c->body. An empty one is {} where it may be. */
LK_MUST_CHECK enum lk_err lk_svc_body_parse(struct lk_service_call *c, bool may_be_empty);
/* Judge the id of the path. */
LK_MUST_CHECK enum lk_err lk_svc_id_check(struct lk_service_call *c);
/* A number among the parameters of the query; an absent one leaves *ret. An error: fault is set. */
LK_MUST_CHECK enum lk_err lk_svc_parameter(struct lk_service_call *c, const char *name,
                                           uint64_t max, uint64_t *ret);
/* The If-Match header into has_if_match and if_match. */
void lk_svc_if_match_read(struct lk_service_call *c);
/* The same where nothing has an etag: only "*" matches. LK_ERR_FORMAT with fault set. */
LK_MUST_CHECK enum lk_err lk_svc_if_match_any(struct lk_service_call *c);

/*
 * Create (etag NULL) or replace what doc says in the transaction, with its audit record. *keys are
 * those of a SYMMETRIC_KEY, for the answer. LK_OK with fault->code set when the client is to be
 * told a fault, which leaves nothing changed but maybe the record of the duplicate.
 */
LK_MUST_CHECK enum lk_err lk_svc_entity_store(struct lk_service_call *c, struct lk_txn *tx,
                                              struct lk_enrollment_doc *doc, const char *etag,
                                              struct lk_shared_keys *keys,
                                              struct lk_svc_fault *fault);
LK_MUST_CHECK enum lk_err lk_svc_entity_remove(struct lk_service_call *c, struct lk_txn *tx,
                                               const char *id, const char *etag,
                                               struct lk_svc_fault *fault);

/* Continuation tokens (service_continuation.c): the id after which a query goes on, authenticated,
 * good for this scope, collection, group and query text only. */
LK_MUST_CHECK enum lk_err lk_svc_continuation_make(const struct lk_service_call *c,
                                                   const char *after,
                                                   char ret[LK_SVC_CONTINUATION_CAP]);
/* LK_ERR_REFUSED: not one of ours for this query. */
LK_MUST_CHECK enum lk_err lk_svc_continuation_read(const struct lk_service_call *c,
                                                   const char *token,
                                                   char ret[LK_REGISTRATION_ID_MAX + 1]);

struct lk_service_api {
    struct lk_session *session;
    const struct lk_clock *clock;
    const struct lk_rand *rnd;
    struct lk_keyring *ring;
    size_t bulk_max;
    bool audit_reads, signatures_required, links_hubs;
    struct lk_log_gate gate;
    size_t pending;
};

#endif
