/* Where certificates come from: files that change, an authority of our own; over simulated files. */
#include "server/certs.h"

#include "base/mem.h"
#include "base/test.h"
#include "http/head.h"
#include "rt/sim/sim.h"
#include "tls/selfmade.h"
#include "tls/stream.h"
#include <string.h>

/** A machine with files, and what was told of certificates. */
struct rig {
    struct kith_sim *sim;
    struct kith_sim_host *host;
    struct kith_rt *rt;
    struct kith_certs_shared shared;
    struct kith_certs *certs;
    struct kith_server_why why;
    unsigned news_count;
    struct kith_certificate_info last;
};

static void on_news(void *ctx, const struct kith_certificate_news *news)
{
    struct rig *rig = ctx;

    KITH_CHECK(news->context != NULL && news->key.size != 0);
    KITH_CHECK_EQ(kith__certificate_read(news->chain, &rig->last), 0);
    rig->news_count++;
}

static void rig_open(struct rig *rig)
{
    struct kith_sim_host_options options = { .name = "relay.test" };

    memset(rig, 0, sizeof *rig);
    KITH_CHECK_EQ(kith__sim_new(NULL, NULL, kith__test_seed(1), &rig->sim), 0);
    KITH_CHECK_EQ(kith_sockaddr_parse("10.0.0.1:0", &options.addrs[0]), 0);
    KITH_CHECK_EQ(kith__sim_host_new(rig->sim, &options, &rig->host), 0);
    rig->rt = kith__sim_rt(rig->host);
    KITH_CHECK_EQ(kith__certs_shared_init(&rig->shared, kith_mem_default(), NULL), 0);
}

static void rig_close(struct rig *rig)
{
    kith__certs_free(rig->certs);
    kith__certs_shared_dispose(&rig->shared);
    kith__rt_free(rig->rt);
    kith__sim_free(rig->sim);
}

static int start(struct rig *rig, const struct kith_mem *mem, const struct kith_server_tls *tls)
{
    struct kith_certs_options options = {
        .rt = rig->rt, .mem = mem, .tls = tls, .shared = &rig->shared, .on_news = on_news, .ctx = rig
    };

    return kith__certs_new(&options, &rig->certs, &rig->why);
}

static void pass(struct rig *rig, uint64_t ns)
{
    KITH_CHECK_EQ(kith__sim_run(rig->sim, NULL, NULL, kith__sim_now(rig->sim) + ns), KITH_SIM_OK);
}

static void write_file(struct rig *rig, const char *path, struct kith_slice bytes)
{
    KITH_CHECK_EQ(kith__server_write_file(rig->rt, path, bytes, 0600, &rig->why), 0);
}

/* A certificate of some authority for files. */
static void make_pair(struct rig *rig, struct kith_selfmade *out)
{
    struct kith_selfmade authority = { { .mem = kith_mem_default() }, { .mem = kith_mem_default() } };
    const char *names[] = { "relay.test" };
    uint64_t now_s = kith__rt_wall_us(rig->rt) / 1000000;

    *out = (struct kith_selfmade) { { .mem = kith_mem_default() }, { .mem = kith_mem_default() } };
    KITH_CHECK_EQ(kith__selfmade_authority(kith_mem_default(), "test", now_s, &authority), 0);
    KITH_CHECK_EQ(kith__selfmade_server(kith_mem_default(), kith__buf_slice(&authority.certificate),
                                        kith__buf_slice(&authority.key), names, 1, now_s, out),
                  0);
    kith__selfmade_dispose(&authority);
}

static const char *const names_one[] = { "relay.test" };
static const char *const names_two[] = { "relay.test", "10.0.0.1" };

