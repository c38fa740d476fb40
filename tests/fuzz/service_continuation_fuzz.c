/*
 * Tokens with which a query goes on: "query \n token", "query \n id" and "query \n id \n bytes".
 * Nobody makes a token, and nobody changes one; whatever id a query stopped at comes back.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/service_int.h"
#include "base/codec.h"
#include "fuzz.h"

static struct lk_keyring *ring;

static enum lk_err
fill(void *ctx, void *buf, size_t len)
{
    memset(buf, 0x5a, len); /* a crash must come again in the next process */
    return LK_OK;
}

static void
ring_make(void)
{
    const struct lk_rand rnd = {fill, NULL};
    char path[64];

    (void)snprintf(path, sizeof(path), "/tmp/lk-continuation-fuzz-%ld", (long)getpid());
    check(lk_keyring_create(path, 1, &rnd) == LK_OK);
    check(lk_keyring_load(path, NULL, &ring) == LK_OK);
    check(unlink(path) == 0);
}

/* A token that is read is the one that is made for what it says, spelling and all. */
static void
as_token(const struct lk_service_call *c, const char *token)
{
    char after[LK_REGISTRATION_ID_MAX + 1], again[LK_SVC_CONTINUATION_CAP];
    enum lk_err err = lk_svc_continuation_read(c, token, after);

    check(err == LK_OK || err == LK_ERR_REFUSED);
    if (err == LK_OK) {
        check(lk_svc_continuation_make(c, after, again) == LK_OK);
        check(strcmp(again, token) == 0);
    }
}

/* Change the token's bytes as change says: it is refused, unless that is no change. */
static void
changed(const struct lk_service_call *c, const char *token, const char *change)
{
    LK_AUTO_BUF struct lk_buf raw = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    char after[LK_REGISTRATION_ID_MAX + 1];
    size_t changes = 0;

    check(lk_base64_decode(token, strlen(token), &raw) == LK_OK);
    for (size_t i = 0; i < raw.len && change[i] != '\0'; i++) {
        raw.data[i] ^= (uint8_t)(change[i] - '0');
        changes += change[i] != '0';
    }
    check(lk_base64_encode(raw.data, raw.len, &text) == LK_OK);
    check(lk_svc_continuation_read(c, lk_buf_text(&text), after) ==
          (changes == 0 ? LK_OK : LK_ERR_REFUSED));
}

static void
as_id(const struct lk_service_call *c, const char *id, const char *change)
{
    char token[LK_SVC_CONTINUATION_CAP], after[LK_REGISTRATION_ID_MAX + 1];
    struct lk_service_call other = *c;

    if (!lk_registration_id_ok(id, strlen(id))) {
        return;
    }
    check(lk_svc_continuation_make(c, id, token) == LK_OK);
    check(lk_svc_continuation_read(c, token, after) == LK_OK && strcmp(after, id) == 0);
    other.route.collection = LK_SVC_GROUPS;
    check(lk_svc_continuation_read(&other, token, after) == LK_ERR_REFUSED);
    changed(c, token, change);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lk_service_api api = {.clock = &lk_clock_system};
    struct lk_service_call c = {.api = &api};
    char *text = malloc(size + 1), *token, *change = NULL;

    if (ring == NULL) {
        ring_make();
    }
    check(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    if ((token = strchr(text, '\n')) != NULL) {
        *token++ = '\0';
        if ((change = strchr(token, '\n')) != NULL) {
            *change++ = '\0';
        }
        c.ring = ring;
        c.query_text = text;
        as_token(&c, token);
        as_id(&c, token, change != NULL ? change : "");
    }
    free(text);
    return 0;
}
