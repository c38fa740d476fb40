/* latchkey enrollment: which devices may register, by the keys of their TPMs. */
#include "cli/cmd_enrollment.h"

#include <string.h>

#include "cli/attestation.h"
#include "cli/ban.h"

/* ---- what the commands share ----------------------------------------------------------------- */

void
lk_cli_enrollment_init(struct lk_cli_enrollment *c)
{
    memset(c, 0, sizeof(*c));
    lk_enrollment_init(&c->e);
}

void
lk_cli_enrollment_fini(struct lk_cli_enrollment *c)
{
    lk_enrollment_fini(&c->e);
}

int
lk_cli_enrollment_open(const struct lk_cli_common *common, enum lk_cli_access access,
                       const char *id, struct lk_cli_service *s, struct lk_cli_enrollment *c)
{
    char shown[LK_CLI_SHOWN_CAP];
    int code;

    if (!lk_registration_id_ok(id, strlen(id))) {
        lk_cli_note("\"%s\" is no registration ID: 1 to %u letters, digits, '-', '.', '_' and ':' "
                    "with a letter, digit or '-' last are",
                    lk_cli_shown(id, shown), LK_REGISTRATION_ID_MAX);
        return lk_err_exit_code(LK_ERR_FORMAT);
    }
    if ((code = lk_cli_target_open(common, access, s)) != 0) {
        return code;
    }
    c->id = id;
    c->actor = s->actor;
    c->remote = s->remote;
    return lk_cli_scope(s, common->scope, c->scope);
}

enum lk_err
lk_cli_enrollment_get(struct lk_txn *tx, struct lk_cli_enrollment *c)
{
    return lk_txn_enrollment_get(tx, c->scope, c->id, &c->e);
}

enum lk_err
lk_cli_enrollment_fetch(struct lk_cli_enrollment *c)
{
    return lk_remote_entity_get(c->remote, LK_ENTITY_ENROLLMENT, c->id, &c->e);
}

enum lk_err
lk_cli_enrollment_send(struct lk_cli_enrollment *c)
{
    char etag[LK_ETAG_CAP];

    memcpy(etag, c->e.etag, sizeof(etag));
    return lk_remote_entity_put(c->remote, LK_ENTITY_ENROLLMENT, NULL, etag, &c->e);
}

enum lk_err
lk_cli_enrollment_update(struct lk_txn *tx, struct lk_cli_enrollment *c, const char *detail)
{
    enum lk_err err = lk_txn_enrollment_replace(tx, &c->e, NULL, &c->conflict);

    return err != LK_OK
               ? err
               : lk_txn_audit_append(tx, c->actor, "enrollment.update", c->scope, c->e.id, detail);
}

static int
conflict_tell(const struct lk_cli_enrollment *c, const char *what)
{
    const struct lk_conflict *other = &c->conflict;
    const char *how = other->by_ek ? "accepts that endorsement key" : "has that registration ID";

    if (other->import_id != 0) {
        lk_cli_note("%s: %s %s (line %lld of import %lld)", what, other->id, how,
                    (long long)other->import_line, (long long)other->import_id);
    } else {
        lk_cli_note("%s: %s %s", what, other->id, how);
    }
    return lk_err_exit_code(LK_ERR_EXISTS);
}

int
lk_cli_enrollment_fail(enum lk_err err, const struct lk_cli_enrollment *c, const char *what)
{
    if (c->remote != NULL) {
        return lk_remote_fail(c->remote, err, what);
    }
    if (err == LK_ERR_EXISTS && c->conflict.id[0] != '\0') {
        return conflict_tell(c, what);
    }
    if (err == LK_ERR_FORMAT && c->problem.reason[0] != '\0') {
        lk_cli_note("%s: %s: %s", what, c->problem.field, c->problem.reason);
        return lk_err_exit_code(err);
    }
    if (err == LK_ERR_NOT_FOUND) {
        lk_cli_note("%s: there is no enrollment %s in %s", what, c->id, c->scope);
        return lk_err_exit_code(err);
    }
    return lk_cli_store_fail(err, what);
}

