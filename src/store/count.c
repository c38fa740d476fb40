/* Numbers that triggers keep: read, compared with the rows that they count, and counted anew. */
#include "store/sql_int.h"

#include <string.h>

/* ---- reading --------------------------------------------------------------------------------- */

/* The number that q stands on; no row: 0. */
static enum lk_err
total_read(struct sq *q, int64_t *ret)
{
    enum lk_err err = sq_step(q);

    if (err == LK_OK) {
        *ret = sq_int(q, 0);
        return q->err;
    }
    if (err == LK_ERR_NOT_FOUND) {
        *ret = 0;
        return LK_OK;
    }
    return err;
}

enum lk_err
sq_enrollment_count(struct lk_txn *tx, const char *scope, int64_t *ret)
{
    static const char sql[] = "SELECT total FROM enrollment_count WHERE scope = ?1";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, scope);
    return total_read(q, ret);
}

enum lk_err
sq_registration_count(struct lk_txn *tx, const char *scope, enum lk_reg_status status, int64_t *ret)
{
    static const char sql[] =
        "SELECT total FROM registration_count WHERE scope = ?1 AND status = ?2";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, scope);
    sq_bind_int(q, 2, status);
    return total_read(q, ret);
}

enum lk_err
sq_registration_count_of_group(struct lk_txn *tx, const char *scope, const struct store_key *group,
                               int64_t *ret)
{
    static const char sql[] = "SELECT total FROM group_count WHERE scope = ?1 AND group_id = ?2";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, scope);
    sq_bind_text(q, 2, group->text);
    return total_read(q, ret);
}

/* ---- comparing ------------------------------------------------------------------------------- */

#define LIVE_ENROLLMENTS "FROM enrollment e WHERE " SQ_LIVE " GROUP BY scope"
#define GROUPED                                                                                    \
    "FROM registration WHERE group_id <> '' AND status <> 0 GROUP BY scope, lower(group_id)"
#define LIVE_OF_IMPORT                                                                             \
    "(SELECT count(*) FROM enrollment e WHERE e.import_id = import.id AND e.import_id <> 0)"
#define CONNECTED_OF_HUB                                                                           \
    "(SELECT count(*) FROM presence p WHERE p.hub = identity.hub AND p.connected <> 0)"
#define DISABLED "sum(CASE WHEN enabled = 0 THEN 1 ELSE 0 END)"

/* The names under which kept and found differ, of a SELECT of both, each with 0 for the other. */
#define DIFFERENCES(kept, found)                                                                   \
    "SELECT name, CAST(sum(kept) AS BIGINT), CAST(sum(found) AS BIGINT) FROM (" kept               \
    " UNION ALL " found ") AS counted GROUP BY name HAVING sum(kept) <> sum(found) ORDER BY name"

