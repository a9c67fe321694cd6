/**
 * Test only: a small application for both ends of a pair. It sends a given number of pattern bytes on streams, checks
 * each received byte against the pattern, echoes if told to, and notices ends, resets and stops.
 */
#ifndef KITH_QUIC_CONN_APP_H
#define KITH_QUIC_CONN_APP_H

#include "quic/conn/pair.h"

enum { KITH_APP_STREAMS_MAX = 64 };

struct kith_app_stream {
    uint64_t id;
    bool used, ended, reset, stopped, sent, fin_written, echo_pending;
    uint64_t to_write, written, read; /* bytes */
    uint64_t code;
};

struct kith_app_side {
    bool echo;  /* write back what is read, and the end */
    bool pause; /* do not read */
    struct kith_app_stream streams[KITH_APP_STREAMS_MAX];
    uint64_t read_total, ended_total, reset_total, opened_total, sent_total;
    uint64_t datagrams;
    size_t read_step; /* largest read; 0 = 64 KiB */
};

struct kith_app {
    struct kith_app_side sides[2];
};

/** Puts the application in charge of the pair's events. */
void kith__app_attach(struct kith_app *app, struct kith_pair *pair);
/** Opens a stream on a side and queues `size` pattern bytes with the end. Returns the stream's slot. */
struct kith_app_stream *kith__app_send(struct kith_pair *pair, int side, bool bidi, uint64_t size);
/** Reads what waits (after pause was cleared). */
void kith__app_read_all(struct kith_pair *pair, int side);
/** The pattern byte at an offset of a stream. */
static inline uint8_t kith__app_byte(uint64_t stream, uint64_t offset)
{
    return (uint8_t)(offset * 131 + (offset >> 8) * 7 + stream * 29 + 5);
}

#endif
