/**
 * kith/types.h: the words that every other header of kith uses: error codes, byte slices, the allocator hook, socket
 * addresses, endpoint ids. Includes nothing of kith; needs C11.
 *
 * Thread rules: everything here is a plain value or a pure function and may be used from any thread.
 */
#ifndef KITH_TYPES_H
#define KITH_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define KITH_API      __attribute__((visibility("default")))
#define KITH_MUST_USE __attribute__((warn_unused_result))
#else
#define KITH_API
#define KITH_MUST_USE
#endif

#ifdef __cplusplus
extern "C" {
#endif

/** All times are unsigned nanoseconds; points in time are on one monotonic clock with an arbitrary origin. */
#define KITH_NEVER     UINT64_MAX /* a deadline that does not come */
#define KITH_WAIT      UINT64_MAX /* a time limit: wait as long as it takes */
#define KITH_NS_PER_US 1000ull
#define KITH_NS_PER_MS 1000000ull
#define KITH_NS_PER_S  1000000000ull

/**
 * Error codes: X(name, number, text). A function that can fail returns 0 or one of these (negative) numbers. Numbers are
 * part of the ABI and never change meaning. kith_strerror gives the text.
 */
#define KITH_ERRORS(X)                                                                                                 \
    X(NOMEM, -1, "out of memory")                                                                                      \
    X(INVALID, -2, "invalid argument")                                                                                 \
    X(STATE, -3, "not possible in the present state")                                                                  \
    X(AGAIN, -4, "not ready yet, try again")                                                                           \
    X(TIMEOUT, -5, "the time limit passed")                                                                            \
    X(CANCELLED, -6, "cancelled")                                                                                      \
    X(CLOSED, -7, "closed")                                                                                            \
    X(IO, -8, "input/output error")                                                                                    \
    X(NOT_FOUND, -9, "not found")                                                                                      \
    X(EXISTS, -10, "exists already")                                                                                   \
    X(PERMISSION, -11, "permission denied")                                                                            \
    X(NO_SPACE, -12, "no space left on the device")                                                                    \
    X(ADDRESS_IN_USE, -13, "address already in use")                                                                   \
    X(UNREACHABLE, -14, "no route to the address")                                                                     \
    X(PARSE, -15, "malformed input")                                                                                   \
    X(TOO_LARGE, -16, "larger than the limit allows")                                                                  \
    X(LIMIT, -17, "a limit was reached")                                                                               \
    X(UNSUPPORTED, -18, "not supported")                                                                               \
    X(CRYPTO, -19, "cryptographic check failed")                                                                       \
    X(TLS, -20, "TLS handshake failed")                                                                                \
    X(WRONG_PEER, -21, "the other side has another key than the one that was dialled")                                 \
    X(ALPN, -22, "the two sides have no application protocol in common")                                               \
    X(REFUSED, -23, "the other side refused the connection")                                                           \
    X(VERSION, -24, "the two sides have no protocol version in common")                                                \
    X(RESET, -25, "the other side reset the stream")                                                                   \
    X(STOPPED, -26, "the other side stopped reading the stream")                                                       \
    X(CLOSED_BY_PEER, -27, "the other side closed the connection")                                                     \
    X(TRANSPORT, -28, "the other side broke the transport protocol, or says that we did")                              \
    X(LOST, -29, "the other side forgot the connection")                                                               \
    X(IDLE, -30, "the connection timed out: the other side was silent too long")                                       \
    X(HASH, -31, "the bytes do not match their hash")                                                                  \
    X(TRUNCATED, -32, "the data ended too early")                                                                      \
    X(NO_ADDRESS, -33, "no address is known for the other side")                                                       \
    X(END, -34, "end of the stream")                                                                                   \
    X(INTERNAL, -35, "internal error")

enum kith_err {
    KITH_OK = 0,
#define KITH_ERR_ENUM(name, number, text) KITH_ERR_##name = number,
    KITH_ERRORS(KITH_ERR_ENUM)
#undef KITH_ERR_ENUM
};

/**
 * The text of an error code, without a full stop. Never NULL: an unknown number gives "unknown error". The string is
 * static.
 */
KITH_API const char *kith_strerror(int err);

/** The name of an error code as it stands in the source ("KITH_ERR_NOMEM"), for logs and --json. Never NULL; static. */
KITH_API const char *kith_err_name(int err);

/** Borrowed bytes: valid until the callee returns, unless the function says otherwise. ptr may be NULL if size is 0. */
struct kith_slice {
    const uint8_t *ptr;
    size_t size;
};

/**
 * Where memory comes from. `resize(ctx, NULL, n)` allocates n > 0 bytes aligned for any object, `resize(ctx, p, n)` moves,
 * `resize(ctx, p, 0)` frees and returns NULL (p may be NULL). A failed call returns NULL and leaves p as it was. The hook
 * is called by the thread that uses the object. It covers kith's own allocations, not those inside GnuTLS and libuv.
 */
struct kith_mem {
    void *(*resize)(void *ctx, void *ptr, size_t size);
    void *ctx;
};

/** The default: malloc, realloc, free. Static, never changes. */
KITH_API const struct kith_mem *kith_mem_default(void);

/** RELAY: no address of a network but a way through a relay to one endpoint; means something in this process only. */
enum kith_family { KITH_FAMILY_NONE = 0, KITH_FAMILY_V4 = 4, KITH_FAMILY_V6 = 6, KITH_FAMILY_RELAY = 7 };

/**
 * A socket address by value. IPv4 uses ip[0..3]; the rest is zero. Always canonical: an IPv4-mapped IPv6 address that
 * comes from a socket is stored as IPv4. RELAY uses ip[0..7], a number, big-endian. All bytes that a family does not use are
 * zero, so that memcmp compares.
 */
struct kith_sockaddr {
    uint8_t ip[16];
    uint32_t scope_id; /* IPv6 link-local only, else 0 */
    uint16_t port;     /* host byte order */
    uint8_t family;    /* enum kith_family */
    uint8_t zero;
};

enum { KITH_SOCKADDR_TEXT_SIZE = 64 }; /* fits any text of kith_sockaddr_format, with its end */

/**
 * Parses "1.2.3.4:80", "[2001:db8::1]:80", "[fe80::1%2]:80" (numeric scope). Strict: decimal without leading zeros,
 * brackets around IPv6. KITH_ERR_PARSE otherwise; *out is written only on success. Source: spec/03, 2.2.
 */
KITH_API KITH_MUST_USE int kith_sockaddr_parse(const char *text, struct kith_sockaddr *out);

/**
 * Writes the form above; an address without family gives "none", a way through a relay "relay:" and its number. `text` holds
 * KITH_SOCKADDR_TEXT_SIZE bytes. Returns text.
 */
KITH_API const char *kith_sockaddr_format(const struct kith_sockaddr *addr, char *text);

/** True if both are the same address (family, ip, scope and port). */
KITH_API bool kith_sockaddr_equal(const struct kith_sockaddr *a, const struct kith_sockaddr *b);

enum { KITH_ID_SIZE = 32, KITH_SECRET_SIZE = 32, KITH_SIGNATURE_SIZE = 64, KITH_HASH_SIZE = 32 };

enum { KITH_USER_DATA_SIZE_MAX = 245 }; /* what an endpoint may publish beside its addresses: 255 less "user-data=" */

/** Who an endpoint is: its Ed25519 public key, as received. */
struct kith_id {
    uint8_t bytes[KITH_ID_SIZE];
};

/** The secret key of an endpoint: the RFC 8032 seed. Wipe it (kith_secret_wipe) when done. */
struct kith_secret {
    uint8_t bytes[KITH_SECRET_SIZE];
};

/** A BLAKE3 hash. */
struct kith_hash {
    uint8_t bytes[KITH_HASH_SIZE];
};

/** A source of random bytes for keys and protocol randomness. `fill` must not fail. */
struct kith_random {
    void (*fill)(void *ctx, uint8_t *out, size_t size);
    void *ctx;
};

#ifdef __cplusplus
}
#endif
#endif
