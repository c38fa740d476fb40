/* Removing rows of an import with few round trips: some of them are looked up, then go at once. */
#include "store/pgsql_int.h"

#include <endian.h>

struct drop {
    struct lk_buf nrs, ek_ids; /* arrays */
    size_t count;
};

static void
drop_fini(struct drop *d)
{
    lk_buf_fini(&d->nrs);
    lk_buf_fini(&d->ek_ids);
}
#define AUTO_DROP __attribute__((cleanup(drop_fini)))

/* The row that q stands on: its number, and its packed keys. */
static enum lk_err
row_note(struct sq *q, struct drop *d)
{
    uint64_t nr = htobe64((uint64_t)sq_int(q, 0));
    size_t len;
    const void *packed = sq_bytes(q, 1, &len);
    struct lk_reader r = lk_reader_of(packed, len), pub;
    const uint8_t *id;
    enum lk_err err = pg_array_put(&d->nrs, &nr, sizeof(nr));

    while (err == LK_OK && r.left > 0) {
        if (lk_read_bytes(&r, LK_EK_ID_LEN, &id) != LK_OK || lk_read_2b(&r, &pub) != LK_OK) {
            sq_corrupt(q);
            return q->err;
        }
        err = pg_array_put(&d->ek_ids, id, LK_EK_ID_LEN);
    }
    d->count++;
    return err;
}

/* The order makes the planner use the index, whatever it believes of the table. */
static enum lk_err
rows_note(struct store_conn *c, int64_t import_id, size_t limit, struct drop *d)
{
    static const char sql[] = "SELECT nr, eks FROM enrollment WHERE import_id = ?1"
                              " AND import_id <> 0 ORDER BY import_line LIMIT ?2";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = pg_array_begin(&d->nrs, PG_OID_INT8)) != LK_OK ||
        (err = pg_array_begin(&d->ek_ids, PG_OID_BYTEA)) != LK_OK ||
        (err = sq_use(c, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_int(q, 1, import_id);
    sq_bind_int(q, 2, (int64_t)limit);
    while ((err = sq_step(q)) == LK_OK) {
        if ((err = row_note(q, d)) != LK_OK) {
            return err;
        }
    }
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

static enum lk_err
eks_delete(struct store_conn *c, const char *scope, const struct drop *d)
{
    static const char sql[] = "DELETE FROM enrollment_ek WHERE scope = ?1 AND ek_id = ANY(?2)";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err = sq_use(c, sql, &q);

    if (err != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, scope);
    pg_bind_array(q, 2, PG_OID_BYTEA_ARRAY, &d->ek_ids);
    return sq_run(q);
}

static enum lk_err
rows_delete(struct store_conn *c, const struct drop *d)
{
    static const char sql[] = "DELETE FROM enrollment WHERE nr = ANY(?1)";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err = sq_use(c, sql, &q);

    if (err != LK_OK) {
        return err;
    }
    pg_bind_array(q, 1, PG_OID_INT8_ARRAY, &d->nrs);
    return sq_run(q);
}

enum lk_err
pg_drop(struct lk_txn *tx, int64_t import_id, const char *scope, size_t limit, size_t *ret_count)
{
    AUTO_DROP struct drop d = {.nrs = LK_BUF_INIT, .ek_ids = LK_BUF_INIT};
    enum lk_err err;

    if ((err = rows_note(tx->conn, import_id, limit, &d)) != LK_OK ||
        (err = eks_delete(tx->conn, scope, &d)) != LK_OK ||
        (err = rows_delete(tx->conn, &d)) != LK_OK) {
        return err;
    }
    *ret_count = d.count;
    return LK_OK;
}
