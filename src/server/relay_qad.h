/**
 * QUIC address discovery: a QUIC server that tells each client from which address its packets come, and nothing else. Handshakes are
 * limited for each source and all together; under load clients must prove their address first (Retry), so that a forged source
 * costs us one small packet and no handshake. Source: spec/02, 6.
 *
 * Thread rules: those of its rt (the house's).
 */
#ifndef KITH_SERVER_RELAY_QAD_H
#define KITH_SERVER_RELAY_QAD_H

#include "relay/admission.h"
#include "relay/counters.h"
#include "relay/limits.h"
#include "rt/rt.h"
#include <kith/relay.h>

struct kith_relay_qad;

enum {
    KITH_RELAY_QAD_CONNECTIONS_MAX = 65536, /* at once; more are not answered */
    KITH_RELAY_QAD_PER_IP_MAX = 512,        /* of one IPv4 address or IPv6 /64; a client has one or two */
    KITH_RELAY_QAD_SOURCES_MAX = 4096,      /* whose rate is known; the one seen longest ago is forgotten */
    KITH_RELAY_QAD_RATE = 500,              /* handshakes a second, default */
    KITH_RELAY_QAD_PER_IP_RATE = 20         /* of one IPv4 address or IPv6 /64, default */
};

#define KITH_RELAY_QAD_ALPN "/iroh-qad/0"

struct kith_relay_qad_options {
    struct kith_rt *rt;
    const struct kith_mem *mem;
    struct kith_relay_counters *counters; /* the house's: qad_... */
    double rate, per_ip_rate;             /* 0: the defaults */
    size_t per_ip_max;                    /* connections of one address at once; 0: KITH_RELAY_QAD_PER_IP_MAX */
};

/** Errors: NOMEM, TLS. It answers nobody before it has a certificate. */
KITH_MUST_USE int kith__relay_qad_new(const struct kith_relay_qad_options *options, struct kith_relay_qad **out);
/** Closes connections with code 1 "finished", sends that, and ends at once. NULL is fine. */
void kith__relay_qad_free(struct kith_relay_qad *qad);
/** Serves there. Errors: those of kith__rt_udp_open, LIMIT. */
KITH_MUST_USE int kith__relay_qad_listen(struct kith_relay_qad *qad, const struct kith_sockaddr *at,
                                         struct kith_sockaddr *bound);
/** The certificate for handshakes from now on: PEM. Errors: those of kith__host_set_x509; the old one stays then. */
KITH_MUST_USE int kith__relay_qad_set_certificate(struct kith_relay_qad *qad, struct kith_slice chain,
                                                  struct kith_slice key);
/** New rates; 0: the defaults. */
void kith__relay_qad_set_rates(struct kith_relay_qad *qad, double rate, double per_ip_rate);
/** Connections now. */
size_t kith__relay_qad_conn_count(const struct kith_relay_qad *qad);

/* ---- Who may begin a handshake: pure, for tests ---- */

enum kith_relay_qad_verdict { KITH_RELAY_QAD_ACCEPT, KITH_RELAY_QAD_RETRY, KITH_RELAY_QAD_IGNORE };

struct kith_relay_qad_gate; /* rates of all sources */

/** Errors: NOMEM. seed: random. */
KITH_MUST_USE int kith__relay_qad_gate_new(const struct kith_mem *mem, uint64_t seed, double rate, double per_ip_rate,
                                           uint64_t now_ns, struct kith_relay_qad_gate **out);
/** NULL is fine. */
void kith__relay_qad_gate_free(struct kith_relay_qad_gate *gate);
/**
 * What to do with a client's first packet. While less than half of the rate is in use everybody is let in; beyond it who has not
 * proved its address must do so; beyond the rate of all, or of its address, nobody is answered.
 */
enum kith_relay_qad_verdict kith__relay_qad_gate_ask(struct kith_relay_qad_gate *gate,
                                                     const struct kith_sockaddr *remote, bool is_validated,
                                                     uint64_t now_ns);

#endif
