/*
 * The PostgreSQL backend: connections and transactions.
 *
 * Writers take the one row of the table writer before anything else, so write transactions of all
 * instances follow one another, as SQLite's do, and each sees all that was committed before it: no
 * job has to be written for anything else. Readers see one snapshot and wait for nobody.
 *
 * A server that is gone, or is being replaced by its standby, looks like a busy one: a transaction
 * waits up to PG_RETRY_MS for it to come back. Each transaction leaves its number in the mark of
 * its writer: when the connection is lost during COMMIT, the server that comes back, or another
 * that was promoted, tells by it what became of the transaction.
 */
#include "store/pgsql_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RECONNECT_SLEEP_MS 100
/* waits for the writers' turn */
#define WRITER_BEGIN "BEGIN; SELECT held FROM writer FOR UPDATE;"

static int64_t
mono_ms(void)
{
    return lk_clock_mono_ms(&lk_clock_system);
}

static void
pause_ms(long ms)
{
    const struct timespec ts = {ms / 1000, ms % 1000 * 1000000L};

    (void)nanosleep(&ts, NULL); /* a signal only makes it try earlier */
}

static void
notice_drop(void *arg, const PGresult *res)
{
    /* "table exists already, skipping" and the like: what matters comes back as an error. */
}

static void
conn_disconnect(struct pg_conn *c)
{
    PQfinish(c->pg);
    c->pg = NULL;
    c->in_transaction = false;
    for (size_t i = 0; i < c->base.stmts_count; i++) {
        ((struct pg_stmt *)c->base.stmts[i].q)->prepared_on = NULL;
    }
}

/* Whether a line of libpq's words ends in the SQLSTATE of an account or a database that will not
 * do: waiting does not help. */
static bool
words_refuse(const char *words)
{
    static const char *const refusals[] = {" 28000\n", " 28P01\n", " 3D000\n", " 42501\n"};

    for (size_t i = 0; i < LK_ARRAY_LEN(refusals); i++) {
        if (strstr(words, refusals[i]) != NULL) {
            return true;
        }
    }
    return false;
}

/*
 * Why connecting failed: LK_ERR_STORE when the server turns us down, LK_ERR_BUSY when it may be
 * there again soon. libpq tells the SQLSTATE of a failed connection only in its words, and only to
 * who has asked for it on a connection that is there: so a failure after a password was sent is
 * looked at by another try, which may well succeed (LK_OK).
 */
static enum lk_err
connect_fail(struct pg_conn *c)
{
    enum lk_err err = pg_fail(c, NULL, "connect");

    if (PQconnectionNeedsPassword(c->pg) != 0) {
        return LK_ERR_STORE;
    }
    if (PQconnectionUsedPassword(c->pg) == 0) {
        return err;
    }
    (void)PQsetErrorVerbosity(c->pg, PQERRORS_SQLSTATE);
    PQreset(c->pg);
    if (PQstatus(c->pg) == CONNECTION_OK) {
        (void)PQsetErrorVerbosity(c->pg, PQERRORS_DEFAULT);
        c->lost = false;
        return LK_OK;
    }
    return words_refuse(PQerrorMessage(c->pg)) ? LK_ERR_STORE : err;
}

/* What the URL says wins over the defaults before dbname. */
static enum lk_err
conn_connect(struct pg_conn *c)
{
    static const char settings[] =
        "-c statement_timeout=30000 -c lock_timeout=10000"
        " -c idle_in_transaction_session_timeout=60000 -c client_min_messages=warning"
        " -c bytea_output=hex";
    const char *const names[] = {"application_name", "connect_timeout",
                                 "keepalives_idle",  "keepalives_interval",
                                 "tcp_user_timeout", "client_encoding",
                                 "options",          "target_session_attrs",
                                 "dbname",           NULL};
    /* A machine that is gone is noticed within 20 s, also by a COMMIT that waits for a standby. */
    const char *const values[] = {
        "latchkey", "5",    "10",     "5",
        "10000",    "UTF8", settings, c->db->read_only ? "any" : "read-write",
        c->db->url, NULL};
    enum lk_err err;

    conn_disconnect(c);
    c->lost = false;
    c->pg = PQconnectdbParams(names, values, 1);
    if (c->pg == NULL) {
        return LK_ERR_NOMEM;
    }
    if (PQstatus(c->pg) != CONNECTION_OK && (err = connect_fail(c)) != LK_OK) {
        return err;
    }
    (void)PQsetNoticeReceiver(c->pg, notice_drop, NULL);
    return LK_OK;
}

/* Connected, or LK_ERR_BUSY at the deadline; at once when we are turned down. */
static enum lk_err
conn_ensure(struct pg_conn *c, int64_t deadline_ms)
{
    enum lk_err err;

    if (c->pg != NULL && !c->lost) {
        return LK_OK;
    }
    while ((err = conn_connect(c)) == LK_ERR_BUSY && mono_ms() < deadline_ms) {
        pause_ms(RECONNECT_SLEEP_MS);
    }
    return err;
}

