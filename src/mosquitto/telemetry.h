/*
 * Where operators find what devices send: latchkey/{hub}/{id}/messages/events/{props}, with the
 * properties as the device sent them, percent-encoded, and two of ours behind them.
 */
#ifndef LK_MOSQUITTO_TELEMETRY_H
#define LK_MOSQUITTO_TELEMETRY_H

#include "wire/mqtt_name.h"

#define LK_OPERATOR_PREFIX "latchkey/"

enum lk_telemetry_mark {
    LK_TELEMETRY_RETAINED = 1u << 0, /* mqtt-retain=true: it had the retain flag, which it loses */
    LK_TELEMETRY_WILL = 1u << 1      /* iothub-MessageType=Will: the device's last will */
};

/*
 * Append the topic. In the id, '%', '+' and '#' are percent-encoded: MQTT keeps the last two for
 * wildcards. LK_ERR_FORMAT: props holds a wildcard, a control character or bytes that are not
 * UTF-8; LK_ERR_LIMIT: over LK_MQTT_TOPIC_MAX; LK_ERR_NOMEM.
 */
LK_MUST_CHECK enum lk_err lk_telemetry_topic(const char *hub, const char *device_id,
                                             const char *props, size_t props_len,
                                             enum lk_telemetry_mark marks, struct lk_buf *ret);

/* Whether a filter (or, with $share/{group}/ in front, a shared one) or topic is the operators'. */
bool lk_operator_filter_ok(const char *filter);
bool lk_operator_topic_ok(const char *topic);

#endif
