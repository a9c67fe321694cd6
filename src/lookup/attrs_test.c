#include "lookup/attrs.h"

#include "base/mem.h"
#include "base/test.h"
#include "codec/base32.h"
#include <stdio.h>

static struct kith_slice text_of(const char *text)
{
    return (struct kith_slice) { (const uint8_t *)text, strlen(text) };
}

static struct kith_id example_id(void)
{
    struct kith_id id;

    KITH_CHECK_EQ(kith__hex_decode("03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8", 64, id.bytes),
                  0);
    return id;
}

/** All attributes of info, one a line. */
static void lines_of(const struct kith_lookup_info *info, struct kith_buf *out)
{
    out->size = 0;
    for (size_t i = 0; i < kith__attrs_count(info); i++) {
        KITH_CHECK_EQ(kith__attrs_format(info, i, out), 0);
        KITH_CHECK_EQ(kith__buf_append_byte(out, '\n'), 0);
    }
    KITH_CHECK_EQ(kith__buf_append_byte(out, 0), 0);
}

KITH_TEST(the_name_of_an_endpoint_is_its_id_in_z_base_32)
{
    struct kith_id id = example_id();
    struct kith_dns_name name, origin;
    char text[KITH_DNS_NAME_TEXT_SIZE];

    kith__attrs_name(&id, &name);
    KITH_CHECK_EQ(name.size, KITH_ATTRS_NAME_SIZE);
    KITH_CHECK_STR(kith__dns_name_format(&name, text), "_iroh.yqooxx9u3aemh8mo5wcqq16yufu6jitouq1o4za751dger1igghy.");
    KITH_CHECK_EQ(kith__dns_name_parse("dns.iroh.link", 13, &origin), 0);
    KITH_CHECK_EQ(kith__attrs_name_below(&id, &origin, &name), 0);
    KITH_CHECK_STR(kith__dns_name_format(&name, text),
                   "_iroh.yqooxx9u3aemh8mo5wcqq16yufu6jitouq1o4za751dger1igghy.dns.iroh.link.");
    while (kith__dns_name_prepend(&origin, text_of("0123456789")) == 0)
        ;
    KITH_CHECK_EQ(kith__attrs_name_below(&id, &origin, &name), KITH_ERR_TOO_LARGE);
}

KITH_TEST(labels_that_are_ids_are_lower_case_z_base_32_of_a_key)
{
    static const struct {
        const char *label;
        int err;
    } cases[] = {
        { "yqooxx9u3aemh8mo5wcqq16yufu6jitouq1o4za751dger1igghy", 0 },
        { "dgjpkxyn3zyrk3zfads5duwdgbqpkwbjxfj4yt7rezidr3fijccy", 0 },
        { "Yqooxx9u3aemh8mo5wcqq16yufu6jitouq1o4za751dger1igghy", KITH_ERR_PARSE },
        { "yqooxx9u3aemh8mo5wcqq16yufu6jitouq1o4za751dger1iggh", KITH_ERR_PARSE },
        { "yqooxx9u3aemh8mo5wcqq16yufu6jitouq1o4za751dger1igghyy", KITH_ERR_PARSE },
        { "yqooxx9u3aemh8mo5wcqq16yufu6jitouq1o4za751dger1igghb", KITH_ERR_PARSE }, /* bits behind the end */
        { "_iroh", KITH_ERR_PARSE },
        { "", KITH_ERR_PARSE },
        { "yryyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy", KITH_ERR_CRYPTO }, /* filled in: no point */
    };
    struct kith_id id, expected = example_id();
    char bad_label[KITH_ATTRS_LABEL_SIZE + 1];

    kith__base32_encode(KITH_BASE32_Z, (const uint8_t[KITH_ID_SIZE]) { 2 }, KITH_ID_SIZE, bad_label);
    for (size_t i = 0; i < KITH_COUNT(cases); i++)
        KITH_CHECK_EQ(kith__attrs_label_id(text_of(cases[i].err == KITH_ERR_CRYPTO ? bad_label : cases[i].label), &id),
                      cases[i].err);
    KITH_CHECK_EQ(kith__attrs_label_id(text_of(cases[0].label), &id), 0);
    KITH_CHECK_BYTES(&id, &expected, sizeof id);
}

