#include "quic/guard/seal.h"

#include "base/test.h"
#include "quic/guard/vectors.h"
#include "quic/wire/frame.h"
#include "quic/wire/hex.h"
#include "quic/wire/retry.h"
#include "quic/wire/tparams.h"

static const uint8_t rfc_dcid[8] = { 0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08 };
static const struct kith_slice rfc_dcid_slice = { rfc_dcid, sizeof rfc_dcid };

static void initial_keys(struct kith_keys *keys, struct kith_slice dcid, bool is_client)
{
    memset(keys, 0, sizeof *keys);
    KITH_CHECK_EQ(kith__keys_install_initial(keys, kith_mem_default(), dcid, is_client), 0);
}

/* Seals and opens an Initial packet of the RFC: header, payload padded to `payload_size`, what must come out. */
static void check_initial(bool from_client, const char *header, const char *payload, size_t payload_size,
                          const char *packet, uint64_t pn)
{
    uint8_t bytes[1300] = { 0 }, want[1300], plain[1300] = { 0 };
    size_t want_size = kith__test_hex(packet, want, sizeof want), header_size;
    struct kith_keys writer, reader;
    struct kith_open_space space;
    struct kith_packet parsed;
    struct kith_opened opened;

    initial_keys(&writer, rfc_dcid_slice, from_client);
    initial_keys(&reader, rfc_dcid_slice, !from_client);
    header_size = kith__test_hex(header, bytes, sizeof bytes);
    kith__test_hex(payload, bytes + header_size, sizeof bytes - header_size);
    memcpy(plain, bytes + header_size, payload_size);
    KITH_CHECK_EQ(header_size + payload_size + 16, want_size);
    KITH_CHECK_EQ(kith__packet_parse(want, want_size, 0, &parsed), 0);
    KITH_CHECK_EQ(parsed.size, want_size);
    KITH_CHECK_EQ(
        kith__packet_seal(&writer, bytes, parsed.pn_offset, header_size - parsed.pn_offset, payload_size, pn, 0), 0);
    KITH_CHECK_BYTES(bytes, want, want_size);
    KITH_CHECK_EQ(writer.write.packets, 1);

    kith__open_space_init(&space, 0);
    KITH_CHECK_EQ(kith__packet_open(&reader, &space, want, parsed.pn_offset, want_size, &opened), 0);
    KITH_CHECK_EQ(opened.pn, pn);
    KITH_CHECK_EQ(opened.size, payload_size);
    KITH_CHECK_BYTES(opened.payload, plain, payload_size);
    KITH_CHECK_EQ(space.expected_pn, pn + 1);
    kith__keys_dispose(&writer);
    kith__keys_dispose(&reader);
}

KITH_TEST(rfc_9001_a1_initial_keys)
{
    uint8_t client_iv[12], server_iv[12];
    struct kith_keys keys;

    kith__test_hex("fa044b2f42a3fd3b46fb255c", client_iv, 12);
    kith__test_hex("0ac1493ca1905853b0bba03e", server_iv, 12);
    initial_keys(&keys, rfc_dcid_slice, true);
    KITH_CHECK_BYTES(keys.write.iv, client_iv, 12);
    KITH_CHECK_BYTES(keys.read.iv, server_iv, 12);
    kith__keys_dispose(&keys);
}

KITH_TEST(rfc_9001_a2_client_initial)
{
    check_initial(true, vector_client_header, vector_client_payload, 1162, vector_client_packet, 2);
}

KITH_TEST(rfc_9001_a3_server_initial)
{
    check_initial(false, vector_server_header, vector_server_payload, 99, vector_server_packet, 1);
}

