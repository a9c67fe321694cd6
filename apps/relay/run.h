/** The relay program: `kith-relay` and `kith relay` are the same. */
#ifndef APPS_RELAY_RUN_H
#define APPS_RELAY_RUN_H

/** Runs with these arguments (argv[0] is skipped) until a signal ends it. name: what messages call it. Returns the exit code. */
int relay_program(const char *name, int argc, char **argv);

#endif
