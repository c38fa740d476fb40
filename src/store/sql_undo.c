/* Imports later on: listed, taken up again, and undone. */
#include "store/sql_int.h"

#include <string.h>

/* One number of a statement whose only parameter is the import. */
static enum lk_err
import_number(struct lk_txn *tx, const char *sql, int64_t import_id, int64_t *ret)
{
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_int(q, 1, import_id);
    if ((err = sq_step(q)) == LK_OK) {
        *ret = sq_int(q, 0);
    }
    return err;
}

/* Make enrollments that were changed since they came ones that were created by hand. */
static enum lk_err
changed_keep(struct lk_txn *tx, int64_t import_id, int64_t *ret_kept)
{
    static const char sql[] = "UPDATE enrollment SET import_id = 0, import_line = 0, changed = 0"
                              " WHERE import_id = ?1 AND import_id <> 0 AND changed <> 0";
    LK_AUTO(sq) struct sq *q = NULL;
    int rows;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_int(q, 1, import_id);
    if ((err = sq_change(q, &rows)) == LK_OK) {
        *ret_kept = rows;
    }
    return err;
}

enum lk_err
sq_import_undo(struct lk_txn *tx, int64_t import_id, bool force, int64_t *ret_rows,
               int64_t *ret_kept)
{
    struct sq_import import;
    int64_t rows, kept = 0;
    enum lk_err err;

    if ((err = sq_import_get(tx, import_id, &import)) != LK_OK) {
        return err;
    }
    if (import.state != LK_IMPORT_FINISHED) {
        return LK_ERR_PRECONDITION;
    }
    if (!force && (err = changed_keep(tx, import_id, &kept)) != LK_OK) {
        return err;
    }
    rows = import.row_count - import.gone - kept;
    if ((err = sq_import_set(tx, import_id, LK_IMPORT_DROPPING, rows)) != LK_OK) {
        return err;
    }
    *ret_rows = rows;
    *ret_kept = kept;
    return LK_OK;
}

enum lk_err
sq_import_resume(struct lk_txn *tx, int64_t import_id, const char *source, int64_t *ret_last_line)
{
    static const char last[] = "SELECT coalesce(max(import_line), 0) FROM enrollment"
                               " WHERE import_id = ?1 AND import_id <> 0";
    struct sq_import import;
    int64_t line;
    enum lk_err err;

    if ((err = sq_import_get(tx, import_id, &import)) != LK_OK) {
        return err;
    }
    if (import.state != LK_IMPORT_STAGING) {
        return LK_ERR_NOT_FOUND;
    }
    if (strcmp(import.source, source) != 0) {
        return LK_ERR_PRECONDITION;
    }
    if ((err = import_number(tx, last, import_id, &line)) != LK_OK ||
        (err = sq_import_set(tx, import_id, LK_IMPORT_STAGING, import.row_count)) != LK_OK) {
        return err;
    }
    *ret_last_line = line;
    return LK_OK;
}

enum lk_err
sq_import_page(struct lk_txn *tx, const char *scope, int64_t before, size_t limit,
               enum lk_err (*each)(void *, const struct lk_import *), void *ctx)
{
    static const char sql[] = "SELECT id, scope, source, state, row_count, begun_ms, touched_ms"
                              " FROM import WHERE scope = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3";
    LK_AUTO(sq) struct sq *q = NULL;
    struct lk_import i;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, scope);
    sq_bind_int(q, 2, before > 0 ? before : INT64_MAX);
    sq_bind_int(q, 3, (int64_t)limit);
    while ((err = sq_step(q)) == LK_OK) {
        i.id = sq_int(q, 0);
        sq_text(q, 1, i.scope, sizeof(i.scope));
        sq_text(q, 2, i.source, sizeof(i.source));
        i.state = (enum lk_import_state)sq_int(q, 3);
        i.rows_count = sq_int(q, 4);
        i.begun_ms = sq_int(q, 5);
        i.touched_ms = sq_int(q, 6);
        if ((err = q->err) != LK_OK || (err = each(ctx, &i)) != LK_OK) {
            return err;
        }
    }
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}
