/* POST /auth/device: our own question, answered with who the device is and why it is refused. */
#include <string.h>

#include "api/auth_int.h"
#include "wire/hub_auth.h"

static void
reply_or_fail(struct lk_auth_ask *a, int status, enum lk_err err, const struct lk_buf *body)
{
    if (err != LK_OK) {
        lk_api_error(a->req, LK_DPS_INTERNAL, "Internal error");
        return;
    }
    lk_http_reply(a->req, status, body->data, body->len);
}

static void
answer_refused(struct lk_auth_ask *a)
{
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;
    enum lk_err err = lk_hub_auth_refused_format(a->found.reason, &body);

    lk_auth_log(a, LK_LOG_WARNING, "hub.device_refused", a->found.reason);
    reply_or_fail(a, 401, err, &body);
}

static void
answer_granted(struct lk_auth_ask *a)
{
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;
    enum lk_err err = lk_hub_auth_granted_format(
        a->found.device_id, a->found.slot == LK_KEY_PRIMARY ? "primary" : "secondary",
        a->found.expiry_unix_s, &body);

    lk_auth_log(a, LK_LOG_DEBUG, "hub.device_accepted", NULL);
    reply_or_fail(a, 200, err, &body);
}

static void
answer(struct lk_auth_ask *a, enum lk_err verdict)
{
    if (verdict == LK_OK) {
        answer_granted(a);
    } else if (verdict == LK_ERR_REFUSED) {
        answer_refused(a);
    } else {
        lk_auth_log(a, LK_LOG_ERROR, "hub.check_failed", lk_err_name(verdict));
        lk_api_error(a->req, LK_DPS_UNAVAILABLE, "Busy, try again later");
    }
}

bool
lk_auth_device_take(struct lk_auth_ask *ask)
{
    struct lk_reader body = lk_http_request_body(ask->req);
    char error[LK_JSON_ERROR_CAP] = "";
    struct lk_hub_auth_request what;

    ask->broker = "local";
    ask->answer = answer;
    if (lk_http_request_method(ask->req) != LK_HTTP_POST) {
        lk_api_wrong_method(ask->req, "POST, OPTIONS");
        return false;
    }
    if (!lk_api_is_json(ask->req)) {
        lk_api_error(ask->req, LK_DPS_MEDIA_TYPE, "Content-Type: expected application/json");
        return false;
    }
    if (lk_hub_auth_parse(body.p, body.left, error, &what) != LK_OK) {
        lk_api_error(ask->req, LK_DPS_BAD_REQUEST, error);
        return false;
    }
    memcpy(ask->hub, what.hub, sizeof(ask->hub));
    memcpy(ask->token, what.token, sizeof(ask->token));
    lk_wipe(&what, sizeof(what));
    return true;
}
