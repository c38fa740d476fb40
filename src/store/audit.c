/* The audit chain: each record's hash covers the one before it. The same over every backend. */
#include "store/sql_int.h"

#include <string.h>

#include "base/codec.h"

/* One record's fields as they are hashed: a text's length is part of the message. */
#define AUDIT_FIELDS_MAX                                                                           \
    (16u + 5u * 4u + STORE_AUDIT_ACTOR_MAX + STORE_AUDIT_ACTION_MAX + LK_ID_SCOPE_MAX +            \
     STORE_AUDIT_SUBJECT_MAX + LK_AUDIT_DETAIL_MAX)

static enum lk_err
put_text(struct lk_buf *b, const char *text)
{
    enum lk_err err = lk_buf_put_u32(b, (uint32_t)strnlen(text, UINT32_MAX));

    return err != LK_OK ? err : lk_buf_puts(b, text);
}

/* HMAC-SHA256(key, prev || seq || time || text fields). LK_ERR_LIMIT: no record that we wrote. */
static enum lk_err
record_hash(const struct lk_txn *tx, const uint8_t prev[32], const struct lk_audit *a,
            uint8_t ret[32])
{
    LK_AUTO_BUF struct lk_buf fields = {.max = AUDIT_FIELDS_MAX};
    struct lk_part parts[2] = {LK_PART(prev, 32)};
    enum lk_err err;

    if ((err = lk_buf_put_u64(&fields, (uint64_t)a->seq)) != LK_OK ||
        (err = lk_buf_put_u64(&fields, (uint64_t)a->time_ms)) != LK_OK ||
        (err = put_text(&fields, a->actor)) != LK_OK ||
        (err = put_text(&fields, a->action)) != LK_OK ||
        (err = put_text(&fields, a->scope)) != LK_OK ||
        (err = put_text(&fields, a->subject)) != LK_OK ||
        (err = put_text(&fields, a->detail)) != LK_OK) {
        return err;
    }
    parts[1] = LK_PART(fields.data, fields.len);
    return lk_hmac(LK_SHA256, tx->store->audit_key, LK_AUDIT_KEY_LEN, parts, 2, ret);
}

/* A byte that is no text becomes U+FFFD: a database may take nothing else. */
const char *
store_text_cut(const char *text, char *buf, size_t cap)
{
    static const char replacement[] = "\xef\xbf\xbd";
    const uint8_t *p = (const uint8_t *)text;
    size_t left = strnlen(text, cap + 3), used = 0;

    while (left > 0) {
        uint32_t cp;
        size_t len = lk_utf8_next(p, left, &cp), step = len > 0 ? len : 1;
        const void *from = len > 0 ? (const void *)p : replacement;
        size_t put = len > 0 ? len : sizeof(replacement) - 1;

        if (used + put >= cap) {
            break;
        }
        memcpy(buf + used, from, put);
        used += put;
        p += step;
        left -= step;
    }
    buf[used] = '\0';
    return buf;
}

enum lk_err
lk_txn_audit_append(struct lk_txn *tx, const char *actor, const char *action, const char *scope,
                    const char *subject, const char *detail)
{
    char actor_buf[STORE_AUDIT_ACTOR_MAX + 1], action_buf[STORE_AUDIT_ACTION_MAX + 1];
    char scope_buf[LK_ID_SCOPE_MAX + 1], subject_buf[STORE_AUDIT_SUBJECT_MAX + 1];
    struct lk_audit a = {.time_ms = tx->now_ms, .detail = detail};
    struct lk_audit_cursor head;
    enum lk_err err;

    if (!tx->writable) {
        return LK_ERR_ARG;
    }
    if (strnlen(detail, LK_AUDIT_DETAIL_MAX + 1) > LK_AUDIT_DETAIL_MAX) {
        return LK_ERR_LIMIT;
    }
    a.actor = store_text_cut(actor, actor_buf, sizeof(actor_buf));
    a.action = store_text_cut(action, action_buf, sizeof(action_buf));
    a.scope = store_text_cut(scope, scope_buf, sizeof(scope_buf));
    a.subject = store_text_cut(subject, subject_buf, sizeof(subject_buf));
    if ((err = sq_audit_head(tx, &head)) != LK_OK) {
        return err;
    }
    a.seq = head.seq + 1;
    if ((err = record_hash(tx, head.hash, &a, a.hash)) != LK_OK) {
        return err;
    }
    return sq_audit_insert(tx, &a);
}

enum lk_err
lk_txn_audit_page(struct lk_txn *tx, int64_t after_seq, size_t limit,
                  enum lk_err (*each)(void *, const struct lk_audit *), void *ctx)
{
    return sq_audit_page(tx, after_seq, limit, each, ctx);
}

struct verify {
    struct lk_txn *tx;
    struct lk_audit_cursor *cursor;
    size_t seen;
};

/* The record that the cursor stands on must still be there, with the hash that was kept. */
static enum lk_err
verify_start(void *ctx, const struct lk_audit *a)
{
    struct verify *v = (struct verify *)ctx;

    v->seen++;
    return a->seq == v->cursor->seq && lk_ct_equal(a->hash, v->cursor->hash, 32) ? LK_OK
                                                                                 : LK_ERR_REFUSED;
}

static enum lk_err
verify_one(void *ctx, const struct lk_audit *a)
{
    struct verify *v = (struct verify *)ctx;
    uint8_t want[32];
    enum lk_err err;

    v->seen++;
    v->cursor->seq++;
    if (a->seq != v->cursor->seq) {
        return LK_ERR_REFUSED;
    }
    if ((err = record_hash(v->tx, v->cursor->hash, a, want)) != LK_OK) {
        return err == LK_ERR_LIMIT ? LK_ERR_REFUSED : err;
    }
    if (!lk_ct_equal(want, a->hash, 32)) {
        return LK_ERR_REFUSED;
    }
    memcpy(v->cursor->hash, want, 32);
    return LK_OK;
}

enum lk_err
lk_txn_audit_verify(struct lk_txn *tx, struct lk_audit_cursor *cursor, size_t limit, bool *ret_more)
{
    struct verify v = {tx, cursor, 0};
    enum lk_err err;

    if (cursor->seq > 0) {
        err = sq_audit_page(tx, cursor->seq - 1, 1, verify_start, &v);
        if (err != LK_OK || v.seen == 0) {
            return err != LK_OK ? err : LK_ERR_REFUSED;
        }
        v.seen = 0;
    }
    if ((err = sq_audit_page(tx, cursor->seq, limit, verify_one, &v)) != LK_OK) {
        return err;
    }
    *ret_more = v.seen == limit;
    return LK_OK;
}
