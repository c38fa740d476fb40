/* latchkey scope: the ID scopes that the service answers to. */
#include <string.h>

#include "base/codec.h"
#include "cli/options.h"
#include "cli/service.h"

#define FRESH_PREFIX "0ne"
#define FRESH_BYTES 4u

bool
lk_cli_scope_ok(const char *text)
{
    static const char *const taken[] = {
        "enrollments", "enrollmentGroups", "registrations", "devices",
        "twins",       "statistics",       "latchkey"};
    size_t len = strlen(text);

    for (size_t i = 0; i < LK_ARRAY_LEN(taken); i++) {
        if (lk_ascii_caseeq(text, len, taken[i], strlen(taken[i]))) {
            return false;
        }
    }
    return lk_id_scope_ok(text, len);
}

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

/* ---- add and set ----------------------------------------------------------------------------- */

enum { OPT_HOST = LK_CLI_OPT_COMMAND, OPT_NO_HOST, OPT_ALLOCATION };

struct change {
    const char *actor;
    struct lk_scope scope;
    const char *host; /* NULL: as it is */
    enum lk_allocation allocation;
    bool has_allocation; /* otherwise it stays too */
    bool add;
};

static const struct {
    const char *word;
    enum lk_allocation allocation;
} allocations[] = {
    {"hashed", LK_ALLOC_HASHED}, {"geoLatency", LK_ALLOC_GEO}, {"static", LK_ALLOC_STATIC}};

static enum lk_err
allocation_take(struct change *c, const char *value)
{
    for (size_t i = 0; i < LK_ARRAY_LEN(allocations); i++) {
        if (strcmp(value, allocations[i].word) == 0) {
            c->allocation = allocations[i].allocation;
            c->has_allocation = true;
            return LK_OK;
        }
    }
    return LK_ERR_ARG;
}

static const char *
allocation_word(enum lk_allocation allocation)
{
    for (size_t i = 0; i < LK_ARRAY_LEN(allocations); i++) {
        if (allocations[i].allocation == allocation) {
            return allocations[i].word;
        }
    }
    return "hashed"; /* the default */
}

static enum lk_err
host_take(void *ctx, int option, const char *value)
{
    struct change *c = (struct change *)ctx;

    if (option == OPT_ALLOCATION) {
        return allocation_take(c, value);
    }
    c->host = option == OPT_NO_HOST ? "" : value;
    return option == OPT_NO_HOST || lk_host_name_ok(value, strlen(value)) ? LK_OK : LK_ERR_ARG;
}

#define HOST_OPTION                                                                                \
    {                                                                                              \
        "host", required_argument, NULL, OPT_HOST                                                  \
    }
#define ALLOCATION_OPTION                                                                          \
    {                                                                                              \
        "allocation", required_argument, NULL, OPT_ALLOCATION                                      \
    }
#define ALLOCATION_HELP                                                                            \
    "  --allocation POLICY      of enrollments that name none: hashed (default), geoLatency or\n"  \
    "                           static\n"
#define HOST_HELP                                                                                  \
    "  --host NAME              host name under which operators' tools reach the scope: with\n"    \
    "                           more than one scope, each needs its own\n"

static const struct lk_cli_form add_form = {
    .usage = "latchkey scope add [ID] [--host NAME] [--allocation POLICY] [--json]\n"
             "         [--config FILE]",
    .help = "Add an ID scope: a name space of registration IDs, and what devices are configured\n"
            "with. Without ID a fresh one is made.\n\n" HOST_HELP ALLOCATION_HELP LK_CLI_JSON_HELP
                LK_CLI_CONFIG_HELP,
    .options = (const struct option[]){HOST_OPTION, ALLOCATION_OPTION, LK_CLI_JSON_OPTION,
                                       LK_CLI_CONFIG_OPTION, LK_CLI_END_OPTIONS},
    .words_max = 1,
    .take = host_take,
};

