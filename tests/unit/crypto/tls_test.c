/* Tests of src/crypto/tls.c and src/crypto/selfsigned.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "crypto/tls.h"

#define PATH_CAP 128u

static char dir[] = "/tmp/latchkey-tls-XXXXXX";
static const char *const files[] = {"ca.pem", "server.pem", "server.key"};

static const char *
path_of(const char *sub, const char *file)
{
    static char paths[4][PATH_CAP];
    static unsigned next;
    char *path = paths[next++ % LK_ARRAY_LEN(paths)];
    int len = snprintf(path, PATH_CAP, "%s/%s%s", dir, sub, file);

    assert_true(len > 0 && (unsigned)len < PATH_CAP);
    return path;
}

static void
make(const char *sub, const char *const *names, size_t names_count, unsigned days)
{
    assert_int_equal(mkdir(path_of(sub, ""), 0700), 0);
    assert_int_equal(lk_tls_make_self_signed(path_of(sub, ""), names, names_count, days), LK_OK);
}

static int
set_up(void **state)
{
    static const char *const names[] = {"provision.example.test", "127.0.0.1", "::1", "localhost"};

    assert_non_null(mkdtemp(dir));
    make("a", names, LK_ARRAY_LEN(names), 30);
    make("b", names, 1, 30);
    return 0;
}

static int
tear_down(void **state)
{
    for (const char *sub = "abc"; *sub != '\0'; sub++) {
        const char name[] = {*sub, '\0'};
        const char slash[] = {*sub, '/', '\0'};

        for (size_t i = 0; i < LK_ARRAY_LEN(files); i++) {
            (void)unlink(path_of(slash, files[i]));
        }
        (void)rmdir(path_of(name, ""));
    }
    (void)unlink(path_of("", "expired.pem"));
    (void)unlink(path_of("", "junk.pem"));
    return rmdir(dir);
}

static X509 *
cert_load(const char *path)
{
    FILE *f = fopen(path, "r");
    X509 *cert;

    assert_non_null(f);
    cert = PEM_read_X509(f, NULL, NULL, NULL);
    assert_non_null(cert);
    assert_int_equal(fclose(f), 0);
    return cert;
}

/* The authority signs the leaf, for every name and address that was asked for and for no other. */
static void
self_signed_verifies(void **state)
{
    X509 *ca = cert_load(path_of("a/", "ca.pem"));
    X509 *leaf = cert_load(path_of("a/", "server.pem"));
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();

    assert_int_equal(X509_STORE_add_cert(store, ca), 1);
    assert_int_equal(X509_STORE_CTX_init(ctx, store, leaf, NULL), 1);
    X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER);
    X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_X509_STRICT);
    assert_int_equal(X509_verify_cert(ctx), 1);
    assert_int_equal(X509_check_host(leaf, "provision.example.test", 0, 0, NULL), 1);
    assert_int_equal(X509_check_host(leaf, "localhost", 0, 0, NULL), 1);
    assert_int_equal(X509_check_ip_asc(leaf, "127.0.0.1", 0), 1);
    assert_int_equal(X509_check_ip_asc(leaf, "::1", 0), 1);
    assert_int_equal(X509_check_host(leaf, "other.example.test", 0, 0, NULL), 0);
    assert_int_equal(X509_check_ip_asc(leaf, "127.0.0.2", 0), 0);
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    X509_free(leaf);
    X509_free(ca);
}

