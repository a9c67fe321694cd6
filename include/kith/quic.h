/**
 * kith/quic.h: the QUIC engine without any input or output of its own. Datagrams, the time and verbs go in; datagrams,
 * events and one deadline come out. RFC 9000, 9001, 9002, 9221 and the profile of spec/01; both roles.
 *
 * A connection may have several paths (pairs of addresses), each with packet numbers, congestion control and MTU of its own:
 * see kith_quic_conn_path_open. The engine has the means, the decisions are the owner's: which paths to open, which are
 * backups, which addresses to tell the peer (kith_quic_conn_add_candidate), when to try to get through NATs
 * (kith_quic_conn_punch). What the peer opens is answered without being asked for; events tell of all of it.
 *
 * A `kith_quic_host` is one endpoint: any number of connections, as client and as server, over any number of local
 * addresses. The owner's loop is always the same:
 *
 *     on datagram:   kith_quic_host_receive(host, &received, now)
 *     on deadline:   kith_quic_host_on_deadline(host, now)
 *     then always:   while (kith_quic_host_next_event(host, &event)) ...
 *                    while (kith_quic_host_transmit(host, buffer, sizeof buffer, &transmit, now)) send it
 *                    arm a timer for kith_quic_host_deadline(host)
 *
 * No function calls back into the user, except the log, key log and qlog sinks and the random source in the options.
 * Thread rules: a host and all that belongs to it is used by one thread at a time. `now_ns` never goes backwards.
 * Same inputs (bytes, times, random numbers) give the same outputs.
 */
#ifndef KITH_QUIC_H
#define KITH_QUIC_H

#include <kith/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kith_quic_host;     /* one endpoint */
struct kith_quic_conn;     /* one connection; freed by kith_quic_conn_free, or with its host */
struct kith_quic_incoming; /* a client that waits for a decision */
struct kith_log;

enum {
    KITH_QUIC_UDP_SIZE_MAX = 1472, /* largest datagram that we send (spec/01, 1.8) */
    KITH_QUIC_ALPN_SIZE_MAX = 255,
    KITH_QUIC_ALPN_COUNT_MAX = 64,
    KITH_QUIC_REASON_SIZE_MAX = 1024, /* close reasons are cut to this */
    KITH_QUIC_SESSION_SIZE_MAX = 4096,
    KITH_QUIC_CID_SIZE_MAX = 20,
    KITH_QUIC_PATHS_MAX =
        16 /* most entries of kith_quic_conn_paths: paths in use, and those that are on their way out */
};

/**
 * Address discovery: each side can tell the other from which address its packets come, which behind a NAT it cannot know
 * itself. Something is told if one side offers to send and the other to receive; see `observed` of kith_quic_path_info.
 */
enum kith_quic_observed {
    KITH_QUIC_OBSERVED_OFF,
    KITH_QUIC_OBSERVED_SEND,    /* we tell the peer */
    KITH_QUIC_OBSERVED_RECEIVE, /* it tells us */
    KITH_QUIC_OBSERVED_BOTH
};

/** Which path carries what belongs to no path, when several could: see kith_quic_conn_path_open. */
enum kith_quic_schedule {
    KITH_QUIC_SCHEDULE_FIRST, /* the lowest path id, the next one only while the lower ones are blocked */
    KITH_QUIC_SCHEDULE_SPREAD /* the one where a packet would arrive first: equal paths share evenly */
};

/** Congestion controllers behind one interface. */
enum kith_quic_congestion { KITH_QUIC_CUBIC, KITH_QUIC_NEWRENO };

