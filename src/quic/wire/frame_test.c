#include "quic/wire/frame.h"

#include "base/test.h"
#include "quic/wire/hex.h"

#include <stdio.h>

/* Frames in hex, with the type they decode to. Most come from a real peer (spec/01). All are written back byte for byte. */
static const struct {
    const char *hex;
    uint64_t type;
    bool open_ended; /* a shorter beginning is a frame too */
} examples[] = {
    { "01", KITH_FRAME_PING, false },
    { "02 00 00 00 00", KITH_FRAME_ACK, false },
    { "02 7fff 19 02 05 00 03 07 40ff", KITH_FRAME_ACK, false },
    { "03 0a 00 00 0a 05 40ff 80010000", KITH_FRAME_ACK_ECN, false },
    { "04 04 05 4100", KITH_FRAME_RESET_STREAM, false },
    { "05 08 7fff", KITH_FRAME_STOP_SENDING, false },
    { "06 00 05 0102030405", KITH_FRAME_CRYPTO, false },
    { "06 4100 00", KITH_FRAME_CRYPTO, false },
    { "07 03 aabbcc", KITH_FRAME_NEW_TOKEN, false },
    { "08 00 68656c6c6f", 0x08, true },
    { "09 04 68656c6c6f", 0x09, true },
    { "0a 00 05 68656c6c6f", 0x0a, false },
    { "0b 00 05 68656c6c6f", 0x0b, false },
    { "0c 00 05 68656c6c6f", 0x0c, true },
    { "0d 00 05 68656c6c6f", 0x0d, true },
    { "0e 00 05 02 6869", 0x0e, false },
    { "0f 00 05 00", 0x0f, false },
    { "10 ffffffffffffffff", KITH_FRAME_MAX_DATA, false },
    { "11 04 801312d0", KITH_FRAME_MAX_STREAM_DATA, false },
    { "12 d000000000000000", KITH_FRAME_MAX_STREAMS_BIDI, false },
    { "13 4064", KITH_FRAME_MAX_STREAMS_UNI, false },
    { "14 4064", KITH_FRAME_DATA_BLOCKED, false },
    { "15 04 4064", KITH_FRAME_STREAM_DATA_BLOCKED, false },
    { "16 4064", KITH_FRAME_STREAMS_BLOCKED_BIDI, false },
    { "17 d000000000000000", KITH_FRAME_STREAMS_BLOCKED_UNI, false },
    { "18 01 00 08 0102030405060708 00112233445566778899aabbccddeeff", KITH_FRAME_NEW_CONNECTION_ID, false },
    { "19 00", KITH_FRAME_RETIRE_CONNECTION_ID, false },
    { "1a ae7926cb29e9c7f4", KITH_FRAME_PATH_CHALLENGE, false },
    { "1b 4cdd793491e9afda", KITH_FRAME_PATH_RESPONSE, false },
    { "1c 00 00 00", KITH_FRAME_CONNECTION_CLOSE, false },
    { "1c 02 00 00", KITH_FRAME_CONNECTION_CLOSE, false },
    { "1c 4178 06 03 616263", KITH_FRAME_CONNECTION_CLOSE, false },
    { "1d 07 03 627965", KITH_FRAME_APPLICATION_CLOSE, false },
    { "1e", KITH_FRAME_HANDSHAKE_DONE, false },
    { "1f", KITH_FRAME_IMMEDIATE_ACK, false },
    { "30 616263", KITH_FRAME_DATAGRAM, true },
    { "31 03 616263", KITH_FRAME_DATAGRAM_WITH_LENGTH, false },
    { "31 00", KITH_FRAME_DATAGRAM_WITH_LENGTH, false },
    { "40af 00 01 8000c350 02", KITH_FRAME_ACK_FREQUENCY, false },
    { "3e 00 01 00 00 00", KITH_FRAME_PATH_ACK, false },
    { "3e 00 12 06 00 12", KITH_FRAME_PATH_ACK, false },
    { "3e 01 07 4ca5 00 05", KITH_FRAME_PATH_ACK, false },
    { "3e 00 09 8001e96c 00 02", KITH_FRAME_PATH_ACK, false },
    { "3f 01 07 4ca5 01 00 02 01 05 06 07", KITH_FRAME_PATH_ACK_ECN, false },
    { "7e78 01 00 00 08 7cbe2302f94fc4d2 e9dff53a2b294552c461aab66113b8be", KITH_FRAME_PATH_NEW_CONNECTION_ID, false },
    { "7e78 00 01 00 08 4b99b2e3e2943189 2eea5ad22cd1767e3b7bd92e0c4bf95a", KITH_FRAME_PATH_NEW_CONNECTION_ID, false },
    { "7e78 07 01 00 08 661e0735d8c703bd 2ff888498dc9838c30fac89af9825d89", KITH_FRAME_PATH_NEW_CONNECTION_ID, false },
    { "7e79 00 00", KITH_FRAME_PATH_RETIRE_CONNECTION_ID, false },
    { "7e77 00 02", KITH_FRAME_PATH_STATUS_AVAILABLE, false },
    { "7e76 01 01", KITH_FRAME_PATH_STATUS_BACKUP, false },
    { "7e75 01 3e", KITH_FRAME_PATH_ABANDON, false },
    { "7e75 01 7e76", KITH_FRAME_PATH_ABANDON, false },
    { "7e7a 08", KITH_FRAME_MAX_PATH_ID, false },
    { "7e7c 01 00", KITH_FRAME_PATH_CIDS_BLOCKED, false },
    { "7e7b 07", KITH_FRAME_PATHS_BLOCKED, false },
    { "803d7f90 00 7f000001 1151", KITH_FRAME_ADD_ADDRESS_V4, false },
    { "803d7f91 01 00000000000000000000000000000001 a3c2", KITH_FRAME_ADD_ADDRESS_V6, false },
    { "803d7f92 01 7f000001 b8b9", KITH_FRAME_REACH_OUT_V4, false },
    { "803d7f93 01 00000000000000000000000000000001 b845", KITH_FRAME_REACH_OUT_V6, false },
    { "803d7f94 00", KITH_FRAME_REMOVE_ADDRESS, false },
    { "803d7f90 00 7f000001 15a9", KITH_FRAME_ADD_ADDRESS_V4, false },
    { "803d7f92 01 7f000002 99f8", KITH_FRAME_REACH_OUT_V4, false },
    { "809f81a6 00 c0000201 1151", KITH_FRAME_OBSERVED_ADDRESS_V4, false },
    { "809f81a7 02 20010db8000000000000000000000001 1151", KITH_FRAME_OBSERVED_ADDRESS_V6, false },
};

