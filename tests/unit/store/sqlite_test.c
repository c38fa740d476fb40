/* What is particular to src/store/sqlite*.c: files, schema, other processes, damage. */
#include "fixture.h"

#include "store/sqlite_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlite3.h>

#define NO_EK_HEX "0000000000000000000000000000000000000000000000000000000000000000"
#define EK_HEX "abababababababababababababababababababababababababababababababab"

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
    char error[LK_STORE_ERROR_CAP], path[160], sql[100];
    struct fixture other = *f;

    raw_sql(f, "PRAGMA user_version = 999");
    assert_int_equal(open_again(f, true, error), LK_ERR_SCHEMA);
    assert_non_null(strstr(error, "999"));
    raw_sql(f, "PRAGMA user_version = 1; PRAGMA application_id = 7");
    assert_int_equal(open_again(f, true, error), LK_ERR_SCHEMA);
    (void)snprintf(sql, sizeof(sql), "PRAGMA user_version = %d; PRAGMA application_id = 0x4c4b6579",
                   sqlite_schema_steps_count);
    raw_sql(f, sql);
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

/* Rows as a program that knew step 1 only wrote them. */
static const char step_1_rows[] =
    "PRAGMA application_id = 0x4c4b6579; PRAGMA user_version = 1;"
    "INSERT INTO scope VALUES ('" SCOPE "', 5);"
    "INSERT INTO import VALUES (3, '" SCOPE "', hex(zeroblob(128)), 1, 2, 6, 7);"
    "INSERT INTO enrollment VALUES"
    " (1, '" SCOPE "', 'a', 'A', 'dev', 1, 1, 1, 0, 'h1 h2',"
    "  x'" EK_HEX "000101', CAST('{}' AS BLOB), 'etag-a', 8, 9, 0, 0),"
    " (2, '" SCOPE "', 'same', 'same', '', 1, 0, 1, 1, '', x'', x'', 'etag-s', 10, 10, 3, 1),"
    " (3, '" SCOPE "', 'newer', 'newer', '', 1, 0, 1, 1, '', x'', x'', 'etag-n', 10, 11, 3, 2);"
    "INSERT INTO enrollment_ek VALUES ('" SCOPE "', x'" EK_HEX "', 1);"
    "INSERT INTO registration VALUES"
    " (1, '" SCOPE "', 'a', 'A', 4, 2, 1, 'op', 'h1', 'dev', x'" EK_HEX "', x'01', x'02', x'03',"
    "  x'" EK_HEX "', 1, 2, 3, 12, 13, 14, 0, '', 'etag-r', x'');"
    "INSERT INTO hub VALUES ('h1', 1, 10, 1, x'', 15);"
    "INSERT INTO identity VALUES (1, 'h1', 'dev', 'g', 1, x'01', x'', 0, 'etag-i', 16, 17);";

static enum lk_err
step_1_seen(struct lk_txn *tx, void *arg)
{
    struct lk_scope scope;
    struct lk_hub hub = {.weight = 0};
    struct lk_identity identity;
    char id[LK_REGISTRATION_ID_MAX + 1] = "";
    uint8_t ek[LK_EK_ID_LEN];
    int64_t version = 0, count = -1, kept = 0;

    memset(ek, 0xab, sizeof(ek));
    assert_int_equal(lk_txn_scope_get(tx, SCOPE, &scope), LK_OK);
    assert_string_equal(scope.service_host, "");
    assert_int_equal(scope.allocation, LK_ALLOC_DEFAULT);
    assert_int_equal(scope.created_ms, 5);
    assert_int_equal(lk_txn_hub_get(tx, "h1", &hub), LK_OK);
    assert_string_equal(hub.region, "");
    assert_int_equal(hub.weight, 10);
    assert_int_equal(lk_txn_identity_get(tx, "h1", "dev", &identity), LK_OK);
    assert_int_equal(lk_txn_registration_of_ek_elsewhere(tx, SCOPE, ek, "B", id), LK_OK);
    assert_string_equal(id, "A");
    assert_int_equal(lk_txn_trust_version(tx, &version), LK_OK);
    assert_true(version > 0);
    assert_int_equal(lk_txn_import_undo(tx, 3, false, &count, &kept), LK_OK);
    assert_int_equal(count, 1);
    assert_int_equal(kept, 1);
    return LK_OK;
}

/* A database of step 1 is taken to the newest one with all that is in it; what is new takes its
 * default. */
