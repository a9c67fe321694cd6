/* The DNS client on real sockets of loopback, and what the system says about names. */
#include "lookup/dns_hosts.h"
#include "lookup/dns_world.h"
#include "rt/uv/uv.h"

#include <stdlib.h>
#include <unistd.h>

struct real {
    struct kith_rt *rt;
    struct dns_server server;
    struct kith_dns_client *client;
};

static void real_open(struct real *real, const char *at)
{
    struct kith_dns_options options = { .servers = &real->server.at, .server_count = 1 };

    memset(real, 0, sizeof *real);
    KITH_CHECK_EQ(kith__rt_uv_new(NULL, NULL, &real->rt), 0);
    KITH_CHECK_EQ(kith_sockaddr_parse(at, &real->server.at), 0);
    real->server.rt = real->rt;
    real->server.ttl_s = 30;
    real->server.texts[0] = "addr=10.1.2.3:4567";
    dns_server_set(&real->server, DNS_ANSWERS);
    dns_server_open(&real->server);
    KITH_CHECK_EQ(kith__dns_client_new(real->rt, kith_mem_default(), &options, &real->client), 0);
}

static void real_close(struct real *real)
{
    kith__dns_client_free(real->client);
    dns_server_close(&real->server);
    kith__rt_free(real->rt);
}

static int real_try(struct real *real, const char *text, struct dns_asker *asker)
{
    struct kith_dns_name name = dns_name(text);

    memset(asker, 0, sizeof *asker);
    asker->rt = real->rt;
    KITH_CHECK_EQ(kith__dns_query(real->client, &name, KITH_DNS_TXT, KITH_DNS_NEGATIVE_IS_FINAL, dns_asker_done, asker,
                                  &asker->request),
                  0);
    KITH_CHECK_EQ(kith__rt_run(real->rt, &asker->is_done, kith__rt_now(real->rt) + 30 * KITH_NS_PER_S), 0);
    return asker->err;
}

KITH_TEST(dns_real_sockets_of_both_families_and_tcp)
{
    static const char *const at[] = { "127.0.0.1:0", "[::1]:0" };
    struct real real;
    struct dns_asker asker;

    for (size_t i = 0; i < KITH_COUNT(at); i++) {
        real_open(&real, at[i]);
        KITH_CHECK_EQ(real_try(&real, "a.example", &asker), 0);
        dns_server_set(&real.server, DNS_TRUNCATES);
        KITH_CHECK_EQ(real_try(&real, "b.example", &asker), 0);
        KITH_CHECK_EQ(real.server.tcp_count, 1);
        dns_server_set(&real.server, DNS_NXDOMAIN);
        KITH_CHECK_EQ(real_try(&real, "c.example", &asker), KITH_ERR_NOT_FOUND);
        KITH_CHECK(real.server.ports[0] != real.server.ports[1] || real.server.ports[1] != real.server.ports[2]);
        real_close(&real);
    }
}

/** A file with this text; its path is in out. */
static void write_file(char out[64], const char *text)
{
    FILE *file;
    int descriptor;

    strcpy(out, "/tmp/kith-dns-XXXXXX");
    descriptor = mkstemp(out);
    KITH_CHECK(descriptor >= 0);
    file = fdopen(descriptor, "w");
    KITH_CHECK(file != NULL);
    KITH_CHECK(fputs(text, file) >= 0);
    KITH_CHECK_EQ(fclose(file), 0);
}

KITH_TEST(dns_system_servers_are_those_of_resolv_conf)
{
    static const struct {
        const char *text;
        size_t count;
        const char *first, *last;
    } cases[] = {
        { "search example\nnameserver 192.0.2.1\nnameserver 2001:db8::53\n", 2, "192.0.2.1:53", "[2001:db8::53]:53" },
        { "nameserver 127.0.0.1\n", 1, "127.0.0.1:53", "127.0.0.1:53" },
        { "# nothing\nsearch example\n", 0, NULL, NULL },
        { "", 0, NULL, NULL },
        { "nameserver fe80::1\nnameserver 192.0.2.2\n", 1, "192.0.2.2:53", "192.0.2.2:53" },
    };
    struct kith_sockaddr servers[KITH_DNS_SERVERS_MAX];
    char path[64], text[KITH_SOCKADDR_TEXT_SIZE];
    struct kith_rt *rt;
    size_t count;

    KITH_CHECK_EQ(kith__rt_uv_new(NULL, NULL, &rt), 0);
    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        write_file(path, cases[i].text);
        KITH_CHECK_EQ(kith__dns_system_servers(rt, path, servers, &count), 0);
        unlink(path);
        KITH_CHECK_EQ(count, cases[i].count);
        if (count == 0)
            continue;
        kith_sockaddr_format(&servers[0], text);
        KITH_CHECK_STR(text, cases[i].first);
        kith_sockaddr_format(&servers[count - 1], text);
        KITH_CHECK_STR(text, cases[i].last);
    }
    KITH_CHECK_EQ(kith__dns_system_servers(rt, "/nowhere/resolv.conf", servers, &count), 0);
    KITH_CHECK_EQ(count, 0);
    kith__rt_free(rt);
}

KITH_TEST(dns_client_reads_the_system_again_when_the_network_changes)
{
    struct kith_dns_options options = { .has_fallback = true };
    struct kith_dns_client *client;
    char path[64];
    struct kith_rt *rt;
    FILE *file;
    size_t count;

    KITH_CHECK_EQ(kith__rt_uv_new(NULL, NULL, &rt), 0);
    write_file(path, "nameserver 192.0.2.1\n");
    options.resolv_conf = path;
    KITH_CHECK_EQ(kith__dns_client_new(rt, kith_mem_default(), &options, &client), 0);
    KITH_CHECK_EQ(kith__dns_client_servers(client, &count)->ip[3], 1);
    KITH_CHECK_EQ(count, 1);
    file = fopen(path, "w");
    KITH_CHECK(file != NULL && fputs("nameserver 192.0.2.2\nnameserver 192.0.2.3\n", file) >= 0 && fclose(file) == 0);
    kith__dns_client_on_network_change(client);
    KITH_CHECK_EQ(kith__dns_client_servers(client, &count)->ip[3], 2);
    KITH_CHECK_EQ(count, 2);
    unlink(path);
    kith__dns_client_on_network_change(client);
    KITH_CHECK_EQ(kith__dns_client_servers(client, &count)->ip[3], 8); /* the fallback */
    kith__dns_client_free(client);
    kith__rt_free(rt);
}

KITH_TEST(dns_hosts_file_of_the_machine_is_read)
{
    struct kith_sockaddr addrs[4];
    struct kith_rt *rt;

    KITH_CHECK_EQ(kith__rt_uv_new(NULL, NULL, &rt), 0);
    if (access("/etc/hosts", R_OK) == 0) { /* every one has it */
        KITH_CHECK(kith__dns_hosts_file(rt, "localhost", KITH_FAMILY_V4, addrs, 4) >= 1);
        KITH_CHECK_EQ(addrs[0].ip[0], 127);
    }
    KITH_CHECK_EQ(kith__dns_hosts_file(rt, "no-such-host.example", KITH_FAMILY_V4, addrs, 4), 0);
    kith__rt_free(rt);
}
