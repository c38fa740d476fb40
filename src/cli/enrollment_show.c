/* latchkey enrollment show, list. */
#include <string.h>

#include "base/codec.h"
#include "cli/attestation.h"
#include "cli/cmd_enrollment.h"
#include "cli/terms.h"

static const char *
status_name(const struct lk_enrollment *e)
{
    return e->enabled ? "enabled" : "disabled";
}

static const char *
device_id_of(const struct lk_enrollment *e)
{
    return e->device_id[0] != '\0' ? e->device_id : e->id;
}

/* "RSA-2048", "ECC P-256"; a stored key that is not acceptable any more is "unknown". */
static const char *
ek_kind(const struct lk_ek *ek, char *buf, size_t cap)
{
    struct lk_tpm_key key;

    if (lk_tpm_key_parse(LK_ROLE_EK, ek->pub, ek->pub_len, NULL, &key) != LK_OK) {
        return "unknown";
    }
    (void)snprintf(buf, cap, key.alg == LK_KEY_RSA ? "RSA-%u" : "ECC P-%u", key.bits);
    return buf;
}

/* ---- as JSON --------------------------------------------------------------------------------- */

/* Put a member whose value may be NULL for want of memory. */
static enum lk_err
put(json_t *object, const char *name, json_t *value)
{
    return json_object_set_new(object, name, value) == 0 ? LK_OK : LK_ERR_NOMEM;
}

static enum lk_err
ek_json(const struct lk_ek *ek, json_t *list)
{
    LK_AUTO_BUF struct lk_buf base64 = LK_BUF_INIT;
    char id[LK_CLI_EK_ID_CAP], kind[24];
    json_t *o;

    if (lk_base64_encode(ek->pub, ek->pub_len, &base64) != LK_OK || lk_buf_text(&base64) == NULL) {
        return LK_ERR_NOMEM;
    }
    o = json_pack("{s:s, s:s, s:s}", "id", lk_cli_ek_id(ek->id, id), "type",
                  ek_kind(ek, kind, sizeof(kind)), "public", lk_buf_text(&base64));
    return json_array_append_new(list, o) == 0 ? LK_OK : LK_ERR_NOMEM;
}

static enum lk_err
eks_json(const struct lk_enrollment *e, json_t *root)
{
    json_t *eks = json_array();
    enum lk_err err = put(root, "endorsementKeys", eks);

    for (size_t i = 0; err == LK_OK && i < e->eks_count; i++) {
        err = ek_json(&e->eks[i], eks);
    }
    return err;
}

/* The whole enrollment, a new object. */
static enum lk_err
enrollment_json(const struct lk_enrollment *e, json_t **ret)
{
    char created[LK_CLI_TIME_CAP], updated[LK_CLI_TIME_CAP];
    LK_AUTO(json)
    json_t *root =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "scope", e->scope, "registrationId", e->id,
                  "deviceId", device_id_of(e), "provisioningStatus", status_name(e), "etag",
                  e->etag, "created", lk_cli_time(e->created_ms, created), "updated",
                  lk_cli_time(e->updated_ms, updated));
    enum lk_err err;

    if (root == NULL) {
        return LK_ERR_NOMEM;
    }
    if ((err = lk_cli_attestation_json(e, root)) != LK_OK || (err = eks_json(e, root)) != LK_OK ||
        (err = lk_cli_terms_json(e, root)) != LK_OK) {
        return err;
    }
    if (e->import_id != 0 && (err = put(root, "import",
                                        json_pack("{s:I, s:I}", "id", (json_int_t)e->import_id,
                                                  "line", (json_int_t)e->import_line))) != LK_OK) {
        return err;
    }
    *ret = json_take(&root);
    return LK_OK;
}

/* ---- show ------------------------------------------------------------------------------------ */

