/*
 * Changes of twins, and how they are shown. A section's metadata has the shape of the section: an
 * object with "$lastUpdated" for each member that there is, at any depth.
 */
#include "hub/twin.h"

#include <string.h>

#include "base/codec.h"
#include "hub/hub_int.h"

/* What a change writes into metadata. */
struct stamp {
    char time[LK_TIMESTAMP_CAP];
    int64_t version; /* of the section; 0: not told (reported properties) */
};

/* ---- JSON pieces; all return LK_ERR_NOMEM or LK_OK --------------------------------------------
 */

static enum lk_err
member_set(json_t *object, const char *name, json_t *value)
{
    return json_object_set_new(object, name, value) == 0 ? LK_OK : LK_ERR_NOMEM;
}

/* The member, made when it is not there or no object. NULL: out of memory. Borrowed. */
static json_t *
member_object(json_t *object, const char *name)
{
    json_t *have = json_object_get(object, name);

    if (json_is_object(have)) {
        return have;
    }
    return member_set(object, name, json_object()) == LK_OK ? json_object_get(object, name) : NULL;
}

/* {} for nothing. */
static enum lk_err
object_read(const struct lk_buf *text, json_t **ret)
{
    enum lk_err err;

    if (text->len == 0) {
        *ret = json_object();
        return *ret != NULL ? LK_OK : LK_ERR_NOMEM;
    }
    err = lk_json_parse(text->data, text->len, false, NULL, ret);
    return err == LK_ERR_FORMAT ? LK_ERR_STORE : err; /* not what was written there */
}

/* Nothing for {}. */
static enum lk_err
object_write(const json_t *object, struct lk_buf *ret)
{
    lk_buf_reset(ret);
    return json_object_size(object) == 0 ? LK_OK : lk_json_write(object, ret);
}

/* ---- merging ----------------------------------------------------------------------------------
 */

static enum lk_err
meta_stamp(json_t *meta, const struct stamp *s)
{
    enum lk_err err = member_set(meta, "$lastUpdated", json_string(s->time));

    if (err != LK_OK || s->version == 0) {
        return err;
    }
    return member_set(meta, "$lastUpdatedVersion", json_integer(s->version));
}

static enum lk_err object_merge(json_t *target, json_t *meta, const json_t *patch,
                                const struct stamp *s, bool top);

static enum lk_err
member_merge(json_t *target, json_t *meta, const char *name, json_t *value, const struct stamp *s)
{
    bool merges = json_is_object(value) && json_is_object(json_object_get(target, name));
    json_t *inner, *inner_meta;
    enum lk_err err;

    if (!merges) {
        (void)json_object_del(target, name); /* these fail when it is not there */
        (void)json_object_del(meta, name);
    }
    if (json_is_null(value)) {
        return LK_OK;
    }
    if ((inner_meta = member_object(meta, name)) == NULL) {
        return LK_ERR_NOMEM;
    }
    if (json_is_object(value)) {
        inner = member_object(target, name);
        return inner != NULL ? object_merge(inner, inner_meta, value, s, false) : LK_ERR_NOMEM;
    }
    if ((err = meta_stamp(inner_meta, s)) != LK_OK) {
        return err;
    }
    return member_set(target, name, json_incref(value));
}

/* RFC 7396, with what it means for the metadata. Depth is bounded: patch was judged. */
static enum lk_err
object_merge(json_t *target, json_t *meta, const json_t *patch, const struct stamp *s, bool top)
{
    enum lk_err err = meta_stamp(meta, s);

    for (void *at = json_object_iter((json_t *)patch); at != NULL && err == LK_OK;
         at = json_object_iter_next((json_t *)patch, at)) {
        const char *name = json_object_iter_key(at);

        if (!top || !lk_twin_member_ours(name)) {
            err = member_merge(target, meta, name, json_object_iter_value(at), s);
        }
    }
    return err;
}

/* Add a null to patch for each member of old that is not in now, at any depth. */
static enum lk_err
nulls_add(json_t *patch, const json_t *old)
{
    enum lk_err err = LK_OK;

    for (void *at = json_object_iter((json_t *)old); at != NULL && err == LK_OK;
         at = json_object_iter_next((json_t *)old, at)) {
        const char *name = json_object_iter_key(at);
        json_t *now = json_object_get(patch, name), *was = json_object_iter_value(at);

        if (now == NULL) {
            err = member_set(patch, name, json_null());
        } else if (json_is_object(now) && json_is_object(was)) {
            err = nulls_add(now, was);
        }
    }
    return err;
}

/* ---- one section ------------------------------------------------------------------------------
 */

