/* The plugin's two connections to the service: one that asks and waits, one that streams. */
#ifndef LK_MOSQUITTO_SOCKET_H
#define LK_MOSQUITTO_SOCKET_H

#include "wire/plug.h"

#define LK_SOCKET_PATH_CAP 108u /* bytes with the NUL, as the kernel has it */

/* Who the plugin speaks for, and where the service is. Borrowed by both kinds. */
struct lk_plug_peer {
    char path[LK_SOCKET_PATH_CAP];
    char hub[LK_HOST_NAME_MAX + 1];
    uint8_t boot[LK_PLUG_TAG_LEN]; /* of this process */
};

/* A non-blocking descriptor, or -1 with errno. */
int lk_plug_connect(const char *path);

/* Append the HELLO of a connection. */
LK_MUST_CHECK enum lk_err lk_plug_hello(const struct lk_plug_peer *peer, unsigned kind,
                                        uint64_t mark, struct lk_buf *ret);

/* Read whatever is there into in. LK_ERR_NETWORK: the peer closed or failed; LK_ERR_LIMIT: more
 * waits than a frame can be. */
LK_MUST_CHECK enum lk_err lk_plug_receive(int fd, struct lk_buf *in);

/* ---- asking ---------------------------------------------------------------------------------- */

#define LK_ASK_DEFAULT_MS 1000u /* for a whole question */
#define LK_ASK_REST_MS 2000     /* no question is asked for this long after one that timed out */

struct lk_asker {
    const struct lk_plug_peer *peer;
    uint32_t timeout_ms;
    int fd; /* -1: none */
    int64_t rest_until_ms;
    struct lk_buf in, out;
};

void lk_asker_init(struct lk_asker *a, const struct lk_plug_peer *peer, uint32_t timeout_ms);
void lk_asker_fini(struct lk_asker *a);

/*
 * Ask and wait. The broker serves nobody meanwhile, so the time is bounded: a service that is not
 * there costs nothing, one that hangs costs one timeout in every LK_ASK_REST_MS. ret borrows from
 * a. LK_ERR_NETWORK: no service; LK_ERR_TIMEOUT, LK_ERR_PROTOCOL, LK_ERR_LIMIT, LK_ERR_NOMEM.
 */
LK_MUST_CHECK enum lk_err lk_ask(struct lk_asker *a, const struct lk_plug_msg *question,
                                 struct lk_plug_msg *ret);

/* ---- streaming ------------------------------------------------------------------------------- */

#define LK_STREAM_OUT_MAX ((size_t)256 * 1024 * 1024) /* bytes: a million sessions, to be told */
#define LK_STREAM_HELD_MAX ((size_t)1024 * 1024)      /* bytes of requests while it is away */

struct lk_stream {
    const struct lk_plug_peer *peer;
    int fd; /* -1: none */
    int64_t next_try_ms;
    uint32_t pause_ms;
    bool welcome;  /* the service has answered HELLO */
    uint64_t mark; /* the last one told */
    struct lk_buf in, out, held;
};

struct lk_stream_events {
    void (*begin)(void *ctx);                               /* send all sessions, then READY */
    void (*take)(void *ctx, const struct lk_plug_msg *msg); /* something to do */
    void (*end)(void *ctx, const char *reason);             /* the service is not there any more */
    void *ctx;
};

void lk_stream_init(struct lk_stream *s, const struct lk_plug_peer *peer);
void lk_stream_fini(struct lk_stream *s);

/* Connect when it is time, read what came, write what waits. Called whenever the broker turns. */
void lk_stream_turn(struct lk_stream *s, const struct lk_stream_events *events);

/* Queue msg. What cannot be sent is dropped, but requests of devices wait for a service that is
 * away for a moment. */
void lk_stream_send(struct lk_stream *s, const struct lk_plug_msg *msg);

#endif
