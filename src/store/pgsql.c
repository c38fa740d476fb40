/*
 * The PostgreSQL backend: connections and transactions.
 *
 * Writers take the one row of the table writer before anything else, so write transactions of all
 * instances follow one another, as SQLite's do, and each sees all that was committed before it: no
 * job has to be written for anything else. Readers see one snapshot and wait for nobody.
 *
 * A server that is gone, or is being replaced by its standby, looks like a busy one: a transaction
 * waits up to PG_RETRY_MS for it to come back. When the connection is lost during COMMIT, the
 * server that comes back is asked what became of the transaction.
 */
#include "store/pgsql_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RECONNECT_SLEEP_MS 100

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

/* What the URL says wins over the defaults before dbname. */
static enum lk_err
conn_connect(struct pg_conn *c)
{
    static const char settings[] =
        "-c statement_timeout=30000 -c lock_timeout=10000"
        " -c idle_in_transaction_session_timeout=60000 -c client_min_messages=warning"
        " -c bytea_output=hex";
    const char *const names[] = {"application_name",     "connect_timeout", "keepalives_idle",
                                 "tcp_user_timeout",     "client_encoding", "options",
                                 "target_session_attrs", "dbname",          NULL};
    const char *const values[] = {
        "latchkey", "5", "10", "10000", "UTF8", settings, c->db->read_only ? "any" : "read-write",
        c->db->url, NULL};

    conn_disconnect(c);
    c->lost = false;
    c->pg = PQconnectdbParams(names, values, 1);
    if (c->pg == NULL) {
        return LK_ERR_NOMEM;
    }
    if (PQstatus(c->pg) != CONNECTION_OK) {
        return pg_fail(c, NULL, "connect");
    }
    (void)PQsetNoticeReceiver(c->pg, notice_drop, NULL);
    return LK_OK;
}

/* Connected, or LK_ERR_BUSY at the deadline. */
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
    if ((err = conn_connect(c)) != LK_OK) {
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
        err = pg_schema_update((struct pg_conn *)c, config->create && !config->read_only,
                               config->read_only);
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

/* The writers' turn, and the number under which the server remembers the outcome. */
static enum lk_err
writer_begin(struct pg_conn *c)
{
    static const char begin[] = "BEGIN; SELECT held FROM writer FOR UPDATE;"
                                "SELECT pg_current_xact_id()::text";
    PGresult *res = PQexec(c->pg, begin);
    enum lk_err err = LK_OK;

    if (PQresultStatus(res) != PGRES_TUPLES_OK || PQntuples(res) != 1) {
        err = pg_fail(c, res, "begin");
    } else {
        err = lk_strcpy(c->xid, sizeof(c->xid), PQgetvalue(res, 0, 0));
    }
    PQclear(res);
    return err;
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

/* What became of a transaction whose COMMIT nobody answered. */
static enum lk_err
outcome_ask(struct pg_conn *c)
{
    static const char sql[] = "SELECT pg_xact_status($1::text::xid8)";
    int64_t deadline_ms = mono_ms() + PG_RETRY_MS;
    const char *const values[] = {c->xid};
    enum lk_err err = LK_ERR_STORE;

    do {
        PGresult *res;
        char status[16] = "";

        if (conn_ensure(c, deadline_ms) != LK_OK) {
            break;
        }
        res = PQexecParams(c->pg, sql, 1, NULL, values, NULL, NULL, 0);
        if (PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res) == 1) {
            (void)!lk_strcpy(status, sizeof(status), PQgetvalue(res, 0, 0));
        }
        PQclear(res);
        if (strcmp(status, "committed") == 0) {
            return LK_OK;
        }
        if (strcmp(status, "aborted") == 0) {
            return LK_ERR_BUSY; /* may be tried again */
        }
        pause_ms(RECONNECT_SLEEP_MS); /* "in progress", or it is not told */
    } while (mono_ms() < deadline_ms);
    store_error_set("commit: the connection was lost, and whether it took effect is not known");
    return err;
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
    .copied = pg_copied,
};
