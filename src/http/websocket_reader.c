/*
 * The reader of WebSocket messages. A message that lies whole in the received bytes is unmasked and handed out where it
 * lies. Anything else (cut by the end of the received bytes, or fragmented) is collected in `held`: the message first, and
 * behind it the payload of a control frame that came in the middle and is cut itself.
 */
#include "base/assert.h"
#include "http/websocket.h"

#include <string.h>

enum { HELD_AHEAD = 4096 }; /* memory taken for what was announced and is not there yet, beyond what is */

void kith__ws_reader_init(struct kith_ws_reader *reader, const struct kith_ws_reader_options *options)
{
    KITH_ASSERT(options->message_size_max > 0 && options->message_size_max <= KITH_WS_MESSAGE_SIZE_MAX);
    *reader = (struct kith_ws_reader) { .options = *options };
    kith__buf_init(&reader->held, options->mem);
}

void kith__ws_reader_dispose(struct kith_ws_reader *reader)
{
    kith__buf_dispose(&reader->held);
}

static int fail(struct kith_ws_reader *reader, int err, uint16_t code)
{
    reader->is_over = true;
    reader->over_err = err;
    reader->close_code = code;
    kith__buf_dispose(&reader->held);
    return err;
}

static bool is_control(uint8_t opcode)
{
    return opcode >= KITH_WS_CLOSE;
}

/** Checks the rules for a frame whose head is complete. */
static int begin_frame(struct kith_ws_reader *reader)
{
    const struct kith_ws_frame *frame = &reader->frame;
    bool is_message_open = reader->message_opcode != 0;

    if (frame->reserved != 0 || frame->is_masked != reader->options.is_server || frame->size > INT64_MAX)
        return fail(reader, KITH_ERR_TRANSPORT, KITH_WS_CLOSE_PROTOCOL);
    if (is_control(frame->opcode)) {
        if (frame->opcode > KITH_WS_PONG || !frame->is_final || frame->size > KITH_WS_CONTROL_PAYLOAD_MAX)
            return fail(reader, KITH_ERR_TRANSPORT, KITH_WS_CLOSE_PROTOCOL);
    } else {
        if (frame->opcode > KITH_WS_BINARY || (frame->opcode == KITH_WS_CONTINUATION) != is_message_open)
            return fail(reader, KITH_ERR_TRANSPORT, KITH_WS_CLOSE_PROTOCOL);
        if (frame->size > reader->options.message_size_max - reader->message_size)
            return fail(reader, KITH_ERR_TOO_LARGE, KITH_WS_CLOSE_TOO_BIG);
        if (!is_message_open)
            reader->message_opcode = frame->opcode;
    }
    reader->is_in_frame = true;
    reader->frame_done = 0;
    return 0;
}

/** Takes bytes of a frame's head: where they lie if it is whole, else through `head`. */
static int read_head(struct kith_ws_reader *reader, uint8_t **at, const uint8_t *end)
{
    size_t have = (size_t)(end - *at), before = reader->head_size, take;

    if (before == 0 && kith__ws_frame_parse(*at, have, &reader->frame) == 0) {
        *at += reader->frame.head_size;
        return begin_frame(reader);
    }
    take = KITH_MIN(have, sizeof reader->head - before);
    if (take == 0)
        return KITH_ERR_AGAIN;
    memcpy(reader->head + before, *at, take);
    if (kith__ws_frame_parse(reader->head, before + take, &reader->frame) != 0) {
        KITH_ASSERT(take == have); /* a whole head fits */
        reader->head_size = (uint8_t)(before + take);
        *at += take;
        return KITH_ERR_AGAIN;
    }
    *at += reader->frame.head_size - before;
    reader->head_size = 0;
    return begin_frame(reader);
}

/** What our close frame says when theirs said `code`: the same, unless a close frame must not say that (RFC 6455, 7.4). */
static uint16_t answer_to_close(uint16_t code)
{
    bool may_be_sent = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
                       (code >= 3000 && code <= 4999);

    if (code == KITH_WS_CLOSE_NONE)
        return KITH_WS_CLOSE_NORMAL;
    return may_be_sent ? code : KITH_WS_CLOSE_PROTOCOL;
}

/** Makes the event of a whole message or control frame. */
static int hand_out(struct kith_ws_reader *reader, uint8_t opcode, uint8_t *bytes, size_t size,
                    struct kith_ws_event *out)
{
    uint16_t code = KITH_WS_CLOSE_NONE;

