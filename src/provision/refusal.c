/*
 * The audit of refusals, which anybody on the network can cause.
 *
 * So that it can neither fill the disk nor stand in the way of honest devices: at most the
 * configured number of records in a second and REFUSALS_PER_HOUR_FACTOR times as many in an hour;
 * one write job under way at a time, with what gathered meanwhile in the next one; and nobody waits
 * for it. What is not recorded is counted, and a summary tells how many and since when, at most
 * once in SUMMARY_INTERVAL_MS. It is written with the next operation, whatever that is.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/codec.h"
#include "provision/provision_int.h"

#define REFUSALS_PER_HOUR_FACTOR 60u
#define SUMMARY_INTERVAL_MS 60000
#define BATCH_MAX 64u /* refusals in one write job, and waiting for the next */

struct refusal {
    char scope[LK_ID_SCOPE_MAX + 1];
    char registration_id[LK_REGISTRATION_ID_MAX + 1];
    const char *reason;                         /* static */
    char elsewhere[LK_REGISTRATION_ID_MAX + 1]; /* where its EK is registered; "": not known */
    char request_id[LK_REQUEST_ID_MAX + 1];
};

struct batch {
    struct refusal items[BATCH_MAX];
    size_t count;
    uint64_t suppressed; /* summary; 0: none */
    int64_t suppressed_since_ms;
};

/* Events in the current span of span_ms, counted from the first one in it. */
struct window {
    int64_t span_ms, start_ms;
    uint64_t used, max;
};

struct lk_refusals {
    const struct lk_clock *clock;
    struct lk_session *session;
    struct window second, hour;
    uint64_t suppressed;
    int64_t suppressed_since_ms; /* Unix */
    int64_t summary_mono_ms;     /* when the latest summary was written */
    struct batch waiting;
    struct batch writing; /* the job's */
    bool busy;
    struct lk_job job;
};

enum lk_err
lk_refusals_new(const struct lk_provision_config *config, struct lk_refusals **ret)
{
    struct lk_refusals *r = calloc(1, sizeof(*r));
    uint64_t per_s = config->audit_refusals_per_s;

    if (r == NULL) {
        return LK_ERR_NOMEM;
    }
    r->clock = config->clock;
    r->session = config->session;
    r->second = (struct window){.span_ms = 1000, .max = per_s};
    r->hour = (struct window){.span_ms = 3600000, .max = per_s * REFUSALS_PER_HOUR_FACTOR};
    r->second.start_ms = r->hour.start_ms = lk_clock_mono_ms(config->clock);
    r->summary_mono_ms = r->hour.start_ms;
    *ret = r;
    return LK_OK;
}

void
lk_refusals_free(struct lk_refusals *r)
{
    assert(r == NULL || !r->busy);
    free(r);
}

bool
lk_refusals_busy(const struct lk_refusals *r)
{
    return r->busy;
}

static bool
window_has_room(struct window *w, int64_t now_mono_ms)
{
    if (now_mono_ms - w->start_ms >= w->span_ms) {
        w->start_ms = now_mono_ms;
        w->used = 0;
    }
    return w->used < w->max;
}

static void
suppress(struct lk_refusals *r, uint64_t count)
{
    if (r->suppressed == 0) {
        r->suppressed_since_ms = lk_clock_unix_ms(r->clock);
    }
    r->suppressed += count;
    lk_metric_add(LK_M_AUDIT_SUPPRESSED, (int64_t)count);
}

/* ---- the write job ------------------------------------------------------------------------- */

static enum lk_err
refusal_append(struct lk_txn *tx, const struct refusal *item)
{
    LK_AUTO_BUF struct lk_buf detail = LK_BUF_INIT;
    const char *text;
    bool is_duplicate = item->elsewhere[0] != '\0';
    enum lk_err err = lk_buf_printf(&detail, "{\"reason\":\"%s\",\"requestId\":\"%s\"",
                                    item->reason, item->request_id);

    if (err == LK_OK && is_duplicate) { /* an id: nothing in it needs an escape */
        err = lk_buf_printf(&detail, ",\"registeredAs\":\"%s\"", item->elsewhere);
    }
    if (err != LK_OK || (err = lk_buf_puts(&detail, "}")) != LK_OK) {
        return err;
    }
    if ((text = lk_buf_text(&detail)) == NULL) {
        return LK_ERR_NOMEM;
    }
    return lk_txn_audit_append(tx, "device",
                               is_duplicate ? "registration.ek_duplicate" : "registration.refused",
                               item->scope, item->registration_id, text);
}

