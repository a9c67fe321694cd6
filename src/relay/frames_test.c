/* Frames of the relay: the byte examples of spec/02 3.4, and every rule about sides, phases, versions and sizes. */
#include "base/mem.h"
#include "base/test.h"
#include "relay/frames.h"
#include <sodium/utils.h>
#include <stdio.h>
#include <string.h>

#define KEY_HEX   "197f6b23e16c8532c6abc838facd5ea789be0c76b2920334039bfa8b3d368d61"
#define HELLO_HEX "48656c6c6f20576f726c6421"

/** Bytes of a hex text with blanks. Static: valid until the next call. */
static struct kith_slice bytes_of(const char *hex)
{
    static uint8_t bytes[4096];
    size_t size = 0;

    KITH_CHECK_EQ(sodium_hex2bin(bytes, sizeof bytes, hex, strlen(hex), " ", &size, NULL), 0);
    return (struct kith_slice) { bytes, size };
}

static struct kith_relay_rules rules(enum kith_relay_side from, enum kith_relay_phase phase,
                                     enum kith_relay_version version)
{
    return (struct kith_relay_rules) { from, phase, version };
}

/** Decodes with the first rules that the table allows for the kind that the first byte names. */
static int decode_as_allowed(struct kith_slice message, struct kith_relay_frame *out)
{
    const struct kith_relay_frame_info *info = kith__relay_frame_info(message.ptr[0]);

    return kith__relay_frame_decode(
        message,
        rules(info->sides & KITH_RELAY_FROM_CLIENT ? KITH_RELAY_FROM_CLIENT : KITH_RELAY_FROM_SERVER, info->phase,
              info->versions & 1 << KITH_RELAY_V2 ? KITH_RELAY_V2 : KITH_RELAY_V1),
        out, NULL);
}

/** The example reads as `kind`, and what was read is written as the same bytes. */
static struct kith_relay_frame example(const char *hex, enum kith_relay_kind kind)
{
    struct kith_slice message = bytes_of(hex);
    uint8_t written[256];
    struct kith_writer w = kith__writer(written, sizeof written);
    struct kith_relay_frame frame;

    KITH_CHECK_EQ(decode_as_allowed(message, &frame), 0);
    KITH_CHECK_EQ(frame.kind, kind);
    KITH_CHECK_EQ(kith__relay_frame_size(&frame), message.size);
    KITH_CHECK_EQ(kith__relay_frame_encode(&frame, &w), 0);
    KITH_CHECK_EQ(kith__writer_size(&w), message.size);
    KITH_CHECK_BYTES(written, message.ptr, message.size);
    /* One byte less of room and nothing is written. */
    w = kith__writer(written, message.size - 1);
    KITH_CHECK_EQ(kith__relay_frame_encode(&frame, &w), KITH_ERR_TOO_LARGE);
    KITH_CHECK_EQ(kith__writer_size(&w), 0);
    return frame;
}

static void check_hello(const struct kith_relay_datagram *datagram, uint16_t segment_size)
{
    KITH_CHECK_EQ(datagram->key[0], 0x19);
    KITH_CHECK_EQ(datagram->key[31], 0x61);
    KITH_CHECK_EQ(datagram->ecn, 3);
    KITH_CHECK_EQ(datagram->segment_size, segment_size);
    KITH_CHECK_EQ(datagram->payload.size, 12);
    KITH_CHECK_BYTES(datagram->payload.ptr, "Hello World!", 12);
}

