/* EMQX's questions, as doc/BROKERS.md has its operator configure them: one JSON object of texts. */
#include <string.h>

#include "base/json.h"
#include "wire/broker_ask_int.h"

/* A text member; "" when it is absent. */
static enum lk_err
member(const json_t *object, const char *name, const char **ret)
{
    const char *text = NULL;
    enum lk_err err = lk_json_text(object, name, &text);

    *ret = text == NULL ? "" : text;
    return err;
}

static enum lk_err
authn_judge(const json_t *object, struct lk_broker_ask *ret)
{
    const char *password;
    enum lk_err err = member(object, "password", &password);

    return err != LK_OK ? err : lk_broker_token(ret, password);
}

/* "$iothub/..." is nobody's here: EMQX delivers such a topic to every subscriber. */
static bool
is_own(const char *id, const char *action, const char *topic)
{
    enum lk_mqtt_filter_kind filter;
    struct lk_mqtt_publish publish;

    if (strcmp(action, "publish") == 0) {
        return lk_mqtt_publish_parse(id, topic, strlen(topic), &publish) == LK_OK &&
               publish.kind == LK_MQTT_TELEMETRY;
    }
    return strcmp(action, "subscribe") == 0 &&
           lk_mqtt_filter_parse(id, topic, strlen(topic), &filter) == LK_OK &&
           filter == LK_MQTT_DEVICEBOUND;
}

/* A hub takes no QoS 2 (iot-hub.md 5.2). EMQX's templates make a text of it, or a number. */
static bool
is_qos_2(const json_t *qos)
{
    return json_is_integer(qos) ? json_integer_value(qos) == 2
                                : json_is_string(qos) && strcmp(json_string_value(qos), "2") == 0;
}

static enum lk_err
authz_judge(const json_t *object, struct lk_broker_ask *ret)
{
    const char *action, *topic;
    enum lk_err err;

    if ((err = member(object, "action", &action)) != LK_OK ||
        (err = member(object, "topic", &topic)) != LK_OK) {
        return err;
    }
    return is_own(ret->user.device_id, action, topic) && !is_qos_2(json_object_get(object, "qos"))
               ? LK_OK
               : lk_broker_refuse(ret, "right.topic");
}

enum lk_err
lk_emqx_judge(enum lk_broker_question question, const char *hub, const char *json, size_t len,
              struct lk_broker_ask *ret)
{
    LK_AUTO(json) json_t *object = NULL;
    const char *username, *client_id;
    enum lk_err err;

    if ((err = lk_json_parse(json, len, false, NULL, &object)) != LK_OK ||
        (err = member(object, "username", &username)) != LK_OK ||
        (err = member(object, "clientid", &client_id)) != LK_OK ||
        (err = lk_broker_user(ret, hub, username)) != LK_OK) {
        return err;
    }
    if (strcmp(client_id, ret->user.device_id) != 0) {
        return lk_broker_refuse(ret, "client.client_id");
    }
    if (!lk_mqtt_id_has_topics(ret->user.device_id)) {
        return lk_broker_refuse(ret, "client.device_id");
    }
    return question == LK_EMQX_AUTHN ? authn_judge(object, ret) : authz_judge(object, ret);
}

enum lk_err
lk_emqx_answer_format(bool allow, uint64_t expire_unix_s, struct lk_buf *ret)
{
    LK_AUTO(json)
    json_t *object =
        json_pack("{s:s, s:b}", "result", allow ? "allow" : "deny", "is_superuser", false);
    json_int_t expire = (json_int_t)(expire_unix_s > INT64_MAX ? INT64_MAX : expire_unix_s);

    if (object == NULL || (expire_unix_s != 0 &&
                           json_object_set_new(object, "expire_at", json_integer(expire)) != 0)) {
        return LK_ERR_NOMEM;
    }
    return lk_json_write(object, ret);
}
