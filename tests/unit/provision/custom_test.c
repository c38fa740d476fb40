/*
 * Tests of src/provision/custom.c with a webhook that answers when a test says so: `assigning`
 * until then, whatever the answer and whatever changes meanwhile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/rig.h"

#define REMOTE_HUB "remote.example.test"

static struct softtpm_key *ek, *srk;

static struct call {
    char hubs[160], current[LK_HOST_NAME_MAX + 1], payload[64], group[64];
    lk_webhook_done_fn *done;
    void *arg;
} calls[4];
static size_t calls_count;

static enum lk_err
fake_ask(void *ctx, const struct lk_webhook_ask *ask, lk_webhook_done_fn *done, void *arg)
{
    struct call *c = &calls[calls_count];

    if (calls_count == LK_ARRAY_LEN(calls)) {
        return LK_ERR_NOMEM;
    }
    calls_count++;
    memset(c, 0, sizeof(*c));
    for (size_t i = 0; i < ask->hubs_count; i++) {
        size_t len = strlen(c->hubs);

        (void)snprintf(c->hubs + len, sizeof(c->hubs) - len, "%s ", ask->hubs[i]->name);
    }
    (void)snprintf(c->current, sizeof(c->current), "%s",
                   ask->current_hub == NULL ? "" : ask->current_hub);
    assert_true((ask->current_hub == NULL) == (ask->current_device_id == NULL));
    assert_string_equal(ask->enrollment->webhook_url, "https://hook.test/");
    assert_string_equal(ask->group, "");
    assert_true(ask->payload->len < sizeof(c->payload));
    memcpy(c->payload, ask->payload->len > 0 ? ask->payload->data : (const uint8_t *)"",
           ask->payload->len);
    c->done = done;
    c->arg = arg;
    return LK_OK;
}

static const struct lk_webhook_ops fake_ops = {.ask = fake_ask};

/* The hub elsewhere takes every device at once. */
static unsigned remote_calls;

static unsigned
remote_reserve(void *ctx, const char *hub, unsigned wanted)
{
    return wanted;
}

static void
remote_release(void *ctx, const char *hub, unsigned count)
{
}

static void
remote_create(void *ctx, const struct lk_hub *hub, const struct lk_hub_identity *id,
              lk_hub_done_fn *done, void *arg)
{
    struct lk_hub_answer answer = {.err = LK_OK, .detail = ""};

    assert_string_equal(hub->name, REMOTE_HUB);
    remote_calls++;
    done(arg, &answer);
}

static const struct lk_hub_link_ops remote_ops = {
    .reserve = remote_reserve, .release = remote_release, .create = remote_create};

static void
add_fakes(struct lk_provision_config *config)
{
    config->webhook.ops = &fake_ops;
    config->remote.ops = &remote_ops;
}

struct fixture {
    struct rig rig;
    struct softtpm *tpm;
    struct rig_device device;
};

static void
custom_set(struct lk_enrollment *e, void *arg)
{
    e->allocation = LK_ALLOC_CUSTOM;
    e->reprovision_update_hub = *(bool *)arg;
    assert_int_equal(lk_strcpy(e->webhook_url, sizeof(e->webhook_url), "https://hook.test/"),
                     LK_OK);
}

static void
start(struct fixture *f, void (*change)(struct lk_provision_config *config))
{
    bool update = true;

    calls_count = 0;
    remote_calls = 0;
    rig_start(&f->rig, change);
    rig_hub_add(&f->rig, RIG_OTHER_HUB, LK_HUB_EMBEDDED);
    f->tpm = softtpm_new(ek, srk);
    f->device =
        (struct rig_device){.rig = &f->rig, .scope = RIG_SCOPE, .id = "dev-1", .tpm = f->tpm};
    rig_enroll(&f->rig, RIG_SCOPE, "dev-1", f->tpm, NULL);
    rig_enrollment_change(&f->rig, "dev-1", custom_set, &update);
}

static int
setup(void **state)
{
    static struct fixture f;

    start(&f, add_fakes);
    *state = &f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    softtpm_free(f->tpm);
    rig_stop(&f->rig);
    return 0;
}

static void
answer(struct fixture *f, size_t call, enum lk_err err, const char *hub, const char *payload)
{
    struct lk_webhook_answer a = {.err = err, .detail = "because"};
    size_t pending = lk_provision_pending(f->rig.p);

    assert_int_equal(lk_strcpy(a.hub, sizeof(a.hub), hub), LK_OK);
    assert_int_equal(lk_buf_puts(&a.payload, payload), LK_OK);
    calls[call].done(calls[call].arg, &a);
    lk_buf_fini(&a.payload);
    lk_buf_fini(&a.initial_twin);
    rig_settle_to(&f->rig, pending - 1);
}

static void
assert_status(struct fixture *f, enum lk_dps_status status, struct rig_answer *ret)
{
    rig_poll(&f->device, f->device.token, f->device.operation_id, ret);
    assert_int_equal(ret->verdict, LK_REG_STATE);
    assert_int_equal(ret->state.status, status);
    assert_int_equal(ret->state.auth_key.len > 0, status == LK_DPS_ASSIGNED);
}

static void
assert_failed(struct fixture *f, int32_t code)
{
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};

    assert_status(f, LK_DPS_FAILED, &a);
    assert_int_equal(a.state.error_code, code);
    assert_true(a.state.error_message[0] != '\0');
}

