/* Tests of src/provision/allocation.c: who gets which hub, in what shares, and who has to move. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "provision/allocation.h"

#define DEVICES 20000

static const struct lk_allocation_terms plain = {LK_ALLOC_DEFAULT, NULL};

static void
hub_make(struct lk_hub *hub, const char *name, uint32_t weight)
{
    memset(hub, 0, sizeof(*hub));
    assert_int_equal(lk_strcpy(hub->name, sizeof(hub->name), name), LK_OK);
    hub->kind = LK_HUB_EMBEDDED;
    hub->weight = weight;
    hub->allocatable = true;
}

static void
enrollment_make(struct lk_enrollment *e, unsigned number)
{
    lk_enrollment_init(e);
    assert_int_equal(lk_strcpy(e->scope, sizeof(e->scope), "0ne1"), LK_OK);
    (void)snprintf(e->id, sizeof(e->id), "device-%u", number);
}

static void
enrollment_name_hub(struct lk_enrollment *e, const char *name)
{
    size_t i = e->hubs_count++;

    assert_int_equal(lk_strcpy(e->hubs[i], sizeof(e->hubs[i]), name), LK_OK);
}

/* The place in hubs that a numbered device gets. */
static size_t
place_of(unsigned number, const struct lk_hub *hubs, size_t hubs_count)
{
    struct lk_enrollment e;
    const struct lk_hub *hub = NULL;

    enrollment_make(&e, number);
    assert_int_equal(lk_allocate(&e, &plain, hubs, hubs_count, &hub), LK_OK);
    lk_enrollment_fini(&e);
    return (size_t)(hub - hubs);
}

/* No hub at all, none that may be given out, none that is linked. */
static void
nothing_to_choose_from(void **state)
{
    struct lk_enrollment e;
    struct lk_hub hub;
    const struct lk_hub *found = NULL;

    enrollment_make(&e, 1);
    hub_make(&hub, "hub.test", 1);
    assert_int_equal(lk_allocate(&e, &plain, NULL, 0, &found), LK_ERR_NOT_FOUND);
    hub.allocatable = false;
    assert_int_equal(lk_allocate(&e, &plain, &hub, 1, &found), LK_ERR_NOT_FOUND);
    enrollment_name_hub(&e, "other.test");
    assert_int_equal(lk_allocate(&e, &plain, &hub, 1, &found), LK_ERR_NOT_FOUND);
    assert_null(found);
    /* A hub that the enrollment names need not be open to everybody. */
    enrollment_name_hub(&e, "HUB.test");
    assert_int_equal(lk_allocate(&e, &plain, &hub, 1, &found), LK_OK);
    assert_ptr_equal(found, &hub);
    lk_enrollment_fini(&e);
}

/* static: one name, and that one; policies that are not carried out say so. */
static void
policies(void **state)
{
    struct lk_enrollment e;
    struct lk_hub hubs[2];
    const struct lk_hub *found = NULL;

    enrollment_make(&e, 1);
    hub_make(&hubs[0], "a.test", 1000);
    hub_make(&hubs[1], "b.test", 1);
    e.allocation = LK_ALLOC_STATIC;
    assert_int_equal(lk_allocate(&e, &plain, hubs, 2, &found), LK_ERR_NOT_FOUND);
    enrollment_name_hub(&e, "b.test");
    assert_int_equal(lk_allocate(&e, &plain, hubs, 2, &found), LK_OK);
    assert_ptr_equal(found, &hubs[1]);
    assert_int_equal(lk_allocate(&e, &plain, hubs, 1, &found), LK_ERR_NOT_FOUND);
    enrollment_name_hub(&e, "a.test");
    assert_int_equal(lk_allocate(&e, &plain, hubs, 2, &found), LK_ERR_NOT_FOUND);
    e.allocation = LK_ALLOC_CUSTOM;
    assert_int_equal(lk_allocate(&e, &plain, hubs, 2, &found), LK_ERR_UNSUPPORTED);
    lk_enrollment_fini(&e);
}

/* geoLatency: hubs of the device's region, in any case; all of them when it has none, or is in
 * none. The scope's policy counts for those that name none. */
