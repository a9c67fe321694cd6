/**
 * Joins a stream to descriptors: bytes in both directions, with back pressure both ways, half close, and an abort that the
 * other side sees. The rules are those of the pipe protocol (doc/protocols.md).
 */
#ifndef APPS_PUMP_H
#define APPS_PUMP_H

#include "loop.h"
#include "pipe_end.h"

enum { PUMP_BUFFER_SIZE = 256 * 1024, PUMP_TEXT_SIZE = 256 };

enum pump_sending {
    PUMP_SENDING_READ,  /* waits for the descriptor */
    PUMP_SENDING_WRITE, /* waits for room in the stream */
    PUMP_SENDING_ACK,   /* the end was written: waits until all of it was acknowledged */
    PUMP_SENDING_DONE
};
enum pump_receiving {
    PUMP_RECEIVING_READ,  /* waits for the stream */
    PUMP_RECEIVING_WRITE, /* waits for room in the descriptor */
    PUMP_RECEIVING_DONE
};

struct pump {
    struct loop *loop;
    struct kith_stream *stream; /* borrowed */
    struct pipe_end in, out;    /* in: to the stream; out: from it. One socket may be both */
    struct loop_watch in_watch, out_watch;
    struct loop_timer start;
    struct kith_op *write_op, *read_op, *sent_op;
    uint8_t *send_buffer, *receive_buffer;
    size_t receive_at, receive_size; /* what lies in receive_buffer and is not written yet */
    uint8_t sending;                 /* enum pump_sending */
    uint8_t receiving;               /* enum pump_receiving */
    bool is_ended, is_receive_only;
    int err; /* the first failure */
    char why[PUMP_TEXT_SIZE];
    uint64_t bytes_sent, bytes_received;
    void (*on_end)(void *user); /* once, when both directions are done or one failed; may dispose of the pump */
    void *user;
};

/**
 * Starts. `in` and `out` are taken over. receive_only: the sending half ends at once, `in` is not read. The first bytes
 * (may be empty) go out before those of `in`.
 */
void pump_start(struct pump *pump, struct loop *loop, struct kith_stream *stream, struct pipe_end in,
                struct pipe_end out, bool receive_only, struct kith_slice first);
/** Stops at once: RESET_STREAM and STOP_SENDING with code 0. on_end is not called. */
void pump_abort(struct pump *pump);
/** Frees what it holds, aborting first if it runs. */
void pump_dispose(struct pump *pump);

#endif
