/* Tests of the HTTPS engine with TLS, through OpenSSL as a client. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sys/socket.h>

#include <cmocka.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/param_build.h>

#include "base/codec.h"
#include "base/metrics.h"
#include "crypto/crypto.h"
#include "serving.h"
#include "support/certs.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"

static char dirs[2][32] = {"/tmp/latchkey-https-XXXXXX", "/tmp/latchkey-https-XXXXXX"};
static struct lk_tls *tls[2];
static SSL_CTX *client_ctx;
static struct serving serving;

static void
path_in(const char *dir, const char *file, char path[64])
{
    assert_int_equal(lk_strcpy(path, 64, dir), LK_OK);
    assert_int_equal(lk_strcpy(path + strlen(path), 64 - strlen(path), file), LK_OK);
}

static int
start(void **state)
{
    static const char *const names[] = {"localhost"};
    char cert[64], key[64], error[LK_TLS_ERROR_CAP];
    const struct lk_tls_config config = {.cert_file = cert, .key_file = key, .ask_peer_cert = true};

    client_ctx = SSL_CTX_new(TLS_client_method());
    assert_non_null(client_ctx);
    SSL_CTX_set_verify(client_ctx, SSL_VERIFY_PEER, NULL);
    for (size_t i = 0; i < LK_ARRAY_LEN(dirs); i++) {
        assert_non_null(mkdtemp(dirs[i]));
        assert_int_equal(lk_tls_make_self_signed(dirs[i], names, 1, 1), LK_OK);
        path_in(dirs[i], "/server.pem", cert);
        path_in(dirs[i], "/server.key", key);
        assert_int_equal(lk_tls_new(&config, error, &tls[i]), LK_OK);
        path_in(dirs[i], "/ca.pem", cert);
        assert_int_equal(SSL_CTX_load_verify_file(client_ctx, cert), 1);
    }
    serving_start(&serving, NULL, tls[0]);
    return 0;
}

static int
stop(void **state)
{
    static const char *const files[] = {"/ca.pem", "/server.pem", "/server.key"};
    char path[64];

    serving_stop(&serving);
    SSL_CTX_free(client_ctx);
    for (size_t i = 0; i < LK_ARRAY_LEN(dirs); i++) {
        lk_tls_free(tls[i]);
        for (size_t f = 0; f < LK_ARRAY_LEN(files); f++) {
            path_in(dirs[i], files[f], path);
            assert_int_equal(unlink(path), 0);
        }
        assert_int_equal(rmdir(dirs[i]), 0);
    }
    return 0;
}

/* Requests of one connection, waited for and not, small and larger than a TLS record. */
static void
requests_over_tls(void **state)
{
    static char body[90001];
    struct client c;
    struct answer a;

    memset(body, 'b', sizeof(body) - 1);
    client_connect(&c, &serving);
    client_tls(&c, client_ctx);
    client_text(&c, GET("/count"));
    client_expect(&c, 200, "1");
    client_text(&c, GET("/late?1") GET("/echo?2") GET("/count"));
    client_expect(&c, 200, "GET /late?1 h ");
    client_expect(&c, 200, "GET /echo?2 h ");
    client_expect(&c, 200, "2");
    client_text(&c, "PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 90000\r\n\r\n");
    client_text(&c, body);
    client_answer(&c, false, &a);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.body_len, 90000 + strlen("PUT /echo? h "));
    answer_fini(&a);
    client_text(&c, GET("/big") GET("/echo"));
    client_answer(&c, false, &a);
    assert_int_equal(strspn((const char *)a.body, "x"), 1024 * 1024);
    answer_fini(&a);
    client_expect(&c, 200, "GET /echo? h ");
    client_close(&c);
}

/* Records that wait inside the TLS session while a request is held are not forgotten. */
static void
records_behind_a_held_request(void **state)
{
    struct client c;

    client_connect(&c, &serving);
    client_tls(&c, client_ctx);
    client_text(&c, GET("/hold"));
    for (unsigned i = 0; i < 1500; i++) { /* about 80 kB of records */
        client_text(&c, GET("/echo"));
    }
    wait_until(&serving.held_count, 1);
    serving_release(&serving);
    client_expect(&c, 200, "GET /hold? h ");
    for (unsigned i = 0; i < 1500; i++) {
        client_expect(&c, 200, "GET /echo? h ");
    }
    client_close(&c);
}

