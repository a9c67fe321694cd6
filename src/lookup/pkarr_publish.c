#include "lookup/pkarr_publish.h"

#include "base/assert.h"
#include "base/mem.h"
#include "base/random.h"
#include "crypto/sign.h"

#include <inttypes.h>
#include <stdio.h>

/** So far ahead of our clock a packet must be for that to be why a server did not take it: kith-dns takes ten times more. */
#define AHEAD_MIN_US 60000000ull

struct publisher {
    struct kith_lookup_service base;
    struct kith_rt *rt;
    struct kith_pkarr_http http;
    struct kith_secret secret;
    struct kith_id id;
    uint32_t ttl_s;
    uint64_t republish_ns;
    void (*store)(void *ctx, uint64_t timestamp_us);
    void *store_ctx;

    struct kith_lookup_info info; /* what is to be told, if has_info */
    bool has_info;
    bool is_accepted;   /* info, by the last attempt */
    bool was_sent;      /* a packet with something in it may be at the server */
    bool is_compared;   /* the server's packet with ours, once: see compare */
    bool is_too_new;    /* the server refused the last packet, which is dated ahead of our clock */
    bool has_gone_past; /* a newer one, since the last success or change */
    uint64_t last_us;   /* the largest timestamp that was used, or seen at the server */

    struct kith_rt_timer timer;         /* the next PUT */
    struct kith_pkarr_request *request; /* under way */
    bool is_putting;                    /* it is a PUT */
    bool has_started;                   /* any request, the last at: */
    uint64_t started_ns;
    uint64_t held_ns;  /* nothing before this: the server asked for silence */
    uint64_t failures; /* one after the other */
    struct kith_lookup_published published;
};

static struct publisher *of(struct kith_lookup_service *base)
{
    return (struct publisher *)(void *)base;
}

static void give_up_request(struct publisher *publisher)
{
    kith__pkarr_request_cancel(publisher->request);
    publisher->request = NULL;
    publisher->is_putting = false;
}

/** The next PUT, as soon as may be. */
static void put_soon(struct publisher *publisher)
{
    uint64_t at_ns = KITH_MAX(kith__rt_now(publisher->rt), publisher->held_ns);

    give_up_request(publisher);
    if (publisher->has_started)
        at_ns = KITH_MAX(at_ns, publisher->started_ns + KITH_PKARR_GAP_NS);
    kith__rt_timer_set(&publisher->timer, at_ns);
}

/* ---- After a request ---- */

static void note_failure(struct publisher *publisher, int err, const char *why)
{
    enum kith_log_level level = publisher->failures == 0 ? KITH_LOG_WARN : KITH_LOG_DEBUG;

    publisher->is_accepted = false;
    publisher->published.failed_count++;
    publisher->published.err = err;
    snprintf(publisher->published.why, sizeof publisher->published.why, "%s", why);
    kith__log(&publisher->rt->log, level, "pkarr", "%s: publishing failed: %s", publisher->base.label, why);
}

/** Between four and six fifths of it. */
static uint64_t jitter(const struct publisher *publisher, uint64_t ns)
{
    return ns / 5 * 4 + kith__random_below(kith__rt_random(publisher->rt), ns / 5 * 2);
}

static void failed(struct publisher *publisher, int err, const char *why, uint64_t retry_after_ns)
{
    uint64_t now_ns = kith__rt_now(publisher->rt), wait_ns;

    note_failure(publisher, err, why);
    publisher->failures++;
    wait_ns = KITH_MIN(publisher->failures, KITH_PKARR_RETRY_MAX_NS / KITH_PKARR_RETRY_STEP_NS) *
              KITH_PKARR_RETRY_STEP_NS;
    publisher->held_ns = now_ns + KITH_MIN(retry_after_ns, KITH_PKARR_RETRY_AFTER_MAX_NS);
    kith__rt_timer_set(&publisher->timer, KITH_MAX(now_ns + jitter(publisher, wait_ns), publisher->held_ns));
}

static void accepted(struct publisher *publisher)
{
    bool is_empty = kith__lookup_info_is_empty(&publisher->info);

    if (publisher->failures > 0)
        kith__log(&publisher->rt->log, KITH_LOG_INFO, "pkarr", "%s: publishing succeeds again", publisher->base.label);
    publisher->is_accepted = true;
    publisher->has_gone_past = false;
    publisher->failures = 0;
    publisher->held_ns = 0;
    publisher->published.accepted_count++;
    publisher->published.accepted_ns = kith__rt_now(publisher->rt);
    publisher->published.err = 0;
    publisher->published.why[0] = '\0';
    /* An empty packet did its work: what was there before is gone. */
    publisher->was_sent = !is_empty;
    kith__rt_timer_set(&publisher->timer,
                       is_empty ? KITH_NEVER : publisher->published.accepted_ns + publisher->republish_ns);
}

