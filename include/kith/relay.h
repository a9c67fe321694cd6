/**
 * kith/relay.h: a relay inside any program. When no direct path exists between two endpoints, their (encrypted) data flows through a
 * relay, and a relay is where they first meet. Clients are kith's and iroh's endpoints. Public header,
 * of libkith-server.
 *
 *     struct kith_relay *relay;
 *
 *     kith_relay_start(&(struct kith_relay_options) { KITH_RELAY_OPTIONS_INIT, .http = &address, .http_count = 1 }, &relay);
 *     ...
 *     kith_relay_stop(relay, 10 * KITH_NS_PER_S);
 *
 * A relay runs on threads of its own: one for each worker, and one for the rest (certificates, metrics, address discovery).
 * Nothing calls back but the log function; what happens to clients is fetched with kith_relay_next_news, if it is wanted.
 *
 * Thread rules: all functions but kith_relay_start and kith_relay_stop may be called from any thread at any time between
 * those two. The allocator and the log function are called from all threads of the relay, at the same time too.
 * Functions that fail return a negative enum kith_err; kith_error_last (kith/endpoint.h) then tells more.
 *
 * Source: spec/02. What a relay serves over HTTP: /relay, /ping, /generate_204, /healthz, /robots.txt, a page for people at /.
 */
#ifndef KITH_RELAY_H
#define KITH_RELAY_H

#include <kith/certificate.h>
#include <kith/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kith_relay;

enum {
    KITH_RELAY_BINDS_MAX = 16,       /* of each kind */
    KITH_RELAY_THREADS_MAX = 64,     /* workers */
    KITH_RELAY_NEWS_MAX = 4096,      /* that wait to be fetched; more are dropped, and counted */
    KITH_RELAY_IDS_MAX = 1 << 20,    /* of a list */
    KITH_RELAY_QUEUES_MIN = 4 << 20, /* with less, not even a few clients could be told anything */
    KITH_RELAY_PORT_DISCOVERY = 7842 /* UDP, where clients expect address discovery */
};

/* ---- What a relay is made of ---- */

/** Who may be a client. */
enum kith_relay_admit {
    KITH_RELAY_ADMIT_EVERYONE,
    KITH_RELAY_ADMIT_LISTED,   /* those whose id is in the list */
    KITH_RELAY_ADMIT_UNLISTED, /* those whose id is not */
    KITH_RELAY_ADMIT_TOKEN,    /* those who know one of the tokens */
    KITH_RELAY_ADMIT_HTTP,     /* those about whom an HTTP server says "true" */
    KITH_RELAY_ADMIT_ASK       /* the program decides: KITH_RELAY_ASKED, kith_relay_answer */
};

/** Rules of access. All is copied. */
struct kith_relay_access_rules {
    uint8_t admit; /* enum kith_relay_admit */
    const struct kith_id *ids;
    size_t id_count; /* LISTED, UNLISTED; at most KITH_RELAY_IDS_MAX */
    const char *const *tokens;
    size_t token_count;  /* TOKEN: 1..1024, none empty, at most 4,096 bytes each */
    const char *url;     /* HTTP: a POST with X-Iroh-Endpoint-Id goes there */
    const char *bearer;  /* HTTP: sent as Authorization: Bearer; NULL: none */
    const char *ca_file; /* HTTP: PEM, further roots for https; NULL: none */
};

/** How much one may ask of the relay. 0 in any of them: the default, in brackets. */
struct kith_relay_quota {
    double accept_rate;                  /* connections a second [no limit] */
    uint64_t accept_burst;               /* as many at once [accept_rate, rounded up] */
    uint64_t connections_max;            /* at once [no limit] */
    uint64_t connections_per_ip_max;     /* of one IPv4 address or IPv6 /64 [no limit] */
    uint64_t unauthenticated_max;        /* that have not proved an id yet [65,536] */
    uint64_t unauthenticated_per_ip_max; /* of one address [1,024] */
    uint32_t rx_bytes_per_s;             /* of one client; datagrams beyond it are dropped [no limit] */
    uint32_t rx_burst;                   /* [a tenth of rx_bytes_per_s] */
    uint32_t client_queue_max;           /* bytes that wait for one client [512 KiB] */
    uint64_t queues_max;                 /* bytes of all queues of a worker, KITH_RELAY_QUEUES_MIN or more [256 MiB] */
    uint64_t handshake_ns;               /* from the accepted connection to a client [30 s] */
    double discovery_rate;               /* handshakes of address discovery a second [500] */
    double discovery_per_ip_rate;        /* of one address [20] */
};

