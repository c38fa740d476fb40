#include "hub/message.h"

#include <stdio.h>
#include <string.h>

/* ---- what a queue holds -----------------------------------------------------------------------
 */

/* The rows of a queue that are done with; at most LK_C2D_QUEUE_MAX. */
struct dead {
    int64_t seq[LK_C2D_QUEUE_MAX];
    size_t count;
};

static bool
is_dead(const struct lk_c2d *m, int64_t now_ms)
{
    bool in_hand = m->locked_until_ms > now_ms; /* until then it can still be settled */

    return !in_hand && (m->expires_ms <= now_ms || m->deliveries >= LK_C2D_DELIVERIES_MAX);
}

static void
dead_note(struct dead *d, int64_t seq)
{
    if (d->count < LK_C2D_QUEUE_MAX) {
        d->seq[d->count++] = seq;
    }
}

static enum lk_err
dead_drop(struct lk_txn *tx, const struct dead *d)
{
    enum lk_err err = LK_OK;

    for (size_t i = 0; i < d->count && err == LK_OK; i++) {
        err = lk_txn_c2d_delete(tx, d->seq[i]);
    }
    return err;
}

static enum lk_err
waiting_event(struct lk_txn *tx, const char *hub, const char *device_id)
{
    struct lk_hub_event e = {.kind = LK_HUB_EVENT_C2D};
    enum lk_err err;

    if ((err = lk_strcpy(e.hub, sizeof(e.hub), hub)) != LK_OK ||
        (err = lk_strcpy(e.device_id, sizeof(e.device_id), device_id)) != LK_OK) {
        return err;
    }
    return lk_txn_hub_event_add(tx, &e);
}

/* ---- send -------------------------------------------------------------------------------------
 */

struct sweep {
    int64_t now_ms;
    struct dead dead;
};

static enum lk_err
dead_find(void *ctx, const struct lk_c2d *m)
{
    struct sweep *s = ctx;

    if (is_dead(m, s->now_ms)) {
        dead_note(&s->dead, m->seq);
    }
    return LK_OK;
}

/* What nobody will have any more gives its place to what is new. */
static enum lk_err
room_make(struct lk_txn *tx, const struct lk_c2d *m)
{
    struct sweep s = {.now_ms = lk_txn_now_ms(tx)};
    uint32_t count;
    enum lk_err err = lk_txn_c2d_count(tx, m->hub, m->device_id, &count);

    if (err != LK_OK || count < LK_C2D_QUEUE_MAX) {
        return err;
    }
    if ((err = lk_txn_c2d_each(tx, m->hub, m->device_id, dead_find, &s)) != LK_OK ||
        (err = dead_drop(tx, &s.dead)) != LK_OK) {
        return err;
    }
    return count - s.dead.count < LK_C2D_QUEUE_MAX ? LK_OK : LK_ERR_LIMIT;
}

enum lk_err
lk_c2d_send(struct lk_txn *tx, struct lk_c2d *m)
{
    int64_t now_ms = lk_txn_now_ms(tx), latest_ms = now_ms + LK_C2D_TTL_MS;
    enum lk_err err;

    if (m->properties.len > LK_C2D_PROPERTIES_MAX ||
        m->body.len > LK_C2D_BODY_MAX - m->properties.len) {
        return LK_ERR_ARG;
    }
    if (m->expires_ms <= 0 || m->expires_ms > latest_ms) {
        m->expires_ms = latest_ms;
    }
    m->locked_until_ms = 0;
    m->lock[0] = '\0';
    m->deliveries = 0;
    if ((err = room_make(tx, m)) != LK_OK || (err = lk_txn_c2d_add(tx, m)) != LK_OK) {
        return err;
    }
    return waiting_event(tx, m->hub, m->device_id);
}

/* ---- take and settle --------------------------------------------------------------------------
 */

struct search {
    int64_t now_ms;
    const char *lock; /* NULL: any that nobody has in hand */
    struct dead dead;
    struct lk_c2d found; /* seq 0: none yet */
};

