/* latchkey enrollment import into a service elsewhere. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/enrollment_import.h"

/* A row that is on its way. */
struct parcel {
    struct lk_enrollment e;
    int64_t line;
    bool software;
    enum lk_import_verdict verdict;
    struct lk_manifest_problem problem;
    struct lk_enrollment found; /* what is there under its ID */
    bool is_found;
};

struct sending {
    struct lk_remote *remote;
    struct lk_cli_import *im;
    struct lk_import_result result;
    struct lk_manifest_reader *reader;
    struct lk_manifest_row row;
    struct parcel parcels[LK_CLI_BULK_ROWS];
    size_t parcels_count;
};

static void
sending_free(struct sending *s)
{
    lk_manifest_reader_free(s->reader);
    lk_manifest_row_fini(&s->row);
    for (size_t i = 0; i < LK_CLI_BULK_ROWS; i++) {
        lk_enrollment_fini(&s->parcels[i].e);
        lk_enrollment_fini(&s->parcels[i].found);
    }
    free(s);
}
LK_DEFINE_AUTO(struct sending, sending, sending_free);

static enum lk_err
sending_new(struct lk_remote *r, struct lk_cli_import *im, struct sending **ret)
{
    struct sending *s = calloc(1, sizeof(*s));

    if (s == NULL) {
        return LK_ERR_NOMEM;
    }
    s->remote = r;
    s->im = im;
    lk_manifest_row_init(&s->row);
    for (size_t i = 0; i < LK_CLI_BULK_ROWS; i++) {
        lk_enrollment_init(&s->parcels[i].e);
        lk_enrollment_init(&s->parcels[i].found);
    }
    *ret = s;
    return LK_OK;
}

/* ---- reading --------------------------------------------------------------------------------- */

static enum lk_err
reader_begin(struct sending *s)
{
    const struct lk_manifest_source source = {lk_cli_input_read, &s->im->in};
    enum lk_manifest_format format =
        s->im->has_format ? s->im->format : lk_cli_input_format(s->im->path, &s->im->in);
    enum lk_err err;

    lk_manifest_reader_free(s->reader);
    s->reader = NULL;
    s->result = (struct lk_import_result){.import_id = 0};
    s->parcels_count = 0;
    err = lk_cli_input_rewind(&s->im->in);
    return err != LK_OK ? err : lk_manifest_reader_new(format, &source, &s->reader);
}

/* One row into *p. A header that is not acceptable is reported here. */
static enum lk_err
row_read(struct sending *s, struct parcel *p, bool *ret_end)
{
    enum lk_manifest_verdict verdict = LK_MANIFEST_END;
    enum lk_err err = lk_manifest_next(s->reader, &s->row, &p->problem, &verdict);

    if (err != LK_OK) {
        if (err == LK_ERR_FORMAT) {
            lk_cli_import_problem(s->im, &p->problem);
        }
        return err;
    }
    *ret_end = verdict == LK_MANIFEST_END;
    p->line = p->problem.line;
    p->software = s->row.software_tpm;
    p->is_found = false;
    p->verdict = LK_IMPORT_ROW_BAD;
    if (verdict != LK_MANIFEST_ROW) {
        p->e.id[0] = '\0';
        return LK_OK;
    }
    err = lk_enrollment_from_row("", &s->row, &p->e, &p->problem);
    p->verdict = err == LK_OK ? LK_IMPORT_ROW_NEW : LK_IMPORT_ROW_BAD;
    return err == LK_ERR_FORMAT ? LK_OK : err;
}

static void
parcel_report(struct sending *s, const struct parcel *p)
{
    struct lk_import_result *r = &s->result;
    bool bad = lk_import_is_bad(p->verdict, s->im->update);
    const struct lk_import_row row = {p->line, p->verdict, p->e.id,
                                      p->verdict > LK_IMPORT_ROW_SAME ? &p->problem : NULL};

    r->rows_read++;
    r->rows_bad += bad ? 1 : 0;
    r->rows_new += p->verdict == LK_IMPORT_ROW_NEW ? 1 : 0;
    r->rows_imported += p->verdict == LK_IMPORT_ROW_NEW ? 1 : 0;
    r->rows_software += p->verdict == LK_IMPORT_ROW_NEW && p->software ? 1 : 0;
    r->rows_same += p->verdict == LK_IMPORT_ROW_SAME ? 1 : 0;
    r->rows_changed += p->verdict == LK_IMPORT_ROW_CHANGED ? 1 : 0;
    r->rows_updated += p->verdict == LK_IMPORT_ROW_CHANGED && !bad && !s->im->dry_run ? 1 : 0;
    r->rows_conflicting += p->verdict == LK_IMPORT_ROW_CONFLICTING ? 1 : 0;
    if (s->im->json || s->im->verbose) {
        lk_cli_import_row(s->im, &row);
    }
    if (bad) {
        lk_cli_import_problem(s->im, &p->problem);
    }
}

