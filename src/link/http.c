/*
 * One call to a hub: open its connection, make a token, send, and judge what comes back. What is
 * judged here is whether there is an answer at all, and of whom; what it means for a device is
 * provision's.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/codec.h"
#include "link/connection.h"
#include "link/link.h"
#include "link/registry.h"

#define DETAIL_CAP 200u

struct lk_hub_http {
    struct lk_hub_http_config config;
    size_t calls_count;
};

/* One call, which for a read with its twin is two requests. */
struct call {
    struct lk_hub_http *http;
    char hub[LK_HOST_NAME_MAX + 1];
    char device_id[LK_DEVICE_ID_MAX + 1];
    struct lk_hub_connection connection;
    void (*answered)(struct call *call, const struct lk_client_answer *answer);
    bool with_twin;
    uint8_t key[LK_HUB_DEVICE_KEY_MAX]; /* that the hub must have after an update */
    size_t key_len;
    struct lk_hub_snapshot snapshot;
    char detail[DETAIL_CAP];
    lk_hub_done_fn *done;
    lk_hub_probed_fn *probed; /* instead */
    void *arg;
};

static void
call_free(struct call *call)
{
    lk_hub_connection_fini(&call->connection);
    lk_hub_snapshot_fini(&call->snapshot);
    lk_wipe(call->key, sizeof(call->key));
    free(call);
}
LK_DEFINE_AUTO(struct call, call, call_free);

/* ---- the end -----------------------------------------------------------------------------------
 */

static void
call_end(struct call *ended, enum lk_err err, uint32_t retry_after_s, int64_t devices)
{
    LK_AUTO(call) struct call *call = ended;
    struct lk_hub_answer answer = {.err = err,
                                   .retry_after_s = retry_after_s,
                                   .detail = call->detail,
                                   .snapshot = &call->snapshot};

    call->http->calls_count--;
    if (call->probed != NULL) {
        call->probed(call->arg, &answer, devices);
    } else {
        call->done(call->arg, &answer);
    }
}

/* What the hub is to blame or to praise for. */
static void
call_report(struct call *call, enum lk_hub_outcome outcome, uint32_t retry_after_s)
{
    lk_hub_board_report(call->http->config.board, call->hub, outcome, retry_after_s, call->detail);
}

/* It worked, and this is what came of it. */
static void
call_answered(struct call *call, enum lk_err err)
{
    call_report(call, LK_HUB_ANSWERED, 0);
    call_end(call, err, 0, 0);
}

/* Its words are no answer. */
static void
call_faulty(struct call *call, const char *what)
{
    (void)snprintf(call->detail, sizeof(call->detail), "its answer: %s", what);
    call_report(call, LK_HUB_FAULTY, 0);
    call_end(call, LK_ERR_PROTOCOL, 0, 0);
}

/* No call was made: the hub has no part in it. */
static void
call_stillborn(struct call *call, enum lk_err err, const char *what)
{
    (void)snprintf(call->detail, sizeof(call->detail), "%s: %s", what, lk_err_text(err));
    call_end(call, err, 0, 0);
}

/* Statuses that mean the same whatever was asked. False: it is for the caller to judge. */
static bool
status_judge(struct call *call, const struct lk_client_answer *a, const char *name)
{
    enum lk_hub_outcome outcome = LK_HUB_FAULTY;
    enum lk_err err = LK_ERR_BUSY;

    if (a->status == 401 || a->status == 403) {
        outcome = LK_HUB_REFUSED;
        err = LK_ERR_REFUSED;
    } else if (a->status == 429) {
        outcome = LK_HUB_THROTTLED;
    } else if (a->status < 500) {
        return false;
    }
    (void)snprintf(call->detail, sizeof(call->detail), "status %d %s", a->status, name);
    call_report(call, outcome, a->retry_after_s);
    call_end(call, err, a->retry_after_s, 0);
    return true;
}

