#include "codec/url_host.h"
#include "codec/percent.h"

#include "base/sockaddr.h"
#include "codec/postcard.h"
#include "codec/url.h"
#include <idn2.h>
#include <stdio.h>

/** Colon-hexadecimal only: unlike RFC 5952 the URL rules give IPv4-mapped addresses no dotted end. */
static int write_v6(const char *text, size_t size, struct kith_writer *w)
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    char inner[KITH_IP_TEXT_SIZE], formatted[KITH_IP_TEXT_SIZE];
    uint8_t ip[16];
    int err;

    if (size < 2 || text[size - 1] != ']' || size - 2 >= sizeof inner || memchr(text, '\0', size) != NULL)
        return KITH_ERR_PARSE;
    memcpy(inner, text + 1, size - 2);
    inner[size - 2] = '\0';
    if ((err = kith__ip_parse_v6(inner, ip)) != 0)
        return err;
    if (memcmp(ip, mapped, sizeof mapped) == 0)
        snprintf(formatted, sizeof formatted, "::ffff:%x:%x", ip[12] << 8 | ip[13], ip[14] << 8 | ip[15]);
    else
        kith__ip_format_v6(ip, formatted);
    if ((err = kith__write_u8(w, '[')) != 0 || (err = kith__write_bytes(w, formatted, strlen(formatted))) != 0)
        return err;
    return kith__write_u8(w, ']');
}

static int digit_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; /* names are in lower case by now */
}

/** One part of an IPv4 address: decimal, 0 octal, 0x hexadecimal ("0x" alone is 0). Saturates at UINT32_MAX + 1. */
static bool read_v4_part(const char *text, size_t size, uint64_t *out)
{
    int base = 10;
    uint64_t value = 0;

    if (size == 0)
        return false;
    if (size >= 2 && text[0] == '0') {
        base = text[1] == 'x' ? 16 : 8;
        text += base == 16 ? 2 : 1;
        size -= base == 16 ? 2 : 1;
    }
    for (size_t i = 0; i < size; i++) {
        int digit = digit_of(text[i]);

        if (digit < 0 || digit >= base)
            return false;
        value = KITH_MIN(value * (uint64_t)base + (uint64_t)digit, (uint64_t)UINT32_MAX + 1);
    }
    *out = value;
    return true;
}

static bool is_all_digits(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (text[i] < '0' || text[i] > '9')
            return false;
    return size != 0;
}

/** Size without one trailing dot. */
static size_t without_root(const char *name, size_t size)
{
    return size > 1 && name[size - 1] == '.' ? size - 1 : size;
}

/** A name whose last label is a number can only be an IPv4 address. */
static bool ends_in_number(const char *name, size_t size)
{
    size_t end = without_root(name, size), begin = end;
    uint64_t ignored;

    while (begin > 0 && name[begin - 1] != '.')
        begin--;
    return is_all_digits(name + begin, end - begin) || read_v4_part(name + begin, end - begin, &ignored);
}

static int write_v4(const char *name, size_t size, struct kith_writer *w)
{
    uint64_t parts[4], ip = 0;
    size_t count = 0, end = without_root(name, size);
    char formatted[16];

    for (size_t begin = 0; begin <= end;) {
        const char *dot = memchr(name + begin, '.', end - begin);
        size_t part_size = (dot != NULL ? (size_t)(dot - name) : end) - begin;

        if (count == 4 || !read_v4_part(name + begin, part_size, &parts[count++]))
            return KITH_ERR_PARSE;
        begin += part_size + 1;
    }
    for (size_t i = 0; i + 1 < count; i++) {
        if (parts[i] > 255)
            return KITH_ERR_PARSE;
        ip |= parts[i] << (24 - 8 * i);
    }
    if (parts[count - 1] >> (8 * (5 - count)) != 0)
        return KITH_ERR_PARSE;
    ip |= parts[count - 1];
    snprintf(formatted, sizeof formatted, "%u.%u.%u.%u", (unsigned)(ip >> 24 & 255), (unsigned)(ip >> 16 & 255),
             (unsigned)(ip >> 8 & 255), (unsigned)(ip & 255));
    return kith__write_bytes(w, formatted, strlen(formatted));
}

