#include "cli/group_rules.h"

#include <stdio.h>
#include <string.h>

#include "base/codec.h"

/* ---- options ----------------------------------------------------------------------------------
 */

static enum lk_err
text_add(char *list, size_t cap, size_t *count, const char *value)
{
    if (*count == LK_EK_LIST_MAX || value[0] == '\0' ||
        lk_strcpy(list + *count * cap, cap, value) != LK_OK) {
        return LK_ERR_ARG;
    }
    (*count)++;
    return LK_OK;
}

static enum lk_err
root_add(struct lk_ek_rules *rules, const char *value)
{
    LK_AUTO_BUF struct lk_buf raw = LK_BUF_INIT;

    if (rules->roots_count == LK_EK_ROOTS_MAX || strlen(value) != 2 * LK_EK_FINGERPRINT_LEN ||
        lk_hex_decode(value, strlen(value), &raw) != LK_OK) {
        return LK_ERR_ARG;
    }
    memcpy(rules->roots[rules->roots_count++], raw.data, LK_EK_FINGERPRINT_LEN);
    return LK_OK;
}

static enum lk_err
bound_take(struct lk_ek_rules *rules, int option, const char *value)
{
    uint64_t quota;
    enum lk_err err = LK_ERR_ARG;

    switch (option) {
    case LK_CLI_OPT_FIRMWARE_MIN:
        rules->has_firmware_min = true;
        err = lk_ek_version_parse(value, &rules->firmware_min);
        break;
    case LK_CLI_OPT_FIRMWARE_MAX:
        rules->has_firmware_max = true;
        err = lk_ek_version_parse(value, &rules->firmware_max);
        break;
    case LK_CLI_OPT_QUOTA:
        err = lk_cli_number(value, 1, (uint64_t)LK_EK_QUOTA_MAX, &quota);
        rules->quota = err == LK_OK ? (int64_t)quota : 0;
        break;
    case LK_CLI_OPT_NOT_BEFORE:
        rules->has_not_before = true;
        err = lk_timestamp_parse(value, strlen(value), &rules->not_before_ms);
        break;
    case LK_CLI_OPT_NOT_AFTER:
        rules->has_not_after = true;
        err = lk_timestamp_parse(value, strlen(value), &rules->not_after_ms);
        break;
    default:
        break;
    }
    return err == LK_OK ? LK_OK : LK_ERR_ARG;
}

enum lk_err
lk_cli_group_rules_take(struct lk_cli_group_rules *r, int option, const char *value)
{
    struct lk_ek_rules *rules = &r->rules;

    if (option == LK_CLI_OPT_EK_CERTIFICATE) {
        r->asked = true;
        return LK_OK;
    }
    r->is_odd = true;
    switch (option) {
    case LK_CLI_OPT_ROOT:
        return root_add(rules, value);
    case LK_CLI_OPT_ISSUER:
        return text_add(rules->issuers[0], LK_EK_NAME_CAP, &rules->issuers_count, value);
    case LK_CLI_OPT_VENDOR:
        return text_add(rules->vendors[0], LK_EK_ATTRIBUTE_CAP, &rules->vendors_count, value);
    case LK_CLI_OPT_MODEL:
        return text_add(rules->models[0], LK_EK_ATTRIBUTE_CAP, &rules->models_count, value);
    case LK_CLI_OPT_ANY_ID:
        rules->any_registration_id = true;
        return LK_OK;
    default:
        return bound_take(rules, option, value);
    }
}

int
lk_cli_group_rules_fill(const struct lk_cli_group_rules *r, struct lk_enrollment *g)
{
    char error[LK_JSON_ERROR_CAP] = "";
    struct lk_ek_rules again;
    enum lk_err err = lk_ek_rules_format(&r->rules, &g->rules);

    g->attestation = LK_ATTESTATION_EK_CERT;
    if (err != LK_OK) {
        return lk_cli_fail(err, "cannot write the group's rules");
    }
    if ((err = lk_ek_rules_parse(g->rules.data, g->rules.len, error, &again)) != LK_OK) {
        lk_cli_note("the group's rules: %s", error);
        return lk_err_exit_code(err);
    }
    return 0;
}

/* ---- shown ------------------------------------------------------------------------------------
 */

enum lk_err
lk_cli_group_rules_json(const struct lk_enrollment *g, json_t *root)
{
    json_t *rules = NULL;
    enum lk_err err;

    if (g->attestation != LK_ATTESTATION_EK_CERT) {
        return LK_OK;
    }
    err = lk_json_parse(g->rules.data, g->rules.len, false, NULL, &rules);
    if (err != LK_OK) {
        return err;
    }
    return json_object_set_new(root, "rules", rules) == 0 ? LK_OK : LK_ERR_NOMEM;
}

void
lk_cli_group_rules_print(const struct lk_enrollment *g)
{
    if (g->attestation == LK_ATTESTATION_EK_CERT) {
        (void)printf("rules             %.*s\n", (int)g->rules.len, (const char *)g->rules.data);
    }
}
