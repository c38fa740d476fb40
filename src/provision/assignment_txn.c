/*
 * The transaction that makes an assignment, and the second one that a hub elsewhere needs.
 *
 * Everything that the loop judged is compared again: the enrollment by its etag, the hub by its
 * being linked, the generation by the store. run() may be called again, so it only writes what
 * follows from its input.
 */
#include <string.h>

#include "base/codec.h"
#include "base/log.h"
#include "provision/provision_int.h"

static enum lk_err
audit_append(struct lk_txn *tx, const struct lk_reg_op *op, const struct lk_registration *r)
{
    LK_AUTO_BUF struct lk_buf detail = LK_BUF_INIT;
    bool failed = r->status == LK_REG_FAILED;
    const char *text;
    enum lk_err err;

    /* Host names, device ids and what we make ourselves: nothing in it needs an escape. */
    if ((err = lk_buf_printf(&detail,
                             "{\"operationId\":\"%s\",\"hub\":\"%s\",\"deviceId\":\"%s\","
                             "\"substatus\":\"%s\",\"errorCode\":%d,\"requestId\":\"%s\","
                             "\"srkName\":\"",
                             r->operation_id, r->hub, r->device_id,
                             lk_dps_substatus_name((enum lk_dps_substatus)r->substatus),
                             (int)r->error_code, op->request_id)) != LK_OK ||
        (err = lk_hex_encode(r->srk_name, r->srk_name_len, &detail)) != LK_OK ||
        (r->group[0] != '\0' &&
         (err = lk_buf_printf(&detail, "\",\"group\":\"%s", r->group)) != LK_OK) ||
        (err = lk_buf_puts(&detail, "\"}")) != LK_OK) {
        return err;
    }
    if ((text = lk_buf_text(&detail)) == NULL) {
        return LK_ERR_NOMEM;
    }
    return lk_txn_audit_append(tx, "device",
                               failed ? "registration.failed" : "registration.assigned", r->scope,
                               r->id, text);
}

/* Any change since the read, of whatever in it, is a reason to judge again. */
static enum lk_err
enrollment_still(struct lk_txn *tx, const struct lk_reg_op *op)
{
    struct lk_enrollment now;
    enum lk_err err;

    lk_enrollment_init(&now);
    err = lk_txn_enrollment_get(tx, op->enrollment.scope, op->enrollment.id, &now);
    if (err == LK_ERR_NOT_FOUND && op->group[0] != '\0') {
        err = lk_txn_group_get(tx, op->enrollment.scope, op->group, &now);
    }
    if (err == LK_ERR_NOT_FOUND ||
        (err == LK_OK && (!now.enabled || strcmp(now.etag, op->enrollment.etag) != 0))) {
        err = LK_ERR_PRECONDITION;
    }
    lk_enrollment_fini(&now);
    return err;
}

/* initialAssignment only for an identity that is new; "unchanged" is what the others tell. */
static enum lk_dps_substatus
substatus_of(const struct lk_reg_op *op, bool existed)
{
    const char *previous = lk_previous_hub(op);

    if (previous != NULL && strcmp(previous, op->next.hub) != 0) {
        return op->enrollment.reprovision_migrate ? LK_DPS_SUB_MIGRATED : LK_DPS_SUB_RESET;
    }
    return existed ? LK_DPS_SUB_REPROVISIONED : LK_DPS_SUB_INITIAL;
}

/*
 * Only the same SRK can still hold the old key: after TPM2_Clear nothing opens it any more, and
 * what an earlier owner kept must be worth nothing.
 */
static bool
old_key_lives(const struct lk_reg_op *op)
{
    const struct lk_registration *was = &op->record, *now = &op->next;

    return op->recorded && was->srk_name_len > 0 && was->srk_name_len == now->srk_name_len &&
           memcmp(was->srk_name, now->srk_name, now->srk_name_len) == 0;
}

