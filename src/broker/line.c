/* The broker of a hub, and the sessions that it carries. */
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/metrics.h"
#include "broker/broker_int.h"

/* ---- sessions -------------------------------------------------------------------------------- */

static int
session_compare(const void *a, const void *b)
{
    return strcmp(((const struct lk_broker_session *)a)->device_id,
                  ((const struct lk_broker_session *)b)->device_id);
}

struct lk_broker_session *
lk_line_session(struct lk_line *l, const char *device_id)
{
    struct lk_broker_session key;
    struct lk_broker_session *const *node;

    if (lk_strcpy(key.device_id, sizeof(key.device_id), device_id) != LK_OK) {
        return NULL;
    }
    node = tfind(&key, &l->sessions, session_compare);
    return node == NULL ? NULL : *node;
}

static struct lk_broker_session *
session_add(struct lk_line *l, const char *device_id)
{
    struct lk_broker_session *s = calloc(1, sizeof(*s));

    if (s == NULL || lk_strcpy(s->device_id, sizeof(s->device_id), device_id) != LK_OK ||
        tsearch(s, &l->sessions, session_compare) == NULL) {
        free(s);
        return NULL;
    }
    l->sessions_count++;
    lk_metric_add(LK_M_BROKER_SESSIONS, 1);
    return s;
}

/* A session is there: what it was told to the service may be old, and something may wait for it. */
static void
session_look(struct lk_line *l, const struct lk_broker_session *s)
{
    lk_presence_note(l, s->device_id, true);
    lk_c2d_came(l, s);
    lk_line_judge(l, s->device_id);
    lk_methods_look(l, s->device_id);
}

static bool
session_take(struct lk_line *l, const struct lk_plug_msg *m)
{
    struct lk_broker_session *s = lk_line_session(l, m->device_id);

    if (!lk_device_id_ok(m->device_id, strlen(m->device_id)) ||
        (s == NULL && (s = session_add(l, m->device_id)) == NULL)) {
        return false;
    }
    s->serial = m->serial;
    s->flags = m->flags;
    s->keep_alive_s = m->number > UINT16_MAX ? UINT16_MAX : (uint32_t)m->number;
    memcpy(s->generation_id, m->generation, sizeof(s->generation_id));
    memcpy(s->key_tag, m->tag, sizeof(s->key_tag));
    if (lk_strcpy(s->etag, sizeof(s->etag), m->etag) != LK_OK) {
        return false;
    }
    if (l->ready) { /* else it is one of many, which are looked at together */
        session_look(l, s);
    }
    return true;
}

static void
session_end(struct lk_line *l, struct lk_broker_session *s)
{
    (void)tdelete(s, &l->sessions, session_compare); /* it was there */
    l->sessions_count--;
    lk_metric_add(LK_M_BROKER_SESSIONS, -1);
    free(s);
}

/* The session that m is of, when it is still the present one of its device. */
static struct lk_broker_session *
session_of(struct lk_line *l, const struct lk_plug_msg *m)
{
    struct lk_broker_session *s = lk_line_session(l, m->device_id);

    return s != NULL && s->serial == m->serial ? s : NULL;
}

/* ---- names ----------------------------------------------------------------------------------- */

struct lk_name {
    struct lk_name *next;
    char id[LK_DEVICE_ID_MAX + 1];
};

void
lk_names_put(struct lk_names *n, const char *id)
{
    struct lk_name *name = calloc(1, sizeof(*name));

    if (name == NULL || lk_strcpy(name->id, sizeof(name->id), id) != LK_OK) {
        free(name);
        return;
    }
    if (n->first == NULL) {
        n->end = &n->first;
    }
    *n->end = name;
    n->end = &name->next;
}

bool
lk_names_take(struct lk_names *n, char ret[LK_DEVICE_ID_MAX + 1])
{
    struct lk_name *name = n->first;

    if (name == NULL) {
        return false;
    }
    memcpy(ret, name->id, sizeof(name->id));
    n->first = name->next;
    free(name);
    return true;
}

void
lk_names_clear(struct lk_names *n)
{
    char id[LK_DEVICE_ID_MAX + 1];

    while (lk_names_take(n, id)) {
    }
}

/* ---- the store ------------------------------------------------------------------------------- */

static void
line_free(struct lk_line *l)
{
    lk_names_clear(&l->judge);
    lk_names_clear(&l->deliver);
    lk_buf_fini(&l->presence);
    tdestroy(l->sessions, free);
    free(l);
}

static void
work_done(void *arg, enum lk_err err)
{
    struct lk_work *w = arg;
    struct lk_line *l = w->line;

    l->broker->pending--;
    w->done(w, err);
    l->jobs--;
    if (l->peer == NULL && l->jobs == 0) {
        line_free(l);
    }
}

static void
work_begin(struct lk_line *l, struct lk_work *w, enum lk_err (*run)(struct lk_txn *tx, void *w),
           void (*done)(struct lk_work *w, enum lk_err err))
{
    w->line = l;
    w->done = done;
    w->job = (struct lk_job){.run = run, .done = work_done, .arg = w};
    l->jobs++;
    l->broker->pending++;
}

void
lk_line_read(struct lk_line *l, struct lk_work *w, enum lk_err (*run)(struct lk_txn *tx, void *w),
             void (*done)(struct lk_work *w, enum lk_err err))
{
    work_begin(l, w, run, done);
    lk_store_read(l->broker->session, &w->job);
}

