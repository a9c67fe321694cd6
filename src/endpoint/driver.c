/* An engine host on sockets. */
#include "endpoint/driver.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/sockaddr.h"
#include "crypto/blake3.h"
#include "endpoint/candidates.h"

struct kith_driver {
    const struct kith_mem *mem;
    struct kith_rt *rt;
    struct kith_quic_host *host;
    struct kith_rt_udp *sockets[KITH_DRIVER_SOCKETS_MAX];
    struct kith_sockaddr locals[KITH_DRIVER_SOCKETS_MAX];
    size_t socket_count;
    struct kith_rt_timer timer;
    uint8_t *buffer;   /* KITH_DRIVER_BUFFER_SIZE bytes, one batch at a time */
    uint64_t deadline; /* for which the timer is set */
    uint64_t unroutable;
    bool is_pumping;
    void (*on_event)(void *ctx, const struct kith_quic_event *event);
    void (*on_pending)(void *ctx);
    void (*on_relay_send)(void *ctx, const struct kith_quic_transmit *transmit, const uint8_t *bytes);
    void (*on_relay_flush)(void *ctx);
    void *ctx;
    size_t received_size; /* since the last answer */
};

enum { BULK_SIZE_MIN = 16 << 10 }; /* bytes at once that are no exchange of small messages any more */

static void take_events(struct kith_driver *driver)
{
    struct kith_quic_event event;

    while (kith_quic_host_next_event(driver->host, &event))
        driver->on_event(driver->ctx, &event);
}

void kith__driver_receive(struct kith_driver *driver, const struct kith_quic_received *batch, size_t count,
                          uint64_t now_ns)
{
    for (size_t i = 0; i < count; i++) {
        kith_quic_host_receive(driver->host, &batch[i], now_ns);
        driver->received_size += batch[i].size;
    }
}

void kith__driver_received(struct kith_driver *driver)
{
    size_t size = driver->received_size;

    driver->received_size = 0;
    if (driver->on_pending == NULL || size >= BULK_SIZE_MIN) {
        kith__driver_pump(driver);
        return;
    }
    take_events(driver);
    driver->on_pending(driver->ctx);
}

static void on_receive(void *ctx, struct kith_quic_received *batch, size_t count, uint64_t now_ns)
{
    kith__driver_receive(ctx, batch, count, now_ns);
    kith__driver_received(ctx);
}

static void on_writable(void *ctx)
{
    kith__driver_pump(ctx);
}

static void on_timer(void *ctx, uint64_t now_ns)
{
    struct kith_driver *driver = ctx;

    driver->deadline = KITH_NEVER;
    kith_quic_host_on_deadline(driver->host, now_ns);
    kith__driver_pump(driver);
}

static int open_socket(struct kith_driver *driver, const struct kith_driver_options *asked,
                       const struct kith_sockaddr *local)
{
    struct kith_rt_udp_options options = { .local = *local };
    struct kith_rt_udp_events events = { on_receive, on_writable, driver };
    int err;

    if (driver->socket_count == KITH_DRIVER_SOCKETS_MAX)
        return KITH_ERR_LIMIT;
    if ((err = kith__rt_udp_open(driver->rt, &options, &events, &driver->sockets[driver->socket_count])) != 0) {
        if (asked->failed != NULL)
            *asked->failed = *local;
        return err;
    }
    driver->locals[driver->socket_count] = kith__rt_udp_local(driver->sockets[driver->socket_count]);
    driver->socket_count++;
    return 0;
}

static int open_sockets(struct kith_driver *driver, const struct kith_driver_options *options)
{
    int err = 0;

    if (options->no_sockets)
        return 0;
    for (size_t i = 0; err == 0 && i < options->bind_count; i++)
        err = open_socket(driver, options, &options->binds[i]);
    if (options->bind_count > 0)
        return err;
    if ((err = open_socket(driver, options, &(struct kith_sockaddr) { .family = KITH_FAMILY_V4 })) != 0)
        return err;
    err = open_socket(driver, options, &(struct kith_sockaddr) { .family = KITH_FAMILY_V6 });
    /* A machine without IPv6 is no error as long as nobody asked for it. */
    return err == KITH_ERR_UNSUPPORTED || err == KITH_ERR_UNREACHABLE ? 0 : err;
}

