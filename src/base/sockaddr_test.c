#include "base/sockaddr.h"
#include "base/test.h"
#include <string.h>

KITH_TEST(sockaddr_text_comes_back_in_the_canonical_form)
{
    static const char *const cases[][2] = {
        { "1.2.3.4:80", NULL },
        { "0.0.0.0:0", NULL },
        { "255.255.255.255:65535", NULL },
        { "[::]:1", NULL },
        { "[::1]:65535", NULL },
        { "[2001:db8::1]:80", NULL },
        { "[1::]:1", NULL },
        { "[fe80::1%2]:80", NULL },
        { "[fe80::1%0]:80", "[fe80::1]:80" },
        { "[fe80::1%4294967295]:80", NULL },
        { "[::ffff:1.2.3.4]:80", NULL },
        { "[::ffff:102:304]:80", "[::ffff:1.2.3.4]:80" },
        { "[1:2:3:4:5:6:1.2.3.4]:5", "[1:2:3:4:5:6:102:304]:5" },
        { "[64:ff9b::1.2.3.4]:5", "[64:ff9b::102:304]:5" },
        { "[2001:DB8:0:0:1:0:0:1]:443", "[2001:db8::1:0:0:1]:443" },
        { "[2001:db8:0:1:1:1:1:1]:443", NULL },
        { "[1:0:0:4:0:0:0:8]:1", "[1:0:0:4::8]:1" },
        { "[1:2:3:4:5:6:7::]:1", "[1:2:3:4:5:6:7:0]:1" },
        { "[::2:3:4:5:6:7:8]:1", "[0:2:3:4:5:6:7:8]:1" },
        { "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", NULL },
    };
    char text[KITH_SOCKADDR_TEXT_SIZE];

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct kith_sockaddr addr, again;

        KITH_CHECK_EQ(kith_sockaddr_parse(cases[i][0], &addr), 0);
        KITH_CHECK_STR(kith_sockaddr_format(&addr, text), cases[i][1] != NULL ? cases[i][1] : cases[i][0]);
        KITH_CHECK_EQ(kith_sockaddr_parse(text, &again), 0);
        KITH_CHECK(kith_sockaddr_equal(&addr, &again));
        KITH_CHECK_EQ(memcmp(&addr, &again, sizeof addr), 0);
    }
}

KITH_TEST(sockaddr_text_that_is_not_strict_is_refused)
{
    static const char *const cases[] = {
        "",
        "1.2.3.4",
        "1.2.3.4:",
        "1.2.3.4:65536",
        "1.2.3.4:080",
        "01.2.3.4:80",
        "1.2.3:80",
        "1.2.3.4.5:80",
        "256.1.1.1:80",
        " 1.2.3.4:80",
        "1.2.3.4:80 ",
        "1.2.3.4:+80",
        "1.2.3.4:-1",
        "::1:80",
        "[::1]",
        "[::1]80",
        "[::1:80",
        "[]:80",
        "[:]:80",
        "[:::]:80",
        "[1::2::3]:80",
        "[1:2:3:4:5:6:7]:80",
        "[1:2:3:4:5:6:7:8:9]:80",
        "[1:2:3:4:5:6:7:8::]:80",
        "[1:2:3:4::5:6:7:8]:80",
        "[12345::]:80",
        "[g::]:80",
        "[1:]:80",
        "[1.2.3.4]:80",
        "[::1.2.3.256]:80",
        "[1:2:3:4:5:6:7:1.2.3.4]:80",
        "[::1.2.3.4:5]:80",
        "[fe80::1%eth0]:80",
        "[fe80::1%]:80",
        "[fe80::1%4294967296]:80",
        "[fe80::1%01]:80",
        "[2001:db8::1%2]:80",
        "[::1]:00",
        "localhost:80",
        "0x7f.1:80",
        "99999999999999999999999999:1",
        "1.2.3.4:99999999999999999999999999",
    };
    struct kith_sockaddr addr = { .port = 7 };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        KITH_CHECK_EQ(kith_sockaddr_parse(cases[i], &addr), KITH_ERR_PARSE);
        KITH_CHECK_EQ(addr.port, 7);
    }
    KITH_CHECK_EQ(kith_sockaddr_parse(NULL, &addr), KITH_ERR_INVALID);
}

KITH_TEST(sockaddr_equality_looks_at_every_part)
{
    struct kith_sockaddr a, b;
    char text[KITH_SOCKADDR_TEXT_SIZE];
    static const char *const others[] = { "[fe80::2%2]:80", "[fe80::1%3]:80", "[fe80::1%2]:81", "1.2.3.4:80" };

    KITH_CHECK_EQ(kith_sockaddr_parse("[fe80::1%2]:80", &a), 0);
    KITH_CHECK(kith_sockaddr_equal(&a, &a));
    for (size_t i = 0; i < KITH_COUNT(others); i++) {
        KITH_CHECK_EQ(kith_sockaddr_parse(others[i], &b), 0);
        KITH_CHECK(!kith_sockaddr_equal(&a, &b));
    }
    KITH_CHECK_STR(kith_sockaddr_format(&(struct kith_sockaddr) { 0 }, text), "none");
    a = (struct kith_sockaddr) { .ip = { [6] = 1, [7] = 2 }, .family = KITH_FAMILY_RELAY };
    KITH_CHECK_STR(kith_sockaddr_format(&a, text), "relay:258");
}

KITH_TEST(ip_text_without_port)
{
    uint8_t ip[16];

    KITH_CHECK_EQ(kith__ip_parse_v4("10.0.0.255", ip), 0);
    KITH_CHECK_BYTES(ip, "\x0a\0\0\xff", 4);
    KITH_CHECK_EQ(kith__ip_parse_v4("10.0.0", ip), KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith__ip_parse_v6("::10.0.0.1", ip), 0);
    KITH_CHECK_BYTES(ip, "\0\0\0\0\0\0\0\0\0\0\0\0\x0a\0\0\x01", 16);
    KITH_CHECK_EQ(kith__ip_parse_v6("::1%2", ip), KITH_ERR_PARSE);
}

KITH_TEST(loopback_is_the_machine_itself)
{
    static const struct {
        const char *text;
        bool is_loopback;
    } cases[] = { { "127.0.0.1:1", true },           { "127.9.9.9:1", true }, { "128.0.0.1:1", false },
                  { "10.0.0.127:1", false },         { "[::1]:1", true },     { "[7f00::1]:1", false },
                  { "[::ffff:127.0.0.1]:1", false }, { "[::]:1", false } };
    struct kith_sockaddr addr = { .family = KITH_FAMILY_NONE };

    KITH_CHECK(!kith__ip_is_loopback(&addr));
    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        KITH_CHECK_EQ(kith_sockaddr_parse(cases[i].text, &addr), 0);
        KITH_CHECK_EQ(kith__ip_is_loopback(&addr), cases[i].is_loopback);
    }
}
