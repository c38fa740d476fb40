/* Enrollments and groups, one at a time (service-api.md sections 2 to 6). */
#include <stdio.h>
#include <string.h>

#include "api/service_int.h"
#include "provision/enrollment.h"

static enum lk_shared_key_owner
owner_of(const struct lk_service_call *c)
{
    return c->entity == LK_ENTITY_GROUP ? LK_KEYS_OF_GROUP : LK_KEYS_OF_ENROLLMENT;
}

static enum lk_err
entity_get(const struct lk_service_call *c, struct lk_txn *tx, const char *id,
           struct lk_enrollment *ret)
{
    return c->entity == LK_ENTITY_GROUP ? lk_txn_group_get(tx, c->scope.id, id, ret)
                                        : lk_txn_enrollment_get(tx, c->scope.id, id, ret);
}

static const char *
noun_of(const struct lk_service_call *c)
{
    return c->entity == LK_ENTITY_GROUP ? "group" : "enrollment";
}

static int32_t
missing_code(const struct lk_service_call *c)
{
    return c->entity == LK_ENTITY_GROUP ? LK_SVC_NO_GROUP : LK_SVC_NO_ENROLLMENT;
}

static int32_t
exists_code(const struct lk_service_call *c)
{
    return c->entity == LK_ENTITY_GROUP ? LK_SVC_GROUP_EXISTS : LK_SVC_ENROLLMENT_EXISTS;
}

/* The record's action: "enrollment.create", "group.delete". */
static enum lk_err
audit(const struct lk_service_call *c, struct lk_txn *tx, const char *verb, const char *id,
      const char *conflict)
{
    char action[64];

    (void)snprintf(action, sizeof(action), "%s.%s", noun_of(c), verb);
    return lk_svc_audit(c, tx, action, id, conflict);
}

/* ---- store ------------------------------------------------------------------------------------
 */

/* What an update leaves out and is kept: shared keys and certificates, which answers do not show.
 */
static enum lk_err
secrets_keep(const struct lk_service_call *c, const struct lk_enrollment *was,
             struct lk_enrollment *e, const struct lk_enrollment_doc *doc,
             struct lk_shared_keys *keys)
{
    LK_AUTO_SHARED_KEYS struct lk_shared_keys old = {.primary = {.len = 0}};
    enum lk_err err = LK_OK;

    if (was->attestation != e->attestation) {
        return LK_OK;
    }
    if (e->attestation == LK_ATTESTATION_SYMMETRIC_KEY &&
        (err = lk_shared_keys_open(c->ring, owner_of(c), was, &old)) == LK_OK) {
        if (keys->primary.len == 0) {
            keys->primary = old.primary;
        }
        if (keys->secondary.len == 0) {
            keys->secondary = old.secondary;
        }
    }
    for (size_t i = 0; err == LK_OK && i < LK_ARRAY_LEN(e->certs); i++) {
        if (doc->keep_cert[i]) {
            lk_buf_reset(&e->certs[i]);
            err = lk_buf_put(&e->certs[i], was->certs[i].data, was->certs[i].len);
        }
    }
    return err;
}

static bool
key_equal(const struct lk_shared_key *a, const struct lk_shared_key *b)
{
    return a->len == b->len && lk_ct_equal(a->data, b->data, a->len);
}

/* Whether the shared keys are as they were. */
static enum lk_err
keys_stay(const struct lk_service_call *c, const struct lk_enrollment *was,
          const struct lk_shared_keys *keys, bool *ret)
{
    LK_AUTO_SHARED_KEYS struct lk_shared_keys old = {.primary = {.len = 0}};
    enum lk_err err = lk_shared_keys_open(c->ring, owner_of(c), was, &old);

    if (err == LK_OK) {
        *ret =
            key_equal(&old.primary, &keys->primary) && key_equal(&old.secondary, &keys->secondary);
    }
    return err;
}

