/**
 * For tests only: a client and name servers in the simulated world (or on loopback), each of which answers as it is told to.
 */
#ifndef KITH_LOOKUP_DNS_WORLD_H
#define KITH_LOOKUP_DNS_WORLD_H

#include "base/mem.h"
#include "base/test.h"
#include "codec/dns.h"
#include "lookup/dns_client.h"
#include "rt/sim/sim.h"

#include <stdio.h>
#include <string.h>

enum { DNS_PEERS_MAX = 8, DNS_SERVERS = 3, DNS_MODES_MAX = 16 };

/** What a server does with a question. */
enum dns_mode {
    DNS_ANSWERS,
    DNS_SILENT,
    DNS_NXDOMAIN,
    DNS_NODATA,
    DNS_SERVFAIL,
    DNS_REFUSED,
    DNS_TRUNCATES,      /* over UDP; over TCP it answers */
    DNS_GARBLES,        /* the right header, and nonsense behind it */
    DNS_BAD_RECORD,     /* an answer whose data are cut */
    DNS_WRONG_ID,       /* another id: a forger who guesses */
    DNS_WRONG_SOURCE,   /* from another port */
    DNS_WRONG_QUESTION, /* repeats another name */
    DNS_TWICE,
    DNS_HANGS_UP,  /* over UDP as DNS_TRUNCATES; over TCP it closes */
    DNS_NO_ADDRESS /* TXT without an attribute that is one */
};

struct dns_peer {
    struct dns_server *server;
    struct kith_rt_stream *stream;
    struct kith_buf in;
    uint8_t out[4096];
};

struct dns_server {
    struct kith_sim_host *host;
    struct kith_rt *rt;
    struct kith_sockaddr at;
    struct kith_rt_udp *udp, *other; /* other: for answers from elsewhere */
    struct kith_rt_listener *listener;
    struct dns_peer peers[DNS_PEERS_MAX];
    size_t peer_count;
    enum dns_mode modes[DNS_MODES_MAX]; /* of each question; the last goes on */
    size_t mode_count;
    const char *texts[8]; /* TXT */
    const char *ips[8];   /* A and AAAA */
    unsigned cnames;      /* this many aliases in front */
    uint32_t ttl_s;
    size_t udp_count, tcp_count;
    uint64_t asked_ns[32];
    uint16_t ids[32], ports[32];
    char name[KITH_DNS_NAME_TEXT_SIZE]; /* of the last question */
    uint8_t last[512];                  /* it */
    size_t last_size;
};

static inline struct kith_dns_name dns_name(const char *text)
{
    struct kith_dns_name name;

    KITH_CHECK_EQ(kith__dns_name_parse(text, strlen(text), &name), 0);
    return name;
}

static inline void dns_write_records(struct dns_server *server, const struct kith_dns_question *question,
                                     struct kith_dns_writer *w)
{
    struct kith_dns_name name = question->name, alias;
    struct kith_dns_owner owner = { &name, KITH_DNS_ANSWER, KITH_DNS_IN, server->ttl_s };
    struct kith_sockaddr ip;
    char text[64];

    for (unsigned i = 0; i < server->cnames; i++) {
        snprintf(text, sizeof text, "alias%u.example", i);
        alias = dns_name(text);
        KITH_CHECK_EQ(kith__dns_write_name(w, &owner, KITH_DNS_CNAME, &alias), 0);
        name = alias;
    }
    for (size_t i = 0; i < KITH_COUNT(server->texts) && question->type == KITH_DNS_TXT; i++) {
        struct kith_slice string = { (const uint8_t *)server->texts[i], 0 };

        if (server->texts[i] == NULL)
            continue;
        string.size = strlen(server->texts[i]);
        KITH_CHECK_EQ(kith__dns_write_txt(w, &owner, &string, 1), 0);
    }
    for (size_t i = 0; i < KITH_COUNT(server->ips); i++)
        if (server->ips[i] != NULL) {
            KITH_CHECK_EQ(kith_sockaddr_parse(server->ips[i], &ip), 0);
            if ((ip.family == KITH_FAMILY_V4) == (question->type == KITH_DNS_A) && question->type != KITH_DNS_TXT)
                KITH_CHECK_EQ(kith__dns_write_ip(w, &owner, &ip), 0);
        }
}

