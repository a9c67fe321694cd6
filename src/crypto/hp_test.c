/*
 * Header protection, and whole packets of RFC 9001 Appendix A and of a real peer by the functions of this directory:
 * derive, mask, open, seal.
 */
#include "base/test.h"
#include "crypto/hkdf.h"
#include "crypto/hp.h"
#include <sodium/utils.h>
#include <stdio.h>
#include <string.h>

enum { PACKET_SIZE_MAX = 1200 };

/** The keys of one direction. */
struct keys {
    struct kith_aead_key aead;
    struct kith_hp_key hp;
    uint8_t iv[KITH_AEAD_NONCE_SIZE];
};

static size_t from_hex(const char *hex, uint8_t *bytes, size_t cap)
{
    size_t size;

    KITH_CHECK_EQ(sodium_hex2bin(bytes, cap, hex, strlen(hex), " \n", &size, NULL), 0);
    return size;
}

static void check_hex(const uint8_t *bytes, size_t size, const char *hex)
{
    uint8_t expected[PACKET_SIZE_MAX];

    KITH_CHECK_EQ(from_hex(hex, expected, sizeof expected), size);
    KITH_CHECK_BYTES(bytes, expected, size);
}

static void keys_init(struct keys *keys, enum kith_cipher cipher, const uint8_t *secret)
{
    struct kith_slice none = { NULL, 0 };
    uint8_t bytes[32];
    size_t size = kith__cipher_key_size(cipher);

    kith__hkdf_expand_label(KITH_DIGEST_SHA256, secret, "quic key", none, bytes, size);
    KITH_CHECK_EQ(kith__aead_init(&keys->aead, kith_mem_default(), cipher, bytes), 0);
    kith__hkdf_expand_label(KITH_DIGEST_SHA256, secret, "quic hp", none, bytes, size);
    KITH_CHECK_EQ(kith__hp_init(&keys->hp, cipher, bytes), 0);
    kith__hkdf_expand_label(KITH_DIGEST_SHA256, secret, "quic iv", none, keys->iv, sizeof keys->iv);
}

static void keys_dispose(struct keys *keys)
{
    kith__aead_dispose(&keys->aead);
    kith__hp_dispose(&keys->hp);
    KITH_CHECK_EQ(keys->hp.cipher, 0);
}

/** Initial keys of version 1. label: "client in" or "server in". */
static void keys_init_initial(struct keys *keys, const char *dcid_hex, const char *label)
{
    uint8_t salt[20], dcid[20], initial[32], secret[32];
    size_t dcid_size = from_hex(dcid_hex, dcid, sizeof dcid);

    from_hex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a", salt, sizeof salt);
    kith__hkdf_extract(KITH_DIGEST_SHA256, (struct kith_slice) { salt, sizeof salt },
                       (struct kith_slice) { dcid, dcid_size }, initial);
    kith__hkdf_expand_label(KITH_DIGEST_SHA256, initial, label, (struct kith_slice) { NULL, 0 }, secret, sizeof secret);
    keys_init(keys, KITH_CIPHER_AES_128_GCM, secret);
}

static void nonce_make(const struct keys *keys, uint64_t number, uint8_t *nonce)
{
    memcpy(nonce, keys->iv, KITH_AEAD_NONCE_SIZE);
    for (int i = 0; i < 8; i++)
        nonce[11 - i] ^= (uint8_t)(number >> 8 * i);
}

/** Turns header protection on or off; number_at: where the packet number of number_size bytes stands. */
static void mask_apply(const struct keys *keys, uint8_t *packet, size_t number_at, size_t number_size)
{
    uint8_t mask[KITH_HP_MASK_SIZE];

    kith__hp_mask(&keys->hp, packet + number_at + 4, mask);
    packet[0] ^= mask[0] & (packet[0] & 0x80 ? 0x0f : 0x1f);
    for (size_t i = 0; i < number_size; i++)
        packet[number_at + i] ^= mask[1 + i];
}

/** Seals header and payload (size includes no tag) in place and protects the header. Returns the packet's size. */
static size_t protect(const struct keys *keys, uint64_t number, size_t number_size, uint8_t *packet, size_t header_size,
                      size_t size)
{
    uint8_t nonce[KITH_AEAD_NONCE_SIZE];

    nonce_make(keys, number, nonce);
    KITH_CHECK_EQ(kith__aead_seal(&keys->aead, nonce, packet, header_size, packet + header_size, size - header_size,
                                  packet + header_size),
                  0);
    mask_apply(keys, packet, header_size - number_size, number_size);
    return size + KITH_AEAD_TAG_SIZE;
}

