/* The kinds of values in the configuration: what each accepts, and how it says what it expected. */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/codec.h"
#include "daemon/config_int.h"
#include "net/regions.h"
#include "wire/ids.h"

#define SOCKET_PATH_MAX 102u /* bytes: the kernel takes 107 for the lock beside it too */

enum lk_err
lk_config_fail(const struct lk_config_place *at, const char *fmt, ...)
{
    int len = at->line == 0
                  ? snprintf(at->error, LK_CONFIG_ERROR_CAP, "%.200s: ", at->name)
                  : snprintf(at->error, LK_CONFIG_ERROR_CAP, "%.200s:%u: ", at->name, at->line);
    va_list args;

    if (at->key != NULL && len >= 0 && len < (int)LK_CONFIG_ERROR_CAP) {
        len += snprintf(at->error + len, LK_CONFIG_ERROR_CAP - (size_t)len, "%s: ", at->key);
    }
    va_start(args, fmt);
    if (len >= 0 && len < (int)LK_CONFIG_ERROR_CAP) {
        (void)vsnprintf(at->error + len, LK_CONFIG_ERROR_CAP - (size_t)len, fmt, args);
    }
    va_end(args);
    return LK_ERR_CONFIG;
}

static char *
text_at(struct lk_config *c, const struct lk_config_row *row)
{
    return (char *)c + row->offset;
}

static enum lk_err
text_set(const struct lk_config_place *at, const char *value, char *ret)
{
    if (lk_strcpy(ret, LK_CONFIG_TEXT_CAP, value) != LK_OK) {
        return lk_config_fail(at, "expected at most %u bytes", LK_CONFIG_TEXT_CAP - 1);
    }
    return LK_OK;
}

static enum lk_err
text_join(const struct lk_config_place *at, const char *head, size_t head_len, const char *tail,
          char *ret)
{
    size_t tail_len = strlen(tail);

    if (head_len >= LK_CONFIG_TEXT_CAP || tail_len >= LK_CONFIG_TEXT_CAP - head_len) {
        return lk_config_fail(at, "expected at most %u bytes with its folder",
                              LK_CONFIG_TEXT_CAP - 1);
    }
    memcpy(ret, head, head_len);
    memcpy(ret + head_len, tail, tail_len + 1);
    return LK_OK;
}

/* A file name, made independent of where the process was started. */
static enum lk_err
file_set(const struct lk_config_place *at, const char *value, char *ret)
{
    const char *slash = strrchr(at->name, '/');
    const char *credentials;

    if (strncmp(value, "%d/", 3) == 0) {
        credentials = getenv("CREDENTIALS_DIRECTORY");
        if (credentials == NULL) {
            return lk_config_fail(
                at, "expected $CREDENTIALS_DIRECTORY, which systemd sets, for \"%%d/\"");
        }
        return text_join(at, credentials, strlen(credentials), value + 2, ret);
    }
    if (value[0] == '/' || slash == NULL) {
        return text_set(at, value, ret);
    }
    return text_join(at, at->name, (size_t)(slash + 1 - at->name), value, ret);
}

/* A configuration file is no place for a password: libpq reads it from a file of its own. */
static enum lk_err
postgresql_set(const struct lk_config_place *at, const char *value, char *ret)
{
    const char *host = value + sizeof("postgresql://") - 1;
    const char *sign = memchr(host, '@', strcspn(host, "/?"));
    const char *query = strchr(host, '?');

    if ((sign != NULL && memchr(host, ':', (size_t)(sign - host)) != NULL) ||
        (query != NULL &&
         (strstr(query, "?password=") != NULL || strstr(query, "&password=") != NULL))) {
        return lk_config_fail(at, "expected no password in the URL: put it into a file and add "
                                  "?passfile=FILE");
    }
    return text_set(at, value, ret);
}

static enum lk_err
store_set(const struct lk_config_place *at, const char *value, char *ret)
{
    static const char scheme[] = "sqlite:";
    char path[LK_CONFIG_TEXT_CAP];
    enum lk_err err;

    if (strncmp(value, "postgresql://", 13) == 0) {
        return postgresql_set(at, value, ret);
    }
    if (strncmp(value, scheme, strlen(scheme)) != 0 || value[strlen(scheme)] == '\0') {
        return lk_config_fail(at, "expected sqlite:FILE or postgresql://..., got \"%.64s\"", value);
    }
    if ((err = file_set(at, value + strlen(scheme), path)) != LK_OK) {
        return err;
    }
    return text_join(at, scheme, strlen(scheme), path, ret);
}

