/*
 * What the files of the store share: the front (store.c, writer.c, txn.c, audit.c) and what a
 * backend gives it. A backend is a struct store_ops; the contract suite in tests/unit/store runs
 * over each. The front checks arguments, makes keys and etags, and keeps the audit chain; a backend
 * moves rows.
 */
#ifndef LK_STORE_STORE_INT_H
#define LK_STORE_STORE_INT_H

#include <pthread.h>

#include "store/store.h"

struct store_db;   /* a backend's database */
struct store_conn; /* one of its connections; used by one thread at a time */

#define STORE_QUEUE_MAX 4096u /* write jobs that wait; one more is LK_ERR_BUSY */
#define STORE_BATCH_MAX 512u  /* jobs of one commit */
#define STORE_GATHER_US 1000  /* how long a batch waits for more jobs when they come in numbers, */
#define STORE_GATHER_JOBS 32u /* unless it is this large already */
#define STORE_IDLE_MS 100     /* without a job: time for what the backend puts off */

#define STORE_AUDIT_ACTOR_MAX 128u /* bytes that are kept of each text */
#define STORE_AUDIT_ACTION_MAX 64u
#define STORE_AUDIT_SUBJECT_MAX 256u

/* The key of an enrollment or registration within its scope: the id in lower case. */
struct store_key {
    char text[LK_REGISTRATION_ID_MAX + 1];
};

struct store_count {
    uint64_t total, disabled, connected;
};

struct lk_txn {
    struct lk_store *store;
    struct store_conn *conn;
    int64_t now_ms;
    bool writable;
};

/*
 * Times, etags and keys are set by the front before an insert or put is called. A "get" leaves its
 * result untouched unless it returns LK_OK.
 */
struct store_ops {
    const char *scheme; /* of the URL, with its colon */

    /* Create where allowed, bring the schema up to date. */
    enum lk_err (*open)(const struct lk_store_config *config, const char *location,
                        struct store_db **ret);
    void (*close)(struct store_db *db);
    enum lk_err (*conn_open)(struct store_db *db, bool writable, struct store_conn **ret);
    void (*conn_close)(struct store_conn *c);

    /* A writable connection's begin() takes the write lock: no later statement can be refused. */
    enum lk_err (*begin)(struct store_conn *c);
    enum lk_err (*commit)(struct store_conn *c); /* durable; on failure the transaction is gone */
    void (*rollback)(struct store_conn *c);      /* no transaction: nothing to do */
    /*
     * Around one job. job_keep() fails when a statement of the job failed in a way that its run()
     * must not have overlooked. LK_ERR_CANCELLED from job_begin() or job_undo(): the transaction
     * was lost whole.
     */
    enum lk_err (*job_begin)(struct store_conn *c);
    enum lk_err (*job_keep)(struct store_conn *c);
    enum lk_err (*job_undo)(struct store_conn *c);
    /* Between transactions of the writer; true: call again with idle when no job comes. */
    bool (*maintain)(struct store_conn *c, bool idle);

    enum lk_err (*scope_insert)(struct lk_txn *tx, const struct lk_scope *s);
    enum lk_err (*scope_update)(struct lk_txn *tx, const struct lk_scope *s);
    enum lk_err (*scope_get)(struct lk_txn *tx, const char *id, struct lk_scope *ret);
    enum lk_err (*scope_each)(struct lk_txn *tx,
                              enum lk_err (*each)(void *, const struct lk_scope *), void *ctx);

    /* A conflict is found before anything is written: a job may go on after LK_ERR_EXISTS. */
    enum lk_err (*enrollment_insert)(struct lk_txn *tx, const struct store_key *key,
                                     const struct lk_enrollment *e, struct lk_conflict *conflict);
    /* Replaces all but created_ms and the import, which are read back into e. */
    enum lk_err (*enrollment_replace)(struct lk_txn *tx, const struct store_key *key,
                                      struct lk_enrollment *e, const char *etag,
                                      struct lk_conflict *conflict);
    enum lk_err (*enrollment_delete)(struct lk_txn *tx, const char *scope,
                                     const struct store_key *key, const char *etag);
    enum lk_err (*enrollment_get)(struct lk_txn *tx, const char *scope, const struct store_key *key,
                                  struct lk_enrollment *ret);
    enum lk_err (*enrollment_by_ek)(struct lk_txn *tx, const char *scope,
                                    const uint8_t ek_id[LK_EK_ID_LEN],
                                    char ret_id[LK_REGISTRATION_ID_MAX + 1]);
    enum lk_err (*enrollment_page)(struct lk_txn *tx, const char *scope,
                                   const struct store_key *after, size_t limit,
                                   enum lk_err (*each)(void *, const struct lk_enrollment *),
                                   void *ctx);
    enum lk_err (*enrollment_count)(struct lk_txn *tx, const char *scope, int64_t *ret);

