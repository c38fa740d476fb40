/* latchkey group: enrollment groups, by which devices without an enrollment of their own register.
 */
#include "cli/cmd_group.h"

#include <string.h>

void
lk_cli_group_fini(struct lk_cli_group *c)
{
    lk_enrollment_fini(&c->g);
    lk_cli_terms_fini(&c->terms);
    lk_shared_keys_wipe(&c->keys);
    lk_cli_service_close(&c->s);
}

void
lk_cli_group_init(struct lk_cli_group *c)
{
    memset(c, 0, sizeof(*c));
    lk_enrollment_init(&c->g);
}

bool
lk_cli_group_begin(struct lk_cli_group *c, const struct lk_cli_form *form,
                   enum lk_cli_access access, int argc, char **argv, int *ret_code)
{
    char shown[LK_CLI_SHOWN_CAP];

    if (!lk_cli_options(form, argc, argv, &c->common, c, ret_code)) {
        return false;
    }
    c->id = argv[optind];
    if (!lk_registration_id_ok(c->id, strlen(c->id))) {
        lk_cli_note("\"%s\" is no name of a group: 1 to %u letters, digits, '-', '.', '_' and ':' "
                    "with a letter, digit or '-' last are",
                    lk_cli_shown(c->id, shown), LK_REGISTRATION_ID_MAX);
        *ret_code = lk_err_exit_code(LK_ERR_FORMAT);
        return false;
    }
    return (*ret_code = lk_cli_target_open(&c->common, access, &c->s)) == 0 &&
           (*ret_code = lk_cli_scope(&c->s, c->common.scope, c->scope)) == 0;
}

int
lk_cli_group_fail(enum lk_err err, const struct lk_cli_group *c, const char *what)
{
    if (c->s.remote != NULL) {
        return lk_remote_fail(c->s.remote, err, what);
    }
    switch (err) {
    case LK_ERR_NOT_FOUND:
        lk_cli_note("%s: there is no group %s in %s", what, c->id, c->scope);
        return lk_err_exit_code(err);
    case LK_ERR_EXISTS:
        lk_cli_note("%s: there is a group %s in %s already", what, c->id, c->scope);
        return lk_err_exit_code(err);
    case LK_ERR_LIMIT:
        lk_cli_note("%s: %s has as many groups as a scope can have, %u", what, c->scope,
                    LK_GROUPS_MAX);
        return lk_err_exit_code(err);
    case LK_ERR_FORMAT:
        lk_cli_note("%s: %s: %s", what, c->problem.field, c->problem.reason);
        return lk_err_exit_code(err);
    default:
        return lk_cli_store_fail(err, what);
    }
}

enum lk_err
lk_cli_group_fetch(struct lk_cli_group *c)
{
    return lk_remote_entity_get(c->s.remote, LK_ENTITY_GROUP, c->id, &c->g);
}

enum lk_err
lk_cli_group_send(struct lk_cli_group *c)
{
    char etag[LK_ETAG_CAP];

    memcpy(etag, c->g.etag, sizeof(etag));
    return lk_remote_entity_put(c->s.remote, LK_ENTITY_GROUP, NULL, etag, &c->g);
}

enum lk_err
lk_cli_group_audit(struct lk_txn *tx, const struct lk_cli_group *c, const char *action,
                   const char *detail)
{
    return lk_txn_audit_append(tx, c->s.actor, action, c->scope, c->g.id, detail);
}

/* ---- show and list --------------------------------------------------------------------------- */

static const struct lk_cli_form show_form = {
    .usage = "latchkey group show NAME [--scope ID] [--json] [SERVICE]",
    .help = "Show one group.\n\n" LK_CLI_SCOPE_HELP LK_CLI_JSON_HELP LK_CLI_SERVICE_HELP,
    .options = (const struct option[]){LK_CLI_SCOPE_OPTION, LK_CLI_JSON_OPTION,
                                       LK_CLI_SERVICE_OPTIONS, LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
};

const char *
lk_cli_group_status(const struct lk_enrollment *g)
{
    return g->enabled ? "enabled" : "disabled";
}

/* A new object; NULL when out of memory. */
static json_t *
group_json(const struct lk_enrollment *g)
{
    char created[LK_CLI_TIME_CAP], updated[LK_CLI_TIME_CAP];
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "scope", g->scope, "enrollmentGroupId",
                          g->id, "provisioningStatus", lk_cli_group_status(g), "etag", g->etag,
                          "created", lk_cli_time(g->created_ms, created), "updated",
                          lk_cli_time(g->updated_ms, updated));
    bool ok = o != NULL && lk_cli_attestation_json(g, o) == LK_OK &&
              lk_cli_group_rules_json(g, o) == LK_OK && lk_cli_terms_json(g, o) == LK_OK;

    if (!ok) {
        json_decref(o);
        return NULL;
    }
    return o;
}

