/** What tests of the local network's lookup share. Test files only. */
#ifndef KITH_LOOKUP_MDNS_PARTS_H
#define KITH_LOOKUP_MDNS_PARTS_H

#include "base/mem.h"
#include "base/test.h"
#include "codec/base32.h"
#include "crypto/sign.h"
#include "lookup/mdns_message.h"

#include <stdio.h>
#include <string.h>

/** The id of the examples of spec/03. */
static inline struct kith_id parts_id(void)
{
    struct kith_id id;

    KITH_CHECK_EQ(
        kith__base32_decode(KITH_BASE32_LOWER, "aoqqpp7tzyil4hlq3umoos6atft6jvrqtosq2xy53sdgiesvgg4a", 52, id.bytes),
        0);
    return id;
}

/** A key of its own for every number. */
static inline struct kith_id parts_key(unsigned number)
{
    struct kith_secret secret = { .bytes = { [0] = 1, [1] = (uint8_t)number, [2] = (uint8_t)(number >> 8) } };

    return kith__secret_id(&secret);
}

static inline struct kith_sockaddr parts_ip(const char *text)
{
    struct kith_sockaddr ip;

    KITH_CHECK_EQ(kith_sockaddr_parse(text, &ip), 0);
    return ip;
}

static inline struct kith_slice parts_text(const char *text)
{
    return (struct kith_slice) { (const uint8_t *)text, strlen(text) };
}

/** What an endpoint says: addresses up to NULL; "https:..." is a relay, "=..." user data. */
static inline struct kith_lookup_info parts_info(const struct kith_id *id, const char *const *what)
{
    struct kith_lookup_info info;

    kith__lookup_info_init(&info, kith_mem_default(), id);
    for (; *what != NULL; what++) {
        if (**what == '=') {
            KITH_CHECK_EQ(kith__lookup_info_set_user_data(&info, parts_text(*what + 1)), 0);
        } else if (strncmp(*what, "http", 4) == 0) {
            KITH_CHECK_EQ(kith__endpoint_addr_add_relay(&info.addr, *what, strlen(*what)), 0);
        } else {
            struct kith_sockaddr ip = parts_ip(*what);

            KITH_CHECK_EQ(kith__endpoint_addr_add_ip(&info.addr, &ip), 0);
        }
    }
    return info;
}
#define PARTS_INFO(id, ...) parts_info(id, (const char *const[]) { __VA_ARGS__, NULL })

/** The first address that is no relay, as text; "" if there is none. */
static inline const char *parts_first_ip(const struct kith_lookup_info *info)
{
    static char text[KITH_SOCKADDR_TEXT_SIZE];

    for (size_t i = 0; i < info->addr.count; i++)
        if (info->addr.addrs[i].kind == KITH_TRANSPORT_IP)
            return kith_sockaddr_format(&info->addr.addrs[i].ip, text);
    return "";
}

#endif
