/*
 * Usage: path-agent [--bind ADDRESS:PORT]... [--paths N] [--traversal N] [--observed off|send|receive|both] [--spread]
 *                   [--path-idle MS] [--key-update PACKETS] [--ticket SOCKETS]
 *                   [--alpn NAME]
 *
 * Without --bind: one port of 127.0.0.1. The ticket names the first SOCKETS of them, or all; --alpn is for dialling. It serves everyone, and dials when told to; see README.md.
 */
#include "path_agent.h"
#include "base/buf.h"
#include "base/mem.h"
#include "endpoint/textkey.h"
#include "endpoint/ticket.h"
#include "rt/uv/uv.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static uint8_t packet[KITH_RT_UDP_SEND_MAX];

static const struct kith_slice echo_alpn = { (const uint8_t *)"kith-test/echo", 14 };

/* ---- Sockets ---- */

size_t paths_socket_of(const struct paths *paths, const struct kith_sockaddr *local)
{
    for (size_t i = 0; i < paths->socket_count; i++)
        if (local->family != KITH_FAMILY_NONE && kith__rt_udp_local(paths->udp[i]).port == local->port)
            return i;
    return 0;
}

/* Where a datagram leaves: the path's own socket, or the first that can reach such an address. */
static size_t socket_for(const struct paths *paths, const struct kith_quic_transmit *transmit)
{
    if (transmit->local.family != KITH_FAMILY_NONE)
        return paths_socket_of(paths, &transmit->local);
    for (size_t i = 0; i < paths->socket_count; i++)
        if (paths->binds[i].family == transmit->remote.family)
            return i;
    return 0;
}

static bool is_dead(const struct paths *paths, size_t socket, const struct kith_sockaddr *remote)
{
    for (size_t i = 0; i < paths->dead_count; i++)
        if (paths->dead[i].socket == socket && kith_sockaddr_equal(&paths->dead[i].remote, remote))
            return true;
    return false;
}

int paths_kill(struct paths *paths, uint32_t path)
{
    struct kith_quic_path_info infos[KITH_QUIC_PATHS_MAX * 2];
    size_t count = paths->conn == NULL ? 0 : kith_quic_conn_paths(paths->conn, infos, KITH_COUNT(infos));
    const struct kith_quic_path_info *found = NULL;

    for (size_t i = 0; i < count && i < KITH_COUNT(infos); i++)
        if (infos[i].id == path ||
            (path == PATHS_BUSIEST && (found == NULL || infos[i].bytes_received > found->bytes_received)))
            found = &infos[i];
    if (found == NULL)
        return KITH_ERR_NOT_FOUND;
    if (paths->dead_count == PATHS_DEAD_MAX)
        return KITH_ERR_LIMIT;
    paths->dead[paths->dead_count++] = (struct paths_dead) { paths_socket_of(paths, &found->local), found->remote };
    return 0;
}

static void on_receive(void *ctx, struct kith_quic_received *batch, size_t count, uint64_t now_ns)
{
    struct paths *paths = ctx;

    for (size_t i = 0; i < count; i++) {
        if (is_dead(paths, paths_socket_of(paths, &batch[i].local), &batch[i].remote))
            paths->dropped++;
        else
            kith_quic_host_receive(paths->host, &batch[i], now_ns);
    }
}

static void flush(struct paths *paths)
{
    struct kith_quic_transmit transmit;

    for (;;) {
        for (size_t i = 0; i < paths->socket_count; i++)
            if (kith__rt_udp_is_blocked(paths->udp[i]))
                return;
        if (!kith_quic_host_transmit(paths->host, packet, sizeof packet, &transmit, kith__rt_now(paths->rt)))
            break;
        size_t socket = socket_for(paths, &transmit);

        if (is_dead(paths, socket, &transmit.remote) || kith__rt_udp_send(paths->udp[socket], &transmit, packet) != 0)
            paths->dropped++;
    }
    kith__rt_timer_set(&paths->timer, kith_quic_host_deadline(paths->host));
}

