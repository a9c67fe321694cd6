/**
 * Address discovery: telling the peer where its packets come from, and being told. One object for a connection, one
 * small one for each path. Owner: the connection and its paths, by value; no memory of their own. Source: spec/01, 6;
 * draft-seemann-quic-address-discovery.
 */
#ifndef KITH_QUIC_PATH_OBSERVED_H
#define KITH_QUIC_PATH_OBSERVED_H

#include "quic/wire/tparams.h"

/** All zero: off. */
struct kith_observed {
    bool sends, receives;   /* agreed on */
    uint64_t next_sequence; /* of our next report, over all paths */
    uint64_t ignored;       /* received reports that were older than the last of their path */
};

/** All zero: nothing told, nothing heard. */
struct kith_observed_path {
    bool is_due;                  /* a report should go out on this path */
    uint64_t sent_end;            /* sequence of the newest report that went out + 1; 0: none */
    uint64_t received_end;        /* largest sequence received + 1; 0: none */
    struct kith_sockaddr address; /* what the peer sees of us on this path; family NONE: not told */
};

/** Both sides' parameters (enum kith_observed_role). Not from 0-RTT ones: reports are 1-RTT only. */
void kith__observed_start(struct kith_observed *observed, uint8_t ours, uint8_t theirs);

/**
 * A report is due: the handshake is complete, the path is new, or its 4-tuple changed. Nothing happens if we send none.
 * The report goes out on this path.
 */
void kith__observed_on_tuple(const struct kith_observed *observed, struct kith_observed_path *path);
/** What we were told is about another way: our own end of the path moved. Later reports count by sequence as before. */
void kith__observed_on_local_moved(struct kith_observed_path *path);
/**
 * A PATH_CHALLENGE or PATH_RESPONSE to the path's own remote address is in the packet that is being written: true if a
 * report should stand beside it (always, if we send any).
 */
static inline bool kith__observed_is_wanted(const struct kith_observed *observed, const struct kith_observed_path *path,
                                            bool has_challenge_or_response)
{
    return observed->sends && (path->is_due || has_challenge_or_response);
}
/** The sequence number for a report that is written now; call on_sent if it stays in the packet. */
static inline uint64_t kith__observed_next(const struct kith_observed *observed)
{
    return observed->next_sequence;
}
/** The report went out on this path; its record keeps the sequence. */
void kith__observed_on_sent(struct kith_observed *observed, struct kith_observed_path *path);
/** A report was lost: it is due again, with the address of then and a new number, unless a newer one went out. */
void kith__observed_on_lost(const struct kith_observed *observed, struct kith_observed_path *path, uint64_t sequence);

/**
 * OBSERVED_ADDRESS, untrusted; address is canonical already (kith__frame_decode). *changed tells that path->address is
 * another one now. Returns 0, or PROTOCOL_VIOLATION and *reason (not negotiated).
 */
KITH_MUST_USE int kith__observed_on_frame(struct kith_observed *observed, struct kith_observed_path *path,
                                          uint64_t sequence, const struct kith_sockaddr *address, bool *changed,
                                          const char **reason);

#endif
