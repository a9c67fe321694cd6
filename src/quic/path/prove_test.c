#include "quic/path/prove.h"

#include "base/test.h"

#define MS(n) ((uint64_t)(n)*KITH_NS_PER_MS)

KITH_TEST(full_answers_are_few_and_come_back_with_time)
{
    struct kith_full_answers answers;
    uint64_t now_ns = 5 * KITH_NS_PER_S;

    kith__full_answers_init(&answers, now_ns);
    for (int i = 0; i < KITH_FULL_ANSWERS_MAX; i++)
        KITH_CHECK(kith__full_answers_take(&answers, now_ns));
    KITH_CHECK(!kith__full_answers_take(&answers, now_ns));
    for (int i = 0; i < 10; i++) { /* asking often does not change how many there are */
        now_ns += KITH_NS_PER_S / KITH_FULL_ANSWERS_PER_S / 10;
        KITH_CHECK_EQ(kith__full_answers_take(&answers, now_ns), i == 9);
    }
    now_ns += 1000 * KITH_NS_PER_S;
    for (int i = 0; i < KITH_FULL_ANSWERS_MAX; i++)
        KITH_CHECK(kith__full_answers_take(&answers, now_ns));
    KITH_CHECK(!kith__full_answers_take(&answers, now_ns));
}

KITH_TEST(prove_repeats_with_backoff_and_accepts_any_value_that_is_out)
{
    static const uint64_t expected_ms[] = { 300, 600, 1200, 2200 };
    struct kith_prove prove;
    uint64_t now_ns = MS(5), rtt_ns;
    bool is_padded;

    kith__prove_start(&prove, now_ns, KITH_NEVER);
    for (uint8_t n = 0; n < KITH_COUNT(expected_ms); n++) {
        uint8_t value[KITH_CHALLENGE_SIZE] = { n };

        KITH_CHECK(kith__prove_is_due(&prove, now_ns));
        kith__prove_on_sent(&prove, value, n == 1, MS(300), MS(1000), now_ns);
        KITH_CHECK_EQ(kith__prove_deadline(&prove), now_ns + MS(expected_ms[n]));
        now_ns = kith__prove_deadline(&prove);
    }
    KITH_CHECK(!kith__prove_on_response(&prove, (uint8_t[8]) { 9 }, now_ns, &rtt_ns, &is_padded));
    KITH_CHECK(kith__prove_on_response(&prove, (uint8_t[8]) { 1 }, MS(355), &rtt_ns, &is_padded));
    KITH_CHECK(is_padded && rtt_ns == MS(50));
    KITH_CHECK_EQ(kith__prove_deadline(&prove), KITH_NEVER);
    KITH_CHECK(!kith__prove_on_response(&prove, (uint8_t[8]) { 1 }, MS(355), &rtt_ns, &is_padded)); /* once */
}

KITH_TEST(prove_gives_up_once_and_keeps_the_newest_values)
{
    struct kith_prove prove = { .is_active = false };
    uint64_t rtt_ns;
    bool is_padded;

    KITH_CHECK(!kith__prove_has_failed(&prove, MS(9999)) && kith__prove_deadline(&prove) == KITH_NEVER);
    kith__prove_start(&prove, 0, MS(1000));
    for (uint8_t n = 0; n <= KITH_CHALLENGES_OUT_MAX; n++)
        kith__prove_on_sent(&prove, (uint8_t[8]) { n }, true, MS(10), MS(1000), n);
    KITH_CHECK(!kith__prove_on_response(&prove, (uint8_t[8]) { 0 }, MS(1), &rtt_ns, &is_padded)); /* the oldest went */
    KITH_CHECK(!kith__prove_has_failed(&prove, MS(999)));
    KITH_CHECK(kith__prove_has_failed(&prove, MS(1000)));
    KITH_CHECK(!kith__prove_has_failed(&prove, MS(1000)));
    KITH_CHECK(!kith__prove_on_response(&prove, (uint8_t[8]) { 3 }, MS(1001), &rtt_ns, &is_padded));
}

KITH_TEST(prove_goes_faster_once_the_round_trip_is_known)
{
    struct kith_prove prove;

    kith__prove_start(&prove, 0, KITH_NEVER);
    kith__prove_on_sent(&prove, (uint8_t[8]) { 1 }, true, MS(999), MS(1000), 0);
    kith__prove_on_rtt(&prove, MS(30), MS(10));
    KITH_CHECK_EQ(kith__prove_deadline(&prove), MS(30));
}

static struct kith_response response(uint16_t port, uint8_t value, uint64_t number)
{
    return (struct kith_response) { .remote = { .ip = { 10, 0, 0, 1 }, .port = port, .family = KITH_FAMILY_V4 },
                                    .value = { value },
                                    .number = number };
}

KITH_TEST(responses_one_for_each_address_the_newest_wins)
{
    struct kith_responses responses;
    struct kith_response one, out;

    kith__responses_init(&responses, kith_mem_default());
    one = response(1, 1, 5);
    kith__responses_on_challenge(&responses, &one);
    one = response(1, 2, 6);
    kith__responses_on_challenge(&responses, &one);
    one = response(1, 3, 4); /* older packet */
    kith__responses_on_challenge(&responses, &one);
    one = response(2, 4, 7);
    kith__responses_on_challenge(&responses, &one);
    KITH_CHECK_EQ(responses.count, 2);
    KITH_CHECK(kith__responses_take(&responses, NULL, &one.remote, false, &out) && out.value[0] == 2);
    KITH_CHECK(!kith__responses_has(&responses, NULL, &one.remote, false));
    KITH_CHECK(kith__responses_take(&responses, NULL, &one.remote, true, &out) && out.value[0] == 4);
    KITH_CHECK(!kith__responses_take(&responses, NULL, NULL, true, &out));
    KITH_CHECK(responses.queue == NULL && responses.dropped == 0); /* holds nothing when empty */
}

KITH_TEST(responses_are_bounded_and_drops_are_counted)
{
    struct kith_test_mem mem;
    struct kith_responses responses;
    struct kith_response out, one;

    kith__test_mem_init(&mem, 0);
    kith__responses_init(&responses, &mem.mem);
    for (uint16_t port = 1; port <= KITH_RESPONSES_MAX + 3; port++) {
        one = response(port, (uint8_t)port, port);
        kith__responses_on_challenge(&responses, &one);
    }
    KITH_CHECK(responses.count == KITH_RESPONSES_MAX && responses.dropped == 3);
    KITH_CHECK(kith__responses_take(&responses, NULL, NULL, true, &out) && out.value[0] == 4);
    kith__responses_dispose(&responses);
    KITH_CHECK_EQ(mem.live, 0);
    kith__test_mem_init(&mem, 1);
    kith__responses_init(&responses, &mem.mem);
    kith__responses_on_challenge(&responses, &one);
    KITH_CHECK(responses.count == 0 && responses.dropped == 1);
}
