/* What the files of the PostgreSQL backend share. Only they include libpq-fe.h. */
#ifndef LK_STORE_PGSQL_INT_H
#define LK_STORE_PGSQL_INT_H

#include <libpq-fe.h>

#include "store/sql_int.h"

#define PG_PARAMS_MAX 40
#define PG_OID_BYTEA 17u /* pg_type.h, where they are fixed */
#define PG_OID_INT8 20u
#define PG_OID_TEXT 25u
#define PG_OID_BYTEA_ARRAY 1001u
#define PG_OID_TEXT_ARRAY 1009u
#define PG_OID_INT8_ARRAY 1016u
#define PG_RETRY_MS 10000   /* how long a transaction waits for a server that is gone or moving */
#define PG_OUTCOME_MS 45000 /* how long one of unknown outcome does: until a failover is over */

struct store_db {
    char *url; /* owned; holds a password maybe: never logged */
    bool read_only;
};

struct pg_conn {
    struct store_conn base;
    PGconn *pg; /* NULL: not connected */
    struct store_db *db;
    unsigned stmts_made; /* for their names on the server */
    bool lost;           /* the connection, or what the server said of it */
    bool in_transaction;
    uint32_t writer, turn; /* its mark's number and last transaction; of no use to a reader */
};

struct pg_stmt {
    struct sq base;
    char *text; /* owned: in PostgreSQL's spelling */
    char name[16];
    PGconn *prepared_on; /* connection that knows name; NULL: none */
    int params_count;
    Oid types[PG_PARAMS_MAX];
    const char *values[PG_PARAMS_MAX];
    int lengths[PG_PARAMS_MAX];
    int64_t ints[PG_PARAMS_MAX]; /* big-endian */
    PGresult *result;            /* NULL: not stepped yet */
    int row, rows;
};

/* pgsql_stmt.c */
extern const struct sq_engine pg_engine;
/* An array of one dimension in the server's binary form, in an empty buffer. */
LK_MUST_CHECK enum lk_err pg_array_begin(struct lk_buf *array, Oid element);
LK_MUST_CHECK enum lk_err pg_array_put(struct lk_buf *array, const void *data, size_t len);
/* Bind one, borrowed as any parameter. */
void pg_bind_array(struct sq *q, int at, Oid type, const struct lk_buf *array);
/* The error for a result, or for the connection when res is NULL; keeps the server's words. */
enum lk_err pg_fail(struct pg_conn *c, const PGresult *res, const char *what);
/* Whole text of a statement in PostgreSQL's spelling, owned by the caller. */
LK_MUST_CHECK enum lk_err pg_spell(const char *sql, char **ret);
/* Run commands without parameters; several, separated by semicolons, share one round trip. */
LK_MUST_CHECK enum lk_err pg_command(struct pg_conn *c, const char *text, const char *what);

/* pgsql_drop.c, pgsql_stage.c: the engine's. */
LK_MUST_CHECK enum lk_err pg_drop(struct lk_txn *tx, int64_t import_id, const char *scope,
                                  size_t limit, size_t *ret_count);
LK_MUST_CHECK enum lk_err pg_stage(struct lk_txn *tx, struct sq_stage *rows, size_t count);

/* pgsql_schema.c */
extern const char *const pgsql_schema_steps[];
extern const int pgsql_schema_steps_count;
LK_MUST_CHECK enum lk_err pg_schema_update(struct pg_conn *c, bool may_create, bool read_only);

#endif
