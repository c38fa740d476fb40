/*
 * Telemetry that a device sends by HTTPS, one message or a batch (iot-hub.md section 7). It goes to
 * the hub's broker, as if the device had published it there, and is answered once the broker has
 * it. Of a batch that fails some messages may have arrived: the device sends it again.
 */
#include <stdlib.h>
#include <string.h>

#include "api/hub_int.h"
#include "base/codec.h"
#include "wire/members.h"

/* ---- form ------------------------------------------------------------------------------------
 */

static bool
is_batch(const struct lk_hubapi_call *c)
{
    static const char batch[] = "application/vnd.microsoft.iothub.json";
    const char *type = lk_http_request_header(c->req, "Content-Type");

    return type != NULL && lk_ascii_caseeq(type, strcspn(type, "; \t"), batch, strlen(batch));
}

static enum lk_err
properties_parse(const json_t *object, struct lk_svc_fault *fault, struct lk_props *ret)
{
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        enum lk_err err = LK_ERR_FORMAT;

        if (json_is_string(value)) {
            err = lk_props_put(ret, key, json_string_value(value));
        }
        if (err == LK_ERR_FORMAT || err == LK_ERR_LIMIT) {
            return lk_svc_fault(fault, LK_HUBE_ARGUMENT,
                                "properties: expected at most %u texts, of %u bytes",
                                LK_PROPS_COUNT_MAX, LK_PROPS_MAX);
        }
        if (err != LK_OK) {
            return err;
        }
    }
    return LK_OK;
}

static enum lk_err
body_parse(const json_t *object, struct lk_svc_fault *fault, struct lk_buf *ret)
{
    const char *text = NULL;
    enum lk_err err = lk_svc_text(object, "body", LK_HUBE_ARGUMENT, fault, &text);

    if (err != LK_OK) {
        return err;
    }
    if (text == NULL) {
        return lk_svc_fault(fault, LK_HUBE_ARGUMENT, "body: required");
    }
    if (json_is_false(json_object_get(object, "base64Encoded"))) {
        return lk_buf_puts(ret, text);
    }
    err = lk_base64_decode(text, strlen(text), ret);
    return err == LK_ERR_FORMAT ? lk_svc_fault(fault, LK_HUBE_ARGUMENT, "body: expected base64")
                                : err;
}

static enum lk_err
item_parse(const json_t *item, struct lk_svc_fault *fault, struct lk_hubapi_message *ret)
{
    const json_t *properties;
    enum lk_err err;

    if (!json_is_object(item)) {
        return lk_svc_fault(fault, LK_HUBE_ARGUMENT, "expected an array of objects");
    }
    if ((err = body_parse(item, fault, &ret->body)) != LK_OK ||
        (err = lk_svc_object(item, "properties", fault, &properties)) != LK_OK) {
        return err;
    }
    return properties_parse(properties, fault, &ret->props);
}

static enum lk_err
batch_form(struct lk_hubapi_call *c)
{
    struct lk_reader body = lk_http_request_body(c->req);
    char error[LK_JSON_ERROR_CAP] = "";
    enum lk_err err = lk_json_parse(body.p, body.left, true, error, &c->body);
    size_t count = json_array_size(c->body);

    if (err == LK_ERR_FORMAT || (err == LK_OK && count == 0)) {
        return lk_svc_fault(&c->fault, LK_HUBE_ARGUMENT, "%s",
                            err == LK_OK ? "expected an array, not empty" : error);
    }
    if (count > LK_HUBAPI_BATCH_MAX) {
        return lk_svc_fault(&c->fault, LK_HUBE_TOO_LARGE, "expected at most %u messages",
                            LK_HUBAPI_BATCH_MAX);
    }
    if (err == LK_OK && (c->messages = calloc(count, sizeof(*c->messages))) == NULL) {
        err = LK_ERR_NOMEM;
    }
    for (size_t i = 0; err == LK_OK && i < count; i++) {
        c->messages[i].props = (struct lk_props)LK_PROPS_INIT;
        c->messages_count++;
        err = item_parse(json_array_get(c->body, i), &c->fault, &c->messages[i]);
    }
    return err;
}

static enum lk_err
events_form(struct lk_hubapi_call *c)
{
    return is_batch(c) ? batch_form(c) : lk_hubapi_message_read(c, LK_TELEMETRY_MAX);
}

/* ---- sending ---------------------------------------------------------------------------------
 */

static void
message_done(void *arg, enum lk_err err)
{
    struct lk_hubapi_call *c = arg;

    if (err != LK_OK && c->messages_err == LK_OK) {
        c->messages_err = err;
    }
    if (--c->messages_left > 0) {
        return;
    }
    err = c->messages_err;
    c->status = 204;
    lk_hubapi_finish(c, err == LK_ERR_BUSY ? lk_hubapi_refuse(c, LK_HUBE_UNAVAILABLE,
                                                              "The hub's broker is not connected")
                                           : err);
}

static void
events_begin(struct lk_hubapi_call *c)
{
    const struct lk_hub_broker *broker = &c->api->broker;
    size_t count = c->messages_count;

    if (broker->ops == NULL) {
        lk_hubapi_finish(
            c, lk_hubapi_refuse(c, LK_HUBE_UNAVAILABLE, "This service has no broker for its hubs"));
        return;
    }
    c->messages_left = count + 1; /* the loop is one more, so that c outlives it */
    for (size_t i = 0; i < count; i++) {
        struct lk_hubapi_message *m = &c->messages[i];
        struct lk_telemetry t = {.hub = c->hub,
                                 .device_id = c->route.id,
                                 .properties = lk_buf_text(&m->props.text),
                                 .body = m->body.data,
                                 .body_len = m->body.len};

        if (t.properties == NULL) {
            message_done(c, LK_ERR_NOMEM);
        } else {
            broker->ops->telemetry(broker->ctx, c->api->loop, &t, message_done, c);
        }
    }
    message_done(c, LK_OK);
}

const struct lk_hubapi_operation lk_hubapi_events = {
    .name = "events", .by_device = true, .form = events_form, .after = events_begin};
