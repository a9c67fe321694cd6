/**
 * A byte stream to another machine: TCP, or TLS over it, accepted or dialled (link/dial.h); maybe through a proxy. It
 * says what rt/stream.h says, with the same calls whatever lies below.
 *
 * Thread rules: those of its rt. Events come only out of kith__rt_process, never out of a call into a link. Inside an
 * event the link may be written to, paused, finished and closed.
 *
 * Life: new -> on_open(0) -> data both ways -> kith__link_close (at once) or kith__link_finish (what was written
 * arrives, bounded in time). An error in on_open or on_end does not free the link: close it.
 */
#ifndef KITH_LINK_LINK_H
#define KITH_LINK_LINK_H

#include "rt/rt.h"

struct kith_link; /* owned by whoever opened it, until close or finish */
struct kith_tls_stream_context;

enum { KITH_LINK_WHY_SIZE = 512 }; /* of a sentence, with its end */

/** Any function may be NULL. */
struct kith_link_events {
    /**
     * Bytes may flow (err 0: TCP, proxy and TLS are through), or it failed: err and a sentence, valid until the
     * callback returns: what failed, why, and what helps. Once.
     */
    void (*on_open)(void *ctx, int err, const char *why);
    /** Bytes came, size > 0; they may be changed in place and are valid until the callback returns. */
    void (*on_data)(void *ctx, uint8_t *bytes, size_t size);
    /**
     * Nothing more will come, once: 0: the other side ended in order (TLS: with close_notify); TRUNCATED: TLS without
     * close_notify; RESET; TLS, TRANSPORT (broken records); IO. Writing may still be possible after 0.
     */
    void (*on_end)(void *ctx, int err);
    /** The bytes of the last write are the caller's again; an error: the link is broken, close it. */
    void (*on_writable)(void *ctx, int err);
    /**
     * After kith__link_finish: it is over, and the link is gone. The last event. Who frees the rt must have seen it of all
     * links that were finished.
     */
    void (*on_closed)(void *ctx);
    void *ctx;
};

/** Numbers of a link, in bytes of the user (without TLS, proxy). */
struct kith_link_stats {
    uint64_t received_bytes, sent_bytes;
};

/**
 * Takes over an accepted stream, which is the link's from here on, also on an error (it is closed then). tls: a server's
 * context, referenced by the link; NULL: plain. on_open follows, for plain ones in the next turn. Errors: NOMEM, TLS.
 */
KITH_MUST_USE int kith__link_accept(struct kith_rt *rt, struct kith_rt_stream *stream,
                                    struct kith_tls_stream_context *tls, const struct kith_link_events *events,
                                    struct kith_link **out);
/** Replaces the events. */
void kith__link_set_events(struct kith_link *link, const struct kith_link_events *events);

/**
 * Writes size > 0 bytes, which stay borrowed until on_writable; one write at a time. Errors: STATE (one is under way,
 * not open, broken or finishing), NOMEM.
 */
KITH_MUST_USE int kith__link_write(struct kith_link *link, const uint8_t *bytes, size_t size);
/**
 * As kith__link_write, with 1..KITH_RT_STREAM_SLICES_MAX slices, none empty, one behind the other: a relay sends the frames
 * that wait for a client in one write. The bytes stay borrowed until on_writable, the array only during the call.
 */
KITH_MUST_USE int kith__link_write_slices(struct kith_link *link, const struct kith_slice *slices, size_t count);
/** True between a write and its on_writable. */
bool kith__link_is_writing(const struct kith_link *link);
/** No on_data until resume: the other side is pushed back. A link starts resumed. Up to 16 KiB may wait inside with TLS. */
void kith__link_read_pause(struct kith_link *link);
void kith__link_read_resume(struct kith_link *link);

/**
 * Ends our direction in order: the write under way goes out, then TLS's close_notify and the end of TCP; then what the
 * other side still sends is thrown away until it ends too, or limit_ns has passed (0: KITH_LINK_FINISH_NS), and the link is
 * freed. Without that wait a reset could overtake our last bytes. Only on_writable (of the write under way) and
 * on_closed follow. May be called in any state, once; with a write under way there must be an on_closed.
 */
void kith__link_finish(struct kith_link *link, uint64_t limit_ns);
/**
 * Closes at once and frees; no event follows. The bytes of a write under way are the caller's again, and may be cut.
 * NULL is fine.
 */
void kith__link_close(struct kith_link *link);

#define KITH_LINK_FINISH_NS (1500 * KITH_NS_PER_MS)

/** True once on_open said 0. */
bool kith__link_is_open(const struct kith_link *link);
bool kith__link_is_tls(const struct kith_link *link);
/**
 * Exported keying material of the TLS session (RFC 5705, RFC 8446, 7.5). Errors: STATE: not open; UNSUPPORTED: plain;
 * INVALID.
 */
KITH_MUST_USE int kith__link_export(const struct kith_link *link, struct kith_slice label, struct kith_slice context,
                                    uint8_t *out, size_t size);
/** TLS, when open: see the functions of the same names of tls/stream.h; false and empty for plain links. */
bool kith__link_is_challenge(const struct kith_link *link);
struct kith_slice kith__link_alpn(const struct kith_link *link);
const char *kith__link_tls_version(const struct kith_link *link);
/** Of the TCP connection (with a proxy: to the proxy). Family NONE before it is there, or for a unix socket. */
struct kith_sockaddr kith__link_remote(const struct kith_link *link);
struct kith_sockaddr kith__link_local(const struct kith_link *link);
struct kith_link_stats kith__link_stats(const struct kith_link *link);
/** The rt it lives on. */
struct kith_rt *kith__link_rt(const struct kith_link *link);

#endif
