/* Who may call a hub (iot-hub.md sections 2 to 4). */
#include <string.h>

#include "api/hub_int.h"
#include "base/codec.h"

/* The embedded hub of the request's host. */
static enum lk_err
hub_find(struct lk_hubapi_call *c, struct lk_txn *tx)
{
    enum lk_err err = lk_hub_is_ours(tx, c->hub);

    return err != LK_ERR_NOT_FOUND
               ? err
               : lk_hubapi_refuse(c, LK_HUBE_NO_HUB, "No hub is served under this host name");
}

static enum lk_err
policy_check(struct lk_hubapi_call *c, struct lk_txn *tx, const char *token)
{
    LK_AUTO_BUF struct lk_buf resource = LK_BUF_INIT;
    const char *path = lk_http_request_path(c->req);
    enum lk_err err;

    if ((err = lk_buf_puts(&resource, c->hub)) != LK_OK ||
        (err = lk_percent_decode(path, strlen(path), false, &resource)) != LK_OK ||
        lk_buf_text(&resource) == NULL) {
        return err != LK_OK ? err : LK_ERR_NOMEM;
    }
    return lk_hub_policy_check(c->ring, tx, c->hub, lk_buf_text(&resource), token, strlen(token),
                               lk_txn_now_ms(tx), c->op->right, &c->access);
}

/* The first use of a new key retires the one before it, where that can be written. */
static enum lk_err
device_check(struct lk_hubapi_call *c, struct lk_txn *tx, const char *token)
{
    enum lk_err err = lk_hub_check_device(c->api->hub, tx, c->hub, c->route.id, token,
                                          strlen(token), lk_txn_now_ms(tx), &c->device);

    if (err == LK_ERR_REFUSED) {
        c->access.reason = c->device.reason;
    }
    return err == LK_OK && c->device.retire_secondary && c->in_write
               ? lk_hub_retire_secondary(c->api->hub, tx, c->hub, &c->device)
               : err;
}

enum lk_err
lk_hubapi_access_check(struct lk_hubapi_call *c, struct lk_txn *tx)
{
    const char *token = lk_http_request_header(c->req, "Authorization");
    enum lk_err err;

    c->fault.code = 0;
    memset(&c->access, 0, sizeof(c->access));
    memset(&c->device, 0, sizeof(c->device));
    if ((err = hub_find(c, tx)) != LK_OK) {
        return err;
    }
    if (token == NULL || lk_http_request_header_count(c->req, "Authorization") != 1) {
        c->access.reason = token == NULL ? "token.absent" : "token.repeated";
        return LK_ERR_REFUSED;
    }
    return c->op->by_device ? device_check(c, tx, token) : policy_check(c, tx, token);
}
