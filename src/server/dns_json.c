/* DNS as JSON. */
#include "server/dns_json.h"

#include "base/mem.h"
#include "http/head.h"
#include <jansson.h>
#include <stdio.h>

static const struct {
    const char *name;
    uint16_t type;
} types[] = { { "A", KITH_DNS_A },       { "AAAA", KITH_DNS_AAAA },   { "TXT", KITH_DNS_TXT },
              { "NS", KITH_DNS_NS },     { "SOA", KITH_DNS_SOA },     { "CNAME", KITH_DNS_CNAME },
              { "PTR", KITH_DNS_PTR },   { "MX", KITH_DNS_MX },       { "SRV", KITH_DNS_SRV },
              { "SVCB", KITH_DNS_SVCB }, { "HTTPS", KITH_DNS_HTTPS }, { "HINFO", KITH_DNS_HINFO },
              { "ANY", KITH_DNS_ANY },   { "AXFR", KITH_DNS_AXFR } };

/* ---- Questions ---- */

static int parse_type(struct kith_slice text, uint16_t *out)
{
    unsigned value = 0;

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (kith__http_is_nocase(text, types[i].name)) {
            *out = types[i].type;
            return 0;
        }
    }
    if (text.size == 0 || text.size > 5)
        return KITH_ERR_PARSE;
    for (size_t i = 0; i < text.size; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9')
            return KITH_ERR_PARSE;
        value = value * 10 + (unsigned)(text.ptr[i] - '0');
    }
    if (value > UINT16_MAX)
        return KITH_ERR_PARSE;
    *out = (uint16_t)value;
    return 0;
}

/* A parameter that is true or false; neither: as if it were not there. */
static bool flag(struct kith_slice parameters, const char *name, bool otherwise)
{
    uint8_t text[8];
    size_t size;
    struct kith_slice slice;

    if (kith__http_query_get(parameters, name, text, sizeof text, &size) != 0)
        return otherwise;
    slice = (struct kith_slice) { text, size };
    if (kith__http_is_nocase(slice, "true") || kith__http_is(slice, "1"))
        return true;
    return kith__http_is_nocase(slice, "false") || kith__http_is(slice, "0") ? false : otherwise;
}

int kith__dns_json_query(struct kith_slice parameters, uint8_t *out, size_t capacity, size_t *size)
{
    uint8_t text[KITH_DNS_NAME_TEXT_SIZE], type_text[16];
    struct kith_dns_header header = { 0 };
    struct kith_dns_opt opt = { .udp_size = KITH_DNS_MESSAGE_SIZE_MAX };
    struct kith_dns_writer w;
    struct kith_dns_name name;
    size_t text_size, type_size;
    uint16_t type = KITH_DNS_A;
    int err;

    if ((err = kith__http_query_get(parameters, "name", text, sizeof text, &text_size)) != 0 ||
        (err = kith__dns_name_parse((const char *)text, text_size, &name)) != 0)
        return err;
    err = kith__http_query_get(parameters, "type", type_text, sizeof type_text, &type_size);
    if (err == 0)
        err = parse_type((struct kith_slice) { type_text, type_size }, &type);
    if (err != 0 && err != KITH_ERR_NOT_FOUND)
        return err;
    header.flags = (uint16_t)((flag(parameters, "rd", true) ? KITH_DNS_RD : 0) |
                              (flag(parameters, "cd", false) ? KITH_DNS_CD : 0));
    opt.dnssec_ok = flag(parameters, "do", false);
    if ((err = kith__dns_writer_init(&w, out, capacity, &header)) != 0 ||
        (err = kith__dns_write_question(&w, &name, type, KITH_DNS_IN)) != 0 ||
        (opt.dnssec_ok && (err = kith__dns_write_opt(&w, &opt)) != 0))
        return err;
    *size = kith__dns_writer_finish(&w);
    return 0;
}

/* ---- Data as text ---- */