static int decode_in(const char *hex, enum kith_packet_type packet, struct kith_frame *frame,
                     struct kith_frame_error *error)
{
    static uint8_t bytes[256]; /* slices of the frame point into it */
    struct kith_reader r = kith__reader(bytes, kith__test_hex(hex, bytes, sizeof bytes));

    return kith__frame_decode(&r, packet, frame, error);
}

static struct kith_frame decode(const char *hex)
{
    struct kith_frame_error error = { 0 };
    struct kith_frame frame;

    KITH_CHECK_EQ(decode_in(hex, KITH_PACKET_ONE_RTT, &frame, &error), 0);
    return frame;
}

static void check_refused(const char *hex, uint64_t type, const char *reason)
{
    struct kith_frame_error error = { 0 };
    struct kith_frame frame;

    KITH_CHECK_EQ(decode_in(hex, KITH_PACKET_ONE_RTT, &frame, &error), KITH_WIRE_FRAME_ENCODING_ERROR);
    KITH_CHECK_EQ(error.type, type);
    KITH_CHECK_STR(error.reason, reason);
}

KITH_TEST(frame_examples_are_read_and_written_back)
{
    for (size_t i = 0; i < KITH_COUNT(examples); i++) {
        struct kith_frame_error error;
        struct kith_frame frame;
        uint8_t bytes[128], out[128];
        size_t size = kith__test_hex(examples[i].hex, bytes, sizeof bytes);
        struct kith_reader r = kith__reader(bytes, size);
        struct kith_writer w = kith__writer(out, sizeof out);

        KITH_CHECK_EQ(kith__frame_decode(&r, KITH_PACKET_ONE_RTT, &frame, &error), 0);
        KITH_CHECK_EQ(kith__reader_left(&r), 0);
        KITH_CHECK_EQ(frame.type, examples[i].type);
        KITH_CHECK_EQ(frame.info->type, frame.type);
        KITH_CHECK_EQ(kith__frame_size(&frame), size);
        KITH_CHECK_EQ(kith__frame_write(&w, &frame), 0);
        KITH_CHECK_EQ(kith__writer_size(&w), size);
        KITH_CHECK_BYTES(out, bytes, size);
        for (size_t room = 0; room < size; room++) {
            w = kith__writer(out, room);
            KITH_CHECK_EQ(kith__frame_write(&w, &frame), KITH_ERR_TOO_LARGE);
            KITH_CHECK_EQ(kith__writer_size(&w), 0);
        }
    }
}

