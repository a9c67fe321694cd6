/*
 * Rates of every BLAKE3 implementation of this machine, in MiB/s on one thread: the best of several short runs, so that
 * other load disturbs little. Usage: blake3_bench [SIZE...]
 */
#include "crypto/blake3_impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RUNS = 25, BYTES_IN_RUN = 8 << 20 };

static double now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/** MiB/s of the best run. */
static double rate(const struct kith_blake3_impl *impl, const uint8_t *bytes, size_t size)
{
    size_t times = size < BYTES_IN_RUN ? BYTES_IN_RUN / size : 1;
    double best_s = 1e9;
    uint8_t out[KITH_HASH_SIZE];

    for (int run = 0; run < RUNS; run++) {
        double start_s = now_s(), took_s;

        for (size_t i = 0; i < times; i++)
            kith__blake3_subtree_with(impl, kith__blake3_iv, 0, 0, bytes, size, true, out);
        took_s = now_s() - start_s;
        best_s = took_s < best_s ? took_s : best_s;
    }
    return (double)size * (double)times / best_s / (1 << 20);
}

int main(int argc, char **argv)
{
    static const char *const sizes_default[] = { "64", "1024", "4096", "16384", "131072", "1048576" };
    const char *const *sizes = argc > 1 ? (const char *const *)argv + 1 : sizes_default;
    size_t size_count = argc > 1 ? (size_t)argc - 1 : sizeof sizes_default / sizeof *sizes_default, impl_count;
    const struct kith_blake3_impl *const *impls = kith__blake3_impls(&impl_count);

    printf("%-10s", "bytes");
    for (size_t i = 0; i < impl_count; i++)
        printf("%10s", impls[i]->name);
    printf("   MiB/s\n");
    for (size_t s = 0; s < size_count; s++) {
        size_t size = strtoull(sizes[s], NULL, 0);
        uint8_t *bytes = size > 0 ? malloc(size) : NULL;

        if (bytes == NULL) {
            fprintf(stderr, "blake3_bench: bad size %s\n", sizes[s]);
            return 1;
        }
        memset(bytes, 0x5a, size);
        printf("%-10zu", size);
        for (size_t i = 0; i < impl_count; i++)
            printf("%10.0f", rate(impls[i], bytes, size));
        printf("\n");
        free(bytes);
    }
    return 0;
}
