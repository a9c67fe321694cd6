/**
 * The packets sent in one space, until each is acknowledged or forgotten: a ring indexed by packet number. A packet
 * knows the frames in it as short records that say what an ACK or a loss means; the first is inside the entry, further
 * ones are in a second ring. Owner: the space, by value; both rings grow on demand and shrink when the space is idle.
 *
 * Sending:  kith__sent_begin -> number; kith__sent_add_frame while the packet is written; kith__sent_commit or
 * _abandon.
 * An ACK:   for each range: kith__sent_ack_begin, then kith__sent_ack_next until NULL; after all: kith__sent_forget.
 * Loss:     kith__sent_take_lost until NULL (the thresholds come from loss.h).
 * Pointers to entries are valid until the next begin, forget or dispose. Source: RFC 9002, A.1; RFC 9000, 13.3.
 */
#ifndef KITH_QUIC_RECOVER_SENT_H
#define KITH_QUIC_RECOVER_SENT_H

#include "base/assert.h"
#include <kith/types.h>

enum {
    KITH_SENT_FRAMES_MAX = 64,        /* records in one packet; the writer stops there */
    KITH_SENT_PACKETS_MAX = 1 << 16,  /* in one space (4 MiB of records); then KITH_ERR_LIMIT */
    KITH_SENT_COUNTED_MAX = 48 << 10, /* in flight; then no new data goes out, whatever the window says */
    /**
     * Entries beside those in flight: ACK-only packets, and what is settled but stands behind an older packet in flight. Then
     * the oldest are given up (kith__sent_take_overdue). With COUNTED_MAX and some probes this is below PACKETS_MAX.
     */
    KITH_SENT_OTHERS_MAX = 15 << 10,
    KITH_SENT_UNACKED_MAX = 1 << 17, /* packets after the largest acknowledged one: such a peer acknowledges nothing */
    KITH_SENT_FRAMES_ALL_MAX =
        1 << 17,               /* records beside the first of each packet (4 MiB): a packet then takes no more */
    KITH_SENT_QUIET_MAX = 128, /* packets in a row that ask for no ACK; then one should (quiet_run) */
    KITH_SENT_SKIPS_KEPT = 8   /* the last skipped numbers, to know an ACK for one of them */
};

/** What one frame in a packet means when the packet is acknowledged or lost. kind and flags are the caller's words. */
struct kith_sent_frame {
    uint8_t kind;   /* index of the frame table */
    uint8_t flags;  /* FIN and the like */
    uint16_t extra; /* free for the kind */
    uint32_t size;  /* STREAM, CRYPTO: bytes */
    uint64_t id;    /* stream id, path id, or other */
    uint64_t value; /* offset, limit or sequence number */
};

enum kith_sent_state {
    KITH_SENT_IN_FLIGHT, /* not acknowledged, not declared lost; also packets that do not count as in flight */
    KITH_SENT_ACKED,
    KITH_SENT_LOST,   /* declared lost; may still be acknowledged late */
    KITH_SENT_SKIPPED /* this number was never used, or counts as never used: an ACK for it says nothing */
};

enum kith_sent_flag {                          /* a set */
                      KITH_SENT_ELICITING = 1, /* has a frame that asks for an ACK */
                      KITH_SENT_COUNTED = 2,   /* in flight: ack-eliciting or padded (RFC 9002, 2) */
                      KITH_SENT_MTU_PROBE = 4, /* its loss is no congestion (RFC 9000, 14.4) */
                      KITH_SENT_ECT0 = 8,      /* left with ECT(0) */
                      KITH_SENT_EARLY = 16,    /* 0-RTT */
                      KITH_SENT_PROBING = 64,  /* only probing frames */
                      KITH_SENT_WAS_LOST = 128 /* set by ack_next: was declared lost before (spurious) */
};

/** One packet. One cache line. */
struct kith_sent {
    uint64_t sent_ns;
    uint64_t number;
    uint64_t acks;                /* it carried an ACK of its own space up to this number - 1; 0: none */
    struct kith_sent_frame frame; /* the first; see kith__sent_frame */
    uint32_t more;                /* position of the second frame in the frame ring */
    uint16_t size;                /* bytes on the wire */
    uint8_t state;                /* enum kith_sent_state */
    uint8_t flags;                /* enum kith_sent_flag */
    uint8_t frame_count;
    uint8_t epoch;     /* of the path's 4-tuple when it was sent: older ones do not count for congestion */
    uint8_t key_phase; /* the caller's */
    uint8_t zero;
    uint32_t run; /* ACKED: this many entries from here on are ACKED as well; 0: not known */
};
_Static_assert(sizeof(struct kith_sent) <= 64, "one cache line per packet in flight");

