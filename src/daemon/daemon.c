#include "daemon/daemon.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"

#define DRAIN_LOOK_MS 20    /* between looks whether everything has ended */
#define DRAIN_EXTRA_MS 5000 /* for the store to finish after the last connection was cut */
#define ADMIN_DRAIN_MS 500
#define ADMIN_CONNECTIONS_MAX 256u
#define WORKERS_MAX 256

/* Descriptors beside the connections of devices: local listener, database, log; of each worker:
 * loop, database, hubs and webhooks that it calls. */
#define FILES_OWN (ADMIN_CONNECTIONS_MAX + 64u)
#define FILES_OF_WORKER 64u
#define CONNECTIONS_MIN 16u

/* ---- the process ----------------------------------------------------------------------------- */

/* No core file and no debugger gets at the keys; as many descriptors as we may have. */
static void
process_harden(void)
{
    struct rlimit none = {0, 0}, files;

    if (setrlimit(RLIMIT_CORE, &none) != 0) {
        lk_log(LK_LOG_WARNING, "process.core_limit_failed", LK_F_TEXT("reason", strerror(errno)));
    }
#ifndef LK_DUMPABLE /* a build with the leak checker, which looks into the process */
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
        lk_log(LK_LOG_WARNING, "process.dumpable_failed", LK_F_TEXT("reason", strerror(errno)));
    }
#endif
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &files) != 0) {
            lk_log(LK_LOG_WARNING, "process.file_limit_failed",
                   LK_F_TEXT("reason", strerror(errno)));
        }
    }
}

/*
 * What the limits leave to each worker's connections. With more of them the descriptors would be
 * gone when they are needed to answer probes, call hubs or read the keyring: a connection too many
 * is better closed at once.
 */
static void
connections_fit(struct lk_config *config, size_t workers_count)
{
    struct rlimit files;
    rlim_t own = FILES_OWN + workers_count * FILES_OF_WORKER, each;

    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur == RLIM_INFINITY) {
        return;
    }
    each = files.rlim_cur > own ? (files.rlim_cur - own) / workers_count : 0;
    each = each > CONNECTIONS_MIN ? each : CONNECTIONS_MIN;
    if (each < config->limits.connections_max) {
        lk_log(LK_LOG_WARNING, "process.few_files", LK_F_INT("files", (int64_t)files.rlim_cur),
               LK_F_INT("connections_max", (int64_t)each),
               LK_F_INT("configured", config->limits.connections_max));
        config->limits.connections_max = (uint32_t)each;
    }
}

