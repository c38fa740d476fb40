/*
 * What only PostgreSQL can do to a store: lose its server, share it with another instance, and take
 * over what was in SQLite. The contract itself is tested by the other suites with the argument
 * "pgsql".
 */
#include "fixture.h"

#include <libpq-fe.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/pgsql_int.h"
#include "support/pgsql.h"

static struct lk_pgsql *server;

/* ---- helpers ------------------------------------------------------------------------------- */

static void
raw_sql(const char *url, const char *sql)
{
    PGconn *c = PQconnectdb(url);
    PGresult *res = PQexec(c, sql);

    if (PQresultStatus(res) != PGRES_COMMAND_OK && PQresultStatus(res) != PGRES_TUPLES_OK) {
        fail_msg("%s: %s", sql, PQresultErrorMessage(res));
    }
    PQclear(res);
    PQfinish(c);
}

/* An open store on a database of its own, with SCOPE in it. */
static int
pg_setup(void **state)
{
    struct fixture *f = (struct fixture *)calloc(1, sizeof(*f));

    assert_non_null(f);
    assert_int_equal(lk_strcpy(f->url, sizeof(f->url), lk_pgsql_database(server)), LK_OK);
    f->config = (struct lk_store_config){.url = f->url, .create = true};
    memset(f->config.audit_key, 0x5a, sizeof(f->config.audit_key));
    fixture_open(f);
    assert_int_equal(do_scope_add(f, SCOPE), LK_OK);
    *state = f;
    return 0;
}

static int
pg_teardown(void **state)
{
    struct fixture *f = (struct fixture *)*state;

    if (f->st != NULL) {
        fixture_close(f);
    }
    free(f);
    return 0;
}

/* ---- a server that goes away ---------------------------------------------------------------- */

/* All connections are cut: the next jobs make new ones, and nobody notices. */
static void
cut_between_jobs(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_enrollment e, got;

    enrollment_make(&e, "dev-1", 1);
    assert_int_equal(do_create(f, &e, NULL), LK_OK);
    lk_pgsql_cut(server);
    lk_enrollment_init(&got);
    assert_int_equal(do_get(f, "dev-1", &got), LK_OK);
    lk_pgsql_cut(server);
    assert_int_equal(do_audit(f, "dev-1", ""), LK_OK);
    lk_enrollment_fini(&got);
    lk_enrollment_fini(&e);
}

struct cutting {
    int runs;
    const char *id;
};

static enum lk_err
cut_run(struct lk_txn *tx, void *arg)
{
    struct cutting *c = (struct cutting *)arg;
    struct lk_enrollment e;
    enum lk_err err;

    enrollment_make(&e, c->id, 0);
    if ((err = lk_txn_enrollment_create(tx, &e, NULL)) == LK_OK && c->runs++ == 0) {
        lk_pgsql_cut(server);
    }
    lk_enrollment_fini(&e);
    return err;
}

/* Cut in the middle of a job, before its commit: it is run again, and takes effect once. */
static void
cut_in_a_job(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct cutting c = {.id = "dev-1"};

    assert_int_equal(in_write(f, cut_run, &c), LK_OK);
    assert_int_equal(c.runs, 2);
    assert_int_equal(do_count(f), 1);
}

/* A server that is restarted is waited for. */
static void
restarted(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_enrollment e;

    enrollment_make(&e, "dev-1", 1);
    assert_int_equal(do_create(f, &e, NULL), LK_OK);
    lk_pgsql_restart(server);
    assert_int_equal(do_count(f), 1);
    assert_int_equal(do_audit(f, "dev-1", ""), LK_OK);
    lk_enrollment_fini(&e);
}

/*
 * The connection is lost while COMMIT is under way (a deferred trigger ends its own session): the
 * transaction is found to have been rolled back, and is tried again. The trigger does that once:
 * a sequence counts whatever is rolled back.
 */
static void
cut_in_commit(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct cutting c = {.id = "dev-1", .runs = 1};

    raw_sql(f->url,
            "CREATE SEQUENCE commits;"
            "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " IF nextval('commits') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid());"
            " PERFORM pg_sleep(5); END IF; RETURN NULL; END $$;"
            "CREATE CONSTRAINT TRIGGER die AFTER INSERT ON enrollment DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION die()");
    assert_int_equal(in_write(f, cut_run, &c), LK_OK);
    assert_int_equal(c.runs, 3);
    assert_int_equal(do_count(f), 1);
}

