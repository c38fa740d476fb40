/*
 * Importing a manifest: every row takes effect at the same moment, or none does. Rows are staged in
 * batches, out of readers' sight, while the service goes on; memory does not grow with the rows.
 */
#ifndef LK_PROVISION_IMPORT_H
#define LK_PROVISION_IMPORT_H

#include "store/store.h"
#include "wire/manifest.h"

#define LK_IMPORT_BATCH 256u    /* rows of one transaction */
#define LK_IMPORT_BAD_MAX 1000u /* bad rows after which reading stops, unless they are skipped */
#define LK_IMPORT_IDLE_MS 60000 /* an unfinished import without a new row for so long is dead */

/* How far it is, and how it ended. */
struct lk_import_result {
    int64_t import_id;     /* 0 until it has begun */
    int64_t rows_read;     /* good and bad */
    int64_t rows_bad;      /* each has been reported */
    int64_t rows_software; /* good rows of a software TPM: it proves nothing about hardware */
    int64_t rows_imported; /* rows that took effect, or with dry_run that would have */
    bool stopped;          /* reading stopped at LK_IMPORT_BAD_MAX: there may be more bad rows */
};

/* ctx of all callbacks is the options' own. They run on the caller's thread. */
struct lk_import_options {
    const char *scope;
    const char *source; /* the file's name, for the record */
    const char *actor;  /* who imports, for the audit record */
    enum lk_manifest_format format;
    bool skip_bad; /* import the good rows all the same */
    bool dry_run;  /* check everything, leave nothing behind */
    void (*problem)(void *ctx, const struct lk_manifest_problem *p);    /* in order of lines */
    void (*progress)(void *ctx, const struct lk_import_result *so_far); /* after each batch */
    void *ctx;
};

/*
 * Import what source gives, over a session of its own thread; it waits for the store. First drops
 * what dead imports have left. *ret is always set. An audit record of the whole import commits
 * together with its taking effect.
 *
 *   LK_ERR_FORMAT     there were bad rows, or the header is unusable; nothing took effect
 *   LK_ERR_NOT_FOUND  no such scope, or the import was taken for dead and dropped meanwhile
 *   and what store and source say (LK_ERR_CANCELLED, for one); nothing took effect
 */
LK_MUST_CHECK enum lk_err lk_import_run(struct lk_session *s,
                                        const struct lk_manifest_source *source,
                                        const struct lk_import_options *options,
                                        struct lk_import_result *ret);

#endif
