#include "support/rig.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define START_MS (INT64_C(1767225600) * 1000) /* 2026-01-01, the start of an epoch */
#define WAIT_MAX_MS 20000

static int64_t
rig_clock_ms(void *ctx)
{
    return ((struct rig *)ctx)->now_ms;
}

/* ---- the service ------------------------------------------------------------------------------
 */

static void
file_name(const struct rig *r, const char *name, char ret[128])
{
    (void)snprintf(ret, 128, "%s/%s", r->dir, name);
}

static void
store_start(struct rig *r)
{
    char error[LK_STORE_ERROR_CAP] = "", url[160];
    struct lk_store_config config = {.url = url, .clock = &r->clock, .create = true};

    (void)snprintf(url, sizeof(url), "sqlite:%s/latchkey.db", r->dir);
    lk_keyring_audit_key(r->ring, config.audit_key);
    if (lk_store_open(&config, error, &r->store) != LK_OK) {
        fail_msg("store: %s", error);
    }
    assert_int_equal(lk_session_open(r->store, &r->session), LK_OK);
}

static enum lk_err
scopes_run(struct lk_txn *tx, void *arg)
{
    enum lk_err err = lk_txn_scope_add(tx, RIG_SCOPE);

    return err != LK_OK || *(bool *)arg ? err : lk_txn_scope_add(tx, RIG_OTHER_SCOPE);
}

static void
start(struct rig *r, bool one_scope, void (*change)(struct lk_provision_config *config))
{
    char key_file[128];

    memset(r, 0, sizeof(*r));
    (void)strcpy(r->dir, "/tmp/latchkey-test-XXXXXX");
    assert_non_null(mkdtemp(r->dir));
    r->now_ms = START_MS;
    r->clock = (struct lk_clock){rig_clock_ms, rig_clock_ms, r};
    file_name(r, "master.key", key_file);
    assert_int_equal(lk_keyring_create(key_file, START_MS - 3600000, &lk_rand_system), LK_OK);
    assert_int_equal(lk_keyring_load(key_file, NULL, &r->ring), LK_OK);
    store_start(r);
    rig_write(r, scopes_run, &one_scope);
    rig_hub_add(r, RIG_HUB, LK_HUB_EMBEDDED);
    assert_int_equal(lk_hub_core_new(r->ring, &lk_rand_system, &r->core), LK_OK);
    assert_int_equal(lk_srk_cache_new(&r->cache), LK_OK);
    r->config = (struct lk_provision_config){.session = r->session,
                                             .clock = &r->clock,
                                             .rnd = &lk_rand_system,
                                             .keyring = r->ring,
                                             .srk_cache = r->cache,
                                             .embedded = lk_hub_core_link(r->core),
                                             .epoch_s = RIG_EPOCH_S,
                                             .audit_refusals_per_s = 20};
    if (change != NULL) {
        change(&r->config);
    }
    assert_int_equal(lk_provision_new(&r->config, &r->p), LK_OK);
}

void
rig_start(struct rig *r, void (*change)(struct lk_provision_config *config))
{
    start(r, false, change);
}

void
rig_start_with_one_scope(struct rig *r)
{
    start(r, true, NULL);
}

static void
file_remove(const struct rig *r, const char *name)
{
    char path[128];

    file_name(r, name, path);
    (void)unlink(path); /* some exist only at times */
}

void
rig_stop(struct rig *r)
{
    static const char *const files[] = {"master.key", "latchkey.db", "latchkey.db-wal",
                                        "latchkey.db-shm", "latchkey.db-journal"};

    rig_settle(r);
    lk_provision_free(r->p);
    lk_srk_cache_free(r->cache);
    lk_hub_core_free(r->core);
    lk_session_close(r->session);
    lk_store_close(r->store);
    lk_keyring_free(r->ring);
    for (size_t i = 0; i < LK_ARRAY_LEN(files); i++) {
        file_remove(r, files[i]);
    }
    assert_int_equal(rmdir(r->dir), 0);
}

int
rig_setup(void **state)
{
    static struct rig rig;

    rig_start(&rig, NULL);
    *state = &rig;
    return 0;
}

int
rig_teardown(void **state)
{
    rig_stop(*state);
    return 0;
}

