/* latchkey group keys, device-key. */
#include <string.h>

#include "base/codec.h"
#include "cli/cmd_group.h"

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
    struct lk_cli_group *c = (struct lk_cli_group *)arg;
    enum lk_err err = lk_cli_group_get_run(tx, arg);

    if (err != LK_OK || c->g.attestation != LK_ATTESTATION_SYMMETRIC_KEY) {
        return err;
    }
    return lk_cli_group_audit(tx, c, "group.reveal", "");
}

/* The group with its keys, after the audit record that they are told. */
static bool
reveal_begin(struct lk_cli_group *c, const struct lk_cli_form *form, int argc, char **argv,
             int *ret_code)
{
    enum lk_err err;

    if (!lk_cli_group_begin(c, form, LK_CLI_WRITE, argc, argv, ret_code)) {
        return false;
    }
    err = c->s.remote != NULL ? lk_cli_group_fetch(c)
                              : lk_store_write_wait(c->s.session, reveal_run, c);
    if (err != LK_OK) {
        *ret_code = lk_cli_group_fail(err, c, "cannot tell the keys");
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

int
lk_cli_group_keys(int argc, char **argv)
{
    LK_AUTO_CLI_GROUP c;
    int code;

    lk_cli_group_init(&c);
    return reveal_begin(&c, &keys_form, argc, argv, &code)
               ? lk_cli_keys_print(&c.s, LK_KEYS_OF_GROUP, &c.g, c.common.json)
               : code;
}

int
lk_cli_group_device_key(int argc, char **argv)
{
    LK_AUTO_CLI_GROUP c;
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    LK_AUTO(json) json_t *o = NULL;
    char shown[LK_CLI_SHOWN_CAP];
    const char *id;
    int code;
    enum lk_err err;

    lk_cli_group_init(&c);
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
