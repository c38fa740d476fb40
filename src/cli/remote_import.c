/* Imports of a service elsewhere. */
#include "cli/remote_import.h"

#include <inttypes.h>
#include <stdio.h>

#include "api/import_json.h"

enum lk_err
lk_remote_imports(struct lk_remote *r, int64_t before, size_t limit,
                  enum lk_err (*each)(void *ctx, const struct lk_import *), void *ctx)
{
    char query[64];
    const struct lk_remote_request q = {
        .method = "GET", .path = "/latchkey/v1/imports", .query = query};
    LK_AUTO_REMOTE_ANSWER struct lk_remote_answer a = {.json = NULL};
    const json_t *list;
    enum lk_err err;

    (void)snprintf(query, sizeof(query), "before=%" PRId64 "&limit=%zu", before, limit);
    if ((err = lk_remote_call(r, &q, &a)) != LK_OK) {
        return err;
    }
    list = json_object_get(a.json, "imports");
    if (!json_is_array(list)) {
        return LK_ERR_PROTOCOL;
    }
    for (size_t i = 0; err == LK_OK && i < json_array_size(list); i++) {
        struct lk_import import;

        err = lk_import_entry_parse(json_array_get(list, i), &import) == LK_OK ? each(ctx, &import)
                                                                               : LK_ERR_PROTOCOL;
    }
    return err;
}

/* One call; LK_ERR_NOT_FOUND also when somebody else has removed the rest meanwhile. */
static enum lk_err
undo_step(struct lk_remote *r, int64_t import_id, bool force, struct lk_import_undone *ret,
          bool *ret_left)
{
    char id[24];
    const struct lk_remote_request q = {.method = "DELETE",
                                        .path = "/latchkey/v1/imports",
                                        .id = id,
                                        .query = force ? "force=1" : NULL};
    LK_AUTO_REMOTE_ANSWER struct lk_remote_answer a = {.json = NULL};
    enum lk_err err;

    (void)snprintf(id, sizeof(id), "%" PRId64, import_id);
    if ((err = lk_remote_call(r, &q, &a)) != LK_OK) {
        return err;
    }
    return lk_import_undone_parse(a.json, ret, ret_left) == LK_OK ? LK_OK : LK_ERR_PROTOCOL;
}

enum lk_err
lk_remote_import_undo(struct lk_remote *r, int64_t import_id, bool force,
                      void (*progress)(void *ctx, int64_t rows_removed), void *ctx,
                      struct lk_import_undone *ret)
{
    struct lk_import_undone again;
    int64_t removed = LK_IMPORT_UNDO_ROWS;
    bool left = false;
    enum lk_err err = undo_step(r, import_id, force, ret, &left);

    while (err == LK_OK && left) {
        progress(ctx, removed);
        err = undo_step(r, import_id, force, &again, &left);
        err = err == LK_ERR_NOT_FOUND ? LK_OK : err;
        removed += LK_IMPORT_UNDO_ROWS;
    }
    return err;
}
