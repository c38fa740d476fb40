/*
 * A whole store into an empty one, of whatever backend: table by table in pages, in one transaction
 * of the target, where everything is read again and compared before it commits.
 */
#include "store/sql_int.h"

#include <inttypes.h>
#include <string.h>

#define COPY_PAGE 1000
#define COPY_COLUMNS_MAX 32u

/*
 * A table and its columns, each behind a letter for its type: (i)nteger, (t)ext, (b)lob. The first
 * keys of them are the key. What triggers count is counted
 * anew; they rest meanwhile, since each row would change a number.
 */
static const struct copy_table {
    const char *name;
    size_t keys;
    const char *columns;
} tables[] = {
    {"scope", 1, "tid tservice_host iallocation icreated_ms"},
    {"import", 1, "iid tscope tsource istate irow_count ibegun_ms itouched_ms igone"},
    {"enrollment", 1,
     "inr tscope tlower_id tid tdevice_id iattestation ienabled iallocation iupdate_hub imigrate "
     "thubs beks bsrk_pub ipin_srk bsealed_keys bcert_primary bcert_secondary binitial_twin "
     "bdevice_info iiot_edge twebhook_url twebhook_api_version tetag icreated_ms iupdated_ms "
     "iimport_id iimport_line ichanged"},
    {"enrollment_ek", 2, "tscope bek_id ienrollment_nr"},
    {"enrollment_group", 2,
     "tscope tlower_id tid iattestation ienabled iallocation iupdate_hub imigrate thubs ipin_srk "
     "bsealed_keys bcert_primary bcert_secondary brules binitial_twin bdevice_info iiot_edge "
     "twebhook_url twebhook_api_version tetag icreated_ms iupdated_ms"},
    {"registration", 2,
     "tscope tlower_id tid igeneration istatus isubstatus toperation_id thub tdevice_id bek_id "
     "bsrk_pub bsrk_name bauth_key btoken_hash inonce_key_id inonce_epoch inonce_generation "
     "iattested_ms icreated_ms iupdated_ms ierror_code terror_message tetag bpayload iattestation "
     "tgroup_id"},
    {"hub", 1, "tname ikind iweight iallocatable bsealed_connection tregion icreated_ms"},
    {"policy", 2, "tscope tname irights bsealed_primary bsealed_secondary icreated_ms iupdated_ms"},
    {"hub_policy", 2,
     "thub tname irights bsealed_primary bsealed_secondary icreated_ms iupdated_ms"},
    {"trust", 1, "bid ikind tsubject icreated_ms bder"},
    {"errand", 3,
     "ikind towner tname thub iversion itries ifailure icreated_ms idue_ms ideadline_ms bsealed"},
    {"identity", 1,
     "inr thub tdevice_id towner_scope towner_id tgeneration_id ienabled iauth bprimary_key "
     "bsecondary_key isecondary_retires tthumbprint_primary tthumbprint_secondary iiot_edge "
     "tstatus_reason istatus_updated_ms tetag icreated_ms iupdated_ms"},
    {"twin", 1,
     "iidentity_nr btags bdesired breported bdesired_meta breported_meta idesired_version "
     "ireported_version iversion tetag iupdated_ms"},
    {"presence", 2, "thub tdevice_id iconnected ichanged_ms iactivity_ms"},
    {"c2d", 1,
     "iseq thub tdevice_id ienqueued_ms iexpires_ms ilocked_until_ms tlock ideliveries "
     "bproperties bbody"},
    {"hub_event", 1, "iseq ikind thub tdevice_id bdetail"},
    {"audit", 1, "iseq itime_ms tactor taction tscope tsubject tdetail bhash"},
    {"audit_base", 1, "iseq bhash bmac"},
};

/* Tables of one row, which the schema made, less what triggers keep. */
static const struct copy_single {
    const char *read, *write;
    int columns;
} singles[] = {
    {"SELECT version FROM trust_version", "UPDATE trust_version SET version = ?1", 1},
    {"SELECT last, pruned FROM hub_event_mark", "UPDATE hub_event_mark SET last = ?1, pruned = ?2",
     2},
};

/* A connection's statements for a table; their texts must outlive its cache. */
struct copy_texts {
    struct lk_buf first, next, insert;
};

struct copy {
    struct store_conn *from, *to;
    struct copy_texts texts[LK_ARRAY_LEN(tables)];
    lk_store_copied_fn *progress;
    void *ctx;
};

