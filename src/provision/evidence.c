/*
 * Judging what a request carries, and what the store says about it.
 *
 * The reason codes here are for the operator's log and audit. A device sees 400 for what is
 * malformed, which is decided from its own bytes before anything is looked up, and one shape of 401
 * for everything else.
 */
#include <string.h>

#include "base/codec.h"
#include "provision/provision_int.h"

static enum lk_err
judged(enum lk_err err, const char *why, const char **ret_why)
{
    *ret_why = why;
    return err;
}

enum lk_err
lk_request_judge(const struct lk_reg_op *op, const char **ret_why)
{
    const struct lk_reg_request *req = &op->req;

    if (!lk_id_scope_ok(req->scope, strlen(req->scope))) {
        return judged(LK_ERR_FORMAT, "path.scope", ret_why);
    }
    if (!lk_registration_id_ok(req->registration_id, strlen(req->registration_id))) {
        return judged(LK_ERR_FORMAT, "path.registration_id", ret_why);
    }
    return LK_OK;
}

/* ---- keys --------------------------------------------------------------------------------------
 */

static void
pair_fill(struct lk_reg_op *op)
{
    const struct lk_buf *srk = &op->req.body->srk;
    struct lk_key_pair *pair = &op->pair;

    memcpy(pair->ek_id, op->ek.id, LK_EK_ID_LEN);
    memcpy(pair->srk_name, op->srk.name, op->srk.name_len);
    pair->srk_name_len = op->srk.name_len;
    memcpy(pair->srk_pub, srk->data, srk->len);
    pair->srk_pub_len = srk->len;
}

static enum lk_err
keys_judge(struct lk_reg_op *op, const char **ret_why)
{
    const struct lk_dps_register *body = op->req.body;
    enum lk_err err;

    if (body->ek.len == 0) {
        return judged(LK_ERR_FORMAT, "ek.missing", ret_why);
    }
    if (body->srk.len == 0) {
        return judged(LK_ERR_FORMAT, "srk.missing", ret_why);
    }
    if (body->srk.len > LK_TPM_PUBLIC_MAX || body->ek.len > LK_TPM_PUBLIC_MAX) {
        return judged(LK_ERR_FORMAT, "key.too_long", ret_why);
    }
    if ((err = lk_tpm_key_parse(LK_ROLE_EK, body->ek.data, body->ek.len, ret_why, &op->ek)) !=
            LK_OK ||
        (err = lk_tpm_key_parse(LK_ROLE_SRK, body->srk.data, body->srk.len, ret_why, &op->srk)) !=
            LK_OK ||
        (err = lk_tpm_pair_check(&op->ek, &op->srk, ret_why)) != LK_OK) {
        return err;
    }
    pair_fill(op);
    op->has_keys = true;
    *ret_why = "crypto";
    return lk_ek_cert_keep(op);
}

enum lk_err
lk_body_judge(struct lk_reg_op *op, const char **ret_why)
{
    const struct lk_dps_register *body = op->req.body;
    const char *id = op->req.registration_id;

    if (body == NULL) {
        return judged(LK_ERR_FORMAT, "body.missing", ret_why);
    }
    if (body->registration_id[0] != '\0' &&
        !lk_ascii_caseeq(body->registration_id, strlen(body->registration_id), id, strlen(id))) {
        return judged(LK_ERR_FORMAT, "body.registration_id", ret_why);
    }
    return body->has_tpm ? keys_judge(op, ret_why) : LK_OK;
}

/* ---- the token ----------------------------------------------------------------------------- */

/* "{idScope}/registrations/{registrationId}" in any case: Rust's client lower-cases it. */
static bool
resource_is_own(const struct lk_reg_op *op)
{
    static const char between[] = "/registrations/";
    const char *scope = op->req.scope, *id = op->req.registration_id, *r = op->sas.resource;
    size_t scope_len = strlen(scope), between_len = sizeof(between) - 1, id_len = strlen(id);

    return strlen(r) == scope_len + between_len + id_len &&
           lk_ascii_caseeq(r, scope_len, scope, scope_len) &&
           lk_ascii_caseeq(r + scope_len, between_len, between, between_len) &&
           lk_ascii_caseeq(r + scope_len + between_len, id_len, id, id_len);
}

