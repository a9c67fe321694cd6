/**
 * Connections proven by X.509 instead of raw public keys, beside the others of a host: address discovery at relays
 * (spec/01, 6) needs them from the endpoint's own socket, and a relay serves them. Not part of the public engine.
 */
#ifndef KITH_QUIC_HOST_X509_H
#define KITH_QUIC_HOST_X509_H

#include "tls/tls.h"
#include <kith/quic.h>

/**
 * Gives the host certificates, or new ones for connections from now on. With a chain all clients that come in are served with
 * it, and none by raw key. Errors: those of kith__tls_context_new; what was there stays.
 */
KITH_MUST_USE int kith__host_set_x509(struct kith_quic_host *host, const struct kith_tls_x509 *x509);

/**
 * As kith_quic_connect, but the server proves `server_name` (see kith_tls_client_options) in place of remote_id, which is
 * not looked at. kith_quic_conn_remote_id is all zero then. Errors: STATE without kith__host_set_x509; INVALID (name);
 * those of kith_quic_connect.
 */
KITH_MUST_USE int kith__host_connect_by_name(struct kith_quic_host *host, const char *server_name,
                                             const struct kith_quic_connect_options *options, uint64_t now_ns,
                                             struct kith_quic_conn **out);

#endif
