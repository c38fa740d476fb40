/*
 * Devices of an MQTT broker: they connect over TLS, one after another on each thread, then send
 * telemetry, a window of messages at a time, to an operator who reads all of it. Prints JSON: what
 * each connection and each message cost the broker in CPU time, and how many there were a second.
 *
 * usage: bench-mqtt PORT OPERATOR-PORT BROKER-PID LOGINS MESSAGES-EACH
 *
 * LOGINS has a line for each device: client id, user name and password, apart by tabs; the first is
 * the operator's, whose filter is the client id.
 */
#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define THREADS 4u
#define DEVICES_MAX 2000u
#define WINDOW 20u
#define PACKET_MAX 1200u
#define PAYLOAD "{\"temperature\":21.5,\"humidity\":40,\"ticks\":123456789,\"state\":\"running\"}"

struct login {
    char id[64], user[256], password[512];
};

struct device {
    const struct login *login;
    int fd;
    SSL *ssl;
};

static struct {
    struct login logins[DEVICES_MAX + 1];
    struct device devices[DEVICES_MAX];
    unsigned devices_count, messages_each, qos;
    uint16_t port, operator_port;
    SSL_CTX *tls;
    int operator_fd;
    atomic_ulong received; /* by the operator */
} b;

/* ---- packets ------------------------------------------------------------------------------- */

static size_t
text_put(uint8_t *p, const char *text)
{
    size_t len = strlen(text);

    p[0] = (uint8_t)(len >> 8);
    p[1] = (uint8_t)len;
    memcpy(p + 2, text, len);
    return len + 2;
}

/* The packet's first byte and length before its body; the whole length. */
static size_t
packet_put(uint8_t *p, uint8_t first, const uint8_t *body, size_t len)
{
    size_t at = 0, left = len;

    p[at++] = first;
    do {
        p[at++] = (uint8_t)((left & 127) | (left > 127 ? 128 : 0));
        left >>= 7;
    } while (left > 0);
    memcpy(p + at, body, len);
    return at + len;
}

static size_t
connect_put(uint8_t *p, const struct login *l)
{
    static const uint8_t head[] = {0, 4, 'M', 'Q', 'T', 'T', 4, 0xc2, 0, 240};
    uint8_t body[PACKET_MAX];
    size_t at = sizeof(head);

    memcpy(body, head, sizeof(head));
    at += text_put(body + at, l->id);
    at += text_put(body + at, l->user);
    at += text_put(body + at, l->password);
    return packet_put(p, 0x10, body, at);
}

static size_t
publish_put(uint8_t *p, const char *topic, unsigned id)
{
    uint8_t body[PACKET_MAX];
    size_t at = text_put(body, topic);

    if (b.qos > 0) {
        body[at++] = (uint8_t)(id >> 8);
        body[at++] = (uint8_t)id;
    }
    memcpy(body + at, PAYLOAD, sizeof(PAYLOAD) - 1);
    return packet_put(p, (uint8_t)(0x30 | b.qos << 1), body, at + sizeof(PAYLOAD) - 1);
}

static int
tcp_connect(uint16_t port)
{
    const struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    must(fd >= 0 && connect(fd, (const struct sockaddr *)&to, sizeof(to)) == 0, "connecting");
    return fd;
}

/* ---- devices ------------------------------------------------------------------------------- */

static void
device_read(struct device *d, uint8_t *buf, size_t len)
{
    for (size_t at = 0; at < len;) {
        int got = SSL_read(d->ssl, buf + at, (int)(len - at));

        must(got > 0, "reading from the broker");
        at += (size_t)got;
    }
}

static void
device_connect(struct device *d)
{
    uint8_t packet[PACKET_MAX], answer[4];
    size_t len = connect_put(packet, d->login);

    d->fd = tcp_connect(b.port);
    d->ssl = SSL_new(b.tls);
    must(d->ssl != NULL && SSL_set_fd(d->ssl, d->fd) == 1 && SSL_connect(d->ssl) == 1,
         "a TLS handshake");
    must(SSL_write(d->ssl, packet, (int)len) == (int)len, "writing to the broker");
    device_read(d, answer, sizeof(answer));
    must(answer[0] == 0x20 && answer[3] == 0, "a device's login");
}

