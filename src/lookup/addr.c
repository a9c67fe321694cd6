#include "lookup/addr.h"

#include "base/mem.h"
#include "codec/base32.h"
#include "codec/postcard.h"
#include "codec/url.h"
#include "crypto/sign.h"

enum { CAP_MIN = 4, ITEM_SIZE_MIN = 2 };

/** How old releases wrote the data of a custom address: padded, or as a byte string. */
enum old_custom { OLD_CUSTOM_INLINE, OLD_CUSTOM_HEAP, OLD_CUSTOM_COUNT };

void kith__endpoint_addr_init(struct kith_endpoint_addr *addr, const struct kith_mem *mem, const struct kith_id *id)
{
    *addr = (struct kith_endpoint_addr) { .mem = mem };
    if (id != NULL)
        addr->id = *id;
}

void kith__endpoint_addr_dispose(struct kith_endpoint_addr *addr)
{
    for (size_t i = 0; i < addr->count; i++)
        kith__free(addr->mem, (void *)(uintptr_t)addr->addrs[i].bytes.ptr);
    kith__free(addr->mem, addr->addrs);
    *addr = (struct kith_endpoint_addr) { .id = addr->id, .mem = addr->mem };
}

static int compare_bytes(struct kith_slice a, struct kith_slice b)
{
    size_t shared = KITH_MIN(a.size, b.size);
    int order = shared != 0 ? memcmp(a.ptr, b.ptr, shared) : 0;

    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

static int compare_numbers(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int compare_ips(const struct kith_sockaddr *a, const struct kith_sockaddr *b)
{
    int order;

    if ((order = compare_numbers(a->family, b->family)) != 0 || (order = memcmp(a->ip, b->ip, sizeof a->ip)) != 0 ||
        (order = compare_numbers(a->port, b->port)) != 0)
        return order;
    return compare_numbers(a->scope_id, b->scope_id);
}

/** Below, equal or above 0, in the order of spec/03, 2.1. */
static int compare(const struct kith_transport_addr *a, const struct kith_transport_addr *b)
{
    int order;

    if (a->kind != b->kind)
        return compare_numbers(a->kind, b->kind);
    if (a->kind == KITH_TRANSPORT_IP)
        return compare_ips(&a->ip, &b->ip);
    if ((order = compare_numbers(a->custom_id, b->custom_id)) != 0)
        return order;
    return compare_bytes(a->bytes, b->bytes);
}

static int grow(struct kith_endpoint_addr *addr)
{
    size_t cap = KITH_MAX(addr->cap * 2, (size_t)CAP_MIN);
    struct kith_transport_addr *addrs;

    if (addr->count == KITH_ADDRS_MAX)
        return KITH_ERR_LIMIT;
    if (addr->count < addr->cap)
        return 0;
    addrs = kith__realloc(addr->mem, addr->addrs, cap * sizeof *addrs);
    if (addrs == NULL)
        return KITH_ERR_NOMEM;
    addr->addrs = addrs;
    addr->cap = cap;
    return 0;
}

/** A copy of bytes with a 0 behind it. */
static int copy_bytes(const struct kith_mem *mem, struct kith_slice from, struct kith_slice *out)
{
    uint8_t *copy = kith__alloc_zero(mem, from.size + 1);

    if (copy == NULL)
        return KITH_ERR_NOMEM;
    if (from.size != 0)
        memcpy(copy, from.ptr, from.size);
    *out = (struct kith_slice) { copy, from.size };
    return 0;
}

/** Puts a copy of the item where it belongs, unless it is there already. */
static int insert(struct kith_endpoint_addr *addr, const struct kith_transport_addr *item)
{
    struct kith_slice bytes = { NULL, 0 };
    size_t low = 0, high = addr->count;
    int err;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare(&addr->addrs[middle], item);

        if (order == 0)
            return 0;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if ((err = grow(addr)) != 0)
        return err;
    if (item->kind != KITH_TRANSPORT_IP && (err = copy_bytes(addr->mem, item->bytes, &bytes)) != 0)
        return err;
    memmove(addr->addrs + low + 1, addr->addrs + low, (addr->count - low) * sizeof *addr->addrs);
    addr->addrs[low] = *item;
    addr->addrs[low].bytes = bytes;
    addr->count++;
    return 0;
}

int kith__endpoint_addr_copy(const struct kith_endpoint_addr *from, struct kith_endpoint_addr *to)
{
    struct kith_endpoint_addr copy;
    int err;

    kith__endpoint_addr_init(&copy, to->mem, &from->id);
    copy.ignored_count = from->ignored_count;
    for (size_t i = 0; i < from->count; i++) {
        if ((err = insert(&copy, &from->addrs[i])) != 0) {
            kith__endpoint_addr_dispose(&copy);
            return err;
        }
    }
    kith__endpoint_addr_dispose(to);
    *to = copy;
    return 0;
}

bool kith__endpoint_addr_equal(const struct kith_endpoint_addr *a, const struct kith_endpoint_addr *b)
{
    if (a->count != b->count || memcmp(&a->id, &b->id, sizeof a->id) != 0)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (compare(&a->addrs[i], &b->addrs[i]) != 0)
            return false;
    return true;
}

int kith__endpoint_addr_add_relay(struct kith_endpoint_addr *addr, const char *url, size_t size)
{
    struct kith_transport_addr item = { .kind = KITH_TRANSPORT_RELAY };
    struct kith_buf normalised;
    int err;

    kith__buf_init(&normalised, addr->mem);
    err = kith__url_normalise(url, size, &normalised);
    if (err == 0) {
        item.bytes = kith__buf_slice(&normalised);
        err = insert(addr, &item);
    }
    kith__buf_dispose(&normalised);
    return err;
}

int kith__endpoint_addr_add_ip(struct kith_endpoint_addr *addr, const struct kith_sockaddr *ip)
{
    struct kith_transport_addr item = { .kind = KITH_TRANSPORT_IP, .ip = *ip };

    if (ip->family != KITH_FAMILY_V4 && ip->family != KITH_FAMILY_V6)
        return KITH_ERR_INVALID;
    return insert(addr, &item);
}

int kith__endpoint_addr_add_custom(struct kith_endpoint_addr *addr, uint64_t id, struct kith_slice data)
{
    struct kith_transport_addr item = { .kind = KITH_TRANSPORT_CUSTOM, .custom_id = id, .bytes = data };

    return data.size > KITH_CUSTOM_ADDR_SIZE_MAX ? KITH_ERR_TOO_LARGE : insert(addr, &item);
}

int kith__endpoint_addr_ignore(struct kith_endpoint_addr *addr, int err)
{
    if (err != KITH_ERR_TOO_LARGE && err != KITH_ERR_LIMIT && err != KITH_ERR_UNSUPPORTED)
        return err;
    addr->ignored_count++;
    return 0;
}

struct kith_slice kith__endpoint_addr_first_relay(const struct kith_endpoint_addr *addr)
{
    if (addr->count != 0 && addr->addrs[0].kind == KITH_TRANSPORT_RELAY)
        return addr->addrs[0].bytes;
    return (struct kith_slice) { NULL, 0 };
}

int kith__sockaddr_encode(const struct kith_sockaddr *ip, struct kith_buf *buf)
{
    bool is_v6 = ip->family == KITH_FAMILY_V6;
    uint8_t bytes[1 + 16 + KITH_POSTCARD_VARINT_SIZE_MAX] = { is_v6 };
    size_t size = 1 + (is_v6 ? 16 : 4);

    memcpy(bytes + 1, ip->ip, size - 1);
    size += kith__postcard_encode(ip->port, bytes + size);
    return kith__buf_append(buf, bytes, size);
}

int kith__sockaddr_decode(struct kith_reader *r, struct kith_sockaddr *out)
{
    struct kith_reader ahead = *r;
    struct kith_sockaddr ip = { .family = KITH_FAMILY_V4 };
    uint32_t variant;
    int err;

    if ((err = kith__postcard_read_variant(&ahead, 2, &variant)) != 0)
        return err;
    if (variant == 1)
        ip.family = KITH_FAMILY_V6;
    if ((err = kith__read_bytes(&ahead, ip.ip, variant == 1 ? 16 : 4)) != 0)
        return err;
    if ((err = kith__postcard_read_u16(&ahead, &ip.port)) != 0)
        return err;
    *r = ahead;
    *out = ip;
    return 0;
}

/** The payload of a custom address, in the form of old or new releases. */
static int encode_custom(const struct kith_transport_addr *item, enum kith_custom_form form, struct kith_buf *buf)
{
    uint8_t padded[2 + KITH_CUSTOM_ADDR_INLINE_SIZE] = { OLD_CUSTOM_INLINE, (uint8_t)item->bytes.size };
    int err = kith__postcard_write_uint(buf, item->custom_id);

    if (err != 0 || form == KITH_CUSTOM_FORM_NEW)
        return err != 0 ? err : kith__postcard_write_slice(buf, item->bytes);
    if (item->bytes.size > KITH_CUSTOM_ADDR_INLINE_SIZE) {
        err = kith__buf_append_byte(buf, OLD_CUSTOM_HEAP);
        return err != 0 ? err : kith__postcard_write_slice(buf, item->bytes);
    }
    if (item->bytes.size != 0)
        memcpy(padded + 2, item->bytes.ptr, item->bytes.size);
    return kith__buf_append(buf, padded, sizeof padded);
}

static int encode_item(const struct kith_transport_addr *item, enum kith_custom_form form, struct kith_buf *buf)
{
    int err = kith__postcard_write_uint(buf, item->kind);

    if (err != 0)
        return err;
    if (item->kind == KITH_TRANSPORT_IP)
        return kith__sockaddr_encode(&item->ip, buf);
    return item->kind == KITH_TRANSPORT_RELAY ? kith__postcard_write_slice(buf, item->bytes)
                                              : encode_custom(item, form, buf);
}

int kith__endpoint_addr_encode(const struct kith_endpoint_addr *addr, enum kith_custom_form form, struct kith_buf *buf)
{
    size_t before = buf->size;
    int err;

    if ((err = kith__buf_append(buf, addr->id.bytes, KITH_ID_SIZE)) == 0)
        err = kith__postcard_write_uint(buf, addr->count);
    for (size_t i = 0; i < addr->count && err == 0; i++)
        err = encode_item(&addr->addrs[i], form, buf);
    if (err != 0)
        buf->size = before;
    return err;
}

static int decode_old_custom_data(struct kith_reader *r, struct kith_slice *out)
{
    struct kith_slice padded;
    uint32_t variant;
    uint8_t size;
    int err;

    if ((err = kith__postcard_read_variant(r, OLD_CUSTOM_COUNT, &variant)) != 0)
        return err;
    if (variant == OLD_CUSTOM_HEAP)
        return kith__postcard_read_slice(r, out);
    if ((err = kith__read_u8(r, &size)) != 0 || (err = kith__read_slice(r, KITH_CUSTOM_ADDR_INLINE_SIZE, &padded)) != 0)
        return err;
    if (size > KITH_CUSTOM_ADDR_INLINE_SIZE)
        return KITH_ERR_PARSE;
    *out = (struct kith_slice) { padded.ptr, size };
    return 0;
}

static int decode_item(struct kith_reader *r, enum kith_custom_form form, struct kith_endpoint_addr *addr)
{
    struct kith_sockaddr ip;
    struct kith_slice bytes;
    uint64_t custom_id;
    uint32_t kind;
    int err;

    if ((err = kith__postcard_read_variant(r, KITH_TRANSPORT_KINDS, &kind)) != 0)
        return err;
    if (kind == KITH_TRANSPORT_IP)
        return (err = kith__sockaddr_decode(r, &ip)) != 0
                   ? err
                   : kith__endpoint_addr_ignore(addr, kith__endpoint_addr_add_ip(addr, &ip));
    if (kind == KITH_TRANSPORT_RELAY) {
        if ((err = kith__postcard_read_string(r, &bytes)) != 0)
            return err;
        err = kith__endpoint_addr_add_relay(addr, (const char *)bytes.ptr, bytes.size);
        return kith__endpoint_addr_ignore(addr, err);
    }
    if ((err = kith__postcard_read_u64(r, &custom_id)) != 0)
        return err;
    err = form == KITH_CUSTOM_FORM_NEW ? kith__postcard_read_slice(r, &bytes) : decode_old_custom_data(r, &bytes);
    return err != 0 ? err : kith__endpoint_addr_ignore(addr, kith__endpoint_addr_add_custom(addr, custom_id, bytes));
}

int kith__endpoint_addr_decode(struct kith_reader *r, enum kith_custom_form form, const struct kith_mem *mem,
                               struct kith_endpoint_addr *out)
{
    struct kith_reader ahead = *r;
    struct kith_endpoint_addr addr;
    size_t count = 0;
    int err;

    kith__endpoint_addr_init(&addr, mem, NULL);
    if ((err = kith__read_bytes(&ahead, addr.id.bytes, KITH_ID_SIZE)) != 0)
        return err;
    if (!kith__id_is_point(addr.id.bytes))
        return KITH_ERR_CRYPTO;
    err = kith__postcard_read_count(&ahead, ITEM_SIZE_MIN, &count);
    for (size_t i = 0; i < count && err == 0; i++)
        err = decode_item(&ahead, form, &addr);
    if (err != 0) {
        kith__endpoint_addr_dispose(&addr);
        return err;
    }
    *r = ahead;
    *out = addr;
    return 0;
}

static int append_hex(struct kith_buf *out, struct kith_slice bytes)
{
    int err = kith__buf_reserve(out, bytes.size * 2 + 1);

    if (err != 0)
        return err;
    kith__hex_encode(bytes.ptr, bytes.size, (char *)out->ptr + out->size);
    out->size += bytes.size * 2;
    return 0;
}

int kith__custom_addr_format(uint64_t id, struct kith_slice data, struct kith_buf *out)
{
    size_t before = out->size;
    char digits[17];
    size_t size = sizeof digits;
    int err;

    digits[--size] = '_';
    do
        digits[--size] = "0123456789abcdef"[id & 15];
    while ((id >>= 4) != 0);
    if ((err = kith__buf_append(out, digits + size, sizeof digits - size)) == 0)
        err = append_hex(out, data);
    if (err != 0)
        out->size = before;
    return err;
}

/** Hex digits of either case, at least one; leading zeros are fine. */
static int parse_custom_id(const char *text, size_t size, uint64_t *out)
{
    uint64_t id = 0;

    if (size == 0)
        return KITH_ERR_PARSE;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        char lower = c >= 'A' && c <= 'F' ? (char)(c - 'A' + 'a') : c;
        uint8_t digit;

        if (kith__hex_decode((const char[]) { '0', lower }, 2, &digit) != 0 || id >> 60 != 0)
            return KITH_ERR_PARSE;
        id = id << 4 | digit;
    }
    *out = id;
    return 0;
}

int kith__endpoint_addr_add_custom_text(struct kith_endpoint_addr *addr, const char *text, size_t size)
{
    const char *line = size != 0 ? memchr(text, '_', size) : NULL;
    uint8_t data[KITH_CUSTOM_ADDR_SIZE_MAX];
    size_t id_size, data_size;
    uint64_t id;
    int err;

    if (line == NULL)
        return KITH_ERR_PARSE;
    id_size = (size_t)(line - text);
    data_size = size - id_size - 1;
    if ((err = parse_custom_id(text, id_size, &id)) != 0)
        return err;
    if (data_size / 2 > sizeof data)
        return KITH_ERR_TOO_LARGE;
    if ((err = kith__hex_decode(line + 1, data_size, data)) != 0)
        return err;
    return kith__endpoint_addr_add_custom(addr, id, (struct kith_slice) { data, data_size / 2 });
}

int kith__transport_addr_format(const struct kith_transport_addr *addr, struct kith_buf *out)
{
    static const char *const prefixes[] = { "relay:", "ip:", "custom:" };
    size_t before = out->size;
    char text[KITH_SOCKADDR_TEXT_SIZE];
    int err;

    err = kith__buf_append(out, prefixes[addr->kind], strlen(prefixes[addr->kind]));
    if (err == 0 && addr->kind == KITH_TRANSPORT_IP)
        err = kith__buf_append(out, text, strlen(kith_sockaddr_format(&addr->ip, text)));
    else if (err == 0 && addr->kind == KITH_TRANSPORT_RELAY)
        err = kith__buf_append(out, addr->bytes.ptr, addr->bytes.size);
    else if (err == 0)
        err = kith__custom_addr_format(addr->custom_id, addr->bytes, out);
    if (err != 0)
        out->size = before;
    return err;
}
