#include "quic/wire/packet.h"

#include "base/test.h"
#include "quic/wire/hex.h"
#include "quic/wire/retry.h"

static int parse_hex(const char *text, size_t cid_size, uint8_t *bytes, size_t capacity, struct kith_packet *out)
{
    size_t size = kith__test_hex(text, bytes, capacity);

    return kith__packet_parse(bytes, size, cid_size, out);
}

KITH_TEST(packet_number_takes_the_fewest_bytes_that_are_safe)
{
    KITH_CHECK_EQ(kith__pn_size(0, KITH_PN_NONE), 1);
    KITH_CHECK_EQ(kith__pn_size(127, KITH_PN_NONE), 1);
    KITH_CHECK_EQ(kith__pn_size(128, KITH_PN_NONE), 2);
    KITH_CHECK_EQ(kith__pn_size(32767, KITH_PN_NONE), 2);
    KITH_CHECK_EQ(kith__pn_size(32768, KITH_PN_NONE), 3);
    KITH_CHECK_EQ(kith__pn_size(0xac5c02, 0xabe8b3), 2); /* RFC 9000, A.2 */
    KITH_CHECK_EQ(kith__pn_size(0xace8fe, 0xabe8b3), 3);
    KITH_CHECK_EQ(kith__pn_size(1u << 23, 0), 4);
    KITH_CHECK_EQ(kith__pn_size(1000127, 1000000), 1);
}

KITH_TEST(packet_number_is_completed_to_the_closest_one)
{
    KITH_CHECK_EQ(kith__pn_decode(0xa82f30eb, 0x9b32, 2), 0xa82f9b32); /* RFC 9000, A.3 */
    KITH_CHECK_EQ(kith__pn_decode(0, 0xff, 1), 0xff);                  /* nothing below zero */
    KITH_CHECK_EQ(kith__pn_decode(256, 0xff, 1), 255);
    KITH_CHECK_EQ(kith__pn_decode(255, 0x01, 1), 257);
    KITH_CHECK_EQ(kith__pn_decode(KITH_VARINT_MAX, 0x00, 1), KITH_VARINT_MAX - 255); /* nothing above 2^62-1 */
}

KITH_TEST(packet_number_survives_encoding_within_its_window)
{
    uint64_t seed = kith__test_seed(11);

    for (int i = 0; i < 20000; i++) {
        uint64_t acked = kith__test_random(&seed) >> (2 + kith__test_random(&seed) % 40);
        uint64_t ahead = kith__test_random(&seed) % (UINT64_C(1) << (1 + kith__test_random(&seed) % 30)) + 1;
        uint64_t pn = acked + ahead, received = acked + kith__test_random(&seed) % ahead;
        size_t size = kith__pn_size(pn, acked);

        KITH_CHECK_EQ(kith__pn_decode(received + 1, pn & ((UINT64_C(1) << (8 * size)) - 1), size), pn);
    }
}

KITH_TEST(header_of_a_real_client_is_read)
{
    uint8_t bytes[64 + 1162] = { 0 };
    struct kith_packet packet;
    size_t size = kith__test_hex(
        "c0 00000001 14 6cf1429ea9ef9051afdeabc05616946c03859d48 08 5219ff48e92bbae0 00 448a 00", bytes, sizeof bytes);

    KITH_CHECK_EQ(kith__packet_parse(bytes, size + 1161, 8, &packet), 0);
    KITH_CHECK_EQ(packet.type, KITH_PACKET_INITIAL);
    KITH_CHECK_EQ(packet.version, 1);
    KITH_CHECK(packet.fixed_bit);
    KITH_CHECK_EQ(packet.dcid.size, 20);
    KITH_CHECK_EQ(packet.scid.size, 8);
    KITH_CHECK_EQ(packet.scid.ptr[0], 0x52);
    KITH_CHECK_EQ(packet.token.size, 0);
    KITH_CHECK_EQ(packet.pn_offset, size - 1);
    KITH_CHECK_EQ(packet.size, size - 1 + 0x48a);
    KITH_CHECK_EQ(kith__packet_parse(bytes, size + 1160, 8, &packet), KITH_ERR_TRUNCATED);
}