/* The whole manifest, before anything is sent. LK_ERR_FORMAT: there are bad rows. */
static enum lk_err
manifest_judge(struct sending *s)
{
    struct parcel *p = &s->parcels[0];
    bool end = false;
    enum lk_err err = reader_begin(s);

    s->im->silent = true;
    while (err == LK_OK && !end && !s->result.stopped) {
        if ((err = row_read(s, p, &end)) == LK_OK && !end) {
            s->result.rows_read++;
            if (p->verdict == LK_IMPORT_ROW_BAD) {
                s->result.rows_bad++;
                if (!s->im->skip_bad) {
                    lk_cli_import_problem(s->im, &p->problem);
                }
            }
            s->result.stopped = !s->im->skip_bad && s->result.rows_bad >= LK_IMPORT_BAD_MAX;
        }
    }
    s->im->silent = false;
    return err == LK_OK && s->result.rows_bad > 0 && !s->im->skip_bad ? LK_ERR_FORMAT : err;
}

/* ---- sending --------------------------------------------------------------------------------- */

/* What is there under the row's ID, and whether it says the same. */
static enum lk_err
parcel_compare(struct sending *s, struct parcel *p)
{
    char fields[80];
    enum lk_err err = lk_remote_entity_get(s->remote, LK_ENTITY_ENROLLMENT, p->e.id, &p->found);

    if (err != LK_OK) {
        return err;
    }
    if ((err = lk_enrollment_diff(&p->found, &p->e, fields, sizeof(fields))) != LK_OK) {
        return err;
    }
    p->is_found = true;
    p->verdict = fields[0] == '\0' ? LK_IMPORT_ROW_SAME : LK_IMPORT_ROW_CHANGED;
    (void)snprintf(p->problem.field, sizeof(p->problem.field), "registrationId");
    (void)snprintf(p->problem.reason, sizeof(p->problem.reason),
                   "the same registration ID as the enrollment %.48s has, but another %s",
                   p->found.id, fields);
    return LK_OK;
}

static struct parcel *
parcel_of(struct sending *s, const json_t *error)
{
    const char *id = json_string_value(json_object_get(error, "registrationId"));

    for (size_t i = 0; id != NULL && i < s->parcels_count; i++) {
        if (strcasecmp(s->parcels[i].e.id, id) == 0) {
            return &s->parcels[i];
        }
    }
    return NULL;
}

/* An item that the service did not take. */
static enum lk_err
error_take(struct sending *s, const json_t *error)
{
    const char *text = json_string_value(json_object_get(error, "errorStatus"));
    json_int_t code = json_integer_value(json_object_get(error, "errorCode"));
    char shown[LK_CLI_SHOWN_CAP];
    struct parcel *p = parcel_of(s, error);
    enum lk_err err = LK_ERR_NOT_FOUND;

    if (p == NULL) {
        return LK_ERR_PROTOCOL;
    }
    if (code / 1000 == 409 && !p->is_found) {
        err = parcel_compare(s, p);
    }
    if (err != LK_ERR_NOT_FOUND) {
        return err;
    }
    p->verdict =
        code / 1000 == 409 || code / 1000 == 412 ? LK_IMPORT_ROW_CONFLICTING : LK_IMPORT_ROW_BAD;
    p->problem.field[0] = '\0';
    (void)snprintf(p->problem.reason, sizeof(p->problem.reason), "%.180s",
                   lk_cli_shown(text != NULL ? text : "refused", shown));
    return LK_OK;
}

