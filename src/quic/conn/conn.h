/**
 * One connection from the inside: the parts below src/quic/conn and what ties them together. Files of conn/ share this
 * header; nobody below does. A connection is always in one of the phases of phase.h. After each public call it is
 * "touched": put where the host finds it when it has something to send, to report, or a deadline.
 *
 * Initial and Handshake live in `early`, which is freed when the handshake is confirmed: an idle connection keeps its
 * paths, its streams, and the 1-RTT keys. Each path id has its own 1-RTT packet number space; Initial, Handshake and
 * 0-RTT belong to path 0 (spec/01, 4.3).
 */
#ifndef KITH_QUIC_CONN_CONN_H
#define KITH_QUIC_CONN_CONN_H

#include "base/buf.h"
#include "base/heap.h"
#include "base/list.h"
#include "quic/conn/close.h"
#include "quic/conn/events.h"
#include "quic/conn/phase.h"
#include "quic/guard/handshake.h"
#include "quic/guard/keys.h"
#include "quic/guard/seal.h"
#include "quic/path/migrate.h"
#include "quic/path/multipath.h"
#include "quic/path/observed.h"
#include "quic/path/path.h"
#include "quic/path/punch.h"
#include "quic/qlog/qlog.h"
#include "quic/stream/datagram.h"
#include "quic/stream/stream_set.h"
#include "quic/wire/tparams.h"
#include "tls/tls.h"

struct kith_quic_host;

enum {
    KITH_CONN_SPARE_CIDS = 2,        /* ids that we issue for a path id before a path uses it: one, and one to move */
    KITH_CONN_REMOTES_MAX = 16,      /* addresses that a dial begins with; each gets a copy of each Initial */
    KITH_CONN_REMOTES_ALL_MAX = 32,  /* with those that are added while it goes on */
    KITH_CONN_EARLY_PACKETS_MAX = 8, /* packets kept until their keys are there (spec/01, 10, 3) */
    KITH_CONN_TOKEN_SIZE_MAX = 512   /* address tokens that we keep for the user; longer ones are ignored and counted */
};

/** Packet protection levels in the order in which they are sent. */
enum kith_level { KITH_LEVEL_INITIAL, KITH_LEVEL_HANDSHAKE, KITH_LEVEL_EARLY, KITH_LEVEL_DATA };

/** A packet that came before its keys. */
struct kith_kept_packet {
    struct kith_kept_packet *next;
    struct kith_tuple tuple;
    uint64_t received_ns;
    uint8_t ecn, level;
    uint16_t size;
    uint8_t bytes[];
};

/** One handshake packet number space. Its CRYPTO bytes are in struct kith_handshake. */
struct kith_conn_space {
    struct kith_received received;
    struct kith_sent_log sent;
    struct kith_open_space open;
    struct kith_keys keys;
    uint8_t probes; /* packets to send whatever the window says */
    bool is_gone;   /* keys were discarded */
};

/** What only the handshake needs. */
struct kith_conn_early {
    struct kith_conn_space spaces[2]; /* KITH_SPACE_INITIAL, KITH_SPACE_HANDSHAKE */
    struct kith_crypto_stream streams[KITH_HANDSHAKE_EARLY_STREAMS];
    struct kith_keys zero_rtt;         /* the client's sending, the server's receiving key */
    struct kith_cid odcid;             /* first destination id of the client */
    struct kith_cid retry_scid;        /* size 0: no Retry */
    struct kith_cid first_remote_cid;  /* source id of the peer's first Initial */
    struct kith_buf token;             /* client: goes into each Initial */
    bool has_remote_cid;               /* the peer's own id is known */
    bool has_handshake_packet;         /* client: an authentic Handshake packet came: the server's address stays now */
    bool is_peer_waiting;              /* client: the server may not have validated our address */
    bool is_early_offered;             /* client: 0-RTT keys are in use */
    uint8_t remote_count, remote_next; /* addresses beside the path's; the next one that gets a copy of `copy` */
    struct kith_sockaddr *remotes;     /* owned, with room for KITH_CONN_REMOTES_ALL_MAX; NULL if there are none */
    uint8_t *copy;                     /* the datagram to copy, KITH_QUIC_UDP_SIZE_MAX bytes; NULL likewise */
    uint16_t copy_size;                /* 0: nothing to copy now */
    struct kith_tparams remembered;    /* client with 0-RTT: the server's old parameters */
    uint64_t give_up_ns;               /* server: when the client must have proven who it is; KITH_NEVER */
    struct kith_tparams theirs;        /* the peer's parameters between their arrival and the end of the handshake */
};

