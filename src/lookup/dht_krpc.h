/**
 * KRPC, the messages of the DHT: one bencoded dictionary in one datagram, a question, its answer or an error. Bytes in, bytes
 * out. Source: BEP 5, 42 (`ip`), 43 (`ro`), 44 (`get`, `put`); spec/03, 11.
 */
#ifndef KITH_LOOKUP_DHT_KRPC_H
#define KITH_LOOKUP_DHT_KRPC_H

#include "lookup/dht_id.h"

enum {
    KITH_KRPC_TRANSACTION_MAX = 16, /* of others'; real ones have 2 to 4 bytes, ours 4 */
    KITH_KRPC_TOKEN_MAX = 64,       /* of others'; real ones have 4 to 20 bytes */
    KITH_KRPC_VALUE_MAX = 1000,     /* a string; with its length in front 1,005 */
    KITH_KRPC_SALT_MAX = 64,
    KITH_KRPC_SIZE_MAX = 2048 /* of a message. A large value and 20 nodes need 1,800 */
};

enum kith_krpc_kind { KITH_KRPC_QUESTION, KITH_KRPC_ANSWER, KITH_KRPC_ERROR };

enum kith_krpc_method {
    KITH_KRPC_PING,
    KITH_KRPC_FIND_NODE,
    KITH_KRPC_GET_PEERS,
    KITH_KRPC_ANNOUNCE_PEER,
    KITH_KRPC_GET,
    KITH_KRPC_PUT,
    KITH_KRPC_METHODS, /* also: another word */
};

/** Numbers of errors: BEP 5 and 44. */
enum {
    KITH_KRPC_GENERIC = 201,
    KITH_KRPC_SERVER = 202,
    KITH_KRPC_PROTOCOL = 203, /* also a bad token */
    KITH_KRPC_METHOD = 204,
    KITH_KRPC_VALUE_TOO_BIG = 205,
    KITH_KRPC_BAD_SIGNATURE = 206,
    KITH_KRPC_SALT_TOO_BIG = 207,
    KITH_KRPC_CAS_MISMATCH = 301,
    KITH_KRPC_OLD_SEQ = 302
};

/** A message. Slices are borrowed; one with ptr NULL is not there. Parts of a kind that do not belong to it are ignored. */
struct kith_krpc {
    enum kith_krpc_kind kind;
    enum kith_krpc_method method;  /* QUESTION */
    struct kith_slice transaction; /* 1..KITH_KRPC_TRANSACTION_MAX bytes */
    struct kith_slice version;     /* of the sender's program: 4 bytes, or anything */
    struct kith_sockaddr ip;       /* the receiver's address, as the sender of an answer sees it; no family: not told */
    bool is_read_only;             /* QUESTION: the sender answers nobody */
    struct kith_dht_id id;         /* of the sender; not in errors */
    bool has_target, has_seq, has_cas;
    struct kith_dht_id target; /* of find_node, get, get_peers, put, announce_peer */
    int64_t seq, cas;
    struct kith_slice token;
    struct kith_slice nodes;     /* of KITH_DHT_NODE_SIZE each; what is left over at the end is ignored */
    struct kith_slice key;       /* 32 bytes, checked */
    struct kith_slice signature; /* 64 bytes, checked */
    struct kith_slice salt;
    struct kith_slice value;       /* encoded */
    struct kith_slice value_bytes; /* its inside, if it is a string */
    int64_t error_code;            /* ERROR */
    struct kith_slice error_text;
};

/**
 * Reads one (untrusted). Anything behind the dictionary is ignored, as are keys that nobody knows. Errors: those of
 * kith__bencode_read; PARSE: no dictionary, no kind, no transaction or too long a one, no id, an id or a target of another size, a question
 * without a method or without what the method needs. In answers a key or a signature of another size is as not there: they may be
 * of use for their nodes.
 */
KITH_MUST_USE int kith__krpc_read(struct kith_slice bytes, struct kith_krpc *out);
/** Writes one; from it only what is there and belongs to the kind. TOO_LARGE. */
KITH_MUST_USE int kith__krpc_write(const struct kith_krpc *message, uint8_t *out, size_t cap, size_t *size);

/** How many nodes it tells of. */
static inline size_t kith__krpc_node_count(const struct kith_krpc *message)
{
    return message->nodes.size / KITH_DHT_NODE_SIZE;
}
static inline struct kith_dht_node kith__krpc_node(const struct kith_krpc *message, size_t index)
{
    return kith__dht_node_read(message->nodes.ptr + index * KITH_DHT_NODE_SIZE);
}

#endif