static void
schema_from_step_1(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_enrollment e;
    struct lk_registration r = {0};
    char path[160], id[LK_REGISTRATION_ID_MAX + 1], error[LK_STORE_ERROR_CAP];

    fixture_close(f);
    path_of(f, "", path);
    assert_int_equal(unlink(path), 0);
    raw_sql(f, sqlite_schema_steps[0]);
    raw_sql(f, step_1_rows);
    f->config.read_only = true;
    assert_int_equal(open_again(f, false, error), LK_ERR_SCHEMA);
    assert_non_null(strstr(error, "updates it"));
    f->config.read_only = false;
    f->config.create = false;
    fixture_open(f);
    lk_enrollment_init(&e);
    assert_int_equal(do_get(f, "a", &e), LK_OK);
    assert_string_equal(e.id, "A");
    assert_string_equal(e.etag, "etag-a");
    assert_int_equal(e.hubs_count, 2);
    assert_int_equal(e.eks_count, 1);
    assert_int_equal(e.initial_twin.len, 2);
    assert_int_equal(e.attestation, LK_ATTESTATION_TPM);
    assert_false(e.pin_srk || e.iot_edge || e.reprovision_migrate);
    assert_int_equal(e.created_ms, 8);
    lk_enrollment_fini(&e);
    assert_int_equal(do_by_ek(f, 0xab, id), LK_OK);
    assert_int_equal(do_reg_get(f, "a", &r), LK_OK);
    assert_int_equal(r.generation, 4);
    assert_string_equal(r.group, "");
    assert_int_equal(r.attestation, LK_ATTESTATION_TPM);
    assert_int_equal(do_count(f), 3);
    assert_int_equal(in_write(f, step_1_seen, NULL), LK_OK);
    assert_int_equal(do_count(f), 2);
    fixture_reopen(f);
}

/* Rows as a program that knew steps 1 and 2 wrote them. */
static const char step_2_rows[] =
    "PRAGMA application_id = 0x4c4b6579; PRAGMA user_version = 2;"
    "INSERT INTO scope VALUES ('" SCOPE "', 5, '', 0);"
    "INSERT INTO hub VALUES ('h1', 1, 10, 1, x'', 15, '');"
    "INSERT INTO registration (scope, lower_id, id, generation, status, substatus, operation_id,"
    " hub, device_id, ek_id, srk_pub, srk_name, auth_key, token_hash, nonce_key_id, nonce_epoch,"
    " nonce_generation, attested_ms, created_ms, updated_ms, error_code, error_message, etag,"
    " payload) VALUES"
    " ('" SCOPE "', 'first', 'First', 1, 2, 1, 'op', 'h1', 'shared', x'" EK_HEX "', x'', x'', x'',"
    "  x'" EK_HEX "', 1, 2, 3, 100, 13, 14, 0, '', 'etag-1', x''),"
    " ('" SCOPE "', 'last', 'Last', 1, 2, 1, 'op', 'h1', 'shared', x'" EK_HEX "', x'', x'', x'',"
    "  x'" EK_HEX "', 1, 2, 3, 200, 13, 14, 0, '', 'etag-2', x''),"
    " ('" SCOPE "', 'gone', 'gone', 1, 0, 1, '', '', '', x'" EK_HEX "', x'', x'', x'',"
    "  x'" EK_HEX "', 1, 2, 3, 300, 13, 14, 0, '', 'etag-3', x'');"
    "INSERT INTO enrollment (scope, lower_id, id, device_id, enabled, allocation, update_hub,"
    " migrate, hubs, eks, initial_twin, etag, created_ms, updated_ms, import_id, import_line)"
    " VALUES ('" SCOPE "', 'gone', 'Gone', '', 1, 0, 1, 1, '', x'', x'', 'e', 1, 1, 0, 0),"
    "  ('" SCOPE "', 'renamed', 'renamed', 'named', 1, 0, 1, 1, '', x'', x'', 'f', 1, 1, 0, 0);"
    "INSERT INTO identity (hub, device_id, generation_id, enabled, primary_key, secondary_key,"
    " secondary_retires, etag, created_ms, updated_ms) VALUES"
    " ('h1', 'shared', 'g', 1, x'01', x'', 0, 'i1', 16, 17),"
    " ('h1', 'Gone', 'g', 0, x'02', x'', 0, 'i2', 18, 19),"
    " ('h1', 'named', 'g', 1, x'03', x'', 0, 'i3', 18, 19),"
    " ('h2', 'nobody', 'g', 1, x'04', x'', 0, 'i4', 18, 19);";

