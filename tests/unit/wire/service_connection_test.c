/* Tests of src/wire/service_connection.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "wire/service_connection.h"

#define KEY "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="
#define REST ";SharedAccessKeyName=owner;SharedAccessKey=" KEY

static char error[LK_SVC_CONNECTION_ERROR_CAP];

static enum lk_err
parse(const char *text, struct lk_svc_connection *ret)
{
    error[0] = '\0';
    return lk_svc_connection_parse(LK_SVC_CONNECTION_SERVICE, text, strlen(text), error, ret);
}

/* A text is refused with these words, which hold no key, and the result stays as it was. */
static void
expect_refused(const char *text, const char *words)
{
    struct lk_svc_connection c, before;

    memset(&c, 0xa5, sizeof(c));
    before = c;
    if (parse(text, &c) != LK_ERR_FORMAT) {
        fail_msg("accepted: %s", text);
    }
    if (strstr(error, words) == NULL || strstr(error, KEY) != NULL) {
        fail_msg("%s: %s", text, error);
    }
    assert_memory_equal(&c, &before, sizeof(c));
}

/* The form that services print, and what is free in it. */
static void
forms(void **state)
{
    struct lk_svc_connection c;

    assert_int_equal(parse("HostName=dps.example.test" REST, &c), LK_OK);
    assert_string_equal(c.host, "dps.example.test");
    assert_int_equal(c.port, 443);
    assert_false(c.is_ipv6);
    assert_string_equal(c.key_name, "owner");
    assert_int_equal(c.key_len, 32);
    for (size_t i = 0; i < c.key_len; i++) {
        assert_int_equal(c.key[i], 0x6b);
    }
    assert_int_equal(parse(" sharedaccesskey=" KEY " ; SHAREDACCESSKEYNAME=a_b-c@d.E ; "
                           "hostname=LOCALHOST:8443 ;\n",
                           &c),
                     LK_OK);
    assert_string_equal(c.host, "localhost");
    assert_int_equal(c.port, 8443);
    assert_string_equal(c.key_name, "a_b-c@d.E");
    lk_svc_connection_wipe(&c);
    assert_int_equal(c.key_len, 0);
    assert_int_equal(c.key[0], 0);
}

/* Addresses: IPv4 as it is, IPv6 in brackets only. */
static void
addresses(void **state)
{
    struct lk_svc_connection c;

    assert_int_equal(parse("HostName=127.0.0.1:1" REST, &c), LK_OK);
    assert_string_equal(c.host, "127.0.0.1");
    assert_int_equal(c.port, 1);
    assert_int_equal(parse("HostName=[::1]" REST, &c), LK_OK);
    assert_string_equal(c.host, "::1");
    assert_true(c.is_ipv6);
    assert_int_equal(c.port, 443);
    assert_int_equal(parse("HostName=[2001:DB8::1]:65535" REST, &c), LK_OK);
    assert_string_equal(c.host, "2001:db8::1");
    assert_int_equal(c.port, 65535);
}

/* Each member is needed, once, and has its form. */
static void
refused(void **state)
{
    static const char *const hosts[] = {"",       "a b", "a/b",  "a:", "a:0",    "a:65536",
                                        "a:1x",   "::1", "[::1", "[]", "[::1]x", "[a]:1",
                                        "[::1]:", ":1",  "[",    "]",  "u@a"};
    char text[512];

    expect_refused("", "HostName: is missing");
    expect_refused(" ", "HostName: is missing");
    expect_refused("nonsense", "expected HostName=");
    expect_refused("HostName=a", "SharedAccessKeyName: is missing");
    expect_refused("HostName=a;SharedAccessKeyName=b", "SharedAccessKey: is missing");
    expect_refused("HostName=a" REST ";HostName=a", "HostName: is given twice");
    expect_refused("HostName=a" REST ";DeviceId=b", "a device's");
    expect_refused("HostName=a" REST ";More=b", "expected HostName=");
    expect_refused("HostName=a;" REST, "expected HostName=");
    expect_refused("HostName=a;SharedAccessKeyName=b;SharedAccessKey=!", "expected base64");
    expect_refused("HostName=a;SharedAccessKeyName=b c;SharedAccessKey=" KEY, "at most 64");
    for (size_t i = 0; i < LK_ARRAY_LEN(hosts); i++) {
        (void)snprintf(text, sizeof(text), "HostName=%s" REST, hosts[i]);
        expect_refused(text, "HostName");
    }
}

/* A text is LK_SVC_CONNECTION_TEXT_MAX bytes at most, a key 128, a name 64, and one past is too
 * much.
 */
