/* The commands of `latchkey device` that have files of their own. */
#ifndef LK_CLI_CMD_DEVICE_H
#define LK_CLI_CMD_DEVICE_H

int lk_cli_device_show(int argc, char **argv);
int lk_cli_device_connect(int argc, char **argv);
int lk_cli_device_register(int argc, char **argv);

#endif
