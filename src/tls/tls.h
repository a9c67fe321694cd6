/**
 * The TLS 1.3 handshake of QUIC (RFC 9001) with Ed25519 raw public keys on both sides (RFC 7250), or with X.509 at the
 * server and nothing at the client where a context says so: the only header through which the engine sees the library. Sans-IO: in-order CRYPTO bytes go in with kith__tls_receive,
 * everything that comes of it is queued inside and pulled with kith__tls_next; nothing calls back into the engine.
 *
 * The engine's loop, after every call that returns an int and also when that int is an error:
 *
 *     while (kith__tls_next(tls, &out))
 *         switch (out.kind) ...
 *
 * A `kith_tls_context` belongs to a host and is shared by its connections; a `kith_tls` is one handshake. Both are
 * used by one thread at a time. Memory of ours comes from the context's
 * allocator; the library allocates about 10 KiB for each connection by itself until kith__tls_shed.
 *
 * What the library does on its own: it takes its handshake's random numbers and the wall clock (age of tickets) from
 * the system, and it obeys the system-wide configuration (/etc/gnutls/config may forbid algorithms: KITH_ERR_TLS).
 * Sizes and order of messages do not depend on either. It does not write to SSLKEYLOGFILE: KITH_TLS_KEY_LOG takes its
 * place.
 *
 * 0-RTT from clients whose clock of ticket ages is coarse (rustls: whole seconds) is refused now and then, because the
 * library refuses tickets that seem older than they can be (spec/08, L1); the handshake then goes on with a resumed
 * 1-RTT.
 *
 * Source: RFC 8446, RFC 9001, spec/01 part 2, spec/08 part 1.
 */
#ifndef KITH_TLS_TLS_H
#define KITH_TLS_TLS_H

#include "crypto/aead.h"
#include <kith/quic.h>
#include <kith/types.h>

struct kith_tls_context;
struct kith_tls;

enum {
    KITH_TLS_SECRET_SIZE_MAX = 48,     /* SHA-384; SHA-256 has 32 */
    KITH_TLS_MESSAGE_SIZE_MAX = 16384, /* one handshake message; a longer one ends the handshake with 0x128 */
    KITH_TLS_PARAMS_SIZE_MAX = 2048,   /* transport parameters; a peer's longer ones end the handshake with 0x08 */
    KITH_TLS_TICKETS_SENT_MAX = 8,     /* that one server connection sends */
    KITH_TLS_TICKETS_READ_MAX = 16,    /* that one client connection takes; further ones are counted and ignored */
    KITH_TLS_EXPORT_SIZE_MAX = 8160,   /* 255 blocks of SHA-256 */
    KITH_TLS_NAME_SIZE_MAX = 253,      /* of a server: RFC 1035, 3.1 as text */
    KITH_TLS_BLOB_SIZE_MAX = KITH_QUIC_SESSION_SIZE_MAX
};

/** Encryption levels (RFC 9001, 2.1 and 4). */
enum kith_tls_level { KITH_TLS_INITIAL, KITH_TLS_EARLY, KITH_TLS_HANDSHAKE, KITH_TLS_APPLICATION, KITH_TLS_LEVELS };

/** What became of 0-RTT. A server reports REJECTED only if the client offered it. */
enum kith_tls_early { KITH_TLS_EARLY_NONE, KITH_TLS_EARLY_ACCEPTED, KITH_TLS_EARLY_REJECTED };

enum kith_tls_output_kind {
    /* Send bytes in CRYPTO frames at level. */
    KITH_TLS_CRYPTO,
    /* Install bytes as the traffic secret of level and direction for cipher. May come more than once for one level and
     * direction (spec/08, L2): the last one counts. */
    KITH_TLS_SECRET,
    /* bytes: the peer's transport parameters, 1..KITH_TLS_PARAMS_SIZE_MAX, unparsed, untrusted. Once. They are
     * authentic only with DONE. */
    KITH_TLS_PARAMS,
    /* bytes: the chosen protocol. Once. Same trust as PARAMS. */
    KITH_TLS_ALPN,
    /* The handshake is complete and peer is proven (X.509: the server's name), also on resumption. Once; see peer,
     * resumed, early. */
    KITH_TLS_DONE,
    /* Client: bytes: a session blob for a later kith__tls_new_client, up to KITH_TLS_BLOB_SIZE_MAX. Secret: who has it
     * can read the 0-RTT data of the next connection. */
    KITH_TLS_SESSION,
    /* bytes: one line of an NSS key log without a newline, if asked for. */
    KITH_TLS_KEY_LOG,
    /* Client: the server wants another key share while 0-RTT was offered, which the library cannot do (spec/08, L2).
     * This handshake is over without a word to the peer: start anew, without early_data. Last. */
    KITH_TLS_RETRY,
    /* The handshake is over: close with code (wire: 0x100 + alert, or a QUIC transport error). Once, last. */
    KITH_TLS_FAILED
};

