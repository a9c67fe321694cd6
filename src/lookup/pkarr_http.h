/**
 * Requests to servers of signed packets: PUT and GET of base URL + "/" + id, with redirects followed. What publisher and
 * resolver share. Source: spec/03, 6.
 *
 * Thread rules: those of the rt.
 */
#ifndef KITH_LOOKUP_PKARR_HTTP_H
#define KITH_LOOKUP_PKARR_HTTP_H

#include "link/fetch.h"
#include "lookup/pkarr.h"

enum { KITH_PKARR_REDIRECTS_MAX = 10, KITH_PKARR_ANSWER_SIZE_MAX = 4096 /* of the body; packets are smaller */ };

/** How a server is reached. Everything is copied, except contexts, which are referenced. */
struct kith_pkarr_http_options {
    const char
        *url; /* "https://dns.iroh.link/pkarr", normalised or not, with or without a last slash; a query stays behind */
    struct kith_tls_stream_context *tls;       /* for https; NULL: such a URL is INVALID, and a redirect to one fails */
    const struct kith_proxy *proxy;            /* NULL: none */
    struct kith_tls_stream_context *proxy_tls; /* for a proxy with TLS; NULL: tls */
    uint64_t limit_ns;                         /* for one request with all its redirects; 0: KITH_FETCH_LIMIT_NS */
};

/** A server. By value in its owner, who disposes of it. */
struct kith_pkarr_http {
    struct kith_rt *rt;
    struct kith_buf url; /* normalised, with an end */
    struct kith_tls_stream_context *tls, *proxy_tls;
    struct kith_proxy proxy;
    uint64_t limit_ns;
};

/** Errors: NOMEM; PARSE, UNSUPPORTED, TOO_LARGE: the URL; INVALID: https without a context. Nothing is to dispose of then. */
KITH_MUST_USE int kith__pkarr_http_init(struct kith_pkarr_http *http, struct kith_rt *rt,
                                        const struct kith_pkarr_http_options *options);
/** All requests must be over. A zeroed one is fine. */
void kith__pkarr_http_dispose(struct kith_pkarr_http *http);
/** "pkarr:" and the URL without user and password; cut to what fits. */
void kith__pkarr_http_label(const struct kith_pkarr_http *http, char *label, size_t size);

struct kith_pkarr_request; /* gone after done or cancel */

/** How a request ended. Everything is valid until the callback returns. */
struct kith_pkarr_answer {
    /**
     * 0: a status of 200..299. NOT_FOUND: 404, 410. LIMIT: 429, or more redirects than KITH_PKARR_REDIRECTS_MAX. PERMISSION:
     * 401, 403, or a redirect from https to http. REFUSED: another 4xx. IO: 5xx, or what is no answer. Else as of kith__fetch.
     */
    int err;
    const char *why;         /* a sentence; "" for 0 */
    uint16_t status;         /* 0 without a response */
    uint64_t retry_after_ns; /* what the server asks to wait (Retry-After in seconds); 0: nothing was said */
    struct kith_slice body;  /* for 0 */
};

/**
 * Starts. body: of PUT, copied; NULL: GET. done is called once, out of a turn. Errors: those of kith__fetch.
 */
KITH_MUST_USE int kith__pkarr_request(struct kith_pkarr_http *http, const struct kith_id *id,
                                      const struct kith_slice *body,
                                      void (*done)(void *ctx, const struct kith_pkarr_answer *answer), void *ctx,
                                      struct kith_pkarr_request **out);
/** Gives up: done will not be called. NULL is fine. */
void kith__pkarr_request_cancel(struct kith_pkarr_request *request);

#endif
