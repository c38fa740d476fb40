/*
 * Many identities in one request (iot-hub.md 2.2). Items stand alone: each takes effect whole or
 * not at all, whatever becomes of the others. So nothing of an item is changed before all that can
 * fail of it has been judged.
 */
#include <stdlib.h>
#include <string.h>

#include "api/hub_int.h"
#include "wire/members.h"

/* ---- form ------------------------------------------------------------------------------------
 */

static enum lk_err
item_parse(struct lk_hubapi_call *c, size_t i)
{
    struct lk_hubapi_bulk_item *item = &c->items[i];
    const json_t *object = json_array_get(c->body, i);
    const char *id = json_string_value(json_object_get(object, "id"));
    enum lk_err err;

    if (!json_is_object(object)) {
        return lk_svc_fault(&c->fault, LK_HUBE_ARGUMENT, "item %zu: expected an object", i + 1);
    }
    lk_text_cut(item->id, sizeof(item->id), id != NULL ? id : "");
    err = lk_import_json_parse(object, &item->fault, &item->doc);
    if (err != LK_OK) {
        return err == LK_ERR_FORMAT && item->fault.code != 0 ? LK_OK : err;
    }
    for (size_t k = 0; k < i; k++) {
        if (strcmp(c->items[k].doc.device.d.id.device_id, item->doc.device.d.id.device_id) == 0) {
            (void)lk_svc_fault(&item->fault, LK_HUBE_TWICE, "The device is an earlier item's too");
            break;
        }
    }
    return LK_OK;
}

static enum lk_err
bulk_form(struct lk_hubapi_call *c)
{
    enum lk_err err = lk_hubapi_body_parse(c, true);
    size_t count = json_array_size(c->body);

    if (err != LK_OK) {
        return err;
    }
    if (count == 0) {
        return lk_svc_fault(&c->fault, LK_HUBE_ARGUMENT, "expected an array that is not empty");
    }
    if (count > LK_HUB_BULK_MAX) {
        return lk_svc_fault(&c->fault, LK_HUBE_TOO_MANY, "expected at most %u items",
                            LK_HUB_BULK_MAX);
    }
    if ((c->items = calloc(count, sizeof(*c->items))) == NULL) {
        return LK_ERR_NOMEM;
    }
    for (size_t i = 0; err == LK_OK && i < count; i++) {
        lk_import_doc_init(&c->items[i].doc);
        c->items_count++;
        err = item_parse(c, i);
    }
    return err;
}

/* ---- one item --------------------------------------------------------------------------------
 */

/* Sections that were judged before take the place of what is there; those left out stay. */
static enum lk_err
twin_replace(struct lk_hubapi_call *c, struct lk_txn *tx, const struct lk_import_doc *doc,
             const json_t *tags, const json_t *desired)
{
    struct lk_twin_patch patch = {
        .tags = tags, .desired = desired, .reported = doc->reported, .how = LK_TWIN_REPLACE};
    char error[LK_TWIN_ERROR_CAP];

    return lk_twin_change(tx, c->hub, doc->device.d.id.device_id, &patch, NULL, NULL, error);
}

/* What a device begins with is version 1 of it, but for what it would have reported itself. */
static enum lk_err
item_create(struct lk_hubapi_call *c, struct lk_txn *tx, const struct lk_import_doc *doc)
{
    struct lk_twin_patch begin = {
        .tags = doc->tags, .desired = doc->desired, .how = LK_TWIN_REPLACE};
    char error[LK_TWIN_ERROR_CAP];
    enum lk_err err;

    if ((err = lk_hubapi_device_create(c, tx, &doc->device)) != LK_OK) {
        return err;
    }
    if ((doc->tags != NULL || doc->desired != NULL) &&
        (err = lk_twin_begin(tx, c->hub, doc->device.d.id.device_id, &begin, error)) != LK_OK) {
        return err;
    }
    return twin_replace(c, tx, doc, NULL, NULL);
}

static enum lk_err
item_update(struct lk_hubapi_call *c, struct lk_txn *tx, const struct lk_import_doc *doc,
            const char *etag)
{
    enum lk_err err = lk_hubapi_device_update(c, tx, &doc->device, etag);

    return err != LK_OK ? err : twin_replace(c, tx, doc, doc->tags, doc->desired);
}

