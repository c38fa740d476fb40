/*
 * Statements over either engine: what the files of rows (sql_*.c) are written in. An engine moves
 * values in and out of a database; the SQL is the same for both, with these conventions:
 *
 *   ?1, ?2, ..       parameters; every integer is 64 bits wide
 *   x'00ff'          a blob
 *   INDEXED BY name  a hint for SQLite
 *
 * A row function never lets a constraint fail to find something out: PostgreSQL's transaction is
 * lost by that, but for a savepoint. It looks first, or writes with ON CONFLICT or WHERE and counts
 * the rows.
 */
#ifndef LK_STORE_SQL_INT_H
#define LK_STORE_SQL_INT_H

#include "store/store_int.h"

#define SQ_STMTS_MAX 192u /* more than there are different statements */

struct sq_engine;
struct sq_stage;

/* A prepared statement, or one in use; the head of an engine's own struct. */
struct sq {
    const char *sql; /* the address of a string that outlives the connection */
    struct store_conn *c;
    enum lk_err err; /* the first failure since sq_use(); later calls do nothing */
    bool in_use, temporary;
};

/* The head of an engine's own struct for a connection. */
struct store_conn {
    const struct sq_engine *engine;
    bool writable;
    bool broken; /* a statement failed in this job */
    size_t stmts_count;
    struct {
        const char *sql; /* the key, by its address; here, since each use of a statement looks */
        struct sq *q;
    } stmts[SQ_STMTS_MAX];
};

struct sq_engine {
    enum lk_err (*prepare)(struct store_conn *c, const char *sql, struct sq **ret);
    void (*finalize)(struct sq *q);
    void (*reset)(struct sq *q); /* of what was bound, too */
    void (*bind_int)(struct sq *q, int at, int64_t v);
    void (*bind_text)(struct sq *q, int at, const char *text);
    void (*bind_blob)(struct sq *q, int at, const void *data, size_t len);
    enum lk_err (*step)(struct sq *q);
    int (*changed)(struct sq *q); /* rows, by the statement that was stepped last */
    int64_t (*column_int)(struct sq *q, int at);
    /* NULL: nothing or no bytes. Valid until the next step. A text has no NUL of ours behind it. */
    const void *(*column_bytes)(struct sq *q, int at, size_t *ret_len);
    /* lk_txn_import_stage_many(), for rows of one scope and of an import that is being staged. */
    enum lk_err (*stage)(struct lk_txn *tx, struct sq_stage *rows, size_t count);
    /* Remove up to limit rows of an import and their keys. NULL: one by one is as quick. */
    enum lk_err (*drop)(struct lk_txn *tx, int64_t import_id, const char *scope, size_t limit,
                        size_t *ret_count);
};

/*
 * Take a statement from the connection's cache. Guard it with LK_AUTO(sq): that resets it. Binding
 * and reading columns note the first failure, which sq_step() or sq_run() return.
 */
LK_MUST_CHECK enum lk_err sq_use(struct store_conn *c, const char *sql, struct sq **ret);
void sq_release(struct sq *q);
LK_DEFINE_AUTO(struct sq, sq, sq_release);
void sq_cache_clear(struct store_conn *c);

/* Parameters are numbered from 1 and borrowed until the statement is released. */
void sq_bind_int(struct sq *q, int at, int64_t v);
void sq_bind_text(struct sq *q, int at, const char *text);
void sq_bind_blob(struct sq *q, int at, const void *data, size_t len);

/* LK_OK: there is a row; LK_ERR_NOT_FOUND: no further one. */
LK_MUST_CHECK enum lk_err sq_step(struct sq *q);
/* For a statement that returns no row. */
LK_MUST_CHECK enum lk_err sq_run(struct sq *q);
/* As sq_run(), with the number of rows that were changed. */
LK_MUST_CHECK enum lk_err sq_change(struct sq *q, int *ret_rows);
/* As sq_run(), for a statement that changes one row; none: it changed none. */
LK_MUST_CHECK enum lk_err sq_run_one(struct sq *q, enum lk_err none);
/* sq_use(), sq_run(). */
LK_MUST_CHECK enum lk_err sq_exec(struct store_conn *c, const char *sql);

