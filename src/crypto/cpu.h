/**
 * What the processor can do, asked once a process. The environment is read once too, before the first use:
 *   KITH_CPU=portable|sse41|avx2|avx512   the best instruction set that kith may use; never more than there is
 *   KITH_AEAD=gnutls|ipsec-mb             which library does AES-GCM (src/crypto/aead.h)
 * Other values are ignored. Both exist so that every implementation can be tested and compared on one machine. They
 * bind kith's own code and its use of ipsec-mb; GnuTLS, nettle and libsodium make their own choice.
 * Thread rule: any thread at any time.
 */
#ifndef KITH_CRYPTO_CPU_H
#define KITH_CRYPTO_CPU_H

#include <kith/types.h>

/** Instruction sets in rising order; each includes those before it. NEON machines stand at PORTABLE with has_neon. */
enum kith_cpu_level { KITH_CPU_PORTABLE, KITH_CPU_SSE41, KITH_CPU_AVX2, KITH_CPU_AVX512 };

/** Which library the environment asks for. */
enum kith_aead_choice { KITH_AEAD_AUTO, KITH_AEAD_GNUTLS, KITH_AEAD_IPSEC_MB };

/** The answer; never changes. */
struct kith_cpu {
    enum kith_cpu_level level;    /* what to use: the smaller of what is there and what KITH_CPU allows */
    enum kith_cpu_level detected; /* what the processor and the system support; AVX512 means F, BW, DQ and VL */
    enum kith_aead_choice aead;
    bool has_aes;  /* AES and carry-less multiplication instructions on x86, whatever KITH_CPU says */
    bool has_neon; /* compiled for NEON and not switched off by KITH_CPU=portable */
};

/**
 * The features. The first call also prepares libsodium, so that its fast implementations are in use; everything in
 * src/crypto that needs that calls this. Never NULL; static.
 */
const struct kith_cpu *kith__cpu(void);

/** Parses a value of KITH_CPU; false for NULL and unknown text. Pure. */
bool kith__cpu_level_parse(const char *text, enum kith_cpu_level *out);

/** "portable", "sse41", "avx2", "avx512". */
const char *kith__cpu_level_name(enum kith_cpu_level level);

#endif
