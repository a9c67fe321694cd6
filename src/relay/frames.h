/**
 * Frames of the relay protocol: one table of facts about all kinds, one struct that holds any of them, one decoder and one
 * encoder for both sides and both protocol versions. A frame is the whole payload of one binary WebSocket message: a varint
 * type (we write one byte, and read any form) and a body; there is no length field.
 *
 * Frames 0 to 3 are the handshake and have postcard bodies, 4 to 13 come after it. A decoded frame borrows from the bytes it was
 * read from. Pure functions, no allocation. Source: spec/02, sections 2 and 3.
 */
#ifndef KITH_RELAY_FRAMES_H
#define KITH_RELAY_FRAMES_H

#include "codec/cursor.h"

/** Kinds, with their numbers on the wire. */
enum kith_relay_kind {
    KITH_RELAY_SERVER_CHALLENGE = 0,
    KITH_RELAY_CLIENT_AUTH = 1,
    KITH_RELAY_SERVER_CONFIRMS_AUTH = 2,
    KITH_RELAY_SERVER_DENIES_AUTH = 3,
    KITH_RELAY_CLIENT_DATAGRAM = 4,
    KITH_RELAY_CLIENT_BATCH = 5,
    KITH_RELAY_SERVER_DATAGRAM = 6,
    KITH_RELAY_SERVER_BATCH = 7,
    KITH_RELAY_ENDPOINT_GONE = 8,
    KITH_RELAY_PING = 9,
    KITH_RELAY_PONG = 10,
    KITH_RELAY_HEALTH = 11,
    KITH_RELAY_RESTARTING = 12,
    KITH_RELAY_STATUS = 13,
    KITH_RELAY_KINDS
};

enum kith_relay_version { KITH_RELAY_V1 = 1, KITH_RELAY_V2 = 2 };

/** Who wrote a frame. */
enum kith_relay_side { KITH_RELAY_FROM_CLIENT = 1, KITH_RELAY_FROM_SERVER = 2 };

enum kith_relay_phase { KITH_RELAY_IN_HANDSHAKE, KITH_RELAY_AFTER_HANDSHAKE };

enum {
    KITH_RELAY_CHALLENGE_SIZE = 16,
    KITH_RELAY_PING_SIZE = 8,
    KITH_RELAY_KEY_AT = 1,                     /* where the key of a datagram frame begins, behind a type of one byte */
    KITH_RELAY_BODY_MAX = 65536,               /* behind the type, on receive */
    KITH_RELAY_FRAME_MAX = 65536,              /* with the type, on send */
    KITH_RELAY_DATAGRAM_OVERHEAD = 1 + 32 + 1, /* type, key, ECN */
    KITH_RELAY_BATCH_OVERHEAD = 1 + 32 + 1 + 2, /* and the size of a segment */
    KITH_RELAY_DATAGRAM_PAYLOAD_MAX = KITH_RELAY_FRAME_MAX - KITH_RELAY_DATAGRAM_OVERHEAD, /* 65,502 */
    KITH_RELAY_BATCH_PAYLOAD_MAX = KITH_RELAY_FRAME_MAX - KITH_RELAY_BATCH_OVERHEAD,       /* 65,500 */
    KITH_RELAY_CONTROL_FRAME_MAX = 128 /* Pong, Status, Health, EndpointGone, Restarting: each is shorter */
};

/** Codes of a Status frame; others may come and are kept as numbers. */
enum kith_relay_status {
    KITH_RELAY_STATUS_HEALTHY = 0,
    KITH_RELAY_STATUS_SAME_ID_CONNECTED = 1, /* a newer connection with the same key receives what is for it */
    KITH_RELAY_STATUS_RATE_LIMITED = 2
};

/** What version 1 says in place of a Status; static. NULL for codes that it has no words for (they are not sent then). */
const char *kith__relay_health_text(uint8_t status_code);

/** Facts about one kind. */
struct kith_relay_frame_info {
    const char *name;  /* "EndpointGone": for logs and counters */
    uint8_t kind;      /* enum kith_relay_kind */
    uint8_t sides;     /* sum of enum kith_relay_side: who may send it */
    uint8_t phase;     /* enum kith_relay_phase */
    uint8_t versions;  /* bit v: allowed in protocol version v */
    uint32_t body_min; /* smallest and largest body, in bytes */
    uint32_t body_max;
};

