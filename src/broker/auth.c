/* CONNECT at a broker: the question of its plugin, and the answer. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/metrics.h"
#include "broker/broker_int.h"

#define REFUSALS_PER_S 20u /* log lines; the rest is counted */

/* One question, from its arrival to its answer. */
struct ask {
    struct lk_peer *peer;
    char hub[LK_HOST_NAME_MAX + 1], device_id[LK_DEVICE_ID_MAX + 1];
    char token[LK_SAS_MAX + 1];
    struct lk_hub_login login;
    struct lk_job job;
};

static void
ask_free(struct ask *a)
{
    lk_wipe(a, sizeof(*a)); /* a token opens the hub until it expires */
    free(a);
}
LK_DEFINE_AUTO(struct ask, ask, ask_free);

/* Reasons are few words of the hub's checks, and of claim_fault(). */
static enum lk_metric
refusal_metric(const char *reason)
{
    if (strncmp(reason, "token.", 6) == 0) {
        return LK_M_LOGIN_TOKEN;
    }
    return strncmp(reason, "device.", 7) == 0 ? LK_M_LOGIN_DEVICE : LK_M_LOGIN_NAME;
}

static void
refusal_note(struct lk_broker *b, const struct ask *a, const char *reason)
{
    lk_metric_add(refusal_metric(reason), 1);
    if (b->refusals_logged >= REFUSALS_PER_S) {
        b->refusals_left_out++;
        return;
    }
    b->refusals_logged++;
    lk_log(LK_LOG_WARNING, "hub.device_refused", LK_F_TEXT("hub", a->hub),
           LK_F_TEXT("device_id", a->device_id), LK_F_TEXT("reason", reason));
}

void
lk_broker_refusals_tick(struct lk_broker *b)
{
    if (b->refusals_left_out > 0) {
        lk_log(LK_LOG_WARNING, "hub.refusals_not_logged", LK_F_INT("count", b->refusals_left_out));
    }
    b->refusals_logged = 0;
    b->refusals_left_out = 0;
}

/* ---- answers --------------------------------------------------------------------------------- */

static void
answer(struct lk_peer *p, const char *device_id, uint32_t flags, const char *words)
{
    struct lk_plug_msg m = {
        .type = LK_PLUG_VERDICT, .flags = flags, .name = words, .name_len = strlen(words)};

    memcpy(m.device_id, device_id, strlen(device_id) + 1);
    lk_peer_send(p, &m);
}

static void
answer_granted(const struct ask *a)
{
    struct lk_plug_msg m = {.type = LK_PLUG_VERDICT,
                            .flags = LK_PLUG_OK,
                            .number = a->login.cut_at_unix_s,
                            .name = "",
                            .name_len = 0};

    lk_metric_add(LK_M_LOGIN_ACCEPTED, 1);
    lk_log(LK_LOG_DEBUG, "hub.device_accepted", LK_F_TEXT("hub", a->hub),
           LK_F_TEXT("device_id", a->device_id));
    memcpy(m.device_id, a->device_id, sizeof(m.device_id));
    memcpy(m.generation, a->login.check.generation_id, sizeof(a->login.check.generation_id));
    memcpy(m.etag, a->login.check.etag, sizeof(a->login.check.etag));
    memcpy(m.tag, a->login.key_tag, sizeof(m.tag));
    lk_peer_send(a->peer, &m);
}

static void
finish(struct ask *a, enum lk_err err)
{
    struct lk_broker *b = a->peer->broker;

    b->pending--;
    if (err == LK_OK) {
        answer_granted(a);
    } else if (err == LK_ERR_REFUSED) {
        refusal_note(b, a, a->login.check.reason);
        answer(a->peer, a->device_id, LK_PLUG_REFUSED, a->login.check.reason);
    } else {
        lk_metric_add(LK_M_LOGIN_FAILED, 1);
        lk_log(LK_LOG_ERROR, "hub.check_failed", LK_F_TEXT("hub", a->hub),
               LK_F_TEXT("device_id", a->device_id), LK_F_ERR(err));
        answer(a->peer, a->device_id, LK_PLUG_UNAVAILABLE, "");
    }
    lk_peer_resume(a->peer);
}

/* ---- work ------------------------------------------------------------------------------------ */

static enum lk_err
retire_run(struct lk_txn *tx, void *arg)
{
    struct ask *a = arg;

    return lk_hub_retire_secondary(a->peer->broker->hub, tx, a->hub, &a->login.check);
}

/* The device is let in whatever came of it: the old key is dropped at the next use otherwise. */
static void
retire_done(void *arg, enum lk_err err)
{
    LK_AUTO(ask) struct ask *a = arg;

    if (err != LK_OK) {
        lk_log(LK_LOG_ERROR, "hub.retire_failed", LK_F_TEXT("hub", a->hub),
               LK_F_TEXT("device_id", a->device_id), LK_F_ERR(err));
    }
    finish(a, LK_OK);
}

static enum lk_err
login_run(struct lk_txn *tx, void *arg)
{
    struct ask *a = arg;

    return lk_hub_login(a->peer->broker->hub, tx, a->hub, a->device_id, a->token, strlen(a->token),
                        lk_txn_now_ms(tx), &a->login);
}

static void
login_done(void *arg, enum lk_err err)
{
    LK_AUTO(ask) struct ask *a = arg;

    if (err == LK_OK && a->login.check.retire_secondary) {
        a->job = (struct lk_job){.run = retire_run, .done = retire_done, .arg = a};
        lk_store_write(a->peer->broker->session, &a->job);
        (void)ask_take(&a);
        return;
    }
    finish(a, err);
}

/* Whose session it is going to be: the plugin has seen the same, and this does not rely on it. */
static const char *
claim_fault(const struct lk_peer *p, const struct lk_plug_msg *m)
{
    struct lk_mqtt_user user;

    if (lk_mqtt_user_parse(m->name, m->name_len, &user) != LK_OK) {
        return "user_name.malformed";
    }
    if (strcmp(user.hub, p->hub) != 0) {
        return "user_name.hub";
    }
    return strcmp(user.device_id, m->device_id) != 0 ? "client_id" : NULL;
}

void
lk_broker_ask(struct lk_peer *p, const struct lk_plug_msg *m)
{
    LK_AUTO(ask) struct ask *a = calloc(1, sizeof(*a));
    const char *fault = claim_fault(p, m);

    if (a == NULL) {
        answer(p, m->device_id, LK_PLUG_UNAVAILABLE, "");
        return;
    }
    memcpy(a->hub, p->hub, sizeof(a->hub));
    memcpy(a->device_id, m->device_id, sizeof(a->device_id));
    if (fault != NULL) {
        refusal_note(p->broker, a, fault);
        answer(p, m->device_id, LK_PLUG_REFUSED, fault);
        return;
    }
    memcpy(a->token, m->secret, m->secret_len);
    a->token[m->secret_len] = '\0';
    a->peer = p;
    p->asking = true;
    p->broker->pending++;
    a->job = (struct lk_job){.run = login_run, .done = login_done, .arg = a};
    lk_store_read(p->broker->session, &a->job);
    (void)ask_take(&a); /* login_done() freed it, or will */
}
