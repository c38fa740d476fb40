#include "api/webhook.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct lk_webhooks {
    struct lk_loop *loop;
    struct lk_client *client;
    size_t asks_count;
};

/* One ask, through its tries. */
struct ask {
    struct lk_webhooks *webhooks;
    char url[LK_WEBHOOK_URL_MAX + 1];
    struct lk_buf body;
    unsigned tries;
    struct lk_timer *pause;
    lk_webhook_done_fn *done;
    void *arg;
};

static void
ask_free(struct ask *a)
{
    lk_timer_drop(&a->pause);
    lk_buf_fini(&a->body);
    free(a);
}
LK_DEFINE_AUTO(struct ask, ask, ask_free);

/* The answer goes out, and the ask ends. */
static void
ask_end(struct ask *ended, struct lk_webhook_answer *answer)
{
    LK_AUTO(ask) struct ask *a = ended;

    a->webhooks->asks_count--;
    a->done(a->arg, answer);
    lk_buf_fini(&answer->initial_twin);
    lk_buf_fini(&answer->payload);
}

/* Their words may come from the peer. */
static void
detail_set(struct lk_webhook_answer *answer, const char *head, const char *text)
{
    (void)snprintf(answer->detail, sizeof(answer->detail), "%s%s", head, text);
    for (char *at = answer->detail; *at != '\0'; at++) {
        *at = isprint((unsigned char)*at) && *at != '"' && *at != '\\' ? *at : '\'';
    }
}

static void
ask_fail(struct ask *a, enum lk_err err, const char *head, const char *text)
{
    struct lk_webhook_answer answer = {.err = err};

    detail_set(&answer, head, text);
    ask_end(a, &answer);
}

static void ask_try(void *ctx);

static void
ask_again(struct ask *a, enum lk_err err, const char *head, const char *text)
{
    if (a->tries >= LK_WEBHOOK_TRIES) {
        ask_fail(a, err, head, text);
        return;
    }
    lk_timer_arm(a->pause, LK_WEBHOOK_PAUSE_MS);
}

static void
ask_read(struct ask *a, const struct lk_reader *body)
{
    struct lk_webhook_answer answer = {.err = LK_OK};
    char error[LK_JSON_ERROR_CAP] = "not readable";

    answer.err = lk_webhook_answer_parse(body->p, body->left, error, &answer);
    if (answer.err != LK_OK) {
        detail_set(&answer, "the webhook's answer: ", error);
    }
    ask_end(a, &answer);
}

/* 401 and 403 refuse us; what says "later" is tried again; no other status is an answer. */
static void
ask_answered(void *arg, const struct lk_client_answer *answer)
{
    struct ask *a = arg;
    char status[8];

    switch (answer->err) {
    case LK_OK:
        break;
    case LK_ERR_NETWORK:
    case LK_ERR_TIMEOUT:
    case LK_ERR_PROTOCOL:
        ask_again(a, answer->err, "the webhook did not answer: ", answer->detail);
        return;
    case LK_ERR_LIMIT:
        ask_fail(a, answer->err, "the webhook: ", answer->detail);
        return;
    default:
        ask_fail(a, answer->err, "the webhook is not called: ", answer->detail);
        return;
    }
    if (answer->status == 200) {
        ask_read(a, &answer->body);
        return;
    }
    (void)snprintf(status, sizeof(status), "%d", answer->status);
    if (answer->status == 429 || answer->status >= 500) {
        ask_again(a, LK_ERR_BUSY, "the webhook answered status ", status);
    } else {
        ask_fail(a,
                 answer->status == 401 || answer->status == 403 ? LK_ERR_REFUSED : LK_ERR_PROTOCOL,
                 "the webhook answered status ", status);
    }
}

static void
ask_try(void *ctx)
{
    struct ask *a = ctx;
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;
    enum lk_err err = lk_buf_put(&body, a->body.data, a->body.len);

    a->tries++;
    if (err == LK_OK) {
        err = lk_client_post(a->webhooks->client, a->url, &body, ask_answered, a);
    }
    if (err == LK_ERR_BUSY) {
        ask_again(a, err, "too many calls wait for the webhook", "");
    } else if (err != LK_OK) {
        ask_fail(a, err, "the webhook cannot be called: ", lk_err_text(err));
    }
}

static enum lk_err
webhook_ask(void *ctx, const struct lk_webhook_ask *ask, lk_webhook_done_fn *done, void *arg)
{
    struct lk_webhooks *w = ctx;
    LK_AUTO(ask) struct ask *a = calloc(1, sizeof(*a));
    enum lk_err err;

    if (a == NULL) {
        return LK_ERR_NOMEM;
    }
    *a = (struct ask){.webhooks = w, .done = done, .arg = arg};
    if ((err = lk_strcpy(a->url, sizeof(a->url), ask->enrollment->webhook_url)) != LK_OK ||
        (err = lk_webhook_ask_format(ask, &a->body)) != LK_OK ||
        (err = lk_timer_new(w->loop, ask_try, a, &a->pause)) != LK_OK) {
        return err;
    }
    w->asks_count++;
    lk_timer_arm(a->pause, 0); /* from the loop, so that done is never called from here */
    (void)ask_take(&a);
    return LK_OK;
}

static const struct lk_webhook_ops webhook_ops = {.ask = webhook_ask};

enum lk_err
lk_webhooks_new(struct lk_loop *loop, struct lk_client *client, struct lk_webhooks **ret)
{
    struct lk_webhooks *w = calloc(1, sizeof(*w));

    if (w == NULL) {
        return LK_ERR_NOMEM;
    }
    *w = (struct lk_webhooks){.loop = loop, .client = client};
    *ret = w;
    return LK_OK;
}

void
lk_webhooks_free(struct lk_webhooks *w)
{
    if (w != NULL) {
        assert(w->asks_count == 0);
        free(w);
    }
}

struct lk_webhook
lk_webhooks_link(struct lk_webhooks *w)
{
    return (struct lk_webhook){.ops = &webhook_ops, .ctx = w};
}
