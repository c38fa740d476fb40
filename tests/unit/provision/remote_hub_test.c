/*
 * Tests of src/provision/errand*.c: hubs that are not in our store. The device is told `assigning`
 * until the hub has it, whatever the hub does and whoever dies; each case names the calls in order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "provision/errand.h"
#include "support/rig.h"

#define REMOTE_HUB "remote.example.test"
#define REMOTE_HUB_2 "remote2.example.test"

static struct softtpm_key *ek, *srk;

/* ---- a hub that answers when a test says so ----------------------------------------------------
 */

struct call {
    char what[160]; /* "create remote.example.test dev-1" */
    char twin[96], etag[32];
    uint8_t keys[2][64];
    size_t keys_len[2];
    bool with_twin, answered;
    lk_hub_done_fn *done;
    void *arg;
};

static struct call calls[32];
static size_t calls_count;
static unsigned room; /* errands that the link lets begin */
static int held;      /* reservations */

static struct call *
call_begin(const char *what, const struct lk_hub *hub, const char *device_id, lk_hub_done_fn *done,
           void *arg)
{
    struct call *c = &calls[calls_count++];

    assert_true(calls_count <= LK_ARRAY_LEN(calls));
    memset(c, 0, sizeof(*c));
    (void)snprintf(c->what, sizeof(c->what), "%s %.60s %.60s", what, hub->name, device_id);
    c->done = done;
    c->arg = arg;
    return c;
}

static void
identity_copy(struct call *c, const struct lk_hub_identity *id)
{
    for (size_t i = 0; i < 2; i++) {
        memcpy(c->keys[i], id->keys[i], id->keys_len[i]);
        c->keys_len[i] = id->keys_len[i];
    }
    (void)snprintf(c->twin, sizeof(c->twin), "%s", id->twin == NULL ? "" : id->twin);
}

static unsigned
fake_reserve(void *ctx, const char *hub, unsigned wanted)
{
    unsigned granted = wanted < room ? wanted : room;

    held += (int)granted;
    return granted;
}

static void
fake_release(void *ctx, const char *hub, unsigned count)
{
    held -= (int)count;
    assert_true(held >= 0);
}

static void
fake_read(void *ctx, const struct lk_hub *hub, const char *device_id, bool with_twin,
          lk_hub_done_fn *done, void *arg)
{
    call_begin("read", hub, device_id, done, arg)->with_twin = with_twin;
}

static void
fake_create(void *ctx, const struct lk_hub *hub, const struct lk_hub_identity *id,
            lk_hub_done_fn *done, void *arg)
{
    identity_copy(call_begin("create", hub, id->device_id, done, arg), id);
}

static void
fake_update(void *ctx, const struct lk_hub *hub, const struct lk_hub_snapshot *was,
            const struct lk_hub_identity *id, lk_hub_done_fn *done, void *arg)
{
    struct call *c = call_begin("update", hub, id->device_id, done, arg);

    identity_copy(c, id);
    (void)snprintf(c->etag, sizeof(c->etag), "%.20s", was->etag);
}

static void
fake_twin_merge(void *ctx, const struct lk_hub *hub, const char *device_id, const char *twin,
                lk_hub_done_fn *done, void *arg)
{
    struct call *c = call_begin("merge", hub, device_id, done, arg);

    (void)snprintf(c->twin, sizeof(c->twin), "%s", twin);
}

static void
fake_remove(void *ctx, const struct lk_hub *hub, const char *device_id, const char *etag,
            lk_hub_done_fn *done, void *arg)
{
    struct call *c = call_begin("remove", hub, device_id, done, arg);

    (void)snprintf(c->etag, sizeof(c->etag), "%.20s", etag);
}

static const struct lk_hub_link_ops fake_ops = {.reserve = fake_reserve,
                                                .release = fake_release,
                                                .read = fake_read,
                                                .create = fake_create,
                                                .update = fake_update,
                                                .twin_merge = fake_twin_merge,
                                                .remove = fake_remove};

static void
add_fake(struct lk_provision_config *config)
{
    config->remote.ops = &fake_ops;
}

/* ---- the fixture -------------------------------------------------------------------------------
 */

struct fixture {
    struct rig rig;
    struct softtpm *tpm;
    struct rig_device device;
};

static void
hub_set(struct lk_enrollment *e, void *arg)
{
    e->allocation = LK_ALLOC_STATIC;
    e->hubs_count = 1;
    assert_int_equal(lk_strcpy(e->hubs[0], sizeof(e->hubs[0]), arg), LK_OK);
}

