/* latchkey group: enrollment groups, by which devices without an enrollment of their own register.
 */
#include <inttypes.h>
#include <string.h>

#include "base/codec.h"
#include "cli/attestation.h"
#include "cli/ban.h"
#include "cli/group_rules.h"
#include "cli/terms.h"
#include "provision/enrollment.h"

#define BAN_BATCH 200u /* devices that one transaction bans */

/* One group that a command works on, in one transaction. */
struct group_call {
    struct lk_cli_service s;
    struct lk_cli_common common;
    struct lk_cli_attestation attestation;
    struct lk_cli_group_rules rules;
    struct lk_cli_terms terms;
    char root[2 * LK_EK_FINGERPRINT_LEN + 1]; /* that is not imported; "": none */
    bool disabled;
    char scope[LK_ID_SCOPE_MAX + 1];
    const char *id; /* as typed */
    struct lk_enrollment g;
    struct lk_shared_keys keys;         /* secret: given for a service elsewhere, or told by one */
    struct lk_manifest_problem problem; /* set with LK_ERR_FORMAT */
    bool enabled;                       /* enable, disable: what is asked for */
    bool changed;
    struct lk_cli_ban ban;
    char after[LK_REGISTRATION_ID_MAX + 1]; /* registration that a batch begins after */
    char last[LK_REGISTRATION_ID_MAX + 1];  /* and that it ended with; "": there is no more */
    struct lk_ban_count batch;
};

static void
group_call_fini(struct group_call *c)
{
    lk_enrollment_fini(&c->g);
    lk_cli_terms_fini(&c->terms);
    lk_shared_keys_wipe(&c->keys);
    lk_cli_service_close(&c->s);
}
#define AUTO_GROUP_CALL __attribute__((cleanup(group_call_fini))) struct group_call

static void
group_call_init(struct group_call *c)
{
    memset(c, 0, sizeof(*c));
    lk_enrollment_init(&c->g);
}

/* Read the options, and open the store for the group that the first word names. False when the
 * command is over, with its exit code in *ret_code. */
static bool
group_begin(struct group_call *c, const struct lk_cli_form *form, enum lk_cli_access access,
            int argc, char **argv, int *ret_code)
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

static int
group_fail(enum lk_err err, const struct group_call *c, const char *what)
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

/* At the service elsewhere. */
static enum lk_err
group_fetch(struct group_call *c)
{
    return lk_remote_entity_get(c->s.remote, LK_ENTITY_GROUP, c->id, &c->g);
}

/* What was fetched and changed; refused if somebody else was faster. */
static enum lk_err
group_send(struct group_call *c)
{
    char etag[LK_ETAG_CAP];

    memcpy(etag, c->g.etag, sizeof(etag));
    return lk_remote_entity_put(c->s.remote, LK_ENTITY_GROUP, NULL, etag, &c->g);
}

static enum lk_err
group_audit(struct lk_txn *tx, const struct group_call *c, const char *action, const char *detail)
{
    return lk_txn_audit_append(tx, c->s.actor, action, c->scope, c->g.id, detail);
}

/* ---- add ------------------------------------------------------------------------------------- */

enum { OPT_DISABLED = LK_CLI_OPT_COMMAND };

static enum lk_err
add_take(void *ctx, int option, const char *value)
{
    struct group_call *c = (struct group_call *)ctx;

    if (option == OPT_DISABLED) {
        c->disabled = true;
        return LK_OK;
    }
    if (lk_cli_terms_is(option)) {
        return lk_cli_terms_take(&c->terms, option, value);
    }
    return lk_cli_group_rules_is(option) ? lk_cli_group_rules_take(&c->rules, option, value)
                                         : lk_cli_attestation_take(&c->attestation, option, value);
}

