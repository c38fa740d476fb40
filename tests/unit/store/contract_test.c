/*
 * The contract of src/store/store.h, as every backend keeps it.
 *
 * usage: store_contract_test [pgsql]      over which backend; see fixture_main()
 */
#include "fixture.h"

#include <stdio.h>

/* ---- Scopes -----------------------------------------------------------------------------------
 */

static enum lk_err
scope_probe(struct lk_txn *tx, void *arg)
{
    struct lk_scope s;
    enum lk_err err = lk_txn_scope_get(tx, SCOPE, &s);

    *(int64_t *)arg = s.created_ms;
    return err != LK_OK ? err : lk_txn_scope_get(tx, "0NE00000001", &s);
}

static enum lk_err
scope_join(void *ctx, const struct lk_scope *s)
{
    strcat((char *)ctx, s->id);
    return strcmp(s->id, "c") == 0 ? LK_ERR_CANCELLED : LK_OK;
}

static enum lk_err
scope_list(struct lk_txn *tx, void *arg)
{
    return lk_txn_scope_each(tx, scope_join, arg);
}

/* A scope is added once, found by its exact spelling, and listed in order until a callback stops.
 */
static void
scopes(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    char too_long[LK_ID_SCOPE_MAX + 2], list[200] = "";
    int64_t created_ms = 0;

    assert_int_equal(do_scope_add(f, SCOPE), LK_ERR_EXISTS);
    assert_int_equal(do_scope_add(f, ""), LK_ERR_ARG);
    memset(too_long, 'a', sizeof(too_long));
    too_long[sizeof(too_long) - 1] = '\0';
    assert_int_equal(do_scope_add(f, too_long), LK_ERR_ARG);
    too_long[LK_ID_SCOPE_MAX] = '\0';
    assert_int_equal(do_scope_add(f, too_long), LK_OK);
    assert_int_equal(in_read(f, scope_probe, &created_ms), LK_ERR_NOT_FOUND);
    assert_int_equal(created_ms, f->now_ms);
    assert_int_equal(do_scope_add(f, "b"), LK_OK);
    assert_int_equal(do_scope_add(f, "c"), LK_OK);
    assert_int_equal(do_scope_add(f, "d"), LK_OK);
    assert_int_equal(in_read(f, scope_list, list), LK_ERR_CANCELLED);
    too_long[LK_ID_SCOPE_MAX] = '\0';
    assert_memory_equal(list, SCOPE, strlen(SCOPE));
    assert_string_equal(list + strlen(SCOPE) + LK_ID_SCOPE_MAX, "bc");
}

/* ---- Enrollments ------------------------------------------------------------------------------
 */

/* Every member of the largest enrollment comes back, under any case of its id. */
static void
enrollment_roundtrip(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_enrollment e, got;

    lk_enrollment_init(&got);
    enrollment_make(&e, "", 0);
    memset(e.id, 'X', LK_REGISTRATION_ID_MAX);
    memset(e.device_id, 'd', LK_DEVICE_ID_MAX);
    e.enabled = false;
    e.allocation = LK_ALLOC_CUSTOM;
    e.reprovision_update_hub = false;
    e.reprovision_migrate = true;
    e.hubs_count = LK_HUBS_PER_ENROLLMENT;
    for (size_t i = 0; i < e.hubs_count; i++) {
        memset(e.hubs[i], 'a' + (int)i, LK_HOST_NAME_MAX);
    }
    e.eks_count = LK_EKS_MAX;
    for (size_t i = 0; i < e.eks_count; i++) {
        memset(e.eks[i].id, 1 + (int)i, LK_EK_ID_LEN);
        memset(e.eks[i].pub, 100 + (int)i, LK_TPM_PUBLIC_MAX);
        e.eks[i].pub_len = LK_TPM_PUBLIC_MAX - i;
    }
    assert_int_equal(lk_buf_puts(&e.initial_twin, "{\"tags\":{}}"), LK_OK);
    enrollment_fill(&e);
    assert_int_equal(do_create(f, &e, NULL), LK_OK);
    assert_int_equal(strlen(e.etag), LK_ETAG_CAP - 1);
    memset(e.id, 'x', LK_REGISTRATION_ID_MAX);
    assert_int_equal(do_get(f, e.id, &got), LK_OK);
    memset(e.id, 'X', LK_REGISTRATION_ID_MAX);
    assert_string_equal(got.id, e.id);
    assert_string_equal(got.scope, SCOPE);
    assert_string_equal(got.device_id, e.device_id);
    assert_false(got.enabled);
    assert_int_equal(got.allocation, LK_ALLOC_CUSTOM);
    assert_false(got.reprovision_update_hub);
    assert_true(got.reprovision_migrate && got.reprovision_chosen);
    assert_int_equal(got.hubs_count, e.hubs_count);
    assert_memory_equal(got.hubs, e.hubs, sizeof(e.hubs));
    assert_int_equal(got.eks_count, e.eks_count);
    for (size_t i = 0; i < e.eks_count; i++) {
        assert_memory_equal(got.eks[i].id, e.eks[i].id, LK_EK_ID_LEN);
        assert_int_equal(got.eks[i].pub_len, e.eks[i].pub_len);
        assert_memory_equal(got.eks[i].pub, e.eks[i].pub, e.eks[i].pub_len);
    }
    assert_string_equal(lk_buf_text(&got.initial_twin), "{\"tags\":{}}");
    enrollment_filled(&e, &got);
    assert_string_equal(got.etag, e.etag);
    assert_int_equal(got.created_ms, f->now_ms);
    assert_int_equal(got.updated_ms, f->now_ms);
    assert_int_equal(got.import_id, 0);
    lk_enrollment_fini(&e);
    lk_enrollment_fini(&got);
}

/* The smallest one takes the defaults; a result that is not found is left as it was. */
static void
enrollment_defaults(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_enrollment e, got;
    char id[LK_REGISTRATION_ID_MAX + 2];

    lk_enrollment_init(&got);
    enrollment_make(&e, "a", 0);
    assert_int_equal(do_create(f, &e, NULL), LK_OK);
    assert_int_equal(do_get(f, "A", &got), LK_OK);
    assert_true(got.enabled && got.reprovision_migrate && got.reprovision_update_hub);
    assert_false(got.reprovision_chosen);
    got.reprovision_chosen = true;
    assert_int_equal(do_replace(f, &got, NULL, NULL), LK_OK);
    assert_int_equal(do_get(f, "a", &got), LK_OK);
    assert_true(got.reprovision_chosen && got.reprovision_migrate && got.reprovision_update_hub);
    assert_int_equal(got.hubs_count + got.eks_count + got.initial_twin.len, 0);
    assert_int_equal(got.attestation, LK_ATTESTATION_TPM);
    assert_int_equal(got.srk_pub.len + got.sealed_keys.len + got.certs[0].len + got.certs[1].len +
                         got.rules.len + got.device_info.len,
                     0);
    assert_false(got.pin_srk || got.iot_edge);
    assert_string_equal(got.webhook_url, "");
    assert_string_equal(got.device_id, "");
    assert_int_equal(do_get(f, "b", &got), LK_ERR_NOT_FOUND);
    assert_string_equal(got.id, "a");
    assert_int_equal(do_get(f, "", &got), LK_ERR_NOT_FOUND);
    memset(id, 'a', sizeof(id));
    id[sizeof(id) - 1] = '\0';
    assert_int_equal(do_get(f, id, &got), LK_ERR_NOT_FOUND);
}

/* Misuse is refused before anything is written. */
static void
enrollment_misuse(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_enrollment e;

    enrollment_make(&e, "", 1);
    assert_int_equal(do_create(f, &e, NULL), LK_ERR_ARG);
    enrollment_make(&e, "a", 1);
    e.eks_count = LK_EKS_MAX + 1;
    assert_int_equal(do_create(f, &e, NULL), LK_ERR_ARG);
    enrollment_make(&e, "a", 1);
    e.eks[0].pub_len = LK_TPM_PUBLIC_MAX + 1;
    assert_int_equal(do_create(f, &e, NULL), LK_ERR_ARG);
    enrollment_make(&e, "a", 1);
    e.hubs_count = LK_HUBS_PER_ENROLLMENT + 1;
    assert_int_equal(do_create(f, &e, NULL), LK_ERR_ARG);
    enrollment_make(&e, "a", 1);
    e.attestation = LK_ATTESTATION_EK_CERT;
    assert_int_equal(do_create(f, &e, NULL), LK_ERR_ARG);
    enrollment_make(&e, "a", 1);
    assert_non_null(lk_buf_extend(&e.certs[1], LK_CERT_DER_MAX + 1));
    assert_int_equal(do_create(f, &e, NULL), LK_ERR_LIMIT);
    lk_enrollment_fini(&e);
    enrollment_make(&e, "a", 1);
    (void)snprintf(e.scope, sizeof(e.scope), "nowhere");
    assert_int_equal(do_create(f, &e, NULL), LK_ERR_NOT_FOUND);
    assert_int_equal(do_count(f), 0);
}

