/*
 * Cloud-to-device messages (iot-hub.md 5.2). A message stays in the store until the device has it.
 * A plugin is not told of PUBACKs, so that has to be concluded:
 *
 *   - A message is handed to the broker only for a session that is connected and subscribed. The
 *     broker sends it with QoS 1, repeats it when a durable session comes back, and drops it with
 *     a session that ends.
 *   - It is complete when the same session has sent something more than a second later, or when it
 *     is still connected after one and a half times its keep-alive: the broker would have ended a
 *     connection that was silent for so long, so the device has been there after the message was.
 *   - When the session ends before that and is not durable, or the broker itself ends, the message
 *     goes back into the queue and is handed out again.
 *
 * So it comes at least once, and twice at most when something ended in between.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/metrics.h"
#include "broker/broker_int.h"

#define SETTLE_MIN_MS 5000
#define SETTLE_MAX_MS 300000 /* for a device without a keep-alive, or with a very long one */
#define HEARD_AFTER_MS 1000
#define LOCK_SPARE_MS 60000 /* that a lock outlasts the time until it is settled */
#define IN_HAND_MAX 16u     /* messages that one device has not settled */

static int64_t
mono_ms(void)
{
    return lk_clock_mono_ms(&lk_clock_system);
}

static int64_t
settle_ms(const struct lk_broker_session *s)
{
    int64_t ms = (int64_t)s->keep_alive_s * 1500 + SETTLE_MIN_MS;

    return s->keep_alive_s == 0 || ms > SETTLE_MAX_MS ? SETTLE_MAX_MS : ms;
}

static bool
is_open(const struct lk_broker_session *s)
{
    return s != NULL && (s->flags & 1u << LK_MQTT_DEVICEBOUND) != 0 &&
           lk_mqtt_id_has_topics(s->device_id);
}

/* ---- what is in a broker's hands ------------------------------------------------------------- */

struct settling {
    struct lk_work work;
    struct lk_handout *handout; /* owned */
    enum lk_c2d_outcome outcome;
};

static enum lk_err
settle_run(struct lk_txn *tx, void *arg)
{
    const struct settling *s = arg;

    return lk_c2d_settle(tx, s->work.line->hub, s->handout->device_id, s->handout->lock,
                         s->outcome);
}

static void
settle_done(struct lk_work *work, enum lk_err err)
{
    struct settling *s = (struct settling *)work;

    if (err != LK_OK && err != LK_ERR_NOT_FOUND) { /* its lock ends: it comes again */
        lk_log(LK_LOG_ERROR, "hub.settle_failed", LK_F_TEXT("hub", work->line->hub),
               LK_F_TEXT("device_id", s->handout->device_id), LK_F_ERR(err));
    }
    free(s->handout);
    free(s);
}

/* Takes the handout at *at out of the list. */
static void
settle(struct lk_line *l, struct lk_handout **at, enum lk_c2d_outcome outcome)
{
    struct lk_handout *h = *at;
    struct settling *s = calloc(1, sizeof(*s));

    *at = h->next;
    if (s == NULL) {
        free(h); /* its lock ends: it comes again */
        return;
    }
    s->handout = h;
    s->outcome = outcome;
    lk_line_write(l, &s->work, settle_run, settle_done);
}

/* Settle what device_id (NULL: anyone) was handed before that time. */
static void
settle_all(struct lk_line *l, const char *device_id, int64_t before_mono_ms,
           enum lk_c2d_outcome outcome)
{
    struct lk_handout **at = &l->handouts;

    while (*at != NULL) {
        if ((device_id == NULL || strcmp((*at)->device_id, device_id) == 0) &&
            (*at)->handed_mono_ms <= before_mono_ms) {
            settle(l, at, outcome);
        } else {
            at = &(*at)->next;
        }
    }
}

