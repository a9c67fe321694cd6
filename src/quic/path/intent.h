/** Where a fact stands that the peer is to be told: with the frame due, in flight, or known to have arrived. */
#ifndef KITH_QUIC_PATH_INTENT_H
#define KITH_QUIC_PATH_INTENT_H

enum kith_intent {
    KITH_INTENT_NONE,
    KITH_INTENT_DUE,  /* a frame should go out, for the first time or again */
    KITH_INTENT_SENT, /* in flight */
    KITH_INTENT_ACKED /* the peer knows */
};

#endif
