/*
 * What is known of each hub elsewhere: its breaker, and how calls to it went. One for the process,
 * shared by its loops; any thread.
 */
#ifndef LK_LINK_BOARD_H
#define LK_LINK_BOARD_H

#include "base/clock.h"
#include "link/breaker.h"
#include "store/store.h"

#define LK_BOARD_HUBS_MAX 64u /* hubs that are kept apart: more than can be linked */

struct lk_hub_board;

/* most: errands of one hub at a time. */
LK_MUST_CHECK enum lk_err lk_hub_board_new(const struct lk_clock *clock, unsigned most,
                                           struct lk_hub_board **ret);
void lk_hub_board_free(struct lk_hub_board *b);
LK_DEFINE_AUTO(struct lk_hub_board, lk_hub_board, lk_hub_board_free);

unsigned lk_hub_board_reserve(struct lk_hub_board *b, const char *hub, unsigned wanted);
void lk_hub_board_release(struct lk_hub_board *b, const char *hub, unsigned count);

/* How a call ended. */
enum lk_hub_outcome {
    LK_HUB_ANSWERED,    /* whatever it was, the hub works */
    LK_HUB_THROTTLED,   /* it asked for patience */
    LK_HUB_REFUSED,     /* it does not accept our credential */
    LK_HUB_UNREACHABLE, /* no answer, or not one of a hub we trust */
    LK_HUB_FAULTY,      /* it failed, or what it says is no answer */
    LK_HUB_OUTCOMES
};
/* detail goes to the log when the breaker opens. */
void lk_hub_board_report(struct lk_hub_board *b, const char *hub, enum lk_hub_outcome outcome,
                         uint32_t retry_after_s, const char *detail);

/* Append the metrics of every hub in the text format of base/metrics.h. */
LK_MUST_CHECK enum lk_err lk_hub_board_metrics(struct lk_hub_board *b, struct lk_buf *ret);

#endif
