/*
 * The files of `latchkey init`, and their removal when it fails half-way. Functions that return int
 * give 0, or an exit code after telling the reason.
 */
#ifndef LK_CLI_INIT_FILES_H
#define LK_CLI_INIT_FILES_H

#include <signal.h>
#include <sys/types.h>

#include "cli/cli.h"
#include "daemon/config.h"

#define LK_INIT_FILES_MAX 16u

/* Zeros begin it; lk_init_files_undo() ends it in any state. */
struct lk_init_files {
    char dir[LK_CONFIG_TEXT_CAP];    /* the data folder, absolute */
    char config[LK_CONFIG_TEXT_CAP]; /* the configuration file, absolute */
    const char *tls_cert, *tls_key;  /* absolute, into the two below; NULL: none were given */
    char cert_path[LK_CONFIG_TEXT_CAP], key_path[LK_CONFIG_TEXT_CAP];

    bool begun, finished;
    sigset_t signals; /* mask to return to: a run is not cut off by a terminal that hangs up */
    uid_t uid;        /* to return to after the work as the folder's owner */
    gid_t gid;
    bool mode_changed;
    mode_t mode; /* of a folder that was there */
    size_t made_count;
    char made[LK_INIT_FILES_MAX][LK_CONFIG_TEXT_CAP]; /* files and folders, in order */
};

/* Make the folder (0700), or take it over empty, and find where the configuration file goes. */
int lk_init_files_begin(struct lk_init_files *f, const char *dir, const char *config);

/* Absolute names of certificate and key, if given. */
int lk_init_files_tls(struct lk_init_files *f, const char *cert, const char *key);

/* name below the data folder. */
int lk_init_files_path(const struct lk_init_files *f, const char *name,
                       char ret[LK_CONFIG_TEXT_CAP]);

int lk_init_files_mkdir(struct lk_init_files *f, const char *path, mode_t mode);

/* path is, or may soon be, a file of this run's. */
int lk_init_files_made(struct lk_init_files *f, const char *path);

/* Write the configuration file, as the last: now all of it stays. */
int lk_init_files_finish(struct lk_init_files *f, const struct lk_buf *config_text);

/* Remove everything that was made, unless it was finished. */
void lk_init_files_undo(struct lk_init_files *f);

#endif
