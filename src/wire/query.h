/*
 * The query language of the service API (service-api.md section 8):
 *
 *   query      = "*" / "SELECT" "*" [ "FROM" collection ] [ "WHERE" condition *( "AND" condition )
 * ] condition  = field operator value operator   = "=" / "!=" / "<>" / "<" / "<=" / ">" / ">="
 *   value      = 'text' / "text"        a quote inside is written twice
 *
 * Keywords, collection and field names are compared without regard to case; white space is free and
 * one ";" may end it. The four texts that SDKs send are all in it. Anything else is refused with
 * what was expected and where.
 *
 * A parsed query says nothing about where rows come from: the caller hands each row's texts to
 * lk_query_matches().
 */
#ifndef LK_WIRE_QUERY_H
#define LK_WIRE_QUERY_H

#include "base/buf.h"

#define LK_QUERY_MAX 1024u         /* bytes of a query */
#define LK_QUERY_CONDITIONS_MAX 8u /* conditions of one query */
#define LK_QUERY_VALUE_MAX 256u    /* bytes of a value */
#define LK_QUERY_ERROR_CAP 192u

enum lk_query_collection {
    LK_QUERY_ENROLLMENTS,
    LK_QUERY_GROUPS,
    LK_QUERY_REGISTRATIONS,
    LK_QUERY_DEVICES, /* of a hub (iot-hub.md 2.4) */
    LK_QUERY_COLLECTIONS
};

/* Fields that conditions may name. Each collection has its own subset (query.c). */
enum lk_query_field {
    LK_QF_ID,          /* registrationId, enrollmentGroupId; without regard to case */
    LK_QF_EXACT_ID,    /* deviceId, where it is the key; with regard to case */
    LK_QF_DEVICE_ID,   /* deviceId */
    LK_QF_STATUS,      /* provisioningStatus, a device's status: enabled, disabled */
    LK_QF_ATTESTATION, /* attestation.type or attestationType, authenticationType */
    LK_QF_CONNECTION,  /* connectionState: connected, disconnected */
    LK_QF_ALLOCATION,  /* allocationPolicy */
    LK_QF_HUB,         /* iotHubs (one of them), assignedHub; without regard to case */
    LK_QF_REG_STATUS,  /* status of a registration */
    LK_QF_CREATED,     /* createdDateTimeUtc */
    LK_QF_UPDATED,     /* lastUpdatedDateTimeUtc */
    LK_QF_COUNT
};

enum lk_query_op { LK_QO_EQ, LK_QO_NE, LK_QO_LT, LK_QO_LE, LK_QO_GT, LK_QO_GE };

struct lk_query_condition {
    enum lk_query_field field;
    enum lk_query_op op;
    char text[LK_QUERY_VALUE_MAX + 1]; /* lower case where the field is compared so */
    int64_t time_ms;                   /* LK_QF_CREATED and LK_QF_UPDATED */
};

struct lk_query {
    struct lk_query_condition conditions[LK_QUERY_CONDITIONS_MAX];
    size_t conditions_count;
};

/*
 * Parse a query on a collection. error (may be NULL) is for the client: our words, the position,
 * nothing of the client's text. LK_ERR_FORMAT, LK_ERR_LIMIT.
 */
LK_MUST_CHECK enum lk_err lk_query_parse(enum lk_query_collection collection, const char *text,
                                         size_t len, char error[LK_QUERY_ERROR_CAP],
                                         struct lk_query *ret);

/* What a row has to offer. A NULL text never equals anything. Borrowed for the call. */
struct lk_query_row {
    const char *text[LK_QF_COUNT]; /* by field; LK_QF_HUB here when there is at most one hub */
    const char *const *hubs;       /* LK_QF_HUB of a row with several; NULL otherwise */
    size_t hubs_count;
    int64_t created_ms, updated_ms;
};

/* All conditions hold. A condition on several hubs holds when it does for one of them; "!=" when it
 * does for all. */
bool lk_query_matches(const struct lk_query *q, const struct lk_query_row *row);

/*
 * For a walk over rows in order of their ids (of LK_QF_ID in lower case): the text after which it
 * begins so that no match is missed. id_max is the longest that an id gets, ret holds id_max + 1
 * bytes. No id has a byte over '~' or under ' ' in it.
 */
void lk_query_walk_start(const struct lk_query *q, size_t id_max, char *ret);

/* True when no row with this id (of LK_QF_ID in lower case), or one after it, can match: the walk
 * may stop. */
bool lk_query_id_past(const struct lk_query *q, const char *id);

#endif
