/* latchkey group add. */
#include <string.h>

#include "cli/cmd_group.h"

enum { OPT_DISABLED = LK_CLI_OPT_COMMAND };

static enum lk_err
add_take(void *ctx, int option, const char *value)
{
    struct lk_cli_group *c = (struct lk_cli_group *)ctx;

    if (option == OPT_DISABLED) {
        c->disabled = true;
        return LK_OK;
    }
    if (lk_cli_terms_is(option)) {
        return lk_cli_terms_take(&c->terms, option, value);
    }
    return lk_cli_group_rules_is(option) ? lk_cli_group_rules_take(&c->rules, option, value)
                                         : lk_cli_attestation_take(&c->attestation, option, value);
}

static const struct lk_cli_form add_form = {
    .usage = "latchkey group add NAME\n"
             "         --symmetric-key [--primary-key-file FILE] [--secondary-key-file FILE] |\n"
             "         --signing-certificate FILE [--signing-certificate FILE] |\n"
             "         --ek-certificate --root FINGERPRINT... [--vendor ID]... [--model NAME]...\n"
             "           [--issuer NAME]... [--firmware-min ID] [--firmware-max ID] [--quota N]\n"
             "           [--not-before TIME] [--not-after TIME] [--any-registration-id]\n"
             "         [--disabled] " LK_CLI_TERMS_USAGE "\n"
             "         [--scope ID] [SERVICE]",
    .help =
        "Let devices register that have no enrollment of their own. An enrollment of a device's\n"
        "own always comes first: to refuse one member, give it one that is disabled.\n\n"
        "  --symmetric-key          a device has the key that `latchkey group device-key` derives\n"
        "                           for it from a key of the group's: a fresh one, or that of\n"
        "  --primary-key-file FILE  (- is stdin): base64 of 16 to 64 bytes; and as second key of\n"
        "  --secondary-key-file FILE\n"
        "  --signing-certificate FILE\n"
        "                           a device has a TLS client certificate with its registration "
        "ID\n"
        "                           as common name, signed by this authority or one below it; "
        "again\n"
        "                           for the authority's next certificate\n"
        "  --ek-certificate         a device has a TPM, and sends its maker's certificate of the\n"
        "                           endorsement key, which leads to\n"
        "  --root FINGERPRINT       a root of `latchkey trust list`: all 64 digits; again for "
        "more\n"
        "  --vendor ID              only these TPM makers, like INTC or id:494E5443; again for "
        "more,\n"
        "  --model NAME             models, and\n"
        "  --issuer NAME            issuers of certificates, as RFC 2253 writes names\n"
        "  --firmware-min ID        the lowest TPM version that is admitted, like id:00020008\n"
        "  --firmware-max ID        the highest\n"
        "  --quota N                at most so many devices\n"
        "  --not-before TIME        they register from then on (2026-01-31T00:00:00Z)\n"
        "  --not-after TIME         and no more from then on, also again\n"
        "  --any-registration-id    a device may choose its ID; default: the one derived from its\n"
        "                           endorsement key\n"
        "  --disabled               refuse them until the group is enabled\n" LK_CLI_TERMS_HELP
            LK_CLI_SCOPE_HELP LK_CLI_SERVICE_HELP,
    .options = (const struct option[]){LK_CLI_SYMMETRIC_OPTIONS,
                                       LK_CLI_GROUP_RULES_OPTIONS,
                                       {"signing-certificate", required_argument, NULL,
                                        LK_CLI_OPT_CERTIFICATE},
                                       LK_CLI_TERMS_OPTIONS,
                                       {"disabled", no_argument, NULL, OPT_DISABLED},
                                       LK_CLI_SCOPE_OPTION,
                                       LK_CLI_SERVICE_OPTIONS,
                                       LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
    .take = add_take,
};

static int
add_fill(struct lk_cli_group *c)
{
    enum lk_err err;

    c->g.enabled = !c->disabled;
    if ((err = lk_cli_terms_apply(&c->terms, &c->g)) != LK_OK ||
        (err = lk_strcpy(c->g.scope, sizeof(c->g.scope), c->scope)) != LK_OK ||
        (err = lk_strcpy(c->g.id, sizeof(c->g.id), c->id)) != LK_OK) {
        return lk_cli_fail(err, "cannot add the group");
    }
    return c->rules.asked
               ? lk_cli_group_rules_fill(&c->rules, &c->g)
               : lk_cli_attestation_fill(&c->attestation, &c->s, LK_KEYS_OF_GROUP, &c->keys, &c->g);
}

/* The audit record names the certificates: what was trusted is the point of it. */
static enum lk_err
add_run(struct lk_txn *tx, void *arg)
{
    struct lk_cli_group *c = (struct lk_cli_group *)arg;
    LK_AUTO(json) json_t *detail = json_object();
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    enum lk_err err;

    c->root[0] = '\0';
    if ((c->rules.asked && (err = lk_enrollment_roots_check(tx, &c->g, c->root)) != LK_OK) ||
        (err = lk_enrollment_check(tx, &c->g, &c->problem)) != LK_OK ||
        (err = lk_txn_group_create(tx, &c->g)) != LK_OK) {
        return err;
    }
    if (detail == NULL || lk_cli_attestation_json(&c->g, detail) != LK_OK ||
        lk_cli_group_rules_json(&c->g, detail) != LK_OK ||
        lk_cli_terms_record(&c->g, detail) != LK_OK || lk_json_write(detail, &text) != LK_OK ||
        lk_buf_text(&text) == NULL) {
        return LK_ERR_NOMEM;
    }
    return lk_cli_group_audit(tx, c, "group.create", lk_buf_text(&text));
}

int
lk_cli_group_add(int argc, char **argv)
{
    LK_AUTO_CLI_GROUP c;
    const char *objection;
    int code;
    enum lk_err err;

    lk_cli_group_init(&c);
    if (!lk_cli_group_begin(&c, &add_form, LK_CLI_WRITE, argc, argv, &code)) {
        return code;
    }
    if (lk_cli_attestation_ways(&c.attestation) + (c.rules.asked ? 1u : 0u) != 1) {
        return lk_cli_usage(add_form.usage, "one of --symmetric-key, --signing-certificate and "
                                            "--ek-certificate is needed");
    }
    if (c.rules.asked ? c.rules.rules.roots_count == 0 : c.rules.is_odd) {
        return lk_cli_usage(add_form.usage,
                            "--ek-certificate needs a --root, and rules go with it only");
    }
    if (lk_cli_attestation_is_odd(&c.attestation)) {
        return lk_cli_usage(add_form.usage, "key files go with --symmetric-key");
    }
    if ((objection = lk_cli_terms_objection(&c.terms)) != NULL) {
        return lk_cli_usage(add_form.usage, "%s", objection);
    }
    if ((code = lk_cli_terms_read(&c.terms)) != 0 || (code = add_fill(&c)) != 0) {
        return code;
    }
    err = c.s.remote != NULL
              ? lk_remote_entity_put(c.s.remote, LK_ENTITY_GROUP, &c.keys, NULL, &c.g)
              : lk_store_write_wait(c.s.session, add_run, &c);
    if (err != LK_OK) {
        if (c.root[0] != '\0') {
            lk_cli_note("no root %s is imported: latchkey trust add --root", c.root);
            return lk_err_exit_code(err);
        }
        return lk_cli_group_fail(err, &c, "cannot add the group");
    }
    if (c.s.remote != NULL && c.rules.asked) {
        lk_cli_note(
            "devices register once its roots are imported on the service's machine: latchkey "
            "trust list");
    }
    lk_cli_note("the group %s is in %s%s", c.g.id,
                c.g.scope[0] != '\0' ? c.g.scope : lk_remote_name(c.s.remote),
                c.g.enabled ? "" : ", disabled");
    return 0;
}
