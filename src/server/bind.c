/* Binding, and what is said when that fails. */
#include "server/bind.h"

int kith__server_fail_bind(struct kith_server_why *why, int err, const char *what, const struct kith_sockaddr *at)
{
    char text[KITH_SOCKADDR_TEXT_SIZE];
    const char *problem = err == KITH_ERR_UNREACHABLE ? "this machine has no such address" : kith_strerror(err);
    const char *help = err == KITH_ERR_ADDRESS_IN_USE ? "; another program listens there"
                       : err == KITH_ERR_PERMISSION   ? "; ports below 1024 need a permission (CAP_NET_BIND_SERVICE)"
                                                      : "";

    return kith__server_why(why, err, "%s cannot be served on %s: %s%s", what, kith_sockaddr_format(at, text), problem,
                            help);
}

static void on_probe(void *ctx, struct kith_rt_stream *stream)
{
    (void)ctx;
    kith__rt_stream_close(stream);
}

/*
 * Sockets that share a port share it with whoever says so too: with another server that somebody started by mistake, half of the
 * clients would vanish. So the port is first taken alone, which fails if it is taken already, and tells a port that is free.
 */
int kith__server_probe(struct kith_rt *rt, struct kith_sockaddr *at)
{
    struct kith_rt_listen_options options = { .at = { .ip = *at } };
    struct kith_rt_listener *listener;
    int err = kith__rt_listen_with(rt, &options, on_probe, NULL, &listener);

    if (err != 0)
        return err;
    *at = kith__rt_listener_local(listener);
    kith__rt_listener_close(listener);
    return 0;
}