/** The facts about a kind below KITH_RELAY_KINDS; static. */
const struct kith_relay_frame_info *kith__relay_frame_info(uint64_t kind);

/** A datagram frame, or a batch of datagrams of equal size (the last one may be shorter). */
struct kith_relay_datagram {
    const uint8_t *key; /* KITH_ID_SIZE bytes: the destination from a client, the source from a server */
    struct kith_slice payload;
    uint16_t segment_size; /* 0: the payload is one datagram */
    uint8_t ecn;           /* as in an IP header: 0 none, 1 ECT(1), 2 ECT(0), 3 CE */
};

/** One frame; which member is used follows from kind. Pointers and slices borrow. */
struct kith_relay_frame {
    enum kith_relay_kind kind;
    union {
        const uint8_t *challenge; /* SERVER_CHALLENGE: KITH_RELAY_CHALLENGE_SIZE bytes */
        struct {
            const uint8_t *key;              /* KITH_ID_SIZE bytes */
            const uint8_t *signature;        /* KITH_SIGNATURE_SIZE bytes */
        } auth;                              /* CLIENT_AUTH */
        struct kith_slice text;              /* SERVER_DENIES_AUTH (the reason), HEALTH; UTF-8 */
        struct kith_relay_datagram datagram; /* CLIENT_DATAGRAM, CLIENT_BATCH, SERVER_DATAGRAM, SERVER_BATCH */
        const uint8_t *key;                  /* ENDPOINT_GONE: KITH_ID_SIZE bytes */
        const uint8_t *ping;                 /* PING, PONG: KITH_RELAY_PING_SIZE bytes */
        struct {
            uint32_t reconnect_in_ms, try_for_ms;
        } restarting;   /* RESTARTING */
        uint8_t status; /* STATUS: enum kith_relay_status, or a code of the future */
    };
};

/** What is legal at the moment: from whom, when, in which version. */
struct kith_relay_rules {
    enum kith_relay_side from;
    enum kith_relay_phase phase;
    enum kith_relay_version version;
};

/**
 * Decodes one message. Untrusted. Errors, each of which ends the connection (a client may skip UNSUPPORTED: spec/02, 9.4):
 *   UNSUPPORTED  a type that does not exist
 *   TRANSPORT    a type from the wrong side, in the wrong phase, or of another protocol version
 *   TRUNCATED    no type, or a body that is too short
 *   TOO_LARGE    a body that is too long
 *   PARSE        a text that is not UTF-8, a signature of another length
 * A batch with segment size 0 comes out as a single datagram (kind CLIENT_DATAGRAM or SERVER_DATAGRAM). A datagram's payload
 * may be empty or larger than what may be sent: see kith__relay_payload_is_sendable. *reason, if not NULL, gets a static text
 * on errors.
 */
int kith__relay_frame_decode(struct kith_slice message, struct kith_relay_rules rules, struct kith_relay_frame *out,
                             const char **reason);

/**
 * True if a datagram of this payload can be sent on: 1 to 65,502 bytes (65,500 in a batch), no more than every receiver takes. An
 * empty or larger one makes some receivers end their connection (spec/02, 3.2).
 */
static inline bool kith__relay_payload_is_sendable(size_t payload_size, uint16_t segment_size)
{
    return payload_size >= 1 &&
           payload_size <= (size_t)(segment_size != 0 ? KITH_RELAY_BATCH_PAYLOAD_MAX : KITH_RELAY_DATAGRAM_PAYLOAD_MAX);
}

/** Bytes of the encoded frame, with its type. */
size_t kith__relay_frame_size(const struct kith_relay_frame *frame);

/**
 * Appends the frame to w. KITH_ERR_TOO_LARGE: no room, or a text that makes the frame larger than KITH_RELAY_FRAME_MAX;
 * KITH_ERR_INVALID: a payload that is not sendable. Nothing was written then. A datagram frame with a segment size is written
 * as a batch and one without as a single datagram, whichever of both kinds `frame` has.
 */
int kith__relay_frame_encode(const struct kith_relay_frame *frame, struct kith_writer *w);

/**
 * Writes what stands before the payload of a datagram frame; out holds KITH_RELAY_BATCH_OVERHEAD bytes. The payload follows
 * unchanged. Returns the size. from: who sends the frame. For who has the payload elsewhere already (forwarding, sending).
 */
size_t kith__relay_datagram_head(enum kith_relay_side from, const struct kith_relay_datagram *datagram, uint8_t *out);

#endif