static bool ip_is_unspecified(const struct kith_sockaddr *addr)
{
    static const uint8_t none[16];

    return memcmp(addr->ip, none, sizeof none) == 0;
}

/**
 * What this endpoint has again after a restart, and another one with the same key, on this machine or elsewhere, has not:
 * its bound addresses and, where it listens on all, those of the machine. If they change, nobody reaches it there anyway.
 */
static void name_instance(const struct kith_driver *driver, uint8_t out[KITH_HASH_SIZE])
{
    struct kith_rt_interface interfaces[KITH_RT_INTERFACES_MAX];
    struct kith_blake3 hasher;
    bool is_open = false;
    size_t count = 0;

    kith__blake3_init(&hasher);
    for (size_t i = 0; i < driver->socket_count; i++) {
        kith__blake3_update(&hasher, driver->locals[i].ip, sizeof driver->locals[i].ip);
        kith__blake3_update(&hasher, &driver->locals[i].port, sizeof driver->locals[i].port);
        is_open = is_open || ip_is_unspecified(&driver->locals[i]);
    }
    if (is_open && kith__rt_interfaces(driver->rt, interfaces, KITH_COUNT(interfaces), &count) != 0)
        count = 0;
    for (size_t i = 0; i < count; i++)
        if (!interfaces[i].is_loopback)
            kith__blake3_update(&hasher, interfaces[i].addr.ip, sizeof interfaces[i].addr.ip);
    kith__blake3_final(&hasher, out);
}

int kith__driver_new(const struct kith_driver_options *options, struct kith_driver **out)
{
    struct kith_driver *driver = kith__alloc_zero(options->mem, sizeof *driver);
    struct kith_quic_host_options host = *options->host;
    uint8_t instance[KITH_HASH_SIZE];
    int err;

    if (driver == NULL)
        return KITH_ERR_NOMEM;
    driver->mem = options->mem;
    driver->rt = options->rt;
    driver->on_event = options->on_event;
    driver->on_pending = options->on_pending;
    driver->on_relay_send = options->on_relay_send;
    driver->on_relay_flush = options->on_relay_flush;
    driver->ctx = options->ctx;
    driver->deadline = KITH_NEVER;
    host.mem = options->mem;
    host.random = *kith__rt_random(options->rt);
    host.log = &options->rt->log;
    err = KITH_ERR_NOMEM;
    if ((driver->buffer = kith__alloc(options->mem, KITH_DRIVER_BUFFER_SIZE)) == NULL)
        goto fail;
    if ((err = kith__rt_timer_init(options->rt, &driver->timer, on_timer, driver)) != 0)
        goto fail;
    if ((err = open_sockets(driver, options)) != 0) /* no callback comes before the first turn */
        goto fail;
    if (driver->socket_count != 0) { /* without sockets nothing tells it from others with the same key */
        name_instance(driver, instance);
        host.instance = (struct kith_slice) { instance, sizeof instance };
    }
    if ((err = kith_quic_host_new(&host, &driver->host)) != 0)
        goto fail;
    *out = driver;
    return 0;
fail:
    kith__driver_free(driver);
    return err;
}

void kith__driver_free(struct kith_driver *driver)
{
    if (driver == NULL)
        return;
    for (size_t i = 0; i < driver->socket_count; i++)
        kith__rt_udp_close(driver->sockets[i]);
    kith_quic_host_free(driver->host);
    kith__rt_timer_dispose(&driver->timer);
    kith__free(driver->mem, driver->buffer);
    kith__free(driver->mem, driver);
}

struct kith_quic_host *kith__driver_host(struct kith_driver *driver)
{
    return driver->host;
}

/* How well a socket without a say of the engine's fits a destination: a loopback one reaches only loopback. */
static int fitness(const struct kith_sockaddr *local, const struct kith_sockaddr *remote)
{
    if (ip_is_unspecified(local))
        return 2;
    return kith__candidate_is_loopback(local) == kith__candidate_is_loopback(remote) ? 3 : 1;
}

/* The socket for a transmit: the one bound to its local address, else the best of the family. */
static struct kith_rt_udp *socket_for(struct kith_driver *driver, const struct kith_quic_transmit *transmit)
{
    struct kith_rt_udp *fallback = NULL;
    int best = 0;

