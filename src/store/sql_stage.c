/*
 * Staging many rows of an import where a statement costs no round trip: each is written without a
 * look before, and taken back when something is in its way.
 */
#include "store/sql_int.h"

/* The numbers that the database would draw: nobody else writes meanwhile. */
static enum lk_err
last_nr(struct lk_txn *tx, int64_t *ret)
{
    static const char sql[] = "SELECT coalesce(max(nr), 0) FROM enrollment";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK || (err = sq_step(q)) != LK_OK) {
        return err;
    }
    *ret = sq_int(q, 0);
    return LK_OK;
}

static enum lk_err
row_insert(struct lk_txn *tx, const struct sq_stage *row, int64_t nr, int *ret_rows)
{
    static const char sql[] =
        "INSERT INTO enrollment (" SQ_ENROLLMENT_INSERT ", nr) VALUES (" SQ_FIELDS_VALUES
        ", ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27) ON CONFLICT (scope, lower_id) DO NOTHING";
    LK_AUTO_BUF struct lk_buf hubs = LK_BUF_INIT, eks = LK_BUF_INIT;
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK ||
        (err = sq_enrollment_bind(q, &row->key, row->e, &hubs, &eks)) != LK_OK) {
        return err;
    }
    sq_bind_int(q, SQ_ENROLLMENT_INSERT_COUNT + 1, nr);
    return sq_change(q, ret_rows);
}

/* The row's ID is there: by this import and under the same line? */
static enum lk_err
before_find(struct lk_txn *tx, struct sq_stage *row)
{
    struct lk_conflict there = {.import_id = 0};
    enum lk_err err = sq_conflict_by_id(tx, row->e->scope, &row->key, &there);

    row->before = err == LK_ERR_EXISTS && there.import_id == row->e->import_id &&
                  there.import_line == row->e->import_line;
    row->staged = row->before;
    return err == LK_ERR_EXISTS ? LK_OK : err;
}

static enum lk_err
row_stage(struct lk_txn *tx, struct sq_stage *row, int64_t nr)
{
    const struct lk_buf no_eks = LK_BUF_INIT;
    int rows = 0;
    enum lk_err err;

    if ((err = row_insert(tx, row, nr, &rows)) != LK_OK) {
        return err;
    }
    if (rows == 0) {
        return before_find(tx, row);
    }
    if ((err = sq_eks_try(tx, row->e, nr, &row->staged)) != LK_OK || row->staged) {
        return err;
    }
    return sq_enrollment_remove(tx, nr, row->e->scope, &no_eks);
}

enum lk_err
sq_stage(struct lk_txn *tx, struct sq_stage *rows, size_t count)
{
    int64_t nr = 0;
    enum lk_err err = last_nr(tx, &nr);

    for (size_t i = 0; i < count && err == LK_OK; i++) {
        rows[i].staged = false;
        if ((err = row_stage(tx, &rows[i], nr + 1)) == LK_OK && !rows[i].staged) {
            return LK_OK;
        }
        nr += rows[i].before ? 0 : 1;
    }
    return err;
}