KITH_TEST(attributes_are_written_relays_first_and_user_data_last)
{
    static const char *const given[] = { "user-data=foobar",
                                         "addr=20_a1b2",
                                         "addr=[2001:db8::1]:4433",
                                         "addr=203.0.113.7:4433",
                                         "relay=https://relay2.example.com/",
                                         "addr=[fe80::1%2]:80",
                                         "relay=https://relay.example.com/" };
    struct kith_lookup_info info;
    struct kith_buf lines;
    size_t ignored = 0;

    kith__buf_init(&lines, kith_mem_default());
    kith__lookup_info_init(&info, kith_mem_default(), NULL);
    KITH_CHECK_EQ(kith__attrs_count(&info), 0);
    for (size_t i = 0; i < KITH_COUNT(given); i++)
        KITH_CHECK_EQ(kith__attrs_take(&info, text_of(given[i]), &ignored), 0);
    lines_of(&info, &lines);
    KITH_CHECK_STR((const char *)lines.ptr, "relay=https://relay.example.com/\n"
                                            "relay=https://relay2.example.com/\n"
                                            "addr=203.0.113.7:4433\n"
                                            "addr=[2001:db8::1]:4433\n"
                                            "addr=[fe80::1%2]:80\n"
                                            "addr=20_a1b2\n"
                                            "user-data=foobar\n");
    KITH_CHECK_EQ(ignored, 0);
    kith__lookup_info_dispose(&info);
    kith__buf_dispose(&lines);
}

KITH_TEST(one_bad_attribute_never_hides_the_others)
{
    static const struct {
        const char *text;
        size_t ignored;
        const char *lines; /* what it adds */
    } cases[] = {
        { "relay=https://r.example/?x=1&y=2", 0, "relay=https://r.example/?x=1&y=2\n" }, /* split at the first '=' */
        { "relay=HTTPS://R.example", 0, "relay=https://r.example/\n" },
        { "addr=127.0.0.1:80", 0, "addr=127.0.0.1:80\n" },
        { "addr=544f52_aabb", 0, "addr=544f52_aabb\n" },
        { "addr=127.0.0.1:80 [::1]:80", 0, "addr=127.0.0.1:80\naddr=[::1]:80\n" },
        { "addr=127.0.0.1:80 nonsense  [::1]:80 ", 1, "addr=127.0.0.1:80\naddr=[::1]:80\n" },
        { "addr=127.0.0.1:80 127.0.0.1:80", 0, "addr=127.0.0.1:80\n" },
        { "user-data=a=b", 0, "user-data=a=b\n" },
        { "user-data=", 0, "" },
        { "", 1, "" },
        { "=", 1, "" },
        { "relay", 1, "" },
        { "relay=", 1, "" },
        { "relay=relay.example.com", 1, "" },
        { "addr=", 1, "" },
        { "addr= ", 1, "" },
        { "addr=127.0.0.1", 1, "" },
        { "addr=127.0.0.01:80", 1, "" },
        { "addr=::1:80", 1, "" },
        { "addr=localhost:80", 1, "" },
        { "addr=_aabb", 1, "" },
        { "addr=20_aab", 1, "" },
        { "addr=11111111111111111_aa", 1, "" },
        { "addr=1234567890123456789012345678901234567890123456789012345678901234567890", 1, "" },
        { "Relay=https://r.example/", 1, "" },
        { " relay=https://r.example/", 1, "" },
        { "relay =https://r.example/", 1, "" },
        { "future-key=whatever", 1, "" },
    };

    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        struct kith_lookup_info info;
        struct kith_buf lines;
        size_t ignored = 0;

        kith__buf_init(&lines, kith_mem_default());
        kith__lookup_info_init(&info, kith_mem_default(), NULL);
        KITH_CHECK_EQ(kith__attrs_take(&info, text_of(cases[i].text), &ignored), 0);
        lines_of(&info, &lines);
        KITH_CHECK_STR((const char *)lines.ptr, cases[i].lines);
        KITH_CHECK_EQ(ignored, cases[i].ignored);
        KITH_CHECK_EQ(kith__attrs_take(&info, text_of("addr=192.0.2.1:1"), &ignored), 0);
        KITH_CHECK_EQ(ignored, cases[i].ignored);
        kith__lookup_info_dispose(&info);
        kith__buf_dispose(&lines);
    }
}

