/**
 * kith/endpoint.h: endpoints, connections, streams and datagrams: what most programs need. Public header.
 *
 * Objects
 *   kith_context   where everything runs: one loop with its sockets and timers. Made implicitly, with a thread of its own,
 *                  by kith_endpoint_bind when options.context is NULL.
 *   kith_endpoint  one permanent id on some sockets. kith_conn: a connection to one other endpoint. kith_stream: one
 *                  byte stream in it (bidirectional or unidirectional). kith_incoming: a client that waits for a decision.
 *   kith_op        one operation that takes time: wait on it, or get a callback, give it a deadline, cancel it.
 *
 * Three ways to run the same endpoint
 *   1. On its own thread: the default. All calls may block; the protocol goes on while the program does other things.
 *   2. Inside the caller's loop: kith_context_new with KITH_CONTEXT_CALLER; poll kith_context_fd for reading with
 *      kith_context_timeout, then call kith_context_process. Blocking calls work here too (they run the loop meanwhile).
 *   3. Without any I/O of ours: kith/quic.h.
 *
 * Thread rules: a context and all its objects are used by one thread at a time. Any thread may call kith_op_cancel and
 * kith_context_wake, as long as the operation or context is not freed meanwhile. Callbacks run only inside
 * kith_context_process, on the thread that called it, and may call everything, also free their operation, close the
 * endpoint, or wait. The log function is the one exception: it may be called from the context's own thread, and must not
 * call back into kith.
 *
 * After fork, only the parent may go on with what was made before; the child may not even give it back: it would speak for the
 * parent, with its keys. (exec is fine: no descriptor is passed on.)
 *
 * Handles that the caller has are given back with their free function (an incoming: with one of its answers), in any
 * order, also after the endpoint was closed or the context freed: they are then empty shells whose calls fail with
 * KITH_ERR_CLOSED. Calls on a closed endpoint or a freed context themselves are not allowed.
 *
 * Time limits are nanoseconds from now: KITH_WAIT waits as long as it takes (KITH_ERR_TIMEOUT after a limit), 0 does not
 * wait (KITH_ERR_AGAIN). A blocking call that kith_context_wake ended also says KITH_ERR_AGAIN.
 * Functions that fail return a negative enum kith_err; kith_error_last then tells more.
 */
#ifndef KITH_ENDPOINT_H
#define KITH_ENDPOINT_H

#include <kith/quic.h>
#include <kith/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kith_context;
struct kith_endpoint;
struct kith_conn;
struct kith_stream;
struct kith_incoming;
struct kith_op;

/* ---- Errors ---- */

enum { KITH_ERROR_TEXT_SIZE = 512 };

/** What went wrong with the last call of this thread that failed. */
struct kith_error {
    int code; /* enum kith_err */
    /* If the system refused something: its errno. If a connection or stream ended: the wire code that the other side or we
     * sent (0x100 plus the alert where TLS failed). 0: neither, or not known. */
    int64_t cause;
    char text[KITH_ERROR_TEXT_SIZE]; /* a sentence: what happened, why, what to do. UTF-8, control characters escaped */
};
/** Never NULL; valid until this thread's next failing call. code 0 before the first failure. */
KITH_API const struct kith_error *kith_error_last(void);
/** Makes a copy of *error what kith_error_last says in this thread: for libraries beside this one, and for bindings. */
KITH_API void kith_error_note(const struct kith_error *error);

/* ---- Keys and ids ---- */

enum { KITH_ID_TEXT_SIZE = 65, KITH_SECRET_TEXT_SIZE = 65, KITH_ID_SHORT_SIZE = 11 };

/** A new secret key from the system's random numbers. Cannot fail. */
KITH_API void kith_secret_generate(struct kith_secret *out);
/** Parses hex (64 lower-case digits) or base32 (52 characters). KITH_ERR_PARSE. Source: spec/03, 1.1. */
KITH_API KITH_MUST_USE int kith_secret_parse(const char *text, struct kith_secret *out);
/** Writes 64 hex digits and an end. text holds KITH_SECRET_TEXT_SIZE bytes. Returns text. */
KITH_API const char *kith_secret_format(const struct kith_secret *secret, char *text);
/** Overwrites the secret so that it cannot be read from memory any more. */
KITH_API void kith_secret_wipe(struct kith_secret *secret);
/** The id that belongs to a secret key. */
KITH_API struct kith_id kith_secret_id(const struct kith_secret *secret);
/** Parses hex or base32; PARSE also if the bytes are not a point of the curve. */
KITH_API KITH_MUST_USE int kith_id_parse(const char *text, struct kith_id *out);
/** 64 hex digits and an end; text holds KITH_ID_TEXT_SIZE bytes. Returns text. */
KITH_API const char *kith_id_format(const struct kith_id *id, char *text);
/** The first 10 hex digits, for people; text holds KITH_ID_SHORT_SIZE bytes. Returns text. */
KITH_API const char *kith_id_format_short(const struct kith_id *id, char *text);
/** True if both are the same 32 bytes. Any thread. */
KITH_API bool kith_id_equal(const struct kith_id *a, const struct kith_id *b);
/** Signs (RFC 8032, Ed25519). */
KITH_API void kith_sign(const struct kith_secret *secret, struct kith_slice message,
                        uint8_t signature[KITH_SIGNATURE_SIZE]);
