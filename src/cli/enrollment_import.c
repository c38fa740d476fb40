/* latchkey enrollment import. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cli/cmd_enrollment.h"
#include "cli/manifest_verify.h"

enum {
    OPT_FORMAT = LK_CLI_OPT_COMMAND,
    OPT_DRY_RUN,
    OPT_SKIP_BAD,
    OPT_SIGNATURE,
    OPT_RESUME,
    OPT_VERBOSE
};

struct import_args {
    bool has_format, dry_run, skip_bad, verbose;
    const char *signature; /* NULL: none */
    uint64_t resume_id;    /* 0: a new import */
    enum lk_manifest_format format;
};

static enum lk_err
import_take(void *ctx, int option, const char *value)
{
    struct import_args *a = (struct import_args *)ctx;

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

struct telling {
    struct lk_cli_input in;
    char name[LK_CLI_SHOWN_CAP];
    bool bar;       /* stderr is a terminal */
    bool json;      /* rows and counts to stdout as JSON */
    bool verbose;   /* rows to stdout as text */
    bool failed;    /* stdout takes nothing more */
    bool bar_drawn; /* the cursor is behind a bar */
};

static void
telling_fini(struct telling *t)
{
    lk_cli_input_close(&t->in);
}

static void
bar_erase(struct telling *t)
{
    if (t->bar_drawn) {
        (void)fputs("\r\x1b[K", stderr);
        t->bar_drawn = false;
    }
}

static void
on_problem(void *ctx, const struct lk_manifest_problem *p)
{
    struct telling *t = (struct telling *)ctx;

    bar_erase(t);
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
row_print_json(struct telling *t, const struct lk_import_row *row)
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
static void
on_row(void *ctx, const struct lk_import_row *row)
{
    struct telling *t = (struct telling *)ctx;

    if (t->failed) {
        return;
    }
    if (t->json) {
        row_print_json(t, row);
    } else if (t->verbose) {
        t->failed = printf("%-12s line %-9lld %s\n", verdict_name(row->verdict),
                           (long long)row->line, row->registration_id) < 0;
    }
}

static void
on_progress(void *ctx, const struct lk_import_result *so_far)
{
    struct telling *t = (struct telling *)ctx;
    char bar[BAR_WIDTH + 1];
    int64_t done = t->in.size > 0 ? t->in.read_len * BAR_WIDTH / t->in.size : 0;

    if (!t->bar) {
        return;
    }
    done = done < BAR_WIDTH ? done : BAR_WIDTH;
    memset(bar, ' ', BAR_WIDTH);
    memset(bar, '#', (size_t)done);
    bar[BAR_WIDTH] = '\0';
    bar_erase(t);
    if (t->in.size > 0) {
        (void)fprintf(stderr, "[%s] ", bar);
    }
    (void)fprintf(stderr, "%lld rows, %lld bad", (long long)so_far->rows_read,
                  (long long)so_far->rows_bad);
    t->bar_drawn = true;
}

static void
software_warn(const struct lk_import_result *r)
{
    if (r->rows_software > 0) {
        lk_cli_note("warning: %lld of the rows are of a software TPM, which proves nothing about "
                    "hardware",
                    (long long)r->rows_software);
    }
}

static int
resume_hint(enum lk_err err, const struct telling *t, const struct lk_import_result *r)
{
    lk_cli_note("interrupted after %lld rows: nothing was imported yet. Go on with\n"
                "    latchkey enrollment import --resume %lld %s\n"
                "or give it up with\n"
                "    latchkey enrollment undo %lld",
                (long long)r->rows_read, (long long)r->import_id, t->name, (long long)r->import_id);
    return err == LK_ERR_CANCELLED ? lk_err_exit_code(err)
                                   : lk_cli_store_fail(err, "what interrupted it");
}

static int
counts_json(const struct import_args *a, const struct lk_import_result *r,
            const struct lk_cli_verified *v)
{
    LK_AUTO(json)
    json_t *o = json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:s?}", "dryRun", a->dry_run, "new",
                          (json_int_t)r->rows_new, "changed", (json_int_t)r->rows_changed, "same",
                          (json_int_t)r->rows_same, "conflicting", (json_int_t)r->rows_conflicting,
                          "bad", (json_int_t)(r->rows_bad - r->rows_changed - r->rows_conflicting),
                          "signer", v->has_signer ? v->signer.subject : NULL);

    if (o == NULL ||
        (!a->dry_run && json_object_set_new(o, "import", json_integer(r->import_id)) != 0)) {
        return lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer");
    }
    return lk_cli_print_json(o);
}

