#include "wire/hub_auth.h"

#include <stdio.h>
#include <string.h>

#include "base/codec.h"

static enum lk_err
explain(char error[LK_JSON_ERROR_CAP], const char *what, enum lk_err err)
{
    if (error != NULL) {
        (void)snprintf(error, LK_JSON_ERROR_CAP, "%s", what);
    }
    return err;
}

enum lk_err
lk_hub_auth_parse(const void *body, size_t len, char error[LK_JSON_ERROR_CAP],
                  struct lk_hub_auth_request *ret)
{
    LK_AUTO(json) json_t *object = NULL;
    const char *hub = NULL, *token = NULL;
    enum lk_err err;

    if ((err = lk_json_parse(body, len, false, error, &object)) != LK_OK) {
        return err;
    }
    if (lk_json_text(object, "hub", &hub) != LK_OK || hub == NULL ||
        !lk_host_name_ok(hub, strlen(hub))) {
        return explain(error, "hub: expected a host name", LK_ERR_FORMAT);
    }
    if (lk_json_text(object, "token", &token) != LK_OK || token == NULL) {
        return explain(error, "token: expected text", LK_ERR_FORMAT);
    }
    if (strlen(token) > LK_SAS_MAX) {
        return explain(error, "token: expected at most 2048 bytes", LK_ERR_LIMIT);
    }
    memcpy(ret->hub, hub, strlen(hub) + 1);
    memcpy(ret->token, token, strlen(token) + 1);
    lk_ascii_lower(ret->hub);
    return LK_OK;
}

enum lk_err
lk_hub_auth_granted_format(const char *device_id, const char *key, uint64_t expiry_unix_s,
                           struct lk_buf *ret)
{
    LK_AUTO(json)
    json_t *object = json_pack("{s:s, s:s, s:I}", "deviceId", device_id, "key", key, "expiry",
                               (json_int_t)(expiry_unix_s > INT64_MAX ? INT64_MAX : expiry_unix_s));

    return object == NULL ? LK_ERR_NOMEM : lk_json_write(object, ret);
}

enum lk_err
lk_hub_auth_refused_format(const char *reason, struct lk_buf *ret)
{
    LK_AUTO(json) json_t *object = json_pack("{s:s}", "reason", reason);

    return object == NULL ? LK_ERR_NOMEM : lk_json_write(object, ret);
}
