/*
 * What the plugin in a hub's broker and the service say to each other over a local socket. A frame
 * is a 32-bit length (big-endian, of what follows), a type, and the fields of that type in the
 * order of enum lk_plug_field; numbers are big-endian, texts and bytes have a length in front.
 *
 * A connection begins with HELLO and WELCOME. One that asks then alternates ASK and VERDICT. One
 * that streams tells the sessions that there are (SESSION each, then READY) and from then on what
 * becomes of them; the service sends what is to be done. Nothing is acknowledged: when the
 * connection breaks, it begins anew with all sessions.
 */
#ifndef LK_WIRE_PLUG_H
#define LK_WIRE_PLUG_H

#include "wire/ids.h"
#include "wire/mqtt_name.h"
#include "wire/sas.h"

#define LK_PLUG_VERSION 1u
#define LK_PLUG_TAG_LEN 16u
#define LK_PLUG_WORD_MAX 64u                  /* bytes of a generation id or an etag */
#define LK_PLUG_BODY_MAX ((size_t)256 * 1024) /* bytes, as a device-to-cloud message */
#define LK_PLUG_HEAD_LEN 5u                   /* bytes of length and type */
#define LK_PLUG_FRAME_MAX ((size_t)384 * 1024)

enum lk_plug_type {
    LK_PLUG_HELLO = 1, /* plugin: version, kind of connection, hub, boot tag, last MARK */
    LK_PLUG_WELCOME,   /* service: whether it is served; why not */
    LK_PLUG_ASK,       /* plugin: client id, user name and password of a CONNECT */
    LK_PLUG_VERDICT,   /* service: the answer; what the session is bound to; why not */
    LK_PLUG_SESSION,   /* plugin: a device came in, or is in */
    LK_PLUG_FILTERS,   /* plugin: what it subscribes to has changed */
    LK_PLUG_GONE,      /* plugin: the connection of a device ended */
    LK_PLUG_HEARD,     /* plugin: the device has sent something since it was given a message */
    LK_PLUG_REQUEST,   /* plugin: it published to one of the service's topics */
    LK_PLUG_TAKEN,     /* plugin: a PUBLISH is with the broker */
    LK_PLUG_READY,     /* plugin: every session has been told */
    LK_PLUG_PUSH,      /* service: publish to that device alone */
    LK_PLUG_KICK,      /* service: end that session */
    LK_PLUG_PUBLISH,   /* service: telemetry that came by another way than MQTT */
    LK_PLUG_MARK,      /* service: hub events up to here have been told */
    LK_PLUG_TYPES
};

enum lk_plug_field {
    LK_PLUG_F_HUB = 1u << 0,
    LK_PLUG_F_DEVICE = 1u << 1, /* a device id, or in an ASK any client id */
    LK_PLUG_F_SERIAL = 1u << 2,
    LK_PLUG_F_FLAGS = 1u << 3,
    LK_PLUG_F_NUMBER = 1u << 4,
    LK_PLUG_F_GENERATION = 1u << 5,
    LK_PLUG_F_ETAG = 1u << 6,
    LK_PLUG_F_TAG = 1u << 7,
    LK_PLUG_F_NAME = 1u << 8, /* a user name, or words for the log */
    LK_PLUG_F_SECRET = 1u << 9,
    LK_PLUG_F_TOPIC = 1u << 10,
    LK_PLUG_F_BODY = 1u << 11
};

/* flags of HELLO */
#define LK_PLUG_ASKS 1u
#define LK_PLUG_STREAMS 2u
/* flags of WELCOME and VERDICT */
#define LK_PLUG_OK 0u
#define LK_PLUG_REFUSED 1u
#define LK_PLUG_UNAVAILABLE 2u
/* flags of SESSION and FILTERS: the filters that are subscribed, 1 << enum lk_mqtt_filter_kind ...
 */
#define LK_PLUG_FILTERS_ALL                                                                        \
    (1u << LK_MQTT_DEVICEBOUND | 1u << LK_MQTT_TWIN_ANSWERS | 1u << LK_MQTT_TWIN_DESIRED |         \
     1u << LK_MQTT_METHODS)
#define LK_PLUG_DURABLE (1u << 8) /* ... and the broker keeps its session when it disconnects */
#define LK_PLUG_RESUMED (1u << 9) /* it goes on with the one that it had before */
/* flags of PUSH: the filter it must match, 1 << enum lk_mqtt_filter_kind, and */
#define LK_PLUG_QOS1 (1u << 8)
#define LK_PLUG_TELL (1u << 9) /* send HEARD when the device is heard next */
/* flags of KICK */
#define LK_PLUG_FORGET 1u /* the identity is no more: drop what is kept of its session */
#define LK_PLUG_WILL 2u   /* its will is published */

/*
 * One message. Texts have no NUL inside. Those that borrow do so from the frame that was read, or
 * from the caller who writes.
 */
struct lk_plug_msg {
    enum lk_plug_type type;
    char hub[LK_HOST_NAME_MAX + 1];
    char device_id[LK_DEVICE_ID_MAX + 1];
    uint64_t serial; /* of a session, from 1; KICK and PUSH: 0 is whichever there is */
    uint32_t flags;
    uint64_t number; /* HELLO, MARK: an event's seq; VERDICT: when to cut the session, Unix seconds;
                        SESSION: its keep-alive, seconds; PUBLISH, TAKEN: a ticket */
    char generation[LK_PLUG_WORD_MAX + 1];
    char etag[LK_PLUG_WORD_MAX + 1];
    uint8_t
        tag[LK_PLUG_TAG_LEN]; /* HELLO: of the broker's process; else of the key that was used */
    const char *name;         /* at most LK_MQTT_USER_NAME_MAX bytes */
    size_t name_len;
    const char *secret; /* at most LK_SAS_MAX bytes */
    size_t secret_len;
    const char *topic; /* at most LK_MQTT_TOPIC_MAX bytes */
    size_t topic_len;
    const void *body; /* at most LK_PLUG_BODY_MAX bytes */
    size_t body_len;
};

/* Which fields messages of a type have; 0: there is no such type. */
unsigned lk_plug_fields(enum lk_plug_type type);

/* Append the frame of m. LK_ERR_LIMIT: a field is too long; LK_ERR_NOMEM. ret is then unchanged. */
LK_MUST_CHECK enum lk_err lk_plug_write(const struct lk_plug_msg *m, struct lk_buf *ret);

/*
 * Read the frame at the start of in, which then stands behind it. Strict: the fields of its type
 * and nothing else. LK_ERR_NOT_FOUND: it is not complete yet, in is untouched; LK_ERR_FORMAT;
 * LK_ERR_LIMIT: it says that it is longer than LK_PLUG_FRAME_MAX.
 */
LK_MUST_CHECK enum lk_err lk_plug_read(struct lk_reader *in, struct lk_plug_msg *ret);

#endif