/*
 * Where manifests have to be signed, nobody who has a key of this API alone says who a device is:
 * enrollments and groups come by manifest or from the machine itself, and a change leaves alone
 * what proves their devices. fault is set when it does not.
 */
static enum lk_err
proof_check(const struct lk_service_call *c, const struct lk_enrollment *was,
            const struct lk_enrollment *e, const struct lk_shared_keys *keys,
            struct lk_svc_fault *fault)
{
    bool same = was != NULL && lk_enrollment_same_proof(was, e);
    enum lk_err err = LK_OK;

    if (!c->api->signatures_required) {
        return LK_OK;
    }
    if (same && e->attestation == LK_ATTESTATION_SYMMETRIC_KEY) {
        err = keys_stay(c, was, keys, &same);
    }
    if (err == LK_OK && !same) {
        (void)lk_svc_fault(fault, LK_SVC_BAD_REQUEST,
                           "import-signature-required: attestation and deviceId come by a signed "
                           "manifest, or from the service's own machine");
    }
    return err;
}

/* The tail of the doc that only the store can tell. fault is set when it is the client's. */
static enum lk_err
entity_complete(struct lk_service_call *c, struct lk_txn *tx, struct lk_enrollment_doc *doc,
                const struct lk_enrollment *was, struct lk_shared_keys *keys,
                struct lk_svc_fault *fault)
{
    struct lk_manifest_problem problem = {.line = 0};
    struct lk_enrollment *e = &doc->e;
    enum lk_err err;

    *keys = doc->keys;
    if ((err = lk_strcpy(e->scope, sizeof(e->scope), c->scope.id)) != LK_OK ||
        (was != NULL && (err = secrets_keep(c, was, e, doc, keys)) != LK_OK)) {
        return err;
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(e->certs); i++) {
        if (doc->keep_cert[i] && e->certs[i].len == 0) {
            (void)lk_svc_fault(fault, LK_SVC_BAD_REQUEST, "attestation.x509: needs a certificate");
            return LK_OK;
        }
    }
    if ((err = proof_check(c, was, e, keys, fault)) != LK_OK || fault->code != 0) {
        return err;
    }
    err = lk_enrollment_check_open(tx, e, &problem);
    if (err == LK_ERR_FORMAT) {
        (void)lk_svc_fault(fault, LK_SVC_BAD_REQUEST, "%s: %s", problem.field, problem.reason);
        return LK_OK;
    }
    if (err == LK_OK && e->attestation == LK_ATTESTATION_SYMMETRIC_KEY) {
        err = lk_shared_keys_seal(c->ring, c->api->rnd, owner_of(c), keys, e);
    }
    return err;
}

/* Somebody else has the id or the key. The other one is named: it is this scope's own. */
static enum lk_err
conflict_tell(const struct lk_service_call *c, struct lk_txn *tx, const char *id,
              const struct lk_conflict *conflict, struct lk_svc_fault *fault)
{
    if (!conflict->by_ek) {
        (void)lk_svc_fault(fault, exists_code(c), "%s already exists%s",
                           c->entity == LK_ENTITY_GROUP ? "Enrollment group" : "Enrollment",
                           conflict->import_id != 0 ? ", or is being imported" : "");
        return LK_OK;
    }
    (void)lk_svc_fault(fault, exists_code(c), "The endorsement key is that of enrollment %s",
                       conflict->id);
    return audit(c, tx, "ek_duplicate", id, conflict->id);
}