/** The answer to a question in `mode`, in out; its size. */
static inline size_t dns_reply(struct dns_server *server, enum dns_mode mode, bool is_tcp, struct kith_slice message,
                               uint8_t out[4000])
{
    struct kith_dns_reader r;
    struct kith_dns_question question;
    struct kith_dns_header header = { 0 };
    struct kith_dns_writer w;
    struct kith_slice stray = { (const uint8_t *)"colour=green", 12 };
    struct kith_dns_name name;
    size_t size;

    KITH_CHECK_EQ(kith__dns_reader_init(&r, message), 0);
    KITH_CHECK_EQ(kith__dns_next_question(&r, &question), 0);
    KITH_CHECK_EQ(r.header.counts[KITH_DNS_QUESTION], 1);
    kith__dns_name_format(&question.name, server->name);
    header.id = mode == DNS_WRONG_ID ? r.header.id ^ 1 : r.header.id;
    header.flags = KITH_DNS_QR | KITH_DNS_RD | KITH_DNS_RA;
    header.flags |= mode == DNS_NXDOMAIN ? KITH_DNS_NXDOMAIN : 0;
    header.flags |= mode == DNS_SERVFAIL ? KITH_DNS_SERVFAIL : 0;
    header.flags |= mode == DNS_REFUSED ? KITH_DNS_REFUSED : 0;
    header.flags |= (mode == DNS_TRUNCATES || mode == DNS_HANGS_UP) && !is_tcp ? KITH_DNS_TC : 0;
    KITH_CHECK_EQ(kith__dns_writer_init(&w, out, 4000, &header), 0);
    name = mode == DNS_WRONG_QUESTION ? dns_name("other.example") : question.name;
    KITH_CHECK_EQ(kith__dns_write_question(&w, &name, question.type, KITH_DNS_IN), 0);
    if (mode == DNS_NO_ADDRESS) {
        struct kith_dns_owner owner = { &question.name, KITH_DNS_ANSWER, KITH_DNS_IN, server->ttl_s };

        KITH_CHECK_EQ(kith__dns_write_txt(&w, &owner, &stray, 1), 0);
    } else if (header.flags == (KITH_DNS_QR | KITH_DNS_RD | KITH_DNS_RA) && mode != DNS_NODATA) {
        dns_write_records(server, &question, &w);
    }
    size = kith__dns_writer_finish(&w);
    if (mode == DNS_GARBLES) {
        memset(out + KITH_DNS_HEADER_SIZE, 0xc0, 30);
        size = KITH_DNS_HEADER_SIZE + 30;
    }
    return mode == DNS_BAD_RECORD ? size - 3 : size;
}

static inline void dns_send(struct kith_rt_udp *udp, const struct kith_sockaddr *to, const uint8_t *bytes, size_t size)
{
    struct kith_quic_transmit transmit = { .remote = *to, .size = size, .segment_size = size };

    KITH_CHECK_EQ(kith__rt_udp_send(udp, &transmit, bytes), 0);
}

static inline void dns_server_receive(void *ctx, struct kith_quic_received *batch, size_t count, uint64_t now_ns)
{
    struct dns_server *server = ctx;
    uint8_t out[4000];

    for (size_t i = 0; i < count; i++) {
        size_t index = server->udp_count++, size;
        enum dns_mode mode = server->modes[KITH_MIN(index, server->mode_count - 1)];

        KITH_CHECK(index < KITH_COUNT(server->ids) && batch[i].segment_size == 0);
        server->asked_ns[index] = now_ns;
        server->ids[index] = (uint16_t)(batch[i].bytes[0] << 8 | batch[i].bytes[1]);
        server->ports[index] = batch[i].remote.port;
        server->last_size = KITH_MIN(batch[i].size, sizeof server->last);
        memcpy(server->last, batch[i].bytes, server->last_size);
        size = dns_reply(server, mode, false, (struct kith_slice) { batch[i].bytes, batch[i].size }, out);
        if (mode == DNS_SILENT)
            continue;
        dns_send(mode == DNS_WRONG_SOURCE ? server->other : server->udp, &batch[i].remote, out, size);
        if (mode == DNS_TWICE)
            dns_send(server->udp, &batch[i].remote, out, size);
    }
}

