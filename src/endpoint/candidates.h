/** In which order to try the addresses of another endpoint. Plain functions on values. */
#ifndef KITH_ENDPOINT_CANDIDATES_H
#define KITH_ENDPOINT_CANDIDATES_H

#include <kith/types.h>

/** 127.0.0.0/8 and ::1. */
bool kith__candidate_is_loopback(const struct kith_sockaddr *addr);

/**
 * Writes the usable ones of `ips` to `out`, best first: loopback, then those that share the first 24 bits (IPv4) or 64 bits
 * (IPv6) with an address in `own`, then the others; equal ones keep their order. Left out: families that are not allowed,
 * port 0. Returns how many were written, at most capacity. All of them are tried at once: the first only gets the first
 * packet, so that a rough order is enough.
 */
size_t kith__candidates_order(const struct kith_sockaddr *ips, size_t count, const struct kith_sockaddr *own,
                              size_t own_count, bool use_v4, bool use_v6, struct kith_sockaddr *out, size_t capacity);

#endif