/* In the order in which they can be made anew: what counts enrollments reads imports. */
static const struct counter {
    const char *what, *compare, *clear, *fill;
} counters[] = {
    {"import",
     DIFFERENCES("SELECT CAST(id AS TEXT) AS name, gone AS kept, 0 AS found FROM import"
                 " WHERE state = 1",
                 "SELECT CAST(id AS TEXT), 0, row_count - " LIVE_OF_IMPORT
                 " FROM import WHERE state = 1"),
     "UPDATE import SET gone = 0 WHERE state <> 1",
     "UPDATE import SET gone = row_count - " LIVE_OF_IMPORT " WHERE state = 1"},
    {"enrollment",
     DIFFERENCES("SELECT scope AS name, total AS kept, 0 AS found FROM enrollment_count",
                 "SELECT scope, 0, count(*) " LIVE_ENROLLMENTS),
     "DELETE FROM enrollment_count",
     "INSERT INTO enrollment_count SELECT scope, count(*) " LIVE_ENROLLMENTS},
    {"registration",
     DIFFERENCES("SELECT scope || ' status ' || status AS name, total AS kept, 0 AS found"
                 " FROM registration_count",
                 "SELECT scope || ' status ' || status, 0, count(*) FROM registration"
                 " GROUP BY scope, status"),
     "DELETE FROM registration_count",
     "INSERT INTO registration_count SELECT scope, status, count(*) FROM registration"
     " GROUP BY scope, status"},
    {"group",
     DIFFERENCES("SELECT scope || ' ' || group_id AS name, total AS kept, 0 AS found"
                 " FROM group_count",
                 "SELECT scope || ' ' || lower(group_id), 0, count(*) " GROUPED),
     "DELETE FROM group_count",
     "INSERT INTO group_count SELECT scope, lower(group_id), count(*) " GROUPED},
    {"identity",
     DIFFERENCES("SELECT hub AS name, total AS kept, 0 AS found FROM identity_count",
                 "SELECT hub, 0, count(*) FROM identity GROUP BY hub"),
     "DELETE FROM identity_count",
     "INSERT INTO identity_count SELECT hub, count(*), " DISABLED ", " CONNECTED_OF_HUB
     " FROM identity GROUP BY hub"},
    {"disabled identity",
     DIFFERENCES("SELECT hub AS name, disabled AS kept, 0 AS found FROM identity_count",
                 "SELECT hub, 0, " DISABLED " FROM identity GROUP BY hub"),
     NULL, NULL},
    {"connected identity",
     DIFFERENCES("SELECT hub AS name, connected AS kept, 0 AS found FROM identity_count",
                 "SELECT hub, 0, count(*) FROM presence WHERE connected <> 0 GROUP BY hub"),
     NULL, NULL},
};

static enum lk_err
counter_compare(struct store_conn *c, const struct counter *n, lk_store_miscounted_fn *each,
                void *ctx)
{
    char name[LK_ID_SCOPE_MAX + LK_HOST_NAME_MAX + LK_REGISTRATION_ID_MAX + 32];
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(c, n->compare, &q)) != LK_OK) {
        return err;
    }
    while ((err = sq_step(q)) == LK_OK) {
        sq_text(q, 0, name, sizeof(name));
        if (q->err != LK_OK) {
            return q->err;
        }
        each(ctx, n->what, name, sq_int(q, 1), sq_int(q, 2));
    }
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

enum lk_err
sq_recount(struct store_conn *c)
{
    enum lk_err err = LK_OK;

    for (size_t i = 0; i < LK_ARRAY_LEN(counters) && err == LK_OK; i++) {
        if (counters[i].fill != NULL && (err = sq_exec(c, counters[i].clear)) == LK_OK) {
            err = sq_exec(c, counters[i].fill);
        }
    }
    return err;
}

static enum lk_err
counters_run(const struct store_ops *ops, struct store_conn *c, bool repair,
             lk_store_miscounted_fn *each, void *ctx)
{
    enum lk_err err = ops->begin(c);

    if (err != LK_OK) {
        return err;
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(counters) && err == LK_OK; i++) {
        err = counter_compare(c, &counters[i], each, ctx);
    }
    if (err == LK_OK && repair && (err = sq_recount(c)) == LK_OK) {
        return ops->commit(c);
    }
    ops->rollback(c); /* nothing was written, or it is not to stay */
    return err;
}

enum lk_err
lk_store_count_check(struct lk_store *st, bool repair, lk_store_miscounted_fn *each, void *ctx,
                     char error[LK_STORE_ERROR_CAP])
{
    struct store_conn *c = NULL;
    enum lk_err err;

    if (repair && st->read_only) {
        return LK_ERR_ARG;
    }
    store_error_set("%s", "");
    if ((err = st->ops->conn_open(st->db, repair, &c)) == LK_OK) {
        err = counters_run(st->ops, c, repair, each, ctx);
        st->ops->conn_close(c);
    }
    if (err != LK_OK) {
        memcpy(error, lk_store_error_text(), LK_STORE_ERROR_CAP);
    }
    return err;
}
