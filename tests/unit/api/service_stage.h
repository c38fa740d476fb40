/*
 * The operators' API on a real store and keyring, asked without a network. What is not what a test
 * asks for ends the test through cmocka.
 */
#ifndef LK_TEST_SERVICE_STAGE_H
#define LK_TEST_SERVICE_STAGE_H

#include "api/service_int.h"
#include "fake_http.h"
#include "support/rig.h"

#define STAGE_HOST "dps.example.test"
#define STAGE_POLICY "operator"
#define STAGE_ANSWER_MAX ((size_t)4 * 1024 * 1024)

struct stage {
    struct rig rig;
    struct lk_clock clock; /* the rig's, but that mono moves by tick_ms whenever it is read */
    int64_t mono_ms, tick_ms;
    struct lk_service_api *api;
    char policy[LK_POLICY_NAME_MAX + 1]; /* that asks: STAGE_POLICY, which has every right */
    uint8_t key[LK_POLICY_KEY_LEN];      /* of it */
    struct lk_http_request req;          /* the latest */
    char token[LK_SAS_MAX + 1];
    const char *max_item_count, *continuation, *if_match; /* headers of what is asked next */
};

/* config (may be NULL) may change what the API is made with. */
void stage_start(struct stage *s, void (*config)(struct lk_service_api_config *config));
/* The same with one scope only. */
void stage_start_with_one_scope(struct stage *s,
                                void (*config)(struct lk_service_api_config *config));
void stage_stop(struct stage *s);
/* latchkey key rotate, and the API using the new ring. */
void stage_rotate(struct stage *s);

/* Add a policy with these rights, and be it from now on. */
void stage_become(struct stage *s, const char *name, unsigned rights);
/* Ask under s->policy (body NULL: none) and wait for the answer, which is in s->req. */
void stage_ask(struct stage *s, enum lk_http_method method, const char *path, const char *body);
/* The same without waiting, and waiting. */
void stage_begin(struct stage *s, enum lk_http_method method, const char *path, const char *body);
void stage_wait(struct stage *s);
/* Wait for the store once, and hand out what it has done. */
void stage_dispatch(struct stage *s);
/* Ask with what s->req holds: for requests that are put together by hand. */
void stage_send(struct stage *s);

/* Fail unless the latest answer has this status and, in an error's body, this code. */
void stage_expect(struct stage *s, int status);
void stage_expect_code(struct stage *s, int32_t code);
/* The latest answer's body, owned by the caller. */
json_t *stage_json(struct stage *s);
/* The value of a header of the latest answer in buf; false when it has none. */
bool stage_header(struct stage *s, const char *name, char *buf, size_t cap);

/* count individual enrollments with shared keys, "PREFIX0000" and so on, those with an odd
 * number disabled. */
void stage_enroll_many(struct stage *s, const char *prefix, size_t count);

#endif
