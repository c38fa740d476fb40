/*
 * The hub registry's check of devices, for a broker on this machine: it asks with what a device
 * presented and is told whether to let it in. Not for strangers: it answers on the local listener
 * only, and says why it refuses.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_int.h"
#include "wire/hub_auth.h"

struct lk_auth_api {
    struct lk_session *session;
    struct lk_hub_core *hub;
    struct lk_log_gate gate;
    size_t pending;
};

/* One question, from its arrival to its answer. */
struct ask {
    struct lk_auth_api *api;
    struct lk_http_request *req;
    struct lk_hub_auth_request what;
    struct lk_device_check found;
    struct lk_job job;
};

static void
ask_free(struct ask *a)
{
    lk_wipe(&a->what, sizeof(a->what)); /* a token opens the hub until it expires */
    free(a);
}
LK_DEFINE_AUTO(struct ask, ask, ask_free);

static void
ask_log(struct ask *a, enum lk_log_level level, const char *event, int status, const char *reason)
{
    if (level < LK_LOG_INFO &&
        !lk_log_gate_pass(&a->api->gate, lk_clock_mono_ms(&lk_clock_system))) {
        return;
    }
    lk_log(level, event, LK_F_TEXT("request_id", lk_http_request_id(a->req)),
           LK_F_TEXT("hub", a->what.hub), LK_F_TEXT("device_id", a->found.device_id),
           LK_F_TEXT("reason", reason), LK_F_INT("status", status),
           LK_F_INT("duration_us", lk_api_duration_us(a->req)));
}

static void
reply_or_fail(struct ask *a, int status, enum lk_err err, const struct lk_buf *body)
{
    if (err != LK_OK) {
        lk_api_error(a->req, LK_DPS_INTERNAL, "Internal error");
        return;
    }
    lk_http_reply(a->req, status, body->data, body->len);
}

static void
answer_refused(struct ask *a)
{
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;
    enum lk_err err = lk_hub_auth_refused_format(a->found.reason, &body);

    ask_log(a, LK_LOG_WARNING, "hub.device_refused", 401, a->found.reason);
    reply_or_fail(a, 401, err, &body);
}

static void
answer_granted(struct ask *a)
{
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;
    enum lk_err err = lk_hub_auth_granted_format(
        a->found.device_id, a->found.slot == LK_KEY_PRIMARY ? "primary" : "secondary",
        a->found.expiry_unix_s, &body);

    ask_log(a, LK_LOG_DEBUG, "hub.device_accepted", 200, NULL);
    reply_or_fail(a, 200, err, &body);
}

static enum lk_err
retire_run(struct lk_txn *tx, void *arg)
{
    struct ask *a = arg;

    return lk_hub_retire_secondary(a->api->hub, tx, a->what.hub, &a->found);
}

/* The device is let in whatever came of it: the old key is dropped at the next use otherwise. */
static void
retire_done(void *arg, enum lk_err err)
{
    LK_AUTO(ask) struct ask *a = arg;

    a->api->pending--;
    if (err != LK_OK) {
        lk_log(LK_LOG_ERROR, "hub.retire_failed", LK_F_TEXT("hub", a->what.hub),
               LK_F_TEXT("device_id", a->found.device_id), LK_F_ERR(err));
    }
    answer_granted(a);
}

static enum lk_err
check_run(struct lk_txn *tx, void *arg)
{
    struct ask *a = arg;

    a->found = (struct lk_device_check){0};
    return lk_hub_check_device(a->api->hub, tx, a->what.hub, NULL, a->what.token,
                               strlen(a->what.token), lk_txn_now_ms(tx), &a->found);
}

static void
check_done(void *arg, enum lk_err err)
{
    LK_AUTO(ask) struct ask *a = arg;

    if (err == LK_OK && a->found.retire_secondary) {
        a->job = (struct lk_job){.run = retire_run, .done = retire_done, .arg = a};
        lk_store_write(a->api->session, &a->job);
        (void)ask_take(&a);
        return;
    }
    a->api->pending--;
    if (err == LK_OK) {
        answer_granted(a);
    } else if (err == LK_ERR_REFUSED) {
        answer_refused(a);
    } else {
        ask_log(a, LK_LOG_ERROR, "hub.check_failed", 503, lk_err_name(err));
        lk_api_error(a->req, LK_DPS_UNAVAILABLE, "Busy, try again later");
    }
}

static bool
ask_check(struct ask *a)
{
    struct lk_reader body = lk_http_request_body(a->req);
    char error[LK_JSON_ERROR_CAP] = "";

    if (strcmp(lk_http_request_path(a->req), "/auth/device") != 0) {
        lk_api_error(a->req, LK_DPS_NOT_FOUND, "Not found");
        return false;
    }
    if (lk_http_request_method(a->req) != LK_HTTP_POST) {
        lk_api_wrong_method(a->req, "POST, OPTIONS");
        return false;
    }
    if (!lk_api_is_json(a->req)) {
        lk_api_error(a->req, LK_DPS_MEDIA_TYPE, "Content-Type: expected application/json");
        return false;
    }
    if (lk_hub_auth_parse(body.p, body.left, error, &a->what) != LK_OK) {
        lk_api_error(a->req, LK_DPS_BAD_REQUEST, error);
        return false;
    }
    return true;
}

static void
auth_api_handle(void *ctx, struct lk_http_request *req)
{
    LK_AUTO(ask) struct ask *a = calloc(1, sizeof(*a));
    struct lk_auth_api *api = ctx;

    if (a == NULL) {
        lk_api_error(req, LK_DPS_UNAVAILABLE, "Busy, try again later");
        return;
    }
    a->api = api;
    a->req = req;
    if (!ask_check(a)) {
        return;
    }
    a->job = (struct lk_job){.run = check_run, .done = check_done, .arg = a};
    api->pending++;
    lk_store_read(api->session, &a->job);
    (void)ask_take(&a); /* check_done() freed it, or will */
}

enum lk_err
lk_auth_api_new(struct lk_session *session, struct lk_hub_core *hub, struct lk_auth_api **ret)
{
    struct lk_auth_api *api = calloc(1, sizeof(*api));

    if (api == NULL) {
        return LK_ERR_NOMEM;
    }
    api->session = session;
    api->hub = hub;
    *ret = api;
    return LK_OK;
}

size_t
lk_auth_api_pending(const struct lk_auth_api *api)
{
    return api->pending;
}

void
lk_auth_api_free(struct lk_auth_api *api)
{
    if (api != NULL) {
        assert(api->pending == 0);
        free(api);
    }
}

static bool
auth_api_serves(void *ctx, const char *host, const char *path)
{
    return strncmp(path, "/auth/", strlen("/auth/")) == 0;
}

struct lk_surface
lk_auth_api_surface(struct lk_auth_api *api)
{
    return (struct lk_surface){.serves = auth_api_serves, .handle = auth_api_handle, .ctx = api};
}

void
lk_auth_api_tick(struct lk_auth_api *api)
{
    lk_log_gate_tick(&api->gate, lk_clock_mono_ms(&lk_clock_system));
}
