/* What every backend shares: arguments are checked, keys, etags and times are set. */
#include "store/sql_int.h"

#include <stdlib.h>
#include <string.h>

#include "base/codec.h"

int64_t
lk_txn_now_ms(const struct lk_txn *tx)
{
    return tx->now_ms;
}

enum lk_err
store_key_of(const char *id, struct store_key *ret)
{
    if (lk_strcpy(ret->text, sizeof(ret->text), id) != LK_OK || id[0] == '\0') {
        return LK_ERR_ARG;
    }
    lk_ascii_lower(ret->text);
    return LK_OK;
}

enum lk_err
store_key_find(const char *id, struct store_key *ret)
{
    return store_key_of(id, ret) == LK_OK ? LK_OK : LK_ERR_NOT_FOUND;
}

/* After "" is the start, and nothing comes after what is too long for a key. */
enum lk_err
store_key_after(const char *after, struct store_key *ret)
{
    if (after[0] == '\0') {
        ret->text[0] = '\0';
        return LK_OK;
    }
    return store_key_of(after, ret);
}

enum lk_err
store_etag_make(char ret[LK_ETAG_CAP])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t raw[(LK_ETAG_CAP - 1) / 2];
    enum lk_err err = lk_rand_fill(&lk_rand_system, raw, sizeof(raw));

    if (err != LK_OK) {
        return err;
    }
    for (size_t i = 0; i < sizeof(raw); i++) {
        ret[2 * i] = digits[raw[i] >> 4];
        ret[2 * i + 1] = digits[raw[i] & 15];
    }
    ret[LK_ETAG_CAP - 1] = '\0';
    return LK_OK;
}

bool
store_etag_matches(const char *wanted, const char *have)
{
    return wanted == NULL || strcmp(wanted, "*") == 0 || strcmp(wanted, have) == 0;
}

/* ---- ID scopes --------------------------------------------------------------------------------
 */

enum lk_err
lk_txn_scope_add(struct lk_txn *tx, const char *id)
{
    struct lk_scope s = {.created_ms = tx->now_ms};

    if (!tx->writable || id[0] == '\0' || lk_strcpy(s.id, sizeof(s.id), id) != LK_OK) {
        return LK_ERR_ARG;
    }
    return sq_scope_insert(tx, &s);
}

enum lk_err
lk_txn_scope_set(struct lk_txn *tx, const struct lk_scope *scope)
{
    struct lk_scope s = *scope;

    if (!tx->writable || s.id[0] == '\0' || s.allocation < LK_ALLOC_DEFAULT ||
        s.allocation >= LK_ALLOC_CUSTOM) {
        return LK_ERR_ARG;
    }
    lk_ascii_lower(s.service_host);
    return sq_scope_update(tx, &s);
}

enum lk_err
lk_txn_scope_get(struct lk_txn *tx, const char *id, struct lk_scope *ret)
{
    return sq_scope_get(tx, id, ret);
}

enum lk_err
lk_txn_scope_each(struct lk_txn *tx, enum lk_err (*each)(void *, const struct lk_scope *),
                  void *ctx)
{
    return sq_scope_each(tx, each, ctx);
}

/* ---- Enrollments ------------------------------------------------------------------------------
 */

void
lk_enrollment_init(struct lk_enrollment *e)
{
    memset(e, 0, sizeof(*e));
    e->enabled = true;
    e->reprovision_update_hub = true;
    e->reprovision_migrate = true;
}

void
lk_enrollment_fini(struct lk_enrollment *e)
{
    lk_buf_fini(&e->srk_pub);
    lk_buf_fini(&e->sealed_keys);
    lk_buf_fini(&e->certs[0]);
    lk_buf_fini(&e->certs[1]);
    lk_buf_fini(&e->rules);
    lk_buf_fini(&e->initial_twin);
    lk_buf_fini(&e->device_info);
}

