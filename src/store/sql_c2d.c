/* What an embedded hub has for its devices and its broker: messages and events. */
#include "store/sql_int.h"

/* ---- Cloud-to-device messages -----------------------------------------------------------------
 */

enum lk_err
sq_c2d_insert(struct lk_txn *tx, struct lk_c2d *m)
{
    static const char sql[] =
        "INSERT INTO c2d (hub, device_id, enqueued_ms, expires_ms, locked_until_ms, lock,"
        " deliveries, properties, body) SELECT hub, device_id, ?3, ?4, ?5, ?6, ?7, ?8, ?9"
        " FROM identity WHERE hub = ?1 AND device_id = ?2 RETURNING seq";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, m->hub);
    sq_bind_text(q, 2, m->device_id);
    sq_bind_int(q, 3, m->enqueued_ms);
    sq_bind_int(q, 4, m->expires_ms);
    sq_bind_int(q, 5, m->locked_until_ms);
    sq_bind_text(q, 6, m->lock);
    sq_bind_int(q, 7, m->deliveries);
    sq_bind_blob(q, 8, m->properties.data, m->properties.len);
    sq_bind_blob(q, 9, m->body.data, m->body.len);
    if ((err = sq_step(q)) == LK_OK) {
        m->seq = sq_int(q, 0);
    }
    return err;
}

/* m is zeroed. */
static enum lk_err
c2d_read(struct sq *q, struct lk_c2d *m)
{
    m->seq = sq_int(q, 0);
    sq_text(q, 1, m->hub, sizeof(m->hub));
    sq_text(q, 2, m->device_id, sizeof(m->device_id));
    m->enqueued_ms = sq_int(q, 3);
    m->expires_ms = sq_int(q, 4);
    m->locked_until_ms = sq_int(q, 5);
    sq_text(q, 6, m->lock, sizeof(m->lock));
    m->deliveries = (uint32_t)sq_int(q, 7);
    sq_buf(q, 8, &m->properties);
    sq_buf(q, 9, &m->body);
    return q->err;
}

enum lk_err
sq_c2d_each(struct lk_txn *tx, const char *hub, const char *device_id,
            enum lk_err (*each)(void *, const struct lk_c2d *), void *ctx)
{
    static const char sql[] =
        "SELECT seq, hub, device_id, enqueued_ms, expires_ms, locked_until_ms, lock, deliveries,"
        " properties, body FROM c2d WHERE hub = ?1 AND device_id = ?2 ORDER BY seq";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, hub);
    sq_bind_text(q, 2, device_id);
    while ((err = sq_step(q)) == LK_OK) {
        struct lk_c2d m = {.seq = 0};

        err = c2d_read(q, &m);
        if (err == LK_OK) {
            err = each(ctx, &m);
        }
        lk_c2d_fini(&m);
        if (err != LK_OK) {
            return err;
        }
    }
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

enum lk_err
sq_c2d_update(struct lk_txn *tx, const struct lk_c2d *m)
{
    static const char sql[] =
        "UPDATE c2d SET lock = ?2, locked_until_ms = ?3, deliveries = ?4 WHERE seq = ?1";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_int(q, 1, m->seq);
    sq_bind_text(q, 2, m->lock);
    sq_bind_int(q, 3, m->locked_until_ms);
    sq_bind_int(q, 4, m->deliveries);
    return sq_run_one(q, LK_ERR_NOT_FOUND);
}

enum lk_err
sq_c2d_delete(struct lk_txn *tx, int64_t seq)
{
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, "DELETE FROM c2d WHERE seq = ?1", &q)) != LK_OK) {
        return err;
    }
    sq_bind_int(q, 1, seq);
    return sq_run_one(q, LK_ERR_NOT_FOUND);
}

enum lk_err
sq_c2d_count(struct lk_txn *tx, const char *hub, const char *device_id, uint32_t *ret)
{
    static const char sql[] = "SELECT count(*) FROM c2d WHERE hub = ?1 AND device_id = ?2";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, hub);
    sq_bind_text(q, 2, device_id);
    if ((err = sq_step(q)) == LK_OK) {
        *ret = (uint32_t)sq_int(q, 0);
    }
    return err;
}

