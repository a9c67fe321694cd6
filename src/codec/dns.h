/**
 * DNS messages: a reader of untrusted bytes and a writer into a bounded buffer, for resolvers, servers, multicast and signed
 * packets. Nothing is allocated. Records of unknown types pass as raw data. Source: RFC 1035, 4; RFC 2782 (SRV); RFC 3596
 * (AAAA); RFC 3597 (unknown types); RFC 6891 (EDNS).
 */
#ifndef KITH_CODEC_DNS_H
#define KITH_CODEC_DNS_H

#include "codec/cursor.h"
#include "codec/dns_name.h"

enum {
    KITH_DNS_PORT = 53,
    KITH_DNS_MESSAGE_SIZE_MAX = 65535,
    KITH_DNS_UDP_SIZE_MIN = 512, /* what every receiver takes without EDNS */
    KITH_DNS_HEADER_SIZE = 12,
    KITH_DNS_OPT_SIZE = 11,                   /* an OPT record without options */
    KITH_DNS_JUMPS_MAX = KITH_DNS_LABELS_MAX, /* pointers followed for one name: in honest ones each leads to a label */
    KITH_DNS_STRING_SIZE_MAX = 255            /* a character-string */
};

/** Bits of the second word of the header. */
enum {
    KITH_DNS_QR = 0x8000, /* a response */
    KITH_DNS_OPCODE_MASK = 0x7800,
    KITH_DNS_OPCODE_SHIFT = 11,
    KITH_DNS_AA = 0x0400,
    KITH_DNS_TC = 0x0200,
    KITH_DNS_RD = 0x0100,
    KITH_DNS_RA = 0x0080,
    KITH_DNS_Z = 0x0040,
    KITH_DNS_AD = 0x0020,
    KITH_DNS_CD = 0x0010,
    KITH_DNS_RCODE_MASK = 0x000f
};

enum kith_dns_opcode {
    KITH_DNS_OPCODE_QUERY = 0,
    KITH_DNS_OPCODE_STATUS = 2,
    KITH_DNS_OPCODE_NOTIFY = 4,
    KITH_DNS_OPCODE_UPDATE = 5
};

enum kith_dns_rcode {
    KITH_DNS_NOERROR = 0,
    KITH_DNS_FORMERR = 1,
    KITH_DNS_SERVFAIL = 2,
    KITH_DNS_NXDOMAIN = 3,
    KITH_DNS_NOTIMP = 4,
    KITH_DNS_REFUSED = 5,
    KITH_DNS_BADVERS = 16 /* needs the upper bits in OPT */
};

enum kith_dns_type {
    KITH_DNS_A = 1,
    KITH_DNS_NS = 2,
    KITH_DNS_CNAME = 5,
    KITH_DNS_SOA = 6,
    KITH_DNS_PTR = 12,
    KITH_DNS_HINFO = 13,
    KITH_DNS_MX = 15,
    KITH_DNS_TXT = 16,
    KITH_DNS_AAAA = 28,
    KITH_DNS_SRV = 33,
    KITH_DNS_OPT = 41,
    KITH_DNS_SVCB = 64,
    KITH_DNS_HTTPS = 65,
    KITH_DNS_IXFR = 251,
    KITH_DNS_AXFR = 252,
    KITH_DNS_ANY = 255
};

enum kith_dns_class {
    KITH_DNS_IN = 1,
    KITH_DNS_CS = 2,
    KITH_DNS_CH = 3,
    KITH_DNS_HS = 4,
    KITH_DNS_CLASS_NONE = 254,
    KITH_DNS_CLASS_ANY = 255,
    KITH_DNS_FLUSH =
        0x8000 /* multicast: cache flush in records, unicast wanted in questions (RFC 6762, 10.2 and 5.4) */
};

enum kith_dns_section {
    KITH_DNS_QUESTION,
    KITH_DNS_ANSWER,
    KITH_DNS_AUTHORITY,
    KITH_DNS_ADDITIONAL,
    KITH_DNS_SECTIONS
};

struct kith_dns_header {
    uint16_t id, flags;
    uint16_t counts[KITH_DNS_SECTIONS]; /* as the header says; not written: the writer counts for itself */
};

static inline unsigned kith__dns_opcode(const struct kith_dns_header *header)
{
    return (header->flags & KITH_DNS_OPCODE_MASK) >> KITH_DNS_OPCODE_SHIFT;
}

struct kith_dns_question {
    struct kith_dns_name name;
    uint16_t type, class_code;
};