static void
use_hub(struct fixture *f, const char *name)
{
    char copy[64];

    assert_int_equal(lk_strcpy(copy, sizeof(copy), name), LK_OK);
    rig_enrollment_change(&f->rig, "dev-1", hub_set, copy);
}

static int
setup(void **state)
{
    static struct fixture f;

    calls_count = 0;
    room = 16;
    held = 0;
    rig_start(&f.rig, add_fake);
    rig_hub_add(&f.rig, REMOTE_HUB, LK_HUB_HTTP);
    rig_hub_add(&f.rig, REMOTE_HUB_2, LK_HUB_HTTP);
    f.tpm = softtpm_new(ek, srk);
    f.device = (struct rig_device){.rig = &f.rig, .scope = RIG_SCOPE, .id = "dev-1", .tpm = f.tpm};
    rig_enroll(&f.rig, RIG_SCOPE, "dev-1", f.tpm, NULL);
    use_hub(&f, REMOTE_HUB);
    *state = &f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    rig_settle(&f->rig);
    assert_int_equal(held, 0);
    softtpm_free(f->tpm);
    rig_stop(&f->rig);
    return 0;
}

/* Dispatch until so many calls were begun. */
static void
wait_calls(struct fixture *f, size_t count)
{
    while (calls_count < count) {
        rig_turn(&f->rig);
    }
    assert_int_equal(calls_count, count);
}

/* Let what is under way come to rest but for calls that are not answered; no new call may begin. */
static void
rest(struct fixture *f)
{
    size_t open = 0, before = calls_count;

    for (size_t i = 0; i < calls_count; i++) {
        open += calls[i].answered ? 0 : 1;
    }
    rig_settle_to(&f->rig, open);
    assert_int_equal(calls_count, before);
}

static void
expect(size_t call, const char *what)
{
    assert_true(call < calls_count);
    assert_string_equal(calls[call].what, what);
}

static void
answer_with(size_t call, enum lk_err err, struct lk_hub_snapshot *s)
{
    struct lk_hub_snapshot none = {.found = false};
    struct lk_hub_answer a = {
        .err = err, .detail = "as the test says", .snapshot = s != NULL ? s : &none};

    assert_false(calls[call].answered);
    calls[call].answered = true;
    calls[call].done(calls[call].arg, &a);
    lk_hub_snapshot_fini(a.snapshot);
}

static void
answer(size_t call, enum lk_err err)
{
    answer_with(call, err, NULL);
}

/* The device is there, with these keys. */
static void
answer_found(size_t call, const char *etag, const uint8_t *primary, const uint8_t *secondary,
             const char *twin)
{
    struct lk_hub_snapshot s = {.found = true};
    const uint8_t *keys[2] = {primary, secondary};

    assert_int_equal(lk_strcpy(s.etag, sizeof(s.etag), etag), LK_OK);
    for (size_t i = 0; i < 2; i++) {
        if (keys[i] != NULL) {
            memcpy(s.keys[i], keys[i], 32);
            s.keys_len[i] = 32;
        }
    }
    if (twin != NULL) {
        assert_int_equal(lk_buf_puts(&s.twin, twin), LK_OK);
    }
    answer_with(call, LK_OK, &s);
}

static void
assert_status(struct fixture *f, enum lk_dps_status status, struct rig_answer *ret)
{
    rig_poll(&f->device, f->device.token, f->device.operation_id, ret);
    assert_int_equal(ret->verdict, LK_REG_STATE);
    assert_int_equal(ret->state.status, status);
    assert_string_equal(ret->state.registration_id, "dev-1");
    assert_int_equal(ret->state.auth_key.len > 0, status == LK_DPS_ASSIGNED);
}

/* Assigned, here, like this, and with the key that a call gave to the hub. */
static void
assert_assigned(struct fixture *f, const char *hub, enum lk_dps_substatus substatus, size_t call)
{
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct softtpm_opened key;

    assert_status(f, LK_DPS_ASSIGNED, &a);
    assert_string_equal(a.state.assigned_hub, hub);
    assert_int_equal(a.state.substatus, substatus);
    assert_null(softtpm_open(f->tpm, a.state.auth_key.data, a.state.auth_key.len, &key));
    assert_int_equal(calls[call].keys_len[0], 32);
    assert_memory_equal(key.key, calls[call].keys[0], 32);
}

static void
assert_assigning(struct fixture *f)
{
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};

    assert_status(f, LK_DPS_ASSIGNING, &a);
}

static void
assert_failed(struct fixture *f, int32_t code)
{
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};

    assert_status(f, LK_DPS_FAILED, &a);
    assert_int_equal(a.state.error_code, code);
    assert_true(a.state.error_message[0] != '\0');
    assert_string_equal(a.state.assigned_hub, "");
}

