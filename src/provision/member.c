/*
 * Devices without a TPM (service-api.md section 6): they register in one leg, and prove themselves
 * with a token under a shared key.
 *
 *   judge token -> read -> verify -> admit -> assign                        202
 *
 * The key is that of the device's own enrollment, or the one derived for it from a group's when it
 * has none: an enrollment of its own, also a disabled one, always comes before groups. Among groups
 * that fit, the first enabled one in order of id admits.
 *
 * Such a token is no answer to a challenge: it is good until it expires, as often as it is sent.
 * What it can be replayed for is the registration of the same device, whose hub keys are the
 * enrollment's own and are in no answer.
 */
#include <string.h>

#include "base/codec.h"
#include "provision/provision_int.h"

bool
lk_attestation_is_tpm(enum lk_attestation kind)
{
    return kind == LK_ATTESTATION_TPM || kind == LK_ATTESTATION_EK_CERT;
}

/* ---- keys --------------------------------------------------------------------------------------
 */

/* LK_ERR_REFUSED for no key, after the work that one would have made. */
static enum lk_err
key_verify(const struct lk_sas *sas, const struct lk_shared_key *key)
{
    static const uint8_t nobody[LK_DERIVED_KEY_LEN];
    enum lk_err err;

    if (key->len > 0) {
        return lk_sas_verify(sas, key->data, key->len, false);
    }
    err = lk_sas_verify(sas, nobody, sizeof(nobody), false);
    return err == LK_OK ? LK_ERR_REFUSED : err;
}

/* Both keys, always. */
static enum lk_err
keys_verify(const struct lk_sas *sas, const struct lk_shared_keys *keys)
{
    enum lk_err primary = key_verify(sas, &keys->primary);
    enum lk_err secondary = key_verify(sas, &keys->secondary);

    return primary == LK_ERR_REFUSED || secondary == LK_OK ? secondary : primary;
}

/* The keys of op's device in group g. */
static enum lk_err
group_keys(const struct lk_reg_op *op, const struct lk_enrollment *g, struct lk_shared_keys *ret)
{
    LK_AUTO_SHARED_KEYS struct lk_shared_keys keys = {.primary = {.len = 0}};
    const char *id = op->req.registration_id;
    enum lk_err err;

    if ((err = lk_shared_keys_open(op->ring, LK_KEYS_OF_GROUP, g, &keys)) != LK_OK ||
        (err = lk_shared_key_derive(&keys.primary, id, &ret->primary)) != LK_OK) {
        return err;
    }
    return lk_shared_key_derive(&keys.secondary, id, &ret->secondary);
}

/* ---- groups ------------------------------------------------------------------------------------
 */

/* The search for a group that admits the device. */
struct search {
    struct lk_reg_op *op;
    char id[LK_REGISTRATION_ID_MAX + 1]; /* of the best so far; "": none */
    bool enabled;                        /* that one is */
    enum lk_err unreadable;              /* why a group could not be tried */
};

static enum lk_err
group_try(void *ctx, const struct lk_enrollment *g)
{
    struct search *s = ctx;
    LK_AUTO_SHARED_KEYS struct lk_shared_keys keys = {.primary = {.len = 0}};
    enum lk_err err = group_keys(s->op, g, &keys);

    s->op->groups_seen = true;
    if (err == LK_ERR_CONFIG || err == LK_ERR_STORE) {
        s->unreadable = err; /* one lost key must not keep the devices of other groups out */
        return LK_OK;
    }
    if (err != LK_OK || (err = keys_verify(&s->op->sas, &keys)) != LK_OK) {
        return err == LK_ERR_REFUSED ? LK_OK : err;
    }
    if (s->id[0] != '\0' && (s->enabled || !g->enabled)) {
        return LK_OK;
    }
    s->enabled = g->enabled;
    return lk_strcpy(s->id, sizeof(s->id), g->id);
}

/* All groups are tried, so that time does not tell which one fits. */
static enum lk_err
group_search(struct lk_reg_op *op, struct lk_txn *tx, char ret[LK_REGISTRATION_ID_MAX + 1])
{
    struct search s = {.op = op};
    enum lk_err err =
        lk_txn_group_each(tx, op->req.scope, LK_ATTESTATION_SYMMETRIC_KEY, group_try, &s);

    if (err == LK_OK && s.id[0] == '\0' && !op->enrolled) {
        err = s.unreadable;
    }
    memcpy(ret, s.id, sizeof(s.id));
    return err;
}

/*
 * Take the group's terms for the device's enrollment, under the device's own ids. The registration
 * id keeps the spelling that it first had: at a hub, letter case counts.
 */
