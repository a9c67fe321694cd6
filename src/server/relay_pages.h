/**
 * What a relay says to HTTP requests that are no upgrade: probes, the captive portal's question, health, the page for browsers,
 * ACME's http-01. Pure functions over a parsed request: no connection, no clock. Source: spec/02, 1.2.
 */
#ifndef KITH_SERVER_RELAY_PAGES_H
#define KITH_SERVER_RELAY_PAGES_H

#include "base/buf.h"
#include "http/head.h"
#include "relay/access.h"

enum { KITH_RELAY_PORTAL_CHALLENGE_MAX = 63, KITH_RELAY_PAGE_HEADERS_MAX = 6 };

/** Where a request came in. */
enum kith_relay_door {
    KITH_RELAY_DOOR_PLAIN,  /* the main listener, without TLS */
    KITH_RELAY_DOOR_TLS,    /* the main listener, with TLS */
    KITH_RELAY_DOOR_CAPTIVE /* the helper on port 80 beside TLS */
};

/** Numbers for the page and /healthz. No ids, no addresses: everybody may see it. */
struct kith_relay_facts {
    const char *version, *access; /* static texts */
    uint64_t uptime_s, clients, endpoints, frames_per_s, bits_per_s;
    bool has_tls;
    uint16_t qad_port;
};

/** An answer. headers point to static text and into the object itself: it does not move. */
struct kith_relay_page {
    uint16_t status;
    struct kith_http_header headers[KITH_RELAY_PAGE_HEADERS_MAX];
    size_t header_count;
    struct kith_buf body; /* kith__relay_page_dispose */
    char portal[sizeof "response " + KITH_RELAY_PORTAL_CHALLENGE_MAX];
};

/** Prepares an empty answer with the headers that every answer at that door has. */
void kith__relay_page_init(struct kith_relay_page *page, const struct kith_mem *mem, enum kith_relay_door door,
                           uint16_t status);
void kith__relay_page_dispose(struct kith_relay_page *page);
/** Adds a header; value: static. */
void kith__relay_page_header(struct kith_relay_page *page, const char *name, const char *value);
/** Adds a body of plain text and its Content-Type. Errors: NOMEM. */
KITH_MUST_USE int kith__relay_page_text(struct kith_relay_page *page, const char *text);

/**
 * The answer to a request that is no upgrade of /relay; 404 for what is not there. Errors: NOMEM. On success
 * kith__relay_page_dispose is due.
 */
KITH_MUST_USE int kith__relay_page_make(const struct kith_http_head *head, enum kith_relay_door door,
                                        const struct kith_relay_facts *facts, const struct kith_mem *mem,
                                        struct kith_relay_page *out);

/** True for GET of exactly that path. */
bool kith__relay_page_is(const struct kith_http_head *head, const char *path);
/** The token in a path of ACME's http-01 ("/.well-known/acme-challenge/TOKEN"); empty: it is another path. */
struct kith_slice kith__relay_page_acme_token(const struct kith_http_head *head);
/** Lines of the 101 that the main listener adds (spec/02, 1.2): the security headers. */
KITH_MUST_USE int kith__relay_page_write_security(struct kith_writer *w);

/**
 * The token of a client's request: the first Authorization header with the scheme Bearer, else the query's "token" (spec/02,
 * 1.8). Writes up to KITH_RELAY_TOKEN_SIZE_MAX bytes; returns the size, 0: there is none, or it is too long.
 */
size_t kith__relay_request_token(const struct kith_http_head *head, uint8_t out[KITH_RELAY_TOKEN_SIZE_MAX]);

#endif
