/* Tests of src/crypto/keyring.c. Each case has a folder of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "crypto/keyring.h"

#define KEY_1 "0000000000000001 1000 AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
#define KEY_2 "0000000000000002 2000 ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=\n"

static char folder[64];
static char path[96];

static int
make_folder(void **state)
{
    (void)snprintf(folder, sizeof(folder), "/tmp/lk-keyring-XXXXXX");
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    (void)snprintf(path, sizeof(path), "%s/master.key", folder);
    return 0;
}

static int
drop_folder(void **state)
{
    (void)unlink(path);
    return rmdir(folder); /* fails when a file was left behind */
}

static void
write_file(const char *text, mode_t mode)
{
    FILE *f = fopen(path, "w");

    assert_non_null(f);
    assert_int_equal(fputs(text, f) < 0, 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static struct lk_keyring *
load(void)
{
    char error[LK_KEYRING_ERROR_CAP] = "";
    struct lk_keyring *ring = NULL;

    if (lk_keyring_load(path, error, &ring) != LK_OK) {
        fail_msg("%s", error);
    }
    return ring;
}

static enum lk_err
failing_fill(void *ctx, void *buf, size_t len)
{
    return LK_ERR_CRYPTO;
}

static void
expect_refused(enum lk_err want, const char *why)
{
    char error[LK_KEYRING_ERROR_CAP] = "";
    struct lk_keyring *ring = NULL;

    assert_int_equal(lk_keyring_load(path, error, &ring), want);
    assert_null(ring);
    assert_int_equal(strncmp(error, path, strlen(path)), 0);
    if (strstr(error, why) == NULL) {
        fail_msg("expected \"%s\" in: %s", why, error);
    }
    assert_int_equal(lk_keyring_load(path, NULL, &ring), want);
}

/* A new file holds one key, is private whatever the umask, and is never written over. */
static void
create_makes_one_key(void **state)
{
    LK_AUTO(lk_keyring) struct lk_keyring *ring = NULL, *again = NULL;
    mode_t mask = umask(0);
    struct stat st;

    assert_int_equal(lk_keyring_create(path, 1234567, &lk_rand_system), LK_OK);
    (void)umask(mask);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    ring = load();
    assert_int_equal(lk_keyring_count(ring), 1);
    assert_int_equal(lk_keyring_created_ms(ring, 0), 1234567);
    assert_int_equal(lk_keyring_create(path, 7, &lk_rand_system), LK_ERR_EXISTS);
    again = load();
    assert_true(lk_keyring_id(again, 0) == lk_keyring_id(ring, 0));
}

/* A folder that does not exist, and randomness that fails: no file either way. */
static void
create_failures_leave_nothing(void **state)
{
    char nowhere[160];
    const struct lk_rand broken = {failing_fill, NULL};
    struct stat st;

    (void)snprintf(nowhere, sizeof(nowhere), "%s/missing/master.key", folder);
    assert_int_equal(lk_keyring_create(nowhere, 1, &lk_rand_system), LK_ERR_IO);
    assert_int_equal(lk_keyring_create(path, 1, &broken), LK_ERR_CRYPTO);
    assert_int_not_equal(stat(path, &st), 0);
}

/* Whoever else may read or write the file, it is refused. */
static void
refuses_open_modes(void **state)
{
    static const mode_t modes[] = {0604, 0602, 0601, 0640, 0620, 0610, 0644, 0666};

    write_file(KEY_1, 0600);
    for (size_t i = 0; i < LK_ARRAY_LEN(modes); i++) {
        assert_int_equal(chmod(path, modes[i]), 0);
        expect_refused(LK_ERR_CONFIG, "0600");
    }
    assert_int_equal(chmod(path, 0400), 0);
    lk_keyring_free(load());
}

/* A credential of systemd's carries an access control list, which shows as the group's bit. */
static void
takes_credentials(void **state)
{
    write_file(KEY_1, 0440);
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", folder, 1), 0);
    lk_keyring_free(load());
    assert_int_equal(chmod(path, 0444), 0);
    expect_refused(LK_ERR_CONFIG, "0600");
    assert_int_equal(chmod(path, 0460), 0);
    expect_refused(LK_ERR_CONFIG, "0600");
    assert_int_equal(chmod(path, 0440), 0);
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", "/run", 1), 0);
    expect_refused(LK_ERR_CONFIG, "0600");
    assert_int_equal(unsetenv("CREDENTIALS_DIRECTORY"), 0);
    expect_refused(LK_ERR_CONFIG, "0600");
}

/* No file, and a file without keys. */
static void
refuses_nothing(void **state)
{
    expect_refused(LK_ERR_NOT_FOUND, "No such file");
    write_file("", 0600);
    expect_refused(LK_ERR_FORMAT, "at least one key");
    write_file("# only a comment\n\n", 0600);
    expect_refused(LK_ERR_FORMAT, "at least one key");
}

/* Each broken field is refused by the number of its line, comments and blank lines counted. */
static void
names_malformed_lines(void **state)
{
    static const char *const rows[] = {
        "x",
        "0000000000000002",
        "0000000000000002 2000",
        "0000000000000002 2000 ",
        "000000000000002 2000 ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=",
        "00000000000000002 2000 ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=",
        "000000000000000200 2000 ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=",
        "000000000000000g 2000 ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=",
        "0000000000000002 -200 ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=",
        "0000000000000002 9223372036854775808 ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=",
        "0000000000000002 2000  ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=",
        "0000000000000002 2000 ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8",
        "0000000000000002 2000 ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8= ",
        "0000000000000002 2000 ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pg==",
        "0000000000000002 2000 ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj9A",
        " 0000000000000002 2000 ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=",
    };

    for (size_t i = 0; i < LK_ARRAY_LEN(rows); i++) {
        char text[512];

        (void)snprintf(text, sizeof(text), "# comment\n\n%s%s\n", KEY_1, rows[i]);
        write_file(text, 0600);
        expect_refused(LK_ERR_FORMAT, "master.key:4: expected");
    }
}

/* The message about a broken line repeats nothing of it: a part of it may be a key. */
static void
error_shows_no_key(void **state)
{
    char error[LK_KEYRING_ERROR_CAP] = "";
    struct lk_keyring *ring = NULL;

    write_file("0000000000000001 x AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n", 0600);
    assert_int_equal(lk_keyring_load(path, error, &ring), LK_ERR_FORMAT);
    assert_null(strstr(error, "AAECAw"));
}

/* Oldest first, or the file was put together wrongly; the same millisecond is allowed. */
static void
refuses_wrong_order(void **state)
{
    write_file(KEY_2 KEY_1, 0600);
    expect_refused(LK_ERR_FORMAT, ":2: expected the oldest key first");
    write_file(KEY_1 KEY_1, 0600);
    lk_keyring_free(load());
}

/* The last line needs no newline; every key is found by its id, and no other is. */
static void
finds_by_id(void **state)
{
    LK_AUTO(lk_keyring) struct lk_keyring *ring = NULL;
    size_t i = 9;

    write_file("# keys\n" KEY_1 KEY_2, 0600);
    assert_int_equal(truncate(path, (off_t)strlen("# keys\n" KEY_1 KEY_2) - 1), 0);
    ring = load();
    assert_int_equal(lk_keyring_count(ring), 2);
    assert_int_equal(lk_keyring_find(ring, 3, &i), LK_ERR_NOT_FOUND);
    assert_int_equal(i, 9);
    assert_int_equal(lk_keyring_find(ring, 1, &i), LK_OK);
    assert_int_equal(i, 0);
    assert_int_equal(lk_keyring_find(ring, 2, &i), LK_OK);
    assert_int_equal(i, 1);
}

/* The largest ring loads, rotation refuses to make it larger, and one key more is refused. */
static void
ring_has_a_largest_size(void **state)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    char error[LK_KEYRING_ERROR_CAP] = "";
    LK_AUTO(lk_keyring) struct lk_keyring *ring = NULL;

    for (size_t i = 0; i < LK_KEYRING_KEYS_MAX; i++) {
        assert_int_equal(lk_buf_puts(&text, KEY_1), LK_OK);
    }
    write_file(lk_buf_text(&text), 0600);
    ring = load();
    assert_int_equal(lk_keyring_count(ring), LK_KEYRING_KEYS_MAX);
    assert_int_equal(lk_keyring_rotate(path, 5000, &lk_rand_system, error), LK_ERR_LIMIT);
    assert_non_null(strstr(error, "full"));
    assert_int_equal(lk_buf_puts(&text, KEY_1), LK_OK);
    write_file(lk_buf_text(&text), 0600);
    expect_refused(LK_ERR_LIMIT, ":65: expected at most 64 keys");
}

/* A file that is no keyring at all is not read to its end. */
static void
refuses_huge_file(void **state)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;

    for (size_t i = 0; i < 1000; i++) {
        assert_int_equal(lk_buf_puts(&text, "# a comment that goes on and on\n"), LK_OK);
    }
    write_file(lk_buf_text(&text), 0600);
    expect_refused(LK_ERR_LIMIT, "at most");
}

