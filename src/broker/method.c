/*
 * Direct methods and telemetry that other threads bring: struct lk_hub_broker. A call is copied,
 * posted to the broker's thread, and answered by a post to the loop that it came from.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/metrics.h"
#include "broker/broker_int.h"

#define CALLS_MAX 4096u
#define TELEMETRY_MS 10000 /* for a broker to confirm */

/* One call, of either kind, from its arrival to its answer. */
struct lk_call {
    struct lk_call *next;
    struct lk_broker *broker;
    struct lk_loop *loop; /* where it came from */
    char hub[LK_HOST_NAME_MAX + 1], device_id[LK_DEVICE_ID_MAX + 1];
    char name[LK_METHOD_NAME_MAX + 1]; /* methods */
    struct lk_buf properties;          /* telemetry */
    struct lk_buf body;                /* to the device, or its telemetry; then its answer */
    uint64_t ticket;                   /* the request id, once it was sent; 0: not yet */
    uint32_t connect_ms, response_ms;
    int64_t deadline_mono_ms;
    lk_method_done_fn *method_done; /* NULL: telemetry */
    lk_telemetry_done_fn *telemetry_done;
    void *arg;
    enum lk_err err;
    int status;
};

static void
call_free(struct lk_call *c)
{
    lk_buf_fini(&c->properties);
    lk_buf_fini(&c->body);
    free(c);
}

/* ---- answers --------------------------------------------------------------------------------- */

/* On the thread that asked. */
static void
answer(void *ctx)
{
    struct lk_call *c = ctx;

    if (c->method_done != NULL) {
        c->method_done(c->arg, c->err, c->status, (const char *)c->body.data,
                       c->err == LK_OK ? c->body.len : 0);
    } else {
        c->telemetry_done(c->arg, c->err);
    }
    call_free(c);
}

static void
finish(struct lk_call *c, enum lk_err err)
{
    c->err = err;
    if (lk_loop_post(c->loop, answer, c) != LK_OK) {
        lk_log(LK_LOG_ERROR, "broker.answer_lost", LK_F_TEXT("hub", c->hub)); /* out of memory */
        call_free(c);
    }
}

/* Take the call at *at out of the list, and answer it. */
static void
end(struct lk_call **at, enum lk_err err)
{
    struct lk_call *c = *at;

    *at = c->next;
    c->broker->calls_count--;
    lk_metric_add(LK_M_BROKER_WAITING, -1);
    finish(c, err);
}

/* ---- on the broker's thread ------------------------------------------------------------------ */

/* Send it to the device when that is there; false: it is not. */
static bool
method_send(struct lk_call *c)
{
    struct lk_line *l = lk_line_find(c->broker, c->hub);
    const struct lk_broker_session *s = l == NULL ? NULL : lk_line_session(l, c->device_id);
    LK_AUTO_BUF struct lk_buf topic = LK_BUF_INIT;

    if (s == NULL || (s->flags & 1u << LK_MQTT_METHODS) == 0) {
        return false;
    }
    c->ticket = ++c->broker->tickets;
    if (lk_buf_printf(&topic, "$iothub/methods/POST/%s/?$rid=%" PRIx64, c->name, c->ticket) !=
            LK_OK ||
        lk_buf_text(&topic) == NULL) {
        return false;
    }
    lk_metric_add(LK_M_SENT_METHOD, 1);
    lk_line_push(l, c->device_id, s->serial, 1u << LK_MQTT_METHODS, lk_buf_text(&topic),
                 c->body.data, c->body.len);
    c->deadline_mono_ms = lk_clock_mono_ms(&lk_clock_system) + c->response_ms;
    return true;
}

static void
telemetry_send(struct lk_call *c, struct lk_line *l)
{
    struct lk_plug_msg m = {.type = LK_PLUG_PUBLISH,
                            .topic = (const char *)c->properties.data,
                            .topic_len = c->properties.len,
                            .body = c->body.data,
                            .body_len = c->body.len};

    c->ticket = ++c->broker->tickets;
    m.number = c->ticket;
    memcpy(m.device_id, c->device_id, sizeof(m.device_id));
    lk_metric_add(LK_M_SENT_TELEMETRY, 1);
    lk_peer_send(l->peer, &m);
    c->deadline_mono_ms = lk_clock_mono_ms(&lk_clock_system) + TELEMETRY_MS;
}

static void
call_begin(void *ctx)
{
    struct lk_call *c = ctx;
    struct lk_broker *b = c->broker;
    struct lk_line *l = lk_line_find(b, c->hub);

    if (b->draining || l == NULL || !l->ready || b->calls_count >= CALLS_MAX) {
        finish(c, LK_ERR_BUSY);
        return;
    }
    if (c->method_done == NULL) {
        telemetry_send(c, l);
    } else if (!method_send(c)) {
        if (c->connect_ms == 0) {
            finish(c, LK_ERR_NOT_FOUND);
            return;
        }
        c->deadline_mono_ms = lk_clock_mono_ms(&lk_clock_system) + c->connect_ms;
    }
    c->next = b->calls;
    b->calls = c;
    b->calls_count++;
    lk_metric_add(LK_M_BROKER_WAITING, 1);
}