KITH_TEST(relay_frames_match_the_byte_examples)
{
    struct kith_relay_frame frame;

    frame = example("09 2a2a2a2a2a2a2a2a", KITH_RELAY_PING);
    KITH_CHECK_BYTES(frame.ping, "********", 8);
    frame = example("0a 2a2a2a2a2a2a2a2a", KITH_RELAY_PONG);
    KITH_CHECK_BYTES(frame.ping, "********", 8);
    frame = example("08 " KEY_HEX, KITH_RELAY_ENDPOINT_GONE);
    KITH_CHECK_EQ(frame.key[0], 0x19);
    frame = example("0b 48656c6c6f3f20596573207468697320697320646f672e", KITH_RELAY_HEALTH);
    KITH_CHECK_BYTES(frame.text.ptr, "Hello? Yes this is dog.", 23);
    frame = example("0c 0000000a 00000014", KITH_RELAY_RESTARTING);
    KITH_CHECK(frame.restarting.reconnect_in_ms == 10 && frame.restarting.try_for_ms == 20);
    frame = example("0d 01", KITH_RELAY_STATUS);
    KITH_CHECK_EQ(frame.status, KITH_RELAY_STATUS_SAME_ID_CONNECTED);
    frame = example("0d 02", KITH_RELAY_STATUS);
    KITH_CHECK_EQ(frame.status, KITH_RELAY_STATUS_RATE_LIMITED);
    frame = example("04 " KEY_HEX " 03 " HELLO_HEX, KITH_RELAY_CLIENT_DATAGRAM);
    check_hello(&frame.datagram, 0);
    frame = example("05 " KEY_HEX " 03 0006 " HELLO_HEX, KITH_RELAY_CLIENT_BATCH);
    check_hello(&frame.datagram, 6);
    frame = example("06 " KEY_HEX " 03 " HELLO_HEX, KITH_RELAY_SERVER_DATAGRAM);
    check_hello(&frame.datagram, 0);
    frame = example("07 " KEY_HEX " 03 0006 " HELLO_HEX, KITH_RELAY_SERVER_BATCH);
    check_hello(&frame.datagram, 6);
    (void)example("02", KITH_RELAY_SERVER_CONFIRMS_AUTH);
    frame = example("03 0e 6e6f7420617574686f72697a6564", KITH_RELAY_SERVER_DENIES_AUTH);
    KITH_CHECK_BYTES(frame.text.ptr, "not authorized", 14);
    frame = example("03 11 7369676e617475726520696e76616c6964", KITH_RELAY_SERVER_DENIES_AUTH);
    KITH_CHECK_BYTES(frame.text.ptr, "signature invalid", 17);
    frame = example("00 000102030405060708090a0b0c0d0e0f", KITH_RELAY_SERVER_CHALLENGE);
    KITH_CHECK_EQ(frame.challenge[15], 15);
}

KITH_TEST(relay_frames_take_longer_forms_of_the_type_and_write_the_short_one)
{
    struct kith_relay_rules allowed = rules(KITH_RELAY_FROM_CLIENT, KITH_RELAY_AFTER_HANDSHAKE, KITH_RELAY_V2);
    uint8_t written[16];
    struct kith_writer w = kith__writer(written, sizeof written);
    struct kith_relay_frame frame;

    KITH_CHECK_EQ(kith__relay_frame_decode(bytes_of("4009 2a2a2a2a2a2a2a2a"), allowed, &frame, NULL), 0);
    KITH_CHECK_EQ(frame.kind, KITH_RELAY_PING);
    KITH_CHECK_EQ(kith__relay_frame_encode(&frame, &w), 0);
    KITH_CHECK_EQ(kith__writer_size(&w), 9);
    KITH_CHECK_EQ(written[0], 9);
}

KITH_TEST(relay_frames_are_legal_only_where_the_table_says_so)
{
    static const char *const bodies[KITH_RELAY_KINDS] = {
        "000102030405060708090a0b0c0d0e0f",
        NULL,
        "",
        "00",
        KEY_HEX "00",
        KEY_HEX "00 0000",
        KEY_HEX "00",
        KEY_HEX "00 0000",
        KEY_HEX,
        "0000000000000000",
        "0000000000000000",
        "",
        "0000000000000000",
        "00",
    };
    static const struct {
        int sides, phase, versions;
    } expected[KITH_RELAY_KINDS] = { { 2, 0, 6 }, { 1, 0, 6 }, { 2, 0, 6 }, { 2, 0, 6 }, { 1, 1, 6 },
                                     { 1, 1, 6 }, { 2, 1, 6 }, { 2, 1, 6 }, { 2, 1, 6 }, { 3, 1, 6 },
                                     { 3, 1, 6 }, { 2, 1, 2 }, { 2, 1, 6 }, { 2, 1, 4 } };
    char hex[300];

    for (unsigned kind = 0; kind < KITH_RELAY_KINDS; kind++) {
        if (bodies[kind] == NULL)
            continue;
        snprintf(hex, sizeof hex, "%02x%s", kind, bodies[kind]);
        for (int side = 1; side <= 2; side++)
            for (int phase = 0; phase <= 1; phase++)
                for (int version = 1; version <= 2; version++) {
                    struct kith_relay_frame frame;
                    bool is_legal = (expected[kind].sides & side) != 0 && expected[kind].phase == phase &&
                                    (expected[kind].versions & 1 << version) != 0;
                    int err = kith__relay_frame_decode(bytes_of(hex), rules(side, phase, version), &frame, NULL);

                    KITH_CHECK_EQ(err, is_legal ? 0 : KITH_ERR_TRANSPORT);
                }
    }
}

