/*
 * Bytes instead of a TLS handshake: the first byte decides the role and the size of the pieces, the rest is what the other side
 * sends. Whatever comes, the stream waits for more or ends with a reason.
 */
#include "tls/stream_duo.h"

#include <time.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { PIECE_MAX = 4096 };

static struct kith_tls_stream_context *contexts[2];

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    uint8_t piece[PIECE_MAX];
    struct kith_tls_stream *stream;
    bool is_client;
    int err = 0;

    if (size == 0)
        return 0;
    if (contexts[0] == NULL) { /* made once; never freed */
        err = sduo_server_context(kith_mem_default(), (uint64_t)time(NULL), &contexts[0]);
        KITH_ASSERT(err == 0);
        err = sduo_client_context(kith_mem_default(), (uint64_t)time(NULL), &contexts[1]);
        KITH_ASSERT(err == 0);
    }
    is_client = (bytes[0] & 1) != 0;
    err = kith__tls_stream_new(contexts[is_client], is_client ? "relay.test" : NULL, &stream);
    KITH_ASSERT(err == 0);
    for (size_t at = 1, part; err == 0 && at < size; at += part) {
        part = KITH_MIN((size_t)(bytes[0] >> 1) * 32 + 1, size - at);
        memcpy(piece, bytes + at, part);
        if ((err = kith__tls_stream_receive(stream, piece, part)) == 0 &&
            (err = sduo_drain(stream, NULL)) == KITH_ERR_AGAIN)
            err = 0;
        kith__tls_stream_sent(stream, kith__tls_stream_output(stream).size);
        KITH_ASSERT(!kith__tls_stream_is_open(stream)); /* nobody guesses a Finished */
    }
    KITH_ASSERT(err == 0 || (err == KITH_ERR_TLS && kith__tls_stream_failure(stream).text != NULL));
    kith__tls_stream_free(stream);
    return 0;
}
