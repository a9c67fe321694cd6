/* AEAD: published vectors, and all implementations of this machine against each other. */
#include "base/test.h"
#include "crypto/aead.h"
#include "crypto/cpu.h"
#include <pthread.h>
#include <sodium/utils.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE_MAX_TESTED = 9000, OPS_MAX = 3 };

static const enum kith_cipher all_ciphers[] = { KITH_CIPHER_AES_128_GCM, KITH_CIPHER_AES_256_GCM,
                                                KITH_CIPHER_CHACHA20_POLY1305 };

/** The implementations of one cipher on this machine, GnuTLS first. */
static size_t ops_of(enum kith_cipher cipher, const struct kith_aead_ops **out)
{
    size_t count = 0;

    out[count++] = kith__aead_ops_gnutls();
    if (kith__aead_ops_ipsec_mb() != NULL)
        out[count++] = kith__aead_ops_ipsec_mb();
    if (cipher == KITH_CIPHER_CHACHA20_POLY1305)
        out[count++] = kith__aead_ops_sodium();
    return count;
}

static size_t from_hex(const char *hex, uint8_t *bytes, size_t cap)
{
    size_t size;

    KITH_CHECK_EQ(sodium_hex2bin(bytes, cap, hex, strlen(hex), " ", &size, NULL), 0);
    return size;
}

static void fill(uint8_t *bytes, size_t size, uint64_t *random)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)kith__test_random(random);
}

#define GCM_TEXT                                                                                                       \
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657" \
    "ba"                                                                                                               \
    "637b39"
#define GCM_AAD   "feedfacedeadbeeffeedfacedeadbeefabaddad2"
#define GCM_NONCE "cafebabefacedbaddecaf888"

/** The GCM specification's test cases 1, 4, 14 and 16, and RFC 8439, 2.8.2. sealed: ciphertext and tag. */
static const struct {
    enum kith_cipher cipher;
    const char *key, *nonce, *aad, *text, *sealed;
} vectors[] = {
    { KITH_CIPHER_AES_128_GCM, "00000000000000000000000000000000", "000000000000000000000000", "", "",
      "58e2fccefa7e3061367f1d57a4e7455a" },
    { KITH_CIPHER_AES_128_GCM, "feffe9928665731c6d6a8f9467308308", GCM_NONCE, GCM_AAD, GCM_TEXT,
      "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac97"
      "3d58e091 5bc94fbc3221a5db94fae95ae7121a47" },
    { KITH_CIPHER_AES_256_GCM, "0000000000000000000000000000000000000000000000000000000000000000",
      "000000000000000000000000", "", "00000000000000000000000000000000",
      "cea7403d4d606b6e074ec5d3baf39d18 d0d1c8a799996bf0265b98b5d48ab919" },
    { KITH_CIPHER_AES_256_GCM, "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308", GCM_NONCE, GCM_AAD,
      GCM_TEXT,
      "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0a"
      "bcc9f662 76fc6ece0f4e1768cddf8853bb2d551b" },
    { KITH_CIPHER_CHACHA20_POLY1305, "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
      "070000004041424344454647", "50515253c0c1c2c3c4c5c6c7",
      "4c616469657320616e642047656e746c656d656e206f662074686520636c617373206f66202739393a204966204920636f756c64206f6666"
      "657220796f75206f6e6c79206f6e652074697020666f7220746865206675747572652c2073756e73637265656e20776f756c642062652069"
      "742e",
      "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d63dbea45e8ca9671282fafb69da92728b1a71de0a9e060b29"
      "05d6a5b67ecd3b3692ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc3ff4def08e4b7a9de576d26586cec64b"
      "6116 1ae10b594f09e26a7e902ecbd0600691" },
};

