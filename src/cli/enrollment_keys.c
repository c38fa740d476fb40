/* Endorsement keys on the command line; latchkey enrollment add-ek, remove-ek. */
#include <errno.h>
#include <string.h>

#include "base/codec.h"
#include "cli/cmd_enrollment.h"

#define EK_FILE_MAX 4096u /* bytes of a file with a key in base64 */

enum { OPT_EK = LK_CLI_OPT_COMMAND, OPT_EK_ID };

/* ---- keys ------------------------------------------------------------------------------------ */

enum lk_err
lk_cli_ek_take(struct lk_cli_eks *eks, const char *value)
{
    if (eks->count == LK_EKS_MAX) {
        return LK_ERR_ARG;
    }
    eks->values[eks->count++] = value;
    return LK_OK;
}

/* The text of an --ek without the white space around it, which a file has at its end. */
static int
ek_text_read(const char *value, struct lk_buf *ret)
{
    char shown[LK_CLI_SHOWN_CAP];
    enum lk_err err;

    errno = 0;
    err = value[0] == '@' ? lk_cli_file_read(value + 1, EK_FILE_MAX, ret) : lk_buf_puts(ret, value);
    if (err != LK_OK) {
        return lk_cli_fail(err, "cannot read the endorsement key %s", lk_cli_shown(value, shown));
    }
    while (ret->len > 0 && strchr(" \t\r\n", (char)ret->data[ret->len - 1]) != NULL) {
        ret->len--;
    }
    return 0;
}

static int
ek_add(const char *value, struct lk_enrollment *e)
{
    LK_AUTO_BUF struct lk_buf text = LK_BUF_INIT;
    LK_AUTO_BUF struct lk_buf ek = LK_BUF_INIT;
    char shown[LK_CLI_SHOWN_CAP];
    const char *why = NULL;
    int code;
    enum lk_err err;

    if ((code = ek_text_read(value, &text)) != 0) {
        return code;
    }
    err = lk_base64_decode((const char *)text.data, text.len, &ek);
    if (err != LK_OK) {
        lk_cli_note("the endorsement key %.60s is not base64 with its padding",
                    lk_cli_shown(value, shown));
        return lk_err_exit_code(err);
    }
    if ((err = lk_enrollment_ek_add(e, ek.data, ek.len, &why)) != LK_OK) {
        lk_cli_note("the endorsement key %.60s is not acceptable: %s", lk_cli_shown(value, shown),
                    why);
        return lk_err_exit_code(err);
    }
    return 0;
}

int
lk_cli_eks_add(const struct lk_cli_eks *eks, struct lk_enrollment *e)
{
    int code = 0;

    for (size_t i = 0; code == 0 && i < eks->count; i++) {
        code = ek_add(eks->values[i], e);
    }
    return code;
}

/* ---- add-ek ---------------------------------------------------------------------------------- */

static enum lk_err
ek_option_take(void *ctx, int option, const char *value)
{
    return lk_cli_ek_take((struct lk_cli_eks *)ctx, value);
}