static void
regions(void **state)
{
    struct lk_allocation_terms south = {LK_ALLOC_GEO, "South"}, west = {LK_ALLOC_GEO, "west"},
                               nowhere = {LK_ALLOC_GEO, ""};
    struct lk_hub hubs[4];
    const struct lk_hub *found = NULL, *hashed = NULL;
    unsigned seen[4] = {0};

    hub_make(&hubs[0], "a.test", 1000);
    hub_make(&hubs[1], "b.test", 1);
    hub_make(&hubs[2], "c.test", 1);
    hub_make(&hubs[3], "d.test", 1);
    assert_int_equal(lk_strcpy(hubs[1].region, sizeof(hubs[1].region), "south"), LK_OK);
    assert_int_equal(lk_strcpy(hubs[2].region, sizeof(hubs[2].region), "south"), LK_OK);
    assert_int_equal(lk_strcpy(hubs[3].region, sizeof(hubs[3].region), "south"), LK_OK);
    hubs[3].allocatable = false;
    for (unsigned i = 0; i < 100; i++) {
        struct lk_enrollment e;

        enrollment_make(&e, i);
        assert_int_equal(lk_allocate(&e, &south, hubs, 4, &found), LK_OK);
        seen[found - hubs]++;
        assert_int_equal(lk_allocate(&e, &plain, hubs, 4, &hashed), LK_OK);
        assert_int_equal(lk_allocate(&e, &west, hubs, 4, &found), LK_OK);
        assert_ptr_equal(found, hashed);
        assert_int_equal(lk_allocate(&e, &nowhere, hubs, 4, &found), LK_OK);
        assert_ptr_equal(found, hashed);
        e.allocation = LK_ALLOC_HASHED;
        assert_int_equal(lk_allocate(&e, &south, hubs, 4, &found), LK_OK);
        assert_ptr_equal(found, hashed);
        e.allocation = LK_ALLOC_GEO;
        enrollment_name_hub(&e, "a.test");
        assert_int_equal(lk_allocate(&e, &south, hubs, 4, &found), LK_OK);
        assert_ptr_equal(found, &hubs[0]);
        lk_enrollment_fini(&e);
    }
    assert_int_equal(seen[0] + seen[3], 0);
    assert_in_range(seen[1], 30, 70);
}

/* Only the scope, the id in any case, and the hubs decide; not their order. */
static void
always_the_same(void **state)
{
    struct lk_hub hubs[3], turned[3];
    struct lk_enrollment lower, upper;
    const struct lk_hub *a = NULL, *b = NULL;

    hub_make(&hubs[0], "a.test", 1);
    hub_make(&hubs[1], "b.test", 1);
    hub_make(&hubs[2], "c.test", 1);
    for (size_t i = 0; i < 3; i++) {
        turned[i] = hubs[2 - i];
    }
    for (unsigned i = 0; i < 100; i++) {
        enrollment_make(&lower, i);
        enrollment_make(&upper, i);
        upper.id[0] = 'D';
        assert_int_equal(lk_allocate(&lower, &plain, hubs, 3, &a), LK_OK);
        assert_int_equal(lk_allocate(&upper, &plain, turned, 3, &b), LK_OK);
        assert_string_equal(a->name, b->name);
        lk_enrollment_fini(&lower);
        lk_enrollment_fini(&upper);
    }
}

/* Shares follow the weights: 5 standard deviations of a share are 1.8 % of the devices. */
static void
shares_follow_weights(void **state)
{
    static const unsigned weights[] = {1, 2, 7, 1000};
    struct lk_hub hubs[3];
    int counts[3] = {0};

    hub_make(&hubs[0], "a.test", weights[0]);
    hub_make(&hubs[1], "b.test", weights[1]);
    hub_make(&hubs[2], "c.test", weights[2]);
    for (unsigned i = 0; i < DEVICES; i++) {
        counts[place_of(i, hubs, 3)]++;
    }
    for (size_t i = 0; i < 3; i++) {
        int want = DEVICES * (int)weights[i] / 10;

        assert_in_range(counts[i], want - DEVICES * 18 / 1000, want + DEVICES * 18 / 1000);
    }
    /* The widest ratio: one device in 1,001. */
    hub_make(&hubs[1], "b.test", weights[3]);
    counts[0] = 0;
    for (unsigned i = 0; i < DEVICES; i++) {
        counts[0] += place_of(i, hubs, 2) == 0;
    }
    assert_in_range(counts[0], 2, 45);
}

/* When a hub goes only its devices move; when one comes they move to it and nowhere else. */
static void
few_move(void **state)
{
    struct lk_hub hubs[4];
    int moved = 0;

    hub_make(&hubs[0], "a.test", 3);
    hub_make(&hubs[1], "b.test", 3);
    hub_make(&hubs[2], "c.test", 3);
    hub_make(&hubs[3], "d.test", 1);
    for (unsigned i = 0; i < DEVICES / 4; i++) {
        size_t three = place_of(i, hubs, 3), two = place_of(i, hubs, 2),
               four = place_of(i, hubs, 4);

        assert_true(three == 2 || two == three);
        assert_true(four == 3 || four == three);
        moved += four == 3;
    }
    assert_in_range(moved, DEVICES / 4 * 8 / 100, DEVICES / 4 * 12 / 100);
}

/* More weight draws devices to a hub and none away from it. */
static void
weight_only_attracts(void **state)
{
    struct lk_hub hubs[2];

    hub_make(&hubs[0], "a.test", 5);
    hub_make(&hubs[1], "b.test", 5);
    for (unsigned i = 0; i < 2000; i++) {
        size_t before, after;

        hubs[0].weight = 5;
        before = place_of(i, hubs, 2);
        hubs[0].weight = 6;
        after = place_of(i, hubs, 2);
        assert_true(after == before || after == 0);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_to_choose_from),
        cmocka_unit_test(policies),
        cmocka_unit_test(regions),
        cmocka_unit_test(always_the_same),
        cmocka_unit_test(shares_follow_weights),
        cmocka_unit_test(few_move),
        cmocka_unit_test(weight_only_attracts),
    };

    if (lk_crypto_init() != LK_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
