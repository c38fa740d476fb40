/*
 * Staging many rows of an import with few round trips, by COPY. As a rule nothing is in the way of
 * any, so they are tried first, in a savepoint. When that fails, what is in the way of a row, in
 * the store or in a row before it, is looked for with one statement for all ids and one for all
 * keys; the rows that are free go in. Writers follow one another, so what was free stays so.
 */
#include "store/pgsql_int.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* One id or EK of one row. */
struct stage_key {
    const void *data;
    size_t len;
    size_t row;
};

struct stage {
    struct pg_conn *c;
    struct sq_stage *rows;
    size_t rows_count;
    bool trying; /* a row in the way is LK_ERR_EXISTS, and no failure */
    bool taken[LK_STAGE_MAX];
    int64_t nrs[LK_STAGE_MAX]; /* of the rows that are free */
    size_t ids_count, eks_count;
    struct stage_key ids[LK_STAGE_MAX];
    struct stage_key eks[LK_STAGE_MAX * LK_EKS_MAX];
};

static void
stage_free(struct stage *s)
{
    free(s);
}
LK_DEFINE_AUTO(struct stage, stage, stage_free);

static enum lk_err
stage_new(struct lk_txn *tx, struct sq_stage *rows, size_t count, struct stage **ret)
{
    struct stage *s = (struct stage *)calloc(1, sizeof(*s));

    if (s == NULL) {
        return LK_ERR_NOMEM;
    }
    assert(count <= LK_STAGE_MAX);
    s->c = (struct pg_conn *)tx->conn;
    s->rows = rows;
    s->rows_count = count;
    for (size_t i = 0; i < count; i++) {
        const struct lk_enrollment *e = rows[i].e;

        s->ids[s->ids_count++] = (struct stage_key){rows[i].key.text, strlen(rows[i].key.text), i};
        for (size_t k = 0; k < e->eks_count; k++) {
            s->eks[s->eks_count++] = (struct stage_key){e->eks[k].id, LK_EK_ID_LEN, i};
        }
    }
    *ret = s;
    return LK_OK;
}

/* ---- what is in the way ---------------------------------------------------------------------- */

/* By their bytes, equal ones in the order of their rows. */
static int
key_compare(const void *a, const void *b)
{
    const struct stage_key *x = (const struct stage_key *)a, *y = (const struct stage_key *)b;
    int order = memcmp(x->data, y->data, x->len < y->len ? x->len : y->len);

    if (order != 0) {
        return order;
    }
    return x->len != y->len ? (x->len < y->len ? -1 : 1) : (x->row > y->row) - (x->row < y->row);
}

static void
repeated_mark(struct stage *s, struct stage_key *keys, size_t count)
{
    qsort(keys, count, sizeof(keys[0]), key_compare);
    for (size_t i = 1; i < count; i++) {
        if (keys[i].len == keys[i - 1].len &&
            memcmp(keys[i].data, keys[i - 1].data, keys[i].len) == 0) {
            s->taken[keys[i].row] = true;
        }
    }
}

static enum lk_err
keys_array(const struct stage_key *keys, size_t count, Oid element, struct lk_buf *ret)
{
    enum lk_err err = pg_array_begin(ret, element);

    for (size_t i = 0; i < count && err == LK_OK; i++) {
        err = pg_array_put(ret, keys[i].data, keys[i].len);
    }
    return err;
}

/* The key that the server means by its place in the array; NULL: none that we sent. */
static const struct stage_key *
key_at(struct sq *q, const struct stage_key *keys, size_t count)
{
    int64_t at = sq_int(q, 0);

    if (at < 1 || (uint64_t)at > count) {
        sq_corrupt(q);
        return NULL;
    }
    return &keys[at - 1];
}

/* Rows whose id is another row's, or was staged by this import under the same line. The LIMIT keeps
 * the planner at one look into the index for each, however large it believes the table to be. */
static enum lk_err
taken_ids_mark(struct stage *s)
{
    static const char sql[] =
        "SELECT k.at, e.import_id, e.import_line"
        " FROM unnest(?2) WITH ORDINALITY AS k(lower_id, at), LATERAL (SELECT import_id,"
        " import_line FROM enrollment WHERE scope = ?1 AND lower_id = k.lower_id LIMIT 1) e";
    LK_AUTO_BUF struct lk_buf array = LK_BUF_INIT;
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = keys_array(s->ids, s->ids_count, PG_OID_TEXT, &array)) != LK_OK ||
        (err = sq_use(&s->c->base, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, s->rows[0].e->scope);
    pg_bind_array(q, 2, PG_OID_TEXT_ARRAY, &array);
    while ((err = sq_step(q)) == LK_OK) {
        const struct stage_key *key = key_at(q, s->ids, s->ids_count);
        const struct lk_enrollment *e = key != NULL ? s->rows[key->row].e : NULL;

        if (e == NULL) {
            break;
        }
        s->rows[key->row].before =
            !s->taken[key->row] && sq_int(q, 1) == e->import_id && sq_int(q, 2) == e->import_line;
        s->taken[key->row] = true;
    }
    return q->err;
}

