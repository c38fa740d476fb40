/* Tests of src/hub/twin*.c: limits of sections, changes, versions, metadata, what is pushed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/codec.h"
#include "base/json.h"
#include "hub/registry.h"
#include "hub/twin.h"
#include "support/rig.h"

/* ---- judging ----------------------------------------------------------------------------------
 */

static json_t *
parse(const char *text)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);

    if (value == NULL) {
        fail_msg("not JSON: %.80s", text);
    }
    return value;
}

static enum lk_err
judge_value(enum lk_twin_section section, json_t *value, char error[LK_TWIN_ERROR_CAP])
{
    enum lk_err err;

    memset(error, 0, LK_TWIN_ERROR_CAP);
    err = lk_twin_judge(section, value, error);
    json_decref(value);
    if (err != LK_OK) {
        assert_true(strlen(error) > 0);
        assert_null(memchr(error, '\n', strlen(error)));
    }
    return err;
}

static enum lk_err
judge(const char *text)
{
    char error[LK_TWIN_ERROR_CAP];

    return judge_value(LK_TWIN_DESIRED, parse(text), error);
}

/* {"a":{"a":...{}}}: so many objects inside the section; with an array as the innermost. */
static json_t *
nested(unsigned depth, bool array)
{
    json_t *value = array ? json_array() : json_object();

    for (unsigned i = 0; i < depth; i++) {
        value = json_pack("{s:o}", "a", value);
    }
    return value;
}

/* Nothing at all, and every kind of value. */
static void
judges_values(void **state)
{
    assert_int_equal(judge("{}"), LK_OK);
    assert_int_equal(judge("[]"), LK_ERR_FORMAT);
    assert_int_equal(judge("null"), LK_ERR_FORMAT);
    assert_int_equal(judge("1"), LK_ERR_FORMAT);
    assert_int_equal(judge("{\"a\":[1,\"b\",[true],{\"c\":null}],\"d\":1.5,\"e\":null}"), LK_OK);
    assert_int_equal(judge("{\"a\":4503599627370496,\"b\":-4503599627370496}"), LK_OK);
    assert_int_equal(judge("{\"a\":4503599627370497}"), LK_ERR_LIMIT);
    assert_int_equal(judge("{\"a\":[-4503599627370497]}"), LK_ERR_LIMIT);
}

/* Names: every class that is refused, at any depth, what is ours at the top only, and lengths. */
static void
judges_names(void **state)
{
    const char *refused[] = {"{\"a.b\":1}",     "{\"a b\":1}",        "{\"$a\":1}",
                             "{\"\\u001f\":1}", "{\"\\u007f\":1}",    "{\"\\u0080\":1}",
                             "{\"\\u009f\":1}", "{\"\":1}",           "{\"a\":{\"$version\":1}}",
                             "{\"$iothub\":1}", "{\"a\":[{\".\":1}]}"};
    char name[LK_TWIN_KEY_MAX + 2], error[LK_TWIN_ERROR_CAP];

    for (size_t i = 0; i < LK_ARRAY_LEN(refused); i++) {
        if (judge(refused[i]) != LK_ERR_FORMAT) {
            fail_msg("%s", refused[i]);
        }
    }
    assert_int_equal(judge("{\"$version\":[[]],\"$metadata\":\"x\",\"\\u00a0\":1,\"-_/\":2}"),
                     LK_OK);
    memset(name, 'n', sizeof(name));
    name[LK_TWIN_KEY_MAX] = '\0';
    assert_int_equal(judge_value(LK_TWIN_TAGS, json_pack("{s:i}", name, 1), error), LK_OK);
    name[LK_TWIN_KEY_MAX] = 'n';
    name[LK_TWIN_KEY_MAX + 1] = '\0';
    assert_int_equal(judge_value(LK_TWIN_TAGS, json_pack("{s:i}", name, 1), error), LK_ERR_LIMIT);
    assert_true(strlen(error) < 120);
}

