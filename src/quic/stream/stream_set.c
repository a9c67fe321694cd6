/* Life of the streams, the lists they are in, and the user's verbs. Frames: stream_set_frames.c; sending: stream_set_send.c. */
#include "quic/stream/stream_set.h"

#include "base/mem.h"
#include "quic/stream/stream_set_inner.h"
#include "quic/wire/codes.h"

void kith__stream_set_init(struct kith_stream_set *set, const struct kith_stream_set_config *config)
{
    *set = (struct kith_stream_set) { .config = *config };
    set->config.ours.streams_bidi_max = KITH_MIN(config->ours.streams_bidi_max, KITH_STREAM_COUNT_MAX);
    set->config.ours.streams_uni_max = KITH_MIN(config->ours.streams_uni_max, KITH_STREAM_COUNT_MAX);
    kith__map_init(&set->by_id, config->mem, config->map_seed);
    kith__stream_order_init(&set->order, config->mem);
    kith__list_init(&set->all);
    kith__list_init(&set->parked);
    kith__list_init(&set->waiting);
    kith__list_init(&set->intents);
    kith__list_init(&set->events);
    kith__credit_init(&set->receive_credit, config->ours.data_max, config->data_auto_max);
    set->window_pool.left = config->stream_auto_total;
    kith__credit_init(&set->open_credit[0], set->config.ours.streams_bidi_max, 0);
    kith__credit_init(&set->open_credit[1], set->config.ours.streams_uni_max, 0);
}

static void free_stream(struct kith_stream_set *set, struct kith_stream *stream)
{
    kith__stream_order_remove(&set->order, &stream->order);
    kith__list_remove(&stream->all);
    kith__list_remove(&stream->intent_node);
    kith__list_remove(&stream->event_node);
    kith__list_remove(&stream->waiting_node);
    kith__list_remove(&stream->parked_node);
    kith__map_remove(&set->by_id, &stream->id, sizeof stream->id);
    if (set->last_found == stream)
        set->last_found = NULL;
    set->count--;
    kith__stream_dispose(stream);
    kith__free(set->config.mem, stream);
}

void kith__stream_set_dispose(struct kith_stream_set *set)
{
    if (set->config.mem == NULL)
        return;
    KITH_LIST_EACH_SAFE(node, after, &set->all)
    free_stream(set, KITH_CONTAINER(node, struct kith_stream, all));
    kith__map_dispose(&set->by_id);
    kith__stream_order_dispose(&set->order);
}

void kith__stream_set_shed(struct kith_stream_set *set)
{
    if (set->count != 0)
        return;
    kith__map_dispose(&set->by_id);
    kith__stream_order_dispose(&set->order);
}

/** How many bytes the peer takes on this stream at first. */
static uint64_t send_max_of(const struct kith_stream_set *set, uint64_t id)
{
    const struct kith_stream_limits *theirs = &set->theirs;

    if (!kith__stream_id_is_bidi(id))
        return kith__stream_is_ours(set, id) ? theirs->uni_max : 0;
    return kith__stream_is_ours(set, id) ? theirs->bidi_remote_max : theirs->bidi_local_max;
}

static uint64_t receive_window_of(const struct kith_stream_set *set, uint64_t id)
{
    const struct kith_stream_limits *ours = &set->config.ours;

    if (!kith__stream_id_is_bidi(id))
        return kith__stream_is_ours(set, id) ? 0 : ours->uni_max;
    return kith__stream_is_ours(set, id) ? ours->bidi_local_max : ours->bidi_remote_max;
}

int kith__stream_set_create(struct kith_stream_set *set, uint64_t id, struct kith_stream **out)
{
    bool is_ours = kith__stream_is_ours(set, id);
    int kind = kith__stream_kind(id), err;
    struct kith_stream_kind *opened = is_ours ? &set->ours_opened[kind] : &set->theirs_opened[kind];
    struct kith_stream *stream;

    KITH_ASSERT(kith__stream_index(id) == opened->opened);
    if ((err = kith__stream_order_reserve(&set->order, set->count + 1)) != 0)
        return err;
    if ((stream = kith__alloc(set->config.mem, sizeof *stream)) == NULL)
        return KITH_ERR_NOMEM;
    kith__stream_init(stream, &(struct kith_stream_config) { .mem = set->config.mem,
                                                             .id = id,
                                                             .has_send = is_ours || kind == 0,
                                                             .has_receive = !is_ours || kind == 0,
                                                             .send_max = send_max_of(set, id),
                                                             .receive_window = receive_window_of(set, id),
                                                             .receive_window_max = set->config.stream_auto_max });
    if ((err = kith__map_put(&set->by_id, &stream->id, sizeof stream->id, stream)) != 0) {
        kith__free(set->config.mem, stream);
        return err;
    }
    kith__list_push_back(&set->all, &stream->all);
    set->count++;
    opened->opened++;
    opened->open++;
    *out = stream;
    return 0;
}

