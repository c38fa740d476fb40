/*
 * Who carries errands out: a look for what is due, a take, the tries, and what becomes of each.
 *
 *   look   one read: hubs with errands that are due
 *   take   one write: those of the hubs that can bear more, due again when a try of them must have
 *          ended; errands past their deadline end here
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "provision/errand.h"

/* A hub with errands that are due. */
struct due_hub {
    char name[LK_HOST_NAME_MAX + 1];
    bool linked;
    unsigned granted; /* errands that may be taken, less those that were */
};

struct lk_errands {
    struct lk_provision *p;
    struct lk_job job;
    bool looking;  /* a look or a take is under way */
    bool again;    /* something may have become due meanwhile */
    bool stopping; /* no further try begins */
    bool overdue;
    struct due_hub hubs[LK_ERRAND_HUBS_MAX];
    size_t hubs_count;
    struct lk_buf taken;   /* array of struct lk_errand */
    struct lk_buf expired; /* likewise */
    size_t tries_count;    /* under way */
};

/* ---- arrays of errands -------------------------------------------------------------------------
 */

static struct lk_errand *
errands_of(const struct lk_buf *b, size_t *ret_count)
{
    *ret_count = b->len / sizeof(struct lk_errand);
    return (struct lk_errand *)(void *)b->data; /* aligned: malloc's own */
}

static void
errands_clear(struct lk_buf *b)
{
    size_t count;
    struct lk_errand *list = errands_of(b, &count);

    for (size_t i = 0; i < count; i++) {
        lk_errand_fini(&list[i]);
    }
    lk_buf_reset(b);
}

/* Takes over the sealed body. */
static enum lk_err
errand_collect(void *ctx, struct lk_errand *e)
{
    struct lk_buf *list = ctx;
    enum lk_err err = lk_buf_put(list, e, sizeof(*e));

    if (err == LK_OK) {
        e->sealed = (struct lk_buf)LK_BUF_INIT;
    }
    return err;
}

/* ---- what is overdue ---------------------------------------------------------------------------
 */

enum lk_err
lk_errand_fail_in_txn(struct lk_txn *tx, const struct lk_errand *e, struct lk_registration *r,
                      int32_t code, const char *why, const char *request_id)
{
    enum lk_err err;

    r->status = LK_REG_FAILED;
    r->substatus = LK_DPS_SUB_NONE;
    r->error_code = code;
    r->auth_key_len = 0;
    if ((err = lk_strcpy(r->error_message, sizeof(r->error_message), why)) != LK_OK ||
        (err = lk_txn_registration_put(tx, r, r->generation)) != LK_OK ||
        (err = lk_txn_errand_delete(tx, e->kind, e->owner, e->name)) != LK_OK) {
        return err;
    }
    return lk_assignment_audit(tx, request_id, r);
}

static enum lk_err
assign_expire(struct lk_txn *tx, const struct lk_errand *e)
{
    bool refused = e->failure == LK_ERR_REFUSED;
    struct lk_registration r = {.generation = 0};
    enum lk_err err = lk_txn_registration_get(tx, e->owner, e->name, &r);

    if (err == LK_OK && r.status == LK_REG_ASSIGNING && r.generation == e->version) {
        err = lk_errand_fail_in_txn(
            tx, e, &r, refused ? LK_DPS_HUB_REFUSED : LK_DPS_UNAVAILABLE,
            refused ? "The hub refused this service" : "The hub did not answer in time", "");
    } else if (err == LK_OK || err == LK_ERR_NOT_FOUND) {
        err = lk_txn_errand_delete(tx, e->kind, e->owner, e->name);
    }
    lk_registration_fini(&r);
    return err;
}

static enum lk_err
overdue_end(struct lk_txn *tx, struct lk_errands *s)
{
    size_t count;
    struct lk_errand *list;
    enum lk_err err;

    errands_clear(&s->expired);
    if ((err = lk_txn_errand_overdue(tx, LK_ERRANDS_EXPIRED_MAX, errand_collect, &s->expired)) !=
        LK_OK) {
        return err;
    }
    list = errands_of(&s->expired, &count);
    for (size_t i = 0; err == LK_OK && i < count; i++) {
        err = list[i].kind == LK_ERRAND_ASSIGN
                  ? assign_expire(tx, &list[i])
                  : lk_txn_errand_delete(tx, list[i].kind, list[i].owner, list[i].name);
    }
    return err;
}

