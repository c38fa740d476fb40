/* Hubs, policies and audit records of a service elsewhere: what is below /latchkey/v1. */
#include <inttypes.h>
#include <string.h>

#include "api/manage_json.h"
#include "cli/remote.h"
#include "wire/members.h"

#define HUBS "/latchkey/v1/hubs"

static enum lk_err
list_ask(struct lk_remote *r, const char *path, struct lk_remote_answer *ret)
{
    const struct lk_remote_request q = {.method = "GET", .path = path};
    enum lk_err err = lk_remote_call(r, &q, ret);

    return err != LK_OK || json_is_array(ret->json) ? err : LK_ERR_PROTOCOL;
}

enum lk_err
lk_remote_hubs(struct lk_remote *r, enum lk_err (*each)(void *ctx, const struct lk_hub *),
               void *ctx)
{
    LK_AUTO_REMOTE_ANSWER struct lk_remote_answer a = {.json = NULL};
    enum lk_err err = list_ask(r, HUBS, &a);

    for (size_t i = 0; err == LK_OK && i < json_array_size(a.json); i++) {
        struct lk_hub hub;

        err = lk_hub_json_parse(json_array_get(a.json, i), &hub) == LK_OK ? each(ctx, &hub)
                                                                          : LK_ERR_PROTOCOL;
    }
    return err;
}

static enum lk_err
hub_call(struct lk_remote *r, const char *method, const char *name,
         const struct lk_hub_request *request)
{
    LK_AUTO(json) json_t *body = json_object();
    const struct lk_remote_request q = {.method = method, .path = HUBS, .id = name, .body = body};
    LK_AUTO_REMOTE_ANSWER struct lk_remote_answer a = {.json = NULL};
    struct lk_hub hub;
    enum lk_err err = lk_hub_request_put(request, body);

    if (err != LK_OK || (err = lk_remote_call(r, &q, &a)) != LK_OK) {
        return err;
    }
    return lk_hub_json_parse(a.json, &hub) == LK_OK ? LK_OK : LK_ERR_PROTOCOL;
}

enum lk_err
lk_remote_hub_add(struct lk_remote *r, const char *name, const struct lk_hub_request *request)
{
    return hub_call(r, "PUT", name, request);
}

enum lk_err
lk_remote_hub_set(struct lk_remote *r, const char *name, const struct lk_hub_request *request)
{
    return hub_call(r, "PATCH", name, request);
}

enum lk_err
lk_remote_hub_remove(struct lk_remote *r, const char *name, bool force, bool *ret_left)
{
    const struct lk_remote_request q = {
        .method = "DELETE", .path = HUBS, .id = name, .query = force ? "force=1" : NULL};
    LK_AUTO_REMOTE_ANSWER struct lk_remote_answer a = {.json = NULL};
    struct lk_hub_removal removal;
    enum lk_err err = lk_remote_call(r, &q, &a);

    if (err != LK_OK || lk_hub_removal_json_parse(a.json, &removal) != LK_OK) {
        return err != LK_OK ? err : LK_ERR_PROTOCOL;
    }
    *ret_left = removal.left;
    return LK_OK;
}

static enum lk_err
use_count(struct lk_remote *r, const char *path, const char *query, uint64_t *count)
{
    LK_AUTO(json) json_t *body = json_pack("{s:s}", "query", query);
    struct lk_remote_request q = {.method = "POST", .path = path, .body = body};
    LK_AUTO_REMOTE_ANSWER struct lk_remote_answer a = {.json = NULL};
    char continuation[LK_REMOTE_CONTINUATION_CAP] = "";
    enum lk_err err;

    if (body == NULL) {
        return LK_ERR_NOMEM;
    }
    do {
        q.continuation = continuation;
        if ((err = lk_remote_call(r, &q, &a)) != LK_OK || !json_is_array(a.json)) {
            return err != LK_OK ? err : LK_ERR_PROTOCOL;
        }
        *count += json_array_size(a.json);
        memcpy(continuation, a.continuation, sizeof(continuation));
    } while (continuation[0] != '\0');
    return LK_OK;
}

enum lk_err
lk_remote_hub_use(struct lk_remote *r, const char *name, uint64_t *ret_count)
{
    char query[LK_HOST_NAME_MAX + 64];
    enum lk_err err;

    *ret_count = 0;
    (void)snprintf(query, sizeof(query), "SELECT * WHERE iotHubs = '%s'", name); /* a host name */
    err = use_count(r, "/enrollments/query", query, ret_count);
    return err != LK_OK ? err : use_count(r, "/enrollmentGroups/query", query, ret_count);
}

enum lk_err
lk_remote_policies(struct lk_remote *r, enum lk_err (*each)(void *ctx, const struct lk_policy *),
                   void *ctx)
{
    LK_AUTO_REMOTE_ANSWER struct lk_remote_answer a = {.json = NULL};
    enum lk_err err = list_ask(r, "/latchkey/v1/policies", &a);

    for (size_t i = 0; err == LK_OK && i < json_array_size(a.json); i++) {
        struct lk_policy p;

        err = lk_policy_json_parse(json_array_get(a.json, i), &p) == LK_OK ? each(ctx, &p)
                                                                           : LK_ERR_PROTOCOL;
    }
    return err;
}

