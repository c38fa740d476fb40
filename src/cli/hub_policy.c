/* latchkey hub policy: the access policies of an embedded hub, by which its operators, and devices
 * without keys of their own, get in. */
#include "hub/policy.h"

#include <string.h>

#include "cli/cmd_hub.h"
#include "hub/registry.h"

enum { OPT_RIGHTS = LK_CLI_OPT_COMMAND, OPT_PRIMARY, OPT_SECONDARY, OPT_REVEAL, OPT_HOST };

/* One run of a command. */
struct policy_call {
    struct lk_cli_service s;
    struct lk_cli_common common;
    struct lk_hub_policy policy; /* hub and name are given; the rest is read or made */
    const char *host;            /* given */
    enum lk_policy_slot slot;
    bool both_slots, reveal;
    unsigned rights;
};

static void
call_fini(struct policy_call *c)
{
    lk_hub_policy_fini(&c->policy);
    lk_cli_service_close(&c->s);
}
#define AUTO_CALL __attribute__((cleanup(call_fini)))

static void
slot_take(struct policy_call *c, enum lk_policy_slot slot)
{
    c->both_slots = c->both_slots || (c->slot != 0 && c->slot != slot);
    c->slot = slot;
}

static enum lk_err
call_take(void *ctx, int option, const char *value)
{
    struct policy_call *c = (struct policy_call *)ctx;

    switch (option) {
    case OPT_RIGHTS:
        return lk_hub_rights_parse(value, &c->rights) == LK_OK ? LK_OK : LK_ERR_ARG;
    case OPT_PRIMARY:
        slot_take(c, LK_POLICY_PRIMARY);
        return LK_OK;
    case OPT_SECONDARY:
        slot_take(c, LK_POLICY_SECONDARY);
        return LK_OK;
    case OPT_REVEAL:
        c->reveal = true;
        return LK_OK;
    default:
        c->host = value;
        return lk_host_name_ok(value, strlen(value)) ? LK_OK : LK_ERR_ARG;
    }
}

/* Read the options, the hub and the policy's name; as lk_cli_options(). */
static bool
call_options(struct policy_call *c, const struct lk_cli_form *form, int argc, char **argv,
             int *ret_code)
{
    char shown[LK_CLI_SHOWN_CAP];
    const char *name;

    if (!lk_cli_options(form, argc, argv, &c->common, c, ret_code)) {
        return false;
    }
    if (c->both_slots) {
        *ret_code = lk_cli_usage(form->usage, "--primary or --secondary, not both");
        return false;
    }
    if ((*ret_code = lk_cli_hub_word(form, argv[optind], c->policy.hub)) != 0) {
        return false;
    }
    if (form->words_max == 1) {
        return true;
    }
    name = argv[optind + 1];
    if (!lk_policy_name_ok(name, strlen(name)) ||
        lk_strcpy(c->policy.name, sizeof(c->policy.name), name) != LK_OK) {
        *ret_code = lk_cli_usage(
            form->usage, "\"%s\" is no policy name: 1 to %u letters, digits and _ - @ . are",
            lk_cli_shown(name, shown), LK_POLICY_NAME_MAX);
        return false;
    }
    return true;
}

/* What was done to c's policy, and to which of its keys, or with which rights. */
static enum lk_err
audit(struct lk_txn *tx, const struct policy_call *c, const char *action, const char *what,
      const char *value)
{
    LK_AUTO_BUF struct lk_buf detail = LK_BUF_INIT;
    const char *text;
    enum lk_err err = lk_buf_printf(&detail, "{\"hub\":\"%s\"", c->policy.hub);

    /* A host name, and words of ours: nothing in it needs an escape. */
    if (err != LK_OK ||
        (what != NULL && (err = lk_buf_printf(&detail, ",\"%s\":\"%s\"", what, value)) != LK_OK) ||
        (err = lk_buf_puts(&detail, "}")) != LK_OK) {
        return err;
    }
    if ((text = lk_buf_text(&detail)) == NULL) {
        return LK_ERR_NOMEM;
    }
    return lk_txn_audit_append(tx, c->s.actor, action, "", c->policy.name, text);
}

static const char *
slot_word(const struct policy_call *c)
{
    return c->slot == LK_POLICY_SECONDARY ? "secondary" : "primary";
}

/* NULL when out of memory. */
static const char *
rights_text(unsigned rights, struct lk_buf *buf)
{
    lk_buf_reset(buf);
    return lk_hub_rights_format(rights, buf) == LK_OK ? lk_buf_text(buf) : NULL;
}

static json_t *
policy_json(const struct lk_hub_policy *p, const char *rights)
{
    char created[LK_CLI_TIME_CAP], updated[LK_CLI_TIME_CAP];

    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "name", p->name, "hub", p->hub, "rights", rights,
                     "created", lk_cli_time(p->created_ms, created), "updated",
                     lk_cli_time(p->updated_ms, updated));
}

