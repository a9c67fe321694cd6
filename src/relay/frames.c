/* Frames of the relay protocol. The table is the only place that knows kinds, sides, versions and sizes. */
#include "relay/frames.h"

#include "codec/postcard.h"

enum {
    ID_SIZE = KITH_ID_SIZE,
    SIGNATURE_SIZE = KITH_SIGNATURE_SIZE,
    HANDSHAKE = KITH_RELAY_IN_HANDSHAKE,
    AFTER = KITH_RELAY_AFTER_HANDSHAKE,
    CLIENT = KITH_RELAY_FROM_CLIENT,
    SERVER = KITH_RELAY_FROM_SERVER,
    V1 = 1 << KITH_RELAY_V1,
    V2 = 1 << KITH_RELAY_V2,
    BOTH = V1 | V2,
    MAX = KITH_RELAY_BODY_MAX,
    RESTARTING_SIZE = 8
};

/* Bodies of the handshake may have more bytes behind what we know of them, and a Status too. */
static const struct kith_relay_frame_info infos[KITH_RELAY_KINDS] = {
    { "ServerChallenge", KITH_RELAY_SERVER_CHALLENGE, SERVER, HANDSHAKE, BOTH, KITH_RELAY_CHALLENGE_SIZE, MAX },
    { "ClientAuth", KITH_RELAY_CLIENT_AUTH, CLIENT, HANDSHAKE, BOTH, ID_SIZE + 1 + SIGNATURE_SIZE, MAX },
    { "ServerConfirmsAuth", KITH_RELAY_SERVER_CONFIRMS_AUTH, SERVER, HANDSHAKE, BOTH, 0, MAX },
    { "ServerDeniesAuth", KITH_RELAY_SERVER_DENIES_AUTH, SERVER, HANDSHAKE, BOTH, 1, MAX },
    { "ClientToRelayDatagram", KITH_RELAY_CLIENT_DATAGRAM, CLIENT, AFTER, BOTH, ID_SIZE + 1, MAX },
    { "ClientToRelayDatagramBatch", KITH_RELAY_CLIENT_BATCH, CLIENT, AFTER, BOTH, ID_SIZE + 1 + 2, MAX },
    { "RelayToClientDatagram", KITH_RELAY_SERVER_DATAGRAM, SERVER, AFTER, BOTH, ID_SIZE + 1, MAX },
    { "RelayToClientDatagramBatch", KITH_RELAY_SERVER_BATCH, SERVER, AFTER, BOTH, ID_SIZE + 1 + 2, MAX },
    { "EndpointGone", KITH_RELAY_ENDPOINT_GONE, SERVER, AFTER, BOTH, ID_SIZE, ID_SIZE },
    { "Ping", KITH_RELAY_PING, CLIENT | SERVER, AFTER, BOTH, KITH_RELAY_PING_SIZE, KITH_RELAY_PING_SIZE },
    { "Pong", KITH_RELAY_PONG, CLIENT | SERVER, AFTER, BOTH, KITH_RELAY_PING_SIZE, KITH_RELAY_PING_SIZE },
    { "Health", KITH_RELAY_HEALTH, SERVER, AFTER, V1, 0, MAX },
    { "Restarting", KITH_RELAY_RESTARTING, SERVER, AFTER, BOTH, RESTARTING_SIZE, RESTARTING_SIZE },
    { "Status", KITH_RELAY_STATUS, SERVER, AFTER, V2, 1, MAX },
};

const struct kith_relay_frame_info *kith__relay_frame_info(uint64_t kind)
{
    KITH_ASSERT(kind < KITH_RELAY_KINDS && infos[kind].kind == kind);
    return &infos[kind];
}

const char *kith__relay_health_text(uint8_t status_code)
{
    switch (status_code) {
    case KITH_RELAY_STATUS_HEALTHY:
        return "The connection is healthy and has recovered from previous problems";
    case KITH_RELAY_STATUS_SAME_ID_CONNECTED:
        return "Another endpoint connected with the same endpoint id. No more messages will be received.";
    default:
        return NULL;
    }
}

static int fail(int err, const char *text, const char **reason)
{
    if (reason != NULL)
        *reason = text;
    return err;
}

/** A text of a known length or to the end of the body; has_length: it stands behind a postcard length. */
static int decode_text(struct kith_reader *body, bool has_length, struct kith_slice *out)
{
    int err;

    if (has_length)
        return kith__postcard_read_string(body, out);
    err = kith__read_slice(body, kith__reader_left(body), out);
    return err == 0 && !kith__utf8_is_valid(out->ptr, out->size) ? KITH_ERR_PARSE : err;
}

