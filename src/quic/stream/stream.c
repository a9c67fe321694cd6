#include "quic/stream/stream.h"

#include "quic/wire/codes.h"

static const uint8_t send_moves[] = {
    /* bit n: may move on to state n. Back to OPEN: what was sent in rejected 0-RTT was never sent. */
    [KITH_SEND_NONE] = 0,
    [KITH_SEND_OPEN] = 1u << KITH_SEND_DATA_SENT | 1u << KITH_SEND_RESET_SENT,
    [KITH_SEND_DATA_SENT] = 1u << KITH_SEND_DATA_RECEIVED | 1u << KITH_SEND_RESET_SENT | 1u << KITH_SEND_OPEN,
    [KITH_SEND_DATA_RECEIVED] = 0,
    [KITH_SEND_RESET_SENT] = 1u << KITH_SEND_RESET_RECEIVED,
    [KITH_SEND_RESET_RECEIVED] = 0,
};

static const uint8_t receive_moves[] = {
    /* OPEN and SIZE_KNOWN go straight to READ when the user has stopped: nobody waits for the bytes. */
    [KITH_RECEIVE_NONE] = 0,
    [KITH_RECEIVE_OPEN] = 1u << KITH_RECEIVE_SIZE_KNOWN | 1u << KITH_RECEIVE_COMPLETE | 1u << KITH_RECEIVE_READ |
                          1u << KITH_RECEIVE_RESET,
    [KITH_RECEIVE_SIZE_KNOWN] = 1u << KITH_RECEIVE_COMPLETE | 1u << KITH_RECEIVE_READ | 1u << KITH_RECEIVE_RESET,
    [KITH_RECEIVE_COMPLETE] = 1u << KITH_RECEIVE_READ,
    [KITH_RECEIVE_READ] = 0,
    [KITH_RECEIVE_RESET] = 1u << KITH_RECEIVE_RESET_READ,
    [KITH_RECEIVE_RESET_READ] = 0,
};

static void send_enter(struct kith_stream *stream, enum kith_send_state next)
{
    KITH_ASSERT(send_moves[stream->send_state] & 1u << next);
    stream->send_state = (uint8_t)next;
}

static void receive_enter(struct kith_stream *stream, enum kith_receive_state next)
{
    KITH_ASSERT(receive_moves[stream->receive_state] & 1u << next);
    stream->receive_state = (uint8_t)next;
    if (next != KITH_RECEIVE_OPEN) /* the end is known: more credit and a stop have no sense */
        stream->intents &= (uint8_t) ~(KITH_INTENT_MAX_DATA | KITH_INTENT_STOP);
}

void kith__stream_init(struct kith_stream *stream, const struct kith_stream_config *config)
{
    *stream = (struct kith_stream) {
        .id = config->id,
        .send_state = config->has_send ? KITH_SEND_OPEN : KITH_SEND_NONE,
        .receive_state = config->has_receive ? KITH_RECEIVE_OPEN : KITH_RECEIVE_NONE,
        .readable_armed = true,
    };
    kith__outbuf_init(&stream->out, config->mem);
    kith__inbuf_init(&stream->in, config->mem);
    kith__limit_init(&stream->send_limit, config->send_max);
    kith__credit_init(&stream->receive_credit, config->receive_window, config->receive_window_max);
    kith__list_init(&stream->all);
    kith__list_init(&stream->intent_node);
    kith__list_init(&stream->event_node);
    kith__list_init(&stream->waiting_node);
    kith__list_init(&stream->parked_node);
    kith__stream_order_node_init(&stream->order, 0);
}

void kith__stream_dispose(struct kith_stream *stream)
{
    kith__outbuf_dispose(&stream->out);
    kith__inbuf_dispose(&stream->in);
}

static bool send_is_over(const struct kith_stream *stream)
{
    return stream->send_state == KITH_SEND_NONE || stream->send_state == KITH_SEND_DATA_RECEIVED ||
           stream->send_state == KITH_SEND_RESET_RECEIVED;
}

