/**
 * TLS 1.2 and 1.3 over a byte stream, for https: client and server, sans-IO. Ciphertext goes in with
 * kith__tls_stream_receive and comes out of kith__tls_stream_output; plaintext goes in with kith__tls_stream_write and
 * comes out of kith__tls_stream_read. Nothing calls back. The loop of an owner over a socket:
 *
 *     on bytes:    kith__tls_stream_receive(s, bytes, size);
 *                  while ((err = kith__tls_stream_read(s, &plain, &plain_size)) == 0) ...take plain...
 *                  AGAIN: all bytes were used, wait for more; END: the other side closed; else: failed, see _failure
 *                  (to stop in the middle: kith__tls_stream_keep, and go on with _read later)
 *     always:      whenever no write is under way and kith__tls_stream_output is not empty: write it to the socket, then
 *                  kith__tls_stream_sent; also after a failure: the alert that tells the other side why is in there
 *     on the end:  kith__tls_stream_on_end, then kith__tls_stream_read as above: END, or TRUNCATED if the other side did not
 *                  say that it was through
 *
 * Handshake and records are the library's (GnuTLS), whose session lives as long as the stream. An idle stream takes 10.5 KiB
 * in all (glibc's count, both roles, TLS 1.2 and 1.3, before and after data): 7.3 KiB are the library's fixed struct, the rest
 * its keys; nothing of ours is held beside it but some 500 bytes, no buffer.
 *
 * What it does not do: renegotiation, client certificates, session resumption, 0-RTT, CBC suites, compression; a TLS 1.2
 * peer needs an ECDHE suite with AES-GCM or ChaCha20-Poly1305. Key updates of TLS 1.3 are answered and made, by the library.
 *
 * Thread rules: a stream is used by one thread at a time; a context never changes after it was made and may be used by any
 * number of threads, whose last release frees it (with the allocator of its options, which must bear that).
 * Not deterministic: the library takes its random numbers and the wall clock (validity of certificates) from the system.
 *
 * Source: RFC 8446, RFC 5246, RFC 5288, RFC 7905, RFC 8737 (acme-tls/1), spec/02 1.7 and 2.3.
 */
#ifndef KITH_TLS_STREAM_H
#define KITH_TLS_STREAM_H

#include <kith/types.h>

struct kith_tls_stream_context; /* credentials and trust: reference-counted, never changes */
struct kith_tls_stream;         /* one connection */

enum {
    KITH_TLS_STREAM_OUTPUT_MAX = 128 << 10,   /* ciphertext that waits for the caller; above it a write is AGAIN */
    KITH_TLS_STREAM_HANDSHAKE_MAX = 96 << 10, /* bytes received before the handshake is complete; more ends it */
    KITH_TLS_STREAM_RECORD_MAX = 16384,       /* plaintext of one record */
    KITH_TLS_STREAM_CERTIFICATES_MAX = 64,    /* of a context; the challenges likewise */
    KITH_TLS_STREAM_ALPNS_MAX = 8
};

/** A certificate chain, the server's own first, and its unencrypted private key: both PEM, borrowed. */
struct kith_tls_certificate {
    struct kith_slice chain, key;
};

/** Whom a client trusts. */
enum kith_tls_trust {
    KITH_TLS_TRUST_SYSTEM, /* the system's certificate authorities, and the given anchors */
    KITH_TLS_TRUST_ONLY,   /* the given anchors alone */
    KITH_TLS_TRUST_ANY     /* any certificate of any name: for tests only */
};

struct kith_tls_stream_context_options {
    const struct kith_mem *mem; /* borrowed; outlives the context */

    /* Server. The first certificate that covers the client's SNI is used; if none does, or there is no SNI, the first. */
    const struct kith_tls_certificate *certificates;
    size_t certificate_count;
    bool refuses_unknown_names; /* an SNI that no certificate covers is refused: alert unrecognized_name (112) */
    /* For clients whose only protocol is acme-tls/1, by SNI (kith__acme_challenge_certificate makes them). Such a client
     * without its challenge is refused with no_application_protocol (120). With challenges, certificates may be missing. */
    const struct kith_tls_certificate *challenges;
    size_t challenge_count;

    /* Client. */
    bool is_client;
    enum kith_tls_trust trust;
    struct kith_slice anchors; /* PEM certificates; may be empty unless TRUST_ONLY */

    /* Both; by default none is offered, and what a client offers is ignored. A server with ALPNs takes the first of its own
     * that the client has; a client that offers others only is refused (120), one that offers none is served. */
    const struct kith_slice *alpns; /* 1..31 bytes each */
    size_t alpn_count;
};

/**
 * Makes a context with one reference. A context is for servers (is_client false: certificates or challenges are needed) or
 * for clients. Errors: NOMEM; INVALID (counts); PARSE: no PEM, nothing in it, or a key of another certificate; NOT_FOUND:
 * the system has no trusted certificates and none were given; TLS: the library's configuration forbids what is needed.
 */
KITH_MUST_USE int kith__tls_stream_context_new(const struct kith_tls_stream_context_options *options,
                                               struct kith_tls_stream_context **out);
/** One more reference. Returns context. Any thread. */
struct kith_tls_stream_context *kith__tls_stream_context_retain(struct kith_tls_stream_context *context);
/** Gives a reference back; the last one frees. Streams hold one while they live. NULL is fine. Any thread. */
void kith__tls_stream_context_release(struct kith_tls_stream_context *context);

/**
 * Makes a stream, which takes a reference of the context.
 *   name  client: whom to reach: an ASCII host name (a trailing dot is dropped) or an IP address without brackets, which
 *         the certificate must cover; a name goes into SNI. Server: NULL
 * A client's first bytes wait in kith__tls_stream_output. Errors: NOMEM; INVALID (name, or a role that the context has not);
 * TLS.
 */
