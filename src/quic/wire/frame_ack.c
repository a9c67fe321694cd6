/* Acknowledgements: ACK, ACK_ECN, PATH_ACK, PATH_ACK_ECN. The ranges stay in the packet; they are only checked here. */
#include "quic/wire/frame_parts.h"

/* Steps over the further ranges; each must stay at or above zero (RFC 9000, 19.3.1). */
static int check_ranges(struct kith_reader *r, uint64_t smallest, uint64_t count, const char **reason)
{
    for (; count != 0; count--) {
        uint64_t gap = 0, length = 0;
        int err;

        if ((err = kith__read_varint(r, &gap)) != 0 || (err = kith__read_varint(r, &length)) != 0)
            return err;
        if (smallest < gap + 2 || smallest - gap - 2 < length) {
            *reason = "ACK range below zero";
            return KITH_ERR_PARSE;
        }
        smallest -= gap + 2 + length;
    }
    return 0;
}

int kith__frame_decode_ack(struct kith_reader *r, struct kith_frame *frame, const char **reason)
{
    struct kith_frame_ack *ack = &frame->ack;
    const uint8_t *begin;
    int err;

    if ((err = kith__frame_read_path_if(r, frame->info->kind == KITH_KIND_PATH_ACK, &ack->path)) != 0 ||
        (err = kith__read_varint(r, &ack->largest)) != 0 || (err = kith__read_varint(r, &ack->delay)) != 0 ||
        (err = kith__read_varint(r, &ack->range_count)) != 0 || (err = kith__read_varint(r, &ack->first_range)) != 0)
        return err;
    if (ack->first_range > ack->largest) {
        *reason = "ACK range below zero";
        return KITH_ERR_PARSE;
    }
    begin = r->at;
    if ((err = check_ranges(r, ack->largest - ack->first_range, ack->range_count, reason)) != 0)
        return err;
    ack->ranges = (struct kith_slice) { begin, (size_t)(r->at - begin) };
    ack->has_ecn = (frame->type & 1) != 0;
    ack->ecn = (struct kith_frame_ecn) { 0 };
    if (!ack->has_ecn)
        return 0;
    if ((err = kith__read_varint(r, &ack->ecn.ect0)) != 0 || (err = kith__read_varint(r, &ack->ecn.ect1)) != 0)
        return err;
    return kith__read_varint(r, &ack->ecn.ce);
}

static void put_ecn(struct kith_writer *w, const struct kith_frame_ecn *ecn)
{
    kith__frame_put(w, ecn->ect0);
    kith__frame_put(w, ecn->ect1);
    kith__frame_put(w, ecn->ce);
}

void kith__frame_encode_ack(const struct kith_frame *frame, struct kith_frame_parts *parts)
{
    const struct kith_frame_ack *ack = &frame->ack;
    bool is_path_ack = frame->type == KITH_FRAME_PATH_ACK || frame->type == KITH_FRAME_PATH_ACK_ECN;

    kith__frame_put(&parts->head, (frame->type & ~UINT64_C(1)) | (ack->has_ecn ? 1 : 0));
    if (is_path_ack)
        kith__frame_put(&parts->head, ack->path);
    kith__frame_put(&parts->head, ack->largest);
    kith__frame_put(&parts->head, ack->delay);
    kith__frame_put(&parts->head, ack->range_count);
    kith__frame_put(&parts->head, ack->first_range);
    parts->body = ack->ranges;
    if (ack->has_ecn)
        put_ecn(&parts->foot, &ack->ecn);
}

static size_t ecn_size(const struct kith_frame_ecn *ecn)
{
    return ecn == NULL ? 0 : kith__varint_size(ecn->ect0) + kith__varint_size(ecn->ect1) + kith__varint_size(ecn->ce);
}

static uint64_t delay_of(const struct kith_ack_plan *plan)
{
    return KITH_MIN(plan->delay, KITH_VARINT_MAX);
}

/* The frame without further ranges and with their count taking `count_size` bytes. */
static size_t base_size(const struct kith_ack_plan *plan, size_t count_size)
{
    const struct kith_range *top = &plan->ranges[plan->range_count - 1];

    return 1 + (plan->is_path_ack ? kith__varint_size(plan->path) : 0) + kith__varint_size(top->end - 1) +
           kith__varint_size(delay_of(plan)) + count_size + kith__varint_size(top->end - 1 - top->begin) +
           ecn_size(plan->ecn);
}

/* Gap and length of the range at index, below the one that follows it. */
static uint64_t gap_at(const struct kith_ack_plan *plan, size_t index)
{
    return plan->ranges[index + 1].begin - plan->ranges[index].end - 1;
}
static uint64_t length_at(const struct kith_ack_plan *plan, size_t index)
{
    return plan->ranges[index].end - 1 - plan->ranges[index].begin;
}

/* How many ranges, the highest ones, go into `room` bytes; *size: what the frame takes then. */
static size_t fit(const struct kith_ack_plan *plan, size_t room, size_t *size)
{
    size_t count_max = KITH_MIN(plan->ranges_max, plan->range_count), count, used;

    KITH_ASSERT(count_max > 0);
    used = base_size(plan, kith__varint_size(count_max - 1)); /* may reserve a byte too many where few ranges fit */
    if (used > room) {
        count_max = 1;
        used = base_size(plan, 1);
    }
    if (used > room)
        return 0;
    for (count = 1; count < count_max; count++) {
        size_t index = plan->range_count - 1 - count;
        size_t more = kith__varint_size(gap_at(plan, index)) + kith__varint_size(length_at(plan, index));

        if (more > room - used)
            break;
        used += more;
    }
    *size = used - kith__varint_size(count_max - 1) + kith__varint_size(count - 1);
    return count;
}

size_t kith__ack_size(const struct kith_ack_plan *plan)
{
    size_t size = 0;

    fit(plan, SIZE_MAX, &size);
    return size;
}

size_t kith__ack_write(struct kith_writer *w, const struct kith_ack_plan *plan)
{
    uint64_t type = plan->is_path_ack ? KITH_FRAME_PATH_ACK : KITH_FRAME_ACK;
    const struct kith_range *top = &plan->ranges[plan->range_count - 1];
    size_t size = 0, count = fit(plan, kith__writer_left(w), &size);
    uint8_t *end = w->at + size;

    if (count == 0)
        return 0;
    kith__frame_put(w, type | (plan->ecn != NULL ? 1 : 0));
    if (plan->is_path_ack)
        kith__frame_put(w, plan->path);
    kith__frame_put(w, top->end - 1);
    kith__frame_put(w, delay_of(plan));
    kith__frame_put(w, count - 1);
    kith__frame_put(w, top->end - 1 - top->begin);
    for (size_t i = 1; i < count; i++) {
        kith__frame_put(w, gap_at(plan, plan->range_count - 1 - i));
        kith__frame_put(w, length_at(plan, plan->range_count - 1 - i));
    }
    if (plan->ecn != NULL)
        put_ecn(w, plan->ecn);
    KITH_ASSERT(w->at == end);
    return count;
}
