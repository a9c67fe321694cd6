/*
 * sim-run: whole endpoints in virtual time.
 *
 *     sim-run                                    all scenarios, KITH_SIM_SEEDS (200) seeds each
 *     sim-run --scenario NAME                    those whose name contains NAME
 *     sim-run --scenario NAME --seed S           one trial, once more; with -v its whole trace, --qlog DIR its qlog files
 *     sim-run --list
 *
 * Exit codes: 0, 10 stuck, 11 wrong, 12 crash (the worst of all trials), 2 for a wrong command line.
 */
#include "report.h"

#include "base/assert.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SEEDS_DEFAULT = 200 };

/* A promise may say how many seeded runs a family has at least, when all are run with as many seeds as by default. */
static const struct {
    const char *name;
    const struct kith_scenario *scenarios;
    uint64_t runs_min;
} families[] = {
    { "handshake", kith__scenarios_handshake, 0 },
    { "transfer", kith__scenarios_transfer, 0 },
    { "path", kith__scenarios_path, 0 },
    { "peer", kith__scenarios_peer, 0 },
    { "time", kith__scenarios_time, 0 },
    { "speed", kith__scenarios_speed, 0 },
    { "multi", kith__scenarios_multi, 1000 },
    { "roam", kith__scenarios_roam, 0 },
    { "punch", kith__scenarios_punch, 0 },
    { "relay", kith__scenarios_relay, 0 },
    { "relayed", kith__scenarios_relayed, 0 },
    { "lookup", kith__scenarios_lookup, 0 },
    { "lookup-servers", kith__scenarios_lookup_servers, 0 },
};

static int usage(void)
{
    fprintf(stderr, "usage: sim-run [--scenario NAME] [--seed N] [--seeds N] [--jobs N] [--qlog DIR] [-v] [--list]\n");
    return 2;
}

static bool take_value(int argc, char **argv, int *i, const char *name, const char **value)
{
    if (strcmp(argv[*i], name) != 0 || *i + 1 >= argc)
        return false;
    *value = argv[++*i];
    return true;
}

static unsigned count_wanted(const struct kith_sim_command *command, bool prints)
{
    unsigned count = 0;

    for (size_t f = 0; f < KITH_COUNT(families); f++)
        for (const struct kith_scenario *s = families[f].scenarios; s->name != NULL; s++) {
            if (command->scenario != NULL && strstr(s->name, command->scenario) == NULL)
                continue;
            count++;
            if (prints)
                printf("%s\n", s->name);
        }
    return count;
}

static bool is_wanted(const struct kith_sim_command *command, const struct kith_scenario *scenario)
{
    if (command->scenario == NULL)
        return true;
    return command->is_replay ? strcmp(scenario->name, command->scenario) == 0
                              : strstr(scenario->name, command->scenario) != NULL;
}

/* Runs a family's scenarios as far as they are wanted, and says how many runs that were. False: fewer than promised. */
static bool run_family(const struct kith_sim_command *command, size_t f, unsigned *number, struct kith_sim_total *total,
                       enum kith_sim_verdict *worst)
{
    struct kith_sim_total before = *total;
    unsigned count = *number;
    bool is_whole = command->scenario == NULL && command->seeds >= SEEDS_DEFAULT;

    for (const struct kith_scenario *s = families[f].scenarios; s->name != NULL; s++)
        if (is_wanted(command, s)) {
            enum kith_sim_verdict verdict = kith__report_scenario(command, s, ++*number, total);

            *worst = KITH_MAX(*worst, verdict);
        }
    if (*number == count)
        return true;
    printf("# %s: %" PRIu64 " seeded runs of %u scenarios, %" PRIu64 " failed\n", families[f].name,
           total->runs - before.runs, *number - count, total->failed - before.failed);
    if (!is_whole || total->runs - before.runs >= families[f].runs_min)
        return true;
    printf("# %s: at least %" PRIu64 " runs are promised\n", families[f].name, families[f].runs_min);
    return false;
}

static int run_all(const struct kith_sim_command *command)
{
    enum kith_sim_verdict worst = KITH_SIM_OK;
    struct kith_sim_total total = { 0 };
    unsigned number = 0;

    for (size_t f = 0; f < KITH_COUNT(families); f++)
        if (!run_family(command, f, &number, &total, &worst))
            worst = KITH_MAX(worst, KITH_SIM_WRONG);
    if (number == 0) {
        fprintf(stderr, "sim-run: no scenario has such a name (--list shows them)\n");
        return 2;
    }
    printf("1..%u\n", number);
    printf("# in all: %" PRIu64 " seeded runs of %u scenarios, %" PRIu64 " failed; %.1f hours of virtual time, %" PRIu64
           " instants checked, %" PRIu64 " walks of all the engine's own sums\n",
           total.runs, number, total.failed, (double)total.virtual_ns / 3.6e12, total.steps, total.walks);
    return kith__sim_exit_code(worst);
}

int main(int argc, char **argv)
{
    const char *seeds = getenv("KITH_SIM_SEEDS"), *jobs = "2", *seed = NULL;
    struct kith_sim_command command = { .program = argv[0], .first_seed = 1 };
    bool lists = false;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-v") == 0)
            command.verbose = true;
        else if (strcmp(argv[i], "--list") == 0)
            lists = true;
        else if (!take_value(argc, argv, &i, "--scenario", &command.scenario) &&
                 !take_value(argc, argv, &i, "--seed", &seed) && !take_value(argc, argv, &i, "--seeds", &seeds) &&
                 !take_value(argc, argv, &i, "--jobs", &jobs) && !take_value(argc, argv, &i, "--qlog", &command.qlog))
            return usage();
    }
    if (lists)
        return count_wanted(&command, true) > 0 ? 0 : 2;
    command.seeds = seeds != NULL ? strtoull(seeds, NULL, 0) : SEEDS_DEFAULT;
    command.jobs = (unsigned)strtoul(jobs, NULL, 0);
    command.jobs = KITH_MIN(KITH_MAX(command.jobs, 1u), 16u);
    command.is_replay = seed != NULL;
    if (seed != NULL)
        command.first_seed = strtoull(seed, NULL, 0);
    return run_all(&command);
}
