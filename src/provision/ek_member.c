/*
 * Devices that have no enrollment of their own and bring a certificate of their EK: a group admits
 * them when its rules do (ek_group.h). The flow is that of a TPM with an enrollment, from which
 * only the admission differs:
 *
 *   judge keys, read the certificate -> read -> search a group -> challenge  401
 *   judge token -> the same again -> assign                                  202
 *
 * Both legs bring keys and certificate: nothing is remembered in between, so that what was revoked,
 * disabled or filled meanwhile counts. The same goes for registering again. Poll and look-up need
 * the record only, and its group enabled.
 *
 * An enrollment with this registration id comes first, also a disabled one; and an EK that an
 * enrollment names, or that another registration was made with, is admitted by no group; nor is
 * another EK under the id of a registration that is there. So no device gets around being disabled
 * by another id, one EK has one registration, and whoever buys a chip of the same maker takes over
 * nobody's. An EK that is registered elsewhere is challenged all the same and refused when its TPM
 * has answered: the alarm names a chip, and a certificate alone, which is no secret, raises none.
 * Among groups that fit, the first enabled one in order of id admits. They are searched
 * whenever there is a certificate, so that time does not tell who is enrolled.
 */
#include <string.h>

#include "base/codec.h"
#include "provision/provision_int.h"

enum lk_err
lk_ek_cert_keep(struct lk_reg_op *op)
{
    const struct lk_buf *der = &op->req.body->ek_cert;
    enum lk_err err;

    if (der->len == 0) {
        return LK_OK;
    }
    err = lk_ek_cert_parse(der->data, der->len, &op->ek_cert_why, &op->ek_cert);
    /* A device with an enrollment may bring whatever it likes: it is not asked for. */
    return err == LK_ERR_NOMEM || err == LK_ERR_CRYPTO ? err : LK_OK;
}

/* ---- trust -------------------------------------------------------------------------------------
 */

static enum lk_err
trust_add(void *ctx, const struct lk_trust *t)
{
    struct lk_ek_trust *trust = ctx;
    enum lk_err err = LK_OK;

    if (t->kind == LK_TRUST_ROOT || t->kind == LK_TRUST_INTERMEDIATE || t->kind == LK_TRUST_CRL) {
        enum lk_ek_trust_kind kind = t->kind == LK_TRUST_ROOT           ? LK_EK_TRUST_ROOT
                                     : t->kind == LK_TRUST_INTERMEDIATE ? LK_EK_TRUST_INTERMEDIATE
                                                                        : LK_EK_TRUST_CRL;

        err = lk_ek_trust_add(trust, kind, t->der.data, t->der.len);
    }
    return err;
}

/*
 * p's copy, parsed anew whenever the store's has changed. LK_ERR_FORMAT: an entry cannot be read;
 * then there is no copy at all, for what is missing may be a revocation.
 */
static enum lk_err
trust_read(struct lk_provision *p, struct lk_txn *tx)
{
    LK_AUTO(lk_ek_trust) struct lk_ek_trust *fresh = NULL;
    int64_t version;
    enum lk_err err = lk_txn_trust_version(tx, &version);

    if (err != LK_OK || (p->trust != NULL && p->trust_version == version)) {
        return err;
    }
    lk_ek_trust_free(p->trust);
    p->trust = NULL;
    if ((err = lk_ek_trust_new(&fresh)) != LK_OK ||
        (err = lk_txn_trust_each(tx, trust_add, fresh)) != LK_OK) {
        return err;
    }
    p->trust = lk_ek_trust_take(&fresh);
    p->trust_version = version;
    return LK_OK;
}

/* ---- the search --------------------------------------------------------------------------------
 */

struct search {
    struct lk_reg_op *op;
    struct lk_ek_claim claim;
    struct lk_part chain[LK_EK_CHAIN_MAX];
    char id[LK_REGISTRATION_ID_MAX + 1]; /* of the best so far; "": none */
    bool enabled;                        /* that one is */
    const char *why;                     /* none fits: the most telling reason of one */
};

_Static_assert(LK_DPS_EK_CHAIN_MAX == LK_EK_CHAIN_MAX, "what is read can be judged");

