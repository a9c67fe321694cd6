/* kith dns: the same as the program kith-dns. */
#include "commands.h"

#include "../dns/run.h"

static int run(struct cli *cli, int argc, char **argv)
{
    (void)cli;
    return dns_program("kith dns", argc, argv);
}

const struct cli_command command_dns = {
    .name = "dns",
    .arguments = "[OPTIONS]",
    .summary = "run a lookup server: where endpoints publish, and are found by their id",
    .run = run,
};
