#include "quic/wire/tparams.h"

#include "base/random.h"
#include "base/test.h"
#include "quic/wire/hex.h"

static const char *reason;

static int parse_hex(const char *hex, bool from_client, struct kith_tparams *out)
{
    uint8_t bytes[512], *exact;
    size_t size = kith__test_hex(hex, bytes, sizeof bytes);
    int code;

    reason = NULL;
    exact = kith__test_exact(bytes, size);
    code = kith__tparams_parse((struct kith_slice) { exact, size }, from_client, out, &reason);
    free(exact);
    return code;
}

static void check_refused(const char *hex, bool from_client, const char *why)
{
    struct kith_tparams params;

    KITH_CHECK_EQ(parse_hex(hex, from_client, &params), KITH_WIRE_TRANSPORT_PARAMETER_ERROR);
    KITH_CHECK_STR(reason, why);
}

/* The parameters in a real client's first flight (spec/01, 2.2). */
static const char real_client[] =
    "07 04 801312d0 09 02 4064 c0003d7f91120401 01 20 0f 08 5219ff48e92bbae0 20 04 8000ffff "
    "0e 01 05 06 04 801312d0 c931e0c124d050b6 01 64 03 02 45c0 c0000000ff04de1b 02 43e8 3e "
    "01 07 05 04 801312d0 01 04 80007530 04 08 ffffffffffffffff 08 02 4064";

KITH_TEST(tparams_of_a_real_client_are_read)
{
    struct kith_tparams params;

    KITH_CHECK_EQ(parse_hex(real_client, true, &params), 0);
    KITH_CHECK_EQ(params.initial_max_stream_data_bidi_local, 1250000);
    KITH_CHECK_EQ(params.initial_max_stream_data_bidi_remote, 1250000);
    KITH_CHECK_EQ(params.initial_max_stream_data_uni, 1250000);
    KITH_CHECK_EQ(params.initial_max_streams_bidi, 100);
    KITH_CHECK_EQ(params.initial_max_streams_uni, 100);
    KITH_CHECK_EQ(params.initial_max_data, KITH_VARINT_MAX);
    KITH_CHECK_EQ(params.nat_traversal_addresses, 32);
    KITH_CHECK_EQ(params.max_datagram_frame_size, 65535);
    KITH_CHECK_EQ(params.active_connection_id_limit, 5);
    KITH_CHECK_EQ(params.max_udp_payload_size, 1472);
    KITH_CHECK(params.has_min_ack_delay);
    KITH_CHECK_EQ(params.min_ack_delay_us, 1000);
    KITH_CHECK(params.has_initial_max_path_id);
    KITH_CHECK_EQ(params.initial_max_path_id, 7);
    KITH_CHECK_EQ(params.max_idle_timeout_ms, 30000);
    KITH_CHECK_EQ(params.ack_delay_exponent, 3);
    KITH_CHECK_EQ(params.max_ack_delay_ms, 25);
    KITH_CHECK_EQ(params.observed_address, KITH_OBSERVED_OFF);
    KITH_CHECK(params.has_initial_source_cid);
    KITH_CHECK_EQ(params.initial_source_cid.size, 8);
    KITH_CHECK_EQ(params.initial_source_cid.bytes[0], 0x52);
    KITH_CHECK(!params.has_original_destination_cid && !params.has_stateless_reset_token && !params.grease_quic_bit);
}

KITH_TEST(tparams_of_a_real_server_are_read)
{
    static const char hex[] =
        "3e0107 0f08 0102030405060708 0210 00112233445566778899aabbccddeeff c0003d7f91120401 01 20 "
        "0704801312d0 0e0105 0408ffffffffffffffff 08024064 0504801312d0 c0000000ff04de1b0243e8 "
        "010480007530 0014 6cf1429ea9ef9051afdeabc05616946c03859d48 0604801312d0 20048000ffff "
        "09024064 030245c0";
    struct kith_tparams params;

    KITH_CHECK_EQ(parse_hex(hex, false, &params), 0);
    KITH_CHECK(params.has_stateless_reset_token);
    KITH_CHECK_EQ(params.stateless_reset_token[15], 0xff);
    KITH_CHECK_EQ(params.original_destination_cid.size, 20);
    check_refused(hex, true, "illegal value");
}

KITH_TEST(tparams_of_a_relay_client_are_read)
{
    struct kith_tparams params;

    KITH_CHECK_EQ(parse_hex("0e0105 030245c0 c00000009f81a176 01 01 0104800088b8", true, &params), 0);
    KITH_CHECK_EQ(params.observed_address, KITH_OBSERVED_RECEIVE_ONLY);
    KITH_CHECK_EQ(params.max_idle_timeout_ms, 35000);
    KITH_CHECK(!params.has_initial_max_path_id);
}

KITH_TEST(tparams_cut_anywhere_never_crash)
{
    uint8_t bytes[512];
    size_t whole = kith__test_hex(real_client, bytes, sizeof bytes), good = 0;

    for (size_t size = 0; size <= whole; size++) {
        uint8_t *exact = kith__test_exact(bytes, size);
        struct kith_tparams params;

        if (kith__tparams_parse((struct kith_slice) { exact, size }, true, &params, &reason) == 0)
            good++;
        else
            KITH_CHECK_STR(reason, "malformed");
        free(exact);
    }
    KITH_CHECK_EQ(good, 16); /* between two parameters, and at both ends */
}

