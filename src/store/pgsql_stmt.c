/* Statements of a PostgreSQL connection: binary values both ways, prepared where they are used. */
#include "store/pgsql_int.h"

#include <assert.h>
#include <ctype.h>
#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/metrics.h"

static struct pg_stmt *
stmt_of(struct sq *q)
{
    return (struct pg_stmt *)q;
}

static struct pg_conn *
conn_of(const struct sq *q)
{
    return (struct pg_conn *)q->c;
}

/* ---- errors -------------------------------------------------------------------------------- */

/* What a failed statement means for its job, by the class of its SQLSTATE. */
static enum lk_err
state_err(const char *state)
{
    static const struct {
        const char *prefix;
        enum lk_err err;
    } known[] = {
        {"40", LK_ERR_BUSY},    /* serialization failure, deadlock: the transaction again */
        {"55P03", LK_ERR_BUSY}, /* lock_timeout */
        {"57014", LK_ERR_BUSY}, /* statement_timeout */
        {"25006", LK_ERR_BUSY}, /* read-only: it has become a standby */
        {"53300", LK_ERR_BUSY}, /* too many connections */
        {"08", LK_ERR_BUSY},    /* connection trouble */
    };

    for (size_t i = 0; i < LK_ARRAY_LEN(known); i++) {
        if (strncmp(state, known[i].prefix, strlen(known[i].prefix)) == 0) {
            return known[i].err;
        }
    }
    return LK_ERR_STORE;
}

enum lk_err
pg_fail(struct pg_conn *c, const PGresult *res, const char *what)
{
    const char *state = res != NULL ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
    const char *words = res != NULL ? PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY) : NULL;

    /* libpq's own words have no SQLSTATE: they are about the connection, whose status may not say
     * so yet. What the server says in class 57P is its last word on one. */
    c->lost = c->lost || c->pg == NULL || state == NULL || strncmp(state, "57P", 3) == 0 ||
              PQstatus(c->pg) != CONNECTION_OK;
    c->base.broken = true;
    store_error_set("%s: %.180s%s%.5s", what,
                    words != NULL   ? words
                    : c->pg != NULL ? PQerrorMessage(c->pg)
                                    : "no connection",
                    state != NULL ? ", SQLSTATE " : "", state != NULL ? state : "");
    lk_metric_add(LK_M_STORE_ERRORS, 1);
    return c->lost ? LK_ERR_BUSY : state_err(state);
}

enum lk_err
pg_command(struct pg_conn *c, const char *text, const char *what)
{
    PGresult *res = c->pg != NULL ? PQexec(c->pg, text) : NULL;
    ExecStatusType status = PQresultStatus(res); /* PGRES_FATAL_ERROR for none */
    enum lk_err err = LK_OK;

    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        err = pg_fail(c, res, what);
    }
    PQclear(res);
    return err;
}

/* ---- spelling ------------------------------------------------------------------------------ */

/* x'00ff' at sql: the bytes of the literal, 0 when there is none. */
static size_t
blob_literal(const char *sql)
{
    size_t digits;

    if (sql[0] != 'x' || sql[1] != '\'') {
        return 0;
    }
    digits = strspn(sql + 2, "0123456789abcdef");
    return sql[2 + digits] == '\'' ? digits + 3 : 0;
}

enum lk_err
pg_spell(const char *sql, char **ret)
{
    static const char indexed[] = " INDEXED BY ";
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    enum lk_err err = LK_OK;
    const char *whole;

    while (*sql != '\0' && err == LK_OK) {
        size_t blob = blob_literal(sql);

        if (strncmp(sql, indexed, sizeof(indexed) - 1) == 0) {
            sql += sizeof(indexed) - 1;
            sql += strcspn(sql, " ");
        } else if (blob > 0) {
            err = lk_buf_printf(&text, "'\\x%.*s'::bytea", (int)blob - 3, sql + 2);
            sql += blob;
        } else {
            err = lk_buf_put(&text, *sql == '?' ? "$" : sql, 1);
            sql++;
        }
    }
    if (err != LK_OK) {
        return err;
    }
    whole = lk_buf_text(&text);
    *ret = whole != NULL ? strdup(whole) : NULL;
    return *ret != NULL ? LK_OK : LK_ERR_NOMEM;
}

/* ---- the engine ---------------------------------------------------------------------------- */

static enum lk_err
pg_prepare(struct store_conn *base, const char *sql, struct sq **ret)
{
    struct pg_conn *c = (struct pg_conn *)base;
    struct pg_stmt *s = (struct pg_stmt *)calloc(1, sizeof(*s));
    enum lk_err err;

    if (s == NULL) {
        return LK_ERR_NOMEM;
    }
    if ((err = pg_spell(sql, &s->text)) != LK_OK) {
        free(s);
        return err;
    }
    (void)snprintf(s->name, sizeof(s->name), "s%u", c->stmts_made++); /* fits by its size */
    *ret = &s->base;
    return LK_OK;
}

static void
pg_reset(struct sq *q)
{
    struct pg_stmt *s = stmt_of(q);

    PQclear(s->result);
    s->result = NULL;
    s->params_count = 0;
}

/* A temporary statement leaves its name on the server until the connection ends. */
static void
pg_finalize(struct sq *q)
{
    struct pg_stmt *s = stmt_of(q);
    char text[sizeof(s->name) + sizeof("DEALLOCATE ")];

    pg_reset(q);
    if (q->temporary && s->prepared_on != NULL && s->prepared_on == conn_of(q)->pg) {
        (void)snprintf(text, sizeof(text), "DEALLOCATE %s", s->name);
        PQclear(PQexec(s->prepared_on, text)); /* inside a lost transaction it fails, and stays */
    }
    free(s->text);
    free(s);
}

