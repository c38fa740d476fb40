/* The table behind the configuration: what each key is, and how the manual shows it. */
#include <inttypes.h>
#include <string.h>

#include "daemon/config_int.h"

#define MEMBER(m)                                                                                  \
    .offset = offsetof(struct lk_config, m), .size = sizeof(((struct lk_config *)0)->m)
#define NUMBER(name, m, low, high, of, standard, words)                                            \
    {                                                                                              \
        .key = (name), .kind = LK_ROW_NUMBER, MEMBER(m), .min = (low), .max = (high),              \
        .unit = (of), .fallback = (standard), .sentence = (words)                                  \
    }

const struct lk_config_row lk_config_rows[] = {
    {"data-dir", LK_ROW_FILE, false, MEMBER(data_dir), .fallback = "/var/lib/latchkey",
     .sentence =
         "Folder that holds the service's data and, unless told otherwise below, its keys."},
    {"store", LK_ROW_STORE, false, MEMBER(store), .fallback = "sqlite:<data-dir>/latchkey.db",
     .sentence =
         "The database: sqlite:FILE or postgresql://USER@HOST/DATABASE?passfile=FILE. Several "
         "servers of which one is the primary: "
         "postgresql://USER@HOST:PORT,HOST:PORT/DATABASE; the one that takes writes is "
         "found again when another is promoted."},
    {"keyring", LK_ROW_FILE, false, MEMBER(keyring), .fallback = "<data-dir>/master.key",
     .sentence = "File of the master keys, mode 0600. It is read again when it changes."},
    {"listen", LK_ROW_LISTEN, false, MEMBER(listen), .fallback = ":443",
     .sentence = "Address and port of the device API over HTTPS; without an address, all of them."},
    {"admin-listen", LK_ROW_ADMIN, false, MEMBER(admin_listen), .fallback = "127.0.0.1:9464",
     .sentence = "Address and port of the plain HTTP listener for health, metrics and the hub's "
                 "check of devices: on loopback only, or none."},
    {"health-listen", LK_ROW_LISTEN_OR_NONE, false, MEMBER(health_listen), .fallback = "none",
     .sentence = "Address and port of a plain HTTP listener where balancers on other machines ask "
                 "GET /readyz and /healthz, and nothing else; those on this one use admin-listen. "
                 "Not for devices: let a firewall admit the balancers only."},
    {"broker-listen", LK_ROW_LISTEN_OR_NONE, false, MEMBER(broker_listen), .fallback = "none",
     .sentence = "Address and port of the HTTPS listener where brokers on other machines ask about "
                 "devices (RabbitMQ, EMQX: doc/BROKERS.md); those on this one use admin-listen. "
                 "Not for devices: let a firewall admit the brokers only."},
    {"broker-secret", LK_ROW_FILE_OR_NONE, false, MEMBER(broker_secret), .fallback = "none",
     .sentence = "File of the secret that brokers have to know there, mode 0600: one line of 32 to "
                 "256 letters, digits and - . _ ~"},
    {"tls-cert", LK_ROW_FILE, true, MEMBER(tls_cert), .fallback = "<data-dir>/tls/server.pem",
     .sentence = "PEM file of the server's certificate, then those that signed it."},
    {"tls-key", LK_ROW_FILE, true, MEMBER(tls_key), .fallback = "<data-dir>/tls/server.key",
     .sentence = "PEM file of the certificate's private key; P-256 costs least per connection."},
    {"webhook-allow", LK_ROW_ALLOW, false, MEMBER(webhook_allow), .fallback = "none",
     .sentence = "Where webhooks of custom allocation may be: host names, addresses and networks, "
                 "apart by blanks; none: no webhook is called. Loopback, link-local, multicast and "
                 "unspecified addresses only when the address itself is listed; plain HTTP only to "
                 "loopback."},
    {"webhook-ca", LK_ROW_FILE_OR_NONE, false, MEMBER(webhook_ca), .fallback = "none",
     .sentence = "PEM file of the authorities that sign webhooks' certificates; none: the "
                 "system's."},
    {"hub-allow", LK_ROW_ALLOW, false, MEMBER(hub_allow), .fallback = "none",
     .sentence = "Where hubs elsewhere may be that are linked over the network (latchkey hub add "
                 "with a profile), as in webhook-allow; none: none can be. Hubs that were linked "
                 "on this machine need no entry."},
    {"hub-ca-file", LK_ROW_FILE_OR_NONE, false, MEMBER(hub_ca_file), .fallback = "none",
     .sentence =
         "PEM file of the authorities that sign certificates of hubs elsewhere, but of those "
         "that were added with their own; none: the system's."},
    {"client-regions", LK_ROW_REGIONS, false, MEMBER(client_regions), .fallback = "none",
     .sentence = "Regions of devices for geoLatency allocation, by the network that they come "
                 "from: NETWORK=REGION, apart by blanks; the narrowest network counts. Devices "
                 "are given hubs of their region (latchkey-hub(1)) as long as there is "
                 "one."},
    {"region", LK_ROW_REGION, false, MEMBER(region), .fallback = "none",
     .sentence = "Region of devices from any other network."},
    {"mqtt-socket", LK_ROW_SOCKET, false, MEMBER(mqtt_socket), .fallback = "none",
     .sentence = "Local socket on which the plugins in hubs' Mosquitto brokers ask about devices; "
                 "none: no hub has a broker. Of several services with one socket one serves it, "
                 "and another when that ends."},
    {"mqtt-user", LK_ROW_USER, false, MEMBER(mqtt_user), .fallback = "mosquitto",
     .sentence = "User that the brokers run as, who may use the socket; its group needs the "
                 "service's."},
    NUMBER("workers", workers, 0, 256, "", "0", "Event loops, each a thread; 0 is one a core."),
    NUMBER("challenge-epoch-s", challenge_epoch_s, 1, 86400, "s", "600",
           "How long a challenge can be answered: this long at least, twice as long at most."),
    NUMBER("audit-refusals-per-s", audit_refusals_per_s, 0, 10000, "", "20",
           "Refused devices that each worker records in the audit chain one by one in a second; "
           "the rest is counted."),
    NUMBER("audit-reads", audit_reads, 0, 1, "", "1",
           "1: reads through the operators' API are in the audit chain too, one by one, each with "
           "a commit of its own that its answer waits for; 0: changes and what hands out keys "
           "alone."),
    NUMBER("import-signature-required", import_signature_required, 0, 1, "", "0",
           "1: who a device is comes by manifests that are signed by a factory certificate, or "
           "from this machine: `latchkey enrollment import` takes no others, and the operators' "
           "API creates no enrollment or group, nor changes what devices prove themselves by."),
    NUMBER("bulk-max", bulk_max, 1, 1000, "", "10",
           "Most enrollments in one bulk request of the operators' API; http-body-max bounds it "
           "too."),
    NUMBER(
        "hub-call-ms", hub_call_ms, 100, 10000, "ms", "5000",
        "Longest time of one call to a hub elsewhere. What another instance was doing there when "
        "it died is taken up after six times that."),
    NUMBER(
        "hub-deadline-s", hub_deadline_s, 5, 86400, "s", "600",
        "How long a device reads `assigning` while its hub elsewhere cannot be reached or refuses "
        "this service; then its registration has failed."),
    NUMBER("hub-calls-max", hub_calls_max, 1, 256, "", "16",
           "Devices that are given to one hub elsewhere at a time, by this instance."),
    NUMBER("drain-ms", drain_ms, 0, 600000, "ms", "10000",
           "Time that requests under way are given when the service is told to stop."),
    {"log-target", LK_ROW_LOG_TARGET, false, MEMBER(log_target), .fallback = "json",
     .sentence = "Where the log goes: json (lines on standard error) or journald."},
    {"log-level", LK_ROW_LOG_LEVEL, true, MEMBER(log_level), .fallback = "info",
     .sentence = "What is logged: error, warning, info or debug, each with those before it."},
    NUMBER("http-head-max", limits.head_max, 1024, 262144, "bytes", "16384",
           "Longest request line with its headers."),
    NUMBER("http-headers-max", limits.headers_max, 8, 1000, "", "64",
           "Most header lines in a request."),
    NUMBER("http-body-max", limits.body_max, 4096, 16777216, "bytes", "98304",
           "Longest request body; telemetry and method calls at hubs, which are larger by their "
           "nature, have 384 KiB at least."),
    NUMBER("http-handshake-ms", limits.handshake_ms, 100, 600000, "ms", "10000",
           "Time for a whole TLS handshake."),
    NUMBER("http-head-ms", limits.head_ms, 100, 600000, "ms", "10000",
           "Time from the first byte of a request to the end of its headers."),
    NUMBER("http-body-ms", limits.body_ms, 100, 600000, "ms", "20000",
           "Time from the end of the headers to the end of the body."),
    NUMBER("http-idle-ms", limits.idle_ms, 100, 3600000, "ms", "75000",
           "Time that a connection may wait between two requests."),
    NUMBER("http-write-ms", limits.write_ms, 100, 600000, "ms", "20000",
           "Time for a peer to take a whole answer."),
    NUMBER("http-connections-max", limits.connections_max, 1, 1000000, "", "8192",
           "Open connections of each worker; more are closed at once."),
    NUMBER("http-connections-per-net", limits.connections_per_net, 1, 1000000, "", "2048",
           "Open connections of each worker from one IPv4 address or IPv6 /64."),
};
const size_t lk_config_rows_count = LK_ARRAY_LEN(lk_config_rows);

