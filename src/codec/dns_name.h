/**
 * Domain names, by value: compared without regard to ASCII case, kept in the case that they came in. Source: RFC 1035, 2.3,
 * 3.1, 5.1; RFC 4343 (case).
 */
#ifndef KITH_CODEC_DNS_NAME_H
#define KITH_CODEC_DNS_NAME_H

#include <kith/types.h>

enum {
    KITH_DNS_LABEL_SIZE_MAX = 63,
    KITH_DNS_NAME_SIZE_MAX = 255, /* on the wire, the root's zero included */
    KITH_DNS_LABELS_MAX = 127,    /* of one octet each; follows from the size */
    KITH_DNS_NAME_TEXT_SIZE =
        1024 /* any text of kith__dns_name_format with its end: 4 characters for each octet at most */
};

/** A full name in wire form without compression: labels with their length in front, then a zero. Always valid: size 1 is the root. */
struct kith_dns_name {
    uint8_t size; /* 1..KITH_DNS_NAME_SIZE_MAX */
    uint8_t bytes[KITH_DNS_NAME_SIZE_MAX];
};

/** The root. */
void kith__dns_name_root(struct kith_dns_name *out);
/**
 * Reads the text of a name (untrusted), with or without the last dot; "." is the root. A backslash takes a dot or any other
 * character for what it is, three digits after it are an octet. PARSE: empty text or label, bad escape; TOO_LARGE: a label or
 * the name. Source: RFC 1035, 5.1.
 */
KITH_MUST_USE int kith__dns_name_parse(const char *text, size_t size, struct kith_dns_name *out);
/**
 * Writes the text with the last dot and an end; dots, backslashes, quotes, semicolons, parentheses, @ and $ in labels get a
 * backslash, what is not printable ASCII becomes \DDD. `text` holds KITH_DNS_NAME_TEXT_SIZE bytes. Returns text.
 */
const char *kith__dns_name_format(const struct kith_dns_name *name, char *text);

/** Equal without regard to the case of ASCII letters. */
bool kith__dns_name_equal(const struct kith_dns_name *a, const struct kith_dns_name *b);
/** Equal octet by octet. */
bool kith__dns_name_same(const struct kith_dns_name *a, const struct kith_dns_name *b);
/** True if name is zone or below it, without regard to case. */
bool kith__dns_name_is_within(const struct kith_dns_name *name, const struct kith_dns_name *zone);
/** ASCII letters become lower case: equal names have equal bytes then, for tables. */
void kith__dns_name_lower(struct kith_dns_name *name);

/** Labels without the root: 0..KITH_DNS_LABELS_MAX. */
size_t kith__dns_name_label_count(const struct kith_dns_name *name);
/** The index-th label from the left, index < count; borrowed from name. */
struct kith_slice kith__dns_name_label(const struct kith_dns_name *name, size_t index);
/** True if the index-th label is there and equal to text without regard to case. */
bool kith__dns_name_label_is(const struct kith_dns_name *name, size_t index, const char *text);
/** What is left without the first `count` labels; count <= their number. out may be name. */
void kith__dns_name_strip(const struct kith_dns_name *name, size_t count, struct kith_dns_name *out);
/** The first `count` labels only; count <= their number. out may be name. */
void kith__dns_name_head(const struct kith_dns_name *name, size_t count, struct kith_dns_name *out);
/** Puts a label of 1..63 octets in front. INVALID: another size; TOO_LARGE: the name would be. name is unchanged then. */
KITH_MUST_USE int kith__dns_name_prepend(struct kith_dns_name *name, struct kith_slice label);
/** The labels of `name` before those of `zone`. TOO_LARGE. out may be either. */
KITH_MUST_USE int kith__dns_name_join(const struct kith_dns_name *name, const struct kith_dns_name *zone,
                                      struct kith_dns_name *out);

#endif
