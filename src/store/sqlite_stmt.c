/* Statements of a SQLite connection. */
#include "store/sqlite_int.h"

#include <stdlib.h>

#include "base/metrics.h"

struct sqlite_stmt {
    struct sq base;
    sqlite3_stmt *handle;
};

static sqlite3_stmt *
handle_of(struct sq *q)
{
    return ((struct sqlite_stmt *)q)->handle;
}

static struct sqlite_conn *
conn_of(const struct sq *q)
{
    return (struct sqlite_conn *)q->c;
}

enum lk_err
sqlite_fail(struct sqlite_conn *c, int rc, const char *what)
{
    c->base.broken = true;
    store_error_set("%s: %s (%d)", what, c->db != NULL ? sqlite3_errmsg(c->db) : "", rc);
    lk_metric_add(LK_M_STORE_ERRORS, 1);
    switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return LK_ERR_BUSY;
    case SQLITE_NOMEM:
        return LK_ERR_NOMEM;
    default:
        return LK_ERR_STORE;
    }
}

static enum lk_err
stmt_prepare(struct store_conn *base, const char *sql, struct sq **ret)
{
    struct sqlite_conn *c = (struct sqlite_conn *)base;
    struct sqlite_stmt *s = (struct sqlite_stmt *)calloc(1, sizeof(*s));
    int rc;

    if (s == NULL) {
        return LK_ERR_NOMEM;
    }
    rc = sqlite3_prepare_v3(c->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &s->handle, NULL);
    if (rc != SQLITE_OK) {
        free(s);
        return sqlite_fail(c, rc, "prepare");
    }
    *ret = &s->base;
    return LK_OK;
}

static void
stmt_finalize(struct sq *q)
{
    (void)sqlite3_finalize(handle_of(q)); /* repeats an error that step returned */
    free(q);
}

static void
stmt_reset(struct sq *q)
{
    (void)sqlite3_reset(handle_of(q)); /* likewise */
    (void)sqlite3_clear_bindings(handle_of(q));
}

static void
bound(struct sq *q, int rc)
{
    if (rc != SQLITE_OK && q->err == LK_OK) {
        q->err = sqlite_fail(conn_of(q), rc, "bind");
    }
}

static void
stmt_bind_int(struct sq *q, int at, int64_t v)
{
    bound(q, sqlite3_bind_int64(handle_of(q), at, v));
}

static void
stmt_bind_text(struct sq *q, int at, const char *text)
{
    bound(q, sqlite3_bind_text(handle_of(q), at, text, -1, SQLITE_STATIC));
}

static void
stmt_bind_blob(struct sq *q, int at, const void *data, size_t len)
{
    /* A NULL pointer would bind NULL instead of nothing. */
    bound(q, sqlite3_bind_blob64(handle_of(q), at, len > 0 ? data : "", len, SQLITE_STATIC));
}

static enum lk_err
stmt_step(struct sq *q)
{
    int rc = sqlite3_step(handle_of(q));

    return rc == SQLITE_ROW    ? LK_OK
           : rc == SQLITE_DONE ? LK_ERR_NOT_FOUND
                               : sqlite_fail(conn_of(q), rc, "step");
}

static int
stmt_changed(struct sq *q)
{
    return sqlite3_changes(conn_of(q)->db);
}

static int64_t
stmt_column_int(struct sq *q, int at)
{
    return sqlite3_column_int64(handle_of(q), at);
}

static const void *
stmt_column_bytes(struct sq *q, int at, size_t *ret_len)
{
    const void *data = sqlite3_column_blob(handle_of(q), at);

    *ret_len = data != NULL ? (size_t)sqlite3_column_bytes(handle_of(q), at) : 0;
    return *ret_len > 0 ? data : NULL;
}

const struct sq_engine sqlite_engine = {
    .prepare = stmt_prepare,
    .finalize = stmt_finalize,
    .reset = stmt_reset,
    .bind_int = stmt_bind_int,
    .bind_text = stmt_bind_text,
    .bind_blob = stmt_bind_blob,
    .step = stmt_step,
    .changed = stmt_changed,
    .column_int = stmt_column_int,
    .column_bytes = stmt_column_bytes,
    .stage = sq_stage,
};
