/* The broker's thread: its life, and what turns in it. */
#include <assert.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "broker/broker_int.h"

#define TICK_MS 1000
#define POLL_MS 200 /* between looks for hub events */
#define QUIET_MS 20 /* between looks whether the last work has ended */

/* ---- on the thread --------------------------------------------------------------------------- */

static void
session_ready(void *ctx)
{
    struct lk_broker *b = ctx;

    lk_session_dispatch(b->session);
}

static void
accepted(void *ctx, int fd)
{
    lk_peer_accept((struct lk_broker *)ctx, fd);
}

/* Nobody is connected any more; what is at the store comes back first. */
static void
quiet_wait(struct lk_broker *b)
{
    if (b->pending > 0 || b->peers != NULL) {
        lk_timer_arm(b->tick, QUIET_MS);
        return;
    }
    lk_loop_stop(b->loop);
}

static void
tick(void *ctx)
{
    struct lk_broker *b = ctx;

    atomic_store(&b->turned_ms, lk_clock_mono_ms(&lk_clock_system));
    if (b->draining) {
        quiet_wait(b);
        return;
    }
    lk_peers_look(b);
    lk_broker_refusals_tick(b);
    lk_events_prune(b);
    for (struct lk_line *l = b->lines; l != NULL; l = l->next) {
        lk_c2d_tick(l);
    }
    lk_timer_arm(b->tick, TICK_MS);
}

static void
poll_due(void *ctx)
{
    struct lk_broker *b = ctx;

    if (!b->draining) {
        lk_calls_tick(b);
        lk_events_poll(b);
        lk_timer_arm(b->poll, POLL_MS);
    }
}

static void
drain(void *ctx)
{
    struct lk_broker *b = ctx;
    struct lk_peer *next;

    b->draining = true;
    for (struct lk_peer *p = b->peers; p != NULL; p = next) {
        next = p->next;
        lk_peer_close(p, "the service stops");
    }
    lk_calls_end(b, NULL);
    quiet_wait(b);
}

static void *
thread_main(void *arg)
{
    struct lk_broker *b = arg;
    enum lk_err err;

    tick(b);
    poll_due(b);
    if ((err = lk_loop_run(b->loop)) != LK_OK) {
        lk_log(LK_LOG_ERROR, "broker.failed", LK_F_ERR(err));
    }
    atomic_store(&b->stopped, true);
    return NULL;
}

/* ---- from other threads ---------------------------------------------------------------------- */

struct renewal {
    struct lk_broker *broker;
    struct lk_keyring *ring;
};

static void
renew(void *ctx)
{
    struct renewal *r = ctx;

    lk_hub_core_set_keyring(r->broker->hub, r->ring);
    lk_keyring_free(r->ring);
    free(r);
}

enum lk_err
lk_broker_renew(struct lk_broker *b, struct lk_keyring *ring)
{
    struct renewal *r = malloc(sizeof(*r));
    enum lk_err err;

    if (r == NULL) {
        return LK_ERR_NOMEM;
    }
    *r = (struct renewal){b, lk_keyring_ref(ring)};
    if ((err = lk_loop_post(b->loop, renew, r)) != LK_OK) {
        lk_keyring_free(r->ring);
        free(r);
    }
    return err;
}

enum lk_err
lk_broker_drain(struct lk_broker *b)
{
    atomic_store(&b->closing, true);
    return lk_loop_post(b->loop, drain, b);
}

int64_t
lk_broker_turned_ms(const struct lk_broker *b)
{
    return atomic_load(&b->turned_ms);
}

bool
lk_broker_stopped(const struct lk_broker *b)
{
    return atomic_load(&b->stopped);
}

/* ---- life ------------------------------------------------------------------------------------ */

/* Our own, when there is no such user: then only we and root may connect. */
static uid_t
user_id(const char *name)
{
    const struct passwd *user = getpwnam(name); /* at the start, before other threads ask */

    return user == NULL ? geteuid() : user->pw_uid;
}

static enum lk_err
broker_open(struct lk_broker *b, const struct lk_broker_config *config,
            char error[LK_BROKER_ERROR_CAP])
{
    enum lk_err err;

    b->user_id = user_id(config->user);
    if ((err = lk_loop_new(&b->loop)) != LK_OK ||
        (err = lk_session_open(config->store, &b->session)) != LK_OK ||
        (err = lk_watch_new(b->loop, lk_session_fd(b->session), session_ready, b,
                            &b->session_watch)) != LK_OK ||
        (err = lk_timer_new(b->loop, tick, b, &b->tick)) != LK_OK ||
        (err = lk_timer_new(b->loop, poll_due, b, &b->poll)) != LK_OK ||
        (err = lk_hub_core_new(config->ring, &lk_rand_system, &b->hub)) != LK_OK) {
        return err;
    }
    return lk_lease_init(&b->lease, b->loop, config->socket, accepted, b, error);
}

enum lk_err
lk_broker_new(const struct lk_broker_config *config, char error[LK_BROKER_ERROR_CAP],
              struct lk_broker **ret)
{
    LK_AUTO(lk_broker) struct lk_broker *b = calloc(1, sizeof(*b));
    enum lk_err err;

    if (b == NULL) {
        return LK_ERR_NOMEM;
    }
    b->lease.lock_fd = b->lease.listen_fd = -1;
    atomic_init(&b->stopped, false);
    atomic_init(&b->closing, false);
    atomic_init(&b->turned_ms, lk_clock_mono_ms(&lk_clock_system));
    if ((err = broker_open(b, config, error)) != LK_OK) {
        return err;
    }
    *ret = lk_broker_take(&b);
    return LK_OK;
}

enum lk_err
lk_broker_start(struct lk_broker *b)
{
    if (pthread_create(&b->thread, NULL, thread_main, b) != 0) {
        return LK_ERR_NOMEM;
    }
    b->started = true;
    (void)pthread_setname_np(b->thread, "broker"); /* for people who look at threads */
    return LK_OK;
}

void
lk_broker_free(struct lk_broker *b)
{
    if (b == NULL) {
        return;
    }
    if (b->started) {
        (void)pthread_join(b->thread, NULL); /* cannot fail: joined here only, by another thread */
    }
    assert(b->peers == NULL);
    lk_lease_fini(&b->lease);
    lk_hub_core_drop(&b->hub);
    lk_timer_drop(&b->tick);
    lk_timer_drop(&b->poll);
    lk_watch_drop(&b->session_watch);
    lk_session_drop(&b->session);
    lk_loop_drop(&b->loop);
    free(b);
}
