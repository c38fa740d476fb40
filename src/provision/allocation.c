#include "provision/allocation.h"

#include <math.h>
#include <string.h>
#include <strings.h>

#include "base/codec.h"

bool
lk_hub_is_candidate(const struct lk_enrollment *e, const struct lk_hub *hub)
{
    if (e->hubs_count == 0) {
        return hub->allocatable;
    }
    for (size_t i = 0; i < e->hubs_count; i++) {
        if (strcasecmp(e->hubs[i], hub->name) == 0) {
            return true;
        }
    }
    return false;
}

/*
 * Weighted rendezvous hashing: score = -weight / ln(u) with u uniform in (0, 1) from the hash of
 * device and hub. The chance that a hub has the highest score is its share of the weights.
 */
static enum lk_err
hub_score(const struct lk_enrollment *e, const struct lk_hub *hub, double *ret)
{
    char id[LK_REGISTRATION_ID_MAX + 1];
    uint8_t hash[32];
    uint64_t bits = 0;
    enum lk_err err;

    if ((err = lk_strcpy(id, sizeof(id), e->id)) != LK_OK) {
        return err;
    }
    lk_ascii_lower(id);
    const struct lk_part parts[] = {LK_PART(e->scope, strlen(e->scope) + 1),
                                    LK_PART(id, strlen(id) + 1),
                                    LK_PART(hub->name, strlen(hub->name))};
    if ((err = lk_digest(LK_SHA256, parts, LK_ARRAY_LEN(parts), hash)) != LK_OK) {
        return err;
    }
    for (size_t i = 0; i < 8; i++) {
        bits = bits << 8 | hash[i];
    }
    *ret = -(double)hub->weight / log(((double)(bits >> 11) + 0.5) / 9007199254740992.0);
    return LK_OK;
}

/* Hashed over the candidates, or those in region unless it is NULL. */
static enum lk_err
hub_hash(const struct lk_enrollment *e, const char *region, const struct lk_hub *hubs,
         size_t hubs_count, const struct lk_hub **ret)
{
    const struct lk_hub *best = NULL;
    double best_score = 0;

    for (size_t i = 0; i < hubs_count; i++) {
        double score;
        enum lk_err err;

        if (!lk_hub_is_candidate(e, &hubs[i]) ||
            (region != NULL && strcasecmp(hubs[i].region, region) != 0)) {
            continue;
        }
        if ((err = hub_score(e, &hubs[i], &score)) != LK_OK) {
            return err;
        }
        if (best == NULL || score > best_score) {
            best = &hubs[i];
            best_score = score;
        }
    }
    if (best == NULL) {
        return LK_ERR_NOT_FOUND;
    }
    *ret = best;
    return LK_OK;
}

enum lk_err
lk_allocate(const struct lk_enrollment *e, const struct lk_allocation_terms *terms,
            const struct lk_hub *hubs, size_t hubs_count, const struct lk_hub **ret)
{
    enum lk_allocation policy = e->allocation == LK_ALLOC_DEFAULT ? terms->policy : e->allocation;
    const char *region = terms->region;

    if (policy == LK_ALLOC_CUSTOM) {
        return LK_ERR_UNSUPPORTED;
    }
    if (policy == LK_ALLOC_STATIC && e->hubs_count != 1) {
        return LK_ERR_NOT_FOUND;
    }
    if (policy == LK_ALLOC_GEO && region != NULL && region[0] != '\0') {
        enum lk_err err = hub_hash(e, region, hubs, hubs_count, ret);

        if (err != LK_ERR_NOT_FOUND) {
            return err;
        }
    }
    return hub_hash(e, NULL, hubs, hubs_count, ret);
}
