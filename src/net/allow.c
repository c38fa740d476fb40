#include "net/allow.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/codec.h"
#include "wire/ids.h"

struct entry {
    char host[LK_HOST_NAME_MAX + 1]; /* "": a network */
    struct lk_network network;
};

struct lk_allow {
    struct entry entries[LK_ALLOW_MAX];
    size_t entries_count;
};

/* ---- networks -------------------------------------------------------------------------------- */

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
static const uint8_t nat64[12] = {0, 0x64, 0xff, 0x9b};

static void
v4_set(struct lk_network *n, const void *address, unsigned bits)
{
    memcpy(n->address, mapped, sizeof(mapped));
    memcpy(n->address + sizeof(mapped), address, 4);
    n->bits = 96 + bits;
}

/* No bit is set after the first n->bits. */
static bool
is_network(const struct lk_network *n)
{
    for (unsigned i = n->bits; i < 128; i++) {
        if ((n->address[i / 8] & (0x80u >> (i % 8))) != 0) {
            return false;
        }
    }
    return true;
}

enum lk_err
lk_network_parse(const char *text, struct lk_network *ret)
{
    const char *slash = strchr(text, '/');
    size_t len = slash == NULL ? strlen(text) : (size_t)(slash - text);
    char address[LK_NETWORK_CAP];
    struct lk_network n = {.bits = 128};
    struct in_addr v4;
    uint64_t bits;

    if (len >= sizeof(address)) {
        return LK_ERR_FORMAT;
    }
    memcpy(address, text, len);
    address[len] = '\0';
    if (inet_pton(AF_INET, address, &v4) == 1) {
        v4_set(&n, &v4, 32);
    } else if (inet_pton(AF_INET6, address, n.address) != 1) {
        return LK_ERR_FORMAT;
    }
    if (slash != NULL) {
        unsigned whole = strchr(address, ':') == NULL ? 32 : 128;

        if (lk_decimal_parse(slash + 1, strlen(slash + 1), &bits) != LK_OK || bits > whole) {
            return LK_ERR_FORMAT;
        }
        n.bits = 128 - whole + (unsigned)bits;
    }
    if (!is_network(&n)) {
        return LK_ERR_FORMAT;
    }
    *ret = n;
    return LK_OK;
}

enum lk_err
lk_network_of(const struct sockaddr *address, struct lk_network *ret)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    if (address->sa_family == AF_INET) {
        memcpy(&v4, address, sizeof(v4));
        v4_set(ret, &v4.sin_addr, 32);
        return LK_OK;
    }
    if (address->sa_family != AF_INET6) {
        return LK_ERR_UNSUPPORTED;
    }
    memcpy(&v6, address, sizeof(v6));
    memcpy(ret->address, &v6.sin6_addr, sizeof(ret->address));
    ret->bits = 128;
    if (memcmp(ret->address, nat64, sizeof(nat64)) == 0) {
        memcpy(ret->address, mapped, sizeof(mapped));
    }
    return LK_OK;
}

bool
lk_network_has(const struct lk_network *n, const struct lk_network *address)
{
    size_t whole = n->bits / 8;
    unsigned rest = n->bits % 8;

    if (address->bits < n->bits || memcmp(n->address, address->address, whole) != 0) {
        return false;
    }
    return rest == 0 || (n->address[whole] ^ address->address[whole]) >> (8 - rest) == 0;
}

static bool
is_in(const struct lk_network *address, const char *const *networks, size_t count)
{
    struct lk_network n;

    for (size_t i = 0; i < count; i++) {
        if (lk_network_parse(networks[i], &n) == LK_OK && lk_network_has(&n, address)) {
            return true;
        }
    }
    return false;
}

bool
lk_network_is_loopback(const struct lk_network *address)
{
    static const char *const loopback[] = {"127.0.0.0/8", "::1"};

    return is_in(address, loopback, LK_ARRAY_LEN(loopback));
}

/* Addresses that mean this machine, its link or nobody. 0.0.0.0 connects to this machine. */
static bool
is_special(const struct lk_network *address)
{
    static const char *const special[] = {"0.0.0.0/8",   "127.0.0.0/8", "169.254.0.0/16",
                                          "224.0.0.0/4", "240.0.0.0/4", "::/96",
                                          "fe80::/10",   "ff00::/8"};

    return is_in(address, special, LK_ARRAY_LEN(special));
}

/* ---- the list -------------------------------------------------------------------------------- */

static enum lk_err
entry_parse(const char *text, struct entry *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (lk_network_parse(text, &ret->network) == LK_OK) {
        return LK_OK;
    }
    /* Digits and dots that are no address would be a name that nobody has. */
    if (!lk_host_name_ok(text, strlen(text)) || strspn(text, "0123456789.") == strlen(text)) {
        return LK_ERR_FORMAT;
    }
    return lk_strcpy(ret->host, sizeof(ret->host), text);
}

static enum lk_err
entries_parse(struct lk_allow *a, char *text, char error[LK_ALLOW_ERROR_CAP])
{
    char *rest = NULL;

    for (char *word = strtok_r(text, ", \t", &rest); word != NULL;
         word = strtok_r(NULL, ", \t", &rest)) {
        if (a->entries_count == LK_ALLOW_MAX) {
            (void)snprintf(error, LK_ALLOW_ERROR_CAP, "more than %u entries", LK_ALLOW_MAX);
            return LK_ERR_LIMIT;
        }
        if (entry_parse(word, &a->entries[a->entries_count]) != LK_OK) {
            (void)snprintf(error, LK_ALLOW_ERROR_CAP,
                           "\"%.64s\" is neither a host name nor a network", word);
            return LK_ERR_FORMAT;
        }
        a->entries_count++;
    }
    return LK_OK;
}

enum lk_err
lk_allow_parse(const char *text, char error[LK_ALLOW_ERROR_CAP], struct lk_allow **ret)
{
    LK_AUTO(lk_allow) struct lk_allow *a = calloc(1, sizeof(*a));
    char unused[LK_ALLOW_ERROR_CAP];
    char *copy = strdup(text);
    enum lk_err err = LK_ERR_NOMEM;

    if (a != NULL && copy != NULL) {
        err = entries_parse(a, copy, error != NULL ? error : unused);
    }
    free(copy);
    if (err != LK_OK) {
        return err;
    }
    *ret = lk_allow_take(&a);
    return LK_OK;
}

void
lk_allow_free(struct lk_allow *a)
{
    free(a);
}

bool
lk_allow_connect(const struct lk_allow *a, const char *host, const struct lk_network *address)
{
    bool special = is_special(address);

    for (size_t i = 0; i < a->entries_count; i++) {
        const struct entry *e = &a->entries[i];

        if (e->host[0] != '\0') {
            if (!special && strcasecmp(e->host, host) == 0) {
                return true;
            }
        } else if (lk_network_has(&e->network, address) && (!special || e->network.bits == 128)) {
            return true;
        }
    }
    return false;
}
