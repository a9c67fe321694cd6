/* Links over simulated and real TCP, plain and with TLS: one set of tests for all of them. */
#include "link/link.h"

#include "link/dial.h"
#include "link/world.h"

#include <stdio.h>
#include <time.h>

static uint64_t now_s(void)
{
    return (uint64_t)time(NULL);
}

/** Two joined links. */
struct duo {
    struct world world;
    struct acceptor acceptor;
    struct peer client, server;
};

static int duo_dial(struct duo *duo)
{
    struct kith_link_events events = peer_events(&duo->client);
    struct kith_sockaddr at = kith__rt_listener_local(duo->acceptor.listener);
    const struct kith_dial_options options = {
        .rt = duo->world.client,
        .host = duo->world.is_real ? "127.0.0.1" : "relay.test",
        .port = at.port,
        .tls = duo->world.client_tls,
    };

    return kith__link_dial(&options, &events, &duo->client.link);
}

static void duo_open(struct duo *duo, int kind, const struct kith_mem *mem)
{
    memset(duo, 0, sizeof *duo);
    world_open(&duo->world, kind, mem, now_s());
    KITH_CHECK_EQ(acceptor_open(&duo->acceptor, &duo->world, &duo->server, 1), 0);
    KITH_CHECK_EQ(duo_dial(duo), 0);
    world_run(&duo->world, &duo->client.is_open_told);
    world_run(&duo->world, &duo->server.is_open_told);
    KITH_CHECK_EQ(duo->client.open_err, 0);
    KITH_CHECK_EQ(duo->server.open_err, 0);
    KITH_CHECK(kith__link_is_open(duo->client.link) && kith__link_is_open(duo->server.link));
}

static void duo_close(struct duo *duo)
{
    peer_dispose(&duo->client);
    peer_dispose(&duo->server);
    kith__rt_listener_close(duo->acceptor.listener);
    world_close(&duo->world);
}

/** Writes, and waits until the bytes are ours again. */
static void write_all(struct duo *duo, struct peer *peer, const void *bytes, size_t size)
{
    peer->is_written = false;
    KITH_CHECK_EQ(kith__link_write(peer->link, bytes, size), 0);
    KITH_CHECK(kith__link_is_writing(peer->link));
    KITH_CHECK_EQ(kith__link_write(peer->link, bytes, size), KITH_ERR_STATE);
    world_run(&duo->world, &peer->is_written);
    KITH_CHECK_EQ(peer->written_err, 0);
    KITH_CHECK(!kith__link_is_writing(peer->link));
}

static void wait_for(struct duo *duo, struct peer *peer, size_t size)
{
    peer->wanted = size;
    peer->has_wanted = peer->got.size >= size;
    world_run(&duo->world, &peer->has_wanted);
    KITH_CHECK_EQ(peer->got.size, size);
}

static void fill(uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i * 131 + i / 251);
}

enum { BIG = 1 << 20 };

KITH_TEST(link_carries_bytes_both_ways)
{
    static uint8_t big[BIG];

    fill(big, sizeof big);
    for (int kind = 0; kind < WORLD_KINDS; kind++) {
        struct duo duo;

        duo_open(&duo, kind, NULL);
        KITH_CHECK_EQ(kith__link_is_tls(duo.server.link), duo.world.is_tls);
        write_all(&duo, &duo.client, big, sizeof big);
        wait_for(&duo, &duo.server, sizeof big);
        KITH_CHECK_BYTES(duo.server.got.ptr, big, sizeof big);
        write_all(&duo, &duo.server, big, sizeof big);
        wait_for(&duo, &duo.client, sizeof big);
        KITH_CHECK_BYTES(duo.client.got.ptr, big, sizeof big);
        KITH_CHECK_EQ(kith__link_stats(duo.client.link).sent_bytes, sizeof big);
        KITH_CHECK_EQ(kith__link_stats(duo.client.link).received_bytes, sizeof big);
        KITH_CHECK_BYTES(&(uint8_t) { big[9] }, big + 9, 1); /* what is borrowed was not changed */
        fill(duo.server.got.ptr, sizeof big);
        KITH_CHECK_BYTES(duo.server.got.ptr, big, sizeof big);
        duo_close(&duo);
    }
}

