/*
 * Networks by name: which addresses a request that we send may go to (server-side request forgery),
 * and which network an address belongs to.
 */
#ifndef LK_NET_ALLOW_H
#define LK_NET_ALLOW_H

#include "base/buf.h"

struct sockaddr;

#define LK_NETWORK_CAP 64u /* bytes of "2001:db8::/32" and the like with the NUL */
#define LK_ALLOW_MAX 64u   /* entries */
#define LK_ALLOW_ERROR_CAP 160u

/* Addresses that share their first bits. IPv4 is held as ::ffff:a.b.c.d. */
struct lk_network {
    uint8_t address[16];
    unsigned bits; /* 0..128 */
};

/* "10.1.0.0/16", "2001:db8::/32", or one address. LK_ERR_FORMAT, also for bits beyond the mask. */
LK_MUST_CHECK enum lk_err lk_network_parse(const char *text, struct lk_network *ret);
/* LK_ERR_UNSUPPORTED for another family than IPv4 and IPv6. Both NAT64's and mapped addresses are
 * the IPv4 address in them. */
LK_MUST_CHECK enum lk_err lk_network_of(const struct sockaddr *address, struct lk_network *ret);
bool lk_network_has(const struct lk_network *n, const struct lk_network *address);
bool lk_network_is_loopback(const struct lk_network *address);

struct lk_allow;

/*
 * A list of host names and networks, apart by blanks or commas. Empty: nothing is allowed. error
 * (may be NULL) names the entry. LK_ERR_FORMAT, LK_ERR_LIMIT, LK_ERR_NOMEM.
 */
LK_MUST_CHECK enum lk_err lk_allow_parse(const char *text, char error[LK_ALLOW_ERROR_CAP],
                                         struct lk_allow **ret);
void lk_allow_free(struct lk_allow *a);
LK_DEFINE_AUTO(struct lk_allow, lk_allow, lk_allow_free);

/*
 * Whether a connection to address, which host was resolved to, is allowed: host is on the list, or
 * address is in one of its networks. An address that is loopback, link-local, multicast,
 * unspecified or broadcast must be on the list by itself: no name and no wider network opens it.
 */
bool lk_allow_connect(const struct lk_allow *a, const char *host, const struct lk_network *address);

#endif
