/**
 * Answers of a host that belong to no connection: version negotiation, Retry, refusal, stateless reset. A ring with a
 * fixed number of slots; when it is full the answer is not sent and the caller counts that. Nothing is repeated: a peer
 * that misses an answer asks again.
 */
#ifndef KITH_QUIC_HOST_REPLIES_H
#define KITH_QUIC_HOST_REPLIES_H

#include <kith/types.h>

enum { KITH_REPLIES_MAX = 64, KITH_REPLY_SIZE_MAX = 400 };

struct kith_reply {
    struct kith_sockaddr local, remote;
    size_t size;
    uint8_t bytes[KITH_REPLY_SIZE_MAX];
};

struct kith_replies {
    struct kith_reply *slots; /* NULL until the first answer */
    size_t first, count;
};

/** A slot to fill in, with size 0; NULL when the ring is full or without memory. It is queued with kith__replies_push. */
struct kith_reply *kith__replies_slot(struct kith_replies *replies, const struct kith_mem *mem);
/** Queues the slot that kith__replies_slot gave last, after its size was set. */
void kith__replies_push(struct kith_replies *replies);
/** The oldest answer, valid until the next call on this ring, or NULL; it is taken out. */
const struct kith_reply *kith__replies_pop(struct kith_replies *replies);
void kith__replies_dispose(struct kith_replies *replies, const struct kith_mem *mem);

#endif
