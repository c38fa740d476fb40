#include "api/hub_props.h"

#include <stdio.h>
#include <string.h>

#include "base/codec.h"
#include "wire/mqtt_name.h"

static const char app_prefix[] = "iothub-app-";

static const struct {
    const char *header, *name;
} system_names[] = {
    {"iothub-messageid", "$.mid"},      {"iothub-correlationid", "$.cid"},
    {"iothub-userid", "$.uid"},         {"iothub-contenttype", "$.ct"},
    {"iothub-contentencoding", "$.ce"}, {"iothub-creationtimeutc", "$.ctime"},
};

void
lk_props_fini(struct lk_props *p)
{
    lk_buf_fini(&p->text);
    p->count = 0;
}

/* ---- from headers ----------------------------------------------------------------------------
 */

static enum lk_err
pair_put(struct lk_props *p, const char *name, const char *value)
{
    size_t start = p->text.len;
    enum lk_err err = p->count == LK_PROPS_COUNT_MAX ? LK_ERR_LIMIT : LK_OK;

    if (err == LK_OK && start > 0) {
        err = lk_buf_puts(&p->text, "&");
    }
    if (err != LK_OK || (err = lk_percent_encode(name, strlen(name), &p->text)) != LK_OK ||
        (err = lk_buf_puts(&p->text, "=")) != LK_OK ||
        (err = lk_percent_encode(value, strlen(value), &p->text)) != LK_OK) {
        p->text.len = start;
        return err;
    }
    p->count++;
    return LK_OK;
}

enum lk_err
lk_props_put(struct lk_props *p, const char *header, const char *value)
{
    size_t len = strlen(header), prefix = strlen(app_prefix);

    if (len > prefix && lk_ascii_caseeq(header, prefix, app_prefix, prefix)) {
        return pair_put(p, header + prefix, value);
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(system_names); i++) {
        if (lk_ascii_caseeq(header, len, system_names[i].header, strlen(system_names[i].header))) {
            return pair_put(p, system_names[i].name, value);
        }
    }
    return LK_OK;
}

/* ---- to headers ------------------------------------------------------------------------------
 */

/* RFC 9110, 5.6.2. */
static bool
is_token(const char *text)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";

    for (; *text != '\0'; text++) {
        bool alnum = (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') ||
                     (*text >= '0' && *text <= '9');

        if (!alnum && strchr(marks, *text) == NULL) {
            return false;
        }
    }
    return true;
}

/* Visible ASCII, with spaces inside only: others would not come out as they went in. */
static bool
is_field_value(const char *text)
{
    size_t len = strlen(text);

    if (len > 0 && (text[0] == ' ' || text[len - 1] == ' ')) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (text[i] < ' ' || text[i] > '~') {
            return false;
        }
    }
    return true;
}

/* What a header cannot carry as it is, it carries percent-encoded. */
static enum lk_err
fit(bool (*fits)(const char *), struct lk_buf *text)
{
    LK_AUTO_BUF struct lk_buf encoded = LK_BUF_INIT;
    enum lk_err err;

    if (lk_buf_text(text) == NULL) {
        return LK_ERR_NOMEM;
    }
    if (fits(lk_buf_text(text))) {
        return LK_OK;
    }
    err = lk_percent_encode((const char *)text->data, text->len, &encoded);
    if (err == LK_OK) {
        lk_buf_move(text, &encoded);
    }
    return err != LK_OK || lk_buf_text(text) != NULL ? err : LK_ERR_NOMEM;
}

/* The header of a property; false when there is none. */
static bool
header_of(const char *name, char ret[LK_PROPS_HEADER_CAP])
{
    for (size_t i = 0; i < LK_ARRAY_LEN(system_names); i++) {
        if (strcmp(name, system_names[i].name) == 0) {
            return lk_strcpy(ret, LK_PROPS_HEADER_CAP, system_names[i].header) == LK_OK;
        }
    }
    if (name[0] == '$' || strlen(name) > LK_PROPS_HEADER_CAP / 2) {
        return false;
    }
    (void)snprintf(ret, LK_PROPS_HEADER_CAP, "%s%s", app_prefix, name);
    return true;
}

enum lk_err
lk_props_each(const char *text, size_t len,
              enum lk_err (*each)(void *ctx, const char *header, const char *value), void *ctx)
{
    LK_AUTO_BUF struct lk_buf name = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf value = LK_BUF_INIT;
    struct lk_mqtt_props it = lk_mqtt_props_of(text, len);
    enum lk_err err = LK_OK;

    for (size_t count = 0; err == LK_OK && count < LK_PROPS_COUNT_MAX; count++) {
        char header[LK_PROPS_HEADER_CAP];
        bool has_value;

        err = lk_mqtt_props_next(&it, &name, &value, &has_value);
        if (err != LK_OK) {
            return err == LK_ERR_NOMEM ? err : LK_OK;
        }
        if ((err = fit(is_token, &name)) == LK_OK && (err = fit(is_field_value, &value)) == LK_OK &&
            header_of(lk_buf_text(&name), header)) {
            err = each(ctx, header, lk_buf_text(&value));
        }
    }
    return err;
}