/** Per-connection settings. Set all with kith_quic_transport_defaults, then change single ones. */
struct kith_quic_transport {
    uint64_t idle_timeout_ns; /* 30 s; 0 = none. The smaller of both sides' counts */
    /**
     * Server: 30 s; 0 = none. A client that has not proven who it is so long after it was accepted is given up without a
     * word, however much it sends: each of its packets would start the idle timeout anew.
     */
    uint64_t handshake_timeout_ns;
    uint64_t keep_alive_ns;   /* 5 s; 0 = none. A PING after this long without sending anything ack-eliciting */
    uint64_t data_max;        /* connection receive window, bytes. 2^62-1: MAX_DATA is never needed */
    uint64_t stream_data_max; /* receive window per stream, bytes: 1,250,000 at the start; see stream_data_auto_max */
    uint64_t stream_data_auto_max; /* the receive window grows up to this as the round trip asks for it; 0 = never */
    /**
     * How much the windows of all streams of a connection may grow together: 32 MiB. What unread stream data a peer can
     * make us hold is at most streams open x stream_data_max + this, and never more than data_max.
     */
    uint64_t stream_data_auto_total;
    uint64_t streams_bidi_max;  /* streams the peer may have open at once: 100 */
    uint64_t streams_uni_max;   /* 100 */
    uint64_t send_buffer_max;   /* unacknowledged + unsent stream bytes we hold per connection: 10,000,000 */
    uint64_t datagram_send_max; /* bytes waiting to be sent, oldest dropped and counted: 1 MiB; */
    uint64_t
        datagram_receive_max;  /* bytes waiting to be read, oldest dropped and counted: 1,250,000; 0 = datagrams off */
    uint64_t initial_rtt_ns;   /* 333 ms */
    uint64_t max_ack_delay_ns; /* 25 ms */
    uint64_t min_ack_delay_ns; /* 1 ms: advertises ACK frequency; 0 = not */
    uint16_t udp_size_max;     /* upper bound of path MTU discovery: 1452; 1200 switches it off */
    uint16_t initial_udp_size; /* 1200 */
    uint8_t congestion;        /* enum kith_quic_congestion */
    /**
     * 8: how many paths a connection may have at once, 1..12; 0: no multipath. Offered in the handshake; in effect if the
     * peer offers it too, and then the smaller of both counts. 1: no second path now, but the frames of multipath.
     */
    uint8_t paths_max;
    uint8_t schedule; /* enum kith_quic_schedule: FIRST. Ours alone: the peer shares its data out as it likes */
    /** 32: addresses of the peer that we store, at most 32; 0: no NAT traversal. In effect if both offer it, with multipath. */
    uint8_t nat_traversal_max;
    uint8_t observed_address; /* enum kith_quic_observed: OFF */
    /** 15 s; 0 = never. A path that hears nothing for so long is abandoned, if it is not the last. With multipath only. */
    uint64_t path_idle_timeout_ns;
    uint64_t relay_idle_timeout_ns; /* the same of a path through a relay: 30 s, as relays come back */
    uint8_t cid_size;               /* 8 */
    bool ecn;                       /* true */
    bool pacing;                    /* true */
    bool mtu_discovery;             /* true */
    bool grease;                    /* true: one reserved transport parameter, skipped packet numbers */
    bool spin_bit;                  /* true */
    uint64_t
        key_update_after; /* packets sent with one key before we update; 0 = random 10..999 for the first, then near the AEAD limit */
    bool allow_early_data; /* server: accept 0-RTT. true */
    bool key_log;          /* write NSS key log lines to the host's key log sink */
    bool qlog;             /* write qlog lines to the host's qlog sink */
};

/** Fills in iroh's defaults (spec/01, 1.8 to 1.16). Cannot fail. */
KITH_API void kith_quic_transport_defaults(struct kith_quic_transport *transport);

struct kith_quic_host_options {
    const struct kith_mem *mem; /* NULL: the default */
    struct kith_random random;  /* required */
    const struct kith_log *log; /* NULL: none; borrowed, outlives the host */
    struct kith_secret secret;  /* identity; copied */
    /**
     * What tells this endpoint from others that have the same secret, and what it has again after a restart: its bound
     * addresses, say. Copied into keys, never sent. With it peers of a process that died learn so at once, by a stateless
     * reset. Empty: keys are drawn anew by each host, and peers notice by their idle timeout. Two endpoints that are up at
     * the same time must differ in it: else one of them, asked with an id of the other, gives away the other's reset token.
     */
    struct kith_slice instance;
    const struct kith_slice *alpns; /* accepted from clients, in order of preference; copied. count 0: accept no one */
    size_t alpn_count;
    struct kith_quic_transport transport; /* for incoming connections, and the default for outgoing ones */
    uint32_t incoming_max; /* clients waiting for a decision: 65,536; over it Initials are dropped and counted */
    void (*key_log)(void *ctx, const char *line);                           /* NULL: none */
    void (*qlog)(void *ctx, uint64_t conn_serial, const char *json_record); /* NULL: none; one JSON-SEQ record a call */
    void *sink_ctx;
};

/** Zeroes, then fills in the defaults of everything but random and secret. */
KITH_API void kith_quic_host_defaults(struct kith_quic_host_options *options);

/** Creates a host. Errors: NOMEM, INVALID (no random source, bad ALPN, transport out of range), TLS (the TLS library refused the profile). */
KITH_API KITH_MUST_USE int kith_quic_host_new(const struct kith_quic_host_options *options,
                                              struct kith_quic_host **out);