static const struct lk_cli_form add_ek_form = {
    .usage = "latchkey enrollment add-ek ID --ek BASE64|@FILE [--scope ID] [SERVICE]",
    .help = "Accept another endorsement key of the same device: one TPM shows different keys to\n"
            "different client libraries.\n\n" LK_CLI_EK_HELP LK_CLI_SCOPE_HELP LK_CLI_SERVICE_HELP,
    .options = (const struct option[]){{"ek", required_argument, NULL, OPT_EK},
                                       LK_CLI_SCOPE_OPTION,
                                       LK_CLI_SERVICE_OPTIONS,
                                       LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
    .take = ek_option_take,
};

struct ek_change {
    struct lk_cli_enrollment c;
    struct lk_enrollment given; /* holds the judged keys to add */
    uint8_t id[LK_EK_ID_LEN];   /* of the key to remove */
    bool id_given;
    const char *why; /* NULL, or why it cannot be done */
};

static void
ek_change_fini(struct ek_change *k)
{
    lk_cli_enrollment_fini(&k->c);
    lk_enrollment_fini(&k->given);
}
#define AUTO_EK_CHANGE __attribute__((cleanup(ek_change_fini))) struct ek_change

static void
ek_change_init(struct ek_change *k)
{
    memset(k, 0, sizeof(*k));
    lk_cli_enrollment_init(&k->c);
    lk_enrollment_init(&k->given);
}

static enum lk_err
ek_update(struct lk_txn *tx, struct ek_change *k, const char *verb, const uint8_t id[LK_EK_ID_LEN])
{
    char text[LK_CLI_EK_ID_CAP], detail[128];

    (void)snprintf(detail, sizeof(detail), "{\"%s\":\"%s\"}", verb, lk_cli_ek_id(id, text));
    return lk_cli_enrollment_update(tx, &k->c, detail);
}

/* The given keys into the enrollment, which was read. tx may be NULL: without audit records. */
static enum lk_err
eks_take(struct lk_txn *tx, struct ek_change *k)
{
    enum lk_err err = LK_OK;

    k->why = NULL;
    if (k->c.e.attestation != LK_ATTESTATION_TPM) {
        k->why = "the device proves itself otherwise, not by a TPM";
        return LK_ERR_UNSUPPORTED;
    }
    for (size_t i = 0; err == LK_OK && i < k->given.eks_count; i++) {
        const struct lk_ek *ek = &k->given.eks[i];

        err = lk_enrollment_ek_add(&k->c.e, ek->pub, ek->pub_len, &k->why);
        if (err == LK_OK && tx != NULL) {
            err = ek_update(tx, k, "endorsementKeyAdded", ek->id);
        }
    }
    return err;
}

static enum lk_err
add_ek_run(struct lk_txn *tx, void *arg)
{
    struct ek_change *k = (struct ek_change *)arg;
    enum lk_err err = lk_cli_enrollment_get(tx, &k->c);

    return err != LK_OK ? err : eks_take(tx, k);
}

static enum lk_err
add_ek_send(struct ek_change *k)
{
    enum lk_err err = lk_cli_enrollment_fetch(&k->c);

    if (err != LK_OK || (err = eks_take(NULL, k)) != LK_OK) {
        return err;
    }
    return lk_cli_enrollment_send(&k->c);
}

static int
ek_change_fail(enum lk_err err, const struct ek_change *k, const char *what)
{
    if (k->why != NULL) {
        lk_cli_note("%s: %s", what, k->why);
        return lk_err_exit_code(err);
    }
    return lk_cli_enrollment_fail(err, &k->c, what);
}

int
lk_cli_enrollment_add_ek(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    AUTO_EK_CHANGE k;
    struct lk_cli_common common = {.json = false};
    struct lk_cli_eks eks = {.count = 0};
    int code;
    enum lk_err err;

    ek_change_init(&k);
    if (!lk_cli_options(&add_ek_form, argc, argv, &common, &eks, &code)) {
        return code;
    }
    if (eks.count == 0) {
        return lk_cli_usage(add_ek_form.usage, "--ek is needed");
    }
    if ((code = lk_cli_enrollment_open(&common, LK_CLI_WRITE, argv[optind], &s, &k.c)) != 0 ||
        (code = lk_cli_eks_add(&eks, &k.given)) != 0) {
        return code;
    }
    err = s.remote != NULL ? add_ek_send(&k) : lk_store_write_wait(s.session, add_ek_run, &k);
    if (err != LK_OK) {
        return ek_change_fail(err, &k, "cannot add the endorsement key");
    }
    lk_cli_note("%s accepts %zu endorsement keys", k.c.e.id, k.c.e.eks_count);
    return 0;
}

/* ---- remove-ek ------------------------------------------------------------------------------- */

static enum lk_err
ek_id_take(void *ctx, int option, const char *value)
{
    LK_AUTO_BUF struct lk_buf id = LK_BUF_INIT;
    struct ek_change *k = (struct ek_change *)ctx;

    if (lk_hex_decode(value, strlen(value), &id) != LK_OK || id.len != LK_EK_ID_LEN) {
        return LK_ERR_ARG;
    }
    memcpy(k->id, id.data, id.len);
    k->id_given = true;
    return LK_OK;
}

static const struct lk_cli_form remove_ek_form = {
    .usage = "latchkey enrollment remove-ek ID --ek-id HEX [--scope ID] [SERVICE]",
    .help = "Accept an endorsement key no longer. The last one cannot be removed.\n\n"
            "  --ek-id HEX              the key's identity, as `latchkey enrollment show` prints "
            "it\n" LK_CLI_SCOPE_HELP LK_CLI_SERVICE_HELP,
    .options = (const struct option[]){{"ek-id", required_argument, NULL, OPT_EK_ID},
                                       LK_CLI_SCOPE_OPTION,
                                       LK_CLI_SERVICE_OPTIONS,
                                       LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
    .take = ek_id_take,
};

/* The key out of the enrollment, which was read. */
static enum lk_err
ek_drop(struct ek_change *k)
{
    struct lk_enrollment *e = &k->c.e;
    size_t at = 0;

    k->why = NULL;
    while (at < e->eks_count && memcmp(e->eks[at].id, k->id, LK_EK_ID_LEN) != 0) {
        at++;
    }
    if (at == e->eks_count) {
        k->why = "the enrollment does not accept such a key";
        return LK_ERR_NOT_FOUND;
    }
    if (e->eks_count == 1) {
        k->why = "it is the last one; remove or disable the enrollment instead";
        return LK_ERR_PRECONDITION;
    }
    e->eks_count--;
    memmove(&e->eks[at], &e->eks[at + 1], (e->eks_count - at) * sizeof(e->eks[0]));
    return LK_OK;
}

static enum lk_err
remove_ek_run(struct lk_txn *tx, void *arg)
{
    struct ek_change *k = (struct ek_change *)arg;
    enum lk_err err = lk_cli_enrollment_get(tx, &k->c);

    if (err != LK_OK || (err = ek_drop(k)) != LK_OK) {
        return err;
    }
    return ek_update(tx, k, "endorsementKeyRemoved", k->id);
}

static enum lk_err
remove_ek_send(struct ek_change *k)
{
    enum lk_err err = lk_cli_enrollment_fetch(&k->c);

    if (err != LK_OK || (err = ek_drop(k)) != LK_OK) {
        return err;
    }
    return lk_cli_enrollment_send(&k->c);
}

int
lk_cli_enrollment_remove_ek(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    AUTO_EK_CHANGE k;
    struct lk_cli_common common = {.json = false};
    int code;
    enum lk_err err;

    ek_change_init(&k);
    if (!lk_cli_options(&remove_ek_form, argc, argv, &common, &k, &code)) {
        return code;
    }
    if (!k.id_given) {
        return lk_cli_usage(remove_ek_form.usage, "--ek-id is needed");
    }
    if ((code = lk_cli_enrollment_open(&common, LK_CLI_WRITE, argv[optind], &s, &k.c)) != 0) {
        return code;
    }
    err = s.remote != NULL ? remove_ek_send(&k) : lk_store_write_wait(s.session, remove_ek_run, &k);
    if (err != LK_OK) {
        return ek_change_fail(err, &k, "cannot remove the endorsement key");
    }
    lk_cli_note("%s accepts %zu endorsement keys", k.c.e.id, k.c.e.eks_count);
    return 0;
}
