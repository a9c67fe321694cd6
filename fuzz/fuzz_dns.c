/*
 * DNS messages. What was read lies inside the message; a message that is written of the records that were read says the same,
 * with compression and without; what the helpers take of a record's data survives writing; names have one text.
 */
#include "codec/dns.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check_name(const struct kith_dns_name *name)
{
    char text[KITH_DNS_NAME_TEXT_SIZE];
    struct kith_dns_name copy, joined;
    size_t count = kith__dns_name_label_count(name);

    KITH_ASSERT(name->size >= 1 && count <= KITH_DNS_LABELS_MAX);
    kith__dns_name_format(name, text);
    KITH_ASSERT(strlen(text) < sizeof text && kith__dns_name_parse(text, strlen(text), &copy) == 0);
    KITH_ASSERT(kith__dns_name_same(name, &copy) && kith__dns_name_is_within(name, &copy));
    kith__dns_name_lower(&copy);
    KITH_ASSERT(kith__dns_name_equal(name, &copy));
    kith__dns_name_head(name, count / 2, &copy);
    kith__dns_name_strip(name, count / 2, &joined);
    KITH_ASSERT(kith__dns_name_is_within(name, &joined));
    KITH_ASSERT(kith__dns_name_join(&copy, &joined, &joined) == 0 && kith__dns_name_same(name, &joined));
}

static bool lies_inside(struct kith_slice part, struct kith_slice whole)
{
    return part.size == 0 || (part.ptr >= whole.ptr && part.ptr + part.size <= whole.ptr + whole.size);
}

/** Writes what the helpers make of the data; false: they make nothing of it. */
static bool write_meaning(struct kith_dns_writer *w, const struct kith_dns_owner *owner,
                          const struct kith_dns_record *record, int *err)
{
    struct kith_dns_srv srv;
    struct kith_dns_soa soa;
    struct kith_dns_opt opt;
    struct kith_dns_name name;
    struct kith_sockaddr ip;

    if (kith__dns_rdata_srv(record, &srv) == 0) {
        *err = kith__dns_write_srv(w, owner, &srv);
    } else if (kith__dns_rdata_soa(record, &soa) == 0) {
        *err = kith__dns_write_soa(w, owner, &soa);
    } else if (kith__dns_rdata_name(record, &name) == 0) {
        *err = kith__dns_write_name(w, owner, record->type, &name);
    } else if (kith__dns_rdata_ip(record, &ip) == 0) {
        *err = kith__dns_write_ip(w, owner, &ip);
    } else if (record->section == KITH_DNS_ADDITIONAL && (record->ttl_s & 0x7fff) == 0 &&
               kith__dns_rdata_opt(record, &opt) == 0) {
        KITH_ASSERT(lies_inside(opt.options, record->rdata));
        *err = kith__dns_write_opt(w, &opt);
    } else {
        return false;
    }
    return true;
}

static void read_strings(const struct kith_dns_record *record)
{
    struct kith_reader r = kith__reader_of_slice(record->rdata);
    struct kith_slice string;
    uint8_t joined[1024];
    size_t size = 0, sum = 0;

    while (kith__dns_next_string(&r, &string) == 0) {
        KITH_ASSERT(lies_inside(string, record->rdata));
        sum += string.size;
    }
    if (kith__dns_rdata_txt(record, joined, sizeof joined, &size) == 0)
        KITH_ASSERT(size == sum && size <= sizeof joined);
}

/** Writes a message again, record by record; data that are malformed are left out. Returns its size, 0: no room. */
static size_t rewrite(struct kith_slice message, bool compress, bool by_meaning, uint8_t *out, size_t cap)
{
    struct kith_dns_reader r;
    struct kith_dns_writer w;
    struct kith_dns_question question;
    struct kith_dns_record record;
    int err;

    if (kith__dns_reader_init(&r, message) != 0)
        return 0;
    KITH_ASSERT(kith__dns_writer_init(&w, out, cap, &r.header) == 0);
    w.compress = compress;
    while (kith__dns_next_question(&r, &question) == 0) {
        check_name(&question.name);
        if (kith__dns_write_question(&w, &question.name, question.type, question.class_code) != 0)
            return 0;
    }
    while (kith__dns_next_record(&r, &record) == 0) {
        const struct kith_dns_owner owner = { &record.name, record.section, record.class_code, record.ttl_s };

        KITH_ASSERT(lies_inside(record.rdata, message) && r.at <= message.size);
        check_name(&record.name);
        read_strings(&record);
        if (!by_meaning || !write_meaning(&w, &owner, &record, &err))
            err = kith__dns_write_copy(&w, &owner, &record);
        if (err == KITH_ERR_TOO_LARGE)
            return 0;
        KITH_ASSERT(err == 0 || err == KITH_ERR_PARSE || err == KITH_ERR_TRUNCATED);
    }
    return kith__dns_writer_finish(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static uint8_t plain[KITH_DNS_MESSAGE_SIZE_MAX], small[KITH_DNS_MESSAGE_SIZE_MAX], again[KITH_DNS_MESSAGE_SIZE_MAX];
    struct kith_slice message = { bytes, size };
    size_t plain_size, small_size, again_size;

    if ((plain_size = rewrite(message, false, false, plain, sizeof plain)) == 0)
        return 0;
    small_size = rewrite(message, true, true, small, sizeof small);
    KITH_ASSERT(small_size != 0 && small_size <= plain_size);
    again_size = rewrite((struct kith_slice) { small, small_size }, false, false, again, sizeof again);
    KITH_ASSERT(again_size == plain_size && memcmp(again, plain, plain_size) == 0);
    return 0;
}
