/** What the files of https streams share; tests look in here too. */
#ifndef KITH_TLS_STREAM_INTERNAL_H
#define KITH_TLS_STREAM_INTERNAL_H

#include "base/buf.h"
#include "tls/stream.h"
#include "tls/tls.h"

#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdatomic.h>

enum { KITH_TLS_STREAM_CHAIN_MAX = 16, KITH_TLS_STREAM_ALPN_SIZE_MAX = 31 };

/** A certificate as the library wants it. */
struct kith_tls_stream_entry {
    gnutls_pcert_st chain[KITH_TLS_STREAM_CHAIN_MAX];
    unsigned count;
    gnutls_privkey_t key;
    gnutls_x509_crt_t leaf;
};

/** See stream.h. Nothing but `references` changes after it was made. */
struct kith_tls_stream_context {
    const struct kith_mem *mem;
    atomic_size_t references;
    gnutls_certificate_credentials_t credentials;
    gnutls_priority_t priority;
    struct kith_tls_stream_entry *entries; /* certificates, then challenges */
    size_t certificate_count, challenge_count;
    struct kith_buf alpns; /* each name behind its length */
    bool is_client, accepts_any, refuses_unknown_names;
};

enum kith_tls_stream_state { KITH_TLS_STREAM_SHAKING, KITH_TLS_STREAM_OPEN, KITH_TLS_STREAM_FAILED };

/** See stream.h. */
struct kith_tls_stream {
    const struct kith_mem *mem;
    struct kith_tls_stream_context *context; /* one reference; NULL once it failed */
    gnutls_session_t session;                /* server: made with the first bytes; NULL once it failed */
    uint8_t state;                           /* enum kith_tls_stream_state */
    bool is_server, is_closed, is_ended;     /* is_closed: close_notify was written; is_ended: the transport ended */
    bool peer_is_closed, is_challenge, out_of_memory;
    int err; /* FAILED: what calls return */
    uint16_t cipher;
    unsigned warnings; /* alerts that end nothing */
    struct kith_tls_stream_failure failure;

    /* While it shakes hands; one allocation, gone then. */
    struct kith_tls_stream_handshake *handshake;

    uint8_t *input; /* borrowed from the caller: not read yet */
    size_t input_size;
    struct kith_buf kept;            /* comes before input: what _keep copied */
    size_t kept_at;                  /* so much of it was read */
    gnutls_packet_t packet;          /* the plaintext that was read last */
    struct kith_buf sending, queued; /* sending is lent to the caller, and never moves */
    size_t sending_at;

    uint8_t alpn[KITH_TLS_STREAM_ALPN_SIZE_MAX];
    uint8_t alpn_size;
};

/** What only the handshake needs. */
struct kith_tls_stream_handshake {
    const struct kith_tls_stream_entry *chosen; /* server: the certificate, after the ClientHello */
    bool wants_challenge;
    const char *refusal; /* why a callback refused; static */
    uint8_t refusal_alert;
    bool refusal_is_name;
    size_t received;                       /* bytes */
    char name[KITH_TLS_NAME_SIZE_MAX + 1]; /* client */
};

enum kith_tls_alert {
    KITH_TLS_ALERT_UNEXPECTED_MESSAGE = 10,
    KITH_TLS_ALERT_BAD_RECORD_MAC = 20,
    KITH_TLS_ALERT_INTERNAL_ERROR = 80
};

/** stream.c: ends the stream with an alert that is sent, and a static text; the first reason stays. Returns KITH_ERR_TLS. */
int kith__tls_stream_fail(struct kith_tls_stream *stream, uint8_t alert, const char *text);
/** The other side ended it with an alert. Returns KITH_ERR_TLS. */
int kith__tls_stream_fail_by_peer(struct kith_tls_stream *stream, uint8_t alert);
/** Ends it for want of memory. Returns KITH_ERR_NOMEM. */
int kith__tls_stream_fail_memory(struct kith_tls_stream *stream);

/** stream_shake.c: lets the library go on. 0: as far as it gets; else the stream has failed. */
int kith__tls_stream_shake(struct kith_tls_stream *stream);
/** Makes the library's session. A value of the library < 0 on failure. */
int kith__tls_stream_session_open(struct kith_tls_stream *stream);
/** Frees what only the handshake needs. */
void kith__tls_stream_handshake_free(struct kith_tls_stream *stream);

/** What a failure of the library means, in plain words; static. */
const char *kith__tls_stream_text(int rv);

/** stream_io.c: what the library pushes. Errors: NOMEM. Nothing is queued then. */
int kith__tls_stream_queue(struct kith_tls_stream *stream, const void *bytes, size_t size);
/** Gives back the plaintext that was read last. */
void kith__tls_stream_packet_release(struct kith_tls_stream *stream);
/** Takes up to size unread bytes, out of `kept` and the input; returns how many. */
size_t kith__tls_stream_pull(struct kith_tls_stream *stream, void *out, size_t size);
/** The alert's name in the standard; "unknown" for another number. Static. */
const char *kith__tls_alert_name(uint8_t alert);

/** stream_context.c: the first of our certificates (or challenges) that covers the name; NULL. */
const struct kith_tls_stream_entry *kith__tls_stream_choose(const struct kith_tls_stream_context *context,
                                                            const char *name, bool is_challenge);

#endif
