/* What a continuation of a query of the operators' API is good for. */
#include "api/service_int.h"

static struct lk_continuation_of
good_for(const struct lk_service_call *c)
{
    static const char *const names[] = {[LK_SVC_ENROLLMENTS] = "enrollments",
                                        [LK_SVC_GROUPS] = "groups",
                                        [LK_SVC_REGISTRATIONS] = "registrations"};

    return (struct lk_continuation_of){.collection = names[c->route.collection],
                                       .owner = c->scope.id,
                                       .group = c->route.id != NULL ? c->route.id : "",
                                       .query = c->query_text,
                                       .id_ok = lk_registration_id_ok};
}

enum lk_err
lk_svc_continuation_make(const struct lk_service_call *c, const char *after,
                         char ret[LK_SVC_CONTINUATION_CAP])
{
    struct lk_continuation_of of = good_for(c);

    return lk_continuation_make(c->ring, lk_clock_unix_ms(c->api->clock), &of, after, ret);
}

enum lk_err
lk_svc_continuation_read(const struct lk_service_call *c, const char *token,
                         char ret[LK_REGISTRATION_ID_MAX + 1])
{
    struct lk_continuation_of of = good_for(c);

    return lk_continuation_read(c->ring, &of, token, ret);
}
