/* Enrollment groups: few, so the front finds what is in the way, and nothing here does. */
#include "store/sql_int.h"

#define GROUP_COLUMNS SQ_FIELDS_READ ", e.rules"

/* g is freshly initialised. */
static enum lk_err
group_read(struct sq *q, struct lk_enrollment *g)
{
    sq_fields_read(q, g);
    sq_buf(q, SQ_FIELDS_READ_COUNT, &g->rules);
    return q->err;
}

static enum lk_err
group_write(struct lk_txn *tx, const char *sql, const struct store_key *key,
            const struct lk_enrollment *g)
{
    LK_AUTO_BUF struct lk_buf hubs = LK_BUF_INIT;
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK ||
        (err = sq_fields_bind(q, g, &hubs)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 19, g->scope);
    sq_bind_text(q, 20, key->text);
    sq_bind_blob(q, 21, g->rules.data, g->rules.len);
    sq_bind_int(q, 22, g->created_ms);
    return sq_run_one(q, LK_ERR_NOT_FOUND);
}

enum lk_err
sq_group_insert(struct lk_txn *tx, const struct store_key *key, const struct lk_enrollment *g)
{
    static const char sql[] =
        "INSERT INTO enrollment_group (" SQ_FIELDS ", scope, lower_id, rules, created_ms)"
        " SELECT " SQ_FIELDS_VALUES ", ?19, ?20, ?21, ?22"
        " WHERE EXISTS (SELECT 1 FROM scope WHERE id = ?19)";

    return group_write(tx, sql, key, g);
}

enum lk_err
sq_group_update(struct lk_txn *tx, const struct store_key *key, const struct lk_enrollment *g)
{
    static const char sql[] =
        "UPDATE enrollment_group SET " SQ_FIELDS_SET ", rules = ?21, created_ms = ?22"
        " WHERE scope = ?19 AND lower_id = ?20";

    return group_write(tx, sql, key, g);
}

enum lk_err
sq_group_delete(struct lk_txn *tx, const char *scope, const struct store_key *key)
{
    static const char sql[] = "DELETE FROM enrollment_group WHERE scope = ?1 AND lower_id = ?2";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, scope);
    sq_bind_text(q, 2, key->text);
    return sq_run(q);
}

enum lk_err
sq_group_get(struct lk_txn *tx, const char *scope, const struct store_key *key,
             struct lk_enrollment *ret)
{
    static const char sql[] = "SELECT " GROUP_COLUMNS " FROM enrollment_group e"
                              " WHERE e.scope = ?1 AND e.lower_id = ?2";
    LK_AUTO(sq) struct sq *q = NULL;
    struct lk_enrollment g;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, scope);
    sq_bind_text(q, 2, key->text);
    if ((err = sq_step(q)) != LK_OK) {
        return err;
    }
    lk_enrollment_init(&g);
    if ((err = group_read(q, &g)) != LK_OK) {
        lk_enrollment_fini(&g);
        return err;
    }
    lk_enrollment_fini(ret);
    *ret = g;
    return LK_OK;
}

/* Hand over each row of q. */
static enum lk_err
groups_visit(struct sq *q, enum lk_err (*each)(void *, const struct lk_enrollment *), void *ctx)
{
    enum lk_err err;

    while ((err = sq_step(q)) == LK_OK) {
        struct lk_enrollment g;

        lk_enrollment_init(&g);
        err = group_read(q, &g);
        if (err == LK_OK) {
            err = each(ctx, &g);
        }
        lk_enrollment_fini(&g);
        if (err != LK_OK) {
            return err;
        }
    }
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

enum lk_err
sq_group_page(struct lk_txn *tx, const char *scope, const struct store_key *after, size_t limit,
              enum lk_err (*each)(void *, const struct lk_enrollment *), void *ctx)
{
    static const char sql[] = "SELECT " GROUP_COLUMNS " FROM enrollment_group e"
                              " WHERE e.scope = ?1 AND e.lower_id > ?2"
                              " ORDER BY e.lower_id LIMIT ?3";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, scope);
    sq_bind_text(q, 2, after->text);
    sq_bind_int(q, 3, (int64_t)limit);
    return groups_visit(q, each, ctx);
}

enum lk_err
sq_group_each(struct lk_txn *tx, const char *scope, enum lk_attestation attestation,
              enum lk_err (*each)(void *, const struct lk_enrollment *), void *ctx)
{
    static const char sql[] = "SELECT " GROUP_COLUMNS " FROM enrollment_group e"
                              " WHERE e.scope = ?1 AND e.attestation = ?2 ORDER BY e.lower_id";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, scope);
    sq_bind_int(q, 2, attestation);
    return groups_visit(q, each, ctx);
}

enum lk_err
sq_group_count(struct lk_txn *tx, const char *scope, int64_t *ret)
{
    static const char sql[] = "SELECT count(*) FROM enrollment_group WHERE scope = ?1";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, scope);
    if ((err = sq_step(q)) == LK_OK) {
        *ret = sq_int(q, 0);
    }
    return err;
}
