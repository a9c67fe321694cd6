/* Processes and lines: see report.h. */
#include "report.h"

#include "base/assert.h"
#include "entropy.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { SEEDS_MAX = 1 << 20, TRACE_LINES = 40, TRACE_LINE_SIZE = 256, CPU_SECONDS_MAX = 120, JOBS_MAX = 64 };

/* Shared with the children, so that a trial that crashes leaves its last lines. */
struct shared {
    struct kith_trial_result result;
    uint64_t line_count;
    char lines[TRACE_LINES][TRACE_LINE_SIZE];
};

struct sum {
    uint64_t count, failed, cpu_ns, cpu_max_ns, virtual_ns, steps, walks, memory_peak;
    uint64_t goodput[4096], goodput_count, shares[4096];
    uint64_t gaps[4096], gap_count;
    enum kith_sim_verdict worst;
};

/*
 * What this process has used: on a machine that does nothing else, the same as the time that passed. The C library's clock
 * is not a real one in this program: see entropy.c.
 */
static uint64_t cpu_now(void)
{
    struct timespec now;

    syscall(SYS_clock_gettime, CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * KITH_NS_PER_S + (uint64_t)now.tv_nsec;
}

/* ---- In the child ---- */

struct sinks {
    struct shared *shared;
    bool prints;
    const char *qlog, *scenario;
    uint64_t seed;
};

static void on_trace(void *ctx, const char *text)
{
    struct sinks *sinks = ctx;

    snprintf(sinks->shared->lines[sinks->shared->line_count++ % TRACE_LINES], TRACE_LINE_SIZE, "%s", text);
    if (sinks->prints)
        fprintf(stderr, "%s\n", text);
}

static void on_qlog(void *ctx, uint64_t conn_serial, const char *json_record)
{
    const struct sinks *sinks = ctx;
    char path[512];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s-%" PRIu64 "-%" PRIu64 ".sqlog", sinks->qlog, sinks->scenario, sinks->seed,
             conn_serial);
    if ((file = fopen(path, "a")) == NULL)
        return;
    fputs(json_record, file);
    fclose(file);
}

static void run_child(const struct kith_sim_command *command, const struct kith_scenario *scenario, uint64_t seed,
                      struct shared *shared, bool traces)
{
    static struct kith_trial trial;
    struct sinks sinks = { shared, traces && command->verbose, command->qlog, scenario->name, seed };
    uint64_t began = cpu_now();

    setitimer(ITIMER_PROF, &(struct itimerval) { .it_value.tv_sec = CPU_SECONDS_MAX }, NULL);
    kith__entropy_seed(seed);
    trial.sink_ctx = &sinks;
    trial.trace = traces ? on_trace : NULL;
    trial.qlog = command->qlog != NULL && traces ? on_qlog : NULL;
    kith__trial_run(&trial, scenario, seed, &shared->result);
    shared->result.cpu_ns = cpu_now() - began;
    fflush(stderr);
    _exit(0);
}

/* ---- In the parent ---- */

static pid_t start(const struct kith_sim_command *command, const struct kith_scenario *scenario, uint64_t seed,
                   struct shared *shared, bool traces)
{
    pid_t pid;

    memset(shared, 0, sizeof *shared);
    shared->result.verdict = KITH_SIM_CRASH; /* until it says otherwise */
    fflush(NULL);
    pid = fork();
    KITH_ASSERT(pid >= 0);
    if (pid == 0)
        run_child(command, scenario, seed, shared, traces);
    return pid;
}

static void judge(struct kith_trial_result *result, int status)
{
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGPROF) {
        result->verdict = KITH_SIM_STUCK;
        snprintf(result->why, sizeof result->why, "no end after %d s of the processor's time", CPU_SECONDS_MAX);
    } else if (WIFSIGNALED(status)) {
        result->verdict = KITH_SIM_CRASH;
        snprintf(result->why, sizeof result->why, "signal %d", WTERMSIG(status));
    } else if (WEXITSTATUS(status) != 0) {
        result->verdict = KITH_SIM_CRASH;
        snprintf(result->why, sizeof result->why, "the process ended with code %d", WEXITSTATUS(status));
    }
}

