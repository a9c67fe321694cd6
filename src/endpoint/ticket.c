#include "endpoint/ticket.h"

#include "base/mem.h"
#include "codec/base32.h"
#include "codec/postcard.h"
#include "crypto/sign.h"

enum { SOCKADDR_SIZE_MIN = 6, NODE_SIZE_MIN = KITH_ID_SIZE + 1 };

/**
 * How releases wrote an endpoint address without changing kind or variant; the order is that in which they are tried.
 * A layout counts if it takes all bytes. If none does, the first one decides, and bytes left over are ignored.
 */
enum layout {
    LAYOUT_NEW_CUSTOM, /* after 1.0.3 */
    LAYOUT_OLD_CUSTOM, /* 1.0 */
    LAYOUT_ONE_RELAY   /* 0.35, and blob tickets to this day: id, Option of a relay, set of socket addresses */
};

bool kith__ticket_is_kind(const char *kind, const char *text, size_t size)
{
    size_t kind_size = strlen(kind);

    return size >= kind_size && memcmp(text, kind, kind_size) == 0;
}

int kith__ticket_text_encode(const char *kind, struct kith_slice payload, struct kith_buf *text)
{
    size_t kind_size = strlen(kind), size = kith__base32_text_size(payload.size);
    int err = kith__buf_reserve(text, kind_size + size + 1);

    if (err != 0)
        return err;
    memcpy(text->ptr + text->size, kind, kind_size);
    kith__base32_encode(KITH_BASE32_LOWER, payload.ptr, payload.size, (char *)text->ptr + text->size + kind_size);
    text->size += kind_size + size;
    return 0;
}

int kith__ticket_text_decode(const char *kind, const char *text, size_t size, struct kith_buf *payload)
{
    size_t kind_size = strlen(kind), payload_size;
    int err;

    if (size > KITH_TICKET_TEXT_MAX)
        return KITH_ERR_TOO_LARGE;
    if (size == 0 || !kith__ticket_is_kind(kind, text, size))
        return KITH_ERR_PARSE;
    payload_size = kith__base32_size(size - kind_size);
    if ((err = kith__buf_reserve(payload, payload_size + 1)) != 0) /* never nothing: the decoder wants a place */
        return err;
    err = kith__base32_decode(KITH_BASE32_LOWER, text + kind_size, size - kind_size, payload->ptr + payload->size);
    if (err == 0)
        payload->size += payload_size;
    return err;
}

/** Turns a payload into text, unless writing the payload failed. */
static int finish_format(const char *kind, int err, struct kith_buf *payload, struct kith_buf *text)
{
    if (err == 0)
        err = kith__ticket_text_encode(kind, kith__buf_slice(payload), text);
    if (payload->ptr != NULL)
        kith__wipe(payload->ptr, payload->size); /* a doc ticket can hold a secret */
    kith__buf_dispose(payload);
    return err;
}

/** The wire variant with which all kinds begin; there is only one. */
static int read_variant_0(struct kith_reader *r)
{
    uint32_t variant;

    return kith__postcard_read_variant(r, 1, &variant);
}

int kith__endpoint_ticket_format(const struct kith_endpoint_addr *addr, struct kith_buf *text)
{
    struct kith_buf payload;
    int err;

    kith__buf_init(&payload, text->mem);
    if ((err = kith__postcard_write_uint(&payload, 0)) == 0)
        err = kith__endpoint_addr_encode(addr, KITH_CUSTOM_FORM_NEW, &payload);
    return finish_format("endpoint", err, &payload, text);
}