/* A section under change. texts are the twin's own. */
struct section {
    enum lk_twin_section which;
    const json_t *patch;
    struct lk_buf *text, *meta; /* meta NULL: the section has none */
    struct stamp stamp;
};

/* What a device makes of a desired section that it knew as old, to become now: a merge patch. */
static enum lk_err
push_write(const struct section *c, enum lk_twin_change how, const json_t *old, const json_t *now,
           struct lk_buf *ret)
{
    LK_AUTO(json)
    json_t *push =
        how == LK_TWIN_MERGE ? json_copy((json_t *)c->patch) : json_deep_copy((json_t *)now);
    enum lk_err err;

    if (push == NULL) {
        return LK_ERR_NOMEM;
    }
    (void)json_object_del(push, "$metadata"); /* fails when it is not there */
    if ((how == LK_TWIN_REPLACE && (err = nulls_add(push, old)) != LK_OK) ||
        (err = member_set(push, "$version", json_integer(c->stamp.version))) != LK_OK) {
        return err;
    }
    return lk_json_write(push, ret);
}

static enum lk_err
section_change(struct section *c, enum lk_twin_change how, struct lk_buf *push,
               char error[LK_TWIN_ERROR_CAP])
{
    static const struct lk_buf nothing = LK_BUF_INIT;
    bool merges = how == LK_TWIN_MERGE;
    LK_AUTO(json) json_t *old = NULL;
    LK_AUTO(json) json_t *now = NULL;
    LK_AUTO(json) json_t *meta = NULL;
    enum lk_err err;

    if ((err = lk_twin_judge(c->which, c->patch, error)) != LK_OK ||
        (err = object_read(c->text, &old)) != LK_OK ||
        (err = object_read(merges ? c->text : &nothing, &now)) != LK_OK ||
        (err = object_read(merges && c->meta != NULL ? c->meta : &nothing, &meta)) != LK_OK ||
        (err = object_merge(now, meta, c->patch, &c->stamp, true)) != LK_OK ||
        (err = object_write(now, c->text)) != LK_OK ||
        (c->meta != NULL && (err = object_write(meta, c->meta)) != LK_OK) ||
        (err = lk_twin_size_judge(c->which, c->text->len, error)) != LK_OK) {
        return err;
    }
    return push != NULL ? push_write(c, how, old, now, push) : LK_OK;
}

/* ---- the twin ---------------------------------------------------------------------------------
 */

enum lk_err
lk_twin_apply(struct lk_twin *t, const struct lk_twin_patch *p, int64_t now_ms, struct lk_buf *push,
              char error[LK_TWIN_ERROR_CAP])
{
    struct section tags = {.which = LK_TWIN_TAGS, .patch = p->tags, .text = &t->tags};
    struct section desired = {.which = LK_TWIN_DESIRED,
                              .patch = p->desired,
                              .text = &t->desired,
                              .meta = &t->desired_meta,
                              .stamp = {.version = t->desired_version + 1}};
    struct section reported = {.which = LK_TWIN_REPORTED,
                               .patch = p->reported,
                               .text = &t->reported,
                               .meta = &t->reported_meta};
    enum lk_err err;

    lk_timestamp_format(now_ms, desired.stamp.time);
    memcpy(reported.stamp.time, desired.stamp.time, sizeof(reported.stamp.time));
    if ((p->tags != NULL && (err = section_change(&tags, p->how, NULL, error)) != LK_OK) ||
        (p->desired != NULL && (err = section_change(&desired, p->how, push, error)) != LK_OK) ||
        (p->reported != NULL && (err = section_change(&reported, p->how, NULL, error)) != LK_OK)) {
        return err;
    }
    t->desired_version += p->desired != NULL;
    t->reported_version += p->reported != NULL;
    t->version++;
    return LK_OK;
}

static enum lk_err
twin_store(struct lk_txn *tx, struct lk_twin *t, struct lk_buf *push)
{
    struct lk_hub_event e = {.kind = LK_HUB_EVENT_DESIRED};
    enum lk_err err = lk_txn_twin_put(tx, t, NULL);

    if (err != LK_OK || push->len == 0) {
        return err;
    }
    memcpy(e.hub, t->hub, sizeof(e.hub));
    memcpy(e.device_id, t->device_id, sizeof(e.device_id));
    lk_buf_move(&e.detail, push);
    err = lk_txn_hub_event_add(tx, &e);
    lk_hub_event_fini(&e);
    return err;
}

static enum lk_err
twin_change(struct lk_txn *tx, const struct lk_twin_patch *patch, const char *etag,
            struct lk_twin *t, char error[LK_TWIN_ERROR_CAP])
{
    LK_AUTO_BUF struct lk_buf push = LK_BUF_INIT;
    bool any = patch->tags != NULL || patch->desired != NULL || patch->reported != NULL;
    enum lk_err err;

