/** Test only: two endpoints in one context, so that one thread can use both with blocking calls in either mode. */
#ifndef KITH_API_PAIR_H
#define KITH_API_PAIR_H

#include "base/test.h"
#include <kith/endpoint.h>
#include <stdio.h>
#include <string.h>

/* No test waits that long unless something is wrong. */
#define PAIR_LIMIT (60 * KITH_NS_PER_S)
#define PAIR_ALPN  "test/1"

struct pair {
    struct kith_context *context;
    struct kith_endpoint *server, *client;
    struct kith_addr addr; /* of the server */
    struct kith_conn *at_server, *at_client;
};

/** Two endpoints on loopback. transport NULL: the defaults. */
void pair_bind(struct pair *pair, enum kith_context_mode mode, const struct kith_quic_transport *transport);
/** The client connects, the server accepts. */
void pair_connect(struct pair *pair);
/** Gives the connections back. */
void pair_disconnect(struct pair *pair);
/** Gives back what there is and ends the context. */
void pair_free(struct pair *pair);
/** pair_bind and pair_connect. */
void pair_open(struct pair *pair, enum kith_context_mode mode);
/** An endpoint on 127.0.0.1 in the context; secret NULL: a new one. */
struct kith_endpoint *pair_endpoint(struct kith_context *context, const struct kith_secret *secret, const char *alpn,
                                    const struct kith_quic_transport *transport);
/** A stream that the client opened, with one byte on it, and the server's end of it, with that byte read. */
void pair_stream(struct pair *pair, bool bidi, struct kith_stream **at_client, struct kith_stream **at_server);
/** pair_open and pair_stream. */
void pair_open_with_stream(struct pair *pair, enum kith_context_mode mode, bool bidi, struct kith_stream **at_client,
                           struct kith_stream **at_server);
/** Gives both ends of the stream back, then all of the pair. */
void pair_free_with_stream(struct pair *pair, struct kith_stream *at_client, struct kith_stream *at_server);
/** Checks a result; prints the error if it is another one. */
#define PAIR_CHECK(result, expected) pair_check((result), (expected), __FILE__, __LINE__)
void pair_check(int result, int expected, const char *file, int line);

/** A test in both modes. */
#define PAIR_TEST(name)                                                                                                \
    static void name(enum kith_context_mode mode);                                                                     \
    KITH_TEST(name##_thread)                                                                                           \
    {                                                                                                                  \
        name(KITH_CONTEXT_THREAD);                                                                                     \
    }                                                                                                                  \
    KITH_TEST(name##_caller)                                                                                           \
    {                                                                                                                  \
        name(KITH_CONTEXT_CALLER);                                                                                     \
    }                                                                                                                  \
    static void name(enum kith_context_mode mode)

#endif
