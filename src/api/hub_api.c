/*
 * A hub's HTTPS surface (iot-hub.md sections 2 and 7). A call is routed by method and path, its
 * access is checked by a read (so that a stranger reaches neither a parser nor the writer), its
 * form is judged, and then it runs as a job of the store, in which access is checked once more. A
 * walk over many devices is cut into turns, between which the event loop serves others; what has to
 * wait for a device or a broker is begun after the job.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "api/hub_int.h"
#include "net/loop.h"

static void
call_free(struct lk_hubapi_call *c)
{
    lk_path_fini(&c->path);
    json_decref(c->body);
    lk_device_doc_fini(&c->doc);
    lk_method_doc_fini(&c->method);
    for (size_t i = 0; i < c->items_count; i++) {
        lk_import_doc_fini(&c->items[i].doc);
    }
    free(c->items);
    for (size_t i = 0; i < c->messages_count; i++) {
        lk_props_fini(&c->messages[i].props);
        lk_buf_fini(&c->messages[i].body);
    }
    free(c->messages);
    lk_c2d_fini(&c->message);
    lk_buf_fini(&c->answer);
    lk_keyring_free(c->ring);
    free(c);
}
LK_DEFINE_AUTO(struct lk_hubapi_call, call, call_free);

void
lk_hubapi_finish(struct lk_hubapi_call *c, enum lk_err err)
{
    LK_AUTO(call) struct lk_hubapi_call *own = c;

    own->api->pending--;
    lk_hubapi_answer(own, err);
}

/* ---- the call ---------------------------------------------------------------------------------
 */

static void call_turn(void *ctx);

static enum lk_err
knock_run(struct lk_txn *tx, void *arg)
{
    return lk_hubapi_access_check(arg, tx);
}

static enum lk_err
call_run(struct lk_txn *tx, void *arg)
{
    struct lk_hubapi_call *c = arg;
    enum lk_err err;

    c->turn = c->walk;
    c->answer.len = c->walk.answer_len;
    c->turn_begun_ms = lk_clock_mono_ms(c->api->clock);
    c->status = 0;
    c->next[0] = c->etag[0] = '\0';
    err = lk_hubapi_access_check(c, tx);
    return err != LK_OK || c->op->run == NULL ? err : c->op->run(c, tx);
}

static enum lk_err
record_run(struct lk_txn *tx, void *arg)
{
    return lk_hubapi_audit_read(arg, tx);
}

/* What could not be recorded is not told. */
static void
record_done(void *arg, enum lk_err err)
{
    struct lk_hubapi_call *c = arg;

    if (err != LK_OK) {
        c->fault.code = 0;
    }
    lk_hubapi_finish(c, err != LK_OK ? err : c->read_result);
}

/* Whether the call was let in and came to an answer about what is stored, "not found" included. */
static bool
has_read(const struct lk_hubapi_call *c, enum lk_err err)
{
    return c->op->read_action != NULL && c->access.reason == NULL &&
           (err == LK_OK || (err == LK_ERR_REFUSED && c->fault.code != 0));
}

/* The job was the last one: record it, or answer. */
static void
call_end(struct lk_hubapi_call *c, enum lk_err err)
{
    if (!c->api->audit_reads || !has_read(c, err)) {
        lk_hubapi_finish(c, err);
        return;
    }
    c->read_result = err;
    c->job = (struct lk_job){.run = record_run, .done = record_done, .arg = c};
    lk_store_write(c->api->session, &c->job);
}

static void
call_done(void *arg, enum lk_err err)
{
    struct lk_hubapi_call *c = arg;

    if (err != LK_OK || c->fault.code != 0 || c->status != 0) {
        call_end(c, err);
        return;
    }
    if (c->op->after != NULL) {
        c->op->after(c);
        return;
    }
    c->walk = c->turn;
    c->walk.answer_len = c->answer.len;
    if ((err = lk_loop_post(c->api->loop, call_turn, c)) != LK_OK) {
        lk_hubapi_finish(c, err);
    }
}

static void
call_turn(void *ctx)
{
    struct lk_hubapi_call *c = ctx;

    c->job = (struct lk_job){.run = call_run, .done = call_done, .arg = c};
    if (c->in_write) {
        lk_store_write(c->api->session, &c->job);
    } else {
        lk_store_read(c->api->session, &c->job);
    }
}

static const struct lk_hubapi_operation *const operations[] = {
    [LK_HUBAPI_LIST] = &lk_hubapi_list,
    [LK_HUBAPI_BULK] = &lk_hubapi_bulk,
    [LK_HUBAPI_QUERY] = &lk_hubapi_query,
    [LK_HUBAPI_DEVICE_GET] = &lk_hubapi_device_get,
    [LK_HUBAPI_DEVICE_PUT] = &lk_hubapi_device_put,
    [LK_HUBAPI_DEVICE_DELETE] = &lk_hubapi_device_delete,
    [LK_HUBAPI_STATISTICS_DEVICES] = &lk_hubapi_statistics_devices,
    [LK_HUBAPI_STATISTICS_SERVICE] = &lk_hubapi_statistics_service,
    [LK_HUBAPI_TWIN_GET] = &lk_hubapi_twin_get,
    [LK_HUBAPI_TWIN_PATCH] = &lk_hubapi_twin_patch,
    [LK_HUBAPI_TWIN_PUT] = &lk_hubapi_twin_put,
    [LK_HUBAPI_METHOD] = &lk_hubapi_method,
    [LK_HUBAPI_C2D_SEND] = &lk_hubapi_c2d_send,
    [LK_HUBAPI_EVENTS] = &lk_hubapi_events,
    [LK_HUBAPI_C2D_TAKE] = &lk_hubapi_c2d_take,
    [LK_HUBAPI_C2D_COMPLETE] = &lk_hubapi_c2d_complete,
    [LK_HUBAPI_C2D_ABANDON] = &lk_hubapi_c2d_abandon,
};

