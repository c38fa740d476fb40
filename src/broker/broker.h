/*
 * The service's side of a hub's broker: a thread of its own that answers whether a device may come
 * in, keeps track of the sessions that brokers carry, and brings them what the hub has for them. A
 * broker reaches it through its plugin, over a local socket (wire/plug.h); each broker is one hub,
 * and each hub has one broker at a time.
 *
 * Of several services with one socket, one holds it, by a lock on a file beside it; the others wait
 * for it to end. So whatever a broker is told comes from one service.
 */
#ifndef LK_BROKER_BROKER_H
#define LK_BROKER_BROKER_H

#include "hub/broker.h"
#include "store/store.h"

struct lk_broker;

struct lk_broker_config {
    const char *socket;      /* path; its folder belongs to whoever may take part */
    const char *user;        /* the brokers' user, who may connect beside our own and root */
    struct lk_store *store;  /* borrowed */
    struct lk_keyring *ring; /* referenced */
};

#define LK_BROKER_ERROR_CAP 320u

/* LK_ERR_IO: the socket's lock cannot be made; error says why. */
LK_MUST_CHECK enum lk_err lk_broker_new(const struct lk_broker_config *config,
                                        char error[LK_BROKER_ERROR_CAP], struct lk_broker **ret);
/* Start the thread. From here on the calls below are the only ones, from any thread. */
LK_MUST_CHECK enum lk_err lk_broker_start(struct lk_broker *b);
/* Take up another keyring, which is referenced. */
LK_MUST_CHECK enum lk_err lk_broker_renew(struct lk_broker *b, struct lk_keyring *ring);
/* Monotonic milliseconds when the loop last turned; it does so every second when it is well. */
int64_t lk_broker_turned_ms(const struct lk_broker *b);
/* What other threads ask of it: direct methods, telemetry that came by HTTPS. Borrows b, which must
 * outlive the loops that ask. */
struct lk_hub_broker lk_broker_hub(struct lk_broker *b);
/* Finish what is under way, then end the thread. Sessions of devices go on in their brokers. */
LK_MUST_CHECK enum lk_err lk_broker_drain(struct lk_broker *b);
bool lk_broker_stopped(const struct lk_broker *b);
/* Joins the thread; it was drained or never started. */
void lk_broker_free(struct lk_broker *b);
LK_DEFINE_AUTO(struct lk_broker, lk_broker, lk_broker_free);

#endif
