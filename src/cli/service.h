/*
 * What the subcommands that work on a service share. That of this machine: find the configuration,
 * open keyring, store and session, and say who acts. The store is the same library that the service
 * uses, so these commands work while latchkeyd runs and while it does not. One elsewhere: find its
 * connection string and its authority, and call its operators' API.
 */
#ifndef LK_CLI_SERVICE_H
#define LK_CLI_SERVICE_H

#include "cli/cli.h"
#include "cli/options.h"
#include "cli/remote.h"
#include "crypto/keyring.h"
#include "daemon/config.h"
#include "store/store.h"

struct lk_cli_service {
    struct lk_remote *remote; /* of one elsewhere, and then nothing else is set; else NULL */
    struct lk_config config;
    struct lk_keyring *ring;
    struct lk_store *store;
    struct lk_session *session;
    char actor[64]; /* for the audit record: "cli:<user name>" */
};

enum lk_cli_access { LK_CLI_READ, LK_CLI_WRITE };

/*
 * Open what the configuration at config_path names; NULL takes $LATCHKEY_CONFIG, else
 * LK_CONFIG_DEFAULT_PATH. 0 with *ret to be handed to lk_cli_service_close(), or an exit code after
 * telling the reason and what to do about it on stderr. Without config_path, who has chosen a
 * service elsewhere by the environment is told that this command needs the store itself.
 */
int lk_cli_service_open(const char *config_path, enum lk_cli_access access,
                        struct lk_cli_service *ret);
/*
 * The same, or a service elsewhere: of --profile or --connection, else, without --config, of
 * $LATCHKEY_PROFILE or $LATCHKEY_CONNECTION_STRING.
 */
int lk_cli_target_open(const struct lk_cli_common *common, enum lk_cli_access access,
                       struct lk_cli_service *ret);
/* 0 when this machine's service was chosen, else an exit code after saying that it is needed. */
int lk_cli_store_needed(const struct lk_cli_common *common);
void lk_cli_service_close(struct lk_cli_service *s); /* a zeroed one is allowed */
#define LK_AUTO_CLI_SERVICE __attribute__((cleanup(lk_cli_service_close)))

/*
 * The scope that a command works on: given, or when that is NULL the only one there is. 0, or an
 * exit code after saying which scopes there are. A service elsewhere has the one of its host name:
 * ret is then "".
 */
int lk_cli_scope(struct lk_cli_service *s, const char *given, char ret[LK_ID_SCOPE_MAX + 1]);

/* Who acts, for the audit record: "cli:<user name>". */
void lk_cli_actor(char *buf, size_t cap);

/* Whether a scope can have this name: the paths of the operators' API begin with some words. */
bool lk_cli_scope_ok(const char *text);

/* A fresh ID scope in the form that people know: "0ne" and eight hexadecimal digits. */
LK_MUST_CHECK enum lk_err lk_cli_scope_make(char ret[LK_ID_SCOPE_MAX + 1]);

/*
 * A listing, page by page. A page is formatted inside its transaction and written after it, so that
 * a reader who takes his time (a pager) holds no transaction open. page() calls for at most limit
 * rows after the key `after` ("" from the start), and for each row counts it, formats it into text,
 * and leaves its key in last. ctx is the command's own.
 */
#define LK_CLI_PAGE_ROWS 200u
struct lk_cli_listing {
    enum lk_err (*page)(struct lk_txn *tx, struct lk_cli_listing *l, size_t limit);
    /* One page of a service elsewhere; it sets continuation, to "" when there are no more. */
    enum lk_err (*remote_page)(struct lk_remote *r, struct lk_cli_listing *l);
    const char *what; /* for the message of a failure: "cannot list the hubs" */
    const char *head; /* the table's first line; not with json */
    bool json;
    void *ctx;
    struct lk_buf text;
    size_t rows_count; /* of this page */
    char after[LK_HOST_NAME_MAX + 1], last[LK_HOST_NAME_MAX + 1];
    char continuation[LK_REMOTE_CONTINUATION_CAP];
};
int lk_cli_list(struct lk_cli_service *s, struct lk_cli_listing *l);

/* lk_cli_fail() with the database's own words where it has some. */
int lk_cli_store_fail(enum lk_err err, const char *what);

#endif
