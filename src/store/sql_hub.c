/* ID scopes, linked hubs, and the access policies of embedded ones. */
#include "store/sql_int.h"

/* ---- ID scopes --------------------------------------------------------------------------------
 */

#define SCOPE_COLUMNS "id, service_host, allocation, created_ms"

static enum lk_err
scope_read(struct sq *q, struct lk_scope *s)
{
    sq_text(q, 0, s->id, sizeof(s->id));
    sq_text(q, 1, s->service_host, sizeof(s->service_host));
    s->allocation = (enum lk_allocation)sq_int(q, 2);
    s->created_ms = sq_int(q, 3);
    return q->err;
}

enum lk_err
sq_scope_insert(struct lk_txn *tx, const struct lk_scope *s)
{
    static const char sql[] = "INSERT INTO scope (id, created_ms) VALUES (?1, ?2)"
                              " ON CONFLICT DO NOTHING";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, s->id);
    sq_bind_int(q, 2, s->created_ms);
    return sq_run_one(q, LK_ERR_EXISTS);
}

/* LK_ERR_EXISTS: another scope is reached under this name. */
static enum lk_err
host_free(struct lk_txn *tx, const struct lk_scope *s)
{
    static const char sql[] =
        "SELECT id FROM scope WHERE service_host = ?1 AND service_host <> '' AND id <> ?2";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, s->service_host);
    sq_bind_text(q, 2, s->id);
    err = sq_step(q);
    return err == LK_OK ? LK_ERR_EXISTS : err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

enum lk_err
sq_scope_update(struct lk_txn *tx, const struct lk_scope *s)
{
    static const char sql[] = "UPDATE scope SET service_host = ?2, allocation = ?3 WHERE id = ?1";
    LK_AUTO(sq) struct sq *q = NULL;
    struct lk_scope before;
    enum lk_err err;

    if ((err = sq_scope_get(tx, s->id, &before)) != LK_OK || (err = host_free(tx, s)) != LK_OK ||
        (err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, s->id);
    sq_bind_text(q, 2, s->service_host);
    sq_bind_int(q, 3, s->allocation);
    return sq_run(q);
}

enum lk_err
sq_scope_get(struct lk_txn *tx, const char *id, struct lk_scope *ret)
{
    static const char sql[] = "SELECT " SCOPE_COLUMNS " FROM scope WHERE id = ?1";
    LK_AUTO(sq) struct sq *q = NULL;
    struct lk_scope s;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, id);
    if ((err = sq_step(q)) != LK_OK || (err = scope_read(q, &s)) != LK_OK) {
        return err;
    }
    *ret = s;
    return LK_OK;
}

enum lk_err
sq_scope_each(struct lk_txn *tx, enum lk_err (*each)(void *, const struct lk_scope *), void *ctx)
{
    static const char sql[] = "SELECT " SCOPE_COLUMNS " FROM scope ORDER BY id";
    LK_AUTO(sq) struct sq *q = NULL;
    struct lk_scope s;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    while ((err = sq_step(q)) == LK_OK) {
        if ((err = scope_read(q, &s)) != LK_OK || (err = each(ctx, &s)) != LK_OK) {
            return err;
        }
    }
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

/* ---- Linked hubs ------------------------------------------------------------------------------
 */

#define HUB_COLUMNS "name, kind, weight, allocatable, sealed_connection, created_ms, region"

/* h is zeroed. */
static enum lk_err
hub_read(struct sq *q, struct lk_hub *h)
{
    sq_text(q, 0, h->name, sizeof(h->name));
    h->kind = (enum lk_hub_kind)sq_int(q, 1);
    h->weight = (uint32_t)sq_int(q, 2);
    h->allocatable = sq_int(q, 3) != 0;
    sq_buf(q, 4, &h->sealed_connection);
    h->created_ms = sq_int(q, 5);
    sq_text(q, 6, h->region, sizeof(h->region));
    return q->err;
}

enum lk_err
sq_hub_put(struct lk_txn *tx, const struct lk_hub *h)
{
    static const char sql[] =
        "INSERT INTO hub (" HUB_COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"
        " ON CONFLICT (name) DO UPDATE"
        " SET kind = ?2, weight = ?3, allocatable = ?4, sealed_connection = ?5, region = ?7";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, h->name);
    sq_bind_int(q, 2, h->kind);
    sq_bind_int(q, 3, h->weight);
    sq_bind_int(q, 4, h->allocatable);
    sq_bind_blob(q, 5, h->sealed_connection.data, h->sealed_connection.len);
    sq_bind_int(q, 6, tx->now_ms);
    sq_bind_text(q, 7, h->region);
    return sq_run(q);
}

