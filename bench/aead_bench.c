/*
 * Packet protection on one thread: nanoseconds a packet and GB/s for every cipher and implementation of this machine,
 * in place, with a fresh nonce each time, and header protection masks. The best of several short runs counts.
 * Usage: aead_bench [PAYLOAD_SIZE]   (default 1452: a UDP payload with a 12-byte header and a 16-byte tag)
 */
#include "crypto/aead.h"
#include "crypto/hp.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RUNS = 25, PACKETS_IN_RUN = 4000, HEADER_SIZE = 12, PAYLOAD_MAX = 65536 };

static uint8_t packet[PAYLOAD_MAX];

static double now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/** Nanoseconds a packet for seal, and for open of what was sealed last; < 0 if the library failed. */
static void measure(const struct kith_aead_key *key, size_t size, double *seal_ns, double *open_ns)
{
    static uint8_t sealed[PAYLOAD_MAX];
    uint8_t nonce[KITH_AEAD_NONCE_SIZE] = { 0 };
    size_t text_size = size - HEADER_SIZE - KITH_AEAD_TAG_SIZE;
    double best_seal = 1e18, best_open = 1e18;
    int failed = 0;

    for (int run = 0; run < RUNS; run++) {
        double start = now_ns(), took;

        for (uint32_t i = 0; i < PACKETS_IN_RUN; i++) {
            memcpy(nonce + 8, &i, sizeof i);
            failed |= kith__aead_seal(key, nonce, packet, HEADER_SIZE, packet + HEADER_SIZE, text_size,
                                      packet + HEADER_SIZE);
        }
        took = (now_ns() - start) / PACKETS_IN_RUN;
        best_seal = took < best_seal ? took : best_seal;
        start = now_ns();
        for (uint32_t i = 0; i < PACKETS_IN_RUN; i++)
            failed |= kith__aead_open(key, nonce, packet, HEADER_SIZE, packet + HEADER_SIZE, size - HEADER_SIZE,
                                      sealed);
        took = (now_ns() - start) / PACKETS_IN_RUN;
        best_open = took < best_open ? took : best_open;
    }
    *seal_ns = failed ? -1 : best_seal;
    *open_ns = failed ? -1 : best_open;
}

static void report_aead(enum kith_cipher cipher, const struct kith_aead_ops *ops, size_t size)
{
    static const uint8_t secret[KITH_AEAD_KEY_SIZE_MAX] = { 1 };
    struct kith_aead_key key;
    double seal_ns, open_ns;

    if (ops == NULL || kith__aead_init_with(&key, kith_mem_default(), ops, cipher, secret) != 0)
        return;
    measure(&key, size, &seal_ns, &open_ns);
    printf("%-18s %-10s seal %6.0f ns %6.2f GB/s   open %6.0f ns %6.2f GB/s%s\n", kith__cipher_name(cipher), ops->name,
           seal_ns, (double)size / seal_ns, open_ns, (double)size / open_ns,
           strcmp(kith__aead_name(cipher), ops->name) == 0 ? "   in use" : "");
    kith__aead_dispose(&key);
}

/** Each mask is the next sample, so that this is latency. */
static void report_hp(enum kith_cipher cipher)
{
    static const uint8_t secret[KITH_AEAD_KEY_SIZE_MAX] = { 1 };
    uint8_t sample[KITH_HP_SAMPLE_SIZE] = { 0 };
    struct kith_hp_key key;
    double best = 1e18;

    if (kith__hp_init(&key, cipher, secret) != 0)
        return;
    for (int run = 0; run < RUNS; run++) {
        double start = now_ns(), took;

        for (int i = 0; i < PACKETS_IN_RUN; i++)
            kith__hp_mask(&key, sample, sample);
        took = (now_ns() - start) / PACKETS_IN_RUN;
        best = took < best ? took : best;
    }
    printf("%-18s mask %6.1f ns\n", kith__cipher_name(cipher), best);
}

int main(int argc, char **argv)
{
    static const enum kith_cipher ciphers[] = { KITH_CIPHER_AES_128_GCM, KITH_CIPHER_AES_256_GCM,
                                                KITH_CIPHER_CHACHA20_POLY1305 };
    size_t size = argc > 1 ? strtoull(argv[1], NULL, 0) : 1452;

    if (size < HEADER_SIZE + KITH_AEAD_TAG_SIZE || size > PAYLOAD_MAX) {
        fprintf(stderr, "aead_bench: size must be 28..65536\n");
        return 1;
    }
    for (size_t i = 0; i < sizeof ciphers / sizeof *ciphers; i++) {
        report_aead(ciphers[i], kith__aead_ops_ipsec_mb(), size);
        report_aead(ciphers[i], kith__aead_ops_gnutls(), size);
        report_aead(ciphers[i], kith__aead_ops_sodium(), size);
    }
    for (size_t i = 0; i < sizeof ciphers / sizeof *ciphers; i++)
        report_hp(ciphers[i]);
    return 0;
}
