/* The answering core: any query, over a packet of any bytes; answers are well-formed, bounded, and never cost more than they may. */
#include "base/assert.h"
#include "base/mem.h"
#include "codec/dns.h"
#include "zone/answer.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/** The input: a byte of choices, two of a packet's size, the packet's DNS message, the query. */
struct input {
    struct kith_pkarr packet;
    uint8_t choices;
};

static int get(void *ctx, const struct kith_id *id, struct kith_pkarr *out)
{
    struct input *input = ctx;

    if (input->choices & 2)
        return input->choices & 4 ? KITH_ERR_AGAIN : KITH_ERR_NOT_FOUND;
    *out = input->packet;
    memcpy(out->bytes, id->bytes, sizeof id->bytes);
    return 0;
}

static void check_answer(const struct kith_zone_answer *answer, const uint8_t *bytes, size_t size_max)
{
    struct kith_dns_reader reader;
    struct kith_dns_record record;
    int err;

    KITH_ASSERT(answer->size <= size_max);
    KITH_ASSERT((answer->size == 0) == (answer->outcome == KITH_ZONE_SILENT || answer->outcome == KITH_ZONE_WAIT));
    if (answer->size == 0)
        return;
    KITH_ASSERT(kith__dns_reader_init(&reader, (struct kith_slice) { bytes, answer->size }) == 0);
    while ((err = kith__dns_next_record(&reader, &record)) == 0)
        ;
    KITH_ASSERT(err == KITH_ERR_END && reader.at == answer->size);
}

/* One origin with so much that not all of it fits in a datagram, and the root with nothing. */
static struct kith_zone *make_zone(void)
{
    static const char *const servers[] = { "ns1.dns.test", "a.b.dns.test", "ns.elsewhere.test" };
    struct kith_sockaddr addresses[KITH_DNS_SERVER_APEX_MAX];
    struct kith_dns_origin origins[] = { { .name = "dns.test.",
                                           .addresses = addresses,
                                           .address_count = KITH_COUNT(addresses),
                                           .name_servers = servers,
                                           .name_server_count = KITH_COUNT(servers) },
                                         { .name = "." } };
    struct kith_zone_problem problem;
    struct kith_zone *zone;

    for (size_t i = 0; i < KITH_COUNT(addresses); i++)
        addresses[i] = (struct kith_sockaddr) { .family = i == 0 ? KITH_FAMILY_V4 : KITH_FAMILY_V6,
                                                .ip = { 32, [15] = (uint8_t)i } };
    KITH_ASSERT(kith__zone_new(kith_mem_default(), origins, KITH_COUNT(origins), &zone, &problem) == 0);
    return zone;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct kith_zone *zone;
    static uint8_t out[KITH_DNS_MESSAGE_SIZE_MAX];
    struct kith_zone_answer answer;
    struct input input = { .packet = { .size = KITH_PKARR_HEAD_SIZE } };
    struct kith_zone_source source = { get, &input, 0 };
    struct kith_slice query;
    size_t dns_size;
    bool is_udp;

    if (size < 3)
        return 0;
    if (zone == NULL)
        zone = make_zone();
    input.choices = bytes[0];
    dns_size = ((size_t)bytes[1] << 8 | bytes[2]) % (KITH_PKARR_DNS_SIZE_MAX + 1);
    dns_size = dns_size < size - 3 ? dns_size : size - 3;
    memcpy(input.packet.bytes + KITH_PKARR_HEAD_SIZE, bytes + 3, dns_size);
    input.packet.size = (uint16_t)(KITH_PKARR_HEAD_SIZE + dns_size);
    query = (struct kith_slice) { bytes + 3 + dns_size, size - 3 - dns_size };
    is_udp = (input.choices & 1) != 0;
    kith__zone_answer(zone, &source, query, is_udp, out, is_udp ? KITH_ZONE_UDP_SIZE : sizeof out, &answer);
    check_answer(&answer, out, is_udp ? KITH_ZONE_UDP_SIZE : sizeof out);
    KITH_ASSERT(kith__zone_shorten(query, out, KITH_DNS_UDP_SIZE_MIN) <= KITH_DNS_UDP_SIZE_MIN);
    return 0;
}
