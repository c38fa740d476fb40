/* Tests of src/net/client.c against a server that answers with whatever bytes a path stands for. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/ssl.h>

#include "crypto/tls.h"
#include "net/client.h"
#include "serving.h"

#define TOTAL_MS 1200u
#define ANSWER_MAX 4096u

static const struct {
    const char *path, *answer;
} answers[] = {
    {"/good", "HTTP/1.1 200 OK\r\nContent-Length: 11\r\nConnection: close\r\n\r\n{\"good\":42}"},
    {"/bad", "HTTP/1.1 400 Bad\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"},
    {"/again", "HTTP/1.1 302 Found\r\nLocation: /good\r\nContent-Length: 0\r\nConnection: "
               "close\r\n\r\n"},
    {"/half", "HTTP/1.1 200 OK\r\nContent-Length: 11\r\nConnection: close\r\n\r\n{\"goo"},
    {"/garbage", "\x7f\x01\x02 nothing that HTTP knows\r\n\r\n"},
    {"/later", "HTTP/1.1 503 Busy\r\nRetry-After: 99999999999\r\nContent-Length: 0\r\n"
               "Connection: close\r\n\r\n"},
    {"/dated", "HTTP/1.1 503 Busy\r\nRetry-After: Fri, 31 Dec 1999 23:59:59 GMT\r\n"
               "Content-Length: 0\r\nConnection: close\r\n\r\n"},
    {"/nothing", ""},
};

/* Before the request itself, for /mirror. */
static const char mirrored[] = "HTTP/1.1 200 OK\r\nRETRY-AFTER:  17 \r\nConnection: close\r\n\r\n";

struct server {
    pthread_t thread;
    int fd;
    uint16_t port;
    SSL_CTX *ctx; /* NULL: plain HTTP */
    atomic_uint requests;
};

static char dir[] = "/tmp/latchkey-client-XXXXXX", ca[64];
static struct server secure, plain;
static struct lk_loop *loop;

/* ---- the server -------------------------------------------------------------------------------
 */

struct peer {
    int fd;
    SSL *ssl;
};

static int
peer_read(struct peer *p, void *buf, int cap)
{
    return p->ssl != NULL ? SSL_read(p->ssl, buf, cap) : (int)recv(p->fd, buf, (size_t)cap, 0);
}

static int
peer_write(struct peer *p, const void *data, size_t len)
{
    if (len == 0) {
        return 1;
    }
    return p->ssl != NULL ? SSL_write(p->ssl, data, (int)len)
                          : (int)send(p->fd, data, len, MSG_NOSIGNAL);
}

/* Write block again and again until the peer has had enough. */
static void
flood(struct peer *p, const char *begin, const char *block)
{
    int ok = peer_write(p, begin, strlen(begin));

    for (unsigned i = 0; ok > 0 && i < 100000; i++) {
        ok = peer_write(p, block, strlen(block));
    }
}

static void
peer_answer(struct peer *p, const char *path, const char *body)
{
    char rest[256], block[1024];

    memset(block, 'x', sizeof(block) - 1);
    block[sizeof(block) - 1] = '\0';
    if (strncmp(path, "/echo", 5) == 0) {
        (void)snprintf(rest, sizeof(rest),
                       "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
                       strlen(body));
        (void)peer_write(p, rest, strlen(rest));
        (void)peer_write(p, body, strlen(body));
    } else if (strncmp(path, "/hang", 5) == 0) {
        while (peer_read(p, rest, sizeof(rest)) > 0) {
        }
    } else if (strncmp(path, "/drip", 5) == 0) {
        int ok = peer_write(p, "HTTP/1.1 200 OK\r\n\r\n", 19);

        for (unsigned i = 0; ok > 0 && i < 100; i++) {
            (void)usleep(50000);
            ok = peer_write(p, "x", 1);
        }
    } else if (strncmp(path, "/huge", 5) == 0) {
        flood(p, "HTTP/1.1 200 OK\r\n\r\n", block);
    } else if (strncmp(path, "/heads", 6) == 0) {
        flood(p, "HTTP/1.1 200 OK\r\n", "X-More: and more\r\n");
    }
    for (size_t i = 0; i < LK_ARRAY_LEN(answers); i++) {
        if (strncmp(path, answers[i].path, strlen(answers[i].path)) == 0) {
            (void)peer_write(p, answers[i].answer, strlen(answers[i].answer));
        }
    }
}

