/*
 * libcurl's multi interface on our loop: curl says which descriptors and what time it waits for,
 * and is told when they are due. Everything that ends a request happens outside of curl's own
 * callbacks, because those may not call back into it.
 */
#include "net/client.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include <curl/curl.h>

#include "base/codec.h"

#define HOST_CAP 300u /* bytes of "host:port" with brackets and the NUL */

LK_DEFINE_AUTO(CURLU, curl_url, curl_url_cleanup);

struct call {
    TAILQ_ENTRY(call) link; /* in waiting or running */
    struct lk_client *client;
    CURL *easy;         /* NULL while it waits */
    const char *method; /* static storage */
    struct curl_slist *headers, *connect_to;
    char *ca_pem;           /* NULL: the client's */
    struct lk_timer *limit; /* of the whole */
    char *url;
    char host[HOST_CAP]; /* that is connected to, lower case, as the allow-list has it */
    char peer[HOST_CAP]; /* with port: what is counted */
    bool plain;          /* http:// */
    bool refused;        /* an address was not allowed */
    bool too_large;
    size_t head_len;
    uint32_t retry_after_s;
    struct lk_buf body, answer;
    lk_client_done_fn *done;
    void *arg;
};
TAILQ_HEAD(calls, call);

struct lk_client {
    struct lk_loop *loop;
    struct lk_client_config config;
    char *ca_file;
    CURLM *multi;
    struct lk_timer *timer;
    struct calls waiting, running;
    size_t waiting_count, running_count;
};

/* A header may be a credential. */
static void
headers_free(struct curl_slist *headers)
{
    for (struct curl_slist *at = headers; at != NULL; at = at->next) {
        lk_wipe(at->data, strlen(at->data));
    }
    curl_slist_free_all(headers);
}

static void
call_free(struct call *call)
{
    lk_timer_drop(&call->limit);
    if (call->easy != NULL) {
        curl_easy_cleanup(call->easy);
    }
    headers_free(call->headers);
    curl_slist_free_all(call->connect_to);
    free(call->ca_pem);
    free(call->url);
    lk_buf_fini(&call->body);
    lk_buf_fini(&call->answer);
    free(call);
}
LK_DEFINE_AUTO(struct call, call, call_free);

/* ---- what curl asks of us ---------------------------------------------------------------------
 */

