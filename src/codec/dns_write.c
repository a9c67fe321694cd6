#include "codec/dns.h"

enum { TARGET_OFFSET_MAX = 0x3fff, FLAGS_AT = 2, COUNTS_AT = 4, RECORD_FIXED_SIZE = 10 };

int kith__dns_writer_init(struct kith_dns_writer *w, uint8_t *out, size_t size, const struct kith_dns_header *header)
{
    size = KITH_MIN(size, (size_t)KITH_DNS_MESSAGE_SIZE_MAX);
    if (size < KITH_DNS_HEADER_SIZE)
        return KITH_ERR_TOO_LARGE;
    w->w = kith__writer(out, size);
    w->buffer_end = w->w.end;
    w->compress = true;
    memset(w->counts, 0, sizeof w->counts);
    w->target_count = 0;
    KITH_ASSERT(kith__write_u16(&w->w, header->id) == 0 && kith__write_u16(&w->w, header->flags) == 0 &&
                kith__write_zeros(&w->w, 2 * KITH_DNS_SECTIONS) == 0);
    return 0;
}

void kith__dns_writer_limit(struct kith_dns_writer *w, size_t size)
{
    size_t room = (size_t)(w->buffer_end - w->w.begin);

    w->w.end = w->w.begin + KITH_MAX(KITH_MIN(size, room), kith__writer_size(&w->w));
}

void kith__dns_writer_flags(struct kith_dns_writer *w, uint16_t clear, uint16_t set)
{
    uint8_t *at = w->w.begin + FLAGS_AT;
    unsigned flags = ((unsigned)at[0] << 8 | at[1]) & ~(unsigned)clear;

    at[0] = (uint8_t)((flags | set) >> 8);
    at[1] = (uint8_t)(flags | set);
}

size_t kith__dns_writer_finish(struct kith_dns_writer *w)
{
    struct kith_writer counts = kith__writer(w->w.begin + COUNTS_AT, 2 * KITH_DNS_SECTIONS);

    for (size_t i = 0; i < KITH_DNS_SECTIONS; i++)
        KITH_ASSERT(kith__write_u16(&counts, w->counts[i]) == 0);
    return kith__writer_size(&w->w);
}

struct kith_dns_mark kith__dns_writer_mark(const struct kith_dns_writer *w)
{
    struct kith_dns_mark mark = { .size = kith__writer_size(&w->w), .target_count = w->target_count };

    memcpy(mark.counts, w->counts, sizeof mark.counts);
    return mark;
}

void kith__dns_writer_rollback(struct kith_dns_writer *w, const struct kith_dns_mark *mark)
{
    KITH_ASSERT(mark->size <= kith__writer_size(&w->w) && mark->target_count <= w->target_count);
    w->w.at = w->w.begin + mark->size;
    memcpy(w->counts, mark->counts, sizeof w->counts);
    w->target_count = mark->target_count;
}

static uint16_t hash_of(const uint8_t *bytes, size_t size)
{
    uint32_t hash = 2166136261u; /* FNV-1a */

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * 16777619u;
    return (uint16_t)(hash >> 16 ^ hash);
}

/** True if the name that begins at `at` of what is written consists of just these labels: the same octets, so that case is kept. */
static bool stands_at(const struct kith_dns_writer *w, size_t at, const uint8_t *labels)
{
    const uint8_t *message = w->w.begin;

    for (;;) {
        /* Written by us: pointers lead backwards, and every name ends. */
        while (message[at] >= 0xc0)
            at = (size_t)(message[at] & 0x3f) << 8 | message[at + 1];
        if (memcmp(message + at, labels, 1u + *labels) != 0)
            return false;
        if (*labels == 0)
            return true;
        at += 1u + *labels;
        labels += 1u + *labels;
    }
}

/** Among the first `count` targets: those are complete. */
static const struct kith_dns_target *find_target(const struct kith_dns_writer *w, size_t count, const uint8_t *labels,
                                                 uint16_t hash)
{
    for (size_t i = 0; i < count; i++)
        if (w->targets[i].hash == hash && stands_at(w, w->targets[i].offset, labels))
            return &w->targets[i];
    return NULL;
}

