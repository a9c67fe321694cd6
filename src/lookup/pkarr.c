#include "lookup/pkarr.h"

#include "codec/dns.h"
#include "codec/postcard.h"
#include "crypto/sign.h"
#include "lookup/attrs.h"
#include <inttypes.h>
#include <stdio.h>

enum {
    TIMESTAMP_AT = KITH_ID_SIZE + KITH_SIGNATURE_SIZE,
    SIGNED_PREFIX_MAX = 64,
    RECORD_OVERHEAD = 12 /* a pointer to the owner's name, type, class, TTL, size; without the strings' own sizes */
};

uint64_t kith__pkarr_timestamp(const struct kith_pkarr *packet)
{
    struct kith_reader r = kith__reader(packet->bytes + TIMESTAMP_AT, 8);
    uint64_t timestamp_us = 0;

    KITH_ASSERT(kith__read_u64(&r, &timestamp_us) == 0);
    return timestamp_us;
}

struct kith_id kith__pkarr_id(const struct kith_pkarr *packet)
{
    struct kith_id id;

    memcpy(id.bytes, packet->bytes, KITH_ID_SIZE);
    return id;
}

bool kith__pkarr_is_newer(const struct kith_pkarr *a, const struct kith_pkarr *b)
{
    uint64_t when_a = kith__pkarr_timestamp(a), when_b = kith__pkarr_timestamp(b);
    struct kith_slice dns_a = kith__pkarr_dns(a), dns_b = kith__pkarr_dns(b);
    int order;

    if (when_a != when_b)
        return when_a > when_b;
    order = memcmp(dns_a.ptr, dns_b.ptr, KITH_MIN(dns_a.size, dns_b.size));
    return order != 0 ? order > 0 : dns_a.size > dns_b.size;
}

size_t kith__pkarr_signed_bytes(uint64_t timestamp_us, struct kith_slice dns, uint8_t *out)
{
    char prefix[SIGNED_PREFIX_MAX];
    int size = snprintf(prefix, sizeof prefix, "3:seqi%" PRIu64 "e1:v%zu:", timestamp_us, dns.size);

    KITH_ASSERT(size > 0 && size < SIGNED_PREFIX_MAX && dns.size <= KITH_PKARR_DNS_SIZE_MAX);
    memcpy(out, prefix, (size_t)size);
    if (dns.size != 0)
        memcpy(out + size, dns.ptr, dns.size);
    return (size_t)size + dns.size;
}

/* ---- Making ---- */

/** What one attribute takes when it is not the first. */
static size_t record_size(size_t text_size)
{
    size_t strings = (text_size + KITH_DNS_STRING_SIZE_MAX - 1) / KITH_DNS_STRING_SIZE_MAX;

    return RECORD_OVERHEAD + strings + text_size;
}

/** One TXT record; a text of more than 255 bytes takes several strings, which readers join again. TOO_LARGE: no room. */
static int write_record(struct kith_dns_writer *w, const struct kith_dns_owner *owner, struct kith_slice text)
{
    enum { STRINGS_MAX = KITH_PKARR_DNS_SIZE_MAX / KITH_DNS_STRING_SIZE_MAX + 1 };
    struct kith_slice strings[STRINGS_MAX];
    size_t count = 0;

    if (text.size > KITH_PKARR_DNS_SIZE_MAX)
        return KITH_ERR_TOO_LARGE;
    while (text.size != 0) {
        size_t size = KITH_MIN(text.size, (size_t)KITH_DNS_STRING_SIZE_MAX);

        strings[count++] = (struct kith_slice) { text.ptr, size };
        text = (struct kith_slice) { text.ptr + size, text.size - size };
    }
    return kith__dns_write_txt(w, owner, strings, count);
}

