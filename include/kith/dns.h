/**
 * kith/dns.h: a lookup server inside any program: endpoints publish there where they are (signed packets, over HTTP), and everybody
 * can ask for it, over DNS, DNS over HTTPS, and HTTP. Public header, of libkith-server.
 *
 *     struct kith_dns_server *server;
 *     struct kith_dns_origin origin = { .name = "dns.example." };
 *
 *     kith_dns_server_start(&(struct kith_dns_server_options) { KITH_DNS_SERVER_OPTIONS_INIT, .dns = &dns_at, .dns_count = 1,
 *                                                               .http = &http_at, .http_count = 1, .origins = &origin,
 *                                                               .origin_count = 1, .data_dir = "/var/lib/kith-dns" },
 *                           &server);
 *     ...
 *     kith_dns_server_stop(server, 10 * KITH_NS_PER_S);
 *
 * It runs on threads of its own: one for each worker, one that writes to the disk, and one for the rest (certificates, metrics,
 * the DHT). Nothing calls back but the log function.
 *
 * Thread rules: all functions but kith_dns_server_start and kith_dns_server_stop may be called from any thread at any time
 * between those two. The allocator and the log function are called from all threads of the server, at the same time too.
 * Functions that fail return a negative enum kith_err; kith_error_last (kith/endpoint.h) then tells more.
 *
 * Source: spec/03, 4 to 9. What it serves over HTTP: /pkarr/ID (GET, PUT), /dns-query (GET, POST), /healthz, /healthcheck, a page
 * for people at /.
 */
#ifndef KITH_DNS_H
#define KITH_DNS_H

#include <kith/certificate.h>
#include <kith/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kith_dns_server;

enum {
    KITH_DNS_SERVER_BINDS_MAX = 16,   /* of each kind */
    KITH_DNS_SERVER_THREADS_MAX = 64, /* workers */
    KITH_DNS_SERVER_ORIGINS_MAX = 64,
    KITH_DNS_SERVER_APEX_MAX = 16, /* addresses, and name servers, of an origin */
    KITH_DNS_SERVER_PROXIES_MAX = 64,
    KITH_DNS_SERVER_BOOTSTRAP_MAX = 32
};

/* ---- What a server is made of ---- */

/** A zone that is served. All is copied. */
struct kith_dns_origin {
    const char *name; /* "dns.example." (with or without the last dot); ".": names need no origin at all */
    /** "MNAME RNAME SERIAL REFRESH RETRY EXPIRE MINIMUM", as in zone files; MINIMUM is how long "there is none" may be cached. NULL: made
     * from the name: the first name server or ns1.NAME, hostmaster.NAME, 0 10800 3600 604800 60 */
    const char *soa;
    uint32_t ttl_s; /* of SOA, NS, A, AAAA of the origin; 0: 900 */
    const struct kith_sockaddr
        *addresses; /* A and AAAA of the origin, and of those of its name servers that lie in it; ports do
                                              not matter */
    size_t address_count;
    const char *const *name_servers; /* NS of the origin; none: MNAME of the SOA */
    size_t name_server_count;
};

/** Who counts as one client when packets are put. */
enum kith_dns_put_limit {
    KITH_DNS_PUT_SIMPLE,  /* an IPv4 address or IPv6 /64, of the connection */
    KITH_DNS_PUT_SMART,   /* the same, but of whom a trusted proxy names in Forwarded or X-Forwarded-For */
    KITH_DNS_PUT_DISABLED /* no limits of a client */
};

