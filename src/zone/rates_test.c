#include "zone/rates.h"

#include "base/mem.h"
#include "base/test.h"
#include <kith/dns.h>

static struct kith_sockaddr addr(const char *text)
{
    struct kith_sockaddr out;

    KITH_CHECK_EQ(kith_sockaddr_parse(text, &out), 0);
    return out;
}

static struct kith_rates *make(double rate, uint32_t burst, uint32_t size)
{
    struct kith_rates_options options = { rate, burst, size, 32, 64, 7 };
    struct kith_rates *rates;

    KITH_CHECK_EQ(kith__rates_new(kith_mem_default(), &options, &rates), 0);
    return rates;
}

KITH_TEST(rates_let_a_burst_pass_and_then_what_the_rate_allows)
{
    struct kith_rates *rates = make(4, 3, 64);
    struct kith_sockaddr a = addr("192.0.2.1:5"), b = addr("192.0.2.2:5");
    uint64_t now = 1000 * KITH_NS_PER_S;

    for (int i = 0; i < 3; i++)
        KITH_CHECK_EQ(kith__rates_take(rates, &a, now), 0);
    KITH_CHECK_EQ(kith__rates_take(rates, &a, now), KITH_NS_PER_S / 4);
    KITH_CHECK_EQ(kith__rates_take(rates, &a, now + KITH_NS_PER_S / 4 - 1), 1);
    KITH_CHECK_EQ(kith__rates_take(rates, &a, now + KITH_NS_PER_S / 4), 0);
    KITH_CHECK_NE(kith__rates_take(rates, &a, now + KITH_NS_PER_S / 4), 0);
    KITH_CHECK_EQ(kith__rates_take(rates, &b, now), 0); /* another client */
    for (int i = 0; i < 3; i++)
        KITH_CHECK_EQ(kith__rates_take(rates, &a, now + 10 * KITH_NS_PER_S), 0);
    KITH_CHECK_NE(kith__rates_take(rates, &a, now + 10 * KITH_NS_PER_S), 0);
    kith__rates_free(rates);
}

KITH_TEST(rates_count_an_ipv6_prefix_as_one_client_and_ignore_ports)
{
    struct kith_rates *rates = make(1, 1, 64);
    struct kith_sockaddr a = addr("[2001:db8::1]:5"), b = addr("[2001:db8::ffff:0:1]:6"),
                         c = addr("[2001:db8:0:1::1]:5");
    struct kith_sockaddr d = addr("192.0.2.1:1"), e = addr("192.0.2.1:2");

    KITH_CHECK_EQ(kith__rates_take(rates, &a, KITH_NS_PER_S), 0);
    KITH_CHECK_NE(kith__rates_take(rates, &b, KITH_NS_PER_S), 0);
    KITH_CHECK_EQ(kith__rates_take(rates, &c, KITH_NS_PER_S), 0);
    KITH_CHECK_EQ(kith__rates_take(rates, &d, KITH_NS_PER_S), 0);
    KITH_CHECK_NE(kith__rates_take(rates, &e, KITH_NS_PER_S), 0);
    kith__rates_free(rates);
}

KITH_TEST(rates_of_many_clients_take_no_more_memory_and_stay_lenient)
{
    struct kith_test_mem mem;
    struct kith_rates_options options = { 1, 1, 64, 32, 64, 7 };
    struct kith_rates *rates;
    struct kith_sockaddr from = { .family = KITH_FAMILY_V4 };
    unsigned refused = 0;

    kith__test_mem_init(&mem, 0);
    KITH_CHECK_EQ(kith__rates_new(&mem.mem, &options, &rates), 0);
    for (unsigned round = 0; round < 2; round++)
        for (uint32_t i = 0; i < 100000; i++) {
            memcpy(from.ip, &i, sizeof i);
            refused += kith__rates_take(rates, &from, KITH_NS_PER_S) != 0;
        }
    KITH_CHECK_EQ(mem.calls, 1);
    KITH_CHECK(refused < 1000);
    kith__rates_free(rates);
    KITH_CHECK_EQ(mem.live, 0);
}

KITH_TEST(rates_without_a_limit_take_everything_and_bad_options_are_refused)
{
    struct kith_rates *rates = make(KITH_DNS_NO_LIMIT, 1, 8);
    struct kith_sockaddr a = addr("192.0.2.1:5");
    struct kith_rates_options bad[] = { { 0, 1, 8, 32, 64, 0 },
                                        { -1, 1, 8, 32, 64, 0 },
                                        { 1, 0, 8, 32, 64, 0 },
                                        { 1, 1, 8, 33, 64, 0 },
                                        { 1, 1, 8, 32, 0, 0 } };

    for (int i = 0; i < 1000; i++)
        KITH_CHECK_EQ(kith__rates_take(rates, &a, 5), 0);
    kith__rates_free(rates);
    for (size_t i = 0; i < KITH_COUNT(bad); i++)
        KITH_CHECK_EQ(kith__rates_new(kith_mem_default(), &bad[i], &rates), KITH_ERR_INVALID);
}