static void
param_set(struct sq *q, int at, Oid type, const void *data, size_t len)
{
    struct pg_stmt *s = stmt_of(q);

    assert(at >= 1 && at <= PG_PARAMS_MAX && len <= INT32_MAX);
    s->types[at - 1] = type;
    s->values[at - 1] = (const char *)data;
    s->lengths[at - 1] = (int)len;
    s->params_count = at > s->params_count ? at : s->params_count;
}

static void
pg_bind_int(struct sq *q, int at, int64_t v)
{
    struct pg_stmt *s = stmt_of(q);

    assert(at >= 1 && at <= PG_PARAMS_MAX);
    s->ints[at - 1] = (int64_t)htobe64((uint64_t)v);
    param_set(q, at, PG_OID_INT8, &s->ints[at - 1], sizeof(s->ints[0]));
}

static void
pg_bind_text(struct sq *q, int at, const char *text)
{
    param_set(q, at, PG_OID_TEXT, text, strlen(text));
}

static void
pg_bind_blob(struct sq *q, int at, const void *data, size_t len)
{
    param_set(q, at, PG_OID_BYTEA, len > 0 ? data : "", len); /* a NULL pointer would mean NULL */
}

#define ARRAY_COUNT_AT 12u /* array_send(): dimensions, NULLs, type, count, first index */

enum lk_err
pg_array_begin(struct lk_buf *array, Oid element)
{
    const uint32_t head[] = {1, 0, element, 0, 1};
    enum lk_err err = LK_OK;

    for (size_t i = 0; i < LK_ARRAY_LEN(head) && err == LK_OK; i++) {
        err = lk_buf_put_u32(array, head[i]);
    }
    return err;
}

enum lk_err
pg_array_put(struct lk_buf *array, const void *data, size_t len)
{
    uint32_t count;
    enum lk_err err;

    if ((err = lk_buf_put_u32(array, (uint32_t)len)) != LK_OK ||
        (err = lk_buf_put(array, data, len)) != LK_OK) {
        return err;
    }
    memcpy(&count, array->data + ARRAY_COUNT_AT, sizeof(count));
    count = htobe32(be32toh(count) + 1);
    memcpy(array->data + ARRAY_COUNT_AT, &count, sizeof(count));
    return LK_OK;
}

void
pg_bind_array(struct sq *q, int at, Oid type, const struct lk_buf *array)
{
    param_set(q, at, type, array->data, array->len);
}

/* A statement is known by the types of its parameters, so this waits until they are bound. */
static enum lk_err
server_prepare(struct pg_conn *c, struct pg_stmt *s)
{
    PGresult *res;
    enum lk_err err = LK_OK;

    if (s->prepared_on == c->pg) {
        return LK_OK;
    }
    res = PQprepare(c->pg, s->name, s->text, s->params_count, s->types);
    if (PQresultStatus(res) != PGRES_COMMAND_OK) {
        err = pg_fail(c, res, "prepare");
    } else {
        s->prepared_on = c->pg;
    }
    PQclear(res);
    return err;
}

static enum lk_err
execute(struct pg_conn *c, struct pg_stmt *s)
{
    static const int binary[PG_PARAMS_MAX] = {
        1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
        1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    };
    enum lk_err err;

    if (c->pg == NULL) {
        return pg_fail(c, NULL, "execute");
    }
    if ((err = server_prepare(c, s)) != LK_OK) {
        return err;
    }
    s->result = PQexecPrepared(c->pg, s->name, s->params_count, s->values, s->lengths, binary, 1);
    switch (PQresultStatus(s->result)) {
    case PGRES_TUPLES_OK:
        s->rows = PQntuples(s->result);
        break;
    case PGRES_COMMAND_OK:
        s->rows = 0;
        break;
    default:
        return pg_fail(c, s->result, "execute");
    }
    s->row = -1;
    return LK_OK;
}

static enum lk_err
pg_step(struct sq *q)
{
    struct pg_stmt *s = stmt_of(q);
    enum lk_err err;

    if (s->result == NULL && (err = execute(conn_of(q), s)) != LK_OK) {
        return err;
    }
    if (s->row + 1 >= s->rows) {
        return LK_ERR_NOT_FOUND;
    }
    s->row++;
    return LK_OK;
}

static int
pg_changed(struct sq *q)
{
    return (int)strtol(PQcmdTuples(stmt_of(q)->result), NULL, 10); /* "" for none */
}

static int64_t
pg_column_int(struct sq *q, int at)
{
    const struct pg_stmt *s = stmt_of(q);
    uint64_t v = 0;

    if (PQgetisnull(s->result, s->row, at) != 0 ||
        PQgetlength(s->result, s->row, at) != (int)sizeof(v)) {
        sq_corrupt(q); /* every integer of the schema is a BIGINT NOT NULL */
        return 0;
    }
    memcpy(&v, PQgetvalue(s->result, s->row, at), sizeof(v));
    return (int64_t)be64toh(v);
}

static const void *
pg_column_bytes(struct sq *q, int at, size_t *ret_len)
{
    const struct pg_stmt *s = stmt_of(q);
    int len = PQgetlength(s->result, s->row, at);

    *ret_len = len > 0 ? (size_t)len : 0;
    return len > 0 ? PQgetvalue(s->result, s->row, at) : NULL;
}

const struct sq_engine pg_engine = {
    .prepare = pg_prepare,
    .finalize = pg_finalize,
    .reset = pg_reset,
    .bind_int = pg_bind_int,
    .bind_text = pg_bind_text,
    .bind_blob = pg_bind_blob,
    .step = pg_step,
    .changed = pg_changed,
    .column_int = pg_column_int,
    .column_bytes = pg_column_bytes,
    .stage = pg_stage,
    .drop = pg_drop,
};
