/* An agent on kith, driven by the interop tests. Its command line is described in README.md. */
#include "agent.h"

#include <poll.h>
#include <unistd.h>

struct kith_endpoint *agent_bind(struct kith_context *context, const struct kith_secret *secret,
                                 const char *const *alpns, const struct kith_quic_transport *transport)
{
    struct kith_sockaddr local;
    struct kith_endpoint_options options = { KITH_OPTIONS_INIT,
                                             .context = context,
                                             .secret = secret,
                                             .alpns = alpns,
                                             .binds = &local,
                                             .bind_count = 1,
                                             .transport = transport,
                                             .qlog_directory = getenv("QLOGDIR"),
                                             .key_log_file = getenv("KITH_KEY_LOG") };
    struct kith_endpoint *endpoint;

    MUST(kith_sockaddr_parse("127.0.0.1:0", &local));
    agent_relay_apply(&options);
    agent_lookup_apply(&options);
    MUST(kith_endpoint_bind(&options, &endpoint));
    return endpoint;
}

int agent_poll_timeout(struct kith_context *context)
{
    uint64_t timeout = kith_context_timeout(context);

    return timeout == KITH_NEVER ? -1 : (int)((timeout + KITH_NS_PER_MS - 1) / KITH_NS_PER_MS);
}

void agent_run_until_stdin_ends(struct kith_context *context)
{
    for (;;) {
        struct pollfd fds[2] = { { kith_context_fd(context), POLLIN, 0 }, { 0, POLLIN, 0 } };
        char scratch[64];

        if (poll(fds, 2, agent_poll_timeout(context)) < 0)
            return;
        if (fds[1].revents != 0 && read(0, scratch, sizeof scratch) <= 0)
            return;
        kith_context_process(context);
    }
}

int main(int argc, char **argv)
{
    int options;

    setvbuf(stdout, NULL, _IOLBF, 0);
    options = agent_relay_options(argc - 1, argv + 1);
    argc -= options;
    argv += options;
    if (argc >= 2 && strcmp(argv[1], "serve") == 0)
        return agent_serve(argc - 2, argv + 2);
    if (argc >= 4 && strcmp(argv[1], "dial") == 0)
        return agent_dial(argc - 2, argv + 2);
    if (argc >= 2 && strcmp(argv[1], "blobs-serve") == 0)
        return agent_blobs_serve(argc - 2, argv + 2);
    if (argc >= 4 && strcmp(argv[1], "blobs-get") == 0)
        return agent_blobs_get(argc - 2, argv + 2);
    if (argc == 4 && strcmp(argv[1], "blobs-lie") == 0)
        return agent_blobs_lie(argc - 2, argv + 2);
    if (argc == 3 && strcmp(argv[1], "ticket") == 0)
        return agent_ticket(argv[2]);
    if (argc == 3 && strcmp(argv[1], "lookup") == 0)
        return agent_lookup(argv[2]);
    fprintf(stderr,
            "usage: kith-agent [--relay URL [--quic PORT] [--token TEXT]]... [--relay-only] [--ca PEM] [--proxy URL]\n"
            "  [--pkarr-publish URL] [--publish all] [--user-data TEXT] [--pkarr-resolve URL] [--dns-origin NAME] "
            "[--dns-server ADDR] [--lookup mdns]\n"
            "  serve [--mode MODE] [--secret HEX] | dial TICKET CASE [ARGUMENT...] |\n"
            "  blobs-serve PATH... | blobs-get [--stop-at BYTES] TICKET OUT [FIRST..LAST] | blobs-lie TICKET BYTE |\n"
            "  ticket TEXT | lookup ID|-\n");
    return 2;
}
