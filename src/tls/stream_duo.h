/** Two https streams joined in memory, and certificates for them, for tests and benchmarks only. */
#ifndef KITH_TLS_STREAM_DUO_H
#define KITH_TLS_STREAM_DUO_H

#include "base/assert.h"
#include "base/mem.h"
#include "tls/selfmade.h"
#include "tls/stream.h"

/** An authority and a server's certificate, made once a process: they are never freed. */
struct sduo_certs {
    struct kith_selfmade authority, server;
};

/** now_s: the wall clock: the library checks certificates against the system's. */
static inline int sduo_make(const struct kith_selfmade *authority, const char *const *names, size_t count,
                            uint64_t now_s, struct kith_selfmade *out)
{
    return kith__selfmade_server(kith_mem_default(), kith__buf_slice(&authority->certificate),
                                 kith__buf_slice(&authority->key), names, count, now_s, out);
}

/** For relay.test, *.wild.test, 127.0.0.1 and ::1. NULL if it fails. */
static inline const struct sduo_certs *sduo_certs(uint64_t now_s)
{
    static const char *const names[] = { "relay.test", "*.wild.test", "127.0.0.1", "::1" };
    static struct sduo_certs certs;

    if (certs.server.key.size != 0)
        return &certs;
    if (kith__selfmade_authority(kith_mem_default(), "kith test authority", now_s, &certs.authority) != 0 ||
        sduo_make(&certs.authority, names, sizeof names / sizeof *names, now_s, &certs.server) != 0)
        return NULL;
    return &certs;
}

static inline int sduo_server_context(const struct kith_mem *mem, uint64_t now_s, struct kith_tls_stream_context **out)
{
    const struct sduo_certs *certs = sduo_certs(now_s);
    struct kith_tls_certificate certificate = { kith__buf_slice(&certs->server.certificate),
                                                kith__buf_slice(&certs->server.key) };

    return kith__tls_stream_context_new(
        &(struct kith_tls_stream_context_options) { .mem = mem, .certificates = &certificate, .certificate_count = 1 },
        out);
}

static inline int sduo_client_context(const struct kith_mem *mem, uint64_t now_s, struct kith_tls_stream_context **out)
{
    return kith__tls_stream_context_new(
        &(struct kith_tls_stream_context_options) {
            .mem = mem,
            .is_client = true,
            .trust = KITH_TLS_TRUST_ONLY,
            .anchors = kith__buf_slice(&sduo_certs(now_s)->authority.certificate) },
        out);
}

/** Where plaintext goes that a side reads; NULL: thrown away. */
struct sduo_sink {
    uint8_t *bytes;
    size_t size, cap;
};

/** What a side says after all was read that there was: AGAIN, END or an error. */
static inline int sduo_drain(struct kith_tls_stream *stream, struct sduo_sink *sink)
{
    uint8_t *bytes;
    size_t size;
    int err;

    while ((err = kith__tls_stream_read(stream, &bytes, &size)) == 0) {
        if (sink == NULL)
            continue;
        KITH_ASSERT(sink->size + size <= sink->cap);
        memcpy(sink->bytes + sink->size, bytes, size);
        sink->size += size;
    }
    return err;
}

enum { SDUO_PIECE_MAX = 256 << 10 };

/** Carries what waits in `from` to `to`, in pieces of at most `piece` bytes (0: all), and drains. True if there was something. */
static inline bool sduo_carry(struct kith_tls_stream *from, struct kith_tls_stream *to, size_t piece,
                              struct sduo_sink *sink, int *err)
{
    static uint8_t wire[SDUO_PIECE_MAX];
    struct kith_slice output = kith__tls_stream_output(from);
    size_t size = output.size;

    if (size == 0)
        return false;
    if (piece != 0 && size > piece)
        size = piece;
    KITH_ASSERT(size <= sizeof wire);
    memcpy(wire, output.ptr, size);
    kith__tls_stream_sent(from, size);
    if ((*err = kith__tls_stream_receive(to, wire, size)) == 0)
        *err = sduo_drain(to, sink);
    return true;
}

/** Carries both ways until nothing moves or both failed. */
static inline void sduo_run(struct kith_tls_stream *a, struct kith_tls_stream *b, size_t piece, struct sduo_sink *to_a,
                            struct sduo_sink *to_b)
{
    int err_a = 0, err_b = 0;
    bool moved = true;

    while (moved) {
        moved = sduo_carry(a, b, piece, to_b, &err_b);
        moved |= sduo_carry(b, a, piece, to_a, &err_a);
    }
}

#endif
