/* Tests of src/hub/message.c: the queue of a device's messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "hub/message.h"
#include "hub/registry.h"
#include "support/rig.h"

static enum lk_err
device_run(struct lk_txn *tx, void *arg)
{
    struct rig *r = arg;
    struct lk_hub_device d = {
        .id = {.hub = RIG_HUB, .device_id = "d", .enabled = true, .auth = LK_AUTH_SAS}};
    enum lk_err err = lk_hub_device_create(r->core, tx, &d);

    lk_hub_device_fini(&d);
    return err;
}

static int
setup(void **state)
{
    static struct rig rig;

    rig_start(&rig, NULL);
    rig_write(&rig, device_run, &rig);
    *state = &rig;
    return 0;
}

static int
teardown(void **state)
{
    rig_stop(*state);
    return 0;
}

/* One call, and how many events it left. */
struct call {
    const char *id;
    struct lk_c2d *message;
    const char *lock;
    enum lk_c2d_outcome outcome;
    enum lk_err err;
    uint32_t waiting;
    int64_t events;
};

static enum lk_err
send_run(struct lk_txn *tx, void *arg)
{
    struct call *c = arg;
    int64_t before = 0, after = 0;
    enum lk_err err;

    if ((err = lk_txn_hub_event_last(tx, &before)) != LK_OK) {
        return err;
    }
    c->err = lk_c2d_send(tx, c->message);
    err = lk_txn_hub_event_last(tx, &after);
    c->events = after - before;
    return err;
}

/* A body of len times 'b', and properties of properties_len times 'p'. */
static struct call
send_sized(struct rig *r, const char *id, size_t len, size_t properties_len, int64_t expires_ms)
{
    struct lk_c2d m = {.hub = RIG_HUB, .expires_ms = expires_ms};
    struct call c = {.message = &m};

    assert_int_equal(lk_strcpy(m.device_id, sizeof(m.device_id), id), LK_OK);
    if (len > 0) {
        memset(lk_buf_extend(&m.body, len), 'b', len);
    }
    if (properties_len > 0) {
        memset(lk_buf_extend(&m.properties, properties_len), 'p', properties_len);
    }
    rig_write(r, send_run, &c);
    lk_c2d_fini(&m);
    return c;
}

static enum lk_err
send_text(struct rig *r, const char *body, int64_t expires_ms)
{
    struct lk_c2d m = {.hub = RIG_HUB, .device_id = "d", .expires_ms = expires_ms};
    struct call c = {.message = &m};

    assert_int_equal(lk_buf_puts(&m.body, body), LK_OK);
    rig_write(r, send_run, &c);
    lk_c2d_fini(&m);
    return c.err;
}

static enum lk_err
take_run(struct lk_txn *tx, void *arg)
{
    struct call *c = arg;

    c->err = lk_c2d_take(tx, &lk_rand_system, RIG_HUB, "d", c->message);
    return lk_txn_c2d_count(tx, RIG_HUB, "d", &c->waiting);
}

static enum lk_err
take(struct rig *r, struct lk_c2d *ret)
{
    struct call c = {.message = ret};

    rig_write(r, take_run, &c);
    return c.err;
}

/* The next message is body; its lock is kept in ret. */
static void
takes(struct rig *r, const char *body, char ret_lock[LK_C2D_LOCK_CAP])
{
    struct lk_c2d m = {.seq = 0};

    assert_int_equal(take(r, &m), LK_OK);
    assert_string_equal(lk_buf_text(&m.body), body);
    assert_int_equal(strlen(m.lock), LK_C2D_LOCK_CAP - 1);
    memcpy(ret_lock, m.lock, LK_C2D_LOCK_CAP);
    lk_c2d_fini(&m);
}

static void
takes_nothing(struct rig *r)
{
    struct lk_c2d m = {.seq = 0};

    assert_int_equal(take(r, &m), LK_ERR_NOT_FOUND);
}

