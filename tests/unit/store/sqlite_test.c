/* What is particular to src/store/sqlite*.c: files, schema, other processes, damage. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlite3.h>

static void
path_of(const struct fixture *f, const char *suffix, char ret[160])
{
    (void)snprintf(ret, 160, "%s/store.db%s", f->dir, suffix);
}

/* Run SQL as somebody would who has the file and no scruples. */
static void
raw_sql(const struct fixture *f, const char *sql)
{
    char path[160];
    char *message = NULL;
    sqlite3 *db;

    path_of(f, "", path);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL),
                     SQLITE_OK);
    if (sqlite3_exec(db, sql, NULL, NULL, &message) != SQLITE_OK) {
        fail_msg("%s: %s", sql, message);
    }
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* A second handle on the fixture's file. */
static enum lk_err
open_again(const struct fixture *f, bool create, char error[LK_STORE_ERROR_CAP])
{
    struct lk_store_config config = f->config;
    LK_AUTO(lk_store) struct lk_store *st = NULL;

    config.create = create;
    return lk_store_open(&config, error, &st);
}

/* ---- Opening ----------------------------------------------------------------------------------
 */

/* The database, its log and the log's index are for their owner only, whatever the umask. */
static void
files_are_private(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    const char *suffixes[] = {"", "-wal", "-shm"};
    mode_t before = umask(0);
    char path[160];
    struct stat st;

    lk_session_close(f->s);
    lk_store_close(f->st);
    path_of(f, "", path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(lk_store_open(&f->config, NULL, &f->st), LK_OK);
    assert_int_equal(lk_session_open(f->st, &f->s), LK_OK);
    assert_int_equal(do_scope_add(f, SCOPE), LK_OK);
    for (size_t i = 0; i < LK_ARRAY_LEN(suffixes); i++) {
        path_of(f, suffixes[i], path);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
    }
    (void)umask(before);
}

/* A URL of no backend, or without a path, is a configuration error that says what is expected. */
static void
url_is_checked(void **state)
{
    const char *urls[] = {NULL, "", "sqlite:", "/tmp/x.db", "SQLITE:x", "pg:x"};
    char error[LK_STORE_ERROR_CAP];
    struct lk_store *st = NULL;

    for (size_t i = 0; i < LK_ARRAY_LEN(urls); i++) {
        struct lk_store_config config = {.url = urls[i], .create = true};

        error[0] = '\0';
        assert_int_equal(lk_store_open(&config, error, &st), LK_ERR_CONFIG);
        assert_non_null(strstr(error, "sqlite:"));
        assert_null(st);
    }
}

/* A database that is absent is only made when that is asked for; a folder is none. */
static void
absent_is_not_created(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct fixture other = *f;
    char error[LK_STORE_ERROR_CAP], path[160];

    (void)snprintf(other.url, sizeof(other.url), "sqlite:%s/other.db", f->dir);
    other.config.url = other.url;
    assert_int_equal(open_again(&other, false, error), LK_ERR_NOT_FOUND);
    assert_non_null(strstr(error, "other.db"));
    (void)snprintf(path, sizeof(path), "%s/other.db", f->dir);
    assert_int_equal(access(path, F_OK), -1);
    (void)snprintf(other.url, sizeof(other.url), "sqlite:%s", f->dir);
    assert_int_equal(open_again(&other, false, error), LK_ERR_NOT_FOUND);
    assert_int_equal(open_again(&other, true, error), LK_ERR_STORE);
    (void)snprintf(other.url, sizeof(other.url), "sqlite:%s/no/such.db", f->dir);
    assert_int_equal(open_again(&other, true, error), LK_ERR_STORE);
}

/* Names that SQLite takes for something else are files. */
static void
special_names_are_files(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    const char *names[] = {":memory:", "file:x.db?mode=memory"};
    char cwd[256], path[256], error[LK_STORE_ERROR_CAP];
    struct fixture other = *f;

    assert_non_null(getcwd(cwd, sizeof(cwd)));
    assert_int_equal(chdir(f->dir), 0);
    other.config.url = other.url;
    for (size_t i = 0; i < LK_ARRAY_LEN(names); i++) {
        (void)snprintf(other.url, sizeof(other.url), "sqlite:%s", names[i]);
        assert_int_equal(open_again(&other, true, error), LK_OK);
        (void)snprintf(path, sizeof(path), "%s/%s", f->dir, names[i]);
        assert_int_equal(access(path, F_OK), 0);
    }
    assert_int_equal(chdir(cwd), 0);
}

/* A schema from a later program, another program's database and an empty one are refused. */
static void
schema_is_judged(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    char error[LK_STORE_ERROR_CAP], path[160];
    struct fixture other = *f;

    raw_sql(f, "PRAGMA user_version = 999");
    assert_int_equal(open_again(f, true, error), LK_ERR_SCHEMA);
    assert_non_null(strstr(error, "999"));
    raw_sql(f, "PRAGMA user_version = 1; PRAGMA application_id = 7");
    assert_int_equal(open_again(f, true, error), LK_ERR_SCHEMA);
    raw_sql(f, "PRAGMA user_version = 1; PRAGMA application_id = 0x4c4b6579");
    assert_int_equal(open_again(f, false, error), LK_OK);

    (void)snprintf(other.dir, sizeof(other.dir), "/tmp/lk-store-XXXXXX");
    assert_non_null(mkdtemp(other.dir));
    (void)snprintf(other.url, sizeof(other.url), "sqlite:%s/store.db", other.dir);
    other.config.url = other.url;
    raw_sql(&other, "CREATE TABLE t (x); DROP TABLE t;");
    assert_int_equal(open_again(&other, false, error), LK_ERR_SCHEMA);
    raw_sql(&other, "CREATE TABLE t (x)");
    assert_int_equal(open_again(&other, true, error), LK_ERR_SCHEMA);
    raw_sql(&other, "DROP TABLE t");
    assert_int_equal(open_again(&other, true, error), LK_OK);
    assert_int_equal(open_again(&other, false, error), LK_OK);
    path_of(&other, "", path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(other.dir), 0);
}

/* A file that is no database is refused, and not touched. */
static void
not_a_database(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct fixture other = *f;
    char path[160], error[LK_STORE_ERROR_CAP];
    struct stat st;
    FILE *out;

    (void)snprintf(other.url, sizeof(other.url), "sqlite:%s/text.db", f->dir);
    (void)snprintf(path, sizeof(path), "%s/text.db", f->dir);
    out = fopen(path, "w");
    assert_non_null(out);
    for (int i = 0; i < 1000; i++) {
        assert_true(fputs("not a database\n", out) >= 0);
    }
    assert_int_equal(fclose(out), 0);
    other.config.url = other.url;
    assert_int_equal(open_again(&other, true, error), LK_ERR_STORE);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 15000);
}