static enum lk_err
summary_append(struct lk_txn *tx, const struct batch *b)
{
    LK_AUTO_BUF struct lk_buf detail = LK_BUF_INIT;
    char since[LK_TIMESTAMP_CAP];
    const char *text;
    enum lk_err err;

    lk_timestamp_format(b->suppressed_since_ms, since);
    err = lk_buf_printf(&detail, "{\"count\":%" PRIu64 ",\"since\":\"%s\"}", b->suppressed, since);
    if (err != LK_OK) {
        return err;
    }
    if ((text = lk_buf_text(&detail)) == NULL) {
        return LK_ERR_NOMEM;
    }
    return lk_txn_audit_append(tx, "device", "registration.refused_summary", "", "", text);
}

static enum lk_err
write_run(struct lk_txn *tx, void *arg)
{
    const struct batch *b = &((struct lk_refusals *)arg)->writing;
    enum lk_err err;

    for (size_t i = 0; i < b->count; i++) {
        if ((err = refusal_append(tx, &b->items[i])) != LK_OK) {
            return err;
        }
    }
    return b->suppressed == 0 ? LK_OK : summary_append(tx, b);
}

static void
write_done(void *arg, enum lk_err err)
{
    struct lk_refusals *r = arg;

    r->busy = false;
    if (err != LK_OK) {
        /* What could not be recorded is at least counted. The summary's own was already. */
        suppress(r, r->writing.count);
        r->suppressed += r->writing.suppressed;
        return;
    }
    if (r->waiting.count > 0) {
        lk_refusals_flush(r);
    }
}

void
lk_refusals_flush(struct lk_refusals *r)
{
    int64_t now_mono_ms = lk_clock_mono_ms(r->clock);
    bool due = r->suppressed > 0 && now_mono_ms - r->summary_mono_ms >= SUMMARY_INTERVAL_MS;

    if (r->busy || (r->waiting.count == 0 && !due)) {
        return;
    }
    r->writing = r->waiting;
    r->waiting.count = 0;
    if (due) {
        r->writing.suppressed = r->suppressed;
        r->writing.suppressed_since_ms = r->suppressed_since_ms;
        r->suppressed = 0;
        r->summary_mono_ms = now_mono_ms;
    }
    r->busy = true;
    r->job = (struct lk_job){.run = write_run, .done = write_done, .arg = r};
    lk_store_write(r->session, &r->job);
}

static enum lk_err
refusal_fill(const struct lk_reg_op *op, const struct lk_reg_answer *answer, struct refusal *ret)
{
    const char *elsewhere = answer->registered_as != NULL ? answer->registered_as : "";
    enum lk_err err;

    ret->reason = answer->reason;
    if ((err = lk_strcpy(ret->scope, sizeof(ret->scope), op->req.scope)) != LK_OK ||
        (err = lk_strcpy(ret->registration_id, sizeof(ret->registration_id),
                         op->req.registration_id)) != LK_OK ||
        (err = lk_strcpy(ret->elsewhere, sizeof(ret->elsewhere), elsewhere)) != LK_OK) {
        return err;
    }
    return lk_strcpy(ret->request_id, sizeof(ret->request_id), op->request_id);
}

void
lk_refusals_note(struct lk_refusals *r, const struct lk_reg_op *op,
                 const struct lk_reg_answer *answer)
{
    int64_t now_mono_ms = lk_clock_mono_ms(r->clock);
    bool second = window_has_room(&r->second, now_mono_ms);
    bool hour = window_has_room(&r->hour, now_mono_ms);

    if (!second || !hour || r->waiting.count == BATCH_MAX ||
        refusal_fill(op, answer, &r->waiting.items[r->waiting.count]) != LK_OK) {
        suppress(r, 1);
        return;
    }
    r->waiting.count++;
    r->second.used++;
    r->hour.used++;
    lk_refusals_flush(r);
}
