#include "codec/dns.h"

int kith__dns_reader_init(struct kith_dns_reader *r, struct kith_slice message)
{
    struct kith_dns_reader reader = { .message = message, .at = KITH_DNS_HEADER_SIZE };
    struct kith_reader head = kith__reader_of_slice(message);

    if (message.size > KITH_DNS_MESSAGE_SIZE_MAX)
        return KITH_ERR_TOO_LARGE;
    if (message.size < KITH_DNS_HEADER_SIZE)
        return KITH_ERR_TRUNCATED;
    kith__read_u16(&head, &reader.header.id);
    kith__read_u16(&head, &reader.header.flags);
    for (size_t i = 0; i < KITH_DNS_SECTIONS; i++) {
        kith__read_u16(&head, &reader.header.counts[i]);
        reader.left[i] = reader.header.counts[i];
    }
    *r = reader;
    return 0;
}

/** Two upper bits of a length: a label, or a pointer; the other two values were never given a lasting meaning. */
enum { LABEL_KIND_MASK = 0xc0, LABEL_POINTER = 0xc0 };

/** Appends a label of `message` to a name that has no root yet. Room for the root is always left. */
static int take_label(struct kith_slice message, size_t at, uint8_t size, size_t *name_size, struct kith_dns_name *name)
{
    if (message.size - at < size)
        return KITH_ERR_TRUNCATED;
    if (*name_size + 1 + size + 1 > KITH_DNS_NAME_SIZE_MAX)
        return KITH_ERR_PARSE;
    name->bytes[*name_size] = size;
    memcpy(name->bytes + *name_size + 1, message.ptr + at, size);
    *name_size += 1u + size;
    return 0;
}

int kith__dns_read_name(struct kith_slice message, size_t *at, struct kith_dns_name *out)
{
    size_t here = *at, behind = 0, jumps = 0, name_size = 0;
    struct kith_dns_name name;
    int err;

    for (;;) {
        uint8_t length;

        if (here >= message.size)
            return KITH_ERR_TRUNCATED;
        length = message.ptr[here++];
        if (length == 0)
            break;
        if ((length & LABEL_KIND_MASK) == 0) {
            if ((err = take_label(message, here, length, &name_size, &name)) != 0)
                return err;
            here += length;
            continue;
        }
        if ((length & LABEL_KIND_MASK) != LABEL_POINTER || jumps++ == KITH_DNS_JUMPS_MAX)
            return KITH_ERR_PARSE;
        if (here >= message.size)
            return KITH_ERR_TRUNCATED;
        if (behind == 0)
            behind = here + 1;
        here = (size_t)(length & ~LABEL_KIND_MASK) << 8 | message.ptr[here];
    }
    name.bytes[name_size++] = 0;
    out->size = (uint8_t)name_size;
    memcpy(out->bytes, name.bytes, name_size);
    *at = behind != 0 ? behind : here;
    return 0;
}

/** A reader over what begins at `at`, where a name ended. */
static struct kith_reader rest_of(struct kith_slice message, size_t at)
{
    return kith__reader(message.ptr + at, message.size - at);
}

int kith__dns_next_question(struct kith_dns_reader *r, struct kith_dns_question *out)
{
    struct kith_dns_question question;
    struct kith_reader rest;
    size_t at = r->at;
    int err;

    if (r->left[KITH_DNS_QUESTION] == 0)
        return KITH_ERR_END;
    if ((err = kith__dns_read_name(r->message, &at, &question.name)) != 0)
        return err;
    rest = rest_of(r->message, at);
    if (kith__read_u16(&rest, &question.type) != 0 || kith__read_u16(&rest, &question.class_code) != 0)
        return KITH_ERR_TRUNCATED;
    r->at = at + 4;
    r->left[KITH_DNS_QUESTION]--;
    *out = question;
    return 0;
}

/** The section of the next record, or KITH_DNS_SECTIONS. */
static enum kith_dns_section next_section(const struct kith_dns_reader *r)
{
    enum kith_dns_section section = KITH_DNS_ANSWER;

    while (section < KITH_DNS_SECTIONS && r->left[section] == 0)
        section++;
    return section;
}

int kith__dns_next_record(struct kith_dns_reader *r, struct kith_dns_record *out)
{
    struct kith_dns_record record;
    struct kith_dns_question passed;
    struct kith_reader rest;
    size_t at;
    uint16_t size;
    int err;

    while (r->left[KITH_DNS_QUESTION] != 0)
        if ((err = kith__dns_next_question(r, &passed)) != 0)
            return err;
    if ((record.section = next_section(r)) == KITH_DNS_SECTIONS)
        return KITH_ERR_END;
    at = r->at;
    if ((err = kith__dns_read_name(r->message, &at, &record.name)) != 0)
        return err;
    rest = rest_of(r->message, at);
    if (kith__read_u16(&rest, &record.type) != 0 || kith__read_u16(&rest, &record.class_code) != 0 ||
        kith__read_u32(&rest, &record.ttl_s) != 0 || kith__read_u16(&rest, &size) != 0 ||
        kith__read_slice(&rest, size, &record.rdata) != 0)
        return KITH_ERR_TRUNCATED;
    record.message = r->message;
    r->at = (size_t)(rest.at - r->message.ptr);
    r->left[record.section]--;
    *out = record;
    return 0;
}

int kith__dns_rdata_ip(const struct kith_dns_record *record, struct kith_sockaddr *out)
{
    struct kith_sockaddr ip = { .family = KITH_FAMILY_V4 };
    size_t size = 4;

    if (record->type == KITH_DNS_AAAA) {
        ip.family = KITH_FAMILY_V6;
        size = 16;
    } else if (record->type != KITH_DNS_A) {
        return KITH_ERR_INVALID;
    }
    if (record->rdata.size != size)
        return KITH_ERR_PARSE;
    memcpy(ip.ip, record->rdata.ptr, size);
    *out = ip;
    return 0;
}

