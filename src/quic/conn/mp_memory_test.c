/* Several paths and a round of NAT traversal, with each allocation failing once. */
#include "quic/conn/mp_rules.h"

enum { WAYS = 5 /* to the server, beside the first */ };

/** Errors are fine: memory may be short. */
static void use_paths(void)
{
    struct kith_quic_conn *client = pair_m.sides[0].conn, *server = pair_m.sides[1].conn;
    struct kith_sockaddr local = pair_m.sides[0].inner, candidate = local;
    static const uint8_t bytes[30000];
    uint32_t path;
    uint64_t stream;
    size_t written;
    int err;

    local.port = (uint16_t)(local.port + 3);
    err = kith_quic_conn_path_open(client, &local, &pair_m.sides[1].outer, false, pair_m.now_ns, &path);

    err |= kith_quic_conn_add_candidate(client, &local, pair_m.now_ns);
    for (size_t way = 1; way <= WAYS && server != NULL; way++) {
        candidate = kith__pair_server(&pair_m, way);
        err |= kith_quic_conn_add_candidate(server, &candidate, pair_m.now_ns);
    }
    kith__pair_run(&pair_m, KITH_NS_PER_S / 2);
    err |= kith_quic_conn_punch(client, pair_m.now_ns);
    if (kith_quic_stream_open(client, true, &stream) == 0)
        err |= kith_quic_stream_write(client, stream, bytes, sizeof bytes, true, &written);
    kith__pair_run(&pair_m, KITH_NS_PER_S);
    err |= kith_quic_conn_path_close(client, 0, 0x3e, pair_m.now_ns);
    if (server != NULL)
        err |= kith_quic_conn_remove_candidate(server, &candidate, pair_m.now_ns);
    kith__pair_run(&pair_m, 5 * KITH_NS_PER_S);
    (void)err;
}

/** Returns how many allocations there were. */
static uint64_t run_with_failure(int side, uint64_t fail_at)
{
    struct kith_pair_config config = configured(8, 8);
    struct kith_test_mem memory[2];

    for (int i = 0; i < 2; i++) {
        kith__test_mem_init(&memory[i], i == side ? fail_at : 0);
        config.mem[i] = &memory[i].mem;
        config.transport[i].nat_traversal_max = 32;
        config.transport[i].observed_address = KITH_QUIC_OBSERVED_BOTH;
    }
    config.link.loss_permille = 30;
    config.more_count = WAYS;
    for (int i = 0; i < WAYS; i++)
        config.more[i] = config.link;
    if (kith__pair_init(&pair_m, &config) == 0) {
        kith__app_attach(&app_m, &pair_m);
        app_m.sides[1].pause = true; /* what arrives is no pattern */
        if (kith__pair_dial(&pair_m, NULL) == 0) {
            kith__pair_run(&pair_m, KITH_NS_PER_S);
            if (kith_quic_conn_is_established(pair_m.sides[0].conn))
                use_paths();
            kith_quic_conn_close(pair_m.sides[0].conn, 1, (struct kith_slice) { 0 }, pair_m.now_ns);
            kith__pair_run(&pair_m, 60 * KITH_NS_PER_S);
        }
    }
    if (fail_at == 0) { /* the whole of it happened */
        KITH_CHECK(pair_m.sides[0].seen[KITH_QUIC_PATH_VALIDATED] >= 2);
        KITH_CHECK(pair_m.sides[0].seen[KITH_QUIC_PATH_ABANDONED] >= 1);
        KITH_CHECK(pair_m.sides[0].seen[KITH_QUIC_CANDIDATE_ADDED] >= 1);
    }
    kith__pair_dispose(&pair_m);
    for (int i = 0; i < 2; i++)
        KITH_CHECK_EQ(memory[i].live, 0);
    return memory[side].calls;
}

KITH_TEST(mp_every_failing_allocation_is_survived)
{
    for (int side = 0; side < 2; side++) {
        uint64_t count = run_with_failure(side, 0);

        KITH_CHECK(count > 50);
        for (uint64_t n = 1; n <= count; n++)
            run_with_failure(side, n);
    }
}