static enum lk_err
settle_run(struct lk_txn *tx, void *arg)
{
    struct call *c = arg;
    int64_t before = 0, after = 0;
    enum lk_err err;

    if ((err = lk_txn_hub_event_last(tx, &before)) != LK_OK) {
        return err;
    }
    c->err = lk_c2d_settle(tx, RIG_HUB, c->id, c->lock, c->outcome);
    if ((err = lk_txn_hub_event_last(tx, &after)) != LK_OK) {
        return err;
    }
    c->events = after - before;
    return lk_txn_c2d_count(tx, RIG_HUB, "d", &c->waiting);
}

static struct call
settle(struct rig *r, const char *lock, enum lk_c2d_outcome outcome)
{
    struct call c = {.id = "d", .lock = lock, .outcome = outcome};

    rig_write(r, settle_run, &c);
    return c;
}

/* Nothing, an empty message, the largest ones, and one byte more. */
static void
sizes(void **state)
{
    struct rig *r = *state;
    struct call c;

    takes_nothing(r);
    c = send_sized(r, "d", 0, 0, 0);
    assert_int_equal(c.err, LK_OK);
    assert_int_equal(c.events, 1);
    assert_int_equal(send_sized(r, "d", LK_C2D_BODY_MAX, 0, 0).err, LK_OK);
    assert_int_equal(send_sized(r, "d", LK_C2D_BODY_MAX + 1, 0, 0).err, LK_ERR_ARG);
    assert_int_equal(
        send_sized(r, "d", LK_C2D_BODY_MAX - LK_C2D_PROPERTIES_MAX, LK_C2D_PROPERTIES_MAX, 0).err,
        LK_OK);
    assert_int_equal(send_sized(r, "d", LK_C2D_BODY_MAX - 1, 2, 0).err, LK_ERR_ARG);
    assert_int_equal(send_sized(r, "d", 0, LK_C2D_PROPERTIES_MAX + 1, 0).err, LK_ERR_ARG);
    c = send_sized(r, "nobody", 1, 0, 0);
    assert_int_equal(c.err, LK_ERR_NOT_FOUND);
    assert_int_equal(c.events, 0);
}

/* In order; each is in one hand; settled by its own lock only, and once. */
static void
taken_and_settled(void **state)
{
    struct rig *r = *state;
    char one[LK_C2D_LOCK_CAP], two[LK_C2D_LOCK_CAP];
    struct call c = {.id = "other", .outcome = LK_C2D_COMPLETE};

    assert_int_equal(send_text(r, "1", 0), LK_OK);
    assert_int_equal(send_text(r, "2", 0), LK_OK);
    takes(r, "1", one);
    takes(r, "2", two);
    takes_nothing(r);
    assert_string_not_equal(one, two);
    c.lock = one;
    rig_write(r, settle_run, &c);
    assert_int_equal(c.err, LK_ERR_NOT_FOUND);
    assert_int_equal(settle(r, "", LK_C2D_COMPLETE).err, LK_ERR_NOT_FOUND);
    c = settle(r, one, LK_C2D_COMPLETE);
    assert_int_equal(c.err, LK_OK);
    assert_int_equal(c.waiting, 1);
    assert_int_equal(c.events, 0);
    assert_int_equal(settle(r, one, LK_C2D_COMPLETE).err, LK_ERR_NOT_FOUND);
    assert_int_equal(settle(r, two, LK_C2D_REJECT).waiting, 0);
}

/* Given back, it comes again at once, with an event and another lock; so it does when a lock ends.
 */