/* Columns are numbered from 0. One that does not fit is LK_ERR_STORE: somebody else wrote it. */
int64_t sq_int(struct sq *q, int at);
void sq_text(struct sq *q, int at, char *buf, size_t cap);
void sq_blob(struct sq *q, int at, uint8_t *buf, size_t cap, size_t *ret_len);
void sq_blob_exact(struct sq *q, int at, uint8_t *buf, size_t len);
void sq_buf(struct sq *q, int at, struct lk_buf *ret);
/* The bytes of a column, borrowed until the next step; NULL when there are none. */
const void *sq_bytes(struct sq *q, int at, size_t *ret_len);
/* A stored row is not one that we wrote. */
void sq_corrupt(struct sq *q);

/* The rows, by file. */
enum lk_err sq_scope_insert(struct lk_txn *tx, const struct lk_scope *s);
enum lk_err sq_scope_update(struct lk_txn *tx, const struct lk_scope *s);
enum lk_err sq_scope_get(struct lk_txn *tx, const char *id, struct lk_scope *ret);
enum lk_err sq_scope_each(struct lk_txn *tx, enum lk_err (*each)(void *, const struct lk_scope *),
                          void *ctx);

/*
 * sql_fields.c: the columns that enrollment and enrollment_group share. Reading: columns 0 on of
 * a SELECT from either as e. Writing: parameters 1 to 18; a statement's own are from 19 on.
 */
#define SQ_FIELDS_READ                                                                             \
    "e.scope, e.id, e.attestation, e.enabled, e.allocation, e.update_hub, e.migrate, "             \
    "e.hubs, e.pin_srk, e.sealed_keys, e.cert_primary, e.cert_secondary, "                         \
    "e.initial_twin, e.device_info, e.iot_edge, e.webhook_url, "                                   \
    "e.webhook_api_version, e.etag, e.created_ms, e.updated_ms"
#define SQ_FIELDS_READ_COUNT 20
#define SQ_FIELDS                                                                                  \
    "id, attestation, enabled, allocation, update_hub, migrate, hubs, pin_srk, "                   \
    "sealed_keys, cert_primary, cert_secondary, initial_twin, device_info, iot_edge, "             \
    "webhook_url, webhook_api_version, etag, updated_ms"
#define SQ_FIELDS_VALUES                                                                           \
    "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18"
#define SQ_FIELDS_SET                                                                              \
    "id = ?1, attestation = ?2, enabled = ?3, allocation = ?4, update_hub = ?5, "                  \
    "migrate = ?6, hubs = ?7, pin_srk = ?8, sealed_keys = ?9, cert_primary = ?10, "                \
    "cert_secondary = ?11, initial_twin = ?12, device_info = ?13, iot_edge = ?14, "                \
    "webhook_url = ?15, webhook_api_version = ?16, etag = ?17, updated_ms = ?18"
/* e is freshly initialised. */
void sq_fields_read(struct sq *q, struct lk_enrollment *e);
/* hubs is empty, and holds a text until the statement is released. */
LK_MUST_CHECK enum lk_err sq_fields_bind(struct sq *q, const struct lk_enrollment *e,
                                         struct lk_buf *hubs);

/* sql_ek.c */
#define SQ_EKS_PACKED_MAX (LK_EKS_MAX * (LK_EK_ID_LEN + 2u + LK_TPM_PUBLIC_MAX)) /* bytes */
enum lk_err sq_eks_pack(const struct lk_enrollment *e, struct lk_buf *ret);
void sq_eks_read(struct sq *q, int at, struct lk_enrollment *e);
/* After sq_conflict_by_ek() found nothing in the way. */
enum lk_err sq_eks_insert(struct lk_txn *tx, const struct lk_enrollment *e, int64_t nr);
/* All keys, or none when another row has one of them. */
enum lk_err sq_eks_try(struct lk_txn *tx, const struct lk_enrollment *e, int64_t nr,
                       bool *ret_free);
enum lk_err sq_eks_delete(struct lk_txn *tx, const char *scope, const struct lk_buf *packed);
/* LK_ERR_EXISTS when another row, live or staged, has the key; or, than own_nr, one of e's EKs. */
enum lk_err sq_conflict_by_id(struct lk_txn *tx, const char *scope, const struct store_key *key,
                              struct lk_conflict *conflict);
enum lk_err sq_conflict_by_ek(struct lk_txn *tx, const struct lk_enrollment *e, int64_t own_nr,
                              struct lk_conflict *conflict);

/* Live: of no import, or of a finished one. e names the enrollment's row. */
#define SQ_LIVE                                                                                    \
    "(e.import_id = 0 OR EXISTS (SELECT 1 FROM import i WHERE i.id = e.import_id AND i.state = "   \
    "1))"
