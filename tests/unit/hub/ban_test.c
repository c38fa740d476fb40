/* Tests of src/hub/ban.c: devices that are cut off at their hub with their enrollment. */
#include "hub/ban.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/rig.h"

/* A registration, assigned to hub ("": to none), and the identity that it owns there. */
struct device {
    const char *id, *hub, *group, *owner_id;
    bool enabled;
    const char *reason;
};

static enum lk_err
device_run(struct lk_txn *tx, void *arg)
{
    const struct device *d = arg;
    struct lk_registration r = {.generation = 1, .status = LK_REG_ASSIGNED};
    struct lk_identity id = {.auth = LK_AUTH_SAS, .enabled = d->enabled};
    enum lk_err err;

    (void)snprintf(r.scope, sizeof(r.scope), RIG_SCOPE);
    (void)snprintf(r.id, sizeof(r.id), "%s", d->id);
    (void)snprintf(r.hub, sizeof(r.hub), "%s", d->hub);
    (void)snprintf(r.device_id, sizeof(r.device_id), "at-%s", d->id);
    (void)snprintf(r.group, sizeof(r.group), "%s", d->group != NULL ? d->group : "");
    (void)snprintf(id.hub, sizeof(id.hub), "%s", d->hub);
    (void)snprintf(id.device_id, sizeof(id.device_id), "at-%s", d->id);
    (void)snprintf(id.owner_scope, sizeof(id.owner_scope), RIG_SCOPE);
    (void)snprintf(id.owner_id, sizeof(id.owner_id), "%s",
                   d->owner_id != NULL ? d->owner_id : d->id);
    (void)snprintf(id.status_reason, sizeof(id.status_reason), "%s", d->reason);
    if ((err = lk_txn_registration_put(tx, &r, 0)) != LK_OK || d->hub[0] == '\0') {
        return err;
    }
    return lk_txn_identity_put(tx, &id, NULL);
}

static void
device_add(struct rig *r, struct device d)
{
    d.reason = d.reason != NULL ? d.reason : "";
    rig_write(r, device_run, &d);
}

struct call {
    const char *id, *why;
    enum lk_err err;
    enum lk_ban_outcome outcome;
    char hub[LK_HOST_NAME_MAX + 1];
};

static enum lk_err
ban_run(struct lk_txn *tx, void *arg)
{
    struct call *c = arg;
    const struct lk_ban ban = {"cli:test", c->why};

    c->err = lk_hub_ban(tx, &ban, RIG_SCOPE, c->id, &c->outcome, c->hub);
    return LK_OK;
}

static enum lk_ban_outcome
ban(struct rig *r, const char *id, const char *why)
{
    struct call c = {.id = id, .why = why};

    rig_write(r, ban_run, &c);
    assert_int_equal(c.err, LK_OK);
    return c.outcome;
}

static void
identity_is(struct rig *r, const char *device_id, bool enabled, const char *reason)
{
    struct lk_identity id;

    assert_int_equal(rig_identity(r, RIG_HUB, device_id, &id), LK_OK);
    assert_int_equal(id.enabled, enabled);
    assert_string_equal(id.status_reason, reason);
}

/* Banned with a reason and lifted, each once, with one record each; ids in any case. */
static void
bans_and_lifts(void **state)
{
    struct rig *r = *state;
    char detail[256];

    device_add(r, (struct device){.id = "dev", .hub = RIG_HUB, .enabled = true});
    assert_int_equal(ban(r, "dev", NULL), LK_BAN_NOTHING);
    assert_int_equal(ban(r, "DEV", "sold \"it\""), LK_BAN_DONE);
    identity_is(r, "at-dev", false, "banned: sold \"it\"");
    assert_int_equal(ban(r, "dev", "sold \"it\""), LK_BAN_NOTHING);
    assert_int_equal(rig_audit_count(r, "hub.device.ban", detail, sizeof(detail)), 1);
    assert_string_equal(detail, "{\"hub\":\"" RIG_HUB
                                "\",\"deviceId\":\"at-dev\",\"reason\":\"sold \\\"it\\\"\"}");
    assert_int_equal(ban(r, "dev", ""), LK_BAN_DONE);
    identity_is(r, "at-dev", false, "banned");
    assert_int_equal(ban(r, "dev", NULL), LK_BAN_DONE);
    identity_is(r, "at-dev", true, "");
    assert_int_equal(rig_audit_count(r, "hub.device.unban", NULL, 0), 1);
}