static void
claim_fill(struct search *s)
{
    const struct lk_dps_register *body = s->op->req.body;

    for (size_t i = 0; i < body->ek_chain_count; i++) {
        s->chain[i] = LK_PART(body->ek_chain[i].data, body->ek_chain[i].len);
    }
    s->claim = (struct lk_ek_claim){.registration_id = s->op->req.registration_id,
                                    .ek = &s->op->ek,
                                    .ek_pub = LK_PART(body->ek.data, body->ek.len),
                                    .cert = s->op->ek_cert,
                                    .chain = s->chain,
                                    .chain_count = body->ek_chain_count};
}

/* A refusal, whatever its kind, is this group's alone. */
static bool
is_refusal(enum lk_err err)
{
    return err == LK_ERR_REFUSED || err == LK_ERR_FORMAT || err == LK_ERR_LIMIT;
}

static enum lk_err
group_try(void *ctx, const struct lk_enrollment *g)
{
    struct search *s = ctx;
    struct lk_ek_rules rules;
    const char *why = "group.rules";
    enum lk_err err = lk_ek_rules_parse(g->rules.data, g->rules.len, NULL, &rules);

    if (err == LK_OK) {
        err = lk_ek_rules_judge(&rules, &s->claim, s->op->p->trust, s->op->now_ms, &why);
    }
    if (is_refusal(err)) {
        /* That other makers' roots do not lead anywhere is what every device meets. */
        s->why = s->why == NULL || strcmp(s->why, "ek_cert.chain") == 0 ? why : s->why;
        return LK_OK;
    }
    if (err != LK_OK || (s->id[0] != '\0' && (s->enabled || !g->enabled))) {
        return err;
    }
    s->enabled = g->enabled;
    return lk_strcpy(s->id, sizeof(s->id), g->id);
}

static enum lk_err
group_search(struct search *s, struct lk_txn *tx)
{
    struct lk_reg_op *op = s->op;
    enum lk_err err;

    if (op->ek_cert == NULL) {
        s->why = op->ek_cert_why;
        return LK_OK;
    }
    err = trust_read(op->p, tx);
    if (err == LK_ERR_FORMAT) {
        s->why = "trust.unreadable";
        return LK_OK;
    }
    if (err != LK_OK) {
        return err;
    }
    claim_fill(s);
    return lk_txn_group_each(tx, op->req.scope, LK_ATTESTATION_EK_CERT, group_try, s);
}

/* ---- one EK, one registration, and the reverse; quota ------------------------------------------
 */

/* Another registration with the EK, whichever came first; "" in ret: none. */
static enum lk_err
elsewhere_find(const struct lk_reg_op *op, struct lk_txn *tx, char ret[LK_REGISTRATION_ID_MAX + 1])
{
    enum lk_err err = lk_txn_registration_of_ek_elsewhere(tx, op->req.scope, op->ek.id,
                                                          op->req.registration_id, ret);

    if (err == LK_ERR_NOT_FOUND) {
        ret[0] = '\0';
        return LK_OK;
    }
    return err;
}

const char *
lk_ek_member_object(struct lk_reg_op *op)
{
    if (op->elsewhere[0] == '\0') {
        return NULL;
    }
    op->is_duplicate = true; /* for the refusal's log line and record */
    lk_metric_add(LK_M_EK_DUPLICATES, 1);
    return "group.ek_registered";
}

static enum lk_err
quota_judge(const struct lk_reg_op *op, struct lk_txn *tx, const struct lk_enrollment *g,
            const char **ret_why)
{
    struct lk_ek_rules rules;
    int64_t count;
    enum lk_err err;

    if (op->recorded &&
        lk_ascii_caseeq(op->record.group, strlen(op->record.group), g->id, strlen(g->id))) {
        return LK_OK; /* it is counted already */
    }
    if ((err = lk_ek_rules_parse(g->rules.data, g->rules.len, NULL, &rules)) != LK_OK) {
        return err;
    }
    if (rules.quota == 0) {
        return LK_OK;
    }
    err = lk_txn_registration_count_of_group(tx, op->req.scope, g->id, &count);
    if (err == LK_OK && !lk_ek_rules_have_room(&rules, count)) {
        *ret_why = "group.quota";
    }
    return err;
}

/*
 * What only a consistent view of the store can say: *ret_why stays NULL and elsewhere "" when
 * nothing objects.
 */
