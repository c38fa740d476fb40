#include "base/metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

/* Series of one name stand next to each other; the first of them carries type and help. */
static const struct row {
    const char *name;
    const char *labels; /* with braces; "" for none */
    const char *type;
    const char *help;
} rows[] = {
    [LK_M_HTTP_CONNECTIONS_OPEN] = {"latchkey_http_connections_open", "", "gauge",
                                    "Connections open now."},
    [LK_M_HTTP_CONNECTIONS_ACCEPTED] = {"latchkey_http_connections_accepted_total", "", "counter",
                                        "Connections accepted."},
    [LK_M_HTTP_CONNECTIONS_SHED] = {"latchkey_http_connections_shed_total", "", "counter",
                                    "Connections closed at once, over a connection limit."},
    [LK_M_HTTP_ACCEPTS_FAILED] = {"latchkey_http_accepts_failed_total", "", "counter",
                                  "Tries to accept connections for which no descriptor or memory "
                                  "was left."},
    [LK_M_HTTP_CONNECTIONS_TIMED_OUT] = {"latchkey_http_connections_timed_out_total", "", "counter",
                                         "Connections whose handshake, head or body took longer "
                                         "than its limit."},
    [LK_M_HTTP_REQUESTS] = {"latchkey_http_requests_total", "", "counter", "Requests answered."},
    [LK_M_HTTP_REQUESTS_BAD] = {"latchkey_http_requests_bad_total", "", "counter",
                                "Requests refused as HTTP that is not accepted."},
    [LK_M_TLS_HANDSHAKES] = {"latchkey_tls_handshakes_total", "", "counter",
                             "TLS handshakes completed."},
    [LK_M_TLS_HANDSHAKES_FAILED] = {"latchkey_tls_handshakes_failed_total", "", "counter",
                                    "TLS handshakes that failed."},
    [LK_M_REG_CHALLENGES] = {"latchkey_registration_challenges_total", "", "counter",
                             "Challenges given to devices."},
    [LK_M_REG_ASSIGNED] = {"latchkey_registrations_total", "{result=\"assigned\"}", "counter",
                           "Registrations by how they ended."},
    [LK_M_REG_RETRIED] = {"latchkey_registrations_total", "{result=\"retried\"}", NULL, NULL},
    [LK_M_REG_REFUSED] = {"latchkey_registrations_total", "{result=\"refused\"}", NULL, NULL},
    [LK_M_REG_FAILED] = {"latchkey_registrations_total", "{result=\"failed\"}", NULL, NULL},
    [LK_M_REG_POLLS] = {"latchkey_registration_polls_total", "", "counter",
                        "Operation status polls answered."},
    [LK_M_EK_DUPLICATES] = {"latchkey_ek_duplicates_total", "", "counter",
                            "Registrations refused for an endorsement key, proved by its TPM, that "
                            "is registered under another ID."},
    [LK_M_SERVICE_DONE] = {"latchkey_service_calls_total", "{result=\"done\"}", "counter",
                           "Calls of the operators' API by how they ended: done, refused for want "
                           "of access, rejected for what they ask, failed."},
    [LK_M_SERVICE_REFUSED] = {"latchkey_service_calls_total", "{result=\"refused\"}", NULL, NULL},
    [LK_M_SERVICE_REJECTED] = {"latchkey_service_calls_total", "{result=\"rejected\"}", NULL, NULL},
    [LK_M_SERVICE_FAILED] = {"latchkey_service_calls_total", "{result=\"failed\"}", NULL, NULL},
    [LK_M_HUB_DONE] = {"latchkey_hub_api_calls_total", "{result=\"done\"}", "counter",
                       "Calls of hubs' HTTPS surface by how they ended: done, refused for want of "
                       "access, rejected for what they ask, failed."},
    [LK_M_HUB_REFUSED] = {"latchkey_hub_api_calls_total", "{result=\"refused\"}", NULL, NULL},
    [LK_M_HUB_REJECTED] = {"latchkey_hub_api_calls_total", "{result=\"rejected\"}", NULL, NULL},
    [LK_M_HUB_FAILED] = {"latchkey_hub_api_calls_total", "{result=\"failed\"}", NULL, NULL},
    [LK_M_BROKER_LINKS] = {"latchkey_broker_links", "", "gauge",
                           "Brokers of embedded hubs that are connected."},
    [LK_M_BROKER_SESSIONS] = {"latchkey_broker_sessions", "", "gauge",
                              "Devices connected to these brokers."},
    [LK_M_LOGIN_ACCEPTED] = {"latchkey_broker_logins_total", "{result=\"accepted\"}", "counter",
                             "Log-ons of devices that these brokers asked about: accepted; refused "
                             "for the names, the token or the device; failed without a verdict."},
    [LK_M_LOGIN_NAME] = {"latchkey_broker_logins_total", "{result=\"refused_name\"}", NULL, NULL},
    [LK_M_LOGIN_TOKEN] = {"latchkey_broker_logins_total", "{result=\"refused_token\"}", NULL, NULL},
    [LK_M_LOGIN_DEVICE] = {"latchkey_broker_logins_total", "{result=\"refused_device\"}", NULL,
                           NULL},
    [LK_M_LOGIN_FAILED] = {"latchkey_broker_logins_total", "{result=\"failed\"}", NULL, NULL},
    [LK_M_SESSIONS_CUT] = {"latchkey_broker_sessions_cut_total", "", "counter",
                           "Sessions that the service ended."},
    [LK_M_SENT_C2D] = {"latchkey_broker_messages_total", "{kind=\"cloud_to_device\"}", "counter",
                       "Messages to and from these brokers: queued messages and method calls to "
                       "devices, telemetry that came over HTTPS, requests of devices. Telemetry "
                       "over MQTT does not pass the service."},
    [LK_M_SENT_METHOD] = {"latchkey_broker_messages_total", "{kind=\"method\"}", NULL, NULL},
    [LK_M_SENT_TELEMETRY] = {"latchkey_broker_messages_total", "{kind=\"telemetry\"}", NULL, NULL},
    [LK_M_TAKEN_REQUEST] = {"latchkey_broker_messages_total", "{kind=\"request\"}", NULL, NULL},
    [LK_M_BROKER_WAITING] = {"latchkey_broker_waiting", "", "gauge",
                             "Method calls and telemetry that wait for a device or a broker."},
    [LK_M_STORE_COMMITS] = {"latchkey_store_commits_total", "", "counter",
                            "Transactions committed, each for a group of jobs."},
    [LK_M_STORE_JOBS] = {"latchkey_store_jobs_total", "", "counter", "Jobs in those transactions."},
    [LK_M_STORE_QUEUE] = {"latchkey_store_queue", "", "gauge", "Jobs waiting for the writer."},
    [LK_M_STORE_ERRORS] = {"latchkey_store_errors_total", "", "counter",
                           "Jobs or transactions that the database failed."},
    [LK_M_AUDIT_SUPPRESSED] = {"latchkey_audit_suppressed_total", "", "counter",
                               "Refusals counted but not recorded one by one."},
};
_Static_assert(LK_ARRAY_LEN(rows) == LK_M_COUNT, "every metric has a row");