void
rig_advance_s(struct rig *r, int64_t s)
{
    r->now_ms += s * 1000;
}

void
rig_rotate(struct rig *r)
{
    char key_file[128];

    file_name(r, "master.key", key_file);
    assert_int_equal(lk_keyring_rotate(key_file, r->now_ms, &lk_rand_system, NULL), LK_OK);
    lk_keyring_free(r->ring);
    assert_int_equal(lk_keyring_load(key_file, NULL, &r->ring), LK_OK);
    lk_provision_set_keyring(r->p, r->ring);
    lk_hub_core_set_keyring(r->core, r->ring);
}

/* ---- the store --------------------------------------------------------------------------------
 */

void
rig_write(struct rig *r, enum lk_err (*run)(struct lk_txn *tx, void *arg), void *arg)
{
    enum lk_err err = lk_store_write_wait(r->session, run, arg);

    if (err != LK_OK) {
        fail_msg("write: %s (%s)", lk_err_name(err), lk_store_error_text());
    }
}

void
rig_read(struct rig *r, enum lk_err (*run)(struct lk_txn *tx, void *arg), void *arg)
{
    assert_int_equal(lk_store_read_wait(r->session, run, arg), LK_OK);
}

static void
dispatch(struct rig *r)
{
    struct pollfd fd = {.fd = lk_session_fd(r->session), .events = POLLIN};

    if (poll(&fd, 1, WAIT_MAX_MS) != 1) {
        fail_msg("the store did not answer");
    }
    lk_session_dispatch(r->session);
}

static enum lk_err
gate_run(struct lk_txn *tx, void *arg)
{
    struct rig *r = arg;

    (void)tx;
    while (sem_wait(&r->gate_open) != 0) {
    }
    (void)sem_post(&r->gate_open); /* open it stays, also for another run */
    return LK_OK;
}

static void
gate_done(void *arg, enum lk_err err)
{
    struct rig *r = arg;

    assert_int_equal(err, LK_OK);
    r->gate_done = true;
}

void
rig_hold(struct rig *r)
{
    assert_int_equal(sem_init(&r->gate_open, 0, 0), 0);
    r->gate_done = false;
    r->gate = (struct lk_job){.run = gate_run, .done = gate_done, .arg = r};
    lk_store_write(r->session, &r->gate);
}

void
rig_release(struct rig *r)
{
    (void)sem_post(&r->gate_open);
    while (!r->gate_done) {
        dispatch(r);
    }
    (void)sem_destroy(&r->gate_open);
}

static enum lk_err
hub_put_run(struct lk_txn *tx, void *arg)
{
    return lk_txn_hub_put(tx, arg);
}

void
rig_hub_add(struct rig *r, const char *name, enum lk_hub_kind kind)
{
    struct lk_hub hub = {.kind = kind, .weight = 1, .allocatable = true};

    assert_int_equal(lk_strcpy(hub.name, sizeof(hub.name), name), LK_OK);
    rig_write(r, hub_put_run, &hub);
}

static enum lk_err
hub_delete_run(struct lk_txn *tx, void *arg)
{
    return lk_txn_hub_delete(tx, arg);
}

void
rig_hub_delete(struct rig *r, const char *name)
{
    char copy[LK_HOST_NAME_MAX + 1];

    assert_int_equal(lk_strcpy(copy, sizeof(copy), name), LK_OK);
    rig_write(r, hub_delete_run, copy);
}

static void
ek_add(struct lk_enrollment *e, const struct softtpm *tpm)
{
    const struct softtpm_public *pub = softtpm_public(tpm, LK_ROLE_EK);
    struct lk_ek *ek = &e->eks[e->eks_count++];
    struct lk_tpm_key key;

    assert_int_equal(lk_tpm_key_parse(LK_ROLE_EK, pub->bytes, pub->len, NULL, &key), LK_OK);
    memcpy(ek->id, key.id, sizeof(ek->id));
    memcpy(ek->pub, pub->bytes, pub->len);
    ek->pub_len = pub->len;
}

static enum lk_err
enroll_run(struct lk_txn *tx, void *arg)
{
    return lk_txn_enrollment_create(tx, arg, NULL);
}