_Static_assert(LK_ARRAY_LEN(lk_config_rows) <= LK_CONFIG_ROWS_MAX, "lines[] in config.c");

static bool
row_differs(const struct lk_config_row *row, const struct lk_config *a, const struct lk_config *b)
{
    const char *x = (const char *)a + row->offset, *y = (const char *)b + row->offset;

    return row->size == LK_CONFIG_TEXT_CAP ? strcmp(x, y) != 0 : memcmp(x, y, row->size) != 0;
}

void
lk_config_diff(const struct lk_config *a, const struct lk_config *b,
               void (*each)(void *ctx, const char *key, bool reloadable), void *ctx)
{
    for (size_t i = 0; i < lk_config_rows_count; i++) {
        if (row_differs(&lk_config_rows[i], a, b)) {
            each(ctx, lk_config_rows[i].key, lk_config_rows[i].reloadable);
        }
    }
}

void
lk_config_adopt(struct lk_config *running, const struct lk_config *fresh)
{
    for (size_t i = 0; i < lk_config_rows_count; i++) {
        const struct lk_config_row *row = &lk_config_rows[i];

        if (row->reloadable) {
            memcpy((char *)running + row->offset, (const char *)fresh + row->offset, row->size);
        }
    }
}

/* roff reads '-' as a hyphen and a leading '.' as a request. */
static enum lk_err
roff_put(const char *text, struct lk_buf *ret)
{
    enum lk_err err = LK_OK;

    for (; *text != '\0' && err == LK_OK; text++) {
        err = *text == '-'    ? lk_buf_puts(ret, "\\-")
              : *text == '\\' ? lk_buf_puts(ret, "\\e")
                              : lk_buf_put(ret, text, 1);
    }
    return err;
}

