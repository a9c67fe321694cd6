/* kith/relay.h from outside: options, start, questions, end. What a relay does with clients is tested in src/server and src/api. */
#include "base/test.h"
#include <kith/kith.h>
#include <kith/relay.h>
#include <string.h>

static const struct kith_sockaddr loopback = { .family = KITH_FAMILY_V4, .ip = { 127, 0, 0, 1 } };

static struct kith_relay *start(uint32_t workers)
{
    struct kith_relay_options options = { KITH_RELAY_OPTIONS_INIT, .http = &loopback,  .http_count = 1,
                                          .metrics = &loopback,    .metrics_count = 1, .worker_count = workers,
                                          .wants_news = true };
    struct kith_relay *relay;

    KITH_CHECK_EQ(kith_relay_start(&options, &relay), 0);
    return relay;
}

KITH_TEST(relay_options_that_make_no_sense_are_refused_with_a_sentence)
{
    struct kith_relay_options options = { .size = 0 };
    struct kith_relay *relay = NULL;

    KITH_CHECK_EQ(kith_relay_start(NULL, &relay), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith_relay_start(&options, &relay), KITH_ERR_INVALID);
    KITH_CHECK(strstr(kith_error_last()->text, "KITH_RELAY_OPTIONS_INIT") != NULL);
    options.size = sizeof options;
    KITH_CHECK_EQ(kith_relay_start(&options, &relay), KITH_ERR_INVALID);
    KITH_CHECK(strstr(kith_error_last()->text, "nothing to serve") != NULL);
    KITH_CHECK_EQ(kith_relay_check(&options), KITH_ERR_INVALID);
    KITH_CHECK(relay == NULL);
}

KITH_TEST(relay_tells_addresses_numbers_and_metrics)
{
    struct kith_relay *relay = start(2);
    struct kith_relay_stats stats;
    struct kith_sockaddr bound[2];
    static char text[65536];
    size_t size = 0;

    KITH_CHECK_EQ(kith_relay_addresses(relay, KITH_RELAY_ADDRESS_HTTP, bound, 2), 1);
    KITH_CHECK(bound[0].port != 0);
    KITH_CHECK_EQ(kith_relay_addresses(relay, KITH_RELAY_ADDRESS_METRICS, NULL, 0), 1);
    KITH_CHECK_EQ(kith_relay_addresses(relay, KITH_RELAY_ADDRESS_HTTPS, bound, 2), 0);
    kith_relay_stats(relay, &stats);
    KITH_CHECK_EQ(stats.workers, 2);
    KITH_CHECK_EQ(stats.clients, 0);
    KITH_CHECK_EQ(kith_relay_metrics(relay, text, 10, &size), KITH_ERR_TOO_LARGE);
    KITH_CHECK(size > 1000);
    KITH_CHECK_EQ(kith_relay_metrics(relay, text, sizeof text, &size), 0);
    KITH_CHECK_EQ(strlen(text), size);
    KITH_CHECK(strstr(text, "relayserver_accepts_total 0\n") != NULL);
    KITH_CHECK_EQ(kith_relay_authority(relay, text, sizeof text, &size), KITH_ERR_STATE);
    KITH_CHECK_EQ(kith_relay_stop(relay, KITH_NS_PER_S), 0);
}

KITH_TEST(relay_takes_new_rules_and_refuses_wrong_ones)
{
    struct kith_relay *relay = start(1);
    const char *tokens[] = { "token", "" };
    struct kith_relay_access_rules rules = { .admit = KITH_RELAY_ADMIT_TOKEN, .tokens = tokens, .token_count = 2 };
    struct kith_relay_quota quota = { .accept_rate = -1 };
    struct kith_relay_news news;

    KITH_CHECK_EQ(kith_relay_set_access(relay, &rules), KITH_ERR_INVALID);
    rules.token_count = 1;
    KITH_CHECK_EQ(kith_relay_set_access(relay, &rules), 0);
    rules = (struct kith_relay_access_rules) { .admit = KITH_RELAY_ADMIT_HTTP, .url = "ftp://x/" };
    KITH_CHECK_NE(kith_relay_set_access(relay, &rules), 0);
    rules.admit = 99;
    KITH_CHECK_EQ(kith_relay_set_access(relay, &rules), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith_relay_set_access(relay, NULL), 0);
    KITH_CHECK_EQ(kith_relay_set_quota(relay, &quota), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith_relay_set_quota(relay, NULL), 0);
    KITH_CHECK_EQ(kith_relay_disconnect(relay, &(struct kith_id) { { 1 } }), 0);
    KITH_CHECK_EQ(kith_relay_answer(relay, 12345, true, NULL), 0); /* there is no such connection */
    KITH_CHECK_EQ(kith_relay_next_news(relay, 0, &news), KITH_ERR_AGAIN);
    KITH_CHECK_EQ(kith_relay_next_news(relay, 1, &news), KITH_ERR_TIMEOUT);
    KITH_CHECK(kith_relay_fd(relay) >= 0);
    kith_relay_reload_certificate(relay);
    KITH_CHECK_EQ(kith_relay_stop(relay, 0), 0);
    KITH_CHECK_EQ(kith_relay_stop(NULL, 0), 0);
}

KITH_TEST(relay_port_that_is_taken_is_an_error_for_one_worker_and_for_several)
{
    struct kith_relay *relay = start(2), *other;
    struct kith_sockaddr bound;
    struct kith_relay_options options = { KITH_RELAY_OPTIONS_INIT, .http = &bound, .http_count = 1 };

    KITH_CHECK_EQ(kith_relay_addresses(relay, KITH_RELAY_ADDRESS_HTTP, &bound, 1), 1);
    for (options.worker_count = 1; options.worker_count <= 3; options.worker_count++)
        KITH_CHECK_EQ(kith_relay_start(&options, &other), KITH_ERR_ADDRESS_IN_USE);
    KITH_CHECK_EQ(kith_relay_stop(relay, KITH_NS_PER_S), 0);
    options.worker_count = 1;
    KITH_CHECK_EQ(kith_relay_start(&options, &other), 0);
    KITH_CHECK_EQ(kith_relay_stop(other, 0), 0);
}

KITH_TEST(relay_survives_every_failed_allocation_of_its_start)
{
    bool was_fine = false;

    for (uint64_t n = 1; !was_fine; n++) {
        struct kith_test_mem mem;
        struct kith_relay_options options = { KITH_RELAY_OPTIONS_INIT, .mem = &mem.mem, .http = &loopback,
                                              .http_count = 1, .worker_count = 1 };
        struct kith_relay *relay;
        int err;

        kith__test_mem_init(&mem, n);
        err = kith_relay_start(&options, &relay);
        KITH_CHECK(err == 0 || err == KITH_ERR_NOMEM);
        if (err == 0)
            KITH_CHECK_EQ(kith_relay_stop(relay, 0), 0);
        was_fine = err == 0;
        KITH_CHECK_EQ(mem.live, 0);
        KITH_CHECK(n < 500);
    }
}