struct kith_stream *kith__stream_set_find(struct kith_stream_set *set, uint64_t id)
{
    if (set->last_found == NULL || set->last_found->id != id)
        set->last_found = kith__map_get(&set->by_id, &id, sizeof id);
    return set->last_found;
}

/** Links or unlinks a node. */
static void set_linked(struct kith_list *head, struct kith_list *node, bool wanted)
{
    if (wanted && !kith__list_is_linked(node))
        kith__list_push_back(head, node);
    else if (!wanted)
        kith__list_remove(node);
}

static void schedule(struct kith_stream_set *set, struct kith_stream *stream)
{
    struct kith_outbuf_chunk chunk;
    uint64_t left = kith__limit_left(&set->send_limit);
    bool is_allowed = !set->over_limit || !kith__stream_is_ours(set, stream->id) ||
                      kith__stream_index(stream->id) < set->open_limit[kith__stream_kind(stream->id)].max;
    bool can_send = is_allowed && kith__stream_next_chunk(stream, left, &chunk);
    bool is_parked = is_allowed && left == 0 && kith__stream_wants_credit(stream);

    if (can_send)
        kith__stream_order_add(&set->order, &stream->order);
    else
        kith__stream_order_remove(&set->order, &stream->order);
    set_linked(&set->parked, &stream->parked_node, is_parked);
    if (is_parked)
        kith__limit_on_blocked(&set->send_limit);
}

/** The stream is over: one more of its kind may be opened. */
static void give_place_back(struct kith_stream_set *set, struct kith_stream *stream)
{
    int kind = kith__stream_kind(stream->id);

    stream->credited = true;
    if (kith__stream_is_ours(set, stream->id)) {
        set->ours_opened[kind].open--;
    } else {
        set->theirs_opened[kind].open--;
        kith__credit_give_back(&set->open_credit[kind], NULL, 1, 0, 0);
    }
}

void kith__stream_set_touch(struct kith_stream_set *set, struct kith_stream *stream)
{
    uint64_t given = kith__stream_take_given(stream);

    if (given != 0)
        kith__credit_give_back(&set->receive_credit, NULL, given, 0, 0);
    if (stream->receive_credit.grown != 0 && kith__stream_holds_nothing(stream))
        kith__credit_release(&stream->receive_credit, &set->window_pool);
    if (stream->released)
        stream->flags = 0;
    schedule(set, stream);
    set_linked(&set->intents, &stream->intent_node, stream->intents != 0);
    set_linked(&set->events, &stream->event_node, stream->flags != 0);
    if (!kith__stream_is_over(stream))
        return;
    if (!stream->credited)
        give_place_back(set, stream);
    if (stream->flags == 0)
        free_stream(set, stream);
}

void kith__stream_set_touch_all(struct kith_stream_set *set)
{
    KITH_LIST_EACH_SAFE(node, after, &set->all)
    kith__stream_set_touch(set, KITH_CONTAINER(node, struct kith_stream, all));
}

void kith__stream_set_wake_writers(struct kith_stream_set *set)
{
    /* Not for every packet's worth of room: the user would write in small pieces. */
    uint64_t enough = KITH_MAX(KITH_MIN(set->config.send_buffer_max / 8, (uint64_t)128 * 1024), 1u);

    if (kith__list_is_empty(&set->waiting) || set->config.send_buffer_max - set->send_held < enough)
        return;
    KITH_LIST_EACH_SAFE(node, after, &set->waiting)
    {
        struct kith_stream *stream = KITH_CONTAINER(node, struct kith_stream, waiting_node);

        kith__list_remove(&stream->waiting_node);
        if (!stream->writable_armed)
            continue;
        stream->writable_armed = false;
        stream->flags |= KITH_STREAM_FLAG_WRITABLE;
        kith__stream_set_touch(set, stream);
    }
}

