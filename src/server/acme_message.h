/**
 * Messages of ACME: requests signed as JWS, answers read from JSON. Pure functions; answers are untrusted: whatever is missing,
 * of another type or too long is KITH_ERR_PARSE. Source: RFC 8555, RFC 7515.
 */
#ifndef KITH_SERVER_ACME_MESSAGE_H
#define KITH_SERVER_ACME_MESSAGE_H

#include "base/buf.h"
#include "tls/acme_crypto.h"

enum {
    KITH_ACME_URL_SIZE = 512, /* with an end */
    KITH_ACME_AUTHORIZATIONS_MAX = 64,
    KITH_ACME_NONCE_SIZE = 256,
    KITH_ACME_TEXT_SIZE = 256
};

/** Where things are (RFC 8555, 7.1.1). */
struct kith_acme_directory {
    char new_nonce[KITH_ACME_URL_SIZE], new_account[KITH_ACME_URL_SIZE], new_order[KITH_ACME_URL_SIZE];
};
KITH_MUST_USE int kith__acme_read_directory(struct kith_slice json, struct kith_acme_directory *out);

/** Of orders and authorizations (RFC 8555, 7.1.6). */
enum kith_acme_status {
    KITH_ACME_PENDING,
    KITH_ACME_READY,
    KITH_ACME_PROCESSING,
    KITH_ACME_VALID,
    KITH_ACME_INVALID /* and deactivated, expired, revoked, or anything unknown */
};

struct kith_acme_order {
    enum kith_acme_status status;
    char finalize[KITH_ACME_URL_SIZE], certificate[KITH_ACME_URL_SIZE]; /* certificate: "" before it is there */
    char authorizations[KITH_ACME_AUTHORIZATIONS_MAX][KITH_ACME_URL_SIZE];
    size_t authorization_count;
    char problem[KITH_ACME_TEXT_SIZE]; /* "" without one */
};
KITH_MUST_USE int kith__acme_read_order(struct kith_slice json, struct kith_acme_order *out);

/** One challenge; url "": it is not offered. */
struct kith_acme_challenge {
    char url[KITH_ACME_URL_SIZE], token[KITH_ACME_TOKEN_SIZE_MAX + 1];
};
struct kith_acme_authorization {
    enum kith_acme_status status;
    char name[KITH_ACME_TEXT_SIZE];
    struct kith_acme_challenge tls_alpn, http;
    char problem[KITH_ACME_TEXT_SIZE]; /* of a challenge that failed; "" without one */
};
KITH_MUST_USE int kith__acme_read_authorization(struct kith_slice json, struct kith_acme_authorization *out);

/** What an error answer says (RFC 7807): the last part of its type ("badNonce"), and a sentence; "" for what is missing. */
struct kith_acme_problem {
    char type[64], detail[KITH_ACME_TEXT_SIZE];
};
void kith__acme_read_problem(struct kith_slice json, struct kith_acme_problem *out);

/**
 * Appends a JWS of a payload for a URL: with the key itself (kid NULL: new accounts) or the account's URL. payload.ptr NULL: a
 * POST-as-GET (RFC 8555, 6.3). Errors: NOMEM, CRYPTO.
 */
KITH_MUST_USE int kith__acme_sign(const struct kith_mem *mem, const struct kith_acme_key *key, const char *kid,
                                  const char *nonce, const char *url, struct kith_slice payload, struct kith_buf *out);
/** Appends the payload of newAccount; contact: an e-mail address or NULL. Errors: NOMEM. */
KITH_MUST_USE int kith__acme_write_account(const char *contact, struct kith_buf *out);
/** Appends the payload of newOrder. Errors: NOMEM. */
KITH_MUST_USE int kith__acme_write_order(const char *const *names, size_t count, struct kith_buf *out);
/** Appends the payload of finalize. Errors: NOMEM. */
KITH_MUST_USE int kith__acme_write_finalize(const struct kith_mem *mem, struct kith_slice request,
                                            struct kith_buf *out);

#endif
