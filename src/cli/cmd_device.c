/* latchkey device: what a factory line and a device do. */
#include "cli/cmd_device.h"

#include <string.h>
#include <time.h>

#include <latchkey/latchkey.h>

#include "cli/tpm_opts.h"

struct args {
    struct lk_cli_common common;
    struct lk_cli_tpm tpm;
    const char *hub, *device_id;
    uint64_t ttl_s;
};

static void
args_fini(struct args *a)
{
    lk_cli_tpm_fini(&a->tpm);
}
#define AUTO_ARGS __attribute__((cleanup(args_fini)))

enum { OPT_HUB = LK_CLI_OPT_COMMAND, OPT_DEVICE_ID, OPT_TTL };

static enum lk_err
args_take(void *ctx, int option, const char *value)
{
    struct args *a = (struct args *)ctx;

    switch (option) {
    case OPT_HUB:
        a->hub = value;
        return LK_OK;
    case OPT_DEVICE_ID:
        a->device_id = value;
        return LK_OK;
    case OPT_TTL:
        return lk_cli_number(value, 1, 366ull * 86400, &a->ttl_s);
    default:
        return lk_cli_tpm_option(&a->tpm, option, value);
    }
}

/* ---- token ----------------------------------------------------------------------------------- */

static const struct lk_cli_form token_form = {
    .usage = "latchkey device token --hub HOST --device-id ID [--ttl SECONDS] [--json]",
    .help =
        "Print a SAS token for the hub, signed in the TPM by the key of the last registration. It "
        "is\n"
        "the password with which an MQTT client logs on.\n\n"
        "  --hub HOST               the assigned hub\n"
        "  --device-id ID           the device's name there\n"
        "  --ttl SECONDS            life of the token; default 3600\n"
        "  --json                   with its expiry, as one JSON document\n\n" LK_CLI_TPM_HELP,
    .options = (const struct option[]){LK_CLI_TPM_OPTIONS,
                                       {"hub", required_argument, NULL, OPT_HUB},
                                       {"device-id", required_argument, NULL, OPT_DEVICE_ID},
                                       {"ttl", required_argument, NULL, OPT_TTL},
                                       LK_CLI_JSON_OPTION,
                                       LK_CLI_END_OPTIONS},
    .take = args_take,
};

static int
token_print(const struct args *a, const char *token, uint64_t expiry_s)
{
    LK_AUTO(json) json_t *o = NULL;

    if (!a->common.json) {
        (void)puts(token);
        return 0;
    }
    o = json_pack("{s:s, s:I}", "token", token, "expiry", (json_int_t)expiry_s);
    return o == NULL ? lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer") : lk_cli_print_json(o);
}

static int
device_token(int argc, char **argv)
{
    AUTO_ARGS struct args a = {.ttl_s = 3600};
    LK_AUTO(lk_cli_tpm_conn) struct lk_tpm *tpm = NULL;
    char token[LK_DEVICE_SAS_CAP];
    uint64_t expiry_s;
    int code;
    enum lk_err err;

    if (!lk_cli_options(&token_form, argc, argv, &a.common, &a, &code)) {
        return code;
    }
    if (a.hub == NULL || a.device_id == NULL) {
        return lk_cli_usage(token_form.usage, "--hub and --device-id are needed");
    }
    if ((code = lk_cli_tpm_open(&a.tpm, &tpm)) != 0) {
        return code;
    }
    expiry_s = (uint64_t)time(NULL) + a.ttl_s;
    err = lk_device_sas(tpm, a.hub, a.device_id, expiry_s, token, sizeof(token));
    if (err == LK_ERR_NOT_FOUND) {
        lk_cli_note("there is no identity key in this TPM: register the device first");
        return lk_err_exit_code(err);
    }
    return err != LK_OK ? lk_cli_tpm_fail(tpm, err, "cannot sign a token")
                        : token_print(&a, token, expiry_s);
}

/* ---- forget ---------------------------------------------------------------------------------- */

static const struct lk_cli_form forget_form = {
    .usage = "latchkey device forget",
    .help = "Remove the hub's key from the TPM. The device can register again; until then it "
            "cannot log on\nto its hub. Nothing else in the TPM is touched.\n\n" LK_CLI_TPM_HELP,
    .options = (const struct option[]){LK_CLI_TPM_OPTIONS, LK_CLI_END_OPTIONS},
    .take = args_take,
};

static int
device_forget(int argc, char **argv)
{
    AUTO_ARGS struct args a = {.hub = NULL};
    LK_AUTO(lk_cli_tpm_conn) struct lk_tpm *tpm = NULL;
    int code;
    enum lk_err err;

    if (!lk_cli_options(&forget_form, argc, argv, &a.common, &a, &code) ||
        (code = lk_cli_tpm_open(&a.tpm, &tpm)) != 0) {
        return code;
    }
    err = lk_device_forget(tpm);
    if (err == LK_ERR_NOT_FOUND) {
        lk_cli_note("there was no identity key");
        return 0;
    }
    if (err == LK_ERR_EXISTS) {
        lk_cli_note("the identity handle holds an object that is not ours; it was left alone");
        return lk_err_exit_code(err);
    }
    if (err != LK_OK) {
        return lk_cli_tpm_fail(tpm, err, "cannot remove the identity key");
    }
    lk_cli_note("the identity key is gone");
    return 0;
}

int
lk_cmd_device(int argc, char **argv)
{
    static const struct lk_command commands[] = {
        {"show", lk_cli_device_show, "show the TPM's keys, or print a manifest line"},
        {"register", lk_cli_device_register, "register with a provisioning service"},
        {"connect", lk_cli_device_connect,
         "log on to the hub over MQTT: print with what, or run a client"},
        {"token", device_token, "print a token for the hub"},
        {"forget", device_forget, "remove the hub's key from the TPM"},
        {NULL, NULL, NULL},
    };

    return lk_cli_dispatch(commands, "latchkey device", argc, argv);
}
