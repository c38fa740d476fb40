/* Registrations. Unsigned 64-bit numbers are kept in SQLite's signed ones, bit for bit. */
#include "store/sql_int.h"

#include <string.h>

#define REGISTRATION_COLUMNS                                                                       \
    "scope, id, generation, status, substatus, operation_id, hub, device_id, ek_id, srk_pub, "     \
    "srk_name, auth_key, token_hash, nonce_key_id, nonce_epoch, nonce_generation, attested_ms, "   \
    "created_ms, updated_ms, error_code, error_message, etag, payload, attestation, group_id"

/* r is zeroed. */
static enum lk_err
registration_read(struct sq *q, struct lk_registration *r)
{
    sq_text(q, 0, r->scope, sizeof(r->scope));
    sq_text(q, 1, r->id, sizeof(r->id));
    r->generation = (uint64_t)sq_int(q, 2);
    r->status = (enum lk_reg_status)sq_int(q, 3);
    r->substatus = (int)sq_int(q, 4);
    sq_text(q, 5, r->operation_id, sizeof(r->operation_id));
    sq_text(q, 6, r->hub, sizeof(r->hub));
    sq_text(q, 7, r->device_id, sizeof(r->device_id));
    sq_blob_exact(q, 8, r->ek_id, sizeof(r->ek_id));
    sq_blob(q, 9, r->srk_pub, sizeof(r->srk_pub), &r->srk_pub_len);
    sq_blob(q, 10, r->srk_name, sizeof(r->srk_name), &r->srk_name_len);
    sq_blob(q, 11, r->auth_key, sizeof(r->auth_key), &r->auth_key_len);
    sq_blob_exact(q, 12, r->token_hash, sizeof(r->token_hash));
    r->nonce_key_id = (uint64_t)sq_int(q, 13);
    r->nonce_epoch = (uint64_t)sq_int(q, 14);
    r->nonce_generation = (uint64_t)sq_int(q, 15);
    r->attested_ms = sq_int(q, 16);
    r->created_ms = sq_int(q, 17);
    r->updated_ms = sq_int(q, 18);
    r->error_code = (int32_t)sq_int(q, 19);
    sq_text(q, 20, r->error_message, sizeof(r->error_message));
    sq_text(q, 21, r->etag, sizeof(r->etag));
    sq_buf(q, 22, &r->payload);
    r->attestation = (enum lk_attestation)sq_int(q, 23);
    sq_text(q, 24, r->group, sizeof(r->group));
    return q->err;
}

enum lk_err
sq_registration_get(struct lk_txn *tx, const char *scope, const struct store_key *key,
                    struct lk_registration *ret)
{
    static const char sql[] = "SELECT " REGISTRATION_COLUMNS " FROM registration"
                              " WHERE scope = ?1 AND lower_id = ?2";
    LK_AUTO(sq) struct sq *q = NULL;
    struct lk_registration r = {0};
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, scope);
    sq_bind_text(q, 2, key->text);
    if ((err = sq_step(q)) != LK_OK) {
        return err;
    }
    if ((err = registration_read(q, &r)) != LK_OK) {
        lk_registration_fini(&r);
        return err;
    }
    lk_registration_fini(ret);
    *ret = r;
    return LK_OK;
}

/* Parameters 1 to 27, for both statements below. */
static void
registration_bind(struct sq *q, const struct store_key *key, const struct lk_registration *r,
                  uint64_t expected_generation)
{
    sq_bind_text(q, 1, r->scope);
    sq_bind_text(q, 2, key->text);
    sq_bind_int(q, 3, (int64_t)expected_generation);
    sq_bind_text(q, 4, r->id);
    sq_bind_int(q, 5, (int64_t)r->generation);
    sq_bind_int(q, 6, r->status);
    sq_bind_int(q, 7, r->substatus);
    sq_bind_text(q, 8, r->operation_id);
    sq_bind_text(q, 9, r->hub);
    sq_bind_text(q, 10, r->device_id);
    sq_bind_blob(q, 11, r->ek_id, sizeof(r->ek_id));
    sq_bind_blob(q, 12, r->srk_pub, r->srk_pub_len);
    sq_bind_blob(q, 13, r->srk_name, r->srk_name_len);
    sq_bind_blob(q, 14, r->auth_key, r->auth_key_len);
    sq_bind_blob(q, 15, r->token_hash, sizeof(r->token_hash));
    sq_bind_int(q, 16, (int64_t)r->nonce_key_id);
    sq_bind_int(q, 17, (int64_t)r->nonce_epoch);
    sq_bind_int(q, 18, (int64_t)r->nonce_generation);
    sq_bind_int(q, 19, r->attested_ms);
    sq_bind_int(q, 20, r->created_ms);
    sq_bind_int(q, 21, r->updated_ms);
    sq_bind_int(q, 22, r->error_code);
    sq_bind_text(q, 23, r->error_message);
    sq_bind_text(q, 24, r->etag);
    sq_bind_blob(q, 25, r->payload.data, r->payload.len);
    sq_bind_int(q, 26, r->attestation);
    sq_bind_text(q, 27, r->group);
}

#define REGISTRATION_SET                                                                           \
    " SET id = ?4, generation = ?5, status = ?6, substatus = ?7, operation_id = ?8, hub = ?9,"     \
    " device_id = ?10, ek_id = ?11, srk_pub = ?12, srk_name = ?13, auth_key = ?14,"                \
    " token_hash = ?15, nonce_key_id = ?16, nonce_epoch = ?17, nonce_generation = ?18,"            \
    " attested_ms = ?19, created_ms = ?20, updated_ms = ?21, error_code = ?22,"                    \
    " error_message = ?23, etag = ?24, payload = ?25, attestation = ?26,"                          \
    " group_id = ?27"

