/*
 * The store: enrollments, registrations, hubs, hub identities and the audit chain, durable and
 * shared by every instance of the service and by the command line.
 *
 * A unit of work is a job: a function that runs inside one transaction, sees a consistent state,
 * and either takes effect whole or not at all. Jobs are submitted, and called back after the
 * commit; nothing blocks an event loop. Write jobs that arrive while a commit is under way share
 * the next one (one fsync for all). A job's run() may be called more than once (a distributed
 * database asks for a retry): it must depend on the transaction and its own input only, and reset
 * its own output when it starts.
 *
 * Threads: a store is shared; a session belongs to one thread. run() of a write job is called on
 * the writer's thread, run() of a read job on the session's own thread or a reader's; done() is
 * always called on the session's thread: from lk_session_dispatch(), or before lk_store_read()
 * returns.
 */
#ifndef LK_STORE_STORE_H
#define LK_STORE_STORE_H

#include "attest/attest.h"
#include "base/clock.h"
#include "wire/ids.h"

struct lk_store;
struct lk_session;
struct lk_txn;

#define LK_STORE_ERROR_CAP 256u
#define LK_AUDIT_KEY_LEN 32u
#define LK_AUDIT_DETAIL_MAX 4096u /* bytes */

struct lk_store_config {
    const char *url;                     /* "sqlite:/path/to/file.db" */
    const struct lk_clock *clock;        /* NULL: the system's */
    uint8_t audit_key[LK_AUDIT_KEY_LEN]; /* keys the audit chain; copied */
    bool create;                         /* create the database when it is absent (latchkey init) */
    bool read_only;                      /* no writer thread; write jobs fail with LK_ERR_ARG */
};

/*
 * Open and bring the schema up to date (numbered steps, forward only, one transaction each). error
 * (may be NULL) names file and cause. LK_ERR_NOT_FOUND (absent and not create), LK_ERR_SCHEMA
 * (newer than this program), LK_ERR_STORE, LK_ERR_CONFIG (URL).
 */
LK_MUST_CHECK enum lk_err lk_store_open(const struct lk_store_config *config,
                                        char error[LK_STORE_ERROR_CAP], struct lk_store **ret);
/* All sessions must be closed first; waits for the writer to finish what was submitted. */
void lk_store_close(struct lk_store *st);
LK_DEFINE_AUTO(struct lk_store, lk_store, lk_store_close);

/*
 * Copy everything from one store into another that is empty, whatever their backends, and compare
 * it there row by row; the target's change is one transaction. Nobody else may use either. progress
 * (may be NULL) is called for every thousand rows of a table with how many there were.
 * LK_ERR_EXISTS: the target has an ID scope; LK_ERR_STORE, LK_ERR_BUSY, LK_ERR_NOMEM; error says
 * why.
 */
typedef void lk_store_copied_fn(void *ctx, const char *table, uint64_t rows);
LK_MUST_CHECK enum lk_err lk_store_copy(struct lk_store *from, struct lk_store *to,
                                        lk_store_copied_fn *progress, void *ctx,
                                        char error[LK_STORE_ERROR_CAP]);

/*
 * Compare what the database counts as it changes with the rows, all of one moment: each is called
 * for every number that is wrong, with what it counts, of whom, and both. Reads every row. repair
 * counts anew in the same transaction: nobody else writes meanwhile. LK_ERR_STORE, LK_ERR_BUSY,
 * LK_ERR_NOMEM, of which error says why; LK_ERR_ARG: repair of a store that is read-only.
 */
typedef void lk_store_miscounted_fn(void *ctx, const char *what, const char *name, int64_t kept,
                                    int64_t found);
LK_MUST_CHECK enum lk_err lk_store_count_check(struct lk_store *st, bool repair,
                                               lk_store_miscounted_fn *each, void *ctx,
                                               char error[LK_STORE_ERROR_CAP]);

LK_MUST_CHECK enum lk_err lk_session_open(struct lk_store *st, struct lk_session **ret);
/* No job of this session may be pending. */
void lk_session_close(struct lk_session *s);
LK_DEFINE_AUTO(struct lk_session, lk_session, lk_session_close);

/* Readable when done() calls are waiting; watch it in the loop, then call lk_session_dispatch(). */
int lk_session_fd(const struct lk_session *s);
void lk_session_dispatch(struct lk_session *s);

struct lk_job {
    enum lk_err (*run)(struct lk_txn *tx,
                       void *arg);            /* LK_OK commits; anything else rolls this job back */
    void (*done)(void *arg, enum lk_err err); /* LK_OK only after a durable commit */
    void *arg;                                /* borrowed until done() */
    struct lk_session *session;               /* the store's own from here on */
    enum lk_err result;
    struct lk_job *next;
};

/*
 * job is borrowed until done(). A full queue calls done() with LK_ERR_BUSY from the next dispatch;
 * so does another process that holds the database for too long. LK_ERR_STORE: the database failed
 * (disk full, I/O error); nothing of the job took effect, and reading goes on.
 *
 * A read job is run and done before lk_store_read() returns: keep it to a few indexed rows on an
 * event loop.
 */
void lk_store_write(struct lk_session *s, struct lk_job *job);
void lk_store_read(struct lk_session *s, struct lk_job *job);

/* Run one job and wait for it: for the command line and tests. Never on an event loop. */
LK_MUST_CHECK enum lk_err
lk_store_write_wait(struct lk_session *s, enum lk_err (*run)(struct lk_txn *, void *), void *arg);
/* As lk_store_write_wait(); meanwhile (may be NULL) is called once, on the caller's thread, while
 * the job is under way: it uses nothing that run() does, and not the session. */
LK_MUST_CHECK enum lk_err lk_store_write_while(struct lk_session *s,
                                               enum lk_err (*run)(struct lk_txn *, void *),
                                               void *arg, void (*meanwhile)(void *arg));
LK_MUST_CHECK enum lk_err
lk_store_read_wait(struct lk_session *s, enum lk_err (*run)(struct lk_txn *, void *), void *arg);

