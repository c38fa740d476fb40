/* latchkey device: what a factory line and a device do. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include <latchkey/latchkey.h>

#include "base/codec.h"
#include "base/json.h"
#include "cli/options.h"
#include "cli/tpm_opts.h"

/* Options of the four commands; which ones count is each command's own table. */
enum {
    OPT_JSON = LK_CLI_OPT_OWN,
    OPT_HELP,
    OPT_MANIFEST,
    OPT_HEADER,
    OPT_REGISTRATION_ID,
    OPT_URL,
    OPT_ID_SCOPE,
    OPT_CA_FILE,
    OPT_PAYLOAD_FILE,
    OPT_DEADLINE,
    OPT_QUIET,
    OPT_HUB,
    OPT_DEVICE_ID,
    OPT_TTL
};

struct args {
    struct lk_cli_tpm tpm;
    bool json, header, quiet, help;
    const char *manifest; /* NULL, "csv" or "jsonl" */
    const char *registration_id;
    const char *url, *id_scope, *ca_file, *payload_file;
    const char *hub, *device_id;
    uint64_t deadline_s, ttl_s;
};

static void
args_fini(struct args *a)
{
    lk_cli_tpm_fini(&a->tpm);
}
#define AUTO_ARGS __attribute__((cleanup(args_fini)))

static enum lk_err
seconds_parse(const char *value, uint64_t max, uint64_t *ret)
{
    uint64_t number;

    if (lk_decimal_parse(value, strlen(value), &number) != LK_OK || number == 0 || number > max) {
        return LK_ERR_ARG;
    }
    *ret = number;
    return LK_OK;
}

static enum lk_err
option_take(struct args *a, int option, const char *value)
{
    switch (option) {
    case OPT_JSON:
        a->json = true;
        return LK_OK;
    case OPT_HELP:
        a->help = true;
        return LK_OK;
    case OPT_HEADER:
        a->header = true;
        return LK_OK;
    case OPT_QUIET:
        a->quiet = true;
        return LK_OK;
    case OPT_MANIFEST:
        a->manifest = value;
        return strcmp(value, "csv") == 0 || strcmp(value, "jsonl") == 0 ? LK_OK : LK_ERR_ARG;
    case OPT_REGISTRATION_ID:
        a->registration_id = value;
        return LK_OK;
    case OPT_URL:
        a->url = value;
        return LK_OK;
    case OPT_ID_SCOPE:
        a->id_scope = value;
        return LK_OK;
    case OPT_CA_FILE:
        a->ca_file = value;
        return LK_OK;
    case OPT_PAYLOAD_FILE:
        a->payload_file = value;
        return LK_OK;
    case OPT_HUB:
        a->hub = value;
        return LK_OK;
    case OPT_DEVICE_ID:
        a->device_id = value;
        return LK_OK;
    case OPT_DEADLINE:
        return seconds_parse(value, 86400, &a->deadline_s);
    case OPT_TTL:
        return seconds_parse(value, 366ull * 86400, &a->ttl_s);
    default:
        return lk_cli_tpm_option(&a->tpm, option, value);
    }
}

/* Read the options of one command. Non-zero is an exit code; the reason has been told. */
static int
args_read(struct args *a, const struct option *options, const char *usage, int argc, char **argv)
{
    int option, index = 0;
    enum lk_err err;

    optind = 0; /* glibc: start over, main's own parsing is done */
    while ((option = getopt_long(argc, argv, "+:", options, &index)) != -1) {
        if (option == ':' || option == '?') {
            return lk_cli_usage(usage, "%s \"%s\"",
                                option == ':' ? "a value is missing after" : "no option",
                                argv[optind - 1]);
        }
        err = option_take(a, option, optarg);
        if (err == LK_ERR_ARG) {
            return lk_cli_usage(usage, "--%s cannot be \"%s\"", options[index].name, optarg);
        }
        if (err != LK_OK) {
            return lk_cli_fail(err, "cannot read --%s", options[index].name);
        }
    }
    if (optind < argc) {
        return lk_cli_usage(usage, "\"%s\" is one argument too many", argv[optind]);
    }
    return 0;
}

static int
help_print(const char *usage, const char *text)
{
    (void)printf("usage: %s\n\n%s\n%s", usage, text, lk_cli_tpm_help);
    return 0;
}

static enum lk_err
base64_text(const uint8_t *data, size_t len, struct lk_buf *buf, const char **ret)
{
    enum lk_err err = lk_base64_encode(data, len, buf);

    *ret = err == LK_OK ? lk_buf_text(buf) : NULL;
    return err == LK_OK && *ret == NULL ? LK_ERR_NOMEM : err;
}

/* ---- show ------------------------------------------------------------------------------------ */

static const char show_usage[] =
    "latchkey device show [--json | --manifest csv|jsonl [--header]] [--registration-id ID]";
