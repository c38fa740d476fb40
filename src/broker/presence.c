/* Which devices are connected, written down: many changes in one job, in the order they came. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "broker/broker_int.h"

#define CHANGES_MAX 512u /* in one job */

struct change {
    char device_id[LK_DEVICE_ID_MAX + 1]; /* "": nobody is connected, of the whole hub */
    bool connected;
};

struct writing {
    struct lk_work work;
    char hub[LK_HOST_NAME_MAX + 1];
    size_t count;
    struct change changes[CHANGES_MAX];
};

static enum lk_err
presence_run(struct lk_txn *tx, void *arg)
{
    const struct writing *w = arg;

    for (size_t i = 0; i < w->count; i++) {
        const struct change *c = &w->changes[i];
        enum lk_err err = c->device_id[0] == '\0'
                              ? lk_txn_presence_clear(tx, w->hub)
                              : lk_txn_presence_set(tx, w->hub, c->device_id, c->connected);

        if (err != LK_OK && err != LK_ERR_NOT_FOUND) { /* deleted meanwhile: nothing to say */
            return err;
        }
    }
    return LK_OK;
}

static void presence_write(struct lk_line *l);

static void
presence_done(struct lk_work *work, enum lk_err err)
{
    struct writing *w = (struct writing *)work;
    struct lk_line *l = work->line;

    if (err != LK_OK) { /* the next time that the broker's sessions are told corrects it */
        lk_log(LK_LOG_ERROR, "broker.presence_failed", LK_F_TEXT("hub", l->hub), LK_F_ERR(err));
    }
    free(w);
    l->presence_busy = false;
    presence_write(l);
}

static void
presence_write(struct lk_line *l)
{
    size_t count = l->presence.len / sizeof(struct change);
    struct writing *w;

    if (l->presence_busy || count == 0 || (w = calloc(1, sizeof(*w))) == NULL) {
        return;
    }
    w->count = count < CHANGES_MAX ? count : CHANGES_MAX;
    memcpy(w->hub, l->hub, sizeof(w->hub));
    memcpy(w->changes, l->presence.data, w->count * sizeof(struct change));
    lk_buf_consume(&l->presence, w->count * sizeof(struct change));
    l->presence_busy = true;
    lk_line_write(l, &w->work, presence_run, presence_done);
}

static void
presence_put(struct lk_line *l, const struct change *c)
{
    if (lk_buf_put(&l->presence, c, sizeof(*c)) != LK_OK) {
        lk_log(LK_LOG_ERROR, "broker.presence_lost", LK_F_TEXT("hub", l->hub),
               LK_F_TEXT("device_id", c->device_id));
    }
    presence_write(l);
}

void
lk_presence_note(struct lk_line *l, const char *device_id, bool connected)
{
    struct change c = {.connected = connected};

    if (lk_strcpy(c.device_id, sizeof(c.device_id), device_id) == LK_OK) {
        presence_put(l, &c);
    }
}

void
lk_presence_reset(struct lk_line *l)
{
    const struct change nobody = {.connected = false};

    presence_put(l, &nobody);
}