/* Split "host:port", "[v6]:port" or ":port"; the host goes to (host, INET6_ADDRSTRLEN or longer
 * names), without brackets. */
static bool
listen_split(const char *value, char host[LK_HOST_NAME_MAX + 1])
{
    const char *colon = strrchr(value, ':');
    const char *begin = value;
    size_t len = colon == NULL ? 0 : (size_t)(colon - value);
    struct in6_addr v6;
    bool bracketed = len >= 2 && value[0] == '[' && value[len - 1] == ']';
    uint64_t port;

    if (colon == NULL || lk_decimal_parse(colon + 1, strlen(colon + 1), &port) != LK_OK ||
        port > UINT16_MAX) {
        return false;
    }
    if (bracketed) {
        begin++;
        len -= 2;
    }
    if (len > LK_HOST_NAME_MAX) {
        return false;
    }
    memcpy(host, begin, len);
    host[len] = '\0';
    return bracketed ? inet_pton(AF_INET6, host, &v6) == 1 : len == 0 || lk_host_name_ok(host, len);
}

static enum lk_err
listen_set(const struct lk_config_place *at, const char *value, char *ret)
{
    char host[LK_HOST_NAME_MAX + 1];

    if (!listen_split(value, host)) {
        return lk_config_fail(at, "expected ADDRESS:PORT, [IPV6]:PORT or :PORT, got \"%.64s\"",
                              value);
    }
    return text_set(at, value, ret);
}

static bool
host_is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;

    return strcmp(host, "localhost") == 0 ||
           (inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24 == 127) ||
           (inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6));
}

static enum lk_err
admin_set(const struct lk_config_place *at, const char *value, char *ret)
{
    char host[LK_HOST_NAME_MAX + 1];

    if (strcmp(value, "none") != 0) {
        if (!listen_split(value, host)) {
            return lk_config_fail(at, "expected 127.0.0.1:PORT, [::1]:PORT or none, got \"%.64s\"",
                                  value);
        }
        if (!host_is_loopback(host)) {
            return lk_config_fail(
                at,
                "expected a loopback address, got \"%.64s\": this listener has no TLS and "
                "no passwords; put a proxy in front to reach it from elsewhere",
                value);
        }
    }
    return text_set(at, value, ret);
}

const char *
lk_config_list(const char *value)
{
    return strcmp(value, "none") == 0 ? "" : value;
}

static enum lk_err
allow_set(const struct lk_config_place *at, const char *value, char *ret)
{
    LK_AUTO(lk_allow) struct lk_allow *list = NULL;
    char why[LK_ALLOW_ERROR_CAP] = "memory";

    if (lk_allow_parse(lk_config_list(value), why, &list) != LK_OK) {
        return lk_config_fail(at, "expected host names and networks, or none: %s", why);
    }
    return text_set(at, value, ret);
}

static enum lk_err
regions_set(const struct lk_config_place *at, const char *value, char *ret)
{
    LK_AUTO(lk_regions) struct lk_regions *list = NULL;
    char why[LK_ALLOW_ERROR_CAP] = "memory";

    if (lk_regions_parse(lk_config_list(value), "", why, &list) != LK_OK) {
        return lk_config_fail(at, "expected NETWORK=REGION and more, or none: %s", why);
    }
    return text_set(at, value, ret);
}

static enum lk_err
region_set(const struct lk_config_place *at, const char *value, char *ret)
{
    if (!lk_region_ok(value)) {
        return lk_config_fail(at, "expected 1 to %u letters, digits and dashes, got \"%.64s\"",
                              LK_REGION_CAP - 1, value);
    }
    return text_set(at, value, ret);
}

