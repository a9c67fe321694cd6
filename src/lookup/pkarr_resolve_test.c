/* The resolver and a server of signed packets, in virtual time and on loopback. */
#include "lookup/pkarr_resolve.h"

#include "crypto/sign.h"
#include "lookup/pkarr_fake.h"

#include <time.h>

#define S KITH_NS_PER_S

/** What a resolve told. */
struct outcome {
    struct kith_lookup_query *query;
    struct kith_lookup_service *service;
    bool cancels_in_found, is_done;
    size_t found_count, end_count, addr_count;
    uint64_t updated_us, end_ns;
    int err;
    char why[KITH_LINK_WHY_SIZE], user_data[KITH_USER_DATA_SIZE_MAX + 1];
    struct kith_rt *rt;
};

static void on_found(void *ctx, const struct kith_lookup_found *found)
{
    struct outcome *outcome = ctx;

    KITH_CHECK_EQ(outcome->end_count, 0);
    outcome->found_count++;
    outcome->addr_count = found->info->addr.count;
    outcome->updated_us = found->updated_us;
    strcpy(outcome->user_data, found->info->user_data);
    if (outcome->cancels_in_found)
        outcome->service->ops->cancel(outcome->query);
}

static void on_end(void *ctx, int err, const char *why)
{
    struct outcome *outcome = ctx;

    KITH_CHECK(!outcome->cancels_in_found);
    KITH_CHECK_EQ(err == 0, why[0] == '\0');
    outcome->end_count++;
    outcome->end_ns = kith__rt_now(outcome->rt);
    outcome->err = err;
    strcpy(outcome->why, why);
    outcome->is_done = true;
}

struct fixture {
    struct fake fake;
    struct kith_secret secret;
    struct kith_id id;
    struct kith_lookup_service *service;
    struct outcome outcome;
    uint64_t began_ns;
};

static void open_with(struct fixture *f, int kind, const char *url)
{
    struct kith_pkarr_http_options options = { .url = url };

    memset(f, 0, sizeof *f);
    f->secret = fake_secret();
    f->id = kith__secret_id(&f->secret);
    fake_open(&f->fake, kind, NULL, (uint64_t)time(NULL), &f->id);
    options.tls = f->fake.world.client_tls;
    KITH_CHECK_EQ(kith__pkarr_resolve_new(f->fake.world.client, &options, &f->service), 0);
}

static void open_fixture(struct fixture *f)
{
    open_with(f, WORLD_PLAIN, "http://relay.test:8080/pkarr");
}

static void close_fixture(struct fixture *f)
{
    f->service->ops->free(f->service);
    fake_close(&f->fake);
}

/** The server has a packet with these attributes, one a line. */
static void put(struct fixture *f, const char *attributes, uint64_t timestamp_us)
{
    struct kith_lookup_info info;
    size_t ignored = 0, left_out;

    kith__lookup_info_init(&info, kith_mem_default(), &f->id);
    while (*attributes != '\0') {
        size_t size = strcspn(attributes, "\n");

        KITH_CHECK_EQ(kith__attrs_take(&info, (struct kith_slice) { (const uint8_t *)attributes, size }, &ignored), 0);
        attributes += size + (attributes[size] == '\n');
    }
    KITH_CHECK_EQ(kith__pkarr_make(&info, &f->secret, timestamp_us, 30, kith_mem_default(), &f->fake.stored, &left_out),
                  0);
    f->fake.has_stored = true;
    kith__lookup_info_dispose(&info);
}

/** Asks and waits. Returns the error of the end. */
static int resolve(struct fixture *f, const struct kith_id *id)
{
    const struct kith_lookup_sink sink = { on_found, on_end, &f->outcome };

    f->outcome = (struct outcome) { .rt = f->fake.world.client, .service = f->service };
    f->began_ns = kith__rt_now(f->fake.world.client);
    KITH_CHECK_EQ(f->service->ops->resolve(f->service, id, &sink, &f->outcome.query), 0);
    KITH_CHECK(!f->outcome.is_done);
    world_run(&f->fake.world, &f->outcome.is_done);
    KITH_CHECK_EQ(f->outcome.end_count, 1);
    KITH_CHECK_EQ(f->outcome.found_count, f->outcome.err == 0);
    return f->outcome.err;
}