/* One request; its body, if any, comes with the head or right after. */
static void
peer_serve(struct server *s, struct peer *p)
{
    char request[8192] = "";
    size_t len = 0;
    const char *body = NULL, *length;
    int n;

    while ((body == NULL || ((length = strstr(request, "Content-Length: ")) != NULL &&
                             strlen(body) < (size_t)atoi(length + 16))) &&
           len < sizeof(request) - 1 &&
           (n = peer_read(p, request + len, (int)(sizeof(request) - 1 - len))) > 0) {
        len += (size_t)n;
        request[len] = '\0';
        if (request[0] < 'A' || request[0] > 'Z') {
            return; /* a TLS client at the plain server */
        }
        body = strstr(request, "\r\n\r\n");
        body = body == NULL ? NULL : body + 4;
    }
    if (body != NULL && strchr(request, ' ') != NULL) {
        atomic_fetch_add(&s->requests, 1);
        if (strncmp(strchr(request, ' '), " /mirror", 8) == 0) {
            body = request; /* all of it */
            (void)peer_write(p, mirrored, strlen(mirrored));
            (void)peer_write(p, body, len);
        } else {
            peer_answer(p, strchr(request, ' ') + 1, body);
        }
    }
}

static void *
peer_main(void *arg)
{
    struct server *s = ((void **)arg)[0];
    struct peer p = {.fd = (int)(intptr_t)((void **)arg)[1]};

    free(arg);
    if (s->ctx != NULL) {
        p.ssl = SSL_new(s->ctx);
        (void)SSL_set_fd(p.ssl, p.fd);
    }
    if (p.ssl == NULL || SSL_accept(p.ssl) == 1) {
        peer_serve(s, &p);
        if (p.ssl != NULL) {
            (void)SSL_shutdown(p.ssl);
        }
    }
    SSL_free(p.ssl);
    (void)close(p.fd);
    return NULL;
}

static void *
server_main(void *arg)
{
    struct server *s = arg;
    int fd;

    while ((fd = accept(s->fd, NULL, NULL)) >= 0) {
        void **peer = malloc(2 * sizeof(*peer));
        pthread_t thread;

        peer[0] = s;
        peer[1] = (void *)(intptr_t)fd;
        assert_int_equal(pthread_create(&thread, NULL, peer_main, peer), 0);
        assert_int_equal(pthread_detach(thread), 0);
    }
    return NULL;
}

static void
server_start(struct server *s, SSL_CTX *ctx)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);

    s->ctx = ctx;
    s->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(s->fd, 64), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&at, &len), 0);
    s->port = ntohs(at.sin_port);
    assert_int_equal(pthread_create(&s->thread, NULL, server_main, s), 0);
}

static void
server_stop(struct server *s)
{
    (void)shutdown(s->fd, SHUT_RDWR);
    assert_int_equal(pthread_join(s->thread, NULL), 0);
    (void)close(s->fd);
}

static int
start(void **state)
{
    static const char *const names[] = {"localhost", "127.0.0.1"};
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    char path[64];

    assert_non_null(mkdtemp(dir));
    assert_int_equal(lk_tls_make_self_signed(dir, names, 2, 1), LK_OK);
    (void)snprintf(ca, sizeof(ca), "%s/ca.pem", dir);
    (void)snprintf(path, sizeof(path), "%s/server.pem", dir);
    assert_int_equal(SSL_CTX_use_certificate_chain_file(ctx, path), 1);
    (void)snprintf(path, sizeof(path), "%s/server.key", dir);
    assert_int_equal(SSL_CTX_use_PrivateKey_file(ctx, path, SSL_FILETYPE_PEM), 1);
    assert_int_equal(lk_loop_new(&loop), LK_OK);
    server_start(&secure, ctx);
    server_start(&plain, NULL);
    return 0;
}

