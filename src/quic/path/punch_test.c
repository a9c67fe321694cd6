/* Addresses of both sides and their frames; rounds are in punch_round_test.c. */
#include "quic/path/punch.h"

#include "base/test.h"

#include <stdlib.h>
#include <string.h>

static struct kith_sockaddr address(const char *text)
{
    struct kith_sockaddr out;

    KITH_CHECK_EQ(kith_sockaddr_parse(text, &out), 0);
    return out;
}

/** 10.0.0.`host`:4000. */
static struct kith_sockaddr numbered(unsigned host)
{
    return (struct kith_sockaddr) { .ip = { 10, 0, (uint8_t)(host >> 8), (uint8_t)host },
                                    .port = 4000,
                                    .family = KITH_FAMILY_V4 };
}

static struct kith_punch started(bool is_server, uint8_t remote_max)
{
    struct kith_punch punch;

    kith__punch_init(&punch, is_server, 32, kith_mem_default());
    kith__punch_start(&punch, remote_max);
    return punch;
}

static struct kith_punch_frame sent(struct kith_punch *punch, uint8_t kind, uint64_t value)
{
    struct kith_punch_frame frame = { 0 };

    KITH_CHECK(kith__punch_next(punch, &frame));
    KITH_CHECK_EQ(frame.kind, kind);
    KITH_CHECK_EQ(frame.value, value);
    kith__punch_on_sent(punch, &frame);
    kith__punch_check_invariants(punch);
    return frame;
}

static void check_quiet(const struct kith_punch *punch)
{
    struct kith_punch_frame frame;

    KITH_CHECK(!kith__punch_next(punch, &frame));
    kith__punch_check_invariants(punch);
}

static int add(struct kith_punch *punch, unsigned host)
{
    struct kith_sockaddr ours = numbered(host);

    return kith__punch_add_ours(punch, &ours);
}

static int take(struct kith_punch *punch, unsigned host)
{
    struct kith_sockaddr ours = numbered(host);

    return kith__punch_remove_ours(punch, &ours);
}

static struct kith_punch_change hear(struct kith_punch *punch, uint64_t sequence, unsigned host)
{
    struct kith_sockaddr theirs = numbered(host);
    struct kith_punch_change change;

    kith__punch_on_add_address(punch, sequence, &theirs, &change);
    kith__punch_check_invariants(punch);
    return change;
}

/* ---- Who may send what (spec/01, 5.3) ---- */

KITH_TEST(punch_frames_need_agreement_and_the_right_side)
{
    static const struct {
        bool is_server, is_on;
        uint64_t type;
        const char *reason; /* NULL: fine */
    } cases[] = {
        { false, true, KITH_FRAME_ADD_ADDRESS_V4, NULL },
        { false, true, KITH_FRAME_ADD_ADDRESS_V6, NULL },
        { false, true, KITH_FRAME_REMOVE_ADDRESS, NULL },
        { true, true, KITH_FRAME_REACH_OUT_V4, NULL },
        { true, true, KITH_FRAME_REACH_OUT_V6, NULL },
        { true, true, KITH_FRAME_ADD_ADDRESS_V6,
          "Nat traversal(ADD_ADDRESS): Not allowed for this endpoint's connection side" },
        { true, true, KITH_FRAME_REMOVE_ADDRESS,
          "Nat traversal(REMOVE_ADDRESS): Not allowed for this endpoint's connection side" },
        { false, true, KITH_FRAME_REACH_OUT_V6,
          "Nat traversal(REACH_OUT): Not allowed for this endpoint's connection side" },
        { false, false, KITH_FRAME_ADD_ADDRESS_V4,
          "Nat traversal(ADD_ADDRESS): n0's nat traversal was not negotiated" },
        { false, false, KITH_FRAME_REACH_OUT_V4, "Nat traversal(REACH_OUT): n0's nat traversal was not negotiated" },
        { true, false, KITH_FRAME_REMOVE_ADDRESS,
          "Nat traversal(REMOVE_ADDRESS): n0's nat traversal was not negotiated" },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct kith_punch punch;
        const char *reason = NULL;

        kith__punch_init(&punch, cases[i].is_server, 32, kith_mem_default());
        if (cases[i].is_on)
            kith__punch_start(&punch, 32);
        KITH_CHECK_EQ(kith__punch_check(&punch, cases[i].type, &reason),
                      cases[i].reason == NULL ? 0 : KITH_WIRE_PROTOCOL_VIOLATION);
        if (cases[i].reason != NULL)
            KITH_CHECK_STR(reason, cases[i].reason);
    }
}

