#include "service_stage.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/codec.h"

#define WAIT_MAX_MS 60000

static int64_t
clock_unix_ms(void *ctx)
{
    return ((struct stage *)ctx)->rig.now_ms;
}

static int64_t
clock_mono_ms(void *ctx)
{
    struct stage *s = ctx;

    return s->mono_ms += s->tick_ms;
}

static enum lk_err
policy_run(struct lk_txn *tx, void *arg)
{
    return lk_txn_policy_put(tx, arg);
}

void
stage_become(struct stage *s, const char *name, unsigned rights)
{
    struct lk_policy p = {.rights = 0};

    memset(s->key, 'k', sizeof(s->key));
    assert_int_equal(lk_strcpy(s->policy, sizeof(s->policy), name), LK_OK);
    assert_int_equal(lk_policy_make(s->rig.ring, &lk_rand_system, RIG_SCOPE, name, rights, &p),
                     LK_OK);
    assert_int_equal(lk_policy_key_set(s->rig.ring, &lk_rand_system, LK_POLICY_PRIMARY, s->key,
                                       sizeof(s->key), &p),
                     LK_OK);
    rig_write(&s->rig, policy_run, &p);
    lk_policy_fini(&p);
}

static enum lk_err
host_run(struct lk_txn *tx, void *arg)
{
    struct lk_scope scope = {.id = RIG_SCOPE, .service_host = STAGE_HOST};

    (void)arg;
    return lk_txn_scope_set(tx, &scope);
}

static void
start(struct stage *s, void (*config)(struct lk_service_api_config *config))
{
    struct lk_service_api_config opts;

    rig_write(&s->rig, host_run, NULL);
    stage_become(s, STAGE_POLICY, LK_RIGHTS_ALL);
    s->clock = (struct lk_clock){clock_unix_ms, clock_mono_ms, s};
    opts = (struct lk_service_api_config){.session = s->rig.session,
                                          .clock = &s->clock,
                                          .rnd = &lk_rand_system,
                                          .keyring = s->rig.ring,
                                          .bulk_max = 10};
    if (config != NULL) {
        config(&opts);
    }
    assert_int_equal(lk_service_api_new(&opts, &s->api), LK_OK);
}

void
stage_start(struct stage *s, void (*config)(struct lk_service_api_config *config))
{
    memset(s, 0, sizeof(*s));
    rig_start(&s->rig, NULL);
    start(s, config);
}

void
stage_start_with_one_scope(struct stage *s, void (*config)(struct lk_service_api_config *config))
{
    memset(s, 0, sizeof(*s));
    rig_start_with_one_scope(&s->rig);
    start(s, config);
}

void
stage_stop(struct stage *s)
{
    fake_http_fini(&s->req);
    lk_service_api_free(s->api);
    rig_stop(&s->rig);
}

void
stage_rotate(struct stage *s)
{
    rig_rotate(&s->rig);
    lk_service_api_set_keyring(s->api, s->rig.ring);
}

static void
token_make(struct stage *s)
{
    uint64_t expiry_s = (uint64_t)s->rig.now_ms / 1000 + 600;
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT, token = LK_BUF_INIT;
    uint8_t sig[LK_SAS_SIG_LEN];

    assert_int_equal(lk_sas_string_to_sign(STAGE_HOST, expiry_s, &text), LK_OK);
    assert_int_equal(
        lk_hmac(LK_SHA256, s->key, sizeof(s->key), &LK_PART(text.data, text.len), 1, sig), LK_OK);
    assert_int_equal(lk_sas_format(STAGE_HOST, expiry_s, sig, s->policy, &token), LK_OK);
    assert_non_null(lk_buf_text(&token));
    assert_int_equal(lk_strcpy(s->token, sizeof(s->token), lk_buf_text(&token)), LK_OK);
}

static void
header_set(struct stage *s, size_t *n, const char *name, const char *value)
{
    if (value != NULL) {
        s->req.headers[(*n)++] = (struct fake_header){name, value};
    }
}

void
stage_send(struct stage *s)
{
    struct lk_surface surface = lk_service_api_surface(s->api);

    fake_http_fini(&s->req);
    assert_true(surface.serves(surface.ctx, s->req.host, s->req.path));
    surface.handle(surface.ctx, &s->req);
}