KITH_TEST(link_writes_slices_one_behind_the_other)
{
    static uint8_t big[BIG];
    struct kith_slice slices[KITH_RT_STREAM_SLICES_MAX + 1];

    fill(big, sizeof big);
    for (int kind = 0; kind < WORLD_KINDS; kind++) {
        struct duo duo;
        size_t at = 0, size = 0;

        duo_open(&duo, kind, NULL);
        for (size_t i = 0; i < KITH_RT_STREAM_SLICES_MAX; i++) { /* together more than a TLS stream takes at once */
            slices[i] = (struct kith_slice) { big + at, 1 + (i * 7919) % 15000 };
            at += slices[i].size;
        }
        KITH_CHECK(at > 300000 && at < sizeof big);
        KITH_CHECK_EQ(kith__link_write_slices(duo.client.link, slices, 0), KITH_ERR_INVALID);
        KITH_CHECK_EQ(kith__link_write_slices(duo.client.link, slices, KITH_COUNT(slices)), KITH_ERR_INVALID);
        KITH_CHECK_EQ(kith__link_write(duo.client.link, big, 0), KITH_ERR_INVALID);
        KITH_CHECK_EQ(kith__link_write_slices(duo.client.link, slices, KITH_RT_STREAM_SLICES_MAX), 0);
        memset(slices, 0, sizeof slices); /* the array is not borrowed */
        world_run(&duo.world, &duo.client.is_written);
        wait_for(&duo, &duo.server, at);
        KITH_CHECK_BYTES(duo.server.got.ptr, big, at);
        size = at;
        slices[0] = (struct kith_slice) { big, 1 };
        slices[1] = (struct kith_slice) { big + 1, 2 };
        KITH_CHECK_EQ(kith__link_write_slices(duo.client.link, slices, 2), 0);
        wait_for(&duo, &duo.server, size + 3);
        KITH_CHECK_BYTES(duo.server.got.ptr + size, big, 3);
        duo_close(&duo);
    }
}

KITH_TEST(link_that_is_paused_gives_nothing_and_loses_nothing)
{
    static uint8_t big[BIG];

    fill(big, sizeof big);
    for (int kind = 0; kind < WORLD_KINDS; kind++) {
        struct duo duo;
        size_t before;

        duo_open(&duo, kind, NULL);
        duo.server.pauses = true; /* inside on_data, and more of it waits inside then */
        KITH_CHECK_EQ(kith__link_write(duo.client.link, big, sizeof big), 0);
        duo.server.wanted = sizeof big;
        world_pass(&duo.world, KITH_NS_PER_S);
        before = duo.server.got.size;
        KITH_CHECK(before > 0 && before <= KITH_RT_STREAM_READ_MAX);
        world_pass(&duo.world, KITH_NS_PER_S);
        KITH_CHECK_EQ(duo.server.got.size, before);
        for (int i = 0; i < 1000 && !duo.server.has_wanted; i++) {
            kith__link_read_resume(duo.server.link);
            world_pass(&duo.world, 100 * KITH_NS_PER_MS);
        }
        KITH_CHECK_EQ(duo.server.got.size, sizeof big);
        KITH_CHECK_BYTES(duo.server.got.ptr, big, sizeof big);
        duo_close(&duo);
    }
}

KITH_TEST(link_that_finishes_delivers_its_last_bytes)
{
    static uint8_t big[BIG];

    fill(big, sizeof big);
    for (int kind = 0; kind < WORLD_KINDS; kind++) {
        struct duo duo;
        uint64_t began_ns;

        duo_open(&duo, kind, NULL);
        KITH_CHECK_EQ(kith__link_write(duo.client.link, (const uint8_t *)"these bytes are never read", 26), 0);
        KITH_CHECK_EQ(kith__link_write(duo.server.link, big, sizeof big), 0);
        kith__link_read_pause(duo.server.link);
        kith__link_finish(duo.server.link, 0); /* with the write under way */
        KITH_CHECK(duo.server.link != NULL);
        world_run(&duo.world, &duo.client.is_ended);
        KITH_CHECK_EQ(duo.client.end_err, 0);
        KITH_CHECK_EQ(duo.client.got.size, sizeof big);
        KITH_CHECK_BYTES(duo.client.got.ptr, big, sizeof big);
        KITH_CHECK(duo.server.is_written && duo.server.written_err == 0);
        KITH_CHECK(
            !duo.server.is_closed); /* it waits for our end, so that no reset overtakes what we have yet to read */
        began_ns = kith__rt_now(duo.world.client);
        kith__link_finish(duo.client.link, 0);
        world_run(&duo.world, &duo.server.is_closed);
        if (!duo.world.is_real) /* and reads what we sent, to see it */
            KITH_CHECK_EQ(kith__rt_now(duo.world.client) - began_ns, 20 * KITH_NS_PER_MS);
        world_run(&duo.world, &duo.client.is_closed);
        KITH_CHECK(!duo.server.is_ended && duo.server.got.size == 0); /* nothing was told after finish */
        duo_close(&duo);
    }
}

