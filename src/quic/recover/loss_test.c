#include "quic/recover/loss.h"

#include "base/test.h"

#define MS(n) ((uint64_t)(n)*KITH_NS_PER_MS)
enum { DATA = KITH_SENT_ELICITING | KITH_SENT_COUNTED };

struct scene {
    struct kith_loss loss;
    struct kith_sent_log logs[KITH_SPACE_COUNT];
    struct kith_rtt rtt;
    struct kith_loss_view view;
};

/** Round trip 100 ms, variation settled near 0, confirmed. */
static void start(struct scene *s)
{
    kith__loss_init(&s->loss);
    kith__rtt_init(&s->rtt, MS(333));
    for (int i = 0; i < 100; i++)
        kith__rtt_on_sample(&s->rtt, MS(100), 0, 0, 1);
    s->view = (struct kith_loss_view) {
        .rtt = &s->rtt, .delay_max_ns = MS(25), .quiet_from_ns = KITH_NEVER, .is_confirmed = true
    };
    for (int i = 0; i < KITH_SPACE_COUNT; i++) {
        kith__sent_init(&s->logs[i], kith_mem_default(), 0);
        s->view.logs[i] = &s->logs[i];
    }
}

static void finish(struct scene *s)
{
    for (int i = 0; i < KITH_SPACE_COUNT; i++)
        kith__sent_dispose(&s->logs[i]);
}

static void send(struct scene *s, enum kith_space space, uint64_t now_ns)
{
    uint64_t number;

    KITH_CHECK_EQ(kith__sent_begin(&s->logs[space], &number), 0);
    kith__sent_commit(&s->logs[space], 1200, DATA, now_ns);
}

static void ack(struct scene *s, enum kith_space space, uint64_t number)
{
    struct kith_sent_walk walk;

    KITH_CHECK_EQ(kith__sent_ack_begin(&s->logs[space], number, number, &walk), 0);
    while (kith__sent_ack_next(&s->logs[space], &walk) != NULL)
        continue;
}

static size_t take_all(struct scene *s, uint64_t now_ns)
{
    size_t count = 0;

    while (kith__loss_take(&s->loss, KITH_SPACE_DATA, &s->logs[KITH_SPACE_DATA], &s->rtt, now_ns) != NULL)
        count++;
    return count;
}

KITH_TEST(loss_three_packets_later_or_nine_eighths_of_a_round_trip)
{
    struct scene s;
    struct kith_loss_timer timer;

    start(&s);
    for (int i = 0; i < 5; i++)
        send(&s, KITH_SPACE_DATA, MS(i));
    ack(&s, KITH_SPACE_DATA, 4);
    KITH_CHECK_EQ(take_all(&s, MS(100)), 2); /* 0 and 1: at least three behind */
    timer = kith__loss_timer(&s.loss, &s.view);
    KITH_CHECK_EQ(timer.kind, KITH_LOSS_BY_TIME);
    KITH_CHECK_EQ(timer.deadline_ns, MS(2) + MS(100) / 8 * 9);
    KITH_CHECK_EQ(kith__loss_on_timer(&s.loss, &s.view, timer.deadline_ns - 1).kind, KITH_LOSS_NONE);
    KITH_CHECK_EQ(take_all(&s, timer.deadline_ns - 1), 0);
    KITH_CHECK_EQ(kith__loss_on_timer(&s.loss, &s.view, timer.deadline_ns).kind, KITH_LOSS_BY_TIME);
    KITH_CHECK_EQ(take_all(&s, timer.deadline_ns), 1);
    KITH_CHECK_EQ(take_all(&s, MS(500)), 1);
    KITH_CHECK_EQ(kith__loss_timer(&s.loss, &s.view).kind, KITH_LOSS_NONE);
    KITH_CHECK_EQ(s.loss.lost, 4);
    finish(&s);
}

KITH_TEST(loss_nothing_sent_at_time_zero_is_lost_early)
{
    struct scene s;

    start(&s);
    send(&s, KITH_SPACE_DATA, 0);
    send(&s, KITH_SPACE_DATA, 0);
    ack(&s, KITH_SPACE_DATA, 1);
    KITH_CHECK_EQ(take_all(&s, MS(50)), 0);
    finish(&s);
}

KITH_TEST(loss_backoff_grows_by_doubling_then_by_the_cap)
{
    static const uint64_t expected_ms[] = { 300, 600, 1200, 2200, 3200, 4200 }; /* spec/01, 1.10 with a cap of 1 s */

    for (uint32_t n = 0; n < KITH_COUNT(expected_ms); n++)
        KITH_CHECK_EQ(kith__loss_backoff_ns(MS(300), n, MS(1000)), MS(expected_ms[n]));
    KITH_CHECK_EQ(kith__loss_backoff_ns(1, 40, MS(1000)), 1u << KITH_PTO_EXPONENT_MAX);
    KITH_CHECK(kith__loss_backoff_ns(UINT64_MAX / 2, 100, MS(1)) >= UINT64_MAX / 2);
}

KITH_TEST(loss_cap_depends_on_idle_timeout_and_round_trip)
{
    static const struct {
        uint64_t rtt_ms, idle_s, cap_ms;
    } cases[] = { { 100, 30, 2000 },  { 100, 25, 1000 },  { 100, 0, 2000 },
                  { 1333, 15, 1000 }, { 2000, 15, 3000 }, { 2000, 30, 3000 } };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct kith_rtt rtt;

        kith__rtt_init(&rtt, MS(cases[i].rtt_ms));
        KITH_CHECK_EQ(kith__loss_cap_ns(&rtt, cases[i].idle_s * KITH_NS_PER_S), MS(cases[i].cap_ms));
    }
}

