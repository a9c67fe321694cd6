/** The lookup server's program: `kith-dns` and `kith dns` are the same. */
#ifndef APPS_DNS_RUN_H
#define APPS_DNS_RUN_H

/** Runs with these arguments (argv[0] is skipped) until a signal ends it. name: what messages call it. Returns the exit code. */
int dns_program(const char *name, int argc, char **argv);

#endif
