#include "link/connection.h"

#include <stdio.h>
#include <string.h>

#include "base/codec.h"
#include "wire/sas.h"

#define TOKEN_LIFE_S 3600
#define HTTPS_PORT 443

void
lk_hub_connection_fini(struct lk_hub_connection *c)
{
    lk_wipe(c->key, sizeof(c->key));
    c->key_len = 0;
    lk_buf_fini(&c->ca);
}

/* ---- the string --------------------------------------------------------------------------------
 */

enum { HAS_HOST = 1u << 0, HAS_POLICY = 1u << 1, HAS_KEY = 1u << 2, HAS_GATEWAY = 1u << 3 };

static enum lk_err
fault(char error[LK_HUB_CONNECTION_ERROR_CAP], const char *what)
{
    if (error != NULL) {
        (void)snprintf(error, LK_HUB_CONNECTION_ERROR_CAP, "%s", what);
    }
    return LK_ERR_FORMAT;
}

/* "host[:port]" */
static enum lk_err
peer_parse(const char *text, size_t len, char host[LK_HOST_NAME_MAX + 1], uint16_t *ret_port)
{
    const char *colon = memchr(text, ':', len);
    size_t host_len = colon == NULL ? len : (size_t)(colon - text);
    uint64_t port = HTTPS_PORT;

    if (host_len > LK_HOST_NAME_MAX || !lk_host_name_ok(text, host_len) ||
        (colon != NULL && (lk_decimal_parse(colon + 1, len - host_len - 1, &port) != LK_OK ||
                           port < 1 || port > UINT16_MAX))) {
        return LK_ERR_FORMAT;
    }
    memcpy(host, text, host_len);
    host[host_len] = '\0';
    lk_ascii_lower(host);
    *ret_port = (uint16_t)port;
    return LK_OK;
}

static enum lk_err
gateway_take(const char *text, size_t len, struct lk_hub_connection *c)
{
    char host[LK_HOST_NAME_MAX + 1];
    uint16_t port;
    enum lk_err err = peer_parse(text, len, host, &port);

    if (err == LK_OK) {
        (void)snprintf(c->gateway, sizeof(c->gateway), "%s:%u", host, port); /* it fits */
    }
    return err;
}

static enum lk_err
policy_take(const char *text, size_t len, struct lk_hub_connection *c)
{
    if (len < 1 || len >= sizeof(c->policy)) {
        return LK_ERR_FORMAT;
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] <= ' ' || text[i] > '~') {
            return LK_ERR_FORMAT;
        }
    }
    memcpy(c->policy, text, len);
    c->policy[len] = '\0';
    return LK_OK;
}

static enum lk_err
key_take(const char *text, size_t len, struct lk_hub_connection *c)
{
    LK_AUTO_BUF struct lk_buf key = {.max = sizeof(c->key)};
    enum lk_err err = lk_base64_decode(text, len, &key);

    if (err != LK_OK || key.len == 0) {
        return err == LK_ERR_NOMEM ? err : LK_ERR_FORMAT;
    }
    memcpy(c->key, key.data, key.len);
    c->key_len = key.len;
    return LK_OK;
}

static enum lk_err
host_take(const char *text, size_t len, struct lk_hub_connection *c)
{
    return peer_parse(text, len, c->host, &c->port);
}

static const struct part {
    const char *name;
    unsigned flag;
    enum lk_err (*take)(const char *text, size_t len, struct lk_hub_connection *c);
    const char *wrong;
} parts[] = {
    {"HostName", HAS_HOST, host_take, "HostName is no host name"},
    {"SharedAccessKeyName", HAS_POLICY, policy_take, "SharedAccessKeyName is no policy's name"},
    {"SharedAccessKey", HAS_KEY, key_take, "SharedAccessKey is not base64 of 1 to 64 bytes"},
    {"GatewayHostName", HAS_GATEWAY, gateway_take, "GatewayHostName is no host name"},
};

