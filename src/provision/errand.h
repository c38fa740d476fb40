/*
 * Errands: what is still to be done at hubs elsewhere, carried out by whichever instance comes
 * first. Only provision/ includes this.
 *
 * A registration that needs a hub elsewhere commits `assigning` and an errand together, and is
 * answered; from then on nothing of it lives in memory only. Every loop looks for errands that are
 * due, takes some (a commit that makes them due again later, so that they outlive whoever took
 * them), and makes one try of each:
 *
 *   ASSIGN   load -> old hub read, when its data is carried over -> new hub: create, or read and
 *            update -> commit of the outcome
 *   LEAVE    load -> old hub read, unless its etag is known -> delete
 *
 * A try that fails is due again after a pause that grows. Before a change is made on the ground of
 * what a hub said, the store is asked whether the errand still stands, and the change is made on
 * condition of the etag that was read before that: so a try that was overtaken by a later
 * registration can change nothing, however slow it or its hub is.
 */
#ifndef LK_PROVISION_ERRAND_H
#define LK_PROVISION_ERRAND_H

#include "provision/provision_int.h"

#define LK_ERRANDS_PER_TAKE 16u /* of one hub, by one loop at a time */
#define LK_ERRAND_HUBS_MAX 64u  /* that are looked at in one turn */
#define LK_ERRANDS_EXPIRED_MAX 64u
#define LK_ERRAND_UNTOLD_MAX 4u
#define LK_ERRAND_PAUSE_MS 1000 /* after the first failure; doubled with each */
#define LK_ERRAND_PAUSE_MAX_MS 30000
#define LK_ERRAND_CONFLICT_MS 200 /* after somebody else changed the device */
#define LK_ERRAND_LEAVE_MS ((int64_t)7 * 24 * 3600 * 1000) /* then the identity stays behind */

/* What an ASSIGN is about; sealed in the store. */
struct lk_errand_body {
    char hub[LK_HOST_NAME_MAX + 1]; /* that the device is to be on */
    char device_id[LK_DEVICE_ID_MAX + 1];
    struct lk_shared_keys keys; /* of the identity */
    bool has_thumbprint;        /* then they are of no use */
    uint8_t thumbprint[32];
    bool keep_old_key, migrate, iot_edge;
    bool must_be_new; /* as in struct lk_hub_assign */
    /* Digests of keys that earlier errands of this registration may have left at the hub, and that
     * no device was told: none of them is the "old key". */
    uint8_t untold[LK_ERRAND_UNTOLD_MAX][32];
    size_t untold_count;
    struct lk_buf auth_key, initial_twin, payload;
    char request_id[LK_REQUEST_ID_MAX + 1];
};
void lk_errand_body_fini(struct lk_errand_body *b);

/* Seal b as that of an errand for this registration, and the reverse. LK_ERR_CONFIG: the keyring
 * lacks the key; LK_ERR_STORE: not what was sealed. */
LK_MUST_CHECK enum lk_err lk_errand_body_seal(const struct lk_keyring *ring,
                                              const struct lk_rand *rnd, const char *scope,
                                              const char *id, uint64_t generation,
                                              const struct lk_errand_body *b, struct lk_buf *ret);
LK_MUST_CHECK enum lk_err lk_errand_body_open(const struct lk_keyring *ring, const char *scope,
                                              const char *id, uint64_t generation,
                                              const struct lk_buf *sealed,
                                              struct lk_errand_body *ret);

/* One errand that was taken, while a try of it lasts. */
struct lk_errand_try {
    struct lk_provision *p;
    struct lk_keyring *ring; /* referenced */
    struct lk_errand errand;
    struct lk_errand_body body;    /* ASSIGN */
    struct lk_registration record; /* ASSIGN: as it was loaded */
    struct lk_hub hub;             /* that is called, and so is old_hub if it is elsewhere */
    struct lk_hub old_hub;         /* ASSIGN: that the device leaves; name "": none */
    bool linked;                   /* hub is still there */
    bool reserved, old_reserved;   /* to be released */
    bool stands;                   /* the errand was there when the store was last asked */
    int32_t unfit_code;
    const char *unfit;                /* why the device is not to have its hub any more, or NULL */
    struct lk_hub_snapshot carried;   /* of the old hub */
    struct lk_hub_snapshot present;   /* of the hub itself */
    uint8_t filler[LK_NONCE_KEY_LEN]; /* a secondary key that nobody knows */
    bool existed;                     /* the hub had the device */
    bool unknown_key;                 /* and with a key that is not of this errand */
    enum lk_err failure;              /* of the step that ended the try; LK_OK: none */
    uint32_t retry_after_s;
    int32_t fail_code; /* with fail_why: nothing will come of it */
    char fail_why[160];
    struct lk_job job;
    void (*then)(struct lk_errand_try *t); /* after the store was asked */
};

/* errand_assign.c (its end: errand_outcome.c), errand_leave.c: one try, begun; each ends in one of
 * the calls below. */
void lk_errand_assign_try(struct lk_errand_try *t);
void lk_errand_leave_try(struct lk_errand_try *t);

/*
 * Part of a transaction: of an ASSIGN to a hub elsewhere, sets unfit when the device id is another
 * registration's there. Whose an identity is only we can know, and only of our own registrations:
 * what an operator, or another service, has made there is taken over.
 */
LK_MUST_CHECK enum lk_err lk_errand_place_judge(struct lk_txn *tx, struct lk_errand_try *t);
/* The hub that the device is to be on is one of ours; errand.hub is then the one that it leaves. */
bool lk_errand_target_is_ours(const struct lk_errand_try *t);
/* Write the outcome of an ASSIGN: the device has its hub. Ends the try. */
void lk_errand_outcome(struct lk_errand_try *t);
/* Write that nothing will come of it; and that for the reason in unfit. detail may be "". */
void lk_errand_give_up(struct lk_errand_try *t, int32_t code, const char *why, const char *detail);
void lk_errand_unfit(struct lk_errand_try *t);

/* Ask the store whether the errand still stands; then() is not called when it does not. */
void lk_errand_recheck(struct lk_errand_try *t, void (*then)(struct lk_errand_try *t));
/* The errand is done, or does not stand any more: nothing is to be written. */
void lk_errand_end(struct lk_errand_try *t);
/* Try again later. detail is for the log. */
void lk_errand_postpone(struct lk_errand_try *t, enum lk_err err, uint32_t retry_after_s,
                        const char *detail);

/* Write the failure of a registration that `assigning` was told of; part of a transaction. r is the
 * record as it is in the store. */
LK_MUST_CHECK enum lk_err lk_errand_fail_in_txn(struct lk_txn *tx, const struct lk_errand *e,
                                                struct lk_registration *r, int32_t code,
                                                const char *why, const char *request_id);

#endif
