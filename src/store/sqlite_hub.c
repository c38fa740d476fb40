/* ID scopes, linked hubs, and identities of embedded hubs. */
#include "store/sqlite_int.h"

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
    static const char sql[] = "INSERT INTO scope (id, created_ms) VALUES (?1, ?2)";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, s->id);
    sq_bind_int(q, 2, s->created_ms);
    return sq_run(q);
}

enum lk_err
sq_scope_update(struct lk_txn *tx, const struct lk_scope *s)
{
    static const char sql[] = "UPDATE scope SET service_host = ?2, allocation = ?3 WHERE id = ?1";
    LK_AUTO(sq) struct sq *q = NULL;
    int rows;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, s->id);
    sq_bind_text(q, 2, s->service_host);
    sq_bind_int(q, 3, s->allocation);
    if ((err = sq_change(q, &rows)) != LK_OK) {
        return err;
    }
    return rows == 1 ? LK_OK : LK_ERR_NOT_FOUND;
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
    int rows;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, name);
    if ((err = sq_change(q, &rows)) != LK_OK) {
        return err;
    }
    return rows == 1 ? LK_OK : LK_ERR_NOT_FOUND;
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

/* ---- Identities -------------------------------------------------------------------------------
 */

#define IDENTITY_COLUMNS                                                                           \
    "hub, device_id, generation_id, enabled, primary_key, secondary_key, secondary_retires, "      \
    "etag, created_ms, updated_ms"

static enum lk_err
identity_read(struct sq *q, struct lk_identity *id)
{
    sq_text(q, 0, id->hub, sizeof(id->hub));
    sq_text(q, 1, id->device_id, sizeof(id->device_id));
    sq_text(q, 2, id->generation_id, sizeof(id->generation_id));
    id->enabled = sq_int(q, 3) != 0;
    sq_blob(q, 4, id->primary, sizeof(id->primary), &id->primary_len);
    sq_blob(q, 5, id->secondary, sizeof(id->secondary), &id->secondary_len);
    id->secondary_retires = sq_int(q, 6) != 0;
    sq_text(q, 7, id->etag, sizeof(id->etag));
    id->created_ms = sq_int(q, 8);
    id->updated_ms = sq_int(q, 9);
    return q->err;
}

enum lk_err
sq_identity_get(struct lk_txn *tx, const char *hub, const char *device_id, struct lk_identity *ret)
{
    static const char sql[] =
        "SELECT " IDENTITY_COLUMNS " FROM identity WHERE hub = ?1 AND device_id = ?2";
    LK_AUTO(sq) struct sq *q = NULL;
    struct lk_identity id = {0};
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, hub);
    sq_bind_text(q, 2, device_id);
    if ((err = sq_step(q)) != LK_OK || (err = identity_read(q, &id)) != LK_OK) {
        return err;
    }
    *ret = id;
    return LK_OK;
}

static enum lk_err
identity_write(struct lk_txn *tx, const char *sql, const struct lk_identity *id)
{
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, id->hub);
    sq_bind_text(q, 2, id->device_id);
    sq_bind_text(q, 3, id->generation_id);
    sq_bind_int(q, 4, id->enabled);
    sq_bind_blob(q, 5, id->primary, id->primary_len);
    sq_bind_blob(q, 6, id->secondary, id->secondary_len);
    sq_bind_int(q, 7, id->secondary_retires);
    sq_bind_text(q, 8, id->etag);
    sq_bind_int(q, 9, id->created_ms);
    sq_bind_int(q, 10, id->updated_ms);
    return sq_run(q);
}

enum lk_err
sq_identity_insert(struct lk_txn *tx, const struct lk_identity *id)
{
    static const char sql[] = "INSERT INTO identity (" IDENTITY_COLUMNS ")"
                              " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

    return identity_write(tx, sql, id);
}

enum lk_err
sq_identity_update(struct lk_txn *tx, const struct lk_identity *id)
{
    static const char sql[] =
        "UPDATE identity SET generation_id = ?3, enabled = ?4, primary_key = ?5,"
        " secondary_key = ?6, secondary_retires = ?7, etag = ?8, created_ms = ?9, updated_ms = ?10"
        " WHERE hub = ?1 AND device_id = ?2";

    return identity_write(tx, sql, id);
}

enum lk_err
sq_identity_delete(struct lk_txn *tx, const char *hub, const char *device_id)
{
    static const char sql[] = "DELETE FROM identity WHERE hub = ?1 AND device_id = ?2";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, hub);
    sq_bind_text(q, 2, device_id);
    return sq_run(q);
}

enum lk_err
sq_identity_page(struct lk_txn *tx, const char *hub, const char *after, size_t limit,
                 enum lk_err (*each)(void *, const struct lk_identity *), void *ctx)
{
    static const char sql[] = "SELECT " IDENTITY_COLUMNS " FROM identity"
                              " WHERE hub = ?1 AND device_id > ?2 ORDER BY device_id LIMIT ?3";
    LK_AUTO(sq) struct sq *q = NULL;
    struct lk_identity id = {0};
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, hub);
    sq_bind_text(q, 2, after);
    sq_bind_int(q, 3, (int64_t)limit);
    while ((err = sq_step(q)) == LK_OK) {
        if ((err = identity_read(q, &id)) != LK_OK || (err = each(ctx, &id)) != LK_OK) {
            return err;
        }
    }
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}
