#include "provision/linked_hub.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/codec.h"
#include "provision/allocation.h"

enum lk_err
lk_hub_name_parse(const char *text, char ret[LK_HOST_NAME_MAX + 1])
{
    if (!lk_host_name_ok(text, strlen(text)) || strchr(text, '.') == NULL ||
        lk_strcpy(ret, LK_HOST_NAME_MAX + 1, text) != LK_OK) {
        return LK_ERR_FORMAT;
    }
    lk_ascii_lower(ret);
    return LK_OK;
}

/* Append the record. members ("\"a\":1,\"b\":2") are numbers and words of ours, host names and
 * regions: nothing in them needs an escape. */
static enum lk_err
audit(struct lk_txn *tx, const struct lk_hub_author *by, const char *action, const char *hub,
      const char *members)
{
    LK_AUTO_BUF struct lk_buf detail = LK_BUF_INIT;
    enum lk_err err = LK_OK;

    if (by->request_id != NULL) {
        err = lk_buf_printf(&detail, "{\"requestId\":\"%s\",", by->request_id);
    } else {
        err = lk_buf_puts(&detail, "{");
    }
    if (err != LK_OK || (err = lk_buf_printf(&detail, "%s}", members)) != LK_OK) {
        return err;
    }
    return lk_buf_text(&detail) == NULL
               ? LK_ERR_NOMEM
               : lk_txn_audit_append(tx, by->actor, action, "", hub, lk_buf_text(&detail));
}

/* ---- add and change ---------------------------------------------------------------------------
 */

static enum lk_err
count_each(void *ctx, const struct lk_hub *hub)
{
    (void)hub;
    ++*(size_t *)ctx;
    return LK_OK;
}

static enum lk_err
place_check(struct lk_txn *tx, const char *name)
{
    struct lk_hub there = {.weight = 0};
    size_t count = 0;
    enum lk_err err = lk_txn_hub_get(tx, name, &there);

    lk_hub_fini(&there);
    if (err != LK_ERR_NOT_FOUND) {
        return err == LK_OK ? LK_ERR_EXISTS : err;
    }
    err = lk_txn_hub_each(tx, count_each, &count);
    return err == LK_OK && count >= LK_LINKED_HUBS_MAX ? LK_ERR_LIMIT : err;
}

enum lk_err
lk_linked_hub_add(struct lk_txn *tx, const struct lk_hub_author *by, const struct lk_hub *hub)
{
    char members[96 + LK_REGION_MAX];
    enum lk_err err;

    if ((err = place_check(tx, hub->name)) != LK_OK || (err = lk_txn_hub_put(tx, hub)) != LK_OK) {
        return err;
    }
    (void)snprintf(members, sizeof(members),
                   "\"kind\":\"%s\",\"weight\":%u,\"allocatable\":%s,\"region\":\"%s\"",
                   hub->kind == LK_HUB_HTTP ? "http" : "embedded", hub->weight,
                   hub->allocatable ? "true" : "false", hub->region);
    return audit(tx, by, "hub.add", hub->name, members);
}

static enum lk_err
connection_set(struct lk_hub *hub, const struct lk_buf *sealed)
{
    if (hub->kind != LK_HUB_HTTP) {
        return LK_ERR_ARG;
    }
    lk_buf_reset(&hub->sealed_connection);
    return lk_buf_put(&hub->sealed_connection, sealed->data, sealed->len);
}

static enum lk_err
change_put(struct lk_txn *tx, const struct lk_hub_change *change, struct lk_hub *hub)
{
    enum lk_err err = LK_OK;

    if (change->sealed_connection != NULL) {
        err = connection_set(hub, change->sealed_connection);
    }
    if (err == LK_OK && change->region != NULL) {
        err = lk_strcpy(hub->region, sizeof(hub->region), change->region);
    }
    if (err != LK_OK) {
        return err;
    }
    hub->weight = change->weight != 0 ? change->weight : hub->weight;
    hub->allocatable = change->has_allocatable ? change->allocatable : hub->allocatable;
    return lk_txn_hub_put(tx, hub);
}

enum lk_err
lk_linked_hub_change(struct lk_txn *tx, const struct lk_hub_author *by, const char *name,
                     const struct lk_hub_change *change, struct lk_hub *ret)
{
    char members[128 + LK_REGION_MAX];
    enum lk_err err = lk_txn_hub_get(tx, name, ret);

    if (err != LK_OK || (err = change_put(tx, change, ret)) != LK_OK) {
        return err;
    }
    (void)snprintf(members, sizeof(members),
                   "\"weight\":%u,\"allocatable\":%s,\"region\":\"%s\",\"connection\":%s",
                   ret->weight, ret->allocatable ? "true" : "false", ret->region,
                   change->sealed_connection != NULL ? "true" : "false");
    return audit(tx, by, "hub.set", ret->name, members);
}

/* ---- remove -----------------------------------------------------------------------------------
 */

#define PAGE_ROWS 200u

/* The device ids of one page of identities: they are removed once the page has been read. */
struct ids {
    size_t count;
    char id[PAGE_ROWS][LK_DEVICE_ID_MAX + 1];
};

static enum lk_err
identity_keep(void *ctx, const struct lk_identity *identity)
{
    struct ids *ids = (struct ids *)ctx;

    return lk_strcpy(ids->id[ids->count++], sizeof(ids->id[0]), identity->device_id);
}

/* One page, of at most limit. */
static enum lk_err
page_remove(struct lk_txn *tx, const char *hub, size_t limit, bool force, size_t *ret_count)
{
    struct ids ids;
    enum lk_err err;

    ids.count = 0;
    err = lk_txn_identity_page(tx, hub, "", limit < PAGE_ROWS ? limit : PAGE_ROWS, identity_keep,
                               &ids);
    *ret_count = ids.count;
    if (err == LK_OK && ids.count > 0 && !force) {
        return LK_ERR_REFUSED;
    }
    for (size_t i = 0; err == LK_OK && i < ids.count; i++) {
        err = lk_txn_identity_delete(tx, hub, ids.id[i], NULL);
    }
    return err;
}

static enum lk_err
identities_remove(struct lk_txn *tx, const char *hub, struct lk_hub_removal *r)
{
    size_t count = 0;

    r->identities_count = 0;
    r->left = false;
    do {
        size_t limit = r->limit - r->identities_count;
        enum lk_err err = limit == 0 ? LK_OK : page_remove(tx, hub, limit, r->force, &count);

        r->left = limit == 0; /* there may be */
        if (err != LK_OK || limit == 0) {
            return err;
        }
        r->identities_count += count;
    } while (count > 0);
    return LK_OK;
}

enum lk_err
lk_linked_hub_remove(struct lk_txn *tx, const struct lk_hub_author *by, const char *name,
                     struct lk_hub_removal *r)
{
    struct lk_hub there = {.weight = 0};
    char members[128];
    size_t len;
    enum lk_err err = lk_txn_hub_get(tx, name, &there);

    lk_hub_fini(&there);
    if (err != LK_OK || (err = identities_remove(tx, name, r)) != LK_OK ||
        (!r->left && (err = lk_txn_hub_delete(tx, name)) != LK_OK)) {
        return err;
    }
    len = (size_t)snprintf(members, sizeof(members), "\"forced\":%s,\"identities\":%zu",
                           r->force ? "true" : "false", r->identities_count);
    if (r->tells_enrollments) {
        (void)snprintf(members + len, sizeof(members) - len, ",\"enrollments\":%" PRId64,
                       r->enrollments_count);
    }
    return audit(tx, by, r->left ? "hub.clear" : "hub.remove", name, members);
}