KITH_TEST(tparams_that_break_a_rule_are_refused)
{
    check_refused("3e 02 4007", true, "malformed"); /* not minimal */
    check_refused("01 01 05 01 01 05", true, "malformed");
    check_refused("01 02 05 00", true, "malformed"); /* does not fill the length */
    check_refused("01 00", true, "malformed");
    check_refused("c0003d7f91120401 02 0020", true, "malformed");
    check_refused("c0003d7f91120401 01 00", true, "illegal value");
    check_refused("c00000009f81a176 01 03", true, "illegal value");
    check_refused("0a 01 15", true, "illegal value");
    check_refused("0b 04 80004000", true, "illegal value");
    check_refused("0e 01 01", true, "illegal value");
    check_refused("03 02 44af", true, "illegal value"); /* 1199 */
    check_refused("08 08 d000000000000001", true, "illegal value");
    check_refused("09 08 d000000000000001", true, "illegal value");
    check_refused("0b 01 00 c0000000ff04de1b 02 43e8", true, "illegal value"); /* min_ack_delay > max_ack_delay */
    check_refused("c0000000ff04de1b 02 43e8 0b 01 00", true, "illegal value");
    check_refused("3e 08 c000000100000000", true, "malformed");
    check_refused("00 00", true, "illegal value");
    check_refused("10 00", true, "illegal value");
    check_refused("02 10 00112233445566778899aabbccddeeff", true, "illegal value");
    check_refused("02 0f 00112233445566778899aabbccddee", false, "malformed");
    check_refused("0f 15 000000000000000000000000000000000000000000", true, "malformed");
    check_refused("0c 01 00", true, "malformed");
    check_refused("6ab2 01 00", true, "malformed");
    check_refused("0d 00", false, "malformed");
}

KITH_TEST(tparams_at_the_edge_are_taken)
{
    struct kith_tparams params;

    KITH_CHECK_EQ(parse_hex("", true, &params), 0);
    KITH_CHECK_EQ(params.max_udp_payload_size, 65527);
    KITH_CHECK_EQ(params.active_connection_id_limit, 2);
    KITH_CHECK_EQ(parse_hex("0a 01 14", true, &params), 0);
    KITH_CHECK_EQ(parse_hex("0b 02 7fff", true, &params), 0);
    KITH_CHECK_EQ(parse_hex("03 02 44b0", true, &params), 0);
    KITH_CHECK_EQ(parse_hex("08 08 d000000000000000", true, &params), 0);
    KITH_CHECK_EQ(parse_hex("20 02 4005 c0000000ff04de1b 02 4005", true, &params),
                  0); /* these two need not be minimal */
    KITH_CHECK_EQ(params.max_datagram_frame_size, 5);
    KITH_CHECK_EQ(parse_hex("3e 08 c0000000ffffffff", true, &params), 0);
    KITH_CHECK_EQ(parse_hex("4001 4001 05", true, &params), 0); /* id and length need not be minimal */
    KITH_CHECK_EQ(params.max_idle_timeout_ms, 5);
    KITH_CHECK_EQ(parse_hex("0c 00 6ab2 00 0f 00", true, &params), 0);
    KITH_CHECK(params.disable_active_migration && params.grease_quic_bit && params.has_initial_source_cid);
    KITH_CHECK_EQ(parse_hex("4fff 03 010203 4fff 00", true, &params), 0); /* unknown ones are ignored */
    KITH_CHECK_EQ(parse_hex("3e 01 00", true, &params), 0);
    KITH_CHECK(params.has_initial_max_path_id);
}

KITH_TEST(tparams_are_written_shortest_without_defaults)
{
    struct kith_tparams params;
    uint8_t out[KITH_TPARAMS_SIZE_MAX], want[64];
    struct kith_writer w = kith__writer(out, sizeof out);
    size_t size;

    kith__tparams_defaults(&params);
    KITH_CHECK_EQ(kith__tparams_write(&w, &params, NULL), 0);
    KITH_CHECK_EQ(kith__writer_size(&w), 0);
    params.max_idle_timeout_ms = 30000;
    params.max_udp_payload_size = 1472;
    params.nat_traversal_addresses = 32;
    params.observed_address = KITH_OBSERVED_SEND_ONLY;
    params.has_initial_max_path_id = true;
    params.grease_quic_bit = true;
    params.has_initial_source_cid = true;
    KITH_CHECK_EQ(kith__tparams_write(&w, &params, NULL), 0);
    size = kith__test_hex(
        "01 04 80007530 03 02 45c0 0f 00 3e 01 00 6ab2 00 c00000009f81a176 01 00 c0003d7f91120401 01 20", want,
        sizeof want);
    KITH_CHECK_EQ(kith__writer_size(&w), size);
    KITH_CHECK_BYTES(out, want, size);
    for (size_t room = 0; room < size; room++) {
        w = kith__writer(out, room);
        KITH_CHECK_EQ(kith__tparams_write(&w, &params, NULL), KITH_ERR_TOO_LARGE);
    }
}

