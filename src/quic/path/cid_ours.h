/**
 * The connection ids that we issued for one path id: the peer addresses its packets to them. The bytes come from the
 * host,
 * which also keeps the map from id to connection: it adds what kith__cid_ours_add was given, and removes what
 * kith__cid_ours_on_retire returns. Owner: the path id's state, by value; no memory of its own.
 * Source: RFC 9000, 5.1.1 and 19.15 f.; spec/01, 1.3 and 4.5.
 */
#ifndef KITH_QUIC_PATH_CID_OURS_H
#define KITH_QUIC_PATH_CID_OURS_H

#include "quic/path/cid.h"

enum {
    KITH_CIDS_OURS_MAX = 5 /* live at once for a path id, as many as we take ourselves; the peer's limit may be lower */
};

enum kith_cid_ours_state {
    KITH_CID_FREE,   /* slot unused */
    KITH_CID_QUEUED, /* to be announced, for the first time or again */
    KITH_CID_SENT,   /* announced, not acknowledged */
    KITH_CID_KNOWN   /* the peer has it */
};

struct kith_cid_ours_slot {
    struct kith_cid cid;
    uint8_t state; /* enum kith_cid_ours_state */
    uint64_t sequence;
};

struct kith_cid_ours {
    struct kith_cid_ours_slot slots[KITH_CIDS_OURS_MAX];
    uint64_t next_sequence; /* of the next id */
    uint8_t limit;          /* live ids wanted: at most the peer's active_connection_id_limit */
};

/** Nothing issued; limit 1 until the peer's is known. */
void kith__cid_ours_init(struct kith_cid_ours *ours);
/** The peer's active_connection_id_limit (untrusted, >= 2 as checked with the parameters). Never lowers the limit. */
void kith__cid_ours_set_limit(struct kith_cid_ours *ours, uint64_t limit);
/** How many more ids should be issued now. */
size_t kith__cid_ours_wanted(const struct kith_cid_ours *ours);
/**
 * Takes a fresh id.
 *   announced  true for sequence 0 of path 0, which the handshake carries; no frame is then due
 * Returns its sequence number. There must be room (asserted): wanted() > 0, or nothing was issued yet.
 */
uint64_t kith__cid_ours_add(struct kith_cid_ours *ours, const struct kith_cid *cid, bool announced);
/**
 * The next id to announce, lowest sequence first; false if none is due. Then call on_sent, or ask again later. The reset
 * token is not filled in: the host computes it from the id, so nobody needs to keep it. We never ask the peer to retire
 * any.
 */
bool kith__cid_ours_next(const struct kith_cid_ours *ours, struct kith_cid_issue *out);
/** The frame with this sequence went out, was acknowledged, was lost. Sequences that are retired by now are fine. */
void kith__cid_ours_on_sent(struct kith_cid_ours *ours, uint64_t sequence);
void kith__cid_ours_on_acked(struct kith_cid_ours *ours, uint64_t sequence);
void kith__cid_ours_on_lost(struct kith_cid_ours *ours, uint64_t sequence);
/**
 * RETIRE_CONNECTION_ID, untrusted.
 *   used_sequence  of the id to which the packet with the frame was sent; UINT64_MAX if it has none (another path id)
 *   removed        the id to take out of the host's map; size 0 if it was retired before
 * Returns 0 or the wire code PROTOCOL_VIOLATION (never issued, or the one in use: RFC 9000, 19.16).
 */
KITH_MUST_USE int kith__cid_ours_on_retire(struct kith_cid_ours *ours, uint64_t sequence, uint64_t used_sequence,
                                           struct kith_cid *removed);
/** The sequence number of a live id; UINT64_MAX if it is none. */
uint64_t kith__cid_ours_find(const struct kith_cid_ours *ours, const struct kith_cid *cid);
/** The live id at index 0.. in slot order, for taking all out of the host's map; NULL behind the last. */
const struct kith_cid *kith__cid_ours_at(const struct kith_cid_ours *ours, size_t index);

#endif
