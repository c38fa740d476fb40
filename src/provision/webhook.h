/*
 * Custom allocation (service-api.md section 11): whoever chooses the hub in our stead, however it
 * is asked. provision/ says what is asked and judges the answer; it knows nothing of HTTP.
 */
#ifndef LK_PROVISION_WEBHOOK_H
#define LK_PROVISION_WEBHOOK_H

#include "store/store.h"

#define LK_WEBHOOK_DETAIL_CAP 120u

/* What is asked about one device that has proved itself. All members are borrowed for the call. */
struct lk_webhook_ask {
    const struct lk_enrollment *enrollment; /* or the group's terms, under the device's id */
    const char *group;                      /* "": its own enrollment */
    const char *current_hub;                /* NULL: none so far */
    const char *current_device_id;
    const struct lk_registration *proof; /* EK id and SRK that were proved, for a TPM */
    const struct lk_buf *payload;        /* the device's own JSON; may be empty */
    const struct lk_hub *const *hubs;    /* that may be answered */
    size_t hubs_count;
};

/*
 * err: LK_OK; LK_ERR_REFUSED: it may not be called, or refuses us; anything else: it could not be
 * asked, or its answer is none. detail then says what was wrong, for people; printable ASCII.
 */
struct lk_webhook_answer {
    enum lk_err err;
    char hub[LK_HOST_NAME_MAX + 1]; /* as it was answered, any case; may be none of those asked */
    struct lk_buf initial_twin;     /* JSON text; empty: none. The callback may move them out. */
    struct lk_buf payload;          /* for the device */
    char detail[LK_WEBHOOK_DETAIL_CAP];
};
typedef void lk_webhook_done_fn(void *arg, struct lk_webhook_answer *answer);

struct lk_webhook_ops {
    /* Begin, copy what is needed, and call done exactly once, later, on the same thread, within 20
     * seconds whatever happens. An error: not begun, and done is not called. */
    enum lk_err (*ask)(void *ctx, const struct lk_webhook_ask *ask, lk_webhook_done_fn *done,
                       void *arg);
};

struct lk_webhook {
    const struct lk_webhook_ops *ops; /* NULL: none is called */
    void *ctx;
};

#endif
