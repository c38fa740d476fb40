/* Tests of src/wire/ids.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "wire/ids.h"

typedef bool rule_fn(const char *text, size_t len);

/* Each text of a NULL-ended list is judged as said. */
static void
expect(rule_fn *rule, bool verdict, const char *const *texts)
{
    for (; *texts != NULL; texts++) {
        if (rule(*texts, strlen(*texts)) != verdict) {
            fail_msg("\"%s\" is %s", *texts, verdict ? "refused" : "accepted");
        }
    }
}

/* The longest text of one letter passes, one letter more does not, and none is too few. */
static void
expect_longest(rule_fn *rule, size_t max)
{
    char text[512];

    memset(text, 'a', sizeof(text));
    assert_false(rule(text, 0));
    assert_true(rule(text, 1));
    assert_true(rule(text, max));
    assert_false(rule(text, max + 1));
}

/* Every byte value, as the only one, in the middle and at the end, against a list of what may be.
 */
static void
expect_bytes(rule_fn *rule, const char *anywhere, const char *not_last)
{
    for (unsigned c = 0; c < 256; c++) {
        const char middle[] = {'a', (char)c, 'a'}, last[] = {'a', (char)c};
        bool listed = c != 0 && strchr(anywhere, (int)c) != NULL;
        bool inside = listed || (c != 0 && strchr(not_last, (int)c) != NULL);

        assert_int_equal(rule(middle, sizeof(middle)), inside);
        assert_int_equal(rule(last, sizeof(last)), listed);
    }
}

#define ALNUM "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"

/* Scopes: 1 to 64 of letters, digits and dashes. */
static void
id_scope(void **state)
{
    expect_longest(lk_id_scope_ok, 64);
    expect_bytes(lk_id_scope_ok, ALNUM "-", "");
}

/* Registration IDs: 1 to 128, and what may not come last. */
static void
registration_id(void **state)
{
    static const char *const good[] = {"a", "A", "0", "-", "_a", ".a", ":a", "a._:-", NULL};
    static const char *const bad[] = {"a.",   "a_",  "a:",    ".",    "_",          ":",
                                      "a/b",  "a b", "a%2fb", "../a", "d\xc3\xa9v", "a\nb",
                                      "a\\b", "a;b", "a,b",   "a\"b", NULL};

    expect_longest(lk_registration_id_ok, 128);
    expect_bytes(lk_registration_id_ok, ALNUM "-", "._:");
    expect(lk_registration_id_ok, true, good);
    expect(lk_registration_id_ok, false, bad);
}

/* A NUL inside does not end the text. */
static void
nul_inside(void **state)
{
    assert_false(lk_registration_id_ok("dev-1\0x", 7));
    assert_false(lk_registration_id_ok("dev-1", 6));
    assert_false(lk_device_id_ok("dev-1\0x", 7));
    assert_false(lk_id_scope_ok("0ne\0", 4));
    assert_false(lk_host_name_ok("hub\0.example", 12));
}

/* Device IDs: IoT Hub's characters anywhere. */
static void
device_id(void **state)
{
    expect_longest(lk_device_id_ok, 128);
    expect_bytes(lk_device_id_ok, ALNUM "-:.+%_#*?!(),=@;$'", "");
}

/* Host names: labels that DNS knows, with or without a dot. */
static void
host_name(void **state)
{
    static const char *const good[] = {"localhost", "hub.example.test", "a", "1", "a-b.c", "A.b",
                                       NULL};
    static const char *const bad[] = {"",    ".",     "a.",       ".a",        "a..b", "-a",
                                      "a-",  "a-.b",  "a.-b",     "a_b",       "a b",  "a:1",
                                      "a/b", "[::1]", "a.b.c.d.", "h\xc3\xbc", NULL};

    expect(lk_host_name_ok, true, good);
    expect(lk_host_name_ok, false, bad);
}

/* A label has at most 63 bytes, a name 253. */
static void
host_name_longest(void **state)
{
    char text[300];

    memset(text, 'a', sizeof(text));
    assert_true(lk_host_name_ok(text, 63));
    assert_false(lk_host_name_ok(text, 64));
    for (size_t i = 1; i < sizeof(text); i += 2) {
        text[i] = '.';
    }
    assert_true(lk_host_name_ok(text, 253));
    assert_false(lk_host_name_ok(text, 255));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(id_scope),   cmocka_unit_test(registration_id),
        cmocka_unit_test(nul_inside), cmocka_unit_test(device_id),
        cmocka_unit_test(host_name),  cmocka_unit_test(host_name_longest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