KITH_TEST(frame_cut_anywhere_is_an_encoding_error)
{
    for (size_t i = 0; i < KITH_COUNT(examples); i++) {
        uint8_t bytes[128];
        size_t whole = kith__test_hex(examples[i].hex, bytes, sizeof bytes);

        for (size_t size = 0; size < whole; size++) {
            uint8_t *exact = kith__test_exact(bytes, size);
            struct kith_reader r = kith__reader(exact, size);
            struct kith_frame_error error = { 0 };
            struct kith_frame frame;
            int code = kith__frame_decode(&r, KITH_PACKET_ONE_RTT, &frame, &error);

            if (code == 0) {
                KITH_CHECK(examples[i].open_ended);
            } else {
                KITH_CHECK_EQ(code, KITH_WIRE_FRAME_ENCODING_ERROR);
                KITH_CHECK(error.reason != NULL);
                KITH_CHECK(r.at == exact);
                if (size >= kith__varint_size(examples[i].type))
                    KITH_CHECK_EQ(error.type, examples[i].type);
            }
            free(exact);
        }
    }
}

KITH_TEST(every_known_type_has_an_example)
{
    size_t known = 0;

    for (uint64_t type = 0; type < 0x1000000; type++) {
        bool found = type == KITH_FRAME_PADDING;

        if (kith__frame_info(type) == NULL)
            continue;
        known++;
        KITH_CHECK_EQ(kith__frame_info(type)->type, type);
        for (size_t i = 0; i < KITH_COUNT(examples); i++)
            found = found || examples[i].type == type;
        KITH_CHECK(found);
    }
    KITH_CHECK_EQ(known, 52);
    KITH_CHECK(kith__frame_info(UINT64_MAX) == NULL);
}

KITH_TEST(table_says_where_frames_may_be)
{
    static const struct {
        uint64_t type;
        const char *packets;
    } rules[] = { /* RFC 9000, table 3; spec/01, 1.14 and 4.2 */
                  { KITH_FRAME_PADDING, "IH01" },
                  { KITH_FRAME_PING, "IH01" },
                  { KITH_FRAME_ACK, "IH1" },
                  { KITH_FRAME_ACK_ECN, "IH1" },
                  { KITH_FRAME_CRYPTO, "IH1" },
                  { KITH_FRAME_NEW_TOKEN, "1" },
                  { KITH_FRAME_STREAM | 7, "01" },
                  { KITH_FRAME_MAX_DATA, "01" },
                  { KITH_FRAME_PATH_CHALLENGE, "01" },
                  { KITH_FRAME_PATH_RESPONSE, "1" },
                  { KITH_FRAME_CONNECTION_CLOSE, "IH01" },
                  { KITH_FRAME_APPLICATION_CLOSE, "01" },
                  { KITH_FRAME_HANDSHAKE_DONE, "1" },
                  { KITH_FRAME_DATAGRAM, "01" },
                  { KITH_FRAME_IMMEDIATE_ACK, "1" },
                  { KITH_FRAME_PATH_ACK, "1" },
                  { KITH_FRAME_PATH_CIDS_BLOCKED, "1" },
                  { KITH_FRAME_OBSERVED_ADDRESS_V6, "1" },
                  { KITH_FRAME_REACH_OUT_V4, "1" }
    };

    for (size_t i = 0; i < KITH_COUNT(rules); i++) {
        const struct kith_frame_info *info = kith__frame_info(rules[i].type);

        KITH_CHECK_EQ(kith__frame_is_legal(info, KITH_PACKET_INITIAL), strchr(rules[i].packets, 'I') != NULL);
        KITH_CHECK_EQ(kith__frame_is_legal(info, KITH_PACKET_HANDSHAKE), strchr(rules[i].packets, 'H') != NULL);
        KITH_CHECK_EQ(kith__frame_is_legal(info, KITH_PACKET_ZERO_RTT), strchr(rules[i].packets, '0') != NULL);
        KITH_CHECK_EQ(kith__frame_is_legal(info, KITH_PACKET_ONE_RTT), strchr(rules[i].packets, '1') != NULL);
    }
}

