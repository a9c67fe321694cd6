/* The publisher and a server of signed packets in virtual time. */
#include "lookup/pkarr_publish.h"

#include "crypto/sign.h"
#include "lookup/pkarr_fake.h"

#include <time.h>

#define MS KITH_NS_PER_MS
#define S  KITH_NS_PER_S

struct fixture {
    struct fake fake;
    struct kith_secret secret;
    struct kith_id id;
    struct kith_lookup_service *service;
    uint64_t stored_us; /* by the publisher, for its next run */
    size_t store_count;
};

static void store(void *ctx, uint64_t timestamp_us)
{
    struct fixture *f = ctx;

    KITH_CHECK(timestamp_us > f->stored_us || f->stored_us > kith__rt_wall_us(f->fake.world.client));
    f->stored_us = timestamp_us;
    f->store_count++;
}

static void start_publisher(struct fixture *f, const char *url)
{
    const struct kith_pkarr_publish_options options = {
        .http = { .url = url, .tls = f->fake.world.client_tls },
        .secret = &f->secret,
        .last_us = f->stored_us,
        .store = store,
        .store_ctx = f,
    };

    KITH_CHECK_EQ(kith__pkarr_publish_new(f->fake.world.client, &options, &f->service), 0);
}

static void stop_publisher(struct fixture *f)
{
    f->service->ops->free(f->service);
    f->service = NULL;
}

static void open_fixture(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    f->secret = fake_secret();
    f->id = kith__secret_id(&f->secret);
    fake_open(&f->fake, WORLD_PLAIN, NULL, (uint64_t)time(NULL), &f->id);
    start_publisher(f, "http://relay.test:8080/pkarr");
}

static void close_fixture(struct fixture *f)
{
    if (f->service != NULL)
        stop_publisher(f);
    fake_close(&f->fake);
}

/** Publishes these attributes, as one text with spaces between them. */
static void publish(struct fixture *f, const char *attributes)
{
    struct kith_lookup_info info;
    size_t ignored = 0;

    kith__lookup_info_init(&info, kith_mem_default(), &f->id);
    while (*attributes != '\0') {
        size_t size = strcspn(attributes, " ");

        KITH_CHECK_EQ(kith__attrs_take(&info, (struct kith_slice) { (const uint8_t *)attributes, size }, &ignored), 0);
        attributes += size + (attributes[size] == ' ');
    }
    KITH_CHECK_EQ(ignored, 0);
    f->service->ops->publish(f->service, &info);
    kith__lookup_info_dispose(&info);
}

static struct kith_lookup_published how(const struct fixture *f)
{
    struct kith_lookup_published out;

    f->service->ops->published(f->service, &out);
    KITH_CHECK_EQ(out.err != 0, out.why[0] != '\0');
    return out;
}

static size_t addr_count(const struct kith_pkarr *packet)
{
    struct kith_lookup_info info;
    size_t ignored, count;

    KITH_CHECK_EQ(kith__pkarr_info(packet, kith_mem_default(), &info, &ignored), 0);
    count = info.addr.count;
    kith__lookup_info_dispose(&info);
    return count;
}

#define ONE "relay=https://r.example/"
#define TWO "relay=https://r.example/ relay=https://s.example/"

KITH_TEST(what_is_to_be_told_is_put_at_once_and_again_after_five_minutes)
{
    struct fixture f;
    uint64_t began_ns;

    open_fixture(&f);
    KITH_CHECK_STR(f.service->label, "pkarr:http://relay.test:8080/pkarr");
    KITH_CHECK_EQ(f.service->filter, KITH_LOOKUP_RELAYS);
    began_ns = kith__rt_now(f.fake.world.client);
    publish(&f, ONE);
    fake_pass(&f.fake, S);
    KITH_CHECK_EQ(f.fake.put_count, 1);
    KITH_CHECK(fake_put(&f.fake, 0)->at_ns - began_ns < 100 * MS);
    KITH_CHECK_STR(fake_put(&f.fake, 0)->path, "/pkarr/yqooxx9u3aemh8mo5wcqq16yufu6jitouq1o4za751dger1igghy");
    KITH_CHECK(fake_put(&f.fake, 0)->is_packet);
    KITH_CHECK_EQ(f.fake.get_count, 1); /* compared, once */
    KITH_CHECK_EQ(how(&f).accepted_count, 1);
    KITH_CHECK_EQ(how(&f).err, 0);
    KITH_CHECK(how(&f).accepted_ns > began_ns);
    fake_pass(&f.fake, 1000 * S);
    KITH_CHECK_EQ(f.fake.put_count, 4);
    KITH_CHECK_EQ(f.fake.get_count, 1);
    for (size_t i = 1; i < 4; i++) {
        const struct fake_request *before = fake_put(&f.fake, i - 1), *put = fake_put(&f.fake, i);

        KITH_CHECK(put->at_ns - before->at_ns > 300 * S && put->at_ns - before->at_ns < 301 * S);
        KITH_CHECK(kith__pkarr_timestamp(&put->packet) - kith__pkarr_timestamp(&before->packet) > 300 * 1000000);
    }
    KITH_CHECK_EQ(f.store_count, 4);
    KITH_CHECK_EQ(f.stored_us, kith__pkarr_timestamp(&f.fake.stored));
    close_fixture(&f);
}

