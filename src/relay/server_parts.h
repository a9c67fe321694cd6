/**
 * Inside of the relay server core: what its files share. server.c has the server as a whole, session.c the life of a session and what
 * it receives, session_out.c what it sends, forward.c datagrams, party.c who is told of whose end, check.c the invariants.
 */
#ifndef KITH_RELAY_SERVER_PARTS_H
#define KITH_RELAY_SERVER_PARTS_H

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "http/websocket.h"
#include "relay/limits.h"
#include "relay/outbox.h"
#include "relay/server.h"

enum {
    KITH_RELAY_GONE_PAIRS_MAX = 1 << 18,     /* of a server: some 32 MB */
    KITH_RELAY_HANDSHAKE_MESSAGE_MAX = 1024, /* a client has nothing longer to say before it is one */
    KITH_RELAY_MESSAGE_MAX = KITH_RELAY_BODY_MAX + KITH_VARINT_SIZE_MAX,
    KITH_RELAY_PLAN_MIN = 4 << 10, /* bytes lent to one write, for the slowest clients */
    KITH_RELAY_PLAN_START = 16 << 10,
    KITH_RELAY_DEBT_TURNS = 64 /* a client waits for so many turns at most after much work at once */
};

/** An endpoint that has sessions here, or has sent to one that has. Lives while it has sessions or pairs. */
struct kith_relay_party {
    struct kith_id id;
    struct kith_list sessions; /* kith_relay_session.of_party, the newest last */
    struct kith_list to_tell;  /* kith_relay_pair.of_source: who is told when it is gone; the oldest first */
    struct kith_list heard;    /* kith_relay_pair.of_target: of whose end it is told; the oldest first */
    uint32_t to_tell_count, heard_count;
    struct kith_relay_party *last_source; /* the pair with it is noted; NULL: unknown */
};

/** source has sent to target, which has sessions here. */
struct kith_relay_pair {
    struct kith_list of_source, of_target;
    struct kith_relay_party *source, *target;
};

/** Where the last datagram of a session went. True while the epoch of the routes is the same. */
struct kith_relay_last_target {
    struct kith_id id;
    uint64_t epoch;
    struct kith_relay_place place;
    bool is_known, is_noted; /* is_noted: the target is told of the sender's end */
};

struct kith_relay_session {
    struct kith_relay_server *server;
    void *user;
    struct kith_relay_ticket *ticket; /* borrowed; NULL: none */
    uint64_t handle;
    uint8_t state;   /* enum kith_relay_session_state */
    uint8_t version; /* enum kith_relay_version */
    uint8_t events;  /* bit n: enum kith_relay_event_kind n is to be told */
    uint8_t end;     /* enum kith_relay_end */
    bool knows_token, is_joined, was_told_newest, is_ping_out, has_begun_limit;
    const char *why;
    struct kith_list in_all, in_events, in_writers, of_party;
    struct kith_heap_node timer; /* no later than the next deadline; looked at again when it comes */
    struct kith_id id;           /* zero until it is proved */
    struct kith_sockaddr remote;
    struct kith_relay_party *party; /* while it is joined */
    uint8_t challenge[KITH_RELAY_CHALLENGE_SIZE];

    struct kith_ws_reader reader;
    uint32_t held_charged;       /* to the pool, for the reader's buffer */
    struct kith_list in_holders; /* held_charged is not 0 */
    uint64_t turn_used;          /* work of `turn`, and what it had not paid for before */
    uint32_t turn, turn_posted;
    uint64_t received_bytes, last_received_ns;
    struct kith_relay_bucket bucket;
    struct kith_relay_last_target last;
    uint64_t reached; /* workers to which it has sent */

    struct kith_relay_outbox *outbox; /* NULL: empty */
    uint32_t plan_max;                /* bytes of the next output */
    uint32_t planned_size;            /* of the output that is under way */
    uint64_t planned_ns, progress_ns; /* of writing */
    uint64_t sent_bytes, dropped_frames;

    uint64_t accepted_ns;
    uint64_t until_ns; /* of the state: handshake, access, last words; READY: when it is drained */
    uint64_t idle_ns;  /* silence before the next ping */
    uint64_t ping_sent_ns, rtt_ns;
    uint8_t ping[KITH_RELAY_PING_SIZE];
};

struct kith_relay_slot {
    struct kith_relay_session *session; /* NULL: free */
    uint32_t generation, next_free;
};