KITH_TEST(relay_frames_of_unknown_types_are_told_apart)
{
    struct kith_relay_rules allowed = rules(KITH_RELAY_FROM_SERVER, KITH_RELAY_AFTER_HANDSHAKE, KITH_RELAY_V2);
    struct kith_relay_frame frame;
    const char *reason = NULL;

    KITH_CHECK_EQ(kith__relay_frame_decode(bytes_of("0e"), allowed, &frame, &reason), KITH_ERR_UNSUPPORTED);
    KITH_CHECK_STR(reason, "an unknown frame type");
    KITH_CHECK_EQ(kith__relay_frame_decode(bytes_of("ffffffffffffffff"), allowed, &frame, NULL), KITH_ERR_UNSUPPORTED);
    KITH_CHECK_EQ(kith__relay_frame_decode(bytes_of(""), allowed, &frame, NULL), KITH_ERR_TRUNCATED);
    KITH_CHECK_EQ(kith__relay_frame_decode(bytes_of("40"), allowed, &frame, NULL), KITH_ERR_TRUNCATED);
}

KITH_TEST(relay_frames_tolerate_what_may_come_in_future)
{
    struct kith_relay_frame frame;

    KITH_CHECK_EQ(decode_as_allowed(bytes_of("0d 63 aabb"), &frame), 0); /* a code of the future, and more bytes */
    KITH_CHECK_EQ(frame.status, 99);
    KITH_CHECK_EQ(decode_as_allowed(bytes_of("02 0102"), &frame), 0);
    KITH_CHECK_EQ(decode_as_allowed(bytes_of("04 " KEY_HEX " ff 01"), &frame), 0); /* upper bits of the ECN byte */
    KITH_CHECK_EQ(frame.datagram.ecn, 3);
    KITH_CHECK_EQ(decode_as_allowed(bytes_of("05 " KEY_HEX " 01 0000 0102"), &frame),
                  0); /* no segment size: one datagram */
    KITH_CHECK_EQ(frame.kind, KITH_RELAY_CLIENT_DATAGRAM);
    KITH_CHECK_EQ(frame.datagram.payload.size, 2);
    KITH_CHECK_EQ(decode_as_allowed(bytes_of("04 " KEY_HEX " 00"), &frame),
                  0); /* empty: taken, but not to be sent on */
    KITH_CHECK(!kith__relay_payload_is_sendable(frame.datagram.payload.size, 0));
}