/*
 * The latest database error of this thread in words, for the log; for a write job's LK_ERR_STORE or
 * LK_ERR_BUSY, in done(). Thread-local storage.
 */
const char *lk_store_error_text(void);

/*
 * Whether the database has failed a write job, or refused a transaction, since an earlier call with
 * the same *seen (0 at first); ret_words is then its latest error in words. Any thread.
 */
LK_MUST_CHECK bool lk_store_failed(struct lk_store *st, uint64_t *seen,
                                   char ret_words[LK_STORE_ERROR_CAP]);

/* Time of the transaction, Unix milliseconds. */
int64_t lk_txn_now_ms(const struct lk_txn *tx);

/*
 * For all lk_txn_ calls: LK_ERR_ARG for a change in a read job or an id that is empty or too long;
 * LK_ERR_STORE, LK_ERR_BUSY and LK_ERR_NOMEM of the database, after which the job fails whatever
 * its run() returns. After any other error a job may go on: the call changed nothing.
 *
 * A struct that a "get" fills is initialised by its caller (lk_enrollment_init(), or zeros). What
 * it held is released; it stays untouched unless LK_OK is returned. A callback may ask anything in
 * the same transaction, but not change what is being listed; an error that it returns ends the list
 * and is returned.
 *
 * An etag that is asked for may be NULL or "*": any.
 */

/* ---- ID scopes
 * ---------------------------------------------------------------------------------------- */

enum lk_allocation {
    LK_ALLOC_DEFAULT,
    LK_ALLOC_HASHED,
    LK_ALLOC_GEO,
    LK_ALLOC_STATIC,
    LK_ALLOC_CUSTOM
};

struct lk_scope {
    char id[LK_ID_SCOPE_MAX + 1];
    char service_host[LK_HOST_NAME_MAX + 1]; /* under which its operators' API is reached when
                                                there are several scopes, lower case; "": none.
                                                A single scope is reached under any */
    enum lk_allocation allocation;           /* of enrollments that name none; never CUSTOM */
    int64_t created_ms;                      /* set by the store */
};
LK_MUST_CHECK enum lk_err lk_txn_scope_add(struct lk_txn *tx, const char *id); /* LK_ERR_EXISTS */
/* Change service_host and allocation. LK_ERR_NOT_FOUND; LK_ERR_EXISTS: another scope has the host.
 */
LK_MUST_CHECK enum lk_err lk_txn_scope_set(struct lk_txn *tx, const struct lk_scope *scope);
LK_MUST_CHECK enum lk_err lk_txn_scope_get(struct lk_txn *tx, const char *id, struct lk_scope *ret);
/* Calls each in order of id until it returns other than LK_OK, which is then returned. */
LK_MUST_CHECK enum lk_err lk_txn_scope_each(struct lk_txn *tx,
                                            enum lk_err (*each)(void *ctx, const struct lk_scope *),
                                            void *ctx);

/* ---- Enrollments
 * ---------------------------------------------------------------------------------------- */

#define LK_EKS_MAX 8u /* accepted EKs of one enrollment */
#define LK_HUBS_PER_ENROLLMENT 16u
#define LK_ETAG_CAP 33u

struct lk_ek {
    uint8_t id[LK_EK_ID_LEN];
    uint8_t pub[LK_TPM_PUBLIC_MAX]; /* TPM2B_PUBLIC as it was given */
    size_t pub_len;
};

/* How a device proves who it is. */
enum lk_attestation {
    LK_ATTESTATION_TPM,           /* one of the EKs that are named */
    LK_ATTESTATION_SYMMETRIC_KEY, /* a shared key; in a group, one derived from the group's */
    LK_ATTESTATION_X509,          /* a TLS client certificate: this one, or one signed by this */
    LK_ATTESTATION_EK_CERT        /* groups only: an EK with its maker's certificate */
};

#define LK_WEBHOOK_URL_MAX 1024u /* bytes */
#define LK_API_VERSION_CAP 32u   /* bytes of "2018-09-01-preview" and the like with the NUL */
#define LK_CERT_DER_MAX ((size_t)16384) /* bytes of a certificate, as DER */

/*
 * An individual enrollment, or (lk_txn_group_...) an enrollment group, which has the same fields
 * less deviceId and EKs.
 */
struct lk_enrollment {
    char scope[LK_ID_SCOPE_MAX + 1];
    char id[LK_REGISTRATION_ID_MAX + 1]; /* as given; the store's key is its lower-case form */
    enum lk_attestation attestation;
    char device_id[LK_DEVICE_ID_MAX + 1]; /* "": the registration id */
    bool enabled;
    enum lk_allocation allocation;
    bool reprovision_update_hub, reprovision_migrate; /* default true, true */
    bool reprovision_chosen; /* somebody chose them; false, as by default, only with true, true */
    char hubs[LK_HUBS_PER_ENROLLMENT]
             [LK_HOST_NAME_MAX + 1]; /* subset of the linked hubs; none: all */
    size_t hubs_count;
    struct lk_ek eks[LK_EKS_MAX];
    size_t eks_count;
    struct lk_buf srk_pub;      /* TPM: storageRootKey as it was given; empty: none */
    bool pin_srk;               /* TPM: no other SRK is accepted */
    struct lk_buf sealed_keys;  /* SYMMETRIC_KEY: both keys, sealed (provision/shared_key.h) */
    struct lk_buf certs[2];     /* X509: primary and secondary certificate, DER; empty: none */
    struct lk_buf rules;        /* EK_CERT: JSON text that provision/ek_group.h reads */
    struct lk_buf initial_twin; /* JSON text; empty: none */
    struct lk_buf device_info;  /* optionalDeviceInformation, JSON text; empty: none */
    bool iot_edge;              /* capabilities.iotEdge */
    char webhook_url[LK_WEBHOOK_URL_MAX + 1]; /* LK_ALLOC_CUSTOM; "": none */
    char webhook_api_version[LK_API_VERSION_CAP];
    char etag[LK_ETAG_CAP]; /* set by the store: changes with every change */
    int64_t created_ms, updated_ms;
    int64_t import_id, import_line; /* 0 unless it came by an import */
};
void lk_enrollment_init(struct lk_enrollment *e); /* the defaults */
void lk_enrollment_fini(struct lk_enrollment *e);

