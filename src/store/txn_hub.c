/* What embedded hubs keep, as every backend keeps it: etags and times are set, events appended. */
#include "store/sql_int.h"

#include <string.h>

static enum lk_err
event_append(struct lk_txn *tx, enum lk_hub_event_kind kind, const char *hub, const char *device_id)
{
    struct lk_hub_event e = {.kind = kind};
    enum lk_err err;

    if ((err = lk_strcpy(e.hub, sizeof(e.hub), hub)) != LK_OK ||
        (err = lk_strcpy(e.device_id, sizeof(e.device_id), device_id)) != LK_OK) {
        return err;
    }
    return sq_hub_event_insert(tx, &e);
}

/* ---- Identities -------------------------------------------------------------------------------
 */

enum lk_err
lk_txn_identity_get(struct lk_txn *tx, const char *hub, const char *device_id,
                    struct lk_identity *ret)
{
    return sq_identity_get(tx, hub, device_id, ret);
}

static enum lk_err
identity_check(const struct lk_txn *tx, const struct lk_identity *id)
{
    bool owned = id->owner_scope[0] != '\0';

    if (!tx->writable || id->hub[0] == '\0' || id->device_id[0] == '\0' ||
        id->primary_len > sizeof(id->primary) || id->secondary_len > sizeof(id->secondary) ||
        id->auth < LK_AUTH_SAS || id->auth > LK_AUTH_NONE || owned != (id->owner_id[0] != '\0')) {
        return LK_ERR_ARG;
    }
    return LK_OK;
}

/* old: what is there, NULL for nothing. */
static enum lk_err
etag_judge(const char *etag, const struct lk_identity *old)
{
    bool none_wanted = etag != NULL && etag[0] == '\0';

    if (old == NULL) {
        return etag == NULL || none_wanted ? LK_OK : LK_ERR_NOT_FOUND;
    }
    if (none_wanted) {
        return LK_ERR_EXISTS;
    }
    return store_etag_matches(etag, old->etag) ? LK_OK : LK_ERR_PRECONDITION;
}

/* With the twin that every identity has. */
static enum lk_err
identity_insert(struct lk_txn *tx, const struct lk_identity *id)
{
    struct lk_twin t = {
        .desired_version = 1, .reported_version = 1, .version = 1, .updated_ms = tx->now_ms};
    enum lk_err err;

    memcpy(t.hub, id->hub, sizeof(t.hub));
    memcpy(t.device_id, id->device_id, sizeof(t.device_id));
    if ((err = store_etag_make(t.etag)) != LK_OK || (err = sq_identity_insert(tx, id)) != LK_OK) {
        return err;
    }
    return sq_twin_put(tx, &t);
}

enum lk_err
lk_txn_identity_put(struct lk_txn *tx, struct lk_identity *id, const char *etag)
{
    struct lk_identity old;
    bool exists;
    enum lk_err err;

    if ((err = identity_check(tx, id)) != LK_OK) {
        return err;
    }
    err = sq_identity_get(tx, id->hub, id->device_id, &old);
    if (err != LK_OK && err != LK_ERR_NOT_FOUND) {
        return err;
    }
    exists = err == LK_OK;
    if ((err = etag_judge(etag, exists ? &old : NULL)) != LK_OK ||
        (err = store_etag_make(id->etag)) != LK_OK) {
        return err;
    }
    id->created_ms = exists ? old.created_ms : tx->now_ms;
    id->updated_ms = tx->now_ms;
    id->status_updated_ms = !exists                      ? 0
                            : old.enabled != id->enabled ? tx->now_ms
                                                         : old.status_updated_ms;
    err = exists ? sq_identity_update(tx, id) : identity_insert(tx, id);
    return err != LK_OK ? err : event_append(tx, LK_HUB_EVENT_IDENTITY, id->hub, id->device_id);
}

enum lk_err
lk_txn_identity_delete(struct lk_txn *tx, const char *hub, const char *device_id, const char *etag)
{
    struct lk_identity old;
    enum lk_err err;

    if (!tx->writable) {
        return LK_ERR_ARG;
    }
    if ((err = sq_identity_get(tx, hub, device_id, &old)) != LK_OK) {
        return err;
    }
    if (!store_etag_matches(etag, old.etag)) {
        return LK_ERR_PRECONDITION;
    }
    err = sq_identity_delete(tx, hub, device_id);
    return err != LK_OK ? err : event_append(tx, LK_HUB_EVENT_IDENTITY, hub, device_id);
}