KITH_TEST(aead_matches_published_vectors_in_every_implementation)
{
    for (size_t i = 0; i < KITH_COUNT(vectors); i++) {
        const struct kith_aead_ops *ops[OPS_MAX];
        size_t count = ops_of(vectors[i].cipher, ops);
        uint8_t secret[32], nonce[12], aad[32], text[256], sealed[256], out[256];
        size_t aad_size, size;

        from_hex(vectors[i].key, secret, sizeof secret);
        from_hex(vectors[i].nonce, nonce, sizeof nonce);
        aad_size = from_hex(vectors[i].aad, aad, sizeof aad);
        size = from_hex(vectors[i].text, text, sizeof text);
        KITH_CHECK_EQ(from_hex(vectors[i].sealed, sealed, sizeof sealed), size + KITH_AEAD_TAG_SIZE);
        for (size_t j = 0; j < count; j++) {
            struct kith_aead_key key;

            KITH_CHECK_EQ(kith__aead_init_with(&key, kith_mem_default(), ops[j], vectors[i].cipher, secret), 0);
            KITH_CHECK_EQ(kith__aead_seal(&key, nonce, aad, aad_size, text, size, out), 0);
            KITH_CHECK_BYTES(out, sealed, size + KITH_AEAD_TAG_SIZE);
            KITH_CHECK_EQ(kith__aead_open(&key, nonce, aad, aad_size, sealed, size + KITH_AEAD_TAG_SIZE, out), 0);
            KITH_CHECK_BYTES(out, text, size);
            kith__aead_dispose(&key);
        }
    }
}

/** Seals and opens in place with one implementation and compares with bytes that another one made. */
static void check_one(const struct kith_aead_key *key, const uint8_t *nonce, const uint8_t *aad, size_t aad_size,
                      const uint8_t *text, size_t size, const uint8_t *sealed)
{
    static uint8_t work[SIZE_MAX_TESTED + KITH_AEAD_TAG_SIZE + 1];
    size_t sealed_size = size + KITH_AEAD_TAG_SIZE;

    work[sealed_size] = 0xa5;
    memcpy(work, text, size);
    KITH_CHECK_EQ(kith__aead_seal(key, nonce, aad, aad_size, work, size, work), 0);
    KITH_CHECK_BYTES(work, sealed, sealed_size);
    KITH_CHECK_EQ(work[sealed_size], 0xa5);
    KITH_CHECK_EQ(kith__aead_open(key, nonce, aad, aad_size, work, sealed_size, work), 0);
    KITH_CHECK_BYTES(work, text, size);
}

KITH_TEST(aead_implementations_agree_on_all_sizes_in_place)
{
    static uint8_t text[SIZE_MAX_TESTED], sealed[SIZE_MAX_TESTED + KITH_AEAD_TAG_SIZE];
    uint64_t random = kith__test_seed(1);

    for (size_t c = 0; c < KITH_COUNT(all_ciphers); c++) {
        const struct kith_aead_ops *ops[OPS_MAX];
        size_t count = ops_of(all_ciphers[c], ops);
        struct kith_aead_key keys[OPS_MAX];
        uint8_t secret[32], nonce[12], aad[70];

        fill(secret, sizeof secret, &random);
        for (size_t j = 0; j < count; j++)
            KITH_CHECK_EQ(kith__aead_init_with(&keys[j], kith_mem_default(), ops[j], all_ciphers[c], secret), 0);
        for (size_t size = 0; size <= SIZE_MAX_TESTED; size += size < 600 ? 1 : 1 + size / 19) {
            size_t aad_size = kith__test_random(&random) % (sizeof aad + 1);

            fill(nonce, sizeof nonce, &random);
            fill(aad, sizeof aad, &random);
            fill(text, KITH_MIN(size, (size_t)64), &random);
            KITH_CHECK_EQ(kith__aead_seal(&keys[0], nonce, aad, aad_size, text, size, sealed), 0);
            for (size_t j = 0; j < count; j++)
                check_one(&keys[j], nonce, aad, aad_size, text, size, sealed);
        }
        for (size_t j = 0; j < count; j++)
            kith__aead_dispose(&keys[j]);
    }
}