/*
 * LK_ERR_LIMIT, here and for groups: a certificate is over LK_CERT_DER_MAX. LK_ERR_ARG also: an
 * enrollment with LK_ATTESTATION_EK_CERT, a group with LK_ATTESTATION_TPM.
 *
 * Create e (etag, created, updated and import fields are set by the store). LK_ERR_NOT_FOUND when
 * there is no such scope; LK_ERR_EXISTS when the id or one of its EKs is enrolled in this scope
 * already, or an EK is named twice; then *ret_conflict (may be NULL) names the enrollment in the
 * way.
 *
 * A row that is staged by an import reserves its id and its EKs from that moment: creating,
 * replacing or staging another one with them is LK_ERR_EXISTS, and the conflict names the import
 * and its line although readers cannot see the row yet. Whoever comes first wins; an import that is
 * dropped gives its reservations back.
 */
struct lk_conflict {
    char id[LK_REGISTRATION_ID_MAX + 1];
    bool by_ek;                     /* the EK is taken; otherwise the id */
    int64_t import_id, import_line; /* where that one came from; 0 unless by an import */
};
LK_MUST_CHECK enum lk_err lk_txn_enrollment_create(struct lk_txn *tx, struct lk_enrollment *e,
                                                   struct lk_conflict *ret_conflict);
/*
 * Replace; creation time and import stay. LK_ERR_NOT_FOUND, LK_ERR_PRECONDITION (etag),
 * LK_ERR_EXISTS (EK).
 */
LK_MUST_CHECK enum lk_err lk_txn_enrollment_replace(struct lk_txn *tx, struct lk_enrollment *e,
                                                    const char *etag,
                                                    struct lk_conflict *ret_conflict);
LK_MUST_CHECK enum lk_err lk_txn_enrollment_delete(struct lk_txn *tx, const char *scope,
                                                   const char *id, const char *etag);
/* id in any case. Rows of an import that is not finished do not exist for readers. */
LK_MUST_CHECK enum lk_err lk_txn_enrollment_get(struct lk_txn *tx, const char *scope,
                                                const char *id, struct lk_enrollment *ret);
LK_MUST_CHECK enum lk_err lk_txn_enrollment_by_ek(struct lk_txn *tx, const char *scope,
                                                  const uint8_t ek_id[LK_EK_ID_LEN],
                                                  char ret_id[LK_REGISTRATION_ID_MAX + 1]);
/*
 * One page in order of the lower-case id, after the id `after` ("" from the start): at most limit
 * calls of each. Keyset paging, flat memory.
 */
LK_MUST_CHECK enum lk_err
lk_txn_enrollment_page(struct lk_txn *tx, const char *scope, const char *after, size_t limit,
                       enum lk_err (*each)(void *ctx, const struct lk_enrollment *), void *ctx);
/* Kept as a counter; so are the numbers of registrations below. */
LK_MUST_CHECK enum lk_err lk_txn_enrollment_count(struct lk_txn *tx, const char *scope,
                                                  int64_t *ret);

/*
 * Imports: rows are staged in many small transactions, invisible to readers, and become visible all
 * at once when the import is finished; an abandoned one is dropped. So a million rows take effect
 * whole or not at all while the service goes on committing registrations.
 *
 * Staging and finishing are LK_ERR_NOT_FOUND once an import is finished or being dropped, and for a
 * row of another scope. Dropping a finished one is LK_ERR_PRECONDITION.
 */
LK_MUST_CHECK enum lk_err lk_txn_import_begin(struct lk_txn *tx, const char *scope,
                                              const char *source, int64_t *ret_import_id);
LK_MUST_CHECK enum lk_err lk_txn_import_stage(struct lk_txn *tx, int64_t import_id, int64_t line,
                                              struct lk_enrollment *e,
                                              struct lk_conflict *ret_conflict);
/*
 * Stage many rows of one scope at a time, which is quicker: those that nothing is in the way of,
 * neither in the store nor in a row before them, or some of these. A row that the import has staged
 * under the same line already counts as staged. The others are for lk_txn_import_stage(), in their
 * order, which says what is wrong: then all is as if every row had gone that way.
 */
#define LK_STAGE_MAX 2048u
struct lk_stage {
    int64_t line;
    struct lk_enrollment *e; /* NULL: there is no row here */
    bool staged;             /* set by the call */
};
LK_MUST_CHECK enum lk_err lk_txn_import_stage_many(struct lk_txn *tx, int64_t import_id,
                                                   struct lk_stage *rows, size_t count);
LK_MUST_CHECK enum lk_err lk_txn_import_finish(struct lk_txn *tx, int64_t import_id,
                                               int64_t *ret_rows);
/* Drop up to limit staged rows of an unfinished import; *ret_left is false when the import is gone.
 */
LK_MUST_CHECK enum lk_err lk_txn_import_drop(struct lk_txn *tx, int64_t import_id, size_t limit,
                                             bool *ret_left);
/*
 * Undo a finished import: from this transaction on its rows do not exist for readers, and
 * lk_txn_import_drop() removes them as those of an abandoned one. Enrollments that were changed
 * since they came are kept as if they had been created by hand, and counted, unless force takes
 * them too. LK_ERR_NOT_FOUND; LK_ERR_PRECONDITION when the import is not finished.
 */
LK_MUST_CHECK enum lk_err lk_txn_import_undo(struct lk_txn *tx, int64_t import_id, bool force,
                                             int64_t *ret_rows, int64_t *ret_kept);
/*
 * Take up an unfinished import of the same source again: *ret_last_line is the last line that was
 * staged, 0 for none. LK_ERR_NOT_FOUND; LK_ERR_PRECONDITION when the source is another.
 * Of a source, 255 bytes are kept and compared.
 */
LK_MUST_CHECK enum lk_err lk_txn_import_resume(struct lk_txn *tx, int64_t import_id,
                                               const char *source, int64_t *ret_last_line);