enum lk_err
lk_token_judge(struct lk_reg_op *op, const char **ret_why)
{
    const char *token = op->req.token;
    size_t len = token == NULL ? 0 : strlen(token);
    const char *skn = op->sas.key_name;
    enum lk_err err;

    if (token == NULL) {
        return judged(LK_ERR_REFUSED, "token.missing", ret_why);
    }
    err = len > LK_SAS_MAX ? LK_ERR_LIMIT : lk_sas_parse(token, len, &op->sas);
    if (err == LK_ERR_NOMEM) {
        return err;
    }
    if (err != LK_OK) {
        return judged(LK_ERR_REFUSED, "token.malformed", ret_why);
    }
    if (!resource_is_own(op)) {
        return judged(LK_ERR_REFUSED, "token.resource", ret_why);
    }
    if (skn[0] != '\0' && strcmp(skn, "registration") != 0) {
        return judged(LK_ERR_REFUSED, "token.key_name", ret_why);
    }
    *ret_why = "crypto";
    return lk_digest(LK_SHA256, &LK_PART(token, len), 1, op->token_hash);
}

/* No skew is granted: devices date their tokens half a minute to a day ahead. */
bool
lk_token_is_past(const struct lk_reg_op *op)
{
    return op->now_ms >= 0 && (uint64_t)op->now_ms / 1000 > op->sas.expiry_unix_s;
}

/* ---- what the store says ------------------------------------------------------------------- */

const struct lk_ek *
lk_enrolled_ek(const struct lk_enrollment *e, const uint8_t *ek_id)
{
    for (size_t i = 0; i < e->eks_count; i++) {
        if (memcmp(e->eks[i].id, ek_id, LK_EK_ID_LEN) == 0) {
            return &e->eks[i];
        }
    }
    return NULL;
}

const char *
lk_admission_judge(const struct lk_reg_op *op, const uint8_t *ek_id)
{
    if (!op->scope_known) {
        return "scope.unknown";
    }
    if (!op->enrolled) {
        return op->has_keys && op->groups_why != NULL ? op->groups_why : "enrollment.unknown";
    }
    if (ek_id != NULL && !lk_attestation_is_tpm(op->enrollment.attestation)) {
        return "enrollment.other_attestation";
    }
    if (ek_id != NULL && lk_enrolled_ek(&op->enrollment, ek_id) == NULL) {
        return "enrollment.ek_mismatch";
    }
    if (!op->enrollment.enabled) {
        return op->group[0] != '\0' ? "group.disabled" : "enrollment.disabled";
    }
    return NULL;
}

bool
lk_pair_is_recorded(const struct lk_reg_op *op)
{
    const struct lk_registration *r = &op->record;

    return memcmp(op->pair.ek_id, r->ek_id, LK_EK_ID_LEN) == 0 &&
           op->pair.srk_name_len == r->srk_name_len &&
           memcmp(op->pair.srk_name, r->srk_name, r->srk_name_len) == 0;
}

struct lk_nonce_subject
lk_op_subject(const struct lk_reg_op *op, const struct lk_key_pair *pair, uint64_t generation)
{
    struct lk_nonce_subject s = {.scope = op->req.scope,
                                 .registration_id = op->req.registration_id,
                                 .ek_id = pair->ek_id,
                                 .srk_name = pair->srk_name,
                                 .srk_name_len = pair->srk_name_len,
                                 .generation = generation};

    return s;
}

enum lk_err
lk_record_verify(const struct lk_reg_op *op)
{
    const struct lk_registration *r = &op->record;
    bool attested = op->recorded && lk_attestation_is_tpm(r->attestation);
    struct lk_nonce_place at = {r->nonce_key_id, r->nonce_epoch};
    struct lk_nonce_subject s = {.scope = op->req.scope,
                                 .registration_id = op->req.registration_id,
                                 .ek_id = r->ek_id,
                                 .srk_name = r->srk_name,
                                 .srk_name_len = r->srk_name_len,
                                 .generation = r->nonce_generation};
    uint8_t nonce[LK_NONCE_KEY_LEN];
    enum lk_err err;

    if (!attested) {
        at = lk_nonce_current(op->ring, op->now_ms, op->p->config.epoch_s);
    }
    if ((err = lk_nonce_key(op->ring, &s, &at, nonce)) == LK_OK) {
        err = lk_sas_verify(&op->sas, nonce, sizeof(nonce), false);
    }
    lk_wipe(nonce, sizeof(nonce));
    if (err == LK_ERR_NOT_FOUND) {
        return LK_ERR_REFUSED; /* made with a master key that is gone from the ring */
    }
    return err == LK_OK && !attested ? LK_ERR_REFUSED : err;
}
