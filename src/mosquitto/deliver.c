/* What passes between plugin and service besides questions. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mosquitto/plugin_int.h"

/* ---- to the service -------------------------------------------------------------------------- */

void
lk_plugin_tell(struct lk_plugin *p, enum lk_plug_type type, const struct lk_seat *seat)
{
    struct lk_plug_msg m = {.type = type,
                            .serial = seat->serial,
                            .number = seat->keep_alive_s,
                            .flags = seat->filters | (seat->durable ? LK_PLUG_DURABLE : 0u) |
                                     (seat->resumed ? LK_PLUG_RESUMED : 0u)};

    memcpy(m.device_id, seat->id, sizeof(m.device_id));
    memcpy(m.generation, seat->generation, sizeof(m.generation));
    memcpy(m.etag, seat->etag, sizeof(m.etag));
    memcpy(m.tag, seat->key_tag, sizeof(m.tag));
    lk_stream_send(&p->stream, &m);
}

void
lk_plugin_tell_session(struct lk_plugin *p, const struct lk_seat *seat)
{
    lk_plugin_tell(p, LK_PLUG_SESSION, seat);
}

void
lk_plugin_left(struct lk_plugin *p, const struct mosquitto *client)
{
    struct lk_conn *c = lk_seats_conn(p->seats, client);

    if (c != NULL && lk_seats_leave(p->seats, c)) {
        lk_plugin_tell(p, LK_PLUG_GONE, c->seat);
    }
}

static void
tell_one(void *ctx, struct lk_seat *seat)
{
    lk_plugin_tell_session((struct lk_plugin *)ctx, seat);
}

static void
stream_began(void *ctx)
{
    struct lk_plugin *p = ctx;
    const struct lk_plug_msg ready = {.type = LK_PLUG_READY, .number = p->stream.mark};

    mosquitto_log_printf(MOSQ_LOG_NOTICE, "latchkey: connected to the service at %s", p->peer.path);
    lk_seats_each(p->seats, tell_one, p);
    lk_stream_send(&p->stream, &ready);
}

static void
stream_ended(void *ctx, const char *reason)
{
    const struct lk_plugin *p = ctx;

    mosquitto_log_printf(MOSQ_LOG_WARNING,
                         "latchkey: no service at %s: %s. Devices stay connected, others wait.",
                         p->peer.path, reason);
}

/* ---- to devices and operators ---------------------------------------------------------------- */

/* client_id NULL: to whoever subscribed. */
static bool
publish(const char *client_id, const char *topic, const void *body, size_t body_len, int qos)
{
    return mosquitto_broker_publish_copy(client_id, topic, (int)body_len, body, qos, false, NULL) ==
           MOSQ_ERR_SUCCESS;
}

bool
lk_plugin_publish(const struct lk_plugin *p, const char *device_id, const char *props,
                  size_t props_len, enum lk_telemetry_mark marks, const void *body, size_t body_len,
                  int qos)
{
    LK_AUTO_BUF struct lk_buf topic = LK_BUF_INIT;
    const char *text;

    if (lk_telemetry_topic(p->peer.hub, device_id, props, props_len, marks, &topic) != LK_OK) {
        return false;
    }
    text = lk_buf_text(&topic);
    return text != NULL && publish(NULL, text, body == NULL ? "" : body, body_len, qos);
}

/* The seat that m is for, when it is still that session's. */
static struct lk_seat *
seat_of(struct lk_plugin *p, const struct lk_plug_msg *m)
{
    struct lk_seat *seat = lk_seats_by_id(p->seats, m->device_id);

    return seat != NULL && seat->client != NULL && (m->serial == 0 || m->serial == seat->serial)
               ? seat
               : NULL;
}

static void
push_take(struct lk_plugin *p, const struct lk_plug_msg *m)
{
    LK_AUTO_BUF struct lk_buf topic = LK_BUF_INIT;
    struct lk_seat *seat = seat_of(p, m);
    bool qos1 = (m->flags & LK_PLUG_QOS1) != 0;
    const char *text;

    if (seat == NULL || (seat->filters & m->flags & LK_PLUG_FILTERS_ALL) == 0) {
        return;
    }
    if (seat->guessed && mosquitto_client_sub_count(seat->client) == 0) {
        return;
    }
    if (lk_buf_put(&topic, m->topic, m->topic_len) != LK_OK ||
        (text = lk_buf_text(&topic)) == NULL) {
        return;
    }
    if ((m->flags & LK_PLUG_TELL) != 0 && seat->tell_after_s == 0) {
        seat->tell_after_s = (int64_t)time(NULL) + 1;
    }
    (void)publish(seat->id, text, m->body, m->body_len, qos1 && seat->c2d_qos > 0 ? 1 : 0);
}

static void
kick_take(struct lk_plugin *p, const struct lk_plug_msg *m)
{
    const struct lk_seat *seat = seat_of(p, m);
    bool forget = (m->flags & LK_PLUG_FORGET) != 0;

    if (seat != NULL) {
        mosquitto_log_printf(MOSQ_LOG_NOTICE, "latchkey: session of \"%s\" ends: %.*s", seat->id,
                             (int)m->name_len, m->name);
        (void)mosquitto_kick_client_by_clientid(seat->id, (m->flags & LK_PLUG_WILL) != 0);
    }
    if (forget) {
        lk_seats_forget(p->seats, m->device_id);
    }
}

static void
telemetry_take(struct lk_plugin *p, const struct lk_plug_msg *m)
{
    const struct lk_plug_msg taken = {.type = LK_PLUG_TAKEN, .number = m->number};

    if (lk_plugin_publish(p, m->device_id, m->topic, m->topic_len, (enum lk_telemetry_mark)0,
                          m->body, m->body_len, 1)) {
        lk_stream_send(&p->stream, &taken);
    } else {
        mosquitto_log_printf(MOSQ_LOG_WARNING, "latchkey: a message of \"%s\" cannot be published",
                             m->device_id);
    }
}

static void
stream_took(void *ctx, const struct lk_plug_msg *m)
{
    struct lk_plugin *p = ctx;

    switch (m->type) {
    case LK_PLUG_PUSH:
        push_take(p, m);
        break;
    case LK_PLUG_KICK:
        kick_take(p, m);
        break;
    case LK_PLUG_PUBLISH:
        telemetry_take(p, m);
        break;
    default: /* of a newer service: not for us */
        break;
    }
}

void
lk_plugin_turn(struct lk_plugin *p)
{
    const struct lk_stream_events events = {
        .begin = stream_began, .take = stream_took, .end = stream_ended, .ctx = p};

    lk_stream_turn(&p->stream, &events);
}
