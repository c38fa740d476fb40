/* Tests of src/provision/srk_cache.c: what is remembered, for how long, and who pushes out whom. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "provision/provision_int.h"

#define SCOPE "0ne1"

static struct lk_key_pair
pair_of(unsigned number)
{
    struct lk_key_pair pair = {.srk_name_len = 34, .srk_pub_len = 4};

    memcpy(pair.srk_name, &number, sizeof(number));
    memcpy(pair.srk_pub, &number, sizeof(number));
    return pair;
}

static unsigned
number_of(const struct lk_key_pair *pair)
{
    unsigned number;

    memcpy(&number, pair->srk_pub, sizeof(number));
    return number;
}

static int
setup(void **state)
{
    struct lk_srk_cache *c = NULL;

    assert_int_equal(lk_srk_cache_new(&c), LK_OK);
    *state = c;
    return 0;
}

static int
teardown(void **state)
{
    lk_srk_cache_free(*state);
    return 0;
}

static void
put(struct lk_srk_cache *c, const char *id, unsigned number)
{
    struct lk_key_pair pair = pair_of(number);

    lk_srk_cache_put(c, SCOPE, id, &pair, 0, 1000);
}

/* Nothing is there of a registration that nobody asked for. */
static void
empty(void **state)
{
    struct lk_key_pair found[LK_SRKS_PER_ID];

    assert_int_equal(lk_srk_cache_find(*state, SCOPE, "dev-1", 0, found), 0);
    lk_srk_cache_free(NULL);
}

/* Found by scope and id in any case, until the time is over. */
static void
kept_for_its_life(void **state)
{
    struct lk_key_pair found[LK_SRKS_PER_ID];

    put(*state, "Dev-1", 7);
    assert_int_equal(lk_srk_cache_find(*state, SCOPE, "dEV-1", 999, found), 1);
    assert_int_equal(number_of(&found[0]), 7);
    assert_int_equal(lk_srk_cache_find(*state, SCOPE, "Dev-1", 1000, found), 0);
    assert_int_equal(lk_srk_cache_find(*state, "0NE1", "Dev-1", 0, found), 0);
    assert_int_equal(lk_srk_cache_find(*state, SCOPE, "Dev-2", 0, found), 0);
}

/* The same SRK again takes one place, and is the newest. */
static void
same_srk_again(void **state)
{
    struct lk_key_pair found[LK_SRKS_PER_ID];

    put(*state, "dev-1", 1);
    put(*state, "dev-1", 2);
    put(*state, "dev-1", 1);
    assert_int_equal(lk_srk_cache_find(*state, SCOPE, "dev-1", 0, found), 2);
    assert_int_equal(number_of(&found[0]), 1);
    assert_int_equal(number_of(&found[1]), 2);
}

/* Who asks in one device's name with ever new SRKs pushes out that device's pairs and no others. */
static void
flood_of_one_registration(void **state)
{
    struct lk_key_pair found[LK_SRKS_PER_ID];
    char id[32];

    for (unsigned i = 0; i < 200; i++) {
        (void)snprintf(id, sizeof(id), "dev-%u", i);
        put(*state, id, i);
    }
    for (unsigned i = 0; i < 100000; i++) {
        put(*state, "dev-0", 1000 + i);
    }
    assert_int_equal(lk_srk_cache_find(*state, SCOPE, "dev-0", 0, found), LK_SRKS_PER_ID);
    assert_int_equal(number_of(&found[0]), 100999);
    assert_int_equal(number_of(&found[LK_SRKS_PER_ID - 1]), 100999 - LK_SRKS_PER_ID + 1);
    for (unsigned i = 1; i < 200; i++) {
        (void)snprintf(id, sizeof(id), "dev-%u", i);
        assert_int_equal(lk_srk_cache_find(*state, SCOPE, id, 0, found), 1);
        assert_int_equal(number_of(&found[0]), i);
    }
}

/* More registrations than there is room for: the oldest go. */
static void
more_than_fit(void **state)
{
    struct lk_key_pair found[LK_SRKS_PER_ID];
    size_t left = 0;
    char id[32];

    for (unsigned i = 0; i < 20000; i++) {
        (void)snprintf(id, sizeof(id), "dev-%u", i);
        put(*state, id, i);
    }
    for (unsigned i = 0; i < 20000; i++) {
        size_t count;

        (void)snprintf(id, sizeof(id), "dev-%u", i);
        count = lk_srk_cache_find(*state, SCOPE, id, 0, found);
        left += count;
        assert_true(i < 19000 || count == 1);
    }
    assert_int_equal(left, 8192);
}

/* Loops share it. */
static void *
hammer(void *arg)
{
    struct lk_key_pair found[LK_SRKS_PER_ID];
    char id[32];

    for (unsigned i = 0; i < 20000; i++) {
        (void)snprintf(id, sizeof(id), "dev-%u", i % 50);
        put(arg, id, i);
        (void)lk_srk_cache_find(arg, SCOPE, id, 0, found); /* any number of them */
    }
    return NULL;
}

static void
shared_by_threads(void **state)
{
    struct lk_key_pair found[LK_SRKS_PER_ID];
    pthread_t threads[2];

    for (size_t i = 0; i < LK_ARRAY_LEN(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, *state), 0);
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(threads); i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(lk_srk_cache_find(*state, SCOPE, "dev-1", 0, found), LK_SRKS_PER_ID);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(empty),          CASE(kept_for_its_life),
        CASE(same_srk_again), CASE(flood_of_one_registration),
        CASE(more_than_fit),  CASE(shared_by_threads),
    };

    if (lk_crypto_init() != LK_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
