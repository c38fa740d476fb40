/*
 * latchkey doctor: which TPM is there, and what would stop it from registering. Each finding has a
 * level, what is the case, and what to do about it. Nothing is written to the TPM.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <latchkey/latchkey.h>

#include "base/json.h"
#include "cli/options.h"
#include "cli/tpm_opts.h"

enum level { LEVEL_OK, LEVEL_NOTE, LEVEL_WARNING, LEVEL_STOP };

struct doctor {
    struct lk_cli_tpm tpm_args;
    bool json;
    struct lk_tpm *tpm;
    struct lk_tpm_info info;
    json_t *findings; /* owned; only with json */
    unsigned stops, warnings;
};

static void
doctor_fini(struct doctor *d)
{
    lk_tpm_close(d->tpm);
    json_decref(d->findings);
    lk_cli_tpm_fini(&d->tpm_args);
}

/* One finding. advice may be NULL. */
static void
finding(struct doctor *d, enum level level, const char *subject, const char *text,
        const char *advice)
{
    static const char *const marks[] = {"ok     ", "note   ", "warning", "STOP   "};
    static const char *const names[] = {"ok", "note", "warning", "stop"};
    char shown[LK_CLI_SHOWN_CAP];

    d->stops += level == LEVEL_STOP;
    d->warnings += level == LEVEL_WARNING;
    if (d->json) {
        (void)json_array_append_new(
            d->findings, json_pack("{s:s, s:s, s:o, s:s*}", "level", names[level], "subject",
                                   subject, "text", lk_cli_json_text(text), "advice", advice));
        return;
    }
    (void)printf("%s  %-18s %s\n", marks[level], subject, lk_cli_shown(text, shown));
    if (advice != NULL) {
        (void)printf("%29s%s\n", "-> ", advice);
    }
}

/* ---- reaching it ----------------------------------------------------------------------------- */

static void
unreachable(struct doctor *d, enum lk_err err)
{
    const char *advice = "start the TPM or its resource manager, or name it with --tcti";

    if (d->tpm_args.opts.tcti == NULL) {
        if (access("/dev/tpmrm0", F_OK) != 0 && access("/dev/tpm0", F_OK) != 0) {
            advice = "there is no /dev/tpm*: switch the TPM on in the firmware set-up, or load its "
                     "driver";
        } else if (access("/dev/tpmrm0", R_OK | W_OK) != 0) {
            advice = "no permission for /dev/tpmrm0: add this user to the group tss, or use root";
        }
    }
    finding(d, LEVEL_STOP, "TPM", err == LK_ERR_IO ? "it cannot be reached" : lk_err_text(err),
            advice);
}

/* ---- what it is ------------------------------------------------------------------------------ */

static void
check_kind(struct doctor *d)
{
    char text[160];

    (void)snprintf(text, sizeof(text),
                   "%s TPM: manufacturer %s, \"%s\", firmware %08x.%08x, TPM %s rev. %u.%02u",
                   lk_tpm_kind_name(d->info.kind), d->info.manufacturer, d->info.vendor,
                   d->info.firmware_version_1, d->info.firmware_version_2, d->info.spec_family,
                   d->info.spec_revision / 100, d->info.spec_revision % 100);
    switch (d->info.kind) {
    case LK_TPM_KIND_SOFTWARE:
        finding(d, LEVEL_WARNING, "TPM", text,
                "a software TPM proves nothing about hardware: who copies its state is the device. "
                "For prototypes and tests only");
        return;
    case LK_TPM_KIND_UNKNOWN:
        finding(d, LEVEL_NOTE, "TPM", text, "this maker is not known here; check what it is");
        return;
    default:
        finding(d, LEVEL_OK, "TPM", text, NULL);
    }
}

