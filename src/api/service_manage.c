/* The audit record through the operators' API, below /latchkey/v1. It needs the right
 * ServiceConfig. */
#include <string.h>

#include "api/manage_json.h"
#include "api/service_int.h"
#include "base/codec.h"
#include "wire/members.h"

#define AUDIT_LOOK_MAX 500u   /* records that one call looks at */
#define AUDIT_VERIFY_MAX 500u /* records that one call verifies */

/* ---- audit ------------------------------------------------------------------------------------
 */

enum lk_err
lk_svc_parameter(struct lk_service_call *c, const char *name, uint64_t max, uint64_t *ret)
{
    const char *at = lk_http_request_query(c->req);
    size_t name_len = strlen(name);

    while (*at != '\0') {
        size_t len = strcspn(at, "&");

        if (len > name_len && memcmp(at, name, name_len) == 0 && at[name_len] == '=') {
            if (lk_decimal_parse(at + name_len + 1, len - name_len - 1, ret) != LK_OK ||
                *ret > max) {
                return lk_svc_fault(&c->fault, LK_SVC_BAD_REQUEST, "%s: expected a number", name);
            }
            return LK_OK;
        }
        at += len + (at[len] == '&' ? 1 : 0);
    }
    return LK_OK;
}

static enum lk_err
audit_form(struct lk_service_call *c)
{
    uint64_t after = 0, limit = AUDIT_LOOK_MAX;
    enum lk_err err;

    if ((err = lk_svc_parameter(c, "after", INT64_MAX / 2, &after)) != LK_OK ||
        (err = lk_svc_parameter(c, "limit", INT64_MAX / 2, &limit)) != LK_OK) {
        return err;
    }
    c->cursor.seq = (int64_t)after;
    c->page_max = limit < AUDIT_LOOK_MAX ? (size_t)limit : AUDIT_LOOK_MAX;
    return LK_OK;
}

struct looking {
    const struct lk_service_call *c;
    json_t *records;
    json_int_t looked, last;
};

/* Other scopes' records are not this policy's to read. */
static enum lk_err
record_each(void *ctx, const struct lk_audit *a)
{
    struct looking *l = (struct looking *)ctx;
    json_t *object;

    l->looked++;
    l->last = a->seq;
    if (a->scope[0] != '\0' && strcmp(a->scope, l->c->scope.id) != 0) {
        return LK_OK;
    }
    object = json_object();
    return json_array_append_new(l->records, object) != 0 ? LK_ERR_NOMEM
                                                          : lk_audit_json_put(a, object);
}

static enum lk_err
audit_run(struct lk_service_call *c, struct lk_txn *tx)
{
    LK_AUTO(json) json_t *root = json_object();
    struct looking l = {.c = c, .records = json_array(), .last = c->cursor.seq};
    enum lk_err err = lk_member_put(root, "records", l.records);

    if (err != LK_OK ||
        (c->page_max > 0 &&
         (err = lk_txn_audit_page(tx, c->cursor.seq, c->page_max, record_each, &l)) != LK_OK) ||
        (err = lk_member_put(root, "looked", json_integer(l.looked))) != LK_OK ||
        (err = lk_member_put(root, "last", json_integer(l.last))) != LK_OK) {
        return err;
    }
    return lk_svc_answer(c, LK_OK, root);
}

static enum lk_err
verify_form(struct lk_service_call *c)
{
    int32_t limit = AUDIT_VERIFY_MAX;
    enum lk_err err = lk_svc_body_parse(c, true);

    if (err != LK_OK) {
        return err;
    }
    if (lk_member_get_int32(c->body, "limit", &limit) != LK_OK || limit < 1) {
        return lk_svc_fault(&c->fault, LK_SVC_BAD_REQUEST, "limit: expected a number from 1");
    }
    c->page_max = limit < (int32_t)AUDIT_VERIFY_MAX ? (size_t)limit : AUDIT_VERIFY_MAX;
    return lk_cursor_json_parse(c->body, &c->cursor) == LK_OK
               ? LK_OK
               : lk_svc_fault(&c->fault, LK_SVC_BAD_REQUEST,
                              "seq, hash: expected those of an audit record");
}

static enum lk_err
verify_run(struct lk_service_call *c, struct lk_txn *tx)
{
    LK_AUTO(json) json_t *root = json_object();
    struct lk_audit_cursor cursor = c->cursor;
    bool more = false;
    enum lk_err err = lk_txn_audit_verify(tx, &cursor, c->page_max, &more);

    if (err == LK_ERR_REFUSED) {
        return lk_svc_answer(c, lk_member_put(root, "broken", json_integer(cursor.seq)), root);
    }
    if (err != LK_OK || (err = lk_cursor_json_put(&cursor, root)) != LK_OK) {
        return err;
    }
    return lk_svc_answer(c, lk_member_put(root, "more", json_boolean(more)), root);
}

const struct lk_svc_operation lk_svc_audit_list = {
    "audit", LK_RIGHT_SERVICE_CONFIG, false, "list", audit_form, audit_run};
const struct lk_svc_operation lk_svc_audit_verify = {
    "audit_verify", LK_RIGHT_SERVICE_CONFIG, false, "verify", verify_form, verify_run};
