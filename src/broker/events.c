/* What changed in the store, brought to the sessions that it is for. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/metrics.h"
#include "broker/broker_int.h"

#define JUDGED_IN_A_TURN 64u /* sessions; then it is others' turn */
#define EVENTS_MAX 100u      /* of one look */
#define EVENTS_KEPT 10000    /* what a broker can catch up with, about */
#define PRUNE_EVERY_MS 60000

/* ---- sessions that may have to end ----------------------------------------------------------- */

struct judging {
    struct lk_work work;
    struct lk_broker_session session; /* serial 0: there is none */
    char etag[LK_ETAG_CAP];
    const char *reason;
};

static enum lk_err
judge_run(struct lk_txn *tx, void *arg)
{
    struct judging *j = arg;
    const struct lk_hub_session session = {.hub = j->work.line->hub,
                                           .device_id = j->session.device_id,
                                           .generation_id = j->session.generation_id,
                                           .etag = j->session.etag,
                                           .key_tag = j->session.key_tag};
    struct lk_identity id;

    j->reason = NULL;
    if (j->session.serial == 0) {
        return lk_txn_identity_get(tx, session.hub, session.device_id, &id);
    }
    return lk_hub_session_judge(j->work.line->broker->hub, tx, &session, j->etag, &j->reason);
}

static void judge_next(struct lk_line *l);

static void
session_cut(struct lk_line *l, const struct lk_broker_session *s, uint32_t flags,
            const char *reason)
{
    if (s->serial != 0) {
        lk_metric_add(LK_M_SESSIONS_CUT, 1);
        lk_log(LK_LOG_INFO, "hub.session_cut", LK_F_TEXT("hub", l->hub),
               LK_F_TEXT("device_id", s->device_id), LK_F_TEXT("reason", reason));
    }
    lk_line_kick(l, s->device_id, s->serial, flags, reason);
}

static void
judge_done(struct lk_work *work, enum lk_err err)
{
    struct judging *j = (struct judging *)work;
    struct lk_line *l = work->line;
    struct lk_broker_session *now = lk_line_session(l, j->session.device_id);

    switch (err) {
    case LK_OK:
        if (j->session.serial != 0 && now != NULL && now->serial == j->session.serial) {
            memcpy(now->etag, j->etag, sizeof(now->etag));
        }
        break;
    case LK_ERR_REFUSED:
        session_cut(l, &j->session, 0, j->reason);
        break;
    case LK_ERR_NOT_FOUND:
        session_cut(l, &j->session, LK_PLUG_FORGET, "device.deleted");
        break;
    default:
        lk_log(LK_LOG_ERROR, "hub.judge_failed", LK_F_TEXT("hub", l->hub),
               LK_F_TEXT("device_id", j->session.device_id), LK_F_ERR(err));
        lk_names_put(&l->judge, j->session.device_id);
        break;
    }
    free(j);
    l->judging = false;
    if (err == LK_OK || err == LK_ERR_REFUSED || err == LK_ERR_NOT_FOUND) {
        judge_next(l);
    } /* else the next look at events goes on */
}

static void
judge_goes_on(void *ctx)
{
    struct lk_broker *b = ctx;

    for (struct lk_line *l = b->lines; l != NULL; l = l->next) {
        judge_next(l);
    }
}

static void
judge_next(struct lk_line *l)
{
    char device_id[LK_DEVICE_ID_MAX + 1];
    const struct lk_broker_session *s;
    struct judging *j;

    if (l->judge_turning) { /* a look that ends at once, in lk_line_read(), calls this again */
        return;
    }
    l->judge_turning = true;
    for (unsigned i = 0; !l->judging && l->peer != NULL; i++) {
        if (i == JUDGED_IN_A_TURN) {
            (void)!lk_loop_post(l->broker->loop, judge_goes_on, l->broker); /* else the next poll */
            break;
        }
        if (!lk_names_take(&l->judge, device_id) || (j = calloc(1, sizeof(*j))) == NULL) {
            break;
        }
        s = lk_line_session(l, device_id);
        if (s != NULL) {
            j->session = *s;
        } else {
            memcpy(j->session.device_id, device_id, sizeof(device_id));
        }
        l->judging = true;
        lk_line_read(l, &j->work, judge_run, judge_done);
    }
    l->judge_turning = false;
}

void
lk_line_judge(struct lk_line *l, const char *device_id)
{
    lk_names_put(&l->judge, device_id);
    judge_next(l);
}

/* ---- events ---------------------------------------------------------------------------------- */

struct event {
    struct event *next;
    struct lk_hub_event e;
};

struct looking {
    struct lk_work work;
    int64_t after, last;
    bool begun;
    struct event *first, **end; /* of this hub */
    size_t count;               /* of all hubs */
};

static void
events_drop(struct looking *k)
{
    struct event *next;

    for (struct event *e = k->first; e != NULL; e = next) {
        next = e->next;
        lk_buf_fini(&e->e.detail);
        free(e);
    }
    k->first = NULL;
    k->end = &k->first;
    k->count = 0;
}

