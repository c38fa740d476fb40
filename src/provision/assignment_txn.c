/*
 * The transaction that makes an assignment, and the second one that a webhook's choice needs.
 *
 * Everything that the loop judged is compared again: the enrollment by its etag, the hub by its
 * being linked, the generation by the store. run() may be called again, so it only writes what
 * follows from its input.
 */
#include <string.h>

#include "base/codec.h"
#include "base/log.h"
#include "provision/provision_int.h"

enum lk_err
lk_assignment_audit(struct lk_txn *tx, const char *request_id, const struct lk_registration *r)
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
                             (int)r->error_code, request_id)) != LK_OK ||
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

enum lk_dps_substatus
lk_substatus_of(const char *previous, const char *hub, bool migrate, bool existed)
{
    if (previous != NULL && strcmp(previous, hub) != 0) {
        return migrate ? LK_DPS_SUB_MIGRATED : LK_DPS_SUB_RESET;
    }
    return existed ? LK_DPS_SUB_REPROVISIONED : LK_DPS_SUB_INITIAL;
}

bool
lk_old_key_lives(const struct lk_reg_op *op)
{
    const struct lk_registration *was = &op->record, *now = &op->next;

    return op->recorded && was->srk_name_len > 0 && was->srk_name_len == now->srk_name_len &&
           memcmp(was->srk_name, now->srk_name, now->srk_name_len) == 0;
}

bool
lk_must_be_new(const struct lk_reg_op *op)
{
    const char *previous = lk_previous_hub(op);

    return op->chose_id && (previous == NULL || strcmp(previous, op->next.hub) != 0 ||
                            strcmp(op->record.device_id, op->next.device_id) != 0);
}

void
lk_device_id_taken(struct lk_txn *tx, const char *request_id, const char *hub,
                   const char *device_id, const struct lk_hub_owner *owner)
{
    struct lk_identity id = {.owner_scope = ""};
    enum lk_err err = lk_txn_identity_get(tx, hub, device_id, &id);
    bool by_operator = err == LK_OK && id.owner_scope[0] == '\0';
    bool its_own = strcmp(id.owner_scope, owner->scope) == 0 &&
                   lk_ascii_caseeq(id.owner_id, strlen(id.owner_id), owner->id, strlen(owner->id));

    lk_log(LK_LOG_WARNING, "registration.device_id_taken", LK_F_TEXT("request_id", request_id),
           LK_F_TEXT("scope", owner->scope), LK_F_TEXT("registration_id", owner->id),
           LK_F_TEXT("hub", hub), LK_F_TEXT("device_id", device_id),
           LK_F_TEXT("owner_scope", by_operator ? NULL : id.owner_scope),
           LK_F_TEXT("owner_registration_id", by_operator ? NULL : id.owner_id),
           LK_F_TEXT("reason", by_operator ? "made by an operator of the hub"
                               : its_own
                                   ? "made before its registration was deleted, and it chose its ID"
                                   : "its registration or enrollment is still there"));
    lk_wipe(&id, sizeof(id));
}

void
lk_thumbprint_text(const uint8_t sha256[32], char ret[LK_CERT_THUMBPRINT_CAP])
{
    static const char digits[] = "0123456789ABCDEF";

    for (size_t i = 0; i < 32; i++) {
        ret[2 * i] = digits[sha256[i] >> 4];
        ret[2 * i + 1] = digits[sha256[i] & 15];
    }
    ret[LK_CERT_THUMBPRINT_CAP - 1] = '\0';
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
                              .owner = {op->next.scope, op->next.id},
                              .key = keys->primary.data,
                              .key_len = keys->primary.len,
                              .secondary_key = keys->secondary.data,
                              .secondary_key_len = keys->secondary.len,
                              .keep_old_key = lk_old_key_lives(op),
                              .from_hub = moves ? previous : NULL,
                              .migrate = moves && op->enrollment.reprovision_migrate,
                              .initial_twin =
                                  has_twin ? lk_buf_text(&op->enrollment.initial_twin) : NULL,
                              .iot_edge = op->enrollment.iot_edge,
                              .must_be_new = lk_must_be_new(op)};

    return a;
}

/* What it has on a hub of ours that it leaves for another one of ours. */
static enum lk_err
carried_read(struct lk_txn *tx, const struct lk_reg_op *op, const struct lk_hub_assign *a,
             struct lk_hub_snapshot *ret)
{
    struct lk_hub old = {.sealed_connection = LK_BUF_INIT};
    const struct lk_hub_link *link = &op->p->config.embedded;
    enum lk_err err;