/* An id in another case and an EK of another enrollment are in the way, and are named. */
static void
enrollment_conflicts(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_enrollment e;
    struct lk_conflict c;
    char id[LK_REGISTRATION_ID_MAX + 1];

    enrollment_make(&e, "First", 1);
    assert_int_equal(do_create(f, &e, NULL), LK_OK);
    enrollment_make(&e, "fIRST", 2);
    assert_int_equal(do_create(f, &e, &c), LK_ERR_EXISTS);
    assert_string_equal(c.id, "First");
    assert_false(c.by_ek);
    assert_int_equal(c.import_id, 0);
    enrollment_make(&e, "second", 1);
    assert_int_equal(do_create(f, &e, &c), LK_ERR_EXISTS);
    assert_string_equal(c.id, "First");
    assert_true(c.by_ek);
    enrollment_make(&e, "third", 3);
    e.eks[1] = e.eks[0];
    e.eks_count = 2;
    assert_int_equal(do_create(f, &e, &c), LK_ERR_EXISTS);
    assert_string_equal(c.id, "third");
    assert_true(c.by_ek);
    assert_int_equal(do_by_ek(f, 2, id), LK_ERR_NOT_FOUND);
    assert_int_equal(do_by_ek(f, 3, id), LK_ERR_NOT_FOUND);
    assert_int_equal(do_by_ek(f, 1, id), LK_OK);
    assert_string_equal(id, "First");
    assert_int_equal(do_count(f), 1);
}

/* The same id and EK may be enrolled once in each scope. */
static void
enrollment_scopes_are_apart(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_enrollment e;

    assert_int_equal(do_scope_add(f, "other"), LK_OK);
    enrollment_make(&e, "a", 1);
    assert_int_equal(do_create(f, &e, NULL), LK_OK);
    (void)snprintf(e.scope, sizeof(e.scope), "other");
    assert_int_equal(do_create(f, &e, NULL), LK_OK);
    assert_int_equal(do_count(f), 1);
}

/* A replacement needs the current etag, gives up old EKs, takes new ones and keeps its birthday. */
static void
enrollment_replace(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_enrollment e, got;
    char id[LK_REGISTRATION_ID_MAX + 1], old[LK_ETAG_CAP];
    int64_t born_ms = f->now_ms;

    lk_enrollment_init(&got);
    enrollment_make(&e, "a", 1);
    assert_int_equal(do_replace(f, &e, NULL, NULL), LK_ERR_NOT_FOUND);
    assert_int_equal(do_create(f, &e, NULL), LK_OK);
    memcpy(old, e.etag, sizeof(old));
    f->now_ms += 1000;
    memset(e.eks[0].id, 2, LK_EK_ID_LEN);
    e.created_ms = 7;
    enrollment_fill(&e);
    assert_int_equal(do_replace(f, &e, e.etag, NULL), LK_OK);
    assert_int_equal(e.created_ms, born_ms);
    assert_string_not_equal(e.etag, old);
    assert_int_equal(do_by_ek(f, 1, id), LK_ERR_NOT_FOUND);
    assert_int_equal(do_by_ek(f, 2, id), LK_OK);
    assert_int_equal(do_get(f, "a", &got), LK_OK);
    assert_int_equal(got.created_ms, born_ms);
    assert_int_equal(got.updated_ms, f->now_ms);
    assert_string_equal(got.etag, e.etag);
    enrollment_filled(&e, &got);
    lk_enrollment_fini(&got);
    memset(e.eks[0].id, 3, LK_EK_ID_LEN);
    assert_int_equal(do_replace(f, &e, old, NULL), LK_ERR_PRECONDITION);
    assert_int_equal(do_replace(f, &e, "", NULL), LK_ERR_PRECONDITION);
    assert_int_equal(do_by_ek(f, 2, id), LK_OK);
    assert_int_equal(do_replace(f, &e, "*", NULL), LK_OK);
    assert_int_equal(do_by_ek(f, 3, id), LK_OK);
    lk_enrollment_fini(&e);
}

/* A replacement cannot take another enrollment's EK, and then loses none of its own. */
static void
enrollment_replace_conflict(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_enrollment e;
    struct lk_conflict c;
    char id[LK_REGISTRATION_ID_MAX + 1];

    enrollment_make(&e, "a", 1);
    assert_int_equal(do_create(f, &e, NULL), LK_OK);
    enrollment_make(&e, "b", 2);
    assert_int_equal(do_create(f, &e, NULL), LK_OK);
    memset(e.eks[0].id, 1, LK_EK_ID_LEN);
    assert_int_equal(do_replace(f, &e, NULL, &c), LK_ERR_EXISTS);
    assert_string_equal(c.id, "a");
    assert_int_equal(do_by_ek(f, 2, id), LK_OK);
    assert_string_equal(id, "b");
}

/* What is deleted is gone, with its EKs, for the current etag only. */
static void
enrollment_delete(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_enrollment e;
    char id[LK_REGISTRATION_ID_MAX + 1];

    assert_int_equal(do_delete(f, "a", NULL), LK_ERR_NOT_FOUND);
    enrollment_make(&e, "a", 1);
    assert_int_equal(do_create(f, &e, NULL), LK_OK);
    assert_int_equal(do_delete(f, "a", "other"), LK_ERR_PRECONDITION);
    assert_int_equal(do_delete(f, "A", e.etag), LK_OK);
    assert_int_equal(do_get(f, "a", &e), LK_ERR_NOT_FOUND);
    assert_int_equal(do_by_ek(f, 1, id), LK_ERR_NOT_FOUND);
    assert_int_equal(do_create(f, &e, NULL), LK_OK);
}

/* Pages follow each other in order of the lower-case id, from any point between two ids. */
static void
enrollment_pages(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    const char *ids[] = {"d4", "B2", "a1", "C3", "a10"};
    struct lk_enrollment e;
    char page[200];

    do_page(f, "", 10, page, sizeof(page));
    assert_string_equal(page, "");
    for (size_t i = 0; i < LK_ARRAY_LEN(ids); i++) {
        enrollment_make(&e, ids[i], (uint8_t)(i + 1));
        assert_int_equal(do_create(f, &e, NULL), LK_OK);
    }
    do_page(f, "", 2, page, sizeof(page));
    assert_string_equal(page, "a1 a10");
    do_page(f, "A10", 2, page, sizeof(page));
    assert_string_equal(page, "B2 C3");
    do_page(f, "c3", 2, page, sizeof(page));
    assert_string_equal(page, "d4");
    do_page(f, "a9", 9, page, sizeof(page));
    assert_string_equal(page, "B2 C3 d4");
    do_page(f, "", 0, page, sizeof(page));
    assert_string_equal(page, "");
    assert_int_equal(do_count(f), 5);
}

struct nested {
    struct lk_txn *tx;
    int depth, calls;
};

static enum lk_err
nested_each(void *ctx, const struct lk_enrollment *e)
{
    struct nested *n = (struct nested *)ctx;
    struct lk_enrollment got;
    enum lk_err err;

    n->calls++;
    lk_enrollment_init(&got);
    err = lk_txn_enrollment_get(n->tx, SCOPE, e->id, &got);
    lk_enrollment_fini(&got);
    if (err != LK_OK || n->depth == 0) {
        return err;
    }
    n->depth--;
    err = lk_txn_enrollment_page(n->tx, SCOPE, "", 10, nested_each, n);
    n->depth++;
    return err;
}

static enum lk_err
nested_run(struct lk_txn *tx, void *arg)
{
    struct nested *n = (struct nested *)arg;

    n->tx = tx;
    return lk_txn_enrollment_page(tx, SCOPE, "", 10, nested_each, n);
}

