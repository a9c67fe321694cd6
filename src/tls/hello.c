/* Parsers for ClientHello, ServerHello and NewSessionTicket: see hello.h. */
#include "tls/hello.h"
#include "codec/cursor.h"

enum {
    EXT_ALPN = 16,
    EXT_CLIENT_TYPE = 19,
    EXT_SERVER_TYPE = 20,
    EXT_PRE_SHARED_KEY = 41,
    EXT_EARLY_DATA = 42,
    EXT_KEY_SHARE = 51,
    EXT_PARAMS = 57
};

enum { GROUP_SECP256R1 = 23, GROUP_SECP384R1 = 24, GROUP_X25519 = 29 };

enum { RANDOM_SIZE = 32 };

/* A vector behind its length of one or two bytes. */
static int read_vector(struct kith_reader *r, size_t length_size, struct kith_reader *out)
{
    uint8_t size8 = 0;
    uint16_t size16 = 0;
    int err = length_size == 1 ? kith__read_u8(r, &size8) : kith__read_u16(r, &size16);

    return err != 0 ? err : kith__read_reader(r, length_size == 1 ? size8 : size16, out);
}

static struct kith_slice rest(const struct kith_reader *r)
{
    return (struct kith_slice) { r->at, kith__reader_left(r) };
}

static bool has_usable_share(struct kith_reader r)
{
    struct kith_reader shares, share;
    uint16_t group = 0;

    if (read_vector(&r, 2, &shares) != 0)
        return false;
    while (kith__read_u16(&shares, &group) == 0 && read_vector(&shares, 2, &share) == 0)
        if (group == GROUP_X25519 || group == GROUP_SECP256R1 || group == GROUP_SECP384R1)
            return true;
    return false;
}

static struct kith_slice first_ticket(struct kith_reader r)
{
    struct kith_reader identities, identity;

    if (read_vector(&r, 2, &identities) != 0 || read_vector(&identities, 2, &identity) != 0)
        return (struct kith_slice) { NULL, 0 };
    return rest(&identity);
}

static void on_extension(uint16_t type, struct kith_reader body, struct kith_client_hello *hello)
{
    struct kith_reader names;

    switch (type) {
    case EXT_ALPN:
        if (read_vector(&body, 2, &names) == 0)
            hello->alpns = rest(&names);
        break;
    case EXT_CLIENT_TYPE:
        hello->has_client_type = true;
        break;
    case EXT_SERVER_TYPE:
        hello->has_server_type = true;
        break;
    case EXT_PRE_SHARED_KEY:
        hello->first_ticket = first_ticket(body);
        break;
    case EXT_EARLY_DATA:
        hello->has_early_data = true;
        break;
    case EXT_KEY_SHARE:
        hello->has_usable_share = has_usable_share(body);
        break;
    case EXT_PARAMS:
        hello->has_params = true;
        hello->params = rest(&body);
        break;
    default:
        break;
    }
}

int kith__client_hello_parse(struct kith_slice message, struct kith_client_hello *out)
{
    if (message.size < KITH_HANDSHAKE_HEADER_SIZE)
        return KITH_ERR_PARSE;
    message.ptr += KITH_HANDSHAKE_HEADER_SIZE;
    message.size -= KITH_HANDSHAKE_HEADER_SIZE;
    return kith__client_hello_body_parse(message, out);
}

int kith__client_hello_body_parse(struct kith_slice body_bytes, struct kith_client_hello *out)
{
    struct kith_client_hello hello = { .has_params = false };
    struct kith_reader r = kith__reader_of_slice(body_bytes), session_id, suites, compression, extensions, body;
    uint16_t type = 0;

    if (kith__read_skip(&r, 2 + RANDOM_SIZE) != 0 || read_vector(&r, 1, &session_id) != 0 ||
        read_vector(&r, 2, &suites) != 0 || read_vector(&r, 1, &compression) != 0 ||
        read_vector(&r, 2, &extensions) != 0)
        return KITH_ERR_PARSE;
    hello.has_session_id = kith__reader_left(&session_id) != 0;
    while (kith__reader_left(&extensions) != 0) {
        if (kith__read_u16(&extensions, &type) != 0 || read_vector(&extensions, 2, &body) != 0)
            return KITH_ERR_PARSE;
        on_extension(type, body, &hello);
    }
    *out = hello;
    return 0;
}

