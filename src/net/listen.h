/* Listening sockets from text. */
#ifndef LK_NET_LISTEN_H
#define LK_NET_LISTEN_H

#include "net/http.h"

/* As lk_http_server_config.listen; *ret is a non-blocking descriptor, owned by the caller. */
LK_MUST_CHECK enum lk_err lk_listen(const char *text, bool reuse_port,
                                    char error[LK_HTTP_ERROR_CAP], int *ret);

uint16_t lk_listen_port(int fd);

#endif
