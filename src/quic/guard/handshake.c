/* The CRYPTO streams of a handshake: see handshake.h. */
#include "quic/guard/handshake.h"

#include "quic/wire/frame.h"

enum { STREAMS = KITH_HANDSHAKE_EARLY_STREAMS + 1 };

static const uint8_t levels[STREAMS] = { KITH_TLS_INITIAL, KITH_TLS_HANDSHAKE, KITH_TLS_APPLICATION };
static const char out_of_memory[] = "out of memory";

/** NULL: the level is discarded. */
static struct kith_crypto_stream *stream_at(struct kith_handshake *handshake, size_t index)
{
    struct kith_crypto_stream *stream = &handshake->data;

    if (index < KITH_HANDSHAKE_EARLY_STREAMS)
        stream = handshake->early != NULL ? &handshake->early[index] : NULL;
    return stream != NULL && !stream->is_discarded ? stream : NULL;
}

static struct kith_crypto_stream *stream_of(struct kith_handshake *handshake, enum kith_tls_level level)
{
    KITH_ASSERT(level == KITH_TLS_INITIAL || level == KITH_TLS_HANDSHAKE || level == KITH_TLS_APPLICATION);
    return stream_at(handshake, level == KITH_TLS_INITIAL ? 0 : level == KITH_TLS_HANDSHAKE ? 1 : 2);
}

static const struct kith_outbuf *out_of(const struct kith_handshake *handshake, enum kith_tls_level level)
{
    const struct kith_crypto_stream *stream = stream_of((struct kith_handshake *)handshake, level);

    return stream != NULL ? &stream->out : NULL;
}

static void stream_init(struct kith_crypto_stream *stream, const struct kith_mem *mem)
{
    *stream = (struct kith_crypto_stream) { .is_discarded = false };
    kith__inbuf_init(&stream->in, mem);
    kith__outbuf_init(&stream->out, mem);
}

static void stream_dispose(struct kith_crypto_stream *stream)
{
    kith__inbuf_dispose(&stream->in);
    kith__outbuf_dispose(&stream->out);
    stream->is_discarded = true;
}

void kith__handshake_init(struct kith_handshake *handshake, const struct kith_mem *mem, struct kith_tls *tls,
                          struct kith_crypto_stream early[KITH_HANDSHAKE_EARLY_STREAMS])
{
    *handshake = (struct kith_handshake) { .mem = mem, .tls = tls, .early = early };
    for (size_t i = 0; i < STREAMS; i++)
        stream_init(i < KITH_HANDSHAKE_EARLY_STREAMS ? &early[i] : &handshake->data, mem);
}

void kith__handshake_dispose(struct kith_handshake *handshake)
{
    for (size_t i = 0; handshake->mem != NULL && i < STREAMS; i++) {
        struct kith_crypto_stream *stream = stream_at(handshake, i);

        if (stream != NULL)
            stream_dispose(stream);
    }
    kith__tls_free(handshake->tls);
    *handshake = (struct kith_handshake) { 0 };
}

/*
 * Gives everything that is in order to TLS. Bytes of a level that TLS has not reached yet wait: packets of several levels
 * can overtake each other. Bytes that are left at a level which is over are given too: TLS knows the answer to them.
 */
static int feed(struct kith_handshake *handshake)
{
    for (size_t i = 0; i < STREAMS; i++) {
        struct kith_crypto_stream *stream = stream_at(handshake, i);
        struct kith_inbuf *in = stream != NULL ? &stream->in : NULL;
        struct kith_slice bytes;

        while (in != NULL && !handshake->failed && levels[i] <= kith__tls_read_level(handshake->tls) &&
               kith__inbuf_peek(in, &bytes) == 0) {
            int err = kith__tls_receive(handshake->tls, levels[i], bytes.ptr, bytes.size);

            kith__inbuf_consume(in, bytes.size);
            if (err == KITH_ERR_TLS)
                handshake->failed = true; /* the outputs tell which alert, and what can still be sent before */
            else if (err != 0)
                return err;
        }
    }
    return 0;
}

int kith__handshake_on_crypto(struct kith_handshake *handshake, enum kith_tls_level level, uint64_t offset,
                              struct kith_slice data, const char **reason)
{
    struct kith_crypto_stream *stream = stream_of(handshake, level);
    uint64_t end = offset + data.size;
    int err;