/* Ten objects deep is allowed, as is an array in the tenth place. */
static void
judges_depth(void **state)
{
    char error[LK_TWIN_ERROR_CAP];

    assert_int_equal(judge_value(LK_TWIN_TAGS, nested(10, false), error), LK_OK);
    assert_int_equal(judge_value(LK_TWIN_TAGS, nested(10, true), error), LK_OK);
    assert_int_equal(judge_value(LK_TWIN_TAGS, nested(11, false), error), LK_ERR_LIMIT);
    assert_int_equal(judge_value(LK_TWIN_TAGS, nested(11, true), error), LK_ERR_LIMIT);
}

/* {"k0000":"vvv..","k0001":...} of exactly so many bytes, in texts of at most 4096. */
static json_t *
of_size(size_t size)
{
    json_t *o = json_object();
    size_t len = 2; /* the braces */
    char name[16], value[LK_TWIN_STRING_MAX + 1];

    for (int i = 0; len < size; i++) {
        size_t comma = i > 0, frame = comma + strlen("\"k0000\":\"\"");
        size_t text = size - len - frame < LK_TWIN_STRING_MAX ? size - len - frame : 1000;

        (void)snprintf(name, sizeof(name), "k%04d", i);
        memset(value, 'v', text);
        value[text] = '\0';
        assert_int_equal(json_object_set_new(o, name, json_string(value)), 0);
        len += frame + text;
    }
    return o;
}

/* Texts of 4 KB, sections of 8 and 32 KB, and one byte more of each; what is ours is not counted.
 */
static void
judges_sizes(void **state)
{
    char error[LK_TWIN_ERROR_CAP], text[LK_TWIN_STRING_MAX + 2];
    json_t *o;

    memset(text, 't', sizeof(text));
    text[LK_TWIN_STRING_MAX] = '\0';
    assert_int_equal(judge_value(LK_TWIN_TAGS, json_pack("{s:s}", "a", text), error), LK_OK);
    text[LK_TWIN_STRING_MAX] = 't';
    text[LK_TWIN_STRING_MAX + 1] = '\0';
    assert_int_equal(judge_value(LK_TWIN_TAGS, json_pack("{s:s}", "a", text), error), LK_ERR_LIMIT);
    assert_int_equal(judge_value(LK_TWIN_TAGS, of_size(LK_TWIN_TAGS_MAX), error), LK_OK);
    assert_int_equal(judge_value(LK_TWIN_TAGS, of_size(LK_TWIN_TAGS_MAX + 1), error), LK_ERR_LIMIT);
    assert_int_equal(judge_value(LK_TWIN_REPORTED, of_size(LK_TWIN_SECTION_MAX), error), LK_OK);
    assert_int_equal(judge_value(LK_TWIN_REPORTED, of_size(LK_TWIN_SECTION_MAX + 1), error),
                     LK_ERR_LIMIT);
    o = of_size(LK_TWIN_SECTION_MAX);
    assert_int_equal(json_object_set_new(o, "$metadata", json_string("m")), 0);
    assert_int_equal(judge_value(LK_TWIN_DESIRED, o, error), LK_OK);
}

/* Errors name section and member, and nothing that a terminal could take for a command. */
static void
judges_in_words(void **state)
{
    char error[LK_TWIN_ERROR_CAP];

    assert_int_equal(judge_value(LK_TWIN_TAGS, parse("{\"a\":{\"b c\":1}}"), error), LK_ERR_FORMAT);
    assert_non_null(strstr(error, "tags: b: "));
    assert_int_equal(judge_value(LK_TWIN_REPORTED, parse("{\"x\\u001b[2J\":1}"), error),
                     LK_ERR_FORMAT);
    assert_non_null(strstr(error, "properties.reported: x: "));
    assert_null(strchr(error, '\x1b'));
}

/* ---- changes ----------------------------------------------------------------------------------
 */

static enum lk_err
device_run(struct lk_txn *tx, void *arg)
{
    struct rig *r = arg;
    struct lk_hub_device d = {
        .id = {.hub = RIG_HUB, .device_id = "d", .enabled = true, .auth = LK_AUTH_SAS}};
    enum lk_err err = lk_hub_device_create(r->core, tx, &d);

    lk_hub_device_fini(&d);
    return err;
}

