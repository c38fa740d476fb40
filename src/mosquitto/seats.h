/*
 * The plugin's view of devices: a seat for each device that is connected, or whose session the
 * broker keeps for when it comes again, and the connections that occupy seats. Broker and sockets
 * are not known here; a connection is told apart by the broker's pointer to it. One thread.
 */
#ifndef LK_MOSQUITTO_SEATS_H
#define LK_MOSQUITTO_SEATS_H

#include "wire/plug.h"

struct lk_seat {
    char id[LK_DEVICE_ID_MAX + 1];
    const void *client;                    /* who sits here; NULL: nobody */
    uint64_t serial;                       /* of the present or the last connection */
    char generation[LK_PLUG_WORD_MAX + 1]; /* of the identity that it was checked against */
    char etag[LK_PLUG_WORD_MAX + 1];
    uint8_t key_tag[LK_PLUG_TAG_LEN];
    uint64_t cut_at_s; /* Unix seconds */
    uint16_t keep_alive_s;
    unsigned filters;     /* 1 << enum lk_mqtt_filter_kind */
    uint8_t c2d_qos;      /* 0 or 1, as it asked for */
    bool durable;         /* the broker keeps subscriptions and messages when it disconnects */
    bool resumed;         /* it goes on with what was kept */
    bool guessed;         /* filters are not known: the plugin began after the session did */
    bool flush;           /* what the broker kept for it is another device's: it gets none of it */
    int64_t tell_after_s; /* Unix; the service waits to hear that it sent something after; 0: no */
    unsigned conns;       /* that name this seat */
};

/* A connection: its seat until it is purged, also after it left or another took the seat. */
struct lk_conn {
    const void *client;
    struct lk_seat *seat;
    bool gone;
    struct lk_conn *next_gone;
};

struct lk_seats;

struct lk_seats *lk_seats_new(void); /* NULL: out of memory */
void lk_seats_free(struct lk_seats *s);
LK_DEFINE_AUTO(struct lk_seats, lk_seats, lk_seats_free);

/*
 * client has passed the check as verdict says and takes the seat of id, from whoever has it. With
 * durable it resumes what was kept, unless that was of another generation of the identity or
 * nothing is known of it: then the service delivers again. NULL: out of memory, nothing has
 * changed.
 */
struct lk_seat *lk_seats_enter(struct lk_seats *s, const void *client, const char *id,
                               const struct lk_plug_msg *verdict, bool durable,
                               uint16_t keep_alive_s);

/* NULL when there is none. */
struct lk_conn *lk_seats_conn(struct lk_seats *s, const void *client);
struct lk_seat *lk_seats_by_id(struct lk_seats *s, const char *id);

/* True when c still has its seat: what it sends is its own, and not a will. */
bool lk_conn_seated(const struct lk_conn *c);

/* c's connection ended. True when its seat is empty now. */
bool lk_seats_leave(struct lk_seats *s, struct lk_conn *c);

/* The identity of id is no more: nothing is remembered of it once it has left. */
void lk_seats_forget(struct lk_seats *s, const char *id);

/* Free connections that are gone, which the broker has stopped naming. */
void lk_seats_purge(struct lk_seats *s);

/* Calls each for every occupied seat; it may not enter, leave or forget. */
void lk_seats_each(struct lk_seats *s, void (*each)(void *ctx, struct lk_seat *seat), void *ctx);

#endif