/* 404, 409, 412 and other refusals of what was asked. */
static void
status_other(struct call *call, const struct lk_client_answer *a, const char *name)
{
    (void)snprintf(call->detail, sizeof(call->detail), "status %d %s", a->status, name);
    if (a->status == 404 && lk_registry_is_device_missing(name)) {
        call_answered(call, LK_ERR_NOT_FOUND);
    } else if (a->status == 409) {
        call_answered(call, LK_ERR_EXISTS);
    } else if (a->status == 412) {
        call_answered(call, LK_ERR_PRECONDITION);
    } else if (a->status == 400 && name[0] != '\0') {
        call_answered(call, LK_ERR_UNSUPPORTED);
    } else { /* of whoever answers there, it is no hub's */
        call_report(call, LK_HUB_FAULTY, 0);
        call_end(call, LK_ERR_PROTOCOL, 0, 0);
    }
}

static void
client_answered(void *arg, const struct lk_client_answer *a)
{
    struct call *call = arg;
    char name[LK_REGISTRY_NAME_CAP] = "";

    if (a->err != LK_OK) {
        (void)snprintf(call->detail, sizeof(call->detail), "%s", a->detail);
        call_report(call, LK_HUB_UNREACHABLE, 0);
        call_end(call, a->err, 0, 0);
        return;
    }
    if (a->status >= 400) {
        lk_registry_error_parse(a->body.p, a->body.left, name);
    }
    if (!status_judge(call, a, name)) {
        call->answered(call, a);
    }
}

/* ---- the beginning -----------------------------------------------------------------------------
 */

/* NULL: there is no memory; done has been called. */
static struct call *
call_new(struct lk_hub_http *h, const char *hub, const char *device_id,
         void (*answered)(struct call *call, const struct lk_client_answer *answer),
         lk_hub_done_fn *done, void *arg)
{
    struct call *call = calloc(1, sizeof(*call));

    if (call == NULL) {
        struct lk_hub_snapshot none = {.found = false};
        struct lk_hub_answer answer = {
            .err = LK_ERR_NOMEM, .detail = "out of memory", .snapshot = &none};

        done(arg, &answer);
        return NULL;
    }
    call->http = h;
    call->answered = answered;
    call->done = done;
    call->arg = arg;
    /* Both are of the store, which bounds them alike. */
    (void)snprintf(call->hub, sizeof(call->hub), "%s", hub);
    (void)snprintf(call->device_id, sizeof(call->device_id), "%s", device_id);
    h->calls_count++;
    return call;
}

/* "https://hub[:port]/folder[/device]?api-version=..." */
static enum lk_err
url_make(const struct call *call, const char *folder, const char *device_id, struct lk_buf *ret)
{
    const struct lk_hub_connection *c = &call->connection;
    enum lk_err err = lk_buf_printf(ret, "https://%s:%u/%s", c->host, c->port, folder);

    if (err == LK_OK && device_id != NULL && (err = lk_buf_puts(ret, "/")) == LK_OK) {
        err = lk_percent_encode(device_id, strlen(device_id), ret);
    }
    return err != LK_OK ? err : lk_buf_puts(ret, "?api-version=" LK_REGISTRY_API_VERSION);
}

struct request {
    const char *method, *folder, *device_id, *etag; /* device_id, etag NULL: none */
    struct lk_buf *body;                            /* NULL: none */
};

static enum lk_err
call_send(struct call *call, const struct request *r)
{
    LK_AUTO_BUF struct lk_buf url = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf token = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf etag = LK_BUF_INIT;
    const struct lk_hub_http_config *config = &call->http->config;
    struct lk_hub_connection *c = &call->connection;
    struct lk_client_request req = {.method = r->method, .body = r->body};
    enum lk_err err;

    if ((err = url_make(call, r->folder, r->device_id, &url)) != LK_OK ||
        (err = lk_hub_connection_token(c, lk_clock_unix_ms(config->clock), &token)) != LK_OK ||
        (r->etag != NULL && (err = lk_buf_printf(&etag, "\"%s\"", r->etag)) != LK_OK)) {
        return err;
    }
    req.url = lk_buf_text(&url);
    req.authorization = lk_buf_text(&token);
    req.if_match = r->etag == NULL ? NULL : lk_buf_text(&etag);
    req.connect_to = c->gateway[0] == '\0' ? NULL : c->gateway;
    req.ca_pem = c->ca.len == 0 ? NULL : lk_buf_text(&c->ca);
    if (req.url == NULL || req.authorization == NULL || (r->etag != NULL && req.if_match == NULL) ||
        (c->ca.len > 0 && req.ca_pem == NULL)) {
        return LK_ERR_NOMEM;
    }
    return lk_client_send(c->is_remote ? config->limited : config->client, &req, client_answered,
                          call);
}

