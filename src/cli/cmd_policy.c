/* latchkey policy: the shared access policies, by which the operators' API is opened. */
#include "cli/cmd_policy.h"

#include <string.h>

#include "api/manage_json.h"

void
lk_cli_policy_fini(struct lk_cli_policy *c)
{
    lk_policy_fini(&c->policy);
    lk_cli_service_close(&c->s);
}

static void
slot_take(struct lk_cli_policy *c, enum lk_policy_slot slot)
{
    c->both_slots = c->both_slots || (c->slot != 0 && c->slot != slot);
    c->slot = slot;
}

enum lk_err
lk_cli_policy_take(void *ctx, int option, const char *value)
{
    struct lk_cli_policy *c = (struct lk_cli_policy *)ctx;

    switch (option) {
    case LK_CLI_POLICY_OPT_RIGHTS:
        return lk_rights_parse(value, &c->rights) == LK_OK ? LK_OK : LK_ERR_ARG;
    case LK_CLI_POLICY_OPT_PRIMARY:
        slot_take(c, LK_POLICY_PRIMARY);
        return LK_OK;
    case LK_CLI_POLICY_OPT_SECONDARY:
        slot_take(c, LK_POLICY_SECONDARY);
        return LK_OK;
    case LK_CLI_POLICY_OPT_REVEAL:
        c->reveal = true;
        return LK_OK;
    default:
        c->host = value;
        return lk_host_name_ok(value, strlen(value)) ? LK_OK : LK_ERR_ARG;
    }
}

bool
lk_cli_policy_options(struct lk_cli_policy *c, const struct lk_cli_form *form, int argc,
                      char **argv, int *ret_code)
{
    char shown[LK_CLI_SHOWN_CAP];

    c->form = form;
    if (!lk_cli_options(form, argc, argv, &c->common, c, ret_code)) {
        return false;
    }
    if (c->both_slots) {
        *ret_code = lk_cli_usage(form->usage, "--primary or --secondary, not both");
        return false;
    }
    if (form->words_min == 0) {
        return true;
    }
    if (!lk_policy_name_ok(argv[optind], strlen(argv[optind])) ||
        lk_strcpy(c->policy.name, sizeof(c->policy.name), argv[optind]) != LK_OK) {
        *ret_code = lk_cli_usage(
            form->usage, "\"%s\" is no policy name: 1 to %u letters, digits and _ - @ . are",
            lk_cli_shown(argv[optind], shown), LK_POLICY_NAME_MAX);
        return false;
    }
    return true;
}

int
lk_cli_policy_open(struct lk_cli_policy *c, enum lk_cli_access access)
{
    int code = lk_cli_target_open(&c->common, access, &c->s);

    return code != 0 ? code : lk_cli_scope(&c->s, c->common.scope, c->policy.scope);
}

struct lk_policy_author
lk_cli_policy_author(const char *actor)
{
    return (struct lk_policy_author){.actor = actor, .rights = LK_RIGHTS_ALL};
}

/* A service elsewhere tells a key when it makes it, and never again. */
static int
maker_open(struct lk_cli_policy *c)
{
    int code = lk_cli_policy_open(c, LK_CLI_WRITE);

    if (code != 0) {
        return code;
    }
    if (c->s.remote != NULL && !c->reveal) {
        return lk_cli_usage(c->form->usage, "a service elsewhere tells a key only when it makes "
                                            "it: give --connection-string");
    }
    return lk_cli_policy_host(c);
}

/* What a command has to say that made a key: nothing, unless it was asked. */
static int
made_print(const struct lk_cli_policy *c, const struct lk_buf *key)
{
    if (c->s.remote != NULL) {
        return lk_cli_policy_tell(c, key);
    }
    return c->reveal || c->common.json ? lk_cli_policy_print(c) : 0;
}

/* In the transaction that made a key: what is told of it, and that it is told. */
static enum lk_err
made_read(struct lk_txn *tx, struct lk_cli_policy *c)
{
    enum lk_err err = lk_txn_policy_get(tx, c->policy.scope, c->policy.name, &c->policy);

    return err != LK_OK || !c->reveal ? err : lk_cli_policy_revealed(tx, c);
}

