/* The broker of a hub, and the sessions that it carries. */
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "broker/broker_int.h"

/* ---- sessions -------------------------------------------------------------------------------- */

static int
session_compare(const void *a, const void *b)
{
    return strcmp(((const struct lk_broker_session *)a)->device_id,
                  ((const struct lk_broker_session *)b)->device_id);
}

struct lk_broker_session *
lk_link_session(struct lk_link *l, const char *device_id)
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
session_add(struct lk_link *l, const char *device_id)
{
    struct lk_broker_session *s = calloc(1, sizeof(*s));

    if (s == NULL || lk_strcpy(s->device_id, sizeof(s->device_id), device_id) != LK_OK ||
        tsearch(s, &l->sessions, session_compare) == NULL) {
        free(s);
        return NULL;
    }
    l->sessions_count++;
    return s;
}

static bool
session_take(struct lk_link *l, const struct lk_plug_msg *m)
{
    struct lk_broker_session *s = lk_link_session(l, m->device_id);

    if (!lk_device_id_ok(m->device_id, strlen(m->device_id)) ||
        (s == NULL && (s = session_add(l, m->device_id)) == NULL)) {
        return false;
    }
    s->serial = m->serial;
    s->flags = m->flags;
    s->keep_alive_s = m->number > UINT16_MAX ? UINT16_MAX : (uint32_t)m->number;
    memcpy(s->generation_id, m->generation, sizeof(s->generation_id));
    memcpy(s->key_tag, m->tag, sizeof(s->key_tag));
    return lk_strcpy(s->etag, sizeof(s->etag), m->etag) == LK_OK;
}

static void
session_end(struct lk_link *l, struct lk_broker_session *s)
{
    (void)tdelete(s, &l->sessions, session_compare); /* it was there */
    l->sessions_count--;
    free(s);
}

/* The session that m is of, when it is still the present one of its device. */
static struct lk_broker_session *
session_of(struct lk_link *l, const struct lk_plug_msg *m)
{
    struct lk_broker_session *s = lk_link_session(l, m->device_id);

    return s != NULL && s->serial == m->serial ? s : NULL;
}

/* ---- messages -------------------------------------------------------------------------------- */

static void
filters_take(struct lk_link *l, const struct lk_plug_msg *m)
{
    struct lk_broker_session *s = session_of(l, m);

    if (s != NULL) {
        s->flags = m->flags;
    }
}

static void
gone_take(struct lk_link *l, const struct lk_plug_msg *m)
{
    struct lk_broker_session *s = session_of(l, m);

    if (s != NULL) {
        session_end(l, s);
    }
}

bool
lk_link_take(struct lk_link *l, const struct lk_plug_msg *m)
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
    case LK_PLUG_REQUEST:
        return true;
    case LK_PLUG_READY:
        l->ready = true;
        lk_log(LK_LOG_INFO, "broker.ready", LK_F_TEXT("hub", l->hub),
               LK_F_INT("sessions", (int64_t)l->sessions_count));
        return true;
    default:
        return false;
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

struct lk_link *
lk_link_new(struct lk_peer *p, const struct lk_plug_msg *hello)
{
    struct lk_broker *b = p->broker;
    struct lk_link *l;

    for (l = b->links; l != NULL; l = l->next) {
        if (strcmp(l->hub, p->hub) == 0) {
            return NULL;
        }
    }
    l = calloc(1, sizeof(*l));
    if (l == NULL) {
        return NULL;
    }
    l->broker = b;
    l->peer = p;
    memcpy(l->hub, p->hub, sizeof(l->hub));
    l->mark = hello->number;
    l->next = b->links;
    b->links = l;
    return l;
}

void
lk_link_free(struct lk_link *l)
{
    if (l == NULL) {
        return;
    }
    for (struct lk_link **at = &l->broker->links; *at != NULL; at = &(*at)->next) {
        if (*at == l) {
            *at = l->next;
            break;
        }
    }
    tdestroy(l->sessions, free);
    free(l);
}
