/* Enrollments: one row each, and one in enrollment_ek for each key that it accepts. */
#include "store/sql_int.h"

#include <string.h>

#define ENROLLMENT_COLUMNS                                                                         \
    SQ_FIELDS_READ ", e.device_id, e.eks, e.srk_pub, e.import_id, e.import_line"

/* e is freshly initialised. */
static enum lk_err
enrollment_read(struct sq *q, struct lk_enrollment *e)
{
    sq_fields_read(q, e);
    sq_text(q, SQ_FIELDS_READ_COUNT, e->device_id, sizeof(e->device_id));
    sq_eks_read(q, SQ_FIELDS_READ_COUNT + 1, e);
    sq_buf(q, SQ_FIELDS_READ_COUNT + 2, &e->srk_pub);
    e->import_id = sq_int(q, SQ_FIELDS_READ_COUNT + 3);
    e->import_line = sq_int(q, SQ_FIELDS_READ_COUNT + 4);
    return q->err;
}

/* ---- Enrollments ------------------------------------------------------------------------------
 */

enum lk_err
sq_enrollment_bind(struct sq *q, const struct store_key *key, const struct lk_enrollment *e,
                   struct lk_buf *hubs, struct lk_buf *eks)
{
    enum lk_err err;

    eks->max = SQ_EKS_PACKED_MAX;
    if ((err = sq_eks_pack(e, eks)) != LK_OK || (err = sq_fields_bind(q, e, hubs)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 19, e->device_id);
    sq_bind_blob(q, 20, eks->data, eks->len);
    sq_bind_blob(q, 21, e->srk_pub.data, e->srk_pub.len);
    sq_bind_text(q, 22, e->scope);
    sq_bind_text(q, 23, key->text);
    sq_bind_int(q, 24, e->created_ms);
    sq_bind_int(q, 25, e->import_id);
    sq_bind_int(q, 26, e->import_line);
    return LK_OK;
}

enum lk_err
sq_enrollment_insert(struct lk_txn *tx, const struct store_key *key, const struct lk_enrollment *e,
                     struct lk_conflict *conflict)
{
    static const char sql[] =
        "INSERT INTO enrollment (" SQ_ENROLLMENT_INSERT ") SELECT " SQ_FIELDS_VALUES
        ", ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26"
        " WHERE EXISTS (SELECT 1 FROM scope WHERE id = ?22) RETURNING nr";
    LK_AUTO_BUF struct lk_buf eks = LK_BUF_INIT, hubs = LK_BUF_INIT;
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_conflict_by_id(tx, e->scope, key, conflict)) != LK_OK ||
        (err = sq_conflict_by_ek(tx, e, 0, conflict)) != LK_OK ||
        (err = sq_use(tx->conn, sql, &q)) != LK_OK ||
        (err = sq_enrollment_bind(q, key, e, &hubs, &eks)) != LK_OK ||
        (err = sq_step(q)) != LK_OK) {
        return err; /* LK_ERR_NOT_FOUND: the scope */
    }
    return sq_eks_insert(tx, e, sq_int(q, 0));
}

/* What a change needs to know of the live row that it is about. */
struct enrollment_row {
    int64_t nr, created_ms, import_id, import_line;
    char etag[LK_ETAG_CAP];
    struct lk_buf eks;
};

static void
row_fini(struct enrollment_row *row)
{
    lk_buf_fini(&row->eks);
}
#define AUTO_ROW __attribute__((cleanup(row_fini)))

static enum lk_err
row_find(struct lk_txn *tx, const char *scope, const struct store_key *key, const char *etag,
         struct enrollment_row *ret)
{
    static const char sql[] =
        "SELECT e.nr, e.created_ms, e.import_id, e.import_line, e.etag, e.eks FROM enrollment e"
        " WHERE e.scope = ?1 AND e.lower_id = ?2 AND " SQ_LIVE;
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, scope);
    sq_bind_text(q, 2, key->text);
    if ((err = sq_step(q)) != LK_OK) {
        return err;
    }
    ret->nr = sq_int(q, 0);
    ret->created_ms = sq_int(q, 1);
    ret->import_id = sq_int(q, 2);
    ret->import_line = sq_int(q, 3);
    sq_text(q, 4, ret->etag, sizeof(ret->etag));
    sq_buf(q, 5, &ret->eks);
    if (q->err != LK_OK) {
        return q->err;
    }
    return etag == NULL || strcmp(etag, "*") == 0 || strcmp(etag, ret->etag) == 0
               ? LK_OK
               : LK_ERR_PRECONDITION;
}

static enum lk_err
row_update(struct lk_txn *tx, int64_t nr, const struct lk_enrollment *e)
{
    static const char sql[] = "UPDATE enrollment SET " SQ_FIELDS_SET ", device_id = ?19, eks = ?20,"
                              " srk_pub = ?21, changed = 1 WHERE nr = ?22";
    LK_AUTO_BUF struct lk_buf eks = {.max = SQ_EKS_PACKED_MAX}, hubs = LK_BUF_INIT;
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_eks_pack(e, &eks)) != LK_OK || (err = sq_use(tx->conn, sql, &q)) != LK_OK ||
        (err = sq_fields_bind(q, e, &hubs)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 19, e->device_id);
    sq_bind_blob(q, 20, eks.data, eks.len);
    sq_bind_blob(q, 21, e->srk_pub.data, e->srk_pub.len);
    sq_bind_int(q, 22, nr);
    return sq_run(q);
}