KITH_TEST(link_does_not_finish_for_ever)
{
    for (int kind = WORLD_PLAIN; kind <= WORLD_TLS; kind += WORLD_TLS) { /* in virtual time */
        struct duo duo;
        uint64_t began_ns;

        duo_open(&duo, kind, NULL);
        began_ns = kith__sim_now(duo.world.sim);
        kith__link_finish(duo.server.link, 0); /* the client is told, and does not end */
        world_run(&duo.world, &duo.server.is_closed);
        KITH_CHECK_EQ(kith__sim_now(duo.world.sim) - began_ns, KITH_LINK_FINISH_NS);
        KITH_CHECK(duo.client.is_ended);
        duo_close(&duo);

        duo_open(&duo, kind, NULL);
        kith__sim_host_set_down(duo.world.client_host, true); /* dead: not even the write gets through */
        KITH_CHECK_EQ(kith__link_write(duo.server.link, (const uint8_t *)"lost", 4), 0);
        began_ns = kith__sim_now(duo.world.sim);
        kith__link_finish(duo.server.link, 200 * KITH_NS_PER_MS);
        world_run(&duo.world, &duo.server.is_closed);
        KITH_CHECK_EQ(kith__sim_now(duo.world.sim) - began_ns, 200 * KITH_NS_PER_MS);
        duo_close(&duo);
    }
}

KITH_TEST(link_that_is_closed_cuts_what_is_under_way)
{
    static uint8_t big[BIG * 8];

    for (int kind = 0; kind < WORLD_KINDS; kind++) {
        struct duo duo;

        duo_open(&duo, kind, NULL);
        duo.client.pauses = true;
        KITH_CHECK_EQ(kith__link_write(duo.server.link, big, sizeof big), 0);
        world_pass(&duo.world, 100 * KITH_NS_PER_MS);
        KITH_CHECK(!duo.server.is_written);
        kith__link_close(duo.server.link);
        duo.server.link = NULL;
        duo.client.pauses = false;
        kith__link_read_resume(duo.client.link);
        world_run(&duo.world, &duo.client.is_ended);
        KITH_CHECK(duo.client.end_err == KITH_ERR_RESET || !duo.world.is_tls ||
                   duo.client.end_err == KITH_ERR_TRUNCATED); /* with TLS a cut is always seen */
        KITH_CHECK(duo.client.got.size < sizeof big);
        KITH_CHECK(!duo.server.is_written && !duo.server.is_closed);
        duo_close(&duo);
    }
}

static void close_in_data(void *ctx, uint8_t *bytes, size_t size)
{
    struct peer *peer = ctx;

    (void)bytes, (void)size;
    kith__link_close(peer->link);
    peer->link = NULL;
    peer->has_wanted = true;
}

KITH_TEST(link_may_be_closed_inside_its_events)
{
    static uint8_t big[BIG];

    for (int kind = 0; kind < WORLD_KINDS; kind++) {
        struct duo duo;

        duo_open(&duo, kind, NULL);
        kith__link_set_events(duo.server.link,
                              &(struct kith_link_events) { .on_data = close_in_data, .ctx = &duo.server });
        KITH_CHECK_EQ(kith__link_write(duo.client.link, big, sizeof big), 0);
        world_run(&duo.world, &duo.server.has_wanted);
        world_pass(&duo.world, KITH_NS_PER_S);
        duo_close(&duo);
    }
}

KITH_TEST(link_exports_the_same_keys_on_both_sides)
{
    static const uint8_t context[] = "key";
    const struct kith_slice label = { (const uint8_t *)"EXPORTER-test", 13 };
    uint8_t client[32], server[32];

    for (int kind = 0; kind < WORLD_KINDS; kind++) {
        struct duo duo;
        int wanted;

        duo_open(&duo, kind, NULL);
        wanted = duo.world.is_tls ? 0 : KITH_ERR_UNSUPPORTED;
        KITH_CHECK_EQ(kith__link_export(duo.client.link, label, (struct kith_slice) { context, 3 }, client, 32),
                      wanted);
        KITH_CHECK_EQ(kith__link_export(duo.server.link, label, (struct kith_slice) { context, 3 }, server, 32),
                      wanted);
        if (wanted == 0) {
            KITH_CHECK_BYTES(client, server, 32);
            KITH_CHECK_STR(kith__link_tls_version(duo.server.link), "TLS 1.3");
            KITH_CHECK(!kith__link_is_challenge(duo.server.link));
        }
        KITH_CHECK_EQ(kith__link_alpn(duo.client.link).size, 0);
        duo_close(&duo);
    }
}