/** Frees the host with all connections, without sending anything. NULL is fine. */
KITH_API void kith_quic_host_free(struct kith_quic_host *host);

/** The endpoint id (public key) of this host. */
KITH_API struct kith_id kith_quic_host_id(const struct kith_quic_host *host);

/** Replaces the accepted ALPNs for later connections. Errors: NOMEM, INVALID; on an error the old list stays. */
KITH_API KITH_MUST_USE int kith_quic_host_set_alpns(struct kith_quic_host *host, const struct kith_slice *alpns,
                                                    size_t count);

/* ---- Datagrams ---- */

/** One received buffer: one datagram, or several of segment_size bytes (the last may be shorter) as UDP GRO gives them. */
struct kith_quic_received {
    struct kith_sockaddr local;  /* where it arrived: ip may be unspecified if unknown */
    struct kith_sockaddr remote; /* where it came from; untrusted */
    uint8_t *bytes;              /* untrusted; overwritten (decrypted in place) */
    size_t size;
    size_t segment_size; /* 0 = one datagram */
    uint8_t ecn;         /* the two ECN bits of the IP header */
};

/** Takes in what arrived. Never fails: what cannot be used is counted by reason in the host's stats. */
KITH_API void kith_quic_host_receive(struct kith_quic_host *host, const struct kith_quic_received *received,
                                     uint64_t now_ns);

/** One buffer to send: size bytes as datagrams of segment_size each (the last may be shorter); 0 = one datagram. */
struct kith_quic_transmit {
    struct kith_sockaddr local; /* send from here; family NONE or unspecified ip: any */
    struct kith_sockaddr remote;
    size_t size;
    size_t segment_size;
    uint8_t ecn;
    bool may_fragment; /* always false: DF is set */
};

/**
 * Writes the next datagrams for one destination to `buffer`. capacity >= KITH_QUIC_UDP_SIZE_MAX; 65,507 lets the kernel
 * segment up to 64 datagrams (segments all of one size but the last). Returns false when nothing may be sent now.
 */
KITH_API bool kith_quic_host_transmit(struct kith_quic_host *host, uint8_t *buffer, size_t capacity,
                                      struct kith_quic_transmit *out, uint64_t now_ns);

/** When to call kith_quic_host_on_deadline at the latest; KITH_NEVER if nothing is pending. */
KITH_API uint64_t kith_quic_host_deadline(const struct kith_quic_host *host);

/** Runs every timer that is due at now_ns. Early calls are fine. */
KITH_API void kith_quic_host_on_deadline(struct kith_quic_host *host, uint64_t now_ns);

/** Why datagrams and packets were dropped, connection-less: X(name). Every drop is counted in exactly one of them. */
#define KITH_QUIC_DROPS(X)                                                                                             \
    X(too_short) /* shorter than any packet */                                                                         \
    X(fixed_bit) /* the fixed bit is 0 */                                                                              \
    X(malformed_header)                                                                                                \
    X(unknown_version)   /* version negotiation could not be answered */                                               \
    X(unknown_cid)       /* no connection, and no stateless reset was due */                                           \
    X(initial_too_small) /* a client Initial in a datagram of less than 1200 bytes */                                  \
    X(not_listening)     /* an Initial, but no ALPN is accepted */                                                     \
    X(incoming_limit)                                                                                                  \
    X(decrypt) /* authentication failed */                                                                             \
    X(no_keys) /* keys not there yet, or gone */                                                                       \
    X(duplicate)                                                                                                       \
    X(wrong_remote) /* another address than the path allows now */                                                     \
    X(after_close)                                                                                                     \
    X(unused_path) /* for a path id that no path uses, and none can begin with it now */                               \
    X(bad_token)                                                                                                       \
    X(bad_version_negotiation)                                                                                         \
    X(bad_retry)                                                                                                       \
    X(no_memory)

struct kith_quic_host_stats {
    uint64_t datagrams_received, bytes_received;
    uint64_t datagrams_sent, bytes_sent;
    uint64_t version_negotiations_sent, retries_sent, stateless_resets_sent, refusals_sent;
    uint64_t conns_opened, conns_live, incoming_waiting;
    uint64_t
        handshakes_given_up; /* clients accepted here that we ended before they had proven who they are: late, or closed */
#define KITH_QUIC_DROP_FIELD(name) uint64_t dropped_##name;
    KITH_QUIC_DROPS(KITH_QUIC_DROP_FIELD)
#undef KITH_QUIC_DROP_FIELD
};
/** Copies the host's counters. */
KITH_API void kith_quic_host_stats(const struct kith_quic_host *host, struct kith_quic_host_stats *out);