/* What a change of a policy answers. p's keys are not told in the form that a store has them. */
static enum lk_err
policy_take(const json_t *answer, enum lk_policy_slot slot, struct lk_policy *p, struct lk_buf *key)
{
    struct lk_policy told;

    if (lk_policy_json_parse(answer, &told) != LK_OK || strcmp(told.name, p->name) != 0 ||
        lk_policy_key_json_parse(answer, slot, key) != LK_OK) {
        return LK_ERR_PROTOCOL;
    }
    lk_policy_fini(p);
    *p = told;
    return LK_OK;
}

enum lk_err
lk_remote_policy_add(struct lk_remote *r, enum lk_policy_slot slot, struct lk_policy *p,
                     struct lk_buf *key)
{
    LK_AUTO(json) json_t *body = json_object();
    const struct lk_remote_request q = {
        .method = "PUT", .path = "/latchkey/v1/policies", .id = p->name, .body = body};
    LK_AUTO_REMOTE_ANSWER struct lk_remote_answer a = {.json = NULL};
    enum lk_err err = lk_policy_rights_json_put(p->rights, body);

    if (err != LK_OK || (err = lk_remote_call(r, &q, &a)) != LK_OK) {
        return err;
    }
    return policy_take(a.json, slot, p, key);
}

enum lk_err
lk_remote_policy_roll(struct lk_remote *r, enum lk_policy_slot slot, struct lk_policy *p,
                      struct lk_buf *key)
{
    LK_AUTO(json) json_t *body = json_pack("{s:s}", "key", lk_policy_slot_name(slot));
    const struct lk_remote_request q = {.method = "POST",
                                        .path = "/latchkey/v1/policies",
                                        .id = p->name,
                                        .tail = "/roll",
                                        .body = body};
    LK_AUTO_REMOTE_ANSWER struct lk_remote_answer a = {.json = NULL};
    enum lk_err err = body == NULL ? LK_ERR_NOMEM : lk_remote_call(r, &q, &a);

    return err != LK_OK ? err : policy_take(a.json, slot, p, key);
}

enum lk_err
lk_remote_policy_delete(struct lk_remote *r, const char *name)
{
    const struct lk_remote_request q = {
        .method = "DELETE", .path = "/latchkey/v1/policies", .id = name};
    LK_AUTO_REMOTE_ANSWER struct lk_remote_answer a = {.json = NULL};

    return lk_remote_call(r, &q, &a);
}

enum lk_err
lk_remote_audit_page(struct lk_remote *r, int64_t after, size_t limit,
                     enum lk_err (*each)(void *ctx, const struct lk_audit *), void *ctx,
                     size_t *ret_looked, int64_t *ret_last)
{
    char query[64];
    const struct lk_remote_request q = {
        .method = "GET", .path = "/latchkey/v1/audit", .query = query};
    LK_AUTO_REMOTE_ANSWER struct lk_remote_answer a = {.json = NULL};
    const json_t *records, *looked, *last;
    enum lk_err err;

    (void)snprintf(query, sizeof(query), "after=%" PRId64 "&limit=%zu", after, limit);
    if ((err = lk_remote_call(r, &q, &a)) != LK_OK) {
        return err;
    }
    records = json_object_get(a.json, "records");
    looked = json_object_get(a.json, "looked");
    last = json_object_get(a.json, "last");
    if (!json_is_array(records) || !json_is_integer(looked) || json_integer_value(looked) < 0 ||
        json_integer_value(looked) > (json_int_t)limit || !json_is_integer(last) ||
        json_integer_value(last) < after) {
        return LK_ERR_PROTOCOL;
    }
    for (size_t i = 0; err == LK_OK && i < json_array_size(records); i++) {
        struct lk_audit record;

        err = lk_audit_json_parse(json_array_get(records, i), &record) == LK_OK ? each(ctx, &record)
                                                                                : LK_ERR_PROTOCOL;
    }
    *ret_looked = (size_t)json_integer_value(looked);
    *ret_last = json_integer_value(last);
    return err;
}

enum lk_err
lk_remote_audit_verify(struct lk_remote *r, size_t limit, struct lk_audit_cursor *cursor,
                       bool *ret_broken, bool *ret_more)
{
    LK_AUTO(json) json_t *body = json_object();
    const struct lk_remote_request q = {
        .method = "POST", .path = "/latchkey/v1/audit/verify", .body = body};
    LK_AUTO_REMOTE_ANSWER struct lk_remote_answer a = {.json = NULL};
    const json_t *broken, *more;
    enum lk_err err;

    if ((err = lk_cursor_json_put(cursor, body)) != LK_OK ||
        (err = lk_member_put(body, "limit", json_integer((json_int_t)limit))) != LK_OK ||
        (err = lk_remote_call(r, &q, &a)) != LK_OK) {
        return err;
    }
    broken = json_object_get(a.json, "broken");
    more = json_object_get(a.json, "more");
    *ret_broken = broken != NULL;
    *ret_more = json_is_true(more);
    if (broken != NULL) {
        cursor->seq = json_integer_value(broken);
        return json_is_integer(broken) ? LK_OK : LK_ERR_PROTOCOL;
    }
    return json_is_boolean(more) && lk_cursor_json_parse(a.json, cursor) == LK_OK ? LK_OK
                                                                                  : LK_ERR_PROTOCOL;
}
