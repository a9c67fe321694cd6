/* The answering core of a lookup server. */
#include "zone/answer.h"

#include "base/assert.h"
#include "codec/base32.h"

enum { KEY_LABEL_SIZE = 52, TTL_ANY_S = 3600 };

/* Types that stand for other things than records. */
enum { TYPE_TKEY = 249, TYPE_TSIG = 250, TYPE_MAILB = 253, TYPE_MAILA = 254 };

/* One query on its way to its answer. */
struct job {
    const struct kith_zone *zone;
    const struct kith_zone_source *source;
    struct kith_zone_answer *answer;
    struct kith_dns_header header; /* of the query */
    struct kith_dns_question question;
    struct kith_dns_opt opt;
    bool has_question, has_opt;
    const struct kith_zone_origin *origin;
    size_t own_labels; /* of the name, before the origin */
    struct kith_dns_writer w;
    size_t size_max; /* of the answer, with OPT */
    uint32_t ttl_max_s;
};

bool kith__zone_key(struct kith_slice label, struct kith_id *out)
{
    char text[KEY_LABEL_SIZE];

    if (label.size != KEY_LABEL_SIZE)
        return false;
    for (size_t i = 0; i < KEY_LABEL_SIZE; i++) {
        char c = (char)label.ptr[i];

        text[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
    return kith__base32_decode(KITH_BASE32_Z, text, KEY_LABEL_SIZE, out->bytes) == 0;
}

/* ---- The answer's frame ---- */

static void begin(struct job *job, uint8_t *out, size_t capacity)
{
    struct kith_dns_header header = { .id = job->header.id };
    size_t room = KITH_MIN(capacity, job->size_max) - (job->has_opt ? KITH_DNS_OPT_SIZE : 0);

    header.flags = KITH_DNS_QR | (job->header.flags & (KITH_DNS_OPCODE_MASK | KITH_DNS_RD | KITH_DNS_CD));
    KITH_ASSERT(kith__dns_writer_init(&job->w, out, capacity, &header) == 0);
    kith__dns_writer_limit(&job->w, room);
    /* The question stands at offset 12 in full, with the case that it came in, and fits in every size. */
    if (job->has_question)
        KITH_ASSERT(
            kith__dns_write_question(&job->w, &job->question.name, job->question.type, job->question.class_code) == 0);
}

static void set_rcode(struct job *job, unsigned rcode)
{
    job->answer->rcode = (uint8_t)rcode;
    kith__dns_writer_flags(&job->w, KITH_DNS_RCODE_MASK, (uint16_t)(rcode & KITH_DNS_RCODE_MASK));
}

static void fail(struct job *job, unsigned rcode)
{
    job->answer->outcome = KITH_ZONE_FAILED;
    set_rcode(job, rcode);
}

/* What does not fit is not sent in part: only TC. That also keeps what is sent to a forged address small. */
static void truncate_at(struct job *job, const struct kith_dns_mark *mark)
{
    kith__dns_writer_rollback(&job->w, mark);
    kith__dns_writer_flags(&job->w, 0, KITH_DNS_TC);
    job->answer->is_truncated = true;
}

static void finish(struct job *job)
{
    struct kith_dns_opt opt = { .udp_size = KITH_ZONE_UDP_SIZE,
                                .rcode_upper = (uint8_t)(job->answer->rcode >> 4),
                                .dnssec_ok = job->opt.dnssec_ok };

    if (job->has_opt) {
        kith__dns_writer_limit(&job->w, job->size_max);
        KITH_ASSERT(kith__dns_write_opt(&job->w, &opt) == 0);
    }
    job->answer->size = kith__dns_writer_finish(&job->w);
}

/* ---- Static records ---- */

/* The origin's name as it stands in the question, so that it needs no further bytes and keeps its case. */
static void origin_name(const struct job *job, struct kith_dns_name *out)
{
    kith__dns_name_strip(&job->question.name, job->own_labels, out);
}

static int write_soa(struct job *job, enum kith_dns_section section, uint32_t ttl_s)
{
    struct kith_dns_name name;
    struct kith_dns_owner owner = { &name, section, KITH_DNS_IN, ttl_s };

    origin_name(job, &name);
    return kith__dns_write_soa(&job->w, &owner, &job->origin->soa);
}

static void negative(struct job *job, unsigned rcode)
{
    struct kith_dns_mark mark = kith__dns_writer_mark(&job->w);

    job->answer->outcome = KITH_ZONE_NOT_FOUND;
    set_rcode(job, rcode);
    /* How long the answer may be kept: RFC 2308, 3. */
    if (write_soa(job, KITH_DNS_AUTHORITY, KITH_MIN(job->origin->ttl_s, job->origin->soa.minimum_s)) != 0)
        truncate_at(job, &mark);
}

/* One record instead of all: RFC 8482, 4.2. */
static int write_any(struct job *job)
{
    static const uint8_t hinfo[] = { 7, 'R', 'F', 'C', '8', '4', '8', '2', 0 };
    struct kith_dns_owner owner = { &job->question.name, KITH_DNS_ANSWER, KITH_DNS_IN,
                                    KITH_MIN((uint32_t)TTL_ANY_S, job->ttl_max_s) };

    return kith__dns_write_raw(&job->w, &owner, KITH_DNS_HINFO, (struct kith_slice) { hinfo, sizeof hinfo });
}

static int write_addresses(struct job *job, const struct kith_dns_owner *owner, unsigned type)
{
    const struct kith_zone_origin *origin = job->origin;
    int err = 0;

    for (size_t i = 0; err == 0 && i < origin->address_count; i++)
        if ((origin->addresses[i].family == KITH_FAMILY_V4) == (type == KITH_DNS_A))
            err = kith__dns_write_ip(&job->w, owner, &origin->addresses[i]);
    return err;
}

/* Addresses of name servers in the origin; as many as fit. */
static void write_glue(struct job *job)
{
    const struct kith_zone_origin *origin = job->origin;
    bool fits = true;

    for (size_t i = 0; fits && i < origin->name_server_count; i++) {
        struct kith_dns_owner owner = { &origin->name_servers[i], KITH_DNS_ADDITIONAL, KITH_DNS_IN, origin->ttl_s };

        if (kith__dns_name_is_within(&origin->name_servers[i], &origin->name))
            fits = write_addresses(job, &owner, KITH_DNS_A) == 0 && write_addresses(job, &owner, KITH_DNS_AAAA) == 0;
    }
}

static int write_name_servers(struct job *job, const struct kith_dns_owner *owner)
{
    const struct kith_zone_origin *origin = job->origin;
    int err = 0;

    for (size_t i = 0; err == 0 && i < origin->name_server_count; i++)
        err = kith__dns_write_name(&job->w, owner, KITH_DNS_NS, &origin->name_servers[i]);
    if (err == 0)
        write_glue(job);
    return err;
}

/* Ends an answer whose records were written (err 0) or did not fit. */
static void positive(struct job *job, int err, const struct kith_dns_mark *mark)
{
    job->answer->outcome = KITH_ZONE_FOUND;
    if (err != 0)
        truncate_at(job, mark);
    else if (job->w.counts[KITH_DNS_ANSWER] == 0)
        negative(job, KITH_DNS_NOERROR);
}

/* At the origin itself (is_apex), or at one of its name servers. */
static void answer_static(struct job *job, bool is_apex)
{
    struct kith_dns_owner owner = { &job->question.name, KITH_DNS_ANSWER, KITH_DNS_IN, job->origin->ttl_s };
    struct kith_dns_mark mark = kith__dns_writer_mark(&job->w);
    int err = 0;

    kith__dns_writer_flags(&job->w, 0, KITH_DNS_AA);
    switch (job->question.type) {
    case KITH_DNS_SOA:
        err = is_apex ? write_soa(job, KITH_DNS_ANSWER, job->origin->ttl_s) : 0;
        break;
    case KITH_DNS_NS:
        err = is_apex ? write_name_servers(job, &owner) : 0;
        break;
    case KITH_DNS_A:
    case KITH_DNS_AAAA:
        err = write_addresses(job, &owner, job->question.type);
        break;
    case KITH_DNS_ANY:
        err = write_any(job);
        break;
    default:
        break;
    }
    positive(job, err, &mark);
}

/* A name in an origin that has no key where it should. */
static void answer_keyless(struct job *job)
{
    bool is_between = false;

    for (size_t i = 0; i < job->origin->name_server_count; i++) {
        const struct kith_dns_name *server = &job->origin->name_servers[i];

        if (!kith__dns_name_is_within(server, &job->question.name))
            continue;
        if (server->size == job->question.name.size) {
            answer_static(job, false);
            return;
        }
        is_between = true; /* it has something below it: it exists, but has no records */
    }
    /* With the root as an origin, everybody else's names are ours to refuse, not to deny. */
    if (!is_between && job->origin->label_count == 0) {
        fail(job, KITH_DNS_REFUSED);
        return;
    }
    kith__dns_writer_flags(&job->w, 0, KITH_DNS_AA);
    negative(job, is_between ? KITH_DNS_NOERROR : KITH_DNS_NXDOMAIN);
}

/* ---- Records in packets ---- */

/* What a packet has for one name. */
struct matches {
    size_t count;   /* of the type that is wanted */
    uint32_t ttl_s; /* the smallest of them: those of a set are the same (RFC 2181, 5.2) */
    bool exists;    /* something is there, or below it */
    bool has_cname,
        leads_out; /* it is an alias; and of what is not in the packet, or not to be found in reasonable time */
    uint32_t cname_ttl_s;
    struct kith_dns_name cname; /* its target */
};

/* What is served of a packet. Delegations and zones of their own cannot be; the rest are no records of data. */
static bool is_served(const struct kith_dns_record *record)
{
    return record->section == KITH_DNS_ANSWER && record->class_code == KITH_DNS_IN && record->type != KITH_DNS_SOA &&
           record->type != KITH_DNS_NS && record->type != KITH_DNS_OPT && record->type != 0 &&
           !(record->type >= 128 && record->type <= 255);
}

static uint32_t cap_ttl(const struct job *job, uint32_t ttl_s)
{
    return ttl_s > INT32_MAX ? 0 : KITH_MIN(ttl_s, job->ttl_max_s); /* RFC 2181, 8 */
}

static int find(const struct job *job, struct kith_slice dns, const struct kith_dns_name *name, unsigned type,
                struct matches *out)
{
    struct kith_dns_reader reader;
    struct kith_dns_record record;
    int err;

    out->count = 0;
    out->ttl_s = UINT32_MAX;
    out->exists = out->has_cname = out->leads_out = false;
    if ((err = kith__dns_reader_init(&reader, dns)) != 0)
        return err;
    while ((err = kith__dns_next_record(&reader, &record)) == 0) {
        if (!is_served(&record) || !kith__dns_name_is_within(&record.name, name))
            continue;
        out->exists = true;
        if (record.name.size != name->size)
            continue;
        if (record.type == type) {
            out->count++;
            out->ttl_s = KITH_MIN(out->ttl_s, cap_ttl(job, record.ttl_s));
        }
        if (record.type == KITH_DNS_CNAME && !out->has_cname) {
            out->has_cname = kith__dns_rdata_name(&record, &out->cname) == 0;
            out->cname_ttl_s = cap_ttl(job, record.ttl_s);
        }
    }
    return err == KITH_ERR_END ? 0 : err;
}

static int copy_matches(struct job *job, struct kith_slice dns, const struct kith_dns_name *name,
                        const struct kith_dns_owner *owner)
{
    struct kith_dns_reader reader;
    struct kith_dns_record record;
    int err = kith__dns_reader_init(&reader, dns);

    while (err == 0 && (err = kith__dns_next_record(&reader, &record)) == 0)
        if (record.type == job->question.type && is_served(&record) && kith__dns_name_equal(&record.name, name))
            err = kith__dns_write_copy(&job->w, owner, &record);
    return err == KITH_ERR_END ? 0 : err;
}

/* A chain of aliases inside the packet. */
struct chain {
    struct kith_dns_name key;   /* "<z32>.": what is below it lies in the packet */
    struct kith_dns_name name;  /* in the packet, of the present link */
    struct kith_dns_name owner; /* the same in our answer */
};

/* Steps to a target, which is rewritten to lie in the origin if it lies in the packet. False: it leads elsewhere. */
static bool step(const struct job *job, struct chain *chain, struct kith_dns_name *target)
{
    chain->name = *target;
    if (!kith__dns_name_is_within(target, &chain->key))
        return false;
    if (kith__dns_name_join(target, &job->origin->name, &chain->owner) != 0)
        return false; /* too long to be asked for: it stays as it is */
    *target = chain->owner;
    return true;
}

/* Writes an alias and steps to what it is for; *leads_out. */
static int write_link(struct job *job, struct chain *chain, struct matches *match)
{
    struct kith_dns_name from = chain->owner;
    struct kith_dns_owner owner = { &from, KITH_DNS_ANSWER, KITH_DNS_IN, match->cname_ttl_s };

    match->leads_out = !step(job, chain, &match->cname);
    return kith__dns_write_name(&job->w, &owner, KITH_DNS_CNAME, &match->cname);
}

/* The records of a name, and of what it is an alias for. Errors: TOO_LARGE; PARSE, TRUNCATED: a malformed packet. */
static int write_chain(struct job *job, struct kith_slice dns, struct chain *chain, struct matches *last)
{
    bool wants_alias = job->question.type == KITH_DNS_CNAME;
    int err;

    for (unsigned links = 0;; links++) {
        struct kith_dns_owner owner = { &chain->owner, KITH_DNS_ANSWER, KITH_DNS_IN, 0 };

        if ((err = find(job, dns, &chain->name, job->question.type, last)) != 0)
            return err;
        owner.ttl_s = last->ttl_s;
        if (last->count != 0 && !wants_alias)
            return copy_matches(job, dns, &chain->name, &owner);
        if (!last->has_cname)
            return 0;
        if (links == KITH_ZONE_CNAMES_MAX) {
            last->leads_out = true;
            return 0;
        }
        if ((err = write_link(job, chain, last)) != 0 || last->leads_out || wants_alias)
            return err;
    }
}

/* A chain that ends in the packet, at a name that has no such records. The rcode is that of the last name: RFC 6604, 3. */
static void end_in_nothing(struct job *job, bool exists)
{
    if (!exists)
        set_rcode(job, KITH_DNS_NXDOMAIN);
    /* Without it, if it does not fit, the answer is not to be kept; that is all. */
    (void)write_soa(job, KITH_DNS_AUTHORITY, KITH_MIN(job->origin->ttl_s, job->origin->soa.minimum_s));
}

static void answer_packet(struct job *job, const struct kith_pkarr *packet)
{
    struct kith_dns_mark mark = kith__dns_writer_mark(&job->w);
    struct kith_slice dns = kith__pkarr_dns(packet);
    struct matches last;
    struct chain chain;
    int err;

    chain.owner = job->question.name;
    kith__dns_name_head(&job->question.name, job->own_labels, &chain.name);
    kith__dns_name_strip(&chain.name, job->own_labels - 1, &chain.key);
    if (job->question.type == KITH_DNS_ANY) {
        if ((err = find(job, dns, &chain.name, KITH_DNS_ANY, &last)) == 0 && last.exists)
            err = write_any(job);
    } else {
        err = write_chain(job, dns, &chain, &last);
    }
    if (err != 0 && err != KITH_ERR_TOO_LARGE) {
        kith__dns_writer_rollback(&job->w, &mark);
        fail(job, KITH_DNS_SERVFAIL);
        return;
    }
    kith__dns_writer_flags(&job->w, 0, KITH_DNS_AA);
    if (err == 0 && job->w.counts[KITH_DNS_ANSWER] == 0)
        /* The key itself is there as soon as there is a packet, with nothing in it though. */
        negative(job, last.exists || job->own_labels == 1 ? KITH_DNS_NOERROR : KITH_DNS_NXDOMAIN);
    else
        positive(job, err, &mark);
    if (err == 0 && job->answer->outcome == KITH_ZONE_FOUND && last.count == 0 && !last.leads_out &&
        job->question.type != KITH_DNS_ANY)
        end_in_nothing(job, last.exists);
}

static void answer_key(struct job *job, const struct kith_id *id)
{
    struct kith_pkarr packet;
    int err = job->source->get(job->source->ctx, id, &packet);

    switch (err) {
    case 0:
        answer_packet(job, &packet);
        return;
    case KITH_ERR_NOT_FOUND:
        kith__dns_writer_flags(&job->w, 0, KITH_DNS_AA);
        negative(job, KITH_DNS_NXDOMAIN);
        return;
    case KITH_ERR_AGAIN:
        job->answer->outcome = KITH_ZONE_WAIT;
        job->answer->id = *id;
        return;
    default:
        fail(job, KITH_DNS_SERVFAIL);
        return;
    }
}

/* ---- Queries ---- */

static void answer_question(struct job *job)
{
    const struct kith_dns_question *question = &job->question;
    size_t labels = kith__dns_name_label_count(&question->name);
    struct kith_id id;

    switch (question->type) {
    case KITH_DNS_AXFR:
    case KITH_DNS_IXFR:
        fail(job, KITH_DNS_REFUSED);
        return;
    case TYPE_TKEY:
    case TYPE_TSIG:
    case TYPE_MAILB:
    case TYPE_MAILA:
        fail(job, KITH_DNS_NOTIMP);
        return;
    case KITH_DNS_OPT:
    case 0:
        fail(job, KITH_DNS_FORMERR);
        return;
    default:
        break;
    }
    job->origin = question->class_code == KITH_DNS_IN ? kith__zone_find(job->zone, &question->name) : NULL;
    if (job->origin == NULL) {
        fail(job, KITH_DNS_REFUSED);
        return;
    }
    job->own_labels = labels - job->origin->label_count;
    if (job->own_labels == 0) {
        answer_static(job, true);
    } else if (kith__zone_key(kith__dns_name_label(&question->name, job->own_labels - 1), &id)) {
        answer_key(job, &id);
    } else {
        answer_keyless(job);
    }
}

/* EDNS of the query, if there is any; what else is behind the question does not matter. Errors: it is malformed. */
static int read_opt(struct job *job, struct kith_dns_reader *reader)
{
    struct kith_dns_record record;
    int err;

    while ((err = kith__dns_next_record(reader, &record)) == 0) {
        if (record.section != KITH_DNS_ADDITIONAL || record.type != KITH_DNS_OPT)
            continue;
        if (job->has_opt)
            return KITH_ERR_PARSE; /* RFC 6891, 6.1.1: one */
        if ((err = kith__dns_rdata_opt(&record, &job->opt)) != 0)
            return err;
        job->has_opt = true;
    }
    return err == KITH_ERR_END ? 0 : err;
}

/* Reads the query. Returns the rcode that ends it here, or NOERROR. */
static unsigned read_query(struct job *job, struct kith_dns_reader *reader)
{
    if (kith__dns_opcode(&job->header) != KITH_DNS_OPCODE_QUERY)
        return KITH_DNS_NOTIMP;
    if (job->header.counts[KITH_DNS_QUESTION] != 1 || kith__dns_next_question(reader, &job->question) != 0)
        return KITH_DNS_FORMERR;
    job->has_question = true;
    if (read_opt(job, reader) != 0) {
        job->has_opt = false;
        return KITH_DNS_FORMERR;
    }
    return job->has_opt && job->opt.version != 0 ? KITH_DNS_BADVERS : KITH_DNS_NOERROR;
}

static size_t udp_size(const struct job *job)
{
    if (!job->has_opt)
        return KITH_DNS_UDP_SIZE_MIN;
    return KITH_MIN(KITH_MAX((size_t)job->opt.udp_size, (size_t)KITH_DNS_UDP_SIZE_MIN), (size_t)KITH_ZONE_UDP_SIZE);
}

void kith__zone_answer(const struct kith_zone *zone, const struct kith_zone_source *source, struct kith_slice query,
                       bool is_udp, uint8_t *out, size_t capacity, struct kith_zone_answer *answer)
{
    struct kith_dns_reader reader;
    struct job job;
    unsigned rcode;

    KITH_ASSERT(capacity >= KITH_ZONE_UDP_SIZE);
    answer->outcome = KITH_ZONE_SILENT;
    answer->rcode = KITH_DNS_NOERROR;
    answer->is_truncated = false;
    answer->size = 0;
    if (kith__dns_reader_init(&reader, query) != 0 || (reader.header.flags & KITH_DNS_QR) != 0)
        return;
    job.zone = zone;
    job.source = source;
    job.ttl_max_s = source->ttl_max_s != 0 ? source->ttl_max_s : KITH_ZONE_TTL_MAX_S;
    job.answer = answer;
    job.header = reader.header;
    job.has_question = job.has_opt = job.opt.dnssec_ok = false;
    rcode = read_query(&job, &reader);
    job.size_max = is_udp ? udp_size(&job) : (size_t)KITH_DNS_MESSAGE_SIZE_MAX;
    job.size_max = KITH_MIN(job.size_max, capacity);
    begin(&job, out, capacity);
    if (rcode != KITH_DNS_NOERROR)
        fail(&job, rcode);
    else
        answer_question(&job);
    if (answer->outcome != KITH_ZONE_WAIT)
        finish(&job);
}

size_t kith__zone_shorten(struct kith_slice query, uint8_t *out, size_t capacity)
{
    struct kith_zone_answer answer = { 0 };
    struct kith_dns_reader reader;
    struct job job = { .answer = &answer };

    if (kith__dns_reader_init(&reader, query) != 0 || (reader.header.flags & KITH_DNS_QR) != 0)
        return 0;
    job.header = reader.header;
    job.size_max = KITH_MIN(capacity, (size_t)KITH_DNS_UDP_SIZE_MIN);
    job.has_question = reader.header.counts[KITH_DNS_QUESTION] == 1 &&
                       kith__dns_next_question(&reader, &job.question) == 0;
    begin(&job, out, capacity);
    kith__dns_writer_flags(&job.w, 0, KITH_DNS_TC);
    return kith__dns_writer_finish(&job.w);
}
