/* Random lists of operations, from one seed: see ops.h. */
#include "quic/conn/ops.h"

#include "base/test.h"

#include <signal.h>
#include <stdio.h>

enum { RUNS = 150, SIZE_MAX_OPS = 1500 };

static volatile uint64_t seed_now;

/** An assertion failed: says how to come back. */
static void tell_seed(int number)
{
    (void)number;
    fprintf(stderr, "KITH_SEED=%llu test-quic ops_random\n", (unsigned long long)seed_now);
    signal(SIGABRT, SIG_DFL);
}

static void run_seed(uint64_t seed)
{
    uint8_t bytes[SIZE_MAX_OPS];
    uint64_t state = seed;
    size_t size = kith__test_random(&state) % sizeof bytes;

    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)kith__test_random(&state);
    if (size > 1 && seed % 4 != 0)
        bytes[1] = 0; /* mostly clients are accepted */
    if (size > 1 && seed % 2 != 0)
        bytes[0] |= 64; /* several paths */
    ops_run(bytes, size);
}

KITH_TEST(ops_random_operations_keep_the_invariants)
{
    uint64_t seed = kith__test_seed(0);

    if (seed != 0) {
        run_seed(seed);
        return;
    }
    signal(SIGABRT, tell_seed);
    for (seed = 1; seed <= RUNS; seed++) {
        seed_now = seed;
        run_seed(seed);
    }
    signal(SIGABRT, SIG_DFL);
}
