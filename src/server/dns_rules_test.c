/* Who counts as a client, and limits that make no sense. */
#include "server/dns_rules.h"

#include "base/test.h"
#include "http/head.h"

static struct kith_sockaddr addr(const char *text)
{
    struct kith_sockaddr out;

    KITH_CHECK_EQ(kith_sockaddr_parse(text, &out), 0);
    return out;
}

static void check_client(uint8_t limit, const char *remote, const char *list, const char *client)
{
    const struct kith_dns_limits limits = { .put_limit = limit };
    struct kith_sockaddr at = addr(remote), is, should = addr(client);
    struct kith_dns_rules *rules;
    struct kith_server_why why;

    KITH_CHECK_EQ(kith__dns_rules_new(kith_mem_default(), &limits, 1, &rules, &why), 0);
    is = kith__dns_rules_client(rules, &at, kith__http_text(list));
    should.port = 0;
    KITH_CHECK(kith_sockaddr_equal(&is, &should));
    kith__dns_rules_release(rules);
}

KITH_TEST(dns_client_is_whom_a_trusted_proxy_names_and_nobody_else_may_name_one)
{
    check_client(KITH_DNS_PUT_SIMPLE, "127.0.0.1:9", "203.0.113.7", "127.0.0.1:0");
    check_client(KITH_DNS_PUT_SMART, "127.0.0.1:9", "203.0.113.7", "203.0.113.7:0");
    check_client(KITH_DNS_PUT_SMART, "198.51.100.1:9", "203.0.113.7", "198.51.100.1:0");
    /* What stands before the last address that is no proxy may be invented. */
    check_client(KITH_DNS_PUT_SMART, "127.0.0.1:9", "1.1.1.1, 203.0.113.7, 10.0.0.3", "203.0.113.7:0");
    check_client(KITH_DNS_PUT_SMART, "127.0.0.1:9", "10.0.0.9, 10.0.0.3", "10.0.0.9:0");
    check_client(KITH_DNS_PUT_SMART, "127.0.0.1:9", "", "127.0.0.1:0");
    check_client(KITH_DNS_PUT_SMART, "127.0.0.1:9", "unknown, _hidden", "127.0.0.1:0");
    check_client(KITH_DNS_PUT_SMART, "127.0.0.1:9", "203.0.113.7:4711", "203.0.113.7:0");
    check_client(KITH_DNS_PUT_SMART, "[::1]:9", "2001:db8::7", "[2001:db8::7]:0");
    check_client(KITH_DNS_PUT_SMART, "127.0.0.1:9", "For=\"[2001:db8::7]:4711\";proto=http", "[2001:db8::7]:0");
    check_client(KITH_DNS_PUT_SMART, "127.0.0.1:9", "proto=http; for=203.0.113.7, for=10.0.0.1", "203.0.113.7:0");
    check_client(KITH_DNS_PUT_SMART, "127.0.0.1:9", "[2001:db8::7", "127.0.0.1:0");
}

KITH_TEST(dns_limits_that_make_no_sense_are_refused)
{
    static const char *const proxies[] = { "here" };
    static const struct {
        struct kith_dns_limits limits;
        int err;
    } cases[] = {
        { { .put_rate = -1 }, KITH_ERR_INVALID },
        { { .response_rate = -0.5 }, KITH_ERR_INVALID },
        { { .put_limit = 7 }, KITH_ERR_INVALID },
        { { .trusted_proxies = proxies, .trusted_proxy_count = 1 }, KITH_ERR_PARSE },
        { { .trusted_proxies = proxies, .trusted_proxy_count = 1000 }, KITH_ERR_INVALID },
    };
    struct kith_dns_rules *rules;
    struct kith_server_why why;

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        KITH_CHECK_EQ(kith__dns_rules_new(kith_mem_default(), &cases[i].limits, 1, &rules, &why), cases[i].err);
        KITH_CHECK(why.text[0] != 0);
    }
}
