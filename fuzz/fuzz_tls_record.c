/*
 * Records of an open https stream. The first byte decides role and cipher; the rest is cut into pieces (a byte of type, two
 * of size): a piece of a known type is sealed as the other side would seal it, so that what it says is looked at; others
 * come as they are. Whatever comes, the stream gives plaintext that was sent, or ends with a reason.
 */
#include "base/assert.h"
#include "base/mem.h"
#include "tls/stream_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { PIECE_MAX = 2048 };

static struct kith_tls_stream *open_stream(uint8_t choice, struct kith_record_keys *other)
{
    static const uint16_t ciphers[] = { KITH_CIPHER_AES_128_GCM, KITH_CIPHER_AES_256_GCM,
                                        KITH_CIPHER_CHACHA20_POLY1305 };
    static const uint8_t secret[KITH_DIGEST_SIZE_MAX] = { 7 };
    enum kith_cipher cipher = (enum kith_cipher)ciphers[choice % 3];
    const struct kith_mem *mem = kith_mem_default();
    struct kith_tls_stream *stream = kith__alloc_zero(mem, sizeof *stream);
    struct kith_record_keys *all[] = { &stream->in, &stream->out, other };

    KITH_ASSERT(stream != NULL);
    stream->mem = mem;
    stream->state = KITH_TLS_STREAM_OPEN;
    stream->is_server = (choice & 0x40) != 0;
    stream->cipher = (uint16_t)cipher;
    stream->record_max = KITH_TLS_STREAM_RECORD_MAX;
    kith__buf_init(&stream->kept, mem);
    kith__buf_init(&stream->sending, mem);
    kith__buf_init(&stream->queued, mem);
    for (size_t i = 0; i < 3; i++) {
        int err = (choice & 0x80) != 0 ? kith__record_keys_init13(all[i], mem, cipher, secret)
                                       : kith__record_keys_init12(all[i], mem, cipher, secret, secret + 32, 1);

        KITH_ASSERT(err == 0);
    }
    return stream;
}

static void drain(struct kith_tls_stream *stream)
{
    uint8_t *plain;
    size_t size;
    int err;

    while ((err = kith__tls_stream_read(stream, &plain, &size)) == 0) {
        KITH_ASSERT(size > 0 && size <= KITH_TLS_STREAM_RECORD_MAX);
        memset(plain, 0, size); /* may be changed in place */
    }
    KITH_ASSERT(err == KITH_ERR_AGAIN || err == KITH_ERR_END || err == KITH_ERR_TLS);
    KITH_ASSERT((err == KITH_ERR_TLS) == (kith__tls_stream_failure(stream).text != NULL));
    kith__tls_stream_sent(stream, kith__tls_stream_output(stream).size);
}

static void follow(struct kith_tls_stream *stream, struct kith_record_keys *other)
{
    /* A key update was taken: the other side goes on with the next key too. */
    if (stream->in.is_tls13 && memcmp(stream->in.secret, other->secret, sizeof other->secret) != 0) {
        int err = kith__record_keys_update(other);

        KITH_ASSERT(err == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    uint8_t wire[PIECE_MAX + KITH_RECORD_OVERHEAD_MAX + 1];
    struct kith_record_keys other;
    struct kith_tls_stream *stream;

    if (size == 0)
        return 0;
    stream = open_stream(bytes[0], &other);
    for (size_t at = 1; at + 3 <= size;) {
        uint8_t type = bytes[at];
        size_t part = KITH_MIN((size_t)(bytes[at + 1] << 8 | bytes[at + 2]) % PIECE_MAX, size - at - 3),
               wire_size = part;

        if (type >= KITH_RECORD_CHANGE_CIPHER_SPEC && type <= KITH_RECORD_DATA + 1) {
            wire_size = kith__record_sealed_size(&other, part);
            if (kith__record_seal(&other, (enum kith_record_type)type, bytes + at + 3, part, wire) != 0)
                break;
        } else {
            memcpy(wire, bytes + at + 3, part);
        }
        if (kith__tls_stream_receive(stream, wire, wire_size) != 0)
            break;
        if (type % 2 == 0 && kith__tls_stream_keep(stream) != 0)
            break;
        drain(stream);
        follow(stream, &other);
        at += 3 + part;
    }
    kith__tls_stream_free(stream);
    kith__record_keys_dispose(&other);
    return 0;
}
