/* latchkey enrollment import. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cli/enrollment_import.h"

enum {
    OPT_FORMAT = LK_CLI_OPT_COMMAND,
    OPT_DRY_RUN,
    OPT_SKIP_BAD,
    OPT_UPDATE,
    OPT_SIGNATURE,
    OPT_RESUME,
    OPT_VERBOSE
};

static enum lk_err
import_take(void *ctx, int option, const char *value)
{
    struct lk_cli_import *a = (struct lk_cli_import *)ctx;

    switch (option) {
    case OPT_FORMAT:
        a->has_format = true;
        return lk_cli_manifest_format(value, &a->format);
    case OPT_DRY_RUN:
        a->dry_run = true;
        return LK_OK;
    case OPT_SIGNATURE:
        a->signature = value;
        return LK_OK;
    case OPT_RESUME:
        return lk_cli_number(value, 1, INT64_MAX - 1, &a->resume_id);
    case OPT_UPDATE:
        a->update = true;
        return LK_OK;
    case OPT_VERBOSE:
        a->verbose = true;
        return LK_OK;
    default:
        a->skip_bad = true;
        return LK_OK;
    }
}

/* ---- what is told ---------------------------------------------------------------------------- */

#define BAR_WIDTH 30

static void
import_fini(struct lk_cli_import *im)
{
    lk_cli_input_close(&im->in);
}

void
lk_cli_import_bar_erase(struct lk_cli_import *t)
{
    if (t->bar_drawn) {
        (void)fputs("\r\x1b[K", stderr);
        t->bar_drawn = false;
    }
}

void
lk_cli_import_problem(void *ctx, const struct lk_manifest_problem *p)
{
    struct lk_cli_import *t = (struct lk_cli_import *)ctx;

    lk_cli_import_bar_erase(t);
    lk_cli_note("%s, line %lld: %s%s%s", t->name, (long long)p->line, p->field,
                p->field[0] != '\0' ? ": " : "", p->reason);
}

static const char *
verdict_name(enum lk_import_verdict verdict)
{
    switch (verdict) {
    case LK_IMPORT_ROW_NEW:
        return "new";
    case LK_IMPORT_ROW_SAME:
        return "same";
    case LK_IMPORT_ROW_CHANGED:
        return "changed";
    case LK_IMPORT_ROW_CONFLICTING:
        return "conflicting";
    case LK_IMPORT_ROW_BAD:
        break;
    }
    return "bad";
}

static void
row_print_json(struct lk_cli_import *t, const struct lk_import_row *row)
{
    LK_AUTO(json)
    json_t *o = json_pack("{s:I, s:s, s:s}", "line", (json_int_t)row->line, "registrationId",
                          row->registration_id, "row", verdict_name(row->verdict));

    if (o == NULL ||
        (row->problem != NULL && row->problem->field[0] != '\0' &&
         json_object_set_new(o, "field", json_string(row->problem->field)) != 0) ||
        (row->problem != NULL &&
         json_object_set_new(o, "reason", json_string(row->problem->reason)) != 0)) {
        t->failed = true;
        return;
    }
    t->failed = lk_cli_print_json(o) != 0;
}

/* What is wrong with a row goes to stderr besides. */
void
lk_cli_import_row(void *ctx, const struct lk_import_row *row)
{
    struct lk_cli_import *t = (struct lk_cli_import *)ctx;

    if (t->failed || t->silent) {
        return;
    }
    if (t->json) {
        row_print_json(t, row);
    } else if (t->verbose) {
        t->failed =
            printf("%-12s line %-9lld %s%s%s\n", verdict_name(row->verdict), (long long)row->line,
                   row->registration_id, row->verdict == LK_IMPORT_ROW_CHANGED ? ": " : "",
                   row->verdict == LK_IMPORT_ROW_CHANGED ? row->problem->reason : "") < 0;
    }
}

void
lk_cli_import_progress(void *ctx, const struct lk_import_result *so_far)
{
    struct lk_cli_import *t = (struct lk_cli_import *)ctx;
    char bar[BAR_WIDTH + 1];
    int64_t done = t->in.size > 0 ? t->in.read_len * BAR_WIDTH / t->in.size : 0;

    if (!t->bar) {
        return;
    }
    done = done < BAR_WIDTH ? done : BAR_WIDTH;
    memset(bar, ' ', BAR_WIDTH);
    memset(bar, '#', (size_t)done);
    bar[BAR_WIDTH] = '\0';
    lk_cli_import_bar_erase(t);
    if (t->in.size > 0) {
        (void)fprintf(stderr, "[%s] ", bar);
    }
    (void)fprintf(stderr, "%lld rows, %lld bad", (long long)so_far->rows_read,
                  (long long)so_far->rows_bad);
    t->bar_drawn = true;
}