static enum lk_err
part_take(const char *text, size_t len, unsigned *seen, char error[LK_HUB_CONNECTION_ERROR_CAP],
          struct lk_hub_connection *c)
{
    const char *equals = memchr(text, '=', len);
    size_t name_len = equals == NULL ? len : (size_t)(equals - text);
    enum lk_err err;

    for (size_t i = 0; equals != NULL && i < LK_ARRAY_LEN(parts); i++) {
        const struct part *p = &parts[i];

        if (!lk_ascii_caseeq(text, name_len, p->name, strlen(p->name))) {
            continue;
        }
        if ((*seen & p->flag) != 0) {
            return fault(error, "a part of it is there twice");
        }
        *seen |= p->flag;
        err = p->take(equals + 1, len - name_len - 1, c);
        return err == LK_ERR_FORMAT ? fault(error, p->wrong) : err;
    }
    if (lk_ascii_caseeq(text, name_len, "DeviceId", 8)) {
        return fault(error, "it is a device's; a policy's of the hub is needed");
    }
    return fault(error, "it has a part that is not known");
}

static enum lk_err
parts_take(const char *text, size_t len, char error[LK_HUB_CONNECTION_ERROR_CAP],
           struct lk_hub_connection *c)
{
    unsigned seen = 0;

    lk_trim(&text, &len);
    while (len > 0) {
        const char *end = memchr(text, ';', len);
        size_t part_len = end == NULL ? len : (size_t)(end - text);
        enum lk_err err = part_take(text, part_len, &seen, error, c);

        if (err != LK_OK) {
            return err;
        }
        text += part_len + (end != NULL);
        len -= part_len + (end != NULL);
    }
    return (seen & (HAS_HOST | HAS_POLICY | HAS_KEY)) == (HAS_HOST | HAS_POLICY | HAS_KEY)
               ? LK_OK
               : fault(error, "HostName, SharedAccessKeyName and SharedAccessKey are needed");
}

enum lk_err
lk_hub_connection_parse(const char *text, size_t len, char error[LK_HUB_CONNECTION_ERROR_CAP],
                        struct lk_hub_connection *ret)
{
    struct lk_hub_connection c = {.port = HTTPS_PORT};
    enum lk_err err = len > LK_HUB_CONNECTION_MAX ? fault(error, "it is too long")
                                                  : parts_take(text, len, error, &c);

    if (err == LK_OK) {
        lk_hub_connection_fini(ret);
        *ret = c;
    }
    lk_wipe(&c, sizeof(c));
    return err;
}

/* A hub that is called by another name than the one in its certificate is told so here, not by a
 * device that cannot connect. */
enum lk_err
lk_hub_connection_check(const struct lk_hub_connection_text *from, const char *hub,
                        char error[LK_HUB_CONNECTION_ERROR_CAP])
{
    static const char begin[] = "-----BEGIN CERTIFICATE-----";
    struct lk_hub_connection c = {.port = 0};
    enum lk_err err = lk_hub_connection_parse(from->text, from->len, error, &c);
    bool same = err == LK_OK && strcmp(c.host, hub) == 0;

    lk_hub_connection_fini(&c);
    if (err != LK_OK) {
        return err;
    }
    if (!same) {
        return fault(error, "it is of another hub: its HostName is not this one's name");
    }
    return from->ca->len == 0 ||
                   memmem(from->ca->data, from->ca->len, begin, sizeof(begin) - 1) != NULL
               ? LK_OK
               : fault(error, "the authorities hold no certificate in PEM");
}

/* ---- at rest -----------------------------------------------------------------------------------
 */

/* The place that it is bound to. */
static enum lk_err
place_of(const char *hub, struct lk_buf *place, const char **ret)
{
    enum lk_err err = lk_buf_printf(place, "hub|%s|connection", hub);

    *ret = err == LK_OK ? lk_buf_text(place) : NULL;
    return err == LK_OK && *ret == NULL ? LK_ERR_NOMEM : err;
}