static int decode_auth(struct kith_reader *body, struct kith_relay_frame *frame)
{
    struct kith_slice signature = { 0 };
    int err;

    frame->auth.key = body->at;
    if ((err = kith__read_skip(body, ID_SIZE)) != 0 || (err = kith__postcard_read_slice(body, &signature)) != 0)
        return err;
    frame->auth.signature = signature.ptr;
    return signature.size == SIGNATURE_SIZE ? 0 : KITH_ERR_PARSE;
}

/** The body is as long as the table asks for: nothing here can be truncated. */
static void decode_datagram(struct kith_reader *body, struct kith_relay_frame *frame)
{
    struct kith_relay_datagram *datagram = &frame->datagram;
    bool is_batch = frame->kind == KITH_RELAY_CLIENT_BATCH || frame->kind == KITH_RELAY_SERVER_BATCH;

    *datagram = (struct kith_relay_datagram) { .key = body->at, .ecn = body->at[ID_SIZE] & 3 };
    body->at += ID_SIZE + 1;
    if (is_batch) {
        datagram->segment_size = (uint16_t)(body->at[0] << 8 | body->at[1]);
        body->at += 2;
        if (datagram->segment_size == 0)
            frame->kind = frame->kind == KITH_RELAY_CLIENT_BATCH ? KITH_RELAY_CLIENT_DATAGRAM
                                                                 : KITH_RELAY_SERVER_DATAGRAM;
    }
    datagram->payload = (struct kith_slice) { body->at, kith__reader_left(body) };
}

static int decode_body(struct kith_reader *body, struct kith_relay_frame *frame)
{
    switch (frame->kind) {
    case KITH_RELAY_CLIENT_DATAGRAM:
    case KITH_RELAY_CLIENT_BATCH:
    case KITH_RELAY_SERVER_DATAGRAM:
    case KITH_RELAY_SERVER_BATCH:
        decode_datagram(body, frame);
        return 0;
    case KITH_RELAY_SERVER_CHALLENGE:
        frame->challenge = body->at;
        return 0;
    case KITH_RELAY_CLIENT_AUTH:
        return decode_auth(body, frame);
    case KITH_RELAY_SERVER_DENIES_AUTH:
        return decode_text(body, true, &frame->text);
    case KITH_RELAY_HEALTH:
        return decode_text(body, false, &frame->text);
    case KITH_RELAY_ENDPOINT_GONE:
        frame->key = body->at;
        return 0;
    case KITH_RELAY_PING:
    case KITH_RELAY_PONG:
        frame->ping = body->at;
        return 0;
    case KITH_RELAY_RESTARTING:
        (void)kith__read_u32(body, &frame->restarting.reconnect_in_ms);
        (void)kith__read_u32(body, &frame->restarting.try_for_ms);
        return 0;
    case KITH_RELAY_STATUS:
        frame->status = body->at[0];
        return 0;
    default: /* SERVER_CONFIRMS_AUTH has no body */
        return 0;
    }
}

int kith__relay_frame_decode(struct kith_slice message, struct kith_relay_rules rules, struct kith_relay_frame *out,
                             const char **reason)
{
    struct kith_reader r = kith__reader_of_slice(message);
    const struct kith_relay_frame_info *info;
    struct kith_relay_frame frame;
    uint64_t kind = 0;
    int err;

    if (kith__read_varint(&r, &kind) != 0)
        return fail(KITH_ERR_TRUNCATED, "a message without a frame type", reason);
    if (kind >= KITH_RELAY_KINDS)
        return fail(KITH_ERR_UNSUPPORTED, "an unknown frame type", reason);
    info = &infos[kind];
    if ((info->sides & rules.from) == 0)
        return fail(KITH_ERR_TRANSPORT, "a frame from the wrong side", reason);
    if (info->phase != rules.phase)
        return fail(KITH_ERR_TRANSPORT,
                    rules.phase == KITH_RELAY_IN_HANDSHAKE ? "a frame before the end of the handshake"
                                                           : "a frame of the handshake after its end",
                    reason);
    if ((info->versions & 1u << rules.version) == 0)
        return fail(KITH_ERR_TRANSPORT, "a frame of another protocol version", reason);
    if (kith__reader_left(&r) < info->body_min)
        return fail(KITH_ERR_TRUNCATED, "a frame that is too short", reason);
    if (kith__reader_left(&r) > info->body_max)
        return fail(KITH_ERR_TOO_LARGE, "a frame that is too long", reason);
    frame.kind = (enum kith_relay_kind)kind;
    if ((err = decode_body(&r, &frame)) != 0)
        return fail(err, "a frame that cannot be read", reason);
    *out = frame;
    return 0;
}

static bool is_datagram(enum kith_relay_kind kind)
{
    return kind >= KITH_RELAY_CLIENT_DATAGRAM && kind <= KITH_RELAY_SERVER_BATCH;
}