KITH_TEST(nothing_is_put_while_there_was_never_anything_to_tell)
{
    struct fixture f;

    open_fixture(&f);
    publish(&f, "");
    fake_pass(&f.fake, 1000 * S);
    KITH_CHECK_EQ(f.fake.count, 0);
    publish(&f, ONE); /* and what was not sent before it stopped being true is not sent */
    publish(&f, "");
    fake_pass(&f.fake, 1000 * S);
    KITH_CHECK_EQ(f.fake.count, 0);
    close_fixture(&f);
}

KITH_TEST(an_empty_packet_replaces_the_one_before_and_is_not_repeated)
{
    struct fixture f;

    open_fixture(&f);
    publish(&f, ONE);
    fake_pass(&f.fake, S);
    publish(&f, "");
    fake_pass(&f.fake, 2000 * S);
    KITH_CHECK_EQ(f.fake.put_count, 2);
    KITH_CHECK_EQ(kith__pkarr_dns(&f.fake.stored).size, 12);
    KITH_CHECK_EQ(how(&f).accepted_count, 2);
    publish(&f, "");
    fake_pass(&f.fake, S);
    KITH_CHECK_EQ(f.fake.put_count, 2);
    publish(&f, "user-data=x");
    fake_pass(&f.fake, S);
    KITH_CHECK_EQ(f.fake.put_count, 3);
    close_fixture(&f);
}

KITH_TEST(equal_information_is_not_put_again)
{
    struct fixture f;

    open_fixture(&f);
    for (int i = 0; i < 10; i++) {
        publish(&f, TWO);
        fake_pass(&f.fake, S);
    }
    KITH_CHECK_EQ(f.fake.put_count, 1);
    publish(&f, ONE);
    fake_pass(&f.fake, S);
    KITH_CHECK_EQ(f.fake.put_count, 2);
    KITH_CHECK_EQ(addr_count(&f.fake.stored), 1);
    close_fixture(&f);
}

KITH_TEST(a_change_is_put_at_once_also_while_a_put_hangs)
{
    struct fixture f;
    uint64_t changed_ns;

    open_fixture(&f);
    publish(&f, ONE);
    fake_pass(&f.fake, 30 * MS); /* under way */
    changed_ns = kith__rt_now(f.fake.world.client);
    publish(&f, TWO);
    fake_pass(&f.fake, S);
    KITH_CHECK_EQ(addr_count(&f.fake.stored), 2);
    KITH_CHECK(fake_last(&f.fake)->at_ns - changed_ns < S);
    close_fixture(&f);
}

KITH_TEST(many_changes_at_once_are_one_put_every_tenth_of_a_second)
{
    struct fixture f;
    char text[64];

    open_fixture(&f);
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(text, sizeof text, "relay=https://r%u.example/", i);
        publish(&f, text);
        fake_pass(&f.fake, MS);
    }
    fake_pass(&f.fake, S);
    KITH_CHECK(f.fake.count <= 13 && f.store_count <= 13);
    KITH_CHECK_EQ(how(&f).err, 0);
    KITH_CHECK(kith__pkarr_timestamp(&f.fake.stored) == f.stored_us); /* the last one arrived */
    close_fixture(&f);
}

