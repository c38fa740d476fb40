/* latchkey device show: the TPM's keys, for people, programs and manifests. */
#include "cli/cmd_device.h"

#include <string.h>

#include <latchkey/latchkey.h>

#include "base/codec.h"
#include "cli/tpm_opts.h"

struct args {
    struct lk_cli_tpm tpm;
    const char *manifest; /* NULL, "csv" or "jsonl" */
    bool header;
    const char *registration_id; /* NULL: the default one */
};

static void
args_fini(struct args *a)
{
    lk_cli_tpm_fini(&a->tpm);
}

enum { OPT_MANIFEST = LK_CLI_OPT_COMMAND, OPT_HEADER, OPT_REGISTRATION_ID };

static enum lk_err
args_take(void *ctx, int option, const char *value)
{
    struct args *a = (struct args *)ctx;

    switch (option) {
    case OPT_MANIFEST:
        a->manifest = value;
        return strcmp(value, "csv") == 0 || strcmp(value, "jsonl") == 0 ? LK_OK : LK_ERR_ARG;
    case OPT_HEADER:
        a->header = true;
        return LK_OK;
    case OPT_REGISTRATION_ID:
        a->registration_id = value; /* it goes into a CSV line as it is */
        return strpbrk(value, ",\"\r\n") == NULL ? LK_OK : LK_ERR_ARG;
    default:
        return lk_cli_tpm_option(&a->tpm, option, value);
    }
}

static const struct lk_cli_form form = {
    .usage = "latchkey device show [--json | --manifest csv|jsonl [--header]] [--registration-id "
             "ID]",
    .help =
        "Show this TPM's endorsement and storage root key. With --manifest, print the line that\n"
        "`latchkey enrollment import` takes: collect one from each device.\n\n"
        "  --manifest csv|jsonl     one manifest line; --header puts the CSV column names before "
        "it\n"
        "  --registration-id ID     instead of the default one, which is derived from the EK\n"
        "  --json                   everything, as one JSON document\n\n" LK_CLI_TPM_HELP,
    .options =
        (const struct option[]){LK_CLI_TPM_OPTIONS,
                                {"manifest", required_argument, NULL, OPT_MANIFEST},
                                {"header", no_argument, NULL, OPT_HEADER},
                                {"registration-id", required_argument, NULL, OPT_REGISTRATION_ID},
                                LK_CLI_JSON_OPTION,
                                LK_CLI_END_OPTIONS},
    .take = args_take,
};

static enum lk_err
base64_text(const uint8_t *data, size_t len, struct lk_buf *buf, const char **ret)
{
    enum lk_err err = lk_base64_encode(data, len, buf);

    *ret = err == LK_OK ? lk_buf_text(buf) : NULL;
    return err == LK_OK && *ret == NULL ? LK_ERR_NOMEM : err;
}

struct shown {
    struct lk_tpm_info info;
    struct lk_tpm_public ek, srk;
    char registration_id[129];
    struct lk_buf ek_buf, srk_buf;
    const char *ek_text, *srk_text; /* base64 */
    char ek_name[32], srk_name[32];
    char firmware[32];
};

static void
shown_fini(struct shown *s)
{
    lk_buf_fini(&s->ek_buf);
    lk_buf_fini(&s->srk_buf);
}

static enum lk_err
shown_read(struct lk_tpm *tpm, const char *registration_id, bool with_srk, struct shown *s)
{
    enum lk_err err;

    if ((err = lk_tpm_info(tpm, &s->info)) != LK_OK || (err = lk_tpm_ek(tpm, &s->ek)) != LK_OK ||
        (err = base64_text(s->ek.tpm2b, s->ek.tpm2b_len, &s->ek_buf, &s->ek_text)) != LK_OK) {
        return err;
    }
    lk_cli_key_name(&s->ek, s->ek_name, sizeof(s->ek_name));
    (void)snprintf(s->firmware, sizeof(s->firmware), "%08x.%08x", s->info.firmware_version_1,
                   s->info.firmware_version_2);
    err = registration_id != NULL
              ? lk_strcpy(s->registration_id, sizeof(s->registration_id), registration_id)
              : lk_tpm_registration_id(tpm, s->registration_id);
    if (err != LK_OK || !with_srk) {
        return err;
    }
    if ((err = lk_tpm_srk(tpm, &s->srk)) != LK_OK ||
        (err = base64_text(s->srk.tpm2b, s->srk.tpm2b_len, &s->srk_buf, &s->srk_text)) != LK_OK) {
        return err;
    }
    lk_cli_key_name(&s->srk, s->srk_name, sizeof(s->srk_name));
    return LK_OK;
}