/** A record as it stands in a message. Borrows from the message. */
struct kith_dns_record {
    struct kith_dns_name name;
    enum kith_dns_section section;
    uint16_t type, class_code;
    uint32_t ttl_s;
    struct kith_slice rdata;   /* raw: names in it may point elsewhere in the message; see kith__dns_rdata_* */
    struct kith_slice message; /* all of it */
};

/* --- reading --- */

/** Goes through a message once, forward. Copy the struct to come back to a place. */
struct kith_dns_reader {
    struct kith_dns_header header;
    struct kith_slice message; /* borrowed */
    size_t at;
    uint16_t left[KITH_DNS_SECTIONS];
};

/** Reads the header. TRUNCATED: less than 12 bytes; TOO_LARGE: more than a message can have. Bytes behind the last record are not looked at. */
KITH_MUST_USE int kith__dns_reader_init(struct kith_dns_reader *r, struct kith_slice message);
/** The next question. END: there are no more; TRUNCATED, PARSE: malformed, and nothing behind it can be read. */
KITH_MUST_USE int kith__dns_next_question(struct kith_dns_reader *r, struct kith_dns_question *out);
/**
 * The next record of the answer, authority and additional sections, in this order; questions that were not read are passed over.
 * END, TRUNCATED, PARSE as above. The data are not looked into.
 */
KITH_MUST_USE int kith__dns_next_record(struct kith_dns_reader *r, struct kith_dns_record *out);
/**
 * A name that begins at *at of a message, with pointers followed wherever they lead, KITH_DNS_JUMPS_MAX of them; *at moves
 * behind it. TRUNCATED: beyond the end; PARSE: too long, too many jumps, a label type that does not exist.
 */
KITH_MUST_USE int kith__dns_read_name(struct kith_slice message, size_t *at, struct kith_dns_name *out);

struct kith_dns_srv {
    uint16_t priority, weight, port;
    struct kith_dns_name target;
};

struct kith_dns_soa {
    struct kith_dns_name mname, rname;
    uint32_t serial, refresh_s, retry_s, expire_s, minimum_s;
};

/** EDNS: what an OPT record says. Source: RFC 6891, 6.1.3. */
struct kith_dns_opt {
    uint16_t udp_size;         /* what the sender can take, as given: less than 512 means 512 */
    uint8_t rcode_upper;       /* bits 4..11 of the rcode */
    uint8_t version;           /* 0 is the only one there is */
    bool dnssec_ok;            /* DO */
    struct kith_slice options; /* raw; see kith__dns_next_option */
};

enum kith_dns_option {
    KITH_DNS_OPTION_SUBNET = 8,
    KITH_DNS_OPTION_COOKIE = 10,
    KITH_DNS_OPTION_KEEPALIVE = 11,
    KITH_DNS_OPTION_PADDING = 12,
    KITH_DNS_OPTION_ERROR = 15 /* extended errors, RFC 8914 */
};

/*
 * What the data of a record say. Each checks the type (INVALID: another one) and that the data are just this (PARSE or
 * TRUNCATED). *out is written only on success.
 */

/** A and AAAA; port 0. An IPv4-mapped IPv6 address stays one. */
KITH_MUST_USE int kith__dns_rdata_ip(const struct kith_dns_record *record, struct kith_sockaddr *out);
/** NS, CNAME, PTR. */
KITH_MUST_USE int kith__dns_rdata_name(const struct kith_dns_record *record, struct kith_dns_name *out);
KITH_MUST_USE int kith__dns_rdata_srv(const struct kith_dns_record *record, struct kith_dns_srv *out);
KITH_MUST_USE int kith__dns_rdata_soa(const struct kith_dns_record *record, struct kith_dns_soa *out);
KITH_MUST_USE int kith__dns_rdata_opt(const struct kith_dns_record *record, struct kith_dns_opt *out);
/**
 * TXT: the strings one after the other without anything between them, into out (borrowed by nobody). TOO_LARGE: more than
 * `cap` bytes. *size tells how many.
 */
KITH_MUST_USE int kith__dns_rdata_txt(const struct kith_dns_record *record, uint8_t *out, size_t cap, size_t *size);
/** The next character-string of a reader over rdata; END after the last, TRUNCATED. */
KITH_MUST_USE int kith__dns_next_string(struct kith_reader *rdata, struct kith_slice *out);
/** The next option of a reader over kith_dns_opt.options; END, TRUNCATED. */
KITH_MUST_USE int kith__dns_next_option(struct kith_reader *options, uint16_t *code, struct kith_slice *out);