/** How much one may ask of the server. 0 in any of them: the default, in brackets. Rates: a second; KITH_DNS_NO_LIMIT: none. */
#define KITH_DNS_NO_LIMIT 1e9
struct kith_dns_limits {
    uint8_t put_limit;  /* enum kith_dns_put_limit */
    double put_rate;    /* PUTs of one client [1] */
    uint32_t put_burst; /* [32] */
    double key_rate;    /* of keys that the server does not know yet, of one client [0.1] */
    uint32_t key_burst; /* [512] */
    const char *const
        *trusted_proxies; /* SMART: "192.0.2.1", "10.0.0.0/8", "fc00::/7" [loopback and private networks]. Copied */
    size_t trusted_proxy_count;
    double response_rate;    /* DNS answers over UDP to one IPv4 /24 or IPv6 /56 (never limited: loopback) [1,000] */
    uint32_t response_burst; /* [2,000] */
    uint32_t tcp_max;        /* DNS connections over TCP at once, of each worker [4,096] */
    uint32_t tcp_per_client_max; /* of them of one address [256] */
    uint32_t http_max;           /* HTTP connections at once, of each worker [16,384] */
    uint64_t http_ns;     /* a request, from its first byte or the accepted connection, and an idle connection [30 s] */
    uint64_t future_ns;   /* packets may be dated so far ahead of this machine's clock [10 min] */
    uint32_t ttl_max_s;   /* of records in packets, when they are handed out [86,400] */
    uint64_t packets_max; /* in the store [10,000,000]; keys that are new are refused then */
};

/** The store. 0 in any of them: the default, in brackets. */
struct kith_dns_storage {
    uint64_t evict_after_ns; /* packets that were not put again for so long go [7 days]; KITH_NEVER: they stay */
    uint64_t evict_every_ns; /* [10 s] */
    uint32_t batch_max;      /* PUTs in one write to the disk, at most [65,536]: those that came while it was busy */
    uint64_t size_max;       /* bytes of the database, at most [64 GiB]; a sparse file is no larger than its contents */
};

/** Keys that nobody put here are looked for in the Mainline DHT, and kept for five minutes. All is copied. */
struct kith_dns_dht {
    const char *const *bootstrap; /* "host:port"; NULL: the public ones */
    size_t bootstrap_count;
    struct kith_sockaddr local; /* UDP, IPv4; no family: all of IPv4, port 6881 or any other */
};

struct kith_dns_server_options {
    uint32_t size;              /* sizeof(struct kith_dns_server_options) */
    const struct kith_mem *mem; /* NULL: the default. Must bear several threads */
    void (*log)(void *ctx, int level, const char *part, const char *text); /* NULL: none */
    void *log_ctx;
    int log_level;                   /* 0 errors, 1 warnings, 2 information, 3 debug, 4 trace */
    uint32_t worker_count;           /* 0: as many as the machine has cores for us */
    const struct kith_sockaddr *dns; /* UDP and TCP */
    size_t dns_count;
    const struct kith_sockaddr *http;
    size_t http_count;
    const struct kith_sockaddr *https; /* needs a certificate */
    size_t https_count;
    const struct kith_sockaddr *metrics; /* OpenMetrics text, for Prometheus; not meant for the public */
    size_t metrics_count;
    const struct kith_server_tls *tls;     /* NULL: none */
    const struct kith_dns_origin *origins; /* at least one; the longest that fits a name is taken */
    size_t origin_count;
    const char *data_dir;                   /* made if missing (0700); NULL: packets are kept in memory only */
    const struct kith_dns_storage *storage; /* NULL: the defaults */
    const struct kith_dns_limits *limits;   /* NULL: the defaults */
    const struct kith_dns_dht *dht;         /* NULL: the DHT is not asked */
};
#define KITH_DNS_SERVER_OPTIONS_INIT .size = sizeof(struct kith_dns_server_options)

/**
 * Starts: everything is bound, the store is open, certificates are there (ACME: ordered, and https is served when they come) when
 * this returns. Errors: INVALID (the text says which option), PARSE (a name, a SOA, PEM), NOT_FOUND, PERMISSION (files, ports below
 * 1024), ADDRESS_IN_USE, STATE (another process has the store open, or it is damaged), LIMIT, NOMEM, NO_SPACE, IO, TLS.
 */
KITH_API KITH_MUST_USE int kith_dns_server_start(const struct kith_dns_server_options *options,
                                                 struct kith_dns_server **out);