/** The message of an endpoint. User data come last and are never left out: room is kept for them. */
static int write_dns(const struct kith_lookup_info *info, uint32_t ttl_s, struct kith_buf *text,
                     struct kith_dns_writer *w, size_t *left_out)
{
    struct kith_dns_name name;
    struct kith_dns_owner owner = {
        .name = &name, .section = KITH_DNS_ANSWER, .class_code = KITH_DNS_IN, .ttl_s = ttl_s
    };
    size_t count = kith__attrs_count(info), kept = 0;
    int err;

    kith__attrs_name(&info->addr.id, &name);
    if (info->user_data_size != 0)
        kept = record_size(strlen("user-data=") + info->user_data_size);
    kith__dns_writer_limit(w, KITH_PKARR_DNS_SIZE_MAX - kept);
    for (size_t i = 0; i < count; i++) {
        text->size = 0;
        if ((err = kith__attrs_format(info, i, text)) != 0)
            return err;
        if (i == info->addr.count)
            kith__dns_writer_limit(w, KITH_PKARR_DNS_SIZE_MAX);
        err = write_record(w, &owner, kith__buf_slice(text));
        KITH_ASSERT(err == 0 || (err == KITH_ERR_TOO_LARGE && i < info->addr.count));
        *left_out += err != 0;
    }
    return 0;
}

static void sign(const struct kith_secret *secret, uint64_t timestamp_us, struct kith_pkarr *packet)
{
    uint8_t message[SIGNED_PREFIX_MAX + KITH_PKARR_DNS_SIZE_MAX];
    size_t size = kith__pkarr_signed_bytes(timestamp_us, kith__pkarr_dns(packet), message);
    struct kith_writer w = kith__writer(packet->bytes + TIMESTAMP_AT, 8);
    struct kith_keypair pair;

    kith__keypair_init(&pair, secret);
    KITH_ASSERT(memcmp(pair.id.bytes, packet->bytes, KITH_ID_SIZE) == 0);
    kith__sign(&pair, (struct kith_slice) { message, size }, packet->bytes + KITH_ID_SIZE);
    kith__keypair_wipe(&pair);
    KITH_ASSERT(kith__write_u64(&w, timestamp_us) == 0);
}

int kith__pkarr_make(const struct kith_lookup_info *info, const struct kith_secret *secret, uint64_t timestamp_us,
                     uint32_t ttl_s, const struct kith_mem *mem, struct kith_pkarr *out, size_t *left_out)
{
    static const struct kith_dns_header header = { .flags = KITH_DNS_QR };
    struct kith_pkarr packet = { .size = 0 };
    struct kith_dns_writer w;
    struct kith_buf text;
    size_t cut = 0;
    int err;

    kith__buf_init(&text, mem);
    memcpy(packet.bytes, info->addr.id.bytes, KITH_ID_SIZE);
    KITH_ASSERT(kith__dns_writer_init(&w, packet.bytes + KITH_PKARR_HEAD_SIZE, KITH_PKARR_DNS_SIZE_MAX, &header) == 0);
    err = write_dns(info, ttl_s, &text, &w, &cut);
    kith__buf_dispose(&text);
    if (err != 0)
        return err;
    packet.size = (uint16_t)(KITH_PKARR_HEAD_SIZE + kith__dns_writer_finish(&w));
    sign(secret, timestamp_us, &packet);
    *out = packet;
    *left_out = cut;
    return 0;
}

/* ---- Reading ---- */

static bool class_is_known(uint16_t class_code, bool is_question)
{
    switch (class_code & ~KITH_DNS_FLUSH) {
    case KITH_DNS_IN:
    case KITH_DNS_CS:
    case KITH_DNS_CH:
    case KITH_DNS_HS:
    case KITH_DNS_CLASS_NONE:
        return true;
    default:
        return is_question && class_code == KITH_DNS_CLASS_ANY;
    }
}