/* Whether a COMMIT waits for a standby: it has not been answered after a while. */
static bool
commit_waits(PGconn *c)
{
    bool waits = true;
    PGresult *res;

    assert_int_equal(PQsendQuery(c, "UPDATE writer_mark SET at_ms = at_ms + 1"), 1);
    for (int i = 0; i < 50 && waits; i++) {
        (void)usleep(10000);
        assert_int_equal(PQconsumeInput(c), 1);
        waits = PQisBusy(c) != 0;
    }
    if (waits) {
        assert_int_equal(PQrequestCancel(c), 1);
    }
    while ((res = PQgetResult(c)) != NULL) {
        PQclear(res);
    }
    return waits;
}

/* From some moment after the reload on, every COMMIT waits for a standby that is not there. */
static void
standby_wanted(const char *url)
{
    PGconn *c = PQconnectdb(url);
    int tries = 0;

    raw_sql(url, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
    raw_sql(url, "SELECT pg_reload_conf()");
    while (!commit_waits(c)) {
        assert_int_not_equal(++tries, 3000);
        (void)usleep(10000);
    }
    PQfinish(c);
}

/* Until a COMMIT waits for the standby that is not there; then its session is ended. */
static void *
cut_at_standby(void *url)
{
    static const char waits[] = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    PGconn *c = PQconnectdb((const char *)url);
    bool found = false;

    for (int i = 0; i < 3000 && !found; i++) {
        PGresult *res = PQexec(c, waits);

        found = PQntuples(res) == 1;
        PQclear(res);
        (void)usleep(10000);
    }
    PQfinish(c);
    lk_pgsql_cut(server); /* before the reload, which lets it go on */
    raw_sql((const char *)url, "ALTER SYSTEM RESET synchronous_standby_names");
    raw_sql((const char *)url, "SELECT pg_reload_conf()");
    return found ? url : NULL;
}

/* Run the job; the answer to its first COMMIT, which took effect, never comes. */
static void
answer_lost_run(struct fixture *f, struct cutting *c)
{
    pthread_t cutter;
    void *found;

    standby_wanted(f->url);
    assert_int_equal(pthread_create(&cutter, NULL, cut_at_standby, f->url), 0);
    assert_int_equal(in_write(f, cut_run, c), LK_OK);
    assert_int_equal(pthread_join(cutter, &found), 0);
    assert_non_null(found);
}

/* COMMIT took effect, and its answer never came: the job is known to be done, and not run again. */
static void
answer_lost(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct cutting c = {.id = "dev-1", .runs = 1};

    answer_lost_run(f, &c);
    assert_int_equal(c.runs, 2);
    assert_int_equal(do_count(f), 1);
}

/*
 * As after a failover to a standby that never saw the transaction, where others go on from there:
 * nothing of it is left, its mark neither. It is run again.
 */
static void
turn_unknown(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct cutting c = {.id = "dev-1", .runs = 1};

    raw_sql(
        f->url,
        "CREATE SEQUENCE commits;"
        "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF nextval('commits') = 1 THEN UPDATE writer_mark SET turn = 0;"
        " DELETE FROM enrollment; END IF; RETURN NULL; END $$;"
        "CREATE CONSTRAINT TRIGGER lose AFTER INSERT ON enrollment DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION lose()");
    answer_lost_run(f, &c);
    assert_int_equal(c.runs, 3);
    assert_int_equal(do_count(f), 1);
}

static void
password_write(const char *passfile, const char *password)
{
    FILE *file = fopen(passfile, "w");

    assert_non_null(file);
    assert_true(fprintf(file, "*:*:*:*:%s\n", password) > 0);
    assert_int_equal(fclose(file), 0);
}

/* From the next connection on, the database of url wants a password. */
static void
password_wanted(const char *url)
{
    const char *database = strstr(url, "dbname=") + sizeof("dbname=") - 1;
    char sql[512];

    (void)snprintf(sql, sizeof(sql),
                   "DO $$ BEGIN EXECUTE format('COPY (VALUES (%%L), (%%L)) TO %%L',"
                   " 'local %.*s all scram-sha-256', 'local all all trust',"
                   " current_setting('hba_file')); END $$",
                   (int)strcspn(database, "&"), database);
    raw_sql(url, "ALTER ROLE latchkey PASSWORD 'right'");
    raw_sql(url, sql);
    raw_sql(url, "SELECT pg_reload_conf()");
}

/* A password that is wrong or not there is told as that, and not waited for as an absent server
 * is; the right one is taken as soon as it is in the file. */
static void
password_wrong(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    char passfile[] = "/tmp/lk-passfile-XXXXXX", url[sizeof(f->url)];
    int fd = mkstemp(passfile);

    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    fixture_close(f);
    assert_int_equal(lk_strcpy(url, sizeof(url), f->url), LK_OK);
    assert_true(snprintf(f->url, sizeof(f->url), "%s&passfile=%s", url, passfile) <
                (int)sizeof(f->url));
    fixture_open(f);
    password_write(passfile, "wrong");
    password_wanted(url);
    lk_pgsql_cut(server);
    assert_int_equal(do_audit(f, "x", ""), LK_ERR_STORE);
    assert_non_null(strstr(lk_store_error_text(), "password authentication failed"));
    assert_int_equal(truncate(passfile, 0), 0);
    assert_int_equal(do_audit(f, "x", ""), LK_ERR_STORE);
    assert_non_null(strstr(lk_store_error_text(), "no password supplied"));
    password_write(passfile, "right");
    assert_int_equal(do_audit(f, "x", ""), LK_OK);
    assert_int_equal(unlink(passfile), 0);
}

/* A job's failure inside the database (an overflow) is its own: its batch goes on. */
static void
job_fails_alone(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_enrollment e;

    raw_sql(f->url, "ALTER TABLE enrollment ADD CONSTRAINT no_bad CHECK (lower_id <> 'bad')");
    enrollment_make(&e, "bad", 1);
    assert_int_equal(do_create(f, &e, NULL), LK_ERR_STORE);
    assert_non_null(strstr(lk_store_error_text(), "no_bad"));
    lk_enrollment_fini(&e);
    enrollment_make(&e, "good", 1);
    assert_int_equal(do_create(f, &e, NULL), LK_OK);
    lk_enrollment_fini(&e);
}

struct staging {
    int64_t import;
    const char *id;
};

static enum lk_err
stage_two(struct lk_txn *tx, void *arg)
{
    const struct staging *g = (const struct staging *)arg;
    struct lk_enrollment e[2];
    struct lk_stage rows[2] = {{1, &e[0], false}, {2, &e[1], false}};
    enum lk_err err;

    enrollment_make(&e[0], "first", 1);
    enrollment_make(&e[1], g->id, 2);
    err = lk_txn_import_stage_many(tx, g->import, rows, 2);
    assert_true(err != LK_OK || (rows[0].staged && rows[1].staged));
    return err;
}

/* Rows that are staged together and fail inside the database leave nothing, and the import goes on
 * over the same connection. */
static void
stage_fails_whole(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct staging g = {.id = "bad"};
    int64_t rows;

    raw_sql(f->url, "ALTER TABLE enrollment ADD CONSTRAINT no_bad CHECK (lower_id <> 'bad')");
    assert_int_equal(do_import_begin(f, &g.import), LK_OK);
    assert_int_equal(in_write(f, stage_two, &g), LK_ERR_STORE);
    assert_non_null(strstr(lk_store_error_text(), "no_bad"));
    g.id = "good";
    assert_int_equal(in_write(f, stage_two, &g), LK_OK);
    assert_int_equal(do_finish(f, g.import, &rows), LK_OK);
    assert_int_equal(rows, 2);
    assert_int_equal(do_count(f), 2);
}

/* ---- two instances --------------------------------------------------------------------------- */

/* Jobs of two instances, side by side: one audit chain without a gap, and no lost update. */
static void
two_instances(void **state)
{
    enum { JOBS = 60 };
    struct fixture *f = (struct fixture *)*state;
    struct fixture other = {.config = f->config};
    struct lk_audit_cursor cursor = {0};
    struct lk_registration r;
    int taken = 0;

    other.config.create = false;
    fixture_open(&other);
    for (int i = 0; i < JOBS; i++) {
        assert_int_equal(do_audit(i % 2 == 0 ? f : &other, "x", ""), LK_OK);
    }
    assert_int_equal(do_verify(&other, &cursor), LK_OK);
    assert_int_equal(cursor.seq, JOBS);
    registration_make(&r, "dev-1", 1);
    for (int i = 0; i < 2; i++) {
        taken += do_reg_put(i == 0 ? f : &other, &r, 0) == LK_OK ? 1 : 0;
    }
    assert_int_equal(taken, 1);
    lk_registration_fini(&r);
    fixture_close(&other);
}

/* ---- opening --------------------------------------------------------------------------------- */

static enum lk_err
open_error(const char *url, bool create, char error[LK_STORE_ERROR_CAP])
{
    const struct lk_store_config config = {.url = url, .create = create};
    LK_AUTO(lk_store) struct lk_store *st = NULL;

    return lk_store_open(&config, error, &st);
}

/* An empty database is not taken for a store, nor one of a newer program; a server that is not
 * there is named without its password. */
static void
open_refusals(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    char error[LK_STORE_ERROR_CAP], url[320];

    assert_int_equal(lk_strcpy(url, sizeof(url), lk_pgsql_database(server)), LK_OK);
    assert_int_equal(open_error(url, false, error), LK_ERR_NOT_FOUND);
    assert_non_null(strstr(error, "latchkey init"));
    raw_sql(f->url, "UPDATE latchkey_schema SET version = 1000");
    assert_int_equal(open_error(f->url, false, error), LK_ERR_SCHEMA);
    assert_non_null(strstr(error, "newer than this program"));
    assert_int_equal(
        open_error("postgresql://u:secret@127.0.0.1:1/x?connect_timeout=2", false, error),
        LK_ERR_BUSY);
    assert_null(strstr(error, "secret"));
    assert_non_null(strstr(error, "connect"));
}

/* ---- copies ---------------------------------------------------------------------------------- */

static enum lk_err
hub_fill(struct lk_txn *tx, void *arg)
{
    struct lk_hub hub = {.name = "hub.example.test", .kind = LK_HUB_EMBEDDED, .weight = 1};
    struct lk_identity id = {.hub = "hub.example.test",
                             .device_id = "Dev",
                             .enabled = true,
                             .auth = LK_AUTH_SAS,
                             .generation_id = "g"};
    enum lk_err err = lk_txn_hub_put(tx, &hub);

    return err != LK_OK ? err : lk_txn_identity_put(tx, &id, NULL);
}

static void
store_fill(struct fixture *f)
{
    struct lk_enrollment e;
    struct lk_registration r;
    char id[32];

    for (int i = 0; i < 1203; i++) { /* more than a page, and not a whole number of them */
        (void)snprintf(id, sizeof(id), "Dev-%04d", i);
        enrollment_make(&e, id, i < 200 ? (uint8_t)(i + 1) : 0);
        if (i == 7) {
            enrollment_fill(&e);
        }
        assert_int_equal(do_create(f, &e, NULL), LK_OK);
        lk_enrollment_fini(&e);
    }
    registration_make(&r, "Dev-0001", 1);
    assert_int_equal(do_reg_put(f, &r, 0), LK_OK);
    lk_registration_fini(&r);
    assert_int_equal(in_write(f, hub_fill, NULL), LK_OK);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(do_audit(f, "x", "{}"), LK_OK);
    }
}

