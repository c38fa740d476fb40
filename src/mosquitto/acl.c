/* Who may publish and subscribe to what, and where device messages go. */
#include <string.h>
#include <time.h>

#include "mosquitto/plugin_int.h"

/* ---- devices --------------------------------------------------------------------------------- */

/*
 * A will comes after its connection ended, or after another took its place, and only to this check:
 * it is published from here, as telemetry, or not at all.
 */
static int
will_take(const struct lk_plugin *p, const struct lk_seat *seat,
          const struct mosquitto_evt_acl_check *ed)
{
    struct lk_mqtt_publish what;
    unsigned marks = LK_TELEMETRY_WILL | (ed->retain ? LK_TELEMETRY_RETAINED : 0u);

    if (ed->payloadlen > LK_D2C_BODY_MAX ||
        lk_mqtt_publish_parse(seat->id, ed->topic, strlen(ed->topic), &what) != LK_OK ||
        what.kind != LK_MQTT_TELEMETRY ||
        !lk_plugin_publish(p, seat->id, what.props, what.props_len, (enum lk_telemetry_mark)marks,
                           ed->payload, ed->payloadlen, ed->qos > 0)) {
        mosquitto_log_printf(MOSQ_LOG_NOTICE,
                             "latchkey: will of \"%s\" is not one of its own topics", seat->id);
    }
    return MOSQ_ERR_ACL_DENIED;
}

/* Anything but MOSQ_ERR_ACL_DENIED closes the connection, which is what a hub does. */
static int
device_publish(const struct lk_plugin *p, const struct lk_conn *c,
               const struct mosquitto_evt_acl_check *ed)
{
    struct lk_mqtt_publish what;

    if (!lk_conn_seated(c)) {
        return will_take(p, c->seat, ed);
    }
    if (ed->qos > 1) {
        return MOSQ_ERR_NOT_SUPPORTED;
    }
    if (ed->payloadlen > LK_D2C_BODY_MAX) {
        return MOSQ_ERR_PAYLOAD_SIZE;
    }
    if (lk_mqtt_publish_parse(c->seat->id, ed->topic, strlen(ed->topic), &what) != LK_OK) {
        return MOSQ_ERR_PROTOCOL;
    }
    return MOSQ_ERR_SUCCESS;
}

static int
device_subscribe(struct lk_plugin *p, const struct lk_conn *c,
                 const struct mosquitto_evt_acl_check *ed)
{
    enum lk_mqtt_filter_kind kind;
    struct lk_seat *seat = c->seat;

    if (lk_mqtt_filter_parse(seat->id, ed->topic, strlen(ed->topic), &kind) != LK_OK) {
        return MOSQ_ERR_ACL_DENIED;
    }
    if (!lk_conn_seated(c)) { /* the broker looks through what it keeps */
        return MOSQ_ERR_SUCCESS;
    }
    if (ed->access == MOSQ_ACL_UNSUBSCRIBE) {
        seat->filters &= ~(1u << kind);
    } else {
        seat->filters |= 1u << kind;
        if (kind == LK_MQTT_DEVICEBOUND) {
            seat->c2d_qos = ed->qos > 0;
        }
    }
    lk_plugin_tell(p, LK_PLUG_FILTERS, seat);
    return MOSQ_ERR_SUCCESS;
}

/* What waits for a device in the broker is looked through when it connects. */
static int
device_read(const struct lk_conn *c, const struct mosquitto_evt_acl_check *ed)
{
    static const char hub_topics[] = "$iothub/", own[] = "devices/";
    size_t id_len = strlen(c->seat->id);

    if (c->seat->flush) {
        return MOSQ_ERR_ACL_DENIED;
    }
    if (strncmp(ed->topic, hub_topics, strlen(hub_topics)) == 0 ||
        (strncmp(ed->topic, own, strlen(own)) == 0 &&
         strncmp(ed->topic + strlen(own), c->seat->id, id_len) == 0 &&
         ed->topic[strlen(own) + id_len] == '/')) {
        return MOSQ_ERR_SUCCESS;
    }
    return MOSQ_ERR_ACL_DENIED;
}

/* ---- operators ------------------------------------------------------------------------------- */

/*
 * Reading is judged by the client id, since the broker forgets user names of sessions that it kept
 * over a restart; an operator's id can be no device's.
 */
