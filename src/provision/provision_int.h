/*
 * What the files of provision/ share: one operation, from the request to its answer.
 *
 *   registration.c  the two legs of register
 *   assignment.c    the hub and its key
 *   assignment_txn.c  the transaction that makes it so
 *   custom.c        the hub that a webhook chooses
 *   errand*.c       what is still to be done at hubs elsewhere (errand.h)
 *   poll.c          poll and look-up
 *   member.c        devices without a TPM
 *   ek_member.c     devices that a group admits by their EK's certificate
 *   evidence.c      judging what a request carries and what the store says about it
 *   refusal.c       the audit of refusals
 *   srk_cache.c     what a register without keys falls back on
 */
#ifndef LK_PROVISION_INT_H
#define LK_PROVISION_INT_H

#include "base/metrics.h"
#include "crypto/x509.h"
#include "provision/allocation.h"
#include "provision/ek_group.h"
#include "provision/provision.h"
#include "provision/shared_key.h"

#define LK_RETRY_WINDOW_MS 60000 /* the same authorised request again is the same operation */
#define LK_POLL_GRACE_MS 600000  /* after an attestation its token may be expired on polls */
#define LK_PROVISION_TRIES_MAX                                                                     \
    4u                        /* times that a registration starts over when the store changed      \
                               */
#define LK_REQUEST_ID_MAX 63u /* bytes of a request id that are kept */

/* ---- keys that were seen ----------------------------------------------------------------------
 */

#define LK_SRKS_PER_ID 8u /* SRKs that the cache keeps of one registration */

/* The keys of one challenge or attestation. */
struct lk_key_pair {
    uint8_t ek_id[LK_EK_ID_LEN];
    uint8_t srk_name[LK_TPM_NAME_MAX];
    size_t srk_name_len;
    uint8_t srk_pub[LK_TPM_PUBLIC_MAX];
    size_t srk_pub_len;
};

/* Remember pair for a registration of this id (any case) until lifetime_ms have passed. */
void lk_srk_cache_put(struct lk_srk_cache *c, const char *scope, const char *id,
                      const struct lk_key_pair *pair, int64_t now_mono_ms, int64_t lifetime_ms);
/* The pairs that are remembered, newest first; returns their count. */
size_t lk_srk_cache_find(struct lk_srk_cache *c, const char *scope, const char *id,
                         int64_t now_mono_ms, struct lk_key_pair ret[LK_SRKS_PER_ID]);

/* ---- refusals ----------------------------------------------------------------------------------
 */

struct lk_refusals;
struct lk_reg_op;

LK_MUST_CHECK enum lk_err lk_refusals_new(const struct lk_provision_config *config,
                                          struct lk_refusals **ret);
void lk_refusals_free(struct lk_refusals *r); /* not while it is busy */
/* Record a refusal, or count it when there are too many. What is kept is copied. */
void lk_refusals_note(struct lk_refusals *r, const struct lk_reg_op *op,
                      const struct lk_reg_answer *answer);
/* Write what waits, and the summary when it is due. Called with every operation. */
void lk_refusals_flush(struct lk_refusals *r);
bool lk_refusals_busy(const struct lk_refusals *r);

/* ---- one operation ------------------------------------------------------------------------------
 */

struct lk_provision {
    struct lk_provision_config config;
    struct lk_keyring *ring;
    struct lk_refusals *refusals;
    struct lk_errands *errands;
    size_t ops_count;          /* begun and not ended */
    struct lk_ek_trust *trust; /* parsed copy of what the store trusts; NULL: none yet */
    int64_t trust_version;     /* that it is a copy of */
};

/* Whether a read looks for the group of a device that has no enrollment of its own. */
enum lk_group_read {
    LK_GROUPS_NONE,
    LK_GROUPS_SEARCHED, /* whose key signed the token, or the device's certificate */
    LK_GROUPS_RECORDED  /* the one that the record names */
};

struct lk_reg_op {
    struct lk_provision *p;
    struct lk_keyring *ring; /* the one that it began with; referenced */
    int64_t now_ms;          /* when it began */
    bool answered;

    struct lk_reg_request req; /* borrowed until the answer */
    char request_id[LK_REQUEST_ID_MAX + 1];
    lk_reg_done_fn *done;
    void *arg;

    /* What the request proves. */
    bool has_keys;             /* the request carries EK and SRK: ek, srk and pair are theirs */
    struct lk_tpm_key ek, srk; /* judged */
    struct lk_key_pair pair;
    struct lk_ek_cert *ek_cert; /* that came with the keys, unless it is none: */
    const char *ek_cert_why;    /* then why */
    bool by_cert;               /* by a certificate: there is no token, and no sas */
    struct lk_sas sas;
    uint8_t token_hash[32];
    struct lk_nonce_place place; /* of the nonce key that the token was signed with */

