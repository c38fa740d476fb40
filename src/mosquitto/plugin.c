/*
 * The Mosquitto plugin that makes the broker an IoT hub (iot-hub.md section 5). It keeps no secret
 * and decides nothing about credentials: a CONNECT is checked by latchkeyd over a local socket
 * (wire/plug.h). The broker calls all of this on its one thread, so nothing in here may wait, but
 * for that check, which is bounded.
 *
 * Options: hub (needed), socket, ask_timeout_ms.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/clock.h"
#include "base/codec.h"
#include "mosquitto/plugin_int.h"

#define DEFAULT_SOCKET "/run/latchkey/broker.sock"
#define ASK_TIMEOUT_MAX_MS 10000u

#define CALLED_BY_BROKER __attribute__((visibility("default")))

/* ---- options --------------------------------------------------------------------------------- */

static const char *
option_take(struct lk_plugin *p, const char *key, const char *value)
{
    uint64_t number;

    if (strcmp(key, "hub") == 0) {
        if (!lk_host_name_ok(value, strlen(value))) {
            return "expected a host name";
        }
        memcpy(p->peer.hub, value, strlen(value) + 1);
        lk_ascii_lower(p->peer.hub);
        return NULL;
    }
    if (strcmp(key, "socket") == 0) {
        return lk_strcpy(p->peer.path, sizeof(p->peer.path), value) == LK_OK
                   ? NULL
                   : "expected at most 107 bytes";
    }
    if (strcmp(key, "ask_timeout_ms") == 0) {
        if (lk_decimal_parse(value, strlen(value), &number) != LK_OK || number == 0 ||
            number > ASK_TIMEOUT_MAX_MS) {
            return "expected 1 to 10000";
        }
        p->ask_timeout_ms = (uint32_t)number;
        return NULL;
    }
    return "there is no such option";
}

static bool
options_take(struct lk_plugin *p, const struct mosquitto_opt *options, int count)
{
    for (int i = 0; i < count; i++) {
        const char *fault = option_take(p, options[i].key, options[i].value);

        if (fault != NULL) {
            mosquitto_log_printf(MOSQ_LOG_ERR, "latchkey: plugin_opt_%s: %s", options[i].key,
                                 fault);
            return false;
        }
    }
    if (p->peer.hub[0] == '\0') {
        mosquitto_log_printf(MOSQ_LOG_ERR, "latchkey: plugin_opt_hub: expected a host name");
        return false;
    }
    return true;
}

/* ---- time ------------------------------------------------------------------------------------ */

struct expiry {
    int64_t now_s, next_s;
    char ids[64][LK_DEVICE_ID_MAX + 1]; /* to cut in this turn; the rest in the next */
    size_t ids_count;
};

static void
expiry_look(void *ctx, struct lk_seat *seat)
{
    struct expiry *e = ctx;
    int64_t at_s = seat->cut_at_s > INT64_MAX ? INT64_MAX : (int64_t)seat->cut_at_s;

    if (at_s <= e->now_s && e->ids_count < LK_ARRAY_LEN(e->ids)) {
        memcpy(e->ids[e->ids_count++], seat->id, sizeof(seat->id));
    } else if (at_s < e->next_s) {
        e->next_s = at_s;
    }
}

/* Sessions end with the token that began them (iot-hub.md section 4, step 6). */
static void
expired_cut(struct lk_plugin *p)
{
    struct expiry e = {.now_s = (int64_t)time(NULL), .next_s = INT64_MAX};

    if (e.now_s < p->cut_at_s) {
        return;
    }
    lk_seats_each(p->seats, expiry_look, &e);
    p->cut_at_s = e.next_s;
    for (size_t i = 0; i < e.ids_count; i++) {
        mosquitto_log_printf(MOSQ_LOG_NOTICE, "latchkey: session of \"%s\" ends: its token expired",
                             e.ids[i]);
        (void)mosquitto_kick_client_by_clientid(e.ids[i], true);
    }
}