/* ---- Server: advertising ---- */

KITH_TEST(punch_server_advertises_addresses_with_growing_sequences)
{
    struct kith_punch punch;

    kith__punch_init(&punch, true, 32, kith_mem_default());
    KITH_CHECK_EQ(add(&punch, 1), 0);
    KITH_CHECK_EQ(add(&punch, 2), 0);
    KITH_CHECK_EQ(add(&punch, 1), KITH_ERR_EXISTS);
    check_quiet(&punch); /* not agreed on yet */
    kith__punch_start(&punch, 32);
    (void)sent(&punch, KITH_KIND_ADD_ADDRESS, 0);
    (void)sent(&punch, KITH_KIND_ADD_ADDRESS, 1);
    KITH_CHECK_EQ(add(&punch, 3), 0);
    (void)sent(&punch, KITH_KIND_ADD_ADDRESS, 2);
    check_quiet(&punch);
    kith__punch_dispose(&punch);
}

KITH_TEST(punch_addresses_that_nobody_can_send_to_are_refused)
{
    struct kith_punch punch = started(true, 32);
    static const char *const bad[] = { "0.0.0.0:1", "255.255.255.255:1", "224.0.0.1:1", "239.1.2.3:1", "1.2.3.4:0",
                                       "[::]:1",    "[ff02::1]:1" };
    struct kith_sockaddr none = { .port = 1 };

    for (size_t i = 0; i < KITH_COUNT(bad); i++) {
        struct kith_sockaddr ours = address(bad[i]);

        KITH_CHECK_EQ(kith__punch_add_ours(&punch, &ours), KITH_ERR_INVALID);
    }
    KITH_CHECK_EQ(kith__punch_add_ours(&punch, &none), KITH_ERR_INVALID);
    KITH_CHECK(punch.ours == NULL);
}

KITH_TEST(punch_lost_advertisement_goes_out_again_until_it_is_acknowledged)
{
    struct kith_punch punch = started(true, 32);
    struct kith_punch_frame frame;

    KITH_CHECK_EQ(add(&punch, 1), 0);
    frame = sent(&punch, KITH_KIND_ADD_ADDRESS, 0);
    kith__punch_on_lost(&punch, &frame);
    frame = sent(&punch, KITH_KIND_ADD_ADDRESS, 0);
    kith__punch_on_acked(&punch, &frame);
    kith__punch_on_lost(&punch, &frame);
    check_quiet(&punch);
    kith__punch_dispose(&punch);
}

KITH_TEST(punch_removed_address_is_told_only_if_it_was_advertised)
{
    struct kith_punch punch = started(true, 32);
    struct kith_punch_frame added, removed;

    KITH_CHECK_EQ(add(&punch, 1), 0);
    KITH_CHECK_EQ(take(&punch, 1), 0);
    check_quiet(&punch);
    KITH_CHECK(punch.ours == NULL);
    KITH_CHECK_EQ(take(&punch, 1), KITH_ERR_NOT_FOUND);
    KITH_CHECK_EQ(add(&punch, 1), 0);
    added = sent(&punch, KITH_KIND_ADD_ADDRESS, 1); /* sequences are never used twice */
    kith__punch_on_lost(&punch, &added);            /* but the peer may have it all the same */
    KITH_CHECK_EQ(take(&punch, 1), 0);
    removed = sent(&punch, KITH_KIND_REMOVE_ADDRESS, 1);
    kith__punch_on_lost(&punch, &added); /* moot */
    check_quiet(&punch);
    kith__punch_on_lost(&punch, &removed);
    KITH_CHECK_EQ(add(&punch, 1), 0); /* it is back, as another one */
    removed = sent(&punch, KITH_KIND_REMOVE_ADDRESS, 1);
    (void)sent(&punch, KITH_KIND_ADD_ADDRESS, 2);
    kith__punch_on_acked(&punch, &removed);
    KITH_CHECK_EQ(punch.ours_count, 1);
    check_quiet(&punch);
    kith__punch_dispose(&punch);
}