enum lk_err sq_enrollment_insert(struct lk_txn *tx, const struct store_key *key,
                                 const struct lk_enrollment *e, struct lk_conflict *conflict);
/* What an enrollment is inserted with: columns, and as many parameters from 1 on. Its numbers nr
 * are drawn by the database. */
#define SQ_ENROLLMENT_INSERT                                                                       \
    SQ_FIELDS ", device_id, eks, srk_pub, scope, lower_id, created_ms, import_id, import_line"
#define SQ_ENROLLMENT_INSERT_COUNT 26
/* hubs and eks are empty, and hold values until the statement is released. */
LK_MUST_CHECK enum lk_err sq_enrollment_bind(struct sq *q, const struct store_key *key,
                                             const struct lk_enrollment *e, struct lk_buf *hubs,
                                             struct lk_buf *eks);
enum lk_err sq_enrollment_replace(struct lk_txn *tx, const struct store_key *key,
                                  struct lk_enrollment *e, const char *etag,
                                  struct lk_conflict *conflict);
enum lk_err sq_enrollment_delete(struct lk_txn *tx, const char *scope, const struct store_key *key,
                                 const char *etag);
enum lk_err sq_enrollment_get(struct lk_txn *tx, const char *scope, const struct store_key *key,
                              struct lk_enrollment *ret);
enum lk_err sq_enrollment_by_ek(struct lk_txn *tx, const char *scope,
                                const uint8_t ek_id[LK_EK_ID_LEN],
                                char ret_id[LK_REGISTRATION_ID_MAX + 1]);
enum lk_err sq_enrollment_page(struct lk_txn *tx, const char *scope, const struct store_key *after,
                               size_t limit,
                               enum lk_err (*each)(void *, const struct lk_enrollment *),
                               void *ctx);
/* Remove the row nr, whose column eks is packed, and its keys. */
enum lk_err sq_enrollment_remove(struct lk_txn *tx, int64_t nr, const char *scope,
                                 const struct lk_buf *packed);

/* sql_import.c: one import's row. */
struct sq_import {
    char scope[LK_ID_SCOPE_MAX + 1];
    char source[sizeof(((struct lk_import *)NULL)->source)];
    enum lk_import_state state;
    int64_t row_count, gone;
};
enum lk_err sq_import_get(struct lk_txn *tx, int64_t import_id, struct sq_import *ret);
/* LK_ERR_NOT_FOUND also when no row can be staged any more. */
enum lk_err sq_import_staging(struct lk_txn *tx, int64_t import_id, struct sq_import *ret);
/* A row to be staged with others. */
struct sq_stage {
    struct store_key key;
    struct lk_enrollment *e;
    bool staged; /* set by the engine */
    bool before; /* and then: it had been already */
};
/* At least one row, all of the import and its scope. */
enum lk_err sq_import_stage_many(struct lk_txn *tx, const struct sq_import *import,
                                 struct sq_stage *rows, size_t count);
/* sql_stage.c: an engine's stage(), up to the first row that something is in the way of. */
LK_MUST_CHECK enum lk_err sq_stage(struct lk_txn *tx, struct sq_stage *rows, size_t count);
/* Also notes that something happened to it now. */
enum lk_err sq_import_set(struct lk_txn *tx, int64_t import_id, enum lk_import_state state,
                          int64_t row_count);
enum lk_err sq_import_begin(struct lk_txn *tx, const char *scope, const char *source, int64_t *ret);
enum lk_err sq_import_stage(struct lk_txn *tx, const struct store_key *key,
                            const struct lk_enrollment *e, struct lk_conflict *conflict);
enum lk_err sq_import_finish(struct lk_txn *tx, int64_t import_id, int64_t *ret_rows);
enum lk_err sq_import_drop(struct lk_txn *tx, int64_t import_id, size_t limit, bool *ret_left);
enum lk_err sq_import_undo(struct lk_txn *tx, int64_t import_id, bool force, int64_t *ret_rows,
                           int64_t *ret_kept);
enum lk_err sq_import_resume(struct lk_txn *tx, int64_t import_id, const char *source,
                             int64_t *ret_last_line);
enum lk_err sq_import_page(struct lk_txn *tx, const char *scope, int64_t before, size_t limit,
                           enum lk_err (*each)(void *, const struct lk_import *), void *ctx);
enum lk_err sq_import_abandoned(struct lk_txn *tx, int64_t older_than_ms, int64_t *ret_import_id);

enum lk_err sq_registration_get(struct lk_txn *tx, const char *scope, const struct store_key *key,
                                struct lk_registration *ret);
