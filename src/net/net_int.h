/* What the files of the HTTPS engine share: server.c, conn.c, stream.c, request.c, reply.c. */
#ifndef LK_NET_NET_INT_H
#define LK_NET_NET_INT_H

#include <sys/queue.h>
#include <sys/socket.h>

#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/log.h"
#include "base/metrics.h"
#include "net/loop_int.h"
#include "net/parse.h"
#include "net/peers.h"

#define LK_HTTP_ID_CAP 33u   /* bytes of a request id with its NUL */
#define LK_HTTP_DATE_CAP 32u /* bytes of "Sun, 06 Nov 1994 08:49:37 GMT" and more */

#define LK_HTTP_READ_CAP 16384u    /* bytes of one read; a TLS record's most */
#define LK_HTTP_AHEAD_MAX 16384u   /* bytes kept of what a peer sends before it is answered */
#define LK_HTTP_LINGER_MS 1000u    /* for the peer to close its end after we have closed ours */
#define LK_HTTP_LINGER_MAX 262144u /* bytes dropped meanwhile */

/*
 * What a connection waits for. Each but LK_PHASE_HANDLING and LK_PHASE_GONE has a time limit, the
 * same for all in it, so that a queue per phase is in the order of the deadlines.
 *
 *   accept -> HANDSHAKE -> IDLE -> HEAD -> BODY -> HANDLING -> WRITE -> IDLE
 *   (IDLE at once without TLS; phases that need no waiting are passed over)
 *   any -> LINGER: our end is closed, the peer's is read until it closes
 *   HANDLING -> GONE: the socket is closed, the handler has yet to answer
 */
enum lk_phase {
    LK_PHASE_HANDSHAKE,
    LK_PHASE_IDLE,
    LK_PHASE_HEAD,
    LK_PHASE_BODY,
    LK_PHASE_HANDLING,
    LK_PHASE_WRITE,
    LK_PHASE_LINGER,
    LK_PHASE_GONE,
    LK_PHASE_COUNT
};

struct lk_http_request {
    struct lk_conn *conn;
    struct lk_http_parse parse;
    struct lk_buf reply_headers;
    bool has_content_type;
    bool has_lost_header; /* out of memory: there will be no answer */
    int64_t started_us;
    char id[LK_HTTP_ID_CAP];
};

struct lk_conn {
    TAILQ_ENTRY(lk_conn) link; /* in its phase's queue */
    enum lk_phase phase;
    int64_t deadline_ms;           /* monotonic */
    struct lk_http_server *server; /* NULL once that is freed, in LK_PHASE_GONE only */
    int fd;                        /* -1 once closed; owned */
    struct ssl_st *ssl;            /* owned; NULL for plain HTTP and once closed */
    struct event ev;               /* one event, for what it waits for now */
    short waits_for;               /* EV_READ, EV_WRITE or 0 */
    bool entered;                  /* code of conn.c is on the stack: free later */
    bool unread;                   /* bytes lie in the TLS session, and were not asked for yet */
    bool peer_ended;               /* the peer has closed its direction */
    bool close_after;              /* close once the answer is out */
    struct lk_http_request *req;   /* being read or handled; owned until handed over */
    struct lk_buf ahead;           /* received, and to be parsed after the answer */
    struct lk_buf out;             /* of an answer, what the socket did not take at once */
    size_t lingered;               /* bytes dropped in LK_PHASE_LINGER */
    void *data;                    /* the handler's */
    void (*data_free)(void *data);
    uint64_t net;
    struct sockaddr_storage address;
    char peer[LK_PEER_TEXT_CAP]; /* "" until asked for */
};
TAILQ_HEAD(lk_conn_queue, lk_conn);

struct lk_http_server {
    struct lk_loop *loop;
    int listen_fd;
    struct event *listener;
    struct event *accept_again; /* after descriptors ran out */
    struct lk_tls *tls;         /* NULL: plain HTTP */
    struct lk_http_limits limits;
    void (*handle)(void *ctx, struct lk_http_request *req);
    lk_http_body_max_fn body_max;
    void *ctx;

    struct lk_conn_queue queues[LK_PHASE_COUNT];
    uint32_t conns_count; /* without those in LK_PHASE_GONE */
    struct lk_peers peers;
    struct event *tick; /* looks at the queues' heads */
    uint32_t tick_ms;
    bool is_ticking;

    bool is_draining;
    struct event *drain; /* its end: deadline, or the last connection */
    void (*drained)(void *ctx);
    void *drained_ctx;

    uint8_t read_buf[LK_HTTP_READ_CAP];
    struct lk_buf answer; /* being put together; empty between answers */

    uint8_t random[512]; /* for request ids; used up from the end */
    size_t random_left;
    int64_t date_unix_s;
    char date[LK_HTTP_DATE_CAP];

    int64_t log_second; /* limit of log lines: this second, lines in it, lines left out */
    unsigned log_lines;
    unsigned log_suppressed;
    int64_t accept_told_ms; /* when it was last told that nothing can be accepted; 0: never */
};

/* ---- server.c ---------------------------------------------------------------------------------
 */

int64_t lk_http_now_ms(void); /* monotonic, coarse */

/* One line about a peer, unless there were too many this second. status 0 leaves it out. */
void lk_http_log(struct lk_http_server *s, const char *event, const char *reason, const char *peer,
                 const char *request_id, int status);

/* A connection could not be taken for want of descriptors or memory; why is an errno. */
void lk_http_accept_failed(struct lk_http_server *s, int why);

/* A connection has left; ends a drain. */
void lk_http_server_conn_closed(struct lk_http_server *s);

/* Fill id with fresh random hexadecimal digits. */
LK_MUST_CHECK enum lk_err lk_http_server_id(struct lk_http_server *s, char id[LK_HTTP_ID_CAP]);

/* The value of a Date header, now. */
const char *lk_http_server_date(struct lk_http_server *s);

/* ---- conn.c -----------------------------------------------------------------------------------
 */

/* Serve an accepted socket, which is taken over in any case. */
void lk_conn_start(struct lk_http_server *s, int fd, const struct sockaddr_storage *address,
                   uint64_t net);

/* Close at once and free, or leave to the handler's answer. */
void lk_conn_close(struct lk_conn *c);

/* Act on all whose time is up. */
void lk_conns_expire(struct lk_http_server *s);

const char *lk_conn_peer(struct lk_conn *c);

/*
 * The answer of c's request, which the caller has freed: sent now as far as the socket takes it;
 * then the next request is looked at. NULL closes c: there was no memory for an answer.
 */
void lk_conn_answer(struct lk_conn *c, const struct lk_buf *answer, bool close_after);

/* ---- stream.c: TLS or the bare socket -----------------------------------------------------------
 */

LK_MUST_CHECK enum lk_tls_io lk_stream_read(struct lk_conn *c, void *buf, size_t cap,
                                            size_t *ret_len);
LK_MUST_CHECK enum lk_tls_io lk_stream_write(struct lk_conn *c, const void *data, size_t len,
                                             size_t *ret_len);
bool lk_stream_buffered(const struct lk_conn *c);

/* ---- request.c, reply.c -------------------------------------------------------------------------
 */

LK_MUST_CHECK enum lk_err lk_http_request_new(struct lk_conn *c, struct lk_http_request **ret);
void lk_http_request_free(struct lk_http_request *req); /* NULL is allowed */

/* Note when all of it was there. */
void lk_http_request_complete(struct lk_http_request *req);

/* Answer for the engine itself, with the status in words, and close. */
void lk_http_reply_refusal(struct lk_http_request *req, int status);

#endif
