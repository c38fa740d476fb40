#include "wire/query.h"

#include <stdio.h>
#include <string.h>

#include "base/codec.h"

/* ---- which fields each collection has --------------------------------------------------------
 */

struct field_name {
    const char *name;
    enum lk_query_field field;
    unsigned collections; /* bits of 1 << enum lk_query_collection */
};

#define ENROLLMENTS (1u << LK_QUERY_ENROLLMENTS)
#define GROUPS (1u << LK_QUERY_GROUPS)
#define REGISTRATIONS (1u << LK_QUERY_REGISTRATIONS)
#define DEVICES (1u << LK_QUERY_DEVICES)

static const struct field_name field_names[] = {
    {"registrationId", LK_QF_ID, ENROLLMENTS | REGISTRATIONS},
    {"enrollmentGroupId", LK_QF_ID, GROUPS},
    {"deviceId", LK_QF_DEVICE_ID, ENROLLMENTS | REGISTRATIONS},
    {"deviceId", LK_QF_EXACT_ID, DEVICES},
    {"provisioningStatus", LK_QF_STATUS, ENROLLMENTS | GROUPS},
    {"attestation.type", LK_QF_ATTESTATION, ENROLLMENTS | GROUPS},
    {"attestationType", LK_QF_ATTESTATION, ENROLLMENTS | GROUPS},
    {"allocationPolicy", LK_QF_ALLOCATION, ENROLLMENTS | GROUPS},
    {"iotHubs", LK_QF_HUB, ENROLLMENTS | GROUPS},
    {"assignedHub", LK_QF_HUB, REGISTRATIONS},
    {"status", LK_QF_REG_STATUS, REGISTRATIONS},
    {"status", LK_QF_STATUS, DEVICES},
    {"authenticationType", LK_QF_ATTESTATION, DEVICES},
    {"connectionState", LK_QF_CONNECTION, DEVICES},
    {"createdDateTimeUtc", LK_QF_CREATED, ENROLLMENTS | GROUPS | REGISTRATIONS},
    {"lastUpdatedDateTimeUtc", LK_QF_UPDATED, ENROLLMENTS | GROUPS | REGISTRATIONS},
};

static bool
is_time(enum lk_query_field field)
{
    return field == LK_QF_CREATED || field == LK_QF_UPDATED;
}

/* The key of the rows, by whose order they are walked. */
static bool
is_key(enum lk_query_field field)
{
    return field == LK_QF_ID || field == LK_QF_EXACT_ID;
}

/* Only these have an order; for the rest "less than" would mean nothing. */
static bool
is_ordered(enum lk_query_field field)
{
    return is_time(field) || is_key(field);
}

/* Device ids are the one text that keeps its case. */
static bool
ignores_case(enum lk_query_field field)
{
    return field != LK_QF_DEVICE_ID && field != LK_QF_EXACT_ID;
}

/* ---- words -----------------------------------------------------------------------------------
 */

struct scanner {
    const char *text;
    size_t len, at;
    char *error; /* LK_QUERY_ERROR_CAP, or NULL */
};

static bool
is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool
is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_';
}

static void
space_skip(struct scanner *s)
{
    while (s->at < s->len && is_space(s->text[s->at])) {
        s->at++;
    }
}

static bool
at_end(struct scanner *s)
{
    space_skip(s);
    return s->at == s->len;
}

static enum lk_err
expected(const struct scanner *s, const char *what)
{
    if (s->error != NULL) {
        (void)snprintf(s->error, LK_QUERY_ERROR_CAP, "expected %s at character %zu of the query",
                       what, s->at + 1);
    }
    return LK_ERR_FORMAT;
}

/* Take the next word if it is this one. */
static bool
word_take(struct scanner *s, const char *word)
{
    size_t len = 0;

    space_skip(s);
    while (s->at + len < s->len && is_word(s->text[s->at + len])) {
        len++;
    }
    if (!lk_ascii_caseeq(s->text + s->at, len, word, strlen(word))) {
        return false;
    }
    s->at += len;
    return true;
}

static bool
char_take(struct scanner *s, char c)
{
    space_skip(s);
    if (s->at == s->len || s->text[s->at] != c) {
        return false;
    }
    s->at++;
    return true;
}

/* ---- a condition -----------------------------------------------------------------------------
 */

static enum lk_err
field_parse(struct scanner *s, enum lk_query_collection collection, enum lk_query_field *ret)
{
    for (size_t i = 0; i < LK_ARRAY_LEN(field_names); i++) {
        if ((field_names[i].collections & 1u << collection) != 0 &&
            word_take(s, field_names[i].name)) {
            *ret = field_names[i].field;
            return LK_OK;
        }
    }
    return expected(s, "a field that can be queried");
}