static int
on_tick(int event, void *event_data, void *userdata)
{
    struct lk_plugin *p = userdata;

    p->reloading = false;
    p->ticked = true;
    lk_seats_purge(p->seats);
    expired_cut(p);
    lk_plugin_turn(p);
    return MOSQ_ERR_SUCCESS;
}

/* ---- the rest of the events ------------------------------------------------------------------ */

static int
on_disconnect(int event, void *event_data, void *userdata)
{
    const struct mosquitto_evt_disconnect *ed = event_data;

    lk_plugin_left(userdata, ed->client);
    return MOSQ_ERR_SUCCESS;
}

/* DEFER, or the broker would not read its password file again. */
static int
on_reload(int event, void *event_data, void *userdata)
{
    struct lk_plugin *p = userdata;

    p->reloading = true;
    return MOSQ_ERR_PLUGIN_DEFER;
}

/* ---- what the broker calls ------------------------------------------------------------------- */

CALLED_BY_BROKER int
mosquitto_plugin_version(int supported_version_count, const int *supported_versions)
{
    for (int i = 0; i < supported_version_count; i++) {
        if (supported_versions[i] == MOSQ_PLUGIN_VERSION) {
            return MOSQ_PLUGIN_VERSION;
        }
    }
    return -1;
}

static void
plugin_free(struct lk_plugin *p)
{
    lk_asker_fini(&p->asker);
    lk_stream_fini(&p->stream);
    lk_seats_drop(&p->seats);
    free(p);
}

static struct lk_plugin *
plugin_new(const struct mosquitto_opt *options, int count)
{
    struct lk_plugin *p = calloc(1, sizeof(*p));

    if (p == NULL) {
        return NULL;
    }
    p->ask_timeout_ms = LK_ASK_DEFAULT_MS;
    p->cut_at_s = INT64_MAX;
    p->began_ms = lk_clock_mono_ms(&lk_clock_system);
    memcpy(p->peer.path, DEFAULT_SOCKET, sizeof(DEFAULT_SOCKET));
    p->asker.fd = p->stream.fd = -1;
    p->seats = lk_seats_new();
    if (p->seats == NULL || !options_take(p, options, count) ||
        getrandom(p->peer.boot, sizeof(p->peer.boot), 0) != sizeof(p->peer.boot)) {
        plugin_free(p);
        return NULL;
    }
    lk_asker_init(&p->asker, &p->peer, p->ask_timeout_ms);
    lk_stream_init(&p->stream, &p->peer);
    return p;
}

CALLED_BY_BROKER int
mosquitto_plugin_init(mosquitto_plugin_id_t *identifier, void **userdata,
                      struct mosquitto_opt *options, int option_count)
{
    static const struct {
        int event;
        MOSQ_FUNC_generic_callback call;
    } events[] = {
        {MOSQ_EVT_BASIC_AUTH, lk_plugin_basic_auth}, {MOSQ_EVT_ACL_CHECK, lk_plugin_acl_check},
        {MOSQ_EVT_MESSAGE, lk_plugin_message},       {MOSQ_EVT_TICK, on_tick},
        {MOSQ_EVT_DISCONNECT, on_disconnect},        {MOSQ_EVT_RELOAD, on_reload},
    };
    struct lk_plugin *p = plugin_new(options, option_count);

    if (p == NULL) {
        return MOSQ_ERR_INVAL;
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(events); i++) {
        int rc = mosquitto_callback_register(identifier, events[i].event, events[i].call, NULL, p);

        if (rc != MOSQ_ERR_SUCCESS) {
            plugin_free(p);
            return rc;
        }
    }
    *userdata = p;
    mosquitto_log_printf(MOSQ_LOG_NOTICE, "latchkey: this broker is the hub %s", p->peer.hub);
    return MOSQ_ERR_SUCCESS;
}

CALLED_BY_BROKER int
mosquitto_plugin_cleanup(void *userdata, struct mosquitto_opt *options, int option_count)
{
    if (userdata != NULL) {
        plugin_free(userdata);
    }
    return MOSQ_ERR_SUCCESS;
}
