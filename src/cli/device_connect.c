/* latchkey device connect: what an MQTT client logs on to the hub with, printed or handed over in a
 * command's environment. */
#include "cli/cmd_device.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <latchkey/latchkey.h>

#include "cli/tpm_opts.h"

#define REGISTRATION_MAX 65536u /* bytes of what `device register --json` printed */

struct args {
    struct lk_cli_common common;
    struct lk_cli_tpm tpm;
    const char *hub, *device_id, *registration, *client;
    uint64_t port, ttl_s;
    bool print;
    json_t *assigned; /* what --registration holds; hub and device_id may borrow from it */
};

static void
args_fini(struct args *a)
{
    lk_cli_tpm_fini(&a->tpm);
    json_decref(a->assigned);
}

enum {
    OPT_HUB = LK_CLI_OPT_COMMAND,
    OPT_DEVICE_ID,
    OPT_REGISTRATION,
    OPT_PORT,
    OPT_TTL,
    OPT_CLIENT,
    OPT_PRINT
};

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
    case OPT_REGISTRATION:
        a->registration = value;
        return LK_OK;
    case OPT_PORT:
        return lk_cli_number(value, 1, UINT16_MAX, &a->port);
    case OPT_TTL:
        return lk_cli_number(value, LK_DEVICE_MQTT_TTL_MIN_S, 366ull * 86400, &a->ttl_s);
    case OPT_CLIENT:
        a->client = value;
        return LK_OK;
    case OPT_PRINT:
        a->print = true;
        return LK_OK;
    default:
        return lk_cli_tpm_option(&a->tpm, option, value);
    }
}

static const struct lk_cli_form form = {
    .usage =
        "latchkey device connect {--registration FILE | --hub HOST --device-id ID} [--port PORT]\n"
        "                        [--ttl SECONDS] [--client NAME] {--print | --json | -- COMMAND "
        "[ARG...]}",
    .help =
        "Make what an MQTT client logs on to the hub with, the password signed in the TPM, and\n"
        "print it or run COMMAND with it in its environment:\n\n"
        "  LATCHKEY_MQTT_HOST, LATCHKEY_MQTT_PORT, LATCHKEY_MQTT_CLIENT_ID,\n"
        "  LATCHKEY_MQTT_USER_NAME, LATCHKEY_MQTT_PASSWORD,\n"
        "  LATCHKEY_MQTT_RENEW, LATCHKEY_MQTT_EXPIRY (seconds since 1970)\n\n"
        "The hub closes the connection when the password expires: connect anew before that.\n\n"
        "  --registration FILE      what `latchkey device register --json` printed (- is stdin)\n"
        "  --hub HOST               the assigned hub\n"
        "  --device-id ID           the device's name there\n"
        "  --port PORT              default 8883\n"
        "  --ttl SECONDS            life of the password, at least 20; default 3600\n"
        "  --client NAME            what the client is, for the hub's operator\n"
        "  --print                  as lines that a shell can eval\n"
        "  --json                   as one JSON document\n\n" LK_CLI_TPM_HELP,
    .options = (const struct option[]){LK_CLI_TPM_OPTIONS,
                                       {"registration", required_argument, NULL, OPT_REGISTRATION},
                                       {"hub", required_argument, NULL, OPT_HUB},
                                       {"device-id", required_argument, NULL, OPT_DEVICE_ID},
                                       {"port", required_argument, NULL, OPT_PORT},
                                       {"ttl", required_argument, NULL, OPT_TTL},
                                       {"client", required_argument, NULL, OPT_CLIENT},
                                       {"print", no_argument, NULL, OPT_PRINT},
                                       LK_CLI_JSON_OPTION,
                                       LK_CLI_END_OPTIONS},
    .words_max = INT_MAX,
    .take = args_take,
};

/* ---- the three ways out ---------------------------------------------------------------------- */

/* Names and values, in the order in which they are printed. */
struct setting {
    const char *name;
    const char *value;
};
#define SETTINGS_COUNT 7
#define NUMBER_CAP 24 /* bytes of a number's text */

struct settings {
    struct setting rows[SETTINGS_COUNT];
    char port[NUMBER_CAP], renew[NUMBER_CAP], expiry[NUMBER_CAP];
};

static void
settings_fill(const struct lk_device_mqtt *m, struct settings *s)
{
    (void)snprintf(s->port, sizeof(s->port), "%u", (unsigned)m->port);
    (void)snprintf(s->renew, sizeof(s->renew), "%" PRIu64, m->renew_unix_s);
    (void)snprintf(s->expiry, sizeof(s->expiry), "%" PRIu64, m->expiry_unix_s);
    s->rows[0] = (struct setting){"LATCHKEY_MQTT_HOST", m->host};
    s->rows[1] = (struct setting){"LATCHKEY_MQTT_PORT", s->port};
    s->rows[2] = (struct setting){"LATCHKEY_MQTT_CLIENT_ID", m->client_id};
    s->rows[3] = (struct setting){"LATCHKEY_MQTT_USER_NAME", m->user_name};
    s->rows[4] = (struct setting){"LATCHKEY_MQTT_PASSWORD", m->password};
    s->rows[5] = (struct setting){"LATCHKEY_MQTT_RENEW", s->renew};
    s->rows[6] = (struct setting){"LATCHKEY_MQTT_EXPIRY", s->expiry};
}