static enum lk_err
op_parse(struct scanner *s, enum lk_query_op *ret)
{
    if (char_take(s, '=')) {
        *ret = LK_QO_EQ;
    } else if (char_take(s, '!')) {
        if (s->at == s->len || s->text[s->at] != '=') {
            return expected(s, "= after !");
        }
        s->at++;
        *ret = LK_QO_NE;
    } else if (char_take(s, '<')) {
        bool has_more = s->at < s->len;

        *ret = has_more && s->text[s->at] == '='   ? LK_QO_LE
               : has_more && s->text[s->at] == '>' ? LK_QO_NE
                                                   : LK_QO_LT;
        s->at += *ret != LK_QO_LT;
    } else if (char_take(s, '>')) {
        *ret = s->at < s->len && s->text[s->at] == '=' ? LK_QO_GE : LK_QO_GT;
        s->at += *ret != LK_QO_GT;
    } else {
        return expected(s, "one of = != < <= > >=");
    }
    return LK_OK;
}

/* A quoted text; its quote written twice stands for one. */
static enum lk_err
value_parse(struct scanner *s, char ret[LK_QUERY_VALUE_MAX + 1])
{
    size_t len = 0;
    char quote;

    space_skip(s);
    if (s->at == s->len || (s->text[s->at] != '\'' && s->text[s->at] != '"')) {
        return expected(s, "a quoted value");
    }
    quote = s->text[s->at++];
    for (; s->at < s->len; s->at++) {
        char c = s->text[s->at];

        if (c == quote) {
            s->at++;
            if (s->at == s->len || s->text[s->at] != quote) {
                ret[len] = '\0';
                return LK_OK;
            }
        }
        if (c == '\0' || len == LK_QUERY_VALUE_MAX) {
            return expected(s, "a value of at most 256 characters");
        }
        ret[len++] = c;
    }
    return expected(s, "the quote that ends the value");
}

static enum lk_err
condition_parse(struct scanner *s, enum lk_query_collection collection,
                struct lk_query_condition *ret)
{
    size_t op_at, value_at;
    enum lk_err err;

    if ((err = field_parse(s, collection, &ret->field)) != LK_OK) {
        return err;
    }
    space_skip(s);
    op_at = s->at;
    if ((err = op_parse(s, &ret->op)) != LK_OK) {
        return err;
    }
    if (ret->op != LK_QO_EQ && ret->op != LK_QO_NE && !is_ordered(ret->field)) {
        s->at = op_at;
        return expected(s, "= or != for this field");
    }
    space_skip(s);
    value_at = s->at;
    if ((err = value_parse(s, ret->text)) != LK_OK) {
        return err;
    }
    if (ignores_case(ret->field)) {
        lk_ascii_lower(ret->text);
    }
    if (is_time(ret->field) &&
        lk_timestamp_parse(ret->text, strlen(ret->text), &ret->time_ms) != LK_OK) {
        s->at = value_at;
        return expected(s, "a time such as '2026-01-02T03:04:05Z'");
    }
    return LK_OK;
}

/* ---- a query ---------------------------------------------------------------------------------
 */

static enum lk_err
from_parse(struct scanner *s, enum lk_query_collection collection)
{
    static const char *const names[LK_QUERY_COLLECTIONS] = {
        [LK_QUERY_ENROLLMENTS] = "enrollments",
        [LK_QUERY_GROUPS] = "enrollmentGroups",
        [LK_QUERY_REGISTRATIONS] = "deviceRegistrations",
        [LK_QUERY_DEVICES] = "devices",
    };

    if (!word_take(s, "from") || word_take(s, names[collection])) {
        return LK_OK;
    }
    return expected(s, names[collection]);
}

static enum lk_err
where_parse(struct scanner *s, enum lk_query_collection collection, struct lk_query *q)
{
    enum lk_err err;

    if (!word_take(s, "where")) {
        return LK_OK;
    }
    do {
        if (q->conditions_count == LK_QUERY_CONDITIONS_MAX) {
            (void)expected(s, "at most 8 conditions");
            return LK_ERR_LIMIT;
        }
        if ((err = condition_parse(s, collection, &q->conditions[q->conditions_count])) != LK_OK) {
            return err;
        }
        q->conditions_count++;
    } while (word_take(s, "and"));
    return LK_OK;
}

