/* Errands as registrations make them: part of the transactions that commit a registration. */
#include <string.h>

#include "provision/errand.h"

/* ---- LEAVE -------------------------------------------------------------------------------------
 */

static enum lk_err
found_or_not(enum lk_err err)
{
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

enum lk_err
lk_errand_leave_put(struct lk_txn *tx, const char *hub, const char *device_id, uint64_t version,
                    const char *etag)
{
    struct lk_errand e = {.kind = LK_ERRAND_LEAVE,
                          .version = version,
                          .created_ms = lk_txn_now_ms(tx),
                          .due_ms = lk_txn_now_ms(tx),
                          .deadline_ms = lk_txn_now_ms(tx) + LK_ERRAND_LEAVE_MS};
    enum lk_err err;

    if ((err = lk_strcpy(e.owner, sizeof(e.owner), hub)) == LK_OK &&
        (err = lk_strcpy(e.hub, sizeof(e.hub), hub)) == LK_OK &&
        (err = lk_strcpy(e.name, sizeof(e.name), device_id)) == LK_OK &&
        (err = lk_buf_puts(&e.sealed, etag)) == LK_OK) {
        err = lk_txn_errand_put(tx, &e);
    }
    lk_errand_fini(&e);
    return err;
}

enum lk_err
lk_errand_leave_cancel(struct lk_txn *tx, const char *hub, const char *device_id)
{
    return found_or_not(lk_txn_errand_delete(tx, LK_ERRAND_LEAVE, hub, device_id));
}

enum lk_err
lk_old_identity_leave(struct lk_txn *tx, const struct lk_provision *p, const struct lk_move *m)
{
    struct lk_hub old = {.sealed_connection = LK_BUF_INIT};
    const struct lk_hub_link *link;
    enum lk_err err;

    if (m->old_hub == NULL || m->old_hub[0] == '\0' ||
        (strcmp(m->old_hub, m->hub) == 0 && strcmp(m->old_device_id, m->device_id) == 0)) {
        return LK_OK;
    }
    err = lk_txn_hub_get(tx, m->old_hub, &old);
    if (err == LK_ERR_NOT_FOUND) {
        return LK_OK; /* no longer linked: not ours to change */
    }
    if (err != LK_OK) {
        return err;
    }
    link = lk_provision_link(p, &old);
    if (old.kind == LK_HUB_HTTP) {
        err = lk_errand_leave_put(tx, old.name, m->old_device_id, m->version, m->etag);
    } else if (link->ops != NULL && link->ops->remove_in_txn != NULL) {
        err = link->ops->remove_in_txn(link->ctx, tx, &old, m->old_device_id, &m->owner);
    }
    lk_hub_fini(&old);
    return err;
}

/* ---- ASSIGN ------------------------------------------------------------------------------------
 */

bool
lk_errand_needed(const struct lk_reg_op *op, const struct lk_hub *hub)
{
    const char *previous = lk_previous_hub(op);
    const struct lk_hub *old = previous == NULL ? NULL : lk_op_hub_find(op, previous);

    if (hub->kind == LK_HUB_HTTP) {
        return true;
    }
    return old != NULL && old->kind == LK_HUB_HTTP && op->enrollment.reprovision_migrate &&
           op->p->config.remote.ops != NULL;
}

static void
untold_add(struct lk_errand_body *b, const uint8_t digest[32])
{
    if (b->untold_count == LK_ERRAND_UNTOLD_MAX) {
        memmove(b->untold[0], b->untold[1], sizeof(b->untold) - sizeof(b->untold[0]));
        b->untold_count--;
    }
    memcpy(b->untold[b->untold_count++], digest, 32);
}

/* What an errand that is overtaken leaves behind at its hub. */
static enum lk_err
overtaken_take(struct lk_txn *tx, const struct lk_reg_op *op, const struct lk_errand_body *was,
               struct lk_errand_body *b)
{
    const struct lk_part key = LK_PART(was->keys.primary.data, was->keys.primary.len);
    const struct lk_move move = {.owner = {op->next.scope, op->next.id},
                                 .old_hub = was->hub,
                                 .old_device_id = was->device_id,
                                 .hub = b->hub,
                                 .device_id = b->device_id,
                                 .version = op->next.generation,
                                 .etag = ""};
    uint8_t digest[32];
    enum lk_err err;

    if (strcmp(was->hub, b->hub) == 0) {
        if ((err = lk_digest(LK_SHA256, &key, 1, digest)) != LK_OK) {
            return err;
        }
        for (size_t i = 0; i < was->untold_count; i++) {
            untold_add(b, was->untold[i]);
        }
        untold_add(b, digest);
        b->keep_old_key = b->keep_old_key && was->keep_old_key;
        return LK_OK;
    }
    b->keep_old_key = false;
    if (strcmp(was->hub, op->record.hub) == 0) {
        return LK_OK; /* the device has been there before, and leaves once it has the new hub */
    }
    return lk_old_identity_leave(tx, op->p, &move);
}

/*
 * An errand of an earlier registration that is still under way ends here. Without one, only a
 * record that is `assigned` says whose key the hub's present one is: a failed one may have replaced
 * the TPM's SRK and not the key.
 */
static enum lk_err
overtake(struct lk_txn *tx, const struct lk_reg_op *op, struct lk_errand_body *b)
{
    struct lk_errand was = {.tries = 0};
    struct lk_errand_body body = {.untold_count = 0};
    enum lk_err err = lk_txn_errand_get(tx, LK_ERRAND_ASSIGN, op->next.scope, op->next.id, &was);

    if (err == LK_OK) {
        err = lk_errand_body_open(op->ring, op->next.scope, op->next.id, was.version, &was.sealed,
                                  &body);
        if (err == LK_OK) {
            err = overtaken_take(tx, op, &body, b);
        } else if (err == LK_ERR_CONFIG || err == LK_ERR_STORE) {
            b->keep_old_key = false; /* what cannot be read must not keep a device away */
            err = LK_OK;
        }
    } else if (err == LK_ERR_NOT_FOUND) {
        b->keep_old_key = b->keep_old_key && op->record.status == LK_REG_ASSIGNED;
        err = LK_OK;
    }
    lk_errand_body_fini(&body);
    lk_errand_fini(&was);
    return err;
}

/* Scalars, and copies of what is long. b is zeroed. */
static enum lk_err
body_fill(const struct lk_reg_op *op, struct lk_errand_body *b)
{
    const struct lk_registration *next = &op->next;
    enum lk_err err;

    b->keys = op->hub_keys;
    b->has_thumbprint = next->attestation == LK_ATTESTATION_X509;
    memcpy(b->thumbprint, op->token_hash, sizeof(b->thumbprint));
    b->keep_old_key = lk_old_key_lives(op);
    b->migrate = op->enrollment.reprovision_migrate;
    b->iot_edge = op->enrollment.iot_edge;
    memcpy(b->request_id, op->request_id, sizeof(b->request_id));
    if ((err = lk_strcpy(b->hub, sizeof(b->hub), next->hub)) != LK_OK ||
        (err = lk_strcpy(b->device_id, sizeof(b->device_id), next->device_id)) != LK_OK ||
        (err = lk_buf_put(&b->auth_key, next->auth_key, next->auth_key_len)) != LK_OK ||
        (err = lk_buf_put(&b->payload, next->payload.data, next->payload.len)) != LK_OK) {
        return err;
    }
    return lk_buf_put(&b->initial_twin, op->enrollment.initial_twin.data,
                      op->enrollment.initial_twin.len);
}

/* A device that was about to leave the hub's device of that name comes back to it. */
static enum lk_err
newness_judge(struct lk_txn *tx, const struct lk_reg_op *op, struct lk_errand_body *b)
{
    struct lk_errand leave = {.tries = 0};
    enum lk_err err = lk_txn_errand_get(tx, LK_ERRAND_LEAVE, b->hub, b->device_id, &leave);

    b->must_be_new = err == LK_ERR_NOT_FOUND && lk_must_be_new(op);
    lk_errand_fini(&leave);
    return found_or_not(err);
}

static enum lk_err
errand_make(struct lk_txn *tx, const struct lk_reg_op *op, const struct lk_errand_body *b,
            struct lk_errand *e)
{
    const char *called = op->hub.kind == LK_HUB_HTTP ? b->hub : op->record.hub;
    enum lk_err err;

    e->kind = LK_ERRAND_ASSIGN;
    e->version = op->next.generation;
    e->created_ms = e->due_ms = lk_txn_now_ms(tx);
    e->deadline_ms = e->created_ms + (int64_t)op->p->config.hub_deadline_s * 1000;
    if ((err = lk_strcpy(e->owner, sizeof(e->owner), op->next.scope)) != LK_OK ||
        (err = lk_strcpy(e->name, sizeof(e->name), op->next.id)) != LK_OK ||
        (err = lk_strcpy(e->hub, sizeof(e->hub), called)) != LK_OK) {
        return err;
    }
    return lk_errand_body_seal(op->ring, op->p->config.rnd, op->next.scope, op->next.id, e->version,
                               b, &e->sealed);
}

enum lk_err
lk_errand_assign_put(struct lk_txn *tx, const struct lk_reg_op *op)
{
    struct lk_errand_body body = {.untold_count = 0};
    struct lk_errand e = {.tries = 0};
    enum lk_err err;

    if ((err = body_fill(op, &body)) == LK_OK && (err = overtake(tx, op, &body)) == LK_OK &&
        (err = newness_judge(tx, op, &body)) == LK_OK &&
        (err = lk_errand_leave_cancel(tx, body.hub, body.device_id)) == LK_OK &&
        (err = errand_make(tx, op, &body, &e)) == LK_OK) {
        err = lk_txn_errand_put(tx, &e);
    }
    lk_errand_fini(&e);
    lk_errand_body_fini(&body);
    return err;
}

/* There is one as long as the record is `assigning`, and the transaction ends if that has changed.
 */
enum lk_err
lk_errand_assign_drop(struct lk_txn *tx, const struct lk_reg_op *op)
{
    struct lk_errand_body body = {.untold_count = 0};
    enum lk_err err;

    if (!op->recorded || op->record.status != LK_REG_ASSIGNING) {
        return LK_OK;
    }
    if ((err = lk_strcpy(body.hub, sizeof(body.hub), op->next.hub)) == LK_OK &&
        (err = lk_strcpy(body.device_id, sizeof(body.device_id), op->next.device_id)) == LK_OK) {
        err = overtake(tx, op, &body);
    }
    lk_errand_body_fini(&body);
    return err != LK_OK ? err
                        : found_or_not(lk_txn_errand_delete(tx, LK_ERRAND_ASSIGN, op->next.scope,
                                                            op->next.id));
}
