/*
 * Custom allocation over HTTPS (service-api.md section 11): provision/webhook.h carried out with
 * net/client.h. A try that fails for a reason that may pass is made once more after a pause, so an
 * ask ends within two of the client's total times and that pause.
 */
#ifndef LK_API_WEBHOOK_H
#define LK_API_WEBHOOK_H

#include "base/json.h"
#include "net/client.h"
#include "provision/webhook.h"

#define LK_WEBHOOK_TRIES 2u
#define LK_WEBHOOK_PAUSE_MS 500u

struct lk_webhooks;

/* loop and client are borrowed. */
LK_MUST_CHECK enum lk_err lk_webhooks_new(struct lk_loop *loop, struct lk_client *client,
                                          struct lk_webhooks **ret);
void lk_webhooks_free(struct lk_webhooks *w); /* nothing may be asked */
LK_DEFINE_AUTO(struct lk_webhooks, lk_webhooks, lk_webhooks_free);
struct lk_webhook lk_webhooks_link(struct lk_webhooks *w);

/* ---- the messages -----------------------------------------------------------------------------
 */

/* Append the request's JSON; secrets of the enrollment are left out. */
LK_MUST_CHECK enum lk_err lk_webhook_ask_format(const struct lk_webhook_ask *ask,
                                                struct lk_buf *ret);
/*
 * Read an answer with status 200. hub, initial_twin and payload of ret (which must be empty) are
 * set. LK_ERR_FORMAT: error says what is wrong with it.
 */
LK_MUST_CHECK enum lk_err lk_webhook_answer_parse(const void *body, size_t len,
                                                  char error[LK_JSON_ERROR_CAP],
                                                  struct lk_webhook_answer *ret);

#endif