/** Members are read by others, changed by the verbs only. */
struct kith_sent_log {
    struct kith_sent *packets;      /* ring; cap is a power of two, or 0 */
    struct kith_sent_frame *frames; /* ring of the further frames */
    uint32_t cap, frames_cap;
    uint32_t frames_begin, frames_end;       /* positions that only grow (mod 2^32) */
    uint64_t base;                           /* lowest number in the ring */
    uint64_t next;                           /* the next number to use, or to skip */
    uint64_t acked_end;                      /* largest acknowledged number + 1; 0: none */
    uint64_t oldest;                         /* nothing below it is IN_FLIGHT; base <= oldest <= next */
    uint64_t in_flight_size;                 /* bytes of COUNTED packets in flight */
    uint64_t counted;                        /* packets of that kind */
    uint64_t eliciting;                      /* ack-eliciting packets in flight */
    uint64_t eliciting_sent_ns;              /* when the last ack-eliciting packet left; 0: none yet */
    uint64_t waiting, waiting_ns;            /* the first ack-eliciting packet in flight after all acknowledged ones,
                                                and when it left; UINT64_MAX, KITH_NEVER: none */
    uint64_t quiet_run;                      /* packets since the last ack-eliciting one */
    uint64_t skip_at, skip_span, skip_state; /* the next number to skip; UINT64_MAX: none */
    uint64_t skipped[KITH_SENT_SKIPS_KEPT];
    uint32_t skip_count;
    uint32_t peak; /* most entries since the ring was last empty */
    bool building;
    const struct kith_mem *mem;
};

/**
 * An empty log from number 0.
 *   skip_seed  random: where numbers are skipped (spec/01, 1.2); 0: nowhere
 */
void kith__sent_init(struct kith_sent_log *log, const struct kith_mem *mem, uint64_t skip_seed);
/** Frees the memory and forgets all packets (keys discarded); numbers go on where they were. */
void kith__sent_dispose(struct kith_sent_log *log);

/* ---- Sending ---- */

/**
 * Starts a packet. *number is what it must carry. Errors: KITH_ERR_NOMEM, KITH_ERR_LIMIT; nothing changed then. Two
 * begins
 * without commit or abandon between them are a bug.
 */
KITH_MUST_USE int kith__sent_begin(struct kith_sent_log *log, uint64_t *number);
/**
 * Records a frame of the packet begun. Call before its bytes are written. KITH_ERR_NOMEM or KITH_ERR_LIMIT: leave
 * the frame
 * for another packet. A STREAM frame that follows another one of the same stream without a gap stays its own record.
 */
KITH_MUST_USE int kith__sent_add_frame(struct kith_sent_log *log, const struct kith_sent_frame *frame);
/** Takes the last record back: its bytes did not fit. */
void kith__sent_undo_frame(struct kith_sent_log *log);
/** Entry of the packet begun: `acks`, `epoch`, `key_phase` may be set until the commit. */
struct kith_sent *kith__sent_building(struct kith_sent_log *log);
/** The packet leaves. ELICITING implies COUNTED (asserted). size > 0. */
void kith__sent_commit(struct kith_sent_log *log, uint16_t size, uint8_t flags, uint64_t now_ns);
/** Nothing was sent; the number is used for the next packet. */
void kith__sent_abandon(struct kith_sent_log *log);

/* ---- What became of them ---- */

/** The frame at index < packet->frame_count, in the order they were added. Valid until the packet is forgotten. */
static inline const struct kith_sent_frame *kith__sent_frame(const struct kith_sent_log *log,
                                                             const struct kith_sent *packet, size_t index)
{
    KITH_ASSERT(index < packet->frame_count);
    return index == 0 ? &packet->frame : &log->frames[(packet->more + (uint32_t)index - 1) & (log->frames_cap - 1)];
}

/** Walks the newly acknowledged packets of one range. */
struct kith_sent_walk {
    uint64_t begin, at, end;
    uint64_t slow; /* steps over packets that were acknowledged before */
};

