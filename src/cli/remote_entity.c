/* Enrollments, groups and registrations of a service elsewhere. */
#include <string.h>

#include "cli/remote.h"

static const char *
collection_of(enum lk_entity entity)
{
    return entity == LK_ENTITY_GROUP ? "/enrollmentGroups" : "/enrollments";
}

/* An answer that is JSON and not what was asked for. */
static enum lk_err
answer_err(enum lk_err err)
{
    return err == LK_ERR_FORMAT || err == LK_ERR_UNSUPPORTED || err == LK_ERR_LIMIT
               ? LK_ERR_PROTOCOL
               : err;
}

static enum lk_err
entity_parse(enum lk_entity entity, const json_t *object, struct lk_enrollment *ret)
{
    struct lk_enrollment_doc doc;
    struct lk_svc_fault fault;
    enum lk_err err;

    lk_enrollment_doc_init(&doc);
    err = answer_err(lk_enrollment_answer_parse(entity, object, &fault, &doc));
    if (err == LK_OK) {
        lk_enrollment_fini(ret);
        *ret = doc.e;
        lk_enrollment_init(&doc.e); /* moved */
    }
    lk_enrollment_doc_fini(&doc);
    return err;
}

enum lk_err
lk_remote_entity_get(struct lk_remote *r, enum lk_entity entity, const char *id,
                     struct lk_enrollment *ret)
{
    const struct lk_remote_request q = {.method = "GET", .path = collection_of(entity), .id = id};
    LK_AUTO_REMOTE_ANSWER struct lk_remote_answer a = {.json = NULL};
    enum lk_err err = lk_remote_call(r, &q, &a);

    return err != LK_OK ? err : entity_parse(entity, a.json, ret);
}

enum lk_err
lk_remote_entity_put(struct lk_remote *r, enum lk_entity entity, const struct lk_shared_keys *keys,
                     const char *etag, struct lk_enrollment *e)
{
    LK_AUTO(json) json_t *body = json_object();
    struct lk_remote_request q = {.method = "PUT",
                                  .path = collection_of(entity),
                                  .id = e->id,
                                  .if_match = etag,
                                  .body = body};
    LK_AUTO_REMOTE_ANSWER struct lk_remote_answer a = {.json = NULL};
    enum lk_err err = lk_enrollment_request_put(entity, e, keys, body);

    if (err != LK_OK || (err = lk_remote_call(r, &q, &a)) != LK_OK) {
        return err;
    }
    return entity_parse(entity, a.json, e);
}

enum lk_err
lk_remote_entity_delete(struct lk_remote *r, enum lk_entity entity, const char *id)
{
    const struct lk_remote_request q = {
        .method = "DELETE", .path = collection_of(entity), .id = id};
    LK_AUTO_REMOTE_ANSWER struct lk_remote_answer a = {.json = NULL};

    return lk_remote_call(r, &q, &a);
}

static enum lk_err
key_get(const json_t *object, const char *name, struct lk_shared_key *ret)
{
    const char *text;

    if (lk_json_text(object, name, &text) != LK_OK || text == NULL ||
        lk_shared_key_parse(text, strlen(text), ret) != LK_OK) {
        return LK_ERR_PROTOCOL;
    }
    return LK_OK;
}

enum lk_err
lk_remote_entity_keys(struct lk_remote *r, enum lk_entity entity, const char *id,
                      struct lk_shared_keys *ret)
{
    const struct lk_remote_request q = {
        .method = "POST", .path = collection_of(entity), .id = id, .tail = "/attestationmechanism"};
    LK_AUTO_REMOTE_ANSWER struct lk_remote_answer a = {.json = NULL};
    const json_t *keys;
    enum lk_err err = lk_remote_call(r, &q, &a);

    if (err != LK_OK) {
        return err;
    }
    keys = json_object_get(a.json, "symmetricKey");
    if (!json_is_object(keys)) {
        return LK_ERR_ARG;
    }
    err = key_get(keys, "primaryKey", &ret->primary);
    return err != LK_OK ? err : key_get(keys, "secondaryKey", &ret->secondary);
}

/* ---- pages ----------------------------------------------------------------------------------- */

static enum lk_err
page_ask(struct lk_remote *r, const char *path, char continuation[LK_REMOTE_CONTINUATION_CAP],
         struct lk_remote_answer *ret)
{
    LK_AUTO(json) json_t *body = json_pack("{s:s}", "query", "SELECT *");
    const struct lk_remote_request q = {.method = "POST",
                                        .path = path,
                                        .tail = "/query",
                                        .body = body,
                                        .continuation = continuation};
    enum lk_err err = body == NULL ? LK_ERR_NOMEM : lk_remote_call(r, &q, ret);