static struct lk_hub_assign
hub_assign_of(struct lk_reg_op *op)
{
    const char *previous = lk_previous_hub(op);
    bool moves = previous != NULL && strcmp(previous, op->next.hub) != 0;
    const struct lk_shared_keys *keys = &op->hub_keys;
    bool has_twin = op->enrollment.initial_twin.len > 0;
    struct lk_hub_assign a = {.hub = &op->hub,
                              .device_id = op->next.device_id,
                              .key = keys->primary.data,
                              .key_len = keys->primary.len,
                              .secondary_key = keys->secondary.data,
                              .secondary_key_len = keys->secondary.len,
                              .keep_old_key = old_key_lives(op),
                              .from_hub = moves ? previous : NULL,
                              .migrate = moves && op->enrollment.reprovision_migrate,
                              .initial_twin =
                                  has_twin ? lk_buf_text(&op->enrollment.initial_twin) : NULL};

    return a;
}

/*
 * The identity that the device had, on another hub or under another device id, is of no use to it
 * any more, and its key must not stay good. Its hub is left here when that is ours; an adapter
 * leaves its own. The new identity came first: what fails in between leaves one too many, never
 * none.
 */
static enum lk_err
old_identity_leave(struct lk_txn *tx, const struct lk_reg_op *op)
{
    const char *previous = lk_previous_hub(op), *device_id = op->record.device_id;
    struct lk_hub old = {.sealed_connection = LK_BUF_INIT};
    const struct lk_hub_link *link;
    enum lk_err err;

    if (previous == NULL ||
        (strcmp(previous, op->next.hub) == 0 && strcmp(device_id, op->next.device_id) == 0)) {
        return LK_OK;
    }
    err = lk_txn_hub_get(tx, previous, &old);
    if (err == LK_ERR_NOT_FOUND) {
        return LK_OK; /* no longer linked: not ours to change */
    }
    if (err != LK_OK) {
        return err;
    }
    link = lk_op_link(op, &old);
    if (link->ops != NULL && link->ops->remove_in_txn != NULL) {
        err = link->ops->remove_in_txn(link->ctx, tx, &old, device_id);
    }
    lk_hub_fini(&old);
    return err;
}

/* The new identity, and the end of an old one. */
static enum lk_err
hub_assign_in_txn(struct lk_txn *tx, struct lk_reg_op *op)
{
    const struct lk_hub_link *link = lk_op_link(op, &op->hub);
    struct lk_hub_assign a = hub_assign_of(op);
    bool existed;
    enum lk_err err;

    if ((err = link->ops->assign_in_txn(link->ctx, tx, &a, &existed)) != LK_OK ||
        (err = old_identity_leave(tx, op)) != LK_OK) {
        return err;
    }
    op->next.substatus = (int)substatus_of(op, existed);
    return LK_OK;
}

static enum lk_err
hub_still(struct lk_txn *tx, struct lk_reg_op *op)
{
    enum lk_err err;

    lk_hub_fini(&op->hub);
    err = lk_txn_hub_get(tx, op->next.hub, &op->hub);
    return err == LK_ERR_NOT_FOUND ? LK_ERR_PRECONDITION : err;
}

/* A hub elsewhere, or a webhook, has yet to be asked. */
static enum lk_err
assigning_put(struct lk_txn *tx, const struct lk_reg_op *op)
{
    struct lk_registration r = op->next;
    enum lk_err err = lk_previous_keep(op, &r);

    r.auth_key_len = 0;
    return err != LK_OK ? err : lk_txn_registration_put(tx, &r, r.generation - 1);
}

enum lk_err
lk_assign_run(struct lk_txn *tx, void *arg)
{
    struct lk_reg_op *op = arg;
    struct lk_registration *next = &op->next;
    enum lk_err err;

    if ((err = enrollment_still(tx, op)) != LK_OK || (err = lk_ek_member_still(op, tx)) != LK_OK) {
        return err;
    }
    if (next->status != LK_REG_FAILED && next->hub[0] != '\0' &&
        (err = hub_still(tx, op)) != LK_OK) {
        return err;
    }
    if (next->status == LK_REG_ASSIGNING) {
        return assigning_put(tx, op);
    }
    if ((next->status == LK_REG_ASSIGNED && (err = hub_assign_in_txn(tx, op)) != LK_OK) ||
        (err = lk_txn_registration_put(tx, next, next->generation - 1)) != LK_OK) {
        return err;
    }
    return audit_append(tx, op, next);
}