/* A path that the kernel takes for a socket, with ".lock" behind it for the lock. */
static enum lk_err
socket_set(const struct lk_config_place *at, const char *value, char *ret)
{
    char path[LK_CONFIG_TEXT_CAP];
    enum lk_err err;

    if (strcmp(value, "none") == 0) {
        return text_set(at, value, ret);
    }
    if ((err = file_set(at, value, path)) != LK_OK) {
        return err;
    }
    if (strlen(path) > SOCKET_PATH_MAX) {
        return lk_config_fail(at, "expected a path of at most %u bytes, got \"%.64s\"",
                              SOCKET_PATH_MAX, value);
    }
    return text_set(at, path, ret);
}

static enum lk_err
user_set(const struct lk_config_place *at, const char *value, char *ret)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.";
    size_t len = strlen(value);

    if (len == 0 || len > 32 || strspn(value, letters) != len || value[0] == '-') {
        return lk_config_fail(at, "expected the name of a user, got \"%.64s\"", value);
    }
    return text_set(at, value, ret);
}

static enum lk_err
number_set(const struct lk_config_place *at, const struct lk_config_row *row, const char *value,
           struct lk_config *c)
{
    uint32_t *to = (uint32_t *)((char *)c + row->offset);
    uint64_t number;

    if (lk_decimal_parse(value, strlen(value), &number) != LK_OK || number < row->min ||
        number > row->max) {
        return lk_config_fail(at, "expected %" PRIu32 " to %" PRIu32 "%s%s, got \"%.64s\"",
                              row->min, row->max, row->unit[0] == '\0' ? "" : " ", row->unit,
                              value);
    }
    *to = (uint32_t)number;
    return LK_OK;
}

static enum lk_err
log_target_set(const struct lk_config_place *at, const char *value, struct lk_config *c)
{
    if (strcmp(value, "json") != 0 && strcmp(value, "journald") != 0) {
        return lk_config_fail(at, "expected json or journald, got \"%.64s\"", value);
    }
    c->log_target = value[1] == 's' ? LK_LOG_JSON : LK_LOG_JOURNALD;
    return LK_OK;
}

enum lk_err
lk_config_value_set(const struct lk_config_place *at, const struct lk_config_row *row,
                    const char *value, struct lk_config *c)
{
    switch (row->kind) {
    case LK_ROW_FILE:
        return file_set(at, value, text_at(c, row));
    case LK_ROW_STORE:
        return store_set(at, value, text_at(c, row));
    case LK_ROW_LISTEN:
        return listen_set(at, value, text_at(c, row));
    case LK_ROW_LISTEN_OR_NONE:
        return strcmp(value, "none") == 0 ? text_set(at, value, text_at(c, row))
                                          : listen_set(at, value, text_at(c, row));
    case LK_ROW_ADMIN:
        return admin_set(at, value, text_at(c, row));
    case LK_ROW_ALLOW:
        return allow_set(at, value, text_at(c, row));
    case LK_ROW_FILE_OR_NONE:
        return strcmp(value, "none") == 0 ? text_set(at, value, text_at(c, row))
                                          : file_set(at, value, text_at(c, row));
    case LK_ROW_REGIONS:
        return regions_set(at, value, text_at(c, row));
    case LK_ROW_REGION:
        return region_set(at, value, text_at(c, row));
    case LK_ROW_SOCKET:
        return socket_set(at, value, text_at(c, row));
    case LK_ROW_USER:
        return user_set(at, value, text_at(c, row));
    case LK_ROW_NUMBER:
        return number_set(at, row, value, c);
    case LK_ROW_LOG_TARGET:
        return log_target_set(at, value, c);
    case LK_ROW_LOG_LEVEL:
        return lk_log_level_parse(value, &c->log_level) == LK_OK
                   ? LK_OK
                   : lk_config_fail(at, "expected error, warning, info or debug, got \"%.64s\"",
                                    value);
    }
    return lk_config_fail(at, "has no kind");
}

enum lk_err
lk_config_default_set(const struct lk_config_place *at, const struct lk_config_row *row,
                      struct lk_config *c)
{
    static const char marker[] = "<data-dir>";
    const char *below = strstr(row->fallback, marker);
    char head[LK_CONFIG_TEXT_CAP];
    enum lk_err err;

    if (below == NULL) {
        return lk_config_value_set(at, row, row->fallback, c);
    }
    err = text_join(at, row->fallback, (size_t)(below - row->fallback), c->data_dir, head);
    return err != LK_OK
               ? err
               : text_join(at, head, strlen(head), below + strlen(marker), text_at(c, row));
}