static enum lk_err
taken_eks_mark(struct stage *s)
{
    static const char sql[] =
        "SELECT k.at FROM unnest(?2) WITH ORDINALITY AS k(ek_id, at), LATERAL"
        " (SELECT 1 FROM enrollment_ek WHERE scope = ?1 AND ek_id = k.ek_id LIMIT 1) e";
    LK_AUTO_BUF struct lk_buf array = LK_BUF_INIT;
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if (s->eks_count == 0) {
        return LK_OK;
    }
    if ((err = keys_array(s->eks, s->eks_count, PG_OID_BYTEA, &array)) != LK_OK ||
        (err = sq_use(&s->c->base, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, s->rows[0].e->scope);
    pg_bind_array(q, 2, PG_OID_BYTEA_ARRAY, &array);
    while ((err = sq_step(q)) == LK_OK) {
        const struct stage_key *key = key_at(q, s->eks, s->eks_count);

        if (key == NULL) {
            break;
        }
        s->taken[key->row] = true;
    }
    return q->err;
}

/* ---- COPY ------------------------------------------------------------------------------------ */

/* Numbers for the rows that are free. */
static enum lk_err
numbers_draw(struct stage *s, size_t *ret_free)
{
    static const char sql[] = "SELECT nextval('enrollment_nr_seq') FROM generate_series(1, ?1)";
    LK_AUTO(sq) struct sq *q = NULL;
    size_t count = 0;
    enum lk_err err;

    for (size_t i = 0; i < s->rows_count; i++) {
        count += s->taken[i] ? 0 : 1;
    }
    *ret_free = count;
    if (count == 0) {
        return LK_OK;
    }
    if ((err = sq_use(&s->c->base, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_int(q, 1, (int64_t)count);
    for (size_t i = 0; i < s->rows_count; i++) {
        if (!s->taken[i]) {
            if ((err = sq_step(q)) != LK_OK) {
                return err == LK_ERR_NOT_FOUND ? LK_ERR_STORE : err;
            }
            s->nrs[i] = sq_int(q, 0);
        }
    }
    return q->err;
}

/* The parameters of q and then nr, as a row of COPY's binary form. */
static enum lk_err
copy_row(const struct sq *q, int count, int64_t nr, struct lk_buf *ret)
{
    const struct pg_stmt *s = (const struct pg_stmt *)q;
    enum lk_err err = lk_buf_put_u16(ret, (uint16_t)(count + 1));

    assert(s->params_count == count);
    for (int i = 0; i < count && err == LK_OK; i++) {
        if ((err = lk_buf_put_u32(ret, (uint32_t)s->lengths[i])) == LK_OK) {
            err = lk_buf_put(ret, s->values[i], (size_t)s->lengths[i]);
        }
    }
    if (err != LK_OK || (err = lk_buf_put_u32(ret, sizeof(nr))) != LK_OK) {
        return err;
    }
    return lk_buf_put_u64(ret, (uint64_t)nr);
}

static enum lk_err
enrollment_row(struct stage *s, struct sq *q, size_t at, struct lk_buf *ret)
{
    LK_AUTO_BUF struct lk_buf hubs = LK_BUF_INIT, eks = LK_BUF_INIT;
    enum lk_err err = sq_enrollment_bind(q, &s->rows[at].key, s->rows[at].e, &hubs, &eks);

    return err != LK_OK ? err : copy_row(q, SQ_ENROLLMENT_INSERT_COUNT, s->nrs[at], ret);
}

static enum lk_err
ek_rows(struct stage *s, struct sq *q, size_t at, struct lk_buf *ret)
{
    const struct lk_enrollment *e = s->rows[at].e;
    enum lk_err err = LK_OK;

    for (size_t i = 0; i < e->eks_count && err == LK_OK; i++) {
        sq_bind_text(q, 1, e->scope);
        sq_bind_blob(q, 2, e->eks[i].id, LK_EK_ID_LEN);
        err = copy_row(q, 2, s->nrs[at], ret);
    }
    return err;
}

/* Rows of the free ones, each written by `write`. */
static enum lk_err
copy_rows(struct stage *s, struct sq *q,
          enum lk_err (*write)(struct stage *, struct sq *, size_t, struct lk_buf *))
{
    static const char head[19] = "PGCOPY\n\377\r\n"; /* with its NUL; no flags, no extension */
    LK_AUTO_BUF struct lk_buf rows = LK_BUF_INIT;
    enum lk_err err = lk_buf_put(&rows, head, sizeof(head));

    for (size_t i = 0; i < s->rows_count && err == LK_OK; i++) {
        if (s->taken[i] || (err = write(s, q, i, &rows)) != LK_OK) {
            continue;
        }
        if (PQputCopyData(s->c->pg, (const char *)rows.data, (int)rows.len) != 1) {
            return pg_fail(s->c, NULL, "copy");
        }
        lk_buf_reset(&rows);
    }
    if (err == LK_OK && (err = lk_buf_put_u16(&rows, UINT16_MAX)) == LK_OK &&
        PQputCopyData(s->c->pg, (const char *)rows.data, (int)rows.len) != 1) {
        return pg_fail(s->c, NULL, "copy");
    }
    return err;
}

static bool
is_conflict(const PGresult *res)
{
    const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);

    return state != NULL && strcmp(state, "23505") == 0; /* unique_violation */
}

/* The server's word on a COPY, or on one that ends because of `why`. */
static enum lk_err
copy_end(struct stage *s, enum lk_err why)
{
    struct pg_conn *c = s->c;
    enum lk_err err = why;
    PGresult *res;

    if (PQputCopyEnd(c->pg, why != LK_OK ? "given up" : NULL) != 1) {
        return why != LK_OK ? why : pg_fail(c, NULL, "copy");
    }
    while ((res = PQgetResult(c->pg)) != NULL) {
        if (err == LK_OK && PQresultStatus(res) != PGRES_COMMAND_OK) {
            err = s->trying && is_conflict(res) ? LK_ERR_EXISTS : pg_fail(c, res, "copy");
        }
        PQclear(res);
    }
    c->base.broken = c->base.broken || (err != LK_OK && err != LK_ERR_EXISTS);
    return err;
}

static enum lk_err
copy(struct stage *s, const char *sql,
     enum lk_err (*write)(struct stage *, struct sq *, size_t, struct lk_buf *))
{
    LK_AUTO(sq) struct sq *q = NULL;
    PGresult *res;
    enum lk_err err = sq_use(&s->c->base, sql, &q);

    if (err != LK_OK) {
        return err;
    }
    res = PQexec(s->c->pg, sql);
    if (PQresultStatus(res) != PGRES_COPY_IN) {
        err = pg_fail(s->c, res, "copy");
    }
    PQclear(res);
    return err != LK_OK ? err : copy_end(s, copy_rows(s, q, write));
}

/* The rows that nothing is known to be in the way of. */
static enum lk_err
free_copy(struct stage *s)
{
    static const char enrollments[] =
        "COPY enrollment (" SQ_ENROLLMENT_INSERT ", nr) FROM STDIN (FORMAT binary)";
    static const char eks[] =
        "COPY enrollment_ek (scope, ek_id, enrollment_nr) FROM STDIN (FORMAT binary)";
    size_t free_count;
    enum lk_err err = numbers_draw(s, &free_count);

    if (err != LK_OK || free_count == 0 || (err = copy(s, enrollments, enrollment_row)) != LK_OK ||
        (err = copy(s, eks, ek_rows)) != LK_OK) {
        return err;
    }
    return LK_OK;
}

/*
 * Without a look before. LK_ERR_EXISTS: something is in the way of one of them, and nothing was
 * written. Where the first is there, others will be, as when an import is resumed.
 */
static enum lk_err
free_try(struct lk_txn *tx, struct stage *s)
{
    struct lk_conflict unused;
    enum lk_err err;

    if ((err = sq_conflict_by_id(tx, s->rows[0].e->scope, &s->rows[0].key, &unused)) != LK_OK ||
        (err = pg_command(s->c, "SAVEPOINT stage", "savepoint")) != LK_OK) {
        return err;
    }
    s->trying = true;
    err = free_copy(s);
    s->trying = false;
    if (err == LK_ERR_EXISTS) {
        enum lk_err undo = pg_command(s->c, "ROLLBACK TO stage", "savepoint");

        return undo != LK_OK ? undo : err;
    }
    return err;
}

enum lk_err
pg_stage(struct lk_txn *tx, struct sq_stage *rows, size_t count)
{
    LK_AUTO(stage) struct stage *s = NULL;
    enum lk_err err;

    if ((err = stage_new(tx, rows, count, &s)) != LK_OK) {
        return err;
    }
    repeated_mark(s, s->ids, s->ids_count);
    repeated_mark(s, s->eks, s->eks_count);
    err = free_try(tx, s);
    if (err == LK_ERR_EXISTS && (err = taken_ids_mark(s)) == LK_OK &&
        (err = taken_eks_mark(s)) == LK_OK) {
        err = free_copy(s);
    }
    for (size_t i = 0; i < count && err == LK_OK; i++) {
        rows[i].staged = rows[i].before || !s->taken[i];
    }
    return err;
}
