/*
 * What ends a connection with several paths, and what does not: each row of spec/01, 4.9, broken by a peer of ours.
 *
 *   row of 4.9                                          where it is broken
 *   any frame of multipath when not negotiated          mp_rules_path_frames_without_agreement_are_violations
 *   such a frame outside 1-RTT                          mp_rules_path_frames_in_the_handshake_are_violations,
 *                                                       mp_rules_path_frames_in_early_data_are_violations
 *   PATH_ACK for a path never used, of an unsent number `rows` below; skipped numbers: mp_harm_ack_of_a_number_...,
 *                                                       mp_harm_ack_of_an_unsent_number_... (a path given up)
 *   new id above our limit, retire_prior_to too large   `rows`; a limit that grew: mp_rules_the_limit_that_grew_...
 *   more than five ids of a path (0x09)                 `rows`: path 0, an open one, an unused one;
 *                                                       the plain frame: mp_rules_plain_frames_mean_path_zero
 *   retiring what was not issued                        `rows`, likewise
 *   PATHS_BLOCKED above our limit                       `rows`
 *   PATH_CIDS_BLOCKED above it, or beyond what is issued  `rows`
 *   zero-length ids with multipath                      mp_rules_zero_length_connection_ids_...
 *   "not errors"                                        `rows` with code 0; packets on ids that nobody may use:
 *                                                       mp_rules_server_that_opens_a_path_is_not_heard
 *
 * Rows of 5.3 (NAT traversal) and 6 (address discovery): mp_rules_punch_test.c.
 */
#include "quic/conn/mp_rules.h"

enum { CLIENT = 1, SERVER = 2, BOTH = 3 }; /* who breaks the rule */

/* One frame of each kind, as legal as can be. */
static const char *const path_frames[] = {
    "3e 00 00 00 00 00", "3f 00 00 00 00 00 00 00 00",
    "7e75 01 00",        "7e76 00 05",
    "7e77 00 05",        "7e78 01 00 00 08 0102030405060708 00112233445566778899aabbccddeeff",
    "7e79 00 00",        "7e7a 08",
    "7e7b 00",           "7e7c 00 00",
};

KITH_TEST(mp_rules_path_frames_without_agreement_are_violations)
{
    static const uint8_t offers[][2] = { { 0, 0 }, { 8, 0 }, { 0, 8 } };

    for (size_t o = 0; o < KITH_COUNT(offers); o++)
        for (size_t i = 0; i < KITH_COUNT(path_frames); i++)
            for (int from = 0; from < 2; from++) {
                start(offers[o][0], offers[o][1]);
                inject_hex(from, KITH_LEVEL_DATA, path_frames[i]);
                kith__pair_flush(&pair_m);
                check_closed(path_frames[i], 1 - from, KITH_WIRE_PROTOCOL_VIOLATION, NULL);
                kith__pair_dispose(&pair_m);
            }
}

/* ---- Outside 1-RTT ---- */

static const char *early_frame;
static int early_from;
static enum kith_level early_level;

/** When the server has sent its first flight, the bad one speaks before anybody else. */
static bool break_early(struct kith_pair *pair, int sender, uint8_t *bytes, size_t *size)
{
    if (!rules_is_first_flight(pair, sender, bytes, *size))
        return true;
    inject_hex(early_from, early_level, early_frame);
    return false;
}

/** The other extensions' frames have no place there either. */
static const char *const other_frames[] = {
    "803d7f90 00 7f000001 1151",
    "803d7f91 01 00000000000000000000000000000001 a3c2",
    "803d7f92 01 7f000001 b8b9",
    "803d7f93 01 00000000000000000000000000000001 b845",
    "803d7f94 00",
    "809f81a6 00 c0000201 1151",
    "809f81a7 00 00000000000000000000000000000001 1151",
};

static void check_early(const char *hex, int from, enum kith_level level)
{
    struct kith_pair_config config = configured(8, 8);

    early_frame = hex;
    early_from = from;
    early_level = level;
    config.tap = break_early;
    KITH_CHECK_EQ(kith__pair_init(&pair_m, &config), 0);
    KITH_CHECK_EQ(kith__pair_dial(&pair_m, NULL), 0);
    kith__pair_run(&pair_m, KITH_NS_PER_S);
    KITH_CHECK_EQ(pair_m.user_flag, 1);
    check_closed(hex, 1 - from, KITH_WIRE_PROTOCOL_VIOLATION, "illegal frame type in handshake");
    kith__pair_dispose(&pair_m);
}

KITH_TEST(mp_rules_path_frames_in_the_handshake_are_violations)
{
    for (int from = 0; from < 2; from++)
        for (int level = KITH_LEVEL_INITIAL; level <= KITH_LEVEL_HANDSHAKE; level++) {
            for (size_t i = 0; i < KITH_COUNT(path_frames); i++)
                check_early(path_frames[i], from, (enum kith_level)level);
            for (size_t i = 0; i < KITH_COUNT(other_frames); i++)
                check_early(other_frames[i], from, (enum kith_level)level);
        }
}