/** Reads the Option of a relay and the socket addresses of LAYOUT_ONE_RELAY into addr. */
static int decode_relay_and_ips(struct kith_reader *r, struct kith_endpoint_addr *addr)
{
    struct kith_sockaddr ip;
    struct kith_slice url;
    bool has_relay;
    size_t count;
    int err;

    if ((err = kith__postcard_read_bool(r, &has_relay)) != 0)
        return err;
    if (has_relay && (err = kith__postcard_read_string(r, &url)) != 0)
        return err;
    if (has_relay)
        err = kith__endpoint_addr_ignore(addr, kith__endpoint_addr_add_relay(addr, (const char *)url.ptr, url.size));
    if (err != 0)
        return err;
    if ((err = kith__postcard_read_count(r, SOCKADDR_SIZE_MIN, &count)) != 0)
        return err;
    while (count-- != 0)
        if ((err = kith__sockaddr_decode(r, &ip)) != 0 ||
            (err = kith__endpoint_addr_ignore(addr, kith__endpoint_addr_add_ip(addr, &ip))) != 0)
            return err;
    return 0;
}

/** Reads an endpoint address into *out, which needs disposing only on success. */
static int decode_addr(struct kith_reader *r, enum layout layout, const struct kith_mem *mem,
                       struct kith_endpoint_addr *out)
{
    struct kith_endpoint_addr addr;
    int err;

    if (layout != LAYOUT_ONE_RELAY)
        return kith__endpoint_addr_decode(r, layout == LAYOUT_NEW_CUSTOM ? KITH_CUSTOM_FORM_NEW : KITH_CUSTOM_FORM_OLD,
                                          mem, out);
    kith__endpoint_addr_init(&addr, mem, NULL);
    if ((err = kith__read_bytes(r, addr.id.bytes, KITH_ID_SIZE)) != 0)
        return err;
    if (!kith__id_is_point(addr.id.bytes))
        return KITH_ERR_CRYPTO;
    if ((err = decode_relay_and_ips(r, &addr)) != 0)
        kith__endpoint_addr_dispose(&addr);
    else
        *out = addr;
    return err;
}

/** Reads the payload in one layout; *fits tells whether no bytes were left. */
static int decode_endpoint(struct kith_reader r, enum layout layout, const struct kith_mem *mem,
                           struct kith_endpoint_addr *out, bool *fits)
{
    int err;

    if ((err = read_variant_0(&r)) != 0 || (err = decode_addr(&r, layout, mem, out)) != 0)
        return err;
    *fits = kith__reader_left(&r) == 0;
    return 0;
}

static int parse_endpoint_payload(struct kith_reader r, const struct kith_mem *mem, struct kith_endpoint_addr *out)
{
    struct kith_endpoint_addr addr;
    bool fits = false;

    for (enum layout layout = LAYOUT_NEW_CUSTOM; layout <= LAYOUT_OLD_CUSTOM; layout++) {
        int err = decode_endpoint(r, layout, mem, &addr, &fits);

        if (err == 0 && fits)
            *out = addr;
        if (err == KITH_ERR_NOMEM || (err == 0 && fits))
            return err;
        if (err == 0)
            kith__endpoint_addr_dispose(&addr);
    }
    return decode_endpoint(r, LAYOUT_NEW_CUSTOM, mem, out, &fits);
}

int kith__endpoint_ticket_parse(const char *text, size_t size, const struct kith_mem *mem,
                                struct kith_endpoint_addr *out)
{
    struct kith_buf payload;
    int err;

    kith__buf_init(&payload, mem);
    if ((err = kith__ticket_text_decode("endpoint", text, size, &payload)) == 0)
        err = parse_endpoint_payload(kith__reader_of_slice(kith__buf_slice(&payload)), mem, out);
    kith__buf_dispose(&payload);
    return err;
}