static void say_500(struct fake *fake, size_t index, struct fake_reply *reply)
{
    (void)fake;
    (void)index;
    *reply = (struct fake_reply) { .status = 500, .body = { (const uint8_t *)"{\"detail\":\"disk\1full\"}", 22 } };
}

KITH_TEST(after_failures_the_pauses_grow_up_to_a_bound)
{
    struct fixture f;
    uint64_t shortest_ns = UINT64_MAX, longest_ns = 0;

    open_fixture(&f);
    f.fake.on_request = say_500;
    publish(&f, ONE);
    fake_pass(&f.fake, 3 * 3600 * S);
    KITH_CHECK(f.fake.put_count > 200 && f.fake.put_count < 260);
    for (size_t i = 1; i < f.fake.put_count; i++) {
        uint64_t pause_ns = fake_put(&f.fake, i)->at_ns - fake_put(&f.fake, i - 1)->at_ns;
        uint64_t wanted_ns = KITH_MIN(i, (size_t)60) * S;

        KITH_CHECK(pause_ns >= wanted_ns / 5 * 4 && pause_ns < wanted_ns / 5 * 6 + 200 * MS);
        if (i >= 60) {
            shortest_ns = KITH_MIN(shortest_ns, pause_ns);
            longest_ns = KITH_MAX(longest_ns, pause_ns);
        }
    }
    KITH_CHECK(longest_ns - shortest_ns > 10 * S); /* not all at the same time */
    KITH_CHECK_EQ(how(&f).failed_count, f.fake.put_count);
    KITH_CHECK_EQ(how(&f).err, KITH_ERR_IO);
    KITH_CHECK_STR(how(&f).why,
                   "relay.test answered with status 500 Internal Server Error: {\"detail\":\"disk full\"}");
    KITH_CHECK_EQ(f.fake.get_count, 0);
    f.fake.on_request = NULL;
    publish(&f, TWO); /* a change does not wait */
    fake_pass(&f.fake, S);
    KITH_CHECK_EQ(addr_count(&f.fake.stored), 2);
    KITH_CHECK_EQ(how(&f).err, 0);
    close_fixture(&f);
}

KITH_TEST(after_a_success_the_pauses_begin_anew)
{
    struct fixture f;
    uint64_t failed_count;
    size_t puts;

    open_fixture(&f);
    f.fake.on_request = say_500;
    publish(&f, ONE);
    fake_pass(&f.fake, 60 * S);
    f.fake.on_request = NULL;
    fake_pass(&f.fake, 20 * S);
    KITH_CHECK_EQ(how(&f).accepted_count, 1);
    failed_count = how(&f).failed_count;
    KITH_CHECK(failed_count >= 9);
    f.fake.on_request = say_500;
    for (int i = 0; i < 4000 && how(&f).failed_count == failed_count; i++)
        fake_pass(&f.fake, 100 * MS);
    puts = f.fake.put_count;
    KITH_CHECK_EQ(how(&f).err, KITH_ERR_IO);
    fake_pass(&f.fake, 1500 * MS);
    KITH_CHECK_EQ(f.fake.put_count, puts + 1);
    close_fixture(&f);
}

KITH_TEST(a_server_that_is_down_gets_the_packet_when_it_is_back)
{
    struct fixture f;

    open_fixture(&f);
    fake_stop(&f.fake);
    publish(&f, ONE);
    fake_pass(&f.fake, 30 * S);
    KITH_CHECK_EQ(how(&f).err, KITH_ERR_REFUSED);
    KITH_CHECK(how(&f).failed_count >= 5);
    fake_listen(&f.fake);
    fake_pass(&f.fake, 12 * S);
    KITH_CHECK_EQ(how(&f).accepted_count, 1);
    KITH_CHECK_EQ(f.fake.put_count, 1);
    close_fixture(&f);
}

static void be_silent(struct fake *fake, size_t index, struct fake_reply *reply)
{
    (void)fake;
    reply->is_silent = index == 0;
}

KITH_TEST(a_server_that_hangs_is_given_up_after_ten_seconds)
{
    struct fixture f;

    open_fixture(&f);
    f.fake.on_request = be_silent;
    publish(&f, ONE);
    fake_pass(&f.fake, 9900 * MS);
    KITH_CHECK_EQ(how(&f).failed_count, 0);
    fake_pass(&f.fake, 200 * MS);
    KITH_CHECK_EQ(how(&f).err, KITH_ERR_TIMEOUT);
    fake_pass(&f.fake, 2 * S);
    KITH_CHECK_EQ(how(&f).err, 0);
    KITH_CHECK_EQ(f.fake.put_count, 2);
    close_fixture(&f);
}

