/* latchkey enrollment add. */
#include <errno.h>
#include <string.h>

#include "base/codec.h"
#include "cli/attestation.h"
#include "cli/cmd_enrollment.h"

enum {
    OPT_REGISTRATION_ID = LK_CLI_OPT_COMMAND,
    OPT_EK,
    OPT_DEVICE_ID,
    OPT_HUB,
    OPT_DISABLED,
    OPT_INITIAL_TWIN,
    OPT_REPROVISION,
    OPT_ALLOCATION,
    OPT_WEBHOOK,
    OPT_WEBHOOK_API_VERSION
};

#define WEBHOOK_API_VERSION "2021-10-01" /* that a webhook is told unless another is given */

/* ---- add ------------------------------------------------------------------------------------- */

struct add_args {
    const char *registration_id, *device_id, *initial_twin;
    const char *hubs[LK_HUBS_PER_ENROLLMENT];
    size_t hubs_count;
    const char *reprovision; /* NULL, or one of the three words */
    enum lk_allocation allocation;
    const char *webhook, *webhook_api_version;
    bool disabled;
    struct lk_cli_eks eks;
    struct lk_cli_attestation attestation;
};

static enum lk_err
hub_take(struct add_args *a, const char *value)
{
    if (a->hubs_count == LK_HUBS_PER_ENROLLMENT || !lk_host_name_ok(value, strlen(value))) {
        return LK_ERR_ARG;
    }
    a->hubs[a->hubs_count++] = value;
    return LK_OK;
}

static enum lk_err
allocation_take(struct add_args *a, const char *value)
{
    static const char *const words[] = {[LK_ALLOC_HASHED] = "hashed",
                                        [LK_ALLOC_GEO] = "geoLatency",
                                        [LK_ALLOC_STATIC] = "static",
                                        [LK_ALLOC_CUSTOM] = "custom"};

    for (size_t i = LK_ALLOC_HASHED; i < LK_ARRAY_LEN(words); i++) {
        if (strcmp(value, words[i]) == 0) {
            a->allocation = (enum lk_allocation)i;
            return LK_OK;
        }
    }
    return LK_ERR_ARG;
}

static enum lk_err
add_take(void *ctx, int option, const char *value)
{
    struct add_args *a = (struct add_args *)ctx;

    switch (option) {
    case OPT_REGISTRATION_ID:
        a->registration_id = value;
        return LK_OK;
    case OPT_EK:
        return lk_cli_ek_take(&a->eks, value);
    case OPT_DEVICE_ID:
        a->device_id = value;
        return lk_device_id_ok(value, strlen(value)) ? LK_OK : LK_ERR_ARG;
    case OPT_HUB:
        return hub_take(a, value);
    case OPT_INITIAL_TWIN:
        a->initial_twin = value;
        return LK_OK;
    case OPT_REPROVISION:
        a->reprovision = value;
        return strcmp(value, "migrate") == 0 || strcmp(value, "reset") == 0 ||
                       strcmp(value, "never") == 0
                   ? LK_OK
                   : LK_ERR_ARG;
    case OPT_ALLOCATION:
        return allocation_take(a, value);
    case OPT_WEBHOOK:
        a->webhook = value;
        return lk_webhook_url_ok(value) && strlen(value) <= LK_WEBHOOK_URL_MAX ? LK_OK : LK_ERR_ARG;
    case OPT_WEBHOOK_API_VERSION:
        a->webhook_api_version = value;
        return value[0] != '\0' && strlen(value) < LK_API_VERSION_CAP ? LK_OK : LK_ERR_ARG;
    case OPT_DISABLED:
        a->disabled = true;
        return LK_OK;
    default:
        return lk_cli_attestation_take(&a->attestation, option, value);
    }
}