/* ---- Events ---- */

enum kith_quic_event_kind {
    KITH_QUIC_INCOMING,          /* decide: accept, refuse, retry or ignore */
    KITH_QUIC_EARLY_READY,       /* client: 0-RTT may be sent now */
    KITH_QUIC_CONNECTED,         /* the handshake is complete; the peer's id is proven. early_accepted tells of 0-RTT */
    KITH_QUIC_CONFIRMED,         /* the handshake is confirmed (RFC 9001, 4.1.2) */
    KITH_QUIC_STREAM_OPENED,     /* the peer opened stream `stream`: one event for each stream, in order of ids */
    KITH_QUIC_STREAMS_AVAILABLE, /* the peer allows more of our streams: see `bidi` */
    KITH_QUIC_STREAM_READABLE,   /* bytes, the end or a reset can be read; again only after a read found nothing more */
    KITH_QUIC_STREAM_WRITABLE,   /* a write that was cut short can go on */
    KITH_QUIC_STREAM_SENT,       /* all bytes and the end (or our reset) were acknowledged */
    KITH_QUIC_STREAM_STOPPED,    /* the peer will not read on: code */
    KITH_QUIC_DATAGRAM_READABLE,
    KITH_QUIC_DATAGRAM_WRITABLE, /* the send buffer has room again after an AGAIN */
    KITH_QUIC_SESSION,           /* client: a ticket for resumption arrived: take it with kith_quic_conn_take_session */
    KITH_QUIC_TOKEN,             /* client: an address token arrived: take it with kith_quic_conn_take_token */
    KITH_QUIC_PATH_OPENED,       /* path `path` exists now and waits for its validation: we or the peer opened it */
    KITH_QUIC_PATH_VALIDATED,    /* path `path` was validated: it may carry data */
    KITH_QUIC_PATH_CHANGED,      /* the address, status or MTU of path `path` changed: see kith_quic_conn_paths */
    KITH_QUIC_PATH_OBSERVED,     /* the peer sees us at `address` on path `path`: address discovery */
    KITH_QUIC_PATH_ABANDONED, /* path `path` was given up with `code`, by us or by_peer, for a `cause`; was_validated tells if it ever worked */
    KITH_QUIC_CANDIDATE_ADDED,   /* client: the server may be reached at `address`: see kith_quic_conn_candidates */
    KITH_QUIC_CANDIDATE_REMOVED, /* client: the server took `address` back */
    KITH_QUIC_PATHS_AVAILABLE,   /* kith_quic_conn_path_open said AGAIN before: it can go on */
    KITH_QUIC_CLOSED,            /* the connection ended: see kith_quic_conn_close_info. No more data events follow */
    KITH_QUIC_DRAINED            /* nothing will be sent any more: the last event of a connection */
};

/** Why a path was given up. */
enum kith_quic_path_cause {
    KITH_QUIC_CAUSE_USER = 1,   /* kith_quic_conn_path_close */
    KITH_QUIC_CAUSE_PEER,       /* the peer gave it up; its reason is `code` */
    KITH_QUIC_CAUSE_UNANSWERED, /* it failed: no challenge was answered within the idle time of paths */
    KITH_QUIC_CAUSE_SILENT,     /* it worked, but nothing was heard on it for that time */
    KITH_QUIC_CAUSE_MUTE        /* the peer's ACKs of other paths go to this one and do not arrive, while others work */
};

/** What happened. A member is set for the kinds that its comment names, and zero for the others. */
struct kith_quic_event {
    uint8_t kind;                        /* enum kith_quic_event_kind */
    bool bidi;                           /* STREAM_*, STREAMS_AVAILABLE */
    bool early_accepted;                 /* CONNECTED */
    bool by_peer, was_validated;         /* PATH_ABANDONED */
    struct kith_quic_conn *conn;         /* all but INCOMING */
    struct kith_quic_incoming *incoming; /* INCOMING */
    uint64_t stream;                     /* STREAM_*: its id */
    void *user;    /* STREAM_*: of kith_quic_stream_set_user; the stream itself may be gone with its last event */
    uint64_t code; /* STREAM_STOPPED, PATH_ABANDONED: the peer's, or ours */
    uint32_t path; /* PATH_*: its id */
    uint8_t cause; /* PATH_ABANDONED: enum kith_quic_path_cause */
    struct kith_sockaddr address; /* PATH_OBSERVED: ours as the peer sees it; CANDIDATE_*: the server's */
};

