/*
 * RabbitMQ's questions. Its MQTT plugin keeps messages in the AMQP exchange amq.topic: a topic's
 * '/' becomes '.' in the routing key and '+' becomes '*', and nothing tells them from a '.' or '*'
 * that was there before. Subscriptions live in a queue of the client's own.
 */
#include <stdio.h>
#include <string.h>

#include "wire/broker_ask_int.h"
#include "wire/form.h"

#define EXCHANGE "amq.topic"

/* Values of one question, each as text. */
struct fields {
    struct lk_buf username, client_id, password, resource, name, permission, routing_key;
};

static void
fields_fini(struct fields *f)
{
    lk_buf_fini(&f->username);
    lk_buf_fini(&f->client_id);
    lk_buf_fini(&f->password);
    lk_buf_fini(&f->resource);
    lk_buf_fini(&f->name);
    lk_buf_fini(&f->permission);
    lk_buf_fini(&f->routing_key);
}

/* "" when the member is absent. */
static enum lk_err
field_take(const char *form, size_t len, const char *name, struct lk_buf *ret)
{
    enum lk_err err = lk_form_get(form, len, name, ret);

    if (err == LK_ERR_NOT_FOUND) {
        return lk_buf_text(ret) == NULL ? LK_ERR_NOMEM : LK_OK;
    }
    return err;
}

static enum lk_err
fields_take(const char *form, size_t len, struct fields *f)
{
    enum lk_err err;

    if ((err = field_take(form, len, "username", &f->username)) != LK_OK ||
        (err = field_take(form, len, "client_id", &f->client_id)) != LK_OK ||
        (err = field_take(form, len, "password", &f->password)) != LK_OK ||
        (err = field_take(form, len, "resource", &f->resource)) != LK_OK ||
        (err = field_take(form, len, "name", &f->name)) != LK_OK ||
        (err = field_take(form, len, "permission", &f->permission)) != LK_OK) {
        return err;
    }
    return field_take(form, len, "routing_key", &f->routing_key);
}

static bool
is(struct lk_buf *field, const char *word)
{
    return strcmp(lk_buf_text(field), word) == 0;
}

/* As one word of a routing key, which is not a wildcard of either protocol. */
static bool
id_is_word(const char *id)
{
    return strpbrk(id, ".*+#") == NULL;
}

/* Only MQTT clients have a client id: a device has no business with AMQP or STOMP. */
static enum lk_err
user_judge(struct fields *f, struct lk_broker_ask *ret)
{
    if (!is(&f->client_id, ret->user.device_id)) {
        return lk_broker_refuse(ret, "client.client_id");
    }
    return lk_broker_token(ret, lk_buf_text(&f->password));
}

/* The client's queues, one for each quality of service. */
static bool
is_own_queue(const char *name, const char *id)
{
    static const char head[] = "mqtt-subscription-";
    size_t id_len = strlen(id);

    if (strncmp(name, head, strlen(head)) != 0 || strncmp(name + strlen(head), id, id_len) != 0) {
        return false;
    }
    name += strlen(head) + id_len;
    return strcmp(name, "qos0") == 0 || strcmp(name, "qos1") == 0;
}

static enum lk_err
resource_judge(struct fields *f, struct lk_broker_ask *ret)
{
    bool known = is(&f->permission, "read") || is(&f->permission, "write");

    if (is(&f->resource, "exchange") && is(&f->name, EXCHANGE) && known) {
        return LK_OK;
    }
    if (is(&f->resource, "queue") && (known || is(&f->permission, "configure")) &&
        is_own_queue(lk_buf_text(&f->name), ret->user.device_id)) {
        return LK_OK;
    }
    return lk_broker_refuse(ret, "right.resource");
}

static enum lk_err
topic_judge(struct fields *f, struct lk_broker_ask *ret)
{
    const char *key = lk_buf_text(&f->routing_key);
    char own[LK_DEVICE_ID_MAX + 64];
    bool yes = false;

    if (!is(&f->name, EXCHANGE)) {
        return lk_broker_refuse(ret, "right.topic");
    }
    if (is(&f->permission, "write")) {
        int len = snprintf(own, sizeof(own), "devices.%s.messages.events", ret->user.device_id);

        yes = strncmp(key, own, (size_t)len) == 0 && (key[len] == '\0' || key[len] == '.');
    } else if (is(&f->permission, "read")) {
        (void)snprintf(own, sizeof(own), "devices.%s.messages.devicebound.#", ret->user.device_id);
        yes = strcmp(key, own) == 0;
    }
    return yes ? LK_OK : lk_broker_refuse(ret, "right.topic");
}

static enum lk_err
question_judge(enum lk_broker_question question, struct fields *f, struct lk_broker_ask *ret)
{
    switch (question) {
    case LK_RABBIT_USER:
        return user_judge(f, ret);
    case LK_RABBIT_VHOST:
        return LK_OK; /* the operator has said which one MQTT uses */
    case LK_RABBIT_RESOURCE:
        return resource_judge(f, ret);
    case LK_RABBIT_TOPIC:
        return topic_judge(f, ret);
    default:
        return LK_ERR_ARG;
    }
}

enum lk_err
lk_rabbit_judge(enum lk_broker_question question, const char *hub, const char *form, size_t len,
                struct lk_broker_ask *ret)
{
    __attribute__((cleanup(fields_fini))) struct fields f = {.username = LK_BUF_INIT};
    enum lk_err err;

    if ((err = fields_take(form, len, &f)) != LK_OK ||
        (err = lk_broker_user(ret, hub, lk_buf_text(&f.username))) != LK_OK) {
        return err;
    }
    if (!id_is_word(ret->user.device_id)) {
        return lk_broker_refuse(ret, "client.device_id");
    }
    return question_judge(question, &f, ret);
}
