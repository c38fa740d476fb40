/* latchkey trust: certificates and revocation lists that the operator relies on. */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "cli/options.h"
#include "cli/service.h"
#include "crypto/trust_file.h"

#define ID_CAP 65u       /* a SHA-256 in hexadecimal with its NUL */
#define ID_PREFIX_MIN 8u /* digits by which one is named at least */
#define LIST_MAX ((size_t)4 * 1024 * 1024)

static const char *
kind_name(enum lk_trust_kind kind)
{
    switch (kind) {
    case LK_TRUST_ROOT:
        return "root";
    case LK_TRUST_INTERMEDIATE:
        return "intermediate";
    case LK_TRUST_CRL:
        return "crl";
    case LK_TRUST_FACTORY:
        return "factory";
    }
    return "unknown";
}

static const char *
id_text(const uint8_t id[32], char buf[ID_CAP])
{
    for (size_t i = 0; i < 32; i++) {
        (void)snprintf(buf + 2 * i, 3, "%02x", id[i]);
    }
    return buf;
}

static enum lk_err
audit(struct lk_txn *tx, const char *actor, const char *action, const struct lk_trust *t)
{
    char id[ID_CAP], detail[128];

    (void)snprintf(detail, sizeof(detail), "{\"kind\":\"%s\",\"sha256\":\"%s\"}",
                   kind_name(t->kind), id_text(t->id, id));
    return lk_txn_audit_append(tx, actor, action, "", t->subject, detail);
}

/* ---- add ------------------------------------------------------------------------------------- */

enum { OPT_FACTORY = LK_CLI_OPT_COMMAND, OPT_ROOT, OPT_INTERMEDIATE, OPT_CRL };

static enum lk_err
kind_take(void *ctx, int option, const char *value)
{
    enum lk_trust_kind *kind = (enum lk_trust_kind *)ctx;

    if (*kind != 0) {
        return LK_ERR_ARG;
    }
    *kind = option == OPT_FACTORY        ? LK_TRUST_FACTORY
            : option == OPT_ROOT         ? LK_TRUST_ROOT
            : option == OPT_INTERMEDIATE ? LK_TRUST_INTERMEDIATE
                                         : LK_TRUST_CRL;
    return LK_OK;
}