enum lk_err
store_fields_check(const struct lk_enrollment *e)
{
    if (e->scope[0] == '\0' || e->hubs_count > LK_HUBS_PER_ENROLLMENT) {
        return LK_ERR_ARG;
    }
    return e->certs[0].len > LK_CERT_DER_MAX || e->certs[1].len > LK_CERT_DER_MAX ? LK_ERR_LIMIT
                                                                                  : LK_OK;
}

/* Two EKs of one enrollment that are the same key are in each other's way. */
static bool
ek_repeated(const struct lk_enrollment *e)
{
    for (size_t i = 1; i < e->eks_count; i++) {
        for (size_t k = 0; k < i; k++) {
            if (memcmp(e->eks[i].id, e->eks[k].id, LK_EK_ID_LEN) == 0) {
                return true;
            }
        }
    }
    return false;
}

enum lk_err
store_enrollment_check(const struct lk_txn *tx, struct lk_enrollment *e, struct store_key *key,
                       struct lk_conflict *conflict)
{
    enum lk_err err;

    memset(conflict, 0, sizeof(*conflict));
    if (!tx->writable || e->eks_count > LK_EKS_MAX || e->attestation == LK_ATTESTATION_EK_CERT ||
        store_key_of(e->id, key) != LK_OK) {
        return LK_ERR_ARG;
    }
    if ((err = store_fields_check(e)) != LK_OK) {
        return err;
    }
    for (size_t i = 0; i < e->eks_count; i++) {
        if (e->eks[i].pub_len > sizeof(e->eks[i].pub)) {
            return LK_ERR_ARG;
        }
    }
    if (ek_repeated(e)) {
        memcpy(conflict->id, e->id, sizeof(conflict->id));
        conflict->by_ek = true;
        conflict->import_id = e->import_id;
        conflict->import_line = e->import_line;
        return LK_ERR_EXISTS;
    }
    e->updated_ms = tx->now_ms;
    return store_etag_make(e->etag);
}

enum lk_err
lk_txn_enrollment_create(struct lk_txn *tx, struct lk_enrollment *e,
                         struct lk_conflict *ret_conflict)
{
    struct lk_conflict unused;
    struct lk_conflict *conflict = ret_conflict != NULL ? ret_conflict : &unused;
    struct store_key key;
    enum lk_err err;

    e->import_id = 0;
    e->import_line = 0;
    e->created_ms = tx->now_ms;
    if ((err = store_enrollment_check(tx, e, &key, conflict)) != LK_OK) {
        return err;
    }
    return sq_enrollment_insert(tx, &key, e, conflict);
}

enum lk_err
lk_txn_enrollment_replace(struct lk_txn *tx, struct lk_enrollment *e, const char *etag,
                          struct lk_conflict *ret_conflict)
{
    struct lk_conflict unused;
    struct lk_conflict *conflict = ret_conflict != NULL ? ret_conflict : &unused;
    char wanted[LK_ETAG_CAP];
    struct store_key key;
    enum lk_err err;

    /* The etag given may be e->etag itself, which is made anew. */
    if (etag != NULL && lk_strcpy(wanted, sizeof(wanted), etag) != LK_OK) {
        return LK_ERR_PRECONDITION;
    }
    if ((err = store_enrollment_check(tx, e, &key, conflict)) != LK_OK) {
        return err;
    }
    return sq_enrollment_replace(tx, &key, e, etag != NULL ? wanted : NULL, conflict);
}

enum lk_err
lk_txn_enrollment_delete(struct lk_txn *tx, const char *scope, const char *id, const char *etag)
{
    struct store_key key;
    enum lk_err err;

    if (!tx->writable) {
        return LK_ERR_ARG;
    }
    if ((err = store_key_find(id, &key)) != LK_OK) {
        return err;
    }
    return sq_enrollment_delete(tx, scope, &key, etag);
}

enum lk_err
lk_txn_enrollment_get(struct lk_txn *tx, const char *scope, const char *id,
                      struct lk_enrollment *ret)
{
    struct store_key key;
    enum lk_err err = store_key_find(id, &key);

