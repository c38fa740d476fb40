#include "cli/terms.h"

#include <errno.h>
#include <string.h>

#include "base/codec.h"
#include "provision/enrollment.h"

#define WEBHOOK_API_VERSION "2021-10-01" /* that a webhook is told unless another is given */

void
lk_cli_terms_fini(struct lk_cli_terms *t)
{
    lk_buf_fini(&t->twin);
}

/* ---- the options ----------------------------------------------------------------------------- */

static enum lk_err
hub_take(struct lk_cli_terms *t, const char *value)
{
    if (t->hubs_count == LK_HUBS_PER_ENROLLMENT || !lk_host_name_ok(value, strlen(value))) {
        return LK_ERR_ARG;
    }
    t->hubs[t->hubs_count++] = value;
    return LK_OK;
}

static const char *const allocation_names[] = {[LK_ALLOC_DEFAULT] = "default",
                                               [LK_ALLOC_HASHED] = "hashed",
                                               [LK_ALLOC_GEO] = "geoLatency",
                                               [LK_ALLOC_STATIC] = "static",
                                               [LK_ALLOC_CUSTOM] = "custom"};

static enum lk_err
allocation_take(struct lk_cli_terms *t, const char *value)
{
    for (size_t i = 0; i < LK_ARRAY_LEN(allocation_names); i++) {
        if (strcmp(value, allocation_names[i]) == 0) {
            t->allocation = (enum lk_allocation)i;
            t->has_allocation = true;
            return LK_OK;
        }
    }
    return LK_ERR_ARG;
}

enum lk_err
lk_cli_terms_take(struct lk_cli_terms *t, int option, const char *value)
{
    switch (option) {
    case LK_CLI_OPT_HUB:
        return hub_take(t, value);
    case LK_CLI_OPT_ANY_HUB:
        t->any_hub = true;
        return LK_OK;
    case LK_CLI_OPT_INITIAL_TWIN:
        t->twin_path = value;
        return LK_OK;
    case LK_CLI_OPT_REPROVISION:
        t->reprovision = value;
        return strcmp(value, "migrate") == 0 || strcmp(value, "reset") == 0 ||
                       strcmp(value, "never") == 0
                   ? LK_OK
                   : LK_ERR_ARG;
    case LK_CLI_OPT_ALLOCATION:
        return allocation_take(t, value);
    case LK_CLI_OPT_WEBHOOK:
        t->webhook = value;
        return lk_webhook_url_ok(value) && strlen(value) <= LK_WEBHOOK_URL_MAX ? LK_OK : LK_ERR_ARG;
    case LK_CLI_OPT_WEBHOOK_API_VERSION:
        t->webhook_api_version = value;
        return value[0] != '\0' && strlen(value) < LK_API_VERSION_CAP ? LK_OK : LK_ERR_ARG;
    default:
        return LK_ERR_ARG;
    }
}

bool
lk_cli_terms_are_given(const struct lk_cli_terms *t)
{
    return t->hubs_count > 0 || t->any_hub || t->reprovision != NULL || t->has_allocation ||
           t->webhook != NULL || t->twin_path != NULL;
}

const char *
lk_cli_terms_objection(const struct lk_cli_terms *t)
{
    bool is_custom = t->has_allocation && t->allocation == LK_ALLOC_CUSTOM;

    if (t->webhook != NULL ? t->has_allocation && !is_custom : is_custom) {
        return "--webhook goes with --allocation custom, and with no other";
    }
    if (t->webhook_api_version != NULL && t->webhook == NULL) {
        return "--webhook-api-version goes with --webhook";
    }
    return t->any_hub && t->hubs_count > 0 ? "only one of --hub and --any-hub is possible" : NULL;
}

int
lk_cli_terms_read(struct lk_cli_terms *t)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    LK_AUTO(json) json_t *twin = NULL;
    char error[LK_JSON_ERROR_CAP], shown[LK_CLI_SHOWN_CAP];
    enum lk_err err;

    if (t->twin_path == NULL) {
        return 0;
    }
    errno = 0;
    if ((err = lk_cli_file_read(t->twin_path, LK_MANIFEST_TWIN_MAX, &text)) != LK_OK) {
        return lk_cli_fail(err, "cannot read %s", lk_cli_shown(t->twin_path, shown));
    }
    if ((err = lk_json_parse(text.data, text.len, false, error, &twin)) != LK_OK) {
        lk_cli_note("%s: %s", lk_cli_shown(t->twin_path, shown), error);
        return lk_err_exit_code(err);
    }
    t->twin.max = LK_MANIFEST_TWIN_MAX;
    if ((err = lk_json_write(twin, &t->twin)) != LK_OK) {
        return lk_cli_fail(err, "cannot take %s", lk_cli_shown(t->twin_path, shown));
    }
    return 0;
}

/* ---- into an enrollment ---------------------------------------------------------------------- */

static enum lk_err
hubs_apply(const struct lk_cli_terms *t, struct lk_enrollment *e)
{
    enum lk_err err = LK_OK;

    if (t->hubs_count == 0 && !t->any_hub) {
        return LK_OK;
    }
    for (size_t i = 0; err == LK_OK && i < t->hubs_count; i++) {
        err = lk_strcpy(e->hubs[i], sizeof(e->hubs[i]), t->hubs[i]);
        lk_ascii_lower(e->hubs[i]);
    }
    e->hubs_count = t->hubs_count;
    return err;
}