static void
expired_tell(struct lk_errands *s)
{
    size_t count;
    const struct lk_errand *list = errands_of(&s->expired, &count);

    for (size_t i = 0; i < count; i++) {
        bool assign = list[i].kind == LK_ERRAND_ASSIGN;

        lk_log(LK_LOG_ERROR, assign ? "hub.assignment_given_up" : "hub.identity_left_behind",
               LK_F_TEXT("hub", list[i].hub), LK_F_TEXT("scope", assign ? list[i].owner : NULL),
               LK_F_TEXT(assign ? "registration_id" : "device_id", list[i].name),
               LK_F_INT("tries", list[i].tries), LK_F_ERR(list[i].failure));
        if (assign) {
            lk_status_count(LK_REG_FAILED);
        }
    }
    errands_clear(&s->expired);
}

/* ---- the take ----------------------------------------------------------------------------------
 */

static void look(struct lk_errands *s);

static void
looked(struct lk_errands *s)
{
    s->looking = false;
    if (s->again) {
        look(s);
    }
}

/* A try that nobody has heard of for this long is dead. */
static int64_t
lease_ms(const struct lk_errands *s)
{
    return (int64_t)s->p->config.hub_call_ms * 6;
}

static enum lk_err
hub_take(struct lk_txn *tx, struct lk_errands *s, const struct due_hub *hub)
{
    size_t first, count;
    struct lk_errand *list;
    enum lk_err err;

    (void)errands_of(&s->taken, &first);
    if ((err = lk_txn_errand_due(tx, hub->name, hub->granted, errand_collect, &s->taken)) !=
        LK_OK) {
        return err;
    }
    list = errands_of(&s->taken, &count);
    for (size_t i = first; err == LK_OK && i < count; i++) {
        list[i].tries++;
        list[i].due_ms = lk_txn_now_ms(tx) + lease_ms(s);
        err = lk_txn_errand_put(tx, &list[i]);
    }
    return err;
}

static enum lk_err
take_run(struct lk_txn *tx, void *arg)
{
    struct lk_errands *s = arg;
    enum lk_err err = overdue_end(tx, s);

    errands_clear(&s->taken);
    for (size_t i = 0; err == LK_OK && i < s->hubs_count; i++) {
        if (s->hubs[i].granted > 0) {
            err = hub_take(tx, s, &s->hubs[i]);
        }
    }
    return err;
}

static void
try_begin(struct lk_errands *s, struct lk_errand *e, bool reserved)
{
    struct lk_errand_try *t = calloc(1, sizeof(*t));

    if (t == NULL) { /* it is due again when its lease has run out */
        lk_log(LK_LOG_ERROR, "hub.errand_not_begun", LK_F_ERR(LK_ERR_NOMEM));
        if (reserved) {
            s->p->config.remote.ops->release(s->p->config.remote.ctx, e->hub, 1);
        }
        return;
    }
    t->p = s->p;
    t->ring = lk_keyring_ref(s->p->ring);
    t->errand = *e;
    e->sealed = (struct lk_buf)LK_BUF_INIT;
    t->reserved = reserved;
    s->tries_count++;
    if (t->errand.kind == LK_ERRAND_ASSIGN) {
        lk_errand_assign_try(t);
    } else {
        lk_errand_leave_try(t);
    }
}

static void
taken_begin(struct lk_errands *s)
{
    LK_AUTO_BUF struct lk_buf taken = LK_BUF_INIT;
    size_t count;
    struct lk_errand *list;

    /* A try may end, and a look begin, before this returns. */
    lk_buf_move(&taken, &s->taken);
    list = errands_of(&taken, &count);
    for (size_t i = 0; i < count; i++) {
        bool reserved = false;

        for (size_t k = 0; k < s->hubs_count; k++) {
            if (strcmp(s->hubs[k].name, list[i].hub) == 0 && s->hubs[k].granted > 0) {
                s->hubs[k].granted--;
                reserved = s->hubs[k].linked;
            }
        }
        try_begin(s, &list[i], reserved);
    }
    errands_clear(&taken);
}

static void
reservations_return(struct lk_errands *s)
{
    const struct lk_hub_link *link = &s->p->config.remote;

    for (size_t i = 0; i < s->hubs_count; i++) {
        if (s->hubs[i].linked && s->hubs[i].granted > 0) {
            link->ops->release(link->ctx, s->hubs[i].name, s->hubs[i].granted);
        }
    }
    s->hubs_count = 0;
}

static void
take_done(void *arg, enum lk_err err)
{
    struct lk_errands *s = arg;

    if (err == LK_OK) {
        expired_tell(s);
        taken_begin(s);
    } else {
        errands_clear(&s->taken);
        errands_clear(&s->expired);
        lk_log(LK_LOG_WARNING, "hub.errands_not_taken", LK_F_ERR(err));
    }
    reservations_return(s);
    looked(s);
}

/* ---- the look ----------------------------------------------------------------------------------
 */

static enum lk_err
count_one(void *ctx, struct lk_errand *e)
{
    ++*(size_t *)ctx;
    return LK_OK;
}