/* Options of commands that make a key, and their lines of a --help text. */
/* clang-format off */
#define MAKER_OPTIONS                                                                              \
    {"connection-string", no_argument, NULL, LK_CLI_POLICY_OPT_REVEAL},                            \
    {"host", required_argument, NULL, LK_CLI_POLICY_OPT_HOST},                                     \
    {"primary", no_argument, NULL, LK_CLI_POLICY_OPT_PRIMARY},                                     \
    {"secondary", no_argument, NULL, LK_CLI_POLICY_OPT_SECONDARY},                                 \
    LK_CLI_SCOPE_OPTION,                                                                           \
    LK_CLI_JSON_OPTION,                                                                            \
    LK_CLI_SERVICE_OPTIONS
/* clang-format on */
#define MAKER_HELP                                                                                 \
    "  --connection-string      print the connection string with the new key, which is secret;\n"  \
    "                           a service elsewhere tells it this once\n"                          \
    "  --host NAME              host name in it; default the scope's, or that of the service\n"    \
    "                           elsewhere\n"
#define MAKER_JSON_HELP "  --json                   the policy as one JSON document\n"

/* ---- add ------------------------------------------------------------------------------------- */

static const struct lk_cli_form add_form = {
    .usage = "latchkey policy add NAME --rights RIGHT[,RIGHT]...\n"
             "                           [--connection-string [--host NAME] [--secondary]]\n"
             "                           [--scope ID] [--json] [SERVICE]",
    .help = "Add an access policy with two fresh keys. Its connection string, which opens the\n"
            "operators' API, is told here when that is asked for, and on the service's machine by\n"
            "`latchkey policy show --connection-string`.\n\n"
            "  --rights RIGHT,...       of ServiceConfig, EnrollmentRead, EnrollmentWrite,\n"
            "                           DeviceConnect, RegistrationStatusRead,\n"
            "                           RegistrationStatusWrite; none that one's own policy at a\n"
            "                           service elsewhere lacks\n" MAKER_HELP
            "  --primary                with the primary key, which is the default\n"
            "  --secondary              with the secondary key\n" LK_CLI_SCOPE_HELP MAKER_JSON_HELP
                LK_CLI_SERVICE_HELP,
    .options =
        (const struct option[]){{"rights", required_argument, NULL, LK_CLI_POLICY_OPT_RIGHTS},
                                MAKER_OPTIONS,
                                LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
    .take = lk_cli_policy_take,
};

static enum lk_err
add_run(struct lk_txn *tx, void *arg)
{
    struct lk_cli_policy *c = (struct lk_cli_policy *)arg;
    const struct lk_policy_author by = lk_cli_policy_author(c->s.actor);
    enum lk_err err = lk_policy_add(tx, &by, &c->policy);

    return err != LK_OK ? err : made_read(tx, c);
}

static int
add_here(struct lk_cli_policy *c)
{
    const struct lk_policy given = c->policy;
    enum lk_err err =
        lk_policy_make(c->s.ring, &lk_rand_system, given.scope, given.name, c->rights, &c->policy);

    if (err != LK_OK) {
        return lk_cli_fail(err, "cannot make the policy");
    }
    err = lk_store_write_wait(c->s.session, add_run, c);
    return err == LK_OK ? made_print(c, NULL) : lk_cli_store_fail(err, "cannot add the policy");
}

static int
add_elsewhere(struct lk_cli_policy *c)
{
    LK_AUTO_BUF struct lk_buf key = LK_BUF_INIT;
    enum lk_err err;

    c->policy.rights = c->rights;
    err = lk_remote_policy_add(c->s.remote, c->slot, &c->policy, &key);
    return err == LK_OK ? made_print(c, &key)
                        : lk_remote_fail(c->s.remote, err, "cannot add the policy");
}

static int
policy_add(int argc, char **argv)
{
    LK_AUTO_CLI_POLICY struct lk_cli_policy c = {.host = NULL};
    int code;

    if (!lk_cli_policy_options(&c, &add_form, argc, argv, &code)) {
        return code;
    }
    if (c.rights == 0) {
        return lk_cli_usage(add_form.usage, "--rights is needed");
    }
    if (!c.reveal && (c.host != NULL || c.slot != 0)) {
        return lk_cli_usage(add_form.usage,
                            "--host, --primary and --secondary go with --connection-string");
    }
    c.slot = c.slot != 0 ? c.slot : LK_POLICY_PRIMARY;
    if ((code = maker_open(&c)) != 0) {
        return code;
    }
    return c.s.remote != NULL ? add_elsewhere(&c) : add_here(&c);
}

/* ---- list ------------------------------------------------------------------------------------ */

static const struct lk_cli_form list_form = {
    .usage = "latchkey policy list [--scope ID] [--json] [SERVICE]",
    .help = "List the access policies.\n\n" LK_CLI_SCOPE_HELP LK_CLI_JSON_HELP LK_CLI_SERVICE_HELP,
    .options = (const struct option[]){LK_CLI_SCOPE_OPTION, LK_CLI_JSON_OPTION,
                                       LK_CLI_SERVICE_OPTIONS, LK_CLI_END_OPTIONS},
};

/* NULL when out of memory. */
const char *
lk_cli_policy_rights(unsigned rights, struct lk_buf *buf)
{
    return lk_rights_format(rights, buf) == LK_OK ? lk_buf_text(buf) : NULL;
}

json_t *
lk_cli_policy_json(const struct lk_policy *p, const char *rights)
{
    char created[LK_CLI_TIME_CAP], updated[LK_CLI_TIME_CAP];

    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", p->name, "scope", p->scope, "rights",
                     rights, "created", lk_cli_time(p->created_ms, created), "updated",
                     lk_cli_time(p->updated_ms, updated));
}

