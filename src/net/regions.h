/* Which region a client is in, by the network that it comes from. */
#ifndef LK_NET_REGIONS_H
#define LK_NET_REGIONS_H

#include "net/allow.h"

#define LK_REGIONS_MAX 64u /* networks */
#define LK_REGION_CAP 65u  /* bytes of a region's name with its NUL: letters, digits and '-' */

bool lk_region_ok(const char *text);

struct lk_regions;

/*
 * A list of NETWORK=REGION, apart by blanks or commas; fallback (may be "") is the region of all
 * other clients. error (may be NULL) names the entry. LK_ERR_FORMAT, also for a network that is
 * there twice; LK_ERR_LIMIT, LK_ERR_NOMEM.
 */
LK_MUST_CHECK enum lk_err lk_regions_parse(const char *text, const char *fallback,
                                           char error[LK_ALLOW_ERROR_CAP], struct lk_regions **ret);
void lk_regions_free(struct lk_regions *r);
LK_DEFINE_AUTO(struct lk_regions, lk_regions, lk_regions_free);

/* The region of the narrowest network that has this address, in numbers; "" when there is none. */
const char *lk_regions_of(const struct lk_regions *r, const char *address);

#endif