struct kith_relay_server {
    const struct kith_mem *mem;
    const struct kith_random *random;
    const struct kith_log *log;
    struct kith_relay_routes *routes;
    struct kith_relay_counters *counters;
    const struct kith_relay_access *access;
    struct kith_relay_server_limits limits; /* with the defaults filled in */
    struct kith_relay_outbox_limits outbox_limits;
    struct kith_relay_pool pool;
    struct kith_list sessions, events, writers;
    struct kith_list holders; /* sessions with a message that is not complete; whose began first comes first */
    uint64_t held_used;       /* of the pool, by these; half of it at most */
    struct kith_heap timers;
    struct kith_relay_slot *slots;
    uint32_t slot_count, free_slot;                       /* the first free one; slot_count: none */
    uint64_t session_count, client_count, endpoint_count; /* endpoints: parties that have sessions */
    struct kith_map parties;                              /* id -> kith_relay_party */
    struct kith_map pairs;                                /* two addresses of parties -> kith_relay_pair */
    uint64_t pair_count;
    uint64_t tag_factor;     /* odd, secret: turns an id into the tag of a lane */
    uint64_t now_ns;         /* the latest time that was given */
    uint64_t grace_until_ns; /* we were late: nobody is ended for silence before this */
    uint32_t turn;
    bool turn_is_busy; /* something was received in it */
    uint64_t restart_spread_ns, restart_try_ns;
    bool is_draining;
};

/* ---- server.c ---- */

/** The time, never going back. */
uint64_t kith__relay_server_now(struct kith_relay_server *server, uint64_t now_ns);
/** Gives a new session its handle and place. Errors: NOMEM, LIMIT; nothing has changed then. */
KITH_MUST_USE int kith__relay_server_add(struct kith_relay_server *server, struct kith_relay_session *session);
/** Takes both back. */
void kith__relay_server_remove(struct kith_relay_server *server, struct kith_relay_session *session);
/** Makes sure that the session is looked at when its next deadline comes. */
void kith__relay_session_arm(struct kith_relay_session *session);

/* ---- session.c ---- */

/** What a timer of the session asks for now. */
void kith__relay_session_on_timer(struct kith_relay_session *session, uint64_t now_ns);
/** When the session wants to be looked at. */
uint64_t kith__relay_session_deadline(const struct kith_relay_session *session);
/** Says last words (a close code; 0: none), then ends. Fine in any state. */
void kith__relay_session_finish(struct kith_relay_session *session, enum kith_relay_end end, const char *why,
                                uint16_t code);
/** Ends now. */
void kith__relay_session_end(struct kith_relay_session *session, enum kith_relay_end end, const char *why);
void kith__relay_session_tell(struct kith_relay_session *session, enum kith_relay_event_kind kind);
/** Looks up whether the session is the newest of its id, and tells the client if that is news. */
void kith__relay_session_update_status(struct kith_relay_session *session);

/* ---- session_out.c ---- */

/** Queues a frame ahead of datagrams. What does not fit is counted. */
void kith__relay_session_say(struct kith_relay_session *session, const struct kith_relay_frame *frame);
/** The same for a WebSocket control frame. */
void kith__relay_session_say_ws(struct kith_relay_session *session, enum kith_ws_opcode opcode, const uint8_t *bytes,
                                size_t size);
/** Status, or Health in version 1, which has no words for some codes. */
void kith__relay_session_say_status(struct kith_relay_session *session, enum kith_relay_status status);
/** Queues a datagram for the client, with the id of its source. False: it did not fit, and is counted. */
bool kith__relay_session_deliver(struct kith_relay_session *session, const struct kith_id *source,
                                 const struct kith_relay_datagram *datagram);
/** Something was queued when nothing was before, or may be written now. */
void kith__relay_session_output_changed(struct kith_relay_session *session, bool was_empty);

/* ---- forward.c ---- */

/** A datagram frame of a client: to whom it is for, or a count of why not. frame_size: as received. */
void kith__relay_forward(struct kith_relay_session *session, const struct kith_relay_datagram *datagram,
                         size_t frame_size);
/** Tells another worker, or counts that it could not be told. */
void kith__relay_post(struct kith_relay_server *server, unsigned worker, const struct kith_relay_note *note);

/* ---- party.c ---- */

/** The party of an id, new if need be. NULL: no memory. */
struct kith_relay_party *kith__relay_party_get(struct kith_relay_server *server, const struct kith_id *id);
/** Frees it if nothing holds it any more. */
void kith__relay_party_settle(struct kith_relay_server *server, struct kith_relay_party *party);
/** The party's last session here has ended: it is told of nobody's end any more. */
void kith__relay_party_forget_heard(struct kith_relay_server *server, struct kith_relay_party *party);
/** Notes that source has sent to target, so that target is told of its end. */
void kith__relay_party_note(struct kith_relay_server *server, const struct kith_id *source,
                            struct kith_relay_party *target);
/** An endpoint has gone for good: tells all those here to whom it had sent. */
void kith__relay_party_gone(struct kith_relay_server *server, const struct kith_id *id);

#endif