/* LK_OK with c->op set; otherwise fault is set. */
static enum lk_err
call_route(struct lk_hubapi_call *c)
{
    enum lk_err err = lk_path_parse(lk_http_request_path(c->req), &c->path);

    if (err == LK_OK) {
        err = lk_hubapi_route(&c->path, lk_http_request_method(c->req), &c->route);
    }
    switch (err) {
    case LK_OK:
        c->op = operations[c->route.action];
        break;
    case LK_ERR_UNSUPPORTED:
        lk_http_reply_header(c->req, "Allow", c->route.allow);
        return lk_svc_fault(&c->fault, LK_HUBE_METHOD_NOT_ALLOWED, "Method not allowed");
    case LK_ERR_FORMAT:
        return lk_svc_fault(&c->fault, LK_HUBE_ARGUMENT,
                            "The path has a broken percent-escape or a NUL");
    default:
        return err == LK_ERR_NOMEM ? err : lk_svc_fault(&c->fault, LK_HUBE_NO_PATH, "Not found");
    }
    return lk_strcpy(c->hub, sizeof(c->hub), lk_http_request_host(c->req)) == LK_OK
               ? LK_OK
               : lk_svc_fault(&c->fault, LK_HUBE_NO_HUB, "No hub has so long a host name");
}

/* Access was granted or refused; what comes next is judged again in its own transaction. */
static void
knock_done(void *arg, enum lk_err err)
{
    struct lk_hubapi_call *c = arg;

    if (err == LK_OK && c->op->form != NULL) {
        err = c->op->form(c);
    }
    if (err != LK_OK) {
        lk_hubapi_finish(c, err);
        return;
    }
    c->in_write = c->op->writes || c->device.retire_secondary;
    call_turn(c);
}

/* What can be said without looking at anything. */
static enum lk_err
call_judge(struct lk_hubapi_call *c)
{
    if (lk_query_api_version(lk_http_request_query(c->req)) != LK_OK) {
        return lk_svc_fault(&c->fault, LK_HUBE_ARGUMENT,
                            "api-version: expected once, as 2021-04-12 is");
    }
    return c->route.id == NULL ? LK_OK : lk_hubapi_id_check(c);
}

static void
hub_api_handle(void *ctx, struct lk_http_request *req)
{
    LK_AUTO(call) struct lk_hubapi_call *c = calloc(1, sizeof(*c));
    struct lk_hub_api *api = ctx;
    enum lk_err err;

    if (c == NULL) {
        lk_hubapi_error(req, LK_HUBE_UNAVAILABLE, "Busy, try again later");
        return;
    }
    c->api = api;
    c->req = req;
    c->ring = lk_keyring_ref(api->ring);
    c->path = (struct lk_path)LK_PATH_INIT;
    lk_device_doc_init(&c->doc);
    lk_method_doc_init(&c->method);
    err = call_route(c);
    if (c->route.allow != NULL && lk_http_request_method(req) == LK_HTTP_OPTIONS) {
        lk_http_reply(req, 204, NULL, 0);
        return;
    }
    if (err != LK_OK || (err = call_judge(c)) != LK_OK) {
        lk_hubapi_answer(c, err);
        return;
    }
    /* A stranger's body is not even parsed. */
    c->job = (struct lk_job){.run = knock_run, .done = knock_done, .arg = c};
    api->pending++;
    lk_store_read(api->session, &c->job);
    (void)call_take(&c); /* lk_hubapi_finish() freed it, or will */
}

/* ---- the object -------------------------------------------------------------------------------
 */

enum lk_err
lk_hub_api_new(const struct lk_hub_api_config *config, struct lk_hub_api **ret)
{
    struct lk_hub_api *api = calloc(1, sizeof(*api));

    if (api == NULL) {
        return LK_ERR_NOMEM;
    }
    api->session = config->session;
    api->loop = config->loop;
    api->clock = config->clock;
    api->rnd = config->rnd;
    api->hub = config->hub;
    api->broker = config->broker;
    api->audit_reads = config->audit_reads;
    api->ring = lk_keyring_ref(config->keyring);
    *ret = api;
    return LK_OK;
}

void
lk_hub_api_set_keyring(struct lk_hub_api *api, struct lk_keyring *ring)
{
    lk_keyring_free(api->ring);
    api->ring = lk_keyring_ref(ring);
}

size_t
lk_hub_api_pending(const struct lk_hub_api *api)
{
    return api->pending;
}

void
lk_hub_api_free(struct lk_hub_api *api)
{
    if (api != NULL) {
        assert(api->pending == 0);
        lk_keyring_free(api->ring);
        free(api);
    }
}

static bool
hub_api_serves(void *ctx, const char *host, const char *path)
{
    return lk_hubapi_path_serves(path);
}

static uint32_t
hub_api_body_max(void *ctx, enum lk_http_method method, const char *path)
{
    return lk_hubapi_body_max(method, path);
}

struct lk_surface
lk_hub_api_surface(struct lk_hub_api *api)
{
    return (struct lk_surface){.serves = hub_api_serves,
                               .handle = hub_api_handle,
                               .ctx = api,
                               .body_max = hub_api_body_max};
}

void
lk_hub_api_tick(struct lk_hub_api *api)
{
    lk_log_gate_tick(&api->gate, lk_clock_mono_ms(api->clock));
}