/** One thing that the handshake asks of the engine. Fields that a kind does not name are zero. */
struct kith_tls_output {
    uint8_t kind;    /* enum kith_tls_output_kind */
    uint8_t level;   /* CRYPTO, SECRET: enum kith_tls_level */
    bool is_write;   /* SECRET: for sending; else for receiving */
    bool resumed;    /* DONE: a ticket was used, no certificates went over the wire */
    bool wrong_peer; /* FAILED: the server proved another key or name than the one dialled: KITH_ERR_WRONG_PEER */
    bool no_alpn;    /* FAILED: no application protocol in common: KITH_ERR_ALPN */
    uint8_t early;   /* DONE: enum kith_tls_early */
    uint16_t cipher; /* SECRET, DONE: enum kith_cipher; it decides the digest too (kith__cipher_digest) */
    uint16_t code;   /* FAILED: wire code, frame type 0 */
    struct kith_slice bytes; /* borrowed: until the next call with this kith_tls other than a getter */
    const char *text;        /* FAILED: why, for the close reason and the log; static */
    struct kith_id peer;     /* DONE: the proven key of the peer; zero with X.509 */
};

/**
 * Identity by X.509 instead of raw public keys (relays: spec/01, 6). The server has a certificate; the client has none and
 * checks the server's against trusted ones and a name. All certificates and keys are PEM, and are copied.
 */
struct kith_tls_x509 {
    struct kith_slice chain;   /* server: its certificate, then those that lead to a trusted one; empty: only clients */
    struct kith_slice key;     /* server: the private key of the first certificate, unencrypted */
    struct kith_slice anchors; /* client: trusted certificates; empty: those of the system, or none beside a chain */
    bool adds_system;          /* client: those of the system are trusted beside `anchors` */
    bool accept_any;           /* client: neither chain nor name is checked: for tests only */
};

/** What a context is made of. */
struct kith_tls_context_options {
    const struct kith_mem *mem;       /* borrowed; outlives the context */
    struct kith_random random;        /* for the ticket key; the library uses its own source for handshakes */
    const struct kith_secret *secret; /* identity: the seed; copied. X.509: only for session blobs */
    const struct kith_tls_x509 *x509; /* NULL: raw public keys */
};

/**
 * Creates what all connections of a host share: identity, cipher profile, ticket key, the record of tickets that were
 * used for 0-RTT. Errors: NOMEM; TLS: the library (or its system-wide configuration) refuses the profile or the key.
 * X.509: PARSE: no PEM, or the key is not the certificate's; NOT_FOUND: the system has no trusted certificates.
 */
KITH_MUST_USE int kith__tls_context_new(const struct kith_tls_context_options *options, struct kith_tls_context **out);

/** Gives a context up: it goes with the last of its handshakes. NULL is fine. */
void kith__tls_context_free(struct kith_tls_context *ctx);

/** What a client starts from. All slices are copied. */
struct kith_tls_client_options {
    struct kith_id expected; /* who must answer; unused with X.509 */
    const char
        *server_name; /* X.509: name (ASCII) or IP address that the certificate must have; else unused. A name goes
                                into SNI, also if any certificate is accepted */
    const struct kith_slice
        *alpns; /* in order of preference; 1..KITH_QUIC_ALPN_COUNT_MAX of 1..KITH_QUIC_ALPN_SIZE_MAX bytes */
    size_t alpn_count;
    struct kith_slice params;  /* own transport parameters, 1..KITH_TLS_PARAMS_SIZE_MAX bytes */
    struct kith_slice session; /* a blob of KITH_TLS_SESSION of a connection to the same id; empty: none. Untrusted */
    bool early_data;           /* offer 0-RTT if the session allows it; see kith__tls_early_params */
    bool key_log;              /* queue KITH_TLS_KEY_LOG */
};

/**
 * A client's handshake; the ClientHello waits in kith__tls_next when this returns. A session that is too old is left
 * out. Errors: NOMEM; INVALID: ALPNs, parameters or server name out of range; PARSE: the session is none, of another
 * version, or of another peer; TLS. A session holds the server's chain: with a long one it is too large to be made.
 */