enum lk_err
sq_registration_put(struct lk_txn *tx, const struct store_key *key, const struct lk_registration *r,
                    uint64_t expected_generation)
{
    static const char update[] = "UPDATE registration" REGISTRATION_SET
                                 " WHERE scope = ?1 AND lower_id = ?2 AND generation = ?3";
    static const char upsert[] =
        "INSERT INTO registration (scope, lower_id, id, generation, status, substatus,"
        " operation_id, hub, device_id, ek_id, srk_pub, srk_name, auth_key, token_hash,"
        " nonce_key_id, nonce_epoch, nonce_generation, attested_ms, created_ms, updated_ms,"
        " error_code, error_message, etag, payload, attestation, group_id)"
        " VALUES (?1, ?2, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,"
        " ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27)"
        " ON CONFLICT (scope, lower_id) DO UPDATE" REGISTRATION_SET
        " WHERE registration.generation = ?3";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, expected_generation > 0 ? update : upsert, &q)) != LK_OK) {
        return err;
    }
    registration_bind(q, key, r, expected_generation);
    return sq_run_one(q, LK_ERR_PRECONDITION);
}

/* Hand over each row of q. */
static enum lk_err
registrations_visit(struct sq *q, enum lk_err (*each)(void *, const struct lk_registration *),
                    void *ctx)
{
    enum lk_err err;

    while ((err = sq_step(q)) == LK_OK) {
        struct lk_registration r = {0};

        err = registration_read(q, &r);
        if (err == LK_OK) {
            err = each(ctx, &r);
        }
        lk_registration_fini(&r);
        if (err != LK_OK) {
            return err;
        }
    }
    return err == LK_ERR_NOT_FOUND ? LK_OK : err;
}

enum lk_err
sq_registration_page(struct lk_txn *tx, const char *scope, const struct store_key *after,
                     size_t limit, enum lk_err (*each)(void *, const struct lk_registration *),
                     void *ctx)
{
    static const char sql[] = "SELECT " REGISTRATION_COLUMNS " FROM registration"
                              " WHERE scope = ?1 AND lower_id > ?2 AND status <> 0"
                              " ORDER BY lower_id LIMIT ?3";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, scope);
    sq_bind_text(q, 2, after->text);
    sq_bind_int(q, 3, (int64_t)limit);
    return registrations_visit(q, each, ctx);
}

/* ---- By group and by EK: each term of the partial index is repeated, or it is not used. --------
 */

#define OF_GROUP                                                                                   \
    " FROM registration WHERE scope = ?1 AND lower(group_id) = ?2 AND group_id <> ''"              \
    " AND status <> 0"

enum lk_err
sq_registration_page_of_group(struct lk_txn *tx, const char *scope, const struct store_key *group,
                              const struct store_key *after, size_t limit,
                              enum lk_err (*each)(void *, const struct lk_registration *),
                              void *ctx)
{
    static const char sql[] =
        "SELECT " REGISTRATION_COLUMNS OF_GROUP " AND lower_id > ?3 ORDER BY lower_id LIMIT ?4";
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, scope);
    sq_bind_text(q, 2, group->text);
    sq_bind_text(q, 3, after->text);
    sq_bind_int(q, 4, (int64_t)limit);
    return registrations_visit(q, each, ctx);
}

enum lk_err
sq_registration_of_ek_elsewhere(struct lk_txn *tx, const char *scope,
                                const uint8_t ek_id[LK_EK_ID_LEN], const struct store_key *own,
                                char ret_id[LK_REGISTRATION_ID_MAX + 1])
{
    static const char sql[] =
        "SELECT id FROM registration WHERE scope = ?1 AND ek_id = ?2 AND"
        " ek_id <> x'0000000000000000000000000000000000000000000000000000000000000000'"
        " AND lower_id <> ?3 AND status <> 0 ORDER BY attested_ms DESC LIMIT 1";
    char id[LK_REGISTRATION_ID_MAX + 1];
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, scope);
    sq_bind_blob(q, 2, ek_id, LK_EK_ID_LEN);
    sq_bind_text(q, 3, own->text);
    if ((err = sq_step(q)) != LK_OK) {
        return err;
    }
    sq_text(q, 0, id, sizeof(id));
    if (q->err == LK_OK) {
        memcpy(ret_id, id, sizeof(id));
    }
    return q->err;
}

enum lk_err
sq_registration_at(struct lk_txn *tx, const char *hub, const char *device_id, const char *scope,
                   const struct store_key *own, char ret_scope[LK_ID_SCOPE_MAX + 1],
                   char ret_id[LK_REGISTRATION_ID_MAX + 1])
{
    static const char sql[] =
        "SELECT scope, id FROM registration WHERE hub = ?1 AND hub <> '' AND device_id = ?2"
        " AND status <> 0 AND (scope <> ?3 OR lower_id <> ?4) LIMIT 1";
    char of_scope[LK_ID_SCOPE_MAX + 1], id[LK_REGISTRATION_ID_MAX + 1];
    LK_AUTO(sq) struct sq *q = NULL;
    enum lk_err err;

    if ((err = sq_use(tx->conn, sql, &q)) != LK_OK) {
        return err;
    }
    sq_bind_text(q, 1, hub);
    sq_bind_text(q, 2, device_id);
    sq_bind_text(q, 3, scope);
    sq_bind_text(q, 4, own->text);
    if ((err = sq_step(q)) != LK_OK) {
        return err;
    }
    sq_text(q, 0, of_scope, sizeof(of_scope));
    sq_text(q, 1, id, sizeof(id));
    if (q->err == LK_OK) {
        memcpy(ret_scope, of_scope, sizeof(of_scope));
        memcpy(ret_id, id, sizeof(id));
    }
    return q->err;
}
