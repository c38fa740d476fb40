/*
 * Linked hubs through the operators' API, below /latchkey/v1. To list them needs the right
 * ServiceConfig. To change them needs EnrollmentWrite too, since a hub is given what attestation-
 * mechanism tells, the shared keys of its devices; and to remove them RegistrationStatusWrite,
 * since devices' identities go with them. A hub serves all ID scopes, and a policy opens one: where
 * there are several, hubs are changed on the service's machine.
 */
#include <string.h>

#include "api/manage_json.h"
#include "api/service_int.h"
#include "link/connection.h"
#include "wire/members.h"

static enum lk_err
hub_each(void *ctx, const struct lk_hub *hub)
{
    json_t *object = json_object();

    return json_array_append_new((json_t *)ctx, object) != 0 ? LK_ERR_NOMEM
                                                             : lk_hub_json_put(hub, object);
}

static enum lk_err
list_run(struct lk_service_call *c, struct lk_txn *tx)
{
    LK_AUTO(json) json_t *list = json_array();

    return lk_svc_answer(c, lk_txn_hub_each(tx, hub_each, list), list);
}

/* ---- the form of changes ----------------------------------------------------------------------
 */

static enum lk_err
name_form(struct lk_service_call *c)
{
    enum lk_err err = lk_svc_if_match_any(c);

    if (err != LK_OK) {
        return err;
    }
    return lk_hub_name_parse(c->route.id, c->hub) == LK_OK
               ? LK_OK
               : lk_svc_fault(&c->fault, LK_SVC_BAD_REQUEST,
                              "hub: expected a host name with a dot in it");
}

/* Judge and seal what the client says of the connection. It is quoted nowhere. */
static enum lk_err
connection_seal(struct lk_service_call *c, const struct lk_hub_request *r)
{
    LK_AUTO_BUF struct lk_buf ca = {.max = LK_HUB_CONNECTION_CA_MAX};
    const struct lk_hub_connection_text from = {
        .text = r->connection, .len = strlen(r->connection), .ca = &ca, .is_remote = true};
    char error[LK_HUB_CONNECTION_ERROR_CAP] = "";
    enum lk_err err;

    if (!c->api->links_hubs) {
        return lk_svc_fault(&c->fault, LK_SVC_BAD_REQUEST,
                            "connectionString: hub-allow in the service's configuration lists no "
                            "place where a hub may be that is linked over the network");
    }
    err = r->authorities != NULL ? lk_buf_puts(&ca, r->authorities) : LK_OK;
    if (err == LK_OK) {
        err = lk_hub_connection_check(&from, c->hub, error);
    }
    if (err == LK_ERR_FORMAT || err == LK_ERR_LIMIT) {
        return lk_svc_fault(&c->fault, LK_SVC_BAD_REQUEST, "connectionString, authorities: %s",
                            error[0] != '\0' ? error : "too long");
    }
    if (err == LK_OK) {
        err = lk_hub_connection_seal(c->ring, c->api->rnd, c->hub, &from, &c->sealed_connection);
    }
    if (err == LK_OK) {
        c->hub_change.sealed_connection = &c->sealed_connection;
    }
    return err;
}

static enum lk_err
body_form(struct lk_service_call *c)
{
    struct lk_hub_request r;
    enum lk_err err;

    if ((err = name_form(c)) != LK_OK || (err = lk_svc_body_parse(c, false)) != LK_OK ||
        (err = lk_hub_request_parse(c->body, &c->fault, &r)) != LK_OK) {
        return err;
    }
    c->hub_change = r.change;
    return r.connection != NULL ? connection_seal(c, &r) : LK_OK;
}

static enum lk_err
put_form(struct lk_service_call *c)
{
    enum lk_err err = body_form(c);

    return err != LK_OK || !c->has_if_match
               ? err
               : lk_svc_fault(&c->fault, LK_SVC_BAD_REQUEST,
                              "If-Match: a hub is linked, or changed by PATCH; it is not replaced");
}

static enum lk_err
patch_form(struct lk_service_call *c)
{
    const struct lk_hub_change *change = &c->hub_change;
    enum lk_err err = body_form(c);

    if (err != LK_OK || change->weight != 0 || change->has_allocatable || change->region != NULL ||
        change->sealed_connection != NULL) {
        return err;
    }
    return lk_svc_fault(&c->fault, LK_SVC_BAD_REQUEST,
                        "expected some of weight, allocatable, region, connectionString");
}

static enum lk_err
delete_form(struct lk_service_call *c)
{
    uint64_t force = 0;
    enum lk_err err = name_form(c);

    if (err != LK_OK || (err = lk_svc_parameter(c, "force", 1, &force)) != LK_OK) {
        return err;
    }
    c->force = force == 1;
    return LK_OK;
}

/* ---- changes ----------------------------------------------------------------------------------
 */

static enum lk_err
scope_count(void *ctx, const struct lk_scope *scope)
{
    (void)scope;
    ++*(size_t *)ctx;
    return LK_OK;
}

/* Whether the hubs are this policy's scope's alone. */
static enum lk_err
scope_check(struct lk_service_call *c, struct lk_txn *tx)
{
    size_t count = 0;
    enum lk_err err = lk_txn_scope_each(tx, scope_count, &count);

    return err != LK_OK || count == 1
               ? err
               : lk_svc_refuse(c, LK_SVC_HUBS_SHARED,
                               "The hubs serve several ID scopes: they are changed on the "
                               "service's own machine");
}