static void
group_print(struct lk_enrollment *g)
{
    char time[LK_CLI_TIME_CAP];

    (void)printf("ID scope          %s\ngroup             %s\nstatus            %s\n", g->scope,
                 g->id, lk_cli_group_status(g));
    lk_cli_attestation_print(g);
    lk_cli_group_rules_print(g);
    lk_cli_terms_print(g);
    (void)printf("created           %s\n", lk_cli_time(g->created_ms, time));
    (void)printf("updated           %s\n", lk_cli_time(g->updated_ms, time));
}

enum lk_err
lk_cli_group_get_run(struct lk_txn *tx, void *arg)
{
    struct lk_cli_group *c = (struct lk_cli_group *)arg;

    return lk_txn_group_get(tx, c->scope, c->id, &c->g);
}

static int
group_show(int argc, char **argv)
{
    LK_AUTO_CLI_GROUP c;
    LK_AUTO(json) json_t *o = NULL;
    int code;
    enum lk_err err;

    lk_cli_group_init(&c);
    if (!lk_cli_group_begin(&c, &show_form, LK_CLI_READ, argc, argv, &code)) {
        return code;
    }
    err = c.s.remote != NULL ? lk_cli_group_fetch(&c)
                             : lk_store_read_wait(c.s.session, lk_cli_group_get_run, &c);
    if (err != LK_OK) {
        return lk_cli_group_fail(err, &c, "cannot show the group");
    }
    if (!c.common.json) {
        group_print(&c.g);
        return 0;
    }
    o = group_json(&c.g);
    return o == NULL ? lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer") : lk_cli_print_json(o);
}

static const struct lk_cli_form list_form = {
    .usage = "latchkey group list [--scope ID] [--json] [SERVICE]",
    .help = "List the groups of an ID scope.\n\n" LK_CLI_SCOPE_HELP LK_CLI_JSON_HELP
        LK_CLI_SERVICE_HELP,
    .options = (const struct option[]){LK_CLI_SCOPE_OPTION, LK_CLI_JSON_OPTION,
                                       LK_CLI_SERVICE_OPTIONS, LK_CLI_END_OPTIONS},
};

static enum lk_err
group_put(void *ctx, const struct lk_enrollment *g)
{
    struct lk_cli_listing *l = (struct lk_cli_listing *)ctx;
    char updated[LK_CLI_TIME_CAP];
    enum lk_err err;

    l->rows_count++;
    if ((err = lk_strcpy(l->last, sizeof(l->last), g->id)) != LK_OK) {
        return err;
    }
    return l->json ? lk_cli_put_json(&l->text, group_json(g))
                   : lk_buf_printf(&l->text, "%-40s %-8s %-14s %s\n", g->id, lk_cli_group_status(g),
                                   lk_cli_attestation_name(g->attestation),
                                   lk_cli_time(g->updated_ms, updated));
}

static enum lk_err
groups_page(struct lk_txn *tx, struct lk_cli_listing *l, size_t limit)
{
    return lk_txn_group_page(tx, (const char *)l->ctx, l->after, limit, group_put, l);
}

static enum lk_err
groups_fetch(struct lk_remote *r, struct lk_cli_listing *l)
{
    return lk_remote_entity_page(r, LK_ENTITY_GROUP, l->continuation, group_put, l);
}

static int
group_list(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    char scope[LK_ID_SCOPE_MAX + 1];
    struct lk_cli_listing list = {
        .page = groups_page,
        .remote_page = groups_fetch,
        .what = "cannot list the groups",
        .head = "GROUP                                    STATUS   ATTESTATION    UPDATED",
        .ctx = scope};
    struct lk_cli_common common = {.json = false};
    int code;

    if (!lk_cli_options(&list_form, argc, argv, &common, NULL, &code) ||
        (code = lk_cli_target_open(&common, LK_CLI_READ, &s)) != 0 ||
        (code = lk_cli_scope(&s, common.scope, scope)) != 0) {
        return code;
    }
    list.json = common.json;
    return lk_cli_list(&s, &list);
}

/* ---- set ------------------------------------------------------------------------------------- */

static enum lk_err
set_take(void *ctx, int option, const char *value)
{
    return lk_cli_terms_take(&((struct lk_cli_group *)ctx)->terms, option, value);
}