static void
check_abilities(struct doctor *d)
{
    const struct lk_tpm_info *i = &d->info;
    char text[160];

    (void)snprintf(text, sizeof(text), "RSA %s, ECC P-256 %s, P-384 %s, SHA-256 %s, SHA-384 %s",
                   i->has_rsa ? "yes" : "no", i->has_ecc_p256 ? "yes" : "no",
                   i->has_ecc_p384 ? "yes" : "no", i->has_sha256 ? "yes" : "no",
                   i->has_sha384 ? "yes" : "no");
    if (!i->has_commands) {
        finding(d, LEVEL_STOP, "abilities", "a command that registration needs is not there",
                "ActivateCredential, Import, Load, EvictControl and HMAC are needed: update the "
                "TPM's firmware");
    }
    if (!i->has_sha256 || !i->has_aes_cfb || (!i->has_rsa && !i->has_ecc_p256)) {
        finding(d, LEVEL_STOP, "abilities", text, "SHA-256, AES-CFB and RSA or P-256 are needed");
        return;
    }
    finding(d, LEVEL_OK, "abilities", text, NULL);
}

/* ---- its state ------------------------------------------------------------------------------- */

static void
check_hierarchies(struct doctor *d)
{
    const struct lk_tpm_info *i = &d->info;

    if (!i->owner_enabled || !i->endorsement_enabled) {
        finding(d, LEVEL_STOP, "hierarchies", "the owner or endorsement hierarchy is switched off",
                "restart the machine; if that does not help, switch it on in the firmware set-up");
        return;
    }
    if (i->owner_password_set && d->tpm_args.opts.owner_password == NULL) {
        finding(d, LEVEL_STOP, "owner password", "one is set, and none was given",
                "give it with --owner-password-file");
    }
    if (i->endorsement_password_set && d->tpm_args.opts.endorsement_password == NULL) {
        finding(d, LEVEL_STOP, "endorsement password", "one is set, and none was given",
                "give it with --endorsement-password-file");
    }
    if (!i->owner_password_set && !i->endorsement_password_set) {
        finding(d, LEVEL_OK, "passwords", "no hierarchy password is set", NULL);
    }
}

static void
check_lockout(struct doctor *d)
{
    const struct lk_tpm_info *i = &d->info;
    char text[160], advice[160];

    (void)snprintf(text, sizeof(text), "%u of %u failures counted", i->lockout_count,
                   i->lockout_max);
    (void)snprintf(advice, sizeof(advice),
                   "one failure is forgotten every %u s; the lockout password resets it at once "
                   "(tpm2_dictionarylockout -c)",
                   i->lockout_interval_s);
    if (i->in_lockout) {
        finding(d, LEVEL_STOP, "lockout", "the TPM is in dictionary-attack lockout", advice);
        return;
    }
    if (i->lockout_max > 0 && i->lockout_count * 2 > i->lockout_max) {
        finding(d, LEVEL_WARNING, "lockout", text, advice);
        return;
    }
    finding(d, LEVEL_OK, "lockout", text, NULL);
}

/* Registration has two objects and two sessions in the TPM at once, and a third for a moment. */
static void
check_room(struct doctor *d)
{
    const struct lk_tpm_info *i = &d->info;
    char text[160];

    (void)snprintf(text, sizeof(text), "free: %u transient objects, %u sessions, %u persistent",
                   i->transient_free, i->session_free, i->persistent_free);
    if (i->persistent_free == 0 && !i->has_identity_key) {
        finding(d, LEVEL_STOP, "room", text,
                "no place for the identity key: evict persistent objects that nobody needs "
                "(tpm2_getcap handles-persistent)");
        return;
    }
    if (i->transient_free < 2 || i->session_free < 2) {
        finding(d, LEVEL_WARNING, "room", text,
                "another program left objects or sessions behind: use /dev/tpmrm0, or "
                "tpm2_flushcontext -t -l -s");
        return;
    }
    finding(d, LEVEL_OK, "room", text, NULL);
}

/* TLS judges certificates by the clock; a device without a battery often boots in 1970. */
static void
check_clock(struct doctor *d)
{
    const time_t plausible = 1735689600; /* 2025-01-01 */

    if (time(NULL) < plausible) {
        finding(d, LEVEL_STOP, "clock", "the system clock is years behind",
                "set it first: certificates and tokens depend on it");
    }
}