/* Only the owner may read the key; what exists is never overwritten, not even in part. */
static void
self_signed_files(void **state)
{
    static const char *const names[] = {"h"};
    struct stat st;

    assert_int_equal(stat(path_of("a/", "server.key"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(mkdir(path_of("c", ""), 0700), 0);
    assert_int_equal(link(path_of("a/", "ca.pem"), path_of("c/", "ca.pem")), 0);
    assert_int_equal(lk_tls_make_self_signed(path_of("c", ""), names, 1, 1), LK_ERR_EXISTS);
    assert_int_equal(access(path_of("c/", "server.key"), F_OK), -1);
    assert_int_equal(lk_tls_make_self_signed(path_of("none", ""), names, 1, 1), LK_ERR_IO);
}

/* No name, too many, one that is none, no days, too many days. */
static void
self_signed_misuse(void **state)
{
    const char *const good[] = {"h"};
    const char *const comma[] = {"h,DNS:evil"};
    const char *const empty[] = {"h", ""};
    const char *many[LK_TLS_NAMES_MAX + 1];
    const char *where = path_of("none", "");
    char longest[255];

    for (size_t i = 0; i < LK_ARRAY_LEN(many); i++) {
        many[i] = "h";
    }
    memset(longest, 'a', 254);
    longest[254] = '\0';
    many[0] = longest;
    assert_int_equal(lk_tls_make_self_signed(where, good, 0, 1), LK_ERR_ARG);
    assert_int_equal(lk_tls_make_self_signed(where, many, 1, 1), LK_ERR_ARG);
    many[0] = "h";
    assert_int_equal(lk_tls_make_self_signed(where, many, LK_ARRAY_LEN(many), 1), LK_ERR_ARG);
    assert_int_equal(lk_tls_make_self_signed(where, comma, 1, 1), LK_ERR_ARG);
    assert_int_equal(lk_tls_make_self_signed(where, empty, 2, 1), LK_ERR_ARG);
    assert_int_equal(lk_tls_make_self_signed(where, good, 1, 0), LK_ERR_ARG);
    assert_int_equal(lk_tls_make_self_signed(where, good, 1, LK_TLS_DAYS_MAX + 1), LK_ERR_ARG);
}

static enum lk_err
load(const char *cert, const char *key, char error[LK_TLS_ERROR_CAP], struct lk_tls **ret)
{
    const struct lk_tls_config config = {.cert_file = cert, .key_file = key};

    error[0] = '\0';
    return lk_tls_new(&config, error, ret);
}

/* A missing file, a file that is no PEM, and a key of another certificate are told apart. */
static void
load_refuses(void **state)
{
    char error[LK_TLS_ERROR_CAP];
    struct lk_tls *tls = NULL;
    FILE *junk = fopen(path_of("", "junk.pem"), "w");

    assert_non_null(junk);
    assert_true(fputs("not a certificate\n", junk) >= 0);
    assert_int_equal(fclose(junk), 0);
    assert_int_equal(load(path_of("a/", "no.pem"), path_of("a/", "server.key"), error, &tls),
                     LK_ERR_IO);
    assert_non_null(strstr(error, "no.pem: No such file"));
    assert_int_equal(load(path_of("a/", "server.pem"), path_of("a/", "no.key"), error, &tls),
                     LK_ERR_IO);
    assert_non_null(strstr(error, "no.key"));
    assert_int_equal(load(path_of("", "junk.pem"), path_of("a/", "server.key"), error, &tls),
                     LK_ERR_CONFIG);
    assert_non_null(strstr(error, "junk.pem: "));
    assert_int_equal(load(path_of("a/", "server.pem"), path_of("b/", "server.key"), error, &tls),
                     LK_ERR_CONFIG);
    assert_non_null(strstr(error, "b/server.key: "));
    assert_int_equal(load(NULL, NULL, error, &tls), LK_ERR_IO);
    assert_null(tls);
}

/* Rewrite a certificate's dates and sign it with its own key, which serves for this test. */
static void
redate(const char *out, long not_before_s, long not_after_s)
{
    X509 *cert = cert_load(path_of("a/", "server.pem"));
    FILE *f = fopen(path_of("a/", "server.key"), "r");
    EVP_PKEY *key = PEM_read_PrivateKey(f, NULL, NULL, NULL);

    assert_non_null(key);
    assert_int_equal(fclose(f), 0);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(cert), not_before_s));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), not_after_s));
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    f = fopen(out, "w");
    assert_non_null(f);
    assert_int_equal(PEM_write_X509(f, cert), 1);
    assert_int_equal(fclose(f), 0);
    EVP_PKEY_free(key);
    X509_free(cert);
}