KITH_TEST(a_packet_is_found_with_one_get_and_tells_when_it_was_made)
{
    for (int kind = 0; kind <= WORLD_TLS; kind += WORLD_TLS) {
        struct fixture f;

        open_with(&f, kind, kind == WORLD_TLS ? "https://relay.test:8080/pkarr/" : "http://relay.test:8080/pkarr/");
        put(&f, "relay=https://r.example/\naddr=192.0.2.1:1\nuser-data=hello", 1234567890);
        KITH_CHECK_EQ(resolve(&f, &f.id), 0);
        KITH_CHECK_EQ(f.outcome.addr_count, 2);
        KITH_CHECK_EQ(f.outcome.updated_us, 1234567890);
        KITH_CHECK_STR(f.outcome.user_data, "hello");
        KITH_CHECK_EQ(f.fake.get_count, 1);
        KITH_CHECK_STR(fake_last(&f.fake)->path, "/pkarr/yqooxx9u3aemh8mo5wcqq16yufu6jitouq1o4za751dger1igghy");
        close_fixture(&f);
    }
}

KITH_TEST(a_query_in_the_url_stays_behind_the_id)
{
    static const struct {
        const char *url, *path;
    } cases[] = {
        { "http://relay.test:8080", "/yqooxx9u3aemh8mo5wcqq16yufu6jitouq1o4za751dger1igghy" },
        { "http://relay.test:8080/a?token=b/#c", "/a/yqooxx9u3aemh8mo5wcqq16yufu6jitouq1o4za751dger1igghy?token=b/" },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct fixture f;

        open_with(&f, WORLD_PLAIN, cases[i].url);
        put(&f, "", 1);
        KITH_CHECK_EQ(resolve(&f, &f.id), 0);
        KITH_CHECK_STR(fake_last(&f.fake)->path, cases[i].path);
        close_fixture(&f);
    }
}

KITH_TEST(the_label_says_which_server_but_no_password)
{
    struct fixture f;

    open_with(&f, WORLD_PLAIN, "http://user:secret@Relay.test:8080/pkarr");
    KITH_CHECK_STR(f.service->label, "pkarr:http://relay.test:8080/pkarr");
    close_fixture(&f);
    open_with(&f, WORLD_PLAIN, "http://[2001:db8::2]:8080/pkarr");
    KITH_CHECK_STR(f.service->label, "pkarr:http://[2001:db8::2]:8080/pkarr");
    close_fixture(&f);
}

KITH_TEST(an_empty_packet_is_a_finding)
{
    struct fixture f;

    open_fixture(&f);
    put(&f, "", 5);
    KITH_CHECK_EQ(resolve(&f, &f.id), 0);
    KITH_CHECK_EQ(f.outcome.addr_count, 0);
    close_fixture(&f);
}

KITH_TEST(an_id_that_the_server_does_not_know_is_not_found)
{
    struct fixture f;

    open_fixture(&f);
    KITH_CHECK_EQ(resolve(&f, &f.id), KITH_ERR_NOT_FOUND);
    KITH_CHECK_STR(f.outcome.why, "relay.test has no packet of this endpoint");
    close_fixture(&f);
}

/* What a server said instead; one test at a time. */
static struct fake_reply instead;

static void say_instead(struct fake *fake, size_t index, struct fake_reply *reply)
{
    (void)fake;
    (void)index;
    *reply = instead;
}