static void
device_send_window(struct device *d)
{
    uint8_t packets[WINDOW * 400], acks[WINDOW * 4];
    char topic[128];
    size_t len = 0;

    (void)snprintf(topic, sizeof(topic), "devices/%s/messages/events/", d->login->id);
    for (unsigned i = 0; i < WINDOW; i++) {
        len += publish_put(packets + len, topic, i + 1);
    }
    must(SSL_write(d->ssl, packets, (int)len) == (int)len, "writing to the broker");
    if (b.qos > 0) {
        device_read(d, acks, sizeof(acks));
        for (unsigned i = 0; i < WINDOW; i++) {
            must(acks[i * 4] == 0x40 && acks[i * 4 + 3] == i + 1, "a PUBACK");
        }
    }
}

static void
device_drop(struct device *d)
{
    static const uint8_t disconnect[] = {0xe0, 0};

    (void)SSL_write(d->ssl, disconnect, sizeof(disconnect));
    SSL_free(d->ssl);
    (void)close(d->fd);
}

/* Every THREADS-th device, from the one that first points to. */
static void *
connects_run(void *first)
{
    for (unsigned i = *(unsigned *)first; i < b.devices_count; i += THREADS) {
        device_connect(&b.devices[i]);
    }
    return NULL;
}

static void *
sends_run(void *first)
{
    for (unsigned sent = 0; sent < b.messages_each; sent += WINDOW) {
        for (unsigned i = *(unsigned *)first; i < b.devices_count; i += THREADS) {
            device_send_window(&b.devices[i]);
        }
    }
    return NULL;
}

