/*
 * Tests of src/hub/link.c: whose an identity is, what it begins with, and what is carried over. Its
 * keys are tested with the check of tokens.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "hub/twin.h"
#include "support/rig.h"

static const uint8_t key[32] = {'k'};

/* A call of the link; a.device_id is "dev" unless it is given. */
struct call {
    struct rig *rig;
    struct lk_hub_assign a;
    struct lk_hub hub;
    bool existed;
    struct lk_hub_snapshot snapshot;
};

static enum lk_err
assign_run(struct lk_txn *tx, void *arg)
{
    struct call *c = arg;
    struct lk_hub_link link = lk_hub_core_link(c->rig->core);

    return link.ops->assign_in_txn(link.ctx, tx, &c->a, &c->existed);
}

static enum lk_err
remove_run(struct lk_txn *tx, void *arg)
{
    struct call *c = arg;
    struct lk_hub_link link = lk_hub_core_link(c->rig->core);

    return link.ops->remove_in_txn(link.ctx, tx, &c->hub, "dev", &c->a.owner);
}

static enum lk_err
read_run(struct lk_txn *tx, void *arg)
{
    struct call *c = arg;
    struct lk_hub_link link = lk_hub_core_link(c->rig->core);

    return link.ops->read_in_txn(link.ctx, tx, &c->hub, "dev", &c->a.owner, &c->snapshot);
}

static void
call_init(struct call *c, struct rig *r, const char *scope, const char *id)
{
    *c = (struct call){
        .rig = r,
        .hub = {.name = RIG_HUB, .kind = LK_HUB_EMBEDDED},
        .a = {.device_id = "dev", .owner = {scope, id}, .key = key, .key_len = sizeof(key)}};
    c->a.hub = &c->hub;
}

static enum lk_err
assign(struct rig *r, const char *scope, const char *id, bool *ret_existed)
{
    struct call c;
    enum lk_err err;

    call_init(&c, r, scope, id);
    err = lk_store_write_wait(r->session, assign_run, &c);
    *ret_existed = c.existed;
    return err;
}

static enum lk_err
registration_put_run(struct lk_txn *tx, void *arg)
{
    struct lk_registration r = {.generation = 1, .status = LK_REG_ASSIGNED};

    (void)snprintf(r.scope, sizeof(r.scope), RIG_SCOPE);
    (void)snprintf(r.id, sizeof(r.id), "%s", (const char *)arg);
    return lk_txn_registration_put(tx, &r, 0);
}

static enum lk_err
registration_delete_run(struct lk_txn *tx, void *arg)
{
    return lk_txn_registration_delete(tx, RIG_SCOPE, arg, NULL);
}

static enum lk_err
enrollment_put_run(struct lk_txn *tx, void *arg)
{
    struct lk_enrollment e;
    enum lk_err err;

    lk_enrollment_init(&e);
    e.enabled = false;
    (void)snprintf(e.scope, sizeof(e.scope), RIG_SCOPE);
    (void)snprintf(e.id, sizeof(e.id), "%s", (const char *)arg);
    err = lk_txn_enrollment_create(tx, &e, NULL);
    lk_enrollment_fini(&e);
    return err;
}

static enum lk_err
status_run(struct lk_txn *tx, void *arg)
{
    struct lk_identity id;
    enum lk_err err = lk_txn_identity_get(tx, RIG_HUB, "dev", &id);

    if (err != LK_OK) {
        return err;
    }
    id.enabled = false;
    (void)snprintf(id.status_reason, sizeof(id.status_reason), "%s", (const char *)arg);
    return lk_txn_identity_put(tx, &id, NULL);
}

static void
owner_is(struct rig *r, const char *owner_id)
{
    struct lk_identity id;

    assert_int_equal(rig_identity(r, RIG_HUB, "dev", &id), LK_OK);
    assert_string_equal(id.owner_scope, RIG_SCOPE);
    assert_string_equal(id.owner_id, owner_id);
}

/* ---- whose it is ------------------------------------------------------------------------------
 */

/* The registration that made it, in any spelling of its id, has it for good. */
static void
its_owner_comes_again(void **state)
{
    struct rig *r = *state;
    bool existed;

    assert_int_equal(assign(r, RIG_SCOPE, "One", &existed), LK_OK);
    assert_false(existed);
    owner_is(r, "one");
    assert_int_equal(assign(r, RIG_SCOPE, "oNE", &existed), LK_OK);
    assert_true(existed);
    owner_is(r, "one");
}