static void
limits(void **state)
{
    char text[LK_SVC_CONNECTION_TEXT_MAX + 2], name[LK_SVC_CONNECTION_NAME_MAX + 2];
    struct lk_svc_connection c;
    size_t len = strlen("HostName=a" REST);

    memset(text, ' ', sizeof(text));
    memcpy(text, "HostName=a" REST, len);
    assert_int_equal(lk_svc_connection_parse(LK_SVC_CONNECTION_SERVICE, text,
                                             LK_SVC_CONNECTION_TEXT_MAX, NULL, &c),
                     LK_OK);
    assert_int_equal(lk_svc_connection_parse(LK_SVC_CONNECTION_SERVICE, text,
                                             LK_SVC_CONNECTION_TEXT_MAX + 1, NULL, &c),
                     LK_ERR_FORMAT);
    memset(name, 'n', sizeof(name));
    (void)snprintf(text, sizeof(text), "HostName=a;SharedAccessKeyName=%.64s;SharedAccessKey=" KEY,
                   name);
    assert_int_equal(parse(text, &c), LK_OK);
    (void)snprintf(text, sizeof(text), "HostName=a;SharedAccessKeyName=%.65s;SharedAccessKey=" KEY,
                   name);
    expect_refused(text, "at most 64");
    /* 172 characters with one = are 128 bytes; 172 with none are 129. */
    memset(name, 'A', sizeof(name));
    (void)snprintf(text, sizeof(text),
                   "HostName=a;SharedAccessKeyName=n;SharedAccessKey=%.64s%.64s%.43s=", name, name,
                   name);
    assert_int_equal(parse(text, &c), LK_OK);
    assert_int_equal(c.key_len, LK_SVC_CONNECTION_KEY_MAX);
    (void)snprintf(text, sizeof(text),
                   "HostName=a;SharedAccessKeyName=n;SharedAccessKey=%.64s%.64s%.44s", name, name,
                   name);
    expect_refused(text, "1 to 128 bytes");
}

/* A hub's may say where it is reached; a service's may not, and neither may be a device's. */
static void
gateways(void **state)
{
    static const struct {
        const char *text, *words; /* NULL: accepted */
    } cases[] = {
        {"HostName=h.test" REST, NULL},
        {"GATEWAYHOSTNAME=10.0.0.1;HostName=h.test:8443" REST, NULL},
        {"HostName=h.test" REST ";GatewayHostName=G.test:1", NULL},
        {"HostName=h.test" REST ";GatewayHostName=", "GatewayHostName: expected"},
        {"HostName=h.test" REST ";GatewayHostName=u@h.test", "GatewayHostName: expected"},
        {"HostName=h.test" REST ";GatewayHostName=[::1]:1", "GatewayHostName: expected"},
        {"HostName=h.test" REST ";GatewayHostName=a;GatewayHostName=a", "is given twice"},
        {"HostName=[::1]" REST, "HostName: expected"},
        {"HostName=h.test" REST ";DeviceId=d", "a device's"},
    };
    struct lk_svc_connection c;

    for (size_t i = 0; i < LK_ARRAY_LEN(cases); i++) {
        const char *text = cases[i].text;
        enum lk_err err;

        error[0] = '\0';
        err = lk_svc_connection_parse(LK_SVC_CONNECTION_HUB, text, strlen(text), error, &c);
        assert_int_equal(err, cases[i].words == NULL ? LK_OK : LK_ERR_FORMAT);
        assert_true(cases[i].words == NULL || strstr(error, cases[i].words) != NULL);
    }
    assert_int_equal(lk_svc_connection_parse(LK_SVC_CONNECTION_HUB, cases[1].text,
                                             strlen(cases[1].text), error, &c),
                     LK_OK);
    assert_string_equal(c.gateway, "10.0.0.1:443");
    assert_int_equal(c.port, 8443);
    expect_refused("HostName=h.test" REST ";GatewayHostName=a", "expected HostName=");
}

/* A NUL ends no member early. */
static void
nul_bytes(void **state)
{
    static const char text[] = "HostName=a\0b" REST;
    struct lk_svc_connection c;

    assert_int_equal(
        lk_svc_connection_parse(LK_SVC_CONNECTION_SERVICE, text, sizeof(text) - 1, NULL, &c),
        LK_ERR_FORMAT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gateways), cmocka_unit_test(forms),  cmocka_unit_test(addresses),
        cmocka_unit_test(refused),  cmocka_unit_test(limits), cmocka_unit_test(nul_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