static const struct lk_cli_form add_form = {
    .usage =
        "latchkey enrollment add --registration-id ID\n"
        "         --ek BASE64|@FILE [--ek ...] | --certificate FILE [--certificate FILE] |\n"
        "         --symmetric-key [--primary-key-file FILE] [--secondary-key-file FILE]\n"
        "         [--device-id ID] [--hub NAME] [--disabled] [--initial-twin FILE]\n"
        "         [--reprovision migrate|reset|never]\n"
        "         [--allocation hashed|geoLatency|static|custom]\n"
        "         [--webhook URL [--webhook-api-version VERSION]] [--scope ID] [--config FILE]",
    .help =
        "Enroll one device.\n\n"
        "  --registration-id ID     the name that it registers with\n" LK_CLI_EK_HELP
        "  --certificate FILE       it has no TPM, but this TLS client certificate with its\n"
        "                           registration ID as common name; again for the next one\n"
        "  --symmetric-key          it has no TPM, but a key that the service knows too: a fresh\n"
        "                           one, told by `latchkey enrollment keys`, or that of\n"
        "  --primary-key-file FILE  (- is stdin): base64 of 16 to 64 bytes; and as second key of\n"
        "  --secondary-key-file FILE\n"
        "  --device-id ID           its name at the hub; default: the registration ID\n"
        "  --hub NAME               assign it to this linked hub; again for a choice of several;\n"
        "                           default: any\n"
        "  --disabled               refuse it until it is enabled\n"
        "  --initial-twin FILE      JSON object for the device's twin at its first assignment\n"
        "  --reprovision POLICY     when another hub is chosen: migrate its data (default), reset\n"
        "                           it, or never move\n"
        "  --allocation POLICY      how the hub is chosen: hashed over those that may be, by\n"
        "                           region (geoLatency), static (the one --hub), or custom;\n"
        "                           default: the scope's\n"
        "  --webhook URL            ask it for the hub at every registration; the policy is then\n"
        "                           custom\n"
        "  --webhook-api-version VERSION  what the webhook is told; default "
        "2021-10-01\n" LK_CLI_SCOPE_HELP LK_CLI_CONFIG_HELP,
    .options =
        (const struct option[]){
            {"registration-id", required_argument, NULL, OPT_REGISTRATION_ID},
            {"ek", required_argument, NULL, OPT_EK},
            LK_CLI_SYMMETRIC_OPTIONS,
            {"certificate", required_argument, NULL, LK_CLI_OPT_CERTIFICATE},
            {"device-id", required_argument, NULL, OPT_DEVICE_ID},
            {"hub", required_argument, NULL, OPT_HUB},
            {"disabled", no_argument, NULL, OPT_DISABLED},
            {"initial-twin", required_argument, NULL, OPT_INITIAL_TWIN},
            {"reprovision", required_argument, NULL, OPT_REPROVISION},
            {"allocation", required_argument, NULL, OPT_ALLOCATION},
            {"webhook", required_argument, NULL, OPT_WEBHOOK},
            {"webhook-api-version", required_argument, NULL, OPT_WEBHOOK_API_VERSION},
            LK_CLI_SCOPE_OPTION,
            LK_CLI_CONFIG_OPTION,
            LK_CLI_END_OPTIONS},
    .take = add_take,
};

static int
twin_read(const char *path, struct lk_enrollment *e)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    LK_AUTO(json) json_t *twin = NULL;
    char error[LK_JSON_ERROR_CAP], shown[LK_CLI_SHOWN_CAP];
    enum lk_err err;

    errno = 0;
    if ((err = lk_cli_file_read(path, LK_MANIFEST_TWIN_MAX, &text)) != LK_OK) {
        return lk_cli_fail(err, "cannot read %s", lk_cli_shown(path, shown));
    }
    if ((err = lk_json_parse(text.data, text.len, false, error, &twin)) != LK_OK) {
        lk_cli_note("%s: %s", lk_cli_shown(path, shown), error);
        return lk_err_exit_code(err);
    }
    e->initial_twin.max = LK_MANIFEST_TWIN_MAX;
    if ((err = lk_json_write(twin, &e->initial_twin)) != LK_OK) {
        return lk_cli_fail(err, "cannot take %s", lk_cli_shown(path, shown));
    }
    return 0;
}

static enum lk_err
allocation_fill(const struct add_args *a, struct lk_enrollment *e)
{
    const char *version =
        a->webhook_api_version != NULL ? a->webhook_api_version : WEBHOOK_API_VERSION;
    enum lk_err err;

    e->allocation = a->webhook != NULL ? LK_ALLOC_CUSTOM : a->allocation;
    if (a->webhook == NULL) {
        return LK_OK;
    }
    err = lk_strcpy(e->webhook_url, sizeof(e->webhook_url), a->webhook);
    return err != LK_OK
               ? err
               : lk_strcpy(e->webhook_api_version, sizeof(e->webhook_api_version), version);
}

