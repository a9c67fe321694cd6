#include "codec/dns_name.h"

#include "base/assert.h"
#include <string.h>

void kith__dns_name_root(struct kith_dns_name *out)
{
    memset(out, 0, sizeof *out);
    out->size = 1;
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/** One octet of a label at *at, which is not an unescaped dot. */
static int parse_octet(const char *text, size_t size, size_t *at, uint8_t *out)
{
    const char *next = text + *at;
    size_t left = size - *at;
    unsigned value;

    if (next[0] != '\\') {
        *out = (uint8_t)next[0];
        *at += 1;
        return 0;
    }
    if (left < 2)
        return KITH_ERR_PARSE;
    if (!is_digit(next[1])) {
        *out = (uint8_t)next[1];
        *at += 2;
        return 0;
    }
    if (left < 4 || !is_digit(next[2]) || !is_digit(next[3]))
        return KITH_ERR_PARSE;
    value = (unsigned)(next[1] - '0') * 100 + (unsigned)(next[2] - '0') * 10 + (unsigned)(next[3] - '0');
    if (value > 255)
        return KITH_ERR_PARSE;
    *out = (uint8_t)value;
    *at += 4;
    return 0;
}

/** The label at *at, up to its dot or the end, at the end of name, which has no root yet. */
static int parse_label(const char *text, size_t size, size_t *at, struct kith_dns_name *name)
{
    uint8_t *length = &name->bytes[name->size];
    size_t label_size = 0;
    int err;

    while (*at < size && text[*at] != '.') {
        uint8_t octet;

        if ((err = parse_octet(text, size, at, &octet)) != 0)
            return err;
        /* Its length, what is there of it, this octet, and the root have to fit. */
        if (label_size == KITH_DNS_LABEL_SIZE_MAX || name->size + label_size + 3 > KITH_DNS_NAME_SIZE_MAX)
            return KITH_ERR_TOO_LARGE;
        length[1 + label_size++] = octet;
    }
    if (label_size == 0)
        return KITH_ERR_PARSE;
    *length = (uint8_t)label_size;
    name->size = (uint8_t)(name->size + 1 + label_size);
    if (*at < size)
        *at += 1; /* its dot */
    return 0;
}

int kith__dns_name_parse(const char *text, size_t size, struct kith_dns_name *out)
{
    struct kith_dns_name name = { .size = 0 };
    size_t at = 0;
    int err;

    if (size == 0)
        return KITH_ERR_PARSE;
    if (size == 1 && text[0] == '.')
        at = 1;
    while (at < size)
        if ((err = parse_label(text, size, &at, &name)) != 0)
            return err;
    name.bytes[name.size++] = 0;
    *out = name;
    return 0;
}

static char *format_octet(uint8_t c, char *text)
{
    if (c <= ' ' || c >= 127) {
        *text++ = '\\';
        *text++ = (char)('0' + c / 100);
        *text++ = (char)('0' + c / 10 % 10);
        *text++ = (char)('0' + c % 10);
        return text;
    }
    if (strchr(".\\\";()@$", c) != NULL)
        *text++ = '\\';
    *text++ = (char)c;
    return text;
}

const char *kith__dns_name_format(const struct kith_dns_name *name, char *text)
{
    const uint8_t *label = name->bytes;
    char *at = text;

    if (*label == 0)
        *at++ = '.';
    for (; *label != 0; label += 1 + *label) {
        for (size_t i = 0; i < *label; i++)
            at = format_octet(label[1 + i], at);
        *at++ = '.';
    }
    *at = '\0';
    return text;
}

/** Lengths are below 64, so they can be compared like letters. */
static bool equal_bytes(const uint8_t *a, const uint8_t *b, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (lower(a[i]) != lower(b[i]))
            return false;
    return true;
}

bool kith__dns_name_equal(const struct kith_dns_name *a, const struct kith_dns_name *b)
{
    return a->size == b->size && equal_bytes(a->bytes, b->bytes, a->size);
}

bool kith__dns_name_same(const struct kith_dns_name *a, const struct kith_dns_name *b)
{
    return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

bool kith__dns_name_is_within(const struct kith_dns_name *name, const struct kith_dns_name *zone)
{
    size_t at = 0;

    while (name->size - at > zone->size)
        at += 1 + name->bytes[at];
    return name->size - at == zone->size && equal_bytes(name->bytes + at, zone->bytes, zone->size);
}

void kith__dns_name_lower(struct kith_dns_name *name)
{
    for (size_t i = 0; i < name->size; i++)
        name->bytes[i] = lower(name->bytes[i]);
}

/** Where the index-th label begins. */
static size_t label_at(const struct kith_dns_name *name, size_t index)
{
    size_t at = 0;

    for (; index != 0; index--) {
        KITH_ASSERT(name->bytes[at] != 0);
        at += 1 + name->bytes[at];
    }
    return at;
}

size_t kith__dns_name_label_count(const struct kith_dns_name *name)
{
    size_t count = 0;

    for (size_t at = 0; name->bytes[at] != 0; at += 1 + name->bytes[at])
        count++;
    return count;
}

struct kith_slice kith__dns_name_label(const struct kith_dns_name *name, size_t index)
{
    const uint8_t *label = name->bytes + label_at(name, index);

    KITH_ASSERT(*label != 0);
    return (struct kith_slice) { label + 1, *label };
}

bool kith__dns_name_label_is(const struct kith_dns_name *name, size_t index, const char *text)
{
    struct kith_slice label;

    if (index >= kith__dns_name_label_count(name))
        return false;
    label = kith__dns_name_label(name, index);
    return label.size == strlen(text) && equal_bytes(label.ptr, (const uint8_t *)text, label.size);
}

void kith__dns_name_strip(const struct kith_dns_name *name, size_t count, struct kith_dns_name *out)
{
    size_t at = label_at(name, count), size = name->size - at;

    memmove(out->bytes, name->bytes + at, size);
    out->size = (uint8_t)size;
}

void kith__dns_name_head(const struct kith_dns_name *name, size_t count, struct kith_dns_name *out)
{
    size_t at = label_at(name, count);

    memmove(out->bytes, name->bytes, at);
    out->bytes[at] = 0;
    out->size = (uint8_t)(at + 1);
}

int kith__dns_name_prepend(struct kith_dns_name *name, struct kith_slice label)
{
    if (label.size == 0 || label.size > KITH_DNS_LABEL_SIZE_MAX)
        return KITH_ERR_INVALID;
    if (name->size + 1 + label.size > KITH_DNS_NAME_SIZE_MAX)
        return KITH_ERR_TOO_LARGE;
    memmove(name->bytes + 1 + label.size, name->bytes, name->size);
    name->bytes[0] = (uint8_t)label.size;
    memcpy(name->bytes + 1, label.ptr, label.size);
    name->size = (uint8_t)(name->size + 1 + label.size);
    return 0;
}

int kith__dns_name_join(const struct kith_dns_name *name, const struct kith_dns_name *zone, struct kith_dns_name *out)
{
    struct kith_dns_name joined = *name;
    size_t at = name->size - 1u;

    if (at + zone->size > KITH_DNS_NAME_SIZE_MAX)
        return KITH_ERR_TOO_LARGE;
    memcpy(joined.bytes + at, zone->bytes, zone->size);
    joined.size = (uint8_t)(at + zone->size);
    *out = joined;
    return 0;
}
