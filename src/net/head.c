/*
 * The head of a request. http_parser supplies the grammar: methods, targets, Content-Length,
 * Transfer-Encoding, Connection and Upgrade. Debian builds it lenient, so what it lets pass and
 * others may read differently is refused here, before or after it has run.
 */
#include "net/head.h"

#include <stdlib.h>
#include <string.h>

#include <http_parser.h>

#include "base/codec.h"
#include "net/chars.h"

/* ---- the request line --------------------------------------------------------------------------
 */

struct request_line {
    const char *method, *target, *version;
    size_t method_len, target_len, version_len;
};

static bool
is_all(const char *text, size_t len, bool (*is_one)(uint8_t c))
{
    for (size_t i = 0; i < len; i++) {
        if (!is_one((uint8_t)text[i])) {
            return false;
        }
    }
    return len > 0;
}

static bool
text_is(const char *text, size_t len, const char *wanted)
{
    return len == strlen(wanted) && memcmp(text, wanted, len) == 0;
}

/* Exactly two spaces: http_parser takes more, and a line without a version as HTTP/0.9. */
static bool
request_line_split(const char *line, size_t len, struct request_line *ret)
{
    const char *first = memchr(line, ' ', len);
    const char *second =
        first == NULL ? NULL : memchr(first + 1, ' ', len - (size_t)(first + 1 - line));

    if (second == NULL) {
        return false;
    }
    *ret = (struct request_line){.method = line,
                                 .method_len = (size_t)(first - line),
                                 .target = first + 1,
                                 .target_len = (size_t)(second - first - 1),
                                 .version = second + 1,
                                 .version_len = len - (size_t)(second + 1 - line)};
    return is_all(ret->method, ret->method_len, lk_is_token_char) &&
           is_all(ret->target, ret->target_len, lk_is_target_char) &&
           is_all(ret->version, ret->version_len, lk_is_target_char);
}

static void
request_line_judge(struct lk_http_parse *p, const char *line, size_t len)
{
    struct request_line l;

    if (!request_line_split(line, len, &l)) {
        lk_http_parse_refuse(p, 400, "net.request_line");
        return;
    }
    p->is_http_1_0 = text_is(l.version, l.version_len, "HTTP/1.0");
    if (!p->is_http_1_0 && !text_is(l.version, l.version_len, "HTTP/1.1")) {
        bool is_other = l.version_len > 5 && memcmp(l.version, "HTTP/", 5) == 0;

        lk_http_parse_refuse(p, is_other ? 505 : 400, "net.version");
    } else if (text_is(l.method, l.method_len, "CONNECT")) {
        lk_http_parse_refuse(p, 405, "net.connect");
    } else if (l.target[0] != '/') {
        /* Absolute and asterisk forms: a route would then depend on which of two hosts is meant. */
        lk_http_parse_refuse(p, 400, "net.target_form");
    } else if (memchr(l.target, '#', l.target_len) != NULL) {
        lk_http_parse_refuse(p, 400, "net.target_fragment");
    }
}

/* ---- through http_parser -----------------------------------------------------------------------
 */

struct run {
    struct lk_http_parse *p;
    size_t headers_cap;
    const char *url;
    size_t url_len;
    size_t values_count;
    uint64_t content_length;
    bool is_upgrade, is_complete;
};

static int
on_url(http_parser *parser, const char *at, size_t len)
{
    struct run *run = parser->data;

    if (run->url != NULL) {
        return -1; /* the head is in one piece, so each part comes in one piece */
    }
    run->url = at;
    run->url_len = len;
    return 0;
}

static int
on_header_field(http_parser *parser, const char *at, size_t len)
{
    struct run *run = parser->data;
    struct lk_http_parse *p = run->p;

    if (p->headers_count == run->headers_cap || run->values_count != p->headers_count) {
        return -1;
    }
    p->headers[p->headers_count++] = (struct lk_http_header){.name = at, .name_len = len};
    return 0;
}

/* Spaces and tabs after a value do not belong to it (RFC 9112, 5.1); http_parser leaves them on. */
static size_t
trimmed_len(const char *at, size_t len)
{
    while (len > 0 && (at[len - 1] == ' ' || at[len - 1] == '\t')) {
        len--;
    }
    return len;
}

static int
on_header_value(http_parser *parser, const char *at, size_t len)
{
    struct run *run = parser->data;
    struct lk_http_parse *p = run->p;

    if (run->values_count + 1 != p->headers_count) {
        return -1;
    }
    run->values_count++;
    if (len == 0) { /* at is already the next line */
        p->headers[p->headers_count - 1].value = "";
        return 0;
    }
    p->headers[p->headers_count - 1].value = at;
    /* The byte behind is white space or the CR. */
    p->head.data[(const uint8_t *)at - p->head.data + (ptrdiff_t)trimmed_len(at, len)] = '\0';
    return 0;
}

