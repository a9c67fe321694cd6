/* Processor features: the compiler's cpuid helper, and xgetbv for what the system saves on a context switch. */
#include "crypto/cpu.h"

#include <pthread.h>
#include <sodium/core.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

static struct kith_cpu cpu;
static pthread_once_t cpu_once = PTHREAD_ONCE_INIT;

static const char *const level_names[] = {
    [KITH_CPU_PORTABLE] = "portable",
    [KITH_CPU_SSE41] = "sse41",
    [KITH_CPU_AVX2] = "avx2",
    [KITH_CPU_AVX512] = "avx512",
};

const char *kith__cpu_level_name(enum kith_cpu_level level)
{
    return level_names[level];
}

bool kith__cpu_level_parse(const char *text, enum kith_cpu_level *out)
{
    for (int i = KITH_CPU_PORTABLE; text != NULL && i <= KITH_CPU_AVX512; i++)
        if (strcmp(text, level_names[i]) == 0) {
            *out = (enum kith_cpu_level)i;
            return true;
        }
    return false;
}

#if defined(__x86_64__)
/* XCR0: which register sets the system saves. Bit 1 SSE, 2 AVX, 5 to 7 the AVX-512 masks and registers. */
enum { XCR0_AVX = 0x06, XCR0_AVX512 = 0xe6 };

static uint32_t read_xcr0(void)
{
    uint32_t low, high;

    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static enum kith_cpu_level level_detect(bool *has_aes)
{
    unsigned a, b, c, d, leaf7_b = 0;
    uint32_t xcr0;
    const unsigned avx512 = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;

    *has_aes = false;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSE4_1) || !(c & bit_SSSE3))
        return KITH_CPU_PORTABLE;
    *has_aes = (c & bit_AES) && (c & bit_PCLMUL);
    if (!(c & bit_OSXSAVE) || !(c & bit_AVX))
        return KITH_CPU_SSE41;
    xcr0 = read_xcr0();
    __get_cpuid_count(7, 0, &a, &leaf7_b, &c, &d);
    if ((xcr0 & XCR0_AVX) != XCR0_AVX || !(leaf7_b & bit_AVX2))
        return KITH_CPU_SSE41;
    if ((xcr0 & XCR0_AVX512) != XCR0_AVX512 || (leaf7_b & avx512) != avx512)
        return KITH_CPU_AVX2;
    return KITH_CPU_AVX512;
}
#else
static enum kith_cpu_level level_detect(bool *has_aes)
{
    *has_aes = false;
    return KITH_CPU_PORTABLE;
}
#endif

static void cpu_init(void)
{
    const char *aead = getenv("KITH_AEAD");
    enum kith_cpu_level allowed = KITH_CPU_AVX512;
    bool is_limited = kith__cpu_level_parse(getenv("KITH_CPU"), &allowed);

    cpu.detected = level_detect(&cpu.has_aes);
    cpu.level = allowed < cpu.detected ? allowed : cpu.detected;
#if defined(__ARM_NEON)
    cpu.has_neon = !(is_limited && allowed == KITH_CPU_PORTABLE);
#else
    (void)is_limited;
#endif
    if (aead != NULL && strcmp(aead, "gnutls") == 0)
        cpu.aead = KITH_AEAD_GNUTLS;
    else if (aead != NULL && strcmp(aead, "ipsec-mb") == 0)
        cpu.aead = KITH_AEAD_IPSEC_MB;
    /* Without this libsodium uses its slow reference code, correctly: a failure needs no answer. */
    (void)!sodium_init();
}

const struct kith_cpu *kith__cpu(void)
{
    pthread_once(&cpu_once, cpu_init);
    return &cpu;
}