static enum lk_err
message_copy(const struct lk_c2d *m, struct lk_c2d *ret)
{
    struct lk_buf properties = LK_BUF_INIT, body = LK_BUF_INIT;
    enum lk_err err;

    if ((err = lk_buf_put(&properties, m->properties.data, m->properties.len)) != LK_OK ||
        (err = lk_buf_put(&body, m->body.data, m->body.len)) != LK_OK) {
        lk_buf_fini(&properties);
        return err;
    }
    *ret = *m;
    ret->properties = properties;
    ret->body = body;
    return LK_OK;
}

/* Ends the list with LK_ERR_CANCELLED at the one that is wanted. */
static enum lk_err
message_find(void *ctx, const struct lk_c2d *m)
{
    struct search *s = ctx;
    bool in_hand = m->locked_until_ms > s->now_ms;
    enum lk_err err;

    if (is_dead(m, s->now_ms)) {
        dead_note(&s->dead, m->seq);
        return LK_OK;
    }
    if (s->lock != NULL ? !in_hand || strcmp(m->lock, s->lock) != 0 : in_hand) {
        return LK_OK;
    }
    err = message_copy(m, &s->found);
    return err != LK_OK ? err : LK_ERR_CANCELLED;
}

/* s->found, which the caller finishes, with the dead ones before it dropped. */
static enum lk_err
search_run(struct lk_txn *tx, const char *hub, const char *device_id, struct search *s)
{
    enum lk_err err;

    s->now_ms = lk_txn_now_ms(tx);
    err = lk_txn_c2d_each(tx, hub, device_id, message_find, s);
    if (err != LK_OK && (err != LK_ERR_CANCELLED || s->found.seq == 0)) {
        return err;
    }
    if ((err = dead_drop(tx, &s->dead)) != LK_OK) {
        return err;
    }
    return s->found.seq != 0 ? LK_OK : LK_ERR_NOT_FOUND;
}

/* A version 4 UUID. */
static enum lk_err
lock_make(const struct lk_rand *rnd, char ret[LK_C2D_LOCK_CAP])
{
    uint8_t r[16];
    enum lk_err err = lk_rand_fill(rnd, r, sizeof(r));

    if (err != LK_OK) {
        return err;
    }
    r[6] = (uint8_t)((r[6] & 0x0f) | 0x40);
    r[8] = (uint8_t)((r[8] & 0x3f) | 0x80);
    (void)snprintf(ret, LK_C2D_LOCK_CAP,
                   "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", r[0],
                   r[1], r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12], r[13],
                   r[14], r[15]);
    return LK_OK;
}

enum lk_err
lk_c2d_take(struct lk_txn *tx, const struct lk_rand *rnd, const char *hub, const char *device_id,
            struct lk_c2d *ret)
{
    struct search s = {.lock = NULL};
    enum lk_err err = search_run(tx, hub, device_id, &s);

    if (err == LK_OK && (err = lock_make(rnd, s.found.lock)) == LK_OK) {
        s.found.locked_until_ms = s.now_ms + LK_C2D_LOCK_MS;
        s.found.deliveries++;
        err = lk_txn_c2d_update(tx, &s.found);
    }
    if (err != LK_OK) {
        lk_c2d_fini(&s.found);
        return err;
    }
    lk_c2d_fini(ret);
    *ret = s.found;
    return LK_OK;
}

static enum lk_err
give_back(struct lk_txn *tx, struct lk_c2d *m)
{
    enum lk_err err;

    m->locked_until_ms = 0;
    m->lock[0] = '\0';
    err = lk_txn_c2d_update(tx, m);
    return err != LK_OK ? err : waiting_event(tx, m->hub, m->device_id);
}

enum lk_err
lk_c2d_settle(struct lk_txn *tx, const char *hub, const char *device_id, const char *lock,
              enum lk_c2d_outcome outcome)
{
    struct search s = {.lock = lock};
    enum lk_err err = search_run(tx, hub, device_id, &s);

    if (err == LK_OK) {
        err = outcome == LK_C2D_ABANDON ? give_back(tx, &s.found)
                                        : lk_txn_c2d_delete(tx, s.found.seq);
    }
    lk_c2d_fini(&s.found);
    return err;
}