/** Strict verification (spec/03, 1.3). 0 or KITH_ERR_CRYPTO. */
KITH_API KITH_MUST_USE int kith_verify(const struct kith_id *id, struct kith_slice message,
                                       const uint8_t signature[KITH_SIGNATURE_SIZE]);
/**
 * Reads a secret key file (64 hex digits or base32, a line end is fine). NOT_FOUND, PERMISSION (also when others than the
 * owner may read it), PARSE, IO.
 */
KITH_API KITH_MUST_USE int kith_secret_load(const char *path, struct kith_secret *out);
/** Writes a secret key file with mode 0600, whole or not at all; parent directories are made (0700). EXISTS without `replace`. */
KITH_API KITH_MUST_USE int kith_secret_store(const char *path, const struct kith_secret *secret, bool replace);

/* ---- Addresses and tickets ---- */

enum { KITH_ADDR_IPS_MAX = 32, KITH_ADDR_RELAYS_MAX = 4, KITH_ADDR_RELAY_SIZE = 256, KITH_TICKET_TEXT_SIZE = 4096 };

/** Who to reach and where that endpoint may be. By value; kept in the order of spec/03, 2.1 and without duplicates. */
struct kith_addr {
    struct kith_id id;
    size_t ip_count, relay_count;
    size_t ignored_count; /* addresses of unknown kinds, or beyond the maxima, that a ticket held */
    struct kith_sockaddr ips[KITH_ADDR_IPS_MAX];
    char relays[KITH_ADDR_RELAYS_MAX][KITH_ADDR_RELAY_SIZE]; /* normalised URLs */
};

/** An address with nothing but an id. */
KITH_API void kith_addr_init(struct kith_addr *addr, const struct kith_id *id);
/** Adds a socket address; one that is there already is fine. LIMIT, INVALID (no family). */
KITH_API KITH_MUST_USE int kith_addr_add_ip(struct kith_addr *addr, const struct kith_sockaddr *ip);
/** Adds a relay URL, normalised. PARSE, LIMIT, TOO_LARGE. */
KITH_API KITH_MUST_USE int kith_addr_add_relay(struct kith_addr *addr, const char *url);
/** Parses what people paste: an endpoint ticket, a blob ticket (its endpoint), or a bare id. PARSE. */
KITH_API KITH_MUST_USE int kith_addr_parse(const char *text, struct kith_addr *out);
/** The endpoint ticket of an address, byte for byte as iroh makes it. text holds KITH_TICKET_TEXT_SIZE bytes. TOO_LARGE. */
KITH_API KITH_MUST_USE int kith_ticket_format(const struct kith_addr *addr, char *text, size_t size);

/* ---- Contexts: where things run ---- */

enum kith_context_mode {
    KITH_CONTEXT_THREAD, /* a thread of the context's own drives sockets and timers */
    KITH_CONTEXT_CALLER  /* the caller drives, by kith_context_process or blocking calls */
};

struct kith_context_options {
    uint32_t size;              /* sizeof(struct kith_context_options) */
    uint8_t mode;               /* enum kith_context_mode */
    const struct kith_mem *mem; /* NULL: the default */
    void (*log)(void *ctx, int level, const char *part,
                const char *text); /* NULL: none; may be called from the context's thread */
    void *log_ctx;
    int log_level; /* 0 errors, 1 warnings, 2 information, 3 debug, 4 trace */
};
#define KITH_CONTEXT_OPTIONS_INIT .size = sizeof(struct kith_context_options)

/** Makes a context. NOMEM, IO, INVALID. */
KITH_API KITH_MUST_USE int kith_context_new(const struct kith_context_options *options, struct kith_context **out);
/**
 * Ends it with its endpoints and connections, at once, without telling anybody (close endpoints first for a graceful end).
 * Operations that are not done end with KITH_ERR_CLOSED, without their callbacks. NULL is fine.
 */
KITH_API void kith_context_free(struct kith_context *context);
/** Caller mode: poll this for reading. Thread mode: readable when callbacks wait for kith_context_process. */
KITH_API int kith_context_fd(struct kith_context *context);
/** Nanoseconds until kith_context_process is due; KITH_NEVER, or 0 for at once. */
KITH_API uint64_t kith_context_timeout(struct kith_context *context);
/**
 * Does what can be done without waiting, then runs the callbacks that are due, also those that become due meanwhile: a
 * bounded number of them, the others wait for the next call. What the callbacks write is sent when they are through.
 * Returns how many ran, or an error.
 */