static void
on_threads(void *(*run)(void *))
{
    unsigned firsts[THREADS];
    pthread_t threads[THREADS];

    for (unsigned i = 0; i < THREADS; i++) {
        firsts[i] = i;
        must(pthread_create(&threads[i], NULL, run, &firsts[i]) == 0, "starting a thread");
    }
    for (unsigned i = 0; i < THREADS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
}

/* ---- operator ------------------------------------------------------------------------------ */

/* The whole length of the packet at p, and where its body begins; 0: there is more to come. */
static size_t
packet_len(const uint8_t *p, size_t len, size_t *ret_body)
{
    size_t at = 1, value = 0;

    for (unsigned shift = 0; at < len && shift < 28; shift += 7) {
        value |= (size_t)(p[at] & 127) << shift;
        if (p[at++] < 128) {
            *ret_body = at;
            return at + value <= len ? at + value : 0;
        }
    }
    return 0;
}

/* Counts each message, and acknowledges those with QoS 1. */
static size_t
operator_take(const uint8_t *p, size_t len)
{
    static uint8_t acks[65536];
    size_t at = 0, out = 0, body = 0, whole;

    while ((whole = packet_len(p + at, len - at, &body)) > 0) {
        const uint8_t *packet = p + at;

        if ((packet[0] & 0xf0) == 0x30) {
            size_t id = body + 2 + (size_t)(packet[body] << 8 | packet[body + 1]);

            if ((packet[0] & 6) != 0) {
                memcpy(acks + out, (uint8_t[]){0x40, 2, packet[id], packet[id + 1]}, 4);
                out += 4;
            }
            atomic_fetch_add(&b.received, 1);
        }
        at += whole;
    }
    must(write(b.operator_fd, acks, out) == (ssize_t)out, "writing to the broker");
    return at;
}

static void *
operator_run(void *arg)
{
    static uint8_t buf[65536];
    size_t len = 0;
    ssize_t got;

    while ((got = read(b.operator_fd, buf + len, sizeof(buf) - len)) > 0) {
        size_t taken;

        len += (size_t)got;
        taken = operator_take(buf, len);
        memmove(buf, buf + taken, len - taken);
        len -= taken;
    }
    return NULL;
}

static void
operator_connect(const struct login *filter_and_login)
{
    struct login l = *filter_and_login;
    uint8_t packet[PACKET_MAX], body[PACKET_MAX] = {0, 1}, answer[9];
    size_t len = 2 + text_put(body + 2, l.id);

    (void)snprintf(l.id, sizeof(l.id), "op/bench");
    b.operator_fd = tcp_connect(b.operator_port);
    must(write(b.operator_fd, packet, connect_put(packet, &l)) > 0, "writing to the broker");
    must(read(b.operator_fd, answer, 4) == 4 && answer[3] == 0, "the operator's login");
    body[len++] = (uint8_t)b.qos;
    must(write(b.operator_fd, packet, packet_put(packet, 0x82, body, len)) > 0,
         "writing to the broker");
    must(read(b.operator_fd, answer, 5) == 5 && answer[4] == b.qos, "the operator's subscription");
}

/* ---- measuring ----------------------------------------------------------------------------- */

struct figure {
    double seconds, broker_us;
};

static struct figure
measure(void *(*run)(void *), pid_t broker, unsigned long messages)
{
    double cpu = process_cpu(broker).all_us, begun = now_us();
    struct figure f;

    on_threads(run);
    while (atomic_load(&b.received) < messages) {
        must(now_us() - begun < 60e6, "the operator's getting every message");
        (void)usleep(200);
    }
    f.seconds = (now_us() - begun) / 1e6;
    f.broker_us = process_cpu(broker).all_us - cpu;
    return f;
}

static void
figure_print(const char *name, struct figure f, double count, const char *end)
{
    printf("\"%s\":{\"count\":%.0f,\"per_s\":%.1f,\"broker_us\":%.3f}%s", name, count,
           count / f.seconds, f.broker_us / count, end);
}

static void
messages_measure(unsigned qos, pid_t broker, const char *end)
{
    const unsigned long all = (unsigned long)b.devices_count * b.messages_each;
    pthread_t thread;
    struct figure f;

    b.qos = qos;
    atomic_store(&b.received, 0);
    operator_connect(&b.logins[0]);
    must(pthread_create(&thread, NULL, operator_run, NULL) == 0, "starting a thread");
    f = measure(sends_run, broker, all);
    figure_print(qos > 0 ? "qos1" : "qos0", f, (double)all, end);
    (void)shutdown(b.operator_fd, SHUT_RDWR);
    (void)pthread_join(thread, NULL);
    (void)close(b.operator_fd);
}

static void
logins_read(const char *path)
{
    FILE *f = fopen(path, "re");
    unsigned n = 0;

    must(f != NULL, "opening the logins");
    while (n <= DEVICES_MAX && fscanf(f, "%63[^\t]\t%255[^\t]\t%511[^\n]\n", b.logins[n].id,
                                      b.logins[n].user, b.logins[n].password) == 3) {
        n++;
    }
    must(n > 1, "reading the logins");
    (void)fclose(f);
    b.devices_count = n - 1;
    for (unsigned i = 0; i < b.devices_count; i++) {
        b.devices[i].login = &b.logins[i + 1];
    }
}

int
main(int argc, char **argv)
{
    pid_t broker;

    must(argc == 6, "usage: bench-mqtt PORT OPERATOR-PORT BROKER-PID LOGINS MESSAGES-EACH:");
    b.port = (uint16_t)atoi(argv[1]);
    b.operator_port = (uint16_t)atoi(argv[2]);
    broker = (pid_t)atoi(argv[3]);
    logins_read(argv[4]);
    b.messages_each = ((unsigned)atoi(argv[5]) + WINDOW - 1) / WINDOW * WINDOW;
    b.tls = SSL_CTX_new(TLS_client_method());
    must(b.tls != NULL, "making a TLS context");
    printf("{");
    figure_print("connect", measure(connects_run, broker, 0), b.devices_count, ",");
    messages_measure(0, broker, ",");
    messages_measure(1, broker, "}\n");
    for (unsigned i = 0; i < b.devices_count; i++) {
        device_drop(&b.devices[i]);
    }
    SSL_CTX_free(b.tls);
    return 0;
}