static const struct lk_cli_form show_form = {
    .usage = "latchkey enrollment show ID [--scope ID] [--json] [SERVICE]",
    .help = "Show one enrollment.\n\n" LK_CLI_SCOPE_HELP LK_CLI_JSON_HELP LK_CLI_SERVICE_HELP,
    .options = (const struct option[]){LK_CLI_SCOPE_OPTION, LK_CLI_JSON_OPTION,
                                       LK_CLI_SERVICE_OPTIONS, LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
};

static void
show_print(struct lk_enrollment *e)
{
    char time[LK_CLI_TIME_CAP], id[LK_CLI_EK_ID_CAP], kind[24];

    (void)printf("ID scope          %s\nregistration ID   %s\ndevice ID         %s\n", e->scope,
                 e->id, device_id_of(e));
    (void)printf("status            %s\n", status_name(e));
    lk_cli_attestation_print(e);
    for (size_t i = 0; i < e->eks_count; i++) {
        (void)printf("endorsement key   %s  %s\n", lk_cli_ek_id(e->eks[i].id, id),
                     ek_kind(&e->eks[i], kind, sizeof(kind)));
    }
    lk_cli_terms_print(e);
    (void)printf("created           %s\n", lk_cli_time(e->created_ms, time));
    (void)printf("updated           %s\n", lk_cli_time(e->updated_ms, time));
    if (e->import_id != 0) {
        (void)printf("imported          line %lld of import %lld\n", (long long)e->import_line,
                     (long long)e->import_id);
    }
}

static enum lk_err
show_run(struct lk_txn *tx, void *arg)
{
    return lk_cli_enrollment_get(tx, (struct lk_cli_enrollment *)arg);
}

int
lk_cli_enrollment_show(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    LK_AUTO_CLI_ENROLLMENT c;
    LK_AUTO(json) json_t *o = NULL;
    struct lk_cli_common common = {.json = false};
    int code;
    enum lk_err err;

    lk_cli_enrollment_init(&c);
    if (!lk_cli_options(&show_form, argc, argv, &common, NULL, &code) ||
        (code = lk_cli_enrollment_open(&common, LK_CLI_READ, argv[optind], &s, &c)) != 0) {
        return code;
    }
    err = s.remote != NULL ? lk_cli_enrollment_fetch(&c)
                           : lk_store_read_wait(s.session, show_run, &c);
    if (err != LK_OK) {
        return lk_cli_enrollment_fail(err, &c, "cannot show the enrollment");
    }
    if (!common.json) {
        show_print(&c.e);
        return 0;
    }
    err = enrollment_json(&c.e, &o);
    return err != LK_OK ? lk_cli_fail(err, "cannot build the answer") : lk_cli_print_json(o);
}

/* ---- list ------------------------------------------------------------------------------------ */

static const struct lk_cli_form list_form = {
    .usage = "latchkey enrollment list [--scope ID] [--json] [SERVICE]",
    .help = "List the enrollments of an ID scope.\n\n" LK_CLI_SCOPE_HELP LK_CLI_JSON_HELP
        LK_CLI_SERVICE_HELP,
    .options = (const struct option[]){LK_CLI_SCOPE_OPTION, LK_CLI_JSON_OPTION,
                                       LK_CLI_SERVICE_OPTIONS, LK_CLI_END_OPTIONS},
};

static enum lk_err
enrollment_put(void *ctx, const struct lk_enrollment *e)
{
    struct lk_cli_listing *l = (struct lk_cli_listing *)ctx;
    char updated[LK_CLI_TIME_CAP];
    json_t *o = NULL;
    enum lk_err err;

    l->rows_count++;
    if ((err = lk_strcpy(l->last, sizeof(l->last), e->id)) != LK_OK) {
        return err;
    }
    if (l->json) {
        err = enrollment_json(e, &o);
        return err != LK_OK ? err : lk_cli_put_json(&l->text, o);
    }
    return lk_buf_printf(&l->text, "%-52s %-8s %4zu  %-32s %s\n", e->id, status_name(e),
                         e->eks_count, device_id_of(e), lk_cli_time(e->updated_ms, updated));
}

static enum lk_err
enrollments_page(struct lk_txn *tx, struct lk_cli_listing *l, size_t limit)
{
    return lk_txn_enrollment_page(tx, (const char *)l->ctx, l->after, limit, enrollment_put, l);
}

static enum lk_err
enrollments_fetch(struct lk_remote *r, struct lk_cli_listing *l)
{
    return lk_remote_entity_page(r, LK_ENTITY_ENROLLMENT, l->continuation, enrollment_put, l);
}

int
lk_cli_enrollment_list(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    char scope[LK_ID_SCOPE_MAX + 1];
    struct lk_cli_listing list = {
        .page = enrollments_page,
        .remote_page = enrollments_fetch,
        .what = "cannot list the enrollments",
        .head = "REGISTRATION ID                                      STATUS   KEYS  DEVICE ID"
                "                        UPDATED",
        .ctx = scope,
        .text = {.max = LK_CLI_PAGE_ROWS * LK_MANIFEST_LINE_MAX}};
    struct lk_cli_common common = {.json = false};
    int code;

    if (!lk_cli_options(&list_form, argc, argv, &common, NULL, &code) ||
        (code = lk_cli_target_open(&common, LK_CLI_READ, &s)) != 0 ||
        (code = lk_cli_scope(&s, common.scope, scope)) != 0) {
        return code;
    }
    list.json = common.json;
    return lk_cli_list(&s, &list);
}
