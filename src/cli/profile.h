/*
 * Profiles: the services that an operator's machine knows, in one file that only its owner reads.
 *
 *   # comment
 *   [factory]
 *   connection-string = HostName=...;SharedAccessKeyName=...;SharedAccessKey=...
 *   ca-file = factory-ca.pem
 *
 * ca-file is optional, and relative to the file's folder.
 */
#ifndef LK_CLI_PROFILE_H
#define LK_CLI_PROFILE_H

#include "wire/service_connection.h"

#define LK_PROFILE_FILE_MAX ((size_t)65536) /* bytes */
#define LK_PROFILE_NAME_MAX 64u             /* bytes of letters, digits and - _ . */
#define LK_PROFILE_PATH_CAP 1024u           /* bytes of a file's name with its NUL */
#define LK_PROFILE_ERROR_CAP 320u

struct lk_profile {
    struct lk_svc_connection connection;
    char ca_file[LK_PROFILE_PATH_CAP]; /* as written; "": none */
};

/*
 * Find the profile called name in text; file is how errors name it. The whole text has to be well
 * formed. error is in our words, printable whatever text holds, and never holds a key.
 *
 *   LK_ERR_FORMAT     a line is not acceptable, or the profile is incomplete
 *   LK_ERR_NOT_FOUND  there is no such profile
 */
LK_MUST_CHECK enum lk_err lk_profile_parse(const char *file, const char *text, size_t len,
                                           const char *name, char error[LK_PROFILE_ERROR_CAP],
                                           struct lk_profile *ret);

/* Where profiles are: $XDG_CONFIG_HOME/latchkey/profiles.conf, else below ~/.config. LK_ERR_LIMIT,
 * LK_ERR_NOT_FOUND (there is no home). */
LK_MUST_CHECK enum lk_err lk_profile_path(char ret[LK_PROFILE_PATH_CAP]);

/*
 * The same from the file at path; ca_file is then made absolute or as reachable as path. Besides:
 * LK_ERR_IO; LK_ERR_REFUSED when others than its owner can read it, or it is somebody else's.
 */
LK_MUST_CHECK enum lk_err lk_profile_load(const char *path, const char *name,
                                          char error[LK_PROFILE_ERROR_CAP], struct lk_profile *ret);

#endif