KITH_TEST(table_says_what_elicits_acks_and_probes)
{
    KITH_CHECK(!kith__frame_info(KITH_FRAME_PADDING)->ack_eliciting);
    KITH_CHECK(kith__frame_info(KITH_FRAME_PADDING)->in_flight);
    KITH_CHECK(!kith__frame_info(KITH_FRAME_PATH_ACK)->ack_eliciting);
    KITH_CHECK(!kith__frame_info(KITH_FRAME_CONNECTION_CLOSE)->in_flight);
    KITH_CHECK(kith__frame_info(KITH_FRAME_PING)->ack_eliciting);
    for (uint64_t type = 0; type < 0x1000000; type++) {
        const struct kith_frame_info *info = kith__frame_info(type);
        bool probes = type == KITH_FRAME_PADDING || type == KITH_FRAME_PATH_CHALLENGE ||
                      type == KITH_FRAME_PATH_RESPONSE || type == KITH_FRAME_NEW_CONNECTION_ID ||
                      type == KITH_FRAME_PATH_NEW_CONNECTION_ID || type == KITH_FRAME_OBSERVED_ADDRESS_V4 ||
                      type == KITH_FRAME_OBSERVED_ADDRESS_V6;

        if (info != NULL)
            KITH_CHECK_EQ(info->probing, probes);
    }
}

KITH_TEST(table_says_which_extension_frames_belong_to_and_who_sends_them)
{
    for (uint64_t type = 0; type < 0x1000000; type++) {
        const struct kith_frame_info *info = kith__frame_info(type);
        bool is_punch = type >= KITH_FRAME_ADD_ADDRESS_V4 && type <= KITH_FRAME_REMOVE_ADDRESS;
        bool is_path = type == KITH_FRAME_PATH_ACK || type == KITH_FRAME_PATH_ACK_ECN ||
                       (type >= KITH_FRAME_PATH_ABANDON && type <= KITH_FRAME_PATH_CIDS_BLOCKED);
        bool is_observed = type == KITH_FRAME_OBSERVED_ADDRESS_V4 || type == KITH_FRAME_OBSERVED_ADDRESS_V6;

        if (info == NULL)
            continue;
        KITH_CHECK_EQ(info->extension == KITH_EXTENSION_NAT_TRAVERSAL, is_punch);
        KITH_CHECK_EQ(info->extension == KITH_EXTENSION_MULTIPATH, is_path);
        KITH_CHECK_EQ(info->extension == KITH_EXTENSION_OBSERVED_ADDRESS, is_observed);
        KITH_CHECK_EQ(info->sender == KITH_SENDER_CLIENT,
                      type == KITH_FRAME_REACH_OUT_V4 || type == KITH_FRAME_REACH_OUT_V6);
        if (!is_punch && !is_path && !is_observed)
            continue;
        KITH_CHECK_EQ(info->packets, 1u << KITH_PACKET_ONE_RTT);
        KITH_CHECK_EQ(info->ack_eliciting, info->kind != KITH_KIND_PATH_ACK);
        KITH_CHECK_EQ(info->loss == KITH_LOSS_NOTHING, info->kind == KITH_KIND_PATH_ACK);
    }
}

KITH_TEST(frames_in_the_wrong_packet_are_violations)
{
    struct kith_frame_error error = { 0 };
    struct kith_frame frame;

    KITH_CHECK_EQ(decode_in("0a 00 01 61", KITH_PACKET_INITIAL, &frame, &error), KITH_WIRE_PROTOCOL_VIOLATION);
    KITH_CHECK_STR(error.reason, "illegal frame type in handshake");
    KITH_CHECK_EQ(error.type, 0x0a);
    KITH_CHECK_EQ(decode_in("1d 00 00", KITH_PACKET_HANDSHAKE, &frame, &error), KITH_WIRE_PROTOCOL_VIOLATION);
    KITH_CHECK_EQ(decode_in("06 00 00", KITH_PACKET_ZERO_RTT, &frame, &error), KITH_WIRE_PROTOCOL_VIOLATION);
    KITH_CHECK_STR(error.reason, "illegal frame type in 0-RTT");
    KITH_CHECK_EQ(decode_in("06 00 00", KITH_PACKET_HANDSHAKE, &frame, &error), 0);
}

