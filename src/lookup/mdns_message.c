#include "lookup/mdns_message.h"

#include "base/sockaddr.h"
#include "codec/base32.h"
#include "lookup/attrs.h"

#include <stdio.h>

enum {
    RELAY_SIZE_MAX = 249,     /* spec/03, 10.1: key and value have 254 bytes at most */
    USER_DATA_SIZE_MAX = 245, /* likewise; KITH_USER_DATA_SIZE_MAX is no more */
    CLASS_MASK = 0xffff & ~KITH_DNS_FLUSH
};

static const struct kith_dns_name local = { 7, "\5local" };

/* ---- Names ---- */

static void write_label(const struct kith_id *id, char text[KITH_MDNS_LABEL_SIZE + 1])
{
    kith__base32_encode(KITH_BASE32_LOWER, id->bytes, KITH_ID_SIZE, text);
}

/** <id>.<service>. The service leaves room for it: see kith__mdns_names_init. */
static void instance_of(const struct kith_id *id, const struct kith_dns_name *service, struct kith_dns_name *out)
{
    char text[KITH_MDNS_LABEL_SIZE + 1];
    int err;

    write_label(id, text);
    *out = *service;
    err = kith__dns_name_prepend(out, (struct kith_slice) { (const uint8_t *)text, KITH_MDNS_LABEL_SIZE });
    KITH_ASSERT(err == 0);
}

/** <id>-<port>.local. */
static void host_of(const struct kith_id *id, uint16_t port, struct kith_dns_name *out)
{
    char text[KITH_MDNS_LABEL_SIZE + 7];
    int err;

    write_label(id, text);
    snprintf(text + KITH_MDNS_LABEL_SIZE, sizeof text - KITH_MDNS_LABEL_SIZE, "-%u", (unsigned)port);
    *out = local;
    err = kith__dns_name_prepend(out, (struct kith_slice) { (const uint8_t *)text, strlen(text) });
    KITH_ASSERT(err == 0);
}

int kith__mdns_names_init(struct kith_mdns_names *names, const struct kith_id *own, const char *service)
{
    char text[128];
    int size = snprintf(text, sizeof text, "_%s._udp.local.", service != NULL ? service : "irohv1");
    int err;

    if (size < 0 || (size_t)size >= sizeof text)
        return KITH_ERR_TOO_LARGE;
    names->own = *own;
    if ((err = kith__dns_name_parse(text, (size_t)size, &names->service)) == 0)
        instance_of(own, &names->service, &names->instance);
    return err;
}

/** The id whose records have this name. False: it is no endpoint's. */
static bool id_of(const struct kith_mdns_names *names, const struct kith_dns_name *name, struct kith_id *out)
{
    struct kith_dns_name rest;
    struct kith_slice label;

    if (kith__dns_name_label_count(name) < 2)
        return false;
    kith__dns_name_strip(name, 1, &rest);
    label = kith__dns_name_label(name, 0);
    return kith__dns_name_equal(&rest, &names->service) && label.size == KITH_MDNS_LABEL_SIZE &&
           kith__base32_decode(KITH_BASE32_LOWER, (const char *)label.ptr, label.size, out->bytes) == 0;
}

/* ---- Reading ---- */

/** A message while it is read. */
struct reading {
    const struct kith_mdns_names *names;
    const struct kith_mem *mem;
    uint32_t interface;
    struct kith_mdns_heard *out;
    struct host { /* of SRV records: whose addresses are those of which name */
        struct kith_dns_name name;
        uint16_t port;
        size_t index; /* in said */
    } hosts[KITH_MDNS_PORTS_MAX];
    size_t host_count;
};

static int read_questions(struct reading *reading, struct kith_dns_reader *r)
{
    struct kith_dns_question question;
    int err;

    while ((err = kith__dns_next_question(r, &question)) == 0) {
        bool is_any = question.type == KITH_DNS_ANY;

        if ((question.class_code & CLASS_MASK) != KITH_DNS_IN)
            continue;
        if (kith__dns_name_equal(&question.name, &reading->names->service))
            reading->out->asks_all |= question.type == KITH_DNS_PTR || is_any;
        else if (kith__dns_name_equal(&question.name, &reading->names->instance))
            reading->out->asks_us |= question.type == KITH_DNS_SRV || question.type == KITH_DNS_TXT || is_any;
    }
    return err == KITH_ERR_END ? 0 : err;
}

