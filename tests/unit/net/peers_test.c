/* Tests of src/net/peers.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cmocka.h>

#include "net/peers.h"

static struct sockaddr_storage
address_of(const char *text)
{
    struct sockaddr_storage a = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&a;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&a;

    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        a.ss_family = AF_INET;
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &v6->sin6_addr), 1);
        a.ss_family = AF_INET6;
    }
    return a;
}

static uint64_t
net_of(const char *text)
{
    const struct sockaddr_storage a = address_of(text);

    return lk_peers_net(&a);
}

/* An IPv4 address is a network of its own, mapped or not; an IPv6 network is 64 bits long. */
static void
networks(void **state)
{
    assert_true(net_of("192.0.2.1") == net_of("::ffff:192.0.2.1"));
    assert_true(net_of("192.0.2.1") != net_of("192.0.2.2"));
    assert_true(net_of("2001:db8:0:1::1") == net_of("2001:db8:0:1:ffff:ffff:ffff:ffff"));
    assert_true(net_of("2001:db8:0:1::1") != net_of("2001:db8:0:2::1"));
    assert_true(net_of("::1") != net_of("0.0.0.1"));
}

/* The text is what inet_ntop() says, and IPv4 looks like IPv4. */
static void
texts(void **state)
{
    static const char *const rows[][2] = {{"192.0.2.1", "192.0.2.1"},
                                          {"::ffff:192.0.2.1", "192.0.2.1"},
                                          {"2001:DB8:0::1", "2001:db8::1"}};
    struct sockaddr_storage none = {0};
    char text[LK_PEER_TEXT_CAP] = "x";

    for (size_t i = 0; i < LK_ARRAY_LEN(rows); i++) {
        const struct sockaddr_storage a = address_of(rows[i][0]);

        lk_peers_text(&a, text);
        assert_string_equal(text, rows[i][1]);
    }
    lk_peers_text(&none, text);
    assert_string_equal(text, "");
}

/* Counting stops at the limit and goes on when one has left. */
static void
counting(void **state)
{
    struct lk_peers p;

    assert_int_equal(lk_peers_init(&p, 4, 1), LK_OK);
    assert_true(lk_peers_add(&p, 7, 2));
    assert_true(lk_peers_add(&p, 7, 2));
    assert_false(lk_peers_add(&p, 7, 2));
    assert_true(lk_peers_add(&p, 8, 2));
    lk_peers_remove(&p, 7);
    assert_true(lk_peers_add(&p, 7, 2));
    lk_peers_fini(&p);
}

/* Thousands of networks that come and go in any order: every count stays right. */
static void
against_a_model(void **state)
{
    enum { NETS = 64, CONNECTIONS = 128, STEPS = 200000 };
    unsigned model[NETS] = {0}, total = 0;
    uint32_t random = 1;
    struct lk_peers p;

    assert_int_equal(lk_peers_init(&p, CONNECTIONS, 99), LK_OK);
    for (unsigned i = 0; i < STEPS; i++) {
        unsigned net;

        random = random * 1664525 + 1013904223;
        net = random >> 16 & (NETS - 1);
        if ((random >> 28 & 1) != 0 && total < CONNECTIONS) {
            bool fits = model[net] < 5;

            assert_int_equal(lk_peers_add(&p, net, 5), fits);
            model[net] += fits ? 1 : 0;
            total += fits ? 1 : 0;
        } else if (model[net] > 0) {
            lk_peers_remove(&p, net);
            model[net]--;
            total--;
        }
    }
    for (unsigned net = 0; net < NETS; net++) {
        for (; model[net] > 0; model[net]--) {
            lk_peers_remove(&p, net);
        }
    }
    for (size_t i = 0; i <= p.mask; i++) {
        assert_int_equal(p.slots[i].count, 0);
    }
    lk_peers_fini(&p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks),
        cmocka_unit_test(texts),
        cmocka_unit_test(counting),
        cmocka_unit_test(against_a_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