    for (size_t i = 0; i < driver->socket_count; i++) {
        const struct kith_sockaddr *local = &driver->locals[i];

        if (local->family != transmit->remote.family)
            continue;
        if (transmit->local.port == local->port &&
            (ip_is_unspecified(local) || memcmp(local->ip, transmit->local.ip, sizeof local->ip) == 0))
            return driver->sockets[i];
        if (fitness(local, &transmit->remote) > best) {
            best = fitness(local, &transmit->remote);
            fallback = driver->sockets[i];
        }
    }
    return fallback;
}

static bool is_blocked(const struct kith_driver *driver)
{
    for (size_t i = 0; i < driver->socket_count; i++)
        if (kith__rt_udp_is_blocked(driver->sockets[i]))
            return true;
    return false;
}

static void send_one(struct kith_driver *driver, const struct kith_quic_transmit *transmit)
{
    struct kith_rt_udp *socket;

    if (transmit->remote.family == KITH_FAMILY_RELAY && driver->on_relay_send != NULL) {
        driver->on_relay_send(driver->ctx, transmit, driver->buffer);
        return;
    }
    /* To the engine a datagram without a way out is one that was lost. */
    if ((socket = socket_for(driver, transmit)) == NULL || kith__rt_udp_send(socket, transmit, driver->buffer) != 0)
        driver->unroutable++;
}

/* Sends until nothing may be sent, or the system takes no more (on_writable goes on then). */
static void transmit_all(struct kith_driver *driver)
{
    struct kith_quic_transmit transmit;

    while (!is_blocked(driver) && kith_quic_host_transmit(driver->host, driver->buffer, KITH_DRIVER_BUFFER_SIZE,
                                                          &transmit, kith__rt_now(driver->rt))) {
        send_one(driver, &transmit);
        take_events(driver); /* a stream whose bytes run out asks for more before those behind it get their turn */
    }
}

void kith__driver_pump(struct kith_driver *driver)
{
    uint64_t deadline;

    if (driver->is_pumping) /* an event handler changed something: the loop below sees it */
        return;
    driver->is_pumping = true;
    take_events(driver);
    transmit_all(driver);
    if (driver->on_relay_flush != NULL)
        driver->on_relay_flush(driver->ctx);
    take_events(driver); /* sending can end a connection's draining or a blocked datagram queue */
    driver->is_pumping = false;
    deadline = kith_quic_host_deadline(driver->host);
    if (deadline != driver->deadline) {
        driver->deadline = deadline;
        kith__rt_timer_set(&driver->timer, deadline);
    }
}

uint64_t kith__driver_deadline(const struct kith_driver *driver)
{
    return driver->deadline;
}

size_t kith__driver_bound(const struct kith_driver *driver, struct kith_sockaddr *out, size_t capacity)
{
    for (size_t i = 0; i < driver->socket_count && i < capacity; i++)
        out[i] = driver->locals[i];
    return driver->socket_count;
}

bool kith__driver_has_family(const struct kith_driver *driver, enum kith_family family)
{
    for (size_t i = 0; i < driver->socket_count; i++)
        if (driver->locals[i].family == family)
            return true;
    return false;
}

/* For whom an address is of use: others, this machine, or who is told on which link it is. */
enum reach { REACH_WIDE, REACH_LOOPBACK, REACH_LINK };

static enum reach reach_of(const struct kith_rt_interface *interface)
{
    if (interface->addr.scope_id != 0)
        return REACH_LINK;
    return interface->is_loopback ? REACH_LOOPBACK : REACH_WIDE;
}

/* Adds what interfaces of the socket's family offer. */
static size_t add_interfaces(const struct kith_driver *driver, size_t socket, enum reach reach,
                             struct kith_sockaddr *out, size_t capacity)
{
    struct kith_rt_interface interfaces[KITH_RT_INTERFACES_MAX];
    size_t count = 0, added = 0;

    if (kith__rt_interfaces(driver->rt, interfaces, KITH_RT_INTERFACES_MAX, &count) != 0)
        return 0;
    for (size_t i = 0; i < count && added < capacity; i++) {
        struct kith_sockaddr addr = interfaces[i].addr;

        if (addr.family != driver->locals[socket].family || reach_of(&interfaces[i]) != reach)
            continue;
        addr.port = driver->locals[socket].port;
        out[added++] = addr;
    }
    return added;
}

