/** qlog and key log files of an endpoint. Off unless asked for; a failure to write is logged once and ends that file. */
#ifndef KITH_API_LOGS_H
#define KITH_API_LOGS_H

#include "rt/rt.h"
#include <kith/endpoint.h>

struct kith_endpoint_logs;

/** Opens what the options ask for and sets the sinks in `host`; *out stays NULL if they ask for nothing. IO errors. */
KITH_MUST_USE int kith__endpoint_logs_new(struct kith_rt *rt, const struct kith_endpoint_options *options,
                                          struct kith_quic_host_options *host, struct kith_endpoint_logs **out);
/** Whether there is a key log, a qlog directory; logs may be NULL. */
bool kith__endpoint_logs_has_key_log(const struct kith_endpoint_logs *logs);
bool kith__endpoint_logs_has_qlog(const struct kith_endpoint_logs *logs);
/** Closes the files. NULL is fine. */
void kith__endpoint_logs_free(struct kith_endpoint_logs *logs);

#endif
