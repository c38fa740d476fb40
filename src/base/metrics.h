/*
 * Counters, gauges and latency histograms of the process, kept with relaxed atomics so that any
 * thread may count, and written in the Prometheus text format (version 0.0.4). The table is in
 * metrics.c.
 */
#ifndef LK_BASE_METRICS_H
#define LK_BASE_METRICS_H

#include "base/buf.h"

/* Each is one time series; metrics.c gives its name, labels and help text. */
enum lk_metric {
    LK_M_HTTP_CONNECTIONS_OPEN, /* gauge */
    LK_M_HTTP_CONNECTIONS_ACCEPTED,
    LK_M_HTTP_CONNECTIONS_SHED,      /* closed at once: over a connection limit */
    LK_M_HTTP_ACCEPTS_FAILED,        /* for want of descriptors or memory */
    LK_M_HTTP_CONNECTIONS_TIMED_OUT, /* handshake, head or body took longer than its limit */
    LK_M_HTTP_REQUESTS,
    LK_M_HTTP_REQUESTS_BAD, /* not HTTP that we accept */
    LK_M_TLS_HANDSHAKES,
    LK_M_TLS_HANDSHAKES_FAILED,
    LK_M_REG_CHALLENGES,
    LK_M_REG_ASSIGNED,
    LK_M_REG_RETRIED, /* the same request again, answered with the same operation */
    LK_M_REG_REFUSED,
    LK_M_REG_FAILED,
    LK_M_REG_POLLS,
    LK_M_EK_DUPLICATES, /* devices refused for an EK that another registration has */
    LK_M_SERVICE_DONE,  /* calls of the operators' API */
    LK_M_SERVICE_REFUSED,
    LK_M_SERVICE_REJECTED,
    LK_M_SERVICE_FAILED,
    LK_M_HUB_DONE, /* calls of hubs' HTTPS surface */
    LK_M_HUB_REFUSED,
    LK_M_HUB_REJECTED,
    LK_M_HUB_FAILED,
    LK_M_BROKER_LINKS,    /* gauge: brokers of embedded hubs */
    LK_M_BROKER_SESSIONS, /* gauge: devices connected to them */
    LK_M_LOGIN_ACCEPTED,  /* CONNECTs that they asked about */
    LK_M_LOGIN_NAME,      /* refused: client id and user name do not fit */
    LK_M_LOGIN_TOKEN,     /* refused: for what the token is or says */
    LK_M_LOGIN_DEVICE,    /* refused: no device that may come in */
    LK_M_LOGIN_FAILED,    /* neither: the store did not answer */
    LK_M_SESSIONS_CUT,
    LK_M_SENT_C2D, /* given to brokers for devices */
    LK_M_SENT_METHOD,
    LK_M_SENT_TELEMETRY, /* given to brokers for operators: what came over HTTPS */
    LK_M_TAKEN_REQUEST,  /* from devices: twins, and results of methods */
    LK_M_BROKER_WAITING, /* gauge: methods and telemetry that wait for an answer */
    LK_M_STORE_COMMITS,  /* group commits */
    LK_M_STORE_JOBS,     /* jobs in them */
    LK_M_STORE_QUEUE,    /* gauge: jobs waiting */
    LK_M_STORE_ERRORS,
    LK_M_AUDIT_SUPPRESSED, /* refusals counted but not recorded one by one */
    LK_M_COUNT
};

enum lk_histogram { LK_H_REQUEST_US, LK_H_COMMIT_US, LK_H_COUNT };

void lk_metric_add(enum lk_metric metric, int64_t delta);
int64_t lk_metric_get(enum lk_metric metric);
void lk_histogram_observe_us(enum lk_histogram histogram, uint64_t us);

/* Append the whole exposition to ret. */
LK_MUST_CHECK enum lk_err lk_metrics_write(struct lk_buf *ret);

#endif
