/**
 * Access by HTTP callback: a POST for each client that has proved its id, and only the answer "200" with the body "true" lets it
 * in. Whatever else happens denies. Source: spec/02, 5.6.
 *
 * Thread rules: one worker's; those of its rt.
 */
#ifndef KITH_SERVER_RELAY_ASK_H
#define KITH_SERVER_RELAY_ASK_H

#include "rt/rt.h"

struct kith_tls_stream_context;

enum {
    KITH_RELAY_ASK_UNDER_WAY_MAX = 64, /* requests at once; further ones wait in line */
    KITH_RELAY_ASK_WAITING_MAX = 8192, /* beyond it clients are denied at once */
    KITH_RELAY_ASK_ANSWER_MAX = 64     /* bytes of a body; a longer one denies */
};
#define KITH_RELAY_ASK_LIMIT_NS (10 * KITH_NS_PER_S) /* of one request; the core stops waiting by then too */
/* In line; then the answer would come too late anyway, and those behind would wait for it: it is denied unasked. */
#define KITH_RELAY_ASK_WAIT_NS (4 * KITH_NS_PER_S)

/** Whom to ask. Owned by who holds it. */
struct kith_relay_ask_rules {
    char *url;
    char *bearer;                        /* sent as Authorization; NULL: none */
    struct kith_tls_stream_context *tls; /* for https; one reference */
};
/** Copies; takes a reference of tls (may be NULL). Errors: NOMEM; PARSE, UNSUPPORTED, TOO_LARGE: no http or https URL. */
KITH_MUST_USE int kith__relay_ask_rules_new(const struct kith_mem *mem, const char *url, const char *bearer,
                                            struct kith_tls_stream_context *tls, struct kith_relay_ask_rules **out);
/** Wipes the bearer token. NULL is fine. */
void kith__relay_ask_rules_free(const struct kith_mem *mem, struct kith_relay_ask_rules *rules);

struct kith_relay_ask;

struct kith_relay_ask_options {
    struct kith_rt *rt;
    const struct kith_mem *mem;
    struct kith_relay_ask_rules *rules; /* owned by the object from here on, also on an error */
    void (*on_answer)(void *ctx, uint64_t handle, bool is_allowed);
    void *ctx;
};
/** Errors: NOMEM. */
KITH_MUST_USE int kith__relay_ask_new(const struct kith_relay_ask_options *options, struct kith_relay_ask **out);
/** Gives up all questions without an answer. NULL is fine. */
void kith__relay_ask_free(struct kith_relay_ask *ask);
/** Asks about an id; on_answer follows in a later turn (for others that have waited too long, at once). Errors: NOMEM, LIMIT. */
KITH_MUST_USE int kith__relay_ask_about(struct kith_relay_ask *ask, uint64_t handle, const struct kith_id *id);

#endif