/* The first registration, taken by the hub; call 0 gave it its key. */
static void
assign_first(struct fixture *f)
{
    rig_attest(&f->device);
    wait_calls(f, 1);
    expect(0, "create " REMOTE_HUB " dev-1");
    answer(0, LK_OK);
    rest(f);
}

/* ---- one hub -----------------------------------------------------------------------------------
 */

/* Assigning while the hub thinks; then assigned, with the key that the hub was given. */
static void
first_assignment_creates(void **state)
{
    struct fixture *f = *state;

    rig_attest(&f->device);
    wait_calls(f, 1);
    assert_assigning(f);
    expect(0, "create " REMOTE_HUB " dev-1");
    assert_int_equal(calls[0].keys_len[1], 32); /* that nobody knows */
    answer(0, LK_OK);
    rest(f);
    assert_assigned(f, REMOTE_HUB, LK_DPS_SUB_INITIAL, 0);
    assert_int_equal(rig_audit_count(&f->rig, "registration.assigned", NULL, 0), 1);
}

/* Again at the same hub: read, then an update on condition of what was read; the old key stays. */
static void
registers_again(void **state)
{
    struct fixture *f = *state;
    uint8_t other[32] = {7};

    assign_first(f);
    rig_attest(&f->device);
    wait_calls(f, 2);
    expect(1, "read " REMOTE_HUB " dev-1");
    answer_found(1, "e1", calls[0].keys[0], other, NULL);
    wait_calls(f, 3);
    expect(2, "update " REMOTE_HUB " dev-1");
    assert_string_equal(calls[2].etag, "e1");
    assert_memory_equal(calls[2].keys[1], calls[0].keys[0], 32);
    assert_assigning(f);
    answer(2, LK_OK);
    rest(f);
    assert_assigned(f, REMOTE_HUB, LK_DPS_SUB_REPROVISIONED, 2);
}

/* The hub has lost the device: it is made again. */
static void
registers_again_after_a_loss(void **state)
{
    struct fixture *f = *state;

    assign_first(f);
    rig_attest(&f->device);
    wait_calls(f, 2);
    answer(1, LK_OK); /* not found */
    wait_calls(f, 3);
    expect(2, "create " REMOTE_HUB " dev-1");
    answer(2, LK_OK);
    rest(f);
    assert_assigned(f, REMOTE_HUB, LK_DPS_SUB_INITIAL, 2);
}

/* The identity is there already, a stranger's: its keys are replaced, and none of them stays. */
static void
finds_a_stranger(void **state)
{
    struct fixture *f = *state;
    uint8_t theirs[32] = {9};

    rig_attest(&f->device);
    wait_calls(f, 1);
    answer(0, LK_ERR_EXISTS);
    wait_calls(f, 2);
    expect(1, "read " REMOTE_HUB " dev-1");
    answer_found(1, "e1", theirs, theirs, NULL);
    wait_calls(f, 3);
    expect(2, "update " REMOTE_HUB " dev-1");
    assert_int_equal(calls[2].keys_len[1], 32);
    assert_memory_not_equal(calls[2].keys[1], theirs, 32);
    answer(2, LK_OK);
    rest(f);
    assert_assigned(f, REMOTE_HUB, LK_DPS_SUB_REPROVISIONED, 2);
}

/* ---- what goes wrong ---------------------------------------------------------------------------
 */

static void
later(struct fixture *f, int64_t s)
{
    rig_advance_s(&f->rig, s);
    lk_provision_tick(f->rig.p);
}

/* No answer: tried again after a pause, not before; then all is well. */
static void
tries_again(void **state)
{
    struct fixture *f = *state;

    rig_attest(&f->device);
    wait_calls(f, 1);
    answer(0, LK_ERR_TIMEOUT);
    rest(f);
    lk_provision_tick(f->rig.p);
    rest(f);
    assert_assigning(f);
    later(f, 1);
    wait_calls(f, 2);
    expect(1, "create " REMOTE_HUB " dev-1");
    assert_memory_equal(calls[1].keys[0], calls[0].keys[0], 32); /* the same key, always */
    answer(1, LK_OK);
    rest(f);
    assert_assigned(f, REMOTE_HUB, LK_DPS_SUB_INITIAL, 1);
}

