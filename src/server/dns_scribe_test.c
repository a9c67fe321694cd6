/* The scribe: what a failed write means, whose puts come back to whom, and what waits. */
#include "server/dns_scribe.h"

#include "base/mem.h"
#include "base/test.h"

/** A store that takes everything, or nothing. */
struct fake {
    struct kith_store store;
    int put_err, commit_err;
    unsigned puts, commits;
};

static struct fake *fake_of(struct kith_store *store)
{
    return KITH_CONTAINER(store, struct fake, store);
}

static int fake_put(struct kith_store *store, const struct kith_pkarr *packet, uint64_t arrived_us,
                    enum kith_store_put *how)
{
    (void)packet;
    (void)arrived_us;
    fake_of(store)->puts++;
    *how = KITH_STORE_INSERTED;
    return fake_of(store)->put_err;
}

static int fake_commit(struct kith_store *store)
{
    fake_of(store)->commits++;
    return fake_of(store)->commit_err;
}

static int fake_expire(struct kith_store *store, uint64_t before_us, size_t max, size_t *count)
{
    (void)store;
    (void)before_us;
    (void)max;
    *count = 0;
    return 0;
}

static void fake_stats(struct kith_store *store, struct kith_store_stats *out)
{
    (void)store;
    *out = (struct kith_store_stats) { 0 };
}

static void fake_free(struct kith_store *store)
{
    (void)store;
}

static const struct kith_store_ops fake_ops = {
    .put = fake_put, .commit = fake_commit, .expire = fake_expire, .stats = fake_stats, .free = fake_free
};

struct rig {
    struct fake fake;
    struct kith_log log;
    unsigned lines;
    struct kith_dns_shared shared;
    struct kith_dns_scribe *scribe;
    unsigned scribe_wakes, worker_wakes[2];
};

static void wake_scribe(void *ctx)
{
    ((struct rig *)ctx)->scribe_wakes++;
}

static void wake_worker(void *ctx, unsigned worker)
{
    ((struct rig *)ctx)->worker_wakes[worker]++;
}

static void count_line(void *ctx, enum kith_log_level level, const char *part, const char *text)
{
    (void)level;
    (void)part;
    (void)text;
    ((struct rig *)ctx)->lines++;
}

static void rig_open(struct rig *rig, uint32_t batch_max)
{
    const struct kith_dns_storage storage = { .batch_max = batch_max };
    struct kith_dns_scribe_options options = { .shared = &rig->shared,
                                               .storage = &storage,
                                               .wake_scribe = wake_scribe,
                                               .wake_worker = wake_worker,
                                               .log = &rig->log,
                                               .ctx = rig };
    static const struct kith_dns_origin origin = { .name = "t" };
    struct kith_zone_problem problem;
    struct kith_server_why why;
    struct kith_dns_rules *rules;
    struct kith_zone *zone;

    memset(rig, 0, sizeof *rig);
    rig->log = (struct kith_log) { count_line, rig, KITH_LOG_WARN };
    rig->fake.store.ops = &fake_ops;
    KITH_CHECK_EQ(kith__zone_new(kith_mem_default(), &origin, 1, &zone, &problem), 0);
    KITH_CHECK_EQ(kith__dns_rules_new(kith_mem_default(), NULL, 1, &rules, &why), 0);
    KITH_CHECK_EQ(kith__dns_shared_init(&rig->shared, kith_mem_default(), NULL, 2, &rig->fake.store, zone, rules), 0);
    KITH_CHECK_EQ(kith__dns_scribe_new(&options, &rig->scribe), 0);
}

static void rig_close(struct rig *rig)
{
    kith__dns_scribe_free(rig->scribe);
    kith__dns_shared_dispose(&rig->shared);
}

static void put(struct rig *rig, unsigned worker)
{
    struct kith_dns_put *made = kith__alloc_zero(kith_mem_default(), sizeof *made);

    made->worker = worker;
    KITH_CHECK_EQ(kith__dns_scribe_put(rig->scribe, made), 0);
}

/* The result of the next put of a worker; 1: there is none. */
static int take(struct rig *rig, unsigned worker)
{
    struct kith_dns_put *done = kith__dns_scribe_done(rig->scribe, worker);
    int err = done != NULL ? done->err : 1;

    kith__free(kith_mem_default(), done);
    return err;
}

