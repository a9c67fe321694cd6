/**
 * The service "pkarr", the half that resolves: one GET of a signed packet from a server over HTTP. The signature is checked, so a
 * server can hide a packet or show an old one, but not make one. Source: spec/03, 6.
 *
 * A resolve ends with: 0, also for a packet without addresses; NOT_FOUND: the server knows no packet of that id; TRUNCATED,
 * TOO_LARGE, PARSE, CRYPTO: what it sent is no good packet of that id; else as of kith_pkarr_answer.
 *
 * Thread rules: those of the rt.
 */
#ifndef KITH_LOOKUP_PKARR_RESOLVE_H
#define KITH_LOOKUP_PKARR_RESOLVE_H

#include "lookup/pkarr_http.h"
#include "lookup/service.h"

/** Errors: those of kith__pkarr_http_init. */
KITH_MUST_USE int kith__pkarr_resolve_new(struct kith_rt *rt, const struct kith_pkarr_http_options *options,
                                          struct kith_lookup_service **out);

#endif
