/* What an import into the store and one into a service elsewhere share: the options, and what is
 * told of rows and of the end. */
#ifndef LK_CLI_ENROLLMENT_IMPORT_H
#define LK_CLI_ENROLLMENT_IMPORT_H

#include "cli/cmd_enrollment.h"
#include "cli/manifest_verify.h"

struct lk_cli_import {
    /* The options. */
    bool has_format, dry_run, skip_bad, update, verbose, json;
    const char *signature; /* NULL: none */
    uint64_t resume_id;    /* 0: a new import */
    enum lk_manifest_format format;

    const char *path;
    char name[LK_CLI_SHOWN_CAP]; /* of the file, for messages */
    struct lk_cli_input in;

    /* What is told. */
    bool bar;       /* stderr is a terminal */
    bool silent;    /* rows and counts are told another time */
    bool failed;    /* stdout takes nothing more */
    bool bar_drawn; /* the cursor is behind a bar */
};

/* The callbacks of struct lk_import_options; ctx is the import. */
void lk_cli_import_problem(void *ctx, const struct lk_manifest_problem *p);
void lk_cli_import_row(void *ctx, const struct lk_import_row *row);
void lk_cli_import_progress(void *ctx, const struct lk_import_result *so_far);
void lk_cli_import_bar_erase(struct lk_cli_import *im);

/* The diff of a dry run as text. */
void lk_cli_import_counts_print(const struct lk_cli_import *im, const struct lk_import_result *r);
/* The counts as JSON; signer may be NULL. 0, or an exit code. */
int lk_cli_import_counts_json(const struct lk_cli_import *im, const struct lk_import_result *r,
                              const char *signer);
void lk_cli_import_software_warn(const struct lk_import_result *r);

/*
 * Import into a service elsewhere, through bulk calls of LK_CLI_BULK_ROWS. Every row is read and
 * judged before the first is sent, but rows take effect as they are sent: what is there and says
 * the same is passed over, so the same command goes on where an interruption left off. Exit code.
 */
#define LK_CLI_BULK_ROWS 10u /* as many as the vendor's service takes in one call */
int lk_cli_import_elsewhere(struct lk_remote *r, struct lk_cli_import *im);

#endif