/* A peer that ends TLS politely after its request still gets the answer. */
static void
close_notify_before_answer(void **state)
{
    struct client c;

    client_connect(&c, &serving);
    client_tls(&c, client_ctx);
    client_text(&c, GET("/late"));
    assert_int_equal(SSL_shutdown(c.ssl), 0);
    client_expect(&c, 200, "GET /late? h ");
    client_expect_closed(&c);
    assert_int_equal(SSL_get_shutdown(c.ssl) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
    client_close(&c);
}

/* A peer that closes the socket without ending TLS harms nobody. */
static void
dirty_shutdown(void **state)
{
    int64_t open = lk_metric_get(LK_M_HTTP_CONNECTIONS_OPEN);
    int64_t end_ms = mono_ms() + 2000;
    struct client c;

    client_connect(&c, &serving);
    client_tls(&c, client_ctx);
    client_text(&c, GET("/echo"));
    client_expect(&c, 200, NULL);
    SSL_set_quiet_shutdown(c.ssl, 1);
    client_close(&c);
    while (lk_metric_get(LK_M_HTTP_CONNECTIONS_OPEN) > open && mono_ms() < end_ms) {
        assert_int_equal(usleep(5000), 0);
    }
    assert_true(lk_metric_get(LK_M_HTTP_CONNECTIONS_OPEN) <= open); /* another may end, too */
}

static void
set_second(void *ctx)
{
    lk_http_server_set_tls(serving.server, tls[1]);
}

/* A reload serves the new certificate to new connections, and leaves the old ones alone. */
static void
reload(void **state)
{
    struct client before, after;
    X509 *first, *second;

    client_connect(&before, &serving);
    client_tls(&before, client_ctx);
    serving_run(&serving, set_second, NULL);
    client_connect(&after, &serving);
    client_tls(&after, client_ctx);
    first = SSL_get1_peer_certificate(before.ssl);
    second = SSL_get1_peer_certificate(after.ssl);
    assert_int_not_equal(X509_cmp(first, second), 0);
    X509_free(first);
    X509_free(second);
    client_text(&before, GET("/echo?old"));
    client_expect(&before, 200, "GET /echo?old h ");
    client_text(&after, GET("/echo?new"));
    client_expect(&after, 200, "GET /echo?new h ");
    client_close(&before);
    client_close(&after);
}

/* Plain HTTP on the TLS port fails as a handshake, which is counted. */
static void
plain_text_peer(void **state)
{
    int64_t failed = lk_metric_get(LK_M_TLS_HANDSHAKES_FAILED);
    struct client c;
    uint8_t alert[64];

    client_connect(&c, &serving);
    client_text(&c, GET("/echo"));
    while (recv(c.fd, alert, sizeof(alert), 0) > 0) {
    }
    assert_int_equal(lk_metric_get(LK_M_TLS_HANDSHAKES_FAILED), failed + 1);
    client_close(&c);
}

/* A peer that connects and never begins, and one that stops half-way, are cut in time. */
static void
handshake_stalls(void **state)
{
    static const uint8_t half_a_hello[] = {0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3};
    const struct lk_http_limits limits = {.handshake_ms = 200};
    int64_t timed_out = lk_metric_get(LK_M_HTTP_CONNECTIONS_TIMED_OUT);
    int64_t start_ms = mono_ms();
    struct serving stalled;
    struct client silent, half;

    serving_start(&stalled, &limits, tls[0]);
    client_connect(&silent, &stalled);
    client_connect(&half, &stalled);
    client_send(&half, half_a_hello, sizeof(half_a_hello));
    client_expect_closed(&silent);
    client_expect_closed(&half);
    assert_in_range(mono_ms() - start_ms, 180, 1000);
    assert_int_equal(lk_metric_get(LK_M_HTTP_CONNECTIONS_TIMED_OUT), timed_out + 2);
    client_close(&silent);
    client_close(&half);
    serving_stop(&stalled);
}

/* Least time of a few tries, so that a loaded machine does not matter, of what fn does. */
static int64_t
least_ms(void (*fn)(struct client *c))
{
    int64_t least = INT64_MAX;

    for (unsigned i = 0; i < 5; i++) {
        struct client c;
        int64_t took_ms, start_ms = mono_ms();

        client_connect(&c, &serving);
        client_tls(&c, client_ctx);
        fn(&c);
        took_ms = mono_ms() - start_ms;
        least = took_ms < least ? took_ms : least;
        client_close(&c);
    }
    return least;
}

static void
request_whole(struct client *c)
{
    client_text(c, GET("/echo"));
    client_expect(c, 200, NULL);
}

static void
request_in_parts(struct client *c)
{
    request_whole(c);
    client_text(c, "PUT /echo HTTP/1.1\r\nHost: h\r\n");
    client_text(c, "Content-Length: 2\r\n\r\n");
    client_text(c, "ab");
    client_expect(c, 200, "PUT /echo? h ab");
}

/* A client with Nagle's algorithm on is not kept waiting for an acknowledgement (40 ms). */
static void
no_delayed_acknowledgement(void **state)
{
    assert_true(least_ms(request_whole) < 30);
    assert_true(least_ms(request_in_parts) < 30);
}

/* No ticket and no session ID is given, in either version, so there is nothing to resume with. */
static void
no_resumption(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

    for (size_t i = 0; i < LK_ARRAY_LEN(versions); i++) {
        struct client c;
        SSL_SESSION *session;
        unsigned id_len = 0;

        client_connect(&c, &serving);
        c.ssl = SSL_new(client_ctx);
        assert_int_equal(SSL_set_fd(c.ssl, c.fd), 1);
        assert_int_equal(SSL_set_max_proto_version(c.ssl, versions[i]), 1);
        assert_int_equal(SSL_connect(c.ssl), 1);
        assert_int_equal(SSL_version(c.ssl), versions[i]);
        client_text(&c, GET("/echo"));
        client_expect(&c, 200, NULL); /* a ticket would come before the answer */
        session = SSL_get1_session(c.ssl);
        assert_int_equal(SSL_SESSION_has_ticket(session), 0);
        (void)SSL_SESSION_get_id(session, &id_len);
        assert_int_equal(id_len, 0);
        assert_int_equal(SSL_SESSION_is_resumable(session), 0);
        SSL_SESSION_free(session);
        client_close(&c);
    }
}

/* ---- a peer's own certificate -----------------------------------------------------------------
 */

static void
certs_expect(struct client *c, const char *err, size_t count, size_t bytes)
{
    char want[64];

    (void)snprintf(want, sizeof(want), "%s %zu %zu", err, count, bytes);
    client_text(c, GET("/certs"));
    client_expect(c, 200, want);
}

/* A client that has none is served as ever, with TLS 1.2 too. */
static void
no_certificate(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

    for (size_t i = 0; i < LK_ARRAY_LEN(versions); i++) {
        struct client c;

        client_connect(&c, &serving);
        c.ssl = SSL_new(client_ctx);
        assert_int_equal(SSL_set_fd(c.ssl, c.fd), 1);
        assert_int_equal(SSL_set_max_proto_version(c.ssl, versions[i]), 1);
        assert_int_equal(SSL_connect(c.ssl), 1);
        certs_expect(&c, "not_found", 0, 0);
        client_close(&c);
    }
}

static void
own_cert_use(SSL *ssl, const struct test_cert *own, const struct test_cert *ca, size_t cas_count)
{
    assert_int_equal(SSL_use_certificate(ssl, own->x), 1);
    assert_int_equal(SSL_use_PrivateKey(ssl, own->key), 1);
    for (size_t i = 0; i < cas_count; i++) {
        assert_int_equal(SSL_add1_chain_cert(ssl, ca->x), 1);
    }
}

/*
 * Whatever a client presents is taken, its chain in order, also when nobody knows the signer and it
 * is out of date: who it is, is not decided here. Four certificates are the most.
 */
static void
certificate_presented(void **state)
{
    const struct test_cert_spec old = {.cn = "old", .from_s = 1000, .to_s = 2000};
    struct test_cert ca, own, expired;

    test_ca_make(&ca, "Unknown", 1767225600, NULL);
    test_leaf_make(&own, "dev-1", 1767225600, &ca);
    test_cert_make(&expired, &old, NULL);
    for (size_t cas = 0; cas <= 4; cas++) {
        struct client c;

        client_connect(&c, &serving);
        c.ssl = SSL_new(client_ctx);
        assert_int_equal(SSL_set_fd(c.ssl, c.fd), 1);
        own_cert_use(c.ssl, cas == 0 ? &expired : &own, &ca, cas);
        assert_int_equal(SSL_connect(c.ssl), 1);
        if (cas == 4) {
            certs_expect(&c, "limit", 0, 0);
        } else {
            certs_expect(&c, "ok", cas + 1,
                         (cas == 0 ? expired.der_len : own.der_len) + cas * ca.der_len);
        }
        client_close(&c);
    }
    test_cert_fini(&expired);
    test_cert_fini(&own);
    test_cert_fini(&ca);
}

/*
 * Somebody else's certificate without its key: no connection comes of it. The client's key object
 * carries the public key of the certificate, as OpenSSL checks, and another private one.
 */
static void
key_not_held(void **state)
{
    unsigned handled = serving.handled_count;
    struct test_cert own, other;
    struct client c;
    BIGNUM *priv = NULL;
    uint8_t pub[65];
    size_t pub_len;
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    OSSL_PARAM *params;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    EVP_PKEY *mixed = NULL;

    test_leaf_make(&own, "dev-1", 1767225600, NULL);
    test_leaf_make(&other, "dev-2", 1767225600, NULL);
    assert_int_equal(EVP_PKEY_get_bn_param(other.key, OSSL_PKEY_PARAM_PRIV_KEY, &priv), 1);
    assert_int_equal(EVP_PKEY_get_octet_string_param(own.key, OSSL_PKEY_PARAM_PUB_KEY, pub,
                                                     sizeof(pub), &pub_len),
                     1);
    assert_int_equal(
        OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0), 1);
    assert_int_equal(OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, pub, pub_len),
                     1);
    assert_int_equal(OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_PRIV_KEY, priv), 1);
    params = OSSL_PARAM_BLD_to_param(build);
    assert_int_equal(EVP_PKEY_fromdata_init(ctx), 1);
    assert_int_equal(EVP_PKEY_fromdata(ctx, &mixed, EVP_PKEY_KEYPAIR, params), 1);

    client_connect(&c, &serving);
    c.ssl = SSL_new(client_ctx);
    assert_int_equal(SSL_set_fd(c.ssl, c.fd), 1);
    assert_int_equal(SSL_use_certificate(c.ssl, own.x), 1);
    assert_int_equal(SSL_use_PrivateKey(c.ssl, mixed), 1);
    (void)SSL_connect(c.ssl); /* TLS 1.3: the server's verdict comes after it */
    (void)SSL_write(c.ssl, GET("/certs"), sizeof(GET("/certs")) - 1);
    client_expect_closed(&c);
    assert_int_equal(serving.handled_count, handled);
    client_close(&c);
    EVP_PKEY_free(mixed);
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    BN_free(priv);
    test_cert_fini(&other);
    test_cert_fini(&own);
}

