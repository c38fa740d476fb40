/* Records of registrations (service-api.md section 8). */
#include "api/service_int.h"

static enum lk_err
id_form(struct lk_service_call *c)
{
    lk_svc_if_match_read(c);
    return lk_svc_id_check(c);
}

static enum lk_err
not_found(struct lk_service_call *c)
{
    return lk_svc_refuse(c, LK_SVC_NO_REGISTRATION, "Registration not found");
}

static enum lk_err
get_run(struct lk_service_call *c, struct lk_txn *tx)
{
    LK_AUTO(json) json_t *object = json_object();
    struct lk_registration r = {.generation = 0};
    enum lk_err err = lk_txn_registration_get(tx, c->scope.id, c->route.id, &r);

    c->status = 200;
    if (err == LK_OK && r.status == LK_REG_NONE) {
        err = LK_ERR_NOT_FOUND;
    }
    if (err == LK_OK && (err = lk_registration_json_put(&r, object)) == LK_OK &&
        (!c->details || (err = lk_registration_details_put(&r, object)) == LK_OK)) {
        err = lk_json_write(object, &c->answer);
    }
    lk_registration_fini(&r);
    return err == LK_ERR_NOT_FOUND ? not_found(c) : err;
}

/* The hub is left alone: the next registration counts as the first. */
static enum lk_err
delete_run(struct lk_service_call *c, struct lk_txn *tx)
{
    enum lk_err err = lk_txn_registration_delete(tx, c->scope.id, c->route.id,
                                                 c->has_if_match ? c->if_match : NULL);

    c->status = 204;
    if (err == LK_ERR_PRECONDITION) {
        return lk_svc_refuse(c, LK_SVC_PRECONDITION, "If-Match: not the current etag");
    }
    return err == LK_ERR_NOT_FOUND ? not_found(c)
           : err != LK_OK          ? err
                                   : lk_svc_audit(c, tx, "registration.remove", c->route.id, NULL);
}

const struct lk_svc_operation lk_svc_registration_get = {
    "registration_get", LK_RIGHT_REGISTRATION_STATUS_READ, false, "read", id_form, get_run};
const struct lk_svc_operation lk_svc_registration_delete = {
    "registration_delete", LK_RIGHT_REGISTRATION_STATUS_WRITE, true, NULL, id_form, delete_run};