/* Rows of that verdict, as the objects of a request. */
static enum lk_err
items_make(struct sending *s, enum lk_import_verdict verdict, json_t *items)
{
    for (size_t i = 0; i < s->parcels_count; i++) {
        struct parcel *p = &s->parcels[i];
        const struct lk_enrollment *e = verdict == LK_IMPORT_ROW_CHANGED ? &p->found : &p->e;
        json_t *object;
        enum lk_err err;

        if (p->verdict != verdict) {
            continue;
        }
        if (verdict == LK_IMPORT_ROW_CHANGED &&
            (err = lk_enrollment_merge(&p->e, &p->found)) != LK_OK) {
            return err;
        }
        object = json_object();
        if (json_array_append_new(items, object) != 0) {
            return LK_ERR_NOMEM;
        }
        if ((err = lk_enrollment_request_put(LK_ENTITY_ENROLLMENT, e, NULL, object)) != LK_OK) {
            return err;
        }
    }
    return LK_OK;
}

/* In halves when the service takes fewer at a time. */
static enum lk_err
items_send(struct sending *s, enum lk_bulk_mode mode, const json_t *items, size_t from,
           size_t count)
{
    LK_AUTO(json) json_t *some = json_array();
    LK_AUTO(json) json_t *errors = NULL;
    enum lk_err err = LK_OK;

    for (size_t i = from; i < from + count; i++) {
        if (json_array_append(some, json_array_get(items, i)) != 0) {
            return LK_ERR_NOMEM;
        }
    }
    if ((err = lk_remote_bulk(s->remote, mode, some, &errors)) == LK_ERR_FORMAT &&
        lk_remote_code(s->remote) == LK_SVC_TOO_MANY && count > 1) {
        err = items_send(s, mode, items, from, count / 2);
        return err != LK_OK ? err : items_send(s, mode, items, from + count / 2, count - count / 2);
    }
    for (size_t i = 0; err == LK_OK && i < json_array_size(errors); i++) {
        err = error_take(s, json_array_get(errors, i));
    }
    return err;
}

static enum lk_err
bulk_send(struct sending *s, enum lk_bulk_mode mode, enum lk_import_verdict verdict)
{
    LK_AUTO(json) json_t *items = json_array();
    enum lk_err err = items == NULL ? LK_ERR_NOMEM : items_make(s, verdict, items);

    return err != LK_OK || json_array_size(items) == 0
               ? err
               : items_send(s, mode, items, 0, json_array_size(items));
}

static enum lk_err
batch_compare(struct sending *s)
{
    enum lk_err err = LK_OK;

    for (size_t i = 0; err == LK_OK && i < s->parcels_count; i++) {
        if (s->parcels[i].verdict == LK_IMPORT_ROW_NEW) {
            err = parcel_compare(s, &s->parcels[i]);
            err = err == LK_ERR_NOT_FOUND ? LK_OK : err;
        }
    }
    return err;
}

static enum lk_err
batch_send(struct sending *s)
{
    enum lk_err err =
        s->im->dry_run ? batch_compare(s) : bulk_send(s, LK_BULK_CREATE, LK_IMPORT_ROW_NEW);

    if (err == LK_OK && s->im->update && !s->im->dry_run) {
        err = bulk_send(s, LK_BULK_UPDATE_IF_MATCH, LK_IMPORT_ROW_CHANGED);
    }
    for (size_t i = 0; err == LK_OK && i < s->parcels_count; i++) {
        parcel_report(s, &s->parcels[i]);
    }
    s->parcels_count = err == LK_OK ? 0 : s->parcels_count;
    lk_cli_import_progress(s->im, &s->result);
    return err;
}

/* No two items of one call have the same ID: the second one waits until it can be compared. */
static bool
batch_has(const struct sending *s, const struct parcel *p)
{
    for (size_t i = 0; i < s->parcels_count; i++) {
        if (p->e.id[0] != '\0' && strcasecmp(s->parcels[i].e.id, p->e.id) == 0) {
            return true;
        }
    }
    return false;
}

static enum lk_err
parcel_add(struct sending *s, struct parcel *next)
{
    struct parcel *p;
    struct lk_enrollment room;
    enum lk_err err = LK_OK;

    if ((s->parcels_count == LK_CLI_BULK_ROWS || batch_has(s, next)) &&
        (err = batch_send(s)) != LK_OK) {
        return err;
    }
    p = &s->parcels[s->parcels_count++];
    room = p->e; /* memory changes places, so that none is copied */
    p->e = next->e;
    next->e = room;
    p->line = next->line;
    p->software = next->software;
    p->verdict = next->verdict;
    p->problem = next->problem;
    p->is_found = false;
    return LK_OK;
}