enum lk_err sq_registration_put(struct lk_txn *tx, const struct store_key *key,
                                const struct lk_registration *r, uint64_t expected_generation);
enum lk_err sq_registration_page(struct lk_txn *tx, const char *scope,
                                 const struct store_key *after, size_t limit,
                                 enum lk_err (*each)(void *, const struct lk_registration *),
                                 void *ctx);

enum lk_err
sq_registration_page_of_group(struct lk_txn *tx, const char *scope, const struct store_key *group,
                              const struct store_key *after, size_t limit,
                              enum lk_err (*each)(void *, const struct lk_registration *),
                              void *ctx);
enum lk_err sq_registration_at(struct lk_txn *tx, const char *hub, const char *device_id,
                               const char *scope, const struct store_key *own,
                               char ret_scope[LK_ID_SCOPE_MAX + 1],
                               char ret_id[LK_REGISTRATION_ID_MAX + 1]);
enum lk_err sq_registration_of_ek_elsewhere(struct lk_txn *tx, const char *scope,
                                            const uint8_t ek_id[LK_EK_ID_LEN],
                                            const struct store_key *own,
                                            char ret_id[LK_REGISTRATION_ID_MAX + 1]);

/* count.c: what triggers count. */
enum lk_err sq_enrollment_count(struct lk_txn *tx, const char *scope, int64_t *ret);
enum lk_err sq_registration_count(struct lk_txn *tx, const char *scope, enum lk_reg_status status,
                                  int64_t *ret);
enum lk_err sq_registration_count_of_group(struct lk_txn *tx, const char *scope,
                                           const struct store_key *group, int64_t *ret);
/* Count everything anew. */
enum lk_err sq_recount(struct store_conn *c);

enum lk_err sq_group_insert(struct lk_txn *tx, const struct store_key *key,
                            const struct lk_enrollment *g);
enum lk_err sq_group_update(struct lk_txn *tx, const struct store_key *key,
                            const struct lk_enrollment *g);
enum lk_err sq_group_delete(struct lk_txn *tx, const char *scope, const struct store_key *key);
enum lk_err sq_group_get(struct lk_txn *tx, const char *scope, const struct store_key *key,
                         struct lk_enrollment *ret);
enum lk_err sq_group_page(struct lk_txn *tx, const char *scope, const struct store_key *after,
                          size_t limit, enum lk_err (*each)(void *, const struct lk_enrollment *),
                          void *ctx);
enum lk_err sq_group_each(struct lk_txn *tx, const char *scope, enum lk_attestation attestation,
                          enum lk_err (*each)(void *, const struct lk_enrollment *), void *ctx);
enum lk_err sq_group_count(struct lk_txn *tx, const char *scope, int64_t *ret);

enum lk_err sq_policy_put(struct lk_txn *tx, const struct lk_policy *p);
enum lk_err sq_policy_get(struct lk_txn *tx, const char *scope, const char *name,
                          struct lk_policy *ret);
enum lk_err sq_policy_delete(struct lk_txn *tx, const char *scope, const char *name);
enum lk_err sq_policy_each(struct lk_txn *tx, const char *scope,
                           enum lk_err (*each)(void *, const struct lk_policy *), void *ctx);
enum lk_err sq_trust_put(struct lk_txn *tx, const struct lk_trust *t);
enum lk_err sq_trust_delete(struct lk_txn *tx, const uint8_t id[32]);
enum lk_err sq_trust_each(struct lk_txn *tx, enum lk_err (*each)(void *, const struct lk_trust *),
                          void *ctx);
enum lk_err sq_trust_version(struct lk_txn *tx, int64_t *ret);

enum lk_err sq_hub_put(struct lk_txn *tx, const struct lk_hub *h);
enum lk_err sq_hub_get(struct lk_txn *tx, const char *name, struct lk_hub *ret);
enum lk_err sq_hub_delete(struct lk_txn *tx, const char *name);
enum lk_err sq_hub_each(struct lk_txn *tx, enum lk_err (*each)(void *, const struct lk_hub *),
                        void *ctx);
enum lk_err sq_identity_get(struct lk_txn *tx, const char *hub, const char *device_id,
                            struct lk_identity *ret);
enum lk_err sq_identity_insert(struct lk_txn *tx, const struct lk_identity *id);
enum lk_err sq_identity_update(struct lk_txn *tx, const struct lk_identity *id);
enum lk_err sq_identity_delete(struct lk_txn *tx, const char *hub, const char *device_id);
enum lk_err sq_identity_page(struct lk_txn *tx, const char *hub, const char *after, size_t limit,
                             enum lk_err (*each)(void *, const struct lk_identity *), void *ctx);

