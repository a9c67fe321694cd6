/** The commands: one file each. */
#ifndef APPS_COMMANDS_H
#define APPS_COMMANDS_H

#include "cli.h"

extern const struct cli_command command_send, command_receive, command_listen, command_connect, command_ping,
    command_speed, command_lookup, command_key, command_ticket, command_relay, command_dns, command_serve;
/** The same as listen and connect, in the words of dumbpipe. */
extern const struct cli_command command_listen_tcp, command_listen_unix, command_connect_tcp, command_connect_unix;

#endif
