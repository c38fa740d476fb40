/* latchkey device register: from the TPM to a hub. */
#include "cli/cmd_device.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <latchkey/latchkey.h>

#include "cli/tpm_opts.h"

struct args {
    struct lk_cli_common common;
    struct lk_cli_tpm tpm;
    const char *registration_id, *url, *ca_file, *payload_file;
    uint64_t deadline_s;
    bool ek_cert, quiet;
};

static void
args_fini(struct args *a)
{
    lk_cli_tpm_fini(&a->tpm);
}

enum {
    OPT_REGISTRATION_ID = LK_CLI_OPT_COMMAND,
    OPT_URL,
    OPT_CA_FILE,
    OPT_PAYLOAD_FILE,
    OPT_DEADLINE,
    OPT_EK_CERT,
    OPT_QUIET
};

static enum lk_err
args_take(void *ctx, int option, const char *value)
{
    struct args *a = (struct args *)ctx;

    switch (option) {
    case OPT_REGISTRATION_ID:
        a->registration_id = value;
        return LK_OK;
    case OPT_URL:
        a->url = value;
        return LK_OK;
    case OPT_CA_FILE:
        a->ca_file = value;
        return LK_OK;
    case OPT_PAYLOAD_FILE:
        a->payload_file = value;
        return LK_OK;
    case OPT_DEADLINE:
        return lk_cli_number(value, 1, 86400, &a->deadline_s);
    case OPT_EK_CERT:
        a->ek_cert = true;
        return LK_OK;
    case OPT_QUIET:
        a->quiet = true;
        return LK_OK;
    default:
        return lk_cli_tpm_option(&a->tpm, option, value);
    }
}

static const struct lk_cli_form form = {
    .usage =
        "latchkey device register --url URL --scope ID_SCOPE [--registration-id ID] [--ca-file "
        "FILE]\n"
        "                         [--payload-file FILE] [--deadline SECONDS] [--ek-cert] [--json]\n"
        "                         [--quiet]",
    .help =
        "Register this device with a provisioning service and keep the hub's key in the TPM.\n\n"
        "  --url URL                https://host[:port] of the service\n"
        "  --scope ID_SCOPE         the service's ID scope\n"
        "  --registration-id ID     default: derived from the endorsement key\n"
        "  --ca-file FILE           trust these CAs (PEM) instead of the system's\n"
        "  --payload-file FILE      JSON for the service's allocation (- is stdin)\n"
        "  --deadline SECONDS       for everything; default 300\n"
        "  --ek-cert                send the TPM maker's certificate of the endorsement key, by\n"
        "                           which a group can admit this device\n"
        "  --json                   the result as one JSON document\n"
        "  --quiet                  no progress on stderr\n\n" LK_CLI_TPM_HELP,
    .options =
        (const struct option[]){LK_CLI_TPM_OPTIONS,
                                {"url", required_argument, NULL, OPT_URL},
                                {"registration-id", required_argument, NULL, OPT_REGISTRATION_ID},
                                {"ca-file", required_argument, NULL, OPT_CA_FILE},
                                {"payload-file", required_argument, NULL, OPT_PAYLOAD_FILE},
                                {"deadline", required_argument, NULL, OPT_DEADLINE},
                                {"ek-cert", no_argument, NULL, OPT_EK_CERT},
                                {"quiet", no_argument, NULL, OPT_QUIET},
                                LK_CLI_SCOPE_OPTION,
                                LK_CLI_JSON_OPTION,
                                LK_CLI_END_OPTIONS},
    .take = args_take,
};

static volatile int interrupted;

static void
on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

static void
on_progress(void *ctx, const struct lk_register_progress *p)
{
    (void)ctx;
    (void)fprintf(stderr, "%6u ms  %s", (unsigned)p->elapsed_ms, lk_register_step_name(p->step));
    if (p->step == LK_STEP_RETRY) {
        (void)fprintf(stderr, ": %s", lk_err_text(p->err));
        if (p->http_status >= 400) {
            (void)fprintf(stderr, " (HTTP %d)", p->http_status);
        }
    }
    if (p->wait_ms != 0) {
        (void)fprintf(stderr, ", waiting %u ms", (unsigned)p->wait_ms);
    }
    (void)fputc('\n', stderr);
}