/** Counts what is allocated, in a header before each block. */
struct kith_conn_mem {
    struct kith_mem mem; /* what the parts get */
    const struct kith_mem *base;
    struct kith_blocks *blocks; /* of the host: where blocks of that size come from */
    size_t size;
};

struct kith_quic_conn {
    struct kith_quic_host *host;
    struct kith_conn_mem mem;
    struct kith_list host_node, send_node, event_node, touch_node;
    struct kith_heap_node deadline_node;
    uint64_t serial, now_ns; /* now: of the newest call that told it */
    void *user;
    struct kith_quic_transport config;
    struct kith_id remote_id; /* expected, at a client; proven once established */
    struct kith_buf alpn;
    struct kith_handshake handshake;
    struct kith_conn_early *early; /* NULL once confirmed */
    struct kith_kept_packet *kept; /* packets that came before their keys, oldest first */
    uint8_t kept_count;
    struct kith_keys keys;  /* 1-RTT */
    uint64_t keys_drop_ns;  /* when the previous read keys go; KITH_NEVER */
    uint64_t tls_drop_ns;   /* when the TLS library's part goes; KITH_NEVER: not yet, or gone */
    uint64_t key_update_at; /* packets sealed with one key before we update */
    /**
     * The id that the client's Initials carry: odcid, or the server's own after Retry. A server keeps it to the end, so
     * that a late copy of an Initial finds this connection and not a place as a new client.
     */
    struct kith_cid initial_dcid;
    struct kith_path *paths[KITH_PATH_IDS_MAX]; /* owned; in order of ids, the first `path_count` are set */
    uint8_t path_count;                         /* before the handshake is over: 1, path 0 */
    struct kith_multipath mp;
    struct kith_punch punch;
    struct kith_observed observed;
    struct kith_conn_spare *spares;        /* path ids without a path, in no order */
    struct kith_cid rx_cid;                /* what `rx_path` was found by last */
    struct kith_path *rx_path;             /* NULL: nothing */
    uint64_t idle_floor_ns;                /* when the last of the paths that are gone heard something */
    uint64_t peer_cids_max;                /* the peer's active_connection_id_limit */
    uint64_t peer_udp_max;                 /* the peer's max_udp_payload_size; 0: not known yet */
    bool are_cids_stale;                   /* ids should be issued, or tokens be listed: kith__conn_sync_cids */
    bool has_path_frames;                  /* frames about paths and ids may be due; cleared when a search finds none */
    bool is_path_wanted;                   /* path_open had to say AGAIN */
    uint32_t rx_stream_path;               /* where the newest stream data came */
    struct kith_full_answers full_answers; /* with NAT traversal: large answers to small challenges */
    bool has_nat_traversal;                /* agreed on */
    struct kith_stream_set streams;
    struct kith_datagram_queue datagrams_out, datagrams_in;
    struct kith_conn_events events;
    struct kith_conn_close close;
    struct kith_qlog qlog;
    struct kith_ack_policy ack_policy;
    struct kith_buf session, token; /* newest for the user */
    /* From the peer's transport parameters. */
    uint64_t peer_delay_max_ns, peer_idle_ns, peer_datagram_max;
    uint8_t peer_delay_exponent;
    bool peer_has_ack_frequency;
    bool peer_limits_known; /* final ones, or remembered for 0-RTT */
    uint8_t phase;          /* enum kith_phase */
    bool is_client;
    bool has_peer_params;
    bool is_proven;        /* remote_id is */
    bool is_phase_acked;   /* a packet of the present key generation was acknowledged: we may update */
    bool is_update_wanted; /* the user asks for a key update */
    bool done_due;         /* server: HANDSHAKE_DONE is to be sent */
    bool token_due;        /* server: NEW_TOKEN is to be sent */
    bool is_off_path_now;  /* the packet being built goes to another address than the path's */
    bool spin_enabled;
    uint8_t tickets; /* client: that came; saturates long before it wraps: the handshake takes few */
    struct kith_quic_conn_stats stats;
};

