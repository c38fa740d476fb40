/* latchkey store status and verify: the numbers that the database keeps, and whether they are
 * right. */
#include <inttypes.h>
#include <sysexits.h>

#include "cli/cmd_store.h"

/* ---- status ---------------------------------------------------------------------------------- */

static const struct lk_cli_form status_form = {
    .usage = "latchkey store status [--json] [--config FILE]",
    .help =
        "Print how many enrollments and registrations each ID scope has. The numbers are kept as\n"
        "they change: this costs the same in a store of any size.\n\n" LK_CLI_JSON_HELP
            LK_CLI_CONFIG_HELP,
    .options =
        (const struct option[]){LK_CLI_JSON_OPTION, LK_CLI_CONFIG_OPTION, LK_CLI_END_OPTIONS},
};

struct scope_numbers {
    int64_t enrollments, of[LK_REG_FAILED + 1]; /* of: by enum lk_reg_status */
};

static enum lk_err
numbers_read(struct lk_txn *tx, const char *scope, struct scope_numbers *ret)
{
    enum lk_err err = lk_txn_enrollment_count(tx, scope, &ret->enrollments);

    for (int i = LK_REG_NONE; i <= LK_REG_FAILED && err == LK_OK; i++) {
        err = lk_txn_registration_count(tx, scope, (enum lk_reg_status)i, &ret->of[i]);
    }
    return err;
}

struct status {
    struct lk_cli_listing *listing;
    struct lk_txn *tx;
};

static enum lk_err
scope_put(void *ctx, const struct lk_scope *scope)
{
    const struct status *s = (const struct status *)ctx;
    struct lk_buf *out = &s->listing->text;
    struct scope_numbers n;
    enum lk_err err = numbers_read(s->tx, scope->id, &n);

    if (err != LK_OK) {
        return err;
    }
    if (s->listing->json) {
        return lk_cli_put_json(out,
                               json_pack("{s:s, s:I, s:{s:I, s:I, s:I, s:I}}", "idScope", scope->id,
                                         "enrollments", (json_int_t)n.enrollments, "registrations",
                                         "assigned", (json_int_t)n.of[LK_REG_ASSIGNED], "assigning",
                                         (json_int_t)n.of[LK_REG_ASSIGNING], "failed",
                                         (json_int_t)n.of[LK_REG_FAILED], "deleted",
                                         (json_int_t)n.of[LK_REG_NONE]));
    }
    return lk_buf_printf(
        out, "%-16s %11" PRId64 " %11" PRId64 " %11" PRId64 " %11" PRId64 " %11" PRId64 "\n",
        scope->id, n.enrollments, n.of[LK_REG_ASSIGNED], n.of[LK_REG_ASSIGNING],
        n.of[LK_REG_FAILED], n.of[LK_REG_NONE]);
}

/* All scopes are one page: there are few. */
static enum lk_err
scopes_page(struct lk_txn *tx, struct lk_cli_listing *l, size_t limit)
{
    struct status s = {l, tx};

    (void)limit;
    return lk_txn_scope_each(tx, scope_put, &s);
}

int
lk_cmd_store_status(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    struct lk_cli_listing list = {
        .page = scopes_page,
        .what = "cannot read the numbers",
        .head = "SCOPE            ENROLLMENTS    ASSIGNED   ASSIGNING      FAILED     DELETED"};
    struct lk_cli_common common = {.json = false};
    int code;

    if (!lk_cli_options(&status_form, argc, argv, &common, NULL, &code) ||
        (code = lk_cli_service_open(common.config, LK_CLI_READ, &s)) != 0) {
        return code;
    }
    list.json = common.json;
    return lk_cli_list(&s, &list);
}

/* ---- verify ---------------------------------------------------------------------------------- */

enum { OPT_REPAIR = LK_CLI_OPT_COMMAND };

struct checking {
    bool repair, json;
    unsigned wrong;
    enum lk_err err; /* of telling it */
    const char *actor;
};

