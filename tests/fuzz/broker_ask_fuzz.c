/* What RabbitMQ and EMQX ask: the first byte picks the question, the rest is a form or JSON. */
#include <string.h>

#include "fuzz.h"
#include "wire/broker_ask.h"

#define HUB "hub.example.test"

/* Whoever is let through is a device of this hub; a token is there for a log-on and for no other.
 */
static void
let_through(enum lk_broker_question question, const struct lk_broker_ask *ask)
{
    bool log_on = question == LK_RABBIT_USER || question == LK_EMQX_AUTHN;

    check(strcmp(ask->user.hub, HUB) == 0);
    check(lk_device_id_ok(ask->user.device_id, strlen(ask->user.device_id)));
    check(lk_mqtt_id_has_topics(ask->user.device_id));
    check((ask->token[0] != '\0') == log_on);
    check(memchr(ask->token, '\0', sizeof(ask->token)) != NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lk_broker_ask ask;
    enum lk_broker_question question;
    enum lk_err err;

    if (size == 0) {
        return 0;
    }
    question = (enum lk_broker_question)(LK_RABBIT_USER + data[0] % LK_EMQX_AUTHZ);
    err = lk_broker_judge(question, HUB, data + 1, size - 1, &ask);
    if (err == LK_OK) {
        let_through(question, &ask);
        return 0;
    }
    check(ask.token[0] == '\0');
    check(err == LK_ERR_FORMAT || err == LK_ERR_LIMIT ||
          (err == LK_ERR_REFUSED && ask.reason != NULL));
    return 0;
}