#define BUCKETS_MAX 12u

/* Upper bounds in microseconds, ascending, beside the text that stands for them in seconds. */
static const struct bound {
    uint64_t us;
    const char *text;
} bounds[BUCKETS_MAX] = {
    {100, "0.0001"},  {250, "0.00025"}, {500, "0.0005"},  {1000, "0.001"},
    {2500, "0.0025"}, {5000, "0.005"},  {10000, "0.01"},  {25000, "0.025"},
    {100000, "0.1"},  {500000, "0.5"},  {2500000, "2.5"}, {10000000, "10"},
};

static const struct {
    const char *name;
    const char *help;
} histogram_rows[] = {
    [LK_H_REQUEST_US] = {"latchkey_request_seconds",
                         "From a whole request read to its answer handed to the connection."},
    [LK_H_COMMIT_US] = {"latchkey_store_commit_seconds", "Time of one group commit."},
};
_Static_assert(LK_ARRAY_LEN(histogram_rows) == LK_H_COUNT, "every histogram has a row");

static _Atomic int64_t values[LK_M_COUNT];

static struct {
    _Atomic uint64_t buckets[BUCKETS_MAX + 1]; /* not cumulative; the last is past every bound */
    _Atomic uint64_t sum_us;
} histograms[LK_H_COUNT];

