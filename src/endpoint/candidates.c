/* Order of the addresses to try. */
#include "endpoint/candidates.h"

#include <string.h>

enum rank { RANK_LOOPBACK, RANK_NEAR, RANK_FAR, RANK_COUNT };

bool kith__candidate_is_loopback(const struct kith_sockaddr *addr)
{
    static const uint8_t v6[16] = { [15] = 1 };

    return addr->family == KITH_FAMILY_V4 ? addr->ip[0] == 127 : memcmp(addr->ip, v6, sizeof v6) == 0;
}

static enum rank rank_of(const struct kith_sockaddr *ip, const struct kith_sockaddr *own, size_t own_count)
{
    size_t prefix = ip->family == KITH_FAMILY_V4 ? 3 : 8;

    if (kith__candidate_is_loopback(ip))
        return RANK_LOOPBACK;
    for (size_t i = 0; i < own_count; i++)
        if (own[i].family == ip->family && memcmp(own[i].ip, ip->ip, prefix) == 0)
            return RANK_NEAR;
    return RANK_FAR;
}

size_t kith__candidates_order(const struct kith_sockaddr *ips, size_t count, const struct kith_sockaddr *own,
                              size_t own_count, bool use_v4, bool use_v6, struct kith_sockaddr *out, size_t capacity)
{
    size_t used = 0;

    for (enum rank rank = RANK_LOOPBACK; rank < RANK_COUNT; rank++)
        for (size_t i = 0; i < count && used < capacity; i++) {
            bool may_use = ips[i].family == KITH_FAMILY_V4 ? use_v4 : ips[i].family == KITH_FAMILY_V6 && use_v6;

            if (may_use && ips[i].port != 0 && rank_of(&ips[i], own, own_count) == rank)
                out[used++] = ips[i];
        }
    return used;
}