KITH_TEST(a_new_network_is_tried_at_once)
{
    struct fixture f;

    open_fixture(&f);
    f.fake.on_request = be_silent;
    publish(&f, ONE);
    fake_pass(&f.fake, S);
    f.service->ops->on_network_change(f.service); /* one that hangs */
    fake_pass(&f.fake, S);
    KITH_CHECK_EQ(how(&f).accepted_count, 1);
    f.service->ops->on_network_change(f.service); /* what is there need not be told again */
    fake_pass(&f.fake, S);
    KITH_CHECK_EQ(f.fake.put_count, 2);
    f.fake.on_request = say_500;
    publish(&f, TWO);
    fake_pass(&f.fake, 200 * S);
    f.fake.on_request = NULL;
    f.service->ops->on_network_change(f.service); /* one that waits */
    fake_pass(&f.fake, 500 * MS);
    KITH_CHECK_EQ(how(&f).accepted_count, 2);
    close_fixture(&f);
}

static void be_silent_the_second_time(struct fake *fake, size_t index, struct fake_reply *reply)
{
    (void)index;
    reply->is_silent = fake->put_count == 2;
}

KITH_TEST(a_repetition_that_hangs_is_tried_at_once_on_a_new_network)
{
    struct fixture f;

    open_fixture(&f);
    f.fake.on_request = be_silent_the_second_time;
    publish(&f, ONE);
    fake_pass(&f.fake, 302 * S);
    KITH_CHECK_EQ(f.fake.put_count, 2);
    KITH_CHECK_EQ(how(&f).accepted_count, 1);
    f.service->ops->on_network_change(f.service);
    fake_pass(&f.fake, S);
    KITH_CHECK_EQ(how(&f).accepted_count, 2);
    close_fixture(&f);
}

KITH_TEST(a_new_network_means_nothing_to_who_has_nothing_to_tell)
{
    struct fixture f;

    open_fixture(&f);
    f.service->ops->on_network_change(f.service);
    fake_pass(&f.fake, S);
    KITH_CHECK_EQ(f.fake.count, 0);
    close_fixture(&f);
}

static void ask_for_silence(struct fake *fake, size_t index, struct fake_reply *reply)
{
    static const char *const values[] = { "4", "20", "100000", "Wed, 21 Oct 2026 07:28:00 GMT", "-1", "" };

    (void)fake;
    reply->status = 429;
    snprintf(reply->headers, sizeof reply->headers, "Retry-After: %s\r\n", values[KITH_MIN(index, (size_t)5)]);
}

KITH_TEST(silence_that_a_server_asks_for_is_kept_within_bounds)
{
    static const uint64_t waits_s[] = { 4, 20, 300, 4, 5, 6 }; /* the pauses of our own where it says nothing of use */
    struct fixture f;

    open_fixture(&f);
    f.fake.on_request = ask_for_silence;
    publish(&f, ONE);
    fake_pass(&f.fake, 3 * S);
    KITH_CHECK_EQ(how(&f).err, KITH_ERR_LIMIT);
    KITH_CHECK_STR(how(&f).why, "relay.test is asked too often, and wants 4 s of silence");
    publish(&f, TWO); /* a change waits for it, too */
    fake_pass(&f.fake, 800 * MS);
    KITH_CHECK_EQ(f.fake.put_count, 1);
    fake_pass(&f.fake, 500 * MS);
    KITH_CHECK_EQ(f.fake.put_count, 2);
    KITH_CHECK_EQ(addr_count(&fake_put(&f.fake, 1)->packet), 2);
    fake_pass(&f.fake, 400 * S);
    KITH_CHECK(f.fake.put_count >= 6);
    for (size_t i = 1; i < 3; i++) {
        uint64_t pause_ns = fake_put(&f.fake, i + 1)->at_ns - fake_put(&f.fake, i)->at_ns;

        KITH_CHECK(pause_ns >= waits_s[i] * S && pause_ns < waits_s[i] * S + 200 * MS);
    }
    for (size_t i = 3; i < 5; i++)
        KITH_CHECK(fake_put(&f.fake, i + 1)->at_ns - fake_put(&f.fake, i)->at_ns < 7 * S);
    f.fake.on_request = NULL;
    close_fixture(&f);
}