void
lk_line_write(struct lk_line *l, struct lk_work *w, enum lk_err (*run)(struct lk_txn *tx, void *w),
              void (*done)(struct lk_work *w, enum lk_err err))
{
    work_begin(l, w, run, done);
    lk_store_write(l->broker->session, &w->job);
}

/* ---- sending --------------------------------------------------------------------------------- */

void
lk_line_push(struct lk_line *l, const char *device_id, uint64_t serial, uint32_t flags,
             const char *topic, const void *body, size_t body_len)
{
    struct lk_plug_msg m = {.type = LK_PLUG_PUSH,
                            .serial = serial,
                            .flags = flags,
                            .topic = topic,
                            .topic_len = strlen(topic),
                            .body = body,
                            .body_len = body_len};

    if (l->peer != NULL && lk_strcpy(m.device_id, sizeof(m.device_id), device_id) == LK_OK) {
        lk_peer_send(l->peer, &m);
    }
}

void
lk_line_kick(struct lk_line *l, const char *device_id, uint64_t serial, uint32_t flags,
             const char *reason)
{
    struct lk_plug_msg m = {.type = LK_PLUG_KICK,
                            .serial = serial,
                            .flags = flags,
                            .name = reason,
                            .name_len = strlen(reason)};

    if (l->peer != NULL && lk_strcpy(m.device_id, sizeof(m.device_id), device_id) == LK_OK) {
        lk_peer_send(l->peer, &m);
    }
}

/* ---- messages -------------------------------------------------------------------------------- */

static void
filters_take(struct lk_line *l, const struct lk_plug_msg *m)
{
    struct lk_broker_session *s = session_of(l, m);

    if (s != NULL) {
        s->flags = m->flags;
        lk_c2d_look(l, s->device_id);
        lk_methods_look(l, s->device_id);
    }
}

static void
gone_take(struct lk_line *l, const struct lk_plug_msg *m)
{
    struct lk_broker_session *s = session_of(l, m);

    if (s != NULL) {
        lk_presence_note(l, s->device_id, false);
        lk_c2d_gone(l, s);
        session_end(l, s);
    }
}

static void
heard_take(struct lk_line *l, const struct lk_plug_msg *m)
{
    const struct lk_broker_session *s = session_of(l, m);

    if (s != NULL) {
        lk_c2d_heard(l, s);
    }
}

static void
request_take(struct lk_line *l, const struct lk_plug_msg *m)
{
    const struct lk_broker_session *s = session_of(l, m);

    if (s != NULL) {
        lk_request_take(l, s, m);
    }
}

static void
look_node(const void *node, VISIT which, void *arg)
{
    if (which == postorder || which == leaf) {
        session_look((struct lk_line *)arg, *(struct lk_broker_session *const *)node);
    }
}

/* Every session is known: they are looked at, and events from where the broker left off. */
static void
ready_take(struct lk_line *l)
{
    l->ready = true;
    lk_log(LK_LOG_INFO, "broker.ready", LK_F_TEXT("hub", l->hub),
           LK_F_INT("sessions", (int64_t)l->sessions_count));
    lk_presence_reset(l);
    twalk_r(l->sessions, look_node, l);
    lk_events_poll(l->broker);
}

bool
lk_line_take(struct lk_line *l, const struct lk_plug_msg *m)
{
    switch (m->type) {
    case LK_PLUG_SESSION:
        return session_take(l, m);
    case LK_PLUG_FILTERS:
        filters_take(l, m);
        return true;
    case LK_PLUG_GONE:
        gone_take(l, m);
        return true;
    case LK_PLUG_HEARD:
        heard_take(l, m);
        return true;
    case LK_PLUG_REQUEST:
        request_take(l, m);
        return true;
    case LK_PLUG_TAKEN:
        lk_telemetry_taken(l, m->number);
        return true;
    case LK_PLUG_READY:
        ready_take(l);
        return true;
    default:
        return false;
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

struct lk_line *
lk_line_find(struct lk_broker *b, const char *hub)
{
    struct lk_line *l = b->lines;

    while (l != NULL && strcmp(l->hub, hub) != 0) {
        l = l->next;
    }
    return l;
}

struct lk_line *
lk_line_new(struct lk_peer *p, const struct lk_plug_msg *hello)
{
    struct lk_broker *b = p->broker;
    struct lk_line *l = lk_line_find(b, p->hub) == NULL ? calloc(1, sizeof(*l)) : NULL;

    if (l == NULL) {
        return NULL;
    }
    l->broker = b;
    l->peer = p;
    memcpy(l->hub, p->hub, sizeof(l->hub));
    l->mark = hello->number <= INT64_MAX ? hello->number : 0;
    l->begun = l->mark != 0;
    l->next = b->lines;
    b->lines = l;
    lk_metric_add(LK_M_BROKER_LINKS, 1);
    return l;
}

void
lk_line_close(struct lk_line *l, bool stopping)
{
    if (l == NULL) {
        return;
    }
    for (struct lk_line **at = &l->broker->lines; *at != NULL; at = &(*at)->next) {
        if (*at == l) {
            *at = l->next;
            break;
        }
    }
    lk_metric_add(LK_M_BROKER_LINKS, -1);
    lk_metric_add(LK_M_BROKER_SESSIONS, -(int64_t)l->sessions_count);
    l->sessions_count = 0; /* they are the next line's to count */
    l->jobs++;             /* it stays until here, whatever ends at once */
    l->peer = NULL;
    lk_calls_end(l->broker, l->hub);
    lk_c2d_close(l, stopping);
    if (!stopping) {
        lk_presence_reset(l);
    }
    if (--l->jobs == 0) {
        line_free(l);
    }
}
