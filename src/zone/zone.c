/* What a lookup server knows without any packet. */
#include "zone/zone.h"

#include "base/mem.h"
#include <stdlib.h>

static int fail(struct kith_zone_problem *problem, int err, const char *what)
{
    problem->what = what;
    return err;
}

/* ---- Texts ---- */

/* The next word of a text; false: there is none. */
static bool next_word(const char **text, struct kith_slice *out)
{
    const char *at = *text;
    size_t size = 0;

    while (*at == ' ' || *at == '\t')
        at++;
    while (at[size] != 0 && at[size] != ' ' && at[size] != '\t')
        size++;
    *out = (struct kith_slice) { (const uint8_t *)at, size };
    *text = at + size;
    return size != 0;
}

static int parse_number(struct kith_slice word, uint32_t *out)
{
    uint64_t value = 0;

    for (size_t i = 0; i < word.size; i++) {
        if (word.ptr[i] < '0' || word.ptr[i] > '9')
            return KITH_ERR_PARSE;
        value = value * 10 + (word.ptr[i] - '0');
        if (value > UINT32_MAX)
            return KITH_ERR_PARSE;
    }
    *out = (uint32_t)value;
    return 0;
}

static int parse_soa(const char *text, struct kith_dns_soa *out)
{
    struct kith_dns_name *names[] = { &out->mname, &out->rname };
    uint32_t *numbers[] = { &out->serial, &out->refresh_s, &out->retry_s, &out->expire_s, &out->minimum_s };
    struct kith_slice word;
    int err;

    for (size_t i = 0; i < KITH_COUNT(names); i++) {
        if (!next_word(&text, &word))
            return KITH_ERR_PARSE;
        if ((err = kith__dns_name_parse((const char *)word.ptr, word.size, names[i])) != 0)
            return err;
    }
    for (size_t i = 0; i < KITH_COUNT(numbers); i++)
        if (!next_word(&text, &word) || parse_number(word, numbers[i]) != 0)
            return KITH_ERR_PARSE;
    return next_word(&text, &word) ? KITH_ERR_PARSE : 0;
}

static int default_soa(const struct kith_dns_name *origin, const struct kith_zone_origin *made,
                       struct kith_dns_soa *out)
{
    static const uint8_t ns1[] = "ns1", hostmaster[] = "hostmaster";
    int err;

    *out = (struct kith_dns_soa) { .mname = *origin,
                                   .rname = *origin,
                                   .refresh_s = 10800,
                                   .retry_s = 3600,
                                   .expire_s = 604800,
                                   .minimum_s = KITH_ZONE_NEGATIVE_TTL_S };
    if (made->name_server_count != 0)
        out->mname = made->name_servers[0];
    else if ((err = kith__dns_name_prepend(&out->mname, (struct kith_slice) { ns1, 3 })) != 0)
        return err;
    return kith__dns_name_prepend(&out->rname, (struct kith_slice) { hostmaster, 10 });
}

/* ---- Origins ---- */

static int read_addresses(const struct kith_dns_origin *from, struct kith_zone_origin *to,
                          struct kith_zone_problem *problem)
{
    if (from->address_count > KITH_DNS_SERVER_APEX_MAX || (from->address_count != 0 && from->addresses == NULL))
        return fail(problem, KITH_ERR_INVALID, "the number of its addresses");
    for (size_t i = 0; i < from->address_count; i++) {
        if (from->addresses[i].family != KITH_FAMILY_V4 && from->addresses[i].family != KITH_FAMILY_V6)
            return fail(problem, KITH_ERR_INVALID, "an address");
        to->addresses[i] = from->addresses[i];
    }
    to->address_count = from->address_count;
    return 0;
}

static int read_name_servers(const struct kith_dns_origin *from, struct kith_zone_origin *to,
                             struct kith_zone_problem *problem)
{
    int err;