/** Undoes %41. Returns the size. */
static size_t percent_decode(const char *text, size_t size, char *out)
{
    struct kith_slice left = { (const uint8_t *)text, size };
    size_t out_size = 0;

    while (left.size > 0)
        out[out_size++] = (char)kith__percent_take(&left);
    return out_size;
}

/** Lower case. Returns true if all is ASCII. */
static bool to_lower(char *name, size_t size)
{
    bool is_ascii = true;

    for (size_t i = 0; i < size; i++) {
        if (name[i] >= 'A' && name[i] <= 'Z')
            name[i] = (char)(name[i] - 'A' + 'a');
        is_ascii = is_ascii && (uint8_t)name[i] < 0x80;
    }
    return is_ascii;
}

static bool has_encoded_label(const char *name)
{
    return strncmp(name, "xn--", 4) == 0 || strstr(name, ".xn--") != NULL;
}

/**
 * Turns a name with other than ASCII letters into one with "xn--" labels (UTS 46, nontransitional), in place; checks
 * labels that are encoded already. The reference follows UTS 46 alone, which also allows symbols that IDNA 2008
 * forbids: encoded ones are kept, others would need tables of our own and are refused as unsupported.
 */
static int to_ascii(char *name, bool is_ascii, size_t size_max)
{
    char *encoded = NULL;
    int rc = idn2_to_ascii_8z(name, &encoded, IDN2_NONTRANSITIONAL | IDN2_NFC_INPUT);
    size_t size;

    if (rc == IDN2_MALLOC)
        return KITH_ERR_NOMEM;
    if (rc != IDN2_OK) {
        if (!is_ascii)
            return KITH_ERR_UNSUPPORTED;
        return rc == IDN2_PUNYCODE_BAD_INPUT || rc == IDN2_PUNYCODE_OVERFLOW || rc == IDN2_INVALID_ALABEL ||
                       rc == IDN2_ALABEL_ROUNDTRIP_FAILED
                   ? KITH_ERR_PARSE
                   : 0;
    }
    size = strlen(encoded);
    if (size <= size_max && !is_ascii)
        memcpy(name, encoded, size + 1);
    idn2_free(encoded);
    return size <= size_max ? 0 : KITH_ERR_TOO_LARGE;
}

static bool is_forbidden(char c)
{
    return (uint8_t)c <= ' ' || (uint8_t)c >= 0x7f || strchr("#/:<>?@[\\]^|%", c) != NULL;
}

int kith__url_host_normalise(const char *text, size_t size, struct kith_writer *w)
{
    char name[KITH_URL_SIZE_MAX + 1];
    bool is_ascii;
    int err;

    if (size == 0)
        return KITH_ERR_PARSE;
    if (size > KITH_URL_SIZE_MAX)
        return KITH_ERR_TOO_LARGE;
    if (text[0] == '[')
        return write_v6(text, size, w);
    size = percent_decode(text, size, name);
    name[size] = '\0';
    if (strlen(name) != size || !kith__utf8_is_valid((const uint8_t *)name, size))
        return KITH_ERR_PARSE;
    is_ascii = to_lower(name, size);
    if (!is_ascii || has_encoded_label(name)) {
        if ((err = to_ascii(name, is_ascii, KITH_URL_SIZE_MAX)) != 0)
            return err;
        size = strlen(name);
        to_lower(name, size);
    }
    for (size_t i = 0; i < size; i++)
        if (is_forbidden(name[i]))
            return KITH_ERR_PARSE;
    if (size == 0)
        return KITH_ERR_PARSE;
    return ends_in_number(name, size) ? write_v4(name, size, w) : kith__write_bytes(w, name, size);
}
