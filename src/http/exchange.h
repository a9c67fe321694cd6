/**
 * One request of a small HTTP/1.1 client and its response, as a byte machine: request bytes out, response bytes in.
 * One exchange for each connection (the request says "Connection: close"); redirects are the caller's. Sans-IO.
 */
#ifndef KITH_HTTP_EXCHANGE_H
#define KITH_HTTP_EXCHANGE_H

#include "http/body.h"

enum { KITH_HTTP_INTERIM_MAX = 8 }; /* 1xx responses that are skipped; more are KITH_ERR_PARSE */

/** What is asked. Everything is borrowed until kith__http_exchange_init returns. */
struct kith_http_exchange_options {
    const struct kith_mem *mem;
    const char *method;       /* GET, HEAD, POST, PUT, ... */
    struct kith_slice host;   /* of the Host header: with port if it is not the scheme's, IPv6 in brackets */
    struct kith_slice target; /* path and query; empty: "/" */
    const struct kith_http_header *headers; /* further ones, in this order */
    size_t header_count;
    bool has_own_accept;      /* headers say what is accepted, or nothing does; else it is all */
    struct kith_slice body;   /* sent with its length unless empty; POST and PUT say 0 then */
    size_t response_size_max; /* of the decoded body; 0: none is wanted, and any is TOO_LARGE */
};

/** By value in its owner. `request` is what is to be sent, whole; the owner may dispose of it when it is. */
struct kith_http_exchange {
    struct kith_buf request;
    struct kith_http_intake intake;
    struct kith_http_head head; /* valid once has_head */
    struct kith_buf kept;       /* its bytes: it outlives what was received */
    struct kith_http_body reader;
    struct kith_buf body;
    size_t response_size_max;
    unsigned interim_count;
    bool has_head; /* the status line and headers of the final response are there */
    bool is_done;  /* and its body */
    bool is_head_request;
};

/** Writes the request. On an error a dispose is due all the same. Errors: NOMEM; INVALID: a byte that would forge a line; TOO_LARGE: KITH_HTTP_HEAD_SIZE_MAX. */
KITH_MUST_USE int kith__http_exchange_init(struct kith_http_exchange *exchange,
                                           const struct kith_http_exchange_options *options);
/** A zeroed one is fine. */
void kith__http_exchange_dispose(struct kith_http_exchange *exchange);
/**
 * Takes bytes of the response; look at has_head and is_done after it. Bytes behind the response are ignored.
 * Errors, after which only dispose is left: PARSE, TOO_LARGE, VERSION, NOMEM.
 */
KITH_MUST_USE int kith__http_exchange_receive(struct kith_http_exchange *exchange, const uint8_t *bytes, size_t size);
/** The connection ended: 0 if the response is complete (now), else TRUNCATED. */
KITH_MUST_USE int kith__http_exchange_end(struct kith_http_exchange *exchange);

#endif
