/*
 * Text of socket addresses. Our own parser, because that of the C library takes forms that the specification refuses
 * (names, interface names as scope, octal) and differs between systems. The form written is that of RFC 5952.
 */
#include "base/sockaddr.h"

#include "base/assert.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/** Decimal digits without leading zeros, up to max; moves *at behind them. */
static bool take_decimal(const char **at, uint64_t max, uint64_t *out)
{
    const char *p = *at;
    uint64_t value = 0;

    if (*p < '0' || *p > '9' || (*p == '0' && p[1] >= '0' && p[1] <= '9'))
        return false;
    for (; *p >= '0' && *p <= '9'; p++) {
        value = value * 10 + (uint64_t)(*p - '0');
        if (value > max)
            return false;
    }
    *at = p;
    *out = value;
    return true;
}

static bool take_char(const char **at, char c)
{
    if (**at != c)
        return false;
    ++*at;
    return true;
}

static bool take_v4(const char **at, uint8_t ip[4])
{
    const char *p = *at;

    for (int i = 0; i < 4; i++) {
        uint64_t part;

        if ((i != 0 && !take_char(&p, '.')) || !take_decimal(&p, 255, &part))
            return false;
        ip[i] = (uint8_t)part;
    }
    *at = p;
    return true;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/** One to four hex digits. */
static bool take_group(const char **at, uint8_t out[2])
{
    const char *p = *at;
    unsigned value = 0;

    for (; p - *at < 4 && hex_value(*p) >= 0; p++)
        value = value << 4 | (unsigned)hex_value(*p);
    if (p == *at)
        return false;
    out[0] = (uint8_t)(value >> 8);
    out[1] = (uint8_t)value;
    *at = p;
    return true;
}

/**
 * Groups separated by single colons, at most `size` bytes; the last four bytes may be dotted decimal, which ends the
 * address. Stops before "::" and at the first thing that is not a group. Returns the bytes written.
 */
static size_t take_groups(const char **at, uint8_t *out, size_t size, bool *ended)
{
    size_t count = 0;

    while (count < size) {
        const char *p = *at;

        if (count != 0 && (!take_char(&p, ':') || *p == ':'))
            break;
        const char *start = p;
        if (size - count >= 4 && take_v4(&p, out + count)) {
            *at = p;
            *ended = true;
            return count + 4;
        }
        p = start;
        if (!take_group(&p, out + count))
            break;
        *at = p;
        count += 2;
    }
    return count;
}

static bool take_v6(const char **at, uint8_t ip[16])
{
    uint8_t head[16], tail[14];
    size_t head_size, tail_size;
    bool ended = false;

    head_size = take_groups(at, head, 16, &ended);
    memset(ip, 0, 16);
    memcpy(ip, head, head_size);
    if (head_size == 16)
        return true;
    if (ended || !take_char(at, ':') || !take_char(at, ':') || head_size > 14)
        return false;
    tail_size = take_groups(at, tail, 14 - head_size, &ended); /* "::" stands for at least one group */
    memcpy(ip + 16 - tail_size, tail, tail_size);
    return true;
}

int kith__ip_parse_v4(const char *text, uint8_t ip[4])
{
    uint8_t out[4];

    if (!take_v4(&text, out) || *text != '\0')
        return KITH_ERR_PARSE;
    memcpy(ip, out, 4);
    return 0;
}

int kith__ip_parse_v6(const char *text, uint8_t ip[16])
{
    uint8_t out[16];

    if (!take_v6(&text, out) || *text != '\0')
        return KITH_ERR_PARSE;
    memcpy(ip, out, 16);
    return 0;
}

bool kith__ip_is_loopback(const struct kith_sockaddr *addr)
{
    static const uint8_t v6[16] = { [15] = 1 };

    if (addr->family == KITH_FAMILY_V4)
        return addr->ip[0] == 127;
    return addr->family == KITH_FAMILY_V6 && memcmp(addr->ip, v6, sizeof v6) == 0;
}

bool kith__ip_is_link_local_v6(const uint8_t ip[16])
{
    return (ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80) || (ip[0] == 0xff && (ip[1] & 0x0f) == 0x02);
}

int kith_sockaddr_parse(const char *text, struct kith_sockaddr *out)
{
    struct kith_sockaddr addr = { .family = KITH_FAMILY_V4 };
    uint64_t number;

    if (text == NULL || out == NULL)
        return KITH_ERR_INVALID;
    if (take_char(&text, '[')) {
        addr.family = KITH_FAMILY_V6;
        if (!take_v6(&text, addr.ip))
            return KITH_ERR_PARSE;
        if (take_char(&text, '%')) {
            if (!take_decimal(&text, UINT32_MAX, &number) || !kith__ip_is_link_local_v6(addr.ip))
                return KITH_ERR_PARSE;
            addr.scope_id = (uint32_t)number;
        }
        if (!take_char(&text, ']'))
            return KITH_ERR_PARSE;
    } else if (!take_v4(&text, addr.ip)) {
        return KITH_ERR_PARSE;
    }
    if (!take_char(&text, ':') || !take_decimal(&text, UINT16_MAX, &number) || *text != '\0')
        return KITH_ERR_PARSE;
    addr.port = (uint16_t)number;
    *out = addr;
    return 0;
}

/** The longest run of at least two zero groups, the first of equal ones: RFC 5952, 4.2. Sets *count to 0 for none. */
static size_t longest_zero_run(const uint8_t ip[16], size_t *count)
{
    size_t best = 0;

    *count = 0;
    for (size_t i = 0; i < 8; i++) {
        size_t n = 0;

        while (i + n < 8 && ip[2 * (i + n)] == 0 && ip[2 * (i + n) + 1] == 0)
            n++;
        if (n >= 2 && n > *count) {
            best = i;
            *count = n;
        }
    }
    return best;
}

const char *kith__ip_format_v6(const uint8_t ip[16], char text[KITH_IP_TEXT_SIZE])
{
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    size_t run_count, run = longest_zero_run(ip, &run_count);
    char *at = text;

    if (memcmp(ip, mapped, sizeof mapped) == 0) {
        snprintf(text, KITH_IP_TEXT_SIZE, "::ffff:%u.%u.%u.%u", ip[12], ip[13], ip[14], ip[15]);
        return text;
    }
    for (size_t i = 0; i < 8; i++) {
        if (run_count != 0 && i == run) {
            *at++ = ':';
            *at++ = ':';
            i += run_count - 1;
            continue;
        }
        if (i != 0 && !(run_count != 0 && i == run + run_count))
            *at++ = ':';
        at += snprintf(at, 5, "%x", (unsigned)(ip[2 * i] << 8 | ip[2 * i + 1]));
    }
    *at = '\0';
    return text;
}

static uint64_t relay_number(const struct kith_sockaddr *addr)
{
    uint64_t number = 0;

    for (int i = 0; i < 8; i++)
        number = number << 8 | addr->ip[i];
    return number;
}

const char *kith_sockaddr_format(const struct kith_sockaddr *addr, char *text)
{
    char ip[KITH_IP_TEXT_SIZE];

    if (addr->family == KITH_FAMILY_V4)
        snprintf(text, KITH_SOCKADDR_TEXT_SIZE, "%u.%u.%u.%u:%u", addr->ip[0], addr->ip[1], addr->ip[2], addr->ip[3],
                 addr->port);
    else if (addr->family == KITH_FAMILY_RELAY)
        snprintf(text, KITH_SOCKADDR_TEXT_SIZE, "relay:%" PRIu64, relay_number(addr));
    else if (addr->family != KITH_FAMILY_V6)
        snprintf(text, KITH_SOCKADDR_TEXT_SIZE, "none");
    else if (addr->scope_id != 0)
        snprintf(text, KITH_SOCKADDR_TEXT_SIZE, "[%s%%%u]:%u", kith__ip_format_v6(addr->ip, ip),
                 (unsigned)addr->scope_id, addr->port);
    else
        snprintf(text, KITH_SOCKADDR_TEXT_SIZE, "[%s]:%u", kith__ip_format_v6(addr->ip, ip), addr->port);
    return text;
}

bool kith_sockaddr_equal(const struct kith_sockaddr *a, const struct kith_sockaddr *b)
{
    return a->family == b->family && a->port == b->port && a->scope_id == b->scope_id &&
           memcmp(a->ip, b->ip, sizeof a->ip) == 0;
}
