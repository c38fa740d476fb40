/* Statements of a SQLite connection: prepared once, bound, stepped, read. */
#include "store/sqlite_int.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/metrics.h"

enum lk_err
sq_fail(struct store_conn *c, int rc, const char *what)
{
    switch (rc) {
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY:
        return LK_ERR_EXISTS;
    case SQLITE_CONSTRAINT_FOREIGNKEY:
        return LK_ERR_NOT_FOUND;
    default:
        break;
    }
    c->broken = true;
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
stmt_prepare(struct store_conn *c, const char *sql, struct sq *q)
{
    unsigned flags = q->temporary ? 0 : SQLITE_PREPARE_PERSISTENT;
    int rc = sqlite3_prepare_v3(c->db, sql, -1, flags, &q->handle, NULL);

    if (rc != SQLITE_OK) {
        return sq_fail(c, rc, "prepare");
    }
    q->sql = sql;
    q->c = c;
    return LK_OK;
}

/* The cached statement is being stepped further out (a callback asks the same): make another. */
static enum lk_err
stmt_temporary(struct store_conn *c, const char *sql, struct sq **ret)
{
    struct sq *q = (struct sq *)calloc(1, sizeof(*q));
    enum lk_err err;

    if (q == NULL) {
        return LK_ERR_NOMEM;
    }
    q->temporary = true;
    if ((err = stmt_prepare(c, sql, q)) != LK_OK) {
        free(q);
        return err;
    }
    *ret = q;
    return LK_OK;
}

enum lk_err
sq_use(struct store_conn *c, const char *sql, struct sq **ret)
{
    struct sq *q = NULL;
    enum lk_err err;

    for (size_t i = 0; i < c->stmts_count && q == NULL; i++) {
        q = c->stmts[i].sql == sql ? &c->stmts[i] : NULL;
    }
    if (q != NULL && q->in_use) {
        return stmt_temporary(c, sql, ret);
    }
    if (q == NULL) {
        assert(c->stmts_count < SQ_STMTS_MAX);
        q = &c->stmts[c->stmts_count];
        if ((err = stmt_prepare(c, sql, q)) != LK_OK) {
            return err;
        }
        c->stmts_count++;
    }
    q->in_use = true;
    q->err = LK_OK;
    *ret = q;
    return LK_OK;
}

void
sq_release(struct sq *q)
{
    if (q->temporary) {
        (void)sqlite3_finalize(q->handle); /* repeats an error that sq_step() returned */
        free(q);
        return;
    }
    (void)sqlite3_reset(q->handle); /* likewise */
    (void)sqlite3_clear_bindings(q->handle);
    q->in_use = false;
}

void
sq_cache_clear(struct store_conn *c)
{
    for (size_t i = 0; i < c->stmts_count; i++) {
        (void)sqlite3_finalize(c->stmts[i].handle); /* repeats an old error */
    }
    c->stmts_count = 0;
}

static void
bound(struct sq *q, int rc)
{
    if (rc != SQLITE_OK && q->err == LK_OK) {
        q->err = sq_fail(q->c, rc, "bind");
    }
}

void
sq_bind_int(struct sq *q, int at, int64_t v)
{
    bound(q, sqlite3_bind_int64(q->handle, at, v));
}

void
sq_bind_text(struct sq *q, int at, const char *text)
{
    bound(q, sqlite3_bind_text(q->handle, at, text, -1, SQLITE_STATIC));
}

void
sq_bind_blob(struct sq *q, int at, const void *data, size_t len)
{
    /* A NULL pointer would bind NULL instead of nothing. */
    bound(q, sqlite3_bind_blob64(q->handle, at, len > 0 ? data : "", len, SQLITE_STATIC));
}

enum lk_err
sq_step(struct sq *q)
{
    int rc;

    if (q->err != LK_OK) {
        return q->err;
    }
    rc = sqlite3_step(q->handle);
    if (rc == SQLITE_ROW) {
        return LK_OK;
    }
    if (rc == SQLITE_DONE) {
        return LK_ERR_NOT_FOUND;
    }
    q->err = sq_fail(q->c, rc, "step");
    return q->err;
}

enum lk_err
sq_run(struct sq *q)
{
    enum lk_err err = sq_step(q);

    /* LK_ERR_NOT_FOUND is the end, unless it is a foreign key's. */
    return err == LK_ERR_NOT_FOUND && q->err == LK_OK ? LK_OK : err;
}

enum lk_err
sq_change(struct sq *q, int *ret_rows)
{
    enum lk_err err = sq_run(q);

    if (err == LK_OK) {
        *ret_rows = sqlite3_changes(q->c->db);
    }
    return err;
}

enum lk_err
sq_exec(struct store_conn *c, const char *sql)
{
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err = sq_use(c, sql, &q);

    return err != LK_OK ? err : sq_run(q);
}

void
sq_corrupt(struct sq *q)
{
    if (q->err == LK_OK || q->err == LK_ERR_EXISTS) {
        q->c->broken = true;
        store_error_set("a stored row is damaged: %.100s", q->sql);
        lk_metric_add(LK_M_STORE_ERRORS, 1);
        q->err = LK_ERR_STORE;
    }
}

int64_t
sq_int(struct sq *q, int at)
{
    return sqlite3_column_int64(q->handle, at);
}

void
sq_text(struct sq *q, int at, char *buf, size_t cap)
{
    const char *text = (const char *)sqlite3_column_text(q->handle, at);

    if (text == NULL || lk_strcpy(buf, cap, text) != LK_OK) {
        buf[0] = '\0';
        sq_corrupt(q);
    }
}

void
sq_blob(struct sq *q, int at, uint8_t *buf, size_t cap, size_t *ret_len)
{
    const void *data = sqlite3_column_blob(q->handle, at);
    size_t len = (size_t)sqlite3_column_bytes(q->handle, at);

    *ret_len = 0;
    if (len > cap) {
        sq_corrupt(q);
        return;
    }
    if (len > 0 && data != NULL) {
        memcpy(buf, data, len);
        *ret_len = len;
    }
}

void
sq_blob_exact(struct sq *q, int at, uint8_t *buf, size_t len)
{
    size_t got;

    sq_blob(q, at, buf, len, &got);
    if (got != len) {
        sq_corrupt(q);
    }
}

void
sq_buf(struct sq *q, int at, struct lk_buf *ret)
{
    const void *data = sqlite3_column_blob(q->handle, at);
    size_t len = (size_t)sqlite3_column_bytes(q->handle, at);
    enum lk_err err;

    if (len == 0 || data == NULL) {
        return;
    }
    if ((err = lk_buf_put(ret, data, len)) != LK_OK && q->err == LK_OK) {
        q->err = err;
    }
}
