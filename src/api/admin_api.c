/*
 * What an operator's machinery asks on the local listener: is the process alive, may it be sent
 * work, and how is it doing.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "api/api_int.h"
#include "base/metrics.h"

#define PROBE_FRESH_MS 1000 /* an answer of the store that is no older counts as current */

struct lk_admin_api {
    struct lk_admin_api_config config;
    int64_t probed_mono_ms; /* 0: never */
    enum lk_err probed;     /* what the store said then, and its words */
    char probed_words[LK_STORE_ERROR_CAP];
    size_t pending;
};

/* Reasons why the service is not well, for people. */
struct reasons {
    json_t *list; /* owned */
};

static void
reasons_fini(struct reasons *r)
{
    json_decref(r->list);
}

static void
reason_add(struct reasons *r, const char *text)
{
    /* Out of memory, the status still tells. */
    (void)json_array_append_new(r->list, json_string(text));
}

/* {"status":word,"reasons":[...]} with 200 when there is no reason, else with 503. */
static void
reply_reasons(struct lk_http_request *req, const char *good, const char *bad,
              const struct reasons *r)
{
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;
    bool well = r->list != NULL && json_array_size(r->list) == 0;
    LK_AUTO(json)
    json_t *object = json_pack("{s:s, s:O}", "status", well ? good : bad, "reasons", r->list);

    if (object == NULL || lk_json_write(object, &body) != LK_OK) {
        lk_buf_reset(&body);
    }
    lk_http_reply(req, well ? 200 : 503, body.data, body.len);
}

static void
status_get(const struct lk_admin_api *api, struct lk_service_status *ret)
{
    *ret = (struct lk_service_status){0};
    api->config.status(api->config.ctx, ret);
}

static void
loops_judge(const struct lk_service_status *s, struct reasons *r)
{
    char text[64];

    if (s->workers_stuck > 0) {
        (void)snprintf(text, sizeof(text), "%u of %u event loops do not turn", s->workers_stuck,
                       s->workers);
        reason_add(r, text);
    }
}

static void
healthz(struct lk_admin_api *api, struct lk_http_request *req)
{
    __attribute__((cleanup(reasons_fini))) struct reasons r = {json_array()};
    struct lk_service_status s;

    status_get(api, &s);
    loops_judge(&s, &r);
    reply_reasons(req, "ok", "stuck", &r);
}

/* ---- readiness ------------------------------------------------------------------------------- */

static void
readyz_answer(struct lk_admin_api *api, struct lk_http_request *req)
{
    __attribute__((cleanup(reasons_fini))) struct reasons r = {json_array()};
    struct lk_service_status s;
    char text[64 + LK_STORE_ERROR_CAP];

    status_get(api, &s);
    loops_judge(&s, &r);
    if (s.draining) {
        reason_add(&r, "the service is stopping");
    }
    if (s.keyring_keys == 0) {
        reason_add(&r, "no keyring is loaded");
    }
    if (s.tls_not_after_unix_s <= lk_clock_unix_ms(api->config.clock) / 1000) {
        reason_add(&r, "the TLS certificate is out of date");
    }
    if (api->probed != LK_OK) {
        (void)snprintf(text, sizeof(text), "the store takes no writes: %s%s%s",
                       lk_err_text(api->probed), api->probed_words[0] != '\0' ? ": " : "",
                       api->probed_words);
        reason_add(&r, text);
    }
    reply_reasons(req, "ready", "not ready", &r);
}

/* A request that waits for the store's answer. */
struct probe {
    struct lk_admin_api *api;
    struct lk_http_request *req;
    struct lk_job job;
};

static enum lk_err
probe_run(struct lk_txn *tx, void *arg)
{
    return lk_txn_probe(tx);
}

static void
probe_done(void *arg, enum lk_err err)
{
    struct probe *p = arg;
    struct lk_admin_api *api = p->api;

    api->pending--;
    api->probed = err;
    api->probed_mono_ms = lk_clock_mono_ms(api->config.clock);
    api->probed_words[0] = '\0';
    if (err == LK_ERR_STORE || err == LK_ERR_BUSY) {
        (void)snprintf(api->probed_words, sizeof(api->probed_words), "%s", lk_store_error_text());
    }
    readyz_answer(api, p->req);
    free(p);
}

static void
readyz(struct lk_admin_api *api, struct lk_http_request *req)
{
    struct probe *p;

    if (api->probed_mono_ms != 0 &&
        lk_clock_mono_ms(api->config.clock) - api->probed_mono_ms < PROBE_FRESH_MS) {
        readyz_answer(api, req);
        return;
    }
    p = calloc(1, sizeof(*p));
    if (p == NULL) {
        lk_api_error(req, LK_DPS_UNAVAILABLE, "Out of memory");
        return;
    }
    *p = (struct probe){.api = api, .req = req};
    p->job = (struct lk_job){.run = probe_run, .done = probe_done, .arg = p};
    api->pending++;
    lk_store_write(api->config.session, &p->job);
}

/* ---- metrics --------------------------------------------------------------------------------- */

static enum lk_err
gauge_put(struct lk_buf *ret, const char *name, const char *help, double value)
{
    return lk_buf_printf(ret, "# HELP %s %s\n# TYPE %s gauge\n%s %.17g\n", name, help, name, name,
                         value);
}

