/*
 * The assignment of a device that has proved itself.
 *
 * Everything that costs time happens on the loop before the transaction: choosing the hub, making
 * the hub key, wrapping it for the TPM. The transaction then checks that enrollment, generation and
 * hub are still what they were, and makes identity, registration and audit record together; the
 * generation that moves on spends the challenge. If something has changed, the registration starts
 * over from its read.
 *
 *   hub in our store   one transaction: assigned
 *   hub elsewhere      one transaction: assigning -> 202 -> the hub is called -> one more: assigned
 *                      or failed. When this instance dies in between, the device registers again.
 *   no hub             one transaction: failed
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/codec.h"
#include "base/log.h"
#include "provision/provision_int.h"

static void
accepted_answer(struct lk_reg_op *op, const char *operation_id, struct lk_reg_answer *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->verdict = LK_REG_ACCEPTED;
    ret->state.status = LK_DPS_ASSIGNING;
    /* Sizes are those of the same fields elsewhere: nothing is cut off. */
    (void)snprintf(ret->state.registration_id, sizeof(ret->state.registration_id), "%s",
                   op->req.registration_id);
    (void)snprintf(ret->state.operation_id, sizeof(ret->state.operation_id), "%s", operation_id);
}

void
lk_assignment_accepted(struct lk_reg_op *op, const char *operation_id)
{
    struct lk_reg_answer answer;

    accepted_answer(op, operation_id, &answer);
    lk_op_answer(op, &answer);
}

/* ---- before the transaction --------------------------------------------------------------------
 */

static const struct lk_hub *
hub_find(const struct lk_reg_op *op, const char *name)
{
    for (size_t i = 0; i < op->hubs_count; i++) {
        if (strcmp(op->hubs[i].name, name) == 0) {
            return &op->hubs[i];
        }
    }
    return NULL;
}

/* The hub that the device was given before, also when a later registration failed; NULL: none. */
static const char *
previous_hub(const struct lk_reg_op *op)
{
    return op->recorded && op->record.hub[0] != '\0' ? op->record.hub : NULL;
}

static const struct lk_hub_link *
link_of(const struct lk_reg_op *op, const struct lk_hub *hub)
{
    return hub->kind == LK_HUB_EMBEDDED ? &op->p->config.embedded : &op->p->config.remote;
}

/* NULL and *ret_why when there is none (service-api.md section 10). */
static const struct lk_hub *
hub_choose(const struct lk_reg_op *op, const char **ret_why)
{
    const struct lk_enrollment *e = &op->enrollment;
    const char *previous = previous_hub(op);
    const struct lk_hub *hub = NULL;
    enum lk_err err;

    if (previous != NULL && !e->reprovision_update_hub) {
        *ret_why = "The device keeps its hub, and that is no longer linked";
        hub = hub_find(op, previous);
    } else {
        err = lk_allocate(e, op->hubs, op->hubs_count, &hub);
        *ret_why = err == LK_ERR_UNSUPPORTED ? "The allocation policy is not carried out here"
                                             : "No linked hub fits the enrollment";
    }
    if (hub != NULL && link_of(op, hub)->ops == NULL) {
        *ret_why = "Hubs of this kind are not served here";
        return NULL;
    }
    return hub;
}

/* "1.{16 hexadecimal digits}.{GUID}", as the ids of the replaced service look. */
static enum lk_err
operation_id_make(const struct lk_rand *rnd, char ret[LK_OPERATION_ID_MAX + 1])
{
    uint64_t r[3];
    enum lk_err err = lk_rand_fill(rnd, r, sizeof(r));

    if (err == LK_OK) {
        (void)snprintf(ret, LK_OPERATION_ID_MAX + 1,
                       "1.%016" PRIx64 ".%08x-%04x-%04x-%04x-%012" PRIx64, r[0],
                       (unsigned)(r[1] >> 32), (unsigned)(r[1] >> 16 & 0xffff),
                       (unsigned)(r[1] & 0xffff), (unsigned)(r[2] >> 48), r[2] & 0xffffffffffff);
    }
    return err;
}

/* What the record says of this attestation, whatever comes of it. */
static enum lk_err
attestation_record(const struct lk_reg_op *op, struct lk_registration *ret)
{
    const struct lk_enrollment *e = &op->enrollment;
    enum lk_err err;

    if ((err = lk_strcpy(ret->scope, sizeof(ret->scope), e->scope)) != LK_OK ||
        (err = lk_strcpy(ret->id, sizeof(ret->id), e->id)) != LK_OK ||
        (err = operation_id_make(op->p->config.rnd, ret->operation_id)) != LK_OK) {
        return err;
    }
    ret->generation = op->record.generation + 1;
    memcpy(ret->ek_id, op->pair.ek_id, LK_EK_ID_LEN);
    memcpy(ret->srk_pub, op->pair.srk_pub, op->pair.srk_pub_len);
    ret->srk_pub_len = op->pair.srk_pub_len;
    memcpy(ret->srk_name, op->pair.srk_name, op->pair.srk_name_len);
    ret->srk_name_len = op->pair.srk_name_len;
    memcpy(ret->token_hash, op->token_hash, sizeof(ret->token_hash));
    ret->nonce_key_id = op->place.key_id;
    ret->nonce_epoch = op->place.epoch;
    ret->nonce_generation = op->record.generation;
    ret->attested_ms = op->now_ms;
    ret->created_ms = op->recorded ? op->record.created_ms : op->now_ms;
    return LK_OK;
}