/** Later names may point to the one that begins here, once it is complete. */
static void add_target(struct kith_dns_writer *w, uint16_t hash)
{
    size_t offset = kith__writer_size(&w->w);

    if (offset <= TARGET_OFFSET_MAX && w->target_count < KITH_DNS_TARGETS_MAX)
        w->targets[w->target_count++] = (struct kith_dns_target) { (uint16_t)offset, hash };
}

/** On TOO_LARGE part of it is written, and targets point to it: the caller rolls back. */
static int write_name(struct kith_dns_writer *w, const struct kith_dns_name *name, bool compress)
{
    size_t at = 0, known = w->target_count;
    int err;

    while (name->bytes[at] != 0) {
        const uint8_t *labels = name->bytes + at;
        uint16_t hash = hash_of(labels, name->size - at);
        const struct kith_dns_target *target = find_target(w, known, labels, hash);

        if (target != NULL && compress)
            return kith__write_u16(&w->w, (uint16_t)(0xc000 | target->offset));
        if (target == NULL)
            add_target(w, hash);
        if ((err = kith__write_bytes(&w->w, labels, 1u + *labels)) != 0)
            return err;
        at += 1u + *labels;
    }
    return kith__write_u8(&w->w, 0);
}

int kith__dns_write_question(struct kith_dns_writer *w, const struct kith_dns_name *name, uint16_t type,
                             uint16_t class_code)
{
    struct kith_dns_mark mark = kith__dns_writer_mark(w);

    for (size_t i = KITH_DNS_ANSWER; i < KITH_DNS_SECTIONS; i++)
        KITH_ASSERT(w->counts[i] == 0);
    if (w->counts[KITH_DNS_QUESTION] == UINT16_MAX)
        return KITH_ERR_LIMIT;
    if (write_name(w, name, w->compress) != 0 || kith__write_u16(&w->w, type) != 0 ||
        kith__write_u16(&w->w, class_code) != 0) {
        kith__dns_writer_rollback(w, &mark);
        return KITH_ERR_TOO_LARGE;
    }
    w->counts[KITH_DNS_QUESTION]++;
    return 0;
}

/** A record in progress: begin, any writing of data, end. */
struct draft {
    struct kith_dns_mark mark;
    enum kith_dns_section section;
    size_t data_at; /* where the data begin */
    int err;        /* the first */
};

static struct draft begin(struct kith_dns_writer *w, const struct kith_dns_owner *owner, uint16_t type)
{
    struct draft draft = { .mark = kith__dns_writer_mark(w), .section = owner->section };

    KITH_ASSERT(owner->section > KITH_DNS_QUESTION && owner->section < KITH_DNS_SECTIONS);
    for (size_t i = owner->section + 1u; i < KITH_DNS_SECTIONS; i++)
        KITH_ASSERT(w->counts[i] == 0);
    if (w->counts[owner->section] == UINT16_MAX) {
        draft.err = KITH_ERR_LIMIT;
        return draft;
    }
    draft.err = write_name(w, owner->name, w->compress);
    if (draft.err == 0 && kith__writer_left(&w->w) < RECORD_FIXED_SIZE)
        draft.err = KITH_ERR_TOO_LARGE;
    if (draft.err != 0)
        return draft;
    KITH_ASSERT(kith__write_u16(&w->w, type) == 0 && kith__write_u16(&w->w, owner->class_code) == 0 &&
                kith__write_u32(&w->w, owner->ttl_s) == 0 && kith__write_u16(&w->w, 0) == 0);
    draft.data_at = kith__writer_size(&w->w);
    return draft;
}

static void put_bytes(struct kith_dns_writer *w, struct draft *draft, const void *bytes, size_t size)
{
    if (draft->err == 0)
        draft->err = kith__write_bytes(&w->w, bytes, size);
}

static void put_u16(struct kith_dns_writer *w, struct draft *draft, uint16_t value)
{
    if (draft->err == 0)
        draft->err = kith__write_u16(&w->w, value);
}

static void put_u32(struct kith_dns_writer *w, struct draft *draft, uint32_t value)
{
    if (draft->err == 0)
        draft->err = kith__write_u32(&w->w, value);
}