static void on_turn_end(void *ctx)
{
    struct paths *paths = ctx;
    struct kith_quic_event event;

    while (kith_quic_host_next_event(paths->host, &event))
        paths_event(paths, &event);
    flush(paths);
}

static void on_timer(void *ctx, uint64_t now_ns)
{
    struct paths *paths = ctx;

    kith_quic_host_on_deadline(paths->host, now_ns);
}

/* ---- Start and end ---- */

static int make_host(struct paths *paths)
{
    struct kith_quic_host_options options;

    kith_quic_host_defaults(&options);
    options.random = *kith__rt_system_random();
    options.random.fill(options.random.ctx, options.secret.bytes, sizeof options.secret.bytes);
    options.alpns = &echo_alpn;
    options.alpn_count = 1;
    options.transport = paths->transport;
    return kith_quic_host_new(&options, &paths->host);
}

static int open_sockets(struct paths *paths)
{
    struct kith_rt_udp_events events = { on_receive, NULL, paths };
    int err = 0;

    for (size_t i = 0; i < paths->socket_count && err == 0; i++) {
        struct kith_rt_udp_options options = { .local = paths->binds[i] };

        err = kith__rt_udp_open(paths->rt, &options, &events, &paths->udp[i]);
    }
    return err;
}

static int say_ready(struct paths *paths)
{
    struct kith_id id = kith_quic_host_id(paths->host);
    struct kith_endpoint_addr addr;
    struct kith_buf text;
    char hex[KITH__HEX_KEY_SIZE], where[KITH_SOCKADDR_TEXT_SIZE];
    int err = 0;

    kith__endpoint_addr_init(&addr, kith_mem_default(), &id);
    kith__buf_init(&text, kith_mem_default());
    printf("{\"event\":\"ready\",\"id\":\"%s\",\"addresses\":[", kith__id_format(&id, hex));
    for (size_t i = 0; i < paths->socket_count && err == 0; i++) {
        struct kith_sockaddr local = kith__rt_udp_local(paths->udp[i]);

        printf("%s\"%s\"", i == 0 ? "" : ",", kith_sockaddr_format(&local, where));
        if (i < paths->ticket_count)
            err = kith__endpoint_addr_add_ip(&addr, &local);
    }
    if (err == 0)
        err = kith__endpoint_ticket_format(&addr, &text);
    printf("],\"ticket\":\"%.*s\"}\n", (int)text.size, text.size == 0 ? "" : (const char *)text.ptr);
    kith__buf_dispose(&text);
    kith__endpoint_addr_dispose(&addr);
    return err;
}

static int start(struct paths *paths)
{
    struct kith_rt_hooks hooks = { .on_turn_end = on_turn_end, .ctx = paths };
    int err;

    if ((err = kith__rt_uv_new(NULL, NULL, &paths->rt)) != 0 || (err = open_sockets(paths)) != 0 ||
        (err = kith__rt_timer_init(paths->rt, &paths->timer, on_timer, paths)) != 0 || (err = make_host(paths)) != 0)
        return err;
    kith__rt_set_hooks(paths->rt, &hooks);
    return say_ready(paths);
}

static void stop(struct paths *paths)
{
    struct paths_stream *stream;

    kith_quic_host_free(paths->host);
    kith__rt_timer_dispose(&paths->timer);
    for (size_t i = 0; i < paths->socket_count; i++)
        kith__rt_udp_close(paths->udp[i]);
    kith__rt_free(paths->rt);
    while ((stream = paths->streams) != NULL) {
        paths->streams = stream->next;
        free(stream);
    }
}

/* ---- Standard input ---- */

/* At the end of the input the connection is closed, and its draining is waited for. */
static void end_input(struct paths *paths)
{
    paths->is_ending = true;
    if (paths->conn == NULL)
        paths->is_done = true;
    else
        kith_quic_conn_close(paths->conn, 0, (struct kith_slice) { NULL, 0 }, kith__rt_now(paths->rt));
}

