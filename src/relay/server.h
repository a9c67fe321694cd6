/**
 * The core of a relay server, one for each worker thread. Sans-IO: it gets the bytes of connections whose WebSocket upgrade is done,
 * and leaves what is to be sent in the queue of each session. It never calls back. The loop of an owner ("driver"):
 *
 *     upgrade done:     kith__relay_session_open(server, &open, now, &session)
 *     bytes came:       kith__relay_session_receive(session, bytes, size, now)
 *     always, before waiting again:
 *                       while ((session = kith__relay_server_next_writer(server)) != NULL)
 *                           count = kith__relay_session_output(session, slices, KITH_COUNT(slices)), write these
 *                       while (kith__relay_server_next_event(server, &event)) ...
 *                       kith__relay_server_flush(server)
 *                       set a timer to kith__relay_server_deadline(server), then kith__relay_server_on_deadline
 *     bytes are out:    kith__relay_session_sent(session, size, now)
 *     link has ended:   kith__relay_session_free(session, now), at any time; also after KITH_RELAY_EVENT_ENDED
 *     woken (sync.wake): kith__relay_server_on_inbox(server, now)
 *
 * A datagram is copied once, into the queue of its receiver, whose lanes (one for each sender, up to KITH_RELAY_LANES) are
 * served in turns, so that no sender delays another one by more than its share; control frames go before all of them. Queues
 * are bounded in bytes and frames, all queues together in bytes; what does not fit is dropped and counted by its reason.
 *
 * Thread rules: a server and its sessions belong to one thread. Times: now_ns of one monotonic clock; a time that goes back
 * counts as standing still, and one that jumps ahead is not held against the clients.
 * Source: spec/02, sections 2, 3, 5 and 9.3.
 */
#ifndef KITH_RELAY_SERVER_H
#define KITH_RELAY_SERVER_H

#include "base/log.h"
#include "relay/access.h"
#include "relay/admission.h"
#include "relay/counters.h"
#include "relay/handshake.h"
#include "relay/routes.h"

struct kith_relay_server;
struct kith_relay_session; /* one connection of a client, from the upgrade to its end */

enum {
    KITH_RELAY_LANES = 16, /* senders that are told apart in a receiver's queue; more share lanes */
    KITH_RELAY_GONE_SOURCES_MAX =
        4096, /* senders of whose end one endpoint is told; beyond it the oldest is forgotten, counted */
    KITH_RELAY_CONTROL_SIZE_MAX =
        32 << 10, /* control frames that wait for one client; beyond it they are dropped, counted */
    /* Default of turn_size: a full read of the driver, 64 KiB, in datagrams of 1200 bytes. Not more: that is also what one
     * receiver is sent in a turn (KITH_RELAY_OUTPUT_MAX); of what is read beyond it, who sends to somebody else has nothing. */
    KITH_RELAY_TURN_SIZE = 80 << 10,
    KITH_RELAY_MESSAGE_WORK =
        192, /* what a message costs beside its bytes, in bytes: tiny ones take more time for each */
    KITH_RELAY_INBOX_TURN_SIZE = 1 << 20 /* bytes of other workers that one turn takes */
};

/** Times and sizes that an operator may change. A zeroed member means the default, in brackets. */
struct kith_relay_server_limits {
    uint64_t handshake_ns; /* from accept to the confirmation (frame 2) [30 s] */
    uint64_t
        stall_ns; /* without progress of what waits to be sent, for a write of more than 16 KiB up to 1.5 s more: it is closed [2 s] */
    uint64_t ping_idle_ns; /* without a frame received; 1..5 s more by chance, then it is pinged [15 s] */
    uint64_t pong_ns; /* for its answer, at least; three round trips if that is more, up to three times this [5 s] */
    uint64_t
        access_ns; /* for an answer to KITH_RELAY_EVENT_ACCESS; then it is denied; never past handshake_ns [10 s] */
    uint32_t queue_size_max; /* bytes that wait for one client, half of it from one sender [1 MiB]; at least 128 KiB */
    uint32_t queue_frames_max; /* and frames [2048] */
    uint64_t memory_max;       /* bytes of all queues and cut messages of this worker [256 MiB] */
    uint32_t turn_size;        /* work: see kith__relay_session_turn_left [KITH_RELAY_TURN_SIZE] */
    uint32_t rx_bytes_per_s;   /* of one client, received after TLS; datagrams beyond it are dropped [0: no limit] */
    uint32_t rx_burst;         /* [a tenth of rx_bytes_per_s] */
};

struct kith_relay_server_options {
    const struct kith_mem *mem;                    /* this and what follows is borrowed and outlives the server */
    const struct kith_random *random;              /* fit for challenges */
    const struct kith_log *log;                    /* may be NULL */
    struct kith_relay_routes *routes;              /* this worker's */
    struct kith_relay_counters *counters;          /* this worker's, zeroed */
    const struct kith_relay_access *access;        /* NULL: everyone */
    const struct kith_relay_server_limits *limits; /* NULL: defaults. Copied */
};

/** Errors: NOMEM. */
KITH_MUST_USE int kith__relay_server_new(const struct kith_relay_server_options *options,
                                         struct kith_relay_server **out);
