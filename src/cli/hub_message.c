/* latchkey hub message: messages to devices. */
#include <string.h>

#include "base/codec.h"
#include "cli/hub_device.h"
#include "hub/message.h"

enum { OPT_BODY = LK_CLI_OPT_COMMAND, OPT_PROPERTY, OPT_MESSAGE_ID, OPT_CONTENT_TYPE, OPT_EXPIRES };

#define EXPIRES_MAX_S ((uint64_t)LK_C2D_TTL_MS / 1000)

struct sending {
    struct lk_cli_hub_call call;
    const char *body_file;
    uint64_t expires_s; /* 0: the longest there is */
    struct lk_buf properties, body;
};

static void
sending_fini(struct sending *s)
{
    lk_buf_fini(&s->properties);
    lk_buf_fini(&s->body);
    lk_cli_hub_call_fini(&s->call);
}

/* As in a topic: "name=value", both percent-encoded, joined by '&'. */
static enum lk_err
property_put(struct lk_buf *properties, const char *name, size_t name_len, const char *value)
{
    enum lk_err err = properties->len == 0 ? LK_OK : lk_buf_puts(properties, "&");

    if (err != LK_OK || (err = lk_percent_encode(name, name_len, properties)) != LK_OK ||
        (err = lk_buf_puts(properties, "=")) != LK_OK) {
        return err;
    }
    return lk_percent_encode(value, strlen(value), properties);
}

static enum lk_err
send_take(void *ctx, int option, const char *value)
{
    struct sending *s = ctx;
    size_t name_len = strcspn(value, "=");

    switch (option) {
    case OPT_BODY:
        s->body_file = value;
        return LK_OK;
    case OPT_PROPERTY:
        return name_len == 0 || value[0] == '$' || value[name_len] == '\0'
                   ? LK_ERR_ARG
                   : property_put(&s->properties, value, name_len, value + name_len + 1);
    case OPT_MESSAGE_ID:
        return property_put(&s->properties, "$.mid", strlen("$.mid"), value);
    case OPT_CONTENT_TYPE:
        return property_put(&s->properties, "$.ct", strlen("$.ct"), value);
    default:
        return lk_cli_number(value, 1, EXPIRES_MAX_S, &s->expires_s);
    }
}

static const struct lk_cli_form send_form = {
    .usage =
        "latchkey hub message send HUB DEVICE_ID [--body-file FILE] [--property NAME=VALUE]...\n"
        "         [--message-id ID] [--content-type TYPE] [--expires-s SECONDS] "
        "[--config FILE]",
    .help = "Queue a message to a device, which gets it when it is connected, at least once. At\n"
            "most 50 messages wait for a device.\n\n"
            "  --body-file FILE         at most 64 KiB, properties included; default - (stdin)\n"
            "  --property NAME=VALUE    a property of the message; may be repeated\n"
            "  --message-id ID          its message ID\n"
            "  --content-type TYPE      its content type\n"
            "  --expires-s SECONDS      it is dropped if the device has not taken it by then;\n"
            "                           default and at most two days\n" LK_CLI_CONFIG_HELP,
    .options = (const struct option[]){{"body-file", required_argument, NULL, OPT_BODY},
                                       {"property", required_argument, NULL, OPT_PROPERTY},
                                       {"message-id", required_argument, NULL, OPT_MESSAGE_ID},
                                       {"content-type", required_argument, NULL, OPT_CONTENT_TYPE},
                                       {"expires-s", required_argument, NULL, OPT_EXPIRES},
                                       LK_CLI_CONFIG_OPTION,
                                       LK_CLI_END_OPTIONS},
    .words_min = 2,
    .words_max = 2,
    .take = send_take,
};

static enum lk_err
message_make(const struct sending *s, int64_t now_ms, struct lk_c2d *m)
{
    enum lk_err err;

    m->expires_ms = s->expires_s == 0 ? 0 : now_ms + (int64_t)s->expires_s * 1000;
    if ((err = lk_strcpy(m->hub, sizeof(m->hub), s->call.hub)) != LK_OK ||
        (err = lk_strcpy(m->device_id, sizeof(m->device_id), s->call.device_id)) != LK_OK ||
        (err = lk_buf_put(&m->properties, s->properties.data, s->properties.len)) != LK_OK) {
        return err;
    }
    return lk_buf_put(&m->body, s->body.data, s->body.len);
}

static enum lk_err
send_run(struct lk_txn *tx, void *arg)
{
    struct sending *s = arg;
    struct lk_c2d m = {.expires_ms = 0};
    enum lk_err err = message_make(s, lk_txn_now_ms(tx), &m);

    if (err == LK_OK) {
        err = lk_c2d_send(tx, &m);
    }
    lk_c2d_fini(&m);
    return err != LK_OK ? err : lk_cli_hub_audit(&s->call, tx, "hub.message.send");
}

static int
message_send(int argc, char **argv)
{
    __attribute__((cleanup(sending_fini))) struct sending s = {
        .body_file = "-", .properties = {.max = LK_C2D_PROPERTIES_MAX}};
    char shown[LK_CLI_SHOWN_CAP];
    int code;
    enum lk_err err;

    if (!lk_cli_hub_call_open(&s.call, &send_form, argc, argv, &s, LK_CLI_WRITE, &code)) {
        return code;
    }
    if ((err = lk_cli_bytes_read(s.body_file, LK_C2D_BODY_MAX, &s.body)) != LK_OK) {
        return lk_cli_fail(err, "cannot read %s", lk_cli_shown(s.body_file, shown));
    }
    err = lk_store_write_wait(s.call.s.session, send_run, &s);
    if (err == LK_ERR_LIMIT) {
        return lk_cli_fail(err, "%u messages wait for the device already", LK_C2D_QUEUE_MAX);
    }
    if (err == LK_ERR_ARG) {
        return lk_cli_fail(LK_ERR_LIMIT, "the message is over %zu bytes, properties included",
                           LK_C2D_BODY_MAX);
    }
    return err == LK_OK ? 0 : lk_cli_store_fail(err, "cannot send the message");
}

int
lk_cli_hub_message(int argc, char **argv)
{
    static const struct lk_command commands[] = {
        {"send", message_send, "send a message to a device"},
        {NULL, NULL, NULL},
    };

    return lk_cli_dispatch(commands, "latchkey hub message", argc, argv);
}
