/*
 * Access policies through the operators' API, below /latchkey/v1. Reading and changing them needs
 * the right ServiceConfig; and no policy makes, renews or removes one that has a right which it
 * lacks itself, whoever holds its keys.
 */
#include <string.h>

#include "api/manage_json.h"
#include "api/service_int.h"

static enum lk_err
policy_each(void *ctx, const struct lk_policy *p)
{
    json_t *object = json_object();

    return json_array_append_new((json_t *)ctx, object) != 0 ? LK_ERR_NOMEM
                                                             : lk_policy_json_put(p, object);
}

static enum lk_err
list_run(struct lk_service_call *c, struct lk_txn *tx)
{
    LK_AUTO(json) json_t *list = json_array();

    return lk_svc_answer(c, lk_txn_policy_each(tx, c->scope.id, policy_each, list), list);
}

/* ---- changes ----------------------------------------------------------------------------------
 */

static enum lk_err
name_check(struct lk_service_call *c)
{
    enum lk_err err = lk_svc_if_match_any(c);

    if (err != LK_OK || lk_policy_name_ok(c->route.id, strlen(c->route.id))) {
        return err;
    }
    return lk_svc_fault(&c->fault, LK_SVC_BAD_REQUEST,
                        "policy: expected 1 to %u letters, digits and _ - @ .", LK_POLICY_NAME_MAX);
}

static struct lk_policy_author
author_of(const struct lk_service_call *c, char actor[LK_SVC_ACTOR_CAP])
{
    lk_svc_actor(c, actor);
    return (struct lk_policy_author){.actor = actor,
                                     .request_id = lk_http_request_id(c->req),
                                     .rights = c->access.rights,
                                     .is_remote = true};
}

/* What the client is told when a change was not made. */
static enum lk_err
change_end(struct lk_service_call *c, enum lk_err err)
{
    switch (err) {
    case LK_ERR_REFUSED:
        return lk_svc_refuse_access(c, "policy.right_exceeded");
    case LK_ERR_NOT_FOUND:
        return lk_svc_refuse(c, LK_SVC_NO_POLICY, "Policy not found");
    case LK_ERR_EXISTS:
        return lk_svc_refuse(c, LK_SVC_POLICY_EXISTS, "Policy already exists");
    case LK_ERR_PRECONDITION:
        return lk_svc_refuse(c, LK_SVC_LAST_OWNER,
                             "It is the last policy with every right: it can be removed on the "
                             "service's own machine");
    case LK_ERR_LIMIT:
        return lk_svc_refuse(c, LK_SVC_TOO_MANY, "There are as many policies as there can be");
    default:
        return err;
    }
}

/* The one time that these keys are told. */
static enum lk_err
told(struct lk_service_call *c, const struct lk_policy *p, bool primary, bool secondary)
{
    LK_AUTO(json) json_t *object = json_object();
    enum lk_err err = lk_policy_json_put(p, object);

    if (err == LK_OK && primary) {
        err = lk_policy_key_json_put(c->ring, p, LK_POLICY_PRIMARY, object);
    }
    if (err == LK_OK && secondary) {
        err = lk_policy_key_json_put(c->ring, p, LK_POLICY_SECONDARY, object);
    }
    return lk_svc_answer(c, err, object);
}

static void
policy_drop(struct lk_policy *p)
{
    lk_policy_fini(p);
}
#define AUTO_POLICY __attribute__((cleanup(policy_drop))) struct lk_policy

static enum lk_err
put_form(struct lk_service_call *c)
{
    enum lk_err err;

    if ((err = name_check(c)) != LK_OK || (err = lk_svc_body_parse(c, false)) != LK_OK) {
        return err;
    }
    if (c->has_if_match) {
        return lk_svc_fault(&c->fault, LK_SVC_BAD_REQUEST,
                            "If-Match: a policy is made, or gets another key; it is not replaced");
    }
    return lk_policy_rights_json_parse(c->body, &c->fault, &c->rights);
}

static enum lk_err
put_run(struct lk_service_call *c, struct lk_txn *tx)
{
    AUTO_POLICY p = {.rights = 0};
    char actor[LK_SVC_ACTOR_CAP];
    const struct lk_policy_author by = author_of(c, actor);
    enum lk_err err;

    if ((err = lk_policy_make(c->ring, c->api->rnd, c->scope.id, c->route.id, c->rights, &p)) !=
            LK_OK ||
        (err = lk_policy_add(tx, &by, &p)) != LK_OK ||
        (err = lk_txn_policy_get(tx, p.scope, p.name, &p)) != LK_OK) {
        return change_end(c, err);
    }
    return told(c, &p, true, true);
}

static enum lk_err
roll_form(struct lk_service_call *c)
{
    enum lk_err err;

    if ((err = name_check(c)) != LK_OK || (err = lk_svc_body_parse(c, false)) != LK_OK) {
        return err;
    }
    return lk_policy_slot_json_parse(c->body, &c->fault, &c->slot);
}

static enum lk_err
roll_run(struct lk_service_call *c, struct lk_txn *tx)
{
    AUTO_POLICY p = {.rights = 0};
    char actor[LK_SVC_ACTOR_CAP];
    const struct lk_policy_author by = author_of(c, actor);
    enum lk_err err;

    if ((err = lk_strcpy(p.scope, sizeof(p.scope), c->scope.id)) != LK_OK ||
        (err = lk_strcpy(p.name, sizeof(p.name), c->route.id)) != LK_OK ||
        (err = lk_policy_roll(tx, &by, c->ring, c->api->rnd, c->slot, &p)) != LK_OK) {
        return change_end(c, err);
    }
    return told(c, &p, c->slot == LK_POLICY_PRIMARY, c->slot == LK_POLICY_SECONDARY);
}

static enum lk_err
delete_run(struct lk_service_call *c, struct lk_txn *tx)
{
    char actor[LK_SVC_ACTOR_CAP];
    const struct lk_policy_author by = author_of(c, actor);

    c->status = 204;
    return change_end(c, lk_policy_remove(tx, &by, c->scope.id, c->route.id));
}

const struct lk_svc_operation lk_svc_policies_list = {
    "policies", LK_RIGHT_SERVICE_CONFIG, false, "list", NULL, list_run};
const struct lk_svc_operation lk_svc_policy_put = {
    "policy_put", LK_RIGHT_SERVICE_CONFIG, true, NULL, put_form, put_run};
const struct lk_svc_operation lk_svc_policy_roll = {
    "policy_roll", LK_RIGHT_SERVICE_CONFIG, true, NULL, roll_form, roll_run};
const struct lk_svc_operation lk_svc_policy_delete = {
    "policy_delete", LK_RIGHT_SERVICE_CONFIG, true, NULL, name_check, delete_run};