void
stage_begin(struct stage *s, enum lk_http_method method, const char *path, const char *body)
{
    size_t n = 0;

    fake_http_fini(&s->req);
    token_make(s);
    s->req = (struct lk_http_request){.method = method,
                                      .path = path,
                                      .query = "api-version=2021-10-01",
                                      .host = STAGE_HOST,
                                      .body = body,
                                      .body_len = body == NULL ? 0 : strlen(body)};
    header_set(s, &n, "Authorization", s->token);
    header_set(s, &n, "If-Match", s->if_match);
    header_set(s, &n, "x-ms-max-item-count", s->max_item_count);
    header_set(s, &n, "x-ms-continuation", s->continuation);
    stage_send(s);
}

void
stage_dispatch(struct stage *s)
{
    struct pollfd fd = {.fd = lk_session_fd(s->rig.session), .events = POLLIN};

    if (poll(&fd, 1, WAIT_MAX_MS) != 1) {
        fail_msg("the store did not answer");
    }
    lk_session_dispatch(s->rig.session);
}

void
stage_wait(struct stage *s)
{
    while (s->req.answers == 0) {
        stage_dispatch(s);
    }
}

void
stage_ask(struct stage *s, enum lk_http_method method, const char *path, const char *body)
{
    stage_begin(s, method, path, body);
    stage_wait(s);
}

void
stage_expect(struct stage *s, int status)
{
    assert_int_equal(s->req.answers, 1);
    if (s->req.status != status) {
        fail_msg("%d %s", s->req.status, lk_buf_text(&s->req.answer));
    }
}

void
stage_expect_code(struct stage *s, int32_t code)
{
    char header[48];
    json_t *body;

    stage_expect(s, code / 1000);
    body = stage_json(s);
    assert_int_equal(json_integer_value(json_object_get(body, "errorCode")), code);
    assert_non_null(json_string_value(json_object_get(body, "message")));
    json_decref(body);
    (void)snprintf(header, sizeof(header), "x-ms-error-code: %d", (int)code);
    fake_http_expect_header(&s->req, header);
}

json_t *
stage_json(struct stage *s)
{
    char error[LK_JSON_ERROR_CAP] = "";
    json_t *body = NULL;

    if (lk_json_parse(s->req.answer.data, s->req.answer.len, true, error, &body) != LK_OK) {
        fail_msg("%s", error);
    }
    return body;
}

bool
stage_header(struct stage *s, const char *name, char *buf, size_t cap)
{
    const char *line = lk_buf_text(&s->req.answer_heads);
    size_t name_len = strlen(name);

    for (; line[0] != '\0'; line += strcspn(line, "\n") + 1) {
        size_t len = strcspn(line, "\n");

        if (len > name_len + 2 && strncmp(line, name, name_len) == 0 && line[name_len] == ':') {
            assert_true(len - name_len - 2 < cap);
            memcpy(buf, line + name_len + 2, len - name_len - 2);
            buf[len - name_len - 2] = '\0';
            return true;
        }
    }
    return false;
}

struct many {
    struct stage *s;
    const char *prefix;
    size_t count;
};

static enum lk_err
many_run(struct lk_txn *tx, void *arg)
{
    const struct many *m = arg;
    enum lk_err err = LK_OK;

    for (size_t i = 0; err == LK_OK && i < m->count; i++) {
        LK_AUTO_SHARED_KEYS struct lk_shared_keys keys = {.primary = {.len = 0}};
        struct lk_enrollment e;

        lk_enrollment_init(&e);
        (void)snprintf(e.scope, sizeof(e.scope), "%s", RIG_SCOPE);
        (void)snprintf(e.id, sizeof(e.id), "%s%04zu", m->prefix, i);
        e.enabled = i % 2 == 0;
        err =
            lk_shared_keys_seal(m->s->rig.ring, &lk_rand_system, LK_KEYS_OF_ENROLLMENT, &keys, &e);
        if (err == LK_OK) {
            err = lk_txn_enrollment_create(tx, &e, NULL);
        }
        lk_enrollment_fini(&e);
    }
    return err;
}

void
stage_enroll_many(struct stage *s, const char *prefix, size_t count)
{
    struct many m = {s, prefix, count};

    rig_write(&s->rig, many_run, &m);
}