static int append_text(struct kith_buf *out, const char *text)
{
    return kith__buf_append(out, text, strlen(text));
}

static int append_name(struct kith_buf *out, const struct kith_dns_name *name)
{
    char text[KITH_DNS_NAME_TEXT_SIZE];

    return append_text(out, kith__dns_name_format(name, text));
}

static int append_ip(struct kith_buf *out, const struct kith_dns_record *record)
{
    char text[KITH_SOCKADDR_TEXT_SIZE], *end;
    struct kith_sockaddr ip;
    int err = kith__dns_rdata_ip(record, &ip);

    if (err != 0)
        return err;
    kith_sockaddr_format(&ip, text);
    if ((end = strrchr(text, ip.family == KITH_FAMILY_V6 ? ']' : ':')) != NULL)
        *end = 0;
    return append_text(out, ip.family == KITH_FAMILY_V6 ? text + 1 : text);
}

static int append_soa(struct kith_buf *out, const struct kith_dns_record *record)
{
    struct kith_dns_soa soa;
    char text[80];
    int err = kith__dns_rdata_soa(record, &soa);

    snprintf(text, sizeof text, " %u %u %u %u %u", err == 0 ? soa.serial : 0, err == 0 ? soa.refresh_s : 0,
             err == 0 ? soa.retry_s : 0, err == 0 ? soa.expire_s : 0, err == 0 ? soa.minimum_s : 0);
    if (err != 0 || (err = append_name(out, &soa.mname)) != 0 || (err = append_text(out, " ")) != 0 ||
        (err = append_name(out, &soa.rname)) != 0)
        return err;
    return append_text(out, text);
}

static int append_srv(struct kith_buf *out, const struct kith_dns_record *record)
{
    struct kith_dns_srv srv;
    char text[32];
    int err = kith__dns_rdata_srv(record, &srv);

    if (err != 0)
        return err;
    snprintf(text, sizeof text, "%u %u %u ", srv.priority, srv.weight, srv.port);
    if ((err = append_text(out, text)) != 0)
        return err;
    return append_name(out, &srv.target);
}

/* The strings one behind the other; what is no UTF-8 text cannot stand in JSON, and becomes \DDD. */
static int append_txt(struct kith_buf *out, const struct kith_dns_record *record)
{
    struct kith_reader rdata = kith__reader_of_slice(record->rdata);
    struct kith_slice string;
    char text[8];
    int err;

    while ((err = kith__dns_next_string(&rdata, &string)) == 0) {
        for (size_t i = 0; i < string.size; i++) {
            bool is_plain = string.ptr[i] >= ' ' && string.ptr[i] <= '~';

            snprintf(text, sizeof text, is_plain ? "%c" : "\\%03u", string.ptr[i]);
            if ((err = append_text(out, text)) != 0)
                return err;
        }
    }
    return err == KITH_ERR_END ? 0 : err;
}

/* RFC 3597, 5. */
static int append_unknown(struct kith_buf *out, const struct kith_dns_record *record)
{
    char text[32];
    int err;

    snprintf(text, sizeof text, "\\# %zu%s", record->rdata.size, record->rdata.size != 0 ? " " : "");
    err = append_text(out, text);
    for (size_t i = 0; err == 0 && i < record->rdata.size; i++) {
        snprintf(text, sizeof text, "%02x", record->rdata.ptr[i]);
        err = append_text(out, text);
    }
    return err;
}

int kith__dns_data_text(const struct kith_dns_record *record, struct kith_buf *out)
{
    struct kith_dns_name name;
    int err;

    switch (record->type) {
    case KITH_DNS_A:
    case KITH_DNS_AAAA:
        return append_ip(out, record);
    case KITH_DNS_TXT:
        return append_txt(out, record);
    case KITH_DNS_SOA:
        return append_soa(out, record);
    case KITH_DNS_SRV:
        return append_srv(out, record);
    case KITH_DNS_NS:
    case KITH_DNS_CNAME:
    case KITH_DNS_PTR:
        err = kith__dns_rdata_name(record, &name);
        return err == 0 ? append_name(out, &name) : err;
    default:
        return append_unknown(out, record);
    }
}