    return err != LK_OK ? err : sq_enrollment_get(tx, scope, &key, ret);
}

enum lk_err
lk_txn_enrollment_by_ek(struct lk_txn *tx, const char *scope, const uint8_t ek_id[LK_EK_ID_LEN],
                        char ret_id[LK_REGISTRATION_ID_MAX + 1])
{
    return sq_enrollment_by_ek(tx, scope, ek_id, ret_id);
}

enum lk_err
lk_txn_enrollment_page(struct lk_txn *tx, const char *scope, const char *after, size_t limit,
                       enum lk_err (*each)(void *, const struct lk_enrollment *), void *ctx)
{
    struct store_key key;
    enum lk_err err = store_key_after(after, &key);

    return err != LK_OK ? err : sq_enrollment_page(tx, scope, &key, limit, each, ctx);
}

enum lk_err
lk_txn_enrollment_count(struct lk_txn *tx, const char *scope, int64_t *ret)
{
    return sq_enrollment_count(tx, scope, ret);
}

/* ---- Registrations ----------------------------------------------------------------------------
 */

void
lk_registration_fini(struct lk_registration *r)
{
    lk_buf_fini(&r->payload);
}

/* A registration is 4 KB: those who only look at one keep it off the stack of their caller. */
static void
registration_free(struct lk_registration *r)
{
    lk_registration_fini(r);
    free(r);
}
LK_DEFINE_AUTO(struct lk_registration, registration, registration_free);

enum lk_err
lk_txn_registration_get(struct lk_txn *tx, const char *scope, const char *id,
                        struct lk_registration *ret)
{
    struct store_key key;
    enum lk_err err = store_key_find(id, &key);

    return err != LK_OK ? err : sq_registration_get(tx, scope, &key, ret);
}

enum lk_err
lk_txn_registration_put(struct lk_txn *tx, struct lk_registration *r, uint64_t expected_generation)
{
    struct store_key key;
    enum lk_err err;

    if (!tx->writable || r->scope[0] == '\0' || r->generation < expected_generation ||
        r->srk_pub_len > sizeof(r->srk_pub) || r->srk_name_len > sizeof(r->srk_name) ||
        r->auth_key_len > sizeof(r->auth_key) || store_key_of(r->id, &key) != LK_OK) {
        return LK_ERR_ARG;
    }
    if ((err = store_etag_make(r->etag)) != LK_OK) {
        return err;
    }
    r->updated_ms = tx->now_ms;
    return sq_registration_put(tx, &key, r, expected_generation);
}

/* What is left of a registration that is deleted. */
static void
registration_forget(struct lk_registration *r)
{
    struct lk_registration left = {.generation = r->generation + 1, .status = LK_REG_NONE};

    memcpy(left.scope, r->scope, sizeof(left.scope));
    memcpy(left.id, r->id, sizeof(left.id));
    left.created_ms = r->created_ms;
    lk_registration_fini(r);
    *r = left;
}

enum lk_err
lk_txn_registration_delete(struct lk_txn *tx, const char *scope, const char *id, const char *etag)
{
    LK_AUTO(registration)
    struct lk_registration *r = (struct lk_registration *)calloc(1, sizeof(*r));
    enum lk_err err;

    if (r == NULL) {
        return LK_ERR_NOMEM;
    }
    if (!tx->writable) {
        return LK_ERR_ARG;
    }
    if ((err = lk_txn_registration_get(tx, scope, id, r)) != LK_OK) {
        return err;
    }
    if (r->status == LK_REG_NONE) {
        return LK_ERR_NOT_FOUND;
    }
    if (!store_etag_matches(etag, r->etag)) {
        return LK_ERR_PRECONDITION;
    }
    registration_forget(r);
    if ((err = lk_txn_errand_delete(tx, LK_ERRAND_ASSIGN, scope, id)) != LK_OK &&
        err != LK_ERR_NOT_FOUND) {
        return err;
    }
    return lk_txn_registration_put(tx, r, r->generation - 1);
}

