/* Names of MQTT: the first line is a device id, what follows a user name, a topic and a filter. */
#include <string.h>

#include "base/codec.h"
#include "fuzz.h"
#include "wire/mqtt_name.h"

static void
user(const char *text, size_t len)
{
    struct lk_mqtt_user u;

    if (lk_mqtt_user_parse(text, len, &u) == LK_OK) {
        check(lk_host_name_ok(u.hub, strlen(u.hub)));
        check(lk_device_id_ok(u.device_id, strlen(u.device_id)));
        check(memmem(text, len, u.device_id, strlen(u.device_id)) != NULL);
    }
}

/* Every property of a bag that was taken can be read. */
static void
properties(const char *props, size_t len)
{
    LK_AUTO_BUF struct lk_buf name = LK_BUF_INIT, value = LK_BUF_INIT;
    struct lk_mqtt_props it = lk_mqtt_props_of(props, len);
    bool has_value;
    enum lk_err err;

    while ((err = lk_mqtt_props_next(&it, &name, &value, &has_value)) == LK_OK) {
        check(name.len > 0 && memchr(name.data, 0, name.len) == NULL);
        check(value.len == 0 || has_value);
    }
    check(err == LK_ERR_NOT_FOUND);
}

/* Nobody but the device itself may publish there, and what is borrowed lies inside the topic. */
static void
publish(const char *id, const char *topic, size_t len)
{
    struct lk_mqtt_publish p, other;

    if (lk_mqtt_publish_parse(id, topic, len, &p) != LK_OK) {
        return;
    }
    check(memchr(topic, '\0', len) == NULL && memchr(topic, '#', len) == NULL);
    if (p.kind == LK_MQTT_TELEMETRY) {
        check(lk_mqtt_publish_parse("another", topic, len, &other) != LK_OK ||
              strcmp(id, "another") == 0);
        check(p.props >= topic && p.props + p.props_len <= topic + len);
        properties(p.props, p.props_len);
    } else {
        check(p.rid_len >= 1 && p.rid_len <= LK_MQTT_RID_MAX);
        check(p.rid >= topic && p.rid + p.rid_len <= topic + len);
        check(memchr(p.rid, '/', p.rid_len) == NULL && memchr(p.rid, '&', p.rid_len) == NULL);
    }
}

/* One wildcard, at the end. */
static void
filter(const char *id, const char *text, size_t len)
{
    enum lk_mqtt_filter_kind kind;

    if (lk_mqtt_filter_parse(id, text, len, &kind) == LK_OK) {
        check(memchr(text, '+', len) == NULL);
        check(memchr(text, '#', len) == text + len - 1);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = memchr(data, '\n', size);
    size_t id_len = end == NULL ? 0 : (size_t)(end - data);
    char id[LK_DEVICE_ID_MAX + 1] = "dev-1";
    size_t len = end == NULL ? size : size - id_len - 1;
    char *text = malloc(len + 1);

    check(text != NULL);
    memcpy(text, data + size - len, len);
    if (lk_device_id_ok((const char *)data, id_len)) {
        memcpy(id, data, id_len);
        id[id_len] = '\0';
    }
    user(text, len);
    publish(id, text, len);
    filter(id, text, len);
    free(text);
    return 0;
}
