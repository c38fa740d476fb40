/* Identities, one at a time, and how many there are (iot-hub.md section 2). */
#include <string.h>

#include "api/hub_int.h"

static void
device_drop(struct lk_hub_device *d)
{
    lk_hub_device_fini(d);
}
#define LK_AUTO_DEVICE __attribute__((cleanup(device_drop)))

/* The identity as it now is. */
static enum lk_err
device_answer(struct lk_hubapi_call *c, struct lk_txn *tx, const char *id)
{
    LK_AUTO_DEVICE struct lk_hub_device d = {.c2d_count = 0};
    enum lk_err err = lk_hub_device_get(c->api->hub, tx, c->hub, id, &d);

    return err == LK_OK ? lk_hubapi_answer_device(c, &d) : lk_hubapi_refuse_err(c, err);
}

static enum lk_err
get_run(struct lk_hubapi_call *c, struct lk_txn *tx)
{
    return device_answer(c, tx, c->route.id);
}

/* ---- put -------------------------------------------------------------------------------------
 */

static enum lk_err
put_form(struct lk_hubapi_call *c)
{
    enum lk_err err = lk_hubapi_body_parse(c, false);

    lk_hubapi_if_match_read(c);
    return err != LK_OK ? err : lk_device_json_parse(c->body, c->route.id, &c->fault, &c->doc);
}

enum lk_err
lk_hubapi_device_create(struct lk_hubapi_call *c, struct lk_txn *tx,
                        const struct lk_device_doc *doc)
{
    LK_AUTO_DEVICE struct lk_hub_device d = {.id = {.enabled = true, .auth = LK_AUTH_SAS}};
    enum lk_err err;

    if ((err = lk_strcpy(d.id.hub, sizeof(d.id.hub), c->hub)) != LK_OK ||
        (err = lk_strcpy(d.id.device_id, sizeof(d.id.device_id), doc->d.id.device_id)) != LK_OK ||
        (err = lk_device_doc_apply(doc, &d)) != LK_OK ||
        (err = lk_hub_device_create(c->api->hub, tx, &d)) != LK_OK) {
        return err;
    }
    return lk_hubapi_audit(c, tx, "hub.device.create", d.id.device_id);
}

enum lk_err
lk_hubapi_device_update(struct lk_hubapi_call *c, struct lk_txn *tx,
                        const struct lk_device_doc *doc, const char *etag)
{
    LK_AUTO_DEVICE struct lk_hub_device d = {.c2d_count = 0};
    enum lk_err err;

    if ((err = lk_hub_device_get(c->api->hub, tx, c->hub, doc->d.id.device_id, &d)) != LK_OK ||
        (err = lk_device_doc_apply(doc, &d)) != LK_OK ||
        (err = lk_hub_device_update(c->api->hub, tx, &d, etag)) != LK_OK) {
        return err;
    }
    return lk_hubapi_audit(c, tx, "hub.device.update", d.id.device_id);
}

enum lk_err
lk_hubapi_device_remove(struct lk_hubapi_call *c, struct lk_txn *tx, const char *id,
                        const char *etag)
{
    enum lk_err err = lk_hub_device_delete(c->api->hub, tx, c->hub, id, etag);

    return err != LK_OK ? err : lk_hubapi_audit(c, tx, "hub.device.remove", id);
}

static enum lk_err
put_run(struct lk_hubapi_call *c, struct lk_txn *tx)
{
    enum lk_err err = c->has_if_match ? lk_hubapi_device_update(c, tx, &c->doc, c->if_match)
                                      : lk_hubapi_device_create(c, tx, &c->doc);

    return err == LK_OK ? device_answer(c, tx, c->doc.d.id.device_id)
                        : lk_hubapi_refuse_err(c, err);
}

/* ---- delete ----------------------------------------------------------------------------------
 */

static enum lk_err
delete_form(struct lk_hubapi_call *c)
{
    lk_hubapi_if_match_read(c);
    return LK_OK;
}

static enum lk_err
delete_run(struct lk_hubapi_call *c, struct lk_txn *tx)
{
    enum lk_err err =
        lk_hubapi_device_remove(c, tx, c->route.id, c->has_if_match ? c->if_match : NULL);

    c->status = 204;
    return err == LK_OK ? LK_OK : lk_hubapi_refuse_err(c, err);
}

/* ---- statistics ------------------------------------------------------------------------------
 */

static enum lk_err
statistics_devices_run(struct lk_hubapi_call *c, struct lk_txn *tx)
{
    struct lk_hub_statistics s;
    enum lk_err err = lk_hub_statistics(tx, c->hub, &s);

    return err != LK_OK
               ? err
               : lk_hubapi_answer_json(c, json_pack("{s:I, s:I, s:I}", "totalDeviceCount",
                                                    (json_int_t)s.total, "enabledDeviceCount",
                                                    (json_int_t)s.enabled, "disabledDeviceCount",
                                                    (json_int_t)s.disabled));
}

static enum lk_err
statistics_service_run(struct lk_hubapi_call *c, struct lk_txn *tx)
{
    struct lk_hub_statistics s;
    enum lk_err err = lk_hub_statistics(tx, c->hub, &s);

    return err != LK_OK ? err
                        : lk_hubapi_answer_json(c, json_pack("{s:I}", "connectedDeviceCount",
                                                             (json_int_t)s.connected));
}

const struct lk_hubapi_operation lk_hubapi_device_get = {.name = "device.get",
                                                         .right = LK_HUB_REGISTRY_READ,
                                                         .read_action = "hub.device.read",
                                                         .run = get_run};
const struct lk_hubapi_operation lk_hubapi_device_put = {.name = "device.put",
                                                         .right = LK_HUB_REGISTRY_WRITE,
                                                         .writes = true,
                                                         .form = put_form,
                                                         .run = put_run};
const struct lk_hubapi_operation lk_hubapi_device_delete = {.name = "device.delete",
                                                            .right = LK_HUB_REGISTRY_WRITE,
                                                            .writes = true,
                                                            .form = delete_form,
                                                            .run = delete_run};
const struct lk_hubapi_operation lk_hubapi_statistics_devices = {.name = "statistics.devices",
                                                                 .right = LK_HUB_REGISTRY_READ,
                                                                 .read_action =
                                                                     "hub.read_statistics",
                                                                 .run = statistics_devices_run};
const struct lk_hubapi_operation lk_hubapi_statistics_service = {.name = "statistics.service",
                                                                 .right = LK_HUB_REGISTRY_READ,
                                                                 .read_action =
                                                                     "hub.read_statistics",
                                                                 .run = statistics_service_run};
