/* What the operations of a hub's surface share. */
#include <string.h>

#include "api/hub_int.h"

enum lk_err
lk_hubapi_refuse(struct lk_hubapi_call *c, int32_t code, const char *message)
{
    (void)lk_svc_fault(&c->fault, code, "%s", message);
    return LK_ERR_REFUSED;
}

enum lk_err
lk_hubapi_fault_of(enum lk_err err, struct lk_svc_fault *fault)
{
    switch (err) {
    case LK_ERR_NOT_FOUND:
        (void)lk_svc_fault(fault, LK_HUBE_NO_DEVICE, "The device is not registered");
        return LK_OK;
    case LK_ERR_EXISTS:
        (void)lk_svc_fault(fault, LK_HUBE_EXISTS, "The device is already registered");
        return LK_OK;
    case LK_ERR_PRECONDITION:
        (void)lk_svc_fault(fault, LK_HUBE_PRECONDITION, "Not the current etag");
        return LK_OK;
    default:
        return err;
    }
}

enum lk_err
lk_hubapi_refuse_err(struct lk_hubapi_call *c, enum lk_err err)
{
    err = lk_hubapi_fault_of(err, &c->fault);
    return err == LK_OK ? LK_ERR_REFUSED : err;
}

enum lk_err
lk_hubapi_body_parse(struct lk_hubapi_call *c, bool array)
{
    struct lk_reader body = lk_http_request_body(c->req);
    char error[LK_JSON_ERROR_CAP] = "";
    enum lk_err err;

    if (!lk_api_is_json(c->req)) {
        return lk_svc_fault(&c->fault, LK_HUBE_MEDIA_TYPE,
                            "Content-Type: expected application/json");
    }
    err = lk_json_parse(body.p, body.left, array, error, &c->body);
    if (err != LK_OK) {
        return err != LK_ERR_FORMAT ? err : lk_svc_fault(&c->fault, LK_HUBE_ARGUMENT, "%s", error);
    }
    return array && !json_is_array(c->body)
               ? lk_svc_fault(&c->fault, LK_HUBE_ARGUMENT, "expected an array")
               : LK_OK;
}

enum lk_err
lk_hubapi_id_check(struct lk_hubapi_call *c)
{
    return lk_device_id_ok(c->route.id, strlen(c->route.id))
               ? LK_OK
               : lk_svc_fault(&c->fault, LK_HUBE_ARGUMENT,
                              "deviceId: expected 1 to 128 letters, digits and others that a "
                              "device ID may have");
}

/* What is none of ours matches nothing; an empty one would mean something else to the store. */
void
lk_hubapi_if_match_read(struct lk_hubapi_call *c)
{
    const char *text = lk_http_request_header(c->req, "If-Match");

    c->has_if_match = text != NULL;
    if (text != NULL && (lk_etag_parse(text, c->if_match) != LK_OK || c->if_match[0] == '\0')) {
        memcpy(c->if_match, "!", 2);
    }
}

enum lk_err
lk_hubapi_answer_json(struct lk_hubapi_call *c, json_t *object)
{
    LK_AUTO(json) json_t *own = object;

    c->status = 200;
    return own == NULL ? LK_ERR_NOMEM : lk_json_write(own, &c->answer);
}

enum lk_err
lk_hubapi_answer_device(struct lk_hubapi_call *c, const struct lk_hub_device *d)
{
    LK_AUTO(json) json_t *object = json_object();
    enum lk_err err;

    if (object == NULL || (err = lk_device_json_put(d, object)) != LK_OK) {
        return object == NULL ? LK_ERR_NOMEM : err;
    }
    memcpy(c->etag, d->id.etag, sizeof(c->etag));
    return lk_hubapi_answer_json(c, json_incref(object));
}
