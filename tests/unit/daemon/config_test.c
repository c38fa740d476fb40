/* Tests of src/daemon/config.c, config_value.c and config_table.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/config_int.h"

static char error[LK_CONFIG_ERROR_CAP];

static enum lk_err
parse_as(const char *name, const char *text, struct lk_config *ret)
{
    memset(error, 0, sizeof(error));
    return lk_config_parse(name, text, strlen(text), error, ret);
}

/* Refused with exactly these words, and *ret is left alone. */
static void
expect_error(const char *text, const char *want)
{
    struct lk_config c;

    memset(&c, 0x5a, sizeof(c));
    assert_int_equal(parse_as("f", text, &c), LK_ERR_CONFIG);
    assert_string_equal(error, want);
    for (size_t i = 0; i < sizeof(c); i++) {
        assert_int_equal(((uint8_t *)&c)[i], 0x5a);
    }
}

/* An empty file is the defaults, and every row of the table has one that it accepts. */
static void
defaults(void **state)
{
    struct lk_config c, d;

    lk_config_defaults(&d);
    assert_int_equal(parse_as("/etc/latchkey/latchkeyd.conf", "", &c), LK_OK);
    assert_memory_equal(&c, &d, sizeof(c));
    assert_string_equal(c.data_dir, "/var/lib/latchkey");
    assert_string_equal(c.store, "sqlite:/var/lib/latchkey/latchkey.db");
    assert_string_equal(c.keyring, "/var/lib/latchkey/master.key");
    assert_string_equal(c.tls_cert, "/var/lib/latchkey/tls/server.pem");
    assert_string_equal(c.tls_key, "/var/lib/latchkey/tls/server.key");
    assert_string_equal(c.listen, ":443");
    assert_string_equal(c.admin_listen, "127.0.0.1:9464");
    assert_int_equal(c.workers, 0);
    assert_int_equal(c.challenge_epoch_s, 600);
    assert_int_equal(c.audit_refusals_per_s, 20);
    assert_int_equal(c.drain_ms, 10000);
    assert_int_equal(c.log_target, LK_LOG_JSON);
    assert_int_equal(c.log_level, LK_LOG_INFO);
    assert_int_equal(c.limits.head_max, 16384);
    assert_int_equal(c.limits.connections_per_net, 2048);
}

/* Blanks, comments, CRLF and a last line without its end are all fine. */
static void
every_form_of_line(void **state)
{
    struct lk_config c;

    assert_int_equal(parse_as("f",
                              "# comment = none\r\n\n  \t\n  workers=3\r\n\tdrain-ms\t=  5 \n"
                              "   # indented\ndata-dir = /a b=c#d\nlog-level = debug\n"
                              "log-target = journald",
                              &c),
                     LK_OK);
    assert_int_equal(c.workers, 3);
    assert_int_equal(c.drain_ms, 5);
    assert_string_equal(c.data_dir, "/a b=c#d");
    assert_int_equal(c.log_level, LK_LOG_DEBUG);
    assert_int_equal(c.log_target, LK_LOG_JOURNALD);
}

/* A byte order mark is taken at the very start, whole, and nowhere else. */
static void
byte_order_mark(void **state)
{
    struct lk_config c;

    assert_int_equal(parse_as("f", "\xef\xbb\xbfworkers = 3\n", &c), LK_OK);
    assert_int_equal(c.workers, 3);
    assert_int_equal(parse_as("f", "\xef\xbb\xbf", &c), LK_OK);
    assert_int_equal(parse_as("f", "\xef\xbb\xbf# comment\r\nworkers = 4\r\n", &c), LK_OK);
    assert_int_equal(c.workers, 4);
    assert_int_equal(parse_as("f", "\xef\xbb", &c), LK_ERR_CONFIG);
    assert_int_equal(parse_as("f", "\xef\xbb\xbf\xef\xbb\xbfworkers = 3\n", &c), LK_ERR_CONFIG);
    assert_int_equal(parse_as("f", "\n\xef\xbb\xbfworkers = 3\n", &c), LK_ERR_CONFIG);
}

/* What is not given follows data-dir, wherever in the file that stands. */
static void
defaults_follow_the_data_folder(void **state)
{
    struct lk_config c;

    assert_int_equal(parse_as("/x/f", "tls-cert = /c.pem\ndata-dir = /d\n", &c), LK_OK);
    assert_string_equal(c.store, "sqlite:/d/latchkey.db");
    assert_string_equal(c.keyring, "/d/master.key");
    assert_string_equal(c.tls_cert, "/c.pem");
    assert_string_equal(c.tls_key, "/d/tls/server.key");
}

