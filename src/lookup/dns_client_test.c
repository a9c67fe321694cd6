/* The DNS client against name servers that lose, lie and die, in the simulated world. */
#include "lookup/dns_world.h"

#define NAME "_iroh.abc.dns.example"

KITH_TEST(dns_question_is_as_real_peers_ask_it)
{
    struct dns_world world;
    struct dns_asker asker = { 0 };
    static const uint8_t tail[] = "\1\0\0\1\0\0\0\0\0\0\5_iroh\3abc\3dns\7example\0\0\x10\0\1";

    dns_world_open(&world, 1, NULL);
    KITH_CHECK_EQ(dns_try(&world, &asker, NAME, KITH_DNS_TXT), 10);
    KITH_CHECK_EQ(asker.err, 0);
    KITH_CHECK_EQ(world.servers[0].last_size, 2 + sizeof tail - 1);
    KITH_CHECK_BYTES(world.servers[0].last + 2, tail, sizeof tail - 1);
    KITH_CHECK_EQ(world.servers[0].udp_count, 1);
    dns_pass(&world, 10 * KITH_NS_PER_S); /* and not once more */
    KITH_CHECK_EQ(world.servers[0].udp_count, 1);
    dns_world_close(&world);
}

KITH_TEST(dns_tries_are_staggered_and_each_has_its_time)
{
    static const uint16_t delays_ms[KITH_DNS_TRIES] = { 0, 200, 300, 600, 1000, 2000, 3000 };
    struct dns_world world;
    struct dns_asker asker = { 0 };
    struct dns_server *server = &world.servers[0];
    uint64_t took_ms, begun_ns;

    dns_world_open(&world, 1, NULL);
    dns_server_set(server, DNS_SILENT);
    begun_ns = kith__sim_now(world.sim) + 5 * KITH_NS_PER_MS;
    took_ms = dns_try(&world, &asker, NAME, KITH_DNS_TXT);
    KITH_CHECK_EQ(asker.err, KITH_ERR_TIMEOUT);
    KITH_CHECK_STR(asker.why, "name server 10.0.0.53:53: no answer in time (7 tries)");
    KITH_CHECK_EQ(server->udp_count, KITH_DNS_TRIES);
    for (size_t i = 0; i < KITH_DNS_TRIES; i++) {
        uint64_t at_ns = server->asked_ns[i] - begun_ns, delay_ns = delays_ms[i] * KITH_NS_PER_MS;

        KITH_CHECK(at_ns >= delay_ns / 5 * 4 && (at_ns < delay_ns / 5 * 6 || delay_ns == 0));
        for (size_t j = 0; j < i; j++) /* a port and an id of its own each */
            KITH_CHECK(server->ports[i] != server->ports[j] && server->ids[i] != server->ids[j]);
    }
    KITH_CHECK((server->asked_ns[6] - begun_ns) % KITH_NS_PER_MS != 0); /* jittered */
    KITH_CHECK(took_ms >= 5400 && took_ms < 6600);
    dns_world_close(&world);
}

KITH_TEST(dns_first_good_answer_wins_whatever_went_wrong_before)
{
    static const struct {
        enum dns_mode mode;
        uint64_t until_ms; /* the second try answers by then */
    } cases[] = {
        { DNS_SILENT, 250 },  { DNS_NXDOMAIN, 250 },     { DNS_NODATA, 250 },         { DNS_SERVFAIL, 250 },
        { DNS_REFUSED, 250 }, { DNS_GARBLES, 250 },      { DNS_BAD_RECORD, 250 },     { DNS_WRONG_ID, 250 },
        { DNS_TWICE, 10 },    { DNS_WRONG_SOURCE, 250 }, { DNS_WRONG_QUESTION, 250 },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct dns_world world;
        struct dns_asker asker = { 0 };
        uint64_t took_ms;

        dns_world_open(&world, 1, NULL);
        world.servers[0].modes[0] = cases[i].mode;
        world.servers[0].modes[1] = DNS_ANSWERS;
        world.servers[0].mode_count = 2;
        took_ms = dns_try(&world, &asker, NAME, KITH_DNS_TXT);
        KITH_CHECK_EQ(asker.err, 0);
        KITH_CHECK(took_ms <= cases[i].until_ms);
        KITH_CHECK(took_ms >= (cases[i].until_ms == 250 ? 170 : 10));
        dns_pass(&world, 10 * KITH_NS_PER_S);
        dns_world_close(&world);
    }
}

