/*
 * The floor of an import into SQLite: the rows of one store put into another, fresh one by prepared
 * statements in big transactions, with the service's own settings. Rows are fetched before the
 * clock runs.
 *
 * usage: bench-bulk FROM.db TO.db
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define COLUMNS_MAX 64
#define TRANSACTION_ROWS 10000
#define EK_ID_LEN 32

static sqlite3 *
db_open(const char *path)
{
    /* As src/store/sqlite.c has it. */
    static const char settings[] =
        "PRAGMA foreign_keys = ON; PRAGMA synchronous = FULL; PRAGMA cell_size_check = ON;"
        "PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384;"
        "PRAGMA wal_autocheckpoint = 4000; PRAGMA journal_size_limit = 33554432;";
    sqlite3 *db;

    must(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK, path);
    must(sqlite3_exec(db, settings, NULL, NULL, NULL) == SQLITE_OK, "setting up SQLite");
    return db;
}

static sqlite3_stmt *
prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *s;

    must(sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK, sqlite3_errmsg(db));
    return s;
}

/* INSERT with a parameter for every column that from has. */
static sqlite3_stmt *
prepare_insert(sqlite3 *db, const char *table, sqlite3_stmt *from)
{
    char sql[1024];
    int len = snprintf(sql, sizeof(sql), "INSERT INTO %s (", table), count;

    count = sqlite3_column_count(from);
    for (int i = 0; i < count; i++) {
        len += snprintf(sql + len, sizeof(sql) - (size_t)len, "%s%s", i > 0 ? ", " : "",
                        sqlite3_column_name(from, i));
    }
    len += snprintf(sql + len, sizeof(sql) - (size_t)len, ") VALUES (?");
    for (int i = 1; i < count; i++) {
        len += snprintf(sql + len, sizeof(sql) - (size_t)len, ", ?");
    }
    must((size_t)len + 2 < sizeof(sql), "writing a statement");
    return prepare(db, strcat(sql, ")"));
}

static void
run(sqlite3_stmt *s, sqlite3 *db)
{
    must(sqlite3_step(s) == SQLITE_DONE, sqlite3_errmsg(db));
    (void)sqlite3_reset(s); /* says again what the step said */
}

struct copy {
    sqlite3 *to;
    sqlite3_stmt *from, *row, *ek;
    int columns, scope_at, eks_at, nr_at;
    sqlite3_value **values; /* of at most TRANSACTION_ROWS rows */
};

static int
column_of(sqlite3_stmt *s, const char *name)
{
    for (int i = 0; i < sqlite3_column_count(s); i++) {
        if (strcmp(sqlite3_column_name(s, i), name) == 0) {
            return i;
        }
    }
    must(false, name);
    return -1;
}

static unsigned
rows_fetch(struct copy *c)
{
    unsigned rows = 0;

    while (rows < TRANSACTION_ROWS && sqlite3_step(c->from) == SQLITE_ROW) {
        for (int i = 0; i < c->columns; i++) {
            c->values[rows * (unsigned)c->columns + (unsigned)i] =
                sqlite3_value_dup(sqlite3_column_value(c->from, i));
        }
        rows++;
    }
    return rows;
}

/* The keys of a row: 32 bytes identity, 16-bit length and the public area, each. */
static void
eks_insert(struct copy *c, sqlite3_value **row)
{
    const unsigned char *eks = sqlite3_value_blob(row[c->eks_at]);
    int len = sqlite3_value_bytes(row[c->eks_at]);

    for (int at = 0; at + EK_ID_LEN + 2 <= len;) {
        (void)sqlite3_bind_value(c->ek, 1, row[c->scope_at]);
        (void)sqlite3_bind_blob(c->ek, 2, eks + at, EK_ID_LEN, SQLITE_STATIC);
        (void)sqlite3_bind_value(c->ek, 3, row[c->nr_at]);
        run(c->ek, c->to);
        at += EK_ID_LEN + 2 + (eks[at + EK_ID_LEN] << 8 | eks[at + EK_ID_LEN + 1]);
    }
}

static void
rows_insert(struct copy *c, unsigned rows)
{
    must(sqlite3_exec(c->to, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK, "beginning");
    for (unsigned r = 0; r < rows; r++) {
        sqlite3_value **row = c->values + (size_t)r * (unsigned)c->columns;

        for (int i = 0; i < c->columns; i++) {
            (void)sqlite3_bind_value(c->row, i + 1, row[i]);
        }
        run(c->row, c->to);
        eks_insert(c, row);
    }
    must(sqlite3_exec(c->to, "COMMIT", NULL, NULL, NULL) == SQLITE_OK, "committing");
}

/* The imports that the rows belong to: a handful. */
static void
imports_copy(sqlite3 *from, sqlite3 *to)
{
    sqlite3_stmt *all = prepare(from, "SELECT * FROM import"), *put;

    put = prepare_insert(to, "import", all);
    while (sqlite3_step(all) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(all); i++) {
            (void)sqlite3_bind_value(put, i + 1, sqlite3_column_value(all, i));
        }
        run(put, to);
    }
    (void)sqlite3_finalize(put);
    (void)sqlite3_finalize(all);
}

static struct copy
copy_begin(sqlite3 *from, sqlite3 *to)
{
    struct copy c = {.to = to, .from = prepare(from, "SELECT * FROM enrollment ORDER BY nr")};

    c.columns = sqlite3_column_count(c.from);
    c.scope_at = column_of(c.from, "scope");
    c.eks_at = column_of(c.from, "eks");
    c.nr_at = column_of(c.from, "nr");
    c.row = prepare_insert(to, "enrollment", c.from);
    c.ek = prepare(to, "INSERT INTO enrollment_ek (scope, ek_id, enrollment_nr) VALUES (?, ?, ?)");
    c.values = calloc((size_t)TRANSACTION_ROWS * (unsigned)c.columns, sizeof(c.values[0]));
    must(c.columns <= COLUMNS_MAX && c.values != NULL, "fetching rows");
    return c;
}

int
main(int argc, char **argv)
{
    double wall_us = 0, cpu_us = 0, start_us, start_cpu_us;
    unsigned rows, count = 0;
    sqlite3 *from, *to;
    struct copy c;

    must(argc == 3, "usage: bench-bulk FROM.db TO.db");
    from = db_open(argv[1]);
    to = db_open(argv[2]);
    imports_copy(from, to);
    c = copy_begin(from, to);
    while ((rows = rows_fetch(&c)) > 0) {
        start_us = now_us();
        start_cpu_us = thread_cpu_us();
        rows_insert(&c, rows);
        wall_us += now_us() - start_us;
        cpu_us += thread_cpu_us() - start_cpu_us;
        count += rows;
        for (unsigned i = 0; i < rows * (unsigned)c.columns; i++) {
            sqlite3_value_free(c.values[i]);
        }
    }
    (void)sqlite3_finalize(c.row);
    (void)sqlite3_finalize(c.ek);
    (void)sqlite3_finalize(c.from);
    start_us = now_us();
    start_cpu_us = thread_cpu_us();
    must(sqlite3_close(to) == SQLITE_OK, "closing the database"); /* copies the log */
    wall_us += now_us() - start_us;
    cpu_us += thread_cpu_us() - start_cpu_us;
    (void)sqlite3_close(from);
    free(c.values);
    printf("{\"rows\": %u, \"seconds\": %.3f, \"cpu_us\": %.3f}\n", count, wall_us / 1e6,
           cpu_us / count);
    return 0;
}
