/* What the files of the SQLite backend share. Only they include sqlite3.h. */
#ifndef LK_STORE_SQLITE_INT_H
#define LK_STORE_SQLITE_INT_H

#include <sqlite3.h>

#include "store/sql_int.h"

struct store_db {
    char *path; /* owned; never a name that SQLite treats specially */
};

struct sqlite_conn {
    struct store_conn base;
    sqlite3 *db;
    int wal_pages; /* in the write-ahead log after the latest commit */
};

/* sqlite_stmt.c */
extern const struct sq_engine sqlite_engine;
/* The error for a result code; keeps SQLite's words for lk_store_error_text(). */
enum lk_err sqlite_fail(struct sqlite_conn *c, int rc, const char *what);

/* sqlite_schema.c */
extern const char *const sqlite_schema_steps[];
extern const int sqlite_schema_steps_count;
/* may_create: an empty database gets the schema. */
enum lk_err sqlite_schema_update(struct sqlite_conn *c, const char *path, bool may_create,
                                 bool read_only);

#endif
