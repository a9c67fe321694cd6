#include "base/test.h"
#include "endpoint/candidates.h"

static struct kith_sockaddr addr_of(const char *text)
{
    struct kith_sockaddr addr;

    KITH_CHECK_EQ(kith_sockaddr_parse(text, &addr), 0);
    return addr;
}

KITH_TEST(candidates_nearer_addresses_come_first)
{
    struct kith_sockaddr ips[] = { addr_of("8.8.8.8:1"),       addr_of("192.168.7.9:2"), addr_of("127.0.0.1:3"),
                                   addr_of("[2001:db8::1]:4"), addr_of("[fd00:1::9]:5"), addr_of("[::1]:6"),
                                   addr_of("192.168.7.200:7") };
    struct kith_sockaddr own[] = { addr_of("192.168.7.1:0"), addr_of("[fd00:1::1]:0") };
    uint16_t expected[] = { 3, 6, 2, 5, 7, 1, 4 };
    struct kith_sockaddr out[7];

    KITH_CHECK_EQ(kith__candidates_order(ips, 7, own, 2, true, true, out, 7), 7);
    for (size_t i = 0; i < 7; i++)
        KITH_CHECK_EQ(out[i].port, expected[i]);
    KITH_CHECK_EQ(kith__candidates_order(ips, 7, own, 2, true, true, out, 2), 2);
    KITH_CHECK_EQ(out[1].port, 6);
}

KITH_TEST(candidates_leave_out_what_has_no_socket)
{
    struct kith_sockaddr ips[] = { addr_of("8.8.8.8:1"), addr_of("[::1]:6"), addr_of("9.9.9.9:0") };
    struct kith_sockaddr out[3];

    KITH_CHECK_EQ(kith__candidates_order(ips, 3, NULL, 0, true, false, out, 3), 1);
    KITH_CHECK_EQ(out[0].port, 1);
    KITH_CHECK_EQ(kith__candidates_order(ips, 3, NULL, 0, false, true, out, 3), 1);
    KITH_CHECK_EQ(out[0].port, 6);
    KITH_CHECK_EQ(kith__candidates_order(ips, 3, NULL, 0, false, false, out, 3), 0);
}