enum lk_err
sq_hub_get(struct lk_txn *tx, const char *name, struct lk_hub *ret)
{
    static const char sql[] = "SELECT " HUB_COLUMNS " FROM hub WHERE name = ?1";
    LK_AUTO(sq) struct sq *q = NULL;
    struct lk_hub h = {0};
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, name);
    if ((err = sq_step(q)) != LK_OK) {
        return err;
    }
    if ((err = hub_read(q, &h)) != LK_OK) {
        lk_hub_fini(&h);
        return err;
    }
    lk_hub_fini(ret);
    *ret = h;
    return LK_OK;
}

enum lk_err
sq_hub_delete(struct lk_txn *tx, const char *name)
{
    static const char sql[] = "DELETE FROM hub WHERE name = ?1";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, name);
    return sq_run_one(q, LK_ERR_NOT_FOUND);
}

enum lk_err
sq_hub_each(struct lk_txn *tx, enum lk_err (*each)(void *, const struct lk_hub *), void *ctx)
{
    static const char sql[] = "SELECT " HUB_COLUMNS " FROM hub ORDER BY name";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    while ((err = sq_step(q)) == LK_OK) {
        struct lk_hub h = {0};

        err = hub_read(q, &h);
        if (err == LK_OK) {
            err = each(ctx, &h);
        }
        lk_hub_fini(&h);
        if (err != LK_OK) {
            return err;
        }
    }
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

/* ---- Policies of embedded hubs ----------------------------------------------------------------
 */

#define HUB_POLICY_COLUMNS                                                                         \
    "hub, name, rights, sealed_primary, sealed_secondary, created_ms, updated_ms"

/* p is zeroed. */
static enum lk_err
hub_policy_read(struct sq *q, struct lk_hub_policy *p)
{
    sq_text(q, 0, p->hub, sizeof(p->hub));
    sq_text(q, 1, p->name, sizeof(p->name));
    p->rights = (unsigned)sq_int(q, 2) & LK_HUB_RIGHTS_ALL;
    sq_buf(q, 3, &p->sealed_primary);
    sq_buf(q, 4, &p->sealed_secondary);
    p->created_ms = sq_int(q, 5);
    p->updated_ms = sq_int(q, 6);
    return q->err;
}

enum lk_err
sq_hub_policy_put(struct lk_txn *tx, const struct lk_hub_policy *p)
{
    static const char sql[] =
        "INSERT INTO hub_policy (" HUB_POLICY_COLUMNS ")"
        " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?6 WHERE EXISTS (SELECT 1 FROM hub WHERE name = ?1)"
        " ON CONFLICT (hub, name) DO UPDATE"
        " SET rights = ?3, sealed_primary = ?4, sealed_secondary = ?5, updated_ms = ?6";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, p->hub);
    sq_bind_text(q, 2, p->name);
    sq_bind_int(q, 3, p->rights);
    sq_bind_blob(q, 4, p->sealed_primary.data, p->sealed_primary.len);
    sq_bind_blob(q, 5, p->sealed_secondary.data, p->sealed_secondary.len);
    sq_bind_int(q, 6, tx->now_ms);
    return sq_run_one(q, LK_ERR_NOT_FOUND);
}

enum lk_err
sq_hub_policy_get(struct lk_txn *tx, const char *hub, const char *name, struct lk_hub_policy *ret)
{
    static const char sql[] =
        "SELECT " HUB_POLICY_COLUMNS " FROM hub_policy WHERE hub = ?1 AND name = ?2";
    LK_AUTO(sq) struct sq *q = NULL;
    struct lk_hub_policy p = {.rights = 0};
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, hub);
    sq_bind_text(q, 2, name);
    if ((err = sq_step(q)) != LK_OK) {
        return err;
    }
    if ((err = hub_policy_read(q, &p)) != LK_OK) {
        lk_hub_policy_fini(&p);
        return err;
    }
    lk_hub_policy_fini(ret);
    *ret = p;
    return LK_OK;
}

enum lk_err
sq_hub_policy_delete(struct lk_txn *tx, const char *hub, const char *name)
{
    static const char sql[] = "DELETE FROM hub_policy WHERE hub = ?1 AND name = ?2";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, hub);
    sq_bind_text(q, 2, name);
    return sq_run_one(q, LK_ERR_NOT_FOUND);
}

enum lk_err
sq_hub_policy_each(struct lk_txn *tx, const char *hub,
                   enum lk_err (*each)(void *, const struct lk_hub_policy *), void *ctx)
{
    static const char sql[] =
        "SELECT " HUB_POLICY_COLUMNS " FROM hub_policy WHERE hub = ?1 ORDER BY name";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, hub);
    while ((err = sq_step(q)) == LK_OK) {
        struct lk_hub_policy p = {.rights = 0};

        err = hub_policy_read(q, &p);
        if (err == LK_OK) {
            err = each(ctx, &p);
        }
        lk_hub_policy_fini(&p);
        if (err != LK_OK) {
            return err;
        }
    }
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}
