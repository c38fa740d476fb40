/*
 * Linking hubs: changes of what devices are assigned to, by operators on the machine and over the
 * network alike. Each is made inside a write transaction, with its audit record.
 */
#ifndef LK_PROVISION_LINKED_HUB_H
#define LK_PROVISION_LINKED_HUB_H

#include "store/store.h"

#define LK_HUB_WEIGHT_MAX 1000u

/* A hub's name in the form of the store: lower case. LK_ERR_FORMAT when text is no host name with a
 * dot in it: Azure's SDKs take what is before the first dot for the hub's short name. */
LK_MUST_CHECK enum lk_err lk_hub_name_parse(const char *text, char ret[LK_HOST_NAME_MAX + 1]);

struct lk_hub_author {
    const char *actor;      /* of the record */
    const char *request_id; /* of the request; NULL: there is none */
};

/* LK_ERR_EXISTS; LK_ERR_LIMIT: with one more the service would choose none. */
LK_MUST_CHECK enum lk_err lk_linked_hub_add(struct lk_txn *tx, const struct lk_hub_author *by,
                                            const struct lk_hub *hub);

/* What is to change. Zeros: nothing. */
struct lk_hub_change {
    uint32_t weight;
    bool has_allocatable, allocatable;
    const char *region;                     /* "": none; NULL: as it is. Borrowed */
    const struct lk_buf *sealed_connection; /* NULL: as it is. Borrowed */
};
/* *ret becomes what is stored. LK_ERR_NOT_FOUND; LK_ERR_ARG: an embedded hub has no connection. */
LK_MUST_CHECK enum lk_err lk_linked_hub_change(struct lk_txn *tx, const struct lk_hub_author *by,
                                               const char *name, const struct lk_hub_change *change,
                                               struct lk_hub *ret);

struct lk_hub_removal {
    bool force;                /* also when it has identities, which go with it */
    bool tells_enrollments;    /* the record says of how many enrollments: */
    int64_t enrollments_count; /* that name it, as the caller found */
    size_t limit;              /* identities that go in this transaction */
    size_t identities_count;   /* set: those that went; without force, whether there are any */
    bool left;                 /* set: there are more; the hub is still there */
};
/* Call again while there is more left. LK_ERR_NOT_FOUND; LK_ERR_REFUSED: it has identities. */
LK_MUST_CHECK enum lk_err lk_linked_hub_remove(struct lk_txn *tx, const struct lk_hub_author *by,
                                               const char *name, struct lk_hub_removal *r);

#endif
