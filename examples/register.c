/* Register this device and print a token for its hub: register URL ID_SCOPE CA_FILE */
#include <stdio.h>
#include <time.h>

#include <latchkey/latchkey.h>

static void
on_progress(void *ctx, const struct lk_register_progress *p)
{
    (void)ctx;
    fprintf(stderr, "%s (%u ms)\n", lk_register_step_name(p->step), (unsigned)p->elapsed_ms);
}

static enum lk_err
run(struct lk_tpm *tpm, const struct lk_register_opts *opts)
{
    char token[LK_DEVICE_SAS_CAP];
    struct lk_register_result result;
    enum lk_err err = lk_device_register(tpm, opts, &result);

    if (err == LK_OK) {
        printf("hub %s, device %s\n", result.hub, result.device_id);
        err = lk_device_sas(tpm, result.hub, result.device_id, (uint64_t)time(NULL) + 3600, token,
                            sizeof(token));
    }
    if (err == LK_OK) {
        printf("%s\n", token);
    }
    if (result.error_code != 0) {
        fprintf(stderr, "service: %d %s\n", result.error_code, result.error_message);
    }
    lk_register_result_fini(&result);
    return err;
}

int
main(int argc, char **argv)
{
    struct lk_register_opts opts = {.progress = on_progress};
    struct lk_tpm *tpm = NULL;
    enum lk_err err;

    if (argc != 4) {
        fprintf(stderr, "usage: %s URL ID_SCOPE CA_FILE\n", argv[0]);
        return 2;
    }
    opts.url = argv[1];
    opts.id_scope = argv[2];
    opts.ca_file = argv[3]; /* NULL would trust the system's CAs */
    if ((err = lk_tpm_open(NULL, &tpm)) == LK_OK) {
        err = run(tpm, &opts);
    } else if (err == LK_ERR_IO) {
        fprintf(stderr, "the TPM cannot be reached: latchkey doctor tells more\n");
        return 1;
    }
    if (err != LK_OK) {
        fprintf(stderr, "%s\n", lk_err_text(err));
    }
    lk_tpm_close(tpm);
    return err == LK_OK ? 0 : 1;
}