/* ---- conn.c ---- */

/** How a connection is made; slices are copied. */
struct kith_conn_options {
    const struct kith_quic_transport *transport;
    struct kith_tuple tuple;
    bool is_client;
    struct kith_cid odcid, initial_dcid, remote_scid, retry_scid; /* server: from the Initial and its token */
    bool is_address_proved;                                       /* server: by a token */
    const struct kith_quic_connect_options *connect;              /* client */
    const char *server_name; /* client: a name to prove by X.509 in place of connect->remote_id; NULL: none */
};
/** Addresses that a client's Initials go to: the path's first, then those that get copies. NOMEM. */
KITH_MUST_USE int kith__conn_init_remotes(struct kith_quic_conn *conn, const struct kith_sockaddr *remotes,
                                          size_t count);
/** Whether these settings are within the ranges that kith/quic.h names. INVALID. */
KITH_MUST_USE int kith__conn_check_transport(const struct kith_quic_transport *config);
KITH_MUST_USE int kith__conn_new(struct kith_quic_host *host, const struct kith_conn_options *options, uint64_t now_ns,
                                 struct kith_quic_conn **out);
/** Puts the connection where the host looks for work, news and deadlines. After each public call. */
void kith__conn_touch(struct kith_quic_conn *conn);
/** As touch, but without assuming that there is something to send. */
void kith__conn_schedule(struct kith_quic_conn *conn);
/** Takes all its ids and tokens out of the host's tables. Fine twice. */
void kith__conn_unregister(struct kith_quic_conn *conn);
/** Smoothed round trip of the path in use; 0 before a sample. */
uint64_t kith__conn_rtt(const struct kith_quic_conn *conn);
/** The probe timeout without backoff, of the slowest path. */
uint64_t kith__conn_pto_max(const struct kith_quic_conn *conn);
/** Largest DATAGRAM payload now; 0: not supported. */
size_t kith__conn_datagram_size_max(const struct kith_quic_conn *conn);
/** The space of a packet number space index; NULL once discarded. DATA: the path's log and received set. */
struct kith_sent_log *kith__conn_sent_log(struct kith_quic_conn *conn, struct kith_path *path, enum kith_space space);
struct kith_received *kith__conn_received(struct kith_quic_conn *conn, struct kith_path *path, enum kith_space space);
/** The handshake is confirmed: frees what only it needed. */
void kith__conn_on_confirmed(struct kith_quic_conn *conn);
/** Discards the keys and state of Initial or Handshake. Fine twice. */
void kith__conn_drop_space(struct kith_quic_conn *conn, enum kith_space space);

/** Issues ids to the peer as many as it wants, and keeps the host's map of its reset tokens right. NOMEM is put off. */
void kith__conn_sync_cids(struct kith_quic_conn *conn);
/** Frees packets that wait for keys. */
void kith__conn_free_kept(struct kith_quic_conn *conn);

/* ---- paths.c ---- */

/** Connection ids of a path id that no path uses yet. */
struct kith_conn_spare {
    struct kith_conn_spare *next;
    uint32_t id;
    struct kith_cid_ours cids_ours;
    struct kith_cid_theirs cids_theirs;
};

/** Both kinds of ids of a path id, wherever they are. */
struct kith_conn_ids {
    struct kith_cid_ours *ours; /* NULL: nothing is known of the path id */
    struct kith_cid_theirs *theirs;
};