KITH_TEST(rfc_9001_a4_retry)
{
    struct kith_cid odcid = kith__cid(rfc_dcid, 8), none = kith__cid(NULL, 0), other = kith__cid(rfc_dcid, 7), scid;
    uint8_t want[64], out[64], cid[8];
    size_t want_size = kith__test_hex(vector_retry_packet, want, sizeof want), size = 0;
    struct kith_slice token = { (const uint8_t *)"token", 5 };

    kith__test_hex("f067a5502a4262b5", cid, sizeof cid);
    scid = kith__cid(cid, 8);
    KITH_CHECK_EQ(kith__retry_check(kith_mem_default(), &odcid, want, want_size), 0);
    KITH_CHECK_EQ(kith__retry_check(kith_mem_default(), &other, want, want_size), KITH_ERR_CRYPTO);
    KITH_CHECK_EQ(kith__retry_check(kith_mem_default(), &odcid, want, 15), KITH_ERR_TRUNCATED);
    KITH_CHECK_EQ(kith__retry_check(kith_mem_default(), &odcid, want, want_size - 1), KITH_ERR_CRYPTO);
    KITH_CHECK_EQ(kith__retry_write(kith_mem_default(), &none, &scid, &odcid, token, 0x0f, out, sizeof out, &size), 0);
    KITH_CHECK_EQ(size, want_size);
    KITH_CHECK_BYTES(out, want, size);
    for (size_t room = 0; room < want_size; room++)
        KITH_CHECK_EQ(kith__retry_write(kith_mem_default(), &none, &scid, &odcid, token, 0x0f, out, room, &size),
                      KITH_ERR_TOO_LARGE);
    token.size = 0;
    KITH_CHECK_EQ(kith__retry_write(kith_mem_default(), &none, &scid, &odcid, token, 0, out, sizeof out, &size),
                  KITH_ERR_INVALID);
}

static void rfc_chacha_secret(uint8_t secret[32])
{
    kith__test_hex("9ac312a7f877468ebe69422748ad00a1 5443f18203a07d6060f688f30f21632b", secret, 32);
}

KITH_TEST(rfc_9001_a5_chacha_short_header_and_next_secret)
{
    uint8_t secret[32], packet[21] = { 0x42, 0x00, 0xbf, 0xf4, 0x01 }, want[21], next[32];
    struct kith_keys writer = { 0 }, reader = { 0 };
    struct kith_open_space space;
    struct kith_opened opened;

    rfc_chacha_secret(secret);
    kith__test_hex("4cfe4189655e5cd55c41f69080575d7999c25a5bfb", want, sizeof want);
    kith__test_hex("1223504755036d556342ee9361d25342 1a826c9ecdf3c7148684b36b714881f9", next, sizeof next);
    KITH_CHECK_EQ(kith__keys_install(&writer, kith_mem_default(), KITH_CIPHER_CHACHA20_POLY1305, true, true, secret),
                  0);
    KITH_CHECK_EQ(kith__keys_install(&reader, kith_mem_default(), KITH_CIPHER_CHACHA20_POLY1305, false, true, secret),
                  0);
    KITH_CHECK_BYTES(reader.read_next_secret, next, 32);
    KITH_CHECK_EQ(kith__packet_seal(&writer, packet, 1, 3, 1, 654360564, 0), 0);
    KITH_CHECK_BYTES(packet, want, sizeof want);
    kith__open_space_init(&space, 0);
    space.expected_pn = 654360564;
    KITH_CHECK_EQ(kith__packet_open(&reader, &space, packet, 1, sizeof packet, &opened), 0);
    KITH_CHECK_EQ(opened.pn, 654360564);
    KITH_CHECK_EQ(opened.size, 1);
    KITH_CHECK_EQ(opened.payload[0], 1);
    kith__keys_dispose(&writer);
    kith__keys_dispose(&reader);
}

KITH_TEST(nonce_carries_the_path_id)
{
    uint8_t iv[12], want[12], nonce[12];

    kith__test_hex("6b26114b9cba2b63a9e8dd4f", iv, 12);
    kith__test_hex("6b2611489cba2b63a9e8097e", want, 12);
    kith__packet_nonce(iv, 3, 54321, nonce);
    KITH_CHECK_BYTES(nonce, want, 12);
}

