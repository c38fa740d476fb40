/* Tests of src/api/admin_api.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "api/api_int.h"
#include "fake_http.h"

/* ---- a store that takes or refuses a write, and a clock that the test moves -------------------
 */

static enum lk_err store_result;
static unsigned store_writes;
static int64_t now_ms;
void
lk_store_write(struct lk_session *s, struct lk_job *job)
{
    store_writes++;
    assert_int_equal(job->run(NULL, job->arg), LK_OK);
    job->done(job->arg, store_result); /* a full disk shows at the commit */
}

enum lk_err
lk_txn_probe(struct lk_txn *tx)
{
    return LK_OK;
}

const char *
lk_store_error_text(void)
{
    return "COMMIT: database or disk is full (13)";
}

static int64_t
fake_now(void *ctx)
{
    return now_ms;
}

static struct lk_service_status status;

static void
report(void *ctx, struct lk_service_status *ret)
{
    *ret = status;
}

static struct lk_admin_api *api;

static int
setup(void **state)
{
    static const struct lk_clock clock = {fake_now, fake_now, NULL};
    struct lk_admin_api_config config = {.clock = &clock, .status = report};

    now_ms = 1700000000000;
    store_result = LK_OK;
    store_writes = 0;
    status = (struct lk_service_status){
        .workers = 2, .tls_not_after_unix_s = 1800000000, .keyring_keys = 1, .reloads = 3};
    return lk_admin_api_new(&config, &api) == LK_OK ? 0 : -1;
}

static int
teardown(void **state)
{
    assert_int_equal(lk_admin_api_pending(api), 0);
    lk_admin_api_free(api);
    return 0;
}

static struct lk_http_request req;

static void
get_from(struct lk_surface s, const char *path)
{
    fake_http_fini(&req);
    req = (struct lk_http_request){.path = path};
    s.handle(s.ctx, &req);
}

static void
get(const char *path)
{
    get_from(lk_admin_api_surface(api), path);
}

/* Well: both say so, and readiness has asked the store. */
static void
well(void **state)
{
    get("/healthz");
    fake_http_expect(&req, 200, "{\"status\":\"ok\",\"reasons\":[]}");
    assert_int_equal(store_writes, 0);
    get("/readyz");
    fake_http_expect(&req, 200, "{\"status\":\"ready\",\"reasons\":[]}");
    assert_int_equal(store_writes, 1);
    fake_http_fini(&req);
}

/* The store is asked once a second at most, however often the probe comes. */
static void
probe_is_cached(void **state)
{
    get("/readyz");
    now_ms += 999;
    get("/readyz");
    assert_int_equal(store_writes, 1);
    now_ms += 1;
    store_result = LK_ERR_STORE;
    get("/readyz");
    assert_int_equal(store_writes, 2);
    fake_http_expect(&req, 503,
                     "the store takes no writes: the database failed: COMMIT: database or "
                     "disk is full (13)");
    store_result = LK_OK;
    now_ms += 1000;
    get("/readyz");
    fake_http_expect(&req, 200, "ready");
    fake_http_fini(&req);
}

/* Each reason by itself makes the service not ready, and is told. */
static void
not_ready(void **state)
{
    const struct lk_service_status good = status;

    status.draining = true;
    get("/readyz");
    fake_http_expect(&req, 503,
                     "{\"status\":\"not ready\",\"reasons\":[\"the service is stopping\"]}");
    status = good;
    status.keyring_keys = 0;
    get("/readyz");
    fake_http_expect(&req, 503, "[\"no keyring is loaded\"]");
    status = good;
    status.tls_not_after_unix_s = 1700000001;
    get("/readyz");
    fake_http_expect(&req, 200, "[]");
    status.tls_not_after_unix_s = 1700000000;
    get("/readyz");
    fake_http_expect(&req, 503, "[\"the TLS certificate is out of date\"]");
    status = good;
    status.workers_stuck = 1;
    get("/readyz");
    fake_http_expect(&req, 503, "[\"1 of 2 event loops do not turn\"]");
    fake_http_fini(&req);
}

/* A process that is stopping or has no store is alive all the same; one that hangs is not. */
static void
health(void **state)
{
    status.draining = true;
    status.tls_not_after_unix_s = 0;
    store_result = LK_ERR_STORE;
    get("/healthz");
    fake_http_expect(&req, 200, "ok");
    status.workers_stuck = 2;
    get("/healthz");
    fake_http_expect(&req, 503, "{\"status\":\"stuck\",\"reasons\":[\"2 of 2 event loops");
    fake_http_fini(&req);
}

/* The exposition holds the counters of the process and what the daemon knows of itself. */
static void
metrics(void **state)
{
    get("/metrics");
    fake_http_expect_header(&req, "Content-Type: text/plain; version=0.0.4; charset=utf-8");
    fake_http_expect(&req, 200, "\nlatchkey_tls_certificate_expiry_seconds 1800000000\n");
    fake_http_expect(&req, 200,
                     "\n# TYPE latchkey_reloads_total counter\nlatchkey_reloads_total 3\n");
    fake_http_expect(&req, 200, "\nlatchkey_workers 2\n");
    fake_http_expect(&req, 200, "\nprocess_resident_memory_bytes ");
    assert_int_equal(req.answer.data[req.answer.len - 1], '\n');
    fake_http_fini(&req);
}

/* Other paths and methods. */
static void
wrong_requests(void **state)
{
    struct lk_surface s = lk_admin_api_surface(api);

    get("/");
    fake_http_expect(&req, 404, "\"errorCode\":404201");
    get("/metrics/");
    fake_http_expect(&req, 404, "\"errorCode\":404201");
    fake_http_fini(&req);
    req = (struct lk_http_request){.path = "/readyz", .method = LK_HTTP_POST};
    s.handle(s.ctx, &req);
    fake_http_expect(&req, 405, "\"errorCode\":405001");
    fake_http_expect_header(&req, "Allow: GET, HEAD, OPTIONS");
    fake_http_fini(&req);
}

/* Who may know of health alone gets the probes, and nothing else is there. */
static void
probes_alone(void **state)
{
    static const char *const others[] = {"/metrics", "/", "/readyz/"};

    for (size_t i = 0; i < LK_ARRAY_LEN(others); i++) {
        get_from(lk_admin_api_probes(api), others[i]);
        fake_http_expect(&req, 404, "\"errorCode\":404201");
    }
    get_from(lk_admin_api_probes(api), "/healthz");
    fake_http_expect(&req, 200, "{\"status\":\"ok\",\"reasons\":[]}");
    status.draining = true;
    get_from(lk_admin_api_probes(api), "/readyz");
    fake_http_expect(&req, 503, "the service is stopping");
    fake_http_fini(&req);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(well),    CASE(probe_is_cached), CASE(not_ready),    CASE(health),
        CASE(metrics), CASE(wrong_requests),  CASE(probes_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
