/* The audit records of calls: who changed or read what, under which request. */
#include <stdio.h>
#include <string.h>

#include "api/service_int.h"
#include "wire/members.h"

#define QUERY_RECORDED_CAP 257u /* bytes of a query that a record keeps, with the NUL */

void
lk_svc_actor(const struct lk_service_call *c, char ret[LK_SVC_ACTOR_CAP])
{
    (void)snprintf(ret, LK_SVC_ACTOR_CAP, "policy:%s", c->access.name);
}

static enum lk_err
append(const struct lk_service_call *c, struct lk_txn *tx, const char *action, const char *subject,
       const char *detail)
{
    char actor[LK_SVC_ACTOR_CAP];

    lk_svc_actor(c, actor);
    return lk_txn_audit_append(tx, actor, action, c->scope.id, subject, detail);
}

enum lk_err
lk_svc_audit(const struct lk_service_call *c, struct lk_txn *tx, const char *action,
             const char *subject, const char *conflict)
{
    char detail[256];

    /* Ids and hexadecimal digits: nothing needs an escape. */
    (void)snprintf(detail, sizeof(detail), "{\"requestId\":\"%s\"%s%s%s}",
                   lk_http_request_id(c->req), conflict != NULL ? ",\"enrolledAs\":\"" : "",
                   conflict != NULL ? conflict : "", conflict != NULL ? "\"" : "");
    return append(c, tx, action, subject, detail);
}

/* What was asked and how many rows it brought, of a query. */
static enum lk_err
page_put(const struct lk_service_call *c, json_t *detail)
{
    char query[QUERY_RECORDED_CAP];
    enum lk_err err;

    lk_text_cut(query, sizeof(query), c->query_text);
    if ((err = lk_member_text(detail, "query", query)) != LK_OK) {
        return err;
    }
    return lk_member_put(detail, "rows", json_integer((json_int_t)c->rows));
}

enum lk_err
lk_svc_audit_read(const struct lk_service_call *c, struct lk_txn *tx)
{
    static const char *const nouns[] = {[LK_SVC_ENROLLMENTS] = "enrollment",
                                        [LK_SVC_GROUPS] = "group",
                                        [LK_SVC_REGISTRATIONS] = "registration",
                                        [LK_SVC_HUBS] = "hub",
                                        [LK_SVC_POLICIES] = "policy",
                                        [LK_SVC_AUDIT] = "audit",
                                        [LK_SVC_IMPORTS] = "import"};
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    LK_AUTO(json) json_t *detail = json_object();
    int status = c->fault.code != 0 ? c->fault.code / 1000 : c->status;
    char action[64];
    enum lk_err err;

    (void)snprintf(action, sizeof(action), "%s.%s", nouns[c->route.collection], c->op->read_verb);
    if ((err = lk_member_text(detail, "requestId", lk_http_request_id(c->req))) != LK_OK ||
        (err = lk_member_put(detail, "status", json_integer(status))) != LK_OK ||
        (c->is_page && (err = page_put(c, detail)) != LK_OK) ||
        (err = lk_json_write(detail, &text)) != LK_OK) {
        return err;
    }
    if (lk_buf_text(&text) == NULL) {
        return LK_ERR_NOMEM;
    }
    return append(c, tx, action, c->route.id != NULL ? c->route.id : "", lk_buf_text(&text));
}
