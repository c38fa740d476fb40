/* Choosing the hub of a registration (service-api.md section 10). Pure: no store, no clock. */
#ifndef LK_PROVISION_ALLOCATION_H
#define LK_PROVISION_ALLOCATION_H

#include "store/store.h"

#define LK_LINKED_HUBS_MAX 50u

/*
 * Pick among hubs for a device:
 *   static   the one hub that the enrollment names
 *   hashed   weighted rendezvous over the enrollment's hubs, or all allocatable ones: a device
 * keeps its hub when other hubs come and go, and shares follow the weights LK_ALLOC_DEFAULT is
 * hashed. *ret borrows from hubs.
 *
 *   LK_ERR_NOT_FOUND    no hub is left to choose from
 *   LK_ERR_UNSUPPORTED  a policy that this service does not carry out
 */
LK_MUST_CHECK enum lk_err lk_allocate(const struct lk_enrollment *e, const struct lk_hub *hubs,
                                      size_t hubs_count, const struct lk_hub **ret);

#endif