KITH_TEST(unknown_frame_types_are_named_in_the_error)
{
    check_refused("21", 0x21, "invalid frame ID");
    check_refused("7e7d", 0x3e7d, "invalid frame ID");
    check_refused("ffffffffffffffff", KITH_VARINT_MAX, "invalid frame ID");
}

KITH_TEST(long_forms_of_a_frame_type_are_taken)
{
    KITH_CHECK_EQ(decode("4001").type, KITH_FRAME_PING);
    KITH_CHECK_EQ(decode("c00000000000001e").type, KITH_FRAME_HANDSHAKE_DONE);
}

KITH_TEST(fields_out_of_range_are_encoding_errors)
{
    check_refused("02 01 00 00 02", 2, "ACK range below zero");
    check_refused("02 05 00 01 01 03 00", 2, "ACK range below zero"); /* 4..5, then a gap to below zero */
    check_refused("02 05 00 01 01 02 01", 2, "ACK range below zero");
    check_refused("06 ffffffffffffffff 01 00", 6, "CRYPTO beyond 2^62-1");
    check_refused("07 00", 7, "empty token");
    check_refused("0e 00 ffffffffffffffff 01 00", 0x0e, "STREAM beyond 2^62-1");
    check_refused("12 d000000000000001", 0x12, "more than 2^60 streams");
    check_refused("17 d000000000000001", 0x17, "more than 2^60 streams");
    check_refused("18 01 00 00 00112233445566778899aabbccddeeff", 0x18, "invalid connection ID length");
    check_refused("18 01 00 15 000000000000000000000000000000000000000000 00112233445566778899aabbccddeeff", 0x18,
                  "invalid connection ID length");
    check_refused("7e7a c000000100000000", KITH_FRAME_MAX_PATH_ID, "malformed frame"); /* path id 2^32 */
    check_refused("3e c000000100000000 00 00 00 00", KITH_FRAME_PATH_ACK, "malformed frame");
    KITH_CHECK_EQ(decode("7e7a c0000000ffffffff").max_path_id.max, UINT32_MAX);
}

KITH_TEST(fields_are_where_they_belong)
{
    struct kith_frame frame = decode("0f 04 4105 02 6869");

    KITH_CHECK_EQ(frame.stream.id, 4);
    KITH_CHECK_EQ(frame.stream.offset, 0x105);
    KITH_CHECK(frame.stream.fin);
    KITH_CHECK_BYTES(frame.stream.data.ptr, "hi", 2);
    frame = decode("7e78 07 02 01 08 661e0735d8c703bd 2ff888498dc9838c30fac89af9825d89");
    KITH_CHECK_EQ(frame.new_cid.path, 7);
    KITH_CHECK_EQ(frame.new_cid.sequence, 2);
    KITH_CHECK_EQ(frame.new_cid.retire_prior_to, 1);
    KITH_CHECK_EQ(frame.new_cid.cid.size, 8);
    KITH_CHECK_EQ(frame.new_cid.reset_token[15], 0x89);
    frame = decode("40af 03 01 8000c350 02");
    KITH_CHECK_EQ(frame.ack_frequency.sequence, 3);
    KITH_CHECK_EQ(frame.ack_frequency.ack_eliciting_threshold, 1);
    KITH_CHECK_EQ(frame.ack_frequency.request_max_ack_delay_us, 50000);
    KITH_CHECK_EQ(frame.ack_frequency.reordering_threshold, 2);
    KITH_CHECK(decode("12 01").max_streams.bidi);
    KITH_CHECK(!decode("13 01").max_streams.bidi);
    KITH_CHECK(decode("7e77 00 02").path_status.available);
    KITH_CHECK(!decode("7e76 00 02").path_status.available);
    KITH_CHECK_EQ(decode("1c 0a 06 00").close.frame_type, 6);
    frame = decode("803d7f91 01 00000000000000000000000000000001 a3c2");
    KITH_CHECK_EQ(frame.address.sequence, 1);
    KITH_CHECK_EQ(frame.address.address.port, 41922);
    KITH_CHECK_EQ(frame.address.address.family, KITH_FAMILY_V6);
    KITH_CHECK_EQ(decode("00 00 00 00").padding.size, 4);
    KITH_CHECK_EQ(decode("00 00 01").padding.size, 2);
}

