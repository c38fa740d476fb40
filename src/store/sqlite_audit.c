/* Rows of the audit chain. */
#include "store/sqlite_int.h"

#include <string.h>

enum lk_err
sq_audit_head(struct lk_txn *tx, struct lk_audit_cursor *ret)
{
    static const char sql[] = "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1";
    struct lk_audit_cursor head = {0};
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    err = sq_step(q);
    if (err == LK_OK) {
        head.seq = sq_int(q, 0);
        sq_blob_exact(q, 1, head.hash, sizeof(head.hash));
        err = q->err;
    }
    if (err != LK_OK && err != LK_ERR_NOT_FOUND) {
        return err;
    }
    *ret = head;
    return LK_OK;
}

enum lk_err
sq_audit_insert(struct lk_txn *tx, const struct lk_audit *a)
{
    static const char sql[] =
        "INSERT INTO audit (seq, time_ms, actor, action, scope, subject, detail, hash)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_int(q, 1, a->seq);
    sq_bind_int(q, 2, a->time_ms);
    sq_bind_text(q, 3, a->actor);
    sq_bind_text(q, 4, a->action);
    sq_bind_text(q, 5, a->scope);
    sq_bind_text(q, 6, a->subject);
    sq_bind_text(q, 7, a->detail);
    sq_bind_blob(q, 8, a->hash, sizeof(a->hash));
    return sq_run(q);
}

/* A whole text column; *ours turns false when bytes hide behind a NUL. */
static const char *
column_text(struct sq *q, int at, bool *ours)
{
    const char *text = (const char *)sqlite3_column_text(q->handle, at);

    if (text == NULL || strlen(text) != (size_t)sqlite3_column_bytes(q->handle, at)) {
        *ours = false;
        return "";
    }
    return text;
}

/* A row that we cannot have written is shown with a hash that fits no record. */
static void
audit_read(struct sq *q, struct lk_audit *a)
{
    const void *hash;
    bool ours = true;

    a->seq = sq_int(q, 0);
    a->time_ms = sq_int(q, 1);
    a->actor = column_text(q, 2, &ours);
    a->action = column_text(q, 3, &ours);
    a->scope = column_text(q, 4, &ours);
    a->subject = column_text(q, 5, &ours);
    a->detail = column_text(q, 6, &ours);
    memset(a->hash, 0, sizeof(a->hash));
    hash = sqlite3_column_blob(q->handle, 7);
    if (ours && hash != NULL && sqlite3_column_bytes(q->handle, 7) == (int)sizeof(a->hash)) {
        memcpy(a->hash, hash, sizeof(a->hash));
    }
}

enum lk_err
sq_audit_page(struct lk_txn *tx, int64_t after_seq, size_t limit,
              enum lk_err (*each)(void *, const struct lk_audit *), void *ctx)
{
    static const char sql[] = "SELECT seq, time_ms, actor, action, scope, subject, detail, hash"
                              " FROM audit WHERE seq > ?1 ORDER BY seq LIMIT ?2";
    LK_AUTO(sq) struct sq *q = NULL;
    struct lk_audit a;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_int(q, 1, after_seq);
    sq_bind_int(q, 2, (int64_t)limit);
    while ((err = sq_step(q)) == LK_OK) {
        audit_read(q, &a);
        if ((err = each(ctx, &a)) != LK_OK) {
            return err;
        }
    }
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}
