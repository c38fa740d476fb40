/* Shared access policies and what the operator trusts, as every backend keeps them. */
#include "store/sql_int.h"

#include <string.h>

/* ---- Policies ---------------------------------------------------------------------------------
 */

void
lk_policy_fini(struct lk_policy *p)
{
    lk_buf_fini(&p->sealed_primary);
    lk_buf_fini(&p->sealed_secondary);
}

enum lk_err
lk_txn_policy_put(struct lk_txn *tx, const struct lk_policy *p)
{
    if (!tx->writable || p->scope[0] == '\0' || p->name[0] == '\0' || p->rights == 0 ||
        (p->rights & ~LK_RIGHTS_ALL) != 0) {
        return LK_ERR_ARG;
    }
    return sq_policy_put(tx, p);
}

enum lk_err
lk_txn_policy_get(struct lk_txn *tx, const char *scope, const char *name, struct lk_policy *ret)
{
    return sq_policy_get(tx, scope, name, ret);
}

enum lk_err
lk_txn_policy_delete(struct lk_txn *tx, const char *scope, const char *name)
{
    return tx->writable ? sq_policy_delete(tx, scope, name) : LK_ERR_ARG;
}

enum lk_err
lk_txn_policy_each(struct lk_txn *tx, const char *scope,
                   enum lk_err (*each)(void *, const struct lk_policy *), void *ctx)
{
    return sq_policy_each(tx, scope, each, ctx);
}

/* ---- Trust ------------------------------------------------------------------------------------
 */

void
lk_trust_fini(struct lk_trust *t)
{
    lk_buf_fini(&t->der);
}

enum lk_err
lk_txn_trust_put(struct lk_txn *tx, const struct lk_trust *t)
{
    const struct lk_part der = LK_PART(t->der.data, t->der.len);
    uint8_t id[sizeof(t->id)];
    enum lk_err err;

    if (!tx->writable || t->der.len == 0 || t->kind < LK_TRUST_ROOT || t->kind > LK_TRUST_FACTORY) {
        return LK_ERR_ARG;
    }
    if (t->der.len > LK_TRUST_DER_MAX) {
        return LK_ERR_LIMIT;
    }
    if ((err = lk_digest(LK_SHA256, &der, 1, id)) != LK_OK) {
        return err;
    }
    return memcmp(id, t->id, sizeof(id)) == 0 ? sq_trust_put(tx, t) : LK_ERR_ARG;
}

enum lk_err
lk_txn_trust_delete(struct lk_txn *tx, const uint8_t id[32])
{
    return tx->writable ? sq_trust_delete(tx, id) : LK_ERR_ARG;
}

enum lk_err
lk_txn_trust_each(struct lk_txn *tx, enum lk_err (*each)(void *, const struct lk_trust *),
                  void *ctx)
{
    return sq_trust_each(tx, each, ctx);
}

enum lk_err
lk_txn_trust_version(struct lk_txn *tx, int64_t *ret)
{
    return sq_trust_version(tx, ret);
}
