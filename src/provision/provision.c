/* An operation's frame: its beginning, its view of the store, its answer and its end. */
#include <assert.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "provision/provision_int.h"

enum lk_err
lk_provision_new(const struct lk_provision_config *config, struct lk_provision **ret)
{
    LK_AUTO(lk_provision) struct lk_provision *p = NULL;
    enum lk_err err;

    if (config->epoch_s == 0) {
        return LK_ERR_ARG;
    }
    p = calloc(1, sizeof(*p));
    if (p == NULL) {
        return LK_ERR_NOMEM;
    }
    p->config = *config;
    p->config.hub_call_ms = config->hub_call_ms != 0 ? config->hub_call_ms : 5000;
    p->config.hub_deadline_s = config->hub_deadline_s != 0 ? config->hub_deadline_s : 600;
    p->ring = lk_keyring_ref(config->keyring);
    if ((err = lk_refusals_new(config, &p->refusals)) != LK_OK ||
        (err = lk_errands_new(p, &p->errands)) != LK_OK) {
        return err;
    }
    *ret = lk_provision_take(&p);
    return LK_OK;
}

void
lk_provision_free(struct lk_provision *p)
{
    if (p == NULL) {
        return;
    }
    assert(p->errands == NULL || lk_provision_pending(p) == 0);
    lk_errands_free(p->errands);
    lk_refusals_free(p->refusals);
    lk_ek_trust_free(p->trust);
    lk_keyring_free(p->ring);
    free(p);
}

size_t
lk_provision_pending(const struct lk_provision *p)
{
    return p->ops_count + (lk_refusals_busy(p->refusals) ? 1 : 0) + lk_errands_pending(p->errands);
}

void
lk_provision_tick(struct lk_provision *p)
{
    lk_errands_look(p->errands);
}

void
lk_provision_stop(struct lk_provision *p)
{
    lk_errands_stop(p->errands);
}

void
lk_provision_set_keyring(struct lk_provision *p, struct lk_keyring *ring)
{
    struct lk_keyring *old = p->ring;

    p->ring = lk_keyring_ref(ring);
    lk_keyring_free(old);
}

/* The id is written into JSON text: nothing but what needs no escape is kept of it. */
static void
request_id_copy(char ret[LK_REQUEST_ID_MAX + 1], const char *id)
{
    size_t len = id == NULL ? 0 : strnlen(id, LK_REQUEST_ID_MAX);

    for (size_t i = 0; i < len; i++) {
        ret[i] = isalnum((unsigned char)id[i]) ? id[i] : '-';
    }
    ret[len] = '\0';
}

struct lk_reg_op *
lk_op_begin(struct lk_provision *p, const struct lk_reg_request *req, lk_reg_done_fn *done,
            void *arg)
{
    struct lk_reg_op *op = calloc(1, sizeof(*op));

    lk_refusals_flush(p->refusals);
    if (op == NULL) {
        const struct lk_reg_answer busy = {
            .verdict = LK_REG_BUSY, .reason = "memory", .err = LK_ERR_NOMEM};

        done(arg, &busy);
        return NULL;
    }
    op->p = p;
    op->ring = lk_keyring_ref(p->ring);
    op->now_ms = lk_clock_unix_ms(p->config.clock);
    op->req = *req;
    request_id_copy(op->request_id, req->request_id);
    op->done = done;
    op->arg = arg;
    op->hubs.max = LK_LINKED_HUBS_MAX * sizeof(struct lk_hub);
    p->ops_count++;
    return op;
}

void
lk_op_end(struct lk_reg_op *op)
{
    op->p->ops_count--;
    lk_keyring_free(op->ring);
    lk_ek_cert_free(op->ek_cert);
    lk_enrollment_fini(&op->enrollment);
    lk_registration_fini(&op->record);
    lk_registration_fini(&op->next);
    lk_hub_fini(&op->hub);
    lk_buf_fini(&op->hubs);
    lk_buf_fini(&op->payload);
    lk_wipe(op, sizeof(*op));
    free(op);
}

/* ---- the read ------------------------------------------------------------------------------ */

static enum lk_err
hub_collect(void *ctx, const struct lk_hub *hub)
{
    struct lk_reg_op *op = ctx;
    struct lk_hub copy = *hub;

    copy.sealed_connection = (struct lk_buf)LK_BUF_INIT;
    return lk_buf_put(&op->hubs, &copy, sizeof(copy));
}