static enum lk_err
fault_of(const struct lk_service_call *c, struct lk_txn *tx, const char *id, enum lk_err err,
         const struct lk_conflict *conflict, struct lk_svc_fault *fault)
{
    switch (err) {
    case LK_ERR_EXISTS:
        return conflict_tell(c, tx, id, conflict, fault);
    case LK_ERR_NOT_FOUND:
        (void)lk_svc_fault(fault, missing_code(c), "%s not found",
                           c->entity == LK_ENTITY_GROUP ? "Enrollment group" : "Enrollment");
        return LK_OK;
    case LK_ERR_PRECONDITION:
        (void)lk_svc_fault(fault, LK_SVC_PRECONDITION, "If-Match: not the current etag");
        return LK_OK;
    case LK_ERR_LIMIT:
        (void)lk_svc_fault(fault, LK_SVC_TOO_MANY, "Expected at most %u groups", LK_GROUPS_MAX);
        return LK_OK;
    default:
        return err;
    }
}

static enum lk_err
entity_write(const struct lk_service_call *c, struct lk_txn *tx, struct lk_enrollment *e,
             const char *etag, struct lk_conflict *conflict)
{
    if (c->entity == LK_ENTITY_GROUP) {
        return etag == NULL ? lk_txn_group_create(tx, e) : lk_txn_group_replace(tx, e, etag);
    }
    return etag == NULL ? lk_txn_enrollment_create(tx, e, conflict)
                        : lk_txn_enrollment_replace(tx, e, etag, conflict);
}

enum lk_err
lk_svc_entity_store(struct lk_service_call *c, struct lk_txn *tx, struct lk_enrollment_doc *doc,
                    const char *etag, struct lk_shared_keys *keys, struct lk_svc_fault *fault)
{
    struct lk_conflict conflict = {.by_ek = false};
    struct lk_enrollment was;
    enum lk_err err = LK_OK;

    fault->code = 0;
    lk_enrollment_init(&was);
    if (etag != NULL) {
        err = entity_get(c, tx, doc->e.id, &was);
    }
    if (err == LK_OK) {
        err = entity_complete(c, tx, doc, etag != NULL ? &was : NULL, keys, fault);
    }
    lk_enrollment_fini(&was);
    if (err == LK_OK && fault->code == 0) {
        err = entity_write(c, tx, &doc->e, etag, &conflict);
        if (err == LK_OK) {
            return audit(c, tx, etag == NULL ? "create" : "update", doc->e.id, NULL);
        }
    }
    return err == LK_OK ? LK_OK : fault_of(c, tx, doc->e.id, err, &conflict, fault);
}

enum lk_err
lk_svc_entity_remove(struct lk_service_call *c, struct lk_txn *tx, const char *id, const char *etag,
                     struct lk_svc_fault *fault)
{
    enum lk_err err = c->entity == LK_ENTITY_GROUP
                          ? lk_txn_group_delete(tx, c->scope.id, id, etag)
                          : lk_txn_enrollment_delete(tx, c->scope.id, id, etag);

    fault->code = 0;
    return err == LK_OK ? audit(c, tx, "delete", id, NULL) : fault_of(c, tx, id, err, NULL, fault);
}

/* ---- answers ----------------------------------------------------------------------------------
 */

static enum lk_err
state_get(const struct lk_service_call *c, struct lk_txn *tx, const char *id,
          struct lk_registration *state, const struct lk_registration **ret)
{
    enum lk_err err;

