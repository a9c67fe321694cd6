/** Networks: addresses with a common prefix, as CIDR writes them (RFC 4632, 3.1; RFC 4291, 2.3). */
#ifndef KITH_BASE_NETWORK_H
#define KITH_BASE_NETWORK_H

#include <kith/types.h>

/** The first `bits` of an address. By value. */
struct kith_network {
    struct kith_sockaddr base;
    uint8_t bits;
};

/** An address without a port, of either family; no scope, no brackets. PARSE; *out is then undefined. */
KITH_MUST_USE int kith__ip_parse(const char *text, struct kith_sockaddr *out);
/** Reads "192.0.2.1", "10.0.0.0/8", "fc00::/7". PARSE: something else; *out is written only on success. */
KITH_MUST_USE int kith__network_parse(struct kith_slice text, struct kith_network *out);
/** True if the network has that address; an IPv4 network has no IPv6 address. */
bool kith__network_has(const struct kith_network *network, const struct kith_sockaddr *addr);

#endif
