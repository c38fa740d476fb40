/*
 * What brokers that are not ours ask about a client, by HTTP: whether it may come in, and whether
 * it may publish or subscribe. RabbitMQ (rabbitmq_auth_backend_http with the MQTT plugin, 3.10 and
 * on) sends forms, EMQX 5 sends JSON. Each question is judged here as far as it can be without the
 * hub: names, topics, rights. What is left is the token, or whether the device is still there.
 *
 * Such a broker carries one topic tree for all devices and knows nothing of twins and methods,
 * whose topics do not say whose they are. So a device gets what has its id in it: telemetry, and
 * cloud-to-device messages. doc/BROKERS.md has the table.
 */
#ifndef LK_WIRE_BROKER_ASK_H
#define LK_WIRE_BROKER_ASK_H

#include "wire/mqtt_name.h"
#include "wire/sas.h"

enum lk_broker_question {
    LK_RABBIT_USER = 1, /* may it log on? */
    LK_RABBIT_VHOST,    /* may it use the virtual host? */
    LK_RABBIT_RESOURCE, /* may it configure, write or read an exchange or a queue? */
    LK_RABBIT_TOPIC,    /* may it write or read by this routing key? */
    LK_EMQX_AUTHN,      /* may it log on? */
    LK_EMQX_AUTHZ       /* may it publish or subscribe to this topic? */
};

/* A question that was judged. A token is in it: wipe it. */
struct lk_broker_ask {
    struct lk_mqtt_user user;   /* whom it is about; empty texts when the name was no device's */
    char token[LK_SAS_MAX + 1]; /* to be checked for the user; "" in questions about rights */
    const char *reason;         /* of LK_ERR_REFUSED, for the log; static storage */
};

/*
 * Judge the text of a question that a broker of hub asked. LK_OK: yes, if the token is good, or
 * without one if the device may be connected at all. LK_ERR_REFUSED: no, whatever the hub knows.
 * LK_ERR_FORMAT or LK_ERR_LIMIT: not a question of that kind; LK_ERR_NOMEM. *ret is set always.
 */
LK_MUST_CHECK enum lk_err lk_broker_judge(enum lk_broker_question question, const char *hub,
                                          const void *text, size_t len, struct lk_broker_ask *ret);

/*
 * EMQX's answer: {"result":"allow","is_superuser":false,"expire_at":1900000000}. expire_at is left
 * out when 0; from EMQX 5.8 on the connection is closed then.
 */
LK_MUST_CHECK enum lk_err lk_emqx_answer_format(bool allow, uint64_t expire_unix_s,
                                                struct lk_buf *ret);

#endif