/** Frees all sessions too, which must not be used any more: close their links before. NULL is fine. */
void kith__relay_server_free(struct kith_relay_server *server);
/** New rules for clients that prove their id from now on; the old ones may be freed afterwards. */
void kith__relay_server_set_access(struct kith_relay_server *server, const struct kith_relay_access *access);
/** New limits, also for those who are connected (their rate limits start again, full). NULL: defaults. */
void kith__relay_server_set_limits(struct kith_relay_server *server, const struct kith_relay_server_limits *limits,
                                   uint64_t now_ns);

/* ---- Sessions ---- */

/** A connection after its upgrade, whose 101 the driver writes before anything of the session. */
struct kith_relay_open {
    enum kith_relay_version version;
    struct kith_sockaddr remote;
    uint64_t accepted_ns; /* when TCP accepted it: the time for the handshake counts from there */
    /* How it authenticates: header is NULL without one (one that cannot be parsed ends the connection before this: spec/02,
     * 2.1); exported: with header->id as context, NULL where there is no exporter: then the header is not looked at. */
    const struct kith_relay_auth_header *header;
    const uint8_t *exported;
    struct kith_slice token;          /* from the request (spec/02, 1.8); empty: none. Used during the call only */
    struct kith_relay_ticket *ticket; /* told when the id is proved; borrowed until the session is freed; may be NULL */
    void *user;                       /* the driver's; comes back in events */
};

/**
 * Starts a session; what it has to say first (challenge or confirmation) is in its queue. Errors: NOMEM, LIMIT; STATE: the
 * server is draining. Nothing is held then.
 */
KITH_MUST_USE int kith__relay_session_open(struct kith_relay_server *server, const struct kith_relay_open *open,
                                           uint64_t now_ns, struct kith_relay_session **out);
/**
 * The connection is over, whatever the reason: forgets and frees the session, and tells others that the endpoint has gone. Slices
 * of its output must not be in use any more. NULL is fine.
 */
void kith__relay_session_free(struct kith_relay_session *session, uint64_t now_ns);
/**
 * Bytes came, any piece of the stream of WebSocket frames. They are changed in place and not kept. What is wrong with them is
 * the peer's error and ends the session (KITH_RELAY_EVENT_ENDED follows); bytes after the end are ignored.
 */
void kith__relay_session_receive(struct kith_relay_session *session, uint8_t *bytes, size_t size, uint64_t now_ns);
/**
 * Work that the driver should still take from this client before it has looked at all others, in bytes and
 * KITH_RELAY_MESSAGE_WORK for each message: 0 when its share of this turn is used up (or its access is being decided). A turn
 * ends with kith__relay_server_flush; pause such a link until then. What a client used beyond its share is taken off the next
 * turns, as the driver reads in large pieces; a turn in which nothing is received from anybody forgives that.
 */
size_t kith__relay_session_turn_left(const struct kith_relay_session *session);
/** True: nothing is left because of its work, and the next turn should come at once, as it may be the only one who waits. */
bool kith__relay_session_is_in_debt(const struct kith_relay_session *session);

/**
 * What is to be written next, in this order: up to `cap` slices, none empty; returns their number, 0 if there is nothing. The
 * bytes stay where they are until kith__relay_session_sent, which comes before the next call of this.
 */
size_t kith__relay_session_output(struct kith_relay_session *session, struct kith_slice *slices, size_t cap);
/** The first `size` bytes of the last output are out of the driver's hands; the rest was not taken and is asked for again. */
void kith__relay_session_sent(struct kith_relay_session *session, size_t size, uint64_t now_ns);
/** Bytes that wait to be written. */
size_t kith__relay_session_output_size(const struct kith_relay_session *session);

/** The answer to KITH_RELAY_EVENT_ACCESS. Without effect if it is not waited for (any more). */
void kith__relay_session_grant(struct kith_relay_session *session, uint64_t now_ns);
/** As above; reason: UTF-8 for the client, cut to KITH_RELAY_DENIAL_SIZE_MAX; NULL: "not authorized". */
void kith__relay_session_deny(struct kith_relay_session *session, const char *reason, uint64_t now_ns);
/** Ends it from our side, for the operator; code: enum kith_ws_close. KITH_RELAY_EVENT_ENDED follows. */
void kith__relay_session_close(struct kith_relay_session *session, uint16_t code, uint64_t now_ns);
/** Ends the sessions of an id on this worker (its access was taken back). Returns their number. */
size_t kith__relay_server_disconnect(struct kith_relay_server *server, const struct kith_id *id, uint64_t now_ns);

enum kith_relay_session_state {
    KITH_RELAY_SESSION_PROVING,     /* waits for the answer to the challenge */
    KITH_RELAY_SESSION_AUTHORIZING, /* waits for kith__relay_session_grant or _deny */
    KITH_RELAY_SESSION_READY,       /* a client */
    KITH_RELAY_SESSION_CLOSING,     /* last words go out, then ENDED */
    KITH_RELAY_SESSION_ENDED        /* waits for kith__relay_session_free */
};

