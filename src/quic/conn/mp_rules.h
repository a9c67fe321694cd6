/** Test only: a pair with several paths, one side of which may do anything. See rules.h. */
#ifndef KITH_QUIC_CONN_MP_RULES_H
#define KITH_QUIC_CONN_MP_RULES_H

#include "quic/conn/rules.h"
#include "quic/wire/hex.h"

#include <stdio.h>

static struct kith_pair pair_m;
static struct kith_app app_m;

static inline struct kith_pair_config configured(uint8_t client_paths, uint8_t server_paths)
{
    struct kith_pair_config config;

    kith__pair_defaults(&config);
    config.transport[0].paths_max = client_paths;
    config.transport[1].paths_max = server_paths;
    config.transport[0].grease = config.transport[1].grease = false; /* no skipped numbers */
    return config;
}

static inline void start(uint8_t client_paths, uint8_t server_paths)
{
    struct kith_pair_config config = configured(client_paths, server_paths);

    rules_connect(&pair_m, &app_m, &config);
}

/** Both sides with several paths, and the server at these many further addresses. */
static inline void start_ways(size_t more, uint8_t nat_traversal_max, bool grease)
{
    struct kith_pair_config config = configured(8, 8);

    config.more_count = more;
    for (size_t i = 0; i < more; i++)
        config.more[i] = config.link;
    for (int side = 0; side < 2; side++) {
        config.transport[side].nat_traversal_max = nat_traversal_max;
        config.transport[side].grease = grease;
    }
    rules_connect(&pair_m, &app_m, &config);
}

static inline uint32_t open_way(size_t way, bool is_backup)
{
    struct kith_sockaddr any = { 0 }, server = kith__pair_server(&pair_m, way);
    uint32_t id = UINT32_MAX;

    KITH_CHECK_EQ(kith_quic_conn_path_open(pair_m.sides[0].conn, &any, &server, is_backup, pair_m.now_ns, &id), 0);
    return id;
}

static inline void block(size_t way, bool from_client, bool from_server)
{
    kith__pair_link(&pair_m, way)->blocked[0] = from_client;
    kith__pair_link(&pair_m, way)->blocked[1] = from_server;
}

static inline struct kith_path *path_of(int side, uint32_t id)
{
    return kith__conn_path(pair_m.sides[side].conn, id);
}

/** The client opens a path from another port of its own; both sides know and have validated it then. Its id. */
static inline uint32_t open_path(void)
{
    struct kith_sockaddr local = pair_m.sides[0].inner;
    uint32_t id = 0;

    local.port = (uint16_t)(local.port + 7);
    KITH_CHECK_EQ(
        kith_quic_conn_path_open(pair_m.sides[0].conn, &local, &pair_m.sides[1].outer, false, pair_m.now_ns, &id), 0);
    kith__pair_run(&pair_m, KITH_NS_PER_S);
    for (int side = 0; side < 2; side++) {
        KITH_CHECK_EQ(pair_m.sides[side].seen[KITH_QUIC_CLOSED], 0);
        KITH_CHECK(kith__path_is_proved(kith__conn_path(pair_m.sides[side].conn, id)));
    }
    return id;
}

static inline void inject_hex(int from, enum kith_level level, const char *hex)
{
    uint8_t frames[128];

    rules_inject(&pair_m, from, level, frames, kith__test_hex(hex, frames, sizeof frames));
}

static inline void check_closed(const char *what, int side, uint64_t code, const char *reason)
{
    const struct kith_pair_side *victim = &pair_m.sides[side];
    bool is_right = victim->seen[KITH_QUIC_CLOSED] == 1 && victim->closed.code == code && !victim->closed.by_peer &&
                    (reason == NULL || strcmp(victim->closed_reason, reason) == 0);

    if (!is_right)
        printf("case: %s at side %d: closed %u with 0x%llx \"%s\"\n", what, side, victim->seen[KITH_QUIC_CLOSED],
               (unsigned long long)victim->closed.code, victim->closed_reason);
    KITH_CHECK(is_right);
}

static inline void check_open(const char *what)
{
    for (int side = 0; side < 2; side++) {
        if (pair_m.sides[side].seen[KITH_QUIC_CLOSED] != 0)
            printf("case: %s: side %d closed with 0x%llx \"%s\"\n", what, side,
                   (unsigned long long)pair_m.sides[side].closed.code, pair_m.sides[side].closed_reason);
        KITH_CHECK_EQ(pair_m.sides[side].seen[KITH_QUIC_CLOSED], 0);
    }
}

static inline bool app_is_done(struct kith_pair *pair)
{
    (void)pair;
    return app_m.sides[1].ended_total != 0;
}

/** After whatever happened, data still flow. */
static inline void check_works(const char *what)
{
    kith__pair_run(&pair_m, KITH_NS_PER_S);
    check_open(what);
    kith__app_send(&pair_m, 0, false, 100000);
    KITH_CHECK(kith__pair_run_until(&pair_m, app_is_done, 10 * KITH_NS_PER_S));
    check_open(what);
    KITH_CHECK_EQ(app_m.sides[1].read_total, 100000);
}

#endif