enum lk_import_state { LK_IMPORT_STAGING, LK_IMPORT_FINISHED, LK_IMPORT_DROPPING };
struct lk_import {
    int64_t id;
    char scope[LK_ID_SCOPE_MAX + 1];
    char source[256];
    enum lk_import_state state;
    int64_t rows_count, begun_ms, touched_ms;
};
/*
 * Newest first, at most limit calls of each, before the import `before` (0: from the newest). One
 * that was dropped whole is not there any more.
 */
LK_MUST_CHECK enum lk_err
lk_txn_import_page(struct lk_txn *tx, const char *scope, int64_t before, size_t limit,
                   enum lk_err (*each)(void *ctx, const struct lk_import *), void *ctx);
/* One unfinished import to which nothing happened since older_than_ms. LK_ERR_NOT_FOUND: none. */
LK_MUST_CHECK enum lk_err lk_txn_import_abandoned(struct lk_txn *tx, int64_t older_than_ms,
                                                  int64_t *ret_import_id);

/* ---- Registrations
 * --------------------------------------------------------------------------------------- */

enum lk_reg_status { LK_REG_NONE, LK_REG_ASSIGNING, LK_REG_ASSIGNED, LK_REG_FAILED };

struct lk_registration {
    char scope[LK_ID_SCOPE_MAX + 1];
    char id[LK_REGISTRATION_ID_MAX + 1];
    /* Grows with each completed attestation and never goes back, not even when the record is
     * deleted. */
    uint64_t generation;
    enum lk_reg_status status; /* LK_REG_NONE: deleted; only generation counts */
    int substatus;             /* enum lk_dps_substatus */
    char operation_id[LK_OPERATION_ID_MAX + 1];
    char hub[LK_HOST_NAME_MAX + 1];
    char device_id[LK_DEVICE_ID_MAX + 1];
    uint8_t ek_id[LK_EK_ID_LEN];
    uint8_t srk_pub[LK_TPM_PUBLIC_MAX];
    size_t srk_pub_len;
    uint8_t srk_name[LK_TPM_NAME_MAX];
    size_t srk_name_len;
    uint8_t auth_key[LK_AUTH_KEY_MAX]; /* the hub key as only the device's TPM can open it */
    size_t auth_key_len;
    uint8_t token_hash[32]; /* SHA-256 of the token that completed the attestation */
    uint64_t nonce_key_id;  /* which nonce key that token was signed with, for polls */
    uint64_t nonce_epoch;
    uint64_t nonce_generation;
    int64_t attested_ms; /* when */
    int64_t created_ms, updated_ms;
    int32_t error_code;
    char error_message[160];
    char etag[LK_ETAG_CAP];
    struct lk_buf payload; /* for the device, JSON text; empty: none */
    enum lk_attestation attestation;
    char group[LK_REGISTRATION_ID_MAX + 1]; /* that admitted the device; "": its own enrollment */
};
void lk_registration_fini(struct lk_registration *r);

/* LK_ERR_NOT_FOUND when there never was one; a deleted one is returned with LK_REG_NONE. */
LK_MUST_CHECK enum lk_err lk_txn_registration_get(struct lk_txn *tx, const char *scope,
                                                  const char *id, struct lk_registration *ret);
/*
 * Insert or replace the record, on condition that its generation in the store is still expected (0
 * when there is none): LK_ERR_PRECONDITION otherwise. updated_ms and etag are set. LK_ERR_ARG when
 * the generation would go back.
 */
LK_MUST_CHECK enum lk_err lk_txn_registration_put(struct lk_txn *tx, struct lk_registration *r,
                                                  uint64_t expected_generation);
/* Forget the record, and an errand for it, but keep the generation (plus one). LK_ERR_NOT_FOUND,
 * LK_ERR_PRECONDITION. */
LK_MUST_CHECK enum lk_err lk_txn_registration_delete(struct lk_txn *tx, const char *scope,
                                                     const char *id, const char *etag);
/* Without the deleted ones. */
LK_MUST_CHECK enum lk_err
lk_txn_registration_page(struct lk_txn *tx, const char *scope, const char *after, size_t limit,
                         enum lk_err (*each)(void *ctx, const struct lk_registration *), void *ctx);

/* As lk_txn_registration_page(), of one group only. */
LK_MUST_CHECK enum lk_err lk_txn_registration_page_of_group(
    struct lk_txn *tx, const char *scope, const char *group, const char *after, size_t limit,
    enum lk_err (*each)(void *ctx, const struct lk_registration *), void *ctx);
/* A registration other than own_id of scope that names this hub and device id. LK_ERR_NOT_FOUND. */
LK_MUST_CHECK enum lk_err lk_txn_registration_at(struct lk_txn *tx, const char *hub,
                                                 const char *device_id, const char *scope,
                                                 const char *own_id,
                                                 char ret_scope[LK_ID_SCOPE_MAX + 1],
                                                 char ret_id[LK_REGISTRATION_ID_MAX + 1]);
/* How many have this status; LK_REG_NONE: deleted ones of which the generation is kept. */
LK_MUST_CHECK enum lk_err lk_txn_registration_count(struct lk_txn *tx, const char *scope,
                                                    enum lk_reg_status status, int64_t *ret);
/* Registrations of a group, without the deleted ones: for quotas. */
LK_MUST_CHECK enum lk_err lk_txn_registration_count_of_group(struct lk_txn *tx, const char *scope,
                                                             const char *group, int64_t *ret);
/*
 * A registration that was made with an EK under another id than own_id, which need not exist; of
 * several the latest. Deleted ones do not count. LK_ERR_NOT_FOUND. Serves the duplicate-EK alarm.
 */
LK_MUST_CHECK enum lk_err
lk_txn_registration_of_ek_elsewhere(struct lk_txn *tx, const char *scope,
                                    const uint8_t ek_id[LK_EK_ID_LEN], const char *own_id,
                                    char ret_id[LK_REGISTRATION_ID_MAX + 1]);

/* ---- Enrollment groups
 * ---------------------------------------------------------------------------------------- */