/* An earlier try had made it, and only its answer was lost. */
static void
tries_again_what_was_done(void **state)
{
    struct fixture *f = *state;

    rig_attest(&f->device);
    wait_calls(f, 1);
    answer(0, LK_ERR_NETWORK);
    rest(f);
    later(f, 1);
    wait_calls(f, 2);
    answer(1, LK_ERR_EXISTS);
    wait_calls(f, 3);
    answer_found(2, "e1", calls[0].keys[0], NULL, NULL);
    rest(f);
    assert_assigned(f, REMOTE_HUB, LK_DPS_SUB_INITIAL, 0);
}

/* Somebody changed the device between read and update: read again, soon. */
static void
update_meets_another(void **state)
{
    struct fixture *f = *state;
    uint8_t other[32] = {7};

    assign_first(f);
    rig_attest(&f->device);
    wait_calls(f, 2);
    answer_found(1, "e1", other, NULL, NULL);
    wait_calls(f, 3);
    answer(2, LK_ERR_PRECONDITION);
    rest(f);
    later(f, 1);
    wait_calls(f, 4);
    expect(3, "read " REMOTE_HUB " dev-1");
    answer_found(3, "e2", other, NULL, NULL);
    wait_calls(f, 5);
    assert_string_equal(calls[4].etag, "e2");
    answer(4, LK_OK);
    rest(f);
    assert_assigned(f, REMOTE_HUB, LK_DPS_SUB_REPROVISIONED, 4);
}

/* Each by its code once the deadline has passed: the hub was dead, the hub refused us. */
static void
deadline(void **state)
{
    struct fixture *f = *state;
    char detail[512];

    rig_attest(&f->device);
    wait_calls(f, 1);
    answer(0, LK_ERR_NETWORK);
    rest(f);
    room = 0; /* the breaker is open */
    later(f, 599);
    rest(f);
    assert_assigning(f);
    later(f, 2);
    rest(f);
    assert_failed(f, LK_DPS_UNAVAILABLE);
    assert_int_equal(rig_audit_count(&f->rig, "registration.failed", detail, sizeof(detail)), 1);
    assert_non_null(strstr(detail, "503001"));

    room = 1;
    rig_attest(&f->device);
    wait_calls(f, 2);
    answer(1, LK_ERR_REFUSED);
    rest(f);
    assert_assigning(f);
    later(f, 601);
    rest(f);
    assert_failed(f, LK_DPS_HUB_REFUSED);

    rig_attest(&f->device);
    wait_calls(f, 3);
    answer(2, LK_OK);
    rest(f);
    assert_assigned(f, REMOTE_HUB, LK_DPS_SUB_INITIAL, 2);
}

/* What the hub will never take fails at once. */
static void
hub_does_not_take_it(void **state)
{
    struct fixture *f = *state;

    rig_attest(&f->device);
    wait_calls(f, 1);
    answer(0, LK_ERR_UNSUPPORTED);
    rest(f);
    assert_failed(f, LK_DPS_HUB_REFUSED);
    later(f, 100);
    rest(f);
}

/* A process dies after the call and before the commit: another takes over when the lease is out. */
static void
the_process_dies(void **state)
{
    struct fixture *f = *state;

    rig_attest(&f->device);
    wait_calls(f, 1);
    rig_forget(&f->rig); /* the other process: it knows nothing but the store */
    later(f, 29);
    rig_settle(&f->rig);
    assert_int_equal(calls_count, 1);
    later(f, 2);
    wait_calls(f, 2);
    expect(1, "create " REMOTE_HUB " dev-1");
    assert_memory_equal(calls[1].keys[0], calls[0].keys[0], 32);
    answer(1, LK_ERR_EXISTS);
    wait_calls(f, 3);
    answer_found(2, "e1", calls[0].keys[0], NULL, NULL);
    rig_settle(&f->rig);
    assert_assigned(f, REMOTE_HUB, LK_DPS_SUB_INITIAL, 0);
    rig_remember(&f->rig);
    answer(0, LK_OK); /* the dead one's, after all: it changes nothing */
    rest(f);
    assert_assigned(f, REMOTE_HUB, LK_DPS_SUB_INITIAL, 0);
    assert_int_equal(rig_audit_count(&f->rig, "registration.assigned", NULL, 0), 1);
}

/* One errand at a time when the link says so, and none that it does not grant. */
static void
room_is_kept(void **state)
{
    struct fixture *f = *state;

    room = 0;
    rig_attest(&f->device);
    rest(f);
    later(f, 5);
    rest(f);
    assert_int_equal(calls_count, 0);
    assert_assigning(f);
    room = 1;
    later(f, 1);
    wait_calls(f, 1);
    answer(0, LK_OK);
    rest(f);
    assert_assigned(f, REMOTE_HUB, LK_DPS_SUB_INITIAL, 0);
}

