/**
 * A small HTTP/1.1 server for pages and upgrades: accepts on any number of addresses, plain or TLS, reads heads of requests, and
 * asks its owner for the answer, at once or later. Bodies of requests are read up to body_max; with 0 such a connection ends with its
 * answer.
 *
 * A connection has limit_ns from TCP accept to its end or its upgrade, whatever it does meanwhile: that is what ends slow
 * requests, idle connections and TLS handshakes that lead nowhere. With limits_each it has that time for each request.
 *
 * Thread rules: those of its rt. on_request comes out of kith__rt_process.
 */
#ifndef KITH_SERVER_HTTPD_H
#define KITH_SERVER_HTTPD_H

#include "base/list.h"
#include "http/head.h"
#include "link/link.h"
#include "relay/admission.h"

#include <stdatomic.h>

struct kith_httpd;
struct kith_httpd_conn; /* one connection; valid during on_request */

#define KITH_HTTPD_LIMIT_NS (30 * KITH_NS_PER_S) /* spec/02, 5.1 */

enum {
    KITH_HTTPD_LISTENERS_MAX = 64,
    KITH_HTTPD_HEADERS_MAX = 8,         /* of an answer, beside those that the server writes itself */
    KITH_HTTPD_BODY_MAX = 1 << 20,      /* of an answer */
    KITH_HTTPD_PIPELINE_MAX = 64 << 10, /* bytes of further requests kept while an answer is written; more: the end */
    KITH_HTTPD_DATE_SIZE = 30
};

/** Where it is counted; NULL: it is not. Written by the server's thread alone. */
struct kith_httpd_counters {
    _Atomic uint64_t *accepted, *closed,
        *errored; /* connections; of them: that ended as they should or were taken, and otherwise */
    _Atomic uint64_t
        *refused_total; /* at connections_max, where the oldest is closed; without memory; without a certificate */
    _Atomic uint64_t *refused_rate, *refused_per_ip, *refused_unauthenticated; /* by the admission */
};

struct kith_httpd_options {
    struct kith_rt *rt;
    const struct kith_mem *mem;
    struct kith_relay_admission *admission; /* who may connect; NULL: everyone. Borrowed */
    struct kith_httpd_counters counters;
    /* At once, without those that were taken; 0: no limit. One more takes the place of the oldest: those who say nothing do not
     * keep out those who do. */
    size_t connections_max;
    uint64_t limit_ns; /* 0: KITH_HTTPD_LIMIT_NS */
    bool limits_each;  /* the time begins anew with each answer */
    size_t body_max;   /* of a request; a larger one is answered with 413. 0: bodies are not read */
    /**
     * A request: answer it with kith__httpd_reply, take its connection with kith__httpd_take, or say kith__httpd_defer, before
     * returning; a connection without any of these is closed. The head is valid until then. tag: of the listener.
     */
    void (*on_request)(void *ctx, struct kith_httpd_conn *conn, const struct kith_http_head *head, int tag);
    /** A deferred request will not be answered any more: its connection is gone. user: as it was given. */
    void (*on_gone)(void *ctx, void *user);
    void *ctx;
};

/** Errors: NOMEM. */
KITH_MUST_USE int kith__httpd_new(const struct kith_httpd_options *options, struct kith_httpd **out);
/** Closes listeners and connections at once. NULL is fine. */
void kith__httpd_free(struct kith_httpd *httpd);

struct kith_httpd_listen {
    struct kith_sockaddr at;
    int tag;             /* the owner's */
    bool is_tls;         /* with the context of kith__httpd_set_tls at the time of each accept */
    bool is_shared;      /* several threads listen there: rt/stream.h */
    bool has_keep_alive; /* else each connection ends with its first answer */
};
/** Starts to listen. Errors: those of kith__rt_listen_with, LIMIT. *bound: the address with its real port. */
KITH_MUST_USE int kith__httpd_listen(struct kith_httpd *httpd, const struct kith_httpd_listen *listen,
                                     struct kith_sockaddr *bound);
/** The context for connections from now on; referenced. NULL: those of TLS listeners are closed at once. */
void kith__httpd_set_tls(struct kith_httpd *httpd, struct kith_tls_stream_context *tls);
/** Closes the listeners; connections go on, each until its next answer. */
void kith__httpd_drain(struct kith_httpd *httpd);
/** Connections now, without those that were taken. */
size_t kith__httpd_conn_count(const struct kith_httpd *httpd);
/** True if no request is under way; connections may still be open. */
bool kith__httpd_is_idle(const struct kith_httpd *httpd);
/** New limits: see the options of these names; for connections that are there, too. */
void kith__httpd_set_limits(struct kith_httpd *httpd, size_t connections_max, uint64_t limit_ns);
/** Sum of the counters of all listeners. */
struct kith_rt_listener_stats kith__httpd_listener_stats(const struct kith_httpd *httpd);

/** An answer. Everything is copied. */
struct kith_httpd_reply {
    uint16_t status;
    const struct kith_http_header *headers; /* up to KITH_HTTPD_HEADERS_MAX; not Date, Connection, Content-Length */
    size_t header_count;
    struct kith_slice body; /* not sent for HEAD */
    bool is_last;           /* the connection ends with it */
};
/** Answers the request. Errors: NOMEM, TOO_LARGE, INVALID (a header): the connection is closed then. */
KITH_MUST_USE int kith__httpd_reply(struct kith_httpd_conn *conn, const struct kith_httpd_reply *reply);

/**
 * The request is answered later, with kith__httpd_answer; until then the connection reads nothing. If it goes before that, on_gone says
 * so, with `user`.
 */
void kith__httpd_defer(struct kith_httpd_conn *conn, void *user);
/** Answers a deferred request, outside of on_request. The connection may be gone after it; it is not on_gone that tells. */
void kith__httpd_answer(struct kith_httpd_conn *conn, const struct kith_httpd_reply *reply);
/** The body of the present request, in on_request. */
struct kith_slice kith__httpd_conn_body(const struct kith_httpd_conn *conn);

/** A connection that left the server, with all that belongs to it. */
struct kith_httpd_taken {
    struct kith_link *link;          /* the taker's now: with its events still to be set */
    struct kith_relay_ticket ticket; /* to be released; zeroed without admission */
    struct kith_sockaddr remote;
    uint64_t accepted_ns;
};
/** Takes the connection for another protocol. The answer to the request is the taker's to write. */
void kith__httpd_take(struct kith_httpd_conn *conn, struct kith_httpd_taken *out);

/** Bytes that came behind the head of the present request: of a pipelined one, or of something that cannot wait. */
size_t kith__httpd_conn_extra(const struct kith_httpd_conn *conn);
struct kith_sockaddr kith__httpd_conn_remote(const struct kith_httpd_conn *conn);
/** The link, for its exporter; borrowed. */
const struct kith_link *kith__httpd_conn_link(const struct kith_httpd_conn *conn);

/** "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, 5.6.7) of seconds since 1970, before the year 10000. Returns text. */
const char *kith__httpd_date(uint64_t unix_s, char text[KITH_HTTPD_DATE_SIZE]);
/** Reads that form (untrusted); the two obsolete ones are PARSE. */
KITH_MUST_USE int kith__httpd_date_parse(struct kith_slice text, uint64_t *unix_s);

#endif