KITH_TEST(every_answer_of_a_server_has_its_error)
{
    static uint8_t page[KITH_PKARR_ANSWER_SIZE_MAX + 1];
    static const struct {
        uint16_t status;
        size_t size;
        int err;
    } cases[] = {
        { 204, 0, KITH_ERR_TRUNCATED },
        { 200, 71, KITH_ERR_TRUNCATED },
        { 200, 84, KITH_ERR_CRYPTO },
        { 200, KITH_PKARR_PAYLOAD_SIZE_MAX + 1, KITH_ERR_TOO_LARGE },
        { 200, sizeof page, KITH_ERR_TOO_LARGE },
        { 304, 0, KITH_ERR_IO },
        { 302, 0, KITH_ERR_IO }, /* without a place to go */
        { 400, 10, KITH_ERR_REFUSED },
        { 401, 10, KITH_ERR_PERMISSION },
        { 403, 10, KITH_ERR_PERMISSION },
        { 404, sizeof page, KITH_ERR_NOT_FOUND }, /* whatever the page */
        { 410, 0, KITH_ERR_NOT_FOUND },
        { 429, 0, KITH_ERR_LIMIT },
        { 500, 0, KITH_ERR_IO },
        { 503, sizeof page, KITH_ERR_IO },
        { 600, 0, KITH_ERR_IO },
    };
    struct fixture f;

    open_fixture(&f);
    f.fake.on_request = say_instead;
    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        instead = (struct fake_reply) { .status = cases[i].status, .body = { page, cases[i].size } };
        KITH_CHECK_EQ(resolve(&f, &f.id), cases[i].err);
    }
    close_fixture(&f);
}

KITH_TEST(packets_of_others_and_forged_ones_are_refused)
{
    struct fixture f;
    struct kith_id other = { { 1 } };

    open_fixture(&f);
    put(&f, "addr=192.0.2.1:1", 1);
    KITH_CHECK_EQ(resolve(&f, &other), KITH_ERR_CRYPTO);
    KITH_CHECK_STR(f.outcome.why, "the packet that the server sent is not signed by this endpoint");
    f.fake.stored.bytes[f.fake.stored.size - 1] ^= 1;
    KITH_CHECK_EQ(resolve(&f, &f.id), KITH_ERR_CRYPTO);
    close_fixture(&f);
}

KITH_TEST(a_server_that_is_slow_or_away_has_ten_seconds)
{
    struct fixture f;

    open_fixture(&f);
    f.fake.on_request = say_instead;
    instead = (struct fake_reply) { .is_silent = true };
    KITH_CHECK_EQ(resolve(&f, &f.id), KITH_ERR_TIMEOUT);
    KITH_CHECK_EQ(f.outcome.end_ns - f.began_ns, 10 * S);
    fake_stop(&f.fake);
    KITH_CHECK_EQ(resolve(&f, &f.id), KITH_ERR_REFUSED);
    close_fixture(&f);
}

/* ---- Redirects ---- */

static const char *location; /* where requests but those to /there are sent; one test at a time */
static uint16_t redirect_status;

static void redirect(struct fake *fake, size_t index, struct fake_reply *reply)
{
    if (strncmp(fake->requests[index].path, "/there", 6) == 0)
        return;
    *reply = (struct fake_reply) { .status = redirect_status };
    snprintf(reply->headers, sizeof reply->headers, "Location: %s\r\n", location);
}

KITH_TEST(redirects_are_followed)
{
    static const uint16_t statuses[] = { 301, 302, 303, 307, 308 };
    static const char *const locations[] = { "http://relay.test:8080/there/x", "//relay.test:8080/there", "/there?a",
                                             "../there/" };
    struct fixture f;

    open_fixture(&f);
    f.fake.on_request = redirect;
    put(&f, "addr=192.0.2.1:1", 1);
    for (size_t i = 0; i < KITH_COUNT(statuses) * KITH_COUNT(locations); i++) {
        location = locations[i % KITH_COUNT(locations)];
        redirect_status = statuses[i / KITH_COUNT(locations)];
        KITH_CHECK_EQ(resolve(&f, &f.id), 0);
        KITH_CHECK_EQ(f.fake.count, 2 * i + 2);
    }
    close_fixture(&f);
}

KITH_TEST(redirects_that_lead_nowhere_are_not_followed)
{
    static const struct {
        const char *location;
        int err;
        size_t requests;
    } cases[] = {
        { "/again", KITH_ERR_LIMIT, 1 + KITH_PKARR_REDIRECTS_MAX },
        { "ftp://relay.test/there", KITH_ERR_UNSUPPORTED, 1 },
        { "https://", KITH_ERR_PARSE, 1 },
        { "https://relay.test:8080/there", KITH_ERR_PERMISSION, 1 }, /* nobody is trusted here */
        { "http://relay.test:8081/there", KITH_ERR_REFUSED, 1 },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct fixture f;

        open_fixture(&f);
        f.fake.on_request = redirect;
        location = cases[i].location;
        redirect_status = 302;
        KITH_CHECK_EQ(resolve(&f, &f.id), cases[i].err);
        KITH_CHECK_EQ(f.fake.count, cases[i].requests);
        close_fixture(&f);
    }
}