/* ---- Comparing with what the server has ---- */

/** The server has a packet that is newer than ours, which it therefore threw away. */
static void go_past(struct publisher *publisher, uint64_t theirs_us)
{
    uint64_t wall_us = kith__rt_wall_us(publisher->rt), ahead_us = theirs_us > wall_us ? theirs_us - wall_us : 0;
    const uint64_t year_us = 365ull * 86400 * 1000000;
    char why[sizeof publisher->published.why];

    if (ahead_us > KITH_PKARR_AHEAD_MAX_US) {
        snprintf(why, sizeof why,
                 "the server keeps a packet of this key that is dated %" PRIu64
                 " years after the clock here, and takes no other: set the clock, or use a new key",
                 ahead_us / year_us);
        note_failure(publisher, KITH_ERR_STATE, why);
        publisher->is_compared = false; /* after each PUT, as long as it is so: the server says yes, but means no */
        return;
    }
    kith__log(&publisher->rt->log, KITH_LOG_INFO, "pkarr",
              "%s: the server has a packet of this key that is %" PRIu64 " s ahead of the clock here; we go past it",
              publisher->base.label, ahead_us / 1000000);
    publisher->last_us = theirs_us;
    if (publisher->has_gone_past)
        return; /* two hold this key: each in its turn, not as fast as they can */
    publisher->has_gone_past = true;
    put_soon(publisher);
}

/** The server did not take what a clock that was ahead once made of the time, and its own packet is older: we need not be past ours. */
static void go_back(struct publisher *publisher, uint64_t theirs_us)
{
    kith__log(&publisher->rt->log, KITH_LOG_INFO, "pkarr",
              "%s: the server did not take a packet that is dated ahead of the clock here; we go back to the clock",
              publisher->base.label);
    publisher->last_us = theirs_us;
    put_soon(publisher);
}

static void on_compared(void *ctx, const struct kith_pkarr_answer *answer)
{
    struct publisher *publisher = ctx;
    struct kith_pkarr packet;
    uint64_t theirs_us = 0;
    int err = answer->err;

    publisher->request = NULL;
    if (err == 0 && (err = kith__pkarr_read(&publisher->id, answer->body, &packet)) == 0)
        theirs_us = kith__pkarr_timestamp(&packet);
    publisher->is_compared = err == 0 || err == KITH_ERR_NOT_FOUND; /* else again after the next PUT */
    if (theirs_us > publisher->last_us)
        go_past(publisher, theirs_us);
    else if (publisher->is_compared && publisher->is_too_new && theirs_us + AHEAD_MIN_US < publisher->last_us)
        go_back(publisher, theirs_us);
    else if (!publisher->is_compared)
        kith__log(&publisher->rt->log, KITH_LOG_DEBUG, "pkarr", "%s: what it has cannot be compared: %s",
                  publisher->base.label, answer->err != 0 ? answer->why : kith_strerror(err));
}

/** Asks what the server has. Best effort: it is of use only if clocks are wrong. */
static void compare(struct publisher *publisher)
{
    publisher->started_ns = kith__rt_now(publisher->rt);
    if (kith__pkarr_request(&publisher->http, &publisher->id, NULL, on_compared, publisher, &publisher->request) != 0)
        publisher->request = NULL;
}

/* ---- Publishing ---- */

/** Servers of the general pkarr design say so when they have a newer packet; the usual one says yes. */
static bool says_newer(uint16_t status)
{
    return status == 409 || status == 412;
}

static void on_put(void *ctx, const struct kith_pkarr_answer *answer)
{
    struct publisher *publisher = ctx;

    publisher->request = NULL;
    publisher->is_putting = false;
    if (answer->err == 0)
        accepted(publisher);
    else
        failed(publisher, answer->err, answer->why, answer->retry_after_ns);
    publisher->is_too_new = answer->err == KITH_ERR_REFUSED &&
                            publisher->last_us > kith__rt_wall_us(publisher->rt) + AHEAD_MIN_US &&
                            !says_newer(answer->status);
    if (says_newer(answer->status) || publisher->is_too_new || (answer->err == 0 && !publisher->is_compared))
        compare(publisher);
}

static int make_packet(struct publisher *publisher, struct kith_pkarr *packet)
{
    uint64_t timestamp_us = KITH_MAX(kith__rt_wall_us(publisher->rt), publisher->last_us + 1);
    size_t left_out = 0;
    int err = kith__pkarr_make(&publisher->info, &publisher->secret, timestamp_us, publisher->ttl_s, publisher->rt->mem,
                               packet, &left_out);

    if (err != 0)
        return err;
    if (left_out > 0)
        kith__log(&publisher->rt->log, KITH_LOG_WARN, "pkarr", "%s: %zu addresses have no room in the packet",
                  publisher->base.label, left_out);
    publisher->last_us = timestamp_us;
    if (publisher->store != NULL)
        publisher->store(publisher->store_ctx, timestamp_us);
    return 0;
}

