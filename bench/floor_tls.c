/* The floor's TLS handshakes, in memory and on a connection. */
#include "floor.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include "bench.h"

/* Bytes of a registration's requests and answers, heads included: challenge, register, poll. */
static const struct {
    int request, answer;
} exchanges[] = {{1118, 1413}, {1286, 373}, {459, 1703}};
#define EXCHANGES_COUNT (sizeof(exchanges) / sizeof(exchanges[0]))
#define MESSAGE_MAX 2048

static void
certify(SSL_CTX *ctx)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_NAME *name;

    must(key != NULL && cert != NULL, "making a certificate");
    name = X509_get_subject_name(cert);
    must(X509_set_version(cert, X509_VERSION_3) == 1 &&
             X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)"localhost", -1,
                                        -1, 0) == 1 &&
             X509_set_issuer_name(cert, name) == 1 &&
             X509_gmtime_adj(X509_getm_notBefore(cert), -60) != NULL &&
             X509_gmtime_adj(X509_getm_notAfter(cert), 3600) != NULL &&
             X509_set_pubkey(cert, key) == 1 && X509_sign(cert, key, EVP_sha256()) > 0 &&
             SSL_CTX_use_certificate(ctx, cert) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1,
         "making a certificate");
    X509_free(cert);
    EVP_PKEY_free(key);
}

struct contexts {
    SSL_CTX *server, *client;
};

static struct contexts
contexts_make(void)
{
    struct contexts c = {SSL_CTX_new(TLS_server_method()), SSL_CTX_new(TLS_client_method())};

    must(c.server != NULL && c.client != NULL && SSL_CTX_set_num_tickets(c.server, 0) == 1 &&
             SSL_CTX_set_ciphersuites(c.server, "TLS_AES_128_GCM_SHA256") == 1 &&
             SSL_CTX_set_min_proto_version(c.client, TLS1_3_VERSION) == 1,
         "preparing TLS");
    (void)SSL_CTX_set_read_ahead(c.server, 1); /* one read(2) a record instead of two */
    certify(c.server);
    return c;
}

static void
contexts_free(struct contexts *c)
{
    SSL_CTX_free(c->server);
    SSL_CTX_free(c->client);
}

/* What reading the clock adds to a span. */
static double
clock_read_us(void)
{
    const double began_us = thread_cpu_us();

    for (unsigned i = 0; i < 1000; i++) {
        (void)thread_cpu_us();
    }
    return (thread_cpu_us() - began_us) / 1000;
}

/* The server's time: what passes between begin and end, as often as they come. */
struct meter {
    double began_us, sum_us;
    unsigned spans;
};

static void
meter_begin(struct meter *m)
{
    m->began_us = thread_cpu_us();
}

static void
meter_end(struct meter *m)
{
    m->sum_us += thread_cpu_us() - m->began_us;
    m->spans++;
}

/* Repeat one until it has been measured for a slice. */
static double
average_us(struct contexts *c, void (*one)(struct contexts *, void *, struct meter *), void *arg)
{
    const double read_us = clock_read_us();
    struct meter m = {0};
    unsigned count = 0;

    one(c, arg, &m); /* warm */
    m = (struct meter){0};
    for (; m.sum_us < FLOOR_SLICE_US; count++) {
        one(c, arg, &m);
    }
    return (m.sum_us - m.spans * read_us) / count;
}

/* ---- in memory ---------------------------------------------------------------------------------
 */

/* Move what one side wrote to where the other reads. */
static void
carry(SSL *from, SSL *to)
{
    uint8_t bytes[8192];
    int len;

    while ((len = BIO_read(SSL_get_wbio(from), bytes, sizeof(bytes))) > 0) {
        must(BIO_write(SSL_get_rbio(to), bytes, len) == len, "carrying records");
    }
}

static SSL *
session(SSL_CTX *ctx)
{
    SSL *ssl = SSL_new(ctx);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());

    must(ssl != NULL && in != NULL && out != NULL, "making a session");
    SSL_set_bio(ssl, in, out);
    return ssl;
}

