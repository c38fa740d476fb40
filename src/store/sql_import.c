/* Imports: rows are staged under an import that is not finished, then live all at once. */
#include "store/sql_int.h"

#include <string.h>

enum lk_err
sq_import_begin(struct lk_txn *tx, const char *scope, const char *source, int64_t *ret)
{
    static const char sql[] =
        "INSERT INTO import (scope, source, state, row_count, begun_ms, touched_ms)"
        " SELECT ?1, ?2, 0, 0, ?3, ?3 WHERE EXISTS (SELECT 1 FROM scope WHERE id = ?1)"
        " RETURNING id";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, scope);
    sq_bind_text(q, 2, source);
    sq_bind_int(q, 3, tx->now_ms);
    if ((err = sq_step(q)) == LK_OK) {
        *ret = sq_int(q, 0);
    }
    return err;
}

enum lk_err
sq_import_get(struct lk_txn *tx, int64_t import_id, struct sq_import *ret)
{
    static const char sql[] =
        "SELECT scope, source, state, row_count, gone FROM import WHERE id = ?1";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_int(q, 1, import_id);
    if ((err = sq_step(q)) != LK_OK) {
        return err;
    }
    sq_text(q, 0, ret->scope, sizeof(ret->scope));
    sq_text(q, 1, ret->source, sizeof(ret->source));
    ret->state = (enum lk_import_state)sq_int(q, 2);
    ret->row_count = sq_int(q, 3);
    ret->gone = sq_int(q, 4);
    return q->err;
}

enum lk_err
sq_import_set(struct lk_txn *tx, int64_t import_id, enum lk_import_state state, int64_t row_count)
{
    static const char sql[] =
        "UPDATE import SET state = ?2, row_count = ?3, touched_ms = ?4 WHERE id = ?1";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_int(q, 1, import_id);
    sq_bind_int(q, 2, state);
    sq_bind_int(q, 3, row_count);
    sq_bind_int(q, 4, tx->now_ms);
    return sq_run(q);
}

enum lk_err
sq_import_staging(struct lk_txn *tx, int64_t import_id, struct sq_import *ret)
{
    enum lk_err err = sq_import_get(tx, import_id, ret);

    return err == LK_OK && ret->state != LK_IMPORT_STAGING ? LK_ERR_NOT_FOUND : err;
}

enum lk_err
sq_import_stage(struct lk_txn *tx, const struct store_key *key, const struct lk_enrollment *e,
                struct lk_conflict *conflict)
{
    struct sq_import import;
    enum lk_err err;

    if ((err = sq_import_staging(tx, e->import_id, &import)) != LK_OK) {
        return err;
    }
    if (strcmp(import.scope, e->scope) != 0) {
        return LK_ERR_NOT_FOUND;
    }
    if ((err = sq_enrollment_insert(tx, key, e, conflict)) != LK_OK) {
        return err;
    }
    return sq_import_set(tx, e->import_id, LK_IMPORT_STAGING, import.row_count + 1);
}

enum lk_err
sq_import_stage_many(struct lk_txn *tx, const struct sq_import *import, struct sq_stage *rows,
                     size_t count)
{
    int64_t import_id = rows[0].e->import_id, staged = 0;
    enum lk_err err = tx->conn->engine->stage(tx, rows, count);

    for (size_t i = 0; i < count && err == LK_OK; i++) {
        staged += rows[i].staged && !rows[i].before ? 1 : 0;
    }
    return err != LK_OK || staged == 0
               ? err
               : sq_import_set(tx, import_id, LK_IMPORT_STAGING, import->row_count + staged);
}

enum lk_err
sq_import_finish(struct lk_txn *tx, int64_t import_id, int64_t *ret_rows)
{
    struct sq_import import;
    enum lk_err err;

    if ((err = sq_import_staging(tx, import_id, &import)) != LK_OK) {
        return err;
    }
    if ((err = sq_import_set(tx, import_id, LK_IMPORT_FINISHED, import.row_count)) == LK_OK) {
        *ret_rows = import.row_count;
    }
    return err;
}

/* Remove one staged row; LK_ERR_NOT_FOUND when none is left. */
static enum lk_err
drop_one(struct lk_txn *tx, int64_t import_id)
{
    static const char sql[] = "SELECT nr, scope, eks FROM enrollment"
                              " WHERE import_id = ?1 AND import_id <> 0 LIMIT 1";
    LK_AUTO_BUF struct lk_buf eks = LK_BUF_INIT;
    LK_AUTO(sq) struct sq *q = NULL;
    char scope[LK_ID_SCOPE_MAX + 1];
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_int(q, 1, import_id);
    if ((err = sq_step(q)) != LK_OK) {
        return err;
    }
    sq_text(q, 1, scope, sizeof(scope));
    sq_buf(q, 2, &eks);
    return q->err != LK_OK ? q->err : sq_enrollment_remove(tx, sq_int(q, 0), scope, &eks);
}

static enum lk_err
rows_drop(struct lk_txn *tx, int64_t import_id, const struct sq_import *import, size_t limit,
          size_t *ret_count)
{
    size_t count = 0;
    enum lk_err err = LK_OK;

    if (tx->conn->engine->drop != NULL) {
        return tx->conn->engine->drop(tx, import_id, import->scope, limit, ret_count);
    }
    while (count < limit && (err = drop_one(tx, import_id)) == LK_OK) {
        count++;
    }
    *ret_count = count;
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

static enum lk_err
import_delete(struct lk_txn *tx, int64_t import_id)
{
    static const char sql[] = "DELETE FROM import WHERE id = ?1";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_int(q, 1, import_id);
    return sq_run(q);
}

enum lk_err
sq_import_drop(struct lk_txn *tx, int64_t import_id, size_t limit, bool *ret_left)
{
    struct sq_import import;
    size_t dropped = 0;
    enum lk_err err = sq_import_get(tx, import_id, &import);

    if (err == LK_ERR_NOT_FOUND) {
        *ret_left = false;
        return LK_OK;
    }
    if (err != LK_OK || import.state == LK_IMPORT_FINISHED) {
        return err != LK_OK ? err : LK_ERR_PRECONDITION;
    }
    if ((err = rows_drop(tx, import_id, &import, limit, &dropped)) != LK_OK) {
        return err;
    }
    err = dropped < limit ? import_delete(tx, import_id)
                          : sq_import_set(tx, import_id, LK_IMPORT_DROPPING,
                                          import.row_count - (int64_t)dropped);
    if (err == LK_OK) {
        *ret_left = dropped == limit;
    }
    return err;
}

enum lk_err
sq_import_abandoned(struct lk_txn *tx, int64_t older_than_ms, int64_t *ret_import_id)
{
    static const char sql[] =
        "SELECT id FROM import WHERE state <> 1 AND touched_ms < ?1 ORDER BY id LIMIT 1";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_int(q, 1, older_than_ms);
    if ((err = sq_step(q)) == LK_OK) {
        *ret_import_id = sq_int(q, 0);
    }
    return err;
}