/* Open the hub's connection and send. */
static void
call_begin(struct call *call, const struct lk_hub *hub, const struct request *r)
{
    enum lk_err err = lk_hub_connection_open(call->http->config.keyring, hub, &call->connection);

    if (err != LK_OK) {
        call_stillborn(call, err, "its connection cannot be opened");
    } else if ((err = call_send(call, r)) != LK_OK) {
        call_stillborn(call, err, "the call cannot be made");
    }
}

/* ---- read --------------------------------------------------------------------------------------
 */

static void
twin_answered(struct call *call, const struct lk_client_answer *a)
{
    char error[LK_JSON_ERROR_CAP] = "not readable", name[LK_REGISTRY_NAME_CAP];

    if (a->status != 200) {
        lk_registry_error_parse(a->body.p, a->body.left, name);
        status_other(call, a, name);
    } else if (lk_registry_twin_parse(a->body.p, a->body.left, call->device_id, error,
                                      &call->snapshot.twin) != LK_OK) {
        call_faulty(call, error);
    } else {
        call_answered(call, LK_OK);
    }
}

static void
twin_ask(struct call *call)
{
    const struct request r = {.method = "GET", .folder = "twins", .device_id = call->device_id};
    enum lk_err err;

    call_report(call, LK_HUB_ANSWERED, 0);
    call->answered = twin_answered;
    if ((err = call_send(call, &r)) != LK_OK) {
        call_stillborn(call, err, "the call cannot be made");
    }
}

static void
device_answered(struct call *call, const struct lk_client_answer *a)
{
    char error[LK_JSON_ERROR_CAP] = "not readable", name[LK_REGISTRY_NAME_CAP] = "";

    if (a->status != 200) {
        lk_registry_error_parse(a->body.p, a->body.left, name);
        if (a->status == 404 && lk_registry_is_device_missing(name)) {
            call_answered(call, LK_OK); /* which is that it is not found */
        } else {
            status_other(call, a, name);
        }
    } else if (lk_registry_device_parse(a->body.p, a->body.left, call->device_id, error,
                                        &call->snapshot) != LK_OK) {
        call_faulty(call, error);
    } else if (call->with_twin) {
        twin_ask(call);
    } else {
        call_answered(call, LK_OK);
    }
}

static void
link_read(void *ctx, const struct lk_hub *hub, const char *device_id, bool with_twin,
          lk_hub_done_fn *done, void *arg)
{
    const struct request r = {.method = "GET", .folder = "devices", .device_id = device_id};
    struct call *call = call_new(ctx, hub->name, device_id, device_answered, done, arg);

    if (call != NULL) {
        call->with_twin = with_twin;
        call_begin(call, hub, &r);
    }
}

/* ---- create ------------------------------------------------------------------------------------
 */

static void
create_answered(struct call *call, const struct lk_client_answer *a)
{
    char error[LK_JSON_ERROR_CAP] = "not readable", name[LK_REGISTRY_NAME_CAP] = "";
    enum lk_err err = LK_ERR_FORMAT;

    if (a->status == 200 || a->status == 400) {
        err = lk_registry_bulk_parse(a->body.p, a->body.left, error);
    }
    if (err == LK_ERR_FORMAT && a->status == 200) {
        call_faulty(call, error);
    } else if (err == LK_ERR_FORMAT || err == LK_ERR_NOMEM) {
        lk_registry_error_parse(a->body.p, a->body.left, name);
        status_other(call, a, name);
    } else {
        (void)snprintf(call->detail, sizeof(call->detail), "%s", err == LK_OK ? "" : error);
        call_answered(call, err);
    }
}