static int
add_fill(const struct add_args *a, struct lk_cli_enrollment *c)
{
    struct lk_enrollment *e = &c->e;
    enum lk_err err = LK_OK;

    for (size_t i = 0; err == LK_OK && i < a->hubs_count; i++) {
        err = lk_strcpy(e->hubs[i], sizeof(e->hubs[i]), a->hubs[i]);
        lk_ascii_lower(e->hubs[i]);
    }
    if (err != LK_OK || (err = lk_strcpy(e->scope, sizeof(e->scope), c->scope)) != LK_OK ||
        (err = lk_strcpy(e->id, sizeof(e->id), c->id)) != LK_OK ||
        (a->device_id != NULL &&
         (err = lk_strcpy(e->device_id, sizeof(e->device_id), a->device_id)) != LK_OK) ||
        (err = allocation_fill(a, e)) != LK_OK) {
        return lk_cli_fail(err, "cannot add the enrollment");
    }
    e->hubs_count = a->hubs_count;
    e->enabled = !a->disabled;
    if (a->reprovision != NULL) {
        e->reprovision_update_hub = strcmp(a->reprovision, "never") != 0;
        e->reprovision_migrate = strcmp(a->reprovision, "migrate") == 0;
    }
    return a->initial_twin != NULL ? twin_read(a->initial_twin, e) : 0;
}

/* The audit record names the keys: what was trusted is the point of it. */
static enum lk_err
created_record(struct lk_txn *tx, const struct lk_cli_enrollment *c)
{
    LK_AUTO(json) json_t *detail = json_object();
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    json_t *ids = json_array();
    char id[LK_CLI_EK_ID_CAP];

    if (json_object_set_new(detail, "endorsementKeyIds", ids) != 0 ||
        (c->e.attestation != LK_ATTESTATION_TPM &&
         lk_cli_attestation_json(&c->e, detail) != LK_OK)) {
        return LK_ERR_NOMEM;
    }
    for (size_t i = 0; i < c->e.eks_count; i++) {
        if (json_array_append_new(ids, json_string(lk_cli_ek_id(c->e.eks[i].id, id))) != 0) {
            return LK_ERR_NOMEM;
        }
    }
    if (lk_json_write(detail, &text) != LK_OK || lk_buf_text(&text) == NULL) {
        return LK_ERR_NOMEM;
    }
    return lk_txn_audit_append(tx, c->actor, "enrollment.create", c->scope, c->e.id,
                               lk_buf_text(&text));
}

static enum lk_err
add_run(struct lk_txn *tx, void *arg)
{
    struct lk_cli_enrollment *c = (struct lk_cli_enrollment *)arg;
    enum lk_err err;

    if ((err = lk_enrollment_check(tx, &c->e, &c->problem)) != LK_OK ||
        (err = lk_txn_enrollment_create(tx, &c->e, &c->conflict)) != LK_OK) {
        return err;
    }
    return created_record(tx, c);
}

int
lk_cli_enrollment_add(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    LK_AUTO_CLI_ENROLLMENT c;
    struct lk_cli_common common = {.json = false};
    struct add_args a = {.disabled = false};
    unsigned ways;
    int code;
    enum lk_err err;

    lk_cli_enrollment_init(&c);
    if (!lk_cli_options(&add_form, argc, argv, &common, &a, &code)) {
        return code;
    }
    ways = lk_cli_attestation_ways(&a.attestation) + (a.eks.count > 0 ? 1 : 0);
    if (a.registration_id == NULL || ways == 0) {
        return lk_cli_usage(add_form.usage, "--registration-id and --ek are needed, or in place of "
                                            "--ek one of --certificate and --symmetric-key");
    }
    if (ways > 1) {
        return lk_cli_usage(add_form.usage,
                            "only one of --ek, --certificate and --symmetric-key is possible");
    }
    if (lk_cli_attestation_is_odd(&a.attestation)) {
        return lk_cli_usage(add_form.usage, "key files go with --symmetric-key");
    }
    if ((a.webhook != NULL) != (a.allocation == LK_ALLOC_CUSTOM ||
                                (a.webhook != NULL && a.allocation == LK_ALLOC_DEFAULT))) {
        return lk_cli_usage(add_form.usage, "--webhook goes with --allocation custom, and with "
                                            "no other");
    }
    if ((code = lk_cli_enrollment_open(&common, LK_CLI_WRITE, a.registration_id, &s, &c)) != 0 ||
        (code = add_fill(&a, &c)) != 0 ||
        (code = a.eks.count > 0 ? lk_cli_eks_add(&a.eks, &c.e)
                                : lk_cli_attestation_fill(&a.attestation, &s, LK_KEYS_OF_ENROLLMENT,
                                                          &c.e)) != 0) {
        return code;
    }
    if ((err = lk_store_write_wait(s.session, add_run, &c)) != LK_OK) {
        return lk_cli_enrollment_fail(err, &c, "cannot add the enrollment");
    }
    lk_cli_note("%s is enrolled in %s%s", c.e.id, c.scope, c.e.enabled ? "" : ", disabled");
    return 0;
}