struct change {
    const char *tags, *desired, *reported; /* JSON text; NULL: not given */
    enum lk_twin_change how;
    const char *etag, *id;
    struct lk_twin twin; /* afterwards */
    char error[LK_TWIN_ERROR_CAP];
    enum lk_err err;
    char push[1024]; /* the events of the change, each with a line end */
};

static enum lk_err
push_note(void *ctx, const struct lk_hub_event *e)
{
    struct change *c = ctx;

    if (e->kind == LK_HUB_EVENT_DESIRED) {
        assert_string_equal(e->hub, RIG_HUB);
        assert_string_equal(e->device_id, "d");
        assert_true(strlen(c->push) + e->detail.len + 2 < sizeof(c->push));
        strncat(c->push, (const char *)e->detail.data, e->detail.len);
        strcat(c->push, "\n");
    }
    return LK_OK;
}

static enum lk_err
change_run(struct lk_txn *tx, void *arg)
{
    struct change *c = arg;
    json_t *tags = c->tags != NULL ? parse(c->tags) : NULL;
    json_t *desired = c->desired != NULL ? parse(c->desired) : NULL;
    json_t *reported = c->reported != NULL ? parse(c->reported) : NULL;
    const struct lk_twin_patch patch = {tags, desired, reported, c->how};
    int64_t last = 0;
    enum lk_err err = lk_txn_hub_event_last(tx, &last);

    assert_int_equal(err, LK_OK);
    c->push[0] = '\0';
    c->err = lk_twin_change(tx, RIG_HUB, c->id != NULL ? c->id : "d", &patch, c->etag, &c->twin,
                            c->error);
    json_decref(tags);
    json_decref(desired);
    json_decref(reported);
    return lk_txn_hub_event_each(tx, last, 10, push_note, c);
}

static enum lk_err
change(struct rig *r, struct change *c)
{
    rig_write(r, change_run, c);
    return c->err;
}

static void
text_is(struct lk_buf *b, const char *text)
{
    assert_string_equal(b->len > 0 ? lk_buf_text(b) : "", text);
}

/* Merge: new members, changed ones, null for gone ones, objects into objects; versions grow. */
static void
merges(void **state)
{
    struct rig *r = *state;
    struct change c = {.tags = "{\"site\":\"A\",\"gone\":null}",
                       .desired = "{\"a\":1,\"o\":{\"x\":1,\"y\":null},\"$version\":99}",
                       .reported = "{\"r\":[1,null]}"};
    char first[LK_ETAG_CAP];

    rig_write(r, device_run, r);
    assert_int_equal(change(r, &c), LK_OK);
    text_is(&c.twin.tags, "{\"site\":\"A\"}");
    text_is(&c.twin.desired, "{\"a\":1,\"o\":{\"x\":1}}");
    text_is(&c.twin.reported, "{\"r\":[1,null]}");
    assert_int_equal(c.twin.desired_version, 2);
    assert_int_equal(c.twin.reported_version, 2);
    assert_int_equal(c.twin.version, 2);
    assert_string_equal(c.push, "{\"a\":1,\"o\":{\"x\":1,\"y\":null},\"$version\":2}\n");
    memcpy(first, c.twin.etag, sizeof(first));

    c.tags = "{\"site\":null}";
    c.desired = "{\"o\":{\"x\":null,\"z\":{}},\"a\":null,\"s\":\"t\"}";
    c.reported = NULL;
    assert_int_equal(change(r, &c), LK_OK);
    text_is(&c.twin.tags, "");
    text_is(&c.twin.desired, "{\"o\":{\"z\":{}},\"s\":\"t\"}");
    text_is(&c.twin.reported, "{\"r\":[1,null]}");
    assert_int_equal(c.twin.desired_version, 3);
    assert_int_equal(c.twin.reported_version, 2);
    assert_int_equal(c.twin.version, 3);
    assert_string_not_equal(c.twin.etag, first);

    c = (struct change){.twin = c.twin, .desired = "{\"s\":{\"now\":\"an object\"}}"};
    assert_int_equal(change(r, &c), LK_OK);
    text_is(&c.twin.desired, "{\"o\":{\"z\":{}},\"s\":{\"now\":\"an object\"}}");
    lk_twin_fini(&c.twin);
}

