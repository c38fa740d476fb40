/*
 * The key pairs of recent challenges, for clients whose authorised register carries no keys
 * (device-protocol.md 1.3). One table for all loops, in shards under a lock each.
 *
 * A pair gets in only after its EK matched the enrollment. An entry counts against its own
 * registration first: somebody who knows one device's public EK can push out pairs of that device
 * alone. Pushing out other devices takes the EKs of a shard's worth of them. What is pushed out
 * costs its device one more challenge.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/codec.h"
#include "provision/provision_int.h"

#define SHARDS_COUNT 16u
#define BUCKETS_PER_SHARD 256u
#define SHARD_ENTRIES_MAX 512u /* 8,192 pairs in all, 7 MB */
#define KEY_LEN 32u            /* hash of scope and id */

struct entry {
    LIST_ENTRY(entry) in_bucket; /* newest first */
    TAILQ_ENTRY(entry) in_age;   /* newest first */
    uint8_t key[KEY_LEN];
    int64_t until_mono_ms;
    struct lk_key_pair pair;
};

LIST_HEAD(bucket, entry);
TAILQ_HEAD(age, entry);

struct shard {
    pthread_mutex_t lock;
    struct bucket buckets[BUCKETS_PER_SHARD];
    struct age age;
    size_t count;
};

struct lk_srk_cache {
    struct shard shards[SHARDS_COUNT];
};

enum lk_err
lk_srk_cache_new(struct lk_srk_cache **ret)
{
    struct lk_srk_cache *c = calloc(1, sizeof(*c));

    if (c == NULL) {
        return LK_ERR_NOMEM;
    }
    for (size_t i = 0; i < SHARDS_COUNT; i++) {
        struct shard *s = &c->shards[i];

        (void)pthread_mutex_init(&s->lock, NULL); /* default attributes: nothing to run out of */
        TAILQ_INIT(&s->age);
        for (size_t b = 0; b < BUCKETS_PER_SHARD; b++) {
            LIST_INIT(&s->buckets[b]);
        }
    }
    *ret = c;
    return LK_OK;
}

static void
entry_remove(struct shard *s, struct entry *e)
{
    LIST_REMOVE(e, in_bucket);
    TAILQ_REMOVE(&s->age, e, in_age);
    s->count--;
    free(e);
}

void
lk_srk_cache_free(struct lk_srk_cache *c)
{
    if (c == NULL) {
        return;
    }
    for (size_t i = 0; i < SHARDS_COUNT; i++) {
        struct shard *s = &c->shards[i];

        while (!TAILQ_EMPTY(&s->age)) {
            entry_remove(s, TAILQ_FIRST(&s->age));
        }
        (void)pthread_mutex_destroy(&s->lock);
    }
    free(c);
}

static enum lk_err
key_make(const char *scope, const char *id, uint8_t ret[KEY_LEN])
{
    char lower[LK_REGISTRATION_ID_MAX + 1];
    enum lk_err err = lk_strcpy(lower, sizeof(lower), id);

    if (err != LK_OK) {
        return err;
    }
    lk_ascii_lower(lower);
    const struct lk_part parts[] = {LK_PART(scope, strlen(scope) + 1),
                                    LK_PART(lower, strlen(lower) + 1)};

    return lk_digest(LK_SHA256, parts, LK_ARRAY_LEN(parts), ret);
}

static bool
srk_is(const struct entry *e, const struct lk_key_pair *pair)
{
    return e->pair.srk_name_len == pair->srk_name_len &&
           memcmp(e->pair.srk_name, pair->srk_name, pair->srk_name_len) == 0;
}

/* Make room for one more pair of key: the same one goes, then the oldest of this registration. */
static void
own_trim(struct shard *s, struct bucket *b, const uint8_t key[KEY_LEN],
         const struct lk_key_pair *pair)
{
    struct entry *e = LIST_FIRST(b), *oldest = NULL;
    size_t count = 0;

    while (e != NULL) {
        struct entry *next = LIST_NEXT(e, in_bucket);

        if (memcmp(e->key, key, KEY_LEN) == 0) {
            if (srk_is(e, pair)) {
                entry_remove(s, e);
            } else {
                oldest = e;
                count++;
            }
        }
        e = next;
    }
    if (count == LK_SRKS_PER_ID) {
        entry_remove(s, oldest);
    }
}

void
lk_srk_cache_put(struct lk_srk_cache *c, const char *scope, const char *id,
                 const struct lk_key_pair *pair, int64_t now_mono_ms, int64_t lifetime_ms)
{
    struct entry *e = malloc(sizeof(*e));
    struct shard *s;
    struct bucket *b;

    /* Without memory nothing is remembered, and the device asks for another challenge. */
    if (e == NULL || key_make(scope, id, e->key) != LK_OK) {
        free(e);
        return;
    }
    e->until_mono_ms = now_mono_ms + lifetime_ms;
    e->pair = *pair;
    s = &c->shards[e->key[0] % SHARDS_COUNT];
    b = &s->buckets[e->key[1] % BUCKETS_PER_SHARD];
    (void)pthread_mutex_lock(&s->lock);
    own_trim(s, b, e->key, pair);
    if (s->count == SHARD_ENTRIES_MAX) {
        entry_remove(s, TAILQ_LAST(&s->age, age));
    }
    LIST_INSERT_HEAD(b, e, in_bucket);
    TAILQ_INSERT_HEAD(&s->age, e, in_age);
    s->count++;
    (void)pthread_mutex_unlock(&s->lock);
}

size_t
lk_srk_cache_find(struct lk_srk_cache *c, const char *scope, const char *id, int64_t now_mono_ms,
                  struct lk_key_pair ret[LK_SRKS_PER_ID])
{
    uint8_t key[KEY_LEN];
    struct shard *s;
    struct entry *e;
    size_t count = 0;

    if (key_make(scope, id, key) != LK_OK) {
        return 0;
    }
    s = &c->shards[key[0] % SHARDS_COUNT];
    (void)pthread_mutex_lock(&s->lock);
    LIST_FOREACH(e, &s->buckets[key[1] % BUCKETS_PER_SHARD], in_bucket)
    {
        if (e->until_mono_ms > now_mono_ms && memcmp(e->key, key, KEY_LEN) == 0) {
            ret[count++] = e->pair;
        }
    }
    (void)pthread_mutex_unlock(&s->lock);
    return count;
}
