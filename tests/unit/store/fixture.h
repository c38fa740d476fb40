/*
 * What the tests of the store share: a fresh store for each case, and every call of the contract as
 * a function that waits for its own job.
 */
#ifndef LK_TESTS_STORE_FIXTURE_H
#define LK_TESTS_STORE_FIXTURE_H

/* cmocka.h wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "store/store.h"

#define SCOPE "0ne00000001"

struct fixture {
    char dir[64];  /* of the SQLite file; removed with the fixture */
    char url[320]; /* of the store */
    struct lk_store_config config;
    struct lk_store *st;
    struct lk_session *s;
    int64_t now_ms; /* what the store's clock says */
    struct lk_clock clock;
};

/*
 * The main() of a suite: over SQLite files, each in a folder of its own, or with the argument
 * "pgsql" over databases of a PostgreSQL server that is started for it.
 */
int fixture_main(int argc, char **argv, const struct CMUnitTest *tests, size_t count);

/* cmocka set-up and tear-down: an open store with SCOPE in it. */
int fixture_setup(void **state);
int fixture_teardown(void **state);
void fixture_open(struct fixture *f);
void fixture_close(struct fixture *f);
/* Close and open again, as after a restart. */
void fixture_reopen(struct fixture *f);

/* An enrollment of SCOPE with one EK, whose identity is 32 times the byte ek; 0: no EK. */
void enrollment_make(struct lk_enrollment *e, const char *id, uint8_t ek);

/* Everything that the operators' API adds, at its largest; and whether it came back. */
void enrollment_fill(struct lk_enrollment *e);
void enrollment_filled(const struct lk_enrollment *e, const struct lk_enrollment *got);
void registration_make(struct lk_registration *r, const char *id, uint64_t generation);

/* Each in one job of its own. */
enum lk_err do_scope_add(struct fixture *f, const char *id);
enum lk_err do_create(struct fixture *f, struct lk_enrollment *e, struct lk_conflict *conflict);
enum lk_err do_replace(struct fixture *f, struct lk_enrollment *e, const char *etag,
                       struct lk_conflict *conflict);
enum lk_err do_delete(struct fixture *f, const char *id, const char *etag);
enum lk_err do_get(struct fixture *f, const char *id, struct lk_enrollment *ret);
enum lk_err do_by_ek(struct fixture *f, uint8_t ek, char ret_id[LK_REGISTRATION_ID_MAX + 1]);
int64_t do_count(struct fixture *f);
/* The ids of a page, separated by spaces. */
void do_page(struct fixture *f, const char *after, size_t limit, char *ret, size_t cap);

enum lk_err do_import_begin(struct fixture *f, int64_t *ret);
enum lk_err do_stage(struct fixture *f, int64_t import_id, int64_t line, struct lk_enrollment *e,
                     struct lk_conflict *conflict);
enum lk_err do_finish(struct fixture *f, int64_t import_id, int64_t *ret_rows);
enum lk_err do_drop(struct fixture *f, int64_t import_id, size_t limit, bool *ret_left);
enum lk_err do_abandoned(struct fixture *f, int64_t older_than_ms, int64_t *ret);

enum lk_err do_reg_get(struct fixture *f, const char *id, struct lk_registration *ret);
enum lk_err do_reg_put(struct fixture *f, struct lk_registration *r, uint64_t expected);
enum lk_err do_reg_delete(struct fixture *f, const char *id, const char *etag);

enum lk_err do_audit(struct fixture *f, const char *subject, const char *detail);
/* The whole chain in pages of 3 records. */
enum lk_err do_verify(struct fixture *f, struct lk_audit_cursor *cursor);

/* What lk_store_count_check() finds wrong, "what of name: kept, not found; " each. */
const char *do_count_check(struct fixture *f, bool repair);

/*
 * SQL for rows as programs wrote them that counted nothing (SQLite's step 5, PostgreSQL's step 2);
 * none is an empty blob. Three enrollments can be seen: one of an import of three that lost one,
 * and one by hand; four registrations, two of them in one group.
 */
#define UNCOUNTED_ROWS(none)                                                                       \
    "INSERT INTO scope (id, created_ms) VALUES ('" SCOPE "', 5);"                                  \
    "INSERT INTO import (id, scope, source, state, row_count, begun_ms, touched_ms) VALUES"        \
    " (1, '" SCOPE "', 'a', 1, 3, 6, 7), (2, '" SCOPE "', 'b', 0, 1, 6, 7);"                       \
    "INSERT INTO enrollment (scope, lower_id, id, device_id, attestation, enabled, allocation,"    \
    " update_hub, migrate, hubs, eks, srk_pub, pin_srk, sealed_keys, cert_primary,"                \
    " cert_secondary, initial_twin, device_info, iot_edge, webhook_url, webhook_api_version,"      \
    " etag, created_ms, updated_ms, import_id, import_line) SELECT '" SCOPE "', id, id, '', 0, 1," \
    " 0, 1, 1, '', " none ", " none ", 0, " none ", " none ", " none ", " none ", " none ", 0,"    \
    " '', '', 'e', 8, 8, import_id, import_id FROM (SELECT 'hand' AS id, 0 AS import_id"           \
    " UNION ALL SELECT 'first', 1 UNION ALL SELECT 'last', 1 UNION ALL SELECT 'staged', 2) AS x;"  \
    "INSERT INTO registration (scope, lower_id, id, generation, status, substatus, operation_id,"  \
    " hub, device_id, ek_id, srk_pub, srk_name, auth_key, token_hash, nonce_key_id, nonce_epoch,"  \
    " nonce_generation, attested_ms, created_ms, updated_ms, error_code, error_message, etag,"     \
    " payload, attestation, group_id) SELECT '" SCOPE "', id, id, 1, status, 1, 'op', '', '',"     \
    " " none ", " none ", " none ", " none ", " none ", 1, 2, 3, 9, 9, 9, 0, '', 'e', " none ","   \
    " 0, g FROM (SELECT 'a' AS id, 2 AS status, 'Grp' AS g UNION ALL SELECT 'b', 3, 'gRP'"         \
    " UNION ALL SELECT 'c', 2, '' UNION ALL SELECT 'd', 0, '') AS x;"
/* Whether a store of these rows counts them. */
void uncounted_rows_seen(struct fixture *f);

/* Any other call. */
enum lk_err in_write(struct fixture *f, enum lk_err (*run)(struct lk_txn *, void *), void *arg);
enum lk_err in_read(struct fixture *f, enum lk_err (*run)(struct lk_txn *, void *), void *arg);

#endif
