/*
 * One registration, as device-protocol.md section 0 numbers it. The device brings EK and SRK and
 * gets a nonce key that only its TPM can open (step 2); it signs a token with that key and comes
 * back (step 5); the assignment then takes place in one transaction (assignment.c), and the device
 * asks for the result (poll.c).
 *
 *   first leg    judge keys -> read -> admit -> wrap the nonce key           401 challenge
 *   second leg   judge token -> read -> verify -> admit -> assign            202
 *
 * A device without a TPM has one leg, that looks like the second (member.c).
 *
 * A refusal costs us what a challenge costs and looks the same whatever the reason, so that nobody
 * learns which devices are enrolled. What is malformed is told apart (400), from the request alone.
 */
#include <stdio.h>
#include <string.h>

#include "provision/provision_int.h"

/* ---- first leg: the challenge ------------------------------------------------------------------
 */

/* A nonce key for the device; for one that is refused, a throw-away key that nobody receives. */
static enum lk_err
nonce_make(const struct lk_reg_op *op, bool refused, uint8_t ret[LK_NONCE_KEY_LEN])
{
    struct lk_nonce_place now = lk_nonce_current(op->ring, op->now_ms, op->p->config.epoch_s);
    struct lk_nonce_subject s = lk_op_subject(op, &op->pair, op->record.generation);
    enum lk_err err = lk_nonce_key(op->ring, &s, &now, ret);

    if (err == LK_OK && refused) {
        err = lk_rand_fill(op->p->config.rnd, ret, LK_NONCE_KEY_LEN);
    }
    return err;
}

static enum lk_err
challenge_make(const struct lk_reg_op *op, bool refused, struct lk_buf *ret)
{
    char uri[LK_ID_SCOPE_MAX + LK_REGISTRATION_ID_MAX + sizeof("/registrations/")];
    uint8_t nonce[LK_NONCE_KEY_LEN];
    enum lk_err err;

    (void)snprintf(uri, sizeof(uri), "%s/registrations/%s", op->req.scope,
                   op->req.registration_id); /* both fit: they were judged */
    if ((err = nonce_make(op, refused, nonce)) == LK_OK) {
        err =
            lk_auth_key_wrap(&op->ek, &op->srk, nonce, sizeof(nonce), uri, op->p->config.rnd, ret);
    }
    lk_wipe(nonce, sizeof(nonce));
    return err;
}

/* For clients that leave the keys out when they come back; as long as the challenge can live. */
static void
keys_remember(const struct lk_reg_op *op)
{
    const struct lk_provision_config *config = &op->p->config;

    lk_srk_cache_put(config->srk_cache, op->req.scope, op->req.registration_id, &op->pair,
                     lk_clock_mono_ms(config->clock), (int64_t)config->epoch_s * 2000);
}

static void
challenge(struct lk_reg_op *op)
{
    const char *why = lk_admission_judge(op, op->ek.id);
    struct lk_reg_answer answer = {.verdict = LK_REG_CHALLENGE};
    enum lk_err err = challenge_make(op, why != NULL, &answer.auth_key);

    if (err != LK_OK) {
        lk_op_fault(op, err);
    } else if (why != NULL) {
        lk_op_stop(op, LK_ERR_REFUSED, why);
    } else {
        keys_remember(op);
        lk_metric_add(LK_M_REG_CHALLENGES, 1);
        lk_op_finish(op, &answer);
    }
    lk_buf_fini(&answer.auth_key);
}

/* ---- second leg: the attestation ----------------------------------------------------------------
 */

/* The request that made the record, sent again because its answer was lost. */
static bool
is_same_request(const struct lk_reg_op *op)
{
    const struct lk_registration *r = &op->record;

    return op->recorded && lk_attestation_is_tpm(r->attestation) &&
           r->generation == r->nonce_generation + 1 &&
           op->now_ms - r->attested_ms <= LK_RETRY_WINDOW_MS &&
           lk_ct_equal(op->token_hash, r->token_hash, sizeof(r->token_hash)) &&
           (!op->has_keys || lk_pair_is_recorded(op));
}

/* The record's keys, which serve a device that registers again with the same SRK. */
static struct lk_key_pair
recorded_pair(const struct lk_registration *r)
{
    struct lk_key_pair pair = {.srk_name_len = r->srk_name_len, .srk_pub_len = r->srk_pub_len};

    memcpy(pair.ek_id, r->ek_id, LK_EK_ID_LEN);
    memcpy(pair.srk_name, r->srk_name, r->srk_name_len);
    memcpy(pair.srk_pub, r->srk_pub, r->srk_pub_len);
    return pair;
}

/*
 * The pairs that the token may belong to: the body's, or what is known of this registration. At
 * least one, so that a registration of which nothing is known costs a check too: the pair of zeros,
 * for which nobody was given a nonce key.
 */
static size_t
candidates_list(const struct lk_reg_op *op, struct lk_key_pair ret[LK_SRKS_PER_ID + 1])
{
    const struct lk_provision_config *config = &op->p->config;
    size_t count;

    if (op->has_keys) {
        ret[0] = op->pair;
        return 1;
    }
    count = lk_srk_cache_find(config->srk_cache, op->req.scope, op->req.registration_id,
                              lk_clock_mono_ms(config->clock), ret);
    if (op->recorded || count == 0) {
        ret[count++] = recorded_pair(&op->record);
    }
    return count;
}