static const struct lk_cli_form add_form = {
    .usage = "latchkey trust add --factory|--root|--intermediate|--crl FILE|- [--config FILE]",
    .help = "Import the certificates of a file, or its revocation lists: PEM with one or more, or\n"
            "one in DER. All of them or none.\n\n"
            "  --factory                they sign manifests, or certify those who do\n"
            "  --root                   a TPM maker's root certificates\n"
            "  --intermediate           they lead to a root; trusted for nothing themselves\n"
            "  --crl                    revocation lists\n" LK_CLI_CONFIG_HELP,
    .options = (const struct option[]){{"factory", no_argument, NULL, OPT_FACTORY},
                                       {"root", no_argument, NULL, OPT_ROOT},
                                       {"intermediate", no_argument, NULL, OPT_INTERMEDIATE},
                                       {"crl", no_argument, NULL, OPT_CRL},
                                       LK_CLI_CONFIG_OPTION,
                                       LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
    .take = kind_take,
};

struct addition {
    const char *actor;
    enum lk_trust_kind kind;
    struct lk_buf bytes; /* of the file */
    char reason[LK_TRUST_REASON_CAP];
    struct lk_txn *tx;
    bool print; /* tell what was added; nothing is stored */
};

static void
addition_fini(struct addition *a)
{
    lk_buf_fini(&a->bytes);
}

/* A list among certificates, or the reverse, is more likely a mistake than meant. */
static enum lk_err
item_check(struct addition *a, const struct lk_trust_item *item)
{
    if (item->is_crl != (a->kind == LK_TRUST_CRL)) {
        (void)snprintf(a->reason, sizeof(a->reason), "%s",
                       item->is_crl ? "there is a revocation list in it: import those with --crl"
                                    : "there is a certificate in it, and --crl is for lists");
        return LK_ERR_FORMAT;
    }
    if ((a->kind == LK_TRUST_ROOT || a->kind == LK_TRUST_INTERMEDIATE) && !item->is_ca) {
        (void)snprintf(a->reason, sizeof(a->reason), "%.64s cannot certify others: it is no CA's",
                       item->name);
        return LK_ERR_FORMAT;
    }
    if (item->der_len > LK_TRUST_DER_MAX) {
        (void)snprintf(a->reason, sizeof(a->reason), "%.64s is too long", item->name);
        return LK_ERR_LIMIT;
    }
    return LK_OK;
}

static enum lk_err
item_store(struct addition *a, const struct lk_trust_item *item)
{
    struct lk_trust t = {.kind = a->kind, .der = {.max = LK_TRUST_DER_MAX}};
    enum lk_err err;

    memcpy(t.id, item->sha256, sizeof(t.id));
    if ((err = lk_strcpy(t.subject, sizeof(t.subject), item->name)) == LK_OK &&
        (err = lk_buf_put(&t.der, item->der, item->der_len)) == LK_OK &&
        (err = lk_txn_trust_put(a->tx, &t)) == LK_OK) {
        err = audit(a->tx, a->actor, "trust.add", &t);
    }
    lk_trust_fini(&t);
    return err;
}

static enum lk_err
item_take(void *ctx, const struct lk_trust_item *item)
{
    struct addition *a = (struct addition *)ctx;
    bool late =
        item->until_unix_s != 0 && item->until_unix_s < lk_clock_unix_ms(&lk_clock_system) / 1000;
    char id[ID_CAP];
    enum lk_err err = item_check(a, item);

    if (err != LK_OK || !a->print) {
        return err != LK_OK ? err : item_store(a, item);
    }
    (void)printf("%-12s %s  %s\n", kind_name(a->kind), id_text(item->sha256, id), item->name);
    if (late) {
        lk_cli_note("warning: %s is out of date", item->name);
    }
    return LK_OK;
}

static enum lk_err
add_run(struct lk_txn *tx, void *arg)
{
    struct addition *a = (struct addition *)arg;

    a->tx = tx;
    return lk_trust_file_read(a->bytes.data, a->bytes.len, a->reason, item_take, a);
}

static int
added_tell(enum lk_err err, struct addition *a, const char *shown)
{
    if (err != LK_OK && a->reason[0] != '\0') {
        lk_cli_note("nothing was imported from %s: %s", shown, a->reason);
        return lk_err_exit_code(err);
    }
    if (err != LK_OK) {
        return lk_cli_store_fail(err, "nothing was imported");
    }
    a->print = true;
    err = lk_trust_file_read(a->bytes.data, a->bytes.len, a->reason, item_take, a);
    return err != LK_OK ? lk_cli_fail(err, "cannot tell what was imported") : 0;
}

static int
trust_add(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    __attribute__((cleanup(addition_fini))) struct addition a = {.actor = s.actor};
    struct lk_cli_common common = {.json = false};
    char shown[LK_CLI_SHOWN_CAP];
    int code;
    enum lk_err err;

    if (!lk_cli_options(&add_form, argc, argv, &common, &a.kind, &code)) {
        return code;
    }
    if (a.kind == 0) {
        return lk_cli_usage(add_form.usage, "say what they are trusted for: --factory, --root, "
                                            "--intermediate or --crl");
    }
    (void)lk_cli_shown(strcmp(argv[optind], "-") == 0 ? "standard input" : argv[optind], shown);
    errno = 0;
    if ((err = lk_cli_bytes_read(argv[optind], LK_TRUST_FILE_MAX, &a.bytes)) != LK_OK) {
        return lk_cli_fail(err, "cannot read %s", shown);
    }
    if ((code = lk_cli_service_open(common.config, LK_CLI_WRITE, &s)) != 0) {
        return code;
    }
    return added_tell(lk_store_write_wait(s.session, add_run, &a), &a, shown);
}

/* ---- list ------------------------------------------------------------------------------------ */

static const struct lk_cli_form list_form = {
    .usage = "latchkey trust list [--json] [--config FILE]",
    .help = "List what is trusted.\n\n" LK_CLI_JSON_HELP LK_CLI_CONFIG_HELP,
    .options =
        (const struct option[]){LK_CLI_JSON_OPTION, LK_CLI_CONFIG_OPTION, LK_CLI_END_OPTIONS},
};

struct listing {
    bool json;
    struct lk_buf text;
};

static void
listing_fini(struct listing *l)
{
    lk_buf_fini(&l->text);
}

static enum lk_err
until_take(void *ctx, const struct lk_trust_item *item)
{
    *(int64_t *)ctx = item->until_unix_s;
    return LK_OK;
}

static enum lk_err
trust_put(void *ctx, const struct lk_trust *t)
{
    struct listing *l = (struct listing *)ctx;
    char id[ID_CAP], added[LK_CLI_TIME_CAP], until[LK_CLI_TIME_CAP], why[LK_TRUST_REASON_CAP];
    int64_t until_s = 0;
    enum lk_err err = lk_trust_file_read(t->der.data, t->der.len, why, until_take, &until_s);

    if (err != LK_OK && err != LK_ERR_FORMAT) { /* what is unreadable is listed all the same */
        return err;
    }
    (void)id_text(t->id, id);
    (void)lk_cli_time(t->created_ms, added);
    (void)lk_cli_time(until_s * 1000, until);
    if (!l->json) {
        return lk_buf_printf(&l->text, "%-12s %s  %-24s  %s\n", kind_name(t->kind), id, until,
                             t->subject);
    }
    return lk_cli_put_json(&l->text, json_pack("{s:s, s:s, s:s, s:s, s:s}", "kind",
                                               kind_name(t->kind), "sha256", id, "subject",
                                               t->subject, "until", until, "added", added));
}

static enum lk_err
list_run(struct lk_txn *tx, void *arg)
{
    struct listing *l = (struct listing *)arg;

    lk_buf_reset(&l->text);
    return lk_txn_trust_each(tx, trust_put, l);
}

static int
trust_list(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    __attribute__((cleanup(listing_fini))) struct listing l = {.text = {.max = LIST_MAX}};
    struct lk_cli_common common = {.json = false};
    int code;
    enum lk_err err;

    if (!lk_cli_options(&list_form, argc, argv, &common, NULL, &code) ||
        (code = lk_cli_service_open(common.config, LK_CLI_READ, &s)) != 0) {
        return code;
    }
    l.json = common.json;
    if ((err = lk_store_read_wait(s.session, list_run, &l)) != LK_OK) {
        return lk_cli_store_fail(err, "cannot list what is trusted");
    }
    if (!l.json) {
        (void)printf("%-12s %-64s  %-24s  %s\n", "KIND", "SHA-256", "UNTIL", "SUBJECT");
    }
    if (l.text.len > 0 && fwrite(l.text.data, 1, l.text.len, stdout) != l.text.len) {
        return lk_cli_fail(LK_ERR_IO, "cannot write the answer");
    }
    return 0;
}

/* ---- remove ---------------------------------------------------------------------------------- */

static const struct lk_cli_form remove_form = {
    .usage = "latchkey trust remove SHA256 [--config FILE]",
    .help = "Trust a certificate, or heed a revocation list, no longer. SHA256 is as `latchkey\n"
            "trust list` shows it; its first 8 digits or more will do when only one has "
            "them.\n\n" LK_CLI_CONFIG_HELP,
    .options = (const struct option[]){LK_CLI_CONFIG_OPTION, LK_CLI_END_OPTIONS},
    .words_min = 1,
    .words_max = 1,
};

struct removal {
    const char *actor, *prefix;
    struct lk_trust found; /* without its bytes */
    unsigned matches;
};

static enum lk_err
trust_match(void *ctx, const struct lk_trust *t)
{
    struct removal *r = (struct removal *)ctx;
    char id[ID_CAP];

    if (strncasecmp(id_text(t->id, id), r->prefix, strlen(r->prefix)) != 0) {
        return LK_OK;
    }
    r->matches++;
    r->found.kind = t->kind;
    memcpy(r->found.id, t->id, sizeof(t->id));
    return lk_strcpy(r->found.subject, sizeof(r->found.subject), t->subject);
}

static enum lk_err
remove_run(struct lk_txn *tx, void *arg)
{
    struct removal *r = (struct removal *)arg;
    enum lk_err err;

    r->matches = 0;
    if ((err = lk_txn_trust_each(tx, trust_match, r)) != LK_OK) {
        return err;
    }
    if (r->matches != 1) {
        return r->matches == 0 ? LK_ERR_NOT_FOUND : LK_ERR_ARG;
    }
    if ((err = lk_txn_trust_delete(tx, r->found.id)) != LK_OK) {
        return err;
    }
    return audit(tx, r->actor, "trust.remove", &r->found);
}

static int
trust_remove(int argc, char **argv)
{
    LK_AUTO_CLI_SERVICE struct lk_cli_service s = {.store = NULL};
    struct lk_cli_common common = {.json = false};
    struct removal r = {.actor = s.actor};
    size_t len;
    int code;
    enum lk_err err;

    if (!lk_cli_options(&remove_form, argc, argv, &common, NULL, &code)) {
        return code;
    }
    r.prefix = argv[optind];
    len = strlen(r.prefix);
    if (len < ID_PREFIX_MIN || len >= ID_CAP || strspn(r.prefix, "0123456789abcdefABCDEF") != len) {
        return lk_cli_usage(remove_form.usage, "8 to 64 hexadecimal digits are needed");
    }
    if ((code = lk_cli_service_open(common.config, LK_CLI_WRITE, &s)) != 0) {
        return code;
    }
    err = lk_store_write_wait(s.session, remove_run, &r);
    if (err == LK_ERR_ARG || err == LK_ERR_NOT_FOUND) {
        lk_cli_note("%s begins with %s", r.matches > 1 ? "more than one" : "nothing", r.prefix);
        return lk_err_exit_code(err);
    }
    if (err != LK_OK) {
        return lk_cli_store_fail(err, "cannot remove it");
    }
    lk_cli_note("%s is trusted no longer", r.found.subject);
    return 0;
}

int
lk_cmd_trust(int argc, char **argv)
{
    static const struct lk_command commands[] = {
        {"add", trust_add, "import certificates and revocation lists"},
        {"list", trust_list, "list what is trusted"},
        {"remove", trust_remove, "trust one no longer"},
        {NULL, NULL, NULL},
    };

    return lk_cli_dispatch(commands, "latchkey trust", argc, argv);
}
