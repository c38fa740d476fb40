/*
 * The floor's durable commit: the three rows without which there is no registration (its record,
 * the identity at the hub, the audit record), in tables that have no more than a key.
 */
#include "floor.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <sqlite3.h>

#include "bench.h"

#define BATCH_LARGE 64u
#define RECORD_LEN 1300   /* bytes of a registration's row: SRK, wrapped key, hashes, ids */
#define IDENTITY_LEN 260u /* bytes of an identity's: two sealed keys, ids */
#define AUDIT_LEN 460u    /* bytes of an audit record's: detail and hash */
#define TABLES 3u

struct rows {
    sqlite3 *db;
    sqlite3_stmt *begin, *commit, *insert[TABLES];
    unsigned next; /* number of the next device */
};

static const unsigned lengths[TABLES] = {RECORD_LEN, IDENTITY_LEN, AUDIT_LEN};

static sqlite3_stmt *
prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *stmt = NULL;

    must(sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &stmt, NULL) == SQLITE_OK,
         "preparing a statement");
    return stmt;
}

static void
run(sqlite3_stmt *stmt)
{
    must(sqlite3_step(stmt) == SQLITE_DONE && sqlite3_reset(stmt) == SQLITE_OK,
         "running a statement");
}

static struct rows
rows_open(const char *folder)
{
    /* What latchkeyd runs with (sqlite.c): durable when the commit returns. */
    static const char setup[] =
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -16384;"
        "PRAGMA wal_autocheckpoint = 4000;"
        "CREATE TABLE record (id TEXT PRIMARY KEY, rest BLOB NOT NULL) STRICT;"
        "CREATE TABLE identity (id TEXT PRIMARY KEY, rest BLOB NOT NULL) STRICT;"
        "CREATE TABLE audit (id TEXT, rest BLOB NOT NULL) STRICT;";
    struct rows r = {0};
    char path[4096];

    (void)snprintf(path, sizeof(path), "%s/floor.db", folder);
    must(sqlite3_open_v2(path, &r.db,
                         SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                         NULL) == SQLITE_OK &&
             sqlite3_exec(r.db, setup, NULL, NULL, NULL) == SQLITE_OK,
         "making a database");
    r.begin = prepare(r.db, "BEGIN IMMEDIATE");
    r.commit = prepare(r.db, "COMMIT");
    r.insert[0] = prepare(r.db, "INSERT INTO record VALUES (?1, ?2)");
    r.insert[1] = prepare(r.db, "INSERT INTO identity VALUES (?1, ?2)");
    r.insert[2] = prepare(r.db, "INSERT INTO audit VALUES (?1, ?2)");
    return r;
}

static void
rows_close(struct rows *r)
{
    (void)sqlite3_finalize(r->begin);
    (void)sqlite3_finalize(r->commit);
    for (unsigned i = 0; i < TABLES; i++) {
        (void)sqlite3_finalize(r->insert[i]);
    }
    (void)sqlite3_close(r->db);
}

static void
batch_write(struct rows *r, unsigned count)
{
    static const uint8_t rest[RECORD_LEN] = {1};

    run(r->begin);
    for (unsigned i = 0; i < count; i++) {
        char id[32];

        (void)snprintf(id, sizeof(id), "0ne00000001/bench-%06u", r->next++);
        for (unsigned k = 0; k < TABLES; k++) {
            must(sqlite3_bind_text(r->insert[k], 1, id, -1, SQLITE_STATIC) == SQLITE_OK &&
                     sqlite3_bind_blob(r->insert[k], 2, rest, (int)lengths[k], SQLITE_STATIC) ==
                         SQLITE_OK,
                 "binding");
            run(r->insert[k]);
        }
    }
    run(r->commit);
}

/* CPU time of a batch of count. */
static double
batch_us(struct rows *r, unsigned count)
{
    const double began_us = thread_cpu_us();
    double spent_us;
    unsigned batches = 0;

    do {
        batch_write(r, count);
        batches++;
        spent_us = thread_cpu_us() - began_us;
    } while (spent_us < FLOOR_SLICE_US / 2);
    return spent_us / batches;
}

struct floor_commit
floor_commit_measure(const char *folder)
{
    struct rows r = rows_open(folder);
    struct floor_commit f;
    double one_us, many_us;

    batch_write(&r, 1000); /* trees of some depth */
    many_us = batch_us(&r, BATCH_LARGE);
    one_us = batch_us(&r, 1);
    rows_close(&r);
    f.rows_us = (many_us - one_us) / (BATCH_LARGE - 1);
    f.commit_us = one_us - f.rows_us;
    return f;
}
