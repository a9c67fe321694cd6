#include "relay/handshake.h"

#include "codec/postcard.h"
#include "crypto/blake3.h"
#include <sodium/utils.h>

enum {
    HALF = KITH_RELAY_EXPORT_SIZE / 2,
    HEADER_BYTES = KITH_ID_SIZE + 1 + KITH_SIGNATURE_SIZE + HALF,
    HEADER_BYTES_MAX = KITH_RELAY_AUTH_HEADER_SIZE_MAX / 4 * 3
};

_Static_assert((HEADER_BYTES * 4 + 2) / 3 == KITH_RELAY_AUTH_HEADER_SIZE, "base64 without padding");

static const char challenge_context[] = "iroh-relay handshake v1 challenge signature";

static struct kith_slice derive(const uint8_t challenge[KITH_RELAY_CHALLENGE_SIZE], uint8_t derived[KITH_HASH_SIZE])
{
    kith__blake3_derive_key(challenge_context, challenge, KITH_RELAY_CHALLENGE_SIZE, derived);
    return (struct kith_slice) { derived, KITH_HASH_SIZE };
}

void kith__relay_challenge_sign(const struct kith_keypair *pair, const uint8_t challenge[KITH_RELAY_CHALLENGE_SIZE],
                                uint8_t signature[KITH_SIGNATURE_SIZE])
{
    uint8_t derived[KITH_HASH_SIZE];

    kith__sign(pair, derive(challenge, derived), signature);
}

int kith__relay_challenge_verify(const struct kith_id *id, const uint8_t challenge[KITH_RELAY_CHALLENGE_SIZE],
                                 const uint8_t signature[KITH_SIGNATURE_SIZE])
{
    uint8_t derived[KITH_HASH_SIZE];

    return kith__verify(id, derive(challenge, derived), signature);
}

void kith__relay_client_auth_write(const struct kith_keypair *pair, const uint8_t challenge[KITH_RELAY_CHALLENGE_SIZE],
                                   uint8_t out[KITH_RELAY_CLIENT_AUTH_SIZE])
{
    uint8_t signature[KITH_SIGNATURE_SIZE];
    struct kith_writer w = kith__writer(out, KITH_RELAY_CLIENT_AUTH_SIZE);
    int err;

    kith__relay_challenge_sign(pair, challenge, signature);
    err = kith__relay_frame_encode(
        &(struct kith_relay_frame) { .kind = KITH_RELAY_CLIENT_AUTH, .auth = { pair->id.bytes, signature } }, &w);
    KITH_ASSERT(err == 0 && kith__writer_left(&w) == 0);
}

void kith__relay_auth_header_make(const struct kith_keypair *pair, const uint8_t exported[KITH_RELAY_EXPORT_SIZE],
                                  char text[KITH_RELAY_AUTH_HEADER_SIZE + 1])
{
    uint8_t bytes[HEADER_BYTES];

    memcpy(bytes, pair->id.bytes, KITH_ID_SIZE);
    bytes[KITH_ID_SIZE] = KITH_SIGNATURE_SIZE; /* a postcard byte string */
    kith__sign(pair, (struct kith_slice) { exported, HALF }, bytes + KITH_ID_SIZE + 1);
    memcpy(bytes + sizeof bytes - HALF, exported + HALF, HALF);
    sodium_bin2base64(text, KITH_RELAY_AUTH_HEADER_SIZE + 1, bytes, sizeof bytes,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

/** The library's decoder takes some bytes beyond ASCII for characters of the alphabet. */
static bool is_ascii(struct kith_slice text)
{
    uint8_t bits = 0;

    for (size_t i = 0; i < text.size; i++)
        bits |= text.ptr[i];
    return bits < 0x80;
}

int kith__relay_auth_header_parse(struct kith_slice text, struct kith_relay_auth_header *out)
{
    uint8_t bytes[HEADER_BYTES_MAX];
    struct kith_relay_auth_header header;
    struct kith_slice signature = { 0 };
    struct kith_reader r;
    size_t size = 0;

    if (text.size > KITH_RELAY_AUTH_HEADER_SIZE_MAX || !is_ascii(text) ||
        sodium_base642bin(bytes, sizeof bytes, (const char *)text.ptr, text.size, NULL, &size, NULL,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0)
        return KITH_ERR_PARSE;
    r = kith__reader(bytes, size);
    if (kith__read_bytes(&r, header.id.bytes, KITH_ID_SIZE) != 0 || !kith__id_is_point(header.id.bytes) ||
        kith__postcard_read_slice(&r, &signature) != 0 || signature.size != KITH_SIGNATURE_SIZE ||
        kith__read_bytes(&r, header.suffix, HALF) != 0)
        return KITH_ERR_PARSE;
    memcpy(header.signature, signature.ptr, KITH_SIGNATURE_SIZE);
    *out = header;
    return 0;
}

int kith__relay_auth_header_verify(const struct kith_relay_auth_header *header,
                                   const uint8_t exported[KITH_RELAY_EXPORT_SIZE])
{
    if (!kith__equal_secret(header->suffix, exported + HALF, HALF))
        return KITH_ERR_NOT_FOUND;
    return kith__verify(&header->id, (struct kith_slice) { exported, HALF }, header->signature);
}
