/* Identities of embedded hubs, how many there are, and whether they are connected. */
#include "store/sql_int.h"

#define IDENTITY_COLUMNS                                                                           \
    "hub, device_id, owner_scope, owner_id, generation_id, enabled, auth, primary_key, "           \
    "secondary_key, secondary_retires, thumbprint_primary, thumbprint_secondary, iot_edge, "       \
    "status_reason, status_updated_ms, etag, created_ms, updated_ms"

static enum lk_err
identity_read(struct sq *q, struct lk_identity *id)
{
    sq_text(q, 0, id->hub, sizeof(id->hub));
    sq_text(q, 1, id->device_id, sizeof(id->device_id));
    sq_text(q, 2, id->owner_scope, sizeof(id->owner_scope));
    sq_text(q, 3, id->owner_id, sizeof(id->owner_id));
    sq_text(q, 4, id->generation_id, sizeof(id->generation_id));
    id->enabled = sq_int(q, 5) != 0;
    id->auth = (enum lk_identity_auth)sq_int(q, 6);
    sq_blob(q, 7, id->primary, sizeof(id->primary), &id->primary_len);
    sq_blob(q, 8, id->secondary, sizeof(id->secondary), &id->secondary_len);
    id->secondary_retires = sq_int(q, 9) != 0;
    sq_text(q, 10, id->thumbprints[0], sizeof(id->thumbprints[0]));
    sq_text(q, 11, id->thumbprints[1], sizeof(id->thumbprints[1]));
    id->iot_edge = sq_int(q, 12) != 0;
    sq_text(q, 13, id->status_reason, sizeof(id->status_reason));
    id->status_updated_ms = sq_int(q, 14);
    sq_text(q, 15, id->etag, sizeof(id->etag));
    id->created_ms = sq_int(q, 16);
    id->updated_ms = sq_int(q, 17);
    return q->err;
}

/* A statement whose first parameters are hub and device id. */
static enum lk_err
device_use(struct lk_txn *tx, const char *sql, const char *hub, const char *device_id,
           struct sq **ret)
{
    enum lk_err err = sq_use(tx->conn, sql, ret);

    if (err == LK_OK) {
        sq_bind_text(*ret, 1, hub);
        sq_bind_text(*ret, 2, device_id);
    }
    return err;
}

