/* Keys, ids, addresses and tickets as people see them: the public side of src/endpoint's parsers. */
#include "api/error.h"
#include "base/mem.h"
#include "codec/url.h"
#include "crypto/blake3.h"
#include "crypto/sign.h"
#include "endpoint/textkey.h"
#include "endpoint/ticket.h"
#include "lookup/addr.h"
#include <kith/blobs.h>
#include <stdio.h>
#include <string.h>

/* Errors never carry the text of a secret. */
int kith_secret_parse(const char *text, struct kith_secret *out)
{
    if (text == NULL)
        return kith__fail_null("a secret key");
    if (kith__secret_parse(text, strlen(text), out) != 0)
        return kith__fail(KITH_ERR_PARSE, 0,
                          "not a secret key: 64 lower-case hex digits or 52 characters of base32 are expected");
    return 0;
}

const char *kith_secret_format(const struct kith_secret *secret, char *text)
{
    return kith__secret_format(secret, text);
}

void kith_secret_wipe(struct kith_secret *secret)
{
    kith__wipe(secret, sizeof *secret);
}

struct kith_id kith_secret_id(const struct kith_secret *secret)
{
    return kith__secret_id(secret);
}

int kith_id_parse(const char *text, struct kith_id *out)
{
    int err;

    if (text == NULL)
        return kith__fail_null("an endpoint id");
    if ((err = kith__id_parse(text, strlen(text), out)) == KITH_ERR_CRYPTO)
        return kith__fail(KITH_ERR_PARSE, 0, "'%.80s' is not an endpoint id: these bytes are no public key", text);
    if (err != 0)
        return kith__fail(
            KITH_ERR_PARSE, 0,
            "'%.80s' is not an endpoint id: 64 lower-case hex digits or 52 characters of base32 are expected", text);
    return 0;
}

const char *kith_id_format(const struct kith_id *id, char *text)
{
    return kith__id_format(id, text);
}

const char *kith_id_format_short(const struct kith_id *id, char *text)
{
    return kith__id_format_short(id, text);
}

