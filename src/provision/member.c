/*
 * Devices without a TPM (service-api.md section 6): they register in one leg, and prove themselves
 * with a token under a shared key, or with a certificate whose key they have proved to hold in TLS.
 *
 *   judge token or certificate -> read -> verify -> admit -> assign         202
 *
 * The key is that of the device's own enrollment, or the one derived for it from a group's when it
 * has none; the certificate is the enrolled one itself, or one that a group's signed. An enrollment
 * of its own, also a disabled one, always comes before groups. Among groups that fit, the first
 * enabled one in order of id admits. None admits a device under the id of a registration that a TPM
 * has made: whoever learns a group's secret would take the place of what is bound to a chip.
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

static enum lk_attestation
evidence_kind(const struct lk_reg_op *op)
{
    return op->by_cert ? LK_ATTESTATION_X509 : LK_ATTESTATION_SYMMETRIC_KEY;
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

/* ---- certificates ------------------------------------------------------------------------------
 */

enum lk_err
lk_cert_judge(struct lk_reg_op *op, const char **ret_why)
{
    const struct lk_part *own = &op->req.certs[0];
    const char *id = op->req.registration_id;
    struct lk_x509_info info;
    enum lk_err err = lk_x509_read(own->data, own->len, &info);

    if (err == LK_ERR_FORMAT || err == LK_ERR_UNSUPPORTED) {
        *ret_why = "cert.malformed";
        return LK_ERR_REFUSED;
    }
    if (err != LK_OK) {
        return err;
    }
    if (!lk_ascii_caseeq(info.common_name, strlen(info.common_name), id, strlen(id))) {
        *ret_why = "cert.common_name";
        return LK_ERR_REFUSED;
    }
    if (op->now_ms < info.not_before_ms || op->now_ms > info.not_after_ms) {
        *ret_why = op->now_ms > info.not_after_ms ? "cert.expired" : "cert.not_yet_valid";
        return LK_ERR_REFUSED;
    }
    op->by_cert = true;
    memcpy(op->token_hash, info.sha256, sizeof(op->token_hash));
    return LK_OK;
}

/* An enrolled certificate is the device's own; it need not be signed by anybody. */
static bool
cert_is_enrolled(const struct lk_reg_op *op, const struct lk_enrollment *e)
{
    const struct lk_part *own = &op->req.certs[0];

    for (size_t i = 0; i < LK_ARRAY_LEN(e->certs); i++) {
        if (e->certs[i].len == own->len && own->len > 0 &&
            memcmp(e->certs[i].data, own->data, own->len) == 0) {
            return true;
        }
    }
    return false;
}

/* One signer at a time: a new one may bear the name of the one that it replaces. */
static enum lk_err
cert_is_signed(const struct lk_reg_op *op, const struct lk_enrollment *g, const char **ret_why)
{
    const char *telling = "chain.unknown_signer";

    for (size_t i = 0; i < LK_ARRAY_LEN(g->certs); i++) {
        struct lk_part anchor = LK_PART(g->certs[i].data, g->certs[i].len);
        const char *why;
        enum lk_err err;

        if (anchor.len == 0) {
            continue;
        }
        err = lk_x509_chain_check(op->req.certs, op->req.certs_count, &anchor, 1, op->now_ms, &why);
        if (err != LK_ERR_REFUSED && err != LK_ERR_FORMAT) {
            return err;
        }
        if (strcmp(why, "chain.unknown_signer") != 0) {
            telling = why;
        }
    }
    *ret_why = telling;
    return LK_ERR_REFUSED;
}

static enum lk_err
cert_verify(const struct lk_reg_op *op, const char **ret_why)
{
    if (op->enrollment.attestation == LK_ATTESTATION_X509 && op->group[0] != '\0') {
        return cert_is_signed(op, &op->enrollment, ret_why);
    }
    *ret_why = "cert.unknown";
    return cert_is_enrolled(op, &op->enrollment) ? LK_OK : LK_ERR_REFUSED;
}

/* ---- groups ------------------------------------------------------------------------------------
 */

/* The search for a group that admits the device. */
struct search {
    struct lk_reg_op *op;
    char id[LK_REGISTRATION_ID_MAX + 1]; /* of the best so far; "": none */
    bool enabled;                        /* that one is */
    const char *why;                     /* none fits: the most telling reason of one */
    enum lk_err unreadable;              /* why a group could not be tried */
};

static enum lk_err
group_key_fits(struct search *s, const struct lk_enrollment *g)
{
    LK_AUTO_SHARED_KEYS struct lk_shared_keys keys = {.primary = {.len = 0}};
    enum lk_err err = group_keys(s->op, g, &keys);

    s->why = "group.none_fits";
    if (err == LK_ERR_CONFIG || err == LK_ERR_STORE) {
        s->unreadable = err; /* one lost key must not keep the devices of other groups out */
        return LK_ERR_REFUSED;
    }
    return err != LK_OK ? err : keys_verify(&s->op->sas, &keys);
}