    if (err != LK_OK) {
        return err;
    }
    memcpy(continuation, ret->continuation, LK_REMOTE_CONTINUATION_CAP);
    return json_is_array(ret->json) ? LK_OK : LK_ERR_PROTOCOL;
}

enum lk_err
lk_remote_entity_page(struct lk_remote *r, enum lk_entity entity,
                      char continuation[LK_REMOTE_CONTINUATION_CAP],
                      enum lk_err (*each)(void *ctx, const struct lk_enrollment *), void *ctx)
{
    LK_AUTO_REMOTE_ANSWER struct lk_remote_answer a = {.json = NULL};
    enum lk_err err = page_ask(r, collection_of(entity), continuation, &a);
    const json_t *row;
    size_t i;

    if (err != LK_OK) {
        return err;
    }
    json_array_foreach(a.json, i, row)
    {
        struct lk_enrollment e;

        lk_enrollment_init(&e);
        err = entity_parse(entity, row, &e);
        err = err == LK_OK ? each(ctx, &e) : err;
        lk_enrollment_fini(&e);
        if (err != LK_OK) {
            return err;
        }
    }
    return LK_OK;
}

enum lk_err
lk_remote_bulk(struct lk_remote *r, enum lk_bulk_mode mode, json_t *items, json_t **ret_errors)
{
    static const char *const modes[] = {[LK_BULK_CREATE] = "create",
                                        [LK_BULK_UPDATE] = "update",
                                        [LK_BULK_UPDATE_IF_MATCH] = "updateIfMatchETag",
                                        [LK_BULK_DELETE] = "delete"};
    LK_AUTO(json) json_t *body = json_pack("{s:s, s:O}", "mode", modes[mode], "enrollments", items);
    const struct lk_remote_request q = {.method = "POST", .path = "/enrollments", .body = body};
    LK_AUTO_REMOTE_ANSWER struct lk_remote_answer a = {.json = NULL};
    json_t *errors;
    enum lk_err err = body == NULL ? LK_ERR_NOMEM : lk_remote_call(r, &q, &a);

    if (err != LK_OK) {
        return err;
    }
    errors = json_object_get(a.json, "errors");
    if (!json_is_boolean(json_object_get(a.json, "isSuccessful")) ||
        (errors != NULL && !json_is_null(errors) && !json_is_array(errors))) {
        return LK_ERR_PROTOCOL;
    }
    *ret_errors = json_is_array(errors) ? json_incref(errors) : json_array();
    return *ret_errors == NULL ? LK_ERR_NOMEM : LK_OK;
}

/* ---- registrations --------------------------------------------------------------------------- */

enum lk_err
lk_remote_registration_get(struct lk_remote *r, const char *id, struct lk_registration *ret)
{
    const struct lk_remote_request q = {.method = "GET", .path = "/registrations", .id = id};
    LK_AUTO_REMOTE_ANSWER struct lk_remote_answer a = {.json = NULL};
    struct lk_svc_fault fault;
    enum lk_err err = lk_remote_call(r, &q, &a);

    return err != LK_OK ? err : answer_err(lk_registration_answer_parse(a.json, &fault, ret));
}

enum lk_err
lk_remote_registration_delete(struct lk_remote *r, const char *id)
{
    const struct lk_remote_request q = {.method = "DELETE", .path = "/registrations", .id = id};
    LK_AUTO_REMOTE_ANSWER struct lk_remote_answer a = {.json = NULL};

    return lk_remote_call(r, &q, &a);
}

enum lk_err
lk_remote_registration_page(struct lk_remote *r, char continuation[LK_REMOTE_CONTINUATION_CAP],
                            enum lk_err (*each)(void *ctx, const struct lk_registration *),
                            void *ctx)
{
    LK_AUTO_REMOTE_ANSWER struct lk_remote_answer a = {.json = NULL};
    enum lk_err err = page_ask(r, "/latchkey/v1/registrations", continuation, &a);
    const json_t *row;
    size_t i;

    if (err != LK_OK) {
        return err;
    }
    json_array_foreach(a.json, i, row)
    {
        struct lk_registration reg = {.generation = 0};
        struct lk_svc_fault fault;

        err = answer_err(lk_registration_answer_parse(row, &fault, &reg));
        err = err == LK_OK ? each(ctx, &reg) : err;
        lk_registration_fini(&reg);
        if (err != LK_OK) {
            return err;
        }
    }
    return LK_OK;
}
