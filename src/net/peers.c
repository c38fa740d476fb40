#include "net/peers.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <stdlib.h>

enum lk_err
lk_peers_init(struct lk_peers *p, uint32_t connections_max, uint64_t seed)
{
    size_t slots_count = 16;

    while (slots_count < 2 * (size_t)connections_max) {
        slots_count *= 2;
    }
    p->slots = calloc(slots_count, sizeof(*p->slots));
    p->mask = slots_count - 1;
    p->seed = seed;
    return p->slots != NULL ? LK_OK : LK_ERR_NOMEM;
}

void
lk_peers_fini(struct lk_peers *p)
{
    free(p->slots);
    p->slots = NULL;
}

uint64_t
lk_peers_net(const struct sockaddr_storage *address)
{
    const uint64_t v4_mark = UINT64_C(0xffffffff00000000); /* no unicast IPv6 network begins so */

    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;

        return v4_mark | ntohl(v4->sin_addr.s_addr);
    }
    if (address->ss_family == AF_INET6) {
        const struct in6_addr *v6 = &((const struct sockaddr_in6 *)address)->sin6_addr;

        return IN6_IS_ADDR_V4MAPPED(v6)
                   ? v4_mark | ntohl(v6->s6_addr32[3])
                   : (uint64_t)ntohl(v6->s6_addr32[0]) << 32 | ntohl(v6->s6_addr32[1]);
    }
    return 0;
}

void
lk_peers_text(const struct sockaddr_storage *address, char ret[LK_PEER_TEXT_CAP])
{
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;

    ret[0] = '\0';
    if (address->ss_family == AF_INET) {
        (void)inet_ntop(AF_INET, &v4->sin_addr, ret, LK_PEER_TEXT_CAP);
    } else if (address->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) {
        (void)inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], ret, LK_PEER_TEXT_CAP);
    } else if (address->ss_family == AF_INET6) {
        (void)inet_ntop(AF_INET6, &v6->sin6_addr, ret, LK_PEER_TEXT_CAP);
    }
}

/* Where net would like to be. The multiplier is that of splitmix64. */
static size_t
home_of(const struct lk_peers *p, uint64_t net)
{
    uint64_t h = net ^ p->seed;

    h = (h ^ h >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    h = (h ^ h >> 27) * UINT64_C(0x94d049bb133111eb);
    return (size_t)(h ^ h >> 31) & p->mask;
}

/* The slot of net, or the free one where it belongs. One is always free: half of them are. */
static size_t
slot_find(const struct lk_peers *p, uint64_t net)
{
    size_t i = home_of(p, net);

    while (p->slots[i].count > 0 && p->slots[i].net != net) {
        i = (i + 1) & p->mask;
    }
    return i;
}

bool
lk_peers_add(struct lk_peers *p, uint64_t net, uint32_t max)
{
    struct lk_peers_slot *slot = &p->slots[slot_find(p, net)];

    if (slot->count >= max) {
        return false;
    }
    slot->net = net;
    slot->count++;
    return true;
}

/* Move later slots of the run up, so that a search never meets a gap before what it looks for. */
static void
gap_close(struct lk_peers *p, size_t gap)
{
    for (size_t i = (gap + 1) & p->mask; p->slots[i].count > 0; i = (i + 1) & p->mask) {
        size_t home = home_of(p, p->slots[i].net);

        if (((i - home) & p->mask) >= ((i - gap) & p->mask)) {
            p->slots[gap] = p->slots[i];
            p->slots[i].count = 0;
            gap = i;
        }
    }
}

void
lk_peers_remove(struct lk_peers *p, uint64_t net)
{
    size_t i = slot_find(p, net);

    assert(p->slots[i].count > 0);
    if (--p->slots[i].count == 0) {
        gap_close(p, i);
    }
}
