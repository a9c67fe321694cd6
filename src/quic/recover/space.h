/** Packet number spaces. RFC 9000, 12.3. Initial and Handshake belong to path 0; each path has its own data space. */
#ifndef KITH_QUIC_RECOVER_SPACE_H
#define KITH_QUIC_RECOVER_SPACE_H

enum kith_space {
    KITH_SPACE_INITIAL,
    KITH_SPACE_HANDSHAKE,
    KITH_SPACE_DATA, /* 0-RTT and 1-RTT */
    KITH_SPACE_COUNT
};

#endif
