/* Tests of src/net/allow.c. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "net/allow.h"

static struct lk_network
address_of(const char *text)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    struct lk_network n;

    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
        assert_int_equal(lk_network_of((const struct sockaddr *)&v4, &n), LK_OK);
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
        assert_int_equal(lk_network_of((const struct sockaddr *)&v6, &n), LK_OK);
    }
    return n;
}

/* What a network is, and what is none. */
static void
networks(void **state)
{
    static const char *const good[] = {"10.1.2.3",    "10.0.0.0/8", "0.0.0.0/0",     "::/0",
                                       "10.0.0.2/31", "::1",        "2001:db8::/32", "::1/128"};
    static const char *const bad[] = {"",          "10",         "10.0.0.1/8",     "10.0.0.0/33",
                                      "10.0.0.0/", "10.0.0.0/x", "2001:db8::1/32", "::/129",
                                      "a.example", "10.0.0.0/-1"};
    struct lk_network n;

    for (size_t i = 0; i < LK_ARRAY_LEN(good); i++) {
        assert_int_equal(lk_network_parse(good[i], &n), LK_OK);
    }
    memset(&n, 0x5a, sizeof(n));
    for (size_t i = 0; i < LK_ARRAY_LEN(bad); i++) {
        assert_int_equal(lk_network_parse(bad[i], &n), LK_ERR_FORMAT);
    }
    assert_int_equal(n.bits, 0x5a5a5a5a);
}

/* A list may be empty or full; one entry more, or one that is nothing, is refused and named. */
static void
lists(void **state)
{
    char error[LK_ALLOW_ERROR_CAP], text[LK_ALLOW_MAX * 8 + 16] = "";
    LK_AUTO(lk_allow) struct lk_allow *empty = NULL;
    LK_AUTO(lk_allow) struct lk_allow *full = NULL;
    struct lk_allow *none = NULL;
    struct lk_network to = address_of("192.0.2.1");

    assert_int_equal(lk_allow_parse(" , ", error, &empty), LK_OK);
    assert_false(lk_allow_connect(empty, "a.example", &to));
    for (size_t i = 0; i < LK_ALLOW_MAX; i++) {
        strcat(text, "a.test ");
    }
    assert_int_equal(lk_allow_parse(text, error, &full), LK_OK);
    strcat(text, "b.test");
    assert_int_equal(lk_allow_parse(text, error, &none), LK_ERR_LIMIT);
    assert_int_equal(lk_allow_parse("a.test, 10.0.0.1/8", error, &none), LK_ERR_FORMAT);
    assert_non_null(strstr(error, "\"10.0.0.1/8\""));
    assert_int_equal(lk_allow_parse("1.2.3", NULL, &none), LK_ERR_FORMAT);
    assert_int_equal(lk_allow_parse("*.test", NULL, &none), LK_ERR_FORMAT);
    assert_null(none);
}

/* The judgement, row by row. */
static void
judgement(void **state)
{
    static const struct {
        const char *list, *host, *address;
        bool allowed;
    } rows[] = {
        {"", "hook.example", "192.0.2.1", false},
        {"hook.example", "hook.example", "192.0.2.1", true},
        {"Hook.Example", "hook.example", "2001:db8::1", true},
        {"hook.example", "other.example", "192.0.2.1", false},
        {"hook.example", "hook.example.evil.test", "192.0.2.1", false},
        {"hook.example", "sub.hook.example", "192.0.2.1", false},
        /* A name that leads here, to our link, to all or to nobody. */
        {"hook.example", "hook.example", "127.0.0.1", false},
        {"hook.example", "hook.example", "169.254.169.254", false},
        {"hook.example", "hook.example", "0.0.0.0", false},
        {"hook.example", "hook.example", "255.255.255.255", false},
        {"hook.example", "hook.example", "224.0.0.1", false},
        {"hook.example", "hook.example", "::1", false},
        {"hook.example", "hook.example", "::", false},
        {"hook.example", "hook.example", "fe80::1", false},
        {"hook.example", "hook.example", "ff02::1", false},
        {"hook.example", "hook.example", "::ffff:127.0.0.1", false},
        {"hook.example", "hook.example", "::127.0.0.1", false},
        {"hook.example", "hook.example", "64:ff9b::7f00:1", false},
        /* Networks, whatever the name. */
        {"192.0.2.0/24", "any.example", "192.0.2.200", true},
        {"192.0.2.0/24", "any.example", "192.0.3.1", false},
        {"192.0.2.0/24", "any.example", "::ffff:192.0.2.9", true},
        {"192.0.2.128/25", "any.example", "192.0.2.127", false},
        {"2001:db8::/33", "any.example", "2001:db8:7fff::1", true},
        {"2001:db8::/33", "any.example", "2001:db8:8000::1", false},
        {"0.0.0.0/0", "any.example", "192.0.2.1", true},
        {"0.0.0.0/0", "any.example", "2001:db8::1", false},
        /* The special ones only by themselves. */
        {"0.0.0.0/0 ::/0 127.0.0.0/8", "localhost", "127.0.0.1", false},
        {"::/0", "localhost", "::1", false},
        {"127.0.0.1", "localhost", "127.0.0.1", true},
        {"127.0.0.1", "localhost", "127.0.0.2", false},
        {"::1", "localhost", "::1", true},
        {"169.254.169.254", "169.254.169.254", "169.254.169.254", true},
    };

    for (size_t i = 0; i < LK_ARRAY_LEN(rows); i++) {
        LK_AUTO(lk_allow) struct lk_allow *a = NULL;
        struct lk_network to = address_of(rows[i].address);

        assert_int_equal(lk_allow_parse(rows[i].list, NULL, &a), LK_OK);
        if (lk_allow_connect(a, rows[i].host, &to) != rows[i].allowed) {
            fail_msg("row %zu: %s, %s", i, rows[i].list, rows[i].address);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(networks), cmocka_unit_test(lists),
                                       cmocka_unit_test(judgement)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