/* The judgement on the address that is about to be connected to. */
static curl_socket_t
socket_open(void *ctx, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct call *call = ctx;
    const struct lk_allow *allow = call->client->config.allow;
    struct lk_network to;

    if (purpose != CURLSOCKTYPE_IPCXN || lk_network_of(&address->addr, &to) != LK_OK ||
        (allow != NULL && !lk_allow_connect(allow, call->host, &to)) ||
        (call->plain && !lk_network_is_loopback(&to))) {
        call->refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* Only the form in seconds is understood; a date of a peer's clock is not. */
static void
retry_after_take(struct call *call, const char *line, size_t len)
{
    static const char name[] = "retry-after:";
    size_t at = sizeof(name) - 1;
    uint64_t seconds;

    if (len < at || !lk_ascii_caseeq(line, at, name, at)) {
        return;
    }
    for (; at < len && line[at] == ' '; at++) {
    }
    for (; len > at && (line[len - 1] == '\r' || line[len - 1] == '\n' || line[len - 1] == ' ');
         len--) {
    }
    if (lk_decimal_parse(line + at, len - at, &seconds) == LK_OK) {
        call->retry_after_s = seconds > UINT32_MAX ? UINT32_MAX : (uint32_t)seconds;
    }
}

static size_t
head_write(char *data, size_t size, size_t count, void *ctx)
{
    struct call *call = ctx;
    size_t len = size * count;

    if (len > LK_CLIENT_HEAD_MAX - call->head_len) {
        call->too_large = true;
        return 0;
    }
    call->head_len += len;
    retry_after_take(call, data, len);
    return len;
}

static size_t
body_write(char *data, size_t size, size_t count, void *ctx)
{
    struct call *call = ctx;
    size_t len = size * count;

    if (lk_buf_put(&call->answer, data, len) != LK_OK) {
        call->too_large = true;
        return 0;
    }
    return len;
}

static void calls_collect(struct lk_client *c);

struct socket_watch {
    struct lk_client *client;
    curl_socket_t fd;
    struct lk_watch *watch;
};

static void
socket_due(void *ctx)
{
    const struct socket_watch *s = ctx;
    struct lk_client *c = s->client;
    int running;

    (void)curl_multi_socket_action(c->multi, s->fd, 0, &running); /* 0: curl looks for itself */
    calls_collect(c);
}

static void
timer_due(void *ctx)
{
    struct lk_client *c = ctx;
    int running;

    (void)curl_multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    calls_collect(c);
}

static int
timer_set(CURLM *multi, long ms, void *ctx)
{
    struct lk_client *c = ctx;

    if (ms < 0) {
        lk_timer_disarm(c->timer);
    } else {
        lk_timer_arm(c->timer, ms > 3600000 ? 3600000u : (uint32_t)ms);
    }
    return 0;
}

static struct socket_watch *
socket_watch_new(struct lk_client *c, curl_socket_t fd)
{
    struct socket_watch *s = calloc(1, sizeof(*s));

    if (s == NULL) {
        return NULL;
    }
    *s = (struct socket_watch){.client = c, .fd = fd};
    if (lk_watch_new(c->loop, fd, socket_due, s, &s->watch) != LK_OK) {
        free(s);
        return NULL;
    }
    return s;
}

static int
socket_set(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
    struct lk_client *c = ctx;
    struct socket_watch *s = socket_ctx;

    if (what == CURL_POLL_REMOVE) {
        if (s != NULL) {
            (void)curl_multi_assign(c->multi, fd, NULL); /* fails when curl has forgotten fd */
            lk_watch_free(s->watch);
            free(s);
        }
        return 0;
    }
    if (s == NULL) {
        s = socket_watch_new(c, fd);
        if (s == NULL || curl_multi_assign(c->multi, fd, s) != CURLM_OK) {
            if (s != NULL) {
                lk_watch_free(s->watch);
                free(s);
            }
            return -1; /* the request ends by its time limit */
        }
    }
    return lk_watch_wait(s->watch, (what & CURL_POLL_IN) != 0, (what & CURL_POLL_OUT) != 0) == LK_OK
               ? 0
               : -1;
}

/* ---- the beginning ----------------------------------------------------------------------------
 */

/* The given authorities instead of, not besides, the system's. */
static CURLcode
options_trust(const struct lk_client *c, struct call *call)
{
    CURL *e = call->easy;
    CURLcode rc;

    if (call->ca_pem == NULL && c->ca_file == NULL) {
        return CURLE_OK;
    }
    if ((rc = curl_easy_setopt(e, CURLOPT_CAPATH, NULL)) != CURLE_OK) {
        return rc;
    }
    if (call->ca_pem != NULL) {
        struct curl_blob pem = {call->ca_pem, strlen(call->ca_pem), CURL_BLOB_NOCOPY};

        return curl_easy_setopt(e, CURLOPT_CAINFO_BLOB, &pem);
    }
    return curl_easy_setopt(e, CURLOPT_CAINFO, c->ca_file);
}

/* HTTPS, verified, one address at a time judged; nothing followed, decoded, stored or proxied. */
static CURLcode
options_safe(const struct lk_client *c, struct call *call)
{
    CURL *e = call->easy;
    CURLcode rc;

    if ((rc = curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, call->plain ? "http" : "https")) !=
            CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_PROXY, "")) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_NOPROXY, "*")) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L)) != CURLE_OK ||
        /* Without it a request that ends while its name is looked up would wait for that. */
        (rc = curl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, socket_open)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, call)) != CURLE_OK) {
        return rc;
    }
    return options_trust(c, call);
}

static CURLcode
options_body(const struct call *call)
{
    CURL *e = call->easy;
    CURLcode rc;

    if (strcmp(call->method, "GET") == 0) {
        return curl_easy_setopt(e, CURLOPT_HTTPGET, 1L);
    }
    if ((rc = curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, call->method)) != CURLE_OK ||
        strcmp(call->method, "DELETE") == 0) {
        return rc;
    }
    if ((rc = curl_easy_setopt(e, CURLOPT_POST, 1L)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.len)) !=
            CURLE_OK) {
        return rc;
    }
    return curl_easy_setopt(e, CURLOPT_POSTFIELDS,
                            call->body.len == 0 ? "" : (const char *)call->body.data);
}

static CURLcode
options_request(const struct lk_client *c, struct call *call)
{
    CURL *e = call->easy;
    CURLcode rc;

    if ((rc = curl_easy_setopt(e, CURLOPT_URL, call->url)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_PRIVATE, call)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_USERAGENT, "latchkeyd")) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_HTTPHEADER, call->headers)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)c->config.connect_ms)) !=
            CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, head_write)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_HEADERDATA, call)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, body_write)) != CURLE_OK ||
        (rc = curl_easy_setopt(e, CURLOPT_WRITEDATA, call)) != CURLE_OK ||
        (call->connect_to != NULL &&
         (rc = curl_easy_setopt(e, CURLOPT_CONNECT_TO, call->connect_to)) != CURLE_OK)) {
        return rc;
    }
    return options_body(call);
}

