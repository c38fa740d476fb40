/*
 * Sections of twins and patches of them. The input is three JSON texts with a NUL between: desired
 * properties, a patch of them, and a replacement. What is taken obeys the limits, its metadata has
 * the shape of the section, and a device that merges what it is told has what the hub has.
 */
#include <string.h>

#include "fuzz.h"
#include "hub/hub_int.h"

/* Members of object but "$version". */
static json_t *
bare(const json_t *object)
{
    json_t *copy = json_copy((json_t *)object);

    check(copy != NULL);
    (void)json_object_del(copy, "$version");
    return copy;
}

/* RFC 7396, as plain as it is written there. */
static void
device_merge(json_t *target, const json_t *patch)
{
    for (void *at = json_object_iter((json_t *)patch); at != NULL;
         at = json_object_iter_next((json_t *)patch, at)) {
        const char *name = json_object_iter_key(at);
        json_t *value = json_object_iter_value(at);

        if (json_is_null(value)) {
            (void)json_object_del(target, name);
        } else if (!json_is_object(value)) {
            check(json_object_set(target, name, value) == 0);
        } else {
            if (!json_is_object(json_object_get(target, name))) {
                check(json_object_set_new(target, name, json_object()) == 0);
            }
            device_merge(json_object_get(target, name), value);
        }
    }
}

/* Every member of section, and nothing else, has its metadata. */
static void
shape_check(const json_t *section, const json_t *meta, bool top)
{
    size_t own = json_object_get(meta, "$lastUpdatedVersion") != NULL ? 2 : 1;

    check(json_is_string(json_object_get(meta, "$lastUpdated")) || top);
    check(!json_is_object(section) || json_object_size(meta) <= json_object_size(section) + own);
    for (void *at = json_is_object(section) ? json_object_iter((json_t *)section) : NULL;
         at != NULL; at = json_object_iter_next((json_t *)section, at)) {
        const json_t *inner = json_object_get(meta, json_object_iter_key(at));

        check(!json_is_null(json_object_iter_value(at)) && json_is_object(inner));
        shape_check(json_object_iter_value(at), inner, false);
    }
}

static json_t *
read_back(const struct lk_buf *text)
{
    json_t *value = NULL;

    if (text->len == 0) {
        return json_object();
    }
    check(lk_json_parse(text->data, text->len, false, NULL, &value) == LK_OK);
    return value;
}

/* True when it was taken. known: what the device has; it hears of the change. */
static bool
change(struct lk_twin *t, const json_t *desired, enum lk_twin_change how, json_t *known)
{
    const struct lk_twin_patch patch = {.desired = desired, .how = how};
    LK_AUTO_BUF struct lk_buf push = LK_BUF_INIT;
    LK_AUTO(json) json_t *told = NULL, *heard = NULL, *now = NULL, *meta = NULL;
    char error[LK_TWIN_ERROR_CAP] = "";
    int64_t version = t->desired_version;
    enum lk_err err = lk_twin_apply(t, &patch, 1700000000000, &push, error);

    if (err != LK_OK) {
        check((err == LK_ERR_FORMAT || err == LK_ERR_LIMIT) && error[0] != '\0');
        return false;
    }
    check(lk_twin_judge(LK_TWIN_DESIRED, desired, error) == LK_OK);
    check(t->desired.len <= LK_TWIN_SECTION_MAX && push.len <= LK_HUB_EVENT_DETAIL_MAX);
    check(t->desired_version == version + 1);
    told = read_back(&push);
    check(json_integer_value(json_object_get(told, "$version")) == t->desired_version);
    heard = bare(told);
    device_merge(known, heard);
    now = read_back(&t->desired);
    meta = read_back(&t->desired_meta);
    check(json_equal(known, now) == 1);
    check(lk_twin_judge(LK_TWIN_DESIRED, now, error) == LK_OK);
    shape_check(now, meta, true);
    return true;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum lk_twin_change how[] = {LK_TWIN_REPLACE, LK_TWIN_MERGE, LK_TWIN_REPLACE};
    struct lk_twin t = {.desired_version = 1, .reported_version = 1, .version = 1};
    LK_AUTO(json) json_t *known = json_object(), *shown = NULL;
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    bool going = true;

    check(known != NULL);
    for (size_t i = 0; i < LK_ARRAY_LEN(how) && going; i++) {
        const uint8_t *end = size > 0 ? memchr(data, 0, size) : NULL;
        size_t len = end != NULL ? (size_t)(end - data) : size;
        LK_AUTO(json) json_t *value = NULL;

        going = lk_json_parse(data, len, true, NULL, &value) == LK_OK &&
                change(&t, value, how[i], known);
        data += end != NULL ? len + 1 : len;
        size -= end != NULL ? len + 1 : len;
    }
    /* Also what was half done can be shown: it is what is in the store. */
    if (going) {
        check(lk_twin_properties(&t, &shown) == LK_OK);
        check(lk_twin_for_device(&t, &text) == LK_OK);
    }
    lk_twin_fini(&t);
    return 0;
}