static const char show_help[] =
    "Show this TPM's endorsement and storage root key. With --manifest, print the line that\n"
    "`latchkey enrollment import` takes: collect one from each device.\n\n"
    "  --manifest csv|jsonl     one manifest line; --header puts the CSV column names before it\n"
    "  --registration-id ID     instead of the default one, which is derived from the EK\n"
    "  --json                   everything, as one JSON document\n";

struct shown {
    struct lk_tpm_info info;
    struct lk_tpm_public ek, srk;
    char registration_id[129];
    struct lk_buf ek_buf, srk_buf;
    const char *ek_text, *srk_text; /* base64 */
    char ek_name[32], srk_name[32];
    char firmware[32];
};

static void
shown_fini(struct shown *s)
{
    lk_buf_fini(&s->ek_buf);
    lk_buf_fini(&s->srk_buf);
}

static enum lk_err
shown_read(struct lk_tpm *tpm, const char *registration_id, bool with_srk, struct shown *s)
{
    enum lk_err err;

    if ((err = lk_tpm_info(tpm, &s->info)) != LK_OK || (err = lk_tpm_ek(tpm, &s->ek)) != LK_OK ||
        (err = base64_text(s->ek.tpm2b, s->ek.tpm2b_len, &s->ek_buf, &s->ek_text)) != LK_OK) {
        return err;
    }
    lk_cli_key_name(&s->ek, s->ek_name, sizeof(s->ek_name));
    (void)snprintf(s->firmware, sizeof(s->firmware), "%08x.%08x", s->info.firmware_version_1,
                   s->info.firmware_version_2);
    err = registration_id != NULL
              ? lk_strcpy(s->registration_id, sizeof(s->registration_id), registration_id)
              : lk_tpm_registration_id(tpm, s->registration_id);
    if (err != LK_OK || !with_srk) {
        return err;
    }
    if ((err = lk_tpm_srk(tpm, &s->srk)) != LK_OK ||
        (err = base64_text(s->srk.tpm2b, s->srk.tpm2b_len, &s->srk_buf, &s->srk_text)) != LK_OK) {
        return err;
    }
    lk_cli_key_name(&s->srk, s->srk_name, sizeof(s->srk_name));
    return LK_OK;
}

static json_t *
key_json(const struct lk_tpm_public *pub, const char *name, const char *base64)
{
    json_t *o = json_pack("{s:s, s:s, s:s, s:s*, s:s*}", "type", name, "public", base64, "recipe",
                          lk_tpm_recipe_text(pub->recipe), "id",
                          pub->id[0] != '\0' ? pub->id : NULL, "refusal", pub->refusal);

    if (o != NULL && pub->handle != 0) {
        (void)json_object_set_new(o, "handle", json_sprintf("0x%08x", pub->handle));
    }
    return o;
}

static int
show_json(const struct shown *s)
{
    LK_AUTO(json)
    json_t *o = json_pack("{s:s, s:{s:s, s:s, s:s, s:s}, s:o, s:o, s:b}", "registrationId",
                          s->registration_id, "tpm", "manufacturer", s->info.manufacturer, "vendor",
                          s->info.vendor, "kind", lk_tpm_kind_name(s->info.kind), "firmware",
                          s->firmware, "endorsementKey", key_json(&s->ek, s->ek_name, s->ek_text),
                          "storageRootKey", key_json(&s->srk, s->srk_name, s->srk_text),
                          "hasIdentityKey", s->info.has_identity_key);

    return o == NULL ? lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer") : lk_cli_print_json(o);
}

/* What the import reads. The columns besides the first two are for people and cross-checks. */
static int
show_manifest(const struct shown *s, const struct args *a)
{
    LK_AUTO(json) json_t *o = NULL;

    if (strcmp(a->manifest, "jsonl") == 0) {
        o = json_pack("{s:s, s:s, s:s, s:s, s:s}", "registrationId", s->registration_id,
                      "endorsementKey", s->ek_text, "ekId", s->ek.id, "ekType", s->ek_name,
                      "tpmKind", lk_tpm_kind_name(s->info.kind));
        return o == NULL ? lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer")
                         : lk_cli_print_json(o);
    }
    if (a->header) {
        (void)puts("registrationId,endorsementKey,ekId,ekType,tpmKind");
    }
    (void)printf("%s,%s,%s,%s,%s\n", s->registration_id, s->ek_text, s->ek.id, s->ek_name,
                 lk_tpm_kind_name(s->info.kind));
    return 0;
}

static void
show_key(const char *title, const struct lk_tpm_public *pub, const char *name, const char *base64)
{
    (void)printf("%s\n  kind            %s\n  from            %s", title, name,
                 lk_tpm_recipe_text(pub->recipe));
    if (pub->handle != 0) {
        (void)printf(", 0x%08x", pub->handle);
    }
    (void)printf("\n  id              %s\n  public          %s\n",
                 pub->id[0] != '\0' ? pub->id : "none", base64);
    if (pub->refusal != NULL) {
        (void)printf("  NOT ACCEPTED    %s\n", pub->refusal);
    }
}