enum lk_err
lk_query_parse(enum lk_query_collection collection, const char *text, size_t len,
               char error[LK_QUERY_ERROR_CAP], struct lk_query *ret)
{
    struct scanner s = {text, len, 0, error};
    struct lk_query q = {.conditions_count = 0};
    enum lk_err err;

    if (len > LK_QUERY_MAX) {
        (void)expected(&s, "a query of at most 1024 characters");
        return LK_ERR_LIMIT;
    }
    if (char_take(&s, '*')) {
        (void)char_take(&s, ';'); /* optional */
    } else {
        if (!word_take(&s, "select")) {
            return expected(&s, "SELECT");
        }
        if (!char_take(&s, '*')) {
            return expected(&s, "* (other projections are not served)");
        }
        if ((err = from_parse(&s, collection)) != LK_OK ||
            (err = where_parse(&s, collection, &q)) != LK_OK) {
            return err;
        }
        (void)char_take(&s, ';'); /* optional */
    }
    if (!at_end(&s)) {
        return expected(&s, q.conditions_count > 0 ? "AND, or the end" : "FROM, WHERE or the end");
    }
    *ret = q;
    return LK_OK;
}

/* ---- judging rows ----------------------------------------------------------------------------
 */

static bool
order_fits(enum lk_query_op op, int order)
{
    switch (op) {
    case LK_QO_EQ:
        return order == 0;
    case LK_QO_NE:
        return order != 0;
    case LK_QO_LT:
        return order < 0;
    case LK_QO_LE:
        return order <= 0;
    case LK_QO_GT:
        return order > 0;
    case LK_QO_GE:
        return order >= 0;
    }
    return false;
}

/* strcmp() of text, lower-cased where the field asks for it, with the condition's. */
static int
text_order(const struct lk_query_condition *c, const char *text)
{
    const char *want = c->text;
    bool lower = ignores_case(c->field);

    for (;; text++, want++) {
        char ch = lower && *text >= 'A' && *text <= 'Z' ? (char)(*text - 'A' + 'a') : *text;

        if (ch != *want || ch == '\0') {
            return (unsigned char)ch - (unsigned char)*want;
        }
    }
}

static bool
hubs_match(const struct lk_query_condition *c, const struct lk_query_row *row)
{
    for (size_t i = 0; i < row->hubs_count; i++) {
        if (text_order(c, row->hubs[i]) == 0) {
            return c->op == LK_QO_EQ;
        }
    }
    return c->op == LK_QO_NE;
}

static bool
condition_matches(const struct lk_query_condition *c, const struct lk_query_row *row)
{
    const char *text = row->text[c->field];

    if (is_time(c->field)) {
        int64_t ms = c->field == LK_QF_CREATED ? row->created_ms : row->updated_ms;

        return order_fits(c->op, (ms > c->time_ms) - (ms < c->time_ms));
    }
    if (c->field == LK_QF_HUB && row->hubs != NULL) {
        return hubs_match(c, row);
    }
    return text != NULL ? order_fits(c->op, text_order(c, text)) : c->op == LK_QO_NE;
}

bool
lk_query_matches(const struct lk_query *q, const struct lk_query_row *row)
{
    for (size_t i = 0; i < q->conditions_count; i++) {
        if (!condition_matches(&q->conditions[i], row)) {
            return false;
        }
    }
    return true;
}

/* The greatest text that no match comes before; "" when there is none. */
static const char *
lower_bound(const struct lk_query *q, bool *ret_inclusive)
{
    const char *from = "";
    bool inclusive = true;

    for (size_t i = 0; i < q->conditions_count; i++) {
        const struct lk_query_condition *c = &q->conditions[i];
        int order;

        if (!is_key(c->field) || c->op == LK_QO_NE || c->op == LK_QO_LT || c->op == LK_QO_LE) {
            continue;
        }
        order = strcmp(c->text, from);
        if (order > 0 || (order == 0 && c->op == LK_QO_GT)) {
            from = c->text;
            inclusive = c->op != LK_QO_GT;
        }
    }
    *ret_inclusive = inclusive;
    return from;
}

/*
 * A bound that may match itself: the last character is made one less, and what is greater than
 * every id's character follows where there is room, so that no id lies between. A bound that is
 * longer than ids are is cut, which is itself just before all that match.
 */
void
lk_query_walk_start(const struct lk_query *q, size_t id_max, char *ret)
{
    bool inclusive;
    const char *from = lower_bound(q, &inclusive);
    size_t len = strlen(from);

    if (len > id_max) {
        memcpy(ret, from, id_max);
        ret[id_max] = '\0';
        return;
    }
    memcpy(ret, from, len + 1);
    if (len == 0 || !inclusive) {
        return;
    }
    ret[len - 1]--;
    if (len < id_max) {
        ret[len] = '\x7f';
        ret[len + 1] = '\0';
    }
}

bool
lk_query_id_past(const struct lk_query *q, const char *id)
{
    for (size_t i = 0; i < q->conditions_count; i++) {
        const struct lk_query_condition *c = &q->conditions[i];
        int order = strcmp(id, c->text);

        if (is_key(c->field) && ((c->op == LK_QO_LT && order >= 0) ||
                                 ((c->op == LK_QO_EQ || c->op == LK_QO_LE) && order > 0))) {
            return true;
        }
    }
    return false;
}