KITH_TEST(aead_refuses_every_changed_bit)
{
    uint8_t secret[32] = { 1 }, nonce[12] = { 2 }, aad[5] = { 3 }, text[20] = { 4 };

    for (size_t c = 0; c < KITH_COUNT(all_ciphers); c++) {
        const struct kith_aead_ops *ops[OPS_MAX];
        size_t count = ops_of(all_ciphers[c], ops);

        for (size_t j = 0; j < count; j++) {
            uint8_t sealed[sizeof text + KITH_AEAD_TAG_SIZE], out[sizeof sealed];
            struct kith_aead_key key;

            KITH_CHECK_EQ(kith__aead_init_with(&key, kith_mem_default(), ops[j], all_ciphers[c], secret), 0);
            KITH_CHECK_EQ(kith__aead_seal(&key, nonce, aad, sizeof aad, text, sizeof text, sealed), 0);
            for (size_t bit = 0; bit < 8 * sizeof sealed; bit++) {
                sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
                KITH_CHECK_EQ(kith__aead_open(&key, nonce, aad, sizeof aad, sealed, sizeof sealed, out),
                              KITH_ERR_CRYPTO);
                sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
            }
            KITH_CHECK_EQ(kith__aead_open(&key, nonce, aad, 4, sealed, sizeof sealed, out), KITH_ERR_CRYPTO);
            nonce[11] ^= 1;
            KITH_CHECK_EQ(kith__aead_open(&key, nonce, aad, sizeof aad, sealed, sizeof sealed, out), KITH_ERR_CRYPTO);
            nonce[11] ^= 1;
            for (size_t size = 0; size < sizeof sealed; size++)
                KITH_CHECK_EQ(kith__aead_open(&key, nonce, aad, sizeof aad, sealed, size, out), KITH_ERR_CRYPTO);
            KITH_CHECK_EQ(kith__aead_open(&key, nonce, aad, sizeof aad, sealed, sizeof sealed, out), 0);
            kith__aead_dispose(&key);
        }
    }
}

KITH_TEST(aead_survives_failing_memory)
{
    uint8_t secret[32] = { 0 };

    for (size_t c = 0; c < KITH_COUNT(all_ciphers); c++) {
        const struct kith_aead_ops *ops[OPS_MAX];
        size_t count = ops_of(all_ciphers[c], ops);

        for (size_t j = 0; j < count; j++) {
            struct kith_aead_key key = { 0 };
            struct kith_test_mem mem;

            kith__test_mem_init(&mem, 1);
            if (ops[j] != kith__aead_ops_gnutls()) { /* which does not use the hook */
                KITH_CHECK_EQ(kith__aead_init_with(&key, &mem.mem, ops[j], all_ciphers[c], secret), KITH_ERR_NOMEM);
                KITH_CHECK(!kith__aead_is_set(&key));
            }
            kith__test_mem_init(&mem, 0);
            KITH_CHECK_EQ(kith__aead_init_with(&key, &mem.mem, ops[j], all_ciphers[c], secret), 0);
            KITH_CHECK(kith__aead_is_set(&key));
            kith__aead_dispose(&key);
            kith__aead_dispose(&key);
            KITH_CHECK(!kith__aead_is_set(&key));
            KITH_CHECK_EQ(mem.live, 0);
        }
    }
}

KITH_TEST(aead_keys_work_at_any_address_of_the_allocator)
{
    /* The hook promises 16-byte alignment only; ipsec-mb needs 64. Many small blocks move the heap about. */
    uint8_t secret[32] = { 9 }, nonce[12] = { 0 }, out[80];
    struct kith_aead_key keys[16];
    void *gaps[16];

    for (size_t i = 0; i < 16; i++) {
        gaps[i] = malloc(16 * (i + 1));
        KITH_CHECK_EQ(kith__aead_init(&keys[i], kith_mem_default(), KITH_CIPHER_AES_256_GCM, secret), 0);
    }
    for (size_t i = 0; i < 16; i++) {
        KITH_CHECK_EQ(kith__aead_seal(&keys[i], nonce, NULL, 0, secret, sizeof secret, out), 0);
        KITH_CHECK_EQ(kith__aead_open(&keys[15 - i], nonce, NULL, 0, out, 48, out), 0);
        KITH_CHECK_BYTES(out, secret, sizeof secret);
    }
    for (size_t i = 0; i < 16; i++) {
        kith__aead_dispose(&keys[i]);
        free(gaps[i]);
    }
}