static inline void dns_peer_data(void *ctx, uint8_t *bytes, size_t size)
{
    struct dns_peer *peer = ctx;
    size_t whole, reply;

    KITH_CHECK_EQ(kith__buf_append(&peer->in, bytes, size), 0);
    if (peer->in.size < 2 || peer->in.size < (whole = 2 + (size_t)(peer->in.ptr[0] << 8 | peer->in.ptr[1])))
        return;
    peer->server->tcp_count++;
    if (peer->server->modes[peer->server->mode_count - 1] == DNS_SILENT)
        return;
    if (peer->server->modes[peer->server->mode_count - 1] == DNS_HANGS_UP) {
        kith__rt_stream_close(peer->stream);
        peer->stream = NULL;
        return;
    }
    reply = dns_reply(peer->server, peer->server->modes[peer->server->mode_count - 1], true,
                      (struct kith_slice) { peer->in.ptr + 2, whole - 2 }, peer->out + 2);
    peer->out[0] = (uint8_t)(reply >> 8);
    peer->out[1] = (uint8_t)reply;
    KITH_CHECK_EQ(kith__rt_stream_write(peer->stream, peer->out, reply + 2), 0);
}

static inline void dns_server_accept(void *ctx, struct kith_rt_stream *stream)
{
    struct dns_server *server = ctx;
    struct dns_peer *peer = &server->peers[server->peer_count++];
    struct kith_rt_stream_events events = { .on_data = dns_peer_data, .ctx = peer };

    KITH_CHECK(server->peer_count <= DNS_PEERS_MAX);
    *peer = (struct dns_peer) { .server = server, .stream = stream, .in.mem = kith_mem_default() };
    kith__rt_stream_set_events(stream, &events);
    kith__rt_stream_read_start(stream);
}

static inline void dns_server_set(struct dns_server *server, enum dns_mode mode)
{
    server->modes[0] = mode;
    server->mode_count = 1;
}

static inline void dns_server_open(struct dns_server *server)
{
    struct kith_rt_udp_options options = { .local = server->at };
    struct kith_rt_udp_events events = { .on_receive = dns_server_receive, .ctx = server };
    struct kith_rt_stream_addr at = { .ip = server->at };

    KITH_CHECK_EQ(kith__rt_udp_open(server->rt, &options, &events, &server->udp), 0);
    server->at.port = kith__rt_udp_local(server->udp).port; /* it may have been any */
    at.ip.port = server->at.port;
    options.local.port = 0;
    KITH_CHECK_EQ(kith__rt_udp_open(server->rt, &options, &events, &server->other), 0);
    KITH_CHECK_EQ(kith__rt_listen(server->rt, &at, dns_server_accept, server, &server->listener), 0);
}

/** Ends all connections. */
static inline void dns_server_hang_up(struct dns_server *server)
{
    for (size_t i = 0; i < server->peer_count; i++) {
        kith__rt_stream_close(server->peers[i].stream);
        kith__buf_dispose(&server->peers[i].in);
    }
    server->peer_count = 0;
}

static inline void dns_server_close(struct dns_server *server)
{
    dns_server_hang_up(server);
    kith__rt_listener_close(server->listener);
    kith__rt_udp_close(server->udp);
    kith__rt_udp_close(server->other);
    server->listener = NULL;
    server->udp = server->other = NULL;
}

/** A client at 10.0.0.1 and name servers at 10.0.0.53, .54, .55; links take 10 ms each way in all. */
struct dns_world {
    struct kith_sim *sim;
    struct kith_sim_host *host;
    struct kith_rt *rt;
    struct kith_dns_client *client;
    struct dns_server servers[DNS_SERVERS];
};