void kith__stream_set_on_held(struct kith_stream_set *set, const struct kith_stream *stream, uint64_t before)
{
    uint64_t now = kith__outbuf_held(&stream->out);

    KITH_ASSERT(set->send_held >= before);
    set->send_held = set->send_held - before + now;
}

/* ---- Limits of the peer ---- */

static void raise_open_limit(struct kith_stream_set *set, int kind, uint64_t max)
{
    if (!kith__limit_raise(&set->open_limit[kind], max))
        return;
    if (set->available_armed[kind] && kith__limit_left(&set->open_limit[kind]) != 0) {
        set->available_armed[kind] = false;
        set->available_due[kind] = true;
    }
    if (set->over_limit) {
        set->over_limit = set->open_limit[0].used > set->open_limit[0].max ||
                          set->open_limit[1].used > set->open_limit[1].max;
        kith__stream_set_touch_all(set);
    }
}

void kith__stream_set_on_peer_limits(struct kith_stream_set *set, const struct kith_stream_limits *theirs)
{
    set->theirs = *theirs;
    kith__limit_raise(&set->send_limit, theirs->data_max);
    KITH_LIST_EACH(node, &set->all)
    {
        struct kith_stream *stream = KITH_CONTAINER(node, struct kith_stream, all);

        kith__stream_on_max_data(stream, send_max_of(set, stream->id));
    }
    raise_open_limit(set, 0, KITH_MIN(theirs->streams_bidi_max, KITH_STREAM_COUNT_MAX));
    raise_open_limit(set, 1, KITH_MIN(theirs->streams_uni_max, KITH_STREAM_COUNT_MAX));
    kith__stream_set_touch_all(set);
}

void kith__stream_set_on_early_rejected(struct kith_stream_set *set)
{
    set->theirs = (struct kith_stream_limits) { 0 };
    kith__limit_init(&set->send_limit, 0);
    for (int kind = 0; kind < 2; kind++) {
        set->open_limit[kind].max = 0;
        set->over_limit = set->over_limit || set->open_limit[kind].used != 0;
    }
    KITH_LIST_EACH(node, &set->all)
    kith__stream_rewind(KITH_CONTAINER(node, struct kith_stream, all));
    kith__stream_set_touch_all(set);
}

void kith__stream_set_set_streams_max(struct kith_stream_set *set, bool bidi, uint64_t count)
{
    struct kith_credit *credit = &set->open_credit[bidi ? 0 : 1];

    credit->window = credit->window_max = KITH_MIN(count, KITH_STREAM_COUNT_MAX);
}

int kith__stream_set_on_max_streams(struct kith_stream_set *set, bool bidi, uint64_t max)
{
    if (max > KITH_STREAM_COUNT_MAX)
        return KITH_WIRE_FRAME_ENCODING_ERROR;
    raise_open_limit(set, bidi ? 0 : 1, max);
    return 0;
}

/* ---- The user's verbs ---- */

int kith__stream_set_open(struct kith_stream_set *set, bool bidi, uint64_t *id)
{
    int kind = bidi ? 0 : 1, err;
    struct kith_limit *limit = &set->open_limit[kind];
    struct kith_stream *stream;
    uint64_t next = set->ours_opened[kind].opened << 2 | (uint64_t)kind << 1 | (set->config.is_server ? 1 : 0);

    if (kith__limit_left(limit) == 0) {
        kith__limit_on_blocked(limit);
        set->available_armed[kind] = true;
        return KITH_ERR_AGAIN;
    }
    if ((err = kith__stream_set_create(set, next, &stream)) != 0)
        return err;
    kith__limit_take(limit, 1);
    *id = next;
    return 0;
}

/** How many bytes a write may take now. */
static uint64_t write_room(const struct kith_stream_set *set, const struct kith_stream *stream)
{
    uint64_t ahead_max = stream->send_limit.max + KITH_STREAM_AHEAD_MAX;
    uint64_t room = set->send_held < set->config.send_buffer_max ? set->config.send_buffer_max - set->send_held : 0;
    uint64_t unsent = kith__outbuf_unsent(&stream->out);

    room = KITH_MIN(room, unsent < KITH_STREAM_UNSENT_MAX ? KITH_STREAM_UNSENT_MAX - unsent : 0);
    return KITH_MIN(room, ahead_max > stream->out.end ? ahead_max - stream->out.end : 0);
}