static enum lk_err
event_keep(void *ctx, const struct lk_hub_event *e)
{
    struct looking *k = ctx;
    struct event *mine;
    enum lk_err err;

    k->count++;
    k->last = e->seq;
    if (strcmp(e->hub, k->work.line->hub) != 0) {
        return LK_OK;
    }
    if ((mine = calloc(1, sizeof(*mine))) == NULL) {
        return LK_ERR_NOMEM;
    }
    *k->end = mine;
    k->end = &mine->next;
    mine->e = *e;
    mine->e.detail = (struct lk_buf)LK_BUF_INIT;
    err = lk_buf_put(&mine->e.detail, e->detail.data, e->detail.len);
    return err;
}

static enum lk_err
events_run(struct lk_txn *tx, void *arg)
{
    struct looking *k = arg;
    enum lk_err err;

    events_drop(k);
    if ((err = lk_txn_hub_event_last(tx, &k->last)) != LK_OK || k->last <= k->after || !k->begun) {
        return err;
    }
    k->last = k->after;
    return lk_txn_hub_event_each(tx, k->after, EVENTS_MAX, event_keep, k);
}

static void
desired_push(struct lk_line *l, const struct lk_hub_event *e)
{
    LK_AUTO(json) json_t *patch = NULL;
    char topic[96];

    if (lk_json_parse(e->detail.data, e->detail.len, false, NULL, &patch) != LK_OK) {
        return; /* ours, so it does not happen */
    }
    (void)snprintf(topic, sizeof(topic),
                   "$iothub/twin/PATCH/properties/desired/?$version=%" JSON_INTEGER_FORMAT,
                   json_integer_value(json_object_get(patch, "$version")));
    lk_line_push(l, e->device_id, 0, 1u << LK_MQTT_TWIN_DESIRED, topic, e->detail.data,
                 e->detail.len);
}

static void
event_take(struct lk_line *l, const struct lk_hub_event *e)
{
    switch (e->kind) {
    case LK_HUB_EVENT_IDENTITY:
        lk_line_judge(l, e->device_id);
        break;
    case LK_HUB_EVENT_DESIRED:
        desired_push(l, e);
        break;
    case LK_HUB_EVENT_C2D:
        lk_c2d_look(l, e->device_id);
        break;
    }
}

static void events_look(struct lk_line *l);

static void
events_done(struct lk_work *work, enum lk_err err)
{
    struct looking *k = (struct looking *)work;
    struct lk_line *l = work->line;
    const struct lk_plug_msg mark = {.type = LK_PLUG_MARK, .number = (uint64_t)k->last};
    bool more = err == LK_OK && k->count >= EVENTS_MAX;

    l->polling = false;
    if (err != LK_OK && err != LK_ERR_BUSY) {
        lk_log(LK_LOG_ERROR, "hub.events_failed", LK_F_TEXT("hub", l->hub), LK_F_ERR(err));
    }
    if (err == LK_OK && l->peer != NULL && (!l->begun || (uint64_t)k->last != l->mark)) {
        for (const struct event *e = k->first; e != NULL; e = e->next) {
            event_take(l, &e->e);
        }
        l->mark = (uint64_t)k->last;
        l->begun = true;
        lk_peer_send(l->peer, &mark);
    }
    events_drop(k);
    free(k);
    if (more && l->peer != NULL) {
        events_look(l);
    }
}

static void
events_look(struct lk_line *l)
{
    struct looking *k;

    if (!l->ready || l->polling || (k = calloc(1, sizeof(*k))) == NULL) {
        return;
    }
    k->after = (int64_t)l->mark;
    k->begun = l->begun;
    k->end = &k->first;
    l->polling = true;
    lk_line_read(l, &k->work, events_run, events_done);
}

void
lk_events_poll(struct lk_broker *b)
{
    struct lk_line *next;

    for (struct lk_line *l = b->lines; l != NULL; l = next) {
        next = l->next;
        judge_next(l);
        events_look(l);
    }
}

/* ---- old events ------------------------------------------------------------------------------ */

static enum lk_err
prune_run(struct lk_txn *tx, void *arg)
{
    int64_t last;
    enum lk_err err = lk_txn_hub_event_last(tx, &last);

    return err != LK_OK || last <= EVENTS_KEPT ? err
                                               : lk_txn_hub_event_prune(tx, last - EVENTS_KEPT);
}

static void
prune_done(struct lk_work *work, enum lk_err err)
{
    if (err != LK_OK && err != LK_ERR_BUSY) {
        lk_log(LK_LOG_ERROR, "hub.events_prune_failed", LK_F_ERR(err));
    }
    free(work);
}

void
lk_events_prune(struct lk_broker *b)
{
    int64_t now_ms = lk_clock_mono_ms(&lk_clock_system);
    struct lk_work *w;

    if (b->lines == NULL || now_ms - b->pruned_mono_ms < PRUNE_EVERY_MS ||
        (w = calloc(1, sizeof(*w))) == NULL) {
        return;
    }
    b->pruned_mono_ms = now_ms;
    lk_line_write(b->lines, w, prune_run, prune_done);
}