static int
stop(void **state)
{
    static const char *const files[] = {"ca.pem", "server.pem", "server.key"};
    char path[64];

    server_stop(&secure);
    server_stop(&plain);
    (void)usleep(200000); /* for the last peers, which are detached */
    SSL_CTX_free(secure.ctx);
    lk_loop_free(loop);
    for (size_t i = 0; i < LK_ARRAY_LEN(files); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(dir), 0);
    return 0;
}

/* ---- requests ---------------------------------------------------------------------------------
 */

struct result {
    unsigned *left; /* the loop stops at 0 */
    unsigned calls;
    enum lk_err err;
    int status;
    uint32_t retry_after_s;
    char body[ANSWER_MAX + 1];
    int64_t took_ms, began_ms;
};

static void
keep(void *arg, const struct lk_client_answer *answer)
{
    struct result *r = arg;

    r->calls++;
    r->err = answer->err;
    r->status = answer->status;
    r->retry_after_s = answer->retry_after_s;
    assert_true(answer->body.left <= ANSWER_MAX);
    if (answer->body.left > 0) {
        memcpy(r->body, answer->body.p, answer->body.left);
    }
    r->body[answer->body.left] = '\0';
    r->took_ms = mono_ms() - r->began_ms;
    if (--*r->left == 0) {
        lk_loop_stop(loop);
    }
}

static void
post(struct lk_client *c, const char *url, const char *text, struct result *r, unsigned *left)
{
    struct lk_buf body = LK_BUF_INIT;

    memset(r, 0, sizeof(*r));
    r->left = left;
    r->began_ms = mono_ms();
    ++*left;
    assert_int_equal(lk_buf_puts(&body, text), LK_OK);
    assert_int_equal(lk_client_post(c, url, &body, keep, r), LK_OK);
    assert_int_equal(body.len, 0);
    assert_int_equal(r->calls, 0);
}

/* One request by a client of its own. */
static struct result
ask(const char *url, const char *list, const char *ca_file)
{
    LK_AUTO(lk_allow) struct lk_allow *allow = NULL;
    LK_AUTO(lk_client) struct lk_client *c = NULL;
    struct lk_client_config config = {
        .ca_file = ca_file, .total_ms = TOTAL_MS, .answer_max = ANSWER_MAX};
    struct result r;
    unsigned left = 0;

    assert_int_equal(lk_allow_parse(list, NULL, &allow), LK_OK);
    config.allow = allow;
    assert_int_equal(lk_client_new(loop, &config, &c), LK_OK);
    post(c, url, "{\"ask\":1}", &r, &left);
    assert_int_equal(lk_loop_run(loop), LK_OK);
    assert_int_equal(r.calls, 1);
    assert_int_equal(lk_client_pending(c), 0);
    return r;
}

static const char *
url_of(const struct server *s, const char *path)
{
    static char url[128];

    (void)snprintf(url, sizeof(url), "http%s://127.0.0.1:%u%s", s->ctx != NULL ? "s" : "", s->port,
                   path);
    return url;
}

/* One request of any kind, to any address, by a client that trusts ca_file. */
static enum lk_err
send_one(const struct lk_client_request *req, const char *ca_file, struct result *r)
{
    LK_AUTO(lk_client) struct lk_client *c = NULL;
    struct lk_client_config config = {
        .ca_file = ca_file, .total_ms = TOTAL_MS, .answer_max = ANSWER_MAX};
    unsigned left = 1;
    enum lk_err err;

    memset(r, 0, sizeof(*r));
    r->left = &left;
    assert_int_equal(lk_client_new(loop, &config, &c), LK_OK);
    if ((err = lk_client_send(c, req, keep, r)) == LK_OK) {
        assert_int_equal(lk_loop_run(loop), LK_OK);
        assert_int_equal(r->calls, 1);
    }
    assert_int_equal(lk_client_pending(c), 0);
    return err;
}

