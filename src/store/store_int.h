/*
 * What the files of the store share: the front (store.c, writer.c, readers.c, txn*.c, audit.c), and
 * what a backend gives it. The front checks arguments, makes keys and etags, and keeps the audit
 * chain; the files of rows (sql_*.c) hold the SQL; a backend is an engine for it: a struct
 * store_ops for connections and transactions and a struct sq_engine (sql_int.h) for statements. The
 * contract suites in tests/unit/store run over each.
 */
#ifndef LK_STORE_STORE_INT_H
#define LK_STORE_STORE_INT_H

#include <pthread.h>

#include "store/store.h"

struct store_db;   /* a backend's database */
struct store_conn; /* one of its connections; used by one thread at a time */

#define STORE_QUEUE_MAX 4096u /* write jobs that wait; one more is LK_ERR_BUSY */
#define STORE_BATCH_MAX 512u  /* jobs of one commit */
/* How long a batch waits for more jobs when they come in numbers: as long as each slice of the time
 * brings some, unless it is so large already. */
#define STORE_GATHER_US 20000u
#define STORE_GATHER_SLICE_US 5000u
#define STORE_GATHER_JOBS 128u
#define STORE_IDLE_MS 100 /* without a job: time for what the backend puts off */

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
    const char *schemes[2]; /* of the URL, with the colon; the second may be NULL */
    bool reads_wait;        /* for a server: they are not for an event loop, but for readers.c */

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
    /* Let triggers work on this connection's transaction, or rest in it. */
    enum lk_err (*triggers)(struct store_conn *c, bool on);
    /* Rows with numbers of their own were written: go on behind them. NULL: that needs nothing. */
    enum lk_err (*copied)(struct store_conn *c);
};

extern const struct store_ops store_sqlite, store_pgsql;

/* A session's own reader, for a backend whose reads_wait (readers.c). lock guards the queue. */
struct store_reader {
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct lk_job *head, **tail;
    size_t queued;
    bool stopping;
};

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
    uint64_t failures; /* for lk_store_failed() */
    char failure[LK_STORE_ERROR_CAP];
};

struct lk_session {
    struct lk_store *store;
    struct store_conn *conn; /* for read jobs; the reader's, where there is one */
    struct store_reader reader;
    int fd;         /* eventfd: readable while done_head is not NULL */
    size_t pending; /* queued jobs under way; the session's thread only */

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
/* Those of an enrollment that is to be written, whose key, etag and time of change are made. */
enum lk_err store_enrollment_check(const struct lk_txn *tx, struct lk_enrollment *e,
                                   struct store_key *key, struct lk_conflict *conflict);

/* audit.c: copy at most cap - 1 bytes of text, as whole UTF-8 sequences; buf is returned. */
const char *store_text_cut(const char *text, char *buf, size_t cap);

/* writer.c */
/* Start a thread that no signal comes to; what names it in an error. LK_ERR_NOMEM. */
enum lk_err store_thread_start(pthread_t *thread, void *(*run)(void *), void *arg,
                               const char *what);
enum lk_err writer_start(struct lk_store *st);
void writer_stop(struct lk_store *st); /* after what is queued */
/* Hand a finished job (result is set) back to its session. */
void session_deliver(struct lk_job *job);

/* readers.c */
enum lk_err reader_start(struct lk_session *s);
void reader_stop(struct lk_session *s); /* started or not */
void reader_submit(struct lk_session *s, struct lk_job *job);

/* store.c: this thread's lk_store_error_text(). */
void store_error_set(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
