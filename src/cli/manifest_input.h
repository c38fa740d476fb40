/* The manifest that a command reads, twice: to judge it, and to import it. */
#ifndef LK_CLI_MANIFEST_INPUT_H
#define LK_CLI_MANIFEST_INPUT_H

#include "wire/manifest.h"

struct lk_cli_input {
    int fd;
    int signals;      /* readable after Ctrl-C: a signal cannot slip in between two reads */
    int64_t size;     /* bytes */
    int64_t read_len; /* bytes since the last rewind */
};

/*
 * Open the file at path, or stdin for "-". What is no regular file is copied to a nameless one in
 * $TMPDIR, else /var/tmp, first. From here on Ctrl-C makes reading end with LK_ERR_CANCELLED: to
 * be called before the process has a second thread. LK_ERR_IO with errno, LK_ERR_CANCELLED. *ret is
 * to be closed in any case.
 */
LK_MUST_CHECK enum lk_err lk_cli_input_open(const char *path, struct lk_cli_input *ret);
void lk_cli_input_close(struct lk_cli_input *in);
#define LK_CLI_INPUT_INIT                                                                          \
    {                                                                                              \
        .fd = -1, .signals = -1                                                                    \
    }

/* For struct lk_manifest_source and struct lk_cms_content, whose ctx is the input. */
LK_MUST_CHECK enum lk_err lk_cli_input_read(void *ctx, void *buf, size_t cap, size_t *ret_len);
LK_MUST_CHECK enum lk_err lk_cli_input_rewind(struct lk_cli_input *in);

/* By the name, else by how the text begins: an object is no row of column names. */
enum lk_manifest_format lk_cli_input_format(const char *path, const struct lk_cli_input *in);

#endif
