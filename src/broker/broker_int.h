/* What the files of src/broker share. All of it belongs to the broker's thread. */
#ifndef LK_BROKER_BROKER_INT_H
#define LK_BROKER_BROKER_INT_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "broker/broker.h"
#include "hub/session.h"
#include "net/loop.h"
#include "wire/plug.h"

#define LK_PEERS_MAX 256u                          /* connections of plugins */
#define LK_PEER_OUT_MAX ((size_t)16 * 1024 * 1024) /* bytes that a plugin has not read yet */
#define LK_PEER_HELLO_MS 5000                      /* for a connection to say what it is */

/* The socket, and the lock that says whose it is (lease.c). */
struct lk_lease {
    struct lk_loop *loop;
    char path[108], lock_path[116];
    int lock_fd, listen_fd; /* -1: not held */
    struct lk_watch *watch;
    struct lk_timer *retry;
    void (*accepted)(void *ctx, int fd); /* takes fd */
    void *ctx;
};

enum lk_peer_state { LK_PEER_NEW, LK_PEER_ASKS, LK_PEER_STREAMS };

struct lk_link;

/* A connection of a plugin (peer.c). */
struct lk_peer {
    struct lk_broker *broker;
    struct lk_peer *next, **link_to_this;
    enum lk_peer_state state;
    int fd;
    struct lk_watch *watch;
    struct lk_buf in, out;
    int64_t since_mono_ms;
    char hub[LK_HOST_NAME_MAX + 1];
    struct lk_link *link; /* LK_PEER_STREAMS: what comes of it */
    bool asking;          /* LK_PEER_ASKS: its question is at the store; nothing is read */
    bool taking;          /* its messages are being taken */
    bool closed;          /* freed as soon as neither is so */
};

/* A device's session in a broker. */
struct lk_broker_session {
    char device_id[LK_DEVICE_ID_MAX + 1];
    uint64_t serial;
    unsigned flags; /* as of LK_PLUG_SESSION */
    uint32_t keep_alive_s;
    char generation_id[LK_PLUG_WORD_MAX + 1];
    char etag[LK_ETAG_CAP];
    uint8_t key_tag[LK_KEY_TAG_LEN];
};

/* The broker of one hub, as long as its stream lasts (link.c). */
struct lk_link {
    struct lk_broker *broker;
    struct lk_peer *peer;
    struct lk_link *next;
    char hub[LK_HOST_NAME_MAX + 1];
    void *sessions; /* tsearch() tree of struct lk_broker_session */
    size_t sessions_count;
    bool ready; /* all of its sessions have been told */
    uint64_t mark;
};

struct lk_broker {
    struct lk_loop *loop;
    struct lk_session *session;
    struct lk_watch *session_watch;
    struct lk_hub_core *hub;
    struct lk_timer *tick;
    struct lk_lease lease;
    uid_t user_id;
    struct lk_peer *peers;
    size_t peers_count;
    struct lk_link *links;
    size_t pending; /* jobs at the store */
    unsigned refusals_logged, refusals_left_out;
    bool draining;
    pthread_t thread;
    bool started;
    atomic_bool stopped;
    _Atomic int64_t turned_ms;
};

/* ---- lease.c ---- */

/* accepted gets each connection from the socket, from the moment that it is ours. */
LK_MUST_CHECK enum lk_err lk_lease_init(struct lk_lease *l, struct lk_loop *loop, const char *path,
                                        void (*accepted)(void *ctx, int fd), void *ctx,
                                        char error[LK_BROKER_ERROR_CAP]);
void lk_lease_fini(struct lk_lease *l);

/* ---- peer.c ---- */

void lk_peer_accept(struct lk_broker *b, int fd);
/* Send m; a plugin that does not read is hung up on. */
void lk_peer_send(struct lk_peer *p, const struct lk_plug_msg *m);
/* The connection ends; freed at once, or when its question has been answered. */
void lk_peer_close(struct lk_peer *p, const char *reason);
/* The question of p is answered: read on. */
void lk_peer_resume(struct lk_peer *p);
void lk_peers_look(struct lk_broker *b); /* once a second */

/* ---- auth.c ---- */

void lk_broker_ask(struct lk_peer *p, const struct lk_plug_msg *m);
void lk_broker_refusals_tick(struct lk_broker *b);

/* ---- link.c ---- */

/* NULL: that hub has another broker already, or memory is out. */
struct lk_link *lk_link_new(struct lk_peer *p, const struct lk_plug_msg *hello);
void lk_link_free(struct lk_link *l);
/* A message of the plugin. False: it is not one that a stream may bring. */
bool lk_link_take(struct lk_link *l, const struct lk_plug_msg *m);
struct lk_broker_session *lk_link_session(struct lk_link *l, const char *device_id);

#endif
