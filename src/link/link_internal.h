/** Between link.c, which pumps bytes, and dial.c, which finds what to pump them over. Only these include it. */
#ifndef KITH_LINK_LINK_INTERNAL_H
#define KITH_LINK_LINK_INTERNAL_H

#include "link/link.h"
#include "tls/stream.h"

struct kith_dial;

enum kith_link_state {
    KITH_LINK_WAITING,  /* on_open was not told */
    KITH_LINK_OPEN,     /* on_open said 0 */
    KITH_LINK_FAILED,   /* on_open said why not: only finish and close are left */
    KITH_LINK_FINISHING /* kith__link_finish was called */
};

struct kith_link {
    struct kith_rt *rt;
    struct kith_link_events events;
    struct kith_rt_stream *stream; /* the wire: one of these two; neither while dialling */
    struct kith_link *below;       /* a link to a proxy, which is a tunnel by now */
    struct kith_tls_stream *tls;   /* NULL: plain */
    struct kith_dial *dial;        /* until on_open is told; NULL for accepted ones */
    struct kith_rt_timer
        timer; /* WAITING: on_open of plain ones; OPEN: what was kept is to be read; FINISHING: the limit */
    struct kith_link_stats stats;

    /* The user's write under way. With TLS: what of it the TLS stream has not taken: pending_count slices, the first from
     * pending_offset on; `single` if the write had one, else an array of our own. */
    size_t write_size, pending_count, pending_offset;
    struct kith_slice single, *pending, *pending_array;
    size_t wire_size; /* TLS: ciphertext that the wire has borrowed; 0: none */

    uint8_t state; /* enum kith_link_state */
    unsigned callbacks;
    bool is_closed;                       /* free it when the last callback is through */
    bool is_writing;                      /* the user's bytes are borrowed */
    bool is_write_broken;                 /* the wire takes nothing any more */
    bool is_refusing;                     /* the user's writes are refused: TLS failed, or a write was cut */
    bool is_paused;                       /* by the user */
    bool is_pumping, has_kept;            /* TLS: reading; received bytes wait inside */
    bool is_wire_ended;                   /* nothing more comes from below */
    bool is_end_told;                     /* on_end */
    bool is_close_sent, is_shut, is_gone; /* steps of finishing */
};

/** A link without a wire. Errors: NOMEM. */
KITH_MUST_USE int kith__link_new(struct kith_rt *rt, const struct kith_link_events *events, struct kith_link **out);
/**
 * Puts it on an open stream, or on an open link that is a tunnel; the wire is the link's then, also on an error. tls NULL:
 * plain; else a context, for clients with the name of the server. Errors: NOMEM, INVALID, TLS. On success on_open follows
 * from kith__link_opened, or when the handshake is through.
 */
KITH_MUST_USE int kith__link_attach(struct kith_link *link, struct kith_rt_stream *stream, struct kith_link *below,
                                    struct kith_tls_stream_context *tls, const char *name);
/** In a turn: a plain link that was attached is open. The user may have closed it when this returns. */
void kith__link_opened(struct kith_link *link);
/** In a turn: it cannot be opened. The user may have closed it, and the dial is gone, when this returns. */
void kith__link_open_failed(struct kith_link *link, int err, const char *why);
/** In a turn: bytes of the wire that somebody else received. */
void kith__link_wire_data(struct kith_link *link, uint8_t *bytes, size_t size);

/** A callback begins and ends: in between the link's memory stays, whatever the user does. */
void kith__link_enter(struct kith_link *link);
void kith__link_leave(struct kith_link *link);

/** "host:port" of the target, for sentences; lives as long as the dial. */
const char *kith__dial_target(const struct kith_dial *dial);
/** Gives everything up that is not the link's yet. NULL is fine. */
void kith__dial_free(struct kith_dial *dial);

#endif