KITH_TEST(certificate_files_are_taken_when_both_are_calm)
{
    const struct kith_server_tls tls = { .source = KITH_CERTIFICATE_FILES, .chain_file = "c", .key_file = "k" };
    struct kith_selfmade first, second;
    struct kith_certificate_info info;
    struct rig rig;

    rig_open(&rig);
    KITH_CHECK_EQ(start(&rig, kith_mem_default(), &tls), KITH_ERR_NOT_FOUND);
    KITH_CHECK(strstr(rig.why.text, "the certificate cannot be read: c") != NULL);
    make_pair(&rig, &first);
    make_pair(&rig, &second);
    write_file(&rig, "c", kith__buf_slice(&first.certificate));
    write_file(&rig, "k", kith__buf_slice(&first.key));
    KITH_CHECK_EQ(start(&rig, kith_mem_default(), &tls), 0);
    KITH_CHECK_EQ(rig.news_count, 1);
    pass(&rig, 60 * KITH_NS_PER_S);
    KITH_CHECK_EQ(rig.news_count, 1); /* nothing has changed */

    /* The chain alone is new: the two do not fit, the old ones stay, and it is tried once. */
    write_file(&rig, "c", kith__buf_slice(&second.certificate));
    pass(&rig, 60 * KITH_NS_PER_S);
    KITH_CHECK_EQ(rig.news_count, 1);
    KITH_CHECK_EQ(atomic_load(&rig.shared.failures), 1);
    write_file(&rig, "k", kith__buf_slice(&second.key));
    pass(&rig, 10 * KITH_NS_PER_S);
    KITH_CHECK_EQ(rig.news_count, 2);
    KITH_CHECK_EQ(kith__certificate_read(kith__buf_slice(&second.certificate), &info), 0);
    KITH_CHECK_BYTES(rig.last.sha256, info.sha256, sizeof info.sha256);
    KITH_CHECK_EQ(atomic_load(&rig.shared.certificate_ends_s), info.not_after_s);

    KITH_CHECK_EQ(kith__rt_unlink(rig.rt, NULL, "c"), 0);
    pass(&rig, 60 * KITH_NS_PER_S);
    KITH_CHECK_EQ(rig.news_count, 2);
    kith__certs_reload(rig.certs);
    KITH_CHECK_EQ(atomic_load(&rig.shared.failures), 2);
    kith__selfmade_dispose(&first);
    kith__selfmade_dispose(&second);
    rig_close(&rig);
}

/* What the check says with files of two pairs; `names`: what the server is called. */
static const char *verdict(struct rig *rig, const struct kith_selfmade *chain, const struct kith_selfmade *key,
                           const char *name)
{
    const struct kith_server_tls tls = {
        .source = KITH_CERTIFICATE_FILES, .chain_file = "c", .key_file = "k", .names = &name, .name_count = name != NULL
    };

    write_file(rig, "c", kith__buf_slice(&chain->certificate));
    write_file(rig, "k", kith__buf_slice(&key->key));
    rig->why.text[0] = 0;
    return kith__certs_check(rig->rt, kith_mem_default(), &tls, &rig->why) == 0 ? "fine" : rig->why.text;
}

KITH_TEST(certificate_files_are_checked_for_names_time_and_key)
{
    const struct kith_server_tls tls = {
        .source = KITH_CERTIFICATE_FILES, .chain_file = "c", .key_file = "k", .names = names_two, .name_count = 2
    };
    struct kith_selfmade first, second;
    struct rig rig;

    rig_open(&rig);
    make_pair(&rig, &first);
    make_pair(&rig, &second);
    KITH_CHECK_STR(verdict(&rig, &first, &first, "relay.test"), "fine");
    KITH_CHECK_STR(verdict(&rig, &first, &first, NULL), "fine");
    KITH_CHECK(strstr(verdict(&rig, &first, &first, "other.test"), "in c is not for other.test") != NULL);
    KITH_CHECK(strstr(verdict(&rig, &first, &second, "relay.test"), "the key in k belongs to another") != NULL);
    kith__sim_host_jump_wall(rig.host, -(int64_t)7200 * 1000000);
    KITH_CHECK(strstr(verdict(&rig, &first, &first, "relay.test"), "in c is not valid yet") != NULL);
    kith__sim_host_jump_wall(rig.host, (int64_t)500 * 86400 * 1000000);
    KITH_CHECK(strstr(verdict(&rig, &first, &first, "relay.test"), "in c has expired") != NULL);
    /* It is served for all that: whoever asks is told why not, and sees the date. */
    KITH_CHECK_EQ(start(&rig, kith_mem_default(), &tls), 0);
    kith__selfmade_dispose(&first);
    kith__selfmade_dispose(&second);
    rig_close(&rig);
}