/** What the asker knows already: RFC 6762, 7.1. */
static void read_known(struct reading *reading, const struct kith_dns_record *record)
{
    struct kith_dns_name name;

    if (record->section == KITH_DNS_ANSWER && kith__dns_name_equal(&record->name, &reading->names->service) &&
        kith__dns_rdata_name(record, &name) == 0 && kith__dns_name_equal(&name, &reading->names->instance))
        reading->out->knows_us |= record->ttl_s >= KITH_MDNS_TTL_S / 2;
}

/** Where in `said` what is said about this id belongs. NULL: no room. */
static struct kith_mdns_said *said_about(struct reading *reading, const struct kith_id *id)
{
    struct kith_mdns_heard *out = reading->out;

    for (size_t i = 0; i < out->count; i++)
        if (memcmp(&out->said[i].info.addr.id, id, sizeof *id) == 0)
            return &out->said[i];
    if (out->count == KITH_MDNS_SAID_MAX)
        return NULL;
    out->said[out->count] = (struct kith_mdns_said) { .ttl_s = 0 };
    kith__lookup_info_init(&out->said[out->count].info, reading->mem, id);
    return &out->said[out->count++];
}

static void read_srv(struct reading *reading, const struct kith_dns_record *record, struct kith_mdns_said *said)
{
    struct kith_dns_srv srv;

    if (kith__dns_rdata_srv(record, &srv) != 0 || reading->host_count == KITH_MDNS_PORTS_MAX) {
        reading->out->ignored++;
        return;
    }
    if (srv.port == 0) {
        said->is_goodbye |= record->ttl_s == 0;
        return;
    }
    reading->hosts[reading->host_count++] =
        (struct host) { .name = srv.target, .port = srv.port, .index = (size_t)(said - reading->out->said) };
}

/** A relay, user data; the first of each counts, and what others than endpoints would say is passed over. */
static int read_txt(struct reading *reading, const struct kith_dns_record *record, struct kith_mdns_said *said)
{
    struct kith_reader strings = kith__reader_of_slice(record->rdata);
    struct kith_slice text;
    int err;

    while ((err = kith__dns_next_string(&strings, &text)) == 0) {
        bool is_relay = text.size > 6 && memcmp(text.ptr, "relay=", 6) == 0;

        if (text.size == 0)
            continue;
        if (is_relay ? kith__endpoint_addr_first_relay(&said->info.addr).size != 0
                     : text.size < 10 || memcmp(text.ptr, "user-data=", 10) != 0) {
            reading->out->ignored++;
            continue;
        }
        if ((err = kith__attrs_take(&said->info, text, &reading->out->ignored)) != 0)
            return err;
    }
    reading->out->ignored += err != KITH_ERR_END;
    return 0;
}

/** The id that an answer is about. False: it is about something else. */
static bool id_of_answer(const struct reading *reading, const struct kith_dns_record *record, struct kith_id *out)
{
    struct kith_dns_name instance;

    if (record->section != KITH_DNS_ANSWER || (record->class_code & CLASS_MASK) != KITH_DNS_IN)
        return false;
    if (record->type == KITH_DNS_SRV || record->type == KITH_DNS_TXT)
        return id_of(reading->names, &record->name, out);
    return record->type == KITH_DNS_PTR && kith__dns_name_equal(&record->name, &reading->names->service) &&
           kith__dns_rdata_name(record, &instance) == 0 && id_of(reading->names, &instance, out);
}

