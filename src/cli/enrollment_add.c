/* latchkey enrollment add. */
#include <string.h>

#include "base/codec.h"
#include "cli/attestation.h"
#include "cli/cmd_enrollment.h"
#include "cli/terms.h"

enum { OPT_REGISTRATION_ID = LK_CLI_OPT_COMMAND, OPT_EK, OPT_DEVICE_ID, OPT_DISABLED };

/* ---- add ------------------------------------------------------------------------------------- */

struct add_args {
    const char *registration_id, *device_id;
    bool disabled;
    struct lk_cli_eks eks;
    struct lk_cli_attestation attestation;
    struct lk_cli_terms terms;
};

static void
add_args_fini(struct add_args *a)
{
    lk_cli_terms_fini(&a->terms);
}
#define AUTO_ADD_ARGS __attribute__((cleanup(add_args_fini))) struct add_args

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
    case OPT_DISABLED:
        a->disabled = true;
        return LK_OK;
    default:
        return lk_cli_terms_is(option) ? lk_cli_terms_take(&a->terms, option, value)
                                       : lk_cli_attestation_take(&a->attestation, option, value);
    }
}

static const struct lk_cli_form add_form = {
    .usage = "latchkey enrollment add --registration-id ID\n"
             "         --ek BASE64|@FILE [--ek ...] | --certificate FILE [--certificate FILE] |\n"
             "         --symmetric-key [--primary-key-file FILE] [--secondary-key-file FILE]\n"
             "         [--device-id ID] [--disabled] " LK_CLI_TERMS_USAGE "\n"
             "         [--scope ID] [SERVICE]",
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
        "  --disabled               refuse it until it is enabled\n" LK_CLI_TERMS_HELP
            LK_CLI_SCOPE_HELP LK_CLI_SERVICE_HELP,
    .options =
        (const struct option[]){{"registration-id", required_argument, NULL, OPT_REGISTRATION_ID},
                                {"ek", required_argument, NULL, OPT_EK},
                                LK_CLI_SYMMETRIC_OPTIONS,
                                {"certificate", required_argument, NULL, LK_CLI_OPT_CERTIFICATE},
                                {"device-id", required_argument, NULL, OPT_DEVICE_ID},
                                {"disabled", no_argument, NULL, OPT_DISABLED},
                                LK_CLI_TERMS_OPTIONS,
                                LK_CLI_SCOPE_OPTION,
                                LK_CLI_SERVICE_OPTIONS,
                                LK_CLI_END_OPTIONS},
    .take = add_take,
};

static int
add_fill(const struct add_args *a, struct lk_cli_enrollment *c)
{
    struct lk_enrollment *e = &c->e;
    enum lk_err err;

    e->enabled = !a->disabled;
    if ((err = lk_strcpy(e->scope, sizeof(e->scope), c->scope)) != LK_OK ||
        (err = lk_strcpy(e->id, sizeof(e->id), c->id)) != LK_OK ||
        (a->device_id != NULL &&
         (err = lk_strcpy(e->device_id, sizeof(e->device_id), a->device_id)) != LK_OK) ||
        (err = lk_cli_terms_apply(&a->terms, e)) != LK_OK) {
        return lk_cli_fail(err, "cannot add the enrollment");
    }
    return 0;
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

/* 0, or an exit code after telling what went wrong. */
static int
add_send(struct lk_cli_enrollment *c, const struct lk_shared_keys *keys)
{
    enum lk_err err = lk_remote_entity_put(c->remote, LK_ENTITY_ENROLLMENT, keys, NULL, &c->e);

    if (err != LK_OK) {
        return lk_cli_enrollment_fail(err, c, "cannot add the enrollment");
    }
    return 0;
}

static int
add_store(struct lk_cli_service *s, struct lk_cli_enrollment *c)
{
    enum lk_err err = lk_store_write_wait(s->session, add_run, c);

    return err == LK_OK ? 0 : lk_cli_enrollment_fail(err, c, "cannot add the enrollment");
}

int
lk_cli_enrollment_add(int argc, char **argv)
{
    LK_AUTO_SHARED_KEYS struct lk_shared_keys keys = {.primary = {.len = 0}};
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    LK_AUTO_CLI_ENROLLMENT c;
    struct lk_cli_common common = {.json = false};
    AUTO_ADD_ARGS a = {.disabled = false};
    const char *objection;
    unsigned ways;
    int code;

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
    if ((objection = lk_cli_terms_objection(&a.terms)) != NULL) {
        return lk_cli_usage(add_form.usage, "%s", objection);
    }
    if ((code = lk_cli_terms_read(&a.terms)) != 0 ||
        (code = lk_cli_enrollment_open(&common, LK_CLI_WRITE, a.registration_id, &s, &c)) != 0 ||
        (code = add_fill(&a, &c)) != 0 ||
        (code = a.eks.count > 0 ? lk_cli_eks_add(&a.eks, &c.e)
                                : lk_cli_attestation_fill(&a.attestation, &s, LK_KEYS_OF_ENROLLMENT,
                                                          &keys, &c.e)) != 0 ||
        (code = s.remote != NULL ? add_send(&c, &keys) : add_store(&s, &c)) != 0) {
        return code;
    }
    lk_cli_note("%s is enrolled in %s%s", c.e.id,
                c.e.scope[0] != '\0' ? c.e.scope : lk_remote_name(s.remote),
                c.e.enabled ? "" : ", disabled");
    return 0;
}
