/* kith/dns.h: the lookup server of src/server, with errors as the rest of the library has them. */
#include "api/error.h"
#include "api/give.h"
#include "server/dns_crew.h"
#include <kith/dns.h>
#include <kith/kith.h>
#include <string.h>

static int take_options(const struct kith_dns_server_options *options, struct kith_dns_server_options *out)
{
    if (options == NULL || options->size > sizeof *out || options->size < offsetof(struct kith_dns_server_options, mem))
        return kith__fail(KITH_ERR_INVALID, 0, "the options were not initialised with KITH_DNS_SERVER_OPTIONS_INIT");
    memset(out, 0, sizeof *out);
    memcpy(out, options, options->size);
    return 0;
}

static int fail(int err, const struct kith_server_why *why)
{
    return kith__fail(err, 0, "%s", why->text);
}

int kith_dns_server_start(const struct kith_dns_server_options *options, struct kith_dns_server **out)
{
    struct kith_dns_server_options taken;
    struct kith_server_why why;
    int err;

    if ((err = take_options(options, &taken)) != 0)
        return err;
    err = kith__dns_crew_new(&taken, kith_version(), out, &why);
    return err == 0 ? 0 : fail(err, &why);
}

int kith_dns_server_check(const struct kith_dns_server_options *options)
{
    struct kith_dns_server_options taken;
    struct kith_server_why why;
    int err;

    if ((err = take_options(options, &taken)) != 0)
        return err;
    err = kith__dns_crew_check(&taken, &why);
    return err == 0 ? 0 : fail(err, &why);
}

int kith_dns_server_stop(struct kith_dns_server *server, uint64_t limit_ns)
{
    int err;

    if (server == NULL)
        return 0;
    err = kith__dns_crew_stop(server, limit_ns);
    return err == 0 ? 0 : kith__fail(err, 0, "the server had requests left when its time to stop was over");
}

void kith_dns_server_reload_certificate(struct kith_dns_server *server)
{
    kith__dns_crew_reload(server);
}

int kith_dns_server_set_origins(struct kith_dns_server *server, const struct kith_dns_origin *origins, size_t count)
{
    struct kith_server_why why;
    int err = kith__dns_crew_set_origins(server, origins, count, &why);

    return err == 0 ? 0 : fail(err, &why);
}

int kith_dns_server_set_limits(struct kith_dns_server *server, const struct kith_dns_limits *limits)
{
    struct kith_server_why why;
    int err = kith__dns_crew_set_limits(server, limits, &why);

    return err == 0 ? 0 : fail(err, &why);
}

size_t kith_dns_server_addresses(const struct kith_dns_server *server, enum kith_dns_server_address kind,
                                 struct kith_sockaddr *out, size_t capacity)
{
    return kith__dns_crew_addresses(server, kind, out, capacity);
}

void kith_dns_server_stats(const struct kith_dns_server *server, struct kith_dns_server_stats *out)
{
    kith__dns_crew_stats(server, out);
}

bool kith_dns_server_check_alive(struct kith_dns_server *server)
{
    return kith__dns_crew_check_alive(server);
}

int kith_dns_server_metrics(const struct kith_dns_server *server, char *text, size_t capacity, size_t *size)
{
    struct kith_buf made = { .mem = kith__dns_crew_mem(server) };
    int err = kith__dns_crew_metrics(server, &made);

    return kith__give_text(&made, err, "the metrics", text, capacity, size);
}

int kith_dns_server_authority(const struct kith_dns_server *server, char *text, size_t capacity, size_t *size)
{
    struct kith_buf made = { .mem = kith__dns_crew_mem(server) };
    int err = kith__dns_crew_authority(server, &made);

    return kith__give_text(&made, err, "the certificate authority", text, capacity, size);
}
