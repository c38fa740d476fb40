/* Errands, above every backend. */
#include "store/sql_int.h"

void
lk_errand_fini(struct lk_errand *e)
{
    lk_buf_fini(&e->sealed);
}

/* Device ids are told apart by case, registrations are not. */
static enum lk_err
key_find(enum lk_errand_kind kind, const char *name, struct store_key *ret)
{
    if (kind == LK_ERRAND_ASSIGN) {
        return store_key_find(name, ret);
    }
    return name[0] != '\0' && lk_strcpy(ret->text, sizeof(ret->text), name) == LK_OK
               ? LK_OK
               : LK_ERR_NOT_FOUND;
}

enum lk_err
lk_txn_errand_put(struct lk_txn *tx, const struct lk_errand *e)
{
    struct lk_errand stored = *e; /* sealed is borrowed */
    struct store_key key;

    if (!tx->writable || e->owner[0] == '\0' || e->hub[0] == '\0' ||
        (e->kind != LK_ERRAND_ASSIGN && e->kind != LK_ERRAND_LEAVE) ||
        key_find(e->kind, e->name, &key) != LK_OK ||
        lk_strcpy(stored.name, sizeof(stored.name), key.text) != LK_OK) {
        return LK_ERR_ARG;
    }
    return sq_errand_put(tx, &stored);
}

enum lk_err
lk_txn_errand_get(struct lk_txn *tx, enum lk_errand_kind kind, const char *owner, const char *name,
                  struct lk_errand *ret)
{
    struct store_key key;
    enum lk_err err = key_find(kind, name, &key);

    return err != LK_OK ? err : sq_errand_get(tx, kind, owner, key.text, ret);
}

enum lk_err
lk_txn_errand_delete(struct lk_txn *tx, enum lk_errand_kind kind, const char *owner,
                     const char *name)
{
    struct store_key key;
    enum lk_err err = key_find(kind, name, &key);

    if (!tx->writable) {
        return LK_ERR_ARG;
    }
    return err != LK_OK ? err : sq_errand_delete(tx, kind, owner, key.text);
}

enum lk_err
lk_txn_errand_next_hub(struct lk_txn *tx, const char *after, char ret[LK_HOST_NAME_MAX + 1])
{
    return sq_errand_next_hub(tx, after, ret);
}

enum lk_err
lk_txn_errand_due(struct lk_txn *tx, const char *hub, size_t limit,
                  enum lk_err (*each)(void *, struct lk_errand *), void *ctx)
{
    return sq_errand_due(tx, hub, limit, each, ctx);
}

enum lk_err
lk_txn_errand_overdue(struct lk_txn *tx, size_t limit,
                      enum lk_err (*each)(void *, struct lk_errand *), void *ctx)
{
    return sq_errand_overdue(tx, limit, each, ctx);
}

enum lk_err
lk_txn_errand_count(struct lk_txn *tx, const char *hub, int64_t limit, int64_t *ret)
{
    return limit < 0 ? LK_ERR_ARG : sq_errand_count(tx, hub, limit, ret);
}
