/* Tests of src/cli/profile.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/profile.h"

#define KEY "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s="
#define CONNECTION "HostName=dps.test;SharedAccessKeyName=owner;SharedAccessKey=" KEY

static char error[LK_PROFILE_ERROR_CAP];

static enum lk_err
parse(const char *text, const char *name, struct lk_profile *ret)
{
    error[0] = '\0';
    return lk_profile_parse("f", text, strlen(text), name, error, ret);
}

static void
expect_refused(const char *text, enum lk_err err, const char *words)
{
    struct lk_profile p, before;

    memset(&p, 0xa5, sizeof(p));
    before = p;
    assert_int_equal(parse(text, "one", &p), err);
    if (strcmp(error, words) != 0) {
        fail_msg("%s: %s", text, error);
    }
    assert_memory_equal(&p, &before, sizeof(p));
}

/* The profile that is asked for is taken from among others. */
static void
forms(void **state)
{
    static const char text[] = "\xef\xbb\xbf# mine\r\n[one]\nconnection-string = " CONNECTION
                               "\n\n[ two ]\r\n  ca-file=a = b.pem \r\nconnection-string\t="
                               "HostName=b;SharedAccessKeyName=n;SharedAccessKey=" KEY;
    struct lk_profile p;

    assert_int_equal(parse(text, "one", &p), LK_OK);
    assert_string_equal(p.connection.host, "dps.test");
    assert_string_equal(p.ca_file, "");
    assert_int_equal(parse(text, "two", &p), LK_OK);
    assert_string_equal(p.connection.host, "b");
    assert_string_equal(p.ca_file, "a = b.pem");
    assert_int_equal(parse(text, "One", &p), LK_ERR_NOT_FOUND);
    assert_string_equal(error, "f: there is no profile [One]");
}

/* Every mistake has its line, also in a profile that is not asked for. */
static void
mistakes(void **state)
{
    expect_refused("", LK_ERR_NOT_FOUND, "f: there is no profile [one]");
    expect_refused("[one]\n", LK_ERR_FORMAT, "f: the profile [one] has no connection-string");
    expect_refused("ca-file = a\n[one]\n", LK_ERR_FORMAT,
                   "f:1: expected [name] before the first key");
    expect_refused("[one\n", LK_ERR_FORMAT, "f:1: expected [name]");
    expect_refused("[]\n", LK_ERR_FORMAT,
                   "f:1: expected [name] with at most 64 letters, digits and - _ .");
    expect_refused("[\n", LK_ERR_FORMAT, "f:1: expected [name]");
    expect_refused("[one]\nconnection-string = " CONNECTION "\n[two]\nwords\n", LK_ERR_FORMAT,
                   "f:4: expected \"key = value\" or [name]");
    expect_refused("[two]\nkey = \x1b[2J\n", LK_ERR_FORMAT,
                   "f:2: expected one of the keys connection-string and ca-file");
    expect_refused("[one]\nca-file = a\nca-file = b\n", LK_ERR_FORMAT, "f:3: ca-file is set again");
    expect_refused("[one]\nca-file =\n", LK_ERR_FORMAT,
                   "f:2: ca-file: expected the name of a file");
    expect_refused("[one]\nconnection-string = HostName=a;SharedAccessKey=" KEY "\n", LK_ERR_FORMAT,
                   "f:2: connection-string: SharedAccessKeyName: is missing");
    expect_refused("[one]\nconnection-string = " CONNECTION "\nconnection-string = " CONNECTION,
                   LK_ERR_FORMAT, "f:3: connection-string is set again");
    expect_refused("[one]\n[two]\n[one]\n", LK_ERR_FORMAT, "f:3: the profile one is there twice");
}

/* The largest file, and one byte more. */
static void
largest(void **state)
{
    static char text[LK_PROFILE_FILE_MAX + 1];
    static const char begin[] = "[one]\nconnection-string = " CONNECTION "\n";
    struct lk_profile p;

    memset(text, '\n', sizeof(text));
    memcpy(text, begin, strlen(begin));
    assert_int_equal(lk_profile_parse("f", text, sizeof(text) - 1, "one", error, &p), LK_OK);
    assert_int_equal(lk_profile_parse("f", text, sizeof(text), "one", error, &p), LK_ERR_FORMAT);
    assert_string_equal(error, "f: expected at most 65536 bytes");
}

/* Only a file that its owner alone can read is taken, and ca-file is beside it. */
static void
file(void **state)
{
    char dir[] = "/tmp/profile-test-XXXXXX", path[64], want[64];
    struct lk_profile p;
    FILE *f;

    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/profiles.conf", dir);
    assert_int_equal(lk_profile_load(path, "one", error, &p), LK_ERR_NOT_FOUND);
    assert_non_null(strstr(error, "No such file"));
    f = fopen(path, "w");
    assert_non_null(f);
    (void)fputs("[one]\nca-file = ca.pem\nconnection-string = " CONNECTION "\n", f);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(lk_profile_load(path, "one", error, &p), LK_ERR_REFUSED);
    assert_non_null(strstr(error, "mode 0640"));
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(lk_profile_load(path, "one", error, &p), LK_OK);
    (void)snprintf(want, sizeof(want), "%s/ca.pem", dir);
    assert_string_equal(p.ca_file, want);
    assert_string_equal(p.connection.host, "dps.test");
    assert_int_equal(lk_profile_load(dir, "one", error, &p), LK_ERR_REFUSED);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

/* XDG_CONFIG_HOME comes before HOME, and neither may be relative. */
static void
places(void **state)
{
    char path[LK_PROFILE_PATH_CAP];
    char *home = strdup(getenv("HOME") != NULL ? getenv("HOME") : "/");

    assert_int_equal(setenv("XDG_CONFIG_HOME", "/x", 1), 0);
    assert_int_equal(setenv("HOME", "/h", 1), 0);
    assert_int_equal(lk_profile_path(path), LK_OK);
    assert_string_equal(path, "/x/latchkey/profiles.conf");
    assert_int_equal(setenv("XDG_CONFIG_HOME", "x", 1), 0);
    assert_int_equal(lk_profile_path(path), LK_OK);
    assert_string_equal(path, "/h/.config/latchkey/profiles.conf");
    assert_int_equal(unsetenv("XDG_CONFIG_HOME"), 0);
    assert_int_equal(setenv("HOME", "", 1), 0);
    assert_int_equal(lk_profile_path(path), LK_ERR_NOT_FOUND);
    assert_int_equal(setenv("HOME", home, 1), 0);
    free(home);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms), cmocka_unit_test(mistakes), cmocka_unit_test(largest),
        cmocka_unit_test(file),  cmocka_unit_test(places),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
