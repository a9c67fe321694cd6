#include "base/mem.h"
#include "base/test.h"
#include "codec/url.h"
#include <string.h>

/** Normalises and compares; a NULL `want` wants the input itself. Also checks that doing it twice changes nothing. */
static void check_url(const char *input, const char *want)
{
    struct kith_buf out, again;

    if (want == NULL)
        want = input;
    kith__buf_init(&out, kith_mem_default());
    kith__buf_init(&again, kith_mem_default());
    KITH_CHECK_EQ(kith__url_normalise(input, strlen(input), &out), 0);
    KITH_CHECK_EQ(kith__buf_append_byte(&out, '\0'), 0);
    KITH_CHECK_STR((const char *)out.ptr, want);
    KITH_CHECK_EQ(kith__url_normalise((const char *)out.ptr, out.size - 1, &again), 0);
    KITH_CHECK_EQ(again.size, out.size - 1);
    KITH_CHECK_BYTES(again.ptr, out.ptr, again.size);
    kith__buf_dispose(&out);
    kith__buf_dispose(&again);
}

/* What a peer stores: spec/03, 2.3. */
KITH_TEST(url_is_stored_as_peers_store_it)
{
    check_url("https://EXAMPLE.com", "https://example.com/");
    check_url("HTTPS://Example.COM/Path", "https://example.com/Path");
    check_url("https://example.com:443", "https://example.com/");
    check_url("https://example.com.", "https://example.com./");
    check_url("http://127.0.0.1:80/x/../y", "http://127.0.0.1/y");
    check_url("https://0x7f.1/", "https://127.0.0.1/");
    check_url("https://b\xc3\xbc"
              "cher.example",
              "https://xn--bcher-kva.example/");
    check_url("https://[::1]:443/", "https://[::1]/");
    check_url("https://user:pw@example.com/?a=b#c", NULL);
    check_url("https://example.com//", NULL);
    check_url("https://example.com/%41", NULL);
    check_url("ftp://x", "ftp://x/");
    check_url("mailto:a@b", NULL);
}

KITH_TEST(url_follows_the_general_rules)
{
    check_url("  https://a.b/c \n", "https://a.b/c");
    check_url("ht\ttps://a\n.b/", "https://a.b/");
    check_url("https:a.b", "https://a.b/");
    check_url("https:\\\\a.b\\c", "https://a.b/c");
    check_url("https:////a.b", "https://a.b/");
    check_url("http://a:00081", "http://a:81/");
    check_url("http://a:/", "http://a/");
    check_url("http://a:443/", NULL);
    check_url("https://a:80/", NULL);
    check_url("https://@a/", "https://a/");
    check_url("https://:@a/", "https://a/");
    check_url("https://u:@a/", "https://u@a/");
    check_url("https://:p@a/", NULL);
    check_url("https://u@v@a/", "https://u%40v@a/");
    check_url("https://a/.", "https://a/");
    check_url("https://a/..", "https://a/");
    check_url("https://a/b/%2E%2e/c/%2e", "https://a/c/");
    check_url("https://a/b/c/..", "https://a/b/");
    check_url("https://a/.../b", NULL);
    check_url("https://a/\xc3\xbc \"{}`<>", "https://a/%C3%BC%20%22%7B%7D%60%3C%3E");
    check_url("https://a/?q='x y'#f`", "https://a/?q=%27x%20y%27#f%60");
    check_url("https://a?b", "https://a/?b");
    check_url("https://a#", "https://a/#");
    check_url("https://%65xample.com", "https://example.com/");
    check_url("https://a..b_c-/", NULL);
    check_url("foo:\xc3\xbc b", "foo:%C3%BC b");
    check_url("FOO+1.-:x", "foo+1.-:x");
}

KITH_TEST(url_reads_ipv4_in_its_old_spellings)
{
    check_url("http://1.2.3.4./", "http://1.2.3.4/");
    check_url("http://1.2.772/", "http://1.2.3.4/");
    check_url("http://16909060/", "http://1.2.3.4/");
    check_url("http://0X1.02.0x/", "http://1.2.0.0/");
    check_url("http://[1:0:0:0::ABCD]/", "http://[1::abcd]/");
    check_url("http://[::ffff:1.2.3.4]/", "http://[::ffff:102:304]/");
    check_url("http://1.2.3.4.example/", NULL);
}

KITH_TEST(url_that_is_none_is_refused)
{
    static const char *const cases[] = {
        "",
        "relay.example.com",
        "//a/b",
        ":",
        "1a://b",
        "https://exa mple.com",
        "https://",
        "https:///",
        "https://:80/",
        "https://u@/",
        "https://a:65536/",
        "https://a:8x/",
        "https://a:-1/",
        "https://[::1/",
        "https://[::1]x/",
        "https://[1.2.3.4]/",
        "https://[fe80::1%251]/",
        "https://1.2.3.4.5/",
        "https://256.1.1.1/",
        "https://1.2.3.08/",
        "https://4294967296/",
        "https://a.1.2.3.4.x.9/",
        "https://1..2/",
        "https://a%b/",
        "https://a%00b/",
        "https://a%20b/",
        "https://a^b/",
        "https://a|b/",
        "https://a<b/",
        "https://%ff/",
        "https://a\xff/",
        "https://a@b:c/",
    };
    struct kith_buf out;

    kith__buf_init(&out, kith_mem_default());
    for (size_t i = 0; i < KITH_COUNT(cases); i++)
        KITH_CHECK_EQ(kith__url_normalise(cases[i], strlen(cases[i]), &out), KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith__url_normalise("https://a\0b/", 12, &out), KITH_ERR_PARSE);
    KITH_CHECK_EQ(out.size, 0);
    kith__buf_dispose(&out);
}