/* Another scope never takes it, nor does anybody what an operator of the hub has made. */
static void
strangers_are_refused(void **state)
{
    struct rig *r = *state;
    struct lk_identity id, after;
    bool existed;

    assert_int_equal(assign(r, RIG_SCOPE, "one", &existed), LK_OK);
    assert_int_equal(assign(r, RIG_OTHER_SCOPE, "one", &existed), LK_ERR_EXISTS);
    assert_int_equal(rig_identity(r, RIG_HUB, "dev", &id), LK_OK);
    assert_int_equal(lk_store_write_wait(r->session, remove_run,
                                         &(struct call){.rig = r,
                                                        .hub = {.name = RIG_HUB},
                                                        .a = {.owner = {RIG_OTHER_SCOPE, "one"}}}),
                     LK_OK);
    owner_is(r, "one");
    assert_int_equal(rig_identity(r, RIG_HUB, "dev", &after), LK_OK);
    assert_string_equal(after.etag, id.etag);
}

static enum lk_err
operator_run(struct lk_txn *tx, void *arg)
{
    struct lk_identity id = {
        .hub = RIG_HUB, .device_id = "dev", .auth = LK_AUTH_SAS, .enabled = true};

    return lk_txn_identity_put(tx, &id, "");
}

/* One that an operator of the hub has made stays theirs until they delete it. */
static void
operators_own_is_refused(void **state)
{
    struct rig *r = *state;
    struct lk_identity id;
    struct call c;
    bool existed;

    rig_write(r, operator_run, NULL);
    assert_int_equal(assign(r, RIG_SCOPE, "one", &existed), LK_ERR_EXISTS);
    call_init(&c, r, RIG_SCOPE, "one");
    rig_write(r, remove_run, &c);
    assert_int_equal(rig_identity(r, RIG_HUB, "dev", &id), LK_OK);
    assert_int_equal(id.primary_len, 0);
}

/* Another one of the scope has to wait until both registration and enrollment are gone. */
static void
succession(void **state)
{
    struct rig *r = *state;
    char one[] = "one", reason[] = "lost";
    struct lk_identity before, after;
    struct call c;
    bool existed;

    rig_write(r, registration_put_run, one);
    assert_int_equal(assign(r, RIG_SCOPE, "one", &existed), LK_OK);
    assert_int_equal(assign(r, RIG_SCOPE, "two", &existed), LK_ERR_EXISTS);
    rig_write(r, enrollment_put_run, one);
    assert_int_equal(assign(r, RIG_SCOPE, "two", &existed), LK_ERR_EXISTS);
    rig_write(r, registration_delete_run, one);
    assert_int_equal(assign(r, RIG_SCOPE, "two", &existed), LK_ERR_EXISTS);
    rig_enrollment_delete(r, "one");
    rig_write(r, status_run, reason);
    assert_int_equal(rig_identity(r, RIG_HUB, "dev", &before), LK_OK);

    call_init(&c, r, RIG_SCOPE, "two");
    c.a.keep_old_key = true;
    rig_write(r, assign_run, &c);
    assert_false(c.existed);
    owner_is(r, "two");
    assert_int_equal(rig_identity(r, RIG_HUB, "dev", &after), LK_OK);
    assert_string_not_equal(after.generation_id, before.generation_id);
    assert_false(after.enabled);
    assert_string_equal(after.status_reason, "lost");
    assert_int_equal(after.secondary_len, 0);
}

/* ---- what it begins with ----------------------------------------------------------------------
 */

static enum lk_err
twin_get_run(struct lk_txn *tx, void *arg)
{
    return lk_txn_twin_get(tx, RIG_HUB, "dev", arg);
}

static void
twin_is(struct rig *r, const char *tags, const char *desired)
{
    struct lk_twin t = LK_TWIN_INIT;

    rig_read(r, twin_get_run, &t);
    assert_string_equal(t.tags.len > 0 ? lk_buf_text(&t.tags) : "", tags);
    assert_string_equal(t.desired.len > 0 ? lk_buf_text(&t.desired) : "", desired);
    assert_int_equal(t.desired_version, 1);
    assert_int_equal(t.version, 1);
    lk_twin_fini(&t);
}

/* Tags, desired properties and capabilities of a new identity; later ones change nothing. */
static void
begins_with_a_twin(void **state)
{
    struct rig *r = *state;
    struct lk_identity id;
    struct call c;

    call_init(&c, r, RIG_SCOPE, "one");
    c.a.initial_twin = "{\"tags\":{\"t\":1},\"properties\":{\"desired\":{\"d\":{\"e\":2}}}}";
    c.a.iot_edge = true;
    rig_write(r, assign_run, &c);
    twin_is(r, "{\"t\":1}", "{\"d\":{\"e\":2}}");
    c.a.initial_twin = "{\"tags\":{\"u\":1}}";
    c.a.iot_edge = false;
    rig_write(r, assign_run, &c);
    assert_true(c.existed);
    twin_is(r, "{\"t\":1}", "{\"d\":{\"e\":2}}");
    assert_int_equal(rig_identity(r, RIG_HUB, "dev", &id), LK_OK);
    assert_true(id.iot_edge);
}

