/*
 * Requests that we send: HTTPS on an event loop, for webhooks and hubs elsewhere. One lk_client
 * belongs to one loop and its thread.
 *
 * It promises that a request ends within its time whatever the server does, that an answer is
 * bounded, that no redirect is followed and no proxy of the environment used, and that a connection
 * is made only to an address that the allow-list names (net/allow.h), when there is one: the
 * address is judged, not the name, so that no answer of a name server leads elsewhere. Certificates
 * are verified. Plain HTTP reaches loopback addresses only.
 */
#ifndef LK_NET_CLIENT_H
#define LK_NET_CLIENT_H

#include "net/allow.h"
#include "net/loop.h"

#define LK_CLIENT_HEAD_MAX ((size_t)65536) /* bytes of all headers of an answer */

struct lk_client;

/* Zero picks the default in parentheses. */
struct lk_client_config {
    const struct lk_allow *allow; /* borrowed; NULL: any address */
    const char *ca_file;          /* PEM; NULL: the system's authorities */
    uint32_t connect_ms;          /* for a connection with its handshake (3000) */
    uint32_t total_ms;            /* from lk_client_send() to its end (5000) */
    uint32_t running_max;         /* requests on their way (64) */
    uint32_t running_per_host;    /* of one host and port (16) */
    uint32_t waiting_per_host;    /* requests of one host that wait for that (64) */
    uint32_t waiting_max;         /* of all (512) */
    uint32_t answer_max;          /* bytes of a body (65536) */
};

LK_MUST_CHECK enum lk_err lk_client_new(struct lk_loop *loop, const struct lk_client_config *config,
                                        struct lk_client **ret);
/* Nothing may be pending. */
void lk_client_free(struct lk_client *c);
LK_DEFINE_AUTO(struct lk_client, lk_client, lk_client_free);

/* Requests that have not ended. */
size_t lk_client_pending(const struct lk_client *c);

/*
 * How a request ended. LK_OK: there is a whole answer, of whatever status. LK_ERR_REFUSED: the
 * allow-list has no such address; LK_ERR_TLS; LK_ERR_NETWORK; LK_ERR_TIMEOUT; LK_ERR_LIMIT: the
 * answer is too large; LK_ERR_PROTOCOL: it is not HTTP, or broke off.
 */
struct lk_client_answer {
    enum lk_err err;
    int status;             /* HTTP; 0 without an answer */
    uint32_t retry_after_s; /* of a Retry-After in seconds; 0: none, or none that is understood */
    struct lk_reader body;  /* borrowed for the call */
    const char *detail;     /* in words, for the log; static storage */
};
typedef void lk_client_done_fn(void *arg, const struct lk_client_answer *answer);

struct lk_client_request {
    const char *method;        /* "GET", "POST", "PUT", "PATCH" or "DELETE" */
    const char *url;           /* https://host... (or http://) without a user */
    const char *connect_to;    /* "host:port" to connect to instead of the URL's; NULL: that one.
                                  Name and certificate asked for stay the URL's */
    const char *authorization; /* values of headers; NULL: none */
    const char *if_match;
    const char *ca_pem;  /* authorities to trust instead of the client's; NULL: those */
    struct lk_buf *body; /* JSON text, which is moved; NULL: none. For POST, PUT and PATCH */
};

/*
 * Send a request. All but the body is copied. done is called once, later, from the loop; it may
 * send again.
 *
 *   LK_ERR_FORMAT  the URL or connect_to, or a header's value has a control character in it
 *   LK_ERR_BUSY    too many wait, of this host or in all
 *   LK_ERR_NOMEM
 * and then done is not called and body left as it was.
 */
LK_MUST_CHECK enum lk_err lk_client_send(struct lk_client *c, const struct lk_client_request *req,
                                         lk_client_done_fn *done, void *arg);

/* The same for a POST of body to url. */
LK_MUST_CHECK enum lk_err lk_client_post(struct lk_client *c, const char *url, struct lk_buf *body,
                                         lk_client_done_fn *done, void *arg);

#endif
