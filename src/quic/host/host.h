/**
 * The inside of a host: what its connections share, and the tables by which a datagram finds its connection. See
 * kith/quic.h for the public verbs. Connections use this header to register their ids, to be scheduled, and to count drops.
 */
#ifndef KITH_QUIC_HOST_HOST_H
#define KITH_QUIC_HOST_HOST_H

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "quic/host/blocks.h"
#include "quic/host/cidgen.h"
#include "quic/host/incoming_store.h"
#include "quic/host/replies.h"
#include "quic/host/reset.h"
#include "quic/host/token.h"
#include "quic/wire/cid.h"
#include <kith/quic.h>

struct kith_tls_context;
struct kith_packet;

#define KITH_RESET_INTERVAL_NS (20 * KITH_NS_PER_MS)
enum { KITH_HOST_ENDING_WAITS_MAX = 64 }; /* transmits of others before one that ends gets its turn all the same */

enum kith_drop {
#define KITH_DROP_ENUM(name) KITH_DROP_##name,
    KITH_QUIC_DROPS(KITH_DROP_ENUM)
#undef KITH_DROP_ENUM
        KITH_DROP_COUNT
};

/** The application protocols in one block of memory: a copy of the user's list. */
struct kith_alpn_list {
    struct kith_slice *items; /* the bytes follow the slices in the same block */
    size_t count;
};

struct kith_quic_host {
    const struct kith_mem *mem;
    struct kith_random random;
    const struct kith_log *log;
    void (*key_log)(void *ctx, const char *line);
    void (*qlog)(void *ctx, uint64_t conn_serial, const char *json_record);
    void *sink_ctx;
    struct kith_secret secret;
    struct kith_id id;
    struct kith_alpn_list alpns;
    struct kith_quic_transport transport;
    struct kith_tls_context *tls;
    struct kith_tls_context *tls_x509; /* NULL, or see host/x509.h */
    bool serves_x509;                  /* clients that come in get our certificate */
    struct kith_cidgen cidgen;
    struct kith_reset reset;
    struct kith_token_keys tokens;
    struct kith_incoming_store incoming;
    struct kith_list incoming_news; /* incomings whose event was not taken */
    struct kith_replies replies;
    struct kith_map cids;         /* connection id of ours -> struct kith_quic_conn */
    struct kith_quic_conn *found; /* what `found_cid` led to; NULL: nothing, or it changed since */
    struct kith_cid found_cid;
    struct kith_map reset_tokens; /* stateless reset token of a peer -> struct kith_quic_conn */
    struct kith_list conns;       /* all, in order of creation */
    struct kith_list sending;     /* may have something to send; the first is next */
    struct kith_list ending;      /* likewise, but they end: their turn comes when the others have nothing to send */
    unsigned ending_waits;        /* transmits of others while one of them waited */
    struct kith_list eventful;    /* have something to report */
    struct kith_list touched;     /* got packets of the burst that is being taken in */
    struct kith_heap deadlines;
    struct kith_blocks blocks; /* for the connections' data */
    uint64_t next_serial;
    struct kith_quic_host_stats stats;
};

/**
 * The connection may have something to send: puts it where transmit looks for it, if it is not there. One that ends comes
 * behind those that go on. Also after its phase changed.
 */
void kith__host_want_transmit(struct kith_quic_host *host, struct kith_quic_conn *conn);
/** Counts a drop. */
void kith__host_drop(struct kith_quic_host *host, enum kith_drop reason);
/** Looks the connection of a destination id up; NULL if there is none. */
struct kith_quic_conn *kith__host_find(const struct kith_quic_host *host, struct kith_slice cid);
/** A new id that is not in use, registered for the connection. KITH_ERR_NOMEM. */
KITH_MUST_USE int kith__host_issue_cid(struct kith_quic_host *host, struct kith_quic_conn *conn, struct kith_cid *cid);
/** The stateless reset token of an id of ours. */
void kith__host_reset_token(const struct kith_quic_host *host, const struct kith_cid *cid,
                            uint8_t token[KITH_RESET_TOKEN_SIZE]);
/** Registers an id that the peer chose (a client's first destination id). KITH_ERR_NOMEM; EXISTS: taken. */
KITH_MUST_USE int kith__host_add_cid(struct kith_quic_host *host, struct kith_quic_conn *conn, struct kith_slice cid);
/** Fine for an id that is not registered, or registered for another connection (then it stays). */
void kith__host_remove_cid(struct kith_quic_host *host, const struct kith_quic_conn *conn, struct kith_slice cid);
/** The peer's token belongs to the connection now. Without memory a reset is not noticed: counted, not fatal. */
void kith__host_add_reset_token(struct kith_quic_host *host, struct kith_quic_conn *conn, const uint8_t *token);
void kith__host_remove_reset_token(struct kith_quic_host *host, const struct kith_quic_conn *conn,
                                   const uint8_t *token);
/** Copies the list into one block. KITH_ERR_INVALID: counts or sizes; NOMEM. */
KITH_MUST_USE int kith__alpn_list_copy(const struct kith_mem *mem, const struct kith_slice *alpns, size_t count,
                                       struct kith_alpn_list *out);
void kith__alpn_list_dispose(const struct kith_mem *mem, struct kith_alpn_list *list);

/* ---- incoming.c ---- */

/** Takes in a datagram that begins with an Initial for no known connection, or that belongs to a waiting client. */
void kith__incoming_on_initial(struct kith_quic_host *host, const struct kith_quic_received *datagram,
                               const struct kith_packet *packet, uint64_t now_ns);
/** Another datagram of a client that waits: true if it was one (kept, or dropped and counted). */
bool kith__incoming_on_datagram(struct kith_quic_host *host, const struct kith_quic_received *datagram,
                                struct kith_slice dcid, uint64_t now_ns);
/** Takes the next INCOMING event. */
bool kith__incoming_next_event(struct kith_quic_host *host, struct kith_quic_event *out);
/** Frees all waiting clients. */
void kith__incoming_dispose_all(struct kith_quic_host *host);

#endif
