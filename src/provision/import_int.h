/* An import under way, which the files of importing share. */
#ifndef LK_PROVISION_IMPORT_INT_H
#define LK_PROVISION_IMPORT_INT_H

#include "provision/import.h"

/* A row on its way. */
struct slot {
    struct lk_enrollment e;
    int64_t line;
    bool software;
    bool unreadable;                /* problem is of the manifest */
    enum lk_import_verdict verdict; /* decided anew whenever the job runs */
    struct lk_manifest_problem problem;
};

/* Rows that are staged in one transaction. */
struct batch {
    enum lk_err err; /* of reading it */
    bool end;        /* there is no further one */
    size_t slots_count;
    struct slot slots[LK_IMPORT_BATCH];
    struct lk_stage rows[LK_IMPORT_BATCH]; /* of the slots, for the store */
};

struct lk_importing {
    struct lk_session *session;
    const struct lk_import_options *options;
    struct lk_import_result *result;
    const struct lk_manifest_source *source;
    struct lk_digester *digester; /* of what source has given */
    char source_text[sizeof(((struct lk_import *)NULL)->source)];
    struct lk_manifest_reader *reader;
    struct lk_manifest_row row;
    struct lk_enrollment other; /* what a conflict is with */
    int64_t page_last;          /* import that was looked at last */
    size_t page_count;
    struct batch batches[2];
    struct batch *staging; /* the writer's, while the next one is read */
    struct batch *reading;
};

/* How the source is kept in the store, into im->source_text. */
LK_MUST_CHECK enum lk_err lk_importing_source_make(struct lk_importing *im);

/* Jobs, whose arg is the import: begin one, or take one up again. Either sets result->import_id. */
LK_MUST_CHECK enum lk_err lk_importing_begin(struct lk_txn *tx, void *arg);
LK_MUST_CHECK enum lk_err lk_importing_resume(struct lk_txn *tx, void *arg);

#endif