size_t kith__relay_frame_size(const struct kith_relay_frame *frame)
{
    uint8_t length[KITH_POSTCARD_VARINT_SIZE_MAX];

    if (is_datagram(frame->kind))
        return frame->datagram.payload.size +
               (size_t)(frame->datagram.segment_size != 0 ? KITH_RELAY_BATCH_OVERHEAD : KITH_RELAY_DATAGRAM_OVERHEAD);
    if (frame->kind == KITH_RELAY_SERVER_DENIES_AUTH)
        return 1 + kith__postcard_encode(frame->text.size, length) + frame->text.size;
    if (frame->kind == KITH_RELAY_HEALTH)
        return 1 + frame->text.size;
    return 1 + infos[frame->kind].body_min; /* all others have one size */
}

size_t kith__relay_datagram_head(enum kith_relay_side from, const struct kith_relay_datagram *datagram, uint8_t *out)
{
    bool is_batch = datagram->segment_size != 0;

    out[0] = (uint8_t)((from == KITH_RELAY_FROM_CLIENT ? KITH_RELAY_CLIENT_DATAGRAM : KITH_RELAY_SERVER_DATAGRAM) +
                       is_batch);
    memcpy(out + KITH_RELAY_KEY_AT, datagram->key, ID_SIZE);
    out[1 + ID_SIZE] = datagram->ecn;
    if (!is_batch)
        return KITH_RELAY_DATAGRAM_OVERHEAD;
    out[2 + ID_SIZE] = (uint8_t)(datagram->segment_size >> 8);
    out[3 + ID_SIZE] = (uint8_t)datagram->segment_size;
    return KITH_RELAY_BATCH_OVERHEAD;
}

static void encode_datagram(const struct kith_relay_frame *frame, struct kith_writer *w)
{
    bool is_client = frame->kind == KITH_RELAY_CLIENT_DATAGRAM || frame->kind == KITH_RELAY_CLIENT_BATCH;

    w->at += kith__relay_datagram_head(is_client ? KITH_RELAY_FROM_CLIENT : KITH_RELAY_FROM_SERVER, &frame->datagram,
                                       w->at);
    (void)kith__write_bytes(w, frame->datagram.payload.ptr, frame->datagram.payload.size);
}

/** There is room for all of it. */
static void encode_body(const struct kith_relay_frame *frame, struct kith_writer *w)
{
    switch (frame->kind) {
    case KITH_RELAY_SERVER_CHALLENGE:
        (void)kith__write_bytes(w, frame->challenge, KITH_RELAY_CHALLENGE_SIZE);
        break;
    case KITH_RELAY_CLIENT_AUTH:
        (void)kith__write_bytes(w, frame->auth.key, ID_SIZE);
        (void)kith__write_u8(w, SIGNATURE_SIZE); /* a postcard byte string */
        (void)kith__write_bytes(w, frame->auth.signature, SIGNATURE_SIZE);
        break;
    case KITH_RELAY_SERVER_DENIES_AUTH:
        w->at += kith__postcard_encode(frame->text.size, w->at);
        (void)kith__write_bytes(w, frame->text.ptr, frame->text.size);
        break;
    case KITH_RELAY_HEALTH:
        (void)kith__write_bytes(w, frame->text.ptr, frame->text.size);
        break;
    case KITH_RELAY_ENDPOINT_GONE:
        (void)kith__write_bytes(w, frame->key, ID_SIZE);
        break;
    case KITH_RELAY_PING:
    case KITH_RELAY_PONG:
        (void)kith__write_bytes(w, frame->ping, KITH_RELAY_PING_SIZE);
        break;
    case KITH_RELAY_RESTARTING:
        (void)kith__write_u32(w, frame->restarting.reconnect_in_ms);
        (void)kith__write_u32(w, frame->restarting.try_for_ms);
        break;
    case KITH_RELAY_STATUS:
        (void)kith__write_u8(w, frame->status);
        break;
    default:
        break;
    }
}

int kith__relay_frame_encode(const struct kith_relay_frame *frame, struct kith_writer *w)
{
    size_t size = kith__relay_frame_size(frame);

    if (is_datagram(frame->kind) &&
        !kith__relay_payload_is_sendable(frame->datagram.payload.size, frame->datagram.segment_size))
        return KITH_ERR_INVALID;
    if (size > KITH_RELAY_FRAME_MAX || size > kith__writer_left(w))
        return KITH_ERR_TOO_LARGE;
    if (is_datagram(frame->kind)) {
        encode_datagram(frame, w);
        return 0;
    }
    (void)kith__write_u8(w, (uint8_t)frame->kind);
    encode_body(frame, w);
    return 0;
}
