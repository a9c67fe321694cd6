/**
 * Path ids of one connection: both sides' limits, what became of each id (unused, live, abandoned, draining, gone), its
 * status for scheduling, and the frames that are due about it. What a path measures is in path.h; which packets go
 * where is in schedule.h. Knows no connection: events come as calls, wishes are questions and deadlines.
 *
 * Every id from 0 to our limit is in the table until it is gone for good; an id up to the limit that is not in the
 * table was used up. So the memory is bounded however many generations of paths a connection sees, and an
 * acknowledgement for a path of the past is told from one for a path that never was. Our limit grows by one for each id
 * that is used up; if the table is full because many ids drain at once, the growth waits for them.
 *
 * A sent PATH_ABANDON, status, MAX_PATH_ID, PATHS_BLOCKED or PATH_CIDS_BLOCKED is known by type, path and value. Owner:
 * the connection, by value; no memory of its own. Source: spec/01, 4.2 and 4.5 to 4.9; draft-ietf-quic-multipath.
 */
#ifndef KITH_QUIC_PATH_MULTIPATH_H
#define KITH_QUIC_PATH_MULTIPATH_H

#include "quic/path/intent.h"
#include "quic/wire/codes.h"
#include "quic/wire/frame.h"

/** An outage may have made the round trips of a path, and so its probe timeout, absurdly long: no drain takes longer. */
#define KITH_DRAIN_MAX_NS (10 * KITH_NS_PER_S)

enum {
    KITH_PATH_IDS_MAX = 16, /* ids in the table: unused, live, and those that are not gone yet */
    KITH_PATHS_MAX = 12,    /* our initial limit is below this: a few ids can drain while as many are in use */
    KITH_DRAIN_PTOS = 3,    /* how long late packets of an abandoned path may come, in probe timeouts */
    KITH_ECHO_PTOS = 6      /* how long we wait for the peer's PATH_ABANDON once it has ours; then we do without */
};

enum kith_path_id_state {
    KITH_PATH_ID_UNUSED,    /* no packet was sent or received on it */
    KITH_PATH_ID_LIVE,      /* a path uses it */
    KITH_PATH_ID_ABANDONED, /* we gave it up; the peer's PATH_ABANDON is awaited */
    KITH_PATH_ID_DRAINING,  /* both sides gave it up; late packets may come until drained_ns */
    KITH_PATH_ID_GONE       /* nothing is kept of its path; in the table only until our PATH_ABANDON is acknowledged */
};

/** One path id. Members are read by others, changed by the verbs only. */
struct kith_path_id {
    uint32_t id;
    uint8_t state;                 /* enum kith_path_id_state */
    uint8_t abandon;               /* enum kith_intent: our PATH_ABANDON */
    uint8_t status;                /* enum kith_intent: our PATH_STATUS_* */
    uint8_t cids_blocked;          /* enum kith_intent: our PATH_CIDS_BLOCKED */
    bool is_backup;                /* our status */
    bool is_peer_backup;           /* the peer's status: advice, and shown to the user */
    bool has_path;                 /* LIVE, and after it until GONE: the caller keeps a path for it */
    bool is_validated;             /* kith__multipath_announce was called: our status may be told */
    bool is_untold;                /* drained: the caller was not told yet (kith__multipath_take_gone) */
    uint64_t code;                 /* of PATH_ABANDON */
    uint64_t status_sequence;      /* of our newest status; 0: none was told */
    uint64_t peer_status_sequence; /* of the newest that we received; 0: none */
    uint64_t cids_sequence;        /* of PATH_CIDS_BLOCKED: the sequence number that we lack */
    uint64_t drained_ns;           /* ABANDONED, DRAINING: when the id will be gone; KITH_NEVER */
};

/** All zero is not valid: kith__multipath_init. */
struct kith_multipath {
    struct kith_path_id ids[KITH_PATH_IDS_MAX]; /* ascending */
    uint8_t count;
    bool is_server;
    bool is_on;            /* negotiated */
    uint8_t max_path_id;   /* enum kith_intent: our MAX_PATH_ID */
    uint8_t paths_blocked; /* enum kith_intent: our PATHS_BLOCKED */
    uint32_t local_max;    /* the largest id that we allow; what we announced or are about to */
    uint32_t remote_max;   /* the largest that the peer allows */
    uint32_t blocked_at;   /* the peer's limit in PATHS_BLOCKED */
    uint32_t owed;         /* by how much local_max should grow once the table has room */
    uint64_t no_path_ns;   /* without any live path the connection ends then; KITH_NEVER: there is one */
    uint64_t no_path_wait_ns;
    uint64_t ignored; /* frames for ids that are gone or unknown */
};