enum { KITH_RELAY_PASS_PATHS_MAX = 8, KITH_RELAY_PASS_PATH_SIZE_MAX = 63 };

/**
 * Requests that another HTTP server of this machine answers (kith/dns.h), so that both share a port and a certificate: those that come
 * in where the relay itself is served (https, or http without TLS). It hears whose they are in X-Forwarded-For: a lookup server has
 * KITH_DNS_PUT_SMART for that. All is copied.
 */
struct kith_relay_pass_on {
    const char *const *paths; /* "/pkarr": that, and all below it */
    size_t path_count;        /* 1..KITH_RELAY_PASS_PATHS_MAX, each with its slash in front and none behind */
    struct kith_sockaddr to;  /* without TLS; must be an address of loopback */
};

struct kith_relay_options {
    uint32_t size;              /* sizeof(struct kith_relay_options) */
    const struct kith_mem *mem; /* NULL: the default. Must bear several threads */
    void (*log)(void *ctx, int level, const char *part, const char *text); /* NULL: none */
    void *log_ctx;
    int log_level;                    /* 0 errors, 1 warnings, 2 information, 3 debug, 4 trace */
    uint32_t worker_count;            /* 0: as many as the machine has cores for us */
    const struct kith_sockaddr *http; /* without TLS: the relay itself; with TLS: only what must be plain (port 80) */
    size_t http_count;
    const struct kith_sockaddr *https; /* with TLS: the relay */
    size_t https_count;
    const struct kith_sockaddr *metrics; /* OpenMetrics text, for Prometheus; not meant for the public */
    size_t metrics_count;
    const struct kith_sockaddr *discovery; /* UDP: QUIC address discovery; needs a certificate */
    size_t discovery_count;
    const struct kith_server_tls *tls;            /* NULL: none */
    const struct kith_relay_access_rules *access; /* NULL: everyone */
    const struct kith_relay_quota *quota;         /* NULL: the defaults */
    bool wants_news; /* keep news for kith_relay_next_news; ADMIT_ASK keeps them in any case */
    /**
     * Another server's metrics, served with those of the relay: as kith_dns_server_metrics. Called by a thread of the relay. NULL: none.
     */
    int (*more_metrics)(void *ctx, char *text, size_t capacity, size_t *size);
    void *more_metrics_ctx;
    const struct kith_relay_pass_on *pass_on; /* NULL: nothing is passed on */
};
#define KITH_RELAY_OPTIONS_INIT .size = sizeof(struct kith_relay_options)

/**
 * Starts: everything is bound, certificates are there (ACME: ordered, and https is served when they come) when this returns.
 * Errors: INVALID (the text says which option), PARSE (URL, PEM), NOT_FOUND, PERMISSION (files, ports below 1024),
 * ADDRESS_IN_USE, LIMIT, NOMEM, IO, TLS.
 */
KITH_API KITH_MUST_USE int kith_relay_start(const struct kith_relay_options *options, struct kith_relay **out);
/** Checks options and the files that they name as kith_relay_start does, and does nothing. Errors: as there. */
KITH_API KITH_MUST_USE int kith_relay_check(const struct kith_relay_options *options);
/**
 * Ends in order: no new connections; clients are told to come again elsewhere, spread over part of the limit, and connections
 * are closed; what is left at the limit is cut. 0 cuts at once. The relay is gone after this, whatever it returns:
 * TIMEOUT if something was cut. NULL is fine.
 */
KITH_API int kith_relay_stop(struct kith_relay *relay, uint64_t limit_ns);

/* ---- While it runs ---- */

