/* latchkey hub device: add an identity to an embedded hub, and its keys. */
#include "cli/hub_device.h"

#include <string.h>

#include "base/codec.h"

/* ---- what the commands on one device share --------------------------------------------------- */

void
lk_cli_hub_call_fini(struct lk_cli_hub_call *c)
{
    lk_hub_core_free(c->core);
    lk_cli_service_close(&c->s);
}

bool
lk_cli_hub_call_open(struct lk_cli_hub_call *c, const struct lk_cli_form *form, int argc,
                     char **argv, void *ctx, enum lk_cli_access access, int *ret_code)
{
    enum lk_err err;

    if (!lk_cli_options(form, argc, argv, &c->common, ctx, ret_code) ||
        (*ret_code = lk_cli_hub_word(form, argv[optind], c->hub)) != 0) {
        return false;
    }
    c->device_id = argv[optind + 1];
    if (!lk_device_id_ok(c->device_id, strlen(c->device_id))) {
        *ret_code = lk_cli_usage(form->usage, "the device ID has a character that none may have, "
                                              "or is longer than 128");
        return false;
    }
    if ((*ret_code = lk_cli_service_open(c->common.config, access, &c->s)) != 0) {
        return false;
    }
    if ((err = lk_hub_core_new(c->s.ring, &lk_rand_system, &c->core)) != LK_OK) {
        *ret_code = lk_cli_fail(err, "cannot start");
        return false;
    }
    return true;
}

enum lk_err
lk_cli_hub_audit(const struct lk_cli_hub_call *c, struct lk_txn *tx, const char *action)
{
    char detail[LK_HOST_NAME_MAX + 32];

    (void)snprintf(detail, sizeof(detail), "{\"hub\":\"%s\"}", c->hub); /* a host name */
    return lk_txn_audit_append(tx, c->s.actor, action, "", c->device_id, detail);
}

/* ---- add ------------------------------------------------------------------------------------- */

enum {
    OPT_PRIMARY_FILE = LK_CLI_OPT_COMMAND,
    OPT_SECONDARY_FILE,
    OPT_THUMBPRINT,
    OPT_DISABLED,
    OPT_EDGE
};

struct addition {
    struct lk_cli_hub_call call;
    struct lk_hub_device d;
    const char *key_files[2];
    size_t thumbprints_count;
};

static void
addition_fini(struct addition *a)
{
    lk_hub_device_fini(&a->d);
    lk_cli_hub_call_fini(&a->call);
}

static enum lk_err
thumbprint_take(struct addition *a, const char *value)
{
    size_t len = strlen(value);

    if (a->thumbprints_count == LK_ARRAY_LEN(a->d.id.thumbprints) ||
        (len != 40 && len != LK_THUMBPRINT_MAX) || strspn(value, "0123456789abcdefABCDEF") != len) {
        return LK_ERR_ARG;
    }
    a->d.id.auth = LK_AUTH_SELF_SIGNED;
    return lk_strcpy(a->d.id.thumbprints[a->thumbprints_count++], LK_THUMBPRINT_MAX + 1, value);
}

static enum lk_err
add_take(void *ctx, int option, const char *value)
{
    struct addition *a = ctx;

    switch (option) {
    case OPT_PRIMARY_FILE:
    case OPT_SECONDARY_FILE:
        a->key_files[option - OPT_PRIMARY_FILE] = value;
        return LK_OK;
    case OPT_THUMBPRINT:
        return thumbprint_take(a, value);
    case OPT_DISABLED:
        a->d.id.enabled = false;
        return LK_OK;
    default:
        a->d.id.iot_edge = true;
        return LK_OK;
    }
}

static const struct lk_cli_form add_form = {
    .usage =
        "latchkey hub device add HUB DEVICE_ID [--primary-key-file FILE]\n"
        "         [--secondary-key-file FILE | --thumbprint HEX...] [--disabled] [--iot-edge]\n"
        "         [--config FILE]",
    .help = "Add a device identity to an embedded hub, as its registry API does. A device that\n"
            "registers with the provisioning service gets its identity there; this is for others.\n"
            "Keys that are not brought are made: `latchkey hub device key` tells them.\n\n"
            "  --primary-key-file FILE  base64 of 16 to 64 bytes; - is stdin\n"
            "  --secondary-key-file FILE\n"
            "                           likewise\n"
            "  --thumbprint HEX         the device proves itself by a certificate with this SHA-1\n"
            "                           or SHA-256 instead; at most twice\n"
            "  --disabled               it is not let in yet\n"
            "  --iot-edge               capabilities.iotEdge\n" LK_CLI_CONFIG_HELP,
    .options =
        (const struct option[]){{"primary-key-file", required_argument, NULL, OPT_PRIMARY_FILE},
                                {"secondary-key-file", required_argument, NULL, OPT_SECONDARY_FILE},
                                {"thumbprint", required_argument, NULL, OPT_THUMBPRINT},
                                {"disabled", no_argument, NULL, OPT_DISABLED},
                                {"iot-edge", no_argument, NULL, OPT_EDGE},
                                LK_CLI_CONFIG_OPTION,
                                LK_CLI_END_OPTIONS},
    .words_min = 2,
    .words_max = 2,
    .take = add_take,
};