void
rig_enroll(struct rig *r, const char *scope, const char *id, const struct softtpm *tpm,
           const struct softtpm *also)
{
    struct lk_enrollment e;

    lk_enrollment_init(&e);
    assert_int_equal(lk_strcpy(e.scope, sizeof(e.scope), scope), LK_OK);
    assert_int_equal(lk_strcpy(e.id, sizeof(e.id), id), LK_OK);
    ek_add(&e, tpm);
    if (also != NULL) {
        ek_add(&e, also);
    }
    rig_write(r, enroll_run, &e);
    lk_enrollment_fini(&e);
}

struct change {
    const char *id;
    void (*change)(struct lk_enrollment *e, void *arg);
    void *arg;
};

static enum lk_err
change_run(struct lk_txn *tx, void *arg)
{
    struct change *c = arg;
    struct lk_enrollment e;
    enum lk_err err;

    lk_enrollment_init(&e);
    err = lk_txn_enrollment_get(tx, RIG_SCOPE, c->id, &e);
    if (err == LK_OK) {
        c->change(&e, c->arg);
        err = lk_txn_enrollment_replace(tx, &e, NULL, NULL);
    }
    lk_enrollment_fini(&e);
    return err;
}

void
rig_enrollment_change(struct rig *r, const char *id,
                      void (*change)(struct lk_enrollment *e, void *arg), void *arg)
{
    struct change c = {id, change, arg};

    rig_write(r, change_run, &c);
}

void
rig_enrollment_set_enabled(struct lk_enrollment *e, void *arg)
{
    e->enabled = *(const bool *)arg;
}

static enum lk_err
enrollment_delete_run(struct lk_txn *tx, void *arg)
{
    return lk_txn_enrollment_delete(tx, RIG_SCOPE, ((struct change *)arg)->id, NULL);
}

void
rig_enrollment_delete(struct rig *r, const char *id)
{
    struct change c = {.id = id};

    rig_write(r, enrollment_delete_run, &c);
}

struct lookup {
    const char *hub, *id;
    struct lk_registration *registration;
    struct lk_identity *identity;
    enum lk_err err;
};

static enum lk_err
lookup_run(struct lk_txn *tx, void *arg)
{
    struct lookup *l = arg;

    l->err = l->registration != NULL
                 ? lk_txn_registration_get(tx, RIG_SCOPE, l->id, l->registration)
                 : lk_txn_identity_get(tx, l->hub, l->id, l->identity);
    return LK_OK;
}

enum lk_err
rig_registration(struct rig *r, const char *id, struct lk_registration *ret)
{
    struct lookup l = {.id = id, .registration = ret};

    memset(ret, 0, sizeof(*ret));
    rig_read(r, lookup_run, &l);
    return l.err;
}

enum lk_err
rig_identity(struct rig *r, const char *hub, const char *device_id, struct lk_identity *ret)
{
    struct lookup l = {.hub = hub, .id = device_id, .identity = ret};

    rig_read(r, lookup_run, &l);
    return l.err;
}

struct audit_count {
    const char *action;
    char *detail;
    size_t cap, count;
};

static enum lk_err
audit_each(void *ctx, const struct lk_audit *record)
{
    struct audit_count *c = ctx;

    if (strcmp(record->action, c->action) == 0) {
        c->count++;
        if (c->detail != NULL) {
            (void)snprintf(c->detail, c->cap, "%s", record->detail);
        }
    }
    return LK_OK;
}

static enum lk_err
audit_run(struct lk_txn *tx, void *arg)
{
    return lk_txn_audit_page(tx, 0, 100000, audit_each, arg);
}

size_t
rig_audit_count(struct rig *r, const char *action, char *detail, size_t cap)
{
    struct audit_count c = {action, detail, cap, 0};

    rig_settle(r);
    rig_read(r, audit_run, &c);
    return c.count;
}

/* ---- requests ---------------------------------------------------------------------------------
 */

void
rig_answer_fini(struct rig_answer *a)
{
    lk_buf_fini(&a->auth_key);
    lk_dps_state_fini(&a->state);
    memset(a, 0, sizeof(*a));
}