static enum lk_err
policy_put(void *ctx, const struct lk_policy *p)
{
    struct lk_cli_listing *l = (struct lk_cli_listing *)ctx;
    LK_AUTO_BUF struct lk_buf buf = LK_BUF_INIT;
    const char *rights = lk_cli_policy_rights(p->rights, &buf);
    char created[LK_CLI_TIME_CAP];

    if (rights == NULL) {
        return LK_ERR_NOMEM;
    }
    return l->json ? lk_cli_put_json(&l->text, lk_cli_policy_json(p, rights))
                   : lk_buf_printf(&l->text, "%-28s %-25s %s\n", p->name,
                                   lk_cli_time(p->created_ms, created), rights);
}

/* There are few: one page. */
static enum lk_err
policies_page(struct lk_txn *tx, struct lk_cli_listing *l, size_t limit)
{
    (void)limit;
    return lk_txn_policy_each(tx, (const char *)l->ctx, policy_put, l);
}

static enum lk_err
policies_fetch(struct lk_remote *r, struct lk_cli_listing *l)
{
    return lk_remote_policies(r, policy_put, l);
}

static int
policy_list(int argc, char **argv)
{
    LK_AUTO_CLI_POLICY struct lk_cli_policy c = {.host = NULL};
    struct lk_cli_listing list = {
        .page = policies_page,
        .remote_page = policies_fetch,
        .what = "cannot list the policies",
        .head = "NAME                         CREATED                   RIGHTS",
        .ctx = c.policy.scope};
    int code;

    if (!lk_cli_policy_options(&c, &list_form, argc, argv, &code) ||
        (code = lk_cli_policy_open(&c, LK_CLI_READ)) != 0) {
        return code;
    }
    list.json = c.common.json;
    return lk_cli_list(&c.s, &list);
}

/* ---- remove ---------------------------------------------------------------------------------- */