KITH_TEST(a_redirect_from_https_to_http_is_not_followed)
{
    struct fixture f;

    open_with(&f, WORLD_TLS, "https://relay.test:8080/pkarr");
    f.fake.on_request = redirect;
    put(&f, "addr=192.0.2.1:1", 1);
    redirect_status = 308;
    location = "http://relay.test:8080/there";
    KITH_CHECK_EQ(resolve(&f, &f.id), KITH_ERR_PERMISSION);
    KITH_CHECK_STR(f.outcome.why, "relay.test redirects from https to http, which is not followed");
    location = "https://relay.test:8080/there";
    KITH_CHECK_EQ(resolve(&f, &f.id), 0);
    close_fixture(&f);
}

static size_t slow_count;

/** Each redirect comes when most of the time is over: a silent server behind it. */
static void redirect_then_hang(struct fake *fake, size_t index, struct fake_reply *reply)
{
    if (slow_count++ == 0) {
        *reply = (struct fake_reply) { .status = 307 };
        snprintf(reply->headers, sizeof reply->headers, "Location: /elsewhere\r\n");
    } else {
        reply->is_silent = true;
    }
    (void)fake;
    (void)index;
}

KITH_TEST(redirects_share_one_time_limit)
{
    struct fixture f;

    open_fixture(&f);
    f.fake.on_request = redirect_then_hang;
    slow_count = 0;
    KITH_CHECK_EQ(resolve(&f, &f.id), KITH_ERR_TIMEOUT);
    KITH_CHECK_EQ(f.outcome.end_ns - f.began_ns, 10 * S);
    close_fixture(&f);
}

/** The body of a PUT that was redirected. */
static bool is_put_done;
static int put_err;

static void on_put(void *ctx, const struct kith_pkarr_answer *answer)
{
    (void)ctx;
    is_put_done = true;
    put_err = answer->err;
}

KITH_TEST(a_put_stays_one_behind_a_redirect_but_not_behind_see_other)
{
    static const uint16_t statuses[] = { 301, 302, 307, 308, 303 };

    for (size_t i = 0; i < KITH_COUNT(statuses); i++) {
        const struct kith_pkarr_http_options options = { .url = "http://relay.test:8080/pkarr" };
        struct kith_pkarr_request *request;
        struct kith_pkarr_http http;
        struct kith_pkarr packet;
        struct kith_slice payload;
        struct fixture f;

        open_fixture(&f);
        put(&f, "addr=192.0.2.1:1", 7);
        packet = f.fake.stored;
        payload = kith__pkarr_payload(&packet);
        f.fake.has_stored = statuses[i] == 303; /* see there: there it is */
        f.fake.on_request = redirect;
        location = "/there";
        redirect_status = statuses[i];
        is_put_done = false;
        KITH_CHECK_EQ(kith__pkarr_http_init(&http, f.fake.world.client, &options), 0);
        KITH_CHECK_EQ(kith__pkarr_request(&http, &f.id, &payload, on_put, NULL, &request), 0);
        world_run(&f.fake.world, &is_put_done);
        KITH_CHECK_EQ(put_err, 0);
        KITH_CHECK_EQ(fake_last(&f.fake)->is_put, statuses[i] != 303);
        KITH_CHECK(f.fake.has_stored);
        KITH_CHECK_EQ(kith__pkarr_timestamp(&f.fake.stored), 7);
        kith__pkarr_http_dispose(&http);
        close_fixture(&f);
    }
}

/* ---- Ends ---- */