/* Nobody, a device at no hub, one at a hub that is not ours or no longer linked; a long reason. */
static void
nothing_to_ban(void **state)
{
    struct rig *r = *state;
    char why[LK_BAN_WHY_MAX + 2];
    struct call c = {.id = "dev", .why = why};

    assert_int_equal(ban(r, "nobody", ""), LK_BAN_NOTHING);
    device_add(r, (struct device){.id = "none", .hub = ""});
    assert_int_equal(ban(r, "none", ""), LK_BAN_NOTHING);
    device_add(r, (struct device){.id = "unlinked", .hub = "gone.example.test", .enabled = true});
    assert_int_equal(ban(r, "unlinked", ""), LK_BAN_ELSEWHERE);
    rig_hub_add(r, RIG_OTHER_HUB, LK_HUB_HTTP);
    device_add(r, (struct device){.id = "far", .hub = RIG_OTHER_HUB, .enabled = true});
    assert_int_equal(ban(r, "far", ""), LK_BAN_ELSEWHERE);

    device_add(r, (struct device){.id = "dev", .hub = RIG_HUB, .enabled = true});
    memset(why, 'w', sizeof(why));
    why[LK_BAN_WHY_MAX + 1] = '\0';
    rig_write(r, ban_run, &c);
    assert_int_equal(c.err, LK_ERR_ARG);
    why[LK_BAN_WHY_MAX] = '\0';
    assert_int_equal(ban(r, "dev", why), LK_BAN_DONE);
}

/* What the hub's operator disabled is neither banned nor let in; others' identities are left. */
static void
only_its_own(void **state)
{
    struct rig *r = *state;

    device_add(r, (struct device){.id = "a", .hub = RIG_HUB, .reason = "bannedish"});
    assert_int_equal(ban(r, "a", "x"), LK_BAN_NOTHING);
    assert_int_equal(ban(r, "a", NULL), LK_BAN_NOTHING);
    identity_is(r, "at-a", false, "bannedish");
    device_add(r, (struct device){.id = "b", .hub = RIG_HUB, .enabled = true, .owner_id = "other"});
    assert_int_equal(ban(r, "b", "x"), LK_BAN_NOTHING);
    identity_is(r, "at-b", true, "");
}

struct group_call {
    const char *after;
    size_t limit;
    struct lk_ban_count count;
    char last[LK_REGISTRATION_ID_MAX + 1];
};

static enum lk_err
group_run(struct lk_txn *tx, void *arg)
{
    struct group_call *c = arg;
    const struct lk_ban why = {"cli:test", "x"};

    return lk_hub_ban_group(tx, &why, RIG_SCOPE, "grp", c->after, c->limit, &c->count, c->last);
}

/* The devices of a group, in batches, and nobody else. */
static void
bans_a_group(void **state)
{
    struct rig *r = *state;
    struct group_call c = {.after = "", .limit = 2};

    rig_hub_add(r, RIG_OTHER_HUB, LK_HUB_HTTP);
    device_add(r, (struct device){.id = "a", .hub = RIG_HUB, .group = "Grp", .enabled = true});
    device_add(r, (struct device){.id = "b", .hub = RIG_HUB, .group = "other", .enabled = true});
    device_add(r, (struct device){.id = "c", .hub = RIG_HUB, .group = "grp", .reason = "own"});
    device_add(r,
               (struct device){.id = "d", .hub = RIG_OTHER_HUB, .group = "grp", .enabled = true});
    device_add(r, (struct device){.id = "e", .hub = RIG_HUB, .enabled = true});
    rig_write(r, group_run, &c);
    assert_string_equal(c.last, "c");
    c.after = "c";
    rig_write(r, group_run, &c);
    assert_string_equal(c.last, "");
    assert_int_equal(c.count.done, 1);
    assert_int_equal(c.count.nothing, 1);
    assert_int_equal(c.count.elsewhere, 1);
    identity_is(r, "at-a", false, "banned: x");
    identity_is(r, "at-b", true, "");
    identity_is(r, "at-e", true, "");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(bans_and_lifts),
        CASE(nothing_to_ban),
        CASE(only_its_own),
        CASE(bans_a_group),
    };

    return lk_crypto_init() != LK_OK ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