/* 0, or an exit code after telling what is wrong. */
static int
key_read(const char *path, struct lk_buf *ret)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    char shown[LK_CLI_SHOWN_CAP];
    enum lk_err err;

    if (path == NULL) {
        return 0;
    }
    if ((err = lk_cli_secret_read(path, &text)) != LK_OK) {
        return lk_cli_fail(err, "cannot read %s", lk_cli_shown(path, shown));
    }
    err = lk_base64_decode((const char *)text.data, text.len, ret);
    if (err == LK_OK && (ret->len < LK_HUB_KEY_MIN || ret->len > LK_HUB_KEY_MAX)) {
        err = LK_ERR_FORMAT;
    }
    return err == LK_OK
               ? 0
               : lk_cli_fail(err, "%s is not base64 of 16 to 64 bytes", lk_cli_shown(path, shown));
}

static enum lk_err
add_run(struct lk_txn *tx, void *arg)
{
    struct addition *a = arg;
    enum lk_err err = lk_hub_device_create(a->call.core, tx, &a->d);

    return err != LK_OK ? err : lk_cli_hub_audit(&a->call, tx, "hub.device.create");
}

static int
device_add(int argc, char **argv)
{
    __attribute__((cleanup(addition_fini))) struct addition a = {
        .d = {.id = {.enabled = true, .auth = LK_AUTH_SAS}}};
    int code;
    enum lk_err err;

    if (!lk_cli_hub_call_open(&a.call, &add_form, argc, argv, &a, LK_CLI_WRITE, &code)) {
        return code;
    }
    if (a.d.id.auth == LK_AUTH_SELF_SIGNED && (a.key_files[0] != NULL || a.key_files[1] != NULL)) {
        return lk_cli_usage(add_form.usage, "keys or thumbprints, not both");
    }
    if ((code = key_read(a.key_files[0], &a.d.keys[0])) != 0 ||
        (code = key_read(a.key_files[1], &a.d.keys[1])) != 0) {
        return code;
    }
    if ((err = lk_strcpy(a.d.id.hub, sizeof(a.d.id.hub), a.call.hub)) != LK_OK ||
        (err = lk_strcpy(a.d.id.device_id, sizeof(a.d.id.device_id), a.call.device_id)) != LK_OK) {
        return lk_cli_fail(err, "cannot add the device");
    }
    err = lk_store_write_wait(a.call.s.session, add_run, &a);
    return err == LK_OK ? 0 : lk_cli_store_fail(err, "cannot add the device");
}

/* ---- key ------------------------------------------------------------------------------------- */

enum { OPT_SECONDARY = LK_CLI_OPT_COMMAND, OPT_CONNECTION_STRING, OPT_ROLL };

struct key_call {
    struct lk_cli_hub_call call;
    bool secondary, connection_string, roll;
    uint8_t fresh[LK_HUB_KEY_LEN];
    struct lk_hub_device d;
};

static void
key_call_fini(struct key_call *k)
{
    lk_wipe(k->fresh, sizeof(k->fresh));
    lk_hub_device_fini(&k->d);
    lk_cli_hub_call_fini(&k->call);
}

static enum lk_err
key_take(void *ctx, int option, const char *value)
{
    struct key_call *k = ctx;

    (void)value;
    if (option == OPT_SECONDARY) {
        k->secondary = true;
    } else if (option == OPT_ROLL) {
        k->roll = true;
    } else {
        k->connection_string = true;
    }
    return LK_OK;
}

static const struct lk_cli_form key_form = {
    .usage = "latchkey hub device key HUB DEVICE_ID [--secondary] [--connection-string] [--json]\n"
             "         [--config FILE]\n"
             "       latchkey hub device key HUB DEVICE_ID [--secondary] --roll [--config FILE]",
    .help = "Print a device's key in base64; that it was told is in the audit record. The key of\n"
            "a device with a TPM is known to that TPM, and a new registration replaces it.\n\n"
            "  --secondary              the secondary key instead of the primary\n"
            "  --connection-string      the device's connection string with it\n"
            "  --roll                   replace it by a fresh one, and print "
            "nothing\n" LK_CLI_JSON_HELP LK_CLI_CONFIG_HELP,
    .options =
        (const struct option[]){{"secondary", no_argument, NULL, OPT_SECONDARY},
                                {"connection-string", no_argument, NULL, OPT_CONNECTION_STRING},
                                {"roll", no_argument, NULL, OPT_ROLL},
                                LK_CLI_JSON_OPTION,
                                LK_CLI_CONFIG_OPTION,
                                LK_CLI_END_OPTIONS},
    .words_min = 2,
    .words_max = 2,
    .take = key_take,
};