/* ---- after `assigning`: hubs elsewhere, and what a webhook chose -------------------------------
 */

/* A hub of ours that was chosen after the answer gets the device now, if all is as it was. */
static enum lk_err
late_assign(struct lk_txn *tx, struct lk_reg_op *op)
{
    enum lk_err err;

    if ((err = enrollment_still(tx, op)) == LK_OK && (err = hub_still(tx, op)) == LK_OK) {
        return hub_assign_in_txn(tx, op);
    }
    if (err == LK_ERR_PRECONDITION) {
        return lk_failure_record(op, LK_DPS_CUSTOM_FAILED,
                                 "The enrollment or the hub was changed meanwhile", &op->next);
    }
    return err;
}

/* op->next as it shall be in the store. */
static enum lk_err
outcome_record(struct lk_txn *tx, struct lk_reg_op *op)
{
    const struct lk_hub_link *link = lk_op_link(op, &op->hub);

    if (op->fail_code != 0) {
        return lk_failure_record(op, op->fail_code, op->fail_why, &op->next);
    }
    op->next.status = LK_REG_ASSIGNED;
    if (link->ops->assign_in_txn != NULL) {
        return late_assign(tx, op);
    }
    op->next.substatus = (int)substatus_of(op, op->hub_existed);
    return old_identity_leave(tx, op);
}

/* The outcome, unless a newer attestation has taken over. */
static enum lk_err
outcome_run(struct lk_txn *tx, void *arg)
{
    struct lk_reg_op *op = arg;
    struct lk_registration now = {.generation = 0};
    enum lk_err err = lk_txn_registration_get(tx, op->next.scope, op->next.id, &now);
    bool ours =
        err == LK_OK && now.status == LK_REG_ASSIGNING && now.generation == op->next.generation;

    op->next.status = LK_REG_ASSIGNING; /* as long as there is no outcome */
    lk_registration_fini(&now);
    if (!ours) {
        return err == LK_ERR_NOT_FOUND ? LK_OK : err;
    }
    if ((err = outcome_record(tx, op)) != LK_OK ||
        (err = lk_txn_registration_put(tx, &op->next, op->next.generation)) != LK_OK) {
        return err;
    }
    return audit_append(tx, op, &op->next);
}

static void
outcome_done(void *arg, enum lk_err err)
{
    struct lk_reg_op *op = arg;

    if (err != LK_OK) { /* the device polls until it gives up, and registers again */
        lk_log(LK_LOG_ERROR, "registration.outcome_lost", LK_F_TEXT("scope", op->next.scope),
               LK_F_TEXT("registration_id", op->next.id), LK_F_ERR(err));
    } else {
        lk_status_count(op->next.status);
    }
    lk_op_end(op);
}

void
lk_outcome_write(struct lk_reg_op *op)
{
    op->job = (struct lk_job){.run = outcome_run, .done = outcome_done, .arg = op};
    lk_store_write(op->p->config.session, &op->job);
}

static void
hub_assigned(void *arg, enum lk_err err, bool existed)
{
    struct lk_reg_op *op = arg;

    if (err == LK_ERR_REFUSED) {
        lk_assignment_fail(op, LK_DPS_HUB_REFUSED, "The hub refused");
    } else if (err != LK_OK) {
        lk_assignment_fail(op, LK_DPS_UNAVAILABLE, "The hub did not answer");
    }
    op->hub_existed = existed;
    lk_outcome_write(op);
}

void
lk_hub_call(struct lk_reg_op *op)
{
    const struct lk_hub_link *link = lk_op_link(op, &op->hub);
    struct lk_hub_assign a = hub_assign_of(op);

    link->ops->assign(link->ctx, &a, hub_assigned, op);
}