/** A write was cut short: remembers to tell when there is room. */
static void arm_writable(struct kith_stream_set *set, struct kith_stream *stream)
{
    stream->writable_armed = true;
    if (set->send_held >= set->config.send_buffer_max)
        set_linked(&set->waiting, &stream->waiting_node, true);
}

int kith__stream_set_write(struct kith_stream_set *set, uint64_t id, const void *bytes, size_t size, bool fin,
                           size_t *written)
{
    struct kith_stream *stream = kith__stream_set_find(set, id);
    size_t part;
    int err;

    if (stream == NULL)
        return KITH_ERR_NOT_FOUND;
    part = (size_t)KITH_MIN((uint64_t)size, write_room(set, stream));
    if ((err = kith__stream_write(stream, bytes, part)) != 0)
        return err;
    set->send_held += part;
    if (part < size)
        arm_writable(set, stream);
    else if (fin)
        err = kith__stream_finish(stream);
    KITH_ASSERT(err == 0); /* a stream that can be written can be finished */
    kith__stream_set_touch(set, stream);
    if (part == 0 && size != 0)
        return KITH_ERR_AGAIN;
    *written = part;
    return 0;
}

int kith__stream_set_reset(struct kith_stream_set *set, uint64_t id, uint64_t code)
{
    struct kith_stream *stream = kith__stream_set_find(set, id);
    uint64_t before;
    int err;

    if (stream == NULL)
        return KITH_ERR_NOT_FOUND;
    before = kith__outbuf_held(&stream->out);
    if ((err = kith__stream_reset(stream, code)) != 0)
        return err;
    kith__stream_set_on_held(set, stream, before);
    kith__stream_set_touch(set, stream);
    kith__stream_set_wake_writers(set);
    return 0;
}

int kith__stream_set_stop(struct kith_stream_set *set, uint64_t id, uint64_t code)
{
    struct kith_stream *stream = kith__stream_set_find(set, id);
    int err;

    if (stream == NULL)
        return KITH_ERR_NOT_FOUND;
    if ((err = kith__stream_stop(stream, code)) == 0)
        kith__stream_set_touch(set, stream);
    return err;
}

int kith__stream_set_set_priority(struct kith_stream_set *set, uint64_t id, int32_t priority)
{
    struct kith_stream *stream = kith__stream_set_find(set, id);

    if (stream == NULL)
        return KITH_ERR_NOT_FOUND;
    kith__stream_order_set_priority(&set->order, &stream->order, priority);
    return 0;
}

int kith__stream_set_peek(struct kith_stream_set *set, uint64_t id, struct kith_slice *out, uint64_t *code)
{
    struct kith_stream *stream = kith__stream_set_find(set, id);
    int err;

    if (stream == NULL)
        return KITH_ERR_NOT_FOUND;
    if ((err = kith__stream_peek(stream, out, code)) != 0)
        kith__stream_set_touch(set, stream);
    return err;
}

/** `size` bytes were read: credit for the stream and the connection. */
static void on_read(struct kith_stream_set *set, struct kith_stream *stream, size_t size, uint64_t now_ns,
                    uint64_t rtt_ns)
{
    kith__stream_on_read(stream, &set->window_pool, size, now_ns, rtt_ns);
    kith__credit_give_back(&set->receive_credit, NULL, kith__stream_take_given(stream), now_ns, rtt_ns);
    kith__stream_set_touch(set, stream);
}

int kith__stream_set_consume(struct kith_stream_set *set, uint64_t id, size_t size, uint64_t now_ns, uint64_t rtt_ns)
{
    struct kith_stream *stream = kith__stream_set_find(set, id);
    struct kith_slice slice;

    if (stream == NULL)
        return KITH_ERR_NOT_FOUND;
    if (size == 0)
        return 0;
    if (stream->stop_sent || kith__inbuf_peek(&stream->in, &slice) != 0 || size > slice.size)
        return KITH_ERR_INVALID;
    kith__stream_consume(stream, size);
    on_read(set, stream, size, now_ns, rtt_ns);
    return 0;
}

