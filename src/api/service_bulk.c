/* Many enrollments or groups in one request (service-api.md section 7): items stand alone. */
#include <stdlib.h>
#include <string.h>

#include "api/service_int.h"
#include "wire/members.h"

static enum lk_err
item_parse(const struct lk_service_call *c, const json_t *object, struct lk_svc_bulk_item *item)
{
    const char *id = json_string_value(json_object_get(
        object, c->entity == LK_ENTITY_GROUP ? "enrollmentGroupId" : "registrationId"));
    enum lk_err err;

    lk_text_cut(item->id, sizeof(item->id), id != NULL ? id : "");
    err = c->mode == LK_BULK_DELETE
              ? lk_entity_id_parse(c->entity, object, NULL, &item->fault, item->doc.e.id)
              : lk_enrollment_json_parse(c->entity, object, NULL, &item->fault, &item->doc);
    if (err == LK_OK && c->mode == LK_BULK_UPDATE_IF_MATCH && item->doc.etag[0] == '\0') {
        err = lk_svc_fault(&item->fault, LK_SVC_BAD_REQUEST, "etag: required");
    }
    return err == LK_ERR_FORMAT && item->fault.code != 0 ? LK_OK : err;
}

static enum lk_err
bulk_form(struct lk_service_call *c)
{
    const json_t *items = NULL;
    enum lk_err err;

    if ((err = lk_svc_body_parse(c, false)) != LK_OK ||
        (err = lk_bulk_json_parse(c->entity, c->body, c->api->bulk_max, &c->fault, &c->mode,
                                  &items)) != LK_OK) {
        return err;
    }
    if ((c->items = calloc(json_array_size(items), sizeof(*c->items))) == NULL) {
        return LK_ERR_NOMEM;
    }
    for (size_t i = 0; err == LK_OK && i < json_array_size(items); i++) {
        lk_enrollment_doc_init(&c->items[i].doc);
        c->items_count++;
        err = item_parse(c, json_array_get(items, i), &c->items[i]);
    }
    return err;
}

static enum lk_err
item_run(struct lk_service_call *c, struct lk_txn *tx, struct lk_svc_bulk_item *item,
         struct lk_svc_fault *fault)
{
    LK_AUTO_SHARED_KEYS struct lk_shared_keys keys = {.primary = {.len = 0}};
    const char *etag = c->mode == LK_BULK_CREATE   ? NULL
                       : c->mode == LK_BULK_UPDATE ? "*"
                                                   : item->doc.etag;

    *fault = item->fault;
    if (fault->code != 0) {
        return LK_OK;
    }
    return c->mode == LK_BULK_DELETE ? lk_svc_entity_remove(c, tx, item->doc.e.id, NULL, fault)
                                     : lk_svc_entity_store(c, tx, &item->doc, etag, &keys, fault);
}

static enum lk_err
bulk_run(struct lk_service_call *c, struct lk_txn *tx)
{
    json_t *errors = json_array();
    enum lk_err err = errors == NULL ? LK_ERR_NOMEM : LK_OK;

    for (size_t i = 0; err == LK_OK && i < c->items_count; i++) {
        struct lk_svc_fault fault;

        err = item_run(c, tx, &c->items[i], &fault);
        if (err == LK_OK && fault.code != 0) {
            err = lk_bulk_error_put(c->entity, c->items[i].id, &fault, errors);
        }
    }
    if (err != LK_OK) {
        json_decref(errors);
        return err;
    }
    c->status = 200;
    return lk_bulk_result_format(errors, &c->answer);
}

const struct lk_svc_operation lk_svc_bulk = {
    "bulk", LK_RIGHT_ENROLLMENT_WRITE, true, NULL, bulk_form, bulk_run};
