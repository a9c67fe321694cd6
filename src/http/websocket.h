/**
 * WebSocket, RFC 6455: the upgrade of both sides, and frames. Sans-IO; no extensions. A reader takes received bytes and
 * hands out whole messages, in place where they lie whole in what was received; writers put frame heads before bytes.
 *
 *     while ((err = kith__ws_reader_next(&reader, &at, end, &event)) == 0)
 *         switch (event.kind) ...       // err is AGAIN when all bytes are taken
 */
#ifndef KITH_HTTP_WEBSOCKET_H
#define KITH_HTTP_WEBSOCKET_H

#include "base/buf.h"
#include "http/head.h"

/* ---- The upgrade ---- */

enum { KITH_WS_KEY_SIZE = 24, KITH_WS_ACCEPT_SIZE = 28, KITH_WS_NONCE_SIZE = 16 };

/** The key of a client's request from 16 random bytes; key holds KITH_WS_KEY_SIZE + 1 bytes. */
void kith__ws_key(const uint8_t nonce[KITH_WS_NONCE_SIZE], char *key);
/** Sec-WebSocket-Accept for a key (RFC 6455, 4.2.2); accept holds KITH_WS_ACCEPT_SIZE + 1 bytes. Any key will do. */
void kith__ws_accept(struct kith_slice key, char *accept);

/**
 * Server: what was found in a request, by kith__ws_check_request. In the order of the checks; each failure is status 400
 * with the text of kith__ws_problem_text, BAD_VERSION also with "Sec-WebSocket-Version: 13". Source: spec/02, 1.3.
 */
enum kith_ws_problem {
    KITH_WS_FINE,
    KITH_WS_NO_UPGRADE,
    KITH_WS_BAD_UPGRADE, /* not byte for byte "websocket" */
    KITH_WS_NO_KEY,
    KITH_WS_NO_VERSION,
    KITH_WS_BAD_VERSION, /* not 13 */
    KITH_WS_NO_PROTOCOL,
    KITH_WS_BAD_PROTOCOL /* not ASCII, or none that we know */
};

/** A request that may be upgraded; borrowed from its head. */
struct kith_ws_offer {
    struct kith_slice key;
    const char *protocol; /* the chosen one: one of those given */
};

/**
 * Server: may this request be upgraded? protocols: those we know, the best first; the first one that the client names
 * in its first Sec-WebSocket-Protocol line wins. Method and path are the caller's to check. *out is written only
 * with KITH_WS_FINE.
 */
enum kith_ws_problem kith__ws_check_request(const struct kith_http_head *head, const char *const *protocols,
                                            size_t protocol_count, struct kith_ws_offer *out);
/** A sentence for the body of the 400. Static. */
const char *kith__ws_problem_text(enum kith_ws_problem problem);
/** Server: the lines of the 101, without the blank one: the caller may add lines. Errors of the head writer. */
KITH_MUST_USE int kith__ws_write_response(struct kith_writer *w, const struct kith_ws_offer *offer);

/**
 * Client: the lines of the request, without the blank one. key as from kith__ws_key; protocols: what we offer, a
 * comma-separated list. Send nothing behind the blank line before the 101 (spec/02, 1.3).
 */
KITH_MUST_USE int kith__ws_write_request(struct kith_writer *w, struct kith_slice target, struct kith_slice host,
                                         const char *key, const char *protocols);
/**
 * Client: is this the 101 to our key? Missing Upgrade and Connection lines and HTTP/1.0 are tolerated (spec/02, 1.4).
 * *chosen: the index of the protocol that the server took. Errors: REFUSED: another status than 101 (see head->status);
 * CRYPTO: no or a wrong Sec-WebSocket-Accept; VERSION: no protocol, or one that we did not offer.
 */
KITH_MUST_USE int kith__ws_check_response(const struct kith_http_head *head, const char *key,
                                          const char *const *protocols, size_t protocol_count, size_t *chosen);

/* ---- Frames ---- */

enum kith_ws_opcode {
    KITH_WS_CONTINUATION = 0,
    KITH_WS_TEXT = 1,
    KITH_WS_BINARY = 2,
    KITH_WS_CLOSE = 8,
    KITH_WS_PING = 9,
    KITH_WS_PONG = 10
};

/** Why a side closes (RFC 6455, 7.4.1). */
enum kith_ws_close {
    KITH_WS_CLOSE_NORMAL = 1000,
    KITH_WS_CLOSE_GOING_AWAY = 1001,
    KITH_WS_CLOSE_PROTOCOL = 1002,
    KITH_WS_CLOSE_NONE = 1005, /* never sent: the close frame named no code */
    KITH_WS_CLOSE_TOO_BIG = 1009,
    KITH_WS_CLOSE_INTERNAL = 1011,
    KITH_WS_CLOSE_RESTART = 1012
};