const char *
lk_cli_ek_id(const uint8_t id[LK_EK_ID_LEN], char buf[LK_CLI_EK_ID_CAP])
{
    for (size_t i = 0; i < LK_EK_ID_LEN; i++) {
        (void)snprintf(buf + 2 * i, 3, "%02x", id[i]);
    }
    return buf;
}

/* ---- enable, disable ------------------------------------------------------------------------- */

struct status_change {
    struct lk_cli_enrollment c; /* first: the job's argument is either */
    struct lk_cli_ban ban;
    bool enabled;
    bool changed;
    enum lk_ban_outcome outcome;
    char hub[LK_HOST_NAME_MAX + 1]; /* that the device is at */
};

static enum lk_err
status_take(void *ctx, int option, const char *value)
{
    return lk_cli_ban_take(&((struct status_change *)ctx)->ban, option, value);
}

/* Both together: a device that registers in between would be back at its hub. */
static enum lk_err
status_run(struct lk_txn *tx, void *arg)
{
    struct status_change *s = (struct status_change *)arg;
    struct lk_ban ban;
    enum lk_err err = lk_cli_enrollment_get(tx, &s->c);

    s->outcome = LK_BAN_NOTHING;
    s->changed = err == LK_OK && s->c.e.enabled != s->enabled;
    if (s->changed) {
        s->c.e.enabled = s->enabled;
        err = lk_cli_enrollment_update(tx, &s->c,
                                       s->enabled ? "{\"provisioningStatus\":\"enabled\"}"
                                                  : "{\"provisioningStatus\":\"disabled\"}");
    }
    if (err != LK_OK || !lk_cli_ban_is_due(&s->ban, s->enabled, s->c.actor, &ban)) {
        return err;
    }
    return lk_hub_ban(tx, &ban, s->c.scope, s->c.e.id, &s->outcome, s->hub);
}

static void
status_tell(const struct status_change *s)
{
    lk_cli_note("%s is %s%s", s->c.e.id, s->enabled ? "enabled" : "disabled",
                s->changed ? "" : " already");
    if (s->outcome == LK_BAN_DONE) {
        lk_cli_note("%s is %s at %s", s->c.e.id, s->enabled ? "let in again" : "banned", s->hub);
    } else if (s->outcome == LK_BAN_ELSEWHERE && !s->enabled) {
        lk_cli_note("its hub %s is not one of ours: disable the device there too", s->hub);
    } else if (s->ban.asked) {
        lk_cli_note("%s",
                    s->hub[0] == '\0' ? "it is at no hub" : "at its hub there is nothing to do");
    }
}

static void
status_change_fini(struct status_change *s)
{
    lk_cli_enrollment_fini(&s->c);
}

static enum lk_err
status_send(struct status_change *s)
{
    enum lk_err err = lk_cli_enrollment_fetch(&s->c);

    s->outcome = LK_BAN_NOTHING; /* the API knows no bans */
    s->changed = err == LK_OK && s->c.e.enabled != s->enabled;
    if (!s->changed) {
        return err;
    }
    s->c.e.enabled = s->enabled;
    return lk_cli_enrollment_send(&s->c);
}

static int
status_set(const struct lk_cli_form *form, bool enabled, int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    __attribute__((cleanup(status_change_fini))) struct status_change change = {.enabled = enabled};
    struct lk_cli_common common = {.json = false};
    int code;
    enum lk_err err;

    lk_cli_enrollment_init(&change.c);
    if (!lk_cli_options(form, argc, argv, &common, &change, &code)) {
        return code;
    }
    if (change.ban.reason != NULL && !change.ban.asked) {
        return lk_cli_usage(form->usage, "--reason goes with --ban");
    }
    if ((change.ban.asked && (code = lk_cli_store_needed(&common)) != 0) ||
        (code = lk_cli_enrollment_open(&common, LK_CLI_WRITE, argv[optind], &s, &change.c)) != 0) {
        return code;
    }
    err = s.remote != NULL ? status_send(&change)
                           : lk_store_write_wait(s.session, status_run, &change);
    if (err != LK_OK) {
        return lk_cli_enrollment_fail(err, &change.c, "cannot change the enrollment");
    }
    status_tell(&change);
    return 0;
}