/** The reverse, in place. */
static void unprotect(const struct keys *keys, uint64_t number, size_t number_size, uint8_t *packet, size_t header_size,
                      size_t size)
{
    uint8_t nonce[KITH_AEAD_NONCE_SIZE];

    nonce_make(keys, number, nonce);
    mask_apply(keys, packet, header_size - number_size, number_size);
    KITH_CHECK_EQ(kith__aead_open(&keys->aead, nonce, packet, header_size, packet + header_size, size - header_size,
                                  packet + header_size),
                  0);
}

KITH_TEST(hp_masks_match_rfc_9001)
{
    static const struct {
        enum kith_cipher cipher;
        const char *key, *sample, *mask;
    } cases[] = {
        { KITH_CIPHER_AES_128_GCM, "9f50449e04a0e810283a1e9933adedd2", "d1b1c98dd7689fb8ec11d242b123dc9b",
          "437b9aec36" },
        { KITH_CIPHER_AES_128_GCM, "c206b8d9b9f0f37644430b490eeaa314", "2cd0991cd25b0aac406a5816b6394100",
          "2ec0d8356a" },
        { KITH_CIPHER_CHACHA20_POLY1305, "25a282b9e82f06f21f488917a4fc8f1b73573685608597d0efcb076b0ab7a7a4",
          "5e5cd55c41f69080575d7999c25a5bfb", "aefefe7d03" },
        /* FIPS 197, C.3: the first bytes of the AES-256 example */
        { KITH_CIPHER_AES_256_GCM, "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
          "00112233445566778899aabbccddeeff", "8ea2b7ca51" },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        uint8_t secret[32], sample[KITH_HP_SAMPLE_SIZE], mask[KITH_HP_MASK_SIZE];
        struct kith_hp_key key;

        KITH_CHECK_EQ(from_hex(cases[i].key, secret, sizeof secret), kith__cipher_key_size(cases[i].cipher));
        from_hex(cases[i].sample, sample, sizeof sample);
        KITH_CHECK_EQ(kith__hp_init(&key, cases[i].cipher, secret), 0);
        kith__hp_mask(&key, sample, mask);
        check_hex(mask, sizeof mask, cases[i].mask);
        kith__hp_dispose(&key);
    }
}

KITH_TEST(hp_refuses_unknown_ciphers)
{
    struct kith_hp_key key = { .cipher = 0 };
    uint8_t secret[32] = { 0 };

    KITH_CHECK_EQ(kith__hp_init(&key, (enum kith_cipher)0x1304, secret), KITH_ERR_UNSUPPORTED);
    KITH_CHECK_EQ(key.cipher, 0);
}

KITH_TEST(rfc_9001_a2_client_initial_is_protected)
{
    static const char header[] = "c300000001088394c8f03e5157080000449e00000002";
    static const char frame[] = "060040f1010000ed0303ebf8fa56f12939b9584a3896472ec40bb863cfd3e868"
                                "04fe3a47f06a2b69484c00000413011302010000c000000010000e00000b6578"
                                "616d706c652e636f6dff01000100000a00080006001d00170018001000070005"
                                "04616c706e000500050100000000003300260024001d00209370b2c9caa47fba"
                                "baf4559fedba753de171fa71f50f1ce15d43e994ec74d748002b000302030400"
                                "0d0010000e0403050306030203080408050806002d00020101001c0002400100"
                                "3900320408ffffffffffffffff05048000ffff07048000ffff08011001048000"
                                "75300901100f088394c8f03e51570806048000ffff";
    uint8_t packet[PACKET_SIZE_MAX] = { 0 }, plain[PACKET_SIZE_MAX];
    struct keys keys;

    KITH_CHECK_EQ(from_hex(header, packet, sizeof packet), 22);
    KITH_CHECK_EQ(from_hex(frame, packet + 22, sizeof packet - 22), 245);
    memcpy(plain, packet, sizeof packet);
    keys_init_initial(&keys, "8394c8f03e515708", "client in");
    KITH_CHECK_EQ(protect(&keys, 2, 4, packet, 22, PACKET_SIZE_MAX - KITH_AEAD_TAG_SIZE), PACKET_SIZE_MAX);
    check_hex(packet, 56,
              "c000000001088394c8f03e5157080000449e7b9aec34d1b1c98dd7689fb8ec11d242b123dc9bd8bab936b47d92ec356c0bab7df5"
              "976d27cd");
    check_hex(packet + PACKET_SIZE_MAX - KITH_AEAD_TAG_SIZE, KITH_AEAD_TAG_SIZE, "e221af44860018ab0856972e194cd934");
    unprotect(&keys, 2, 4, packet, 22, PACKET_SIZE_MAX);
    KITH_CHECK_BYTES(packet, plain, PACKET_SIZE_MAX - KITH_AEAD_TAG_SIZE);
    keys_dispose(&keys);
}

