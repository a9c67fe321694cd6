/* Building one packet in place: see packet_out.h. */
#include "quic/conn/packet_out.h"

#include "base/assert.h"
#include "quic/guard/seal.h"

/* A packet and its number have at least 4 bytes to sample (RFC 9001, 5.4.2); a short header gets one more, so that a
   stateless reset for it can be shorter than it (spec/01, 1.2). */
enum { PAYLOAD_AND_NUMBER_MIN = 4, PAYLOAD_AND_NUMBER_SHORT_MIN = 5, ROOM_MIN = 16 };

static struct kith_keys *keys_of(struct kith_quic_conn *conn, enum kith_level level)
{
    switch (level) {
    case KITH_LEVEL_INITIAL:
        return &conn->early->spaces[KITH_SPACE_INITIAL].keys;
    case KITH_LEVEL_HANDSHAKE:
        return &conn->early->spaces[KITH_SPACE_HANDSHAKE].keys;
    case KITH_LEVEL_EARLY:
        return &conn->early->zero_rtt;
    case KITH_LEVEL_DATA:
        break;
    }
    return &conn->keys;
}

static const uint8_t packet_types[] = { [KITH_LEVEL_INITIAL] = KITH_PACKET_INITIAL,
                                        [KITH_LEVEL_HANDSHAKE] = KITH_PACKET_HANDSHAKE,
                                        [KITH_LEVEL_EARLY] = KITH_PACKET_ZERO_RTT,
                                        [KITH_LEVEL_DATA] = KITH_PACKET_ONE_RTT };

static struct kith_packet_header header_of(const struct kith_packet_out *out)
{
    struct kith_quic_conn *conn = out->conn;
    const struct kith_cid *dcid = kith__cid_theirs_active(&out->path->cids_theirs);
    struct kith_packet_header header = { .type = packet_types[out->level], .pn_size = out->pn_size, .pn = out->number };

    KITH_ASSERT(dcid != NULL);
    header.dcid = *dcid;
    if (out->level == KITH_LEVEL_DATA) {
        header.spin = out->path->spin;
        return header;
    }
    header.scid = out->path->cids_ours.slots[0].cid;
    if (out->level == KITH_LEVEL_INITIAL)
        header.token = kith__buf_slice(&conn->early->token);
    return header;
}

int kith__packet_out_begin(struct kith_packet_out *out, struct kith_quic_conn *conn, struct kith_path *path,
                           enum kith_level level, uint8_t *at, size_t room)
{
    struct kith_writer w = kith__writer(at, room);
    struct kith_packet_header header;
    struct kith_sent *entry;
    int err;

    out->conn = conn;
    out->path = path;
    out->level = (uint8_t)level;
    out->space = level == KITH_LEVEL_INITIAL     ? KITH_SPACE_INITIAL
                 : level == KITH_LEVEL_HANDSHAKE ? KITH_SPACE_HANDSHAKE
                                                 : KITH_SPACE_DATA;
    out->log = kith__conn_sent_log(conn, path, (enum kith_space)out->space);
    out->keys = keys_of(conn, level);
    out->packet = at;
    out->flags = level == KITH_LEVEL_EARLY ? KITH_SENT_EARLY : 0;
    out->flags |= KITH_SENT_PROBING;
    out->is_full = out->is_challenge = out->is_padded_to_min = false;
    if ((err = kith__sent_begin(out->log, &out->number)) != 0)
        return err;
    out->pn_size = (uint8_t)kith__pn_size(out->number,
                                          out->log->acked_end != 0 ? out->log->acked_end - 1 : KITH_PN_NONE);
    header = header_of(out);
    err = kith__packet_write_header(&w, &header, &out->marks);
    if (err == 0 && kith__writer_left(&w) < ROOM_MIN + KITH_AEAD_TAG_SIZE)
        err = KITH_ERR_TOO_LARGE;
    if (err != 0) {
        kith__sent_abandon(out->log);
        return err;
    }
    entry = kith__sent_building(out->log);
    entry->key_phase = (uint8_t)conn->keys.write_generation;
    kith__path_stamp(out->path, entry);
    out->w = kith__writer(w.at, kith__writer_left(&w) - KITH_AEAD_TAG_SIZE);
    return 0;
}