static struct lk_hub_author
author_of(const struct lk_service_call *c, char actor[LK_SVC_ACTOR_CAP])
{
    lk_svc_actor(c, actor);
    return (struct lk_hub_author){.actor = actor, .request_id = lk_http_request_id(c->req)};
}

/* What the client is told when a change was not made. */
static enum lk_err
change_end(struct lk_service_call *c, enum lk_err err)
{
    switch (err) {
    case LK_ERR_NOT_FOUND:
        return lk_svc_refuse(c, LK_SVC_NO_HUB, "Hub not found");
    case LK_ERR_EXISTS:
        return lk_svc_refuse(c, LK_SVC_HUB_EXISTS, "Hub already exists");
    case LK_ERR_LIMIT:
        return lk_svc_refuse(c, LK_SVC_TOO_MANY, "There are as many hubs as can be served");
    case LK_ERR_REFUSED:
        return lk_svc_refuse(c, LK_SVC_HUB_IN_USE, "Devices are assigned to the hub");
    case LK_ERR_ARG:
        return lk_svc_refuse(c, LK_SVC_BAD_REQUEST,
                             "connectionString: the hub is embedded, it has none");
    default:
        return err;
    }
}

static void
hub_drop(struct lk_hub *hub)
{
    lk_hub_fini(hub);
}
#define AUTO_HUB __attribute__((cleanup(hub_drop))) struct lk_hub

static enum lk_err
hub_answer(struct lk_service_call *c, const struct lk_hub *hub)
{
    LK_AUTO(json) json_t *object = json_object();

    return lk_svc_answer(c, lk_hub_json_put(hub, object), object);
}

static enum lk_err
put_run(struct lk_service_call *c, struct lk_txn *tx)
{
    const struct lk_hub_change *change = &c->hub_change;
    const struct lk_buf *sealed = change->sealed_connection;
    AUTO_HUB hub = {.kind = sealed != NULL ? LK_HUB_HTTP : LK_HUB_EMBEDDED,
                    .weight = change->weight != 0 ? change->weight : 1,
                    .allocatable = !change->has_allocatable || change->allocatable};
    char actor[LK_SVC_ACTOR_CAP];
    const struct lk_hub_author by = author_of(c, actor);
    enum lk_err err = scope_check(c, tx);

    if (err != LK_OK) {
        return err;
    }
    if ((err = lk_strcpy(hub.name, sizeof(hub.name), c->hub)) != LK_OK ||
        (err = lk_strcpy(hub.region, sizeof(hub.region),
                         change->region != NULL ? change->region : "")) != LK_OK ||
        (sealed != NULL &&
         (err = lk_buf_put(&hub.sealed_connection, sealed->data, sealed->len)) != LK_OK) ||
        (err = lk_linked_hub_add(tx, &by, &hub)) != LK_OK ||
        (err = lk_txn_hub_get(tx, c->hub, &hub)) != LK_OK) {
        return change_end(c, err);
    }
    return hub_answer(c, &hub);
}

static enum lk_err
patch_run(struct lk_service_call *c, struct lk_txn *tx)
{
    AUTO_HUB hub = {.weight = 0};
    char actor[LK_SVC_ACTOR_CAP];
    const struct lk_hub_author by = author_of(c, actor);
    enum lk_err err = scope_check(c, tx);

    if (err != LK_OK) {
        return err;
    }
    err = lk_linked_hub_change(tx, &by, c->hub, &c->hub_change, &hub);
    return err != LK_OK ? change_end(c, err) : hub_answer(c, &hub);
}

static enum lk_err
delete_run(struct lk_service_call *c, struct lk_txn *tx)
{
    LK_AUTO(json) json_t *object = json_object();
    struct lk_hub_removal removal = {.force = c->force, .limit = LK_HUB_REMOVE_ROWS};
    char actor[LK_SVC_ACTOR_CAP];
    const struct lk_hub_author by = author_of(c, actor);
    enum lk_err err = scope_check(c, tx);

    if (err != LK_OK) {
        return err;
    }
    err = lk_linked_hub_remove(tx, &by, c->hub, &removal);
    return err != LK_OK ? change_end(c, err)
                        : lk_svc_answer(c, lk_hub_removal_json_put(&removal, object), object);
}

#define CHANGE_RIGHTS (LK_RIGHT_SERVICE_CONFIG | LK_RIGHT_ENROLLMENT_WRITE)

const struct lk_svc_operation lk_svc_hubs_list = {
    "hubs", LK_RIGHT_SERVICE_CONFIG, false, "list", NULL, list_run};
const struct lk_svc_operation lk_svc_hub_put = {"hub_put", CHANGE_RIGHTS, true,
                                                NULL,      put_form,      put_run};
const struct lk_svc_operation lk_svc_hub_patch = {"hub_patch", CHANGE_RIGHTS, true,
                                                  NULL,        patch_form,    patch_run};
const struct lk_svc_operation lk_svc_hub_delete = {
    "hub_delete", CHANGE_RIGHTS | LK_RIGHT_REGISTRATION_STATUS_WRITE, true, NULL, delete_form,
    delete_run};