    /* What the store knows: one consistent read (lk_op_read). */
    struct lk_job job;
    void (*then)(struct lk_reg_op *op);
    bool with_hubs;
    enum lk_group_read groups;            /* set before the read */
    enum lk_allocation scope_allocation;  /* for an enrollment that names none */
    bool scope_known, enrolled, recorded; /* recorded: there is a record, not just its generation */
    struct lk_enrollment enrollment;
    struct lk_registration record;          /* generation 0 when there never was one */
    struct lk_buf hubs;                     /* array of struct lk_hub, without their connections */
    char group[LK_REGISTRATION_ID_MAX + 1]; /* that admits the device: enrollment is then its terms
                                               under the device's ids; "": none */
    bool is_tpms; /* a group of keys or certificates fits, but a TPM has registered with the id */
    const char *groups_why;                     /* none of those that were searched: why */
    char elsewhere[LK_REGISTRATION_ID_MAX + 1]; /* another registration with the EK of a device that
                                                   a group would admit; "": none */
    bool chose_id;              /* a group admits the device under an id of its own choice */
    bool is_duplicate;          /* the device has proved that EK: it is refused */
    struct lk_shared_keys keys; /* of the device, when it proves itself by one */

    /* What becomes of it (assignment.c). */
    unsigned tries;
    void (*start_over)(struct lk_reg_op *op);
    struct lk_shared_keys hub_keys;
    struct lk_registration next;
    struct lk_hub hub;     /* that was chosen */
    struct lk_buf payload; /* the device's own, kept for a webhook */
    int32_t fail_code;     /* after `assigning`: 0, or why nothing is assigned */
    char fail_why[160];
};

/* Begin an operation; NULL when there is no memory: then it has been answered. */
struct lk_reg_op *lk_op_begin(struct lk_provision *p, const struct lk_reg_request *req,
                              lk_reg_done_fn *done, void *arg);

/* The linked hubs that were read. Borrowed from op. */
const struct lk_hub *lk_op_hubs(const struct lk_reg_op *op, size_t *ret_count);

/* Read scope, enrollment and registration (and the hubs) together, then go on with then. */
void lk_op_read(struct lk_reg_op *op, bool with_hubs, void (*then)(struct lk_reg_op *op));

/* The four ways to answer. All but lk_op_answer() end the operation as well. */
void lk_op_answer(struct lk_reg_op *op, const struct lk_reg_answer *answer);
void lk_op_finish(struct lk_reg_op *op, const struct lk_reg_answer *answer);
/* A judgement: malformed or unsupported is 400, refused is 401, anything else a fault. */
void lk_op_stop(struct lk_reg_op *op, enum lk_err err, const char *reason);
/* Something of ours failed: 503 when trying again helps, else 500. */
void lk_op_fault(struct lk_reg_op *op, enum lk_err err);
void lk_op_end(struct lk_reg_op *op);

/* ---- evidence ------------------------------------------------------------------------------ */

/* ids of the path. LK_ERR_FORMAT. */
LK_MUST_CHECK enum lk_err lk_request_judge(const struct lk_reg_op *op, const char **ret_why);
/* id and keys of the body. LK_ERR_FORMAT, LK_ERR_UNSUPPORTED, LK_ERR_REFUSED, LK_ERR_CRYPTO. */
LK_MUST_CHECK enum lk_err lk_body_judge(struct lk_reg_op *op, const char **ret_why);
/* What the token says by itself, short of its age. LK_ERR_REFUSED, LK_ERR_CRYPTO. */
LK_MUST_CHECK enum lk_err lk_token_judge(struct lk_reg_op *op, const char **ret_why);
bool lk_token_is_past(const struct lk_reg_op *op);

/* Why the store admits no device with this EK, or NULL when it does. ek_id NULL: whatever its EK.
 */
const char *lk_admission_judge(const struct lk_reg_op *op, const uint8_t *ek_id);
/* The enrollment's EK with this identity, or NULL. */
const struct lk_ek *lk_enrolled_ek(const struct lk_enrollment *e, const uint8_t *ek_id);

/* The keys at hand are those of the record. */
bool lk_pair_is_recorded(const struct lk_reg_op *op);

/* The nonce's subject for a pair of keys. Borrows from op and pair. */
struct lk_nonce_subject lk_op_subject(const struct lk_reg_op *op, const struct lk_key_pair *pair,
                                      uint64_t generation);
