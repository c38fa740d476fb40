/* Events that every broker has heard, or will never ask for. */
#include "hub/hub.h"

enum lk_err
lk_hub_events_trim(struct lk_txn *tx, int64_t kept, int64_t limit, bool *ret_more)
{
    int64_t last, pruned, up_to;
    enum lk_err err;

    if ((err = lk_txn_hub_event_last(tx, &last)) != LK_OK ||
        (err = lk_txn_hub_event_pruned(tx, &pruned)) != LK_OK) {
        return err;
    }
    up_to = last - kept;
    *ret_more = up_to - pruned > limit;
    if (up_to <= pruned) {
        return LK_OK;
    }
    return lk_txn_hub_event_prune(tx, *ret_more ? pruned + limit : up_to);
}
