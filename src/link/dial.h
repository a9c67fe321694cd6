/**
 * Opens a link to a host: names are looked up in both families, addresses are tried as happy eyeballs say (link/race.h),
 * through a proxy if one is given, with TLS on top if wanted. Source: spec/02, 1.1, 1.7 and 4.1; RFC 8305; RFC 9110, 9.3.6.
 */
#ifndef KITH_LINK_DIAL_H
#define KITH_LINK_DIAL_H

#include "http/head.h"
#include "link/link.h"

enum {
    KITH_DIAL_HOST_SIZE_MAX = 255,
    KITH_PROXY_CREDENTIALS_SIZE_MAX = KITH_HTTP_CREDENTIALS_MAX,
    KITH_PROXY_EXCEPT_SIZE_MAX = 1023
};

/** A proxy for CONNECT; made by kith__proxy_parse, or by hand. */
struct kith_proxy {
    char host[KITH_DIAL_HOST_SIZE_MAX + 1]; /* without brackets; empty: no proxy */
    uint16_t port;
    bool is_tls;                                           /* TLS to the proxy itself */
    char credentials[KITH_PROXY_CREDENTIALS_SIZE_MAX + 1]; /* "user:password", percent-decoded; empty: none */
    char except[KITH_PROXY_EXCEPT_SIZE_MAX + 1];           /* see kith__proxy_is_for; empty: none */
};

/**
 * Parses "http://user:password@host:port", "https://..." (TLS to the proxy) or "host:port"; a path is ignored. Port 80 or
 * 443 where none is named. except: for whom it is not, as below; NULL: for everybody. Errors: PARSE, UNSUPPORTED (another scheme),
 * TOO_LARGE, NOMEM.
 */
KITH_MUST_USE int kith__proxy_parse(const struct kith_mem *mem, const char *text, const char *except,
                                    struct kith_proxy *out);
/**
 * False if the exceptions name that host (without brackets) and port. They are what NO_PROXY has, for which there is no standard; this
 * is what curl and Go agree on: separated by commas or spaces, "*": everybody, a name: it and all below it, with a dot before it or not,
 * an address or a network ("10.0.0.0/8"): hosts that are addresses; ":port" behind it: only that port. Letters of either case.
 */
bool kith__proxy_is_for(const struct kith_proxy *proxy, const char *host, uint16_t port);

/** Where to, and how. Everything is copied, except the contexts, which are referenced. */
struct kith_dial_options {
    struct kith_rt *rt;
    const char
        *host;     /* a name, or an IP address (IPv6 with or without brackets), at most KITH_DIAL_HOST_SIZE_MAX bytes */
    uint16_t port; /* > 0 */
    /**
     * NULL: plain. Else a client's context: whom to trust. The certificate must be for `server_name`.
     */
    struct kith_tls_stream_context *tls;
    const char *server_name;        /* NULL: host without a trailing dot. SNI if it is a name, not for addresses */
    const struct kith_proxy *proxy; /* NULL, without host, or not for this one: none */
    struct kith_tls_stream_context *proxy_tls; /* for a proxy with TLS; NULL: `tls` */
    bool prefers_v6;                           /* which family is tried first */
    uint64_t limit_ns;                         /* for all of it; 0: KITH_DIAL_LIMIT_NS */
};

#define KITH_DIAL_LIMIT_NS (10 * KITH_NS_PER_S)

/**
 * Starts. The link is there at once; on_open tells how it went, errors: NOT_FOUND (the name), REFUSED, UNREACHABLE, TIMEOUT,
 * RESET, CLOSED_BY_PEER, TLS, WRONG_PEER (the certificate is not for that name or not trusted), PERMISSION (the proxy
 * wants credentials), PARSE (the proxy's answer), NOMEM, IO; always with a sentence. Closing the link gives up.
 * Errors of this call: NOMEM, INVALID (host, port; a proxy with TLS without a context).
 */
KITH_MUST_USE int kith__link_dial(const struct kith_dial_options *options, const struct kith_link_events *events,
                                  struct kith_link **out);

#endif
