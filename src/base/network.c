#include "base/network.h"

#include "base/sockaddr.h"
#include <string.h>

static bool parse_bits(const char *text, unsigned max, uint8_t *out)
{
    unsigned bits = 0, digits = 0;

    for (; *text >= '0' && *text <= '9' && digits < 3; text++, digits++)
        bits = bits * 10 + (unsigned)(*text - '0');
    *out = (uint8_t)bits;
    return digits != 0 && *text == 0 && bits <= max;
}

int kith__ip_parse(const char *text, struct kith_sockaddr *out)
{
    *out = (struct kith_sockaddr) { .family = KITH_FAMILY_V4 };
    if (kith__ip_parse_v4(text, out->ip) == 0)
        return 0;
    out->family = KITH_FAMILY_V6;
    return kith__ip_parse_v6(text, out->ip);
}

int kith__network_parse(struct kith_slice slice, struct kith_network *out)
{
    struct kith_network network;
    char text[KITH_IP_TEXT_SIZE + 8], *slash;
    unsigned max;

    if (slice.size >= sizeof text)
        return KITH_ERR_PARSE;
    memcpy(text, slice.ptr, slice.size);
    text[slice.size] = 0;
    if ((slash = strchr(text, '/')) != NULL)
        *slash++ = 0;
    if (kith__ip_parse(text, &network.base) != 0)
        return KITH_ERR_PARSE;
    max = network.base.family == KITH_FAMILY_V4 ? 32 : 128;
    network.bits = (uint8_t)max;
    if (slash != NULL && !parse_bits(slash, max, &network.bits))
        return KITH_ERR_PARSE;
    *out = network;
    return 0;
}

bool kith__network_has(const struct kith_network *network, const struct kith_sockaddr *addr)
{
    unsigned whole = network->bits / 8, rest = network->bits % 8;
    uint8_t mask = (uint8_t)(0xff00u >> rest);

    return addr->family == network->base.family && memcmp(addr->ip, network->base.ip, whole) == 0 &&
           (rest == 0 || ((addr->ip[whole] ^ network->base.ip[whole]) & mask) == 0);
}