/** A path with what parts below do not know. The table holds pointers to the member `path`. */
struct kith_conn_path {
    struct kith_path path;
    struct kith_open_space open; /* data space */
    struct kith_observed_path observed;
};
static inline struct kith_open_space *kith__conn_open_space(struct kith_path *path)
{
    return &KITH_CONTAINER(path, struct kith_conn_path, path)->open;
}

/** The path with this id; NULL if there is none (any more). */
struct kith_path *kith__conn_path(const struct kith_quic_conn *conn, uint32_t id);
/**
 * A new path in state UNUSED, with the ids of the spare if there is one. The id is not in use (asserted). Errors: NOMEM;
 * LIMIT: the table is full of paths whose end the user was not told yet.
 */
KITH_MUST_USE int kith__conn_add_path(struct kith_quic_conn *conn, uint32_t id, const struct kith_tuple *tuple,
                                      struct kith_path **out);
/** The ids of a path id; `ours` is NULL if there are none. Valid until a path is added or freed. */
struct kith_conn_ids kith__conn_ids(struct kith_quic_conn *conn, uint32_t id);
/** The same; makes a spare if there is none. KITH_ERR_NOMEM. */
KITH_MUST_USE int kith__conn_make_ids(struct kith_quic_conn *conn, uint32_t id, struct kith_conn_ids *out);
/**
 * Where a short header with this destination id belongs: returns its path, or NULL and *id, the path id that has none.
 * Ids that are in no list belong to path 0.
 */
struct kith_path *kith__conn_find_path(struct kith_quic_conn *conn, struct kith_slice dcid, uint32_t *id);
/** An id of ours is not valid any more. */
void kith__conn_remove_cid(struct kith_quic_conn *conn, const struct kith_cid *cid);
/** Nothing is left of a path id: frees its path or spare. */
void kith__conn_free_id(struct kith_quic_conn *conn, uint32_t id);
/**
 * Frees the paths that have drained and of whose end the user has heard. One path is always there, be it drained.
 */
void kith__conn_free_drained(struct kith_quic_conn *conn);
/** ACKs that went out on the path may be lost: what was received on it is acknowledged again, on another path. */
void kith__conn_ack_elsewhere(struct kith_quic_conn *conn, struct kith_path *path);
/** Every path that lives sends a PING. */
void kith__conn_ping_all(struct kith_quic_conn *conn);
/** Takes its ids and its reset token out of the host's tables. Fine twice. */
void kith__conn_unregister_path(struct kith_quic_conn *conn, struct kith_path *path);
/** Frees all paths and spares. */
void kith__conn_free_paths(struct kith_quic_conn *conn);
/** Bytes of a DATAGRAM frame's data that fit into a packet on the path. */
size_t kith__conn_datagram_room(const struct kith_path *path);

/* ---- share.c ---- */

/** May anything be sent on it? It lives, and has an id of the peer. */
bool kith__conn_may_send_on(const struct kith_path *path);
/** The path with the lowest id that may be sent on, and is proved if it must be; NULL: none. */
struct kith_path *kith__conn_lowest(const struct kith_quic_conn *conn, bool must_be_proved);
/** May the path carry what belongs to no path? It was validated, lives, and has an id of the peer. */
bool kith__conn_is_usable(const struct kith_path *path);
/** The path for the next packet with data; NULL: all that may carry data are blocked, or there is none. */
struct kith_path *kith__conn_pick(struct kith_quic_conn *conn);
/** The best path for what must get through, blocked or not; one that is not validated if there is no other; NULL: none. */
struct kith_path *kith__conn_first(const struct kith_quic_conn *conn);

/* ---- alive.c ---- */

/** Does the path leave probes unanswered now? */
static inline bool kith__conn_is_silent(const struct kith_path *path)
{
    return path->silent_ns != 0;
}
/**
 * When the oldest packet of the path has waited for its acknowledgement for so long that the path is suspect; KITH_NEVER: it
 * is silent already, nothing waits, or there is no other path that answers.
 */