    if (opcode == KITH_WS_CLOSE) {
        if (size == 1)
            return fail(reader, KITH_ERR_TRANSPORT, KITH_WS_CLOSE_PROTOCOL);
        reader->close_code = answer_to_close(KITH_WS_CLOSE_NONE);
        if (size >= 2) {
            code = (uint16_t)(bytes[0] << 8 | bytes[1]);
            reader->close_code = code == KITH_WS_CLOSE_NONE ? KITH_WS_CLOSE_PROTOCOL : answer_to_close(code);
            bytes += 2;
            size -= 2;
        }
        reader->is_over = true;
        reader->over_err = KITH_ERR_END;
    }
    *out = (struct kith_ws_event) { .kind = opcode, .code = code, .bytes = bytes, .size = size };
    return 0;
}

/** The held bytes that were handed out last are not needed any more. */
static void forget_handed_out(struct kith_ws_reader *reader)
{
    if (!reader->is_handed_out)
        return;
    reader->is_handed_out = false;
    reader->held.size = reader->message_size;
    if (reader->held.size == 0)
        kith__buf_dispose(&reader->held); /* an idle reader holds nothing */
}

/** A frame is complete whose payload is at the end of `held`. True: it completes something. */
static bool complete_held(struct kith_ws_reader *reader, uint8_t *opcode, uint8_t **bytes, size_t *size)
{
    bool is_message = !is_control(reader->frame.opcode);

    if (is_message) {
        reader->message_size = (uint32_t)reader->held.size;
        if (!reader->frame.is_final)
            return false;
    }
    *opcode = is_message ? reader->message_opcode : reader->frame.opcode;
    *bytes = is_message ? reader->held.ptr : reader->held.ptr + reader->message_size;
    *size = is_message ? reader->held.size : reader->held.size - reader->message_size;
    if (is_message)
        reader->message_opcode = 0, reader->message_size = 0;
    reader->is_handed_out = true;
    return true;
}

/** Collects payload. AGAIN: the frame is not complete. */
static int collect(struct kith_ws_reader *reader, uint8_t **at, const uint8_t *end)
{
    uint64_t left = reader->frame.size - reader->frame_done;
    size_t have = (size_t)(end - *at), take = (size_t)KITH_MIN(left, (uint64_t)have);

    if (take > 0) {
        if (kith__buf_reserve(&reader->held, (size_t)KITH_MIN(left, (uint64_t)have + HELD_AHEAD)) != 0 ||
            kith__buf_append(&reader->held, *at, take) != 0)
            return fail(reader, KITH_ERR_NOMEM, KITH_WS_CLOSE_INTERNAL);
        if (reader->frame.is_masked)
            kith__ws_mask(reader->held.ptr + reader->held.size - take, take, reader->frame.mask, reader->frame_done);
        *at += take;
        reader->frame_done += take;
    }
    return reader->frame_done < reader->frame.size ? KITH_ERR_AGAIN : 0;
}

/** True if the frame, of which nothing was taken yet, is a whole message or control frame in these bytes. */
static bool is_whole(const struct kith_ws_reader *reader, const uint8_t *at, const uint8_t *end)
{
    const struct kith_ws_frame *frame = &reader->frame;

    return reader->frame_done == 0 && frame->is_final && frame->opcode != KITH_WS_CONTINUATION &&
           frame->size <= (uint64_t)(end - at);
}

int kith__ws_reader_next(struct kith_ws_reader *reader, uint8_t **at, uint8_t *end, struct kith_ws_event *out)
{
    uint8_t opcode, *bytes;
    size_t size;
    int err;

    forget_handed_out(reader);
    while (!reader->is_over) {
        if (!reader->is_in_frame && (err = read_head(reader, at, end)) != 0)
            return err;
        if (is_whole(reader, *at, end)) {
            bytes = *at;
            size = (size_t)reader->frame.size;
            *at += size;
            reader->is_in_frame = false;
            if (!is_control(reader->frame.opcode))
                reader->message_opcode = 0;
            if (reader->frame.is_masked)
                kith__ws_mask(bytes, size, reader->frame.mask, 0);
            return hand_out(reader, reader->frame.opcode, bytes, size, out);
        }
        if ((err = collect(reader, at, end)) != 0)
            return err;
        reader->is_in_frame = false;
        if (complete_held(reader, &opcode, &bytes, &size))
            return hand_out(reader, opcode, bytes, size, out);
    }
    return reader->over_err;
}