/* The call with that ticket; NULL: it was answered, or never asked. */
static struct lk_call **
call_find(struct lk_broker *b, uint64_t ticket)
{
    for (struct lk_call **at = &b->calls; ticket != 0 && *at != NULL; at = &(*at)->next) {
        if ((*at)->ticket == ticket) {
            return at;
        }
    }
    return NULL;
}

void
lk_method_result(struct lk_line *l, const struct lk_plug_msg *m, const struct lk_mqtt_publish *what)
{
    char rid[LK_MQTT_RID_MAX + 1], *rest;
    struct lk_call **at;

    memcpy(rid, what->rid, what->rid_len);
    rid[what->rid_len] = '\0';
    at = call_find(l->broker, strtoull(rid, &rest, 16));
    /* A device may only answer what it was asked itself. */
    if (at == NULL || *rest != '\0' || (*at)->method_done == NULL ||
        strcmp((*at)->hub, l->hub) != 0 || strcmp((*at)->device_id, m->device_id) != 0) {
        return;
    }
    lk_buf_reset(&(*at)->body);
    (*at)->status = what->status;
    end(at, m->body_len > LK_METHOD_PAYLOAD_MAX ? LK_ERR_LIMIT
                                                : lk_buf_put(&(*at)->body, m->body, m->body_len));
}

void
lk_telemetry_taken(struct lk_line *l, uint64_t ticket)
{
    struct lk_call **at = call_find(l->broker, ticket);

    if (at != NULL && (*at)->method_done == NULL && strcmp((*at)->hub, l->hub) == 0) {
        end(at, LK_OK);
    }
}

void
lk_methods_look(struct lk_line *l, const char *device_id)
{
    for (struct lk_call *c = l->broker->calls; c != NULL; c = c->next) {
        if (c->method_done != NULL && c->ticket == 0 && strcmp(c->hub, l->hub) == 0 &&
            strcmp(c->device_id, device_id) == 0) {
            (void)method_send(c); /* false: it waits on */
        }
    }
}

void
lk_calls_tick(struct lk_broker *b)
{
    int64_t now_ms = lk_clock_mono_ms(&lk_clock_system);
    struct lk_call **at = &b->calls;

    while (*at != NULL) {
        const struct lk_call *c = *at;

        if (c->deadline_mono_ms > now_ms) {
            at = &(*at)->next;
            continue;
        }
        end(at, c->method_done == NULL ? LK_ERR_BUSY
                : c->ticket == 0       ? LK_ERR_NOT_FOUND
                                       : LK_ERR_TIMEOUT);
    }
}

void
lk_calls_end(struct lk_broker *b, const char *hub)
{
    struct lk_call **at = &b->calls;

    while (*at != NULL) {
        if (hub == NULL || strcmp((*at)->hub, hub) == 0) {
            end(at, LK_ERR_BUSY);
        } else {
            at = &(*at)->next;
        }
    }
}

/* ---- on the thread that asks ----------------------------------------------------------------- */

/* NULL when memory is out, or a name is too long. */
static struct lk_call *
call_new(struct lk_broker *b, struct lk_loop *loop, const char *hub, const char *device_id,
         const void *body, size_t body_len)
{
    struct lk_call *c = calloc(1, sizeof(*c));

    if (c == NULL) {
        return NULL;
    }
    c->broker = b;
    c->loop = loop;
    if (lk_strcpy(c->hub, sizeof(c->hub), hub) != LK_OK ||
        lk_strcpy(c->device_id, sizeof(c->device_id), device_id) != LK_OK ||
        lk_buf_put(&c->body, body, body_len) != LK_OK) {
        call_free(c);
        return NULL;
    }
    return c;
}

/* The answer comes later, also when it is known already. */
static void
call_post(struct lk_call *c, bool begin)
{
    struct lk_broker *b = c->broker;

    if (!begin || atomic_load(&b->closing) || lk_loop_post(b->loop, call_begin, c) != LK_OK) {
        finish(c, LK_ERR_BUSY);
    }
}

static void
ask_method(void *ctx, struct lk_loop *loop, const struct lk_method_call *call,
           lk_method_done_fn *done, void *arg)
{
    struct lk_call *c =
        call_new(ctx, loop, call->hub, call->device_id, call->payload, call->payload_len);

    if (c == NULL) {
        done(arg, LK_ERR_NOMEM, 0, NULL, 0);
        return;
    }
    c->method_done = done;
    c->arg = arg;
    c->connect_ms = call->connect_timeout_ms;
    c->response_ms = call->response_timeout_ms;
    call_post(c, lk_strcpy(c->name, sizeof(c->name), call->name) == LK_OK);
}

static void
ask_telemetry(void *ctx, struct lk_loop *loop, const struct lk_telemetry *t,
              lk_telemetry_done_fn *done, void *arg)
{
    struct lk_call *c = call_new(ctx, loop, t->hub, t->device_id, t->body, t->body_len);

    if (c == NULL) {
        done(arg, LK_ERR_NOMEM);
        return;
    }
    c->telemetry_done = done;
    c->arg = arg;
    call_post(c, lk_buf_puts(&c->properties, t->properties) == LK_OK);
}

struct lk_hub_broker
lk_broker_hub(struct lk_broker *b)
{
    static const struct lk_hub_broker_ops ops = {.method = ask_method, .telemetry = ask_telemetry};

    return (struct lk_hub_broker){&ops, b};
}