/* ---- Answers ---- */

static json_t *json_name(const struct kith_dns_name *name)
{
    char text[KITH_DNS_NAME_TEXT_SIZE];

    return json_string(kith__dns_name_format(name, text));
}

static int add_question(json_t *list, const struct kith_dns_question *question)
{
    json_t *entry = json_pack("{s:o, s:i}", "name", json_name(&question->name), "type", (int)question->type);

    return json_array_append_new(list, entry) == 0 ? 0 : KITH_ERR_NOMEM;
}

static int add_record(json_t *list, const struct kith_dns_record *record, const struct kith_mem *mem)
{
    struct kith_buf text = { .mem = mem };
    int err = kith__dns_data_text(record, &text);
    json_t *entry = NULL;

    if (err == 0)
        entry = json_pack("{s:o, s:i, s:I, s:s%}", "name", json_name(&record->name), "type", (int)record->type, "TTL",
                          (json_int_t)record->ttl_s, "data", text.size != 0 ? (const char *)text.ptr : "", text.size);
    kith__buf_dispose(&text);
    if (err != 0)
        return err;
    return json_array_append_new(list, entry) == 0 ? 0 : KITH_ERR_NOMEM;
}

static int fill(struct kith_dns_reader *reader, json_t *questions, json_t *answers, const struct kith_mem *mem)
{
    struct kith_dns_question question;
    struct kith_dns_record record;
    int err;

    while ((err = kith__dns_next_question(reader, &question)) == 0)
        if ((err = add_question(questions, &question)) != 0)
            return err;
    if (err != KITH_ERR_END)
        return err;
    while ((err = kith__dns_next_record(reader, &record)) == 0)
        if (record.section == KITH_DNS_ANSWER && (err = add_record(answers, &record, mem)) != 0)
            return err;
    return err == KITH_ERR_END ? 0 : err;
}

/* The whole object; NULL: no memory. Takes over questions and answers. */
static json_t *make_object(uint16_t flags, json_t *questions, json_t *answers)
{
    bool has_answers = json_array_size(answers) != 0;
    json_t *object = json_pack("{s:i, s:b, s:b, s:b, s:b, s:b, s:o, s:n, s:n}", "Status", flags & KITH_DNS_RCODE_MASK,
                               "TC", (flags & KITH_DNS_TC) != 0, "RD", (flags & KITH_DNS_RD) != 0, "RA",
                               (flags & KITH_DNS_RA) != 0, "AD", (flags & KITH_DNS_AD) != 0, "CD",
                               (flags & KITH_DNS_CD) != 0, "Question", questions, "Comment", "edns_client_subnet");

    if (object != NULL && has_answers && json_object_set(object, "Answer", answers) != 0) {
        json_decref(object);
        object = NULL;
    }
    json_decref(answers);
    return object;
}

int kith__dns_json_write(struct kith_slice message, struct kith_buf *out)
{
    struct kith_dns_reader reader;
    json_t *questions, *answers, *object;
    char *text;
    int err = kith__dns_reader_init(&reader, message);

    if (err != 0)
        return err;
    questions = json_array();
    answers = json_array();
    err = questions == NULL || answers == NULL ? KITH_ERR_NOMEM : fill(&reader, questions, answers, out->mem);
    if (err != 0) {
        json_decref(questions);
        json_decref(answers);
        return err;
    }
    if ((object = make_object(reader.header.flags, questions, answers)) == NULL)
        return KITH_ERR_NOMEM;
    text = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    if (text == NULL)
        return KITH_ERR_NOMEM;
    err = append_text(out, text);
    free(text);
    return err;
}