uint64_t kith__conn_suspect_deadline(const struct kith_quic_conn *conn, const struct kith_path *path);
/** That time has come: the path is silent from now on, and old data go out again on another one. */
void kith__conn_on_suspect(struct kith_quic_conn *conn, struct kith_path *path);
/** A probe timeout of the path's data space, as kith__loss_on_timer told: `probes` packets are to be sent. */
void kith__conn_on_probe_timeout(struct kith_quic_conn *conn, struct kith_path *path, uint8_t probes);
/** With several paths: a packet that asks for an ACK came on the path. */
void kith__conn_note_flow(const struct kith_quic_conn *conn, struct kith_path *path);
/**
 * When a flow of packets to us that stopped is to be asked about: a side that only receives, with nothing in flight, would hear
 * of a dead path with its next keep-alive only. One PING for each flow of 16 packets or more, three probe timeouts after
 * the last. KITH_NEVER: there was none, something is in flight, or there is no other path that answers.
 */
uint64_t kith__conn_flow_deadline(const struct kith_quic_conn *conn, const struct kith_path *path);
/** That time has come. */
void kith__conn_on_flow_stopped(struct kith_path *path);
/** A challenge on a path that is silent was answered, and the packet acknowledged nothing. */
void kith__conn_on_silent_answer(struct kith_quic_conn *conn, struct kith_path *path);
/** When kith__conn_on_path_idle is due: the path's own idle time, with multipath only; KITH_NEVER: not, or not yet known. */
uint64_t kith__conn_path_idle_deadline(const struct kith_quic_conn *conn, const struct kith_path *path);
/** The path's own idle time is over: gives it up if another one answers, else asks the others. */
void kith__conn_on_path_idle(struct kith_quic_conn *conn, struct kith_path *path);

/* ---- path_life.c ---- */

/** A path begins on `tuple`: the id has connection ids of ours. On an address that another path proved it is proved. */
KITH_MUST_USE int kith__conn_begin_path(struct kith_quic_conn *conn, uint32_t id, const struct kith_tuple *tuple,
                                        bool is_backup, struct kith_path **out);
/** True if another path proved that the peer is there. */
bool kith__conn_is_proved_by_other(const struct kith_quic_conn *conn, const struct kith_path *path,
                                   const struct kith_tuple *tuple);
/** A challenge on the path was answered. The first time it tells its status, and the user. */
void kith__conn_on_path_proved(struct kith_quic_conn *conn, struct kith_path *path);
/** We give the path up, with that code. KITH_ERR_STATE: it is the last one. */
int kith__conn_abandon(struct kith_quic_conn *conn, struct kith_path *path, uint64_t code,
                       enum kith_quic_path_cause cause);
/** PATH_ABANDON came. */
void kith__conn_on_path_abandon(struct kith_quic_conn *conn, uint32_t id, uint64_t code);
/** Time passes for path ids: frees what has drained. Fails the connection when it has had no path for too long. */
void kith__conn_on_path_ids_deadline(struct kith_quic_conn *conn);
/** Connection ids or a higher limit came: whoever wants a path may try again. */
void kith__conn_note_paths_available(struct kith_quic_conn *conn);

static inline struct kith_observed_path *kith__conn_observed(const struct kith_path *path)
{
    return &KITH_CONTAINER(path, struct kith_conn_path, path)->observed;
}
/** The id for a new path of ours, with ids of the peer's. AGAIN, LIMIT, UNSUPPORTED, PERMISSION. */
KITH_MUST_USE int kith__conn_prepare_path_id(struct kith_quic_conn *conn, uint32_t *id);

/* ---- traverse.c ---- */

