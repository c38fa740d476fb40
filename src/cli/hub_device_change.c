/* latchkey hub device disable, enable, remove: cutting a device off at its hub. */
#include <string.h>

#include "cli/cmd_hub.h"

struct change {
    const char *actor, *action; /* of the audit record */
    char hub[LK_HOST_NAME_MAX + 1];
    const char *device_id;
    bool remove, enable; /* remove, or set enabled to enable */
    const char *what;    /* for the message of a failure */
};

static enum lk_err
set_enabled(struct lk_txn *tx, const struct change *c)
{
    struct lk_identity identity = {.enabled = false};
    enum lk_err err = lk_txn_identity_get(tx, c->hub, c->device_id, &identity);

    if (err == LK_OK) {
        identity.enabled = c->enable;
        err = lk_txn_identity_put(tx, &identity, NULL);
    }
    lk_wipe(&identity, sizeof(identity));
    return err;
}

static enum lk_err
change_run(struct lk_txn *tx, void *arg)
{
    const struct change *c = (const struct change *)arg;
    char detail[LK_HOST_NAME_MAX + 32];
    enum lk_err err =
        c->remove ? lk_txn_identity_delete(tx, c->hub, c->device_id, NULL) : set_enabled(tx, c);

    if (err != LK_OK) {
        return err;
    }
    (void)snprintf(detail, sizeof(detail), "{\"hub\":\"%s\"}", c->hub); /* a host name */
    return lk_txn_audit_append(tx, c->actor, c->action, "", c->device_id, detail);
}

static int
change_do(const struct lk_cli_form *form, struct change *c, int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    struct lk_cli_common common = {.json = false};
    int code;
    enum lk_err err;

    if (!lk_cli_options(form, argc, argv, &common, NULL, &code) ||
        (code = lk_cli_hub_word(form, argv[optind], c->hub)) != 0 ||
        (code = lk_cli_service_open(common.config, LK_CLI_WRITE, &s)) != 0) {
        return code;
    }
    c->actor = s.actor;
    c->device_id = argv[optind + 1];
    if (!lk_device_id_ok(c->device_id, strlen(c->device_id))) {
        return lk_cli_fail(LK_ERR_NOT_FOUND, "%s", c->what);
    }
    err = lk_store_write_wait(s.session, change_run, c);
    return err == LK_OK ? 0 : lk_cli_store_fail(err, c->what);
}

static const struct option options[] = {LK_CLI_CONFIG_OPTION, LK_CLI_END_OPTIONS};

#define FORM(verb, text)                                                                           \
    {                                                                                              \
        .usage = "latchkey hub device " verb " HUB DEVICE_ID [--config FILE]",                     \
        .help = text LK_CLI_CONFIG_HELP, .options = options, .words_min = 2, .words_max = 2        \
    }

int
lk_cli_hub_device_disable(int argc, char **argv)
{
    static const struct lk_cli_form form =
        FORM("disable", "Refuse a device at its hub from now on, whatever its tokens say. "
                        "It can still register\nas long as its enrollment is "
                        "enabled, and stays refused.\n\n");
    struct change c = {.action = "hub.device.disable", .what = "cannot disable the device"};

    return change_do(&form, &c, argc, argv);
}

int
lk_cli_hub_device_enable(int argc, char **argv)
{
    static const struct lk_cli_form form =
        FORM("enable", "Let a device into its hub again, with the keys that it has.\n\n");
    struct change c = {
        .action = "hub.device.enable", .enable = true, .what = "cannot enable the device"};

    return change_do(&form, &c, argc, argv);
}

int
lk_cli_hub_device_remove(int argc, char **argv)
{
    static const struct lk_cli_form form =
        FORM("remove", "Remove a device's identity, with its keys. The device gets another "
                       "one when it registers,\nas long as its enrollment is enabled.\n\n");
    struct change c = {
        .action = "hub.device.remove", .remove = true, .what = "cannot remove the device"};

    return change_do(&form, &c, argc, argv);
}