/* Many processes that start on a fresh file make the schema once. */
static void
schema_race(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct fixture other = *f;
    char error[LK_STORE_ERROR_CAP] = "";
    int status;

    (void)snprintf(other.url, sizeof(other.url), "sqlite:%s/race.db", f->dir);
    other.config.url = other.url;
    fixture_close(f);
    for (int i = 0; i < 8; i++) {
        if (fork() == 0) {
            if (open_again(&other, true, error) != LK_OK) {
                (void)fprintf(stderr, "%s\n", error);
                _exit(1);
            }
            _exit(0);
        }
    }
    for (int i = 0; i < 8; i++) {
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    fixture_open(f);
}

/* ---- Damage -----------------------------------------------------------------------------------
 */

/* A row that somebody else wrote is an error, and the result stays as it was. */
static void
damaged_row(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    const char *damages[] = {
        "eks = x'00'",
        "eks = zeroblob(9 * 34)",
        "eks = zeroblob(33)",
        "etag = hex(zeroblob(100))",
        "hubs = '1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17'",
        "hubs = hex(zeroblob(128))",
        "id = hex(zeroblob(65))",
    };
    struct lk_enrollment e, got;
    char sql[200];

    enrollment_make(&e, "a", 1);
    assert_int_equal(do_create(f, &e, NULL), LK_OK);
    for (size_t i = 0; i < LK_ARRAY_LEN(damages); i++) {
        enrollment_make(&got, "mine", 0);
        (void)snprintf(sql, sizeof(sql), "UPDATE enrollment SET %s", damages[i]);
        raw_sql(f, sql);
        assert_int_equal(do_get(f, "a", &got), LK_ERR_STORE);
        assert_non_null(strstr(lk_store_error_text(), "damaged"));
        assert_string_equal(got.id, "mine");
        raw_sql(f, "UPDATE enrollment SET eks = x'', hubs = '', etag = 'e', id = 'a'");
        assert_int_equal(do_get(f, "a", &got), LK_OK);
        lk_enrollment_fini(&got);
    }
}

/* A key's row without its enrollment fails the job that meets it, and leaves no half of a new one.
 */
static void
orphaned_ek(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_enrollment e;

    enrollment_make(&e, "a", 1);
    assert_int_equal(do_create(f, &e, NULL), LK_OK);
    raw_sql(f, "DELETE FROM enrollment");
    enrollment_make(&e, "b", 1);
    assert_int_equal(do_create(f, &e, NULL), LK_ERR_STORE);
    assert_int_equal(do_get(f, "b", &e), LK_ERR_NOT_FOUND);
    assert_int_equal(do_count(f), 0);
}

/* Whatever is edited, taken out or moved in the chain is found at its place. */
static void
audit_tampering(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    static const struct {
        const char *sql;
        int64_t found; /* the record that verify stops at */
    } cases[] = {
        {"UPDATE audit SET time_ms = time_ms + 1 WHERE seq = 5", 5},
        {"UPDATE audit SET actor = 'x' WHERE seq = 5", 5},
        {"UPDATE audit SET action = 'x' WHERE seq = 1", 1},
        {"UPDATE audit SET scope = 'x' WHERE seq = 5", 5},
        {"UPDATE audit SET subject = 'x' WHERE seq = 9", 9},
        {"UPDATE audit SET detail = '{}' WHERE seq = 5", 5},
        {"UPDATE audit SET subject = subject || char(0) || 'x' WHERE seq = 5", 5},
        {"UPDATE audit SET actor = actor || action, action = '' WHERE seq = 5", 5},
        {"UPDATE audit SET detail = hex(zeroblob(10000)) WHERE seq = 5", 5},
        {"UPDATE audit SET hash = zeroblob(32) WHERE seq = 5", 5},
        {"UPDATE audit SET hash = x'00' WHERE seq = 5", 5},
        {"DELETE FROM audit WHERE seq = 5", 5},
        {"DELETE FROM audit WHERE seq = 1", 1},
        {"DELETE FROM audit WHERE seq < 5; UPDATE audit SET seq = seq - 4", 1},
        {"DELETE FROM audit WHERE seq = 5; UPDATE audit SET seq = seq - 1 WHERE seq > 5", 5},
        {"UPDATE audit SET seq = 20 WHERE seq = 5; UPDATE audit SET seq = 5 WHERE seq = 6;"
         "UPDATE audit SET seq = 6 WHERE seq = 20",
         5},
        {"INSERT INTO audit SELECT 10, time_ms, actor, action, scope, subject, detail, hash"
         " FROM audit WHERE seq = 9",
         10},
    };
    struct lk_audit_cursor cursor;
    char subject[8], sql[300];

    for (int i = 1; i <= 9; i++) {
        (void)snprintf(subject, sizeof(subject), "dev%d", i);
        assert_int_equal(do_audit(f, subject, ""), LK_OK);
    }
    raw_sql(f, "CREATE TABLE keep AS SELECT * FROM audit");
    for (size_t i = 0; i < LK_ARRAY_LEN(cases); i++) {
        memset(&cursor, 0, sizeof(cursor));
        (void)snprintf(sql, sizeof(sql), "%s", cases[i].sql);
        raw_sql(f, sql);
        if (do_verify(f, &cursor) != LK_ERR_REFUSED || cursor.seq != cases[i].found) {
            fail_msg("%s: stopped at %d", cases[i].sql, (int)cursor.seq);
        }
        raw_sql(f, "DELETE FROM audit; INSERT INTO audit SELECT * FROM keep");
        memset(&cursor, 0, sizeof(cursor));
        assert_int_equal(do_verify(f, &cursor), LK_OK);
    }
    raw_sql(f, "DROP TABLE keep");
}

/* A tail that was cut off shows only to who kept the head, also when others were appended since. */
static void
audit_cut_tail(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_audit_cursor head = {0}, cursor = {0};

    for (int i = 1; i <= 9; i++) {
        assert_int_equal(do_audit(f, "d", ""), LK_OK);
    }
    assert_int_equal(do_verify(f, &head), LK_OK);
    raw_sql(f, "DELETE FROM audit WHERE seq > 7");
    assert_int_equal(do_verify(f, &cursor), LK_OK);
    assert_int_equal(cursor.seq, 7);
    cursor = head;
    assert_int_equal(do_verify(f, &cursor), LK_ERR_REFUSED);
    assert_int_equal(cursor.seq, 9);
    for (int i = 1; i <= 5; i++) {
        assert_int_equal(do_audit(f, "e", ""), LK_OK);
    }
    cursor = head;
    assert_int_equal(do_verify(f, &cursor), LK_ERR_REFUSED);
    memset(&cursor, 0, sizeof(cursor));
    raw_sql(f, "DELETE FROM audit");
    assert_int_equal(do_verify(f, &cursor), LK_OK);
    assert_int_equal(cursor.seq, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(files_are_private),     cmocka_unit_test(url_is_checked),
        CASE(absent_is_not_created), CASE(special_names_are_files),
        CASE(schema_is_judged),      CASE(not_a_database),
        CASE(schema_race),           CASE(damaged_row),
        CASE(orphaned_ek),           CASE(audit_tampering),
        CASE(audit_cut_tail),
    };

    return lk_crypto_init() != LK_OK ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