KITH_API int kith_context_process(struct kith_context *context);
/**
 * Makes kith_context_fd readable, and ends the blocking call in progress, or else the next one that would wait, with
 * KITH_ERR_AGAIN; once. kith_context_process takes it back. Any thread, but no signal handler.
 */
KITH_API void kith_context_wake(struct kith_context *context);

/* ---- Operations ---- */

/** What an operation calls when it is done, exactly once, unless it was freed before. */
typedef void kith_op_callback(struct kith_op *op, void *user);

/** Waits until done. Returns the operation's result; TIMEOUT if the limit passed, AGAIN for limit 0: it goes on then. */
KITH_API int kith_op_wait(struct kith_op *op, uint64_t limit_ns);
/** The callback runs inside kith_context_process (at once there, if the operation is done already). */
KITH_API void kith_op_on_done(struct kith_op *op, kith_op_callback *callback, void *user);
/** The operation ends with TIMEOUT when it is not done by then. */
KITH_API void kith_op_set_limit(struct kith_op *op, uint64_t limit_ns);
/** The operation ends with CANCELLED if it is not done yet. Any thread. */
KITH_API void kith_op_cancel(struct kith_op *op);
/** 0 or a negative error once done; AGAIN before. */
KITH_API int kith_op_result(const struct kith_op *op);
/** Text and cause of a failed operation; code 0 if it did not fail. Borrowed from the operation. */
KITH_API const struct kith_error *kith_op_error(const struct kith_op *op);
/** Bytes read or written; for reads 0 with result KITH_ERR_END is the end. */
KITH_API size_t kith_op_size(const struct kith_op *op);
/** What the operation made; each can be taken once (NULL after that). Not taken, it is closed (a client: refused) by kith_op_free. */
KITH_API struct kith_conn *kith_op_take_conn(struct kith_op *op);
/** The stream that an open or accept made; NULL if there is none or it was taken. */
KITH_API struct kith_stream *kith_op_take_stream(struct kith_op *op);
/** The client that kith_incoming_next_start got; NULL if there is none or it was taken. */
KITH_API struct kith_incoming *kith_op_take_incoming(struct kith_op *op);
/** Frees it, cancelling it first if need be; its callback does not run any more. Also inside its callback. NULL is fine. */
KITH_API void kith_op_free(struct kith_op *op);

/* ---- Endpoints ---- */

enum { KITH_ENDPOINT_QAD_PORT = 7842 /* where relays have their address discovery if nobody says otherwise */ };

/** A relay to use. Copied. */
struct kith_endpoint_relay {
    const char *url;   /* "https://relay.example", normalised or not; http without TLS */
    const char *token; /* that the relay asks for, at most 4,096 bytes; NULL: none */
    /**
     * UDP port of its address discovery (usually KITH_ENDPOINT_QAD_PORT): the endpoint asks there, from its own sockets, which
     * address others see it at (kith_endpoint_public), checking the certificate as for https, and measures the round trip. The first
     * five relays that have one are asked. 0: it is not asked.
     */
    uint16_t qad_port;
};

/** Whose certificates relays, and pkarr servers (kith/lookup.h), may show, for https. */
enum kith_relay_trust {
    KITH_RELAY_TRUST_SYSTEM, /* the system's certificate authorities, and those of relay_ca_pem */
    KITH_RELAY_TRUST_ONLY,   /* those of relay_ca_pem alone */
    KITH_RELAY_TRUST_ANY     /* no check at all: for tests. Whoever is on the way can then see who talks to whom */
};

enum { KITH_ENDPOINT_RELAYS_MAX = 16, KITH_ENDPOINT_DNS_SERVERS_MAX = 7 };

struct kith_lookup_option; /* kith/lookup.h */
struct kith_publish_time;