static void
link_create(void *ctx, const struct lk_hub *hub, const struct lk_hub_identity *id,
            lk_hub_done_fn *done, void *arg)
{
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;
    const struct request r = {.method = "POST", .folder = "devices", .body = &body};
    struct call *call = call_new(ctx, hub->name, id->device_id, create_answered, done, arg);
    enum lk_err err;

    if (call == NULL) {
        return;
    }
    err = lk_registry_create_format(id, &body);
    if (err == LK_ERR_FORMAT) {
        call_stillborn(call, LK_ERR_UNSUPPORTED, "the initial twin is none");
    } else if (err != LK_OK) {
        call_stillborn(call, err, "the call cannot be made");
    } else {
        call_begin(call, hub, &r);
    }
}

/* ---- update ------------------------------------------------------------------------------------
 */

/* What it says it has now must be what it was given, as far as it tells. */
static void
update_answered(struct call *call, const struct lk_client_answer *a)
{
    struct lk_hub_snapshot *now = &call->snapshot;
    char error[LK_JSON_ERROR_CAP] = "not readable", name[LK_REGISTRY_NAME_CAP];

    if (a->status != 200) {
        lk_registry_error_parse(a->body.p, a->body.left, name);
        status_other(call, a, name);
    } else if (lk_registry_device_parse(a->body.p, a->body.left, call->device_id, error, now) !=
               LK_OK) {
        call_faulty(call, error);
    } else if (now->keys_len[0] > 0 && call->key_len > 0 &&
               (now->keys_len[0] != call->key_len ||
                !lk_ct_equal(now->keys[0], call->key, call->key_len))) {
        call_faulty(call, "the hub has another key than it was given");
    } else {
        call_answered(call, LK_OK);
    }
}

static void
link_update(void *ctx, const struct lk_hub *hub, const struct lk_hub_snapshot *was,
            const struct lk_hub_identity *id, lk_hub_done_fn *done, void *arg)
{
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;
    const struct request r = {.method = "PUT",
                              .folder = "devices",
                              .device_id = id->device_id,
                              .etag = was->etag,
                              .body = &body};
    struct call *call = call_new(ctx, hub->name, id->device_id, update_answered, done, arg);
    enum lk_err err;

    if (call == NULL) {
        return;
    }
    if (id->thumbprint == NULL && id->keys_len[0] > 0 && id->keys_len[0] <= sizeof(call->key)) {
        memcpy(call->key, id->keys[0], id->keys_len[0]);
        call->key_len = id->keys_len[0];
    }
    if ((err = lk_registry_update_format(was, id, &body)) != LK_OK) {
        call_stillborn(call, err, "the call cannot be made");
    } else {
        call_begin(call, hub, &r);
    }
}

/* ---- twin, remove ------------------------------------------------------------------------------
 */

static void
merge_answered(struct call *call, const struct lk_client_answer *a)
{
    char name[LK_REGISTRY_NAME_CAP];

    if (a->status == 200) {
        call_answered(call, LK_OK);
        return;
    }
    lk_registry_error_parse(a->body.p, a->body.left, name);
    status_other(call, a, name);
}

static void
link_twin_merge(void *ctx, const struct lk_hub *hub, const char *device_id, const char *twin,
                lk_hub_done_fn *done, void *arg)
{
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;
    const struct request r = {
        .method = "PATCH", .folder = "twins", .device_id = device_id, .body = &body};
    struct call *call = call_new(ctx, hub->name, device_id, merge_answered, done, arg);
    enum lk_err err;

    if (call == NULL) {
        return;
    }
    if ((err = lk_registry_twin_format(twin, &body)) != LK_OK) {
        call_stillborn(call, err, "the call cannot be made");
    } else {
        call_begin(call, hub, &r);
    }
}