/** PTR, SRV and TXT of an endpoint. NOMEM. */
static int read_answer(struct reading *reading, const struct kith_dns_record *record)
{
    struct kith_mdns_said *said;
    struct kith_id id;

    if (!id_of_answer(reading, record, &id))
        return 0;
    if (memcmp(&id, &reading->names->own, sizeof id) == 0) {
        reading->out->is_own = true;
        return 0;
    }
    if ((said = said_about(reading, &id)) == NULL) {
        reading->out->ignored++;
        return 0;
    }
    said->ttl_s = KITH_MAX(said->ttl_s, record->ttl_s);
    if (record->type == KITH_DNS_TXT)
        return read_txt(reading, record, said);
    if (record->type == KITH_DNS_SRV)
        read_srv(reading, record, said);
    else
        said->has_ptr = true;
    return 0;
}

/** An address that somebody can send to. */
static bool is_usable(const struct kith_sockaddr *ip)
{
    static const uint8_t none[16], mapped[12] = { [10] = 0xff, [11] = 0xff };

    if (memcmp(ip->ip, none, sizeof none) == 0)
        return false;
    return ip->family == KITH_FAMILY_V4 ? ip->ip[0] < 224 : ip->ip[0] != 0xff && memcmp(ip->ip, mapped, 12) != 0;
}

/** An address of hosts that SRV records named. NOMEM. */
static int read_address(struct reading *reading, const struct kith_dns_record *record)
{
    struct kith_sockaddr ip;
    int err = 0;

    if ((record->type != KITH_DNS_A && record->type != KITH_DNS_AAAA) ||
        (record->class_code & CLASS_MASK) != KITH_DNS_IN || record->section == KITH_DNS_AUTHORITY)
        return 0;
    if (kith__dns_rdata_ip(record, &ip) != 0 || !is_usable(&ip)) {
        reading->out->ignored++;
        return 0;
    }
    if (kith__ip_is_link_local_v6(ip.ip) && ip.family == KITH_FAMILY_V6)
        ip.scope_id = reading->interface;
    for (size_t i = 0; err == 0 && i < reading->host_count; i++) {
        const struct host *host = &reading->hosts[i];
        struct kith_endpoint_addr *addr = &reading->out->said[host->index].info.addr;

        if (!kith__dns_name_equal(&host->name, &record->name))
            continue;
        ip.port = host->port;
        if (addr->count < KITH_MDNS_ADDRS_MAX)
            err = kith__endpoint_addr_add_ip(addr, &ip);
        else
            reading->out->ignored++;
    }
    return err;
}

/** Goes through all records, from where r stands. */
static int each_record(struct reading *reading, struct kith_dns_reader r,
                       int (*take)(struct reading *reading, const struct kith_dns_record *record))
{
    struct kith_dns_record record;
    int err = 0;

    for (size_t i = 0; err == 0; i++) {
        if ((err = kith__dns_next_record(&r, &record)) == 0)
            err = i < KITH_MDNS_RECORDS_MAX ? take(reading, &record) : KITH_ERR_PARSE;
    }
    return err == KITH_ERR_END ? 0 : err;
}

static int take_known(struct reading *reading, const struct kith_dns_record *record)
{
    read_known(reading, record);
    return 0;
}

/** Relays come first in the set, and there are no custom addresses. */
static bool has_ip(const struct kith_endpoint_addr *addr)
{
    return addr->count != 0 && addr->addrs[addr->count - 1].kind == KITH_TRANSPORT_IP;
}

/** Without an address only those say something who have a TTL, or take their leave: see the head of the header. */
static void drop_empty(struct kith_mdns_heard *out)
{
    size_t kept = 0;

    for (size_t i = 0; i < out->count; i++) {
        struct kith_mdns_said *said = &out->said[i];

        said->is_goodbye = said->is_goodbye && said->ttl_s == 0 && said->info.addr.count == 0;
        if (said->is_goodbye || has_ip(&said->info.addr) || (said->info.addr.count != 0 && said->ttl_s != 0)) {
            if (said->has_ptr)
                said->ttl_s = 0;
            out->said[kept++] = *said;
        } else {
            kith__lookup_info_dispose(&said->info);
            out->ignored++;
        }
    }
    out->count = kept;
}

