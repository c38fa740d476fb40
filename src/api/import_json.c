#include "api/import_json.h"

#include <string.h>

#include "api/manage_json.h"
#include "base/codec.h"
#include "wire/members.h"

/* ---- members ----------------------------------------------------------------------------------
 */

static enum lk_err
number_get(const json_t *object, const char *name, int64_t min, int64_t *ret)
{
    const json_t *value = json_object_get(object, name);

    if (!json_is_integer(value) || json_integer_value(value) < min) {
        return LK_ERR_FORMAT;
    }
    *ret = json_integer_value(value);
    return LK_OK;
}

static enum lk_err
time_get(const json_t *object, const char *name, int64_t *ret)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text != NULL ? lk_timestamp_parse(text, strlen(text), ret) : LK_ERR_FORMAT;
}

static enum lk_err
bool_get(const json_t *object, const char *name, bool *ret)
{
    const json_t *value = json_object_get(object, name);

    *ret = json_is_true(value);
    return json_is_boolean(value) ? LK_OK : LK_ERR_FORMAT;
}

/* ---- an import in a list ----------------------------------------------------------------------
 */

static const char *const states[] = {[LK_IMPORT_STAGING] = "staging",
                                     [LK_IMPORT_FINISHED] = "finished",
                                     [LK_IMPORT_DROPPING] = "dropping"};

static enum lk_err
state_get(const json_t *object, enum lk_import_state *ret)
{
    const char *text = json_string_value(json_object_get(object, "state"));

    for (size_t i = 0; text != NULL && i < LK_ARRAY_LEN(states); i++) {
        if (strcmp(text, states[i]) == 0) {
            *ret = (enum lk_import_state)i;
            return LK_OK;
        }
    }
    return LK_ERR_FORMAT;
}

enum lk_err
lk_import_entry_put(const struct lk_import *i, json_t *object)
{
    enum lk_err err;

    if ((err = lk_member_put(object, "id", json_integer(i->id))) != LK_OK ||
        (err = lk_member_text(object, "state", states[i->state])) != LK_OK ||
        (err = lk_member_put(object, "rows", json_integer(i->rows_count))) != LK_OK ||
        (err = lk_member_time_some(object, "begunDateTimeUtc", i->begun_ms)) != LK_OK ||
        (err = lk_member_time_some(object, "touchedDateTimeUtc", i->touched_ms)) != LK_OK) {
        return err;
    }
    return lk_member_put(object, "source", lk_any_text_json(i->source));
}

enum lk_err
lk_import_entry_parse(const json_t *object, struct lk_import *ret)
{
    const char *source = json_string_value(json_object_get(object, "source"));
    struct lk_import i = {.id = 0};

    if (source == NULL || number_get(object, "id", 1, &i.id) != LK_OK ||
        state_get(object, &i.state) != LK_OK ||
        number_get(object, "rows", 0, &i.rows_count) != LK_OK ||
        time_get(object, "begunDateTimeUtc", &i.begun_ms) != LK_OK ||
        time_get(object, "touchedDateTimeUtc", &i.touched_ms) != LK_OK) {
        return LK_ERR_FORMAT;
    }
    lk_text_cut(i.source, sizeof(i.source), source); /* bytes may have become longer in UTF-8 */
    *ret = i;
    return LK_OK;
}

/* ---- an undo ----------------------------------------------------------------------------------
 */

enum lk_err
lk_import_undone_put(const struct lk_import_undone *u, bool left, json_t *object)
{
    enum lk_err err;

    if ((err = lk_member_put(object, "unfinished", json_boolean(u->unfinished))) != LK_OK ||
        (err = lk_member_put(object, "gone", json_integer(u->rows_gone))) != LK_OK ||
        (err = lk_member_put(object, "kept", json_integer(u->rows_kept))) != LK_OK) {
        return err;
    }
    return lk_member_put(object, "left", json_boolean(left));
}

enum lk_err
lk_import_undone_parse(const json_t *object, struct lk_import_undone *ret, bool *ret_left)
{
    struct lk_import_undone u = {.unfinished = false};
    bool left = false;

    if (bool_get(object, "unfinished", &u.unfinished) != LK_OK ||
        number_get(object, "gone", 0, &u.rows_gone) != LK_OK ||
        number_get(object, "kept", 0, &u.rows_kept) != LK_OK ||
        bool_get(object, "left", &left) != LK_OK) {
        return LK_ERR_FORMAT;
    }
    *ret = u;
    *ret_left = left;
    return LK_OK;
}