const struct lk_hub *
lk_op_hubs(const struct lk_reg_op *op, size_t *ret_count)
{
    *ret_count = op->hubs.len / sizeof(struct lk_hub);
    return (const struct lk_hub *)(const void *)op->hubs.data; /* aligned: malloc's own */
}

/* LK_OK for LK_ERR_NOT_FOUND too; *ret_found tells them apart. */
static enum lk_err
found_or_not(enum lk_err err, bool *ret_found)
{
    *ret_found = err == LK_OK;
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

/* All of it whatever is missing, so that an unknown scope takes as many look-ups as a known one. */
static enum lk_err
read_run(struct lk_txn *tx, void *arg)
{
    struct lk_reg_op *op = arg;
    const char *scope_id = op->req.scope, *id = op->req.registration_id;
    struct lk_scope scope;
    bool any;
    enum lk_err err;

    lk_enrollment_fini(&op->enrollment);
    lk_enrollment_init(&op->enrollment);
    lk_registration_fini(&op->record);
    memset(&op->record, 0, sizeof(op->record));
    lk_buf_reset(&op->hubs);
    if ((err = found_or_not(lk_txn_scope_get(tx, scope_id, &scope), &op->scope_known)) != LK_OK ||
        (err = found_or_not(lk_txn_enrollment_get(tx, scope_id, id, &op->enrollment),
                            &op->enrolled)) != LK_OK ||
        (err = found_or_not(lk_txn_registration_get(tx, scope_id, id, &op->record), &any)) !=
            LK_OK) {
        return err;
    }
    op->scope_allocation = op->scope_known ? scope.allocation : LK_ALLOC_DEFAULT;
    op->recorded = any && op->record.status != LK_REG_NONE;
    if ((err = lk_member_read(op, tx)) != LK_OK || (err = lk_ek_member_read(op, tx)) != LK_OK) {
        return err;
    }
    return op->with_hubs ? lk_txn_hub_each(tx, hub_collect, op) : LK_OK;
}

static void
read_done(void *arg, enum lk_err err)
{
    struct lk_reg_op *op = arg;

    if (err != LK_OK) {
        lk_op_fault(op, err);
        return;
    }
    op->then(op);
}

void
lk_op_read(struct lk_reg_op *op, bool with_hubs, void (*then)(struct lk_reg_op *op))
{
    op->with_hubs = with_hubs;
    op->then = then;
    op->job = (struct lk_job){.run = read_run, .done = read_done, .arg = op};
    lk_store_read(op->p->config.session, &op->job);
}

/* ---- the answer -------------------------------------------------------------------------------
 */

void
lk_op_answer(struct lk_reg_op *op, const struct lk_reg_answer *answer)
{
    assert(!op->answered);
    op->answered = true;
    if (answer->verdict == LK_REG_REFUSED) {
        lk_metric_add(LK_M_REG_REFUSED, 1);
        lk_refusals_note(op->p->refusals, op, answer);
    }
    op->done(op->arg, answer);
}

void
lk_op_finish(struct lk_reg_op *op, const struct lk_reg_answer *answer)
{
    lk_op_answer(op, answer);
    lk_op_end(op);
}

void
lk_op_fault(struct lk_reg_op *op, enum lk_err err)
{
    bool again = lk_err_kind(err) == LK_KIND_RETRY;
    const struct lk_reg_answer answer = {
        .verdict = again ? LK_REG_BUSY : LK_REG_ERROR, .reason = lk_err_name(err), .err = err};

    lk_op_finish(op, &answer);
}

void
lk_op_stop(struct lk_reg_op *op, enum lk_err err, const char *reason)
{
    struct lk_reg_answer answer = {.reason = reason,
                                   .registered_as = op->is_duplicate ? op->elsewhere : NULL};

    switch (err) {
    case LK_ERR_FORMAT:
    case LK_ERR_LIMIT:
    case LK_ERR_UNSUPPORTED:
        answer.verdict = LK_REG_BAD;
        break;
    case LK_ERR_REFUSED:
        answer.verdict = LK_REG_REFUSED;
        break;
    default:
        lk_op_fault(op, err);
        return;
    }
    lk_op_finish(op, &answer);
}