/** Takes the next event. False when there is none. Bounded: repeated readiness of one stream is one event. */
KITH_API bool kith_quic_host_next_event(struct kith_quic_host *host, struct kith_quic_event *out);

/* ---- Opening and accepting connections ---- */

struct kith_quic_connect_options {
    struct kith_id remote_id;            /* who must answer */
    const struct kith_sockaddr *remotes; /* the Initial goes to all of them; the one that answers is used */
    size_t remote_count;                 /* 1..16 */
    struct kith_sockaddr local;          /* family NONE: any */
    const struct kith_slice *alpns;      /* in order of preference; 1..KITH_QUIC_ALPN_COUNT_MAX */
    size_t alpn_count;
    const struct kith_quic_transport *transport; /* NULL: the host's */
    struct kith_slice session;                   /* from an earlier KITH_QUIC_SESSION with the same id; empty: none */
    struct kith_slice token;                     /* from an earlier KITH_QUIC_TOKEN; empty: none */
    bool early_data;                             /* offer 0-RTT if the session allows it */
};

/** Starts a connection. Errors: NOMEM, INVALID, NO_ADDRESS, WRONG_PEER (our own id), PARSE (session from elsewhere). */
KITH_API KITH_MUST_USE int kith_quic_connect(struct kith_quic_host *host,
                                             const struct kith_quic_connect_options *options, uint64_t now_ns,
                                             struct kith_quic_conn **out);

/**
 * Client: one more address where the other side may be, while nothing has come from it: the Initial goes there at once. Errors:
 * STATE (it answered already, or we are the server), EXISTS, LIMIT (32 addresses in all), INVALID (no family), CLOSED, NOMEM.
 */
KITH_API KITH_MUST_USE int kith_quic_conn_add_remote(struct kith_quic_conn *conn, const struct kith_sockaddr *remote,
                                                     uint64_t now_ns);

/** Where the first Initial came from; unproven unless validated. */
KITH_API struct kith_sockaddr kith_quic_incoming_remote(const struct kith_quic_incoming *incoming);
/** True if the client proved its address already (Retry or NEW_TOKEN token). Retry is then not possible any more. */
KITH_API bool kith_quic_incoming_is_validated(const struct kith_quic_incoming *incoming);
/** The four answers; each consumes the incoming. accept: transport NULL = the host's. Errors: NOMEM, TLS (consumed too). */
KITH_API KITH_MUST_USE int kith_quic_incoming_accept(struct kith_quic_incoming *incoming,
                                                     const struct kith_quic_transport *transport, uint64_t now_ns,
                                                     struct kith_quic_conn **out);
/** Sends CONNECTION_REFUSED. */
KITH_API void kith_quic_incoming_refuse(struct kith_quic_incoming *incoming, uint64_t now_ns);
/** Errors: STATE if it is validated already (not consumed then). */
KITH_API KITH_MUST_USE int kith_quic_incoming_retry(struct kith_quic_incoming *incoming, uint64_t now_ns);
/** Sends nothing and keeps nothing: when the client repeats its first packet, that is an INCOMING again. */
KITH_API void kith_quic_incoming_ignore(struct kith_quic_incoming *incoming);

/* ---- Connections ---- */

/** A pointer of the user's, NULL at first. The engine never looks at it. */
KITH_API void kith_quic_conn_set_user(struct kith_quic_conn *conn, void *user);
/** The pointer that kith_quic_conn_set_user set; NULL before. */
KITH_API void *kith_quic_conn_user(const struct kith_quic_conn *conn);
/** A number unique in this process run of the host. */
KITH_API uint64_t kith_quic_conn_serial(const struct kith_quic_conn *conn);
/** True if this side dialled. */
KITH_API bool kith_quic_conn_is_client(const struct kith_quic_conn *conn);
/** True once connected (and until closed). */
KITH_API bool kith_quic_conn_is_established(const struct kith_quic_conn *conn);
/** The proven id of the peer; KITH_ERR_STATE before CONNECTED. */
KITH_API KITH_MUST_USE int kith_quic_conn_remote_id(const struct kith_quic_conn *conn, struct kith_id *out);
/** The chosen ALPN, borrowed from the connection; empty before the handshake chose one. */
KITH_API struct kith_slice kith_quic_conn_alpn(const struct kith_quic_conn *conn);