KITH_TEST(mapped_ipv4_addresses_become_ipv4)
{
    struct kith_frame frame = decode("809f81a7 00 00000000000000000000ffffc0000201 1151");
    struct kith_sockaddr want;

    KITH_CHECK_EQ(kith_sockaddr_parse("192.0.2.1:4433", &want), 0);
    KITH_CHECK(kith_sockaddr_equal(&frame.address.address, &want));
    frame = decode("803d7f91 00 00000000000000000000ffffc0000201 1151");
    KITH_CHECK(kith_sockaddr_equal(&frame.address.address, &want));
    frame = decode("803d7f93 00 00000000000000000000ffffc0000201 1151");
    KITH_CHECK(kith_sockaddr_equal(&frame.address.address, &want));
}

KITH_TEST(ack_ranges_are_walked_downwards)
{
    struct kith_frame frame = decode("02 14 00 02 02 01 03 00 00"); /* 18..20, 12..15, 10 */
    struct kith_ack_walk walk;
    struct kith_range range = kith__ack_first(&frame.ack, &walk);

    KITH_CHECK_EQ(range.begin, 18);
    KITH_CHECK_EQ(range.end, 21);
    KITH_CHECK(kith__ack_next(&walk, &range));
    KITH_CHECK_EQ(range.begin, 12);
    KITH_CHECK_EQ(range.end, 16);
    KITH_CHECK(kith__ack_next(&walk, &range));
    KITH_CHECK_EQ(range.begin, 10);
    KITH_CHECK_EQ(range.end, 11);
    KITH_CHECK(!kith__ack_next(&walk, &range));
}

KITH_TEST(ack_is_written_from_ranges_as_far_as_they_fit)
{
    struct kith_range ranges[100];
    struct kith_frame_ecn ecn = { 1, 2, 100000 };
    uint8_t out[1200];

    for (size_t i = 0; i < KITH_COUNT(ranges); i++)
        ranges[i] = (struct kith_range) { i * 100, i * 100 + 1 + i };
    for (size_t room = 0; room < 500; room++) {
        struct kith_ack_plan plan = { .is_path_ack = room % 2 != 0,
                                      .path = 3,
                                      .delay = 77,
                                      .ranges = ranges,
                                      .range_count = KITH_COUNT(ranges),
                                      .ranges_max = room % 3 == 0 ? 70 : 20,
                                      .ecn = room % 5 == 0 ? &ecn : NULL };
        struct kith_writer w = kith__writer(out, room);
        size_t count = kith__ack_write(&w, &plan);
        struct kith_reader r = kith__reader(out, kith__writer_size(&w));
        struct kith_frame_error error;
        struct kith_ack_walk walk;
        struct kith_frame frame;
        struct kith_range range;

        if (count == 0) {
            KITH_CHECK(room < 20);
            KITH_CHECK_EQ(kith__writer_size(&w), 0);
            continue;
        }
        KITH_CHECK(count <= plan.ranges_max);
        KITH_CHECK_EQ(kith__frame_decode(&r, KITH_PACKET_ONE_RTT, &frame, &error), 0);
        KITH_CHECK_EQ(frame.ack.range_count, count - 1);
        KITH_CHECK_EQ(frame.ack.path, plan.is_path_ack ? 3 : 0);
        KITH_CHECK_EQ(frame.ack.delay, 77);
        KITH_CHECK_EQ(frame.ack.has_ecn, plan.ecn != NULL);
        KITH_CHECK_EQ(frame.ack.ecn.ce, plan.ecn != NULL ? 100000 : 0);
        range = kith__ack_first(&frame.ack, &walk);
        for (size_t i = 0; i < count; i++) {
            KITH_CHECK_EQ(range.begin, ranges[99 - i].begin);
            KITH_CHECK_EQ(range.end, ranges[99 - i].end);
            KITH_CHECK_EQ(kith__ack_next(&walk, &range), i + 1 < count);
        }
        if (room == 499)
            KITH_CHECK_EQ(kith__ack_size(&plan), kith__writer_size(&w));
    }
}

KITH_TEST(stream_plan_fills_the_room_or_leaves_a_valid_frame)
{
    for (size_t room = 0; room < 300; room++)
        for (size_t want = 0; want < 320; want++) {
            uint64_t offset = room % 3 * 5000, id = want % 2 * 100;
            struct kith_stream_plan plan;
            size_t total;

            if (!kith__stream_plan(room, id, offset, want, &plan)) {
                KITH_CHECK(room < 8);
                continue;
            }
            total = kith__stream_header_size(id, offset, plan.size, plan.has_length) + plan.size;
            KITH_CHECK(total <= room);
            KITH_CHECK(plan.size <= want);
            KITH_CHECK(plan.size + 2 >= want || plan.size + 12 >= room);
            KITH_CHECK(plan.has_length || total == room);
        }
}

