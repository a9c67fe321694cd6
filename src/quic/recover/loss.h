/**
 * When packets of one path are thought lost and when to probe. Holds thresholds, backoff and the loss timer of up to
 * three spaces (path 0; other paths have a data space only). Owner: the path, by value. Source: RFC 9002, 6 and 7.6.
 *
 * After an ACK: kith__loss_on_ack; then kith__loss_take until NULL; then kith__loss_is_persistent once.
 * Timer: kith__loss_timer gives deadline and meaning; when it passed, kith__loss_on_timer says what to do.
 */
#ifndef KITH_QUIC_RECOVER_LOSS_H
#define KITH_QUIC_RECOVER_LOSS_H

#include "quic/recover/rtt.h"
#include "quic/recover/sent.h"
#include "quic/recover/space.h"

#define KITH_PTO_CAP_NS        (2 * KITH_NS_PER_S) /* growth from one probe to the next, spec/01, 1.10 */
#define KITH_PTO_CAP_SHORT_NS  (1 * KITH_NS_PER_S) /* if the idle timeout is at most 25 s */
#define KITH_PTO_SHORT_IDLE_NS (25 * KITH_NS_PER_S)
enum {
    KITH_LOSS_PACKETS = 3,      /* packet threshold, RFC 9002, 6.1.1 */
    KITH_LOSS_PACKETS_MAX = 64, /* spurious losses raise it up to this */
    KITH_PTO_EXPONENT_MAX = 16,
    KITH_PERSISTENT_PTOS = 3 /* RFC 9002, 7.6.1 */
};

struct kith_loss {
    uint64_t loss_at_ns[KITH_SPACE_COUNT]; /* when the oldest packet of the space will be lost by time; KITH_NEVER */
    uint64_t progress_ns;    /* last ACK of something new, or probe: origin of the timer when nothing is in flight */
    uint64_t probed_ns;      /* last probe timeout: the next counts from it if nothing could be sent then */
    uint32_t pto_count;      /* probe timeouts in a row */
    uint32_t packets;        /* packet threshold now */
    uint32_t time_eighths;   /* time threshold now: this / 8 round trips; 9 at first, at most 16 */
    uint64_t run_begin_ns;   /* send time of the first ack-eliciting packet of a run of losses; KITH_NEVER: none */
    uint64_t run_end_ns;     /* of the last one */
    uint64_t run_next;       /* number after the last one */
    uint64_t run_longest_ns; /* longest run that this detection touched */
    uint64_t lost, lost_size, spurious, probe_timeouts; /* statistics */
};

/** What the loss timer needs to know of the connection and path. */
struct kith_loss_view {
    const struct kith_sent_log *logs[KITH_SPACE_COUNT]; /* NULL: no such space (any more) */
    const struct kith_rtt *rtt;
    uint64_t delay_max_ns;    /* the peer's max_ack_delay, for the data space */
    uint64_t idle_timeout_ns; /* of the path, else of the connection; 0: none */
    uint64_t
        quiet_from_ns; /* when the first ack-eliciting packet since the last received one left; KITH_NEVER: no matter */
    bool is_confirmed; /* before: no PTO for the data space (RFC 9002, 6.2.1) */
    bool has_handshake_keys;
    bool
        peer_is_waiting; /* client whose address the server may not have validated: must probe with nothing in flight */
    bool is_blocked;     /* server at its amplification limit: no PTO (RFC 9002, 6.2.2.1) */
};

enum kith_loss_kind { KITH_LOSS_NONE, KITH_LOSS_BY_TIME, KITH_LOSS_PROBE };

struct kith_loss_timer {
    uint64_t deadline_ns; /* KITH_NEVER if kind is NONE */
    uint8_t kind;         /* enum kith_loss_kind */
    uint8_t space;        /* enum kith_space */
    uint8_t probes;       /* PROBE: packets to send, 1 or 2, whatever the window says */
};

void kith__loss_init(struct kith_loss *loss);
/**
 * An ACK acknowledged something new. may_reset: false for a client whose address may not be validated (RFC 9002,
 * 6.2.1).
 */
void kith__loss_on_ack(struct kith_loss *loss, bool may_reset, uint64_t now_ns);
/**
 * The next packet of a space that is lost now; NULL: no more (then the space's timer is set). The packet is LOST in
 * the log.
 */
const struct kith_sent *kith__loss_take(struct kith_loss *loss, enum kith_space space, struct kith_sent_log *log,
                                        const struct kith_rtt *rtt, uint64_t now_ns);
/** True if a packet that kith__loss_take just gave was overtaken by enough others (else it was time). RFC 9002, 6.1. */
static inline bool kith__loss_is_by_number(const struct kith_loss *loss, const struct kith_sent_log *log,
                                           const struct kith_sent *packet)
{
    return packet->number + loss->packets < log->acked_end;
}
/**
 * After a batch of takes in the data space: were losses spread over three PTOs with nothing acknowledged between?
 * Asked once.
 */
bool kith__loss_is_persistent(struct kith_loss *loss, const struct kith_rtt *rtt, uint64_t delay_max_ns);
/** A packet declared lost was acknowledged: `behind` = largest acknowledged number minus its own. Thresholds adapt. */
void kith__loss_on_spurious(struct kith_loss *loss, const struct kith_sent *packet, uint64_t behind,
                            const struct kith_rtt *rtt, uint64_t now_ns);
/** Packets lost at least this long ago may be forgotten (kith__sent_forget). */
uint64_t kith__loss_forget_before(const struct kith_rtt *rtt, uint64_t delay_max_ns, uint64_t now_ns);
/** A space's keys are gone: its timer and the backoff with it. RFC 9002, 6.2.2. */
void kith__loss_on_space_dropped(struct kith_loss *loss, enum kith_space space, uint64_t now_ns);
/** The one timer of the path. Pure. */
struct kith_loss_timer kith__loss_timer(const struct kith_loss *loss, const struct kith_loss_view *view);
/** Time from the origin to probe number pto_count + 1: the backoff of spec/01, 1.10. Also for path challenges. */
uint64_t kith__loss_backoff_ns(uint64_t pto_ns, uint32_t count, uint64_t cap_ns);
/** Cap for that: 2 s, 1 s, or 1.5 round trips. */
uint64_t kith__loss_cap_ns(const struct kith_rtt *rtt, uint64_t idle_timeout_ns);
/**
 * The timer's deadline passed: the same as kith__loss_timer, with the backoff advanced if it is a PROBE. BY_TIME:
 * take the
 * lost packets of that space. NONE if nothing was due.
 */
struct kith_loss_timer kith__loss_on_timer(struct kith_loss *loss, const struct kith_loss_view *view, uint64_t now_ns);

#endif
