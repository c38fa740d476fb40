/* Numbers that the store keeps: whatever is done to the rows, they agree. */
#include "fixture.h"

#include <stdio.h>

/* The numbers of SCOPE. */
struct counts {
    const char *group;
    int64_t enrollments, of[LK_REG_FAILED + 1], of_group;
};

static enum lk_err
counts_run(struct lk_txn *tx, void *arg)
{
    struct counts *c = (struct counts *)arg;
    enum lk_err err = lk_txn_enrollment_count(tx, SCOPE, &c->enrollments);

    for (int i = LK_REG_NONE; i <= LK_REG_FAILED && err == LK_OK; i++) {
        err = lk_txn_registration_count(tx, SCOPE, (enum lk_reg_status)i, &c->of[i]);
    }
    return err == LK_OK ? lk_txn_registration_count_of_group(tx, SCOPE, c->group, &c->of_group)
                        : err;
}

static void
registrations_are(struct fixture *f, int none, int assigning, int assigned, int failed,
                  int of_group)
{
    struct counts c = {.group = "GROUP"};

    assert_int_equal(in_read(f, counts_run, &c), LK_OK);
    assert_int_equal(c.of[LK_REG_NONE], none);
    assert_int_equal(c.of[LK_REG_ASSIGNING], assigning);
    assert_int_equal(c.of[LK_REG_ASSIGNED], assigned);
    assert_int_equal(c.of[LK_REG_FAILED], failed);
    assert_int_equal(c.of_group, of_group);
}

static void
reg_put(struct fixture *f, const char *id, enum lk_reg_status status, const char *group,
        uint64_t generation)
{
    struct lk_registration r;

    registration_make(&r, id, generation);
    r.status = status;
    (void)snprintf(r.group, sizeof(r.group), "%s", group);
    assert_int_equal(do_reg_put(f, &r, generation - 1), LK_OK);
}

/* A new store has nothing, and nothing is asked of another scope's rows. */
static void
nothing_is_zero(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_enrollment e;
    struct lk_registration r;

    registrations_are(f, 0, 0, 0, 0, 0);
    assert_int_equal(do_count(f), 0);
    assert_string_equal(do_count_check(f, false), "");
    assert_int_equal(do_scope_add(f, "0ne000000ff"), LK_OK);
    enrollment_make(&e, "a", 1);
    (void)snprintf(e.scope, sizeof(e.scope), "0ne000000ff");
    assert_int_equal(do_create(f, &e, NULL), LK_OK);
    registration_make(&r, "a", 1);
    (void)snprintf(r.scope, sizeof(r.scope), "0ne000000ff");
    (void)snprintf(r.group, sizeof(r.group), "group");
    assert_int_equal(do_reg_put(f, &r, 0), LK_OK);
    registrations_are(f, 0, 0, 0, 0, 0);
    assert_int_equal(do_count(f), 0);
    assert_string_equal(do_count_check(f, false), "");
}

/* Each way of a registration from status to status and from group to group, and deleted. */
static void
registrations_are_counted(void **state)
{
    struct fixture *f = (struct fixture *)*state;

    reg_put(f, "a", LK_REG_ASSIGNING, "", 1);
    reg_put(f, "b", LK_REG_ASSIGNED, "Group", 1);
    reg_put(f, "c", LK_REG_FAILED, "gROUP", 1);
    registrations_are(f, 0, 1, 1, 1, 2);
    reg_put(f, "a", LK_REG_ASSIGNED, "group", 2);
    reg_put(f, "b", LK_REG_ASSIGNED, "GROUP", 2);
    registrations_are(f, 0, 0, 2, 1, 3);
    reg_put(f, "a", LK_REG_FAILED, "other", 3);
    reg_put(f, "b", LK_REG_FAILED, "", 3);
    registrations_are(f, 0, 0, 0, 3, 1);
    assert_int_equal(do_reg_delete(f, "C", NULL), LK_OK);
    registrations_are(f, 1, 0, 0, 2, 0);
    reg_put(f, "c", LK_REG_ASSIGNED, "group", 3);
    registrations_are(f, 0, 0, 1, 2, 1);
    assert_string_equal(do_count_check(f, false), "");
}

/* What did not take effect is not counted: a generation that has moved on, an id that is taken. */
static void
refused_is_not_counted(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_registration r;
    struct lk_enrollment e;

    reg_put(f, "a", LK_REG_ASSIGNED, "group", 1);
    registration_make(&r, "a", 5);
    r.status = LK_REG_FAILED;
    assert_int_equal(do_reg_put(f, &r, 4), LK_ERR_PRECONDITION);
    assert_int_equal(do_reg_put(f, &r, 0), LK_ERR_PRECONDITION);
    registrations_are(f, 0, 0, 1, 0, 1);
    enrollment_make(&e, "a", 1);
    assert_int_equal(do_create(f, &e, NULL), LK_OK);
    assert_int_equal(do_create(f, &e, NULL), LK_ERR_EXISTS);
    assert_int_equal(do_replace(f, &e, NULL, NULL), LK_OK);
    assert_int_equal(do_count(f), 1);
    assert_string_equal(do_count_check(f, false), "");
}

