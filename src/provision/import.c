/*
 * An import: begin -> (read a batch -> stage it) ... -> finish, or drop when anything was wrong.
 */
#include "provision/import.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "provision/enrollment.h"

#define DROP_ROWS 2000u /* of one transaction */

/* A row on its way. */
struct slot {
    struct lk_enrollment e;
    int64_t line;
    bool software;
    bool unreadable; /* problem is of the manifest */
    bool refused;    /* problem is of the store; decided anew whenever the job runs */
    struct lk_manifest_problem problem;
};

struct import {
    struct lk_session *session;
    const struct lk_import_options *options;
    struct lk_import_result *result;
    struct lk_manifest_reader *reader;
    struct lk_manifest_row row;
    int64_t older_than_ms;
    struct lk_enrollment other; /* what a conflict is with */
    size_t slots_count;
    struct slot slots[LK_IMPORT_BATCH];
};

static void
import_free(struct import *im)
{
    lk_manifest_reader_free(im->reader);
    lk_manifest_row_fini(&im->row);
    lk_enrollment_fini(&im->other);
    for (size_t i = 0; i < LK_IMPORT_BATCH; i++) {
        lk_enrollment_fini(&im->slots[i].e);
    }
    free(im);
}
LK_DEFINE_AUTO(struct import, import, import_free);

static enum lk_err
import_new(struct lk_session *s, const struct lk_manifest_source *source,
           const struct lk_import_options *options, struct lk_import_result *result,
           struct import **ret)
{
    LK_AUTO(import) struct import *im = (struct import *)calloc(1, sizeof(*im));
    enum lk_err err;

    if (im == NULL) {
        return LK_ERR_NOMEM;
    }
    im->session = s;
    im->options = options;
    im->result = result;
    lk_manifest_row_init(&im->row);
    lk_enrollment_init(&im->other);
    for (size_t i = 0; i < LK_IMPORT_BATCH; i++) {
        lk_enrollment_init(&im->slots[i].e);
    }
    if ((err = lk_manifest_reader_new(options->format, source, &im->reader)) != LK_OK) {
        return err;
    }
    *ret = import_take(&im);
    return LK_OK;
}

static void
problem_report(struct import *im, const struct lk_manifest_problem *problem)
{
    if (im->options->problem != NULL) {
        im->options->problem(im->options->ctx, problem);
    }
}

/* ---- read ------------------------------------------------------------------------------------ */

/* The header, if it is that, spoils everything: it is reported here. */
static enum lk_err
row_read(struct import *im, struct slot *slot, bool *ret_end)
{
    enum lk_manifest_verdict verdict = LK_MANIFEST_END;
    enum lk_err err;

    slot->unreadable = slot->refused = false;
    err = lk_manifest_next(im->reader, &im->row, &slot->problem, &verdict);
    if (err != LK_OK) {
        if (err == LK_ERR_FORMAT) {
            problem_report(im, &slot->problem);
        }
        return err;
    }
    *ret_end = verdict == LK_MANIFEST_END;
    slot->line = slot->problem.line;
    slot->software = im->row.software_tpm;
    slot->unreadable = verdict == LK_MANIFEST_BAD_ROW;
    if (verdict != LK_MANIFEST_ROW) {
        return LK_OK;
    }
    err = lk_enrollment_from_row(im->options->scope, &im->row, &slot->e, &slot->problem);
    slot->unreadable = err == LK_ERR_FORMAT;
    return slot->unreadable ? LK_OK : err;
}

static enum lk_err
batch_read(struct import *im, bool *ret_end)
{
    enum lk_err err;

    *ret_end = false;
    for (im->slots_count = 0; im->slots_count < LK_IMPORT_BATCH;) {
        if ((err = row_read(im, &im->slots[im->slots_count], ret_end)) != LK_OK) {
            return err;
        }
        if (*ret_end) {
            break;
        }
        im->slots_count++;
    }
    return LK_OK;
}

/* ---- stage ----------------------------------------------------------------------------------- */

/* Say with which row an enrollment is in conflict, and where that one is. */
static enum lk_err
conflict_tell(struct lk_txn *tx, struct import *im, struct slot *slot,
              const struct lk_conflict *conflict)
{
    struct lk_manifest_problem *p = &slot->problem;
    const char *what = conflict->by_ek ? "the same key" : "the same registration ID";
    enum lk_err err;

    (void)snprintf(p->field, sizeof(p->field), "%s",
                   conflict->by_ek ? "endorsementKey" : "registrationId");
    if (conflict->import_id == im->result->import_id) {
        (void)snprintf(p->reason, sizeof(p->reason), "%s as in line %lld (%.100s)", what,
                       (long long)conflict->import_line, conflict->id);
        return LK_OK;
    }
    err = lk_txn_enrollment_get(tx, slot->e.scope, conflict->id, &im->other);
    if (err == LK_ERR_NOT_FOUND) {
        (void)snprintf(p->reason, sizeof(p->reason),
                       "%s as in line %lld of import %lld, which is not finished", what,
                       (long long)conflict->import_line, (long long)conflict->import_id);
        return LK_OK;
    }
    (void)snprintf(p->reason, sizeof(p->reason), "%s as the enrollment %.100s has", what,
                   conflict->id);
    return err;
}

static enum lk_err
slot_stage(struct lk_txn *tx, struct import *im, struct slot *slot)
{
    struct lk_conflict conflict;
    enum lk_err err = lk_enrollment_check(tx, &slot->e, &slot->problem);

    if (err == LK_OK) {
        err = lk_txn_import_stage(tx, im->result->import_id, slot->line, &slot->e, &conflict);
        if (err == LK_ERR_EXISTS) {
            err = conflict_tell(tx, im, slot, &conflict);
            slot->refused = true;
        }
    } else if (err == LK_ERR_FORMAT) {
        slot->refused = true;
        err = LK_OK;
    }
    return err;
}