size_t kith__driver_reachable(const struct kith_driver *driver, struct kith_sockaddr *out, size_t capacity)
{
    size_t count = 0;

    for (size_t i = 0; i < driver->socket_count && count < capacity; i++) {
        if (!ip_is_unspecified(&driver->locals[i]))
            out[count++] = driver->locals[i];
        else
            count += add_interfaces(driver, i, REACH_WIDE, out + count, capacity - count);
    }
    for (size_t i = 0; count == 0 && i < driver->socket_count; i++)
        if (ip_is_unspecified(&driver->locals[i]))
            count += add_interfaces(driver, i, REACH_LOOPBACK, out + count, capacity - count);
    return count;
}

size_t kith__driver_on_links(const struct kith_driver *driver, struct kith_sockaddr *out, size_t capacity)
{
    size_t count = 0;

    for (size_t i = 0; i < driver->socket_count; i++)
        if (ip_is_unspecified(&driver->locals[i]))
            count += add_interfaces(driver, i, REACH_LINK, out + count, capacity - count);
    return count;
}

size_t kith__driver_candidates(const struct kith_driver *driver, const struct kith_sockaddr *ips, size_t count,
                               const struct kith_sockaddr *local, struct kith_sockaddr *out, size_t capacity)
{
    struct kith_rt_interface interfaces[KITH_RT_INTERFACES_MAX];
    struct kith_sockaddr own[KITH_RT_INTERFACES_MAX];
    bool has_family[KITH_FAMILY_V6 + 1] = { false };
    size_t own_count = 0;

    for (size_t i = 0; i < driver->socket_count; i++)
        has_family[driver->locals[i].family] = true;
    if (local->family != KITH_FAMILY_NONE)
        has_family[local->family == KITH_FAMILY_V4 ? KITH_FAMILY_V6 : KITH_FAMILY_V4] = false;
    /* Without the list all addresses are equal; one alone needs no order, and the list costs several system calls. */
    if (count < 2 || kith__rt_interfaces(driver->rt, interfaces, KITH_RT_INTERFACES_MAX, &own_count) != 0)
        own_count = 0;
    for (size_t i = 0; i < own_count; i++)
        own[i] = interfaces[i].addr;
    return kith__candidates_order(ips, count, own, own_count, has_family[KITH_FAMILY_V4], has_family[KITH_FAMILY_V6],
                                  out, capacity);
}

static bool is_interface(const struct kith_driver *driver, const struct kith_sockaddr *address)
{
    struct kith_rt_interface interfaces[KITH_RT_INTERFACES_MAX];
    size_t count = 0;

    if (kith__candidate_is_loopback(address))
        return true;
    if (kith__rt_interfaces(driver->rt, interfaces, KITH_COUNT(interfaces), &count) != 0)
        return false;
    for (size_t i = 0; i < count; i++)
        if (interfaces[i].addr.family == address->family &&
            memcmp(interfaces[i].addr.ip, address->ip, sizeof address->ip) == 0)
            return true;
    return false;
}

bool kith__driver_is_own(const struct kith_driver *driver, const struct kith_sockaddr *address)
{
    for (size_t i = 0; i < driver->socket_count; i++) {
        const struct kith_sockaddr *local = &driver->locals[i];

        if (local->family == address->family && local->port == address->port &&
            (ip_is_unspecified(local) ? is_interface(driver, address)
                                      : memcmp(local->ip, address->ip, sizeof local->ip) == 0))
            return true;
    }
    return false;
}

struct kith_rt_udp_stats kith__driver_udp_stats(const struct kith_driver *driver)
{
    struct kith_rt_udp_stats sum = { 0 };

    for (size_t i = 0; i < driver->socket_count; i++) {
        struct kith_rt_udp_stats one = kith__rt_udp_stats(driver->sockets[i]);

        sum.sent_datagrams += one.sent_datagrams;
        sum.sent_bytes += one.sent_bytes;
        sum.sent_calls += one.sent_calls;
        sum.received_datagrams += one.received_datagrams;
        sum.received_bytes += one.received_bytes;
        sum.received_calls += one.received_calls;
        sum.blocked += one.blocked;
        sum.gso_refused += one.gso_refused;
        sum.ecn_refused += one.ecn_refused;
#define ADD(name) sum.drop_##name += one.drop_##name;
        KITH_RT_UDP_DROPS(ADD)
#undef ADD
    }
    return sum;
}

uint64_t kith__driver_unroutable(const struct kith_driver *driver)
{
    return driver->unroutable;
}
