/** What the files of the stream set share. Nobody else includes it. */
#ifndef KITH_QUIC_STREAM_STREAM_SET_INNER_H
#define KITH_QUIC_STREAM_STREAM_SET_INNER_H

#include "quic/stream/stream_set.h"

#define KITH_STREAM_COUNT_MAX (UINT64_C(1) << 60) /* RFC 9000, 4.6 */

static inline uint64_t kith__stream_index(uint64_t id)
{
    return id >> 2;
}
/** 0 bidi, 1 uni: the index into the pairs of the set. */
static inline int kith__stream_kind(uint64_t id)
{
    return kith__stream_id_is_bidi(id) ? 0 : 1;
}
static inline bool kith__stream_is_ours(const struct kith_stream_set *set, uint64_t id)
{
    return kith__stream_id_is_server(id) == set->config.is_server;
}

/** Adds the next stream of its kind. KITH_ERR_NOMEM leaves the set as it was. */
int kith__stream_set_create(struct kith_stream_set *set, uint64_t id, struct kith_stream **out);
/**
 * Puts a stream into the lists where it belongs now, gives credit back, and frees it if it is over and told. To be called
 * after every change of a stream; the pointer may be invalid afterwards.
 */
void kith__stream_set_touch(struct kith_stream_set *set, struct kith_stream *stream);
/** Touches all streams. */
void kith__stream_set_touch_all(struct kith_stream_set *set);
/** Room in the send buffer grew: wakes writers. */
void kith__stream_set_wake_writers(struct kith_stream_set *set);
/** The bytes a stream held went from `before` to what it holds now. */
void kith__stream_set_on_held(struct kith_stream_set *set, const struct kith_stream *stream, uint64_t before);

#endif