KITH_TEST(rfc_9001_a3_server_initial_is_protected)
{
    static const char plain[] = "c1000000010008f067a5502a4262b50040750001 "
                                "02000000000600405a020000560303eefce7f7b37ba1d1632e96677825ddf73988cfc7"
                                "9825df566dc5430b9a045a1200130100002e00330024001d00209d3c940d89690b84d08a60993c144eca68"
                                "4d1081287c834d5311bcf32bb9"
                                "da1a002b00020304";
    static const char protected[] = "cf000000010008f067a5502a4262b5004075c0d95a482cd0991cd25b0aac406a5816b6394100f37a1c"
                                    "69797554780bb38cc5a99f5ede4cf7"
                                    "3c3ec2493a1839b3dbcba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb8402"
                                    "2f8ef4cdd93795d77d06edbb7aaf2f"
                                    "58891850abbdca3d20398c276456cbc42158407dd074ee";
    uint8_t packet[PACKET_SIZE_MAX];
    struct keys keys;
    size_t size = from_hex(plain, packet, sizeof packet);

    keys_init_initial(&keys, "8394c8f03e515708", "server in");
    size = protect(&keys, 1, 2, packet, 20, size);
    check_hex(packet, size, protected);
    unprotect(&keys, 1, 2, packet, 20, size);
    check_hex(packet, size - KITH_AEAD_TAG_SIZE, plain);
    keys_dispose(&keys);
}

KITH_TEST(rfc_9001_a4_retry_tag_is_right)
{
    uint8_t secret[16], nonce[KITH_AEAD_NONCE_SIZE], pseudo[64], tag[KITH_AEAD_TAG_SIZE];
    struct kith_aead_key key;
    size_t size = from_hex("08 8394c8f03e515708 ff000000010008f067a5502a4262b5746f6b656e", pseudo, sizeof pseudo);

    from_hex("be0c690b9f66575a1d766b54e368c84e", secret, sizeof secret);
    from_hex("461599d35d632bf2239825bb", nonce, sizeof nonce);
    KITH_CHECK_EQ(kith__aead_init(&key, kith_mem_default(), KITH_CIPHER_AES_128_GCM, secret), 0);
    KITH_CHECK_EQ(kith__aead_seal(&key, nonce, pseudo, size, NULL, 0, tag), 0);
    check_hex(tag, sizeof tag, "04a265ba2eff4d829058fb3f0f2496ba");
    kith__aead_dispose(&key);
}

KITH_TEST(rfc_9001_a5_chacha20_short_header_is_protected)
{
    uint8_t secret[32], packet[64];
    struct keys keys;
    size_t size;

    from_hex("9ac312a7f877468ebe69422748ad00a15443f18203a07d6060f688f30f21632b", secret, sizeof secret);
    keys_init(&keys, KITH_CIPHER_CHACHA20_POLY1305, secret);
    size = from_hex("4200bff4 01", packet, sizeof packet);
    size = protect(&keys, 654360564, 3, packet, 4, size);
    check_hex(packet, size, "4cfe4189655e5cd55c41f69080575d7999c25a5bfb");
    unprotect(&keys, 654360564, 3, packet, 4, size);
    check_hex(packet, 5, "4200bff401");
    keys_dispose(&keys);
}

KITH_TEST(first_datagram_of_a_real_peer_opens)
{
    FILE *file = fopen(KITH_SOURCE_DIR "/tests/vectors/quic_client_initial.txt", "r");
    uint8_t packet[PACKET_SIZE_MAX], padding[790] = { 0 };
    struct keys keys;
    char line[256];
    size_t size = 0;

    KITH_CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL)
        if (line[0] != '#')
            size += from_hex(line, packet + size, sizeof packet - size);
    fclose(file);
    KITH_CHECK_EQ(size, PACKET_SIZE_MAX);
    keys_init_initial(&keys, "6cf1429ea9ef9051afdeabc05616946c03859d48", "client in");
    unprotect(&keys, 0, 1, packet, 39, size);
    check_hex(packet, 39 + 4 + 4 + 2,
              "c0 00000001 14 6cf1429ea9ef9051afdeabc05616946c03859d48 08 5219ff48e92bbae0 00 448a 00"
              "0600415f 0100015b 0303");
    KITH_CHECK_BYTES(packet + 39 + 355, padding, sizeof padding);
    keys_dispose(&keys);
}
