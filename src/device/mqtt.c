/* <latchkey/mqtt.h>: what an MQTT client logs on to the hub with. */
#include <string.h>

#include <latchkey/latchkey.h>

#include "base/clock.h"
#include "wire/mqtt_name.h"

/* A clock that was set back this far made the token look as if it came from the future. */
#define CLOCK_BACK_MAX_S 300u

static bool
client_ok(const char *client)
{
    size_t len = strlen(client);

    for (size_t i = 0; i < len; i++) {
        if (client[i] < ' ' || client[i] > '~') {
            return false;
        }
    }
    return len >= 1 && len <= LK_DEVICE_MQTT_CLIENT_MAX;
}

static enum lk_err
names_make(const struct lk_device_mqtt_opts *opts, struct lk_device_mqtt *m)
{
    const char *client = opts->client != NULL ? opts->client : "latchkey/" LK_VERSION;
    LK_AUTO_BUF struct lk_buf user = {.max = LK_DEVICE_MQTT_USER_CAP - 1};
    enum lk_err err;

    if (opts->hub == NULL || opts->device_id == NULL || !client_ok(client) ||
        !lk_host_name_ok(opts->hub, strlen(opts->hub)) ||
        !lk_device_id_ok(opts->device_id, strlen(opts->device_id))) {
        return LK_ERR_ARG;
    }
    if ((err = lk_mqtt_user_format(opts->hub, opts->device_id, client, &user)) != LK_OK) {
        return err;
    }
    if (lk_buf_text(&user) == NULL) {
        return LK_ERR_NOMEM;
    }
    if ((err = lk_strcpy(m->host, sizeof(m->host), opts->hub)) != LK_OK ||
        (err = lk_strcpy(m->client_id, sizeof(m->client_id), opts->device_id)) != LK_OK) {
        return err;
    }
    return lk_strcpy(m->user_name, sizeof(m->user_name), lk_buf_text(&user));
}

static enum lk_err
password_make(struct lk_tpm *tpm, struct lk_device_mqtt *m)
{
    uint64_t now_s = (uint64_t)lk_clock_unix_ms(&lk_clock_system) / 1000;
    uint64_t expiry_s = now_s + m->ttl_s;
    char token[LK_DEVICE_SAS_CAP] = "";
    enum lk_err err = lk_device_sas(tpm, m->host, m->client_id, expiry_s, token, sizeof(token));

    if (err != LK_OK) {
        return err;
    }
    memcpy(m->password, token, sizeof(m->password));
    lk_wipe(token, sizeof(token));
    m->issued_unix_s = now_s;
    m->renew_unix_s = now_s + m->ttl_s / 4 * 3;
    m->expiry_unix_s = expiry_s;
    return LK_OK;
}

enum lk_err
lk_device_mqtt(struct lk_tpm *tpm, const struct lk_device_mqtt_opts *opts,
               struct lk_device_mqtt *ret)
{
    struct lk_device_mqtt m = {.port = LK_DEVICE_MQTT_PORT, .ttl_s = LK_DEVICE_MQTT_TTL_S};
    enum lk_err err;

    if (opts->port != 0) {
        m.port = opts->port;
    }
    if (opts->ttl_s != 0) {
        m.ttl_s = opts->ttl_s;
    }
    if (m.ttl_s < LK_DEVICE_MQTT_TTL_MIN_S) {
        return LK_ERR_ARG;
    }
    if ((err = names_make(opts, &m)) == LK_OK && (err = password_make(tpm, &m)) == LK_OK) {
        *ret = m;
    }
    lk_wipe(&m, sizeof(m));
    return err;
}

enum lk_err
lk_device_mqtt_renew(struct lk_tpm *tpm, struct lk_device_mqtt *m)
{
    return password_make(tpm, m);
}

uint32_t
lk_device_mqtt_due_s(const struct lk_device_mqtt *m, uint64_t now_unix_s)
{
    if (now_unix_s >= m->renew_unix_s || now_unix_s + CLOCK_BACK_MAX_S < m->issued_unix_s) {
        return 0;
    }
    return (uint32_t)(m->renew_unix_s - now_unix_s);
}

void
lk_device_mqtt_wipe(struct lk_device_mqtt *m)
{
    if (m != NULL) {
        lk_wipe(m, sizeof(*m));
    }
}