/* Half of one, none of it, and what is no twin: the device is there all the same. */
static void
begins_without(void **state)
{
    struct rig *r = *state;
    static const struct {
        const char *twin, *tags;
    } cases[] = {{"{\"tags\":{\"t\":1},\"properties\":null}", "{\"t\":1}"},
                 {"{\"properties\":{}}", ""},
                 {"{}", ""},
                 {"[]", ""},
                 {"{\"tags\":", ""},
                 {"{\"tags\":{\"a b\":1}}", ""},
                 {"{\"tags\":7}", ""}};

    for (size_t i = 0; i < LK_ARRAY_LEN(cases); i++) {
        struct call c;

        call_init(&c, r, RIG_SCOPE, "one");
        c.a.initial_twin = cases[i].twin;
        rig_write(r, assign_run, &c);
        twin_is(r, cases[i].tags, "");
        rig_write(r, remove_run, &c);
    }
}

/* A device that comes with a certificate has no key, one that then comes with a key no thumbprint.
 */
static void
changes_its_proof(void **state)
{
    struct rig *r = *state;
    struct lk_identity id;
    struct call c;

    call_init(&c, r, RIG_SCOPE, "one");
    c.a.thumbprint = "ABCD";
    rig_write(r, assign_run, &c);
    assert_int_equal(rig_identity(r, RIG_HUB, "dev", &id), LK_OK);
    assert_int_equal(id.auth, LK_AUTH_SELF_SIGNED);
    assert_string_equal(id.thumbprints[0], "ABCD");
    assert_int_equal(id.primary_len, 0);
    c.a.thumbprint = NULL;
    rig_write(r, assign_run, &c);
    assert_int_equal(rig_identity(r, RIG_HUB, "dev", &id), LK_OK);
    assert_int_equal(id.auth, LK_AUTH_SAS);
    assert_string_equal(id.thumbprints[0], "");
    assert_true(id.primary_len > 0);
}

/* ---- what is carried over ---------------------------------------------------------------------
 */

/* Tags, desired properties and capabilities of one's own; nothing of anybody else's. */
static void
is_read_by_its_owner(void **state)
{
    struct rig *r = *state;
    struct call c;

    call_init(&c, r, RIG_SCOPE, "one");
    rig_read(r, read_run, &c);
    assert_false(c.snapshot.found);
    c.a.initial_twin = "{\"tags\":{\"t\":1},\"properties\":{\"desired\":{\"d\":2}}}";
    c.a.iot_edge = true;
    rig_write(r, assign_run, &c);
    rig_read(r, read_run, &c);
    assert_true(c.snapshot.found && c.snapshot.iot_edge);
    assert_string_equal(lk_buf_text(&c.snapshot.twin), c.a.initial_twin);
    assert_string_equal(c.snapshot.etag, "");
    lk_hub_snapshot_fini(&c.snapshot);

    call_init(&c, r, RIG_SCOPE, "two");
    rig_read(r, read_run, &c);
    assert_false(c.snapshot.found);
    rig_write(r, remove_run, &c);
    call_init(&c, r, RIG_SCOPE, "ONE");
    rig_read(r, read_run, &c);
    assert_true(c.snapshot.found);
    lk_hub_snapshot_fini(&c.snapshot);
    rig_write(r, remove_run, &c);
    c.snapshot = (struct lk_hub_snapshot){.found = false};
    rig_read(r, read_run, &c);
    assert_false(c.snapshot.found);
}

/* Without tags and desired properties there is nothing to carry. */
static void
nothing_to_carry(void **state)
{
    struct rig *r = *state;
    struct call c;

    call_init(&c, r, RIG_SCOPE, "one");
    rig_write(r, assign_run, &c);
    rig_read(r, read_run, &c);
    assert_true(c.snapshot.found);
    assert_int_equal(c.snapshot.twin.len, 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(its_owner_comes_again),    CASE(strangers_are_refused),
        CASE(operators_own_is_refused), CASE(succession),
        CASE(begins_with_a_twin),       CASE(begins_without),
        CASE(changes_its_proof),        CASE(is_read_by_its_owner),
        CASE(nothing_to_carry),
    };

    return lk_crypto_init() != LK_OK ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
