/*
 * Two registrations that mean one device id of a hub, and what a device takes along when it moves:
 * provisioning with the embedded hub.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "hub/twin.h"
#include "support/rig.h"

static struct softtpm_key *ek, *srk, *ek2, *srk2;

/* Two enrolled devices, "one" and "two", both to be "truck-7" at their hub. */
struct fixture {
    struct rig rig;
    struct softtpm *tpms[2];
    struct rig_device one, two;
};

static void
truck_set(struct lk_enrollment *e, void *arg)
{
    (void)snprintf(e->device_id, sizeof(e->device_id), "truck-7");
}

static int
setup(void **state)
{
    static struct fixture f;

    rig_start(&f.rig, NULL);
    f.tpms[0] = softtpm_new(ek, srk);
    f.tpms[1] = softtpm_new(ek2, srk2);
    f.one = (struct rig_device){.rig = &f.rig, .scope = RIG_SCOPE, .id = "one", .tpm = f.tpms[0]};
    f.two = (struct rig_device){.rig = &f.rig, .scope = RIG_SCOPE, .id = "two", .tpm = f.tpms[1]};
    rig_enroll(&f.rig, RIG_SCOPE, "one", f.tpms[0], NULL);
    rig_enroll(&f.rig, RIG_SCOPE, "two", f.tpms[1], NULL);
    rig_enrollment_change(&f.rig, "one", truck_set, NULL);
    rig_enrollment_change(&f.rig, "two", truck_set, NULL);
    *state = &f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    softtpm_free(f->tpms[0]);
    softtpm_free(f->tpms[1]);
    rig_stop(&f->rig);
    return 0;
}

static enum lk_err
registration_delete_run(struct lk_txn *tx, void *arg)
{
    return lk_txn_registration_delete(tx, RIG_SCOPE, arg, NULL);
}

/* d's registration fails because the device id is somebody else's. */
static void
assert_taken(struct rig_device *d)
{
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    char detail[512];

    rig_attest(d);
    rig_poll(d, d->token, d->operation_id, &a);
    assert_int_equal(a.verdict, LK_REG_STATE);
    assert_int_equal(a.state.status, LK_DPS_FAILED);
    assert_int_equal(a.state.error_code, LK_DPS_HUB_REFUSED);
    assert_int_equal(a.state.auth_key.len, 0);
    assert_string_equal(a.state.assigned_hub, "");
    assert_int_equal(rig_audit_count(d->rig, "registration.failed", detail, sizeof(detail)), 1);
    assert_non_null(strstr(detail, "\"errorCode\":400209"));
}

/*
 * The second is refused whatever it proves, and the first keeps key and identity. Once an operator
 * has taken the first away, the second has the name, and nothing else of it.
 */
static void
device_id_is_its_owners(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct softtpm_opened key;
    struct lk_identity before, after;
    char one[] = "one";

    rig_provision(&f->one, &a, &key);
    assert_string_equal(a.state.device_id, "truck-7");
    assert_int_equal(rig_identity(&f->rig, RIG_HUB, "truck-7", &before), LK_OK);
    assert_taken(&f->two);
    assert_int_equal(rig_identity(&f->rig, RIG_HUB, "truck-7", &after), LK_OK);
    assert_string_equal(after.etag, before.etag);
    assert_string_equal(after.owner_id, "one");

    rig_write(&f->rig, registration_delete_run, one);
    rig_enrollment_delete(&f->rig, "one");
    rig_provision(&f->two, &a, &key);
    assert_string_equal(a.state.device_id, "truck-7");
    assert_int_equal(a.state.substatus, LK_DPS_SUB_INITIAL);
    assert_int_equal(rig_identity(&f->rig, RIG_HUB, "truck-7", &after), LK_OK);
    assert_string_equal(after.owner_id, "two");
    assert_string_not_equal(after.generation_id, before.generation_id);
}

static void
plain_set(struct lk_enrollment *e, void *arg)
{
    e->device_id[0] = '\0';
}

/* A device whose enrollment then names another's device id keeps what it has. */
static void
renamed_onto_another(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct softtpm_opened key;
    struct lk_registration r;
    struct lk_identity id;

    rig_provision(&f->one, &a, &key);
    rig_enrollment_change(&f->rig, "two", plain_set, NULL);
    rig_provision(&f->two, &a, &key);
    assert_string_equal(a.state.device_id, "two");
    rig_enrollment_change(&f->rig, "two", truck_set, NULL);
    rig_attest(&f->two);
    assert_int_equal(rig_registration(&f->rig, "two", &r), LK_OK);
    assert_int_equal(r.status, LK_REG_FAILED);
    assert_string_equal(r.device_id, "two");
    lk_registration_fini(&r);
    assert_int_equal(rig_identity(&f->rig, RIG_HUB, "two", &id), LK_OK);
    assert_int_equal(rig_identity(&f->rig, RIG_HUB, "truck-7", &id), LK_OK);
    assert_string_equal(id.owner_id, "one");
}

