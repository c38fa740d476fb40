/* Enrollments: one row each, and one in enrollment_ek for each key that it accepts. */
#include "store/sqlite_int.h"

#include <string.h>

#define HUBS_TEXT_CAP (LK_HUBS_PER_ENROLLMENT * (LK_HOST_NAME_MAX + 1u) + 1u)

/* ---- Columns ----------------------------------------------------------------------------------
 */

static enum lk_err
hubs_join(const struct lk_enrollment *e, struct lk_buf *ret)
{
    enum lk_err err;

    for (size_t i = 0; i < e->hubs_count; i++) {
        if ((i > 0 && (err = lk_buf_puts(ret, " ")) != LK_OK) ||
            (err = lk_buf_puts(ret, e->hubs[i])) != LK_OK) {
            return err;
        }
    }
    return LK_OK;
}

static void
hubs_read(struct sq *q, int at, struct lk_enrollment *e)
{
    char text[HUBS_TEXT_CAP];
    char *rest = NULL;

    sq_text(q, at, text, sizeof(text));
    for (char *name = strtok_r(text, " ", &rest); name != NULL; name = strtok_r(NULL, " ", &rest)) {
        if (e->hubs_count == LK_HUBS_PER_ENROLLMENT ||
            lk_strcpy(e->hubs[e->hubs_count], sizeof(e->hubs[0]), name) != LK_OK) {
            sq_corrupt(q);
            return;
        }
        e->hubs_count++;
    }
}

#define ENROLLMENT_COLUMNS                                                                         \
    "e.scope, e.id, e.device_id, e.enabled, e.allocation, e.update_hub, e.migrate, e.hubs, "       \
    "e.eks, e.initial_twin, e.etag, e.created_ms, e.updated_ms, e.import_id, e.import_line"

/* e is freshly initialised. */
static enum lk_err
enrollment_read(struct sq *q, struct lk_enrollment *e)
{
    sq_text(q, 0, e->scope, sizeof(e->scope));
    sq_text(q, 1, e->id, sizeof(e->id));
    sq_text(q, 2, e->device_id, sizeof(e->device_id));
    e->enabled = sq_int(q, 3) != 0;
    e->allocation = (enum lk_allocation)sq_int(q, 4);
    e->reprovision_update_hub = sq_int(q, 5) != 0;
    e->reprovision_migrate = sq_int(q, 6) != 0;
    hubs_read(q, 7, e);
    sq_eks_read(q, 8, e);
    sq_buf(q, 9, &e->initial_twin);
    sq_text(q, 10, e->etag, sizeof(e->etag));
    e->created_ms = sq_int(q, 11);
    e->updated_ms = sq_int(q, 12);
    e->import_id = sq_int(q, 13);
    e->import_line = sq_int(q, 14);
    return q->err;
}

/* The columns that a replacement changes, as parameters 3 to 13. */
static void
enrollment_bind(struct sq *q, const struct lk_enrollment *e, const char *hubs,
                const struct lk_buf *eks)
{
    sq_bind_text(q, 3, e->id);
    sq_bind_text(q, 4, e->device_id);
    sq_bind_int(q, 5, e->enabled);
    sq_bind_int(q, 6, e->allocation);
    sq_bind_int(q, 7, e->reprovision_update_hub);
    sq_bind_int(q, 8, e->reprovision_migrate);
    sq_bind_text(q, 9, hubs);
    sq_bind_blob(q, 10, eks->data, eks->len);
    sq_bind_blob(q, 11, e->initial_twin.data, e->initial_twin.len);
    sq_bind_text(q, 12, e->etag);
    sq_bind_int(q, 13, e->updated_ms);
}

/* ---- Enrollments ------------------------------------------------------------------------------
 */

enum lk_err
sq_enrollment_insert(struct lk_txn *tx, const struct store_key *key, const struct lk_enrollment *e,
                     struct lk_conflict *conflict)
{
    static const char sql[] =
        "INSERT INTO enrollment (scope, lower_id, id, device_id, enabled, allocation, update_hub,"
        " migrate, hubs, eks, initial_twin, etag, updated_ms, created_ms, import_id, import_line)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";
    LK_AUTO_BUF struct lk_buf eks = {.max = SQ_EKS_PACKED_MAX}, hubs = {.max = HUBS_TEXT_CAP};
    LK_AUTO(sq) struct sq *q = NULL;
    const char *hubs_text;
    enum lk_err err;