/** The client's first 0-RTT packet is followed by one with the frame. */
static bool break_early_data(struct kith_pair *pair, int sender, uint8_t *bytes, size_t *size)
{
    uint8_t copy[RULES_DATAGRAM_MAX];

    if (sender != 0 || pair->user_flag != 0)
        return true;
    pair->user_flag = 1;
    memcpy(copy, bytes, *size);
    rules_give(pair, 1, copy, *size, pair->sides[0].outer.port);
    kith__pair_flush(pair); /* the server accepts */
    inject_hex(0, KITH_LEVEL_EARLY, early_frame);
    return false;
}

static void check_early_data(const char *hex)
{
    static uint8_t session[KITH_QUIC_SESSION_SIZE_MAX];
    struct kith_quic_connect_options options = { .early_data = true };
    size_t size;

    early_frame = hex;
    start(8, 8);
    KITH_CHECK_EQ(kith_quic_conn_take_session(pair_m.sides[0].conn, session, sizeof session, &size), 0);
    kith_quic_conn_free(pair_m.sides[0].conn);
    kith_quic_conn_free(pair_m.sides[1].conn);
    pair_m.sides[1].conn = NULL;
    options.session = (struct kith_slice) { session, size };
    pair_m.config.tap = break_early_data;
    KITH_CHECK_EQ(kith__pair_dial(&pair_m, &options), 0);
    kith__app_send(&pair_m, 0, true, 100);
    kith__pair_run(&pair_m, KITH_NS_PER_S);
    KITH_CHECK_EQ(pair_m.user_flag, 1);
    check_closed(hex, 1, KITH_WIRE_PROTOCOL_VIOLATION, "illegal frame type in 0-RTT");
    kith__pair_dispose(&pair_m);
}

KITH_TEST(mp_rules_path_frames_in_early_data_are_violations)
{
    for (size_t i = 0; i < KITH_COUNT(path_frames); i++)
        check_early_data(path_frames[i]);
    for (size_t i = 0; i < KITH_COUNT(other_frames); i++)
        check_early_data(other_frames[i]);
}

/* ---- Rows ---- */

/** A frame that ends the connection, or not. Both sides allow path ids 0 to 7; path 1 is open if `opened`. */
struct row {
    const char *what;
    uint8_t from; /* CLIENT, SERVER, BOTH */
    bool opened;
    uint64_t code; /* 0: nothing happens */
    const char *hex;
    const char *reason; /* NULL: any */
};

#define ID_OF(path, sequence, prior, byte)                                                                             \
    "7e78 " path " " sequence " " prior " 08 " byte "02030405060708 00112233445566778899aabbccddee" byte

