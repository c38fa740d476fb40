/* What the files of the SQLite backend share. Only they include sqlite3.h. */
#ifndef LK_STORE_SQLITE_INT_H
#define LK_STORE_SQLITE_INT_H

#include <sqlite3.h>

#include "store/store_int.h"

#define SQ_STMTS_MAX 64u /* more than there are different statements */

struct store_db {
    char *path; /* owned; never a name that SQLite treats specially */
};

/* A prepared statement, or one in use. */
struct sq {
    const char *sql; /* the cache's key: the address of a string with static storage */
    sqlite3_stmt *handle;
    struct store_conn *c;
    enum lk_err err; /* the first failure since sq_use(); later calls do nothing */
    bool in_use, temporary;
};

struct store_conn {
    sqlite3 *db;
    bool writable;
    bool broken;   /* a statement failed in this job, other than by a constraint */
    int wal_pages; /* in the write-ahead log after the latest commit */
    size_t stmts_count;
    struct sq stmts[SQ_STMTS_MAX];
};

/* sqlite_stmt.c */

/* The error for a result code; keeps SQLite's words for lk_store_error_text(). */
enum lk_err sq_fail(struct store_conn *c, int rc, const char *what);

/*
 * Take a statement from the connection's cache. Guard it with LK_AUTO(sq): that resets it. Binding
 * and reading columns note the first failure, which sq_step() or sq_end() return.
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
/* sq_use(), sq_run(). */
LK_MUST_CHECK enum lk_err sq_exec(struct store_conn *c, const char *sql);

/* Columns are numbered from 0. One that does not fit is LK_ERR_STORE: somebody else wrote it. */
int64_t sq_int(struct sq *q, int at);
void sq_text(struct sq *q, int at, char *buf, size_t cap);
void sq_blob(struct sq *q, int at, uint8_t *buf, size_t cap, size_t *ret_len);
void sq_blob_exact(struct sq *q, int at, uint8_t *buf, size_t len);
void sq_buf(struct sq *q, int at, struct lk_buf *ret);
/* A stored row is not one that we wrote. */
void sq_corrupt(struct sq *q);

/* sqlite_schema.c */
extern const char *const sqlite_schema_steps[];
extern const int sqlite_schema_steps_count;
/* may_create: an empty database gets the schema. */
enum lk_err sq_schema_update(struct store_conn *c, const char *path, bool may_create,
                             bool read_only);

/* The rows, by file. */
enum lk_err sq_scope_insert(struct lk_txn *tx, const struct lk_scope *s);
enum lk_err sq_scope_get(struct lk_txn *tx, const char *id, struct lk_scope *ret);
enum lk_err sq_scope_each(struct lk_txn *tx, enum lk_err (*each)(void *, const struct lk_scope *),
                          void *ctx);

/* sqlite_ek.c */
#define SQ_EKS_PACKED_MAX (LK_EKS_MAX * (LK_EK_ID_LEN + 2u + LK_TPM_PUBLIC_MAX)) /* bytes */
enum lk_err sq_eks_pack(const struct lk_enrollment *e, struct lk_buf *ret);
void sq_eks_read(struct sq *q, int at, struct lk_enrollment *e);
enum lk_err sq_eks_insert(struct lk_txn *tx, const struct lk_enrollment *e, int64_t nr);
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
enum lk_err sq_enrollment_count(struct lk_txn *tx, const char *scope, int64_t *ret);
/* Remove the row nr, whose column eks is packed, and its keys. */
enum lk_err sq_enrollment_remove(struct lk_txn *tx, int64_t nr, const char *scope,
                                 const struct lk_buf *packed);

enum lk_err sq_import_begin(struct lk_txn *tx, const char *scope, const char *source, int64_t *ret);
enum lk_err sq_import_stage(struct lk_txn *tx, const struct store_key *key,
                            const struct lk_enrollment *e, struct lk_conflict *conflict);
enum lk_err sq_import_finish(struct lk_txn *tx, int64_t import_id, int64_t *ret_rows);
enum lk_err sq_import_drop(struct lk_txn *tx, int64_t import_id, size_t limit, bool *ret_left);
enum lk_err sq_import_abandoned(struct lk_txn *tx, int64_t older_than_ms, int64_t *ret_import_id);

enum lk_err sq_registration_get(struct lk_txn *tx, const char *scope, const struct store_key *key,
                                struct lk_registration *ret);
enum lk_err sq_registration_put(struct lk_txn *tx, const struct store_key *key,
                                const struct lk_registration *r, uint64_t expected_generation);
enum lk_err sq_registration_page(struct lk_txn *tx, const char *scope,
                                 const struct store_key *after, size_t limit,
                                 enum lk_err (*each)(void *, const struct lk_registration *),
                                 void *ctx);

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

enum lk_err sq_audit_head(struct lk_txn *tx, struct lk_audit_cursor *ret);
enum lk_err sq_audit_insert(struct lk_txn *tx, const struct lk_audit *a);
enum lk_err sq_audit_page(struct lk_txn *tx, int64_t after_seq, size_t limit,
                          enum lk_err (*each)(void *, const struct lk_audit *), void *ctx);

#endif