KITH_TEST(relay_frames_of_wrong_sizes_are_refused)
{
    static const struct {
        const char *hex;
        int err;
    } cases[] = {
        { "04 " KEY_HEX, KITH_ERR_TRUNCATED },
        { "05 " KEY_HEX " 00 00", KITH_ERR_TRUNCATED },
        { "06 " KEY_HEX, KITH_ERR_TRUNCATED },
        { "07 " KEY_HEX " 00 00", KITH_ERR_TRUNCATED },
        { "08 " KEY_HEX " 00", KITH_ERR_TOO_LARGE },
        { "08 197f", KITH_ERR_TRUNCATED },
        { "09 00000000000000", KITH_ERR_TRUNCATED },
        { "09 000000000000000000", KITH_ERR_TOO_LARGE },
        { "0a 000000000000000000", KITH_ERR_TOO_LARGE },
        { "0c 00000000000000", KITH_ERR_TRUNCATED },
        { "0c 000000000000000000", KITH_ERR_TOO_LARGE },
        { "0d", KITH_ERR_TRUNCATED },
        { "0b ff", KITH_ERR_PARSE },
        { "03 02 ffff", KITH_ERR_PARSE },
        { "03 05 61", KITH_ERR_TRUNCATED },
        { "00 000102030405060708090a0b0c0d0e", KITH_ERR_TRUNCATED },
        { "01 " KEY_HEX " 3f " KEY_HEX KEY_HEX, KITH_ERR_PARSE }, /* a signature of 63 bytes */
        { "01 " KEY_HEX " 41 " KEY_HEX KEY_HEX, KITH_ERR_TRUNCATED },
    };
    struct kith_relay_frame frame;

    for (size_t i = 0; i < KITH_COUNT(cases); i++)
        KITH_CHECK_EQ(decode_as_allowed(bytes_of(cases[i].hex), &frame), cases[i].err);
}

KITH_TEST(relay_frames_have_the_limits_of_the_specification)
{
    static uint8_t message[KITH_RELAY_BODY_MAX + 2];
    static uint8_t written[KITH_RELAY_FRAME_MAX + 64];
    struct kith_relay_frame frame;
    struct kith_writer w = kith__writer(written, sizeof written);

    message[0] = KITH_RELAY_CLIENT_DATAGRAM;
    KITH_CHECK_EQ(decode_as_allowed((struct kith_slice) { message, KITH_RELAY_BODY_MAX + 1 }, &frame), 0);
    KITH_CHECK_EQ(frame.datagram.payload.size, 65503); /* taken on receive, too large to be sent */
    KITH_CHECK_EQ(kith__relay_frame_encode(&frame, &w), KITH_ERR_INVALID);
    KITH_CHECK_EQ(decode_as_allowed((struct kith_slice) { message, KITH_RELAY_BODY_MAX + 2 }, &frame),
                  KITH_ERR_TOO_LARGE);

    frame = (struct kith_relay_frame) { .kind = KITH_RELAY_SERVER_DATAGRAM,
                                        .datagram = { .key = message, .payload = { message, 65502 } } };
    KITH_CHECK_EQ(kith__relay_frame_encode(&frame, &w), 0);
    KITH_CHECK_EQ(kith__writer_size(&w), KITH_RELAY_FRAME_MAX);
    frame.datagram.payload.size = 65503;
    w = kith__writer(written, sizeof written);
    KITH_CHECK_EQ(kith__relay_frame_encode(&frame, &w), KITH_ERR_INVALID);
    frame.datagram.payload.size = 65501;
    frame.datagram.segment_size = 1200;
    KITH_CHECK_EQ(kith__relay_frame_encode(&frame, &w), KITH_ERR_INVALID);
    frame.datagram.payload.size = 65500;
    KITH_CHECK_EQ(kith__relay_frame_encode(&frame, &w), 0);
    KITH_CHECK_EQ(written[0], KITH_RELAY_SERVER_BATCH);
    frame.datagram.payload.size = 0;
    KITH_CHECK_EQ(kith__relay_frame_encode(&frame, &w), KITH_ERR_INVALID);
    frame = (struct kith_relay_frame) { .kind = KITH_RELAY_HEALTH, .text = { message, KITH_RELAY_FRAME_MAX } };
    KITH_CHECK_EQ(kith__relay_frame_encode(&frame, &w), KITH_ERR_TOO_LARGE);
}

KITH_TEST(relay_control_frames_are_as_short_as_promised)
{
    for (uint8_t code = 0; code < 2; code++)
        KITH_CHECK(1 + strlen(kith__relay_health_text(code)) <= KITH_RELAY_CONTROL_FRAME_MAX);
    KITH_CHECK(kith__relay_health_text(KITH_RELAY_STATUS_RATE_LIMITED) == NULL);
    for (unsigned kind = KITH_RELAY_ENDPOINT_GONE; kind < KITH_RELAY_KINDS; kind++)
        KITH_CHECK(1 + kith__relay_frame_info(kind)->body_min <= KITH_RELAY_CONTROL_FRAME_MAX);
}
