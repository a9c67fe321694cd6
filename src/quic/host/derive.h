/**
 * Keys of a host that are the same after a restart: so a host that forgot its connections still knows its ids, and its
 * stateless resets are understood by the peers that still have them (RFC 9000, 10.3.2).
 */
#ifndef KITH_QUIC_HOST_DERIVE_H
#define KITH_QUIC_HOST_DERIVE_H

#include <kith/types.h>

enum { KITH_DERIVED_KEY_SIZE = 32 };

/**
 * The key for one purpose: keyed BLAKE3 of label and instance under the endpoint's secret.
 *   instance  what two endpoints with the same secret have different; see struct kith_quic_host_options
 *   label     static text, another one for each purpose
 */
void kith__derive_key(const struct kith_secret *secret, struct kith_slice instance, const char *label,
                      uint8_t out[KITH_DERIVED_KEY_SIZE]);

#endif
