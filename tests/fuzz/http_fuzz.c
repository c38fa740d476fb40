/*
 * One HTTP request from a stranger's bytes, in pieces of a stranger's choice: the first byte seeds
 * the sizes of the pieces. However it is cut, a request is read the same way as in one piece.
 */
#include <string.h>

#include "fuzz.h"
#include "net/chars.h"
#include "net/parse.h"

static const struct lk_http_limits limits = {.head_max = 2048, .headers_max = 16, .body_max = 1024};

/* Feed in pieces of 1 to 8 bytes drawn from seed, or at once when seed is 0; returns bytes taken.
 */
static size_t
feed(struct lk_http_parse *p, const uint8_t *data, size_t size, uint8_t seed)
{
    struct lk_reader r = lk_reader_of(data, size);
    uint32_t random = seed;

    while (r.left > 0 && p->state != LK_PARSE_DONE && p->state != LK_PARSE_REFUSED) {
        size_t piece = r.left;
        const uint8_t *used;
        size_t n;

        random = random * 1664525 + 1013904223;
        if (seed != 0 && piece > (random >> 29) + 1) {
            piece = (random >> 29) + 1;
        }
        n = lk_http_parse_feed(p, r.p, piece);
        check(n == piece || p->state == LK_PARSE_DONE || p->state == LK_PARSE_REFUSED);
        check(lk_read_bytes(&r, n, &used) == LK_OK);
    }
    return size - r.left;
}

static void
expect_text(const char *text)
{
    for (; *text != '\0'; text++) {
        check(lk_is_field_char((uint8_t)*text));
    }
}

/* What every request that is handed over has, whatever it was made of. */
static void
expect_sound(const struct lk_http_parse *p)
{
    size_t lengths = 0, codings = 0, hosts = 0;

    check(p->path[0] == '/' && p->body.len <= limits.body_max);
    check(p->headers_count <= limits.headers_max);
    check(strpbrk(p->path, " ?#") == NULL && strpbrk(p->query, " #") == NULL);
    expect_text(p->path);
    expect_text(p->query);
    expect_text(p->host);
    for (size_t i = 0; i < p->headers_count; i++) {
        const struct lk_http_header *h = &p->headers[i];

        check(strlen(h->name) == h->name_len && h->name_len > 0);
        expect_text(h->value);
        lengths += strcasecmp(h->name, "content-length") == 0 ? 1 : 0;
        codings += strcasecmp(h->name, "transfer-encoding") == 0 ? 1 : 0;
        hosts += strcasecmp(h->name, "host") == 0 ? 1 : 0;
    }
    check(lengths + codings <= 1 && hosts <= 1);
    check(p->is_http_1_0 || hosts == 1);
    check(lengths + codings > 0 || p->body.len == 0);
}

static bool
is_same(const struct lk_http_parse *a, const struct lk_http_parse *b)
{
    return a->state == b->state && a->status == b->status && a->reason == b->reason &&
           a->body.len == b->body.len &&
           (a->body.len == 0 || memcmp(a->body.data, b->body.data, a->body.len) == 0) &&
           a->headers_count == b->headers_count && strcmp(a->host, b->host) == 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lk_http_parse whole, cut;
    size_t whole_used, cut_used;

    if (size == 0) {
        return 0;
    }
    lk_http_parse_init(&whole, &limits);
    lk_http_parse_init(&cut, &limits);
    whole_used = feed(&whole, data + 1, size - 1, 0);
    cut_used = feed(&cut, data + 1, size - 1, data[0]);
    check(whole.state == cut.state);
    if (whole.state == LK_PARSE_DONE) {
        check(whole_used == cut_used && is_same(&whole, &cut));
        expect_sound(&whole);
    } else if (whole.state == LK_PARSE_REFUSED) {
        check(is_same(&whole, &cut));
        check(whole.status >= 400 && strncmp(whole.reason, "net.", 4) == 0);
    }
    lk_http_parse_fini(&whole);
    lk_http_parse_fini(&cut);
    return 0;
}