int kith__mdns_read(const struct kith_mdns_names *names, struct kith_slice bytes, uint32_t interface,
                    const struct kith_mem *mem, struct kith_mdns_heard *out)
{
    struct reading reading = { .names = names, .mem = mem, .interface = interface, .out = out };
    struct kith_dns_reader r;
    int err;

    if ((err = kith__dns_reader_init(&r, bytes)) != 0)
        return err;
    out->asks_all = out->asks_us = out->knows_us = out->is_own = false;
    out->count = out->ignored = 0;
    if ((err = read_questions(&reading, &r)) != 0)
        return err;
    if (out->asks_all || out->asks_us)
        return each_record(&reading, r, take_known);
    if ((err = each_record(&reading, r, read_answer)) == 0 && reading.host_count != 0)
        err = each_record(&reading, r, read_address);
    if (err == 0)
        drop_empty(out);
    else
        kith__mdns_heard_dispose(out);
    return err;
}

void kith__mdns_heard_dispose(struct kith_mdns_heard *heard)
{
    for (size_t i = 0; i < heard->count; i++)
        kith__lookup_info_dispose(&heard->said[i].info);
    heard->count = 0;
}

/* ---- Writing ---- */

/** What is to be said, in the order in which it is. */
struct saying {
    const struct kith_mdns_names *names;
    const struct kith_lookup_info *info;
    struct kith_dns_writer w;
    struct kith_sockaddr ips[KITH_MDNS_ADDRS_MAX]; /* IPv4 first */
    size_t ip_count;
    uint32_t ttl_s;
    size_t left_out;
};

static struct kith_dns_owner owner_of(const struct kith_dns_name *name, enum kith_dns_section section, uint32_t ttl_s)
{
    return (struct kith_dns_owner) { .name = name, .section = section, .class_code = KITH_DNS_IN, .ttl_s = ttl_s };
}

static void begin(struct kith_dns_writer *w, uint16_t flags, uint8_t *out)
{
    struct kith_dns_header header = { .flags = flags };
    int err = kith__dns_writer_init(w, out, KITH_MDNS_MESSAGE_SIZE, &header);

    KITH_ASSERT(err == 0);
}

/** The addresses that mean something to those who hear it. */
static void choose_ips(struct saying *saying, uint32_t interface)
{
    const struct kith_endpoint_addr *addr = &saying->info->addr;

    for (size_t i = 0; i < addr->count; i++) {
        const struct kith_sockaddr *ip = &addr->addrs[i].ip;

        if (addr->addrs[i].kind != KITH_TRANSPORT_IP || ip->port == 0 ||
            (kith__ip_is_link_local_v6(ip->ip) && ip->family == KITH_FAMILY_V6 && ip->scope_id != interface))
            continue;
        if (saying->ip_count < KITH_MDNS_ADDRS_MAX)
            saying->ips[saying->ip_count++] = *ip;
        else
            saying->left_out++;
    }
}

/** The smallest port above `port`; 0: there is none. */
static uint16_t next_port(const struct saying *saying, uint16_t port)
{
    uint16_t next = 0;

    for (size_t i = 0; i < saying->ip_count; i++)
        if (saying->ips[i].port > port && (next == 0 || saying->ips[i].port < next))
            next = saying->ips[i].port;
    return next;
}

static void say_port(struct saying *saying, uint16_t port)
{
    struct kith_dns_owner owner = owner_of(&saying->names->instance, KITH_DNS_ANSWER, saying->ttl_s);
    struct kith_dns_srv srv = { .port = port };

    host_of(&saying->names->own, port, &srv.target);
    saying->left_out += kith__dns_write_srv(&saying->w, &owner, &srv) != 0;
}

static void say_texts(struct saying *saying)
{
    struct kith_dns_owner owner = owner_of(&saying->names->instance, KITH_DNS_ANSWER, saying->ttl_s);
    struct kith_slice relay = kith__endpoint_addr_first_relay(&saying->info->addr);
    char texts[2][KITH_DNS_STRING_SIZE_MAX + 1];
    struct kith_slice strings[2];
    size_t count = 0;

    if (relay.size > RELAY_SIZE_MAX)
        saying->left_out++;
    else if (relay.size != 0) {
        snprintf(texts[count], sizeof texts[count], "relay=%.*s", (int)relay.size, (const char *)relay.ptr);
        count++;
    }
    if (saying->info->user_data_size > USER_DATA_SIZE_MAX)
        saying->left_out++;
    else if (saying->info->user_data_size != 0) {
        snprintf(texts[count], sizeof texts[count], "user-data=%s", saying->info->user_data);
        count++;
    }
    for (size_t i = 0; i < count; i++)
        strings[i] = (struct kith_slice) { (const uint8_t *)texts[i], strlen(texts[i]) };
    if (count != 0)
        saying->left_out += kith__dns_write_txt(&saying->w, &owner, strings, count) != 0;
}

