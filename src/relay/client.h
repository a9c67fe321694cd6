/**
 * The client's side of one relay connection, from the WebSocket upgrade on: proves who we are, carries datagrams, answers
 * pings first and sends its own, notices when the relay does not answer. Messages, the time and random numbers go in; messages,
 * one event for each message, and a deadline come out. Dialling, TLS, HTTP and WebSocket framing are its owner's.
 *
 * One object serves one relay for as long as there is interest in it: kith__relay_client_start begins a new connection, and
 * datagrams that were queued meanwhile (while the owner dialled) go out on it, unless they became too old.
 *
 * The queue is bounded in bytes, control frames go ahead of it, and every datagram that does not go out is counted with a
 * reason. Owner: who made it. Thread rules: one thread at a time. Source: spec/02, sections 2, 3, 4.3, 4.4, 4.7, 9.4.
 */
#ifndef KITH_RELAY_CLIENT_H
#define KITH_RELAY_CLIENT_H

#include "base/list.h"
#include "relay/handshake.h"

enum {
    KITH_RELAY_QUEUE_SIZE_MAX = 512 << 10, /* bytes of datagram frames that wait; the oldest make room for new ones */
    KITH_RELAY_PONGS_MAX = 4,    /* pings of the relay that wait for their answer; older ones are forgotten, counted */
    KITH_RELAY_REASON_SIZE = 256 /* of a denial or a health text that is kept, with its end */
};

#define KITH_RELAY_QUEUE_AGE_NS  (3 * KITH_NS_PER_S)  /* QUIC has sent again what waited for so long */
#define KITH_RELAY_PING_EVERY_NS (15 * KITH_NS_PER_S) /* of hearing nothing */
#define KITH_RELAY_UNHEARD_NS                                                                                          \
    (700 * KITH_NS_PER_MS) /* after a datagram went out and nothing came: ask whether it lives */
#define KITH_RELAY_DOUBT_MIN_NS                                                                                        \
    (500 * KITH_NS_PER_MS) /* a pong that is later than this, and three round trips, is missed */
#define KITH_RELAY_PONG_MIN_NS  (3 * KITH_NS_PER_S) /* and the connection is given up after this */
#define KITH_RELAY_PONG_MAX_NS  (5 * KITH_NS_PER_S)
#define KITH_RELAY_PONG_LAST_NS (15 * KITH_NS_PER_S) /* ... or this, if other frames go on coming */

/** Why datagrams were not sent, or not taken in: X(name). Counted in frames. */
#define KITH_RELAY_CLIENT_DROPS(X)                                                                                     \
    X(full)      /* send: the oldest of a full queue */                                                                \
    X(stale)     /* send: it waited too long for a connection, or for the network */                                   \
    X(size)      /* send: empty, or too large for a frame */                                                           \
    X(no_memory) /* send */                                                                                            \
    X(empty)     /* receive: without a payload */                                                                      \
    X(unknown)   /* receive: a frame of a kind that we do not know; skipped */                                         \
    X(pong)      /* an answer to a ping that was overtaken by newer pings */

struct kith_relay_client_stats {
    uint64_t frames_sent, payload_sent;         /* datagram frames, and the bytes in them */
    uint64_t frames_received, payload_received; /* likewise */
    uint64_t pings_sent, pings_received, pongs_missed;
#define KITH_RELAY_CLIENT_DROP_MEMBER(name) uint64_t drop_##name;
    KITH_RELAY_CLIENT_DROPS(KITH_RELAY_CLIENT_DROP_MEMBER)
#undef KITH_RELAY_CLIENT_DROP_MEMBER
};

enum kith_relay_client_state {
    KITH_RELAY_CLIENT_OFF,     /* no connection: datagrams are queued */
    KITH_RELAY_CLIENT_GREETED, /* waits for a challenge or a verdict */
    KITH_RELAY_CLIENT_SIGNED,  /* the challenge was answered: waits for the verdict */
    KITH_RELAY_CLIENT_READY    /* datagrams flow */
};

enum kith_relay_client_event_kind {
    KITH_RELAY_EVENT_NOTHING,     /* the message concerned only this machine */
    KITH_RELAY_EVENT_ACCEPTED,    /* the relay knows us: READY now */
    KITH_RELAY_EVENT_DENIED,      /* it does not want us: `text` says why. The connection is over */
    KITH_RELAY_EVENT_ESTABLISHED, /* the first pong of this connection came */
    KITH_RELAY_EVENT_DATAGRAM,    /* `datagram`; its payload lies in the message and may be changed */
    KITH_RELAY_EVENT_GONE,        /* `key`: that endpoint, which had sent us something, has left this relay */
    KITH_RELAY_EVENT_STATUS,      /* `status` */
    KITH_RELAY_EVENT_HEALTH,      /* `text`: a problem, for people (version 1) */
    KITH_RELAY_EVENT_RESTARTING   /* the relay will end soon: both times */
};