    if (c->entity == LK_ENTITY_GROUP) {
        return LK_OK;
    }
    err = lk_txn_registration_get(tx, c->scope.id, id, state);
    if (err == LK_OK && state->status != LK_REG_NONE) {
        *ret = state;
    }
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

/* Answer with what is stored. */
static enum lk_err
entity_answer(struct lk_service_call *c, struct lk_txn *tx, const char *id,
              const struct lk_shared_keys *keys)
{
    LK_AUTO(json) json_t *object = json_object();
    struct lk_enrollment_view view = {.fallback = c->scope.allocation, .keys = keys};
    struct lk_registration state = {.generation = 0};
    struct lk_enrollment e;
    enum lk_err err;

    lk_enrollment_init(&e);
    if ((err = entity_get(c, tx, id, &e)) == LK_OK &&
        (err = state_get(c, tx, id, &state, &view.state)) == LK_OK &&
        (err = lk_enrollment_json_put(c->entity, &e, &view, object)) == LK_OK &&
        (!c->details || (err = lk_enrollment_details_put(&e, object)) == LK_OK)) {
        err = lk_json_write(object, &c->answer);
    }
    lk_registration_fini(&state);
    lk_enrollment_fini(&e);
    c->status = 200;
    return err == LK_ERR_NOT_FOUND ? fault_of(c, tx, id, err, NULL, &c->fault) : err;
}

/* ---- operations -------------------------------------------------------------------------------
 */

static enum lk_err
put_form(struct lk_service_call *c)
{
    enum lk_err err;

    if ((err = lk_svc_id_check(c)) != LK_OK || (err = lk_svc_body_parse(c, false)) != LK_OK) {
        return err;
    }
    lk_svc_if_match_read(c);
    return lk_enrollment_json_parse(c->entity, c->body, c->route.id, &c->fault, &c->doc);
}

static enum lk_err
put_run(struct lk_service_call *c, struct lk_txn *tx)
{
    LK_AUTO_SHARED_KEYS struct lk_shared_keys keys = {.primary = {.len = 0}};
    enum lk_err err =
        lk_svc_entity_store(c, tx, &c->doc, c->has_if_match ? c->if_match : NULL, &keys, &c->fault);

    return err != LK_OK || c->fault.code != 0 ? err : entity_answer(c, tx, c->doc.e.id, &keys);
}

static enum lk_err
id_form(struct lk_service_call *c)
{
    lk_svc_if_match_read(c);
    return lk_svc_id_check(c);
}

static enum lk_err
get_run(struct lk_service_call *c, struct lk_txn *tx)
{
    return entity_answer(c, tx, c->route.id, NULL);
}

static enum lk_err
delete_run(struct lk_service_call *c, struct lk_txn *tx)
{
    c->status = 204;
    return lk_svc_entity_remove(c, tx, c->route.id, c->has_if_match ? c->if_match : NULL,
                                &c->fault);
}

/* Hands out secrets: recorded, like a change. */
static enum lk_err
mechanism_run(struct lk_service_call *c, struct lk_txn *tx)
{
    LK_AUTO_SHARED_KEYS struct lk_shared_keys keys = {.primary = {.len = 0}};
    LK_AUTO(json) json_t *object = json_object();
    struct lk_enrollment e;
    enum lk_err err;

    lk_enrollment_init(&e);
    err = entity_get(c, tx, c->route.id, &e);
    if (err == LK_OK && e.attestation == LK_ATTESTATION_SYMMETRIC_KEY) {
        err = lk_shared_keys_open(c->ring, owner_of(c), &e, &keys);
    }
    if (err == LK_OK && (err = lk_attestation_json_put(c->entity, &e, &keys, object)) == LK_OK &&
        (err = lk_json_write(object, &c->answer)) == LK_OK) {
        err = audit(c, tx, "read_attestation", e.id, NULL);
    }
    lk_enrollment_fini(&e);
    c->status = 200;
    return err == LK_ERR_NOT_FOUND ? fault_of(c, tx, c->route.id, err, NULL, &c->fault) : err;
}

const struct lk_svc_operation lk_svc_entity_put = {
    "put", LK_RIGHT_ENROLLMENT_WRITE, true, NULL, put_form, put_run};
const struct lk_svc_operation lk_svc_entity_get = {
    "get", LK_RIGHT_ENROLLMENT_READ, false, "read", id_form, get_run};
const struct lk_svc_operation lk_svc_entity_delete = {
    "delete", LK_RIGHT_ENROLLMENT_WRITE, true, NULL, id_form, delete_run};
const struct lk_svc_operation lk_svc_entity_mechanism = {
    "attestationmechanism", LK_RIGHT_ENROLLMENT_WRITE, true, NULL, id_form, mechanism_run};
