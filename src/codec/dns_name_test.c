#include "base/test.h"
#include "codec/dns_parts.h"

/** A name of four labels: 63, 63, 63 and `last` octets. */
static size_t long_name(uint8_t *out, size_t last)
{
    size_t size = 0;

    for (size_t i = 0; i < 4; i++) {
        size_t label = i < 3 ? 63 : last;

        out[size++] = (uint8_t)label;
        memset(out + size, 'x', label);
        size += label;
    }
    out[size++] = 0;
    return size;
}

KITH_TEST(names_have_255_octets_at_most)
{
    uint8_t bytes[300];
    struct kith_dns_name name, label, copy;
    char text[KITH_DNS_NAME_TEXT_SIZE];
    size_t at = 0, size = long_name(bytes, 61);

    KITH_CHECK_EQ(size, 255);
    KITH_CHECK_EQ(kith__dns_read_name((struct kith_slice) { bytes, size }, &at, &name), 0);
    KITH_CHECK_EQ(name.size, 255);
    kith__dns_name_format(&name, text);
    KITH_CHECK_EQ(kith__dns_name_parse(text, strlen(text), &copy), 0);
    KITH_CHECK(kith__dns_name_same(&name, &copy));
    text[strlen(text) - 1] = 'x';
    KITH_CHECK_EQ(kith__dns_name_parse(text, strlen(text), &copy), KITH_ERR_TOO_LARGE);
    label = name_of("a");
    KITH_CHECK_EQ(kith__dns_name_join(&label, &name, &copy), KITH_ERR_TOO_LARGE);
    KITH_CHECK_EQ(kith__dns_name_prepend(&name, slice_of("a")), KITH_ERR_TOO_LARGE);
    at = 0;
    size = long_name(bytes, 62);
    KITH_CHECK_EQ(kith__dns_read_name((struct kith_slice) { bytes, size }, &at, &name), KITH_ERR_PARSE);
}

KITH_TEST(escapes_in_the_text_of_names_are_those_of_rfc_1035)
{
    static const struct {
        const char *text;
        int err;
        const char *written; /* NULL: as it was */
    } cases[] = {
        { ".", 0, NULL },
        { "a", 0, "a." },
        { "a.b.", 0, NULL },
        { "Ab.C.", 0, NULL },
        { "a\\.b.c.", 0, NULL },
        { "a\\032b.", 0, NULL },
        { "\\097.", 0, "a." },
        { "\\000.", 0, NULL },
        { "\\255.", 0, NULL },
        { "\\\\.", 0, NULL },
        { "\\a.", 0, "a." },
        { "a\\;b.", 0, NULL },
        { "a b.", 0, "a\\032b." },
        { "_iroh.*.", 0, NULL },
        { "", KITH_ERR_PARSE, NULL },
        { "..", KITH_ERR_PARSE, NULL },
        { ".a", KITH_ERR_PARSE, NULL },
        { "a..b", KITH_ERR_PARSE, NULL },
        { "a\\", KITH_ERR_PARSE, NULL },
        { "a\\1", KITH_ERR_PARSE, NULL },
        { "a\\12x", KITH_ERR_PARSE, NULL },
        { "a\\256", KITH_ERR_PARSE, NULL },
        { "1234567890123456789012345678901234567890123456789012345678901234", KITH_ERR_TOO_LARGE, NULL },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct kith_dns_name name;

        KITH_CHECK_EQ(kith__dns_name_parse(cases[i].text, strlen(cases[i].text), &name), cases[i].err);
        if (cases[i].err == 0)
            check_text(&name, cases[i].written != NULL ? cases[i].written : cases[i].text);
    }
}

KITH_TEST(the_longest_text_of_a_name_fits)
{
    uint8_t bytes[300];
    struct kith_dns_name name, copy;
    char text[KITH_DNS_NAME_TEXT_SIZE];
    size_t at = 0, size = long_name(bytes, 61);

    for (size_t i = 0; i < size; i++)
        if (bytes[i] == 'x')
            bytes[i] = 0xff;
    KITH_CHECK_EQ(kith__dns_read_name((struct kith_slice) { bytes, size }, &at, &name), 0);
    KITH_CHECK_EQ(strlen(kith__dns_name_format(&name, text)), 4 * 250 + 4);
    KITH_CHECK_EQ(kith__dns_name_parse(text, strlen(text), &copy), 0);
    KITH_CHECK(kith__dns_name_same(&name, &copy));
}