/* ---- Clocks ---- */

KITH_TEST(timestamps_rise_also_when_the_clock_goes_back)
{
    struct fixture f;
    uint64_t before_us;

    open_fixture(&f);
    kith__sim_jump_wall(f.fake.world.sim, 3600 * 1000000ll);
    publish(&f, ONE);
    fake_pass(&f.fake, S);
    before_us = kith__pkarr_timestamp(&f.fake.stored);
    kith__sim_jump_wall(f.fake.world.sim, -7200 * 1000000ll);
    publish(&f, TWO);
    fake_pass(&f.fake, S);
    KITH_CHECK_EQ(kith__pkarr_timestamp(&f.fake.stored), before_us + 1);
    KITH_CHECK_EQ(addr_count(&f.fake.stored), 2);
    close_fixture(&f);
}

KITH_TEST(timestamps_rise_also_across_restarts)
{
    struct fixture f;
    uint64_t before_us;

    open_fixture(&f);
    publish(&f, ONE);
    fake_pass(&f.fake, S);
    before_us = f.stored_us;
    stop_publisher(&f);
    kith__sim_jump_wall(f.fake.world.sim, -7200 * 1000000ll);
    start_publisher(&f, "http://relay.test:8080/pkarr");
    publish(&f, TWO);
    fake_pass(&f.fake, S);
    KITH_CHECK_EQ(kith__pkarr_timestamp(&f.fake.stored), before_us + 1);
    KITH_CHECK_EQ(f.fake.put_count, 2);
    stop_publisher(&f);
    f.stored_us = UINT64_MAX; /* a file with nonsense in it */
    start_publisher(&f, "http://relay.test:8080/pkarr");
    f.stored_us = 0;
    publish(&f, ONE);
    fake_pass(&f.fake, S);
    KITH_CHECK_EQ(kith__pkarr_timestamp(&f.fake.stored), (uint64_t)INT64_MAX + 1);
    close_fixture(&f);
}

KITH_TEST(a_newer_packet_of_ours_at_the_server_is_gone_past)
{
    struct fixture f;
    uint64_t before_us;

    open_fixture(&f);
    kith__sim_jump_wall(f.fake.world.sim, 3600 * 1000000ll);
    publish(&f, ONE);
    fake_pass(&f.fake, S);
    before_us = kith__pkarr_timestamp(&f.fake.stored);
    stop_publisher(&f);
    f.stored_us = 0; /* nobody kept it */
    kith__sim_jump_wall(f.fake.world.sim, -7200 * 1000000ll);
    start_publisher(&f, "http://relay.test:8080/pkarr");
    publish(&f, TWO);
    fake_pass(&f.fake, 2 * S);
    KITH_CHECK_EQ(kith__pkarr_timestamp(&f.fake.stored), before_us + 1);
    KITH_CHECK_EQ(addr_count(&f.fake.stored), 2);
    KITH_CHECK_EQ(f.fake.put_count, 3);
    KITH_CHECK_EQ(how(&f).err, 0);
    fake_pass(&f.fake, 1000 * S);
    KITH_CHECK_EQ(f.fake.get_count, 2); /* of the first run and of the second */
    close_fixture(&f);
}

KITH_TEST(a_packet_of_ours_from_far_ahead_is_not_gone_past_and_that_is_told)
{
    struct fixture f;
    uint64_t before_us;

    open_fixture(&f);
    kith__sim_jump_wall(f.fake.world.sim, 25ll * 365 * 86400 * 1000000);
    publish(&f, ONE);
    fake_pass(&f.fake, S);
    before_us = kith__pkarr_timestamp(&f.fake.stored);
    stop_publisher(&f);
    f.stored_us = 0;
    kith__sim_jump_wall(f.fake.world.sim, -25ll * 365 * 86400 * 1000000);
    start_publisher(&f, "http://relay.test:8080/pkarr");
    publish(&f, TWO);
    fake_pass(&f.fake, 400 * S);
    KITH_CHECK_EQ(kith__pkarr_timestamp(&f.fake.stored), before_us);
    KITH_CHECK_EQ(how(&f).err, KITH_ERR_STATE);
    KITH_CHECK(strstr(how(&f).why, "dated 25 years after") != NULL || strstr(how(&f).why, "dated 24 years") != NULL);
    KITH_CHECK_EQ(f.fake.put_count, 3); /* one of the first run, two of this one: it does not try harder */
    close_fixture(&f);
}