KITH_TEST(crypto_plan_never_overfills)
{
    for (size_t room = 0; room < 300; room++)
        for (size_t want = 1; want < 320; want++) {
            size_t size = kith__crypto_plan(room, room * 7, want);
            uint8_t bytes[16];
            struct kith_writer w = kith__writer(bytes, sizeof bytes);

            KITH_CHECK_EQ(kith__crypto_write_header(&w, room * 7, size), 0);
            KITH_CHECK(size == 0 || kith__writer_size(&w) + size <= room);
            KITH_CHECK(size <= want);
            KITH_CHECK(size == want || size + 6 >= room || size + 7 >= room);
        }
}

/* A number that uses every length of varint. */
static uint64_t random_number(uint64_t *seed)
{
    return (kith__test_random(seed) & KITH_VARINT_MAX) >> kith__test_random(seed) % 62;
}

/* Fills the numbers of any kind: all members of the union are plain numbers or slices. */
static void randomise(struct kith_frame *frame, uint64_t *seed, struct kith_slice data)
{
    switch (frame->info->kind) {
    case KITH_KIND_PADDING:
        frame->padding.size = 1 + kith__test_random(seed) % 20;
        break;
    case KITH_KIND_RESET_STREAM:
        frame->reset_stream.final_size = random_number(seed);
        frame->reset_stream.code = random_number(seed);
        frame->reset_stream.id = random_number(seed);
        break;
    case KITH_KIND_STOP_SENDING:
        frame->stop_sending.id = random_number(seed);
        frame->stop_sending.code = random_number(seed);
        break;
    case KITH_KIND_CRYPTO:
        frame->crypto.offset = random_number(seed) / 2;
        frame->crypto.data = data;
        break;
    case KITH_KIND_NEW_TOKEN:
        frame->new_token.token = (struct kith_slice) { data.ptr, data.size + 1 };
        break;
    case KITH_KIND_STREAM:
        frame->stream.id = random_number(seed);
        frame->stream.offset = (frame->type & 4) != 0 ? random_number(seed) / 2 + 1 : 0;
        frame->stream.data = data;
        break;
    case KITH_KIND_MAX_DATA:
    case KITH_KIND_DATA_BLOCKED:
        frame->max_data.max = random_number(seed);
        break;
    case KITH_KIND_MAX_STREAM_DATA:
    case KITH_KIND_STREAM_DATA_BLOCKED:
        frame->max_stream_data.id = random_number(seed);
        frame->max_stream_data.max = random_number(seed);
        break;
    case KITH_KIND_MAX_STREAMS:
    case KITH_KIND_STREAMS_BLOCKED:
        frame->max_streams.max = random_number(seed) / 4;
        break;
    case KITH_KIND_NEW_CONNECTION_ID:
    case KITH_KIND_PATH_NEW_CONNECTION_ID:
        frame->new_cid.path = frame->info->kind == KITH_KIND_NEW_CONNECTION_ID ? 0 : (uint32_t)kith__test_random(seed);
        frame->new_cid.sequence = random_number(seed);
        frame->new_cid.retire_prior_to = random_number(seed);
        frame->new_cid.cid = kith__cid(data.ptr, 1 + data.size % 20);
        memcpy(frame->new_cid.reset_token, data.ptr, 16);
        break;
    case KITH_KIND_RETIRE_CONNECTION_ID:
    case KITH_KIND_PATH_RETIRE_CONNECTION_ID:
        frame->retire_cid.path = frame->info->kind == KITH_KIND_RETIRE_CONNECTION_ID
                                     ? 0
                                     : (uint32_t)kith__test_random(seed);
        frame->retire_cid.sequence = random_number(seed);
        break;
    case KITH_KIND_PATH_CHALLENGE:
    case KITH_KIND_PATH_RESPONSE:
        memcpy(frame->path_challenge.data, data.ptr, 8);
        break;
    case KITH_KIND_CONNECTION_CLOSE:
    case KITH_KIND_APPLICATION_CLOSE:
        frame->close.code = random_number(seed);
        frame->close.frame_type = frame->info->kind == KITH_KIND_CONNECTION_CLOSE ? random_number(seed) : 0;
        frame->close.reason = data;
        break;
    case KITH_KIND_DATAGRAM:
        frame->datagram.data = data;
        break;
    case KITH_KIND_ACK:
    case KITH_KIND_PATH_ACK:
        frame->ack.path = frame->info->kind == KITH_KIND_ACK ? 0 : (uint32_t)kith__test_random(seed);
        frame->ack.largest = random_number(seed);
        frame->ack.first_range = random_number(seed) % (frame->ack.largest + 1);
        frame->ack.delay = random_number(seed);
        if (frame->ack.has_ecn)
            frame->ack.ecn = (struct kith_frame_ecn) { random_number(seed), random_number(seed), random_number(seed) };
        break;
    case KITH_KIND_ACK_FREQUENCY:
        frame->ack_frequency.sequence = random_number(seed);
        frame->ack_frequency.ack_eliciting_threshold = random_number(seed);
        frame->ack_frequency.request_max_ack_delay_us = random_number(seed);
        frame->ack_frequency.reordering_threshold = random_number(seed);
        break;
    case KITH_KIND_PATH_ABANDON:
        frame->path_abandon.path = (uint32_t)random_number(seed);
        frame->path_abandon.code = random_number(seed);
        break;
    case KITH_KIND_PATH_STATUS:
        frame->path_status.path = (uint32_t)random_number(seed);
        frame->path_status.sequence = random_number(seed);
        break;
    case KITH_KIND_MAX_PATH_ID:
    case KITH_KIND_PATHS_BLOCKED:
        frame->max_path_id.max = (uint32_t)random_number(seed);
        break;
    case KITH_KIND_PATH_CIDS_BLOCKED:
        frame->path_cids_blocked.path = (uint32_t)random_number(seed);
        frame->path_cids_blocked.next_sequence = random_number(seed);
        break;
    case KITH_KIND_ADD_ADDRESS:
    case KITH_KIND_REACH_OUT:
    case KITH_KIND_OBSERVED_ADDRESS:
        frame->address.sequence = random_number(seed);
        frame->address.address.port = (uint16_t)kith__test_random(seed);
        memcpy(frame->address.address.ip, data.ptr, frame->address.address.family == KITH_FAMILY_V6 ? 16 : 4);
        break;
    case KITH_KIND_REMOVE_ADDRESS:
        frame->remove_address.sequence = random_number(seed);
        break;
    default:
        break;
    }
}

