/*
 * An import: begin -> (read a batch -> stage it) ... -> finish, or drop when anything was wrong. A
 * batch is read while the one before is staged: parsing and the database each have a core.
 */
#include "provision/import_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/codec.h"
#include "base/json.h"
#include "crypto/crypto.h"
#include "provision/enrollment.h"

static void
import_free(struct lk_importing *im)
{
    lk_manifest_reader_free(im->reader);
    lk_digester_free(im->digester);
    lk_manifest_row_fini(&im->row);
    lk_enrollment_fini(&im->other);
    for (size_t i = 0; i < LK_IMPORT_BATCH; i++) {
        lk_enrollment_fini(&im->batches[0].slots[i].e);
        lk_enrollment_fini(&im->batches[1].slots[i].e);
    }
    free(im);
}
LK_DEFINE_AUTO(struct lk_importing, import, import_free);
_Static_assert(LK_IMPORT_BATCH <= LK_STAGE_MAX, "a batch is staged together");

/* What the reader gets is what is hashed. */
static enum lk_err
source_read(void *ctx, void *buf, size_t cap, size_t *ret_len)
{
    struct lk_importing *im = (struct lk_importing *)ctx;
    enum lk_err err = im->source->read(im->source->ctx, buf, cap, ret_len);

    return err != LK_OK ? err : lk_digester_put(im->digester, buf, *ret_len);
}

static enum lk_err
import_new(struct lk_session *s, const struct lk_manifest_source *source,
           const struct lk_import_options *options, struct lk_import_result *result,
           struct lk_importing **ret)
{
    LK_AUTO(import) struct lk_importing *im = (struct lk_importing *)calloc(1, sizeof(*im));
    const struct lk_manifest_source hashing = {source_read, im};
    enum lk_err err;

    if (im == NULL) {
        return LK_ERR_NOMEM;
    }
    im->session = s;
    im->options = options;
    im->result = result;
    im->source = source;
    lk_manifest_row_init(&im->row);
    lk_enrollment_init(&im->other);
    for (size_t i = 0; i < LK_IMPORT_BATCH; i++) {
        lk_enrollment_init(&im->batches[0].slots[i].e);
        lk_enrollment_init(&im->batches[1].slots[i].e);
    }
    im->staging = &im->batches[0];
    im->reading = &im->batches[1];
    if ((err = lk_importing_source_make(im)) != LK_OK ||
        (err = lk_digester_new(LK_SHA256, &im->digester)) != LK_OK ||
        (err = lk_manifest_reader_new(options->format, &hashing, &im->reader)) != LK_OK) {
        return err;
    }
    *ret = import_take(&im);
    return LK_OK;
}

static void
problem_report(struct lk_importing *im, const struct lk_manifest_problem *problem)
{
    if (im->options->problem != NULL) {
        im->options->problem(im->options->ctx, problem);
    }
}

/* ---- read ------------------------------------------------------------------------------------ */

