/* What a failed case says: how it ended, and the one command that runs it again. */
#include "base/assert.h"
#include "rt/sim/sim.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const int crash_signals[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL };
static struct sigaction before[KITH_COUNT(crash_signals)];
static char replay[512]; /* "KITH_SEED=0x.. PROGRAM NAME\n", ready for a signal handler */
static bool is_active;

/** Only async-signal-safe calls; then the signal does what it would have done without us. */
static void on_crash(int number)
{
    static const char text[] = "crash: replay with: ";
    ssize_t unused;

    for (size_t i = 0; i < KITH_COUNT(crash_signals); i++)
        sigaction(crash_signals[i], &before[i], NULL);
    unused = write(STDERR_FILENO, text, sizeof text - 1);
    unused = write(STDERR_FILENO, replay, strlen(replay));
    (void)unused;
    raise(number);
}

void kith__sim_case_begin(const char *name, uint64_t seed)
{
    struct sigaction action = { 0 };
    char program[256] = "PROGRAM";
    ssize_t size = readlink("/proc/self/exe", program, sizeof program - 1);

    KITH_ASSERT(!is_active);
    if (size > 0)
        program[size] = '\0';
    snprintf(replay, sizeof replay, "KITH_SEED=0x%llx %s %s\n", (unsigned long long)seed, program, name);
    action.sa_handler = on_crash;
    action.sa_flags = SA_NODEFER; /* raise inside the handler takes effect at once */
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < KITH_COUNT(crash_signals); i++)
        sigaction(crash_signals[i], &action, &before[i]);
    is_active = true;
}

enum kith_sim_verdict kith__sim_case_end(enum kith_sim_verdict verdict, const char *why)
{
    static const char *const names[] = { "ok", "stuck", "wrong", "crash" };

    KITH_ASSERT(is_active);
    is_active = false;
    for (size_t i = 0; i < KITH_COUNT(crash_signals); i++)
        sigaction(crash_signals[i], &before[i], NULL);
    if (verdict != KITH_SIM_OK)
        fprintf(stderr, "%s: %s; replay with: %s", names[verdict], why, replay);
    return verdict;
}

int kith__sim_exit_code(enum kith_sim_verdict verdict)
{
    static const int codes[] = { 0, 10, 11, 12 };

    return codes[verdict];
}