/* A callback may ask in the same transaction, even for the list that it is called from. */
static void
callbacks_may_ask(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct nested n = {.depth = 2};
    struct lk_enrollment e;

    enrollment_make(&e, "a", 1);
    assert_int_equal(do_create(f, &e, NULL), LK_OK);
    enrollment_make(&e, "b", 2);
    assert_int_equal(do_create(f, &e, NULL), LK_OK);
    assert_int_equal(in_read(f, nested_run, &n), LK_OK);
    assert_int_equal(n.calls, 2 + 4 + 8);
    n = (struct nested){.depth = 1};
    assert_int_equal(in_read(f, nested_run, &n), LK_OK);
    assert_int_equal(n.calls, 2 + 4);
}

/* A change in a read job is the caller's mistake. */
static enum lk_err
create_in_read(struct lk_txn *tx, void *arg)
{
    return lk_txn_enrollment_create(tx, (struct lk_enrollment *)arg, NULL);
}

static void
read_job_cannot_write(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_enrollment e;

    enrollment_make(&e, "a", 1);
    assert_int_equal(in_read(f, create_in_read, &e), LK_ERR_ARG);
    assert_int_equal(do_count(f), 0);
}

/* ---- Imports ----------------------------------------------------------------------------------
 */

/* Staged rows do not exist for any reader; finished, all of them do at once. */
static void
import_appears_whole(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_enrollment e;
    char id[LK_REGISTRATION_ID_MAX + 1], page[200];
    int64_t import, rows = -1;

    enrollment_make(&e, "m", 9);
    assert_int_equal(do_create(f, &e, NULL), LK_OK);
    assert_int_equal(do_import_begin(f, &import), LK_OK);
    assert_true(import > 0);
    for (int i = 0; i < 4; i++) {
        (void)snprintf(id, sizeof(id), "dev%d", i);
        enrollment_make(&e, id, (uint8_t)(i + 1));
        assert_int_equal(do_stage(f, import, 10 + i, &e, NULL), LK_OK);
    }
    fixture_reopen(f);
    assert_int_equal(do_get(f, "dev0", &e), LK_ERR_NOT_FOUND);
    assert_int_equal(do_by_ek(f, 1, id), LK_ERR_NOT_FOUND);
    assert_int_equal(do_count(f), 1);
    do_page(f, "", 2, page, sizeof(page));
    assert_string_equal(page, "m");
    enrollment_make(&e, "dev1", 20);
    assert_int_equal(do_replace(f, &e, NULL, NULL), LK_ERR_NOT_FOUND);
    assert_int_equal(do_delete(f, "dev1", NULL), LK_ERR_NOT_FOUND);

    assert_int_equal(do_finish(f, import, &rows), LK_OK);
    assert_int_equal(rows, 4);
    assert_int_equal(do_get(f, "dev2", &e), LK_OK);
    assert_int_equal(e.import_id, import);
    assert_int_equal(e.import_line, 12);
    assert_int_equal(do_by_ek(f, 1, id), LK_OK);
    assert_int_equal(do_count(f), 5);
    do_page(f, "dev2", 9, page, sizeof(page));
    assert_string_equal(page, "dev3 m");
}

/* A finished import's rows are as good as any: replaced, deleted, and not dropped. */
static void
import_finished_is_final(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_enrollment e;
    int64_t import, rows;
    bool left = true;

    assert_int_equal(do_import_begin(f, &import), LK_OK);
    enrollment_make(&e, "a", 1);
    assert_int_equal(do_stage(f, import, 1, &e, NULL), LK_OK);
    assert_int_equal(do_finish(f, import, &rows), LK_OK);
    assert_int_equal(do_finish(f, import, &rows), LK_ERR_NOT_FOUND);
    enrollment_make(&e, "b", 2);
    assert_int_equal(do_stage(f, import, 2, &e, NULL), LK_ERR_NOT_FOUND);
    assert_int_equal(do_drop(f, import, 10, &left), LK_ERR_PRECONDITION);
    enrollment_make(&e, "a", 3);
    assert_int_equal(do_replace(f, &e, NULL, NULL), LK_OK);
    assert_int_equal(e.import_id, import);
    assert_int_equal(e.import_line, 1);
    assert_int_equal(do_delete(f, "a", NULL), LK_OK);
    assert_int_equal(do_count(f), 0);
    assert_int_equal(do_finish(f, 12345, &rows), LK_ERR_NOT_FOUND);
}

/* Conflicts show when a row is staged: with a live one, and inside the import, with its line. */
static void
import_conflicts(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_enrollment e;
    struct lk_conflict c;
    int64_t import, rows;

    enrollment_make(&e, "live", 1);
    assert_int_equal(do_create(f, &e, NULL), LK_OK);
    assert_int_equal(do_import_begin(f, &import), LK_OK);
    enrollment_make(&e, "LIVE", 2);
    assert_int_equal(do_stage(f, import, 1, &e, &c), LK_ERR_EXISTS);
    assert_string_equal(c.id, "live");
    assert_true(!c.by_ek && c.import_id == 0 && c.import_line == 0);
    enrollment_make(&e, "x", 1);
    assert_int_equal(do_stage(f, import, 2, &e, &c), LK_ERR_EXISTS);
    assert_string_equal(c.id, "live");
    assert_true(c.by_ek && c.import_id == 0);
    enrollment_make(&e, "x", 3);
    assert_int_equal(do_stage(f, import, 3, &e, &c), LK_OK);
    enrollment_make(&e, "X", 4);
    assert_int_equal(do_stage(f, import, 4, &e, &c), LK_ERR_EXISTS);
    assert_true(!c.by_ek && c.import_id == import && c.import_line == 3);
    enrollment_make(&e, "y", 3);
    assert_int_equal(do_stage(f, import, 5, &e, &c), LK_ERR_EXISTS);
    assert_string_equal(c.id, "x");
    assert_true(c.by_ek && c.import_id == import && c.import_line == 3);
    assert_int_equal(do_finish(f, import, &rows), LK_OK);
    assert_int_equal(rows, 1);
}

/* A staged row reserves its id and EK against other imports and live ones until it is dropped. */
static void
import_reserves(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_enrollment e;
    struct lk_conflict c;
    int64_t one, two;
    bool left = true;

    assert_int_equal(do_import_begin(f, &one), LK_OK);
    assert_int_equal(do_import_begin(f, &two), LK_OK);
    assert_int_not_equal(one, two);
    enrollment_make(&e, "a", 1);
    assert_int_equal(do_stage(f, one, 7, &e, NULL), LK_OK);
    enrollment_make(&e, "a", 2);
    assert_int_equal(do_stage(f, two, 8, &e, &c), LK_ERR_EXISTS);
    assert_true(c.import_id == one && c.import_line == 7);
    assert_int_equal(do_create(f, &e, &c), LK_ERR_EXISTS);
    assert_true(!c.by_ek && c.import_id == one && c.import_line == 7);
    enrollment_make(&e, "b", 1);
    assert_int_equal(do_create(f, &e, &c), LK_ERR_EXISTS);
    assert_true(c.by_ek && c.import_id == one && c.import_line == 7);
    enrollment_make(&e, "b", 5);
    assert_int_equal(do_create(f, &e, &c), LK_OK);
    memset(e.eks[0].id, 1, LK_EK_ID_LEN);
    assert_int_equal(do_replace(f, &e, NULL, &c), LK_ERR_EXISTS);
    assert_int_equal(do_drop(f, one, 10, &left), LK_OK);
    assert_false(left);
    assert_int_equal(do_replace(f, &e, NULL, &c), LK_OK);
    enrollment_make(&e, "a", 2);
    assert_int_equal(do_stage(f, two, 8, &e, &c), LK_OK);
}

/* An import is dropped in pieces; what is half dropped can be neither staged to nor finished. */
static void
import_drop(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_enrollment e;
    char id[8];
    int64_t import, rows, again = 0;
    bool left = false;

    assert_int_equal(do_import_begin(f, &import), LK_OK);
    for (int i = 0; i < 5; i++) {
        (void)snprintf(id, sizeof(id), "d%d", i);
        enrollment_make(&e, id, (uint8_t)(i + 1));
        assert_int_equal(do_stage(f, import, i, &e, NULL), LK_OK);
    }
    assert_int_equal(do_drop(f, import, 2, &left), LK_OK);
    assert_true(left);
    assert_int_equal(do_count(f), 0);
    enrollment_make(&e, "new", 100);
    assert_int_equal(do_stage(f, import, 9, &e, NULL), LK_ERR_NOT_FOUND);
    assert_int_equal(do_finish(f, import, &rows), LK_ERR_NOT_FOUND);
    assert_int_equal(do_abandoned(f, f->now_ms + 1, &again), LK_OK);
    assert_int_equal(again, import);
    assert_int_equal(do_drop(f, import, 3, &left), LK_OK);
    assert_true(left); /* it cannot know yet that these were the last */
    assert_int_equal(do_drop(f, import, 1, &left), LK_OK);
    assert_false(left);
    left = true;
    assert_int_equal(do_drop(f, import, 1, &left), LK_OK);
    assert_false(left);
    assert_int_equal(do_abandoned(f, f->now_ms + 1, &again), LK_ERR_NOT_FOUND);
    enrollment_make(&e, "d0", 1);
    assert_int_equal(do_create(f, &e, NULL), LK_OK);
}

