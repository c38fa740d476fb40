/* Schema steps: numbered, forward only, one transaction each. */
#include "store/sqlite_int.h"

#define APPLICATION_ID 0x4c4b6579 /* "LKey", in the file's header */

/* The number of the last step that was taken; 0 for an empty database. */
static enum lk_err
version_get(struct sqlite_conn *c, const char *path, int64_t *ret)
{
    /* One statement: all of one state, while another process may be taking a step. */
    static const char sql[] = "SELECT (SELECT application_id FROM pragma_application_id),"
                              " (SELECT user_version FROM pragma_user_version),"
                              " (SELECT count(*) FROM sqlite_schema)";
    LK_AUTO(sq) struct sq *q = NULL;
    int64_t application, version, tables;
    enum lk_err err;

    if ((err = sq_use(&c->base, sql, &q)) != LK_OK || (err = sq_step(q)) != LK_OK) {
        return err;
    }
    application = sq_int(q, 0);
    version = sq_int(q, 1);
    tables = sq_int(q, 2);
    if (version == 0 && application == 0 && tables == 0) {
        *ret = 0;
        return LK_OK;
    }
    if (application != APPLICATION_ID || version < 1) {
        store_error_set("%s: not a Latchkey database", path);
        return LK_ERR_SCHEMA;
    }
    if (version > sqlite_schema_steps_count) {
        store_error_set("%s: schema %lld is newer than this program, which knows %d: use "
                        "the newer one",
                        path, (long long)version, sqlite_schema_steps_count);
        return LK_ERR_SCHEMA;
    }
    *ret = version;
    return LK_OK;
}

static enum lk_err
step_apply(struct sqlite_conn *c, int64_t step)
{
    char *mark = sqlite3_mprintf("PRAGMA application_id = %d; PRAGMA user_version = %lld;",
                                 APPLICATION_ID, (long long)step);
    int rc = mark != NULL ? SQLITE_OK : SQLITE_NOMEM;

    if (rc == SQLITE_OK) {
        rc = sqlite3_exec(c->db, sqlite_schema_steps[step - 1], NULL, NULL, NULL);
    }
    if (rc == SQLITE_OK) {
        rc = sqlite3_exec(c->db, mark, NULL, NULL, NULL);
    }
    sqlite3_free(mark);
    return rc == SQLITE_OK ? LK_OK : sqlite_fail(c, rc, "schema step");
}

/* Another process may be updating too: look again under the write lock. */
static enum lk_err
step_next(struct sqlite_conn *c, const char *path, int64_t *version)
{
    enum lk_err err;

    if ((err = store_sqlite.begin(&c->base)) != LK_OK) {
        return err;
    }
    if ((err = version_get(c, path, version)) == LK_OK && *version < sqlite_schema_steps_count) {
        err = step_apply(c, ++*version);
    }
    if (err != LK_OK) {
        store_sqlite.rollback(&c->base);
        return err;
    }
    return store_sqlite.commit(&c->base);
}

enum lk_err
sqlite_schema_update(struct sqlite_conn *c, const char *path, bool may_create, bool read_only)
{
    int64_t version;
    enum lk_err err = version_get(c, path, &version);

    if (err != LK_OK) {
        return err;
    }
    if (version == 0 && !may_create) {
        store_error_set("%s: an empty database", path);
        return LK_ERR_SCHEMA;
    }
    if (version < sqlite_schema_steps_count && read_only) {
        store_error_set("%s: schema %lld is of an older program: starting latchkeyd, or any "
                        "command that changes something, updates it",
                        path, (long long)version);
        return LK_ERR_SCHEMA;
    }
    while (err == LK_OK && version < sqlite_schema_steps_count) {
        err = step_next(c, path, &version);
    }
    return err;
}
