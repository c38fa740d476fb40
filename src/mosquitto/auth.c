/* CONNECT: devices are checked by the service, everyone else by the broker's own means. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "mosquitto/plugin_int.h"

#define COMPLAIN_EVERY_MS 1000 /* one line a second about a service that is not there */

static bool
is_device_name(const char *user_name)
{
    return user_name != NULL && strchr(user_name, '/') != NULL;
}

static int
refuse(const char *client_id, const char *why)
{
    mosquitto_log_printf(MOSQ_LOG_NOTICE, "latchkey: client \"%s\" refused: %s",
                         client_id == NULL ? "" : client_id, why);
    return MOSQ_ERR_AUTH;
}

/*
 * People and programs of the operator's, whom the broker's password file knows. Their client ids
 * cannot be device ids, so that neither takes the other's session.
 */
static int
operator_check(const struct mosquitto *client)
{
    const char *id = mosquitto_client_id(client);

    if (id == NULL || lk_device_id_ok(id, strlen(id))) {
        return refuse(id, "expected a '/' in the client id of an operator");
    }
    return MOSQ_ERR_PLUGIN_DEFER;
}

/* What the client says of itself, without the service. NULL: no fault. */
static const char *
claim_fault(const struct lk_plugin *p, const struct mosquitto_evt_basic_auth *ed)
{
    const char *id = mosquitto_client_id(ed->client);
    struct lk_mqtt_user user;

    if (mosquitto_client_protocol_version(ed->client) != 4) {
        return "expected MQTT 3.1.1";
    }
    if (lk_mqtt_user_parse(ed->username, strlen(ed->username), &user) != LK_OK) {
        return "user name: expected {hub}/{device id}/?api-version=...";
    }
    if (strcmp(user.hub, p->peer.hub) != 0) {
        return "user name: another hub";
    }
    if (id == NULL || strcmp(user.device_id, id) != 0) {
        return "client id: expected the device id in the user name";
    }
    if (ed->password == NULL || strlen(ed->password) > LK_SAS_MAX) {
        return "password: expected a SAS token";
    }
    return NULL;
}

static int
unavailable(struct lk_plugin *p, const char *id, enum lk_err err)
{
    int64_t now_ms = lk_clock_mono_ms(&lk_clock_system);

    if (now_ms - p->complained_ms >= COMPLAIN_EVERY_MS) {
        p->complained_ms = now_ms;
        mosquitto_log_printf(MOSQ_LOG_WARNING,
                             "latchkey: client \"%s\" cannot be checked, the service at %s: %s", id,
                             p->peer.path, lk_err_text(err));
    }
    return MOSQ_ERR_UNKNOWN; /* closes the connection: an answer would be taken for a refusal */
}

static int
device_check(struct lk_plugin *p, const struct mosquitto_evt_basic_auth *ed)
{
    const char *id = mosquitto_client_id(ed->client);
    struct lk_plug_msg ask = {.type = LK_PLUG_ASK,
                              .name = ed->username,
                              .name_len = strlen(ed->username),
                              .secret = ed->password};
    struct lk_plug_msg verdict;
    const struct lk_seat *seat;
    char why[LK_MQTT_USER_NAME_MAX + 1];
    enum lk_err err;

    ask.secret_len = strlen(ed->password);
    if (lk_strcpy(ask.device_id, sizeof(ask.device_id), id) != LK_OK) {
        return refuse(id, "client id: too long");
    }
    if ((err = lk_ask(&p->asker, &ask, &verdict)) != LK_OK) {
        return unavailable(p, id, err);
    }
    if (verdict.flags == LK_PLUG_UNAVAILABLE) {
        return unavailable(p, id, LK_ERR_BUSY);
    }
    if (verdict.flags != LK_PLUG_OK || strcmp(verdict.device_id, id) != 0) {
        (void)snprintf(why, sizeof(why), "%.*s", (int)verdict.name_len, verdict.name);
        return refuse(id, why);
    }
    lk_plugin_left(p, ed->client); /* the broker may use the memory of one that it dropped again */
    lk_seats_purge(p->seats);
    seat = lk_seats_enter(p->seats, ed->client, id, &verdict,
                          !mosquitto_client_clean_session(ed->client),
                          (uint16_t)mosquitto_client_keepalive(ed->client));
    if (seat == NULL) {
        return unavailable(p, id, LK_ERR_NOMEM);
    }
    if (verdict.number < (uint64_t)p->cut_at_s) {
        p->cut_at_s = (int64_t)verdict.number;
    }
    lk_plugin_tell_session(p, seat);
    return MOSQ_ERR_SUCCESS;
}

int
lk_plugin_basic_auth(int event, void *event_data, void *userdata)
{
    const struct mosquitto_evt_basic_auth *ed = event_data;
    struct lk_plugin *p = userdata;
    const char *fault;

    /* After a reload the broker asks about everyone again, with passwords from back then. Devices
     * were checked when they came, and are cut when their token or their identity ends. */
    if (p->reloading) {
        return is_device_name(ed->username) ? MOSQ_ERR_SUCCESS : MOSQ_ERR_PLUGIN_DEFER;
    }
    if (!is_device_name(ed->username)) {
        return operator_check(ed->client);
    }
    if (!p->ticked && lk_clock_mono_ms(&lk_clock_system) - p->began_ms > LK_TICK_WITHIN_MS) {
        return refuse(mosquitto_client_id(ed->client), "per_listener_settings has to be false");
    }
    if ((fault = claim_fault(p, ed)) != NULL) {
        return refuse(mosquitto_client_id(ed->client), fault);
    }
    return device_check(p, ed);
}
