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
 *   hub elsewhere      one transaction: assigning, and an errand (errand.h) -> 202 -> whichever
 *                      instance comes first calls the hub -> one more: assigned or failed
 *   a webhook chooses  one transaction: assigning -> 202 -> the webhook is asked (custom.c), so
 * that a slow one keeps no device waiting -> one more. When this instance dies in between, the
 * device registers again no hub             one transaction: failed
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

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

const struct lk_hub *
lk_op_hub_find(const struct lk_reg_op *op, const char *name)
{
    size_t count;
    const struct lk_hub *hubs = lk_op_hubs(op, &count);

    for (size_t i = 0; i < count; i++) {
        if (strcmp(hubs[i].name, name) == 0) {
            return &hubs[i];
        }
    }
    return NULL;
}

const char *
lk_previous_hub(const struct lk_reg_op *op)
{
    return op->recorded && op->record.hub[0] != '\0' ? op->record.hub : NULL;
}

const char *
lk_kept_hub(const struct lk_reg_op *op)
{
    const struct lk_enrollment *e = &op->enrollment;
    bool never =
        !e->reprovision_update_hub || (op->req.before_reprovisioning && !e->reprovision_chosen);

    return never ? lk_previous_hub(op) : NULL;
}

const struct lk_hub_link *
lk_provision_link(const struct lk_provision *p, const struct lk_hub *hub)
{
    return hub->kind == LK_HUB_EMBEDDED ? &p->config.embedded : &p->config.remote;
}

const struct lk_hub_link *
lk_op_link(const struct lk_reg_op *op, const struct lk_hub *hub)
{
    return lk_provision_link(op->p, hub);
}

/*
 * *ret NULL and *ret_why when there is none (service-api.md section 10). An error is ours, and says
 * nothing of what there is.
 */
