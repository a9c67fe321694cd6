/**
 * Transport parameters: all that spec/01, part 3 names, with every rule of acceptance; what a client remembers of them for
 * 0-RTT. Source: RFC 9000, 7.4 and 18; RFC 9221, 3; RFC 9287; spec/01, part 3 and 1.14.
 */
#ifndef KITH_QUIC_WIRE_TPARAMS_H
#define KITH_QUIC_WIRE_TPARAMS_H

#include "codec/cursor.h"
#include "quic/wire/cid.h"
#include "quic/wire/codes.h"

/** Roles in address discovery (spec/01, 6): the wire value. */
enum kith_observed_role {
    KITH_OBSERVED_SEND_ONLY,
    KITH_OBSERVED_RECEIVE_ONLY,
    KITH_OBSERVED_BOTH,
    KITH_OBSERVED_OFF = 0xff /* the parameter is absent */
};

enum { KITH_TPARAMS_SIZE_MAX = 512 }; /* enough for kith__tparams_write */

/** One side's parameters. Absent ones have their default, except those with a `has_` member. */
struct kith_tparams {
    uint64_t max_idle_timeout_ms;  /* 0: none */
    uint64_t max_udp_payload_size; /* 1200..; 65,527 */
    uint64_t initial_max_data;
    uint64_t initial_max_stream_data_bidi_local, initial_max_stream_data_bidi_remote, initial_max_stream_data_uni;
    uint64_t initial_max_streams_bidi, initial_max_streams_uni; /* <= 2^60 */
    uint64_t ack_delay_exponent;                                /* 0..20; 3 */
    uint64_t max_ack_delay_ms;                                  /* < 2^14; 25 */
    uint64_t active_connection_id_limit;                        /* >= 2; 2 */
    uint64_t max_datagram_frame_size;                           /* 0: no datagrams */
    uint64_t min_ack_delay_us;                                  /* if has_min_ack_delay; <= max_ack_delay_ms * 1000 */
    uint32_t initial_max_path_id;                               /* if has_initial_max_path_id */
    uint8_t observed_address;                                   /* enum kith_observed_role; OFF */
    uint8_t nat_traversal_addresses;                            /* how many it accepts; 0: NAT traversal is off */
    bool has_min_ack_delay;
    bool has_initial_max_path_id; /* multipath, also with limit 0 */
    bool has_original_destination_cid, has_initial_source_cid, has_retry_source_cid;
    bool has_stateless_reset_token;
    bool has_preferred_address; /* received; its contents are ignored and never written */
    bool disable_active_migration;
    bool grease_quic_bit;
    struct kith_cid original_destination_cid, initial_source_cid, retry_source_cid;
    uint8_t stateless_reset_token[KITH_RESET_TOKEN_BYTES];
};

/** What a peer that sends no parameter at all would mean. */
void kith__tparams_defaults(struct kith_tparams *params);

/**
 * Writes the parameters, shortest varints, those at their default left out. random: shuffles the order and adds one
 * reserved parameter with random content (spec/01, part 3); NULL: fixed order, none. KITH_ERR_TOO_LARGE: no room; what was
 * written is undefined then. Values must be in range (asserted).
 */
KITH_MUST_USE int kith__tparams_write(struct kith_writer *w, const struct kith_tparams *params,
                                      const struct kith_random *random);

/**
 * Reads parameters (untrusted; at most 64 KiB). from_client: then the server's own ones are refused. Returns 0, or
 * TRANSPORT_PARAMETER_ERROR and *reason: "malformed" or "illegal value"; *out is written on success only.
 * Connection ids are checked by kith__tparams_check_cids.
 */
KITH_MUST_USE int kith__tparams_parse(struct kith_slice bytes, bool from_client, struct kith_tparams *out,
                                      const char **reason);

/**
 * Proves that the handshake's connection ids were not changed on the way (RFC 9000, 7.3).
 *   initial_source  the source id of the first Initial packet from the peer
 *   original        client: where our first Initial went; NULL at a server
 *   retry_source    client: the source id of the Retry that we obeyed; NULL: there was none, or a server
 * Returns 0, or TRANSPORT_PARAMETER_ERROR and *reason "CID authentication failure".
 */
KITH_MUST_USE int kith__tparams_check_cids(const struct kith_tparams *params, const struct kith_cid *initial_source,
                                           const struct kith_cid *original, const struct kith_cid *retry_source,
                                           const char **reason);

/**
 * What a client may use of a server's earlier parameters in 0-RTT (RFC 9000, 7.4.1; spec/01, 1.14): limits, idle timeout,
 * datagrams, and the two values that must stay equal. No ids, tokens, ACK delays, multipath. Apply it to what
 * kith__tls_early_params gives, and before writing parameters into any other store.
 */
struct kith_tparams kith__tparams_remembered(const struct kith_tparams *params);

/**
 * Client, 0-RTT was accepted: the new parameters must not be below the remembered ones, and the role in address discovery
 * and NAT traversal equal. Returns 0, or PROTOCOL_VIOLATION and *reason.
 */
KITH_MUST_USE int kith__tparams_check_remembered(const struct kith_tparams *remembered,
                                                 const struct kith_tparams *params, const char **reason);

/** Server: a number that differs whenever what kith__tparams_remembered keeps of our own parameters differs: for tickets. */
uint64_t kith__tparams_early_tag(const struct kith_tparams *params);

#endif