/**
 * Path 0 is live, multipath is off.
 *   local_max        our initial_max_path_id, < KITH_PATHS_MAX
 *   no_path_wait_ns  how long to wait for a new path after the peer abandoned the last one: three probe timeouts with
 *                    the initial round trip (spec/01, 4.8); or drain_ns of that path, if that is longer
 */
void kith__multipath_init(struct kith_multipath *mp, bool is_server, uint32_t local_max, uint64_t no_path_wait_ns);
/** Both sides sent initial_max_path_id and the handshake is complete: the peer's value, untrusted, < 2^32. */
void kith__multipath_start(struct kith_multipath *mp, uint32_t remote_max);

/* ---- Questions ---- */

/** The entry of an id; NULL if it is above our limit or was forgotten. Valid until the next change. */
const struct kith_path_id *kith__multipath_find(const struct kith_multipath *mp, uint32_t id);
/** min(our limit, the peer's): ids that may be used. */
uint32_t kith__multipath_max(const struct kith_multipath *mp);
/** Ids that are live. */
size_t kith__multipath_live(const struct kith_multipath *mp);
/**
 * The lowest id >= from for which connection ids should be issued and kept up: unused or live, within both limits.
 * False: no more. Path 0 is among them.
 */
bool kith__multipath_next_for_cids(const struct kith_multipath *mp, uint32_t from, uint32_t *id);
/** A packet came to a connection id of `id`: true if a path may begin with it (we are the server, the id is unused). */
bool kith__multipath_may_begin(const struct kith_multipath *mp, uint32_t id);

/* ---- Opening ---- */

/**
 * Client: the id for a new path. Then see whether the peer issued connection ids for it: on_opened if so, else
 * on_cids_missing. Errors: KITH_ERR_UNSUPPORTED (multipath is off), PERMISSION (a server opens no paths), AGAIN (the
 * peer's limit: PATHS_BLOCKED is due, ask again when kith__multipath_on_max_path_id says so), LIMIT (ours: ask again
 * when an id is gone).
 */
KITH_MUST_USE int kith__multipath_next_id(struct kith_multipath *mp, uint32_t *id);
/** The peer issued no connection id for an id that we want to use: PATH_CIDS_BLOCKED is due, once. */
void kith__multipath_on_cids_missing(struct kith_multipath *mp, uint32_t id, uint64_t next_sequence);
/** Connection ids for `id` are here: nothing is missing any more. Any id. */
void kith__multipath_on_cids(struct kith_multipath *mp, uint32_t id);
/** A path uses the id from now on (asserted: unused). is_backup: our status; it is told once the path is validated. */
void kith__multipath_on_opened(struct kith_multipath *mp, uint32_t id, bool is_backup);

/* ---- Status ---- */

/**
 * Sets our status, and tells it if it is news and the path is validated. KITH_ERR_NOT_FOUND: not live.
 */
KITH_MUST_USE int kith__multipath_set_status(struct kith_multipath *mp, uint32_t id, bool is_backup);
/** The path was validated (path 0: the handshake is confirmed): our status is told, now and when it changes. Any id. */
void kith__multipath_announce(struct kith_multipath *mp, uint32_t id);

/* ---- Giving up ---- */

/**
 * We give up a live path: PATH_ABANDON is due, on another path if one is validated. Close the path (kith__path_close).
 * Errors: KITH_ERR_NOT_FOUND (not live), STATE (it is the last one: spec/01, 4.8).
 */
KITH_MUST_USE int kith__multipath_abandon(struct kith_multipath *mp, uint32_t id, uint64_t code);
/** The next id that is gone, each once: free its path. False: none. */
bool kith__multipath_take_gone(struct kith_multipath *mp, uint32_t *id);

/* ---- Frames from the peer, all untrusted ---- */

/** What a frame that names a path id is about. */
enum kith_path_use {
    KITH_PATH_USE,   /* go on with the frame */
    KITH_PATH_IGNORE /* the id is given up or gone: nothing to do (it was counted) */
};

/**
 * May these frames name this id? Return 0 and *use, or PROTOCOL_VIOLATION and *reason (static):
 *   ack         PATH_ACK: never used. Path 0 is fine always
 *   new_cid     PATH_NEW_CONNECTION_ID: above our limit
 *   retire_cid  PATH_RETIRE_CONNECTION_ID: above our limit
 */