KITH_TEST(tparams_shuffled_mean_the_same)
{
    struct kith_tparams params, back;
    uint8_t out[2][KITH_TPARAMS_SIZE_MAX];
    size_t sizes[2];

    KITH_CHECK_EQ(parse_hex(real_client, true, &params), 0);
    for (unsigned seed = 0; seed < 50; seed++) {
        struct kith_prng prng;
        struct kith_random random;
        struct kith_writer w = kith__writer(out[seed % 2], sizeof out[0]);

        kith__prng_init(&prng, seed);
        random = kith__prng_source(&prng);
        KITH_CHECK_EQ(kith__tparams_write(&w, &params, &random), 0);
        sizes[seed % 2] = kith__writer_size(&w);
        KITH_CHECK_EQ(kith__tparams_parse((struct kith_slice) { out[seed % 2], sizes[seed % 2] }, true, &back, &reason),
                      0);
        KITH_CHECK_BYTES(&back, &params, sizeof params);
    }
    KITH_CHECK(sizes[0] != sizes[1] || memcmp(out[0], out[1], sizes[0]) != 0);
}

KITH_TEST(tparams_prove_the_connection_ids)
{
    struct kith_cid source = kith__cid((const uint8_t *)"abcdefgh", 8),
                    other = kith__cid((const uint8_t *)"abcdefgx", 8);
    struct kith_cid original = kith__cid((const uint8_t *)"01234567", 8);
    struct kith_tparams params;

    kith__tparams_defaults(&params);
    KITH_CHECK_EQ(kith__tparams_check_cids(&params, &source, NULL, NULL, &reason), KITH_WIRE_TRANSPORT_PARAMETER_ERROR);
    KITH_CHECK_STR(reason, "CID authentication failure");
    params.has_initial_source_cid = true;
    params.initial_source_cid = source;
    KITH_CHECK_EQ(kith__tparams_check_cids(&params, &source, NULL, NULL, &reason), 0);
    KITH_CHECK_NE(kith__tparams_check_cids(&params, &other, NULL, NULL, &reason), 0);
    KITH_CHECK_NE(kith__tparams_check_cids(&params, &source, &original, NULL, &reason), 0);
    params.has_original_destination_cid = true;
    params.original_destination_cid = original;
    KITH_CHECK_EQ(kith__tparams_check_cids(&params, &source, &original, NULL, &reason), 0);
    KITH_CHECK_NE(kith__tparams_check_cids(&params, &source, &other, NULL, &reason), 0);
    KITH_CHECK_NE(kith__tparams_check_cids(&params, &source, &original, &other, &reason), 0);
    params.has_retry_source_cid = true;
    params.retry_source_cid = other;
    KITH_CHECK_EQ(kith__tparams_check_cids(&params, &source, &original, &other, &reason), 0);
    KITH_CHECK_NE(kith__tparams_check_cids(&params, &source, &original, NULL, &reason), 0);
}

KITH_TEST(tparams_remember_limits_only)
{
    struct kith_tparams params, kept;

    KITH_CHECK_EQ(parse_hex(real_client, true, &params), 0);
    kept = kith__tparams_remembered(&params);
    KITH_CHECK_EQ(kept.initial_max_streams_bidi, 100);
    KITH_CHECK_EQ(kept.nat_traversal_addresses, 32);
    KITH_CHECK_EQ(kept.active_connection_id_limit, 5);
    KITH_CHECK(!kept.has_min_ack_delay && !kept.has_initial_max_path_id && !kept.has_initial_source_cid);
    KITH_CHECK_EQ(kith__tparams_check_remembered(&kept, &params, &reason), 0);
    KITH_CHECK_EQ(kith__tparams_early_tag(&kept), kith__tparams_early_tag(&params));
    params.max_idle_timeout_ms = 1; /* may change */
    KITH_CHECK_EQ(kith__tparams_check_remembered(&kept, &params, &reason), 0);
    params.initial_max_data--;
    KITH_CHECK_EQ(kith__tparams_check_remembered(&kept, &params, &reason), KITH_WIRE_PROTOCOL_VIOLATION);
    params.initial_max_data++;
    params.nat_traversal_addresses = 33; /* must be equal */
    KITH_CHECK_EQ(kith__tparams_check_remembered(&kept, &params, &reason), KITH_WIRE_PROTOCOL_VIOLATION);
    params.nat_traversal_addresses = 32;
    params.observed_address = KITH_OBSERVED_BOTH; /* the same */
    KITH_CHECK_EQ(kith__tparams_check_remembered(&kept, &params, &reason), KITH_WIRE_PROTOCOL_VIOLATION);
    params.observed_address = KITH_OBSERVED_OFF;
    params.initial_max_streams_uni = 200; /* more is fine */
    KITH_CHECK_EQ(kith__tparams_check_remembered(&kept, &params, &reason), 0);
    KITH_CHECK(kith__tparams_early_tag(&kept) != kith__tparams_early_tag(&params));
}