enum lk_err
sq_c2d_devices(struct lk_txn *tx, const char *hub, const char *after, size_t limit,
               enum lk_err (*each)(void *, const char *device_id), void *ctx)
{
    static const char sql[] = "SELECT DISTINCT device_id FROM c2d WHERE hub = ?1 AND device_id > ?2"
                              " AND locked_until_ms <= ?3 ORDER BY device_id LIMIT ?4";
    char id[LK_DEVICE_ID_MAX + 1];
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, hub);
    sq_bind_text(q, 2, after);
    sq_bind_int(q, 3, tx->now_ms);
    sq_bind_int(q, 4, (int64_t)limit);
    while ((err = sq_step(q)) == LK_OK) {
        sq_text(q, 0, id, sizeof(id));
        if (q->err != LK_OK) {
            return q->err;
        }
        if ((err = each(ctx, id)) != LK_OK) {
            return err;
        }
    }
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

/* ---- Hub events -------------------------------------------------------------------------------
 */

enum lk_err
sq_hub_event_insert(struct lk_txn *tx, struct lk_hub_event *e)
{
    static const char sql[] =
        "INSERT INTO hub_event (kind, hub, device_id, detail) VALUES (?1, ?2, ?3, ?4)"
        " RETURNING seq";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_int(q, 1, e->kind);
    sq_bind_text(q, 2, e->hub);
    sq_bind_text(q, 3, e->device_id);
    sq_bind_blob(q, 4, e->detail.data, e->detail.len);
    if ((err = sq_step(q)) == LK_OK) {
        e->seq = sq_int(q, 0);
    }
    return err;
}

/* e is zeroed. */
static enum lk_err
hub_event_read(struct sq *q, struct lk_hub_event *e)
{
    e->seq = sq_int(q, 0);
    e->kind = (enum lk_hub_event_kind)sq_int(q, 1);
    sq_text(q, 2, e->hub, sizeof(e->hub));
    sq_text(q, 3, e->device_id, sizeof(e->device_id));
    sq_buf(q, 4, &e->detail);
    return q->err;
}

enum lk_err
sq_hub_event_each(struct lk_txn *tx, int64_t after_seq, size_t limit,
                  enum lk_err (*each)(void *, const struct lk_hub_event *), void *ctx)
{
    static const char sql[] = "SELECT seq, kind, hub, device_id, detail FROM hub_event"
                              " WHERE seq > ?1 ORDER BY seq LIMIT ?2";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_int(q, 1, after_seq);
    sq_bind_int(q, 2, (int64_t)limit);
    while ((err = sq_step(q)) == LK_OK) {
        struct lk_hub_event e = {.seq = 0};

        err = hub_event_read(q, &e);
        if (err == LK_OK) {
            err = each(ctx, &e);
        }
        lk_hub_event_fini(&e);
        if (err != LK_OK) {
            return err;
        }
    }
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

enum lk_err
sq_hub_event_marks(struct lk_txn *tx, int64_t *ret_last, int64_t *ret_pruned)
{
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, "SELECT last, pruned FROM hub_event_mark", &q)) != LK_OK) {
        return err;
    }
    if ((err = sq_step(q)) == LK_ERR_NOT_FOUND) {
        sq_corrupt(q); /* the schema put a row there */
        return LK_ERR_STORE;
    }
    if (err == LK_OK) {
        *ret_last = sq_int(q, 0);
        *ret_pruned = sq_int(q, 1);
    }
    return err;
}

enum lk_err
sq_hub_event_prune(struct lk_txn *tx, int64_t up_to_seq)
{
    static const char drop[] = "DELETE FROM hub_event WHERE seq <= ?1";
    static const char mark[] = "UPDATE hub_event_mark SET pruned ="
                               " CASE WHEN ?1 < last THEN ?1 ELSE last END"
                               " WHERE pruned < ?1 AND pruned < last";
    LK_AUTO(sq) struct sq *dropping = NULL;
    LK_AUTO(sq) struct sq *marking = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, drop, &dropping)) != LK_OK ||
        (err = sq_use(tx->conn, mark, &marking)) != LK_OK) {
        return err;
    }
    sq_bind_int(dropping, 1, up_to_seq);
    sq_bind_int(marking, 1, up_to_seq);
    err = sq_run(dropping);
    return err != LK_OK ? err : sq_run(marking);
}