void
lk_metric_add(enum lk_metric metric, int64_t delta)
{
    assert((unsigned)metric < LK_M_COUNT);
    (void)atomic_fetch_add_explicit(&values[metric], delta, memory_order_relaxed);
}

int64_t
lk_metric_get(enum lk_metric metric)
{
    assert((unsigned)metric < LK_M_COUNT);
    return atomic_load_explicit(&values[metric], memory_order_relaxed);
}

void
lk_histogram_observe_us(enum lk_histogram histogram, uint64_t us)
{
    size_t i = 0;

    assert((unsigned)histogram < LK_H_COUNT);
    while (i < BUCKETS_MAX && us > bounds[i].us) {
        i++;
    }
    (void)atomic_fetch_add_explicit(&histograms[histogram].buckets[i], 1, memory_order_relaxed);
    (void)atomic_fetch_add_explicit(&histograms[histogram].sum_us, us, memory_order_relaxed);
}

static enum lk_err
write_metric(enum lk_metric metric, struct lk_buf *ret)
{
    const struct row *row = &rows[metric];
    enum lk_err err;

    if (row->type != NULL && (err = lk_buf_printf(ret, "# HELP %s %s\n# TYPE %s %s\n", row->name,
                                                  row->help, row->name, row->type)) != LK_OK) {
        return err;
    }
    return lk_buf_printf(ret, "%s%s %" PRId64 "\n", row->name, row->labels, lk_metric_get(metric));
}

/* The count is the sum of the buckets read here, so that one exposition agrees with itself. */
static enum lk_err
write_histogram(enum lk_histogram histogram, struct lk_buf *ret)
{
    const char *name = histogram_rows[histogram].name;
    uint64_t count = 0, sum_us;
    enum lk_err err;

    err = lk_buf_printf(ret, "# HELP %s %s\n# TYPE %s histogram\n", name,
                        histogram_rows[histogram].help, name);
    for (size_t i = 0; err == LK_OK && i <= BUCKETS_MAX; i++) {
        count += atomic_load_explicit(&histograms[histogram].buckets[i], memory_order_relaxed);
        err = lk_buf_printf(ret, "%s_bucket{le=\"%s\"} %" PRIu64 "\n", name,
                            i < BUCKETS_MAX ? bounds[i].text : "+Inf", count);
    }
    if (err != LK_OK) {
        return err;
    }
    sum_us = atomic_load_explicit(&histograms[histogram].sum_us, memory_order_relaxed);
    return lk_buf_printf(ret, "%s_sum %" PRIu64 ".%06" PRIu64 "\n%s_count %" PRIu64 "\n", name,
                         sum_us / 1000000, sum_us % 1000000, name, count);
}

enum lk_err
lk_metrics_write(struct lk_buf *ret)
{
    enum lk_err err = LK_OK;

    for (unsigned i = 0; err == LK_OK && i < LK_M_COUNT; i++) {
        err = write_metric((enum lk_metric)i, ret);
    }
    for (unsigned i = 0; err == LK_OK && i < LK_H_COUNT; i++) {
        err = write_histogram((enum lk_histogram)i, ret);
    }
    return err;
}