KITH_TEST(random_frames_survive_the_wire)
{
    uint64_t first_seed = kith__test_seed(2026), seed = first_seed;
    uint8_t data[256], out[2][600];

    for (int round = 0; round < 300; round++)
        for (uint64_t type = 0; type < 0x9f81a8; type = type == 0x40       ? 0x3e70
                                                        : type == 0x3e80   ? 0x3d7f90
                                                        : type == 0x3d7f95 ? 0x9f81a6
                                                                           : type + 1) {
            struct kith_frame_error error;
            struct kith_frame frame, back;
            struct kith_writer w[2];
            struct kith_reader r;

            if (kith__frame_info(type) == NULL)
                continue;
            for (size_t i = 0; i < sizeof data; i++)
                data[i] = (uint8_t)kith__test_random(&seed);
            frame = kith__frame(type);
            randomise(&frame, &seed, (struct kith_slice) { data, kith__test_random(&seed) % 200 });
            w[0] = kith__writer(out[0], sizeof out[0]);
            KITH_CHECK_EQ(kith__frame_write(&w[0], &frame), 0);
            KITH_CHECK_EQ(kith__writer_size(&w[0]), kith__frame_size(&frame));
            r = kith__reader(out[0], kith__writer_size(&w[0]));
            if (kith__frame_decode(&r, KITH_PACKET_ONE_RTT, &back, &error) != 0 || back.type != type)
                printf("type 0x%llx, KITH_SEED=%llu\n", (unsigned long long)type, (unsigned long long)first_seed);
            KITH_CHECK_EQ(back.type, type);
            KITH_CHECK_EQ(kith__reader_left(&r), 0);
            w[1] = kith__writer(out[1], sizeof out[1]);
            KITH_CHECK_EQ(kith__frame_write(&w[1], &back), 0);
            KITH_CHECK_EQ(kith__writer_size(&w[1]), kith__writer_size(&w[0]));
            KITH_CHECK_BYTES(out[1], out[0], kith__writer_size(&w[0]));
        }
}