KITH_TEST(dns_failures_are_told_by_server_and_reason)
{
    static const struct {
        enum dns_mode mode;
        int err;
        const char *says;
    } cases[] = {
        { DNS_NXDOMAIN, KITH_ERR_NOT_FOUND, "no such name (7 tries)" },
        { DNS_NODATA, KITH_ERR_NOT_FOUND, "no record of that type (7 tries)" },
        { DNS_SERVFAIL, KITH_ERR_IO, "SERVFAIL" },
        { DNS_REFUSED, KITH_ERR_REFUSED, "refuses" },
        { DNS_GARBLES, KITH_ERR_TIMEOUT, "no answer in time" },
        { DNS_BAD_RECORD, KITH_ERR_PARSE, "malformed" },
        { DNS_WRONG_ID, KITH_ERR_TIMEOUT, "no answer in time" },
        { DNS_WRONG_SOURCE, KITH_ERR_TIMEOUT, "no answer in time" },
        { DNS_WRONG_QUESTION, KITH_ERR_TIMEOUT, "no answer in time" },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct dns_world world;
        struct dns_asker asker = { 0 };
        uint64_t took_ms;

        dns_world_open(&world, 1, NULL);
        dns_server_set(&world.servers[0], cases[i].mode);
        took_ms = dns_try(&world, &asker, NAME, KITH_DNS_TXT);
        KITH_CHECK_EQ(asker.err, cases[i].err);
        KITH_CHECK(strstr(asker.why, cases[i].says) != NULL);
        KITH_CHECK_EQ(world.servers[0].udp_count, KITH_DNS_TRIES);
        KITH_CHECK(took_ms >= 2400 && took_ms < 6700); /* the last try is at 3 s, more or less */
        dns_world_close(&world);
    }
}

KITH_TEST(dns_drops_are_counted)
{
    struct dns_world world;
    struct dns_asker asker = { 0 };

    dns_world_open(&world, 1, NULL);
    world.servers[0].modes[0] = DNS_WRONG_ID;
    world.servers[0].modes[1] = DNS_WRONG_SOURCE;
    world.servers[0].modes[2] = DNS_GARBLES;
    world.servers[0].modes[3] = DNS_WRONG_QUESTION;
    world.servers[0].modes[4] = DNS_ANSWERS;
    world.servers[0].mode_count = 5;
    dns_try(&world, &asker, NAME, KITH_DNS_TXT);
    KITH_CHECK_EQ(asker.err, 0);
    KITH_CHECK_EQ(kith__dns_client_stats(world.client).asks.drop_wrong_id, 1);
    KITH_CHECK_EQ(kith__dns_client_stats(world.client).asks.drop_wrong_source, 1);
    KITH_CHECK_EQ(kith__dns_client_stats(world.client).asks.drop_wrong_question, 2);
    KITH_CHECK_EQ(kith__dns_client_stats(world.client).answered, 1);
    dns_world_close(&world);
}

KITH_TEST(dns_servers_take_turns_and_the_one_that_answers_is_kept)
{
    struct dns_world world;
    struct dns_asker asker = { 0 };
    uint64_t took_ms;

    dns_world_open(&world, 3, NULL);
    kith__sim_host_set_down(world.servers[0].host, true);
    dns_server_set(&world.servers[1], DNS_SERVFAIL);
    took_ms = dns_try(&world, &asker, NAME, KITH_DNS_TXT);
    KITH_CHECK_EQ(asker.err, 0);
    KITH_CHECK(took_ms >= 250 && took_ms <= 370); /* the third try */
    KITH_CHECK_EQ(dns_try(&world, &asker, "other.example", KITH_DNS_TXT), 10);
    KITH_CHECK_EQ(world.servers[2].udp_count, 2);
    kith__sim_host_set_down(world.servers[2].host, true); /* dies, and all answer otherwise */
    dns_server_set(&world.servers[1], DNS_NXDOMAIN);
    dns_try(&world, &asker, "third.example", KITH_DNS_TXT);
    KITH_CHECK_EQ(asker.err, KITH_ERR_NOT_FOUND);
    KITH_CHECK(strstr(asker.why, "10.0.0.55:53: no answer in time (3 tries); ") != NULL);
    KITH_CHECK(strstr(asker.why, "10.0.0.53:53: no answer in time (2 tries)") != NULL);
    KITH_CHECK(strstr(asker.why, "10.0.0.54:53: no such name (2 tries)") != NULL);
    kith__sim_host_set_down(world.servers[0].host, false);
    kith__sim_host_set_down(world.servers[2].host, false);
    dns_world_close(&world);
}

