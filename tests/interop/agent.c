/* An agent on kith, driven by the interop tests. Its command line is described in README.md. */
#include "agent.h"

struct kith_endpoint *agent_bind(struct kith_context *context, const struct kith_secret *secret,
                                 const char *const *alpns)
{
    struct kith_sockaddr local;
    struct kith_endpoint_options options = { KITH_OPTIONS_INIT,
                                             .context = context,
                                             .secret = secret,
                                             .alpns = alpns,
                                             .binds = &local,
                                             .bind_count = 1,
                                             .qlog_directory = getenv("QLOGDIR"),
                                             .key_log_file = getenv("KITH_KEY_LOG") };
    struct kith_endpoint *endpoint;

    MUST(kith_sockaddr_parse("127.0.0.1:0", &local));
    MUST(kith_endpoint_bind(&options, &endpoint));
    return endpoint;
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc >= 2 && strcmp(argv[1], "serve") == 0)
        return agent_serve(argc - 2, argv + 2);
    if (argc >= 4 && strcmp(argv[1], "dial") == 0)
        return agent_dial(argc - 2, argv + 2);
    fprintf(stderr, "usage: kith-agent serve [--mode MODE] [--secret HEX] | dial TICKET CASE [ARGUMENT...]\n");
    return 2;
}
