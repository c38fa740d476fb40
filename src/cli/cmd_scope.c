/* latchkey scope: the ID scopes that the service answers to. */
#include <string.h>

#include "cli/options.h"
#include "cli/service.h"

#define FRESH_PREFIX "0ne"
#define FRESH_BYTES 4u

enum lk_err
lk_cli_scope_make(char ret[LK_ID_SCOPE_MAX + 1])
{
    uint8_t bytes[FRESH_BYTES];
    enum lk_err err;

    if ((err = lk_rand_fill(&lk_rand_system, bytes, sizeof(bytes))) != LK_OK) {
        return err;
    }
    (void)snprintf(ret, LK_ID_SCOPE_MAX + 1, FRESH_PREFIX "%02X%02X%02X%02X", bytes[0], bytes[1],
                   bytes[2], bytes[3]);
    return LK_OK;
}

/* ---- add ------------------------------------------------------------------------------------- */

static const struct lk_cli_form add_form = {
    .usage = "latchkey scope add [ID] [--json] [--config FILE]",
    .help = "Add an ID scope: a name space of registration IDs, and what devices are configured\n"
            "with. Without ID a fresh one is made.\n\n" LK_CLI_JSON_HELP LK_CLI_CONFIG_HELP,
    .options =
        (const struct option[]){LK_CLI_JSON_OPTION, LK_CLI_CONFIG_OPTION, LK_CLI_END_OPTIONS},
    .words_max = 1,
};

struct addition {
    const char *actor;
    char id[LK_ID_SCOPE_MAX + 1];
};

static enum lk_err
add_run(struct lk_txn *tx, void *arg)
{
    const struct addition *a = (const struct addition *)arg;
    enum lk_err err = lk_txn_scope_add(tx, a->id);

    return err != LK_OK ? err : lk_txn_audit_append(tx, a->actor, "scope.add", a->id, a->id, "");
}

static int
added_print(const struct lk_cli_common *common, const char *id)
{
    LK_AUTO(json) json_t *o = NULL;

    if (!common->json) {
        (void)puts(id);
        return 0;
    }
    o = json_pack("{s:s}", "scope", id);
    return o == NULL ? lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer") : lk_cli_print_json(o);
}

static int
scope_add(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    struct lk_cli_common common = {.json = false};
    struct addition a = {.actor = s.actor};
    char shown[LK_CLI_SHOWN_CAP];
    int code;
    enum lk_err err;

    if (!lk_cli_options(&add_form, argc, argv, &common, NULL, &code)) {
        return code;
    }
    if (argv[optind] != NULL && !lk_id_scope_ok(argv[optind], strlen(argv[optind]))) {
        return lk_cli_usage(add_form.usage,
                            "\"%s\" is no ID scope: 1 to %u letters, digits and dashes are",
                            lk_cli_shown(argv[optind], shown), LK_ID_SCOPE_MAX);
    }
    if ((code = lk_cli_service_open(common.config, LK_CLI_WRITE, &s)) != 0) {
        return code;
    }
    err = argv[optind] != NULL ? lk_strcpy(a.id, sizeof(a.id), argv[optind])
                               : lk_cli_scope_make(a.id);
    if (err != LK_OK) {
        return lk_cli_fail(err, "cannot make an ID scope");
    }
    if ((err = lk_store_write_wait(s.session, add_run, &a)) != LK_OK) {
        return lk_cli_store_fail(err, "cannot add the ID scope");
    }
    return added_print(&common, a.id);
}

/* ---- list ------------------------------------------------------------------------------------ */

static const struct lk_cli_form list_form = {
    .usage = "latchkey scope list [--json] [--config FILE]",
    .help = "List the ID scopes.\n\n" LK_CLI_JSON_HELP LK_CLI_CONFIG_HELP,
    .options =
        (const struct option[]){LK_CLI_JSON_OPTION, LK_CLI_CONFIG_OPTION, LK_CLI_END_OPTIONS},
};

static enum lk_err
scope_put(void *ctx, const struct lk_scope *scope)
{
    struct lk_cli_listing *l = (struct lk_cli_listing *)ctx;
    char time[LK_CLI_TIME_CAP];

    (void)lk_cli_time(scope->created_ms, time);
    return l->json ? lk_cli_put_json(&l->text,
                                     json_pack("{s:s, s:s}", "scope", scope->id, "created", time))
                   : lk_buf_printf(&l->text, "%-24s %s\n", scope->id, time);
}

/* There are few: one page. */
static enum lk_err
scopes_page(struct lk_txn *tx, struct lk_cli_listing *l, size_t limit)
{
    (void)limit;
    return lk_txn_scope_each(tx, scope_put, l);
}

static int
scope_list(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    struct lk_cli_listing list = {.page = scopes_page,
                                  .what = "cannot list the ID scopes",
                                  .head = "SCOPE                    CREATED"};
    struct lk_cli_common common = {.json = false};
    int code;

    if (!lk_cli_options(&list_form, argc, argv, &common, NULL, &code) ||
        (code = lk_cli_service_open(common.config, LK_CLI_READ, &s)) != 0) {
        return code;
    }
    list.json = common.json;
    return lk_cli_list(&s, &list);
}

int
lk_cmd_scope(int argc, char **argv)
{
    static const struct lk_command commands[] = {
        {"add", scope_add, "add an ID scope"},
        {"list", scope_list, "list the ID scopes"},
        {NULL, NULL, NULL},
    };

    return lk_cli_dispatch(commands, "latchkey scope", argc, argv);
}
