#include "lookup/dns_answer.h"

#include "lookup/attrs.h"

enum { ATTR_SIZE_MAX = 4096 }; /* longer texts are no attribute; the longest is a URL */

/** The next record of the answer section with this type and class IN; type 0: any. END: there is none. */
static int next_answer(struct kith_dns_reader *r, uint16_t type, struct kith_dns_record *out)
{
    int err;

    for (;;) {
        if ((err = kith__dns_next_record(r, out)) != 0)
            return err == KITH_ERR_END ? err : KITH_ERR_PARSE;
        if (out->section != KITH_DNS_ANSWER)
            return KITH_ERR_END;
        if (type == 0 || (out->type == type && out->class_code == KITH_DNS_IN))
            return 0;
    }
}

/** PARSE if the data are not what their type says. */
static int check_data(const struct kith_dns_record *record)
{
    struct kith_reader strings = kith__reader_of_slice(record->rdata);
    struct kith_sockaddr ip;
    struct kith_slice string;
    int err;

    if (record->type == KITH_DNS_A || record->type == KITH_DNS_AAAA)
        return kith__dns_rdata_ip(record, &ip) == 0 ? 0 : KITH_ERR_PARSE;
    if (record->type != KITH_DNS_TXT)
        return 0;
    while ((err = kith__dns_next_string(&strings, &string)) == 0)
        ;
    return err == KITH_ERR_END ? 0 : KITH_ERR_PARSE;
}

int kith__dns_answer_check(struct kith_slice message, uint16_t type, uint32_t *ttl_s)
{
    struct kith_dns_reader r;
    struct kith_dns_record record;
    uint32_t ttl = KITH_DNS_TTL_MAX_S;
    bool has_found = false;
    int err;

    if (kith__dns_reader_init(&r, message) != 0)
        return KITH_ERR_PARSE;
    while ((err = next_answer(&r, 0, &record)) == 0) {
        if (record.class_code != KITH_DNS_IN)
            continue;
        if ((err = check_data(&record)) != 0)
            return err;
        has_found = has_found || record.type == type;
        ttl = KITH_MIN(ttl, record.ttl_s <= INT32_MAX ? record.ttl_s : 0); /* RFC 2181, 8 */
    }
    if (err != KITH_ERR_END)
        return err;
    if (!has_found)
        return KITH_ERR_NOT_FOUND;
    *ttl_s = ttl;
    return 0;
}

int kith__dns_answer_info(struct kith_slice message, struct kith_lookup_info *info, size_t *ignored)
{
    struct kith_dns_reader r;
    struct kith_dns_record record;
    uint8_t text[ATTR_SIZE_MAX];
    size_t size;
    int err;

    *ignored = 0;
    if (kith__dns_reader_init(&r, message) != 0)
        return 0;
    while (next_answer(&r, KITH_DNS_TXT, &record) == 0) {
        if (kith__dns_rdata_txt(&record, text, sizeof text, &size) != 0)
            ++*ignored;
        else if ((err = kith__attrs_take(info, (struct kith_slice) { text, size }, ignored)) != 0)
            return err;
    }
    return 0;
}

size_t kith__dns_answer_ips(struct kith_slice message, uint16_t type, struct kith_sockaddr *out, size_t cap)
{
    struct kith_dns_reader r;
    struct kith_dns_record record;
    size_t count = 0;

    if (kith__dns_reader_init(&r, message) != 0)
        return 0;
    while (count < cap && next_answer(&r, type, &record) == 0)
        if (kith__dns_rdata_ip(&record, &out[count]) == 0)
            count++;
    return count;
}