static enum lk_err
hub_look(struct lk_txn *tx, struct lk_errands *s, const char *name)
{
    struct lk_hub hub = {.sealed_connection = LK_BUF_INIT};
    struct due_hub *due = &s->hubs[s->hubs_count];
    size_t count = 0;
    enum lk_err err = lk_txn_errand_due(tx, name, 1, count_one, &count);

    if (err != LK_OK || count == 0) {
        return err;
    }
    err = lk_txn_hub_get(tx, name, &hub);
    if (err != LK_OK && err != LK_ERR_NOT_FOUND) {
        return err;
    }
    memcpy(due->name, name, sizeof(due->name));
    due->linked = err == LK_OK && hub.kind == LK_HUB_HTTP;
    due->granted = 0;
    s->hubs_count++;
    lk_hub_fini(&hub);
    return LK_OK;
}

static enum lk_err
look_run(struct lk_txn *tx, void *arg)
{
    struct lk_errands *s = arg;
    char name[LK_HOST_NAME_MAX + 1] = "";
    size_t overdue = 0;
    enum lk_err err;

    s->hubs_count = 0;
    while (s->hubs_count < LK_ERRAND_HUBS_MAX &&
           (err = lk_txn_errand_next_hub(tx, name, name)) != LK_ERR_NOT_FOUND) {
        if (err != LK_OK || (err = hub_look(tx, s, name)) != LK_OK) {
            return err;
        }
    }
    err = lk_txn_errand_overdue(tx, 1, count_one, &overdue);
    s->overdue = overdue > 0;
    return err;
}

static void
look_done(void *arg, enum lk_err err)
{
    struct lk_errands *s = arg;
    const struct lk_hub_link *link = &s->p->config.remote;
    bool any = s->overdue;

    if (err != LK_OK) {
        s->hubs_count = 0;
        looked(s);
        return;
    }
    for (size_t i = 0; i < s->hubs_count; i++) {
        struct due_hub *hub = &s->hubs[i];

        hub->granted = !hub->linked ? LK_ERRANDS_PER_TAKE
                                    : link->ops->reserve(link->ctx, hub->name, LK_ERRANDS_PER_TAKE);
        any = any || hub->granted > 0;
    }
    if (!any) {
        s->hubs_count = 0;
        looked(s);
        return;
    }
    s->job = (struct lk_job){.run = take_run, .done = take_done, .arg = s};
    lk_store_write(s->p->config.session, &s->job);
}

static void
look(struct lk_errands *s)
{
    if (s->looking) {
        s->again = true;
        return;
    }
    s->again = false;
    if (s->stopping || s->p->config.remote.ops == NULL) {
        return;
    }
    s->looking = true;
    s->job = (struct lk_job){.run = look_run, .done = look_done, .arg = s};
    lk_store_read(s->p->config.session, &s->job);
}

/* ---- the end of a try --------------------------------------------------------------------------
 */

void
lk_errand_end(struct lk_errand_try *t)
{
    struct lk_errands *s = t->p->errands;
    const struct lk_hub_link *link = &t->p->config.remote;

    if (t->reserved) {
        link->ops->release(link->ctx, t->errand.hub, 1);
    }
    if (t->old_reserved) {
        link->ops->release(link->ctx, t->old_hub.name, 1);
    }
    lk_keyring_free(t->ring);
    lk_errand_fini(&t->errand);
    lk_errand_body_fini(&t->body);
    lk_registration_fini(&t->record);
    lk_hub_fini(&t->hub);
    lk_hub_fini(&t->old_hub);
    lk_hub_snapshot_fini(&t->carried);
    lk_hub_snapshot_fini(&t->present);
    lk_wipe(t, sizeof(*t));
    free(t);
    s->tries_count--;
    look(s); /* there is room for another, or something to follow */
}

