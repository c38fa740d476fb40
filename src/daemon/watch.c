/*
 * What an operator has to hear of, looked for every second and told once: a database that fails and
 * is well again, a clock that jumps.
 */
#include "base/log.h"
#include "daemon/daemon.h"

/* Seconds between looks whether a database that failed takes writes again. */
#define PROBE_TICKS 2

/* More than a clock that is being corrected little by little, or a busy loop. */
#define JUMP_MS 5000

/* ---- the database ---------------------------------------------------------------------------- */

static enum lk_err
probe_run(struct lk_txn *tx, void *arg)
{
    return lk_txn_probe(tx);
}

static void
probe_done(void *arg, enum lk_err err)
{
    struct lk_store_watch *w = arg;

    w->pending = false;
    if (err == LK_OK) {
        w->failing = false;
        lk_log(LK_LOG_WARNING, "store.recovered",
               LK_F_INT("seconds", (lk_clock_mono_ms(&lk_clock_system) - w->since_mono_ms) / 1000));
    }
}

/* The first failure is told, with the database's own words; those that follow are the same story.
 */
static void
store_look(struct lk_daemon *d)
{
    struct lk_store_watch *w = &d->store_watch;
    char words[LK_STORE_ERROR_CAP];
    bool failed = lk_store_failed(d->store, &w->seen, words);

    if (failed && !w->failing) {
        w->failing = true;
        w->since_mono_ms = lk_clock_mono_ms(&lk_clock_system);
        lk_log(LK_LOG_ERROR, "store.failing", LK_F_TEXT("reason", words));
    }
    if (w->failing && !w->pending && !d->draining && d->ticks % PROBE_TICKS == 0) {
        w->job = (struct lk_job){.run = probe_run, .done = probe_done, .arg = w};
        w->pending = true;
        lk_store_write(d->session, &w->job);
    }
}

/* ---- the clock ------------------------------------------------------------------------------- */

static void
clock_look(struct lk_daemon *d)
{
    int64_t unix_ms = lk_clock_unix_ms(&lk_clock_system);
    int64_t ahead_ms = unix_ms - lk_clock_mono_ms(&lk_clock_system);
    int64_t jump_ms = ahead_ms - d->clock_ahead_ms;

    if (d->ticks > 0 && (jump_ms > JUMP_MS || jump_ms < -JUMP_MS)) {
        lk_log(LK_LOG_WARNING, "clock.jumped", LK_F_INT("seconds", jump_ms / 1000));
    }
    d->clock_ahead_ms = ahead_ms;
}

void
lk_daemon_watch(struct lk_daemon *d)
{
    store_look(d);
    clock_look(d);
}
