/* What parse.c and head.c share. */
#ifndef LK_NET_HEAD_H
#define LK_NET_HEAD_H

#include "net/parse.h"

void lk_http_parse_refuse(struct lk_http_parse *p, int status, const char *reason);

/*
 * Judge a complete head, of which parse.c has checked that its lines end in CRLF, hold no control
 * character and are not folded; sets what p says about the request, and its next state.
 */
void lk_http_head_parse(struct lk_http_parse *p);

#endif