/* ---- its keys -------------------------------------------------------------------------------- */

static const char *
key_advice(enum lk_err err)
{
    switch (err) {
    case LK_ERR_TPM_AUTH:
        return "the hierarchy password is wrong; more tries may lock the TPM";
    case LK_ERR_TPM_LOCKOUT:
        return "wait, or reset the lockout";
    case LK_ERR_BUSY:
        return "no room: tpm2_flushcontext -t -l -s, or use /dev/tpmrm0";
    default:
        return "the key can neither be found nor created";
    }
}

static void
key_failed(struct doctor *d, const char *subject, enum lk_err err)
{
    char text[200];

    (void)snprintf(text, sizeof(text), "%s (%s)", lk_err_text(err), lk_tpm_last_rc_text(d->tpm));
    finding(d, LEVEL_STOP, subject, text, key_advice(err));
}

static void
key_found(struct doctor *d, const char *subject, const struct lk_tpm_public *pub)
{
    char name[32], text[200];

    lk_cli_key_name(pub, name, sizeof(name));
    if (pub->handle != 0) {
        (void)snprintf(text, sizeof(text), "%s at 0x%08x", name, pub->handle);
    } else {
        (void)snprintf(text, sizeof(text), "%s, not persistent, created from %s", name,
                       lk_tpm_recipe_text(pub->recipe));
    }
    if (pub->refusal != NULL) {
        (void)snprintf(text, sizeof(text), "%s: a service refuses it (%s)", name, pub->refusal);
        finding(d, LEVEL_STOP, subject, text,
                "another key is at its handle: create one with --ek-recipe or --srk-recipe "
                "rsa2048, or evict that one");
        return;
    }
    finding(d, LEVEL_OK, subject, text, NULL);
}

static void
check_ek_recipe(struct doctor *d, const struct lk_tpm_public *ek)
{
    enum lk_tpm_recipe recipe = ek->recipe;
    enum lk_err err;

    if (recipe != LK_TPM_PERSISTENT) {
        return;
    }
    if ((err = lk_tpm_ek_recipe(d->tpm, &recipe)) != LK_OK) {
        finding(d, LEVEL_NOTE, "EK template", "could not be told", lk_err_text(err));
        return;
    }
    if (recipe == LK_TPM_PERSISTENT) {
        finding(d, LEVEL_NOTE, "EK template",
                "the key at the handle is from no template known here",
                "it works, but only this handle has it: enroll this key, and do not evict it");
        return;
    }
    finding(d, LEVEL_OK, "EK template", lk_tpm_recipe_text(recipe), NULL);
}

static void
check_ek_cert(struct doctor *d, uint32_t index, const struct lk_tpm_public *ek)
{
    struct lk_tpm_cert cert;
    bool same_kind = (index == LK_TPM_NV_EK_CERT_ECC) == ek->is_ecc;
    enum lk_err err = lk_tpm_ek_cert(d->tpm, index, &cert);
    char subject[32], text[400];

    (void)snprintf(subject, sizeof(subject), "EK certificate");
    if (err == LK_ERR_NOT_FOUND) {
        if (same_kind) {
            (void)snprintf(text, sizeof(text), "none in NV at 0x%08x", index);
            finding(d, LEVEL_NOTE, subject, text,
                    "nothing vouches for the maker; enrollment by the public key works all the "
                    "same");
        }
        return;
    }
    if (err != LK_OK) {
        (void)snprintf(text, sizeof(text), "0x%08x: %s", index, lk_err_text(err));
        finding(d, LEVEL_NOTE, subject, text, NULL);
        return;
    }
    (void)snprintf(text, sizeof(text), "0x%08x, %zu bytes, from %s", index, cert.der_len,
                   cert.issuer);
    if (!same_kind) {
        finding(d, LEVEL_NOTE, subject, text, "it is for a key of another kind than the EK in use");
        return;
    }
    switch (cert.match) {
    case LK_TPM_CERT_MATCHES:
        finding(d, LEVEL_OK, subject, text, "it certifies the EK in use");
        return;
    case LK_TPM_CERT_DIFFERS:
        finding(
            d, LEVEL_WARNING, subject, text,
            "it certifies ANOTHER key than the EK in use. --ek-recipe rsa2048 or ecc-p256 makes "
            "the certified one; enroll that");
        return;
    case LK_TPM_CERT_UNKNOWN:
        finding(d, LEVEL_NOTE, subject, text, "its public key could not be read");
        return;
    }
}