/**
 * The addresses of a port: link-local ones among the answers, the others behind them. Peers of other makers read the latter only,
 * and would dial the former without their scope: then they hang.
 */
static void say_ips(struct saying *saying, uint16_t port, enum kith_dns_section section)
{
    struct kith_dns_name host;
    struct kith_dns_owner owner = owner_of(&host, section, saying->ttl_s);

    host_of(&saying->names->own, port, &host);
    for (size_t i = 0; i < saying->ip_count; i++)
        if (saying->ips[i].port == port && (saying->ips[i].scope_id != 0) == (section == KITH_DNS_ANSWER))
            saying->left_out += kith__dns_write_ip(&saying->w, &owner, &saying->ips[i]) != 0;
}

size_t kith__mdns_write_response(const struct kith_mdns_names *names, const struct kith_lookup_info *info,
                                 uint32_t interface, uint32_t ttl_s, uint8_t *out, size_t *left_out)
{
    struct saying saying = { .names = names, .info = info, .ttl_s = ttl_s };

    begin(&saying.w, KITH_DNS_QR | KITH_DNS_AA, out);
    choose_ips(&saying, interface);
    for (uint16_t port = 0; (port = next_port(&saying, port)) != 0;)
        say_port(&saying, port);
    say_texts(&saying);
    for (uint16_t port = 0; (port = next_port(&saying, port)) != 0;)
        say_ips(&saying, port, KITH_DNS_ANSWER);
    for (uint16_t port = 0; (port = next_port(&saying, port)) != 0;)
        say_ips(&saying, port, KITH_DNS_ADDITIONAL);
    *left_out = saying.left_out;
    return saying.w.counts[KITH_DNS_ANSWER] != 0 ? kith__dns_writer_finish(&saying.w) : 0;
}

size_t kith__mdns_write_goodbye(const struct kith_mdns_names *names, uint8_t *out)
{
    struct kith_dns_owner owner = owner_of(&names->instance, KITH_DNS_ANSWER, 0);
    struct kith_dns_srv srv = { .port = 0 };
    struct kith_dns_writer w;
    int err;

    begin(&w, KITH_DNS_QR | KITH_DNS_AA, out);
    kith__dns_name_root(&srv.target);
    err = kith__dns_write_srv(&w, &owner, &srv);
    KITH_ASSERT(err == 0);
    return kith__dns_writer_finish(&w);
}

void kith__mdns_query_begin(struct kith_mdns_query *query, const struct kith_mdns_names *names, uint8_t *out)
{
    int err;

    query->names = names;
    begin(&query->w, 0, out);
    err = kith__dns_write_question(&query->w, &names->service, KITH_DNS_PTR, KITH_DNS_IN);
    KITH_ASSERT(err == 0);
}

bool kith__mdns_query_want(struct kith_mdns_query *query, const struct kith_id *id)
{
    struct kith_dns_name name;

    instance_of(id, &query->names->service, &name);
    return kith__dns_write_question(&query->w, &name, KITH_DNS_SRV, KITH_DNS_IN) == 0;
}

bool kith__mdns_query_known(struct kith_mdns_query *query, const struct kith_id *id, uint32_t ttl_s)
{
    struct kith_dns_owner owner = owner_of(&query->names->service, KITH_DNS_ANSWER, ttl_s);
    struct kith_dns_name name;

    instance_of(id, &query->names->service, &name);
    return kith__dns_write_name(&query->w, &owner, KITH_DNS_PTR, &name) == 0;
}

size_t kith__mdns_query_end(struct kith_mdns_query *query)
{
    return kith__dns_writer_finish(&query->w);
}