static enum lk_err
recheck_run(struct lk_txn *tx, void *arg)
{
    struct lk_errand_try *t = arg;
    struct lk_errand now = {.tries = 0};
    enum lk_err err = lk_txn_errand_get(tx, t->errand.kind, t->errand.owner, t->errand.name, &now);

    t->stands = err == LK_OK && now.version == t->errand.version;
    lk_errand_fini(&now);
    if (err == LK_OK && t->stands && t->errand.kind == LK_ERRAND_ASSIGN) {
        err = lk_errand_place_judge(tx, t);
    }
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

static void
recheck_done(void *arg, enum lk_err err)
{
    struct lk_errand_try *t = arg;

    if (err != LK_OK) {
        lk_errand_postpone(t, err, 0, "the store could not be asked");
    } else if (!t->stands) {
        lk_errand_end(t);
    } else if (t->unfit != NULL) {
        lk_errand_unfit(t);
    } else {
        t->then(t);
    }
}

void
lk_errand_recheck(struct lk_errand_try *t, void (*then)(struct lk_errand_try *t))
{
    t->then = then;
    t->job = (struct lk_job){.run = recheck_run, .done = recheck_done, .arg = t};
    lk_store_read(t->p->config.session, &t->job);
}

/* Half to all of a pause that doubles, but no less than the hub asks for. */
static int64_t
pause_ms(const struct lk_errand_try *t)
{
    int64_t pause = LK_ERRAND_PAUSE_MS, asked = (int64_t)t->retry_after_s * 1000;
    uint32_t r = 0;

    if (t->failure == LK_ERR_PRECONDITION) {
        pause = LK_ERRAND_CONFLICT_MS;
    }
    for (uint32_t i = 1; i < t->errand.tries && pause < LK_ERRAND_PAUSE_MAX_MS; i++) {
        pause *= 2;
    }
    pause = pause < LK_ERRAND_PAUSE_MAX_MS ? pause : LK_ERRAND_PAUSE_MAX_MS;
    if (lk_rand_fill(t->p->config.rnd, &r, sizeof(r)) == LK_OK) {
        pause = pause / 2 + (int64_t)(r % (uint32_t)(pause / 2 + 1));
    }
    asked = asked < LK_ERRAND_PAUSE_MAX_MS ? asked : LK_ERRAND_PAUSE_MAX_MS;
    return pause > asked ? pause : asked;
}

/* What failed after a longer time than the errand's lease is no longer for this try to move. */
static enum lk_err
postpone_run(struct lk_txn *tx, void *arg)
{
    struct lk_errand_try *t = arg;
    struct lk_errand now = {.tries = 0};
    enum lk_err err = lk_txn_errand_get(tx, t->errand.kind, t->errand.owner, t->errand.name, &now);

    if (err == LK_OK && now.version == t->errand.version && now.tries == t->errand.tries) {
        now.failure = t->failure;
        now.due_ms = lk_txn_now_ms(tx) + pause_ms(t);
        if (now.kind == LK_ERRAND_LEAVE) {
            lk_buf_reset(&now.sealed); /* its etag was not the one, or may not be by then */
        }
        err = lk_txn_errand_put(tx, &now);
    }
    lk_errand_fini(&now);
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

static void
postpone_done(void *arg, enum lk_err err)
{
    if (err != LK_OK) { /* it is due when its lease has run out */
        lk_log(LK_LOG_WARNING, "hub.errand_not_postponed", LK_F_ERR(err));
    }
    lk_errand_end(arg);
}

void
lk_errand_postpone(struct lk_errand_try *t, enum lk_err err, uint32_t retry_after_s,
                   const char *detail)
{
    bool assign = t->errand.kind == LK_ERRAND_ASSIGN;

    lk_log(err == LK_ERR_PRECONDITION ? LK_LOG_INFO : LK_LOG_WARNING, "hub.errand_failed",
           LK_F_TEXT("request_id",
                     assign && t->body.request_id[0] != '\0' ? t->body.request_id : NULL),
           LK_F_TEXT("errand", assign ? "assign" : "leave"), LK_F_TEXT("hub", t->errand.hub),
           LK_F_TEXT("scope", assign ? t->errand.owner : NULL),
           LK_F_TEXT(assign ? "registration_id" : "device_id", t->errand.name),
           LK_F_INT("tries", t->errand.tries), LK_F_TEXT("reason", detail), LK_F_ERR(err));
    t->failure = err;
    t->retry_after_s = retry_after_s;
    t->job = (struct lk_job){.run = postpone_run, .done = postpone_done, .arg = t};
    lk_store_write(t->p->config.session, &t->job);
}

/* ---- the object --------------------------------------------------------------------------------
 */

enum lk_err
lk_errands_new(struct lk_provision *p, struct lk_errands **ret)
{
    struct lk_errands *s = calloc(1, sizeof(*s));

    if (s == NULL) {
        return LK_ERR_NOMEM;
    }
    s->p = p;
    *ret = s;
    return LK_OK;
}

void
lk_errands_free(struct lk_errands *s)
{
    if (s == NULL) {
        return;
    }
    assert(lk_errands_pending(s) == 0);
    lk_buf_fini(&s->taken);
    lk_buf_fini(&s->expired);
    free(s);
}

size_t
lk_errands_pending(const struct lk_errands *s)
{
    return s->tries_count + (s->looking ? 1 : 0);
}

bool
lk_errands_stopping(const struct lk_errands *s)
{
    return s->stopping;
}

void
lk_errands_look(struct lk_errands *s)
{
    look(s);
}

void
lk_errands_stop(struct lk_errands *s)
{
    s->stopping = true;
}
