/* Tests of src/hub/session.c, with a real store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "hub/registry.h"
#include "hub/session.h"
#include "support/rig.h"

#define RESOURCE RIG_HUB "/devices/Dev-1"

static struct softtpm_opened key_a = {.key_len = 32}, key_b = {.key_len = 32};

/* ---- identities, as operators make them --------------------------------------------------------
 */

struct change {
    struct rig *rig;
    const struct softtpm_opened *primary, *secondary;
    bool enabled;
};

static enum lk_err
device_put_run(struct lk_txn *tx, void *arg)
{
    const struct change *c = arg;
    struct lk_hub_device d = {
        .id = {.hub = RIG_HUB, .device_id = "Dev-1", .enabled = c->enabled, .auth = LK_AUTH_SAS}};
    enum lk_err err;

    if ((err = lk_buf_put(&d.keys[0], c->primary->key, c->primary->key_len)) == LK_OK &&
        (err = lk_buf_put(&d.keys[1], c->secondary->key, c->secondary->key_len)) == LK_OK &&
        (err = lk_hub_device_create(c->rig->core, tx, &d)) == LK_ERR_EXISTS) {
        err = lk_hub_device_update(c->rig->core, tx, &d, NULL);
    }
    lk_hub_device_fini(&d);
    return err;
}

static void
device_put(struct rig *r, const struct softtpm_opened *primary,
           const struct softtpm_opened *secondary, bool enabled)
{
    struct change c = {r, primary, secondary, enabled};

    rig_write(r, device_put_run, &c);
}

static enum lk_err
device_delete_run(struct lk_txn *tx, void *arg)
{
    struct rig *r = arg;

    return lk_hub_device_delete(r->core, tx, RIG_HUB, "Dev-1", NULL);
}

/* ---- sessions -----------------------------------------------------------------------------------
 */

struct call {
    struct rig *rig;
    const char *device_id, *token;
    struct lk_hub_login *login;
    char etag[LK_ETAG_CAP];
    const char *reason;
    enum lk_err err;
};

static enum lk_err
login_run(struct lk_txn *tx, void *arg)
{
    struct call *c = arg;

    c->err = lk_hub_login(c->rig->core, tx, RIG_HUB, c->device_id, c->token, strlen(c->token),
                          c->rig->now_ms, c->login);
    return LK_OK;
}

static enum lk_err
login(struct rig *r, const char *device_id, const struct softtpm_opened *key, int64_t expiry_s,
      struct lk_hub_login *ret)
{
    char token[LK_SAS_MAX + 1];
    struct call c = {.rig = r, .device_id = device_id, .token = token, .login = ret};

    rig_sign(key, RESOURCE, expiry_s, NULL, token);
    rig_read(r, login_run, &c);
    return c.err;
}

static enum lk_err
judge_run(struct lk_txn *tx, void *arg)
{
    struct call *c = arg;
    const struct lk_hub_session session = {.hub = RIG_HUB,
                                           .device_id = "Dev-1",
                                           .generation_id = c->login->check.generation_id,
                                           .etag = c->login->check.etag,
                                           .key_tag = c->login->key_tag};

    c->err = lk_hub_session_judge(c->rig->core, tx, &session, c->etag, &c->reason);
    return LK_OK;
}

static enum lk_err
judge(struct rig *r, struct lk_hub_login *login_was, const char **ret_reason)
{
    struct call c = {.rig = r, .login = login_was};

    rig_read(r, judge_run, &c);
    *ret_reason = c.reason;
    return c.err;
}

static int
setup(void **state)
{
    static struct rig rig;

    memset(key_a.key, 'a', 32);
    memset(key_b.key, 'b', 32);
    rig_start(&rig, NULL);
    *state = &rig;
    return 0;
}

static int
teardown(void **state)
{
    rig_stop(*state);
    return 0;
}

/* A token opens the device that it names, and not the one that the client says it is. */
static void
another_device(void **state)
{
    struct rig *r = *state;
    int64_t later_s = r->now_ms / 1000 + 60;
    struct lk_hub_login l;

    assert_int_equal(login(r, "Dev-1", &key_a, later_s, &l), LK_ERR_REFUSED);
    device_put(r, &key_a, &key_b, true);
    assert_int_equal(login(r, "Dev-2", &key_a, later_s, &l), LK_ERR_REFUSED);
    assert_string_equal(l.check.reason, "token.resource");
    assert_int_equal(login(r, "Dev-1", &key_a, later_s, &l), LK_OK);
    assert_int_equal(strlen(l.check.generation_id), 32);
}

/* A session ends with its token; one that is late already, when such tokens are not taken any more.
 */
static void
when_it_ends(void **state)
{
    struct rig *r = *state;
    int64_t now_s = r->now_ms / 1000;
    struct lk_hub_login l;

    device_put(r, &key_a, &key_b, true);
    assert_int_equal(login(r, "Dev-1", &key_a, now_s + 1, &l), LK_OK);
    assert_int_equal(l.cut_at_unix_s, now_s + 1);
    assert_int_equal(login(r, "Dev-1", &key_a, now_s, &l), LK_OK);
    assert_int_equal(l.cut_at_unix_s, now_s + LK_HUB_SKEW_S);
}

/* Whatever leaves the key alone leaves the session alone; a key that is in neither slot ends it. */
static void
key_changes(void **state)
{
    struct rig *r = *state;
    const char *reason;
    struct lk_hub_login a, b;

    device_put(r, &key_a, &key_b, true);
    assert_int_equal(login(r, "Dev-1", &key_a, r->now_ms / 1000 + 60, &a), LK_OK);
    assert_int_equal(login(r, "Dev-1", &key_b, r->now_ms / 1000 + 60, &b), LK_OK);
    assert_memory_not_equal(a.key_tag, b.key_tag, LK_KEY_TAG_LEN);
    assert_int_equal(judge(r, &a, &reason), LK_OK);
    device_put(r, &key_b, &key_a, true); /* the other way round, sealed anew */
    assert_int_equal(judge(r, &a, &reason), LK_OK);
    assert_int_equal(judge(r, &b, &reason), LK_OK);
    device_put(r, &key_b, &key_b, true);
    assert_int_equal(judge(r, &b, &reason), LK_OK);
    assert_int_equal(judge(r, &a, &reason), LK_ERR_REFUSED);
    assert_string_equal(reason, "device.key_changed");
}

/* A ban ends it; so does a deletion, also when another of the same name and key has been made. */
static void
bans_and_deletions(void **state)
{
    struct rig *r = *state;
    const char *reason;
    struct lk_hub_login l;

    device_put(r, &key_a, &key_b, true);
    assert_int_equal(login(r, "Dev-1", &key_a, r->now_ms / 1000 + 60, &l), LK_OK);
    device_put(r, &key_a, &key_b, false);
    assert_int_equal(judge(r, &l, &reason), LK_ERR_REFUSED);
    assert_string_equal(reason, "device.disabled");
    rig_write(r, device_delete_run, r);
    assert_int_equal(judge(r, &l, &reason), LK_ERR_NOT_FOUND);
    device_put(r, &key_a, &key_b, true);
    assert_int_equal(judge(r, &l, &reason), LK_ERR_NOT_FOUND);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(another_device, setup, teardown),
        cmocka_unit_test_setup_teardown(when_it_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(key_changes, setup, teardown),
        cmocka_unit_test_setup_teardown(bans_and_deletions, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