static const struct lk_cli_form enable_form = {
    .usage = "latchkey enrollment enable ID [--scope ID] [SERVICE]",
    .help =
        "Let a device register again, and lift a ban (see `latchkey enrollment disable`), where\n"
        "the service is this machine's.\n\n" LK_CLI_SCOPE_HELP LK_CLI_SERVICE_HELP,
    .options =
        (const struct option[]){LK_CLI_SCOPE_OPTION, LK_CLI_SERVICE_OPTIONS, LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
};

static int
enrollment_enable(int argc, char **argv)
{
    return status_set(&enable_form, true, argc, argv);
}

static const struct lk_cli_form disable_form = {
    .usage = "latchkey enrollment disable ID [--ban [--reason TEXT]] [--scope ID] [SERVICE]",
    .help =
        "Refuse a device that registers, as if it were unknown. What it has at its hub stays,\n"
        "unless it is banned.\n\n"
        "  --ban                    disable it at its embedded hub in the same moment, which ends\n"
        "                           its session; `latchkey enrollment enable` lifts that\n"
        "  --reason TEXT            for the hub's operators, at most 120 bytes\n" LK_CLI_SCOPE_HELP
            LK_CLI_SERVICE_HELP,
    .options = (const struct option[]){LK_CLI_BAN_OPTIONS, LK_CLI_SCOPE_OPTION,
                                       LK_CLI_SERVICE_OPTIONS, LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
    .take = status_take,
};

static int
enrollment_disable(int argc, char **argv)
{
    return status_set(&disable_form, false, argc, argv);
}

/* ---- remove ---------------------------------------------------------------------------------- */

static const struct lk_cli_form remove_form = {
    .usage = "latchkey enrollment remove ID [--scope ID] [SERVICE]",
    .help = "Forget a device's enrollment: it is refused from now on. Its registration and its\n"
            "identity at the hub stay until they are removed too.\n\n" LK_CLI_SCOPE_HELP
                LK_CLI_SERVICE_HELP,
    .options =
        (const struct option[]){LK_CLI_SCOPE_OPTION, LK_CLI_SERVICE_OPTIONS, LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
};

static enum lk_err
remove_run(struct lk_txn *tx, void *arg)
{
    struct lk_cli_enrollment *c = (struct lk_cli_enrollment *)arg;
    enum lk_err err;

    if ((err = lk_cli_enrollment_get(tx, c)) != LK_OK ||
        (err = lk_txn_enrollment_delete(tx, c->scope, c->id, NULL)) != LK_OK) {
        return err;
    }
    return lk_txn_audit_append(tx, c->actor, "enrollment.delete", c->scope, c->e.id, "");
}

static enum lk_err
remove_send(struct lk_cli_enrollment *c)
{
    enum lk_err err = lk_cli_enrollment_fetch(c); /* for its id as it is spelt there */

    return err != LK_OK ? err : lk_remote_entity_delete(c->remote, LK_ENTITY_ENROLLMENT, c->id);
}

static int
enrollment_remove(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    LK_AUTO_CLI_ENROLLMENT c;
    struct lk_cli_common common = {.json = false};
    int code;
    enum lk_err err;

    lk_cli_enrollment_init(&c);
    if (!lk_cli_options(&remove_form, argc, argv, &common, NULL, &code) ||
        (code = lk_cli_enrollment_open(&common, LK_CLI_WRITE, argv[optind], &s, &c)) != 0) {
        return code;
    }
    err = s.remote != NULL ? remove_send(&c) : lk_store_write_wait(s.session, remove_run, &c);
    if (err != LK_OK) {
        return lk_cli_enrollment_fail(err, &c, "cannot remove the enrollment");
    }
    lk_cli_note("%s is removed", c.e.id);
    return 0;
}

/* ---- keys ------------------------------------------------------------------------------------ */

static const struct lk_cli_form keys_form = {
    .usage = "latchkey enrollment keys ID [--scope ID] [--json] [SERVICE]",
    .help = "Tell the two keys of a device that has no TPM but symmetric keys. They are secret;\n"
            "that they were told is in the audit record.\n\n" LK_CLI_SCOPE_HELP LK_CLI_JSON_HELP
                LK_CLI_SERVICE_HELP,
    .options = (const struct option[]){LK_CLI_SCOPE_OPTION, LK_CLI_JSON_OPTION,
                                       LK_CLI_SERVICE_OPTIONS, LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
};

static enum lk_err
keys_run(struct lk_txn *tx, void *arg)
{
    struct lk_cli_enrollment *c = (struct lk_cli_enrollment *)arg;
    enum lk_err err = lk_cli_enrollment_get(tx, c);

    if (err != LK_OK || c->e.attestation != LK_ATTESTATION_SYMMETRIC_KEY) {
        return err;
    }
    return lk_txn_audit_append(tx, c->actor, "enrollment.reveal", c->scope, c->e.id, "");
}

static int
enrollment_keys(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    LK_AUTO_CLI_ENROLLMENT c;
    struct lk_cli_common common = {.json = false};
    int code;
    enum lk_err err;

    lk_cli_enrollment_init(&c);
    if (!lk_cli_options(&keys_form, argc, argv, &common, NULL, &code) ||
        (code = lk_cli_enrollment_open(&common, LK_CLI_WRITE, argv[optind], &s, &c)) != 0) {
        return code;
    }
    err = s.remote != NULL ? lk_cli_enrollment_fetch(&c)
                           : lk_store_write_wait(s.session, keys_run, &c);
    if (err != LK_OK) {
        return lk_cli_enrollment_fail(err, &c, "cannot tell the keys");
    }
    if (c.e.attestation != LK_ATTESTATION_SYMMETRIC_KEY) {
        lk_cli_note("%s has no symmetric keys: its attestation is %s", c.e.id,
                    lk_cli_attestation_name(c.e.attestation));
        return lk_err_exit_code(LK_ERR_ARG);
    }
    return lk_cli_keys_print(&s, LK_KEYS_OF_ENROLLMENT, &c.e, common.json);
}

int
lk_cmd_enrollment(int argc, char **argv)
{
    static const struct lk_command commands[] = {
        {"add", lk_cli_enrollment_add, "enroll one device"},
        {"show", lk_cli_enrollment_show, "show one enrollment"},
        {"list", lk_cli_enrollment_list, "list the enrollments"},
        {"set", lk_cli_enrollment_set, "change to which hub a device goes"},
        {"enable", enrollment_enable, "let a device register again"},
        {"disable", enrollment_disable, "refuse a device"},
        {"remove", enrollment_remove, "forget an enrollment"},
        {"keys", enrollment_keys, "tell the symmetric keys of a device without a TPM"},
        {"add-ek", lk_cli_enrollment_add_ek, "accept another endorsement key"},
        {"remove-ek", lk_cli_enrollment_remove_ek, "accept an endorsement key no longer"},
        {"import", lk_cli_enrollment_import, "enroll all devices of a manifest"},
        {"imports", lk_cli_enrollment_imports, "list the imports"},
        {"undo", lk_cli_enrollment_undo, "take a whole import back"},
        {"export", lk_cli_enrollment_export, "write the enrollments as a manifest"},
        {NULL, NULL, NULL},
    };

    return lk_cli_dispatch(commands, "latchkey enrollment", argc, argv);
}