/* Every method with its headers as given, a body where there is one, and nothing that was not. */
static void
methods(void **state)
{
    static const char *const names[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
    struct result r;

    for (size_t i = 0; i < LK_ARRAY_LEN(names); i++) {
        bool has_body = i > 0 && i < 4;
        LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;
        struct lk_client_request req = {.method = names[i],
                                        .url = url_of(&secure, "/mirror?a=1"),
                                        .authorization = "SharedAccessSignature sr=a&sig=b",
                                        .if_match = "\"etag==\"",
                                        .body = has_body ? &body : NULL};
        char line[32];

        assert_int_equal(lk_buf_puts(&body, "{\"ask\":1}"), LK_OK);
        assert_int_equal(send_one(&req, ca, &r), LK_OK);
        assert_int_equal(r.status, 200);
        (void)snprintf(line, sizeof(line), "%s /mirror?a=1 HTTP/1.1\r\n", names[i]);
        assert_memory_equal(r.body, line, strlen(line));
        assert_non_null(strstr(r.body, "\r\nAuthorization: SharedAccessSignature sr=a&sig=b\r\n"));
        assert_non_null(strstr(r.body, "\r\nIf-Match: \"etag==\"\r\n"));
        assert_int_equal(strstr(r.body, "{\"ask\":1}") != NULL, has_body);
        assert_int_equal(strstr(r.body, "Content-Type: application/json") != NULL, has_body);
        assert_null(strstr(r.body, "Expect"));
        assert_int_equal(r.retry_after_s, 17);
        assert_int_equal(body.len, has_body ? 0 : 9);
    }
}

/* What cannot be a header or a method is not sent. */
static void
requests_misuse(void **state)
{
    struct lk_client_request req = {.method = "BREW", .url = url_of(&secure, "/mirror")};
    struct result r;

    assert_int_equal(send_one(&req, ca, &r), LK_ERR_ARG);
    req.method = "GET";
    req.if_match = "\"a\"\r\nX-Evil: 1";
    assert_int_equal(send_one(&req, ca, &r), LK_ERR_FORMAT);
    req.if_match = NULL;
    req.authorization = "a\nb";
    assert_int_equal(send_one(&req, ca, &r), LK_ERR_FORMAT);
    req.authorization = NULL;
    req.connect_to = "nowhere";
    assert_int_equal(send_one(&req, ca, &r), LK_ERR_FORMAT);
    req.connect_to = NULL;
    req.url = "https://user@localhost/";
    assert_int_equal(send_one(&req, ca, &r), LK_ERR_FORMAT);
}

/* A time to wait in seconds, a very long one, a date: the last is nothing. */
static void
retry_after(void **state)
{
    struct lk_client_request req = {.method = "GET", .url = url_of(&secure, "/later")};
    struct result r;

    assert_int_equal(send_one(&req, ca, &r), LK_OK);
    assert_int_equal(r.status, 503);
    assert_int_equal(r.retry_after_s, UINT32_MAX);
    req.url = url_of(&secure, "/dated");
    assert_int_equal(send_one(&req, ca, &r), LK_OK);
    assert_int_equal(r.retry_after_s, 0);
    req.url = url_of(&secure, "/good");
    assert_int_equal(send_one(&req, ca, &r), LK_OK);
    assert_int_equal(r.retry_after_s, 0);
}

static void
file_text(const char *path, char *buf, size_t cap)
{
    FILE *f = fopen(path, "re");
    size_t len;

    assert_non_null(f);
    len = fread(buf, 1, cap - 1, f);
    buf[len] = '\0';
    assert_int_equal(fclose(f), 0);
}

/* Another address is connected to; name and certificate stay those of the URL. */
static void
connects_elsewhere(void **state)
{
    char peer[32], pem[8192];
    struct lk_client_request req = {
        .method = "GET", .url = "https://localhost:1/mirror", .connect_to = peer};
    struct result r;

    (void)snprintf(peer, sizeof(peer), "127.0.0.1:%u", secure.port);
    assert_int_equal(send_one(&req, ca, &r), LK_OK);
    assert_int_equal(r.status, 200);
    assert_non_null(strstr(r.body, "\r\nHost: localhost:1\r\n"));
    req.url = "https://other.example.test/mirror";
    assert_int_equal(send_one(&req, ca, &r), LK_OK);
    assert_int_equal(r.err, LK_ERR_TLS);

    /* Authorities of the request's own, instead of the client's and the system's. */
    file_text(ca, pem, sizeof(pem));
    req.url = "https://localhost/mirror";
    assert_int_equal(send_one(&req, NULL, &r), LK_OK);
    assert_int_equal(r.err, LK_ERR_TLS);
    req.ca_pem = pem;
    assert_int_equal(send_one(&req, NULL, &r), LK_OK);
    assert_int_equal(r.status, 200);
    req.ca_pem = "-----BEGIN CERTIFICATE-----\n";
    assert_int_equal(send_one(&req, ca, &r), LK_OK);
    assert_int_equal(r.err, LK_ERR_TLS);
}

/* A name on the list opens nothing when another host is connected to in its stead; that one's own
 * name and address do. */
static void
elsewhere_is_judged(void **state)
{
    static const struct {
        const char *list, *peer;
        bool allowed;
    } cases[] = {
        {"hub.example.test", "192.0.2.1:443", false},
        {"hub.example.test 192.0.2.2", "192.0.2.1:443", false},
        {"hub.example.test", "localhost:443", false},
        {"192.0.2.1", "192.0.2.1:443", true},
    };

    for (size_t i = 0; i < LK_ARRAY_LEN(cases); i++) {
        LK_AUTO(lk_allow) struct lk_allow *allow = NULL;
        LK_AUTO(lk_client) struct lk_client *c = NULL;
        struct lk_client_config config = {.total_ms = 100};
        struct lk_client_request req = {
            .method = "GET", .url = "https://hub.example.test/", .connect_to = cases[i].peer};
        struct result r;
        unsigned left = 1;

        memset(&r, 0, sizeof(r));
        r.left = &left;
        assert_int_equal(lk_allow_parse(cases[i].list, NULL, &allow), LK_OK);
        config.allow = allow;
        assert_int_equal(lk_client_new(loop, &config, &c), LK_OK);
        assert_int_equal(lk_client_send(c, &req, keep, &r), LK_OK);
        assert_int_equal(lk_loop_run(loop), LK_OK);
        assert_int_equal(r.calls, 1);
        assert_int_equal(r.err == LK_ERR_REFUSED, !cases[i].allowed);
    }
}

/* What is no URL of a web server is refused at once, and the body stays with the caller. */
static void
urls(void **state)
{
    static const char *const bad[] = {"",
                                      "hook",
                                      "ftp://h.test/",
                                      "file:///etc/passwd",
                                      "https://",
                                      "https://user:pw@h.test/",
                                      "https://u@h.test/",
                                      "gopher://h.test:70/",
                                      "https://h.test:99999/",
                                      "https://h .test/"};
    LK_AUTO(lk_allow) struct lk_allow *allow = NULL;
    LK_AUTO(lk_client) struct lk_client *c = NULL;
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;
    struct lk_client_config config = {0};

    assert_int_equal(lk_allow_parse("0.0.0.0/0", NULL, &allow), LK_OK);
    config.allow = allow;
    assert_int_equal(lk_client_new(loop, &config, &c), LK_OK);
    assert_int_equal(lk_buf_puts(&body, "{}"), LK_OK);
    for (size_t i = 0; i < LK_ARRAY_LEN(bad); i++) {
        assert_int_equal(lk_client_post(c, bad[i], &body, keep, NULL), LK_ERR_FORMAT);
    }
    assert_int_equal(body.len, 2);
    assert_int_equal(lk_client_pending(c), 0);
    config.ca_file = "/nowhere/ca.pem";
    assert_int_equal(lk_client_new(loop, &config, &c), LK_ERR_IO);
}

/* An answer comes whole, whatever its status; the request arrives as it was. */
static void
answers_arrive(void **state)
{
    struct result r = ask(url_of(&secure, "/good"), "127.0.0.1", ca);

    assert_int_equal(r.err, LK_OK);
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body, "{\"good\":42}");
    r = ask(url_of(&secure, "/echo"), "127.0.0.1", ca);
    assert_string_equal(r.body, "{\"ask\":1}");
    r = ask(url_of(&secure, "/bad"), "127.0.0.1", ca);
    assert_int_equal(r.err, LK_OK);
    assert_int_equal(r.status, 400);
    r = ask(url_of(&plain, "/good"), "127.0.0.1", NULL);
    assert_int_equal(r.status, 200);
}

