/**
 * Who may be a client: everyone, those on a list, those not on a list, those with a token, or those that somebody else is asked
 * about (an HTTP callback, hooks of a library user). Never changes after it was made, so that any number of threads may use it.
 * Source: spec/02, 5.6.
 */
#ifndef KITH_RELAY_ACCESS_H
#define KITH_RELAY_ACCESS_H

#include <kith/types.h>

struct kith_relay_access;

enum kith_relay_access_mode {
    KITH_RELAY_ACCESS_EVERYONE,
    KITH_RELAY_ACCESS_ALLOW, /* those of the list */
    KITH_RELAY_ACCESS_DENY,  /* all but those of the list */
    KITH_RELAY_ACCESS_TOKEN, /* those who know a token */
    KITH_RELAY_ACCESS_ASK    /* the owner of the server is asked: KITH_RELAY_EVENT_ACCESS */
};

enum { KITH_RELAY_TOKENS_MAX = 1024, KITH_RELAY_TOKEN_SIZE_MAX = 4096 };

enum kith_relay_verdict { KITH_RELAY_ALLOWED, KITH_RELAY_DENIED, KITH_RELAY_ASK };

struct kith_relay_access_options {
    enum kith_relay_access_mode mode;
    const struct kith_id *ids; /* ALLOW, DENY; twice the same is fine */
    size_t id_count;
    const struct kith_slice *tokens; /* TOKEN: 1..KITH_RELAY_TOKENS_MAX, each 1..KITH_RELAY_TOKEN_SIZE_MAX bytes */
    size_t token_count;
};

/** Copies all it needs. Errors: NOMEM, INVALID (no token, an empty one, limits). */
KITH_MUST_USE int kith__relay_access_new(const struct kith_mem *mem, const struct kith_relay_access_options *options,
                                         struct kith_relay_access **out);
/** NULL is fine. */
void kith__relay_access_free(struct kith_relay_access *access);
/**
 * True if the token (untrusted; empty: none) is one of those that are known. The time depends on their number and the length of
 * `token` alone.
 */
bool kith__relay_access_knows_token(const struct kith_relay_access *access, struct kith_slice token);
/** What is decided about an id that was proved, and whether its token was known. access NULL: everyone. */
enum kith_relay_verdict kith__relay_access_check(const struct kith_relay_access *access, const struct kith_id *id,
                                                 bool knows_token);

#endif