static int wait_for(pid_t pid)
{
    int status = 0;

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

static void print_failure(const struct kith_sim_command *command, const struct kith_scenario *scenario, uint64_t seed,
                          struct shared *shared)
{
    static const char *const names[] = { "ok", "stuck", "wrong", "crash" };
    struct kith_trial_result first = shared->result;
    uint64_t begin;

    judge(&shared->result, wait_for(start(command, scenario, seed, shared, true)));
    printf("# %s: seed %" PRIu64 ": %s: %s\n", scenario->name, seed, names[first.verdict], first.why);
    if (shared->result.verdict != first.verdict)
        printf("# (the second run ended as %s: %s)\n", names[shared->result.verdict], shared->result.why);
    begin = shared->line_count > TRACE_LINES ? shared->line_count - TRACE_LINES : 0;
    for (uint64_t i = begin; !command->verbose && i < shared->line_count; i++)
        printf("#   %s\n", shared->lines[i % TRACE_LINES]);
    printf("# replay: %s --scenario %s --seed %" PRIu64 "\n", command->program, scenario->name, seed);
    fflush(stdout);
}

static void add(struct sum *sum, const struct kith_trial_result *result)
{
    sum->count++;
    sum->failed += result->verdict != KITH_SIM_OK;
    sum->cpu_ns += result->cpu_ns;
    sum->cpu_max_ns = KITH_MAX(sum->cpu_max_ns, result->cpu_ns);
    sum->virtual_ns += result->virtual_ns;
    sum->steps += result->steps;
    sum->walks += result->walks;
    sum->memory_peak = KITH_MAX(sum->memory_peak, result->memory_peak);
    if (result->gap_ns != 0 && sum->gap_count < KITH_COUNT(sum->gaps))
        sum->gaps[sum->gap_count++] = result->gap_ns;
    if (result->goodput != 0 && sum->goodput_count < KITH_COUNT(sum->goodput)) {
        sum->shares[sum->goodput_count] = result->capacity != 0 ? result->goodput * 1000 / result->capacity : 0;
        sum->goodput[sum->goodput_count++] = result->goodput;
    }
}

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static void print_line(const struct kith_scenario *scenario, unsigned number, struct sum *sum)
{
    printf("%s %u - %s: %" PRIu64 " seeds, %.1f s virtual, %.3f s CPU (%.3f the slowest), %" PRIu64
           " instants, %.1f MiB at most",
           sum->worst == KITH_SIM_OK ? "ok" : "not ok", number, scenario->name, sum->count,
           (double)sum->virtual_ns / 1e9, (double)sum->cpu_ns / 1e9, (double)sum->cpu_max_ns / 1e9, sum->steps,
           (double)sum->memory_peak / (1 << 20));
    if (sum->goodput_count > 0) {
        qsort(sum->goodput, sum->goodput_count, sizeof sum->goodput[0], by_value);
        qsort(sum->shares, sum->goodput_count, sizeof sum->shares[0], by_value);
        printf(", goodput %.1f/%.1f/%.1f Mbit/s", (double)sum->goodput[0] / 1e6,
               (double)sum->goodput[sum->goodput_count / 2] / 1e6, (double)sum->goodput[sum->goodput_count - 1] / 1e6);
        if (sum->shares[0] != 0)
            printf(" = %.0f/%.0f/%.0f %% of the link", (double)sum->shares[0] / 10,
                   (double)sum->shares[sum->goodput_count / 2] / 10, (double)sum->shares[sum->goodput_count - 1] / 10);
    }
    if (sum->gap_count > 0) {
        qsort(sum->gaps, sum->gap_count, sizeof sum->gaps[0], by_value);
        printf(", longest wait %.0f/%.0f/%.0f ms", (double)sum->gaps[0] / 1e6,
               (double)sum->gaps[sum->gap_count / 2] / 1e6, (double)sum->gaps[sum->gap_count - 1] / 1e6);
    }
    printf("\n");
    fflush(stdout);
}

/* Two runs of one seed must be equal bit for bit. */
static bool repeats(const struct kith_sim_command *command, const struct kith_scenario *scenario, uint64_t seed,
                    struct shared *shared)
{
    uint64_t hash;

    judge(&shared->result, wait_for(start(command, scenario, seed, shared, false)));
    hash = shared->result.hash;
    if (shared->result.verdict != KITH_SIM_OK)
        return true; /* reported elsewhere */
    judge(&shared->result, wait_for(start(command, scenario, seed, shared, true)));
    if (shared->result.hash == hash)
        return true;
    if (shared->result.verdict != KITH_SIM_OK)
        printf("# %s: seed %" PRIu64 ": ends well, but not with a trace: %s\n", scenario->name, seed,
               shared->result.why);
    printf("# %s: seed %" PRIu64 ": two runs of one seed differ: %016" PRIx64 ", %016" PRIx64 "\n", scenario->name,
           seed, hash, shared->result.hash);
    return false;
}

static void run_seeds(const struct kith_sim_command *command, const struct kith_scenario *scenario, uint64_t seeds,
                      struct shared *shared, struct sum *sum)
{
    struct {
        pid_t pid;
        uint64_t seed;
    } slots[JOBS_MAX] = { 0 };
    uint64_t plain = seeds, next = 0, running = 0;

    seeds += scenario->known_seed != 0 && !command->is_replay;
    while (next < seeds || running > 0) {
        int status = 0;
        unsigned i = 0;
        pid_t pid;

        for (; next < seeds && running < command->jobs; next++, running++) {
            for (i = 0; slots[i].pid != 0; i++) {
            }
            slots[i].seed = next < plain ? command->first_seed + next : scenario->known_seed;
            slots[i].pid = start(command, scenario, slots[i].seed, &shared[i], command->is_replay);
        }
        if ((pid = waitpid(-1, &status, 0)) <= 0)
            continue;
        for (i = 0; i < command->jobs && slots[i].pid != pid; i++) {
        }
        if (i == command->jobs)
            continue;
        slots[i].pid = 0;
        running--;
        judge(&shared[i].result, status);
        add(sum, &shared[i].result);
        if (shared[i].result.verdict != KITH_SIM_OK) {
            if (sum->worst == KITH_SIM_OK || command->verbose) /* one trace for each scenario is enough to begin with */
                print_failure(command, scenario, slots[i].seed, &shared[i]);
            else
                printf("# %s: also seed %" PRIu64 ": %s\n", scenario->name, slots[i].seed, shared[i].result.why);
            sum->worst = KITH_MAX(sum->worst, (enum kith_sim_verdict)shared[i].result.verdict);
        }
    }
}

enum kith_sim_verdict kith__report_scenario(const struct kith_sim_command *command,
                                            const struct kith_scenario *scenario, unsigned number,
                                            struct kith_sim_total *total)
{
    struct shared *shared = mmap(NULL, JOBS_MAX * sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                                 -1, 0);
    uint64_t percent = scenario->seeds_percent != 0 ? scenario->seeds_percent : 100;
    uint64_t seeds = KITH_MIN(KITH_MAX(command->seeds * percent / 100, UINT64_C(1)), (uint64_t)SEEDS_MAX);
    static struct sum sum;

    KITH_ASSERT(shared != MAP_FAILED && command->jobs >= 1 && command->jobs <= JOBS_MAX);
    memset(&sum, 0, sizeof sum);
    run_seeds(command, scenario, command->is_replay ? 1 : seeds, shared, &sum);
    if (!repeats(command, scenario, command->first_seed, shared))
        sum.worst = KITH_MAX(sum.worst, KITH_SIM_WRONG);
    print_line(scenario, number, &sum);
    total->runs += sum.count;
    total->failed += sum.failed;
    total->virtual_ns += sum.virtual_ns;
    total->steps += sum.steps;
    total->walks += sum.walks;
    munmap(shared, JOBS_MAX * sizeof *shared);
    return sum.worst;
}