/** Reads the certificate files again now, whether they changed or not. The old ones stay on an error, which the log tells. */
KITH_API void kith_relay_reload_certificate(struct kith_relay *relay);
/** New rules, for those who come from now on. Errors: INVALID, PARSE, NOT_FOUND, NOMEM: the old rules stay. */
KITH_API KITH_MUST_USE int kith_relay_set_access(struct kith_relay *relay, const struct kith_relay_access_rules *rules);
/** New quotas; those of bytes and queues for clients that are connected too. NULL: the defaults. INVALID, NOMEM. */
KITH_API KITH_MUST_USE int kith_relay_set_quota(struct kith_relay *relay, const struct kith_relay_quota *quota);
/** Ends all connections of an id: after its access was taken back. It may come again. NOMEM. */
KITH_API KITH_MUST_USE int kith_relay_disconnect(struct kith_relay *relay, const struct kith_id *id);

enum kith_relay_address {
    KITH_RELAY_ADDRESS_HTTP,
    KITH_RELAY_ADDRESS_HTTPS,
    KITH_RELAY_ADDRESS_METRICS,
    KITH_RELAY_ADDRESS_DISCOVERY
};
/** Bound addresses of one kind, with real ports. Fills up to `capacity`; returns how many there are. */
KITH_API size_t kith_relay_addresses(const struct kith_relay *relay, enum kith_relay_address kind,
                                     struct kith_sockaddr *out, size_t capacity);

/** Numbers since the start, and of now. The metrics have many more. */
struct kith_relay_stats {
    uint32_t workers;
    uint64_t uptime_ns;
    uint64_t clients;   /* connections now */
    uint64_t endpoints; /* different ids of these (counted once for each worker that has some of it) */
    uint64_t accepts, disconnects, denied;
    uint64_t frames_received, frames_sent, frames_dropped; /* datagram frames; dropped: for any reason */
    uint64_t bytes_received, bytes_sent;
    uint64_t frames_per_s, bits_per_s; /* carried, of the last ten seconds */
    uint64_t certificate_ends_s;       /* when the certificate in use ends, seconds since 1970; 0: none */
    uint64_t news_dropped;
};
/** True if every thread of the relay has gone round since the last call, which asked them to: for watchdogs. One caller. */
KITH_API bool kith_relay_check_alive(struct kith_relay *relay);
/** Copies the numbers. */
KITH_API void kith_relay_stats(const struct kith_relay *relay, struct kith_relay_stats *out);
/**
 * The metrics as text (OpenMetrics): writes up to `capacity` bytes with an end; *size is what the whole takes, without it.
 * TOO_LARGE: capacity was too small, nothing is written. NOMEM.
 */
KITH_API KITH_MUST_USE int kith_relay_metrics(const struct kith_relay *relay, char *text, size_t capacity,
                                              size_t *size);
/**
 * The certificate authority that clients must trust, in PEM, as kith_relay_metrics writes text: with KITH_CERTIFICATE_SELF.
 * STATE with others.
 */
KITH_API KITH_MUST_USE int kith_relay_authority(const struct kith_relay *relay, char *text, size_t capacity,
                                                size_t *size);

/* ---- News of clients ---- */

enum kith_relay_news_kind {
    KITH_RELAY_ASKED,     /* ADMIT_ASK: may this client in? kith_relay_answer, within ten seconds; then it is denied */
    KITH_RELAY_CONNECTED, /* a client is in */
    KITH_RELAY_DISCONNECTED /* a connection of somebody who had proved an id has ended */
};

struct kith_relay_news {
    uint8_t kind;        /* enum kith_relay_news_kind */
    uint64_t connection; /* its number: no other connection of this relay ever has it */
    struct kith_id id;   /* proved */
    struct kith_sockaddr remote;
};
/** Takes the oldest news. AGAIN: there is none (limit 0), TIMEOUT: none came in time. */
KITH_API KITH_MUST_USE int kith_relay_next_news(struct kith_relay *relay, uint64_t limit_ns,
                                                struct kith_relay_news *out);
/** A descriptor that is readable while news wait: to poll, not to read. */
KITH_API int kith_relay_fd(const struct kith_relay *relay);
/** Answers KITH_RELAY_ASKED. reason: for the client, UTF-8; NULL: "not authorized". Without effect if it has gone. NOMEM. */
KITH_API KITH_MUST_USE int kith_relay_answer(struct kith_relay *relay, uint64_t connection, bool is_allowed,
                                             const char *reason);

#ifdef __cplusplus
}
#endif
#endif
