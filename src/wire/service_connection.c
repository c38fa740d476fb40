#include "wire/service_connection.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/codec.h"

#define PORT_DEFAULT 443u

/* The last one is of hubs only, and not needed. */
enum member { HOST, KEY_NAME, KEY, GATEWAY, MEMBERS };
static const char *const names[MEMBERS] = {[HOST] = "HostName",
                                           [KEY_NAME] = "SharedAccessKeyName",
                                           [KEY] = "SharedAccessKey",
                                           [GATEWAY] = "GatewayHostName"};

struct part {
    const char *text; /* NULL: not there */
    size_t len;
};

static enum lk_err
fail(char error[LK_SVC_CONNECTION_ERROR_CAP], const char *name, const char *expected)
{
    if (error != NULL) {
        (void)snprintf(error, LK_SVC_CONNECTION_ERROR_CAP, "%s%s%s", name,
                       name[0] != '\0' ? ": " : "", expected);
    }
    return LK_ERR_FORMAT;
}

/* One "name=value"; the value may hold an equals sign, as base64 does. */
static enum lk_err
member_take(struct part p, size_t members, char error[LK_SVC_CONNECTION_ERROR_CAP],
            struct part ret[MEMBERS])
{
    static const char device[] = "DeviceId";
    const char *equals = memchr(p.text, '=', p.len);
    size_t name_len = equals != NULL ? (size_t)(equals - p.text) : p.len;

    for (size_t i = 0; i < members; i++) {
        if (equals == NULL || !lk_ascii_caseeq(p.text, name_len, names[i], strlen(names[i]))) {
            continue;
        }
        if (ret[i].text != NULL) {
            return fail(error, names[i], "is given twice");
        }
        ret[i] = (struct part){equals + 1, p.len - name_len - 1};
        return LK_OK;
    }
    if (lk_ascii_caseeq(p.text, name_len, device, strlen(device))) {
        return fail(error, device, "it is a device's, where a policy's is needed");
    }
    return fail(error, "", "expected HostName=...;SharedAccessKeyName=...;SharedAccessKey=...");
}

static enum lk_err
members_split(struct part text, size_t members, char error[LK_SVC_CONNECTION_ERROR_CAP],
              struct part ret[MEMBERS])
{
    enum lk_err err;

    while (text.len > 0) {
        const char *end = memchr(text.text, ';', text.len);
        size_t len = end != NULL ? (size_t)(end - text.text) : text.len;
        size_t used = end != NULL ? len + 1 : len;
        struct part member = {text.text, len};

        lk_trim(&member.text, &member.len);
        if ((member.len > 0 || used < text.len) &&
            (err = member_take(member, members, error, ret)) != LK_OK) {
            return err;
        }
        text.text += used;
        text.len -= used;
    }
    for (size_t i = 0; i < GATEWAY; i++) {
        if (ret[i].len == 0) {
            return fail(error, names[i], "is missing");
        }
    }
    return LK_OK;
}

/* "host", "host:port", "[v6]", "[v6]:port". */
static enum lk_err
host_take(struct part p, struct lk_svc_connection *ret)
{
    bool bracket = p.text[0] == '[';
    const char *close = bracket ? memchr(p.text, ']', p.len) : NULL;
    const char *colon = close != NULL ? memchr(close, ':', p.len - (size_t)(close - p.text))
                                      : memchr(p.text, ':', p.len);
    size_t host_len = colon != NULL ? (size_t)(colon - p.text) : p.len;
    size_t skip = bracket ? 1 : 0;
    uint64_t port = PORT_DEFAULT;
    uint8_t address[16];

    if (bracket && (close == NULL || close != p.text + host_len - 1)) {
        return LK_ERR_FORMAT;
    }
    if (host_len - 2 * skip >= sizeof(ret->host) || host_len <= 2 * skip ||
        (colon != NULL && (lk_decimal_parse(colon + 1, p.len - host_len - 1, &port) != LK_OK ||
                           port == 0 || port > UINT16_MAX))) {
        return LK_ERR_FORMAT;
    }
    memcpy(ret->host, p.text + skip, host_len - 2 * skip);
    ret->host[host_len - 2 * skip] = '\0';
    lk_ascii_lower(ret->host);
    ret->is_ipv6 = bracket;
    ret->port = (uint16_t)port;
    if (strlen(ret->host) != host_len - 2 * skip) {
        return LK_ERR_FORMAT;
    }
    return (bracket ? inet_pton(AF_INET6, ret->host, address) == 1
                    : lk_host_name_ok(ret->host, strlen(ret->host)))
               ? LK_OK
               : LK_ERR_FORMAT;
}

