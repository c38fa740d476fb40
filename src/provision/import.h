/*
 * Importing a manifest: every row takes effect at the same moment, or none does. Rows are staged in
 * batches, out of readers' sight, while the service goes on; memory does not grow with the rows.
 *
 * Unless it is asked to, an import never changes an enrollment that is there: a row that says the
 * same is passed over, and one that says something else is a bad row, which names what differs.
 * With update that enrollment becomes what the row says. Such changes take effect batch by batch,
 * each with an audit record of its own, and undoing the import does not take them back: judge the
 * whole manifest with dry_run first.
 */
#ifndef LK_PROVISION_IMPORT_H
#define LK_PROVISION_IMPORT_H

#include "store/store.h"
#include "wire/manifest.h"

#define LK_IMPORT_BATCH 2048u   /* rows of one transaction */
#define LK_IMPORT_PAUSE_US 1000 /* between two, for other processes to write */
#define LK_IMPORT_BAD_MAX 1000u /* bad rows after which reading stops, unless they are skipped */
/* An unfinished import without a new row for so long is dead. Until then it can be resumed. */
#define LK_IMPORT_IDLE_MS (24 * 3600 * 1000)
#define LK_IMPORT_SHA256_LEN 32u

/* How far it is, and how it ended. */
struct lk_import_result {
    int64_t import_id;        /* 0 until it has begun */
    int64_t rows_read;        /* good and bad */
    int64_t rows_bad;         /* each has been reported; conflicting ones are among them */
    int64_t rows_new;         /* of devices that are not enrolled, whatever became of them */
    int64_t rows_changed;     /* of an enrollment that is there, but says something else; bad ones,
                                 unless update was asked for */
    int64_t rows_conflicting; /* the ID or a key is another row's or another enrollment's */
    int64_t rows_same;        /* of an enrollment that is there and says the same */
    int64_t rows_software;    /* good rows of a software TPM: it proves nothing about hardware */
    int64_t rows_imported;    /* new rows that took effect, or with dry_run that would have */
    int64_t rows_updated;     /* changed rows that took effect: also of an import that failed */
    bool stopped;             /* reading stopped at LK_IMPORT_BAD_MAX: there may be more bad rows */
    bool resumable;           /* it failed, and what was staged is kept */
};

/* What a row would come to. */
enum lk_import_verdict {
    LK_IMPORT_ROW_NEW,
    LK_IMPORT_ROW_SAME,
    LK_IMPORT_ROW_CHANGED,
    LK_IMPORT_ROW_CONFLICTING,
    LK_IMPORT_ROW_BAD
};

struct lk_import_row {
    int64_t line;
    enum lk_import_verdict verdict;
    const char *registration_id;               /* "" when it is unknown */
    const struct lk_manifest_problem *problem; /* of CHANGED, CONFLICTING and BAD; else NULL */
};
/* Whether such a row is bad. */
static inline bool
lk_import_is_bad(enum lk_import_verdict verdict, bool update)
{
    return verdict >= LK_IMPORT_ROW_CONFLICTING || (verdict == LK_IMPORT_ROW_CHANGED && !update);
}

/* Whose signature over the manifest was verified, for the audit record. */
struct lk_import_signer {
    const char *subject;
    uint8_t cert_sha256[LK_IMPORT_SHA256_LEN];
};

/* ctx of all callbacks is the options' own. They run on the caller's thread and may be NULL. */
struct lk_import_options {
    const char *scope;
    const char *source; /* the file's name, for the record */
    const char *actor;  /* who imports, for the audit record */
    enum lk_manifest_format format;
    /* SHA-256 of the bytes that were judged: others do not take effect. NULL: any, and such an
     * import cannot be resumed. */
    const uint8_t *sha256;
    const struct lk_import_signer *signer; /* NULL: nobody */
    int64_t resume_id; /* take up this unfinished import of the same bytes again; 0: begin one */
    bool skip_bad;     /* import the good rows all the same */
    bool update;       /* change the enrollments that are there and say something else */
    bool dry_run;      /* check everything, leave nothing behind */
    void (*row)(void *ctx, const struct lk_import_row *row);            /* every row, in order */
    void (*problem)(void *ctx, const struct lk_manifest_problem *p);    /* in order of lines */
    void (*progress)(void *ctx, const struct lk_import_result *so_far); /* after each batch */
    void *ctx;
};

/*
 * Import what source gives, over a session of its own thread; it waits for the store. First drops
 * what dead imports have left. *ret is always set. An audit record of the whole import commits
 * together with its taking effect. When source says LK_ERR_CANCELLED or LK_ERR_IO, or the store
 * fails, the staged rows are kept for a resumption if there can be one.
 *
 *   LK_ERR_FORMAT        there were bad rows, or the header is unusable; nothing took effect
 *   LK_ERR_NOT_FOUND     no such scope or import to resume, or the import was given up meanwhile
 *   LK_ERR_PRECONDITION  the import to resume is of other bytes
 *   LK_ERR_EXISTS        there is an unfinished import of these bytes: ret->import_id
 *   LK_ERR_REFUSED       source gave other bytes than sha256 says; nothing took effect
 *   and what source and store say; nothing took effect
 */
LK_MUST_CHECK enum lk_err lk_import_run(struct lk_session *s,
                                        const struct lk_manifest_source *source,
                                        const struct lk_import_options *options,
                                        struct lk_import_result *ret);

/*
 * How an import's source is kept in the store: "sha256:", the digest and the name, or the name
 * alone. Taken apart: *ret_sha256 is the digest's text or "", the return value the name.
 */
#define LK_IMPORT_SHA256_CAP (2 * LK_IMPORT_SHA256_LEN + 1)
const char *lk_import_source_split(const char *source, char ret_sha256[LK_IMPORT_SHA256_CAP]);

/* What became of an undo. */
struct lk_import_undone {
    bool unfinished;   /* it had not taken effect: it is given up */
    int64_t rows_gone; /* enrollments that do not exist any more */
    int64_t rows_kept; /* enrollments that were changed since, and stay as if created by hand */
};

/*
 * Undo an import of the scope: its enrollments do not exist from one moment on, and their rows are
 * then removed in small steps; progress (may be NULL) is called after each. With force enrollments
 * that were changed since go too. The audit record commits with that moment. One that is unfinished
 * is given up; one that was undone already is removed to its end. LK_ERR_NOT_FOUND.
 */
LK_MUST_CHECK enum lk_err lk_import_undo(struct lk_session *s, const char *scope, int64_t import_id,
                                         bool force, const char *actor,
                                         void (*progress)(void *ctx, int64_t rows_removed),
                                         void *ctx, struct lk_import_undone *ret);

/*
 * The same a step at a time, in transactions of the caller's: the first undoes, each removes up to
 * limit rows. Again while *ret_left; *ret is the first one's. When the caller loses interest,
 * somebody else's undo removes the rest.
 */
LK_MUST_CHECK enum lk_err lk_import_undo_step(struct lk_txn *tx, const char *scope,
                                              int64_t import_id, bool force, const char *actor,
                                              size_t limit, struct lk_import_undone *ret,
                                              bool *ret_left);

/* Remove the rows of an import that has no effect (any more), in small steps. */
LK_MUST_CHECK enum lk_err lk_import_remove(struct lk_session *s, int64_t import_id,
                                           void (*progress)(void *ctx, int64_t rows_removed),
                                           void *ctx);

#endif