int kith__stream_set_read(struct kith_stream_set *set, uint64_t id, uint8_t *out, size_t capacity, size_t *size,
                          uint64_t *code, uint64_t now_ns, uint64_t rtt_ns)
{
    struct kith_stream *stream = kith__stream_set_find(set, id);
    struct kith_slice slice;
    size_t done = 0;
    int err;

    if (stream == NULL)
        return KITH_ERR_NOT_FOUND;
    if ((err = kith__stream_peek(stream, &slice, code)) != 0) {
        kith__stream_set_touch(set, stream);
        return err;
    }
    /* The buffer, not the stream, is asked for more: an end behind the last byte is for the next read to tell. */
    while (done < capacity && kith__inbuf_peek(&stream->in, &slice) == 0) {
        size_t part = KITH_MIN(slice.size, capacity - done);

        memcpy(out + done, slice.ptr, part);
        kith__stream_consume(stream, part);
        done += part;
    }
    on_read(set, stream, done, now_ns, rtt_ns);
    *size = done;
    return 0;
}

int kith__stream_set_read_chunk(struct kith_stream_set *set, uint64_t id, uint8_t *out, size_t capacity,
                                uint64_t *offset, size_t *size, uint64_t *code, uint64_t now_ns, uint64_t rtt_ns)
{
    struct kith_stream *stream = kith__stream_set_find(set, id);
    int err;

    if (stream == NULL)
        return KITH_ERR_NOT_FOUND;
    if ((err = kith__stream_read_chunk(stream, out, capacity, offset, size, code)) == 0)
        on_read(set, stream, *size, now_ns, rtt_ns);
    else
        kith__stream_set_touch(set, stream);
    return err;
}

void kith__stream_set_release(struct kith_stream_set *set, uint64_t id)
{
    struct kith_stream *stream = kith__stream_set_find(set, id);
    uint64_t before;

    if (stream == NULL)
        return;
    before = kith__outbuf_held(&stream->out);
    stream->released = true;
    if (stream->receive_state != KITH_RECEIVE_NONE && !stream->stop_sent && kith__stream_stop(stream, 0) != 0)
        KITH_ASSERT(false); /* nothing else can be wrong */
    if (stream->send_state == KITH_SEND_OPEN && stream->out.fin == KITH_FIN_OPEN && kith__stream_reset(stream, 0) != 0)
        KITH_ASSERT(false);
    kith__stream_set_on_held(set, stream, before);
    kith__stream_set_touch(set, stream);
    kith__stream_set_wake_writers(set);
}

/* ---- Events ---- */

bool kith__stream_set_has_event(const struct kith_stream_set *set)
{
    return set->available_due[0] || set->available_due[1] || !kith__list_is_empty(&set->events);
}

bool kith__stream_set_next_event(struct kith_stream_set *set, struct kith_stream_event *out)
{
    static const struct {
        uint8_t flag, kind;
    } order[] = {
        { KITH_STREAM_FLAG_OPENED, KITH_QUIC_STREAM_OPENED },
        { KITH_STREAM_FLAG_READABLE, KITH_QUIC_STREAM_READABLE },
        { KITH_STREAM_FLAG_STOPPED, KITH_QUIC_STREAM_STOPPED },
        { KITH_STREAM_FLAG_WRITABLE, KITH_QUIC_STREAM_WRITABLE },
        { KITH_STREAM_FLAG_SENT, KITH_QUIC_STREAM_SENT },
    };
    struct kith_list *node = kith__list_first(&set->events);
    struct kith_stream *stream;
    size_t i = 0;

    for (int kind = 0; kind < 2; kind++)
        if (set->available_due[kind]) {
            set->available_due[kind] = false;
            *out = (struct kith_stream_event) { .kind = KITH_QUIC_STREAMS_AVAILABLE, .bidi = kind == 0 };
            return true;
        }
    if (node == NULL)
        return false;
    stream = KITH_CONTAINER(node, struct kith_stream, event_node);
    while (!(stream->flags & order[i].flag))
        i++;
    *out = (struct kith_stream_event) { .kind = order[i].kind,
                                        .bidi = kith__stream_id_is_bidi(stream->id),
                                        .id = stream->id,
                                        .user = stream->user,
                                        .code = order[i].flag == KITH_STREAM_FLAG_STOPPED ? stream->peer_stop_code
                                                                                          : 0 };
    stream->flags &= (uint8_t)~order[i].flag;
    kith__stream_set_touch(set, stream);
    return true;
}
