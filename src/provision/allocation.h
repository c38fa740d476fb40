/* Choosing the hub of a registration (service-api.md section 10). Pure: no store, no clock. */
#ifndef LK_PROVISION_ALLOCATION_H
#define LK_PROVISION_ALLOCATION_H

#include "store/store.h"

#define LK_LINKED_HUBS_MAX 50u

/* Where a device is, and what its scope says. Zeros: hashed. */
struct lk_allocation_terms {
    enum lk_allocation policy; /* of an enrollment that names none; LK_ALLOC_DEFAULT is hashed */
    const char *region;        /* that the device asks from; NULL or "": unknown */
};

/* Whether the enrollment's device may be given hub. */
bool lk_hub_is_candidate(const struct lk_enrollment *e, const struct lk_hub *hub);

/*
 * Pick among hubs for a device:
 *   static      the one hub that the enrollment names
 *   hashed      weighted rendezvous over the enrollment's hubs, or all allocatable ones: a device
 *               keeps its hub when other hubs come and go, and shares follow the weights
 *   geoLatency  hashed over those of them in the device's region; over all when none is there
 * *ret borrows from hubs.
 *
 *   LK_ERR_NOT_FOUND    no hub is left to choose from
 *   LK_ERR_UNSUPPORTED  LK_ALLOC_CUSTOM: that is asked elsewhere (webhook.h)
 */
LK_MUST_CHECK enum lk_err lk_allocate(const struct lk_enrollment *e,
                                      const struct lk_allocation_terms *terms,
                                      const struct lk_hub *hubs, size_t hubs_count,
                                      const struct lk_hub **ret);

#endif
