/*
 * Cloud-to-device messages: a queue for each device, kept in the store until the device has them
 * (iot-hub.md sections 5.2, 7 and 11). A message is delivered at least once.
 */
#ifndef LK_HUB_MESSAGE_H
#define LK_HUB_MESSAGE_H

#include "hub/hub.h"

#define LK_C2D_BODY_MAX ((size_t)64 * 1024)       /* bytes, properties included */
#define LK_C2D_QUEUE_MAX 50u                      /* messages of one device */
#define LK_C2D_TTL_MS ((int64_t)48 * 3600 * 1000) /* of a message that names no expiry */
#define LK_C2D_LOCK_MS ((int64_t)60 * 1000) /* a message that was handed out comes again after */
#define LK_C2D_DELIVERIES_MAX 10u           /* hand-outs before it is dropped as dead */

/*
 * Queue m (hub, device_id, properties, body, expires_ms given; seq, times set) and append the event
 * that delivers it. LK_ERR_NOT_FOUND: the device; LK_ERR_LIMIT: the queue is full (403004);
 * LK_ERR_ARG: its size. expires_ms 0, or too late: LK_C2D_TTL_MS from now.
 */
LK_MUST_CHECK enum lk_err lk_c2d_send(struct lk_txn *tx, struct lk_c2d *m);
/*
 * The oldest message that nobody has in hand; it gets a fresh lock. Those past their time or their
 * deliveries are dropped on the way, also when there is none: LK_ERR_NOT_FOUND, after which the
 * caller's job may commit. Write transaction.
 */
LK_MUST_CHECK enum lk_err lk_c2d_take(struct lk_txn *tx, const struct lk_rand *rnd, const char *hub,
                                      const char *device_id, struct lk_c2d *ret);
/* Settle the message that lock stands for. LK_ERR_NOT_FOUND: no such lock, or it ran out (412002).
 */
enum lk_c2d_outcome { LK_C2D_COMPLETE, LK_C2D_REJECT, LK_C2D_ABANDON };
LK_MUST_CHECK enum lk_err lk_c2d_settle(struct lk_txn *tx, const char *hub, const char *device_id,
                                        const char *lock, enum lk_c2d_outcome outcome);

#endif
