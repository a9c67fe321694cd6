/* Session blobs: see blob.h for the layout. */
#include "tls/blob.h"
#include "codec/cursor.h"
#include "crypto/hkdf.h"
#include "crypto/secure.h"

static const uint8_t magic[6] = { 'k', 's', 'e', 's', 1, 0 }; /* the last one is the place of the flags */

enum { FLAGS_AT = 5, FLAG_EARLY = 1 };

_Static_assert((int)KITH_BLOB_MAC_SIZE == (int)KITH_BLOB_KEY_SIZE, "both are a SHA-256 digest");

void kith__blob_key(const struct kith_secret *secret, uint8_t key[KITH_BLOB_KEY_SIZE])
{
    static const char purpose[] = "kith session blob 1";

    kith__hmac(KITH_DIGEST_SHA256, (struct kith_slice) { secret->bytes, KITH_SECRET_SIZE },
               (struct kith_slice) { (const uint8_t *)purpose, sizeof purpose - 1 }, key);
}

int kith__blob_write(const uint8_t key[KITH_BLOB_KEY_SIZE], const struct kith_blob *blob, uint8_t *out, size_t capacity,
                     size_t *size)
{
    struct kith_writer w = kith__writer(out, capacity);
    uint8_t mac[KITH_BLOB_MAC_SIZE];

    if (blob->alpn.size > UINT8_MAX || blob->params.size > UINT16_MAX || blob->data.size > UINT16_MAX ||
        kith__write_bytes(&w, magic, sizeof magic) != 0 || kith__write_bytes(&w, blob->peer.bytes, KITH_ID_SIZE) != 0 ||
        kith__write_u8(&w, (uint8_t)blob->alpn.size) != 0 ||
        kith__write_bytes(&w, blob->alpn.ptr, blob->alpn.size) != 0 ||
        kith__write_u16(&w, (uint16_t)blob->params.size) != 0 ||
        kith__write_bytes(&w, blob->params.ptr, blob->params.size) != 0 ||
        kith__write_u16(&w, (uint16_t)blob->data.size) != 0 ||
        kith__write_bytes(&w, blob->data.ptr, blob->data.size) != 0 || kith__writer_left(&w) < sizeof mac)
        return KITH_ERR_TOO_LARGE;
    out[FLAGS_AT] = blob->allows_early ? FLAG_EARLY : 0;
    kith__hmac(KITH_DIGEST_SHA256, (struct kith_slice) { key, KITH_BLOB_KEY_SIZE },
               (struct kith_slice) { out, kith__writer_size(&w) }, mac);
    *size = kith__writer_size(&w) + sizeof mac;
    return kith__write_bytes(&w, mac, sizeof mac);
}

static int read_body(struct kith_reader *r, struct kith_blob *blob)
{
    struct kith_slice head;
    uint8_t alpn_size = 0;
    uint16_t params_size = 0, data_size = 0;

    if (kith__read_slice(r, sizeof magic, &head) != 0 || memcmp(head.ptr, magic, FLAGS_AT) != 0 ||
        head.ptr[FLAGS_AT] > FLAG_EARLY || kith__read_bytes(r, blob->peer.bytes, KITH_ID_SIZE) != 0 ||
        kith__read_u8(r, &alpn_size) != 0 || kith__read_slice(r, alpn_size, &blob->alpn) != 0 ||
        kith__read_u16(r, &params_size) != 0 || kith__read_slice(r, params_size, &blob->params) != 0 ||
        kith__read_u16(r, &data_size) != 0 || kith__read_slice(r, data_size, &blob->data) != 0 ||
        kith__reader_left(r) != 0)
        return KITH_ERR_PARSE;
    if (alpn_size == 0 || params_size == 0 || params_size > KITH_TLS_PARAMS_SIZE_MAX || data_size == 0)
        return KITH_ERR_PARSE;
    blob->allows_early = head.ptr[FLAGS_AT] == FLAG_EARLY;
    return 0;
}

int kith__blob_read(const uint8_t key[KITH_BLOB_KEY_SIZE], struct kith_slice bytes, struct kith_blob *out)
{
    uint8_t mac[KITH_BLOB_MAC_SIZE];
    struct kith_blob blob = { .allows_early = false };
    struct kith_slice body;
    struct kith_reader r;

    if (bytes.size < sizeof mac || bytes.size > KITH_TLS_BLOB_SIZE_MAX)
        return KITH_ERR_PARSE;
    body = (struct kith_slice) { bytes.ptr, bytes.size - sizeof mac };
    kith__hmac(KITH_DIGEST_SHA256, (struct kith_slice) { key, KITH_BLOB_KEY_SIZE }, body, mac);
    if (!kith__equal_secret(mac, bytes.ptr + body.size, sizeof mac))
        return KITH_ERR_PARSE;
    r = kith__reader_of_slice(body);
    if (read_body(&r, &blob) != 0)
        return KITH_ERR_PARSE;
    *out = blob;
    return 0;
}