/** Closes with an application code (< 2^62) and reason (cut to KITH_QUIC_REASON_SIZE_MAX); twice is fine. The CLOSED event follows. */
KITH_API void kith_quic_conn_close(struct kith_quic_conn *conn, uint64_t code, struct kith_slice reason,
                                   uint64_t now_ns);

/** Frees a connection at once, whatever its state, without sending; its events are withdrawn. Best after DRAINED. */
KITH_API void kith_quic_conn_free(struct kith_quic_conn *conn);

/** How a connection ended. */
struct kith_quic_close_info {
    /** KITH_ERR_CLOSED (we), CLOSED_BY_PEER, TRANSPORT, TLS, ALPN, WRONG_PEER, REFUSED, IDLE, TIMEOUT (the handshake's), LOST, VERSION, ... */
    int err;
    bool by_peer;
    bool is_application;      /* code is the application's */
    uint64_t code;            /* wire code */
    uint64_t frame_type;      /* frame that caused a transport error; 0 if none */
    struct kith_slice reason; /* borrowed from the connection; untrusted text if by_peer */
};
/** KITH_ERR_STATE while the connection is open. */
KITH_API KITH_MUST_USE int kith_quic_conn_close_info(const struct kith_quic_conn *conn,
                                                     struct kith_quic_close_info *out);

/** Exported keying material (RFC 8446, 7.5). STATE before CONNECTED; size <= 8160. */
KITH_API KITH_MUST_USE int kith_quic_conn_export(const struct kith_quic_conn *conn, struct kith_slice label,
                                                 struct kith_slice context, uint8_t *out, size_t size);
/** Asks for a key update with the next packet. STATE if one is under way or the handshake is not confirmed. */
KITH_API KITH_MUST_USE int kith_quic_conn_update_keys(struct kith_quic_conn *conn, uint64_t now_ns);
/** Sends a PING on every path. */
KITH_API void kith_quic_conn_ping(struct kith_quic_conn *conn, uint64_t now_ns);
/**
 * Client: the local address changed: all validated paths go on from the new one (family NONE: any). RFC 9000, 9. STATE before
 * confirmation, or if no path can move now (none is validated, or the peer issued no spare ids).
 */
KITH_API KITH_MUST_USE int kith_quic_conn_migrate(struct kith_quic_conn *conn, const struct kith_sockaddr *local,
                                                  uint64_t now_ns);
/** How many streams the peer may have open at once from now on; streams it was granted stay granted. */
KITH_API void kith_quic_conn_set_streams_max(struct kith_quic_conn *conn, bool bidi, uint64_t count);

/** Moves the newest ticket (or token) out: up to `capacity` bytes to `out`. AGAIN if there is none, TOO_LARGE. */
KITH_API KITH_MUST_USE int kith_quic_conn_take_session(struct kith_quic_conn *conn, uint8_t *out, size_t capacity,
                                                       size_t *size);
/** Moves the newest address token out; errors as for kith_quic_conn_take_session. */
KITH_API KITH_MUST_USE int kith_quic_conn_take_token(struct kith_quic_conn *conn, uint8_t *out, size_t capacity,
                                                     size_t *size);

/** PROBING: waits for its first answer. OPEN: carries data. CLOSING: given up by a side, late packets may still come. */
enum kith_quic_path_state { KITH_QUIC_PATH_PROBING, KITH_QUIC_PATH_OPEN, KITH_QUIC_PATH_CLOSING };

/** One path, as it is now. Without multipath there is one, with id 0. */
struct kith_quic_path_info {
    uint32_t id;   /* never used again in this connection; the first path is 0 */
    uint8_t state; /* enum kith_quic_path_state */
    bool is_validated, ecn_capable;
    bool is_backup,
        is_peer_backup;            /* our status of it, which decides what we send where; the peer's, which is advice */
    bool is_silent;                /* probes went unanswered: others are preferred until it answers */
    struct kith_sockaddr observed; /* address discovery: where the peer sees us on it; family NONE: not told */
    struct kith_sockaddr local, remote; /* local: what was asked for, else where the last packet came in; NONE before */
    uint64_t rtt_ns, rtt_min_ns, rtt_var_ns; /* rtt_min_ns: UINT64_MAX before the first sample */
    uint64_t congestion_window, in_flight_size, slow_start_threshold;
    uint64_t pacing_rate; /* bytes per second; 0 = unpaced */
    uint16_t udp_size;    /* present path MTU: UDP payload bytes */
    uint64_t bytes_sent, bytes_received, packets_sent, packets_received;
    uint64_t packets_lost, bytes_lost, packets_spurious, probe_timeouts, congestion_events, ecn_ce_count;
};
/**
 * Opens a further path from `local` (family NONE: any) to `remote` and starts to validate it; *path is its id. Data go on
 * validated paths: on available ones before backups, on those that answer before those that fell silent, and within such a
 * group as the transport's `schedule` says. What was in flight on a path that is abandoned or silent goes out again on the
 * others.
 * Errors: STATE (the handshake is not confirmed), CLOSED, UNSUPPORTED (no multipath), PERMISSION (a server opens none),
 * EXISTS (a path is there already), AGAIN (the peer must allow more paths or issue ids first: PATHS_AVAILABLE follows),
 * LIMIT (our own: when a path is gone), NOMEM.
 */
