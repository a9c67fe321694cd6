#include "base/test.h"
#include "crypto/cpu.h"
#include "crypto/secure.h"
#include <stdlib.h>
#include <string.h>

KITH_TEST(cpu_levels_parse_by_their_names_only)
{
    enum kith_cpu_level level;

    for (int i = KITH_CPU_PORTABLE; i <= KITH_CPU_AVX512; i++) {
        KITH_CHECK(kith__cpu_level_parse(kith__cpu_level_name((enum kith_cpu_level)i), &level));
        KITH_CHECK_EQ(level, i);
    }
    level = KITH_CPU_SSE41;
    KITH_CHECK(!kith__cpu_level_parse(NULL, &level));
    KITH_CHECK(!kith__cpu_level_parse("", &level));
    KITH_CHECK(!kith__cpu_level_parse("avx", &level));
    KITH_CHECK(!kith__cpu_level_parse("AVX2", &level));
    KITH_CHECK_EQ(level, KITH_CPU_SSE41);
}

KITH_TEST(cpu_environment_lowers_the_level_and_never_raises_it)
{
    const struct kith_cpu *cpu = kith__cpu();
    enum kith_cpu_level allowed = KITH_CPU_AVX512;

    kith__cpu_level_parse(getenv("KITH_CPU"), &allowed);
    KITH_CHECK_EQ(cpu->level, KITH_MIN(allowed, cpu->detected));
    KITH_CHECK(kith__cpu() == cpu);
#if defined(__x86_64__)
    KITH_CHECK_EQ(cpu->detected >= KITH_CPU_AVX2, __builtin_cpu_supports("avx2") != 0);
    KITH_CHECK_EQ(cpu->detected >= KITH_CPU_SSE41, __builtin_cpu_supports("sse4.1") != 0);
    KITH_CHECK_EQ(cpu->detected == KITH_CPU_AVX512,
                  __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq"));
#endif
}

KITH_TEST(secrets_are_wiped_and_compared)
{
    uint8_t a[33], b[33];

    memset(a, 7, sizeof a);
    memset(b, 7, sizeof b);
    KITH_CHECK(kith__equal_secret(a, b, sizeof a));
    for (size_t i = 0; i < sizeof a; i++) {
        b[i] ^= 0x80;
        KITH_CHECK(!kith__equal_secret(a, b, sizeof a));
        KITH_CHECK_EQ(kith__equal_secret_16(a, b), i >= 16);
        b[i] ^= 0x80;
    }
    KITH_CHECK(kith__equal_secret(a, b, 0));
    KITH_CHECK(kith__equal_secret_16(a, b));
    kith__wipe(a, 32);
    memset(b, 0, 32);
    KITH_CHECK_BYTES(a, b, sizeof a); /* the last byte is untouched */
}
