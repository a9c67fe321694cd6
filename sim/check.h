/**
 * What must be true after each instant of a trial, and at its end. Broken ones make the world WRONG.
 *
 * After each instant: no endpoint has a timer in the past or bytes left that it could send; no connection counts more data
 * than its peer allowed; memory is within the limit; the engine's own sums are right (kith__conn_check). The last walks all
 * packets in flight and all streams: with many of them it is done in every instant only as far as its work stays within a
 * fixed share (see `debt`), so that a trial of 10,000 streams ends.
 *
 * At the end: every datagram that was sent arrived or is counted as dropped, in the world, the sockets and the endpoints;
 * every DATAGRAM frame likewise; all memory was given back.
 */
#ifndef KITH_SIM_CHECK_H
#define KITH_SIM_CHECK_H

#include <stdint.h>

struct kith_trial;

struct kith_simcheck {
    uint64_t steps, walks; /* instants; walks of all invariants */
    uint64_t debt;         /* work that instants have saved up for the next walk */
    uint64_t sent, received, unroutable, too_large;
    uint64_t host_sent, host_received; /* of endpoints that were stopped */
};

void kith__simcheck_step(struct kith_trial *trial);
/** DATAGRAM frames of one connection whose both sides are still there and quiet. */
void kith__simcheck_datagrams(struct kith_trial *trial);
/** Before an endpoint is stopped: its counters go into the sums. */
void kith__simcheck_stop(struct kith_trial *trial, int index);
/** Everything is stopped, nothing is under way. */
void kith__simcheck_end(struct kith_trial *trial);

#endif
