#include "daemon/worker.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/api.h"
#include "api/webhook.h"
#include "base/log.h"
#include "link/link.h"
#include "net/loop.h"

#define TICK_MS 1000
#define QUIET_MS 10 /* between looks whether the last work has ended */

struct lk_worker {
    struct lk_loop *loop;
    struct lk_session *session;
    struct lk_watch *session_watch;
    struct lk_hub_core *hub;
    struct lk_allow *webhook_allow; /* these three NULL: no webhook is called */
    struct lk_client *client;
    struct lk_webhooks *webhooks;
    struct lk_client *hub_client;
    struct lk_allow *hub_allow; /* where hubs may be that were linked over the network */
    struct lk_client *limited_client;
    struct lk_hub_http *hubs_elsewhere;
    struct lk_regions *regions;
    struct lk_provision *provision;
    struct lk_device_api *device_api;
    struct lk_service_api *service_api;
    struct lk_hub_api *hub_api;
    struct lk_surface surfaces[3];
    struct lk_router router;
    struct lk_http_server *server;
    struct lk_timer *tick, *quiet;
    uint32_t drain_ms;
    pthread_t thread;
    bool started;
    atomic_bool stopped;
    _Atomic int64_t turned_ms;
};

/* ---- on the worker's thread ------------------------------------------------------------------ */

static void
session_ready(void *ctx)
{
    struct lk_worker *w = ctx;

    lk_session_dispatch(w->session);
}

static void
tick(void *ctx)
{
    struct lk_worker *w = ctx;

    atomic_store(&w->turned_ms, lk_clock_mono_ms(&lk_clock_system));
    lk_device_api_tick(w->device_api);
    lk_service_api_tick(w->service_api);
    lk_provision_tick(w->provision);
    lk_hub_api_tick(w->hub_api);
    lk_timer_arm(w->tick, TICK_MS);
}

/* No connection is left; work that answers nobody may still be under way. */
static void
quiet_wait(void *ctx)
{
    struct lk_worker *w = ctx;

    if (lk_provision_pending(w->provision) > 0 || lk_service_api_pending(w->service_api) > 0 ||
        lk_hub_api_pending(w->hub_api) > 0) {
        lk_timer_arm(w->quiet, QUIET_MS);
        return;
    }
    lk_loop_stop(w->loop);
}

static void
drain(void *ctx)
{
    struct lk_worker *w = ctx;

    lk_provision_stop(w->provision);
    lk_http_server_drain(w->server, w->drain_ms, quiet_wait, w);
}

static void *
thread_main(void *arg)
{
    struct lk_worker *w = arg;
    enum lk_err err;

    tick(w);
    if ((err = lk_loop_run(w->loop)) != LK_OK) {
        lk_log(LK_LOG_ERROR, "worker.failed", LK_F_ERR(err));
    }
    atomic_store(&w->stopped, true);
    return NULL;
}

/* ---- from other threads ---------------------------------------------------------------------- */

struct renewal {
    struct lk_worker *worker;
    struct lk_tls *tls;
    struct lk_keyring *ring;
};

static void
renew(void *ctx)
{
    struct renewal *r = ctx;

    lk_http_server_set_tls(r->worker->server, r->tls);
    lk_provision_set_keyring(r->worker->provision, r->ring);
    lk_hub_core_set_keyring(r->worker->hub, r->ring);
    lk_hub_http_set_keyring(r->worker->hubs_elsewhere, r->ring);
    lk_service_api_set_keyring(r->worker->service_api, r->ring);
    lk_hub_api_set_keyring(r->worker->hub_api, r->ring);
    lk_tls_free(r->tls);
    lk_keyring_free(r->ring);
    free(r);
}

enum lk_err
lk_worker_renew(struct lk_worker *w, struct lk_tls *tls, struct lk_keyring *ring)
{
    struct renewal *r = malloc(sizeof(*r));
    enum lk_err err;

    if (r == NULL) {
        return LK_ERR_NOMEM;
    }
    *r = (struct renewal){w, lk_tls_ref(tls), lk_keyring_ref(ring)};
    if ((err = lk_loop_post(w->loop, renew, r)) != LK_OK) {
        lk_tls_free(r->tls);
        lk_keyring_free(r->ring);
        free(r);
    }
    return err;
}

enum lk_err
lk_worker_drain(struct lk_worker *w, uint32_t deadline_ms)
{
    w->drain_ms = deadline_ms; /* the post makes it visible there */
    return lk_loop_post(w->loop, drain, w);
}

int64_t
lk_worker_turned_ms(const struct lk_worker *w)
{
    return atomic_load(&w->turned_ms);
}

bool
lk_worker_stopped(const struct lk_worker *w)
{
    return atomic_load(&w->stopped);
}

uint16_t
lk_worker_port(const struct lk_worker *w)
{
    return lk_http_server_port(w->server);
}

/* ---- life ------------------------------------------------------------------------------------ */

