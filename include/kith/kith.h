/**
 * kith/kith.h: all of libkith. Any two devices connect by public key instead of IP address; what comes out is QUIC.
 * Start with kith/endpoint.h; its first page has the thread rules. The servers are a library of their own, libkith-server, with
 * headers of their own: kith/relay.h and kith/dns.h.
 */
#ifndef KITH_KITH_H
#define KITH_KITH_H

#include <kith/blobs.h>
#include <kith/endpoint.h>
#include <kith/lookup.h>
#include <kith/quic.h>
#include <kith/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/** "0.1.0": the version of the library that runs, not of the header. Static. */
KITH_API const char *kith_version(void);

#ifdef __cplusplus
}
#endif
#endif