static void
check_keys(struct doctor *d)
{
    struct lk_tpm_public ek, srk;
    enum lk_err err;

    if ((err = lk_tpm_ek(d->tpm, &ek)) != LK_OK) {
        key_failed(d, "endorsement key", err);
    } else {
        key_found(d, "endorsement key", &ek);
        check_ek_recipe(d, &ek);
        check_ek_cert(d, LK_TPM_NV_EK_CERT_RSA, &ek);
        check_ek_cert(d, LK_TPM_NV_EK_CERT_ECC, &ek);
    }
    if ((err = lk_tpm_srk(d->tpm, &srk)) != LK_OK) {
        key_failed(d, "storage root key", err);
    } else {
        key_found(d, "storage root key", &srk);
    }
    finding(d, LEVEL_OK, "identity key",
            d->info.has_identity_key ? "present: registered before" : "none yet", NULL);
}

/* ---- the command ----------------------------------------------------------------------------- */

static void
examine(struct doctor *d)
{
    enum lk_err err;

    check_clock(d);
    if ((err = lk_tpm_open(&d->tpm_args.opts, &d->tpm)) != LK_OK) {
        unreachable(d, err);
        return;
    }
    if ((err = lk_tpm_info(d->tpm, &d->info)) != LK_OK) {
        key_failed(d, "TPM", err);
        return;
    }
    check_kind(d);
    check_abilities(d);
    check_hierarchies(d);
    check_lockout(d);
    check_room(d);
    if (d->stops == 0) { /* not with a missing password: that would count as a failure */
        check_keys(d);
    }
}

static int
verdict(struct doctor *d)
{
    LK_AUTO(json) json_t *o = NULL;
    int code = d->stops == 0 ? 0 : lk_err_exit_code(LK_ERR_TPM);

    if (!d->json) {
        (void)printf("\n%s\n", d->stops > 0      ? "This TPM cannot register as it is."
                               : d->warnings > 0 ? "This TPM can register; mind the warnings."
                                                 : "This TPM can register.");
        return code;
    }
    o = json_pack("{s:b, s:O}", "canRegister", d->stops == 0, "findings", d->findings);
    if (o == NULL) {
        return lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer");
    }
    return lk_cli_print_json(o) != 0 ? lk_err_exit_code(LK_ERR_IO) : code;
}

static enum lk_err
doctor_take(void *ctx, int option, const char *value)
{
    return lk_cli_tpm_option(&((struct doctor *)ctx)->tpm_args, option, value);
}

static const struct lk_cli_form form = {
    .usage = "latchkey doctor [--json] [TPM options]",
    .help = "Tell which TPM is there and what would stop it from registering.\n"
            "Exit code 0 when nothing would.\n\n"
            "  --json                   as one JSON document\n\n" LK_CLI_TPM_HELP,
    .options = (const struct option[]){LK_CLI_TPM_OPTIONS, LK_CLI_JSON_OPTION, LK_CLI_END_OPTIONS},
    .take = doctor_take,
};

int
lk_cmd_doctor(int argc, char **argv)
{
    __attribute__((cleanup(doctor_fini))) struct doctor d = {0};
    struct lk_cli_common common = {.json = false};
    int code;

    if (!lk_cli_options(&form, argc, argv, &common, &d, &code)) {
        return code;
    }
    d.json = common.json;
    d.tpm_args.opts.flags = 0; /* a doctor writes nothing */
    (void)setenv("TSS2_LOG", "all+none", 0);
    if (d.json && (d.findings = json_array()) == NULL) {
        return lk_cli_fail(LK_ERR_NOMEM, "cannot start");
    }
    examine(&d);
    return verdict(&d);
}
