/** Binding, and what is said when that fails: for all servers. */
#ifndef KITH_SERVER_BIND_H
#define KITH_SERVER_BIND_H

#include "server/setup.h"

/** A sentence: `what` ("https") cannot be served at an address. Returns err. */
int kith__server_fail_bind(struct kith_server_why *why, int err, const char *what, const struct kith_sockaddr *at);
/** Looks whether a TCP port is free before several threads share it; *at gets its real port. Errors: those of kith__rt_listen_with. */
KITH_MUST_USE int kith__server_probe(struct kith_rt *rt, struct kith_sockaddr *at);

#endif