static enum lk_err
counts_seen(struct lk_txn *tx, void *arg)
{
    uint64_t total, disabled, connected;
    enum lk_err err = lk_txn_identity_count(tx, "hub.example.test", &total, &disabled, &connected);

    assert_int_equal(total, 1);
    assert_int_equal(disabled + connected, 0);
    return err;
}

/* From SQLite to PostgreSQL: the same enrollments, the chain sound, numbers go on; not twice. */
static void
copy_from_sqlite(void **state)
{
    struct fixture *f = (struct fixture *)*state, *source;
    struct fixture target = {.config = f->config};
    struct lk_audit_cursor cursor = {0};
    char error[LK_STORE_ERROR_CAP] = "", id[LK_REGISTRATION_ID_MAX + 1];
    struct lk_enrollment e, got;
    void *made;

    assert_int_equal(fixture_setup(&made), 0);
    source = (struct fixture *)made;
    store_fill(source);
    assert_int_equal(lk_store_copy(source->st, f->st, NULL, NULL, error), LK_ERR_EXISTS);
    assert_non_null(strstr(error, "expected an empty store"));
    assert_int_equal(lk_strcpy(target.url, sizeof(target.url), lk_pgsql_database(server)), LK_OK);
    target.config.url = target.url;
    fixture_open(&target);
    assert_int_equal(lk_store_copy(source->st, target.st, NULL, NULL, error), LK_OK);
    assert_int_equal(do_count(&target), 1203);
    assert_int_equal(do_by_ek(&target, 12, id), LK_OK);
    assert_string_equal(id, "Dev-0011");
    assert_int_equal(do_verify(&target, &cursor), LK_OK);
    assert_int_equal(in_read(&target, counts_seen, NULL), LK_OK);
    assert_string_equal(do_count_check(&target, false), "");
    enrollment_make(&e, "dev-7", 0);
    enrollment_fill(&e);
    lk_enrollment_init(&got);
    assert_int_equal(do_get(&target, "Dev-0007", &got), LK_OK);
    enrollment_filled(&e, &got);
    lk_enrollment_fini(&e);
    lk_enrollment_fini(&got);
    enrollment_make(&e, "after", 250);
    assert_int_equal(do_create(&target, &e, NULL), LK_OK);
    assert_int_equal(do_count(&target), 1204); /* triggers work again */
    lk_enrollment_fini(&e);
    fixture_close(&target);
    assert_int_equal(fixture_teardown(&made), 0);
}

