/** JSON helpers of the qlog files; nobody else includes this. Every function accepts NULL objects and lets failures pass as NULL. */
#ifndef KITH_QUIC_QLOG_QLOG_JSON_H
#define KITH_QUIC_QLOG_QLOG_JSON_H

#include <jansson.h>
#include <kith/types.h>

struct kith_frame;

/** Sets a member; the value is taken over. A NULL value marks the object as incomplete: `failed` becomes true. */
static inline void kith__qlog_set(json_t *object, const char *key, json_t *value, bool *failed)
{
    if (value == NULL || json_object_set_new(object, key, value) != 0)
        *failed = true;
}
static inline void kith__qlog_set_u64(json_t *object, const char *key, uint64_t value, bool *failed)
{
    kith__qlog_set(object, key, json_integer((json_int_t)(value > INT64_MAX ? INT64_MAX : value)), failed);
}
/** Lower-case hex of any bytes. */
json_t *kith__qlog_hex(struct kith_slice bytes);
/** Untrusted text: as it is if it is UTF-8, else in hex with "hex:" before it. */
json_t *kith__qlog_text(struct kith_slice bytes);
/** "1.2.3.4:80". */
json_t *kith__qlog_address(const struct kith_sockaddr *address);
/** The object for a frame, or NULL without memory. */
json_t *kith__qlog_frame_json(const struct kith_frame *frame);

#endif