/* ---- add ------------------------------------------------------------------------------------- */

static const struct lk_cli_form add_form = {
    .usage = "latchkey hub policy add HUB NAME [--rights RIGHT[,RIGHT]...] [--config FILE]",
    .help =
        "Add an access policy with two fresh keys to an embedded hub. Its connection string is\n"
        "told by `latchkey hub policy show --connection-string`.\n\n"
        "  --rights RIGHT,...       of RegistryRead, RegistryWrite, ServiceConnect,\n"
        "                           DeviceConnect; not needed for the names that tools expect:\n"
        "                           iothubowner (all), service, device, registryRead,\n"
        "                           registryReadWrite\n" LK_CLI_CONFIG_HELP,
    .options = (const struct option[]){{"rights", required_argument, NULL, OPT_RIGHTS},
                                       LK_CLI_CONFIG_OPTION,
                                       LK_CLI_END_OPTIONS},
    .words_min = 2,
    .words_max = 2,
    .take = call_take,
};

static enum lk_err
add_run(struct lk_txn *tx, void *arg)
{
    struct policy_call *c = (struct policy_call *)arg;
    LK_AUTO_BUF struct lk_buf buf = LK_BUF_INIT;
    struct lk_hub_policy there = {.rights = 0};
    const char *rights = rights_text(c->policy.rights, &buf);
    enum lk_err err = lk_hub_is_ours(tx, c->policy.hub);

    if (err != LK_OK) {
        return err;
    }
    err = lk_txn_hub_policy_get(tx, c->policy.hub, c->policy.name, &there);
    lk_hub_policy_fini(&there);
    if (err != LK_ERR_NOT_FOUND) {
        return err == LK_OK ? LK_ERR_EXISTS : err;
    }
    if (rights == NULL) {
        return LK_ERR_NOMEM;
    }
    err = lk_txn_hub_policy_put(tx, &c->policy);
    return err != LK_OK ? err : audit(tx, c, "hub.policy.add", "rights", rights);
}

static int
policy_add(int argc, char **argv)
{
    AUTO_CALL struct policy_call c = {.host = NULL};
    struct lk_hub_policy given;
    int code;
    enum lk_err err;

    if (!call_options(&c, &add_form, argc, argv, &code)) {
        return code;
    }
    if (c.rights == 0 && (c.rights = lk_hub_rights_usual(c.policy.name)) == 0) {
        return lk_cli_usage(add_form.usage, "--rights is needed for a policy of this name");
    }
    if ((code = lk_cli_service_open(c.common.config, LK_CLI_WRITE, &c.s)) != 0) {
        return code;
    }
    given = c.policy;
    err = lk_hub_policy_make(c.s.ring, &lk_rand_system, given.hub, given.name, c.rights, &c.policy);
    if (err != LK_OK) {
        return lk_cli_fail(err, "cannot make the policy");
    }
    err = lk_store_write_wait(c.s.session, add_run, &c);
    return err == LK_OK ? 0 : lk_cli_store_fail(err, "cannot add the policy");
}

/* ---- list ------------------------------------------------------------------------------------ */

