/*
 * The SDK's HTTPS client: one connection that is kept through a registration. The one header behind
 * which libcurl is.
 */
#ifndef LK_DEVICE_HTTP_H
#define LK_DEVICE_HTTP_H

#include "base/buf.h"
#include "device/backoff.h"

#define LK_HTTP_ANSWER_MAX ((size_t)256 * 1024) /* bytes of an answer's body */
#define LK_HTTP_CONNECT_MS 15000                /* for TCP and TLS */
#define LK_HTTP_REQUEST_MS 30000                /* for one whole exchange */

struct lk_http_conn;

/*
 * base_url is "https://host[:port]" or "host[:port]", with at most a slash behind it. ca_file may
 * be NULL for the system's store. Nothing is sent yet. LK_ERR_ARG for another form of URL;
 * LK_ERR_IO (errno) when ca_file cannot be read.
 */
LK_MUST_CHECK enum lk_err lk_http_new(const char *base_url, const char *ca_file,
                                      struct lk_http_conn **ret);
void lk_http_free(struct lk_http_conn *c);
LK_DEFINE_AUTO(struct lk_http_conn, lk_http, lk_http_free);

struct lk_http_answer {
    int status;             /* 0 when none came */
    uint32_t retry_after_s; /* 0 when the answer has none, or one that is not a time to come */
    struct lk_buf body;
};
static inline void
lk_http_answer_fini(struct lk_http_answer *a)
{
    lk_buf_fini(&a->body);
}
#define LK_AUTO_ANSWER __attribute__((cleanup(lk_http_answer_fini)))

/*
 * One exchange. path begins with a slash and is sent as it is; authorization and body may be NULL.
 * Any HTTP status is LK_OK. Redirections are not followed. ret is emptied first.
 *
 *   LK_ERR_NETWORK    no connection, or it broke, or one exchange took too long: try again
 *   LK_ERR_TLS        the server's certificate was not acceptable
 *   LK_ERR_LIMIT      the answer is larger than LK_HTTP_ANSWER_MAX
 *   LK_ERR_TIMEOUT, LK_ERR_CANCELLED  as the waiter says
 */
LK_MUST_CHECK enum lk_err lk_http_exchange(struct lk_http_conn *c, const struct lk_waiter *w,
                                           const char *method, const char *path,
                                           const char *authorization, const struct lk_buf *body,
                                           struct lk_http_answer *ret);

#endif