/* "owner scope/owner id" of an identity, and that the rest of it is what step 4 makes. */
static const char *
step_2_owner(struct lk_txn *tx, const char *hub, const char *device_id, char ret[400])
{
    struct lk_identity i;
    struct lk_twin t = LK_TWIN_INIT;

    assert_int_equal(lk_txn_identity_get(tx, hub, device_id, &i), LK_OK);
    assert_int_equal(i.auth, LK_AUTH_SAS);
    assert_int_equal(i.primary_len, 1);
    assert_int_equal(i.status_updated_ms, 0);
    assert_false(i.iot_edge);
    assert_int_equal(lk_txn_twin_get(tx, hub, device_id, &t), LK_OK);
    assert_int_equal(t.tags.len + t.desired.len + t.reported.len, 0);
    assert_int_equal(t.version, 1);
    assert_int_equal(t.created_ms, i.created_ms);
    assert_int_equal(strlen(t.etag), LK_ETAG_CAP - 1);
    lk_twin_fini(&t);
    (void)snprintf(ret, 400, "%s/%s", i.owner_scope, i.owner_id);
    return ret;
}

static enum lk_err
step_2_seen(struct lk_txn *tx, void *arg)
{
    uint64_t total = 0, disabled = 0, connected = 9;
    int64_t last = 9;
    char owner[400];

    assert_string_equal(step_2_owner(tx, "h1", "shared", owner), SCOPE "/last");
    assert_string_equal(step_2_owner(tx, "h1", "Gone", owner), SCOPE "/gone");
    assert_string_equal(step_2_owner(tx, "h1", "named", owner), SCOPE "/renamed");
    assert_string_equal(step_2_owner(tx, "h2", "nobody", owner), "/");
    assert_int_equal(lk_txn_identity_count(tx, "h1", &total, &disabled, &connected), LK_OK);
    assert_int_equal(total, 3);
    assert_int_equal(disabled, 1);
    assert_int_equal(connected, 0);
    assert_int_equal(lk_txn_hub_event_last(tx, &last), LK_OK);
    assert_int_equal(last, 0);
    return LK_OK;
}

/* Identities of earlier steps get a twin, are counted, and belong to whom their key was made for.
 */
static void
schema_from_step_2(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    char path[160];

    fixture_close(f);
    path_of(f, "", path);
    assert_int_equal(unlink(path), 0);
    raw_sql(f, sqlite_schema_steps[0]);
    raw_sql(f, sqlite_schema_steps[1]);
    raw_sql(f, step_2_rows);
    f->config.create = false;
    fixture_open(f);
    assert_int_equal(in_read(f, step_2_seen, NULL), LK_OK);
    assert_string_equal(do_count_check(f, false), "");
    fixture_reopen(f);
}

/* What is asked for each device walks an index. */
static void
indexes_are_used(void **state)
{
    static const struct {
        const char *sql, *plan;
    } cases[] = {
        {"SELECT id FROM registration WHERE scope = 's' AND ek_id = ?1 AND ek_id <> x'" NO_EK_HEX
         "' ORDER BY attested_ms DESC LIMIT 1",
         "USING INDEX registration_ek"},
        {"SELECT max(import_line) FROM enrollment WHERE import_id = ?1 AND import_id <> 0",
         "USING COVERING INDEX enrollment_import"},
        {"SELECT nr FROM enrollment WHERE import_id = ?1 AND import_id <> 0 AND changed <> 0",
         "enrollment_changed"},
        {"SELECT i.device_id, t.tags FROM identity i JOIN twin t ON t.identity_nr = i.nr"
         " WHERE i.hub = ?1 AND i.device_id > ?2 ORDER BY i.device_id LIMIT ?3",
         "SEARCH t USING INTEGER PRIMARY KEY"},
        {"UPDATE presence INDEXED BY presence_connected SET connected = 0, changed_ms = ?2"
         " WHERE hub = ?1 AND connected <> 0",
         "USING INDEX presence_connected"},
        {"SELECT body FROM c2d WHERE hub = ?1 AND device_id = ?2 ORDER BY seq",
         "USING INDEX c2d_device"},
        {"SELECT count(*) FROM c2d WHERE hub = ?1 AND device_id = ?2",
         "USING COVERING INDEX c2d_device"},
        {"SELECT DISTINCT device_id FROM c2d WHERE hub = ?1 AND device_id > ?2"
         " AND locked_until_ms <= ?3 ORDER BY device_id LIMIT ?4",
         "USING COVERING INDEX c2d_device"},
    };
    struct fixture *f = (struct fixture *)*state;
    char path[160], sql[400];
    sqlite3_stmt *q;
    sqlite3 *db;

    path_of(f, "", path);
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    for (size_t i = 0; i < LK_ARRAY_LEN(cases); i++) {
        bool found = false, sorted = false;

        (void)snprintf(sql, sizeof(sql), "EXPLAIN QUERY PLAN %s", cases[i].sql);
        assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &q, NULL), SQLITE_OK);
        while (sqlite3_step(q) == SQLITE_ROW) {
            const char *line = (const char *)sqlite3_column_text(q, 3);

            found = found || strstr(line, cases[i].plan) != NULL;
            sorted = sorted || strstr(line, "TEMP B-TREE") != NULL;
        }
        assert_int_equal(sqlite3_finalize(q), SQLITE_OK);
        if (!found || sorted) {
            fail_msg("%s", cases[i].sql);
        }
    }
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* What programs wrote that counted nothing is counted by the step that begins it. */
static void
schema_from_step_5(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    char path[160];

    fixture_close(f);
    path_of(f, "", path);
    assert_int_equal(unlink(path), 0);
    for (int i = 0; i < 5; i++) {
        raw_sql(f, sqlite_schema_steps[i]);
    }
    raw_sql(f, "PRAGMA application_id = 0x4c4b6579; PRAGMA user_version = 5");
    raw_sql(f, UNCOUNTED_ROWS("x''"));
    f->config.create = false;
    fixture_open(f);
    uncounted_rows_seen(f);
}