KITH_TEST(dns_cut_answers_come_over_tcp)
{
    struct dns_world world;
    struct dns_asker asker = { 0 };

    dns_world_open(&world, 1, NULL);
    dns_server_set(&world.servers[0], DNS_TRUNCATES);
    KITH_CHECK(dns_try(&world, &asker, NAME, KITH_DNS_TXT) <= 40); /* two ways for UDP, four for TCP */
    KITH_CHECK_EQ(asker.err, 0);
    KITH_CHECK_EQ(world.servers[0].tcp_count, 1);
    KITH_CHECK_EQ(kith__dns_client_stats(world.client).asks.asked_tcp, 1);
    dns_world_close(&world);

    dns_world_open(&world, 1, NULL); /* it does not wait for what will not come */
    dns_server_set(&world.servers[0], DNS_HANGS_UP);
    KITH_CHECK(dns_try(&world, &asker, NAME, KITH_DNS_TXT) < 3700);
    KITH_CHECK(asker.err != 0 && strstr(asker.why, "in time") == NULL);
    dns_world_close(&world);

    dns_world_open(&world, 1, NULL); /* nobody listens */
    dns_server_set(&world.servers[0], DNS_TRUNCATES);
    kith__rt_listener_close(world.servers[0].listener);
    world.servers[0].listener = NULL;
    dns_try(&world, &asker, NAME, KITH_DNS_TXT);
    KITH_CHECK_EQ(asker.err, KITH_ERR_UNREACHABLE);
    dns_world_close(&world);
}

KITH_TEST(dns_tcp_that_brings_something_else_is_a_failed_try)
{
    static const enum dns_mode modes[] = { DNS_SILENT, DNS_WRONG_ID, DNS_GARBLES, DNS_NXDOMAIN };

    for (size_t i = 0; i < KITH_COUNT(modes); i++) {
        struct dns_world world;
        struct dns_asker asker = { 0 };

        dns_world_open(&world, 1, NULL);
        for (size_t j = 0; j < KITH_DNS_TRIES; j++) /* over UDP cut; over TCP what comes last */
            world.servers[0].modes[j] = j < 1 ? DNS_TRUNCATES : DNS_SILENT;
        world.servers[0].modes[7] = modes[i];
        world.servers[0].mode_count = 8;
        dns_try(&world, &asker, NAME, KITH_DNS_TXT);
        KITH_CHECK_EQ(world.servers[0].tcp_count, 1);
        KITH_CHECK(asker.err != 0);
        dns_world_close(&world);
    }
}

KITH_TEST(dns_lossy_links_are_got_over)
{
    struct dns_world world;
    struct dns_asker asker = { 0 };
    unsigned found = 0;
    char name[64];

    dns_world_open(&world, 2, NULL);
    for (size_t i = 0; i < 2; i++) {
        kith__sim_host_down(world.servers[i].host)->loss_ppm = 300000;
        kith__sim_host_up(world.servers[i].host)->duplicate_ppm = 300000;
        kith__sim_host_up(world.servers[i].host)->corrupt_ppm = 200000; /* checksums are not simulated */
    }
    for (unsigned i = 0; i < 12; i++) {
        world.servers[0].udp_count = world.servers[1].udp_count = 0;
        snprintf(name, sizeof name, "n%u.example", i);
        dns_try(&world, &asker, name, KITH_DNS_TXT);
        found += asker.err == 0;
    }
    KITH_CHECK(found >= 11);
    dns_world_close(&world);
}