KITH_TEST(loss_probe_counts_from_the_last_packet_and_backs_off)
{
    struct scene s;
    struct kith_loss_timer timer;
    uint64_t pto_ns;

    start(&s);
    pto_ns = kith__rtt_pto_ns(&s.rtt, MS(25));
    send(&s, KITH_SPACE_DATA, MS(10));
    send(&s, KITH_SPACE_DATA, MS(20));
    timer = kith__loss_timer(&s.loss, &s.view);
    KITH_CHECK(timer.kind == KITH_LOSS_PROBE && timer.probes == 2 && timer.space == KITH_SPACE_DATA);
    KITH_CHECK_EQ(timer.deadline_ns, MS(20) + pto_ns);
    KITH_CHECK_EQ(kith__loss_on_timer(&s.loss, &s.view, timer.deadline_ns).kind, KITH_LOSS_PROBE);
    KITH_CHECK_EQ(kith__loss_timer(&s.loss, &s.view).deadline_ns, timer.deadline_ns + 2 * pto_ns); /* nothing sent */
    send(&s, KITH_SPACE_DATA, MS(200));
    KITH_CHECK_EQ(kith__loss_timer(&s.loss, &s.view).deadline_ns, MS(200) + 2 * pto_ns);
    kith__loss_on_ack(&s.loss, false, MS(210));
    KITH_CHECK_EQ(s.loss.pto_count, 1);
    kith__loss_on_ack(&s.loss, true, MS(210));
    KITH_CHECK_EQ(s.loss.pto_count, 0);
    s.view.is_confirmed = false; /* no probe of the data space before */
    KITH_CHECK_EQ(kith__loss_timer(&s.loss, &s.view).kind, KITH_LOSS_NONE);
    s.view.is_confirmed = s.view.is_blocked = true;
    KITH_CHECK_EQ(kith__loss_timer(&s.loss, &s.view).kind, KITH_LOSS_NONE);
    finish(&s);
}

KITH_TEST(loss_client_probes_with_nothing_in_flight)
{
    struct scene s;
    struct kith_loss_timer timer;

    start(&s);
    s.view.is_confirmed = false;
    s.view.peer_is_waiting = true;
    s.loss.progress_ns = MS(5);
    timer = kith__loss_timer(&s.loss, &s.view);
    KITH_CHECK(timer.kind == KITH_LOSS_PROBE && timer.space == KITH_SPACE_INITIAL && timer.probes == 1);
    KITH_CHECK_EQ(timer.deadline_ns, MS(5) + kith__rtt_pto_ns(&s.rtt, 0));
    s.view.has_handshake_keys = true;
    s.loss.pto_count = 10; /* capped */
    timer = kith__loss_timer(&s.loss, &s.view);
    KITH_CHECK(timer.space == KITH_SPACE_HANDSHAKE && timer.deadline_ns == MS(5) + KITH_PTO_CAP_NS);
    send(&s, KITH_SPACE_HANDSHAKE, MS(7));
    KITH_CHECK_EQ(kith__loss_timer(&s.loss, &s.view).probes, 2);
    finish(&s);
}

KITH_TEST(loss_persistent_congestion_needs_a_run_without_acknowledgement)
{
    for (int broken = 0; broken < 2; broken++) {
        struct scene s;
        uint64_t pto_ns, step;

        start(&s);
        pto_ns = kith__rtt_pto_ns(&s.rtt, MS(25));
        step = pto_ns * 3 / 8 + 1;
        for (uint64_t i = 0; i < 10; i++)
            send(&s, KITH_SPACE_DATA, MS(1) + i * step);
        if (broken)
            ack(&s, KITH_SPACE_DATA, 4);
        ack(&s, KITH_SPACE_DATA, 9);
        KITH_CHECK_EQ(take_all(&s, MS(1) + 20 * step), broken ? 8 : 9);
        KITH_CHECK_EQ(kith__loss_is_persistent(&s.loss, &s.rtt, MS(25)), !broken);
        KITH_CHECK(!kith__loss_is_persistent(&s.loss, &s.rtt, MS(25))); /* once */
        finish(&s);
    }
}

KITH_TEST(loss_no_persistent_congestion_from_before_the_first_sample)
{
    struct scene s;

    start(&s);
    s.rtt.first_sample_ns = MS(5000);
    for (uint64_t i = 0; i < 10; i++)
        send(&s, KITH_SPACE_DATA, MS(500 * i));
    ack(&s, KITH_SPACE_DATA, 9);
    KITH_CHECK_EQ(take_all(&s, MS(9000)), 9);
    KITH_CHECK(!kith__loss_is_persistent(&s.loss, &s.rtt, MS(25)));
    finish(&s);
}

KITH_TEST(loss_thresholds_grow_with_reordering_up_to_their_limits)
{
    struct scene s;

    start(&s);
    kith__loss_on_spurious(&s.loss, &(struct kith_sent) { .sent_ns = MS(0) }, 7, &s.rtt, MS(60));
    KITH_CHECK(s.loss.packets == 8 && s.loss.time_eighths == 9);
    kith__loss_on_spurious(&s.loss, &(struct kith_sent) { .sent_ns = MS(0) }, 7, &s.rtt, MS(140));
    KITH_CHECK_EQ(s.loss.time_eighths, 12);
    kith__loss_on_spurious(&s.loss, &(struct kith_sent) { .sent_ns = MS(0) }, 1000, &s.rtt, MS(9000));
    KITH_CHECK(s.loss.packets == KITH_LOSS_PACKETS_MAX && s.loss.time_eighths == 16);
    finish(&s);
}
