/* kith relay: the same as the program kith-relay. */
#include "commands.h"

#include "../relay/run.h"

static int run(struct cli *cli, int argc, char **argv)
{
    (void)cli;
    return relay_program("kith relay", argc, argv);
}

const struct cli_command command_relay = {
    .name = "relay",
    .arguments = "[OPTIONS]",
    .summary = "run a relay: where endpoints meet that have no direct path",
    .run = run,
};