    enum lk_err (*import_begin)(struct lk_txn *tx, const char *scope, const char *source,
                                int64_t *ret_import_id);
    /* As enrollment_insert(); e names its import. LK_ERR_NOT_FOUND unless that is open, in e's
     * scope. */
    enum lk_err (*import_stage)(struct lk_txn *tx, const struct store_key *key,
                                const struct lk_enrollment *e, struct lk_conflict *conflict);
    enum lk_err (*import_finish)(struct lk_txn *tx, int64_t import_id, int64_t *ret_rows);
    enum lk_err (*import_drop)(struct lk_txn *tx, int64_t import_id, size_t limit, bool *ret_left);
    enum lk_err (*import_undo)(struct lk_txn *tx, int64_t import_id, bool force, int64_t *ret_rows,
                               int64_t *ret_kept);
    enum lk_err (*import_resume)(struct lk_txn *tx, int64_t import_id, const char *source,
                                 int64_t *ret_last_line);
    enum lk_err (*import_page)(struct lk_txn *tx, const char *scope, int64_t before, size_t limit,
                               enum lk_err (*each)(void *, const struct lk_import *), void *ctx);
    enum lk_err (*import_abandoned)(struct lk_txn *tx, int64_t older_than_ms,
                                    int64_t *ret_import_id);

    enum lk_err (*registration_get)(struct lk_txn *tx, const char *scope,
                                    const struct store_key *key, struct lk_registration *ret);
    enum lk_err (*registration_put)(struct lk_txn *tx, const struct store_key *key,
                                    const struct lk_registration *r, uint64_t expected_generation);
    enum lk_err (*registration_page)(struct lk_txn *tx, const char *scope,
                                     const struct store_key *after, size_t limit,
                                     enum lk_err (*each)(void *, const struct lk_registration *),
                                     void *ctx);

    enum lk_err (*registration_page_of_group)(
        struct lk_txn *tx, const char *scope, const struct store_key *group,
        const struct store_key *after, size_t limit,
        enum lk_err (*each)(void *, const struct lk_registration *), void *ctx);
    enum lk_err (*registration_count_of_group)(struct lk_txn *tx, const char *scope,
                                               const struct store_key *group, int64_t limit,
                                               int64_t *ret);
    enum lk_err (*registration_of_ek_elsewhere)(struct lk_txn *tx, const char *scope,
                                                const uint8_t ek_id[LK_EK_ID_LEN],
                                                const struct store_key *own,
                                                char ret_id[LK_REGISTRATION_ID_MAX + 1]);

    enum lk_err (*group_insert)(struct lk_txn *tx, const struct store_key *key,
                                const struct lk_enrollment *g);
    enum lk_err (*group_update)(struct lk_txn *tx, const struct store_key *key,
                                const struct lk_enrollment *g);
    enum lk_err (*group_delete)(struct lk_txn *tx, const char *scope, const struct store_key *key);
    enum lk_err (*group_get)(struct lk_txn *tx, const char *scope, const struct store_key *key,
                             struct lk_enrollment *ret);
    enum lk_err (*group_page)(struct lk_txn *tx, const char *scope, const struct store_key *after,
                              size_t limit,
                              enum lk_err (*each)(void *, const struct lk_enrollment *), void *ctx);
    enum lk_err (*group_each)(struct lk_txn *tx, const char *scope, enum lk_attestation attestation,
                              enum lk_err (*each)(void *, const struct lk_enrollment *), void *ctx);
    enum lk_err (*group_count)(struct lk_txn *tx, const char *scope, int64_t *ret);

    enum lk_err (*policy_put)(struct lk_txn *tx, const struct lk_policy *p);
    enum lk_err (*policy_get)(struct lk_txn *tx, const char *scope, const char *name,
                              struct lk_policy *ret);
    enum lk_err (*policy_delete)(struct lk_txn *tx, const char *scope, const char *name);
    enum lk_err (*policy_each)(struct lk_txn *tx, const char *scope,
                               enum lk_err (*each)(void *, const struct lk_policy *), void *ctx);

