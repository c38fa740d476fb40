/*
 * The questions of RabbitMQ and EMQX. Whatever is wrong is a refusal with status 200: these brokers
 * take another status for a service that failed and go on to whatever they ask next.
 */
#include <string.h>

#include "api/auth_int.h"

static const struct route {
    const char *broker, *word;
    enum lk_broker_question question;
} routes[] = {
    {"rabbitmq", "user", LK_RABBIT_USER},
    {"rabbitmq", "vhost", LK_RABBIT_VHOST},
    {"rabbitmq", "resource", LK_RABBIT_RESOURCE},
    {"rabbitmq", "topic", LK_RABBIT_TOPIC},
    {"emqx", "authn", LK_EMQX_AUTHN},
    {"emqx", "authz", LK_EMQX_AUTHZ},
};

/* ---- answers --------------------------------------------------------------------------------- */

static void
rabbit_reply(struct lk_http_request *req, bool allow)
{
    const char *word = allow ? "allow" : "deny";

    lk_http_reply_header(req, "Content-Type", "text/plain");
    lk_http_reply(req, 200, word, strlen(word));
}

static void
emqx_reply(struct lk_http_request *req, bool allow, uint64_t expire_unix_s)
{
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;

    if (lk_emqx_answer_format(allow, expire_unix_s, &body) != LK_OK) {
        lk_api_error(req, LK_DPS_INTERNAL, "Internal error");
        return;
    }
    lk_http_reply(req, 200, body.data, body.len);
}

/* A token that was taken past its expiry, for clocks that differ, counts that much longer. */
static uint64_t
expiry(const struct lk_auth_ask *a)
{
    int64_t now_s = lk_clock_unix_ms(&lk_clock_system) / 1000;
    uint64_t until_s = a->found.expiry_unix_s;

    if (a->token[0] == '\0') {
        return 0;
    }
    return now_s >= 0 && (uint64_t)now_s >= until_s ? until_s + LK_HUB_SKEW_S : until_s;
}

static void
reply(struct lk_auth_ask *a, bool allow)
{
    if (strcmp(a->broker, "rabbitmq") == 0) {
        rabbit_reply(a->req, allow);
    } else {
        emqx_reply(a->req, allow, allow ? expiry(a) : 0);
    }
}

static void
refuse(struct lk_auth_ask *a, const char *reason)
{
    lk_auth_log(a, LK_LOG_WARNING, "hub.device_refused", reason);
    reply(a, false);
}

static void
answer(struct lk_auth_ask *a, enum lk_err verdict)
{
    if (verdict == LK_OK) {
        lk_auth_log(a, LK_LOG_DEBUG, "hub.device_accepted", NULL);
        reply(a, true);
    } else if (verdict == LK_ERR_REFUSED) {
        refuse(a, a->found.reason);
    } else {
        lk_auth_log(a, LK_LOG_ERROR, "hub.check_failed", lk_err_name(verdict));
        reply(a, false);
    }
}

/* ---- questions ------------------------------------------------------------------------------- */

static const struct route *
route_find(const struct lk_path *path)
{
    for (size_t i = 0; i < LK_ARRAY_LEN(routes); i++) {
        if (path->count == 4 && lk_path_is(path, 1, routes[i].broker) &&
            lk_path_is(path, 3, routes[i].word)) {
            return &routes[i];
        }
    }
    return NULL;
}

static bool
method_ok(struct lk_http_request *req, bool rabbit)
{
    enum lk_http_method method = lk_http_request_method(req);

    if (method == LK_HTTP_POST || (rabbit && method == LK_HTTP_GET)) {
        return true;
    }
    lk_api_wrong_method(req, rabbit ? "GET, POST, OPTIONS" : "POST, OPTIONS");
    return false;
}

static enum lk_err
judge(const struct lk_auth_ask *ask, enum lk_broker_question question, struct lk_broker_ask *ret)
{
    struct lk_reader body = lk_http_request_body(ask->req);
    const char *query = lk_http_request_query(ask->req);

    return lk_http_request_method(ask->req) == LK_HTTP_GET
               ? lk_broker_judge(question, ask->hub, query, strlen(query), ret)
               : lk_broker_judge(question, ask->hub, body.p, body.left, ret);
}

bool
lk_auth_broker_take(struct lk_auth_ask *ask, const struct lk_path *path)
{
    const struct route *route = route_find(path);
    struct lk_broker_ask what;
    enum lk_err err;

    if (route == NULL || !lk_host_name_ok(path->segments[2], strlen(path->segments[2]))) {
        lk_api_error(ask->req, LK_DPS_NOT_FOUND, "Not found");
        return false;
    }
    ask->broker = route->broker;
    ask->answer = answer;
    memcpy(ask->hub, path->segments[2], strlen(path->segments[2]) + 1);
    if (!method_ok(ask->req, strcmp(route->broker, "rabbitmq") == 0)) {
        return false;
    }
    err = judge(ask, route->question, &what);
    memcpy(ask->device_id, what.user.device_id, sizeof(ask->device_id));
    memcpy(ask->token, what.token, sizeof(ask->token));
    lk_wipe(what.token, sizeof(what.token));
    if (err != LK_OK) {
        refuse(ask, err == LK_ERR_REFUSED ? what.reason : "question.malformed");
    }
    return err == LK_OK;
}