static enum lk_err
repair_take(void *ctx, int option, const char *value)
{
    (void)option;
    (void)value;
    ((struct checking *)ctx)->repair = true;
    return LK_OK;
}

static const struct lk_cli_form verify_form = {
    .usage = "latchkey store verify [--repair] [--json] [--config FILE]",
    .help =
        "Compare the numbers that the database keeps (of enrollments, registrations, members of\n"
        "groups and identities of hubs) with the rows, all of one moment, and print those that "
        "are\n"
        "wrong. Reads every row; the service may go on meanwhile. Exit code 65 when a number is\n"
        "wrong and was not repaired.\n\n"
        "  --repair                 count anew; who wants to write waits until that is "
        "done\n" LK_CLI_JSON_HELP LK_CLI_CONFIG_HELP,
    .options = (const struct option[]){{"repair", no_argument, NULL, OPT_REPAIR},
                                       LK_CLI_JSON_OPTION,
                                       LK_CLI_CONFIG_OPTION,
                                       LK_CLI_END_OPTIONS},
    .take = repair_take,
};

static void
miscounted(void *ctx, const char *what, const char *name, int64_t kept, int64_t found)
{
    struct checking *c = (struct checking *)ctx;
    char shown[LK_CLI_SHOWN_CAP];
    LK_AUTO(json) json_t *o = NULL;

    c->wrong++;
    if (!c->json) {
        (void)printf("%s %s: kept %" PRId64 ", found %" PRId64 "\n", what,
                     lk_cli_shown(name, shown), kept, found);
        return;
    }
    o = json_pack("{s:s, s:o, s:I, s:I}", "counter", what, "of", lk_cli_json_text(name), "kept",
                  (json_int_t)kept, "found", (json_int_t)found);
    if (o == NULL || lk_cli_print_json(o) != 0) {
        c->err = LK_ERR_IO;
    }
}

static enum lk_err
repaired_run(struct lk_txn *tx, void *arg)
{
    const struct checking *c = (const struct checking *)arg;
    char detail[64];

    (void)snprintf(detail, sizeof(detail), "{\"wrong\":%u}", c->wrong);
    return lk_txn_audit_append(tx, c->actor, "store.recount", "", "", detail);
}

static int
result(struct lk_cli_service *s, struct checking *c)
{
    enum lk_err err;

    if (c->err != LK_OK) {
        return lk_cli_fail(c->err, "cannot tell the result");
    }
    if (c->wrong == 0) {
        if (!c->json) {
            (void)printf("every number agrees with the rows\n");
        }
        return 0;
    }
    if (!c->repair) {
        lk_cli_note("some numbers are wrong: `latchkey store verify --repair` counts anew");
        return EX_DATAERR;
    }
    if ((err = lk_store_write_wait(s->session, repaired_run, c)) != LK_OK) {
        return lk_cli_store_fail(err, "the numbers were repaired, but there is no audit record");
    }
    lk_cli_note("counted anew");
    return 0;
}

int
lk_cmd_store_verify(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    char error[LK_STORE_ERROR_CAP] = "", shown[LK_CLI_SHOWN_CAP];
    struct lk_cli_common common = {.json = false};
    struct checking c = {.repair = false};
    enum lk_err err;
    int code;

    if (!lk_cli_options(&verify_form, argc, argv, &common, &c, &code) ||
        (code = lk_cli_service_open(common.config, c.repair ? LK_CLI_WRITE : LK_CLI_READ, &s)) !=
            0) {
        return code;
    }
    c.json = common.json;
    c.actor = s.actor;
    err = lk_store_count_check(s.store, c.repair, miscounted, &c, error);
    if (err != LK_OK) {
        lk_cli_note("cannot compare the numbers: %s",
                    lk_cli_shown(error[0] != '\0' ? error : lk_err_text(err), shown));
        return lk_err_exit_code(err);
    }
    return result(&s, &c);
}