    /* These two count up the version when they changed something. */
    enum lk_err (*trust_put)(struct lk_txn *tx, const struct lk_trust *t);
    enum lk_err (*trust_delete)(struct lk_txn *tx, const uint8_t id[32]);
    enum lk_err (*trust_each)(struct lk_txn *tx,
                              enum lk_err (*each)(void *, const struct lk_trust *), void *ctx);
    enum lk_err (*trust_version)(struct lk_txn *tx, int64_t *ret);

    enum lk_err (*hub_put)(struct lk_txn *tx, const struct lk_hub *h);
    enum lk_err (*hub_get)(struct lk_txn *tx, const char *name, struct lk_hub *ret);
    enum lk_err (*hub_delete)(struct lk_txn *tx, const char *name);
    enum lk_err (*hub_each)(struct lk_txn *tx, enum lk_err (*each)(void *, const struct lk_hub *),
                            void *ctx);

    enum lk_err (*identity_get)(struct lk_txn *tx, const char *hub, const char *device_id,
                                struct lk_identity *ret);
    enum lk_err (*identity_insert)(struct lk_txn *tx, const struct lk_identity *id);
    enum lk_err (*identity_update)(struct lk_txn *tx, const struct lk_identity *id);
    enum lk_err (*identity_delete)(struct lk_txn *tx, const char *hub, const char *device_id);
    enum lk_err (*identity_page)(struct lk_txn *tx, const char *hub, const char *after,
                                 size_t limit,
                                 enum lk_err (*each)(void *, const struct lk_identity *),
                                 void *ctx);

    enum lk_err (*errand_put)(struct lk_txn *tx, const struct lk_errand *e);
    enum lk_err (*errand_get)(struct lk_txn *tx, enum lk_errand_kind kind, const char *owner,
                              const char *name, struct lk_errand *ret);
    enum lk_err (*errand_delete)(struct lk_txn *tx, enum lk_errand_kind kind, const char *owner,
                                 const char *name);
    enum lk_err (*errand_next_hub)(struct lk_txn *tx, const char *after,
                                   char ret[LK_HOST_NAME_MAX + 1]);
    enum lk_err (*errand_due)(struct lk_txn *tx, const char *hub, size_t limit,
                              enum lk_err (*each)(void *, struct lk_errand *), void *ctx);
    enum lk_err (*errand_overdue)(struct lk_txn *tx, size_t limit,
                                  enum lk_err (*each)(void *, struct lk_errand *), void *ctx);
    enum lk_err (*errand_count)(struct lk_txn *tx, const char *hub, int64_t limit, int64_t *ret);

    /* LK_ERR_NOT_FOUND: the hub never had one. */
    enum lk_err (*identity_count)(struct lk_txn *tx, const char *hub, struct store_count *ret);

    /* LK_ERR_NOT_FOUND: never connected. */
    enum lk_err (*presence_get)(struct lk_txn *tx, const char *hub, const char *device_id,
                                struct lk_presence *ret);
    enum lk_err (*presence_connect)(struct lk_txn *tx, const char *hub, const char *device_id);
    enum lk_err (*presence_disconnect)(struct lk_txn *tx, const char *hub, const char *device_id);
    enum lk_err (*presence_clear)(struct lk_txn *tx, const char *hub);

    enum lk_err (*twin_get)(struct lk_txn *tx, const char *hub, const char *device_id,
                            struct lk_twin *ret);
    enum lk_err (*twin_etag)(struct lk_txn *tx, const char *hub, const char *device_id,
                             char ret[LK_ETAG_CAP]);
    /* Insert or replace. LK_ERR_NOT_FOUND: the identity. */
    enum lk_err (*twin_put)(struct lk_txn *tx, const struct lk_twin *t);
    enum lk_err (*twin_page)(struct lk_txn *tx, const char *hub, const char *after, size_t limit,
                             enum lk_err (*each)(void *, const struct lk_twin *), void *ctx);

