/** What context.c and tls.c share: the only structs with types of the TLS library in them. */
#ifndef KITH_TLS_INTERNAL_H
#define KITH_TLS_INTERNAL_H

#include "base/buf.h"
#include "crypto/hkdf.h"
#include "crypto/sign.h"
#include "tls/blob.h"
#include "tls/issued.h"
#include "tls/outbox.h"
#include "tls/tls.h"

#include <gnutls/gnutls.h>

enum { KITH_TLS_TICKET_KEY_SIZE = 64 };

/** See tls.h. Owner: the host. */
struct kith_tls_context {
    const struct kith_mem *mem;
    size_t users;                                 /* its maker, until kith__tls_context_free, and handshakes */
    struct kith_keypair keypair;                  /* raw public keys: ours; signs for the credentials */
    gnutls_certificate_credentials_t credentials; /* our raw public key; the verify function is kith__tls_verify */
    gnutls_priority_t priority;
    gnutls_anti_replay_t anti_replay; /* asks kith__tls_allows_early */
    uint8_t ticket_key[KITH_TLS_TICKET_KEY_SIZE];
    uint8_t blob_key[KITH_BLOB_KEY_SIZE];
    struct kith_issued issued;
    struct kith_tls *current; /* the server that is taking a ClientHello: the library does not say for whom it asks */
    bool is_x509;             /* certificates instead of raw public keys: x509.h */
    bool has_certificate;     /* X.509: can serve */
    bool accepts_any;         /* X.509: clients check nothing */
};

enum kith_tls_state {
    KITH_TLS_SHAKING, /* until the peer's Finished */
    KITH_TLS_READY,   /* the handshake is complete; only tickets can come */
    KITH_TLS_OVER     /* failed; `failure` says how, unless memory ran out */
};

/** See tls.h. Owner: the connection. */
struct kith_tls {
    struct kith_tls_context *ctx; /* borrowed; outlives us */
    gnutls_session_t session;     /* NULL after kith__tls_shed */
    struct kith_outbox outbox;
    struct kith_buf partial;     /* a message whose end is missing, from its header on */
    uint32_t skip_size;          /* bytes of a late message that still have to be passed over */
    struct kith_buf own_params;  /* until READY */
    struct kith_buf peer_params; /* client, for session blobs: until shed */
    struct kith_buf alpns;       /* ours, each behind its length byte: until READY (server) or shed (client) */
    struct kith_slice
        alpns_sent;         /* what the ALPN extension of ours carries, in alpns; empty: the library sends its own */
    struct kith_slice alpn; /* the chosen one, in alpns */
    struct kith_buf server_name;    /* client with X.509, ends with a zero byte: until shed */
    struct kith_buf session_bytes;  /* client: the session that was offered, until READY */
    struct kith_blob offered;       /* client: its parts, in session_bytes */
    struct kith_slice first_ticket; /* server, while a ClientHello is taken in: its first ticket; borrowed */
    struct kith_tls_output failure; /* state OVER: kind FAILED or RETRY until it is taken, else 0 */
    struct kith_id expected;        /* client; X.509: a digest of server_name */
    struct kith_id peer;            /* READY; X.509: as expected */
    uint64_t tickets_ignored;
    uint64_t early_tag;      /* server */
    unsigned tickets;        /* server: sent; client: read */
    uint16_t cipher;         /* READY: enum kith_cipher */
    uint8_t state;           /* enum kith_tls_state */
    uint8_t read_level;      /* enum kith_tls_level */
    uint8_t early;           /* READY: enum kith_tls_early */
    uint8_t exporter_digest; /* enum kith_digest; 0 before the secret is known */
    uint8_t exporter[KITH_DIGEST_SIZE_MAX];
    uint8_t binding[KITH_ISSUED_BINDING_SIZE]; /* server: what 0-RTT of our tickets hangs on; set with alpn */
    bool is_server, key_log, resumed, out_of_memory;
    bool takes_early;      /* client: may offer it; server: may accept it */
    bool early_offered;    /* in the ClientHello, with a ticket */
    bool session_is_stale; /* client: the library does not take it, or offered 0-RTT and left out the ticket, too old */
    bool has_usable_share; /* server: the ClientHello needs no HelloRetryRequest */
    bool params_published;
};

/**
 * Alerts that we send on our own account (RFC 8446, 6; RFC 7301), as QUIC codes (RFC 9001, 4.8), and transport errors.
 */
enum kith_tls_code {
    KITH_TLS_CODE_PARAMS = 0x08,
    KITH_TLS_CODE_PROTOCOL_VIOLATION = 0x0a,
    KITH_TLS_CODE_ALERT = 0x100,
    KITH_TLS_CODE_UNEXPECTED_MESSAGE = 0x10a,
    KITH_TLS_CODE_HANDSHAKE_FAILURE = 0x128,
    KITH_TLS_CODE_BAD_CERTIFICATE = 0x12a,
    KITH_TLS_CODE_UNSUPPORTED_CERTIFICATE = 0x12b,
    KITH_TLS_CODE_CERTIFICATE_REVOKED = 0x12c,
    KITH_TLS_CODE_CERTIFICATE_EXPIRED = 0x12d,
    KITH_TLS_CODE_ILLEGAL_PARAMETER = 0x12f,
    KITH_TLS_CODE_UNKNOWN_CA = 0x130,
    KITH_TLS_CODE_DECRYPT_ERROR = 0x133,
    KITH_TLS_CODE_INTERNAL = 0x150,
    KITH_TLS_CODE_MISSING_EXTENSION = 0x16d,
    KITH_TLS_CODE_CERTIFICATE_REQUIRED = 0x174,
    KITH_TLS_CODE_NO_ALPN = 0x178
};

/** Ends the handshake with a wire code and a static text; the first reason stays. Returns KITH_ERR_TLS. */
int kith__tls_fail(struct kith_tls *tls, enum kith_tls_code code, const char *text);
/** Ends the handshake with what a call of the library returned (< 0). Returns KITH_ERR_TLS or KITH_ERR_NOMEM. */
int kith__tls_fail_with(struct kith_tls *tls, int rv);

/* library.c: everything that the library is told, and everything that it tells. */

/** Opens the session; offers session_bytes if there are some. A value of the library < 0 on failure. */
int kith__tls_open(struct kith_tls *tls);
/** Server: what the library may choose from: the chosen protocol alone. Client: all of ours. A value of the library. */
int kith__tls_offer_alpns(struct kith_tls *tls, struct kith_slice list);
/** Lets the library go on, until it needs more bytes or is complete. Errors: TLS, NOMEM. */
int kith__tls_drive(struct kith_tls *tls);
/**
 * The library's verify function: checks the peer's key of the session. 0, or -1 with the failure set on the kith_tls.
 */
int kith__tls_verify(gnutls_session_t session);
/** The library asks if the current ClientHello may open 0-RTT; true at most once for a ticket. */
bool kith__tls_allows_early(struct kith_tls *tls);
/** Client, after the library took in a ticket: queues a session blob of it. Errors: TLS, NOMEM. */
int kith__tls_publish_session(struct kith_tls *tls, bool allows_early);
/** The number of the cipher, or 0. */
uint16_t kith__tls_cipher_number(gnutls_cipher_algorithm_t cipher);

#endif
