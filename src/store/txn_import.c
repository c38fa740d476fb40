/* Imports: arguments are checked, keys, etags and times are set. */
#include "store/sql_int.h"

#include <stdlib.h>
#include <string.h>

enum lk_err
lk_txn_import_begin(struct lk_txn *tx, const char *scope, const char *source,
                    int64_t *ret_import_id)
{
    char kept[sizeof(((struct lk_import *)NULL)->source)];

    return tx->writable ? sq_import_begin(tx, scope, store_text_cut(source, kept, sizeof(kept)),
                                          ret_import_id)
                        : LK_ERR_ARG;
}

enum lk_err
lk_txn_import_stage(struct lk_txn *tx, int64_t import_id, int64_t line, struct lk_enrollment *e,
                    struct lk_conflict *ret_conflict)
{
    struct lk_conflict unused;
    struct lk_conflict *conflict = ret_conflict != NULL ? ret_conflict : &unused;
    struct store_key key;
    enum lk_err err;

    e->import_id = import_id;
    e->import_line = line;
    e->created_ms = tx->now_ms;
    if ((err = store_enrollment_check(tx, e, &key, conflict)) != LK_OK) {
        return err;
    }
    return sq_import_stage(tx, &key, e, conflict);
}

struct gathered {
    size_t count;
    size_t of[LK_STAGE_MAX]; /* which of the caller's rows each is */
    struct sq_stage rows[LK_STAGE_MAX];
};

static void
gathered_free(struct gathered *g)
{
    free(g);
}
LK_DEFINE_AUTO(struct gathered, gathered, gathered_free);

/* The rows that can be tried together; a bad one is left alone. */
static void
rows_gather(struct lk_txn *tx, int64_t import_id, const char *scope, struct lk_stage *rows,
            size_t count, struct gathered *g)
{
    struct lk_conflict unused;

    for (size_t i = 0; i < count; i++) {
        struct lk_enrollment *e = rows[i].e;

        rows[i].staged = false;
        if (e == NULL || strcmp(e->scope, scope) != 0) {
            continue;
        }
        e->import_id = import_id;
        e->import_line = rows[i].line;
        e->created_ms = tx->now_ms;
        if (store_enrollment_check(tx, e, &g->rows[g->count].key, &unused) == LK_OK) {
            g->rows[g->count].e = e;
            g->of[g->count++] = i;
        }
    }
}

enum lk_err
lk_txn_import_stage_many(struct lk_txn *tx, int64_t import_id, struct lk_stage *rows, size_t count)
{
    LK_AUTO(gathered) struct gathered *g = NULL;
    struct sq_import import;
    enum lk_err err;

    if (!tx->writable || count > LK_STAGE_MAX) {
        return LK_ERR_ARG;
    }
    if ((err = sq_import_staging(tx, import_id, &import)) != LK_OK) {
        return err;
    }
    if ((g = (struct gathered *)calloc(1, sizeof(*g))) == NULL) {
        return LK_ERR_NOMEM;
    }
    rows_gather(tx, import_id, import.scope, rows, count, g);
    if (g->count > 0 && (err = sq_import_stage_many(tx, &import, g->rows, g->count)) != LK_OK) {
        return err;
    }
    for (size_t i = 0; i < g->count; i++) {
        rows[g->of[i]].staged = g->rows[i].staged;
    }
    return LK_OK;
}

enum lk_err
lk_txn_import_finish(struct lk_txn *tx, int64_t import_id, int64_t *ret_rows)
{
    return tx->writable ? sq_import_finish(tx, import_id, ret_rows) : LK_ERR_ARG;
}

enum lk_err
lk_txn_import_drop(struct lk_txn *tx, int64_t import_id, size_t limit, bool *ret_left)
{
    return tx->writable ? sq_import_drop(tx, import_id, limit, ret_left) : LK_ERR_ARG;
}

enum lk_err
lk_txn_import_undo(struct lk_txn *tx, int64_t import_id, bool force, int64_t *ret_rows,
                   int64_t *ret_kept)
{
    return tx->writable ? sq_import_undo(tx, import_id, force, ret_rows, ret_kept) : LK_ERR_ARG;
}

enum lk_err
lk_txn_import_resume(struct lk_txn *tx, int64_t import_id, const char *source,
                     int64_t *ret_last_line)
{
    char kept[sizeof(((struct lk_import *)NULL)->source)];

    return tx->writable
               ? sq_import_resume(tx, import_id, store_text_cut(source, kept, sizeof(kept)),
                                  ret_last_line)
               : LK_ERR_ARG;
}

enum lk_err
lk_txn_import_page(struct lk_txn *tx, const char *scope, int64_t before, size_t limit,
                   enum lk_err (*each)(void *, const struct lk_import *), void *ctx)
{
    return sq_import_page(tx, scope, before, limit, each, ctx);
}

enum lk_err
lk_txn_import_abandoned(struct lk_txn *tx, int64_t older_than_ms, int64_t *ret_import_id)
{
    return sq_import_abandoned(tx, older_than_ms, ret_import_id);
}
