/**
 * Piping sessions: one bidirectional stream, joined to standard input and output or to one socket. A dialler uses one
 * connection for each; one who serves sockets takes as many streams on a connection as the other side opens. Both roles of the pipe protocol (doc/protocols.md), any number at once.
 */
#ifndef APPS_SESSION_H
#define APPS_SESSION_H

#include "cli.h"
#include "pump.h"

enum { SESSIONS_MAX = 1024, SESSION_GREETING_SIZE = 5, SESSION_WHY_SIZE = KITH_ERROR_TEXT_SIZE };
#define SESSION_ALPN     "DUMBPIPEV0"
#define SESSION_GREETING "hello"

struct session;
struct session_line;

/** What listen and connect have in common. */
struct sessions {
    struct cli *cli;
    uint8_t alpn_bytes[CLI_ALPN_SIZE_MAX];
    struct kith_slice alpn;
    const char *custom_alpn; /* as given; NULL: the usual one, with a greeting */
    bool receive_only;
    const struct socket_target *target; /* serving: where to connect to; NULL: standard input and output */
    const struct cli_remote *remote;    /* dialling: whom */
    struct session *first;
    size_t count;
    struct session_line *first_line; /* connections whose streams are forwarded; SESSIONS_MAX at most */
    size_t line_count;
    bool stdio_is_taken;
    /* What became of the last session, for commands that have only one. */
    bool stdio_is_over, was_connected;
    int err;
    char why[SESSION_WHY_SIZE];
};

/** "utf8:TEXT" or hex digits: the `take` of --custom-alpn; target is a struct sessions. */
const char *sessions_take_alpn(void *target, const char *text);
/** Prepares: the usual protocol unless --custom-alpn was given. */
void sessions_init(struct sessions *sessions, struct cli *cli);
/** Aborts and frees all. */
void sessions_dispose(struct sessions *sessions);
/** Serves an accepted connection (taken over). */
void sessions_serve(struct sessions *sessions, struct kith_conn *conn);
/** Dials, and joins the stream to the ends (taken over). */
void sessions_dial(struct sessions *sessions, struct pipe_end in, struct pipe_end out);

#endif