/* A certificate that has expired, or is not valid yet, is refused with that reason. */
static void
load_judges_dates(void **state)
{
    char error[LK_TLS_ERROR_CAP];
    struct lk_tls *tls = NULL;

    redate(path_of("", "expired.pem"), -7200, -60);
    assert_int_equal(load(path_of("", "expired.pem"), path_of("a/", "server.key"), error, &tls),
                     LK_ERR_CONFIG);
    assert_non_null(strstr(error, "expired.pem: the certificate has expired"));
    redate(path_of("", "expired.pem"), 60, 7200);
    assert_int_equal(load(path_of("", "expired.pem"), path_of("a/", "server.key"), error, &tls),
                     LK_ERR_CONFIG);
    assert_non_null(strstr(error, "not valid yet"));
    assert_null(tls);
}

/* Where any dates do, such a certificate is taken, and what is wrong with it still told. */
static void
load_takes_any_dates(void **state)
{
    char error[LK_TLS_ERROR_CAP];
    struct lk_tls_config config = {.any_dates = true};
    static const struct {
        long from_s, to_s;
        const char *words;
    } cases[] = {{-7200, -60, "expired.pem: the certificate has expired"},
                 {60, 7200, "expired.pem: the certificate is not valid yet"},
                 {-60, 7200, NULL}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        LK_AUTO(lk_tls) struct lk_tls *tls = NULL;

        redate(path_of("", "expired.pem"), cases[i].from_s, cases[i].to_s);
        config.cert_file = path_of("", "expired.pem");
        config.key_file = path_of("a/", "server.key");
        error[0] = '\0';
        assert_int_equal(lk_tls_new(&config, error, &tls), LK_OK);
        if (cases[i].words == NULL) {
            assert_string_equal(error, "");
        } else {
            assert_non_null(strstr(error, cases[i].words));
        }
    }
}

/* The end date is the leaf's own. */
static void
end_date(void **state)
{
    char error[LK_TLS_ERROR_CAP];
    LK_AUTO(lk_tls) struct lk_tls *tls = NULL;
    int64_t want = (int64_t)time(NULL) + 30 * 86400;

    assert_int_equal(load(path_of("a/", "server.pem"), path_of("a/", "server.key"), error, &tls),
                     LK_OK);
    assert_in_range(lk_tls_not_after_unix_s(tls), want - 60, want + 60);
}

/* ---- sessions over a socket pair ---------------------------------------------------------------
 */

struct pair {
    struct lk_tls *tls;
    struct ssl_st *server;
    SSL_CTX *client_ctx;
    SSL *client;
    int fds[2];
};

static void
pair_open(struct pair *p)
{
    char error[LK_TLS_ERROR_CAP];

    memset(p, 0, sizeof(*p));
    assert_int_equal(load(path_of("a/", "server.pem"), path_of("a/", "server.key"), error, &p->tls),
                     LK_OK);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p->fds), 0);
    assert_int_equal(lk_tls_session(p->tls, p->fds[0], &p->server), LK_OK);
    p->client_ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_verify(p->client_ctx, SSL_VERIFY_PEER, NULL);
    assert_int_equal(SSL_CTX_load_verify_file(p->client_ctx, path_of("a/", "ca.pem")), 1);
    p->client = SSL_new(p->client_ctx);
    assert_int_equal(SSL_set_fd(p->client, p->fds[1]), 1);
    assert_int_equal(SSL_set1_host(p->client, "provision.example.test"), 1);
    SSL_set_connect_state(p->client);
}

static void
pair_close(struct pair *p)
{
    SSL_free(p->client);
    SSL_CTX_free(p->client_ctx);
    lk_tls_session_free(p->server);
    lk_tls_free(p->tls);
    for (size_t i = 0; i < 2; i++) {
        if (p->fds[i] >= 0) {
            assert_int_equal(close(p->fds[i]), 0);
        }
    }
}