    if (from->name_server_count > KITH_DNS_SERVER_APEX_MAX ||
        (from->name_server_count != 0 && from->name_servers == NULL))
        return fail(problem, KITH_ERR_INVALID, "the number of its name servers");
    for (size_t i = 0; i < from->name_server_count; i++) {
        const char *text = from->name_servers[i] != NULL ? from->name_servers[i] : "";

        if ((err = kith__dns_name_parse(text, strlen(text), &to->name_servers[i])) != 0)
            return fail(problem, err, "a name server");
    }
    to->name_server_count = from->name_server_count;
    return 0;
}

static int read_origin(const struct kith_dns_origin *from, struct kith_zone_origin *to,
                       struct kith_zone_problem *problem)
{
    const char *name = from->name != NULL ? from->name : "";
    int err;

    if ((err = kith__dns_name_parse(name, strlen(name), &to->name)) != 0)
        return fail(problem, err, "the name");
    to->label_count = kith__dns_name_label_count(&to->name);
    to->ttl_s = from->ttl_s != 0 ? from->ttl_s : KITH_ZONE_TTL_S;
    if (to->ttl_s > INT32_MAX) /* RFC 2181, 8 */
        return fail(problem, KITH_ERR_INVALID, "the TTL");
    if ((err = read_addresses(from, to, problem)) != 0 || (err = read_name_servers(from, to, problem)) != 0)
        return err;
    err = from->soa != NULL ? parse_soa(from->soa, &to->soa) : default_soa(&to->name, to, &to->soa);
    if (err != 0)
        return fail(problem, err, "the SOA record");
    if (to->name_server_count == 0) {
        to->name_servers[0] = to->soa.mname;
        to->name_server_count = 1;
    }
    return 0;
}

static int compare(const void *a, const void *b)
{
    size_t x = ((const struct kith_zone_origin *)a)->label_count, y = ((const struct kith_zone_origin *)b)->label_count;

    return x < y ? 1 : x > y ? -1 : 0;
}

int kith__zone_new(const struct kith_mem *mem, const struct kith_dns_origin *origins, size_t count,
                   struct kith_zone **out, struct kith_zone_problem *problem)
{
    struct kith_zone *zone;
    int err = 0;

    *problem = (struct kith_zone_problem) { 0, "" };
    if (count == 0 || count > KITH_DNS_SERVER_ORIGINS_MAX || origins == NULL)
        return fail(problem, KITH_ERR_INVALID, "the number of origins");
    if ((zone = kith__alloc_zero(mem, sizeof *zone + count * sizeof zone->origins[0])) == NULL)
        return KITH_ERR_NOMEM;
    zone->mem = mem;
    atomic_init(&zone->references, 1);
    zone->origin_count = count;
    for (size_t i = 0; err == 0 && i < count; i++) {
        problem->origin = i;
        err = read_origin(&origins[i], &zone->origins[i], problem);
        for (size_t j = 0; err == 0 && j < i; j++)
            if (kith__dns_name_equal(&zone->origins[i].name, &zone->origins[j].name))
                err = fail(problem, KITH_ERR_INVALID, "the name, which is there twice");
    }
    if (err != 0) {
        kith__free(mem, zone);
        return err;
    }
    qsort(zone->origins, count, sizeof zone->origins[0], compare);
    *out = zone;
    return 0;
}

struct kith_zone *kith__zone_retain(struct kith_zone *zone)
{
    atomic_fetch_add_explicit(&zone->references, 1, memory_order_relaxed);
    return zone;
}

void kith__zone_release(struct kith_zone *zone)
{
    if (zone != NULL && atomic_fetch_sub_explicit(&zone->references, 1, memory_order_acq_rel) == 1)
        kith__free(zone->mem, zone);
}

const struct kith_zone_origin *kith__zone_find(const struct kith_zone *zone, const struct kith_dns_name *name)
{
    for (size_t i = 0; i < zone->origin_count; i++)
        if (kith__dns_name_is_within(name, &zone->origins[i].name))
            return &zone->origins[i];
    return NULL;
}