int kith__encrypted_extensions_parse(struct kith_slice message, struct kith_encrypted_extensions *out)
{
    struct kith_encrypted_extensions found = { .has_params = false };
    struct kith_reader r = kith__reader_of_slice(message), extensions, body, names;
    uint16_t type = 0;

    if (kith__read_skip(&r, KITH_HANDSHAKE_HEADER_SIZE) != 0 || read_vector(&r, 2, &extensions) != 0)
        return KITH_ERR_PARSE;
    while (kith__reader_left(&extensions) != 0) {
        if (kith__read_u16(&extensions, &type) != 0 || read_vector(&extensions, 2, &body) != 0)
            return KITH_ERR_PARSE;
        if (type == EXT_ALPN && read_vector(&body, 2, &names) == 0)
            found.alpns = rest(&names);
        if (type == EXT_PARAMS) {
            found.has_params = true;
            found.params = rest(&body);
        }
        found.has_early_data |= type == EXT_EARLY_DATA;
    }
    *out = found;
    return 0;
}

static bool has_name(struct kith_slice list, struct kith_reader wanted)
{
    struct kith_reader r = kith__reader_of_slice(list), name;
    size_t size = kith__reader_left(&wanted);

    while (kith__reader_left(&r) != 0 && read_vector(&r, 1, &name) == 0)
        if (kith__reader_left(&name) == size && memcmp(name.at, wanted.at, size) == 0)
            return true;
    return false;
}

struct kith_slice kith__alpn_choose(struct kith_slice wanted, struct kith_slice offered)
{
    struct kith_reader r = kith__reader_of_slice(wanted), name;

    while (kith__reader_left(&r) != 0 && read_vector(&r, 1, &name) == 0)
        if (kith__reader_left(&name) != 0 && has_name(offered, name))
            return rest(&name);
    return (struct kith_slice) { NULL, 0 };
}

bool kith__server_hello_is_retry(struct kith_slice message)
{
    /* SHA-256 of "HelloRetryRequest" in place of the random. */
    static const uint8_t retry_random[RANDOM_SIZE] = { 0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c,
                                                       0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb,
                                                       0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c };
    enum { RANDOM_AT = KITH_HANDSHAKE_HEADER_SIZE + 2 };

    return message.size >= RANDOM_AT + RANDOM_SIZE && message.ptr[0] == KITH_HANDSHAKE_SERVER_HELLO &&
           memcmp(message.ptr + RANDOM_AT, retry_random, RANDOM_SIZE) == 0;
}

int kith__ticket_parse(struct kith_slice message, struct kith_ticket *out)
{
    struct kith_ticket ticket = { .has_early_data = false };
    struct kith_reader r = kith__reader_of_slice(message), nonce, identity, extensions, body;
    uint32_t age_add;
    uint16_t type = 0;

    if (kith__read_skip(&r, KITH_HANDSHAKE_HEADER_SIZE) != 0 || kith__read_u32(&r, &ticket.lifetime_s) != 0 ||
        kith__read_u32(&r, &age_add) != 0 || read_vector(&r, 1, &nonce) != 0 || read_vector(&r, 2, &identity) != 0 ||
        read_vector(&r, 2, &extensions) != 0)
        return KITH_ERR_PARSE;
    ticket.ticket = rest(&identity);
    while (kith__reader_left(&extensions) != 0) {
        if (kith__read_u16(&extensions, &type) != 0 || read_vector(&extensions, 2, &body) != 0)
            return KITH_ERR_PARSE;
        if (type != EXT_EARLY_DATA)
            continue;
        if (kith__read_u32(&body, &ticket.early_data_size) != 0)
            return KITH_ERR_PARSE;
        ticket.has_early_data = true;
    }
    *out = ticket;
    return 0;
}