enum { THREADS = 4, THREAD_PACKETS = 3000, THREAD_SIZE = 1400 };

/** Seals and opens with an own key of each cipher; what went wrong is counted in *arg. */
static void *seal_and_open_much(void *arg)
{
    uint8_t secret[32] = { 5 }, nonce[12] = { 0 }, text[THREAD_SIZE] = { 6 }, work[THREAD_SIZE + KITH_AEAD_TAG_SIZE];
    size_t *bad_count = arg;

    for (size_t c = 0; c < KITH_COUNT(all_ciphers); c++) {
        struct kith_aead_key key;

        if (kith__aead_init(&key, kith_mem_default(), all_ciphers[c], secret) != 0) {
            ++*bad_count;
            continue;
        }
        for (size_t i = 0; i < THREAD_PACKETS; i++) {
            nonce[i % 12]++;
            *bad_count += kith__aead_seal(&key, nonce, secret, 20, text, sizeof text, work) != 0;
            *bad_count += kith__aead_open(&key, nonce, secret, 20, work, sizeof work, work) != 0;
            *bad_count += memcmp(work, text, sizeof text) != 0;
        }
        kith__aead_dispose(&key);
    }
    return NULL;
}

KITH_TEST(aead_keys_of_several_threads_do_not_meet)
{
    pthread_t threads[THREADS];
    size_t bad_counts[THREADS] = { 0 };

    for (size_t i = 0; i < THREADS; i++)
        KITH_CHECK_EQ(pthread_create(&threads[i], NULL, seal_and_open_much, &bad_counts[i]), 0);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < THREADS; i++)
        KITH_CHECK_EQ(bad_counts[i], 0);
}

KITH_TEST(aead_knows_its_ciphers_only)
{
    struct kith_aead_key key = { 0 };
    uint8_t secret[32] = { 0 };
    const enum kith_cipher unknown = (enum kith_cipher)0x1304;

    KITH_CHECK_EQ(kith__aead_init(&key, kith_mem_default(), unknown, secret), KITH_ERR_UNSUPPORTED);
    KITH_CHECK_EQ(
        kith__aead_init_with(&key, kith_mem_default(), kith__aead_ops_sodium(), KITH_CIPHER_AES_128_GCM, secret),
        KITH_ERR_UNSUPPORTED);
    KITH_CHECK(!kith__aead_is_set(&key));
    KITH_CHECK_EQ(kith__cipher_key_size(unknown), 0);
    KITH_CHECK_EQ(kith__cipher_key_size(KITH_CIPHER_AES_128_GCM), 16);
    KITH_CHECK_EQ(kith__cipher_key_size(KITH_CIPHER_AES_256_GCM), 32);
    KITH_CHECK_EQ(kith__cipher_key_size(KITH_CIPHER_CHACHA20_POLY1305), 32);
    KITH_CHECK_STR(kith__cipher_name(KITH_CIPHER_CHACHA20_POLY1305), "CHACHA20-POLY1305");
    KITH_CHECK_STR(kith__cipher_name(unknown), "unknown");
    KITH_CHECK_STR(kith__aead_name(unknown), "none");
}

KITH_TEST(aead_choice_follows_the_machine_and_the_environment)
{
    const struct kith_cpu *cpu = kith__cpu();
    bool can = KITH_HAVE_IPSEC_MB && cpu->has_aes && cpu->level >= KITH_CPU_SSE41;
    bool use = can && cpu->aead != KITH_AEAD_GNUTLS;

    KITH_CHECK_EQ(kith__aead_ops_ipsec_mb() != NULL, can);
    KITH_CHECK_STR(kith__aead_name(KITH_CIPHER_AES_128_GCM), use ? "ipsec-mb" : "gnutls");
    KITH_CHECK_STR(kith__aead_name(KITH_CIPHER_AES_256_GCM), use ? "ipsec-mb" : "gnutls");
    KITH_CHECK_STR(kith__aead_name(KITH_CIPHER_CHACHA20_POLY1305),
                   use && cpu->level == KITH_CPU_AVX512 ? "ipsec-mb" : "libsodium");
}