/* An import counts as abandoned when nothing was staged for long, not when it takes long. */
static void
import_abandoned(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_enrollment e;
    int64_t import, rows, found = 0;

    assert_int_equal(do_abandoned(f, f->now_ms, &found), LK_ERR_NOT_FOUND);
    assert_int_equal(do_import_begin(f, &import), LK_OK);
    assert_int_equal(do_abandoned(f, f->now_ms, &found), LK_ERR_NOT_FOUND);
    assert_int_equal(do_abandoned(f, f->now_ms + 1, &found), LK_OK);
    f->now_ms += 60000;
    enrollment_make(&e, "a", 1);
    assert_int_equal(do_stage(f, import, 1, &e, NULL), LK_OK);
    assert_int_equal(do_abandoned(f, f->now_ms, &found), LK_ERR_NOT_FOUND);
    assert_int_equal(do_finish(f, import, &rows), LK_OK);
    assert_int_equal(do_abandoned(f, f->now_ms + 100000, &found), LK_ERR_NOT_FOUND);
}

/* Rows of a scope are staged into an import of that scope. */
static void
import_of_another_scope(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_enrollment e;
    int64_t import;

    assert_int_equal(do_scope_add(f, "other"), LK_OK);
    assert_int_equal(do_import_begin(f, &import), LK_OK);
    enrollment_make(&e, "a", 1);
    (void)snprintf(e.scope, sizeof(e.scope), "other");
    assert_int_equal(do_stage(f, import, 1, &e, NULL), LK_ERR_NOT_FOUND);
}

/* A job of many rows goes on after a conflict, and what it staged otherwise stays. */
struct many {
    int64_t import;
    int conflicts;
};

static enum lk_err
stage_many(struct lk_txn *tx, void *arg)
{
    struct many *m = (struct many *)arg;
    struct lk_enrollment e;
    char id[16];
    enum lk_err err;

    m->conflicts = 0;
    for (int i = 0; i < 20; i++) {
        (void)snprintf(id, sizeof(id), "d%d", i / 2);
        enrollment_make(&e, id, (uint8_t)(i + 1));
        err = lk_txn_import_stage(tx, m->import, i, &e, NULL);
        if (err == LK_ERR_EXISTS) {
            m->conflicts++;
        } else if (err != LK_OK) {
            return err;
        }
    }
    return LK_OK;
}

static void
import_goes_on_after_conflict(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct many m = {0, 0};
    char id[LK_REGISTRATION_ID_MAX + 1];
    int64_t rows;

    assert_int_equal(do_import_begin(f, &m.import), LK_OK);
    assert_int_equal(in_write(f, stage_many, &m), LK_OK);
    assert_int_equal(m.conflicts, 10);
    assert_int_equal(do_finish(f, m.import, &rows), LK_OK);
    assert_int_equal(rows, 10);
    assert_int_equal(do_by_ek(f, 1, id), LK_OK);
    assert_int_equal(do_by_ek(f, 2, id), LK_ERR_NOT_FOUND);
}

/* The rows of import_many(), by the line of each. */
enum { NONE, NEW_A, LIVE_ID, LIVE_EK, SAME_ID, SAME_EK, TWICE, NEW_B, LATE, ROWS };

struct batch {
    int64_t import;
    struct lk_enrollment e[ROWS];
    struct lk_stage rows[ROWS];
    enum lk_err err[ROWS]; /* of each row */
    struct lk_conflict conflict[ROWS];
};

static void
batch_make(struct batch *b)
{
    static const struct {
        const char *id;
        uint8_t ek;
    } made[ROWS] = {
        [NONE] = {"none", 9},     [NEW_A] = {"new-a", 10},   [LIVE_ID] = {"LIVE", 11},
        [LIVE_EK] = {"new-c", 1}, [SAME_ID] = {"NEW-A", 12}, [SAME_EK] = {"new-d", 10},
        [TWICE] = {"new-e", 13},  [NEW_B] = {"new-b", 0},    [LATE] = {"new-c", 14},
    };

    for (int i = 0; i < ROWS; i++) {
        enrollment_make(&b->e[i], made[i].id, made[i].ek);
        b->rows[i] = (struct lk_stage){i, i == NONE ? NULL : &b->e[i], true};
    }
    b->e[TWICE].eks[1] = b->e[TWICE].eks[0];
    b->e[TWICE].eks_count = 2;
}

/* Together first, then one by one what is left, as an import does. */
static enum lk_err
batch_stage(struct lk_txn *tx, void *arg)
{
    struct batch *b = (struct batch *)arg;
    enum lk_err err = lk_txn_import_stage_many(tx, b->import, b->rows, ROWS);

    for (int i = 0; i < ROWS && err == LK_OK; i++) {
        b->err[i] = b->rows[i].staged || b->rows[i].e == NULL
                        ? LK_OK
                        : lk_txn_import_stage(tx, b->import, i, &b->e[i], &b->conflict[i]);
    }
    return err;
}

static void
conflict_is(const struct batch *b, int line, const char *id, bool by_ek, int with_line)
{
    const struct lk_conflict *c = &b->conflict[line];

    assert_int_equal(b->err[line], LK_ERR_EXISTS);
    assert_string_equal(c->id, id);
    assert_int_equal(c->by_ek, by_ek);
    assert_int_equal(c->import_id, with_line == 0 ? 0 : b->import);
    assert_int_equal(c->import_line, with_line);
}

/*
 * Rows that are staged together come out as if each had been staged alone: a conflict names the
 * live enrollment or the earlier line, a row whose rival was not staged itself is, and rows that
 * were staged before are not counted again.
 */
static void
import_many(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct batch b = {.import = 0};
    struct lk_enrollment e;
    char ids[LK_REGISTRATION_ID_MAX + 1];
    int64_t rows;

    enrollment_make(&e, "live", 1);
    assert_int_equal(do_create(f, &e, NULL), LK_OK);
    assert_int_equal(do_import_begin(f, &b.import), LK_OK);
    batch_make(&b);
    assert_int_equal(in_write(f, batch_stage, &b), LK_OK);
    assert_false(b.rows[NONE].staged);
    assert_int_equal(b.err[NEW_A] | b.err[NEW_B] | b.err[LATE], LK_OK);
    conflict_is(&b, LIVE_ID, "live", false, 0);
    conflict_is(&b, LIVE_EK, "live", true, 0);
    conflict_is(&b, SAME_ID, "new-a", false, NEW_A);
    conflict_is(&b, SAME_EK, "new-a", true, NEW_A);
    conflict_is(&b, TWICE, "new-e", true, TWICE);

    batch_make(&b); /* again, as when an import is resumed */
    assert_int_equal(in_write(f, batch_stage, &b), LK_OK);
    for (int i = NEW_A; i < ROWS; i++) {
        bool staged = i == NEW_A || i == NEW_B || i == LATE;

        assert_true(staged ? b.rows[i].staged || b.conflict[i].import_line == i
                           : b.err[i] == LK_ERR_EXISTS);
    }
    assert_int_equal(do_finish(f, b.import, &rows), LK_OK);
    assert_int_equal(rows, 3);
    do_page(f, "", 10, ids, sizeof(ids));
    assert_string_equal(ids, "live new-a new-b new-c");
    assert_int_equal(do_by_ek(f, 10, ids), LK_OK);
    assert_string_equal(ids, "new-a");
    assert_int_equal(do_by_ek(f, 13, ids), LK_ERR_NOT_FOUND);
    assert_int_equal(do_by_ek(f, 14, ids), LK_OK);
    assert_string_equal(ids, "new-c");
}

