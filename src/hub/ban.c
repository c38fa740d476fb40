#include "hub/ban.h"

#include <stdio.h>
#include <string.h>

#include "base/codec.h"
#include "base/json.h"
#include "hub/registry.h"

#define GROUP_BATCH_MAX 256u /* registrations whose ids are kept between reading and changing */

/* ---- one device -------------------------------------------------------------------------------
 */

static bool
is_ban(const char *reason)
{
    size_t len = strlen(LK_BAN_REASON);

    return strncmp(reason, LK_BAN_REASON, len) == 0 && (reason[len] == '\0' || reason[len] == ':');
}

/* What the identity shall be; false: it is so already. */
static bool
status_change(struct lk_identity *id, const char *why)
{
    char reason[LK_STATUS_REASON_MAX + 1] = "";

    if (why == NULL) {
        if (id->enabled || !is_ban(id->status_reason)) {
            return false;
        }
        id->enabled = true;
        id->status_reason[0] = '\0';
        return true;
    }
    if (!id->enabled && !is_ban(id->status_reason)) {
        return false; /* the hub's operator has done it, and only they undo it */
    }
    (void)snprintf(reason, sizeof(reason), LK_BAN_REASON "%s%s", why[0] != '\0' ? ": " : "", why);
    if (!id->enabled && strcmp(id->status_reason, reason) == 0) {
        return false;
    }
    id->enabled = false;
    memcpy(id->status_reason, reason, sizeof(reason));
    return true;
}

static enum lk_err
audit(struct lk_txn *tx, const struct lk_ban *ban, const struct lk_registration *r)
{
    LK_AUTO(json)
    json_t *detail =
        json_pack("{s:s, s:s, s:s*}", "hub", r->hub, "deviceId", r->device_id, "reason", ban->why);
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;

    if (detail == NULL || lk_json_write(detail, &text) != LK_OK || lk_buf_text(&text) == NULL) {
        return LK_ERR_NOMEM;
    }
    return lk_txn_audit_append(tx, ban->actor,
                               ban->why != NULL ? "hub.device.ban" : "hub.device.unban", r->scope,
                               r->id, lk_buf_text(&text));
}

static enum lk_err
identity_change(struct lk_txn *tx, const struct lk_ban *ban, const struct lk_registration *r,
                enum lk_ban_outcome *ret)
{
    struct lk_identity id;
    enum lk_err err = lk_txn_identity_get(tx, r->hub, r->device_id, &id);

    if (err == LK_ERR_NOT_FOUND) {
        return LK_OK;
    }
    if (err != LK_OK || strcmp(id.owner_scope, r->scope) != 0 ||
        !lk_ascii_caseeq(id.owner_id, strlen(id.owner_id), r->id, strlen(r->id)) ||
        !status_change(&id, ban->why)) {
        return err;
    }
    *ret = LK_BAN_DONE;
    err = lk_txn_identity_put(tx, &id, NULL);
    return err != LK_OK ? err : audit(tx, ban, r);
}

static enum lk_err
registration_ban(struct lk_txn *tx, const struct lk_ban *ban, const struct lk_registration *r,
                 enum lk_ban_outcome *ret)
{
    enum lk_err err;

    *ret = LK_BAN_NOTHING;
    if (r->hub[0] == '\0') {
        return LK_OK;
    }
    if ((err = lk_hub_is_ours(tx, r->hub)) == LK_ERR_NOT_FOUND) {
        *ret = LK_BAN_ELSEWHERE;
        return LK_OK;
    }
    return err != LK_OK ? err : identity_change(tx, ban, r, ret);
}

enum lk_err
lk_hub_ban(struct lk_txn *tx, const struct lk_ban *ban, const char *scope,
           const char *registration_id, enum lk_ban_outcome *ret,
           char ret_hub[LK_HOST_NAME_MAX + 1])
{
    struct lk_registration r = {.generation = 0};
    enum lk_err err;

    if (ban->why != NULL && strlen(ban->why) > LK_BAN_WHY_MAX) {
        return LK_ERR_ARG;
    }
    *ret = LK_BAN_NOTHING;
    ret_hub[0] = '\0';
    err = lk_txn_registration_get(tx, scope, registration_id, &r);
    if (err == LK_OK) {
        memcpy(ret_hub, r.hub, sizeof(r.hub));
        err = registration_ban(tx, ban, &r, ret);
    }
    lk_registration_fini(&r);
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

/* ---- a group's --------------------------------------------------------------------------------
 */

/* A list is not changed while it is read. */
struct batch {
    char ids[GROUP_BATCH_MAX][LK_REGISTRATION_ID_MAX + 1];
    size_t count;
};

static enum lk_err
id_keep(void *ctx, const struct lk_registration *r)
{
    struct batch *b = ctx;

    return lk_strcpy(b->ids[b->count++], sizeof(b->ids[0]), r->id);
}

static void
outcome_count(enum lk_ban_outcome outcome, struct lk_ban_count *count)
{
    count->done += outcome == LK_BAN_DONE;
    count->nothing += outcome == LK_BAN_NOTHING;
    count->elsewhere += outcome == LK_BAN_ELSEWHERE;
}

enum lk_err
lk_hub_ban_group(struct lk_txn *tx, const struct lk_ban *ban, const char *scope, const char *group,
                 const char *after, size_t limit, struct lk_ban_count *count,
                 char ret_last[LK_REGISTRATION_ID_MAX + 1])
{
    struct batch b = {.count = 0};
    char hub[LK_HOST_NAME_MAX + 1];
    enum lk_ban_outcome outcome;
    enum lk_err err;

    limit = limit < GROUP_BATCH_MAX ? limit : GROUP_BATCH_MAX;
    err = lk_txn_registration_page_of_group(tx, scope, group, after, limit, id_keep, &b);
    for (size_t i = 0; i < b.count && err == LK_OK; i++) {
        if ((err = lk_hub_ban(tx, ban, scope, b.ids[i], &outcome, hub)) == LK_OK) {
            outcome_count(outcome, count);
        }
    }
    if (err == LK_OK) {
        ret_last[0] = '\0';
        if (b.count == limit) {
            memcpy(ret_last, b.ids[b.count - 1], sizeof(b.ids[0]));
        }
    }
    return err;
}
