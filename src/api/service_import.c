/* Imports of manifests below /latchkey/v1: listed, and undone. */
#include <string.h>

#include "api/import_json.h"
#include "api/service_int.h"
#include "base/codec.h"
#include "wire/members.h"

#define IMPORTS_PAGE_MAX 200u /* of one answer */

/* ---- list -------------------------------------------------------------------------------------
 */

static enum lk_err
list_form(struct lk_service_call *c)
{
    uint64_t limit = IMPORTS_PAGE_MAX;
    enum lk_err err;

    if ((err = lk_svc_parameter(c, "before", INT64_MAX / 2, &c->import_id)) != LK_OK ||
        (err = lk_svc_parameter(c, "limit", INT64_MAX / 2, &limit)) != LK_OK) {
        return err;
    }
    c->page_max = limit < IMPORTS_PAGE_MAX ? (size_t)limit : IMPORTS_PAGE_MAX;
    return LK_OK;
}

static enum lk_err
import_each(void *ctx, const struct lk_import *i)
{
    json_t *object = json_object();

    return json_array_append_new((json_t *)ctx, object) != 0 ? LK_ERR_NOMEM
                                                             : lk_import_entry_put(i, object);
}

static enum lk_err
list_run(struct lk_service_call *c, struct lk_txn *tx)
{
    LK_AUTO(json) json_t *root = json_object();
    json_t *list = json_array();
    enum lk_err err = lk_member_put(root, "imports", list);

    if (err == LK_OK && c->page_max > 0) {
        err = lk_txn_import_page(tx, c->scope.id, (int64_t)c->import_id, c->page_max, import_each,
                                 list);
    }
    return lk_svc_answer(c, err, root);
}

/* ---- undo -------------------------------------------------------------------------------------
 */

static enum lk_err
id_form(struct lk_service_call *c)
{
    const char *id = c->route.id;

    if (lk_decimal_parse(id, strlen(id), &c->import_id) != LK_OK || c->import_id == 0 ||
        c->import_id > INT64_MAX / 2) {
        return lk_svc_fault(&c->fault, LK_DPS_NOT_FOUND, "Import not found");
    }
    return LK_OK;
}

static enum lk_err
undo_form(struct lk_service_call *c)
{
    uint64_t force = 0;
    enum lk_err err = id_form(c);

    if (err != LK_OK || (err = lk_svc_parameter(c, "force", 1, &force)) != LK_OK) {
        return err;
    }
    c->force = force == 1;
    return LK_OK;
}

static enum lk_err
undo_run(struct lk_service_call *c, struct lk_txn *tx)
{
    LK_AUTO(json) json_t *root = json_object();
    struct lk_import_undone undone;
    char actor[LK_SVC_ACTOR_CAP];
    bool left = false;
    enum lk_err err;

    lk_svc_actor(c, actor);
    err = lk_import_undo_step(tx, c->scope.id, (int64_t)c->import_id, c->force, actor,
                              LK_IMPORT_UNDO_ROWS, &undone, &left);
    if (err == LK_ERR_NOT_FOUND) {
        return lk_svc_refuse(c, LK_DPS_NOT_FOUND, "Import not found");
    }
    if (err != LK_OK || (err = lk_import_undone_put(&undone, left, root)) != LK_OK) {
        return err;
    }
    return lk_svc_answer(c, LK_OK, root);
}

const struct lk_svc_operation lk_svc_imports_list = {
    "imports", LK_RIGHT_ENROLLMENT_READ, false, "list", list_form, list_run};
const struct lk_svc_operation lk_svc_import_undo = {
    "import_undo", LK_RIGHT_ENROLLMENT_WRITE, true, NULL, undo_form, undo_run};
