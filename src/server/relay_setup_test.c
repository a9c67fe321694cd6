/* Options of kith/relay.h: what is wrong with them is said. */
#include "server/relay_setup.h"

#include "base/test.h"
#include <math.h>
#include <string.h>

static const struct kith_sockaddr v4 = { .family = KITH_FAMILY_V4, .ip = { 127, 0, 0, 1 } };

static int check(const struct kith_relay_options *options, const char *words)
{
    struct kith_server_why why = { "" };
    int err = kith__relay_options_check(options, &why);

    KITH_CHECK(words == NULL || strstr(why.text, words) != NULL);
    return err;
}

KITH_TEST(options_must_fit_together)
{
    const char *const names[] = { "relay.test" };
    struct kith_server_tls tls = { .source = KITH_CERTIFICATE_FILES };
    struct kith_relay_options options = { .http = &v4, .http_count = 1 };

    KITH_CHECK_EQ(check(&options, NULL), 0);
    options.https = &v4;
    options.https_count = 1;
    KITH_CHECK_EQ(check(&options, "https needs a certificate"), KITH_ERR_INVALID);
    options.tls = &tls;
    KITH_CHECK_EQ(check(&options, "both"), KITH_ERR_INVALID);
    tls.chain_file = tls.key_file = "x";
    KITH_CHECK_EQ(check(&options, NULL), 0);
    tls.source = KITH_CERTIFICATE_ACME;
    KITH_CHECK_EQ(check(&options, "directory"), KITH_ERR_INVALID);
    tls.directory = "d";
    KITH_CHECK_EQ(check(&options, "names"), KITH_ERR_INVALID);
    tls.names = names;
    tls.name_count = 1;
    KITH_CHECK_EQ(check(&options, NULL), 0);
    tls.acme_url = "http://a/";
    KITH_CHECK_EQ(check(&options, "must be https"), KITH_ERR_INVALID);
    options.worker_count = KITH_RELAY_THREADS_MAX + 1;
    tls.acme_url = NULL;
    KITH_CHECK_EQ(check(&options, "workers"), KITH_ERR_INVALID);
    options = (struct kith_relay_options) { 0 };
    KITH_CHECK_EQ(check(&options, "nothing to serve"), KITH_ERR_INVALID);
    options = (struct kith_relay_options) { .discovery = &v4, .discovery_count = 1 };
    KITH_CHECK_EQ(check(&options, "discovery needs a certificate"), KITH_ERR_INVALID);
    options = (struct kith_relay_options) { .http = &(struct kith_sockaddr) { .family = KITH_FAMILY_NONE },
                                            .http_count = 1 };
    KITH_CHECK_EQ(check(&options, "neither"), KITH_ERR_INVALID);
}

KITH_TEST(what_is_passed_on_must_stay_on_the_machine)
{
    const char *paths[] = { "/pkarr", "/dns-query" };
    struct kith_relay_pass_on pass_on = { .paths = paths, .path_count = 2, .to = v4 };
    struct kith_relay_options options = { .http = &v4, .http_count = 1, .pass_on = &pass_on };
    static const char *const bad[] = { "/", "pkarr", "/pkarr/", "" };

    KITH_CHECK_EQ(check(&options, "loopback"), KITH_ERR_INVALID); /* no port */
    pass_on.to.port = 8080;
    KITH_CHECK_EQ(check(&options, NULL), 0);
    pass_on.to.ip[0] = 10;
    KITH_CHECK_EQ(check(&options, "loopback"), KITH_ERR_INVALID);
    pass_on.to = (struct kith_sockaddr) { .family = KITH_FAMILY_V6, .port = 1, .ip = { [15] = 1 } };
    KITH_CHECK_EQ(check(&options, NULL), 0);
    for (size_t i = 0; i < KITH_COUNT(bad); i++) {
        paths[1] = bad[i];
        KITH_CHECK_EQ(check(&options, "slash"), KITH_ERR_INVALID);
    }
    pass_on.path_count = 0;
    KITH_CHECK_EQ(check(&options, "1 to 8 paths"), KITH_ERR_INVALID);
    pass_on.path_count = KITH_RELAY_PASS_PATHS_MAX + 1;
    KITH_CHECK_EQ(check(&options, "1 to 8 paths"), KITH_ERR_INVALID);
}

KITH_TEST(quotas_have_defaults_and_must_be_numbers)
{
    struct kith_relay_quota quota = { .rx_bytes_per_s = 1000, .accept_rate = 0.5 };
    struct kith_relay_admission_limits admission;
    struct kith_relay_server_limits server;
    struct kith_server_why why;

    KITH_CHECK_EQ(kith__relay_quota_limits(NULL, &admission, &server, &why), 0);
    KITH_CHECK_EQ(admission.unauthenticated_per_ip_max, 1024);
    KITH_CHECK_EQ(server.rx_bytes_per_s, 0);
    KITH_CHECK_EQ(kith__relay_quota_limits(&quota, &admission, &server, &why), 0);
    KITH_CHECK_EQ(server.rx_bytes_per_s, 1000);
    KITH_CHECK(admission.accept_rate == 0.5);
    quota.accept_rate = NAN;
    KITH_CHECK_EQ(kith__relay_quota_limits(&quota, &admission, &server, &why), KITH_ERR_INVALID);
    quota = (struct kith_relay_quota) { .rx_burst = 5 };
    KITH_CHECK_EQ(kith__relay_quota_limits(&quota, &admission, &server, &why), KITH_ERR_INVALID);
    quota = (struct kith_relay_quota) { .accept_burst = 5 };
    KITH_CHECK_EQ(kith__relay_quota_limits(&quota, &admission, &server, &why), KITH_ERR_INVALID);
}