/** Option of the first relay, then the socket addresses. */
static int encode_relay_and_ips(const struct kith_endpoint_addr *addr, struct kith_buf *payload)
{
    struct kith_slice relay = kith__endpoint_addr_first_relay(addr);
    size_t count = 0;
    int err;

    if ((err = kith__postcard_write_bool(payload, relay.size != 0)) != 0)
        return err;
    if (relay.size != 0 && (err = kith__postcard_write_slice(payload, relay)) != 0)
        return err;
    for (size_t i = 0; i < addr->count; i++)
        count += addr->addrs[i].kind == KITH_TRANSPORT_IP;
    if ((err = kith__postcard_write_uint(payload, count)) != 0)
        return err;
    for (size_t i = 0; i < addr->count; i++)
        if (addr->addrs[i].kind == KITH_TRANSPORT_IP && (err = kith__sockaddr_encode(&addr->addrs[i].ip, payload)) != 0)
            return err;
    return 0;
}

int kith__blob_ref_format(const struct kith_blob_ref *ticket, struct kith_buf *text)
{
    struct kith_buf payload;
    int err;

    kith__buf_init(&payload, text->mem);
    if ((err = kith__postcard_write_uint(&payload, 0)) == 0 &&
        (err = kith__buf_append(&payload, ticket->addr.id.bytes, KITH_ID_SIZE)) == 0 &&
        (err = encode_relay_and_ips(&ticket->addr, &payload)) == 0 &&
        (err = kith__postcard_write_uint(&payload, ticket->is_hash_seq)) == 0)
        err = kith__buf_append(&payload, ticket->hash.bytes, KITH_HASH_SIZE);
    return finish_format("blob", err, &payload, text);
}

static int decode_blob(struct kith_reader r, const struct kith_mem *mem, struct kith_blob_ref *out)
{
    struct kith_blob_ref ticket;
    uint32_t format;
    int err;

    if ((err = read_variant_0(&r)) != 0 || (err = decode_addr(&r, LAYOUT_ONE_RELAY, mem, &ticket.addr)) != 0)
        return err;
    if ((err = kith__postcard_read_variant(&r, 2, &format)) != 0 ||
        (err = kith__read_bytes(&r, ticket.hash.bytes, KITH_HASH_SIZE)) != 0) {
        kith__blob_ref_dispose(&ticket);
        return err;
    }
    ticket.is_hash_seq = format == 1;
    *out = ticket;
    return 0;
}

int kith__blob_ref_parse(const char *text, size_t size, const struct kith_mem *mem, struct kith_blob_ref *out)
{
    struct kith_buf payload;
    int err;

    kith__buf_init(&payload, mem);
    if ((err = kith__ticket_text_decode("blob", text, size, &payload)) == 0)
        err = decode_blob(kith__reader_of_slice(kith__buf_slice(&payload)), mem, out);
    kith__buf_dispose(&payload);
    return err;
}

void kith__blob_ref_dispose(struct kith_blob_ref *ticket)
{
    kith__endpoint_addr_dispose(&ticket->addr);
}

/** Variant 0 is write and carries a secret with its length, variant 1 is read and carries an id without. */
static int encode_capability(const struct kith_doc_ticket *ticket, struct kith_buf *payload)
{
    struct kith_slice bytes = { ticket->capability, sizeof ticket->capability };
    int err = kith__postcard_write_uint(payload, !ticket->can_write);

    if (err != 0)
        return err;
    return ticket->can_write ? kith__postcard_write_slice(payload, bytes)
                             : kith__buf_append(payload, bytes.ptr, bytes.size);
}

int kith__doc_ticket_format(const struct kith_doc_ticket *ticket, struct kith_buf *text)
{
    struct kith_buf payload;
    int err;

    if (ticket->count == 0 || ticket->count > KITH_DOC_TICKET_NODES_MAX)
        return KITH_ERR_INVALID;
    kith__buf_init(&payload, text->mem);
    if ((err = kith__postcard_write_uint(&payload, 0)) == 0 && (err = encode_capability(ticket, &payload)) == 0)
        err = kith__postcard_write_uint(&payload, ticket->count);
    for (size_t i = 0; i < ticket->count && err == 0; i++)
        err = kith__endpoint_addr_encode(&ticket->nodes[i], KITH_CUSTOM_FORM_NEW, &payload);
    return finish_format("doc", err, &payload, text);
}