/** Checks options and the files that they name as kith_dns_server_start does, and does nothing. Errors: as there. */
KITH_API KITH_MUST_USE int kith_dns_server_check(const struct kith_dns_server_options *options);
/**
 * Ends in order: no new connections, requests that are under way are answered, what was put is on the disk. What is left at the limit
 * is cut; 0 cuts at once (what was answered with success is on the disk in any case). The server is gone after this, whatever it
 * returns: TIMEOUT if something was cut. NULL is fine.
 */
KITH_API int kith_dns_server_stop(struct kith_dns_server *server, uint64_t limit_ns);

/* ---- While it runs ---- */

/** Reads the certificate files again now, whether they changed or not. The old ones stay on an error, which the log tells. */
KITH_API void kith_dns_server_reload_certificate(struct kith_dns_server *server);
/** New origins, for questions from now on. Errors: INVALID, PARSE, NOMEM: the old ones stay. */
KITH_API KITH_MUST_USE int kith_dns_server_set_origins(struct kith_dns_server *server,
                                                       const struct kith_dns_origin *origins, size_t count);
/** New limits, from now on; NULL: the defaults. Buckets of clients are full again. Errors: INVALID, PARSE, NOMEM: the old ones stay. */
KITH_API KITH_MUST_USE int kith_dns_server_set_limits(struct kith_dns_server *server,
                                                      const struct kith_dns_limits *limits);

enum kith_dns_server_address {
    KITH_DNS_SERVER_ADDRESS_DNS,
    KITH_DNS_SERVER_ADDRESS_HTTP,
    KITH_DNS_SERVER_ADDRESS_HTTPS,
    KITH_DNS_SERVER_ADDRESS_METRICS
};
/**
 * Bound addresses of one kind, with real ports: UDP and TCP have the same. Fills up to `capacity`; returns how many there are.
 */
KITH_API size_t kith_dns_server_addresses(const struct kith_dns_server *server, enum kith_dns_server_address kind,
                                          struct kith_sockaddr *out, size_t capacity);

/** Numbers since the start, and of now. The metrics have many more. */
struct kith_dns_server_stats {
    uint32_t workers;
    uint64_t uptime_ns;
    uint64_t packets, store_bytes;                    /* now */
    uint64_t queries;                                 /* DNS, over UDP, TCP and HTTP */
    uint64_t queries_udp, queries_tcp, queries_https; /* of them */
    uint64_t found, not_found, failed;                /* answers with records; without; errors */
    uint64_t http_requests;
    uint64_t puts_stored, puts_same,
        puts_refused;           /* new or newer; the very packet that is there; older, limited, invalid */
    uint64_t responses_limited; /* DNS answers over UDP that a limit kept back or shortened */
    uint64_t packets_expired;
    uint64_t certificate_ends_s; /* when the certificate in use ends, seconds since 1970; 0: none */
};
/** Copies the numbers. */
KITH_API void kith_dns_server_stats(const struct kith_dns_server *server, struct kith_dns_server_stats *out);
/** True if every thread of the server has gone round since the last call, which asked them to: for watchdogs. One caller. */
KITH_API bool kith_dns_server_check_alive(struct kith_dns_server *server);
/**
 * The metrics as text (OpenMetrics): writes up to `capacity` bytes with an end; *size is what the whole takes, without it.
 * TOO_LARGE: capacity was too small, nothing is written. NOMEM.
 */
KITH_API KITH_MUST_USE int kith_dns_server_metrics(const struct kith_dns_server *server, char *text, size_t capacity,
                                                   size_t *size);
/**
 * The certificate authority that clients must trust, in PEM, as kith_dns_server_metrics writes text: with KITH_CERTIFICATE_SELF.
 * STATE with others.
 */
KITH_API KITH_MUST_USE int kith_dns_server_authority(const struct kith_dns_server *server, char *text, size_t capacity,
                                                     size_t *size);

#ifdef __cplusplus
}
#endif
#endif
