/** The program `kith serve`: relay, address discovery and lookup server in one process. */
#ifndef APPS_SERVE_RUN_H
#define APPS_SERVE_RUN_H

/** Runs with these arguments (argv[0] is skipped) until a signal ends it. name: what messages call it. Returns the exit code. */
int serve_program(const char *name, int argc, char **argv);

#endif