/* A redirect is an answer like any other: nobody follows it. */
static void
redirects_stay(void **state)
{
    unsigned before = atomic_load(&secure.requests);
    struct result r = ask(url_of(&secure, "/again"), "127.0.0.1", ca);

    assert_int_equal(r.status, 302);
    assert_int_equal(atomic_load(&secure.requests), before + 1);
}

/* Neither an unlisted address nor a name that leads to this machine is connected to. */
static void
addresses_are_judged(void **state)
{
    unsigned before = atomic_load(&secure.requests);
    char url[64];

    assert_int_equal(ask(url_of(&secure, "/good"), "", ca).err, LK_ERR_REFUSED);
    assert_int_equal(ask(url_of(&secure, "/good"), "127.0.0.0/8", ca).err, LK_ERR_REFUSED);
    (void)snprintf(url, sizeof(url), "https://localhost:%u/good", secure.port);
    assert_int_equal(ask(url, "localhost", ca).err, LK_ERR_REFUSED);
    assert_int_equal(atomic_load(&secure.requests), before);
    assert_int_equal(ask(url, "127.0.0.1", ca).status, 200);
    /* Plain HTTP goes nowhere but to loopback, even where the address is listed. */
    assert_int_equal(ask("http://192.0.2.1/good", "192.0.2.0/24", NULL).err, LK_ERR_REFUSED);
}