/* Let both sides work until the server is through or has failed. */
static enum lk_tls_io
shake(struct pair *p)
{
    enum lk_tls_io io = LK_TLS_WANT_READ;

    for (unsigned i = 0; i < 10 && io == LK_TLS_WANT_READ; i++) {
        (void)SSL_do_handshake(p->client);
        io = lk_tls_handshake(p->server);
    }
    (void)SSL_do_handshake(p->client);
    return io;
}

/* TLS 1.3 by default, http/1.1 when it is on offer, and bytes both ways. */
static void
session_talks(void **state)
{
    static const uint8_t offer[] = "\x02h2\x08http/1.1";
    const unsigned char *alpn;
    unsigned alpn_len;
    uint8_t buf[16];
    size_t n = 0;
    struct pair p;

    pair_open(&p);
    assert_int_equal(SSL_set_alpn_protos(p.client, offer, sizeof(offer) - 1), 0);
    assert_int_equal(shake(&p), LK_TLS_DONE);
    assert_int_equal(SSL_version(p.client), TLS1_3_VERSION);
    SSL_get0_alpn_selected(p.client, &alpn, &alpn_len);
    assert_int_equal(alpn_len, 8);
    assert_memory_equal(alpn, "http/1.1", 8);
    assert_int_equal(lk_tls_read(p.server, buf, sizeof(buf), &n), LK_TLS_WANT_READ);
    assert_int_equal(SSL_write(p.client, "ping", 4), 4);
    assert_int_equal(lk_tls_read(p.server, buf, sizeof(buf), &n), LK_TLS_DONE);
    assert_int_equal(n, 4);
    assert_memory_equal(buf, "ping", 4);
    assert_false(lk_tls_buffered(p.server));
    assert_int_equal(lk_tls_write(p.server, "pong", 4, &n), LK_TLS_DONE);
    assert_int_equal(n, 4);
    assert_int_equal(SSL_read(p.client, buf, sizeof(buf)), 4);
    lk_tls_close_notify(p.server);
    assert_int_equal(SSL_read(p.client, buf, sizeof(buf)), 0);
    assert_int_equal(SSL_get_error(p.client, 0), SSL_ERROR_ZERO_RETURN);
    pair_close(&p);
}

/* Two records read at once: the second is announced by lk_tls_buffered() alone. */
static void
session_buffers(void **state)
{
    uint8_t buf[16];
    size_t n = 0;
    struct pair p;

    pair_open(&p);
    assert_int_equal(shake(&p), LK_TLS_DONE);
    assert_int_equal(SSL_write(p.client, "one", 3), 3);
    assert_int_equal(SSL_write(p.client, "two", 3), 3);
    assert_int_equal(lk_tls_read(p.server, buf, sizeof(buf), &n), LK_TLS_DONE);
    assert_memory_equal(buf, "one", 3);
    assert_true(lk_tls_buffered(p.server));
    assert_int_equal(lk_tls_read(p.server, buf, sizeof(buf), &n), LK_TLS_DONE);
    assert_memory_equal(buf, "two", 3);
    pair_close(&p);
}

/* TLS 1.2 is served, forward secret and authenticated; TLS 1.1 and static RSA are not. */
static void
session_versions(void **state)
{
    struct pair p;

    pair_open(&p);
    assert_int_equal(SSL_set_max_proto_version(p.client, TLS1_2_VERSION), 1);
    assert_int_equal(shake(&p), LK_TLS_DONE);
    assert_non_null(strstr(SSL_get_cipher_name(p.client), "ECDHE"));
    assert_non_null(strstr(SSL_get_cipher_name(p.client), "GCM"));
    pair_close(&p);
    pair_open(&p);
    SSL_set_security_level(p.client, 0);
    assert_int_equal(SSL_set_min_proto_version(p.client, TLS1_VERSION), 1);
    assert_int_equal(SSL_set_max_proto_version(p.client, TLS1_1_VERSION), 1);
    assert_int_equal(shake(&p), LK_TLS_FAILED);
    pair_close(&p);
    pair_open(&p);
    assert_int_equal(SSL_set_max_proto_version(p.client, TLS1_2_VERSION), 1);
    assert_int_equal(SSL_set_cipher_list(p.client, "ECDHE-ECDSA-AES128-SHA256"), 1);
    assert_int_equal(shake(&p), LK_TLS_FAILED);
    assert_string_equal(lk_tls_failure(), "no shared cipher");
    pair_close(&p);
}