/** Our role in address discovery: enum kith_observed_role. */
uint8_t kith__conn_observed_role(const struct kith_quic_conn *conn);
/** The handshake is complete, multipath is settled: what of both extensions is on. */
void kith__conn_start_traversal(struct kith_quic_conn *conn, const struct kith_tparams *theirs);
/** The path is new, or is somewhere else now: the peer is to be told, if it wants to know. */
void kith__conn_observe(struct kith_quic_conn *conn, struct kith_path *path);
/** OBSERVED_ADDRESS came on the path. 0, or a wire code and *reason. */
KITH_MUST_USE int kith__conn_on_observed(struct kith_quic_conn *conn, struct kith_path *path, uint64_t sequence,
                                         const struct kith_sockaddr *address, const char **reason);
/** ADD_ADDRESS, REMOVE_ADDRESS or REACH_OUT came. 0, or a wire code and *reason. */
KITH_MUST_USE int kith__conn_on_candidate_frame(struct kith_quic_conn *conn, const struct kith_frame *frame,
                                                const char **reason);
/** A PATH_RESPONSE came: true if it answers a probe of the round. */
bool kith__conn_on_punch_response(struct kith_quic_conn *conn, const struct kith_tuple *tuple,
                                  const uint8_t value[KITH_CHALLENGE_SIZE]);
/** An answer goes to that address: should it carry a challenge of ours? */
bool kith__conn_wants_challenge_back(const struct kith_quic_conn *conn, const struct kith_sockaddr *remote);
/** Client: opens paths to the addresses that were proved, as far as ids allow it now. */
void kith__conn_open_punched(struct kith_quic_conn *conn);

/* ---- negotiate.c ---- */

/** Our transport parameters. */
void kith__conn_own_params(const struct kith_quic_conn *conn, struct kith_tparams *out);
/** Encodes them; KITH_TPARAMS_SIZE_MAX bytes. Returns the size. */
size_t kith__conn_write_params(struct kith_quic_conn *conn, uint8_t out[KITH_TPARAMS_SIZE_MAX]);
/** Takes what the handshake put out, until there is nothing more. 0 or KITH_ERR_CLOSED. */
KITH_MUST_USE int kith__conn_run_handshake(struct kith_quic_conn *conn);
/** Client: a Retry packet (untrusted): starts again with its token, towards the address that it came from. */
void kith__conn_on_retry(struct kith_quic_conn *conn, const struct kith_packet *packet, const uint8_t *bytes,
                         const struct kith_tuple *from);
/** Client: a Version Negotiation packet (untrusted). */
void kith__conn_on_version_negotiation(struct kith_quic_conn *conn, const struct kith_packet *packet);

/* ---- rx.c ---- */

/** One datagram for this connection: untrusted, decrypted in place. */
void kith__conn_receive(struct kith_quic_conn *conn, const struct kith_tuple *tuple, uint8_t *bytes, size_t size,
                        uint8_t ecn, uint64_t now_ns);

/**
 * True if these last bytes of a datagram from `remote` are a stateless reset of the peer: a token of an id that we sent to
 * at that address (RFC 9000, 10.3.1: tokens count for the remote address they belong to only).
 */
bool kith__conn_is_reset(const struct kith_quic_conn *conn, const struct kith_sockaddr *remote,
                         const uint8_t token[KITH_RESET_TOKEN_SIZE]);

/* ---- tx.c ---- */

bool kith__conn_transmit(struct kith_quic_conn *conn, uint8_t *buffer, size_t capacity, struct kith_quic_transmit *out,
                         uint64_t now_ns);

/* ---- timers.c ---- */

/** The smaller of both sides' idle timeouts; 0: none. */
uint64_t kith__conn_idle_timeout(const struct kith_quic_conn *conn);
uint64_t kith__conn_deadline(const struct kith_quic_conn *conn);
void kith__conn_on_deadline(struct kith_quic_conn *conn, uint64_t now_ns);
/** Tells qlog of loss timers that changed. */
void kith__conn_log_timers(struct kith_quic_conn *conn);

/* ---- check.c ---- */

/** Walks the invariants; for tests. */
void kith__conn_check(const struct kith_quic_conn *conn);

#endif