static const struct lk_cli_form remove_form = {
    .usage = "latchkey policy remove NAME [--scope ID] [SERVICE]",
    .help = "Remove an access policy. Its keys open nothing from then on. Through a service\n"
            "elsewhere one's own policy must have all of its rights, and one policy with every\n"
            "right stays.\n\n" LK_CLI_SCOPE_HELP LK_CLI_SERVICE_HELP,
    .options =
        (const struct option[]){LK_CLI_SCOPE_OPTION, LK_CLI_SERVICE_OPTIONS, LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
};

static enum lk_err
remove_run(struct lk_txn *tx, void *arg)
{
    struct lk_cli_policy *c = (struct lk_cli_policy *)arg;
    const struct lk_policy_author by = lk_cli_policy_author(c->s.actor);

    return lk_policy_remove(tx, &by, c->policy.scope, c->policy.name);
}

static int
remove_elsewhere(struct lk_remote *r, const char *name)
{
    enum lk_err err = lk_remote_policy_delete(r, name);
    int code = err == LK_OK ? 0 : lk_remote_fail(r, err, "cannot remove the policy");

    return lk_remote_code(r) == LK_SVC_LAST_OWNER ? lk_err_exit_code(LK_ERR_REFUSED) : code;
}

static int
policy_remove(int argc, char **argv)
{
    LK_AUTO_CLI_POLICY struct lk_cli_policy c = {.host = NULL};
    int code;
    enum lk_err err;

    if (!lk_cli_policy_options(&c, &remove_form, argc, argv, &code) ||
        (code = lk_cli_policy_open(&c, LK_CLI_WRITE)) != 0) {
        return code;
    }
    if (c.s.remote != NULL) {
        return remove_elsewhere(c.s.remote, c.policy.name);
    }
    err = lk_store_write_wait(c.s.session, remove_run, &c);
    return err == LK_OK ? 0 : lk_cli_store_fail(err, "cannot remove the policy");
}

/* ---- roll ------------------------------------------------------------------------------------ */

static const struct lk_cli_form roll_form = {
    .usage = "latchkey policy roll NAME --primary|--secondary [--connection-string [--host NAME]]\n"
             "                            [--scope ID] [--json] [SERVICE]",
    .help = "Give an access policy a fresh key in place of one of its two. What signs with the\n"
            "other goes on: roll the one that nobody uses, move the clients to it, roll the\n"
            "other. At a service elsewhere one's own policy must have all of its rights.\n\n"
            "  --primary                roll the primary key\n"
            "  --secondary              roll the secondary key\n" MAKER_HELP LK_CLI_SCOPE_HELP
                MAKER_JSON_HELP LK_CLI_SERVICE_HELP,
    .options = (const struct option[]){MAKER_OPTIONS, LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
    .take = lk_cli_policy_take,
};

static enum lk_err
roll_run(struct lk_txn *tx, void *arg)
{
    struct lk_cli_policy *c = (struct lk_cli_policy *)arg;
    const struct lk_policy_author by = lk_cli_policy_author(c->s.actor);
    enum lk_err err = lk_policy_roll(tx, &by, c->s.ring, &lk_rand_system, c->slot, &c->policy);

    return err != LK_OK ? err : made_read(tx, c);
}

static int
roll_elsewhere(struct lk_cli_policy *c)
{
    LK_AUTO_BUF struct lk_buf key = LK_BUF_INIT;
    enum lk_err err = lk_remote_policy_roll(c->s.remote, c->slot, &c->policy, &key);

    return err == LK_OK ? made_print(c, &key)
                        : lk_remote_fail(c->s.remote, err, "cannot roll the key");
}

static int
policy_roll(int argc, char **argv)
{
    LK_AUTO_CLI_POLICY struct lk_cli_policy c = {.host = NULL};
    int code;
    enum lk_err err;

    if (!lk_cli_policy_options(&c, &roll_form, argc, argv, &code)) {
        return code;
    }
    if (c.slot == 0) {
        return lk_cli_usage(roll_form.usage, "--primary or --secondary is needed");
    }
    if (!c.reveal && c.host != NULL) {
        return lk_cli_usage(roll_form.usage, "--host goes with --connection-string");
    }
    if ((code = maker_open(&c)) != 0) {
        return code;
    }
    if (c.s.remote != NULL) {
        return roll_elsewhere(&c);
    }
    err = lk_store_write_wait(c.s.session, roll_run, &c);
    return err == LK_OK ? made_print(&c, NULL) : lk_cli_store_fail(err, "cannot roll the key");
}

int
lk_cmd_policy(int argc, char **argv)
{
    static const struct lk_command commands[] = {
        {"add", policy_add, "add an access policy"},
        {"list", policy_list, "list the access policies"},
        {"show", lk_cli_policy_show, "show one, and its connection string when asked for"},
        {"remove", policy_remove, "remove an access policy"},
        {"roll", policy_roll, "replace one of its two keys"},
        {NULL, NULL, NULL},
    };

    return lk_cli_dispatch(commands, "latchkey policy", argc, argv);
}
