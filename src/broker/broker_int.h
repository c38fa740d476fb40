/* What the files of src/broker share. All of it belongs to the broker's thread. */
#ifndef LK_BROKER_BROKER_INT_H
#define LK_BROKER_BROKER_INT_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "broker/broker.h"
#include "hub/message.h"
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

struct lk_line;

/* A connection of a plugin (peer.c). */
struct lk_peer {
    struct lk_broker *broker;
    struct lk_peer *next, **at;
    enum lk_peer_state state;
    int fd;
    struct lk_watch *watch;
    struct lk_buf in, out;
    int64_t since_mono_ms;
    char hub[LK_HOST_NAME_MAX + 1];
    struct lk_line *line; /* LK_PEER_STREAMS: what comes of it */
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

/* Device ids that wait for something to be done, first come first served. */
struct lk_names {
    struct lk_name *first, **end;
};

/* A message that a broker was given for a device, until it is as good as certain that the device
 * has it (c2d.c). */
struct lk_handout {
    struct lk_handout *next;
    char device_id[LK_DEVICE_ID_MAX + 1];
    char lock[LK_C2D_LOCK_CAP];
    int64_t handed_mono_ms, settle_mono_ms;
    bool settling; /* at the store */
};

/*
 * The broker of one hub, as long as its stream lasts (line.c). It is freed when it is closed and
 * nothing of it is at the store.
 */
struct lk_line {
    struct lk_broker *broker;
    struct lk_peer *peer; /* NULL once it is closed */
    struct lk_line *next;
    char hub[LK_HOST_NAME_MAX + 1];
    void *sessions; /* tsearch() tree of struct lk_broker_session */
    size_t sessions_count;
    size_t jobs;   /* at the store */
    bool ready;    /* all of its sessions have been told */
    uint64_t mark; /* hub events up to here have been told ... */
    bool begun;    /* ... if any: a new broker begins with those that come from now on */
    bool polling;  /* for later ones */
    struct lk_names judge, deliver; /* devices whose session, and whose queue, is to be looked at */
    bool judging, judge_turning, delivering, deliver_turning;
    struct lk_buf presence; /* changes that wait (presence.c) */
    bool presence_busy;
    struct lk_handout *handouts;
    unsigned requests; /* of devices, at the store */
};

/* Something of a line that is at the store. The first member of what holds its input and output. */
struct lk_work {
    struct lk_line *line;
    struct lk_job job;
    void (*done)(struct lk_work *w, enum lk_err err); /* owns w */
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
    struct lk_line *lines;
    struct lk_timer *poll;
    struct lk_call *calls; /* methods and telemetry that wait (method.c), calls_count of them */
    size_t calls_count;
    uint64_t tickets;    /* of calls */
    atomic_bool closing; /* no call is taken any more */
    int64_t pruned_mono_ms;
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

/* ---- line.c ---- */

/* NULL: that hub has another broker already, or memory is out. */
struct lk_line *lk_line_new(struct lk_peer *p, const struct lk_plug_msg *hello);
/* The stream ended. stopping: because the service stops, and the broker goes on. */
void lk_line_close(struct lk_line *l, bool stopping);
/* A message of the plugin. False: it is not one that a stream may bring. */
bool lk_line_take(struct lk_line *l, const struct lk_plug_msg *m);
struct lk_broker_session *lk_line_session(struct lk_line *l, const char *device_id);
struct lk_line *lk_line_find(struct lk_broker *b, const char *hub);

/* Send; nothing when it is closed. serial 0: whichever session there is. */
void lk_line_push(struct lk_line *l, const char *device_id, uint64_t serial, uint32_t flags,
                  const char *topic, const void *body, size_t body_len);
void lk_line_kick(struct lk_line *l, const char *device_id, uint64_t serial, uint32_t flags,
                  const char *reason);

/* Give w to the store: run gets w, then done on this thread, also after l was closed. */
void lk_line_read(struct lk_line *l, struct lk_work *w,
                  enum lk_err (*run)(struct lk_txn *tx, void *w),
                  void (*done)(struct lk_work *w, enum lk_err err));
void lk_line_write(struct lk_line *l, struct lk_work *w,
                   enum lk_err (*run)(struct lk_txn *tx, void *w),
                   void (*done)(struct lk_work *w, enum lk_err err));

/* Out of memory drops the name: the next look at everything finds it. */
void lk_names_put(struct lk_names *n, const char *id);
bool lk_names_take(struct lk_names *n, char ret[LK_DEVICE_ID_MAX + 1]); /* false: there is none */
void lk_names_clear(struct lk_names *n);

/* ---- presence.c ---- */

void lk_presence_note(struct lk_line *l, const char *device_id, bool connected);
/* Nobody is connected to the hub of l, as far as anyone knows. */
void lk_presence_reset(struct lk_line *l);

/* ---- events.c ---- */

/* What happened in the store, by whatever process: several times a second, and once for everything
 * when a line is ready. */
void lk_events_poll(struct lk_broker *b);
void lk_events_prune(struct lk_broker *b);
void lk_line_judge(struct lk_line *l, const char *device_id);

/* ---- c2d.c ---- */

void lk_c2d_look(struct lk_line *l, const char *device_id);
void lk_c2d_came(struct lk_line *l, const struct lk_broker_session *s);
void lk_c2d_gone(struct lk_line *l, const struct lk_broker_session *s);
void lk_c2d_heard(struct lk_line *l, const struct lk_broker_session *s);
void lk_c2d_tick(struct lk_line *l); /* once a second */
void lk_c2d_close(struct lk_line *l, bool stopping);

/* ---- request.c ---- */

void lk_request_take(struct lk_line *l, const struct lk_broker_session *s,
                     const struct lk_plug_msg *m);

/* ---- method.c ---- */

void lk_method_result(struct lk_line *l, const struct lk_plug_msg *m,
                      const struct lk_mqtt_publish *what);
/* A device can be asked now, maybe. */
void lk_methods_look(struct lk_line *l, const char *device_id);
void lk_telemetry_taken(struct lk_line *l, uint64_t ticket);
void lk_calls_tick(struct lk_broker *b);
/* hub NULL: every hub. They end with LK_ERR_BUSY. */
void lk_calls_end(struct lk_broker *b, const char *hub);

#endif
