/* What a session sends: control frames, datagrams, and how they get to the driver. */
#include "relay/server_parts.h"

/* How long a write of plan_max bytes should take: between these, its size is right. */
#define WRITE_FAST_NS (50 * KITH_NS_PER_MS)
#define WRITE_SLOW_NS (250 * KITH_NS_PER_MS)

void kith__relay_session_output_changed(struct kith_relay_session *session, bool was_empty)
{
    struct kith_relay_server *server = session->server;

    if (session->state == KITH_RELAY_SESSION_ENDED || kith__relay_outbox_size(session->outbox) == 0)
        return;
    if (was_empty) {
        session->progress_ns = server->now_ns;
        kith__relay_session_arm(session);
    }
    if (!kith__relay_outbox_is_planned(session->outbox) && !kith__list_is_linked(&session->in_writers))
        kith__list_push_back(&server->writers, &session->in_writers);
}

static void say(struct kith_relay_session *session, const uint8_t *bytes, size_t size)
{
    struct kith_relay_server *server = session->server;
    bool was_empty = kith__relay_outbox_size(session->outbox) == 0;

    if (kith__relay_outbox_push_control(&session->outbox, &server->pool, &server->outbox_limits,
                                        (struct kith_slice) { bytes, size }) != KITH_RELAY_PUSHED) {
        kith__relay_count(&server->counters->drops_control, 1);
        return;
    }
    kith__relay_session_output_changed(session, was_empty);
}

void kith__relay_session_say(struct kith_relay_session *session, const struct kith_relay_frame *frame)
{
    uint8_t message[KITH_WS_FRAME_HEAD_MAX + KITH_RELAY_DENIAL_SIZE_MAX + 4];
    size_t size = kith__relay_frame_size(frame), head = kith__ws_frame_write(message, KITH_WS_BINARY, NULL, size);
    struct kith_writer w = kith__writer(message + head, sizeof message - head);
    int err = kith__relay_frame_encode(frame, &w);

    KITH_ASSERT(err == 0); /* control frames are ours, and short */
    say(session, message, head + size);
}

void kith__relay_session_say_ws(struct kith_relay_session *session, enum kith_ws_opcode opcode, const uint8_t *bytes,
                                size_t size)
{
    uint8_t message[KITH_WS_CONTROL_SIZE_MAX];

    say(session, message, kith__ws_control_write(message, opcode, NULL, bytes, size));
}

void kith__relay_session_say_status(struct kith_relay_session *session, enum kith_relay_status status)
{
    const char *text = kith__relay_health_text((uint8_t)status);

    if (session->version == KITH_RELAY_V2)
        kith__relay_session_say(session,
                                &(struct kith_relay_frame) { .kind = KITH_RELAY_STATUS, .status = (uint8_t)status });
    else if (text != NULL)
        kith__relay_session_say(
            session,
            &(struct kith_relay_frame) { .kind = KITH_RELAY_HEALTH, .text = { (const uint8_t *)text, strlen(text) } });
}

/** The tag of a sender's lane: equal for equal ids; nobody outside knows which ids share a lane. */
static uint64_t tag_of(const struct kith_relay_server *server, const struct kith_id *id)
{
    uint64_t bits;

    memcpy(&bits, id->bytes + 8, sizeof bits);
    return bits * server->tag_factor;
}

static void count_drop(struct kith_relay_session *session, enum kith_relay_push why)
{
    struct kith_relay_counters *counters = session->server->counters;

    session->dropped_frames++;
    kith__relay_count(why == KITH_RELAY_PUSH_QUEUE_FULL    ? &counters->drops_queue_full
                      : why == KITH_RELAY_PUSH_QUEUE_SHARE ? &counters->drops_queue_share
                                                           : &counters->drops_memory,
                      1);
}

bool kith__relay_session_deliver(struct kith_relay_session *session, const struct kith_id *source,
                                 const struct kith_relay_datagram *datagram)
{
    struct kith_relay_server *server = session->server;
    struct kith_relay_datagram out = *datagram;
    uint8_t head[KITH_WS_FRAME_HEAD_MAX + KITH_RELAY_BATCH_OVERHEAD];
    size_t overhead = (size_t)(out.segment_size != 0 ? KITH_RELAY_BATCH_OVERHEAD : KITH_RELAY_DATAGRAM_OVERHEAD);
    size_t size = kith__ws_frame_write(head, KITH_WS_BINARY, NULL, overhead + out.payload.size);
    bool was_empty = session->outbox == NULL;
    enum kith_relay_push result;

    out.key = source->bytes;
    size += kith__relay_datagram_head(KITH_RELAY_FROM_SERVER, &out, head + size);
    result = kith__relay_outbox_push(&session->outbox, &server->pool, &server->outbox_limits, tag_of(server, source),
                                     (struct kith_slice) { head, size }, out.payload);
    if (result != KITH_RELAY_PUSHED) {
        count_drop(session, result);
        return false;
    }
    kith__relay_session_output_changed(session, was_empty);
    return true;
}

size_t kith__relay_session_output(struct kith_relay_session *session, struct kith_slice *slices, size_t cap)
{
    size_t count;

    kith__list_remove(&session->in_writers);
    if (session->state == KITH_RELAY_SESSION_ENDED || cap == 0 || kith__relay_outbox_is_planned(session->outbox))
        return 0;
    count = kith__relay_outbox_plan(session->outbox, session->plan_max, slices, cap);
    session->planned_ns = session->server->now_ns;
    for (size_t i = 0; i < count; i++)
        session->planned_size += (uint32_t)slices[i].size;
    return count;
}

/** Smaller writes for slow clients: control frames wait less, and progress is seen sooner. Only a large one tells of speed. */
static void adapt_plan(struct kith_relay_session *session, size_t size, uint64_t now_ns)
{
    uint64_t took_ns = now_ns - session->planned_ns;

    if (took_ns > WRITE_SLOW_NS && session->plan_max > KITH_RELAY_PLAN_MIN)
        session->plan_max /= 2;
    else if (took_ns < WRITE_FAST_NS && size >= session->plan_max / 2 && session->plan_max < KITH_RELAY_OUTPUT_MAX)
        session->plan_max *= 2;
}

void kith__relay_session_sent(struct kith_relay_session *session, size_t size, uint64_t now_ns)
{
    struct kith_relay_server *server = session->server;
    struct kith_relay_sent sent;

    now_ns = kith__relay_server_now(server, now_ns);
    sent = kith__relay_outbox_sent(&session->outbox, &server->pool, size);
    kith__relay_count(&server->counters->send_packets_sent, sent.frames);
    kith__relay_count(&server->counters->bytes_sent, sent.payload_bytes);
    session->sent_bytes += size;
    session->planned_size = 0;
    if (size != 0) {
        session->progress_ns = now_ns;
        adapt_plan(session, size, now_ns);
    }
    kith__relay_session_arm(session); /* the next write has less time than a large one had */
    if (session->state == KITH_RELAY_SESSION_CLOSING && kith__relay_outbox_size(session->outbox) == 0)
        kith__relay_session_end(session, (enum kith_relay_end)session->end, session->why);
    else
        kith__relay_session_output_changed(session, false);
}

size_t kith__relay_session_output_size(const struct kith_relay_session *session)
{
    return session->state == KITH_RELAY_SESSION_ENDED ? 0 : kith__relay_outbox_size(session->outbox);
}
