/* The TPM's options. */
#include "cli/tpm_opts.h"

#include <stdlib.h>
#include <string.h>

void
lk_cli_tpm_fini(struct lk_cli_tpm *t)
{
    lk_buf_fini(&t->owner_password);
    lk_buf_fini(&t->endorsement_password);
}

static enum lk_err
recipe_parse(const char *value, enum lk_tpm_recipe *ret)
{
    static const char *const names[] = {"persistent", "rsa2048", "rsa2048-empty-unique",
                                        "ecc-p256"};

    for (size_t i = 0; i < LK_ARRAY_LEN(names); i++) {
        if (strcmp(value, names[i]) == 0) {
            *ret = (enum lk_tpm_recipe)i;
            return LK_OK;
        }
    }
    return LK_ERR_ARG;
}

static enum lk_err
handle_parse(const char *value, uint32_t *ret)
{
    char *end = NULL;
    unsigned long number = strtoul(value, &end, 0);

    /* Persistent handles: TPM 2.0 Part 2, 7.5. */
    if (end == value || *end != '\0' || number < 0x81000000ul || number > 0x81fffffful) {
        return LK_ERR_ARG;
    }
    *ret = (uint32_t)number;
    return LK_OK;
}

static enum lk_err
password_read(const char *path, struct lk_buf *buf, const char **ret)
{
    enum lk_err err;

    lk_buf_reset(buf);
    if ((err = lk_cli_secret_read(path, buf)) != LK_OK) {
        return err;
    }
    *ret = lk_buf_text(buf);
    return *ret == NULL ? LK_ERR_NOMEM : LK_OK;
}

enum lk_err
lk_cli_tpm_option(struct lk_cli_tpm *t, int option, const char *value)
{
    switch (option) {
    case LK_CLI_OPT_TCTI:
        t->opts.tcti = value;
        return LK_OK;
    case LK_CLI_OPT_OWNER_PASSWORD:
        return password_read(value, &t->owner_password, &t->opts.owner_password);
    case LK_CLI_OPT_ENDORSEMENT_PASSWORD:
        return password_read(value, &t->endorsement_password, &t->opts.endorsement_password);
    case LK_CLI_OPT_EK_RECIPE:
        return recipe_parse(value, &t->opts.ek_recipe);
    case LK_CLI_OPT_SRK_RECIPE:
        return recipe_parse(value, &t->opts.srk_recipe);
    case LK_CLI_OPT_EK_HANDLE:
        return handle_parse(value, &t->opts.ek_handle);
    case LK_CLI_OPT_SRK_HANDLE:
        return handle_parse(value, &t->opts.srk_handle);
    case LK_CLI_OPT_IDENTITY_HANDLE:
        return handle_parse(value, &t->opts.identity_handle);
    case LK_CLI_OPT_PERSIST_EK:
        t->opts.flags |= LK_TPM_PERSIST_EK;
        return LK_OK;
    case LK_CLI_OPT_PERSIST_SRK:
        t->opts.flags |= LK_TPM_PERSIST_SRK;
        return LK_OK;
    default:
        return LK_ERR_NOT_FOUND;
    }
}

int
lk_cli_tpm_open(const struct lk_cli_tpm *t, struct lk_tpm **ret)
{
    enum lk_err err;

    /* tpm2-tss writes its own lines to stderr for what we report ourselves; TSS2_LOG turns them on
     * again. */
    (void)setenv("TSS2_LOG", "all+none", 0);
    err = lk_tpm_open(&t->opts, ret);
    if (err == LK_OK) {
        return 0;
    }
    if (err == LK_ERR_IO) { /* errno is of the last of several places where one was looked for */
        lk_cli_note("the TPM%s%s cannot be reached", t->opts.tcti != NULL ? " at " : "",
                    t->opts.tcti != NULL ? t->opts.tcti : "");
    } else {
        (void)lk_cli_fail(err, "cannot open the TPM%s%s", t->opts.tcti != NULL ? " at " : "",
                          t->opts.tcti != NULL ? t->opts.tcti : "");
    }
    lk_cli_note("`latchkey doctor` tells more");
    return lk_err_exit_code(err);
}

int
lk_cli_tpm_fail(const struct lk_tpm *tpm, enum lk_err err, const char *what)
{
    bool from_tpm = err == LK_ERR_TPM || err == LK_ERR_TPM_AUTH || err == LK_ERR_TPM_LOCKOUT ||
                    err == LK_ERR_BUSY;

    if (!from_tpm || lk_tpm_last_rc(tpm) == 0) {
        return lk_cli_fail(err, "%s", what);
    }
    return lk_cli_fail(err, "%s (%s)", what, lk_tpm_last_rc_text(tpm));
}

void
lk_cli_key_name(const struct lk_tpm_public *pub, char *buf, size_t cap)
{
    (void)snprintf(buf, cap, pub->is_ecc ? "ECC P-%u" : "RSA-%u", pub->bits);
}