struct kith_endpoint_options {
    uint32_t size;                      /* sizeof(struct kith_endpoint_options) */
    struct kith_context *context;       /* NULL: one with a thread of its own, ended with the endpoint */
    const struct kith_secret *secret;   /* NULL: a new random identity; copied */
    const char *const *alpns;           /* accepted, in order of preference; NULL-terminated; NULL: dial only */
    const struct kith_slice *alpns_raw; /* instead of alpns where they are not text */
    size_t alpns_raw_count;
    const struct kith_sockaddr *binds; /* local addresses; count 0: 0.0.0.0 and [::], any port */
    size_t bind_count;
    const struct kith_quic_transport *transport; /* NULL: the defaults */
    const char *qlog_directory;                  /* NULL: no qlog. One file per connection */
    const char *key_log_file;                    /* NULL: none. NSS key log, for debugging with Wireshark */
    /**
     * Relays that others reach this endpoint through: the fastest one is home, a second one is kept connected for when home
     * dies. Without any the endpoint still goes through the relays that addresses of other endpoints name.
     */
    const struct kith_endpoint_relay *relays;
    size_t relay_count;  /* at most KITH_ENDPOINT_RELAYS_MAX */
    bool relay_only;     /* no UDP at all: everything goes through relays. binds is ignored */
    bool no_relays;      /* never goes through a relay, not even for others' addresses. relays must be empty */
    uint8_t relay_trust; /* enum kith_relay_trust */
    const char *proxy;   /* "http://user:password@host:port", for relays and pkarr servers; NULL: none */
    /**
     * For whom it is not, as NO_PROXY has it: "relay.lan,.example.org,10.0.0.0/8" (names with all below them, addresses,
     * networks; ":port" behind them: only that one; "*": for nobody). At most 1023 bytes. NULL: it is for all.
     */
    const char *no_proxy;
    struct kith_slice relay_ca_pem; /* further authorities, as PEM; copied */
    /**
     * How others find this endpoint by its id, and how it finds them: kith/lookup.h. None: nothing is published, and nobody is
     * asked. With relay_only there is no MDNS and no DHT (INVALID).
     */
    const struct kith_lookup_option *lookups;
    size_t lookup_count; /* at most KITH_ENDPOINT_LOOKUPS_MAX */
    /**
     * Asked in place of the system's DNS servers, also for the names of relays (of several endpoints in a context the first that
     * has some decides about names). Port 0: 53.
     */
    const struct kith_sockaddr *dns_servers;
    size_t dns_server_count;       /* at most KITH_ENDPOINT_DNS_SERVERS_MAX */
    const char *user_data;         /* published beside the addresses: kith_endpoint_set_user_data; NULL: none */
    uint64_t publish_interval_ns;  /* told again so often; 0: pkarr 5 minutes, DHT an hour */
    const char *publish_time_file; /* keeps the time of the newest signed packet, made if need be; NULL: none */
    const struct kith_publish_time *publish_time; /* the same by callbacks; NULL: none */
};
#define KITH_OPTIONS_INIT .size = sizeof(struct kith_endpoint_options)

/** Binds. ADDRESS_IN_USE, PERMISSION, IO, NOMEM, INVALID. Blocks only for system calls. */
KITH_API KITH_MUST_USE int kith_endpoint_bind(const struct kith_endpoint_options *options, struct kith_endpoint **out);
/** The public key that this endpoint is known by. Any time until it is closed. */
KITH_API struct kith_id kith_endpoint_id(const struct kith_endpoint *endpoint);
/**
 * Id and the addresses others may try: the public ones that relays told, every interface address with the bound port (spec/03),
 * and the home relay and the spare one, once they have let this endpoint in (kith_endpoint_online waits for that).
 */
KITH_API void kith_endpoint_addr(struct kith_endpoint *endpoint, struct kith_addr *out);
/* The relays of an endpoint. */

enum kith_endpoint_relay_state {
    KITH_ENDPOINT_RELAY_IDLE, /* not connected, and nothing to send through it */
    KITH_ENDPOINT_RELAY_CONNECTING,
    KITH_ENDPOINT_RELAY_CONNECTED,
    KITH_ENDPOINT_RELAY_DISCONNECTED, /* the last attempt failed, see err and why; the next one comes by itself */
    KITH_ENDPOINT_RELAY_REFUSED       /* the same, by the relay's own decision: why says what it said */
};

enum { KITH_RELAY_REASON_TEXT_SIZE = 256 };

/** One relay of an endpoint, as it is now. */
struct kith_endpoint_relay_info {
    char url[KITH_ADDR_RELAY_SIZE];        /* normalised; cut if it is longer */
    uint8_t state;                         /* enum kith_endpoint_relay_state */
    bool is_configured;                    /* in the options; else known from another endpoint's address */
    bool is_home;                          /* others are told to come through it */
    bool is_spare;                         /* kept connected for when home dies, and told to others too */
    bool is_displaced;                     /* another endpoint with the same key receives what is for us there */
    uint64_t rtt_ns;                       /* 0: not measured yet */
    int err;                               /* enum kith_err of the last connection or attempt that ended; 0: none */
    char why[KITH_RELAY_REASON_TEXT_SIZE]; /* a sentence about it; "" */
    uint64_t http_latency_ns;              /* of its /ping, with several relays only; 0: not measured, or it failed */
    uint64_t quic_latency_ns;              /* of its address discovery; 0: likewise */
    bool has_qad;                          /* its address discovery is asked (the port of the options) */
    int qad_err;                           /* what came of that the last time; 0: it answered, or was not asked yet */
    char qad_why[KITH_RELAY_REASON_TEXT_SIZE]; /* a sentence about it; "" */
};