/** For logs, pages and metrics. */
struct kith_relay_session_info {
    enum kith_relay_session_state state;
    enum kith_relay_version version;
    struct kith_sockaddr remote;
    struct kith_id id; /* zero before it is proved */
    uint64_t accepted_ns, last_received_ns;
    uint64_t rtt_ns;         /* of the last ping of ours; 0: none yet */
    uint64_t received_bytes; /* of the stream, all in all */
    uint64_t sent_bytes;
    uint64_t dropped_frames; /* datagrams for it that did not fit its queue */
    uint32_t queued_bytes, queued_frames;
    bool is_newest; /* receives what is for its id */
};
struct kith_relay_session_info kith__relay_session_info(const struct kith_relay_session *session);
void *kith__relay_session_user(const struct kith_relay_session *session);
/** A number that no other session of this server ever has; for logs and the directory. */
uint64_t kith__relay_session_handle(const struct kith_relay_session *session);
/** The session of a handle, NULL if it is gone: for answers that come later (access callbacks). */
struct kith_relay_session *kith__relay_server_find(const struct kith_relay_server *server, uint64_t handle);
/** The session after `after` in the order of opening; NULL: the first, or there is none. For pages; do not free in between. */
struct kith_relay_session *kith__relay_server_next_session(const struct kith_relay_server *server,
                                                           const struct kith_relay_session *after);

/* ---- The server as a whole ---- */

enum kith_relay_event_kind {
    KITH_RELAY_EVENT_ACCESS, /* may `id` be a client? Answer with _grant or _deny, now or later */
    KITH_RELAY_EVENT_READY,  /* is a client now */
    KITH_RELAY_EVENT_ENDED   /* close its link, then free it; see `end` */
};

/** Why a session ended; each has a counter ends_... */
enum kith_relay_end {
    KITH_RELAY_END_BY_PEER, /* WebSocket close */
    KITH_RELAY_END_HANDSHAKE_TIMEOUT,
    KITH_RELAY_END_BAD_SIGNATURE,
    KITH_RELAY_END_DENIED,
    KITH_RELAY_END_PROTOCOL,
    KITH_RELAY_END_STALLED,
    KITH_RELAY_END_PING_TIMEOUT,
    KITH_RELAY_END_MEMORY,
    KITH_RELAY_END_SUPERSEDED, /* too many with the same id */
    KITH_RELAY_END_BY_US       /* kith__relay_session_close, _disconnect, _drain */
};
/** "the other side did not read"; static. */
const char *kith__relay_end_text(enum kith_relay_end end);

struct kith_relay_event {
    enum kith_relay_event_kind kind;
    enum kith_relay_end end; /* ENDED */
    const char *why;         /* ENDED: what exactly was wrong, static; never NULL */
    struct kith_relay_session *session;
    void *user;
    struct kith_id id; /* ACCESS, READY; ENDED: zero if none was proved */
    uint64_t handle;
};

/** The next event; false: there is none. */
bool kith__relay_server_next_event(struct kith_relay_server *server, struct kith_relay_event *out);
/**
 * A session that has output and none under way (kith__relay_session_output without its _sent); each comes up again after _sent
 * if there is more, or when something new is queued. NULL: there is none.
 */
struct kith_relay_session *kith__relay_server_next_writer(struct kith_relay_server *server);
/** Ends a turn: hands over what is for other workers, and every client has its share of the next turn. */
void kith__relay_server_flush(struct kith_relay_server *server);
/**
 * Takes what other workers have left in the inbox, up to KITH_RELAY_INBOX_TURN_SIZE: they may fill it as fast as it is read, and
 * the worker has clients of its own. True: there may be more, to be taken in the next turn.
 */
bool kith__relay_server_on_inbox(struct kith_relay_server *server, uint64_t now_ns);
/** When kith__relay_server_on_deadline wants to be called; KITH_NEVER: not. */
uint64_t kith__relay_server_deadline(const struct kith_relay_server *server);
void kith__relay_server_on_deadline(struct kith_relay_server *server, uint64_t now_ns);
/**
 * Stops in order: no new sessions; every client gets Restarting (come back after a random part of spread_ns, for a time of
 * try_for_ns) and a WebSocket close 1012, spread over spread_ns. It is done when kith__relay_server_session_count is 0.
 */
void kith__relay_server_drain(struct kith_relay_server *server, uint64_t spread_ns, uint64_t try_for_ns,
                              uint64_t now_ns);

/** Numbers of now; asking costs nothing. */
struct kith_relay_server_stats {
    uint64_t sessions;     /* all */
    uint64_t clients;      /* those that are READY */
    uint64_t endpoints;    /* ids that these have */
    uint64_t queued_bytes; /* memory of queues and cut messages, <= memory_max */
    uint64_t gone_pairs;   /* who is to be told of whose end */
};
struct kith_relay_server_stats kith__relay_server_stats(const struct kith_relay_server *server);
size_t kith__relay_server_session_count(const struct kith_relay_server *server);

/** Walks all invariants and asserts them; for tests. Takes time in proportion to all there is. */
void kith__relay_server_check(const struct kith_relay_server *server);

#endif