enum lk_err
sq_identity_get(struct lk_txn *tx, const char *hub, const char *device_id, struct lk_identity *ret)
{
    static const char sql[] =
        "SELECT " IDENTITY_COLUMNS " FROM identity WHERE hub = ?1 AND device_id = ?2";
    LK_AUTO(sq) struct sq *q = NULL;
    struct lk_identity id = {0};
    enum lk_err err;

    if ((err = device_use(tx, sql, hub, device_id, &q)) != LK_OK) {
        return err;
    }
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

    if ((err = device_use(tx, sql, id->hub, id->device_id, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 3, id->owner_scope);
    sq_bind_text(q, 4, id->owner_id);
    sq_bind_text(q, 5, id->generation_id);
    sq_bind_int(q, 6, id->enabled);
    sq_bind_int(q, 7, id->auth);
    sq_bind_blob(q, 8, id->primary, id->primary_len);
    sq_bind_blob(q, 9, id->secondary, id->secondary_len);
    sq_bind_int(q, 10, id->secondary_retires);
    sq_bind_text(q, 11, id->thumbprints[0]);
    sq_bind_text(q, 12, id->thumbprints[1]);
    sq_bind_int(q, 13, id->iot_edge);
    sq_bind_text(q, 14, id->status_reason);
    sq_bind_int(q, 15, id->status_updated_ms);
    sq_bind_text(q, 16, id->etag);
    sq_bind_int(q, 17, id->created_ms);
    sq_bind_int(q, 18, id->updated_ms);
    return sq_run(q);
}

enum lk_err
sq_identity_insert(struct lk_txn *tx, const struct lk_identity *id)
{
    static const char sql[] =
        "INSERT INTO identity (" IDENTITY_COLUMNS ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9,"
        " ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)";

    return identity_write(tx, sql, id);
}

enum lk_err
sq_identity_update(struct lk_txn *tx, const struct lk_identity *id)
{
    static const char sql[] =
        "UPDATE identity SET owner_scope = ?3, owner_id = ?4, generation_id = ?5, enabled = ?6,"
        " auth = ?7, primary_key = ?8, secondary_key = ?9, secondary_retires = ?10,"
        " thumbprint_primary = ?11, thumbprint_secondary = ?12, iot_edge = ?13,"
        " status_reason = ?14, status_updated_ms = ?15, etag = ?16, created_ms = ?17,"
        " updated_ms = ?18 WHERE hub = ?1 AND device_id = ?2";

    return identity_write(tx, sql, id);
}

enum lk_err
sq_identity_delete(struct lk_txn *tx, const char *hub, const char *device_id)
{
    /* Foreign keys take twin, presence and messages along. */
    static const char sql[] = "DELETE FROM identity WHERE hub = ?1 AND device_id = ?2";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err = device_use(tx, sql, hub, device_id, &q);

    return err != LK_OK ? err : sq_run(q);
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

    if ((err = device_use(tx, sql, hub, after, &q)) != LK_OK) {
        return err;
    }
    sq_bind_int(q, 3, (int64_t)limit);
    while ((err = sq_step(q)) == LK_OK) {
        if ((err = identity_read(q, &id)) != LK_OK || (err = each(ctx, &id)) != LK_OK) {
            return err;
        }
    }
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

enum lk_err
sq_identity_count(struct lk_txn *tx, const char *hub, struct store_count *ret)
{
    static const char sql[] =
        "SELECT total, disabled, connected FROM identity_count WHERE hub = ?1";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, hub);
    if ((err = sq_step(q)) == LK_OK) {
        ret->total = (uint64_t)sq_int(q, 0);
        ret->disabled = (uint64_t)sq_int(q, 1);
        ret->connected = (uint64_t)sq_int(q, 2);
    }
    return err;
}

/* ---- Presence ---------------------------------------------------------------------------------
 */

enum lk_err
sq_presence_get(struct lk_txn *tx, const char *hub, const char *device_id, struct lk_presence *ret)
{
    static const char sql[] = "SELECT connected, changed_ms, activity_ms FROM presence"
                              " WHERE hub = ?1 AND device_id = ?2";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = device_use(tx, sql, hub, device_id, &q)) != LK_OK) {
        return err;
    }
    if ((err = sq_step(q)) == LK_OK) {
        ret->connected = sq_int(q, 0) != 0;
        ret->changed_ms = sq_int(q, 1);
        ret->activity_ms = sq_int(q, 2);
    }
    return err;
}

enum lk_err
sq_presence_connect(struct lk_txn *tx, const char *hub, const char *device_id)
{
    static const char sql[] =
        "INSERT INTO presence (hub, device_id, connected, changed_ms, activity_ms)"
        " SELECT hub, device_id, 1, ?3, ?3 FROM identity WHERE hub = ?1 AND device_id = ?2"
        " ON CONFLICT (hub, device_id) DO UPDATE SET connected = 1, activity_ms = ?3,"
        " changed_ms = CASE WHEN presence.connected <> 0 THEN presence.changed_ms ELSE ?3 END";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = device_use(tx, sql, hub, device_id, &q)) != LK_OK) {
        return err;
    }
    sq_bind_int(q, 3, tx->now_ms);
    return sq_run(q);
}

enum lk_err
sq_presence_disconnect(struct lk_txn *tx, const char *hub, const char *device_id)
{
    static const char sql[] = "UPDATE presence SET connected = 0, changed_ms = ?3"
                              " WHERE hub = ?1 AND device_id = ?2 AND connected <> 0";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = device_use(tx, sql, hub, device_id, &q)) != LK_OK) {
        return err;
    }
    sq_bind_int(q, 3, tx->now_ms);
    return sq_run(q);
}

enum lk_err
sq_presence_clear(struct lk_txn *tx, const char *hub)
{
    static const char sql[] = "UPDATE presence INDEXED BY presence_connected SET connected = 0,"
                              " changed_ms = ?2 WHERE hub = ?1 AND connected <> 0";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, hub);
    sq_bind_int(q, 2, tx->now_ms);
    return sq_run(q);
}
