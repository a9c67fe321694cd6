/**
 * Random bytes of the system with a buffer in front: a connection draws a dozen small numbers, and each would be a system
 * call. Requests of more than KITH_UV_RANDOM_DIRECT bytes (keys among them) go to the system directly. What was handed out
 * is wiped from the buffer, and a process made by fork starts with an empty one. One thread at a time.
 */
#ifndef KITH_RT_UV_RANDOM_H
#define KITH_RT_UV_RANDOM_H

#include <kith/types.h>

enum { KITH_UV_RANDOM_SIZE = 512, KITH_UV_RANDOM_DIRECT = 31 };

/** By value in the loop. */
struct kith_uv_random {
    uint8_t bytes[KITH_UV_RANDOM_SIZE];
    size_t left;    /* at the end of bytes */
    unsigned forks; /* how many forks this process came out of when the buffer was filled */
};

/** An empty buffer. After sodium_init. */
void kith__uv_random_init(struct kith_uv_random *random);
/** For struct kith_random; ctx: the struct kith_uv_random. */
void kith__uv_random_fill(void *ctx, uint8_t *out, size_t size);
/** Wipes what is left. */
void kith__uv_random_dispose(struct kith_uv_random *random);

#endif