/* One walk over a table. */
struct copy_walk {
    const struct copy_table *table;
    struct copy_texts *texts;
    struct store_conn *conn, *into; /* into NULL: only read */
    size_t columns;
    bool started;
    int64_t ints[COPY_COLUMNS_MAX]; /* the row before's key, and each row while it is written */
    struct lk_buf bytes[COPY_COLUMNS_MAX];
    struct lk_digester *digester;
    uint64_t rows;
};

static void
walk_fini(struct copy_walk *w)
{
    for (size_t i = 0; i < COPY_COLUMNS_MAX; i++) {
        lk_buf_fini(&w->bytes[i]);
    }
    lk_digester_free(w->digester);
}
#define AUTO_WALK __attribute__((cleanup(walk_fini)))

/* ---- texts --------------------------------------------------------------------------------- */

/* The next column of a list: its type, its name; false at the end. */
static bool
column_next(const char **list, char *ret_type, const char **ret_name, size_t *ret_len)
{
    const char *p = *list + strspn(*list, " ");

    if (*p == '\0') {
        return false;
    }
    *ret_type = *p;
    *ret_name = p + 1;
    *ret_len = strcspn(p + 1, " ");
    *list = *ret_name + *ret_len;
    return true;
}

/* "name, name" of the first count columns, or "?1, ?2" for as many. */
static enum lk_err
columns_put(const struct copy_table *t, size_t count, bool as_parameters, struct lk_buf *b)
{
    const char *list = t->columns, *name;
    size_t len, i = 0;
    enum lk_err err;
    char type;

    while (i < count && column_next(&list, &type, &name, &len)) {
        const char *comma = i++ > 0 ? ", " : "";

        err = as_parameters ? lk_buf_printf(b, "%s?%zu", comma, i)
                            : lk_buf_printf(b, "%s%.*s", comma, (int)len, name);
        if (err != LK_OK) {
            return err;
        }
    }
    return LK_OK;
}

static enum lk_err
select_make(const struct copy_table *t, bool first, struct lk_buf *b)
{
    enum lk_err err;

    if ((err = lk_buf_puts(b, "SELECT ")) != LK_OK ||
        (err = columns_put(t, COPY_COLUMNS_MAX, false, b)) != LK_OK ||
        (err = lk_buf_printf(b, " FROM %s", t->name)) != LK_OK) {
        return err;
    }
    if (!first && ((err = lk_buf_puts(b, " WHERE (")) != LK_OK ||
                   (err = columns_put(t, t->keys, false, b)) != LK_OK ||
                   (err = lk_buf_puts(b, ") > (")) != LK_OK ||
                   (err = columns_put(t, t->keys, true, b)) != LK_OK ||
                   (err = lk_buf_puts(b, ")")) != LK_OK)) {
        return err;
    }
    if ((err = lk_buf_puts(b, " ORDER BY ")) != LK_OK ||
        (err = columns_put(t, t->keys, false, b)) != LK_OK) {
        return err;
    }
    return lk_buf_printf(b, " LIMIT %d", COPY_PAGE);
}

static enum lk_err
texts_make(const struct copy_table *t, struct copy_texts *ret)
{
    enum lk_err err;

    if ((err = select_make(t, true, &ret->first)) != LK_OK ||
        (err = select_make(t, false, &ret->next)) != LK_OK ||
        (err = lk_buf_printf(&ret->insert, "INSERT INTO %s (", t->name)) != LK_OK ||
        (err = columns_put(t, COPY_COLUMNS_MAX, false, &ret->insert)) != LK_OK ||
        (err = lk_buf_puts(&ret->insert, ") VALUES (")) != LK_OK ||
        (err = columns_put(t, COPY_COLUMNS_MAX, true, &ret->insert)) != LK_OK ||
        (err = lk_buf_puts(&ret->insert, ")")) != LK_OK) {
        return err;
    }
    return lk_buf_text(&ret->first) == NULL || lk_buf_text(&ret->next) == NULL ||
                   lk_buf_text(&ret->insert) == NULL
               ? LK_ERR_NOMEM
               : LK_OK;
}

/* ---- rows ---------------------------------------------------------------------------------- */