/* A fresh hub key, wrapped for the TPM. */
static enum lk_err
hub_key_make(struct lk_reg_op *op, struct lk_registration *next)
{
    LK_AUTO_BUF struct lk_buf uri = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf blob = LK_BUF_INIT;
    const struct lk_rand *rnd = op->p->config.rnd;
    const char *text;
    enum lk_err err;

    if ((err = lk_buf_printf(&uri, "%s/devices/%s", next->hub, next->device_id)) != LK_OK ||
        (err = lk_rand_fill(rnd, op->hub_key, sizeof(op->hub_key))) != LK_OK) {
        return err;
    }
    if ((text = lk_buf_text(&uri)) == NULL) {
        return LK_ERR_NOMEM;
    }
    err = lk_auth_key_wrap(&op->ek, &op->srk, op->hub_key, sizeof(op->hub_key), text, rnd, &blob);
    if (err != LK_OK) {
        return err;
    }
    memcpy(next->auth_key, blob.data, blob.len); /* LK_AUTH_KEY_MAX bounds both */
    next->auth_key_len = blob.len;
    return LK_OK;
}

static enum lk_err
assignment_record(struct lk_reg_op *op, const struct lk_hub *hub, struct lk_registration *next)
{
    const struct lk_enrollment *e = &op->enrollment;
    const char *device_id = e->device_id[0] != '\0' ? e->device_id : e->id;
    enum lk_err err;

    if ((err = lk_strcpy(next->hub, sizeof(next->hub), hub->name)) != LK_OK ||
        (err = lk_strcpy(next->device_id, sizeof(next->device_id), device_id)) != LK_OK) {
        return err;
    }
    next->status =
        link_of(op, hub)->ops->assign_in_txn != NULL ? LK_REG_ASSIGNED : LK_REG_ASSIGNING;
    return hub_key_make(op, next);
}

/* The old assignment stays on record, so that a later registration knows which hub to leave. */
static enum lk_err
failure_record(const struct lk_reg_op *op, int32_t code, const char *message,
               struct lk_registration *next)
{
    enum lk_err err;

    next->status = LK_REG_FAILED;
    next->substatus = LK_DPS_SUB_NONE;
    next->error_code = code;
    next->auth_key_len = 0;
    if ((err = lk_strcpy(next->error_message, sizeof(next->error_message), message)) != LK_OK ||
        (err = lk_strcpy(next->hub, sizeof(next->hub), op->recorded ? op->record.hub : "")) !=
            LK_OK) {
        return err;
    }
    return lk_strcpy(next->device_id, sizeof(next->device_id),
                     op->recorded ? op->record.device_id : "");
}

/* ---- inside the transaction ---------------------------------------------------------------------
 */

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
    const char *previous = previous_hub(op);

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

    return op->recorded && was->srk_name_len == now->srk_name_len &&
           memcmp(was->srk_name, now->srk_name, now->srk_name_len) == 0;
}

static struct lk_hub_assign
hub_assign_of(struct lk_reg_op *op)
{
    const char *previous = previous_hub(op);
    bool moves = previous != NULL && strcmp(previous, op->next.hub) != 0;
    bool has_twin = op->enrollment.initial_twin.len > 0;
    struct lk_hub_assign a = {.hub = &op->hub,
                              .device_id = op->next.device_id,
                              .key = op->hub_key,
                              .key_len = sizeof(op->hub_key),
                              .keep_old_key = old_key_lives(op),
                              .from_hub = moves ? previous : NULL,
                              .migrate = moves && op->enrollment.reprovision_migrate,
                              .initial_twin =
                                  has_twin ? lk_buf_text(&op->enrollment.initial_twin) : NULL};

    return a;
}

/* Creation on the new hub came first; the old one is left in the same transaction when it is ours.
 */
static enum lk_err
old_hub_leave(struct lk_txn *tx, const struct lk_reg_op *op, const char *from_hub)
{
    const struct lk_hub_link *link;
    struct lk_hub old = {.sealed_connection = LK_BUF_INIT};
    enum lk_err err;

    if (from_hub == NULL) {
        return LK_OK;
    }
    err = lk_txn_hub_get(tx, from_hub, &old);
    if (err == LK_ERR_NOT_FOUND) {
        return LK_OK; /* no longer linked: not ours to change */
    }
    if (err != LK_OK) {
        return err;
    }
    link = link_of(op, &old);
    if (link->ops != NULL && link->ops->remove_in_txn != NULL) {
        err = link->ops->remove_in_txn(link->ctx, tx, &old, op->record.device_id);
    }
    lk_hub_fini(&old);
    return err;
}