KITH_MUST_USE int kith__multipath_check_ack(struct kith_multipath *mp, uint32_t id, enum kith_path_use *use,
                                            const char **reason);
KITH_MUST_USE int kith__multipath_check_new_cid(struct kith_multipath *mp, uint32_t id, enum kith_path_use *use,
                                                const char **reason);
KITH_MUST_USE int kith__multipath_check_retire_cid(struct kith_multipath *mp, uint32_t id, enum kith_path_use *use,
                                                   const char **reason);

enum kith_abandon_verdict {
    KITH_ABANDON_IGNORED, /* unknown, forgotten, or a repetition */
    KITH_ABANDON_UNUSED,  /* no path used the id here: it is used up; ours is due; forget its connection ids */
    KITH_ABANDON_CLOSE,   /* the peer gives up a live path: ours is due; close the path */
    KITH_ABANDON_ECHO     /* the peer answers ours: the path drains */
};
/**
 * PATH_ABANDON: the id drains for drain_ns (KITH_DRAIN_PTOS probe timeouts of its path). If it was the last live one,
 * the time for a new one starts.
 */
enum kith_abandon_verdict kith__multipath_on_abandon(struct kith_multipath *mp, uint32_t id, uint64_t code,
                                                     uint64_t drain_ns, uint64_t now_ns);
/** PATH_STATUS_*: true if it is news about an id in the table. Others are ignored. */
bool kith__multipath_on_status(struct kith_multipath *mp, uint32_t id, uint64_t sequence, bool is_backup);
/** MAX_PATH_ID: true if more ids may be used now: issue connection ids for them, open what waits. */
bool kith__multipath_on_max_path_id(struct kith_multipath *mp, uint32_t max);
/** PATHS_BLOCKED. Returns 0 or PROTOCOL_VIOLATION and *reason. */
KITH_MUST_USE int kith__multipath_on_paths_blocked(struct kith_multipath *mp, uint32_t max, const char **reason);
/**
 * PATH_CIDS_BLOCKED.
 *   next_sequence  the peer's word
 *   issued         how many connection ids we issued for the id (kith_cid_ours.next_sequence); 0 if it is gone
 * Returns 0 or PROTOCOL_VIOLATION and *reason.
 */
KITH_MUST_USE int kith__multipath_on_cids_blocked(struct kith_multipath *mp, uint32_t id, uint64_t next_sequence,
                                                  uint64_t issued, const char **reason);

/* ---- Frames to the peer ---- */

/** A frame that is due. As record of a sent packet: extra = type, id = path, value = value. */
struct kith_multipath_frame {
    uint64_t type;  /* PATH_ABANDON, PATH_STATUS_*, MAX_PATH_ID, PATHS_BLOCKED, PATH_CIDS_BLOCKED */
    uint32_t path;  /* 0 in MAX_PATH_ID and PATHS_BLOCKED */
    uint64_t value; /* code; status sequence; limit; limit; next sequence */
};
/** The next frame to send, abandoned paths first; false if none is due. Then call on_sent, or ask again later. */
bool kith__multipath_next(const struct kith_multipath *mp, struct kith_multipath_frame *out);
/** Writes it as a wire frame. */
struct kith_frame kith__multipath_wire(const struct kith_multipath_frame *frame);
/** It went out; was acknowledged; was lost. What is moot or replaced by now is fine. */
void kith__multipath_on_sent(struct kith_multipath *mp, const struct kith_multipath_frame *frame);
/** echo_ns: KITH_ECHO_PTOS probe timeouts; used for PATH_ABANDON only, when the peer's did not come before. */
void kith__multipath_on_acked(struct kith_multipath *mp, const struct kith_multipath_frame *frame, uint64_t echo_ns,
                              uint64_t now_ns);
void kith__multipath_on_lost(struct kith_multipath *mp, const struct kith_multipath_frame *frame);

/* ---- Time ---- */

/** The next time that on_deadline has something to do; KITH_NEVER. */
uint64_t kith__multipath_deadline(const struct kith_multipath *mp);
/**
 * Ids that have drained are gone: see kith__multipath_take_gone. Returns false if the connection has had no path for
 * too long: it ends with NO_VIABLE_PATH.
 */
bool kith__multipath_on_deadline(struct kith_multipath *mp, uint64_t now_ns);

/** Test builds: aborts if an invariant is broken. */
void kith__multipath_check(const struct kith_multipath *mp);

#endif