static const struct lk_cli_form add_form = {
    .usage = "latchkey group add NAME\n"
             "         --symmetric-key [--primary-key-file FILE] [--secondary-key-file FILE] |\n"
             "         --signing-certificate FILE [--signing-certificate FILE] |\n"
             "         --ek-certificate --root FINGERPRINT... [--vendor ID]... [--model NAME]...\n"
             "           [--issuer NAME]... [--firmware-min ID] [--firmware-max ID] [--quota N]\n"
             "           [--not-before TIME] [--not-after TIME] [--any-registration-id]\n"
             "         [--disabled] " LK_CLI_TERMS_USAGE "\n"
             "         [--scope ID] [SERVICE]",
    .help =
        "Let devices register that have no enrollment of their own. An enrollment of a device's\n"
        "own always comes first: to refuse one member, give it one that is disabled.\n\n"
        "  --symmetric-key          a device has the key that `latchkey group device-key` derives\n"
        "                           for it from a key of the group's: a fresh one, or that of\n"
        "  --primary-key-file FILE  (- is stdin): base64 of 16 to 64 bytes; and as second key of\n"
        "  --secondary-key-file FILE\n"
        "  --signing-certificate FILE\n"
        "                           a device has a TLS client certificate with its registration "
        "ID\n"
        "                           as common name, signed by this authority or one below it; "
        "again\n"
        "                           for the authority's next certificate\n"
        "  --ek-certificate         a device has a TPM, and sends its maker's certificate of the\n"
        "                           endorsement key, which leads to\n"
        "  --root FINGERPRINT       a root of `latchkey trust list`: all 64 digits; again for "
        "more\n"
        "  --vendor ID              only these TPM makers, like INTC or id:494E5443; again for "
        "more,\n"
        "  --model NAME             models, and\n"
        "  --issuer NAME            issuers of certificates, as RFC 2253 writes names\n"
        "  --firmware-min ID        the lowest TPM version that is admitted, like id:00020008\n"
        "  --firmware-max ID        the highest\n"
        "  --quota N                at most so many devices\n"
        "  --not-before TIME        they register from then on (2026-01-31T00:00:00Z)\n"
        "  --not-after TIME         and no more from then on, also again\n"
        "  --any-registration-id    a device may choose its ID; default: the one derived from its\n"
        "                           endorsement key\n"
        "  --disabled               refuse them until the group is enabled\n" LK_CLI_TERMS_HELP
            LK_CLI_SCOPE_HELP LK_CLI_SERVICE_HELP,
    .options = (const struct option[]){LK_CLI_SYMMETRIC_OPTIONS,
                                       LK_CLI_GROUP_RULES_OPTIONS,
                                       {"signing-certificate", required_argument, NULL,
                                        LK_CLI_OPT_CERTIFICATE},
                                       LK_CLI_TERMS_OPTIONS,
                                       {"disabled", no_argument, NULL, OPT_DISABLED},
                                       LK_CLI_SCOPE_OPTION,
                                       LK_CLI_SERVICE_OPTIONS,
                                       LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
    .take = add_take,
};

static int
add_fill(struct group_call *c)
{
    enum lk_err err;

    c->g.enabled = !c->disabled;
    if ((err = lk_cli_terms_apply(&c->terms, &c->g)) != LK_OK ||
        (err = lk_strcpy(c->g.scope, sizeof(c->g.scope), c->scope)) != LK_OK ||
        (err = lk_strcpy(c->g.id, sizeof(c->g.id), c->id)) != LK_OK) {
        return lk_cli_fail(err, "cannot add the group");
    }
    return c->rules.asked
               ? lk_cli_group_rules_fill(&c->rules, &c->g)
               : lk_cli_attestation_fill(&c->attestation, &c->s, LK_KEYS_OF_GROUP, &c->keys, &c->g);
}

/* The audit record names the certificates: what was trusted is the point of it. */
static enum lk_err
add_run(struct lk_txn *tx, void *arg)
{
    struct group_call *c = (struct group_call *)arg;
    LK_AUTO(json) json_t *detail = json_object();
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    enum lk_err err;

    c->root[0] = '\0';
    if ((c->rules.asked && (err = lk_enrollment_roots_check(tx, &c->g, c->root)) != LK_OK) ||
        (err = lk_enrollment_check(tx, &c->g, &c->problem)) != LK_OK ||
        (err = lk_txn_group_create(tx, &c->g)) != LK_OK) {
        return err;
    }
    if (detail == NULL || lk_cli_attestation_json(&c->g, detail) != LK_OK ||
        lk_cli_group_rules_json(&c->g, detail) != LK_OK ||
        lk_cli_terms_record(&c->g, detail) != LK_OK || lk_json_write(detail, &text) != LK_OK ||
        lk_buf_text(&text) == NULL) {
        return LK_ERR_NOMEM;
    }
    return group_audit(tx, c, "group.create", lk_buf_text(&text));
}

static int
group_add(int argc, char **argv)
{
    AUTO_GROUP_CALL c;
    const char *objection;
    int code;
    enum lk_err err;

    group_call_init(&c);
    if (!group_begin(&c, &add_form, LK_CLI_WRITE, argc, argv, &code)) {
        return code;
    }
    if (lk_cli_attestation_ways(&c.attestation) + (c.rules.asked ? 1u : 0u) != 1) {
        return lk_cli_usage(add_form.usage, "one of --symmetric-key, --signing-certificate and "
                                            "--ek-certificate is needed");
    }
    if (c.rules.asked ? c.rules.rules.roots_count == 0 : c.rules.is_odd) {
        return lk_cli_usage(add_form.usage,
                            "--ek-certificate needs a --root, and rules go with it only");
    }
    if (lk_cli_attestation_is_odd(&c.attestation)) {
        return lk_cli_usage(add_form.usage, "key files go with --symmetric-key");
    }
    if ((objection = lk_cli_terms_objection(&c.terms)) != NULL) {
        return lk_cli_usage(add_form.usage, "%s", objection);
    }
    if ((code = lk_cli_terms_read(&c.terms)) != 0 || (code = add_fill(&c)) != 0) {
        return code;
    }
    err = c.s.remote != NULL
              ? lk_remote_entity_put(c.s.remote, LK_ENTITY_GROUP, &c.keys, NULL, &c.g)
              : lk_store_write_wait(c.s.session, add_run, &c);
    if (err != LK_OK) {
        if (c.root[0] != '\0') {
            lk_cli_note("no root %s is imported: latchkey trust add --root", c.root);
            return lk_err_exit_code(err);
        }
        return group_fail(err, &c, "cannot add the group");
    }
    if (c.s.remote != NULL && c.rules.asked) {
        lk_cli_note(
            "devices register once its roots are imported on the service's machine: latchkey "
            "trust list");
    }
    lk_cli_note("the group %s is in %s%s", c.g.id,
                c.g.scope[0] != '\0' ? c.g.scope : lk_remote_name(c.s.remote),
                c.g.enabled ? "" : ", disabled");
    return 0;
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

static const char *
status_name(const struct lk_enrollment *g)
{
    return g->enabled ? "enabled" : "disabled";
}

/* A new object; NULL when out of memory. */
static json_t *
group_json(const struct lk_enrollment *g)
{
    char created[LK_CLI_TIME_CAP], updated[LK_CLI_TIME_CAP];
    json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s}", "scope", g->scope, "enrollmentGroupId",
                          g->id, "provisioningStatus", status_name(g), "etag", g->etag, "created",
                          lk_cli_time(g->created_ms, created), "updated",
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
                 g->id, status_name(g));
    lk_cli_attestation_print(g);
    lk_cli_group_rules_print(g);
    lk_cli_terms_print(g);
    (void)printf("created           %s\n", lk_cli_time(g->created_ms, time));
    (void)printf("updated           %s\n", lk_cli_time(g->updated_ms, time));
}