static enum lk_err
undo_run(struct lk_txn *tx, void *arg)
{
    int64_t rows, kept;
    enum lk_err err = lk_txn_import_undo(tx, *(const int64_t *)arg, false, &rows, &kept);

    assert_true(err != LK_OK || (rows == 2 && kept == 1));
    return err;
}

/*
 * Rows of an import count from its end to its undoing, whole or piece by piece, without those that
 * were deleted meanwhile; those that were changed stay.
 */
static void
imports_are_counted(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    struct lk_enrollment e;
    int64_t import, abandoned, rows;
    char id[8];
    bool left = true;

    assert_int_equal(do_import_begin(f, &import), LK_OK);
    assert_int_equal(do_import_begin(f, &abandoned), LK_OK);
    for (int i = 1; i <= 5; i++) {
        (void)snprintf(id, sizeof(id), "d%d", i);
        enrollment_make(&e, id, (uint8_t)i);
        assert_int_equal(do_stage(f, i < 5 ? import : abandoned, i, &e, NULL), LK_OK);
    }
    assert_int_equal(do_count(f), 0);
    assert_string_equal(do_count_check(f, false), "");
    assert_int_equal(do_finish(f, import, &rows), LK_OK);
    assert_int_equal(do_count(f), 4);
    assert_int_equal(do_delete(f, "d1", NULL), LK_OK);
    enrollment_make(&e, "d2", 2);
    assert_int_equal(do_replace(f, &e, NULL, NULL), LK_OK);
    assert_int_equal(do_count(f), 3);
    assert_string_equal(do_count_check(f, false), "");

    assert_int_equal(in_write(f, undo_run, &import), LK_OK);
    assert_int_equal(do_count(f), 1);
    assert_string_equal(do_count_check(f, false), "");
    assert_int_equal(do_drop(f, import, 1, &left), LK_OK);
    assert_true(left);
    assert_int_equal(do_count(f), 1);
    assert_int_equal(do_drop(f, import, 100, &left), LK_OK);
    assert_false(left);
    assert_int_equal(do_drop(f, abandoned, 100, &left), LK_OK);
    assert_int_equal(do_delete(f, "d2", NULL), LK_OK);
    assert_int_equal(do_count(f), 0);
    assert_string_equal(do_count_check(f, false), "");
}

struct presence {
    const char *id;
    bool enabled, connected;
};

static enum lk_err
identity_run(struct lk_txn *tx, void *arg)
{
    const struct presence *p = (const struct presence *)arg;
    struct lk_identity i = {.hub = "hub-a", .auth = LK_AUTH_SAS, .enabled = p->enabled};
    enum lk_err err;

    (void)snprintf(i.device_id, sizeof(i.device_id), "%s", p->id);
    err = lk_txn_identity_put(tx, &i, NULL);
    return err == LK_OK && p->connected ? lk_txn_presence_set(tx, i.hub, i.device_id, true) : err;
}

static enum lk_err
identity_delete_run(struct lk_txn *tx, void *arg)
{
    return lk_txn_identity_delete(tx, "hub-a", (const char *)arg, NULL);
}

/* The numbers of hubs are checked too. */
static void
identities_are_counted(void **state)
{
    static const struct presence all[] = {
        {"a", true, true}, {"b", false, false}, {"c", true, true}, {"a", false, true}};
    struct fixture *f = (struct fixture *)*state;
    char gone[] = "c";

    for (size_t i = 0; i < LK_ARRAY_LEN(all); i++) {
        struct presence p = all[i];

        assert_int_equal(in_write(f, identity_run, &p), LK_OK);
        assert_string_equal(do_count_check(f, false), "");
    }
    assert_int_equal(in_write(f, identity_delete_run, gone), LK_OK);
    assert_string_equal(do_count_check(f, false), "");
}

/* Everything at once, and each number comes out the same when it is counted anew. */
static void
counting_anew_changes_nothing(void **state)
{
    struct fixture *f = (struct fixture *)*state;

    imports_are_counted(state);
    identities_are_counted(state);
    registrations_are_counted(state);
    assert_string_equal(do_count_check(f, true), "");
    assert_string_equal(do_count_check(f, false), "");
    registrations_are(f, 0, 0, 1, 2, 1);
}

/* A store that may only be read is compared, and not repaired. */
static void
read_only_is_not_repaired(void **state)
{
    struct fixture *f = (struct fixture *)*state;
    char error[LK_STORE_ERROR_CAP];

    fixture_close(f);
    f->config.read_only = true;
    fixture_open(f);
    assert_string_equal(do_count_check(f, false), "");
    assert_int_equal(lk_store_count_check(f->st, true, NULL, NULL, error), LK_ERR_ARG);
    fixture_close(f);
    f->config.read_only = false;
    fixture_open(f);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        CASE(nothing_is_zero),           CASE(registrations_are_counted),
        CASE(refused_is_not_counted),    CASE(imports_are_counted),
        CASE(identities_are_counted),    CASE(counting_anew_changes_nothing),
        CASE(read_only_is_not_repaired),
    };

    return fixture_main(argc, argv, tests, LK_ARRAY_LEN(tests));
}