KITH_TEST(first_datagram_of_a_real_client_is_opened)
{
    static const uint8_t marker[] = { 0x00, 0x39, 0x00, 0x63 }; /* quic_transport_parameters, 99 bytes */
    uint8_t bytes[1200];
    size_t size = kith__test_hex(vector_real_datagram, bytes, sizeof bytes), at = 0;
    struct kith_frame_error error;
    struct kith_open_space space;
    struct kith_tparams params;
    struct kith_packet packet;
    struct kith_opened opened;
    struct kith_frame frame;
    struct kith_reader r;
    struct kith_keys keys;
    const char *reason;

    KITH_CHECK_EQ(size, 1200);
    KITH_CHECK_EQ(kith__packet_parse(bytes, size, 8, &packet), 0);
    initial_keys(&keys, packet.dcid, false);
    kith__open_space_init(&space, 0);
    KITH_CHECK_EQ(kith__packet_open(&keys, &space, bytes, packet.pn_offset, packet.size, &opened), 0);
    KITH_CHECK_EQ(opened.pn, 0);
    KITH_CHECK_EQ(opened.size, 1145);
    r = kith__reader(opened.payload, opened.size);
    KITH_CHECK_EQ(kith__frame_decode(&r, KITH_PACKET_INITIAL, &frame, &error), 0);
    KITH_CHECK_EQ(frame.type, KITH_FRAME_CRYPTO);
    KITH_CHECK_EQ(frame.crypto.offset, 0);
    KITH_CHECK_EQ(frame.crypto.data.size, 351);
    while (memcmp(frame.crypto.data.ptr + at, marker, sizeof marker) != 0)
        KITH_CHECK(++at < 300);
    KITH_CHECK_EQ(
        kith__tparams_parse((struct kith_slice) { frame.crypto.data.ptr + at + 4, 99 }, true, &params, &reason), 0);
    KITH_CHECK_EQ(params.initial_max_path_id, 7);
    KITH_CHECK(kith__cid_is(&params.initial_source_cid, packet.scid));
    KITH_CHECK_EQ(kith__frame_decode(&r, KITH_PACKET_INITIAL, &frame, &error), 0);
    KITH_CHECK_EQ(frame.padding.size, 790);
    KITH_CHECK_EQ(kith__reader_left(&r), 0);
    kith__keys_dispose(&keys);
}

/* ---- 1-RTT: two sides in memory ---- */

struct side {
    struct kith_keys keys;
    struct kith_open_space spaces[2];
    uint64_t next_pn[2];
};

static void sides_init(struct side *a, struct side *b, enum kith_cipher cipher)
{
    uint8_t secrets[2][KITH_DIGEST_SIZE_MAX];

    memset(secrets[0], 1, sizeof secrets[0]);
    memset(secrets[1], 2, sizeof secrets[1]);
    memset(a, 0, sizeof *a);
    memset(b, 0, sizeof *b);
    KITH_CHECK_EQ(kith__keys_install(&a->keys, kith_mem_default(), cipher, true, true, secrets[0]), 0);
    KITH_CHECK_EQ(kith__keys_install(&a->keys, kith_mem_default(), cipher, false, true, secrets[1]), 0);
    KITH_CHECK_EQ(kith__keys_install(&b->keys, kith_mem_default(), cipher, false, true, secrets[0]), 0);
    KITH_CHECK_EQ(kith__keys_install(&b->keys, kith_mem_default(), cipher, true, true, secrets[1]), 0);
    for (uint32_t i = 0; i < 2; i++) {
        kith__open_space_init(&a->spaces[i], i);
        kith__open_space_init(&b->spaces[i], i);
    }
}

static void sides_dispose(struct side *a, struct side *b)
{
    kith__keys_dispose(&a->keys);
    kith__keys_dispose(&b->keys);
}

struct sealed {
    uint8_t bytes[64];
    size_t size, path;
};

enum { HEADER = 1 + 8, PN = 2 };

static struct sealed seal(struct side *from, size_t path)
{
    struct sealed sealed = { .size = HEADER + PN + 5 + 16, .path = path };
    uint64_t pn = from->next_pn[path]++;

    sealed.bytes[0] = KITH_PACKET_FIXED | (PN - 1);
    kith__pn_write(sealed.bytes + HEADER, pn, PN);
    memcpy(sealed.bytes + HEADER + PN, "\1\1\1\1\1", 5);
    KITH_CHECK_EQ(kith__packet_seal(&from->keys, sealed.bytes, HEADER, PN, 5, pn, (uint32_t)path), 0);
    return sealed;
}

static int open_at(struct side *to, struct sealed sealed, struct kith_opened *opened)
{
    return kith__packet_open(&to->keys, &to->spaces[sealed.path], sealed.bytes, HEADER, sealed.size, opened);
}

static void check_pass(struct side *from, struct side *to, size_t path)
{
    struct kith_opened opened;

    KITH_CHECK_EQ(open_at(to, seal(from, path), &opened), 0);
    KITH_CHECK_EQ(opened.size, 5);
}

