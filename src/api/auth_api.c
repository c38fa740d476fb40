/*
 * The hub registry's check of devices, for brokers: one asks with what a device presented and is
 * told whether to let it in, or what it may do there. Not for strangers: it answers on the local
 * listener, and to brokers elsewhere behind auth_gate.c.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "api/auth_int.h"

void
lk_auth_ask_free(struct lk_auth_ask *ask)
{
    lk_wipe(ask->token, sizeof(ask->token)); /* a token opens the hub until it expires */
    free(ask);
}

void
lk_auth_log(struct lk_auth_ask *ask, enum lk_log_level level, const char *event, const char *reason)
{
    if (level < LK_LOG_INFO &&
        !lk_log_gate_pass(&ask->api->gate, lk_clock_mono_ms(&lk_clock_system))) {
        return;
    }
    lk_log(level, event, LK_F_TEXT("request_id", lk_http_request_id(ask->req)),
           LK_F_TEXT("broker", ask->broker), LK_F_TEXT("hub", ask->hub),
           LK_F_TEXT("device_id",
                     ask->found.device_id[0] != '\0' ? ask->found.device_id : ask->device_id),
           LK_F_TEXT("reason", reason), LK_F_INT("duration_us", lk_api_duration_us(ask->req)));
}

/* ---- asking the hub -------------------------------------------------------------------------- */

static enum lk_err
retire_run(struct lk_txn *tx, void *arg)
{
    struct lk_auth_ask *a = arg;

    return lk_hub_retire_secondary(a->api->hub, tx, a->hub, &a->found);
}

/* The device is let in whatever came of it: the old key is dropped at the next use otherwise. */
static void
retire_done(void *arg, enum lk_err err)
{
    LK_AUTO(lk_auth_ask) struct lk_auth_ask *a = arg;

    a->api->pending--;
    if (err != LK_OK) {
        lk_log(LK_LOG_ERROR, "hub.retire_failed", LK_F_TEXT("hub", a->hub),
               LK_F_TEXT("device_id", a->found.device_id), LK_F_ERR(err));
    }
    a->answer(a, LK_OK);
}

static enum lk_err
check_run(struct lk_txn *tx, void *arg)
{
    struct lk_auth_ask *a = arg;
    const char *device_id = a->device_id[0] != '\0' ? a->device_id : NULL;

    a->found = (struct lk_device_check){0};
    if (a->token[0] == '\0' && device_id != NULL) {
        return lk_hub_check_identity(tx, a->hub, device_id, &a->found);
    }
    return lk_hub_check_device(a->api->hub, tx, a->hub, device_id, a->token, strlen(a->token),
                               lk_txn_now_ms(tx), &a->found);
}

static void
check_done(void *arg, enum lk_err err)
{
    LK_AUTO(lk_auth_ask) struct lk_auth_ask *a = arg;

    if (err == LK_OK && a->found.retire_secondary) {
        a->job = (struct lk_job){.run = retire_run, .done = retire_done, .arg = a};
        lk_store_write(a->api->session, &a->job);
        (void)lk_auth_ask_take(&a);
        return;
    }
    a->api->pending--;
    a->answer(a, err);
}

void
lk_auth_ask_start(struct lk_auth_ask *ask)
{
    ask->job = (struct lk_job){.run = check_run, .done = check_done, .arg = ask};
    ask->api->pending++;
    lk_store_read(ask->api->session, &ask->job);
}

/* ---- the surface ----------------------------------------------------------------------------- */

static bool
ask_take(struct lk_auth_ask *a)
{
    __attribute__((cleanup(lk_path_fini))) struct lk_path path = LK_PATH_INIT;

    if (strcmp(lk_http_request_path(a->req), "/auth/device") == 0) {
        return lk_auth_device_take(a);
    }
    if (lk_path_parse(lk_http_request_path(a->req), &path) != LK_OK) {
        lk_api_error(a->req, LK_DPS_NOT_FOUND, "Not found");
        return false;
    }
    return lk_auth_broker_take(a, &path);
}

static void
auth_api_handle(void *ctx, struct lk_http_request *req)
{
    LK_AUTO(lk_auth_ask) struct lk_auth_ask *a = calloc(1, sizeof(*a));

    if (a == NULL) {
        lk_api_error(req, LK_DPS_UNAVAILABLE, "Busy, try again later");
        return;
    }
    a->api = ctx;
    a->req = req;
    if (ask_take(a)) {
        lk_auth_ask_start(lk_auth_ask_take(&a));
    }
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
