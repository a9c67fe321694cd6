/** How the trials of a scenario are summed up, printed, and run in processes of their own. */
#ifndef KITH_SIM_REPORT_H
#define KITH_SIM_REPORT_H

#include "trial.h"

/** What the command line says. */
struct kith_sim_command {
    const char *program, *scenario, *qlog; /* scenario: part of a name; NULL: all. qlog: directory or NULL */
    uint64_t first_seed, seeds;
    unsigned jobs;
    bool is_replay, verbose;
};

/** What all scenarios of one run of the program were, together. */
struct kith_sim_total {
    uint64_t runs, failed, virtual_ns, steps, walks;
};

/**
 * Runs all seeds of a scenario, each in a child process that was forked before anything happened, so that what one trial
 * does cannot touch another and a crash ends only itself. The first seed runs again twice: all must give the same hash.
 * Prints one TAP line (and, on a failure, the trace and the command that replays it), adds to `total`. Returns the worst
 * verdict.
 */
enum kith_sim_verdict kith__report_scenario(const struct kith_sim_command *command,
                                            const struct kith_scenario *scenario, unsigned number,
                                            struct kith_sim_total *total);

#endif