/** Whether all relays see this endpoint at the same address. */
enum kith_endpoint_mapping {
    KITH_ENDPOINT_MAPPING_UNKNOWN, /* fewer than two relays told an address */
    KITH_ENDPOINT_MAPPING_SAME,
    KITH_ENDPOINT_MAPPING_VARIES /* a NAT gives a new one for each destination: the address helps few others */
};

/** Where others see this endpoint, as far as relays told. */
struct kith_endpoint_public_info {
    struct kith_sockaddr v4, v6;    /* family NONE: not known */
    uint8_t mapping_v4, mapping_v6; /* enum kith_endpoint_mapping */
};
/** As it is now; kith_endpoint_relays_changed_start waits for a change. */
KITH_API void kith_endpoint_public(struct kith_endpoint *endpoint, struct kith_endpoint_public_info *out);

/** Waits until others can reach this endpoint through its home relay. STATE: it has no relays; TIMEOUT, which tells why. */
KITH_API KITH_MUST_USE int kith_endpoint_online(struct kith_endpoint *endpoint, uint64_t limit_ns);
/** The same as an operation. */
KITH_API KITH_MUST_USE int kith_endpoint_online_start(struct kith_endpoint *endpoint, struct kith_op **out);
/** The relays, configured ones first: fills up to `capacity`, returns how many there are. */
KITH_API size_t kith_endpoint_relays(struct kith_endpoint *endpoint, struct kith_endpoint_relay_info *out,
                                     size_t capacity);
/**
 * An operation that ends with 0 at the next change: another home relay, one that was connected, lost, or refused; another public
 * address. Look with kith_endpoint_relays and kith_endpoint_public then, and start the next one first.
 */
KITH_API KITH_MUST_USE int kith_endpoint_relays_changed_start(struct kith_endpoint *endpoint, struct kith_op **out);
/**
 * The relay behind an address of family KITH_FAMILY_RELAY, as kith_conn_paths and kith_incoming_remote show it: its URL, of
 * KITH_ADDR_RELAY_SIZE bytes, and (unless NULL) who is reached that way. NOT_FOUND: no such address, or not in use any more.
 */
KITH_API KITH_MUST_USE int kith_endpoint_relay_of(struct kith_endpoint *endpoint, const struct kith_sockaddr *address,
                                                  char *url, struct kith_id *id);

/** What went through relays, and what did not. */
struct kith_endpoint_relay_stats {
    uint64_t batches_sent, bytes_sent;         /* frames with datagrams, and the bytes of QUIC in them */
    uint64_t batches_received, bytes_received; /* likewise */
    uint64_t home_changes;
    uint64_t conns_success, conns_failed; /* attempts to connect to a relay */
    uint64_t conns_closed;                /* connections that ended, for whatever reason */
    uint64_t conns_ratelimited;           /* of these, and those that go on: the relay said that we send too much */
    uint64_t paths_added, paths_removed;  /* paths of connections through relays */
    uint64_t dropped_full;                /* to send: the oldest of a queue that was full */
    uint64_t dropped_stale;               /* to send: waited too long for a connection to the relay */
    uint64_t dropped_size;                /* to send: no relay carries them */
    uint64_t dropped_unroutable;          /* to send: the address was forgotten */
    uint64_t dropped_no_memory;
    uint64_t dropped_empty;   /* received without contents */
    uint64_t dropped_unknown; /* received frames of kinds that we do not know */
};
/** Counters since the endpoint was opened. */
KITH_API void kith_endpoint_relay_stats(struct kith_endpoint *endpoint, struct kith_endpoint_relay_stats *out);

/** The bound sockets themselves. Returns how many there are; fills up to `capacity`. */
KITH_API size_t kith_endpoint_bound(struct kith_endpoint *endpoint, struct kith_sockaddr *out, size_t capacity);
/**
 * Replaces the protocols that later clients may ask for; 1 to 255 bytes each, copied. INVALID, NOMEM: the old list
 * stays.
 */
KITH_API KITH_MUST_USE int kith_endpoint_set_alpns(struct kith_endpoint *endpoint, const struct kith_slice *alpns,
                                                   size_t count);
/** Counters of the engine: drops by reason, bytes, connections (without those that only ask relays for our address). */
KITH_API void kith_endpoint_stats(struct kith_endpoint *endpoint, struct kith_quic_host_stats *out);
/**
 * Graceful end: waits until every finished stream has been acknowledged (what was written on streams that were not finished
 * is cut off), closes every connection with code 0, waits for the closing periods, closes the sockets. TIMEOUT if the limit
 * or kith_context_wake cut it short. The endpoint is gone in every case, with the context that it made for itself; handles
 * of its connections, streams and operations must still be given back. NULL is fine.
 */
