/* latchkey policy: the shared access policies, by which the operators' API is opened. */
#include "cli/cmd_policy.h"

#include <string.h>

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
    int code;

    if (access == LK_CLI_READ) {
        code = lk_cli_target_open(&c->common, access, &c->s);
    } else if ((code = lk_cli_store_needed(&c->common)) == 0) {
        code = lk_cli_service_open(c->common.config, access, &c->s);
    }
    return code != 0 ? code : lk_cli_scope(&c->s, c->common.scope, c->policy.scope);
}

enum lk_err
lk_cli_policy_audit(struct lk_txn *tx, const char *actor, const char *action,
                    const struct lk_policy *p, const char *detail)
{
    return lk_txn_audit_append(tx, actor, action, p->scope, p->name, detail);
}

const char *
lk_cli_policy_slot(enum lk_policy_slot slot)
{
    return slot == LK_POLICY_PRIMARY ? "{\"key\":\"primary\"}" : "{\"key\":\"secondary\"}";
}

/* ---- add ------------------------------------------------------------------------------------- */

static const struct lk_cli_form add_form = {
    .usage = "latchkey policy add NAME --rights RIGHT[,RIGHT]... [--scope ID] [--config FILE]",
    .help =
        "Add an access policy with two fresh keys. Its connection string, which opens the\n"
        "operators' API, is told by `latchkey policy show --connection-string`.\n\n"
        "  --rights RIGHT,...       of ServiceConfig, EnrollmentRead, EnrollmentWrite,\n"
        "                           DeviceConnect, RegistrationStatusRead,\n"
        "                           RegistrationStatusWrite\n" LK_CLI_SCOPE_HELP LK_CLI_CONFIG_HELP,
    .options =
        (const struct option[]){{"rights", required_argument, NULL, LK_CLI_POLICY_OPT_RIGHTS},
                                LK_CLI_SCOPE_OPTION,
                                LK_CLI_CONFIG_OPTION,
                                LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
    .take = lk_cli_policy_take,
};

enum lk_err
lk_cli_policy_create(struct lk_txn *tx, const char *actor, const struct lk_policy *p)
{
    LK_AUTO_BUF struct lk_buf detail = LK_BUF_INIT;
    struct lk_policy there = {.rights = 0};
    const char *text;
    enum lk_err err = lk_txn_policy_get(tx, p->scope, p->name, &there);

    lk_policy_fini(&there);
    if (err != LK_ERR_NOT_FOUND) {
        return err == LK_OK ? LK_ERR_EXISTS : err;
    }
    if ((err = lk_buf_puts(&detail, "{\"rights\":\"")) != LK_OK ||
        (err = lk_rights_format(p->rights, &detail)) != LK_OK ||
        (err = lk_buf_puts(&detail, "\"}")) != LK_OK) {
        return err;
    }
    if ((text = lk_buf_text(&detail)) == NULL) {
        return LK_ERR_NOMEM;
    }
    err = lk_txn_policy_put(tx, p);
    return err != LK_OK ? err : lk_cli_policy_audit(tx, actor, "policy.add", p, text);
}

static enum lk_err
add_run(struct lk_txn *tx, void *arg)
{
    struct lk_cli_policy *c = (struct lk_cli_policy *)arg;

    return lk_cli_policy_create(tx, c->s.actor, &c->policy);
}

static int
policy_add(int argc, char **argv)
{
    LK_AUTO_CLI_POLICY struct lk_cli_policy c = {.host = NULL};
    char scope[LK_ID_SCOPE_MAX + 1], name[LK_POLICY_NAME_MAX + 1];
    int code;
    enum lk_err err;

    if (!lk_cli_policy_options(&c, &add_form, argc, argv, &code)) {
        return code;
    }
    if (c.rights == 0) {
        return lk_cli_usage(add_form.usage, "--rights is needed");
    }
    if ((code = lk_cli_policy_open(&c, LK_CLI_WRITE)) != 0) {
        return code;
    }
    memcpy(scope, c.policy.scope, sizeof(scope));
    memcpy(name, c.policy.name, sizeof(name));
    if ((err = lk_policy_make(c.s.ring, &lk_rand_system, scope, name, c.rights, &c.policy)) !=
        LK_OK) {
        return lk_cli_fail(err, "cannot make the policy");
    }
    err = lk_store_write_wait(c.s.session, add_run, &c);
    return err == LK_OK ? 0 : lk_cli_store_fail(err, "cannot add the policy");
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
    .usage = "latchkey policy remove NAME [--scope ID] [--config FILE]",
    .help = "Remove an access policy. Its keys open nothing from then "
            "on.\n\n" LK_CLI_SCOPE_HELP LK_CLI_CONFIG_HELP,
    .options =
        (const struct option[]){LK_CLI_SCOPE_OPTION, LK_CLI_CONFIG_OPTION, LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
};

static enum lk_err
remove_run(struct lk_txn *tx, void *arg)
{
    struct lk_cli_policy *c = (struct lk_cli_policy *)arg;
    enum lk_err err = lk_txn_policy_delete(tx, c->policy.scope, c->policy.name);

    return err != LK_OK ? err
                        : lk_cli_policy_audit(tx, c->s.actor, "policy.remove", &c->policy, "");
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
    err = lk_store_write_wait(c.s.session, remove_run, &c);
    return err == LK_OK ? 0 : lk_cli_store_fail(err, "cannot remove the policy");
}

/* ---- roll ------------------------------------------------------------------------------------ */

static const struct lk_cli_form roll_form = {
    .usage = "latchkey policy roll NAME --primary|--secondary [--scope ID] [--config FILE]",
    .help =
        "Give an access policy a fresh key in place of one of its two. What signs with the\n"
        "other goes on: roll the one that nobody uses, move the clients to it, roll the "
        "other.\n\n"
        "  --primary                roll the primary key\n"
        "  --secondary              roll the secondary key\n" LK_CLI_SCOPE_HELP LK_CLI_CONFIG_HELP,
    .options =
        (const struct option[]){{"primary", no_argument, NULL, LK_CLI_POLICY_OPT_PRIMARY},
                                {"secondary", no_argument, NULL, LK_CLI_POLICY_OPT_SECONDARY},
                                LK_CLI_SCOPE_OPTION,
                                LK_CLI_CONFIG_OPTION,
                                LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
    .take = lk_cli_policy_take,
};

static enum lk_err
roll_run(struct lk_txn *tx, void *arg)
{
    struct lk_cli_policy *c = (struct lk_cli_policy *)arg;
    enum lk_err err;

    if ((err = lk_txn_policy_get(tx, c->policy.scope, c->policy.name, &c->policy)) != LK_OK ||
        (err = lk_policy_key_set(c->s.ring, &lk_rand_system, c->slot, NULL, 0, &c->policy)) !=
            LK_OK ||
        (err = lk_txn_policy_put(tx, &c->policy)) != LK_OK) {
        return err;
    }
    return lk_cli_policy_audit(tx, c->s.actor, "policy.roll", &c->policy,
                               lk_cli_policy_slot(c->slot));
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
    if ((code = lk_cli_policy_open(&c, LK_CLI_WRITE)) != 0) {
        return code;
    }
    err = lk_store_write_wait(c.s.session, roll_run, &c);
    return err == LK_OK ? 0 : lk_cli_store_fail(err, "cannot roll the key");
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
