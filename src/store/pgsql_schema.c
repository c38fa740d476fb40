/* Schema steps: numbered, forward only, one transaction each. */
#include "store/pgsql_int.h"

#include <stdio.h>
#include <stdlib.h>

/* One query of one row and one integer; LK_ERR_NOT_FOUND: no row. */
static enum lk_err
number_get(struct pg_conn *c, const char *sql, int64_t *ret)
{
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(&c->base, sql, &q)) != LK_OK || (err = sq_step(q)) != LK_OK) {
        return err;
    }
    *ret = sq_int(q, 0);
    return q->err;
}

/* The number of the last step that was taken; 0 for a schema without tables of ours. */
static enum lk_err
version_get(struct pg_conn *c, int64_t *ret)
{
    static const char there[] = "SELECT CAST(count(*) AS BIGINT) FROM pg_catalog.pg_tables"
                                " WHERE schemaname = current_schema()"
                                " AND tablename = 'latchkey_schema'";
    static const char version[] = "SELECT version FROM latchkey_schema";
    int64_t tables;
    enum lk_err err = number_get(c, there, &tables);

    if (err != LK_OK) {
        return err;
    }
    if (tables == 0) {
        *ret = 0;
        return LK_OK;
    }
    if ((err = number_get(c, version, ret)) == LK_ERR_NOT_FOUND) {
        store_error_set("database: expected one row in latchkey_schema");
        return LK_ERR_SCHEMA;
    }
    if (err == LK_OK && *ret > pgsql_schema_steps_count) {
        store_error_set("database: schema %lld is newer than this program, which knows %d: use "
                        "the newer one",
                        (long long)*ret, pgsql_schema_steps_count);
        return LK_ERR_SCHEMA;
    }
    return err;
}

static enum lk_err
step_apply(struct pg_conn *c, int64_t step)
{
    char mark[80];
    enum lk_err err = pg_command(c, pgsql_schema_steps[step - 1], "schema step");

    (void)snprintf(mark, sizeof(mark), "UPDATE latchkey_schema SET version = %lld",
                   (long long)step); /* fits by its size */
    return err != LK_OK ? err : pg_command(c, mark, "schema step");
}

/* Another instance may be updating too: one at a time, and look again. */
static enum lk_err
step_next(struct pg_conn *c, int64_t *version)
{
    static const char begin[] =
        "BEGIN; CREATE TABLE IF NOT EXISTS latchkey_schema (version BIGINT NOT NULL);"
        "LOCK TABLE latchkey_schema IN ACCESS EXCLUSIVE MODE;"
        "INSERT INTO latchkey_schema SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM latchkey_schema)";
    enum lk_err err = pg_command(c, begin, "schema step");

    if (err == LK_OK && (err = version_get(c, version)) == LK_OK &&
        *version < pgsql_schema_steps_count) {
        err = step_apply(c, ++*version);
    }
    if (err != LK_OK) {
        (void)!pg_command(c, "ROLLBACK", "schema step"); /* the error before it is the cause */
        return err;
    }
    return pg_command(c, "COMMIT", "schema step");
}

enum lk_err
pg_schema_update(struct pg_conn *c, bool may_create, bool read_only)
{
    int64_t version = 0;
    enum lk_err err = version_get(c, &version);

    if (err != LK_OK) {
        return err;
    }
    if (version == 0 && !may_create) {
        store_error_set("database: no tables of Latchkey: `latchkey init` makes them");
        return LK_ERR_NOT_FOUND;
    }
    if (version < pgsql_schema_steps_count && read_only) {
        store_error_set("database: schema %lld is of an older program: starting latchkeyd, or any "
                        "command that changes something, updates it",
                        (long long)version);
        return LK_ERR_SCHEMA;
    }
    while (err == LK_OK && version < pgsql_schema_steps_count) {
        err = step_next(c, &version);
    }
    return err;
}