bool kith__packet_out_has_room(const struct kith_packet_out *out, size_t size)
{
    return !out->is_full && kith__writer_left(&out->w) >= size && kith__sent_has_record_room(out->log);
}

int kith__packet_out_record(struct kith_packet_out *out, const struct kith_sent_frame *record)
{
    return kith__sent_add_frame(out->log, record);
}

void kith__packet_out_note(struct kith_packet_out *out, uint64_t type)
{
    const struct kith_frame_info *info = kith__frame_info(type);

    if (info->ack_eliciting)
        out->flags |= KITH_SENT_ELICITING;
    if (info->in_flight)
        out->flags |= KITH_SENT_COUNTED;
    if (!info->probing)
        out->flags &= (uint8_t)~KITH_SENT_PROBING;
}

bool kith__packet_out_frame(struct kith_packet_out *out, const struct kith_frame *frame,
                            const struct kith_sent_frame *record)
{
    if (!kith__packet_out_has_room(out, kith__frame_size(frame)))
        return false;
    if (record != NULL && kith__packet_out_record(out, record) != 0)
        return false;
    if (kith__frame_write(&out->w, frame) != 0) {
        if (record != NULL)
            kith__sent_undo_frame(out->log);
        return false;
    }
    kith__packet_out_note(out, frame->type);
    kith__qlog_frame(&out->conn->qlog, frame);
    return true;
}

size_t kith__packet_out_size(const struct kith_packet_out *out)
{
    size_t payload = kith__writer_size(&out->w);
    size_t least = (out->level == KITH_LEVEL_DATA ? PAYLOAD_AND_NUMBER_SHORT_MIN : PAYLOAD_AND_NUMBER_MIN) -
                   out->pn_size;

    return out->marks.payload_offset + KITH_MAX(payload, least) + KITH_AEAD_TAG_SIZE;
}

void kith__packet_out_pad(struct kith_packet_out *out, size_t size)
{
    size_t now = out->marks.payload_offset + kith__writer_size(&out->w) + KITH_AEAD_TAG_SIZE;

    if (out->is_full || size <= now)
        return;
    if (kith__write_zeros(&out->w, KITH_MIN(size - now, kith__writer_left(&out->w))) == 0)
        out->flags |= KITH_SENT_COUNTED;
}

int kith__packet_out_end(struct kith_packet_out *out)
{
    struct kith_quic_conn *conn = out->conn;
    size_t size = kith__packet_out_size(out), payload = kith__writer_size(&out->w);
    size_t least = size - out->marks.payload_offset - KITH_AEAD_TAG_SIZE;
    int err;

    if (payload < least)
        KITH_ASSERT(kith__write_zeros(&out->w, least - payload) == 0); /* begin made sure of the room */
    if (out->marks.length_offset != 0)
        kith__packet_set_length(out->packet, &out->marks, size - out->marks.pn_offset);
    err = kith__packet_seal(out->keys, out->packet, out->marks.pn_offset, out->pn_size, least, out->number,
                            out->level == KITH_LEVEL_DATA ? out->path->id : 0);
    if (err != 0) {
        kith__packet_out_abandon(out);
        return kith__conn_fail(conn, err == KITH_ERR_LIMIT ? KITH_WIRE_AEAD_LIMIT_REACHED : KITH_WIRE_INTERNAL_ERROR, 0,
                               "packet protection");
    }
    if ((out->flags & KITH_SENT_ELICITING) != 0)
        out->flags |= KITH_SENT_COUNTED;
    if (conn->is_off_path_now) { /* to an address where nobody may be: its loss says nothing about the path */
        out->flags &= KITH_SENT_PROBING;
        kith__sent_building(out->log)->epoch = KITH_EPOCH_GONE;
    } else if (kith__ecn_mark(&out->path->now.ecn) != 0) {
        out->flags |= KITH_SENT_ECT0;
    }
    kith__sent_commit(out->log, (uint16_t)size, out->flags, conn->now_ns);
    kith__path_on_sent(out->path, (uint16_t)size, out->flags, conn->now_ns);
    conn->stats.packets_sent++;
    conn->stats.bytes_sent += size;
    return 0;
}

void kith__packet_out_abandon(struct kith_packet_out *out)
{
    kith__sent_abandon(out->log);
    kith__qlog_packet_cancel(&out->conn->qlog);
}
