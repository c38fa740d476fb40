/*
 * The endorsement keys that an enrollment accepts: packed in its row, and one row each in
 * enrollment_ek, which keeps them apart within a scope. And what is in the way of an enrollment.
 */
#include "store/sql_int.h"

#include <string.h>

/* ---- The packed column ------------------------------------------------------------------------
 */

enum lk_err
sq_eks_pack(const struct lk_enrollment *e, struct lk_buf *ret)
{
    enum lk_err err;

    for (size_t i = 0; i < e->eks_count; i++) {
        if ((err = lk_buf_put(ret, e->eks[i].id, LK_EK_ID_LEN)) != LK_OK ||
            (err = lk_buf_put_2b(ret, e->eks[i].pub, e->eks[i].pub_len)) != LK_OK) {
            return err;
        }
    }
    return LK_OK;
}

/* Take the next key from a packed column. */
static enum lk_err
ek_unpack(struct lk_reader *r, struct lk_ek *ret)
{
    const uint8_t *id;
    struct lk_reader pub;
    enum lk_err err;

    if ((err = lk_read_bytes(r, LK_EK_ID_LEN, &id)) != LK_OK ||
        (err = lk_read_2b(r, &pub)) != LK_OK) {
        return err;
    }
    if (pub.left > sizeof(ret->pub)) {
        return LK_ERR_LIMIT;
    }
    memcpy(ret->id, id, LK_EK_ID_LEN);
    memcpy(ret->pub, pub.p, pub.left);
    ret->pub_len = pub.left;
    return LK_OK;
}

void
sq_eks_read(struct sq *q, int at, struct lk_enrollment *e)
{
    size_t len;
    const void *packed = sq_bytes(q, at, &len);
    struct lk_reader r = lk_reader_of(packed, len);

    while (r.left > 0) {
        if (e->eks_count == LK_EKS_MAX || ek_unpack(&r, &e->eks[e->eks_count]) != LK_OK) {
            sq_corrupt(q);
            return;
        }
        e->eks_count++;
    }
}

/* ---- Conflicts --------------------------------------------------------------------------------
 */

/* What a row in the way is called, live or staged. */
static enum lk_err
conflict_read(struct sq *q, bool by_ek, struct lk_conflict *ret)
{
    memset(ret, 0, sizeof(*ret));
    ret->by_ek = by_ek;
    sq_text(q, 0, ret->id, sizeof(ret->id));
    ret->import_id = sq_int(q, 1);
    ret->import_line = sq_int(q, 2);
    return q->err != LK_OK ? q->err : LK_ERR_EXISTS;
}

enum lk_err
sq_conflict_by_id(struct lk_txn *tx, const char *scope, const struct store_key *key,
                  struct lk_conflict *conflict)
{
    static const char sql[] = "SELECT id, import_id, import_line FROM enrollment"
                              " WHERE scope = ?1 AND lower_id = ?2";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, scope);
    sq_bind_text(q, 2, key->text);
    err = sq_step(q);
    if (err != LK_OK) {
        return err == LK_ERR_NOT_FOUND ? LK_OK : err;
    }
    return conflict_read(q, false, conflict);
}

enum lk_err
sq_conflict_by_ek(struct lk_txn *tx, const struct lk_enrollment *e, int64_t own_nr,
                  struct lk_conflict *conflict)
{
    static const char sql[] = "SELECT e.id, e.import_id, e.import_line FROM enrollment_ek k"
                              " JOIN enrollment e ON e.nr = k.enrollment_nr"
                              " WHERE k.scope = ?1 AND k.ek_id = ?2 AND k.enrollment_nr <> ?3";
    enum lk_err err;

    for (size_t i = 0; i < e->eks_count; i++) {
        LK_AUTO(sq) struct sq *q = NULL;

        if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
            return err;
        }
        sq_bind_text(q, 1, e->scope);
        sq_bind_blob(q, 2, e->eks[i].id, LK_EK_ID_LEN);
        sq_bind_int(q, 3, own_nr);
        err = sq_step(q);
        if (err != LK_ERR_NOT_FOUND) {
            return err == LK_OK ? conflict_read(q, true, conflict) : err;
        }
    }
    return LK_OK;
}

/* ---- Rows of enrollment_ek --------------------------------------------------------------------
 */

/* *ret_rows is 0 when another row has the key. */
static enum lk_err
ek_insert(struct lk_txn *tx, const char *scope, const uint8_t ek_id[LK_EK_ID_LEN], int64_t nr,
          int *ret_rows)
{
    static const char sql[] =
        "INSERT INTO enrollment_ek (scope, ek_id, enrollment_nr) VALUES (?1, ?2, ?3)"
        " ON CONFLICT DO NOTHING";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, scope);
    sq_bind_blob(q, 2, ek_id, LK_EK_ID_LEN);
    sq_bind_int(q, 3, nr);
    return sq_change(q, ret_rows);
}

static enum lk_err
ek_delete(struct lk_txn *tx, const char *scope, const uint8_t ek_id[LK_EK_ID_LEN])
{
    static const char sql[] = "DELETE FROM enrollment_ek WHERE scope = ?1 AND ek_id = ?2";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, scope);
    sq_bind_blob(q, 2, ek_id, LK_EK_ID_LEN);
    return sq_run(q);
}

enum lk_err
sq_eks_try(struct lk_txn *tx, const struct lk_enrollment *e, int64_t nr, bool *ret_free)
{
    size_t count = 0;
    int rows = 1;
    enum lk_err err = LK_OK;

    while (count < e->eks_count && rows == 1) {
        if ((err = ek_insert(tx, e->scope, e->eks[count].id, nr, &rows)) != LK_OK) {
            return err;
        }
        count += rows == 1 ? 1 : 0;
    }
    *ret_free = count == e->eks_count;
    while (!*ret_free && count > 0 && err == LK_OK) {
        err = ek_delete(tx, e->scope, e->eks[--count].id);
    }
    return err;
}

enum lk_err
sq_eks_insert(struct lk_txn *tx, const struct lk_enrollment *e, int64_t nr)
{
    bool is_free = false;
    enum lk_err err = sq_eks_try(tx, e, nr, &is_free);

    if (err == LK_OK && !is_free) {
        store_error_set("a key has two rows");
        return LK_ERR_STORE;
    }
    return err;
}

enum lk_err
sq_eks_delete(struct lk_txn *tx, const char *scope, const struct lk_buf *packed)
{
    struct lk_reader r = lk_reader_of(packed->data, packed->len);
    struct lk_ek ek;
    enum lk_err err;

    while (r.left > 0) {
        if (ek_unpack(&r, &ek) != LK_OK) {
            return LK_ERR_STORE;
        }
        if ((err = ek_delete(tx, scope, ek.id)) != LK_OK) {
            return err;
        }
    }
    return LK_OK;
}
