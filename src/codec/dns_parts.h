/** What tests of names and messages share. Test files only. */
#ifndef KITH_CODEC_DNS_PARTS_H
#define KITH_CODEC_DNS_PARTS_H

#include "base/test.h"
#include "codec/base32.h"
#include "codec/dns.h"

static inline struct kith_dns_name name_of(const char *text)
{
    struct kith_dns_name name;

    KITH_CHECK_EQ(kith__dns_name_parse(text, strlen(text), &name), 0);
    return name;
}

static inline struct kith_slice slice_of(const char *text)
{
    return (struct kith_slice) { (const uint8_t *)text, strlen(text) };
}

/** Bytes from hex digits with spaces. */
static inline size_t bytes_of(const char *hex, uint8_t *out)
{
    size_t size = 0;

    for (; *hex != '\0'; hex += 2) {
        while (*hex == ' ')
            hex++;
        KITH_CHECK_EQ(kith__hex_decode(hex, 2, &out[size++]), 0);
    }
    return size;
}

static inline void check_text(const struct kith_dns_name *name, const char *text)
{
    char formatted[KITH_DNS_NAME_TEXT_SIZE];

    KITH_CHECK_STR(kith__dns_name_format(name, formatted), text);
}

#endif