enum lk_err
sq_enrollment_replace(struct lk_txn *tx, const struct store_key *key, struct lk_enrollment *e,
                      const char *etag, struct lk_conflict *conflict)
{
    AUTO_ROW struct enrollment_row row = {0};
    enum lk_err err;

    if ((err = row_find(tx, e->scope, key, etag, &row)) != LK_OK ||
        (err = sq_conflict_by_ek(tx, e, row.nr, conflict)) != LK_OK ||
        (err = sq_eks_delete(tx, e->scope, &row.eks)) != LK_OK ||
        (err = sq_eks_insert(tx, e, row.nr)) != LK_OK ||
        (err = row_update(tx, row.nr, e)) != LK_OK) {
        return err;
    }
    e->created_ms = row.created_ms;
    e->import_id = row.import_id;
    e->import_line = row.import_line;
    return LK_OK;
}

enum lk_err
sq_enrollment_remove(struct lk_txn *tx, int64_t nr, const char *scope, const struct lk_buf *packed)
{
    static const char sql[] = "DELETE FROM enrollment WHERE nr = ?1";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_eks_delete(tx, scope, packed)) != LK_OK ||
        (err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_int(q, 1, nr);
    return sq_run(q);
}

enum lk_err
sq_enrollment_delete(struct lk_txn *tx, const char *scope, const struct store_key *key,
                     const char *etag)
{
    AUTO_ROW struct enrollment_row row = {0};
    enum lk_err err = row_find(tx, scope, key, etag, &row);

    return err != LK_OK ? err : sq_enrollment_remove(tx, row.nr, scope, &row.eks);
}

enum lk_err
sq_enrollment_get(struct lk_txn *tx, const char *scope, const struct store_key *key,
                  struct lk_enrollment *ret)
{
    static const char sql[] = "SELECT " ENROLLMENT_COLUMNS " FROM enrollment e"
                              " WHERE e.scope = ?1 AND e.lower_id = ?2 AND " SQ_LIVE;
    LK_AUTO(sq) struct sq *q = NULL;
    struct lk_enrollment e;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, scope);
    sq_bind_text(q, 2, key->text);
    if ((err = sq_step(q)) != LK_OK) {
        return err;
    }
    lk_enrollment_init(&e);
    if ((err = enrollment_read(q, &e)) != LK_OK) {
        lk_enrollment_fini(&e);
        return err;
    }
    lk_enrollment_fini(ret);
    *ret = e;
    return LK_OK;
}

enum lk_err
sq_enrollment_by_ek(struct lk_txn *tx, const char *scope, const uint8_t ek_id[LK_EK_ID_LEN],
                    char ret_id[LK_REGISTRATION_ID_MAX + 1])
{
    static const char sql[] = "SELECT e.id FROM enrollment_ek k"
                              " JOIN enrollment e ON e.nr = k.enrollment_nr"
                              " WHERE k.scope = ?1 AND k.ek_id = ?2 AND " SQ_LIVE;
    char id[LK_REGISTRATION_ID_MAX + 1];
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, scope);
    sq_bind_blob(q, 2, ek_id, LK_EK_ID_LEN);
    if ((err = sq_step(q)) != LK_OK) {
        return err;
    }
    sq_text(q, 0, id, sizeof(id));
    if (q->err == LK_OK) {
        memcpy(ret_id, id, sizeof(id));
    }
    return q->err;
}

/* Read the row that q stands on and hand it over. */
static enum lk_err
enrollment_visit(struct sq *q, enum lk_err (*each)(void *, const struct lk_enrollment *), void *ctx)
{
    struct lk_enrollment e;
    enum lk_err err;

    lk_enrollment_init(&e);
    err = enrollment_read(q, &e);
    if (err == LK_OK) {
        err = each(ctx, &e);
    }
    lk_enrollment_fini(&e);
    return err;
}

enum lk_err
sq_enrollment_page(struct lk_txn *tx, const char *scope, const struct store_key *after,
                   size_t limit, enum lk_err (*each)(void *, const struct lk_enrollment *),
                   void *ctx)
{
    static const char sql[] =
        "SELECT " ENROLLMENT_COLUMNS " FROM enrollment e"
        " WHERE e.scope = ?1 AND e.lower_id > ?2 AND " SQ_LIVE " ORDER BY e.lower_id LIMIT ?3";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, scope);
    sq_bind_text(q, 2, after->text);
    sq_bind_int(q, 3, (int64_t)limit);
    while ((err = sq_step(q)) == LK_OK) {
        if ((err = enrollment_visit(q, each, ctx)) != LK_OK) {
            return err;
        }
    }
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}