static void say_conflict(struct fake *fake, size_t index, struct fake_reply *reply)
{
    const struct fake_request *request = &fake->requests[index];

    if (request->is_put && !kith__pkarr_is_newer(&request->packet, &fake->stored) && request->packet.size != 0 &&
        memcmp(request->packet.bytes, fake->stored.bytes, request->packet.size) != 0)
        reply->status = 409;
}

KITH_TEST(a_server_that_says_that_it_has_a_newer_one_is_asked_for_it)
{
    struct fixture f;

    open_fixture(&f);
    publish(&f, ONE);
    fake_pass(&f.fake, S);
    stop_publisher(&f);
    f.stored_us = 0;
    kith__sim_jump_wall(f.fake.world.sim, -7200 * 1000000ll);
    f.fake.on_request = say_conflict;
    start_publisher(&f, "http://relay.test:8080/pkarr");
    publish(&f, TWO);
    fake_pass(&f.fake, S);
    KITH_CHECK_EQ(addr_count(&f.fake.stored), 2);
    KITH_CHECK_EQ(how(&f).err, 0);
    KITH_CHECK_EQ(how(&f).failed_count, 1);
    close_fixture(&f);
}

/** Takes no packet that is dated more than ten minutes ahead. */
static void refuse_what_is_to_come(struct fake *fake, size_t index, struct fake_reply *reply)
{
    const struct fake_request *request = &fake->requests[index];

    if (request->is_packet &&
        kith__pkarr_timestamp(&request->packet) > kith__rt_wall_us(fake->world.server) + 600 * 1000000ull)
        reply->status = 400;
}

KITH_TEST(a_clock_that_was_ahead_once_does_not_keep_packets_from_being_taken)
{
    struct fixture f;
    uint64_t wall_us;

    for (int is_known = 0; is_known < 2; is_known++) { /* the server has nothing of this key; or an earlier packet */
        open_fixture(&f);
        f.fake.on_request = refuse_what_is_to_come;
        if (is_known != 0) {
            publish(&f, ONE);
            fake_pass(&f.fake, S);
        }
        wall_us = kith__rt_wall_us(f.fake.world.server);
        f.stored_us = wall_us + 365ull * 86400 * 1000000; /* from an earlier run */
        stop_publisher(&f);
        start_publisher(&f, "http://relay.test:8080/pkarr");
        publish(&f, TWO);
        fake_pass(&f.fake, S);
        KITH_CHECK_EQ(how(&f).err, 0);
        KITH_CHECK_EQ(how(&f).failed_count, 1);
        KITH_CHECK_EQ(addr_count(&f.fake.stored), 2);
        KITH_CHECK(kith__pkarr_timestamp(&f.fake.stored) >= wall_us);
        KITH_CHECK_EQ(f.stored_us, kith__pkarr_timestamp(&f.fake.stored));
        close_fixture(&f);
    }
}

static void refuse_all(struct fake *fake, size_t index, struct fake_reply *reply)
{
    if (fake->requests[index].is_put)
        reply->status = 400;
}

KITH_TEST(a_refusal_for_another_reason_is_no_reason_to_hurry)
{
    struct fixture f;

    open_fixture(&f);
    publish(&f, ONE);
    fake_pass(&f.fake, S);
    f.fake.on_request = refuse_all;
    kith__sim_jump_wall(f.fake.world.sim, -7200 * 1000000ll); /* what it has is ahead of the clock now */
    publish(&f, TWO);
    fake_pass(&f.fake, 60 * S);
    KITH_CHECK(f.fake.put_count < 15);
    KITH_CHECK_EQ(how(&f).err, KITH_ERR_REFUSED);
    close_fixture(&f);
}