static bool receive_is_over(const struct kith_stream *stream)
{
    return stream->receive_state == KITH_RECEIVE_NONE || stream->receive_state == KITH_RECEIVE_READ ||
           stream->receive_state == KITH_RECEIVE_RESET_READ;
}

bool kith__stream_is_over(const struct kith_stream *stream)
{
    return send_is_over(stream) && receive_is_over(stream);
}

/* ---- Sending ---- */

static bool is_sending(const struct kith_stream *stream)
{
    return stream->send_state == KITH_SEND_OPEN || stream->send_state == KITH_SEND_DATA_SENT;
}

bool kith__stream_wants_credit(const struct kith_stream *stream)
{
    return is_sending(stream) && kith__outbuf_has_new(&stream->out) && kith__limit_left(&stream->send_limit) != 0;
}

bool kith__stream_next_chunk(const struct kith_stream *stream, uint64_t conn_left, struct kith_outbuf_chunk *chunk)
{
    uint64_t limit = stream->send_limit.max;

    if (!is_sending(stream))
        return false;
    if (limit > stream->out.sent && limit - stream->out.sent > conn_left)
        limit = stream->out.sent + conn_left;
    return kith__outbuf_peek(&stream->out, limit, chunk);
}

/** Makes STREAM_DATA_BLOCKED due if only the stream's own limit keeps new bytes back. */
static void note_blocked(struct kith_stream *stream)
{
    if (is_sending(stream) && kith__outbuf_has_new(&stream->out) && kith__limit_left(&stream->send_limit) == 0)
        kith__limit_on_blocked(&stream->send_limit);
    if (stream->send_limit.blocked_due)
        stream->intents |= KITH_INTENT_BLOCKED;
    else
        stream->intents &= (uint8_t)~KITH_INTENT_BLOCKED;
}

bool kith__stream_take_chunk(struct kith_stream *stream, const struct kith_outbuf_chunk *chunk, size_t size)
{
    bool fin = kith__outbuf_take(&stream->out, chunk, size);

    if (!chunk->resend)
        kith__limit_take(&stream->send_limit, size);
    if (fin && stream->send_state == KITH_SEND_OPEN)
        send_enter(stream, KITH_SEND_DATA_SENT);
    note_blocked(stream);
    return fin;
}

/** What a write or finish answers in the present state; 0: go on. */
static int check_writable(const struct kith_stream *stream)
{
    if (stream->stopped)
        return KITH_ERR_STOPPED;
    return stream->send_state != KITH_SEND_OPEN || stream->out.fin != KITH_FIN_OPEN ? KITH_ERR_STATE : 0;
}

int kith__stream_write(struct kith_stream *stream, const void *bytes, size_t size)
{
    int err = check_writable(stream);

    if (err == 0 && size != 0 && (err = kith__outbuf_write(&stream->out, bytes, size)) == 0)
        note_blocked(stream);
    return err;
}

int kith__stream_finish(struct kith_stream *stream)
{
    int err = check_writable(stream);

    if (err == 0)
        kith__outbuf_finish(&stream->out);
    return err;
}

static void reset(struct kith_stream *stream, uint64_t code)
{
    send_enter(stream, KITH_SEND_RESET_SENT);
    stream->reset_code = code;
    kith__outbuf_reset(&stream->out);
    stream->intents = (uint8_t)((stream->intents | KITH_INTENT_RESET) & ~KITH_INTENT_BLOCKED);
    stream->flags &= (uint8_t)~KITH_STREAM_FLAG_WRITABLE;
    stream->writable_armed = false;
}

int kith__stream_reset(struct kith_stream *stream, uint64_t code)
{
    if (stream->stopped) /* the reset is on its way since the peer stopped */
        return 0;
    if (!is_sending(stream))
        return KITH_ERR_STATE;
    reset(stream, code);
    return 0;
}