KITH_TEST(self_made_certificates_are_kept_renewed_and_made_anew_for_other_names)
{
    struct kith_server_tls tls = {
        .source = KITH_CERTIFICATE_SELF, .directory = "d", .names = names_one, .name_count = 1
    };
    struct kith_certificate_info first;
    struct kith_buf authority, again;
    struct rig rig;

    rig_open(&rig);
    KITH_CHECK_EQ(start(&rig, kith_mem_default(), &tls), 0);
    first = rig.last;
    KITH_CHECK_EQ(kith__certs_authority(rig.rt, kith_mem_default(), "d", &authority, &rig.why), 0);
    kith__certs_free(rig.certs);
    KITH_CHECK_EQ(start(&rig, kith_mem_default(), &tls), 0);
    KITH_CHECK_BYTES(rig.last.sha256, first.sha256, sizeof first.sha256);
    kith__certs_free(rig.certs);

    tls.names = names_two;
    tls.name_count = 2;
    KITH_CHECK_EQ(start(&rig, kith_mem_default(), &tls), 0);
    KITH_CHECK(memcmp(rig.last.sha256, first.sha256, sizeof first.sha256) != 0);
    first = rig.last;

    /* Two thirds of its life later there is a new one, while the authority stays. */
    pass(&rig, (uint64_t)300 * 86400 * KITH_NS_PER_S);
    KITH_CHECK(memcmp(rig.last.sha256, first.sha256, sizeof first.sha256) != 0);
    KITH_CHECK_EQ(kith__certs_authority(rig.rt, kith_mem_default(), "d", &again, &rig.why), 0);
    KITH_CHECK_EQ(again.size, authority.size);
    KITH_CHECK_BYTES(again.ptr, authority.ptr, again.size);
    kith__buf_dispose(&again);
    kith__buf_dispose(&authority);
    rig_close(&rig);
}

KITH_TEST(an_authority_without_its_key_is_not_replaced_behind_ones_back)
{
    const struct kith_server_tls tls = {
        .source = KITH_CERTIFICATE_SELF, .directory = "d", .names = names_one, .name_count = 1
    };
    struct rig rig;

    rig_open(&rig);
    KITH_CHECK_EQ(start(&rig, kith_mem_default(), &tls), 0);
    kith__certs_free(rig.certs);
    rig.certs = NULL;
    KITH_CHECK_EQ(kith__rt_unlink(rig.rt, NULL, "d/authority.key"), 0);
    KITH_CHECK_EQ(kith__rt_unlink(rig.rt, NULL, "d/server.pem"), 0);
    KITH_CHECK_EQ(start(&rig, kith_mem_default(), &tls), KITH_ERR_NOT_FOUND);
    KITH_CHECK(strstr(rig.why.text, "authority's key") != NULL);
    rig_close(&rig);
}

KITH_TEST(certificates_survive_every_failed_allocation)
{
    const struct kith_server_tls tls = {
        .source = KITH_CERTIFICATE_SELF, .directory = "d", .names = names_one, .name_count = 1
    };
    bool was_fine = false;

    for (uint64_t n = 1; !was_fine; n++) {
        struct kith_test_mem mem;
        struct rig rig;
        int err;

        rig_open(&rig);
        kith__test_mem_init(&mem, n);
        err = start(&rig, &mem.mem, &tls);
        KITH_CHECK(err == 0 || err == KITH_ERR_NOMEM);
        was_fine = mem.calls < n;
        KITH_CHECK(!was_fine || err == 0);
        kith__certs_free(rig.certs);
        rig.certs = NULL;
        KITH_CHECK_EQ(mem.live, 0);
        rig_close(&rig);
        KITH_CHECK(n < 500);
    }
}

KITH_TEST(answers_to_http_01_are_found_by_their_token_until_they_are_taken_back)
{
    struct kith_buf answer = { .mem = kith_mem_default() };
    struct rig rig;

    rig_open(&rig);
    KITH_CHECK_EQ(kith__http01_add(&rig.shared, "tok", kith__http_text("tok.thumb")), 0);
    KITH_CHECK_EQ(kith__http01_add(&rig.shared, "", kith__http_text("x")), KITH_ERR_INVALID);
    KITH_CHECK_EQ(kith__http01_find(&rig.shared, kith__http_text("to"), &answer), KITH_ERR_NOT_FOUND);
    KITH_CHECK_EQ(kith__http01_find(&rig.shared, kith__http_text("tok"), &answer), 0);
    KITH_CHECK(kith__http_is(kith__buf_slice(&answer), "tok.thumb"));
    kith__http01_remove(&rig.shared, "tok");
    kith__http01_remove(&rig.shared, "tok");
    KITH_CHECK_EQ(kith__http01_find(&rig.shared, kith__http_text("tok"), &answer), KITH_ERR_NOT_FOUND);
    kith__buf_dispose(&answer);
    rig_close(&rig);
}