/* The diff of a dry run, whether the import would go through or not. */
static void
counts_print(const struct lk_import_result *r)
{
    (void)printf("new %lld, changed %lld, same %lld, conflicting %lld, otherwise bad %lld\n",
                 (long long)r->rows_new, (long long)r->rows_changed, (long long)r->rows_same,
                 (long long)r->rows_conflicting,
                 (long long)(r->rows_bad - r->rows_changed - r->rows_conflicting));
}

static int
rows_failed(const struct import_args *a, const struct telling *t, const struct lk_import_result *r,
            const struct lk_cli_verified *v)
{
    if (r->rows_read == 0) { /* the header, which has been told */
        lk_cli_note("nothing was imported");
        return lk_err_exit_code(LK_ERR_FORMAT);
    }
    lk_cli_note("nothing was imported: %lld of %lld rows are bad%s", (long long)r->rows_bad,
                (long long)r->rows_read, r->stopped ? "; reading stopped there" : "");
    if (r->rows_changed > 0) {
        lk_cli_note("%lld of them are of enrollments that say something else: an import never "
                    "changes an enrollment",
                    (long long)r->rows_changed);
    }
    if (t->json && counts_json(a, r, v) != 0) {
        return lk_err_exit_code(LK_ERR_IO);
    }
    if (a->dry_run && !t->json) {
        counts_print(r);
    }
    return lk_err_exit_code(LK_ERR_FORMAT);
}