void kith__stream_on_stop(struct kith_stream *stream, uint64_t code)
{
    if (!is_sending(stream))
        return;
    stream->stopped = true;
    stream->peer_stop_code = code;
    stream->flags |= KITH_STREAM_FLAG_STOPPED;
    reset(stream, code);
}

static void wake_writer(struct kith_stream *stream)
{
    /* A write can also wait for room in the connection's buffer: the set wakes that one. */
    if (!stream->writable_armed || kith__list_is_linked(&stream->waiting_node) || !is_sending(stream))
        return;
    stream->writable_armed = false;
    stream->flags |= KITH_STREAM_FLAG_WRITABLE;
}

void kith__stream_on_max_data(struct kith_stream *stream, uint64_t max)
{
    if (!kith__limit_raise(&stream->send_limit, max))
        return;
    note_blocked(stream);
    wake_writer(stream);
}

void kith__stream_on_unsent(struct kith_stream *stream, uint64_t low)
{
    if (kith__outbuf_unsent(&stream->out) <= low)
        wake_writer(stream);
}

int kith__stream_on_data_acked(struct kith_stream *stream, uint64_t offset, uint64_t size, bool fin, uint64_t *freed)
{
    int err;

    *freed = 0;
    if (!is_sending(stream))
        return 0;
    if ((err = kith__outbuf_on_acked(&stream->out, offset, size, fin, freed)) != 0)
        return err;
    if (kith__outbuf_is_done(&stream->out)) {
        send_enter(stream, KITH_SEND_DATA_RECEIVED);
        stream->flags |= KITH_STREAM_FLAG_SENT;
    }
    return 0;
}

int kith__stream_on_data_lost(struct kith_stream *stream, uint64_t offset, uint64_t size, bool fin)
{
    return is_sending(stream) ? kith__outbuf_on_lost(&stream->out, offset, size, fin) : 0;
}

void kith__stream_on_reset_acked(struct kith_stream *stream)
{
    if (stream->send_state != KITH_SEND_RESET_SENT)
        return;
    send_enter(stream, KITH_SEND_RESET_RECEIVED);
    stream->intents &= (uint8_t)~KITH_INTENT_RESET;
    stream->flags |= KITH_STREAM_FLAG_SENT;
}

void kith__stream_on_reset_lost(struct kith_stream *stream)
{
    if (stream->send_state == KITH_SEND_RESET_SENT)
        stream->intents |= KITH_INTENT_RESET;
}

void kith__stream_on_blocked_lost(struct kith_stream *stream, uint64_t max)
{
    if (!is_sending(stream))
        return;
    kith__limit_on_blocked_lost(&stream->send_limit, max);
    note_blocked(stream);
}

void kith__stream_rewind(struct kith_stream *stream)
{
    kith__limit_init(&stream->send_limit, 0);
    if (is_sending(stream)) {
        kith__outbuf_rewind(&stream->out);
        if (stream->send_state == KITH_SEND_DATA_SENT)
            send_enter(stream, KITH_SEND_OPEN);
    } else if (stream->send_state == KITH_SEND_RESET_SENT) {
        stream->out.begin = stream->out.end = stream->out.sent = 0; /* the final size: nothing arrived */
        stream->intents |= KITH_INTENT_RESET;
    }
    if (stream->stop_sent && stream->receive_state == KITH_RECEIVE_OPEN)
        stream->intents |= KITH_INTENT_STOP;
    note_blocked(stream);
}

/* ---- Receiving ---- */

static void note_readable(struct kith_stream *stream)
{
    if (stream->readable_armed) {
        stream->readable_armed = false;
        stream->flags |= KITH_STREAM_FLAG_READABLE;
    }
}