static enum lk_err
group_cert_fits(struct search *s, const struct lk_enrollment *g)
{
    const char *why;
    enum lk_err err = cert_is_signed(s->op, g, &why);

    if (err == LK_ERR_REFUSED && (s->why == NULL || strcmp(s->why, "chain.unknown_signer") == 0)) {
        s->why = why;
    }
    return err;
}

static enum lk_err
group_try(void *ctx, const struct lk_enrollment *g)
{
    struct search *s = ctx;
    enum lk_err err = s->op->by_cert ? group_cert_fits(s, g) : group_key_fits(s, g);

    if (err != LK_OK) {
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
    enum lk_err err = lk_txn_group_each(tx, op->req.scope, evidence_kind(op), group_try, &s);

    if (err == LK_OK && s.id[0] == '\0' && !op->enrolled) {
        err = s.unreadable;
    }
    memcpy(ret, s.id, sizeof(s.id));
    op->groups_why = s.why;
    return err;
}

/*
 * Take the group's terms for the device's enrollment, under the device's own ids. The registration
 * id keeps the spelling that it first had: at a hub, letter case counts.
 */
enum lk_err
lk_group_adopt(struct lk_reg_op *op, struct lk_txn *tx, const char *group)
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
    op->groups_why = NULL;
    if (op->groups == LK_GROUPS_NONE) {
        return LK_OK;
    }
    op->is_tpms = false;
    if (op->groups == LK_GROUPS_SEARCHED) {
        err = group_search(op, tx, group);
        op->is_tpms = group[0] != '\0' && !op->enrolled && op->recorded &&
                      lk_attestation_is_tpm(op->record.attestation);
    } else if (op->recorded) {
        memcpy(group, op->record.group, sizeof(group));
    }
    if (err == LK_OK && op->enrolled &&
        op->enrollment.attestation == LK_ATTESTATION_SYMMETRIC_KEY) {
        err = lk_shared_keys_open(op->ring, LK_KEYS_OF_ENROLLMENT, &op->enrollment, &op->keys);
    } else if (err == LK_OK && op->is_tpms) {
        op->groups_why = "group.id_registered";
    } else if (err == LK_OK && !op->enrolled && group[0] != '\0') {
        err = lk_group_adopt(op, tx, group);
    }
    return err;
}

/* ---- verdicts ----------------------------------------------------------------------------------
 */

enum lk_err
lk_member_verify(const struct lk_reg_op *op, const char **ret_why)
{
    if (op->by_cert) {
        return cert_verify(op, ret_why);
    }
    *ret_why = "token.signature";
    return keys_verify(&op->sas, &op->keys);
}

/* Why the device is not admitted, or NULL. */
static const char *
admission_judge(const struct lk_reg_op *op)
{
    if (op->scope_known && !op->enrolled && op->groups_why != NULL) {
        return op->groups_why;
    }
    if (op->scope_known && op->enrolled && op->enrollment.attestation != evidence_kind(op)) {
        return "enrollment.other_attestation";
    }
    return lk_admission_judge(op, NULL);
}

/*
 * The request that made the record, sent again because its answer was lost; a certificate does not
 * tell one request from the next. Devices with a token made beforehand send the same one whenever
 * they register: what has failed or been changed since is decided anew.
 */
static bool
is_same_request(const struct lk_reg_op *op)
{
    const struct lk_registration *r = &op->record;

    return op->recorded && !op->by_cert && r->attestation == op->enrollment.attestation &&
           strcmp(r->group, op->group) == 0 && r->status != LK_REG_FAILED &&
           op->enrollment.updated_ms <= r->attested_ms &&
           op->now_ms - r->attested_ms <= LK_RETRY_WINDOW_MS &&
           lk_ct_equal(op->token_hash, r->token_hash, sizeof(r->token_hash));
}

void
lk_member_attest(struct lk_reg_op *op, void (*start_over)(struct lk_reg_op *op))
{
    const char *objection, *why = admission_judge(op);
    enum lk_err verified = lk_member_verify(op, &objection);

    if (verified != LK_OK && verified != LK_ERR_REFUSED) {
        lk_op_fault(op, verified);
        return;
    }
    if (why == NULL && verified != LK_OK) {
        why = objection;
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
    enum lk_err err = lk_member_verify(op, ret_why);

    if (!op->recorded || r->attestation != evidence_kind(op)) {
        *ret_why = op->recorded ? "registration.other_attestation" : "registration.unknown";
        return LK_ERR_REFUSED;
    }
    if (err == LK_OK && !op->by_cert && lk_token_is_past(op) &&
        (!is_its_own || op->now_ms - r->attested_ms > LK_POLL_GRACE_MS)) {
        *ret_why = "token.expired";
        return LK_ERR_REFUSED;
    }
    return err;
}