static enum lk_err
counter_put(struct lk_buf *ret, const char *name, const char *help, double value)
{
    return lk_buf_printf(ret, "# HELP %s %s\n# TYPE %s counter\n%s %.17g\n", name, help, name, name,
                         value);
}

static double
seconds_of(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

/* Resident bytes, as /proc tells in pages; 0 when it does not. */
static double
resident_bytes(void)
{
    FILE *f = fopen("/proc/self/statm", "re");
    unsigned long long pages = 0;

    if (f == NULL) {
        return 0;
    }
    if (fscanf(f, "%*u %llu", &pages) != 1) {
        pages = 0;
    }
    (void)fclose(f); /* it was only read */
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

/* The standard names that dashboards look for. */
static enum lk_err
process_put(const struct lk_service_status *s, struct lk_buf *ret)
{
    struct rusage use = {0};
    enum lk_err err;

    (void)getrusage(RUSAGE_SELF, &use); /* cannot fail with these arguments */
    if ((err = counter_put(ret, "process_cpu_seconds_total", "CPU time of the process in seconds.",
                           seconds_of(use.ru_utime) + seconds_of(use.ru_stime))) != LK_OK ||
        (err = gauge_put(ret, "process_resident_memory_bytes", "Resident memory in bytes.",
                         resident_bytes())) != LK_OK) {
        return err;
    }
    return gauge_put(ret, "process_start_time_seconds", "Start of the process, Unix seconds.",
                     (double)s->started_unix_ms / 1000);
}

static enum lk_err
status_put(const struct lk_service_status *s, struct lk_buf *ret)
{
    enum lk_err err;

    if ((err = gauge_put(ret, "latchkey_tls_certificate_expiry_seconds",
                         "When the certificate in use is out of date, Unix seconds.",
                         (double)s->tls_not_after_unix_s)) != LK_OK ||
        (err = gauge_put(ret, "latchkey_keyring_keys", "Master keys in the keyring.",
                         (double)s->keyring_keys)) != LK_OK ||
        (err = gauge_put(ret, "latchkey_workers", "Event loops that serve devices.", s->workers)) !=
            LK_OK ||
        (err = gauge_put(ret, "latchkey_workers_stuck", "Event loops that do not turn.",
                         s->workers_stuck)) != LK_OK ||
        (err = gauge_put(ret, "latchkey_draining", "1 while the service is stopping.",
                         s->draining)) != LK_OK ||
        (err = counter_put(ret, "latchkey_reloads_total", "Reloads that were taken.",
                           (double)s->reloads)) != LK_OK) {
        return err;
    }
    return counter_put(ret, "latchkey_reloads_failed_total",
                       "Reloads that were refused; the old settings were kept.",
                       (double)s->reloads_failed);
}

static void
metrics(struct lk_admin_api *api, struct lk_http_request *req)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    struct lk_service_status s;

    status_get(api, &s);
    if (lk_metrics_write(&text) != LK_OK || status_put(&s, &text) != LK_OK ||
        process_put(&s, &text) != LK_OK ||
        (api->config.metrics != NULL && api->config.metrics(api->config.ctx, &text) != LK_OK)) {
        lk_api_error(req, LK_DPS_UNAVAILABLE, "Out of memory");
        return;
    }
    lk_http_reply_header(req, "Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    lk_http_reply(req, 200, text.data, text.len);
}

/* ---- the object ------------------------------------------------------------------------------ */

static const struct page {
    const char *path;
    void (*answer)(struct lk_admin_api *api, struct lk_http_request *req);
} pages[] = {{"/healthz", healthz}, {"/readyz", readyz}, {"/metrics", metrics}};
#define PROBES_COUNT 2 /* of the pages, the first */

static void
pages_handle(struct lk_admin_api *api, struct lk_http_request *req, size_t pages_count)
{
    enum lk_http_method method = lk_http_request_method(req);

    for (size_t i = 0; i < pages_count; i++) {
        if (strcmp(lk_http_request_path(req), pages[i].path) != 0) {
            continue;
        }
        if (method != LK_HTTP_GET && method != LK_HTTP_HEAD) {
            lk_api_wrong_method(req, "GET, HEAD, OPTIONS");
            return;
        }
        pages[i].answer(api, req);
        return;
    }
    lk_api_error(req, LK_DPS_NOT_FOUND, "Not found");
}

static void
admin_api_handle(void *ctx, struct lk_http_request *req)
{
    pages_handle(ctx, req, LK_ARRAY_LEN(pages));
}

static void
probes_handle(void *ctx, struct lk_http_request *req)
{
    pages_handle(ctx, req, PROBES_COUNT);
}

enum lk_err
lk_admin_api_new(const struct lk_admin_api_config *config, struct lk_admin_api **ret)
{
    struct lk_admin_api *api = calloc(1, sizeof(*api));

    if (api == NULL) {
        return LK_ERR_NOMEM;
    }
    api->config = *config;
    *ret = api;
    return LK_OK;
}

size_t
lk_admin_api_pending(const struct lk_admin_api *api)
{
    return api->pending;
}

void
lk_admin_api_free(struct lk_admin_api *api)
{
    if (api != NULL) {
        assert(api->pending == 0);
        free(api);
    }
}

struct lk_surface
lk_admin_api_surface(struct lk_admin_api *api)
{
    return (struct lk_surface){.handle = admin_api_handle, .ctx = api};
}

struct lk_surface
lk_admin_api_probes(struct lk_admin_api *api)
{
    return (struct lk_surface){.handle = probes_handle, .ctx = api};
}
