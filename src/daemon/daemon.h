/*
 * The service as a process: what it is made of, how it starts, is reloaded, watched and stopped.
 * The main thread runs a control loop: signals, timers and the local listener; devices are served
 * by the workers. Only src/daemon includes this.
 */
#ifndef LK_DAEMON_DAEMON_H
#define LK_DAEMON_DAEMON_H

#include <sys/stat.h>

#include "api/api.h"
#include "broker/broker.h"
#include "daemon/worker.h"
#include "net/loop.h"

#define LK_STUCK_MS 10000 /* a loop that has not turned for this long is stuck */

/* Drops what an import left behind that was cut off (housekeeping.c). */
struct lk_sweep {
    struct lk_job job;
    struct lk_timer *timer;
    bool pending;
    int64_t import_id; /* being dropped; 0: look for one */
    int64_t next_id;   /* what the step worked on */
    bool more;         /* and left rows of */
};

/* Dropping old events of hubs: the same. */
struct lk_trim {
    struct lk_job job;
    struct lk_timer *timer;
    bool pending;
    bool more;
};

/* Whether the database takes writes (watch.c). */
struct lk_store_watch {
    struct lk_job job;
    bool pending, failing;
    int64_t since_mono_ms;
    uint64_t seen; /* lk_store_failed() */
};

struct lk_daemon {
    const char *config_path;
    struct lk_config config; /* in force: what needs a restart is as it was at the start */
    int64_t started_unix_ms;

    struct lk_keyring *ring;
    struct stat ring_stat;         /* of the keyring's file that is in use */
    struct stat ring_refused_stat; /* of the one that was last found unfit */
    struct lk_tls *tls;
    struct lk_store *store;
    struct lk_srk_cache *srk_cache;
    struct lk_hub_board *board; /* of hubs elsewhere */

    struct lk_worker **workers; /* workers_count of them */
    size_t workers_count;
    struct lk_broker *broker; /* NULL when switched off */

    /* The control loop. */
    struct lk_loop *loop;
    struct lk_session *session;
    struct lk_watch *session_watch, *on_term, *on_int, *on_hup;
    struct lk_timer *tick, *drain_timer;
    struct lk_hub_core *hub;
    struct lk_auth_api *auth_api;
    struct lk_admin_api *admin_api;
    struct lk_surface admin_surfaces[2];
    struct lk_router admin_router;
    struct lk_http_server *admin_server; /* NULL when switched off */
    struct lk_surface health_surface;
    struct lk_router health_router;
    struct lk_http_server *health_server; /* NULL when switched off */
    struct lk_auth_gate *broker_gate;
    struct lk_surface broker_surface;
    struct lk_router broker_router;
    struct lk_http_server *broker_server; /* NULL when switched off */
    struct lk_sweep sweep;
    struct lk_trim trim;
    struct lk_store_watch store_watch;
    int64_t clock_ahead_ms; /* of the monotonic clock, at the last look */
    unsigned ticks;

    bool draining, admin_draining, admin_drained, broker_drained;
    int64_t drain_until_mono_ms; /* then what is left is cut */
    uint64_t reloads, reloads_failed;
};

/* Serve until a signal ends it: the exit code of the process. */
int lk_daemon_run(const char *config_path);

/* Say what is wrong with a configuration and everything that it names: an exit code. */
int lk_daemon_check(const char *config_path);

/* ---- reload.c ---- */

/*
 * Load the keyring and the certificate. error says what failed. any_dates: a certificate that is
 * out of date is logged and taken. A service that would not start with it could not be told from
 * one that is gone, also where only the machine's clock is wrong; its hubs and operators need it.
 */
#define LK_DAEMON_ERROR_CAP 640u
LK_MUST_CHECK enum lk_err lk_daemon_load_tls(const struct lk_config *config, bool any_dates,
                                             char error[LK_DAEMON_ERROR_CAP], struct lk_tls **ret);
LK_MUST_CHECK enum lk_err lk_daemon_load_keyring(const struct lk_config *config,
                                                 char error[LK_DAEMON_ERROR_CAP],
                                                 struct stat *ret_stat, struct lk_keyring **ret);

/* SIGHUP: read everything aside; take it whole, or keep everything that is in force. */
void lk_daemon_reload(struct lk_daemon *d);

/* Load the keyring again when its file has changed. */
void lk_daemon_keyring_watch(struct lk_daemon *d);

/* ---- housekeeping.c ---- */

LK_MUST_CHECK enum lk_err lk_daemon_housekeeping_new(struct lk_daemon *d);
void lk_daemon_housekeeping_free(struct lk_daemon *d);
/* How many loops do not turn. */
unsigned lk_daemon_stuck(const struct lk_daemon *d);

/* ---- watch.c ---- */

/* Every second. */
void lk_daemon_watch(struct lk_daemon *d);

/* ---- broker_listen.c ---- */

/* Listen for brokers, unless that is switched off. error says what failed. */
LK_MUST_CHECK enum lk_err lk_daemon_broker_open(struct lk_daemon *d,
                                                char error[LK_DAEMON_ERROR_CAP]);
/* Take no more; broker_drained is set once the last question was answered. */
void lk_daemon_broker_drain(struct lk_daemon *d, uint32_t deadline_ms);
void lk_daemon_broker_close(struct lk_daemon *d);
/* The secret that they have to know, without its line end. error says what is wrong with it. */
LK_MUST_CHECK enum lk_err lk_daemon_load_broker_secret(const struct lk_config *config,
                                                       char error[LK_DAEMON_ERROR_CAP],
                                                       struct lk_buf *ret);

/* ---- store access that check and daemon share ---- */

LK_MUST_CHECK enum lk_err lk_daemon_open_store(const struct lk_config *config,
                                               const struct lk_keyring *ring, bool read_only,
                                               char error[LK_DAEMON_ERROR_CAP],
                                               struct lk_store **ret);

#endif