/** A name in the data of a record, at *at of the data. */
static int read_rdata_name(const struct kith_dns_record *record, size_t *at, struct kith_dns_name *out)
{
    size_t begin = (size_t)(record->rdata.ptr - record->message.ptr);
    size_t here = begin + *at;
    int err = kith__dns_read_name(record->message, &here, out);

    if (err != 0)
        return err;
    if (here > begin + record->rdata.size)
        return KITH_ERR_PARSE; /* it began in the data and ended in the next record */
    *at = here - begin;
    return 0;
}

int kith__dns_rdata_name(const struct kith_dns_record *record, struct kith_dns_name *out)
{
    struct kith_dns_name name;
    size_t at = 0;
    int err;

    if (record->type != KITH_DNS_NS && record->type != KITH_DNS_CNAME && record->type != KITH_DNS_PTR)
        return KITH_ERR_INVALID;
    if ((err = read_rdata_name(record, &at, &name)) != 0)
        return err;
    if (at != record->rdata.size)
        return KITH_ERR_PARSE;
    *out = name;
    return 0;
}

int kith__dns_rdata_srv(const struct kith_dns_record *record, struct kith_dns_srv *out)
{
    struct kith_reader r = kith__reader_of_slice(record->rdata);
    struct kith_dns_srv srv;
    size_t at = 6;
    int err;

    if (record->type != KITH_DNS_SRV)
        return KITH_ERR_INVALID;
    if (kith__read_u16(&r, &srv.priority) != 0 || kith__read_u16(&r, &srv.weight) != 0 ||
        kith__read_u16(&r, &srv.port) != 0)
        return KITH_ERR_TRUNCATED;
    if ((err = read_rdata_name(record, &at, &srv.target)) != 0)
        return err;
    if (at != record->rdata.size)
        return KITH_ERR_PARSE;
    *out = srv;
    return 0;
}

int kith__dns_rdata_soa(const struct kith_dns_record *record, struct kith_dns_soa *out)
{
    struct kith_dns_soa soa;
    struct kith_reader r;
    size_t at = 0;
    int err;

    if (record->type != KITH_DNS_SOA)
        return KITH_ERR_INVALID;
    if ((err = read_rdata_name(record, &at, &soa.mname)) != 0 || (err = read_rdata_name(record, &at, &soa.rname)) != 0)
        return err;
    r = kith__reader(record->rdata.ptr + at, record->rdata.size - at);
    if (kith__read_u32(&r, &soa.serial) != 0 || kith__read_u32(&r, &soa.refresh_s) != 0 ||
        kith__read_u32(&r, &soa.retry_s) != 0 || kith__read_u32(&r, &soa.expire_s) != 0 ||
        kith__read_u32(&r, &soa.minimum_s) != 0)
        return KITH_ERR_TRUNCATED;
    if (kith__reader_left(&r) != 0)
        return KITH_ERR_PARSE;
    *out = soa;
    return 0;
}

int kith__dns_rdata_opt(const struct kith_dns_record *record, struct kith_dns_opt *out)
{
    struct kith_reader options = kith__reader_of_slice(record->rdata);
    struct kith_slice data;
    uint16_t code;
    int err;

    if (record->type != KITH_DNS_OPT)
        return KITH_ERR_INVALID;
    if (record->name.size != 1)
        return KITH_ERR_PARSE; /* RFC 6891, 6.1.2: owned by the root */
    while ((err = kith__dns_next_option(&options, &code, &data)) == 0)
        ;
    if (err != KITH_ERR_END)
        return err;
    *out = (struct kith_dns_opt) { .udp_size = record->class_code,
                                   .rcode_upper = (uint8_t)(record->ttl_s >> 24),
                                   .version = (uint8_t)(record->ttl_s >> 16),
                                   .dnssec_ok = (record->ttl_s & 0x8000) != 0,
                                   .options = record->rdata };
    return 0;
}

int kith__dns_rdata_txt(const struct kith_dns_record *record, uint8_t *out, size_t cap, size_t *size)
{
    struct kith_reader r = kith__reader_of_slice(record->rdata);
    struct kith_slice string;
    size_t used = 0;
    int err;

    if (record->type != KITH_DNS_TXT)
        return KITH_ERR_INVALID;
    while ((err = kith__dns_next_string(&r, &string)) == 0) {
        if (string.size > cap - used)
            return KITH_ERR_TOO_LARGE;
        if (string.size != 0)
            memcpy(out + used, string.ptr, string.size);
        used += string.size;
    }
    if (err != KITH_ERR_END)
        return err;
    *size = used;
    return 0;
}

int kith__dns_next_string(struct kith_reader *rdata, struct kith_slice *out)
{
    struct kith_reader ahead = *rdata;
    uint8_t size;
    int err;

    if (kith__read_u8(&ahead, &size) != 0)
        return KITH_ERR_END;
    if ((err = kith__read_slice(&ahead, size, out)) != 0)
        return err;
    *rdata = ahead;
    return 0;
}

int kith__dns_next_option(struct kith_reader *options, uint16_t *code, struct kith_slice *out)
{
    struct kith_reader ahead = *options;
    uint16_t size, number;

    if (kith__reader_left(options) == 0)
        return KITH_ERR_END;
    if (kith__read_u16(&ahead, &number) != 0 || kith__read_u16(&ahead, &size) != 0 ||
        kith__read_slice(&ahead, size, out) != 0)
        return KITH_ERR_TRUNCATED;
    *code = number;
    *options = ahead;
    return 0;
}
