/**
 * The connection ids that the peer issued for one path id: one is active (we address packets to it), others are spares,
 * and retired ones wait until the peer was told. Owner: the path id's state, by value; the list of retired ones is
 * allocated while it is not empty.
 * Source: RFC 9000, 5.1.2 and 19.15; spec/01, 1.3 and 4.5.
 */
#ifndef KITH_QUIC_PATH_CID_THEIRS_H
#define KITH_QUIC_PATH_CID_THEIRS_H

#include "quic/path/cid.h"

enum {
    KITH_CIDS_THEIRS_MAX = 5,  /* our active_connection_id_limit; more: CONNECTION_ID_LIMIT_ERROR */
    KITH_CIDS_RETIRED_MAX = 50 /* retirements that the peer has not acknowledged; more: CONNECTION_ID_LIMIT_ERROR */
};

struct kith_cid_theirs_slot {
    struct kith_cid cid;
    uint8_t reset_token[KITH_RESET_TOKEN_SIZE];
    bool is_used, has_token;
    bool was_active; /* packets went to it: never chosen again as fresh */
    uint64_t sequence;
};

enum kith_cid_retired_state { KITH_CID_RETIRE_QUEUED, KITH_CID_RETIRE_SENT };

struct kith_cid_retired {
    uint64_t sequence;
    uint8_t state; /* enum kith_cid_retired_state */
};

struct kith_cid_theirs {
    struct kith_cid_theirs_slot slots[KITH_CIDS_THEIRS_MAX];
    struct kith_cid_retired *retired; /* retired_count; NULL while empty */
    const struct kith_mem *mem;
    uint64_t retire_prior_to; /* largest the peer asked for */
    uint64_t largest;         /* largest sequence number seen + 1; 0: none */
    uint64_t window[2];       /* bit n: sequence largest - 1 - n was seen (to know repeats of retired ones) */
    uint8_t active;           /* index of the slot; KITH_CIDS_THEIRS_MAX: none */
    uint8_t retired_count;
};

/** No id at all (a path id other than 0 before the first PATH_NEW_CONNECTION_ID). */
void kith__cid_theirs_init(struct kith_cid_theirs *theirs, const struct kith_mem *mem);
/** Frees what it holds; as after init then. */
void kith__cid_theirs_dispose(struct kith_cid_theirs *theirs);
/**
 * Sequence 0 of path 0, from the handshake: becomes active. Called again when a Retry or the first Initial changes
 * it.
 */
void kith__cid_theirs_set_first(struct kith_cid_theirs *theirs, const struct kith_cid *cid);
/** The reset token of sequence 0, from the server's transport parameters. */
void kith__cid_theirs_set_first_token(struct kith_cid_theirs *theirs, const uint8_t token[KITH_RESET_TOKEN_SIZE]);

/**
 * A (PATH_)NEW_CONNECTION_ID frame, untrusted; cid.size is 1..20 (the decoder refused others). *active_changed tells
 * that
 * packets must go to another id now. Returns 0 or a wire code:
 *   PROTOCOL_VIOLATION         retire_prior_to > sequence; a known sequence with other content; a known id with another
 *                              sequence; we send to a zero-length id
 *   CONNECTION_ID_LIMIT_ERROR  more than KITH_CIDS_THEIRS_MAX live ids; too many retirements open
 * or KITH_ERR_NOMEM.
 * A path id may have no active id after this if the peer retires all: kith__cid_theirs_active is NULL until more come.
 */
KITH_MUST_USE int kith__cid_theirs_on_issue(struct kith_cid_theirs *theirs, const struct kith_cid_issue *issue,
                                            bool *active_changed);
/** The id to address packets to; NULL if there is none. Valid until the next change. */
const struct kith_cid *kith__cid_theirs_active(const struct kith_cid_theirs *theirs);
uint64_t kith__cid_theirs_active_sequence(const struct kith_cid_theirs *theirs);
/** Live ids that were never used. */
size_t kith__cid_theirs_spares(const struct kith_cid_theirs *theirs);
/** Takes a fresh id into use and retires the active one. False: there is no spare, or no memory; nothing changed. */
bool kith__cid_theirs_switch(struct kith_cid_theirs *theirs);
/** The next sequence to put in a (PATH_)RETIRE_CONNECTION_ID frame; false if none is due. */
bool kith__cid_theirs_next_retire(const struct kith_cid_theirs *theirs, uint64_t *sequence);
void kith__cid_theirs_on_retire_sent(struct kith_cid_theirs *theirs, uint64_t sequence);
void kith__cid_theirs_on_retire_acked(struct kith_cid_theirs *theirs, uint64_t sequence);
void kith__cid_theirs_on_retire_lost(struct kith_cid_theirs *theirs, uint64_t sequence);
/**
 * True if these bytes are the reset token of an id that we used and did not retire (RFC 9000, 10.3.1). Constant time in
 * the token's bytes.
 */
bool kith__cid_theirs_is_reset(const struct kith_cid_theirs *theirs, const uint8_t token[KITH_RESET_TOKEN_SIZE]);
/** The token of the active id; NULL if it has none. The host keeps a map of these. */
const uint8_t *kith__cid_theirs_active_token(const struct kith_cid_theirs *theirs);
/** The path id is abandoned: all ids and tokens are forgotten, nothing is retired by frames (spec/01, 1.5 and 4.8). */
void kith__cid_theirs_forget(struct kith_cid_theirs *theirs);

#endif