static size_t
in_hand(const struct lk_line *l, const char *device_id)
{
    size_t count = 0;

    for (const struct lk_handout *h = l->handouts; h != NULL; h = h->next) {
        count += strcmp(h->device_id, device_id) == 0;
    }
    return count;
}

/* ---- handing out ----------------------------------------------------------------------------- */

struct taking {
    struct lk_work work;
    char device_id[LK_DEVICE_ID_MAX + 1];
    uint64_t serial;
    int64_t lock_ms;
    uint32_t count;
    struct lk_c2d message;
};

static void deliver_next(struct lk_line *l);

static void
taking_free(struct taking *t)
{
    lk_c2d_fini(&t->message);
    free(t);
}

static enum lk_err
count_run(struct lk_txn *tx, void *arg)
{
    struct taking *t = arg;

    return lk_txn_c2d_count(tx, t->work.line->hub, t->device_id, &t->count);
}

static enum lk_err
take_run(struct lk_txn *tx, void *arg)
{
    struct taking *t = arg;
    enum lk_err err =
        lk_c2d_take(tx, &lk_rand_system, t->work.line->hub, t->device_id, &t->message);

    if (err == LK_ERR_NOT_FOUND) { /* dead ones may have been dropped on the way */
        t->message.seq = 0;
        return LK_OK;
    }
    if (err != LK_OK) {
        return err;
    }
    t->message.locked_until_ms = lk_txn_now_ms(tx) + t->lock_ms;
    return lk_txn_c2d_update(tx, &t->message);
}

/* NULL when memory is out: its lock ends, and it comes again. */
static struct lk_handout *
handout_new(const struct taking *t)
{
    struct lk_handout *h = calloc(1, sizeof(*h));

    if (h != NULL) {
        memcpy(h->device_id, t->device_id, sizeof(h->device_id));
        memcpy(h->lock, t->message.lock, sizeof(h->lock));
        h->handed_mono_ms = mono_ms();
        h->settle_mono_ms = h->handed_mono_ms + t->lock_ms - LOCK_SPARE_MS;
    }
    return h;
}

static enum lk_err
topic_make(const char *device_id, const struct lk_c2d *m, struct lk_buf *ret)
{
    enum lk_err err = lk_buf_printf(ret, "devices/%s/messages/devicebound/", device_id);

    return err != LK_OK ? err : lk_buf_put(ret, m->properties.data, m->properties.len);
}

static void
hand_out(struct lk_line *l, const struct taking *t)
{
    LK_AUTO_BUF struct lk_buf topic = LK_BUF_INIT;
    const struct lk_broker_session *s = lk_line_session(l, t->device_id);
    struct lk_handout *h = handout_new(t);

    if (h == NULL) {
        return;
    }
    if (!is_open(s) || s->serial != t->serial || l->peer == NULL ||
        topic_make(t->device_id, &t->message, &topic) != LK_OK || lk_buf_text(&topic) == NULL) {
        settle(l, &h, LK_C2D_ABANDON);
        return;
    }
    h->next = l->handouts;
    l->handouts = h;
    lk_metric_add(LK_M_SENT_C2D, 1);
    lk_line_push(l, t->device_id, t->serial,
                 1u << LK_MQTT_DEVICEBOUND | LK_PLUG_QOS1 | LK_PLUG_TELL, lk_buf_text(&topic),
                 t->message.body.data, t->message.body.len);
}

static void
take_done(struct lk_work *work, enum lk_err err)
{
    struct taking *t = (struct taking *)work;
    struct lk_line *l = work->line;

    l->delivering = false;
    if (err == LK_OK && t->message.seq != 0) {
        lk_names_put(&l->deliver, t->device_id); /* there may be more */
        hand_out(l, t);
    } else if (err != LK_OK) {
        lk_log(LK_LOG_ERROR, "hub.deliver_failed", LK_F_TEXT("hub", l->hub),
               LK_F_TEXT("device_id", t->device_id), LK_F_ERR(err));
    }
    taking_free(t);
    deliver_next(l);
}