/* Numbers that somebody has changed are found, each by its name, and counted anew. */
static void
miscounts_are_found(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_enrollment e;

    enrollment_make(&e, "a", 1);
    assert_int_equal(do_create(f, &e, NULL), LK_OK);
    raw_sql(f, "UPDATE enrollment_count SET total = 7");
    raw_sql(f, "INSERT INTO registration_count VALUES ('" SCOPE "', 2, 5)");
    raw_sql(f, "INSERT INTO group_count VALUES ('" SCOPE "', 'g', 1)");
    raw_sql(f, "INSERT INTO identity_count VALUES ('h', 0, 0, 3)");
    assert_string_equal(do_count_check(f, false),
                        "enrollment of " SCOPE ": 7, not 1; registration of " SCOPE
                        " status 2: 5, not 0; group of " SCOPE
                        " g: 1, not 0; connected identity of h: 3, not 0; ");
    assert_int_equal(do_count(f), 7);
    assert_true(do_count_check(f, true)[0] != '\0');
    assert_string_equal(do_count_check(f, false), "");
    assert_int_equal(do_count(f), 1);
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

/* A database that this user may not write is refused at once, by name; reading it is served. */
static void
read_only_file(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    bool is_root = geteuid() == 0; /* whom no mode keeps out: be somebody else for a moment */
    char path[160], error[LK_STORE_ERROR_CAP] = "";
    struct lk_store_config config = f->config;
    struct lk_store *st = NULL;

    lk_session_close(f->s);
    lk_store_close(f->st);
    f->s = NULL;
    f->st = NULL;
    path_of(f, "", path);
    assert_int_equal(chmod(path, 0400), 0);
    if (is_root) {
        assert_int_equal(chown(f->dir, 65534, 65534), 0);
        assert_int_equal(chown(path, 65534, 65534), 0);
        assert_int_equal(seteuid(65534), 0);
    }
    config.create = false;
    assert_int_equal(lk_store_open(&config, error, &st), LK_ERR_STORE);
    assert_null(st);
    assert_non_null(strstr(error, path));
    assert_non_null(strstr(error, "read-only"));
    config.read_only = true;
    assert_int_equal(lk_store_open(&config, error, &st), LK_OK);
    lk_store_close(st);
    if (is_root) {
        assert_int_equal(seteuid(0), 0);
    }
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(files_are_private),     cmocka_unit_test(url_is_checked),
        CASE(absent_is_not_created), CASE(special_names_are_files),
        CASE(schema_is_judged),      CASE(schema_from_step_1),
        CASE(schema_from_step_2),    CASE(schema_from_step_5),
        CASE(miscounts_are_found),   CASE(indexes_are_used),
        CASE(not_a_database),        CASE(schema_race),
        CASE(damaged_row),           CASE(orphaned_ek),
        CASE(audit_tampering),       CASE(audit_cut_tail),
        CASE(read_only_file),
    };

    return lk_crypto_init() != LK_OK ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
