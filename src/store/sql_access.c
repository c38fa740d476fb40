/* Shared access policies, and what the operator trusts. */
#include "store/sql_int.h"

/* ---- Policies ---------------------------------------------------------------------------------
 */

#define POLICY_COLUMNS                                                                             \
    "scope, name, rights, sealed_primary, sealed_secondary, created_ms, updated_ms"

/* p is zeroed. */
static enum lk_err
policy_read(struct sq *q, struct lk_policy *p)
{
    sq_text(q, 0, p->scope, sizeof(p->scope));
    sq_text(q, 1, p->name, sizeof(p->name));
    p->rights = (unsigned)sq_int(q, 2) & LK_RIGHTS_ALL;
    sq_buf(q, 3, &p->sealed_primary);
    sq_buf(q, 4, &p->sealed_secondary);
    p->created_ms = sq_int(q, 5);
    p->updated_ms = sq_int(q, 6);
    return q->err;
}

enum lk_err
sq_policy_put(struct lk_txn *tx, const struct lk_policy *p)
{
    static const char sql[] =
        "INSERT INTO policy (" POLICY_COLUMNS ")"
        " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?6 WHERE EXISTS (SELECT 1 FROM scope WHERE id = ?1)"
        " ON CONFLICT (scope, name) DO UPDATE"
        " SET rights = ?3, sealed_primary = ?4, sealed_secondary = ?5, updated_ms = ?6";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, p->scope);
    sq_bind_text(q, 2, p->name);
    sq_bind_int(q, 3, p->rights);
    sq_bind_blob(q, 4, p->sealed_primary.data, p->sealed_primary.len);
    sq_bind_blob(q, 5, p->sealed_secondary.data, p->sealed_secondary.len);
    sq_bind_int(q, 6, tx->now_ms);
    return sq_run_one(q, LK_ERR_NOT_FOUND);
}

enum lk_err
sq_policy_get(struct lk_txn *tx, const char *scope, const char *name, struct lk_policy *ret)
{
    static const char sql[] =
        "SELECT " POLICY_COLUMNS " FROM policy WHERE scope = ?1 AND name = ?2";
    LK_AUTO(sq) struct sq *q = NULL;
    struct lk_policy p = {.rights = 0};
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, scope);
    sq_bind_text(q, 2, name);
    if ((err = sq_step(q)) != LK_OK) {
        return err;
    }
    if ((err = policy_read(q, &p)) != LK_OK) {
        lk_policy_fini(&p);
        return err;
    }
    lk_policy_fini(ret);
    *ret = p;
    return LK_OK;
}

enum lk_err
sq_policy_delete(struct lk_txn *tx, const char *scope, const char *name)
{
    static const char sql[] = "DELETE FROM policy WHERE scope = ?1 AND name = ?2";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, scope);
    sq_bind_text(q, 2, name);
    return sq_run_one(q, LK_ERR_NOT_FOUND);
}

enum lk_err
sq_policy_each(struct lk_txn *tx, const char *scope,
               enum lk_err (*each)(void *, const struct lk_policy *), void *ctx)
{
    static const char sql[] =
        "SELECT " POLICY_COLUMNS " FROM policy WHERE scope = ?1 ORDER BY name";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, scope);
    while ((err = sq_step(q)) == LK_OK) {
        struct lk_policy p = {.rights = 0};

        err = policy_read(q, &p);
        if (err == LK_OK) {
            err = each(ctx, &p);
        }
        lk_policy_fini(&p);
        if (err != LK_OK) {
            return err;
        }
    }
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

/* ---- Trust ------------------------------------------------------------------------------------
 */

static enum lk_err
trust_count_up(struct lk_txn *tx, int changed)
{
    return changed == 0 ? LK_OK
                        : sq_exec(tx->conn, "UPDATE trust_version SET version = version + 1");
}

enum lk_err
sq_trust_put(struct lk_txn *tx, const struct lk_trust *t)
{
    static const char sql[] =
        "INSERT INTO trust (id, kind, subject, der, created_ms) VALUES (?1, ?2, ?3, ?4, ?5)"
        " ON CONFLICT (id) DO UPDATE SET kind = ?2, subject = ?3"
        " WHERE trust.kind <> ?2 OR trust.subject <> ?3";
    LK_AUTO(sq) struct sq *q = NULL;
    int rows;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_blob(q, 1, t->id, sizeof(t->id));
    sq_bind_int(q, 2, t->kind);
    sq_bind_text(q, 3, t->subject);
    sq_bind_blob(q, 4, t->der.data, t->der.len);
    sq_bind_int(q, 5, tx->now_ms);
    err = sq_change(q, &rows);
    return err != LK_OK ? err : trust_count_up(tx, rows);
}

enum lk_err
sq_trust_delete(struct lk_txn *tx, const uint8_t id[32])
{
    static const char sql[] = "DELETE FROM trust WHERE id = ?1";
    LK_AUTO(sq) struct sq *q = NULL;
    int rows;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_blob(q, 1, id, 32);
    if ((err = sq_change(q, &rows)) != LK_OK || rows == 0) {
        return err != LK_OK ? err : LK_ERR_NOT_FOUND;
    }
    return trust_count_up(tx, rows);
}

/* t is zeroed. */
static enum lk_err
trust_read(struct sq *q, struct lk_trust *t)
{
    sq_blob_exact(q, 0, t->id, sizeof(t->id));
    t->kind = (enum lk_trust_kind)sq_int(q, 1);
    sq_text(q, 2, t->subject, sizeof(t->subject));
    sq_buf(q, 3, &t->der);
    t->created_ms = sq_int(q, 4);
    return q->err;
}

enum lk_err
sq_trust_each(struct lk_txn *tx, enum lk_err (*each)(void *, const struct lk_trust *), void *ctx)
{
    static const char sql[] =
        "SELECT id, kind, subject, der, created_ms FROM trust ORDER BY kind, id";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    while ((err = sq_step(q)) == LK_OK) {
        struct lk_trust t = {.kind = LK_TRUST_ROOT};

        err = trust_read(q, &t);
        if (err == LK_OK) {
            err = each(ctx, &t);
        }
        lk_trust_fini(&t);
        if (err != LK_OK) {
            return err;
        }
    }
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

enum lk_err
sq_trust_version(struct lk_txn *tx, int64_t *ret)
{
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, "SELECT version FROM trust_version", &q)) != LK_OK) {
        return err;
    }
    if ((err = sq_step(q)) != LK_OK) {
        sq_corrupt(q); /* the schema put a row there */
        return LK_ERR_STORE;
    }
    *ret = sq_int(q, 0);
    return LK_OK;
}