static enum lk_err
get_run(struct lk_txn *tx, void *arg)
{
    struct group_call *c = (struct group_call *)arg;

    return lk_txn_group_get(tx, c->scope, c->id, &c->g);
}

static int
group_show(int argc, char **argv)
{
    AUTO_GROUP_CALL c;
    LK_AUTO(json) json_t *o = NULL;
    int code;
    enum lk_err err;

    group_call_init(&c);
    if (!group_begin(&c, &show_form, LK_CLI_READ, argc, argv, &code)) {
        return code;
    }
    err = c.s.remote != NULL ? group_fetch(&c) : lk_store_read_wait(c.s.session, get_run, &c);
    if (err != LK_OK) {
        return group_fail(err, &c, "cannot show the group");
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
                   : lk_buf_printf(&l->text, "%-40s %-8s %-14s %s\n", g->id, status_name(g),
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
    return lk_cli_terms_take(&((struct group_call *)ctx)->terms, option, value);
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
    struct group_call *c = (struct group_call *)arg;
    LK_AUTO(json) json_t *detail = json_object();
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    enum lk_err err;

    if ((err = get_run(tx, arg)) != LK_OK ||
        (err = lk_cli_terms_apply(&c->terms, &c->g)) != LK_OK ||
        (err = lk_enrollment_check(tx, &c->g, &c->problem)) != LK_OK ||
        (err = lk_txn_group_replace(tx, &c->g, NULL)) != LK_OK) {
        return err;
    }
    if (detail == NULL || lk_cli_terms_record(&c->g, detail) != LK_OK ||
        lk_json_write(detail, &text) != LK_OK || lk_buf_text(&text) == NULL) {
        return LK_ERR_NOMEM;
    }
    return group_audit(tx, c, "group.update", lk_buf_text(&text));
}

static enum lk_err
set_send(struct group_call *c)
{
    enum lk_err err = group_fetch(c);

    if (err != LK_OK || (err = lk_cli_terms_apply(&c->terms, &c->g)) != LK_OK) {
        return err;
    }
    return group_send(c);
}

static int
group_set(int argc, char **argv)
{
    AUTO_GROUP_CALL c;
    const char *objection;
    int code;
    enum lk_err err;

    group_call_init(&c);
    if (!group_begin(&c, &set_form, LK_CLI_WRITE, argc, argv, &code)) {
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
    return err == LK_OK ? 0 : group_fail(err, &c, "cannot change the group");
}

/* ---- enable, disable, remove ----------------------------------------------------------------- */

#define PLAIN_OPTIONS                                                                              \
    (const struct option[])                                                                        \
    {                                                                                              \
        LK_CLI_SCOPE_OPTION, LK_CLI_SERVICE_OPTIONS, LK_CLI_END_OPTIONS                            \
    }

static enum lk_err
status_run(struct lk_txn *tx, void *arg)
{
    struct group_call *c = (struct group_call *)arg;
    enum lk_err err = get_run(tx, arg);

    c->changed = err == LK_OK && c->g.enabled != c->enabled;
    if (!c->changed) {
        return err;
    }
    c->g.enabled = c->enabled;
    err = lk_txn_group_replace(tx, &c->g, NULL);
    return err != LK_OK ? err
                        : group_audit(tx, c, "group.update",
                                      c->enabled ? "{\"provisioningStatus\":\"enabled\"}"
                                                 : "{\"provisioningStatus\":\"disabled\"}");
}

static enum lk_err
status_send(struct group_call *c)
{
    enum lk_err err = group_fetch(c);

    c->changed = err == LK_OK && c->g.enabled != c->enabled;
    if (!c->changed) {
        return err;
    }
    c->g.enabled = c->enabled;
    return group_send(c);
}

static enum lk_err
status_take(void *ctx, int option, const char *value)
{
    return lk_cli_ban_take(&((struct group_call *)ctx)->ban, option, value);
}

static enum lk_err
ban_run(struct lk_txn *tx, void *arg)
{
    struct group_call *c = (struct group_call *)arg;
    struct lk_ban ban;

    c->batch = (struct lk_ban_count){0, 0, 0};
    c->last[0] = '\0';
    if (!lk_cli_ban_is_due(&c->ban, c->enabled, c->s.actor, &ban)) {
        return LK_OK;
    }
    return lk_hub_ban_group(tx, &ban, c->scope, c->g.id, c->after, BAN_BATCH, &c->batch, c->last);
}

/*
 * The members at their hubs, in batches: none can register while the group is disabled, so none is
 * missed, and a run that was cut short is taken up by running it again.
 */
static enum lk_err
members_ban(struct group_call *c, struct lk_ban_count *ret)
{
    enum lk_err err;

    do {
        if ((err = lk_store_write_wait(c->s.session, ban_run, c)) != LK_OK) {
            return err;
        }
        ret->done += c->batch.done;
        ret->elsewhere += c->batch.elsewhere;
        memcpy(c->after, c->last, sizeof(c->after));
    } while (c->last[0] != '\0');
    return LK_OK;
}

static void
members_tell(const struct group_call *c, const struct lk_ban_count *count)
{
    if (c->ban.asked || count->done > 0) {
        lk_cli_note("%" PRIu64 " of its devices %s", count->done,
                    c->enabled ? "are let in again at their hubs" : "are banned at their hubs");
    }
    if (count->elsewhere > 0 && !c->enabled) {
        lk_cli_note("%" PRIu64 " are at hubs that are not ours: disable them there too",
                    count->elsewhere);
    }
}

static int
status_set(const struct lk_cli_form *form, bool enabled, int argc, char **argv)
{
    AUTO_GROUP_CALL c;
    struct lk_ban_count count = {0, 0, 0};
    int code;
    enum lk_err err;

    group_call_init(&c);
    c.enabled = enabled;
    if (!group_begin(&c, form, LK_CLI_WRITE, argc, argv, &code)) {
        return code;
    }
    if (c.ban.reason != NULL && !c.ban.asked) {
        return lk_cli_usage(form->usage, "--reason goes with --ban");
    }
    if (c.ban.asked && (code = lk_cli_store_needed(&c.common)) != 0) {
        return code;
    }
    err = c.s.remote != NULL ? status_send(&c) : lk_store_write_wait(c.s.session, status_run, &c);
    if (err != LK_OK) {
        return group_fail(err, &c, "cannot change the group");
    }
    lk_cli_note("the group %s is %s%s", c.g.id, status_name(&c.g), c.changed ? "" : " already");
    if (c.s.remote == NULL && (err = members_ban(&c, &count)) != LK_OK) {
        return lk_cli_store_fail(err, "cannot change its devices at their hubs");
    }
    members_tell(&c, &count);
    return 0;
}

static const struct lk_cli_form enable_form = {
    .usage = "latchkey group enable NAME [--scope ID] [SERVICE]",
    .help =
        "Let the devices of a group register again, and lift their bans (see `latchkey group\n"
        "disable`), where the service is this machine's.\n\n" LK_CLI_SCOPE_HELP LK_CLI_SERVICE_HELP,
    .options = PLAIN_OPTIONS,
    .words_min = 1,
    .words_max = 1,
};

static int
group_enable(int argc, char **argv)
{
    return status_set(&enable_form, true, argc, argv);
}

static const struct lk_cli_form disable_form = {
    .usage = "latchkey group disable NAME [--ban [--reason TEXT]] [--scope ID] [SERVICE]",
    .help =
        "Refuse the devices of a group that register. What they have at their hubs stays,\n"
        "unless they are banned.\n\n"
        "  --ban                    disable them at their embedded hubs too, which ends their\n"
        "                           sessions; `latchkey group enable` lifts that\n"
        "  --reason TEXT            for the hubs' operators, at most 120 bytes\n" LK_CLI_SCOPE_HELP
            LK_CLI_SERVICE_HELP,
    .options = (const struct option[]){LK_CLI_BAN_OPTIONS, LK_CLI_SCOPE_OPTION,
                                       LK_CLI_SERVICE_OPTIONS, LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
    .take = status_take,
};

static int
group_disable(int argc, char **argv)
{
    return status_set(&disable_form, false, argc, argv);
}

static const struct lk_cli_form remove_form = {
    .usage = "latchkey group remove NAME [--scope ID] [SERVICE]",
    .help = "Forget a group. What its devices have at their hubs stays.\n\n" LK_CLI_SCOPE_HELP
        LK_CLI_SERVICE_HELP,
    .options = PLAIN_OPTIONS,
    .words_min = 1,
    .words_max = 1,
};

static enum lk_err
remove_run(struct lk_txn *tx, void *arg)
{
    struct group_call *c = (struct group_call *)arg;
    enum lk_err err;

    if ((err = get_run(tx, arg)) != LK_OK ||
        (err = lk_txn_group_delete(tx, c->scope, c->id, NULL)) != LK_OK) {
        return err;
    }
    return group_audit(tx, c, "group.delete", "");
}

static enum lk_err
remove_send(struct group_call *c)
{
    enum lk_err err = group_fetch(c); /* for its name as it is spelt there */

    return err != LK_OK ? err : lk_remote_entity_delete(c->s.remote, LK_ENTITY_GROUP, c->id);
}

static int
group_remove(int argc, char **argv)
{
    AUTO_GROUP_CALL c;
    int code;
    enum lk_err err;

    group_call_init(&c);
    if (!group_begin(&c, &remove_form, LK_CLI_WRITE, argc, argv, &code)) {
        return code;
    }
    err = c.s.remote != NULL ? remove_send(&c) : lk_store_write_wait(c.s.session, remove_run, &c);
    if (err != LK_OK) {
        return group_fail(err, &c, "cannot remove the group");
    }
    lk_cli_note("the group %s is removed", c.g.id);
    return 0;
}

/* ---- keys, device-key ------------------------------------------------------------------------ */

static const struct lk_cli_form keys_form = {
    .usage = "latchkey group keys NAME [--scope ID] [--json] [SERVICE]",
    .help = "Tell the two symmetric keys of a group. They make the key of every device of it: no\n"
            "device should have them. That they were told is in the audit "
            "record.\n\n" LK_CLI_SCOPE_HELP LK_CLI_JSON_HELP LK_CLI_SERVICE_HELP,
    .options = (const struct option[]){LK_CLI_SCOPE_OPTION, LK_CLI_JSON_OPTION,
                                       LK_CLI_SERVICE_OPTIONS, LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
};

static const struct lk_cli_form device_key_form = {
    .usage = "latchkey group device-key NAME REGISTRATION-ID [--scope ID] [--json] [SERVICE]",
    .help =
        "Derive the key of one device from the group's primary key, and print it: it goes into\n"
        "the device, and is secret. That it was told is in the audit "
        "record.\n\n" LK_CLI_SCOPE_HELP LK_CLI_JSON_HELP LK_CLI_SERVICE_HELP,
    .options = (const struct option[]){LK_CLI_SCOPE_OPTION, LK_CLI_JSON_OPTION,
                                       LK_CLI_SERVICE_OPTIONS, LK_CLI_END_OPTIONS},
    .words_min = 2,
    .words_max = 2,
};

static enum lk_err
reveal_run(struct lk_txn *tx, void *arg)
{
    struct group_call *c = (struct group_call *)arg;
    enum lk_err err = get_run(tx, arg);

    if (err != LK_OK || c->g.attestation != LK_ATTESTATION_SYMMETRIC_KEY) {
        return err;
    }
    return group_audit(tx, c, "group.reveal", "");
}

/* The group with its keys, after the audit record that they are told. */
static bool
reveal_begin(struct group_call *c, const struct lk_cli_form *form, int argc, char **argv,
             int *ret_code)
{
    enum lk_err err;

    if (!group_begin(c, form, LK_CLI_WRITE, argc, argv, ret_code)) {
        return false;
    }
    err = c->s.remote != NULL ? group_fetch(c) : lk_store_write_wait(c->s.session, reveal_run, c);
    if (err != LK_OK) {
        *ret_code = group_fail(err, c, "cannot tell the keys");
        return false;
    }
    if (c->g.attestation != LK_ATTESTATION_SYMMETRIC_KEY) {
        lk_cli_note("the group %s has no symmetric keys: its attestation is %s", c->g.id,
                    lk_cli_attestation_name(c->g.attestation));
        *ret_code = lk_err_exit_code(LK_ERR_ARG);
        return false;
    }
    return true;
}

static int
group_keys(int argc, char **argv)
{
    AUTO_GROUP_CALL c;
    int code;

    group_call_init(&c);
    return reveal_begin(&c, &keys_form, argc, argv, &code)
               ? lk_cli_keys_print(&c.s, LK_KEYS_OF_GROUP, &c.g, c.common.json)
               : code;
}

static int
group_device_key(int argc, char **argv)
{
    AUTO_GROUP_CALL c;
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    LK_AUTO(json) json_t *o = NULL;
    char shown[LK_CLI_SHOWN_CAP];
    const char *id;
    int code;
    enum lk_err err;

    group_call_init(&c);
    if (!reveal_begin(&c, &device_key_form, argc, argv, &code)) {
        return code;
    }
    id = argv[optind + 1];
    if (!lk_registration_id_ok(id, strlen(id))) {
        lk_cli_note("\"%s\" is no registration ID", lk_cli_shown(id, shown));
        return lk_err_exit_code(LK_ERR_FORMAT);
    }
    if ((code = lk_cli_keys_get(&c.s, LK_KEYS_OF_GROUP, &c.g, &c.keys)) != 0) {
        return code;
    }
    if ((err = lk_shared_key_derive(&c.keys.primary, id, &c.keys.secondary)) != LK_OK ||
        (err = lk_shared_key_format(&c.keys.secondary, &text)) != LK_OK) {
        return lk_cli_fail(err, "cannot derive the key");
    }
    if (lk_buf_text(&text) == NULL) {
        return lk_cli_fail(LK_ERR_NOMEM, "cannot derive the key");
    }
    if (!c.common.json) {
        (void)puts(lk_buf_text(&text));
        return 0;
    }
    o = json_pack("{s:s, s:s}", "registrationId", id, "deviceKey", lk_buf_text(&text));
    return o == NULL ? lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer") : lk_cli_print_json(o);
}

int
lk_cmd_group(int argc, char **argv)
{
    static const struct lk_command commands[] = {
        {"add", group_add, "admit devices by a key, or by who signs their certificates"},
        {"show", group_show, "show one group"},
        {"list", group_list, "list the groups"},
        {"set", group_set, "change to which hubs the devices of a group go"},
        {"enable", group_enable, "let the devices of a group register again"},
        {"disable", group_disable, "refuse the devices of a group"},
        {"remove", group_remove, "forget a group"},
        {"keys", group_keys, "tell the symmetric keys of a group"},
        {"device-key", group_device_key, "derive the key of one device of a group"},
        {NULL, NULL, NULL},
    };

    return lk_cli_dispatch(commands, "latchkey group", argc, argv);
}