KITH_TEST(punch_server_advertises_no_more_than_the_client_takes)
{
    struct kith_punch punch = started(true, 2);
    struct kith_punch_frame removed;

    for (unsigned host = 0; host < 4; host++)
        KITH_CHECK_EQ(add(&punch, host), 0);
    (void)sent(&punch, KITH_KIND_ADD_ADDRESS, 0);
    (void)sent(&punch, KITH_KIND_ADD_ADDRESS, 1);
    check_quiet(&punch);
    KITH_CHECK_EQ(take(&punch, 3), 0); /* waited in vain */
    check_quiet(&punch);
    KITH_CHECK_EQ(take(&punch, 0), 0);
    removed = sent(&punch, KITH_KIND_REMOVE_ADDRESS, 0);
    check_quiet(&punch); /* the client has its place only once it knows */
    kith__punch_on_acked(&punch, &removed);
    (void)sent(&punch, KITH_KIND_ADD_ADDRESS, 2);
    check_quiet(&punch);
    kith__punch_dispose(&punch);
}

KITH_TEST(punch_addresses_that_waited_for_the_agreement_are_advertised_within_the_limit)
{
    struct kith_punch punch;

    kith__punch_init(&punch, true, 32, kith_mem_default());
    for (unsigned host = 0; host < 3; host++)
        KITH_CHECK_EQ(add(&punch, host), 0);
    kith__punch_start(&punch, 2);
    (void)sent(&punch, KITH_KIND_ADD_ADDRESS, 0);
    (void)sent(&punch, KITH_KIND_ADD_ADDRESS, 1);
    check_quiet(&punch);
    kith__punch_dispose(&punch);
}

KITH_TEST(punch_our_addresses_and_open_removals_are_bounded)
{
    struct kith_punch punch = started(true, 255);
    unsigned host = 0;

    for (; host < KITH_PUNCH_ADDRESSES_MAX; host++) {
        KITH_CHECK_EQ(add(&punch, host), 0);
        (void)sent(&punch, KITH_KIND_ADD_ADDRESS, host);
    }
    KITH_CHECK_EQ(add(&punch, host), KITH_ERR_LIMIT);
    for (host = 0; host < KITH_PUNCH_REMOVED_MAX; host++)
        KITH_CHECK_EQ(take(&punch, host), 0);
    KITH_CHECK_EQ(add(&punch, 100), 0);
    KITH_CHECK_EQ(punch.ours_count, KITH_PUNCH_REMOVED_MAX + 1);
    for (host = 0; host < KITH_PUNCH_REMOVED_MAX; host++)
        (void)sent(&punch, KITH_KIND_REMOVE_ADDRESS, host);
    (void)sent(&punch, KITH_KIND_ADD_ADDRESS, KITH_PUNCH_ADDRESSES_MAX);
    KITH_CHECK_EQ(take(&punch, 100), KITH_ERR_LIMIT);
    kith__punch_dispose(&punch);
}

/* ---- Client: storing ---- */

KITH_TEST(punch_client_stores_what_the_server_advertises)
{
    struct kith_punch punch = started(false, 32);
    struct kith_punch_change change = hear(&punch, 0, 1);
    struct kith_sockaddr first = numbered(1), second = numbered(2);

    KITH_CHECK(change.has_added && !change.has_removed && kith_sockaddr_equal(&change.added, &first));
    change = hear(&punch, 0, 1); /* a copy */
    KITH_CHECK(!change.has_added && !change.has_removed);
    change = hear(&punch, 0, 2); /* the same sequence with another address */
    KITH_CHECK(change.has_added && change.has_removed && kith_sockaddr_equal(&change.removed, &first) &&
               kith_sockaddr_equal(&change.added, &second));
    KITH_CHECK_EQ(punch.theirs_count, 1);
    KITH_CHECK(kith_sockaddr_equal(kith__punch_theirs_at(&punch, 0), &second));
    kith__punch_on_remove_address(&punch, 7, &change);
    KITH_CHECK(!change.has_removed && punch.theirs_count == 1);
    kith__punch_on_remove_address(&punch, 0, &change);
    KITH_CHECK(change.has_removed && !change.has_added && kith_sockaddr_equal(&change.removed, &second));
    KITH_CHECK(punch.theirs == NULL);
    KITH_CHECK_EQ(punch.ignored, 2);
}