KITH_MUST_USE int kith__tls_stream_new(struct kith_tls_stream_context *context, const char *name,
                                       struct kith_tls_stream **out);
/** Frees in any state, without a word to the peer; keys are wiped. NULL is fine. */
void kith__tls_stream_free(struct kith_tls_stream *stream);

/**
 * Gives ciphertext, any amount, and lets the handshake go on. The bytes are untrusted, are changed in place, and stay
 * borrowed until kith__tls_stream_read returns something else than 0, or kith__tls_stream_keep. Bytes of an earlier call
 * that were not read yet come first. size 0 is fine.
 * Errors: TLS (failed, now or before; see _failure), NOMEM (failed likewise), CLOSED (the other side has ended before, or we
 * have): nothing is taken.
 */
KITH_MUST_USE int kith__tls_stream_receive(struct kith_tls_stream *stream, uint8_t *bytes, size_t size);
/**
 * Copies what was received and not read yet, so that the caller's bytes are its own again. A caller that stops to read
 * should stop to receive too: what is kept is what was received. Errors: NOMEM: the stream has failed.
 */
KITH_MUST_USE int kith__tls_stream_keep(struct kith_tls_stream *stream);
/**
 * The next plaintext: 1..KITH_TLS_STREAM_RECORD_MAX bytes, which may be changed in place; borrowed until the next call with
 * this stream that takes it without const, and from the bytes that were received. AGAIN: there is none before more is
 * received (also before the handshake is complete). END: the other side said that it sends no more (close_notify). TLS,
 * NOMEM: failed.
 */
KITH_MUST_USE int kith__tls_stream_read(struct kith_tls_stream *stream, uint8_t **bytes, size_t *size);
/**
 * The transport has ended. What was received before can still be read; then kith__tls_stream_read says END if the other side
 * said that it was through, and TRUNCATED if not: bytes may be missing.
 */
void kith__tls_stream_on_end(struct kith_tls_stream *stream);

/**
 * Protects plaintext, in records of KITH_TLS_STREAM_RECORD_MAX bytes and a rest. *taken bytes of size > 0 were taken: as
 * many as fit into KITH_TLS_STREAM_OUTPUT_MAX; the rest is for later, when output was sent. Errors: AGAIN (no room, or the
 * handshake is not complete: nothing is taken), CLOSED (after kith__tls_stream_close), TLS, NOMEM (nothing is taken; may be
 * tried again).
 */
KITH_MUST_USE int kith__tls_stream_write(struct kith_tls_stream *stream, const uint8_t *bytes, size_t size,
                                         size_t *taken);
/** True if a write would take at least one byte. */
bool kith__tls_stream_is_writable(const struct kith_tls_stream *stream);
/**
 * Ciphertext to send, in order; empty: none. It stays where it is until kith__tls_stream_sent or _free, whatever else is
 * called, so that it can be lent to a write. Asked again before that, the same bytes come, perhaps with more behind them
 * (at the same place) or not.
 */
struct kith_slice kith__tls_stream_output(struct kith_tls_stream *stream);
/** The first `size` bytes of the output were sent. Buffers that are empty are given back. */
void kith__tls_stream_sent(struct kith_tls_stream *stream, size_t size);
/** Ciphertext that waits, in bytes. */
size_t kith__tls_stream_output_size(const struct kith_tls_stream *stream);

/** True after the handshake: the peer is proven, and writes are taken. False again after a failure. */
bool kith__tls_stream_is_open(const struct kith_tls_stream *stream);
/** Server, when open: the client came to check acme-tls/1: it is answered by now; send the output and close. */
bool kith__tls_stream_is_challenge(const struct kith_tls_stream *stream);
/** When open: the chosen protocol, or empty. Lives as long as the stream. */
struct kith_slice kith__tls_stream_alpn(const struct kith_tls_stream *stream);
/** When open: "TLS 1.3" or "TLS 1.2", and the name of the cipher (kith__cipher_name); else "". Static. */
const char *kith__tls_stream_version(const struct kith_tls_stream *stream);
const char *kith__tls_stream_cipher(const struct kith_tls_stream *stream);

/**
 * Exported keying material with a context (RFC 5705, RFC 8446 7.5): 1..KITH_TLS_STREAM_EXPORT_MAX bytes, the same on both
 * sides. The label has 1..249 bytes. Errors: STATE (not open), INVALID, UNSUPPORTED (TLS 1.2 without extended master
 * secret, where it would not be bound to this connection: RFC 7627).
 */
enum { KITH_TLS_STREAM_EXPORT_MAX = 256, KITH_TLS_STREAM_EXPORT_CONTEXT_MAX = 255 };
KITH_MUST_USE int kith__tls_stream_export(const struct kith_tls_stream *stream, struct kith_slice label,
                                          struct kith_slice context, uint8_t *out, size_t size);

/**
 * Says that we send no more: queues close_notify behind what was written, once; before the handshake is complete, or after
 * a failure, nothing. Reading goes on. Errors: NOMEM (may be tried again).
 */
KITH_MUST_USE int kith__tls_stream_close(struct kith_tls_stream *stream);

/** Why a stream failed, or was TRUNCATED. */
struct kith_tls_stream_failure {
    const char *text;       /* in plain words; static; NULL: it did not fail */
    const char *alert_name; /* the alert's name in the standard; static; NULL: none */
    uint8_t alert;          /* the alert that was sent or received (RFC 8446, 6) */
    bool from_peer;         /* the alert was received */
    bool wrong_name;        /* client: the certificate is fine but for another name */
};
struct kith_tls_stream_failure kith__tls_stream_failure(const struct kith_tls_stream *stream);

#endif