KITH_API int kith_endpoint_close(struct kith_endpoint *endpoint, uint64_t limit_ns);

/* ---- Connecting and accepting ---- */

struct kith_connect_options {
    uint32_t size;                  /* sizeof(struct kith_connect_options) */
    const struct kith_slice *alpns; /* in order of preference */
    size_t alpn_count;
    const struct kith_quic_transport *transport; /* NULL: the endpoint's */
    struct kith_sockaddr local;                  /* family NONE: the endpoint chooses */
    bool
        early_data; /* use 0-RTT if there is a ticket: the connection is given out before the handshake ends; data may be replayed */
    bool no_session; /* do not resume */
};
#define KITH_CONNECT_OPTIONS_INIT .size = sizeof(struct kith_connect_options)

/**
 * Connects and waits for the handshake, which the other side completes only while it accepts: a program that is both
 * sides starts kith_accept_start first. With lookup services an id alone is enough; they are asked also when there are addresses,
 * unless a connection to that endpoint works already. alpn: text. WRONG_PEER, ALPN, REFUSED, TIMEOUT, UNREACHABLE, NO_ADDRESS
 * (kith_error_last names what each service said), ... After
 * TIMEOUT, kith_endpoint_relays tells whether a relay of that address kept this endpoint out, and why.
 */
KITH_API KITH_MUST_USE int kith_connect(struct kith_endpoint *endpoint, const struct kith_addr *addr, const char *alpn,
                                        uint64_t limit_ns, struct kith_conn **out);
/** The same as an operation (take the connection with kith_op_take_conn). NULL options are not allowed. */
KITH_API KITH_MUST_USE int kith_connect_start(struct kith_endpoint *endpoint, const struct kith_addr *addr,
                                              const struct kith_connect_options *options, struct kith_op **out);

/** Waits for the next client, accepts it, waits for its handshake. Clients that fail on the way are skipped (and logged). */
KITH_API KITH_MUST_USE int kith_accept(struct kith_endpoint *endpoint, uint64_t limit_ns, struct kith_conn **out);
/** The same as an operation: kith_op_take_conn gives the connection. CLOSED, NOMEM. */
KITH_API KITH_MUST_USE int kith_accept_start(struct kith_endpoint *endpoint, struct kith_op **out);
/** Waits for the next client and leaves the decision to the caller (kith_op_take_incoming). */
KITH_API KITH_MUST_USE int kith_incoming_next(struct kith_endpoint *endpoint, uint64_t limit_ns,
                                              struct kith_incoming **out);
/** The same as an operation: kith_op_take_incoming gives the client. CLOSED, NOMEM. */
KITH_API KITH_MUST_USE int kith_incoming_next_start(struct kith_endpoint *endpoint, struct kith_op **out);
/** Where the client's first packet came from. Unproven unless kith_incoming_is_validated says so. */
KITH_API struct kith_sockaddr kith_incoming_remote(const struct kith_incoming *incoming);
/** True if the client has proved its address (by Retry, or with a token of an earlier connection). */
KITH_API bool kith_incoming_is_validated(const struct kith_incoming *incoming);
/** The four answers; each consumes the incoming. accept: an operation that ends when the handshake does. */
KITH_API KITH_MUST_USE int kith_incoming_accept(struct kith_incoming *incoming, uint64_t limit_ns,
                                                struct kith_conn **out);
/**
 * The same as an operation: kith_op_take_conn gives the connection. The incoming is consumed in every case. NOMEM,
 * TLS.
 */
KITH_API KITH_MUST_USE int kith_incoming_accept_start(struct kith_incoming *incoming, struct kith_op **out);
/** Refuses: the client fails at once with KITH_ERR_REFUSED. Consumes the incoming. */
KITH_API void kith_incoming_refuse(struct kith_incoming *incoming);
/** Retry: the client must prove its address. STATE if it has already (the incoming is then refused). */
KITH_API int kith_incoming_retry(struct kith_incoming *incoming);
/**
 * Sends nothing and keeps nothing: the client's next try of the same first packet is an incoming again, and if each is
 * ignored the client runs into its time limit. Consumes the incoming.
 */
KITH_API void kith_incoming_ignore(struct kith_incoming *incoming);

/* ---- Connections ---- */

