#include "endpoint/textkey.h"

#include "codec/base32.h"
#include "crypto/sign.h"
#include <string.h>

enum { KEY_SIZE = 32, HEX_SIZE = 64, BASE32_SIZE = 52, SHORT_SIZE = 5 };

int kith__key_parse(const char *text, size_t size, uint8_t out[32])
{
    uint8_t bytes[KEY_SIZE];
    int err = KITH_ERR_PARSE;

    if (size == HEX_SIZE)
        err = kith__hex_decode(text, size, bytes);
    else if (size == BASE32_SIZE)
        err = kith__base32_decode(KITH_BASE32_LOWER, text, size, bytes);
    if (err == 0)
        memcpy(out, bytes, KEY_SIZE);
    kith__wipe(bytes, sizeof bytes); /* it may have been a secret */
    return err;
}

static int take_point(const uint8_t bytes[KITH_ID_SIZE], struct kith_id *out)
{
    if (!kith__id_is_point(bytes))
        return KITH_ERR_CRYPTO;
    memcpy(out->bytes, bytes, KITH_ID_SIZE);
    return 0;
}

int kith__id_parse(const char *text, size_t size, struct kith_id *out)
{
    uint8_t bytes[KITH_ID_SIZE];
    int err = kith__key_parse(text, size, bytes);

    return err != 0 ? err : take_point(bytes, out);
}

int kith__id_parse_z32(const char *text, size_t size, struct kith_id *out)
{
    uint8_t bytes[KITH_ID_SIZE];

    if (size != BASE32_SIZE || kith__base32_decode(KITH_BASE32_Z, text, size, bytes) != 0)
        return KITH_ERR_PARSE;
    return take_point(bytes, out);
}

const char *kith__id_format(const struct kith_id *id, char text[KITH__HEX_KEY_SIZE])
{
    kith__hex_encode(id->bytes, KITH_ID_SIZE, text);
    return text;
}

const char *kith__id_format_short(const struct kith_id *id, char text[KITH__SHORT_KEY_SIZE])
{
    kith__hex_encode(id->bytes, SHORT_SIZE, text);
    return text;
}

const char *kith__id_format_z32(const struct kith_id *id, char text[KITH__Z32_KEY_SIZE])
{
    kith__base32_encode(KITH_BASE32_Z, id->bytes, KITH_ID_SIZE, text);
    return text;
}

const char *kith__id_format_base32(const struct kith_id *id, char text[KITH__Z32_KEY_SIZE])
{
    kith__base32_encode(KITH_BASE32_LOWER, id->bytes, KITH_ID_SIZE, text);
    return text;
}

int kith__secret_parse(const char *text, size_t size, struct kith_secret *out)
{
    return kith__key_parse(text, size, out->bytes);
}

const char *kith__secret_format(const struct kith_secret *secret, char text[KITH__HEX_KEY_SIZE])
{
    kith__hex_encode(secret->bytes, KITH_SECRET_SIZE, text);
    return text;
}

int kith__signature_parse(const char *text, size_t size, uint8_t out[KITH_SIGNATURE_SIZE])
{
    uint8_t bytes[KITH_SIGNATURE_SIZE];

    if (size != 2 * KITH_SIGNATURE_SIZE || kith__hex_decode(text, size, bytes) != 0)
        return KITH_ERR_PARSE;
    memcpy(out, bytes, sizeof bytes);
    return 0;
}

const char *kith__signature_format(const uint8_t signature[KITH_SIGNATURE_SIZE], char text[KITH__SIGNATURE_TEXT_SIZE])
{
    kith__hex_encode(signature, KITH_SIGNATURE_SIZE, text);
    return text;
}

int kith__hash_parse(const char *text, size_t size, struct kith_hash *out)
{
    return kith__key_parse(text, size, out->bytes);
}

const char *kith__hash_format(const struct kith_hash *hash, char text[KITH__HEX_KEY_SIZE])
{
    kith__hex_encode(hash->bytes, KITH_HASH_SIZE, text);
    return text;
}

int kith__hash_and_format_parse(const char *text, size_t size, struct kith_hash *out, bool *is_hash_seq)
{
    bool has_mark = size == HEX_SIZE + 1 && (text[0] == 's' || text[0] == 'S');
    struct kith_hash hash;

    if (size != (size_t)HEX_SIZE + has_mark || kith__hex_decode(text + has_mark, HEX_SIZE, hash.bytes) != 0)
        return KITH_ERR_PARSE;
    *out = hash;
    *is_hash_seq = has_mark;
    return 0;
}

const char *kith__hash_and_format_format(const struct kith_hash *hash, bool is_hash_seq,
                                         char text[KITH__HASH_FORMAT_TEXT_SIZE])
{
    text[0] = 's';
    kith__hex_encode(hash->bytes, KITH_HASH_SIZE, text + is_hash_seq);
    return text;
}