void
lk_cli_import_software_warn(const struct lk_import_result *r)
{
    if (r->rows_software > 0) {
        lk_cli_note("warning: %lld of the rows are of a software TPM, which proves nothing about "
                    "hardware",
                    (long long)r->rows_software);
    }
}

static int
resume_hint(enum lk_err err, const struct lk_cli_import *t, const struct lk_import_result *r)
{
    lk_cli_note("interrupted after %lld rows: nothing was imported yet. Go on with\n"
                "    latchkey enrollment import --resume %lld %s\n"
                "or give it up with\n"
                "    latchkey enrollment undo %lld",
                (long long)r->rows_read, (long long)r->import_id, t->name, (long long)r->import_id);
    return err == LK_ERR_CANCELLED ? lk_err_exit_code(err)
                                   : lk_cli_store_fail(err, "what interrupted it");
}

/* Rows that are bad for what they are themselves. */
static int64_t
otherwise_bad(const struct lk_cli_import *im, const struct lk_import_result *r)
{
    return r->rows_bad - r->rows_conflicting - (im->update ? 0 : r->rows_changed);
}

int
lk_cli_import_counts_json(const struct lk_cli_import *im, const struct lk_import_result *r,
                          const char *signer)
{
    LK_AUTO(json)
    json_t *o = json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:s?}", "dryRun", im->dry_run, "new",
                          (json_int_t)r->rows_new, "changed", (json_int_t)r->rows_changed, "same",
                          (json_int_t)r->rows_same, "conflicting", (json_int_t)r->rows_conflicting,
                          "bad", (json_int_t)otherwise_bad(im, r), "signer", signer);

    if (o == NULL ||
        (im->update && json_object_set_new(o, "updated", json_integer(r->rows_updated)) != 0) ||
        (!im->dry_run && r->import_id != 0 &&
         json_object_set_new(o, "import", json_integer(r->import_id)) != 0)) {
        return lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer");
    }
    return lk_cli_print_json(o);
}

void
lk_cli_import_counts_print(const struct lk_cli_import *im, const struct lk_import_result *r)
{
    (void)printf("new %lld, changed %lld, same %lld, conflicting %lld, otherwise bad %lld\n",
                 (long long)r->rows_new, (long long)r->rows_changed, (long long)r->rows_same,
                 (long long)r->rows_conflicting, (long long)otherwise_bad(im, r));
}

static const char *
signer_of(const struct lk_cli_verified *v)
{
    return v->has_signer ? v->signer.subject : NULL;
}

/* Changes are told also of an import that failed. */
static void
updated_tell(const struct lk_import_result *r)
{
    if (r->rows_updated > 0) {
        lk_cli_note("%lld enrollments were changed", (long long)r->rows_updated);
    }
}

static int
rows_failed(const struct lk_cli_import *t, const struct lk_import_result *r,
            const struct lk_cli_verified *v)
{
    if (r->rows_read == 0) { /* the header, which has been told */
        lk_cli_note("nothing was imported");
        return lk_err_exit_code(LK_ERR_FORMAT);
    }
    lk_cli_note("nothing was imported: %lld of %lld rows are bad%s", (long long)r->rows_bad,
                (long long)r->rows_read, r->stopped ? "; reading stopped there" : "");
    if (r->rows_changed > 0 && !t->update) {
        lk_cli_note("%lld of them are of enrollments that say something else: with --update these "
                    "are changed",
                    (long long)r->rows_changed);
    }
    if (t->json && lk_cli_import_counts_json(t, r, signer_of(v)) != 0) {
        return lk_err_exit_code(LK_ERR_IO);
    }
    if (t->dry_run && !t->json) {
        lk_cli_import_counts_print(t, r);
    }
    return lk_err_exit_code(LK_ERR_FORMAT);
}

