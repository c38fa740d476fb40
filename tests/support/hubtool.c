/*
 * What an operator's program does to a hub, for tests of its broker: in the store, from a process
 * of its own.
 *
 * usage: hubtool DATA-DIR send HUB DEVICE PROPERTIES BODY
 *        hubtool DATA-DIR desired HUB DEVICE JSON
 *        hubtool DATA-DIR show HUB DEVICE         presence, messages that wait, reported properties
 *        hubtool DATA-DIR policy HUB NAME         make one with all rights: its connection string
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "hub/message.h"
#include "hub/policy.h"
#include "hub/twin.h"
#include "store/store.h"

struct call {
    const char *hub, *device_id, *words[2];
    struct lk_presence presence;
    uint32_t waiting;
    struct lk_twin twin;
    const struct lk_keyring *ring;
    struct lk_buf text;
};

static enum lk_err
send_run(struct lk_txn *tx, void *arg)
{
    const struct call *c = arg;
    struct lk_c2d m = {.properties = LK_BUF_INIT, .body = LK_BUF_INIT};
    enum lk_err err;

    if ((err = lk_strcpy(m.hub, sizeof(m.hub), c->hub)) == LK_OK &&
        (err = lk_strcpy(m.device_id, sizeof(m.device_id), c->device_id)) == LK_OK &&
        (err = lk_buf_puts(&m.properties, c->words[0])) == LK_OK &&
        (err = lk_buf_puts(&m.body, c->words[1])) == LK_OK) {
        err = lk_c2d_send(tx, &m);
    }
    lk_c2d_fini(&m);
    return err;
}

static enum lk_err
desired_run(struct lk_txn *tx, void *arg)
{
    const struct call *c = arg;
    LK_AUTO(json) json_t *desired = NULL;
    char error[LK_TWIN_ERROR_CAP] = "";
    struct lk_twin_patch patch = {.how = LK_TWIN_MERGE};
    enum lk_err err = lk_json_parse(c->words[0], strlen(c->words[0]), false, NULL, &desired);

    patch.desired = desired;
    return err != LK_OK ? err : lk_twin_change(tx, c->hub, c->device_id, &patch, NULL, NULL, error);
}

static enum lk_err
show_run(struct lk_txn *tx, void *arg)
{
    struct call *c = arg;
    enum lk_err err;

    if ((err = lk_txn_presence_get(tx, c->hub, c->device_id, &c->presence)) != LK_OK ||
        (err = lk_txn_c2d_count(tx, c->hub, c->device_id, &c->waiting)) != LK_OK) {
        return err;
    }
    return lk_txn_twin_get(tx, c->hub, c->device_id, &c->twin);
}

/* name is device_id. */
static enum lk_err
policy_run(struct lk_txn *tx, void *arg)
{
    struct call *c = arg;
    struct lk_hub_policy p;
    enum lk_err err =
        lk_hub_policy_make(c->ring, &lk_rand_system, c->hub, c->device_id, LK_HUB_RIGHTS_ALL, &p);

    lk_buf_reset(&c->text);
    if (err == LK_OK && (err = lk_txn_hub_policy_put(tx, &p)) == LK_OK) {
        err = lk_hub_policy_connection_string(c->ring, &p, LK_POLICY_PRIMARY, c->hub, &c->text);
    }
    lk_hub_policy_fini(&p);
    return err;
}

static enum lk_err
run(struct lk_session *s, const char *what, struct call *c, int words)
{
    enum lk_err err;

    if (strcmp(what, "send") == 0 && words == 2) {
        return lk_store_write_wait(s, send_run, c);
    }
    if (strcmp(what, "desired") == 0 && words == 1) {
        return lk_store_write_wait(s, desired_run, c);
    }
    if (strcmp(what, "policy") == 0 && words == 0) {
        if ((err = lk_store_write_wait(s, policy_run, c)) == LK_OK) {
            (void)printf("%s\n", lk_buf_text(&c->text));
        }
        return err;
    }
    if (strcmp(what, "show") != 0 || words != 0) {
        return LK_ERR_ARG;
    }
    if ((err = lk_store_read_wait(s, show_run, c)) == LK_OK) {
        (void)printf("{\"connected\":%s,\"waiting\":%" PRIu32 ",\"reported\":%s}\n",
                     c->presence.connected ? "true" : "false", c->waiting,
                     c->twin.reported.len == 0 ? "{}" : lk_buf_text(&c->twin.reported));
    }
    return err;
}

int
main(int argc, char **argv)
{
    LK_AUTO(lk_keyring) struct lk_keyring *ring = NULL;
    LK_AUTO(lk_store) struct lk_store *store = NULL;
    LK_AUTO(lk_session) struct lk_session *session = NULL;
    char error[LK_STORE_ERROR_CAP > LK_KEYRING_ERROR_CAP ? LK_STORE_ERROR_CAP
                                                         : LK_KEYRING_ERROR_CAP] = "";
    char url[4096], keyring[4096];
    struct lk_store_config config = {.url = url};
    struct call c = {.twin = LK_TWIN_INIT, .text = LK_BUF_INIT};
    enum lk_err err;

    if (argc < 5) {
        return 2;
    }
    (void)snprintf(url, sizeof(url), "sqlite:%s/latchkey.db", argv[1]);
    (void)snprintf(keyring, sizeof(keyring), "%s/master.key", argv[1]);
    c.hub = argv[3];
    c.device_id = argv[4];
    c.words[0] = argc > 5 ? argv[5] : NULL;
    c.words[1] = argc > 6 ? argv[6] : NULL;
    if ((err = lk_crypto_init()) == LK_OK &&
        (err = lk_keyring_load(keyring, error, &ring)) == LK_OK) {
        c.ring = ring;
        lk_keyring_audit_key(ring, config.audit_key);
        if ((err = lk_store_open(&config, error, &store)) == LK_OK &&
            (err = lk_session_open(store, &session)) == LK_OK) {
            err = run(session, argv[2], &c, argc - 5);
        }
    }
    lk_twin_fini(&c.twin);
    lk_buf_fini(&c.text);
    if (err != LK_OK) {
        (void)fprintf(stderr, "hubtool: %s %s\n", lk_err_text(err), error);
    }
    return err == LK_OK ? 0 : 1;
}
