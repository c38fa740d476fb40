/*
 * From a device's topic to the operators': whatever a device names its message, it stays below its
 * own hub and id, and is a topic that MQTT has.
 */
#include <stdio.h>
#include <string.h>

#include "fuzz.h"
#include "mosquitto/telemetry.h"

#define BEFORE "latchkey/h.test/"

/* Input: a device id, a line end, the topic that the device publishes to. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    LK_AUTO_BUF struct lk_buf topic = LK_BUF_INIT;
    const uint8_t *end = size == 0 ? NULL : memchr(data, '\n', size);
    size_t id_len = end == NULL ? 0 : (size_t)(end - data);
    char id[LK_DEVICE_ID_MAX + 1];
    struct lk_mqtt_publish what;
    enum lk_err err;
    const char *text, *rest;

    if (end == NULL || !lk_device_id_ok((const char *)data, id_len)) {
        return 0;
    }
    memcpy(id, data, id_len);
    id[id_len] = '\0';
    if (lk_mqtt_publish_parse(id, (const char *)end + 1, size - id_len - 1, &what) != LK_OK ||
        what.kind != LK_MQTT_TELEMETRY) {
        return 0;
    }
    err = lk_telemetry_topic("h.test", id, what.props, what.props_len,
                             (enum lk_telemetry_mark)(size % 4), &topic);
    if (err != LK_OK) {
        check(err == LK_ERR_FORMAT || err == LK_ERR_LIMIT);
        return 0;
    }
    text = lk_buf_text(&topic);
    check(text != NULL && strlen(text) == topic.len && topic.len <= LK_MQTT_TOPIC_MAX);
    check(strpbrk(text, "+#") == NULL && lk_operator_topic_ok(text));
    check(strncmp(text, BEFORE, strlen(BEFORE)) == 0);
    rest = strchr(text + strlen(BEFORE), '/');
    check(rest != NULL && strncmp(rest, "/messages/events/", strlen("/messages/events/")) == 0);
    return 0;
}