static const struct lk_cli_form set_form = {
    .usage = "latchkey group set NAME [--any-hub] " LK_CLI_TERMS_USAGE "\n"
             "         [--scope ID] [SERVICE]",
    .help = "Change on what terms the devices of a group are given to hubs. What is not named\n"
            "stays. Devices that are assigned already may be given another hub when they\n"
            "register again.\n\n"
            "  --any-hub                assign to any linked hub again\n" LK_CLI_TERMS_HELP
                LK_CLI_SCOPE_HELP LK_CLI_SERVICE_HELP,
    .options =
        (const struct option[]){LK_CLI_ANY_HUB_OPTION, LK_CLI_TERMS_OPTIONS, LK_CLI_SCOPE_OPTION,
                                LK_CLI_SERVICE_OPTIONS, LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
    .take = set_take,
};

static enum lk_err
set_run(struct lk_txn *tx, void *arg)
{
    struct lk_cli_group *c = (struct lk_cli_group *)arg;
    LK_AUTO(json) json_t *detail = json_object();
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    enum lk_err err;

    if ((err = lk_cli_group_get_run(tx, arg)) != LK_OK ||
        (err = lk_cli_terms_apply(&c->terms, &c->g)) != LK_OK ||
        (err = lk_enrollment_check(tx, &c->g, &c->problem)) != LK_OK ||
        (err = lk_txn_group_replace(tx, &c->g, NULL)) != LK_OK) {
        return err;
    }
    if (detail == NULL || lk_cli_terms_record(&c->g, detail) != LK_OK ||
        lk_json_write(detail, &text) != LK_OK || lk_buf_text(&text) == NULL) {
        return LK_ERR_NOMEM;
    }
    return lk_cli_group_audit(tx, c, "group.update", lk_buf_text(&text));
}

static enum lk_err
set_send(struct lk_cli_group *c)
{
    enum lk_err err = lk_cli_group_fetch(c);

    if (err != LK_OK || (err = lk_cli_terms_apply(&c->terms, &c->g)) != LK_OK) {
        return err;
    }
    return lk_cli_group_send(c);
}

static int
group_set(int argc, char **argv)
{
    LK_AUTO_CLI_GROUP c;
    const char *objection;
    int code;
    enum lk_err err;

    lk_cli_group_init(&c);
    if (!lk_cli_group_begin(&c, &set_form, LK_CLI_WRITE, argc, argv, &code)) {
        return code;
    }
    objection = lk_cli_terms_are_given(&c.terms) ? lk_cli_terms_objection(&c.terms)
                                                 : "what to change is needed";
    if (objection != NULL) {
        return lk_cli_usage(set_form.usage, "%s", objection);
    }
    if ((code = lk_cli_terms_read(&c.terms)) != 0) {
        return code;
    }
    err = c.s.remote != NULL ? set_send(&c) : lk_store_write_wait(c.s.session, set_run, &c);
    return err == LK_OK ? 0 : lk_cli_group_fail(err, &c, "cannot change the group");
}
/* ---- remove ---------------------------------------------------------------------------------- */

static const struct lk_cli_form remove_form = {
    .usage = "latchkey group remove NAME [--scope ID] [SERVICE]",
    .help = "Forget a group. What its devices have at their hubs stays.\n\n" LK_CLI_SCOPE_HELP
        LK_CLI_SERVICE_HELP,
    .options =
        (const struct option[]){LK_CLI_SCOPE_OPTION, LK_CLI_SERVICE_OPTIONS, LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
};

static enum lk_err
remove_run(struct lk_txn *tx, void *arg)
{
    struct lk_cli_group *c = (struct lk_cli_group *)arg;
    enum lk_err err;

    if ((err = lk_cli_group_get_run(tx, arg)) != LK_OK ||
        (err = lk_txn_group_delete(tx, c->scope, c->id, NULL)) != LK_OK) {
        return err;
    }
    return lk_cli_group_audit(tx, c, "group.delete", "");
}

static enum lk_err
remove_send(struct lk_cli_group *c)
{
    enum lk_err err = lk_cli_group_fetch(c); /* for its name as it is spelt there */

    return err != LK_OK ? err : lk_remote_entity_delete(c->s.remote, LK_ENTITY_GROUP, c->id);
}

static int
group_remove(int argc, char **argv)
{
    LK_AUTO_CLI_GROUP c;
    int code;
    enum lk_err err;

    lk_cli_group_init(&c);
    if (!lk_cli_group_begin(&c, &remove_form, LK_CLI_WRITE, argc, argv, &code)) {
        return code;
    }
    err = c.s.remote != NULL ? remove_send(&c) : lk_store_write_wait(c.s.session, remove_run, &c);
    if (err != LK_OK) {
        return lk_cli_group_fail(err, &c, "cannot remove the group");
    }
    lk_cli_note("the group %s is removed", c.g.id);
    return 0;
}
/* ---- the table ------------------------------------------------------------------------------- */

int
lk_cmd_group(int argc, char **argv)
{
    static const struct lk_command commands[] = {
        {"add", lk_cli_group_add, "admit devices by a key, or by who signs their certificates"},
        {"show", group_show, "show one group"},
        {"list", group_list, "list the groups"},
        {"set", group_set, "change to which hubs the devices of a group go"},
        {"enable", lk_cli_group_enable, "let the devices of a group register again"},
        {"disable", lk_cli_group_disable, "refuse the devices of a group"},
        {"remove", group_remove, "forget a group"},
        {"keys", lk_cli_group_keys, "tell the symmetric keys of a group"},
        {"device-key", lk_cli_group_device_key, "derive the key of one device of a group"},
        {NULL, NULL, NULL},
    };

    return lk_cli_dispatch(commands, "latchkey group", argc, argv);
}
