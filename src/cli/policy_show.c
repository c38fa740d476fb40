/* latchkey policy show: a policy, and its connection string when that is asked for; and how the
 * other commands tell what they made. */
#include <string.h>

#include "cli/cmd_policy.h"

/* ---- telling ----------------------------------------------------------------------------------
 */

struct host_find {
    const char *scope;
    struct lk_scope found;
};

static enum lk_err
scope_run(struct lk_txn *tx, void *arg)
{
    struct host_find *f = (struct host_find *)arg;

    return lk_txn_scope_get(tx, f->scope, &f->found);
}

int
lk_cli_policy_host(struct lk_cli_policy *c)
{
    struct host_find f = {.scope = c->policy.scope};
    enum lk_err err;

    if (!c->reveal || c->host != NULL) {
        return 0;
    }
    if (c->s.remote != NULL) {
        c->host = lk_remote_name(c->s.remote);
        return 0;
    }
    if ((err = lk_store_read_wait(c->s.session, scope_run, &f)) != LK_OK) {
        return lk_cli_store_fail(err, "cannot read the ID scope");
    }
    if (f.found.service_host[0] == '\0') {
        return lk_cli_usage(c->form->usage, "the scope has no host name: give one with --host, or "
                                            "to the scope with `latchkey scope set`");
    }
    memcpy(c->service_host, f.found.service_host, sizeof(c->service_host));
    c->host = c->service_host;
    return 0;
}

enum lk_err
lk_cli_policy_revealed(struct lk_txn *tx, const struct lk_cli_policy *c)
{
    char detail[48];

    (void)snprintf(detail, sizeof(detail), "{\"key\":\"%s\"}", lk_policy_slot_name(c->slot));
    return lk_txn_audit_append(tx, c->s.actor, "policy.reveal", c->policy.scope, c->policy.name,
                               detail);
}

static int
shown_print(const struct lk_cli_policy *c, const char *rights)
{
    char created[LK_CLI_TIME_CAP], updated[LK_CLI_TIME_CAP];

    (void)printf("name      %s\nscope     %s\nrights    %s\ncreated   %s\nchanged   %s\n",
                 c->policy.name, c->policy.scope, rights,
                 lk_cli_time(c->policy.created_ms, created),
                 lk_cli_time(c->policy.updated_ms, updated));
    return 0;
}

int
lk_cli_policy_tell(const struct lk_cli_policy *c, const struct lk_buf *key)
{
    LK_AUTO_BUF struct lk_buf buf = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf string = LK_BUF_INIT;
    LK_AUTO(json) json_t *o = NULL;
    const char *rights = lk_cli_policy_rights(c->policy.rights, &buf), *text = NULL;

    if (c->reveal &&
        (lk_svc_connection_format(c->host, c->policy.name, key->data, key->len, &string) != LK_OK ||
         (text = lk_buf_text(&string)) == NULL)) {
        return lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer");
    }
    if (text != NULL) {
        lk_cli_note("the connection string is secret: whoever has it has the rights of the policy");
    }
    if (!c->common.json && text != NULL) {
        (void)puts(text);
        return 0;
    }
    if (rights == NULL || (o = lk_cli_policy_json(&c->policy, rights)) == NULL ||
        (text != NULL && json_object_set_new(o, "connectionString", json_string(text)) != 0)) {
        return lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer");
    }
    return c->common.json ? lk_cli_print_json(o) : shown_print(c, rights);
}

int
lk_cli_policy_print(const struct lk_cli_policy *c)
{
    LK_AUTO_BUF struct lk_buf key = LK_BUF_INIT;
    enum lk_err err = c->reveal ? lk_policy_key_get(c->s.ring, &c->policy, c->slot, &key) : LK_OK;

    return err != LK_OK ? lk_cli_fail(err, "cannot open the policy's key")
                        : lk_cli_policy_tell(c, &key);
}

/* ---- the command ------------------------------------------------------------------------------
 */