/*
 * LK_OK when the token was signed with the nonce key of the attestation that the record is from;
 * LK_ERR_REFUSED when not, after the same work when there is no record.
 */
LK_MUST_CHECK enum lk_err lk_record_verify(const struct lk_reg_op *op);

/* ---- devices without a TPM ----------------------------------------------------------------- */

bool lk_attestation_is_tpm(enum lk_attestation kind);

/* Take group's terms, when it is there, for the enrollment of a device that has none. */
LK_MUST_CHECK enum lk_err lk_group_adopt(struct lk_reg_op *op, struct lk_txn *tx,
                                         const char *group);

/* Part of the read: the device's keys, and the group that admits it. */
LK_MUST_CHECK enum lk_err lk_member_read(struct lk_reg_op *op, struct lk_txn *tx);
/* What the device's certificate says by itself; it stands for the token then. LK_ERR_REFUSED. */
LK_MUST_CHECK enum lk_err lk_cert_judge(struct lk_reg_op *op, const char **ret_why);
/*
 * LK_OK when the token was signed with one of the device's keys, or its certificate is one that was
 * enrolled or is signed by its group's; LK_ERR_REFUSED when not, or when it has none, after the
 * same work.
 */
LK_MUST_CHECK enum lk_err lk_member_verify(const struct lk_reg_op *op, const char **ret_why);
/* After the read of a register: verify, admit, and go on to the assignment. */
void lk_member_attest(struct lk_reg_op *op, void (*start_over)(struct lk_reg_op *op));
/* For the record of such a device: LK_OK when the evidence opens it. LK_ERR_REFUSED. */
LK_MUST_CHECK enum lk_err lk_member_poll_judge(const struct lk_reg_op *op, const char **ret_why);

/* ---- devices that their TPM's maker vouches for --------------------------------------------- */

/* Keep the certificate that came with the keys, or why it is none. LK_ERR_NOMEM, LK_ERR_CRYPTO. */
LK_MUST_CHECK enum lk_err lk_ek_cert_keep(struct lk_reg_op *op);
/* Part of the read: the group that admits the device by its EK's certificate. */
LK_MUST_CHECK enum lk_err lk_ek_member_read(struct lk_reg_op *op, struct lk_txn *tx);
/* After the token was verified: why the device is refused for what its EK did before, or NULL. The
 * alarm is raised here, so that none but the TPM itself raises it. */
const char *lk_ek_member_object(struct lk_reg_op *op);
/* In the transaction that assigns: LK_ERR_PRECONDITION when the group has no room any more, or the
 * EK is another's by now. */
LK_MUST_CHECK enum lk_err lk_ek_member_still(const struct lk_reg_op *op, struct lk_txn *tx);

/* ---- assignment ---------------------------------------------------------------------------- */

/* The device has proved itself with op->pair, op->ek, op->srk at op->place: give it its hub. */
void lk_assignment_begin(struct lk_reg_op *op, void (*start_over)(struct lk_reg_op *op));

/* Set what op->next says of being given hub: its keys too. status is for the caller to judge. */
LK_MUST_CHECK enum lk_err lk_assignment_record(struct lk_reg_op *op, const struct lk_hub *hub,
                                               struct lk_registration *next);