/** What a message meant; members as the kinds say. Borrowed from the message. */
struct kith_relay_client_event {
    enum kith_relay_client_event_kind kind;
    struct kith_relay_datagram datagram;
    const uint8_t *key;
    struct kith_slice text; /* untrusted, UTF-8 */
    uint8_t status;
    uint32_t reconnect_in_ms, try_for_ms;
};

/** A relay connection. Members are for this module; others use the functions. */
struct kith_relay_client {
    const struct kith_mem *mem;
    const struct kith_keypair *pair;
    const struct kith_random *random;
    uint8_t state;   /* enum kith_relay_client_state */
    uint8_t version; /* enum kith_relay_version */
    bool is_established;
    struct kith_list queue; /* datagram frames, oldest first */
    size_t queue_size;
    uint8_t auth[KITH_RELAY_CLIENT_AUTH_SIZE];
    bool has_auth; /* `auth` waits to be sent */
    uint8_t pongs[KITH_RELAY_PONGS_MAX][KITH_RELAY_PING_SIZE];
    size_t pong_count;
    bool has_ping; /* a ping waits to be sent */
    uint8_t ping[KITH_RELAY_PING_SIZE];
    uint64_t pinged_ns;  /* when the newest ping was asked for; 0: it was answered, or there was none */
    uint64_t doubt_ns;   /* then its pong is missed; KITH_NEVER once that was told */
    uint64_t give_up_ns; /* then the connection is over */
    uint64_t ping_at_ns; /* when the next ping is due */
    uint64_t asked_ns;   /* when the first datagram after the last received frame went out; 0: none */
    uint64_t heard_ns;   /* when the last frame came */
    uint64_t sent_ns;    /* when the last datagram was queued */
    uint64_t rtt_ns;     /* of the last ping; 0: none yet */
    bool is_doubtful;    /* a pong was missed, and nothing was heard since */
    uint8_t control[1 + KITH_RELAY_PING_SIZE]; /* the ping or pong that was shown last */
    uint8_t shown;                             /* what kith__relay_client_next showed last */
    const char *reason;                        /* why the last error was one; static */
    struct kith_relay_client_stats stats;
};

/** OFF, nothing queued. pair and random are borrowed and outlive it. */
void kith__relay_client_init(struct kith_relay_client *client, const struct kith_mem *mem,
                             const struct kith_keypair *pair, const struct kith_random *random);
/** Frees what waits. */
void kith__relay_client_dispose(struct kith_relay_client *client);

/** The upgrade is through, with this protocol version. Control frames of an earlier connection are forgotten. */
void kith__relay_client_start(struct kith_relay_client *client, enum kith_relay_version version, uint64_t now_ns);
/** The connection is gone: OFF. What waits to be sent stays until it is too old. */
void kith__relay_client_stop(struct kith_relay_client *client);

/**
 * Takes in one binary message (untrusted), whose datagram may be changed in place by whoever gets the event. Errors, on which
 * the connection must be dropped: those of kith__relay_frame_decode but for kinds that do not exist; kith__relay_client_reason
 * says more.
 */
KITH_MUST_USE int kith__relay_client_receive(struct kith_relay_client *client, uint8_t *message, size_t size,
                                             uint64_t now_ns, struct kith_relay_client_event *out);
/** Why the last call failed; never NULL, static. */
const char *kith__relay_client_reason(const struct kith_relay_client *client);

/**
 * Queues size bytes for the endpoint with that id, as datagrams of segment_size each (0: one). In every state; never fails: what
 * cannot be sent is counted. Batches that are too large for one frame are split.
 */
void kith__relay_client_send(struct kith_relay_client *client, const struct kith_id *to, uint8_t ecn,
                             uint16_t segment_size, const uint8_t *bytes, size_t size, uint64_t now_ns);
/**
 * The next message to send; false if there is none. Copy it and call kith__relay_client_sent, before any other call; or leave it:
 * it, or one that is more urgent by then, is the next one again.
 */
bool kith__relay_client_next(struct kith_relay_client *client, uint64_t now_ns, struct kith_slice *out);
/** The message that kith__relay_client_next showed is taken: on to the next. */
void kith__relay_client_sent(struct kith_relay_client *client);

/**
 * Asks the relay at once whether it is there: the network changed, or a connection through it fell silent. is_urgent: the
 * connection is given up as soon as the pong is missed. Nothing if it is not READY.
 */
void kith__relay_client_check(struct kith_relay_client *client, bool is_urgent, uint64_t now_ns);
/** When kith__relay_client_on_deadline is due; KITH_NEVER. */
uint64_t kith__relay_client_deadline(const struct kith_relay_client *client);
/** Sends pings, misses pongs (kith_relay_client.is_doubtful). TIMEOUT: the relay is dead, drop the connection. */
KITH_MUST_USE int kith__relay_client_on_deadline(struct kith_relay_client *client, uint64_t now_ns);

#endif