/* The environment's proxy is nothing to us. */
static void
proxies_are_not_used(void **state)
{
    assert_int_equal(setenv("https_proxy", "http://127.0.0.1:1", 1), 0);
    assert_int_equal(ask(url_of(&secure, "/good"), "127.0.0.1", ca).status, 200);
    assert_int_equal(unsetenv("https_proxy"), 0);
}

/* A certificate of an unknown authority, or no TLS at all. */
static void
certificates_are_verified(void **state)
{
    char url[64];

    assert_int_equal(ask(url_of(&secure, "/good"), "127.0.0.1", NULL).err, LK_ERR_TLS);
    (void)snprintf(url, sizeof(url), "https://127.0.0.1:%u/good", plain.port);
    assert_int_equal(ask(url, "127.0.0.1", ca).err, LK_ERR_TLS);
}

/* The certificate names 127.0.0.1, and not 127.0.0.2 which reaches the same listener's machine. */
static void
certificates_name_the_host(void **state)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002)};
    struct server other = {0};
    socklen_t len = sizeof(at);
    char url[64];

    other.ctx = secure.ctx;
    other.fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(other.fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(other.fd, 8), 0);
    assert_int_equal(getsockname(other.fd, (struct sockaddr *)&at, &len), 0);
    assert_int_equal(pthread_create(&other.thread, NULL, server_main, &other), 0);
    (void)snprintf(url, sizeof(url), "https://127.0.0.2:%u/good", ntohs(at.sin_port));
    assert_int_equal(ask(url, "127.0.0.2", ca).err, LK_ERR_TLS);
    server_stop(&other);
    assert_int_equal(atomic_load(&other.requests), 0);
}