static enum lk_err
place_judge(const struct lk_reg_op *op, struct lk_txn *tx, const char *group,
            char elsewhere[LK_REGISTRATION_ID_MAX + 1], const char **ret_why)
{
    struct lk_enrollment g;
    char id[LK_REGISTRATION_ID_MAX + 1];
    enum lk_err err = lk_txn_enrollment_by_ek(tx, op->req.scope, op->ek.id, id);

    if (err != LK_ERR_NOT_FOUND) {
        *ret_why = "group.ek_enrolled";
        return err;
    }
    if (op->recorded && memcmp(op->record.ek_id, op->ek.id, LK_EK_ID_LEN) != 0) {
        *ret_why = "group.id_registered";
        return LK_OK;
    }
    if ((err = elsewhere_find(op, tx, elsewhere)) != LK_OK || elsewhere[0] != '\0') {
        return err;
    }
    lk_enrollment_init(&g);
    if ((err = lk_txn_group_get(tx, op->req.scope, group, &g)) == LK_OK) {
        err = quota_judge(op, tx, &g, ret_why);
    }
    lk_enrollment_fini(&g);
    return err;
}

/* ---- the read ----------------------------------------------------------------------------------
 */

/* The group's terms name the EK that it has admitted, as an enrollment would. */
static enum lk_err
adopt(struct lk_reg_op *op, struct lk_txn *tx, const char *group)
{
    const struct lk_buf *pub = &op->req.body->ek;
    struct lk_enrollment *e = &op->enrollment;
    struct lk_ek *ek = &e->eks[0];
    char derived[LK_DEFAULT_REGISTRATION_ID_CAP];
    enum lk_err err = lk_group_adopt(op, tx, group);

    if (err != LK_OK || !op->enrolled) {
        return err;
    }
    if ((err = lk_default_registration_id(pub->data, pub->len, derived)) != LK_OK) {
        return err;
    }
    op->chose_id = !lk_ascii_caseeq(e->id, strlen(e->id), derived, strlen(derived));
    memcpy(ek->id, op->ek.id, LK_EK_ID_LEN);
    memcpy(ek->pub, pub->data, pub->len); /* LK_TPM_PUBLIC_MAX bounds both */
    ek->pub_len = pub->len;
    e->eks_count = 1;
    return LK_OK;
}

/* A poll or look-up: the record tells the EK that was admitted. */
static void
recorded_ek_fill(struct lk_reg_op *op)
{
    struct lk_enrollment *e = &op->enrollment;

    if (op->enrolled && op->group[0] != '\0' && e->attestation == LK_ATTESTATION_EK_CERT &&
        op->record.attestation == LK_ATTESTATION_EK_CERT) {
        memcpy(e->eks[0].id, op->record.ek_id, LK_EK_ID_LEN);
        e->eks_count = 1;
    }
}

enum lk_err
lk_ek_member_read(struct lk_reg_op *op, struct lk_txn *tx)
{
    struct search s = {.op = op};
    enum lk_err err;

    op->elsewhere[0] = '\0';
    op->chose_id = false;
    if (op->groups == LK_GROUPS_RECORDED) {
        recorded_ek_fill(op);
        return LK_OK;
    }
    if (!op->has_keys || op->req.body->ek_cert.len == 0) {
        return LK_OK;
    }
    if ((err = group_search(&s, tx)) != LK_OK) {
        return err;
    }
    op->groups_why = s.why;
    if (op->enrolled || s.id[0] == '\0') {
        return LK_OK;
    }
    op->groups_why = NULL;
    err = place_judge(op, tx, s.id, op->elsewhere, &op->groups_why);
    if (err != LK_OK || op->groups_why != NULL) {
        return err;
    }
    return adopt(op, tx, s.id);
}

enum lk_err
lk_ek_member_still(const struct lk_reg_op *op, struct lk_txn *tx)
{
    char elsewhere[LK_REGISTRATION_ID_MAX + 1] = "";
    const char *why = NULL;
    enum lk_err err;

    if (op->group[0] == '\0' || op->enrollment.attestation != LK_ATTESTATION_EK_CERT) {
        return LK_OK;
    }
    err = place_judge(op, tx, op->group, elsewhere, &why);
    return err == LK_OK && (why != NULL || elsewhere[0] != '\0') ? LK_ERR_PRECONDITION : err;
}