/* "default 600 s, 1 to 86400, reload" */
static enum lk_err
facts_put(const struct lk_config_row *row, struct lk_buf *ret)
{
    const char *space = row->kind == LK_ROW_NUMBER && row->unit[0] != '\0' ? " " : "";
    const char *unit = row->kind == LK_ROW_NUMBER ? row->unit : "";
    enum lk_err err;

    if ((err = lk_buf_printf(ret, "Default %s%s%s", row->fallback, space, unit)) != LK_OK ||
        (row->kind == LK_ROW_NUMBER &&
         (err = lk_buf_printf(ret, ", %" PRIu32 " to %" PRIu32, row->min, row->max)) != LK_OK)) {
        return err;
    }
    return lk_buf_puts(ret, row->reloadable ? ". A reload takes it." : ".");
}

static enum lk_err
row_describe_roff(const struct lk_config_row *row, const char *facts, struct lk_buf *ret)
{
    enum lk_err err;

    if ((err = lk_buf_puts(ret, ".TP\n.B ")) != LK_OK || (err = roff_put(row->key, ret)) != LK_OK ||
        (err = lk_buf_puts(ret, "\n")) != LK_OK || (err = roff_put(row->sentence, ret)) != LK_OK ||
        (err = lk_buf_puts(ret, "\n")) != LK_OK || (err = roff_put(facts, ret)) != LK_OK) {
        return err;
    }
    return lk_buf_puts(ret, "\n");
}

enum lk_err
lk_config_describe(bool roff, struct lk_buf *ret)
{
    for (size_t i = 0; i < lk_config_rows_count; i++) {
        const struct lk_config_row *row = &lk_config_rows[i];
        LK_AUTO_BUF struct lk_buf facts = LK_BUF_INIT;
        enum lk_err err;

        if ((err = facts_put(row, &facts)) != LK_OK) {
            return err;
        }
        if (lk_buf_text(&facts) == NULL) {
            return LK_ERR_NOMEM;
        }
        err = roff ? row_describe_roff(row, lk_buf_text(&facts), ret)
                   : lk_buf_printf(ret, "  %s\n      %s\n      %s\n", row->key, row->sentence,
                                   lk_buf_text(&facts));
        if (err != LK_OK) {
            return err;
        }
    }
    return LK_OK;
}
