/*
 * Messages of the local network, with "\n--\n" between them. Each is read, and what it says keeps to the maxima. Then an endpoint hears
 * them one after the other on two links, one of them looked for, and speaks when it is due: all that it says is a message
 * that others can read, and what it knows has bounds.
 */
#include "base/mem.h"
#include "base/random.h"
#include "lookup/mdns_core.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { LINKS = 2, SPOKEN_MAX = 64 /* in one turn: more would be a flood of our own making */ };

static const struct kith_id own_id = { { 1 } };

static void check_said(const struct kith_mdns_names *names, struct kith_slice message)
{
    struct kith_mdns_heard heard;

    if (kith__mdns_read(names, message, 7, kith_mem_default(), &heard) != 0)
        return;
    KITH_ASSERT(heard.count <= KITH_MDNS_SAID_MAX && (!heard.knows_us || heard.asks_all));
    for (size_t i = 0; i < heard.count; i++) {
        const struct kith_lookup_info *info = &heard.said[i].info;

        KITH_ASSERT(info->addr.count <= KITH_ADDRS_MAX && (!heard.said[i].is_goodbye || heard.said[i].ttl_s == 0));
        for (size_t j = 0; j < info->addr.count; j++)
            if (info->addr.addrs[j].kind == KITH_TRANSPORT_IP && info->addr.addrs[j].ip.scope_id != 0)
                KITH_ASSERT(info->addr.addrs[j].ip.scope_id == 7);
    }
    kith__mdns_heard_dispose(&heard);
}

static void speak(struct kith_mdns_core *core, const struct kith_mdns_names *names, uint64_t now_ns)
{
    uint8_t out[KITH_MDNS_MESSAGE_SIZE];
    size_t size, spoken = 0;
    unsigned link;

    while ((size = kith__mdns_core_next(core, now_ns, out, &link)) != 0) {
        struct kith_mdns_heard heard;

        KITH_ASSERT(size <= sizeof out && link < LINKS && ++spoken <= SPOKEN_MAX);
        KITH_ASSERT(kith__mdns_read(names, (struct kith_slice) { out, size }, 7, kith_mem_default(), &heard) == 0);
        kith__mdns_heard_dispose(&heard);
    }
}

static void take_news(struct kith_mdns_core *core)
{
    struct kith_mdns_news news;
    struct kith_lookup_info info;
    uint64_t heard_ns;

    while (kith__mdns_core_news(core, &news)) {
        kith__lookup_info_init(&info, kith_mem_default(), NULL);
        KITH_ASSERT((kith__mdns_core_get(core, &news.id, &info, &heard_ns) == 0) == (news.change != KITH_MDNS_GONE));
        kith__lookup_info_dispose(&info);
    }
    KITH_ASSERT(kith__mdns_core_count(core) <= KITH_MDNS_PEERS_MAX + 1);
}

static struct kith_mdns_core *make_core(struct kith_prng *prng, struct kith_random *random)
{
    struct kith_mdns_core_options options = { .mem = kith_mem_default(), .random = random, .id = own_id };
    struct kith_sockaddr ip = { .family = KITH_FAMILY_V4, .ip = { 192, 0, 2, 1 }, .port = 5 };
    struct kith_lookup_info info;
    struct kith_mdns_core *core;
    unsigned link;

    kith__prng_init(prng, 3);
    *random = kith__prng_source(prng);
    KITH_ASSERT(kith__mdns_core_new(&options, &core) == 0);
    for (unsigned i = 0; i < LINKS; i++)
        KITH_ASSERT(kith__mdns_core_link_open(core, 7 + i, 0, &link) == 0 && link == i);
    kith__lookup_info_init(&info, kith_mem_default(), &own_id);
    KITH_ASSERT(kith__endpoint_addr_add_ip(&info.addr, &ip) == 0);
    KITH_ASSERT(kith__mdns_core_say(core, &info, 0) == 0);
    kith__lookup_info_dispose(&info);
    return core;
}

/* Whom the first message is about is looked for. */
static void want(struct kith_mdns_core *core, const struct kith_mdns_names *names, struct kith_slice message)
{
    struct kith_mdns_heard heard;

    if (kith__mdns_read(names, message, 7, kith_mem_default(), &heard) != 0)
        return;
    if (heard.count != 0)
        KITH_ASSERT(kith__mdns_core_want(core, &heard.said[0].info.addr.id, 0) == 0);
    kith__mdns_heard_dispose(&heard);
}

static struct kith_slice next_message(struct kith_slice *rest)
{
    struct kith_slice message = *rest;

    for (size_t i = 0; i + 4 <= rest->size; i++) {
        if (memcmp(rest->ptr + i, "\n--\n", 4) == 0) {
            message.size = i;
            *rest = (struct kith_slice) { rest->ptr + i + 4, rest->size - i - 4 };
            return message;
        }
    }
    rest->size = 0;
    return message;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct kith_slice rest = { bytes, size };
    struct kith_mdns_names names;
    struct kith_random random;
    struct kith_prng prng;
    struct kith_mdns_core *core = make_core(&prng, &random);
    uint64_t now_ns = 0;

    KITH_ASSERT(kith__mdns_names_init(&names, &own_id, NULL) == 0);
    for (unsigned i = 0; rest.size != 0; i++) {
        struct kith_slice message = next_message(&rest);

        check_said(&names, message);
        if (i == 0)
            want(core, &names, message);
        kith__mdns_core_heard(core, i % LINKS, message, now_ns);
        speak(core, &names, now_ns);
        take_news(core);
        now_ns += 300 * KITH_NS_PER_MS;
    }
    for (unsigned i = 0; i < 16 && kith__mdns_core_deadline(core) != KITH_NEVER; i++) {
        now_ns = KITH_MAX(now_ns, kith__mdns_core_deadline(core));
        speak(core, &names, now_ns);
        take_news(core);
    }
    kith__mdns_core_leave(core);
    speak(core, &names, now_ns);
    kith__mdns_core_free(core);
    return 0;
}