static void
buf_copy(struct lk_buf *to, const struct lk_buf *from)
{
    *to = (struct lk_buf)LK_BUF_INIT;
    if (from->len > 0) {
        assert_int_equal(lk_buf_put(to, from->data, from->len), LK_OK);
    }
}

static void
answered(void *arg, const struct lk_reg_answer *answer)
{
    struct rig_answer *a = arg;
    const struct lk_dps_state *s = &answer->state;

    assert_false(a->answered);
    a->answered = true;
    a->verdict = answer->verdict;
    a->err = answer->err;
    (void)snprintf(a->reason, sizeof(a->reason), "%s",
                   answer->reason == NULL ? "" : answer->reason);
    buf_copy(&a->auth_key, &answer->auth_key);
    a->state = *s;
    buf_copy(&a->state.auth_key, &s->auth_key);
    buf_copy(&a->state.payload, &s->payload);
}

void
rig_turn(struct rig *r)
{
    dispatch(r);
}

void
rig_forget(struct rig *r)
{
    assert_null(r->forgotten);
    r->forgotten = r->p;
    r->p = NULL;
    assert_int_equal(lk_provision_new(&r->config, &r->p), LK_OK);
}

void
rig_remember(struct rig *r)
{
    rig_settle(r);
    lk_provision_free(r->p);
    r->p = r->forgotten;
    r->forgotten = NULL;
}

void
rig_wait(struct rig *r, const struct rig_answer *a)
{
    while (!a->answered) {
        dispatch(r);
    }
}

void
rig_settle_to(struct rig *r, size_t count)
{
    while (lk_provision_pending(r->p) > count) {
        dispatch(r);
    }
}

void
rig_settle(struct rig *r)
{
    rig_settle_to(r, 0);
}

static void
body_fill(const struct rig_device *d, bool with_keys, struct lk_dps_register *ret)
{
    const struct softtpm_public *ek = softtpm_public(d->tpm, LK_ROLE_EK);
    const struct softtpm_public *srk = softtpm_public(d->tpm, LK_ROLE_SRK);

    assert_int_equal(lk_strcpy(ret->registration_id, sizeof(ret->registration_id), d->id), LK_OK);
    ret->has_tpm = with_keys;
    if (with_keys) {
        assert_int_equal(lk_buf_put(&ret->ek, ek->bytes, ek->len), LK_OK);
        assert_int_equal(lk_buf_put(&ret->srk, srk->bytes, srk->len), LK_OK);
        assert_int_equal(lk_buf_put(&ret->ek_cert, d->ek_cert.data, d->ek_cert.len), LK_OK);
    }
}

static struct lk_reg_request
request_of(const struct rig_device *d, const char *token)
{
    struct lk_reg_request req = {
        .scope = d->scope, .registration_id = d->id, .token = token, .request_id = "req-1"};

    return req;
}

void
rig_register_body(struct rig *r, const char *scope, const char *id, const char *token,
                  const struct lk_dps_register *body, struct rig_answer *ret)
{
    struct lk_reg_request req = {
        .scope = scope, .registration_id = id, .token = token, .body = body, .request_id = "req"};

    req.before_reprovisioning = r->old_clients;

    rig_answer_fini(ret);
    lk_provision_register(r->p, &req, answered, ret);
    rig_wait(r, ret);
}

void
rig_register(struct rig_device *d, const char *token, struct rig_answer *ret)
{
    struct lk_dps_register body = LK_DPS_REGISTER_INIT;

    body_fill(d, token == NULL || !d->without_keys, &body);
    rig_register_body(d->rig, d->scope, d->id, token, &body, ret);
    lk_dps_register_fini(&body);
}

/* Everything of a request that has not been answered when its maker returns. */
struct request {
    struct lk_dps_register body;
    char token[LK_SAS_MAX + 1];
    struct rig_answer *answer;
};

static void
request_answered(void *arg, const struct lk_reg_answer *answer)
{
    struct request *q = arg;

    answered(q->answer, answer);
    lk_dps_register_fini(&q->body);
    free(q);
}

