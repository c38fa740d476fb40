/*
 * A whole device: registers, connects to its hub over MQTT, sends a temperature every five seconds,
 * answers direct methods, takes desired properties, and renews its token.
 *
 *   device URL ID_SCOPE CA_FILE [TOKEN_SECONDS]
 *
 * CA_FILE is trusted for the service and for the hub. Needs libmosquitto:
 * cc device.c $(pkg-config --cflags --libs latchkey libmosquitto)
 */
#include <mosquitto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <latchkey/latchkey.h>

#define TELEMETRY_EVERY_S 5
#define METHOD "$iothub/methods/POST/"
#define DESIRED "$iothub/twin/PATCH/properties/desired/"

static int connected, refused; /* what the hub said last */

static void
on_connect(struct mosquitto *mqtt, void *ctx, int code)
{
    (void)ctx;
    printf("connect: %s\n", mosquitto_connack_string(code));
    connected = code == 0;
    refused = code == 4 || code == 5; /* MQTT 3.1.1, 3.2.2.3: bad password, not authorised */
    mosquitto_subscribe(mqtt, NULL, METHOD "#", 0);
    mosquitto_subscribe(mqtt, NULL, DESIRED "#", 0);
}

static void
on_message(struct mosquitto *mqtt, void *ctx, const struct mosquitto_message *m)
{
    static const char answer[] = "{\"done\":true}";
    const char *rid = strstr(m->topic, "/?$rid="); /* a request id is sent back as it came */
    char topic[512];

    (void)ctx;
    printf("%s %.*s\n", m->topic, m->payloadlen, (const char *)m->payload);
    if (strncmp(m->topic, METHOD, strlen(METHOD)) == 0 && rid != NULL && strlen(rid) < 300) {
        snprintf(topic, sizeof(topic), "$iothub/methods/res/200%s", rid);
        mosquitto_publish(mqtt, NULL, topic, (int)strlen(answer), answer, 0, false);
    }
}

static void
telemetry(struct mosquitto *mqtt, const char *device_id)
{
    char topic[256], body[64];

    /* Properties follow the last '/', percent-encoded: this one is the content type. */
    snprintf(topic, sizeof(topic), "devices/%s/messages/events/%%24.ct=application%%2Fjson",
             device_id);
    snprintf(body, sizeof(body), "{\"temperature\":%.1f}", 20.0 + rand() % 50 / 10.0);
    mosquitto_publish(mqtt, NULL, topic, (int)strlen(body), body, 1, false);
}

/* Stay connected until the hub refuses the token. */
static enum lk_err
serve(struct lk_tpm *tpm, struct mosquitto *mqtt, struct lk_device_mqtt *settings)
{
    int rc = MOSQ_ERR_NO_CONN;
    time_t sent = 0;
    enum lk_err err;

    for (refused = 0; !refused; fflush(stdout)) {
        if (lk_device_mqtt_due_s(settings, (uint64_t)time(NULL)) == 0) {
            if ((err = lk_device_mqtt_renew(tpm, settings)) != LK_OK) {
                return err;
            }
            mosquitto_disconnect(mqtt); /* the token counts when a connection begins */
            rc = MOSQ_ERR_NO_CONN;
        }
        if (rc != MOSQ_ERR_SUCCESS) {
            connected = 0;
            nanosleep(&(struct timespec){.tv_sec = 1 + rand() % 5}, NULL); /* not all at once */
            mosquitto_username_pw_set(mqtt, settings->user_name, settings->password);
            rc = mosquitto_connect(mqtt, settings->host, settings->port, 240);
        } else {
            rc = mosquitto_loop(mqtt, 1000, 1);
        }
        if (connected && time(NULL) - sent >= TELEMETRY_EVERY_S) {
            telemetry(mqtt, settings->client_id);
            sent = time(NULL);
        }
    }
    return LK_ERR_REFUSED;
}

static enum lk_err
run(struct lk_tpm *tpm, const struct lk_register_opts *opts, uint32_t ttl_s)
{
    struct lk_register_result hub;
    struct lk_device_mqtt settings = {.port = 0};
    struct mosquitto *mqtt = NULL;
    enum lk_err err = lk_device_register(tpm, opts, &hub);

    if (err == LK_OK) {
        const struct lk_device_mqtt_opts mqtt_opts = {
            .hub = hub.hub, .device_id = hub.device_id, .ttl_s = ttl_s};

        err = lk_device_mqtt(tpm, &mqtt_opts, &settings);
    }
    if (err == LK_OK) {
        mqtt = mosquitto_new(settings.client_id, false, NULL);
        err = mqtt == NULL ? LK_ERR_NOMEM : LK_OK;
    }
    if (err == LK_OK) {
        mosquitto_tls_set(mqtt, opts->ca_file, NULL, NULL, NULL, NULL);
        mosquitto_connect_callback_set(mqtt, on_connect);
        mosquitto_message_callback_set(mqtt, on_message);
        err = serve(tpm, mqtt, &settings);
    }
    mosquitto_destroy(mqtt);
    lk_device_mqtt_wipe(&settings);
    lk_register_result_fini(&hub);
    return err;
}

int
main(int argc, char **argv)
{
    struct lk_register_opts opts = {.url = NULL};
    struct lk_tpm *tpm = NULL;
    enum lk_err err;

    if (argc != 4 && argc != 5) {
        fprintf(stderr, "usage: %s URL ID_SCOPE CA_FILE [TOKEN_SECONDS]\n", argv[0]);
        return 2;
    }
    opts.url = argv[1];
    opts.id_scope = argv[2];
    opts.ca_file = argv[3];
    mosquitto_lib_init();
    if ((err = lk_tpm_open(NULL, &tpm)) == LK_OK) {
        while ((err = run(tpm, &opts, argc > 4 ? (uint32_t)atoi(argv[4]) : 0)) == LK_ERR_REFUSED) {
            fprintf(stderr, "refused; registering again in a minute\n");
            nanosleep(&(struct timespec){.tv_sec = 60}, NULL);
        }
    }
    fprintf(stderr, "%s\n", lk_err_text(err));
    lk_tpm_close(tpm);
    mosquitto_lib_cleanup();
    return 1;
}