/* Without a list of where they may be, no webhook is called. */
static enum lk_err
webhooks_open(struct lk_worker *w, const struct lk_config *c, char error[LK_WORKER_ERROR_CAP],
              struct lk_webhook *ret)
{
    const char *list = lk_config_list(c->webhook_allow), *ca = lk_config_list(c->webhook_ca);
    struct lk_client_config opts = {.ca_file = ca[0] == '\0' ? NULL : ca};
    enum lk_err err;

    if (list[0] == '\0') {
        return LK_OK;
    }
    if ((err = lk_allow_parse(list, NULL, &w->webhook_allow)) != LK_OK) {
        return err;
    }
    opts.allow = w->webhook_allow;
    if ((err = lk_client_new(w->loop, &opts, &w->client)) == LK_ERR_IO) {
        (void)snprintf(error, LK_WORKER_ERROR_CAP, "webhook-ca: cannot read %.255s", ca);
    }
    if (err != LK_OK || (err = lk_webhooks_new(w->loop, w->client, &w->webhooks)) != LK_OK) {
        return err;
    }
    *ret = lk_webhooks_link(w->webhooks);
    return LK_OK;
}

/* Hubs that were linked over the network are called where a list of this machine says, if at all.
 */
static enum lk_err
limited_open(struct lk_worker *w, const char *list, const struct lk_client_config *client)
{
    struct lk_client_config opts = *client;
    enum lk_err err;

    if ((err = lk_allow_parse(list, NULL, &w->hub_allow)) != LK_OK) {
        return err;
    }
    opts.allow = w->hub_allow; /* an empty list allows nothing */
    return lk_client_new(w->loop, &opts, &w->limited_client);
}

/* Hubs that were named on this machine may be anywhere. */
static enum lk_err
hubs_open(struct lk_worker *w, const struct lk_worker_config *config,
          char error[LK_WORKER_ERROR_CAP], struct lk_hub_link *ret)
{
    const char *ca = lk_config_list(config->config->hub_ca_file);
    struct lk_client_config client = {.ca_file = ca[0] == '\0' ? NULL : ca,
                                      .total_ms = config->config->hub_call_ms,
                                      .running_per_host = config->config->hub_calls_max,
                                      .answer_max = LK_HUB_ANSWER_MAX};
    struct lk_hub_http_config opts = {
        .board = config->board, .clock = &lk_clock_system, .keyring = config->ring};
    enum lk_err err = lk_client_new(w->loop, &client, &w->hub_client);

    if (err == LK_ERR_IO) {
        (void)snprintf(error, LK_WORKER_ERROR_CAP, "hub-ca-file: cannot read %.255s", ca);
    }
    if (err == LK_OK) {
        err = limited_open(w, lk_config_list(config->config->hub_allow), &client);
    }
    opts.client = w->hub_client;
    opts.limited = w->limited_client;
    if (err != LK_OK || (err = lk_hub_http_new(&opts, &w->hubs_elsewhere)) != LK_OK) {
        return err;
    }
    *ret = lk_hub_http_link(w->hubs_elsewhere);
    return LK_OK;
}

static enum lk_err
regions_open(struct lk_worker *w, const struct lk_config *c)
{
    return lk_regions_parse(lk_config_list(c->client_regions), lk_config_list(c->region), NULL,
                            &w->regions);
}

static enum lk_err
provision_open(struct lk_worker *w, const struct lk_worker_config *config,
               char error[LK_WORKER_ERROR_CAP])
{
    struct lk_provision_config opts = {
        .session = w->session,
        .clock = &lk_clock_system,
        .rnd = &lk_rand_system,
        .keyring = config->ring,
        .srk_cache = config->srk_cache,
        .epoch_s = config->config->challenge_epoch_s,
        .hub_call_ms = config->config->hub_call_ms,
        .hub_deadline_s = config->config->hub_deadline_s,
        .audit_refusals_per_s = config->config->audit_refusals_per_s,
    };
    enum lk_err err;

    if ((err = lk_hub_core_new(config->ring, &lk_rand_system, &w->hub)) != LK_OK) {
        return err;
    }
    opts.embedded = lk_hub_core_link(w->hub);
    if ((err = webhooks_open(w, config->config, error, &opts.webhook)) != LK_OK ||
        (err = hubs_open(w, config, error, &opts.remote)) != LK_OK) {
        return err;
    }
    return lk_provision_new(&opts, &w->provision);
}

static enum lk_err
service_open(struct lk_worker *w, const struct lk_worker_config *config)
{
    struct lk_service_api_config opts = {
        .session = w->session,
        .clock = &lk_clock_system,
        .rnd = &lk_rand_system,
        .keyring = config->ring,
        .bulk_max = config->config->bulk_max,
        .audit_reads = config->config->audit_reads != 0,
        .signatures_required = config->config->import_signature_required != 0,
        .links_hubs = lk_config_list(config->config->hub_allow)[0] != '\0',
    };

    return lk_service_api_new(&opts, &w->service_api);
}

