/**
 * The CRYPTO streams of a handshake and the TLS engine behind them: puts received bytes into order and feeds them, keeps
 * what is to be sent until it is acknowledged. Knows nothing of packets or the connection.
 *
 * The caller's loop: after kith__handshake_init and every kith__handshake_on_crypto (also when it failed) call
 * kith__handshake_next until it returns AGAIN; then send what kith__handshake_has_data shows.
 * Owner: the connection, by value. Source: RFC 9000, 7.5 and 19.6; RFC 9001, 4.1.
 */
#ifndef KITH_QUIC_GUARD_HANDSHAKE_H
#define KITH_QUIC_GUARD_HANDSHAKE_H

#include "codec/cursor.h"
#include "quic/stream/inbuf.h"
#include "quic/stream/outbuf.h"
#include "quic/wire/codes.h"
#include "tls/tls.h"

enum {
    KITH_HANDSHAKE_BUFFER_MAX = 16384, /* bytes that may wait out of order at one level; more: CRYPTO_BUFFER_EXCEEDED */
    KITH_HANDSHAKE_EARLY_STREAMS = 2   /* Initial, Handshake */
};

/** One level's stream, both directions. */
struct kith_crypto_stream {
    struct kith_inbuf in;
    struct kith_outbuf out;
    bool is_discarded; /* keys are gone: nothing is taken or sent any more */
};

struct kith_handshake {
    const struct kith_mem *mem;
    struct kith_tls *tls; /* owned */
    bool failed;          /* the TLS engine gave up: bytes are ignored, FAILED or RETRY is among the outputs */
    struct kith_crypto_stream *early; /* Initial and Handshake: the caller's storage; NULL once both are discarded */
    struct kith_crypto_stream data;   /* 1-RTT */
};

/** A CRYPTO frame that was written. */
struct kith_crypto_sent {
    uint64_t offset;
    size_t size;
};

/**
 * tls is owned from now on. mem is borrowed, and so is the storage for the streams of Initial and Handshake: until both
 * levels are discarded, or the object is disposed of.
 */
void kith__handshake_init(struct kith_handshake *handshake, const struct kith_mem *mem, struct kith_tls *tls,
                          struct kith_crypto_stream early[KITH_HANDSHAKE_EARLY_STREAMS]);
/** Frees everything; fine for a zeroed object and twice. */
void kith__handshake_dispose(struct kith_handshake *handshake);

/**
 * Takes in a CRYPTO frame (untrusted) of level INITIAL, HANDSHAKE or APPLICATION; level EARLY has none. Returns 0 (also
 * when TLS failed: see the outputs), or, always with *reason set,
 *   CRYPTO_BUFFER_EXCEEDED  too far ahead of what is in order
 *   PROTOCOL_VIOLATION      new bytes at a level that is over
 *   INTERNAL_ERROR          more than 1,024 holes
 *   KITH_ERR_NOMEM          to be closed with INTERNAL_ERROR
 */
KITH_MUST_USE int kith__handshake_on_crypto(struct kith_handshake *handshake, enum kith_tls_level level,
                                            uint64_t offset, struct kith_slice data, const char **reason);

/**
 * Takes the next output of the TLS engine that is not CRYPTO; those go to the send streams on the way. KITH_ERR_AGAIN when
 * there is none; KITH_ERR_NOMEM: CRYPTO bytes were lost: close with INTERNAL_ERROR. out->bytes is borrowed until the next
 * call.
 */
KITH_MUST_USE int kith__handshake_next(struct kith_handshake *handshake, struct kith_tls_output *out);

/** True if CRYPTO bytes wait to be sent (again) at this level. */
bool kith__handshake_has_data(const struct kith_handshake *handshake, enum kith_tls_level level);
/** True if bytes of this level were sent (or wait) and are not acknowledged. */
bool kith__handshake_has_unacked(const struct kith_handshake *handshake, enum kith_tls_level level);

/**
 * Writes one CRYPTO frame with as many waiting bytes as have room: lost ones first. False if nothing waits or nothing fits.
 * Remember *sent for on_acked and on_lost. Call again for further ranges.
 */
bool kith__handshake_write(struct kith_handshake *handshake, enum kith_tls_level level, struct kith_writer *w,
                           struct kith_crypto_sent *sent);

/** The peer has these bytes. KITH_ERR_NOMEM. Ignored for a discarded level. */
KITH_MUST_USE int kith__handshake_on_acked(struct kith_handshake *handshake, enum kith_tls_level level, uint64_t offset,
                                           uint64_t size);
/** The packet with these bytes was lost. KITH_ERR_NOMEM. Ignored for a discarded level. */
KITH_MUST_USE int kith__handshake_on_lost(struct kith_handshake *handshake, enum kith_tls_level level, uint64_t offset,
                                          uint64_t size);
/** Everything of the level that is not acknowledged goes out again: for probes, and after a Retry. KITH_ERR_NOMEM. */
KITH_MUST_USE int kith__handshake_resend(struct kith_handshake *handshake, enum kith_tls_level level);

/** The keys of the level are gone: frees its bytes. Twice is fine. */
void kith__handshake_discard(struct kith_handshake *handshake, enum kith_tls_level level);

#endif