KITH_TEST(link_knows_its_addresses)
{
    for (int kind = 0; kind < WORLD_KINDS; kind++) {
        struct duo duo;
        struct kith_sockaddr there, here, at;

        duo_open(&duo, kind, NULL);
        at = kith__rt_listener_local(duo.acceptor.listener);
        there = kith__link_remote(duo.client.link);
        here = kith__link_local(duo.client.link);
        KITH_CHECK(kith_sockaddr_equal(&there, &at));
        there = kith__link_remote(duo.server.link);
        KITH_CHECK(kith_sockaddr_equal(&there, &here));
        here = kith__link_local(duo.server.link);
        KITH_CHECK(kith_sockaddr_equal(&here, &at));
        KITH_CHECK(kith__link_rt(duo.server.link) == duo.world.server);
        duo_close(&duo);
    }
}

KITH_TEST(link_writes_on_after_the_other_side_has_ended)
{
    for (int kind = 0; kind < WORLD_KINDS; kind++) {
        struct duo duo;

        duo_open(&duo, kind, NULL);
        kith__link_finish(duo.client.link, 5 * KITH_NS_PER_S); /* it still reads, though it throws away */
        world_run(&duo.world, &duo.server.is_ended);
        KITH_CHECK_EQ(duo.server.end_err, 0);
        write_all(&duo, &duo.server, "late", 4);
        kith__link_finish(duo.server.link, 0);
        world_run(&duo.world, &duo.server.is_closed);
        world_run(&duo.world, &duo.client.is_closed);
        duo_close(&duo);
    }
}

KITH_TEST(link_notices_a_reset)
{
    for (int kind = WORLD_PLAIN; kind <= WORLD_TLS; kind += WORLD_TLS) {
        struct duo duo;

        duo_open(&duo, kind, NULL);
        kith__sim_tcp_reset_all(duo.world.client_host);
        world_run(&duo.world, &duo.server.is_ended);
        KITH_CHECK_EQ(duo.server.end_err, KITH_ERR_RESET);
        if (kith__link_write(duo.server.link, (const uint8_t *)"x", 1) == 0) {
            world_run(&duo.world, &duo.server.is_written);
            KITH_CHECK(duo.server.written_err != 0);
            KITH_CHECK_EQ(kith__link_write(duo.server.link, (const uint8_t *)"x", 1), KITH_ERR_STATE);
        }
        kith__link_finish(duo.server.link, 0);
        world_run(&duo.world, &duo.server.is_closed);
        duo_close(&duo);
    }
}

/* ---- Memory ---- */

/** Counts the bytes that are allocated. */
static void *count_resize(void *ctx, void *ptr, size_t size)
{
    const struct kith_mem *mem = kith_mem_default();
    size_t *live = ctx, *block = ptr != NULL ? (size_t *)ptr - 2 : NULL, *moved;

    if (size == 0) {
        *live -= block != NULL ? block[0] : 0;
        kith__free(mem, block);
        return NULL;
    }
    if ((moved = kith__realloc(mem, block, size + 2 * sizeof *block)) == NULL)
        return NULL;
    *live += size - (block != NULL ? moved[0] : 0);
    moved[0] = size;
    return moved + 2;
}

enum { IDLE_LINKS = 50, IDLE_LINK_SIZE_MAX = 2048 };

KITH_TEST(link_that_is_idle_takes_little_memory)
{
    static struct peer clients[IDLE_LINKS], servers[IDLE_LINKS];
    size_t live = 0, before = 0, each;
    const struct kith_mem mem = { count_resize, &live };
    struct acceptor acceptor;
    struct world world, other;

    world_open(&world, WORLD_REAL, &mem, 0);
    world_open(&other, WORLD_REAL, NULL, 0); /* the clients have an rt of their own, which is not counted */
    KITH_CHECK_EQ(acceptor_open(&acceptor, &world, servers, IDLE_LINKS), 0);
    for (int i = 0; i < IDLE_LINKS; i++) {
        struct kith_link_events events = peer_events(&clients[i]);

        KITH_CHECK_EQ(
            kith__link_dial(&(struct kith_dial_options) { .rt = other.client,
                                                          .host = "127.0.0.1",
                                                          .port = kith__rt_listener_local(acceptor.listener).port },
                            &events, &clients[i].link),
            0);
        world_run(&other, &clients[i].is_open_told);
        KITH_CHECK_EQ(kith__link_write(clients[i].link, (const uint8_t *)"hello", 5), 0);
        servers[i].wanted = 5;
        world_run(&world, &servers[i].has_wanted);
        if (i == 0) /* with the first one the rt took what all of them share */
            before = live;
    }
    each = (live - before) / (IDLE_LINKS - 1);
    printf("an idle accepted link takes %zu bytes\n", each);
    KITH_CHECK(each <= IDLE_LINK_SIZE_MAX);
    for (int i = 0; i < IDLE_LINKS; i++) {
        peer_dispose(&clients[i]);
        peer_dispose(&servers[i]);
    }
    kith__rt_listener_close(acceptor.listener);
    world_close(&world);
    world_close(&other);
    KITH_CHECK_EQ(live, 0);
}
