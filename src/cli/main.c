/* latchkey: the command line for factory, operator, device and auditor. */
#include <string.h>

#include <latchkey/latchkey.h>

#include "cli/cli.h"

static int
version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    (void)printf("latchkey %s\n", LK_VERSION);
    return 0;
}

static const struct lk_command commands[] = {
    {"init", lk_cmd_init, "make a new service: keys, database, certificate, configuration"},
    {"scope", lk_cmd_scope, "add, set and list ID scopes"},
    {"hub", lk_cmd_hub, "add, list and remove hubs, look at their devices"},
    {"enrollment", lk_cmd_enrollment, "say which devices may register: add, list, import, export"},
    {"group", lk_cmd_group, "admit devices by a common key or the signer of their certificates"},
    {"key", lk_cmd_key, "list and rotate the master keys"},
    {"policy", lk_cmd_policy, "say who may use the operators' API: add, list, roll keys"},
    {"registration", lk_cmd_registration, "list, show and forget registrations"},
    {"trust", lk_cmd_trust, "import certificates: who signs manifests, who makes TPMs"},
    {"store", lk_cmd_store, "copy the database into another one, or into a file"},
    {"audit", lk_cmd_audit, "read and verify the audit records"},
    {"device", lk_cmd_device, "show this device's TPM keys, register it, sign tokens, forget"},
    {"doctor", lk_cmd_doctor, "tell what TPM is there and what would stop it from registering"},
    {"version", version, "print the version"},
    {NULL, NULL, NULL},
};

int
main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        return lk_cli_finish(version(0, NULL));
    }
    return lk_cli_dispatch(commands, "latchkey", argc, argv);
}