static int decode_capability(struct kith_reader *r, struct kith_doc_ticket *ticket)
{
    struct kith_slice secret;
    uint32_t variant;
    int err;

    if ((err = kith__postcard_read_variant(r, 2, &variant)) != 0)
        return err;
    ticket->can_write = variant == 0;
    if (!ticket->can_write)
        return kith__read_bytes(r, ticket->capability, sizeof ticket->capability);
    if ((err = kith__postcard_read_slice(r, &secret)) != 0)
        return err;
    if (secret.size != sizeof ticket->capability)
        return KITH_ERR_PARSE;
    memcpy(ticket->capability, secret.ptr, secret.size);
    return 0;
}

/** Reads the nodes; on errors those read so far are in the ticket. */
static int decode_nodes(struct kith_reader *r, enum layout layout, struct kith_doc_ticket *ticket)
{
    size_t count;
    int err = kith__postcard_read_count(r, NODE_SIZE_MIN, &count);

    if (err != 0)
        return err;
    if (count == 0)
        return KITH_ERR_PARSE;
    if (count > KITH_DOC_TICKET_NODES_MAX)
        return KITH_ERR_LIMIT;
    ticket->nodes = kith__alloc_array(ticket->mem, count, sizeof *ticket->nodes);
    if (ticket->nodes == NULL)
        return KITH_ERR_NOMEM;
    for (; ticket->count < count; ticket->count++)
        if ((err = decode_addr(r, layout, ticket->mem, &ticket->nodes[ticket->count])) != 0)
            return err;
    return 0;
}

static int decode_doc(struct kith_reader r, enum layout layout, const struct kith_mem *mem, struct kith_doc_ticket *out,
                      bool *fits)
{
    struct kith_doc_ticket ticket = { .mem = mem };
    int err;

    if ((err = read_variant_0(&r)) == 0 && (err = decode_capability(&r, &ticket)) == 0)
        err = decode_nodes(&r, layout, &ticket);
    if (err != 0) {
        kith__doc_ticket_dispose(&ticket);
        return err;
    }
    *fits = kith__reader_left(&r) == 0;
    *out = ticket;
    return 0;
}

static int parse_doc_payload(struct kith_reader r, const struct kith_mem *mem, struct kith_doc_ticket *out)
{
    struct kith_doc_ticket ticket;
    bool fits = false;

    for (enum layout layout = LAYOUT_NEW_CUSTOM; layout <= LAYOUT_ONE_RELAY; layout++) {
        int err = decode_doc(r, layout, mem, &ticket, &fits);

        if (err == 0 && fits)
            *out = ticket;
        if (err == KITH_ERR_NOMEM || (err == 0 && fits))
            return err;
        if (err == 0)
            kith__doc_ticket_dispose(&ticket);
    }
    return decode_doc(r, LAYOUT_NEW_CUSTOM, mem, out, &fits);
}

int kith__doc_ticket_parse(const char *text, size_t size, const struct kith_mem *mem, struct kith_doc_ticket *out)
{
    struct kith_buf payload;
    int err;

    kith__buf_init(&payload, mem);
    if ((err = kith__ticket_text_decode("doc", text, size, &payload)) == 0)
        err = parse_doc_payload(kith__reader_of_slice(kith__buf_slice(&payload)), mem, out);
    if (payload.ptr != NULL)
        kith__wipe(payload.ptr, payload.size);
    kith__buf_dispose(&payload);
    return err;
}

void kith__doc_ticket_dispose(struct kith_doc_ticket *ticket)
{
    for (size_t i = 0; i < ticket->count; i++)
        kith__endpoint_addr_dispose(&ticket->nodes[i]);
    kith__free(ticket->mem, ticket->nodes);
    kith__wipe(ticket->capability, sizeof ticket->capability);
    *ticket = (struct kith_doc_ticket) { .mem = ticket->mem };
}
