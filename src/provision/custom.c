/*
 * Custom allocation (service-api.md section 11): the enrollment names a webhook, which is asked at
 * every registration, also under a policy that never moves a device; then only the device's present
 * hub may be answered.
 *
 *   assigning is committed -> 202 -> the webhook is asked -> hub here: one transaction
 *                                                         -> hub elsewhere: an errand (errand.h)
 *
 * Whatever goes wrong is a failed registration that keeps the device on the hub it was on:
 *   400207  the webhook could not be asked, or what it answered is no answer
 *   400208  it chose a hub that is not one of those it was told
 *   400209  it may not be called, or it refused us
 */
#include <string.h>

#include "base/codec.h"
#include "base/log.h"
#include "provision/provision_int.h"

bool
lk_custom_is(const struct lk_reg_op *op)
{
    return op->enrollment.allocation == LK_ALLOC_CUSTOM;
}

enum lk_err
lk_custom_record(struct lk_reg_op *op, struct lk_registration *next)
{
    if (op->p->config.webhook.ops == NULL) {
        return lk_failure_record(op, LK_DPS_HUB_REFUSED,
                                 "This service is not configured to call webhooks", next);
    }
    op->fail_code = 0;
    next->status = LK_REG_ASSIGNING;
    lk_buf_reset(&op->payload);
    return op->req.body == NULL
               ? LK_OK
               : lk_buf_put(&op->payload, op->req.body->payload.data, op->req.body->payload.len);
}

/* Hubs that the webhook may choose; returns their count. */
static size_t
hubs_list(const struct lk_reg_op *op, const struct lk_hub *ret[LK_LINKED_HUBS_MAX])
{
    const char *kept = lk_kept_hub(op);
    size_t count, listed = 0;
    const struct lk_hub *hubs = lk_op_hubs(op, &count);

    for (size_t i = 0; i < count && listed < LK_LINKED_HUBS_MAX; i++) {
        if (kept != NULL ? strcmp(hubs[i].name, kept) == 0
                         : lk_hub_is_candidate(&op->enrollment, &hubs[i])) {
            ret[listed++] = &hubs[i];
        }
    }
    return listed;
}

static const struct lk_hub *
answer_hub(const struct lk_reg_op *op, struct lk_webhook_answer *answer)
{
    const struct lk_hub *hubs[LK_LINKED_HUBS_MAX];
    size_t count = hubs_list(op, hubs);

    lk_ascii_lower(answer->hub);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(hubs[i]->name, answer->hub) == 0) {
            return hubs[i];
        }
    }
    return NULL;
}

static void
fail(struct lk_reg_op *op, int32_t code, const char *why)
{
    lk_assignment_fail(op, code, "Custom allocation: %s", why);
    lk_log(LK_LOG_WARNING, "registration.webhook_failed", LK_F_TEXT("request_id", op->request_id),
           LK_F_TEXT("scope", op->next.scope), LK_F_TEXT("registration_id", op->next.id),
           LK_F_TEXT("reason", why), LK_F_INT("code", code));
    lk_outcome_write(op);
}

/* Take the answer's hub, twin and payload. */
static enum lk_err
answer_take(struct lk_reg_op *op, const struct lk_hub *hub, struct lk_webhook_answer *answer)
{
    if (answer->initial_twin.len > 0) {
        lk_buf_move(&op->enrollment.initial_twin, &answer->initial_twin);
    }
    lk_buf_move(&op->next.payload, &answer->payload);
    return lk_assignment_record(op, hub, &op->next);
}

static void
answered(void *arg, struct lk_webhook_answer *answer)
{
    struct lk_reg_op *op = arg;
    const struct lk_hub *hub;

    if (answer->err != LK_OK) {
        fail(op, answer->err == LK_ERR_REFUSED ? LK_DPS_HUB_REFUSED : LK_DPS_CUSTOM_FAILED,
             answer->detail);
        return;
    }
    hub = answer_hub(op, answer);
    if (hub == NULL || lk_op_link(op, hub)->ops == NULL) {
        fail(op, LK_DPS_NO_HUB, "the webhook chose a hub that is not one of linkedHubs");
        return;
    }
    if (answer_take(op, hub, answer) != LK_OK) {
        fail(op, LK_DPS_CUSTOM_FAILED, "internal error");
        return;
    }
    lk_outcome_write(op);
}

void
lk_custom_ask(struct lk_reg_op *op)
{
    const struct lk_webhook *webhook = &op->p->config.webhook;
    const struct lk_hub *hubs[LK_LINKED_HUBS_MAX];
    struct lk_webhook_ask ask = {.enrollment = &op->enrollment,
                                 .group = op->group,
                                 .current_hub = lk_previous_hub(op),
                                 .proof = &op->next,
                                 .payload = &op->payload,
                                 .hubs = hubs,
                                 .hubs_count = hubs_list(op, hubs)};

    if (ask.current_hub != NULL) {
        ask.current_device_id = op->record.device_id;
    }
    if (ask.hubs_count == 0) {
        fail(op, LK_DPS_NO_HUB, "no linked hub fits the enrollment");
    } else if (webhook->ops->ask(webhook->ctx, &ask, answered, op) != LK_OK) {
        fail(op, LK_DPS_CUSTOM_FAILED, "the webhook could not be asked");
    }
}