static enum lk_err
gateway_take(struct part p, struct lk_svc_connection *ret)
{
    struct lk_svc_connection at = {.port = 0};

    if (p.text == NULL) {
        return LK_OK;
    }
    if (p.len == 0 || host_take(p, &at) != LK_OK || at.is_ipv6) {
        return LK_ERR_FORMAT;
    }
    (void)snprintf(ret->gateway, sizeof(ret->gateway), "%s:%u", at.host, at.port); /* it fits */
    return LK_OK;
}

static enum lk_err
name_take(struct part p, struct lk_svc_connection *ret)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-@.";

    if (p.len > LK_SVC_CONNECTION_NAME_MAX) {
        return LK_ERR_FORMAT;
    }
    for (size_t i = 0; i < p.len; i++) {
        if (memchr(allowed, p.text[i], strlen(allowed)) == NULL) {
            return LK_ERR_FORMAT;
        }
    }
    memcpy(ret->key_name, p.text, p.len);
    ret->key_name[p.len] = '\0';
    return LK_OK;
}

static enum lk_err
key_take(struct part p, struct lk_svc_connection *ret)
{
    LK_AUTO_BUF struct lk_buf key = {.max = LK_SVC_CONNECTION_KEY_MAX};
    enum lk_err err = lk_base64_decode(p.text, p.len, &key);

    if (err != LK_OK || key.len == 0) {
        return err == LK_ERR_NOMEM ? err : LK_ERR_FORMAT;
    }
    memcpy(ret->key, key.data, key.len);
    ret->key_len = key.len;
    return LK_OK;
}

enum lk_err
lk_svc_connection_parse(enum lk_svc_connection_of of, const char *text, size_t len,
                        char error[LK_SVC_CONNECTION_ERROR_CAP], struct lk_svc_connection *ret)
{
    bool is_hub = of == LK_SVC_CONNECTION_HUB;
    LK_AUTO_SVC_CONNECTION struct lk_svc_connection c = {.port = 0};
    struct part parts[MEMBERS] = {{NULL, 0}};
    enum lk_err err;

    if (len > LK_SVC_CONNECTION_TEXT_MAX) {
        return fail(error, "", "expected at most 1024 bytes");
    }
    if ((err = members_split((struct part){text, len}, is_hub ? MEMBERS : GATEWAY, error, parts)) !=
        LK_OK) {
        return err;
    }
    if (host_take(parts[HOST], &c) != LK_OK || (is_hub && c.is_ipv6)) {
        return fail(error, names[HOST], "expected a host name or address, and maybe :port");
    }
    if (gateway_take(parts[GATEWAY], &c) != LK_OK) {
        return fail(error, names[GATEWAY], "expected a host name or address, and maybe :port");
    }
    if (name_take(parts[KEY_NAME], &c) != LK_OK) {
        return fail(error, names[KEY_NAME], "expected at most 64 letters, digits and _ - @ .");
    }
    if ((err = key_take(parts[KEY], &c)) != LK_OK) {
        return err == LK_ERR_NOMEM ? err
                                   : fail(error, names[KEY], "expected base64 of 1 to 128 bytes");
    }
    *ret = c;
    return LK_OK;
}

enum lk_err
lk_svc_connection_format(const char *host, const char *key_name, const void *key, size_t key_len,
                         struct lk_buf *ret)
{
    enum lk_err err = lk_buf_printf(ret, "%s=%s;%s=%s;%s=", names[HOST], host, names[KEY_NAME],
                                    key_name, names[KEY]);

    return err != LK_OK ? err : lk_base64_encode(key, key_len, ret);
}

void
lk_svc_connection_wipe(struct lk_svc_connection *c)
{
    lk_wipe(c, sizeof(*c));
}