static int
import_failed(enum lk_err err, const struct import_args *a, const struct telling *t,
              const struct lk_import_result *r, const struct lk_cli_verified *v)
{
    if (r->resumable) {
        return resume_hint(err, t, r);
    }
    switch (err) {
    case LK_ERR_FORMAT:
        return rows_failed(a, t, r, v);
    case LK_ERR_CANCELLED:
        return lk_cli_interrupted();
    case LK_ERR_NOT_FOUND:
        lk_cli_note(r->import_id == 0 && a->resume_id != 0
                        ? "nothing was imported: there is no such unfinished import"
                        : "nothing was imported: this import was given up meanwhile");
        return lk_err_exit_code(err);
    case LK_ERR_PRECONDITION:
        lk_cli_note("nothing was imported: import %llu is of another file",
                    (unsigned long long)a->resume_id);
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
import_done(const struct import_args *a, const struct telling *t, const char *scope,
            const struct lk_import_result *r, const struct lk_cli_verified *v)
{
    software_warn(r);
    if (r->rows_bad > 0) {
        lk_cli_note("%lld bad rows were skipped", (long long)r->rows_bad);
    }
    if (t->json) {
        return counts_json(a, r, v);
    }
    if (v->has_signer) {
        lk_cli_note("signed by %s", v->signer.subject);
    }
    if (a->dry_run) {
        counts_print(r);
        (void)printf("%lld rows could be imported into %s; dry run, nothing was\n",
                     (long long)r->rows_imported, scope);
        return 0;
    }
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
             "         [--format csv|jsonl] [--dry-run] [--skip-bad] [--verbose] [--json]\n"
             "         [--scope ID] [--config FILE]",
    .help =
        "Enroll every device of a manifest, as `latchkey device show --manifest` and `latchkey\n"
        "enrollment export` write it. All rows take effect at the same moment, or none does.\n"
        "An enrollment that is there is never changed.\n\n"
        "  --signature FILE         detached CMS signature, DER or PEM, by a certificate that\n"
        "                           `latchkey trust add` has imported\n"
        "  --resume ID              go on with an import of this file that was interrupted\n"
        "  --format csv|jsonl       default: by the file's name or its first character\n"
        "  --dry-run                compare every row with the store; change nothing\n"
        "  --skip-bad               import the good rows although others are bad\n"
        "  --verbose                name every row, and whether it is new\n" LK_CLI_JSON_HELP
            LK_CLI_SCOPE_HELP LK_CLI_CONFIG_HELP,
    .options = (const struct option[]){{"signature", required_argument, NULL, OPT_SIGNATURE},
                                       {"resume", required_argument, NULL, OPT_RESUME},
                                       {"format", required_argument, NULL, OPT_FORMAT},
                                       {"dry-run", no_argument, NULL, OPT_DRY_RUN},
                                       {"skip-bad", no_argument, NULL, OPT_SKIP_BAD},
                                       {"verbose", no_argument, NULL, OPT_VERBOSE},
                                       LK_CLI_JSON_OPTION,
                                       LK_CLI_SCOPE_OPTION,
                                       LK_CLI_CONFIG_OPTION,
                                       LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
    .take = import_take,
};

static int
import_from(struct lk_cli_service *s, const char *path, const char *scope,
            const struct import_args *a, const struct lk_cli_verified *v, struct telling *t)
{
    const struct lk_manifest_source source = {lk_cli_input_read, &t->in};
    const struct lk_import_options options = {
        .scope = scope,
        .source = path,
        .actor = s->actor,
        .format = a->has_format ? a->format : lk_cli_input_format(path, &t->in),
        .sha256 = v->sha256,
        .signer = v->has_signer ? &v->signer : NULL,
        .resume_id = (int64_t)a->resume_id,
        .skip_bad = a->skip_bad,
        .dry_run = a->dry_run,
        .row = t->json || t->verbose ? on_row : NULL,
        .problem = on_problem,
        .progress = on_progress,
        .ctx = t,
    };
    struct lk_import_result result;
    enum lk_err err;

    t->bar = isatty(STDERR_FILENO) == 1;
    errno = 0;
    err = lk_import_run(s->session, &source, &options, &result);
    bar_erase(t);
    return err != LK_OK ? import_failed(err, a, t, &result, v)
                        : import_done(a, t, scope, &result, v);
}

int
lk_cli_enrollment_import(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    __attribute__((cleanup(telling_fini))) struct telling t = {.in = LK_CLI_INPUT_INIT};
    struct lk_cli_common common = {.json = false};
    struct import_args a = {.has_format = false};
    struct lk_cli_verified v = {.has_signer = false};
    char scope[LK_ID_SCOPE_MAX + 1];
    const char *path;
    int code;
    enum lk_err err;

    if (!lk_cli_options(&import_form, argc, argv, &common, &a, &code)) {
        return code;
    }
    if (a.resume_id != 0 && a.dry_run) {
        return lk_cli_usage(import_form.usage, "--resume and --dry-run exclude each other");
    }
    path = argv[optind];
    t.json = common.json;
    t.verbose = a.verbose;
    (void)lk_cli_shown(strcmp(path, "-") == 0 ? "standard input" : path, t.name);
    errno = 0;
    if ((err = lk_cli_input_open(path, &t.in)) != LK_OK) {
        return err == LK_ERR_CANCELLED ? lk_cli_interrupted()
                                       : lk_cli_fail(err, "cannot read %s", t.name);
    }
    if ((code = lk_cli_service_open(common.config, LK_CLI_WRITE, &s)) != 0 ||
        (code = lk_cli_scope(&s, common.scope, scope)) != 0 ||
        (code = lk_cli_manifest_verify(&s, a.signature, &t.in, t.name, &v)) != 0) {
        return code;
    }
    return import_from(&s, path, scope, &a, &v, &t);
}