/* Rotation adds one key, and keeps the others, the comments, the mode and the owner. */
static void
rotate_adds_one(void **state)
{
    char error[LK_KEYRING_ERROR_CAP] = "", text[1024] = "";
    LK_AUTO(lk_keyring) struct lk_keyring *ring = NULL;
    struct stat before, after;
    FILE *f;

    write_file("# mine\n" KEY_1, 0600);
    if (geteuid() == 0) { /* as root the owner can be another one, and has to stay */
        assert_int_equal(chown(path, 12345, 23456), 0);
    }
    assert_int_equal(stat(path, &before), 0);
    assert_int_equal(lk_keyring_rotate(path, 5000, &lk_rand_system, error), LK_OK);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(after.st_mode & 07777, 0600);
    assert_int_equal(after.st_uid, before.st_uid);
    assert_int_equal(after.st_gid, before.st_gid);
    f = fopen(path, "r");
    assert_non_null(f);
    assert_true(fread(text, 1, sizeof(text) - 1, f) > 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(strncmp(text, "# mine\n" KEY_1, strlen("# mine\n" KEY_1)), 0);
    ring = load();
    assert_int_equal(lk_keyring_count(ring), 2);
    assert_int_equal(lk_keyring_created_ms(ring, 1), 5000);
    assert_true(lk_keyring_id(ring, 1) != 1);
}

/* A clock that went back, a damaged file and a missing one change nothing. */
static void
rotate_refusals(void **state)
{
    char error[LK_KEYRING_ERROR_CAP] = "";
    LK_AUTO(lk_keyring) struct lk_keyring *ring = NULL;

    assert_int_equal(lk_keyring_rotate(path, 1, &lk_rand_system, error), LK_ERR_NOT_FOUND);
    write_file("broken\n", 0600);
    assert_int_equal(lk_keyring_rotate(path, 1, &lk_rand_system, error), LK_ERR_FORMAT);
    write_file(KEY_1 KEY_2, 0600);
    assert_int_equal(lk_keyring_rotate(path, 1999, &lk_rand_system, error), LK_ERR_CONFIG);
    assert_non_null(strstr(error, "clock"));
    ring = load();
    assert_int_equal(lk_keyring_count(ring), 2);
}

/* What a rotation that was cut off left behind is neither used nor in the way. */
static void
rotate_after_a_cut(void **state)
{
    char beside[128], error[LK_KEYRING_ERROR_CAP] = "";
    LK_AUTO(lk_keyring) struct lk_keyring *ring = NULL;
    FILE *f;

    (void)snprintf(beside, sizeof(beside), "%s.new", path);
    f = fopen(beside, "w");
    assert_non_null(f);
    assert_int_equal(fclose(f), 0);
    write_file(KEY_1, 0600);
    assert_int_equal(lk_keyring_rotate(path, 5000, &lk_rand_system, error), LK_OK);
    ring = load();
    assert_int_equal(lk_keyring_count(ring), 2);
    assert_int_not_equal(access(beside, F_OK), 0);
}

/* A new key issues only after its grace; the only key, and the first, always. */
static void
issuing_waits_for_grace(void **state)
{
    LK_AUTO(lk_keyring) struct lk_keyring *ring = NULL;

    write_file(KEY_1 KEY_2, 0600);
    ring = load();
    assert_int_equal(lk_keyring_issuing(ring, 0), 0);
    assert_int_equal(lk_keyring_issuing(ring, 2000), 0);
    assert_int_equal(lk_keyring_issuing(ring, 2000 + LK_KEYRING_GRACE_MS - 1), 0);
    assert_int_equal(lk_keyring_issuing(ring, 2000 + LK_KEYRING_GRACE_MS), 1);
}

/* An old key is accepted for one window after it stopped issuing; a new one from the start, since
 * another instance's clock may be ahead. */
static void
accepts_within_window(void **state)
{
    const int64_t switch_ms = 2000 + LK_KEYRING_GRACE_MS, window_ms = 60000;
    LK_AUTO(lk_keyring) struct lk_keyring *ring = NULL;

    write_file(KEY_1 KEY_2, 0600);
    ring = load();
    assert_true(lk_keyring_accepts(ring, 0, switch_ms - 1, window_ms));
    assert_true(lk_keyring_accepts(ring, 1, switch_ms - 1, window_ms));
    assert_true(lk_keyring_accepts(ring, 0, switch_ms, window_ms));
    assert_true(lk_keyring_accepts(ring, 0, switch_ms + window_ms - 1, window_ms));
    assert_false(lk_keyring_accepts(ring, 0, switch_ms + window_ms, window_ms));
    assert_true(lk_keyring_accepts(ring, 1, switch_ms + 100 * window_ms, window_ms));
}

/* Challenge keys differ from key to key, and from the master key itself. */
static void
challenge_keys_are_derived(void **state)
{
    const struct lk_part part = LK_PART("message", 7);
    uint8_t raw[32], one[32], two[32], same[32], plain[LK_HASH_MAX];
    LK_AUTO(lk_keyring) struct lk_keyring *ring = NULL;

    for (size_t i = 0; i < sizeof(raw); i++) {
        raw[i] = (uint8_t)i;
    }
    write_file(KEY_1 KEY_2, 0600);
    ring = load();
    assert_int_equal(lk_keyring_challenge_mac(ring, 0, &part, 1, one), LK_OK);
    assert_int_equal(lk_keyring_challenge_mac(ring, 0, &part, 1, same), LK_OK);
    assert_int_equal(lk_keyring_challenge_mac(ring, 1, &part, 1, two), LK_OK);
    assert_int_equal(lk_hmac(LK_SHA256, raw, sizeof(raw), &part, 1, plain), LK_OK);
    assert_memory_equal(one, same, 32);
    assert_memory_not_equal(one, two, 32);
    assert_memory_not_equal(one, plain, 32);
}

/* Each use of a master key has a key of its own. */
static void
continuation_keys_are_others(void **state)
{
    const struct lk_part part = LK_PART("message", 7);
    uint8_t challenge[32], one[32], two[32];
    LK_AUTO(lk_keyring) struct lk_keyring *ring = NULL;

    write_file(KEY_1 KEY_2, 0600);
    ring = load();
    assert_int_equal(lk_keyring_challenge_mac(ring, 0, &part, 1, challenge), LK_OK);
    assert_int_equal(lk_keyring_continuation_mac(ring, 0, &part, 1, one), LK_OK);
    assert_int_equal(lk_keyring_continuation_mac(ring, 1, &part, 1, two), LK_OK);
    assert_memory_not_equal(challenge, one, 32);
    assert_memory_not_equal(one, two, 32);
}

/* The audit chain's key is the first key's, also after a rotation. */
static void
audit_key_stays(void **state)
{
    uint8_t before[32], after[32], other[32];
    LK_AUTO(lk_keyring) struct lk_keyring *one = NULL, *two = NULL, *foreign = NULL;

    write_file(KEY_1, 0600);
    one = load();
    lk_keyring_audit_key(one, before);
    write_file(KEY_1 KEY_2, 0600);
    two = load();
    lk_keyring_audit_key(two, after);
    write_file(KEY_2, 0600);
    foreign = load();
    lk_keyring_audit_key(foreign, other);
    assert_memory_equal(before, after, 32);
    assert_memory_not_equal(before, other, 32);
}

/* What the old ring sealed opens with the rotated one; what the new one seals is under its newest
 * key, which the old ring does not have. */
static void
unseals_under_old_key(void **state)
{
    LK_AUTO_BUF struct lk_buf old_box = LK_BUF_INIT, new_box = LK_BUF_INIT, out = LK_BUF_INIT;
    LK_AUTO(lk_keyring) struct lk_keyring *old_ring = NULL, *new_ring = NULL;

    write_file(KEY_1, 0600);
    old_ring = load();
    write_file(KEY_1 KEY_2, 0600);
    new_ring = load();
    assert_int_equal(
        lk_keyring_seal(old_ring, "identity/dev-1", "secret", 6, &lk_rand_system, &old_box), LK_OK);
    assert_int_equal(old_box.len, 6 + LK_KEYRING_SEAL_OVERHEAD);
    assert_int_equal(
        lk_keyring_seal(new_ring, "identity/dev-1", "newer", 5, &lk_rand_system, &new_box), LK_OK);
    assert_int_equal(lk_keyring_unseal(new_ring, "identity/dev-1", old_box.data, old_box.len, &out),
                     LK_OK);
    assert_string_equal(lk_buf_text(&out), "secret");
    lk_buf_reset(&out);
    assert_int_equal(lk_keyring_unseal(new_ring, "identity/dev-1", new_box.data, new_box.len, &out),
                     LK_OK);
    assert_string_equal(lk_buf_text(&out), "newer");
    lk_buf_reset(&out);
    assert_int_equal(lk_keyring_unseal(old_ring, "identity/dev-1", new_box.data, new_box.len, &out),
                     LK_ERR_NOT_FOUND);
    assert_int_equal(out.len, 0);
}

/* A sealed value moved to another row, cut short, or changed in any byte does not open. */
static void
refuses_other_place_or_bytes(void **state)
{
    LK_AUTO_BUF struct lk_buf box = LK_BUF_INIT, out = LK_BUF_INIT;
    LK_AUTO(lk_keyring) struct lk_keyring *ring = NULL;

    write_file(KEY_1, 0600);
    ring = load();
    assert_int_equal(lk_keyring_seal(ring, "identity/dev-1", "secret", 6, &lk_rand_system, &box),
                     LK_OK);
    assert_int_equal(lk_keyring_unseal(ring, "identity/dev-2", box.data, box.len, &out),
                     LK_ERR_REFUSED);
    assert_int_equal(lk_keyring_unseal(ring, "", box.data, box.len, &out), LK_ERR_REFUSED);
    for (size_t len = 0; len < box.len; len++) {
        assert_int_not_equal(lk_keyring_unseal(ring, "identity/dev-1", box.data, len, &out), LK_OK);
    }
    for (size_t i = 0; i < box.len; i++) {
        box.data[i] ^= 1;
        assert_int_equal(lk_keyring_unseal(ring, "identity/dev-1", box.data, box.len, &out),
                         i < 8 ? LK_ERR_NOT_FOUND : LK_ERR_REFUSED);
        box.data[i] ^= 1;
    }
    assert_int_equal(out.len, 0);
    assert_int_equal(lk_keyring_unseal(ring, "identity/dev-1", box.data, box.len, &out), LK_OK);
}

/* A ring lives until its last reference goes. */
static void
references_count(void **state)
{
    struct lk_keyring *ring, *second;

    write_file(KEY_1, 0600);
    ring = load();
    second = lk_keyring_ref(ring);
    lk_keyring_free(ring);
    assert_int_equal(lk_keyring_count(second), 1);
    lk_keyring_free(second);
    lk_keyring_free(NULL);
}

#define RING_TEST(f) cmocka_unit_test_setup_teardown(f, make_folder, drop_folder)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        RING_TEST(create_makes_one_key),
        RING_TEST(create_failures_leave_nothing),
        RING_TEST(refuses_open_modes),
        RING_TEST(takes_credentials),
        RING_TEST(refuses_nothing),
        RING_TEST(names_malformed_lines),
        RING_TEST(error_shows_no_key),
        RING_TEST(refuses_wrong_order),
        RING_TEST(finds_by_id),
        RING_TEST(ring_has_a_largest_size),
        RING_TEST(refuses_huge_file),
        RING_TEST(rotate_adds_one),
        RING_TEST(rotate_refusals),
        RING_TEST(rotate_after_a_cut),
        RING_TEST(issuing_waits_for_grace),
        RING_TEST(accepts_within_window),
        RING_TEST(challenge_keys_are_derived),
        RING_TEST(continuation_keys_are_others),
        RING_TEST(audit_key_stays),
        RING_TEST(unseals_under_old_key),
        RING_TEST(refuses_other_place_or_bytes),
        RING_TEST(references_count),
    };

    return lk_crypto_init() != LK_OK ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