KITH_TEST(names_are_compared_without_regard_to_case)
{
    struct kith_dns_name a = name_of("WWW.Example.COM"), b = name_of("www.example.com."), c = name_of("www.example.co");
    struct kith_dns_name zone = name_of("example.com"), near = name_of("badexample.com"), root = name_of(".");

    KITH_CHECK(kith__dns_name_equal(&a, &b));
    KITH_CHECK(!kith__dns_name_same(&a, &b));
    KITH_CHECK(!kith__dns_name_equal(&b, &c));
    KITH_CHECK(kith__dns_name_is_within(&a, &zone));
    KITH_CHECK(kith__dns_name_is_within(&zone, &zone));
    KITH_CHECK(kith__dns_name_is_within(&zone, &root));
    KITH_CHECK(!kith__dns_name_is_within(&near, &zone));
    KITH_CHECK(!kith__dns_name_is_within(&root, &zone));
    KITH_CHECK(!kith__dns_name_is_within(&zone, &a));
    kith__dns_name_lower(&a);
    KITH_CHECK(kith__dns_name_same(&a, &b));
}

KITH_TEST(names_are_taken_apart_and_put_together)
{
    struct kith_dns_name name = name_of("_iroh.key.dns.example"), part, joined;

    KITH_CHECK_EQ(kith__dns_name_label_count(&name), 4);
    KITH_CHECK_EQ(kith__dns_name_label(&name, 1).size, 3);
    KITH_CHECK(kith__dns_name_label_is(&name, 3, "example"));
    KITH_CHECK(!kith__dns_name_label_is(&name, 4, ""));
    kith__dns_name_head(&name, 2, &part);
    check_text(&part, "_iroh.key.");
    kith__dns_name_strip(&name, 2, &name);
    check_text(&name, "dns.example.");
    KITH_CHECK_EQ(kith__dns_name_join(&part, &name, &joined), 0);
    check_text(&joined, "_iroh.key.dns.example.");
    KITH_CHECK_EQ(kith__dns_name_prepend(&joined, slice_of("x")), 0);
    check_text(&joined, "x._iroh.key.dns.example.");
    kith__dns_name_strip(&joined, 5, &joined);
    check_text(&joined, ".");
    KITH_CHECK_EQ(kith__dns_name_prepend(&joined, slice_of("")), KITH_ERR_INVALID);
}

KITH_TEST(loops_and_bad_labels_in_names_are_refused)
{
    static const struct {
        const char *bytes;
        size_t at;
        int err;
    } cases[] = {
        { "c000", 0, KITH_ERR_PARSE },     /* to itself */
        { "c002c000", 0, KITH_ERR_PARSE }, /* in a circle */
        { "0161c000", 0, KITH_ERR_PARSE }, /* one that grows until it is too long */
        { "4161", 0, KITH_ERR_PARSE },     /* label types that are none */
        { "8161", 0, KITH_ERR_PARSE },     { "0261", 0, KITH_ERR_TRUNCATED },
        { "0161", 0, KITH_ERR_TRUNCATED },                                    /* no end */
        { "c0", 0, KITH_ERR_TRUNCATED },   { "c0ff", 0, KITH_ERR_TRUNCATED }, /* beyond the message */
        { "", 0, KITH_ERR_TRUNCATED },
    };
    uint8_t bytes[64];
    struct kith_dns_name name;

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        size_t size = bytes_of(cases[i].bytes, bytes), at = cases[i].at;

        KITH_CHECK_EQ(kith__dns_read_name((struct kith_slice) { bytes, size }, &at, &name), cases[i].err);
        KITH_CHECK_EQ(at, cases[i].at);
    }
}

KITH_TEST(pointers_may_lead_forward)
{
    uint8_t bytes[64];
    size_t size = bytes_of("0161 c006 ffff 0162 00", bytes), at = 0;
    struct kith_dns_name name;

    KITH_CHECK_EQ(kith__dns_read_name((struct kith_slice) { bytes, size }, &at, &name), 0);
    KITH_CHECK_EQ(at, 4);
    check_text(&name, "a.b.");
}

KITH_TEST(a_name_follows_as_many_pointers_as_it_can_have_labels)
{
    for (size_t jumps = KITH_DNS_JUMPS_MAX; jumps <= KITH_DNS_JUMPS_MAX + 1; jumps++) {
        uint8_t bytes[2 * (KITH_DNS_JUMPS_MAX + 1) + 1] = { 0 };
        size_t at = 0;
        struct kith_dns_name name;

        for (size_t i = 0; i < jumps; i++) {
            bytes[2 * i] = (uint8_t)(0xc0 | (2 * i + 2) >> 8);
            bytes[2 * i + 1] = (uint8_t)(2 * i + 2);
        }
        KITH_CHECK_EQ(kith__dns_read_name((struct kith_slice) { bytes, sizeof bytes }, &at, &name),
                      jumps == KITH_DNS_JUMPS_MAX ? 0 : KITH_ERR_PARSE);
    }
}