static void
handshake_once(struct contexts *c, void *arg, struct meter *m)
{
    SSL *server, *client;

    (void)arg;
    meter_begin(m);
    server = session(c->server);
    meter_end(m);
    client = session(c->client);
    SSL_set_accept_state(server);
    SSL_set_connect_state(client);
    while (!SSL_is_init_finished(server) || !SSL_is_init_finished(client)) {
        (void)SSL_do_handshake(client);
        carry(client, server);
        meter_begin(m);
        (void)SSL_do_handshake(server);
        meter_end(m);
        carry(server, client);
    }
    must(strcmp(SSL_get_version(server), "TLSv1.3") == 0, "TLS 1.3");
    SSL_free(client);
    meter_begin(m);
    SSL_free(server);
    meter_end(m);
}

double
floor_handshake_us(void)
{
    struct contexts c = contexts_make();
    double us = average_us(&c, handshake_once, NULL);

    contexts_free(&c);
    return us;
}

/* ---- on a connection ---------------------------------------------------------------------------
 */

struct listener {
    int fd;
    struct sockaddr_in address;
};

static struct listener
listen_loopback(void)
{
    struct listener l = {socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
                         {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}}};
    socklen_t len = sizeof(l.address);

    must(l.fd >= 0 && bind(l.fd, (struct sockaddr *)&l.address, len) == 0 &&
             listen(l.fd, 16) == 0 && getsockname(l.fd, (struct sockaddr *)&l.address, &len) == 0,
         "listening");
    return l;
}

static SSL *
session_on(SSL_CTX *ctx, int fd)
{
    SSL *ssl = SSL_new(ctx);

    must(ssl != NULL && SSL_set_fd(ssl, fd) == 1, "making a session");
    return ssl;
}

static SSL *
accept_one(struct contexts *c, int listener, struct meter *m)
{
    const int on = 1;
    SSL *ssl;
    int fd;

    meter_begin(m);
    fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    must(fd >= 0 && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0, "accepting");
    ssl = session_on(c->server, fd);
    SSL_set_accept_state(ssl);
    meter_end(m);
    return ssl;
}

static SSL *
connect_one(struct contexts *c, const struct listener *l)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;
    SSL *ssl;

    must(fd >= 0 && setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0 &&
             connect(fd, (const struct sockaddr *)&l->address, sizeof(l->address)) == 0 &&
             fcntl(fd, F_SETFL, O_NONBLOCK) == 0,
         "connecting");
    ssl = session_on(c->client, fd);
    SSL_set_connect_state(ssl);
    return ssl;
}

static void
shake_hands(SSL *server, SSL *client, struct meter *m)
{
    while (!SSL_is_init_finished(server) || !SSL_is_init_finished(client)) {
        (void)SSL_do_handshake(client);
        meter_begin(m);
        (void)SSL_do_handshake(server);
        meter_end(m);
    }
}

/* Read len bytes, which are on their way already. */
static void
read_all(SSL *ssl, int len)
{
    uint8_t bytes[MESSAGE_MAX];

    while (len > 0) {
        int n = SSL_read(ssl, bytes, (int)sizeof(bytes));

        must(n > 0 || SSL_get_error(ssl, n) == SSL_ERROR_WANT_READ, "reading");
        len -= n > 0 ? n : 0;
    }
}

static void
exchange(SSL *server, SSL *client, int request_len, int answer_len, struct meter *m)
{
    static const uint8_t bytes[MESSAGE_MAX];

    must(SSL_write(client, bytes, request_len) == request_len, "asking");
    meter_begin(m);
    read_all(server, request_len);
    must(SSL_write(server, bytes, answer_len) == answer_len, "answering");
    meter_end(m);
    read_all(client, answer_len);
}

static void
connection_once(struct contexts *c, void *arg, struct meter *m)
{
    const struct listener *l = arg;
    SSL *client = connect_one(c, l), *server = accept_one(c, l->fd, m);
    uint8_t byte;

    shake_hands(server, client, m);
    for (unsigned i = 0; i < EXCHANGES_COUNT; i++) {
        exchange(server, client, exchanges[i].request, exchanges[i].answer, m);
    }
    (void)SSL_shutdown(client);
    (void)close(SSL_get_fd(client));
    SSL_free(client);
    meter_begin(m);
    must(SSL_read(server, &byte, 1) <= 0, "the end");
    (void)close(SSL_get_fd(server));
    SSL_free(server);
    meter_end(m);
}

double
floor_connection_us(void)
{
    struct contexts c = contexts_make();
    struct listener l = listen_loopback();
    double us = average_us(&c, connection_once, &l);

    (void)close(l.fd);
    contexts_free(&c);
    return us;
}