static enum lk_err
hub_open(struct lk_worker *w, const struct lk_worker_config *config)
{
    struct lk_hub_api_config opts = {
        .session = w->session,
        .loop = w->loop,
        .hub = w->hub,
        .clock = &lk_clock_system,
        .rnd = &lk_rand_system,
        .keyring = config->ring,
        .broker = config->broker,
        .audit_reads = config->config->audit_reads != 0,
    };

    return lk_hub_api_new(&opts, &w->hub_api);
}

static enum lk_err
server_open(struct lk_worker *w, const struct lk_worker_config *config,
            char error[LK_WORKER_ERROR_CAP])
{
    struct lk_http_server_config opts = {
        .listen = config->listen,
        .reuse_port = true,
        .tls = config->tls,
        .limits = config->config->limits,
        .handle = lk_router_handle,
        .body_max = lk_router_body_max,
        .ctx = &w->router,
    };
    char why[LK_HTTP_ERROR_CAP] = "";
    enum lk_err err;

    w->surfaces[0] = lk_service_api_surface(w->service_api);
    w->surfaces[1] = lk_hub_api_surface(w->hub_api);
    w->surfaces[2] = lk_device_api_surface(w->device_api); /* takes what is left */
    w->router = (struct lk_router){w->surfaces, LK_ARRAY_LEN(w->surfaces)};
    if ((err = lk_http_server_new(w->loop, &opts, why, &w->server)) != LK_OK) {
        (void)snprintf(error, LK_WORKER_ERROR_CAP, "listen: %s",
                       why[0] == '\0' ? lk_err_text(err) : why);
    }
    return err;
}

static enum lk_err
worker_open(struct lk_worker *w, const struct lk_worker_config *config,
            char error[LK_WORKER_ERROR_CAP])
{
    enum lk_err err;

    if ((err = lk_loop_new(&w->loop)) != LK_OK ||
        (err = lk_session_open(config->store, &w->session)) != LK_OK ||
        (err = lk_watch_new(w->loop, lk_session_fd(w->session), session_ready, w,
                            &w->session_watch)) != LK_OK ||
        (err = lk_timer_new(w->loop, tick, w, &w->tick)) != LK_OK ||
        (err = lk_timer_new(w->loop, quiet_wait, w, &w->quiet)) != LK_OK ||
        (err = provision_open(w, config, error)) != LK_OK ||
        (err = regions_open(w, config->config)) != LK_OK ||
        (err = lk_device_api_new(w->provision, &lk_clock_system, w->regions, &w->device_api)) !=
            LK_OK ||
        (err = service_open(w, config)) != LK_OK || (err = hub_open(w, config)) != LK_OK) {
        if (error[0] == '\0') {
            (void)snprintf(error, LK_WORKER_ERROR_CAP, "worker: %s", lk_err_text(err));
        }
        return err;
    }
    return server_open(w, config, error);
}

enum lk_err
lk_worker_new(const struct lk_worker_config *config, char error[LK_WORKER_ERROR_CAP],
              struct lk_worker **ret)
{
    LK_AUTO(lk_worker) struct lk_worker *w = calloc(1, sizeof(*w));
    enum lk_err err;

    if (w == NULL) {
        return LK_ERR_NOMEM;
    }
    atomic_init(&w->stopped, false);
    atomic_init(&w->turned_ms, lk_clock_mono_ms(&lk_clock_system));
    if ((err = worker_open(w, config, error)) != LK_OK) {
        return err;
    }
    *ret = lk_worker_take(&w);
    return LK_OK;
}

enum lk_err
lk_worker_start(struct lk_worker *w)
{
    if (pthread_create(&w->thread, NULL, thread_main, w) != 0) {
        return LK_ERR_NOMEM;
    }
    w->started = true;
    (void)pthread_setname_np(w->thread, "worker"); /* for people who look at threads */
    return LK_OK;
}

void
lk_worker_free(struct lk_worker *w)
{
    if (w == NULL) {
        return;
    }
    if (w->started) {
        (void)pthread_join(w->thread, NULL); /* cannot fail: joined here only, by another thread */
    }
    lk_http_server_drop(&w->server);
    lk_hub_api_free(w->hub_api);
    lk_service_api_free(w->service_api);
    lk_device_api_free(w->device_api);
    lk_provision_drop(&w->provision);
    lk_hub_http_drop(&w->hubs_elsewhere);
    lk_client_drop(&w->limited_client);
    lk_client_drop(&w->hub_client);
    lk_allow_drop(&w->hub_allow);
    lk_webhooks_drop(&w->webhooks);
    lk_client_drop(&w->client);
    lk_allow_drop(&w->webhook_allow);
    lk_regions_drop(&w->regions);
    lk_hub_core_drop(&w->hub);
    lk_timer_drop(&w->tick);
    lk_timer_drop(&w->quiet);
    lk_watch_drop(&w->session_watch);
    lk_session_drop(&w->session);
    lk_loop_drop(&w->loop);
    free(w);
}