/* ---- key updates, which a peer may send and ask for at will
 * --------------------------------------
 */

/* CPU time of the server's thread over the next 300 ms. */
static int64_t
busy_ms(void)
{
    struct timespec before, after;
    clockid_t clock;

    assert_int_equal(pthread_getcpuclockid(serving.thread, &clock), 0);
    assert_int_equal(clock_gettime(clock, &before), 0);
    assert_int_equal(usleep(300000), 0);
    assert_int_equal(clock_gettime(clock, &after), 0);
    return (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
}

/* The records of count requests for a key update, made but not sent. */
static void
key_updates_make(struct client *c, unsigned count, struct lk_buf *ret)
{
    BIO *socket_bio = SSL_get_wbio(c->ssl), *memory = BIO_new(BIO_s_mem());
    char *data;
    long len;

    assert_non_null(memory);
    assert_int_equal(BIO_up_ref(socket_bio), 1);
    SSL_set0_wbio(c->ssl, memory);
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(SSL_key_update(c->ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        assert_int_equal(SSL_do_handshake(c->ssl), 1);
    }
    len = BIO_get_mem_data(memory, &data);
    assert_true(len > 0);
    assert_int_equal(lk_buf_put(ret, data, (size_t)len), LK_OK);
    SSL_set0_wbio(c->ssl, socket_bio);
}

/* A peer that asks for key updates and takes none of them in is waited for, without spinning. */
static void
key_updates_not_taken(void **state)
{
    LK_AUTO_BUF struct lk_buf records = {.max = 8u << 20};
    const int little = 16384;
    bool calm = false;
    struct client c;
    ssize_t n = 0;

    client_connect(&c, &serving);
    client_tls(&c, client_ctx);
    assert_int_equal(setsockopt(c.fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof(little)), 0);
    key_updates_make(&c, 200000, &records);
    for (size_t done = 0; done < records.len && n >= 0; done += n > 0 ? (size_t)n : 0) {
        n = send(c.fd, records.data + done, records.len - done, MSG_DONTWAIT);
        if (n < 0) {
            assert_int_equal(usleep(300000), 0); /* what it takes, it has taken by then */
            n = send(c.fd, records.data + done, records.len - done, MSG_DONTWAIT);
        }
    }
    for (unsigned i = 0; i < 400 && !calm; i++) { /* it has a lot of work first */
        calm = busy_ms() < 100;
    }
    assert_true(calm);
    client_close(&c);
}

static uint8_t traffic_secret[32]; /* the client's, of the latest handshake with keylog */

static void
keylog(const SSL *ssl, const char *line)
{
    static const char label[] = "CLIENT_TRAFFIC_SECRET_0 ";
    const char *hex = strrchr(line, ' ');
    LK_AUTO_BUF struct lk_buf raw = LK_BUF_INIT;

    if (strncmp(line, label, strlen(label)) == 0) {
        assert_int_equal(lk_hex_decode(hex + 1, strlen(hex + 1), &raw), LK_OK);
        assert_int_equal(raw.len, sizeof(traffic_secret));
        memcpy(traffic_secret, raw.data, raw.len);
    }
}

/* HKDF-Expand-Label (RFC 8446, 7.1) of at most 32 bytes, with an empty context. */
static void
expand_label(const char *label, uint8_t *ret, size_t len)
{
    uint8_t info[32] = {0,   (uint8_t)len, (uint8_t)(6 + strlen(label)), 't', 'l', 's', '1',
                        '3', ' '};
    size_t label_len = strlen(label);
    uint8_t block[32];

    memcpy(info + 9, label, label_len);
    info[10 + label_len] = 1; /* after the context's length: HKDF's counter */
    assert_int_equal(lk_hmac(LK_SHA256, traffic_secret, sizeof(traffic_secret),
                             &LK_PART(info, 11 + label_len), 1, block),
                     LK_OK);
    memcpy(ret, block, len);
}

/* Send a handshake record of TLS_AES_128_GCM_SHA256, the client's number seq under its first key.
 */
static void
handshake_record_send(struct client *c, uint8_t seq, const uint8_t *data, size_t len)
{
    uint8_t key[16], iv[12], record[64] = {23, 3, 3, 0, (uint8_t)(len + 17)};
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n;

    expand_label("key", key, sizeof(key));
    expand_label("iv", iv, sizeof(iv));
    iv[11] ^= seq;
    memcpy(record + 5, data, len);
    record[5 + len] = 22;
    assert_int_equal(EVP_EncryptInit_ex(ctx, EVP_aes_128_gcm(), NULL, key, iv), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, NULL, &n, record, 5), 1);
    assert_int_equal(EVP_EncryptUpdate(ctx, record + 5, &n, record + 5, (int)len + 1), 1);
    assert_int_equal(EVP_EncryptFinal_ex(ctx, record + 6 + len, &n), 1);
    assert_int_equal(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, record + 6 + len), 1);
    EVP_CIPHER_CTX_free(ctx);
    assert_int_equal(send(c->fd, record, 22 + len, MSG_NOSIGNAL), (ssize_t)(22 + len));
}

