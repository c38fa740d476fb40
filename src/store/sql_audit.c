/* Rows of the audit chain. */
#include "store/sql_int.h"

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

/* A whole text column into a; *ours turns false when it is none that we wrote. */
static const char *
column_text(struct sq *q, int at, char *buf, size_t cap, bool *ours)
{
    size_t len;
    const char *text = (const char *)sq_bytes(q, at, &len);

    if (len >= cap || (text != NULL && memchr(text, '\0', len) != NULL)) {
        *ours = false;
        len = 0;
    }
    if (len > 0) {
        memcpy(buf, text, len);
    }
    buf[len] = '\0';
    return buf;
}

/* Room for the texts of a record. */
struct audit_texts {
    char actor[STORE_AUDIT_ACTOR_MAX + 1], action[STORE_AUDIT_ACTION_MAX + 1];
    char scope[LK_ID_SCOPE_MAX + 1], subject[STORE_AUDIT_SUBJECT_MAX + 1];
    char detail[LK_AUDIT_DETAIL_MAX + 1];
};

/* A row that we cannot have written is shown with a hash that fits no record. */
static void
audit_read(struct sq *q, struct audit_texts *t, struct lk_audit *a)
{
    const void *hash;
    size_t len;
    bool ours = true;

    a->seq = sq_int(q, 0);
    a->time_ms = sq_int(q, 1);
    a->actor = column_text(q, 2, t->actor, sizeof(t->actor), &ours);
    a->action = column_text(q, 3, t->action, sizeof(t->action), &ours);
    a->scope = column_text(q, 4, t->scope, sizeof(t->scope), &ours);
    a->subject = column_text(q, 5, t->subject, sizeof(t->subject), &ours);
    a->detail = column_text(q, 6, t->detail, sizeof(t->detail), &ours);
    memset(a->hash, 0, sizeof(a->hash));
    hash = sq_bytes(q, 7, &len);
    if (ours && hash != NULL && len == sizeof(a->hash)) {
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
    struct audit_texts texts;
    struct lk_audit a;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_int(q, 1, after_seq);
    sq_bind_int(q, 2, (int64_t)limit);
    while ((err = sq_step(q)) == LK_OK) {
        audit_read(q, &texts, &a);
        if ((err = each(ctx, &a)) != LK_OK) {
            return err;
        }
    }
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}