/** server_count of them are known to the client. mem: of the client and its rt; may be NULL. */
static inline void dns_world_open(struct dns_world *world, size_t server_count, const struct kith_mem *mem)
{
    struct kith_sim_host_options options = { .name = "client", .mem = mem };
    struct kith_sockaddr servers[DNS_SERVERS];
    struct kith_dns_options client_options = { .servers = servers, .server_count = server_count };

    memset(world, 0, sizeof *world);
    KITH_CHECK_EQ(kith__sim_new(NULL, NULL, kith__test_seed(1), &world->sim), 0);
    KITH_CHECK_EQ(kith_sockaddr_parse("10.0.0.1:0", &options.addrs[0]), 0);
    options.up.delay_ns = options.down.delay_ns = 5 * KITH_NS_PER_MS;
    KITH_CHECK_EQ(kith__sim_host_new(world->sim, &options, &world->host), 0);
    world->rt = kith__sim_rt(world->host);
    options = (struct kith_sim_host_options) { .name = "server" };
    for (size_t i = 0; i < DNS_SERVERS; i++) {
        struct dns_server *server = &world->servers[i];

        KITH_CHECK_EQ(kith_sockaddr_parse("10.0.0.53:0", &options.addrs[0]), 0);
        options.addrs[0].ip[3] += (uint8_t)i;
        KITH_CHECK_EQ(kith__sim_host_new(world->sim, &options, &server->host), 0);
        server->rt = kith__sim_rt(server->host);
        server->at = options.addrs[0];
        server->at.port = 53;
        servers[i] = server->at;
        server->ttl_s = 30;
        server->texts[0] = "relay=https://relay.example/";
        server->texts[1] = "addr=10.1.2.3:4567";
        dns_server_set(server, DNS_ANSWERS);
        dns_server_open(server);
    }
    KITH_CHECK_EQ(
        kith__dns_client_new(world->rt, mem != NULL ? mem : kith_mem_default(), &client_options, &world->client), 0);
}

static inline void dns_world_close(struct dns_world *world)
{
    kith__dns_client_free(world->client);
    for (size_t i = 0; i < DNS_SERVERS; i++) {
        dns_server_close(&world->servers[i]);
        kith__rt_free(world->servers[i].rt);
    }
    kith__rt_free(world->rt);
    kith__sim_free(world->sim);
}

static inline void dns_pass(struct dns_world *world, uint64_t ns)
{
    KITH_CHECK_EQ(kith__sim_run(world->sim, NULL, NULL, kith__sim_now(world->sim) + ns), KITH_SIM_OK);
}

/** One who asks a client, and what it heard. */
struct dns_asker {
    struct kith_dns_request *request;
    bool is_done;
    int err;
    char why[KITH_DNS_WHY_SIZE];
    uint8_t message[8192];
    size_t size;
    uint64_t done_ns;
    struct kith_rt *rt;
    struct dns_asker *cancels;
};

static inline void dns_asker_done(void *ctx, int err, const char *why, struct kith_slice message)
{
    struct dns_asker *asker = ctx;

    KITH_CHECK(asker->request != NULL && !asker->is_done && message.size <= sizeof asker->message);
    KITH_CHECK_EQ(err == 0, why[0] == '\0');
    KITH_CHECK_EQ(err == 0, message.size > 0);
    asker->request = NULL;
    asker->is_done = true;
    asker->err = err;
    asker->size = message.size;
    asker->done_ns = kith__rt_now(asker->rt);
    strcpy(asker->why, why);
    if (message.size > 0)
        memcpy(asker->message, message.ptr, message.size);
    if (asker->cancels != NULL) {
        kith__dns_cancel(asker->cancels->request);
        asker->cancels->request = NULL;
    }
}

/** how: KITH_DNS_... bits. */
static inline int dns_query_how(struct dns_world *world, struct dns_asker *asker, const char *text, uint16_t type,
                                unsigned how)
{
    struct kith_dns_name name = dns_name(text);
    struct dns_asker *cancels = asker->cancels;

    memset(asker, 0, sizeof *asker);
    asker->rt = world->rt;
    asker->cancels = cancels;
    return kith__dns_query(world->client, &name, type, how, dns_asker_done, asker, &asker->request);
}

static inline int dns_query_for(struct dns_world *world, struct dns_asker *asker, const char *text, uint16_t type)
{
    return dns_query_how(world, asker, text, type, type != KITH_DNS_TXT ? KITH_DNS_NEGATIVE_IS_FINAL : 0);
}

static inline bool dns_asker_is_done(void *ctx)
{
    return ((struct dns_asker *)ctx)->is_done;
}

/** Asks, and runs until it is told; the milliseconds that it took. */
static inline uint64_t dns_try(struct dns_world *world, struct dns_asker *asker, const char *text, uint16_t type)
{
    uint64_t begun_ns = kith__rt_now(world->rt);

    KITH_CHECK_EQ(dns_query_for(world, asker, text, type), 0);
    KITH_CHECK(!asker->is_done);
    KITH_CHECK_EQ(kith__sim_run(world->sim, dns_asker_is_done, asker, begun_ns + 20 * KITH_NS_PER_S), KITH_SIM_OK);
    return (asker->done_ns - begun_ns) / KITH_NS_PER_MS;
}

#endif
