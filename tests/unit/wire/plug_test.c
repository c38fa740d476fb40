/* Tests of src/wire/plug.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "wire/plug.h"

/* Every field at its longest. */
static char long_name[LK_MQTT_USER_NAME_MAX + 1], long_secret[LK_SAS_MAX + 1];
static char long_topic[LK_MQTT_TOPIC_MAX + 1];
static uint8_t long_body[LK_PLUG_BODY_MAX + 1];

static struct lk_plug_msg
largest(enum lk_plug_type type)
{
    struct lk_plug_msg m = {.type = type,
                            .serial = UINT64_MAX,
                            .flags = UINT32_MAX,
                            .number = UINT64_MAX,
                            .name = long_name,
                            .name_len = LK_MQTT_USER_NAME_MAX,
                            .secret = long_secret,
                            .secret_len = LK_SAS_MAX,
                            .topic = long_topic,
                            .topic_len = LK_MQTT_TOPIC_MAX,
                            .body = long_body,
                            .body_len = LK_PLUG_BODY_MAX};

    memset(long_name, 'n', sizeof(long_name));
    memset(long_secret, 's', sizeof(long_secret));
    memset(long_topic, 't', sizeof(long_topic));
    memset(m.hub, 'h', LK_HOST_NAME_MAX);
    memset(m.device_id, 'd', LK_DEVICE_ID_MAX);
    memset(m.generation, 'g', LK_PLUG_WORD_MAX);
    memset(m.etag, 'e', LK_PLUG_WORD_MAX);
    memset(m.tag, 0xff, LK_PLUG_TAG_LEN);
    return m;
}

/* Writing what was read gives the same bytes, for every type at its largest and at its smallest. */
static void
there_and_back(void **state)
{
    for (int type = 1; type < LK_PLUG_TYPES; type++) {
        const struct lk_plug_msg all[] = {
            largest((enum lk_plug_type)type),
            {.type = (enum lk_plug_type)type, .name = "", .secret = "", .topic = "", .body = ""}};

        for (size_t i = 0; i < LK_ARRAY_LEN(all); i++) {
            LK_AUTO_BUF struct lk_buf once = LK_BUF_INIT;
            LK_AUTO_BUF struct lk_buf twice = LK_BUF_INIT;
            struct lk_plug_msg got;
            struct lk_reader r;

            assert_int_equal(lk_plug_write(&all[i], &once), LK_OK);
            assert_true(once.len <= LK_PLUG_FRAME_MAX + 4);
            r = lk_reader_of(once.data, once.len);
            assert_int_equal(lk_plug_read(&r, &got), LK_OK);
            assert_int_equal(r.left, 0);
            assert_int_equal(lk_plug_write(&got, &twice), LK_OK);
            assert_int_equal(once.len, twice.len);
            assert_memory_equal(once.data, twice.data, once.len);
        }
    }
}

/* A field that is one byte longer than it may be is not written, and nothing of it. */
static void
one_past_the_largest(void **state)
{
    LK_AUTO_BUF struct lk_buf out = LK_BUF_INIT;
    struct lk_plug_msg m;

    assert_int_equal(lk_buf_puts(&out, "before"), LK_OK);
    m = largest(LK_PLUG_ASK);
    m.name_len++;
    assert_int_equal(lk_plug_write(&m, &out), LK_ERR_LIMIT);
    m = largest(LK_PLUG_ASK);
    m.secret_len++;
    assert_int_equal(lk_plug_write(&m, &out), LK_ERR_LIMIT);
    m = largest(LK_PLUG_PUSH);
    m.topic_len++;
    assert_int_equal(lk_plug_write(&m, &out), LK_ERR_LIMIT);
    m = largest(LK_PLUG_PUSH);
    m.body_len++;
    assert_int_equal(lk_plug_write(&m, &out), LK_ERR_LIMIT);
    assert_int_equal(out.len, strlen("before"));

    /* One that does not fit into the rest of the buffer leaves none of its bytes. */
    out.max = out.len + 6;
    m = largest(LK_PLUG_MARK);
    assert_int_equal(lk_plug_write(&m, &out), LK_ERR_LIMIT);
    assert_int_equal(out.len, strlen("before"));
}

static enum lk_err
read_bytes(const void *bytes, size_t len)
{
    struct lk_reader r = lk_reader_of(bytes, len);
    struct lk_plug_msg got;
    enum lk_err err = lk_plug_read(&r, &got);

    if (err == LK_ERR_NOT_FOUND) {
        assert_int_equal(r.left, len); /* untouched */
    }
    return err;
}

/* A frame that has not come whole yet is waited for, whatever part of it is there. */
static void
in_pieces(void **state)
{
    LK_AUTO_BUF struct lk_buf frame = LK_BUF_INIT;
    struct lk_plug_msg m = {.type = LK_PLUG_GONE, .device_id = "dev-1", .serial = 7};

    assert_int_equal(lk_plug_write(&m, &frame), LK_OK);
    for (size_t len = 0; len < frame.len; len++) {
        assert_int_equal(read_bytes(frame.data, len), LK_ERR_NOT_FOUND);
    }
    assert_int_equal(read_bytes(frame.data, frame.len), LK_OK);
}

/* No type, an unknown one, a field too few, a byte too many, a NUL in a text, a text past its own
 * limit, a length past all limits. */
static void
not_the_protocol(void **state)
{
    static const uint8_t none[] = {0, 0, 0, 0}, unknown[] = {0, 0, 0, 1, LK_PLUG_TYPES};
    static const uint8_t zero[] = {0, 0, 0, 1, 0};
    static const uint8_t few[] = {0, 0, 0, 8, LK_PLUG_MARK, 1, 2, 3, 4, 5, 6, 7};
    static const uint8_t many[] = {0, 0, 0, 10, LK_PLUG_MARK, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    static const uint8_t nul[] = {0, 0, 0, 14, LK_PLUG_GONE, 0, 3, 'a', 0, 'b', 0, 0, 0, 0,
                                  0, 0, 0, 0};
    static const uint8_t huge[] = {0, 6, 0, 1};
    uint8_t id[4 + 1 + 2 + LK_DEVICE_ID_MAX + 1 + 8] = {0, 0, 0, 140, LK_PLUG_GONE, 0, 129};

    memset(id + 7, 'a', LK_DEVICE_ID_MAX + 1);
    assert_int_equal(read_bytes(none, sizeof(none)), LK_ERR_FORMAT);
    assert_int_equal(read_bytes(unknown, sizeof(unknown)), LK_ERR_FORMAT);
    assert_int_equal(read_bytes(zero, sizeof(zero)), LK_ERR_FORMAT);
    assert_int_equal(read_bytes(few, sizeof(few)), LK_ERR_FORMAT);
    assert_int_equal(read_bytes(many, sizeof(many)), LK_ERR_FORMAT);
    assert_int_equal(read_bytes(nul, sizeof(nul)), LK_ERR_FORMAT);
    assert_int_equal(read_bytes(id, sizeof(id)), LK_ERR_FORMAT);
    assert_int_equal(read_bytes(huge, sizeof(huge)), LK_ERR_LIMIT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back),
        cmocka_unit_test(one_past_the_largest),
        cmocka_unit_test(in_pieces),
        cmocka_unit_test(not_the_protocol),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