static const struct lk_cli_form set_form = {
    .usage = "latchkey scope set ID [--host NAME|--no-host] [--allocation POLICY] [--config FILE]",
    .help =
        "Change an ID scope.\n\n" HOST_HELP
        "  --no-host                no host name of its own\n" ALLOCATION_HELP LK_CLI_CONFIG_HELP,
    .options = (const struct option[]){HOST_OPTION,
                                       ALLOCATION_OPTION,
                                       {"no-host", no_argument, NULL, OPT_NO_HOST},
                                       LK_CLI_CONFIG_OPTION,
                                       LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
    .take = host_take,
};

/* For the audit record: what was asked for, as JSON. Neither needs an escape. */
static void
change_detail(const struct change *c, char *detail, size_t cap)
{
    const char *policy = allocation_word(c->allocation);

    if (c->host == NULL) {
        (void)snprintf(detail, cap, "{\"allocationPolicy\":\"%s\"}", policy);
    } else if (!c->has_allocation) {
        (void)snprintf(detail, cap, "{\"host\":\"%s\"}", c->host);
    } else {
        (void)snprintf(detail, cap, "{\"host\":\"%s\",\"allocationPolicy\":\"%s\"}", c->host,
                       policy);
    }
}

static enum lk_err
change_run(struct lk_txn *tx, void *arg)
{
    struct change *c = (struct change *)arg;
    char detail[LK_HOST_NAME_MAX + 64] = "";
    enum lk_err err;

    if ((c->add && (err = lk_txn_scope_add(tx, c->scope.id)) != LK_OK) ||
        (err = lk_txn_scope_get(tx, c->scope.id, &c->scope)) != LK_OK) {
        return err;
    }
    if (c->host != NULL &&
        (err = lk_strcpy(c->scope.service_host, sizeof(c->scope.service_host), c->host)) != LK_OK) {
        return err;
    }
    if (c->has_allocation) {
        c->scope.allocation = c->allocation;
    }
    if (c->host != NULL || c->has_allocation) {
        change_detail(c, detail, sizeof(detail));
        if ((err = lk_txn_scope_set(tx, &c->scope)) != LK_OK) {
            return err;
        }
    }
    return lk_txn_audit_append(tx, c->actor, c->add ? "scope.add" : "scope.set", c->scope.id,
                               c->scope.id, detail);
}

static int
change_write(struct lk_cli_service *s, struct change *c)
{
    enum lk_err err = lk_store_write_wait(s->session, change_run, c);

    if (err == LK_ERR_EXISTS && c->host != NULL) {
        return lk_cli_store_fail(err, "cannot keep this: the scope, or one with the host name");
    }
    return err == LK_OK ? 0 : lk_cli_store_fail(err, "cannot write the ID scope");
}

/* The ID that was typed, into c->scope. */
static int
id_word(const struct lk_cli_form *form, const char *text, struct change *c)
{
    char shown[LK_CLI_SHOWN_CAP];

    if (lk_cli_scope_ok(text) && lk_strcpy(c->scope.id, sizeof(c->scope.id), text) == LK_OK) {
        return 0;
    }
    return lk_cli_usage(form->usage,
                        "\"%s\" is no ID scope: 1 to %u letters, digits and dashes are, but for "
                        "the first words of the APIs' paths, as enrollments or latchkey",
                        lk_cli_shown(text, shown), LK_ID_SCOPE_MAX);
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
    struct change c = {.actor = s.actor, .add = true};
    int code;
    enum lk_err err;

    if (!lk_cli_options(&add_form, argc, argv, &common, &c, &code) ||
        (argv[optind] != NULL && (code = id_word(&add_form, argv[optind], &c)) != 0) ||
        (code = lk_cli_service_open(common.config, LK_CLI_WRITE, &s)) != 0) {
        return code;
    }
    if (c.scope.id[0] == '\0' && (err = lk_cli_scope_make(c.scope.id)) != LK_OK) {
        return lk_cli_fail(err, "cannot make an ID scope");
    }
    code = change_write(&s, &c);
    return code != 0 ? code : added_print(&common, c.scope.id);
}

static int
scope_set(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    struct lk_cli_common common = {.json = false};
    struct change c = {.actor = s.actor};
    int code;

    if (!lk_cli_options(&set_form, argc, argv, &common, &c, &code) ||
        (code = id_word(&set_form, argv[optind], &c)) != 0) {
        return code;
    }
    if (c.host == NULL && !c.has_allocation) {
        return lk_cli_usage(set_form.usage, "--host, --no-host or --allocation is needed");
    }
    code = lk_cli_service_open(common.config, LK_CLI_WRITE, &s);
    return code != 0 ? code : change_write(&s, &c);
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
    return l->json ? lk_cli_put_json(&l->text, json_pack("{s:s, s:s, s:s, s:s}", "scope", scope->id,
                                                         "created", time, "host",
                                                         scope->service_host, "allocationPolicy",
                                                         allocation_word(scope->allocation)))
                   : lk_buf_printf(&l->text, "%-24s %-25s %-11s %s\n", scope->id, time,
                                   allocation_word(scope->allocation),
                                   scope->service_host[0] != '\0' ? scope->service_host : "-");
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
    struct lk_cli_listing list = {
        .page = scopes_page,
        .what = "cannot list the ID scopes",
        .head = "SCOPE                    CREATED                   ALLOCATION  HOST"};
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
        {"set", scope_set, "change an ID scope"},
        {NULL, NULL, NULL},
    };

    return lk_cli_dispatch(commands, "latchkey scope", argc, argv);
}