KITH_TEST(written_headers_are_read_back)
{
    static const uint8_t types[] = { KITH_PACKET_INITIAL, KITH_PACKET_ZERO_RTT, KITH_PACKET_HANDSHAKE,
                                     KITH_PACKET_ONE_RTT };
    static const uint8_t token[100] = { 7, 8, 9 };

    for (size_t i = 0; i < 4 * 4 * 2; i++) {
        struct kith_packet_header header = { .type = types[i % 4],
                                             .pn_size = (uint8_t)(i / 4 % 4 + 1),
                                             .pn = 0x12345678 };
        struct kith_packet_marks marks;
        struct kith_packet packet;
        uint8_t bytes[400] = { 0 };
        struct kith_writer w = kith__writer(bytes, sizeof bytes);
        size_t total;

        header.dcid = kith__cid((const uint8_t *)"abcdefgh", 8);
        header.scid = kith__cid((const uint8_t *)"ABCDEFGHIJKLMNOPQRST", i < 16 ? 20 : 0);
        header.token = (struct kith_slice) { token, header.type == KITH_PACKET_INITIAL && i >= 16 ? sizeof token : 0 };
        KITH_CHECK_EQ(kith__packet_write_header(&w, &header, &marks), 0);
        KITH_CHECK_EQ(kith__writer_size(&w), kith__packet_header_size(&header));
        KITH_CHECK_EQ(marks.payload_offset, kith__writer_size(&w));
        KITH_CHECK_EQ(marks.pn_offset + header.pn_size, marks.payload_offset);
        total = marks.payload_offset + 40;
        if (header.type != KITH_PACKET_ONE_RTT)
            kith__packet_set_length(bytes, &marks, total - marks.pn_offset);
        KITH_CHECK_EQ(kith__packet_parse(bytes, total + (header.type != KITH_PACKET_ONE_RTT ? 9 : 0), 8, &packet), 0);
        KITH_CHECK_EQ(packet.type, header.type);
        KITH_CHECK_EQ(packet.size, total);
        KITH_CHECK_EQ(packet.pn_offset, marks.pn_offset);
        KITH_CHECK_EQ((packet.first & 3) + 1, header.pn_size);
        KITH_CHECK(kith__cid_is(&header.dcid, packet.dcid));
        KITH_CHECK_EQ(packet.token.size, header.token.size);
        if (header.type != KITH_PACKET_ONE_RTT)
            KITH_CHECK(kith__cid_is(&header.scid, packet.scid));
        for (size_t room = 0; room < marks.payload_offset; room++) {
            w = kith__writer(bytes, room);
            KITH_CHECK_EQ(kith__packet_write_header(&w, &header, &marks), KITH_ERR_TOO_LARGE);
            KITH_CHECK_EQ(kith__writer_size(&w), 0);
        }
    }
}

KITH_TEST(headers_cut_anywhere_are_refused_without_reading_on)
{
    static const char *const texts[] = {
        "c0 00000001 08 0102030405060708 08 1112131415161718 05 aabbccddee 4004 00000000",
        "e0 00000001 08 0102030405060708 00 04 00000000",
        "40 0102030405060708",
        "80 1a2a3a4a 02 0102 01 11",
    };

    for (size_t i = 0; i < KITH_COUNT(texts); i++) {
        uint8_t bytes[100];
        size_t whole = kith__test_hex(texts[i], bytes, sizeof bytes);
        struct kith_packet packet;

        for (size_t size = 0; size <= whole; size++) {
            uint8_t *exact = kith__test_exact(bytes, size);

            KITH_CHECK_EQ(kith__packet_parse(exact, size, 8, &packet), size == whole ? 0 : KITH_ERR_TRUNCATED);
            free(exact);
        }
    }
}

KITH_TEST(ids_over_20_bytes_are_malformed_in_version_1_only)
{
    uint8_t bytes[64] = { 0xc0, 0, 0, 0, 1, 21 };
    struct kith_packet packet;

    KITH_CHECK_EQ(kith__packet_parse(bytes, sizeof bytes, 8, &packet), KITH_ERR_PARSE);
    bytes[4] = 2;
    KITH_CHECK_EQ(kith__packet_parse(bytes, sizeof bytes, 8, &packet), 0);
    KITH_CHECK_EQ(packet.type, KITH_PACKET_OTHER_VERSION);
    KITH_CHECK_EQ(packet.dcid.size, 21);
    KITH_CHECK_EQ(packet.size, sizeof bytes);
}