/* A device id may hold a quote: 'it'\''s'. */
static void
print_quoted(const char *text)
{
    (void)putchar('\'');
    for (; *text != '\0'; text++) {
        (void)(*text == '\'' ? fputs("'\\''", stdout) : putchar(*text));
    }
    (void)putchar('\'');
}

static int
print_shell(const struct settings *s)
{
    for (size_t i = 0; i < SETTINGS_COUNT; i++) {
        (void)printf("%s=", s->rows[i].name);
        print_quoted(s->rows[i].value);
        (void)putchar('\n');
    }
    return 0;
}

static int
print_json(const struct lk_device_mqtt *m)
{
    LK_AUTO(json)
    json_t *o =
        json_pack("{s:s, s:i, s:s, s:s, s:s, s:I, s:I}", "host", m->host, "port", (int)m->port,
                  "clientId", m->client_id, "userName", m->user_name, "password", m->password,
                  "renew", (json_int_t)m->renew_unix_s, "expiry", (json_int_t)m->expiry_unix_s);

    return o == NULL ? lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer") : lk_cli_print_json(o);
}

/* Becomes the command. The environment is for its own user's eyes, an argument for everyone's. */
static int
command_run(const struct settings *s, char **argv)
{
    char shown[LK_CLI_SHOWN_CAP];

    for (size_t i = 0; i < SETTINGS_COUNT; i++) {
        if (setenv(s->rows[i].name, s->rows[i].value, 1) != 0) {
            return lk_cli_fail(LK_ERR_NOMEM, "cannot set the environment");
        }
    }
    (void)execvp(argv[0], argv);
    return lk_cli_fail(LK_ERR_IO, "cannot run %s: %s", lk_cli_shown(argv[0], shown),
                       strerror(errno));
}

/* ---- making them ----------------------------------------------------------------------------- */

static int
registration_read(struct args *a)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    char shown[LK_CLI_SHOWN_CAP];
    enum lk_err err;

    if ((err = lk_cli_file_read(a->registration, REGISTRATION_MAX, &text)) != LK_OK) {
        return lk_cli_fail(err, "cannot read %s", lk_cli_shown(a->registration, shown));
    }
    if (lk_json_parse(text.data, text.len, false, NULL, &a->assigned) != LK_OK ||
        lk_json_text(a->assigned, "assignedHub", &a->hub) != LK_OK || a->hub == NULL ||
        lk_json_text(a->assigned, "deviceId", &a->device_id) != LK_OK || a->device_id == NULL) {
        return lk_cli_fail(LK_ERR_FORMAT,
                           "%s: expected what `latchkey device register --json` prints",
                           lk_cli_shown(a->registration, shown));
    }
    return 0;
}

/* The TPM is closed again when this returns: a command finds it free. */
static int
settings_make(const struct args *a, struct lk_device_mqtt *ret)
{
    const struct lk_device_mqtt_opts opts = {.hub = a->hub,
                                             .device_id = a->device_id,
                                             .port = (uint16_t)a->port,
                                             .ttl_s = (uint32_t)a->ttl_s,
                                             .client = a->client};
    LK_AUTO(lk_cli_tpm_conn) struct lk_tpm *tpm = NULL;
    int code;
    enum lk_err err;

    if ((code = lk_cli_tpm_open(&a->tpm, &tpm)) != 0) {
        return code;
    }
    err = lk_device_mqtt(tpm, &opts, ret);
    if (err == LK_ERR_NOT_FOUND) {
        lk_cli_note("there is no identity key in this TPM: register the device first");
        return lk_err_exit_code(err);
    }
    if (err == LK_ERR_ARG) {
        lk_cli_note("expected a host name, a device ID of the hub's characters, and a client name "
                    "of up to 128 printable ASCII characters");
    }
    return err != LK_OK ? lk_cli_tpm_fail(tpm, err, "cannot make the password") : 0;
}

/* Exactly one way out, and one source of hub and device id. */
static int
args_check(const struct args *a, int words)
{
    if ((a->print ? 1 : 0) + (a->common.json ? 1 : 0) + (words > 0 ? 1 : 0) != 1) {
        return lk_cli_usage(form.usage, "one of --print, --json and a command is needed");
    }
    if (a->registration != NULL ? a->hub != NULL || a->device_id != NULL
                                : a->hub == NULL || a->device_id == NULL) {
        return lk_cli_usage(form.usage, "--registration is needed, or --hub and --device-id");
    }
    return 0;
}

int
lk_cli_device_connect(int argc, char **argv)
{
    __attribute__((cleanup(args_fini))) struct args a = {.hub = NULL};
    __attribute__((cleanup(lk_device_mqtt_wipe))) struct lk_device_mqtt m = {.port = 0};
    struct settings s;
    int code;

    if (!lk_cli_options(&form, argc, argv, &a.common, &a, &code)) {
        return code;
    }
    if ((code = args_check(&a, argc - optind)) != 0 ||
        (a.registration != NULL && (code = registration_read(&a)) != 0) ||
        (code = settings_make(&a, &m)) != 0) {
        return code;
    }
    if (a.common.json) {
        return print_json(&m);
    }
    settings_fill(&m, &s);
    return a.print ? print_shell(&s) : command_run(&s, argv + optind);
}
