#include "base/network.h"

#include "base/test.h"
#include <string.h>

static struct kith_sockaddr addr(const char *text)
{
    struct kith_sockaddr out;

    KITH_CHECK_EQ(kith_sockaddr_parse(text, &out), 0);
    return out;
}

static struct kith_slice slice(const char *text)
{
    return (struct kith_slice) { (const uint8_t *)text, strlen(text) };
}

KITH_TEST(network_has_the_addresses_of_its_prefix)
{
    static const struct {
        const char *network, *addr;
        bool has;
    } cases[] = {
        { "192.0.2.1", "192.0.2.1:5", true },
        { "192.0.2.1", "192.0.2.2:5", false },
        { "10.0.0.0/8", "10.255.0.1:5", true },
        { "10.0.0.0/8", "11.0.0.1:5", false },
        { "172.16.0.0/12", "172.31.0.1:5", true },
        { "172.16.0.0/12", "172.32.0.1:5", false },
        { "0.0.0.0/0", "1.2.3.4:5", true },
        { "0.0.0.0/0", "[::1]:5", false },
        { "fc00::/7", "[fdff::1]:5", true },
        { "fc00::/7", "[fe00::1]:5", false },
        { "::1", "[::1]:5", true },
        { "::1", "[::2]:5", false },
    };
    static const char *const bad[] = { "",       "10.0.0.0/33", "10.0.0.0/",   "10.0.0.0/8x",
                                       "::/129", "a.b.c.d",     "10.0.0.0/-1", "10.0.0.0/1000" };
    struct kith_network network;

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct kith_sockaddr at = addr(cases[i].addr);

        KITH_CHECK_EQ(kith__network_parse(slice(cases[i].network), &network), 0);
        KITH_CHECK_EQ(kith__network_has(&network, &at), cases[i].has);
    }
    for (size_t i = 0; i < KITH_COUNT(bad); i++)
        KITH_CHECK_EQ(kith__network_parse(slice(bad[i]), &network), KITH_ERR_PARSE);
}