/* The other slot is left empty, so that it stays as it is. */
static enum lk_err
key_roll(struct key_call *k, struct lk_txn *tx)
{
    enum lk_err err;

    lk_buf_reset(&k->d.keys[0]);
    lk_buf_reset(&k->d.keys[1]);
    if ((err = lk_buf_put(&k->d.keys[k->secondary], k->fresh, sizeof(k->fresh))) != LK_OK ||
        (err = lk_hub_device_update(k->call.core, tx, &k->d, NULL)) != LK_OK) {
        return err;
    }
    return lk_cli_hub_audit(&k->call, tx, "hub.device.update");
}

static enum lk_err
key_run(struct lk_txn *tx, void *arg)
{
    struct key_call *k = arg;
    enum lk_err err = lk_hub_device_get(k->call.core, tx, k->call.hub, k->call.device_id, &k->d);

    if (err != LK_OK) {
        return err;
    }
    if (k->d.id.auth != LK_AUTH_SAS) {
        return LK_ERR_UNSUPPORTED;
    }
    return k->roll ? key_roll(k, tx) : lk_cli_hub_audit(&k->call, tx, "hub.device.reveal");
}

static int
key_print_json(const struct key_call *k, const char *text)
{
    LK_AUTO(json)
    json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "hub", k->call.hub, "deviceId", k->call.device_id,
                          "key", k->secondary ? "secondary" : "primary",
                          k->connection_string ? "connectionString" : "deviceKey", text);

    return o == NULL ? lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer") : lk_cli_print_json(o);
}

static int
key_print(const struct key_call *k)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    const struct lk_buf *key = &k->d.keys[k->secondary];
    enum lk_err err = LK_OK;

    if (key->len == 0) {
        return lk_cli_fail(LK_ERR_NOT_FOUND, "cannot print the key");
    }
    if (k->connection_string) {
        err = lk_buf_printf(&text, "HostName=%s;DeviceId=%s;SharedAccessKey=", k->call.hub,
                            k->call.device_id);
    }
    if (err != LK_OK || (err = lk_base64_encode(key->data, key->len, &text)) != LK_OK ||
        lk_buf_text(&text) == NULL) {
        return lk_cli_fail(err != LK_OK ? err : LK_ERR_NOMEM, "cannot print the key");
    }
    lk_cli_note("the key is secret: whoever has it is the device to its hub");
    if (k->call.common.json) {
        return key_print_json(k, lk_buf_text(&text));
    }
    (void)puts(lk_buf_text(&text));
    return 0;
}

static int
device_key(int argc, char **argv)
{
    __attribute__((cleanup(key_call_fini))) struct key_call k = {.roll = false};
    int code;
    enum lk_err err;

    if (!lk_cli_hub_call_open(&k.call, &key_form, argc, argv, &k, LK_CLI_WRITE, &code)) {
        return code;
    }
    if (k.roll && (k.connection_string || k.call.common.json)) {
        return lk_cli_usage(key_form.usage, "--roll prints nothing: it goes with no "
                                            "--connection-string and no --json");
    }
    if ((err = lk_rand_fill(&lk_rand_system, k.fresh, sizeof(k.fresh))) != LK_OK) {
        return lk_cli_fail(err, "cannot make a key");
    }
    err = lk_store_write_wait(k.call.s.session, key_run, &k);
    if (err == LK_ERR_UNSUPPORTED) {
        return lk_cli_fail(err, "the device has no keys: it proves itself by a certificate");
    }
    if (err != LK_OK) {
        return lk_cli_store_fail(err, k.roll ? "cannot roll the key" : "cannot read the key");
    }
    return k.roll ? 0 : key_print(&k);
}

/* ---- the table ------------------------------------------------------------------------------- */

int
lk_cli_hub_device(int argc, char **argv)
{
    static const struct lk_command commands[] = {
        {"add", device_add, "add a device identity"},
        {"list", lk_cli_hub_device_list, "list the device identities of a hub"},
        {"show", lk_cli_hub_device_show, "show one, without its keys"},
        {"key", device_key, "print or roll one of its keys"},
        {"disable", lk_cli_hub_device_disable, "refuse a device at its hub"},
        {"enable", lk_cli_hub_device_enable, "let it in again"},
        {"remove", lk_cli_hub_device_remove, "remove a device identity"},
        {NULL, NULL, NULL},
    };

    return lk_cli_dispatch(commands, "latchkey hub device", argc, argv);
}