/* A server that is silent, slow, endless, broken off, or none. */
static void
bad_servers_end_in_time(void **state)
{
    static const struct {
        const char *path;
        enum lk_err err;
    } rows[] = {
        {"/hang", LK_ERR_TIMEOUT},     {"/drip", LK_ERR_TIMEOUT},  {"/huge", LK_ERR_LIMIT},
        {"/heads", LK_ERR_LIMIT},      {"/half", LK_ERR_PROTOCOL}, {"/garbage", LK_ERR_PROTOCOL},
        {"/nothing", LK_ERR_PROTOCOL},
    };

    for (size_t i = 0; i < LK_ARRAY_LEN(rows); i++) {
        struct result r = ask(url_of(&secure, rows[i].path), "127.0.0.1", ca);

        if (r.err != rows[i].err || r.status != 0) {
            fail_msg("%s: %s", rows[i].path, lk_err_name(r.err));
        }
        assert_string_equal(r.body, "");
        assert_true(r.took_ms < TOTAL_MS + 1000);
    }
    assert_int_equal(ask("https://127.0.0.1:1/", "127.0.0.1", ca).err, LK_ERR_NETWORK);
}

/* Requests beyond the limits wait their turn, then are refused; one host leaves room for others. */
static void
many_at_once(void **state)
{
    enum { HANG = 6, GOOD = 4 };
    LK_AUTO(lk_allow) struct lk_allow *allow = NULL;
    LK_AUTO(lk_client) struct lk_client *c = NULL;
    LK_AUTO_BUF struct lk_buf body = LK_BUF_INIT;
    struct lk_client_config config = {.ca_file = ca,
                                      .total_ms = TOTAL_MS,
                                      .answer_max = ANSWER_MAX,
                                      .running_max = 3,
                                      .running_per_host = 2,
                                      .waiting_per_host = 4,
                                      .waiting_max = 8};
    static struct result hang[HANG], good[GOOD];
    unsigned left = 0;

    assert_int_equal(lk_allow_parse("127.0.0.1", NULL, &allow), LK_OK);
    config.allow = allow;
    assert_int_equal(lk_client_new(loop, &config, &c), LK_OK);
    for (size_t i = 0; i < HANG; i++) {
        post(c, url_of(&secure, "/hang"), "{}", &hang[i], &left);
    }
    assert_int_equal(lk_client_post(c, url_of(&secure, "/hang"), &body, keep, NULL), LK_ERR_BUSY);
    for (size_t i = 0; i < GOOD; i++) {
        post(c, url_of(&plain, "/good"), "{}", &good[i], &left);
    }
    assert_int_equal(lk_client_pending(c), HANG + GOOD);
    assert_int_equal(lk_loop_run(loop), LK_OK);
    for (size_t i = 0; i < HANG; i++) {
        assert_int_equal(hang[i].calls, 1);
        assert_int_equal(hang[i].err, LK_ERR_TIMEOUT);
        assert_true(hang[i].took_ms < TOTAL_MS + 1000);
    }
    for (size_t i = 0; i < GOOD; i++) {
        assert_int_equal(good[i].status, 200);
        assert_true(good[i].took_ms < TOTAL_MS);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(methods),
        cmocka_unit_test(requests_misuse),
        cmocka_unit_test(retry_after),
        cmocka_unit_test(connects_elsewhere),
        cmocka_unit_test(elsewhere_is_judged),
        cmocka_unit_test(urls),
        cmocka_unit_test(answers_arrive),
        cmocka_unit_test(redirects_stay),
        cmocka_unit_test(addresses_are_judged),
        cmocka_unit_test(proxies_are_not_used),
        cmocka_unit_test(certificates_are_verified),
        cmocka_unit_test(certificates_name_the_host),
        cmocka_unit_test(bad_servers_end_in_time),
        cmocka_unit_test(many_at_once),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