/* Relative names are below the file's folder; without a folder they stay as they are. */
static void
relative_names(void **state)
{
    static const char text[] = "data-dir = data\nkeyring = k\nstore = sqlite:s.db\n";
    struct lk_config c;

    assert_int_equal(parse_as("/etc/lk/f.conf", text, &c), LK_OK);
    assert_string_equal(c.data_dir, "/etc/lk/data");
    assert_string_equal(c.keyring, "/etc/lk/k");
    assert_string_equal(c.store, "sqlite:/etc/lk/s.db");
    assert_string_equal(c.tls_cert, "/etc/lk/data/tls/server.pem");
    assert_int_equal(parse_as("f.conf", text, &c), LK_OK);
    assert_string_equal(c.keyring, "k");
    assert_string_equal(c.tls_cert, "data/tls/server.pem");
}

/* "%d/" is systemd's folder of credentials, and an error where there is none. */
static void
credentials(void **state)
{
    struct lk_config c;

    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", "/run/credentials/x", 1), 0);
    assert_int_equal(parse_as("/etc/f", "keyring = %d/master.key\n", &c), LK_OK);
    assert_string_equal(c.keyring, "/run/credentials/x/master.key");
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    expect_error("keyring = %d/master.key\n",
                 "f:1: keyring: expected $CREDENTIALS_DIRECTORY, which systemd sets, for \"%d/\"");
}

/* Every mistake is told with file, line, key and what was expected. */
static void
mistakes(void **state)
{
    expect_error("workers", "f:1: expected \"key = value\"");
    expect_error("\n#\nwokers = 1\n", "f:3: unknown key \"wokers\"");
    expect_error("Workers = 1\n", "f:1: unknown key \"Workers\"");
    expect_error("= 1\n", "f:1: unknown key \"\"");
    expect_error("workers =\n", "f:1: expected \"workers = value\" of 1 to 511 bytes");
    expect_error("workers = 1\n\nworkers = 1\n",
                 "f:3: workers: is set again; line 1 sets it first");
    expect_error("data-dir = /\x01\n", "f:1: expected text without control characters");
    expect_error("data-dir = /a\x7f\n", "f:1: expected text without control characters");
    expect_error("log-level = loud\n",
                 "f:1: log-level: expected error, warning, info or debug, got \"loud\"");
    expect_error("log-target = syslog\n",
                 "f:1: log-target: expected json or journald, got \"syslog\"");
    expect_error("store = mysql:x\n",
                 "f:1: store: expected sqlite:FILE or postgresql://..., got \"mysql:x\"");
    expect_error("store = sqlite:\n",
                 "f:1: store: expected sqlite:FILE or postgresql://..., got \"sqlite:\"");
}

/* A NUL is a control character wherever it stands. */
static void
nul_bytes(void **state)
{
    static const char in_value[] = "workers = 1\0"
                                   "2\n",
                      in_key[] = "work\0ers = 1\n";
    struct lk_config c;

    assert_int_equal(lk_config_parse("f", in_value, sizeof(in_value) - 1, error, &c),
                     LK_ERR_CONFIG);
    assert_int_equal(lk_config_parse("f", in_key, sizeof(in_key) - 1, error, &c), LK_ERR_CONFIG);
}

static enum lk_err
number(const char *key, uint64_t value)
{
    char text[128];
    struct lk_config c;

    (void)snprintf(text, sizeof(text), "%s = %llu\n", key, (unsigned long long)value);
    return parse_as("f", text, &c);
}

/* Each number's range is closed at both ends. */
static void
number_ranges(void **state)
{
    for (size_t i = 0; i < lk_config_rows_count; i++) {
        const struct lk_config_row *row = &lk_config_rows[i];

        if (row->kind != LK_ROW_NUMBER) {
            continue;
        }
        assert_int_equal(number(row->key, row->min), LK_OK);
        assert_int_equal(number(row->key, row->max), LK_OK);
        assert_int_equal(number(row->key, (uint64_t)row->max + 1), LK_ERR_CONFIG);
        assert_true(row->min == 0 || number(row->key, row->min - 1) == LK_ERR_CONFIG);
    }
    expect_error("drain-ms = 600001\n", "f:1: drain-ms: expected 0 to 600000 ms, got \"600001\"");
    expect_error("workers = -1\n", "f:1: workers: expected 0 to 256, got \"-1\"");
    expect_error("workers = 1 \t2\n", "f:1: workers: expected 0 to 256, got \"1 \t2\"");
    expect_error("workers = 99999999999999999999999\n",
                 "f:1: workers: expected 0 to 256, got \"99999999999999999999999\"");
}