static enum lk_err
item_create_or_update(struct lk_hubapi_call *c, struct lk_txn *tx, const struct lk_import_doc *doc,
                      const char *etag)
{
    enum lk_err err = item_update(c, tx, doc, etag);

    return err == LK_ERR_NOT_FOUND ? item_create(c, tx, doc) : err;
}

/* A patch: what it leaves out stays. Reported properties are the device's own. */
static enum lk_err
item_patch(struct lk_hubapi_call *c, struct lk_txn *tx, const struct lk_import_doc *doc,
           const char *etag, struct lk_svc_fault *fault)
{
    const char *id = doc->device.d.id.device_id;
    struct lk_twin_patch patch = {.tags = doc->tags, .desired = doc->desired, .how = LK_TWIN_MERGE};
    char error[LK_TWIN_ERROR_CAP] = "";
    enum lk_err err = lk_twin_change(tx, c->hub, id, &patch, etag, NULL, error);

    if (err == LK_ERR_LIMIT || err == LK_ERR_FORMAT) {
        (void)lk_svc_fault(fault, LK_HUBE_ARGUMENT, "%s", error);
        return LK_OK;
    }
    return err != LK_OK ? err : lk_hubapi_audit(c, tx, "hub.twin.update", id);
}

static enum lk_err
item_do(struct lk_hubapi_call *c, struct lk_txn *tx, const struct lk_import_doc *doc,
        struct lk_svc_fault *fault)
{
    const char *id = doc->device.d.id.device_id, *etag = doc->device.etag;

    switch (doc->mode) {
    case LK_IMPORT_CREATE:
        return item_create(c, tx, doc);
    case LK_IMPORT_UPDATE:
        return item_update(c, tx, doc, "*");
    case LK_IMPORT_UPDATE_IF_MATCH:
        return item_update(c, tx, doc, etag);
    case LK_IMPORT_CREATE_OR_UPDATE:
        return item_create_or_update(c, tx, doc, "*");
    case LK_IMPORT_CREATE_OR_UPDATE_IF_MATCH:
        return item_create_or_update(c, tx, doc, etag);
    case LK_IMPORT_DELETE:
        return lk_hubapi_device_remove(c, tx, id, NULL);
    case LK_IMPORT_DELETE_IF_MATCH:
        return lk_hubapi_device_remove(c, tx, id, etag);
    case LK_IMPORT_UPDATE_TWIN:
        return item_patch(c, tx, doc, NULL, fault);
    case LK_IMPORT_UPDATE_TWIN_IF_MATCH:
        return item_patch(c, tx, doc, doc->twin_etag, fault);
    }
    return LK_ERR_ARG;
}

/* fault->code is set when the client is to be told. */
static enum lk_err
item_run(struct lk_hubapi_call *c, struct lk_txn *tx, const struct lk_hubapi_bulk_item *item,
         struct lk_svc_fault *fault)
{
    enum lk_err err;

    *fault = item->fault;
    if (fault->code != 0) {
        return LK_OK;
    }
    err = item_do(c, tx, &item->doc, fault);
    return err == LK_OK ? LK_OK : lk_hubapi_fault_of(err, fault);
}

/* ---- the call --------------------------------------------------------------------------------
 */

static enum lk_err
bulk_run(struct lk_hubapi_call *c, struct lk_txn *tx)
{
    json_t *errors = json_array();
    enum lk_err err = errors == NULL ? LK_ERR_NOMEM : LK_OK;

    for (size_t i = 0; err == LK_OK && i < c->items_count; i++) {
        struct lk_svc_fault fault;

        err = item_run(c, tx, &c->items[i], &fault);
        if (err == LK_OK && fault.code != 0) {
            err = lk_import_error_put(c->items[i].id, &fault, errors);
        }
    }
    if (err != LK_OK) {
        json_decref(errors);
        return err;
    }
    c->status = json_array_size(errors) == 0 ? 200 : 400;
    return lk_import_result_format(errors, &c->answer);
}

const struct lk_hubapi_operation lk_hubapi_bulk = {.name = "bulk",
                                                   .right = LK_HUB_REGISTRY_WRITE,
                                                   .writes = true,
                                                   .form = bulk_form,
                                                   .run = bulk_run};