#define LK_GROUPS_MAX                                                                              \
    256u /* groups of one scope: a device without an enrollment tries them all                     \
          */

/*
 * struct lk_enrollment with the group's id; device_id, eks, srk_pub and the import fields are not
 * kept. Errors are those of the calls for enrollments; LK_ERR_LIMIT past LK_GROUPS_MAX.
 */
LK_MUST_CHECK enum lk_err lk_txn_group_create(struct lk_txn *tx, struct lk_enrollment *g);
LK_MUST_CHECK enum lk_err lk_txn_group_replace(struct lk_txn *tx, struct lk_enrollment *g,
                                               const char *etag);
LK_MUST_CHECK enum lk_err lk_txn_group_delete(struct lk_txn *tx, const char *scope, const char *id,
                                              const char *etag);
LK_MUST_CHECK enum lk_err lk_txn_group_get(struct lk_txn *tx, const char *scope, const char *id,
                                           struct lk_enrollment *ret);
LK_MUST_CHECK enum lk_err
lk_txn_group_page(struct lk_txn *tx, const char *scope, const char *after, size_t limit,
                  enum lk_err (*each)(void *ctx, const struct lk_enrollment *), void *ctx);
/* Every group of a scope with this attestation, disabled ones too, in order of the lower-case id.
 */
LK_MUST_CHECK enum lk_err
lk_txn_group_each(struct lk_txn *tx, const char *scope, enum lk_attestation attestation,
                  enum lk_err (*each)(void *ctx, const struct lk_enrollment *), void *ctx);

/* ---- Shared access policies (service-api.md section 12)
 * ------------------------------------------------------- */

enum lk_right {
    LK_RIGHT_SERVICE_CONFIG = 1u << 0,
    LK_RIGHT_ENROLLMENT_READ = 1u << 1,
    LK_RIGHT_ENROLLMENT_WRITE = 1u << 2,
    LK_RIGHT_DEVICE_CONNECT = 1u << 3,
    LK_RIGHT_REGISTRATION_STATUS_READ = 1u << 4,
    LK_RIGHT_REGISTRATION_STATUS_WRITE = 1u << 5
};
#define LK_RIGHTS_ALL 0x3fu
#define LK_POLICY_NAME_MAX 64u /* bytes of [A-Za-z0-9_.@-] */

struct lk_policy {
    char scope[LK_ID_SCOPE_MAX + 1];   /* a policy opens one scope */
    char name[LK_POLICY_NAME_MAX + 1]; /* compared exactly */
    unsigned rights;                   /* of enum lk_right */
    struct lk_buf sealed_primary;      /* keys, sealed (provision/policy.h) */
    struct lk_buf sealed_secondary;
    int64_t created_ms, updated_ms; /* set by the store */
};
void lk_policy_fini(struct lk_policy *p);
/* Insert or replace. LK_ERR_NOT_FOUND: the scope; LK_ERR_ARG: no right, or one that there is not.
 */
LK_MUST_CHECK enum lk_err lk_txn_policy_put(struct lk_txn *tx, const struct lk_policy *p);
LK_MUST_CHECK enum lk_err lk_txn_policy_get(struct lk_txn *tx, const char *scope, const char *name,
                                            struct lk_policy *ret);
LK_MUST_CHECK enum lk_err lk_txn_policy_delete(struct lk_txn *tx, const char *scope,
                                               const char *name);
/* In order of the name. */
LK_MUST_CHECK enum lk_err
lk_txn_policy_each(struct lk_txn *tx, const char *scope,
                   enum lk_err (*each)(void *ctx, const struct lk_policy *), void *ctx);

/* ---- Trust: certificates and revocation lists that the operator has imported
 * ---------------------------------- */

enum lk_trust_kind {
    LK_TRUST_ROOT = 1,         /* a TPM maker's root */
    LK_TRUST_INTERMEDIATE = 2, /* helps to build chains; trusted by nobody for itself */
    LK_TRUST_CRL = 3,
    LK_TRUST_FACTORY = 4 /* signs manifests */
};
#define LK_TRUST_DER_MAX ((size_t)4 * 1024 * 1024) /* bytes; revocation lists grow */

struct lk_trust {
    uint8_t id[32]; /* SHA-256 of der; the key */
    enum lk_trust_kind kind;
    char subject[256]; /* for people: subject, or issuer of a list */
    struct lk_buf der;
    int64_t created_ms; /* set by the store */
};
void lk_trust_fini(struct lk_trust *t);
/* Insert or replace. LK_ERR_ARG: id is not der's hash, or der is empty; LK_ERR_LIMIT: its size. */
LK_MUST_CHECK enum lk_err lk_txn_trust_put(struct lk_txn *tx, const struct lk_trust *t);
LK_MUST_CHECK enum lk_err lk_txn_trust_delete(struct lk_txn *tx, const uint8_t id[32]);
LK_MUST_CHECK enum lk_err lk_txn_trust_each(struct lk_txn *tx,
                                            enum lk_err (*each)(void *ctx, const struct lk_trust *),
                                            void *ctx);
/* Grows with each change of what is trusted, by whatever process: parsed copies are kept by it. */
LK_MUST_CHECK enum lk_err lk_txn_trust_version(struct lk_txn *tx, int64_t *ret);

/* ---- Linked hubs
 * ------------------------------------------------------------------------------------------ */

enum lk_hub_kind { LK_HUB_EMBEDDED = 1, LK_HUB_HTTP = 2 };

#define LK_REGION_MAX 64u /* bytes of letters, digits and '-' */

struct lk_hub {
    char name[LK_HOST_NAME_MAX + 1]; /* host name, lower case; the key */
    enum lk_hub_kind kind;
    uint32_t weight;                 /* allocation weight, 1..1000 */
    bool allocatable;                /* applyAllocationPolicy */
    char region[LK_REGION_MAX + 1];  /* for geoLatency: the devices that it is near to; "": none */
    struct lk_buf sealed_connection; /* connection string, sealed; empty for an embedded hub */
    int64_t created_ms;              /* set by the store */
};
void lk_hub_fini(struct lk_hub *h);

