#include "base/test.h"
#include "rt/sim/sim.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/** Runs `how` in a child with its stderr in `text`; returns the child's status. */
static int run_child(void (*how)(void), char *text, size_t size)
{
    int ends[2], status = 0;
    ssize_t got, total = 0;
    pid_t child;

    KITH_CHECK_EQ(pipe(ends), 0);
    if ((child = fork()) == 0) {
        dup2(ends[1], 2);
        close(ends[0]);
        signal(SIGABRT, SIG_DFL);
        how();
        _exit(0);
    }
    close(ends[1]);
    while ((got = read(ends[0], text + total, size - 1 - (size_t)total)) > 0)
        total += got;
    text[total] = '\0';
    close(ends[0]);
    KITH_CHECK_EQ(waitpid(child, &status, 0), child);
    return status;
}

static void crash(void)
{
    kith__sim_case_begin("some_case", 0xabc);
    abort();
}

static void end_stuck(void)
{
    kith__sim_case_begin("some_case", 0xabc);
    _exit(kith__sim_exit_code(kith__sim_case_end(KITH_SIM_STUCK, "waits")));
}

KITH_TEST(sim_crash_and_stuck_print_the_command_that_replays_them)
{
    char text[2048];
    int status = run_child(crash, text, sizeof text);

    KITH_CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    KITH_CHECK(strstr(text, "crash: replay with: KITH_SEED=0xabc /") != NULL);
    KITH_CHECK(strstr(text, " some_case\n") != NULL);
    status = run_child(end_stuck, text, sizeof text);
    KITH_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 10);
    KITH_CHECK(strstr(text, "stuck: waits; replay with: KITH_SEED=0xabc /") != NULL);
}
