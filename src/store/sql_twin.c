/* Twins of embedded hubs: one for each identity. */
#include "store/sql_int.h"

#define TWIN_COLUMNS                                                                               \
    "i.hub, i.device_id, t.tags, t.desired, t.reported, t.desired_meta, t.reported_meta, "         \
    "t.desired_version, t.reported_version, t.version, t.etag, i.created_ms, t.updated_ms"
#define TWIN_FROM " FROM identity i JOIN twin t ON t.identity_nr = i.nr"

/* t is zeroed. */
static enum lk_err
twin_read(struct sq *q, struct lk_twin *t)
{
    sq_text(q, 0, t->hub, sizeof(t->hub));
    sq_text(q, 1, t->device_id, sizeof(t->device_id));
    sq_buf(q, 2, &t->tags);
    sq_buf(q, 3, &t->desired);
    sq_buf(q, 4, &t->reported);
    sq_buf(q, 5, &t->desired_meta);
    sq_buf(q, 6, &t->reported_meta);
    t->desired_version = sq_int(q, 7);
    t->reported_version = sq_int(q, 8);
    t->version = sq_int(q, 9);
    sq_text(q, 10, t->etag, sizeof(t->etag));
    t->created_ms = sq_int(q, 11);
    t->updated_ms = sq_int(q, 12);
    return q->err;
}

enum lk_err
sq_twin_get(struct lk_txn *tx, const char *hub, const char *device_id, struct lk_twin *ret)
{
    static const char sql[] =
        "SELECT " TWIN_COLUMNS TWIN_FROM " WHERE i.hub = ?1 AND i.device_id = ?2";
    LK_AUTO(sq) struct sq *q = NULL;
    struct lk_twin t = LK_TWIN_INIT;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, hub);
    sq_bind_text(q, 2, device_id);
    if ((err = sq_step(q)) != LK_OK) {
        return err;
    }
    if ((err = twin_read(q, &t)) != LK_OK) {
        lk_twin_fini(&t);
        return err;
    }
    lk_twin_fini(ret);
    *ret = t;
    return LK_OK;
}

enum lk_err
sq_twin_etag(struct lk_txn *tx, const char *hub, const char *device_id, char ret[LK_ETAG_CAP])
{
    static const char sql[] = "SELECT t.etag" TWIN_FROM " WHERE i.hub = ?1 AND i.device_id = ?2";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, hub);
    sq_bind_text(q, 2, device_id);
    if ((err = sq_step(q)) != LK_OK) {
        return err;
    }
    sq_text(q, 0, ret, LK_ETAG_CAP);
    return q->err;
}

enum lk_err
sq_twin_put(struct lk_txn *tx, const struct lk_twin *t)
{
    static const char sql[] =
        "INSERT INTO twin (identity_nr, tags, desired, reported, desired_meta, reported_meta,"
        " desired_version, reported_version, version, etag, updated_ms)"
        " SELECT nr, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12 FROM identity"
        " WHERE hub = ?1 AND device_id = ?2"
        " ON CONFLICT (identity_nr) DO UPDATE SET tags = ?3, desired = ?4, reported = ?5,"
        " desired_meta = ?6, reported_meta = ?7, desired_version = ?8, reported_version = ?9,"
        " version = ?10, etag = ?11, updated_ms = ?12";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, t->hub);
    sq_bind_text(q, 2, t->device_id);
    sq_bind_blob(q, 3, t->tags.data, t->tags.len);
    sq_bind_blob(q, 4, t->desired.data, t->desired.len);
    sq_bind_blob(q, 5, t->reported.data, t->reported.len);
    sq_bind_blob(q, 6, t->desired_meta.data, t->desired_meta.len);
    sq_bind_blob(q, 7, t->reported_meta.data, t->reported_meta.len);
    sq_bind_int(q, 8, t->desired_version);
    sq_bind_int(q, 9, t->reported_version);
    sq_bind_int(q, 10, t->version);
    sq_bind_text(q, 11, t->etag);
    sq_bind_int(q, 12, t->updated_ms);
    return sq_run_one(q, LK_ERR_NOT_FOUND);
}

enum lk_err
sq_twin_page(struct lk_txn *tx, const char *hub, const char *after, size_t limit,
             enum lk_err (*each)(void *, const struct lk_twin *), void *ctx)
{
    static const char sql[] = "SELECT " TWIN_COLUMNS TWIN_FROM
                              " WHERE i.hub = ?1 AND i.device_id > ?2 ORDER BY i.device_id"
                              " LIMIT ?3";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, hub);
    sq_bind_text(q, 2, after);
    sq_bind_int(q, 3, (int64_t)limit);
    while ((err = sq_step(q)) == LK_OK) {
        struct lk_twin t = LK_TWIN_INIT;

        err = twin_read(q, &t);
        if (err == LK_OK) {
            err = each(ctx, &t);
        }
        lk_twin_fini(&t);
        if (err != LK_OK) {
            return err;
        }
    }
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}