static enum lk_err
group_adopt(struct lk_reg_op *op, struct lk_txn *tx, const char *group)
{
    struct lk_enrollment *e = &op->enrollment;
    enum lk_err err = lk_txn_group_get(tx, op->req.scope, group, e);

    if (err == LK_ERR_NOT_FOUND) {
        return LK_OK;
    }
    if (err != LK_OK || (e->attestation == LK_ATTESTATION_SYMMETRIC_KEY &&
                         (err = group_keys(op, e, &op->keys)) != LK_OK)) {
        return err;
    }
    op->enrolled = true;
    e->device_id[0] = '\0';
    if ((err = lk_strcpy(op->group, sizeof(op->group), e->id)) != LK_OK) {
        return err;
    }
    return lk_strcpy(e->id, sizeof(e->id), op->recorded ? op->record.id : op->req.registration_id);
}

/* ---- the read ----------------------------------------------------------------------------------
 */

enum lk_err
lk_member_read(struct lk_reg_op *op, struct lk_txn *tx)
{
    char group[LK_REGISTRATION_ID_MAX + 1] = "";
    enum lk_err err = LK_OK;

    lk_shared_keys_wipe(&op->keys);
    op->group[0] = '\0';
    op->groups_seen = false;
    if (op->groups == LK_GROUPS_NONE) {
        return LK_OK;
    }
    if (op->groups == LK_GROUPS_SEARCHED) {
        err = group_search(op, tx, group);
    } else if (op->recorded) {
        memcpy(group, op->record.group, sizeof(group));
    }
    if (err == LK_OK && op->enrolled &&
        op->enrollment.attestation == LK_ATTESTATION_SYMMETRIC_KEY) {
        err = lk_shared_keys_open(op->ring, LK_KEYS_OF_ENROLLMENT, &op->enrollment, &op->keys);
    } else if (err == LK_OK && !op->enrolled && group[0] != '\0') {
        err = group_adopt(op, tx, group);
    }
    return err;
}

/* ---- verdicts ----------------------------------------------------------------------------------
 */

enum lk_err
lk_member_verify(const struct lk_reg_op *op)
{
    return keys_verify(&op->sas, &op->keys);
}

/* Why the device is not admitted, or NULL. */
static const char *
admission_judge(const struct lk_reg_op *op)
{
    if (op->scope_known && !op->enrolled && op->groups_seen) {
        return "group.none_fits";
    }
    if (op->scope_known && op->enrolled &&
        op->enrollment.attestation != LK_ATTESTATION_SYMMETRIC_KEY) {
        return "enrollment.other_attestation";
    }
    return lk_admission_judge(op, NULL);
}

/*
 * The request that made the record, sent again because its answer was lost. Devices with a token
 * made beforehand send the same one whenever they register: what has failed or been changed since
 * is decided anew.
 */
static bool
is_same_request(const struct lk_reg_op *op)
{
    const struct lk_registration *r = &op->record;

    return op->recorded && r->attestation == op->enrollment.attestation &&
           strcmp(r->group, op->group) == 0 && r->status != LK_REG_FAILED &&
           op->enrollment.updated_ms <= r->attested_ms &&
           op->now_ms - r->attested_ms <= LK_RETRY_WINDOW_MS &&
           lk_ct_equal(op->token_hash, r->token_hash, sizeof(r->token_hash));
}

void
lk_member_attest(struct lk_reg_op *op, void (*start_over)(struct lk_reg_op *op))
{
    enum lk_err verified = lk_member_verify(op);
    const char *why = admission_judge(op);

    if (verified != LK_OK && verified != LK_ERR_REFUSED) {
        lk_op_fault(op, verified);
        return;
    }
    if (why == NULL && verified != LK_OK) {
        why = "token.signature";
    }
    if (why != NULL) {
        lk_op_stop(op, LK_ERR_REFUSED, why);
        return;
    }
    if (is_same_request(op)) {
        lk_metric_add(LK_M_REG_RETRIED, 1);
        lk_assignment_accepted(op, op->record.operation_id);
        lk_op_end(op);
        return;
    }
    lk_assignment_begin(op, start_over);
}

enum lk_err
lk_member_poll_judge(const struct lk_reg_op *op, const char **ret_why)
{
    const struct lk_registration *r = &op->record;
    bool is_its_own = lk_ct_equal(op->token_hash, r->token_hash, sizeof(r->token_hash));
    enum lk_err err = lk_member_verify(op);

    if (err == LK_ERR_REFUSED) {
        *ret_why = "token.signature";
        return err;
    }
    if (err == LK_OK && lk_token_is_past(op) &&
        (!is_its_own || op->now_ms - r->attested_ms > LK_POLL_GRACE_MS)) {
        *ret_why = "token.expired";
        return LK_ERR_REFUSED;
    }
    return err;
}