KITH_TEST(punch_address_that_is_advertised_twice_is_one_candidate)
{
    struct kith_punch punch = started(false, 32);
    struct kith_punch_change change = hear(&punch, 0, 1);

    change = hear(&punch, 1, 1);
    KITH_CHECK(!change.has_added);
    kith__punch_on_remove_address(&punch, 0, &change);
    KITH_CHECK(!change.has_removed);
    kith__punch_on_remove_address(&punch, 1, &change);
    KITH_CHECK(change.has_removed);
}

/** Checks the next news: host > 0: added, < 0: gone, 0: none. */
static void check_news(struct kith_punch *punch, int host)
{
    struct kith_punch_news news = { 0 };
    struct kith_sockaddr wanted = numbered((unsigned)abs(host));

    KITH_CHECK_EQ(kith__punch_has_news(punch), host != 0);
    KITH_CHECK_EQ(kith__punch_next_news(punch, &news), host != 0);
    if (host != 0)
        KITH_CHECK(news.is_added == (host > 0) && kith_sockaddr_equal(&news.address, &wanted));
    kith__punch_check_invariants(punch);
}

KITH_TEST(punch_each_address_of_the_server_is_news_once_when_it_comes_and_once_when_it_goes)
{
    struct kith_punch punch = started(false, 32);
    struct kith_punch_change change;

    check_news(&punch, 0);
    hear(&punch, 0, 1);
    hear(&punch, 1, 2);
    hear(&punch, 2, 2); /* the same once more */
    check_news(&punch, 1);
    check_news(&punch, 2);
    check_news(&punch, 0);
    hear(&punch, 3, 2);
    check_news(&punch, 0);
    hear(&punch, 0, 3); /* replaces */
    check_news(&punch, -1);
    check_news(&punch, 3);
    kith__punch_on_remove_address(&punch, 1, &change);
    kith__punch_on_remove_address(&punch, 2, &change);
    check_news(&punch, 0);
    kith__punch_on_remove_address(&punch, 3, &change);
    kith__punch_on_remove_address(&punch, 0, &change);
    check_news(&punch, -2);
    check_news(&punch, -3);
    check_news(&punch, 0);
    KITH_CHECK(punch.theirs == NULL);
}

KITH_TEST(punch_what_came_and_went_or_went_and_came_unseen_is_no_news)
{
    struct kith_punch punch = started(false, 32);
    struct kith_punch_change change;

    for (unsigned i = 0; i < 1000; i++) {
        hear(&punch, i, i % 200);
        kith__punch_on_remove_address(&punch, i, &change);
        kith__punch_check_invariants(&punch);
    }
    check_news(&punch, 0);
    KITH_CHECK(punch.theirs == NULL);
    for (unsigned i = 0; i < 32; i++) {
        hear(&punch, 1000 + i, 1 + i);
        check_news(&punch, (int)i + 1);
    }
    for (unsigned i = 0; i < 32; i++)
        kith__punch_on_remove_address(&punch, 1000 + i, &change);
    KITH_CHECK_EQ(punch.gone_count, 32);
    for (unsigned i = 0; i < 32; i++) { /* others in their place */
        hear(&punch, 2000 + i, 101 + i);
        kith__punch_check_invariants(&punch);
    }
    for (unsigned i = 0; i < 32; i++) /* and back again */
        hear(&punch, 2000 + i, 1 + i);
    check_news(&punch, 0);
    KITH_CHECK_EQ(punch.theirs_count, 32);
    kith__punch_dispose(&punch);
}

KITH_TEST(punch_client_drops_the_addresses_above_its_limit)
{
    struct kith_punch punch = started(false, 32);
    struct kith_punch_change change;

    for (unsigned i = 0; i < 32; i++)
        KITH_CHECK(hear(&punch, i, i).has_added);
    KITH_CHECK(!hear(&punch, 32, 32).has_added); /* no error: spec/01, 5.3 */
    KITH_CHECK_EQ(punch.dropped, 1);
    KITH_CHECK(hear(&punch, 5, 99).has_added); /* a replacement has its place */
    kith__punch_on_remove_address(&punch, 0, &change);
    KITH_CHECK(hear(&punch, 33, 33).has_added);
    kith__punch_dispose(&punch);
}