static json_t *
key_json(const struct lk_tpm_public *pub, const char *name, const char *base64)
{
    json_t *o = json_pack("{s:s, s:s, s:s, s:s*, s:s*}", "type", name, "public", base64, "recipe",
                          lk_tpm_recipe_text(pub->recipe), "id",
                          pub->id[0] != '\0' ? pub->id : NULL, "refusal", pub->refusal);

    if (o != NULL && pub->handle != 0) {
        (void)json_object_set_new(o, "handle", json_sprintf("0x%08x", pub->handle));
    }
    return o;
}

static int
show_json(const struct shown *s)
{
    LK_AUTO(json)
    json_t *o = json_pack("{s:s, s:{s:s, s:s, s:s, s:s}, s:o, s:o, s:b}", "registrationId",
                          s->registration_id, "tpm", "manufacturer", s->info.manufacturer, "vendor",
                          s->info.vendor, "kind", lk_tpm_kind_name(s->info.kind), "firmware",
                          s->firmware, "endorsementKey", key_json(&s->ek, s->ek_name, s->ek_text),
                          "storageRootKey", key_json(&s->srk, s->srk_name, s->srk_text),
                          "hasIdentityKey", s->info.has_identity_key);

    return o == NULL ? lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer") : lk_cli_print_json(o);
}

/* What the import reads. The columns besides the first two are for people and cross-checks. */
static int
show_manifest(const struct shown *s, const struct args *a)
{
    LK_AUTO(json) json_t *o = NULL;

    if (strcmp(a->manifest, "jsonl") == 0) {
        o = json_pack("{s:s, s:s, s:s, s:s, s:s}", "registrationId", s->registration_id,
                      "endorsementKey", s->ek_text, "ekId", s->ek.id, "ekType", s->ek_name,
                      "tpmKind", lk_tpm_kind_name(s->info.kind));
        return o == NULL ? lk_cli_fail(LK_ERR_NOMEM, "cannot build the answer")
                         : lk_cli_print_json(o);
    }
    if (a->header) {
        (void)puts("registrationId,endorsementKey,ekId,ekType,tpmKind");
    }
    (void)printf("%s,%s,%s,%s,%s\n", s->registration_id, s->ek_text, s->ek.id, s->ek_name,
                 lk_tpm_kind_name(s->info.kind));
    return 0;
}

static void
show_key(const char *title, const struct lk_tpm_public *pub, const char *name, const char *base64)
{
    (void)printf("%s\n  kind            %s\n  from            %s", title, name,
                 lk_tpm_recipe_text(pub->recipe));
    if (pub->handle != 0) {
        (void)printf(", 0x%08x", pub->handle);
    }
    (void)printf("\n  id              %s\n  public          %s\n",
                 pub->id[0] != '\0' ? pub->id : "none", base64);
    if (pub->refusal != NULL) {
        (void)printf("  NOT ACCEPTED    %s\n", pub->refusal);
    }
}

static int
show_human(const struct shown *s)
{
    (void)printf("TPM               %s \"%s\", firmware %s (%s)\n", s->info.manufacturer,
                 s->info.vendor, s->firmware, lk_tpm_kind_name(s->info.kind));
    (void)printf("registration ID   %s\n", s->registration_id);
    show_key("endorsement key", &s->ek, s->ek_name, s->ek_text);
    show_key("storage root key", &s->srk, s->srk_name, s->srk_text);
    (void)printf("identity key      %s\n", s->info.has_identity_key ? "present" : "none yet");
    if (s->info.kind == LK_TPM_KIND_SOFTWARE) {
        lk_cli_note("this is a software TPM: it proves nothing about hardware");
    }
    return 0;
}

int
lk_cli_device_show(int argc, char **argv)
{
    __attribute__((cleanup(args_fini))) struct args a = {.manifest = NULL};
    LK_AUTO(lk_cli_tpm_conn) struct lk_tpm *tpm = NULL;
    __attribute__((cleanup(shown_fini))) struct shown s = {0};
    struct lk_cli_common common = {.json = false};
    int code;
    enum lk_err err;

    if (!lk_cli_options(&form, argc, argv, &common, &a, &code) ||
        (code = lk_cli_tpm_open(&a.tpm, &tpm)) != 0) {
        return code;
    }
    if ((err = shown_read(tpm, a.registration_id, a.manifest == NULL, &s)) != LK_OK) {
        return lk_cli_tpm_fail(tpm, err, "cannot read the TPM's keys");
    }
    if (a.manifest == NULL) {
        return common.json ? show_json(&s) : show_human(&s);
    }
    if (s.ek.refusal != NULL) {
        lk_cli_note("no service would accept this endorsement key: %s", s.ek.refusal);
        return lk_err_exit_code(LK_ERR_UNSUPPORTED);
    }
    return show_manifest(&s, &a);
}