    if ((err = sq_conflict_by_id(tx, e->scope, key, conflict)) != LK_OK ||
        (err = sq_conflict_by_ek(tx, e, 0, conflict)) != LK_OK ||
        (err = sq_eks_pack(e, &eks)) != LK_OK || (err = hubs_join(e, &hubs)) != LK_OK ||
        (err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    if ((hubs_text = lk_buf_text(&hubs)) == NULL) {
        return LK_ERR_NOMEM;
    }
    sq_bind_text(q, 1, e->scope);
    sq_bind_text(q, 2, key->text);
    enrollment_bind(q, e, hubs_text, &eks);
    sq_bind_int(q, 14, e->created_ms);
    sq_bind_int(q, 15, e->import_id);
    sq_bind_int(q, 16, e->import_line);
    if ((err = sq_run(q)) != LK_OK) {
        return err;
    }
    return sq_eks_insert(tx, e, sqlite3_last_insert_rowid(tx->conn->db));
}

/* What a change needs to know of the live row that it is about. */
struct enrollment_row {
    int64_t nr, created_ms, import_id, import_line;
    char etag[LK_ETAG_CAP];
    struct lk_buf eks;
};

static void
row_fini(struct enrollment_row *row)
{
    lk_buf_fini(&row->eks);
}
#define AUTO_ROW __attribute__((cleanup(row_fini)))

static enum lk_err
row_find(struct lk_txn *tx, const char *scope, const struct store_key *key, const char *etag,
         struct enrollment_row *ret)
{
    static const char sql[] =
        "SELECT e.nr, e.created_ms, e.import_id, e.import_line, e.etag, e.eks FROM enrollment e"
        " WHERE e.scope = ?1 AND e.lower_id = ?2 AND " SQ_LIVE;
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, scope);
    sq_bind_text(q, 2, key->text);
    if ((err = sq_step(q)) != LK_OK) {
        return err;
    }
    ret->nr = sq_int(q, 0);
    ret->created_ms = sq_int(q, 1);
    ret->import_id = sq_int(q, 2);
    ret->import_line = sq_int(q, 3);
    sq_text(q, 4, ret->etag, sizeof(ret->etag));
    sq_buf(q, 5, &ret->eks);
    if (q->err != LK_OK) {
        return q->err;
    }
    return etag == NULL || strcmp(etag, "*") == 0 || strcmp(etag, ret->etag) == 0
               ? LK_OK
               : LK_ERR_PRECONDITION;
}

static enum lk_err
row_update(struct lk_txn *tx, int64_t nr, const struct lk_enrollment *e)
{
    static const char sql[] =
        "UPDATE enrollment SET id = ?3, device_id = ?4, enabled = ?5, allocation = ?6,"
        " update_hub = ?7, migrate = ?8, hubs = ?9, eks = ?10, initial_twin = ?11, etag = ?12,"
        " updated_ms = ?13 WHERE nr = ?1";
    LK_AUTO_BUF struct lk_buf eks = {.max = SQ_EKS_PACKED_MAX}, hubs = {.max = HUBS_TEXT_CAP};
    LK_AUTO(sq) struct sq *q = NULL;
    const char *hubs_text;
    enum lk_err err;

    if ((err = sq_eks_pack(e, &eks)) != LK_OK || (err = hubs_join(e, &hubs)) != LK_OK ||
        (err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    if ((hubs_text = lk_buf_text(&hubs)) == NULL) {
        return LK_ERR_NOMEM;
    }
    sq_bind_int(q, 1, nr);
    enrollment_bind(q, e, hubs_text, &eks);
    return sq_run(q);
}

enum lk_err
sq_enrollment_replace(struct lk_txn *tx, const struct store_key *key, struct lk_enrollment *e,
                      const char *etag, struct lk_conflict *conflict)
{
    AUTO_ROW struct enrollment_row row = {0};
    enum lk_err err;

    if ((err = row_find(tx, e->scope, key, etag, &row)) != LK_OK ||
        (err = sq_conflict_by_ek(tx, e, row.nr, conflict)) != LK_OK ||
        (err = sq_eks_delete(tx, e->scope, &row.eks)) != LK_OK ||
        (err = sq_eks_insert(tx, e, row.nr)) != LK_OK ||
        (err = row_update(tx, row.nr, e)) != LK_OK) {
        return err;
    }
    e->created_ms = row.created_ms;
    e->import_id = row.import_id;
    e->import_line = row.import_line;
    return LK_OK;
}

enum lk_err
sq_enrollment_remove(struct lk_txn *tx, int64_t nr, const char *scope, const struct lk_buf *packed)
{
    static const char sql[] = "DELETE FROM enrollment WHERE nr = ?1";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_eks_delete(tx, scope, packed)) != LK_OK ||
        (err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_int(q, 1, nr);
    return sq_run(q);
}

enum lk_err
sq_enrollment_delete(struct lk_txn *tx, const char *scope, const struct store_key *key,
                     const char *etag)
{
    AUTO_ROW struct enrollment_row row = {0};
    enum lk_err err = row_find(tx, scope, key, etag, &row);

    return err != LK_OK ? err : sq_enrollment_remove(tx, row.nr, scope, &row.eks);
}

enum lk_err
sq_enrollment_get(struct lk_txn *tx, const char *scope, const struct store_key *key,
                  struct lk_enrollment *ret)
{
    static const char sql[] = "SELECT " ENROLLMENT_COLUMNS " FROM enrollment e"
                              " WHERE e.scope = ?1 AND e.lower_id = ?2 AND " SQ_LIVE;
    LK_AUTO(sq) struct sq *q = NULL;
    struct lk_enrollment e;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, scope);
    sq_bind_text(q, 2, key->text);
    if ((err = sq_step(q)) != LK_OK) {
        return err;
    }
    lk_enrollment_init(&e);
    if ((err = enrollment_read(q, &e)) != LK_OK) {
        lk_enrollment_fini(&e);
        return err;
    }
    lk_enrollment_fini(ret);
    *ret = e;
    return LK_OK;
}

enum lk_err
sq_enrollment_by_ek(struct lk_txn *tx, const char *scope, const uint8_t ek_id[LK_EK_ID_LEN],
                    char ret_id[LK_REGISTRATION_ID_MAX + 1])
{
    static const char sql[] = "SELECT e.id FROM enrollment_ek k"
                              " JOIN enrollment e ON e.nr = k.enrollment_nr"
                              " WHERE k.scope = ?1 AND k.ek_id = ?2 AND " SQ_LIVE;
    char id[LK_REGISTRATION_ID_MAX + 1];
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, scope);
    sq_bind_blob(q, 2, ek_id, LK_EK_ID_LEN);
    if ((err = sq_step(q)) != LK_OK) {
        return err;
    }
    sq_text(q, 0, id, sizeof(id));
    if (q->err == LK_OK) {
        memcpy(ret_id, id, sizeof(id));
    }
    return q->err;
}

/* Read the row that q stands on and hand it over. */
static enum lk_err
enrollment_visit(struct sq *q, enum lk_err (*each)(void *, const struct lk_enrollment *), void *ctx)
{
    struct lk_enrollment e;
    enum lk_err err;

    lk_enrollment_init(&e);
    err = enrollment_read(q, &e);
    if (err == LK_OK) {
        err = each(ctx, &e);
    }
    lk_enrollment_fini(&e);
    return err;
}

enum lk_err
sq_enrollment_page(struct lk_txn *tx, const char *scope, const struct store_key *after,
                   size_t limit, enum lk_err (*each)(void *, const struct lk_enrollment *),
                   void *ctx)
{
    static const char sql[] =
        "SELECT " ENROLLMENT_COLUMNS " FROM enrollment e"
        " WHERE e.scope = ?1 AND e.lower_id > ?2 AND " SQ_LIVE " ORDER BY e.lower_id LIMIT ?3";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, scope);
    sq_bind_text(q, 2, after->text);
    sq_bind_int(q, 3, (int64_t)limit);
    while ((err = sq_step(q)) == LK_OK) {
        if ((err = enrollment_visit(q, each, ctx)) != LK_OK) {
            return err;
        }
    }
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

/* Counts the narrow index, and takes off what is staged: no enrollment is read. */
enum lk_err
sq_enrollment_count(struct lk_txn *tx, const char *scope, int64_t *ret)
{
    static const char sql[] =
        "SELECT (SELECT count(*) FROM enrollment WHERE scope = ?1)"
        " - (SELECT coalesce(sum(row_count), 0) FROM import WHERE scope = ?1 AND state <> 1)";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, scope);
    if ((err = sq_step(q)) != LK_OK) {
        return err;
    }
    *ret = sq_int(q, 0);
    return LK_OK;
}