    /* Sets seq. LK_ERR_NOT_FOUND: the identity. */
    enum lk_err (*c2d_insert)(struct lk_txn *tx, struct lk_c2d *m);
    enum lk_err (*c2d_each)(struct lk_txn *tx, const char *hub, const char *device_id,
                            enum lk_err (*each)(void *, const struct lk_c2d *), void *ctx);
    enum lk_err (*c2d_update)(struct lk_txn *tx, const struct lk_c2d *m);
    enum lk_err (*c2d_delete)(struct lk_txn *tx, int64_t seq);
    enum lk_err (*c2d_count)(struct lk_txn *tx, const char *hub, const char *device_id,
                             uint32_t *ret);
    enum lk_err (*c2d_devices)(struct lk_txn *tx, const char *hub, const char *after, size_t limit,
                               enum lk_err (*each)(void *, const char *device_id), void *ctx);

    /* Sets seq. */
    enum lk_err (*hub_event_insert)(struct lk_txn *tx, struct lk_hub_event *e);
    enum lk_err (*hub_event_each)(struct lk_txn *tx, int64_t after_seq, size_t limit,
                                  enum lk_err (*each)(void *, const struct lk_hub_event *),
                                  void *ctx);
    enum lk_err (*hub_event_marks)(struct lk_txn *tx, int64_t *ret_last, int64_t *ret_pruned);
    enum lk_err (*hub_event_prune)(struct lk_txn *tx, int64_t up_to_seq);

    enum lk_err (*hub_policy_put)(struct lk_txn *tx, const struct lk_hub_policy *p);
    enum lk_err (*hub_policy_get)(struct lk_txn *tx, const char *hub, const char *name,
                                  struct lk_hub_policy *ret);
    enum lk_err (*hub_policy_delete)(struct lk_txn *tx, const char *hub, const char *name);
    enum lk_err (*hub_policy_each)(struct lk_txn *tx, const char *hub,
                                   enum lk_err (*each)(void *, const struct lk_hub_policy *),
                                   void *ctx);

    /* The last record's seq and hash, locked until the transaction ends; 0 and zeros when empty. */
    enum lk_err (*audit_head)(struct lk_txn *tx, struct lk_audit_cursor *ret);
    enum lk_err (*audit_insert)(struct lk_txn *tx, const struct lk_audit *a);
    enum lk_err (*audit_page)(struct lk_txn *tx, int64_t after_seq, size_t limit,
                              enum lk_err (*each)(void *, const struct lk_audit *), void *ctx);
};

extern const struct store_ops store_sqlite;

struct lk_store {
    const struct store_ops *ops;
    struct store_db *db;
    const struct lk_clock *clock;
    uint8_t audit_key[LK_AUDIT_KEY_LEN];
    bool read_only;

    /* The writer: one thread, one connection, one queue. lock guards what is below it. */
    struct store_conn *writer_conn;
    pthread_t writer;
    bool writer_started;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct lk_job *head, **tail;
    size_t queued;
    bool stopping;
};

struct lk_session {
    struct lk_store *store;
    struct store_conn *conn; /* for read jobs */
    int fd;                  /* eventfd: readable while done_head is not NULL */
    size_t pending;          /* write jobs under way; the session's thread only */

    pthread_mutex_t lock; /* guards what is below it */
    struct lk_job *done_head, **done_tail;
    char error[LK_STORE_ERROR_CAP]; /* the latest failure's words, for lk_store_error_text() */
};

/* txn.c */

/* LK_ERR_ARG for what cannot be the id of anything. */
enum lk_err store_key_of(const char *id, struct store_key *ret);
/* The same for a reader, who asks for what does not exist. */
enum lk_err store_key_find(const char *id, struct store_key *ret);
/* Where a page starts. */
enum lk_err store_key_after(const char *after, struct store_key *ret);
enum lk_err store_etag_make(char ret[LK_ETAG_CAP]);
bool store_etag_matches(const char *wanted, const char *have);
/* The limits of what enrollments and groups share. */
enum lk_err store_fields_check(const struct lk_enrollment *e);

/* audit.c: copy at most cap - 1 bytes of text, and no part of a UTF-8 sequence; buf is returned. */
const char *store_text_cut(const char *text, char *buf, size_t cap);

/* writer.c */
enum lk_err writer_start(struct lk_store *st);
void writer_stop(struct lk_store *st); /* after what is queued */
/* Hand a finished job (result is set) back to its session. */
void session_deliver(struct lk_job *job);

/* store.c: this thread's lk_store_error_text(). */
void store_error_set(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