static void
pg_conn_close(struct store_conn *base)
{
    struct pg_conn *c = (struct pg_conn *)base;

    sq_cache_clear(base);
    conn_disconnect(c);
    free(c);
}

static enum lk_err
pg_conn_open(struct store_db *db, bool writable, struct store_conn **ret)
{
    struct pg_conn *c = (struct pg_conn *)calloc(1, sizeof(*c));
    enum lk_err err;

    if (c == NULL) {
        return LK_ERR_NOMEM;
    }
    c->base.engine = &pg_engine;
    c->base.writable = writable;
    c->db = db;
    if ((err = lk_rand_fill(&lk_rand_system, &c->writer, sizeof(c->writer))) != LK_OK ||
        (err = conn_connect(c)) != LK_OK) {
        pg_conn_close(&c->base);
        return err;
    }
    *ret = &c->base;
    return LK_OK;
}

static void
pg_close(struct store_db *db)
{
    if (db->url != NULL) {
        lk_wipe(db->url, strlen(db->url));
    }
    free(db->url);
    free(db);
}

/* The tables as this program knows them, without the marks of writers that are long gone. */
static enum lk_err
tables_prepare(struct pg_conn *c, const struct lk_store_config *config)
{
    static const char sweep[] =
        "DELETE FROM writer_mark"
        " WHERE at_ms < extract(epoch FROM now() - interval '1 day') * 1000";
    enum lk_err err = pg_schema_update(c, config->create && !config->read_only, config->read_only);

    return err == LK_OK && !config->read_only ? pg_command(c, sweep, "marks") : err;
}

static enum lk_err
pg_open(const struct lk_store_config *config, const char *location, struct store_db **ret)
{
    struct store_db *db = (struct store_db *)calloc(1, sizeof(*db));
    struct store_conn *c = NULL;
    enum lk_err err;

    if (db == NULL || (db->url = strdup(config->url)) == NULL) {
        free(db);
        return LK_ERR_NOMEM;
    }
    db->read_only = config->read_only;
    if ((err = pg_conn_open(db, !config->read_only, &c)) == LK_OK) {
        err = tables_prepare((struct pg_conn *)c, config);
        pg_conn_close(c);
    }
    if (err != LK_OK) {
        pg_close(db);
        return err;
    }
    *ret = db;
    return LK_OK;
}

/* ---- transactions -------------------------------------------------------------------------- */

/* The writers' turn, and the mark by which the outcome is known. */
static enum lk_err
writer_begin(struct pg_conn *c)
{
    char begin[320];

    c->turn++;
    (void)snprintf(begin, sizeof(begin),
                   WRITER_BEGIN
                   "INSERT INTO writer_mark VALUES (%u, %u, extract(epoch FROM now()) * 1000)"
                   " ON CONFLICT (writer) DO UPDATE SET turn = excluded.turn,"
                   " at_ms = excluded.at_ms",
                   (unsigned)c->writer, (unsigned)c->turn); /* fits by its size */
    return pg_command(c, begin, "begin");
}

static enum lk_err
begin_once(struct pg_conn *c)
{
    static const char reader[] = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

    return c->base.writable ? writer_begin(c) : pg_command(c, reader, "begin");
}

static enum lk_err
pg_begin(struct store_conn *base)
{
    struct pg_conn *c = (struct pg_conn *)base;
    int64_t deadline_ms = mono_ms() + PG_RETRY_MS;
    enum lk_err err;

    do {
        if ((err = conn_ensure(c, deadline_ms)) == LK_OK && (err = begin_once(c)) == LK_OK) {
            base->broken = false;
            c->in_transaction = true;
            return LK_OK;
        }
        conn_disconnect(c); /* also one on which BEGIN was refused: nothing of it is kept */
    } while (err == LK_ERR_BUSY && mono_ms() < deadline_ms);
    return err;
}

static void
pg_rollback(struct store_conn *base)
{
    struct pg_conn *c = (struct pg_conn *)base;

    if (c->in_transaction && pg_command(c, "ROLLBACK", "rollback") != LK_OK) {
        conn_disconnect(c); /* the server rolls back what nobody holds any more */
    }
    c->in_transaction = false;
}

/*
 * Whether the writer's last turn is there, once nobody holds the writers' row: a session of ours
 * that nobody ended yet may still be at its COMMIT.
 */
static enum lk_err
mark_read(struct pg_conn *c, bool *ret_there)
{
    char ask[160];
    PGresult *res;
    enum lk_err err = LK_OK;

    (void)snprintf(ask, sizeof(ask),
                   WRITER_BEGIN "SELECT 1 FROM writer_mark WHERE writer = %u AND turn = %u",
                   (unsigned)c->writer, (unsigned)c->turn); /* fits by its size */
    res = PQexec(c->pg, ask);
    if (PQresultStatus(res) != PGRES_TUPLES_OK) {
        err = pg_fail(c, res, "outcome");
    } else {
        *ret_there = PQntuples(res) == 1;
    }
    PQclear(res);
    return err == LK_OK ? pg_command(c, "ROLLBACK", "outcome") : err;
}

