/* What is still to be done at hubs elsewhere. */
#include "store/sql_int.h"

#include <string.h>

#define ERRAND_COLUMNS                                                                             \
    "kind, owner, name, hub, version, tries, failure, created_ms, due_ms, deadline_ms, sealed"

/* e is zeroed. */
static enum lk_err
errand_read(struct sq *q, struct lk_errand *e)
{
    e->kind = (enum lk_errand_kind)sq_int(q, 0);
    sq_text(q, 1, e->owner, sizeof(e->owner));
    sq_text(q, 2, e->name, sizeof(e->name));
    sq_text(q, 3, e->hub, sizeof(e->hub));
    e->version = (uint64_t)sq_int(q, 4);
    e->tries = (uint32_t)sq_int(q, 5);
    e->failure = (enum lk_err)sq_int(q, 6);
    e->created_ms = sq_int(q, 7);
    e->due_ms = sq_int(q, 8);
    e->deadline_ms = sq_int(q, 9);
    sq_buf(q, 10, &e->sealed);
    return q->err;
}

enum lk_err
sq_errand_put(struct lk_txn *tx, const struct lk_errand *e)
{
    static const char sql[] =
        "INSERT INTO errand (" ERRAND_COLUMNS ")"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)"
        " ON CONFLICT (kind, owner, name) DO UPDATE"
        " SET hub = ?4, version = ?5, tries = ?6, failure = ?7, created_ms = ?8, due_ms = ?9,"
        " deadline_ms = ?10, sealed = ?11";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_int(q, 1, e->kind);
    sq_bind_text(q, 2, e->owner);
    sq_bind_text(q, 3, e->name);
    sq_bind_text(q, 4, e->hub);
    sq_bind_int(q, 5, (int64_t)e->version);
    sq_bind_int(q, 6, e->tries);
    sq_bind_int(q, 7, e->failure);
    sq_bind_int(q, 8, e->created_ms);
    sq_bind_int(q, 9, e->due_ms);
    sq_bind_int(q, 10, e->deadline_ms);
    sq_bind_blob(q, 11, e->sealed.data, e->sealed.len);
    return sq_run(q);
}

enum lk_err
sq_errand_get(struct lk_txn *tx, enum lk_errand_kind kind, const char *owner, const char *name,
              struct lk_errand *ret)
{
    static const char sql[] =
        "SELECT " ERRAND_COLUMNS " FROM errand WHERE kind = ?1 AND owner = ?2 AND name = ?3";
    LK_AUTO(sq) struct sq *q = NULL;
    struct lk_errand e = {.tries = 0};
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_int(q, 1, kind);
    sq_bind_text(q, 2, owner);
    sq_bind_text(q, 3, name);
    if ((err = sq_step(q)) != LK_OK) {
        return err;
    }
    if ((err = errand_read(q, &e)) != LK_OK) {
        lk_errand_fini(&e);
        return err;
    }
    lk_errand_fini(ret);
    *ret = e;
    return LK_OK;
}

enum lk_err
sq_errand_delete(struct lk_txn *tx, enum lk_errand_kind kind, const char *owner, const char *name)
{
    static const char sql[] = "DELETE FROM errand WHERE kind = ?1 AND owner = ?2 AND name = ?3";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_int(q, 1, kind);
    sq_bind_text(q, 2, owner);
    sq_bind_text(q, 3, name);
    return sq_run_one(q, LK_ERR_NOT_FOUND);
}

enum lk_err
sq_errand_next_hub(struct lk_txn *tx, const char *after, char ret[LK_HOST_NAME_MAX + 1])
{
    static const char sql[] = "SELECT hub FROM errand WHERE hub > ?1 ORDER BY hub LIMIT 1";
    char hub[LK_HOST_NAME_MAX + 1];
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, after);
    if ((err = sq_step(q)) != LK_OK) {
        return err;
    }
    sq_text(q, 0, hub, sizeof(hub));
    if (q->err == LK_OK) {
        memcpy(ret, hub, sizeof(hub));
    }
    return q->err;
}

/* Hand over each row of q. */
static enum lk_err
errands_visit(struct sq *q, enum lk_err (*each)(void *, struct lk_errand *), void *ctx)
{
    enum lk_err err;

    while ((err = sq_step(q)) == LK_OK) {
        struct lk_errand e = {.tries = 0};

        err = errand_read(q, &e);
        if (err == LK_OK) {
            err = each(ctx, &e);
        }
        lk_errand_fini(&e);
        if (err != LK_OK) {
            return err;
        }
    }
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

enum lk_err
sq_errand_due(struct lk_txn *tx, const char *hub, size_t limit,
              enum lk_err (*each)(void *, struct lk_errand *), void *ctx)
{
    static const char sql[] = "SELECT " ERRAND_COLUMNS " FROM errand"
                              " WHERE hub = ?1 AND due_ms <= ?2 ORDER BY due_ms LIMIT ?3";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, hub);
    sq_bind_int(q, 2, tx->now_ms);
    sq_bind_int(q, 3, (int64_t)limit);
    return errands_visit(q, each, ctx);
}

enum lk_err
sq_errand_overdue(struct lk_txn *tx, size_t limit, enum lk_err (*each)(void *, struct lk_errand *),
                  void *ctx)
{
    static const char sql[] = "SELECT " ERRAND_COLUMNS " FROM errand"
                              " WHERE deadline_ms <= ?1 ORDER BY deadline_ms LIMIT ?2";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_int(q, 1, tx->now_ms);
    sq_bind_int(q, 2, (int64_t)limit);
    return errands_visit(q, each, ctx);
}

enum lk_err
sq_errand_count(struct lk_txn *tx, const char *hub, int64_t limit, int64_t *ret)
{
    static const char sql[] =
        "SELECT count(*) FROM (SELECT 1 FROM errand WHERE hub = ?1 LIMIT ?2) AS found";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, hub);
    sq_bind_int(q, 2, limit);
    if ((err = sq_step(q)) == LK_OK) {
        *ret = sq_int(q, 0);
    }
    return err;
}