/* Replace: what is not given goes, and the device is told so at every depth. */
static void
replaces(void **state)
{
    struct rig *r = *state;
    struct change c = {.tags = "{\"t\":1}",
                       .desired = "{\"a\":1,\"o\":{\"x\":1,\"y\":2},\"p\":{\"q\":1}}"};

    rig_write(r, device_run, r);
    assert_int_equal(change(r, &c), LK_OK);
    c.how = LK_TWIN_REPLACE;
    c.tags = NULL;
    c.desired = "{\"o\":{\"y\":2,\"n\":null},\"p\":3}";
    assert_int_equal(change(r, &c), LK_OK);
    text_is(&c.twin.tags, "{\"t\":1}");
    text_is(&c.twin.desired, "{\"o\":{\"y\":2},\"p\":3}");
    assert_string_equal(c.push, "{\"o\":{\"y\":2,\"x\":null},\"p\":3,\"a\":null,\"$version\":3}\n");
    c.tags = "{}";
    c.desired = NULL;
    assert_int_equal(change(r, &c), LK_OK);
    text_is(&c.twin.tags, "");
    assert_string_equal(c.push, "");
    lk_twin_fini(&c.twin);
}

/* No section, another's etag, no device, and what is over a limit only after the merge. */
static void
changes_nothing(void **state)
{
    struct rig *r = *state;
    struct change c = {.etag = "*"}, stale = {.tags = "{}", .etag = "stale"};
    struct change nobody = {.tags = "{}", .id = "nobody"};
    struct change bad = {.tags = "{\"ok\":1}", .desired = "{\"a b\":1}"};
    LK_AUTO(json) json_t *half = of_size(LK_TWIN_TAGS_MAX / 2 + 100);
    char *text = json_dumps(half, JSON_COMPACT);
    struct change large = {.tags = text};

    rig_write(r, device_run, r);
    assert_int_equal(change(r, &c), LK_OK);
    assert_int_equal(c.twin.version, 1);
    assert_int_equal(change(r, &stale), LK_ERR_PRECONDITION);
    assert_int_equal(change(r, &nobody), LK_ERR_NOT_FOUND);
    assert_int_equal(change(r, &bad), LK_ERR_FORMAT);
    assert_non_null(strstr(bad.error, "desired"));
    assert_int_equal(change(r, &large), LK_OK);
    for (char *k = strstr(text, "\"k"); k != NULL; k = strstr(k + 2, "\"k")) {
        k[1] = 'l';
    }
    assert_int_equal(change(r, &large), LK_ERR_LIMIT);
    assert_string_equal(large.error, "tags: larger than 8 KB");
    c.etag = NULL;
    assert_int_equal(change(r, &c), LK_OK);
    assert_int_equal(c.twin.version, 2);
    assert_string_equal(c.push, "");
    free(text);
    lk_twin_fini(&c.twin);
    lk_twin_fini(&large.twin);
}

static json_t *
shown(const struct lk_twin *t)
{
    json_t *properties = NULL;

    assert_int_equal(lk_twin_properties(t, &properties), LK_OK);
    return properties;
}

static void
shown_is(json_t *properties, const char *text)
{
    char *have = json_dumps(properties, JSON_COMPACT);

    assert_string_equal(have, text);
    free(have);
    json_decref(properties);
}

/*
 * What operators see: metadata of a new twin is its birth; later each member on the way to a change
 * has the time, and in desired the version, of its latest change; what is gone has none.
 */