static enum lk_err
halves_stage(struct lk_txn *tx, void *arg)
{
    struct batch *b = (struct batch *)arg;
    enum lk_err err = lk_txn_import_stage_many(tx, b->import, b->rows, 3);

    assert_true(err != LK_OK || (b->rows[0].staged && !b->rows[1].staged));
    for (int i = 1; i < 3 && err == LK_OK; i++) {
        b->err[i] = b->rows[i].staged
                        ? LK_OK
                        : lk_txn_import_stage(tx, b->import, i, &b->e[i], &b->conflict[i]);
    }
    return err;
}

/* Of a row one of whose keys is another's, none of the keys stays, and the next row can have it. */
static void
import_many_halves(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct batch b = {.import = 0};
    struct lk_enrollment live;
    char id[LK_REGISTRATION_ID_MAX + 1];
    int64_t rows;

    enrollment_make(&live, "live", 1);
    assert_int_equal(do_create(f, &live, NULL), LK_OK);
    assert_int_equal(do_import_begin(f, &b.import), LK_OK);
    enrollment_make(&b.e[0], "first", 10);
    enrollment_make(&b.e[1], "half", 11);
    b.e[1].eks[1] = live.eks[0];
    b.e[1].eks_count = 2;
    enrollment_make(&b.e[2], "next", 11);
    for (int i = 0; i < 3; i++) {
        b.rows[i] = (struct lk_stage){i, &b.e[i], false};
    }
    assert_int_equal(in_write(f, halves_stage, &b), LK_OK);
    conflict_is(&b, 1, "live", true, 0);
    assert_int_equal(b.err[2], LK_OK);
    assert_int_equal(do_finish(f, b.import, &rows), LK_OK);
    assert_int_equal(rows, 2);
    assert_int_equal(do_by_ek(f, 11, id), LK_OK);
    assert_string_equal(id, "next");
    assert_int_equal(do_get(f, "half", &live), LK_ERR_NOT_FOUND);
    assert_int_equal(do_by_ek(f, 1, id), LK_OK);
    assert_string_equal(id, "live");
}

/* Every member of a row comes back, at its largest too, and numbers go on behind the rows. */
static void
import_many_members(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct batch b = {.import = 0};
    struct lk_enrollment got, after;

    assert_int_equal(do_import_begin(f, &b.import), LK_OK);
    batch_make(&b);
    enrollment_fill(&b.e[NEW_A]);
    assert_int_equal(in_write(f, batch_stage, &b), LK_OK);
    assert_int_equal(do_finish(f, b.import, &(int64_t){0}), LK_OK);
    lk_enrollment_init(&got);
    assert_int_equal(do_get(f, "new-a", &got), LK_OK);
    enrollment_filled(&b.e[NEW_A], &got);
    assert_string_equal(got.etag, b.e[NEW_A].etag);
    assert_int_equal(got.created_ms, f->now_ms);
    assert_int_equal(got.updated_ms, f->now_ms);
    assert_int_equal(got.import_id, b.import);
    assert_int_equal(got.import_line, NEW_A);
    assert_int_equal(got.eks_count, 1);
    assert_int_equal(got.eks[0].pub_len, 316);
    lk_enrollment_fini(&got);
    lk_enrollment_fini(&b.e[NEW_A]);
    enrollment_make(&after, "after", 99);
    assert_int_equal(do_create(f, &after, NULL), LK_OK);
}

struct misuse {
    int64_t import;
    size_t count;
};

static enum lk_err
many_run(struct lk_txn *tx, void *arg)
{
    const struct misuse *m = (const struct misuse *)arg;
    static struct lk_stage rows[LK_STAGE_MAX + 1];

    return lk_txn_import_stage_many(tx, m->import, rows, m->count);
}

/* None, one too many, in a read job, and into an import that is finished or was never begun. */
static void
import_many_misused(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct misuse m = {.count = 0};

    assert_int_equal(in_write(f, many_run, &m), LK_ERR_NOT_FOUND);
    assert_int_equal(do_import_begin(f, &m.import), LK_OK);
    assert_int_equal(in_write(f, many_run, &m), LK_OK);
    assert_int_equal(in_read(f, many_run, &m), LK_ERR_ARG);
    m.count = LK_STAGE_MAX;
    assert_int_equal(in_write(f, many_run, &m), LK_OK);
    m.count = LK_STAGE_MAX + 1;
    assert_int_equal(in_write(f, many_run, &m), LK_ERR_ARG);
    assert_int_equal(do_finish(f, m.import, &(int64_t){0}), LK_OK);
    m.count = 1;
    assert_int_equal(in_write(f, many_run, &m), LK_ERR_NOT_FOUND);
}

/* ---- Registrations ----------------------------------------------------------------------------
 */

/* Every member of the largest registration comes back, with all 64 bits of its numbers. */
static void
registration_roundtrip(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_registration r, got = {0};

    registration_make(&r, "Dev", UINT64_MAX - 1);
    r.substatus = 3;
    memset(r.operation_id, 'o', LK_OPERATION_ID_MAX);
    memset(r.hub, 'h', LK_HOST_NAME_MAX);
    memset(r.device_id, 'd', LK_DEVICE_ID_MAX);
    memset(r.ek_id, 1, sizeof(r.ek_id));
    memset(r.srk_pub, 2, sizeof(r.srk_pub));
    r.srk_pub_len = sizeof(r.srk_pub);
    memset(r.srk_name, 3, sizeof(r.srk_name));
    r.srk_name_len = sizeof(r.srk_name);
    memset(r.auth_key, 4, sizeof(r.auth_key));
    r.auth_key_len = sizeof(r.auth_key);
    memset(r.token_hash, 5, sizeof(r.token_hash));
    r.nonce_key_id = UINT64_MAX;
    r.nonce_epoch = (uint64_t)1 << 63;
    r.nonce_generation = 6;
    r.attested_ms = 7;
    r.created_ms = 8;
    r.error_code = -9;
    memset(r.error_message, 'e', sizeof(r.error_message) - 1);
    r.attestation = LK_ATTESTATION_EK_CERT;
    memset(r.group, 'G', LK_REGISTRATION_ID_MAX);
    assert_int_equal(lk_buf_puts(&r.payload, "{}"), LK_OK);
    assert_int_equal(do_reg_put(f, &r, 0), LK_OK);
    assert_int_equal(do_reg_get(f, "dEV", &got), LK_OK);
    assert_int_equal(got.updated_ms, f->now_ms);
    assert_int_equal(strlen(got.etag), LK_ETAG_CAP - 1);
    assert_int_equal(got.payload.len, 2);
    lk_buf_fini(&got.payload);
    lk_buf_fini(&r.payload);
    assert_memory_equal(&got, &r, sizeof(r));
}

/* A put needs the generation that is there; none is generation 0. */
static void
registration_generations(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_registration r, got = {0};

    registration_make(&r, "a", 2);
    assert_int_equal(do_reg_put(f, &r, 1), LK_ERR_PRECONDITION);
    assert_int_equal(do_reg_get(f, "a", &got), LK_ERR_NOT_FOUND);
    assert_int_equal(do_reg_put(f, &r, 0), LK_OK);
    assert_int_equal(do_reg_put(f, &r, 0), LK_ERR_PRECONDITION);
    r.generation = 3;
    r.status = LK_REG_ASSIGNING;
    assert_int_equal(do_reg_put(f, &r, 1), LK_ERR_PRECONDITION);
    assert_int_equal(do_reg_put(f, &r, 2), LK_OK);
    r.generation = 2;
    assert_int_equal(do_reg_put(f, &r, 3), LK_ERR_ARG);
    assert_int_equal(do_reg_get(f, "a", &got), LK_OK);
    assert_int_equal(got.generation, 3);
    assert_int_equal(got.status, LK_REG_ASSIGNING);
    registration_make(&r, "", 1);
    assert_int_equal(do_reg_put(f, &r, 0), LK_ERR_ARG);
    registration_make(&r, "b", 1);
    r.auth_key_len = sizeof(r.auth_key) + 1;
    assert_int_equal(do_reg_put(f, &r, 0), LK_ERR_ARG);
}

