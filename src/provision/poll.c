/*
 * What became of a registration: poll (for an operation) and look-up (for a registration).
 *
 * Both take a token of the device's latest attestation: the nonce key that proved it is spent for
 * attesting, and opens nothing but the result, which only its TPM can use. The record says which
 * nonce key that was. A client that makes one short-lived token for the whole flow may go on with
 * it for LK_POLL_GRACE_MS after the attestation.
 */
#include <string.h>

#include "base/codec.h"
#include "provision/provision_int.h"

/* LK_OK: the token is one of the record's attestation and fresh enough. */
static enum lk_err
token_admit(const struct lk_reg_op *op, const char **ret_why)
{
    enum lk_err member = lk_member_poll_judge(op, ret_why);
    enum lk_err err = op->by_cert ? member : lk_record_verify(op);

    if (op->by_cert || (op->recorded && !lk_attestation_is_tpm(op->record.attestation))) {
        return member;
    }
    if (err == LK_ERR_REFUSED) {
        *ret_why = op->recorded ? "token.signature" : "registration.unknown";
        return err;
    }
    if (err == LK_OK && lk_token_is_past(op) &&
        op->now_ms - op->record.attested_ms > LK_POLL_GRACE_MS) {
        *ret_why = "token.expired";
        return LK_ERR_REFUSED;
    }
    return err;
}

/* A device that is no longer enrolled gets no key, also when the assignment is complete. */
static bool
is_admitted(const struct lk_reg_op *op)
{
    bool by_tpm = lk_attestation_is_tpm(op->record.attestation);

    return lk_admission_judge(op, by_tpm ? op->record.ek_id : NULL) == NULL;
}

static enum lk_err
result_fill(const struct lk_registration *r, struct lk_dps_state *s)
{
    enum lk_err err;

    switch (r->status) {
    case LK_REG_ASSIGNED:
        s->status = LK_DPS_ASSIGNED;
        s->substatus = (enum lk_dps_substatus)r->substatus;
        if ((err = lk_strcpy(s->device_id, sizeof(s->device_id), r->device_id)) != LK_OK ||
            (err = lk_strcpy(s->assigned_hub, sizeof(s->assigned_hub), r->hub)) != LK_OK ||
            (err = lk_buf_put(&s->payload, r->payload.data, r->payload.len)) != LK_OK) {
            return err;
        }
        return lk_buf_put(&s->auth_key, r->auth_key, r->auth_key_len);
    case LK_REG_FAILED:
        s->status = LK_DPS_FAILED;
        s->error_code = r->error_code;
        return lk_strcpy(s->error_message, sizeof(s->error_message), r->error_message);
    case LK_REG_NONE:
    case LK_REG_ASSIGNING:
        break;
    }
    s->status = LK_DPS_ASSIGNING;
    return LK_OK;
}

static enum lk_err
state_fill(const struct lk_reg_op *op, struct lk_dps_state *s)
{
    const struct lk_registration *r = &op->record;
    enum lk_err err;

    if ((err = lk_strcpy(s->registration_id, sizeof(s->registration_id),
                         op->req.registration_id)) != LK_OK ||
        (err = lk_strcpy(s->operation_id, sizeof(s->operation_id), r->operation_id)) != LK_OK ||
        (err = lk_strcpy(s->etag, sizeof(s->etag), r->etag)) != LK_OK) {
        return err;
    }
    s->created_ms = r->created_ms;
    s->updated_ms = r->updated_ms;
    if (!is_admitted(op)) {
        s->status = LK_DPS_DISABLED;
        return LK_OK;
    }
    return result_fill(r, s);
}

static void
state_answer(struct lk_reg_op *op)
{
    struct lk_reg_answer answer = {.verdict = LK_REG_STATE};
    enum lk_err err = state_fill(op, &answer.state);

    if (err != LK_OK) {
        lk_op_fault(op, err);
    } else {
        lk_op_finish(op, &answer);
    }
    lk_dps_state_fini(&answer.state);
}

/* A token, or else the certificate. */
static enum lk_err
evidence_judge(struct lk_reg_op *op, const char **ret_why)
{
    return op->req.token == NULL && op->req.certs_count > 0 ? lk_cert_judge(op, ret_why)
                                                            : lk_token_judge(op, ret_why);
}

/* ---- GET .../operations/{operationId} ------------------------------------------------------ */

static void
poll_answer(struct lk_reg_op *op)
{
    static const struct lk_reg_answer unknown = {.verdict = LK_REG_UNKNOWN,
                                                 .reason = "operation.unknown"};
    const char *why = NULL;
    enum lk_err err = token_admit(op, &why);

    if (err != LK_OK) {
        lk_op_stop(op, err, why);
        return;
    }
    if (op->req.operation_id == NULL ||
        strcmp(op->req.operation_id, op->record.operation_id) != 0) {
        lk_op_finish(op, &unknown);
        return;
    }
    state_answer(op);
}

void
lk_provision_poll(struct lk_provision *p, const struct lk_reg_request *req, lk_reg_done_fn *done,
                  void *arg)
{
    struct lk_reg_op *op = lk_op_begin(p, req, done, arg);
    const char *why = NULL;
    enum lk_err err;

    if (op == NULL) {
        return;
    }
    lk_metric_add(LK_M_REG_POLLS, 1);
    if ((err = lk_request_judge(op, &why)) != LK_OK || (err = evidence_judge(op, &why)) != LK_OK) {
        lk_op_stop(op, err, why);
        return;
    }
    op->groups = LK_GROUPS_RECORDED;
    lk_op_read(op, false, poll_answer);
}

/* ---- POST .../registrations/{id} ----------------------------------------------------------- */

static void
lookup_answer(struct lk_reg_op *op)
{
    const char *why = NULL;
    enum lk_err err = token_admit(op, &why);

    if (err == LK_OK && op->has_keys && !lk_pair_is_recorded(op)) {
        err = LK_ERR_REFUSED;
        why = "registration.other_keys";
    }
    if (err != LK_OK) {
        lk_op_stop(op, err, why);
        return;
    }
    state_answer(op);
}

/* Without a token there is no proof, and nothing to tell: the challenge belongs to register. */
void
lk_provision_lookup(struct lk_provision *p, const struct lk_reg_request *req, lk_reg_done_fn *done,
                    void *arg)
{
    struct lk_reg_op *op = lk_op_begin(p, req, done, arg);
    const char *why = NULL;
    enum lk_err err;

    if (op == NULL) {
        return;
    }
    if ((err = lk_request_judge(op, &why)) != LK_OK || (err = lk_body_judge(op, &why)) != LK_OK ||
        (err = evidence_judge(op, &why)) != LK_OK) {
        lk_op_stop(op, err, why);
        return;
    }
    op->groups = LK_GROUPS_RECORDED;
    lk_op_read(op, false, lookup_answer);
}