bool kith_id_equal(const struct kith_id *a, const struct kith_id *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

void kith_sign(const struct kith_secret *secret, struct kith_slice message, uint8_t signature[KITH_SIGNATURE_SIZE])
{
    struct kith_keypair pair;

    kith__keypair_init(&pair, secret);
    kith__sign(&pair, message, signature);
    kith__keypair_wipe(&pair);
}

int kith_verify(const struct kith_id *id, struct kith_slice message, const uint8_t signature[KITH_SIGNATURE_SIZE])
{
    return kith__verify(id, message, signature) == 0
               ? 0
               : kith__fail(KITH_ERR_CRYPTO, 0, "the signature is not of this message and key");
}

struct kith_hash kith_hash_bytes(const void *bytes, size_t size)
{
    struct kith_hash hash;

    kith__blake3(bytes, size, hash.bytes);
    return hash;
}

int kith_hash_parse(const char *text, struct kith_hash *out)
{
    if (text == NULL)
        return kith__fail_null("a hash");
    if (kith__hash_parse(text, strlen(text), out) != 0)
        return kith__fail(KITH_ERR_PARSE, 0,
                          "'%.80s' is not a hash: 64 lower-case hex digits or 52 characters of base32 are expected",
                          text);
    return 0;
}

const char *kith_hash_format(const struct kith_hash *hash, char *text)
{
    return kith__hash_format(hash, text);
}

void kith_addr_init(struct kith_addr *addr, const struct kith_id *id)
{
    struct kith_id kept = *id; /* it may be the address's own */

    memset(addr, 0, sizeof *addr);
    addr->id = kept;
}

/* v4 before v6, then address bytes, then port: the order of spec/03, 2.1. */
static int compare_ips(const struct kith_sockaddr *a, const struct kith_sockaddr *b)
{
    int order = memcmp(a->ip, b->ip, sizeof a->ip);

    if (a->family != b->family)
        return a->family == KITH_FAMILY_V4 ? -1 : 1;
    if (order != 0)
        return order;
    return a->port != b->port ? (a->port < b->port ? -1 : 1)
                              : (a->scope_id > b->scope_id) - (a->scope_id < b->scope_id);
}

int kith_addr_add_ip(struct kith_addr *addr, const struct kith_sockaddr *ip)
{
    size_t at = 0;

    if (ip == NULL)
        return kith__fail_null("a socket address");
    if (ip->family != KITH_FAMILY_V4 && ip->family != KITH_FAMILY_V6)
        return kith__fail(KITH_ERR_INVALID, 0, "a socket address of no family cannot be reached");
    while (at < addr->ip_count && compare_ips(&addr->ips[at], ip) < 0)
        at++;
    if (at < addr->ip_count && compare_ips(&addr->ips[at], ip) == 0)
        return 0;
    if (addr->ip_count == KITH_ADDR_IPS_MAX)
        return kith__fail(KITH_ERR_LIMIT, 0, "an address holds at most %d socket addresses", KITH_ADDR_IPS_MAX);
    memmove(&addr->ips[at + 1], &addr->ips[at], (addr->ip_count - at) * sizeof *ip);
    addr->ips[at] = *ip;
    addr->ip_count++;
    return 0;
}

/* A relay whose URL is normalised already. */
static int add_relay_text(struct kith_addr *addr, struct kith_slice url)
{
    size_t at = 0;

    if (url.size >= KITH_ADDR_RELAY_SIZE)
        return KITH_ERR_TOO_LARGE;
    for (; at < addr->relay_count; at++) {
        int order = memcmp(addr->relays[at], url.ptr, url.size);

        if (order == 0 && addr->relays[at][url.size] == 0)
            return 0;
        if (order > 0 || (order == 0 && addr->relays[at][url.size] != 0))
            break;
    }
    if (addr->relay_count == KITH_ADDR_RELAYS_MAX)
        return KITH_ERR_LIMIT;
    memmove(addr->relays[at + 1], addr->relays[at], (addr->relay_count - at) * sizeof addr->relays[0]);
    memcpy(addr->relays[at], url.ptr, url.size);
    addr->relays[at][url.size] = 0;
    addr->relay_count++;
    return 0;
}

int kith_addr_add_relay(struct kith_addr *addr, const char *url)
{
    struct kith_buf normal;
    int err;

    if (url == NULL)
        return kith__fail_null("a relay URL");
    kith__buf_init(&normal, kith_mem_default());
    if ((err = kith__url_normalise(url, strlen(url), &normal)) == 0)
        err = add_relay_text(addr, kith__buf_slice(&normal));
    kith__buf_dispose(&normal);
    return err == 0 ? 0 : kith__fail_because(err, "'%.200s' cannot be used as a relay URL", url);
}

/* By value, with what has no room or no use counted. */
static void addr_from_internal(const struct kith_endpoint_addr *from, struct kith_addr *to)
{
    kith_addr_init(to, &from->id);
    to->ignored_count = from->ignored_count;
    for (size_t i = 0; i < from->count; i++) {
        const struct kith_transport_addr *one = &from->addrs[i];
        int err = KITH_ERR_UNSUPPORTED;

        if (one->kind == KITH_TRANSPORT_IP)
            err = kith_addr_add_ip(to, &one->ip);
        else if (one->kind == KITH_TRANSPORT_RELAY)
            err = add_relay_text(to, one->bytes);
        to->ignored_count += err != 0;
    }
}

static int addr_to_internal(const struct kith_addr *from, struct kith_endpoint_addr *to)
{
    int err = 0;

    kith__endpoint_addr_init(to, kith_mem_default(), &from->id);
    for (size_t i = 0; err == 0 && i < from->relay_count; i++)
        err = kith__endpoint_addr_add_relay(to, from->relays[i], strlen(from->relays[i]));
    for (size_t i = 0; err == 0 && i < from->ip_count; i++)
        err = kith__endpoint_addr_add_ip(to, &from->ips[i]);
    if (err != 0)
        kith__endpoint_addr_dispose(to);
    return err;
}

static int ticket_text_out(int err, const struct kith_buf *from, char *text, size_t size)
{
    if (err == 0 && from->size + 1 > size)
        return kith__fail(KITH_ERR_TOO_LARGE, 0, "the ticket needs %zu bytes with its end, and there is room for %zu",
                          from->size + 1, size);
    if (err != 0)
        return kith__fail_because(err, "the ticket cannot be written");
    memcpy(text, from->ptr, from->size);
    text[from->size] = 0;
    return 0;
}

int kith_ticket_format(const struct kith_addr *addr, char *text, size_t size)
{
    struct kith_endpoint_addr inner;
    struct kith_buf out;
    int err;

    if (addr == NULL || text == NULL)
        return kith__fail_null("an address, or room for its ticket,");
    kith__buf_init(&out, kith_mem_default());
    if ((err = addr_to_internal(addr, &inner)) == 0) {
        err = kith__endpoint_ticket_format(&inner, &out);
        kith__endpoint_addr_dispose(&inner);
    }
    err = ticket_text_out(err, &out, text, size);
    kith__buf_dispose(&out);
    return err;
}

int kith_blob_ticket_format(const struct kith_blob_ticket *ticket, char *text, size_t size)
{
    struct kith_blob_ref inner;
    struct kith_buf out;
    int err;

    if (ticket == NULL || text == NULL)
        return kith__fail_null("what a ticket names, or room for it,");
    inner = (struct kith_blob_ref) { .hash = ticket->hash, .is_hash_seq = ticket->format == KITH_BLOB_HASH_SEQ };
    kith__buf_init(&out, kith_mem_default());
    if ((err = addr_to_internal(&ticket->addr, &inner.addr)) == 0) {
        err = kith__blob_ref_format(&inner, &out);
        kith__blob_ref_dispose(&inner);
    }
    err = ticket_text_out(err, &out, text, size);
    kith__buf_dispose(&out);
    return err;
}

/* Without memory, or beyond what is looked at at all, a ticket may be as good as any. */
static int ticket_refused(int err, const char *text, const char *why)
{
    if (err == KITH_ERR_TOO_LARGE)
        return kith__fail(KITH_ERR_TOO_LARGE, 0,
                          "'%.40s...' is longer than %d characters: no ticket is read beyond that", text,
                          KITH_TICKET_TEXT_MAX);
    if (err == KITH_ERR_NOMEM)
        return kith__fail_because(err, "the ticket '%.40s...' cannot be read", text);
    return kith__fail(KITH_ERR_PARSE, 0, "'%.40s...' %s", text, why);
}

int kith_blob_ticket_parse(const char *text, struct kith_blob_ticket *out)
{
    struct kith_blob_ref inner;
    int err;

    if (text == NULL)
        return kith__fail_null("a ticket");
    if ((err = kith__blob_ref_parse(text, strlen(text), kith_mem_default(), &inner)) != 0)
        return ticket_refused(
            err, text, "is not a blob ticket: those begin with 'blob'; it was cut or mistyped, or is of another kind");
    addr_from_internal(&inner.addr, &out->addr);
    out->hash = inner.hash;
    out->format = inner.is_hash_seq ? KITH_BLOB_HASH_SEQ : KITH_BLOB_RAW;
    kith__blob_ref_dispose(&inner);
    return 0;
}

int kith_addr_parse(const char *text, struct kith_addr *out)
{
    struct kith_endpoint_addr inner;
    struct kith_blob_ticket blob;
    struct kith_id id;
    int err;

    if (text == NULL)
        return kith__fail_null("a ticket or an endpoint id");
    if (kith__ticket_is_kind("endpoint", text, strlen(text))) {
        if ((err = kith__endpoint_ticket_parse(text, strlen(text), kith_mem_default(), &inner)) != 0)
            return ticket_refused(err, text, "is not an endpoint ticket: it was cut or mistyped");
        addr_from_internal(&inner, out);
        kith__endpoint_addr_dispose(&inner);
        return 0;
    }
    if (kith__ticket_is_kind("blob", text, strlen(text))) {
        if ((err = kith_blob_ticket_parse(text, &blob)) != 0)
            return err;
        *out = blob.addr;
        return 0;
    }
    if (kith__id_parse(text, strlen(text), &id) != 0)
        return kith__fail(KITH_ERR_PARSE, 0, "'%.80s' is neither a ticket nor an endpoint id", text);
    kith_addr_init(out, &id);
    return 0;
}