/* Why nothing will be assigned, for lk_outcome_write(). */
void lk_assignment_fail(struct lk_reg_op *op, int32_t code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The linked hub of this name among those that were read, or NULL. */
const struct lk_hub *lk_op_hub_find(const struct lk_reg_op *op, const char *name);

/* The hub that the device was given before, also when a later registration failed; NULL: none. */
const char *lk_previous_hub(const struct lk_reg_op *op);
/* That hub when the device keeps it whatever would be allocated now; NULL: it may move. */
const char *lk_kept_hub(const struct lk_reg_op *op);
const struct lk_hub_link *lk_op_link(const struct lk_reg_op *op, const struct lk_hub *hub);
const struct lk_hub_link *lk_provision_link(const struct lk_provision *p, const struct lk_hub *hub);

/* Into a record that assigns nothing: the hub that the device is really on, for a later one to
 * leave.
 */
LK_MUST_CHECK enum lk_err lk_previous_keep(const struct lk_reg_op *op,
                                           struct lk_registration *next);
LK_MUST_CHECK enum lk_err lk_failure_record(const struct lk_reg_op *op, int32_t code,
                                            const char *message, struct lk_registration *next);

/* Write op->next and what belongs to it; arg is the op. LK_ERR_PRECONDITION: start over. */
LK_MUST_CHECK enum lk_err lk_assign_run(struct lk_txn *tx, void *arg);
/* Write what became of a webhook's `assigning`: op->next, an errand for it, or op->fail_code. Ends
 * the operation. */
void lk_outcome_write(struct lk_reg_op *op);
void lk_status_count(enum lk_reg_status status);

/* initialAssignment only for an identity that is new; "unchanged" is what the others tell. previous
 * may be NULL. */
enum lk_dps_substatus lk_substatus_of(const char *previous, const char *hub, bool migrate,
                                      bool existed);
/* Only the same SRK can still hold the old key: after TPM2_Clear nothing opens it any more, and
 * what an earlier owner kept must be worth nothing. */
bool lk_old_key_lives(const struct lk_reg_op *op);
LK_MUST_CHECK enum lk_err lk_assignment_audit(struct lk_txn *tx, const char *request_id,
                                              const struct lk_registration *r);

/* Where a device was (NULL or "": nowhere) and where it is now. */
struct lk_move {
    struct lk_hub_owner owner;
    const char *old_hub, *old_device_id, *hub, *device_id;
    uint64_t version; /* of the registration */
    const char *etag; /* of the old identity; "": not known */
};
/* A hub in our store refused device_id: whose it is, for the operator's log. */
void lk_device_id_taken(struct lk_txn *tx, const char *request_id, const char *hub,
                        const char *device_id, const struct lk_hub_owner *owner);

#define LK_CERT_THUMBPRINT_CAP 65u /* bytes of a SHA-256 in hexadecimal with the NUL */
/* Upper-case hexadecimal, as hubs write it. */
void lk_thumbprint_text(const uint8_t sha256[32], char ret[LK_CERT_THUMBPRINT_CAP]);

/*
 * The identity that the device had, on another hub or under another device id, is of no use to it
 * any more, and its key must not stay good: it goes with the transaction, or by an errand. The new
 * identity came first: what fails in between leaves one too many, never none.
 */
LK_MUST_CHECK enum lk_err lk_old_identity_leave(struct lk_txn *tx, const struct lk_provision *p,
                                                const struct lk_move *m);

/* ---- errands (errand.h) ---------------------------------------------------------------------- */

struct lk_errands;
LK_MUST_CHECK enum lk_err lk_errands_new(struct lk_provision *p, struct lk_errands **ret);
void lk_errands_free(struct lk_errands *s); /* nothing may be pending */
size_t lk_errands_pending(const struct lk_errands *s);
/* Look for what is due: something was added, or time has passed. */
void lk_errands_look(struct lk_errands *s);
/* No further try begins, and those under way end after their present step. */
void lk_errands_stop(struct lk_errands *s);
bool lk_errands_stopping(const struct lk_errands *s);

/* Whether giving op's device this hub takes calls to a hub elsewhere. */
bool lk_errand_needed(const struct lk_reg_op *op, const struct lk_hub *hub);
/* With the registration op->next, in its transaction; op->hub is the hub. The drop is for one that
 * needs no errand, and ends one of an earlier registration all the same. */
LK_MUST_CHECK enum lk_err lk_errand_assign_put(struct lk_txn *tx, const struct lk_reg_op *op);
LK_MUST_CHECK enum lk_err lk_errand_assign_drop(struct lk_txn *tx, const struct lk_reg_op *op);
/* For an identity at a hub elsewhere. The cancel: the device has come back there. */
LK_MUST_CHECK enum lk_err lk_errand_leave_put(struct lk_txn *tx, const char *hub,
                                              const char *device_id, uint64_t version,
                                              const char *etag);
LK_MUST_CHECK enum lk_err lk_errand_leave_cancel(struct lk_txn *tx, const char *hub,
                                                 const char *device_id);

/* ---- custom allocation --------------------------------------------------------------------- */

/* The enrollment leaves the choice to a webhook. */
bool lk_custom_is(const struct lk_reg_op *op);
/* Before the answer: keep what the request lends, mark op->next. */
LK_MUST_CHECK enum lk_err lk_custom_record(struct lk_reg_op *op, struct lk_registration *next);
/* After it: ask, judge, assign. Ends the operation. */
void lk_custom_ask(struct lk_reg_op *op);

/* The device may not take the place of one that its hub has by that name already: it has chosen the
 * name itself, and has not been there under it. */
bool lk_must_be_new(const struct lk_reg_op *op);
#define LK_NAME_TAKEN "The hub has a device of that name already"

/* 202 with the operation's id. */
void lk_assignment_accepted(struct lk_reg_op *op, const char *operation_id);

#endif
