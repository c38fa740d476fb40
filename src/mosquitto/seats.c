#include "mosquitto/seats.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

struct lk_seats {
    void *by_id;     /* tsearch() trees: of struct lk_seat */
    void *by_client; /* of struct lk_conn */
    struct lk_conn *gone;
    struct lk_conn *last; /* that was asked for; NULL: none, or it is no more */
    uint64_t serial;
};

static int
seat_compare(const void *a, const void *b)
{
    return strcmp(((const struct lk_seat *)a)->id, ((const struct lk_seat *)b)->id);
}

static int
conn_compare(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)((const struct lk_conn *)a)->client;
    uintptr_t y = (uintptr_t)((const struct lk_conn *)b)->client;

    return x < y ? -1 : x > y;
}

struct lk_seats *
lk_seats_new(void)
{
    return calloc(1, sizeof(struct lk_seats));
}

void
lk_seats_free(struct lk_seats *s)
{
    if (s != NULL) {
        tdestroy(s->by_client, free);
        tdestroy(s->by_id, free);
        free(s);
    }
}

struct lk_conn *
lk_seats_conn(struct lk_seats *s, const void *client)
{
    const struct lk_conn key = {.client = client};
    struct lk_conn *const *node;

    if (s->last != NULL && s->last->client == client) {
        return s->last; /* the broker asks twice about each message */
    }
    node = tfind(&key, &s->by_client, conn_compare);
    if (node != NULL) {
        s->last = *node;
    }
    return node == NULL ? NULL : *node;
}

struct lk_seat *
lk_seats_by_id(struct lk_seats *s, const char *id)
{
    struct lk_seat key;
    struct lk_seat *const *node;

    if (lk_strcpy(key.id, sizeof(key.id), id) != LK_OK) {
        return NULL;
    }
    node = tfind(&key, &s->by_id, seat_compare);
    return node == NULL ? NULL : *node;
}

bool
lk_conn_seated(const struct lk_conn *c)
{
    return !c->gone && c->seat->client == c->client;
}

/* ---- coming ---------------------------------------------------------------------------------- */

/* The seat of id, made when there is none; *ret_fresh says so. */
static struct lk_seat *
seat_take(struct lk_seats *s, const char *id, bool *ret_fresh)
{
    struct lk_seat *seat = lk_seats_by_id(s, id);

    *ret_fresh = seat == NULL;
    if (seat != NULL) {
        return seat;
    }
    seat = calloc(1, sizeof(*seat));
    if (seat == NULL || lk_strcpy(seat->id, sizeof(seat->id), id) != LK_OK ||
        tsearch(seat, &s->by_id, seat_compare) == NULL) {
        free(seat);
        return NULL;
    }
    return seat;
}

static void
seat_drop(struct lk_seats *s, struct lk_seat *seat)
{
    (void)tdelete(seat, &s->by_id, seat_compare); /* it was there */
    free(seat);
}

/* Nothing is remembered of a seat that nobody has and no connection names. */
static void
seat_judge(struct lk_seats *s, struct lk_seat *seat)
{
    if (seat->client == NULL && !seat->durable && seat->conns == 0) {
        seat_drop(s, seat);
    }
}

static struct lk_conn *
conn_add(struct lk_seats *s, const void *client, struct lk_seat *seat)
{
    struct lk_conn *c = calloc(1, sizeof(*c));

    if (c == NULL) {
        return NULL;
    }
    c->client = client;
    c->seat = seat;
    if (tsearch(c, &s->by_client, conn_compare) == NULL) {
        free(c);
        return NULL;
    }
    seat->conns++;
    return c;
}

/* What becomes of what the broker may have kept: resumed, told apart by the generation, or not. */
static void
seat_resume(struct lk_seat *seat, bool fresh, const struct lk_plug_msg *verdict, bool durable)
{
    bool same = !fresh && seat->durable && strcmp(seat->generation, verdict->generation) == 0;

    seat->resumed = durable && same;
    seat->flush = durable && !same;
    seat->guessed = durable && fresh;
    if (!seat->resumed) {
        seat->filters = seat->guessed ? LK_PLUG_FILTERS_ALL : 0;
        seat->c2d_qos = 1;
    }
    seat->durable = durable;
}

struct lk_seat *
lk_seats_enter(struct lk_seats *s, const void *client, const char *id,
               const struct lk_plug_msg *verdict, bool durable, uint16_t keep_alive_s)
{
    bool fresh;
    struct lk_seat *seat = seat_take(s, id, &fresh);

    if (seat == NULL) {
        return NULL;
    }
    if (conn_add(s, client, seat) == NULL) {
        if (fresh) {
            seat_drop(s, seat);
        }
        return NULL;
    }
    seat_resume(seat, fresh, verdict, durable);
    seat->client = client;
    seat->serial = ++s->serial;
    seat->tell_after_s = 0;
    memcpy(seat->generation, verdict->generation, sizeof(seat->generation));
    memcpy(seat->etag, verdict->etag, sizeof(seat->etag));
    memcpy(seat->key_tag, verdict->tag, sizeof(seat->key_tag));
    seat->cut_at_s = verdict->number;
    seat->keep_alive_s = keep_alive_s;
    return seat;
}

/* ---- going ----------------------------------------------------------------------------------- */

bool
lk_seats_leave(struct lk_seats *s, struct lk_conn *c)
{
    bool was_seated = lk_conn_seated(c);

    if (c->gone) {
        return false;
    }
    c->gone = true;
    c->next_gone = s->gone;
    s->gone = c;
    if (was_seated) {
        c->seat->client = NULL;
    }
    return was_seated;
}

void
lk_seats_forget(struct lk_seats *s, const char *id)
{
    struct lk_seat *seat = lk_seats_by_id(s, id);

    if (seat != NULL) {
        seat->durable = false;
        seat->generation[0] = '\0';
        seat_judge(s, seat);
    }
}

void
lk_seats_purge(struct lk_seats *s)
{
    while (s->gone != NULL) {
        struct lk_conn *c = s->gone;
        struct lk_seat *seat = c->seat;

        s->gone = c->next_gone;
        (void)tdelete(c, &s->by_client, conn_compare); /* it was there */
        s->last = NULL;
        free(c);
        seat->conns--;
        seat_judge(s, seat);
    }
}

struct walk {
    void (*each)(void *ctx, struct lk_seat *seat);
    void *ctx;
};

static void
walk_node(const void *node, VISIT which, void *arg)
{
    const struct walk *walk = arg;
    struct lk_seat *seat = *(struct lk_seat *const *)node;

    if ((which == postorder || which == leaf) && seat->client != NULL) {
        walk->each(walk->ctx, seat);
    }
}

void
lk_seats_each(struct lk_seats *s, void (*each)(void *ctx, struct lk_seat *seat), void *ctx)
{
    struct walk walk = {each, ctx};

    twalk_r(s->by_id, walk_node, &walk);
}
