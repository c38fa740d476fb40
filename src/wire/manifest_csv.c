/* Manifest rows as CSV: RFC 4180. */
#include <assert.h>
#include <string.h>

#include "wire/manifest_int.h"

/* ---- the syntax ------------------------------------------------------------------------------ */

/*
 * Within a record:
 *
 *   START    --"-->  QUOTED     --,-->  START   other --> PLAIN
 *   PLAIN    --,-->  START      a quote here is an error
 *   QUOTED   --"-->  CLOSED     everything else stays
 *   CLOSED   --"-->  QUOTED     (a doubled quote)  --,--> START   other is an error
 */
enum place { START, PLAIN, QUOTED, CLOSED };

/* The move over c; false when there is none. */
static bool
place_next(enum place *at, char c)
{
    switch (*at) {
    case START:
        *at = c == '"' ? QUOTED : c == ',' ? START : PLAIN;
        return true;
    case PLAIN:
        *at = c == ',' ? START : PLAIN;
        return c != '"';
    case QUOTED:
        *at = c == '"' ? CLOSED : QUOTED;
        return true;
    case CLOSED:
        *at = c == '"' ? QUOTED : START;
        return c == '"' || c == ',';
    }
    return false;
}

enum csv_state
lk_csv_scan(const char *text, size_t len, size_t *ret_index, const char **ret_why)
{
    enum place at = START;
    size_t index = 0;

    for (size_t i = 0; i < len; i++) {
        enum place before = at;

        if (!place_next(&at, text[i])) {
            *ret_index = index;
            *ret_why = before == PLAIN
                           ? "expected quotes around the whole field, those inside doubled"
                           : "expected a comma or the end of the row after the closing quote";
            return CSV_BAD;
        }
        index += at == START ? 1 : 0;
    }
    if (at != QUOTED) {
        return CSV_WHOLE;
    }
    *ret_index = index;
    *ret_why = "expected a closing quote";
    return CSV_OPEN;
}

/* Unquote the field at the start of text in place; returns the bytes up to its comma or the end. */
static size_t
field_take(char *text, size_t len, struct csv_text *ret)
{
    enum place at = START;
    size_t kept = 0, i;

    for (i = 0; i < len; i++) {
        enum place before = at;
        bool legal = place_next(&at, text[i]);

        assert(legal); /* lk_csv_scan() has seen the record */
        if (at == START) {
            break;
        }
        if (at == PLAIN || (at == QUOTED && before != START)) {
            text[kept++] = text[i];
        }
    }
    *ret = (struct csv_text){text, kept};
    return i;
}

enum lk_err
lk_csv_split(char *text, size_t len, struct csv_text fields[LK_MANIFEST_COLUMNS_MAX],
             size_t *ret_count)
{
    size_t count = 0, start = 0;

    while (start <= len) {
        if (count == LK_MANIFEST_COLUMNS_MAX) {
            return LK_ERR_LIMIT;
        }
        start += field_take(text + start, len - start, &fields[count++]) + 1;
    }
    *ret_count = count;
    return LK_OK;
}

static enum lk_err
field_put(const char *text, size_t len, struct lk_buf *ret)
{
    enum lk_err err = lk_buf_put_u8(ret, '"');

    for (size_t i = 0; err == LK_OK && i < len; i++) {
        err = text[i] == '"' ? lk_buf_puts(ret, "\"\"") : lk_buf_put_u8(ret, (uint8_t)text[i]);
    }
    return err != LK_OK ? err : lk_buf_put_u8(ret, '"');
}

static bool
needs_quotes(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '"' || text[i] == ',' || text[i] == '\n' || text[i] == '\r') {
            return true;
        }
    }
    return false;
}

/* ---- the header ------------------------------------------------------------------------------ */

static enum lk_err
column_add(const struct csv_text *name, struct csv_columns *columns,
           struct lk_manifest_problem *problem)
{
    char excerpt[EXCERPT_CAP];
    enum manifest_field field;

    if (lk_manifest_field_find(name->p, name->len, &field) != LK_OK) {
        return lk_manifest_refuse(problem, lk_manifest_excerpt(name->p, name->len, excerpt),
                                  "no such column; the manual page lists them");
    }
    for (size_t i = 0; i < columns->count; i++) {
        if (columns->fields[i] == field) {
            return lk_manifest_refuse(problem, lk_manifest_field_name(field),
                                      "the column is there twice");
        }
    }
    columns->fields[columns->count++] = field;
    return LK_OK;
}

