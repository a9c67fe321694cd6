/* Who may begin a handshake of address discovery. */
#include "server/relay_qad.h"

#include "base/test.h"

static struct kith_sockaddr v4(uint32_t host)
{
    struct kith_sockaddr addr = { .family = KITH_FAMILY_V4, .port = 1000 };

    for (int i = 0; i < 4; i++)
        addr.ip[i] = (uint8_t)(host >> (24 - 8 * i));
    return addr;
}

static struct kith_relay_qad_gate *gate_new(double rate, double per_ip_rate)
{
    struct kith_relay_qad_gate *gate;

    KITH_CHECK_EQ(kith__relay_qad_gate_new(kith_mem_default(), 1, rate, per_ip_rate, KITH_NS_PER_S, &gate), 0);
    return gate;
}

KITH_TEST(one_source_gets_its_share_and_no_more)
{
    struct kith_relay_qad_gate *gate = gate_new(1000, 5);
    struct kith_sockaddr one = v4(1), other = v4(2);

    for (int i = 0; i < 5; i++)
        KITH_CHECK_EQ(kith__relay_qad_gate_ask(gate, &one, false, KITH_NS_PER_S), KITH_RELAY_QAD_ACCEPT);
    one.port++; /* another port is the same source */
    KITH_CHECK_EQ(kith__relay_qad_gate_ask(gate, &one, false, KITH_NS_PER_S), KITH_RELAY_QAD_IGNORE);
    KITH_CHECK_EQ(kith__relay_qad_gate_ask(gate, &one, true, KITH_NS_PER_S), KITH_RELAY_QAD_IGNORE);
    KITH_CHECK_EQ(kith__relay_qad_gate_ask(gate, &other, false, KITH_NS_PER_S), KITH_RELAY_QAD_ACCEPT);
    KITH_CHECK_EQ(kith__relay_qad_gate_ask(gate, &one, false, 2 * KITH_NS_PER_S), KITH_RELAY_QAD_ACCEPT);
    kith__relay_qad_gate_free(gate);
}

KITH_TEST(an_ipv6_host_cannot_help_itself_with_its_addresses)
{
    struct kith_relay_qad_gate *gate = gate_new(1000, 1);
    struct kith_sockaddr addr = { .family = KITH_FAMILY_V6, .port = 1, .ip = { 0x20, 1, 0xd, 0xb8 } };

    KITH_CHECK_EQ(kith__relay_qad_gate_ask(gate, &addr, false, KITH_NS_PER_S), KITH_RELAY_QAD_ACCEPT);
    addr.ip[15] = 9;
    KITH_CHECK_EQ(kith__relay_qad_gate_ask(gate, &addr, false, KITH_NS_PER_S), KITH_RELAY_QAD_IGNORE);
    addr.ip[7] = 9;
    KITH_CHECK_EQ(kith__relay_qad_gate_ask(gate, &addr, false, KITH_NS_PER_S), KITH_RELAY_QAD_ACCEPT);
    kith__relay_qad_gate_free(gate);
}

KITH_TEST(under_load_a_source_must_prove_itself_first)
{
    struct kith_relay_qad_gate *gate = gate_new(100, 100);
    uint32_t host = 0;
    int accepted = 0;

    /* Forged sources use up half of the rate, and then get nothing but Retry. */
    for (; host < 200; host++) {
        struct kith_sockaddr addr = v4(host);

        accepted += kith__relay_qad_gate_ask(gate, &addr, false, KITH_NS_PER_S) == KITH_RELAY_QAD_ACCEPT;
    }
    KITH_CHECK(accepted >= 50 && accepted <= 51);
    for (accepted = 0; host < 400; host++) {
        struct kith_sockaddr addr = v4(host);
        enum kith_relay_qad_verdict verdict = kith__relay_qad_gate_ask(gate, &addr, false, KITH_NS_PER_S);

        KITH_CHECK_EQ(verdict, KITH_RELAY_QAD_RETRY);
        accepted += kith__relay_qad_gate_ask(gate, &addr, true, KITH_NS_PER_S) == KITH_RELAY_QAD_ACCEPT;
    }
    KITH_CHECK(accepted >= 49 && accepted <= 50); /* the other half, for those who are real */
    kith__relay_qad_gate_free(gate);
}

KITH_TEST(forgotten_sources_bound_the_memory_of_the_gate)
{
    struct kith_test_mem mem;
    struct kith_relay_qad_gate *gate;
    int64_t most = 0;

    kith__test_mem_init(&mem, 0);
    KITH_CHECK_EQ(kith__relay_qad_gate_new(&mem.mem, 1, 1e9, 1, KITH_NS_PER_S, &gate), 0);
    for (uint32_t host = 0; host < 3 * KITH_RELAY_QAD_SOURCES_MAX; host++) {
        struct kith_sockaddr addr = v4(host);

        KITH_CHECK_EQ(kith__relay_qad_gate_ask(gate, &addr, true, KITH_NS_PER_S), KITH_RELAY_QAD_ACCEPT);
        most = mem.live > most ? mem.live : most;
    }
    KITH_CHECK(most <= KITH_RELAY_QAD_SOURCES_MAX + 2);
    kith__relay_qad_gate_free(gate);
    KITH_CHECK_EQ(mem.live, 0);
}

KITH_TEST(a_rate_below_one_a_second_works)
{
    struct kith_relay_qad_gate *gate = gate_new(1000, 0.1);
    struct kith_sockaddr one = v4(1);

    KITH_CHECK_EQ(kith__relay_qad_gate_ask(gate, &one, true, KITH_NS_PER_S), KITH_RELAY_QAD_ACCEPT);
    KITH_CHECK_EQ(kith__relay_qad_gate_ask(gate, &one, true, 6 * KITH_NS_PER_S), KITH_RELAY_QAD_IGNORE);
    KITH_CHECK_EQ(kith__relay_qad_gate_ask(gate, &one, true, 12 * KITH_NS_PER_S), KITH_RELAY_QAD_ACCEPT);
    kith__relay_qad_gate_free(gate);
}
