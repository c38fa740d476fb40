/* Tests of src/hub/registry.c: identities as a hub's operators see and change them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "hub/message.h"
#include "hub/registry.h"
#include "support/rig.h"

/* One call and what it returned; the job itself is kept. */
struct call {
    struct rig *rig;
    struct lk_hub_device *d;
    const char *id, *etag, *reason;
    bool enabled;
    enum lk_err err;
    char list[64];
    struct lk_hub_statistics statistics;
};

static enum lk_err
create_run(struct lk_txn *tx, void *arg)
{
    struct call *c = arg;

    c->err = lk_hub_device_create(c->rig->core, tx, c->d);
    return LK_OK;
}

static enum lk_err
update_run(struct lk_txn *tx, void *arg)
{
    struct call *c = arg;

    c->err = lk_hub_device_update(c->rig->core, tx, c->d, c->etag);
    return LK_OK;
}

static enum lk_err
delete_run(struct lk_txn *tx, void *arg)
{
    struct call *c = arg;

    c->err = lk_hub_device_delete(c->rig->core, tx, RIG_HUB, c->id, c->etag);
    return LK_OK;
}

static enum lk_err
get_run(struct lk_txn *tx, void *arg)
{
    struct call *c = arg;

    c->err = lk_hub_device_get(c->rig->core, tx, RIG_HUB, c->id, c->d);
    return LK_OK;
}

static enum lk_err
status_run(struct lk_txn *tx, void *arg)
{
    struct call *c = arg;

    c->err = lk_hub_device_set_status(c->rig->core, tx, RIG_HUB, c->id, c->enabled, c->reason);
    return LK_OK;
}

static enum lk_err
device_list(void *ctx, const struct lk_hub_device *d)
{
    struct call *c = ctx;

    assert_int_equal(d->keys[0].len, LK_HUB_KEY_LEN);
    strcat(c->list, d->id.device_id);
    return LK_OK;
}

static enum lk_err
page_run(struct lk_txn *tx, void *arg)
{
    struct call *c = arg;

    return lk_hub_device_page(c->rig->core, tx, RIG_HUB, "a", 2, device_list, c);
}

static enum lk_err
statistics_run(struct lk_txn *tx, void *arg)
{
    struct call *c = arg;

    return lk_hub_statistics(tx, RIG_HUB, &c->statistics);
}

static enum lk_err
create(struct rig *r, struct lk_hub_device *d)
{
    struct call c = {.rig = r, .d = d};

    rig_write(r, create_run, &c);
    return c.err;
}

static enum lk_err
update(struct rig *r, struct lk_hub_device *d, const char *etag)
{
    struct call c = {.rig = r, .d = d, .etag = etag};

    rig_write(r, update_run, &c);
    return c.err;
}

static enum lk_err
get(struct rig *r, const char *id, struct lk_hub_device *ret)
{
    struct call c = {.rig = r, .d = ret, .id = id};

    rig_read(r, get_run, &c);
    return c.err;
}

static struct lk_hub_device
device_of(const char *id)
{
    struct lk_hub_device d = {.id = {.hub = RIG_HUB, .enabled = true, .auth = LK_AUTH_SAS}};

    assert_int_equal(lk_strcpy(d.id.device_id, sizeof(d.id.device_id), id), LK_OK);
    return d;
}

static void
key_put(struct lk_buf *key, uint8_t byte, size_t len)
{
    lk_buf_reset(key);
    memset(lk_buf_extend(key, len), byte, len);
}

static bool
keys_equal(const struct lk_buf *a, const struct lk_buf *b)
{
    return a->len == b->len && a->len > 0 && memcmp(a->data, b->data, a->len) == 0;
}

/* Empty keys mean fresh ones; what is answered is what is stored; there is one of a name. */
static void
creates(void **state)
{
    struct rig *r = *state;
    struct lk_hub_device d = device_of("Dev-1"), got = {.c2d_count = 9};

    assert_int_equal(create(r, &d), LK_OK);
    assert_int_equal(d.keys[0].len, LK_HUB_KEY_LEN);
    assert_int_equal(d.keys[1].len, LK_HUB_KEY_LEN);
    assert_false(keys_equal(&d.keys[0], &d.keys[1]));
    assert_int_equal(strlen(d.id.generation_id), 32);
    assert_int_equal(get(r, "Dev-1", &got), LK_OK);
    assert_true(keys_equal(&d.keys[0], &got.keys[0]));
    assert_true(keys_equal(&d.keys[1], &got.keys[1]));
    assert_string_equal(got.id.etag, d.id.etag);
    assert_string_equal(got.id.owner_scope, "");
    assert_false(got.present.connected);
    assert_int_equal(got.c2d_count, 0);
    assert_int_equal(create(r, &d), LK_ERR_EXISTS);
    assert_int_equal(get(r, "dev-1", &got), LK_ERR_NOT_FOUND);
    lk_hub_device_fini(&d);
    lk_hub_device_fini(&got);
}