KITH_TEST(dns_equal_questions_at_once_are_one)
{
    struct dns_world world;
    struct dns_asker a = { 0 }, b = { 0 }, c = { 0 };

    dns_world_open(&world, 1, NULL);
    KITH_CHECK_EQ(dns_query_for(&world, &a, NAME, KITH_DNS_TXT), 0);
    dns_pass(&world, 2 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(dns_query_for(&world, &b, "_IROH.abc.dns.EXAMPLE.", KITH_DNS_TXT), 0);
    KITH_CHECK_EQ(dns_query_for(&world, &c, NAME, KITH_DNS_A), 0); /* another one */
    dns_pass(&world, 20 * KITH_NS_PER_MS);
    KITH_CHECK(a.is_done && b.is_done && a.err == 0 && b.err == 0);
    KITH_CHECK_EQ(world.servers[0].udp_count, 2);
    KITH_CHECK_EQ(kith__dns_client_stats(world.client).merged, 1);
    KITH_CHECK(c.is_done && c.err == KITH_ERR_NOT_FOUND);
    dns_world_close(&world);
}

KITH_TEST(dns_answers_are_kept_for_their_time_and_failures_not_at_all)
{
    struct dns_world world;
    struct dns_asker asker = { 0 };
    struct dns_server *server = &world.servers[0];

    dns_world_open(&world, 1, NULL);
    server->ttl_s = 30;
    dns_try(&world, &asker, NAME, KITH_DNS_TXT);
    KITH_CHECK_EQ(dns_try(&world, &asker, NAME, KITH_DNS_TXT), 0);
    KITH_CHECK_EQ(asker.err, 0);
    kith__sim_jump_wall(world.sim, 3600 * INT64_C(1000000)); /* does not matter */
    dns_pass(&world, 29 * KITH_NS_PER_S);
    kith__sim_jump_wall(world.sim, -7200 * INT64_C(1000000));
    KITH_CHECK_EQ(dns_try(&world, &asker, NAME, KITH_DNS_TXT), 0);
    KITH_CHECK_EQ(server->udp_count, 1);
    KITH_CHECK_EQ(kith__dns_client_stats(world.client).from_cache, 2);
    dns_pass(&world, 1 * KITH_NS_PER_S);
    KITH_CHECK_EQ(dns_try(&world, &asker, NAME, KITH_DNS_TXT), 10);
    KITH_CHECK_EQ(server->udp_count, 2);
    server->ttl_s = 0;
    dns_try(&world, &asker, "zero.example", KITH_DNS_TXT);
    dns_try(&world, &asker, "zero.example", KITH_DNS_TXT);
    KITH_CHECK_EQ(server->udp_count, 4);
    server->ttl_s = UINT32_MAX; /* negative: zero */
    dns_try(&world, &asker, "negative.example", KITH_DNS_TXT);
    dns_try(&world, &asker, "negative.example", KITH_DNS_TXT);
    KITH_CHECK_EQ(server->udp_count, 6);
    dns_server_set(server, DNS_NXDOMAIN);
    dns_try(&world, &asker, "none.example", KITH_DNS_A);
    dns_try(&world, &asker, "none.example", KITH_DNS_A);
    KITH_CHECK_EQ(server->udp_count, 8); /* A: the first NXDOMAIN is final; not kept */
    dns_world_close(&world);
}

KITH_TEST(dns_questions_may_be_of_what_is_remembered_only_or_never)
{
    struct dns_world world;
    struct dns_asker recall = { 0 }, fresh = { 0 };

    dns_world_open(&world, 1, NULL);
    world.servers[0].ttl_s = 30;
    KITH_CHECK_EQ(dns_query_how(&world, &recall, NAME, KITH_DNS_TXT, KITH_DNS_REMEMBERED), KITH_ERR_NOT_FOUND);
    dns_try(&world, &fresh, NAME, KITH_DNS_TXT);
    KITH_CHECK_EQ(dns_query_how(&world, &recall, NAME, KITH_DNS_TXT, KITH_DNS_REMEMBERED), 0);
    KITH_CHECK_EQ(dns_query_how(&world, &fresh, NAME, KITH_DNS_TXT, KITH_DNS_AFRESH), 0);
    dns_pass(&world, 0);
    KITH_CHECK(recall.is_done && recall.err == 0 && !fresh.is_done);
    dns_pass(&world, 20 * KITH_NS_PER_MS);
    KITH_CHECK(fresh.is_done && fresh.err == 0);
    KITH_CHECK_EQ(world.servers[0].udp_count, 2);
    dns_pass(&world, 29 * KITH_NS_PER_S); /* of the second answer */
    KITH_CHECK_EQ(dns_query_how(&world, &recall, NAME, KITH_DNS_TXT, KITH_DNS_REMEMBERED), 0);
    kith__dns_client_on_network_change(world.client); /* forgets, before it was told */
    dns_pass(&world, 0);
    KITH_CHECK(recall.is_done && recall.err == KITH_ERR_NOT_FOUND);
    KITH_CHECK_EQ(world.servers[0].udp_count, 2);
    dns_world_close(&world);
}

KITH_TEST(dns_cache_is_bounded)
{
    struct dns_world world;
    struct dns_asker asker = { 0 };
    char name[64];

    dns_world_open(&world, 1, NULL);
    world.servers[0].ttl_s = 86400;
    for (unsigned i = 0; i < KITH_DNS_CACHE_ENTRIES_MAX + 2; i++) {
        world.servers[0].udp_count = 0;
        snprintf(name, sizeof name, "n%u.example", i);
        dns_try(&world, &asker, name, KITH_DNS_TXT);
        KITH_CHECK_EQ(dns_try(&world, &asker, "n0.example", KITH_DNS_TXT), 0); /* used: stays */
    }
    KITH_CHECK_EQ(kith__dns_client_stats(world.client).cache_evicted, 2);
    world.servers[0].udp_count = 0;
    dns_try(&world, &asker, "n1.example", KITH_DNS_TXT);
    KITH_CHECK_EQ(world.servers[0].udp_count, 1);
    dns_world_close(&world);
}

KITH_TEST(dns_cache_is_bounded_in_bytes)
{
    static char text[256];
    struct dns_world world;
    struct dns_asker asker = { 0 };
    char name[64];

    memset(text, 'x', sizeof text - 1);
    dns_world_open(&world, 1, NULL);
    for (size_t i = 0; i < KITH_COUNT(world.servers[0].texts); i++)
        world.servers[0].texts[i] = text;
    world.servers[0].ttl_s = 86400;
    for (unsigned i = 0; i < 600; i++) { /* more than 2 KB each; c-ares may ask for such a one over TCP again */
        world.servers[0].udp_count = 0;
        dns_server_hang_up(&world.servers[0]);
        snprintf(name, sizeof name, "n%u.example", i);
        dns_try(&world, &asker, name, KITH_DNS_TXT);
    }
    KITH_CHECK(asker.size > 2048 && asker.size < 2200);
    KITH_CHECK_EQ(kith__dns_client_stats(world.client).cache_evicted, 600 - KITH_DNS_CACHE_SIZE_MAX / asker.size);
    dns_world_close(&world);
}

KITH_TEST(dns_server_that_cannot_be_reached_is_no_reason_to_wait)
{
    struct kith_sockaddr servers[1];
    struct kith_dns_options options = { .servers = servers, .server_count = 1 };
    struct dns_world world;
    struct dns_asker asker = { 0 };
    uint64_t took_ms;

    dns_world_open(&world, 0, NULL);
    kith__dns_client_free(world.client);
    KITH_CHECK_EQ(kith_sockaddr_parse("[2001:db8::53]:53", &servers[0]), 0); /* this machine has no IPv6 */
    KITH_CHECK_EQ(kith__dns_client_new(world.rt, kith_mem_default(), &options, &world.client), 0);
    took_ms = dns_try(&world, &asker, NAME, KITH_DNS_TXT);
    KITH_CHECK_EQ(asker.err, KITH_ERR_UNREACHABLE);
    KITH_CHECK(took_ms >= 2400 && took_ms < 3600); /* with the last try */
    dns_world_close(&world);
}

KITH_TEST(dns_network_change_forgets_and_begins_anew)
{
    struct dns_world world;
    struct dns_asker asker = { 0 }, other = { 0 };
    struct dns_server *server = &world.servers[0];

    dns_world_open(&world, 1, NULL);
    dns_try(&world, &other, "kept.example", KITH_DNS_TXT);
    dns_server_set(server, DNS_SILENT);
    KITH_CHECK_EQ(dns_query_for(&world, &asker, NAME, KITH_DNS_TXT), 0);
    dns_pass(&world, 5 * KITH_NS_PER_S);
    KITH_CHECK(!asker.is_done && server->udp_count == 1 + KITH_DNS_TRIES);
    kith__dns_client_on_network_change(world.client);
    dns_pass(&world, 5 * KITH_NS_PER_S);
    KITH_CHECK(!asker.is_done && server->udp_count == 1 + 2 * KITH_DNS_TRIES);
    dns_pass(&world, 2 * KITH_NS_PER_S);
    KITH_CHECK(asker.is_done && asker.err == KITH_ERR_TIMEOUT);
    KITH_CHECK_EQ(kith__dns_client_stats(world.client).restarted, 1);
    dns_server_set(server, DNS_ANSWERS);
    dns_try(&world, &other, "kept.example", KITH_DNS_TXT);
    KITH_CHECK_EQ(server->udp_count, 2 + 2 * KITH_DNS_TRIES);
    dns_world_close(&world);
}

KITH_TEST(dns_requests_may_be_cancelled_at_any_time)
{
    struct dns_world world;
    struct dns_asker a = { 0 }, b = { 0 }, c = { 0 };

    dns_world_open(&world, 1, NULL);
    KITH_CHECK_EQ(dns_query_for(&world, &a, NAME, KITH_DNS_TXT), 0);
    kith__dns_cancel(a.request); /* before its turn */
    KITH_CHECK_EQ(dns_query_for(&world, &a, NAME, KITH_DNS_TXT), 0);
    dns_pass(&world, 6 * KITH_NS_PER_MS);
    kith__dns_cancel(a.request); /* asked */
    KITH_CHECK_EQ(world.servers[0].udp_count, 1);
    a.cancels = &b; /* from inside */
    KITH_CHECK_EQ(dns_query_for(&world, &a, NAME, KITH_DNS_TXT), 0);
    KITH_CHECK_EQ(dns_query_for(&world, &b, NAME, KITH_DNS_TXT), 0);
    KITH_CHECK_EQ(dns_query_for(&world, &c, NAME, KITH_DNS_TXT), 0);
    dns_pass(&world, 30 * KITH_NS_PER_MS);
    KITH_CHECK(a.is_done && !b.is_done && c.is_done);
    KITH_CHECK_EQ(dns_query_for(&world, &a, NAME, KITH_DNS_TXT), 0); /* the last one, from inside */
    KITH_CHECK_EQ(dns_query_for(&world, &b, NAME, KITH_DNS_TXT), 0);
    dns_pass(&world, 30 * KITH_NS_PER_MS);
    KITH_CHECK(a.is_done && !b.is_done);
    KITH_CHECK_EQ(dns_query_for(&world, &b, "under.way.example", KITH_DNS_TXT), 0);
    dns_pass(&world, 1 * KITH_NS_PER_MS);
    dns_world_close(&world); /* with one under way */
}

KITH_TEST(dns_many_questions_wait_for_their_turn)
{
    struct dns_world world;
    static struct dns_asker askers[KITH_DNS_QUESTIONS_MAX];
    struct dns_asker more = { 0 };
    char name[64];

    dns_world_open(&world, 1, NULL);
    kith__sim_host_set_down(world.servers[0].host, true);
    for (size_t i = 0; i < KITH_COUNT(askers); i++) {
        snprintf(name, sizeof name, "n%zu.example", i);
        KITH_CHECK_EQ(dns_query_for(&world, &askers[i], name, KITH_DNS_TXT), 0);
    }
    KITH_CHECK_EQ(dns_query_for(&world, &more, NAME, KITH_DNS_TXT), KITH_ERR_LIMIT);
    dns_pass(&world, 100 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(kith__dns_client_stats(world.client).asks.asked, KITH_DNS_RUNNING_MAX);
    kith__dns_client_on_network_change(world.client); /* no reason to begin more of them */
    dns_pass(&world, 100 * KITH_NS_PER_MS);
    KITH_CHECK_EQ(kith__dns_client_stats(world.client).asks.asked, 2 * KITH_DNS_RUNNING_MAX);
    KITH_CHECK_EQ(kith__dns_client_stats(world.client).restarted, KITH_DNS_RUNNING_MAX);
    dns_pass(&world, 7 * KITH_NS_PER_S);
    KITH_CHECK(askers[0].is_done && !askers[KITH_DNS_RUNNING_MAX].is_done);
    KITH_CHECK_EQ(kith__dns_client_stats(world.client).questions, 2 * KITH_DNS_RUNNING_MAX);
    kith__dns_cancel(askers[200].request); /* one that waits */
    for (size_t i = 0; i < 7; i++)
        dns_pass(&world, 7 * KITH_NS_PER_S);
    KITH_CHECK(askers[201].is_done && !askers[200].is_done);
    kith__sim_host_set_down(world.servers[0].host, false);
    dns_world_close(&world);
}

KITH_TEST(dns_without_servers_says_so)
{
    struct dns_world world;
    struct dns_asker asker = { 0 };
    struct kith_dns_options options = { .has_fallback = true };
    struct kith_dns_client *client;
    size_t count;

    dns_world_open(&world, 0, NULL); /* the simulated machine has no resolv.conf */
    KITH_CHECK_EQ(dns_try(&world, &asker, NAME, KITH_DNS_TXT), 0);
    KITH_CHECK_EQ(asker.err, KITH_ERR_UNREACHABLE);
    KITH_CHECK_EQ(kith__dns_client_new(world.rt, kith_mem_default(), &options, &client), 0);
    KITH_CHECK_EQ(kith__dns_client_servers(client, &count)->ip[0], 8);
    KITH_CHECK_EQ(count, 4);
    kith__dns_client_free(client);
    options.server_count = KITH_DNS_SERVERS_MAX + 1;
    KITH_CHECK_EQ(kith__dns_client_new(world.rt, kith_mem_default(), &options, &client), KITH_ERR_LIMIT);
    dns_world_close(&world);
}

KITH_TEST(dns_runs_repeat_bit_for_bit)
{
    uint64_t hashes[2];

    for (size_t i = 0; i < 2; i++) {
        struct dns_world world;
        struct dns_asker asker = { 0 };

        dns_world_open(&world, 2, NULL);
        dns_server_set(&world.servers[0], DNS_NXDOMAIN);
        dns_server_set(&world.servers[1], DNS_TRUNCATES);
        dns_try(&world, &asker, NAME, KITH_DNS_TXT);
        hashes[i] = kith__sim_hash(world.sim);
        dns_world_close(&world);
    }
    KITH_CHECK_EQ(hashes[0], hashes[1]);
}

static bool run_starved(uint64_t fail_at)
{
    struct dns_world world;
    struct dns_asker a = { 0 }, b = { 0 };
    struct kith_test_mem test_mem;
    int err_a, err_b;

    kith__test_mem_init(&test_mem, 0);
    dns_world_open(&world, 2, &test_mem.mem);
    dns_server_set(&world.servers[0], DNS_TRUNCATES);
    test_mem.fail_at = test_mem.calls + fail_at;
    err_a = dns_query_for(&world, &a, NAME, KITH_DNS_TXT);
    err_b = dns_query_for(&world, &b, NAME, KITH_DNS_TXT);
    KITH_CHECK(err_a == 0 || err_a == KITH_ERR_NOMEM);
    KITH_CHECK(err_b == 0 || err_b == KITH_ERR_NOMEM);
    dns_pass(&world, 8 * KITH_NS_PER_S);
    KITH_CHECK(a.is_done == (err_a == 0) && b.is_done == (err_b == 0));
    KITH_CHECK(!a.is_done || a.err == 0); /* the next try has memory again */
    dns_world_close(&world);
    KITH_CHECK_EQ(test_mem.live, 0);
    return test_mem.calls >= test_mem.fail_at;
}

KITH_TEST(dns_survives_every_failed_allocation)
{
    uint64_t fail_at = 1;

    while (run_starved(fail_at))
        fail_at++;
    KITH_CHECK(fail_at > 10);
}