/** By how much a frame up to `end` raises the highest offset, and whether credit allows that. */
static int check_credit(const struct kith_stream *stream, uint64_t end, uint64_t conn_left, uint64_t *grown)
{
    uint64_t highest = kith__inbuf_highest(&stream->in);

    *grown = end > highest ? end - highest : 0;
    return end > stream->receive_credit.announced || *grown > conn_left ? KITH_WIRE_FLOW_CONTROL_ERROR : 0;
}

/** Throws the waiting bytes away and counts everything up to `end` as received. */
static void throw_away(struct kith_stream *stream, uint64_t end, bool fin)
{
    kith__inbuf_discard(&stream->in);
    kith__inbuf_skip(&stream->in, end, fin);
}

int kith__stream_on_data(struct kith_stream *stream, uint64_t offset, const uint8_t *bytes, size_t size, bool fin,
                         uint64_t conn_left, uint64_t *grown)
{
    uint64_t end = offset + size;
    int err;

    *grown = 0;
    if ((err = kith__inbuf_check_final(&stream->in, offset, size, fin)) != 0)
        return err;
    if (stream->receive_state != KITH_RECEIVE_OPEN && stream->receive_state != KITH_RECEIVE_SIZE_KNOWN)
        return 0; /* everything is here, or was reset: a late copy */
    if ((err = check_credit(stream, end, conn_left, grown)) != 0)
        return err;
    if (size == 0 && !fin) { /* says nothing, wherever it stands */
        *grown = 0;
        return 0;
    }
    if (stream->stop_sent) {
        throw_away(stream, end, fin);
        if (fin)
            receive_enter(stream, KITH_RECEIVE_READ);
        return 0;
    }
    if ((err = kith__inbuf_on_data(&stream->in, offset, bytes, size, fin)) != 0)
        return err;
    if (fin && stream->receive_state == KITH_RECEIVE_OPEN)
        receive_enter(stream, KITH_RECEIVE_SIZE_KNOWN);
    if (stream->receive_state == KITH_RECEIVE_SIZE_KNOWN && kith__inbuf_is_complete(&stream->in))
        receive_enter(stream, KITH_RECEIVE_COMPLETE);
    if (kith__inbuf_is_readable(&stream->in))
        note_readable(stream);
    return 0;
}

int kith__stream_on_reset(struct kith_stream *stream, uint64_t code, uint64_t final_size, uint64_t conn_left,
                          uint64_t *grown)
{
    int err;

    *grown = 0;
    if ((err = kith__inbuf_check_final(&stream->in, final_size, 0, true)) != 0)
        return err;
    if (stream->receive_state != KITH_RECEIVE_OPEN && stream->receive_state != KITH_RECEIVE_SIZE_KNOWN)
        return 0; /* all bytes came before the reset: they count (RFC 9000, 3.2); or a late copy */
    if ((err = check_credit(stream, final_size, conn_left, grown)) != 0)
        return err;
    throw_away(stream, final_size, true);
    if (stream->stop_sent) {
        receive_enter(stream, KITH_RECEIVE_READ);
        return 0;
    }
    stream->peer_reset_code = code;
    receive_enter(stream, KITH_RECEIVE_RESET);
    stream->readable_armed = true; /* a reset is always news */
    note_readable(stream);
    return 0;
}

int kith__stream_stop(struct kith_stream *stream, uint64_t code)
{
    if (stream->receive_state == KITH_RECEIVE_NONE || stream->stop_sent)
        return KITH_ERR_STATE;
    stream->stop_sent = true;
    stream->stop_code = code;
    stream->flags &= (uint8_t)~KITH_STREAM_FLAG_READABLE;
    stream->readable_armed = false;
    if (stream->receive_state == KITH_RECEIVE_RESET)
        receive_enter(stream, KITH_RECEIVE_RESET_READ);
    if (receive_is_over(stream))
        return 0;
    throw_away(stream, 0, false);
    if (stream->receive_state != KITH_RECEIVE_OPEN) {
        receive_enter(stream, KITH_RECEIVE_READ); /* all credit is accounted for: no need to wait for the rest */
        return 0;
    }
    stream->intents = (uint8_t)((stream->intents | KITH_INTENT_STOP) & ~KITH_INTENT_MAX_DATA);
    return 0;
}