/* Insert or replace. */
LK_MUST_CHECK enum lk_err lk_txn_hub_put(struct lk_txn *tx, const struct lk_hub *h);
LK_MUST_CHECK enum lk_err lk_txn_hub_get(struct lk_txn *tx, const char *name, struct lk_hub *ret);
LK_MUST_CHECK enum lk_err lk_txn_hub_delete(struct lk_txn *tx, const char *name);
/*
 * Write a row and take it back: leaves nothing, but has to be committed to the disk, and so is
 * refused by all that refuses a registration.
 */
LK_MUST_CHECK enum lk_err lk_txn_probe(struct lk_txn *tx);
LK_MUST_CHECK enum lk_err lk_txn_hub_each(struct lk_txn *tx,
                                          enum lk_err (*each)(void *ctx, const struct lk_hub *),
                                          void *ctx);

/* ---- Errands: what is still to be done at hubs elsewhere
 * ---------------------------------------------------- */

enum lk_errand_kind {
    LK_ERRAND_ASSIGN = 1, /* give a hub a device that waits for it */
    LK_ERRAND_LEAVE = 2   /* remove the identity of a device that is elsewhere by now */
};

/* One of a kind for each owner and name. */
struct lk_errand {
    enum lk_errand_kind kind;
    char owner[LK_HOST_NAME_MAX + 1]; /* ASSIGN: the scope; LEAVE: the hub */
    char name[LK_DEVICE_ID_MAX + 1];  /* ASSIGN: the registration's id; LEAVE: the device id */
    char hub[LK_HOST_NAME_MAX + 1];   /* that is called */
    uint64_t version;     /* of the registration that it is from: a later one's is another errand */
    uint32_t tries;       /* that have begun */
    enum lk_err failure;  /* of the latest one */
    int64_t created_ms;   /* set by the caller, like the two below */
    int64_t due_ms;       /* nobody begins a try before */
    int64_t deadline_ms;  /* nobody tries after */
    struct lk_buf sealed; /* the rest, sealed by provision/ */
};
void lk_errand_fini(struct lk_errand *e);
/* Insert or replace. The name of an ASSIGN is kept in lower case. */
LK_MUST_CHECK enum lk_err lk_txn_errand_put(struct lk_txn *tx, const struct lk_errand *e);
LK_MUST_CHECK enum lk_err lk_txn_errand_get(struct lk_txn *tx, enum lk_errand_kind kind,
                                            const char *owner, const char *name,
                                            struct lk_errand *ret);
LK_MUST_CHECK enum lk_err lk_txn_errand_delete(struct lk_txn *tx, enum lk_errand_kind kind,
                                               const char *owner, const char *name);
/* The first hub after `after` in order of the name that has an errand. LK_ERR_NOT_FOUND. */
LK_MUST_CHECK enum lk_err lk_txn_errand_next_hub(struct lk_txn *tx, const char *after,
                                                 char ret[LK_HOST_NAME_MAX + 1]);
/* Errands of a hub that are due, the longest due first. each may move sealed out. */
LK_MUST_CHECK enum lk_err lk_txn_errand_due(struct lk_txn *tx, const char *hub, size_t limit,
                                            enum lk_err (*each)(void *ctx, struct lk_errand *),
                                            void *ctx);
/* Errands past their deadline, of any hub. */
LK_MUST_CHECK enum lk_err lk_txn_errand_overdue(struct lk_txn *tx, size_t limit,
                                                enum lk_err (*each)(void *ctx, struct lk_errand *),
                                                void *ctx);
/* Errands of a hub, counted up to limit. */
LK_MUST_CHECK enum lk_err lk_txn_errand_count(struct lk_txn *tx, const char *hub, int64_t limit,
                                              int64_t *ret);

/* ---- Identities of embedded hubs
 * --------------------------------------------------------------------------- */

#define LK_SEALED_KEY_MAX 128u

/* How a device of an embedded hub proves itself to it (iot-hub.md 2.1). */
enum lk_identity_auth {
    LK_AUTH_SAS = 1,
    LK_AUTH_SELF_SIGNED, /* a certificate with one of the thumbprints */
    LK_AUTH_CA,          /* kept and shown; no such device is let in */
    LK_AUTH_NONE         /* likewise */
};
#define LK_STATUS_REASON_MAX 128u /* bytes */
#define LK_THUMBPRINT_MAX 64u     /* hexadecimal digits: SHA-1 or SHA-256 */

struct lk_identity {
    char hub[LK_HOST_NAME_MAX + 1];
    char device_id[LK_DEVICE_ID_MAX + 1]; /* case-sensitive */
    /*
     * The registration that made it, its id in lower case (the store's key); "" and "": an operator
     * did. hub/ lets no other registration take it over.
     */
    char owner_scope[LK_ID_SCOPE_MAX + 1];
    char owner_id[LK_REGISTRATION_ID_MAX + 1];
    char generation_id[33];
    bool enabled;
    enum lk_identity_auth auth;
    uint8_t primary[LK_SEALED_KEY_MAX]; /* sealed by hub/ */
    size_t primary_len;
    uint8_t secondary[LK_SEALED_KEY_MAX];
    size_t secondary_len;
    bool secondary_retires;                     /* drop secondary when primary is first used */
    char thumbprints[2][LK_THUMBPRINT_MAX + 1]; /* upper case; "": none */
    bool iot_edge;                              /* capabilities.iotEdge */
    char status_reason[LK_STATUS_REASON_MAX + 1];
    int64_t status_updated_ms; /* when enabled last changed, set by the store; 0: never */
    char etag[LK_ETAG_CAP];
    int64_t created_ms, updated_ms;
};
LK_MUST_CHECK enum lk_err lk_txn_identity_get(struct lk_txn *tx, const char *hub,
                                              const char *device_id, struct lk_identity *ret);
/*
 * Insert or replace; etag, created_ms (of the first time) and updated_ms are set. etag NULL: insert
 * or replace; "": LK_ERR_EXISTS when there is one; else LK_ERR_NOT_FOUND, LK_ERR_PRECONDITION. A
 * new identity gets an empty twin. Appends an LK_HUB_EVENT_IDENTITY. LK_ERR_ARG also: auth is none
 * of the kinds.
 */