/* A deleted registration forgets all but its generation, which goes on growing. */
static void
registration_delete(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_registration r, got = {0};

    assert_int_equal(do_reg_delete(f, "a", NULL), LK_ERR_NOT_FOUND);
    registration_make(&r, "a", 5);
    r.auth_key_len = 10;
    assert_int_equal(lk_buf_puts(&r.payload, "{}"), LK_OK);
    assert_int_equal(do_reg_put(f, &r, 0), LK_OK);
    lk_registration_fini(&r);
    assert_int_equal(do_reg_delete(f, "A", "other"), LK_ERR_PRECONDITION);
    assert_int_equal(do_reg_delete(f, "A", r.etag), LK_OK);
    assert_int_equal(do_reg_get(f, "a", &got), LK_OK);
    assert_int_equal(got.status, LK_REG_NONE);
    assert_int_equal(got.generation, 6);
    assert_int_equal(got.auth_key_len + got.payload.len, 0);
    assert_int_equal(do_reg_delete(f, "a", NULL), LK_ERR_NOT_FOUND);
    r.generation = 7;
    assert_int_equal(do_reg_put(f, &r, 0), LK_ERR_PRECONDITION);
    assert_int_equal(do_reg_put(f, &r, 5), LK_ERR_PRECONDITION);
    assert_int_equal(do_reg_put(f, &r, 6), LK_OK);
}

struct reg_page {
    const char *after;
    char ids[64];
};

static enum lk_err
reg_add(void *ctx, const struct lk_registration *r)
{
    strcat((char *)ctx, r->id);
    return LK_OK;
}

static enum lk_err
reg_page_run(struct lk_txn *tx, void *arg)
{
    struct reg_page *p = (struct reg_page *)arg;

    p->ids[0] = '\0';
    return lk_txn_registration_page(tx, SCOPE, p->after, 2, reg_add, p->ids);
}

/* Pages leave out deleted registrations. */
static void
registration_pages(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    const char *ids[] = {"D", "c", "B", "a"};
    struct lk_registration r;
    struct reg_page p = {"", ""};

    for (size_t i = 0; i < LK_ARRAY_LEN(ids); i++) {
        registration_make(&r, ids[i], 1);
        assert_int_equal(do_reg_put(f, &r, 0), LK_OK);
    }
    assert_int_equal(do_reg_delete(f, "b", NULL), LK_OK);
    assert_int_equal(in_read(f, reg_page_run, &p), LK_OK);
    assert_string_equal(p.ids, "ac");
    p.after = "C";
    assert_int_equal(in_read(f, reg_page_run, &p), LK_OK);
    assert_string_equal(p.ids, "D");
}

/* ---- Hubs and identities ----------------------------------------------------------------------
 */

static enum lk_err
hub_add(void *ctx, const struct lk_hub *h)
{
    strcat((char *)ctx, h->name);
    return LK_OK;
}

static enum lk_err
hubs_run(struct lk_txn *tx, void *arg)
{
    char *list = (char *)arg;
    struct lk_hub h = {.name = "hub-b", .kind = LK_HUB_HTTP, .weight = 1000, .allocatable = true};
    enum lk_err err;

    list[0] = '\0';
    if ((err = lk_buf_puts(&h.sealed_connection, "sealed")) != LK_OK ||
        (err = lk_txn_hub_put(tx, &h)) != LK_OK) {
        return err;
    }
    lk_hub_fini(&h);
    h = (struct lk_hub){.name = "hub-a", .kind = LK_HUB_EMBEDDED, .weight = 1};
    if ((err = lk_txn_hub_put(tx, &h)) != LK_OK ||
        (err = lk_txn_hub_get(tx, "hub-b", &h)) != LK_OK) {
        return err;
    }
    if (h.kind != LK_HUB_HTTP || h.weight != 1000 || !h.allocatable ||
        h.sealed_connection.len != 6 || h.created_ms != lk_txn_now_ms(tx)) {
        return LK_ERR_FORMAT;
    }
    if (h.region[0] != '\0') {
        return LK_ERR_FORMAT;
    }
    h.weight = 5;
    memset(h.region, 'r', LK_REGION_MAX);
    lk_buf_fini(&h.sealed_connection);
    if ((err = lk_txn_hub_put(tx, &h)) != LK_OK ||
        (err = lk_txn_hub_get(tx, "hub-b", &h)) != LK_OK || h.weight != 5 ||
        h.sealed_connection.len != 0 || strlen(h.region) != LK_REGION_MAX) {
        return err != LK_OK ? err : LK_ERR_FORMAT;
    }
    return lk_txn_hub_each(tx, hub_add, list);
}

static enum lk_err
hub_remove(struct lk_txn *tx, void *arg)
{
    return lk_txn_hub_delete(tx, (const char *)arg);
}

/* Hubs are put, read, changed, listed by name and deleted. */
static void
hubs(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    char list[64], name[] = "hub-a";

    assert_int_equal(in_write(f, hubs_run, list), LK_OK);
    assert_string_equal(list, "hub-ahub-b");
    assert_int_equal(in_write(f, hub_remove, name), LK_OK);
    assert_int_equal(in_write(f, hub_remove, name), LK_ERR_NOT_FOUND);
}

struct identity_call {
    struct lk_identity id;
    const char *etag;
    enum { PUT, GET, DELETE } what;
};

static enum lk_err
identity_run(struct lk_txn *tx, void *arg)
{
    struct identity_call *c = (struct identity_call *)arg;

    switch (c->what) {
    case PUT:
        return lk_txn_identity_put(tx, &c->id, c->etag);
    case GET:
        return lk_txn_identity_get(tx, c->id.hub, c->id.device_id, &c->id);
    default:
        return lk_txn_identity_delete(tx, c->id.hub, c->id.device_id, c->etag);
    }
}

static enum lk_err
do_identity(struct fixture *f, struct identity_call *c, int what, const char *etag)
{
    c->what = (__typeof__(c->what))what;
    c->etag = etag;
    return in_write(f, identity_run, c);
}

/* Identities are put under each kind of etag condition; device ids are compared exactly. */
static void
identities(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct identity_call c = {
        .id = {.hub = "hub", .device_id = "Dev", .generation_id = "g1", .auth = LK_AUTH_SAS}};
    char first[LK_ETAG_CAP];
    int64_t born_ms = f->now_ms;

    assert_int_equal(do_identity(f, &c, GET, NULL), LK_ERR_NOT_FOUND);
    assert_int_equal(do_identity(f, &c, PUT, "*"), LK_ERR_NOT_FOUND);
    memset(c.id.primary, 1, LK_SEALED_KEY_MAX);
    c.id.primary_len = LK_SEALED_KEY_MAX;
    memset(c.id.secondary, 2, 60);
    c.id.secondary_len = 60;
    c.id.enabled = true;
    c.id.secondary_retires = true;
    assert_int_equal(do_identity(f, &c, PUT, ""), LK_OK);
    assert_int_equal(do_identity(f, &c, PUT, ""), LK_ERR_EXISTS);
    memcpy(first, c.id.etag, sizeof(first));
    f->now_ms += 5;
    c.id.created_ms = 0;
    assert_int_equal(do_identity(f, &c, PUT, first), LK_OK);
    assert_int_equal(do_identity(f, &c, PUT, first), LK_ERR_PRECONDITION);
    memset(&c.id.primary, 0, sizeof(c.id) - offsetof(struct lk_identity, primary));
    assert_int_equal(do_identity(f, &c, GET, NULL), LK_OK);
    assert_int_equal(c.id.primary_len, LK_SEALED_KEY_MAX);
    assert_int_equal(c.id.primary[LK_SEALED_KEY_MAX - 1], 1);
    assert_int_equal(c.id.secondary_len, 60);
    assert_true(c.id.enabled && c.id.secondary_retires);
    assert_string_equal(c.id.generation_id, "g1");
    assert_int_equal(c.id.created_ms, born_ms);
    assert_int_equal(c.id.updated_ms, f->now_ms);
    c.id.device_id[0] = 'd';
    assert_int_equal(do_identity(f, &c, GET, NULL), LK_ERR_NOT_FOUND);
    c.id.device_id[0] = 'D';
    assert_int_equal(do_identity(f, &c, DELETE, first), LK_ERR_PRECONDITION);
    assert_int_equal(do_identity(f, &c, DELETE, "*"), LK_OK);
    assert_int_equal(do_identity(f, &c, DELETE, NULL), LK_ERR_NOT_FOUND);
    c.id.primary_len = LK_SEALED_KEY_MAX + 1;
    assert_int_equal(do_identity(f, &c, PUT, NULL), LK_ERR_ARG);
}

static enum lk_err
identity_add(void *ctx, const struct lk_identity *id)
{
    strcat((char *)ctx, id->device_id);
    return LK_OK;
}