KITH_TEST(url_has_a_largest_size)
{
    static char text[KITH_URL_SIZE_MAX + 2];
    struct kith_buf out;

    memset(text, 'a', sizeof text);
    memcpy(text, "https://a/", 10);
    kith__buf_init(&out, kith_mem_default());
    KITH_CHECK_EQ(kith__url_normalise(text, KITH_URL_SIZE_MAX, &out), 0);
    KITH_CHECK_EQ(out.size, KITH_URL_SIZE_MAX);
    KITH_CHECK_EQ(kith__url_normalise(text, KITH_URL_SIZE_MAX + 1, &out), KITH_ERR_TOO_LARGE);
    text[100] = '"'; /* becomes three */
    KITH_CHECK_EQ(kith__url_normalise(text, KITH_URL_SIZE_MAX, &out), KITH_ERR_TOO_LARGE);
    KITH_CHECK_EQ(out.size, KITH_URL_SIZE_MAX);
    kith__buf_dispose(&out);
}

static void check_part(struct kith_slice part, const char *want)
{
    KITH_CHECK_EQ(part.size, strlen(want));
    KITH_CHECK_BYTES(part.ptr, want, part.size);
}

static int split(const char *text, struct kith_url *out)
{
    return kith__url_split((struct kith_slice) { (const uint8_t *)text, strlen(text) }, out);
}

KITH_TEST(url_splits_into_what_a_client_needs)
{
    struct kith_url url;

    KITH_CHECK_EQ(split("https://u:p@relay.example.com./a/b?c#d", &url), 0);
    KITH_CHECK(url.is_https && !url.is_ip_v6 && url.port == 443);
    check_part(url.host, "relay.example.com.");
    check_part(url.path, "/a/b?c");
    KITH_CHECK_EQ(split("http://[::1]:3340/", &url), 0);
    KITH_CHECK(!url.is_https && url.is_ip_v6 && url.port == 3340);
    check_part(url.host, "::1");
    check_part(url.path, "/");
    KITH_CHECK_EQ(split("ftp://x/", &url), KITH_ERR_UNSUPPORTED);
    KITH_CHECK_EQ(split("", &url), KITH_ERR_UNSUPPORTED);
    KITH_CHECK_EQ(split("http:///", &url), KITH_ERR_PARSE);
    KITH_CHECK_EQ(split("http://a", &url), KITH_ERR_PARSE);
    KITH_CHECK_EQ(split("http://a:99999/", &url), KITH_ERR_PARSE);
    KITH_CHECK_EQ(split("http://[::1/", &url), KITH_ERR_PARSE);
}

KITH_TEST(references_are_resolved_as_a_browser_does)
{
    static const struct {
        const char *reference;
        int err;
        const char *url;
    } cases[] = {
        { "https://other.example", 0, "https://other.example/" },
        { "HTTP://Other.example:80/x", 0, "http://other.example/x" },
        { "//other.example/x", 0, "https://other.example/x" },
        { "/x", 0, "https://u:p@a.example:8443/x" },
        { "/x/../y?z", 0, "https://u:p@a.example:8443/y?z" },
        { "x", 0, "https://u:p@a.example:8443/b/x" },
        { "../x", 0, "https://u:p@a.example:8443/x" },
        { "../../../x", 0, "https://u:p@a.example:8443/x" },
        { ".", 0, "https://u:p@a.example:8443/b/" },
        { "?x", 0, "https://u:p@a.example:8443/b/c?x" },
        { "", 0, "https://u:p@a.example:8443/b/c?d/e" },
        { "#f", 0, "https://u:p@a.example:8443/b/c?d/e#f" },
        { "1:2", 0, "https://u:p@a.example:8443/b/1:2" }, /* a scheme begins with a letter */
        { "ftp://x", 0, "ftp://x/" },
        { "//", KITH_ERR_PARSE, NULL },
        { "https://", KITH_ERR_PARSE, NULL },
        { "//exa mple", KITH_ERR_PARSE, NULL },
    };
    static const char base[] = "https://u:p@a.example:8443/b/c?d/e";
    char text[KITH_URL_SIZE_MAX + 1];
    struct kith_buf out;

    kith__buf_init(&out, kith_mem_default());
    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        const char *reference = cases[i].reference;

        out.size = 0;
        KITH_CHECK_EQ(kith__url_resolve((struct kith_slice) { (const uint8_t *)base, strlen(base) },
                                        (struct kith_slice) { (const uint8_t *)reference, strlen(reference) }, &out),
                      cases[i].err);
        if (cases[i].err == 0)
            check_part(kith__buf_slice(&out), cases[i].url);
    }
    memset(text, 'x', sizeof text);
    KITH_CHECK_EQ(kith__url_resolve((struct kith_slice) { (const uint8_t *)base, strlen(base) },
                                    (struct kith_slice) { (const uint8_t *)text, sizeof text }, &out),
                  KITH_ERR_TOO_LARGE);
    KITH_CHECK_EQ(kith__url_resolve((struct kith_slice) { (const uint8_t *)"ftp://x/", 8 },
                                    (struct kith_slice) { (const uint8_t *)"/", 1 }, &out),
                  KITH_ERR_UNSUPPORTED);
    kith__buf_dispose(&out);
}