    *reason = NULL;
    if (stream == NULL || handshake->failed)
        return 0;
    if (end > stream->in.consumed + KITH_HANDSHAKE_BUFFER_MAX) {
        *reason = "too many CRYPTO bytes out of order";
        return KITH_WIRE_CRYPTO_BUFFER_EXCEEDED;
    }
    if (level < kith__tls_read_level(handshake->tls) && end > kith__inbuf_highest(&stream->in)) {
        *reason = "new CRYPTO bytes at a level that is over";
        return KITH_WIRE_PROTOCOL_VIOLATION;
    }
    if ((err = kith__inbuf_on_data(&stream->in, offset, data.ptr, data.size, false)) != 0) {
        *reason = err > 0 ? "too many holes in CRYPTO bytes" : out_of_memory;
        return err;
    }
    if ((err = feed(handshake)) != 0)
        *reason = out_of_memory;
    return err;
}

int kith__handshake_next(struct kith_handshake *handshake, struct kith_tls_output *out)
{
    struct kith_tls_output output;

    while (kith__tls_next(handshake->tls, &output)) {
        struct kith_crypto_stream *stream;
        int err;

        if (output.kind == KITH_TLS_FAILED || output.kind == KITH_TLS_RETRY)
            handshake->failed = true;
        if (output.kind != KITH_TLS_CRYPTO) {
            *out = output;
            return 0;
        }
        stream = stream_of(handshake, output.level);
        if (stream == NULL)
            continue;
        if ((err = kith__outbuf_write(&stream->out, output.bytes.ptr, output.bytes.size)) != 0)
            return err;
    }
    return KITH_ERR_AGAIN;
}

bool kith__handshake_has_data(const struct kith_handshake *handshake, enum kith_tls_level level)
{
    const struct kith_outbuf *out = out_of(handshake, level);

    return out != NULL && (kith__outbuf_has_resend(out) || kith__outbuf_has_new(out));
}

bool kith__handshake_has_unacked(const struct kith_handshake *handshake, enum kith_tls_level level)
{
    const struct kith_outbuf *out = out_of(handshake, level);

    return out != NULL && kith__outbuf_held(out) != 0;
}

bool kith__handshake_write(struct kith_handshake *handshake, enum kith_tls_level level, struct kith_writer *w,
                           struct kith_crypto_sent *sent)
{
    struct kith_crypto_stream *stream = stream_of(handshake, level);
    struct kith_outbuf *out = stream != NULL ? &stream->out : NULL;
    struct kith_outbuf_chunk chunk;
    size_t size;
    int err;

    if (out == NULL || !kith__outbuf_peek(out, KITH_VARINT_MAX, &chunk) || chunk.size == 0)
        return false;
    size = kith__crypto_plan(kith__writer_left(w), chunk.offset, chunk.size);
    if (size == 0)
        return false;
    err = kith__crypto_write_header(w, chunk.offset, size);
    KITH_ASSERT(err == 0 && kith__writer_left(w) >= size);
    kith__outbuf_copy_out(out, chunk.offset, size, w->at);
    w->at += size;
    kith__outbuf_take(out, &chunk, size);
    *sent = (struct kith_crypto_sent) { chunk.offset, size };
    return true;
}

int kith__handshake_on_acked(struct kith_handshake *handshake, enum kith_tls_level level, uint64_t offset,
                             uint64_t size)
{
    struct kith_crypto_stream *stream = stream_of(handshake, level);
    uint64_t freed;

    return stream == NULL ? 0 : kith__outbuf_on_acked(&stream->out, offset, size, false, &freed);
}

int kith__handshake_on_lost(struct kith_handshake *handshake, enum kith_tls_level level, uint64_t offset, uint64_t size)
{
    struct kith_crypto_stream *stream = stream_of(handshake, level);

    return stream == NULL ? 0 : kith__outbuf_on_lost(&stream->out, offset, size, false);
}

int kith__handshake_resend(struct kith_handshake *handshake, enum kith_tls_level level)
{
    const struct kith_outbuf *out = out_of(handshake, level);

    return out == NULL || out->sent == out->begin
               ? 0
               : kith__handshake_on_lost(handshake, level, out->begin, out->sent - out->begin);
}

void kith__handshake_discard(struct kith_handshake *handshake, enum kith_tls_level level)
{
    struct kith_crypto_stream *stream = stream_of(handshake, level);

    if (stream == NULL)
        return;
    stream_dispose(stream);
    if (handshake->early != NULL && handshake->early[0].is_discarded && handshake->early[1].is_discarded)
        handshake->early = NULL;
}