    if (etag != NULL && strcmp(etag, "*") != 0 && strcmp(etag, t->etag) != 0) {
        return LK_ERR_PRECONDITION;
    }
    if (!any) {
        return LK_OK;
    }
    err = lk_twin_apply(t, patch, lk_txn_now_ms(tx), &push, error);
    return err != LK_OK ? err : twin_store(tx, t, &push);
}

enum lk_err
lk_twin_change(struct lk_txn *tx, const char *hub, const char *device_id,
               const struct lk_twin_patch *patch, const char *etag, struct lk_twin *ret,
               char error[LK_TWIN_ERROR_CAP])
{
    struct lk_twin t = LK_TWIN_INIT;
    enum lk_err err;

    error[0] = '\0';
    if ((err = lk_txn_twin_get(tx, hub, device_id, &t)) == LK_OK) {
        err = twin_change(tx, patch, etag, &t, error);
    }
    if (err == LK_OK && ret != NULL) {
        lk_twin_fini(ret);
        *ret = t;
        return LK_OK;
    }
    lk_twin_fini(&t);
    return err;
}

enum lk_err
lk_twin_begin(struct lk_txn *tx, const char *hub, const char *device_id,
              const struct lk_twin_patch *patch, char error[LK_TWIN_ERROR_CAP])
{
    const struct lk_twin_patch whole = {
        .tags = patch->tags, .desired = patch->desired, .how = LK_TWIN_REPLACE};
    LK_AUTO_BUF struct lk_buf unsaid = LK_BUF_INIT; /* there is no session to hear it */
    struct lk_twin t = LK_TWIN_INIT;
    enum lk_err err;

    error[0] = '\0';
    if ((err = lk_txn_twin_get(tx, hub, device_id, &t)) == LK_OK) {
        t.desired_version = 0; /* both are 1 again after the change */
        t.version = 0;
        err = lk_twin_apply(&t, &whole, lk_txn_now_ms(tx), &unsaid, error);
        t.desired_version = 1;
    }
    if (err == LK_OK) {
        err = lk_txn_twin_put(tx, &t, NULL);
    }
    lk_twin_fini(&t);
    return err;
}

/* ---- how it is shown --------------------------------------------------------------------------
 */

/* A section with "$version", and with "$metadata" unless meta is NULL. */
static enum lk_err
section_show(const struct lk_buf *text, const struct lk_buf *meta, int64_t version,
             int64_t created_ms, json_t **ret)
{
    LK_AUTO(json) json_t *section = NULL;
    LK_AUTO(json) json_t *metadata = NULL;
    struct stamp made = {.version = 0};
    enum lk_err err;

    if ((err = object_read(text, &section)) != LK_OK) {
        return err;
    }
    if (meta != NULL) {
        lk_timestamp_format(created_ms, made.time);
        if ((err = object_read(meta, &metadata)) != LK_OK ||
            (json_object_size(metadata) == 0 && (err = meta_stamp(metadata, &made)) != LK_OK) ||
            (err = member_set(section, "$metadata", json_take(&metadata))) != LK_OK) {
            return err;
        }
    }
    if ((err = member_set(section, "$version", json_integer(version))) == LK_OK) {
        *ret = json_take(&section);
    }
    return err;
}

/* Both sections of properties, with metadata when asked for. */
static enum lk_err
properties_show(const struct lk_twin *t, bool metadata, json_t **ret)
{
    LK_AUTO(json) json_t *both = json_object();
    json_t *desired = NULL, *reported = NULL;
    enum lk_err err;

    if (both == NULL) {
        return LK_ERR_NOMEM;
    }
    if ((err = section_show(&t->desired, metadata ? &t->desired_meta : NULL, t->desired_version,
                            t->created_ms, &desired)) != LK_OK ||
        (err = member_set(both, "desired", desired)) != LK_OK ||
        (err = section_show(&t->reported, metadata ? &t->reported_meta : NULL, t->reported_version,
                            t->created_ms, &reported)) != LK_OK ||
        (err = member_set(both, "reported", reported)) != LK_OK) {
        return err;
    }
    *ret = json_take(&both);
    return LK_OK;
}

enum lk_err
lk_twin_properties(const struct lk_twin *t, json_t **ret)
{
    return properties_show(t, true, ret);
}

enum lk_err
lk_twin_for_device(const struct lk_twin *t, struct lk_buf *ret)
{
    LK_AUTO(json) json_t *both = NULL;
    enum lk_err err = properties_show(t, false, &both);

    return err != LK_OK ? err : lk_json_write(both, ret);
}
