/*
 * Messages by HTTPS: what operators send to devices (iot-hub.md section 3; the route is ours), and
 * a device's own side (section 7).
 */
#include <string.h>

#include "api/hub_int.h"
#include "base/codec.h"

/* ---- what operators send ---------------------------------------------------------------------
 */

/* Every property that the request's headers carry. */
static enum lk_err
properties_read(struct lk_hubapi_call *c, struct lk_props *props)
{
    const char *name, *value;

    for (size_t i = 0; lk_http_request_header_at(c->req, i, &name, &value); i++) {
        enum lk_err err = lk_props_put(props, name, value);

        if (err == LK_ERR_LIMIT) {
            return lk_svc_fault(&c->fault, LK_HUBE_TOO_LARGE,
                                "properties: expected at most %u, of %u bytes", LK_PROPS_COUNT_MAX,
                                LK_PROPS_MAX);
        }
        if (err != LK_OK) {
            return err;
        }
    }
    return LK_OK;
}

enum lk_err
lk_hubapi_message_read(struct lk_hubapi_call *c, size_t max)
{
    struct lk_reader body = lk_http_request_body(c->req);
    struct lk_hubapi_message *m;
    enum lk_err err;

    if ((c->messages = calloc(1, sizeof(*c->messages))) == NULL) {
        return LK_ERR_NOMEM;
    }
    m = c->messages;
    m->props = (struct lk_props)LK_PROPS_INIT;
    c->messages_count = 1;
    if ((err = properties_read(c, &m->props)) != LK_OK) {
        return err;
    }
    if (body.left + m->props.text.len > max) {
        return lk_svc_fault(&c->fault, LK_HUBE_TOO_LARGE,
                            "expected at most %zu bytes, properties included", max);
    }
    return lk_buf_put(&m->body, body.p, body.left);
}

static enum lk_err
send_form(struct lk_hubapi_call *c)
{
    const char *expiry = lk_http_request_header(c->req, "iothub-expiry");
    const char *ack = lk_http_request_header(c->req, "iothub-ack");

    c->expires_ms = lk_clock_unix_ms(c->api->clock) + LK_C2D_TTL_MS;
    if (expiry != NULL && lk_timestamp_parse(expiry, strlen(expiry), &c->expires_ms) != LK_OK) {
        return lk_svc_fault(&c->fault, LK_HUBE_ARGUMENT,
                            "iothub-expiry: expected a time such as 2026-01-02T03:04:05Z");
    }
    if (ack != NULL && !lk_ascii_caseeq(ack, strlen(ack), "none", strlen("none"))) {
        return lk_svc_fault(&c->fault, LK_HUBE_ARGUMENT,
                            "iothub-ack: expected none, feedback is not served");
    }
    return lk_hubapi_message_read(c, LK_C2D_BODY_MAX);
}

static enum lk_err
message_queue(struct lk_hubapi_call *c, struct lk_txn *tx)
{
    const struct lk_hubapi_message *given = &c->messages[0];
    struct lk_c2d m = {.expires_ms = c->expires_ms};
    enum lk_err err;

    if ((err = lk_strcpy(m.hub, sizeof(m.hub), c->hub)) == LK_OK &&
        (err = lk_strcpy(m.device_id, sizeof(m.device_id), c->route.id)) == LK_OK &&
        (err = lk_buf_put(&m.properties, given->props.text.data, given->props.text.len)) == LK_OK &&
        (err = lk_buf_put(&m.body, given->body.data, given->body.len)) == LK_OK) {
        err = lk_c2d_send(tx, &m);
    }
    lk_c2d_fini(&m);
    return err;
}

static enum lk_err
send_run(struct lk_hubapi_call *c, struct lk_txn *tx)
{
    enum lk_err err = message_queue(c, tx);

    c->status = 204;
    switch (err) {
    case LK_OK:
        return lk_hubapi_audit(c, tx, "hub.message.send", c->route.id);
    case LK_ERR_LIMIT:
        return lk_hubapi_refuse(c, LK_HUBE_QUEUE_FULL, "The device's queue is full");
    case LK_ERR_ARG:
        return lk_hubapi_refuse(c, LK_HUBE_TOO_LARGE, "The message is too large");
    default:
        return lk_hubapi_refuse_err(c, err);
    }
}

/* ---- what a device takes ---------------------------------------------------------------------
 */

/* Nothing to take is a commit too: of those that were dropped on the way. */
static enum lk_err
take_run(struct lk_hubapi_call *c, struct lk_txn *tx)
{
    enum lk_err err;

    lk_c2d_fini(&c->message);
    memset(&c->message, 0, sizeof(c->message));
    err = lk_c2d_take(tx, c->api->rnd, c->hub, c->route.id, &c->message);
    c->status = err == LK_OK ? 200 : 204;
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

static enum lk_err
settle(struct lk_hubapi_call *c, struct lk_txn *tx, enum lk_c2d_outcome outcome)
{
    enum lk_err err = lk_c2d_settle(tx, c->hub, c->route.id, c->route.lock, outcome);

    c->status = 204;
    return err == LK_ERR_NOT_FOUND
               ? lk_hubapi_refuse(c, LK_HUBE_LOCK_LOST, "No message has this lock any more")
               : err;
}

static enum lk_err
complete_run(struct lk_hubapi_call *c, struct lk_txn *tx)
{
    const char *text;
    size_t len;

    return settle(c, tx,
                  lk_hubapi_parameter(lk_http_request_query(c->req), "reject", &text, &len)
                      ? LK_C2D_REJECT
                      : LK_C2D_COMPLETE);
}

static enum lk_err
abandon_run(struct lk_hubapi_call *c, struct lk_txn *tx)
{
    return settle(c, tx, LK_C2D_ABANDON);
}

const struct lk_hubapi_operation lk_hubapi_c2d_send = {.name = "message.send",
                                                       .right = LK_HUB_SERVICE_CONNECT,
                                                       .writes = true,
                                                       .form = send_form,
                                                       .run = send_run};
const struct lk_hubapi_operation lk_hubapi_c2d_take = {
    .name = "message.take", .by_device = true, .writes = true, .run = take_run};
const struct lk_hubapi_operation lk_hubapi_c2d_complete = {
    .name = "message.complete", .by_device = true, .writes = true, .run = complete_run};
const struct lk_hubapi_operation lk_hubapi_c2d_abandon = {
    .name = "message.abandon", .by_device = true, .writes = true, .run = abandon_run};
