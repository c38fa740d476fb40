/* Enrollment groups, as every backend keeps them. */
#include "store/sql_int.h"

#include <stdlib.h>
#include <string.h>

/* An enrollment is 25 KB: one that is only looked at stays off the stack of its caller. */
static void
group_free(struct lk_enrollment *g)
{
    lk_enrollment_fini(g);
    free(g);
}
LK_DEFINE_AUTO(struct lk_enrollment, group, group_free);

static enum lk_err
group_find(struct lk_txn *tx, const char *scope, const struct store_key *key,
           struct lk_enrollment **ret)
{
    LK_AUTO(group) struct lk_enrollment *g = (struct lk_enrollment *)calloc(1, sizeof(*g));
    enum lk_err err;

    if (g == NULL) {
        return LK_ERR_NOMEM;
    }
    if ((err = sq_group_get(tx, scope, key, g)) == LK_OK) {
        *ret = group_take(&g);
    }
    return err;
}

/* Check g, and set what the store sets. */
static enum lk_err
group_prepare(const struct lk_txn *tx, struct lk_enrollment *g, struct store_key *key)
{
    enum lk_err err;

    if (!tx->writable || g->attestation == LK_ATTESTATION_TPM ||
        store_key_of(g->id, key) != LK_OK) {
        return LK_ERR_ARG;
    }
    if ((err = store_fields_check(g)) != LK_OK) {
        return err;
    }
    g->updated_ms = tx->now_ms;
    return store_etag_make(g->etag);
}

enum lk_err
lk_txn_group_create(struct lk_txn *tx, struct lk_enrollment *g)
{
    LK_AUTO(group) struct lk_enrollment *old = NULL;
    struct store_key key;
    int64_t count;
    enum lk_err err;

    if ((err = group_prepare(tx, g, &key)) != LK_OK) {
        return err;
    }
    g->created_ms = tx->now_ms;
    if ((err = group_find(tx, g->scope, &key, &old)) != LK_ERR_NOT_FOUND) {
        return err == LK_OK ? LK_ERR_EXISTS : err;
    }
    if ((err = sq_group_count(tx, g->scope, &count)) != LK_OK) {
        return err;
    }
    return count >= LK_GROUPS_MAX ? LK_ERR_LIMIT : sq_group_insert(tx, &key, g);
}

enum lk_err
lk_txn_group_replace(struct lk_txn *tx, struct lk_enrollment *g, const char *etag)
{
    LK_AUTO(group) struct lk_enrollment *old = NULL;
    char wanted[LK_ETAG_CAP];
    struct store_key key;
    enum lk_err err;

    /* The etag given may be g->etag itself, which is made anew. */
    if (etag != NULL && lk_strcpy(wanted, sizeof(wanted), etag) != LK_OK) {
        return LK_ERR_PRECONDITION;
    }
    if ((err = group_prepare(tx, g, &key)) != LK_OK ||
        (err = group_find(tx, g->scope, &key, &old)) != LK_OK) {
        return err;
    }
    if (!store_etag_matches(etag != NULL ? wanted : NULL, old->etag)) {
        return LK_ERR_PRECONDITION;
    }
    g->created_ms = old->created_ms;
    return sq_group_update(tx, &key, g);
}

enum lk_err
lk_txn_group_delete(struct lk_txn *tx, const char *scope, const char *id, const char *etag)
{
    LK_AUTO(group) struct lk_enrollment *old = NULL;
    struct store_key key;
    enum lk_err err;

    if (!tx->writable) {
        return LK_ERR_ARG;
    }
    if ((err = store_key_find(id, &key)) != LK_OK ||
        (err = group_find(tx, scope, &key, &old)) != LK_OK) {
        return err;
    }
    return store_etag_matches(etag, old->etag) ? sq_group_delete(tx, scope, &key)
                                               : LK_ERR_PRECONDITION;
}

enum lk_err
lk_txn_group_get(struct lk_txn *tx, const char *scope, const char *id, struct lk_enrollment *ret)
{
    struct store_key key;
    enum lk_err err = store_key_find(id, &key);

    return err != LK_OK ? err : sq_group_get(tx, scope, &key, ret);
}

enum lk_err
lk_txn_group_page(struct lk_txn *tx, const char *scope, const char *after, size_t limit,
                  enum lk_err (*each)(void *, const struct lk_enrollment *), void *ctx)
{
    struct store_key key;
    enum lk_err err = store_key_after(after, &key);

    return err != LK_OK ? err : sq_group_page(tx, scope, &key, limit, each, ctx);
}

enum lk_err
lk_txn_group_each(struct lk_txn *tx, const char *scope, enum lk_attestation attestation,
                  enum lk_err (*each)(void *, const struct lk_enrollment *), void *ctx)
{
    return sq_group_each(tx, scope, attestation, each, ctx);
}
