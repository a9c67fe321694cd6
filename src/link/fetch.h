/**
 * One HTTP or HTTPS request over a link of its own, with one time limit over everything. For probes, callbacks, ACME,
 * pkarr. Redirects are not followed: a status is a status.
 */
#ifndef KITH_LINK_FETCH_H
#define KITH_LINK_FETCH_H

#include "http/exchange.h"
#include "link/dial.h"

struct kith_fetch; /* gone after done or cancel */

/** How it went. Everything is valid until the callback returns. */
struct kith_fetch_result {
    int err;                           /* 0: there is a response, of any status */
    const char *why;                   /* err != 0: a sentence: what failed, why, what helps; else "" */
    uint16_t status;                   /* 0 without a response */
    const struct kith_http_head *head; /* NULL without a response */
    struct kith_slice body;
    uint64_t latency_ns;  /* from the start to the end of the response head: with DNS, TCP and TLS (spec/02, 4.6) */
    uint64_t exchange_ns; /* of it: from the request to the end of the response head */
};

/** What to fetch. Everything is copied, except contexts, which are referenced. */
struct kith_fetch_options {
    struct kith_rt *rt;
    const char *url;    /* http or https, normalised or not; userinfo is sent as Basic authorization */
    const char *method; /* NULL: GET */
    const struct kith_http_header *headers; /* beside Host, Connection, Content-Length, Accept */
    size_t header_count;
    bool has_own_accept; /* headers may have an Accept, and none is added */
    struct kith_slice body;
    size_t response_size_max;            /* of the body; 0: none is wanted, and any is TOO_LARGE */
    bool wants_head_only;                /* done comes with the response head; the body is not waited for */
    struct kith_tls_stream_context *tls; /* for https; an https URL without it is INVALID */
    const struct kith_proxy *proxy;      /* NULL: none */
    struct kith_tls_stream_context *proxy_tls;
    bool prefers_v6;
    uint64_t limit_ns; /* for all of it; 0: KITH_FETCH_LIMIT_NS */
};

#define KITH_FETCH_LIMIT_NS (10 * KITH_NS_PER_S)

/**
 * Starts; done is called once, out of a turn. Errors: NOMEM; INVALID, PARSE, UNSUPPORTED: URL, method, headers;
 * TOO_LARGE: the request head.
 */
KITH_MUST_USE int kith__fetch(const struct kith_fetch_options *options,
                              void (*done)(void *ctx, const struct kith_fetch_result *result), void *ctx,
                              struct kith_fetch **out);
/** Gives up before done was called: it will not be. NULL is fine. */
void kith__fetch_cancel(struct kith_fetch *fetch);

#endif