/** Always has one more, as if another used the key. */
static void be_ahead(struct fake *fake, size_t index, struct fake_reply *reply)
{
    struct kith_secret secret = fake_secret();
    struct kith_lookup_info info;
    size_t left_out;

    if (fake->requests[index].is_put) {
        reply->status = 409;
        return;
    }
    kith__lookup_info_init(&info, kith_mem_default(), &fake->id);
    KITH_CHECK_EQ(kith__pkarr_make(&info, &secret, kith__rt_wall_us(fake->world.server) + 60000000, 30,
                                   kith_mem_default(), &fake->stored, &left_out),
                  0);
    *reply = (struct fake_reply) { .status = 200, .body = kith__pkarr_payload(&fake->stored) };
}

KITH_TEST(two_that_hold_one_key_do_not_race_each_other)
{
    struct fixture f;

    open_fixture(&f);
    f.fake.on_request = be_ahead;
    publish(&f, ONE);
    fake_pass(&f.fake, 60 * S);
    KITH_CHECK(f.fake.put_count < 15);
    KITH_CHECK_EQ(how(&f).err, KITH_ERR_REFUSED);
    close_fixture(&f);
}

static void hide(struct fake *fake, size_t index, struct fake_reply *reply)
{
    if (!fake->requests[index].is_put)
        *reply = index % 2 != 0 ? (struct fake_reply) { .status = 405 }
                                : (struct fake_reply) { .status = 200, .body = { (const uint8_t *)"nonsense", 8 } };
}

KITH_TEST(a_server_that_shows_nothing_is_published_to_all_the_same)
{
    struct fixture f;

    open_fixture(&f);
    f.fake.on_request = hide;
    publish(&f, ONE);
    fake_pass(&f.fake, 1000 * S);
    KITH_CHECK_EQ(f.fake.put_count, 4);
    KITH_CHECK_EQ(how(&f).accepted_count, 4);
    KITH_CHECK_EQ(how(&f).failed_count, 0);
    close_fixture(&f);
}

/* ---- Options, memory ---- */

KITH_TEST(a_publisher_needs_a_url_of_a_web_server_and_trust_for_https)
{
    struct kith_secret secret = fake_secret();
    struct kith_pkarr_publish_options options = { .secret = &secret };
    struct fixture f;

    open_fixture(&f);
    options.http.url = "https://relay.test/pkarr";
    KITH_CHECK_EQ(kith__pkarr_publish_new(f.fake.world.client, &options, &(struct kith_lookup_service *) { NULL }),
                  KITH_ERR_INVALID);
    options.http.url = "relay.test";
    KITH_CHECK_EQ(kith__pkarr_publish_new(f.fake.world.client, &options, &(struct kith_lookup_service *) { NULL }),
                  KITH_ERR_PARSE);
    options.http.url = "ftp://relay.test/";
    KITH_CHECK_EQ(kith__pkarr_publish_new(f.fake.world.client, &options, &(struct kith_lookup_service *) { NULL }),
                  KITH_ERR_UNSUPPORTED);
    close_fixture(&f);
}

KITH_TEST(publishing_survives_every_failed_allocation)
{
    struct kith_test_mem mem;
    uint64_t fail_at = 0;

    do {
        struct fixture f;
        struct kith_pkarr_publish_options options = { .http = { .url = "http://relay.test:8080/pkarr" } };

        kith__test_mem_init(&mem, 0);
        memset(&f, 0, sizeof f);
        f.secret = fake_secret();
        f.id = kith__secret_id(&f.secret);
        options.secret = &f.secret;
        fake_open(&f.fake, WORLD_PLAIN, &mem.mem, (uint64_t)time(NULL), &f.id);
        mem.calls = 0;
        mem.fail_at = ++fail_at;
        if (kith__pkarr_publish_new(f.fake.world.client, &options, &f.service) == 0) {
            publish(&f, TWO);
            fake_pass(&f.fake, 15 * S);
            KITH_CHECK(how(&f).accepted_count > 0 || mem.calls >= fail_at);
            if (how(&f).accepted_count == 0) { /* the copy failed: the next change repairs it */
                KITH_CHECK_EQ(how(&f).err, KITH_ERR_NOMEM);
                publish(&f, ONE);
                fake_pass(&f.fake, 15 * S);
                KITH_CHECK(how(&f).accepted_count > 0);
            }
        }
        mem.fail_at = mem.calls < fail_at ? fail_at : 0;
        close_fixture(&f);
        KITH_CHECK_EQ(mem.live, 0);
    } while (mem.fail_at == 0);
    KITH_CHECK(fail_at > 20);
}