/** The proven id of the other side (of an early connection: the one that was dialled). Valid after the end too. */
KITH_API struct kith_id kith_conn_remote_id(const struct kith_conn *conn);
/** Borrowed from the connection. */
KITH_API struct kith_slice kith_conn_alpn(const struct kith_conn *conn);
/** True if this side dialled. */
KITH_API bool kith_conn_is_client(const struct kith_conn *conn);
/** Whether 0-RTT was used and accepted; false until the handshake tells. */
KITH_API bool kith_conn_early_accepted(const struct kith_conn *conn);
/** Waits for the handshake of a connection that was given out early (0-RTT). 0 at once for all others. */
KITH_API KITH_MUST_USE int kith_conn_handshake(struct kith_conn *conn, uint64_t limit_ns);
/**
 * The paths of a connection in order of their ids: fills up to `capacity`, returns how many there are; 0 after the
 * end.
 */
KITH_API size_t kith_conn_paths(struct kith_conn *conn, struct kith_quic_path_info *out, size_t capacity);
/** The path that carries data now (of several, the first). STATE after the end. */
KITH_API KITH_MUST_USE int kith_conn_path_in_use(struct kith_conn *conn, struct kith_quic_path_info *out);
/** As kith_endpoint_relay_of, for an address of this connection's paths: url holds KITH_ADDR_RELAY_SIZE bytes. */
KITH_API KITH_MUST_USE int kith_conn_relay_of(struct kith_conn *conn, const struct kith_sockaddr *address, char *url);
/** Counters of the connection; all zero once it was forgotten by the engine. */
KITH_API void kith_conn_stats(struct kith_conn *conn, struct kith_quic_conn_stats *out);
/** Smoothed round-trip time of the path in use, ns. */
KITH_API uint64_t kith_conn_rtt(struct kith_conn *conn);
/**
 * Exported keying material (RFC 8446, 7.5): the same bytes on both sides for equal label and context. STATE before
 * the handshake is done; size at most 8,160.
 */
KITH_API KITH_MUST_USE int kith_conn_export(struct kith_conn *conn, struct kith_slice label, struct kith_slice context,
                                            uint8_t *out, size_t size);
/** Starts a key update (RFC 9001, 6). STATE while one is under way or before the handshake is confirmed. */
KITH_API KITH_MUST_USE int kith_conn_update_keys(struct kith_conn *conn);
/**
 * Closes: code and reason go to the other side; unsent stream bytes are dropped; all that waits on the connection fails now.
 * What has arrived before can still be accepted and read. code < 2^62. Twice is fine.
 */
KITH_API void kith_conn_close(struct kith_conn *conn, uint64_t code, const void *reason, size_t reason_size);
/** How it ended; STATE while open. The reason is borrowed from the connection. */
KITH_API KITH_MUST_USE int kith_conn_close_info(struct kith_conn *conn, struct kith_quic_close_info *out);
/** Waits until the connection has ended for whatever reason. */
KITH_API int kith_conn_closed(struct kith_conn *conn, uint64_t limit_ns);
/** The same as an operation, which ends with 0. NOMEM. */
KITH_API KITH_MUST_USE int kith_conn_closed_start(struct kith_conn *conn, struct kith_op **out);
/**
 * Gives the handle back; an open connection is closed with code 0, and what its streams have not sent yet is lost: wait with
 * kith_sent, or for the other side to close. NULL is fine.
 */
KITH_API void kith_conn_free(struct kith_conn *conn);

/* ---- Streams ---- */

/**
 * Opens a bidirectional stream, waiting while the other side allows no more. It learns of the stream with the first
 * byte written. TIMEOUT, AGAIN (limit 0), or how the connection ended.
 */
KITH_API KITH_MUST_USE int kith_open_bi(struct kith_conn *conn, uint64_t limit_ns, struct kith_stream **out);
/** Opens a stream on which only this side sends. Otherwise as kith_open_bi. */
KITH_API KITH_MUST_USE int kith_open_uni(struct kith_conn *conn, uint64_t limit_ns, struct kith_stream **out);
/** The same as an operation: kith_op_take_stream gives the stream. */
KITH_API KITH_MUST_USE int kith_open_start(struct kith_conn *conn, bool bidi, struct kith_op **out);
/**
 * Waits for the next bidirectional stream of the other side, in order of their ids. TIMEOUT, AGAIN (limit 0), or how
 * the connection ended.
 */
KITH_API KITH_MUST_USE int kith_accept_bi(struct kith_conn *conn, uint64_t limit_ns, struct kith_stream **out);
/** Waits for the next stream on which only the other side sends. Otherwise as kith_accept_bi. */
KITH_API KITH_MUST_USE int kith_accept_uni(struct kith_conn *conn, uint64_t limit_ns, struct kith_stream **out);
/** The same as an operation: kith_op_take_stream gives the stream. */
KITH_API KITH_MUST_USE int kith_accept_stream_start(struct kith_conn *conn, bool bidi, struct kith_op **out);

/** The number of the stream in its connection (RFC 9000, 2.1). */
KITH_API uint64_t kith_stream_id(const struct kith_stream *stream);
/** The connection that the stream belongs to; borrowed. */
KITH_API struct kith_conn *kith_stream_conn(const struct kith_stream *stream);

