/* Random lists of operations, from one seed: see ops.h. */
#include "quic/conn/ops.h"

#include "base/test.h"

#include <stdio.h>

enum { RUNS = 150, SIZE_MAX_OPS = 1500 };

static void run_seed(uint64_t seed)
{
    uint8_t bytes[SIZE_MAX_OPS];
    uint64_t state = seed;
    size_t size = kith__test_random(&state) % sizeof bytes;

    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)kith__test_random(&state);
    if (size > 1 && seed % 4 != 0)
        bytes[1] = 0; /* mostly clients are accepted */
    ops_run(bytes, size);
}

KITH_TEST(ops_random_operations_keep_the_invariants)
{
    uint64_t seed = kith__test_seed(0);

    if (seed != 0) {
        run_seed(seed);
        return;
    }
    for (seed = 1; seed <= RUNS; seed++) {
        fprintf(stderr, "\rKITH_SEED=%llu", (unsigned long long)seed); /* the last one printed is the one that failed */
        run_seed(seed);
    }
    fprintf(stderr, "\n");
}