static void on_timer(void *ctx, uint64_t now_ns)
{
    struct publisher *publisher = ctx;
    struct kith_slice payload;
    struct kith_pkarr packet;
    int err;

    KITH_ASSERT(publisher->has_info);
    give_up_request(publisher);
    publisher->has_started = true;
    publisher->started_ns = now_ns;
    if ((err = make_packet(publisher, &packet)) == 0) {
        payload = kith__pkarr_payload(&packet);
        err = kith__pkarr_request(&publisher->http, &publisher->id, &payload, on_put, publisher, &publisher->request);
    }
    if (err != 0) {
        publisher->request = NULL;
        failed(publisher, err, kith_strerror(err), 0);
        return;
    }
    publisher->is_putting = true;
    if (!kith__lookup_info_is_empty(&publisher->info))
        publisher->was_sent = true;
}

static void publish(struct kith_lookup_service *base, const struct kith_lookup_info *info)
{
    struct publisher *publisher = of(base);

    if (publisher->has_info && kith__lookup_info_equal(info, &publisher->info))
        return;
    if (kith__lookup_info_is_empty(info) && !publisher->was_sent) {
        /* There is nothing to replace. What was to be told and never left is not true any more. */
        publisher->has_info = false;
        give_up_request(publisher);
        kith__rt_timer_set(&publisher->timer, KITH_NEVER);
        return;
    }
    if (kith__lookup_info_copy(info, &publisher->info) != 0) {
        note_failure(publisher, KITH_ERR_NOMEM, kith_strerror(KITH_ERR_NOMEM));
        return;
    }
    publisher->has_info = true;
    publisher->is_accepted = publisher->has_gone_past = false;
    publisher->failures = 0;
    put_soon(publisher);
}

static void published(const struct kith_lookup_service *base, struct kith_lookup_published *out)
{
    *out = ((const struct publisher *)(const void *)base)->published;
}

static void on_network_change(struct kith_lookup_service *base)
{
    struct publisher *publisher = of(base);

    if (!publisher->has_info || (publisher->is_accepted && !publisher->is_putting))
        return;
    publisher->failures = 0;
    publisher->held_ns = 0; /* that was said to the address that we had */
    put_soon(publisher);
}

/* ---- Life ---- */

static void publisher_free(struct kith_lookup_service *base)
{
    struct publisher *publisher = of(base);

    give_up_request(publisher);
    kith__rt_timer_dispose(&publisher->timer);
    kith__pkarr_http_dispose(&publisher->http);
    kith__lookup_info_dispose(&publisher->info);
    kith__wipe(&publisher->secret, sizeof publisher->secret);
    kith__free(publisher->rt->mem, publisher);
}

static const struct kith_lookup_service_ops ops = {
    .name = "pkarr",
    .publish = publish,
    .published = published,
    .on_network_change = on_network_change,
    .free = publisher_free,
};

int kith__pkarr_publish_new(struct kith_rt *rt, const struct kith_pkarr_publish_options *options,
                            struct kith_lookup_service **out)
{
    struct publisher *publisher = kith__alloc_zero(rt->mem, sizeof *publisher);
    int err;

    if (publisher == NULL)
        return KITH_ERR_NOMEM;
    publisher->base.ops = &ops;
    publisher->base.filter = (uint8_t)options->filter;
    publisher->rt = rt;
    publisher->secret = *options->secret;
    publisher->id = kith__secret_id(options->secret);
    publisher->ttl_s = options->ttl_s != 0 ? options->ttl_s : KITH_PKARR_TTL_S;
    publisher->republish_ns = options->republish_ns != 0 ? options->republish_ns : KITH_PKARR_REPUBLISH_NS;
    publisher->last_us = KITH_MIN(options->last_us, (uint64_t)INT64_MAX);
    publisher->store = options->store;
    publisher->store_ctx = options->store_ctx;
    kith__lookup_info_init(&publisher->info, rt->mem, &publisher->id);
    if ((err = kith__rt_timer_init(rt, &publisher->timer, on_timer, publisher)) != 0 ||
        (err = kith__pkarr_http_init(&publisher->http, rt, &options->http)) != 0) {
        publisher_free(&publisher->base);
        return err;
    }
    kith__pkarr_http_label(&publisher->http, publisher->base.label, sizeof publisher->base.label);
    *out = &publisher->base;
    return 0;
}