KITH_TEST(an_address_with_a_zero_byte_is_none)
{
    struct kith_lookup_info info;
    size_t ignored = 0;

    kith__lookup_info_init(&info, kith_mem_default(), NULL);
    KITH_CHECK_EQ(
        kith__attrs_take(&info, (struct kith_slice) { (const uint8_t *)"addr=127.0.0.1:80\0x", 19 }, &ignored), 0);
    KITH_CHECK_EQ(info.addr.count, 0);
    KITH_CHECK_EQ(ignored, 1);
}

KITH_TEST(the_first_user_data_count)
{
    struct kith_lookup_info info;
    size_t ignored = 0;
    char text[300];

    memset(text, 'x', sizeof text);
    memcpy(text, "user-data=", 10);
    kith__lookup_info_init(&info, kith_mem_default(), NULL);
    KITH_CHECK_EQ(kith__attrs_take(&info, (struct kith_slice) { (uint8_t *)text, 256 }, &ignored), 0);
    KITH_CHECK_EQ(ignored, 1); /* too long */
    KITH_CHECK_EQ(kith__attrs_take(&info, (struct kith_slice) { (uint8_t *)text, 255 }, &ignored), 0);
    KITH_CHECK_EQ(info.user_data_size, KITH_USER_DATA_SIZE_MAX);
    KITH_CHECK_EQ(kith__attrs_take(&info, text_of("user-data=other"), &ignored), 0);
    KITH_CHECK_EQ(info.user_data_size, KITH_USER_DATA_SIZE_MAX);
    KITH_CHECK_EQ(ignored, 2);
}

KITH_TEST(more_addresses_than_the_limit_are_ignored)
{
    struct kith_lookup_info info;
    size_t ignored = 0;
    char text[64];

    kith__lookup_info_init(&info, kith_mem_default(), NULL);
    for (unsigned i = 0; i < KITH_ADDRS_MAX + 10; i++) {
        snprintf(text, sizeof text, "addr=10.0.%u.%u:1", i / 256, i % 256);
        KITH_CHECK_EQ(kith__attrs_take(&info, text_of(text), &ignored), 0);
    }
    KITH_CHECK_EQ(info.addr.count, KITH_ADDRS_MAX);
    KITH_CHECK_EQ(ignored, 10);
    kith__lookup_info_dispose(&info);
}

KITH_TEST(attributes_survive_every_failed_allocation)
{
    static const char *const given[] = { "relay=https://relay.example.com/", "addr=20_a1b2", "addr=203.0.113.7:4433",
                                         "user-data=foobar" };
    uint64_t fail_at = 0;
    struct kith_test_mem mem;

    do {
        struct kith_lookup_info info;
        struct kith_buf text;
        size_t ignored = 0;
        int err = 0;

        kith__test_mem_init(&mem, ++fail_at);
        kith__buf_init(&text, &mem.mem);
        kith__lookup_info_init(&info, &mem.mem, NULL);
        for (size_t i = 0; i < KITH_COUNT(given) && err == 0; i++)
            err = kith__attrs_take(&info, text_of(given[i]), &ignored);
        for (size_t i = 0; i < kith__attrs_count(&info) && err == 0; i++) {
            size_t before = text.size;

            err = kith__attrs_format(&info, i, &text);
            KITH_CHECK(err == 0 || text.size == before);
        }
        KITH_CHECK_EQ(err, mem.calls >= fail_at ? KITH_ERR_NOMEM : 0);
        KITH_CHECK_EQ(ignored, 0);
        kith__lookup_info_dispose(&info);
        kith__buf_dispose(&text);
        KITH_CHECK_EQ(mem.live, 0);
    } while (mem.calls >= fail_at);
    KITH_CHECK(fail_at > 5);
}