/* The row that q stands on, into w. */
static enum lk_err
row_read(struct copy_walk *w, struct sq *q)
{
    const char *list = w->table->columns, *name;
    size_t len, at = 0;
    char type;

    while (column_next(&list, &type, &name, &len)) {
        if (type == 'i') {
            w->ints[at] = sq_int(q, (int)at);
        } else {
            lk_buf_reset(&w->bytes[at]);
            sq_buf(q, (int)at, &w->bytes[at]);
        }
        at++;
    }
    w->columns = at;
    return q->err;
}

static enum lk_err
values_bind(struct copy_walk *w, struct sq *q, size_t count)
{
    const char *list = w->table->columns, *name, *text;
    size_t len, at = 0;
    char type;

    while (at < count && column_next(&list, &type, &name, &len)) {
        struct lk_buf *b = &w->bytes[at];
        int parameter = (int)++at;

        if (type == 'i') {
            sq_bind_int(q, parameter, w->ints[at - 1]);
        } else if (type == 'b') {
            sq_bind_blob(q, parameter, b->data, b->len);
        } else if ((text = lk_buf_text(b)) == NULL) {
            return LK_ERR_NOMEM;
        } else if (strlen(text) != b->len) {
            store_error_set("%s: a text with a NUL inside", w->table->name);
            return LK_ERR_STORE;
        } else {
            sq_bind_text(q, parameter, text);
        }
    }
    return LK_OK;
}

/* Each value behind its length, so that no two rows look alike. */
static enum lk_err
row_digest(struct copy_walk *w)
{
    LK_AUTO_BUF struct lk_buf b = LK_BUF_INIT;
    const char *list = w->table->columns, *name;
    size_t len, at = 0;
    enum lk_err err;
    char type;

    while (column_next(&list, &type, &name, &len)) {
        const struct lk_buf *v = &w->bytes[at];

        err = type == 'i' ? lk_buf_put_u64(&b, (uint64_t)w->ints[at])
                          : lk_buf_put_u64(&b, (uint64_t)v->len);
        if (err == LK_OK && type != 'i' && v->len > 0) {
            err = lk_buf_put(&b, v->data, v->len);
        }
        if (err != LK_OK) {
            return err;
        }
        at++;
    }
    return lk_digester_put(w->digester, b.data, b.len);
}

static enum lk_err
row_write(struct copy_walk *w)
{
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(w->into, lk_buf_text(&w->texts->insert), &q)) != LK_OK ||
        (err = values_bind(w, q, COPY_COLUMNS_MAX)) != LK_OK) {
        return err;
    }
    return sq_run(q);
}

/* A page of rows behind the row before; LK_ERR_NOT_FOUND: there was none. */
static enum lk_err
page_walk(struct copy_walk *w)
{
    const char *sql = lk_buf_text(w->started ? &w->texts->next : &w->texts->first);
    LK_AUTO(sq) struct sq *q = NULL;
    struct copy_walk key = {.table = w->table};
    uint64_t before = w->rows;
    enum lk_err err;

    if ((err = sq_use(w->conn, sql, &q)) != LK_OK) {
        return err;
    }
    /* What is bound must stay while the rows come, and they come into w. */
    for (size_t i = 0; w->started && i < w->table->keys; i++) {
        key.ints[i] = w->ints[i];
        lk_buf_move(&key.bytes[i], &w->bytes[i]);
    }
    err = w->started ? values_bind(&key, q, w->table->keys) : LK_OK;
    while (err == LK_OK && (err = sq_step(q)) == LK_OK) {
        if ((err = row_read(w, q)) == LK_OK && (err = row_digest(w)) == LK_OK) {
            err = w->into != NULL ? row_write(w) : LK_OK;
        }
        w->rows++;
    }
    sq_release(sq_take(&q));
    walk_fini(&key);
    w->started = true;
    return err != LK_ERR_NOT_FOUND ? err : w->rows > before ? LK_OK : LK_ERR_NOT_FOUND;
}

/* ---- tables -------------------------------------------------------------------------------- */

static enum lk_err
table_walk(struct copy_walk *w, const struct copy *c, bool tell, uint8_t ret_digest[32])
{
    enum lk_err err = lk_digester_new(LK_SHA256, &w->digester);

    while (err == LK_OK && (err = page_walk(w)) == LK_OK) {
        if (tell && c->progress != NULL) {
            c->progress(c->ctx, w->table->name, w->rows);
        }
    }
    return err == LK_ERR_NOT_FOUND ? lk_digester_end(w->digester, ret_digest) : err;
}

