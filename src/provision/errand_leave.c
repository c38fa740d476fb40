/* LEAVE: a device is elsewhere by now, and the key of its old identity must not stay good. */
#include <string.h>

#include "base/log.h"
#include "provision/errand.h"

static void
leave_fail(struct lk_errand_try *t, const struct lk_hub_answer *a)
{
    lk_errand_postpone(t, a->err == LK_ERR_EXISTS ? LK_ERR_PROTOCOL : a->err, a->retry_after_s,
                       a->detail);
}

/* ---- the end -----------------------------------------------------------------------------------
 */

static enum lk_err
gone_run(struct lk_txn *tx, void *arg)
{
    struct lk_errand_try *t = arg;
    struct lk_errand now = {.tries = 0};
    enum lk_err err = lk_txn_errand_get(tx, t->errand.kind, t->errand.owner, t->errand.name, &now);

    if (err == LK_OK && now.version == t->errand.version) {
        err = lk_txn_errand_delete(tx, now.kind, now.owner, now.name);
    }
    lk_errand_fini(&now);
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

static void
gone_done(void *arg, enum lk_err err)
{
    struct lk_errand_try *t = arg;

    if (err == LK_OK) {
        lk_log(LK_LOG_INFO, "hub.identity_left", LK_F_TEXT("hub", t->errand.hub),
               LK_F_TEXT("device_id", t->errand.name));
    } else {
        lk_log(LK_LOG_WARNING, "hub.errand_not_ended", LK_F_ERR(err));
    }
    lk_errand_end(t);
}

static void
gone(struct lk_errand_try *t)
{
    t->job = (struct lk_job){.run = gone_run, .done = gone_done, .arg = t};
    lk_store_write(t->p->config.session, &t->job);
}

/* ---- the steps ---------------------------------------------------------------------------------
 */

static void
removed(void *arg, struct lk_hub_answer *a)
{
    struct lk_errand_try *t = arg;

    if (a->err == LK_OK || a->err == LK_ERR_NOT_FOUND) {
        gone(t);
    } else {
        leave_fail(t, a);
    }
}

static void
remove_step(struct lk_errand_try *t)
{
    const struct lk_hub_link *link = &t->p->config.remote;

    link->ops->remove(link->ctx, &t->hub, t->errand.name, t->present.etag, removed, t);
}

static void
read_done(void *arg, struct lk_hub_answer *a)
{
    struct lk_errand_try *t = arg;

    if (a->err != LK_OK) {
        leave_fail(t, a);
    } else if (!a->snapshot->found) {
        gone(t);
    } else {
        memcpy(t->present.etag, a->snapshot->etag, sizeof(t->present.etag));
        lk_errand_recheck(t, remove_step);
    }
}

/* ---- the beginning -----------------------------------------------------------------------------
 */

static enum lk_err
load_run(struct lk_txn *tx, void *arg)
{
    struct lk_errand_try *t = arg;
    struct lk_errand now = {.tries = 0};
    enum lk_err err = lk_txn_errand_get(tx, t->errand.kind, t->errand.owner, t->errand.name, &now);

    t->stands = err == LK_OK && now.version == t->errand.version;
    lk_errand_fini(&now);
    if (err == LK_OK && t->stands) {
        err = lk_txn_hub_get(tx, t->errand.hub, &t->hub);
        t->linked = err == LK_OK && t->hub.kind == LK_HUB_HTTP;
    }
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

static void
load_done(void *arg, enum lk_err err)
{
    struct lk_errand_try *t = arg;
    const struct lk_hub_link *link = &t->p->config.remote;
    const char *etag = lk_buf_text(&t->errand.sealed);

    if (err != LK_OK) {
        lk_errand_postpone(t, err, 0, "the store could not be asked");
    } else if (!t->stands) {
        lk_errand_end(t);
    } else if (!t->linked) {
        gone(t); /* not ours to change any more */
    } else if (etag != NULL && etag[0] != '\0' &&
               lk_strcpy(t->present.etag, sizeof(t->present.etag), etag) == LK_OK) {
        remove_step(t);
    } else {
        link->ops->read(link->ctx, &t->hub, t->errand.name, false, read_done, t);
    }
}

void
lk_errand_leave_try(struct lk_errand_try *t)
{
    t->job = (struct lk_job){.run = load_run, .done = load_done, .arg = t};
    lk_store_read(t->p->config.session, &t->job);
}
