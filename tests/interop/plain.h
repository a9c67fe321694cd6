/**
 * The test program `plain`: kith's QUIC engine against implementations that know X.509 only. It speaks as much of HTTP/3 as
 * bytes that never change can say: a request of fixed fields, a response with status 200. It does not read header fields.
 */
#ifndef KITH_TESTS_INTEROP_PLAIN_H
#define KITH_TESTS_INTEROP_PLAIN_H

#include "base/buf.h"
#include "rt/rt.h"
#include "tls/tls.h"
#include <kith/quic.h>

/** One request as its stream has it, at either side; the stream's user pointer borrows it. Owner: the list of plain_run. */
struct plain_request {
    struct plain_request *next;
    size_t index;         /* of the request, in order */
    struct kith_buf body; /* received DATA */
    uint8_t head[16];     /* a frame header that is not whole yet */
    size_t head_size;
    uint64_t frame_type, frame_left; /* of the frame that is coming in */
    struct kith_slice out;           /* what is still to be sent, borrowed */
    bool answered;
};

/** Takes in bytes of a request stream: DATA is collected, all else is passed over. KITH_ERR_NOMEM. */
KITH_MUST_USE int plain_frames(struct plain_request *request, const uint8_t *bytes, size_t size);
/** Appends a request: GET of the path, or POST if body.size is not 0. KITH_ERR_NOMEM; INVALID: a too long path. */
KITH_MUST_USE int plain_write_request(struct kith_buf *buf, const char *host, const char *path, struct kith_slice body);
/** Appends a response of status 200. KITH_ERR_NOMEM. */
KITH_MUST_USE int plain_write_response(struct kith_buf *buf, struct kith_slice body);
/** What the control stream of either side begins with: its type, and SETTINGS without any. */
extern const uint8_t plain_control[3];

/** The words of the command line. */
struct plain_options {
    bool is_server, resume, migrate;
    const char *name, *mode, *out_dir, *path;
    const char
        *instance; /* of a server: NULL, or what it shares with the one before it: also its secret follows from it */
    struct kith_sockaddr address;
    struct kith_tls_x509 *x509;
    struct kith_slice file; /* what a server answers, or a client uploads */
    uint64_t key_update_after, repeat;
};

/** Runs a client or a server until it is done. Exit code. */
int plain_run(const struct plain_options *options);

#endif