LK_MUST_CHECK enum lk_err lk_txn_identity_put(struct lk_txn *tx, struct lk_identity *id,
                                              const char *etag);
/* With its twin, presence and messages. Appends an LK_HUB_EVENT_IDENTITY. */
LK_MUST_CHECK enum lk_err lk_txn_identity_delete(struct lk_txn *tx, const char *hub,
                                                 const char *device_id, const char *etag);
LK_MUST_CHECK enum lk_err
lk_txn_identity_page(struct lk_txn *tx, const char *hub, const char *after, size_t limit,
                     enum lk_err (*each)(void *ctx, const struct lk_identity *), void *ctx);
/* Identities of a hub: all, disabled ones, connected ones. Kept as counters. */
LK_MUST_CHECK enum lk_err lk_txn_identity_count(struct lk_txn *tx, const char *hub,
                                                uint64_t *ret_total, uint64_t *ret_disabled,
                                                uint64_t *ret_connected);

/* ---- Presence: whether a device has a session at its embedded hub
 * ---------------------------------------------------------------------------------------- */

struct lk_presence {
    bool connected;
    int64_t changed_ms;  /* 0: never connected */
    int64_t activity_ms; /* when it last connected, sent or took something; 0: never */
};
/* Zeros when nothing is known. */
LK_MUST_CHECK enum lk_err lk_txn_presence_get(struct lk_txn *tx, const char *hub,
                                              const char *device_id, struct lk_presence *ret);
/*
 * LK_ERR_NOT_FOUND: no such identity. No event, no new etag. Connected again is activity: only
 * activity_ms changes.
 */
LK_MUST_CHECK enum lk_err lk_txn_presence_set(struct lk_txn *tx, const char *hub,
                                              const char *device_id, bool connected);
/* The broker of hub begins anew: nobody is connected. */
LK_MUST_CHECK enum lk_err lk_txn_presence_clear(struct lk_txn *tx, const char *hub);

/* ---- Twins of embedded hubs
 * ---------------------------------------------------------------------------------------- */

struct lk_twin {
    char hub[LK_HOST_NAME_MAX + 1];
    char device_id[LK_DEVICE_ID_MAX + 1];
    struct lk_buf tags, desired, reported;     /* JSON objects as text; empty: {} */
    struct lk_buf desired_meta, reported_meta; /* "$metadata" of each, likewise */
    int64_t desired_version, reported_version; /* "$version", from 1 */
    int64_t version;                           /* counts every change, from 1 */
    char etag[LK_ETAG_CAP];
    int64_t created_ms; /* of the identity */
    int64_t updated_ms;
};
#define LK_TWIN_INIT                                                                               \
    {                                                                                              \
        .tags = LK_BUF_INIT, .desired = LK_BUF_INIT, .reported = LK_BUF_INIT,                      \
        .desired_meta = LK_BUF_INIT, .reported_meta = LK_BUF_INIT                                  \
    }
void lk_twin_fini(struct lk_twin *t);
LK_MUST_CHECK enum lk_err lk_txn_twin_get(struct lk_txn *tx, const char *hub, const char *device_id,
                                          struct lk_twin *ret);
/* Replace; etag and updated_ms are set. LK_ERR_NOT_FOUND: no such identity; LK_ERR_PRECONDITION. */
LK_MUST_CHECK enum lk_err lk_txn_twin_put(struct lk_txn *tx, struct lk_twin *t, const char *etag);
LK_MUST_CHECK enum lk_err lk_txn_twin_page(struct lk_txn *tx, const char *hub, const char *after,
                                           size_t limit,
                                           enum lk_err (*each)(void *ctx, const struct lk_twin *),
                                           void *ctx);

/* ---- Cloud-to-device messages of embedded hubs
 * ---------------------------------------------------------------------------------------- */

#define LK_C2D_LOCK_CAP 37u         /* bytes of a lock token, a UUID as text, with the NUL */
#define LK_C2D_PROPERTIES_MAX 8192u /* bytes */

struct lk_c2d {
    int64_t seq; /* the key, in order of arrival; set by the store */
    char hub[LK_HOST_NAME_MAX + 1];
    char device_id[LK_DEVICE_ID_MAX + 1];
    struct lk_buf properties; /* as in the MQTT topic: "name=value" pairs, percent-encoded */
    struct lk_buf body;
    int64_t enqueued_ms; /* set by the store */
    int64_t expires_ms;
    int64_t locked_until_ms; /* 0: nobody has it in hand */
    char lock[LK_C2D_LOCK_CAP];
    uint32_t deliveries;
};
void lk_c2d_fini(struct lk_c2d *m);
/* LK_ERR_NOT_FOUND: no such identity. No event. */
LK_MUST_CHECK enum lk_err lk_txn_c2d_add(struct lk_txn *tx, struct lk_c2d *m);
/* In order of seq, those in hand too. */
LK_MUST_CHECK enum lk_err lk_txn_c2d_each(struct lk_txn *tx, const char *hub, const char *device_id,
                                          enum lk_err (*each)(void *ctx, const struct lk_c2d *),
                                          void *ctx);
/* Its lock, locked_until_ms and deliveries. LK_ERR_NOT_FOUND. */
LK_MUST_CHECK enum lk_err lk_txn_c2d_update(struct lk_txn *tx, const struct lk_c2d *m);
LK_MUST_CHECK enum lk_err lk_txn_c2d_delete(struct lk_txn *tx, int64_t seq);
LK_MUST_CHECK enum lk_err lk_txn_c2d_count(struct lk_txn *tx, const char *hub,
                                           const char *device_id, uint32_t *ret);
/* Devices of a hub with a message that nobody has in hand at now, from after on, in order. */
LK_MUST_CHECK enum lk_err lk_txn_c2d_devices(struct lk_txn *tx, const char *hub, const char *after,
                                             size_t limit,
                                             enum lk_err (*each)(void *ctx, const char *device_id),
                                             void *ctx);