/* Identity, old hub and audit record of an assignment that is complete. */
static enum lk_err
hub_assign_in_txn(struct lk_txn *tx, struct lk_reg_op *op)
{
    const struct lk_hub_link *link = link_of(op, &op->hub);
    struct lk_hub_assign a = hub_assign_of(op);
    bool existed;
    enum lk_err err;

    if ((err = link->ops->assign_in_txn(link->ctx, tx, &a, &existed)) != LK_OK ||
        (err = old_hub_leave(tx, op, a.from_hub)) != LK_OK) {
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

static enum lk_err
assign_run(struct lk_txn *tx, void *arg)
{
    struct lk_reg_op *op = arg;
    struct lk_registration *next = &op->next;
    enum lk_err err;

    if ((err = enrollment_still(tx, op)) != LK_OK) {
        return err;
    }
    if (next->status != LK_REG_FAILED && (err = hub_still(tx, op)) != LK_OK) {
        return err;
    }
    if (next->status == LK_REG_ASSIGNED && (err = hub_assign_in_txn(tx, op)) != LK_OK) {
        return err;
    }
    if ((err = lk_txn_registration_put(tx, next, next->generation - 1)) != LK_OK ||
        next->status == LK_REG_ASSIGNING) {
        return err;
    }
    return audit_append(tx, op, next);
}

/* ---- hubs elsewhere
 * ------------------------------------------------------------------------------ */

/* The outcome, unless a newer attestation has taken over. */
static enum lk_err
outcome_run(struct lk_txn *tx, void *arg)
{
    struct lk_reg_op *op = arg;
    struct lk_hub_assign a = hub_assign_of(op);
    struct lk_registration now = {.generation = 0};
    bool refused = op->hub_err == LK_ERR_REFUSED;
    enum lk_err err = lk_txn_registration_get(tx, op->next.scope, op->next.id, &now);
    bool ours =
        err == LK_OK && now.status == LK_REG_ASSIGNING && now.generation == op->next.generation;

    lk_registration_fini(&now);
    if (!ours) {
        return err == LK_ERR_NOT_FOUND ? LK_OK : err;
    }
    if (op->hub_err == LK_OK) {
        op->next.status = LK_REG_ASSIGNED;
        op->next.substatus = (int)substatus_of(op, op->hub_existed);
        err = old_hub_leave(tx, op, a.from_hub);
    } else {
        err = failure_record(op, refused ? LK_DPS_HUB_REFUSED : LK_DPS_UNAVAILABLE,
                             refused ? "The hub refused" : "The hub did not answer", &op->next);
    }
    if (err != LK_OK ||
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
        lk_metric_add(op->hub_err == LK_OK ? LK_M_REG_ASSIGNED : LK_M_REG_FAILED, 1);
    }
    lk_op_end(op);
}

static void
hub_assigned(void *arg, enum lk_err err, bool existed)
{
    struct lk_reg_op *op = arg;

    op->hub_err = err;
    op->hub_existed = existed;
    op->job = (struct lk_job){.run = outcome_run, .done = outcome_done, .arg = op};
    lk_store_write(op->p->config.session, &op->job);
}

static void
hub_call(struct lk_reg_op *op)
{
    const struct lk_hub_link *link = link_of(op, &op->hub);
    struct lk_hub_assign a = hub_assign_of(op);

    link->ops->assign(link->ctx, &a, hub_assigned, op);
}

/* ---- the whole
 * ----------------------------------------------------------------------------------- */

static void
assign_done(void *arg, enum lk_err err)
{
    struct lk_reg_op *op = arg;
    enum lk_reg_status status = op->next.status;

    if (err == LK_ERR_PRECONDITION) {
        if (++op->tries == LK_PROVISION_TRIES_MAX) {
            lk_op_fault(op, LK_ERR_BUSY);
            return;
        }
        op->start_over(op);
        return;
    }
    if (err != LK_OK) {
        lk_op_fault(op, err);
        return;
    }
    if (status != LK_REG_ASSIGNING) {
        lk_metric_add(status == LK_REG_ASSIGNED ? LK_M_REG_ASSIGNED : LK_M_REG_FAILED, 1);
    }
    lk_assignment_accepted(op, op->next.operation_id);
    if (status == LK_REG_ASSIGNING) {
        hub_call(op);
        return;
    }
    lk_op_end(op);
}

void
lk_assignment_begin(struct lk_reg_op *op, void (*start_over)(struct lk_reg_op *op))
{
    const char *why;
    const struct lk_hub *hub = hub_choose(op, &why);
    enum lk_err err;

    lk_registration_fini(&op->next);
    memset(&op->next, 0, sizeof(op->next));
    if ((err = attestation_record(op, &op->next)) == LK_OK) {
        err = hub == NULL ? failure_record(op, LK_DPS_NO_HUB, why, &op->next)
                          : assignment_record(op, hub, &op->next);
    }
    if (err != LK_OK) {
        lk_op_fault(op, err);
        return;
    }
    op->start_over = start_over;
    op->job = (struct lk_job){.run = assign_run, .done = assign_done, .arg = op};
    lk_store_write(op->p->config.session, &op->job);
}
