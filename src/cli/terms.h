/* On what terms devices of an enrollment or of a group are given to hubs: the options of `add` and
 * `set`, which have the same ones, and how the terms are shown. */
#ifndef LK_CLI_TERMS_H
#define LK_CLI_TERMS_H

#include "cli/options.h"
#include "store/store.h"

/* What the options said; texts are borrowed from argv. Zeros: nothing was said. */
struct lk_cli_terms {
    const char *hubs[LK_HUBS_PER_ENROLLMENT];
    size_t hubs_count;
    bool any_hub;
    const char *reprovision; /* one of the three words */
    bool has_allocation;
    enum lk_allocation allocation;
    const char *webhook, *webhook_api_version;
    const char *twin_path;
    struct lk_buf twin; /* JSON text, once the file was read */
};
void lk_cli_terms_fini(struct lk_cli_terms *t);

/* Values of their options, apart from every command's own. */
enum {
    LK_CLI_OPT_HUB = LK_CLI_OPT_COMMAND + 192,
    LK_CLI_OPT_ANY_HUB,
    LK_CLI_OPT_INITIAL_TWIN,
    LK_CLI_OPT_REPROVISION,
    LK_CLI_OPT_ALLOCATION,
    LK_CLI_OPT_WEBHOOK,
    LK_CLI_OPT_WEBHOOK_API_VERSION
};
/* clang-format off */
#define LK_CLI_TERMS_OPTIONS                                                                       \
    {"hub", required_argument, NULL, LK_CLI_OPT_HUB},                                              \
    {"initial-twin", required_argument, NULL, LK_CLI_OPT_INITIAL_TWIN},                            \
    {"reprovision", required_argument, NULL, LK_CLI_OPT_REPROVISION},                              \
    {"allocation", required_argument, NULL, LK_CLI_OPT_ALLOCATION},                                \
    {"webhook", required_argument, NULL, LK_CLI_OPT_WEBHOOK},                                      \
    {"webhook-api-version", required_argument, NULL, LK_CLI_OPT_WEBHOOK_API_VERSION}
/* Of `set` only. */
#define LK_CLI_ANY_HUB_OPTION {"any-hub", no_argument, NULL, LK_CLI_OPT_ANY_HUB}
/* clang-format on */

#define LK_CLI_TERMS_USAGE                                                                         \
    "[--hub NAME] [--initial-twin FILE]\n"                                                         \
    "         [--reprovision migrate|reset|never]\n"                                               \
    "         [--allocation hashed|geoLatency|static|custom|default]\n"                            \
    "         [--webhook URL [--webhook-api-version VERSION]]"
#define LK_CLI_TERMS_HELP                                                                          \
    "  --hub NAME               assign to this linked hub; again for a choice of several;\n"       \
    "                           default: any\n"                                                    \
    "  --initial-twin FILE      JSON object for a device's twin at its first assignment\n"         \
    "  --reprovision POLICY     when another hub is chosen: migrate a device's data (default),\n"  \
    "                           reset it, or never move\n"                                         \
    "  --allocation POLICY      how the hub is chosen: hashed over those that may be, by\n"        \
    "                           region (geoLatency), static (the one --hub), or custom;\n"         \
    "                           default: the scope's\n"                                            \
    "  --webhook URL            ask it for the hub at every registration; the policy is then\n"    \
    "                           custom\n"                                                          \
    "  --webhook-api-version VERSION  what the webhook is told; default 2021-10-01\n"

static inline bool
lk_cli_terms_is(int option)
{
    return option >= LK_CLI_OPT_HUB && option <= LK_CLI_OPT_WEBHOOK_API_VERSION;
}

/* Takes one of them. LK_ERR_ARG: not acceptable, or one too many. */
LK_MUST_CHECK enum lk_err lk_cli_terms_take(struct lk_cli_terms *t, int option, const char *value);

/* Whether anything was said. */
bool lk_cli_terms_are_given(const struct lk_cli_terms *t);
/* Options that do not go together, as a sentence for the user; NULL: they do. */
const char *lk_cli_terms_objection(const struct lk_cli_terms *t);

/* Read the files that options name. 0, or an exit code after saying what is wrong. */
int lk_cli_terms_read(struct lk_cli_terms *t);
/* Change what was said, and nothing else, in e. LK_ERR_NOMEM. */
LK_MUST_CHECK enum lk_err lk_cli_terms_apply(const struct lk_cli_terms *t, struct lk_enrollment *e);

/* The terms of e as members of root, and as lines of a show. */
LK_MUST_CHECK enum lk_err lk_cli_terms_json(const struct lk_enrollment *e, json_t *root);
void lk_cli_terms_print(struct lk_enrollment *e);
/* For an audit record: of the webhook, whose query is often a secret, what stands before that. */
LK_MUST_CHECK enum lk_err lk_cli_terms_record(const struct lk_enrollment *e, json_t *detail);

#endif