/* ---- overtaken ---------------------------------------------------------------------------------
 */

/* A slow try of an earlier registration changes nothing any more, and its outcome is nobody's. */
static void
overtaken(void **state)
{
    struct fixture *f = *state;

    assign_first(f);
    rig_attest(&f->device);
    wait_calls(f, 2); /* read */
    rig_attest(&f->device);
    wait_calls(f, 3);
    expect(2, "read " REMOTE_HUB " dev-1");
    answer_found(1, "e1", calls[0].keys[0], NULL, NULL);
    rest(f); /* no update */
    answer_found(2, "e1", calls[0].keys[0], NULL, NULL);
    wait_calls(f, 4);
    expect(3, "update " REMOTE_HUB " dev-1");
    assert_memory_equal(calls[3].keys[1], calls[0].keys[0], 32);
    answer(3, LK_OK);
    rest(f);
    assert_assigned(f, REMOTE_HUB, LK_DPS_SUB_REPROVISIONED, 3);
    assert_int_equal(rig_audit_count(&f->rig, "registration.assigned", NULL, 0), 2);
}

/* The overtaken try's key is at the hub, and was told to nobody: the key before it is kept. */
static void
untold_keys_are_not_kept(void **state)
{
    struct fixture *f = *state;

    assign_first(f);
    rig_attest(&f->device);
    wait_calls(f, 2);
    answer_found(1, "e1", calls[0].keys[0], NULL, NULL);
    wait_calls(f, 3); /* update, which the hub carries out and does not answer */
    rig_attest(&f->device);
    wait_calls(f, 4);
    answer_found(3, "e2", calls[2].keys[0], calls[0].keys[0], NULL);
    wait_calls(f, 5);
    expect(4, "update " REMOTE_HUB " dev-1");
    assert_memory_equal(calls[4].keys[1], calls[0].keys[0], 32);
    answer(4, LK_OK);
    answer(2, LK_ERR_TIMEOUT);
    rest(f);
    assert_assigned(f, REMOTE_HUB, LK_DPS_SUB_REPROVISIONED, 4);
}

/* After a registration that failed nobody knows whose key the hub's is: it does not stay. */
static void
no_old_key_after_a_failure(void **state)
{
    struct fixture *f = *state;

    assign_first(f);
    rig_attest(&f->device);
    wait_calls(f, 2);
    answer(1, LK_ERR_NETWORK);
    rest(f);
    later(f, 601);
    rest(f);
    assert_failed(f, LK_DPS_UNAVAILABLE);
    rig_attest(&f->device);
    wait_calls(f, 3);
    answer_found(2, "e1", calls[0].keys[0], NULL, NULL);
    wait_calls(f, 4);
    assert_memory_not_equal(calls[3].keys[1], calls[0].keys[0], 32);
    answer(3, LK_OK);
    rest(f);
    assert_assigned(f, REMOTE_HUB, LK_DPS_SUB_REPROVISIONED, 3);
}

/* The enrollment is disabled while the hub is away: no identity is made. */
static void
disabled_meanwhile(void **state)
{
    struct fixture *f = *state;
    struct lk_registration r;
    bool enabled = false;

    rig_attest(&f->device);
    wait_calls(f, 1);
    answer(0, LK_ERR_NETWORK);
    rest(f);
    rig_enrollment_change(&f->rig, "dev-1", rig_enrollment_set_enabled, &enabled);
    later(f, 1);
    rest(f);
    assert_int_equal(rig_registration(&f->rig, "dev-1", &r), LK_OK);
    assert_int_equal(r.status, LK_REG_FAILED);
    lk_registration_fini(&r);
}

static enum lk_err
record_delete_run(struct lk_txn *tx, void *arg)
{
    return lk_txn_registration_delete(tx, RIG_SCOPE, "dev-1", NULL);
}

/* The record goes while the hub thinks: there is nothing to report to, and nothing is retried. */
static void
record_deleted_meanwhile(void **state)
{
    struct fixture *f = *state;
    struct lk_registration r;

    rig_attest(&f->device);
    wait_calls(f, 1);
    rig_write(&f->rig, record_delete_run, NULL);
    answer(0, LK_OK);
    rest(f);
    assert_int_equal(rig_registration(&f->rig, "dev-1", &r), LK_OK);
    assert_int_equal(r.status, LK_REG_NONE);
    lk_registration_fini(&r);
    later(f, 100);
    rest(f);
}

