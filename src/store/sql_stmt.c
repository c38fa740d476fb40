/* Statements whatever the engine: the cache of prepared ones, and how values are read. */
#include "store/sql_int.h"

#include <assert.h>
#include <string.h>

#include "base/metrics.h"

enum lk_err
sq_use(struct store_conn *c, const char *sql, struct sq **ret)
{
    struct sq *q = NULL;
    bool nested;
    enum lk_err err;

    for (size_t i = 0; i < c->stmts_count && q == NULL; i++) {
        q = c->stmts[i].sql == sql ? c->stmts[i].q : NULL;
    }
    /* Stepped further out (a callback asks the same): make another. */
    nested = q != NULL && q->in_use;
    if (q == NULL || nested) {
        assert(nested || c->stmts_count < SQ_STMTS_MAX);
        if ((err = c->engine->prepare(c, sql, &q)) != LK_OK) {
            return err;
        }
        q->sql = sql;
        q->c = c;
        q->temporary = nested;
        if (!nested) {
            c->stmts[c->stmts_count].sql = sql;
            c->stmts[c->stmts_count++].q = q;
        }
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
        q->c->engine->finalize(q);
        return;
    }
    q->c->engine->reset(q);
    q->in_use = false;
}

void
sq_cache_clear(struct store_conn *c)
{
    for (size_t i = 0; i < c->stmts_count; i++) {
        c->engine->finalize(c->stmts[i].q);
    }
    c->stmts_count = 0;
}

void
sq_bind_int(struct sq *q, int at, int64_t v)
{
    q->c->engine->bind_int(q, at, v);
}

void
sq_bind_text(struct sq *q, int at, const char *text)
{
    q->c->engine->bind_text(q, at, text);
}

void
sq_bind_blob(struct sq *q, int at, const void *data, size_t len)
{
    q->c->engine->bind_blob(q, at, data, len);
}

enum lk_err
sq_step(struct sq *q)
{
    enum lk_err err;

    if (q->err != LK_OK) {
        return q->err;
    }
    err = q->c->engine->step(q);
    if (err != LK_OK && err != LK_ERR_NOT_FOUND) {
        q->err = err;
    }
    return err;
}

enum lk_err
sq_run(struct sq *q)
{
    enum lk_err err = sq_step(q);

    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

enum lk_err
sq_change(struct sq *q, int *ret_rows)
{
    enum lk_err err = sq_run(q);

    if (err == LK_OK) {
        *ret_rows = q->c->engine->changed(q);
    }
    return err;
}

enum lk_err
sq_run_one(struct sq *q, enum lk_err none)
{
    int rows;
    enum lk_err err = sq_change(q, &rows);

    return err != LK_OK ? err : rows == 1 ? LK_OK : none;
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
    if (q->err == LK_OK) {
        q->c->broken = true;
        store_error_set("a stored row is damaged: %.100s", q->sql);
        lk_metric_add(LK_M_STORE_ERRORS, 1);
        q->err = LK_ERR_STORE;
    }
}

int64_t
sq_int(struct sq *q, int at)
{
    return q->c->engine->column_int(q, at);
}

const void *
sq_bytes(struct sq *q, int at, size_t *ret_len)
{
    return q->c->engine->column_bytes(q, at, ret_len);
}

void
sq_text(struct sq *q, int at, char *buf, size_t cap)
{
    size_t len;
    const char *text = (const char *)sq_bytes(q, at, &len);

    buf[0] = '\0';
    if (text == NULL) {
        return;
    }
    if (len >= cap || memchr(text, '\0', len) != NULL) {
        sq_corrupt(q);
        return;
    }
    memcpy(buf, text, len);
    buf[len] = '\0';
}

void
sq_blob(struct sq *q, int at, uint8_t *buf, size_t cap, size_t *ret_len)
{
    size_t len;
    const void *data = sq_bytes(q, at, &len);

    *ret_len = 0;
    if (data == NULL) {
        return;
    }
    if (len > cap) {
        sq_corrupt(q);
        return;
    }
    memcpy(buf, data, len);
    *ret_len = len;
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
    size_t len;
    const void *data = sq_bytes(q, at, &len);
    enum lk_err err;

    if (data != NULL && (err = lk_buf_put(ret, data, len)) != LK_OK && q->err == LK_OK) {
        q->err = err;
    }
}