static const struct lk_cli_form show_form = {
    .usage = "latchkey policy show NAME [--connection-string [--host NAME] [--secondary]]\n"
             "                            [--scope ID] [--json] [SERVICE]",
    .help =
        "Show an access policy: its rights, and when it was made and changed.\n\n"
        "  --connection-string      print the connection string and nothing else: it is secret,\n"
        "                           opens the operators' API, and that it was told is in the\n"
        "                           audit record. On the service's machine only\n"
        "  --host NAME              host name in it; default the scope's\n"
        "  --primary                with the primary key, which is the default\n"
        "  --secondary              with the secondary key\n" LK_CLI_SCOPE_HELP
        "  --json                   as one JSON document\n" LK_CLI_SERVICE_HELP,
    .options =
        (const struct option[]){{"connection-string", no_argument, NULL, LK_CLI_POLICY_OPT_REVEAL},
                                {"host", required_argument, NULL, LK_CLI_POLICY_OPT_HOST},
                                {"primary", no_argument, NULL, LK_CLI_POLICY_OPT_PRIMARY},
                                {"secondary", no_argument, NULL, LK_CLI_POLICY_OPT_SECONDARY},
                                LK_CLI_SCOPE_OPTION,
                                LK_CLI_JSON_OPTION,
                                LK_CLI_SERVICE_OPTIONS,
                                LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
    .take = lk_cli_policy_take,
};

static enum lk_err
show_run(struct lk_txn *tx, void *arg)
{
    struct lk_cli_policy *c = (struct lk_cli_policy *)arg;
    enum lk_err err = lk_txn_policy_get(tx, c->policy.scope, c->policy.name, &c->policy);

    return err != LK_OK || !c->reveal ? err : lk_cli_policy_revealed(tx, c);
}

struct search {
    struct lk_policy *policy; /* with the name that is looked for */
    bool found;
};

static enum lk_err
policy_match(void *ctx, const struct lk_policy *p)
{
    struct search *f = (struct search *)ctx;

    if (strcmp(p->name, f->policy->name) == 0) {
        *f->policy = *p; /* keys are not told: nothing of it is owned */
        f->found = true;
    }
    return LK_OK;
}

static int
show_fetch(struct lk_cli_policy *c)
{
    struct search f = {.policy = &c->policy};
    enum lk_err err = lk_remote_policies(c->s.remote, policy_match, &f);

    if (err != LK_OK) {
        return lk_remote_fail(c->s.remote, err, "cannot show the policy");
    }
    return f.found ? 0 : lk_cli_fail(LK_ERR_NOT_FOUND, "cannot show the policy");
}

int
lk_cli_policy_show(int argc, char **argv)
{
    LK_AUTO_CLI_POLICY struct lk_cli_policy c = {.host = NULL};
    int code;
    enum lk_err err;

    if (!lk_cli_policy_options(&c, &show_form, argc, argv, &code)) {
        return code;
    }
    if (!c.reveal && (c.host != NULL || c.slot != 0)) {
        return lk_cli_usage(show_form.usage,
                            "--host, --primary and --secondary go with --connection-string");
    }
    c.slot = c.slot != 0 ? c.slot : LK_POLICY_PRIMARY;
    if (c.reveal && (code = lk_cli_store_needed(&c.common)) != 0) {
        return code;
    }
    if ((code = lk_cli_policy_open(&c, c.reveal ? LK_CLI_WRITE : LK_CLI_READ)) != 0 ||
        (code = lk_cli_policy_host(&c)) != 0) {
        return code;
    }
    if (c.s.remote != NULL) {
        return (code = show_fetch(&c)) != 0 ? code : lk_cli_policy_tell(&c, NULL);
    }
    err = c.reveal ? lk_store_write_wait(c.s.session, show_run, &c)
                   : lk_store_read_wait(c.s.session, show_run, &c);
    return err == LK_OK ? lk_cli_policy_print(&c)
                        : lk_cli_store_fail(err, "cannot show the policy");
}