static enum lk_err
table_copy(struct copy *c, size_t at)
{
    AUTO_WALK struct copy_walk source = {
        .table = &tables[at], .texts = &c->texts[at], .conn = c->from, .into = c->to};
    AUTO_WALK struct copy_walk copied = {
        .table = &tables[at], .texts = &c->texts[at], .conn = c->to};
    uint8_t want[32], have[32];
    enum lk_err err;

    if ((err = texts_make(&tables[at], &c->texts[at])) != LK_OK ||
        (err = table_walk(&source, c, true, want)) != LK_OK ||
        (err = table_walk(&copied, c, false, have)) != LK_OK) {
        return err;
    }
    if (source.rows != copied.rows || memcmp(want, have, sizeof(want)) != 0) {
        store_error_set("%s: %" PRIu64 " rows were read, %" PRIu64 " came back, and not the same",
                        tables[at].name, source.rows, copied.rows);
        return LK_ERR_STORE;
    }
    return LK_OK;
}

static enum lk_err
single_copy(struct copy *c, const struct copy_single *s)
{
    LK_AUTO(sq) struct sq *from = NULL;
    LK_AUTO(sq) struct sq *to = NULL;
    enum lk_err err;

    if ((err = sq_use(c->from, s->read, &from)) != LK_OK || (err = sq_step(from)) != LK_OK ||
        (err = sq_use(c->to, s->write, &to)) != LK_OK) {
        return err == LK_ERR_NOT_FOUND ? LK_ERR_STORE : err;
    }
    for (int i = 0; i < s->columns; i++) {
        sq_bind_int(to, i + 1, sq_int(from, i));
    }
    return from->err != LK_OK ? from->err : sq_run(to);
}

/* A store that somebody has used already is not written over. */
static enum lk_err
target_empty(struct store_conn *to)
{
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(to, "SELECT id FROM scope LIMIT 1", &q)) != LK_OK) {
        return err;
    }
    err = sq_step(q);
    if (err == LK_OK) {
        store_error_set("the target holds an ID scope already: expected an empty store");
    }
    return err == LK_OK ? LK_ERR_EXISTS : err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

static enum lk_err
everything_copy(struct copy *c, const struct store_ops *to_ops)
{
    enum lk_err err = target_empty(c->to);

    if (err == LK_OK) {
        err = to_ops->triggers(c->to, false);
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(tables) && err == LK_OK; i++) {
        err = table_copy(c, i);
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(singles) && err == LK_OK; i++) {
        err = single_copy(c, &singles[i]);
    }
    if (err == LK_OK && (err = sq_recount(c->to)) == LK_OK) {
        err = to_ops->triggers(c->to, true);
    }
    return err == LK_OK && to_ops->copied != NULL ? to_ops->copied(c->to) : err;
}

static enum lk_err
transactions_run(struct copy *c, const struct store_ops *from_ops, const struct store_ops *to_ops)
{
    enum lk_err err;

    if ((err = from_ops->begin(c->from)) != LK_OK) {
        return err;
    }
    if ((err = to_ops->begin(c->to)) == LK_OK) {
        err = everything_copy(c, to_ops);
        if (err == LK_OK) {
            err = to_ops->commit(c->to);
        } else {
            to_ops->rollback(c->to);
        }
    }
    from_ops->rollback(c->from); /* nothing was written */
    return err;
}

enum lk_err
lk_store_copy(struct lk_store *from, struct lk_store *to, lk_store_copied_fn *progress, void *ctx,
              char error[LK_STORE_ERROR_CAP])
{
    struct copy c = {.progress = progress, .ctx = ctx};
    enum lk_err err;

    store_error_set("%s", "");
    if ((err = from->ops->conn_open(from->db, false, &c.from)) == LK_OK &&
        (err = to->ops->conn_open(to->db, true, &c.to)) == LK_OK) {
        err = transactions_run(&c, from->ops, to->ops);
    }
    if (err != LK_OK) {
        memcpy(error, lk_store_error_text(), LK_STORE_ERROR_CAP);
    }
    if (c.to != NULL) {
        to->ops->conn_close(c.to);
    }
    if (c.from != NULL) {
        from->ops->conn_close(c.from);
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(tables); i++) {
        lk_buf_fini(&c.texts[i].first);
        lk_buf_fini(&c.texts[i].next);
        lk_buf_fini(&c.texts[i].insert);
    }
    return err;
}