static int
register_failed(const struct lk_tpm *tpm, enum lk_err err, const struct lk_register_result *r)
{
    char shown[LK_CLI_SHOWN_CAP];

    if (r->error_code != 0) {
        lk_cli_note("the service answered %d: %s", r->error_code,
                    lk_cli_shown(r->error_message, shown));
    }
    if (r->status == LK_REGISTER_DISABLED) {
        lk_cli_note("the enrollment is disabled");
    }
    if (err == LK_ERR_ARG) {
        lk_cli_note("expected https://HOST[:PORT] in --url, an ID scope, a registration ID of "
                    "letters, digits and -._: and JSON as payload");
    }
    if (err == LK_ERR_TLS) {
        lk_cli_note("expected a certificate for the host in --url, by a CA that --ca-file names "
                    "(or the system's), in date by this machine's clock");
    }
    return lk_cli_tpm_fail(tpm, err, "not registered");
}

static int
register_done(const struct args *a, const struct lk_register_result *r)
{
    LK_AUTO(json) json_t *o = NULL;
    char hub[LK_CLI_SHOWN_CAP], id[LK_CLI_SHOWN_CAP], payload_text[LK_CLI_SHOWN_CAP];
    json_t *payload = NULL;

    if (!a->common.json) {
        (void)printf("hub               %s\ndevice ID         %s\nsubstatus         %s\n",
                     lk_cli_shown(r->hub, hub), lk_cli_shown(r->device_id, id),
                     lk_register_substatus_name(r->substatus));
        if (r->payload_json != NULL) {
            (void)printf("payload           %s\n", lk_cli_shown(r->payload_json, payload_text));
        }
        return 0;
    }
    o = json_pack("{s:s, s:s, s:s, s:s, s:s}", "registrationId", r->registration_id, "status",
                  lk_register_status_name(r->status), "substatus",
                  lk_register_substatus_name(r->substatus), "assignedHub", r->hub, "deviceId",
                  r->device_id);
    if (o == NULL) {
        return lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer");
    }
    if (r->payload_json != NULL &&
        lk_json_parse(r->payload_json, strlen(r->payload_json), true, NULL, &payload) == LK_OK) {
        (void)json_object_set_new(o, "payload", payload);
    }
    return lk_cli_print_json(o);
}

static int
register_run(const struct args *a, const char *payload)
{
    LK_AUTO(lk_cli_tpm_conn) struct lk_tpm *tpm = NULL;
    __attribute__((cleanup(lk_register_result_fini))) struct lk_register_result result = {0};
    const struct lk_register_opts opts = {
        .url = a->url,
        .id_scope = a->common.scope,
        .registration_id = a->registration_id,
        .ca_file = a->ca_file,
        .payload_json = payload,
        .deadline_ms = (uint32_t)(a->deadline_s * 1000),
        .cancel_flag = &interrupted,
        .progress = a->quiet ? NULL : on_progress,
        .send_ek_cert = a->ek_cert,
    };
    const struct sigaction action = {.sa_handler = on_interrupt};
    int code;
    enum lk_err err;

    (void)sigaction(SIGINT, &action, NULL); /* only fails for a bad signal number */
    (void)sigaction(SIGTERM, &action, NULL);
    if ((code = lk_cli_tpm_open(&a->tpm, &tpm)) != 0) {
        return code;
    }
    errno = 0;
    err = lk_device_register(tpm, &opts, &result);
    if (err == LK_ERR_NOT_FOUND && a->ek_cert) {
        lk_cli_note("the TPM has no certificate of the endorsement key in use; latchkey doctor "
                    "tells more");
    }
    if (err != LK_OK) {
        return register_failed(tpm, err, &result);
    }
    return register_done(a, &result);
}

int
lk_cli_device_register(int argc, char **argv)
{
    __attribute__((cleanup(args_fini))) struct args a = {.url = NULL};
    LK_AUTO_BUF struct lk_buf payload = LK_BUF_INIT;
    char shown[LK_CLI_SHOWN_CAP];
    int code;
    enum lk_err err;

    if (!lk_cli_options(&form, argc, argv, &a.common, &a, &code)) {
        return code;
    }
    if (a.url == NULL || a.common.scope == NULL) {
        return lk_cli_usage(form.usage, "--url and --scope are needed");
    }
    if (a.ca_file != NULL && access(a.ca_file, R_OK) != 0) {
        return lk_cli_fail(LK_ERR_IO, "cannot read %s", lk_cli_shown(a.ca_file, shown));
    }
    if (a.payload_file != NULL &&
        (err = lk_cli_file_read(a.payload_file, 65536, &payload)) != LK_OK) {
        return lk_cli_fail(err, "cannot read %s", lk_cli_shown(a.payload_file, shown));
    }
    return register_run(&a, a.payload_file != NULL ? lk_buf_text(&payload) : NULL);
}
