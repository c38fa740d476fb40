/* latchkey enrollment imports, undo. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/codec.h"
#include "cli/cmd_enrollment.h"
#include "cli/remote_import.h"

/* ---- imports --------------------------------------------------------------------------------- */

static const struct lk_cli_form imports_form = {
    .usage = "latchkey enrollment imports [--scope ID] [--json] [SERVICE]",
    .help = "List the imports of an ID scope, the latest first. One that is unfinished can be\n"
            "resumed, one that is finished undone.\n\n" LK_CLI_SCOPE_HELP LK_CLI_JSON_HELP
                LK_CLI_SERVICE_HELP,
    .options = (const struct option[]){LK_CLI_SCOPE_OPTION, LK_CLI_JSON_OPTION,
                                       LK_CLI_SERVICE_OPTIONS, LK_CLI_END_OPTIONS},
};

static const char *
state_name(enum lk_import_state state)
{
    switch (state) {
    case LK_IMPORT_STAGING:
        return "unfinished";
    case LK_IMPORT_FINISHED:
        return "finished";
    case LK_IMPORT_DROPPING:
        break;
    }
    return "being removed";
}

static enum lk_err
import_put_json(struct lk_cli_listing *l, const struct lk_import *i, const char *name,
                const char *sha256)
{
    char begun[LK_CLI_TIME_CAP], touched[LK_CLI_TIME_CAP];
    json_t *o = json_pack("{s:I, s:s, s:I, s:s, s:s, s:o}", "id", (json_int_t)i->id, "state",
                          state_name(i->state), "rows", (json_int_t)i->rows_count, "begun",
                          lk_cli_time(i->begun_ms, begun), "touched",
                          lk_cli_time(i->touched_ms, touched), "source", lk_cli_json_text(name));

    if (o != NULL && sha256[0] != '\0' &&
        json_object_set_new(o, "sha256", json_string(sha256)) != 0) {
        json_decref(o);
        return LK_ERR_NOMEM;
    }
    return lk_cli_put_json(&l->text, o);
}

static enum lk_err
import_put(void *ctx, const struct lk_import *i)
{
    struct lk_cli_listing *l = (struct lk_cli_listing *)ctx;
    char sha256[LK_IMPORT_SHA256_CAP], begun[LK_CLI_TIME_CAP], shown[LK_CLI_SHOWN_CAP];
    const char *name = lk_import_source_split(i->source, sha256);

    l->rows_count++;
    (void)snprintf(l->last, sizeof(l->last), "%" PRId64, i->id);
    if (l->json) {
        return import_put_json(l, i, name, sha256);
    }
    return lk_buf_printf(&l->text, "%8" PRId64 "  %-13s %10" PRId64 "  %-24s  %.12s%s%s\n", i->id,
                         state_name(i->state), i->rows_count, lk_cli_time(i->begun_ms, begun),
                         sha256, sha256[0] != '\0' ? "  " : "", lk_cli_shown(name, shown));
}

static enum lk_err
imports_page(struct lk_txn *tx, struct lk_cli_listing *l, size_t limit)
{
    uint64_t before = 0;

    if (l->after[0] != '\0' && lk_decimal_parse(l->after, strlen(l->after), &before) != LK_OK) {
        return LK_ERR_ARG;
    }
    return lk_txn_import_page(tx, (const char *)l->ctx, (int64_t)before, limit, import_put, l);
}

static enum lk_err
imports_fetch(struct lk_remote *r, struct lk_cli_listing *l)
{
    uint64_t before = 0;
    enum lk_err err = LK_OK;

    if (l->continuation[0] != '\0') {
        err = lk_decimal_parse(l->continuation, strlen(l->continuation), &before);
    }
    if (err != LK_OK ||
        (err = lk_remote_imports(r, (int64_t)before, LK_CLI_PAGE_ROWS, import_put, l)) != LK_OK) {
        return err;
    }
    (void)snprintf(l->continuation, sizeof(l->continuation), "%s",
                   l->rows_count == LK_CLI_PAGE_ROWS ? l->last : "");
    return LK_OK;
}