/* Find the pair and the nonce key that the token was signed with. LK_ERR_REFUSED: none. */
static enum lk_err
attestation_verify(struct lk_reg_op *op)
{
    struct lk_key_pair candidates[LK_SRKS_PER_ID + 1];
    size_t count = candidates_list(op, candidates);
    enum lk_err found = LK_ERR_REFUSED;

    for (size_t i = 0; i < count; i++) {
        struct lk_nonce_subject s = lk_op_subject(op, &candidates[i], op->record.generation);
        enum lk_err err =
            lk_nonce_verify(op->ring, &s, &op->sas, op->now_ms, op->p->config.epoch_s, &op->place);

        if (err == LK_OK) {
            op->pair = candidates[i];
            found = LK_OK;
        } else if (err != LK_ERR_REFUSED) {
            return err;
        }
    }
    return found;
}

/* Judged keys for a pair that came without the request. They were judged once, so they are sound.
 */
static enum lk_err
keys_recall(struct lk_reg_op *op)
{
    const struct lk_ek *ek = lk_enrolled_ek(&op->enrollment, op->pair.ek_id);
    const char *why;

    if (op->has_keys) {
        return LK_OK;
    }
    if (lk_tpm_key_parse(LK_ROLE_EK, ek->pub, ek->pub_len, &why, &op->ek) != LK_OK ||
        lk_tpm_key_parse(LK_ROLE_SRK, op->pair.srk_pub, op->pair.srk_pub_len, &why, &op->srk) !=
            LK_OK) {
        return LK_ERR_STORE;
    }
    return LK_OK;
}

static void attest(struct lk_reg_op *op);

/* Whether a request without keys is of a device with a TPM whose client leaves them out. */
static bool
is_tpm(const struct lk_reg_op *op)
{
    return op->has_keys ||
           (op->enrolled
                ? lk_attestation_is_tpm(op->enrollment.attestation)
                : op->recorded && lk_attestation_is_tpm(op->record.attestation) && !op->is_tpms);
}

static void
start_over(struct lk_reg_op *op)
{
    lk_op_read(op, true, attest);
}

static void
attest(struct lk_reg_op *op)
{
    bool same = is_same_request(op);
    enum lk_err verified = attestation_verify(op);
    enum lk_err replayed = lk_record_verify(op);
    const char *why;

    if (!is_tpm(op)) {
        lk_member_attest(op, start_over);
        return;
    }
    why = lk_admission_judge(op, same                                ? op->record.ek_id
                                 : verified == LK_OK || op->has_keys ? op->pair.ek_id
                                                                     : NULL);

    if (why == NULL && same) {
        lk_metric_add(LK_M_REG_RETRIED, 1);
        lk_assignment_accepted(op, op->record.operation_id);
        lk_op_end(op);
        return;
    }
    if (verified != LK_OK && verified != LK_ERR_REFUSED) {
        lk_op_fault(op, verified);
        return;
    }
    if (why == NULL && verified != LK_OK) {
        why = replayed == LK_OK ? "token.replayed" : "token.signature";
    }
    if (why == NULL) {
        why = lk_ek_member_object(op);
    }
    if (why != NULL) {
        lk_op_stop(op, LK_ERR_REFUSED, why);
        return;
    }
    if ((verified = keys_recall(op)) != LK_OK) {
        lk_op_fault(op, verified);
        return;
    }
    lk_assignment_begin(op, start_over);
}

/* ---- by a certificate ---------------------------------------------------------------------------
 */

static void attest_by_cert(struct lk_reg_op *op);

static void
start_over_by_cert(struct lk_reg_op *op)
{
    lk_op_read(op, true, attest_by_cert);
}

static void
attest_by_cert(struct lk_reg_op *op)
{
    lk_member_attest(op, start_over_by_cert);
}

static void
register_by_cert(struct lk_reg_op *op)
{
    const char *why;
    enum lk_err err = lk_cert_judge(op, &why);

    if (err != LK_OK) {
        lk_op_stop(op, err, why);
        return;
    }
    op->groups = LK_GROUPS_SEARCHED;
    lk_op_read(op, true, attest_by_cert);
}

/* ---- PUT .../register ---------------------------------------------------------------------------
 */

void
lk_provision_register(struct lk_provision *p, const struct lk_reg_request *req,
                      lk_reg_done_fn *done, void *arg)
{
    struct lk_reg_op *op = lk_op_begin(p, req, done, arg);
    bool first_leg = req->token == NULL;
    const char *why = NULL;
    enum lk_err err;

    if (op == NULL) {
        return;
    }
    if ((err = lk_request_judge(op, &why)) != LK_OK || (err = lk_body_judge(op, &why)) != LK_OK) {
        lk_op_stop(op, err, why);
        return;
    }
    if (first_leg) {
        if (!op->has_keys && req->certs_count > 0) {
            register_by_cert(op);
            return;
        }
        if (!op->has_keys) {
            lk_op_stop(op, LK_ERR_FORMAT, "body.tpm_missing");
            return;
        }
        lk_op_read(op, false, challenge);
        return;
    }
    if ((err = lk_token_judge(op, &why)) != LK_OK) {
        lk_op_stop(op, err, why);
        return;
    }
    if (lk_token_is_past(op)) {
        lk_op_stop(op, LK_ERR_REFUSED, "token.expired");
        return;
    }
    op->groups = op->has_keys ? LK_GROUPS_NONE : LK_GROUPS_SEARCHED;
    lk_op_read(op, true, attest);
}
