/* Bencoding: values are checked as a whole, by a loop with one bit for each open container, then stepped through. */
#include "codec/bencode.h"

#include <stdio.h>

/** Where a scan is: bit n of the words belongs to the container at depth n. */
struct scan {
    unsigned depth;
    uint32_t is_dict;
    uint32_t wants_value; /* a key was read */
};

_Static_assert(KITH_BENCODE_DEPTH_MAX <= 32, "a bit for each");

/* ---- Reading ---- */

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

/** Decimal without sign up to `end`, which is stepped over. PARSE for another form than the one, or beyond max. */
static int read_decimal(struct kith_reader *r, uint8_t end, uint64_t max, uint64_t *out)
{
    const uint8_t *begin = r->at;
    uint64_t value = 0;
    uint8_t byte = 0;

    for (;;) {
        if (kith__read_u8(r, &byte) != 0)
            return KITH_ERR_TRUNCATED;
        if (!is_digit(byte))
            break;
        if (value > (max - (uint64_t)(byte - '0')) / 10) /* max >= 9 */
            return KITH_ERR_PARSE;
        value = value * 10 + (uint64_t)(byte - '0');
    }
    if (byte != end || r->at - begin < 2 || (*begin == '0' && r->at - begin > 2))
        return KITH_ERR_PARSE;
    *out = value;
    return 0;
}

static int read_string(struct kith_reader *r, struct kith_slice *out)
{
    uint64_t size = 0;
    int err = read_decimal(r, ':', SIZE_MAX / 2, &size);

    return err != 0 ? err : kith__read_slice(r, size, out);
}

/** What follows the `i`. */
static int read_integer(struct kith_reader *r, int64_t *out)
{
    bool is_negative = kith__reader_left(r) > 0 && *r->at == '-';
    uint64_t value = 0;
    int err;

    r->at += is_negative;
    if ((err = read_decimal(r, 'e', (uint64_t)INT64_MAX + is_negative, &value)) != 0)
        return err;
    if (is_negative && value == 0)
        return KITH_ERR_PARSE;
    *out = is_negative ? -(int64_t)(value - 1) - 1 : (int64_t)value;
    return 0;
}

/** The next string, integer, or opening letter. *is_open: a container begins, *out has its kind only. */
static int read_token(struct kith_reader *r, struct kith_bencode *out, bool *is_open)
{
    uint8_t byte;

    *is_open = false;
    if (kith__reader_left(r) == 0)
        return KITH_ERR_TRUNCATED;
    byte = *r->at;
    if (is_digit(byte)) {
        out->kind = KITH_BENCODE_BYTES;
        return read_string(r, &out->bytes);
    }
    r->at++;
    switch (byte) {
    case 'i':
        out->kind = KITH_BENCODE_INTEGER;
        return read_integer(r, &out->integer);
    case 'l':
    case 'd':
        out->kind = byte == 'd' ? KITH_BENCODE_DICT : KITH_BENCODE_LIST;
        *is_open = true;
        return 0;
    default:
        return KITH_ERR_PARSE;
    }
}

/** Goes on until the container that was just opened is ended. */
static int skip_inside(struct kith_reader *r, enum kith_bencode_kind kind)
{
    struct scan scan = { .depth = 1, .is_dict = kind == KITH_BENCODE_DICT };
    struct kith_bencode token;
    bool is_open;
    int err;

    while (scan.depth > 0) {
        uint32_t bit = 1u << (scan.depth - 1);

        if (kith__reader_left(r) > 0 && *r->at == 'e') {
            if (scan.wants_value & bit)
                return KITH_ERR_PARSE;
            r->at++;
            scan.depth--;
        } else if ((scan.is_dict & bit) && !(scan.wants_value & bit)) {
            if (kith__reader_left(r) > 0 && !is_digit(*r->at))
                return KITH_ERR_PARSE;
            if ((err = read_string(r, &token.bytes)) != 0)
                return err;
            scan.wants_value |= bit;
        } else {
            if ((err = read_token(r, &token, &is_open)) != 0)
                return err;
            scan.wants_value &= ~bit;
            if (is_open && scan.depth == KITH_BENCODE_DEPTH_MAX)
                return KITH_ERR_LIMIT;
            if (is_open) {
                bit <<= 1;
                scan.depth++;
                scan.wants_value &= ~bit;
                scan.is_dict = token.kind == KITH_BENCODE_DICT ? scan.is_dict | bit : scan.is_dict & ~bit;
            }
        }
    }
    return 0;
}

