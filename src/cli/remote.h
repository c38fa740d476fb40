/*
 * A service elsewhere, over the operators' API: the same one that the vendor's SDKs use, so most of
 * this works with the vendor's service too. One lk_remote is one service and one policy; calls
 * block. TLS is always verified.
 *
 * Errors of every call: LK_ERR_NOT_FOUND, LK_ERR_EXISTS, LK_ERR_PRECONDITION, LK_ERR_FORMAT (the
 * service does not accept what was sent), LK_ERR_REFUSED (key, policy or right), LK_ERR_BUSY,
 * LK_ERR_UNSUPPORTED (it has no such call), LK_ERR_TLS, LK_ERR_NETWORK, LK_ERR_TIMEOUT,
 * LK_ERR_PROTOCOL, LK_ERR_LIMIT, LK_ERR_NOMEM. lk_remote_fail() has the words.
 */
#ifndef LK_CLI_REMOTE_H
#define LK_CLI_REMOTE_H

#include "api/enrollment_json.h"
#include "api/manage_json.h"
#include "cli/cli.h"
#include "wire/service_connection.h"

#define LK_REMOTE_ANSWER_MAX ((size_t)16 * 1024 * 1024) /* bytes of an answer */
#define LK_REMOTE_CONTINUATION_CAP 1024u                /* bytes with the NUL */
#define LK_REMOTE_MESSAGE_CAP 320u
#define LK_REMOTE_ETAG_CAP LK_ETAG_CAP

struct lk_remote;

/* connection is copied, ca_file too (NULL: the system's authorities). LK_ERR_IO: ca_file cannot be
 * read. */
LK_MUST_CHECK enum lk_err lk_remote_new(const struct lk_svc_connection *connection,
                                        const char *ca_file, struct lk_remote **ret);
void lk_remote_free(struct lk_remote *r);
LK_DEFINE_AUTO(struct lk_remote, lk_remote, lk_remote_free);

/* "host" or "host:port", for messages. */
const char *lk_remote_name(const struct lk_remote *r);

/* Say why the last call failed, "latchkey: <what>: ...", and what to do; err's exit code. */
int lk_remote_fail(const struct lk_remote *r, enum lk_err err, const char *what);
/* The service's error code of the last call; 0: none. */
int32_t lk_remote_code(const struct lk_remote *r);

/* ---- any call --------------------------------------------------------------------------------
 */

struct lk_remote_request {
    const char *method;       /* "GET", "PUT", "POST", "DELETE" */
    const char *path;         /* "/enrollments", percent-encoded */
    const char *id;           /* a segment more, which is encoded here; NULL: none */
    const char *tail;         /* what follows it, "/attestationmechanism"; NULL: nothing */
    const char *query;        /* "after=1&limit=2", encoded; NULL: none */
    const json_t *body;       /* NULL: none */
    const char *if_match;     /* an etag; NULL: none */
    const char *continuation; /* NULL or "": from the start */
};
struct lk_remote_answer {
    json_t *json;                                  /* NULL: an empty one; owned */
    char continuation[LK_REMOTE_CONTINUATION_CAP]; /* "": the last page */
};
void lk_remote_answer_fini(struct lk_remote_answer *a);
#define LK_AUTO_REMOTE_ANSWER __attribute__((cleanup(lk_remote_answer_fini)))

/* ret is zeros or what an earlier call left. A busy service is asked again a few times. */
LK_MUST_CHECK enum lk_err lk_remote_call(struct lk_remote *r, const struct lk_remote_request *q,
                                         struct lk_remote_answer *ret);

/* ---- enrollments and groups (remote_entity.c)
 * -------------------------------------------------------------------------------- */

/* ret is initialised by the caller, and initialised anew. */
LK_MUST_CHECK enum lk_err lk_remote_entity_get(struct lk_remote *r, enum lk_entity entity,
                                               const char *id, struct lk_enrollment *ret);
/*
 * Create e (etag NULL), or replace it when its etag is this one. keys as in
 * lk_enrollment_request_put(). e becomes what the service answered.
 */
LK_MUST_CHECK enum lk_err lk_remote_entity_put(struct lk_remote *r, enum lk_entity entity,
                                               const struct lk_shared_keys *keys, const char *etag,
                                               struct lk_enrollment *e);
