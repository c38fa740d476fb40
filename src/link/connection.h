/*
 * How a hub elsewhere is reached: its connection string (iot-hub.md section 3), the authorities
 * that may have signed its certificate, and both at rest.
 */
#ifndef LK_LINK_CONNECTION_H
#define LK_LINK_CONNECTION_H

#include "crypto/keyring.h"
#include "store/store.h"
#include "wire/service_connection.h"

#define LK_HUB_CONNECTION_CA_MAX ((size_t)64 * 1024) /* bytes of PEM */
#define LK_HUB_CONNECTION_ERROR_CAP LK_SVC_CONNECTION_ERROR_CAP
#define LK_HUB_CONNECTION_PEER_CAP (LK_HOST_NAME_MAX + 7u) /* "host:port" with the NUL */

/* Secret: hand it to lk_hub_connection_fini() on every path. */
struct lk_hub_connection {
    char host[LK_HOST_NAME_MAX + 1]; /* lower case: the hub's name */
    uint16_t port;
    char gateway[LK_HUB_CONNECTION_PEER_CAP]; /* where it is reached in its stead; "": there */
    char policy[LK_POLICY_NAME_MAX + 1];
    uint8_t key[LK_SVC_CONNECTION_KEY_MAX];
    size_t key_len;
    struct lk_buf ca; /* PEM; empty: the service's own choice */
    bool is_remote;   /* it came over the network: only what hub-allow lists is called by it */
};
void lk_hub_connection_fini(struct lk_hub_connection *c);

/* As lk_svc_connection_parse() of a hub. ret is initialised by the caller. */
LK_MUST_CHECK enum lk_err lk_hub_connection_parse(const char *text, size_t len,
                                                  char error[LK_HUB_CONNECTION_ERROR_CAP],
                                                  struct lk_hub_connection *ret);

/* What is kept of a hub's connection; all borrowed. */
struct lk_hub_connection_text {
    const char *text; /* the string as it was given */
    size_t len;
    const struct lk_buf *ca; /* PEM, at most LK_HUB_CONNECTION_CA_MAX; may be empty */
    bool is_remote;          /* as above */
};
/* Whether it is one of the hub of this name, with certificates in the PEM. LK_ERR_FORMAT: error
 * says what is wrong, and quotes nothing. */
LK_MUST_CHECK enum lk_err lk_hub_connection_check(const struct lk_hub_connection_text *from,
                                                  const char *hub,
                                                  char error[LK_HUB_CONNECTION_ERROR_CAP]);
/* Seal it for a hub of this name. */
LK_MUST_CHECK enum lk_err lk_hub_connection_seal(const struct lk_keyring *ring,
                                                 const struct lk_rand *rnd, const char *hub,
                                                 const struct lk_hub_connection_text *from,
                                                 struct lk_buf *ret);
/* LK_ERR_CONFIG: the keyring lacks the key; LK_ERR_STORE: not what was sealed for this hub. */
LK_MUST_CHECK enum lk_err lk_hub_connection_open(const struct lk_keyring *ring,
                                                 const struct lk_hub *hub,
                                                 struct lk_hub_connection *ret);

/* Append an Authorization header's value that is good for an hour. */
LK_MUST_CHECK enum lk_err lk_hub_connection_token(const struct lk_hub_connection *c, int64_t now_ms,
                                                  struct lk_buf *ret);

#endif
