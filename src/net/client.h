/*
 * Requests that we send: HTTPS on an event loop, for webhooks. One lk_client belongs to one loop
 * and its thread.
 *
 * It promises that a request ends within its time whatever the server does, that an answer is
 * bounded, that no redirect is followed and no proxy of the environment used, and that a connection
 * is made only to an address that the allow-list names (net/allow.h): the address is judged, not
 * the name, so that no answer of a name server leads elsewhere. Certificates are verified. Plain
 * HTTP reaches loopback addresses only.
 */
#ifndef LK_NET_CLIENT_H
#define LK_NET_CLIENT_H

#include "net/allow.h"
#include "net/loop.h"

#define LK_CLIENT_HEAD_MAX ((size_t)65536) /* bytes of all headers of an answer */

struct lk_client;

/* Zero picks the default in parentheses. */
struct lk_client_config {
    const struct lk_allow *allow; /* borrowed */
    const char *ca_file;          /* PEM; NULL: the system's authorities */
    uint32_t connect_ms;          /* for a connection with its handshake (3000) */
    uint32_t total_ms;            /* from lk_client_post() to its end (5000) */
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
    int status;            /* HTTP; 0 without an answer */
    struct lk_reader body; /* borrowed for the call */
    const char *detail;    /* in words, for the log; static storage */
};
typedef void lk_client_done_fn(void *arg, const struct lk_client_answer *answer);

/*
 * POST the JSON text of body, which is moved, to url. done is called once, later, from the loop; it
 * may post again.
 *
 *   LK_ERR_FORMAT  url is not https://host... (or http://), or has a user in it
 *   LK_ERR_BUSY    too many wait, of this host or in all
 *   LK_ERR_NOMEM
 * and then done is not called and body left as it was.
 */
LK_MUST_CHECK enum lk_err lk_client_post(struct lk_client *c, const char *url, struct lk_buf *body,
                                         lk_client_done_fn *done, void *arg);

#endif
