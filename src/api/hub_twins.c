/* Twins, and direct methods (iot-hub.md 2.3 and 2.5). */
#include <string.h>

#include "api/hub_int.h"

/* ---- twins -----------------------------------------------------------------------------------
 */

/* The twin as it now is. t is wiped. */
static enum lk_err
twin_answer(struct lk_hubapi_call *c, struct lk_txn *tx, const struct lk_twin *t)
{
    struct lk_hub_device d = {.c2d_count = 0};
    LK_AUTO(json) json_t *object = json_object();
    enum lk_err err = lk_hub_device_get(c->api->hub, tx, c->hub, c->route.id, &d);

    if (err == LK_OK) {
        err = lk_twin_json_put(&d, t, object);
    }
    lk_hub_device_fini(&d);
    if (err != LK_OK) {
        return lk_hubapi_refuse_err(c, err);
    }
    memcpy(c->etag, t->etag, sizeof(c->etag));
    return lk_hubapi_answer_json(c, json_incref(object));
}

static enum lk_err
get_run(struct lk_hubapi_call *c, struct lk_txn *tx)
{
    struct lk_twin t = LK_TWIN_INIT;
    enum lk_err err = lk_txn_twin_get(tx, c->hub, c->route.id, &t);

    err = err == LK_OK ? twin_answer(c, tx, &t) : lk_hubapi_refuse_err(c, err);
    lk_twin_fini(&t);
    return err;
}

static enum lk_err
change_form(struct lk_hubapi_call *c, enum lk_twin_change how)
{
    enum lk_err err = lk_hubapi_body_parse(c, false);

    lk_hubapi_if_match_read(c);
    c->patch.how = how;
    return err != LK_OK ? err : lk_twin_json_parse(c->body, &c->fault, &c->patch);
}

static enum lk_err
patch_form(struct lk_hubapi_call *c)
{
    return change_form(c, LK_TWIN_MERGE);
}

static enum lk_err
put_form(struct lk_hubapi_call *c)
{
    return change_form(c, LK_TWIN_REPLACE);
}

static enum lk_err
change_run(struct lk_hubapi_call *c, struct lk_txn *tx)
{
    struct lk_twin t = LK_TWIN_INIT;
    char error[LK_TWIN_ERROR_CAP] = "";
    enum lk_err err = lk_twin_change(tx, c->hub, c->route.id, &c->patch,
                                     c->has_if_match ? c->if_match : NULL, &t, error);

    if (err == LK_ERR_LIMIT || err == LK_ERR_FORMAT) {
        err = lk_hubapi_refuse(c, LK_HUBE_ARGUMENT, error);
    } else if (err != LK_OK) {
        err = lk_hubapi_refuse_err(c, err);
    } else if ((err = lk_hubapi_audit(c, tx, "hub.twin.update", c->route.id)) == LK_OK) {
        err = twin_answer(c, tx, &t);
    }
    lk_twin_fini(&t);
    return err;
}

const struct lk_hubapi_operation lk_hubapi_twin_get = {.name = "twin.get",
                                                       .right = LK_HUB_SERVICE_CONNECT,
                                                       .read_action = "hub.twin.read",
                                                       .run = get_run};
const struct lk_hubapi_operation lk_hubapi_twin_patch = {.name = "twin.patch",
                                                         .right = LK_HUB_SERVICE_CONNECT,
                                                         .writes = true,
                                                         .form = patch_form,
                                                         .run = change_run};
const struct lk_hubapi_operation lk_hubapi_twin_put = {.name = "twin.put",
                                                       .right = LK_HUB_SERVICE_CONNECT,
                                                       .writes = true,
                                                       .form = put_form,
                                                       .run = change_run};

/* ---- methods ---------------------------------------------------------------------------------
 */

static enum lk_err
method_form(struct lk_hubapi_call *c)
{
    enum lk_err err = lk_hubapi_body_parse(c, false);

    return err != LK_OK ? err : lk_method_json_parse(c->body, &c->fault, &c->method);
}

/* The record stands before the device is asked: nobody knows afterwards whether it did it. */
static enum lk_err
method_run(struct lk_hubapi_call *c, struct lk_txn *tx)
{
    struct lk_identity id;
    enum lk_err err = lk_txn_identity_get(tx, c->hub, c->route.id, &id);

    lk_wipe(&id, sizeof(id));
    if (err != LK_OK) {
        return lk_hubapi_refuse_err(c, err);
    }
    return lk_hubapi_audit(c, tx, "hub.method.call", c->route.id);
}

static enum lk_err
method_outcome(struct lk_hubapi_call *c, enum lk_err err, int status, const char *payload,
               size_t payload_len)
{
    switch (err) {
    case LK_OK:
        break;
    case LK_ERR_NOT_FOUND:
        return lk_hubapi_refuse(c, LK_HUBE_NOT_ONLINE, "The device is not connected");
    case LK_ERR_TIMEOUT:
        return lk_hubapi_refuse(c, LK_HUBE_DEVICE_TIMEOUT, "The device did not answer in time");
    case LK_ERR_BUSY:
        return lk_hubapi_refuse(c, LK_HUBE_UNAVAILABLE, "The hub's broker is not connected");
    default:
        return err;
    }
    err = payload_len > LK_METHOD_PAYLOAD_MAX
              ? LK_ERR_FORMAT
              : lk_method_result_format(status, payload, payload_len, &c->answer);
    if (err == LK_ERR_FORMAT) {
        return lk_hubapi_refuse(c, LK_HUBE_BAD_DEVICE_ANSWER,
                                "The device answered with what is not JSON");
    }
    c->status = 200;
    return err;
}

static void
method_done(void *arg, enum lk_err err, int status, const char *payload, size_t payload_len)
{
    struct lk_hubapi_call *c = arg;

    lk_hubapi_finish(c, method_outcome(c, err, status, payload, payload_len));
}

static void
method_begin(struct lk_hubapi_call *c)
{
    const struct lk_hub_broker *broker = &c->api->broker;
    struct lk_method_call call = {.hub = c->hub,
                                  .device_id = c->route.id,
                                  .name = c->method.name,
                                  .payload = lk_buf_text(&c->method.payload),
                                  .payload_len = c->method.payload.len,
                                  .response_timeout_ms = c->method.response_timeout_ms,
                                  .connect_timeout_ms = c->method.connect_timeout_ms};

    if (broker->ops == NULL) {
        lk_hubapi_finish(
            c, lk_hubapi_refuse(c, LK_HUBE_UNAVAILABLE, "This service has no broker for its hubs"));
    } else if (call.payload == NULL) {
        lk_hubapi_finish(c, LK_ERR_NOMEM);
    } else {
        broker->ops->method(broker->ctx, c->api->loop, &call, method_done, c);
    }
}

const struct lk_hubapi_operation lk_hubapi_method = {.name = "method",
                                                     .right = LK_HUB_SERVICE_CONNECT,
                                                     .writes = true,
                                                     .form = method_form,
                                                     .run = method_run,
                                                     .after = method_begin};