    if (!a->migrate || link->ops->read_in_txn == NULL) {
        return LK_OK;
    }
    err = lk_txn_hub_get(tx, a->from_hub, &old);
    if (err == LK_OK && old.kind == LK_HUB_EMBEDDED) {
        err = link->ops->read_in_txn(link->ctx, tx, &old, op->record.device_id, &a->owner, ret);
    }
    lk_hub_fini(&old);
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

static enum lk_err
identity_assign(struct lk_txn *tx, struct lk_reg_op *op, bool *ret_existed)
{
    const struct lk_hub_link *link = lk_op_link(op, &op->hub);
    struct lk_hub_assign a = hub_assign_of(op);
    struct lk_hub_snapshot carried = {.found = false};
    char thumbprint[LK_CERT_THUMBPRINT_CAP];
    enum lk_err err = carried_read(tx, op, &a, &carried);

    if (op->next.attestation == LK_ATTESTATION_X509) {
        lk_thumbprint_text(op->token_hash, thumbprint); /* of the certificate */
        a.thumbprint = thumbprint;
    }
    a.migrate = carried.found;
    if (carried.found) {
        a.iot_edge = carried.iot_edge;
        a.initial_twin = carried.twin.len > 0 ? lk_buf_text(&carried.twin) : NULL;
    }
    if (err == LK_OK) {
        err = link->ops->assign_in_txn(link->ctx, tx, &a, ret_existed);
    }
    if (err == LK_ERR_EXISTS) {
        lk_device_id_taken(tx, op->request_id, op->hub.name, a.device_id, &a.owner);
    }
    lk_hub_snapshot_fini(&carried);
    return err;
}

/* The new identity, and the end of an old one. */
static enum lk_err
hub_assign_in_txn(struct lk_txn *tx, struct lk_reg_op *op)
{
    const struct lk_move move = {.owner = {op->next.scope, op->next.id},
                                 .old_hub = lk_previous_hub(op),
                                 .old_device_id = op->record.device_id,
                                 .hub = op->next.hub,
                                 .device_id = op->next.device_id,
                                 .version = op->next.generation,
                                 .etag = ""};
    bool existed;
    enum lk_err err = identity_assign(tx, op, &existed);

    if (err == LK_ERR_EXISTS) {
        lk_assignment_fail(op, LK_DPS_HUB_REFUSED, LK_NAME_TAKEN);
        return lk_failure_record(op, op->fail_code, op->fail_why, &op->next);
    }
    if (err != LK_OK || (err = lk_old_identity_leave(tx, op->p, &move)) != LK_OK) {
        return err;
    }
    op->next.substatus = (int)lk_substatus_of(move.old_hub, op->next.hub,
                                              op->enrollment.reprovision_migrate, existed);
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

/* The record while a hub elsewhere, or a webhook, has yet to be asked. */
static enum lk_err
assigning_put(struct lk_txn *tx, const struct lk_reg_op *op, uint64_t expected_generation)
{
    struct lk_registration r = op->next;
    enum lk_err err = lk_previous_keep(op, &r);

    r.status = LK_REG_ASSIGNING;
    r.auth_key_len = 0;
    return err != LK_OK ? err : lk_txn_registration_put(tx, &r, expected_generation);
}

/* The webhook has yet to say which hub it is. */
static bool
hub_is_open(const struct lk_reg_op *op)
{
    return op->next.status == LK_REG_ASSIGNING && op->next.hub[0] == '\0';
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
    if (next->status == LK_REG_ASSIGNING && !hub_is_open(op)) {
        err = lk_errand_assign_put(tx, op);
    } else {
        err = lk_errand_assign_drop(tx, op);
    }
    if (err != LK_OK || next->status == LK_REG_ASSIGNING) {
        return err != LK_OK ? err : assigning_put(tx, op, next->generation - 1);
    }
    if ((next->status == LK_REG_ASSIGNED && (err = hub_assign_in_txn(tx, op)) != LK_OK) ||
        (err = lk_txn_registration_put(tx, next, next->generation - 1)) != LK_OK) {
        return err;
    }
    return lk_assignment_audit(tx, op->request_id, next);
}

/* ---- after `assigning`: what a webhook chose ---------------------------------------------------
 */

/* The hub that was chosen gets the device now, or an errand, if all is as it was. */
static enum lk_err
late_assign(struct lk_txn *tx, struct lk_reg_op *op)
{
    enum lk_err err = enrollment_still(tx, op);

    if (err == LK_ERR_PRECONDITION) {
        return lk_failure_record(op, LK_DPS_CUSTOM_FAILED, "The enrollment was changed meanwhile",
                                 &op->next);
    }
    if (err == LK_OK && (err = hub_still(tx, op)) == LK_ERR_PRECONDITION) {
        return lk_failure_record(op, LK_DPS_NO_HUB, "The hub is no longer linked", &op->next);
    }
    if (err != LK_OK) {
        return err;
    }
    if (lk_errand_needed(op, &op->hub)) {
        op->next.status = LK_REG_ASSIGNING;
        return lk_errand_assign_put(tx, op);
    }
    op->next.status = LK_REG_ASSIGNED;
    return hub_assign_in_txn(tx, op);
}

/* op->next as it shall be in the store. */
static enum lk_err
outcome_record(struct lk_txn *tx, struct lk_reg_op *op)
{
    return op->fail_code != 0 ? lk_failure_record(op, op->fail_code, op->fail_why, &op->next)
                              : late_assign(tx, op);
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
    if ((err = outcome_record(tx, op)) != LK_OK) {
        return err;
    }
    if (op->next.status == LK_REG_ASSIGNING) {
        return assigning_put(tx, op, op->next.generation);
    }
    if ((err = lk_txn_registration_put(tx, &op->next, op->next.generation)) != LK_OK) {
        return err;
    }
    return lk_assignment_audit(tx, op->request_id, &op->next);
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
        lk_errands_look(op->p->errands);
    }
    lk_op_end(op);
}

void
lk_outcome_write(struct lk_reg_op *op)
{
    op->job = (struct lk_job){.run = outcome_run, .done = outcome_done, .arg = op};
    lk_store_write(op->p->config.session, &op->job);
}
