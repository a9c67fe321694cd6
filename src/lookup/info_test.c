#include "lookup/info.h"

#include "base/mem.h"
#include "base/test.h"

static struct kith_slice text_of(const char *text)
{
    return (struct kith_slice) { (const uint8_t *)text, strlen(text) };
}

/** A relay, an address, a custom address, user data. */
static int fill(struct kith_lookup_info *info)
{
    struct kith_sockaddr ip;
    int err;

    KITH_CHECK_EQ(kith_sockaddr_parse("192.0.2.1:5", &ip), 0);
    if ((err = kith__endpoint_addr_add_relay(&info->addr, "https://r.example", 17)) != 0 ||
        (err = kith__endpoint_addr_add_ip(&info->addr, &ip)) != 0 ||
        (err = kith__endpoint_addr_add_custom(&info->addr, 0x20, text_of("x"))) != 0)
        return err;
    return kith__lookup_info_set_user_data(info, text_of("hello"));
}

KITH_TEST(a_copy_of_what_is_known_is_equal)
{
    struct kith_lookup_info info, copy;

    kith__lookup_info_init(&info, kith_mem_default(), &(struct kith_id) { { 7 } });
    kith__lookup_info_init(&copy, kith_mem_default(), NULL);
    KITH_CHECK(kith__lookup_info_is_empty(&info));
    KITH_CHECK(!kith__lookup_info_equal(&info, &copy));
    KITH_CHECK_EQ(fill(&info), 0);
    KITH_CHECK(!kith__lookup_info_is_empty(&info));
    KITH_CHECK_EQ(kith__lookup_info_copy(&info, &copy), 0);
    KITH_CHECK(kith__lookup_info_equal(&info, &copy));
    KITH_CHECK_EQ(kith__lookup_info_set_user_data(&copy, text_of("hellO")), 0);
    KITH_CHECK(!kith__lookup_info_equal(&info, &copy));
    KITH_CHECK_EQ(kith__lookup_info_set_user_data(&copy, text_of("hello")), 0);
    KITH_CHECK(kith__lookup_info_equal(&info, &copy));
    copy.addr.count--;
    KITH_CHECK(!kith__lookup_info_equal(&info, &copy));
    copy.addr.count++;
    kith__lookup_info_dispose(&info);
    KITH_CHECK(kith__lookup_info_is_empty(&info));
    kith__lookup_info_dispose(&copy);
}

KITH_TEST(user_data_are_245_bytes_of_utf8_without_zeros)
{
    static const char bad_utf8[] = "a\xff";
    struct kith_lookup_info info;
    uint8_t text[KITH_USER_DATA_SIZE_MAX + 1];

    memset(text, 'x', sizeof text);
    kith__lookup_info_init(&info, kith_mem_default(), NULL);
    KITH_CHECK_EQ(kith__lookup_info_set_user_data(&info, (struct kith_slice) { text, KITH_USER_DATA_SIZE_MAX }), 0);
    KITH_CHECK_EQ(strlen(info.user_data), KITH_USER_DATA_SIZE_MAX);
    KITH_CHECK_EQ(kith__lookup_info_set_user_data(&info, (struct kith_slice) { text, sizeof text }),
                  KITH_ERR_TOO_LARGE);
    KITH_CHECK_EQ(kith__lookup_info_set_user_data(&info, text_of(bad_utf8)), KITH_ERR_PARSE);
    KITH_CHECK_EQ(kith__lookup_info_set_user_data(&info, (struct kith_slice) { (const uint8_t *)"a\0b", 3 }),
                  KITH_ERR_PARSE);
    KITH_CHECK_EQ(info.user_data_size, KITH_USER_DATA_SIZE_MAX); /* the old one stays */
    KITH_CHECK_EQ(kith__lookup_info_set_user_data(&info, (struct kith_slice) { NULL, 0 }), 0);
    KITH_CHECK_STR(info.user_data, "");
    KITH_CHECK(kith__lookup_info_is_empty(&info));
}

KITH_TEST(filters_let_pass_what_they_say)
{
    static const struct {
        enum kith_lookup_filter filter;
        size_t relays, ips, customs, user_data_size;
    } cases[] = {
        { KITH_LOOKUP_RELAYS, 1, 0, 0, 5 }, { KITH_LOOKUP_DIRECT, 0, 1, 1, 5 }, { KITH_LOOKUP_ALL, 1, 1, 1, 5 },
        { KITH_LOOKUP_LOCAL, 1, 2, 1, 5 },  { KITH_LOOKUP_NONE, 0, 0, 0, 0 },
    };
    struct kith_lookup_info info, passed;
    struct kith_sockaddr on_link;

    kith__lookup_info_init(&info, kith_mem_default(), &(struct kith_id) { { 7 } });
    kith__lookup_info_init(&passed, kith_mem_default(), NULL);
    KITH_CHECK_EQ(fill(&info), 0);
    KITH_CHECK_EQ(kith_sockaddr_parse("[fe80::1%3]:5", &on_link), 0);
    KITH_CHECK_EQ(kith__endpoint_addr_add_ip(&info.addr, &on_link), 0);
    for (size_t i = 0; i < KITH_COUNT(cases); i++) {
        size_t counts[KITH_TRANSPORT_KINDS] = { 0 };

        KITH_CHECK_EQ(kith__lookup_info_filter(&info, cases[i].filter, &passed), 0);
        for (size_t at = 0; at < passed.addr.count; at++)
            counts[passed.addr.addrs[at].kind]++;
        KITH_CHECK_EQ(counts[KITH_TRANSPORT_RELAY], cases[i].relays);
        KITH_CHECK_EQ(counts[KITH_TRANSPORT_IP], cases[i].ips);
        KITH_CHECK_EQ(counts[KITH_TRANSPORT_CUSTOM], cases[i].customs);
        KITH_CHECK_EQ(passed.user_data_size, cases[i].user_data_size);
        KITH_CHECK_EQ(passed.addr.id.bytes[0], 7);
        KITH_CHECK_EQ(kith__lookup_info_equal(&info, &passed), cases[i].filter == KITH_LOOKUP_LOCAL);
    }
    kith__lookup_info_dispose(&info);
    kith__lookup_info_dispose(&passed);
}

KITH_TEST(what_cannot_be_copied_for_want_of_memory_stays)
{
    uint64_t fail_at = 0;
    struct kith_test_mem mem;

    do {
        struct kith_lookup_info info, copy;
        int err;

        kith__test_mem_init(&mem, ++fail_at);
        kith__lookup_info_init(&info, kith_mem_default(), &(struct kith_id) { { 7 } });
        kith__lookup_info_init(&copy, &mem.mem, NULL);
        KITH_CHECK_EQ(fill(&info), 0);
        err = fail_at % 2 != 0 ? kith__lookup_info_copy(&info, &copy)
                               : kith__lookup_info_filter(&info, KITH_LOOKUP_ALL, &copy);
        KITH_CHECK(err == 0 || err == KITH_ERR_NOMEM);
        KITH_CHECK_EQ(kith__lookup_info_is_empty(&copy), err != 0);
        kith__lookup_info_dispose(&info);
        kith__lookup_info_dispose(&copy);
        KITH_CHECK_EQ(mem.live, 0);
    } while (mem.calls >= fail_at);
    KITH_CHECK(fail_at > 3);
}