static int
show_human(const struct shown *s)
{
    (void)printf("TPM               %s \"%s\", firmware %s (%s)\n", s->info.manufacturer,
                 s->info.vendor, s->firmware, lk_tpm_kind_name(s->info.kind));
    (void)printf("registration ID   %s\n", s->registration_id);
    show_key("endorsement key", &s->ek, s->ek_name, s->ek_text);
    show_key("storage root key", &s->srk, s->srk_name, s->srk_text);
    (void)printf("identity key      %s\n", s->info.has_identity_key ? "present" : "none yet");
    if (s->info.kind == LK_TPM_KIND_SOFTWARE) {
        lk_cli_note("this is a software TPM: it proves nothing about hardware");
    }
    return 0;
}

static int
device_show(int argc, char **argv)
{
    static const struct option options[] = {
        LK_CLI_TPM_OPTIONS,
        {"json", no_argument, NULL, OPT_JSON},
        {"manifest", required_argument, NULL, OPT_MANIFEST},
        {"header", no_argument, NULL, OPT_HEADER},
        {"registration-id", required_argument, NULL, OPT_REGISTRATION_ID},
        {"help", no_argument, NULL, OPT_HELP},
        {NULL, 0, NULL, 0}};
    AUTO_ARGS struct args a = {0};
    LK_AUTO(lk_cli_tpm_conn) struct lk_tpm *tpm = NULL;
    __attribute__((cleanup(shown_fini))) struct shown s = {0};
    int code;
    enum lk_err err;

    if ((code = args_read(&a, options, show_usage, argc, argv)) != 0) {
        return code;
    }
    if (a.help) {
        return help_print(show_usage, show_help);
    }
    if (a.registration_id != NULL && strpbrk(a.registration_id, ",\"\r\n") != NULL) {
        return lk_cli_usage(show_usage, "that is no registration ID");
    }
    if ((code = lk_cli_tpm_open(&a.tpm, &tpm)) != 0) {
        return code;
    }
    if ((err = shown_read(tpm, a.registration_id, a.manifest == NULL, &s)) != LK_OK) {
        return lk_cli_tpm_fail(tpm, err, "cannot read the TPM's keys");
    }
    if (a.manifest == NULL) {
        return a.json ? show_json(&s) : show_human(&s);
    }
    if (s.ek.refusal != NULL) {
        lk_cli_note("no service would accept this endorsement key: %s", s.ek.refusal);
        return lk_err_exit_code(LK_ERR_UNSUPPORTED);
    }
    return show_manifest(&s, &a);
}

/* ---- register -------------------------------------------------------------------------------- */

static const char register_usage[] =
    "latchkey device register --url URL --scope ID_SCOPE [--registration-id ID] [--ca-file FILE]\n"
    "                         [--payload-file FILE] [--deadline SECONDS] [--json] [--quiet]";
static const char register_help[] =
    "Register this device with a provisioning service and keep the hub's key in the TPM.\n\n"
    "  --url URL                https://host[:port] of the service\n"
    "  --scope ID_SCOPE         the service's ID scope\n"
    "  --registration-id ID     default: derived from the endorsement key\n"
    "  --ca-file FILE           trust these CAs (PEM) instead of the system's\n"
    "  --payload-file FILE      JSON for the service's allocation (- is stdin)\n"
    "  --deadline SECONDS       for everything; default 300\n"
    "  --json                   the result as one JSON document\n"
    "  --quiet                  no progress on stderr\n";

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
    return lk_cli_tpm_fail(tpm, err, "not registered");
}