/* A copy that fails half-way leaves an empty target. */
static void
copy_is_whole(void **state)
{
    struct fixture *f = (struct fixture *)*state, *source;
    char error[LK_STORE_ERROR_CAP] = "";
    struct fixture target = {.config = f->config};
    void *made;

    assert_int_equal(fixture_setup(&made), 0);
    source = (struct fixture *)made;
    store_fill(source);
    assert_int_equal(lk_strcpy(target.url, sizeof(target.url), lk_pgsql_database(server)), LK_OK);
    target.config.url = target.url;
    fixture_open(&target);
    raw_sql(target.url, "ALTER TABLE registration ADD CONSTRAINT none CHECK (scope = '')");
    assert_int_equal(lk_store_copy(source->st, target.st, NULL, NULL, error), LK_ERR_STORE);
    assert_int_equal(do_count(&target), 0);
    raw_sql(target.url, "ALTER TABLE registration DROP CONSTRAINT none");
    assert_int_equal(lk_store_copy(source->st, target.st, NULL, NULL, error), LK_OK);
    fixture_close(&target);
    assert_int_equal(fixture_teardown(&made), 0);
}

/* What programs wrote that counted nothing is counted by the step that begins it. */
static void
schema_from_step_2(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct fixture old = {.config = f->config};

    assert_int_equal(lk_strcpy(old.url, sizeof(old.url), lk_pgsql_database(server)), LK_OK);
    raw_sql(old.url, pgsql_schema_steps[0]);
    raw_sql(old.url, pgsql_schema_steps[1]);
    raw_sql(old.url, "CREATE TABLE latchkey_schema (version BIGINT NOT NULL);"
                     "INSERT INTO latchkey_schema VALUES (2)");
    raw_sql(old.url, UNCOUNTED_ROWS("''::bytea"));
    old.config.url = old.url;
    old.config.create = false;
    fixture_open(&old);
    uncounted_rows_seen(&old);
    fixture_close(&old);
}