/* Assigning until the webhook has spoken; asked again, with what is, at the next registration. */
static void
the_webhook_chooses(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct lk_identity id;

    rig_attest(&f->device);
    assert_int_equal(calls_count, 1);
    assert_string_equal(calls[0].current, "");
    assert_string_equal(calls[0].hubs, RIG_HUB " " RIG_OTHER_HUB " ");
    assert_status(f, LK_DPS_ASSIGNING, &a);
    answer(f, 0, LK_OK, "HUB2.example.test", "{\"a\":1}");
    assert_status(f, LK_DPS_ASSIGNED, &a);
    assert_string_equal(a.state.assigned_hub, RIG_OTHER_HUB);
    assert_int_equal(a.state.substatus, LK_DPS_SUB_INITIAL);
    assert_string_equal(lk_buf_text(&a.state.payload), "{\"a\":1}");
    assert_int_equal(rig_identity(&f->rig, RIG_OTHER_HUB, "dev-1", &id), LK_OK);

    rig_attest(&f->device);
    assert_string_equal(calls[1].current, RIG_OTHER_HUB);
    answer(f, 1, LK_OK, RIG_HUB, "");
    assert_status(f, LK_DPS_ASSIGNED, &a);
    assert_int_equal(a.state.substatus, LK_DPS_SUB_MIGRATED);
    assert_int_equal(a.state.payload.len, 0);
    assert_int_equal(rig_identity(&f->rig, RIG_OTHER_HUB, "dev-1", &id), LK_ERR_NOT_FOUND);
    assert_int_equal(rig_audit_count(&f->rig, "registration.assigned", NULL, 0), 2);
}

/* Each way to fail has its code, and leaves the device where it is. */
static void
failures(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct lk_identity id;

    rig_attest(&f->device);
    answer(f, 0, LK_OK, RIG_HUB, "");
    assert_status(f, LK_DPS_ASSIGNED, &a);
    rig_attest(&f->device);
    answer(f, 1, LK_ERR_TIMEOUT, "", "");
    assert_failed(f, LK_DPS_CUSTOM_FAILED);
    rig_attest(&f->device);
    answer(f, 2, LK_ERR_REFUSED, "", "");
    assert_failed(f, LK_DPS_HUB_REFUSED);
    rig_attest(&f->device);
    answer(f, 3, LK_OK, "elsewhere.example.test", "");
    assert_failed(f, LK_DPS_NO_HUB);
    rig_attest(&f->device); /* cannot even be asked */
    rig_settle(&f->rig);
    assert_failed(f, LK_DPS_CUSTOM_FAILED);
    assert_int_equal(rig_identity(&f->rig, RIG_HUB, "dev-1", &id), LK_OK);
    assert_int_equal(rig_audit_count(&f->rig, "registration.failed", NULL, 0), 4);
}

/* Never: asked all the same, with the hub that it has; when that is gone there is nothing to ask.
 */
static void
never_moves(void **state)
{
    struct fixture *f = *state;
    bool update = false;

    rig_enrollment_change(&f->rig, "dev-1", custom_set, &update);
    rig_attest(&f->device);
    answer(f, 0, LK_OK, RIG_HUB, "");
    rig_attest(&f->device);
    assert_string_equal(calls[1].hubs, RIG_HUB " ");
    answer(f, 1, LK_OK, RIG_OTHER_HUB, "");
    assert_failed(f, LK_DPS_NO_HUB);
    rig_hub_delete(&f->rig, RIG_HUB);
    rig_attest(&f->device);
    rig_settle(&f->rig);
    assert_int_equal(calls_count, 2);
    assert_failed(f, LK_DPS_NO_HUB);
}

/* What was true when it was asked may not be any more: disabled, the hub gone, attested anew. */
static void
changes_meanwhile(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct lk_identity id;
    bool update = true;

    rig_attest(&f->device);
    rig_enrollment_change(&f->rig, "dev-1", custom_set, &update); /* another etag */
    answer(f, 0, LK_OK, RIG_HUB, "");
    assert_failed(f, LK_DPS_CUSTOM_FAILED);
    rig_attest(&f->device);
    rig_hub_delete(&f->rig, RIG_OTHER_HUB);
    answer(f, 1, LK_OK, RIG_OTHER_HUB, "");
    assert_failed(f, LK_DPS_NO_HUB);
    rig_attest(&f->device);
    rig_attest(&f->device);
    answer(f, 2, LK_OK, RIG_HUB, "\"first\"");
    assert_int_equal(rig_identity(&f->rig, RIG_HUB, "dev-1", &id), LK_ERR_NOT_FOUND);
    answer(f, 3, LK_OK, RIG_HUB, "\"second\"");
    assert_status(f, LK_DPS_ASSIGNED, &a);
    assert_string_equal(lk_buf_text(&a.state.payload), "\"second\"");
}

/* A hub elsewhere is called once it was chosen. */
static void
chooses_a_hub_elsewhere(void **state)
{
    struct fixture *f = *state;
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};

    rig_hub_add(&f->rig, REMOTE_HUB, LK_HUB_HTTP);
    rig_attest(&f->device);
    answer(f, 0, LK_OK, REMOTE_HUB, "");
    assert_int_equal(remote_calls, 1);
    assert_status(f, LK_DPS_ASSIGNED, &a);
    assert_string_equal(a.state.assigned_hub, REMOTE_HUB);
}

/* A service that calls no webhooks says so at once. */
static void
none_is_called(void **state)
{
    static struct fixture f;

    start(&f, NULL);
    rig_attest(&f.device);
    assert_int_equal(calls_count, 0);
    assert_failed(&f, LK_DPS_HUB_REFUSED);
    softtpm_free(f.tpm);
    rig_stop(&f.rig);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_webhook_chooses),
        CASE(failures),
        CASE(never_moves),
        CASE(changes_meanwhile),
        CASE(chooses_a_hub_elsewhere),
        cmocka_unit_test(none_is_called),
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