static int
register_done(const struct args *a, const struct lk_register_result *r)
{
    LK_AUTO(json) json_t *o = NULL;
    char hub[LK_CLI_SHOWN_CAP], id[LK_CLI_SHOWN_CAP], payload_text[LK_CLI_SHOWN_CAP];
    json_t *payload = NULL;

    if (!a->json) {
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
        .id_scope = a->id_scope,
        .registration_id = a->registration_id,
        .ca_file = a->ca_file,
        .payload_json = payload,
        .deadline_ms = (uint32_t)(a->deadline_s * 1000),
        .cancel_flag = &interrupted,
        .progress = a->quiet ? NULL : on_progress,
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
    if ((err = lk_device_register(tpm, &opts, &result)) != LK_OK) {
        return register_failed(tpm, err, &result);
    }
    return register_done(a, &result);
}

static int
device_register(int argc, char **argv)
{
    static const struct option options[] = {
        LK_CLI_TPM_OPTIONS,
        {"url", required_argument, NULL, OPT_URL},
        {"scope", required_argument, NULL, OPT_ID_SCOPE},
        {"registration-id", required_argument, NULL, OPT_REGISTRATION_ID},
        {"ca-file", required_argument, NULL, OPT_CA_FILE},
        {"payload-file", required_argument, NULL, OPT_PAYLOAD_FILE},
        {"deadline", required_argument, NULL, OPT_DEADLINE},
        {"json", no_argument, NULL, OPT_JSON},
        {"quiet", no_argument, NULL, OPT_QUIET},
        {"help", no_argument, NULL, OPT_HELP},
        {NULL, 0, NULL, 0}};
    AUTO_ARGS struct args a = {0};
    LK_AUTO_BUF struct lk_buf payload = LK_BUF_INIT;
    int code;
    enum lk_err err;

    if ((code = args_read(&a, options, register_usage, argc, argv)) != 0) {
        return code;
    }
    if (a.help) {
        return help_print(register_usage, register_help);
    }
    if (a.url == NULL || a.id_scope == NULL) {
        return lk_cli_usage(register_usage, "--url and --scope are needed");
    }
    if (a.payload_file != NULL &&
        (err = lk_cli_file_read(a.payload_file, 65536, &payload)) != LK_OK) {
        return lk_cli_fail(err, "cannot read %s", a.payload_file);
    }
    return register_run(&a, a.payload_file != NULL ? lk_buf_text(&payload) : NULL);
}

/* ---- token ----------------------------------------------------------------------------------- */

static const char token_usage[] =
    "latchkey device token --hub HOST --device-id ID [--ttl SECONDS] [--json]";
static const char token_help[] =
    "Print a SAS token for the hub, signed in the TPM by the key of the last registration. It is\n"
    "the password with which an MQTT client logs on.\n\n"
    "  --hub HOST               the assigned hub\n"
    "  --device-id ID           the device's name there\n"
    "  --ttl SECONDS            life of the token; default 3600\n"
    "  --json                   with its expiry, as one JSON document\n";

static int
token_print(const struct args *a, const char *token, uint64_t expiry_s)
{
    LK_AUTO(json) json_t *o = NULL;

    if (!a->json) {
        (void)puts(token);
        return 0;
    }
    o = json_pack("{s:s, s:I}", "token", token, "expiry", (json_int_t)expiry_s);
    return o == NULL ? lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer") : lk_cli_print_json(o);
}

static int
device_token(int argc, char **argv)
{
    static const struct option options[] = {LK_CLI_TPM_OPTIONS,
                                            {"hub", required_argument, NULL, OPT_HUB},
                                            {"device-id", required_argument, NULL, OPT_DEVICE_ID},
                                            {"ttl", required_argument, NULL, OPT_TTL},
                                            {"json", no_argument, NULL, OPT_JSON},
                                            {"help", no_argument, NULL, OPT_HELP},
                                            {NULL, 0, NULL, 0}};
    AUTO_ARGS struct args a = {.ttl_s = 3600};
    LK_AUTO(lk_cli_tpm_conn) struct lk_tpm *tpm = NULL;
    char token[LK_DEVICE_SAS_CAP];
    uint64_t expiry_s;
    int code;
    enum lk_err err;

    if ((code = args_read(&a, options, token_usage, argc, argv)) != 0) {
        return code;
    }
    if (a.help) {
        return help_print(token_usage, token_help);
    }
    if (a.hub == NULL || a.device_id == NULL) {
        return lk_cli_usage(token_usage, "--hub and --device-id are needed");
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

static const char forget_usage[] = "latchkey device forget";
static const char forget_help[] = "Remove the hub's key from the TPM. The device can register "
                                  "again; until then it cannot log on\n"
                                  "to its hub. Nothing else in the TPM is touched.\n";

static int
device_forget(int argc, char **argv)
{
    static const struct option options[] = {
        LK_CLI_TPM_OPTIONS, {"help", no_argument, NULL, OPT_HELP}, {NULL, 0, NULL, 0}};
    AUTO_ARGS struct args a = {0};
    LK_AUTO(lk_cli_tpm_conn) struct lk_tpm *tpm = NULL;
    int code;
    enum lk_err err;

    if ((code = args_read(&a, options, forget_usage, argc, argv)) != 0) {
        return code;
    }
    if (a.help) {
        return help_print(forget_usage, forget_help);
    }
    if ((code = lk_cli_tpm_open(&a.tpm, &tpm)) != 0) {
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
        {"show", device_show, "show the TPM's keys, or print a manifest line"},
        {"register", device_register, "register with a provisioning service"},
        {"token", device_token, "print a token for the hub"},
        {"forget", device_forget, "remove the hub's key from the TPM"},
        {NULL, NULL, NULL},
    };

    return lk_cli_dispatch(commands, "latchkey device", argc, argv);
}
