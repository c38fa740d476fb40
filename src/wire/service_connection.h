/*
 * Connection strings of services (service-api.md 12.1) and of hubs (iot-hub.md section 3):
 * "HostName=host[:port];SharedAccessKeyName=policy;SharedAccessKey=base64", of a hub maybe with
 * ";GatewayHostName=host[:port]".
 */
#ifndef LK_WIRE_SERVICE_CONNECTION_H
#define LK_WIRE_SERVICE_CONNECTION_H

#include "wire/ids.h"

#define LK_SVC_CONNECTION_TEXT_MAX 1024u /* bytes of a whole connection string */
#define LK_SVC_CONNECTION_NAME_MAX 64u   /* bytes of a policy's name */
#define LK_SVC_CONNECTION_KEY_MAX 128u   /* bytes of a decoded key */
#define LK_SVC_CONNECTION_ERROR_CAP 160u

struct lk_svc_connection {
    char host[LK_HOST_NAME_MAX + 1]; /* lower case; an IPv6 address without its brackets */
    bool is_ipv6;
    uint16_t port; /* 443 unless it is given */
    char key_name[LK_SVC_CONNECTION_NAME_MAX + 1];
    uint8_t key[LK_SVC_CONNECTION_KEY_MAX]; /* secret */
    size_t key_len;
    /* Where it is reached in its stead, "host:port"; "": there. */
    char gateway[LK_HOST_NAME_MAX + sizeof(":65535")];
};

enum lk_svc_connection_of { LK_SVC_CONNECTION_SERVICE, LK_SVC_CONNECTION_HUB };

/*
 * Read text: the members in any order, names without regard to case, each once, and no others;
 * blanks around members, and a semicolon at the end, are free. A hub is no IPv6 address.
 * LK_ERR_FORMAT with error (may be NULL) in our words, which quote nothing; *ret is then untouched.
 */
LK_MUST_CHECK enum lk_err lk_svc_connection_parse(enum lk_svc_connection_of of, const char *text,
                                                  size_t len,
                                                  char error[LK_SVC_CONNECTION_ERROR_CAP],
                                                  struct lk_svc_connection *ret);

/* Append the string for host ("name" or "name:port"). It is secret: the buffer wipes itself. */
LK_MUST_CHECK enum lk_err lk_svc_connection_format(const char *host, const char *key_name,
                                                   const void *key, size_t key_len,
                                                   struct lk_buf *ret);

/* Forget what c holds. */
void lk_svc_connection_wipe(struct lk_svc_connection *c);
#define LK_AUTO_SVC_CONNECTION __attribute__((cleanup(lk_svc_connection_wipe)))

#endif