KITH_TEST(a_resolve_can_be_cancelled_at_any_time)
{
    for (uint64_t after_ms = 0; after_ms < 100; after_ms += 5) {
        const struct kith_lookup_sink sink = { on_found, on_end, NULL };
        struct kith_lookup_sink mine = sink;
        struct fixture f;

        open_fixture(&f);
        put(&f, "addr=192.0.2.1:1", 1);
        f.outcome = (struct outcome) { .rt = f.fake.world.client, .service = f.service };
        mine.ctx = &f.outcome;
        KITH_CHECK_EQ(f.service->ops->resolve(f.service, &f.id, &mine, &f.outcome.query), 0);
        fake_pass(&f.fake, after_ms * KITH_NS_PER_MS);
        if (!f.outcome.is_done) {
            f.service->ops->cancel(f.outcome.query);
            fake_pass(&f.fake, S);
            KITH_CHECK(!f.outcome.is_done && f.outcome.found_count == 0);
        }
        close_fixture(&f);
    }
}

KITH_TEST(a_resolve_can_be_cancelled_by_who_hears_of_the_finding)
{
    struct fixture f;
    struct kith_lookup_sink sink = { on_found, on_end, &f.outcome };

    open_fixture(&f);
    put(&f, "addr=192.0.2.1:1", 1);
    f.outcome = (struct outcome) { .rt = f.fake.world.client, .service = f.service, .cancels_in_found = true };
    KITH_CHECK_EQ(f.service->ops->resolve(f.service, &f.id, &sink, &f.outcome.query), 0);
    fake_pass(&f.fake, S);
    KITH_CHECK_EQ(f.outcome.found_count, 1);
    KITH_CHECK_EQ(f.outcome.end_count, 0);
    close_fixture(&f);
}

KITH_TEST(many_resolves_at_once_do_not_mix)
{
    struct outcome outcomes[50];
    struct fixture f;

    open_fixture(&f);
    put(&f, "addr=192.0.2.1:1", 1);
    for (size_t i = 0; i < KITH_COUNT(outcomes); i++) {
        struct kith_lookup_sink sink = { on_found, on_end, &outcomes[i] };
        struct kith_id id = f.id;

        id.bytes[31] ^= (uint8_t)(i % 2);
        outcomes[i] = (struct outcome) { .rt = f.fake.world.client, .service = f.service };
        KITH_CHECK_EQ(f.service->ops->resolve(f.service, &id, &sink, &outcomes[i].query), 0);
    }
    fake_pass(&f.fake, S);
    for (size_t i = 0; i < KITH_COUNT(outcomes); i++) {
        KITH_CHECK_EQ(outcomes[i].end_count, 1);
        KITH_CHECK_EQ(outcomes[i].err, i % 2 == 0 ? 0 : KITH_ERR_CRYPTO);
    }
    close_fixture(&f);
}

KITH_TEST(resolving_survives_every_failed_allocation)
{
    struct kith_test_mem mem;
    uint64_t fail_at = 0;

    do {
        const struct kith_pkarr_http_options options = { .url = "http://relay.test:8080/pkarr" };
        struct fixture f;
        struct kith_lookup_sink sink = { on_found, on_end, &f.outcome };
        int err;

        kith__test_mem_init(&mem, 0);
        memset(&f, 0, sizeof f);
        f.secret = fake_secret();
        f.id = kith__secret_id(&f.secret);
        fake_open(&f.fake, WORLD_PLAIN, &mem.mem, (uint64_t)time(NULL), &f.id);
        f.fake.on_request = redirect;
        redirect_status = 302;
        location = "/there";
        put(&f, "relay=https://r.example/\naddr=192.0.2.1:1", 1);
        mem.calls = 0;
        mem.fail_at = ++fail_at;
        err = kith__pkarr_resolve_new(f.fake.world.client, &options, &f.service);
        if (err == 0) {
            f.outcome = (struct outcome) { .rt = f.fake.world.client, .service = f.service };
            err = f.service->ops->resolve(f.service, &f.id, &sink, &f.outcome.query);
            if (err == 0) {
                world_run(&f.fake.world, &f.outcome.is_done);
                err = f.outcome.err;
            }
        }
        KITH_CHECK(err == 0 || mem.calls >= fail_at);
        mem.fail_at = mem.calls < fail_at ? fail_at : 0;
        if (f.service != NULL)
            f.service->ops->free(f.service);
        fake_close(&f.fake);
        KITH_CHECK_EQ(mem.live, 0);
    } while (mem.fail_at == 0);
    KITH_CHECK(fail_at > 20);
}