KITH_TEST(punch_advertised_address_that_is_no_host_is_dropped)
{
    struct kith_punch punch = started(false, 32);
    struct kith_sockaddr theirs = address("224.0.0.251:5353");
    struct kith_punch_change change;

    kith__punch_on_add_address(&punch, 0, &theirs, &change);
    KITH_CHECK(!change.has_added && punch.theirs_count == 0 && punch.dropped == 1);
}

/* ---- Frames ---- */

KITH_TEST(punch_frames_are_written_as_the_real_peer_writes_them)
{
    static const struct {
        uint8_t kind;
        uint64_t value;
        const char *address;
        uint8_t bytes[24];
        size_t size;
    } cases[] = {
        { KITH_KIND_ADD_ADDRESS, 0, "127.0.0.1:4433", { 0x80, 0x3d, 0x7f, 0x90, 0, 127, 0, 0, 1, 0x11, 0x51 }, 11 },
        { KITH_KIND_ADD_ADDRESS,
          1,
          "[::1]:41922",
          { 0x80, 0x3d, 0x7f, 0x91, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xa3, 0xc2 },
          23 },
        { KITH_KIND_REACH_OUT, 1, "127.0.0.1:47289", { 0x80, 0x3d, 0x7f, 0x92, 1, 127, 0, 0, 1, 0xb8, 0xb9 }, 11 },
        { KITH_KIND_REACH_OUT,
          1,
          "[::1]:47173",
          { 0x80, 0x3d, 0x7f, 0x93, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xb8, 0x45 },
          23 },
        { KITH_KIND_REMOVE_ADDRESS, 0, "127.0.0.1:1", { 0x80, 0x3d, 0x7f, 0x94, 0 }, 5 },
        { KITH_KIND_ADD_ADDRESS, 0, "127.0.0.1:5545", { 0x80, 0x3d, 0x7f, 0x90, 0, 127, 0, 0, 1, 0x15, 0xa9 }, 11 },
        { KITH_KIND_REACH_OUT, 1, "127.0.0.2:39416", { 0x80, 0x3d, 0x7f, 0x92, 1, 127, 0, 0, 2, 0x99, 0xf8 }, 11 },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        uint8_t bytes[32];
        struct kith_writer w = kith__writer(bytes, sizeof bytes);
        struct kith_punch_frame frame = { .kind = cases[i].kind,
                                          .value = cases[i].value,
                                          .address = address(cases[i].address) };
        struct kith_frame wire = kith__punch_wire(&frame);

        KITH_CHECK_EQ(kith__frame_write(&w, &wire), 0);
        KITH_CHECK_EQ(kith__writer_size(&w), cases[i].size);
        KITH_CHECK_BYTES(bytes, cases[i].bytes, cases[i].size);
    }
}

/* ---- Memory ---- */

/** Adds, hears and removes addresses, whatever fails; returns the first error of our own. */
static int busy(struct kith_punch *punch)
{
    struct kith_punch_change change;
    int first = 0, err;

    for (unsigned host = 0; host < 10; host++) {
        if ((err = add(punch, host)) != 0 && first == 0)
            first = err;
        if (!punch->is_server)
            (void)hear(punch, host, host);
        kith__punch_check_invariants(punch);
    }
    for (unsigned host = 0; host < 10; host += 2) {
        err = take(punch, host);
        KITH_CHECK(err == 0 || err == KITH_ERR_NOT_FOUND);
        if (!punch->is_server)
            kith__punch_on_remove_address(punch, host, &change);
        kith__punch_check_invariants(punch);
    }
    return first;
}

KITH_TEST(punch_lists_survive_any_failing_allocation)
{
    for (int is_server = 0; is_server < 2; is_server++)
        for (uint64_t fail_at = 1;; fail_at++) {
            struct kith_test_mem memory;
            struct kith_punch punch;
            int err;

            kith__test_mem_init(&memory, fail_at);
            kith__punch_init(&punch, is_server != 0, 32, &memory.mem);
            kith__punch_start(&punch, 32);
            err = busy(&punch);
            KITH_CHECK(err == 0 || err == KITH_ERR_NOMEM);
            kith__punch_dispose(&punch);
            kith__punch_dispose(&punch);
            KITH_CHECK_EQ(memory.live, 0);
            if (memory.calls < fail_at) {
                KITH_CHECK_EQ(err, 0);
                break;
            }
        }
}