/* An answer that has to wait for the rest of a key update waits for it, and then leaves. */
static void
key_update_in_parts(void **state)
{
    static const uint8_t update[] = {24, 0, 0, 1, 0};
    struct client c;

    SSL_CTX_set_keylog_callback(client_ctx, keylog);
    client_connect(&c, &serving);
    client_tls(&c, client_ctx);
    SSL_CTX_set_keylog_callback(client_ctx, NULL);
    client_text(&c, GET("/hold"));
    wait_until(&serving.held_count, 1);
    handshake_record_send(&c, 1, update, 4);
    assert_int_equal(usleep(100000), 0);
    serving_release(&serving);
    assert_true(busy_ms() < 100);
    handshake_record_send(&c, 2, update + 4, 1);
    client_expect(&c, 200, "GET /hold? h ");
    client_close(&c);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_over_tls),
        cmocka_unit_test(records_behind_a_held_request),
        cmocka_unit_test(close_notify_before_answer),
        cmocka_unit_test(dirty_shutdown),
        cmocka_unit_test(reload),
        cmocka_unit_test(plain_text_peer),
        cmocka_unit_test(handshake_stalls),
        cmocka_unit_test(no_delayed_acknowledgement),
        cmocka_unit_test(no_resumption),
        cmocka_unit_test(no_certificate),
        cmocka_unit_test(certificate_presented),
        cmocka_unit_test(key_not_held),
        cmocka_unit_test(key_updates_not_taken),
        cmocka_unit_test(key_update_in_parts),
    };

    return cmocka_run_group_tests(tests, start, stop);
}