/* Addresses: a name, IPv4, bracketed IPv6 or none, and a port that fits. */
static void
listen_forms(void **state)
{
    static const char *const good[] = {":443",      "0.0.0.0:0",      "127.0.0.1:65535",
                                       "[::1]:443", "localhost:8443", "dps.example.test:443"};
    static const char *const bad[] = {"443",     ":65536",   ":",           "host:",  "::1:443",
                                      "[::1]",   "[::1:443", "[1.2.3.4]:1", "[]:443", ":4 3",
                                      "a b:443", ":+443",    "[::1]x:443",  "/x:1"};
    char text[128];
    struct lk_config c;

    for (size_t i = 0; i < LK_ARRAY_LEN(good); i++) {
        (void)snprintf(text, sizeof(text), "listen = %s\n", good[i]);
        assert_int_equal(parse_as("f", text, &c), LK_OK);
        assert_string_equal(c.listen, good[i]);
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(bad); i++) {
        (void)snprintf(text, sizeof(text), "listen = %s\n", bad[i]);
        assert_int_equal(parse_as("f", text, &c), LK_ERR_CONFIG);
    }
    expect_error("listen = here\n",
                 "f:1: listen: expected ADDRESS:PORT, [IPV6]:PORT or :PORT, got \"here\"");
}

/* The listener without TLS and passwords stays on this machine. */
static void
admin_is_loopback(void **state)
{
    static const char *const good[] = {"127.0.0.1:0", "127.9.9.9:1", "[::1]:9464", "localhost:1",
                                       "none"};
    static const char *const bad[] = {
        "0.0.0.0:9464", ":9464",         "[::]:9464", "10.0.0.1:9464", "[::ffff:127.0.0.1]:1",
        "128.0.0.1:1",  "localhost.a:1", "127.1:1",   "None",          "unix:/x"};
    char text[128];
    struct lk_config c;

    for (size_t i = 0; i < LK_ARRAY_LEN(good); i++) {
        (void)snprintf(text, sizeof(text), "admin-listen = %s\n", good[i]);
        assert_int_equal(parse_as("f", text, &c), LK_OK);
        assert_string_equal(c.admin_listen, good[i]);
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(bad); i++) {
        (void)snprintf(text, sizeof(text), "admin-listen = %s\n", bad[i]);
        assert_int_equal(parse_as("f", text, &c), LK_ERR_CONFIG);
    }
    expect_error("admin-listen = 0.0.0.0:1\n",
                 "f:1: admin-listen: expected a loopback address, got \"0.0.0.0:1\": this listener "
                 "has no TLS and no passwords; put a proxy in front to reach it from elsewhere");
}

/* The longest value fits; one byte more does not, nor does a folder that pushes it over. */
static void
longest_text(void **state)
{
    char text[2 * LK_CONFIG_TEXT_CAP] = "keyring = /";
    size_t head = strlen(text);
    struct lk_config c;

    memset(text + head, 'k', LK_CONFIG_TEXT_CAP - 2);
    assert_int_equal(parse_as("f", text, &c), LK_OK);
    assert_int_equal(strlen(c.keyring), LK_CONFIG_TEXT_CAP - 1);
    text[head + LK_CONFIG_TEXT_CAP - 2] = 'k';
    assert_int_equal(parse_as("f", text, &c), LK_ERR_CONFIG);
    text[head + LK_CONFIG_TEXT_CAP - 2] = '\0';
    text[head - 1] = 'k';
    assert_int_equal(parse_as("/f", text, &c), LK_ERR_CONFIG);

    memcpy(text, "data-dir= /", head);
    assert_int_equal(parse_as("f", text, &c), LK_ERR_CONFIG);
    assert_non_null(strstr(error, "f: store: expected at most 511 bytes with its folder"));
}

/* A file of the largest size is read; one byte more is refused before it is looked at. */
static void
largest_file(void **state)
{
    static char text[LK_CONFIG_FILE_MAX + 1];
    struct lk_config c;

    memset(text, '\n', sizeof(text));
    assert_int_equal(lk_config_parse("f", text, LK_CONFIG_FILE_MAX, error, &c), LK_OK);
    assert_int_equal(lk_config_parse("f", text, LK_CONFIG_FILE_MAX + 1, error, &c), LK_ERR_CONFIG);
    assert_string_equal(error, "f: expected at most 65536 bytes");
}