static enum lk_err
allocation_apply(const struct lk_cli_terms *t, struct lk_enrollment *e)
{
    const char *url = t->webhook != NULL ? t->webhook : "";
    const char *version = t->webhook == NULL               ? ""
                          : t->webhook_api_version != NULL ? t->webhook_api_version
                                                           : WEBHOOK_API_VERSION;
    enum lk_err err;

    if (!t->has_allocation && t->webhook == NULL) {
        return LK_OK;
    }
    e->allocation = t->webhook != NULL ? LK_ALLOC_CUSTOM : t->allocation;
    err = lk_strcpy(e->webhook_url, sizeof(e->webhook_url), url);
    return err != LK_OK
               ? err
               : lk_strcpy(e->webhook_api_version, sizeof(e->webhook_api_version), version);
}

enum lk_err
lk_cli_terms_apply(const struct lk_cli_terms *t, struct lk_enrollment *e)
{
    enum lk_err err;

    if ((err = hubs_apply(t, e)) != LK_OK || (err = allocation_apply(t, e)) != LK_OK) {
        return err;
    }
    if (t->reprovision != NULL) {
        e->reprovision_chosen = true;
        e->reprovision_update_hub = strcmp(t->reprovision, "never") != 0;
        e->reprovision_migrate = strcmp(t->reprovision, "migrate") == 0;
    }
    if (t->twin.len == 0) {
        return LK_OK;
    }
    lk_buf_reset(&e->initial_twin);
    e->initial_twin.max = LK_MANIFEST_TWIN_MAX;
    return lk_buf_put(&e->initial_twin, t->twin.data, t->twin.len);
}

/* ---- shown ----------------------------------------------------------------------------------- */

static const char *
reprovision_name(const struct lk_enrollment *e)
{
    if (!e->reprovision_update_hub) {
        return "never";
    }
    return e->reprovision_migrate ? "migrate" : "reset";
}

/* Put a member whose value may be NULL for want of memory. */
static enum lk_err
put(json_t *object, const char *name, json_t *value)
{
    return json_object_set_new(object, name, value) == 0 ? LK_OK : LK_ERR_NOMEM;
}

/* What is neither long nor secret. */
static enum lk_err
plain_json(const struct lk_enrollment *e, json_t *root)
{
    json_t *hubs = json_array();
    enum lk_err err = put(root, "iotHubs", hubs);

    for (size_t i = 0; err == LK_OK && i < e->hubs_count; i++) {
        err = json_array_append_new(hubs, json_string(e->hubs[i])) == 0 ? LK_OK : LK_ERR_NOMEM;
    }
    if (err != LK_OK || (err = put(root, "allocationPolicy",
                                   json_string(allocation_names[e->allocation]))) != LK_OK) {
        return err;
    }
    return put(root, "reprovisionPolicy", json_string(reprovision_name(e)));
}

enum lk_err
lk_cli_terms_json(const struct lk_enrollment *e, json_t *root)
{
    json_t *twin = NULL;
    enum lk_err err = plain_json(e, root);

    if (err == LK_OK && e->webhook_url[0] != '\0') {
        err = put(root, "customAllocationDefinition",
                  json_pack("{s:s, s:s}", "webhookUrl", e->webhook_url, "apiVersion",
                            e->webhook_api_version));
    }
    if (err != LK_OK || e->initial_twin.len == 0) {
        return err;
    }
    err = lk_json_parse(e->initial_twin.data, e->initial_twin.len, true, NULL, &twin);
    return err != LK_OK ? err : put(root, "initialTwin", twin);
}

static int
webhook_len_public(const struct lk_enrollment *e)
{
    return (int)strcspn(e->webhook_url, "?"); /* LK_WEBHOOK_URL_MAX bounds it */
}

enum lk_err
lk_cli_terms_record(const struct lk_enrollment *e, json_t *detail)
{
    enum lk_err err = plain_json(e, detail);

    return err != LK_OK || e->webhook_url[0] == '\0'
               ? err
               : put(detail, "webhook",
                     json_stringn(e->webhook_url, (size_t)webhook_len_public(e)));
}

void
lk_cli_terms_print(struct lk_enrollment *e)
{
    char shown[LK_CLI_SHOWN_CAP];

    (void)printf("allocation        %s\n", allocation_names[e->allocation]);
    if (e->webhook_url[0] != '\0') { /* what follows the '?' is often a secret */
        (void)printf("webhook           %.*s\n", webhook_len_public(e), e->webhook_url);
    }
    for (size_t i = 0; i < e->hubs_count; i++) {
        (void)printf("hub               %s\n", e->hubs[i]);
    }
    (void)printf("reprovision       %s\n", reprovision_name(e));
    if (e->initial_twin.len > 0 && lk_buf_text(&e->initial_twin) != NULL) {
        (void)printf("initial twin      %s\n", lk_cli_shown(lk_buf_text(&e->initial_twin), shown));
    }
}
