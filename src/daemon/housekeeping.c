/* What the control loop does by the clock: heartbeats, the keyring's file, abandoned imports, old
 * events of hubs. */
#include <systemd/sd-daemon.h>

#include "base/log.h"
#include "daemon/daemon.h"
#include "hub/hub.h"
#include "provision/import.h"

#define TICK_MS 1000
#define KEYRING_TICKS 5 /* well within LK_KEYRING_GRACE_MS, in which every instance must see it */

#define SWEEP_FIRST_MS 10000
#define SWEEP_EVERY_MS 600000
#define SWEEP_NEXT_MS 100 /* between the steps of one sweep, so that devices go first */
#define SWEEP_ROWS 500u   /* of one step */

#define TRIM_FIRST_MS 20000
#define TRIM_EVERY_MS 60000
#define TRIM_ROWS 2000 /* of one step; steps follow each other as those of a sweep */

unsigned
lk_daemon_stuck(const struct lk_daemon *d)
{
    int64_t now = lk_clock_mono_ms(&lk_clock_system);
    unsigned stuck = 0;

    for (size_t i = 0; i < d->workers_count; i++) {
        if (now - lk_worker_turned_ms(d->workers[i]) > LK_STUCK_MS) {
            stuck++;
        }
    }
    if (d->broker != NULL && now - lk_broker_turned_ms(d->broker) > LK_STUCK_MS) {
        stuck++;
    }
    return stuck;
}

static void
tick(void *ctx)
{
    struct lk_daemon *d = ctx;

    d->ticks++;
    if (lk_daemon_stuck(d) == 0) {
        (void)sd_notify(0, "WATCHDOG=1"); /* without systemd there is nobody to tell */
    }
    if (d->ticks % KEYRING_TICKS == 0 && !d->draining) {
        lk_daemon_keyring_watch(d);
    }
    lk_daemon_watch(d);
    lk_auth_api_tick(d->auth_api);
    if (d->broker_gate != NULL) {
        lk_auth_gate_tick(d->broker_gate);
    }
    lk_timer_arm(d->tick, TICK_MS);
}

/* ---- abandoned imports ----------------------------------------------------------------------- */

/* One step: find a dead import unless one is being dropped already, and drop some of its rows. */
static enum lk_err
sweep_run(struct lk_txn *tx, void *arg)
{
    struct lk_sweep *s = arg;
    enum lk_err err = LK_OK;

    s->next_id = s->import_id;
    s->more = false;
    if (s->next_id == 0) {
        err = lk_txn_import_abandoned(tx, lk_txn_now_ms(tx) - LK_IMPORT_IDLE_MS, &s->next_id);
    }
    if (err == LK_OK) {
        err = lk_txn_import_drop(tx, s->next_id, SWEEP_ROWS, &s->more);
    }
    return err;
}

/* LK_ERR_NOT_FOUND: there is none, or another instance dropped the last of it. */
static void
sweep_done(void *arg, enum lk_err err)
{
    struct lk_sweep *s = arg;

    s->pending = false;
    s->import_id = err == LK_OK && s->more ? s->next_id : 0;
    if (err != LK_OK && err != LK_ERR_NOT_FOUND) {
        lk_log(LK_LOG_WARNING, "import.sweep_failed", LK_F_ERR(err));
    }
    if (err == LK_OK && !s->more) {
        lk_log(LK_LOG_INFO, "import.dropped", LK_F_INT("import", s->next_id));
    }
    lk_timer_arm(s->timer, err == LK_OK ? SWEEP_NEXT_MS : SWEEP_EVERY_MS);
}

static void
sweep(void *ctx)
{
    struct lk_daemon *d = ctx;
    struct lk_sweep *s = &d->sweep;

    if (d->draining) {
        return;
    }
    s->job = (struct lk_job){.run = sweep_run, .done = sweep_done, .arg = s};
    s->pending = true;
    lk_store_write(d->session, &s->job);
}

/* ---- old events of hubs ---------------------------------------------------------------------- */

static enum lk_err
trim_run(struct lk_txn *tx, void *arg)
{
    struct lk_trim *t = arg;

    return lk_hub_events_trim(tx, LK_HUB_EVENTS_KEPT, TRIM_ROWS, &t->more);
}

static void
trim_done(void *arg, enum lk_err err)
{
    struct lk_trim *t = arg;

    t->pending = false;
    if (err != LK_OK) {
        lk_log(LK_LOG_WARNING, "hub.events_trim_failed", LK_F_ERR(err));
    }
    lk_timer_arm(t->timer, err == LK_OK && t->more ? SWEEP_NEXT_MS : TRIM_EVERY_MS);
}

static void
trim(void *ctx)
{
    struct lk_daemon *d = ctx;
    struct lk_trim *t = &d->trim;

    if (d->draining) {
        return;
    }
    t->job = (struct lk_job){.run = trim_run, .done = trim_done, .arg = t};
    t->pending = true;
    lk_store_write(d->session, &t->job);
}

enum lk_err
lk_daemon_housekeeping_new(struct lk_daemon *d)
{
    enum lk_err err;

    if ((err = lk_timer_new(d->loop, tick, d, &d->tick)) != LK_OK ||
        (err = lk_timer_new(d->loop, sweep, d, &d->sweep.timer)) != LK_OK ||
        (err = lk_timer_new(d->loop, trim, d, &d->trim.timer)) != LK_OK) {
        return err;
    }
    lk_daemon_watch(d); /* what the clock is now */
    lk_timer_arm(d->trim.timer, TRIM_FIRST_MS);
    lk_timer_arm(d->tick, TICK_MS);
    lk_timer_arm(d->sweep.timer, SWEEP_FIRST_MS);
    return LK_OK;
}

void
lk_daemon_housekeeping_free(struct lk_daemon *d)
{
    lk_timer_drop(&d->tick);
    lk_timer_drop(&d->sweep.timer);
    lk_timer_drop(&d->trim.timer);
}
