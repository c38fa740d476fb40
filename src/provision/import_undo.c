/* Undoing an import, and removing the rows of one that has no effect (any more). */
#include <stdio.h>

#include "provision/import.h"

#define DROP_ROWS 2000u /* of one transaction */

struct undo {
    const char *scope, *actor;
    int64_t import_id;
    bool force;
    bool found;
    struct lk_import import;
    struct lk_import_undone *ret;
};

static enum lk_err
import_take(void *ctx, const struct lk_import *import)
{
    struct undo *u = (struct undo *)ctx;

    u->found = import->id == u->import_id;
    u->import = *import;
    return LK_OK;
}

static enum lk_err
audit(struct lk_txn *tx, const struct undo *u)
{
    char detail[160];

    (void)snprintf(detail, sizeof(detail),
                   "{\"import\":%lld,\"rows\":%lld,\"kept\":%lld,\"unfinished\":%s}",
                   (long long)u->import_id, (long long)u->ret->rows_gone,
                   (long long)u->ret->rows_kept, u->ret->unfinished ? "true" : "false");
    return lk_txn_audit_append(tx, u->actor, "enrollment.undo", u->scope, u->import.source, detail);
}

/* From here on nobody sees its rows, and nobody can stage another or finish it. */
static enum lk_err
undo_run(struct lk_txn *tx, void *arg)
{
    struct undo *u = (struct undo *)arg;
    bool left = false;
    enum lk_err err;

    u->found = false;
    *u->ret = (struct lk_import_undone){.unfinished = false};
    err = lk_txn_import_page(tx, u->scope, u->import_id + 1, 1, import_take, u);
    if (err != LK_OK || !u->found) {
        return err != LK_OK ? err : LK_ERR_NOT_FOUND;
    }
    switch (u->import.state) {
    case LK_IMPORT_DROPPING: /* recorded when that began */
        return LK_OK;
    case LK_IMPORT_STAGING:
        u->ret->unfinished = true;
        err = lk_txn_import_drop(tx, u->import_id, 1, &left);
        break;
    case LK_IMPORT_FINISHED:
        err =
            lk_txn_import_undo(tx, u->import_id, u->force, &u->ret->rows_gone, &u->ret->rows_kept);
        break;
    }
    return err != LK_OK ? err : audit(tx, u);
}

enum lk_err
lk_import_undo_step(struct lk_txn *tx, const char *scope, int64_t import_id, bool force,
                    const char *actor, size_t limit, struct lk_import_undone *ret, bool *ret_left)
{
    struct undo u = {
        .scope = scope, .actor = actor, .import_id = import_id, .force = force, .ret = ret};
    enum lk_err err = undo_run(tx, &u);

    return err != LK_OK ? err : lk_txn_import_drop(tx, import_id, limit, ret_left);
}

struct drop {
    int64_t import_id;
    bool left;
};

static enum lk_err
drop_run(struct lk_txn *tx, void *arg)
{
    struct drop *d = (struct drop *)arg;

    return lk_txn_import_drop(tx, d->import_id, DROP_ROWS, &d->left);
}

enum lk_err
lk_import_remove(struct lk_session *s, int64_t import_id,
                 void (*progress)(void *ctx, int64_t rows_removed), void *ctx)
{
    struct drop d = {import_id, true};
    int64_t removed = 0;
    enum lk_err err = LK_OK;

    while (err == LK_OK && d.left) {
        err = lk_store_write_wait(s, drop_run, &d);
        removed += DROP_ROWS;
        if (err == LK_OK && d.left && progress != NULL) {
            progress(ctx, removed);
        }
    }
    return err;
}

enum lk_err
lk_import_undo(struct lk_session *s, const char *scope, int64_t import_id, bool force,
               const char *actor, void (*progress)(void *ctx, int64_t rows_removed), void *ctx,
               struct lk_import_undone *ret)
{
    struct undo u = {
        .scope = scope, .actor = actor, .import_id = import_id, .force = force, .ret = ret};
    enum lk_err err = lk_store_write_wait(s, undo_run, &u);

    return err != LK_OK ? err : lk_import_remove(s, import_id, progress, ctx);
}