KITH_TEST(packets_pass_on_several_paths_with_every_cipher)
{
    static const enum kith_cipher ciphers[] = { KITH_CIPHER_AES_128_GCM, KITH_CIPHER_AES_256_GCM,
                                                KITH_CIPHER_CHACHA20_POLY1305 };

    for (size_t i = 0; i < KITH_COUNT(ciphers); i++) {
        struct kith_opened opened;
        struct sealed sealed;
        struct side a, b;

        sides_init(&a, &b, ciphers[i]);
        for (int n = 0; n < 300; n++)
            check_pass(&a, &b, (size_t)n % 2);
        check_pass(&b, &a, 0);
        sealed = seal(&a, 1);
        sealed.path = 0; /* the wrong path: another nonce */
        KITH_CHECK_EQ(open_at(&b, sealed, &opened), KITH_ERR_CRYPTO);
        KITH_CHECK_EQ(b.keys.failed, 1);
        sides_dispose(&a, &b);
    }
}

KITH_TEST(any_flipped_bit_is_noticed)
{
    struct kith_opened opened;
    struct sealed sealed;
    struct side a, b;

    sides_init(&a, &b, KITH_CIPHER_AES_128_GCM);
    sealed = seal(&a, 0);
    for (size_t bit = 0; bit < 8 * sealed.size; bit++) {
        struct sealed bad = sealed;

        if (bit == 7)
            continue; /* long header form: the caller would not come here */
        bad.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        KITH_CHECK_EQ(open_at(&b, bad, &opened), KITH_ERR_CRYPTO);
    }
    KITH_CHECK_EQ(open_at(&b, sealed, &opened), 0);
    sides_dispose(&a, &b);
}

KITH_TEST(packets_too_short_to_sample_are_told_apart)
{
    struct kith_opened opened;
    struct sealed sealed;
    struct side a, b;

    sides_init(&a, &b, KITH_CIPHER_AES_128_GCM);
    sealed = seal(&a, 0);
    for (size_t size = 0; size < sealed.size; size++) {
        uint8_t *exact = kith__test_exact(sealed.bytes, size);
        int err = kith__packet_open(&b.keys, &b.spaces[0], exact, HEADER, size, &opened);

        KITH_CHECK_EQ(err, size < HEADER + 20 ? KITH_ERR_TRUNCATED : KITH_ERR_CRYPTO);
        free(exact);
    }
    sides_dispose(&a, &b);
}

KITH_TEST(reserved_bits_and_empty_packets_are_violations)
{
    struct sealed sealed = { .size = HEADER + 4 + 16 };
    struct kith_opened opened;
    struct side a, b;

    sides_init(&a, &b, KITH_CIPHER_AES_128_GCM);
    sealed.bytes[0] = KITH_PACKET_FIXED | 3;
    KITH_CHECK_EQ(kith__packet_seal(&a.keys, sealed.bytes, HEADER, 4, 0, 0, 0), 0);
    KITH_CHECK_EQ(open_at(&b, sealed, &opened), KITH_WIRE_PROTOCOL_VIOLATION);
    memset(sealed.bytes, 0, sizeof sealed.bytes);
    sealed.bytes[0] = KITH_PACKET_FIXED | 0x08 | 1;
    sealed.bytes[HEADER + 1] = 1;
    KITH_CHECK_EQ(kith__packet_seal(&a.keys, sealed.bytes, HEADER, 2, 2, 1, 0), 0);
    KITH_CHECK_EQ(open_at(&b, sealed, &opened), KITH_WIRE_PROTOCOL_VIOLATION);
    KITH_CHECK_STR(opened.reason, "reserved bits set");
    sides_dispose(&a, &b);
}

KITH_TEST(key_update_is_followed_and_late_packets_still_open)
{
    struct kith_opened opened;
    struct sealed late, later;
    struct side a, b;

    sides_init(&a, &b, KITH_CIPHER_AES_128_GCM);
    check_pass(&a, &b, 0);
    check_pass(&b, &a, 0);
    late = seal(&a, 0);
    later = seal(&a, 1);
    KITH_CHECK_EQ(kith__keys_update(&a.keys), 0);
    KITH_CHECK(kith__keys_is_updating(&a.keys));
    KITH_CHECK_EQ(kith__keys_update(&a.keys), KITH_ERR_STATE);
    KITH_CHECK_EQ(open_at(&b, seal(&a, 0), &opened), 0);
    KITH_CHECK(opened.followed);
    KITH_CHECK_EQ(opened.generation, 1);
    KITH_CHECK_EQ(b.keys.write_generation, 1);
    KITH_CHECK_EQ(open_at(&b, late, &opened), 0); /* the keys of before are kept */
    KITH_CHECK_EQ(opened.generation, 0);
    KITH_CHECK_EQ(open_at(&b, later, &opened), 0); /* on a path that has not seen the new keys yet */
    check_pass(&a, &b, 1);
    KITH_CHECK_EQ(open_at(&a, seal(&b, 0), &opened), 0);
    KITH_CHECK(opened.followed);
    KITH_CHECK(!kith__keys_is_updating(&a.keys));
    KITH_CHECK_EQ(a.keys.write_generation, 1); /* did not move a second time */
    kith__keys_drop_previous(&a.keys);
    kith__keys_drop_previous(&b.keys);
    for (int i = 0; i < 5; i++) { /* and so on, now begun by the other side */
        KITH_CHECK_EQ(kith__keys_update(i % 2 ? &a.keys : &b.keys), 0);
        check_pass(i % 2 ? &a : &b, i % 2 ? &b : &a, 0);
        check_pass(i % 2 ? &b : &a, i % 2 ? &a : &b, 1);
        check_pass(&a, &b, 0);
        check_pass(&b, &a, 0);
        kith__keys_drop_previous(&a.keys);
        kith__keys_drop_previous(&b.keys);
    }
    sides_dispose(&a, &b);
}