static void put_name(struct kith_dns_writer *w, struct draft *draft, const struct kith_dns_name *name, bool compress)
{
    if (draft->err == 0)
        draft->err = write_name(w, name, compress);
}

/** Counts the record, or takes all of it back. */
static int end(struct kith_dns_writer *w, const struct draft *draft)
{
    size_t size;

    if (draft->err != 0) {
        kith__dns_writer_rollback(w, &draft->mark);
        return draft->err;
    }
    size = kith__writer_size(&w->w) - draft->data_at; /* the message is smaller than 65,536 */
    w->w.begin[draft->data_at - 2] = (uint8_t)(size >> 8);
    w->w.begin[draft->data_at - 1] = (uint8_t)size;
    w->counts[draft->section]++;
    return 0;
}

int kith__dns_write_raw(struct kith_dns_writer *w, const struct kith_dns_owner *owner, uint16_t type,
                        struct kith_slice rdata)
{
    struct draft draft = begin(w, owner, type);

    put_bytes(w, &draft, rdata.ptr, rdata.size);
    return end(w, &draft);
}

int kith__dns_write_ip(struct kith_dns_writer *w, const struct kith_dns_owner *owner, const struct kith_sockaddr *ip)
{
    if (ip->family == KITH_FAMILY_V4)
        return kith__dns_write_raw(w, owner, KITH_DNS_A, (struct kith_slice) { ip->ip, 4 });
    if (ip->family == KITH_FAMILY_V6)
        return kith__dns_write_raw(w, owner, KITH_DNS_AAAA, (struct kith_slice) { ip->ip, 16 });
    return KITH_ERR_INVALID;
}

int kith__dns_write_name(struct kith_dns_writer *w, const struct kith_dns_owner *owner, uint16_t type,
                         const struct kith_dns_name *name)
{
    struct draft draft;

    KITH_ASSERT(type == KITH_DNS_NS || type == KITH_DNS_CNAME || type == KITH_DNS_PTR);
    draft = begin(w, owner, type);
    put_name(w, &draft, name, w->compress);
    return end(w, &draft);
}

int kith__dns_write_txt(struct kith_dns_writer *w, const struct kith_dns_owner *owner, const struct kith_slice *strings,
                        size_t count)
{
    static const struct kith_slice nothing = { NULL, 0 };
    struct draft draft;

    for (size_t i = 0; i < count; i++)
        if (strings[i].size > KITH_DNS_STRING_SIZE_MAX)
            return KITH_ERR_INVALID;
    if (count == 0) {
        strings = &nothing;
        count = 1;
    }
    draft = begin(w, owner, KITH_DNS_TXT);
    for (size_t i = 0; i < count; i++) {
        put_bytes(w, &draft, (const uint8_t[]) { (uint8_t)strings[i].size }, 1);
        put_bytes(w, &draft, strings[i].ptr, strings[i].size);
    }
    return end(w, &draft);
}

int kith__dns_write_srv(struct kith_dns_writer *w, const struct kith_dns_owner *owner, const struct kith_dns_srv *srv)
{
    struct draft draft = begin(w, owner, KITH_DNS_SRV);

    put_u16(w, &draft, srv->priority);
    put_u16(w, &draft, srv->weight);
    put_u16(w, &draft, srv->port);
    put_name(w, &draft, &srv->target, false);
    return end(w, &draft);
}

int kith__dns_write_soa(struct kith_dns_writer *w, const struct kith_dns_owner *owner, const struct kith_dns_soa *soa)
{
    struct draft draft = begin(w, owner, KITH_DNS_SOA);

    put_name(w, &draft, &soa->mname, w->compress);
    put_name(w, &draft, &soa->rname, w->compress);
    put_u32(w, &draft, soa->serial);
    put_u32(w, &draft, soa->refresh_s);
    put_u32(w, &draft, soa->retry_s);
    put_u32(w, &draft, soa->expire_s);
    put_u32(w, &draft, soa->minimum_s);
    return end(w, &draft);
}

