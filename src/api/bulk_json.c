/* Bulk requests and their results (service-api.md section 7). */
#include <string.h>

#include "api/enrollment_json_int.h"
#include "base/codec.h"

static const char *const mode_names[] = {[LK_BULK_CREATE] = "create",
                                         [LK_BULK_UPDATE] = "update",
                                         [LK_BULK_UPDATE_IF_MATCH] = "updateIfMatchETag",
                                         [LK_BULK_DELETE] = "delete"};

static enum lk_err
mode_parse(const json_t *object, struct lk_svc_fault *fault, enum lk_bulk_mode *ret)
{
    const char *text;
    enum lk_err err = lk_svc_text(object, "mode", LK_SVC_BAD_REQUEST, fault, &text);

    if (err != LK_OK) {
        return err;
    }
    for (size_t i = 0; text != NULL && i < LK_ARRAY_LEN(mode_names); i++) {
        if (lk_ascii_caseeq(text, strlen(text), mode_names[i], strlen(mode_names[i]))) {
            *ret = (enum lk_bulk_mode)i;
            return LK_OK;
        }
    }
    return lk_svc_fault(fault, LK_SVC_BAD_REQUEST,
                        "mode: expected create, update, updateIfMatchETag or delete");
}

static const char *
id_name(enum lk_entity entity)
{
    return entity == LK_ENTITY_GROUP ? "enrollmentGroupId" : "registrationId";
}

/* Items that have an id have it alone. */
static enum lk_err
ids_check(enum lk_entity entity, const json_t *items, struct lk_svc_fault *fault)
{
    LK_AUTO(json) json_t *seen = json_object();
    const json_t *item;
    size_t i;

    json_array_foreach(items, i, item)
    {
        const char *id = json_string_value(json_object_get(item, id_name(entity)));
        char key[LK_REGISTRATION_ID_MAX + 1];

        if (!json_is_object(item)) {
            return lk_svc_fault(fault, LK_SVC_BAD_REQUEST, "item %zu: expected an object", i + 1);
        }
        if (id == NULL || lk_strcpy(key, sizeof(key), id) != LK_OK) {
            continue; /* that item's own error */
        }
        lk_ascii_lower(key);
        if (json_object_get(seen, key) != NULL) {
            return lk_svc_fault(fault, LK_SVC_ID_TWICE, "item %zu: its %s is an earlier item's too",
                                i + 1, id_name(entity));
        }
        if (json_object_set_new(seen, key, json_true()) != 0) {
            return LK_ERR_NOMEM;
        }
    }
    return LK_OK;
}

enum lk_err
lk_bulk_json_parse(enum lk_entity entity, const json_t *object, size_t items_max,
                   struct lk_svc_fault *fault, enum lk_bulk_mode *ret_mode,
                   const json_t **ret_items)
{
    const char *name = entity == LK_ENTITY_GROUP ? "enrollmentGroups" : "enrollments";
    const json_t *items = json_object_get(object, name);
    enum lk_bulk_mode mode = LK_BULK_CREATE;
    enum lk_err err = mode_parse(object, fault, &mode);

    if (err != LK_OK) {
        return err;
    }
    if (json_array_size(items) == 0) {
        return lk_svc_fault(fault, LK_SVC_BAD_REQUEST, "%s: expected an array, not empty", name);
    }
    if (json_array_size(items) > items_max) {
        return lk_svc_fault(fault, LK_SVC_TOO_MANY, "%s: expected at most %zu items", name,
                            items_max);
    }
    if ((err = ids_check(entity, items, fault)) == LK_OK) {
        *ret_mode = mode;
        *ret_items = items;
    }
    return err;
}

enum lk_err
lk_bulk_error_put(enum lk_entity entity, const char *id, const struct lk_svc_fault *fault,
                  json_t *errors)
{
    json_t *entry = json_pack("{s:s, s:i, s:s}", id_name(entity), id, "errorCode", (int)fault->code,
                              "errorStatus", fault->message);

    return json_array_append_new(errors, entry) == 0 ? LK_OK : LK_ERR_NOMEM;
}

enum lk_err
lk_bulk_result_format(json_t *errors, struct lk_buf *ret)
{
    LK_AUTO(json)
    json_t *root =
        json_pack("{s:b, s:o}", "isSuccessful", json_array_size(errors) == 0, "errors", errors);

    return root == NULL ? LK_ERR_NOMEM : lk_json_write(root, ret);
}