/* A file that is absent, a folder, and one that is there. */
static void
load(void **state)
{
    char dir[] = "/tmp/lk-config-XXXXXX", path[64], want[128];
    struct lk_config c;
    FILE *f;

    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/f.conf", dir);
    assert_int_equal(lk_config_load(path, error, &c), LK_ERR_NOT_FOUND);
    (void)snprintf(want, sizeof(want), "%s: No such file or directory", path);
    assert_string_equal(error, want);
    assert_int_equal(lk_config_load(dir, error, &c), LK_ERR_IO);

    f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs("data-dir = d\nworkers = 2\n", f) > 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(lk_config_load(path, error, &c), LK_OK);
    (void)snprintf(want, sizeof(want), "%s/d", dir);
    assert_string_equal(c.data_dir, want);
    assert_int_equal(c.workers, 2);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

struct seen {
    char keys[256];
};

static void
remember(void *ctx, const char *key, bool reloadable)
{
    struct seen *seen = ctx;
    size_t len = strlen(seen->keys);

    (void)snprintf(seen->keys + len, sizeof(seen->keys) - len, "%s%s ", key, reloadable ? "*" : "");
}

/* The difference of two configurations names what changed, and what a reload takes. */
static void
diff(void **state)
{
    struct seen seen = {""};
    struct lk_config a, b;

    lk_config_defaults(&a);
    b = a;
    memset(b.tls_key + strlen(b.tls_key) + 1, 'x', 10); /* what is behind a text does not count */
    lk_config_diff(&a, &b, remember, &seen);
    assert_string_equal(seen.keys, "");
    assert_int_equal(parse_as("f", "data-dir = /d\nlog-level = error\nhttp-idle-ms = 100\n", &b),
                     LK_OK);
    lk_config_diff(&a, &b, remember, &seen);
    assert_string_equal(seen.keys,
                        "data-dir store keyring tls-cert* tls-key* log-level* http-idle-ms ");
}

/* A reload takes what the table says it takes, and nothing else. */
static void
adopt(void **state)
{
    struct seen seen = {""};
    struct lk_config a, b;

    lk_config_defaults(&a);
    assert_int_equal(parse_as("f", "data-dir = /d\nlog-level = error\nworkers = 7\n", &b), LK_OK);
    lk_config_adopt(&a, &b);
    assert_int_equal(a.log_level, LK_LOG_ERROR);
    assert_string_equal(a.tls_cert, "/d/tls/server.pem");
    assert_int_equal(a.workers, 0);
    lk_config_diff(&a, &b, remember, &seen);
    assert_string_equal(seen.keys, "data-dir store keyring workers ");
}

static size_t
count(const char *text, const char *what)
{
    size_t n = 0;

    for (; (text = strstr(text, what)) != NULL; text += strlen(what)) {
        n++;
    }
    return n;
}

/* Help and manual name every key once, with range, unit, default and whether a reload takes it. */
static void
describe(void **state)
{
    LK_AUTO_BUF struct lk_buf help = LK_BUF_INIT, roff = LK_BUF_INIT;

    assert_int_equal(lk_config_describe(false, &help), LK_OK);
    assert_int_equal(lk_config_describe(true, &roff), LK_OK);
    assert_int_equal(count(lk_buf_text(&help), "Default "), lk_config_rows_count);
    assert_int_equal(count(lk_buf_text(&roff), ".TP\n.B "), lk_config_rows_count);
    assert_non_null(strstr(lk_buf_text(&help),
                           "  drain-ms\n      Time that requests under way are given when the "
                           "service is told to stop.\n      Default 10000 ms, 0 to 600000.\n"));
    assert_non_null(strstr(lk_buf_text(&help), "Default info. A reload takes it.\n"));
    assert_non_null(strstr(lk_buf_text(&roff), ".B http\\-idle\\-ms\n"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults),
        cmocka_unit_test(every_form_of_line),
        cmocka_unit_test(byte_order_mark),
        cmocka_unit_test(defaults_follow_the_data_folder),
        cmocka_unit_test(relative_names),
        cmocka_unit_test(credentials),
        cmocka_unit_test(mistakes),
        cmocka_unit_test(nul_bytes),
        cmocka_unit_test(number_ranges),
        cmocka_unit_test(listen_forms),
        cmocka_unit_test(admin_is_loopback),
        cmocka_unit_test(longest_text),
        cmocka_unit_test(largest_file),
        cmocka_unit_test(load),
        cmocka_unit_test(diff),
        cmocka_unit_test(adopt),
        cmocka_unit_test(describe),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