static enum lk_err
identity_page_run(struct lk_txn *tx, void *arg)
{
    return lk_txn_identity_page(tx, "hub", "B", 2, identity_add, arg);
}

/* Pages of identities are in order of the exact device id, and of one hub. */
static void
identity_pages(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    const char *ids[] = {"a", "B", "A", "c"};
    struct identity_call c = {.id = {.hub = "other", .device_id = "b", .auth = LK_AUTH_SAS}};
    char list[16] = "";

    assert_int_equal(do_identity(f, &c, PUT, NULL), LK_OK);
    for (size_t i = 0; i < LK_ARRAY_LEN(ids); i++) {
        c.id = (struct lk_identity){.hub = "hub", .auth = LK_AUTH_SAS};
        (void)snprintf(c.id.device_id, sizeof(c.id.device_id), "%s", ids[i]);
        assert_int_equal(do_identity(f, &c, PUT, NULL), LK_OK);
    }
    assert_int_equal(in_read(f, identity_page_run, list), LK_OK);
    assert_string_equal(list, "ac");
}

/* ---- Errands ----------------------------------------------------------------------------------
 */

static enum lk_err
errand_add(void *ctx, struct lk_errand *e)
{
    (void)strcat(strcat((char *)ctx, e->owner), "/");
    (void)strcat(strcat((char *)ctx, e->name), " ");
    return LK_OK;
}

/* kind, owner, name, hub, and when it is due; overdue an hour later. */
static enum lk_err
errand_make(struct lk_txn *tx, enum lk_errand_kind kind, const char *owner, const char *name,
            const char *hub, int64_t due_ms)
{
    struct lk_errand e = {.kind = kind,
                          .version = UINT64_MAX >> 1,
                          .tries = 3,
                          .failure = LK_ERR_TLS,
                          .created_ms = 7,
                          .due_ms = due_ms,
                          .deadline_ms = due_ms + 3600000};
    enum lk_err err;

    if ((err = lk_strcpy(e.owner, sizeof(e.owner), owner)) != LK_OK ||
        (err = lk_strcpy(e.name, sizeof(e.name), name)) != LK_OK ||
        (err = lk_strcpy(e.hub, sizeof(e.hub), hub)) != LK_OK ||
        (err = lk_buf_puts(&e.sealed, "sealed")) != LK_OK) {
        return err;
    }
    err = lk_txn_errand_put(tx, &e);
    lk_errand_fini(&e);
    return err;
}

static enum lk_err
errands_put_run(struct lk_txn *tx, void *arg)
{
    int64_t now = lk_txn_now_ms(tx);
    enum lk_err err;

    if (errand_make(tx, LK_ERRAND_ASSIGN, "", "Dev-1", "hub-b", now) != LK_ERR_ARG ||
        errand_make(tx, LK_ERRAND_ASSIGN, SCOPE, "", "hub-b", now) != LK_ERR_ARG ||
        errand_make(tx, LK_ERRAND_ASSIGN, SCOPE, "Dev-1", "", now) != LK_ERR_ARG ||
        errand_make(tx, (enum lk_errand_kind)0, SCOPE, "Dev-1", "hub-b", now) != LK_ERR_ARG) {
        return LK_ERR_FORMAT;
    }
    if ((err = errand_make(tx, LK_ERRAND_ASSIGN, SCOPE, "Dev-1", "hub-b", now - 1)) != LK_OK ||
        (err = errand_make(tx, LK_ERRAND_LEAVE, "hub-b", "Dev-1", "hub-b", now - 2)) != LK_OK ||
        (err = errand_make(tx, LK_ERRAND_LEAVE, "hub-b", "dev-1", "hub-b", now + 1)) != LK_OK) {
        return err;
    }
    return errand_make(tx, LK_ERRAND_LEAVE, "hub-d", "x", "hub-d", now - 3600000);
}

struct errand_lists {
    char hubs[64], due[128], some[128], overdue[128];
    int64_t count, counted_to;
    struct lk_errand got;
};

static enum lk_err
errands_list_run(struct lk_txn *tx, void *arg)
{
    struct errand_lists *l = (struct errand_lists *)arg;
    char hub[LK_HOST_NAME_MAX + 1] = "";
    enum lk_err err;

    memset(l, 0, sizeof(*l));
    while ((err = lk_txn_errand_next_hub(tx, hub, hub)) == LK_OK) {
        (void)strcat(l->hubs, hub);
    }
    if (err != LK_ERR_NOT_FOUND ||
        (err = lk_txn_errand_due(tx, "hub-b", 10, errand_add, l->due)) != LK_OK ||
        (err = lk_txn_errand_due(tx, "hub-b", 1, errand_add, l->some)) != LK_OK ||
        (err = lk_txn_errand_overdue(tx, 10, errand_add, l->overdue)) != LK_OK ||
        (err = lk_txn_errand_count(tx, "hub-b", 100, &l->count)) != LK_OK ||
        (err = lk_txn_errand_count(tx, "hub-b", 2, &l->counted_to)) != LK_OK ||
        lk_txn_errand_count(tx, "hub-b", -1, &l->count) != LK_ERR_ARG) {
        return err;
    }
    return lk_txn_errand_get(tx, LK_ERRAND_ASSIGN, SCOPE, "DEV-1", &l->got);
}

static enum lk_err
errand_drop_run(struct lk_txn *tx, void *arg)
{
    return lk_txn_errand_delete(tx, LK_ERRAND_LEAVE, "hub-b", (const char *)arg);
}

static enum lk_err
errand_get_run(struct lk_txn *tx, void *arg)
{
    return lk_txn_errand_get(tx, LK_ERRAND_ASSIGN, SCOPE, (const char *)arg,
                             &(struct lk_errand){.tries = 0});
}

/* Errands are put, found by hub and by time, and deleted; the name of an ASSIGN in any case. */
static void
errands(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct errand_lists l;
    char upper[] = "Dev-1", other[] = "DEV-1";

    assert_int_equal(in_read(f, errands_put_run, NULL), LK_ERR_ARG); /* it cannot write */
    assert_int_equal(in_write(f, errands_put_run, NULL), LK_OK);
    assert_int_equal(in_read(f, errands_list_run, &l), LK_OK);
    assert_string_equal(l.hubs, "hub-bhub-d");
    assert_string_equal(l.due, "hub-b/Dev-1 " SCOPE "/dev-1 ");
    assert_string_equal(l.some, "hub-b/Dev-1 ");
    assert_string_equal(l.overdue, "hub-d/x ");
    assert_int_equal(l.count, 3);
    assert_int_equal(l.counted_to, 2);
    assert_int_equal(l.got.version, UINT64_MAX >> 1);
    assert_int_equal(l.got.tries, 3);
    assert_int_equal(l.got.failure, LK_ERR_TLS);
    assert_int_equal(l.got.created_ms, 7);
    assert_int_equal(l.got.deadline_ms, l.got.due_ms + 3600000);
    assert_memory_equal(l.got.sealed.data, "sealed", 6);
    lk_errand_fini(&l.got);
    assert_int_equal(in_write(f, errand_drop_run, other), LK_ERR_NOT_FOUND);
    assert_int_equal(in_write(f, errand_drop_run, upper), LK_OK);
    assert_int_equal(in_write(f, errand_drop_run, upper), LK_ERR_NOT_FOUND);
    assert_int_equal(in_read(f, errands_list_run, &l), LK_OK);
    assert_string_equal(l.due, SCOPE "/dev-1 ");
    lk_errand_fini(&l.got);
}

struct place {
    const char *hub, *device_id, *own;
    char scope[LK_ID_SCOPE_MAX + 1], id[LK_REGISTRATION_ID_MAX + 1];
};

static enum lk_err
place_run(struct lk_txn *tx, void *arg)
{
    struct place *p = (struct place *)arg;

    return lk_txn_registration_at(tx, p->hub, p->device_id, SCOPE, p->own, p->scope, p->id);
}

/* Who is at a hub under a device id, which letter case tells apart, but for the asker and what was
 * deleted. */