/* The hub's name is compared without regard to case; it must be one of ours. */
static void
only_on_our_hubs(void **state)
{
    struct rig *r = *state;
    struct lk_hub_device d = device_of("a");

    (void)snprintf(d.id.hub, sizeof(d.id.hub), "HUB.example.test");
    assert_int_equal(create(r, &d), LK_OK);
    assert_int_equal(get(r, "a", &d), LK_OK);
    (void)snprintf(d.id.hub, sizeof(d.id.hub), "no.example.test");
    assert_int_equal(create(r, &d), LK_ERR_NOT_FOUND);
    rig_hub_add(r, RIG_OTHER_HUB, LK_HUB_HTTP);
    (void)snprintf(d.id.hub, sizeof(d.id.hub), RIG_OTHER_HUB);
    assert_int_equal(create(r, &d), LK_ERR_NOT_FOUND);
    lk_hub_device_fini(&d);
}

/* Keys of 16 to 64 bytes, thumbprints of SHA-1 and SHA-256, ids by their characters. */
static void
judges(void **state)
{
    static const char sha1[] = "0123456789abcdef0123456789ABCDEF01234567";
    struct rig *r = *state;
    struct lk_hub_device d = device_of("a");

    key_put(&d.keys[1], 'k', LK_HUB_KEY_MIN - 1);
    assert_int_equal(create(r, &d), LK_ERR_ARG);
    key_put(&d.keys[1], 'k', LK_HUB_KEY_MAX + 1);
    assert_int_equal(create(r, &d), LK_ERR_ARG);
    key_put(&d.keys[0], 'j', LK_HUB_KEY_MIN);
    key_put(&d.keys[1], 'k', LK_HUB_KEY_MAX);
    assert_int_equal(create(r, &d), LK_OK);
    assert_int_equal(d.keys[0].len, LK_HUB_KEY_MIN);
    assert_int_equal(d.keys[1].data[LK_HUB_KEY_MAX - 1], 'k');
    lk_hub_device_fini(&d);

    d = device_of("x509");
    d.id.auth = LK_AUTH_SELF_SIGNED;
    assert_int_equal(create(r, &d), LK_ERR_ARG);
    (void)snprintf(d.id.thumbprints[1], sizeof(d.id.thumbprints[1]), "%s", sha1);
    d.id.thumbprints[1][39] = '\0';
    assert_int_equal(create(r, &d), LK_ERR_ARG);
    (void)snprintf(d.id.thumbprints[1], sizeof(d.id.thumbprints[1]), "%s", sha1);
    d.id.thumbprints[1][3] = 'g';
    assert_int_equal(create(r, &d), LK_ERR_ARG);
    d.id.thumbprints[1][3] = '3';
    key_put(&d.keys[0], 'k', 32);
    assert_int_equal(create(r, &d), LK_OK);
    assert_string_equal(d.id.thumbprints[1], "0123456789ABCDEF0123456789ABCDEF01234567");
    assert_int_equal(d.keys[0].len + d.keys[1].len, 0);
    lk_hub_device_fini(&d);

    d = device_of("a/b");
    assert_int_equal(create(r, &d), LK_ERR_ARG);
    d.id.device_id[0] = '\0';
    assert_int_equal(create(r, &d), LK_ERR_ARG);
}

/*
 * An update keeps the keys that it does not bring, makes those that are missing, and drops all when
 * the device is to sign nothing; generation and owner stay.
 */