enum lk_err
lk_txn_identity_page(struct lk_txn *tx, const char *hub, const char *after, size_t limit,
                     enum lk_err (*each)(void *, const struct lk_identity *), void *ctx)
{
    return sq_identity_page(tx, hub, after, limit, each, ctx);
}

enum lk_err
lk_txn_identity_count(struct lk_txn *tx, const char *hub, uint64_t *ret_total,
                      uint64_t *ret_disabled, uint64_t *ret_connected)
{
    struct store_count count = {0, 0, 0};
    enum lk_err err = sq_identity_count(tx, hub, &count);

    if (err != LK_OK && err != LK_ERR_NOT_FOUND) {
        return err;
    }
    *ret_total = count.total;
    *ret_disabled = count.disabled;
    *ret_connected = count.connected;
    return LK_OK;
}

/* ---- Presence ---------------------------------------------------------------------------------
 */

enum lk_err
lk_txn_presence_get(struct lk_txn *tx, const char *hub, const char *device_id,
                    struct lk_presence *ret)
{
    struct lk_presence found = {.connected = false};
    enum lk_err err = sq_presence_get(tx, hub, device_id, &found);

    if (err != LK_OK && err != LK_ERR_NOT_FOUND) {
        return err;
    }
    *ret = found;
    return LK_OK;
}

enum lk_err
lk_txn_presence_set(struct lk_txn *tx, const char *hub, const char *device_id, bool connected)
{
    struct lk_identity id;
    enum lk_err err;

    if (!tx->writable) {
        return LK_ERR_ARG;
    }
    if ((err = sq_identity_get(tx, hub, device_id, &id)) != LK_OK) {
        return err;
    }
    return connected ? sq_presence_connect(tx, hub, device_id)
                     : sq_presence_disconnect(tx, hub, device_id);
}

enum lk_err
lk_txn_presence_clear(struct lk_txn *tx, const char *hub)
{
    return tx->writable ? sq_presence_clear(tx, hub) : LK_ERR_ARG;
}

/* ---- Twins ------------------------------------------------------------------------------------
 */

void
lk_twin_fini(struct lk_twin *t)
{
    lk_buf_fini(&t->tags);
    lk_buf_fini(&t->desired);
    lk_buf_fini(&t->reported);
    lk_buf_fini(&t->desired_meta);
    lk_buf_fini(&t->reported_meta);
}

enum lk_err
lk_txn_twin_get(struct lk_txn *tx, const char *hub, const char *device_id, struct lk_twin *ret)
{
    return sq_twin_get(tx, hub, device_id, ret);
}

enum lk_err
lk_txn_twin_put(struct lk_txn *tx, struct lk_twin *t, const char *etag)
{
    char have[LK_ETAG_CAP];
    enum lk_err err;

    if (!tx->writable || t->hub[0] == '\0' || t->device_id[0] == '\0' || t->desired_version < 1 ||
        t->reported_version < 1 || t->version < 1) {
        return LK_ERR_ARG;
    }
    if ((err = sq_twin_etag(tx, t->hub, t->device_id, have)) != LK_OK) {
        return err;
    }
    if (!store_etag_matches(etag, have)) {
        return LK_ERR_PRECONDITION;
    }
    if ((err = store_etag_make(t->etag)) != LK_OK) {
        return err;
    }
    t->updated_ms = tx->now_ms;
    return sq_twin_put(tx, t);
}

enum lk_err
lk_txn_twin_page(struct lk_txn *tx, const char *hub, const char *after, size_t limit,
                 enum lk_err (*each)(void *, const struct lk_twin *), void *ctx)
{
    return sq_twin_page(tx, hub, after, limit, each, ctx);
}

/* ---- Cloud-to-device messages -----------------------------------------------------------------
 */

void
lk_c2d_fini(struct lk_c2d *m)
{
    lk_buf_fini(&m->properties);
    lk_buf_fini(&m->body);
}

enum lk_err
lk_txn_c2d_add(struct lk_txn *tx, struct lk_c2d *m)
{
    if (!tx->writable || m->hub[0] == '\0' || m->device_id[0] == '\0' ||
        m->properties.len > LK_C2D_PROPERTIES_MAX) {
        return LK_ERR_ARG;
    }
    m->enqueued_ms = tx->now_ms;
    return sq_c2d_insert(tx, m);
}

