/*
 * A service without its network, for tests: a keyring and a SQLite store in a folder of its own,
 * the embedded hub and provisioning on top, and a clock that stands still until a test moves it.
 * Whatever is not what a test asks for ends the test through cmocka.
 */
#ifndef LK_TEST_RIG_H
#define LK_TEST_RIG_H

#include <semaphore.h>

#include "hub/hub.h"
#include "provision/provision.h"
#include "support/softtpm.h"

#define RIG_SCOPE "0ne00000001"
#define RIG_OTHER_SCOPE "0ne00000002"
#define RIG_HUB "hub.example.test"
#define RIG_OTHER_HUB "hub2.example.test" /* made by rig_hub_add() only */
#define RIG_EPOCH_S 600u

struct rig {
    char dir[64];
    _Atomic int64_t now_ms; /* of both clocks, which start at a whole epoch */
    struct lk_clock clock;
    struct lk_keyring *ring;
    struct lk_store *store;
    struct lk_session *session;
    struct lk_hub_core *core;
    struct lk_srk_cache *cache;
    struct lk_provision_config config;
    struct lk_provision *p, *forgotten;
    struct lk_job gate; /* a write job that lasts from rig_hold() to rig_release() */
    sem_t gate_open;
    bool gate_done;
    bool old_clients; /* registers come from clients that know no reprovisioning */
};

/* Both scopes and RIG_HUB are there. change (may be NULL) may change config before it is used. */
void rig_start(struct rig *r, void (*change)(struct lk_provision_config *config));
/* Without RIG_OTHER_SCOPE. */
void rig_start_with_one_scope(struct rig *r);
/* Waits for what is pending. */
void rig_stop(struct rig *r);
/* cmocka's set-up and tear-down: a rig as the state of the test. */
int rig_setup(void **state);
int rig_teardown(void **state);

void rig_advance_s(struct rig *r, int64_t s);
/* latchkey key rotate, and every part using the new ring. */
void rig_rotate(struct rig *r);

/* One transaction that must succeed. */
void rig_write(struct rig *r, enum lk_err (*run)(struct lk_txn *tx, void *arg), void *arg);
void rig_read(struct rig *r, enum lk_err (*run)(struct lk_txn *tx, void *arg), void *arg);

/* Keep the store's writer busy: what is written waits, what is read is what was before. */
void rig_hold(struct rig *r);
void rig_release(struct rig *r);

void rig_hub_add(struct rig *r, const char *name, enum lk_hub_kind kind);
void rig_hub_delete(struct rig *r, const char *name);

/* Enroll the EK of tpm (and of also, unless NULL). */
void rig_enroll(struct rig *r, const char *scope, const char *id, const struct softtpm *tpm,
                const struct softtpm *also);
/* Read, change, replace. */
void rig_enrollment_change(struct rig *r, const char *id,
                           void (*change)(struct lk_enrollment *e, void *arg), void *arg);
void rig_enrollment_set_enabled(struct lk_enrollment *e, void *arg); /* arg: const bool * */
void rig_enrollment_delete(struct rig *r, const char *id);

/* LK_ERR_NOT_FOUND, or what is there. The caller finishes ret of a registration. */
enum lk_err rig_registration(struct rig *r, const char *id, struct lk_registration *ret);
enum lk_err rig_identity(struct rig *r, const char *hub, const char *device_id,
                         struct lk_identity *ret);

/* Audit records with this action; detail (may be NULL) gets the latest one's. */
size_t rig_audit_count(struct rig *r, const char *action, char *detail, size_t cap);

/* ---- a device's side --------------------------------------------------------------------------
 */

struct rig_device {
    struct rig *rig;
    const char *scope, *id;
    struct softtpm *tpm;    /* borrowed */
    bool without_keys;      /* leave tpm out of authorised requests, as Rust's client does */
    struct lk_part ek_cert; /* goes with the keys; empty: none */
    const char *key_name;
    char token[LK_SAS_MAX + 1];
    char operation_id[LK_OPERATION_ID_MAX + 1];
};

/* An answer, copied. */
struct rig_answer {
    bool answered;
    enum lk_reg_verdict verdict;
    char reason[64];
    enum lk_err err;
    struct lk_buf auth_key;
    struct lk_dps_state state;
};
void rig_answer_fini(struct rig_answer *a);
#define RIG_AUTO_ANSWER __attribute__((cleanup(rig_answer_fini)))

/* Requests, which return when they have been answered. */
void rig_register(struct rig_device *d, const char *token, struct rig_answer *ret);
void rig_poll(struct rig_device *d, const char *token, const char *operation_id,
              struct rig_answer *ret);
void rig_lookup(struct rig_device *d, const char *token, struct rig_answer *ret);
/* Any body, for what a device would not send. */
void rig_register_body(struct rig *r, const char *scope, const char *id, const char *token,
                       const struct lk_dps_register *body, struct rig_answer *ret);
/* Begin a register; ret->answered tells when it was answered. ret must live until then. */
void rig_register_begin(struct rig_device *d, const char *token, struct rig_answer *ret);
/* Dispatch until a->answered, until no more than count is pending, until nothing is. */
void rig_wait(struct rig *r, const struct rig_answer *a);
void rig_settle_to(struct rig *r, size_t count);
void rig_settle(struct rig *r);
/* Wait for the next thing that the store has done. */
void rig_turn(struct rig *r);

/* From here on another process serves, which shares nothing but the store; what the first one waits
 * for goes on waiting. And back; the second one must have settled. */
void rig_forget(struct rig *r);
void rig_remember(struct rig *r);

/* A token for resource signed in the TPM with an opened key. */
void rig_sign(const struct softtpm_opened *key, const char *resource, int64_t expiry_s,
              const char *key_name, char ret[LK_SAS_MAX + 1]);
/* The resource of d's own registration. */
const char *rig_resource(const struct rig_device *d, char buf[256]);

/* First leg: must be a challenge; opens it and leaves a token of an hour's life in d->token. */
void rig_challenge(struct rig_device *d, struct softtpm_opened *ret);
/* Both legs: must be accepted; leaves token and operation id in d. */
void rig_attest(struct rig_device *d);
/* Both legs and the poll: must be assigned; ret_state is a copy, ret_key the hub key in the TPM. */
void rig_provision(struct rig_device *d, struct rig_answer *ret, struct softtpm_opened *ret_key);

#endif