static enum lk_err
hub_choose(const struct lk_reg_op *op, const char **ret_why, const struct lk_hub **ret)
{
    const struct lk_enrollment *e = &op->enrollment;
    const char *kept = lk_kept_hub(op);
    const struct lk_allocation_terms terms = {op->scope_allocation, op->req.region};
    const struct lk_hub *hub = NULL, *hubs;
    size_t count;
    enum lk_err err;

    *ret = NULL;
    if (kept != NULL) {
        *ret_why = "The device keeps its hub, and that is no longer linked";
        hub = lk_op_hub_find(op, kept);
    } else {
        hubs = lk_op_hubs(op, &count);
        err = lk_allocate(e, &terms, hubs, count, &hub);
        if (err != LK_OK && err != LK_ERR_NOT_FOUND && err != LK_ERR_UNSUPPORTED) {
            return err;
        }
        *ret_why = "No linked hub fits the enrollment";
    }
    if (hub != NULL && lk_op_link(op, hub)->ops == NULL) {
        *ret_why = "Hubs of this kind are not served here";
        return LK_OK;
    }
    *ret = hub;
    return LK_OK;
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
    if ((err = lk_strcpy(ret->group, sizeof(ret->group), op->group)) != LK_OK) {
        return err;
    }
    ret->attestation = e->attestation;
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
hub_key_wrap(struct lk_reg_op *op, struct lk_registration *next)
{
    LK_AUTO_BUF struct lk_buf uri = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf blob = LK_BUF_INIT;
    const struct lk_rand *rnd = op->p->config.rnd;
    struct lk_shared_key *key = &op->hub_keys.primary;
    const char *text;
    enum lk_err err;

    if ((err = lk_buf_printf(&uri, "%s/devices/%s", next->hub, next->device_id)) != LK_OK ||
        (err = lk_rand_fill(rnd, key->data, LK_NONCE_KEY_LEN)) != LK_OK) {
        return err;
    }
    key->len = LK_NONCE_KEY_LEN;
    if ((text = lk_buf_text(&uri)) == NULL) {
        return LK_ERR_NOMEM;
    }
    err = lk_auth_key_wrap(&op->ek, &op->srk, key->data, key->len, text, rnd, &blob);
    if (err != LK_OK) {
        return err;
    }
    memcpy(next->auth_key, blob.data, blob.len); /* LK_AUTH_KEY_MAX bounds both */
    next->auth_key_len = blob.len;
    return LK_OK;
}

/*
 * A device that has a key already signs with it at its hub too, as its client expects. One with a
 * certificate has none: where a hub must have one for it, it is a key that nobody knows.
 */
static enum lk_err
hub_keys_make(struct lk_reg_op *op, struct lk_registration *next)
{
    lk_shared_keys_wipe(&op->hub_keys);
    if (lk_attestation_is_tpm(next->attestation)) {
        return hub_key_wrap(op, next);
    }
    if (next->attestation == LK_ATTESTATION_X509) {
        op->hub_keys.primary.len = LK_SHARED_KEY_FRESH;
        return lk_rand_fill(op->p->config.rnd, op->hub_keys.primary.data, LK_SHARED_KEY_FRESH);
    }
    op->hub_keys = op->keys;
    return LK_OK;
}

enum lk_err
lk_assignment_record(struct lk_reg_op *op, const struct lk_hub *hub, struct lk_registration *next)
{
    struct lk_enrollment *e = &op->enrollment;
    const char *device_id = e->device_id[0] != '\0' ? e->device_id : e->id;
    enum lk_err err;

    if ((err = lk_strcpy(next->hub, sizeof(next->hub), hub->name)) != LK_OK ||
        (err = lk_strcpy(next->device_id, sizeof(next->device_id), device_id)) != LK_OK) {
        return err;
    }
    if (e->initial_twin.len > 0 && lk_buf_text(&e->initial_twin) == NULL) {
        return LK_ERR_NOMEM; /* from here on it is text */
    }
    next->status = lk_errand_needed(op, hub) ? LK_REG_ASSIGNING : LK_REG_ASSIGNED;
    return hub_keys_make(op, next);
}

enum lk_err
lk_previous_keep(const struct lk_reg_op *op, struct lk_registration *next)
{
    const char *hub = op->recorded ? op->record.hub : "";
    const char *device_id = op->recorded ? op->record.device_id : "";
    enum lk_err err = lk_strcpy(next->hub, sizeof(next->hub), hub);

    return err != LK_OK ? err : lk_strcpy(next->device_id, sizeof(next->device_id), device_id);
}

enum lk_err
lk_failure_record(const struct lk_reg_op *op, int32_t code, const char *message,
                  struct lk_registration *next)
{
    enum lk_err err = lk_previous_keep(op, next);

    next->status = LK_REG_FAILED;
    next->substatus = LK_DPS_SUB_NONE;
    next->error_code = code;
    next->auth_key_len = 0;
    return err != LK_OK ? err
                        : lk_strcpy(next->error_message, sizeof(next->error_message), message);
}

void
lk_assignment_fail(struct lk_reg_op *op, int32_t code, const char *fmt, ...)
{
    va_list args;

    op->fail_code = code;
    va_start(args, fmt);
    (void)vsnprintf(op->fail_why, sizeof(op->fail_why), fmt, args); /* cut when too long */
    va_end(args);
}

void
lk_status_count(enum lk_reg_status status)
{
    if (status == LK_REG_ASSIGNED || status == LK_REG_FAILED) {
        lk_metric_add(status == LK_REG_ASSIGNED ? LK_M_REG_ASSIGNED : LK_M_REG_FAILED, 1);
    }
}

static void
assign_done(void *arg, enum lk_err err)
{
    struct lk_reg_op *op = arg;
    bool hub_is_next = op->next.status == LK_REG_ASSIGNING;

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
    lk_status_count(op->next.status);
    lk_assignment_accepted(op, op->next.operation_id);
    if (hub_is_next && lk_custom_is(op)) {
        lk_custom_ask(op);
        return;
    }
    if (hub_is_next) {
        lk_errands_look(op->p->errands);
    }
    lk_op_end(op);
}

/* The hub, its absence, or the question for it. */
static enum lk_err
outlook_record(struct lk_reg_op *op, struct lk_registration *next)
{
    const char *why;
    const struct lk_hub *hub;
    enum lk_err err;

    if (lk_custom_is(op)) {
        return lk_custom_record(op, next);
    }
    if ((err = hub_choose(op, &why, &hub)) != LK_OK) {
        return err;
    }
    return hub == NULL ? lk_failure_record(op, LK_DPS_NO_HUB, why, next)
                       : lk_assignment_record(op, hub, next);
}

void
lk_assignment_begin(struct lk_reg_op *op, void (*start_over)(struct lk_reg_op *op))
{
    enum lk_err err;

    lk_registration_fini(&op->next);
    memset(&op->next, 0, sizeof(op->next));
    if ((err = attestation_record(op, &op->next)) != LK_OK ||
        (err = outlook_record(op, &op->next)) != LK_OK) {
        lk_op_fault(op, err);
        return;
    }
    op->start_over = start_over;
    op->job = (struct lk_job){.run = lk_assign_run, .done = assign_done, .arg = op};
    lk_store_write(op->p->config.session, &op->job);
}
