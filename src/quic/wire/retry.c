/* Retry packets: see retry.h. */
#include "quic/wire/retry.h"

#include "crypto/aead.h"
#include "crypto/secure.h"

/* Public constants of version 1 (RFC 9001, 5.8): the tag proves that the sender saw our Initial, nothing more. */
static const uint8_t retry_key[16] = { 0xbe, 0x0c, 0x69, 0x0b, 0x9f, 0x66, 0x57, 0x5a,
                                       0x1d, 0x76, 0x6b, 0x54, 0xe3, 0x68, 0xc8, 0x4e };
static const uint8_t retry_nonce[12] = { 0x46, 0x15, 0x99, 0xd3, 0x5d, 0x63, 0x2b, 0xf2, 0x23, 0x98, 0x25, 0xbb };

/* The tag over the Retry pseudo-packet: odcid with its length, then the packet without its tag. */
static int make_tag(const struct kith_mem *mem, const struct kith_cid *odcid, const uint8_t *bytes, size_t size,
                    uint8_t tag[KITH_RETRY_TAG_SIZE])
{
    uint8_t pseudo[1 + KITH_CID_SIZE_MAX + KITH_RETRY_SIZE_MAX];
    struct kith_aead_key key;
    int err;

    KITH_ASSERT(size <= KITH_RETRY_SIZE_MAX);
    if ((err = kith__aead_init(&key, mem, KITH_CIPHER_AES_128_GCM, retry_key)) != 0)
        return err;
    pseudo[0] = odcid->size;
    memcpy(pseudo + 1, odcid->bytes, odcid->size);
    memcpy(pseudo + 1 + odcid->size, bytes, size);
    err = kith__aead_seal(&key, retry_nonce, pseudo, 1 + odcid->size + size, pseudo, 0, tag);
    kith__aead_dispose(&key);
    return err;
}

int kith__retry_write(const struct kith_mem *mem, const struct kith_cid *dcid, const struct kith_cid *scid,
                      const struct kith_cid *odcid, struct kith_slice token, uint8_t random, uint8_t *out,
                      size_t capacity, size_t *size)
{
    struct kith_writer w = kith__writer(out, capacity);
    int err;

    if (token.size == 0 || token.size > KITH_RETRY_TOKEN_SIZE_MAX)
        return KITH_ERR_INVALID;
    random = (uint8_t)(KITH_PACKET_LONG | KITH_PACKET_FIXED | KITH_PACKET_RETRY << 4 | (random & 0x0f));
    if ((err = kith__write_u8(&w, random)) != 0 || (err = kith__write_u32(&w, KITH_QUIC_VERSION_1)) != 0 ||
        (err = kith__write_u8(&w, dcid->size)) != 0 || (err = kith__write_bytes(&w, dcid->bytes, dcid->size)) != 0 ||
        (err = kith__write_u8(&w, scid->size)) != 0 || (err = kith__write_bytes(&w, scid->bytes, scid->size)) != 0 ||
        (err = kith__write_bytes(&w, token.ptr, token.size)) != 0)
        return err;
    if (kith__writer_left(&w) < KITH_RETRY_TAG_SIZE)
        return KITH_ERR_TOO_LARGE;
    if ((err = make_tag(mem, odcid, out, kith__writer_size(&w), w.at)) != 0)
        return err;
    *size = kith__writer_size(&w) + KITH_RETRY_TAG_SIZE;
    return 0;
}

int kith__retry_check(const struct kith_mem *mem, const struct kith_cid *odcid, const uint8_t *bytes, size_t size)
{
    uint8_t tag[KITH_RETRY_TAG_SIZE];
    int err;

    if (size < KITH_RETRY_TAG_SIZE)
        return KITH_ERR_TRUNCATED;
    if (size > KITH_RETRY_SIZE_MAX)
        return KITH_ERR_TOO_LARGE;
    if ((err = make_tag(mem, odcid, bytes, size - KITH_RETRY_TAG_SIZE, tag)) != 0)
        return err;
    return kith__equal_secret(tag, bytes + size - KITH_RETRY_TAG_SIZE, sizeof tag) ? 0 : KITH_ERR_CRYPTO;
}
