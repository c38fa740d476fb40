/*
 * A worker: one event loop in a thread of its own, with its own listening socket (SO_REUSEPORT),
 * its own session of the store, and all that answers a device. Workers share the store's writer,
 * the cache of SRKs, the keyring and the TLS context; nothing else.
 */
#ifndef LK_DAEMON_WORKER_H
#define LK_DAEMON_WORKER_H

#include "daemon/config.h"
#include "hub/broker.h"
#include "link/board.h"
#include "provision/provision.h"

struct lk_worker;

struct lk_worker_config {
    const struct lk_config *config; /* borrowed for the call */
    const char *listen;             /* as lk_config.listen, with a port that is not 0 any more */
    struct lk_store *store;         /* borrowed */
    struct lk_srk_cache *srk_cache; /* borrowed */
    struct lk_hub_board *board;     /* borrowed */
    struct lk_keyring *ring;        /* referenced */
    struct lk_tls *tls;             /* referenced */
    struct lk_hub_broker broker;    /* what it points to is borrowed until lk_worker_free() */
};

#define LK_WORKER_ERROR_CAP 320u

/* Open everything and listen; connections wait until lk_worker_start(). error says what failed. */
LK_MUST_CHECK enum lk_err lk_worker_new(const struct lk_worker_config *config,
                                        char error[LK_WORKER_ERROR_CAP], struct lk_worker **ret);
uint16_t lk_worker_port(const struct lk_worker *w);

/* Start the thread. From here on the calls below are the only ones, from any thread. */
LK_MUST_CHECK enum lk_err lk_worker_start(struct lk_worker *w);

/* Take up another certificate or keyring for what comes from now on; both are referenced. */
LK_MUST_CHECK enum lk_err lk_worker_renew(struct lk_worker *w, struct lk_tls *tls,
                                          struct lk_keyring *ring);

/* Monotonic milliseconds when the loop last turned; it does so every second when it is well. */
int64_t lk_worker_turned_ms(const struct lk_worker *w);

/* Answer what is under way within deadline_ms, then end the thread. */
LK_MUST_CHECK enum lk_err lk_worker_drain(struct lk_worker *w, uint32_t deadline_ms);
/* True once the thread has nothing left to do. */
bool lk_worker_stopped(const struct lk_worker *w);

/* Joins the thread; it was drained or never started. */
void lk_worker_free(struct lk_worker *w);
LK_DEFINE_AUTO(struct lk_worker, lk_worker, lk_worker_free);

#endif