/* The header, if it is that, spoils everything: it is reported here. */
static enum lk_err
row_read(struct lk_importing *im, struct slot *slot, bool *ret_end)
{
    enum lk_manifest_verdict verdict = LK_MANIFEST_END;
    enum lk_err err;

    slot->unreadable = false;
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
slots_read(struct lk_importing *im, struct batch *b)
{
    enum lk_err err;

    for (b->slots_count = 0; b->slots_count < LK_IMPORT_BATCH; b->slots_count++) {
        if ((err = row_read(im, &b->slots[b->slots_count], &b->end)) != LK_OK || b->end) {
            return err;
        }
    }
    return LK_OK;
}

/* Also while the batch before is staged, by another thread. */
static void
batch_read(void *arg)
{
    struct lk_importing *im = (struct lk_importing *)arg;

    im->reading->end = false;
    im->reading->err = slots_read(im, im->reading);
}

/* ---- stage ----------------------------------------------------------------------------------- */

/* Is one of the row's keys another enrollment's, and whose? */
static enum lk_err
eks_elsewhere(struct lk_txn *tx, const struct lk_enrollment *e,
              char owner[LK_REGISTRATION_ID_MAX + 1], bool *ret)
{
    *ret = false;
    for (size_t i = 0; i < e->eks_count && !*ret; i++) {
        enum lk_err err = lk_txn_enrollment_by_ek(tx, e->scope, e->eks[i].id, owner);

        if (err != LK_OK && err != LK_ERR_NOT_FOUND) {
            return err;
        }
        *ret = err == LK_OK && strcasecmp(owner, e->id) != 0;
    }
    return LK_OK;
}

/* im->other becomes what the row says, at once. */
static enum lk_err
other_update(struct lk_txn *tx, struct lk_importing *im, struct slot *slot, const char *fields)
{
    struct lk_manifest_problem *p = &slot->problem;
    struct lk_conflict conflict = {.by_ek = false};
    char detail[192];
    enum lk_err err = lk_enrollment_merge(&slot->e, &im->other);

    if (err != LK_OK ||
        (err = lk_txn_enrollment_replace(tx, &im->other, NULL, &conflict)) != LK_OK) {
        if (err != LK_ERR_EXISTS) {
            return err;
        }
        slot->verdict = LK_IMPORT_ROW_CONFLICTING;
        (void)snprintf(p->field, sizeof(p->field), "endorsementKey");
        (void)snprintf(p->reason, sizeof(p->reason), "the same key as in line %lld (%.100s)",
                       (long long)conflict.import_line, conflict.id);
        return LK_OK;
    }
    (void)snprintf(detail, sizeof(detail), "{\"import\":%lld,\"changed\":\"%s\"}",
                   (long long)im->result->import_id, fields);
    return lk_txn_audit_append(tx, im->options->actor, "enrollment.update", im->options->scope,
                               im->other.id, detail);
}

/* The row's ID is enrolled, as im->other. */
static enum lk_err
same_or_changed(struct lk_txn *tx, struct lk_importing *im, struct slot *slot)
{
    struct lk_manifest_problem *p = &slot->problem;
    char fields[80], owner[LK_REGISTRATION_ID_MAX + 1];
    bool elsewhere = false;
    enum lk_err err;

    if ((err = lk_enrollment_diff(&im->other, &slot->e, fields, sizeof(fields))) != LK_OK ||
        (err = eks_elsewhere(tx, &slot->e, owner, &elsewhere)) != LK_OK) {
        return err;
    }
    if (fields[0] == '\0') {
        slot->verdict = LK_IMPORT_ROW_SAME;
        return LK_OK;
    }
    slot->verdict = elsewhere ? LK_IMPORT_ROW_CONFLICTING : LK_IMPORT_ROW_CHANGED;
    if (elsewhere && im->options->update) {
        (void)snprintf(p->field, sizeof(p->field), "endorsementKey");
        (void)snprintf(p->reason, sizeof(p->reason), "the same key as the enrollment %.100s has",
                       owner);
        return LK_OK;
    }
    (void)snprintf(p->reason, sizeof(p->reason),
                   "the same registration ID as the enrollment %.48s has, but another %s",
                   im->other.id, fields);
    return slot->verdict == LK_IMPORT_ROW_CHANGED && im->options->update && !im->options->dry_run
               ? other_update(tx, im, slot, fields)
               : LK_OK;
}

/* Say with which row an enrollment is in conflict, and where that one is. */
static enum lk_err
conflict_judge(struct lk_txn *tx, struct lk_importing *im, struct slot *slot,
               const struct lk_conflict *conflict)
{
    struct lk_manifest_problem *p = &slot->problem;
    const char *what = conflict->by_ek ? "the same key" : "the same registration ID";
    enum lk_err err;

    if (conflict->import_id == im->result->import_id && conflict->import_line == slot->line) {
        slot->verdict = LK_IMPORT_ROW_NEW; /* staged before the interruption */
        return LK_OK;
    }
    slot->verdict = LK_IMPORT_ROW_CONFLICTING;
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
    if (err == LK_OK && !conflict->by_ek) {
        return same_or_changed(tx, im, slot);
    }
    (void)snprintf(p->reason, sizeof(p->reason), "%s as the enrollment %.100s has", what,
                   conflict->id);
    return err;
}

/* Whether the row can be imported at all. */
static enum lk_err
slot_check(struct lk_txn *tx, struct slot *slot)
{
    enum lk_err err;

    slot->verdict = LK_IMPORT_ROW_BAD;
    if (slot->unreadable) {
        return LK_OK;
    }
    err = lk_enrollment_check(tx, &slot->e, &slot->problem);
    if (err == LK_OK) {
        slot->verdict = LK_IMPORT_ROW_NEW;
    }
    return err == LK_ERR_FORMAT ? LK_OK : err;
}

static enum lk_err
slot_stage(struct lk_txn *tx, struct lk_importing *im, struct slot *slot)
{
    struct lk_conflict conflict;
    enum lk_err err =
        lk_txn_import_stage(tx, im->result->import_id, slot->line, &slot->e, &conflict);

    return err == LK_ERR_EXISTS ? conflict_judge(tx, im, slot, &conflict) : err;
}

/* Together what is in nobody's way; one at a time, in order, what may be. */
static enum lk_err
stage_run(struct lk_txn *tx, void *arg)
{
    struct lk_importing *im = (struct lk_importing *)arg;
    struct batch *b = im->staging;
    enum lk_err err;

    for (size_t i = 0; i < b->slots_count; i++) {
        struct slot *slot = &b->slots[i];

        if ((err = slot_check(tx, slot)) != LK_OK) {
            return err;
        }
        b->rows[i].line = slot->line;
        b->rows[i].e = slot->verdict == LK_IMPORT_ROW_NEW ? &slot->e : NULL;
    }
    if ((err = lk_txn_import_stage_many(tx, im->result->import_id, b->rows, b->slots_count)) !=
        LK_OK) {
        return err;
    }
    for (size_t i = 0; i < b->slots_count; i++) {
        if (b->rows[i].e != NULL && !b->rows[i].staged &&
            (err = slot_stage(tx, im, &b->slots[i])) != LK_OK) {
            return err;
        }
    }
    return LK_OK;
}

static void
row_count(const struct lk_import_options *o, struct lk_import_result *r, const struct slot *slot)
{
    r->rows_read++;
    r->rows_bad += lk_import_is_bad(slot->verdict, o->update) ? 1 : 0;
    switch (slot->verdict) {
    case LK_IMPORT_ROW_NEW:
        r->rows_new++;
        r->rows_imported++;
        r->rows_software += slot->software ? 1 : 0;
        return;
    case LK_IMPORT_ROW_SAME:
        r->rows_same++;
        return;
    case LK_IMPORT_ROW_CHANGED:
        r->rows_changed++;
        r->rows_updated += o->update && !o->dry_run ? 1 : 0;
        return;
    case LK_IMPORT_ROW_CONFLICTING:
        r->rows_conflicting++;
        return;
    case LK_IMPORT_ROW_BAD:
        return;
    }
}

/* Count and report a batch that has been staged. */
static void
batch_report(struct lk_importing *im)
{
    const struct lk_import_options *o = im->options;
    struct lk_import_result *r = im->result;

    for (size_t i = 0; i < im->staging->slots_count; i++) {
        const struct slot *slot = &im->staging->slots[i];
        bool good = slot->verdict <= LK_IMPORT_ROW_SAME;
        const struct lk_import_row row = {slot->line, slot->verdict,
                                          slot->unreadable ? "" : slot->e.id,
                                          good ? NULL : &slot->problem};

        row_count(o, r, slot);
        if (o->row != NULL) {
            o->row(o->ctx, &row);
        }
        if (lk_import_is_bad(slot->verdict, o->update)) {
            problem_report(im, &slot->problem);
        }
    }
    r->stopped = !o->skip_bad && r->rows_bad >= LK_IMPORT_BAD_MAX;
    if (o->progress != NULL) {
        o->progress(o->ctx, r);
    }
}

/* SQLite's write lock has no queue: who waits for it has to find it free. */
static void
others_let(void)
{
    const struct timespec pause = {0, LK_IMPORT_PAUSE_US * 1000};

    (void)nanosleep(&pause, NULL); /* a signal only makes it shorter */
}

/* Two batches are under way, one that is staged and the next, that is read meanwhile. */
static enum lk_err
rows_stage(struct lk_importing *im)
{
    enum lk_err err;

    batch_read(im);
    do {
        struct batch *read = im->reading;

        if (read->err != LK_OK) {
            return read->err;
        }
        im->reading = im->staging;
        im->staging = read;
        if ((err = lk_store_write_while(im->session, stage_run, im,
                                        read->end ? NULL : batch_read)) != LK_OK) {
            return err;
        }
        batch_report(im);
        others_let();
    } while (!im->staging->end && !im->result->stopped);
    return LK_OK;
}

/* ---- begin, finish, drop --------------------------------------------------------------------- */

/* Who vouches for the bytes, and which they were. */
static enum lk_err
audit_origin(const struct lk_import_options *o, json_t *detail)
{
    LK_AUTO_BUF struct lk_buf sha256 = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf cert = LK_BUF_INIT;
    enum lk_err err;

    if (o->sha256 != NULL &&
        ((err = lk_hex_encode(o->sha256, LK_IMPORT_SHA256_LEN, &sha256)) != LK_OK ||
         lk_buf_text(&sha256) == NULL ||
         json_object_set_new(detail, "sha256", json_string(lk_buf_text(&sha256))) != 0)) {
        return LK_ERR_NOMEM;
    }
    if (o->signer == NULL) {
        return LK_OK;
    }
    if ((err = lk_hex_encode(o->signer->cert_sha256, LK_IMPORT_SHA256_LEN, &cert)) != LK_OK ||
        lk_buf_text(&cert) == NULL ||
        json_object_set_new(detail, "signer", json_string(o->signer->subject)) != 0 ||
        json_object_set_new(detail, "signerSha256", json_string(lk_buf_text(&cert))) != 0) {
        return LK_ERR_NOMEM;
    }
    return LK_OK;
}

/* The record of the whole import; its rows have their own line and import in the store. */
static enum lk_err
audit(struct lk_txn *tx, const struct lk_importing *im, int64_t rows)
{
    LK_AUTO(json)
    json_t *detail = json_pack(
        "{s:I, s:I, s:I, s:I, s:I}", "import", (json_int_t)im->result->import_id, "rows",
        (json_int_t)rows, "skipped", (json_int_t)im->result->rows_bad, "softwareTpms",
        (json_int_t)im->result->rows_software, "updated", (json_int_t)im->result->rows_updated);
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;

    if (detail == NULL || audit_origin(im->options, detail) != LK_OK ||
        lk_json_write(detail, &text) != LK_OK || lk_buf_text(&text) == NULL) {
        return LK_ERR_NOMEM;
    }
    return lk_txn_audit_append(tx, im->options->actor, "enrollment.import", im->options->scope,
                               im->options->source, lk_buf_text(&text));
}

static enum lk_err
finish_run(struct lk_txn *tx, void *arg)
{
    const struct lk_importing *im = (const struct lk_importing *)arg;
    int64_t rows = 0;
    enum lk_err err = lk_txn_import_finish(tx, im->result->import_id, &rows);

    return err != LK_OK ? err : audit(tx, im, rows);
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
        if ((err = lk_import_remove(s, import_id, NULL, NULL)) != LK_OK) {
            return err;
        }
    }
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

/* Nothing takes effect but the bytes that were judged. */
static enum lk_err
bytes_check(struct lk_importing *im)
{
    uint8_t sha256[LK_IMPORT_SHA256_LEN];
    enum lk_err err = lk_digester_end(im->digester, sha256);

    if (err != LK_OK || im->options->sha256 == NULL) {
        return err;
    }
    return memcmp(sha256, im->options->sha256, sizeof(sha256)) == 0 ? LK_OK : LK_ERR_REFUSED;
}

/* Everything was staged or reported: make it live, unless it must not be. */
static enum lk_err
import_end(struct lk_importing *im)
{
    const struct lk_import_options *o = im->options;
    enum lk_err err;

    if (!im->result->stopped && (err = bytes_check(im)) != LK_OK) {
        return err;
    }
    if (im->result->rows_bad > 0 && !o->skip_bad) {
        return LK_ERR_FORMAT;
    }
    return o->dry_run ? LK_OK : lk_store_write_wait(im->session, finish_run, im);
}

/* After such a failure the same bytes may go on where they were. */
static bool
is_resumable(const struct lk_import_options *o, enum lk_err err)
{
    return !o->dry_run && o->sha256 != NULL &&
           (err == LK_ERR_CANCELLED || err == LK_ERR_IO || err == LK_ERR_STORE ||
            err == LK_ERR_BUSY);
}

enum lk_err
lk_import_run(struct lk_session *s, const struct lk_manifest_source *source,
              const struct lk_import_options *options, struct lk_import_result *ret)
{
    LK_AUTO(import) struct lk_importing *im = NULL;
    enum lk_err err, drop_err = LK_OK;

    *ret = (struct lk_import_result){.import_id = 0};
    if ((err = import_new(s, source, options, ret, &im)) != LK_OK ||
        (err = dead_imports_drop(s)) != LK_OK ||
        (err = lk_store_write_wait(
             s, options->resume_id != 0 ? lk_importing_resume : lk_importing_begin, im)) != LK_OK) {
        return err;
    }
    if ((err = rows_stage(im)) == LK_OK) {
        err = import_end(im);
    }
    ret->resumable = is_resumable(options, err);
    if (!ret->resumable && (err != LK_OK || options->dry_run)) {
        drop_err = lk_import_remove(s, ret->import_id, NULL, NULL);
    }
    if (err != LK_OK) {
        ret->rows_imported = 0;
    }
    return err != LK_OK ? err : drop_err;
}
