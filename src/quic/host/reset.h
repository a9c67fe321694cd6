/**
 * Stateless resets: the token that belongs to an id of ours, the datagram, and when one may be sent.
 * Owner: the host, by value. Source: RFC 9000, 10.3; spec/01, 1.5.
 */
#ifndef KITH_QUIC_HOST_RESET_H
#define KITH_QUIC_HOST_RESET_H

#include "quic/path/cid.h"

enum {
    KITH_RESET_SIZE_MIN = 21, /* smaller ones are not recognised */
    KITH_RESET_PADDING_IDEAL =
        25 /* with fewer bytes before the token it could not be mistaken for a packet with a 20-byte id */
};

struct kith_reset {
    uint8_t key[32];      /* secret */
    uint64_t interval_ns; /* between two resets: 20 ms */
    uint64_t next_ns;     /* none before this */
};

/** Draws the key; or takes one that was used before. */
void kith__reset_init(struct kith_reset *reset, const struct kith_random *random, uint64_t interval_ns);
void kith__reset_set_key(struct kith_reset *reset, const uint8_t key[32]);
/** Wipes the key. */
void kith__reset_dispose(struct kith_reset *reset);
/** The token of a connection id: the first 16 bytes of the keyed BLAKE3 hash. size <= 20. */
void kith__reset_token(const struct kith_reset *reset, const uint8_t *cid, size_t size,
                       uint8_t out[KITH_RESET_TOKEN_SIZE]);
/**
 * Writes the answer to a datagram of `trigger_size` bytes whose packet carried this id. Returns its size, always smaller
 * than trigger_size so that two hosts cannot keep each other busy; or 0 if none may be sent: the trigger has at most 21
 * bytes, or the last reset is too short ago. capacity >= 21: the answer is never larger.
 */
size_t kith__reset_build(struct kith_reset *reset, const struct kith_random *random, const uint8_t *cid,
                         size_t cid_size, size_t trigger_size, uint8_t *out, size_t capacity, uint64_t now_ns);

#endif