static const struct row rows[] = {
    { "PATH_ACK for a path never used", BOTH, false, 0x0a, "3e 03 00 00 00 00",
      "received PATH_ACK with path ID never used" },
    { "PATH_ACK_ECN for a path never used", BOTH, false, 0x0a, "3f 01 00 00 00 00 00 00 00",
      "received PATH_ACK with path ID never used" },
    { "PATH_ACK for a path above the limit", BOTH, false, 0x0a, "3e 08 00 00 00 00",
      "received PATH_ACK with path ID never used" },
    { "PATH_ACK of a packet that was not sent", BOTH, false, 0x0a, "3e 00 7fff 00 00 00", "unsent packet acked" },
    { "PATH_ACK of a packet of another path", BOTH, true, 0x0a, "3e 01 7fff 00 00 00", "unsent packet acked" },
    { "PATH_ACK below zero", BOTH, false, 0x07, "3e 00 01 00 00 05", NULL },
    { "new id for a path above the limit", BOTH, false, 0x0a, ID_OF("08", "00", "00", "41"),
      "PATH_NEW_CONNECTION_ID contains path_id exceeding current max" },
    { "new id for the largest path id", BOTH, false, 0x0a, ID_OF("c0000000ffffffff", "00", "00", "41"),
      "PATH_NEW_CONNECTION_ID contains path_id exceeding current max" },
    { "retire_prior_to above the sequence", BOTH, false, 0x0a, ID_OF("01", "06", "07", "41"), NULL },
    { "a sixth id for a path", BOTH, true, 0x09, ID_OF("01", "05", "00", "41"), NULL },
    { "a sixth id for path 0", BOTH, false, 0x09, ID_OF("00", "05", "00", "41"), NULL },
    { "a sixth id for an unused path", BOTH, false, 0x09,
      ID_OF("06", "02", "00", "41") ID_OF("06", "03", "00", "42") ID_OF("06", "04", "00", "43")
          ID_OF("06", "05", "00", "44"),
      NULL },
    { "an id without bytes", BOTH, false, 0x07, "7e78 01 05 00 00 00112233445566778899aabbccddeeff", NULL },
    { "an id of 21 bytes", BOTH, false, 0x07,
      "7e78 01 05 00 15 000000000000000000000000000000000000000000 00112233445566778899aabbccddeeff", NULL },
    { "retiring what was not issued", BOTH, true, 0x0a, "7e79 01 05", NULL },
    { "retiring what was not issued on path 0", BOTH, false, 0x0a, "7e79 00 3f", NULL },
    { "retiring what was not issued on an unused path", BOTH, false, 0x0a, "7e79 06 02", NULL },
    { "retiring above the limit", BOTH, false, 0x0a, "7e79 08 00", NULL },
    { "PATHS_BLOCKED above our limit", BOTH, false, 0x0a, "7e7b 08", "PATHS_BLOCKED above our limit" },
    { "PATHS_BLOCKED, the largest value", BOTH, false, 0x0a, "7e7b c0000000ffffffff", NULL },
    { "PATH_CIDS_BLOCKED above our limit", BOTH, false, 0x0a, "7e7c 08 00", "PATH_CIDS_BLOCKED above our limit" },
    { "PATH_CIDS_BLOCKED beyond what was issued", BOTH, true, 0x0a, "7e7c 01 06",
      "PATH_CIDS_BLOCKED beyond the issued connection ids" },
    { "a path id of 2^32", BOTH, false, 0x07, "7e7a c000000100000000", NULL },
    { "a status for path id 2^32", BOTH, false, 0x07, "7e76 c000000100000000 01", NULL },
    { "a frame type behind the last", BOTH, false, 0x07, "7e7d", "invalid frame ID" },
    { "a report of an address that was not agreed on", BOTH, false, 0x0a, "809f81a6 00 c0000201 1151",
      "received OBSERVED_ADDRESS frame when not negotiated" },
    /* Not errors. */
    { "a status of a path never used", BOTH, false, 0, "7e76 05 01", NULL },
    { "a status of a path above the limit", BOTH, false, 0, "7e77 3f 01", NULL },
    { "an older status", BOTH, true, 0, "7e76 01 03 7e77 01 02", NULL },
    { "an abandon for a path above the limit", BOTH, false, 0, "7e75 3f 00", NULL },
    { "an abandon for a path never used", BOTH, false, 0, "7e75 05 3e", NULL },
    { "an abandon, repeated", BOTH, true, 0, "7e75 01 3e 7e75 01 7e76", NULL },
    { "a lower MAX_PATH_ID", BOTH, false, 0, "7e7a 00", NULL },
    { "the same MAX_PATH_ID", BOTH, false, 0, "7e7a 07", NULL },
    { "the largest MAX_PATH_ID", BOTH, false, 0, "7e7a c0000000ffffffff", NULL },
    { "PATHS_BLOCKED at our limit", BOTH, false, 0, "7e7b 07", NULL },
    { "a fifth id for an unused path", BOTH, false, 0,
      ID_OF("06", "02", "00", "41") ID_OF("06", "03", "00", "42") ID_OF("06", "04", "00", "43"), NULL },
    { "PATH_CIDS_BLOCKED behind what was issued", BOTH, true, 0, "7e7c 01 05", NULL },
    { "PATH_CIDS_BLOCKED below that", BOTH, false, 0, "7e7c 07 00", NULL },
    { "plain ACK", BOTH, false, 0, "02 00 00 00 00", NULL },
    { "PATH_ACK of a path, on another one", BOTH, true, 0, "3e 01 00 00 00 00", NULL },
    { "retiring an id of an unused path", BOTH, false, 0, "7e79 05 00", NULL },
};

static void check_row(const struct row *row, int from)
{
    start(8, 8);
    if (row->opened)
        KITH_CHECK_EQ(open_path(), 1);
    inject_hex(from, KITH_LEVEL_DATA, row->hex);
    kith__pair_flush(&pair_m);
    if (row->code == 0) {
        check_works(row->what);
    } else {
        check_closed(row->what, 1 - from, row->code, row->reason);
        kith__pair_run(&pair_m, KITH_NS_PER_S);
        KITH_CHECK(pair_m.sides[from].closed.by_peer);
        KITH_CHECK_EQ(pair_m.sides[from].closed.code, row->code);
    }
    kith__pair_dispose(&pair_m);
}

KITH_TEST(mp_rules_frames_get_the_wire_error_of_the_specification_or_none)
{
    for (size_t i = 0; i < KITH_COUNT(rows); i++)
        for (int from = 0; from < 2; from++)
            if ((rows[i].from & (from == 0 ? CLIENT : SERVER)) != 0)
                check_row(&rows[i], from);
}

KITH_TEST(mp_rules_zero_length_connection_ids_and_several_paths_exclude_each_other)
{
    struct kith_pair_config config = configured(8, 8);

    KITH_CHECK_EQ(kith__pair_init(&pair_m, &config), 0);
    KITH_CHECK_EQ(kith__pair_dial(&pair_m, NULL), 0);
    while (pair_m.sides[1].conn == NULL)
        KITH_CHECK(kith__pair_step(&pair_m, pair_m.now_ns + KITH_NS_PER_S));
    /* As if the client had chosen an empty id: the server has no other one to send to. */
    kith__cid_theirs_set_first(&pair_m.sides[1].conn->paths[0]->cids_theirs, &(struct kith_cid) { .size = 0 });
    kith__pair_run(&pair_m, KITH_NS_PER_S);
    check_closed("empty id", 1, KITH_WIRE_PROTOCOL_VIOLATION, "multipath must not use zero-length CIDs");
    kith__pair_dispose(&pair_m);
}
