/* What the judges of brokers' questions share. */
#ifndef LK_WIRE_BROKER_ASK_INT_H
#define LK_WIRE_BROKER_ASK_INT_H

#include "wire/broker_ask.h"

/* Set the reason; LK_ERR_REFUSED. */
LK_MUST_CHECK enum lk_err lk_broker_refuse(struct lk_broker_ask *ask, const char *reason);

/* Take user_name as whom the question is about; a device of hub. */
LK_MUST_CHECK enum lk_err lk_broker_user(struct lk_broker_ask *ask, const char *hub,
                                         const char *user_name);

/* Take password as the token. */
LK_MUST_CHECK enum lk_err lk_broker_token(struct lk_broker_ask *ask, const char *password);

LK_MUST_CHECK enum lk_err lk_rabbit_judge(enum lk_broker_question question, const char *hub,
                                          const char *form, size_t len, struct lk_broker_ask *ret);
LK_MUST_CHECK enum lk_err lk_emqx_judge(enum lk_broker_question question, const char *hub,
                                        const char *json, size_t len, struct lk_broker_ask *ret);

#endif