/* The hub is unlinked while it is away. */
static void
unlinked_meanwhile(void **state)
{
    struct fixture *f = *state;

    rig_attest(&f->device);
    wait_calls(f, 1);
    answer(0, LK_ERR_NETWORK);
    rest(f);
    rig_hub_delete(&f->rig, REMOTE_HUB);
    later(f, 1);
    rest(f);
    assert_failed(f, LK_DPS_NO_HUB);
}

/* ---- whose a device id is ----------------------------------------------------------------------
 */

static void
device_id_set(struct lk_enrollment *e, void *arg)
{
    assert_int_equal(lk_strcpy(e->device_id, sizeof(e->device_id), arg), LK_OK);
}

/* Another enrollment names a device that is registered: it fails, and the hub is not asked. Once
 * the operator has deleted that registration the name is free. */
static void
the_id_is_anothers(void **state)
{
    struct fixture *f = *state;
    struct softtpm_key *other_ek = softtpm_key_generate(SOFTTPM_P256);
    struct softtpm *tpm = softtpm_new(other_ek, srk);
    struct rig_device thief = {.rig = &f->rig, .scope = RIG_SCOPE, .id = "dev-2", .tpm = tpm};
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    char id[] = "dev-1", hub[] = REMOTE_HUB;

    assign_first(f);
    rig_enroll(&f->rig, RIG_SCOPE, "dev-2", tpm, NULL);
    rig_enrollment_change(&f->rig, "dev-2", hub_set, hub);
    rig_enrollment_change(&f->rig, "dev-2", device_id_set, id);
    rig_attest(&thief);
    rest(f);
    rig_poll(&thief, thief.token, thief.operation_id, &a);
    assert_int_equal(a.state.status, LK_DPS_FAILED);
    assert_int_equal(a.state.error_code, LK_DPS_HUB_REFUSED);

    rig_write(&f->rig, record_delete_run, NULL);
    rig_attest(&thief);
    wait_calls(f, 2);
    expect(1, "create " REMOTE_HUB " dev-1");
    answer(1, LK_ERR_EXISTS);
    wait_calls(f, 3);
    answer_found(2, "e1", calls[0].keys[0], NULL, NULL);
    wait_calls(f, 4);
    expect(3, "update " REMOTE_HUB " dev-1");
    assert_memory_not_equal(calls[3].keys[1], calls[0].keys[0], 32);
    answer(3, LK_OK);
    rest(f);

    rig_attest(&f->device); /* and now it is the thief's */
    rest(f);
    assert_failed(f, LK_DPS_HUB_REFUSED);
    softtpm_free(tpm);
    softtpm_key_free(other_ek);
}

/* ---- moving ------------------------------------------------------------------------------------
 */

/* Data is carried over: old hub read, created on the new, deleted on the old; in that order. */
static void
moves_between_them(void **state)
{
    struct fixture *f = *state;

    assign_first(f);
    use_hub(f, REMOTE_HUB_2);
    rig_attest(&f->device);
    wait_calls(f, 2);
    expect(1, "read " REMOTE_HUB " dev-1");
    assert_true(calls[1].with_twin);
    answer_found(1, "old", calls[0].keys[0], NULL, "{\"tags\":{\"a\":1}}");
    wait_calls(f, 3);
    expect(2, "create " REMOTE_HUB_2 " dev-1");
    assert_string_equal(calls[2].twin, "{\"tags\":{\"a\":1}}");
    assert_assigning(f);
    answer(2, LK_OK);
    wait_calls(f, 4);
    expect(3, "remove " REMOTE_HUB " dev-1");
    assert_string_equal(calls[3].etag, "old");
    assert_assigned(f, REMOTE_HUB_2, LK_DPS_SUB_MIGRATED, 2);
    answer(3, LK_OK);
    rest(f);
    later(f, 100);
    rest(f);
}

static void
twin_set(struct lk_enrollment *e, void *arg)
{
    e->reprovision_migrate = false;
    assert_int_equal(lk_buf_puts(&e->initial_twin, arg), LK_OK);
}

