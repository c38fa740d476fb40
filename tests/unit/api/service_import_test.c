/* Tests of src/api/service_import.c, on a real store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "api/import_json.h"
#include "service_stage.h"

static void
ask(struct stage *s, enum lk_http_method method, const char *path, const char *query)
{
    stage_ask(s, method, path, NULL); /* makes the token too, and is refused for its method */
    s->req.query = query;
    stage_send(s);
    stage_wait(s);
}

struct plan {
    const char *scope;
    int64_t rows;
    bool finish;
    int64_t id;
};

static enum lk_err
plan_run(struct lk_txn *tx, void *arg)
{
    struct plan *p = arg;
    struct lk_enrollment e;
    enum lk_err err = lk_txn_import_begin(tx, p->scope, "m.csv", &p->id);
    int64_t rows;

    for (int64_t i = 0; err == LK_OK && i < p->rows; i++) {
        lk_enrollment_init(&e);
        (void)snprintf(e.scope, sizeof(e.scope), "%s", p->scope);
        (void)snprintf(e.id, sizeof(e.id), "import-%lld-%lld", (long long)p->id, (long long)i);
        e.attestation = LK_ATTESTATION_TPM;
        e.eks_count = 1;
        memcpy(e.eks[0].id, e.id, 16);
        e.eks[0].id[20] = (uint8_t)p->id;
        e.eks[0].id[21] = (uint8_t)(i >> 8);
        e.eks[0].id[22] = (uint8_t)i;
        e.eks[0].pub_len = 4;
        err = lk_txn_import_stage(tx, p->id, i + 1, &e, NULL);
        lk_enrollment_fini(&e);
    }
    return err == LK_OK && p->finish ? lk_txn_import_finish(tx, p->id, &rows) : err;
}

static int64_t
import_make(struct stage *s, int64_t rows, bool finish)
{
    struct plan p = {.scope = RIG_SCOPE, .rows = rows, .finish = finish};

    assert_int_equal(lk_store_write_wait(s->rig.session, plan_run, &p), LK_OK);
    return p.id;
}

static size_t
listed(struct stage *s, const char *query, struct lk_import *ret_first)
{
    json_t *answer, *list;
    size_t count;

    stage_ask(s, LK_HTTP_GET, "/latchkey/v1/imports", NULL);
    s->req.query = query;
    stage_send(s);
    stage_wait(s);
    stage_expect(s, 200);
    answer = stage_json(s);
    list = json_object_get(answer, "imports");
    count = json_array_size(list);
    if (count > 0) {
        assert_int_equal(lk_import_entry_parse(json_array_get(list, 0), ret_first), LK_OK);
    }
    json_decref(answer);
    return count;
}

/* The latest first, in pages. */
static void
lists(void **state)
{
    struct lk_import first;
    struct stage s;
    int64_t one, two;
    char query[32];

    stage_start(&s, NULL);
    assert_int_equal(listed(&s, "", &first), 0);
    one = import_make(&s, 3, true);
    two = import_make(&s, 2, false);
    assert_int_equal(listed(&s, "", &first), 2);
    assert_int_equal(first.id, two);
    assert_int_equal(first.state, LK_IMPORT_STAGING);
    assert_int_equal(first.rows_count, 2);
    assert_int_equal(listed(&s, "limit=1", &first), 1);
    (void)snprintf(query, sizeof(query), "before=%lld&limit=5", (long long)two);
    assert_int_equal(listed(&s, query, &first), 1);
    assert_int_equal(first.id, one);
    assert_int_equal(first.state, LK_IMPORT_FINISHED);
    assert_int_equal(listed(&s, "limit=0", &first), 0);
    ask(&s, LK_HTTP_GET, "/latchkey/v1/imports", "before=x");
    stage_expect_code(&s, LK_SVC_BAD_REQUEST);
    stage_stop(&s);
}

static bool
undo(struct stage *s, int64_t id, const char *query, struct lk_import_undone *ret)
{
    char path[64];
    json_t *answer;
    bool left = false;

    (void)snprintf(path, sizeof(path), "/latchkey/v1/imports/%lld", (long long)id);
    stage_ask(s, LK_HTTP_GET, path, NULL); /* makes the token; there is no GET yet */
    s->req.method = LK_HTTP_DELETE;
    s->req.query = query;
    stage_send(s);
    stage_wait(s);
    stage_expect(s, 200);
    answer = stage_json(s);
    assert_int_equal(lk_import_undone_parse(answer, ret, &left), LK_OK);
    json_decref(answer);
    return left;
}

/* Out of effect with the first call; the rows go a call at a time, the last one with the import. */
static void
undone_in_steps(void **state)
{
    struct lk_import_undone u;
    struct lk_import first;
    struct stage s;
    int64_t id;

    stage_start(&s, NULL);
    id = import_make(&s, 2 * LK_IMPORT_UNDO_ROWS + 1, true);
    stage_ask(&s, LK_HTTP_GET, "/enrollments/import-1-7", NULL);
    stage_expect(&s, 200);
    assert_true(undo(&s, id, "", &u));
    assert_int_equal(u.rows_gone, 2 * LK_IMPORT_UNDO_ROWS + 1);
    assert_false(u.unfinished);
    stage_ask(&s, LK_HTTP_GET, "/enrollments/import-1-1000", NULL);
    stage_expect(&s, 404);
    assert_int_equal(listed(&s, "", &first), 1);
    assert_int_equal(first.state, LK_IMPORT_DROPPING);
    assert_true(undo(&s, id, "", &u));
    assert_false(undo(&s, id, "force=1", &u));
    assert_int_equal(listed(&s, "", &first), 0);
    stage_ask(&s, LK_HTTP_DELETE, "/latchkey/v1/imports/1", NULL);
    stage_expect_code(&s, LK_DPS_NOT_FOUND);
    stage_stop(&s);
}

/* One that is not finished is given up; what is no number of an import is not there. */
static void
given_up(void **state)
{
    static const char *const none[] = {"/latchkey/v1/imports/0", "/latchkey/v1/imports/x",
                                       "/latchkey/v1/imports/-1", "/latchkey/v1/imports/99",
                                       "/latchkey/v1/imports/18446744073709551615"};
    struct lk_import_undone u;
    struct stage s;
    int64_t id;

    stage_start(&s, NULL);
    id = import_make(&s, 5, false);
    assert_false(undo(&s, id, "", &u));
    assert_true(u.unfinished);
    for (size_t i = 0; i < LK_ARRAY_LEN(none); i++) {
        stage_ask(&s, LK_HTTP_DELETE, none[i], NULL);
        stage_expect_code(&s, LK_DPS_NOT_FOUND);
    }
    stage_ask(&s, LK_HTTP_DELETE, "/latchkey/v1/imports", NULL);
    stage_expect(&s, 405);
    stage_stop(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists),
        cmocka_unit_test(undone_in_steps),
        cmocka_unit_test(given_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