static void
count_done(struct lk_work *work, enum lk_err err)
{
    struct taking *t = (struct taking *)work;
    struct lk_line *l = work->line;

    if (err == LK_OK && t->count > 0) {
        lk_line_write(l, work, take_run, take_done);
        return;
    }
    l->delivering = false;
    taking_free(t);
    deliver_next(l);
}

static void
deliver_next(struct lk_line *l)
{
    char device_id[LK_DEVICE_ID_MAX + 1];
    const struct lk_broker_session *s;
    struct taking *t;

    if (l->deliver_turning) { /* a look that ends at once, in lk_line_read(), calls this again */
        return;
    }
    l->deliver_turning = true;
    while (!l->delivering && l->peer != NULL && lk_names_take(&l->deliver, device_id)) {
        s = lk_line_session(l, device_id);
        if (!is_open(s) || in_hand(l, device_id) >= IN_HAND_MAX ||
            (t = calloc(1, sizeof(*t))) == NULL) {
            continue;
        }
        memcpy(t->device_id, device_id, sizeof(device_id));
        t->serial = s->serial;
        t->lock_ms = settle_ms(s) + LOCK_SPARE_MS;
        l->delivering = true;
        lk_line_read(l, &t->work, count_run, count_done);
    }
    l->deliver_turning = false;
}

void
lk_c2d_look(struct lk_line *l, const char *device_id)
{
    if (is_open(lk_line_session(l, device_id))) {
        lk_names_put(&l->deliver, device_id);
        deliver_next(l);
    }
}

/* ---- what becomes of sessions ---------------------------------------------------------------- */

void
lk_c2d_came(struct lk_line *l, const struct lk_broker_session *s)
{
    if ((s->flags & LK_PLUG_RESUMED) == 0) {
        settle_all(l, s->device_id, INT64_MAX, LK_C2D_ABANDON);
    }
    for (struct lk_handout *h = l->handouts; h != NULL; h = h->next) {
        if (strcmp(h->device_id, s->device_id) == 0) { /* the broker sends it once more */
            h->handed_mono_ms = mono_ms();
            h->settle_mono_ms = h->handed_mono_ms + settle_ms(s);
        }
    }
    lk_c2d_look(l, s->device_id);
}

void
lk_c2d_gone(struct lk_line *l, const struct lk_broker_session *s)
{
    if ((s->flags & LK_PLUG_DURABLE) == 0) {
        settle_all(l, s->device_id, INT64_MAX, LK_C2D_ABANDON);
    }
}

void
lk_c2d_heard(struct lk_line *l, const struct lk_broker_session *s)
{
    settle_all(l, s->device_id, mono_ms() - HEARD_AFTER_MS, LK_C2D_COMPLETE);
    lk_c2d_look(l, s->device_id);
}

void
lk_c2d_tick(struct lk_line *l)
{
    struct lk_handout **at = &l->handouts;
    int64_t now_ms = mono_ms();

    while (*at != NULL) {
        struct lk_handout *h = *at;

        if (h->settle_mono_ms > now_ms || lk_line_session(l, h->device_id) == NULL) {
            at = &h->next;
            continue;
        }
        lk_names_put(&l->deliver, h->device_id);
        settle(l, at, LK_C2D_COMPLETE);
    }
    deliver_next(l);
}

void
lk_c2d_close(struct lk_line *l, bool stopping)
{
    if (!stopping) {
        settle_all(l, NULL, INT64_MAX, LK_C2D_ABANDON);
        return;
    }
    /* The broker goes on with what it has; of that, the older part counts as delivered. */
    settle_all(l, NULL, mono_ms() - SETTLE_MIN_MS, LK_C2D_COMPLETE);
    while (l->handouts != NULL) {
        struct lk_handout *h = l->handouts;

        l->handouts = h->next;
        free(h);
    }
}