KITH_MUST_USE int kith__tls_new_client(struct kith_tls_context *ctx, const struct kith_tls_client_options *options,
                                       struct kith_tls **out);

/** What a server starts from. */
struct kith_tls_server_options {
    const struct kith_slice
        *alpns; /* in order of preference, which wins over the client's; counts and sizes as above */
    size_t alpn_count;
    bool early_data;    /* accept 0-RTT: at most once for each ticket, for the ticket's ALPN, with its early_tag */
    uint64_t early_tag; /* stands for what a client may assume in 0-RTT: a number that changes whenever a limit
                                       in our parameters is lowered. 0-RTT needs a ticket of the same tag */
    bool key_log;
};

/** A server's handshake, which waits for a ClientHello. Errors: NOMEM, INVALID (ALPNs), STATE (no certificate), TLS. */
KITH_MUST_USE int kith__tls_new_server(struct kith_tls_context *ctx, const struct kith_tls_server_options *options,
                                       struct kith_tls **out);

/**
 * Server: gives our transport parameters, 1..KITH_TLS_PARAMS_SIZE_MAX bytes, copied; due before the first
 * kith__tls_receive. A second call replaces the first. Errors: NOMEM, INVALID (size), STATE (too late, or a client).
 */
KITH_MUST_USE int kith__tls_set_params(struct kith_tls *tls, struct kith_slice params);

/** Frees a handshake in any state; secrets are wiped. NULL is fine. */
void kith__tls_free(struct kith_tls *tls);

/**
 * Takes in CRYPTO bytes (untrusted): the next ones, in order, of the stream of this level, in pieces of any size.
 * Errors, after which every call but next, free and the getters is STATE:
 *   TLS    FAILED (or RETRY) is queued, with what can still be sent before it
 *   NOMEM  nothing more is queued; close with INTERNAL_ERROR
 * STATE, without any effect: a server without transport parameters; level EARLY, or one above kith__tls_read_level, for
 * which the caller cannot have had keys.
 */
KITH_MUST_USE int kith__tls_receive(struct kith_tls *tls, enum kith_tls_level level, const uint8_t *bytes, size_t size);

/** Takes the next output. False when there is none. Memory of the queue is given back when it is empty. */
bool kith__tls_next(struct kith_tls *tls, struct kith_tls_output *out);

/**
 * The level at which CRYPTO bytes are expected now; new bytes at a lower one are an error of the peer (RFC 9001,
 * 4.1.3).
 */
enum kith_tls_level kith__tls_read_level(const struct kith_tls *tls);

/**
 * Client: the server's transport parameters as they were when the session that is now used for 0-RTT was made: what
 * our 0-RTT packets must keep to, less what RFC 9000, 7.4.1 forbids to remember. Empty if no 0-RTT is offered.
 * Borrowed until DONE or FAILED is taken. `alpn` (may be NULL) gets the protocol of 0-RTT data, borrowed likewise.
 */
struct kith_slice kith__tls_early_params(const struct kith_tls *tls, struct kith_slice *alpn);

/**
 * Server, after DONE: queues `count` session tickets as CRYPTO at APPLICATION. Errors: STATE (a client, before DONE,
 * after kith__tls_shed), LIMIT (more than KITH_TLS_TICKETS_SENT_MAX in all), NOMEM, TLS.
 */
KITH_MUST_USE int kith__tls_send_tickets(struct kith_tls *tls, unsigned count);

/**
 * Frees the library's part of a complete handshake (about 10 KiB); no-op before DONE and the second time. The exporter
 * goes on working. Due at a server when tickets were sent, at a client when tickets came or are not wanted: later ones
 * are counted and ignored.
 */
void kith__tls_shed(struct kith_tls *tls);

/**
 * Exported keying material (RFC 8446, 7.5) of `size` bytes, 1..KITH_TLS_EXPORT_SIZE_MAX; both sides get the same. Label
 * 1..249 bytes without "tls13 ", context any size. Errors: STATE before DONE; INVALID.
 */
KITH_MUST_USE int kith__tls_export(const struct kith_tls *tls, struct kith_slice label, struct kith_slice context,
                                   uint8_t *out, size_t size);

/** Session tickets that came in and were not made into a SESSION: too many, too large, unusable or after shedding. */
uint64_t kith__tls_tickets_ignored(const struct kith_tls *tls);

#endif
