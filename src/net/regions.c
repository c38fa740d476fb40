#include "net/regions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    struct lk_network network;
    char region[LK_REGION_CAP];
};

struct lk_regions {
    struct entry entries[LK_REGIONS_MAX];
    size_t entries_count;
    char fallback[LK_REGION_CAP];
};

bool
lk_region_ok(const char *text)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-";
    size_t len = strlen(text);

    return len > 0 && len < LK_REGION_CAP && strspn(text, allowed) == len;
}

static bool
is_listed(const struct lk_regions *r, const struct lk_network *n)
{
    for (size_t i = 0; i < r->entries_count; i++) {
        if (r->entries[i].network.bits == n->bits && lk_network_has(&r->entries[i].network, n)) {
            return true;
        }
    }
    return false;
}

/* word is cut at its '='. */
static enum lk_err
entry_parse(struct lk_regions *r, char *word)
{
    struct entry *e = &r->entries[r->entries_count];
    char *equals = strchr(word, '=');

    if (equals == NULL) {
        return LK_ERR_FORMAT;
    }
    *equals = '\0';
    if (lk_network_parse(word, &e->network) != LK_OK || !lk_region_ok(equals + 1) ||
        is_listed(r, &e->network) || lk_strcpy(e->region, sizeof(e->region), equals + 1) != LK_OK) {
        *equals = '=';
        return LK_ERR_FORMAT;
    }
    r->entries_count++;
    return LK_OK;
}

static enum lk_err
entries_parse(struct lk_regions *r, char *text, char error[LK_ALLOW_ERROR_CAP])
{
    char *rest = NULL;

    for (char *word = strtok_r(text, ", \t", &rest); word != NULL;
         word = strtok_r(NULL, ", \t", &rest)) {
        if (r->entries_count == LK_REGIONS_MAX) {
            (void)snprintf(error, LK_ALLOW_ERROR_CAP, "more than %u networks", LK_REGIONS_MAX);
            return LK_ERR_LIMIT;
        }
        if (entry_parse(r, word) != LK_OK) {
            (void)snprintf(error, LK_ALLOW_ERROR_CAP,
                           "\"%.64s\" is not NETWORK=REGION, or its network is there twice", word);
            return LK_ERR_FORMAT;
        }
    }
    return LK_OK;
}

enum lk_err
lk_regions_parse(const char *text, const char *fallback, char error[LK_ALLOW_ERROR_CAP],
                 struct lk_regions **ret)
{
    LK_AUTO(lk_regions) struct lk_regions *r = calloc(1, sizeof(*r));
    char unused[LK_ALLOW_ERROR_CAP];
    char *copy = strdup(text);
    enum lk_err err = LK_ERR_NOMEM;

    if (r != NULL && copy != NULL) {
        err = fallback[0] != '\0' && !lk_region_ok(fallback)
                  ? LK_ERR_FORMAT
                  : entries_parse(r, copy, error != NULL ? error : unused);
    }
    free(copy);
    if (err != LK_OK || (err = lk_strcpy(r->fallback, sizeof(r->fallback), fallback)) != LK_OK) {
        return err;
    }
    *ret = lk_regions_take(&r);
    return LK_OK;
}

void
lk_regions_free(struct lk_regions *r)
{
    free(r);
}

const char *
lk_regions_of(const struct lk_regions *r, const char *address)
{
    const struct entry *best = NULL;
    struct lk_network client;

    if (lk_network_parse(address, &client) != LK_OK) {
        return r->fallback;
    }
    for (size_t i = 0; i < r->entries_count; i++) {
        const struct entry *e = &r->entries[i];

        if (lk_network_has(&e->network, &client) &&
            (best == NULL || e->network.bits > best->network.bits)) {
            best = e;
        }
    }
    return best != NULL ? best->region : r->fallback;
}
