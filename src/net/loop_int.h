/* What the files of net/ see of the loop. */
#ifndef LK_NET_LOOP_INT_H
#define LK_NET_LOOP_INT_H

#include "net/loop.h"

struct event_base;

struct event_base *lk_loop_base(struct lk_loop *loop);

#endif
