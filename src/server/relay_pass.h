/**
 * Requests that a relay passes on to another HTTP server of this machine, and its answers: so that a relay and a lookup server share
 * one port and one certificate. The other server hears whose request it is in X-Forwarded-For; what a client says there itself is
 * not passed on, nor is any other header that such a server does not look at.
 *
 * Each request goes over a connection of its own: on loopback that costs a few tens of microseconds, and nothing has to be kept in
 * step with what the other server thinks of idle connections.
 *
 * Thread rules: those of its rt.
 */
#ifndef KITH_SERVER_RELAY_PASS_H
#define KITH_SERVER_RELAY_PASS_H

#include "relay/counters.h"
#include "server/httpd.h"
#include <kith/relay.h>

struct kith_relay_pass;

enum {
    KITH_RELAY_PASS_MAX = 256,       /* requests under way, of one worker; more are answered with 503 */
    KITH_RELAY_PASS_BODY_MAX = 4096, /* of a request: signed packets have 1,104 bytes, queries fewer; larger: 413 */
    KITH_RELAY_PASS_ANSWER_MAX = 256 << 10 /* body of an answer; a larger one becomes 502 */
};
#define KITH_RELAY_PASS_LIMIT_NS (10 * KITH_NS_PER_S) /* for an answer; then 504 */

/** options are copied, and have been checked; counters are borrowed. Errors: NOMEM. */
KITH_MUST_USE int kith__relay_pass_new(struct kith_rt *rt, const struct kith_mem *mem,
                                       struct kith_relay_counters *counters, const struct kith_relay_pass_on *options,
                                       struct kith_relay_pass **out);
/** Nothing may be under way (asserted): after kith__httpd_free, which gives up what was. NULL is fine. */
void kith__relay_pass_free(struct kith_relay_pass *pass);
/** True for a path that is passed on: one of those given, or below it. pass: may be NULL. */
bool kith__relay_pass_wants(const struct kith_relay_pass *pass, const struct kith_http_head *head);
/** Passes a request on, and defers it, or answers it at once. */
void kith__relay_pass_request(struct kith_relay_pass *pass, struct kith_httpd_conn *conn,
                              const struct kith_http_head *head);
/** For kith_httpd_options.on_gone. */
void kith__relay_pass_on_gone(void *user);

#endif