/**
 * Starts on a range [first, last] from an ACK frame, untrusted but first <= last. Returns 0, or the wire code
 * PROTOCOL_VIOLATION ("unsent packet acked": numbers not sent, or skipped); nothing changed then.
 */
KITH_MUST_USE int kith__sent_ack_begin(struct kith_sent_log *log, uint64_t first, uint64_t last,
                                       struct kith_sent_walk *walk);
/**
 * The next packet of the range that was not acknowledged before, in ascending order, now ACKED and out of the sums;
 * NULL
 * at the end. flags has WAS_LOST if it was declared lost (then it was out of the sums already, and its frames were
 * reported lost: report them acknowledged as well).
 */
const struct kith_sent *kith__sent_ack_next(struct kith_sent_log *log, struct kith_sent_walk *walk);
/**
 * The oldest packet in flight if it is lost: below the largest acknowledged one, and number < below or
 * sent_ns < sent_before_ns. It is now LOST and out of the sums. NULL: no (more) lost packet. Packets that are not
 * COUNTED
 * come as well (they carry ACKs only); skip those without frames.
 */
const struct kith_sent *kith__sent_take_lost(struct kith_sent_log *log, uint64_t below, uint64_t sent_before_ns);
/**
 * The oldest packet in flight, acknowledged numbers or not, taken as never sent: after Retry, a rejected 0-RTT, or on a
 * dead path. Call until NULL: from then on no ACK of what was sent so far means anything, also not of what was lost.
 */
const struct kith_sent *kith__sent_take_oldest(struct kith_sent_log *log);
/** The first ack-eliciting packet in flight with number >= from, or NULL: what a probe sends again. Changes nothing. */
const struct kith_sent *kith__sent_find_eliciting(const struct kith_sent_log *log, uint64_t from);
/** True if more entries are kept than those in flight and KITH_SENT_OTHERS_MAX others: forget, and give up some. */
static inline bool kith__sent_is_long(const struct kith_sent_log *log)
{
    return log->next - log->base > log->counted + KITH_SENT_OTHERS_MAX;
}
/**
 * The oldest packet in flight, given up because so many later ones were sent without an ACK for it; it is LOST and out of
 * the sums. NULL if the log is not (any more) too long. Between two calls: kith__sent_forget.
 */
const struct kith_sent *kith__sent_take_overdue(struct kith_sent_log *log);
/** Forgets all entries without a word and keeps the memory: the connection ends, and its close needs room. */
void kith__sent_clear(struct kith_sent_log *log);
/** After the ranges of an ACK, or when packets were taken: finds `waiting` again. Cheap: it only moves forward. */
void kith__sent_find_waiting(struct kith_sent_log *log);
/** True if the packet begun can take one more record. */
bool kith__sent_has_record_room(const struct kith_sent_log *log);
/** The entry of a number; NULL if it is not in the ring (any more). */
const struct kith_sent *kith__sent_find(const struct kith_sent_log *log, uint64_t number);
/**
 * Frees the oldest entries that nobody needs: acknowledged and skipped ones, lost ones sent before lost_before_ns (a
 * late
 * ACK cannot be known as spurious then; at once if the log is long), and ACK-only ones beyond KITH_SENT_QUIET_MAX. Cheap;
 * call after each ACK and loss.
 */
void kith__sent_forget(struct kith_sent_log *log, uint64_t lost_before_ns);
/**
 * True if the rings have at least four times the room that they need now: worth giving back when nothing happens for a
 * while. They shrink by themselves only when the log is empty, and the last packets are often ACKs that nobody acknowledges.
 */
bool kith__sent_has_slack(const struct kith_sent_log *log);
/**
 * Gives it back. With nothing in flight all entries go: no ACK of them is awaited, and whether a loss was spurious or an
 * ACK of ours arrived is news of the past. Without memory for smaller rings they stay as they are.
 */
void kith__sent_shed(struct kith_sent_log *log);
/** Gives all packets whose epoch is neither `keep` nor `keep_too` the epoch `gone`. */
void kith__sent_replace_epochs(struct kith_sent_log *log, uint8_t keep, uint8_t keep_too, uint8_t gone);
/** Test builds: aborts if the sums or cursors do not match the entries. */
void kith__sent_check(const struct kith_sent_log *log);

#endif