static enum lk_err
manifest_send(struct sending *s)
{
    struct parcel next = {.line = 0};
    bool end = false;
    enum lk_err err = reader_begin(s);

    lk_enrollment_init(&next.e);
    lk_enrollment_init(&next.found);
    while (err == LK_OK && !end) {
        if ((err = row_read(s, &next, &end)) == LK_OK && !end) {
            err = parcel_add(s, &next);
        }
    }
    if (err == LK_OK) {
        err = batch_send(s);
    }
    lk_enrollment_fini(&next.e);
    lk_enrollment_fini(&next.found);
    lk_cli_import_bar_erase(s->im);
    return err;
}

/* ---- what is told ---------------------------------------------------------------------------- */

static int
judge_failed(enum lk_err err, const struct sending *s)
{
    const struct lk_import_result *r = &s->result;

    switch (err) {
    case LK_ERR_FORMAT:
        if (r->rows_read == 0) { /* the header, which has been told */
            lk_cli_note("nothing was imported");
        } else {
            lk_cli_note("nothing was imported: %lld of %lld rows are bad%s", (long long)r->rows_bad,
                        (long long)r->rows_read, r->stopped ? "; reading stopped there" : "");
        }
        return lk_err_exit_code(err);
    case LK_ERR_CANCELLED:
        return lk_cli_interrupted();
    default:
        return lk_cli_fail(err, "nothing was imported: cannot read %s", s->im->name);
    }
}

/* The rows of calls that ended are there, and those of the last one may be. */
static int
send_failed(enum lk_err err, const struct sending *s)
{
    const struct lk_import_result *r = &s->result;

    lk_cli_note("interrupted after %lld rows: %lld enrollments were imported%s. The same command "
                "goes on from there",
                (long long)r->rows_read, (long long)r->rows_imported,
                r->rows_updated > 0 ? ", others changed" : "");
    if (err == LK_ERR_CANCELLED) {
        return lk_err_exit_code(err);
    }
    return err == LK_ERR_IO ? lk_cli_fail(err, "cannot read %s", s->im->name)
                            : lk_remote_fail(s->remote, err, "what interrupted it");
}

static int
sent_tell(const struct sending *s)
{
    const struct lk_import_result *r = &s->result;
    const struct lk_cli_import *im = s->im;
    int code = r->rows_bad > 0 && !im->skip_bad ? lk_err_exit_code(LK_ERR_FORMAT) : 0;
    int json_code;

    lk_cli_import_software_warn(r);
    if (r->rows_bad > 0) {
        lk_cli_note(im->skip_bad ? "%lld bad rows were skipped" : "%lld rows were not imported",
                    (long long)r->rows_bad);
    }
    if (im->json) {
        json_code = lk_cli_import_counts_json(im, r, NULL);
        return json_code != 0 ? json_code : code;
    }
    if (r->rows_updated > 0) {
        lk_cli_note("%lld enrollments were changed", (long long)r->rows_updated);
    }
    if (im->dry_run) {
        lk_cli_import_counts_print(im, r);
        (void)printf("%lld rows could be imported into %s; dry run, nothing was\n",
                     (long long)r->rows_imported, lk_remote_name(s->remote));
        return code;
    }
    if (r->rows_same > 0) {
        lk_cli_note("%lld rows say what is enrolled already", (long long)r->rows_same);
    }
    (void)printf("%lld enrollments imported into %s\n", (long long)r->rows_imported,
                 lk_remote_name(s->remote));
    return code;
}

int
lk_cli_import_elsewhere(struct lk_remote *r, struct lk_cli_import *im)
{
    LK_AUTO(sending) struct sending *s = NULL;
    enum lk_err err = sending_new(r, im, &s);

    if (err != LK_OK) {
        return lk_cli_fail(err, "nothing was imported");
    }
    errno = 0;
    if ((err = manifest_judge(s)) != LK_OK) {
        return judge_failed(err, s);
    }
    errno = 0;
    return (err = manifest_send(s)) != LK_OK ? send_failed(err, s) : sent_tell(s);
}
