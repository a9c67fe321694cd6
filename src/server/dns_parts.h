/** A worker's inside: shared by dns_worker.c (turns, waiting), dns_udp.c, dns_tcp.c, dns_http.c, dns_put.c, dns_doh.c. */
#ifndef KITH_SERVER_DNS_PARTS_H
#define KITH_SERVER_DNS_PARTS_H

#include "server/dns_worker.h"
#include "server/httpd.h"
#include "zone/answer.h"

struct kith_dns_tcp;

/** One socket for datagrams. */
struct kith_dns_socket {
    struct kith_dns_worker *worker;
    struct kith_rt_udp *udp;
};

struct kith_dns_worker {
    struct kith_dns_worker_options options;
    const struct kith_mem *mem;
    struct kith_rt *rt;
    struct kith_dns_shared *shared;
    struct kith_dns_counters *counters;
    struct kith_zone *zone;
    struct kith_dns_rules *rules;
    uint64_t generation;
    struct kith_zone_source source;
    struct kith_httpd *httpd;
    struct kith_relay_admission *admission; /* of HTTP */
    struct kith_dns_tcp *tcp;
    struct kith_dns_socket sockets[KITH_DNS_SOCKETS_MAX];
    size_t socket_count;
    uint64_t slips; /* answers that a rate kept back: every other one invites to TCP */
    struct kith_list waits;
    size_t wait_count;
    uint64_t round; /* of trying all of them */
    bool is_late;   /* what is answered now has waited too long */
    struct kith_rt_timer timer;
    size_t put_count; /* with the scribe */
    bool has_put;     /* in this turn */
    bool is_draining;
    uint8_t *buffer; /* KITH_DNS_MESSAGE_SIZE_MAX: of the present answer */
    void *lock;      /* of what follows: what other threads want */
    struct kith_tls_stream_context *new_tls;
    bool has_new_tls, wants_drain;
};

/* ---- Answers ---- */

/** Answers into worker->buffer, and counts. */
void kith__dns_worker_answer(struct kith_dns_worker *worker, struct kith_slice query, bool is_udp,
                             struct kith_zone_answer *answer);

/** A query that waits for the DHT. */
struct kith_dns_wait {
    struct kith_list node;
    uint64_t until_ns, round;
    /** The answer, of size 0 if there can be none; the wait is freed afterwards. */
    void (*reply)(struct kith_dns_wait *wait, const uint8_t *bytes, size_t size);
    struct kith_dns_worker *worker;
    void *owner; /* a socket, a connection */
    bool is_udp, is_json, is_post;
    struct kith_sockaddr local, remote; /* UDP */
    size_t query_size;
    uint8_t query[KITH_DNS_WAIT_QUERY_MAX];
};
/** Lets a query wait; fill in reply and what it needs. NULL: too many wait, it is too long, or there is no memory. */
struct kith_dns_wait *kith__dns_wait_new(struct kith_dns_worker *worker, struct kith_slice query, void *owner);
/** Its owner has gone: frees all of its waits. */
void kith__dns_wait_forget(struct kith_dns_worker *worker, const void *owner);

/* ---- UDP, TCP ---- */

/** Errors of kith__rt_udp_open. */
KITH_MUST_USE int kith__dns_udp_open(struct kith_dns_worker *worker, const struct kith_sockaddr *at, bool is_shared,
                                     struct kith_sockaddr *bound);
KITH_MUST_USE int kith__dns_tcp_new(struct kith_dns_worker *worker, struct kith_dns_tcp **out);
void kith__dns_tcp_free(struct kith_dns_tcp *tcp);
KITH_MUST_USE int kith__dns_tcp_listen(struct kith_dns_tcp *tcp, const struct kith_sockaddr *at, bool is_shared,
                                       struct kith_sockaddr *bound);
/** No new connections; those that are there go when they have their answers. */
void kith__dns_tcp_drain(struct kith_dns_tcp *tcp);
size_t kith__dns_tcp_count(const struct kith_dns_tcp *tcp);
/** The rules have changed. */
void kith__dns_tcp_set_rules(struct kith_dns_tcp *tcp);

/* ---- HTTP ---- */

/** A request whose answer comes later: what kith__httpd_defer is given. */
struct kith_dns_request {
    struct kith_dns_worker *worker;
    struct kith_httpd_conn *conn;
    uint64_t began_ns;
    struct kith_dns_put *put; /* with the scribe; NULL: a query that waits */
};

/** For struct kith_httpd_options. */
void kith__dns_http_on_request(void *ctx, struct kith_httpd_conn *conn, const struct kith_http_head *head, int tag);
void kith__dns_http_on_gone(void *ctx, void *user);

enum { KITH_DNS_HTTP_HEADERS_MAX = KITH_HTTPD_HEADERS_MAX - 2 };

/** An answer in the making. */
struct kith_dns_page {
    uint16_t status;
    size_t header_count;
    struct kith_http_header headers[KITH_DNS_HTTP_HEADERS_MAX];
    struct kith_slice body;
    char text[512], values[2][64]; /* room for a body and for headers */
};

/** An answer with that type and text, both static or in page. */
void kith__dns_page_text(struct kith_dns_page *page, uint16_t status, const char *type, const char *text);
/** The JSON of an error: {"status":"404","detail":...}; detail: printable ASCII, written with its quotes and backslashes undone. */
void kith__dns_page_error(struct kith_dns_page *page, uint16_t status, const char *detail);
void kith__dns_page_header(struct kith_dns_page *page, const char *name, const char *value);
/** Sends it, counts it. began_ns: of the request. deferred: kith__httpd_answer instead of kith__httpd_reply. */
void kith__dns_page_send(struct kith_dns_worker *worker, struct kith_httpd_conn *conn, const struct kith_dns_page *page,
                         uint64_t began_ns, bool is_deferred);

/** PUT and GET of /pkarr/{key}; text: the key. */
void kith__dns_pkarr_put(struct kith_dns_worker *worker, struct kith_httpd_conn *conn,
                         const struct kith_http_head *head, struct kith_slice text, uint64_t now_ns);
void kith__dns_pkarr_get(struct kith_dns_worker *worker, struct kith_httpd_conn *conn,
                         const struct kith_http_head *head, struct kith_slice text, uint64_t now_ns);
/** A put has come back from the scribe. */
void kith__dns_pkarr_done(struct kith_dns_worker *worker, struct kith_dns_put *put);
/** GET and POST of /dns-query. */
void kith__dns_doh(struct kith_dns_worker *worker, struct kith_httpd_conn *conn, const struct kith_http_head *head,
                   uint64_t now_ns);

#endif