int
lk_cli_enrollment_imports(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    char scope[LK_ID_SCOPE_MAX + 1];
    struct lk_cli_listing list = {
        .page = imports_page,
        .remote_page = imports_fetch,
        .what = "cannot list the imports",
        .head = "  IMPORT  STATE               ROWS  BEGUN                     SHA-256, FILE",
        .ctx = scope};
    struct lk_cli_common common = {.json = false};
    int code;

    if (!lk_cli_options(&imports_form, argc, argv, &common, NULL, &code) ||
        (code = lk_cli_target_open(&common, LK_CLI_READ, &s)) != 0 ||
        (code = lk_cli_scope(&s, common.scope, scope)) != 0) {
        return code;
    }
    list.json = common.json;
    return lk_cli_list(&s, &list);
}

/* ---- undo ------------------------------------------------------------------------------------ */

enum { OPT_FORCE = LK_CLI_OPT_COMMAND };

static enum lk_err
undo_take(void *ctx, int option, const char *value)
{
    *(bool *)ctx = true;
    return LK_OK;
}

static const struct lk_cli_form undo_form = {
    .usage = "latchkey enrollment undo IMPORT [--force] [--scope ID] [SERVICE]",
    .help = "Take a whole import back: its enrollments are gone from one moment on. Those that\n"
            "were changed since they came are kept. Registrations, and identities at hubs, stay.\n"
            "An import that is unfinished is given up. IMPORT is the number that `latchkey\n"
            "enrollment imports` shows.\n\n"
            "  --force                  remove those that were changed too\n" LK_CLI_SCOPE_HELP
                LK_CLI_SERVICE_HELP,
    .options = (const struct option[]){{"force", no_argument, NULL, OPT_FORCE},
                                       LK_CLI_SCOPE_OPTION,
                                       LK_CLI_SERVICE_OPTIONS,
                                       LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
    .take = undo_take,
};

static void
undo_progress(void *ctx, int64_t rows_removed)
{
    if (*(bool *)ctx) {
        (void)fprintf(stderr, "\r\x1b[K%lld rows removed", (long long)rows_removed);
    }
}

static int
undone_tell(const struct lk_import_undone *u, uint64_t id)
{
    if (u->unfinished) {
        (void)printf("import %" PRIu64 " is given up; it had not taken effect\n", id);
        return 0;
    }
    if (u->rows_kept > 0) {
        lk_cli_note("%lld enrollments were changed since and are kept", (long long)u->rows_kept);
    }
    (void)printf("import %" PRIu64 " is undone: %lld enrollments removed\n", id,
                 (long long)u->rows_gone);
    return 0;
}

/* Undo import id of this machine's scope, or of the service elsewhere. */
static int
undo_do(struct lk_cli_service *s, const char *scope, uint64_t id, bool force)
{
    bool bar = isatty(STDERR_FILENO) == 1;
    struct lk_import_undone undone;
    enum lk_err err = s->remote != NULL ? lk_remote_import_undo(s->remote, (int64_t)id, force,
                                                                undo_progress, &bar, &undone)
                                        : lk_import_undo(s->session, scope, (int64_t)id, force,
                                                         s->actor, undo_progress, &bar, &undone);

    if (bar) {
        (void)fputs("\r\x1b[K", stderr);
    }
    if (err == LK_ERR_NOT_FOUND) {
        lk_cli_note("there is no import %" PRIu64 " in %s", id,
                    s->remote != NULL ? lk_remote_name(s->remote) : scope);
        return lk_err_exit_code(err);
    }
    if (err != LK_OK) {
        return s->remote != NULL ? lk_remote_fail(s->remote, err, "cannot undo the import")
                                 : lk_cli_store_fail(err, "cannot undo the import");
    }
    return undone_tell(&undone, id);
}

int
lk_cli_enrollment_undo(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    struct lk_cli_common common = {.json = false};
    char scope[LK_ID_SCOPE_MAX + 1];
    bool force = false;
    uint64_t id;
    int code;

    if (!lk_cli_options(&undo_form, argc, argv, &common, &force, &code)) {
        return code;
    }
    if (lk_cli_number(argv[optind], 1, INT64_MAX / 2, &id) != LK_OK) {
        return lk_cli_usage(undo_form.usage, "the number of an import is needed");
    }
    if ((code = lk_cli_target_open(&common, LK_CLI_WRITE, &s)) != 0 ||
        (code = lk_cli_scope(&s, common.scope, scope)) != 0) {
        return code;
    }
    return undo_do(&s, scope, id, force);
}