/* A peer that speaks something else, and one that closes without a word. */
static void
session_bad_peers(void **state)
{
    uint8_t buf[16];
    size_t n = 0;
    struct pair p;

    pair_open(&p);
    assert_int_equal(write(p.fds[1], "GET / HTTP/1.1\r\n\r\n", 18), 18);
    assert_int_equal(lk_tls_handshake(p.server), LK_TLS_FAILED);
    assert_string_equal(lk_tls_failure(), "http request");
    pair_close(&p);
    pair_open(&p);
    assert_int_equal(close(p.fds[1]), 0);
    p.fds[1] = -1;
    assert_int_equal(lk_tls_handshake(p.server), LK_TLS_CLOSED);
    pair_close(&p);
    pair_open(&p);
    assert_int_equal(shake(&p), LK_TLS_DONE);
    assert_int_equal(close(p.fds[1]), 0);
    p.fds[1] = -1;
    assert_int_equal(lk_tls_read(p.server, buf, sizeof(buf), &n), LK_TLS_CLOSED);
    pair_close(&p);
}

/* An error that other code left in OpenSSL's queue does not spoil a connection. */
static void
session_ignores_old_errors(void **state)
{
    uint8_t buf[16];
    size_t n = 0;
    struct pair p;

    pair_open(&p);
    assert_int_equal(shake(&p), LK_TLS_DONE);
    assert_null(BIO_new_file("/nonexistent/file", "r"));
    assert_int_equal(lk_tls_read(p.server, buf, sizeof(buf), &n), LK_TLS_WANT_READ);
    pair_close(&p);
}

/* A call ends although the peer has sent more that is nothing for the application. */
static void
session_rations_key_updates(void **state)
{
    BIO *records = BIO_new(BIO_s_mem());
    uint8_t buf[16];
    int left;
    char *data;
    long len;
    size_t n = 0;
    struct pair p;

    pair_open(&p);
    assert_int_equal(shake(&p), LK_TLS_DONE);
    SSL_set0_wbio(p.client, records); /* its socket is the reading side's still */
    for (unsigned i = 0; i < 6000; i++) {
        assert_int_equal(SSL_key_update(p.client, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        assert_int_equal(SSL_do_handshake(p.client), 1);
    }
    len = BIO_get_mem_data(records, &data);
    assert_int_equal(send(p.fds[1], data, (size_t)len, MSG_NOSIGNAL), len);
    assert_int_equal(lk_tls_read(p.server, buf, sizeof(buf), &n), LK_TLS_WANT_READ);
    assert_int_equal(ioctl(p.fds[0], FIONREAD, &left), 0);
    assert_in_range(left, len / 2, len - 1);
    pair_close(&p);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(self_signed_verifies),
        cmocka_unit_test(self_signed_files),
        cmocka_unit_test(self_signed_misuse),
        cmocka_unit_test(load_refuses),
        cmocka_unit_test(load_judges_dates),
        cmocka_unit_test(load_takes_any_dates),
        cmocka_unit_test(end_date),
        cmocka_unit_test(session_talks),
        cmocka_unit_test(session_buffers),
        cmocka_unit_test(session_versions),
        cmocka_unit_test(session_bad_peers),
        cmocka_unit_test(session_ignores_old_errors),
        cmocka_unit_test(session_rations_key_updates),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