enum lk_err
lk_txn_c2d_each(struct lk_txn *tx, const char *hub, const char *device_id,
                enum lk_err (*each)(void *, const struct lk_c2d *), void *ctx)
{
    return sq_c2d_each(tx, hub, device_id, each, ctx);
}

enum lk_err
lk_txn_c2d_update(struct lk_txn *tx, const struct lk_c2d *m)
{
    return tx->writable ? sq_c2d_update(tx, m) : LK_ERR_ARG;
}

enum lk_err
lk_txn_c2d_delete(struct lk_txn *tx, int64_t seq)
{
    return tx->writable ? sq_c2d_delete(tx, seq) : LK_ERR_ARG;
}

enum lk_err
lk_txn_c2d_count(struct lk_txn *tx, const char *hub, const char *device_id, uint32_t *ret)
{
    return sq_c2d_count(tx, hub, device_id, ret);
}

enum lk_err
lk_txn_c2d_devices(struct lk_txn *tx, const char *hub, const char *after, size_t limit,
                   enum lk_err (*each)(void *, const char *device_id), void *ctx)
{
    return sq_c2d_devices(tx, hub, after, limit, each, ctx);
}

/* ---- Hub events -------------------------------------------------------------------------------
 */

void
lk_hub_event_fini(struct lk_hub_event *e)
{
    lk_buf_fini(&e->detail);
}

enum lk_err
lk_txn_hub_event_add(struct lk_txn *tx, struct lk_hub_event *e)
{
    if (!tx->writable || e->hub[0] == '\0' || e->device_id[0] == '\0' ||
        e->kind < LK_HUB_EVENT_IDENTITY || e->kind > LK_HUB_EVENT_C2D) {
        return LK_ERR_ARG;
    }
    if (e->detail.len > LK_HUB_EVENT_DETAIL_MAX) {
        return LK_ERR_LIMIT;
    }
    return sq_hub_event_insert(tx, e);
}

enum lk_err
lk_txn_hub_event_each(struct lk_txn *tx, int64_t after_seq, size_t limit,
                      enum lk_err (*each)(void *, const struct lk_hub_event *), void *ctx)
{
    return sq_hub_event_each(tx, after_seq, limit, each, ctx);
}

enum lk_err
lk_txn_hub_event_last(struct lk_txn *tx, int64_t *ret)
{
    int64_t pruned;

    return sq_hub_event_marks(tx, ret, &pruned);
}

enum lk_err
lk_txn_hub_event_pruned(struct lk_txn *tx, int64_t *ret)
{
    int64_t last;

    return sq_hub_event_marks(tx, &last, ret);
}

enum lk_err
lk_txn_hub_event_prune(struct lk_txn *tx, int64_t up_to_seq)
{
    return tx->writable ? sq_hub_event_prune(tx, up_to_seq) : LK_ERR_ARG;
}

/* ---- Policies ---------------------------------------------------------------------------------
 */

void
lk_hub_policy_fini(struct lk_hub_policy *p)
{
    lk_buf_fini(&p->sealed_primary);
    lk_buf_fini(&p->sealed_secondary);
}

enum lk_err
lk_txn_hub_policy_put(struct lk_txn *tx, const struct lk_hub_policy *p)
{
    if (!tx->writable || p->hub[0] == '\0' || p->name[0] == '\0' || p->rights == 0 ||
        (p->rights & ~LK_HUB_RIGHTS_ALL) != 0) {
        return LK_ERR_ARG;
    }
    return sq_hub_policy_put(tx, p);
}

enum lk_err
lk_txn_hub_policy_get(struct lk_txn *tx, const char *hub, const char *name,
                      struct lk_hub_policy *ret)
{
    return sq_hub_policy_get(tx, hub, name, ret);
}

enum lk_err
lk_txn_hub_policy_delete(struct lk_txn *tx, const char *hub, const char *name)
{
    return tx->writable ? sq_hub_policy_delete(tx, hub, name) : LK_ERR_ARG;
}

enum lk_err
lk_txn_hub_policy_each(struct lk_txn *tx, const char *hub,
                       enum lk_err (*each)(void *, const struct lk_hub_policy *), void *ctx)
{
    return sq_hub_policy_each(tx, hub, each, ctx);
}