KITH_API KITH_MUST_USE int kith_quic_conn_path_open(struct kith_quic_conn *conn, const struct kith_sockaddr *local,
                                                    const struct kith_sockaddr *remote, bool is_backup, uint64_t now_ns,
                                                    uint32_t *path);
/** Gives a path up and tells the peer `code` (0x3e: the application's). NOT_FOUND, STATE (it is the last one), CLOSED. */
KITH_API KITH_MUST_USE int kith_quic_conn_path_close(struct kith_quic_conn *conn, uint32_t path, uint64_t code,
                                                     uint64_t now_ns);
/**
 * NAT traversal. An address of ours where the peer may try to reach us. Server: the client is told. Client: it is named in
 * the next round. Errors: EXISTS, LIMIT, INVALID (no family or port), UNSUPPORTED, CLOSED, NOMEM.
 */
KITH_API KITH_MUST_USE int kith_quic_conn_add_candidate(struct kith_quic_conn *conn,
                                                        const struct kith_sockaddr *address, uint64_t now_ns);
/** Takes it back. NOT_FOUND, LIMIT (too many removals are not acknowledged yet), CLOSED. */
KITH_API KITH_MUST_USE int kith_quic_conn_remove_candidate(struct kith_quic_conn *conn,
                                                           const struct kith_sockaddr *address, uint64_t now_ns);
/** Client: the addresses that the server told of: fills up to `capacity`, returns how many there are (at most 32). */
KITH_API size_t kith_quic_conn_candidates(const struct kith_quic_conn *conn, struct kith_sockaddr *out,
                                          size_t capacity);
/**
 * Client: starts a round: both sides probe each other's addresses at the same time. Each that answers becomes a path, as a
 * backup: PATH_OPENED and PATH_VALIDATED follow. Errors: UNSUPPORTED (not agreed on, or a server), STATE (no candidate of
 * ours, or the handshake is not confirmed), CLOSED.
 */
KITH_API KITH_MUST_USE int kith_quic_conn_punch(struct kith_quic_conn *conn, uint64_t now_ns);
/** Makes a path a backup, or available again, and tells the peer. NOT_FOUND, UNSUPPORTED, CLOSED. */
KITH_API KITH_MUST_USE int kith_quic_conn_path_set_backup(struct kith_quic_conn *conn, uint32_t path, bool is_backup,
                                                          uint64_t now_ns);
/** Fills up to `capacity` entries in order of path id; returns how many there are. */
KITH_API size_t kith_quic_conn_paths(const struct kith_quic_conn *conn, struct kith_quic_path_info *out,
                                     size_t capacity);

struct kith_quic_conn_stats {
    uint64_t packets_sent, packets_received, bytes_sent, bytes_received;
    uint64_t packets_lost, packets_retransmitted, key_updates, streams_opened, streams_accepted;
    uint64_t stream_bytes_sent, stream_bytes_received, stream_bytes_resent;
    uint64_t datagrams_sent, datagrams_received, datagrams_lost;
    uint64_t datagrams_dropped_send, datagrams_dropped_receive; /* oldest dropped because the buffer was full */
    uint64_t migrations, frames_ignored, packets_dropped;
    size_t memory_size; /* bytes allocated through the hook for this connection, now */
    bool is_resumed;    /* the handshake used a ticket of an earlier connection: no certificates went over the wire */
};
/** Copies the connection's counters. */
KITH_API void kith_quic_conn_stats(const struct kith_quic_conn *conn, struct kith_quic_conn_stats *out);

/* ---- Streams (RFC 9000, 2 to 4) ---- */