static bool
column_is_there(const struct csv_columns *columns, enum manifest_field field)
{
    for (size_t i = 0; i < columns->count; i++) {
        if (columns->fields[i] == field) {
            return true;
        }
    }
    return false;
}

enum lk_err
lk_csv_header_parse(char *text, size_t len, struct csv_columns *ret,
                    struct lk_manifest_problem *problem)
{
    static const enum manifest_field needed[] = {FIELD_REGISTRATION_ID, FIELD_ENDORSEMENT_KEY};
    struct csv_text names[LK_MANIFEST_COLUMNS_MAX];
    struct csv_columns columns = {.count = 0};
    const char *why;
    size_t count = 0, index;
    enum lk_err err;

    if (lk_csv_scan(text, len, &index, &why) != CSV_WHOLE ||
        lk_csv_split(text, len, names, &count) != LK_OK) {
        return lk_manifest_refuse(problem, "", "expected a row of column names");
    }
    for (size_t i = 0; i < count; i++) {
        if ((err = column_add(&names[i], &columns, problem)) != LK_OK) {
            return err;
        }
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(needed); i++) {
        if (!column_is_there(&columns, needed[i])) {
            return lk_manifest_refuse(problem, lk_manifest_field_name(needed[i]),
                                      "the header row has no such column");
        }
    }
    *ret = columns;
    return LK_OK;
}

enum lk_err
lk_csv_header_format(struct lk_buf *ret)
{
    enum lk_err err = LK_OK;

    for (unsigned f = 0; err == LK_OK && f < FIELD_WRITTEN_COUNT; f++) {
        err = lk_buf_printf(ret, "%s%s", f == 0 ? "" : ",",
                            lk_manifest_field_name((enum manifest_field)f));
    }
    return err != LK_OK ? err : lk_buf_puts(ret, "\r\n");
}

/* ---- a row ----------------------------------------------------------------------------------- */

static bool
is_separator(char c)
{
    return c == ' ' || c == ';' || c == '\t' || c == '\r' || c == '\n';
}

/* Several values in one field. */
static enum lk_err
list_set(struct lk_manifest_row *row, enum manifest_field field, const struct csv_text *text,
         struct lk_manifest_problem *problem)
{
    size_t end, start = 0;
    enum lk_err err;

    while (start < text->len) {
        for (end = start; end < text->len && !is_separator(text->p[end]);) {
            end++;
        }
        if ((err = lk_manifest_value_set(row, field, text->p + start, end - start, problem)) !=
            LK_OK) {
            return err;
        }
        start = end + 1;
    }
    return LK_OK;
}

enum lk_err
lk_csv_row_parse(const struct csv_columns *columns, char *text, size_t len,
                 struct lk_manifest_row *row, struct lk_manifest_problem *problem)
{
    struct csv_text fields[LK_MANIFEST_COLUMNS_MAX];
    size_t count = 0;
    enum lk_err err;

    if (lk_csv_split(text, len, fields, &count) != LK_OK || count != columns->count) {
        return lk_manifest_refuse(problem, "", "expected %zu fields, as the header row has",
                                  columns->count);
    }
    for (size_t i = 0; i < count; i++) {
        enum manifest_field field = columns->fields[i];

        err = field == FIELD_ENDORSEMENT_KEY || field == FIELD_IOT_HUBS
                  ? list_set(row, field, &fields[i], problem)
                  : lk_manifest_value_set(row, field, fields[i].p, fields[i].len, problem);
        if (err != LK_OK) {
            return err;
        }
    }
    return lk_manifest_row_check(row, problem);
}

enum lk_err
lk_csv_row_format(const struct lk_manifest_row *row, struct lk_buf *ret)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    enum lk_err err = LK_OK;

    for (unsigned f = 0; err == LK_OK && f < FIELD_WRITTEN_COUNT; f++) {
        enum manifest_field field = (enum manifest_field)f;
        size_t count = lk_manifest_values_count(row, field);

        lk_buf_reset(&text);
        for (size_t i = 0; err == LK_OK && i < count; i++) {
            err = i == 0 ? LK_OK : lk_buf_put_u8(&text, ' ');
            err = err != LK_OK ? err : lk_manifest_value_put(row, field, i, &text);
        }
        if (err != LK_OK || (f > 0 && (err = lk_buf_put_u8(ret, ',')) != LK_OK)) {
            return err;
        }
        err = needs_quotes((const char *)text.data, text.len)
                  ? field_put((const char *)text.data, text.len, ret)
                  : lk_buf_put(ret, text.data, text.len);
    }
    return err != LK_OK ? err : lk_buf_puts(ret, "\r\n");
}