static void
updates(void **state)
{
    struct rig *r = *state;
    struct lk_hub_device d = device_of("a"), next = device_of("a"), got = {.c2d_count = 0};

    assert_int_equal(update(r, &next, "*"), LK_ERR_NOT_FOUND);
    assert_int_equal(create(r, &d), LK_OK);
    assert_int_equal(update(r, &next, "stale"), LK_ERR_PRECONDITION);
    assert_int_equal(update(r, &next, ""), LK_ERR_PRECONDITION);
    next.id.enabled = false;
    next.id.iot_edge = true;
    (void)snprintf(next.id.status_reason, sizeof(next.id.status_reason), "sold");
    key_put(&next.keys[1], 'k', 20);
    assert_int_equal(update(r, &next, d.id.etag), LK_OK);
    assert_int_equal(get(r, "a", &got), LK_OK);
    assert_true(keys_equal(&got.keys[0], &d.keys[0]));
    assert_true(keys_equal(&got.keys[1], &next.keys[1]));
    assert_int_equal(got.keys[1].len, 20);
    assert_true(!got.id.enabled && got.id.iot_edge);
    assert_string_equal(got.id.status_reason, "sold");
    assert_string_equal(got.id.generation_id, d.id.generation_id);
    assert_int_equal(got.id.status_updated_ms, r->now_ms);

    next.id.auth = LK_AUTH_NONE;
    assert_int_equal(update(r, &next, NULL), LK_OK);
    assert_int_equal(get(r, "a", &got), LK_OK);
    assert_int_equal(got.keys[0].len + got.keys[1].len, 0);
    next.id.auth = LK_AUTH_SAS;
    assert_int_equal(update(r, &next, NULL), LK_OK);
    assert_int_equal(next.keys[0].len, LK_HUB_KEY_LEN);
    assert_false(keys_equal(&next.keys[0], &d.keys[0]));
    lk_hub_device_fini(&d);
    lk_hub_device_fini(&next);
    lk_hub_device_fini(&got);
}

static enum lk_err
assign_run(struct lk_txn *tx, void *arg)
{
    struct rig *r = arg;
    struct lk_hub_link link = lk_hub_core_link(r->core);
    const struct lk_hub hub = {.name = RIG_HUB, .kind = LK_HUB_EMBEDDED};
    const uint8_t key[32] = {(uint8_t)(lk_txn_now_ms(tx) % 251)};
    const struct lk_hub_assign a = {.hub = &hub,
                                    .device_id = "dev",
                                    .owner = {RIG_SCOPE, "dev"},
                                    .key = key,
                                    .key_len = sizeof(key),
                                    .keep_old_key = true};
    bool existed;

    return link.ops->assign_in_txn(link.ctx, tx, &a, &existed);
}

/* What waits for a lost answer goes on waiting when an operator writes back what was read. */
static void
write_back_changes_no_key(void **state)
{
    struct rig *r = *state;
    struct lk_hub_device d = {.c2d_count = 0};
    struct lk_identity before, after;

    rig_write(r, assign_run, r);
    rig_advance_s(r, 1);
    rig_write(r, assign_run, r);
    assert_int_equal(rig_identity(r, RIG_HUB, "dev", &before), LK_OK);
    assert_true(before.secondary_retires);
    assert_int_equal(get(r, "dev", &d), LK_OK);
    assert_int_equal(update(r, &d, d.id.etag), LK_OK);
    assert_int_equal(rig_identity(r, RIG_HUB, "dev", &after), LK_OK);
    assert_true(after.secondary_retires);
    assert_memory_equal(after.primary, before.primary, before.primary_len);
    key_put(&d.keys[1], 'n', 32);
    assert_int_equal(update(r, &d, NULL), LK_OK);
    assert_int_equal(rig_identity(r, RIG_HUB, "dev", &after), LK_OK);
    assert_false(after.secondary_retires);
    lk_hub_device_fini(&d);
}

/* Only the status; with the same reason again, not even the etag changes. */
static void
sets_status(void **state)
{
    struct rig *r = *state;
    struct lk_hub_device d = device_of("a");
    struct lk_identity one, two;
    char reason[LK_STATUS_REASON_MAX + 2];
    struct call c = {.rig = r, .id = "a", .reason = reason};

    memset(reason, 'r', sizeof(reason));
    reason[LK_STATUS_REASON_MAX] = '\0';
    rig_write(r, status_run, &c);
    assert_int_equal(c.err, LK_ERR_NOT_FOUND);
    assert_int_equal(create(r, &d), LK_OK);
    rig_write(r, status_run, &c);
    assert_int_equal(c.err, LK_OK);
    assert_int_equal(rig_identity(r, RIG_HUB, "a", &one), LK_OK);
    assert_false(one.enabled);
    assert_string_equal(one.status_reason, reason);
    rig_write(r, status_run, &c);
    assert_int_equal(rig_identity(r, RIG_HUB, "a", &two), LK_OK);
    assert_string_equal(one.etag, two.etag);
    reason[LK_STATUS_REASON_MAX] = 'r';
    reason[LK_STATUS_REASON_MAX + 1] = '\0';
    rig_write(r, status_run, &c);
    assert_int_equal(c.err, LK_ERR_ARG);
    c.enabled = true;
    c.reason = "";
    rig_write(r, status_run, &c);
    assert_int_equal(rig_identity(r, RIG_HUB, "a", &two), LK_OK);
    assert_true(two.enabled);
    assert_memory_equal(one.primary, two.primary, one.primary_len);
    lk_hub_device_fini(&d);
}

