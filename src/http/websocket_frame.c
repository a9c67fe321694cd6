/* WebSocket frames: heads, masks, control frames. RFC 6455, 5. */
#include "base/assert.h"
#include "http/websocket.h"

#include <string.h>

int kith__ws_frame_parse(const uint8_t *bytes, size_t size, struct kith_ws_frame *out)
{
    struct kith_reader r = kith__reader(bytes, size);
    uint8_t first = 0, second = 0;
    uint16_t size16 = 0;
    struct kith_ws_frame frame = { .size = 0 };

    if (kith__read_u8(&r, &first) != 0 || kith__read_u8(&r, &second) != 0)
        return KITH_ERR_AGAIN;
    frame.is_final = (first & 0x80) != 0;
    frame.reserved = first >> 4 & 7;
    frame.opcode = first & 15;
    frame.is_masked = (second & 0x80) != 0;
    frame.size = second & 0x7f;
    if (frame.size == 126) {
        if (kith__read_u16(&r, &size16) != 0)
            return KITH_ERR_AGAIN;
        frame.size = size16;
    } else if (frame.size == 127 && kith__read_u64(&r, &frame.size) != 0) {
        return KITH_ERR_AGAIN;
    }
    if (frame.is_masked && kith__read_bytes(&r, frame.mask, sizeof frame.mask) != 0)
        return KITH_ERR_AGAIN;
    frame.head_size = (uint8_t)(r.at - bytes);
    *out = frame;
    return 0;
}

size_t kith__ws_frame_write(uint8_t out[KITH_WS_FRAME_HEAD_MAX], enum kith_ws_opcode opcode, const uint8_t mask[4],
                            uint64_t payload_size)
{
    struct kith_writer w = kith__writer(out, KITH_WS_FRAME_HEAD_MAX);
    uint8_t mask_bit = mask != NULL ? 0x80 : 0;

    kith__write_u8(&w, (uint8_t)(0x80 | opcode));
    if (payload_size < 126) {
        kith__write_u8(&w, (uint8_t)(mask_bit | payload_size));
    } else if (payload_size <= UINT16_MAX) {
        kith__write_u8(&w, mask_bit | 126);
        kith__write_u16(&w, (uint16_t)payload_size);
    } else {
        kith__write_u8(&w, mask_bit | 127);
        kith__write_u64(&w, payload_size);
    }
    if (mask != NULL)
        kith__write_bytes(&w, mask, 4);
    return kith__writer_size(&w);
}

/* Eight words at a time: what compilers turn into vectors of the machine's width without a check of alignment. */
enum { WORDS = 8 };

static void mask_words(uint8_t *bytes, uint64_t mask)
{
    uint64_t words[WORDS];

    memcpy(words, bytes, sizeof words);
    for (int i = 0; i < WORDS; i++)
        words[i] ^= mask;
    memcpy(bytes, words, sizeof words);
}

void kith__ws_mask(uint8_t *bytes, size_t size, const uint8_t mask[4], uint64_t offset)
{
    uint8_t turned[8];
    uint64_t wide, word;
    size_t at = 0;

    for (size_t i = 0; i < sizeof turned; i++)
        turned[i] = mask[(offset + i) & 3];
    memcpy(&wide, turned, sizeof wide);
    for (; size - at >= WORDS * sizeof wide; at += WORDS * sizeof wide)
        mask_words(bytes + at, wide);
    for (; size - at >= sizeof word; at += sizeof word) {
        memcpy(&word, bytes + at, sizeof word);
        word ^= wide;
        memcpy(bytes + at, &word, sizeof word);
    }
    for (; at < size; at++)
        bytes[at] ^= turned[at & 3];
}

size_t kith__ws_control_write(uint8_t out[KITH_WS_CONTROL_SIZE_MAX], enum kith_ws_opcode opcode, const uint8_t mask[4],
                              const uint8_t *payload, size_t size)
{
    uint8_t head[KITH_WS_FRAME_HEAD_MAX];
    size_t head_size = kith__ws_frame_write(head, opcode, mask, size);

    KITH_ASSERT(size <= KITH_WS_CONTROL_PAYLOAD_MAX);
    memcpy(out, head, head_size);
    if (size > 0)
        memcpy(out + head_size, payload, size);
    if (mask != NULL)
        kith__ws_mask(out + head_size, size, mask, 0);
    return head_size + size;
}

size_t kith__ws_close_write(uint8_t out[KITH_WS_CONTROL_SIZE_MAX], const uint8_t mask[4], uint16_t code,
                            const char *reason)
{
    uint8_t payload[KITH_WS_CONTROL_PAYLOAD_MAX] = { (uint8_t)(code >> 8), (uint8_t)code };
    size_t size = reason != NULL ? strlen(reason) : 0;

    if (size > sizeof payload - 2) /* not inside a character: bytes 10xxxxxx continue one */
        for (size = sizeof payload - 2; size > 0 && ((uint8_t)reason[size] & 0xc0) == 0x80;)
            size--;
    if (size > 0)
        memcpy(payload + 2, reason, size);
    return kith__ws_control_write(out, KITH_WS_CLOSE, mask, payload, size + 2);
}