static unsigned
peer_count(const struct calls *calls, const char *peer)
{
    const struct call *call;
    unsigned count = 0;

    TAILQ_FOREACH(call, calls, link)
    {
        count += strcmp(call->peer, peer) == 0;
    }
    return count;
}

/* False: it could not begin for want of memory, and waits for its time to run out. */
static bool
call_start(struct call *call)
{
    struct lk_client *c = call->client;

    call->easy = curl_easy_init();
    if (call->easy == NULL || options_safe(c, call) != CURLE_OK ||
        options_request(c, call) != CURLE_OK ||
        curl_multi_add_handle(c->multi, call->easy) != CURLM_OK) {
        if (call->easy != NULL) {
            curl_easy_cleanup(call->easy);
            call->easy = NULL;
        }
        return false;
    }
    TAILQ_REMOVE(&c->waiting, call, link);
    c->waiting_count--;
    TAILQ_INSERT_TAIL(&c->running, call, link);
    c->running_count++;
    return true;
}

static void
waiting_start(struct lk_client *c)
{
    struct call *call = TAILQ_FIRST(&c->waiting), *next;

    for (; call != NULL && c->running_count < c->config.running_max; call = next) {
        next = TAILQ_NEXT(call, link);
        if (peer_count(&c->running, call->peer) < c->config.running_per_host && !call_start(call)) {
            return;
        }
    }
}

/* ---- the end ----------------------------------------------------------------------------------
 */

/* Out of the lists and of curl, then told. done may post again, so nothing of call is used then. */
static void
call_end(struct call *call, struct lk_client_answer answer)
{
    LK_AUTO(call) struct call *own = call;
    struct lk_client *c = own->client;

    if (own->easy != NULL) {
        (void)curl_multi_remove_handle(c->multi, own->easy);
        TAILQ_REMOVE(&c->running, own, link);
        c->running_count--;
    } else {
        TAILQ_REMOVE(&c->waiting, own, link);
        c->waiting_count--;
    }
    answer.retry_after_s = own->retry_after_s;
    answer.body = lk_reader_of(own->answer.data, answer.err == LK_OK ? own->answer.len : 0);
    own->done(own->arg, &answer);
}

static void
limit_due(void *ctx)
{
    struct call *call = ctx;
    struct lk_client *c = call->client;

    call_end(call,
             (struct lk_client_answer){.err = LK_ERR_TIMEOUT, .detail = "no whole answer in time"});
    waiting_start(c);
}

static enum lk_err
curl_err(const struct call *call, CURLcode rc)
{
    switch (rc) {
    case CURLE_OK:
        return LK_OK;
    case CURLE_COULDNT_CONNECT:
        return call->refused ? LK_ERR_REFUSED : LK_ERR_NETWORK;
    case CURLE_COULDNT_RESOLVE_HOST:
        return LK_ERR_NETWORK;
    case CURLE_OPERATION_TIMEDOUT:
        return LK_ERR_TIMEOUT;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CACERT_BADFILE:
        return LK_ERR_TLS;
    case CURLE_WRITE_ERROR:
        return call->too_large ? LK_ERR_LIMIT : LK_ERR_PROTOCOL;
    case CURLE_OUT_OF_MEMORY:
        return LK_ERR_NOMEM;
    case CURLE_SEND_ERROR:
        return LK_ERR_NETWORK;
    default: /* no HTTP, a half answer, an empty one */
        return LK_ERR_PROTOCOL;
    }
}

/* What curl has finished. */
static void
calls_collect(struct lk_client *c)
{
    CURLMsg *msg;
    int left;

    while ((msg = curl_multi_info_read(c->multi, &left)) != NULL) {
        struct lk_client_answer answer = {.err = LK_OK};
        char *private = NULL;
        struct call *call;
        long status = 0;

        if (msg->msg != CURLMSG_DONE) {
            continue;
        }
        /* Neither fails for an option of this type. */
        (void)curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &private);
        (void)curl_easy_getinfo(msg->easy_handle, CURLINFO_RESPONSE_CODE, &status);
        call = (struct call *)(void *)private;
        answer.err = curl_err(call, msg->data.result);
        answer.status = answer.err == LK_OK ? (int)status : 0;
        answer.detail = answer.err == LK_ERR_REFUSED ? "the address is not on the allow-list"
                        : answer.err == LK_ERR_LIMIT ? "the answer is too large"
                                                     : curl_easy_strerror(msg->data.result);
        call_end(call, answer);
    }
    waiting_start(c);
}