static int
import_failed(enum lk_err err, const struct lk_cli_import *t, const struct lk_import_result *r,
              const struct lk_cli_verified *v)
{
    updated_tell(r);
    if (r->resumable) {
        return resume_hint(err, t, r);
    }
    switch (err) {
    case LK_ERR_FORMAT:
        return rows_failed(t, r, v);
    case LK_ERR_CANCELLED:
        return lk_cli_interrupted();
    case LK_ERR_NOT_FOUND:
        lk_cli_note(r->import_id == 0 && t->resume_id != 0
                        ? "nothing was imported: there is no such unfinished import"
                        : "nothing was imported: this import was given up meanwhile");
        return lk_err_exit_code(err);
    case LK_ERR_PRECONDITION:
        lk_cli_note("nothing was imported: import %llu is of another file",
                    (unsigned long long)t->resume_id);
        return lk_err_exit_code(err);
    case LK_ERR_EXISTS:
        lk_cli_note("nothing was imported: import %lld of the same file is not finished: go on "
                    "with --resume %lld, or give it up with `latchkey enrollment undo %lld`",
                    (long long)r->import_id, (long long)r->import_id, (long long)r->import_id);
        return lk_err_exit_code(err);
    case LK_ERR_REFUSED:
        lk_cli_note("nothing was imported: %s was changed while it was read", t->name);
        return lk_err_exit_code(err);
    case LK_ERR_IO:
        return lk_cli_fail(err, "nothing was imported: cannot read %s", t->name);
    default:
        return lk_cli_store_fail(err, "nothing was imported");
    }
}

static int
import_done(const struct lk_cli_import *t, const char *scope, const struct lk_import_result *r,
            const struct lk_cli_verified *v)
{
    lk_cli_import_software_warn(r);
    if (r->rows_bad > 0) {
        lk_cli_note("%lld bad rows were skipped", (long long)r->rows_bad);
    }
    if (t->json) {
        return lk_cli_import_counts_json(t, r, signer_of(v));
    }
    if (v->has_signer) {
        lk_cli_note("signed by %s", v->signer.subject);
    }
    if (t->dry_run) {
        lk_cli_import_counts_print(t, r);
        (void)printf("%lld rows could be imported into %s; dry run, nothing was\n",
                     (long long)r->rows_imported, scope);
        return 0;
    }
    updated_tell(r);
    if (r->rows_same > 0) {
        lk_cli_note("%lld rows say what is enrolled already", (long long)r->rows_same);
    }
    (void)printf("%lld enrollments imported into %s, import %lld\n", (long long)r->rows_imported,
                 scope, (long long)r->import_id);
    return 0;
}

/* ---- the command
 * ---------------------------------------------------------------------------------- */

