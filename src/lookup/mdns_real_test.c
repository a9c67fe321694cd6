/* What a real peer said on the local network (tests/vectors/mdns.txt), as it is understood and as the core takes it. */
#include "base/random.h"
#include "lookup/mdns_core.h"
#include "lookup/mdns_parts.h"

/** The bytes under "= NAME". */
static struct kith_slice vector(const char *name, uint8_t out[KITH_MDNS_MESSAGE_SIZE])
{
    FILE *file = fopen(KITH_SOURCE_DIR "/tests/vectors/mdns.txt", "r");
    char line[256];
    bool is_inside = false;
    size_t size = 0;

    KITH_CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL) {
        size_t length = strcspn(line, "\n");

        line[length] = '\0';
        if (line[0] == '=' || line[0] == '#') {
            is_inside = line[0] == '=' && strcmp(line + 2, name) == 0;
        } else if (is_inside) {
            KITH_CHECK_EQ(kith__hex_decode(line, length, out + size), 0);
            size += length / 2;
        }
    }
    fclose(file);
    KITH_CHECK(size != 0);
    return (struct kith_slice) { out, size };
}

KITH_TEST(mdns_what_a_real_peer_says_is_understood)
{
    static const struct {
        const char *name, *relay, *user_data;
        const char *ips[4]; /* without ports, which the peer chose */
    } cases[] = {
        { "full",
          "http://192.168.7.9:3340/",
          "of the test",
          { "10.9.9.1", "192.168.7.1", "[2001:db8:7::1]", "[2001:db8:8::1]" } },
        { "v4", "", "", { "192.168.7.1" } },
        { "v6", "", "", { "[2001:db8:7::1]" } },
        { "ula", "", "", { "[fd00:7::1]" } },
        { "several", "", "", { "10.9.9.1", "192.168.7.1", "[2001:db8:7::1]", "[2001:db8:8::1]" } },
        { "loopback", "", "", { "127.0.0.1", "[::1]" } },
        { "text", "", "of the test", { "192.168.7.1" } },
        { "relay", "http://192.168.7.9:3340/", "", { NULL } },
        { "older", "https://relay.example.com/", "foobar", { "192.168.1.2" } },
    };
    struct kith_id own = parts_key(1);
    uint8_t bytes[KITH_MDNS_MESSAGE_SIZE];
    struct kith_mdns_names names;
    struct kith_mdns_heard heard;

    KITH_CHECK_EQ(kith__mdns_names_init(&names, &own, NULL), 0);
    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        const struct kith_lookup_info *info = &heard.said[0].info;
        size_t count = 0, at = cases[i].relay[0] != '\0';
        struct kith_slice relay;

        KITH_CHECK_EQ(kith__mdns_read(&names, vector(cases[i].name, bytes), 1, kith_mem_default(), &heard), 0);
        KITH_CHECK_EQ(heard.count, 1);
        KITH_CHECK(!heard.asks_all && !heard.is_own && !heard.said[0].is_goodbye);
        KITH_CHECK_EQ(heard.said[0].ttl_s, 0); /* it has one, but means nothing by it */
        relay = kith__endpoint_addr_first_relay(&info->addr);
        KITH_CHECK_EQ(relay.size, strlen(cases[i].relay));
        KITH_CHECK_BYTES(relay.ptr, cases[i].relay, relay.size);
        KITH_CHECK_STR(info->user_data, cases[i].user_data);
        for (; count < KITH_COUNT(cases[i].ips) && cases[i].ips[count] != NULL; count++, at++) {
            char text[KITH_SOCKADDR_TEXT_SIZE];

            KITH_CHECK(at < info->addr.count);
            kith_sockaddr_format(&info->addr.addrs[at].ip, text);
            KITH_CHECK(strncmp(text, cases[i].ips[count], strlen(cases[i].ips[count])) == 0);
        }
        KITH_CHECK_EQ(info->addr.count, at);
        kith__mdns_heard_dispose(&heard);
    }
}

KITH_TEST(mdns_a_real_peer_asks_all_and_says_nothing_without_an_address)
{
    struct kith_id own = parts_key(1);
    uint8_t bytes[KITH_MDNS_MESSAGE_SIZE];
    struct kith_mdns_names names;
    struct kith_mdns_heard heard;

    KITH_CHECK_EQ(kith__mdns_names_init(&names, &own, NULL), 0);
    KITH_CHECK_EQ(kith__mdns_read(&names, vector("query", bytes), 1, kith_mem_default(), &heard), 0);
    KITH_CHECK(heard.asks_all && !heard.asks_us && !heard.knows_us);
    KITH_CHECK_EQ(kith__mdns_read(&names, vector("text-longest", bytes), 1, kith_mem_default(), &heard), 0);
    KITH_CHECK_EQ(heard.count, 0);
    kith__mdns_heard_dispose(&heard);
}

KITH_TEST(mdns_a_real_peer_that_falls_silent_is_forgotten_although_its_ttl_is_not_over)
{
    struct kith_prng prng;
    struct kith_random random = kith__prng_source(&prng);
    struct kith_id own = parts_key(1), id = parts_id();
    struct kith_mdns_core_options options = { .mem = kith_mem_default(), .random = &random, .id = own };
    uint8_t bytes[KITH_MDNS_MESSAGE_SIZE], out[KITH_MDNS_MESSAGE_SIZE];
    struct kith_mdns_news news = { .change = KITH_MDNS_HEARD };
    struct kith_mdns_core *core;
    uint64_t now_ns = 1;
    unsigned link, to;

    kith__prng_init(&prng, kith__test_seed(7));
    KITH_CHECK_EQ(kith__mdns_core_new(&options, &core), 0);
    KITH_CHECK_EQ(kith__mdns_core_link_open(core, 1, now_ns, &link), 0);
    kith__mdns_core_heard(core, link, vector("several", bytes), now_ns);
    KITH_CHECK(kith__mdns_core_news(core, &news));
    KITH_CHECK_EQ(news.change, KITH_MDNS_FOUND);
    KITH_CHECK_BYTES(news.id.bytes, id.bytes, KITH_ID_SIZE);
    while (news.change != KITH_MDNS_GONE) {
        now_ns = KITH_MAX(now_ns, kith__mdns_core_deadline(core));
        KITH_CHECK(now_ns <= 1 + KITH_MDNS_SILENCE_MIN_NS);
        while (kith__mdns_core_next(core, now_ns, out, &to) != 0)
            continue;
        (void)kith__mdns_core_news(core, &news);
    }
    KITH_CHECK_EQ(kith__mdns_core_count(core), 0);
    KITH_CHECK_EQ(kith__mdns_core_stats(core).expired, 1);
    kith__mdns_core_free(core);
}