/* Numbers that somebody has changed are found, each by its name, and counted anew. */
static void
miscounts_are_found(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_enrollment e;

    enrollment_make(&e, "a", 1);
    assert_int_equal(do_create(f, &e, NULL), LK_OK);
    raw_sql(f->url, "UPDATE enrollment_count SET total = 7");
    raw_sql(f->url, "INSERT INTO registration_count VALUES ('" SCOPE "', 2, 5)");
    raw_sql(f->url, "INSERT INTO group_count VALUES ('" SCOPE "', 'g', 1)");
    raw_sql(f->url, "INSERT INTO identity_count VALUES ('h', 0, 0, 3)");
    assert_string_equal(do_count_check(f, false),
                        "enrollment of " SCOPE ": 7, not 1; registration of " SCOPE
                        " status 2: 5, not 0; group of " SCOPE
                        " g: 1, not 0; connected identity of h: 3, not 0; ");
    assert_int_equal(do_count(f), 7);
    assert_true(do_count_check(f, true)[0] != '\0');
    assert_string_equal(do_count_check(f, false), "");
    assert_int_equal(do_count(f), 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, pg_setup, pg_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(cut_between_jobs), CASE(cut_in_a_job),       CASE(restarted),
        CASE(cut_in_commit),    CASE(answer_lost),        CASE(turn_unknown),
        CASE(job_fails_alone),  CASE(stage_fails_whole),  CASE(two_instances),
        CASE(open_refusals),    CASE(copy_from_sqlite),   CASE(copy_is_whole),
        CASE(password_wrong),   CASE(schema_from_step_2), CASE(miscounts_are_found),
    };
    int failed;

    if (lk_crypto_init() != LK_OK) {
        return 1;
    }
    server = lk_pgsql_start();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    lk_pgsql_stop(server);
    return failed;
}
