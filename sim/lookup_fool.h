/**
 * A lookup server that is of no use, on a host of its own: HTTP and DNS over UDP that refuse, fail, talk nonsense or say nothing. Who
 * asks it must find what others know no later for it, and must not ask it over and over.
 */
#ifndef KITH_SIM_LOOKUP_FOOL_H
#define KITH_SIM_LOOKUP_FOOL_H

#include "trial.h"

enum kith_simfool_way {
    KITH_SIMFOOL_LIMITS,   /* 429 with Retry-After of KITH_SIMFOOL_SILENCE_S; REFUSED */
    KITH_SIMFOOL_FAILS,    /* 500; SERVFAIL */
    KITH_SIMFOOL_GARBAGE,  /* 200 with bytes that are no packet; bytes that are no DNS message, behind the right id */
    KITH_SIMFOOL_NO_HTTP,  /* no HTTP at all; an answer to another question */
    KITH_SIMFOOL_LOOPS,    /* redirects to itself; answers are cut, and nobody listens on TCP */
    KITH_SIMFOOL_SILENT,   /* takes everything, says nothing */
    KITH_SIMFOOL_HANGS_UP, /* ends every connection; NXDOMAIN */
    KITH_SIMFOOL_WAYS,
    KITH_SIMFOOL_TAKES = KITH_SIMFOOL_WAYS /* 204; SERVFAIL. It came to its senses */
};
enum { KITH_SIMFOOL_SILENCE_S = 30 };

struct kith_simfool {
    struct kith_trial *trial;
    struct kith_sim_host *host;
    struct kith_simmem rt_mem;
    struct kith_rt_listener *listener;
    struct kith_rt_udp *udp;
    struct kith_list callers;
    uint8_t way; /* enum kith_simfool_way */
    char url[40];
    struct kith_sockaddr dns;
    uint64_t puts, gets, questions, taken; /* that came; PUTs that were answered with 204 */
};

/** Makes the host, 10.0.7.1, with links as the scenario chooses them, and starts it. */
void kith__simfool_open(struct kith_simfool *fool, struct kith_trial *trial, enum kith_simfool_way way);
void kith__simfool_close(struct kith_simfool *fool);

#endif