static void
comes_again(void **state)
{
    struct rig *r = *state;
    char one[LK_C2D_LOCK_CAP], two[LK_C2D_LOCK_CAP];
    struct call c;

    assert_int_equal(send_text(r, "1", 0), LK_OK);
    takes(r, "1", one);
    c = settle(r, one, LK_C2D_ABANDON);
    assert_int_equal(c.err, LK_OK);
    assert_int_equal(c.events, 1);
    takes(r, "1", two);
    assert_string_not_equal(one, two);
    assert_int_equal(settle(r, one, LK_C2D_COMPLETE).err, LK_ERR_NOT_FOUND);
    rig_advance_s(r, LK_C2D_LOCK_MS / 1000);
    assert_int_equal(settle(r, two, LK_C2D_COMPLETE).err, LK_ERR_NOT_FOUND);
    takes(r, "1", one);
    assert_int_equal(settle(r, one, LK_C2D_COMPLETE).err, LK_OK);
}

/* After so many hand-outs it is dropped; the last one can still be settled while it lasts. */
static void
deliveries(void **state)
{
    struct rig *r = *state;
    char lock[LK_C2D_LOCK_CAP];

    assert_int_equal(send_text(r, "1", 0), LK_OK);
    for (unsigned i = 1; i < LK_C2D_DELIVERIES_MAX; i++) {
        takes(r, "1", lock);
        assert_int_equal(settle(r, lock, LK_C2D_ABANDON).err, LK_OK);
    }
    takes(r, "1", lock);
    assert_int_equal(settle(r, lock, LK_C2D_COMPLETE).err, LK_OK);

    assert_int_equal(send_text(r, "2", 0), LK_OK);
    for (unsigned i = 0; i < LK_C2D_DELIVERIES_MAX; i++) {
        takes(r, "2", lock);
        assert_int_equal(settle(r, lock, LK_C2D_ABANDON).err, LK_OK);
    }
    assert_int_equal(send_text(r, "3", 0), LK_OK);
    takes(r, "3", lock);
    assert_int_equal(settle(r, lock, LK_C2D_COMPLETE).waiting, 0);
}

/* Its time ends when it says, two days from now at the latest; in hand it can still be settled. */
static void
expiry(void **state)
{
    struct rig *r = *state;
    char lock[LK_C2D_LOCK_CAP];

    assert_int_equal(send_text(r, "short", r->now_ms + 1000), LK_OK);
    assert_int_equal(send_text(r, "held", r->now_ms + 2000), LK_OK);
    assert_int_equal(send_text(r, "long", INT64_MAX), LK_OK);
    rig_advance_s(r, 1);
    takes(r, "held", lock);
    rig_advance_s(r, 5);
    assert_int_equal(settle(r, lock, LK_C2D_COMPLETE).waiting, 1);
    rig_advance_s(r, LK_C2D_TTL_MS / 1000 - 7);
    takes(r, "long", lock);
    rig_advance_s(r, LK_C2D_LOCK_MS / 1000);
    takes_nothing(r);
}

/* Fifty wait; one more is refused, unless one of them is past its time. */
static void
full_queue(void **state)
{
    struct rig *r = *state;
    char lock[LK_C2D_LOCK_CAP];

    assert_int_equal(send_text(r, "first", r->now_ms + 1000), LK_OK);
    for (unsigned i = 1; i < LK_C2D_QUEUE_MAX; i++) {
        assert_int_equal(send_text(r, "next", 0), LK_OK);
    }
    assert_int_equal(send_text(r, "one more", 0), LK_ERR_LIMIT);
    takes(r, "first", lock);
    assert_int_equal(send_text(r, "one more", 0), LK_ERR_LIMIT);
    assert_int_equal(settle(r, lock, LK_C2D_ABANDON).err, LK_OK);
    rig_advance_s(r, 1);
    assert_int_equal(send_text(r, "one more", 0), LK_OK);
    assert_int_equal(send_text(r, "two more", 0), LK_ERR_LIMIT);
    takes(r, "next", lock);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(sizes),  CASE(taken_and_settled), CASE(comes_again), CASE(deliveries),
        CASE(expiry), CASE(full_queue),
    };

    return lk_crypto_init() != LK_OK ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