/* Data is reset: created with the initial twin, then the old one read for its etag and deleted. */
static void
moves_with_a_reset(void **state)
{
    struct fixture *f = *state;
    char twin[] = "{\"tags\":{}}";

    assign_first(f);
    use_hub(f, REMOTE_HUB_2);
    rig_enrollment_change(&f->rig, "dev-1", twin_set, twin);
    rig_attest(&f->device);
    wait_calls(f, 2);
    expect(1, "create " REMOTE_HUB_2 " dev-1");
    assert_string_equal(calls[1].twin, twin);
    answer(1, LK_OK);
    wait_calls(f, 3);
    expect(2, "read " REMOTE_HUB " dev-1");
    assert_false(calls[2].with_twin);
    answer_found(2, "e9", calls[0].keys[0], NULL, NULL);
    wait_calls(f, 4);
    expect(3, "remove " REMOTE_HUB " dev-1");
    assert_string_equal(calls[3].etag, "e9");
    answer(3, LK_ERR_PRECONDITION); /* changed since: it is read again */
    rest(f);
    later(f, 1);
    wait_calls(f, 5);
    expect(4, "read " REMOTE_HUB " dev-1");
    answer(4, LK_OK); /* gone */
    rest(f);
    assert_assigned(f, REMOTE_HUB_2, LK_DPS_SUB_RESET, 1);
    later(f, 100);
    rest(f);
}

/* What is left of the device at the new hub gets the data that it brings. */
static void
moves_onto_a_leftover(void **state)
{
    struct fixture *f = *state;
    uint8_t theirs[32] = {9};

    assign_first(f);
    use_hub(f, REMOTE_HUB_2);
    rig_attest(&f->device);
    wait_calls(f, 2);
    answer_found(1, "old", calls[0].keys[0], NULL, "{\"tags\":{\"a\":1}}");
    wait_calls(f, 3);
    answer(2, LK_ERR_EXISTS);
    wait_calls(f, 4);
    answer_found(3, "e1", theirs, NULL, NULL);
    wait_calls(f, 5);
    expect(4, "update " REMOTE_HUB_2 " dev-1");
    answer(4, LK_OK);
    wait_calls(f, 6);
    expect(5, "merge " REMOTE_HUB_2 " dev-1");
    assert_string_equal(calls[5].twin, "{\"tags\":{\"a\":1}}");
    answer(5, LK_OK);
    wait_calls(f, 7);
    expect(6, "remove " REMOTE_HUB " dev-1");
    answer(6, LK_OK);
    rest(f);
    assert_assigned(f, REMOTE_HUB_2, LK_DPS_SUB_MIGRATED, 4);
}

/* The old hub is dead: the device is not moved without its data, and nothing is made or deleted. */
static void
old_hub_is_dead(void **state)
{
    struct fixture *f = *state;

    assign_first(f);
    use_hub(f, REMOTE_HUB_2);
    rig_attest(&f->device);
    wait_calls(f, 2);
    answer(1, LK_ERR_NETWORK);
    rest(f);
    assert_assigning(f);
    later(f, 601);
    rest(f);
    assert_failed(f, LK_DPS_UNAVAILABLE);

    rig_attest(&f->device); /* it is remembered where the device really is */
    wait_calls(f, 3);
    expect(2, "read " REMOTE_HUB " dev-1");
    answer_found(2, "old", calls[0].keys[0], NULL, NULL);
    wait_calls(f, 4);
    answer(3, LK_OK);
    wait_calls(f, 5);
    answer(4, LK_OK);
    rest(f);
    assert_assigned(f, REMOTE_HUB_2, LK_DPS_SUB_MIGRATED, 3);
}

/* Back before the old identity was deleted: then it is not, whoever comes first. */
static void
comes_back_in_time(void **state)
{
    struct fixture *f = *state;

    assign_first(f);
    use_hub(f, REMOTE_HUB_2);
    rig_attest(&f->device);
    wait_calls(f, 2);
    answer_found(1, "old", calls[0].keys[0], NULL, NULL);
    wait_calls(f, 3);
    answer(2, LK_OK);
    wait_calls(f, 4);
    answer(3, LK_ERR_NETWORK); /* the delete */
    rest(f);
    later(f, 2);
    wait_calls(f, 5);
    expect(4, "read " REMOTE_HUB " dev-1"); /* for the etag; slow */
    use_hub(f, REMOTE_HUB);
    rig_attest(&f->device);
    wait_calls(f, 6);
    expect(5, "read " REMOTE_HUB_2 " dev-1");
    answer_found(4, "old", calls[0].keys[0], NULL, NULL);
    rest(f); /* nothing is deleted */
    answer_found(5, "e2", calls[2].keys[0], NULL, NULL);
    wait_calls(f, 7);
    expect(6, "create " REMOTE_HUB " dev-1");
    answer(6, LK_OK);
    wait_calls(f, 8);
    expect(7, "remove " REMOTE_HUB_2 " dev-1");
    answer(7, LK_OK);
    rest(f);
    assert_assigned(f, REMOTE_HUB, LK_DPS_SUB_MIGRATED, 6);
    later(f, 1000);
    rest(f);
}