/* Signals wait from here until the control loop takes them; threads made meanwhile never do. */
static void
signals_hold(bool hold)
{
    sigset_t set;

    (void)signal(SIGPIPE, SIG_IGN); /* cannot fail for a signal that exists */
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGHUP);
    (void)pthread_sigmask(hold ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

static size_t
workers_wanted(const struct lk_config *config)
{
    cpu_set_t set;
    int cores;

    if (config->workers != 0) {
        return config->workers;
    }
    cores = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
    return (size_t)(cores < 1 ? 1 : cores > WORKERS_MAX ? WORKERS_MAX : cores);
}

/* ---- stopping -------------------------------------------------------------------------------- */

static void
admin_drained(void *ctx)
{
    struct lk_daemon *d = ctx;

    d->admin_drained = true;
}

static bool
workers_stopped(const struct lk_daemon *d)
{
    for (size_t i = 0; i < d->workers_count; i++) {
        if (!lk_worker_stopped(d->workers[i])) {
            return false;
        }
    }
    return d->broker == NULL || lk_broker_stopped(d->broker);
}

/* The probes are answered until the last device was; then the local listener goes. */
static void
drain_look(void *ctx)
{
    struct lk_daemon *d = ctx;

    if (lk_clock_mono_ms(&lk_clock_system) > d->drain_until_mono_ms) {
        lk_log(LK_LOG_ERROR, "service.stop_forced");
        _exit(1); /* what was committed is safe; the rest was answered to nobody */
    }
    if (workers_stopped(d)) {
        if (!d->admin_draining) {
            d->admin_draining = true;
            lk_http_server_free(d->health_server); /* who asked there knows long since */
            d->health_server = NULL;
            lk_daemon_broker_drain(d, ADMIN_DRAIN_MS);
            if (d->admin_server != NULL) {
                lk_http_server_drain(d->admin_server, ADMIN_DRAIN_MS, admin_drained, d);
            }
        }
        if ((d->admin_server == NULL || d->admin_drained) && d->broker_drained &&
            !d->sweep.pending && !d->trim.pending && !d->store_watch.pending &&
            lk_auth_api_pending(d->auth_api) == 0 && lk_admin_api_pending(d->admin_api) == 0) {
            lk_loop_stop(d->loop);
            return;
        }
    }
    lk_timer_arm(d->drain_timer, DRAIN_LOOK_MS);
}

static void
on_stop(void *ctx)
{
    struct lk_daemon *d = ctx;
    enum lk_err err;

    if (d->draining) {
        lk_log(LK_LOG_WARNING, "service.stopped", LK_F_TEXT("reason", "second signal"));
        _exit(1);
    }
    d->draining = true;
    d->drain_until_mono_ms =
        lk_clock_mono_ms(&lk_clock_system) + d->config.drain_ms + DRAIN_EXTRA_MS;
    lk_log(LK_LOG_INFO, "service.stopping", LK_F_INT("drain_ms", d->config.drain_ms));
    (void)sd_notify(0, "STOPPING=1"); /* without systemd there is nobody to tell */
    for (size_t i = 0; i < d->workers_count; i++) {
        err = lk_worker_drain(d->workers[i], d->config.drain_ms);
        if (err != LK_OK) { /* out of memory: the deadline ends it */
            lk_log(LK_LOG_ERROR, "worker.drain_failed", LK_F_ERR(err));
        }
    }
    if (d->broker != NULL && (err = lk_broker_drain(d->broker)) != LK_OK) { /* the same */
        lk_log(LK_LOG_ERROR, "broker.drain_failed", LK_F_ERR(err));
    }
    lk_timer_arm(d->drain_timer, DRAIN_LOOK_MS);
}

static void
on_reload(void *ctx)
{
    struct lk_daemon *d = ctx;

    if (!d->draining) {
        lk_daemon_reload(d);
    }
}

/* ---- starting -------------------------------------------------------------------------------- */

enum lk_err
lk_daemon_open_store(const struct lk_config *config, const struct lk_keyring *ring, bool read_only,
                     char error[LK_DAEMON_ERROR_CAP], struct lk_store **ret)
{
    struct lk_store_config opts = {.url = config->store, .read_only = read_only};
    char why[LK_STORE_ERROR_CAP] = "";
    enum lk_err err;

    lk_keyring_audit_key(ring, opts.audit_key);
    err = lk_store_open(&opts, why, ret);
    lk_wipe(opts.audit_key, sizeof(opts.audit_key));
    if (err != LK_OK) {
        (void)snprintf(error, LK_DAEMON_ERROR_CAP, "store: %s",
                       why[0] == '\0' ? lk_err_text(err) : why);
    }
    return err;
}

/* What the workers share. */
static enum lk_err
shared_open(struct lk_daemon *d, char error[LK_DAEMON_ERROR_CAP])
{
    enum lk_err err;

    if ((err = lk_daemon_load_keyring(&d->config, error, &d->ring_stat, &d->ring)) != LK_OK ||
        (err = lk_daemon_load_tls(&d->config, true, error, &d->tls)) != LK_OK ||
        (err = lk_daemon_open_store(&d->config, d->ring, false, error, &d->store)) != LK_OK) {
        return err;
    }
    if ((err = lk_hub_board_new(&lk_clock_system, d->config.hub_calls_max, &d->board)) != LK_OK) {
        return err;
    }
    return lk_srk_cache_new(&d->srk_cache);
}

/* The address of the other workers, when the first was given any port. */
static void
listen_fix(const struct lk_config *config, uint16_t port, char ret[LK_CONFIG_TEXT_CAP + 8])
{
    const char *colon = strrchr(config->listen, ':');
    size_t host_len = colon == NULL ? 0 : (size_t)(colon - config->listen);

    (void)snprintf(ret, LK_CONFIG_TEXT_CAP + 8, "%.*s:%u", (int)host_len, config->listen, port);
}

static enum lk_err
workers_open(struct lk_daemon *d, char error[LK_DAEMON_ERROR_CAP])
{
    struct lk_worker_config opts = {.config = &d->config,
                                    .listen = d->config.listen,
                                    .store = d->store,
                                    .srk_cache = d->srk_cache,
                                    .board = d->board,
                                    .ring = d->ring,
                                    .tls = d->tls,
                                    .broker = d->broker == NULL
                                                  ? (struct lk_hub_broker){.ops = NULL}
                                                  : lk_broker_hub(d->broker)};
    char listen[LK_CONFIG_TEXT_CAP + 8], why[LK_WORKER_ERROR_CAP] = "";
    size_t wanted = workers_wanted(&d->config);
    enum lk_err err;

    if (d->broker != NULL) {
        opts.broker = lk_broker_hub(d->broker);
    }
    d->workers = calloc(wanted, sizeof(struct lk_worker *));
    if (d->workers == NULL) {
        return LK_ERR_NOMEM;
    }
    while (d->workers_count < wanted) {
        err = lk_worker_new(&opts, why, &d->workers[d->workers_count]);
        if (err != LK_OK) {
            (void)snprintf(error, LK_DAEMON_ERROR_CAP, "%s",
                           why[0] == '\0' ? lk_err_text(err) : why);
            return err;
        }
        if (d->workers_count++ == 0) {
            listen_fix(&d->config, lk_worker_port(d->workers[0]), listen);
            opts.listen = listen;
        }
    }
    return LK_OK;
}

static enum lk_err
broker_open(struct lk_daemon *d, char error[LK_DAEMON_ERROR_CAP])
{
    const struct lk_broker_config opts = {.socket = d->config.mqtt_socket,
                                          .user = d->config.mqtt_user,
                                          .store = d->store,
                                          .ring = d->ring};
    char why[LK_BROKER_ERROR_CAP] = "";
    enum lk_err err;

    if (lk_config_list(d->config.mqtt_socket)[0] == '\0') {
        return LK_OK;
    }
    if ((err = lk_broker_new(&opts, why, &d->broker)) != LK_OK) {
        (void)snprintf(error, LK_DAEMON_ERROR_CAP, "%s", why[0] == '\0' ? lk_err_text(err) : why);
    }
    return err;
}

static void
session_ready(void *ctx)
{
    struct lk_daemon *d = ctx;

    lk_session_dispatch(d->session);
}

static void
status_report(void *ctx, struct lk_service_status *ret)
{
    const struct lk_daemon *d = ctx;

    ret->draining = d->draining;
    ret->workers = (unsigned)d->workers_count;
    ret->workers_stuck = lk_daemon_stuck(d);
    ret->tls_not_after_unix_s = lk_tls_not_after_unix_s(d->tls);
    ret->keyring_keys = lk_keyring_count(d->ring);
    ret->started_unix_ms = d->started_unix_ms;
    ret->reloads = d->reloads;
    ret->reloads_failed = d->reloads_failed;
}

static enum lk_err
hub_metrics(void *ctx, struct lk_buf *ret)
{
    const struct lk_daemon *d = ctx;

    return lk_hub_board_metrics(d->board, ret);
}

/* A plain HTTP listener, unless listen is "none"; key is its name in the configuration. */
static enum lk_err
plain_listen(struct lk_daemon *d, const char *key, const char *listen, struct lk_router *router,
             char error[LK_DAEMON_ERROR_CAP], struct lk_http_server **ret)
{
    struct lk_http_server_config opts = {
        .listen = listen,
        .limits = {.connections_max = ADMIN_CONNECTIONS_MAX,
                   .connections_per_net = ADMIN_CONNECTIONS_MAX},
        .handle = lk_router_handle,
        .ctx = router,
    };
    char why[LK_HTTP_ERROR_CAP] = "";
    enum lk_err err;

    if (lk_config_list(listen)[0] == '\0') {
        return LK_OK;
    }
    if ((err = lk_http_server_new(d->loop, &opts, why, ret)) != LK_OK) {
        (void)snprintf(error, LK_DAEMON_ERROR_CAP, "%s: %s", key,
                       why[0] == '\0' ? lk_err_text(err) : why);
    }
    return err;
}

static enum lk_err
admin_listen(struct lk_daemon *d, char error[LK_DAEMON_ERROR_CAP])
{
    d->admin_surfaces[0] = lk_auth_api_surface(d->auth_api);
    d->admin_surfaces[1] = lk_admin_api_surface(d->admin_api);
    d->admin_router = (struct lk_router){d->admin_surfaces, LK_ARRAY_LEN(d->admin_surfaces)};
    return plain_listen(d, "admin-listen", d->config.admin_listen, &d->admin_router, error,
                        &d->admin_server);
}

static enum lk_err
health_listen(struct lk_daemon *d, char error[LK_DAEMON_ERROR_CAP])
{
    d->health_surface = lk_admin_api_probes(d->admin_api);
    d->health_router = (struct lk_router){&d->health_surface, 1};
    return plain_listen(d, "health-listen", d->config.health_listen, &d->health_router, error,
                        &d->health_server);
}

static enum lk_err
control_open(struct lk_daemon *d, char error[LK_DAEMON_ERROR_CAP])
{
    struct lk_admin_api_config admin = {
        .clock = &lk_clock_system, .status = status_report, .metrics = hub_metrics};
    enum lk_err err;

    if ((err = lk_loop_new(&d->loop)) != LK_OK ||
        (err = lk_watch_signal(d->loop, SIGTERM, on_stop, d, &d->on_term)) != LK_OK ||
        (err = lk_watch_signal(d->loop, SIGINT, on_stop, d, &d->on_int)) != LK_OK ||
        (err = lk_watch_signal(d->loop, SIGHUP, on_reload, d, &d->on_hup)) != LK_OK ||
        (err = lk_timer_new(d->loop, drain_look, d, &d->drain_timer)) != LK_OK ||
        (err = lk_session_open(d->store, &d->session)) != LK_OK ||
        (err = lk_watch_new(d->loop, lk_session_fd(d->session), session_ready, d,
                            &d->session_watch)) != LK_OK ||
        (err = lk_hub_core_new(d->ring, &lk_rand_system, &d->hub)) != LK_OK ||
        (err = lk_auth_api_new(d->session, d->hub, &d->auth_api)) != LK_OK) {
        return err;
    }
    admin.session = d->session;
    admin.ctx = d;
    if ((err = lk_admin_api_new(&admin, &d->admin_api)) != LK_OK ||
        (err = lk_daemon_housekeeping_new(d)) != LK_OK) {
        return err;
    }
    if ((err = admin_listen(d, error)) != LK_OK || (err = health_listen(d, error)) != LK_OK) {
        return err;
    }
    return lk_daemon_broker_open(d, error);
}

static enum lk_err
workers_start(struct lk_daemon *d)
{
    for (size_t i = 0; i < d->workers_count; i++) {
        enum lk_err err = lk_worker_start(d->workers[i]);

        if (err != LK_OK) {
            return err;
        }
    }
    return d->broker == NULL ? LK_OK : lk_broker_start(d->broker);
}

static enum lk_err
daemon_open(struct lk_daemon *d, char error[LK_DAEMON_ERROR_CAP])
{
    enum lk_err err;

    /* The workers' port may be another instance's too, so it comes last: a second instance that the
     * local listener stops has not taken connections from the first. */
    if ((err = shared_open(d, error)) != LK_OK || (err = control_open(d, error)) != LK_OK ||
        (err = broker_open(d, error)) != LK_OK || (err = workers_open(d, error)) != LK_OK) {
        return err;
    }
    return workers_start(d);
}

static void
daemon_close(struct lk_daemon *d)
{
    for (size_t i = 0; i < d->workers_count; i++) {
        lk_worker_free(d->workers[i]);
    }
    free(d->workers);
    lk_broker_drop(&d->broker);
    lk_http_server_drop(&d->admin_server);
    lk_http_server_drop(&d->health_server);
    lk_daemon_broker_close(d);
    lk_admin_api_free(d->admin_api);
    lk_auth_api_free(d->auth_api);
    lk_daemon_housekeeping_free(d);
    lk_hub_core_drop(&d->hub);
    lk_watch_drop(&d->session_watch);
    lk_session_drop(&d->session);
    lk_timer_drop(&d->drain_timer);
    lk_watch_drop(&d->on_term);
    lk_watch_drop(&d->on_int);
    lk_watch_drop(&d->on_hup);
    lk_loop_drop(&d->loop);
    lk_srk_cache_drop(&d->srk_cache);
    lk_hub_board_drop(&d->board);
    lk_store_drop(&d->store);
    lk_tls_drop(&d->tls);
    lk_keyring_drop(&d->ring);
}

static void
started_tell(const struct lk_daemon *d)
{
    lk_log(
        LK_LOG_INFO, "service.started", LK_F_TEXT("version", LK_VERSION),
        LK_F_INT("port", lk_worker_port(d->workers[0])),
        LK_F_INT("admin_port", d->admin_server == NULL ? 0 : lk_http_server_port(d->admin_server)),
        LK_F_INT("health_port",
                 d->health_server == NULL ? 0 : lk_http_server_port(d->health_server)),
        LK_F_INT("broker_port",
                 d->broker_server == NULL ? 0 : lk_http_server_port(d->broker_server)),
        LK_F_INT("workers", (int64_t)d->workers_count),
        LK_F_INT("certificate_expiry", lk_tls_not_after_unix_s(d->tls)),
        LK_F_INT("keyring_keys", (int64_t)lk_keyring_count(d->ring)),
        LK_F_INT("start_ms", lk_clock_unix_ms(&lk_clock_system) - d->started_unix_ms));
    (void)sd_notify(0, "READY=1"); /* without systemd there is nobody to tell */
}

int
lk_daemon_run(const char *config_path)
{
    struct lk_daemon d = {.config_path = config_path,
                          .started_unix_ms = lk_clock_unix_ms(&lk_clock_system)};
    char error[LK_DAEMON_ERROR_CAP] = "";
    enum lk_err err;

    if ((err = lk_config_load(config_path, error, &d.config)) != LK_OK) {
        (void)fprintf(stderr, "latchkeyd: %s\n", error);
        return lk_err_exit_code(err == LK_ERR_NOT_FOUND ? LK_ERR_CONFIG : err);
    }
    lk_log_open(d.config.log_target, STDERR_FILENO);
    lk_log_set_level(d.config.log_level);
    process_harden();
    signals_hold(true);
    connections_fit(&d.config, workers_wanted(&d.config));
    if ((err = daemon_open(&d, error)) == LK_OK) {
        signals_hold(false);
        started_tell(&d);
        err = lk_loop_run(d.loop);
    }
    if (err != LK_OK) {
        lk_log(LK_LOG_ERROR, "service.failed",
               LK_F_TEXT("reason", error[0] == '\0' ? lk_err_text(err) : error), LK_F_ERR(err));
        _exit(lk_err_exit_code(err)); /* threads may run: what is open ends with the process */
    }
    daemon_close(&d);
    lk_log(LK_LOG_INFO, "service.stopped");
    return 0;
}
