/*
 * How many connections each network holds: an IPv4 address, or an IPv6 /64, which is what one
 * subscriber has. A fixed table with room for every connection that the server may have.
 */
#ifndef LK_NET_PEERS_H
#define LK_NET_PEERS_H

#include <sys/socket.h>

#include "base/buf.h"

struct lk_peers_slot {
    uint64_t net; /* key of the network */
    uint32_t count;
};

/* Open addressing with linear probing; a slot with count 0 is free. */
struct lk_peers {
    struct lk_peers_slot *slots; /* owned */
    size_t mask;                 /* slots less one; a power of two less one */
    uint64_t seed;               /* so that nobody can choose addresses that collide */
};

/* connections_max connections fit. LK_ERR_NOMEM. */
LK_MUST_CHECK enum lk_err lk_peers_init(struct lk_peers *p, uint32_t connections_max,
                                        uint64_t seed);
void lk_peers_fini(struct lk_peers *p);

/* The network of an address. IPv4 mapped into IPv6 is IPv4. */
uint64_t lk_peers_net(const struct sockaddr_storage *address);

#define LK_PEER_TEXT_CAP 46u /* bytes of a numeric address with its NUL */

/* Write the address in numbers, without port. */
void lk_peers_text(const struct sockaddr_storage *address, char ret[LK_PEER_TEXT_CAP]);

/* Count one more connection of net, unless it has max already; false then. */
bool lk_peers_add(struct lk_peers *p, uint64_t net, uint32_t max);
/* Count one less; net was added before. */
void lk_peers_remove(struct lk_peers *p, uint64_t net);

#endif
