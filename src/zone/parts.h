/** What tests of stores and answers share: packets without a good signature, which neither looks at. Test files only. */
#ifndef KITH_ZONE_PARTS_H
#define KITH_ZONE_PARTS_H

#include "base/test.h"
#include "codec/base32.h"
#include "codec/dns.h"
#include "lookup/pkarr.h"
#include <stdio.h>
#include <string.h>

static inline void set_timestamp(struct kith_pkarr *packet, uint64_t timestamp_us)
{
    for (int i = 0; i < 8; i++)
        packet->bytes[KITH_ID_SIZE + KITH_SIGNATURE_SIZE + i] = (uint8_t)(timestamp_us >> (56 - 8 * i));
}

/** A packet of the `number`-th key, with nothing in it but `filler` bytes of what would be DNS. */
static inline struct kith_pkarr packet_of(uint32_t number, uint64_t timestamp_us, size_t filler)
{
    struct kith_pkarr packet = { .size = (uint16_t)(KITH_PKARR_HEAD_SIZE + filler) };

    for (int i = 0; i < 4; i++)
        packet.bytes[i] = (uint8_t)(number >> (24 - 8 * i));
    set_timestamp(&packet, timestamp_us);
    memset(packet.bytes + KITH_PKARR_HEAD_SIZE, (int)(number & 0x7f), filler);
    return packet;
}

/** A record of a packet, for packet_with. */
struct record {
    const char *name; /* before the key; "": the key itself; with a dot at its end: a full name */
    uint16_t type;
    uint32_t ttl_s;
    const char *data; /* TXT: one string; A, AAAA: an address; CNAME, NS: a name, as above; others: raw */
};

static inline struct kith_dns_name packet_name(const char *text, const struct kith_id *id)
{
    char key[64], full[400];
    struct kith_dns_name name;
    size_t size = strlen(text);

    kith__base32_encode(KITH_BASE32_Z, id->bytes, sizeof id->bytes, key);
    if (size != 0 && text[size - 1] == '.')
        snprintf(full, sizeof full, "%s", text);
    else
        snprintf(full, sizeof full, "%s%s%s.", text, size != 0 ? "." : "", key);
    KITH_CHECK_EQ(kith__dns_name_parse(full, strlen(full), &name), 0);
    return name;
}

static inline void write_record(struct kith_dns_writer *w, const struct record *record, const struct kith_id *id)
{
    struct kith_dns_name name = packet_name(record->name, id), target;
    struct kith_dns_owner owner = { &name, KITH_DNS_ANSWER, KITH_DNS_IN, record->ttl_s };
    struct kith_slice data = { (const uint8_t *)record->data, strlen(record->data) };
    struct kith_sockaddr ip;
    char text[80];

    switch (record->type) {
    case KITH_DNS_TXT:
        KITH_CHECK_EQ(kith__dns_write_txt(w, &owner, &data, 1), 0);
        break;
    case KITH_DNS_A:
    case KITH_DNS_AAAA:
        snprintf(text, sizeof text, record->type == KITH_DNS_A ? "%s:0" : "[%s]:0", record->data);
        KITH_CHECK_EQ(kith_sockaddr_parse(text, &ip), 0);
        KITH_CHECK_EQ(kith__dns_write_ip(w, &owner, &ip), 0);
        break;
    case KITH_DNS_CNAME:
    case KITH_DNS_NS:
        target = packet_name(record->data, id);
        KITH_CHECK_EQ(kith__dns_write_name(w, &owner, record->type, &target), 0);
        break;
    default:
        KITH_CHECK_EQ(kith__dns_write_raw(w, &owner, record->type, data), 0);
        break;
    }
}

static inline struct kith_pkarr packet_with(uint32_t number, const struct record *records, size_t count)
{
    struct kith_pkarr packet = packet_of(number, 1, 0);
    struct kith_dns_header header = { .flags = KITH_DNS_QR };
    struct kith_dns_writer w;
    struct kith_id id;

    memcpy(id.bytes, packet.bytes, sizeof id.bytes);
    KITH_CHECK_EQ(kith__dns_writer_init(&w, packet.bytes + KITH_PKARR_HEAD_SIZE, KITH_PKARR_DNS_SIZE_MAX, &header), 0);
    for (size_t i = 0; i < count; i++)
        write_record(&w, &records[i], &id);
    packet.size = (uint16_t)(KITH_PKARR_HEAD_SIZE + kith__dns_writer_finish(&w));
    return packet;
}

#endif
