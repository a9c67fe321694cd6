/**
 * A descriptor that is read or written without ever blocking the loop: sockets by flag, pipes and terminals through an
 * open file of our own, so that the mode of what we share with other programs (a shell's terminal) is never changed.
 * And the TCP and unix sockets that listen and connect forward to.
 */
#ifndef APPS_PIPE_END_H
#define APPS_PIPE_END_H

#include <kith/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

enum pipe_end_kind {
    PIPE_END_SOCKET,
    PIPE_END_OWN,   /* non-blocking through an open file of our own */
    PIPE_END_FILE,  /* never waits */
    PIPE_END_SHARED /* may wait: only after poll() said ready, and then in small pieces */
};

struct pipe_end {
    int fd;
    uint8_t kind; /* enum pipe_end_kind */
};

/** Standard input or output; `fd` stays open too where a new open file is made. */
struct pipe_end pipe_end_standard(int fd, bool is_output);
/** A connected socket; taken over. */
struct pipe_end pipe_end_socket(int fd);
/** True if several reads in a row cannot wait. */
bool pipe_end_is_eager(const struct pipe_end *end);
/** As read(2) and write(2); EAGAIN: poll first. */
ssize_t pipe_end_read(const struct pipe_end *end, void *buffer, size_t size);
ssize_t pipe_end_write(const struct pipe_end *end, const void *bytes, size_t size);
/** Tells the reader of what was written that this is the end. */
void pipe_end_finish(struct pipe_end *end);
/** Closes it; `abort`: a socket's other side shall see an error, not an end. Standard descriptors are closed too. */
void pipe_end_close(struct pipe_end *end, bool abort);

enum { SOCKET_TARGETS_MAX = 16, SOCKET_TEXT_SIZE = 128 };
/** Where to listen or to connect: a unix path, or the addresses of a host and port in the resolver's order. */
struct socket_target {
    struct sockaddr_storage items[SOCKET_TARGETS_MAX];
    socklen_t sizes[SOCKET_TARGETS_MAX];
    size_t count;
    const char *path; /* unix: borrowed; NULL for TCP */
    const char
        *name; /* TCP with a host's name, which may come to mean another address: the text, borrowed; else NULL */
};
/** "HOST:PORT", "[v6]:PORT" or ":PORT" (this machine). NULL, or what is wrong. May ask the resolver. */
const char *socket_target_tcp(struct socket_target *target, const char *text);
const char *socket_target_unix(struct socket_target *target, const char *path);
/**
 * Asks the resolver again, in a thread: the descriptor is readable once it answered; then socket_resolve_take. Closing it
 * before gives up. -1 with errno.
 */
int socket_resolve_start(const char *name);
/** The answer. False if there is none: *out is as before. */
bool socket_resolve_take(int fd, struct socket_target *out);
/** Starts connecting to address `index`: a non-blocking socket (writable once it is decided), or -1 with errno. */
int socket_dial(const struct socket_target *target, size_t index);
/** What became of it: 0 or an errno. */
int socket_dial_result(int fd);
/** Listens; a unix path that nobody serves any more is replaced. -1 with errno; the bound address as text. */
int socket_listen(const struct socket_target *target, char *text);
/** The next client, non-blocking; -1 with errno. */
int socket_accept(int fd);

#endif