static const struct lk_cli_form list_form = {
    .usage = "latchkey hub policy list HUB [--json] [--config FILE]",
    .help = "List the access policies of an embedded hub.\n\n" LK_CLI_JSON_HELP LK_CLI_CONFIG_HELP,
    .options =
        (const struct option[]){LK_CLI_JSON_OPTION, LK_CLI_CONFIG_OPTION, LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
    .take = call_take,
};

static enum lk_err
policy_put(void *ctx, const struct lk_hub_policy *p)
{
    struct lk_cli_listing *l = (struct lk_cli_listing *)ctx;
    LK_AUTO_BUF struct lk_buf buf = LK_BUF_INIT;
    const char *rights = rights_text(p->rights, &buf);
    char created[LK_CLI_TIME_CAP];

    if (rights == NULL) {
        return LK_ERR_NOMEM;
    }
    if (l->json) {
        return lk_cli_put_json(&l->text, policy_json(p, rights));
    }
    return lk_buf_printf(&l->text, "%-28s %-25s %s\n", p->name, lk_cli_time(p->created_ms, created),
                         rights);
}

/* There are few: one page. */
static enum lk_err
policies_page(struct lk_txn *tx, struct lk_cli_listing *l, size_t limit)
{
    const char *hub = (const char *)l->ctx;
    enum lk_err err = lk_hub_is_ours(tx, hub);

    (void)limit;
    return err != LK_OK ? err : lk_txn_hub_policy_each(tx, hub, policy_put, l);
}

static int
policy_list(int argc, char **argv)
{
    AUTO_CALL struct policy_call c = {.host = NULL};
    struct lk_cli_listing list = {
        .page = policies_page,
        .what = "cannot list the policies",
        .head = "NAME                         CREATED                   RIGHTS",
        .ctx = c.policy.hub};
    int code;

    if (!call_options(&c, &list_form, argc, argv, &code) ||
        (code = lk_cli_service_open(c.common.config, LK_CLI_READ, &c.s)) != 0) {
        return code;
    }
    list.json = c.common.json;
    return lk_cli_list(&c.s, &list);
}

/* ---- show ------------------------------------------------------------------------------------ */

static const struct lk_cli_form show_form = {
    .usage = "latchkey hub policy show HUB NAME [--connection-string [--host NAME] [--secondary]]\n"
             "                                 [--json] [--config FILE]",
    .help =
        "Show an access policy of an embedded hub: its rights, and when it was made and changed.\n"
        "\n"
        "  --connection-string      print the connection string and nothing else: it is secret,\n"
        "                           has the rights of the policy, and that it was told is in the\n"
        "                           audit record\n"
        "  --host NAME              host name in it; default the hub's\n"
        "  --primary                with the primary key, which is the default\n"
        "  --secondary              with the secondary key\n"
        "  --json                   as one JSON document\n" LK_CLI_CONFIG_HELP,
    .options = (const struct option[]){{"connection-string", no_argument, NULL, OPT_REVEAL},
                                       {"host", required_argument, NULL, OPT_HOST},
                                       {"primary", no_argument, NULL, OPT_PRIMARY},
                                       {"secondary", no_argument, NULL, OPT_SECONDARY},
                                       LK_CLI_JSON_OPTION,
                                       LK_CLI_CONFIG_OPTION,
                                       LK_CLI_END_OPTIONS},
    .words_min = 2,
    .words_max = 2,
    .take = call_take,
};

static enum lk_err
show_run(struct lk_txn *tx, void *arg)
{
    struct policy_call *c = (struct policy_call *)arg;
    enum lk_err err = lk_txn_hub_policy_get(tx, c->policy.hub, c->policy.name, &c->policy);

    return err != LK_OK || !c->reveal ? err
                                      : audit(tx, c, "hub.policy.reveal", "key", slot_word(c));
}

static int
shown_print(const struct policy_call *c, const char *rights)
{
    LK_AUTO(json) json_t *o = policy_json(&c->policy, rights);
    char created[LK_CLI_TIME_CAP], updated[LK_CLI_TIME_CAP];

    if (o == NULL) {
        return lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer");
    }
    if (c->common.json) {
        return lk_cli_print_json(o);
    }
    (void)printf("name      %s\nhub       %s\nrights    %s\ncreated   %s\nchanged   %s\n",
                 c->policy.name, c->policy.hub, rights, lk_cli_time(c->policy.created_ms, created),
                 lk_cli_time(c->policy.updated_ms, updated));
    return 0;
}

static int
secret_print(const struct policy_call *c, const char *rights)
{
    LK_AUTO_BUF struct lk_buf buf = LK_BUF_INIT;
    LK_AUTO(json) json_t *o = NULL;
    const char *host = c->host != NULL ? c->host : c->policy.hub, *text;
    enum lk_err err = lk_hub_policy_connection_string(c->s.ring, &c->policy, c->slot, host, &buf);

    if (err != LK_OK || (text = lk_buf_text(&buf)) == NULL) {
        return lk_cli_fail(err != LK_OK ? err : LK_ERR_NOMEM, "cannot open the policy's key");
    }
    lk_cli_note("the connection string is secret: whoever has it has the rights of the policy");
    if (!c->common.json) {
        (void)puts(text);
        return 0;
    }
    if ((o = policy_json(&c->policy, rights)) == NULL ||
        json_object_set_new(o, "connectionString", json_string(text)) != 0) {
        return lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer");
    }
    return lk_cli_print_json(o);
}

static int
policy_show(int argc, char **argv)
{
    AUTO_CALL struct policy_call c = {.host = NULL};
    LK_AUTO_BUF struct lk_buf buf = LK_BUF_INIT;
    const char *rights;
    int code;
    enum lk_err err;

    if (!call_options(&c, &show_form, argc, argv, &code)) {
        return code;
    }
    if (!c.reveal && (c.host != NULL || c.slot != 0)) {
        return lk_cli_usage(show_form.usage,
                            "--host, --primary and --secondary go with --connection-string");
    }
    c.slot = c.slot != 0 ? c.slot : LK_POLICY_PRIMARY;
    if ((code = lk_cli_service_open(c.common.config, c.reveal ? LK_CLI_WRITE : LK_CLI_READ,
                                    &c.s)) != 0) {
        return code;
    }
    err = c.reveal ? lk_store_write_wait(c.s.session, show_run, &c)
                   : lk_store_read_wait(c.s.session, show_run, &c);
    if (err != LK_OK) {
        return lk_cli_store_fail(err, "cannot show the policy");
    }
    if ((rights = rights_text(c.policy.rights, &buf)) == NULL) {
        return lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer");
    }
    return c.reveal ? secret_print(&c, rights) : shown_print(&c, rights);
}

/* ---- roll ------------------------------------------------------------------------------------ */

static const struct lk_cli_form roll_form = {
    .usage = "latchkey hub policy roll HUB NAME --primary|--secondary [--config FILE]",
    .help =
        "Give an access policy of an embedded hub a fresh key in place of one of its two. What\n"
        "signs with the other goes on: roll the one that nobody uses, move the clients to it,\n"
        "roll the other.\n\n"
        "  --primary                roll the primary key\n"
        "  --secondary              roll the secondary key\n" LK_CLI_CONFIG_HELP,
    .options = (const struct option[]){{"primary", no_argument, NULL, OPT_PRIMARY},
                                       {"secondary", no_argument, NULL, OPT_SECONDARY},
                                       LK_CLI_CONFIG_OPTION,
                                       LK_CLI_END_OPTIONS},
    .words_min = 2,
    .words_max = 2,
    .take = call_take,
};

static enum lk_err
roll_run(struct lk_txn *tx, void *arg)
{
    struct policy_call *c = (struct policy_call *)arg;
    enum lk_err err;

    if ((err = lk_txn_hub_policy_get(tx, c->policy.hub, c->policy.name, &c->policy)) != LK_OK ||
        (err = lk_hub_policy_key_set(c->s.ring, &lk_rand_system, c->slot, NULL, 0, &c->policy)) !=
            LK_OK ||
        (err = lk_txn_hub_policy_put(tx, &c->policy)) != LK_OK) {
        return err;
    }
    return audit(tx, c, "hub.policy.roll", "key", slot_word(c));
}

static int
policy_roll(int argc, char **argv)
{
    AUTO_CALL struct policy_call c = {.host = NULL};
    int code;
    enum lk_err err;

    if (!call_options(&c, &roll_form, argc, argv, &code)) {
        return code;
    }
    if (c.slot == 0) {
        return lk_cli_usage(roll_form.usage, "--primary or --secondary is needed");
    }
    if ((code = lk_cli_service_open(c.common.config, LK_CLI_WRITE, &c.s)) != 0) {
        return code;
    }
    err = lk_store_write_wait(c.s.session, roll_run, &c);
    return err == LK_OK ? 0 : lk_cli_store_fail(err, "cannot roll the key");
}

/* ---- remove ---------------------------------------------------------------------------------- */

static const struct lk_cli_form remove_form = {
    .usage = "latchkey hub policy remove HUB NAME [--config FILE]",
    .help = "Remove an access policy of an embedded hub. Its keys open nothing from then "
            "on.\n\n" LK_CLI_CONFIG_HELP,
    .options = (const struct option[]){LK_CLI_CONFIG_OPTION, LK_CLI_END_OPTIONS},
    .words_min = 2,
    .words_max = 2,
    .take = call_take,
};

static enum lk_err
remove_run(struct lk_txn *tx, void *arg)
{
    struct policy_call *c = (struct policy_call *)arg;
    enum lk_err err = lk_txn_hub_policy_delete(tx, c->policy.hub, c->policy.name);

    return err != LK_OK ? err : audit(tx, c, "hub.policy.remove", NULL, NULL);
}

static int
policy_remove(int argc, char **argv)
{
    AUTO_CALL struct policy_call c = {.host = NULL};
    int code;
    enum lk_err err;

    if (!call_options(&c, &remove_form, argc, argv, &code) ||
        (code = lk_cli_service_open(c.common.config, LK_CLI_WRITE, &c.s)) != 0) {
        return code;
    }
    err = lk_store_write_wait(c.s.session, remove_run, &c);
    return err == LK_OK ? 0 : lk_cli_store_fail(err, "cannot remove the policy");
}

int
lk_cli_hub_policy(int argc, char **argv)
{
    static const struct lk_command commands[] = {
        {"add", policy_add, "add an access policy"},
        {"list", policy_list, "list the access policies of a hub"},
        {"show", policy_show, "show one, and its connection string when asked for"},
        {"roll", policy_roll, "replace one of its two keys"},
        {"remove", policy_remove, "remove an access policy"},
        {NULL, NULL, NULL},
    };

    return lk_cli_dispatch(commands, "latchkey hub policy", argc, argv);
}
