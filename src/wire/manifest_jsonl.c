/* Manifest rows as JSON lines: one object a row. */
#include <string.h>

#include "wire/manifest_int.h"
#include "wire/wire_int.h"

#define KEYS_NAME "endorsementKeys" /* the list; one key alone is called endorsementKey */

static enum lk_err
text_set(struct lk_manifest_row *row, enum manifest_field field, const char *name,
         const json_t *value, struct lk_manifest_problem *problem)
{
    if (!json_is_string(value)) {
        return lk_manifest_refuse(problem, name, "expected a text");
    }
    return lk_manifest_value_set(row, field, json_string_value(value), json_string_length(value),
                                 problem);
}

static enum lk_err
list_set(struct lk_manifest_row *row, enum manifest_field field, const char *name,
         const json_t *value, struct lk_manifest_problem *problem)
{
    const json_t *one;
    size_t index;
    enum lk_err err;

    if (!json_is_array(value)) {
        return lk_manifest_refuse(problem, name, "expected an array of texts");
    }
    json_array_foreach(value, index, one)
    {
        if ((err = text_set(row, field, name, one, problem)) != LK_OK) {
            return err;
        }
    }
    return LK_OK;
}

static enum lk_err
member_set(struct lk_manifest_row *row, const char *name, const json_t *value,
           struct lk_manifest_problem *problem)
{
    enum manifest_field field;

    if (json_is_null(value)) {
        return LK_OK;
    }
    if (strcmp(name, KEYS_NAME) == 0) {
        return row->eks_count > 0
                   ? lk_manifest_refuse(problem, name, "expected only one of it and endorsementKey")
                   : list_set(row, FIELD_ENDORSEMENT_KEY, name, value, problem);
    }
    if (lk_manifest_field_find(name, strlen(name), &field) != LK_OK) {
        return lk_manifest_refuse(problem, name, "no such member; the manual page lists them");
    }
    if (field == FIELD_ENDORSEMENT_KEY && row->eks_count > 0) {
        return lk_manifest_refuse(problem, name, "expected only one of it and " KEYS_NAME);
    }
    if (field == FIELD_IOT_HUBS) {
        return list_set(row, field, name, value, problem);
    }
    return field == FIELD_INITIAL_TWIN ? lk_manifest_twin_set(row, value, problem)
                                       : text_set(row, field, name, value, problem);
}

enum lk_err
lk_jsonl_row_parse(const char *text, size_t len, struct lk_manifest_row *row,
                   struct lk_manifest_problem *problem)
{
    LK_AUTO(json) json_t *root = NULL;
    char error[LK_JSON_ERROR_CAP];
    const char *name;
    json_t *value;
    enum lk_err err;

    err = lk_json_parse(text, len, false, error, &root);
    if (err == LK_ERR_FORMAT) {
        return lk_manifest_refuse(problem, "", "expected one JSON object: %s", error);
    }
    if (err != LK_OK) {
        return err;
    }
    json_object_foreach(root, name, value)
    {
        if ((err = member_set(row, name, value, problem)) != LK_OK) {
            return err;
        }
    }
    return lk_manifest_row_check(row, problem);
}

/* One value of a field as a JSON text. */
static enum lk_err
value_json(const struct lk_manifest_row *row, enum manifest_field field, size_t index, json_t **ret)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    enum lk_err err = lk_manifest_value_put(row, field, index, &text);

    if (err != LK_OK) {
        return err;
    }
    *ret = lk_buf_text(&text) == NULL ? NULL : json_string(lk_buf_text(&text));
    return *ret == NULL ? LK_ERR_NOMEM : LK_OK;
}

static enum lk_err
list_put(json_t *root, const char *name, const struct lk_manifest_row *row,
         enum manifest_field field, size_t count)
{
    json_t *list = json_array(), *value = NULL;
    enum lk_err err = lk_member_put(root, name, list);

    for (size_t i = 0; err == LK_OK && i < count; i++) {
        err = value_json(row, field, i, &value);
        if (err == LK_OK && json_array_append_new(list, value) != 0) {
            err = LK_ERR_NOMEM;
        }
    }
    return err;
}

static enum lk_err
field_put(json_t *root, const struct lk_manifest_row *row, enum manifest_field field)
{
    size_t count = lk_manifest_values_count(row, field);
    json_t *value = NULL;
    enum lk_err err;

    if (count == 0) {
        return LK_OK;
    }
    if (field == FIELD_INITIAL_TWIN) {
        return lk_member_json(root, lk_manifest_field_name(field), &row->initial_twin);
    }
    if (field == FIELD_IOT_HUBS) {
        return list_put(root, lk_manifest_field_name(field), row, field, count);
    }
    if (field == FIELD_ENDORSEMENT_KEY && count > 1) {
        return list_put(root, KEYS_NAME, row, field, count);
    }
    err = value_json(row, field, 0, &value);
    return err != LK_OK ? err : lk_member_put(root, lk_manifest_field_name(field), value);
}

enum lk_err
lk_jsonl_row_format(const struct lk_manifest_row *row, struct lk_buf *ret)
{
    LK_AUTO(json) json_t *root = json_object();
    enum lk_err err = LK_OK;

    if (root == NULL) {
        return LK_ERR_NOMEM;
    }
    for (unsigned f = 0; err == LK_OK && f < FIELD_WRITTEN_COUNT; f++) {
        err = field_put(root, row, (enum manifest_field)f);
    }
    if (err != LK_OK || (err = lk_json_write(root, ret)) != LK_OK) {
        return err;
    }
    return lk_buf_puts(ret, "\n");
}