static const struct lk_cli_form import_form = {
    .usage = "latchkey enrollment import FILE|- [--signature FILE] [--resume ID]\n"
             "         [--format csv|jsonl] [--dry-run] [--skip-bad] [--update] [--verbose]\n"
             "         [--json] [--scope ID] [SERVICE]",
    .help =
        "Enroll every device of a manifest, as `latchkey device show --manifest` and `latchkey\n"
        "enrollment export` write it. All rows take effect at the same moment, or none does.\n"
        "An enrollment that is there is not changed without --update. A service elsewhere takes "
        "the\nrows ten at a time: they take effect one after the other, and the same command goes "
        "on\nafter an interruption.\n\n"
        "  --signature FILE         detached CMS signature, DER or PEM, by a certificate that\n"
        "                           `latchkey trust add` has imported\n"
        "  --resume ID              go on with an import of this file that was interrupted\n"
        "  --format csv|jsonl       default: by the file's name or its first character\n"
        "  --dry-run                compare every row with the store; change nothing\n"
        "  --skip-bad               import the good rows although others are bad\n"
        "  --update                 change enrollments that say something else, each at once;\n"
        "                           `latchkey enrollment undo` does not change them back\n"
        "  --verbose                name every row, and whether it is new\n" LK_CLI_JSON_HELP
            LK_CLI_SCOPE_HELP LK_CLI_SERVICE_HELP,
    .options = (const struct option[]){{"signature", required_argument, NULL, OPT_SIGNATURE},
                                       {"resume", required_argument, NULL, OPT_RESUME},
                                       {"format", required_argument, NULL, OPT_FORMAT},
                                       {"dry-run", no_argument, NULL, OPT_DRY_RUN},
                                       {"skip-bad", no_argument, NULL, OPT_SKIP_BAD},
                                       {"update", no_argument, NULL, OPT_UPDATE},
                                       {"verbose", no_argument, NULL, OPT_VERBOSE},
                                       LK_CLI_JSON_OPTION,
                                       LK_CLI_SCOPE_OPTION,
                                       LK_CLI_SERVICE_OPTIONS,
                                       LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
    .take = import_take,
};

/* Read the manifest once through the store. */
static enum lk_err
import_pass(struct lk_cli_service *s, struct lk_cli_import *im, const char *scope,
            const struct lk_cli_verified *v, bool dry_run, struct lk_import_result *ret)
{
    const struct lk_manifest_source source = {lk_cli_input_read, &im->in};
    const struct lk_import_options options = {
        .scope = scope,
        .source = im->path,
        .actor = s->actor,
        .format = im->has_format ? im->format : lk_cli_input_format(im->path, &im->in),
        .sha256 = v->sha256,
        .signer = v->has_signer ? &v->signer : NULL,
        .resume_id = dry_run ? 0 : (int64_t)im->resume_id,
        .skip_bad = im->skip_bad,
        .update = im->update,
        .dry_run = dry_run,
        .row = im->json || im->verbose ? lk_cli_import_row : NULL,
        .problem = lk_cli_import_problem,
        .progress = lk_cli_import_progress,
        .ctx = im,
    };
    enum lk_err err;

    errno = 0;
    err = lk_import_run(s->session, &source, &options, ret);
    lk_cli_import_bar_erase(im);
    return err;
}

/* Changes cannot be taken back: whether everything would go through is found out before. */
static enum lk_err
update_judge(struct lk_cli_service *s, struct lk_cli_import *im, const char *scope,
             const struct lk_cli_verified *v, struct lk_import_result *ret)
{
    enum lk_err err;

    if (!im->update || im->dry_run || im->skip_bad || im->resume_id != 0) {
        return LK_OK;
    }
    im->silent = true;
    err = import_pass(s, im, scope, v, true, ret);
    im->silent = false;
    return err != LK_OK ? err : lk_cli_input_rewind(&im->in);
}

static int
import_here(struct lk_cli_service *s, const char *scope, struct lk_cli_import *im)
{
    struct lk_cli_verified v = {.has_signer = false};
    struct lk_import_result result = {.import_id = 0};
    int code = lk_cli_manifest_verify(s, im->signature, &im->in, im->name, &v);
    enum lk_err err;

    if (code != 0) {
        return code;
    }
    if ((err = update_judge(s, im, scope, &v, &result)) != LK_OK ||
        (err = import_pass(s, im, scope, &v, im->dry_run, &result)) != LK_OK) {
        return import_failed(err, im, &result, &v);
    }
    return import_done(im, scope, &result, &v);
}

static int
elsewhere_check(const struct lk_cli_import *im)
{
    if (im->signature == NULL && im->resume_id == 0) {
        return 0;
    }
    lk_cli_note(im->signature != NULL
                    ? "a signature is verified where the trusted certificates are: run the import "
                      "on the service's machine"
                    : "an import into a service elsewhere goes on by itself: run the same command "
                      "without --resume");
    return lk_err_exit_code(LK_ERR_ARG);
}

int
lk_cli_enrollment_import(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    __attribute__((cleanup(import_fini))) struct lk_cli_import im = {.in = LK_CLI_INPUT_INIT};
    struct lk_cli_common common = {.json = false};
    char scope[LK_ID_SCOPE_MAX + 1];
    int code;
    enum lk_err err;

    if (!lk_cli_options(&import_form, argc, argv, &common, &im, &code)) {
        return code;
    }
    if (im.resume_id != 0 && im.dry_run) {
        return lk_cli_usage(import_form.usage, "--resume and --dry-run exclude each other");
    }
    im.path = argv[optind];
    im.json = common.json;
    im.bar = isatty(STDERR_FILENO) == 1;
    (void)lk_cli_shown(strcmp(im.path, "-") == 0 ? "standard input" : im.path, im.name);
    errno = 0;
    if ((err = lk_cli_input_open(im.path, &im.in)) != LK_OK) {
        return err == LK_ERR_CANCELLED ? lk_cli_interrupted()
                                       : lk_cli_fail(err, "cannot read %s", im.name);
    }
    if ((code = lk_cli_target_open(&common, LK_CLI_WRITE, &s)) != 0 ||
        (code = lk_cli_scope(&s, common.scope, scope)) != 0) {
        return code;
    }
    if (s.remote != NULL) {
        return (code = elsewhere_check(&im)) != 0 ? code : lk_cli_import_elsewhere(s.remote, &im);
    }
    return import_here(&s, scope, &im);
}
