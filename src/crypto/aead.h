/**
 * Authenticated encryption for packets, tickets and tokens: AES-128-GCM, AES-256-GCM, ChaCha20-Poly1305, all with a
 * 12-byte nonce and a 16-byte tag. One table of functions for each cipher, chosen once a process by CPU
 * (src/crypto/cpu.h):
 *   AES-GCM            ipsec-mb where kith is built with it and the CPU has AES instructions, else GnuTLS
 *   ChaCha20-Poly1305  ipsec-mb with AVX-512, else libsodium
 * All implementations give the same bytes. A key may be used by one thread at a time; different keys by any threads.
 * Sources: RFC 9001, 5.3; RFC 5116; RFC 8439; spec/08, section 2 (why these libraries).
 */
#ifndef KITH_CRYPTO_AEAD_H
#define KITH_CRYPTO_AEAD_H

#include <kith/types.h>

/** The numbers are those of the TLS 1.3 cipher suites (RFC 8446, B.4), so that no table translates them. */
enum kith_cipher {
    KITH_CIPHER_AES_128_GCM = 0x1301,
    KITH_CIPHER_AES_256_GCM = 0x1302,
    KITH_CIPHER_CHACHA20_POLY1305 = 0x1303
};

enum { KITH_AEAD_KEY_SIZE_MAX = 32, KITH_AEAD_NONCE_SIZE = 12, KITH_AEAD_TAG_SIZE = 16 };

/** Bytes of a key: 16 for AES-128-GCM, else 32; 0 for an unknown number. Same for header protection keys. */
size_t kith__cipher_key_size(enum kith_cipher cipher);

/** "AES-128-GCM", "AES-256-GCM", "CHACHA20-POLY1305"; "unknown" for an unknown number. */
const char *kith__cipher_name(enum kith_cipher cipher);

/**
 * One implementation of one cipher. seal, open: see kith__aead_seal and kith__aead_open, with `state` as made by init.
 * init returns 0 or an error and leaves nothing behind then. dispose wipes and frees.
 */
struct kith_aead_ops {
    const char *name;
    int (*init)(const struct kith_mem *mem, enum kith_cipher cipher, const uint8_t *secret, void **state);
    void (*dispose)(const struct kith_mem *mem, void *state);
    int (*seal)(void *state, const uint8_t *nonce, const uint8_t *aad, size_t aad_size, const uint8_t *in, size_t size,
                uint8_t *out);
    int (*open)(void *state, const uint8_t *nonce, const uint8_t *aad, size_t aad_size, const uint8_t *in, size_t size,
                uint8_t *out);
};

/**
 * A key, by value in its owner; all zero means "none". May be moved by assignment. The expanded key is allocated: about
 * 1.1 KiB with ipsec-mb, 32 bytes with libsodium; GnuTLS takes it from its own allocator.
 */
struct kith_aead_key {
    const struct kith_aead_ops *ops; /* NULL: no key */
    void *state;
    const struct kith_mem *mem;
};

/**
 * Makes a key of kith__cipher_key_size(cipher) bytes at secret, which is not kept. `key` needs no value before; written
 * on success only. Errors: NOMEM; UNSUPPORTED for an unknown cipher; CRYPTO if the library refuses (a system-wide
 * GnuTLS configuration can forbid algorithms).
 */
KITH_MUST_USE int kith__aead_init(struct kith_aead_key *key, const struct kith_mem *mem, enum kith_cipher cipher,
                                  const uint8_t *secret);

/**
 * As kith__aead_init, with a given implementation: for tests and benchmarks. UNSUPPORTED if it does not know the
 * cipher.
 */
KITH_MUST_USE int kith__aead_init_with(struct kith_aead_key *key, const struct kith_mem *mem,
                                       const struct kith_aead_ops *ops, enum kith_cipher cipher, const uint8_t *secret);

/** Wipes and frees; the key is "none" afterwards. Fine with a zeroed key and twice. */
void kith__aead_dispose(struct kith_aead_key *key);

static inline bool kith__aead_is_set(const struct kith_aead_key *key)
{
    return key->ops != NULL;
}

/**
 * Encrypts size bytes at in to out and writes the tag after them: size + KITH_AEAD_TAG_SIZE bytes in all. out may equal
 * in, else they must not overlap. size and aad_size may be 0. A nonce (12 bytes) must never be used twice with one key:
 * that is the caller's work. Returns 0, or KITH_ERR_CRYPTO if the library below failed, which right arguments never
 * cause; out is undefined then.
 */
KITH_MUST_USE static inline int kith__aead_seal(const struct kith_aead_key *key, const uint8_t *nonce,
                                                const uint8_t *aad, size_t aad_size, const uint8_t *in, size_t size,
                                                uint8_t *out)
{
    return key->ops->seal(key->state, nonce, aad, aad_size, in, size, out);
}

/**
 * Decrypts size bytes at in (untrusted; ciphertext, then tag) to out, size - KITH_AEAD_TAG_SIZE bytes. out may equal
 * in, else they must not overlap. Tags are compared in constant time. Returns 0, or KITH_ERR_CRYPTO if the tag is wrong
 * or size < KITH_AEAD_TAG_SIZE; the bytes at out are undefined then and must not be used.
 */
KITH_MUST_USE static inline int kith__aead_open(const struct kith_aead_key *key, const uint8_t *nonce,
                                                const uint8_t *aad, size_t aad_size, const uint8_t *in, size_t size,
                                                uint8_t *out)
{
    return key->ops->open(key->state, nonce, aad, aad_size, in, size, out);
}

/** The implementation in use for a cipher: "ipsec-mb", "gnutls" or "libsodium"; "none" for an unknown cipher. */
const char *kith__aead_name(enum kith_cipher cipher);

/**
 * The implementations themselves, in any build and on any machine: NULL where it is not built in or the CPU cannot run
 * it or KITH_CPU=portable (ipsec-mb only). gnutls knows all three ciphers, ipsec-mb too, libsodium ChaCha20-Poly1305
 * only.
 */
const struct kith_aead_ops *kith__aead_ops_gnutls(void);
const struct kith_aead_ops *kith__aead_ops_ipsec_mb(void);
const struct kith_aead_ops *kith__aead_ops_sodium(void);

/** True if ipsec-mb runs its AVX-512 code, where its ChaCha20-Poly1305 beats libsodium's (spec/08, section 2). */
bool kith__aead_ipsec_mb_is_wide(void);

#endif
