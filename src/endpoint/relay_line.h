/**
 * One connection to a relay on the rt: dials (src/link), upgrades to WebSocket, then lets a kith_relay_client talk. Everything is
 * bounded in time: being connected and accepted, waiting for a pong, writing, closing.
 *
 * Thread rules and life: those of its rt. Events come only out of kith__rt_process. Source: spec/02, 1.3 to 1.8 and 4.1 to 4.4.
 */
#ifndef KITH_ENDPOINT_RELAY_LINE_H
#define KITH_ENDPOINT_RELAY_LINE_H

#include "link/dial.h"
#include "relay/access.h"
#include "relay/client.h"

struct kith_relay_line;

#define KITH_RELAY_CONNECT_LIMIT_NS (10 * KITH_NS_PER_S) /* from the name to being accepted */
#define KITH_RELAY_STALL_NS         KITH_NS_PER_S        /* a write that takes longer: is the relay there? */
#define KITH_RELAY_WRITE_LIMIT_NS   (15 * KITH_NS_PER_S) /* a write that takes longer ends the connection */
#define KITH_RELAY_CLOSE_LIMIT_NS   KITH_NS_PER_S        /* for leaving in order */

struct kith_relay_line_events {
    /** What a message meant: ACCEPTED, ESTABLISHED, DATAGRAM, GONE, STATUS, HEALTH, RESTARTING. The line must not be closed inside. */
    void (*on_event)(void *ctx, const struct kith_relay_client_event *event, uint64_t now_ns);
    /** All messages that came together were told: a time to answer them. */
    void (*on_batch_end)(void *ctx);
    /** It failed to answer a ping in time, or does again: see kith_relay_client.is_doubtful. Not to be closed inside. */
    void (*on_doubt)(void *ctx);
    /**
     * It is over, or it could not be made: err and a sentence, valid until the callback returns. PERMISSION: the relay does not
     * want us (status 401 or 403, or ServerDeniesAuth). The line may (and must, some time) be closed.
     */
    void (*on_end)(void *ctx, int err, const char *why);
    void *ctx;
};

struct kith_relay_line_options {
    struct kith_rt *rt;
    struct kith_relay_client *client;    /* borrowed; started and stopped by the line */
    struct kith_slice url;               /* normalised; borrowed until close */
    const char *token;                   /* NULL: none; at most KITH_RELAY_TOKEN_SIZE_MAX bytes; borrowed until close */
    struct kith_tls_stream_context *tls; /* referenced; needed for https only */
    const struct kith_proxy *proxy;      /* copied; NULL: none */
    bool prefers_v6;
};

/** Lines that say goodbye. By value in its owner; on_empty and ctx are set once. */
struct kith_relay_leaving {
    struct kith_list lines;
    void (*on_empty)(
        void *ctx); /* the last one is gone by itself. Lines must not be opened or closed inside. NULL is fine */
    void *ctx;
};

/**
 * Starts to connect. Errors: NOMEM; UNSUPPORTED: no http or https URL; PARSE, INVALID: a URL or token that cannot be sent; on
 * errors no event follows.
 */
KITH_MUST_USE int kith__relay_line_open(const struct kith_relay_line_options *options,
                                        const struct kith_relay_line_events *events, struct kith_relay_line **out);
/** Sends what the client has queued, as far as the connection takes it; it goes on by itself. Also arms the line's timer. */
void kith__relay_line_flush(struct kith_relay_line *line);
/** The local address of the TCP connection; family NONE if there is none. */
struct kith_sockaddr kith__relay_line_local(const struct kith_relay_line *line);
/** Stops the client and frees, at once; no event follows. NULL is fine. */
void kith__relay_line_close(struct kith_relay_line *line);
/**
 * Stops the client, says goodbye (WebSocket close, 1000) and frees when that arrived, or after KITH_RELAY_CLOSE_LIMIT_NS; no event
 * follows but on_empty of `leaving`, if it was the last one there. Meanwhile the line is in its list, from which
 * kith__relay_line_close_leaving takes it; the list must be empty before the rt ends.
 */
void kith__relay_line_leave(struct kith_relay_line *line, struct kith_relay_leaving *leaving);
/** Closes at once all that are leaving; on_empty is not called. */
void kith__relay_line_close_leaving(struct kith_relay_leaving *leaving);

#endif