enum lk_err sq_errand_put(struct lk_txn *tx, const struct lk_errand *e);
enum lk_err sq_errand_get(struct lk_txn *tx, enum lk_errand_kind kind, const char *owner,
                          const char *name, struct lk_errand *ret);
enum lk_err sq_errand_delete(struct lk_txn *tx, enum lk_errand_kind kind, const char *owner,
                             const char *name);
enum lk_err sq_errand_next_hub(struct lk_txn *tx, const char *after,
                               char ret[LK_HOST_NAME_MAX + 1]);
enum lk_err sq_errand_due(struct lk_txn *tx, const char *hub, size_t limit,
                          enum lk_err (*each)(void *, struct lk_errand *), void *ctx);
enum lk_err sq_errand_overdue(struct lk_txn *tx, size_t limit,
                              enum lk_err (*each)(void *, struct lk_errand *), void *ctx);
enum lk_err sq_errand_count(struct lk_txn *tx, const char *hub, int64_t limit, int64_t *ret);

enum lk_err sq_identity_count(struct lk_txn *tx, const char *hub, struct store_count *ret);

enum lk_err sq_presence_get(struct lk_txn *tx, const char *hub, const char *device_id,
                            struct lk_presence *ret);
enum lk_err sq_presence_connect(struct lk_txn *tx, const char *hub, const char *device_id);
enum lk_err sq_presence_disconnect(struct lk_txn *tx, const char *hub, const char *device_id);
enum lk_err sq_presence_clear(struct lk_txn *tx, const char *hub);

enum lk_err sq_twin_get(struct lk_txn *tx, const char *hub, const char *device_id,
                        struct lk_twin *ret);
enum lk_err sq_twin_etag(struct lk_txn *tx, const char *hub, const char *device_id,
                         char ret[LK_ETAG_CAP]);
enum lk_err sq_twin_put(struct lk_txn *tx, const struct lk_twin *t);
enum lk_err sq_twin_page(struct lk_txn *tx, const char *hub, const char *after, size_t limit,
                         enum lk_err (*each)(void *, const struct lk_twin *), void *ctx);

enum lk_err sq_c2d_insert(struct lk_txn *tx, struct lk_c2d *m);
enum lk_err sq_c2d_each(struct lk_txn *tx, const char *hub, const char *device_id,
                        enum lk_err (*each)(void *, const struct lk_c2d *), void *ctx);
enum lk_err sq_c2d_update(struct lk_txn *tx, const struct lk_c2d *m);
enum lk_err sq_c2d_delete(struct lk_txn *tx, int64_t seq);
enum lk_err sq_c2d_count(struct lk_txn *tx, const char *hub, const char *device_id, uint32_t *ret);
enum lk_err sq_c2d_devices(struct lk_txn *tx, const char *hub, const char *after, size_t limit,
                           enum lk_err (*each)(void *, const char *device_id), void *ctx);

enum lk_err sq_hub_event_insert(struct lk_txn *tx, struct lk_hub_event *e);
enum lk_err sq_hub_event_each(struct lk_txn *tx, int64_t after_seq, size_t limit,
                              enum lk_err (*each)(void *, const struct lk_hub_event *), void *ctx);
enum lk_err sq_hub_event_marks(struct lk_txn *tx, int64_t *ret_last, int64_t *ret_pruned);
enum lk_err sq_hub_event_prune(struct lk_txn *tx, int64_t up_to_seq);

enum lk_err sq_hub_policy_put(struct lk_txn *tx, const struct lk_hub_policy *p);
enum lk_err sq_hub_policy_get(struct lk_txn *tx, const char *hub, const char *name,
                              struct lk_hub_policy *ret);
enum lk_err sq_hub_policy_delete(struct lk_txn *tx, const char *hub, const char *name);
enum lk_err sq_hub_policy_each(struct lk_txn *tx, const char *hub,
                               enum lk_err (*each)(void *, const struct lk_hub_policy *),
                               void *ctx);

enum lk_err sq_audit_head(struct lk_txn *tx, struct lk_audit_cursor *ret);
enum lk_err sq_audit_insert(struct lk_txn *tx, const struct lk_audit *a);
enum lk_err sq_audit_page(struct lk_txn *tx, int64_t after_seq, size_t limit,
                          enum lk_err (*each)(void *, const struct lk_audit *), void *ctx);

#endif