int kith__bencode_read(struct kith_reader *r, struct kith_bencode *out)
{
    struct kith_reader at = *r;
    struct kith_bencode value = { 0 };
    bool is_open;
    int err;

    if ((err = read_token(&at, &value, &is_open)) != 0)
        return err;
    if (is_open) {
        const uint8_t *begin = at.at;

        if ((err = skip_inside(&at, value.kind)) != 0)
            return err;
        value.bytes = (struct kith_slice) { begin, (size_t)(at.at - begin) - 1 };
    }
    value.whole = (struct kith_slice) { r->at, (size_t)(at.at - r->at) };
    *r = at;
    *out = value;
    return 0;
}

bool kith__bencode_next(struct kith_reader *inside, struct kith_bencode *item)
{
    if (kith__reader_left(inside) == 0)
        return false;
    return kith__bencode_read(inside, item) == 0;
}

bool kith__bencode_next_pair(struct kith_reader *inside, struct kith_slice *key, struct kith_bencode *value)
{
    struct kith_bencode name;

    if (!kith__bencode_next(inside, &name) || name.kind != KITH_BENCODE_BYTES || !kith__bencode_next(inside, value))
        return false;
    *key = name.bytes;
    return true;
}

bool kith__bencode_find(const struct kith_bencode *dict, const char *key, struct kith_bencode *out)
{
    struct kith_reader inside = kith__reader_of_slice(dict->bytes);
    struct kith_slice name;
    struct kith_bencode value;
    size_t size = strlen(key);

    if (dict->kind != KITH_BENCODE_DICT)
        return false;
    while (kith__bencode_next_pair(&inside, &name, &value)) {
        if (name.size == size && memcmp(name.ptr, key, size) == 0) {
            *out = value;
            return true;
        }
    }
    return false;
}

bool kith__bencode_find_bytes(const struct kith_bencode *dict, const char *key, struct kith_slice *out)
{
    struct kith_bencode value;

    if (!kith__bencode_find(dict, key, &value) || value.kind != KITH_BENCODE_BYTES)
        return false;
    *out = value.bytes;
    return true;
}

bool kith__bencode_find_integer(const struct kith_bencode *dict, const char *key, int64_t *out)
{
    struct kith_bencode value;

    if (!kith__bencode_find(dict, key, &value) || value.kind != KITH_BENCODE_INTEGER)
        return false;
    *out = value.integer;
    return true;
}

/* ---- Writing ---- */

struct kith_bencode_writer kith__bencode_writer(uint8_t *out, size_t size)
{
    return (struct kith_bencode_writer) { .out = kith__writer(out, size) };
}

static void put(struct kith_bencode_writer *w, const void *bytes, size_t size)
{
    if (w->err == 0)
        w->err = kith__write_bytes(&w->out, bytes, size);
}

void kith__bencode_put_integer(struct kith_bencode_writer *w, int64_t value)
{
    char text[32];

    put(w, text, (size_t)snprintf(text, sizeof text, "i%llde", (long long)value));
}

void kith__bencode_put_bytes(struct kith_bencode_writer *w, struct kith_slice bytes)
{
    char text[32];

    put(w, text, (size_t)snprintf(text, sizeof text, "%zu:", bytes.size));
    put(w, bytes.ptr, bytes.size);
}

void kith__bencode_put_whole(struct kith_bencode_writer *w, struct kith_slice value)
{
    put(w, value.ptr, value.size);
}

static void begin(struct kith_bencode_writer *w, const char *letter)
{
    KITH_ASSERT(w->depth < KITH_BENCODE_DEPTH_MAX);
    w->last_key[w->depth++] = NULL;
    put(w, letter, 1);
}

void kith__bencode_begin_dict(struct kith_bencode_writer *w)
{
    begin(w, "d");
}

void kith__bencode_begin_list(struct kith_bencode_writer *w)
{
    begin(w, "l");
}

void kith__bencode_end(struct kith_bencode_writer *w)
{
    KITH_ASSERT(w->depth > 0);
    w->depth--;
    put(w, "e", 1);
}

void kith__bencode_key(struct kith_bencode_writer *w, const char *key)
{
    KITH_ASSERT(w->depth > 0);
    KITH_ASSERT(w->last_key[w->depth - 1] == NULL || strcmp(w->last_key[w->depth - 1], key) < 0);
    w->last_key[w->depth - 1] = key;
    kith__bencode_put_bytes(w, (struct kith_slice) { (const uint8_t *)key, strlen(key) });
}

void kith__bencode_put_pair_integer(struct kith_bencode_writer *w, const char *key, int64_t value)
{
    kith__bencode_key(w, key);
    kith__bencode_put_integer(w, value);
}

void kith__bencode_put_pair_bytes(struct kith_bencode_writer *w, const char *key, struct kith_slice bytes)
{
    kith__bencode_key(w, key);
    kith__bencode_put_bytes(w, bytes);
}

int kith__bencode_finish(const struct kith_bencode_writer *w, size_t *size)
{
    KITH_ASSERT(w->depth == 0);
    if (w->err == 0)
        *size = kith__writer_size(&w->out);
    return w->err;
}
