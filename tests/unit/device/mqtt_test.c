/* Tests of src/device/mqtt.c: what needs no TPM. tpm_identity_test.c has the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include <latchkey/latchkey.h>

static void
expect_bad(struct lk_device_mqtt_opts opts)
{
    struct lk_device_mqtt m, before;

    memset(&m, 0x5a, sizeof(m));
    before = m;
    assert_int_equal(lk_device_mqtt(NULL, &opts, &m), LK_ERR_ARG);
    assert_memory_equal(&m, &before, sizeof(m));
}

/* Options that are missing or malformed are told before the TPM is touched. */
static void
bad_options(void **state)
{
    char client[LK_DEVICE_MQTT_CLIENT_MAX + 2];

    expect_bad((struct lk_device_mqtt_opts){.device_id = "d"});
    expect_bad((struct lk_device_mqtt_opts){.hub = "h"});
    expect_bad((struct lk_device_mqtt_opts){.hub = "h:8883", .device_id = "d"});
    expect_bad((struct lk_device_mqtt_opts){.hub = "", .device_id = "d"});
    expect_bad((struct lk_device_mqtt_opts){.hub = "h", .device_id = ""});
    expect_bad((struct lk_device_mqtt_opts){.hub = "h", .device_id = "a/b"});
    expect_bad((struct lk_device_mqtt_opts){.hub = "h", .device_id = "d", .ttl_s = 19});
    expect_bad((struct lk_device_mqtt_opts){.hub = "h", .device_id = "d", .client = ""});
    expect_bad((struct lk_device_mqtt_opts){.hub = "h", .device_id = "d", .client = "a\n"});
    memset(client, 'c', sizeof(client));
    client[LK_DEVICE_MQTT_CLIENT_MAX + 1] = '\0';
    expect_bad((struct lk_device_mqtt_opts){.hub = "h", .device_id = "d", .client = client});
}

/* A new token is due at three quarters of the old one's life, and whatever the clock does. */
static void
due(void **state)
{
    const struct lk_device_mqtt m = {
        .issued_unix_s = 10000, .renew_unix_s = 10750, .expiry_unix_s = 11000};

    assert_int_equal(lk_device_mqtt_due_s(&m, 10000), 750);
    assert_int_equal(lk_device_mqtt_due_s(&m, 10749), 1);
    assert_int_equal(lk_device_mqtt_due_s(&m, 10750), 0);
    assert_int_equal(lk_device_mqtt_due_s(&m, 11001), 0);
    assert_int_equal(lk_device_mqtt_due_s(&m, UINT64_MAX), 0);
    assert_int_equal(lk_device_mqtt_due_s(&m, 9700), 1050); /* a clock that was fast by a little */
    assert_int_equal(lk_device_mqtt_due_s(&m, 9699), 0);
    assert_int_equal(lk_device_mqtt_due_s(&m, 0), 0);
}

/* Nothing of the settings is left. */
static void
wipe(void **state)
{
    static const struct lk_device_mqtt nothing;
    struct lk_device_mqtt m;

    memset(&m, 0x5a, sizeof(m));
    lk_device_mqtt_wipe(NULL);
    lk_device_mqtt_wipe(&m);
    assert_memory_equal(&m, &nothing, sizeof(m));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_options),
        cmocka_unit_test(due),
        cmocka_unit_test(wipe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