static enum lk_err
around_run(struct lk_txn *tx, void *arg)
{
    struct lk_c2d m = {.hub = RIG_HUB, .device_id = "b"};
    enum lk_err err = lk_txn_presence_set(tx, RIG_HUB, "b", true);

    return err != LK_OK ? err : lk_c2d_send(tx, &m);
}

/* Pages and numbers, and what is known of a device beside its identity. */
static void
pages_and_numbers(void **state)
{
    struct rig *r = *state;
    struct call c = {.rig = r, .id = "c", .reason = ""};
    struct lk_hub_device got = {.c2d_count = 0};
    const char *ids[] = {"d", "b", "a", "c"};

    for (size_t i = 0; i < LK_ARRAY_LEN(ids); i++) {
        struct lk_hub_device d = device_of(ids[i]);

        assert_int_equal(create(r, &d), LK_OK);
        lk_hub_device_fini(&d);
    }
    rig_read(r, page_run, &c);
    assert_string_equal(c.list, "bc");
    rig_write(r, status_run, &c);
    rig_write(r, around_run, NULL);
    rig_read(r, statistics_run, &c);
    assert_int_equal(c.statistics.total, 4);
    assert_int_equal(c.statistics.enabled, 3);
    assert_int_equal(c.statistics.disabled, 1);
    assert_int_equal(c.statistics.connected, 1);
    assert_int_equal(get(r, "b", &got), LK_OK);
    assert_true(got.present.connected);
    assert_int_equal(got.present.activity_ms, r->now_ms);
    assert_int_equal(got.c2d_count, 1);
    lk_hub_device_fini(&got);
}

/* Deleted under its etag; made again it is another generation. */
static void
deletes(void **state)
{
    struct rig *r = *state;
    struct lk_hub_device d = device_of("a"), again = device_of("a");
    struct call c = {.rig = r, .id = "a", .etag = "stale"};

    assert_int_equal(create(r, &d), LK_OK);
    rig_write(r, delete_run, &c);
    assert_int_equal(c.err, LK_ERR_PRECONDITION);
    c.etag = d.id.etag;
    rig_write(r, delete_run, &c);
    assert_int_equal(c.err, LK_OK);
    rig_write(r, delete_run, &c);
    assert_int_equal(c.err, LK_ERR_NOT_FOUND);
    assert_int_equal(create(r, &again), LK_OK);
    assert_string_not_equal(d.id.generation_id, again.id.generation_id);
    lk_hub_device_fini(&d);
    lk_hub_device_fini(&again);
}

struct trim {
    int64_t kept, limit, pruned;
    bool more;
};

static enum lk_err
trim_run(struct lk_txn *tx, void *arg)
{
    struct trim *t = arg;
    enum lk_err err = lk_hub_events_trim(tx, t->kept, t->limit, &t->more);

    return err != LK_OK ? err : lk_txn_hub_event_pruned(tx, &t->pruned);
}

static void
trims(struct rig *r, int64_t kept, int64_t limit, int64_t pruned, bool more)
{
    struct trim t = {.kept = kept, .limit = limit};

    rig_write(r, trim_run, &t);
    assert_int_equal(t.pruned, pruned);
    assert_int_equal(t.more, more);
}

/* Old events are dropped in steps, down to what is kept, and never more. */
static void
trims_events(void **state)
{
    struct rig *r = *state;
    struct lk_hub_device d = device_of("a");

    trims(r, 0, 10, 0, false);
    assert_int_equal(create(r, &d), LK_OK);
    for (int i = 1; i < 6; i++) {
        assert_int_equal(update(r, &d, NULL), LK_OK);
    }
    trims(r, 6, 2, 0, false);
    trims(r, 3, 2, 2, true);
    trims(r, 3, 2, 3, false);
    trims(r, 3, 2, 3, false);
    trims(r, 0, 3, 6, false);
    lk_hub_device_fini(&d);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(creates),
        CASE(only_on_our_hubs),
        CASE(judges),
        CASE(updates),
        CASE(write_back_changes_no_key),
        CASE(sets_status),
        CASE(pages_and_numbers),
        CASE(deletes),
        CASE(trims_events),
    };

    return lk_crypto_init() != LK_OK ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
