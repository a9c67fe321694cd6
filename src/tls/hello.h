/**
 * What must be known of handshake messages beside what the TLS library says about them: rules of QUIC and of raw
 * public keys that it does not check, and which ticket opens 0-RTT. Pure parsers of untrusted bytes that leave errors
 * which TLS itself defines to the library. Messages come with their 4-byte header. Source: RFC 8446, 4.
 */
#ifndef KITH_TLS_HELLO_H
#define KITH_TLS_HELLO_H

#include <kith/types.h>

/** Types of handshake messages (RFC 8446, 4). */
enum kith_handshake_type {
    KITH_HANDSHAKE_CLIENT_HELLO = 1,
    KITH_HANDSHAKE_SERVER_HELLO = 2,
    KITH_HANDSHAKE_NEW_SESSION_TICKET = 4,
    KITH_HANDSHAKE_ENCRYPTED_EXTENSIONS = 8,
    KITH_HANDSHAKE_KEY_UPDATE = 24
};

enum { KITH_HANDSHAKE_HEADER_SIZE = 4 };

/** Parts of a ClientHello; slices are borrowed from the message. */
struct kith_client_hello {
    bool has_session_id;            /* not empty */
    bool has_client_type;           /* client_certificate_type (19) */
    bool has_server_type;           /* server_certificate_type (20) */
    bool has_early_data;            /* early_data (42) */
    bool has_usable_share;          /* a key share of X25519, P-256 or P-384: no HelloRetryRequest is needed */
    bool has_params;                /* quic_transport_parameters (57) */
    struct kith_slice params;       /* its contents */
    struct kith_slice alpns;        /* protocol names, each behind its length byte; untrusted; empty: none */
    struct kith_slice first_ticket; /* identity 0 of pre_shared_key (41); empty: none */
};

/** KITH_ERR_PARSE if the structure is broken; the library then says with which alert. */
KITH_MUST_USE int kith__client_hello_parse(struct kith_slice message, struct kith_client_hello *out);
/** The same for a message without its header. */
KITH_MUST_USE int kith__client_hello_body_parse(struct kith_slice body_bytes, struct kith_client_hello *out);

/** Parts of EncryptedExtensions, borrowed from the message. */
struct kith_encrypted_extensions {
    bool has_params;
    bool has_early_data;
    struct kith_slice params;
    struct kith_slice alpns; /* as above; one name if the server keeps to the rules */
};

/** KITH_ERR_PARSE if the structure is broken; the library then says with which alert. */
KITH_MUST_USE int kith__encrypted_extensions_parse(struct kith_slice message, struct kith_encrypted_extensions *out);

/**
 * The first name of the list `wanted` that the list `offered` has, borrowed from `wanted`; empty if there is none.
 * Lists are names behind their length bytes; a malformed one ends where it breaks.
 */
struct kith_slice kith__alpn_choose(struct kith_slice wanted, struct kith_slice offered);

/** True if a ServerHello is a HelloRetryRequest (RFC 8446, 4.1.3). */
bool kith__server_hello_is_retry(struct kith_slice message);

/** Parts of a NewSessionTicket. */
struct kith_ticket {
    uint32_t lifetime_s;
    bool has_early_data;
    uint32_t early_data_size;
    struct kith_slice ticket;
};

/** KITH_ERR_PARSE if the structure is broken. */
KITH_MUST_USE int kith__ticket_parse(struct kith_slice message, struct kith_ticket *out);

#endif
