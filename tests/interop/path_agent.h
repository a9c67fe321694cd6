/**
 * The test program `path-agent`: kith's QUIC engine alone, on several sockets, with every path in the hands of whoever writes
 * lines to its standard input. It answers with JSON, one object a line. README.md lists the words.
 */
#ifndef KITH_TESTS_INTEROP_PATH_AGENT_H
#define KITH_TESTS_INTEROP_PATH_AGENT_H

#include "rt/rt.h"
#include <kith/quic.h>

#include <stdio.h>

#define PATHS_BUSIEST UINT32_MAX /* in the place of a path id: the one that received most */

enum { PATHS_SOCKETS_MAX = 8, PATHS_DEAD_MAX = 32, PATHS_LINE_SIZE = 4096 };

/** A way that lost everything: what comes on it and what goes out on it is dropped and counted. */
struct paths_dead {
    size_t socket;
    struct kith_sockaddr remote;
};

/** One stream: an echo that is served, or one that was asked for. */
struct paths_stream {
    struct paths_stream *next;
    struct kith_quic_conn *conn;
    uint64_t id, size, sent, received; /* size: what was asked for */
    bool is_mine, is_bad, is_done;
};

struct paths {
    struct kith_quic_transport transport;
    const char *alpn; /* for dialling */
    struct kith_sockaddr binds[PATHS_SOCKETS_MAX];
    struct kith_rt *rt;
    struct kith_rt_udp *udp[PATHS_SOCKETS_MAX];
    size_t socket_count, ticket_count; /* the ticket names the first so many */
    struct kith_rt_timer timer;
    struct kith_quic_host *host;
    struct kith_quic_conn *conn; /* the newest connection: what commands are about */
    struct paths_stream *streams;
    struct paths_dead dead[PATHS_DEAD_MAX];
    size_t dead_count;
    uint64_t dropped;        /* datagrams, on dead ways */
    uint64_t kill_at, moved; /* stream bytes after which a path is to die; read since that was said */
    uint32_t kill_path;
    char line[PATHS_LINE_SIZE];
    size_t line_size;
    bool is_ending, is_done;
};

/** Runs one line of words. */
void paths_command(struct paths *paths, char *line);
/** Tells about an event, and does what it asks for. */
void paths_event(struct paths *paths, const struct kith_quic_event *event);
/** From now on nothing passes on the addresses that the path has (PATHS_BUSIEST: of the one that received most). KITH_ERR_NOT_FOUND, KITH_ERR_LIMIT. */
int paths_kill(struct paths *paths, uint32_t path);
/** Which socket has this local address (its port decides); the first for an address without one. */
size_t paths_socket_of(const struct paths *paths, const struct kith_sockaddr *local);
/** Begins an echo of `size` bytes. */
int paths_echo(struct paths *paths, uint64_t size);
/** Asks for `size` bytes, as `kith-test/source` gives them. */
int paths_fetch(struct paths *paths, uint64_t size);

#endif