/** Opens a stream. AGAIN at the peer's limit (STREAMS_AVAILABLE follows), CLOSED, STATE before keys. Invisible to the peer until written. */
KITH_API KITH_MUST_USE int kith_quic_stream_open(struct kith_quic_conn *conn, bool bidi, uint64_t *stream);
/**
 * Copies up to `size` bytes into the send buffer; *written tells how many. AGAIN if none fitted (WRITABLE follows),
 * STOPPED (see code in the event), STATE after finish or reset, NOT_FOUND, CLOSED. `fin` ends the stream if all was written.
 */
KITH_API KITH_MUST_USE int kith_quic_stream_write(struct kith_quic_conn *conn, uint64_t stream, const void *bytes,
                                                  size_t size, bool fin, size_t *written);
/** Bytes written that the peer has not acknowledged yet, without gaps before them; 0 also for a stream that is not there. */
KITH_API uint64_t kith_quic_stream_unacked(const struct kith_quic_conn *conn, uint64_t stream);
/** Ends our sending half after what was written. STATE after finish or reset, STOPPED, NOT_FOUND, CLOSED. */
KITH_API KITH_MUST_USE int kith_quic_stream_finish(struct kith_quic_conn *conn, uint64_t stream);
/** Abandons our sending half. */
KITH_API KITH_MUST_USE int kith_quic_stream_reset(struct kith_quic_conn *conn, uint64_t stream, uint64_t code);
/** Tells the peer to stop sending; buffered bytes are dropped. */
KITH_API KITH_MUST_USE int kith_quic_stream_stop(struct kith_quic_conn *conn, uint64_t stream, uint64_t code);
/** Higher goes first; equal ones share, one packet's worth each. 0 at first. Local only. */
KITH_API KITH_MUST_USE int kith_quic_stream_set_priority(struct kith_quic_conn *conn, uint64_t stream,
                                                         int32_t priority);
/**
 * Ordered read: copies up to `capacity` bytes. AGAIN if nothing is there (READABLE follows), END after the last byte,
 * RESET (code in *code if code is not NULL). Credit goes back to the peer as bytes are read.
 */
KITH_API KITH_MUST_USE int kith_quic_stream_read(struct kith_quic_conn *conn, uint64_t stream, void *out,
                                                 size_t capacity, size_t *size, uint64_t *code);
/** Like read, without copying: *out is borrowed until the next call on this connection. Follow with consume. */
KITH_API KITH_MUST_USE int kith_quic_stream_peek(struct kith_quic_conn *conn, uint64_t stream, struct kith_slice *out,
                                                 uint64_t *code);
/** Gives back the first `size` bytes that peek showed. */
KITH_API KITH_MUST_USE int kith_quic_stream_consume(struct kith_quic_conn *conn, uint64_t stream, size_t size);
/**
 * Unordered read: the next chunk in whatever order it came, each byte once. After the first call ordered reads are STATE.
 * END when every byte up to the final size was delivered.
 */
KITH_API KITH_MUST_USE int kith_quic_stream_read_chunk(struct kith_quic_conn *conn, uint64_t stream, void *out,
                                                       size_t capacity, uint64_t *offset, size_t *size, uint64_t *code);
/** The user is done with both halves: unread bytes are stopped, an unfinished sending half is reset with code 0. */
KITH_API void kith_quic_stream_release(struct kith_quic_conn *conn, uint64_t stream);
/** A pointer of the user's for a stream; NULL if none or gone. */
KITH_API void kith_quic_stream_set_user(struct kith_quic_conn *conn, uint64_t stream, void *user);
/** The pointer that kith_quic_stream_set_user set; NULL if none, or if the stream is gone. */
KITH_API void *kith_quic_stream_user(const struct kith_quic_conn *conn, uint64_t stream);

/* ---- Datagrams (RFC 9221) ---- */

/** Largest payload now; 0 if the peer takes none. */
KITH_API size_t kith_quic_datagram_size_max(const struct kith_quic_conn *conn);
/**
 * Queues one. TOO_LARGE, UNSUPPORTED, CLOSED. When the send buffer is full: with drop_oldest the oldest are dropped and
 * counted, else AGAIN (DATAGRAM_WRITABLE follows).
 */
KITH_API KITH_MUST_USE int kith_quic_datagram_send(struct kith_quic_conn *conn, struct kith_slice bytes,
                                                   bool drop_oldest);
/** Takes the oldest received one; AGAIN if there is none; TOO_LARGE if capacity is too small (it stays). */
KITH_API KITH_MUST_USE int kith_quic_datagram_receive(struct kith_quic_conn *conn, void *out, size_t capacity,
                                                      size_t *size);

#ifdef __cplusplus
}
#endif
#endif