/* What became of a transaction whose COMMIT nobody answered; LK_ERR_BUSY: it may be tried again. */
static enum lk_err
outcome_ask(struct pg_conn *c)
{
    int64_t deadline_ms = mono_ms() + PG_OUTCOME_MS;
    bool there = false;

    do {
        if (conn_ensure(c, deadline_ms) == LK_OK && mark_read(c, &there) == LK_OK) {
            return there ? LK_OK : LK_ERR_BUSY;
        }
        conn_disconnect(c);
        pause_ms(RECONNECT_SLEEP_MS);
    } while (mono_ms() < deadline_ms);
    store_error_set("commit: the connection was lost, and whether it took effect is not known");
    return LK_ERR_STORE;
}

/* A transaction in which a statement failed is rolled back by COMMIT, which calls that success. */
static enum lk_err
commit_once(struct pg_conn *c)
{
    PGresult *res = PQexec(c->pg, "COMMIT");
    enum lk_err err = LK_OK;

    if (PQresultStatus(res) != PGRES_COMMAND_OK || strcmp(PQcmdStatus(res), "COMMIT") != 0) {
        err = pg_fail(c, res, "commit");
    }
    PQclear(res);
    return err;
}

static enum lk_err
pg_commit(struct store_conn *base)
{
    struct pg_conn *c = (struct pg_conn *)base;
    enum lk_err err = commit_once(c);

    c->in_transaction = false;
    if (err == LK_OK) {
        return LK_OK;
    }
    if (c->lost && base->writable) {
        return outcome_ask(c);
    }
    conn_disconnect(c); /* refused whole */
    return err;
}

static enum lk_err
pg_job_begin(struct store_conn *base)
{
    base->broken = false;
    return pg_command((struct pg_conn *)base, "SAVEPOINT job", "savepoint");
}

static enum lk_err
pg_job_keep(struct store_conn *base)
{
    return base->broken ? LK_ERR_STORE
                        : pg_command((struct pg_conn *)base, "RELEASE job", "savepoint");
}

static enum lk_err
pg_job_undo(struct store_conn *base)
{
    struct pg_conn *c = (struct pg_conn *)base;

    return c->lost || pg_command(c, "ROLLBACK TO job; RELEASE job", "savepoint") != LK_OK
               ? LK_ERR_CANCELLED
               : LK_OK;
}

static bool
pg_maintain(struct store_conn *c, bool idle)
{
    return false; /* the server does it */
}

/* Of the tables that have some; the server's own, of references, go on. */
static enum lk_err
pg_triggers(struct store_conn *c, bool on)
{
    static const char *const tables[] = {"import",   "enrollment", "registration",
                                         "identity", "presence",   "hub_event"};
    char sql[80];
    enum lk_err err = LK_OK;

    for (size_t i = 0; i < LK_ARRAY_LEN(tables) && err == LK_OK; i++) {
        (void)snprintf(sql, sizeof(sql), "ALTER TABLE %s %s TRIGGER USER", tables[i],
                       on ? "ENABLE" : "DISABLE"); /* fits by its size */
        err = pg_command((struct pg_conn *)c, sql, "triggers");
    }
    return err;
}

static enum lk_err
pg_copied(struct store_conn *c)
{
    static const char sql[] =
        "SELECT setval(pg_get_serial_sequence('import', 'id'), max(id)) FROM import;"
        "SELECT setval(pg_get_serial_sequence('enrollment', 'nr'), max(nr)) FROM enrollment;"
        "SELECT setval(pg_get_serial_sequence('identity', 'nr'), max(nr)) FROM identity;"
        "SELECT setval(pg_get_serial_sequence('c2d', 'seq'), max(seq)) FROM c2d;"
        "SELECT setval(pg_get_serial_sequence('hub_event', 'seq'), max(last))"
        " FROM hub_event_mark WHERE last > 0";

    return pg_command((struct pg_conn *)c, sql, "numbers");
}

const struct store_ops store_pgsql = {
    .schemes = {"postgresql:", "postgres:"},
    .reads_wait = true,
    .open = pg_open,
    .close = pg_close,
    .conn_open = pg_conn_open,
    .conn_close = pg_conn_close,
    .begin = pg_begin,
    .commit = pg_commit,
    .rollback = pg_rollback,
    .job_begin = pg_job_begin,
    .job_keep = pg_job_keep,
    .job_undo = pg_job_undo,
    .maintain = pg_maintain,
    .triggers = pg_triggers,
    .copied = pg_copied,
};