#define REMOTE_MARK '@' /* no string begins with it */

/* The string has no line end in it: what follows one is the PEM. */
enum lk_err
lk_hub_connection_seal(const struct lk_keyring *ring, const struct lk_rand *rnd, const char *hub,
                       const struct lk_hub_connection_text *from, struct lk_buf *ret)
{
    LK_AUTO_BUF struct lk_buf place = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf clear = LK_BUF_INIT;
    const struct lk_buf *ca = from->ca;
    const char *ad, *text = from->text;
    size_t len = from->len;
    enum lk_err err;

    lk_trim(&text, &len);
    if (len == 0 || text[0] == REMOTE_MARK || memchr(text, '\n', len) != NULL ||
        ca->len > LK_HUB_CONNECTION_CA_MAX) {
        return LK_ERR_ARG;
    }
    if ((err = place_of(hub, &place, &ad)) != LK_OK ||
        (from->is_remote && (err = lk_buf_put_u8(&clear, REMOTE_MARK)) != LK_OK) ||
        (err = lk_buf_put(&clear, text, len)) != LK_OK ||
        (err = lk_buf_put_u8(&clear, '\n')) != LK_OK ||
        (err = lk_buf_put(&clear, ca->data, ca->len)) != LK_OK) {
        return err;
    }
    return lk_keyring_seal(ring, ad, clear.data, clear.len, rnd, ret);
}

static enum lk_err
clear_parse(const struct lk_buf *clear, struct lk_hub_connection *ret)
{
    const char *text = (const char *)clear->data;
    const char *end = clear->len == 0 ? NULL : memchr(text, '\n', clear->len);
    bool is_remote = clear->len > 0 && text[0] == REMOTE_MARK;
    enum lk_err err;

    if (end == NULL) {
        return LK_ERR_FORMAT;
    }
    text += is_remote ? 1 : 0;
    if ((err = lk_hub_connection_parse(text, (size_t)(end - text), NULL, ret)) != LK_OK) {
        return err;
    }
    ret->is_remote = is_remote;
    return lk_buf_put(&ret->ca, end + 1,
                      clear->len - (size_t)(end - (const char *)clear->data) - 1);
}

enum lk_err
lk_hub_connection_open(const struct lk_keyring *ring, const struct lk_hub *hub,
                       struct lk_hub_connection *ret)
{
    LK_AUTO_BUF struct lk_buf place = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf clear = LK_BUF_INIT;
    const char *ad;
    enum lk_err err;

    if ((err = place_of(hub->name, &place, &ad)) != LK_OK) {
        return err;
    }
    err = lk_keyring_unseal(ring, ad, hub->sealed_connection.data, hub->sealed_connection.len,
                            &clear);
    if (err == LK_OK) {
        err = clear_parse(&clear, ret);
    }
    return err == LK_ERR_NOT_FOUND                         ? LK_ERR_CONFIG
           : err == LK_ERR_REFUSED || err == LK_ERR_FORMAT ? LK_ERR_STORE
                                                           : err;
}

/* ---- the token ---------------------------------------------------------------------------------
 */

enum lk_err
lk_hub_connection_token(const struct lk_hub_connection *c, int64_t now_ms, struct lk_buf *ret)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    uint64_t expiry = (uint64_t)(now_ms / 1000) + TOKEN_LIFE_S;
    uint8_t sig[LK_SAS_SIG_LEN];
    struct lk_part signed_text;
    enum lk_err err;

    if ((err = lk_sas_string_to_sign(c->host, expiry, &text)) != LK_OK) {
        return err;
    }
    signed_text = LK_PART(text.data, text.len);
    if ((err = lk_hmac(LK_SHA256, c->key, c->key_len, &signed_text, 1, sig)) != LK_OK) {
        return err;
    }
    return lk_sas_format(c->host, expiry, sig, c->policy, ret);
}