/* ---- a request --------------------------------------------------------------------------------
 */

static CURLUcode
url_part(CURLU *url, CURLUPart part, unsigned flags, char *ret, size_t cap)
{
    char *text = NULL;
    CURLUcode rc = curl_url_get(url, part, &text, flags);

    if (rc == CURLUE_OK && lk_strcpy(ret, cap, text) != LK_OK) {
        rc = CURLUE_MALFORMED_INPUT;
    }
    curl_free(text);
    return rc;
}

static enum lk_err
url_take(struct call *call, const char *text)
{
    LK_AUTO(curl_url) CURLU *url = curl_url();
    char scheme[8], port[8];
    int len;

    if (url == NULL || (call->url = strdup(text)) == NULL) {
        return LK_ERR_NOMEM;
    }
    if (curl_url_set(url, CURLUPART_URL, text, CURLU_DISALLOW_USER) != CURLUE_OK ||
        url_part(url, CURLUPART_SCHEME, 0, scheme, sizeof(scheme)) != CURLUE_OK ||
        url_part(url, CURLUPART_HOST, 0, call->host, sizeof(call->host)) != CURLUE_OK ||
        url_part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT, port, sizeof(port)) != CURLUE_OK ||
        (strcmp(scheme, "https") != 0 && strcmp(scheme, "http") != 0)) {
        return LK_ERR_FORMAT;
    }
    lk_ascii_lower(call->host);
    call->plain = scheme[4] == '\0';
    len = snprintf(call->peer, sizeof(call->peer), "%s:%s", call->host, port);
    return len < 0 || (size_t)len >= sizeof(call->peer) ? LK_ERR_FORMAT : LK_OK;
}

/* name and value, unless there is none. */
static enum lk_err
header_add(struct call *call, const char *name, const char *value)
{
    LK_AUTO_BUF struct lk_buf line = LK_BUF_INIT;
    struct curl_slist *longer;
    const char *text;
    enum lk_err err;

    if (value == NULL) {
        return LK_OK;
    }
    for (const char *at = value; *at != '\0'; at++) {
        if ((unsigned char)*at < ' ' || *at == 0x7f) {
            return LK_ERR_FORMAT;
        }
    }
    if ((err = lk_buf_printf(&line, "%s:%s%s", name, value[0] == '\0' ? "" : " ", value)) !=
        LK_OK) {
        return err;
    }
    if ((text = lk_buf_text(&line)) == NULL ||
        (longer = curl_slist_append(call->headers, text)) == NULL) {
        return LK_ERR_NOMEM;
    }
    call->headers = longer;
    return LK_OK;
}

static enum lk_err
headers_make(struct call *call, const struct lk_client_request *req)
{
    enum lk_err err;

    if ((err = header_add(call, "Accept", "application/json")) != LK_OK ||
        (err = header_add(call, "Expect", "")) != LK_OK ||
        (req->body != NULL &&
         (err = header_add(call, "Content-Type", "application/json; charset=utf-8")) != LK_OK) ||
        (err = header_add(call, "Authorization", req->authorization)) != LK_OK) {
        return err;
    }
    return header_add(call, "If-Match", req->if_match);
}

/* curl's form of "whatever the URL says, connect to". */
static enum lk_err
connect_to_take(struct call *call, const char *peer)
{
    char line[HOST_CAP + 2];
    int len;

    if (peer == NULL) {
        return LK_OK;
    }
    len = snprintf(line, sizeof(line), "::%s", peer);
    if (strchr(peer, ':') == NULL || len < 0 || (size_t)len >= sizeof(line)) {
        return LK_ERR_FORMAT;
    }
    call->connect_to = curl_slist_append(NULL, line);
    if (call->connect_to == NULL) {
        return LK_ERR_NOMEM;
    }
    /* A name on the allow-list vouches for its own addresses, not for another's. */
    memcpy(call->host, peer, (size_t)(strrchr(peer, ':') - peer));
    call->host[strrchr(peer, ':') - peer] = '\0';
    lk_ascii_lower(call->host);
    return LK_OK;
}

static enum lk_err
request_take(struct call *call, const struct lk_client_request *req)
{
    static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
    enum lk_err err;

    for (size_t i = 0; i < LK_ARRAY_LEN(methods); i++) {
        if (strcmp(methods[i], req->method) == 0) {
            call->method = methods[i];
        }
    }
    if (call->method == NULL) {
        return LK_ERR_ARG;
    }
    if ((err = url_take(call, req->url)) != LK_OK ||
        (err = connect_to_take(call, req->connect_to)) != LK_OK ||
        (err = headers_make(call, req)) != LK_OK) {
        return err;
    }
    if (req->ca_pem != NULL && (call->ca_pem = strdup(req->ca_pem)) == NULL) {
        return LK_ERR_NOMEM;
    }
    return LK_OK;
}