static int
on_headers_complete(http_parser *parser)
{
    struct run *run = parser->data;

    run->content_length = (parser->flags & F_CONTENTLENGTH) != 0 ? parser->content_length : 0;
    run->is_upgrade = parser->upgrade != 0;
    run->is_complete = true;
    run->p->keep_alive = http_should_keep_alive(parser) != 0;
    return 1; /* the body is ours to read */
}

static void
refuse_errno(struct lk_http_parse *p, enum http_errno e)
{
    switch (e) {
    case HPE_INVALID_METHOD:
        lk_http_parse_refuse(p, 501, "net.method");
        break;
    case HPE_HEADER_OVERFLOW:
        lk_http_parse_refuse(p, 431, "net.head_large");
        break;
    case HPE_INVALID_CONTENT_LENGTH:
        lk_http_parse_refuse(p, 400, "net.content_length");
        break;
    case HPE_UNEXPECTED_CONTENT_LENGTH:
        lk_http_parse_refuse(p, 400, "net.framing_conflict");
        break;
    case HPE_INVALID_TRANSFER_ENCODING:
        lk_http_parse_refuse(p, 400, "net.transfer_encoding");
        break;
    default:
        lk_http_parse_refuse(p, 400, "net.syntax");
        break;
    }
}

/* The values are terminated while http_parser runs, on bytes that it has passed already. */
static void
run_parser(struct run *run)
{
    static const http_parser_settings settings = {.on_url = on_url,
                                                  .on_header_field = on_header_field,
                                                  .on_header_value = on_header_value,
                                                  .on_headers_complete = on_headers_complete};
    struct lk_http_parse *p = run->p;
    http_parser parser;
    size_t n;

    http_parser_init(&parser, HTTP_REQUEST);
    parser.data = run;
    n = http_parser_execute(&parser, &settings, (const char *)p->head.data, p->head.len);
    if (HTTP_PARSER_ERRNO(&parser) != HPE_OK) {
        refuse_errno(p, HTTP_PARSER_ERRNO(&parser));
        return;
    }
    if (run->is_upgrade) {
        lk_http_parse_refuse(p, 501, "net.upgrade");
    } else if (n != p->head.len || !run->is_complete || run->url == NULL ||
               run->values_count != p->headers_count) {
        lk_http_parse_refuse(p, 400, "net.syntax");
    }
    p->method_name = http_method_str((enum http_method)parser.method);
    switch ((enum http_method)parser.method) {
    case HTTP_GET:
        p->method = LK_HTTP_GET;
        break;
    case HTTP_HEAD:
        p->method = LK_HTTP_HEAD;
        break;
    case HTTP_PUT:
        p->method = LK_HTTP_PUT;
        break;
    case HTTP_POST:
        p->method = LK_HTTP_POST;
        break;
    case HTTP_PATCH:
        p->method = LK_HTTP_PATCH;
        break;
    case HTTP_DELETE:
        p->method = LK_HTTP_DELETE;
        break;
    case HTTP_OPTIONS:
        p->method = LK_HTTP_OPTIONS;
        break;
    default:
        p->method = LK_HTTP_OTHER;
        break;
    }
}

/* ---- strings -----------------------------------------------------------------------------------
 */

/* Cut names, path and query out of the head. Only after http_parser has passed over it. */
static void
strings_cut(struct run *run)
{
    struct lk_http_parse *p = run->p;
    char *head = (char *)p->head.data;
    char *target = head + (run->url - head);
    char *mark = memchr(target, '?', run->url_len);

    for (size_t i = 0; i < p->headers_count; i++) {
        const struct lk_http_header *h = &p->headers[i];

        if (!is_all(h->name, h->name_len, lk_is_token_char)) {
            lk_http_parse_refuse(p, 400, "net.header_name");
            return;
        }
        head[h->name - head + (ptrdiff_t)h->name_len] = '\0'; /* the colon */
    }
    target[run->url_len] = '\0'; /* the space before the version */
    p->path = target;
    p->query = "";
    if (mark != NULL) {
        *mark = '\0';
        p->query = mark + 1;
    }
}

/* The last header of that name, and how many there are. */
static size_t
header_find(const struct lk_http_parse *p, const char *name, const char **ret_value)
{
    size_t count = 0;

    for (size_t i = 0; i < p->headers_count; i++) {
        const struct lk_http_header *h = &p->headers[i];

        if (lk_ascii_caseeq(h->name, h->name_len, name, strlen(name))) {
            *ret_value = h->value;
            count++;
        }
    }
    return count;
}

/* ---- host --------------------------------------------------------------------------------------
 */

static bool
is_host_char(uint8_t c)
{
    /* reg-name and IPv4 (RFC 3986, 3.2.2) without sub-delims, which no host of ours has */
    return c != '!' && c != '#' && c != '$' && c != '&' && c != '\'' && c != '*' && c != '+' &&
           c != '^' && c != '`' && c != '|' && lk_is_token_char(c);
}