static int
operator_check(const struct mosquitto_evt_acl_check *ed)
{
    const char *id = mosquitto_client_id(ed->client);
    const char *name = mosquitto_client_username(ed->client);
    bool allowed = false;

    if (id == NULL || lk_device_id_ok(id, strlen(id))) {
        return MOSQ_ERR_ACL_DENIED;
    }
    switch (ed->access) {
    case MOSQ_ACL_READ:
        allowed = lk_operator_topic_ok(ed->topic);
        break;
    case MOSQ_ACL_SUBSCRIBE:
    case MOSQ_ACL_UNSUBSCRIBE:
        allowed = name != NULL && strchr(name, '/') == NULL && lk_operator_filter_ok(ed->topic);
        break;
    default:
        break;
    }
    return allowed ? MOSQ_ERR_SUCCESS : MOSQ_ERR_ACL_DENIED;
}

int
lk_plugin_acl_check(int event, void *event_data, void *userdata)
{
    const struct mosquitto_evt_acl_check *ed = event_data;
    struct lk_plugin *p = userdata;
    const struct lk_conn *c = lk_seats_conn(p->seats, ed->client);

    if (c == NULL) {
        return operator_check(ed);
    }
    switch (ed->access) {
    case MOSQ_ACL_WRITE:
        return device_publish(p, c, ed);
    case MOSQ_ACL_SUBSCRIBE:
    case MOSQ_ACL_UNSUBSCRIBE:
        return device_subscribe(p, c, ed);
    case MOSQ_ACL_READ:
        return device_read(c, ed);
    default:
        return MOSQ_ERR_ACL_DENIED;
    }
}

/* ---- what devices publish -------------------------------------------------------------------- */

/* Hand it to the service; the broker itself has nobody to give it to. */
static int
request_pass(struct lk_plugin *p, const struct lk_seat *seat,
             const struct mosquitto_evt_message *ed)
{
    struct lk_plug_msg m = {.type = LK_PLUG_REQUEST,
                            .serial = seat->serial,
                            .topic = ed->topic,
                            .topic_len = strlen(ed->topic),
                            .body = ed->payload,
                            .body_len = ed->payloadlen};

    memcpy(m.device_id, seat->id, sizeof(m.device_id));
    lk_stream_send(&p->stream, &m);
    return MOSQ_ERR_ACL_DENIED;
}

static int
telemetry_map(const struct lk_plugin *p, const struct lk_seat *seat,
              const struct lk_mqtt_publish *what, struct mosquitto_evt_message *ed)
{
    LK_AUTO_BUF struct lk_buf topic = LK_BUF_INIT;
    const char *text;
    char *mapped;

    if (lk_telemetry_topic(p->peer.hub, seat->id, what->props, what->props_len,
                           ed->retain ? LK_TELEMETRY_RETAINED : (enum lk_telemetry_mark)0,
                           &topic) != LK_OK) {
        return MOSQ_ERR_PROTOCOL;
    }
    text = lk_buf_text(&topic);
    mapped = text == NULL ? NULL : mosquitto_strdup(text);
    if (mapped == NULL) {
        return MOSQ_ERR_NOMEM;
    }
    mosquitto_free(ed->topic);
    ed->topic = mapped;
    ed->retain = false;
    return MOSQ_ERR_SUCCESS;
}

int
lk_plugin_message(int event, void *event_data, void *userdata)
{
    struct mosquitto_evt_message *ed = event_data;
    struct lk_plugin *p = userdata;
    const struct lk_conn *c = lk_seats_conn(p->seats, ed->client);
    struct lk_mqtt_publish what;

    if (c == NULL || !lk_conn_seated(c)) {
        return MOSQ_ERR_ACL_DENIED;
    }
    if (c->seat->tell_after_s != 0 && (int64_t)time(NULL) > c->seat->tell_after_s) {
        c->seat->tell_after_s = 0;
        lk_plugin_tell(p, LK_PLUG_HEARD, c->seat);
    }
    if (lk_mqtt_publish_parse(c->seat->id, ed->topic, strlen(ed->topic), &what) != LK_OK) {
        return MOSQ_ERR_PROTOCOL; /* the check before this let it pass, so it does not happen */
    }
    return what.kind == LK_MQTT_TELEMETRY ? telemetry_map(p, c->seat, &what, ed)
                                          : request_pass(p, c->seat, ed);
}
