#include "base/mem.h"
#include "base/test.h"
#include "relay/admission.h"

static struct kith_relay_admission *new_admission(const struct kith_relay_admission_limits *limits)
{
    struct kith_relay_admission *admission;

    KITH_CHECK_EQ(kith__relay_admission_new(kith_mem_default(), NULL, limits, 7, &admission), 0);
    return admission;
}

static struct kith_sockaddr v4(uint8_t last)
{
    return (struct kith_sockaddr) { .ip = { 192, 0, 2, last }, .port = 5, .family = KITH_FAMILY_V4 };
}

static enum kith_relay_refusal take(struct kith_relay_admission *admission, struct kith_sockaddr from, uint64_t now_ns,
                                    struct kith_relay_ticket *ticket)
{
    return kith__relay_admission_take(admission, &from, now_ns, ticket);
}

KITH_TEST(relay_accept_rate_and_burst_limit)
{
    struct kith_relay_admission *admission = new_admission(
        &(struct kith_relay_admission_limits) { .accept_rate = 2, .accept_burst = 5 });
    struct kith_relay_ticket tickets[20];
    size_t count = 0;

    while (take(admission, v4(1), 0, &tickets[count]) == KITH_RELAY_ADMITTED)
        count++;
    KITH_CHECK_EQ(count, 5);
    KITH_CHECK_EQ(take(admission, v4(1), 499 * KITH_NS_PER_MS, &tickets[count]), KITH_RELAY_REFUSED_RATE);
    KITH_CHECK_EQ(take(admission, v4(1), 500 * KITH_NS_PER_MS, &tickets[count++]), KITH_RELAY_ADMITTED);
    KITH_CHECK_EQ(take(admission, v4(2), 501 * KITH_NS_PER_MS, &tickets[count]), KITH_RELAY_REFUSED_RATE);
    kith__relay_admission_set_limits(admission, &(struct kith_relay_admission_limits) { .accept_rate = 0.1 });
    KITH_CHECK_EQ(take(admission, v4(2), KITH_NS_PER_S, &tickets[count++]), KITH_RELAY_ADMITTED);
    KITH_CHECK_EQ(take(admission, v4(2), 10 * KITH_NS_PER_S, &tickets[count]), KITH_RELAY_REFUSED_RATE);
    KITH_CHECK_EQ(take(admission, v4(2), 11 * KITH_NS_PER_S, &tickets[count++]), KITH_RELAY_ADMITTED);
    while (count > 0)
        kith__relay_ticket_release(&tickets[--count]);
    kith__relay_admission_free(admission);
}

KITH_TEST(relay_connections_are_limited_in_all_and_for_each_address)
{
    struct kith_relay_admission *admission = new_admission(
        &(struct kith_relay_admission_limits) { .connections_max = 4, .connections_per_ip_max = 2 });
    struct kith_relay_ticket tickets[5];

    KITH_CHECK_EQ(take(admission, v4(1), 0, &tickets[0]), KITH_RELAY_ADMITTED);
    KITH_CHECK_EQ(take(admission, v4(1), 0, &tickets[1]), KITH_RELAY_ADMITTED);
    KITH_CHECK_EQ(take(admission, v4(1), 0, &tickets[4]), KITH_RELAY_REFUSED_PER_IP);
    KITH_CHECK_EQ(take(admission, v4(2), 0, &tickets[2]), KITH_RELAY_ADMITTED);
    KITH_CHECK_EQ(take(admission, v4(3), 0, &tickets[3]), KITH_RELAY_ADMITTED);
    KITH_CHECK_EQ(take(admission, v4(4), 0, &tickets[4]), KITH_RELAY_REFUSED_TOTAL);
    KITH_CHECK_EQ(kith__relay_admission_stats(admission).addresses, 3);
    kith__relay_ticket_release(&tickets[1]);
    kith__relay_ticket_release(&tickets[1]);
    KITH_CHECK_EQ(take(admission, v4(1), 0, &tickets[1]), KITH_RELAY_ADMITTED);
    for (int i = 0; i < 5; i++)
        kith__relay_ticket_release(&tickets[i]);
    KITH_CHECK_EQ(kith__relay_admission_stats(admission).addresses, 0);
    kith__relay_admission_free(admission);
}

KITH_TEST(relay_connections_without_a_proven_id_have_limits_of_their_own)
{
    struct kith_relay_admission *admission = new_admission(
        &(struct kith_relay_admission_limits) { .unauthenticated_max = 3, .unauthenticated_per_ip_max = 2 });
    struct kith_relay_ticket tickets[6];

    KITH_CHECK_EQ(take(admission, v4(1), 0, &tickets[0]), KITH_RELAY_ADMITTED);
    KITH_CHECK_EQ(take(admission, v4(1), 0, &tickets[1]), KITH_RELAY_ADMITTED);
    KITH_CHECK_EQ(take(admission, v4(1), 0, &tickets[2]), KITH_RELAY_REFUSED_UNAUTHENTICATED);
    kith__relay_ticket_authenticated(&tickets[0]);
    kith__relay_ticket_authenticated(&tickets[0]);
    KITH_CHECK_EQ(take(admission, v4(1), 0, &tickets[2]), KITH_RELAY_ADMITTED);
    KITH_CHECK_EQ(take(admission, v4(2), 0, &tickets[3]), KITH_RELAY_ADMITTED);
    KITH_CHECK_EQ(take(admission, v4(3), 0, &tickets[4]), KITH_RELAY_REFUSED_UNAUTHENTICATED);
    KITH_CHECK_EQ(kith__relay_admission_stats(admission).unauthenticated, 3);
    for (int i = 0; i < 5; i++)
        kith__relay_ticket_release(&tickets[i]);
    KITH_CHECK_EQ(kith__relay_admission_stats(admission).unauthenticated, 0);
    kith__relay_admission_free(admission);
}

KITH_TEST(relay_addresses_of_one_v6_network_count_as_one)
{
    struct kith_relay_admission *admission = new_admission(
        &(struct kith_relay_admission_limits) { .connections_per_ip_max = 1 });
    struct kith_sockaddr a = { .ip = { 0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 1 }, .family = KITH_FAMILY_V6 }, b = a, c = a;
    struct kith_relay_ticket tickets[3];

    b.ip[15] = 9;
    c.ip[7] = 2;
    KITH_CHECK_EQ(take(admission, a, 0, &tickets[0]), KITH_RELAY_ADMITTED);
    KITH_CHECK_EQ(take(admission, b, 0, &tickets[1]), KITH_RELAY_REFUSED_PER_IP);
    KITH_CHECK_EQ(take(admission, c, 0, &tickets[2]), KITH_RELAY_ADMITTED);
    for (int i = 0; i < 3; i++)
        kith__relay_ticket_release(&tickets[i]);
    kith__relay_admission_free(admission);
}

KITH_TEST(relay_admission_survives_failing_allocations)
{
    for (uint64_t fail_at = 1; fail_at < 8; fail_at++) {
        struct kith_test_mem mem;
        struct kith_relay_admission *admission;
        struct kith_relay_ticket ticket;

        kith__test_mem_init(&mem, fail_at);
        if (kith__relay_admission_new(&mem.mem, NULL, &(struct kith_relay_admission_limits) { 0 }, 1, &admission) != 0)
            continue;
        if (take(admission, v4(1), 0, &ticket) == KITH_RELAY_REFUSED_NOMEM)
            KITH_CHECK_EQ(kith__relay_admission_stats(admission).connections, 0);
        kith__relay_ticket_release(&ticket);
        kith__relay_admission_free(admission);
        KITH_CHECK_EQ(mem.live, 0);
    }
}