static void read_input(struct paths *paths)
{
    ssize_t got = read(0, paths->line + paths->line_size, sizeof paths->line - 1 - paths->line_size);
    char *end;

    if (got <= 0) {
        end_input(paths);
        return;
    }
    paths->line_size += (size_t)got;
    paths->line[paths->line_size] = 0;
    while ((end = strchr(paths->line, '\n')) != NULL) {
        *end = 0;
        paths_command(paths, paths->line);
        paths->line_size -= (size_t)(end + 1 - paths->line);
        memmove(paths->line, end + 1, paths->line_size + 1);
    }
}

static void run(struct paths *paths)
{
    while (!paths->is_done) {
        uint64_t now = kith__rt_now(paths->rt), until;
        struct pollfd fds[2] = { { kith__rt_fd(paths->rt), POLLIN, 0 }, { 0, POLLIN, 0 } };
        int timeout;

        until = kith__rt_deadline(paths->rt);
        timeout = until == KITH_NEVER ? -1
                  : until <= now      ? 0
                                      : (int)((until - now + KITH_NS_PER_MS - 1) / KITH_NS_PER_MS);
        if (poll(fds, paths->is_ending ? 1 : 2, timeout) < 0 && errno != EINTR)
            return;
        if (!paths->is_ending && fds[1].revents != 0)
            read_input(paths);
        kith__rt_process(paths->rt);
        fflush(stdout);
    }
}

/* ---- Words of the command line ---- */

static bool read_observed(const char *value, struct kith_quic_transport *transport)
{
    static const char *const names[] = { "off", "send", "receive", "both" };

    for (uint8_t i = 0; i < KITH_COUNT(names); i++)
        if (strcmp(value, names[i]) == 0) {
            transport->observed_address = i; /* the order of enum kith_quic_observed */
            return true;
        }
    return false;
}

static bool read_option(const char *word, const char *value, struct paths *paths)
{
    unsigned long number = strtoul(value, NULL, 10);

    if (strcmp(word, "--bind") == 0)
        return paths->socket_count < PATHS_SOCKETS_MAX &&
               kith_sockaddr_parse(value, &paths->binds[paths->socket_count++]) == 0;
    if (strcmp(word, "--observed") == 0)
        return read_observed(value, &paths->transport);
    if (strcmp(word, "--alpn") == 0)
        paths->alpn = value;
    else if (strcmp(word, "--paths") == 0)
        paths->transport.paths_max = (uint8_t)number;
    else if (strcmp(word, "--ticket") == 0)
        paths->ticket_count = number;
    else if (strcmp(word, "--traversal") == 0)
        paths->transport.nat_traversal_max = (uint8_t)number;
    else if (strcmp(word, "--path-idle") == 0)
        paths->transport.path_idle_timeout_ns = number * KITH_NS_PER_MS;
    else if (strcmp(word, "--key-update") == 0)
        paths->transport.key_update_after = number;
    else
        return false;
    return true;
}

static bool read_options(int argc, char **argv, struct paths *paths)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--spread") == 0)
            paths->transport.schedule = KITH_QUIC_SCHEDULE_SPREAD;
        else if (i + 1 >= argc || !read_option(argv[i], argv[i + 1], paths))
            return false;
        else
            i++;
    }
    if (paths->socket_count == 0)
        return read_option("--bind", "127.0.0.1:0", paths);
    return true;
}

int main(int argc, char **argv)
{
    static struct paths paths;
    int err;

    kith_quic_transport_defaults(&paths.transport);
    paths.alpn = "kith-test/echo";
    paths.ticket_count = PATHS_SOCKETS_MAX;
    paths.transport.paths_max = 8;
    paths.transport.nat_traversal_max = 32;
    if (!read_options(argc, argv, &paths)) {
        fprintf(stderr, "path-agent: see the head of tests/interop/path_agent.c for the words\n");
        return 2;
    }
    if ((err = start(&paths)) != 0)
        printf("{\"event\":\"failed\",\"why\":\"%s\"}\n", kith_err_name(err));
    else
        run(&paths);
    stop(&paths);
    return err != 0;
}