static void
remove_answered(struct call *call, const struct lk_client_answer *a)
{
    char name[LK_REGISTRY_NAME_CAP];

    if (a->status == 204 || a->status == 200) {
        call_answered(call, LK_OK);
        return;
    }
    lk_registry_error_parse(a->body.p, a->body.left, name);
    status_other(call, a, name);
}

static void
link_remove(void *ctx, const struct lk_hub *hub, const char *device_id, const char *etag,
            lk_hub_done_fn *done, void *arg)
{
    const struct request r = {
        .method = "DELETE", .folder = "devices", .device_id = device_id, .etag = etag};
    struct call *call = call_new(ctx, hub->name, device_id, remove_answered, done, arg);

    if (call != NULL) {
        call_begin(call, hub, &r);
    }
}

/* ---- probe -------------------------------------------------------------------------------------
 */

static void
probe_answered(struct call *call, const struct lk_client_answer *a)
{
    char name[LK_REGISTRY_NAME_CAP];
    int64_t devices = 0;

    if (a->status != 200) {
        lk_registry_error_parse(a->body.p, a->body.left, name);
        status_other(call, a, name);
    } else if (lk_registry_statistics_parse(a->body.p, a->body.left, &devices) != LK_OK) {
        call_faulty(call, "no count of devices in it");
    } else {
        call_report(call, LK_HUB_ANSWERED, 0);
        call_end(call, LK_OK, 0, devices);
    }
}

void
lk_hub_http_probe(struct lk_hub_http *h, const struct lk_hub *hub, lk_hub_probed_fn *done,
                  void *arg)
{
    const struct request r = {.method = "GET", .folder = "statistics/devices"};
    struct call *call = calloc(1, sizeof(*call));
    const struct lk_hub_answer answer = {.err = LK_ERR_NOMEM, .detail = "out of memory"};

    if (call == NULL) {
        done(arg, &answer, 0);
        return;
    }
    call->http = h;
    call->answered = probe_answered;
    call->probed = done;
    call->arg = arg;
    memcpy(call->hub, hub->name, sizeof(call->hub));
    h->calls_count++;
    call_begin(call, hub, &r);
}

/* ---- the object --------------------------------------------------------------------------------
 */

static unsigned
link_reserve(void *ctx, const char *hub, unsigned wanted)
{
    struct lk_hub_http *h = ctx;

    return lk_hub_board_reserve(h->config.board, hub, wanted);
}

static void
link_release(void *ctx, const char *hub, unsigned count)
{
    struct lk_hub_http *h = ctx;

    lk_hub_board_release(h->config.board, hub, count);
}

enum lk_err
lk_hub_http_new(const struct lk_hub_http_config *config, struct lk_hub_http **ret)
{
    struct lk_hub_http *h = calloc(1, sizeof(*h));

    if (h == NULL) {
        return LK_ERR_NOMEM;
    }
    h->config = *config;
    h->config.keyring = lk_keyring_ref(config->keyring);
    *ret = h;
    return LK_OK;
}

void
lk_hub_http_free(struct lk_hub_http *h)
{
    if (h != NULL) {
        assert(h->calls_count == 0);
        lk_keyring_free(h->config.keyring);
        free(h);
    }
}

void
lk_hub_http_set_keyring(struct lk_hub_http *h, struct lk_keyring *ring)
{
    struct lk_keyring *old = h->config.keyring;

    h->config.keyring = lk_keyring_ref(ring);
    lk_keyring_free(old);
}

struct lk_hub_link
lk_hub_http_link(struct lk_hub_http *h)
{
    static const struct lk_hub_link_ops ops = {.reserve = link_reserve,
                                               .release = link_release,
                                               .read = link_read,
                                               .create = link_create,
                                               .update = link_update,
                                               .twin_merge = link_twin_merge,
                                               .remove = link_remove};

    return (struct lk_hub_link){&ops, h};
}