enum kith_write_flags { KITH_FIN = 1 }; /* end the stream after these bytes */

/** Writes at least one byte (all that fits; 0 bytes of 0); *written may be NULL. STOPPED, STATE, how the connection ended. */
KITH_API KITH_MUST_USE int kith_write(struct kith_stream *stream, const void *bytes, size_t size, uint64_t limit_ns,
                                      size_t *written);
/** Writes all. With KITH_FIN it also ends the stream. INVALID for other flags, and as kith_write. */
KITH_API KITH_MUST_USE int kith_write_all(struct kith_stream *stream, const void *bytes, size_t size, int flags,
                                          uint64_t limit_ns);
/** bytes stay valid until the operation is done or cancelled; kith_op_size tells how many were taken. */
KITH_API KITH_MUST_USE int kith_write_start(struct kith_stream *stream, const void *bytes, size_t size, int flags,
                                            struct kith_op **out);
/** Ends the sending half. Does not wait. */
KITH_API KITH_MUST_USE int kith_finish(struct kith_stream *stream);
/** Waits until everything written, and the end, was acknowledged. STOPPED with the code in kith_error_last()->cause. */
KITH_API KITH_MUST_USE int kith_sent(struct kith_stream *stream, uint64_t limit_ns);
/** The same as an operation. STATE before the stream was finished. */
KITH_API KITH_MUST_USE int kith_sent_start(struct kith_stream *stream, struct kith_op **out);
/** Abandons the sending half with a code. Twice is fine. STATE once all was acknowledged. */
KITH_API int kith_reset(struct kith_stream *stream, uint64_t code);
/** Reads at least one byte, up to size. END at the end (then *got is 0); RESET with the code in kith_error_last()->cause. */
KITH_API KITH_MUST_USE int kith_read(struct kith_stream *stream, void *buffer, size_t size, uint64_t limit_ns,
                                     size_t *got);
/** Reads until the end or until `size` bytes: TOO_LARGE if more come. */
KITH_API KITH_MUST_USE int kith_read_to_end(struct kith_stream *stream, void *buffer, size_t size, uint64_t limit_ns,
                                            size_t *got);
/** Reads exactly size bytes; TRUNCATED if the stream ends before. */
KITH_API KITH_MUST_USE int kith_read_exact(struct kith_stream *stream, void *buffer, size_t size, uint64_t limit_ns);
/** buffer stays valid until the operation is done or cancelled. */
KITH_API KITH_MUST_USE int kith_read_start(struct kith_stream *stream, void *buffer, size_t size, struct kith_op **out);
/** Unordered: the next chunk, wherever it lies. Afterwards ordered reads are STATE. */
KITH_API KITH_MUST_USE int kith_read_chunk(struct kith_stream *stream, void *buffer, size_t size, uint64_t limit_ns,
                                           uint64_t *offset, size_t *got);
/** Tells the other side to stop sending, with a code. STATE once the end was read. */
KITH_API int kith_stop(struct kith_stream *stream, uint64_t code);
/**
 * Streams with a higher priority send first; equal ones share. 0 at first. Local: the other side does not learn of
 * it. STATE if there is no sending half.
 */
KITH_API int kith_set_priority(struct kith_stream *stream, int32_t priority);
/** Gives the handle back: an unfinished sending half is reset with code 0, an unread receiving half is stopped with code 0. */
KITH_API void kith_stream_free(struct kith_stream *stream);

/* ---- Datagrams ---- */

/** The largest datagram that fits now (it follows the path's MTU); 0 if the other side takes none. */
KITH_API size_t kith_datagram_size_max(struct kith_conn *conn);
/** Queues one; when the buffer is full the oldest is dropped (counted in the stats). */
KITH_API KITH_MUST_USE int kith_datagram_send(struct kith_conn *conn, const void *bytes, size_t size);
/** Waits for room instead of dropping. */
KITH_API KITH_MUST_USE int kith_datagram_send_wait(struct kith_conn *conn, const void *bytes, size_t size,
                                                   uint64_t limit_ns);
/** Waits for the next datagram and copies it. TOO_LARGE if it does not fit (it stays), TIMEOUT, AGAIN (limit 0). */
KITH_API KITH_MUST_USE int kith_datagram_receive(struct kith_conn *conn, void *buffer, size_t capacity,
                                                 uint64_t limit_ns, size_t *size);
/** The same as an operation; buffer stays valid until it is done or cancelled; kith_op_size tells the size. */
KITH_API KITH_MUST_USE int kith_datagram_receive_start(struct kith_conn *conn, void *buffer, size_t capacity,
                                                       struct kith_op **out);

#ifdef __cplusplus
}
#endif
#endif