/** What real peers refuse: servers must not hand it on as good. Source: spec/03, 5. */
static int check_dns(struct kith_slice dns)
{
    struct kith_dns_reader r;
    struct kith_dns_question question;
    struct kith_dns_record record;
    int err;

    if (kith__dns_reader_init(&r, dns) != 0 || (r.header.flags & KITH_DNS_Z) != 0)
        return KITH_ERR_PARSE;
    while ((err = kith__dns_next_question(&r, &question)) == 0)
        if (!class_is_known(question.class_code, true))
            return KITH_ERR_PARSE;
    while (err == KITH_ERR_END && (err = kith__dns_next_record(&r, &record)) == 0) {
        /* OPT has a size where others have a class. */
        if (record.type != KITH_DNS_OPT && !class_is_known(record.class_code, false))
            return KITH_ERR_PARSE;
        err = KITH_ERR_END;
    }
    return err == KITH_ERR_END ? 0 : KITH_ERR_PARSE;
}

/** The head of a packet is there, and its size is possible. */
static int check(const struct kith_pkarr *packet)
{
    uint8_t message[SIGNED_PREFIX_MAX + KITH_PKARR_DNS_SIZE_MAX];
    struct kith_id id = kith__pkarr_id(packet);
    size_t size;

    /* That the key is a point need not be asked first (a quarter of the whole): no signature is by a key that is none. */
    size = kith__pkarr_signed_bytes(kith__pkarr_timestamp(packet), kith__pkarr_dns(packet), message);
    if (kith__verify(&id, (struct kith_slice) { message, size }, packet->bytes + KITH_ID_SIZE) != 0)
        return KITH_ERR_CRYPTO;
    return check_dns(kith__pkarr_dns(packet));
}

int kith__pkarr_read(const struct kith_id *id, struct kith_slice bytes, struct kith_pkarr *out)
{
    size_t front = id != NULL ? KITH_ID_SIZE : 0;
    struct kith_pkarr packet = { .size = 0 };
    int err;

    if (bytes.size < KITH_PKARR_HEAD_SIZE - front)
        return KITH_ERR_TRUNCATED;
    if (bytes.size > KITH_PKARR_SIZE_MAX - front)
        return KITH_ERR_TOO_LARGE;
    if (id != NULL)
        memcpy(packet.bytes, id->bytes, KITH_ID_SIZE);
    memcpy(packet.bytes + front, bytes.ptr, bytes.size);
    packet.size = (uint16_t)(front + bytes.size);
    if ((err = check(&packet)) != 0)
        return err;
    *out = packet;
    return 0;
}

/** The strings of a TXT record joined are one attribute. */
static int take_record(const struct kith_dns_record *record, struct kith_lookup_info *info, size_t *ignored)
{
    uint8_t text[KITH_PKARR_DNS_SIZE_MAX];
    size_t size;

    if (kith__dns_rdata_txt(record, text, sizeof text, &size) == 0 && kith__utf8_is_valid(text, size))
        return kith__attrs_take(info, (struct kith_slice) { text, size }, ignored);
    *ignored += 1;
    return 0;
}

int kith__pkarr_info(const struct kith_pkarr *packet, const struct kith_mem *mem, struct kith_lookup_info *out,
                     size_t *ignored)
{
    struct kith_id id = kith__pkarr_id(packet);
    struct kith_lookup_info info;
    struct kith_dns_reader r;
    struct kith_dns_record record;
    struct kith_dns_name name;
    size_t skipped = 0;
    int err = kith__dns_reader_init(&r, kith__pkarr_dns(packet));

    KITH_ASSERT(err == 0); /* it was read or made here */
    kith__attrs_name(&id, &name);
    kith__lookup_info_init(&info, mem, &id);
    while ((err = kith__dns_next_record(&r, &record)) == 0 && record.section == KITH_DNS_ANSWER) {
        if (record.type != KITH_DNS_TXT || !kith__dns_name_same(&record.name, &name))
            continue;
        if ((err = take_record(&record, &info, &skipped)) != 0) {
            kith__lookup_info_dispose(&info);
            return err;
        }
    }
    KITH_ASSERT(err == 0 || err == KITH_ERR_END);
    *out = info;
    *ignored = skipped;
    return 0;
}
