#include "wire/broker_ask_int.h"

#include <string.h>

#include "base/codec.h"

enum lk_err
lk_broker_refuse(struct lk_broker_ask *ask, const char *reason)
{
    ask->reason = reason;
    return LK_ERR_REFUSED;
}

enum lk_err
lk_broker_user(struct lk_broker_ask *ask, const char *hub, const char *user_name)
{
    if (lk_mqtt_user_parse(user_name, strlen(user_name), &ask->user) != LK_OK) {
        return lk_broker_refuse(ask, "client.user_name");
    }
    if (!lk_ascii_caseeq(ask->user.hub, strlen(ask->user.hub), hub, strlen(hub))) {
        return lk_broker_refuse(ask, "client.hub");
    }
    return LK_OK;
}

enum lk_err
lk_broker_token(struct lk_broker_ask *ask, const char *password)
{
    if (password[0] == '\0' || lk_strcpy(ask->token, sizeof(ask->token), password) != LK_OK) {
        return lk_broker_refuse(ask, "token.malformed");
    }
    return LK_OK;
}

enum lk_err
lk_broker_judge(enum lk_broker_question question, const char *hub, const void *text, size_t len,
                struct lk_broker_ask *ret)
{
    enum lk_err err;

    memset(ret, 0, sizeof(*ret));
    err = question == LK_EMQX_AUTHN || question == LK_EMQX_AUTHZ
              ? lk_emqx_judge(question, hub, text, len, ret)
              : lk_rabbit_judge(question, hub, text, len, ret);
    if (err != LK_OK) {
        lk_wipe(ret->token, sizeof(ret->token));
    }
    return err;
}