void
rig_register_begin(struct rig_device *d, const char *token, struct rig_answer *ret)
{
    struct lk_reg_request req = request_of(d, NULL);
    struct request *q = calloc(1, sizeof(*q));

    assert_non_null(q);
    rig_answer_fini(ret);
    q->answer = ret;
    body_fill(d, token == NULL || !d->without_keys, &q->body);
    req.body = &q->body;
    if (token != NULL) {
        assert_int_equal(lk_strcpy(q->token, sizeof(q->token), token), LK_OK);
        req.token = q->token;
    }
    lk_provision_register(d->rig->p, &req, request_answered, q);
}

void
rig_poll(struct rig_device *d, const char *token, const char *operation_id, struct rig_answer *ret)
{
    struct lk_reg_request req = request_of(d, token);
    char id[LK_OPERATION_ID_MAX + 1]; /* it may be ret's own */

    assert_int_equal(lk_strcpy(id, sizeof(id), operation_id), LK_OK);
    rig_answer_fini(ret);
    req.operation_id = id;
    lk_provision_poll(d->rig->p, &req, answered, ret);
    rig_wait(d->rig, ret);
}

void
rig_lookup(struct rig_device *d, const char *token, struct rig_answer *ret)
{
    struct lk_reg_request req = request_of(d, token);
    struct lk_dps_register body = LK_DPS_REGISTER_INIT;

    rig_answer_fini(ret);
    body_fill(d, !d->without_keys, &body);
    req.body = &body;
    lk_provision_lookup(d->rig->p, &req, answered, ret);
    rig_wait(d->rig, ret);
    lk_dps_register_fini(&body);
}

/* ---- the device -------------------------------------------------------------------------------
 */

void
rig_sign(const struct softtpm_opened *key, const char *resource, int64_t expiry_s,
         const char *key_name, char ret[LK_SAS_MAX + 1])
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT, token = LK_BUF_INIT;
    uint8_t sig[LK_SAS_SIG_LEN];

    assert_int_equal(lk_sas_string_to_sign(resource, (uint64_t)expiry_s, &text), LK_OK);
    softtpm_hmac(key, text.data, text.len, sig);
    assert_int_equal(lk_sas_format(resource, (uint64_t)expiry_s, sig, key_name, &token), LK_OK);
    assert_int_equal(lk_strcpy(ret, LK_SAS_MAX + 1, lk_buf_text(&token)), LK_OK);
}

const char *
rig_resource(const struct rig_device *d, char buf[256])
{
    (void)snprintf(buf, 256, "%s/registrations/%s", d->scope, d->id);
    return buf;
}

void
rig_challenge(struct rig_device *d, struct softtpm_opened *ret)
{
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    char resource[256];
    const char *objection;

    rig_register(d, NULL, &a);
    if (a.verdict != LK_REG_CHALLENGE) {
        fail_msg("no challenge: %s", a.reason);
    }
    objection = softtpm_open(d->tpm, a.auth_key.data, a.auth_key.len, ret);
    if (objection != NULL) {
        fail_msg("the TPM refuses the challenge: %s", objection);
    }
    rig_sign(ret, rig_resource(d, resource), d->rig->now_ms / 1000 + 3600,
             d->key_name == NULL ? "registration" : d->key_name, d->token);
}

void
rig_attest(struct rig_device *d)
{
    RIG_AUTO_ANSWER struct rig_answer a = {.answered = false};
    struct softtpm_opened nonce;

    rig_challenge(d, &nonce);
    rig_register(d, d->token, &a);
    if (a.verdict != LK_REG_ACCEPTED) {
        fail_msg("not accepted: %s", a.reason);
    }
    assert_int_equal(lk_strcpy(d->operation_id, sizeof(d->operation_id), a.state.operation_id),
                     LK_OK);
}

void
rig_provision(struct rig_device *d, struct rig_answer *ret, struct softtpm_opened *ret_key)
{
    const char *objection;

    rig_attest(d);
    rig_poll(d, d->token, d->operation_id, ret);
    if (ret->verdict != LK_REG_STATE || ret->state.status != LK_DPS_ASSIGNED) {
        fail_msg("not assigned: %s, status %d", ret->reason, (int)ret->state.status);
    }
    objection = softtpm_open(d->tpm, ret->state.auth_key.data, ret->state.auth_key.len, ret_key);
    if (objection != NULL) {
        fail_msg("the TPM refuses the hub key: %s", objection);
    }
}