static void
registration_at(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_registration r;
    struct place p = {.hub = "hub-a", .device_id = "Dev-1", .own = "other"};

    registration_make(&r, "Reg-1", 1);
    (void)strcpy(r.hub, "hub-a");
    (void)strcpy(r.device_id, "Dev-1");
    assert_int_equal(do_reg_put(f, &r, 0), LK_OK);
    lk_registration_fini(&r);
    assert_int_equal(in_read(f, place_run, &p), LK_OK);
    assert_string_equal(p.scope, SCOPE);
    assert_string_equal(p.id, "Reg-1");
    p.own = "REG-1";
    assert_int_equal(in_read(f, place_run, &p), LK_ERR_NOT_FOUND);
    p.own = "";
    assert_int_equal(in_read(f, place_run, &p), LK_ERR_ARG);
    p.own = "other";
    p.device_id = "dev-1";
    assert_int_equal(in_read(f, place_run, &p), LK_ERR_NOT_FOUND);
    p.device_id = "Dev-1";
    p.hub = "hub-b";
    assert_int_equal(in_read(f, place_run, &p), LK_ERR_NOT_FOUND);
    p.hub = "";
    assert_int_equal(in_read(f, place_run, &p), LK_ERR_NOT_FOUND);
    p.hub = "hub-a";
    assert_int_equal(do_reg_delete(f, "reg-1", NULL), LK_OK);
    assert_int_equal(in_read(f, place_run, &p), LK_ERR_NOT_FOUND);
}

/* An errand for a registration goes with it. */
static void
errand_of_a_deleted_registration(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_registration r;
    char id[] = "dev-1";

    registration_make(&r, "dev-1", 1);
    assert_int_equal(do_reg_put(f, &r, 0), LK_OK);
    assert_int_equal(in_write(f, errands_put_run, NULL), LK_OK);
    assert_int_equal(do_reg_delete(f, "DEV-1", NULL), LK_OK);
    assert_int_equal(in_read(f, errand_get_run, id), LK_ERR_NOT_FOUND);
    lk_registration_fini(&r);
}

/* ---- Audit ------------------------------------------------------------------------------------
 */

struct audit_seen {
    int64_t seq, time_ms;
    char texts[512];
};

static enum lk_err
audit_keep(void *ctx, const struct lk_audit *a)
{
    struct audit_seen *seen = (struct audit_seen *)ctx;

    seen->seq = a->seq;
    seen->time_ms = a->time_ms;
    (void)snprintf(seen->texts, sizeof(seen->texts), "%s|%s|%s|%s|%.20s", a->actor, a->action,
                   a->scope, a->subject, a->detail);
    return LK_OK;
}

static enum lk_err
audit_page_run(struct lk_txn *tx, void *arg)
{
    struct audit_seen *seen = (struct audit_seen *)arg;

    return lk_txn_audit_page(tx, seen->seq, 1, audit_keep, seen);
}

/* An empty chain is sound; records get seq 1, 2, ..., the time, and their texts back, but
 * for bytes that are no text. */
static void
audit_chain(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_audit_cursor cursor = {0}, kept;
    struct audit_seen seen = {0};

    assert_int_equal(do_verify(f, &cursor), LK_OK);
    assert_int_equal(cursor.seq, 0);
    assert_int_equal(do_audit(f, "dev \"1\"\n\xff", "{}"), LK_OK);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(do_audit(f, "d", ""), LK_OK);
    }
    assert_int_equal(in_read(f, audit_page_run, &seen), LK_OK);
    assert_int_equal(seen.seq, 1);
    assert_int_equal(seen.time_ms, f->now_ms);
    assert_string_equal(seen.texts,
                        "cli:root|enrollment.create|" SCOPE "|dev \"1\"\n\xef\xbf\xbd|{}");
    assert_int_equal(do_verify(f, &cursor), LK_OK);
    assert_int_equal(cursor.seq, 7);
    kept = cursor;
    assert_int_equal(do_audit(f, "d", ""), LK_OK);
    fixture_reopen(f);
    assert_int_equal(do_verify(f, &cursor), LK_OK);
    assert_int_equal(cursor.seq, 8);
    kept.hash[0] ^= 1;
    assert_int_equal(do_verify(f, &kept), LK_ERR_REFUSED);
    assert_int_equal(kept.seq, 7);
}

/* Another key does not verify the first record, so nobody without it can write a chain. */
static void
audit_is_keyed(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_audit_cursor cursor = {0};

    assert_int_equal(do_audit(f, "d", ""), LK_OK);
    f->config.audit_key[31] ^= 1;
    fixture_reopen(f);
    assert_int_equal(do_verify(f, &cursor), LK_ERR_REFUSED);
    assert_int_equal(cursor.seq, 1);
}

/* A text that is too long is cut between two characters; the largest detail fits, one more byte is
 * refused. */
static void
audit_is_bounded(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_audit_cursor cursor = {0};
    struct audit_seen seen = {0};
    char subject[400], detail[LK_AUDIT_DETAIL_MAX + 2];
    const char *kept;

    memset(subject, 's', sizeof(subject));
    memcpy(subject + 255, "\xe2\x82\xac", 3);
    subject[sizeof(subject) - 1] = '\0';
    memset(detail, 'd', sizeof(detail));
    detail[LK_AUDIT_DETAIL_MAX + 1] = '\0';
    assert_int_equal(do_audit(f, subject, detail), LK_ERR_LIMIT);
    detail[LK_AUDIT_DETAIL_MAX] = '\0';
    assert_int_equal(do_audit(f, subject, detail), LK_OK);
    assert_int_equal(in_read(f, audit_page_run, &seen), LK_OK);
    kept = strchr(strchr(strchr(seen.texts, '|') + 1, '|') + 1, '|') + 1;
    assert_int_equal(strspn(kept, "s"), 255);
    assert_int_equal(kept[255], '|');
    assert_int_equal(do_verify(f, &cursor), LK_OK);
}

static enum lk_err
audit_then_fail(struct lk_txn *tx, void *arg)
{
    enum lk_err err = lk_txn_audit_append(tx, "a", "b", "", "", "");

    return err != LK_OK ? err : LK_ERR_CANCELLED;
}

/* The record of a job that fails is gone with it, and leaves no gap. */
static void
audit_follows_the_job(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_audit_cursor cursor = {0};

    assert_int_equal(in_write(f, audit_then_fail, NULL), LK_ERR_CANCELLED);
    assert_int_equal(do_audit(f, "d", ""), LK_OK);
    assert_int_equal(do_verify(f, &cursor), LK_OK);
    assert_int_equal(cursor.seq, 1);
}

/* ---- Jobs -------------------------------------------------------------------------------------
 */

/* What was committed is there after a restart; the scope is not added again. */
static void
reopen(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_enrollment e;

    enrollment_make(&e, "a", 1);
    assert_int_equal(do_create(f, &e, NULL), LK_OK);
    fixture_reopen(f);
    assert_int_equal(do_get(f, "a", &e), LK_OK);
    assert_int_equal(do_scope_add(f, SCOPE), LK_ERR_EXISTS);
}

/* A store that is opened to read refuses write jobs and answers read jobs. */
static void
read_only(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_enrollment e;

    enrollment_make(&e, "a", 1);
    assert_int_equal(do_create(f, &e, NULL), LK_OK);
    f->config.read_only = true;
    fixture_reopen(f);
    assert_int_equal(do_delete(f, "a", NULL), LK_ERR_ARG);
    assert_int_equal(do_get(f, "a", &e), LK_OK);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(scopes),
        CASE(enrollment_roundtrip),
        CASE(enrollment_defaults),
        CASE(enrollment_misuse),
        CASE(enrollment_conflicts),
        CASE(enrollment_scopes_are_apart),
        CASE(enrollment_replace),
        CASE(enrollment_replace_conflict),
        CASE(enrollment_delete),
        CASE(enrollment_pages),
        CASE(callbacks_may_ask),
        CASE(read_job_cannot_write),
        CASE(import_appears_whole),
        CASE(import_finished_is_final),
        CASE(import_conflicts),
        CASE(import_reserves),
        CASE(import_drop),
        CASE(import_abandoned),
        CASE(import_of_another_scope),
        CASE(import_goes_on_after_conflict),
        CASE(import_many),
        CASE(import_many_halves),
        CASE(import_many_members),
        CASE(import_many_misused),
        CASE(registration_roundtrip),
        CASE(registration_generations),
        CASE(registration_delete),
        CASE(registration_pages),
        CASE(hubs),
        CASE(identities),
        CASE(errands),
        CASE(registration_at),
        CASE(errand_of_a_deleted_registration),
        CASE(identity_pages),
        CASE(audit_chain),
        CASE(audit_is_keyed),
        CASE(audit_is_bounded),
        CASE(audit_follows_the_job),
        CASE(reopen),
        CASE(read_only),
    };

    return fixture_main(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