int kith__dns_write_opt(struct kith_dns_writer *w, const struct kith_dns_opt *opt)
{
    struct kith_dns_name root;
    struct kith_dns_owner owner = { .name = &root, .section = KITH_DNS_ADDITIONAL, .class_code = opt->udp_size };

    kith__dns_name_root(&root);
    owner.ttl_s = (uint32_t)opt->rcode_upper << 24 | (uint32_t)opt->version << 16 | (opt->dnssec_ok ? 0x8000u : 0u);
    return kith__dns_write_raw(w, &owner, KITH_DNS_OPT, opt->options);
}

/**
 * Types whose data may hold pointers: `skip` octets, `strings` character-strings, `names`, `tail` octets, nothing else. What we
 * write may have pointers only in those of RFC 1035 (`compress`). Source: RFC 3597, 4.
 */
static const struct shape {
    uint8_t type, skip, strings, names, tail;
    bool compress;
} shapes[] = {
    { KITH_DNS_NS, 0, 0, 1, 0, true },     { 3 /* MD */, 0, 0, 1, 0, true },      { 4 /* MF */, 0, 0, 1, 0, true },
    { KITH_DNS_CNAME, 0, 0, 1, 0, true },  { KITH_DNS_SOA, 0, 0, 2, 20, true },   { 7 /* MB */, 0, 0, 1, 0, true },
    { 8 /* MG */, 0, 0, 1, 0, true },      { 9 /* MR */, 0, 0, 1, 0, true },      { KITH_DNS_PTR, 0, 0, 1, 0, true },
    { 14 /* MINFO */, 0, 0, 2, 0, true },  { KITH_DNS_MX, 2, 0, 1, 0, true },     { 17 /* RP */, 0, 0, 2, 0, false },
    { 18 /* AFSDB */, 2, 0, 1, 0, false }, { 21 /* RT */, 2, 0, 1, 0, false },    { 26 /* PX */, 2, 0, 2, 0, false },
    { KITH_DNS_SRV, 6, 0, 1, 0, false },   { 35 /* NAPTR */, 4, 3, 1, 0, false }, { 36 /* KX */, 2, 0, 1, 0, false },
    { 39 /* DNAME */, 0, 0, 1, 0, false },
};

static const struct shape *shape_of(uint16_t type)
{
    for (size_t i = 0; i < KITH_COUNT(shapes); i++)
        if (shapes[i].type == type)
            return &shapes[i];
    return NULL;
}

/** What stands before the names. */
static int head_size(const struct shape *shape, struct kith_slice rdata, size_t *out)
{
    struct kith_reader r = kith__reader_of_slice(rdata);
    struct kith_slice string;

    if (kith__read_skip(&r, shape->skip) != 0)
        return KITH_ERR_TRUNCATED;
    for (unsigned i = 0; i < shape->strings; i++)
        if (kith__dns_next_string(&r, &string) != 0)
            return KITH_ERR_TRUNCATED;
    *out = rdata.size - kith__reader_left(&r);
    return 0;
}

/** Data of this shape, with pointers followed; draft->err. */
static void copy_shaped(struct kith_dns_writer *w, struct draft *draft, const struct shape *shape,
                        const struct kith_dns_record *record)
{
    size_t begin_at = (size_t)(record->rdata.ptr - record->message.ptr), at = 0;
    struct kith_dns_name name;

    if (draft->err == 0)
        draft->err = head_size(shape, record->rdata, &at);
    if (draft->err != 0)
        return;
    put_bytes(w, draft, record->rdata.ptr, at);
    at += begin_at;
    for (unsigned i = 0; i < shape->names && draft->err == 0; i++) {
        draft->err = kith__dns_read_name(record->message, &at, &name);
        put_name(w, draft, &name, w->compress && shape->compress);
    }
    if (draft->err != 0)
        return;
    if (at + shape->tail != begin_at + record->rdata.size)
        draft->err = KITH_ERR_PARSE;
    else
        put_bytes(w, draft, record->message.ptr + at, shape->tail);
}

int kith__dns_write_copy(struct kith_dns_writer *w, const struct kith_dns_owner *owner,
                         const struct kith_dns_record *record)
{
    const struct shape *shape = shape_of(record->type);
    struct draft draft;

    if (shape == NULL)
        return kith__dns_write_raw(w, owner, record->type, record->rdata);
    draft = begin(w, owner, record->type);
    copy_shaped(w, &draft, shape, record);
    return end(w, &draft);
}