KITH_TEST(second_update_without_an_answer_is_an_error)
{
    struct kith_opened opened;
    struct side a, b;

    sides_init(&a, &b, KITH_CIPHER_AES_128_GCM);
    check_pass(&a, &b, 0);
    KITH_CHECK_EQ(kith__keys_update(&a.keys), 0);
    check_pass(&a, &b, 0);
    a.keys.read_generation = 1; /* a liar: does not wait for b's answer */
    KITH_CHECK_EQ(kith__keys_update(&a.keys), 0);
    kith__keys_drop_previous(&b.keys);
    KITH_CHECK_EQ(open_at(&b, seal(&a, 0), &opened), KITH_WIRE_KEY_UPDATE_ERROR);
    sides_dispose(&a, &b);
}

KITH_TEST(key_that_sealed_enough_refuses_more)
{
    uint8_t packet[64] = { KITH_PACKET_FIXED | 3 };
    struct side a, b;

    sides_init(&a, &b, KITH_CIPHER_AES_128_GCM);
    a.keys.write.packets = kith__keys_seal_limit(KITH_CIPHER_AES_128_GCM);
    KITH_CHECK_EQ(kith__packet_seal(&a.keys, packet, HEADER, 4, 4, 0, 0), KITH_ERR_LIMIT);
    KITH_CHECK_EQ(kith__keys_update(&a.keys), 0);
    KITH_CHECK_EQ(kith__packet_seal(&a.keys, packet, HEADER, 4, 4, 0, 0), 0);
    KITH_CHECK_EQ(kith__keys_seal_limit(KITH_CIPHER_CHACHA20_POLY1305), UINT64_MAX);
    sides_dispose(&a, &b);
}

KITH_TEST(too_many_forgeries_end_the_connection)
{
    struct kith_opened opened;
    struct sealed sealed;
    struct side a, b;

    sides_init(&a, &b, KITH_CIPHER_AES_128_GCM);
    sealed = seal(&a, 0);
    sealed.bytes[sealed.size - 1] ^= 1;
    b.keys.failed = kith__keys_failure_limit(KITH_CIPHER_AES_128_GCM) - 2;
    KITH_CHECK_EQ(open_at(&b, sealed, &opened), KITH_ERR_CRYPTO);
    KITH_CHECK_EQ(open_at(&b, sealed, &opened), KITH_WIRE_AEAD_LIMIT_REACHED);
    sides_dispose(&a, &b);
}

KITH_TEST(keys_without_memory_fail_cleanly)
{
    uint8_t secret[KITH_DIGEST_SIZE_MAX] = { 9 };

    for (uint64_t fail_at = 1; fail_at < 20; fail_at++) {
        struct kith_test_mem mem;
        struct kith_keys keys = { 0 };
        bool failed;

        kith__test_mem_init(&mem, fail_at);
        failed = kith__keys_install(&keys, &mem.mem, KITH_CIPHER_AES_128_GCM, true, true, secret) != 0;
        failed = kith__keys_install(&keys, &mem.mem, KITH_CIPHER_AES_128_GCM, false, true, secret) != 0 || failed;
        if (!failed)
            failed = kith__keys_update(&keys) != 0 || kith__keys_follow(&keys) != 0;
        if (!failed)
            failed = kith__keys_follow(&keys) == KITH_ERR_NOMEM;
        kith__keys_dispose(&keys);
        KITH_CHECK_EQ(mem.live, 0);
        KITH_CHECK_EQ(failed, mem.calls >= fail_at);
    }
}