static void
metadata(void **state)
{
    struct rig *r = *state;
    struct change c = {.etag = NULL};
    char made[LK_TIMESTAMP_CAP], later[LK_TIMESTAMP_CAP], want[1500];

    lk_timestamp_format(r->now_ms, made);
    rig_write(r, device_run, r);
    assert_int_equal(change(r, &c), LK_OK);
    (void)snprintf(want, sizeof(want),
                   "{\"desired\":{\"$metadata\":{\"$lastUpdated\":\"%s\"},\"$version\":1},"
                   "\"reported\":{\"$metadata\":{\"$lastUpdated\":\"%s\"},\"$version\":1}}",
                   made, made);
    shown_is(shown(&c.twin), want);

    c.desired = "{\"a\":{\"x\":1,\"y\":2},\"b\":1}";
    assert_int_equal(change(r, &c), LK_OK);
    rig_advance_s(r, 5);
    lk_timestamp_format(r->now_ms, later);
    c.desired = "{\"a\":{\"x\":3},\"b\":null}";
    c.reported = "{\"r\":1}";
    assert_int_equal(change(r, &c), LK_OK);
    (void)snprintf(
        want, sizeof(want),
        "{\"desired\":{\"a\":{\"y\":2,\"x\":3},\"$metadata\":"
        "{\"$lastUpdated\":\"%s\",\"$lastUpdatedVersion\":3,\"a\":"
        "{\"$lastUpdated\":\"%s\",\"$lastUpdatedVersion\":3,\"y\":"
        "{\"$lastUpdated\":\"%s\",\"$lastUpdatedVersion\":2},\"x\":"
        "{\"$lastUpdated\":\"%s\",\"$lastUpdatedVersion\":3}}},\"$version\":3},"
        "\"reported\":{\"r\":1,\"$metadata\":{\"$lastUpdated\":\"%s\",\"r\":{\"$lastUpdated\":"
        "\"%s\"}},\"$version\":2}}",
        later, later, made, later, later, later);
    shown_is(shown(&c.twin), want);
    lk_twin_fini(&c.twin);
}

/* What a device gets: both sections with their versions and no metadata. */
static void
for_device(void **state)
{
    struct rig *r = *state;
    struct change c = {.tags = "{\"secret\":1}", .desired = "{\"a\":0.5}"};
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;

    rig_write(r, device_run, r);
    assert_int_equal(change(r, &c), LK_OK);
    assert_int_equal(lk_twin_for_device(&c.twin, &text), LK_OK);
    text_is(&text, "{\"desired\":{\"a\":0.5,\"$version\":2},\"reported\":{\"$version\":1}}");
    lk_twin_fini(&c.twin);
}

struct large {
    json_t *desired;
    struct lk_buf push;
};

static enum lk_err
large_note(void *ctx, const struct lk_hub_event *e)
{
    struct large *l = ctx;

    lk_buf_reset(&l->push);
    return lk_buf_put(&l->push, e->detail.data, e->detail.len);
}

static enum lk_err
large_run(struct lk_txn *tx, void *arg)
{
    struct large *l = arg;
    struct lk_twin_patch patch = {.desired = l->desired, .how = LK_TWIN_REPLACE};
    char error[LK_TWIN_ERROR_CAP];
    enum lk_err err = lk_twin_change(tx, RIG_HUB, "d", &patch, NULL, NULL, error);

    return err != LK_OK ? err : lk_txn_hub_event_each(tx, 0, 10, large_note, l);
}

/* A section full of the shortest members, in place of another such one: the event holds it all. */
static void
largest_push(void **state)
{
    struct rig *r = *state;
    struct large l = {.push = LK_BUF_INIT};
    LK_AUTO(json) json_t *pushed = NULL;
    char name[16];
    int members = 3600;

    rig_write(r, device_run, r);
    for (int turn = 0; turn < 2; turn++) {
        l.desired = json_object();
        for (int i = 0; i < members; i++) {
            (void)snprintf(name, sizeof(name), "%c%03x", 'a' + turn, (unsigned)i);
            assert_int_equal(json_object_set_new(l.desired, name, json_integer(1)), 0);
        }
        rig_write(r, large_run, &l);
        json_decref(l.desired);
    }
    assert_int_equal(lk_json_parse(l.push.data, l.push.len, false, NULL, &pushed), LK_OK);
    assert_int_equal(json_object_size(pushed), 2 * members + 1);
    lk_buf_fini(&l.push);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judges_values),
        cmocka_unit_test(judges_names),
        cmocka_unit_test(judges_depth),
        cmocka_unit_test(judges_sizes),
        cmocka_unit_test(judges_in_words),
        CASE(merges),
        CASE(replaces),
        CASE(changes_nothing),
        CASE(metadata),
        CASE(for_device),
        CASE(largest_push),
    };

    return lk_crypto_init() != LK_OK ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