KITH_TEST(dns_scribe_says_stored_only_when_the_write_to_the_disk_succeeded)
{
    struct rig rig;

    rig_open(&rig, 0);
    rig.fake.commit_err = KITH_ERR_IO;
    put(&rig, 0);
    put(&rig, 0);
    KITH_CHECK_EQ(take(&rig, 0), 1); /* not before it was run */
    KITH_CHECK(!kith__dns_scribe_run(rig.scribe, 1, 1));
    KITH_CHECK_EQ(take(&rig, 0), KITH_ERR_IO);
    KITH_CHECK_EQ(take(&rig, 0), KITH_ERR_IO);
    rig.fake.commit_err = KITH_ERR_LIMIT; /* no room: another thing than a store that takes no new keys */
    put(&rig, 0);
    kith__dns_scribe_run(rig.scribe, 2, 2);
    KITH_CHECK_EQ(take(&rig, 0), KITH_ERR_NO_SPACE);
    rig.fake.commit_err = 0;
    put(&rig, 0);
    kith__dns_scribe_run(rig.scribe, 3, 3);
    KITH_CHECK_EQ(take(&rig, 0), 0);
    rig.fake.put_err = KITH_ERR_LIMIT;
    put(&rig, 0);
    kith__dns_scribe_run(rig.scribe, 4, 4);
    KITH_CHECK_EQ(take(&rig, 0), KITH_ERR_LIMIT);
    KITH_CHECK_EQ(kith__dns_scribe_counters(&rig.shared)->store_failures, 2);
    KITH_CHECK_EQ(kith__dns_scribe_counters(&rig.shared)->pkarr_publish_update, 1);
    rig_close(&rig);
}

KITH_TEST(dns_scribe_tells_the_log_of_failed_writes_once_a_minute)
{
    struct rig rig;

    rig_open(&rig, 0);
    for (uint64_t second = 0; second < 130; second++) {
        rig.fake.commit_err = second % 2 != 0 ? KITH_ERR_NO_SPACE : 0;
        put(&rig, 0);
        kith__dns_scribe_run(rig.scribe, second * KITH_NS_PER_S, 1);
        KITH_CHECK_EQ(take(&rig, 0), rig.fake.commit_err);
    }
    KITH_CHECK_EQ(rig.lines, 3);
    KITH_CHECK_EQ(kith__dns_scribe_counters(&rig.shared)->store_failures, 65);
    rig_close(&rig);
}

KITH_TEST(dns_scribe_writes_what_gathered_at_once_and_gives_each_worker_its_own)
{
    struct rig rig;

    rig_open(&rig, 3);
    for (unsigned i = 0; i < 5; i++)
        put(&rig, i % 2);
    KITH_CHECK(kith__dns_scribe_run(rig.scribe, 1, 1)); /* two are left */
    KITH_CHECK_EQ(rig.fake.puts, 3);
    KITH_CHECK_EQ(rig.fake.commits, 1);
    KITH_CHECK(!kith__dns_scribe_run(rig.scribe, 1, 1));
    KITH_CHECK_EQ(rig.fake.commits, 2);
    KITH_CHECK_EQ(rig.worker_wakes[0], 2);
    KITH_CHECK_EQ(rig.worker_wakes[1], 2);
    for (unsigned i = 0; i < 3; i++)
        KITH_CHECK_EQ(take(&rig, 0), 0);
    KITH_CHECK_EQ(take(&rig, 0), 1);
    KITH_CHECK_EQ(take(&rig, 1), 0);
    rig_close(&rig); /* and one that nobody has fetched is freed */
}

KITH_TEST(dns_scribe_is_woken_once_for_what_came_in_a_turn_and_earlier_when_that_is_worth_a_write)
{
    struct rig rig;

    rig_open(&rig, 0);
    kith__dns_scribe_wake(rig.scribe);
    KITH_CHECK_EQ(rig.scribe_wakes, 0); /* for nothing */
    for (unsigned i = 0; i < KITH_DNS_BATCH_FULL - 1; i++)
        put(&rig, 0);
    KITH_CHECK_EQ(rig.scribe_wakes, 0);
    kith__dns_scribe_wake(rig.scribe);
    KITH_CHECK_EQ(rig.scribe_wakes, 1);
    put(&rig, 1);
    KITH_CHECK_EQ(rig.scribe_wakes, 2);
    put(&rig, 1);
    KITH_CHECK_EQ(rig.scribe_wakes, 2); /* it knows */
    KITH_CHECK(!kith__dns_scribe_run(rig.scribe, 1, 1));
    KITH_CHECK_EQ(rig.fake.commits, 1);
    KITH_CHECK_EQ(rig.fake.puts, KITH_DNS_BATCH_FULL + 1);
    rig_close(&rig);
}

KITH_TEST(dns_scribe_takes_no_more_than_may_wait)
{
    struct kith_dns_put *more = kith__alloc_zero(kith_mem_default(), sizeof *more);
    struct rig rig;

    rig_open(&rig, 0);
    for (unsigned i = 0; i < KITH_DNS_WAITING_MAX; i++)
        put(&rig, 0);
    KITH_CHECK_EQ(kith__dns_scribe_put(rig.scribe, more), KITH_ERR_LIMIT);
    kith__free(kith_mem_default(), more);
    rig_close(&rig);
}
