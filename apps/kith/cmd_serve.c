/* kith serve: a relay and a lookup server in one process. */
#include "commands.h"

#include "../serve/run.h"

static int run(struct cli *cli, int argc, char **argv)
{
    (void)cli;
    return serve_program("kith serve", argc, argv);
}

const struct cli_command command_serve = {
    .name = "serve",
    .arguments = "[OPTIONS]",
    .summary = "run a relay and a lookup server in one: all that a private network needs",
    .run = run,
};