KITH_TEST(version_negotiation_of_a_real_peer_is_read)
{
    uint8_t bytes[100];
    struct kith_packet packet;

    KITH_CHECK_EQ(parse_hex("e8 00000000 08 1112131415161718 08 0102030405060708 0a1a2a3a 00000001 ff00001d ff00001e "
                            "ff00001f ff000020 ff000021 ff000022",
                            8, bytes, sizeof bytes, &packet),
                  0);
    KITH_CHECK_EQ(packet.type, KITH_PACKET_VERSION_NEGOTIATION);
    KITH_CHECK_EQ(packet.versions.size, 32);
    KITH_CHECK(kith__version_negotiation_has(packet.versions, 1));
    KITH_CHECK(kith__version_negotiation_has(packet.versions, 0xff000022));
    KITH_CHECK(!kith__version_negotiation_has(packet.versions, 2));
    KITH_CHECK_EQ(parse_hex("80 00000000 00 00", 8, bytes, sizeof bytes, &packet), KITH_ERR_PARSE);
    KITH_CHECK_EQ(parse_hex("80 00000000 00 00 000000", 8, bytes, sizeof bytes, &packet), KITH_ERR_PARSE);
}

KITH_TEST(version_negotiation_answers_with_swapped_ids)
{
    static const char want[] = "e8 00000000 08 1112131415161718 08 0102030405060708 0a1a2a3a 00000001";
    uint8_t bytes[100], out[600], expected[100];
    struct kith_packet packet, answer;
    size_t size, expected_size = kith__test_hex(want, expected, sizeof expected);

    KITH_CHECK_EQ(parse_hex("c0 1a2a3a4a 08 0102030405060708 08 1112131415161718 00", 8, bytes, sizeof bytes, &packet),
                  0);
    size = kith__version_negotiation_write(&packet, 0x28, out, sizeof out);
    KITH_CHECK_EQ(size, expected_size);
    KITH_CHECK_BYTES(out, expected, size);
    for (size_t room = 0; room < size; room++)
        KITH_CHECK_EQ(kith__version_negotiation_write(&packet, 0, out, room), 0);
    packet.version = 0x0a1a2a3a; /* the client greases with the same number: the answer must not list it */
    size = kith__version_negotiation_write(&packet, 0, out, sizeof out);
    KITH_CHECK_EQ(kith__packet_parse(out, size, 8, &answer), 0);
    KITH_CHECK(!kith__version_negotiation_has(answer.versions, 0x0a1a2a3a));
}

KITH_TEST(longest_version_negotiation_fits_527_bytes)
{
    uint8_t bytes[1 + 4 + 256 + 256] = { 0x80, 9, 9, 9, 9, 255 };
    uint8_t out[527];
    struct kith_packet packet;

    bytes[5 + 256] = 255;
    KITH_CHECK_EQ(kith__packet_parse(bytes, sizeof bytes, 8, &packet), 0);
    KITH_CHECK_EQ(packet.scid.size, 255);
    KITH_CHECK(kith__version_negotiation_write(&packet, 0, out, sizeof out) != 0);
}

KITH_TEST(retry_without_token_is_refused)
{
    uint8_t bytes[100];
    struct kith_packet packet;

    KITH_CHECK_EQ(parse_hex("f0 00000001 00 00 00112233445566778899aabbccddeeff", 8, bytes, sizeof bytes, &packet),
                  KITH_ERR_TRUNCATED);
    KITH_CHECK_EQ(parse_hex("f0 00000001 00 00 7f 00112233445566778899aabbccddeeff", 8, bytes, sizeof bytes, &packet),
                  0);
    KITH_CHECK_EQ(packet.type, KITH_PACKET_RETRY);
    KITH_CHECK_EQ(packet.token.size, 1);
    KITH_CHECK_EQ(packet.tag.size, 16);
}