enum lk_err
lk_client_send(struct lk_client *c, const struct lk_client_request *req, lk_client_done_fn *done,
               void *arg)
{
    LK_AUTO(call) struct call *call = calloc(1, sizeof(*call));
    enum lk_err err;

    if (call == NULL) {
        return LK_ERR_NOMEM;
    }
    call->client = c;
    call->done = done;
    call->arg = arg;
    call->answer.max = c->config.answer_max;
    if ((err = request_take(call, req)) != LK_OK) {
        return err;
    }
    if (c->waiting_count >= c->config.waiting_max ||
        peer_count(&c->waiting, call->peer) >= c->config.waiting_per_host) {
        return LK_ERR_BUSY;
    }
    if ((err = lk_timer_new(c->loop, limit_due, call, &call->limit)) != LK_OK) {
        return err;
    }
    lk_timer_arm(call->limit, c->config.total_ms);
    if (req->body != NULL) {
        lk_buf_move(&call->body, req->body);
    }
    TAILQ_INSERT_TAIL(&c->waiting, call, link);
    c->waiting_count++;
    (void)call_take(&call);
    waiting_start(c);
    return LK_OK;
}

enum lk_err
lk_client_post(struct lk_client *c, const char *url, struct lk_buf *body, lk_client_done_fn *done,
               void *arg)
{
    const struct lk_client_request req = {.method = "POST", .url = url, .body = body};

    return lk_client_send(c, &req, done, arg);
}

size_t
lk_client_pending(const struct lk_client *c)
{
    return c->waiting_count + c->running_count;
}

/* ---- the object -------------------------------------------------------------------------------
 */

static void
global_init(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT); /* curl_multi_init() fails if this did */
}

static void
default_set(uint32_t *value, uint32_t standard)
{
    *value = *value == 0 ? standard : *value;
}

static void
defaults_set(struct lk_client_config *config)
{
    default_set(&config->connect_ms, 3000);
    default_set(&config->total_ms, 5000);
    default_set(&config->running_max, 64);
    default_set(&config->running_per_host, 16);
    default_set(&config->waiting_per_host, 64);
    default_set(&config->waiting_max, 512);
    default_set(&config->answer_max, 65536);
}

static enum lk_err
multi_open(struct lk_client *c)
{
    c->multi = curl_multi_init();
    if (c->multi == NULL) {
        return LK_ERR_NOMEM;
    }
    if (curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, socket_set) != CURLM_OK ||
        curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c) != CURLM_OK ||
        curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, timer_set) != CURLM_OK ||
        curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c) != CURLM_OK ||
        curl_multi_setopt(c->multi, CURLMOPT_MAXCONNECTS, (long)c->config.running_max) !=
            CURLM_OK) {
        return LK_ERR_NETWORK;
    }
    return LK_OK;
}

enum lk_err
lk_client_new(struct lk_loop *loop, const struct lk_client_config *config, struct lk_client **ret)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    LK_AUTO(lk_client) struct lk_client *c = calloc(1, sizeof(*c));
    enum lk_err err;

    if (c == NULL || pthread_once(&once, global_init) != 0) {
        return LK_ERR_NOMEM;
    }
    c->loop = loop;
    c->config = *config;
    defaults_set(&c->config);
    TAILQ_INIT(&c->waiting);
    TAILQ_INIT(&c->running);
    if (config->ca_file != NULL) {
        if (access(config->ca_file, R_OK) != 0) {
            return LK_ERR_IO;
        }
        if ((c->ca_file = strdup(config->ca_file)) == NULL) {
            return LK_ERR_NOMEM;
        }
    }
    if ((err = lk_timer_new(loop, timer_due, c, &c->timer)) != LK_OK ||
        (err = multi_open(c)) != LK_OK) {
        return err;
    }
    *ret = lk_client_take(&c);
    return LK_OK;
}

void
lk_client_free(struct lk_client *c)
{
    if (c == NULL) {
        return;
    }
    assert(lk_client_pending(c) == 0);
    if (c->multi != NULL) {
        (void)curl_multi_cleanup(c->multi); /* closes kept connections, and so their watches */
    }
    lk_timer_drop(&c->timer);
    free(c->ca_file);
    free(c);
}
