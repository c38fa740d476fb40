/*
 * Names that a device uses at its hub over MQTT (iot-hub.md section 5): user names, the topics that
 * it publishes to, the filters that it subscribes to, and property bags. What is not documented is
 * nobody's.
 */
#ifndef LK_WIRE_MQTT_NAME_H
#define LK_WIRE_MQTT_NAME_H

#include "base/buf.h"
#include "wire/ids.h"

#define LK_MQTT_USER_NAME_MAX                                                                      \
    2048u                        /* bytes: hub, device id, version, the client's own description */
#define LK_MQTT_TOPIC_MAX 65535u /* bytes, as MQTT 3.1.1 has it (1.5.3) */
#define LK_MQTT_RID_MAX 256u     /* bytes of a request id */

/* Who a user name says the client is; a claim, until a token has been checked for it. */
struct lk_mqtt_user {
    char hub[LK_HOST_NAME_MAX + 1]; /* lower case, without a port */
    char device_id[LK_DEVICE_ID_MAX + 1];
};

/*
 * "{hub}[:port]/{id}/?api-version=2021-04-12&..." or the older "{hub}/{id}/api-version=2016-11-14".
 * Any date is taken, other members are ignored. LK_ERR_FORMAT for everything else, modules
 * ("{hub}/{id}/{module}/?...") included.
 */
LK_MUST_CHECK enum lk_err lk_mqtt_user_parse(const char *text, size_t len,
                                             struct lk_mqtt_user *ret);

/* The user name of a client that describes itself as client, appended to ret. */
LK_MUST_CHECK enum lk_err lk_mqtt_user_format(const char *hub, const char *device_id,
                                              const char *client, struct lk_buf *ret);

/* True unless id has a character that MQTT keeps for wildcards: such a device has no topics. */
bool lk_mqtt_id_has_topics(const char *id);

/* What a device publishes. */
enum lk_mqtt_publish_kind {
    LK_MQTT_TELEMETRY = 1, /* devices/{id}/messages/events/{props} */
    LK_MQTT_TWIN_GET,      /* $iothub/twin/GET/?$rid={rid} */
    LK_MQTT_TWIN_REPORTED, /* $iothub/twin/PATCH/properties/reported/?$rid={rid} */
    LK_MQTT_METHOD_RESULT  /* $iothub/methods/res/{status}/?$rid={rid} */
};

/* A topic taken apart; props and rid borrow from it and are as sent, percent-encoding included. */
struct lk_mqtt_publish {
    enum lk_mqtt_publish_kind kind;
    const char *props; /* telemetry: name=value joined by '&'; may be empty */
    size_t props_len;
    const char
        *rid; /* twin and methods: 1..LK_MQTT_RID_MAX bytes, to be echoed exactly; else NULL */
    size_t rid_len;
    int32_t status;   /* method result */
    bool has_version; /* $version, which some clients send with a reported patch */
    uint64_t version;
};

/*
 * Judge the topic that device_id publishes to. Property bags are checked whole. LK_ERR_REFUSED when
 * it is none of that device's documented topics, or its parameters do not have the documented form.
 */
LK_MUST_CHECK enum lk_err lk_mqtt_publish_parse(const char *device_id, const char *topic,
                                                size_t len, struct lk_mqtt_publish *ret);

/* What a device subscribes to: these filters, character by character. */
enum lk_mqtt_filter_kind {
    LK_MQTT_DEVICEBOUND = 1, /* devices/{id}/messages/devicebound/# */
    LK_MQTT_TWIN_ANSWERS,    /* $iothub/twin/res/# */
    LK_MQTT_TWIN_DESIRED,    /* $iothub/twin/PATCH/properties/desired/# */
    LK_MQTT_METHODS          /* $iothub/methods/POST/# */
};

/* Judge a filter that device_id subscribes to; LK_ERR_REFUSED when it is not one of the four. */
LK_MUST_CHECK enum lk_err lk_mqtt_filter_parse(const char *device_id, const char *filter,
                                               size_t len, enum lk_mqtt_filter_kind *ret);

/* Goes through a property bag; borrows its text. */
struct lk_mqtt_props {
    const char *p;
    size_t left;
};

static inline struct lk_mqtt_props
lk_mqtt_props_of(const char *props, size_t len)
{
    struct lk_mqtt_props it = {props, len};
    return it;
}

/*
 * The next property, decoded, in place of what was in name and value. A null-valued one is a bare
 * name: *ret_has_value is false. System properties keep their '$': "$.mid". LK_ERR_NOT_FOUND past
 * the last; LK_ERR_FORMAT for an empty name, a broken escape, or a decoded NUL.
 */
LK_MUST_CHECK enum lk_err lk_mqtt_props_next(struct lk_mqtt_props *it, struct lk_buf *name,
                                             struct lk_buf *value, bool *ret_has_value);

#endif