/* --- writing --- */

enum { KITH_DNS_TARGETS_MAX = 128 }; /* names that later ones can point to; beyond it they are written in full */

/**
 * Builds a message in a buffer of the caller. Every kith__dns_write_* either writes all of its record or nothing at all:
 * TOO_LARGE. By value; borrows the buffer.
 */
struct kith_dns_writer {
    struct kith_writer w;
    uint8_t *buffer_end;
    bool
        compress; /* owners, and names in the data of NS, CNAME, SOA, PTR, MX, point to earlier ones; change it as you like */
    uint16_t counts[KITH_DNS_SECTIONS];
    uint16_t target_count;
    struct kith_dns_target {
        uint16_t offset, hash;
    } targets[KITH_DNS_TARGETS_MAX];
};

/** Begins a message with header's id and flags; compress is on. TOO_LARGE: less than 12 bytes. More than 65,535 are not used. */
KITH_MUST_USE int kith__dns_writer_init(struct kith_dns_writer *w, uint8_t *out, size_t size,
                                        const struct kith_dns_header *header);
/** From now on the message may have `size` bytes: cut to the buffer, and to what is written. To keep room for OPT, say. */
void kith__dns_writer_limit(struct kith_dns_writer *w, size_t size);
/** Sets bits of the flags, and clears others first: TC, say, or the rcode. */
void kith__dns_writer_flags(struct kith_dns_writer *w, uint16_t clear, uint16_t set);
/** Fills in the counts. Returns the size of the message. More can be written afterwards; then finish again. */
size_t kith__dns_writer_finish(struct kith_dns_writer *w);

/** A place to go back to, for records that make sense only together. */
struct kith_dns_mark {
    size_t size;
    uint16_t counts[KITH_DNS_SECTIONS];
    uint16_t target_count;
};
struct kith_dns_mark kith__dns_writer_mark(const struct kith_dns_writer *w);
/** Takes back what was written since. */
void kith__dns_writer_rollback(struct kith_dns_writer *w, const struct kith_dns_mark *mark);

/** What all records have. */
struct kith_dns_owner {
    const struct kith_dns_name *name;
    enum kith_dns_section section; /* never before that of the last record (asserted) */
    uint16_t class_code;
    uint32_t ttl_s;
};

/* Errors: TOO_LARGE: no room; LIMIT: 65,535 in this section. Nothing is written then. */

KITH_MUST_USE int kith__dns_write_question(struct kith_dns_writer *w, const struct kith_dns_name *name, uint16_t type,
                                           uint16_t class_code);
/** Any type, rdata as they are: without pointers. */
KITH_MUST_USE int kith__dns_write_raw(struct kith_dns_writer *w, const struct kith_dns_owner *owner, uint16_t type,
                                      struct kith_slice rdata);
/** A or AAAA, by the family. INVALID without one. */
KITH_MUST_USE int kith__dns_write_ip(struct kith_dns_writer *w, const struct kith_dns_owner *owner,
                                     const struct kith_sockaddr *ip);
/** NS, CNAME, PTR. */
KITH_MUST_USE int kith__dns_write_name(struct kith_dns_writer *w, const struct kith_dns_owner *owner, uint16_t type,
                                       const struct kith_dns_name *name);
/** TXT of these strings; none: one empty string. INVALID: one of more than 255 bytes. */
KITH_MUST_USE int kith__dns_write_txt(struct kith_dns_writer *w, const struct kith_dns_owner *owner,
                                      const struct kith_slice *strings, size_t count);
/** The target is written in full (RFC 2782), but later names may point to it. */
KITH_MUST_USE int kith__dns_write_srv(struct kith_dns_writer *w, const struct kith_dns_owner *owner,
                                      const struct kith_dns_srv *srv);
KITH_MUST_USE int kith__dns_write_soa(struct kith_dns_writer *w, const struct kith_dns_owner *owner,
                                      const struct kith_dns_soa *soa);
/** OPT in the additional section. */
KITH_MUST_USE int kith__dns_write_opt(struct kith_dns_writer *w, const struct kith_dns_opt *opt);
/**
 * A record of another message (untrusted): its type and data, under this owner, class and TTL. Pointers in the data of the
 * types that may have them (RFC 3597, 4) are followed. PARSE or TRUNCATED too: such data are malformed.
 */
KITH_MUST_USE int kith__dns_write_copy(struct kith_dns_writer *w, const struct kith_dns_owner *owner,
                                       const struct kith_dns_record *record);

#endif