void kith__stream_on_stop_lost(struct kith_stream *stream)
{
    if (stream->stop_sent && stream->receive_state == KITH_RECEIVE_OPEN)
        stream->intents |= KITH_INTENT_STOP;
}

/** What reads have in common: the answer if the state alone decides, else 0. */
static int check_readable(struct kith_stream *stream, uint64_t *code)
{
    if (stream->receive_state == KITH_RECEIVE_NONE || stream->stop_sent)
        return KITH_ERR_STATE;
    if (stream->receive_state == KITH_RECEIVE_RESET)
        receive_enter(stream, KITH_RECEIVE_RESET_READ);
    if (stream->receive_state != KITH_RECEIVE_RESET_READ)
        return 0;
    stream->flags &= (uint8_t)~KITH_STREAM_FLAG_READABLE;
    if (code != NULL)
        *code = stream->peer_reset_code;
    return KITH_ERR_RESET;
}

/** Notes what the buffer answered to a read. */
static int after_read(struct kith_stream *stream, int err)
{
    if (err == KITH_ERR_AGAIN)
        stream->readable_armed = true;
    if (err == KITH_ERR_AGAIN || err == KITH_ERR_END)
        stream->flags &= (uint8_t)~KITH_STREAM_FLAG_READABLE;
    if (err == KITH_ERR_END && stream->receive_state == KITH_RECEIVE_COMPLETE)
        receive_enter(stream, KITH_RECEIVE_READ);
    return err;
}

int kith__stream_peek(struct kith_stream *stream, struct kith_slice *out, uint64_t *code)
{
    int err = check_readable(stream, code);

    return err != 0 ? err : after_read(stream, kith__inbuf_peek(&stream->in, out));
}

int kith__stream_read_chunk(struct kith_stream *stream, uint8_t *out, size_t capacity, uint64_t *offset, size_t *size,
                            uint64_t *code)
{
    int err = check_readable(stream, code);

    return err != 0 ? err : after_read(stream, kith__inbuf_next_chunk(&stream->in, out, capacity, offset, size));
}

void kith__stream_consume(struct kith_stream *stream, size_t size)
{
    kith__inbuf_consume(&stream->in, size);
}

void kith__stream_on_read(struct kith_stream *stream, struct kith_credit_pool *pool, uint64_t size, uint64_t now_ns,
                          uint64_t rtt_ns)
{
    kith__credit_give_back(&stream->receive_credit, pool, size, now_ns, rtt_ns);
    if (stream->receive_state == KITH_RECEIVE_OPEN && kith__credit_is_due(&stream->receive_credit))
        stream->intents |= KITH_INTENT_MAX_DATA;
}

bool kith__stream_holds_nothing(const struct kith_stream *stream)
{
    return stream->stop_sent || stream->receive_state == KITH_RECEIVE_NONE ||
           stream->receive_state >= KITH_RECEIVE_READ;
}

void kith__stream_on_max_data_lost(struct kith_stream *stream, uint64_t max)
{
    kith__credit_on_lost(&stream->receive_credit, max);
    if (stream->receive_state == KITH_RECEIVE_OPEN && !stream->stop_sent &&
        kith__credit_is_due(&stream->receive_credit))
        stream->intents |= KITH_INTENT_MAX_DATA;
}

uint64_t kith__stream_take_given(struct kith_stream *stream)
{
    bool is_thrown_away = stream->stop_sent || stream->receive_state == KITH_RECEIVE_RESET ||
                          stream->receive_state == KITH_RECEIVE_RESET_READ;
    uint64_t target = is_thrown_away ? kith__inbuf_highest(&stream->in) : stream->in.consumed;
    uint64_t count = target - stream->given;

    KITH_ASSERT(target >= stream->given);
    stream->given = target;
    return count;
}
