/* What the files of the plugin share. */
#ifndef LK_MOSQUITTO_PLUGIN_INT_H
#define LK_MOSQUITTO_PLUGIN_INT_H

#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>

#include "mosquitto/seats.h"
#include "mosquitto/socket.h"
#include "mosquitto/telemetry.h"

#define LK_TICK_WITHIN_MS 5000               /* of the start */
#define LK_D2C_BODY_MAX ((size_t)256 * 1024) /* bytes (iot-hub.md section 11) */

struct lk_plugin {
    struct lk_plug_peer peer;
    uint32_t ask_timeout_ms;
    struct lk_seats *seats;
    struct lk_asker asker;
    struct lk_stream stream;
    bool reloading;   /* the broker asks about clients that it has let in before */
    int64_t cut_at_s; /* when the next token of a session expires; INT64_MAX: none */
    int64_t complained_ms;
    int64_t began_ms; /* monotonic */
    bool ticked;      /* the broker turns the plugin, without which nobody could be cut */
};

/* Each is a callback of the broker: event, its data, the plugin. */
int lk_plugin_basic_auth(int event, void *event_data, void *userdata);
int lk_plugin_acl_check(int event, void *event_data, void *userdata);
int lk_plugin_message(int event, void *event_data, void *userdata);

/* The connection of client ended; nothing when it has no seat. */
void lk_plugin_left(struct lk_plugin *p, const struct mosquitto *client);

/* Turn the stream (deliver.c). */
void lk_plugin_turn(struct lk_plugin *p);

/* Tell the service of a seat: that it is taken, or what it subscribes to now. */
void lk_plugin_tell_session(struct lk_plugin *p, const struct lk_seat *seat);
void lk_plugin_tell(struct lk_plugin *p, enum lk_plug_type type, const struct lk_seat *seat);

/* Publish to the operators what a device says, by whatever way it came. False: it cannot be. */
bool lk_plugin_publish(const struct lk_plugin *p, const char *device_id, const char *props,
                       size_t props_len, enum lk_telemetry_mark marks, const void *body,
                       size_t body_len, int qos);

#endif
