/* Tests of src/net/regions.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "net/regions.h"

/* Entries that are none, are there twice, or are one too many. */
static void
lists(void **state)
{
    static const char *const bad[] = {
        "10.0.0.0/8",         "10.0.0.0/8=",      "=north",
        "10.0.0.1/8=north",   "10.0.0.0/8=a b=c", "10.0.0.0/8=north 10.0.0.0/8=south",
        "host.example=north", "10.0.0.0/8=no_rth"};
    char error[LK_ALLOW_ERROR_CAP], text[LK_REGIONS_MAX * 16 + 32] = "";
    LK_AUTO(lk_regions) struct lk_regions *full = NULL;
    struct lk_regions *none = NULL;

    for (size_t i = 0; i < LK_ARRAY_LEN(bad); i++) {
        assert_int_equal(lk_regions_parse(bad[i], "", error, &none), LK_ERR_FORMAT);
    }
    assert_int_equal(lk_regions_parse("", "no_rth", NULL, &none), LK_ERR_FORMAT);
    for (unsigned i = 0; i < LK_REGIONS_MAX; i++) {
        (void)snprintf(text + strlen(text), 16, "10.0.%u.0/24=r ", i);
    }
    assert_int_equal(lk_regions_parse(text, "rest", error, &full), LK_OK);
    assert_string_equal(lk_regions_of(full, "10.0.63.255"), "r");
    assert_string_equal(lk_regions_of(full, "10.0.64.0"), "rest");
    strcat(text, "10.1.0.0/16=r");
    assert_int_equal(lk_regions_parse(text, "rest", error, &none), LK_ERR_LIMIT);
    assert_null(none);
}

/* A name is 1 to 64 letters, digits and dashes. */
static void
names(void **state)
{
    char name[LK_REGION_CAP + 1];

    memset(name, 'r', sizeof(name));
    name[LK_REGION_CAP] = '\0';
    assert_false(lk_region_ok(name));
    name[LK_REGION_CAP - 1] = '\0';
    assert_true(lk_region_ok(name));
    assert_true(lk_region_ok("North-1"));
    assert_false(lk_region_ok(""));
    assert_false(lk_region_ok("a\"b"));
}

/* The narrowest network wins, whatever the order; what is no address is elsewhere. */
static void
clients(void **state)
{
    static const struct {
        const char *address, *region;
    } rows[] = {
        {"10.1.2.3", "lab"},     {"10.1.3.3", "north"},      {"10.2.0.1", "all"},
        {"192.0.2.1", "rest"},   {"::ffff:10.1.2.3", "lab"}, {"2001:db8::1", "six"},
        {"2001:db9::1", "rest"}, {"fe80::1%eth0", "rest"},   {"", "rest"},
        {"10.1.2.9", "one"},
    };
    LK_AUTO(lk_regions) struct lk_regions *r = NULL;

    assert_int_equal(lk_regions_parse("10.1.0.0/16=north 10.1.2.0/24=lab,10.0.0.0/8=all "
                                      "2001:db8::/32=six 10.1.2.9=one",
                                      "rest", NULL, &r),
                     LK_OK);
    for (size_t i = 0; i < LK_ARRAY_LEN(rows); i++) {
        assert_string_equal(lk_regions_of(r, rows[i].address), rows[i].region);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lists), cmocka_unit_test(names),
                                       cmocka_unit_test(clients)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