enum lk_err
lk_txn_registration_page(struct lk_txn *tx, const char *scope, const char *after, size_t limit,
                         enum lk_err (*each)(void *, const struct lk_registration *), void *ctx)
{
    struct store_key key;
    enum lk_err err = store_key_after(after, &key);

    return err != LK_OK ? err : sq_registration_page(tx, scope, &key, limit, each, ctx);
}

enum lk_err
lk_txn_registration_page_of_group(struct lk_txn *tx, const char *scope, const char *group,
                                  const char *after, size_t limit,
                                  enum lk_err (*each)(void *, const struct lk_registration *),
                                  void *ctx)
{
    struct store_key start, key;
    enum lk_err err = store_key_after(after, &start);

    if (err != LK_OK) {
        return err;
    }
    if (store_key_find(group, &key) != LK_OK) {
        return LK_OK;
    }
    return sq_registration_page_of_group(tx, scope, &key, &start, limit, each, ctx);
}

enum lk_err
lk_txn_registration_at(struct lk_txn *tx, const char *hub, const char *device_id, const char *scope,
                       const char *own_id, char ret_scope[LK_ID_SCOPE_MAX + 1],
                       char ret_id[LK_REGISTRATION_ID_MAX + 1])
{
    struct store_key own;

    if (store_key_of(own_id, &own) != LK_OK) {
        return LK_ERR_ARG;
    }
    return sq_registration_at(tx, hub, device_id, scope, &own, ret_scope, ret_id);
}

enum lk_err
lk_txn_registration_count(struct lk_txn *tx, const char *scope, enum lk_reg_status status,
                          int64_t *ret)
{
    return sq_registration_count(tx, scope, status, ret);
}

enum lk_err
lk_txn_registration_count_of_group(struct lk_txn *tx, const char *scope, const char *group,
                                   int64_t *ret)
{
    struct store_key key;

    if (store_key_find(group, &key) != LK_OK) {
        *ret = 0;
        return LK_OK;
    }
    return sq_registration_count_of_group(tx, scope, &key, ret);
}

enum lk_err
lk_txn_registration_of_ek_elsewhere(struct lk_txn *tx, const char *scope,
                                    const uint8_t ek_id[LK_EK_ID_LEN], const char *own_id,
                                    char ret_id[LK_REGISTRATION_ID_MAX + 1])
{
    struct store_key own;

    if (store_key_of(own_id, &own) != LK_OK) {
        return LK_ERR_ARG;
    }
    return sq_registration_of_ek_elsewhere(tx, scope, ek_id, &own, ret_id);
}

/* ---- Hubs -------------------------------------------------------------------------------------
 */

void
lk_hub_fini(struct lk_hub *h)
{
    lk_buf_fini(&h->sealed_connection);
}

enum lk_err
lk_txn_hub_put(struct lk_txn *tx, const struct lk_hub *h)
{
    if (!tx->writable || h->name[0] == '\0') {
        return LK_ERR_ARG;
    }
    return sq_hub_put(tx, h);
}

enum lk_err
lk_txn_hub_get(struct lk_txn *tx, const char *name, struct lk_hub *ret)
{
    return sq_hub_get(tx, name, ret);
}

enum lk_err
lk_txn_hub_delete(struct lk_txn *tx, const char *name)
{
    return tx->writable ? sq_hub_delete(tx, name) : LK_ERR_ARG;
}

enum lk_err
lk_txn_probe(struct lk_txn *tx)
{
    /* No hub can have this name. */
    const struct lk_hub hub = {.name = "readyz probe", .kind = LK_HUB_EMBEDDED, .weight = 1};
    enum lk_err err = lk_txn_hub_put(tx, &hub);

    return err != LK_OK ? err : lk_txn_hub_delete(tx, hub.name);
}

enum lk_err
lk_txn_hub_each(struct lk_txn *tx, enum lk_err (*each)(void *, const struct lk_hub *), void *ctx)
{
    return sq_hub_each(tx, each, ctx);
}