/* ---- moves ------------------------------------------------------------------------------------
 */

struct move {
    const char *hub, *twin;
    bool migrate, iot_edge;
};

static void
move_set(struct lk_enrollment *e, void *arg)
{
    const struct move *m = arg;

    (void)snprintf(e->hubs[0], sizeof(e->hubs[0]), "%s", m->hub);
    e->hubs_count = 1;
    e->reprovision_migrate = m->migrate;
    e->iot_edge = m->iot_edge;
    lk_buf_reset(&e->initial_twin);
    assert_int_equal(lk_buf_puts(&e->initial_twin, m->twin), LK_OK);
}

struct look {
    const char *hub;
    struct lk_twin twin;
};

static enum lk_err
look_run(struct lk_txn *tx, void *arg)
{
    struct look *l = arg;

    return lk_txn_twin_get(tx, l->hub, "truck-7", &l->twin);
}

static void
twin_is(struct rig *r, const char *hub, const char *tags, const char *desired, bool iot_edge)
{
    struct look l = {.hub = hub, .twin = LK_TWIN_INIT};
    struct lk_identity id;

    rig_read(r, look_run, &l);
    assert_string_equal(l.twin.tags.len > 0 ? lk_buf_text(&l.twin.tags) : "", tags);
    assert_string_equal(l.twin.desired.len > 0 ? lk_buf_text(&l.twin.desired) : "", desired);
    lk_twin_fini(&l.twin);
    assert_int_equal(rig_identity(r, hub, "truck-7", &id), LK_OK);
    assert_int_equal(id.iot_edge, iot_edge);
}

static enum lk_err
twin_change_run(struct lk_txn *tx, void *arg)
{
    LK_AUTO(json) json_t *tags = json_pack("{s:i}", "now", 1);
    const struct lk_twin_patch patch = {.tags = tags};
    char error[LK_TWIN_ERROR_CAP];

    return lk_twin_change(tx, arg, "truck-7", &patch, NULL, NULL, error);
}

/* Migrated, a device has at the new hub what it had at the old one; reset, what is enrolled. */
static void
moves_with_its_twin(void **state)
{
    struct fixture *f = *state;
    struct rig *r = &f->rig;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    const char *first = "{\"tags\":{\"was\":1},\"properties\":{\"desired\":{\"d\":1}}}";
    struct move here = {RIG_HUB, first, true, true};
    struct move there = {RIG_OTHER_HUB, "{\"tags\":{\"other\":1}}", true, false};
    struct move back = {RIG_HUB, "{\"tags\":{\"new\":1}}", false, false};
    char hub[] = RIG_HUB;
    struct softtpm_opened key;

    rig_hub_add(r, RIG_OTHER_HUB, LK_HUB_EMBEDDED);
    rig_enrollment_change(r, "one", move_set, &here);
    rig_provision(&f->one, &a, &key);
    twin_is(r, RIG_HUB, "{\"was\":1}", "{\"d\":1}", true);
    rig_write(r, twin_change_run, hub);

    rig_enrollment_change(r, "one", move_set, &there);
    rig_provision(&f->one, &a, &key);
    assert_int_equal(a.state.substatus, LK_DPS_SUB_MIGRATED);
    twin_is(r, RIG_OTHER_HUB, "{\"was\":1,\"now\":1}", "{\"d\":1}", true);

    rig_enrollment_change(r, "one", move_set, &back);
    rig_provision(&f->one, &a, &key);
    assert_int_equal(a.state.substatus, LK_DPS_SUB_RESET);
    twin_is(r, RIG_HUB, "{\"new\":1}", "", false);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(device_id_is_its_owners),
        CASE(renamed_onto_another),
        CASE(moves_with_its_twin),
    };
    int failed;

    if (lk_crypto_init() != LK_OK) {
        return 1;
    }
    ek = softtpm_key_generate(SOFTTPM_P256);
    srk = softtpm_key_generate(SOFTTPM_P256);
    ek2 = softtpm_key_generate(SOFTTPM_P256);
    srk2 = softtpm_key_generate(SOFTTPM_P256);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    softtpm_key_free(ek);
    softtpm_key_free(srk);
    softtpm_key_free(ek2);
    softtpm_key_free(srk2);
    return failed;
}