enum {
    KITH_WS_MESSAGE_SIZE_MAX = 1 << 20, /* spec/02, 1.6 */
    KITH_WS_CONTROL_PAYLOAD_MAX = 125,  /* RFC 6455, 5.5 */
    KITH_WS_FRAME_HEAD_MAX = 14,
    KITH_WS_CONTROL_SIZE_MAX = KITH_WS_CONTROL_PAYLOAD_MAX + 6
};

/** A parsed frame head. */
struct kith_ws_frame {
    uint64_t size;     /* of the payload */
    uint8_t opcode;    /* enum kith_ws_opcode, or a reserved one */
    uint8_t head_size; /* of this head, 2..KITH_WS_FRAME_HEAD_MAX */
    bool is_final, is_masked;
    uint8_t reserved; /* bits 4..6 of the first byte */
    uint8_t mask[4];
};

/** Parses a frame head, only its layout: no rule is checked. Errors: AGAIN: fewer bytes than it has. */
KITH_MUST_USE int kith__ws_frame_parse(const uint8_t *bytes, size_t size, struct kith_ws_frame *out);
/** Bytes of the head that kith__ws_frame_write makes. */
static inline size_t kith__ws_frame_head_size(uint64_t payload_size, bool is_masked)
{
    return 2u + (payload_size < 126 ? 0 : payload_size <= UINT16_MAX ? 2u : 8u) + (is_masked ? 4u : 0u);
}
/** Writes the head of a whole message's frame (final); mask NULL: a server's. Returns its size, as above. */
size_t kith__ws_frame_write(uint8_t out[KITH_WS_FRAME_HEAD_MAX], enum kith_ws_opcode opcode, const uint8_t mask[4],
                            uint64_t payload_size);
/** Masks or unmasks in place; bytes[0] is at `offset` of the payload. */
void kith__ws_mask(uint8_t *bytes, size_t size, const uint8_t mask[4], uint64_t offset);
/** Writes a whole control frame; size <= KITH_WS_CONTROL_PAYLOAD_MAX. Returns its size. mask NULL: a server's. */
size_t kith__ws_control_write(uint8_t out[KITH_WS_CONTROL_SIZE_MAX], enum kith_ws_opcode opcode, const uint8_t mask[4],
                              const uint8_t *payload, size_t size);
/** Writes a close frame; the reason (UTF-8; may be NULL) is cut to fit. Returns its size. */
size_t kith__ws_close_write(uint8_t out[KITH_WS_CONTROL_SIZE_MAX], const uint8_t mask[4], uint16_t code,
                            const char *reason);

/* ---- The reader ---- */

struct kith_ws_reader_options {
    const struct kith_mem *mem;
    bool is_server;            /* frames must be masked; else they must not */
    uint32_t message_size_max; /* 1..KITH_WS_MESSAGE_SIZE_MAX */
};

/** One thing that was received. */
struct kith_ws_event {
    uint8_t kind;   /* enum kith_ws_opcode: TEXT or BINARY: a whole message; PING: answer it with a pong of the same
                         payload; PONG; CLOSE: the last one */
    uint16_t code;  /* CLOSE: enum kith_ws_close, as the peer says, or NONE */
    uint8_t *bytes; /* payload, CLOSE: the reason. Unmasked; may be changed. Valid as long as the received bytes, and
                         until the next call with this reader */
    size_t size;
};

/**
 * Puts messages together. By value in its owner. Memory of its own only while a message is cut by the end of the
 * received bytes or fragmented: less than twice message_size_max + KITH_WS_CONTROL_PAYLOAD_MAX, growing with what
 * arrived and not with what was announced.
 */
struct kith_ws_reader {
    struct kith_ws_reader_options options;
    struct kith_buf held;       /* of the message so far, then of the control frame that interrupts it; unmasked */
    struct kith_ws_frame frame; /* the one whose payload is coming */
    uint64_t frame_done;        /* of its payload */
    uint32_t message_size;      /* of held: the message's */
    uint8_t head[KITH_WS_FRAME_HEAD_MAX], head_size; /* of a frame head that came in pieces */
    uint8_t message_opcode;                          /* of the message under way; 0: none */
    bool is_in_frame, is_handed_out, is_over;
    uint16_t close_code; /* after CLOSE, TRANSPORT, TOO_LARGE, NOMEM: what to send in our close frame */
    int over_err;
};

void kith__ws_reader_init(struct kith_ws_reader *reader, const struct kith_ws_reader_options *options);
void kith__ws_reader_dispose(struct kith_ws_reader *reader);
/**
 * Takes bytes from *at, which moves, up to the next event. The bytes are changed in place. Errors:
 *   AGAIN      all bytes are taken, nothing is complete
 *   END        after CLOSE: what follows is not looked at
 *   TRANSPORT  the peer broke RFC 6455; TOO_LARGE: a message beyond message_size_max; NOMEM: these three come again at
 *              every further call
 */
KITH_MUST_USE int kith__ws_reader_next(struct kith_ws_reader *reader, uint8_t **at, uint8_t *end,
                                       struct kith_ws_event *out);

#endif