/* ---- Hub events: what a hub's broker must hear of, whoever changed it
 * ---------------------------------------------------------------------------------------- */

enum lk_hub_event_kind {
    LK_HUB_EVENT_IDENTITY = 1, /* made, changed, disabled or deleted: judge its session anew */
    LK_HUB_EVENT_DESIRED,      /* desired properties changed: push what changed (detail) */
    LK_HUB_EVENT_C2D           /* a message waits */
};
/* Bytes: all new members of a section and a null for each old one. */
#define LK_HUB_EVENT_DETAIL_MAX ((size_t)96 * 1024)

struct lk_hub_event {
    int64_t seq; /* grows with each event of the store; set by the store */
    enum lk_hub_event_kind kind;
    char hub[LK_HOST_NAME_MAX + 1];
    char device_id[LK_DEVICE_ID_MAX + 1];
    struct lk_buf detail; /* of DESIRED: the JSON text to push, with its "$version"; else empty */
};
void lk_hub_event_fini(struct lk_hub_event *e);
/* LK_ERR_LIMIT: detail. */
LK_MUST_CHECK enum lk_err lk_txn_hub_event_add(struct lk_txn *tx, struct lk_hub_event *e);
/* Those after seq, in order. */
LK_MUST_CHECK enum lk_err
lk_txn_hub_event_each(struct lk_txn *tx, int64_t after_seq, size_t limit,
                      enum lk_err (*each)(void *ctx, const struct lk_hub_event *), void *ctx);
/* The newest there has been; 0: none. Cheap: it is asked several times a second. */
LK_MUST_CHECK enum lk_err lk_txn_hub_event_last(struct lk_txn *tx, int64_t *ret);
/* Drop those up to seq: every broker that lives has heard them, or will look at everything anew. */
LK_MUST_CHECK enum lk_err lk_txn_hub_event_prune(struct lk_txn *tx, int64_t up_to_seq);
/* The newest that was dropped; 0: none. Who has heard less than that has missed some. */
LK_MUST_CHECK enum lk_err lk_txn_hub_event_pruned(struct lk_txn *tx, int64_t *ret);

/* ---- Shared access policies of embedded hubs (iot-hub.md section 3)
 * ---------------------------------------------------------------------------------------- */

enum lk_hub_right {
    LK_HUB_REGISTRY_READ = 1u << 0,
    LK_HUB_REGISTRY_WRITE = 1u << 1,
    LK_HUB_SERVICE_CONNECT = 1u << 2,
    LK_HUB_DEVICE_CONNECT = 1u << 3
};
#define LK_HUB_RIGHTS_ALL 0xfu

struct lk_hub_policy {
    char hub[LK_HOST_NAME_MAX + 1];    /* a policy opens one hub */
    char name[LK_POLICY_NAME_MAX + 1]; /* compared exactly */
    unsigned rights;                   /* of enum lk_hub_right */
    struct lk_buf sealed_primary, sealed_secondary;
    int64_t created_ms, updated_ms; /* set by the store */
};
void lk_hub_policy_fini(struct lk_hub_policy *p);
/* Insert or replace. LK_ERR_NOT_FOUND: the hub; LK_ERR_ARG: no right, or one that there is not. */
LK_MUST_CHECK enum lk_err lk_txn_hub_policy_put(struct lk_txn *tx, const struct lk_hub_policy *p);
LK_MUST_CHECK enum lk_err lk_txn_hub_policy_get(struct lk_txn *tx, const char *hub,
                                                const char *name, struct lk_hub_policy *ret);
LK_MUST_CHECK enum lk_err lk_txn_hub_policy_delete(struct lk_txn *tx, const char *hub,
                                                   const char *name);
LK_MUST_CHECK enum lk_err
lk_txn_hub_policy_each(struct lk_txn *tx, const char *hub,
                       enum lk_err (*each)(void *ctx, const struct lk_hub_policy *), void *ctx);

/* ---- Audit
 * --------------------------------------------------------------------------------------------------
 */

struct lk_audit {
    int64_t seq;         /* 1, 2, ... without gaps; set by the store */
    int64_t time_ms;     /* set by the store */
    const char *actor;   /* "cli:root", "device", a policy's name; at most 128 bytes are kept */
    const char *action;  /* "enrollment.create", "registration.assigned", ... */
    const char *scope;   /* "" when it belongs to none */
    const char *subject; /* registration id, hub name, ...; peer-controlled text is fine */
    const char *detail;  /* JSON object text, or "" */
    uint8_t hash[32]; /* HMAC-SHA256(audit key, previous hash and every field, length-prefixed) */
};
/*
 * Append in this transaction: the record exists if and only if the change does. Too long a text is
 * cut (actor 128 bytes, action 64, scope 64, subject 256); a detail over LK_AUDIT_DETAIL_MAX is
 * LK_ERR_LIMIT.
 */
LK_MUST_CHECK enum lk_err lk_txn_audit_append(struct lk_txn *tx, const char *actor,
                                              const char *action, const char *scope,
                                              const char *subject, const char *detail);
LK_MUST_CHECK enum lk_err lk_txn_audit_page(struct lk_txn *tx, int64_t after_seq, size_t limit,
                                            enum lk_err (*each)(void *ctx, const struct lk_audit *),
                                            void *ctx);
/*
 * Walk the chain from *cursor (zeros: the start), at most limit records, and check every hash and
 * that seq has no gap; call again until *ret_more is false. Then the cursor is the last record: an
 * operator who keeps it elsewhere starts from it the next time and so notices a tail that was cut
 * off, which nothing in the database shows. LK_ERR_REFUSED: cursor->seq is the first record that
 * does not fit or is missing; with a cursor from earlier, maybe that record itself.
 */
struct lk_audit_cursor {
    int64_t seq;
    uint8_t hash[32];
};
LK_MUST_CHECK enum lk_err lk_txn_audit_verify(struct lk_txn *tx, struct lk_audit_cursor *cursor,
                                              size_t limit, bool *ret_more);

#endif