/* From our hub to the other: ours is left once the other has the device, not before. */
static void
moves_there(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct softtpm_opened key;
    struct lk_identity id;

    use_hub(f, RIG_HUB);
    rig_provision(&f->device, &a, &key);
    use_hub(f, REMOTE_HUB);
    rig_attest(&f->device);
    wait_calls(f, 1);
    expect(0, "create " REMOTE_HUB " dev-1");
    assert_int_equal(rig_identity(&f->rig, RIG_HUB, "dev-1", &id), LK_OK);
    answer(0, LK_OK);
    rest(f);
    assert_assigned(f, REMOTE_HUB, LK_DPS_SUB_MIGRATED, 0);
    assert_int_equal(rig_identity(&f->rig, RIG_HUB, "dev-1", &id), LK_ERR_NOT_FOUND);
}

/* And back: the other is read first, and left last. */
static void
moves_back(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct lk_identity id;

    assign_first(f);
    use_hub(f, RIG_HUB);
    rig_attest(&f->device);
    wait_calls(f, 2);
    expect(1, "read " REMOTE_HUB " dev-1");
    assert_true(calls[1].with_twin);
    assert_int_equal(rig_identity(&f->rig, RIG_HUB, "dev-1", &id), LK_ERR_NOT_FOUND);
    answer_found(1, "old", calls[0].keys[0], NULL, "{\"tags\":{\"a\":1}}");
    wait_calls(f, 3);
    expect(2, "remove " REMOTE_HUB " dev-1");
    assert_int_equal(rig_identity(&f->rig, RIG_HUB, "dev-1", &id), LK_OK);
    answer(2, LK_OK);
    rest(f);
    assert_status(f, LK_DPS_ASSIGNED, &a);
    assert_string_equal(a.state.assigned_hub, RIG_HUB);
    assert_int_equal(a.state.substatus, LK_DPS_SUB_MIGRATED);
}

/* Back with a reset: at once, and the other is left after that. */
static void
moves_back_with_a_reset(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct softtpm_opened key;
    char twin[] = "{\"tags\":{}}";

    assign_first(f);
    use_hub(f, RIG_HUB);
    rig_enrollment_change(&f->rig, "dev-1", twin_set, twin);
    rig_provision(&f->device, &a, &key);
    assert_int_equal(a.state.substatus, LK_DPS_SUB_RESET);
    lk_provision_tick(f->rig.p);
    wait_calls(f, 2);
    expect(1, "read " REMOTE_HUB " dev-1");
    answer_found(1, "old", calls[0].keys[0], NULL, NULL);
    wait_calls(f, 3);
    expect(2, "remove " REMOTE_HUB " dev-1");
    answer(2, LK_OK);
    rest(f);
}

/* A hub that is away for a week keeps an identity that is nobody's: the errand ends. */
static void
left_behind(void **state)
{
    struct fixture *f = *state;

    assign_first(f);
    use_hub(f, REMOTE_HUB_2);
    rig_attest(&f->device);
    wait_calls(f, 2);
    answer_found(1, "old", calls[0].keys[0], NULL, NULL);
    wait_calls(f, 3);
    answer(2, LK_OK);
    wait_calls(f, 4);
    answer(3, LK_ERR_NETWORK);
    rest(f);
    later(f, 7 * 24 * 3600 + 1);
    rest(f);
    later(f, 100);
    rest(f);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(first_assignment_creates),
        CASE(registers_again),
        CASE(registers_again_after_a_loss),
        CASE(finds_a_stranger),
        CASE(tries_again),
        CASE(tries_again_what_was_done),
        CASE(update_meets_another),
        CASE(deadline),
        CASE(hub_does_not_take_it),
        CASE(the_process_dies),
        CASE(room_is_kept),
        CASE(overtaken),
        CASE(untold_keys_are_not_kept),
        CASE(no_old_key_after_a_failure),
        CASE(disabled_meanwhile),
        CASE(record_deleted_meanwhile),
        CASE(unlinked_meanwhile),
        CASE(the_id_is_anothers),
        CASE(moves_between_them),
        CASE(moves_with_a_reset),
        CASE(moves_onto_a_leftover),
        CASE(old_hub_is_dead),
        CASE(comes_back_in_time),
        CASE(moves_there),
        CASE(moves_back),
        CASE(moves_back_with_a_reset),
        CASE(left_behind),
    };
    int failed;

    if (lk_crypto_init() != LK_OK) {
        return 1;
    }
    ek = softtpm_key_generate(SOFTTPM_P256);
    srk = softtpm_key_generate(SOFTTPM_P256);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    softtpm_key_free(ek);
    softtpm_key_free(srk);
    return failed;
}
