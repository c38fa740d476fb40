/* Tests of src/mosquitto/seats.c. A connection is any address. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "mosquitto/seats.h"

static const char clients[8];
#define DURABLE true
#define CLEAN false

static int
setup(void **state)
{
    *state = lk_seats_new();
    return *state == NULL;
}

static int
teardown(void **state)
{
    lk_seats_free(*state);
    return 0;
}

static struct lk_seat *
enter(struct lk_seats *s, int client, const char *id, const char *generation, bool durable)
{
    struct lk_plug_msg verdict = {.type = LK_PLUG_VERDICT, .number = 1000, .etag = "etag"};
    struct lk_seat *seat;

    (void)snprintf(verdict.generation, sizeof(verdict.generation), "%s", generation);
    seat = lk_seats_enter(s, &clients[client], id, &verdict, durable, 60);
    assert_non_null(seat);
    assert_string_equal(seat->id, id);
    assert_true(lk_conn_seated(lk_seats_conn(s, &clients[client])));
    return seat;
}

static bool
leave(struct lk_seats *s, int client)
{
    struct lk_conn *c = lk_seats_conn(s, &clients[client]);

    assert_non_null(c);
    return lk_seats_leave(s, c);
}

/* Nobody has been here: no seat, no connection, nothing to purge or to forget. */
static void
empty(void **state)
{
    struct lk_seats *s = *state;
    char long_id[LK_DEVICE_ID_MAX + 2];

    memset(long_id, 'a', sizeof(long_id));
    long_id[sizeof(long_id) - 1] = '\0';
    assert_null(lk_seats_conn(s, &clients[0]));
    assert_null(lk_seats_by_id(s, "dev-1"));
    assert_null(lk_seats_by_id(s, long_id));
    lk_seats_forget(s, "dev-1");
    lk_seats_purge(s);
}

/* A clean session leaves nothing, once what the broker may still say of it has been said. */
static void
clean_session(void **state)
{
    struct lk_seats *s = *state;
    struct lk_seat *seat = enter(s, 0, "dev-1", "g1", CLEAN);

    assert_false(seat->resumed || seat->flush || seat->guessed);
    assert_int_equal(seat->filters, 0);
    assert_ptr_equal(lk_seats_by_id(s, "dev-1"), seat);
    assert_true(leave(s, 0));
    assert_false(leave(s, 0));
    assert_false(lk_conn_seated(lk_seats_conn(s, &clients[0])));
    assert_string_equal(lk_seats_conn(s, &clients[0])->seat->id, "dev-1"); /* its will comes now */
    lk_seats_purge(s);
    assert_null(lk_seats_conn(s, &clients[0]));
    assert_null(lk_seats_by_id(s, "dev-1"));
}

/* A second connection takes the seat: the first is not seated any more, and its end ends nothing.
 */
static void
taken_over(void **state)
{
    struct lk_seats *s = *state;
    uint64_t first = enter(s, 0, "dev-1", "g1", CLEAN)->serial;
    struct lk_seat *seat = enter(s, 1, "dev-1", "g1", CLEAN);

    assert_true(seat->serial > first);
    assert_ptr_equal(seat->client, &clients[1]);
    assert_false(lk_conn_seated(lk_seats_conn(s, &clients[0])));
    assert_false(leave(s, 0));
    lk_seats_purge(s);
    assert_ptr_equal(lk_seats_by_id(s, "dev-1")->client, &clients[1]);
    assert_true(leave(s, 1));
}

/* A durable session keeps its filters for the same identity, and for no other of the same name. */
static void
durable_session(void **state)
{
    struct lk_seats *s = *state;
    struct lk_seat *seat = enter(s, 0, "dev-1", "g1", CLEAN);

    (void)leave(s, 0);
    lk_seats_purge(s);
    seat = enter(s, 1, "dev-1", "g1", DURABLE); /* the first that the plugin knows of */
    assert_true(seat->flush && seat->guessed);
    assert_int_equal(seat->filters, LK_PLUG_FILTERS_ALL);
    seat->filters = 1u << LK_MQTT_DEVICEBOUND;
    seat->c2d_qos = 0;
    assert_true(leave(s, 1));
    lk_seats_purge(s);

    seat = enter(s, 2, "dev-1", "g1", DURABLE);
    assert_true(seat->resumed && !seat->flush && !seat->guessed);
    assert_int_equal(seat->filters, 1u << LK_MQTT_DEVICEBOUND);
    assert_int_equal(seat->c2d_qos, 0);
    (void)leave(s, 2);
    lk_seats_purge(s);

    seat = enter(s, 3, "dev-1", "g2", DURABLE);
    assert_true(seat->flush && !seat->resumed && !seat->guessed);
    assert_int_equal(seat->filters, 0);
    assert_int_equal(seat->c2d_qos, 1);
}

/* What is forgotten is not resumed, present or absent. */
static void
forgotten(void **state)
{
    struct lk_seats *s = *state;
    struct lk_seat *seat;

    (void)enter(s, 0, "dev-1", "g1", DURABLE);
    lk_seats_forget(s, "dev-1");
    assert_true(leave(s, 0));
    lk_seats_purge(s);
    assert_null(lk_seats_by_id(s, "dev-1"));

    (void)enter(s, 0, "dev-1", "g1", DURABLE);
    assert_true(leave(s, 0));
    lk_seats_purge(s);
    assert_non_null(lk_seats_by_id(s, "dev-1"));
    lk_seats_forget(s, "dev-1");
    assert_null(lk_seats_by_id(s, "dev-1"));

    seat = enter(s, 0, "dev-1", "g1", DURABLE);
    assert_true(seat->flush && !seat->resumed);
}

static void
count(void *ctx, struct lk_seat *seat)
{
    assert_non_null(seat->client);
    ++*(size_t *)ctx;
}

/* Only seats that somebody has are listed. */
static void
listed(void **state)
{
    struct lk_seats *s = *state;
    size_t seats = 0;

    (void)enter(s, 0, "a", "g", DURABLE);
    (void)enter(s, 1, "b", "g", CLEAN);
    (void)enter(s, 2, "c", "g", DURABLE);
    (void)leave(s, 2);
    lk_seats_each(s, count, &seats);
    assert_int_equal(seats, 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(empty, setup, teardown),
        cmocka_unit_test_setup_teardown(clean_session, setup, teardown),
        cmocka_unit_test_setup_teardown(taken_over, setup, teardown),
        cmocka_unit_test_setup_teardown(durable_session, setup, teardown),
        cmocka_unit_test_setup_teardown(forgotten, setup, teardown),
        cmocka_unit_test_setup_teardown(listed, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