LK_MUST_CHECK enum lk_err lk_remote_entity_delete(struct lk_remote *r, enum lk_entity entity,
                                                  const char *id);
/* The two keys; LK_ERR_ARG when it has none. */
LK_MUST_CHECK enum lk_err lk_remote_entity_keys(struct lk_remote *r, enum lk_entity entity,
                                                const char *id, struct lk_shared_keys *ret);
/* One page; continuation is "" for the first, and after the last. */
LK_MUST_CHECK enum lk_err
lk_remote_entity_page(struct lk_remote *r, enum lk_entity entity,
                      char continuation[LK_REMOTE_CONTINUATION_CAP],
                      enum lk_err (*each)(void *ctx, const struct lk_enrollment *), void *ctx);

/* Many at once. Each item of items is a request's object; *ret_errors are those that failed, with
 * registrationId, errorCode and errorStatus; owned by the caller. */
LK_MUST_CHECK enum lk_err lk_remote_bulk(struct lk_remote *r, enum lk_bulk_mode mode, json_t *items,
                                         json_t **ret_errors);

/* ---- registrations ---------------------------------------------------------------------------
 */

LK_MUST_CHECK enum lk_err lk_remote_registration_get(struct lk_remote *r, const char *id,
                                                     struct lk_registration *ret);
LK_MUST_CHECK enum lk_err lk_remote_registration_delete(struct lk_remote *r, const char *id);
LK_MUST_CHECK enum lk_err
lk_remote_registration_page(struct lk_remote *r, char continuation[LK_REMOTE_CONTINUATION_CAP],
                            enum lk_err (*each)(void *ctx, const struct lk_registration *),
                            void *ctx);

/* ---- hubs, policies, audit records (remote_manage.c) -----------------------------------------
 */

LK_MUST_CHECK enum lk_err lk_remote_hubs(struct lk_remote *r,
                                         enum lk_err (*each)(void *ctx, const struct lk_hub *),
                                         void *ctx);
LK_MUST_CHECK enum lk_err lk_remote_hub_add(struct lk_remote *r, const char *name,
                                            const struct lk_hub_request *request);
LK_MUST_CHECK enum lk_err lk_remote_hub_set(struct lk_remote *r, const char *name,
                                            const struct lk_hub_request *request);
/* *ret_left: the hub is still there, and so are more of its identities. */
LK_MUST_CHECK enum lk_err lk_remote_hub_remove(struct lk_remote *r, const char *name, bool force,
                                               bool *ret_left);
/* *ret_count enrollments and groups name the hub. */
LK_MUST_CHECK enum lk_err lk_remote_hub_use(struct lk_remote *r, const char *name,
                                            uint64_t *ret_count);
/* Without their keys. */
LK_MUST_CHECK enum lk_err
lk_remote_policies(struct lk_remote *r, enum lk_err (*each)(void *ctx, const struct lk_policy *),
                   void *ctx);
/*
 * Make p, of which name and rights are given; *key becomes the key of slot. Roll: name is given.
 * What was made is told this once.
 */
LK_MUST_CHECK enum lk_err lk_remote_policy_add(struct lk_remote *r, enum lk_policy_slot slot,
                                               struct lk_policy *p, struct lk_buf *key);
LK_MUST_CHECK enum lk_err lk_remote_policy_roll(struct lk_remote *r, enum lk_policy_slot slot,
                                                struct lk_policy *p, struct lk_buf *key);
LK_MUST_CHECK enum lk_err lk_remote_policy_delete(struct lk_remote *r, const char *name);
/* *ret_looked of the records after `after` were looked at, the last of them is *ret_last; each() is
 * called for those that the policy may read. */
LK_MUST_CHECK enum lk_err lk_remote_audit_page(struct lk_remote *r, int64_t after, size_t limit,
                                               enum lk_err (*each)(void *ctx,
                                                                   const struct lk_audit *),
                                               void *ctx, size_t *ret_looked, int64_t *ret_last);
/* As lk_txn_audit_verify(), but for *ret_broken in place of its LK_ERR_REFUSED. It may verify fewer
 * than limit records. */
LK_MUST_CHECK enum lk_err lk_remote_audit_verify(struct lk_remote *r, size_t limit,
                                                 struct lk_audit_cursor *cursor, bool *ret_broken,
                                                 bool *ret_more);

#endif