static bool
is_address_char(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == ':' ||
           c == '.';
}

static bool
is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* Bytes of the host at the start of value; SIZE_MAX when value is not host[:port]. */
static size_t
host_len(const char *value)
{
    size_t len = strlen(value);
    const char *bracket = value[0] == '[' ? strchr(value, ']') : NULL;
    size_t host = bracket != NULL ? (size_t)(bracket + 1 - value) : strcspn(value, ":");

    if (bracket != NULL ? !is_all(value + 1, host - 2, is_address_char)
                        : host > 0 && !is_all(value, host, is_host_char)) {
        return SIZE_MAX;
    }
    if (host < len && (value[host] != ':' ||
                       (host + 1 < len && !is_all(value + host + 1, len - host - 1, is_digit)))) {
        return SIZE_MAX;
    }
    return host;
}

static void
host_take(struct lk_http_parse *p)
{
    const char *value = "";
    size_t count = header_find(p, "host", &value);
    size_t len = host_len(value);

    if (count > 1 || (count == 0 && !p->is_http_1_0)) {
        lk_http_parse_refuse(p, 400, count == 0 ? "net.host_missing" : "net.host_twice");
        return;
    }
    if (len >= LK_HTTP_HOST_CAP) { /* SIZE_MAX too */
        lk_http_parse_refuse(p, 400, "net.host");
        return;
    }
    memcpy(p->host, value, len);
    p->host[len] = '\0';
    lk_ascii_lower(p->host);
}

/* ---- framing -----------------------------------------------------------------------------------
 */

/* What is behind the path may take more than others. */
static void
body_max_set(struct lk_http_parse *p)
{
    uint32_t more = p->body_max == NULL ? 0 : p->body_max(p->ctx, p->method, p->host, p->path);

    if (more > p->body.max) {
        p->body.max = more;
    }
}

/* One length or one "chunked", never both or two, even if they agree (RFC 9112, 6.3). */
static void
framing_judge(struct lk_http_parse *p, uint64_t content_length)
{
    const char *length = "", *coding = "";
    size_t lengths = header_find(p, "content-length", &length);
    size_t codings = header_find(p, "transfer-encoding", &coding);

    if (lengths > 1 || codings > 1 || (lengths > 0 && codings > 0)) {
        lk_http_parse_refuse(p, 400, "net.framing_conflict");
    } else if (lengths == 1 && !is_all(length, strlen(length), is_digit)) {
        lk_http_parse_refuse(p, 400, "net.content_length");
    } else if (codings == 1 &&
               (p->is_http_1_0 || !lk_ascii_caseeq(coding, strlen(coding), "chunked", 7))) {
        lk_http_parse_refuse(p, 400, "net.transfer_encoding");
    } else if (codings == 1 || content_length > p->body.max) {
        body_max_set(p); /* most requests are small, and nobody is asked about them */
        if (content_length > p->body.max) {
            lk_http_parse_refuse(p, 413, "net.body_large");
        }
    }
    p->is_chunked = codings == 1;
    p->body_left = content_length;
}

static void
expect_judge(struct lk_http_parse *p)
{
    const char *value = "";
    size_t count = header_find(p, "expect", &value);

    if (count == 0 || p->is_http_1_0) { /* RFC 9110, 10.1.1: HTTP/1.0 has no such thing */
        return;
    }
    if (count > 1 || !lk_ascii_caseeq(value, strlen(value), "100-continue", 12)) {
        lk_http_parse_refuse(p, 417, "net.expect");
        return;
    }
    p->expects_continue = true;
}

void
lk_http_head_parse(struct lk_http_parse *p)
{
    const char *head = (const char *)p->head.data;
    const char *line = head + 2 * (size_t)p->blank_count;
    const char *line_cr = memchr(line, '\r', p->head.len - (size_t)(line - head));
    struct run run = {.p = p, .headers_cap = p->lines_count - 1};

    request_line_judge(p, line, line_cr == NULL ? 0 : (size_t)(line_cr - line));
    if (p->state == LK_PARSE_REFUSED) {
        return;
    }
    p->headers = calloc(run.headers_cap + 1, sizeof(*p->headers));
    if (p->headers == NULL) {
        lk_http_parse_refuse(p, 503, "net.memory");
        return;
    }
    run_parser(&run);
    if (p->state != LK_PARSE_REFUSED) {
        strings_cut(&run);
    }
    if (p->state != LK_PARSE_REFUSED) {
        host_take(p);
    }
    if (p->state != LK_PARSE_REFUSED) {
        framing_judge(p, run.content_length);
    }
    if (p->state != LK_PARSE_REFUSED) {
        expect_judge(p);
    }
    if (p->state != LK_PARSE_REFUSED) {
        p->state = p->is_chunked || p->body_left > 0 ? LK_PARSE_BODY : LK_PARSE_DONE;
    }
}