static enum lk_err
stage_run(struct lk_txn *tx, void *arg)
{
    struct import *im = (struct import *)arg;
    enum lk_err err;

    for (size_t i = 0; i < im->slots_count; i++) {
        im->slots[i].refused = false;
        if (!im->slots[i].unreadable && (err = slot_stage(tx, im, &im->slots[i])) != LK_OK) {
            return err;
        }
    }
    return LK_OK;
}

/* Count and report a batch that has been staged. */
static void
batch_report(struct import *im)
{
    struct lk_import_result *r = im->result;

    for (size_t i = 0; i < im->slots_count; i++) {
        const struct slot *slot = &im->slots[i];

        r->rows_read++;
        if (slot->unreadable || slot->refused) {
            r->rows_bad++;
            problem_report(im, &slot->problem);
        } else {
            r->rows_imported++;
            r->rows_software += slot->software ? 1 : 0;
        }
    }
    r->stopped = !im->options->skip_bad && r->rows_bad >= LK_IMPORT_BAD_MAX;
    if (im->options->progress != NULL) {
        im->options->progress(im->options->ctx, r);
    }
}

static enum lk_err
rows_stage(struct import *im)
{
    bool end = false;
    enum lk_err err;

    while (!end && !im->result->stopped) {
        if ((err = batch_read(im, &end)) != LK_OK ||
            (err = lk_store_write_wait(im->session, stage_run, im)) != LK_OK) {
            return err;
        }
        batch_report(im);
    }
    return LK_OK;
}

/* ---- begin, finish, drop --------------------------------------------------------------------- */

static enum lk_err
begin_run(struct lk_txn *tx, void *arg)
{
    struct import *im = (struct import *)arg;
    struct lk_scope scope;
    enum lk_err err = lk_txn_scope_get(tx, im->options->scope, &scope);

    return err != LK_OK ? err
                        : lk_txn_import_begin(tx, im->options->scope, im->options->source,
                                              &im->result->import_id);
}

/* The record of the whole import; its rows have their own line and import in the store. */
static enum lk_err
audit(struct lk_txn *tx, const struct import *im, int64_t rows)
{
    LK_AUTO(json)
    json_t *detail =
        json_pack("{s:I, s:I, s:I, s:I}", "import", (json_int_t)im->result->import_id, "rows",
                  (json_int_t)rows, "skipped", (json_int_t)im->result->rows_bad, "softwareTpms",
                  (json_int_t)im->result->rows_software);
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;

    if (detail == NULL || lk_json_write(detail, &text) != LK_OK || lk_buf_text(&text) == NULL) {
        return LK_ERR_NOMEM;
    }
    return lk_txn_audit_append(tx, im->options->actor, "enrollment.import", im->options->scope,
                               im->options->source, lk_buf_text(&text));
}

static enum lk_err
finish_run(struct lk_txn *tx, void *arg)
{
    const struct import *im = (const struct import *)arg;
    int64_t rows = 0;
    enum lk_err err = lk_txn_import_finish(tx, im->result->import_id, &rows);

    return err != LK_OK ? err : audit(tx, im, rows);
}

struct drop {
    int64_t import_id;
    bool left;
};

static enum lk_err
drop_run(struct lk_txn *tx, void *arg)
{
    struct drop *d = (struct drop *)arg;

    return lk_txn_import_drop(tx, d->import_id, DROP_ROWS, &d->left);
}

static enum lk_err
import_remove(struct lk_session *s, int64_t import_id)
{
    struct drop d = {import_id, true};
    enum lk_err err = LK_OK;

    while (err == LK_OK && d.left) {
        err = lk_store_write_wait(s, drop_run, &d);
    }
    return err;
}

static enum lk_err
dead_run(struct lk_txn *tx, void *arg)
{
    int64_t *import_id = (int64_t *)arg;

    return lk_txn_import_abandoned(tx, lk_txn_now_ms(tx) - LK_IMPORT_IDLE_MS, import_id);
}

static enum lk_err
dead_imports_drop(struct lk_session *s)
{
    int64_t import_id = 0;
    enum lk_err err;

    while ((err = lk_store_read_wait(s, dead_run, &import_id)) == LK_OK) {
        if ((err = import_remove(s, import_id)) != LK_OK) {
            return err;
        }
    }
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

/* Everything was staged or reported: make it live, unless it must not be. */
static enum lk_err
import_end(struct import *im)
{
    const struct lk_import_options *o = im->options;

    if (im->result->rows_bad > 0 && !o->skip_bad) {
        return LK_ERR_FORMAT;
    }
    return o->dry_run ? LK_OK : lk_store_write_wait(im->session, finish_run, im);
}

enum lk_err
lk_import_run(struct lk_session *s, const struct lk_manifest_source *source,
              const struct lk_import_options *options, struct lk_import_result *ret)
{
    LK_AUTO(import) struct import *im = NULL;
    enum lk_err err, drop_err = LK_OK;

    *ret = (struct lk_import_result){.import_id = 0};
    if ((err = import_new(s, source, options, ret, &im)) != LK_OK ||
        (err = dead_imports_drop(s)) != LK_OK ||
        (err = lk_store_write_wait(s, begin_run, im)) != LK_OK) {
        return err;
    }
    if ((err = rows_stage(im)) == LK_OK) {
        err = import_end(im);
    }
    if (err != LK_OK || options->dry_run) {
        drop_err = import_remove(s, ret->import_id);
    }
    if (err != LK_OK) {
        ret->rows_imported = 0;
    }
    return err != LK_OK ? err : drop_err;
}
