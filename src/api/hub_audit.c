/* The audit records of calls to hubs: who changed or read what, under which request. */
#include <stdio.h>

#include "api/hub_int.h"
#include "wire/members.h"

#define QUERY_RECORDED_CAP 257u /* bytes of a query that a record keeps, with the NUL */

static enum lk_err
append(const struct lk_hubapi_call *c, struct lk_txn *tx, const char *action, const char *subject,
       const char *detail)
{
    char actor[sizeof("hub-policy:") + LK_POLICY_NAME_MAX];

    (void)snprintf(actor, sizeof(actor), "hub-policy:%s", c->access.name);
    return lk_txn_audit_append(tx, actor, action, "", subject, detail);
}

enum lk_err
lk_hubapi_audit(const struct lk_hubapi_call *c, struct lk_txn *tx, const char *action,
                const char *device_id)
{
    char detail[LK_HOST_NAME_MAX + 96];

    /* A host name and hexadecimal digits: nothing needs an escape. */
    (void)snprintf(detail, sizeof(detail), "{\"hub\":\"%s\",\"requestId\":\"%s\"}", c->hub,
                   lk_http_request_id(c->req));
    return append(c, tx, action, device_id, detail);
}

/* What was asked and how many rows it brought, of a walk. */
static enum lk_err
walk_put(const struct lk_hubapi_call *c, json_t *detail)
{
    char query[QUERY_RECORDED_CAP];
    enum lk_err err;

    if (c->query_text != NULL) {
        lk_text_cut(query, sizeof(query), c->query_text);
        if ((err = lk_member_text(detail, "query", query)) != LK_OK) {
            return err;
        }
    }
    return lk_member_put(detail, "rows", json_integer((json_int_t)c->turn.rows));
}

enum lk_err
lk_hubapi_audit_read(const struct lk_hubapi_call *c, struct lk_txn *tx)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    LK_AUTO(json) json_t *detail = json_object();
    enum lk_err err;

    if ((err = lk_member_text(detail, "hub", c->hub)) != LK_OK ||
        (err = lk_member_text(detail, "requestId", lk_http_request_id(c->req))) != LK_OK ||
        (c->route.id == NULL && (err = walk_put(c, detail)) != LK_OK) ||
        (err = lk_json_write(detail, &text)) != LK_OK) {
        return err;
    }
    return lk_buf_text(&text) == NULL
               ? LK_ERR_NOMEM
               : append(c, tx, c->op->read_action, c->route.id != NULL ? c->route.id : c->hub,
                        lk_buf_text(&text));
}
